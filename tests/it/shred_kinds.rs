//! A vault with things of every kind, of which every one that can be shredded is: what is live is what a replay gives, and nothing of them is told.

use keyledger::credentials::AnyState;
use keyledger::kernel::{StreamId, TenantId};
use keyledger::server::Until;
use keyledger::views::{Opener, Views, catch_up};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

use crate::all_kinds_life::{Life, hash, serve_home};
use crate::all_kinds_steps::live;

/// What no person or program of the test needs, by kind.
fn doomed(life: &Life, tenant: TenantId) -> Vec<(StreamId, &'static str)> {
    let views = life.vault().views();
    let owner = life.vault().authenticate(&life.token).unwrap();
    let needed = [Some(owner.id), owner.user];
    let mut all: Vec<_> = views
        .things()
        .filter(|(id, entry)| entry.tenant == tenant && !needed.contains(&Some(**id)))
        .map(|(id, entry)| (entry.first, *id, entry.state.kind()))
        .collect();
    all.sort_unstable();
    all.into_iter().map(|(_, id, kind)| (id, kind)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn things_of_every_kind_are_shredded_and_the_log_says_the_same_as_the_live_vault() {
    let mut life = Life::begin().await;
    live(&mut life, "a").await;
    let at = life.vault().views().position();
    live(&mut life, "b").await;
    let tenant = life.vault().authenticate(&life.token).unwrap().tenant;
    let (mut kinds, mut stayed) = (BTreeMap::<&str, Vec<StreamId>>::new(), BTreeSet::new());
    for (id, kind) in doomed(&life, tenant) {
        let body = json!({"thing": id.to_string(), "reason": "a test", "confirm": id.to_string()});
        let token = life.token.clone();
        let request = life.request(life.running.as_ref().unwrap(), &token, "POST", "/v1/shred", "acme-a").json(&body);
        match life.send(request).await {
            (200, told) => {
                assert_eq!((&told["shredded"], &told["things"][0]["kind"]), (&json!(true), &json!(kind)));
                kinds.entry(kind).or_default().push(id);
            }
            (410, _) => {}
            (422, _) => drop(stayed.insert(kind)),
            other => panic!("{kind}: {other:?}"),
        }
    }
    let named: Vec<&str> = kinds.keys().copied().collect();
    let expected = [
        "api_client",
        "api_key",
        "application",
        "connection",
        "consumer",
        "integration",
        "organization",
        "provider_key",
        "role",
        "session",
        "user",
        "user_application",
        "webhook",
    ];
    assert_eq!(named, expected, "one of each");
    assert!(stayed.iter().all(|kind| ["attempts", "connector", "recovery", "usage"].contains(kind)), "{stayed:?}");
    all_are_gone(&mut life, &kinds, at).await;
}

async fn all_are_gone(life: &mut Life, kinds: &BTreeMap<&str, Vec<StreamId>>, at: keyledger::kernel::Position) {
    let gone: Vec<StreamId> = kinds.values().flatten().copied().collect();
    let shredded =
        |views: &Views| gone.iter().filter(|id| views.thing(**id).is_some()).all(|id| matches!(views.thing(*id).unwrap().state, AnyState::Shredded(_)));
    let now = life.vault().views();
    assert!(shredded(&now) && life.vault().failure().is_none());
    // Nothing is told of them, now or of the past.
    for id in &gone {
        let (status, _, _, body) = life.read(life.running.as_ref().unwrap(), &life.token, &format!("/v1/credentials/{id}")).await;
        assert!([404, 410].contains(&status), "{status} {body}");
        let past = format!("/v1/credentials/{id}/history?as_of={at}");
        assert!([404, 410].contains(&life.read(life.running.as_ref().unwrap(), &life.token, &past).await.0));
    }
    let (status, _, _, events) = life.read(life.running.as_ref().unwrap(), &life.token, "/v1/events?limit=200").await;
    assert!(status == 200 && events.contains("\"facts\":null"));
    let reading = life.home("data").read().unwrap();
    for until in [at, now.position()] {
        let opener = Opener::new(reading.keyring.clone());
        let (mut views, mut tree) = Default::default();
        catch_up(&mut views, &mut tree, &*reading.log, &opener, until, &|_| ()).await.unwrap();
        assert!(views == *life.vault().views_at(until).await.unwrap().unwrap() && shredded(&views), "a replay to {until} differs");
    }
    let state = hash(life.vault(), &life.vault().views_at(at).await.unwrap().unwrap());
    let into = life.folder.path().join("restored");
    let restored = life.home("data").restore(Until::Position(at), &into, &|_, _, _| ()).await.unwrap();
    assert_eq!(restored.state, state);
    let again = serve_home(&life.home("restored")).await;
    assert!(shredded(&again.vault.views()));
    again.end(None).await;
    for snapshot in [false, true] {
        let path = life.home("data").snapshot();
        life.running.take().unwrap().end(snapshot.then_some(path.as_path())).await;
        life.start().await;
        assert!(*life.vault().views() == *now, "from a snapshot: {snapshot}");
    }
}

//! Rotation with an overlap, of every secret that the vault issues: both work, the old one's last use is shown, it ends at the earlier of the
//! overlap and its own end, it can be finished early or taken back.

use std::sync::Arc;

use keyledger::credentials::api_key::{Changes, Grant};
use keyledger::credentials::issued::{MAX_GRACE, MAX_IN_GRACE};
use keyledger::credentials::{AnyState, Kind, To};
use keyledger::kernel::*;
use keyledger::vault::{VaultError, plans};
use keyledger::views::Views;
use serde_json::{Value, json};

use crate::members::{As, owner};
use crate::served::start;
use crate::vault_bench::{TENANT, VaultBench};

fn text(secret: &Secret) -> String {
    String::from_utf8(secret.expose().to_vec()).unwrap()
}

/// A key that may verify keys, ending at a time.
async fn key(bench: &VaultBench, expires_at: Option<Moment>) -> (StreamId, String) {
    let grant = Grant {
        name: "k".into(),
        owner: None,
        permissions: vec!["keys:verify".into()],
        emails: vec![],
        organizations: vec![],
        labels: vec![],
        dns_name: None,
        app_ids: vec![],
        expires_at,
    };
    let mut made = None;
    let create = |given: &keyledger::vault::Given<'_>| {
        let (plan, id, values) = plans::create_api_key(given, &bench.owner, grant.clone())?;
        made = Some((id, text(&values[0])));
        Ok(plan)
    };
    bench.execute(create).await.unwrap();
    made.unwrap()
}

async fn rotate(bench: &VaultBench, id: StreamId, grace: u64) -> Result<String, Refusal> {
    let mut secret = String::new();
    let rotate = |given: &keyledger::vault::Given<'_>| {
        let (plan, values) = plans::rotate(given, &bench.owner, id, grace, None)?;
        secret = text(&values[0]);
        Ok(plan)
    };
    match bench.execute(rotate).await {
        Ok(_) => Ok(secret),
        Err(VaultError::Refused(refusal)) => Err(refusal),
        Err(error) => panic!("{error}"),
    }
}

fn works(bench: &VaultBench, token: &str) -> bool {
    bench.vault.authenticate(token).is_ok()
}

#[tokio::test]
async fn both_work_until_the_earlier_of_the_overlap_and_the_keys_own_end() {
    let bench = VaultBench::new().await;
    let end = bench.vault.now().plus_seconds(1000);
    let (id, first) = key(&bench, Some(end)).await;
    let second = rotate(&bench, id, 600).await.unwrap();
    bench.clock.pass(599_999);
    assert_eq!((works(&bench, &first), works(&bench, &second)), (true, true));
    bench.clock.pass(1);
    assert_eq!((works(&bench, &first), works(&bench, &second)), (false, true), "at the end of the overlap it is over");
    let third = rotate(&bench, id, MAX_GRACE).await.unwrap();
    bench.clock.pass(399_999);
    assert_eq!((works(&bench, &second), works(&bench, &third)), (true, true));
    bench.clock.pass(1);
    assert_eq!((works(&bench, &second), works(&bench, &third)), (false, false), "the key's own end ends both");
}

#[tokio::test]
async fn an_end_that_comes_nearer_ends_the_earlier_secret_as_well() {
    let bench = VaultBench::new().await;
    let (id, first) = key(&bench, None).await;
    let second = rotate(&bench, id, 600).await.unwrap();
    let changes = Changes { expires_at: Some(To { to: Some(bench.vault.now().plus_seconds(60)) }), ..Changes::default() };
    bench.execute(|given| plans::update_api_key(given, &bench.owner, id, changes.clone(), None)).await.unwrap();
    bench.clock.pass(60_000);
    assert_eq!((works(&bench, &first), works(&bench, &second)), (false, false));
}

#[tokio::test]
async fn it_is_finished_early_or_taken_back_and_what_was_cut_off_stays_cut_off() {
    let bench = VaultBench::new().await;
    let (id, first) = key(&bench, None).await;
    let owner = &bench.owner;
    let nothing = bench.execute(|given| plans::finish_rotation(given, owner, id)).await;
    assert!(matches!(nothing, Err(VaultError::Refused(Refusal::InvalidState(_)))));
    let second = rotate(&bench, id, 600).await.unwrap();
    bench.execute(|given| plans::take_back_rotation(given, owner, id)).await.unwrap();
    assert_eq!((works(&bench, &first), works(&bench, &second)), (true, false), "taken back");
    bench.clock.pass(700_000);
    assert!(works(&bench, &first), "it is the present one again, without an end");
    let third = rotate(&bench, id, 600).await.unwrap();
    bench.execute(|given| plans::finish_rotation(given, owner, id)).await.unwrap();
    assert_eq!((works(&bench, &first), works(&bench, &third)), (false, true), "finished");
    assert!(bench.execute(|given| plans::take_back_rotation(given, owner, id)).await.is_err(), "what was finished does not come back");
    let fourth = rotate(&bench, id, 600).await.unwrap();
    bench.clock.pass(600_000);
    assert!(bench.execute(|given| plans::take_back_rotation(given, owner, id)).await.is_err(), "nor what has ended by itself");
    let fifth = rotate(&bench, id, 0).await.unwrap();
    assert_eq!([&first, &second, &third, &fourth, &fifth].map(|token| works(&bench, token)), [false, false, false, false, true]);
}

#[tokio::test]
async fn at_most_three_earlier_secrets_work_and_a_rotation_without_overlap_ends_them_all() {
    let bench = VaultBench::new().await;
    let (id, first) = key(&bench, None).await;
    let mut tokens = vec![first];
    for _ in 0..MAX_IN_GRACE {
        tokens.push(rotate(&bench, id, 600).await.unwrap());
    }
    assert!(tokens.iter().all(|token| works(&bench, token)));
    assert!(matches!(rotate(&bench, id, 600).await, Err(Refusal::Limit { limit: 3, .. })));
    assert!(matches!(rotate(&bench, id, MAX_GRACE + 1).await, Err(Refusal::Invalid { field, .. }) if field == "grace_seconds"));
    let last = rotate(&bench, id, 0).await.unwrap();
    assert!(tokens.iter().all(|token| !works(&bench, token)) && works(&bench, &last));
}

#[tokio::test]
async fn a_clock_that_is_put_back_opens_nothing_anew_and_replay_gives_the_same_state() {
    let bench = VaultBench::new().await;
    let (id, first) = key(&bench, None).await;
    rotate(&bench, id, 600).await.unwrap();
    bench.clock.pass(600_000);
    // The log sees the later time; the clock is put back before the end of the overlap.
    let (_, other) = key(&bench, None).await;
    bench.clock.leap(-300_000);
    assert!(!works(&bench, &first) && works(&bench, &other));
    let views: Arc<Views> = bench.vault.views();
    assert_eq!(bench.replay(views.position()).await.0, *views);
    let AnyState::ApiKey(_) = &views.thing(id).unwrap().state else { panic!("a key") };
    assert_eq!(views.listed(TENANT, Kind::ApiKey, Position::ZERO).count(), 3);
}

#[test]
fn over_http_each_secret_shows_its_own_last_use() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let owner = owner(&server);
    let made = owner.ok("POST", "/v1/api-keys", &json!({"name": "k", "permissions": ["api-keys:read"]}));
    let (id, first) = (made["api_key"]["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned());
    let old = As { server: &server, token: first };
    let rotated = owner.ok("POST", &format!("/v1/credentials/{id}/rotate"), &json!({"grace_seconds": 600}));
    let new = As { server: &server, token: rotated["secret"].as_str().unwrap().to_owned() };
    assert!(rotated["credential"]["issued"][1]["ends_at"].is_string() && rotated["credential"]["issued"][0]["ends_at"].is_null());
    let uses = || {
        let shown = owner.ok("GET", &format!("/v1/credentials/{id}"), &Value::Null);
        let of = |place: usize| (shown["issued"][place]["use_count"].as_u64().unwrap(), shown["issued"][place]["last_used_at"].is_string());
        [of(0), of(1)]
    };
    assert_eq!(uses(), [(0, false), (0, false)]);
    old.ok("GET", "/v1/me", &Value::Null);
    assert_eq!(uses(), [(0, false), (1, true)], "somebody still uses the old one");
    new.ok("GET", "/v1/me", &Value::Null);
    new.ok("GET", "/v1/me", &Value::Null);
    assert_eq!(uses(), [(2, true), (1, true)]);
    let verified = owner.ok("POST", "/v1/keys/verify", &json!({"key": old.token}));
    assert!(verified["key"]["secret_ends_at"].is_string(), "a service can tell its caller to move on");
    owner.ok("POST", &format!("/v1/credentials/{id}/rotation/finish"), &Value::Null);
    assert_eq!((old.status("GET", "/v1/me", &Value::Null), new.status("GET", "/v1/me", &Value::Null)), (401, 200));
    // Uses outlive an orderly end of the server.
    drop((old, new));
    let token = server.token.clone();
    rustix::process::kill_process(rustix::process::Pid::from_child(&server.child), rustix::process::Signal::TERM).unwrap();
    let mut server = server;
    server.child.wait().unwrap();
    let server = start(folder.path(), &token);
    let owner = crate::members::owner(&server);
    assert_eq!(owner.ok("GET", &format!("/v1/credentials/{id}"), &Value::Null)["issued"][0]["use_count"], 3);
}

//! Commands from end to end, on real files: what is written, what is read, and that replay gives the same.

use keyledger::credentials::connection::{Changes, MASK, Phase, State, Tokens};
use keyledger::credentials::connector::Connector;
use keyledger::credentials::{self, AnyEvent, AnyState, Meta};
use keyledger::kernel::*;
use keyledger::keyring::{Keyring, Purpose};
use keyledger::vault::{Command, VaultError, access, plans};
use keyledger::views::Views;
use serde_json::json;

use crate::vault_bench::{TENANT, VaultBench, key, settings, tokens};

fn connection(views: &Views, consumer: &str, service: &str) -> (StreamId, keyledger::credentials::connection::Connection) {
    let id = views.connection(TENANT, &key(consumer, service)).unwrap();
    match &views.thing(id).unwrap().state {
        AnyState::Connection(State::Live(live)) => (id, (**live).clone()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_vault_begins_with_tenants_an_owner_and_the_catalog() {
    let bench = VaultBench::new().await;
    let views = bench.vault.views();
    assert_eq!((views.tenant("system"), views.tenant("default")), (Some(TenantId::SYSTEM), Some(TENANT)));
    assert!(views.connectors(TENANT).count() >= 40);
    assert!(views.user(TENANT, "owner").is_some());
    assert_eq!(bench.owner.held(), PermissionSet::ALL);
    let (head, tail) = bench.token.split_at(bench.token.len() - 1);
    let mistyped = format!("{head}{}", if tail == "0" { "1" } else { "0" });
    for wrong in ["", "klkey", &mistyped, &bench.token.to_uppercase(), &bench.token.replace("klkey", "kluser")] {
        assert_eq!(bench.vault.authenticate(wrong), Err(Refusal::NotFound), "{wrong}");
    }
}

#[tokio::test]
async fn an_import_makes_the_consumer_seals_the_tokens_and_is_callable() {
    let bench = VaultBench::new().await;
    let answer = bench.execute(|given| plans::import(given, TENANT, &key("c", "pipedrive"), tokens("an access token"), Changes::default())).await.unwrap();
    let (id, live) = connection(&answer.views, "c", "pipedrive");
    assert_eq!((live.phase, live.enabled), (Phase::Callable, true));
    assert!(answer.views.consumer(TENANT, "app", "c").is_some());
    assert_eq!(answer.events.unwrap().1, answer.views.position());
    let shown = bench.vault.reveal(&bench.owner, Meta::default(), id, "access_token", "a test").await.unwrap();
    assert_eq!(shown.value.expose(), b"an access token");
    let revealed = bench.vault.views().thing(id).unwrap().clone();
    assert!(revealed.version > revealed.content_version, "a reveal is recorded, and moves no content");
    let without_reason = bench.vault.reveal(&bench.owner, Meta::default(), id, "access_token", " ").await;
    assert!(matches!(without_reason.err(), Some(VaultError::Refused(Refusal::Invalid { .. }))));
    let files = std::fs::read_dir(bench.folder.path()).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    for file in files {
        for canary in [&b"an access token"[..], b"a refresh token", b"pipedrive"] {
            assert!(!file.windows(canary.len()).any(|window| window == canary), "no name and no secret lies in clear");
        }
    }
}

#[tokio::test]
async fn settings_are_facts_or_secrets_as_the_connector_says_and_a_mask_changes_nothing() {
    let bench = VaultBench::new().await;
    let update = |changes: Changes| bench.execute(move |given| plans::update(given, TENANT, &key("c", "activecampaign"), changes.clone()));
    let answer = update(settings(&[("base_url", json!("https://x.example.com"))])).await.unwrap();
    assert_eq!(connection(&answer.views, "c", "activecampaign").1.phase, Phase::Added);
    let answer = update(settings(&[("api_key", json!("sk-1")), ("undeclared", json!("hush"))])).await.unwrap();
    let (id, live) = connection(&answer.views, "c", "activecampaign");
    assert_eq!((live.phase, live.settings.len(), live.sealed.len()), (Phase::Callable, 1, 2));
    let before = live.sealed["api_key"].clone();
    let answer = update(settings(&[("api_key", json!(MASK)), ("base_url", json!("https://y.example.com"))])).await.unwrap();
    let (_, live) = connection(&answer.views, "c", "activecampaign");
    assert_eq!(live.sealed["api_key"], before);
    assert_eq!(bench.vault.reveal(&bench.owner, Meta::default(), id, "settings.api_key", "test").await.unwrap().value.expose(), b"sk-1");
    let odd = update(settings(&[("settings.api_key", json!("not the key"))])).await.unwrap();
    assert!(connection(&odd.views, "c", "activecampaign").1.sealed.contains_key("settings.api_key"), "an id may look like a box");
    let removed = Changes { settings: [("api_key".to_owned(), None)].into(), ..Changes::default() };
    let answer = update(removed).await.unwrap();
    assert_eq!(connection(&answer.views, "c", "activecampaign").1.phase, Phase::Added);
    assert!(update(Changes::default()).await.unwrap().events.is_none(), "nothing asked, nothing written");
    let too_large = update(settings(&[("api_key", json!("x".repeat(MAX_SECRET + 1)))])).await;
    assert!(matches!(too_large.err(), Some(VaultError::Refused(Refusal::Invalid { field, .. })) if field == "settings.api_key"));
}

#[tokio::test]
async fn a_setting_whose_id_looks_like_a_box_does_not_count_as_the_one_that_the_box_holds() {
    let bench = VaultBench::new().await;
    let given = [("base_url", json!("https://x.example.com")), ("settings.api_key", json!("not the key"))];
    let update = |changes: Changes| bench.execute(move |given| plans::update(given, TENANT, &key("c", "activecampaign"), changes.clone()));
    let answer = update(settings(&given)).await.unwrap();
    let (_, live) = connection(&answer.views, "c", "activecampaign");
    assert_eq!((live.phase, live.sealed.keys().map(String::as_str).collect()), (Phase::Added, vec!["settings.api_key"]));
    let answer = update(settings(&[("api_key", json!("the key"))])).await.unwrap();
    assert_eq!(connection(&answer.views, "c", "activecampaign").1.phase, Phase::Callable);
}

#[tokio::test]
async fn a_replay_ends_with_a_whole_group() {
    let bench = VaultBench::new().await;
    let before = bench.vault.views().position();
    let answer = bench.execute(|given| plans::import(given, TENANT, &key("c", "pipedrive"), tokens("t"), Changes::default())).await.unwrap();
    let (first, last) = answer.events.unwrap();
    assert_eq!((first.0, last.0), (before.0 + 1, before.0 + 4));
    for inside in first.0..last.0 {
        let (views, tree) = bench.replay(Position(inside)).await;
        assert_eq!((views.position().0, tree.size()), (before.0, before.0), "the group from {first} to {last} does not end at {inside}");
    }
    assert_eq!(bench.replay(last).await.0, *answer.views);
}

#[tokio::test]
async fn only_keys_that_sealed_something_are_shredded() {
    let bench = VaultBench::new().await;
    let key = KeyId { batch: [8; 12], slot: 7 };
    let shredded = |given: &keyledger::vault::Given<'_>| {
        let event = AnyEvent::from(credentials::vault::Event::Shredded { secrets: vec![], reason: "a test".into(), things: vec![], tenants: vec![] });
        Ok(Plan::of(Write { shreds: vec![key], ..Write::change(given.fresh(), Version::ZERO, event) }))
    };
    let refused = bench.execute(shredded).await.err().unwrap().to_string();
    assert!(refused.contains("only keys that sealed something"), "{refused}");
}

#[tokio::test]
async fn shipped_connectors_that_differ_enter_the_log_at_a_start_and_only_those() {
    let bench = VaultBench::new().await;
    assert_eq!(bench.vault.bring_catalog().await.unwrap(), 0, "a fresh vault has them all");
    // As an older version shipped it.
    let mut older = bench.vault.views().connector(TENANT, "crm", "pipedrive").unwrap().1.clone();
    older.name = "Pipedrive of old".into();
    let system = access::Principal { tenant: TenantId::SYSTEM, ..bench.owner.clone() };
    let command = Command { principal: &system, meta: Meta::default(), idempotency: None };
    bench.vault.execute(&command, |given| plans::put_connector(given, TenantId::SYSTEM, older.clone())).await.unwrap();
    assert_eq!(bench.vault.bring_catalog().await.unwrap(), 1);
    assert_eq!(bench.vault.views().connector(TENANT, "crm", "pipedrive").unwrap().1.name, "Pipedrive");
    assert_eq!(bench.vault.bring_catalog().await.unwrap(), 0);
}

#[tokio::test]
async fn a_consumers_metadata_stays_unless_it_is_named() {
    let bench = VaultBench::new().await;
    let put = |metadata: Option<Option<Json>>| bench.execute(move |given| plans::put_consumer(given, TENANT, "app", "c", metadata.clone()));
    let metadata = || bench.vault.views().consumers(TENANT, "app").next().unwrap().metadata.clone();
    let plan = Json::from(&json!({"plan": "e"}));
    put(Some(Some(plan.clone()))).await.unwrap();
    assert!(put(None).await.unwrap().events.is_none());
    assert_eq!(metadata(), Some(plan));
    put(Some(None)).await.unwrap();
    assert_eq!(metadata(), None);
}

#[tokio::test]
async fn a_delete_takes_along_exactly_what_is_listed_and_frees_the_names() {
    let bench = VaultBench::new().await;
    for service in ["pipedrive", "close"] {
        for consumer in ["a", "b"] {
            bench.execute(|given| plans::import(given, TENANT, &key(consumer, service), tokens("t"), Changes::default())).await.unwrap();
        }
    }
    let answer = bench.execute(|given| plans::delete_consumer(given, TENANT, "app", "a")).await.unwrap();
    let there = |consumer, service| answer.views.connection(TENANT, &key(consumer, service)).is_some();
    assert_eq!([there("a", "pipedrive"), there("a", "close"), there("b", "pipedrive"), there("b", "close")], [false, false, true, true]);
    let missing = bench.execute(|given| plans::delete_consumer(given, TENANT, "app", "a")).await;
    assert!(matches!(missing.err(), Some(VaultError::Refused(Refusal::NotFound))));
    bench.execute(|given| plans::import(given, TENANT, &key("a", "pipedrive"), tokens("t"), Changes::default())).await.unwrap();
    let answer = bench.execute(|given| plans::delete_connection(given, TENANT, &key("a", "pipedrive"))).await.unwrap();
    assert!(answer.views.connection(TENANT, &key("a", "pipedrive")).is_none());
    assert!(answer.views.consumer(TENANT, "app", "a").is_some());
}

#[tokio::test]
async fn concurrent_imports_for_one_new_consumer_all_succeed() {
    let bench = VaultBench::new().await;
    let services = ["pipedrive", "close", "activecampaign", "attio", "capsule", "hubspot"];
    let imports = services.map(|service| bench.execute(move |given| plans::import(given, TENANT, &key("c", service), tokens("t"), Changes::default())));
    for answer in futures_util::future::join_all(imports).await {
        answer.unwrap();
    }
    let views = bench.vault.views();
    assert!(services.iter().all(|service| views.connection(TENANT, &key("c", service)).is_some()));
}

#[tokio::test]
async fn the_same_idempotency_key_writes_once() {
    let bench = VaultBench::new().await;
    let send = async |access: &'static str| {
        let request: [&[u8]; 1] = [access.as_bytes()];
        let command = Command { principal: &bench.owner, meta: Meta::default(), idempotency: Some(("import", "key-1", &request)) };
        bench.vault.execute(&command, |given| plans::import(given, TENANT, &key("c", "pipedrive"), tokens(access), Changes::default())).await
    };
    let first = send("t").await.unwrap();
    let again = send("t").await.unwrap();
    assert_eq!((again.events, again.repeated, again.views.position()), (first.events, true, first.views.position()));
    assert!(matches!(send("other").await.err(), Some(VaultError::Refused(Refusal::CommandReused))));
}

#[tokio::test]
async fn a_superseded_access_token_is_due_to_die_and_a_deleted_one_after_the_undo_window() {
    let bench = VaultBench::new().await;
    let now = bench.vault.now();
    let send = |access: &'static str, lifetime: Option<i64>| {
        bench.execute(move |given| {
            let expires_at = lifetime.map(|seconds| given.now.plus_seconds(seconds));
            plans::import(given, TENANT, &key("c", "pipedrive"), Tokens { expires_at, ..tokens(access) }, Changes::default())
        })
    };
    let due = |moment: Moment| bench.vault.views().due(moment).map(|((due, _, name), _)| (*due, name.clone())).collect::<Vec<_>>();
    send("one", Some(3600)).await.unwrap();
    assert_eq!(due(now.plus_seconds(i64::MAX)), [], "one in use is not");
    send("two", None).await.unwrap();
    let first = (now.plus_seconds(3600 + 24 * 3600), "access_token".to_owned());
    assert_eq!(due(first.0.plus_millis(-1)), []);
    assert_eq!(due(first.0), std::slice::from_ref(&first));
    bench.execute(|given| plans::update(given, TENANT, &key("c", "pipedrive"), Changes { enabled: Some(false), ..Changes::default() })).await.unwrap();
    bench.execute(|given| plans::delete_connection(given, TENANT, &key("c", "pipedrive"))).await.unwrap();
    let later = now.plus_seconds(30 * 24 * 3600);
    let of = |name: &str| (later, name.to_owned());
    assert_eq!(due(later), [first, of("refresh_token"), of("access_token"), of("refresh_token")], "a refresh token that another took the place of, too");
}

#[tokio::test]
async fn a_tenants_own_connector_lies_over_the_shipped_one_for_itself_only() {
    let bench = VaultBench::new().await;
    let shipped = bench.vault.views().connector(TENANT, "crm", "close").unwrap().1.clone();
    let own = Connector { name: "Ours".into(), ..shipped.clone() };
    bench.execute(|given| plans::put_connector(given, TENANT, own.clone())).await.unwrap();
    assert!(bench.execute(|given| plans::put_connector(given, TENANT, own.clone())).await.unwrap().events.is_none(), "the same again");
    bench.execute(|given| plans::put_connector(given, TENANT, Connector { name: "Ours, too".into(), ..own.clone() })).await.unwrap();
    let views = bench.vault.views();
    assert_eq!(views.connector(TENANT, "crm", "close").unwrap().1.name, "Ours, too");
    assert_eq!(views.connector(TenantId([9; 16]), "crm", "close").unwrap().1.name, shipped.name);
    assert_eq!(views.connectors(TENANT).filter(|connector| connector.service_id == "close" && connector.unified_api == "crm").count(), 1);
}

fn ask<'a>(principal: &'a access::Principal, tenant: TenantId, app: Option<&str>) -> Result<&'a str, Refusal> {
    access::authorize(principal, Permission::SecretsReveal, access::Resource { tenant, app })
}

#[test]
fn another_tenants_thing_looks_like_a_missing_one() {
    let hold = |rule: &str, permissions| access::Hold { rule: rule.to_owned(), permissions };
    let principal = |holds: Vec<access::Hold>, apps: &[&str]| access::Principal {
        holds,
        app_ids: apps.iter().map(ToString::to_string).collect(),
        ..access::Principal::vault(TENANT)
    };
    let owner = |apps: &[&str]| principal(vec![hold("role:owner", PermissionSet::ALL)], apps);
    assert_eq!(ask(&owner(&[]), TENANT, Some("app")), Ok("role:owner"));
    assert_eq!(ask(&owner(&[]), TenantId::SYSTEM, None), Err(Refusal::NotFound));
    assert_eq!(ask(&owner(&["other"]), TENANT, Some("app")), Err(Refusal::NotFound));
    let own = hold("own permission", PermissionSet::of(&[Permission::SecretsReveal]));
    let reader = hold("role:reader", Builtin::Reader.permissions());
    assert_eq!(ask(&principal(vec![reader.clone(), own], &[]), TENANT, None), Ok("own permission"));
    assert_eq!(ask(&principal(vec![reader], &[]), TENANT, None), Err(Refusal::Forbidden { permission: "secrets:reveal" }));
    let operate = |is_home| {
        access::authorize(&access::Principal { is_home, ..owner(&[]) }, Permission::VaultOperate, access::Resource { tenant: TENANT, app: None }).is_ok()
    };
    assert_eq!((operate(true), operate(false)), (true, false), "the whole vault is run from the first tenant");
}

#[tokio::test]
async fn live_is_replay_at_every_position_and_after_a_restart() {
    let mut bench = VaultBench::new().await;
    let mut seen: Vec<Views> = vec![(*bench.vault.views()).clone()];
    for step in 0..24_u32 {
        bench.clock.pass(1_000);
        let (consumer, service) =
            ([["a", "b"], ["c", "a"]][step as usize % 2][step as usize / 2 % 2], ["pipedrive", "close", "activecampaign"][step as usize % 3]);
        let answer = match step % 6 {
            0..=2 => bench.execute(|given| plans::import(given, TENANT, &key(consumer, service), tokens(&format!("t{step}")), Changes::default())).await,
            3 => bench.execute(|given| plans::update(given, TENANT, &key(consumer, service), settings(&[("api_key", json!(step))]))).await,
            4 => bench.execute(|given| plans::delete_connection(given, TENANT, &key(consumer, service))).await,
            _ => bench.execute(|given| plans::delete_consumer(given, TENANT, "app", consumer)).await,
        };
        match answer {
            Ok(answer) => seen.push((*answer.views).clone()),
            Err(VaultError::Refused(Refusal::NotFound)) => {}
            Err(error) => panic!("{error}"),
        }
        if step == 12 {
            bench = bench.restart().await;
        }
    }
    assert!(seen.len() > 12);
    let state_key = bench.keyring.purpose(TenantId::SYSTEM, Purpose::State).unwrap().key;
    for live in &seen {
        let (replayed, tree) = bench.replay(live.position()).await;
        assert_eq!(replayed, *live, "at {}", live.position());
        assert_eq!(replayed.state_hash(&state_key).unwrap(), live.state_hash(&state_key).unwrap());
        assert_eq!(tree.size(), live.position().0);
    }
    let last = seen.last().unwrap();
    let hashes: std::collections::HashSet<[u8; 32]> = seen.iter().map(|views| views.state_hash(&state_key).unwrap().hash).collect();
    assert_eq!(hashes.len(), seen.len(), "each state has a hash of its own");
    let (inside_a_group, _) = bench.replay(Position(last.position().0 - 1)).await;
    assert!(inside_a_group.position().0 < last.position().0, "rounds down to a whole group");
    let restarted = bench.restart().await;
    assert_eq!(*restarted.vault.views(), *seen.last().unwrap());
}

//! The stored shape of every event, one file each. A file never changes: what was written years ago must still be read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use keyledger::credentials::connection::{self, Grant, Key, Part, Phase, Written};
use keyledger::credentials::connector::Inject;
use keyledger::credentials::vault::SecretAt;
use keyledger::credentials::{AnyEvent, Meta, Verifier, api_key, connector, consumer, issued, tenant, user, vault};

use keyledger::kernel::*;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events")
}

fn meta() -> Meta {
    Meta {
        ip: Some("203.0.113.7".into()),
        agent: Some("curl/8.5".into()),
        rule: Some("role:owner".into()),
        reason: Some("support case 4711".into()),
        request_id: Some("a request".into()),
    }
}

pub fn at(seconds: i64) -> Moment {
    Moment::from_millis(1_777_903_500_000).plus_seconds(seconds)
}

fn written() -> Written {
    Written {
        enabled: Some(false),
        settings: BTreeMap::from([("base_url".to_owned(), Json::from(&json!("https://x.example.com")))]),
        removed: vec!["old".into()],
        metadata: Some(Part::Set(Json::from(&json!({"plan": "e"})))),
        configuration: Some(Part::Removed),
        custom_mappings: Some(Part::Set(Json::from(&json!([{"value": 1}])))),
        phase: Phase::Callable,
    }
}

fn api() -> connector::Api {
    let auth = vec![
        Inject::Header { name: "authorization".into(), value: "Bearer {access_token}".into() },
        Inject::Query { name: "key".into(), value: "{client_id}".into() },
        Inject::Basic { username: "{client_id}".into(), password: "{client_secret}".into() },
    ];
    connector::Api { base_url: "https://api.example.com/v1".into(), hosts: vec!["*.example.com".into()], auth }
}

fn connections() -> Vec<connection::Event> {
    use connection::Event;
    let key = Key { app: "app".into(), consumer: "acme".into(), unified_api: "crm".into(), service_id: "pipedrive".into() };
    let secret = SecretRef { position: Position(7), name: "access_token".into(), version: Version(2), fingerprint: Fingerprint([9; 16]) };
    let intent = Position(41);
    vec![
        Event::Created { key, consumer: StreamId([1; 16]), phase: Phase::Added, grant: None },
        Event::Updated(written()),
        Event::Imported { written: written(), issued_at: Some(at(0)), expires_at: Some(at(3600)) },
        Event::ExchangeStarted { grant: Grant::ClientCredentials, parent: None, flow: None },
        Event::Exchanged {
            intent,
            issued_at: Some(at(1)),
            expires_at: Some(at(3601)),
            scope: Some("read write".into()),
            phase: Phase::Authorized,
            confirm: None,
            late: false,
        },
        Event::ExchangeFailed {
            intent,
            cause: "the service answered 401: invalid_client".into(),
            passing: false,
            status: Some(401),
            retry_at: None,
            phase: None,
            client: false,
        },
        Event::ExchangeLost { intent, cause: "no whole answer in time; the outcome is unknown".into() },
        Event::Validated { phase: Phase::Invalid },
        Event::Revealed { secret },
        Event::Deleted,
    ]
    .into_iter()
    .chain(crate::event_shapes_connections::later())
    .collect()
}

fn others() -> Vec<AnyEvent> {
    let tenant = TenantId([2; 16]);
    let profile =
        user::Profile { login: "owner".into(), name: "Owner".into(), email: Some("owner@example.com".into()), roles: vec![RoleRef::Builtin(Builtin::Owner)] };
    let grant = api_key::Grant {
        name: "a key".into(),
        owner: Some(StreamId([3; 16])),
        permissions: vec!["audit:read".into()],
        emails: vec!["a@example.com".into()],
        organizations: vec![StreamId([4; 16])],
        labels: vec!["label".into()],
        dns_name: Some("host".into()),
        app_ids: vec!["app".into()],
        expires_at: Some(at(86_400)),
    };
    let token = issued::KnownToken { id: "0123456789abcdef01234567".into(), short: "klkey_01234567".into(), verifier: Verifier::new([5; 16], [6; 32]) };
    let pipedrive = connector::shipped().unwrap().into_iter().find(|connector| connector.service_id == "pipedrive").unwrap();
    let with_api = connector::Connector { api: Some(api()), ..pipedrive.clone() };
    let pipedrive = connector::Connector { api: None, ..pipedrive };
    let secrets = vec![SecretAt { position: Position(7), name: "access_token".into() }];
    let from = Epoch { number: 1, id: [7; 16] };
    let restored = vault::Event::Restored { from, position: Position(90), root: "ab".repeat(32), state: "cd".repeat(32), dropped_to: Position(120) };
    let mut events: Vec<AnyEvent> = vec![
        tenant::Event::Created { tenant, name: "default".into() }.into(),
        user::Event::Created(profile).into(),
        api_key::Event::Created { grant, token }.into(),
        connector::Event::Put(Box::new(pipedrive)).into(),
        connector::Event::Put(Box::new(with_api)).into(),
        vault::Event::Created.into(),
        vault::Event::Shredded { secrets, reason: "retention".into(), things: vec![], tenants: vec![] }.into(),
        restored.into(),
        vault::Event::Resumed.into(),
    ];
    let metadata = Some(Json::from(&json!({"account": 1})));
    let consumers = vec![
        consumer::Event::Created { app: "app".into(), consumer: "acme".into(), metadata: metadata.clone() },
        consumer::Event::Updated { metadata },
        consumer::Event::ConnectionAdded { connection: StreamId([8; 16]) },
        consumer::Event::ConnectionRemoved { connection: StreamId([8; 16]) },
        consumer::Event::SessionOpened { until: at(3600) },
        consumer::Event::Deleted,
    ];
    events.extend(consumers.into_iter().map(AnyEvent::from));
    events
}

/// At least one event of each type. The match has no other arm, so that a new type without an example does not compile.
pub fn examples() -> Vec<AnyEvent> {
    let all: Vec<AnyEvent> = connections().into_iter().map(AnyEvent::from).chain(others()).collect();
    for event in &all {
        match event {
            AnyEvent::Tenant(tenant::Event::Created { .. })
            | AnyEvent::User(user::Event::Created(_))
            | AnyEvent::ApiKey(api_key::Event::Created { .. })
            | AnyEvent::Connector(connector::Event::Put(_))
            | AnyEvent::Consumer(
                consumer::Event::Created { .. }
                | consumer::Event::Updated { .. }
                | consumer::Event::ConnectionAdded { .. }
                | consumer::Event::ConnectionRemoved { .. }
                | consumer::Event::SessionOpened { .. }
                | consumer::Event::Deleted,
            )
            | AnyEvent::Connection(
                connection::Event::Created { .. }
                | connection::Event::Updated(_)
                | connection::Event::Imported { .. }
                | connection::Event::ExchangeStarted { .. }
                | connection::Event::Exchanged { .. }
                | connection::Event::ExchangeFailed { .. }
                | connection::Event::ExchangeLost { .. }
                | connection::Event::Validated { .. }
                | connection::Event::Revealed { .. }
                | connection::Event::AuthorizationBegun(_)
                | connection::Event::AuthorizationEnded { .. }
                | connection::Event::Confirmed { .. }
                | connection::Event::Dropped { .. }
                | connection::Event::Revoked { .. }
                | connection::Event::RevocationTold(_)
                | connection::Event::Consented { .. }
                | connection::Event::Used { .. }
                | connection::Event::Deleted,
            )
            | AnyEvent::Vault(
                vault::Event::Created
                | vault::Event::Shredded { .. }
                | vault::Event::Restored { .. }
                | vault::Event::Resumed
                | vault::Event::RootRotated { .. }
                | vault::Event::TenantKeyRotated { .. }
                | vault::Event::Repaired { .. }
                | vault::Event::LossAccepted { .. }
                | vault::Event::BackupVerified { .. },
            ) => {}
            other => assert!(crate::event_shapes_issued::is_known(other)),
        }
    }
    all.into_iter().chain(crate::event_shapes_issued::examples()).collect()
}

fn name(event: &AnyEvent) -> String {
    format!("{}.{}.json", event.kind(), event.event_type())
}

/// The examples with their files: of a type that came to say more there are several, `kind.type.json`, `kind.type.2.json` and so on.
fn files() -> Vec<(String, AnyEvent)> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let numbered = |event: AnyEvent| {
        let name = name(&event);
        let count = seen.entry(name.clone()).or_default();
        *count += 1;
        let file = if *count == 1 { name } else { name.replace(".json", &format!(".{count}.json")) };
        (file, event)
    };
    let later = crate::event_shapes_reverted::examples(examples()).into_iter().chain(crate::event_shapes_keys::examples());
    examples().into_iter().chain(later).map(numbered).collect()
}

#[test]
fn every_event_is_written_as_it_always_was() {
    let bless = std::env::var_os("KEYLEDGER_BLESS").is_some();
    for (file, event) in files() {
        let stored: Value = serde_json::from_slice(&event.to_facts(&meta()).unwrap()).unwrap();
        let path = folder().join(file);
        if bless && !path.exists() {
            fs::write(&path, serde_json::to_string_pretty(&stored).unwrap() + "\n").unwrap();
        }
        let text = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{}: missing; KEYLEDGER_BLESS=1 writes it, once", path.display()));
        assert_eq!(stored, serde_json::from_str::<Value>(&text).unwrap(), "{}: a stored shape never changes; read the old one as well", path.display());
    }
}

#[test]
fn every_stored_shape_is_read_and_says_the_same_again() {
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (parts, text) = (file.split('.').collect::<Vec<&str>>(), fs::read(&path).unwrap());
        let read = AnyEvent::from_facts(parts[0], parts[1], &text).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(name(&read.event), format!("{}.{}.json", parts[0], parts[1]));
        let again: Value = serde_json::from_slice(&read.event.to_facts(&read.meta).unwrap()).unwrap();
        assert_eq!(again, serde_json::from_slice::<Value>(&text).unwrap(), "{file}");
        assert!(AnyEvent::from_facts("unknown", "created", &text).is_err());
        seen.insert(file);
    }
    assert_eq!(seen, files().into_iter().map(|(file, _)| file).collect(), "one file for each example");
}

#[test]
fn what_was_never_written_is_not_read() {
    for bad in ["", "{}", "[]", r#"{"meta":{}}"#, r#"{"meta":{},"event":"no such"}"#, r#"{"meta":{},"event":{"created":{}}}"#, r#"{"event":"deleted"}"#] {
        assert!(AnyEvent::from_facts("connection", "created", bad.as_bytes()).is_err(), "{bad}");
    }
}

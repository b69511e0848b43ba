//! The rules of integrations: what may be supplied, what an event leaves behind, and what rests on it.

use keyledger::credentials::AnyState;
use keyledger::credentials::connection::{Changes, Command as Order, Key, Phase};
use keyledger::credentials::connector::{Connector, FormField, shipped};
use keyledger::credentials::integration::{Integration, State, Supply};
use keyledger::credentials::settings::{GivenSettings, MASK};
use keyledger::jobs::Refresher;
use keyledger::kernel::*;
use keyledger::vault::access::Principal;
use keyledger::vault::{Answer, VaultError, plans};
use keyledger::views::Views;
use serde_json::{Value, json};

use crate::exchange_bench::{Bench, LOOPBACK};
use crate::vault_bench::{TENANT, VaultBench, settings, tokens};

const PERSONIO: (&str, &str) = ("hris", "personio");

fn given(settings: &[(&str, Value)]) -> GivenSettings {
    settings.iter().map(|(id, value)| ((*id).to_owned(), Some(value.clone()).filter(|value| !value.is_null()))).collect()
}

fn live(views: &Views) -> &Integration {
    views.integration(TENANT, PERSONIO.0, PERSONIO.1).unwrap().1
}

fn refused<T>(result: Result<T, VaultError>) -> Refusal {
    match result.err() {
        Some(VaultError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

impl VaultBench {
    async fn put(&self, settings: &[(&str, Value)]) -> Result<Answer, VaultError> {
        self.execute(|at| plans::put_integration(at, &self.owner, PERSONIO, (true, given(settings)), None)).await
    }

    async fn patch(&self, enabled: Option<bool>, settings: &[(&str, Value)]) -> Result<Answer, VaultError> {
        self.execute(|at| plans::update_integration(at, &self.owner, PERSONIO, (enabled, given(settings)), None)).await
    }

    async fn gone(&self) -> Result<Answer, VaultError> {
        self.execute(|at| plans::delete_integration(at, &self.owner, PERSONIO, None)).await
    }
}

#[tokio::test]
async fn only_what_the_service_asks_for_may_be_supplied_and_the_refusal_repeats_nothing() {
    let bench = VaultBench::new().await;
    for wrong in [json!("a"), Value::Null] {
        let Refusal::Invalid { field, problem } = refused(bench.put(&[("canary", wrong), ("client_id", json!("i"))]).await) else { panic!("another refusal") };
        assert_eq!((field.as_str(), problem.as_str()), ("settings", "takes what Personio asks for: client_id, client_secret"));
    }
    let nowhere = bench.execute(|at| plans::put_integration(at, &bench.owner, ("hris", "nobody"), (true, given(&[])), None)).await;
    assert_eq!(refused(nowhere), Refusal::NotFound);
    bench.put(&[("client_id", json!("i")), ("client_secret", json!("s"))]).await.unwrap();
    // What the service no longer asks for may still be taken away, and nothing else.
    let mut connector = bench.vault.views().connector(TENANT, PERSONIO.0, PERSONIO.1).unwrap().1.clone();
    connector.form_fields.retain(|field| field.id != "client_secret");
    connector.settings_required_for_authorization.retain(|id| id != "client_secret");
    bench.execute(|at| plans::put_connector(at, TENANT, connector.clone())).await.unwrap();
    assert!(matches!(refused(bench.patch(None, &[("client_secret", json!("t"))]).await), Refusal::Invalid { .. }));
    let after = bench.patch(None, &[("client_secret", Value::Null)]).await.unwrap();
    assert_eq!((live(&after.views).settings.len(), live(&after.views).sealed.len()), (1, 0));
}

#[tokio::test]
async fn a_put_is_the_whole_a_patch_a_part_and_a_mask_changes_nothing() {
    let bench = VaultBench::new().await;
    let made = bench.patch(None, &[("client_id", json!("i")), ("client_secret", json!("s"))]).await.unwrap();
    let (first, secret) = (live(&made.views).clone(), live(&made.views).sealed["client_secret"].clone());
    assert!(first.enabled && first.settings["client_id"].value() == "i" && secret.name == "settings.client_secret");
    for answer in [
        bench.put(&[("client_id", json!("i")), ("client_secret", json!(MASK))]).await.unwrap(),
        bench.patch(Some(true), &[("client_id", json!("i"))]).await.unwrap(),
        bench.patch(None, &[]).await.unwrap(),
    ] {
        assert_eq!((answer.events, live(&answer.views)), (None, &first), "what is as it was is no change");
    }
    bench.clock.pass(1000);
    let other = bench.patch(Some(false), &[("client_secret", json!("t"))]).await.unwrap();
    let now = live(&other.views);
    assert!(!now.enabled && now.settings == first.settings && now.sealed["client_secret"].position > secret.position);
    assert!(now.created_at == first.created_at && now.updated_at > first.updated_at);
    let without = bench.put(&[("client_secret", json!(MASK))]).await.unwrap();
    let whole = live(&without.views);
    assert!(whole.enabled && whole.settings.is_empty() && whole.sealed == now.sealed, "what is not named goes, a mask keeps");
    let emptied = bench.patch(None, &[("client_secret", json!(""))]).await.unwrap();
    assert!(live(&emptied.views).sealed.is_empty(), "an emptied field is cleared");
}

#[tokio::test]
async fn there_is_one_for_each_service_and_after_a_delete_a_new_one_also_from_a_snapshot() {
    let bench = VaultBench::new().await;
    assert_eq!(refused(bench.gone().await), Refusal::NotFound);
    let ids = [[("client_id", json!("1"))], [("client_id", json!("2"))]];
    let (one, two) = tokio::join!(bench.put(&ids[0]), bench.put(&ids[1]));
    assert!(one.is_ok() && two.is_ok(), "the later one changed what the earlier one made");
    let views = bench.vault.views();
    assert_eq!(views.listed(TENANT, keyledger::credentials::Kind::Integration, Position::ZERO).count(), 1);
    let old = views.integration(TENANT, PERSONIO.0, PERSONIO.1).unwrap().0;
    let gone = bench.gone().await.unwrap();
    assert!(gone.views.integration(TENANT, PERSONIO.0, PERSONIO.1).is_none());
    assert_eq!(gone.views.latest_integration(TENANT, PERSONIO.0, PERSONIO.1), Some(old), "its history is still found");
    assert!(matches!(&gone.views.thing(old).unwrap().state, AnyState::Integration(State::Deleted { last, .. }) if last.settings.len() == 1));
    let anew = bench.put(&[]).await.unwrap().views.integration(TENANT, PERSONIO.0, PERSONIO.1).unwrap().0;
    assert_ne!(anew, old);
    let path = bench.folder.path().join("snapshot");
    bench.write_snapshot(&path).await;
    let read = bench.read_snapshot(&path).await.unwrap();
    assert!(read.views == *bench.vault.views() && read.views.latest_integration(TENANT, PERSONIO.0, PERSONIO.1) == Some(anew));
}

#[tokio::test]
async fn a_secret_that_was_superseded_dies_after_the_time_to_undo_it() {
    let bench = VaultBench::new().await;
    let first = bench.put(&[("client_secret", json!("one"))]).await.unwrap().events.unwrap().0;
    let second = bench.patch(None, &[("client_secret", json!("two"))]).await.unwrap().events.unwrap().0;
    let due = |days: i64| -> Vec<Position> {
        let views = bench.vault.views();
        views
            .due(bench.vault.now().plus_seconds(days * 24 * 3600))
            .filter(|((_, _, name), _)| name == "settings.client_secret")
            .map(|((_, at, _), _)| *at)
            .collect()
    };
    assert_eq!((due(29), due(31)), (vec![], vec![first]));
    bench.gone().await.unwrap();
    assert_eq!((due(29), due(31)), (vec![], vec![first, second]));
}

#[tokio::test]
async fn whoever_is_bound_to_some_applications_neither_changes_it_nor_sees_its_secret() {
    let bench = VaultBench::new().await;
    let id = bench.put(&[("client_secret", json!("one"))]).await.unwrap().views.integration(TENANT, PERSONIO.0, PERSONIO.1).unwrap().0;
    let bound = Principal { app_ids: vec!["app".into()], ..bench.owner.clone() };
    let changed = bench.execute(|at| plans::update_integration(at, &bound, PERSONIO, (Some(false), given(&[])), None)).await;
    let deleted = bench.execute(|at| plans::delete_integration(at, &bound, PERSONIO, None)).await;
    let show = async |by: &Principal| bench.vault.reveal(by, keyledger::credentials::Meta::default(), id, "settings.client_secret", "a test").await;
    for refusal in [refused(changed), refused(deleted), refused(show(&bound).await)] {
        assert!(matches!(refusal, Refusal::Forbidden { .. }), "{refusal:?}");
    }
    assert_eq!(show(&bench.owner).await.unwrap().value.expose(), b"one");
    let stranger = Principal { tenant: TenantId([9; 16]), ..bench.owner.clone() };
    assert_eq!(refused(show(&stranger).await), Refusal::NotFound);
}

fn personio(consumer: &str) -> Key {
    Key { app: "app".into(), consumer: consumer.into(), unified_api: PERSONIO.0.into(), service_id: PERSONIO.1.into() }
}

#[tokio::test]
async fn what_is_decided_about_a_connection_rests_on_what_is_supplied() {
    let bench = VaultBench::new().await;
    let key = personio("c");
    let id = bench.put(&[("client_id", json!("i")), ("client_secret", json!("s"))]).await.unwrap().views.integration(TENANT, PERSONIO.0, PERSONIO.1).unwrap().0;
    let guard = Guard { stream: id, expected: Version(1) };
    let mut rests = Vec::new();
    for order in
        [|| Order::Update(Changes { enabled: Some(false), ..Changes::default() }), || Order::Import { tokens: tokens("t"), changes: Changes::default() }]
    {
        let seen = &mut rests;
        let done = bench.execute(|at| plans::upsert(at, TENANT, &key, order()).inspect(|plan| seen.push(plan.guards.contains(&guard)))).await;
        done.unwrap();
    }
    let enable = settings(&[]);
    bench.execute(|at| plans::update(at, TENANT, &key, Changes { enabled: Some(true), ..enable.clone() })).await.unwrap();
    let start = || Order::StartExchange(keyledger::credentials::connection::Want::Begin);
    let seen = &mut rests;
    let begun = bench.execute(|at| plans::upsert(at, TENANT, &key, start()).inspect(|plan| seen.push(plan.guards.contains(&guard)))).await.unwrap();
    assert_eq!(rests, [true, true, true]);
    // What the service gives is recorded, whatever became of the integration.
    bench.patch(Some(false), &[]).await.unwrap();
    let connection = begun.views.connection(TENANT, &key).unwrap();
    let intent = begun.events.unwrap().0;
    let outcome = || keyledger::credentials::connection::Outcome::Tokens(tokens("u"));
    let mut guards = 0;
    let finish = |at: &keyledger::vault::Given<'_>| {
        let finish = Order::FinishExchange { intent, outcome: outcome(), confirm: None };
        plans::on_connection(at, connection, finish).inspect(|plan| guards = plan.guards.len())
    };
    bench.execute(finish).await.unwrap();
    assert_eq!(guards, 0);
    assert_eq!(
        refused(bench.execute(|at| plans::on_connection(at, connection, start())).await),
        Refusal::InvalidState("the integration with Personio is disabled".into())
    );
}

#[tokio::test]
async fn a_connection_stands_where_what_is_supplied_today_puts_it() {
    let bench = VaultBench::new().await;
    let mut connector = bench.vault.views().connector(TENANT, PERSONIO.0, PERSONIO.1).unwrap().1.clone();
    let field = FormField { id: "region".into(), required: true, sensitive: false, ..connector.form_fields[0].clone() };
    connector.form_fields.push(field);
    bench.execute(|at| plans::put_connector(at, TENANT, connector.clone())).await.unwrap();
    let import = async |consumer: &str| {
        let key = personio(consumer);
        bench.execute(|at| plans::import(at, TENANT, &key, tokens("t"), Changes::default())).await.unwrap();
    };
    let stands = |consumer: &str| {
        let views = bench.vault.views();
        let entry = views.thing(views.connection(TENANT, &personio(consumer)).unwrap()).unwrap();
        let AnyState::Connection(keyledger::credentials::connection::State::Live(live)) = &entry.state else { panic!("it is there") };
        (live.phase, views.standing(TENANT, &connector, live))
    };
    import("early").await;
    assert_eq!(stands("early"), (Phase::Authorized, Phase::Authorized));
    bench.put(&[("region", json!("eu"))]).await.unwrap();
    import("late").await;
    assert_eq!((stands("early"), stands("late")), ((Phase::Authorized, Phase::Callable), (Phase::Callable, Phase::Callable)));
    bench.patch(None, &[("region", Value::Null)]).await.unwrap();
    assert_eq!((stands("early").1, stands("late").1), (Phase::Authorized, Phase::Authorized));
}

fn of(service: &str) -> Connector {
    shipped().unwrap().into_iter().find(|connector| connector.service_id == service).unwrap()
}

/// Whether the tenant's secret goes along with a token request of a connection with this setting of its own.
fn goes_along(service: &str, tenants: &[(&str, &str)], own: &[(&str, Value)]) -> bool {
    let connector = of(service);
    let secret = SecretRef { position: Position(7), name: "settings.client_secret".into(), version: Version(2), fingerprint: Fingerprint([9; 16]) };
    let integration = Integration {
        unified_api: connector.unified_api.clone(),
        service_id: service.to_owned(),
        enabled: true,
        settings: tenants.iter().map(|(id, value)| ((*id).to_owned(), Json::from(&json!(value)))).collect(),
        sealed: [("client_secret".to_owned(), secret)].into(),
        created_at: Moment::default(),
        updated_at: Moment::default(),
    };
    let key = Key { unified_api: connector.unified_api.clone(), service_id: service.to_owned(), ..personio("c") };
    let context = keyledger::credentials::connection::Context {
        subject: keyledger::credentials::Subject { stream: StreamId([2; 16]), version: Version(1) },
        now: Moment::default(),
        connector: &connector,
        supplied: &|_| false,
    };
    let keyledger::credentials::connection::State::Live(mut live) = keyledger::credentials::connection::fresh(key, StreamId([1; 16]), &context) else {
        panic!("it is there")
    };
    live.settings = own.iter().map(|(id, value)| ((*id).to_owned(), Json::from(value))).collect();
    let supply = Supply::of(Some(&integration), &connector, Some(&live));
    assert_eq!(supply.has("client_secret"), supply.secrets().count() == 1);
    assert_eq!(supply.facts().count(), tenants.len(), "what is no secret is always supplied");
    supply.has("client_secret")
}

#[test]
fn a_supplied_secret_goes_to_no_host_that_a_consumer_chose() {
    for (service, tenants, own, goes) in [
        ("personio", vec![], vec![], true),
        // A part of a domain of the service's own.
        ("zendesk", vec![], vec![("subdomain", json!("acme"))], true),
        ("sharepoint", vec![], vec![("tenant_id", json!("acme"))], true),
        // One of those that the connector knows, or the rest of anybody's domain.
        ("zoho-crm", vec![], vec![("data_center", json!("eu"))], true),
        ("zoho-crm", vec![], vec![("data_center", json!("evil.example.com"))], false),
        ("zoho-crm", vec![], vec![("data_center", json!(["eu"]))], false),
        ("shopware", vec![], vec![], true),
        ("shopware", vec![], vec![("host", json!("evil.example.com"))], false),
        ("shopware", vec![("host", "shop.example.com")], vec![("host", json!("evil.example.com"))], false),
        ("shopware", vec![("host", "shop.example.com")], vec![("host", json!("shop.example.com"))], true),
        ("shopware", vec![("host", "shop.example.com")], vec![("host", json!(""))], true),
        ("shopware", vec![("host", "shop.example.com")], vec![], true),
    ] {
        assert_eq!(goes_along(service, &tenants, &own), goes, "{service} {tenants:?} {own:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_switched_off_is_not_renewed_and_that_is_no_failure() {
    let bench = Bench::new("http://127.0.0.1:9/token".into(), LOOPBACK).await;
    let owner = &bench.wanted.principal;
    let switch = |enabled| move |at: &keyledger::vault::Given<'_>| plans::update_integration(at, owner, ("crm", "local"), (Some(enabled), given(&[])), None);
    let key = Key { app: "app".into(), consumer: "c".into(), unified_api: "crm".into(), service_id: "local".into() };
    let refresh = || keyledger::credentials::connection::Tokens { refresh: Some(Secret::from("r")), ..Default::default() };
    bench.execute(switch(false)).await;
    bench.execute(|at| plans::import(at, TENANT, &key, refresh(), Changes::default())).await;
    let mut refresher = Refresher::new(bench.vault.clone(), bench.exchanges.clone());
    let before = bench.vault.views().position();
    assert_eq!((refresher.step().await, bench.vault.views().position()), (0, before), "its refresh token waits");
    bench.execute(switch(true)).await;
    assert_eq!(refresher.step().await, 1);
    refresher.settle().await;
    assert!(bench.live().failure.is_some(), "it was tried: nobody is there");
}

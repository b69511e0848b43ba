//! What happens while the service is asked: imports, revocations, deletions, codes, a full disk, a clock that leaps, an orderly end. A result is
//! recorded whatever comes, and takes nobody's place.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use keyledger::credentials::Meta;
use keyledger::credentials::connection::{Changes, Command as Order, Flow, Outcome, Phase, Tokens, Want};
use keyledger::credentials::connector::GrantType;
use keyledger::egress::Limits;
use keyledger::kernel::{FlowId, Json, Position, Secret, StreamId};
use keyledger::oauth::{Landed, Wanted, What};
use keyledger::vault::plans;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::storm_bench::{Doing, Storm, exchanges, key};
use crate::storm_provider::{Provider, Rules, access, refresh};
use crate::vault_bench::TENANT;

async fn with(grant: GrantType) -> (Storm, Provider) {
    let (storm, provider) = (Storm::new().await, Provider::start(Rules { expires_in: Some(3600), ..Rules::default() }).await);
    storm.service("local", &provider.url, grant).await;
    (storm, provider)
}

/// A refresh that the service holds.
async fn flying() -> (Storm, Provider, StreamId, JoinHandle<Landed>) {
    let (storm, provider) = with(GrantType::AuthorizationCode).await;
    let id = storm.import("local", "f", None).await;
    provider.close();
    let flight = storm.begin(id, What::Renew);
    provider.heard(1).await;
    (storm, provider, id, flight)
}

async fn stored(provider: &Provider, flight: JoinHandle<Landed>) {
    provider.open(1);
    assert!(matches!(flight.await.unwrap(), Landed::Stored { .. }));
}

/// The types of the latest events of a connection, newest first.
async fn latest(storm: &Storm, id: StreamId, count: usize) -> Vec<String> {
    let mut at = storm.vault.views().thing(id).unwrap().last;
    let mut types = Vec::new();
    while types.len() < count && at > Position::ZERO {
        let record = storm.vault.log().fetch(&[at]).await.unwrap().remove(0);
        types.push(record.header().event_type.clone());
        at = record.header().previous;
    }
    types
}

const REFUSED: &str = "{\"error\":\"invalid_grant\"}";

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_were_imported_meanwhile_stay() {
    let (storm, provider, id, flight) = flying().await;
    storm.import_more("local", "f", Some("at-g-0"), Some("rt-g-0"), Some(3600)).await;
    stored(&provider, flight).await;
    assert_eq!(storm.tokens(id).await, (access("g", 0), refresh("g", 0)));
    assert_eq!((storm.live(id).flight, storm.health(id)), (None, "ok"));
    assert_eq!(latest(&storm, id, 5).await[2..], ["exchanged", "imported", "exchange_started"], "and the result is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_alone_that_was_imported_does_not_cost_the_new_refresh_token() {
    let (storm, provider, id, flight) = flying().await;
    storm.import_more("local", "f", Some("at-g-0"), None, Some(3600)).await;
    stored(&provider, flight).await;
    assert_eq!(storm.tokens(id).await, (access("f", 1), refresh("f", 1)), "the one before it is used up");
}

#[tokio::test(flavor = "multi_thread")]
async fn that_old_tokens_are_refused_says_nothing_of_those_imported_meanwhile() {
    for status in [400, 401, 503] {
        let (storm, provider, id, flight) = flying().await;
        storm.import_more("local", "f", Some("at-g-0"), Some("rt-g-0"), Some(3600)).await;
        provider.misbehave([(status, vec![("retry-after", "9999".to_owned())], REFUSED.to_owned())]);
        provider.open(1);
        assert!(matches!(flight.await.unwrap(), Landed::Failed { status: Some(told), .. } if told == status));
        let live = storm.live(id);
        assert_eq!((live.failure.as_deref(), live.drops_at(), live.flight.is_none(), storm.health(id)), (None, None, true, "ok"));
        assert_eq!(latest(&storm, id, 1).await, ["exchange_failed"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_revoked_or_deleted_meanwhile_stays_so() {
    let (storm, provider, id, flight) = flying().await;
    storm.order(id, || Order::Revoke).await;
    stored(&provider, flight).await;
    let live = storm.live(id);
    assert_eq!((live.access, live.refresh, live.phase, storm.health(id)), (None, None, Phase::Added, "revoked"));
    let (storm, provider, id, flight) = flying().await;
    storm.execute(|given| plans::delete_connection(given, TENANT, &key("local", "f"))).await;
    let anew = storm.import("local", "f", Some(3600)).await;
    stored(&provider, flight).await;
    assert_eq!(latest(&storm, id, 2).await, ["exchanged", "deleted"]);
    assert_eq!((storm.shown(anew, "access_token").await, storm.health(anew)), (access("f", 0), "ok"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_connection_is_not_begun_anew_because_a_call_was_lost_meanwhile() {
    let (storm, provider) = with(GrantType::ClientCredentials).await;
    let id = storm.entered("local", "f").await;
    assert!(matches!(storm.exchange(id, What::Begin).await, Landed::Stored { .. }));
    provider.close();
    let hurried = exchanges(&storm.vault, Limits { whole: std::time::Duration::from_millis(300), ..Limits::default() });
    let wanted = storm.wanted(id, What::Begin);
    let flight = tokio::spawn(async move { hurried.exchange(wanted).await });
    provider.heard(2).await;
    storm.order(id, || Order::Revoke).await;
    assert!(matches!(flight.await.unwrap(), Landed::Failed { status: None, .. }));
    assert_eq!(latest(&storm, id, 1).await, ["exchange_lost"]);
    storm.pass(100_000);
    assert_eq!((storm.round(&mut storm.refresher()).await, storm.health(id)), (0, "revoked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_had_been_given_up_revives_no_revoked_connection() {
    let (storm, _) = with(GrantType::AuthorizationCode).await;
    let id = storm.import("local", "f", None).await;
    let intent = storm.order(id, || Order::StartExchange(Want::Renew)).await.events.unwrap().0;
    storm.order(id, || Order::FinishExchange { intent, outcome: Outcome::Lost { cause: "a test".into() }, confirm: None }).await;
    storm.order(id, || Order::Revoke).await;
    let late = || Tokens { access: Some(Secret::from("late")), refresh: Some(Secret::from("late")), ..Tokens::default() };
    storm.order(id, || Order::FinishExchange { intent, outcome: Outcome::Tokens(late()), confirm: None }).await;
    assert_eq!((storm.live(id).access, storm.health(id)), (None, "revoked"));
    // Nor does it take the place of a refresh token that came alone.
    storm.import_more("local", "f", None, Some("rt-g-0"), None).await;
    storm.order(id, || Order::FinishExchange { intent, outcome: Outcome::Tokens(late()), confirm: None }).await;
    assert_eq!(storm.shown(id, "refresh_token").await, "rt-g-0");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_own_token_takes_no_newer_ones_place() {
    let (storm, provider) = with(GrantType::ClientCredentials).await;
    let id = storm.entered("local", "f").await;
    provider.close();
    let flight = storm.begin(id, What::Begin);
    provider.heard(1).await;
    storm.import_more("local", "f", Some("at-new"), None, None).await;
    stored(&provider, flight).await;
    assert_eq!(storm.shown(id, "access_token").await, "at-new");
}

/// An authorization that its user has just come back from.
async fn authorized(storm: &Storm, id: StreamId, number: u8, nonce: Option<&str>) -> What {
    let flow = FlowId([number; 16]);
    let begun = || Flow { id: flow, redirect_uri: None, nonce: nonce.map(str::to_owned), here: true };
    storm.order(id, || Order::Authorize(begun())).await;
    What::Code { flow, code: Arc::new(Secret::from("canary-code")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_brings_nothing_takes_nothing_away() {
    let (storm, provider) = with(GrantType::AuthorizationCode).await;
    let id = storm.import("local", "f", Some(1_000_000)).await;
    // Without a refresh token, so that nothing could prove that the access token still works.
    let alone = storm.entered("local", "g").await;
    storm.import_more("local", "g", Some("at-g-0"), None, None).await;
    for (connection, number) in [(id, 1), (alone, 2)] {
        provider.misbehave([(400, vec![], REFUSED.to_owned())]);
        let code = authorized(&storm, connection, number, None).await;
        assert!(matches!(storm.exchange(connection, code).await, Landed::Failed { status: Some(400), .. }));
        let live = storm.live(connection);
        assert_eq!((live.failure.as_deref(), live.drops_at(), storm.health(connection)), (None, None, "ok"));
    }
    storm.pass(3 * 24 * 3600);
    assert_eq!(storm.round(&mut storm.refresher()).await, 0);
    assert_eq!(storm.shown(alone, "access_token").await, "at-g-0");
    // Where there is nothing yet, it is said.
    let fresh = storm.entered("local", "h").await;
    provider.misbehave([(400, vec![], REFUSED.to_owned())]);
    let code = authorized(&storm, fresh, 3, None).await;
    assert!(matches!(storm.exchange(fresh, code).await, Landed::Failed { .. }));
    assert_eq!((storm.live(fresh).failure.unwrap().status, storm.health(fresh)), (Some(400), "needs_auth"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_a_renewal_takes_no_part_in_a_code() {
    let (storm, provider) = with(GrantType::AuthorizationCode).await;
    let id = storm.import("local", "f", None).await;
    for (number, nonce) in [(1, None), (2, Some("nonce"))] {
        // One code is refused, the other brings tokens that wait for their page. Neither renews anything.
        provider.close();
        let heard = provider.heard_now();
        let body = if nonce.is_some() { "{\"access_token\":\"at-code\"}" } else { REFUSED };
        provider.misbehave([(if nonce.is_some() { 200 } else { 400 }, vec![], body.to_owned())]);
        let coded = storm.begin(id, authorized(&storm, id, number, nonce).await);
        provider.heard(heard + 1).await;
        let renewed = storm.begin(id, What::Renew);
        provider.open(100);
        match coded.await.unwrap() {
            Landed::Stored { confirm } => assert!(nonce.is_some() && confirm.is_some()),
            other => assert!(nonce.is_none(), "{other:?}"),
        }
        assert!(matches!(renewed.await.unwrap(), Landed::Stored { confirm: None }), "what confirms is told to the one who brought the code");
        assert_eq!(storm.shown(id, "access_token").await, access("f", u64::from(number)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_key_hears_the_outcome_of_its_own_exchange_whatever_came_later() {
    let (storm, provider) = with(GrantType::ClientCredentials).await;
    let id = storm.entered("local", "f").await;
    let keyed = |given: &str| Wanted { idempotency: Some(("token".into(), given.into())), ..storm.wanted(id, What::Begin) };
    provider.misbehave([(401, vec![], "{\"error\":\"invalid_client\"}".to_owned())]);
    assert!(matches!(storm.exchanges.exchange(keyed("first")).await, Landed::Failed { status: Some(401), .. }));
    assert!(matches!(storm.exchanges.exchange(keyed("second")).await, Landed::Stored { .. }));
    provider.misbehave([(503, vec![], String::new())]);
    assert!(matches!(storm.exchanges.exchange(keyed("third")).await, Landed::Failed { status: Some(503), .. }));
    storm.execute(|given| plans::update(given, TENANT, &key("local", "f"), Changes { enabled: Some(false), ..Changes::default() })).await;
    let Landed::Failed { cause, status: Some(401) } = storm.exchanges.exchange(keyed("first")).await else { panic!("it was refused") };
    assert_eq!(cause, "the service answered 401: invalid_client");
    assert!(matches!(storm.exchanges.exchange(keyed("second")).await, Landed::Stored { .. }));
    assert!(matches!(storm.exchanges.exchange(keyed("third")).await, Landed::Failed { status: Some(503), .. }));
    assert_eq!(provider.heard_now(), 3);
    let meta = Meta::default();
    assert!(matches!(storm.exchanges.exchange(Wanted { meta, ..storm.wanted(id, What::Begin) }).await, Landed::Vault(_)), "it is off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_came_between_the_intent_and_the_call_is_not_used_up_unseen() {
    let (storm, provider) = with(GrantType::AuthorizationCode).await;
    let id = storm.import("local", "f", None).await;
    let other = storm.entered("local", "other").await;
    for round in 1..=20 {
        // Behind an append that waits, the intent and an import gather in one block.
        storm.log.mode.send_replace(Doing::Waits);
        let token = refresh(&format!("g{round}"), 0);
        let mut first = Box::pin(storm.order(other, || Order::Update(Changes { metadata: Some(Some(Json::from(&json!(round)))), ..Changes::default() })));
        assert!(futures_util::poll!(first.as_mut()).is_pending());
        storm.log.hanging.subscribe().wait_for(|hanging| *hanging == round).await.unwrap();
        let flight = storm.begin(id, What::Renew);
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        let mut importing = Box::pin(storm.import_more("local", "f", Some("at-g-0"), Some(&token), Some(3600)));
        assert!(futures_util::poll!(importing.as_mut()).is_pending());
        storm.log.mode.send_replace(Doing::Works);
        let (landed, (), _) = tokio::join!(flight, importing, first);
        let held = storm.shown(id, "refresh_token").await;
        let (name, number) = held.strip_prefix("rt-").unwrap().rsplit_once('-').unwrap();
        let family = provider.rules.family(name);
        assert_eq!((family.current, family.dead), (number.parse().unwrap(), false), "{landed:?}: the one that is held is the good one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_meets_a_full_disk_is_recorded_when_there_is_room() {
    let (storm, provider, id, flight) = flying().await;
    storm.log.mode.send_replace(Doing::Full);
    provider.open(1);
    // A command is refused by then: the vault says that it takes no writes, and calls nobody.
    while storm.vault.failure().is_none() {
        tokio::task::yield_now().await;
    }
    let other = storm.vault.views().position();
    assert!(matches!(storm.try_execute(|given| plans::delete_connection(given, TENANT, &key("local", "f"))).await, Err(error) if error.is_read_only()));
    assert_eq!((storm.vault.views().position(), storm.live(id).flight.is_some()), (other, true));
    // The keys that were kept for the result are spent by then, and no fresh ones are to be had.
    storm.keyring.full.store(true, Ordering::SeqCst);
    storm.log.mode.send_replace(Doing::Works);
    while storm.keyring.refused.load(Ordering::SeqCst) < 2 && !flight.is_finished() {
        tokio::task::yield_now().await;
    }
    assert!(!flight.is_finished() && storm.live(id).flight.is_some());
    storm.keyring.full.store(false, Ordering::SeqCst);
    assert!(matches!(flight.await.unwrap(), Landed::Stored { .. }));
    assert_eq!((storm.tokens(id).await, provider.heard_now()), ((access("f", 1), refresh("f", 1)), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nothing_can_be_written_nothing_is_called_and_the_refresher_waits() {
    let (storm, provider) = with(GrantType::AuthorizationCode).await;
    let id = storm.import("local", "f", None).await;
    storm.log.mode.send_replace(Doing::Full);
    let mut refresher = storm.refresher();
    assert_eq!((storm.round(&mut refresher).await, storm.round(&mut refresher).await, provider.heard_now()), (1, 0, 0));
    storm.log.mode.send_replace(Doing::Works);
    // The clock on the wall goes back; the wait ends all the same.
    storm.clock.leap(-3_600_000);
    storm.pass(5);
    assert_eq!((storm.round(&mut refresher).await, storm.shown(id, "access_token").await), (1, access("f", 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_leaps_stops_renewals_no_longer_than_it_must() {
    let (storm, provider) = with(GrantType::AuthorizationCode).await;
    let id = storm.import("local", "f", Some(3600)).await;
    let mut refresher = storm.refresher();
    // A year ahead: nothing is written, so nothing is called, until an operator says that the time is right.
    storm.clock.leap(365 * 24 * 3_600_000);
    assert_eq!((storm.round(&mut refresher).await, provider.heard_now()), (1, 0));
    storm.clock.leap(-365 * 24 * 3_600_000);
    storm.pass(3000);
    assert_eq!((storm.round(&mut refresher).await, storm.shown(id, "access_token").await), (1, access("f", 1)), "it was wrong for a moment");
    storm.clock.leap(24 * 3_600_000);
    storm.vault.confirm_clock().await;
    assert_eq!((storm.round(&mut refresher).await, storm.shown(id, "access_token").await), (1, access("f", 2)));
    // Back by an hour: the log's time stands still until then, and tokens are dated by it.
    storm.clock.leap(-3_600_000);
    assert!(matches!(storm.exchange(id, What::Renew).await, Landed::Stored { .. }));
    assert_eq!(storm.live(id).access.unwrap().expires_at, Some(storm.vault.views().recorded_at().plus_seconds(3600)));
    assert_eq!(storm.round(&mut refresher).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flight_that_no_run_could_say_lost_is_said_lost_by_the_refresher() {
    let (storm, provider) = with(GrantType::AuthorizationCode).await;
    let id = storm.import("local", "f", None).await;
    storm.order(id, || Order::StartExchange(Want::Renew)).await;
    // As at a start with a full disk.
    storm.log.mode.send_replace(Doing::Full);
    assert!(storm.exchanges.sweep().await.is_err());
    let mut refresher = storm.refresher();
    assert_eq!(storm.round(&mut refresher).await, 0);
    storm.log.mode.send_replace(Doing::Works);
    storm.pass(6);
    storm.round(&mut refresher).await;
    assert!(storm.live(id).failure.unwrap().lost);
    storm.pass(2);
    assert_eq!((storm.round(&mut refresher).await, storm.shown(id, "access_token").await), (1, access("f", 1)));
    assert_eq!(provider.heard_now(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_changes_its_grant_fails_with_a_cause_and_goes_on_when_it_is_right_again() {
    let (storm, provider) = with(GrantType::ClientCredentials).await;
    let id = storm.entered("local", "f").await;
    assert!(matches!(storm.exchange(id, What::Begin).await, Landed::Stored { .. }));
    storm.service("local", &provider.url, GrantType::AuthorizationCode).await;
    storm.pass(3600);
    let mut refresher = storm.refresher();
    for _ in 0..3 {
        storm.round(&mut refresher).await;
        while storm.live(id).failure.is_none() {
            tokio::task::yield_now().await;
        }
    }
    let failure = storm.live(id).failure.unwrap();
    assert_eq!((failure.count, failure.status, provider.heard_now()), (1, None, 1));
    assert!(failure.cause.contains("its user has to authorize it"), "{failure:?}");
    assert_eq!((storm.health(id), storm.live(id).drops_at()), ("pending_refresh", None));
    storm.service("local", &provider.url, GrantType::ClientCredentials).await;
    storm.pass(400);
    assert_eq!(storm.round(&mut refresher).await, 1);
    assert_eq!((storm.health(id), provider.heard_now()), ("ok", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_end_waits_for_what_flies() {
    let (storm, provider, id, flight) = flying().await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let refresher = tokio::spawn(storm.refresher().run(stopped));
    stop.send_replace(true);
    refresher.await.unwrap();
    let mut settled = Box::pin(storm.exchanges.settle());
    assert!(futures_util::poll!(settled.as_mut()).is_pending());
    provider.open(1);
    settled.await;
    drop(flight);
    let storm = storm.restart().await;
    assert_eq!((storm.tokens(id).await, storm.live(id).failure), ((access("f", 1), refresh("f", 1)), None));
}

//! The rules of an exchange, on a real log: intent first, one flight at a time, and a result that is never dropped.

use keyledger::credentials::connection::{self, Changes, Command, Connection, Context, Key, Outcome, Phase, State, Tokens};
use keyledger::credentials::{AnyEvent, AnyState, Subject};
use keyledger::kernel::*;
use keyledger::vault::{Answer, VaultError, plans};
use serde_json::json;

use crate::vault_bench::{TENANT, VaultBench, settings};

fn personio() -> Key {
    Key { app: "app".into(), consumer: "c".into(), unified_api: "hris".into(), service_id: "personio".into() }
}

async fn entered(bench: &VaultBench) -> StreamId {
    let changes = settings(&[("client_id", json!("test-client")), ("client_secret", json!("test-secret"))]);
    let answer = bench.execute(|given| plans::update(given, TENANT, &personio(), changes.clone())).await.unwrap();
    answer.views.connection(TENANT, &personio()).unwrap()
}

fn live(answer: &Answer, stream: StreamId) -> Connection {
    match &answer.views.thing(stream).unwrap().state {
        AnyState::Connection(State::Live(live)) => (**live).clone(),
        other => panic!("{other:?}"),
    }
}

/// Decides on the thing itself: a result comes for a connection that has gone, too.
async fn send(bench: &VaultBench, stream: StreamId, command: impl Fn() -> Command) -> Result<Answer, VaultError> {
    let decide = |given: &keyledger::vault::Given<'_>| {
        let entry = given.views.thing(stream).unwrap();
        let AnyState::Connection(state) = &entry.state else { panic!("another kind") };
        let (_, connector) = given.views.connector(TENANT, "hris", "personio").unwrap();
        let context = Context { subject: Subject { stream, version: entry.content_version }, now: given.now, connector, supplied: &|_| false };
        Ok(connection::decide(&context, state, command())?.map(AnyEvent::from))
    };
    bench.execute(decide).await
}

fn tokens() -> Outcome {
    Outcome::Tokens(Tokens { access: Some(Secret::from("an access token")), ..Tokens::default() })
}

fn refusal(result: Result<Answer, VaultError>) -> Refusal {
    match result.err() {
        Some(VaultError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_exchange_flies_at_a_time_and_its_result_makes_the_connection_callable() {
    let bench = VaultBench::new().await;
    let stream = entered(&bench).await;
    let started = send(&bench, stream, || Command::StartExchange(keyledger::credentials::connection::Want::Begin)).await.unwrap();
    let intent = started.events.unwrap().0;
    assert_eq!((live(&started, stream).flight.map(|flight| flight.intent), live(&started, stream).phase), (Some(intent), Phase::Added));
    let finished = send(&bench, stream, || Command::FinishExchange { intent, outcome: tokens(), confirm: None }).await.unwrap();
    let after = live(&finished, stream);
    assert_eq!((after.flight, after.phase, after.access.is_some()), (None, Phase::Callable, true));
    let record = bench.vault.log().fetch(&[finished.events.unwrap().0]).await.unwrap();
    assert_eq!(record[0].header().causation, intent, "a result names its intent");
    let again = send(&bench, stream, || Command::StartExchange(keyledger::credentials::connection::Want::Begin)).await.unwrap();
    assert!(live(&again, stream).flight.is_some(), "the result made way for the next");
}

#[tokio::test]
async fn the_flight_claim_is_what_keeps_the_second_caller_out() {
    let bench = VaultBench::new().await;
    let stream = entered(&bench).await;
    let started = send(&bench, stream, || Command::StartExchange(keyledger::credentials::connection::Want::Begin)).await.unwrap();
    let claims = bench.vault.log().fetch(&[started.events.unwrap().0]).await.unwrap()[0].header().claims.clone();
    assert!(matches!(claims.as_slice(), [ClaimOp::Take(_)]));
    let second = send(&bench, stream, || Command::StartExchange(keyledger::credentials::connection::Want::Begin)).await;
    assert_eq!(refusal(second), Refusal::InvalidState("an exchange is under way".into()));
}

#[tokio::test]
async fn failures_and_lost_answers_are_told_apart_and_free_the_flight() {
    let bench = VaultBench::new().await;
    let stream = entered(&bench).await;
    for (lost, passing) in [(false, false), (false, true), (true, true)] {
        let intent = send(&bench, stream, || Command::StartExchange(keyledger::credentials::connection::Want::Begin)).await.unwrap().events.unwrap().0;
        let outcome = move || {
            if lost {
                Outcome::Lost { cause: "a test".into() }
            } else {
                Outcome::Failed { cause: "the service answered 401".into(), passing, status: Some(401), retry_at: None, client: false }
            }
        };
        let answer = send(&bench, stream, || Command::FinishExchange { intent, outcome: outcome(), confirm: None }).await.unwrap();
        let after = live(&answer, stream);
        let failure = after.failure.unwrap();
        assert_eq!((failure.lost, failure.passing, after.flight, after.phase), (lost, passing, None, Phase::Invalid));
        assert_eq!(failure.status, (!lost).then_some(401));
    }
}

#[tokio::test]
async fn a_result_for_a_connection_that_has_gone_is_kept_and_revives_nothing() {
    let bench = VaultBench::new().await;
    let stream = entered(&bench).await;
    let intent = send(&bench, stream, || Command::StartExchange(keyledger::credentials::connection::Want::Begin)).await.unwrap().events.unwrap().0;
    bench.execute(|given| plans::delete_connection(given, TENANT, &personio())).await.unwrap();
    let anew = entered(&bench).await;
    assert_ne!(anew, stream);
    let answer = send(&bench, stream, || Command::FinishExchange { intent, outcome: tokens(), confirm: None }).await.unwrap();
    let record = bench.vault.log().fetch(&[answer.events.unwrap().0]).await.unwrap();
    assert_eq!((record[0].header().event_type.as_str(), record[0].header().secrets.len()), ("exchanged", 1));
    assert_eq!(record[0].header().class, Class::Observation, "what has gone does not change any more");
    assert!(matches!(&answer.views.thing(stream).unwrap().state, AnyState::Connection(State::Deleted { .. })));
    assert_eq!(answer.views.connection(TENANT, &personio()), Some(anew), "the new one keeps its name");
    assert_eq!(refusal(send(&bench, stream, || Command::StartExchange(keyledger::credentials::connection::Want::Begin)).await), Refusal::NotFound);
}

#[tokio::test]
async fn an_exchange_starts_only_where_it_can_succeed() {
    let bench = VaultBench::new().await;
    let none = || plans_start(&personio());
    bench.execute(|given| plans::update(given, TENANT, &personio(), Changes { enabled: Some(true), ..Changes::default() })).await.unwrap();
    assert!(matches!(refusal(bench.execute(none()).await), Refusal::InvalidState(text) if text.contains("to be set before authorizing")));
    entered(&bench).await;
    bench.execute(|given| plans::update(given, TENANT, &personio(), Changes { enabled: Some(false), ..Changes::default() })).await.unwrap();
    assert_eq!(refusal(bench.execute(none()).await), Refusal::InvalidState("the connection is disabled".into()));
    for (service, why) in [("pipedrive", "authorized by its user"), ("close", "does not use OAuth")] {
        let key = Key { unified_api: "crm".into(), service_id: service.into(), ..personio() };
        assert!(matches!(refusal(bench.execute(plans_start(&key)).await), Refusal::InvalidState(text) if text.contains(why)), "{service}");
    }
}

fn plans_start(key: &Key) -> impl FnMut(&keyledger::vault::Given<'_>) -> Result<Plan<AnyEvent>, Refusal> + use<> {
    let key = key.clone();
    move |given| plans::upsert(given, TENANT, &key, Command::StartExchange(keyledger::credentials::connection::Want::Begin))
}

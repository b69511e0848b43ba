//! Exchanges against a token endpoint of the test's own: one call per flight, results recorded whatever comes, and refusals of the guard.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::post;
use keyledger::credentials::Meta;
use keyledger::credentials::connection::{Command as Order, Phase};
use keyledger::egress::{Egress, Limits, Policy};
use keyledger::kernel::*;
use keyledger::oauth::{Exchanges, Landed, Wanted};
use keyledger::vault::{Command, Given, VaultError, plans};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::exchange_bench::{Bench, LOOPBACK};

/// A token endpoint: counts its calls, and answers once it is let go.
struct Service {
    base: String,
    calls: Arc<AtomicUsize>,
    go: Arc<Semaphore>,
}

impl Service {
    async fn start(status: u16, body: serde_json::Value) -> Self {
        let (calls, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (counted, gate) = (Arc::clone(&calls), Arc::clone(&go));
        let answer = move |sent: String| async move {
            assert!(sent.contains("grant_type=client_credentials") && sent.contains("client_secret=test-secret"), "{sent}");
            counted.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            (axum::http::StatusCode::from_u16(status).unwrap(), axum::Json(body))
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/token", post(answer));
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { base, calls, go }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_callers_share_one_call_and_all_hear_of_its_tokens() {
    let service = Service::start(200, json!({"access_token": "canary-token", "expires_in": 3600, "scope": "read"})).await;
    let bench = Arc::new(Bench::new(format!("{}/token", service.base), LOOPBACK).await);
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move { bench.exchange().await })
        })
        .collect();
    while service.calls.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(bench.live().flight.is_some(), "the intent stands before the call is answered");
    // One caller goes away; the flight goes on.
    callers[0].abort();
    service.go.add_permits(100);
    for caller in callers.into_iter().skip(1) {
        assert!(matches!(caller.await.unwrap(), Landed::Stored { .. }));
    }
    bench.exchanges.settle().await;
    // Those that came after the first flight had landed have made calls of their own, one at a time.
    let live = bench.live();
    assert_eq!((live.phase, live.flight, live.scope.as_deref(), live.failure), (Phase::Callable, None, Some("read"), None));
    assert_eq!(live.access.unwrap().expires_at, Some(bench.vault.now().plus_seconds(3600)));
    assert_eq!(bench.shown("access_token").await, "canary-token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_joins_makes_no_call_of_its_own() {
    let service = Service::start(200, json!({"access_token": "t"})).await;
    let bench = Arc::new(Bench::new(format!("{}/token", service.base), LOOPBACK).await);
    let (joined, mut all) = watch::channel(0);
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let (bench, joined) = (Arc::clone(&bench), joined.clone());
            tokio::spawn(async move {
                let landing = bench.exchange();
                let mut landing = std::pin::pin!(landing);
                // Polled once: it has joined.
                assert!(futures_util::poll!(landing.as_mut()).is_pending());
                joined.send_modify(|count| *count += 1);
                landing.await
            })
        })
        .collect();
    all.wait_for(|count| *count == 50).await.unwrap();
    service.go.add_permits(50);
    for caller in callers {
        assert!(matches!(caller.await.unwrap(), Landed::Stored { .. }));
    }
    assert_eq!(service.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_refuses_is_recorded_with_its_status_and_the_next_try_may_fly() {
    let service = Service::start(401, json!({"error": "invalid_client", "error_description": "canary"})).await;
    service.go.add_permits(10);
    let bench = Bench::new(format!("{}/token", service.base), LOOPBACK).await;
    for calls in 1..=2 {
        let Landed::Failed { cause, status } = bench.exchange().await else { panic!("it was refused") };
        assert_eq!((cause.as_str(), status), ("the service answered 401: invalid_client", Some(401)));
        assert_eq!(service.calls.load(Ordering::SeqCst), calls);
        let failure = bench.live().failure.unwrap();
        assert_eq!((failure.status, failure.passing, failure.lost, bench.live().phase), (Some(401), false, false, Phase::Invalid));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_keeps_the_call_in_and_that_is_recorded_too() {
    let service = Service::start(200, json!({"access_token": "t"})).await;
    let bench = Bench::new(format!("{}/token", service.base), &[]).await;
    let Landed::Failed { cause, status: None } = bench.exchange().await else { panic!("it was not called") };
    assert!(cause.starts_with("not called: "), "{cause}");
    assert_eq!(service.calls.load(Ordering::SeqCst), 0);
    let unreachable = Bench::new("http://127.0.0.1:9/token".into(), LOOPBACK).await;
    let Landed::Failed { cause, .. } = unreachable.exchange().await else { panic!("nobody is there") };
    assert!(cause.starts_with("not reached: ") && unreachable.live().failure.unwrap().passing, "{cause}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_key_calls_once_and_hears_the_first_outcome() {
    let service = Service::start(400, json!({"error": "invalid_grant"})).await;
    service.go.add_permits(10);
    let bench = Bench::new(format!("{}/token", service.base), LOOPBACK).await;
    let wanted = Wanted { idempotency: Some(("a route".into(), "a key".into())), ..bench.wanted.clone() };
    for _ in 0..2 {
        let Landed::Failed { status: Some(400), .. } = bench.exchanges.exchange(wanted.clone()).await else { panic!("it was refused") };
    }
    assert_eq!(service.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_key_does_not_take_an_exchange_without_a_result_for_a_success() {
    let service = Service::start(200, json!({"access_token": "t"})).await;
    let bench = Bench::new(format!("{}/token", service.base), LOOPBACK).await;
    let wanted = Wanted { idempotency: Some(("a route".into(), "a key".into())), ..bench.wanted.clone() };
    let flying = tokio::spawn({
        let (exchanges, wanted) = (Arc::clone(&bench.exchanges), wanted.clone());
        async move { exchanges.exchange(wanted).await }
    });
    while service.calls.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // One that does not know of the flight: it sees the intent alone.
    let other = Arc::new(Exchanges::new(Arc::clone(&bench.vault), Egress::new(Policy::default(), Limits::default()), "http://127.0.0.1".to_owned()));
    let Landed::Failed { cause, status: None } = other.exchange(wanted.clone()).await else { panic!("nothing is stored yet") };
    assert!(cause.ends_with("the outcome is unknown"), "{cause}");
    service.go.add_permits(1);
    assert!(matches!(flying.await.unwrap(), Landed::Stored { .. }));
    assert!(matches!(other.exchange(wanted).await, Landed::Stored { .. }));
    assert_eq!(service.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_run_left_open_is_said_to_be_lost() {
    let service = Service::start(200, json!({"access_token": "t"})).await;
    let bench = Bench::new(format!("{}/token", service.base), LOOPBACK).await;
    let flying = tokio::spawn({
        let (exchanges, wanted) = (Arc::clone(&bench.exchanges), bench.wanted.clone());
        async move { exchanges.exchange(wanted).await }
    });
    while service.calls.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // As the next run would: the flight stands in the log, and nobody waits for it.
    let next = Arc::new(Exchanges::new(Arc::clone(&bench.vault), Egress::new(Policy::default(), Limits::default()), "http://127.0.0.1".to_owned()));
    assert_eq!(next.sweep().await.unwrap(), 1);
    let failure = bench.live().failure.unwrap();
    assert!(failure.lost && bench.live().flight.is_none());
    assert_eq!(next.sweep().await.unwrap(), 0);
    // A result that comes after all is kept.
    service.go.add_permits(1);
    assert!(matches!(flying.await.unwrap(), Landed::Stored { .. }));
    assert!(bench.live().access.is_some() && bench.live().failure.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_may_not_start_calls_nobody() {
    let service = Service::start(200, json!({"access_token": "t"})).await;
    let bench = Bench::new(format!("{}/token", service.base), LOOPBACK).await;
    let missing = Wanted { connection: StreamId([9; 16]), ..bench.wanted.clone() };
    let Landed::Vault(error) = bench.exchanges.exchange(missing).await else { panic!("there is no such connection") };
    assert!(matches!(&*error, VaultError::Refused(Refusal::NotFound)));
    assert_eq!(service.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flight_that_nobody_flies_does_not_keep_the_next_one_on_the_ground() {
    let service = Service::start(200, json!({"access_token": "t"})).await;
    service.go.add_permits(1);
    let bench = Bench::new(format!("{}/token", service.base), LOOPBACK).await;
    let command = Command { principal: &bench.wanted.principal, meta: Meta::default(), idempotency: None };
    let start = |given: &Given<'_>| plans::on_connection(given, bench.wanted.connection, Order::StartExchange(keyledger::credentials::connection::Want::Begin));
    let intent = bench.vault.execute(&command, start).await.unwrap().events.unwrap().0;
    assert_eq!(bench.live().flight.map(|flight| flight.intent), Some(intent));
    assert!(matches!(bench.exchange().await, Landed::Stored { .. }));
    let lost = bench.vault.log().fetch(&[intent.next()]).await.unwrap();
    assert_eq!((lost[0].header().event_type.as_str(), lost[0].header().causation), ("exchange_lost", intent));
}

//! Calls that are passed through while the access token ends or is refused: renewed once, however many ask, and called once more.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use keyledger::credentials::connection::Tokens;
use keyledger::kernel::Secret;
use keyledger::vault::plans;
use serde_json::Value;

use crate::proxy_bench::{ProxyBench, problem};
use crate::vault_bench::{TENANT, settings};

/// A connection whose token the service does not take.
async fn refused() -> ProxyBench {
    let bench = ProxyBench::new().await;
    bench.with_tokens("a-stale-token", 3600).await;
    *bench.service.good.lock().unwrap() = Some("Bearer another".into());
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_calls_with_a_refused_token_renew_it_once_and_all_are_answered() {
    let bench = Arc::new(refused().await);
    let callers: Vec<_> = (0..100)
        .map(|number| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move { bench.call("POST", "/a").body(format!("body {number}")).send().await.unwrap().status().as_u16() })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 200);
    }
    assert_eq!(bench.service.token_calls.load(Ordering::SeqCst), 1);
    let seen = bench.service.seen();
    for number in 0..100 {
        let body = format!("body {number}");
        let of_caller: Vec<_> = seen.iter().filter(|seen| seen.body == body.as_bytes()).map(|seen| seen.header("authorization")[0]).collect();
        assert!([vec!["Bearer a-stale-token", "Bearer fresh-token-1"], vec!["Bearer fresh-token-1"]].contains(&of_caller), "{of_caller:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_near_its_end_is_renewed_before_it_is_used() {
    let bench = ProxyBench::new().await;
    bench.with_tokens("an-ending-token", 3600).await;
    assert_eq!(bench.call("GET", "/a").send().await.unwrap().status(), 200);
    bench.clock.pass(3_575_000);
    assert_eq!(bench.call("GET", "/b").send().await.unwrap().status(), 200);
    let sent: Vec<_> = bench.service.seen().iter().map(|seen| seen.header("authorization")[0].to_owned()).collect();
    assert_eq!((sent, bench.service.token_calls.load(Ordering::SeqCst)), (vec!["Bearer an-ending-token".into(), "Bearer fresh-token-1".into()], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_refusal_is_passed_on() {
    let bench = refused().await;
    bench.service.stubborn.store(true, Ordering::SeqCst);
    let came = bench.call("GET", "/a").send().await.unwrap();
    assert_eq!((came.status().as_u16(), came.headers()["keyledger-downstream-status"].to_str().unwrap()), (401, "401"));
    assert_eq!(came.text().await.unwrap(), "no longer");
    assert_eq!((bench.service.seen().len(), bench.service.token_calls.load(Ordering::SeqCst)), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_refusal_of_a_key_is_passed_on_at_once() {
    let bench = ProxyBench::new().await;
    *bench.service.good.lock().unwrap() = Some("another".into());
    let came = bench.call("GET", "/a").send().await.unwrap();
    assert_eq!((came.status().as_u16(), bench.service.seen().len(), bench.service.token_calls.load(Ordering::SeqCst)), (401, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_renewed_says_why_and_when_it_is_tried_again() {
    let bench = refused().await;
    *bench.service.refuses.lock().unwrap() = Some(400);
    let (status, word, detail) = problem(bench.call("GET", "/a")).await;
    assert_eq!((status, word.as_str()), (401, "not-renewed"));
    for part in ["invalid_grant", "retry_after_ms: ", "cooldown_remaining_ms: 30000"] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    bench.clock.pass(10_000);
    let told: Value = bench.call_as(&bench.token, "GET", "/proxy", "/a").send().await.unwrap().json().await.unwrap();
    assert_eq!((&told["type_name"], told["status_code"].as_u64()), (&"UnauthorizedError".into(), Some(401)));
    let debug = &told["detail"]["debug"];
    assert_eq!((debug["cooldown_remaining_ms"].as_i64(), &told["detail"]["type"]), (Some(20_000), &"refresh_token_connector_error".into()), "{told}");
    assert!(debug["retry_after_ms"].as_i64().unwrap() > bench.vault.now().millis(), "a time, as the vendor says it: {told}");
    assert_eq!(bench.service.token_calls.load(Ordering::SeqCst), 1, "nobody tries again meanwhile");
    bench.clock.pass(25_000);
    *bench.service.refuses.lock().unwrap() = None;
    assert_eq!(bench.call("GET", "/a").send().await.unwrap().status(), 200);
    assert_eq!(bench.service.token_calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_refresh_token_the_refusal_is_told() {
    let bench = ProxyBench::new().await;
    bench.put(|_| (), keyledger::credentials::connector::AuthType::Oauth2, vec![]).await;
    let tokens = || Tokens { access: Some(Secret::from("a-lonely-token")), ..Tokens::default() };
    bench.execute(|given| plans::import(given, TENANT, &ProxyBench::key(), tokens(), settings(&[]))).await;
    *bench.service.good.lock().unwrap() = Some("Bearer another".into());
    let (status, word, detail) = problem(bench.call("GET", "/a")).await;
    assert_eq!((status, word.as_str(), bench.service.token_calls.load(Ordering::SeqCst)), (401, "not-renewed", 0), "{detail}");
}

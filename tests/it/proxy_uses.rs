//! Calls that are passed through leave a record: who called, with which connection, how often, and what came of it.

use keyledger::credentials::connector::AuthType;
use keyledger::vault::{Call, plans};
use reqwest::StatusCode;
use serde_json::Value;

use crate::proxy_bench::{HOST, ProxyBench, SECRET, answer};
use crate::vault_bench::TENANT;

/// What an event tells of, without times: method, host, status, count, and whether something was withheld.
fn sorts(calls: &Value) -> Vec<(String, String, Option<u64>, u64, bool)> {
    let text = |call: &Value, name: &str| call[name].as_str().unwrap().to_owned();
    let sort = |call: &Value| (text(call, "method"), text(call, "host"), call["status"].as_u64(), call["count"].as_u64().unwrap(), call["withheld"] == true);
    calls.as_array().unwrap().iter().map(sort).collect()
}

fn sort(method: &str, status: Option<u64>, count: u64, withheld: bool) -> (String, String, Option<u64>, u64, bool) {
    (method.into(), HOST.into(), status, count, withheld)
}

/// Until the relays have ended: each notes its use when it does.
async fn written(bench: &ProxyBench, calls: u64) {
    let mut told = 0;
    while told < calls {
        told += bench.vault.write_calls().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!((told, bench.vault.write_calls().await.unwrap()), (calls, 0), "and once only");
}

async fn status(request: reqwest::RequestBuilder) -> StatusCode {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    drop(answer.bytes().await);
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_are_told_by_caller_method_and_status_and_once() {
    let bench = ProxyBench::new().await;
    let app = bench.app_token().await;
    for _ in 0..3 {
        assert_eq!(status(bench.call("GET", "/a")).await, 200);
    }
    bench.clock.pass(5000);
    bench.service.will(empty(404));
    assert_eq!(status(bench.call("POST", "/a")).await, 404);
    bench.service.will(answer(SECRET));
    // Cut off, perhaps before its head is out.
    drop(bench.call("GET", "/a").send().await);
    for _ in 0..2 {
        assert_eq!(status(bench.call_as(&app, "GET", "/v1/proxy", "/a")).await, 200);
    }
    written(&bench, 7).await;
    let mut told = bench.told().await;
    told.sort_by_key(|(_, calls)| calls.as_array().unwrap().len());
    let owner = bench.owner.id.to_string();
    assert_eq!(told.len(), 2, "an event for each caller");
    assert_eq!((told[0].0 == owner, sorts(&told[0].1)), (false, vec![sort("GET", Some(200), 2, false)]));
    assert_eq!(told[1].0, owner);
    let expected = vec![sort("GET", Some(200), 3, false), sort("GET", Some(200), 1, true), sort("POST", Some(404), 1, false)];
    assert_eq!(sorts(&told[1].1), expected);
    let last = |place: usize| told[1].1[place]["last"].clone();
    assert_eq!(last(2), serde_json::to_value(bench.vault.now()).unwrap());
    assert_ne!(last(0), last(2), "each sort has its own last time");
    let extra = bench.live().extra.unwrap();
    assert_eq!((extra.used, extra.downstream_failed_at), (Some((7, bench.vault.now())), None), "it was reached each time");
}

fn empty(status: u16) -> axum::response::Response {
    axum::response::Response::builder().status(status).body(axum::body::Body::empty()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_failed_and_both_of_a_renewal_are_told_and_one_that_never_went_is_not() {
    let bench = ProxyBench::new().await;
    bench.with_tokens("a-stale-token", 3600).await;
    *bench.service.good.lock().unwrap() = Some("Bearer another".into());
    assert_eq!(status(bench.call("GET", "/a")).await, 200);
    assert_eq!(status(bench.call("GET", "https://evil.example/")).await, 400);
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    bench.put(|connector| connector.api.as_mut().unwrap().base_url = format!("http://{HOST}:{free}"), AuthType::Oauth2, vec![]).await;
    assert_eq!(status(bench.call("GET", "/a")).await, 502);
    written(&bench, 3).await;
    let told = bench.told().await;
    assert_eq!(sorts(&told[0].1), [sort("GET", None, 1, false), sort("GET", Some(200), 1, false), sort("GET", Some(401), 1, false)]);
    assert_eq!(bench.live().extra.unwrap().downstream_failed_at, Some(bench.vault.now()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_is_kept_and_a_connection_that_has_gone_is_told_of() {
    let bench = ProxyBench::new().await;
    let stream = bench.connection();
    assert_eq!(status(bench.call("GET", "/a")).await, 200);
    bench.clock.leap(7_200_000);
    // The relay notes its use when it ends, which may be after the answer was read.
    let refused = loop {
        match bench.vault.write_calls().await {
            Ok(told) => assert_eq!(told, 0, "nothing is written while the clock has leapt"),
            Err(error) => break error,
        }
        tokio::task::yield_now().await;
    };
    assert!(refused.is_read_only(), "the clock leapt");
    bench.vault.confirm_clock().await;
    bench.execute(|given| plans::delete_connection(given, TENANT, &ProxyBench::key())).await;
    written(&bench, 1).await;
    let told = bench.told().await;
    assert_eq!(sorts(&told[0].1), [sort("GET", Some(200), 1, false)]);
    let history = format!("{}/v1/credentials/{stream}/history?limit=200", bench.base);
    let page: Value = bench.client.get(history).bearer_auth(&bench.token).send().await.unwrap().json().await.unwrap();
    assert!(page["data"].as_array().unwrap().iter().any(|event| event["type"] == "used"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sorts_of_calls_are_told_in_several_events() {
    let bench = ProxyBench::new().await;
    for number in 0..70 {
        let url = format!("http://h{number}.wide.example.net:{}/", bench.port);
        assert_eq!(status(bench.call("GET", &url)).await, 200);
    }
    written(&bench, 70).await;
    let lengths: Vec<usize> = bench.told().await.iter().map(|(_, calls)| calls.as_array().unwrap().len()).collect();
    assert_eq!(lengths, [64, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_never_moves_the_connections_version() {
    let bench = ProxyBench::new().await;
    let etag = || bench.vault.views().thing(bench.connection()).unwrap().content_version;
    let before = etag();
    assert_eq!(status(bench.call("GET", "/a")).await, 200);
    written(&bench, 1).await;
    assert_eq!(etag(), before);
}

#[tokio::test]
async fn the_vendors_logs_tell_when_the_last_call_was_made_and_not_when_it_was_written() {
    let bench = crate::served_vault::ServedBench::new().await;
    let tokens = || crate::vault_bench::tokens("an access token");
    bench.execute(|given| plans::import(given, TENANT, &crate::vault_bench::key("acme", "pipedrive"), tokens(), crate::vault_bench::settings(&[]))).await;
    let connection = bench.vault.views().connection(TENANT, &crate::vault_bench::key("acme", "pipedrive")).unwrap();
    let at = bench.vault.now();
    let call = Call { connection, method: "GET".into(), host: "api.pipedrive.com".into(), status: Some(200), withheld: false, at };
    bench.vault.note_call(&bench.owner, None, call);
    bench.clock.pass(50_000);
    bench.vault.write_calls().await.unwrap();
    let request = bench.request("GET", "/vault/logs").bearer_auth(&bench.token).header("x-apideck-app-id", "app");
    let logs = bench.send(request).await.body;
    assert_eq!((&logs["data"][0]["timestamp"], &logs["data"][0]["status_code"]), (&serde_json::json!(at), &serde_json::json!(200)), "{logs}");
}

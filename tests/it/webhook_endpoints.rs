//! Endpoints that misbehave: each costs its own webhook one failure, and no other anything.

use std::sync::Arc;

use keyledger::credentials::webhook::Changes;
use keyledger::kernel::{Clock, Random, StreamId};
use keyledger::vault::plans;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::served_vault::ServedBench;
use crate::webhook_bench::{Bench, Endpoint, LIMITS, Play, status, with};

#[tokio::test]
async fn each_sort_of_bad_answer_is_a_failure_with_a_cause() {
    let (bench, endpoint, elsewhere) = (Bench::with(LIMITS).await, Endpoint::start().await, Endpoint::start().await);
    let huge = Play::Bytes([b"HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n".as_slice(), &vec![b'x'; 70_000]].concat());
    let cases = [
        (with(302, &format!("location: {}\r\n", elsewhere.url())), "the endpoint answered 302: redirects are not followed"),
        (status(400), "the endpoint answered 400"),
        (status(100), "the connection broke before the answer was whole; the outcome is unknown"),
        (huge, "the answer is larger than 65536 bytes"),
        (Play::Hold, "no whole answer in time; the outcome is unknown"),
        (Play::Drip, "no whole answer in time; the outcome is unknown"),
        (Play::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx".to_vec()), "the connection broke before the answer was whole; the outcome is unknown"),
        (Play::Bytes(b"\0\0\0".to_vec()), "the connection broke before the answer was whole; the outcome is unknown"),
        (Play::Bytes(Vec::new()), "the connection broke before the answer was whole; the outcome is unknown"),
    ];
    for (place, (play, cause)) in cases.into_iter().enumerate() {
        let (mut line, _) = bench.hook_of(&endpoint.url(), &["vault.connection.created"]).await;
        endpoint.next([play]);
        bench.import(&format!("c{place}")).await;
        assert!(bench.deliver(&mut line).await.is_some());
        let progress = line.progress();
        assert_eq!((progress.failed.as_ref().unwrap().cause.as_str(), progress.retrying.len()), (cause, 1), "case {place}");
        bench.clock.pass(10_000);
        assert_eq!(bench.deliver(&mut line).await, None);
        assert_eq!((line.progress().delivered, endpoint.take().len()), (1, 2), "case {place}: the next try is taken");
    }
    assert_eq!(elsewhere.take().len(), 0, "a redirect is not followed");
    // An address that was opened once, and no longer is.
    let (mut line, _) = bench.hook("http://192.0.2.1/hook").await;
    bench.import("elsewhere").await;
    bench.deliver(&mut line).await;
    assert!(line.progress().failed.as_ref().unwrap().cause.starts_with("not called: "));
}

#[tokio::test]
async fn one_that_hangs_holds_up_no_other_and_the_end_waits_for_what_is_under_way() {
    let bench = Bench::new().await;
    let (slow, fast) = (Endpoint::start().await, Endpoint::start().await);
    slow.always(Play::Hold);
    let (stuck, _) = bench.hook_of(&slow.url(), &["vault.connection.created"]).await;
    let (line, _) = bench.hook_of(&fast.url(), &["vault.connection.created"]).await;
    let webhooks = crate::webhook_bench::webhooks(&bench.vault, LIMITS);
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(Arc::clone(&webhooks).run(stopped));
    for number in 0..5 {
        bench.import(&format!("c{number}")).await;
    }
    let mut came = Vec::new();
    while came.len() < 5 {
        came.extend(fast.take());
        tokio::task::yield_now().await;
    }
    stop.send_replace(true);
    running.await.unwrap();
    assert_eq!((came.len(), fast.take().len()), (5, 0));
    assert_eq!(bench.live(line.id).progress.delivered, 5, "the end writes down what came of sending");
    let progress = bench.live(stuck.id).progress;
    assert!(progress.delivered == 0 && progress.retrying.values().all(|retry| retry.due > bench.clock.now()));
    assert_eq!(bench.webhooks.line(line.id).unwrap().progress().delivered, 5);
}

#[tokio::test]
async fn what_is_held_is_not_sent() {
    use keyledger::egress::{Egress, Policy};
    use keyledger::jobs::Webhooks;
    let (bench, endpoint) = (Bench::new().await, Endpoint::start().await);
    let (mut line, _) = bench.hook(&endpoint.url()).await;
    bench.import("acme").await;
    let policy = Policy { allowed: vec!["127.0.0.0/8".parse().unwrap()] };
    let random: Arc<dyn Random> = Arc::new(crate::fixed::FixedRandom::new(301));
    let held = Webhooks::new(Arc::clone(&bench.vault), Egress::new(policy, LIMITS), random, Box::new(|_| true));
    assert_eq!(held.deliver_due(&mut line).await, None);
    let command = keyledger::vault::Command { principal: &bench.owner, meta: keyledger::credentials::Meta::default(), idempotency: None };
    assert!(held.test(&command, line.id).await.is_err());
    assert_eq!(endpoint.take().len(), 0);
    bench.deliver(&mut line).await;
    assert_eq!(endpoint.take().len(), 3);
}

#[tokio::test]
async fn a_tenant_is_told_of_its_own_connections_only_and_of_nothing_while_it_is_suspended() {
    let (bench, endpoint) = (ServedBench::new().await, Endpoint::start().await);
    let webhooks = crate::webhook_bench::webhooks(&bench.vault, LIMITS);
    let (_, theirs) = bench.tenant("theirs").await;
    let import = async |token: &str, consumer: &str| {
        let request = bench.request("POST", "/vault/connections/crm/pipedrive/import").bearer_auth(token);
        let request = request.header("x-apideck-app-id", "app").header("x-apideck-consumer-id", consumer);
        let told = bench.send(request.json(&json!({"credentials": {"access_token": "t"}}))).await;
        assert_eq!(told.status, 200, "{}", told.body);
    };
    let made = bench.call(&theirs, "POST", "/v1/webhooks", json!({"url": "https://example.com/"})).await;
    let id: StreamId = made.body["webhook"]["id"].as_str().unwrap().parse().unwrap();
    // To where this machine listens: the guard of the routes opens nothing here.
    let changes = || Changes { url: Some(endpoint.url()), ..Changes::default() };
    let owner = bench.vault.authenticate(&theirs).unwrap();
    let command = keyledger::vault::Command { principal: &owner, meta: keyledger::credentials::Meta::default(), idempotency: None };
    bench.vault.execute(&command, |given| plans::update_webhook(given, &owner, id, changes(), None)).await.unwrap();
    let mut line = webhooks.line(id).unwrap();
    import(&bench.token, "of the first").await;
    import(&theirs, "of theirs").await;
    import(&bench.token, "of the first too").await;
    assert_eq!(bench.call(&bench.token, "POST", "/v1/tenants/theirs/suspend", Value::Null).await.status, 200);
    assert_eq!((webhooks.deliver_due(&mut line).await, endpoint.take().len()), (None, 0));
    assert_eq!(bench.call(&bench.token, "POST", "/v1/tenants/theirs/resume", Value::Null).await.status, 200);
    webhooks.deliver_due(&mut line).await;
    let who: Vec<_> = endpoint.take().iter().map(|came| came.payload()["consumer_id"].clone()).collect();
    assert_eq!(who, [json!("of theirs"), json!("of theirs"), json!("of theirs")]);
}

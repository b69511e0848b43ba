//! Endpoints that misbehave: each costs its own webhook one failure, and no other anything.

use std::sync::Arc;

use keyledger::kernel::{Clock, Random};
use tokio::sync::watch;

use crate::webhook_bench::{Bench, Endpoint, LIMITS, Play, status, with};

#[tokio::test]
async fn each_sort_of_bad_answer_is_a_failure_with_a_cause() {
    let (bench, endpoint, elsewhere) = (Bench::with(LIMITS).await, Endpoint::start().await, Endpoint::start().await);
    let huge = Play::Bytes([b"HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n".as_slice(), &[b'x'; 70_000]].concat());
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
async fn what_is_held_is_not_sent_and_a_suspended_tenant_is_told_nothing() {
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

//! Webhooks as they are delivered: what is told, in which order, signed by whom, and what becomes of it when the endpoint is away.

use keyledger::credentials::connection::{Outcome, Tokens};
use keyledger::credentials::webhook::{Changes, Replay};
use keyledger::kernel::*;
use keyledger::vault::plans;
use serde_json::json;

use crate::vault_bench::TENANT;
use crate::webhook_bench::{Bench, Came, Endpoint, status, with};

const SECOND: i64 = 1000;
const HOUR: i64 = 3600 * SECOND;

fn failed() -> Outcome {
    Outcome::Failed { cause: "the service answered 500".into(), passing: true, status: Some(500), retry_at: None, client: false }
}

fn fetched() -> Outcome {
    Outcome::Tokens(Tokens { access: Some(Secret::from("another")), ..Tokens::default() })
}

#[tokio::test]
async fn a_connections_life_is_told_in_order_each_message_once() {
    let (bench, endpoint) = (Bench::new().await, Endpoint::start().await);
    bench.import("before").await;
    let (mut line, secret) = bench.hook(&endpoint.url()).await;
    bench.import("acme").await;
    bench.exchanged("acme", fetched).await;
    bench.exchanged("acme", failed).await;
    bench.exchanged("acme", failed).await;
    bench.exchanged("acme", fetched).await;
    bench.enable("acme", false).await;
    bench.enable("acme", true).await;
    bench.delete("acme").await;
    assert_eq!(bench.deliver(&mut line).await, None);
    let came = endpoint.take();
    let told: Vec<String> = came.iter().map(Came::told).collect();
    let whole = ["created", "updated", "callable", "token_refresh.pending", "token_refresh.recovered", "updated", "disabled", "updated", "callable", "deleted"];
    assert_eq!(told, whole);
    let ids: std::collections::BTreeSet<String> = came.iter().map(Came::id).collect();
    assert_eq!(ids.len(), whole.len(), "each has an id of its own");
    let seconds = (bench.clock.now().millis() / 1000).to_string();
    for one in &came {
        assert!(one.is_signed_with(&secret), "{one:?}");
        assert_eq!((one.path.as_str(), one.header("content-type"), one.header("webhook-timestamp")), ("/hook?a=b", "application/json", &*seconds));
        let payload = one.payload();
        let known = (&payload["unified_api"], &payload["service_id"], &payload["consumer_id"], &payload["application_id"], &payload["entity_id"]);
        assert_eq!(known, (&json!("crm"), &json!("pipedrive"), &json!("acme"), &json!("app"), &json!("crm+pipedrive")));
        assert_eq!((&payload["execution_attempt"], &payload["entity_type"]), (&json!(1), &json!("Connection")));
        assert!(!String::from_utf8_lossy(&one.body).contains("token\""), "no token, no setting: {payload}");
    }
    let entity = |place: usize, member: &str| came[place].payload()["entity"][member].clone();
    assert_eq!(
        (entity(0, "state"), entity(2, "state"), entity(6, "enabled"), entity(9, "id")),
        (json!("added"), json!("callable"), json!(false), json!("crm+pipedrive"))
    );
    assert_eq!(bench.deliver(&mut line).await, None);
    assert_eq!(endpoint.told(), [""; 0], "nothing comes twice");
    assert_eq!(line.progress().delivered, 10);
}

#[tokio::test]
async fn only_what_is_subscribed_to_is_told_and_only_to_its_own_tenant() {
    let (bench, endpoint) = (Bench::new().await, Endpoint::start().await);
    let (mut line, _) = bench.hook_of(&endpoint.url(), &["vault.connection.callable", "vault.connection.deleted"]).await;
    bench.import("acme").await;
    bench.delete("acme").await;
    bench.deliver(&mut line).await;
    assert_eq!(endpoint.told(), ["callable", "deleted"]);
    // The same under another name: of another tenant, all of it is foreign.
    let mut foreign = line.clone();
    foreign.tenant = TenantId(*b"another tenant..");
    bench.import("acme").await;
    bench.deliver(&mut foreign).await;
    assert_eq!(endpoint.told(), [""; 0]);
    bench.deliver(&mut line).await;
    assert_eq!(endpoint.told(), ["callable"]);
}

#[tokio::test]
async fn a_message_that_fails_is_tried_again_with_growing_waits_under_the_same_id_and_then_given_up_and_replayed() {
    let (bench, endpoint) = (Bench::new().await, Endpoint::start().await);
    let (mut line, secret) = bench.hook_of(&endpoint.url(), &["vault.connection.created"]).await;
    endpoint.always(status(500));
    bench.import("acme").await;
    let (mut ids, mut waits) = (std::collections::BTreeSet::new(), Vec::new());
    let mut due = bench.deliver(&mut line).await;
    for attempt in 1..=9 {
        let came = endpoint.take();
        assert_eq!((came.len(), &came[0].payload()["execution_attempt"]), (1, &json!(attempt)));
        assert!(came[0].is_signed_with(&secret));
        ids.insert(came[0].id());
        let Some(at) = due else { break };
        let wait = at.millis() - bench.clock.now().millis();
        waits.push(wait / SECOND);
        bench.clock.pass(wait - 1);
        bench.deliver(&mut line).await;
        assert_eq!(endpoint.told(), [""; 0], "not before its time");
        bench.clock.pass(1);
        due = bench.deliver(&mut line).await;
    }
    assert_eq!(ids.len(), 1);
    for (wait, least) in waits.iter().zip([5, 30, 120, 600, 3600, 3 * 3600, 6 * 3600, 12 * 3600]) {
        assert!((least..=least + least / 5).contains(wait), "{wait} s, at least {least}");
    }
    assert_eq!((waits.len(), line.progress().dead.len(), line.progress().retrying.len()), (8, 1, 0));
    bench.webhooks.record(&mut line).await;
    let dead = bench.live(line.id).progress.dead.values().next().unwrap().clone();
    assert_eq!((dead.tries, dead.last.status), (9, Some(500)));
    // What is new is told meanwhile: one failure in a row stops nothing.
    endpoint.always(status(204));
    bench.import("other").await;
    bench.deliver(&mut line).await;
    assert_eq!(endpoint.told(), ["created"]);
    bench.execute(|given| plans::replay_webhook(given, &bench.owner, line.id, Replay::Positions(vec![dead.letter.position]))).await;
    bench.deliver(&mut line).await;
    let came = endpoint.take();
    assert_eq!((came.len(), ids.contains(&came[0].id())), (1, true), "the same id as ever");
    bench.webhooks.record(&mut line).await;
    let progress = bench.live(line.id).progress;
    assert_eq!((progress.dead.len(), progress.replaying.len(), progress.delivered), (0, 0, 2));
}

#[tokio::test]
async fn an_endpoint_that_is_away_holds_the_log_and_loses_nothing() {
    let (bench, endpoint) = (Bench::new().await, Endpoint::start().await);
    let (mut line, _) = bench.hook_of(&endpoint.url(), &["vault.connection.created"]).await;
    endpoint.always(status(503));
    for number in 0..20 {
        bench.import(&format!("c{number:02}")).await;
    }
    bench.deliver(&mut line).await;
    assert_eq!((endpoint.take().len(), line.progress().retrying.len()), (8, 8), "it stops after eight failures in a row");
    bench.webhooks.record(&mut line).await;
    let before = bench.vault.views().position();
    // For hours nothing new is tried, and the log does not grow by more than the retries.
    for _ in 0..30 {
        bench.clock.pass(HOUR / 4);
        bench.deliver(&mut line).await;
        bench.webhooks.record(&mut line).await;
    }
    assert!(line.progress().retrying.len() == 8 && line.progress().through < bench.vault.views().connections_last(TENANT));
    assert!(bench.vault.views().position().0 - before.0 <= 30);
    let tried: std::collections::BTreeSet<_> = endpoint.take().iter().map(Came::id).collect();
    assert_eq!(tried.len(), 8, "no other letter was tried");
    // It comes back: noticed within ten minutes, and then everything comes.
    endpoint.always(status(200));
    bench.clock.pass(HOUR / 6);
    bench.deliver(&mut line).await;
    let mut who: Vec<String> = endpoint.take().iter().map(|came| came.payload()["consumer_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(who[8..], (8..20).map(|number| format!("c{number:02}")).collect::<Vec<_>>(), "what was held comes in order");
    who.sort();
    assert_eq!(who, (0..20).map(|number| format!("c{number:02}")).collect::<Vec<_>>());
    assert_eq!((line.progress().failures, line.progress().retrying.len(), line.progress().dead.len()), (0, 0, 0));
}

#[tokio::test]
async fn an_endpoint_that_asks_for_a_pause_has_it_and_one_that_is_gone_is_left_alone() {
    let (bench, endpoint) = (Bench::new().await, Endpoint::start().await);
    let (mut line, _) = bench.hook_of(&endpoint.url(), &["vault.connection.created"]).await;
    let date = "Thu, 01 Jan 2099 00:00:00 GMT";
    for (answer, least) in
        [(with(429, "retry-after: 90\r\n"), 90), (with(503, &format!("retry-after: {date}\r\n")), 3600), (with(429, "retry-after: soon\r\n"), 5)]
    {
        endpoint.next([answer]);
        bench.import(&format!("c{least}")).await;
        let due = bench.deliver(&mut line).await.unwrap();
        let wait = (due.millis() - bench.clock.now().millis()) / SECOND;
        assert!((least..=least + least / 5 + 1).contains(&wait), "{wait} s, not {least}");
        assert_eq!(endpoint.take().len(), 1);
        if least > 5 {
            bench.import(&format!("d{least}")).await;
            assert_eq!(bench.deliver(&mut line).await, Some(due), "nothing else comes before the pause ends");
            assert_eq!(endpoint.take().len(), 0);
        }
        bench.clock.pass(wait * SECOND + 2 * SECOND);
        bench.deliver(&mut line).await;
        endpoint.take();
    }
    endpoint.next([status(410)]);
    bench.import("gone").await;
    assert_eq!(bench.deliver(&mut line).await, None);
    let webhook = bench.live(line.id);
    assert_eq!((webhook.profile.enabled, webhook.gone.as_ref().unwrap().1.as_str()), (false, "the endpoint answered 410 Gone"));
    bench.import("later").await;
    bench.clock.pass(24 * HOUR);
    bench.deliver(&mut line).await;
    assert_eq!(endpoint.take().len(), 1, "only the one that was answered so");
    // Somebody enables it: it goes on where it stood.
    bench.execute(|given| plans::update_webhook(given, &bench.owner, line.id, Changes { enabled: Some(true), ..Changes::default() }, None)).await;
    assert_eq!(bench.live(line.id).gone, None);
    bench.deliver(&mut line).await;
    let who: Vec<_> = endpoint.take().iter().map(|came| came.payload()["consumer_id"].clone()).collect();
    assert_eq!(who, [json!("gone"), json!("later")]);
}

#[tokio::test]
async fn a_former_secret_signs_along_for_its_grace_and_no_longer() {
    let (bench, endpoint) = (Bench::new().await, Endpoint::start().await);
    let (mut line, first) = bench.hook_of(&endpoint.url(), &["vault.connection.created"]).await;
    let rotate = async |grace| {
        let mut values = Vec::new();
        bench
            .execute(|given| {
                let (plan, drawn) = plans::rotate_webhook(given, &bench.owner, line.id, grace, None)?;
                values = drawn;
                Ok(plan)
            })
            .await;
        String::from_utf8(values[0].expose().to_vec()).unwrap()
    };
    let second = rotate(24 * 3600).await;
    let mut signed = async |consumer: &str| {
        bench.import(consumer).await;
        bench.deliver(&mut line).await;
        endpoint.take().pop().unwrap()
    };
    let came = signed("a").await;
    assert!(came.is_signed_with(&first) && came.is_signed_with(&second));
    assert_eq!(came.header("webhook-signature").split(' ').count(), 2);
    bench.clock.pass(24 * HOUR - 1);
    assert!(signed("b").await.is_signed_with(&first));
    bench.clock.pass(1);
    let came = signed("c").await;
    assert!(!came.is_signed_with(&first) && came.is_signed_with(&second));
}

#[tokio::test]
async fn a_webhook_goes_on_after_a_restart_and_what_was_not_recorded_comes_again_under_the_same_id() {
    let (bench, endpoint) = (Bench::new().await, Endpoint::start().await);
    let (mut line, _) = bench.hook_of(&endpoint.url(), &["vault.connection.created"]).await;
    endpoint.next([status(200), status(500)]);
    bench.import("one").await;
    bench.import("two").await;
    bench.deliver(&mut line).await;
    bench.webhooks.record(&mut line).await;
    endpoint.take();
    bench.import("three").await;
    bench.deliver(&mut line).await;
    let unrecorded = endpoint.take();
    // A crash forgets the line.
    let mut line = bench.webhooks.line(line.id).unwrap();
    assert_eq!((line.progress().delivered, line.progress().retrying.len()), (1, 1));
    bench.deliver(&mut line).await;
    let again = endpoint.take();
    assert_eq!((again.len(), again[0].id(), again[0].body == unrecorded[0].body), (1, unrecorded[0].id(), true));
    bench.clock.pass(6 * SECOND);
    bench.deliver(&mut line).await;
    assert_eq!(endpoint.take()[0].payload()["consumer_id"], "two");
    bench.webhooks.record(&mut line).await;
    let mut line = bench.webhooks.line(line.id).unwrap();
    bench.deliver(&mut line).await;
    assert_eq!((endpoint.take().len(), line.progress().delivered), (0, 3));
    // From an event on, everything comes again; nothing is sent that happened before the webhook was made.
    let from = Replay::From(bench.live(line.id).since.next());
    bench.execute(|given| plans::replay_webhook(given, &bench.owner, line.id, from.clone())).await;
    bench.deliver(&mut line).await;
    assert_eq!(endpoint.take().len(), 3);
}

#[tokio::test]
async fn nothing_is_recorded_for_what_is_foreign_and_one_event_tells_of_many_deliveries() {
    let (bench, endpoint) = (Bench::new().await, Endpoint::start().await);
    let (mut line, _) = bench.hook(&endpoint.url()).await;
    for number in 0..50 {
        bench.execute(|given| plans::create_organization(given, format!("Org {number}"))).await;
    }
    let before = bench.vault.views().position();
    bench.deliver(&mut line).await;
    bench.webhooks.record(&mut line).await;
    assert_eq!((line.progress().through, bench.vault.views().position()), (before, before));
    for number in 0..10 {
        bench.import(&format!("c{number}")).await;
    }
    let before = bench.vault.views().position();
    bench.clock.pass(60 * SECOND);
    bench.deliver(&mut line).await;
    bench.webhooks.record(&mut line).await;
    assert_eq!(endpoint.take().len(), 30);
    let written = bench.vault.views().position().0 - before.0;
    assert_eq!(written, 1);
    bench.deliver(&mut line).await;
    bench.webhooks.record(&mut line).await;
    assert_eq!(bench.vault.views().position().0, before.0 + written, "its own events cause no further ones");
}

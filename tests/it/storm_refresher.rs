//! Renewal ahead of time: spread, bounded for each host, patient with services that ask for it, and never in the way of what its owner wants.

use keyledger::credentials::connection::{Changes, Command as Order, Phase, Tokens};
use keyledger::credentials::connector::GrantType;
use keyledger::kernel::{Json, Moment, Secret, StreamId};
use keyledger::oauth::{Landed, What};
use keyledger::vault::plans;
use serde_json::json;

use crate::storm_bench::{Storm, key};
use crate::storm_provider::{Provider, Rules, access};
use crate::vault_bench::TENANT;

const DAY: i64 = 24 * 3600;

async fn with(rules: Rules) -> (Storm, Provider) {
    let (storm, provider) = (Storm::new().await, Provider::start(rules).await);
    storm.service("local", &provider.url, GrantType::AuthorizationCode).await;
    (storm, provider)
}

async fn hourly() -> (Storm, Provider) {
    with(Rules { expires_in: Some(3600), ..Rules::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_together_is_renewed_before_its_end_and_not_together() {
    let (storm, provider) = hourly().await;
    let mut ids = Vec::new();
    for number in 0..40 {
        ids.push(storm.import("local", &format!("f{number}"), Some(3600)).await);
    }
    let mut refresher = storm.refresher();
    let mut renewed = Vec::new();
    for minute in 0..60 {
        let before = provider.heard_now();
        while storm.round(&mut refresher).await > 0 {}
        renewed.push(provider.heard_now() - before);
        assert!(ids.iter().all(|id| storm.live(*id).access.unwrap().expires_at.unwrap() > storm.vault.now()), "minute {minute}");
        storm.pass(60);
    }
    assert_eq!(renewed[..44].iter().sum::<usize>(), 0, "no earlier than a quarter of an hour before: {renewed:?}");
    assert_eq!(renewed.iter().sum::<usize>(), 40, "each once");
    assert!(renewed.iter().max().unwrap() < &25 && renewed.iter().filter(|count| **count > 0).count() >= 4, "{renewed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_that_tell_no_end_are_queued_and_others_wait() {
    let (storm, provider) = hourly().await;
    let unknown = storm.import("local", "unknown", None).await;
    let told = storm.import("local", "told", Some(3600)).await;
    let half_told = storm.entered("local", "half").await;
    // Seconds to live, but since when? It may have ended long ago.
    let tokens = || Tokens {
        access: Some(Secret::from("at-half-0")),
        refresh: Some(Secret::from("rt-half-0")),
        expires_at: Some(storm.vault.now().plus_seconds(3600)),
        ..Tokens::default()
    };
    storm.execute(|given| plans::import(given, TENANT, &key("local", "half"), tokens(), Changes::default())).await;
    let only_refresh = storm.entered("local", "refresh").await;
    storm.import_more("local", "refresh", None, Some("rt-refresh-0"), None).await;
    let only_access = storm.entered("local", "access").await;
    storm.import_more("local", "access", Some("at-access-0"), None, None).await;
    let mut refresher = storm.refresher();
    assert_eq!(storm.round(&mut refresher).await, 3);
    assert_eq!(storm.shown(half_told, "access_token").await, access("half", 1));
    assert_eq!((storm.shown(unknown, "access_token").await, storm.shown(only_refresh, "access_token").await), (access("unknown", 1), access("refresh", 1)));
    assert_eq!((storm.live(only_refresh).phase, storm.shown(told, "access_token").await), (Phase::Callable, access("told", 0)));
    assert_eq!(storm.shown(only_access, "access_token").await, access("access", 0));
    assert_eq!((storm.round(&mut refresher).await, provider.heard_now()), (0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_host_takes_eight_at_once_while_another_goes_on() {
    let (storm, slow) = hourly().await;
    let quick = Provider::start(Rules { expires_in: Some(3600), ..Rules::default() }).await;
    storm.service("quick", &quick.url, GrantType::AuthorizationCode).await;
    slow.close();
    for number in 0..20 {
        storm.import("local", &format!("s{number}"), None).await;
        storm.import("quick", &format!("q{number}"), None).await;
    }
    let mut refresher = storm.refresher();
    while quick.rules.calls() < 20 {
        refresher.step().await;
        tokio::task::yield_now().await;
    }
    slow.heard(8).await;
    refresher.step().await;
    assert_eq!((slow.heard_now(), refresher.active() >= 8), (8, true));
    slow.open(20);
    while slow.rules.calls() < 20 {
        storm.round(&mut refresher).await;
    }
    assert_eq!((slow.most_at_once(), slow.heard_now(), quick.heard_now()), (8, 20, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_fails_time_and_again_is_left_alone_and_tried_by_one() {
    let (storm, provider) = hourly().await;
    for number in 0..30 {
        storm.import("local", &format!("f{number}"), None).await;
    }
    provider.misbehave((0..9).map(|_| (503, vec![], String::new())));
    let mut refresher = storm.refresher();
    assert_eq!((storm.round(&mut refresher).await, provider.heard_now()), (8, 8));
    assert_eq!(storm.round(&mut refresher).await, 0, "it is left alone");
    storm.pass(301);
    assert_eq!((storm.round(&mut refresher).await, provider.heard_now()), (1, 9), "one tries");
    assert_eq!(storm.round(&mut refresher).await, 0);
    storm.pass(601);
    assert_eq!(storm.round(&mut refresher).await, 1);
    // It answers again: all the others follow, and those that had failed.
    while storm.round(&mut refresher).await > 0 {}
    assert_eq!(provider.rules.calls(), 30);
}

/// When a connection is tried again that was told to wait, in seconds from then, and by a run that began after.
async fn waits(retry_after: &str) -> i64 {
    let (mut storm, provider) = hourly().await;
    let id = storm.import("local", "f", None).await;
    provider.misbehave([(429, vec![("retry-after", retry_after.to_owned())], String::new())]);
    assert_eq!(storm.round(&mut storm.refresher()).await, 1);
    assert_eq!(storm.live(id).failure.unwrap().status, Some(429));
    storm = storm.restart().await;
    let mut refresher = storm.refresher();
    let mut waited = 0;
    while storm.round(&mut refresher).await == 0 {
        assert!(waited < 2 * DAY, "it is tried again some day");
        let step = if waited < 300 { 1 } else { 100 };
        storm.pass(step);
        waited += step;
    }
    assert_eq!(storm.shown(id, "access_token").await, access("f", 1));
    waited
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_asks_to_wait_is_heard_also_after_a_restart() {
    assert!((120..=121).contains(&waits("120").await));
    // Half a minute is the wait without a word, and a little more by chance.
    for garbage in ["-1", "soon", "", "0", "1.5", "+120", "Thu, 01 Jan 1970 00:00:00 GMT", "\t \t"] {
        let waited = waits(garbage).await;
        assert!((30..=37).contains(&waited), "{garbage}: {waited}");
    }
    for huge in ["99999999999999999999999", "31536000"] {
        let waited = waits(huge).await;
        assert!((DAY..=DAY + 200).contains(&waited), "at most a day: {waited}");
    }
    let in_ten_minutes = std::time::UNIX_EPOCH + std::time::Duration::from_millis(u64::try_from(crate::log_bench::START).unwrap() + 600_000);
    let waited = waits(&httpdate::fmt_http_date(in_ten_minutes)).await;
    assert!((600..=700).contains(&waited), "{waited}");
}

/// A connection whose refresh the service refuses.
async fn refused(status: u16) -> (Storm, Provider, StreamId) {
    let (storm, provider) = hourly().await;
    let id = storm.import("local", "f", None).await;
    provider.misbehave((0..10_000).map(|_| (status, vec![], "{\"error\":\"invalid_grant\"}".to_owned())));
    (storm, provider, id)
}

/// Goes on in steps of half an hour.
async fn go_on(storm: &Storm, seconds: i64) {
    let mut refresher = storm.refresher();
    for _ in 0..seconds / 1800 {
        while storm.round(&mut refresher).await > 0 {}
        storm.pass(1800);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_the_service_refuses_are_kept_for_48_hours_and_then_removed_by_an_event() {
    for status in [400, 401] {
        let (storm, provider, id) = refused(status).await;
        let began = storm.vault.now();
        go_on(&storm, 2 * DAY - 1800).await;
        let live = storm.live(id);
        assert_eq!((live.drops_at(), storm.health(id)), (Some(began.plus_seconds(2 * DAY)), "pending_refresh"));
        assert_eq!(storm.tokens(id).await, ("at-f-0".to_owned(), "rt-f-0".to_owned()));
        let asked = provider.heard_now();
        assert!((8..30).contains(&asked), "{asked}");
        // Over a restart, too.
        let storm = storm.restart().await;
        go_on(&storm, 3 * 3600).await;
        let live = storm.live(id);
        assert_eq!((live.access, live.refresh, live.phase, storm.health(id)), (None, None, Phase::Added, "needs_auth"));
        assert_eq!(storm.live(id).extra.unwrap().dropped.as_deref(), Some(&*format!("the service answered {status}: invalid_grant")));
        assert!(provider.heard_now() <= asked + 1);
        let (asked, position) = (provider.heard_now(), storm.vault.views().position());
        go_on(&storm, 3 * DAY).await;
        assert_eq!((provider.heard_now(), storm.vault.views().position()), (asked, position), "there is nothing left to do");
        // New ones begin anew.
        storm.import_more("local", "f", Some("at-f-1"), None, None).await;
        assert_eq!((storm.health(id), storm.live(id).failure), ("ok", None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_refused_is_kept_for_ever() {
    // No one listens there; and a service that is broken, or forbids it, refuses no token.
    let (storm, provider) = hourly().await;
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    storm.service("away", &format!("http://{away}/token"), GrantType::AuthorizationCode).await;
    storm.service("other", &provider.url, GrantType::AuthorizationCode).await;
    let (down, broken) = (storm.import("away", "f", None).await, storm.import("other", "g", None).await);
    provider.misbehave((0..10_000).map(|call| ([500, 403, 302, 200][call % 4], vec![], "<html>".to_owned())));
    go_on(&storm, 60 * DAY).await;
    for id in [down, broken] {
        let failure = storm.live(id).failure.unwrap();
        assert_eq!((storm.live(id).drops_at(), failure.refused_since, storm.health(id)), (None, None, "pending_refresh"));
        assert!(failure.count > 200 && failure.since.plus_seconds(59 * DAY) < failure.at, "{failure:?}");
        assert!(storm.live(id).refresh.is_some() && storm.live(id).access.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_refusal_a_service_that_is_not_reached_removes_nothing() {
    let (storm, _, id) = refused(400).await;
    let mut refresher = storm.refresher();
    storm.round(&mut refresher).await;
    storm.service("local", "http://127.0.0.1:9/token", GrantType::AuthorizationCode).await;
    go_on(&storm, 10 * DAY).await;
    assert_eq!((storm.live(id).drops_at(), storm.tokens(id).await.1.as_str()), (None, "rt-f-0"));
    // It is there again and gives tokens after all.
    let good = Provider::start(Rules { expires_in: Some(3600), ..Rules::default() }).await;
    storm.service("local", &good.url, GrantType::AuthorizationCode).await;
    go_on(&storm, 3 * 3600).await;
    assert_eq!((storm.health(id), storm.live(id).failure), ("ok", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_the_service_does_not_know_any_more_costs_nobody_tokens() {
    for (status, error) in [(401, "invalid_client"), (400, "unauthorized_client")] {
        let (storm, provider) = hourly().await;
        let id = storm.import("local", "f", None).await;
        provider.misbehave((0..1000).map(|_| (status, vec![], format!(r#"{{"error":"{error}"}}"#))));
        go_on(&storm, 20 * DAY).await;
        assert_eq!((storm.live(id).drops_at(), storm.health(id)), (None, "pending_refresh"));
        assert_eq!(storm.live(id).failure.unwrap().cause, format!("the service answered {status}: {error}"));
        // Another secret, and they work again.
        provider.forget();
        go_on(&storm, DAY).await;
        assert_eq!((storm.live(id).failure, storm.health(id)), (None, "ok"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_in_between_begins_the_48_hours_anew() {
    let (storm, provider) = hourly().await;
    let id = storm.import("local", "f", None).await;
    let refuse = || provider.misbehave((0..60).map(|_| (401, vec![], String::new())));
    refuse();
    go_on(&storm, DAY).await;
    assert!(storm.live(id).drops_at().is_some());
    // The next one is good: what is planned for it is taken away.
    provider.forget();
    go_on(&storm, DAY / 2).await;
    assert_eq!((storm.live(id).failure, storm.health(id)), (None, "ok"));
    refuse();
    let began = storm.vault.now();
    go_on(&storm, DAY + DAY / 2).await;
    let drops_at: Moment = storm.live(id).drops_at().unwrap();
    assert!(drops_at >= began.plus_seconds(2 * DAY), "{drops_at:?}");
    assert!(storm.live(id).refresh.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_owner_has_switched_off_is_left_alone_and_goes_on_when_it_is_on_again() {
    let (storm, provider) = hourly().await;
    let enabled = |on| move || Order::Update(Changes { enabled: Some(on), ..Changes::default() });
    let consent = |granted| move || Order::Consent { id: "1".into(), granted, resources: Json::from(&json!("*")) };
    let (disabled, denied) = (storm.import("local", "disabled", None).await, storm.import("local", "denied", None).await);
    let deleted = storm.import("local", "deleted", None).await;
    storm.order(disabled, enabled(false)).await;
    storm.order(denied, consent(false)).await;
    storm.execute(|given| plans::delete_connection(given, TENANT, &key("local", "deleted"))).await;
    go_on(&storm, DAY).await;
    assert_eq!(provider.heard_now(), 0);
    assert!(storm.live(disabled).failure.is_none() && storm.live(denied).failure.is_none());
    assert!(matches!(storm.exchange(deleted, What::Renew).await, Landed::Vault(_)));
    // Nor is a failure noted when the refresher looks while it is switched off.
    let position = storm.vault.views().position();
    storm.order(disabled, || Order::NoteFailure { cause: "a test".into() }).await;
    assert_eq!(storm.vault.views().position(), position);
    storm.order(disabled, enabled(true)).await;
    storm.order(denied, consent(true)).await;
    storm.round(&mut storm.refresher()).await;
    assert_eq!((storm.shown(disabled, "access_token").await, storm.shown(denied, "access_token").await), (access("disabled", 1), access("denied", 1)));
}

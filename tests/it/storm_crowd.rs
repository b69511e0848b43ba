//! Crowds: thousands of connections that are due at once, slow and dead hosts among them, and a hundred callers over HTTP.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::iter;
use keyledger::credentials::Meta;
use keyledger::credentials::connector::GrantType;
use keyledger::kernel::TenantId;
use keyledger::keyring::Keyring;
use keyledger::seal::Key as SealKey;
use keyledger::server::{Listening, router, serve};
use keyledger::surfaces::Front;
use keyledger::vault::{Command, plans};
use serde_json::json;
use tokio::sync::watch;

use crate::exchange_bench::connector;
use crate::storm_bench::{Storm, key};
use crate::storm_provider::{Provider, Rules, access};
use crate::vault_bench::operator;

/// Background exchanges at once, of all hosts.
const AT_ONCE: usize = 32;

fn hourly() -> Rules {
    Rules { expires_in: Some(3600), ..Rules::default() }
}

/// So many connections of a service, whose tokens tell no end.
async fn crowd(storm: &Storm, service: &str, count: usize) {
    let imports = (0..count).map(|number| async move { storm.import(service, &format!("{service}{number}"), None).await });
    iter(imports).buffer_unordered(256).collect::<Vec<_>>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_long_downtime_ten_thousand_are_renewed_in_turn() {
    let (storm, slow, quick) = (Storm::new().await, Provider::start(hourly()).await, Provider::start(hourly()).await);
    storm.service("a-dead", "http://127.0.0.1:9/token", GrantType::AuthorizationCode).await;
    storm.service("b-slow", &slow.url, GrantType::AuthorizationCode).await;
    storm.service("c-quick", &quick.url, GrantType::AuthorizationCode).await;
    crowd(&storm, "a-dead", 8_500).await;
    crowd(&storm, "b-slow", 1_400).await;
    crowd(&storm, "c-quick", 100).await;
    let storm = storm.restart().await;
    slow.close();
    let mut refresher = storm.refresher();
    while quick.rules.calls() < 100 {
        refresher.step().await;
        assert!(refresher.active() <= AT_ONCE);
        tokio::task::yield_now().await;
    }
    slow.heard(8).await;
    assert_eq!(slow.heard_now(), 8, "the others did not wait for it");
    slow.open(1_400);
    while slow.rules.calls() < 1_400 {
        refresher.step().await;
        assert!(refresher.active() <= AT_ONCE);
        tokio::task::yield_now().await;
    }
    refresher.settle().await;
    assert_eq!((slow.most_at_once() <= 8, quick.most_at_once() <= 8, slow.heard_now(), quick.heard_now()), (true, true, 1_400, 100));
    // The dead one was tried a few times and then left alone; its connections have all they had.
    let failures = storm.vault.views().renewals().find(|(service, _)| *service == "crm+a-dead").map(|(_, waiting)| waiting.collect::<Vec<_>>()).unwrap();
    let failed = failures.iter().filter(|(_, id)| storm.live(*id).failure.is_some()).count();
    assert_eq!(failures.len(), 8_500);
    assert!((5..=12).contains(&failed), "{failed}");
    assert!(failures.iter().all(|(_, id)| storm.live(*id).refresh.is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_services_do_not_take_all_turns() {
    let (storm, slow, quick) = (Storm::new().await, Provider::start(hourly()).await, Provider::start(hourly()).await);
    let mut services = vec![slow];
    for _ in 0..4 {
        services.push(Provider::start(hourly()).await);
    }
    for (number, slow) in services.iter().enumerate() {
        storm.service(&format!("slow{number}"), &slow.url, GrantType::AuthorizationCode).await;
        crowd(&storm, &format!("slow{number}"), 20).await;
        slow.close();
    }
    storm.service("zz-quick", &quick.url, GrantType::AuthorizationCode).await;
    crowd(&storm, "zz-quick", 5).await;
    let mut refresher = storm.refresher();
    assert_eq!((refresher.step().await, refresher.active(), quick.heard_now()), (AT_ONCE, AT_ONCE, 0));
    services[0].heard(8).await;
    // Each place that comes free goes to the next service.
    services[0].open(5);
    while refresher.active() == AT_ONCE && quick.heard_now() == 0 {
        refresher.step().await;
        tokio::task::yield_now().await;
    }
    while quick.rules.calls() < 1 {
        refresher.step().await;
        assert!(services[0].heard_now() < 13, "the first one took all its places again");
        tokio::task::yield_now().await;
    }
    for slow in &services {
        slow.open(100);
    }
    while quick.rules.calls() < 5 {
        refresher.step().await;
        tokio::task::yield_now().await;
    }
    refresher.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenants_dead_host_does_not_hold_up_the_same_service_of_another() {
    let (storm, good) = (Storm::new().await, Provider::start(hourly()).await);
    storm.service("local", "http://127.0.0.1:9/token", GrantType::AuthorizationCode).await;
    crowd(&storm, "local", 300).await;
    storm.pass(1);
    let admit = |tenant: TenantId| Ok(storm.keyring.admit(tenant, &SealKey::new([4; 32]))?);
    let made = storm.vault.create_tenant(&storm.owner, Meta::default(), "other", admit).await.unwrap();
    let owner = storm.vault.authenticate(std::str::from_utf8(made.token.expose()).unwrap()).unwrap();
    let command = Command { principal: &owner, meta: Meta::default(), idempotency: None };
    let mut theirs = connector(good.url.clone());
    let oauth = theirs.oauth.as_mut().unwrap();
    (oauth.grant, oauth.authorize_url) = (GrantType::AuthorizationCode, Some("https://example.com/authorize".to_owned()));
    storm.vault.execute(&command, |given| plans::put_connector(given, owner.tenant, theirs.clone())).await.unwrap();
    let changes = || crate::vault_bench::settings(&[("client_id", json!("c")), ("client_secret", json!("s"))]);
    let tokens = || keyledger::credentials::connection::Tokens {
        access: Some("at-theirs-0".into()),
        refresh: Some("rt-theirs-0".into()),
        ..keyledger::credentials::connection::Tokens::default()
    };
    storm.vault.execute(&command, |given| plans::import(given, owner.tenant, &key("local", "theirs"), tokens(), changes())).await.unwrap();
    let mut refresher = storm.refresher();
    for _ in 0..10 {
        storm.round(&mut refresher).await;
    }
    assert_eq!(good.rules.family("theirs").current, 1, "{}", access("theirs", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_requests_make_one_call_at_a_time_and_closed_sockets_stop_none() {
    let (storm, provider) = (Storm::new().await, Provider::start(hourly()).await);
    storm.service("local", &provider.url, GrantType::ClientCredentials).await;
    let id = storm.entered("local", "f").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/vault/connections/crm/local/token", listener.local_addr().unwrap());
    let (_stop, stopped) = watch::channel(false);
    let front = Front {
        vault: Arc::clone(&storm.vault),
        exchanges: Arc::clone(&storm.exchanges),
        webhooks: crate::vault_bench::webhooks(&storm.vault, &[]),
        settings: operator(),
    };
    tokio::spawn(serve(listener, router(&front), Listening::default(), stopped));
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    provider.close();
    let ask = || {
        let request = client.post(&url).bearer_auth(&storm.token).header("x-apideck-app-id", "app").header("x-apideck-consumer-id", "f");
        tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
    };
    // Whoever goes away first has begun it.
    let first = ask();
    provider.heard(1).await;
    let mut callers: Vec<_> = (0..99).map(|_| ask()).collect();
    first.abort();
    callers.drain(..49).for_each(|caller| caller.abort());
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!((provider.heard_now(), storm.exchanges.flying()), (1, 1));
    provider.open(100);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 200);
    }
    storm.exchanges.settle().await;
    assert_eq!(provider.most_at_once(), 1);
    assert!(storm.live(id).access.is_some() && storm.live(id).flight.is_none());
}

//! Many callers of one connection whose token is about to end: the service hears one call, and all hear its result.

use std::sync::Arc;

use keyledger::credentials::connector::GrantType;
use keyledger::oauth::{Landed, NoCredentials, Since, What};
use tokio::task::JoinHandle;

use crate::storm_bench::Storm;
use crate::storm_provider::{Provider, Rules, access};

async fn expiring(grace: bool) -> (Arc<Storm>, Provider, keyledger::kernel::StreamId) {
    let (storm, provider) = (Storm::new().await, Provider::start(Rules { grace, expires_in: Some(3600), ..Rules::default() }).await);
    storm.service("local", &provider.url, GrantType::AuthorizationCode).await;
    let id = storm.import("local", "f", Some(3600)).await;
    storm.pass(3590);
    (Arc::new(storm), provider, id)
}

type Token = Result<Option<String>, NoCredentials>;

fn ask(storm: &Arc<Storm>, id: keyledger::kernel::StreamId) -> JoinHandle<Token> {
    let storm = Arc::clone(storm);
    tokio::spawn(async move {
        let usable = storm.exchanges.credentials(&storm.wanted(id, What::Renew), None).await?;
        Ok(usable.access.map(|(_, value)| String::from_utf8(value.expose().to_vec()).unwrap()))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_callers_make_one_call_and_all_get_its_token() {
    for _ in 0..10 {
        let (storm, provider, id) = expiring(false).await;
        let callers: Vec<_> = (0..100).map(|_| ask(&storm, id)).collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap().unwrap().as_deref(), Some("at-f-1"));
        }
        // Also those that came when the first exchange had just landed.
        assert_eq!((provider.heard_now(), provider.rules.family("f").current), (1, 1));
        assert_eq!(storm.tokens(id).await, ("at-f-1".to_owned(), "rt-f-1".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_callers_may_go_away_and_the_result_is_kept() {
    let (storm, provider, id) = expiring(false).await;
    provider.close();
    let callers: Vec<_> = (0..100).map(|_| ask(&storm, id)).collect();
    provider.heard(1).await;
    callers.iter().for_each(JoinHandle::abort);
    for caller in callers {
        assert!(caller.await.unwrap_err().is_cancelled());
    }
    provider.open(1);
    storm.exchanges.settle().await;
    assert_eq!((provider.heard_now(), storm.shown(id, "access_token").await), (1, access("f", 1)));
    assert!(storm.live(id).flight.is_none() && storm.live(id).failure.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_heard_by_all_and_nobody_asks_again_for_a_while() {
    let (storm, provider, id) = expiring(false).await;
    // Another program has used the token up.
    provider.rules.answer("refresh_token=rt-f-0");
    storm.pass(20);
    let callers: Vec<_> = (0..100).map(|_| ask(&storm, id)).collect();
    for caller in callers {
        let Err(NoCredentials::NotRenewed { cause, cooldown_remaining_ms, .. }) = caller.await.unwrap() else { panic!("it has ended") };
        assert_eq!((cause.as_str(), cooldown_remaining_ms), ("the service answered 400: invalid_grant", 30_000));
    }
    assert_eq!(provider.heard_now(), 1);
    storm.pass(31);
    assert!(ask(&storm, id).await.unwrap().is_err());
    assert_eq!(provider.heard_now(), 2, "after the while, the next one asks");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_wait_as_long_as_the_service_asks_for() {
    let (storm, provider, id) = expiring(false).await;
    provider.misbehave([(503, vec![("retry-after", "600".to_owned())], String::new())]);
    storm.pass(20);
    for seconds in [0, 31, 500, 60] {
        storm.pass(seconds);
        let Err(NoCredentials::NotRenewed { cooldown_remaining_ms, .. }) = ask(&storm, id).await.unwrap() else { panic!("it has ended") };
        assert!(cooldown_remaining_ms > 0);
        assert_eq!(provider.heard_now(), 1, "{seconds}");
    }
    storm.pass(10);
    assert_eq!(ask(&storm, id).await.unwrap().unwrap().as_deref(), Some("at-f-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_has_not_ended_serves_while_the_service_is_away() {
    let (storm, provider, id) = expiring(false).await;
    provider.misbehave([(503, vec![], String::new())]);
    assert_eq!(ask(&storm, id).await.unwrap().unwrap().as_deref(), Some("at-f-0"));
    assert_eq!((provider.heard_now(), storm.health(id)), (1, "pending_refresh"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_looked_before_a_renewal_starts_no_other_one() {
    let (storm, provider, id) = expiring(false).await;
    let live = storm.live(id);
    let since = Since { access: live.access.map(|access| access.secret.position), failed: None };
    assert!(matches!(storm.exchange(id, What::RenewSince(since)).await, Landed::Stored { .. }));
    let position = storm.vault.views().position();
    assert!(matches!(storm.exchange(id, What::RenewSince(since)).await, Landed::Stored { confirm: None }));
    assert_eq!((provider.heard_now(), storm.vault.views().position()), (1, position), "nothing was called and nothing written");
    // The same of one that failed.
    provider.misbehave([(400, vec![], "{\"error\":\"invalid_grant\"}".to_owned())]);
    let since = Since { access: storm.live(id).access.map(|access| access.secret.position), failed: None };
    for _ in 0..2 {
        let Landed::Failed { cause, status: Some(400) } = storm.exchange(id, What::RenewSince(since)).await else { panic!("it was refused") };
        assert_eq!(cause, "the service answered 400: invalid_grant");
    }
    assert_eq!(provider.heard_now(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_want_a_renewal_share_one_that_is_under_way() {
    let (storm, provider, id) = expiring(false).await;
    provider.close();
    let first = storm.begin(id, What::Renew);
    provider.heard(1).await;
    let mut others = Vec::new();
    for _ in 0..99 {
        let mut joined = Box::pin(storm.exchange(id, What::Renew));
        assert!(futures_util::poll!(joined.as_mut()).is_pending());
        others.push(joined);
    }
    // A third of them go away.
    others.truncate(66);
    provider.open(1);
    assert!(matches!(first.await.unwrap(), Landed::Stored { confirm: None }));
    for other in others {
        assert!(matches!(other.await, Landed::Stored { confirm: None }));
    }
    assert_eq!((provider.heard_now(), storm.exchanges.flying()), (1, 0));
}

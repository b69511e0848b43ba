//! Who gets in and who is shown a secret: expired tokens, strangers, reasons, shredded keys; and a vault whose views have stopped.

use std::sync::Arc;

use keyledger::credentials::api_key::{self, Grant};
use keyledger::credentials::connection::Changes;
use keyledger::credentials::issued::{KnownToken, Token, TokenType};
use keyledger::credentials::{AnyEvent, Meta, Verifier};
use keyledger::kernel::*;
use keyledger::keyring::{Keyring, Purpose};
use keyledger::log::{Index, Sequencer};
use keyledger::seal::derive;
use keyledger::vault::access::Principal;
use keyledger::vault::{VaultError, plans};
use keyledger::views::Opener;

use crate::fixed::FixedRandom;
use crate::log_bench::{Seen, Wanted, change, key as data_key, submission};
use crate::vault_bench::{TENANT, VaultBench, key, tokens};

/// Makes a key of the owner's and gives the token that opens it; `of` names the key under which its verifier was made.
async fn api_key(bench: &VaultBench, seed: u64, expires_at: Option<Moment>, of: Option<[u8; 16]>) -> String {
    let token = Token::random(TokenType::Key, &FixedRandom::new(seed));
    let hmac = bench.keyring.purpose(TenantId::SYSTEM, Purpose::Token).unwrap();
    let verifier = Verifier::new(of.unwrap_or(hmac.id), derive::token_verifier(&hmac.key, &token.id.to_string(), token.secret.expose()));
    let grant = Grant {
        name: "a key".into(),
        owner: None,
        permissions: vec!["secrets:reveal".into()],
        emails: vec![],
        organizations: vec![],
        labels: vec![],
        dns_name: None,
        app_ids: vec![],
        expires_at,
    };
    let known = KnownToken::of(&token, verifier);
    let created = || AnyEvent::from(api_key::Event::Created { grant: grant.clone(), token: known.clone() });
    bench.execute(|given| Ok(Plan::of(Write::change(given.fresh(), Version::ZERO, created())))).await.unwrap();
    String::from_utf8(token.text().expose().to_vec()).unwrap()
}

fn refused<T>(result: Result<T, VaultError>) -> Refusal {
    match result.err() {
        Some(VaultError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_ends_at_its_end_and_counts_only_under_the_key_that_made_it() {
    let bench = VaultBench::new().await;
    let end = bench.vault.now().plus_seconds(60);
    let (brief, lasting) = (api_key(&bench, 1, Some(end), None).await, api_key(&bench, 2, None, None).await);
    let foreign = api_key(&bench, 3, None, Some([9; 16])).await;
    bench.clock.pass(59_999);
    assert_eq!(bench.vault.authenticate(&brief).map(|principal| principal.held()), Ok(PermissionSet::of(&[Permission::SecretsReveal])));
    bench.clock.pass(1);
    assert_eq!(bench.vault.authenticate(&brief), Err(Refusal::NotFound), "at its end it is over");
    assert!(bench.vault.authenticate(&lasting).is_ok());
    assert_eq!(bench.vault.authenticate(&foreign), Err(Refusal::NotFound));
}

#[tokio::test]
async fn a_secret_is_shown_to_whom_the_connection_belongs_for_a_reason_that_is_recorded() {
    let bench = VaultBench::new().await;
    let answer = bench.execute(|given| plans::import(given, TENANT, &key("c", "pipedrive"), tokens("an access token"), Changes::default())).await.unwrap();
    let stream = answer.views.connection(TENANT, &key("c", "pipedrive")).unwrap();
    let before = bench.vault.views().position();
    let show = async |principal: &Principal, reason: &str| bench.vault.reveal(principal, Meta::default(), stream, "access_token", reason).await;
    let stranger = Principal { tenant: TenantId([9; 16]), ..bench.owner.clone() };
    let elsewhere = Principal { app_ids: vec!["another".into()], ..bench.owner.clone() };
    for principal in [stranger, elsewhere] {
        assert_eq!(refused(show(&principal, "a test").await), Refusal::NotFound);
    }
    assert!(matches!(refused(show(&bench.owner, &"x".repeat(513)).await), Refusal::Invalid { field, .. } if field == "reason"));
    assert_eq!(bench.vault.views().position(), before, "a refusal writes nothing");
    assert!(show(&bench.owner, &"x".repeat(512)).await.is_ok());
    show(&Principal { app_ids: vec!["app".into()], ..bench.owner.clone() }, "the customer asked").await.unwrap();
    let record = bench.vault.log().fetch(&[bench.vault.views().position()]).await.unwrap().remove(0);
    let opened = Opener::new(bench.keyring.clone() as Arc<dyn Keyring>).open(&record).unwrap();
    let meta = opened.stored.meta;
    assert_eq!((meta.reason.as_deref(), meta.rule.as_deref()), (Some("the customer asked"), Some("role:owner")));
}

#[tokio::test]
async fn a_secret_whose_key_was_destroyed_is_said_to_be_shredded() {
    let bench = VaultBench::new().await;
    let answer = bench.execute(|given| plans::import(given, TENANT, &key("c", "pipedrive"), tokens("an access token"), Changes::default())).await.unwrap();
    let stream = answer.views.connection(TENANT, &key("c", "pipedrive")).unwrap();
    let record = bench.vault.log().fetch(&[answer.events.unwrap().1]).await.unwrap().remove(0);
    let sealed = record.header().secrets.iter().find(|secret| secret.name == "access_token").unwrap();
    bench.keyring.destroy(&[sealed.key]).unwrap();
    let shown = async |name| bench.vault.reveal(&bench.owner, Meta::default(), stream, name, "a test").await;
    let before = bench.vault.views().position();
    assert_eq!(refused(shown("access_token").await), Refusal::Shredded);
    assert_eq!(bench.vault.views().position(), before, "no event tells of a value that never left");
    assert_eq!(shown("refresh_token").await.unwrap().value.expose(), b"a refresh token", "the other one is not touched");
}

#[tokio::test]
async fn nothing_is_decided_on_views_that_have_stopped() {
    let bench = VaultBench::new().await;
    let import = async || bench.execute(|given| plans::import(given, TENANT, &key("c", "pipedrive"), tokens("t"), Changes::default())).await;
    import().await.unwrap();
    // Another writer, whose record no key of this vault opens.
    let other = Sequencer::start(bench.vault.log().clone(), bench.clock.clone(), Arc::new(Seen::default()), Index::default()).await.unwrap();
    other.submit(submission(&[Wanted { facts_key: Some(data_key(0xee, 1)), ..change(0xee, 0) }], None)).await.unwrap();
    // The first command meets the record on its way to the log.
    drop(import().await);
    assert!(bench.vault.failure().is_some());
    let head = *bench.vault.log().head().borrow();
    assert!(matches!(import().await.err(), Some(VaultError::Stopped(_))));
    assert_eq!(*bench.vault.log().head().borrow(), head, "nothing was written");
}

#[tokio::test]
async fn a_plan_for_a_connection_rests_on_the_connector_as_it_stood() {
    let bench = VaultBench::new().await;
    let mut guards = Vec::new();
    for _ in 0..2 {
        let seen = &mut guards;
        let decide = |given: &keyledger::vault::Given<'_>| {
            let plan = plans::import(given, TENANT, &key("c", "pipedrive"), tokens("t"), Changes::default())?;
            seen.push(plan.guards.clone());
            Ok(plan)
        };
        bench.execute(decide).await.unwrap();
    }
    let (stream, _) = bench.vault.views().connector(TENANT, "crm", "pipedrive").map(|(id, connector)| (id, connector.clone())).unwrap();
    let guard = Guard { stream, expected: Version(1) };
    assert!(guards.len() == 2 && guards.iter().all(|guards| *guards == [guard]), "at the first import and at the next: {guards:?}");
}

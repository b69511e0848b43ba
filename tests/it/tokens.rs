//! Proof of a client, access and refresh tokens, and what ends them: the core, on a clock that the tests set.

use base64ct::{Base64UrlUnpadded, Encoding};
use keyledger::credentials::issued::TokenType;
use keyledger::credentials::user::{self, Profile};
use keyledger::credentials::{AnyEvent, Kind, Meta};
use keyledger::kernel::*;
use keyledger::keyring::{Keyring, Purpose};
use keyledger::seal::jwt::{self, Use};
use keyledger::vault::{Client, For, Rejected, Vault, VaultError, plans};

use crate::vault_bench::{TENANT, VaultBench};

fn text(secret: &Secret) -> String {
    String::from_utf8(secret.expose().to_vec()).unwrap()
}

/// An API client of the owner's, with its secret and its OAuth client secret.
async fn api_client(bench: &VaultBench, roles: &[RoleRef]) -> (StreamId, String, String) {
    let (mut id, mut values) = (StreamId::default(), Vec::new());
    bench
        .execute(|given| {
            let (plan, made, drawn) = plans::create_api_client(given, &bench.owner, "a client".into(), roles.to_vec())?;
            (id, values) = (made, drawn);
            Ok(plan)
        })
        .await
        .unwrap();
    (id, text(&values[0]), text(&values[1]))
}

async fn prove(vault: &Vault, id: &str, secret: &str) -> Result<Client, Rejected> {
    vault.client(id, secret, &[Kind::ApiClient], TokenType::Client, &Meta::default()).await
}

fn mint(vault: &Vault, client: &Client, purpose: Use) -> String {
    let wanted = For { subject: client.id, secret: client.secret, purpose, seconds: 300, scope: None };
    text(&vault.mint(&wanted).unwrap().token)
}

/// A secret of the right form that is nobody's.
fn wrong(number: u64) -> String {
    use keyledger::credentials::issued::Token;
    text(&Token::random(TokenType::Client, &crate::fixed::FixedRandom::new(7000 + number)).text())
}

#[tokio::test]
async fn two_secrets_are_one_attempt_and_one_right_one_clears_nothing() {
    let bench = VaultBench::new().await;
    let (id, secret, oauth) = api_client(&bench, &[]).await;
    let both = async |first: &str, second: &str| {
        let pair = [(TokenType::Client, first), (TokenType::OauthClient, second)];
        bench.vault.client_with(&id.to_string(), &pair, &[Kind::ApiClient], &Meta::default()).await
    };
    assert!(both(&secret, &oauth).await.is_ok());
    assert!(matches!(both(&oauth, &secret).await, Err(Rejected::Wrong)), "each is of its type");
    for number in 0..3 {
        assert!(matches!(both(&secret, &wrong(number)).await, Err(Rejected::Wrong)));
    }
    assert!(matches!(both(&secret, &oauth).await, Err(Rejected::Locked(_))), "the right half cleared no count");
    bench.clock.pass(3000);
    assert!(both(&secret, &oauth).await.is_ok());
}

#[tokio::test]
async fn a_secret_opens_its_own_client_only() {
    let bench = VaultBench::new().await;
    let (one, secret, oauth) = api_client(&bench, &[]).await;
    let (other, others, _) = api_client(&bench, &[]).await;
    assert!(matches!(prove(&bench.vault, &one.to_string(), &others).await, Err(Rejected::Wrong)));
    assert!(matches!(prove(&bench.vault, &one.to_string(), &oauth).await, Err(Rejected::Wrong)), "of another type");
    assert!(matches!(prove(&bench.vault, &one.to_string(), &bench.token).await, Err(Rejected::Wrong)), "a key");
    assert!(matches!(prove(&bench.vault, &bench.owner.id.to_string(), &bench.token).await, Err(Rejected::Wrong)), "a key is no client");
    bench.clock.pass(3000);
    assert_eq!(prove(&bench.vault, &one.uuid().to_uppercase(), &secret).await.unwrap().id, one);
    assert_eq!(prove(&bench.vault, &other.to_string(), &others).await.unwrap().id, other);
}

#[tokio::test]
async fn a_name_that_waits_waits_after_a_restart_and_however_it_is_written() {
    let bench = VaultBench::new().await;
    let (id, secret, _) = api_client(&bench, &[]).await;
    let spellings = [id.to_string(), id.uuid(), id.to_string().to_uppercase(), id.uuid().to_uppercase()];
    for (number, spelling) in (0..).zip(&spellings) {
        // A client that tries one wrong secret again and again has made one attempt.
        for _ in 0..5 {
            assert!(matches!(prove(&bench.vault, spelling, &wrong(number)).await, Err(Rejected::Wrong | Rejected::Locked(_))));
        }
    }
    let bench = bench.restart().await;
    for spelling in &spellings {
        let Err(Rejected::Locked(locked)) = prove(&bench.vault, spelling, &secret).await else { panic!("{spelling} does not wait") };
        assert!((1..=3).contains(&locked.seconds), "{locked:?}");
    }
    bench.clock.pass(3000);
    assert!(prove(&bench.vault, &id.uuid(), &secret).await.is_ok(), "four different secrets were wrong: 2 seconds, no more");
    // The count is cleared: three more wrong ones cost no wait, also after a restart.
    for number in 10..13 {
        assert!(matches!(prove(&bench.vault, &id.uuid(), &wrong(number)).await, Err(Rejected::Wrong)));
    }
    let bench = bench.restart().await;
    assert!(prove(&bench.vault, &id.uuid(), &secret).await.is_ok());
}

#[tokio::test]
async fn an_unknown_name_waits_like_a_known_one() {
    let bench = VaultBench::new().await;
    for name in ["00112233445566778899aabbccddeeff", "nobody"] {
        for number in 0..4 {
            assert!(matches!(prove(&bench.vault, name, &wrong(number)).await, Err(Rejected::Wrong)));
        }
        assert!(matches!(prove(&bench.vault, name, &wrong(9)).await, Err(Rejected::Locked(_))), "{name}");
    }
}

#[tokio::test]
async fn a_refresh_token_works_once_and_used_again_it_ends_everything() {
    let bench = VaultBench::new().await;
    let vault = &bench.vault;
    let (id, secret, _) = api_client(&bench, &[]).await;
    let client = prove(vault, &id.to_string(), &secret).await.unwrap();
    let (access, refresh) = (mint(vault, &client, Use::Access), mint(vault, &client, Use::Refresh));
    assert!(vault.authenticate(&access).is_ok());
    assert!(vault.authenticate(&refresh).is_err(), "a refresh token is no access token");
    let take = async |presented: &str, of| vault.take_refresh_token(presented, of, Meta::default()).await;
    assert!(matches!(take(&access, Some(id)).await, Err(Rejected::Wrong)), "an access token is no refresh token");
    assert!(matches!(take(&refresh, None).await, Err(Rejected::Wrong)), "without the client's proof");
    assert!(matches!(take(&refresh, Some(StreamId([1; 16]))).await, Err(Rejected::Wrong)), "another client's");
    let taken = take(&refresh, Some(id)).await.unwrap();
    let wanted = For { subject: taken.subject, secret: taken.secret, purpose: Use::Access, seconds: 300, scope: None };
    let next = text(&vault.mint_since(&wanted, taken.position).unwrap().token);
    assert!(vault.authenticate(&access).is_ok() && vault.authenticate(&next).is_ok());
    assert!(matches!(take(&refresh, Some(id)).await, Err(Rejected::Wrong)));
    assert!(vault.authenticate(&access).is_err() && vault.authenticate(&next).is_err(), "everything has ended");
    // What the first caller is given late ends as well; what is proven anew does not.
    let late = text(&vault.mint_since(&wanted, taken.position).unwrap().token);
    assert!(vault.authenticate(&late).is_err());
    let anew = mint(vault, &prove(vault, &id.to_string(), &secret).await.unwrap(), Use::Access);
    assert!(vault.authenticate(&anew).is_ok());
}

#[tokio::test]
async fn of_many_that_use_one_refresh_token_at_once_one_gets_something_and_keeps_nothing() {
    let bench = VaultBench::new().await;
    let vault = &bench.vault;
    let (id, secret, _) = api_client(&bench, &[]).await;
    let refresh = mint(vault, &prove(vault, &id.to_string(), &secret).await.unwrap(), Use::Refresh);
    let all = futures_util::future::join_all((0..20).map(|_| vault.take_refresh_token(&refresh, Some(id), Meta::default()))).await;
    let taken: Vec<_> = all.into_iter().filter_map(Result::ok).collect();
    assert_eq!(taken.len(), 1);
    let wanted = For { subject: id, secret: taken[0].secret, purpose: Use::Access, seconds: 300, scope: None };
    assert!(vault.authenticate(&text(&vault.mint_since(&wanted, taken[0].position).unwrap().token)).is_err());
}

#[tokio::test]
async fn a_refresh_token_that_is_over_ends_nothing() {
    let bench = VaultBench::new().await;
    let vault = &bench.vault;
    let (id, secret, _) = api_client(&bench, &[]).await;
    let refresh = mint(vault, &prove(vault, &id.to_string(), &secret).await.unwrap(), Use::Refresh);
    vault.take_refresh_token(&refresh, Some(id), Meta::default()).await.unwrap();
    bench.clock.pass(301_000);
    let access = mint(vault, &prove(vault, &id.to_string(), &secret).await.unwrap(), Use::Access);
    assert!(matches!(vault.take_refresh_token(&refresh, Some(id), Meta::default()).await, Err(Rejected::Wrong)));
    assert!(vault.authenticate(&access).is_ok());
}

#[tokio::test]
async fn tokens_that_are_not_ours_or_over_open_nothing() {
    let bench = VaultBench::new().await;
    let vault = &bench.vault;
    let (id, secret, _) = api_client(&bench, &[]).await;
    let access = mint(vault, &prove(vault, &id.to_string(), &secret).await.unwrap(), Use::Access);
    let parts: Vec<&str> = access.split('.').collect();
    let none = Base64UrlUnpadded::encode_string(br#"{"alg":"none","typ":"JWT"}"#);
    for bad in [format!("{none}.{}.", parts[1]), format!("{none}.{}.{}", parts[1], parts[2]), format!("{}.{}.", parts[0], parts[1])] {
        assert!(vault.authenticate(&bad).is_err());
    }
    let key = bench.keyring.purpose(TenantId::SYSTEM, Purpose::Jwt).unwrap();
    let claims: jwt::Claims = jwt::open(key.id, &key.key, &access).unwrap();
    assert!(vault.authenticate(&jwt::mint(key.id, &keyledger::seal::Key::new([9; 32]), &claims)).is_err(), "another key");
    let changed = |change: fn(&mut jwt::Claims)| {
        let mut claims = claims.clone();
        change(&mut claims);
        vault.authenticate(&jwt::mint(key.id, &key.key, &claims)).is_ok()
    };
    assert!(changed(|_| {}), "the check itself works");
    assert!(!changed(|claims| claims.iss = "00112233445566778899aabbccddeeff".into()), "another vault's");
    assert!(!changed(|claims| claims.exp = claims.iat), "over");
    assert!(!changed(|claims| claims.sub = "00112233445566778899aabbccddeeff".into()), "somebody else");
    assert!(!changed(|claims| claims.sid = "00112233445566778899aabb".into()), "another secret");
    assert!(!changed(|claims| claims.purpose = Use::Refresh));
    bench.clock.pass(299_000);
    assert!(vault.authenticate(&access).is_ok());
    bench.clock.pass(1000);
    assert!(vault.authenticate(&access).is_err(), "to the second");
    bench.clock.leap(-200_000);
    assert!(vault.authenticate(&mint(vault, &prove(vault, &id.to_string(), &secret).await.unwrap(), Use::Access)).is_ok());
}

#[tokio::test]
async fn a_token_made_while_the_clock_was_ahead_does_not_live_until_that_time_has_come() {
    let bench = VaultBench::new().await;
    let vault = &bench.vault;
    let (id, secret, _) = api_client(&bench, &[]).await;
    let day = 24 * 3_600_000;
    bench.clock.leap(30 * day);
    let client = prove(vault, &id.to_string(), &secret).await.unwrap();
    let (access, refresh) = (mint(vault, &client, Use::Access), mint(vault, &client, Use::Refresh));
    assert!(vault.authenticate(&access).is_ok());
    bench.clock.leap(-30 * day);
    assert!(vault.authenticate(&access).is_err(), "it would live for a month");
    assert!(vault.take_refresh_token(&refresh, Some(id), Meta::default()).await.is_err());
    // A clock that is put right by a little ends nothing.
    let access = mint(vault, &client, Use::Access);
    bench.clock.leap(-60_000);
    assert!(vault.authenticate(&access).is_ok());
}

#[tokio::test]
async fn an_access_token_ends_with_the_overlap_of_its_secret() {
    let bench = VaultBench::new().await;
    let (id, secret, _) = api_client(&bench, &[]).await;
    bench.execute(|given| plans::rotate(given, &bench.owner, id, 120, None).map(|(plan, _)| plan)).await.unwrap();
    let client = prove(&bench.vault, &id.to_string(), &secret).await.unwrap();
    let wanted = For { subject: id, secret: client.secret, purpose: Use::Access, seconds: 300, scope: None };
    let minted = bench.vault.mint(&wanted).unwrap();
    assert_eq!(minted.seconds, 120);
    let access = text(&minted.token);
    bench.clock.pass(119_000);
    assert!(bench.vault.authenticate(&access).is_ok() && prove(&bench.vault, &id.to_string(), &secret).await.is_ok());
    bench.clock.pass(1000);
    assert!(bench.vault.authenticate(&access).is_err());
    assert!(matches!(prove(&bench.vault, &id.to_string(), &secret).await, Err(Rejected::Wrong)));
}

/// A user with a password, as an earlier version might have let it in.
async fn user(bench: &VaultBench, login: &str, password: &str) -> StreamId {
    let hash = bench.vault.hash_password("password", &Secret::from(password)).await.unwrap();
    let profile = || Profile { login: login.into(), name: login.into(), email: None, roles: Vec::new() };
    let mut id = StreamId::default();
    let made = bench.execute(|given| {
        id = given.fresh();
        let created = Write::change(id, Version::ZERO, AnyEvent::from(user::Event::Created(profile()))).taking(user::claim(login));
        let set = Write::change(id, Version(1), AnyEvent::from(user::Event::PasswordSet { password: hash.clone() }));
        Ok(Plan::of(created).and(Plan::of(set)))
    });
    made.await.unwrap();
    id
}

#[tokio::test]
async fn a_login_that_is_anothers_id_is_nobody_elses_password() {
    let bench = VaultBench::new().await;
    let victim = user(&bench, "victim", "the victim's password").await;
    user(&bench, &victim.to_string(), "the intruder's password").await;
    let log_in = async |login: &str, password: &str| bench.vault.log_in("default", login, &Secret::from(password), 60, Meta::default()).await;
    assert!(matches!(log_in("victim", "the intruder's password").await, Err(Rejected::Wrong)));
    assert_eq!(log_in("Victim", "the victim's password").await.map(|session| session.user).unwrap_or_default(), victim);
    let profile = || Profile { login: victim.to_string(), name: "x".into(), email: None, roles: Vec::new() };
    let refused = bench.execute(|given| plans::create_user(given, &bench.owner, profile(), None)).await;
    assert!(matches!(refused, Err(VaultError::Refused(Refusal::Invalid { field, .. })) if field == "login"), "no new one is let in");
}

#[tokio::test]
async fn only_clients_are_shown_and_only_to_who_may_do_as_much() {
    let bench = VaultBench::new().await;
    let (strong, ..) = api_client(&bench, &[RoleRef::Builtin(Builtin::Owner)]).await;
    let (weak, secret, oauth) = api_client(&bench, &[RoleRef::Builtin(Builtin::Reader)]).await;
    bench
        .execute(|given| {
            plans::import(
                given,
                TENANT,
                &crate::vault_bench::key("acme", "pipedrive"),
                crate::vault_bench::tokens("t"),
                keyledger::credentials::connection::Changes::default(),
            )
        })
        .await
        .unwrap();
    let connection = bench.vault.views().connection(TENANT, &crate::vault_bench::key("acme", "pipedrive")).unwrap();
    let reads = Builtin::Reader.permissions().and(PermissionSet::of(&[Permission::ApiClientsReveal, Permission::SecretsReveal]));
    let mut caller = bench.owner.clone();
    caller.holds = vec![keyledger::vault::access::Hold { rule: "role:x".into(), permissions: reads }];
    let reveal = async |id| bench.vault.reveal_client(&caller, Meta::default(), id).await;
    let shown: Vec<String> = reveal(weak).await.unwrap().iter().map(|shown| text(&shown.value)).collect();
    assert_eq!(shown, [secret, oauth]);
    assert!(matches!(reveal(strong).await, Err(VaultError::Refused(Refusal::Forbidden { .. }))));
    let by_name = bench.vault.reveal(&caller, Meta::default(), strong, "secret", "a test").await;
    assert!(matches!(by_name, Err(VaultError::Refused(Refusal::Forbidden { .. }))), "the other way to it is closed as well");
    assert!(matches!(reveal(connection).await, Err(VaultError::Refused(Refusal::NotFound))), "a connection is no client");
    assert!(bench.vault.reveal_client(&bench.owner, Meta::default(), strong).await.is_ok());
}

#[tokio::test]
async fn twenty_seats_are_filled_whoever_comes_at_once() {
    let bench = VaultBench::new().await;
    let (by, owner) = (&bench.owner, bench.owner.user.unwrap());
    let make = |number: usize| bench.execute(move |given| plans::create_user_application(given, by, owner, format!("app-{number}")).map(|(plan, ..)| plan));
    let all = futures_util::future::join_all((0..40).map(make)).await;
    let (seated, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    assert_eq!(seated.len(), 20);
    for refused in refused {
        assert!(matches!(refused, Err(VaultError::Refused(Refusal::Limit { limit: 20, .. }))));
    }
}

//! Doors that slow down: wrong passwords and client secrets, for names that exist and names that do not, across restarts, in any spelling.

use keyledger::credentials::Meta;
use keyledger::credentials::issued::TokenType;
use keyledger::credentials::user::Profile;
use keyledger::credentials::{Kind, application};
use keyledger::kernel::*;
use keyledger::vault::{Rejected, plans};

use crate::vault_bench::VaultBench;

const PASSWORD: &str = "correct horse battery staple";

async fn with_ann() -> VaultBench {
    let bench = VaultBench::new().await;
    let hash = bench.vault.hash_password("password", &Secret::from(PASSWORD)).await.unwrap();
    let profile = Profile { login: "ann".into(), name: "Ann".into(), email: None, roles: vec![] };
    bench.execute(|given| plans::create_user(given, &bench.owner, profile.clone(), Some(hash.clone()))).await.unwrap();
    bench
}

/// What a login comes to: `in`, `wrong`, or the seconds to wait.
async fn log_in(bench: &VaultBench, login: &str, password: &str) -> String {
    match bench.vault.log_in("default", login, &Secret::from(password), 60, Meta::default()).await {
        Ok(_) => "in".into(),
        Err(Rejected::Wrong) => "wrong".into(),
        Err(Rejected::Locked(locked)) => locked.seconds.to_string(),
        Err(Rejected::Vault(error)) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_name_waits_longer_and_longer_whether_it_exists_or_not_and_the_right_password_waits_too() {
    let bench = with_ann().await;
    for login in ["ann", "nobody"] {
        for try_number in 0..4 {
            assert_eq!(log_in(&bench, login, &format!("wrong {try_number}")).await, "wrong", "{login}");
        }
        assert_eq!(log_in(&bench, login, PASSWORD).await, "2", "no secret is looked at while it waits");
        assert_eq!(log_in(&bench, &login.to_uppercase(), PASSWORD).await, "2", "another letter case is the same name");
        let mut waits = Vec::new();
        for try_number in 4..11 {
            let seconds: i64 = log_in(&bench, login, "x").await.parse().unwrap();
            waits.push(seconds);
            bench.clock.pass(seconds * 1000);
            assert_eq!(log_in(&bench, login, &format!("wrong {try_number}")).await, "wrong");
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 900]);
        assert_eq!(log_in(&bench, login, PASSWORD).await, "900");
    }
    bench.clock.pass(900_000);
    assert_eq!(log_in(&bench, "ann", PASSWORD).await, "in");
    assert_eq!(log_in(&bench, "ann", "wrong again").await, "wrong", "the count began anew");
    assert_eq!(log_in(&bench, "ann", PASSWORD).await, "in");
}

#[tokio::test]
async fn the_count_outlives_a_restart_and_the_same_wrong_secret_counts_once() {
    let mut bench = with_ann().await;
    for login in ["ann", "nobody"] {
        for _ in 0..9 {
            assert_eq!(log_in(&bench, login, "one and the same").await, "wrong", "a client that tries again is no attacker");
        }
        for wrong in ["b", "c", "d"] {
            assert_eq!(log_in(&bench, login, wrong).await, "wrong");
        }
        assert_eq!(log_in(&bench, login, PASSWORD).await, "2");
    }
    bench = bench.restart().await;
    for login in ["ann", "nobody"] {
        assert_eq!(log_in(&bench, login, PASSWORD).await, "2", "{login}");
    }
    bench.clock.pass(2_000);
    assert_eq!(log_in(&bench, "ann", PASSWORD).await, "in");
    bench = bench.restart().await;
    for wrong in ["e", "f", "g"] {
        assert_eq!(log_in(&bench, "ann", wrong).await, "wrong", "what was cleared stays cleared");
    }
}

#[tokio::test]
async fn many_at_once_do_not_pass_for_one() {
    let bench = with_ann().await;
    let guesses: Vec<String> = (0..40).map(|number| format!("guess {number}")).collect();
    let tries = guesses.iter().map(|guess| log_in(&bench, "ann", guess));
    let outcomes = futures_util::future::join_all(tries).await;
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "wrong").count(), 4, "{outcomes:?}");
}

#[tokio::test]
async fn what_others_failed_at_is_told_together_and_nobody_waits_for_each_of_them() {
    let bench = VaultBench::new().await;
    bench.clock.pass(10);
    let all = (0..40_u8).map(|number| {
        let vault = &bench.vault;
        let id = StreamId([number; 16]).to_string();
        async move { vault.client(&id, "wrong", &[Kind::Application], TokenType::Application, &Meta::default()).await }
    });
    let outcomes = futures_util::future::join_all(all).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(Rejected::Wrong))));
    // One event for each would take 40 times the pace.
    let attempts = bench.vault.views().attempts_stream(TenantId::SYSTEM).unwrap();
    assert!(bench.vault.views().thing(attempts).unwrap().version.0 <= 4);
    for number in 0..40_u8 {
        let tried = bench.vault.tried("client", &StreamId([number; 16]).to_string());
        assert!(bench.vault.views().failures(TenantId::SYSTEM, tried).is_some(), "each was durable before it was told");
    }
}

#[tokio::test]
async fn denials_that_could_not_be_written_are_told_the_next_time() {
    let bench = VaultBench::new().await;
    let nobody = keyledger::vault::access::Principal { holds: Vec::new(), ..bench.owner.clone() };
    let denied = || bench.vault.note_denied(&nobody, &Refusal::Forbidden { permission: Permission::UsersWrite.name() });
    denied();
    bench.clock.leap(3 * 3_600_000);
    bench.vault.write_denials().await;
    assert!(bench.vault.views().attempts_stream(bench.owner.tenant).is_none(), "nothing is written while the clock has leapt");
    denied();
    bench.vault.confirm_clock().await;
    bench.vault.write_denials().await;
    let kinds = vec!["attempts".into()];
    let filter = keyledger::vault::Filter { kinds, to: bench.vault.views().position(), ..keyledger::vault::Filter::default() };
    let found = bench.vault.events(&bench.owner, &filter, 1).await.unwrap();
    assert_eq!(found.events[0].facts["denied"]["denials"][0]["count"], 2);
}

#[tokio::test]
async fn an_unknown_tenant_is_like_an_unknown_login_and_the_events_name_no_name() {
    let bench = with_ann().await;
    for number in 0..4 {
        let wrong = bench.vault.log_in("nowhere", "ann", &Secret::from(format!("wrong {number}").as_str()), 60, Meta::default()).await;
        assert!(matches!(wrong, Err(Rejected::Wrong)));
    }
    let waits = bench.vault.log_in("nowhere", "ann", &Secret::from(PASSWORD), 60, Meta::default()).await;
    assert!(matches!(waits, Err(Rejected::Locked(_))));
    assert_eq!(log_in(&bench, "ann", PASSWORD).await, "in", "another tenant's ann is not slowed down");
    assert_eq!(log_in(&bench, "a password by mistake", "x").await, "wrong");
    let filter = keyledger::vault::Filter { kinds: vec!["attempts".into()], to: bench.vault.views().position(), ..keyledger::vault::Filter::default() };
    let found = bench.vault.events(&bench.owner, &filter, 100).await.unwrap();
    assert!(!found.events.is_empty());
    assert!(found.events.iter().all(|event| !event.facts.to_string().contains("mistake")), "a password typed into the wrong field stands nowhere");
}

#[tokio::test]
async fn a_clients_secret_slows_its_id_down_however_the_id_is_spelt() {
    let bench = VaultBench::new().await;
    let profile = application::Profile { name: "a".into(), roles: vec![], permissions: vec![], app_ids: vec![] };
    let mut made = None;
    let create = |given: &keyledger::vault::Given<'_>| {
        let (plan, id, values) = plans::create_application(given, &bench.owner, profile.clone())?;
        made = Some((id, String::from_utf8(values[0].expose().to_vec()).unwrap()));
        Ok(plan)
    };
    bench.execute(create).await.unwrap();
    let (id, secret) = made.unwrap();
    let present = async |id: &str, secret: &str| match bench.vault.client(id, secret, &[Kind::Application], TokenType::Application, &Meta::default()).await {
        Ok(_) => "in",
        Err(Rejected::Wrong) => "wrong",
        Err(Rejected::Locked(_)) => "waits",
        Err(Rejected::Vault(error)) => panic!("{error}"),
    };
    assert_eq!(present(&id.to_string(), &secret).await, "in");
    for known in [id, StreamId([7; 16])] {
        let spellings = [known.to_string(), known.uuid(), known.to_string().to_uppercase(), known.uuid().to_uppercase()];
        for (number, spelling) in spellings.iter().enumerate() {
            assert_eq!(present(spelling, &format!("klapp_wrong_{number}")).await, "wrong");
        }
        for spelling in &spellings {
            assert_eq!(present(spelling, &secret).await, "waits");
        }
    }
    bench.clock.pass(2_000);
    assert_eq!(present(&id.uuid(), &secret).await, "in");
    let of_a_key = bench.vault.client(&bench.owner.id.to_string(), &bench.token, &[Kind::Application], TokenType::Application, &Meta::default()).await;
    assert!(matches!(of_a_key, Err(Rejected::Wrong)), "an API key is no client secret");
}

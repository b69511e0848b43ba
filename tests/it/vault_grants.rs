//! What a caller may give away, names that are taken, and a thing that many change at once: rules over several things, on real files.

use keyledger::credentials::api_key::{Changes, Grant};
use keyledger::credentials::{Meta, application, user};
use keyledger::kernel::*;
use keyledger::vault::access::Principal;
use keyledger::vault::{Command, Given, VaultError, plans};

use crate::vault_bench::VaultBench;

pub fn grant(name: &str, app_ids: &[&str], dns_name: Option<&str>) -> Grant {
    Grant {
        name: name.into(),
        owner: None,
        permissions: vec!["connections:read".into()],
        emails: Vec::new(),
        organizations: Vec::new(),
        labels: Vec::new(),
        dns_name: dns_name.map(str::to_owned),
        app_ids: app_ids.iter().map(ToString::to_string).collect(),
        expires_at: None,
    }
}

/// Makes a key as somebody.
async fn make(bench: &VaultBench, by: &Principal, grant: Grant) -> Result<StreamId, VaultError> {
    let mut made = StreamId::default();
    let done = bench.execute(|given| {
        let (plan, id, _) = plans::create_api_key(given, by, grant.clone())?;
        made = id;
        Ok(plan)
    });
    done.await.map(|_| made)
}

fn refused<T>(outcome: Result<T, VaultError>) -> Refusal {
    match outcome {
        Err(VaultError::Refused(refusal)) => refusal,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was not refused"),
    }
}

#[tokio::test]
async fn a_caller_that_is_bound_to_applications_gives_no_access_to_others() {
    let bench = VaultBench::new().await;
    let bound = Principal { app_ids: vec!["a".into(), "b".into()], ..bench.owner.clone() };
    let own = make(&bench, &bound, grant("own", &["a"], None)).await.unwrap();
    let free = make(&bench, &bench.owner, grant("free", &[], None)).await.unwrap();
    let forbidden = |refusal: Refusal| assert!(matches!(refusal, Refusal::Forbidden { .. }), "{refusal}");
    for wider in [&[][..], &["a", "c"]] {
        forbidden(refused(make(&bench, &bound, grant("wider", wider, None)).await));
        let app_ids = Some(wider.iter().map(ToString::to_string).collect());
        let change = |given: &Given<'_>| plans::update_api_key(given, &bound, own, Changes { app_ids: app_ids.clone(), ..Changes::default() }, None);
        forbidden(refused(bench.execute(change).await));
    }
    // What acts in more applications stays as it is, its secret above all.
    forbidden(refused(bench.execute(|given| Ok(plans::rotate(given, &bound, free, 0, None)?.0)).await));
    forbidden(refused(bench.execute(|given| plans::update_api_key(given, &bound, free, Changes::default(), None)).await));
    // Users, API clients and their secrets act in all applications.
    let (owner, hash) = (bench.owner.user.unwrap(), bench.vault.hash_password("password", &Secret::from("correct horse battery")).await.unwrap());
    let profile = user::Profile { login: "eve".into(), name: "Eve".into(), email: None, roles: Vec::new() };
    forbidden(refused(bench.execute(|given| plans::create_user(given, &bound, profile.clone(), None)).await));
    forbidden(refused(bench.execute(|given| plans::set_password(given, &bound, owner, &hash)).await));
    forbidden(refused(bench.execute(|given| Ok(plans::create_api_client(given, &bound, "client".into(), Vec::new())?.0)).await));
    let profile = application::Profile { name: "app".into(), roles: Vec::new(), permissions: Vec::new(), app_ids: Vec::new() };
    forbidden(refused(bench.execute(|given| Ok(plans::create_application(given, &bound, profile.clone())?.0)).await));
    bench.execute(|given| Ok(plans::rotate(given, &bound, own, 0, None)?.0)).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_is_bound_to_applications_reaches_others_by_no_detour() {
    let bench = VaultBench::new().await;
    let bound = Principal { app_ids: vec!["a".into()], ..bench.owner.clone() };
    let forbidden = |refusal: Refusal| assert!(matches!(refusal, Refusal::Forbidden { .. }), "{refusal}");
    let user = bench.owner.user.unwrap();
    forbidden(refused(bench.execute(|given| Ok(plans::create_user_application(given, &bound, user, "app".into())?.0)).await));
    let (mut client, mut role) = (StreamId::default(), StreamId::default());
    let made = bench.execute(|given| {
        let (plan, id, _) = plans::create_api_client(given, &bench.owner, "client".into(), Vec::new())?;
        client = id;
        Ok(plan)
    });
    made.await.unwrap();
    // The client acts in all applications: whoever sees its secret does as well.
    forbidden(refused(bench.vault.reveal_client(&bound, Meta::default(), client).await));
    forbidden(refused(bench.vault.reveal(&bound, Meta::default(), client, "secret", "support").await));
    assert!(bench.vault.reveal_client(&bench.owner, Meta::default(), client).await.is_ok());
    let made = bench.execute(|given| {
        let plan = plans::create_role(given, &bound, "on call".into(), Vec::new())?;
        role = plan.writes[0].stream;
        Ok(plan)
    });
    made.await.unwrap();
    // So does whoever holds the role.
    let more = Some(vec!["connections:write".to_owned()]);
    forbidden(refused(bench.execute(|given| plans::update_role(given, &bound, role, None, more.clone(), None)).await));
    bench.execute(|given| plans::update_role(given, &bound, role, Some("night".into()), None, None)).await.unwrap();
}

#[tokio::test]
async fn a_name_whose_holder_is_known_is_refused_without_another_try() {
    let bench = VaultBench::new().await;
    let first = make(&bench, &bench.owner, grant("first", &[], Some("rec-1"))).await.unwrap();
    let mut tries = 0;
    let again = bench.execute(|given| {
        tries += 1;
        Ok(plans::create_api_key(given, &bench.owner, grant("second", &[], Some("REC-1")))?.0)
    });
    assert_eq!((refused(again.await), tries), (Refusal::NameTaken { by: first }, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_change_one_thing_at_once_each_of_them_has_its_turn() {
    let bench = VaultBench::new().await;
    let key = make(&bench, &bench.owner, grant("busy", &[], None)).await.unwrap();
    let rename = async |number: usize| {
        let changes = Changes { name: Some(format!("busy {number}")), ..Changes::default() };
        bench.execute(|given| plans::update_api_key(given, &bench.owner, key, changes.clone(), None)).await.map(|done| done.events.is_some())
    };
    let all = futures_util::future::join_all((0..100).map(rename)).await;
    assert!(all.iter().all(|done| matches!(done, Ok(true))));
    assert_eq!(bench.vault.views().thing(key).unwrap().content_version, Version(101));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deletion_that_was_cut_short_left_of_a_user_is_taken_away_at_the_next_look() {
    let bench = VaultBench::new().await;
    let profile = user::Profile { login: "eve".into(), name: "Eve".into(), email: None, roles: Vec::new() };
    let mut eve = StreamId::default();
    let made = bench.execute(|given| {
        let plan = plans::create_user(given, &bench.owner, profile.clone(), None)?;
        eve = plan.writes[0].stream;
        Ok(plan)
    });
    made.await.unwrap();
    // The key is made after the deletion was decided, and before it is written.
    let mut key = StreamId::default();
    let deleted = bench.execute(|given| {
        let plan = plans::delete_user(given, &bench.owner, eve, None)?;
        let of_eve = Grant { owner: Some(eve), ..grant("late", &[], Some("late")) };
        let late = make(&bench, &bench.owner, of_eve);
        key = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(late)).unwrap();
        Ok(plan)
    });
    deleted.await.unwrap();
    assert!(bench.vault.views().thing(key).unwrap().state.bearer().is_some(), "it outlived its user");
    bench.vault.remove_leftovers().await.unwrap();
    assert!(bench.vault.views().thing(key).unwrap().state.bearer().is_none());
    make(&bench, &bench.owner, grant("another", &[], Some("late"))).await.expect("its name is free");
    let position = bench.vault.views().position();
    bench.vault.remove_leftovers().await.unwrap();
    assert_eq!(bench.vault.views().position(), position, "there is nothing left");
}

#[tokio::test]
async fn a_user_with_more_than_fits_into_one_block_goes_with_all_of_it() {
    let bench = VaultBench::new().await;
    let profile = user::Profile { login: "eve".into(), name: "Eve".into(), email: None, roles: Vec::new() };
    let mut eve = StreamId::default();
    let made = bench.execute(|given| {
        let plan = plans::create_user(given, &bench.owner, profile.clone(), None)?;
        eve = plan.writes[0].stream;
        Ok(plan)
    });
    made.await.unwrap();
    let mut keys = Vec::new();
    for number in 0..1010 {
        let of_eve = Grant { owner: Some(eve), ..grant("key", &[], Some(&format!("dns-{number}"))) };
        keys.push(make(&bench, &bench.owner, of_eve).await.unwrap());
    }
    // As long as a client may say who it is.
    let meta = Meta { agent: Some("x".repeat(256)), ip: Some("2001:db8::ffff:ffff:ffff".into()), ..Meta::default() };
    bench.vault.delete_user(&Command { principal: &bench.owner, meta, idempotency: None }, eve, None).await.unwrap();
    let views = bench.vault.views();
    assert!(keys.into_iter().all(|key| views.thing(key).unwrap().state.bearer().is_none()));
}

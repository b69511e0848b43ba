//! Shredding secrets, things and consumers: what dies is gone from everywhere, and everything else is as it was.

use keyledger::credentials::Meta;
use keyledger::credentials::connection::Changes;
use keyledger::credentials::recovery::Selection;
use keyledger::kernel::*;
use keyledger::keyring::Purpose;
use keyledger::server::Until;
use keyledger::vault::access::Principal;
use keyledger::vault::compensation::Problem;
use keyledger::vault::{Command, Confirmed, Filter, Target, VaultError, plans};

use crate::shred_bench::{ShredBench, all_destroyed, is_shredded};
use crate::vault_bench::{key, tokens};

fn is_gone<T>(result: &Result<T, VaultError>) -> bool {
    matches!(result, Err(VaultError::Refused(Refusal::Shredded)))
}

#[tokio::test]
async fn a_shredded_thing_is_gone_from_everywhere_and_the_log_still_verifies() {
    let mut bench = ShredBench::new().await;
    let (gone, kept) = (bench.import("gone").await, bench.import("kept").await);
    bench.write_snapshot().await;
    let before = bench.vault().views();
    let sealed = bench.sealed(gone).await;
    assert_eq!(
        (sealed.keys.len(), bench.files_with(&sealed.bytes[..3])),
        (3, vec!["keyring-copy.db".to_owned(), "keyring.db".to_owned()]),
        "the scan finds them"
    );
    let owner = bench.owner();
    let preview = bench.vault().preview_shred(&owner, &Target::Thing(gone)).await.unwrap();
    let thing = &preview.things[0];
    assert_eq!((preview.things.len(), thing.id, thing.kind, thing.live, thing.secrets), (1, gone, "connection", true, 2));
    assert!(*bench.vault().views() == *before, "a preview does nothing");
    let confirmed = Confirmed::Preview(preview.id.clone());
    bench.vault().apply_shred(&owner, Meta::default(), &Target::Thing(gone), "a test", &confirmed).await.unwrap();
    // In the files: neither as it was wrapped, nor in clear, and no snapshot of what it said.
    assert!(bench.files_with(&sealed.bytes).is_empty() && !bench.path("data/views.snapshot").exists());
    assert!(all_destroyed(&**bench.vault().keyring(), owner.tenant, &sealed.keys));
    // In the live vault, in the past, in its history.
    let views = bench.vault().views();
    assert!(is_shredded(&views, gone) && views.connection(owner.tenant, &key("gone", "pipedrive")).is_none());
    assert!(views.credentials(owner.tenant, Position::ZERO).all(|(id, _)| id != gone), "nothing lists it");
    assert!(is_shredded(&bench.vault().views_at(before.position()).await.unwrap().unwrap(), gone), "the past is not seen either");
    assert!(is_gone(&bench.reveal(gone).await));
    let filter = Filter { streams: vec![gone], to: Position(u64::MAX), ..Filter::default() };
    let told = bench.vault().events(&owner, &filter, 100).await.unwrap().events;
    assert_eq!(told.len() as u64, thing.events + 1, "its delete is an event as well");
    assert!(told.iter().all(|event| event.shredded && event.facts.is_null() && event.gone.iter().all(|gone| *gone)), "only the headers are left");
    assert!(bench.vault().thing_at(gone, told[0].record.header().position, None).await.unwrap().is_none());
    assert!(bench.vault().lineage(&owner, gone, views.position()).await.unwrap().is_empty());
    assert!(is_gone(&bench.vault().preview_shred(&owner, &Target::Thing(gone)).await), "once is enough");
    // Everything else works, and the name may be taken again.
    assert_eq!(bench.reveal(kept).await.unwrap(), b"token of kept");
    let anew = bench.import("gone").await;
    assert_ne!(anew, gone);
    let root = bench.vault().state_at(Position(u64::MAX)).await.unwrap().unwrap().merkle_root;
    let position = bench.vault().views().position();
    assert_eq!(bench.replay("data", position).await.1.root(), root, "the log verifies");
    bench.is_what_its_log_says().await;
}

#[tokio::test]
async fn a_restore_to_before_a_shred_brings_nothing_back_and_says_what_it_skips() {
    let mut bench = ShredBench::new().await;
    let (gone, kept) = (bench.import("gone").await, bench.import("kept").await);
    let before = bench.vault().views();
    let sealed = bench.sealed(gone).await;
    bench.shred_thing(gone).await;
    let key = bench.vault().keyring().purpose(TenantId::SYSTEM, Purpose::State).unwrap().key;
    let mut states = before.states(&key).unwrap();
    let then = states.hash();
    assert_eq!(then, before.state_hash(&key).unwrap());
    states.forget(&[before.thing(gone).unwrap().facts_key].into());
    let skipped = states.hash();
    assert_eq!((then.shredded, skipped.shredded), (0, 1));
    let into = bench.path("restored");
    let restored = bench.home("data").restore(Until::Position(before.position()), &into, &|_, _, _| ()).await.unwrap();
    assert_eq!(restored.state, skipped, "the recorded state, without what was shredded since");
    assert_ne!(restored.state.hash, then.hash);
    let at = bench.vault().state_at(before.position()).await.unwrap().unwrap();
    assert_eq!((at.state, at.merkle_root), (skipped, restored.merkle_root), "the same is seen of that moment in the vault itself");
    let (new, lock) = bench.home("restored").start().await.unwrap();
    assert!(is_shredded(&new.views(), gone) && !is_shredded(&new.views(), kept));
    assert!(all_destroyed(&**new.keyring(), bench.owner().tenant, &sealed.keys));
    // It lives on, over another start.
    drop((new, lock));
    let (new, _lock) = bench.home("restored").start().await.unwrap();
    assert!(is_shredded(&new.views(), gone));
    assert!(new.reveal(&bench.owner(), Meta::default(), kept, "access_token", "a test").await.is_ok());
}

#[tokio::test]
async fn a_consumer_dies_with_all_of_its_connections_deleted_ones_too() {
    let mut bench = ShredBench::new().await;
    let (earlier, other) = (bench.import("acme").await, bench.import("acme-2").await);
    bench.delete("acme").await;
    let now = bench.import("acme").await;
    let (owner, target) = (bench.owner(), Target::Consumer { app: "app".into(), consumer: "acme".into() });
    let tenant = owner.tenant;
    let consumer = bench.vault().views().consumer(tenant, "app", "acme").unwrap();
    let mut sealed = Vec::new();
    for stream in [earlier, now, consumer] {
        sealed.extend(bench.sealed(stream).await.bytes);
    }
    let preview = bench.vault().preview_shred(&owner, &target).await.unwrap();
    let mut named: Vec<(StreamId, bool)> = preview.things.iter().map(|thing| (thing.id, thing.live)).collect();
    named.sort_unstable();
    let mut expected = vec![(earlier, false), (now, true), (consumer, true)];
    expected.sort_unstable();
    assert_eq!((named, preview.confirm.as_str()), (expected, "acme"));
    bench.shred(&target, "acme").await.unwrap();
    let views = bench.vault().views();
    assert!([earlier, now, consumer].iter().all(|id| is_shredded(&views, *id)) && !is_shredded(&views, other));
    assert!(bench.files_with(&sealed).is_empty());
    assert!(views.consumer(tenant, "app", "acme").is_none());
    assert!(matches!(bench.shred(&target, "acme").await, Err(VaultError::Refused(Refusal::NotFound))));
    bench.import("acme").await;
    bench.is_what_its_log_says().await;
}

#[tokio::test]
async fn one_version_of_a_secret_dies_alone() {
    let mut bench = ShredBench::new().await;
    let id = bench.import("acme").await;
    let owner = bench.owner();
    let views = bench.vault().views();
    let first = views.thing(id).unwrap().state.secrets().into_iter().find(|secret| secret.name == "access_token").unwrap().version;
    let name = key("acme", "pipedrive");
    bench.execute(|given| plans::import(given, owner.tenant, &name, tokens("the second token"), Changes::default())).await;
    let of = |version| Target::Secret { credential: id, name: "access_token".into(), version };
    assert!(matches!(bench.shred(&of(Some(Version(99))), "access_token").await, Err(VaultError::Refused(Refusal::NotFound))));
    bench.shred(&of(Some(first)), "access_token").await.unwrap();
    assert!(is_gone(&bench.shred(&of(Some(first)), "access_token").await), "once is enough");
    assert_eq!(bench.reveal(id).await.unwrap(), b"the second token");
    bench.shred(&of(None), "access_token").await.unwrap();
    assert!(is_gone(&bench.reveal(id).await));
    assert!(!is_shredded(&bench.vault().views(), id), "what holds it lives on");
    bench.is_what_its_log_says().await;
}

#[tokio::test]
async fn nothing_is_shredded_that_was_not_confirmed_as_it_stands() {
    let bench = ShredBench::new().await;
    let id = bench.import("acme").await;
    let (owner, target) = (bench.owner(), Target::Thing(id));
    let shred = async |confirmed, reason: &'static str| bench.vault().apply_shred(&owner, Meta::default(), &target, reason, &confirmed).await;
    let preview = bench.vault().preview_shred(&owner, &target).await.unwrap();
    let right = || Confirmed::Preview(preview.id.clone());
    assert!(matches!(shred(Confirmed::Word("acme".into()), "a test").await, Err(VaultError::Refused(Refusal::Invalid { .. }))));
    assert!(matches!(shred(right(), " ").await, Err(VaultError::Refused(Refusal::Invalid { .. }))), "a reason is needed");
    let name = key("acme", "pipedrive");
    bench.execute(|given| plans::import(given, owner.tenant, &name, tokens("another"), Changes::default())).await;
    assert!(matches!(shred(right(), "a test").await, Err(VaultError::Refused(Refusal::InvalidState(_)))), "it has changed since it was shown");
    assert!(!is_shredded(&bench.vault().views(), id));
    let stranger = keyledger::vault::access::Principal { holds: Vec::new(), ..owner.clone() };
    assert!(matches!(bench.vault().preview_shred(&stranger, &target).await, Err(VaultError::Refused(Refusal::Forbidden { .. }))));
    let elsewhere = keyledger::vault::access::Principal { tenant: TenantId([9; 16]), ..owner.clone() };
    assert!(matches!(bench.vault().preview_shred(&elsewhere, &target).await, Err(VaultError::Refused(Refusal::NotFound))));
    let narrow = keyledger::vault::access::Principal { app_ids: vec!["other".into()], ..owner.clone() };
    assert!(matches!(bench.vault().preview_shred(&narrow, &target).await, Err(VaultError::Refused(Refusal::NotFound))));
    // What the vault itself rests on.
    let vault = bench.vault().views().vault().unwrap();
    assert!(matches!(bench.vault().preview_shred(&owner, &Target::Thing(vault)).await, Err(VaultError::Refused(Refusal::NotFound))));
}

#[tokio::test]
async fn kept_roots_of_the_past_are_dropped_with_a_shred() {
    let bench = ShredBench::new().await;
    let id = bench.import("acme").await;
    let at = bench.vault().views().position();
    // Far enough that looks back keep a root on the way.
    for number in 0..10_300 / 3 {
        bench.import(&format!("c{number}")).await;
    }
    let deep = bench.vault().views().position();
    assert!(deep.0 > 10_000);
    bench.import("last").await;
    assert!(!is_shredded(&bench.vault().views_at(Position(deep.0 - 1)).await.unwrap().unwrap(), id));
    bench.shred_thing(id).await;
    for position in [at, Position(10_100), Position(deep.0 - 1)] {
        assert!(is_shredded(&bench.vault().views_at(position).await.unwrap().unwrap(), id), "as of {position}");
    }
}

/// The history that goes on from a restore has lost the delete that gave the name back.
#[tokio::test]
async fn the_name_of_what_was_shredded_is_free_in_a_restore_as_well() {
    let mut bench = ShredBench::new().await;
    let stream = bench.import("one").await;
    let then = bench.vault().views().position();
    bench.delete("one").await;
    bench.shred_thing(stream).await;
    let into = bench.path("restored");
    bench.home("data").restore(Until::Position(then), &into, &|_, _, _| ()).await.unwrap();
    let (vault, _lock) = bench.home("restored").start().await.unwrap();
    assert!(is_shredded(&vault.views(), stream));
    let owner = vault.authenticate(&bench.token).unwrap();
    let command = Command { principal: &owner, meta: Meta::default(), idempotency: None };
    let again = key("one", "pipedrive");
    vault.execute(&command, |given| plans::import(given, owner.tenant, &again, tokens("anew"), Changes::default())).await.unwrap();
    assert_ne!(vault.views().connection(owner.tenant, &again).unwrap(), stream);
}

#[tokio::test]
async fn undo_recovery_diff_and_history_tell_of_what_was_shredded_and_do_nothing_to_it() {
    let bench = ShredBench::new().await;
    let stream = bench.import("one").await;
    let then = bench.vault().views().position();
    bench.delete("one").await;
    let deleted = bench.vault().views().thing(stream).unwrap().last;
    bench.shred_thing(stream).await;
    let (vault, owner) = (bench.vault(), bench.owner());
    let stuck = [(stream, "nothing", &Some(Problem::Shredded))];
    let undo = vault.plan_undo(&owner, deleted, true, true).await.unwrap();
    assert_eq!(undo.steps.iter().map(|step| (step.stream, step.does(), &step.problem)).collect::<Vec<_>>(), stuck);
    let command = Command { principal: &owner, meta: Meta::default(), idempotency: None };
    assert_eq!(vault.apply(&command, &undo).await.unwrap().events, None);
    let selection = Selection { tenant: Some(owner.tenant), kind: Some("connection".into()), ..Selection::default() };
    let recovery = vault.plan_recovery(&owner, then, &selection, true).await.unwrap().unwrap();
    assert_eq!(recovery.steps.iter().map(|step| (step.stream, step.does(), &step.problem)).collect::<Vec<_>>(), stuck);
    let now = vault.views().position();
    let differ = vault.diff(&owner, (then, now), &selection, (None, 10)).await.unwrap().unwrap();
    assert_eq!(differ.things.iter().map(|thing| (thing.stream, thing.how, thing.last.shredded)).collect::<Vec<_>>(), [(stream, "shredded", true)]);
    let story = vault.story(&owner, stream, now, 10).await.unwrap();
    assert!(story.events.iter().all(|told| told.shown.shredded && told.changes.is_empty() && told.shown.facts.is_null()));
    assert_eq!(story.events.iter().map(|told| told.shown.record.header().event_type.as_str()).collect::<Vec<_>>(), ["deleted", "imported", "created"]);
    // Which application's it was is not known any more: whoever may name only some is told nothing.
    let some = Principal { app_ids: vec!["another".into()], ..owner.clone() };
    assert_eq!(vault.diff(&some, (then, now), &selection, (None, 10)).await.unwrap().unwrap().things.len(), 0);
}

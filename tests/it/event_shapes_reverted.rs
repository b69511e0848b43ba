//! Examples of the compensating event and of recoveries: each kind's richest state that its other examples lead to, as the state to return to.

use std::collections::BTreeMap;

use keyledger::credentials::recovery::{Asker, Event, Selection, Undone};
use keyledger::credentials::reverted::{Spared, only_goes_forward};
use keyledger::credentials::{AnyEvent, AnyState, Reverted};
use keyledger::kernel::*;

use crate::event_shapes::at;
use crate::log_bench::{change, key, submission};

fn header(position: u64) -> Header {
    let header = submission(&[change(1, 0)], None).drafts.remove(0).header;
    let names = ["access_token", "refresh_token", "secret", "oauth_client_secret", "api_key", "settings.client_secret"];
    let secret = |(name, slot): (&str, u32)| SealedSecret { name: name.into(), key: key(1, slot), fingerprint: Fingerprint([9; 16]) };
    let secrets = names.into_iter().zip(0..).map(secret).collect();
    Header { position: Position(position), version: Version(position), content_version: Version(position), recorded_at: at(0), secrets, ..header }
}

/// Each kind's state after all of its examples that leave it there.
pub fn richest(examples: Vec<AnyEvent>) -> BTreeMap<&'static str, AnyState> {
    let mut states: BTreeMap<&'static str, AnyState> = BTreeMap::new();
    let mut positions: BTreeMap<&'static str, u64> = BTreeMap::new();
    for event in examples {
        let kind = event.kind();
        // Counted by kind: what is added to another kind moves nothing here.
        let position = positions.entry(kind).and_modify(|position| *position += 1).or_insert(1);
        let before = states.get(kind).cloned().unwrap_or_default();
        let after = before.clone().evolve(&header(*position), event);
        states.insert(kind, if after.is_live() { after } else { before });
    }
    states
}

pub fn examples(others: Vec<AnyEvent>) -> Vec<AnyEvent> {
    let spared = || vec![Spared { due: at(60), position: Position(7), name: "access_token".into() }];
    let put_back = |to: AnyState| {
        let tokens = matches!(to, AnyState::Connection(_));
        AnyEvent::Reverted(Box::new(Reverted { spared: if tokens { spared() } else { vec![] }, tokens, to }))
    };
    let states = richest(others).into_values().filter(|state| !only_goes_forward(state));
    let consumer = Some(("app".to_owned(), "acme".to_owned()));
    let selection = Selection { tenant: Some(TenantId([1; 16])), kind: Some("connection".into()), consumer, thing: Some(StreamId([4; 16])) };
    let started =
        |undone, asker| Event::Started { to: Position(90), selection: selection.clone(), things: 12, revive: true, plan: "ab".repeat(32), undone, asker };
    let asker = Asker { user: Some(StreamId([5; 16])), held: PermissionSet::of(&[Permission::UndoApply, Permission::RolesWrite]), is_home: true };
    let started = [started(None, Asker::default()), started(Some(Undone { position: Position(90), alone: true }), asker)].map(AnyEvent::from);
    let finished = Event::Finished { reverted: 11, left: vec![StreamId([4; 16])] };
    states.map(put_back).chain(started).chain([finished.into()]).collect()
}

#[test]
fn every_kind_that_can_be_put_back_has_an_example() {
    let kinds: Vec<String> = examples(crate::event_shapes::examples()).iter().map(|event| event.kind().to_owned()).collect();
    let all = [
        "api_client",
        "api_key",
        "application",
        "connection",
        "connector",
        "consumer",
        "integration",
        "organization",
        "provider_key",
        "role",
        "tenant",
        "user",
        "user_application",
        "webhook",
        "recovery",
        "recovery",
        "recovery",
    ];
    assert_eq!(kinds, all);
}

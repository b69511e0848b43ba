//! One thing around one of its events: the same as the whole views say before and after it.

use keyledger::credentials::connection::Changes;
use keyledger::credentials::{AnyEvent, AnyState};
use keyledger::kernel::*;
use keyledger::vault::{Around, plans};
use serde_json::json;

use crate::vault_bench::{TENANT, VaultBench, key, settings, tokens};

#[tokio::test]
async fn a_thing_around_each_of_its_events_is_what_the_views_say() {
    let bench = VaultBench::new().await;
    let key = key("acme", "pipedrive");
    let made = bench.execute(|given| plans::import(given, TENANT, &key, tokens("x"), Changes::default())).await.unwrap();
    let stream = made.views.connection(TENANT, &key).unwrap();
    for number in 0..300 {
        if number % 3 == 0 {
            bench.execute(|given| plans::create_organization(given, format!("Org {number}"))).await.unwrap();
        }
        bench.execute(|given| plans::update(given, TENANT, &key, settings(&[("a setting", json!(number))]))).await.unwrap();
    }
    bench.execute(|given| plans::delete_connection(given, TENANT, &key)).await.unwrap();
    let state = async |position: Position| {
        let views = bench.vault.views_at(position).await.unwrap().unwrap();
        views.thing(stream).map_or(AnyState::Absent, |entry| entry.state.clone())
    };
    let last = bench.vault.views().thing(stream).unwrap().last;
    let (mut near, mut seen): (Option<Around>, usize) = (None, 0);
    for position in (1..=last.0).map(Position).filter(|position| position.0 % 37 == 0 || position.0 + 3 > last.0) {
        let around = bench.vault.thing_at(stream, position, None).await.unwrap();
        let again = bench.vault.thing_at(stream, position, near.as_ref()).await.unwrap();
        let (Some(around), Some(again)) = (around, again) else { continue };
        assert_eq!((&around.before, &around.after), (&again.before, &again.after), "wherever the fold begins");
        assert_eq!((around.before, &around.after), (state(Position(position.0 - 1)).await, &state(position).await), "at {position}");
        assert!(matches!(around.event, AnyEvent::Connection(_)) && around.header.position == position);
        (near, seen) = (Some(again), seen + 1);
    }
    assert!(seen > 5, "{seen}");
    // What is known of a later event, or of another thing, is of no use for an earlier one.
    let first = bench.vault.views().thing(stream).unwrap().first;
    let around = bench.vault.thing_at(stream, first, near.as_ref()).await.unwrap().unwrap();
    assert!(around.before == AnyState::Absent && around.after != AnyState::Absent);
    let other = bench.vault.views().listed(TENANT, keyledger::credentials::Kind::Organization, Position::ZERO).next().unwrap().0;
    let of_other = bench.vault.views().thing(other).unwrap().first;
    assert_eq!(bench.vault.thing_at(other, of_other, near.as_ref()).await.unwrap().unwrap().before, AnyState::Absent);
    for nowhere in [Position::ZERO, of_other, last.next()] {
        assert!(bench.vault.thing_at(stream, nowhere, None).await.unwrap().is_none(), "{nowhere}");
    }
}

//! The fold of the views, event by event: what is indexed, what stays indexed, and when a superseded token is due to die.

use std::sync::Arc;

use keyledger::credentials::connection::{self, Phase, Written};
use keyledger::credentials::vault::SecretAt;
use keyledger::credentials::{AnyEvent, Meta, consumer, vault};
use keyledger::kernel::*;
use keyledger::seal::Record;
use keyledger::views::{FoldCause, FoldError, Opener, Views};

use crate::log_bench::{START, TENANT, change, key, submission};

const HOUR: i64 = 3_600_000;

/// Folds events one after the other, each at its own position, `hour` hours after the start.
#[derive(Default)]
struct Fold {
    views: Views,
    position: u64,
}

impl Fold {
    fn take(&mut self, stream: u8, hour: i64, secrets: &[&str], event: impl Into<AnyEvent>) {
        self.position += 1;
        let header = submission(&[change(stream, 0)], None).drafts.remove(0).header;
        let secrets = secrets.iter().zip(0..).map(|(name, slot)| {
            let batch = u8::try_from(self.position).unwrap();
            SealedSecret { name: (*name).to_owned(), key: key(batch, slot), fingerprint: Fingerprint([0; 16]) }
        });
        let version = Version(self.position);
        let recorded_at = Moment::from_millis(START + hour * HOUR);
        let header = Header { position: Position(self.position), version, content_version: version, recorded_at, secrets: secrets.collect(), ..header };
        self.views.fold(&header, event.into());
    }

    fn due(&self, hour: i64) -> Vec<u64> {
        self.views.due(Moment::from_millis(START + hour * HOUR)).map(|((_, position, _), _)| position.0).collect()
    }
}

fn name() -> connection::Key {
    connection::Key { app: "app".into(), consumer: "c".into(), unified_api: "crm".into(), service_id: "pipedrive".into() }
}

fn created() -> connection::Event {
    connection::Event::Created { key: name(), consumer: StreamId([1; 16]), phase: Phase::Added, grant: None }
}

/// Tokens came in, of which the access token ends at this hour.
fn imported(ends: Option<i64>) -> connection::Event {
    let written = Written {
        enabled: None,
        settings: std::collections::BTreeMap::new(),
        removed: vec![],
        metadata: None,
        configuration: None,
        custom_mappings: None,
        phase: Phase::Callable,
    };
    connection::Event::Imported { written, issued_at: None, expires_at: ends.map(|hour| Moment::from_millis(START + hour * HOUR)) }
}

#[test]
fn a_superseded_token_is_kept_for_a_day_after_its_end_or_after_its_successor() {
    let mut fold = Fold::default();
    fold.take(2, 0, &[], created());
    fold.take(2, 0, &["access_token"], imported(Some(1)));
    fold.take(2, 10, &["refresh_token"], imported(None));
    assert!(fold.due(10_000).is_empty(), "a new refresh token alone supersedes no access token");
    fold.take(2, 100, &["access_token"], imported(Some(200)));
    assert_eq!((fold.due(123), fold.due(124)), (vec![], vec![2]), "it had ended long before: the day begins with its successor");
    fold.take(2, 110, &["access_token"], imported(None));
    assert_eq!((fold.due(223), fold.due(224)), (vec![2], vec![2, 4]), "it had not ended: the day begins at its end");
}

#[test]
fn a_shredded_secret_is_not_due_again() {
    let mut fold = Fold::default();
    fold.take(2, 0, &[], created());
    for _ in 0..3 {
        fold.take(2, 0, &["access_token"], imported(Some(1)));
    }
    assert_eq!(fold.due(25), [2, 3]);
    let secrets = vec![SecretAt { position: Position(2), name: "access_token".into() }, SecretAt { position: Position(3), name: "another".into() }];
    fold.take(9, 26, &[], vault::Event::Shredded { secrets, reason: "superseded".into(), things: vec![], tenants: vec![] });
    assert_eq!(fold.due(10_000), [3], "exactly the one that was named");
}

#[test]
fn a_late_event_of_what_has_gone_takes_no_name_from_its_successor() {
    let mut fold = Fold::default();
    let consumer = || consumer::Event::Created { app: "app".into(), consumer: "c".into(), metadata: None };
    let noted = || consumer::Event::ConnectionRemoved { connection: StreamId([2; 16]) };
    fold.take(1, 0, &[], consumer());
    fold.take(2, 0, &[], created());
    fold.take(2, 1, &[], connection::Event::Deleted);
    fold.take(1, 1, &[], consumer::Event::Deleted);
    assert_eq!((fold.views.consumer(TENANT, "app", "c"), fold.views.connection(TENANT, &name())), (None, None));
    fold.take(3, 2, &[], consumer());
    fold.take(4, 2, &[], created());
    fold.take(1, 3, &[], noted());
    fold.take(2, 3, &[], connection::Event::ExchangeLost { intent: Position(1), cause: "a test".into() });
    let (consumer, connection) = (fold.views.consumer(TENANT, "app", "c"), fold.views.connection(TENANT, &name()));
    assert_eq!((consumer, connection), (Some(StreamId([3; 16])), Some(StreamId([4; 16]))));
}

#[test]
fn a_thing_knows_its_first_event_and_its_latest() {
    let mut fold = Fold::default();
    fold.take(2, 0, &[], created());
    fold.take(7, 0, &[], consumer::Event::Created { app: "app".into(), consumer: "c".into(), metadata: None });
    fold.take(2, 0, &["access_token"], imported(None));
    let entry = fold.views.thing(StreamId([2; 16])).unwrap();
    assert_eq!((entry.first, entry.last, entry.version), (Position(1), Position(3), Version(3)));
}

#[test]
fn the_consumers_of_an_application_are_those_of_no_other() {
    let mut fold = Fold::default();
    for (stream, app, id) in [(1, "a", "x"), (2, "ab", "y"), (3, "b", "z")] {
        fold.take(stream, 0, &[], consumer::Event::Created { app: app.into(), consumer: id.into(), metadata: None });
    }
    let of = |app| fold.views.consumers(TENANT, app).map(|consumer| consumer.consumer.clone()).collect::<Vec<_>>();
    assert_eq!((of("a"), of("ab"), of("b"), of("c")), (vec!["x".into()], vec!["y".into()], vec!["z".into()], vec![] as Vec<std::sync::Arc<str>>));
}

#[test]
fn facts_of_another_event_than_the_header_says_are_not_folded() {
    let event = AnyEvent::from(consumer::Event::Created { app: "app".into(), consumer: "c".into(), metadata: None });
    let json: Arc<[u8]> = event.to_facts(&Meta::default()).unwrap().into();
    let read = |event_type: &str| {
        let header = submission(&[change(1, 0)], None).drafts.remove(0).header;
        let record = Record::encode(Header { position: Position(7), event_type: event_type.to_owned(), ..header }, b"", &[]).unwrap();
        Opener::stored(&record, &json).map(|stored| stored.event)
    };
    assert_eq!(read("created").unwrap(), event);
    let error = read("updated").unwrap_err();
    assert!(matches!(error, FoldError { position: Position(7), cause: FoldCause::OtherEvent }), "{error}");
}

//! The log's promises, one suite for every engine. `memory` is exempt from those about restarts, which stand in `log_restart`.

use std::sync::Arc;

use keyledger::kernel::*;
use keyledger::log::{EventLog, Fault, Index, MAX_BLOCK_BYTES, MAX_BLOCK_RECORDS, MAX_QUEUE, MemoryLog, Options, Sequencer, SqliteLog, SubmitError};

use crate::log_bench::{Bench, START, Seen, Wanted, at, change, conflict, free, key, observation, submission, take, taken};

macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $name() { super::$name(crate::log_bench::Bench::memory().await).await; })*
        }
        mod doubled {
            $(#[tokio::test] async fn $name() { super::$name(crate::log_bench::Bench::doubled().await).await; })*
        }
        mod sqlite {
            $(#[tokio::test] async fn $name() { super::$name(crate::log_bench::Bench::sqlite().await).await; })*
        }
    };
}

contract!(
    promise_1_an_append_is_all_or_none,
    promise_2_a_stale_version_is_a_conflict,
    promise_2_a_stale_guard_is_a_conflict,
    promise_2_observations_do_not_conflict,
    promise_3_versions_and_positions_have_no_gaps,
    promise_4_a_reader_never_sees_a_gap,
    promise_5_time_never_goes_back,
    promise_6_one_of_many_takers_wins,
    promise_6_claims_are_freed_by_their_holder_only,
    promise_7_the_same_command_gives_the_first_answer,
    promise_9_what_is_refused_is_not_there,
    a_clock_that_leaps_refuses_writes_until_confirmed,
    keys_serve_once,
    two_nodes_share_one_log,
    seek_finds_the_last_before_an_instant,
    what_is_read_backwards_is_what_is_read_forwards,
    a_block_has_limits,
    what_waits_is_shown_in_order,
    the_queue_sheds_what_it_cannot_hold,
    a_shutdown_writes_what_waits_and_takes_no_more,
    a_command_is_forgotten_after_a_day,
    a_command_id_stands_on_the_first_event_only,
);

async fn what_is_read_backwards_is_what_is_read_forwards(bench: Bench) {
    for version in 0..9 {
        bench.submit(&[change(1, version)]).await.unwrap();
    }
    let forwards = bench.engine.read(Position::ZERO, 100).await.unwrap();
    for (from, limit, expected) in [(9, 100, 1..=9), (100, 3, 7..=9), (5, 2, 4..=5), (1, 9, 1..=1)] {
        let mut back = bench.engine.read_back(Position(from), limit).await.unwrap();
        back.reverse();
        assert_eq!(back, forwards[expected.start() - 1..*expected.end()], "from {from}, at most {limit}");
    }
    assert_eq!(bench.engine.read_back(Position::ZERO, 9).await.unwrap(), []);
    assert_eq!(bench.engine.read_back(Position(u64::MAX), 1).await.unwrap().len(), 1);
}

async fn promise_1_an_append_is_all_or_none(bench: Bench) {
    assert_eq!(bench.submit(&[change(1, 0), change(2, 0), change(1, 5)]).await, conflict(1));
    assert_eq!(bench.records().await.len(), 0);
    let in_one_block = tokio::join!(bench.submit(&[change(7, 0), change(1, 5)]), bench.submit(&[change(1, 0), change(2, 0), change(1, 1)]));
    assert_eq!(in_one_block, (conflict(0), at(1, 3)), "nor does a refused group leave anything to those beside it");
    let times: Vec<Moment> = bench.records().await.iter().map(|r| r.header().recorded_at).collect();
    assert_eq!(times, [Moment::from_millis(START); 3], "one group, one time");
}

async fn promise_2_a_stale_version_is_a_conflict(bench: Bench) {
    for version in 0..12 {
        assert!(bench.submit(&[change(1, version)]).await.is_ok());
    }
    assert_eq!(bench.submit(&[change(1, 11)]).await, conflict(12));
    assert_eq!(bench.submit(&[change(1, 13)]).await, conflict(12));
    assert_eq!(bench.submit(&[change(1, 0)]).await, conflict(12));
    assert_eq!(bench.submit(&[change(2, 1)]).await, conflict(0));
}

async fn promise_2_a_stale_guard_is_a_conflict(bench: Bench) {
    bench.submit(&[change(1, 0)]).await.unwrap();
    let guarded = |expected| {
        let mut guarded = submission(&[change(2, 0)], None);
        guarded.guards.push(Guard { stream: StreamId([1; 16]), expected: Version(expected) });
        guarded
    };
    assert_eq!(bench.sequencer.submit(guarded(0)).await, conflict(1));
    assert_eq!(bench.sequencer.submit(guarded(1)).await, at(2, 2));
}

async fn promise_2_observations_do_not_conflict(bench: Bench) {
    assert_eq!(bench.submit(&[observation(1)]).await, Err(SubmitError::Refused(Refusal::NotFound)));
    bench.submit(&[change(1, 0), observation(1), observation(1)]).await.unwrap();
    assert_eq!(bench.submit(&[change(1, 1)]).await, at(4, 4), "the content version stood still");
    let header = bench.records().await[3].header().clone();
    assert_eq!((header.version, header.content_version, header.previous), (Version(4), Version(4), Position(3)));
}

async fn promise_3_versions_and_positions_have_no_gaps(bench: Bench) {
    for version in 0..20 {
        let (first, second) = tokio::join!(bench.submit(&[change(1, version)]), bench.submit(&[change(1, 99), change(2, 0)]));
        assert!(first.is_ok() && second.is_err());
    }
    for (record, n) in bench.records().await.iter().zip(1..) {
        assert_eq!((record.header().position, record.header().version), (Position(n), Version(n)));
        assert_eq!(record.header().previous, Position(n - 1));
    }
}

async fn promise_4_a_reader_never_sees_a_gap(bench: Bench) {
    let writes = async {
        for n in 0..40 {
            bench.submit(&[change(n, 0), change(n + 100, 0)]).await.unwrap();
        }
    };
    let reads = async {
        let mut last = 0;
        while last < 80 {
            let records = bench.records().await;
            assert!(records.iter().zip(1..).all(|(record, n)| record.header().position == Position(n)));
            assert!(records.len() >= last && records.len() % 2 == 0, "what was there stays, and a group is not split");
            last = records.len();
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(writes, reads);
}

async fn promise_5_time_never_goes_back(bench: Bench) {
    bench.submit(&[change(1, 0)]).await.unwrap();
    bench.clock.leap(-5_000);
    bench.submit(&[change(1, 1)]).await.unwrap();
    bench.clock.pass(6_000);
    bench.submit(&[change(1, 2)]).await.unwrap();
    let times: Vec<i64> = bench.records().await.iter().map(|r| r.header().recorded_at.millis() - START).collect();
    assert_eq!(times, [0, 0, 1_000]);
}

async fn promise_6_one_of_many_takers_wins(bench: Bench) {
    let takers = (0..200).map(|n| {
        let sequencer = bench.sequencer.clone();
        tokio::spawn(async move { sequencer.submit(submission(&[Wanted { claims: vec![take(1)], ..change(n, 0) }], None)).await })
    });
    let mut won = 0;
    for taker in takers.collect::<Vec<_>>() {
        match taker.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert!(matches!(error, SubmitError::Refused(Refusal::NameTaken { .. })), "{error}"),
        }
    }
    assert_eq!((won, bench.records().await.len()), (1, 1));
}

async fn promise_6_claims_are_freed_by_their_holder_only(bench: Bench) {
    let with = |stream, version, claims| [Wanted { claims, ..change(stream, version) }];
    bench.submit(&with(1, 0, vec![take(1)])).await.unwrap();
    bench.submit(&with(2, 0, vec![free(1)])).await.unwrap();
    assert_eq!(bench.submit(&with(2, 1, vec![take(1)])).await, taken(1));
    assert!(bench.submit(&with(1, 1, vec![take(1)])).await.is_ok(), "its holder may take it again");
    bench.submit(&with(1, 2, vec![free(1)])).await.unwrap();
    assert!(bench.submit(&with(2, 1, vec![take(1)])).await.is_ok());
}

async fn promise_7_the_same_command_gives_the_first_answer(bench: Bench) {
    let first = bench.command(&[change(1, 0), change(2, 0)], 1, 1).await.unwrap();
    let again = bench.command(&[change(3, 0)], 1, 1).await.unwrap();
    assert_eq!((again.first, again.last, again.repeated), (first.first, first.last, true));
    assert_eq!(bench.command(&[change(3, 0)], 1, 2).await, Err(SubmitError::Refused(Refusal::CommandReused)));
    let both = tokio::join!(bench.command(&[change(4, 0)], 2, 1), bench.command(&[change(5, 0)], 2, 1));
    assert_eq!([both.0.unwrap().repeated, both.1.unwrap().repeated].iter().filter(|repeated| **repeated).count(), 1);
    bench.clock.pass(24 * 3_600_000);
    assert!(bench.command(&[change(6, 0)], 1, 1).await.unwrap().repeated, "24 hours later it is still known");
    assert_eq!(bench.records().await.len(), 3);
}

async fn promise_9_what_is_refused_is_not_there(bench: Bench) {
    bench.submit(&[Wanted { claims: vec![take(1)], ..change(1, 0) }]).await.unwrap();
    let before = bench.records().await;
    for refused in [change(1, 5), observation(9), Wanted { claims: vec![take(1)], ..change(2, 0) }] {
        assert!(matches!(bench.submit(&[change(8, 0), refused]).await, Err(SubmitError::Refused(_))));
    }
    assert_eq!(bench.records().await, before);
    assert_eq!(bench.seen.0.lock().unwrap().len(), before.len());
}

async fn a_clock_that_leaps_refuses_writes_until_confirmed(bench: Bench) {
    bench.clock.leap(3_600_000);
    bench.submit(&[change(1, 0)]).await.unwrap();
    bench.clock.leap(1);
    assert_eq!(bench.submit(&[change(1, 1)]).await, Err(SubmitError::ClockLeapt));
    bench.sequencer.confirm_clock().await;
    assert!(bench.submit(&[change(1, 1)]).await.is_ok());
}

async fn keys_serve_once(bench: Bench) {
    let sealed = |stream, version, secret| Wanted { secret: Some(secret), ..change(stream, version) };
    bench.submit(&[sealed(1, 0, key(1, 0))]).await.unwrap();
    let wrong = [
        sealed(1, 1, key(1, 0)),
        sealed(2, 0, key(0xff, 1)),
        sealed(2, 0, key(0xff, 2)),
        sealed(2, 0, key(1, 4096)),
        Wanted { facts_key: Some(key(1, 0)), ..change(2, 0) },
        Wanted { facts_key: Some(key(0xff, 1)), ..change(2, 0) },
        Wanted { facts_key: Some(key(1, 1)), ..change(1, 1) },
    ];
    for wanted in wrong {
        assert!(matches!(bench.submit(&[wanted]).await, Err(SubmitError::Unavailable(_))));
    }
    assert!(bench.submit(&[sealed(2, 0, key(1, 1))]).await.is_ok());
    assert_eq!(bench.records().await.len(), 2);
}

async fn two_nodes_share_one_log(bench: Bench) {
    let other = bench.second().await;
    for round in 0..10_u64 {
        // Each round adds a change and an observation: versions 1 and 2, 3 and 4, …
        let stale = change(1, (2 * round).saturating_sub(1));
        bench.submit(std::slice::from_ref(&stale)).await.unwrap();
        assert_eq!(other.submit(submission(&[stale], None)).await, conflict(2 * round + 1), "it catches up and checks again");
        assert!(other.submit(submission(&[observation(1)], None)).await.is_ok());
    }
    assert!(bench.submit(&[Wanted { claims: vec![take(1)], ..change(2, 0) }]).await.is_ok());
    assert_eq!(other.submit(submission(&[Wanted { claims: vec![take(1)], ..change(3, 0) }], None)).await, taken(2));
    let (ours, theirs) = (bench.sequencer.index().await.unwrap(), other.index().await.unwrap());
    assert_eq!((ours.head(), ours.tree().root()), (theirs.head(), theirs.tree().root()));
    let records = bench.records().await;
    assert_eq!(*bench.seen.0.lock().unwrap(), records);
}

async fn seek_finds_the_last_before_an_instant(bench: Bench) {
    for version in 0..9 {
        bench.submit(&[change(1, version)]).await.unwrap();
        bench.clock.pass(if version % 3 == 2 { 10 } else { 0 });
    }
    for (instant, expected) in [(START, 0), (START + 1, 3), (START + 10, 3), (START + 11, 6), (START + 20, 6), (START + 21, 9), (START * 2, 9)] {
        assert_eq!(bench.engine.seek(Moment::from_millis(instant)).await, Ok(Position(expected)), "{}", instant - START);
    }
    let fetched = bench.engine.fetch(&[Position(4), Position(99), Position(2)]).await.unwrap();
    assert_eq!(fetched.iter().map(|r| r.header().position.0).collect::<Vec<_>>(), [4, 2]);
}

async fn a_block_has_limits(bench: Bench) {
    let too_many: Vec<Wanted> = (0..=MAX_BLOCK_RECORDS as u64).map(|version| change(1, version)).collect();
    assert_eq!(bench.submit(&too_many).await, Err(SubmitError::TooLarge { what: "records", limit: MAX_BLOCK_RECORDS }));
    let large = |stream| Wanted { size: 100_000, ..change(stream, 0) };
    let too_large: Vec<Wanted> = (0..6).map(large).collect();
    assert_eq!(bench.submit(&too_large).await, Err(SubmitError::TooLarge { what: "bytes", limit: MAX_BLOCK_BYTES }));
    assert!(bench.submit(&too_large[..5]).await.is_ok());
    assert!(matches!(bench.submit(&[]).await, Err(SubmitError::Unavailable(_))));
    assert_eq!(bench.records().await.len(), 5);
}

async fn what_waits_is_shown_in_order(bench: Bench) {
    let writers: Vec<_> = (0..100)
        .map(|n| {
            let sequencer = bench.sequencer.clone();
            tokio::spawn(async move { sequencer.submit(submission(&[change(n, 0), change(n, 1)], None)).await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    let records = bench.records().await;
    assert_eq!(records.len(), 200);
    assert_eq!(*bench.seen.0.lock().unwrap(), records);
    let mut tree = keyledger::seal::merkle::Frontier::default();
    for record in &records {
        tree.push(record.leaf());
    }
    assert_eq!(bench.sequencer.index().await.unwrap().tree().root(), tree.root());
}

async fn the_queue_sheds_what_it_cannot_hold(bench: Bench) {
    bench.submit(&[change(1, 0)]).await.unwrap();
    // On this one thread all are handed in before the sequencer takes the first.
    let answers = futures_util::future::join_all((0..MAX_QUEUE + 10).map(|_| bench.submit(&[observation(1)]))).await;
    let shed = answers.iter().filter(|answer| **answer == Err(SubmitError::Busy)).count();
    assert_eq!((shed, answers.iter().filter(|answer| answer.is_ok()).count()), (10, MAX_QUEUE));
    assert_eq!(bench.records().await.len(), 1 + MAX_QUEUE, "what was shed is nowhere");
}

async fn a_shutdown_writes_what_waits_and_takes_no_more(bench: Bench) {
    let (before, (), after) = tokio::join!(bench.submit(&[change(1, 0)]), bench.sequencer.shutdown(), async {
        tokio::task::yield_now().await;
        bench.submit(&[change(2, 0)]).await
    });
    assert_eq!(before, at(1, 1));
    assert!(matches!(after, Err(SubmitError::Unavailable(_))), "{after:?}");
    assert!(matches!(bench.submit(&[change(3, 0)]).await, Err(SubmitError::Unavailable(_))));
    bench.sequencer.shutdown().await; // Once more does no harm.
    assert!(bench.sequencer.index().await.is_none());
    assert_eq!(bench.records().await.len(), 1);
}

async fn a_command_is_forgotten_after_a_day(bench: Bench) {
    bench.command(&[change(1, 0)], 1, 1).await.unwrap();
    bench.clock.pass(24 * 3_600_000);
    bench.submit(&[change(2, 0)]).await.unwrap();
    assert_eq!(bench.command(&[change(3, 0)], 1, 2).await, Err(SubmitError::Refused(Refusal::CommandReused)));
    bench.clock.pass(1);
    bench.submit(&[change(2, 1)]).await.unwrap();
    assert_eq!(bench.sequencer.index().await.unwrap().command(&[1; 32]), None, "the index does not grow for ever");
    assert_eq!(bench.command(&[change(3, 0)], 1, 2).await, at(4, 4));
}

async fn a_command_id_stands_on_the_first_event_only(bench: Bench) {
    let mut wrong = submission(&[change(1, 0), change(2, 0)], None);
    wrong.drafts[1].header.command = Some([1; 32]);
    assert!(matches!(bench.sequencer.submit(wrong).await, Err(SubmitError::Unavailable(_))));
    assert_eq!(bench.records().await.len(), 0);
}

#[tokio::test]
async fn two_processes_share_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Arc::new(SqliteLog::open(&folder.path().join("log.db"), Options::default()).unwrap());
    let (ours, theirs) = (Bench::over(open(), None).await, Bench::over(open(), None).await);
    let named = |stream| [Wanted { claims: vec![take(1)], ..change(stream, 0) }];
    assert_eq!(ours.submit(&named(1)).await, at(1, 1));
    assert_eq!(theirs.submit(&named(2)).await, taken(1), "it caught up from the file and checked again");
    assert_eq!(*theirs.engine.head().borrow(), Position(1), "and its engine tells of the other's record");
    let writers = (0..20).flat_map(|n| [ours.submit(&[change(100 + n, 0)]), theirs.submit(&[change(150 + n, 0)])]);
    assert!(futures_util::future::join_all(writers).await.iter().all(Result::is_ok));
    theirs.submit(&[observation(1)]).await.unwrap();
    ours.submit(&[observation(1)]).await.unwrap();
    let records = ours.records().await;
    assert!(records.len() == 43 && records.iter().zip(1..).all(|(record, n)| record.header().position == Position(n)));
    assert_eq!(*ours.seen.0.lock().unwrap(), records);
    assert_eq!(*theirs.seen.0.lock().unwrap(), records[..42]);
}

#[tokio::test]
async fn an_unknown_outcome_is_made_known() {
    for (fault, expected) in [(Fault::UnknownWritten, 1), (Fault::UnknownUnwritten, 1), (Fault::Refused, 0)] {
        let engine = Arc::new(MemoryLog::default());
        let bench = Bench::over(engine.clone(), None).await;
        engine.fail_next(fault);
        let answer = bench.command(&[change(1, 0)], 1, 1).await;
        assert_eq!(answer.is_ok(), expected == 1, "{fault:?}: {answer:?}");
        assert_eq!(bench.records().await.len(), expected, "{fault:?}");
        assert!(bench.command(&[change(1, 0)], 1, 1).await.is_ok(), "and then it goes on");
        assert_eq!(bench.records().await.len(), 1);
    }
}

/// What a sequencer answers while the engine fails so, how many records stand then, and whether it goes on.
#[tokio::test]
async fn promise_9_unknown_is_said_as_unknown() {
    use Fault::{HeadMoved, Refused, UnknownLate, UnknownUnwritten, UnknownWritten};
    let unknown = Err("it is unknown whether this was written: a planned fault".to_owned());
    let cases = [
        (vec![UnknownUnwritten, UnknownWritten], Ok(1), 1, true),
        (vec![UnknownUnwritten; 3], Ok(1), 1, true),
        // The last of the bounded tries is looked at, too.
        (vec![UnknownUnwritten, UnknownUnwritten, UnknownUnwritten, UnknownWritten], Ok(1), 1, true),
        (vec![UnknownUnwritten; 4], unknown.clone(), 0, false),
        // That the same bytes are refused later does not mean that the first ones are lost.
        (vec![UnknownUnwritten, Refused, Refused, Refused], unknown, 0, false),
        (vec![UnknownUnwritten, Refused], Ok(1), 1, true),
        // Its own block moved the head: that is success, not another node.
        (vec![UnknownLate], Ok(1), 1, true),
        (vec![UnknownLate, Refused], Ok(1), 1, true),
        // A head that moved without a record to show for it: nothing was written, and nothing more is.
        (vec![HeadMoved], Err("the log takes no writes: the engine says that the log moved on, and shows no record".into()), 0, false),
    ];
    for (faults, expected, records, goes_on) in cases {
        let engine = Arc::new(MemoryLog::default());
        let bench = Bench::over(engine.clone(), None).await;
        for fault in &faults {
            engine.fail_next(*fault);
        }
        let answer = bench.submit(&[change(1, 0)]).await;
        assert_eq!(answer.map(|appended| appended.first.0).map_err(|error| error.to_string()), expected, "{faults:?}");
        assert_eq!((bench.records().await.len(), bench.seen.0.lock().unwrap().len()), (records, records), "{faults:?}");
        assert_eq!(bench.submit(&[change(2, 0)]).await.is_ok(), goes_on, "{faults:?}");
    }
}

/// Promise 7 over an unknown outcome: the block appears after all, and the retry at the next start gets its answer.
#[tokio::test]
async fn promise_7_holds_over_an_unknown_outcome() {
    let engine = Arc::new(MemoryLog::default());
    let bench = Bench::over(engine.clone(), None).await;
    for fault in [Fault::UnknownUnwritten, Fault::UnknownUnwritten, Fault::UnknownUnwritten, Fault::UnknownLate] {
        engine.fail_next(fault);
    }
    let both = tokio::join!(bench.command(&[change(1, 0)], 1, 1), bench.submit(&[change(1, 0)]));
    assert!(matches!(both, (Err(SubmitError::Unknown(_)), Err(SubmitError::Unknown(_)))), "a refusal that rests on it waits for it: {both:?}");
    assert!(matches!(bench.submit(&[change(9, 0)]).await, Err(SubmitError::Unavailable(_))), "it takes no more");
    assert_eq!(engine.append(Position::ZERO, Arc::new([])).await, Err(keyledger::log::AppendError::HeadMoved), "now it has appeared");
    let again = Sequencer::start(engine, bench.clock.clone(), Arc::new(Seen::default()), Index::default()).await.unwrap();
    let answer = again.submit(submission(&[change(1, 0)], Some((1, 1)))).await.unwrap();
    assert_eq!((answer.first, answer.last, answer.repeated), (Position(1), Position(1), true));
}

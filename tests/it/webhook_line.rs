//! What one webhook does next, by the clock alone: whatever fails, its state stays bounded and nothing is forgotten.

use std::collections::BTreeSet;

use keyledger::credentials::connection::Notice;
use keyledger::credentials::webhook::{Letter, MAX_DEAD, MAX_RETRYING, Progress};
use keyledger::jobs::{Line, Sent, Step};
use keyledger::kernel::*;

use crate::webhook_rules::{Life, letter};

fn failed() -> Sent {
    Sent::Failed { cause: "a test".into(), status: Some(500), pause: None }
}

fn line(webhook: &Life) -> Line {
    Line::new(StreamId([2; 16]), TenantId([1; 16]), Version(1), webhook.live(), webhook.now())
}

/// Reads on and sends all that the event at the next position tells, with one outcome; steps that are due come first.
fn run(line: &mut Line, now: Moment, last: u64, sent: &Sent, most: usize) -> Vec<Letter> {
    let mut tried = Vec::new();
    for _ in 0..most {
        match line.next(now, Position(last)) {
            Step::Send(letter) => {
                line.ended(letter, sent, false, now, 7);
                tried.push(letter);
            }
            Step::Probe(letter) => {
                line.ended(letter, sent, true, now, 7);
                tried.push(letter);
            }
            Step::Read => {
                let position = line.progress().through.next();
                for notice in Notice::ALL.into_iter().take(Notice::MOST) {
                    line.ended(Letter { position, notice }, sent, false, now, 7);
                    tried.push(Letter { position, notice });
                }
                line.advance(position);
            }
            Step::Wait(_) => break,
        }
    }
    tried
}

fn bounded(progress: &Progress) {
    assert!(progress.retrying.len() <= MAX_RETRYING && progress.dead.len() <= MAX_DEAD && progress.replaying.len() <= MAX_DEAD);
}

#[test]
fn an_endpoint_that_never_answers_for_a_year_leaves_a_bounded_state_and_a_log_that_waits() {
    let mut webhook = Life::of(&["*"]);
    let mut line = line(&webhook);
    let (mut now, mut recorded) = (webhook.now(), 0);
    for hour in 0..(365 * 24) {
        now = now.plus_seconds(3600);
        run(&mut line, now, 1_000_000, &failed(), 500);
        bounded(line.progress());
        if line.record_due().is_some_and(|due| due <= now) {
            recorded += 1;
            webhook.send(keyledger::credentials::webhook::Command::Progress(line.unrecorded().clone())).unwrap();
            line.recorded(now);
            line.sync(Version(2 + hour), webhook.live());
            assert_eq!(line.progress(), &webhook.live().progress, "what is recorded is what there is");
        }
    }
    let progress = line.progress();
    assert!(progress.dead.len() == MAX_DEAD && progress.dropped > 0, "{}", progress.dead.len());
    assert!(progress.through.0 < 2000, "about eight letters a day are tried: {}", progress.through);
    assert!(recorded <= 365 * 24);
    // It comes back: everything that the log holds comes.
    now = now.plus_seconds(3600);
    let came = run(&mut line, now, 5000, &Sent::Taken { status: 200 }, usize::MAX);
    let positions: BTreeSet<u64> = came.iter().map(|letter| letter.position.0).collect();
    assert_eq!((positions.last(), line.progress().through, line.progress().retrying.len()), (Some(&5000), Position(5000), 0));
}

#[test]
fn failures_between_deliveries_fill_the_room_for_retries_and_then_hold_the_log() {
    let webhook = Life::of(&["*"]);
    let (mut line, now) = (line(&webhook), webhook.now());
    // Of each event's four letters one fails: the endpoint is there.
    while line.next(now, Position(10_000)) == Step::Read {
        let position = line.progress().through.next();
        for (place, notice) in Notice::ALL.into_iter().take(4).enumerate() {
            line.ended(Letter { position, notice }, &if place == 0 { failed() } else { Sent::Taken { status: 200 } }, false, now, 0);
        }
        line.advance(position);
    }
    assert_eq!(line.progress().retrying.len(), MAX_RETRYING - 3, "with no room for all that one more event may tell");
    bounded(line.progress());
    let oldest = letter(2);
    assert!(line.progress().retrying.contains_key(&oldest));
    assert_eq!(line.next(now.plus_seconds(5), Position(10_000)), Step::Send(oldest));
    line.ended(oldest, &Sent::Taken { status: 200 }, false, now, 0);
    assert_eq!(line.next(now, Position(10_000)), Step::Read, "as soon as one is delivered, it goes on");
}

#[test]
fn waits_are_spread_by_chance_that_is_the_same_for_the_same_attempt() {
    let webhook = Life::of(&["*"]);
    let wait = |chance| {
        let mut line = line(&webhook);
        line.ended(letter(2), &failed(), false, webhook.now(), chance);
        line.progress().retrying.values().next().unwrap().due.millis() - webhook.now().millis()
    };
    assert_eq!((wait(0), wait(u16::MAX), wait(1000), wait(1000)), (5000, 6000, 5015, 5015));
}

#[test]
fn a_pause_is_believed_up_to_an_hour_and_probes_count_as_no_try() {
    let webhook = Life::of(&["*"]);
    let (mut line, now) = (line(&webhook), webhook.now());
    line.ended(letter(2), &Sent::Failed { cause: String::new(), status: Some(429), pause: Some(i64::from(u32::MAX)) }, false, now, 0);
    assert_eq!(line.next(now, Position(9)), Step::Wait(Some(now.plus_seconds(3600))));
    let mut line = self::line(&webhook);
    for position in 2..10 {
        line.ended(letter(position), &failed(), false, now, 0);
        line.advance(Position(position));
    }
    let later = now.plus_seconds(5);
    for _ in 0..8 {
        let Step::Send(letter) = line.next(later, Position(100)) else { panic!() };
        line.ended(letter, &failed(), false, later, 0);
    }
    // Every one waits 30 seconds now, and then longer: in between, the oldest is tried.
    let mut at = later;
    while !matches!(line.next(at, Position(100)), Step::Probe(_)) {
        at = at.plus_seconds(1);
        while let Step::Send(letter) = line.next(at, Position(100)) {
            line.ended(letter, &failed(), false, at, 0);
        }
    }
    let Step::Probe(probed) = line.next(at, Position(100)) else { panic!() };
    let tries = line.tries(probed);
    line.ended(probed, &failed(), true, at, 0);
    assert_eq!(line.tries(probed), tries);
    assert!(matches!(line.next(at, Position(100)), Step::Wait(Some(until)) if until <= at.plus_seconds(600)));
    line.ended(probed, &Sent::Taken { status: 200 }, true, at, 0);
    assert_eq!(line.progress().failures, 0);
    assert!(matches!(line.next(at, Position(100)), Step::Send(_)), "it is back: what waits is due");
}

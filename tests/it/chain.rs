//! The rules by which records follow one another, each broken once.

use keyledger::kernel::*;
use keyledger::log::{Broken, Chain};
use keyledger::seal::Record;

/// What a record says; the rest is the same in all.
#[derive(Clone)]
struct Says {
    position: u64,
    previous: u64,
    at: i64,
    version: u64,
    content: u64,
    stream: u8,
    tenant: u8,
    facts: u8,
    class: Class,
    epoch: u32,
    kind: &'static str,
    event: &'static str,
    group: (u8, u32, u32),
    causation: u64,
    command: Option<[u8; 32]>,
}

/// A change that is the first of its stream and a group of its own.
fn first(position: u64, stream: u8) -> Says {
    Says {
        position,
        previous: 0,
        at: 1000 + 10 * i64::try_from(position).unwrap(),
        version: 1,
        content: 1,
        stream,
        tenant: 3,
        facts: stream,
        class: Class::Change,
        epoch: 1,
        kind: "consumer",
        event: "created",
        group: (u8::try_from(position % 250).unwrap(), 0, 1),
        causation: 0,
        command: None,
    }
}

/// Another change of a stream.
fn next(position: u64, previous: &Says) -> Says {
    let says = first(position, previous.stream);
    Says { previous: previous.position, version: previous.version + 1, content: previous.version + 1, ..says }
}

fn record(says: &Says) -> Record {
    let header = Header {
        position: Position(says.position),
        previous: Position(says.previous),
        recorded_at: Moment::from_millis(says.at),
        version: Version(says.version),
        content_version: Version(says.content),
        facts_commitment: [0; 32],
        epoch: Epoch { number: says.epoch, id: [u8::try_from(says.epoch).unwrap(); 16] },
        event: EventId([2; 16]),
        tenant: TenantId([says.tenant; 16]),
        stream: StreamId([says.stream; 16]),
        class: says.class,
        kind: says.kind.into(),
        event_type: says.event.into(),
        actor: StreamId([0; 16]),
        command: says.command,
        request: None,
        group: Group { id: GroupId([says.group.0; 16]), index: says.group.1, count: says.group.2 },
        causation: Position(says.causation),
        claims: vec![],
        facts_key: KeyId { batch: [6; 12], slot: says.facts.into() },
        secrets: vec![],
        shredded: vec![],
    };
    Record::encode(header, &[7; 40], &[]).unwrap()
}

/// What is done to them.
type Change = fn(&mut Vec<Says>);

fn chain(of: &[Says]) -> Result<Chain, String> {
    let mut chain = Chain::default();
    for says in of {
        chain.take(&record(says)).map_err(|Broken { cause }| cause)?;
    }
    chain.end().map_err(|Broken { cause }| cause)?;
    Ok(chain)
}

/// Four records of two streams, the last two as a group; the third is an observation.
fn good() -> Vec<Says> {
    let (one, two) = (first(1, 10), first(2, 20));
    let three = Says { class: Class::Observation, content: 1, group: (9, 0, 2), at: 1040, command: Some([1; 32]), ..next(3, &one) };
    let four = Says { group: (9, 1, 2), at: 1040, ..next(4, &two) };
    vec![one, two, three, four]
}

fn restored(position: u64, from: u64, epoch: u32) -> Says {
    let vault = Says { kind: "vault", event: "restored", class: Class::Observation, content: 0, ..first(position, 30) };
    Says { epoch, causation: from, at: 5000, ..vault }
}

#[test]
fn what_follows_is_taken_and_what_does_not_says_why() {
    let chain_of = |change: &dyn Fn(&mut Vec<Says>)| {
        let mut says = good();
        change(&mut says);
        chain(&says).map_or_else(|cause| panic!("{cause}"), |chain| chain.tree().size())
    };
    assert_eq!(chain_of(&|_| ()), 4);
    assert_eq!(chain_of(&|says| says.push(restored(40, 4, 2))), 5, "a gap");
    assert_eq!(chain_of(&|says| says.push(restored(5, 4, 7))), 5, "no gap; an epoch that is not the next");
    assert_eq!(chain_of(&|says| says.push(Says { event: "loss_accepted", ..restored(40, 4, 2) })), 5, "an end that was lost");
    let broken: [(Change, &str); 27] = [
        (|says| says[0].position = 2, "the first position is 2, not 1"),
        (|says| says[1].position = 3, "its position is 3, not 2"),
        (|says| says.retain(|says| says.position != 2), "its position is 3, not 2"),
        (|says| says[1].at = 1000, "before the one before it"),
        (|says| says[1].epoch = 2, "it tells of no restore"),
        (|says| says.push(Says { event: "resumed", ..restored(40, 4, 2) }), "it tells of no restore"),
        (|says| says.push(Says { kind: "consumer", ..restored(40, 4, 2) }), "it tells of no restore"),
        (|says| says.push(Says { group: (1, 1, 2), ..restored(40, 4, 2) }), "it tells of no restore"),
        (|says| says.push(restored(40, 3, 2)), "it goes on from position 3, and the one before it is 4"),
        (|says| says.push(restored(4, 4, 2)), "its position is 4, before 5"),
        (|says| says.extend([restored(40, 4, 3), restored(41, 40, 2)]), "it begins epoch 2, after epoch 3"),
        (|says| says.push(Says { position: 40, ..first(40, 30) }), "its position is 40, not 5"),
        (|says| says[3].group = (8, 1, 2), "event 2 of 2 of a group is missing before it"),
        (|says| says[3].group = (9, 0, 2), "event 2 of 2 of a group is missing before it"),
        (|says| says[3].group = (9, 1, 3), "event 2 of 2 of a group is missing before it"),
        (|says| says[3].at = 1041, "at another time than its group"),
        (|says| says[3].command = Some([1; 32]), "bears a command"),
        (|says| says.truncate(3), "it ends inside a group, after event 1 of 2"),
        (|says| says[1].group = (2, 1, 2), "event 2 of a group whose first is missing"),
        (|says| says[2].previous = 0, "the stream stands at version 1 at position 1"),
        (|says| says[2].previous = 2, "the stream stands at version 1 at position 1"),
        (|says| says[2].version = 3, "it is version 3 of its stream"),
        (|says| says[2].stream = 40, "events of its stream are missing before it"),
        (|says| says[1].version = 2, "events of its stream are missing before it"),
        (|says| says[2].tenant = 4, "changed its tenant or its facts key"),
        (|says| says[2].facts = 4, "changed its tenant or its facts key"),
        (|says| says[3].content = 1, "its content version 1 does not follow"),
    ];
    for (change, cause) in broken {
        let mut says = good();
        change(&mut says);
        let found = chain(&says).err().unwrap_or_else(|| panic!("not found: {cause}"));
        assert!(found.contains(cause), "{found}: not {cause}");
    }
    let mut says = good();
    says[2].content = 2;
    assert!(chain(&says).err().unwrap().contains("its content version 2 does not follow"), "an observation leaves it alone");
}

#[test]
fn past_what_is_not_shown_the_rules_hold_as_far_as_they_can_be_seen() {
    let passing = |shown: &Says| {
        let mut chain = Chain::default();
        for says in &good() {
            chain.take(&record(says)).unwrap();
        }
        chain.pass([1; 32], 4).unwrap();
        chain.take(&record(shown)).map_err(|Broken { cause }| cause)
    };
    let one = &good()[2];
    let two = &good()[3];
    assert_eq!(passing(&first(9, 50)), Ok(()));
    assert_eq!(passing(&next(9, two)), Ok(()), "none of its stream is hidden");
    assert_eq!(passing(&Says { previous: 6, version: 5, content: 5, ..next(9, two) }), Ok(()), "some of its stream are hidden");
    assert_eq!(passing(&Says { previous: 7, version: 9, content: 9, stream: 60, ..first(9, 60) }), Ok(()), "all before it are hidden");
    assert_eq!(passing(&Says { group: (5, 1, 2), ..first(9, 50) }), Ok(()), "its group's first is hidden");
    assert_eq!(passing(&Says { epoch: 2, ..first(90, 50) }), Ok(()), "a restore is hidden");
    let observed = Says { class: Class::Observation, previous: 6, version: 5, content: 3, ..next(9, one) };
    assert_eq!(passing(&observed), Ok(()));
    for (wrong, cause) in [
        (first(8, 50), "its position is 8, not 9"),
        (first(10, 50), "its position is 10, not 9"),
        (Says { epoch: 2, ..first(8, 50) }, "its position is 8, before 9"),
        (Says { previous: 3, ..next(9, two) }, "the stream stands at version 2 at position 4"),
        (Says { previous: 6, version: 3, content: 3, ..next(9, two) }, "the stream stands at version 2 at position 4"),
        (Says { previous: 9, version: 3, content: 3, stream: 60, ..first(9, 60) }, "its stream's previous event stands after it"),
        (Says { content: 0, ..observed }, "its content version 0 does not follow"),
    ] {
        let found = passing(&wrong).expect_err(cause);
        assert!(found.contains(cause), "{found}: not {cause}");
    }
    let mut chain = Chain::default();
    chain.take(&record(&first(1, 10))).unwrap();
    assert!(chain.pass([1; 32], 2).is_err() && chain.pass([1; 32], 0).is_err() && chain.pass([1; 32], 1).is_ok());
}

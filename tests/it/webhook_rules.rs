//! The rules of webhooks without a log: what may be written, what is bounded, and what goes along with what.

use keyledger::credentials::connection::Notice;
use keyledger::credentials::webhook::{
    Changes, Command, Dead, EVERYTHING, Event, Failed, Letter, MAX_DEAD, MAX_GRACE, Profile, Progressed, Replay, Retry, State, Webhook, decide, evolve,
};
use keyledger::credentials::{Subject, To};
use keyledger::kernel::*;

use crate::log_bench::{START, change, key as data_key, submission};

pub fn profile(events: &[&str]) -> Profile {
    Profile { url: "https://example.com/".into(), events: events.iter().map(ToString::to_string).collect(), description: None, enabled: true }
}

/// One webhook, made at position 1.
#[derive(Default)]
pub struct Life {
    pub state: State,
    position: u64,
}

impl Life {
    pub fn of(events: &[&str]) -> Self {
        let mut life = Self::default();
        let create = Command::Create { profile: profile(events), seat: Some(1), secret: Secret::from("whsec_x"), sealing: Vec::new() };
        life.send(create).unwrap();
        life
    }

    /// Decides and folds; gives the number of events.
    pub fn send(&mut self, command: Command) -> Result<usize, Refusal> {
        let now = self.now();
        let subject = Subject { stream: StreamId([2; 16]), version: Version(self.position) };
        let plan = decide(subject, &self.state, now, command)?;
        let count = plan.writes.len();
        for write in plan.writes {
            self.position += 1;
            let batch = u8::try_from(self.position % 256).unwrap();
            let secrets = write.secrets.iter().zip(0..);
            let secrets = secrets.map(|((name, _), slot)| SealedSecret { name: name.clone(), key: data_key(batch, slot), fingerprint: Fingerprint([0; 16]) });
            let header = submission(&[change(2, 0)], None).drafts.remove(0).header;
            let header = Header {
                position: Position(self.position),
                version: Version(self.position),
                recorded_at: now,
                class: write.class,
                secrets: secrets.collect(),
                ..header
            };
            self.state = evolve(std::mem::take(&mut self.state), &header, write.event);
        }
        Ok(count)
    }

    pub fn now(&self) -> Moment {
        Moment::from_millis(START).plus_seconds(i64::try_from(self.position).unwrap())
    }

    pub fn live(&self) -> &Webhook {
        match &self.state {
            State::Live(live) => live,
            other => panic!("{other:?}"),
        }
    }
}

pub fn letter(position: u64) -> Letter {
    Letter { position: Position(position), notice: Notice::Created }
}

fn failed() -> Failed {
    Failed { at: Moment::from_millis(START), cause: "a test".into(), status: None }
}

fn dead(position: u64) -> Dead {
    Dead { letter: letter(position), tries: 9, last: failed() }
}

fn field(refusal: Refusal) -> String {
    match refusal {
        Refusal::Invalid { field, .. } => field,
        other => panic!("{other}"),
    }
}

#[test]
fn what_a_caller_writes_is_checked_and_what_changes_nothing_writes_nothing() {
    let create = |profile: Profile| Life::default().send(Command::Create { profile, seat: Some(1), secret: Secret::from("x"), sealing: Vec::new() });
    let wrong = |profile: Profile| field(create(profile).unwrap_err());
    assert_eq!(wrong(profile(&[])), "events");
    assert_eq!(wrong(profile(&["*", "vault.connection.migrated"])), "events[1]");
    assert_eq!(wrong(profile(&["vault.connection.created"; 19])), "events");
    for url in [String::new(), "https://example.com/a b".into(), "https://example.com/\u{7f}".into(), format!("https://e.com/{}", "x".repeat(4083))] {
        assert_eq!(wrong(Profile { url, ..profile(&["*"]) }), "url");
    }
    for text in ["a\nb".to_owned(), "x".repeat(257)] {
        assert_eq!(wrong(Profile { description: Some(text), ..profile(&["*"]) }), "description");
    }
    let seatless = Life::default().send(Command::Create { profile: profile(&["*"]), seat: None, secret: Secret::from("x"), sealing: Vec::new() });
    assert_eq!(seatless.unwrap_err(), Refusal::Limit { what: "webhooks of a tenant", limit: 16 });
    let mut life = Life::of(&["vault.connection.deleted", "vault.connection.created", "vault.connection.created"]);
    assert_eq!(life.live().profile.events, ["vault.connection.created", "vault.connection.deleted"]);
    assert!(life.live().wants(Notice::Deleted) && !life.live().wants(Notice::Updated));
    let same = Changes { url: Some("https://example.com/".into()), description: Some(To { to: None }), enabled: Some(true), ..Changes::default() };
    assert_eq!(life.send(Command::Update(same)), Ok(0));
    assert_eq!(life.send(Command::Update(Changes { events: Some(vec![Notice::Created.name().into(), EVERYTHING.into()]), ..Changes::default() })), Ok(1));
    assert!(Notice::ALL.into_iter().all(|notice| life.live().wants(notice)) && life.live().profile.events == [EVERYTHING]);
    let long = Command::Rotate { secret: Secret::from("y"), grace_seconds: MAX_GRACE + 1, sealing: Vec::new() };
    assert_eq!(field(life.send(long).unwrap_err()), "grace_seconds");
    assert_eq!(life.send(Command::Delete), Ok(1));
    for command in [Command::Delete, Command::Update(Changes::default()), Command::Progress(Progressed::default())] {
        assert_eq!(life.send(command), Err(Refusal::NotFound));
    }
}

#[test]
fn former_secrets_sign_along_until_their_end_and_a_rotation_without_grace_ends_them_all() {
    let mut life = Life::of(&["*"]);
    let rotate = |grace_seconds| Command::Rotate { secret: Secret::from("y"), grace_seconds, sealing: Vec::new() };
    let signing = |life: &Life, after: i64| life.live().signing(life.now().plus_seconds(after)).count();
    for expected in [2, 3, 4, 4] {
        life.send(rotate(1000)).unwrap();
        assert_eq!(signing(&life, 0), expected, "at most three sign along");
    }
    assert_eq!((signing(&life, 990), signing(&life, 1000)), (4, 1));
    life.send(rotate(0)).unwrap();
    assert_eq!(signing(&life, 0), 1);
    assert_eq!(life.state.secrets().len(), 1, "a former one is out of use, and its key has an end");
}

#[test]
fn dead_letters_are_kept_up_to_a_limit_and_the_oldest_falls_out() {
    let mut life = Life::of(&["*"]);
    for first in (2..1502).step_by(100) {
        let came = Progressed { through: Position(first + 99), dead: (first..first + 100).map(dead).collect(), ..Progressed::default() };
        life.send(Command::Progress(came)).unwrap();
    }
    let progress = &life.live().progress;
    assert_eq!((progress.dead.len(), progress.dropped, progress.through), (MAX_DEAD, 500, Position(1501)));
    assert_eq!(progress.dead.get_min().unwrap().0.position, Position(502));
    let replay = |what| Command::Replay { what, now: Position(2000) };
    assert_eq!(field(life.send(replay(Replay::Positions(vec![Position(502), Position(2)]))).unwrap_err()), "positions[1]");
    assert_eq!(field(life.send(replay(Replay::Positions(vec![]))).unwrap_err()), "positions");
    assert_eq!(life.send(replay(Replay::Positions(vec![Position(502)]))), Ok(1));
    assert_eq!(life.send(replay(Replay::Dead)), Ok(1));
    assert_eq!(life.send(replay(Replay::Dead)), Ok(0), "nothing is left");
    assert_eq!((life.live().progress.dead.len(), life.live().progress.replaying.len()), (0, MAX_DEAD));
    life.send(Command::Progress(Progressed { dead: vec![dead(3000)], ..Progressed::default() })).unwrap();
    assert_eq!(life.send(replay(Replay::Dead)).unwrap_err(), Refusal::Limit { what: "letters that wait to be sent again", limit: 1000 });
}

#[test]
fn a_letter_stands_in_one_place_and_a_replay_from_an_event_is_not_undone_by_what_was_sent_before() {
    let mut life = Life::of(&["*"]);
    let retry = Retry { letter: letter(5), tries: 1, due: life.now() };
    life.send(Command::Progress(Progressed { through: Position(9), retrying: vec![retry], dead: vec![dead(6)], ..Progressed::default() })).unwrap();
    let replay = |from| Command::Replay { what: Replay::From(Position(from)), now: Position(20) };
    assert_eq!([field(life.send(replay(1)).unwrap_err()), field(life.send(replay(21)).unwrap_err())], ["from", "from"]);
    life.send(replay(4)).unwrap();
    assert_eq!((life.live().progress.through, life.live().progress.turn), (Position(3), 1));
    // What came before the replay says nothing of where it stands now, but letters ended all the same.
    life.send(Command::Progress(Progressed { through: Position(12), delivered: 1, done: vec![letter(5)], ..Progressed::default() })).unwrap();
    let progress = &life.live().progress;
    assert_eq!((progress.through, progress.retrying.len(), progress.delivered), (Position(3), 0, 1));
    life.send(Command::Progress(Progressed { turn: 1, through: Position(12), done: vec![letter(6)], ..Progressed::default() })).unwrap();
    assert_eq!((life.live().progress.through, life.live().progress.dead.len()), (Position(12), 0));
    // In what is not recorded yet, the latest word on a letter counts.
    let mut came = Progressed::default();
    came.give_up(dead(7));
    came.retry(Retry { letter: letter(7), tries: 1, due: life.now() });
    came.deliver(letter(7), true, life.now());
    assert_eq!((came.done.len(), came.retrying.len(), came.dead.len(), came.delivered), (1, 0, 0, 1));
}

#[test]
fn an_endpoint_that_is_gone_disables_its_webhook_once() {
    let mut life = Life::of(&["*"]);
    let gone = || Command::Gone { cause: "410".into() };
    assert_eq!((life.send(gone()), life.send(gone())), (Ok(1), Ok(0)));
    assert!(!life.live().profile.enabled && life.live().gone.is_some());
    life.send(Command::Update(Changes { description: Some(To { to: Some("x".into()) }), ..Changes::default() })).unwrap();
    assert!(life.live().gone.is_some());
    life.send(Command::Update(Changes { enabled: Some(true), ..Changes::default() })).unwrap();
    assert!(life.live().profile.enabled && life.live().gone.is_none());
    // The fold of what was never decided changes nothing.
    let header = submission(&[change(2, 0)], None).drafts.remove(0).header;
    assert_eq!(evolve(State::Absent, &header, Event::Gone { cause: String::new() }), State::Absent);
}

//! One webhook's line: what is done next, from where it stands and what time it is. Pure.

use crate::credentials::webhook::{Dead, Failed, Letter, Progress, Progressed, Retry, STOPS_AFTER, Webhook};
use crate::kernel::{Moment, Position, StreamId, TenantId, Version};

/// Seconds until a letter is tried again, by how often it was tried. After the last of them it is given up.
const WAITS: [i64; 8] = [5, 30, 120, 600, 3600, 3 * 3600, 6 * 3600, 12 * 3600];
/// A wait is longer by up to one part in so many, by chance, so that letters that failed together do not come together.
const SPREAD: i64 = 5;
/// The longest `Retry-After` that is believed, in seconds.
const LONGEST_PAUSE: i64 = 3600;
/// While nothing new is tried, the oldest letter is, every so many seconds: an endpoint that is back is noticed soon.
const PROBE: i64 = 600;
/// What came of sending is recorded at most every so many seconds.
const RECORD: i64 = 15;
/// How far a webhook that has nothing to say may fall behind before that is recorded: so much is looked through again after a restart.
const LAG: u64 = 50_000;
/// What came of so many letters is recorded within a second.
const MOST_UNRECORDED: usize = 256;

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The endpoint took it.
    Taken {
        /// The status of the answer.
        status: u16,
    },
    /// It did not.
    Failed {
        /// In words that hold nothing of the answer.
        cause: String,
        /// The status of the answer, if one came.
        status: Option<u16>,
        /// Seconds that the endpoint wants to be left alone.
        pause: Option<i64>,
    },
    /// It wants nothing any more.
    Gone {
        /// How it said so.
        cause: String,
    },
}

/// What is done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send a letter that failed, or that is sent again.
    Send(Letter),
    /// Send a letter to see whether the endpoint is back: it counts as no try.
    Probe(Letter),
    /// Go on along the log.
    Read,
    /// Nothing until then, or until something happens.
    Wait(Option<Moment>),
}

/// Where one webhook stands, what is not recorded yet included.
#[derive(Clone, Debug)]
pub struct Line {
    /// The webhook.
    pub id: StreamId,
    /// Whose it is.
    pub tenant: TenantId,
    seen: Version,
    /// As it is recorded.
    base: Progress,
    /// What came since.
    came: Progressed,
    /// Both together.
    progress: Progress,
    /// When it was last tried to record what came.
    tried_at: Moment,
    /// The endpoint wants to be left alone until then.
    not_before: Moment,
    probe_at: Moment,
}

impl Line {
    /// Where a webhook stands, by what is recorded.
    #[must_use]
    pub fn new(id: StreamId, tenant: TenantId, seen: Version, live: &Webhook, now: Moment) -> Self {
        let base = live.progress.clone();
        let came = nothing_after(&base);
        Self { id, tenant, seen, progress: base.clone(), base, came, tried_at: now, not_before: now, probe_at: now }
    }

    /// Takes in what was recorded meanwhile: what came of sending, and what is to be sent again.
    pub fn sync(&mut self, version: Version, live: &Webhook) {
        if version == self.seen {
            return;
        }
        (self.seen, self.base) = (version, live.progress.clone());
        if self.came.turn != self.base.turn {
            // It goes on from another place than this line did.
            (self.came.turn, self.came.through) = (self.base.turn, self.base.through);
        }
        self.refresh();
    }

    fn refresh(&mut self) {
        self.progress = self.base.clone();
        self.progress.take(&self.came);
    }

    /// Where it stands.
    #[must_use]
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// What is done next; `last` is the latest event of any connection of the tenant.
    #[must_use]
    pub fn next(&self, now: Moment, last: Position) -> Step {
        let progress = &self.progress;
        let oldest = progress.retrying.values().min_by_key(|retry| (retry.due, retry.letter));
        let due = oldest.map(|retry| retry.due);
        let reads = progress.through < last;
        if now < self.not_before {
            let waits = due.is_some() || reads || !progress.replaying.is_empty();
            return Step::Wait(waits.then_some(self.not_before));
        }
        match oldest {
            Some(retry) if retry.due <= now => Step::Send(retry.letter),
            Some(retry) if progress.is_stopped() && self.probe_at <= now => Step::Probe(retry.letter),
            Some(retry) if progress.is_stopped() => Step::Wait(Some(self.probe_at.min(retry.due))),
            _ => match progress.replaying.get_min() {
                Some(letter) => Step::Send(*letter),
                None if reads => Step::Read,
                None => Step::Wait(due),
            },
        }
    }

    /// When there is something to do; `None`: when something happens. `position` is that of the views in which `last` is the latest event of any
    /// connection: a line that has seen to that one has nothing to read in between.
    pub fn due(&mut self, now: Moment, last: Position, position: Position) -> Option<Moment> {
        if self.progress.through >= last {
            self.advance(position);
        }
        match self.next(now, last) {
            Step::Wait(until) => until,
            Step::Send(_) | Step::Probe(_) | Step::Read => Some(now),
        }
    }

    /// Whether a letter of an event that is read is to be sent now: one that failed already has its own time.
    #[must_use]
    pub fn takes(&self, letter: Letter) -> bool {
        !self.progress.retrying.contains_key(&letter)
    }

    /// How often a letter was tried.
    #[must_use]
    pub fn tries(&self, letter: Letter) -> u32 {
        self.progress.retrying.get(&letter).map_or(0, |retry| retry.tries)
    }

    /// All events through this one were seen to.
    pub fn advance(&mut self, through: Position) {
        self.came.through = self.came.through.max(through);
        self.progress.through = self.came.through;
    }

    /// Takes note of how an attempt ended. `chance` spreads the next ones, and is the same whenever the same attempt ends.
    pub fn ended(&mut self, letter: Letter, sent: &Sent, probe: bool, now: Moment, chance: u16) {
        match sent {
            // Nothing is tried until somebody enables it, and then it goes on where it stood.
            Sent::Gone { .. } => return,
            Sent::Taken { .. } => {
                let was_down = self.progress.failures >= STOPS_AFTER;
                let known =
                    self.progress.retrying.contains_key(&letter) || self.progress.replaying.contains(&letter) || self.progress.dead.contains_key(&letter);
                self.came.deliver(letter, known, now);
                if was_down {
                    self.bring_forward(letter, now);
                }
            }
            Sent::Failed { cause, status, pause } => {
                let failed = Failed { at: now, cause: cause.clone(), status: *status };
                self.came.failures = self.progress.failures.saturating_add(1);
                self.came.failed = Some(failed.clone());
                if self.came.failures >= STOPS_AFTER {
                    self.probe_at = now.plus_seconds(PROBE);
                }
                let pause = pause.map(|seconds| now.plus_seconds(seconds.clamp(0, LONGEST_PAUSE)));
                self.not_before = pause.unwrap_or(now);
                if !probe {
                    self.put_back(letter, failed, pause, chance);
                }
            }
        }
        self.refresh();
    }

    /// The endpoint is back: whatever waits is due now.
    fn bring_forward(&mut self, delivered: Letter, now: Moment) {
        let waiting: Vec<Retry> = self.progress.retrying.values().filter(|retry| retry.letter != delivered && retry.due > now).cloned().collect();
        for retry in waiting {
            self.came.retry(Retry { due: now, ..retry });
        }
    }

    fn put_back(&mut self, letter: Letter, last: Failed, pause: Option<Moment>, chance: u16) {
        let (tries, now) = (self.tries(letter) + 1, last.at);
        let wait = usize::try_from(tries).ok().and_then(|tries| WAITS.get(tries - 1));
        match wait {
            Some(seconds) => {
                let millis = seconds * 1000;
                let due = now.plus_millis(millis + millis * i64::from(chance) / (SPREAD * i64::from(u16::MAX)));
                self.came.retry(Retry { letter, tries, due: pause.map_or(due, |pause| due.max(pause)) });
            }
            None => self.came.give_up(Dead { letter, tries, last }),
        }
    }

    /// Nothing is done before then.
    pub const fn leave_alone(&mut self, until: Moment) {
        self.not_before = until;
    }

    /// When what came of sending is to be recorded; `None`: there is nothing to record.
    #[must_use]
    pub fn record_due(&self) -> Option<Moment> {
        let lags = self.came.through.0.saturating_sub(self.base.through.0) >= LAG;
        let many = self.came.done.len() + self.came.dead.len() >= MOST_UNRECORDED;
        (self.came.tells_of_letters() || lags).then(|| self.tried_at.plus_seconds(if many { 1 } else { RECORD }))
    }

    /// What is to be recorded.
    #[must_use]
    pub const fn unrecorded(&self) -> &Progressed {
        &self.came
    }

    /// It is recorded.
    pub fn recorded(&mut self, now: Moment) {
        self.base = self.progress.clone();
        self.came = nothing_after(&self.base);
        self.tried_at = now;
    }

    /// It could not be recorded: that is tried again later.
    pub const fn not_recorded(&mut self, now: Moment) {
        self.tried_at = now;
    }
}

fn nothing_after(base: &Progress) -> Progressed {
    Progressed { turn: base.turn, through: base.through, failures: base.failures, ..Progressed::default() }
}

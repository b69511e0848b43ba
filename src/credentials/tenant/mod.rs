//! Tenant: who owns credentials. Its stream is owned by the system tenant and names the tenant in its event.

use serde::{Deserialize, Serialize};

use super::Subject;
use crate::kernel::{Claim, Header, Moment, Plan, Refusal, StreamId, TenantId, Write};

/// Stored on every event: never change it.
pub const NAME: &str = "tenant";
/// The longest name, in bytes.
pub const MAX_NAME: usize = 63;
/// The shortest wait before a tenant's end, in seconds: an hour, in which somebody may notice and cancel it.
pub const MIN_WAIT: u64 = 3600;
/// The longest wait before a tenant's end, in seconds: a year.
pub const MAX_WAIT: u64 = 366 * 24 * 3600;

/// What is asked.
pub enum Command {
    /// Make it.
    Create {
        /// Its id, as headers bear it.
        tenant: TenantId,
        /// Its name.
        name: String,
    },
    /// Refuse all its principals.
    Suspend,
    /// Let them in again.
    Resume,
    /// Have all of it destroyed, once somebody else says so too and the wait is over.
    RequestShred {
        /// Who asks.
        by: StreamId,
        /// Seconds between the other one's word and the end.
        wait: u64,
        /// Why.
        reason: String,
    },
    /// Somebody else says so too.
    ApproveShred {
        /// Who.
        by: StreamId,
        /// When.
        now: Moment,
    },
    /// It stays.
    CancelShred,
    /// The wait is over: nothing is left of what it owns.
    Shred {
        /// When.
        now: Moment,
    },
}

/// What happened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It may own things from now on.
    Created {
        /// Its id, as headers bear it.
        tenant: TenantId,
        /// `system`, `default`, or a name of choice; unique in the vault.
        name: String,
    },
    /// All its principals are refused.
    Suspended,
    /// They are let in again.
    Resumed,
    /// Somebody wants all of it destroyed. Its principals are refused from now on.
    ShredRequested {
        /// Who.
        by: StreamId,
        /// Seconds between the other one's word and the end.
        wait: u64,
        /// Why.
        reason: String,
    },
    /// Somebody else wants it too.
    ShredApproved {
        /// Who.
        by: StreamId,
        /// Not before then.
        due: Moment,
    },
    /// It stays. Its principals are let in again, unless it is suspended.
    ShredCancelled,
    /// Nothing is left of what it owned.
    Shredded,
}

impl Event {
    /// Its stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Suspended => "suspended",
            Self::Resumed => "resumed",
            Self::ShredRequested { .. } => "shred_requested",
            Self::ShredApproved { .. } => "shred_approved",
            Self::ShredCancelled => "shred_cancelled",
            Self::Shredded => "shredded",
        }
    }
}

/// Its life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Not made yet.
    #[default]
    Absent,
    /// Owns things.
    Live {
        /// Its id, as headers bear it.
        tenant: TenantId,
        /// Its name.
        name: Box<str>,
        /// Since when its principals are refused; `None`: they are not.
        suspended_at: Option<Moment>,
        /// Since when.
        created_at: Moment,
        /// The end that somebody wants for it.
        #[serde(default)]
        shred: Option<Box<Shredding>>,
    },
    /// Nothing is left of what it owned.
    Shredded {
        /// Its id, as headers bear it.
        tenant: TenantId,
        /// Its name; another tenant may have it by now.
        name: Box<str>,
        /// Since when.
        at: Moment,
    },
}

/// The end that somebody wants for a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shredding {
    /// Who asked.
    pub by: StreamId,
    /// When.
    pub at: Moment,
    /// Seconds between the other one's word and the end.
    pub wait: u64,
    /// Why.
    pub reason: String,
    /// Who else said so, and when the end comes.
    pub approved: Option<(StreamId, Moment)>,
}

/// Names are unique in the vault.
#[must_use]
pub fn claim(name: &str) -> Claim {
    Claim::exact(NAME, &[], name)
}

/// The rules. `home` is the first tenant: it is never suspended, since nobody could resume it.
pub fn decide(subject: Subject, state: &State, home: TenantId, command: Command) -> Result<Plan<Event>, Refusal> {
    let change = |event| Write::change(subject.stream, subject.version, event);
    match (state, command) {
        (State::Absent, Command::Create { tenant, name }) => {
            let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte != b'-');
            if name.len() > MAX_NAME || !name.bytes().all(fits) || !ends(name.bytes().next()) || !ends(name.bytes().last()) {
                return Err(Refusal::invalid("name", format!("takes 1 to {MAX_NAME} of a to z, 0 to 9 and -, and neither begins nor ends with -")));
            }
            let claim = claim(&name);
            Ok(Plan::of(change(Event::Created { tenant, name }).taking(claim)))
        }
        (State::Live { .. } | State::Shredded { .. }, Command::Create { .. }) => Err(Refusal::AlreadyExists),
        (State::Live { tenant, .. }, Command::Suspend) if [home, TenantId::SYSTEM].contains(tenant) => {
            Err(Refusal::InvalidState("the first tenant is never suspended: nobody could resume it".into()))
        }
        (State::Live { suspended_at: Some(_), .. }, Command::Suspend) | (State::Live { suspended_at: None, .. }, Command::Resume) => Ok(Plan::nothing()),
        (State::Live { .. }, Command::Suspend) => Ok(Plan::of(change(Event::Suspended))),
        (State::Live { .. }, Command::Resume) => Ok(Plan::of(change(Event::Resumed))),
        (State::Live { tenant, shred, name, .. }, command) => match shredding(*tenant, shred.as_deref(), home, command)? {
            // Its name is free: nothing of it is left.
            Event::Shredded => Ok(Plan::of(change(Event::Shredded).freeing(claim(name)))),
            event => Ok(Plan::of(change(event))),
        },
        (State::Shredded { .. }, _) => Err(Refusal::Shredded),
        (State::Absent, _) => Err(Refusal::NotFound),
    }
}

/// The way to a tenant's end: two people and a wait.
fn shredding(tenant: TenantId, shred: Option<&Shredding>, home: TenantId, command: Command) -> Result<Event, Refusal> {
    let no = |text: &str| Err(Refusal::InvalidState(text.into()));
    match (shred, command) {
        (_, Command::RequestShred { .. }) if [home, TenantId::SYSTEM].contains(&tenant) => no("the first tenant is never shredded: it runs the vault"),
        (None, Command::RequestShred { by, wait, reason }) if (MIN_WAIT..=MAX_WAIT).contains(&wait) => Ok(Event::ShredRequested { by, wait, reason }),
        (None, Command::RequestShred { .. }) => Err(Refusal::invalid("wait_seconds", format!("takes {MIN_WAIT} to {MAX_WAIT}"))),
        (Some(_), Command::RequestShred { .. }) => no("its end was asked for already"),
        (Some(Shredding { by: asked, approved: None, .. }), Command::ApproveShred { by, .. }) if *asked == by => {
            Err(Refusal::Forbidden { permission: "another person than the one who asked" })
        }
        (Some(Shredding { wait, approved: None, .. }), Command::ApproveShred { by, now }) => {
            Ok(Event::ShredApproved { by, due: now.plus_seconds(i64::try_from(*wait).unwrap_or(i64::MAX)) })
        }
        (Some(_), Command::ApproveShred { .. }) => no("it was approved already"),
        (Some(_), Command::CancelShred) => Ok(Event::ShredCancelled),
        (Some(Shredding { approved: Some((_, due)), .. }), Command::Shred { now }) if *due <= now => Ok(Event::Shredded),
        (Some(_), Command::Shred { .. }) => no("its end has not come"),
        (None, _) => no("nobody has asked for its end"),
        _ => no("not possible now"),
    }
}

/// The state after the event.
#[must_use]
pub fn evolve(state: State, header: &Header, event: Event) -> State {
    match (event, state) {
        (Event::Created { tenant, name }, _) => State::Live { tenant, name: name.into(), suspended_at: None, created_at: header.recorded_at, shred: None },
        (Event::Suspended, State::Live { tenant, name, created_at, shred, .. }) => {
            State::Live { tenant, name, suspended_at: Some(header.recorded_at), created_at, shred }
        }
        (Event::Resumed, State::Live { tenant, name, created_at, shred, .. }) => State::Live { tenant, name, suspended_at: None, created_at, shred },
        (Event::ShredRequested { by, wait, reason }, State::Live { tenant, name, suspended_at, created_at, .. }) => {
            let shred = Some(Box::new(Shredding { by, at: header.recorded_at, wait, reason, approved: None }));
            State::Live { tenant, name, suspended_at, created_at, shred }
        }
        (Event::ShredApproved { by, due }, State::Live { tenant, name, suspended_at, created_at, shred: Some(shred) }) => {
            let shred = Some(Box::new(Shredding { approved: Some((by, due)), ..*shred }));
            State::Live { tenant, name, suspended_at, created_at, shred }
        }
        (Event::ShredCancelled, State::Live { tenant, name, suspended_at, created_at, .. }) => {
            State::Live { tenant, name, suspended_at, created_at, shred: None }
        }
        (Event::Shredded, State::Live { tenant, name, .. }) => State::Shredded { tenant, name, at: header.recorded_at },
        (_, state) => state,
    }
}

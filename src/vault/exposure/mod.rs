//! Exposure: of one version of a credential's secrets, when it was in use, who could read or use it then, who did, what came of it, and what to
//! change. Read from the log alone; what the log does not tell is said.

mod holders;
mod life;
mod rotate;

pub use holders::{Holder, Span};
pub use life::{Brought, Deed, How, Stopped};
pub use rotate::Todo;

use std::collections::BTreeSet;

use super::access::{Principal, Resource, authorize};
use super::{Busy, Descent, Vault, VaultError};
use crate::credentials::{AnyState, Kind, connection};
use crate::kernel::{Moment, Permission, Position, Refusal, StreamId, Version};
use crate::views::CREDENTIALS;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The version of the credential that brought the secret; the latest one with a secret in use when absent.
    pub version: Option<Version>,
    /// The secret's name; all that the version brought when absent.
    pub name: Option<String>,
}

/// From when to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The event that brought the secrets.
    pub from: (Position, Moment),
    /// When the last of them stopped, and the event that says so; `None` while one is in use.
    pub to: Option<(Position, Moment)>,
}

impl Window {
    /// Whether a moment lies within it.
    fn holds(&self, at: Moment) -> bool {
        at >= self.from.1 && self.to.is_none_or(|(_, to)| at <= to)
    }
}

/// What there is to say of a version of a credential.
pub struct Exposure {
    /// Its kind.
    pub kind: &'static str,
    /// The version that brought the secrets.
    pub version: Version,
    /// The secrets.
    pub secrets: Vec<Brought>,
    /// When they were in use.
    pub window: Window,
    /// Who could read or use them then.
    pub could: Vec<Holder>,
    /// Who did, and who put them in, oldest first.
    pub did: Vec<Deed>,
    /// Exchanges whose tokens came of them, oldest first.
    pub tokens: Vec<Descent>,
    /// What to change, in this order.
    pub rotate: Vec<Todo>,
    /// What the log does not tell.
    pub unknown: Vec<&'static str>,
}

impl Vault {
    /// The exposure of a version of a credential, as the log tells it through a position.
    pub async fn exposure(&self, principal: &Principal, id: StreamId, wanted: &Wanted, through: Position) -> Result<Result<Exposure, Busy>, VaultError> {
        let views = self.views();
        let entry = views.thing(id).filter(|entry| entry.first <= through).ok_or(Refusal::NotFound)?;
        for permission in [Permission::AuditRead, Permission::HistoryRead] {
            authorize(principal, permission, Resource { tenant: entry.tenant, app: app_of(&entry.state) })?;
        }
        let kind = entry.state.sort().filter(|kind| CREDENTIALS.contains(kind)).ok_or(Refusal::NotFound)?;
        let life = self.life(entry, through).await?;
        let (version, secrets) = life.version(wanted).ok_or(Refusal::NotFound)?;
        let from = secrets.iter().map(|secret| (secret.position, secret.at)).min().ok_or(Refusal::NotFound)?;
        let ends: Option<Vec<_>> = secrets.iter().map(|secret| secret.stopped.as_ref().map(|stopped| (stopped.at, stopped.position))).collect();
        let window = Window { from, to: ends.and_then(|ends| ends.into_iter().max()).map(|(at, position)| (position, at)) };
        let Ok(found) = self.holders(id, entry, window, &secrets, through).await? else { return Ok(Err(Busy)) };
        let mut did = life.deeds(&secrets, window);
        did.extend(found.deeds);
        did.sort_by_key(|deed| deed.position);
        let lineage = if kind == Kind::Connection { self.lineage(principal, id, through).await? } else { Vec::new() };
        let tokens = came_of(lineage, &secrets, window);
        let rotate = rotate::todo(id, &entry.state, &secrets, &tokens, self.time(&views));
        let mut unknown = rotate::unknown(kind);
        if !life.complete {
            unknown.push("the credential has more events than are looked at: older secrets, and what became of them, may be missing");
        }
        if found.cut {
            unknown.push("there are more principals or uses than are told here");
        }
        Ok(Ok(Exposure { kind: kind.name(), version, secrets, window, could: found.could, did, tokens, rotate, unknown }))
    }
}

/// The application that a credential belongs to.
fn app_of(state: &AnyState) -> Option<&str> {
    match state {
        AnyState::Connection(connection::State::Live(live)) => Some(&live.key.app),
        AnyState::Connection(connection::State::Deleted { key, .. }) => Some(&key.app),
        _ => None,
    }
}

/// The exchanges that presented one of the secrets, or a token that came of one, oldest first.
fn came_of(lineage: Vec<Descent>, secrets: &[Brought], window: Window) -> Vec<Descent> {
    let mut presented: BTreeSet<Position> = secrets.iter().filter(|secret| secret.name == life::REFRESH).map(|secret| secret.position).collect();
    let settings = secrets.iter().any(|secret| secret.name.starts_with(life::SETTINGS));
    let mut found = Vec::new();
    for descent in lineage.into_iter().rev().filter(|descent| descent.failed.is_none()) {
        let by_token = descent.parent.is_some_and(|parent| presented.contains(&parent));
        // Whoever holds the client's secret can make such an exchange; this one was made with it.
        let by_setting = settings && descent.intent.is_some() && window.holds(descent.recorded_at);
        if by_token || by_setting {
            presented.insert(descent.position);
            found.push(descent);
        }
    }
    found
}

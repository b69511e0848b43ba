//! Where a connection's tokens came from and what became of them: read from its own events, newest first. Never a value.

use std::collections::BTreeMap;

use super::access::{Principal, Resource, authorize};
use super::{Vault, VaultError};
use crate::credentials::AnyEvent;
use crate::credentials::connection::{Event, Grant};
use crate::kernel::{Fingerprint, Header, KeyId, Moment, Permission, Position, Refusal, StreamId};

/// So many of a connection's latest events are looked at.
const SCAN: usize = 20_000;

/// An exchange or an import, and the tokens that it brought.
#[derive(Debug)]
pub struct Descent {
    /// Position of the event that tells of the result.
    pub position: Position,
    /// When.
    pub recorded_at: Moment,
    /// Who asked for it; all zero for the vault itself.
    pub actor: StreamId,
    /// How the tokens were asked for; `None` when they were imported.
    pub grant: Option<Grant>,
    /// Position of the intent of an exchange.
    pub intent: Option<Position>,
    /// Position of the event that brought what was presented for it.
    pub parent: Option<Position>,
    /// Why there are no tokens, and the HTTP status of the service's answer.
    pub failed: Option<(String, Option<u16>)>,
    /// Whether it is unknown what the service did.
    pub lost: bool,
    /// When the access token ends.
    pub expires_at: Option<Moment>,
    /// The access token.
    pub access: Option<Traced>,
    /// The refresh token.
    pub refresh: Option<Traced>,
}

/// One token.
#[derive(Clone, Debug)]
pub struct Traced {
    /// Keyed hash of the value: equal values of one tenant have equal ones.
    pub fingerprint: Fingerprint,
    /// What became of it.
    pub fate: Fate,
    /// Position of the event that ended it.
    pub ended_by: Option<Position>,
    /// Whether its key was destroyed.
    pub shredded: bool,
}

/// What became of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is in use.
    Current,
    /// It waits to be confirmed, or waited in vain.
    Waiting,
    /// It came too late and was not used.
    Late,
    /// Another took its place.
    Superseded,
    /// Its service had refused it for too long.
    Dropped,
    /// It was revoked.
    Revoked,
    /// The connection was deleted.
    Deleted,
}

impl Fate {
    /// As our own routes name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Waiting => "waiting",
            Self::Late => "late",
            Self::Superseded => "superseded",
            Self::Dropped => "dropped",
            Self::Revoked => "revoked",
            Self::Deleted => "deleted",
        }
    }
}

/// What ended the tokens that are older than where the walk stands.
#[derive(Clone, Copy, Default)]
struct Ends {
    access: Option<(Position, Fate)>,
    refresh: Option<(Position, Fate)>,
}

impl Ends {
    const fn both(at: Position, fate: Fate) -> Self {
        Self { access: Some((at, fate)), refresh: Some((at, fate)) }
    }
}

/// The walk, from the newest event to the oldest.
#[derive(Default)]
struct Walk {
    ends: Ends,
    /// What ended tokens that were confirmed, by their exchange.
    confirmed: BTreeMap<Position, Ends>,
    found: Vec<Descent>,
}

impl Walk {
    fn take(&mut self, header: &Header, event: Event) {
        let at = header.position;
        match event {
            Event::Deleted => self.ends = Ends::both(at, Fate::Deleted),
            Event::Dropped { .. } => self.ends = Ends::both(at, Fate::Dropped),
            Event::Revoked { .. } => self.ends = Ends::both(at, Fate::Revoked),
            Event::Confirmed { exchange, .. } => {
                self.confirmed.insert(exchange, self.ends);
                self.ends = Ends::both(at, Fate::Superseded);
            }
            Event::Imported { expires_at, .. } => {
                let tokens = self.tokens(header);
                self.found.push(Descent { expires_at, access: tokens.0, refresh: tokens.1, ..bare(header) });
            }
            Event::Exchanged { intent, expires_at, confirm, late, .. } => {
                let confirmed = self.confirmed.get(&at).copied();
                let (access, refresh) = match (late, confirm.is_some(), confirmed) {
                    (true, _, _) => traced(header, Ends::both(at, Fate::Late)),
                    (_, true, None) => traced(header, Ends::both(at, Fate::Waiting)),
                    (_, true, Some(ends)) => traced(header, ends),
                    _ => self.tokens(header),
                };
                let unended = |token: Option<Traced>| token.map(|token| Traced { ended_by: token.ended_by.filter(|by| *by != at), ..token });
                self.found.push(Descent { intent: Some(intent), expires_at, access: unended(access), refresh: unended(refresh), ..bare(header) });
            }
            Event::ExchangeFailed { intent, cause, status, .. } => {
                let intent = Some(intent).filter(|intent| *intent > Position::ZERO);
                self.found.push(Descent { intent, failed: Some((cause, status)), ..bare(header) });
            }
            Event::ExchangeLost { intent, cause } => {
                self.found.push(Descent { intent: Some(intent), failed: Some((cause, None)), lost: true, ..bare(header) });
            }
            Event::ExchangeStarted { grant, parent, .. } => {
                for descent in self.found.iter_mut().filter(|descent| descent.intent == Some(at)) {
                    (descent.grant, descent.parent) = (Some(grant), parent);
                }
            }
            _ => {}
        }
    }

    /// Tokens that were used at once: they took the place of older ones.
    fn tokens(&mut self, header: &Header) -> (Option<Traced>, Option<Traced>) {
        let (access, refresh) = traced(header, self.ends);
        let superseded = Some((header.position, Fate::Superseded));
        if access.is_some() {
            self.ends.access = superseded;
        }
        if refresh.is_some() {
            self.ends.refresh = superseded;
        }
        (access, refresh)
    }
}

fn bare(header: &Header) -> Descent {
    Descent {
        position: header.position,
        recorded_at: header.recorded_at,
        actor: header.actor,
        grant: None,
        intent: None,
        parent: None,
        failed: None,
        lost: false,
        expires_at: None,
        access: None,
        refresh: None,
    }
}

fn traced(header: &Header, ends: Ends) -> (Option<Traced>, Option<Traced>) {
    let one = |name: &str, end: Option<(Position, Fate)>| {
        let secret = header.secret(name)?;
        let (ended_by, fate) = end.map_or((None, Fate::Current), |(by, fate)| (Some(by), fate));
        Some(Traced { fingerprint: secret.fingerprint, fate, ended_by, shredded: false })
    };
    (one("access_token", ends.access), one("refresh_token", ends.refresh))
}

impl Vault {
    /// The exchanges and imports of a connection through a position, newest first.
    pub async fn lineage(&self, principal: &Principal, stream: StreamId, through: Position) -> Result<Vec<Descent>, VaultError> {
        let views = self.views();
        let entry = views.thing(stream).ok_or(Refusal::NotFound)?;
        authorize(principal, Permission::HistoryRead, Resource { tenant: entry.tenant, app: None })?;
        let (mut walk, mut at, mut keys) = (Walk::default(), entry.last, BTreeMap::new());
        for _ in 0..SCAN {
            let Some(record) = self.log.fetch(&[at]).await?.pop() else { break };
            let header = record.header();
            if header.position <= through {
                keys.extend(header.secrets.iter().map(|secret| ((header.position, secret.name.clone()), secret.key)));
                if let Some(AnyEvent::Connection(event)) = self.opener.event(&record)? {
                    walk.take(header, event);
                }
            }
            at = header.previous;
        }
        let mut found = walk.found;
        let all: Vec<KeyId> = keys.values().copied().collect();
        let owner = entry.tenant;
        let dead = self.sequencer.look(move |index| all.into_iter().filter(|key| index.is_shredded(owner, *key)).collect::<Vec<_>>()).await;
        let dead = dead.ok_or_else(|| VaultError::Stopped("the sequencer has stopped".into()))?;
        for descent in &mut found {
            let position = descent.position;
            for (name, token) in [("access_token", &mut descent.access), ("refresh_token", &mut descent.refresh)] {
                let key = keys.get(&(position, name.to_owned()));
                if let (Some(token), Some(key)) = (token.as_mut(), key) {
                    token.shredded = dead.contains(key);
                }
            }
        }
        Ok(found)
    }
}

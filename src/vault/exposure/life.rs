//! The life of a credential's secrets: which event brought each, and which ended it, by the one fold over the credential's own events.

use super::{Wanted, Window};
use crate::credentials::connection::{Event as OfConnection, Grant};
use crate::credentials::issued::{SecretId, TokenType};
use crate::credentials::{AnyEvent, AnyState, Meta, api_client, connection, integration, provider_key};
use crate::kernel::{Fingerprint, Header, Moment, Position, SecretRef, StreamId, Version};
use crate::seal::Record;
use crate::vault::{Vault, VaultError};
use crate::views::{Entry, REPLAY};

/// So many of a credential's latest events are looked at.
const SCAN: usize = 20_000;
/// The box of a connection's refresh token, and of its access token.
pub(super) const REFRESH: &str = "refresh_token";
pub(super) const ACCESS: &str = "access_token";
/// What the boxes of settings begin with.
pub(super) const SETTINGS: &str = "settings.";

/// A secret, and when it was in use.
#[derive(Clone, Debug)]
pub struct Brought {
    /// The name of its box, or of what was shown once.
    pub name: String,
    /// The version that brought it.
    pub version: Version,
    /// The event that brought it.
    pub position: Position,
    /// When.
    pub at: Moment,
    /// Who put it in, or was shown it.
    pub actor: StreamId,
    /// How that came about.
    pub meta: Meta,
    /// Keyed hash of the value, where the value is kept.
    pub fingerprint: Option<Fingerprint>,
    /// Names it, where this vault issued it.
    pub id: Option<SecretId>,
    /// When it ended; `None` while it is in use.
    pub stopped: Option<Stopped>,
    /// When it ends by itself, as far as that is known.
    pub expires_at: Option<Moment>,
}

/// The end of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The event that ended it.
    pub position: Position,
    /// When it stopped: with the event, or later, where that let it work on.
    pub at: Moment,
    /// What the event says.
    pub by: String,
}

/// What was done with a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was put in, or shown once when it was made.
    Brought,
    /// It was shown.
    Revealed,
    /// It was presented to the service for tokens.
    Exchanged,
    /// Calls were passed through with it.
    Proxied,
    /// It was tried out at the service.
    Validated,
    /// It was presented to this vault.
    Used,
}

impl How {
    /// As our own routes name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brought => "brought",
            Self::Revealed => "revealed",
            Self::Exchanged => "exchanged",
            Self::Proxied => "proxied",
            Self::Validated => "validated",
            Self::Used => "used",
        }
    }
}

/// Something that was done with a secret.
#[derive(Clone, Debug)]
pub struct Deed {
    /// The event that says so.
    pub position: Position,
    /// When, the last time if it tells of several.
    pub at: Moment,
    /// Who: all zero for the vault itself; `None` where that is not recorded.
    pub actor: Option<StreamId>,
    /// What.
    pub how: How,
    /// With which of the secrets, as far as that is recorded.
    pub secrets: Vec<String>,
    /// How often.
    pub count: u64,
    /// For which connection, where that is another thing.
    pub connection: Option<StreamId>,
    /// How it came about.
    pub meta: Meta,
}

/// What an event says of uses.
enum Sort {
    Revealed(Vec<(Position, String)>),
    Exchanged(Grant, Option<Position>),
    Proxied(u64, Moment),
    Validated,
}

/// An event that tells of a use.
struct Told {
    position: Position,
    at: Moment,
    actor: StreamId,
    meta: Meta,
    sort: Sort,
}

/// A secret as a state holds it.
struct Held {
    name: String,
    /// Where it lies; of an issued one, which it is.
    place: Result<Position, SecretId>,
    /// When it stops although it is held.
    stops_at: Option<Moment>,
    expires_at: Option<Moment>,
}

/// All secrets of a credential, oldest first, and what was done.
pub(super) struct Life {
    brought: Vec<Brought>,
    told: Vec<Told>,
    /// Whether all events were looked at.
    pub complete: bool,
}

impl Vault {
    pub(super) async fn life(&self, entry: &Entry, through: Position) -> Result<Life, VaultError> {
        let (mut records, mut at, mut seen): (Vec<Record>, _, _) = (Vec::new(), entry.last, 0);
        while at > Position::ZERO && seen < SCAN {
            let Some(record) = self.log.fetch(&[at]).await?.pop() else { break };
            at = record.header().previous;
            seen += 1;
            if record.header().position <= through {
                records.push(record);
            }
        }
        let mut life = Life { brought: Vec::new(), told: Vec::new(), complete: at == Position::ZERO };
        let mut state = AnyState::Absent;
        for record in records.into_iter().rev() {
            let Some(opened) = self.opener.open_unless_shredded(&record)? else { continue };
            let (header, stored) = (record.header(), opened.stored);
            if let Some(sort) = sort(&stored.event) {
                life.told.push(Told { position: header.position, at: header.recorded_at, actor: header.actor, meta: stored.meta.clone(), sort });
            }
            state = state.evolve(header, stored.event);
            life.take(header, &stored.meta, &state);
        }
        Ok(life)
    }
}

impl Life {
    /// What an event did to the secrets.
    fn take(&mut self, header: &Header, meta: &Meta, state: &AnyState) {
        let held = held(state);
        let same = |known: &Brought, held: &Held| match held.place {
            Ok(position) => known.id.is_none() && known.position == position && known.name == held.name,
            Err(id) => known.id == Some(id),
        };
        for known in &mut self.brought {
            match held.iter().find(|held| same(known, held)) {
                Some(held) => {
                    known.expires_at = held.expires_at;
                    let before = known.stopped.take().filter(|stopped| Some(stopped.at) == held.stops_at);
                    known.stopped = before.or_else(|| held.stops_at.map(|at| Stopped { position: header.position, at, by: header.event_type.clone() }));
                }
                None if known.stopped.as_ref().is_none_or(|stopped| stopped.at > header.recorded_at) => {
                    known.stopped = Some(Stopped { position: header.position, at: header.recorded_at, by: header.event_type.clone() });
                }
                None => {}
            }
        }
        let brought = |name: &str| Brought {
            name: name.to_owned(),
            version: header.version,
            position: header.position,
            at: header.recorded_at,
            actor: header.actor,
            meta: meta.clone(),
            fingerprint: header.secret(name).map(|secret| secret.fingerprint),
            id: None,
            stopped: None,
            expires_at: None,
        };
        for held in &held {
            if !self.brought.iter().any(|known| same(known, held)) {
                let (id, expires_at) = (held.place.err(), held.expires_at);
                let stopped = held.stops_at.map(|at| Stopped { position: header.position, at, by: header.event_type.clone() });
                self.brought.push(Brought { id, stopped, expires_at, ..brought(&held.name) });
            }
        }
        // What was sealed and never came into use, such as tokens that came too late.
        for secret in header.secrets.iter().filter(|secret| secret.name != REPLAY) {
            let known = self.brought.iter().any(|known| known.position == header.position && known.name == secret.name);
            if !known {
                let stopped = Stopped { position: header.position, at: header.recorded_at, by: header.event_type.clone() };
                self.brought.push(Brought { stopped: Some(stopped), ..brought(&secret.name) });
            }
        }
    }

    /// The secrets of the version that is asked for, and which one that is.
    pub fn version(&self, wanted: &Wanted) -> Option<(Version, Vec<Brought>)> {
        let named = |secret: &&Brought| wanted.name.as_ref().is_none_or(|name| *name == secret.name);
        let latest = |in_use: bool| self.brought.iter().filter(named).filter(|secret| !in_use || secret.stopped.is_none()).map(|secret| secret.version).max();
        let version = wanted.version.or_else(|| latest(true)).or_else(|| latest(false))?;
        let secrets: Vec<Brought> = self.brought.iter().filter(named).filter(|secret| secret.version == version).cloned().collect();
        (!secrets.is_empty()).then_some((version, secrets))
    }

    /// What was done with secrets of one version, as far as the credential's own events tell it.
    pub fn deeds(&self, secrets: &[Brought], window: Window) -> Vec<Deed> {
        let names = |fits: &dyn Fn(&Brought) -> bool| secrets.iter().filter(|secret| fits(secret)).map(|secret| secret.name.clone()).collect::<Vec<String>>();
        let mut deeds: Vec<Deed> = Vec::new();
        if let Some(first) = secrets.first() {
            let (actor, meta) = (Some(first.actor), first.meta.clone());
            let deed = Deed { position: first.position, at: first.at, actor, how: How::Brought, secrets: names(&|_| true), count: 1, connection: None, meta };
            deeds.push(deed);
        }
        for told in &self.told {
            let is_setting = |secret: &Brought| secret.name.starts_with(SETTINGS);
            let (how, of, count, at) = match &told.sort {
                Sort::Revealed(shown) => {
                    let was_shown = |secret: &Brought| shown.iter().any(|(position, name)| *position == secret.position && *name == secret.name);
                    (How::Revealed, names(&was_shown), 1, told.at)
                }
                Sort::Exchanged(grant, parent) => {
                    let presented = |secret: &Brought| secret.name == REFRESH && *grant == Grant::RefreshToken && *parent == Some(secret.position);
                    let with = |secret: &Brought| is_setting(secret) && window.holds(told.at);
                    (How::Exchanged, names(&|secret| presented(secret) || with(secret)), 1, told.at)
                }
                // Written within a minute: the event may come after the window's end.
                Sort::Proxied(count, last) => {
                    let with = |secret: &Brought| (secret.name == ACCESS || is_setting(secret)) && window.holds(*last);
                    (How::Proxied, names(&with), *count, *last)
                }
                Sort::Validated => (How::Validated, names(&|_| window.holds(told.at)), 1, told.at),
            };
            if !of.is_empty() {
                let (actor, meta) = (Some(told.actor), told.meta.clone());
                deeds.push(Deed { position: told.position, at, actor, how, secrets: of, count, connection: None, meta });
            }
        }
        deeds
    }
}

/// What an event says of uses.
fn sort(event: &AnyEvent) -> Option<Sort> {
    let shown = |secrets: &[SecretRef]| Sort::Revealed(secrets.iter().map(|secret| (secret.position, secret.name.clone())).collect());
    Some(match event {
        AnyEvent::Connection(OfConnection::Revealed { secret })
        | AnyEvent::ProviderKey(provider_key::Event::Revealed { secret })
        | AnyEvent::Integration(integration::Event::Revealed { secret }) => shown(std::slice::from_ref(secret)),
        AnyEvent::ApiClient(api_client::Event::Revealed { secrets }) => shown(secrets),
        AnyEvent::Connection(OfConnection::ExchangeStarted { grant, parent, .. }) => Sort::Exchanged(*grant, *parent),
        AnyEvent::Connection(OfConnection::Used { calls }) => {
            Sort::Proxied(calls.iter().map(|calls| calls.count).sum(), calls.iter().map(|calls| calls.last).max().unwrap_or_default())
        }
        AnyEvent::Connection(OfConnection::Validated { .. }) => Sort::Validated,
        _ => return None,
    })
}

/// The secrets that a state holds.
fn held(state: &AnyState) -> Vec<Held> {
    let Some(bearer) = state.bearer() else {
        let ends = |secret: &SecretRef| match state {
            AnyState::Connection(connection::State::Live(live)) => live.access.as_ref().filter(|access| access.secret == *secret)?.expires_at,
            _ => None,
        };
        let one = |secret: &SecretRef| Held { name: secret.name.clone(), place: Ok(secret.position), stops_at: None, expires_at: ends(secret) };
        return state.secrets().into_iter().map(one).collect();
    };
    let generations = std::iter::once(&bearer.issued.current).chain(bearer.issued.earlier());
    let of = |kind| match kind {
        TokenType::Key | TokenType::Session => "token",
        TokenType::Application => "client_secret",
        TokenType::Client => api_client::SECRET,
        TokenType::OauthClient => api_client::OAUTH_SECRET,
    };
    let all = generations.flat_map(|generation| generation.secrets.iter().map(move |secret| (secret, generation.ends_at)));
    all.map(|(secret, stops_at)| Held { name: of(secret.kind).to_owned(), place: Err(secret.id), stops_at, expires_at: bearer.expires_at }).collect()
}

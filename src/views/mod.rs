//! Views: what the fold leaves in memory. One snapshot is consistent and costs no lock.

mod catch_up;
mod live;
mod opener;
mod roots;
mod snapshot;
mod state_hash;

pub use catch_up::{CatchUpError, Progress, catch_up};
pub use live::Live;
pub use opener::{FoldCause, FoldError, Opened, Opener};
pub use roots::Root;
pub use snapshot::{Snapshot, SnapshotError};
pub use state_hash::StateHash;

use std::sync::Arc;

use imbl::{HashMap, OrdMap};
use serde::{Deserialize, Serialize};

use crate::credentials::{AnyEvent, AnyState, api_key, connection, connector, consumer, tenant, user};
use crate::kernel::{Class, Header, KeyId, Moment, Position, StreamId, TenantId, Version};

/// One thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its owner.
    pub tenant: TenantId,
    /// Of its latest event.
    pub version: Version,
    /// Of its latest change: what an `ETag` shows.
    pub content_version: Version,
    /// Position of its first event: a numeric id that is never used again.
    pub first: Position,
    /// Position of its latest event: where its history begins, read backwards.
    pub last: Position,
    /// The key of all its facts.
    pub facts_key: KeyId,
    /// Its state.
    pub state: AnyState,
}

/// Name of a connector: tenant, API family, service.
type ConnectorName = (TenantId, String, String);
/// Name of a consumer: tenant, application, consumer.
type ConsumerName = (TenantId, Arc<str>, Arc<str>);
/// A secret that is no longer in use: when its key is due to die, where it lies.
type Due = (Moment, Position, String);

/// Superseded access tokens die so many seconds after their expiry.
const KEPT_AFTER_EXPIRY: i64 = 24 * 3600;
/// Superseded tokens without a known expiry die after the undo window of 30 days.
const UNDO_WINDOW: i64 = 30 * 24 * 3600;

/// All read models, as of one position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Views {
    position: Position,
    recorded_at: Moment,
    things: HashMap<StreamId, Arc<Entry>>,
    tenants: OrdMap<String, TenantId>,
    users: OrdMap<(TenantId, String), StreamId>,
    tokens: HashMap<String, StreamId>,
    connectors: OrdMap<ConnectorName, StreamId>,
    consumers: OrdMap<ConsumerName, StreamId>,
    connections: OrdMap<(TenantId, Arc<connection::Key>), StreamId>,
    credentials: OrdMap<(TenantId, Position), StreamId>,
    vault: Option<StreamId>,
    retired: OrdMap<Due, StreamId>,
}

impl Views {
    /// The position that they reflect.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// When that event was taken.
    #[must_use]
    pub const fn recorded_at(&self) -> Moment {
        self.recorded_at
    }

    /// A thing by its id.
    #[must_use]
    pub fn thing(&self, id: StreamId) -> Option<&Arc<Entry>> {
        self.things.get(&id)
    }

    /// All things, in no order.
    pub fn things(&self) -> impl Iterator<Item = (&StreamId, &Arc<Entry>)> {
        self.things.iter()
    }

    /// A tenant by its name.
    #[must_use]
    pub fn tenant(&self, name: &str) -> Option<TenantId> {
        self.tenants.get(name).copied()
    }

    /// A user by login.
    #[must_use]
    pub fn user(&self, tenant: TenantId, login: &str) -> Option<StreamId> {
        self.users.get(&(tenant, login.to_owned())).copied()
    }

    /// The thing that a token's id names.
    #[must_use]
    pub fn token(&self, id: &str) -> Option<StreamId> {
        self.tokens.get(id).copied()
    }

    /// A connector as a tenant sees it: its own, else the shipped one.
    #[must_use]
    pub fn connector(&self, tenant: TenantId, unified_api: &str, service_id: &str) -> Option<(StreamId, &connector::Connector)> {
        let named = |owner| self.connectors.get(&(owner, unified_api.to_owned(), service_id.to_owned()));
        let id = *named(tenant).or_else(|| named(TenantId::SYSTEM))?;
        match &self.thing(id)?.state {
            AnyState::Connector(connector::State::Live(connector)) => Some((id, connector)),
            _ => None,
        }
    }

    /// All connectors that a tenant sees, by API family and service.
    pub fn connectors(&self, tenant: TenantId) -> impl Iterator<Item = &connector::Connector> {
        let names: std::collections::BTreeSet<(&str, &str)> = self
            .connectors
            .keys()
            .filter(|(owner, _, _)| [tenant, TenantId::SYSTEM].contains(owner))
            .map(|(_, api, service)| (api.as_str(), service.as_str()))
            .collect();
        names.into_iter().filter_map(move |(api, service)| self.connector(tenant, api, service).map(|(_, connector)| connector))
    }

    /// A consumer by its name.
    #[must_use]
    pub fn consumer(&self, tenant: TenantId, app: &str, consumer: &str) -> Option<StreamId> {
        self.consumers.get(&(tenant, app.into(), consumer.into())).copied()
    }

    /// An application's consumers, by id.
    pub fn consumers(&self, tenant: TenantId, app: &str) -> impl Iterator<Item = &consumer::Consumer> {
        let first: ConsumerName = (tenant, app.into(), "".into());
        let of_app = self.consumers.range(first.clone()..).take_while(move |((owner, other, _), _)| *owner == first.0 && *other == first.1);
        of_app.filter_map(|(_, id)| match &self.thing(*id)?.state {
            AnyState::Consumer(consumer::State::Live(live)) => Some(live),
            _ => None,
        })
    }

    /// A connection by its name.
    #[must_use]
    pub fn connection(&self, tenant: TenantId, key: &connection::Key) -> Option<StreamId> {
        self.connections.get(&(tenant, Arc::new(key.clone()))).copied()
    }

    /// A tenant's credentials, deleted ones included, in the order in which they were made, from the one after a position on.
    pub fn credentials(&self, tenant: TenantId, after: Position) -> impl Iterator<Item = (StreamId, &Arc<Entry>)> {
        let of_tenant = self.credentials.range((tenant, after.next())..).take_while(move |((owner, _), _)| *owner == tenant);
        of_tenant.filter_map(|(_, id)| self.thing(*id).map(|entry| (*id, entry)))
    }

    /// The vault's own stream.
    #[must_use]
    pub const fn vault(&self) -> Option<StreamId> {
        self.vault
    }

    /// Connections whose exchange has no result yet.
    pub fn flights(&self) -> impl Iterator<Item = (StreamId, Position)> {
        self.things.iter().filter_map(|(id, entry)| match &entry.state {
            AnyState::Connection(connection::State::Live(live)) => live.flight.map(|intent| (*id, intent)),
            _ => None,
        })
    }

    /// Secrets whose keys are due to die at `now`, oldest first.
    pub fn due(&self, now: Moment) -> impl Iterator<Item = (&Due, &StreamId)> {
        self.retired.iter().take_while(move |((due, _, _), _)| *due <= now)
    }

    /// The one fold: takes the next event in.
    pub fn fold(&mut self, header: &Header, event: AnyEvent) {
        (self.position, self.recorded_at) = (header.position, header.recorded_at);
        if let AnyEvent::Vault(crate::credentials::vault::Event::Shredded { secrets, .. }) = &event {
            let gone: std::collections::HashSet<(Position, &str)> = secrets.iter().map(|secret| (secret.position, secret.name.as_str())).collect();
            // Retention takes what is due first, so that they are found at the front; the search ends with the last one.
            let dead = self.retired.keys().filter(|(_, position, name)| gone.contains(&(*position, name.as_str())));
            let dead: Vec<Due> = dead.take(gone.len()).cloned().collect();
            for due in dead {
                self.retired.remove(&due);
            }
        }
        if let Some(entry) = self.things.get_mut(&header.stream) {
            // Changed in its place, unless somebody still reads it.
            let entry = Arc::make_mut(entry);
            retire(&mut self.retired, header, &entry.state, &event);
            let was = bears_a_name(&entry.state);
            entry.state = std::mem::take(&mut entry.state).evolve(header, event);
            (entry.version, entry.last) = (header.version, header.position);
            if header.class == Class::Change {
                entry.content_version = header.version;
            }
            if bears_a_name(&entry.state) != was {
                let entry = entry.clone();
                self.index(header.stream, &entry);
            }
            return;
        }
        let entry = Entry {
            tenant: header.tenant,
            version: header.version,
            content_version: if header.class == Class::Change { header.version } else { Version::ZERO },
            first: header.position,
            last: header.position,
            facts_key: header.facts_key,
            state: AnyState::Absent.evolve(header, event),
        };
        self.index(header.stream, &entry);
        self.things.insert(header.stream, Arc::new(entry));
    }

    fn index(&mut self, id: StreamId, entry: &Entry) {
        if let AnyState::ApiKey(_) | AnyState::Connection(_) = &entry.state {
            self.credentials.insert((entry.tenant, entry.first), id);
        }
        match &entry.state {
            AnyState::Vault(_) => self.vault = Some(id),
            AnyState::Tenant(tenant::State::Live { tenant, name, .. }) => drop(self.tenants.insert(name.clone(), *tenant)),
            AnyState::User(user::State::Live { profile, .. }) => drop(self.users.insert((entry.tenant, profile.login.clone()), id)),
            AnyState::ApiKey(api_key::State::Live { token, .. }) => drop(self.tokens.insert(token.id.clone(), id)),
            AnyState::Connector(connector::State::Live(live)) => {
                self.connectors.insert((entry.tenant, live.unified_api.clone(), live.service_id.clone()), id);
            }
            AnyState::Consumer(consumer::State::Live(live)) => {
                self.consumers.insert((entry.tenant, Arc::clone(&live.app), Arc::clone(&live.consumer)), id);
            }
            AnyState::Consumer(consumer::State::Deleted { app, consumer, .. }) => {
                let name = (entry.tenant, Arc::clone(app), Arc::clone(consumer));
                if self.consumers.get(&name) == Some(&id) {
                    self.consumers.remove(&name);
                }
            }
            AnyState::Connection(connection::State::Live(live)) => drop(self.connections.insert((entry.tenant, Arc::clone(&live.key)), id)),
            AnyState::Connection(connection::State::Deleted { key, .. }) => {
                let name = (entry.tenant, Arc::clone(key));
                // A new connection may bear the name by now, while the old one still takes a late result.
                if self.connections.get(&name) == Some(&id) {
                    self.connections.remove(&name);
                }
            }
            _ => {}
        }
    }
}

/// Whether a thing stands in the indexes of names. A thing does not change its name.
const fn bears_a_name(state: &AnyState) -> bool {
    !matches!(state, AnyState::Connection(connection::State::Deleted { .. }) | AnyState::Consumer(consumer::State::Deleted { .. }))
}

/// Secrets that the event puts out of use: a superseded access token, all that a deleted connection held, and what a late exchange
/// still brings it. Their keys have an end.
fn retire(retired: &mut OrdMap<Due, StreamId>, header: &Header, before: &AnyState, event: &AnyEvent) {
    let (AnyState::Connection(before), AnyEvent::Connection(event)) = (before, event) else { return };
    let undone = header.recorded_at.plus_seconds(UNDO_WINDOW);
    match (before, event) {
        (state, connection::Event::Deleted) => {
            for secret in state.secrets() {
                retired.insert((undone, secret.position, secret.name.clone()), header.stream);
            }
        }
        (connection::State::Deleted { .. }, _) => {
            for secret in &header.secrets {
                retired.insert((undone, header.position, secret.name.clone()), header.stream);
            }
        }
        (connection::State::Live(live), _) if header.secret("access_token").is_some() => {
            let Some((access, expires_at)) = &live.access else { return };
            let due = expires_at.map_or(undone, |end| end.max(header.recorded_at).plus_seconds(KEPT_AFTER_EXPIRY));
            retired.insert((due, access.position, access.name.clone()), header.stream);
        }
        _ => {}
    }
}

//! Views: what the fold leaves in memory. One snapshot is consistent and costs no lock.

mod catch_up;
mod index;
mod live;
mod lookups;
mod opener;
mod retire;
mod roots;
mod shred;
mod snapshot;
mod state_hash;
mod states;

pub use catch_up::{CatchUpError, Progress, catch_up};
pub use live::Live;
pub use lookups::CREDENTIALS;
pub use opener::{FoldCause, FoldError, Opened, Opener};
pub use retire::REPLAY;
pub use roots::Root;
pub use shred::destroys_facts;
pub use snapshot::{Snapshot, SnapshotError};
pub use state_hash::StateHash;
pub use states::States;

use std::sync::Arc;

use imbl::{HashMap, OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use crate::credentials::issued::SecretId;
use crate::credentials::{AnyEvent, AnyState, Kind, connection};
use crate::kernel::{Class, FlowId, Header, KeyId, Moment, Position, StreamId, TenantId, Version};

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
/// Name of an integration: tenant, API family, service.
type IntegrationName = (TenantId, String, String);
/// Name of a consumer: tenant, application, consumer.
type ConsumerName = (TenantId, Arc<str>, Arc<str>);
/// A secret that is no longer in use: when its key is due to die, where it lies.
type Due = (Moment, Position, String);

/// All read models, as of one position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Views {
    position: Position,
    recorded_at: Moment,
    things: HashMap<StreamId, Arc<Entry>>,
    tenants: OrdMap<String, (TenantId, StreamId)>,
    tenant_streams: OrdMap<TenantId, StreamId>,
    users: OrdMap<(TenantId, String), StreamId>,
    tokens: HashMap<SecretId, StreamId>,
    connectors: OrdMap<ConnectorName, StreamId>,
    /// The latest integration of each name, deleted or not, with the position of its first event.
    integrations: OrdMap<IntegrationName, (Position, StreamId)>,
    consumers: OrdMap<ConsumerName, StreamId>,
    connections: OrdMap<(TenantId, Arc<connection::Key>), StreamId>,
    /// Connections that are due by themselves, by service and time.
    due: OrdMap<String, OrdSet<(Moment, StreamId)>>,
    /// Authorizations that are open.
    flows: OrdMap<FlowId, StreamId>,
    /// Every thing of these kinds, deleted ones included.
    listed: OrdMap<(TenantId, Kind, Position), StreamId>,
    /// What a user has, while it is there.
    owned: OrdMap<(StreamId, Kind, Position), StreamId>,
    /// API clients by how their name reads.
    client_names: OrdMap<(TenantId, String, Position), StreamId>,
    usage: OrdMap<TenantId, StreamId>,
    attempts: OrdMap<TenantId, StreamId>,
    /// Webhooks that are there, by their seats.
    webhooks: OrdMap<(TenantId, u8), StreamId>,
    /// The latest event of any connection of a tenant: who was told up to it has heard everything.
    connections_last: OrdMap<TenantId, Position>,
    vault: Option<StreamId>,
    retired: OrdMap<Due, StreamId>,
}

impl Entry {
    /// A thing's first event.
    fn begun(header: &Header, state: AnyState) -> Self {
        let mut entry = Self {
            tenant: header.tenant,
            version: Version::ZERO,
            content_version: Version::ZERO,
            first: header.position,
            last: header.position,
            facts_key: header.facts_key,
            state,
        };
        entry.go_on(header);
        entry
    }

    /// Where it stands after an event, but for its state.
    fn go_on(&mut self, header: &Header) {
        (self.version, self.last) = (header.version, header.position);
        if header.class == Class::Change {
            self.content_version = header.version;
        }
    }
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

    /// The one fold: takes the next event in.
    pub fn fold(&mut self, header: &Header, mut event: AnyEvent) {
        (self.position, self.recorded_at) = (header.position, header.recorded_at);
        if let AnyEvent::Vault(crate::credentials::vault::Event::Shredded { secrets, things, tenants, .. }) = &event {
            self.forget(things, tenants);
            let gone: std::collections::HashSet<(Position, &str)> = secrets.iter().map(|secret| (secret.position, secret.name.as_str())).collect();
            // Retention takes what is due first, so that they are found at the front; the search ends with the last one.
            let dead = self.retired.keys().filter(|(_, position, name)| gone.contains(&(*position, name.as_str())));
            let dead: Vec<Due> = dead.take(gone.len()).cloned().collect();
            for due in dead {
                self.retired.remove(&due);
            }
        }
        if event.kind() == connection::NAME {
            self.connections_last.insert(header.tenant, header.position);
        }
        if let Some(entry) = self.things.get_mut(&header.stream) {
            // Changed in its place, unless somebody still reads it.
            let entry = Arc::make_mut(entry);
            let held = retire::held(&entry.state, header, &event);
            let renewed = matches!(entry.state, AnyState::Integration(_))
                || matches!(&event, AnyEvent::Reverted(reverted) if matches!(reverted.to, AnyState::Integration(_) | AnyState::Connector(_)));
            let service = index::service_of(&entry.state);
            let before = index::Names::of(header.stream, entry);
            let spared = if let AnyEvent::Reverted(reverted) = &mut event { std::mem::take(&mut reverted.spared) } else { Vec::new() };
            entry.state = std::mem::take(&mut entry.state).evolve(header, event);
            entry.go_on(header);
            retire::dropped(&mut self.retired, header, &held, &entry.state);
            for secret in spared {
                self.retired.remove(&(secret.due, secret.position, secret.name));
            }
            let gone = matches!(entry.state, AnyState::Tenant(crate::credentials::tenant::State::Shredded { .. })).then(|| entry.state.clone());
            let after = index::Names::of(header.stream, entry);
            if before != after {
                let tenant = entry.tenant;
                self.rename(header.stream, tenant, before, after);
            }
            if renewed {
                self.renew_service(header.stream, service);
            }
            if let Some(state) = gone {
                self.forget_tenant(&state);
            }
            return;
        }
        retire::replay(&mut self.retired, header);
        let entry = Entry::begun(header, AnyState::Absent.evolve(header, event));
        self.index(header.stream, &entry);
        self.things.insert(header.stream, Arc::new(entry));
    }
}

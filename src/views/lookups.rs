//! What can be asked of the views.

use std::ops::Bound;
use std::sync::Arc;

use super::{ConsumerName, Due, Entry, Views};
use crate::credentials::attempts::Failures;
use crate::credentials::integration::{self, Integration, Supply};
use crate::credentials::issued::SecretId;
use crate::credentials::usage::Used;
use crate::credentials::user::{self, User};
use crate::credentials::{AnyState, Kind, connection, connector, consumer, role};
use crate::kernel::{FlowId, Moment, PermissionSet, Position, RoleRef, StreamId, TenantId, Tried};

/// The kinds of credentials.
pub const CREDENTIALS: [Kind; 7] =
    [Kind::Connection, Kind::ApiKey, Kind::ProviderKey, Kind::ApiClient, Kind::UserApplication, Kind::Application, Kind::Integration];

/// The id right after this one; the last stays the last.
fn after(mut id: [u8; 16]) -> [u8; 16] {
    for byte in id.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return id;
        }
    }
    [255; 16]
}

impl Views {
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
        self.tenants.get(name).map(|(tenant, _)| *tenant)
    }

    /// A user by login.
    #[must_use]
    pub fn user(&self, tenant: TenantId, login: &str) -> Option<StreamId> {
        self.users.get(&(tenant, login.to_owned())).copied()
    }

    /// The thing that a token's id names, whether the token still works or not.
    #[must_use]
    pub fn token(&self, id: SecretId) -> Option<StreamId> {
        self.tokens.get(&id).copied()
    }

    /// A connector as a tenant sees it: its own, else the shipped one.
    #[must_use]
    pub fn connector(&self, tenant: TenantId, unified_api: &str, service_id: &str) -> Option<(StreamId, &connector::Connector)> {
        let named = |owner| self.connectors.get(&(owner, unified_api.to_owned(), service_id.to_owned()));
        let live = |id: &StreamId| match &self.thing(*id)?.state {
            AnyState::Connector(connector::State::Live(connector)) => Some((*id, &**connector)),
            _ => None,
        };
        named(tenant).and_then(live).or_else(|| named(TenantId::SYSTEM).and_then(live))
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

    /// The latest integration of a tenant with a service, deleted or not.
    #[must_use]
    pub fn latest_integration(&self, tenant: TenantId, unified_api: &str, service_id: &str) -> Option<StreamId> {
        self.integrations.get(&(tenant, unified_api.to_owned(), service_id.to_owned())).map(|(_, id)| *id)
    }

    /// What a tenant supplies for all connections to a service.
    #[must_use]
    pub fn integration(&self, tenant: TenantId, unified_api: &str, service_id: &str) -> Option<(StreamId, &Integration)> {
        let id = self.latest_integration(tenant, unified_api, service_id)?;
        match &self.thing(id)?.state {
            AnyState::Integration(integration::State::Live(live)) => Some((id, live)),
            _ => None,
        }
    }

    /// What a tenant supplies to a connection, or to one that has nothing of its own.
    #[must_use]
    pub fn supply(&self, tenant: TenantId, connector: &connector::Connector, live: Option<&connection::Connection>) -> Supply<'_> {
        let integration = self.integration(tenant, &connector.unified_api, &connector.service_id);
        Supply::of(integration.map(|(_, integration)| integration), connector, live)
    }

    /// Where a connection stands, with what its tenant supplies.
    #[must_use]
    pub fn standing(&self, tenant: TenantId, connector: &connector::Connector, live: &connection::Connection) -> connection::Phase {
        let supply = self.supply(tenant, connector, Some(live));
        connection::standing(connector, &|id| supply.has(id), live)
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
            AnyState::Consumer(consumer::State::Live(live)) => Some(&**live),
            _ => None,
        })
    }

    /// A connection by its name.
    #[must_use]
    pub fn connection(&self, tenant: TenantId, key: &connection::Key) -> Option<StreamId> {
        self.connections.get(&(tenant, Arc::new(key.clone()))).copied()
    }

    /// A tenant's things of a kind, deleted ones included, in the order in which they were made, from the one after a position on.
    pub fn listed(&self, tenant: TenantId, kind: Kind, after: Position) -> impl Iterator<Item = (StreamId, &Arc<Entry>)> {
        let of_kind = self.listed.range((tenant, kind, after.next())..).take_while(move |((owner, sort, _), _)| (*owner, *sort) == (tenant, kind));
        of_kind.filter_map(|(_, id)| self.thing(*id).map(|entry| (*id, entry)))
    }

    /// A tenant's thing of a kind by its number, the position of its first event.
    #[must_use]
    pub fn numbered(&self, tenant: TenantId, kind: Kind, number: Position) -> Option<(StreamId, &Arc<Entry>)> {
        let id = *self.listed.get(&(tenant, kind, number))?;
        self.thing(id).map(|entry| (id, entry))
    }

    /// What a user has of a kind, in the order in which it was made.
    pub fn owned(&self, user: StreamId, kind: Kind) -> impl Iterator<Item = (StreamId, &Arc<Entry>)> {
        let of_user = self.owned.range((user, kind, Position::ZERO)..).take_while(move |((owner, sort, _), _)| (*owner, *sort) == (user, kind));
        of_user.filter_map(|(_, id)| self.thing(*id).map(|entry| (*id, entry)))
    }

    /// A tenant's API clients by how their names read.
    #[must_use]
    pub fn clients_by_name(&self, tenant: TenantId) -> impl DoubleEndedIterator<Item = StreamId> {
        let (from, to) = ((tenant, String::new(), Position::ZERO), (TenantId(after(tenant.0)), String::new(), Position::ZERO));
        self.client_names.range(from..to).map(|(_, id)| *id)
    }

    /// A tenant's credentials of all kinds, deleted ones included, in the order in which they were made, from the one after a position on.
    pub fn credentials(&self, tenant: TenantId, after: Position) -> impl Iterator<Item = (StreamId, &Arc<Entry>)> {
        let mut kinds: Vec<_> = CREDENTIALS.into_iter().map(|kind| self.listed(tenant, kind, after).peekable()).collect();
        std::iter::from_fn(move || {
            let first = |kind: &mut std::iter::Peekable<_>| kind.peek().map(|(_, entry): &(StreamId, &Arc<Entry>)| entry.first);
            let next = kinds.iter_mut().filter_map(|kind| first(kind).map(|at| (at, kind))).min_by_key(|(at, _)| *at)?;
            next.1.next()
        })
    }

    /// The tenant's thing of a tenant's id.
    #[must_use]
    pub fn tenant_stream(&self, tenant: TenantId) -> Option<StreamId> {
        self.tenant_streams.get(&tenant).copied()
    }

    /// All tenants, by name.
    pub fn tenants(&self) -> impl Iterator<Item = (&str, TenantId, StreamId)> {
        self.tenants.iter().map(|(name, (tenant, stream))| (name.as_str(), *tenant, *stream))
    }

    /// A tenant's users, by login.
    pub fn users(&self, tenant: TenantId) -> impl Iterator<Item = (StreamId, &User)> {
        let of_tenant = self.users.range((tenant, String::new())..).take_while(move |((owner, _), _)| *owner == tenant);
        of_tenant.filter_map(|(_, id)| match &self.thing(*id)?.state {
            AnyState::User(user::State::Live(user)) => Some((*id, &**user)),
            _ => None,
        })
    }

    /// A user of a tenant by login, in any letter case, or by id.
    #[must_use]
    pub fn user_named(&self, tenant: TenantId, text: &str) -> Option<(StreamId, &User)> {
        let by_id = || text.parse().ok().filter(|id| self.thing(*id).is_some_and(|entry| entry.tenant == tenant));
        let id = self.user(tenant, &text.to_ascii_lowercase()).or_else(by_id)?;
        match &self.thing(id)?.state {
            AnyState::User(user::State::Live(user)) => Some((id, &**user)),
            _ => None,
        }
    }

    /// What a role permits; `None` when it is not there (any more).
    #[must_use]
    pub fn role(&self, tenant: TenantId, role: RoleRef) -> Option<(&str, PermissionSet)> {
        match role {
            RoleRef::Builtin(builtin) => Some((builtin.name(), builtin.permissions())),
            RoleRef::Own(id) => match self.thing(id).map(|entry| (entry.tenant, &entry.state)) {
                Some((owner, AnyState::Role(role::State::Live(role)))) if owner == tenant => Some((&role.name, role.permits.own)),
                _ => None,
            },
        }
    }

    /// When a secret was last used and how often, as far as the log tells.
    #[must_use]
    pub fn used(&self, tenant: TenantId, secret: SecretId) -> Option<Used> {
        match &self.thing(*self.usage.get(&tenant)?)?.state {
            AnyState::Usage(usage) => usage.used.get(&secret).copied(),
            _ => None,
        }
    }

    /// The stream of a tenant's usage.
    #[must_use]
    pub fn usage_stream(&self, tenant: TenantId) -> Option<StreamId> {
        self.usage.get(&tenant).copied()
    }

    /// The stream of a tenant's attempts.
    #[must_use]
    pub fn attempts_stream(&self, tenant: TenantId) -> Option<StreamId> {
        self.attempts.get(&tenant).copied()
    }

    /// Failures in a row at a name.
    #[must_use]
    pub fn failures(&self, tenant: TenantId, tried: Tried) -> Option<Failures> {
        match &self.thing(self.attempts_stream(tenant)?)?.state {
            AnyState::Attempts(attempts) => attempts.failures.get(&tried).copied(),
            _ => None,
        }
    }

    /// The webhooks of all tenants that are there.
    pub fn webhooks(&self) -> impl Iterator<Item = (TenantId, StreamId)> {
        self.webhooks.iter().map(|((tenant, _), id)| (*tenant, *id))
    }

    /// The seats of a tenant's webhooks.
    pub fn webhook_seats(&self, tenant: TenantId) -> impl Iterator<Item = u8> {
        self.webhooks.range((tenant, 0)..=(tenant, u8::MAX)).map(|((_, seat), _)| *seat)
    }

    /// The latest event of any connection of a tenant; 0 for none.
    #[must_use]
    pub fn connections_last(&self, tenant: TenantId) -> Position {
        self.connections_last.get(&tenant).copied().unwrap_or_default()
    }

    /// The vault's own stream.
    #[must_use]
    pub const fn vault(&self) -> Option<StreamId> {
        self.vault
    }

    /// Whether everything that goes out is held back: since a restore, until an operator resumes.
    #[must_use]
    pub fn is_held(&self) -> bool {
        let state = self.vault.and_then(|id| self.thing(id)).map(|entry| &entry.state);
        matches!(state, Some(AnyState::Vault(vault)) if vault.held)
    }

    /// The last backup from which a restore was rehearsed.
    #[must_use]
    pub fn verified_backup(&self) -> Option<crate::credentials::vault::Verified> {
        let state = self.vault.and_then(|id| self.thing(id)).map(|entry| &entry.state);
        if let Some(AnyState::Vault(vault)) = state { vault.verified } else { None }
    }

    /// The latest event that says that nothing is left of a thing or a tenant.
    #[must_use]
    pub fn forgot(&self) -> Option<Position> {
        match &self.thing(self.vault?)?.state {
            AnyState::Vault(vault) => vault.forgot,
            _ => None,
        }
    }

    /// Connections whose exchange has no result yet.
    pub fn flights(&self) -> impl Iterator<Item = (StreamId, Position)> {
        self.things.iter().filter_map(|(id, entry)| match &entry.state {
            AnyState::Connection(connection::State::Live(live)) => live.flight.as_ref().map(|flight| (*id, flight.intent)),
            _ => None,
        })
    }

    /// The connection of an authorization that was begun and has not ended.
    #[must_use]
    pub fn flow(&self, flow: FlowId) -> Option<StreamId> {
        self.flows.get(&flow).copied()
    }

    /// Services, as `api+service`, that have connections which are or will be due by themselves: each with those, soonest first.
    pub fn renewals(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = (Moment, StreamId)> + '_)> {
        self.due.iter().map(|(service, waiting)| (service.as_str(), waiting.iter().copied()))
    }

    /// Those of one service, from a place on; from the first without one.
    pub fn renewals_after(&self, service: &str, from: Option<(Moment, StreamId)>) -> impl Iterator<Item = (Moment, StreamId)> + '_ {
        let from = from.map_or(Bound::Unbounded, Bound::Included);
        self.due.get(service).into_iter().flat_map(move |waiting| waiting.range((from, Bound::Unbounded)).copied())
    }

    /// Secrets that are out of use and whose keys are still there, by when they are due to die.
    pub fn retired(&self) -> impl Iterator<Item = (&Due, &StreamId)> {
        self.retired.iter()
    }

    /// Secrets whose keys are due to die at `now`, oldest first.
    pub fn due(&self, now: Moment) -> impl Iterator<Item = (&Due, &StreamId)> {
        self.retired.iter().take_while(move |((due, _, _), _)| *due <= now)
    }
}

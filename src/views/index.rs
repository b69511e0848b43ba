//! By which names and numbers things are found. A name is taken and freed as the fold goes.

use std::sync::Arc;

use super::{Entry, Views};
use crate::credentials::issued::SecretId;
use crate::credentials::{AnyState, Kind, api_client, connection, connector, consumer, integration, provider_key, tenant, user, webhook};
use crate::kernel::{FlowId, Moment, Position, StreamId, TenantId};

/// What a thing is found by, as long as its state stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Nothing.
    None,
    /// Whether its key finds it: consumers and webhooks do not change their names.
    Kept(bool),
    /// The same of a connection, when it is due by itself, and the authorizations that are open.
    Connection { live: bool, due: Option<Moment>, flows: Vec<FlowId>, key: Option<Arc<connection::Key>> },
    /// By login.
    Login(String),
    /// By the ids of its secrets, how its name reads, and whose it is.
    Issued { secrets: Vec<SecretId>, client: Option<String>, owner: Option<StreamId>, first: Position, kind: Kind },
}

impl Names {
    pub fn of(id: StreamId, entry: &Entry) -> Self {
        match &entry.state {
            AnyState::Connection(connection::State::Live(live)) => {
                let due = connection::due(id, live).map(|(at, _)| at);
                let flows = live.extra.iter().flat_map(|extra| extra.pending.iter().map(|pending| pending.flow.id)).collect();
                Self::Connection { live: true, due, flows, key: Some(Arc::clone(&live.key)) }
            }
            AnyState::Connection(_) => Self::Connection { live: false, due: None, flows: Vec::new(), key: None },
            AnyState::Consumer(state) => Self::Kept(matches!(state, consumer::State::Live(_))),
            AnyState::Webhook(state) => Self::Kept(matches!(state, webhook::State::Live(_))),
            AnyState::User(user::State::Live(user)) => Self::Login(user.profile.login.clone()),
            AnyState::ProviderKey(provider_key::State::Live(key)) => {
                Self::Issued { secrets: Vec::new(), client: None, owner: Some(key.user), first: entry.first, kind: Kind::ProviderKey }
            }
            state => match (state.bearer(), state.sort()) {
                (Some(bearer), Some(kind)) => {
                    let client = match state {
                        AnyState::ApiClient(api_client::State::Live(client)) => Some(client.name.to_lowercase()),
                        _ => None,
                    };
                    let secrets = bearer.issued.all().map(|known| known.id).collect();
                    Self::Issued { secrets, client, owner: bearer.user, first: entry.first, kind }
                }
                _ => Self::None,
            },
        }
    }
}

/// What a connector is found by.
pub(super) fn service_of(state: &AnyState) -> Option<(String, String)> {
    match state {
        AnyState::Connector(connector::State::Live(live)) => Some((live.unified_api.clone(), live.service_id.clone())),
        _ => None,
    }
}

/// API family and service, as one name.
fn service(key: &connection::Key) -> String {
    format!("{}+{}", key.unified_api, key.service_id)
}

/// Whether all things of a kind are listed for their tenant.
const fn is_listed(kind: Kind) -> bool {
    !matches!(kind, Kind::Tenant | Kind::Connector | Kind::Consumer | Kind::Vault | Kind::Usage | Kind::Attempts)
}

impl Views {
    /// Takes a new thing in, or one of a snapshot.
    pub(super) fn index(&mut self, id: StreamId, entry: &Entry) {
        if let Some(kind) = entry.state.sort().filter(|kind| is_listed(*kind)) {
            self.listed.insert((entry.tenant, kind, entry.first), id);
        }
        if entry.state.kind() == connection::NAME {
            let latest = self.connections_last.get(&entry.tenant).copied().unwrap_or_default();
            self.connections_last.insert(entry.tenant, latest.max(entry.last));
        }
        match &entry.state {
            AnyState::Vault(_) => self.vault = Some(id),
            AnyState::Usage(_) => drop(self.usage.insert(entry.tenant, id)),
            AnyState::Attempts(_) => drop(self.attempts.insert(entry.tenant, id)),
            AnyState::Tenant(tenant::State::Live { tenant, name, .. }) => {
                self.tenants.insert(name.to_string(), (*tenant, id));
                self.tenant_streams.insert(*tenant, id);
            }
            AnyState::Tenant(tenant::State::Shredded { tenant, .. }) => drop(self.tenant_streams.insert(*tenant, id)),
            AnyState::Connector(connector::State::Live(live)) => {
                self.connectors.insert((entry.tenant, live.unified_api.clone(), live.service_id.clone()), id);
            }
            AnyState::Integration(state) => self.integration_of(id, entry, state),
            state => self.key(id, entry.tenant, state),
        }
        self.rename(id, entry.tenant, Names::None, Names::of(id, entry));
    }

    /// Frees the names of before and takes those of after.
    pub(super) fn rename(&mut self, id: StreamId, tenant: TenantId, before: Names, after: Names) {
        let was_live = matches!(before, Names::Connection { live: true, .. });
        match before {
            Names::Login(login) => {
                let name = (tenant, login);
                if self.users.get(&name) == Some(&id) {
                    self.users.remove(&name);
                }
            }
            Names::Issued { secrets, client, owner, first, kind } => {
                for secret in secrets {
                    self.tokens.remove(&secret);
                }
                if let Some(name) = client {
                    self.client_names.remove(&(tenant, name, first));
                }
                if let Some(owner) = owner {
                    self.owned.remove(&(owner, kind, first));
                }
            }
            Names::Connection { due, flows, key, .. } => {
                if let (Some(due), Some(key)) = (due, key) {
                    self.forget_due(&key, due, id);
                }
                for flow in flows {
                    self.flows.remove(&flow);
                }
            }
            Names::None | Names::Kept(_) => {}
        }
        match after {
            Names::Login(login) => drop(self.users.insert((tenant, login), id)),
            Names::Issued { secrets, client, owner, first, kind } => {
                for secret in secrets {
                    self.tokens.insert(secret, id);
                }
                if let Some(name) = client {
                    self.client_names.insert((tenant, name, first), id);
                }
                if let Some(owner) = owner {
                    self.owned.insert((owner, kind, first), id);
                }
            }
            Names::Connection { live, due, flows, key } => {
                if let (Some(due), Some(key)) = (due, key) {
                    self.due.entry(service(&key)).or_default().insert((due, id));
                }
                for flow in flows {
                    self.flows.insert(flow, id);
                }
                if live != was_live
                    && let Some(entry) = self.things.get(&id).cloned()
                {
                    self.key(id, tenant, &entry.state);
                }
            }
            Names::Kept(_) => {
                if let Some(entry) = self.things.get(&id).cloned() {
                    self.key(id, tenant, &entry.state);
                }
            }
            Names::None => {}
        }
    }

    fn forget_due(&mut self, key: &connection::Key, due: Moment, id: StreamId) {
        let service = service(key);
        let Some(waiting) = self.due.get_mut(&service) else { return };
        waiting.remove(&(due, id));
        if waiting.is_empty() {
            self.due.remove(&service);
        }
    }

    /// A connector or an integration was put back: one that was deleted may be there again, and a connector may not be there any more. `before` is
    /// what a connector was found by.
    pub(super) fn renew_service(&mut self, id: StreamId, before: Option<(String, String)>) {
        let Some(entry) = self.things.get(&id).cloned() else { return };
        if let Some((api, service)) = before {
            let name = (entry.tenant, api, service);
            if self.connectors.get(&name) == Some(&id) {
                self.connectors.remove(&name);
            }
        }
        match &entry.state {
            AnyState::Integration(state) => {
                if let Some((api, service)) = state.service() {
                    self.index_integration(entry.tenant, api, service);
                }
            }
            AnyState::Connector(connector::State::Live(live)) => {
                self.connectors.insert((entry.tenant, live.unified_api.clone(), live.service_id.clone()), id);
            }
            _ => {}
        }
    }

    /// Which of a tenant's integrations with a service counts, of all that there are and were: as a snapshot brings it, whatever came when.
    pub(super) fn index_integration(&mut self, tenant: TenantId, api: &str, service: &str) {
        let of_name = self.listed(tenant, Kind::Integration, Position::ZERO).filter(|(_, entry)| match &entry.state {
            AnyState::Integration(state) => state.service() == Some((api, service)),
            _ => false,
        });
        let latest = of_name.map(|(id, entry)| (entry.state.is_live(), (entry.first, id))).max();
        let name = (tenant, api.to_owned(), service.to_owned());
        match latest {
            Some((_, latest)) => drop(self.integrations.insert(name, latest)),
            None => drop(self.integrations.remove(&name)),
        }
    }

    /// The latest one of a name, and before all others one that is there: a snapshot brings them in no order.
    fn integration_of(&mut self, id: StreamId, entry: &Entry, state: &integration::State) {
        let Some((api, service)) = state.service() else { return };
        let latest = self.integrations.entry((entry.tenant, api.to_owned(), service.to_owned())).or_insert((entry.first, id));
        let is_live = self.things.get(&latest.1).is_some_and(|entry| entry.state.is_live());
        *latest = (is_live, *latest).max((entry.state.is_live(), (entry.first, id))).1;
    }

    /// Takes or frees the key of a connection, consumer or webhook.
    fn key(&mut self, id: StreamId, tenant: TenantId, state: &AnyState) {
        match state {
            AnyState::Connection(connection::State::Live(live)) => drop(self.connections.insert((tenant, Arc::clone(&live.key)), id)),
            AnyState::Connection(connection::State::Deleted { key, .. }) => {
                let name = (tenant, Arc::clone(key));
                // A new connection may bear the name by now, while the old one still takes a late result.
                if self.connections.get(&name) == Some(&id) {
                    self.connections.remove(&name);
                }
            }
            AnyState::Consumer(consumer::State::Live(live)) => {
                self.consumers.insert((tenant, Arc::clone(&live.app), Arc::clone(&live.consumer)), id);
            }
            AnyState::Consumer(consumer::State::Deleted { app, consumer, .. }) => {
                let name = (tenant, Arc::clone(app), Arc::clone(consumer));
                if self.consumers.get(&name) == Some(&id) {
                    self.consumers.remove(&name);
                }
            }
            AnyState::Webhook(webhook::State::Live(live)) => drop(self.webhooks.insert((tenant, live.seat), id)),
            // Another one may sit there by now.
            AnyState::Webhook(webhook::State::Deleted { seat, .. }) if self.webhooks.get(&(tenant, *seat)) == Some(&id) => {
                self.webhooks.remove(&(tenant, *seat));
            }
            _ => {}
        }
    }
}

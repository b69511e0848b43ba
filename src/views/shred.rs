//! What is left of a thing whose keys were destroyed: that it was there, of which kind, and where its events stand. Whether its events were folded
//! before their key died or are read afterwards makes no difference in the end.

use std::collections::HashSet;
use std::sync::Arc;

use super::index::Names;
use super::{Entry, Views, connection};
use crate::credentials::vault::Event;
use crate::credentials::{AnyEvent, AnyState, connector, consumer, tenant, webhook};
use crate::kernel::{Header, StreamId, TenantId};

/// Whether an event of the vault may name keys of facts in its header.
#[must_use]
pub fn destroys_facts(event: &AnyEvent) -> bool {
    match event {
        // Only an event that names single secrets names no keys but theirs.
        AnyEvent::Vault(Event::Shredded { secrets, things, tenants, .. }) => secrets.is_empty() || !things.is_empty() || !tenants.is_empty(),
        AnyEvent::Vault(Event::Restored { .. }) => true,
        _ => false,
    }
}

impl Views {
    /// Takes the next event in; without one, its key was destroyed.
    pub fn take(&mut self, header: &Header, event: Option<AnyEvent>) {
        match event {
            Some(event) => self.fold(header, event),
            None => self.fold_shredded(header),
        }
    }

    /// What the clear header alone says.
    fn fold_shredded(&mut self, header: &Header) {
        (self.position, self.recorded_at) = (header.position, header.recorded_at);
        if header.kind == connection::NAME {
            self.connections_last.insert(header.tenant, header.position);
        }
        self.shred(&[header.stream].into());
        if let Some(entry) = self.things.get_mut(&header.stream) {
            Arc::make_mut(entry).go_on(header);
            return;
        }
        let entry = Entry::begun(header, AnyState::Shredded(header.kind.as_str().into()));
        self.things.insert(header.stream, Arc::new(entry));
    }

    /// Nothing is left of these things, and of all things of these tenants.
    pub(super) fn forget(&mut self, things: &[StreamId], tenants: &[TenantId]) {
        let mut gone: HashSet<StreamId> = things.iter().copied().collect();
        if !tenants.is_empty() {
            gone.extend(self.things.iter().filter(|(_, entry)| tenants.contains(&entry.tenant)).map(|(id, _)| *id));
        }
        self.shred(&gone);
    }

    fn shred(&mut self, gone: &HashSet<StreamId>) {
        let gone: HashSet<StreamId> =
            gone.iter().filter(|id| self.things.get(*id).is_some_and(|entry| !matches!(entry.state, AnyState::Shredded(_)))).copied().collect();
        if gone.is_empty() {
            return;
        }
        let due: Vec<_> = self.retired.iter().filter(|(_, id)| gone.contains(id)).map(|(due, _)| due.clone()).collect();
        for due in due {
            self.retired.remove(&due);
        }
        for id in &gone {
            let Some(entry) = self.things.get(id).cloned() else { continue };
            let left = Entry { state: AnyState::Shredded(entry.state.kind().into()), ..(*entry).clone() };
            self.things.insert(*id, Arc::new(left));
            self.rename(*id, entry.tenant, Names::of(*id, &entry), Names::None);
            self.unindex(*id, &entry);
            if let AnyState::Integration(state) = &entry.state
                && let Some((api, service)) = state.service()
            {
                self.index_integration(entry.tenant, api, service);
            }
        }
    }

    /// Takes a thing out of what it was found by, but for the names that come and go with its state.
    fn unindex(&mut self, id: StreamId, entry: &Entry) {
        let tenant = entry.tenant;
        if let Some(kind) = entry.state.sort() {
            self.listed.remove(&(tenant, kind, entry.first));
        }
        match &entry.state {
            AnyState::Connection(connection::State::Live(live)) => {
                let name = (tenant, Arc::clone(&live.key));
                if self.connections.get(&name) == Some(&id) {
                    self.connections.remove(&name);
                }
            }
            AnyState::Consumer(consumer::State::Live(live)) => {
                let name = (tenant, Arc::clone(&live.app), Arc::clone(&live.consumer));
                if self.consumers.get(&name) == Some(&id) {
                    self.consumers.remove(&name);
                }
            }
            AnyState::Webhook(webhook::State::Live(live)) if self.webhooks.get(&(tenant, live.seat)) == Some(&id) => {
                self.webhooks.remove(&(tenant, live.seat));
            }
            AnyState::Connector(connector::State::Live(live)) => {
                let name = (tenant, live.unified_api.clone(), live.service_id.clone());
                if self.connectors.get(&name) == Some(&id) {
                    self.connectors.remove(&name);
                }
            }
            AnyState::Usage(_) => drop(self.usage.remove(&tenant)),
            AnyState::Attempts(_) => drop(self.attempts.remove(&tenant)),
            _ => {}
        }
    }

    /// A tenant's name leads nowhere any more; its id still does.
    pub(super) fn forget_tenant(&mut self, state: &AnyState) {
        if let AnyState::Tenant(tenant::State::Shredded { tenant, name, .. }) = state
            && self.tenants.get(&**name).is_some_and(|(id, _)| id == tenant)
        {
            self.tenants.remove(&**name);
        }
    }
}

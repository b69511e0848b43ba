//! Reading the log as an auditor: which events there were, what they say, and never a secret.

use std::collections::BTreeMap;

use super::access::{Principal, Resource, authorize};
use super::{Vault, VaultError};
use crate::credentials::{Meta, connector, vault};
use crate::kernel::{Header, KeyId, Permission, Position, Refusal, StreamId, TenantId};
use crate::log::MAX_BLOCK_RECORDS;
use crate::seal::Record;

/// How many records one page looks at, at most: a filter that matches little gives a short page and a cursor.
const SCAN: usize = 20_000;
/// How many are read at once, backwards.
const WINDOW: usize = 512;

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this kind.
    pub kind: Option<String>,
    /// Of this type.
    pub event_type: Option<String>,
    /// Of this thing.
    pub stream: Option<StreamId>,
    /// By this principal.
    pub actor: Option<StreamId>,
    /// From this position on, itself included.
    pub from: Position,
    /// Through this position.
    pub to: Position,
    /// Oldest first; otherwise newest first.
    pub oldest_first: bool,
}

/// An event as an auditor sees it.
pub struct Shown {
    /// The stored record.
    pub record: Record,
    /// How it came about.
    pub meta: Meta,
    /// What happened; verifiers are hidden.
    pub facts: serde_json::Value,
    /// Which of its secret boxes were shredded, in their order.
    pub gone: Vec<bool>,
}

/// Some events, and where to go on.
pub struct Page {
    /// In the order that was asked for.
    pub events: Vec<Shown>,
    /// Give it as `from` (oldest first) or `to` to go on; `None` at the end.
    pub next: Option<Position>,
}

impl Filter {
    fn takes(&self, header: &Header) -> bool {
        let is = |wanted: &Option<String>, actual: &str| wanted.as_ref().is_none_or(|wanted| wanted == actual);
        (self.from..=self.to).contains(&header.position)
            && is(&self.kind, &header.kind)
            && is(&self.event_type, &header.event_type)
            && self.stream.is_none_or(|stream| stream == header.stream)
            && self.actor.is_none_or(|actor| actor == header.actor)
    }
}

/// What a scan has found.
#[derive(Default)]
struct Found {
    records: Vec<Record>,
    next: Option<Position>,
}

impl Vault {
    /// Events that the principal may see, at most `limit`.
    pub async fn events(&self, principal: &Principal, filter: &Filter, limit: usize) -> Result<Page, VaultError> {
        authorize(principal, Permission::AuditRead, Resource { tenant: principal.tenant, app: None })?;
        let found = match (filter.oldest_first, filter.stream) {
            (true, _) => self.forwards(principal, filter, limit).await?,
            (false, Some(stream)) => self.along(principal, filter, stream, limit).await?,
            (false, None) => self.backwards(principal, filter, limit).await?,
        };
        Ok(Page { events: self.show(found.records).await?, next: found.next })
    }

    /// One event that the principal may see.
    pub async fn event(&self, principal: &Principal, position: Position) -> Result<Shown, VaultError> {
        authorize(principal, Permission::AuditRead, Resource { tenant: principal.tenant, app: None })?;
        let mut records = self.log.fetch(&[position]).await?;
        records.retain(|record| self.visible(principal, record.header()));
        Ok(self.show(records).await?.pop().ok_or(Refusal::NotFound)?)
    }

    /// A thing's own events, newest first, each found from the one after it.
    pub async fn history(&self, principal: &Principal, stream: StreamId, to: Position, limit: usize) -> Result<Page, VaultError> {
        let views = self.views();
        let entry = views.thing(stream).ok_or(Refusal::NotFound)?;
        authorize(principal, Permission::HistoryRead, Resource { tenant: entry.tenant, app: None })?;
        let filter = Filter { stream: Some(stream), to, ..Filter::default() };
        let found = self.along(principal, &filter, stream, limit).await?;
        Ok(Page { events: self.show(found.records).await?, next: found.next })
    }

    async fn forwards(&self, principal: &Principal, filter: &Filter, limit: usize) -> Result<Found, VaultError> {
        let (mut found, mut seen, mut at) = (Found::default(), 0, Position(filter.from.0.saturating_sub(1)));
        while at < filter.to {
            let records = self.log.read(at, MAX_BLOCK_RECORDS).await?;
            if records.is_empty() {
                break;
            }
            for record in records {
                at = record.header().position;
                if found.records.len() == limit || seen == SCAN {
                    found.next = Some(at).filter(|at| *at <= filter.to);
                    return Ok(found);
                }
                seen += 1;
                if self.takes(principal, filter, record.header()) {
                    found.records.push(record);
                }
            }
        }
        Ok(found)
    }

    async fn backwards(&self, principal: &Principal, filter: &Filter, limit: usize) -> Result<Found, VaultError> {
        let (mut found, mut seen, mut end) = (Found::default(), 0, filter.to);
        while end > Position::ZERO && end >= filter.from {
            let records = self.log.read_back(end, WINDOW).await?;
            if records.is_empty() {
                break;
            }
            for record in records {
                let position = record.header().position;
                if position < filter.from {
                    return Ok(found);
                }
                if found.records.len() == limit || seen == SCAN {
                    found.next = Some(position);
                    return Ok(found);
                }
                seen += 1;
                end = Position(position.0 - 1);
                if self.takes(principal, filter, record.header()) {
                    found.records.push(record);
                }
            }
        }
        Ok(found)
    }

    async fn along(&self, principal: &Principal, filter: &Filter, stream: StreamId, limit: usize) -> Result<Found, VaultError> {
        let (mut found, mut seen) = (Found::default(), 0);
        // A cursor is one of the stream's own positions: the walk goes on there. Otherwise it begins at the latest event.
        let here = self.log.fetch(&[filter.to]).await?.pop().filter(|record| record.header().stream == stream).map(|_| filter.to);
        let mut at = here.unwrap_or_else(|| self.views().thing(stream).map_or(Position::ZERO, |entry| entry.last));
        while at > Position::ZERO && at >= filter.from {
            if found.records.len() == limit || seen == SCAN {
                found.next = Some(at);
                break;
            }
            let Some(record) = self.log.fetch(&[at]).await?.pop() else { break };
            seen += 1;
            at = record.header().previous;
            if self.takes(principal, filter, record.header()) {
                found.records.push(record);
            }
        }
        Ok(found)
    }

    /// Whether the filter takes an event, and the principal may see it.
    fn takes(&self, principal: &Principal, filter: &Filter, header: &Header) -> bool {
        filter.takes(header) && self.visible(principal, header)
    }

    /// Whether a principal sees an event at all: its tenant's, and of the system's what concerns everybody. A token that may name only some
    /// applications sees only what belongs to them, or to none.
    fn visible(&self, principal: &Principal, header: &Header) -> bool {
        if header.tenant == TenantId::SYSTEM {
            return [connector::NAME, vault::NAME].contains(&header.kind.as_str());
        }
        let views = self.views();
        let app = views.thing(header.stream).and_then(|entry| entry.state.app());
        let seen = principal.app_ids.is_empty() || app.is_none_or(|app| principal.app_ids.iter().any(|own| own == app));
        header.tenant == principal.tenant && seen
    }

    /// The event at a position, whoever may see it: that was asked before.
    pub(super) async fn shown_at(&self, position: Position) -> Result<Shown, VaultError> {
        let records = self.log.fetch(&[position]).await?;
        Ok(self.show(records).await?.pop().ok_or(Refusal::NotFound)?)
    }

    async fn show(&self, records: Vec<Record>) -> Result<Vec<Shown>, VaultError> {
        let keys: Vec<KeyId> = records.iter().flat_map(|record| record.header().secrets.iter().map(|secret| secret.key)).collect();
        let gone = self.sequencer.look(move |index| keys.into_iter().map(|key| (key, index.shredded().contains(key))).collect::<BTreeMap<_, _>>()).await;
        let gone = gone.ok_or_else(|| VaultError::Stopped("the sequencer has stopped".into()))?;
        let show = |record: Record| {
            let opened = self.opener.open(&record)?;
            let is_gone = |key: &KeyId| gone.get(key).copied().unwrap_or(false);
            let gone = record.header().secrets.iter().map(|secret| is_gone(&secret.key)).collect();
            Ok(Shown { meta: opened.stored.meta, facts: opened.stored.event.shown()?, gone, record })
        };
        records.into_iter().map(show).collect()
    }
}

//! Reading the log as an auditor: which events there were, what they say, and never a secret.

use std::collections::BTreeMap;

use super::access::{Principal, Resource, authorize};
use super::filter::{Filter, Verdict};
use super::{Vault, VaultError};
use crate::credentials::{AnyState, Meta, attempts, connection, connector, consumer, tenant, vault};
use crate::kernel::{Header, KeyId, Permission, Position, Refusal, StreamId, TenantId};
use crate::log::Index;
use crate::seal::Record;
use crate::views::Views;

/// How many records one page looks at, at most: a filter that matches little gives a short page and a cursor.
const SCAN: usize = 20_000;
/// How many of them it opens, at most, where the clear header does not decide.
const OPEN: usize = 5_000;
/// How many are read at once.
const WINDOW: usize = 512;
/// How many are read at once where many readers are at it, each in its own time.
const STRETCH: usize = 128;

/// An event as an auditor sees it.
pub struct Shown {
    /// The stored record.
    pub record: Record,
    /// How it came about.
    pub meta: Meta,
    /// What happened; verifiers are hidden. Null, when it was shredded.
    pub facts: serde_json::Value,
    /// Whether the key of its facts was destroyed: only the clear header is left.
    pub shredded: bool,
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

/// The next events of a reader that goes through the log.
pub struct Stretch {
    /// Oldest first.
    pub events: Vec<Shown>,
    /// Everything through this position was looked at: go on after it.
    pub through: Position,
}

/// What a scan has found, and what it has cost.
#[derive(Default)]
struct Found {
    records: Vec<Record>,
    next: Option<Position>,
    seen: usize,
    opened: usize,
}

impl Found {
    /// Whether the page ends before a further record.
    const fn is_full(&self, limit: usize) -> bool {
        self.records.len() == limit || self.seen == SCAN || self.opened == OPEN
    }
}

impl Vault {
    /// Events that the principal may see, at most `limit`.
    pub async fn events(&self, principal: &Principal, filter: &Filter, limit: usize) -> Result<Page, VaultError> {
        authorize(principal, Permission::AuditRead, Resource { tenant: principal.tenant, app: None })?;
        let found = match (filter.oldest_first, filter.streams.as_slice()) {
            (true, _) => self.forwards(principal, filter, limit).await?,
            (false, [stream]) => self.along(principal, filter, *stream, limit).await?,
            (false, _) => self.backwards(principal, filter, limit).await?,
        };
        Ok(Page { events: self.show(found.records).await?, next: found.next })
    }

    /// The events after a position that the principal may see, as far as one read of the log goes: for readers that go through all of it, or
    /// follow its end.
    pub async fn stretch(&self, principal: &Principal, filter: &Filter, after: Position) -> Result<Stretch, VaultError> {
        let (looked, through) = self.looked_through(principal, filter, after).await?;
        let records = looked.into_iter().filter(|(_, takes)| *takes).map(|(record, _)| record).collect();
        Ok(Stretch { events: self.show(records).await?, through })
    }

    /// The records of one read after a position, and of each whether the filter takes it and the principal may see it; and how far that goes.
    pub(super) async fn looked_through(&self, principal: &Principal, filter: &Filter, after: Position) -> Result<(Vec<(Record, bool)>, Position), VaultError> {
        authorize(principal, Permission::AuditRead, Resource { tenant: principal.tenant, app: None })?;
        let records = self.log.read(after, STRETCH).await?;
        // Where nothing is left, all of it was looked at.
        let through = records.last().map_or(filter.to, |last| last.header().position.min(filter.to));
        let (views, mut looked) = (self.views(), Vec::with_capacity(records.len()));
        for record in records.into_iter().take_while(|record| record.header().position <= through) {
            let takes = self.takes(&views, principal, filter, &record, &mut 0)?;
            looked.push((record, takes));
        }
        Ok((looked, through))
    }

    /// One event that the principal may see.
    pub async fn event(&self, principal: &Principal, position: Position) -> Result<Shown, VaultError> {
        authorize(principal, Permission::AuditRead, Resource { tenant: principal.tenant, app: None })?;
        let mut records = self.log.fetch(&[position]).await?;
        let views = self.views();
        records.retain(|record| visible(&views, principal, record.header()));
        Ok(self.show(records).await?.pop().ok_or(Refusal::NotFound)?)
    }

    /// A thing's own events, newest first, each found from the one after it.
    pub async fn history(&self, principal: &Principal, stream: StreamId, to: Position, limit: usize) -> Result<Page, VaultError> {
        let views = self.views();
        let entry = views.thing(stream).ok_or(Refusal::NotFound)?;
        // Tenants are the system's own.
        let tenant = if is_own_tenant(&views, principal, stream) { principal.tenant } else { entry.tenant };
        authorize(principal, Permission::HistoryRead, Resource { tenant, app: None })?;
        let filter = Filter { streams: vec![stream], to, ..Filter::default() };
        let found = self.along(principal, &filter, stream, limit).await?;
        Ok(Page { events: self.show(found.records).await?, next: found.next })
    }

    async fn forwards(&self, principal: &Principal, filter: &Filter, limit: usize) -> Result<Found, VaultError> {
        let (views, mut found, mut at) = (self.views(), Found::default(), Position(filter.from.0.saturating_sub(1)));
        while at < filter.to {
            let records = self.log.read(at, WINDOW).await?;
            if records.is_empty() {
                break;
            }
            for record in records {
                at = record.header().position;
                if found.is_full(limit) {
                    found.next = Some(at).filter(|at| *at <= filter.to);
                    return Ok(found);
                }
                self.look(&views, principal, filter, record, &mut found)?;
            }
        }
        Ok(found)
    }

    async fn backwards(&self, principal: &Principal, filter: &Filter, limit: usize) -> Result<Found, VaultError> {
        let (views, mut found, mut end) = (self.views(), Found::default(), filter.to);
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
                if found.is_full(limit) {
                    found.next = Some(position);
                    return Ok(found);
                }
                end = Position(position.0 - 1);
                self.look(&views, principal, filter, record, &mut found)?;
            }
        }
        Ok(found)
    }

    async fn along(&self, principal: &Principal, filter: &Filter, stream: StreamId, limit: usize) -> Result<Found, VaultError> {
        let (views, mut found) = (self.views(), Found::default());
        // A cursor is one of the stream's own positions: the walk goes on there. Otherwise it begins at the latest event.
        let here = self.log.fetch(&[filter.to]).await?.pop().filter(|record| record.header().stream == stream).map(|_| filter.to);
        let mut at = here.unwrap_or_else(|| views.thing(stream).map_or(Position::ZERO, |entry| entry.last));
        while at > Position::ZERO && at >= filter.from {
            if found.is_full(limit) {
                found.next = Some(at);
                break;
            }
            let Some(record) = self.log.fetch(&[at]).await?.pop() else { break };
            at = record.header().previous;
            self.look(&views, principal, filter, record, &mut found)?;
        }
        Ok(found)
    }

    /// Takes a record if the principal may see it and the filter takes it.
    fn look(&self, views: &Views, principal: &Principal, filter: &Filter, record: Record, found: &mut Found) -> Result<(), VaultError> {
        found.seen += 1;
        if self.takes(views, principal, filter, &record, &mut found.opened)? {
            found.records.push(record);
        }
        Ok(())
    }

    /// The events at positions, whoever may see them: that was asked before.
    pub(super) async fn shown_at(&self, positions: &[Position]) -> Result<Vec<Shown>, VaultError> {
        let records = self.log.fetch(positions).await?;
        if records.len() == positions.len() { self.show(records).await } else { Err(Refusal::NotFound.into()) }
    }

    /// Whether the principal may see a record and the filter takes it. What the header decides is not opened.
    fn takes(&self, views: &Views, principal: &Principal, filter: &Filter, record: &Record, opened: &mut usize) -> Result<bool, VaultError> {
        let header = record.header();
        if !visible(views, principal, header) {
            return Ok(false);
        }
        Ok(match filter.judge(views, header) {
            Verdict::No => false,
            Verdict::Yes => true,
            Verdict::Open => {
                *opened += 1;
                // Of what was shredded nobody knows whether it fits.
                let facts = self.opener.open_unless_shredded(record)?;
                facts.is_some_and(|facts| filter.judge_facts(views, header, &facts.stored))
            }
        })
    }

    async fn show(&self, records: Vec<Record>) -> Result<Vec<Shown>, VaultError> {
        let of = |record: &Record| record.header().secrets.iter().map(|secret| (record.header().tenant, secret.key)).collect::<Vec<_>>();
        let keys: Vec<(TenantId, KeyId)> = records.iter().flat_map(of).collect();
        let dead = move |index: &Index| keys.into_iter().map(|(tenant, key)| (key, index.is_shredded(tenant, key))).collect::<BTreeMap<_, _>>();
        let gone = self.sequencer.look(dead).await;
        let gone = gone.ok_or_else(|| VaultError::Stopped("the sequencer has stopped".into()))?;
        let show = |record: Record| {
            let opened = self.opener.open_unless_shredded(&record)?;
            let is_gone = |key: &KeyId| gone.get(key).copied().unwrap_or(false);
            let gone = record.header().secrets.iter().map(|secret| is_gone(&secret.key)).collect();
            let shredded = opened.is_none();
            let (meta, facts) = match opened {
                Some(opened) => (opened.stored.meta, opened.stored.event.shown()?),
                None => (Meta::default(), serde_json::Value::Null),
            };
            Ok(Shown { record, meta, facts, shredded, gone })
        };
        records.into_iter().map(show).collect()
    }
}

/// Whether a principal sees an event at all: its tenant's, and of the system's what concerns everybody. A token that may name only some
/// applications sees only what belongs to them, or to none. Who runs the vault sees also what was tried under names that are nobody's.
fn visible(views: &Views, principal: &Principal, header: &Header) -> bool {
    if header.tenant == TenantId::SYSTEM {
        return concerns(views, principal, header);
    }
    let named = |app: &str| principal.app_ids.is_empty() || principal.app_ids.iter().any(|own| own == app);
    let seen = match views.thing(header.stream).map(|entry| &entry.state) {
        Some(AnyState::Connection(connection::State::Live(live))) => named(&live.key.app),
        Some(AnyState::Connection(connection::State::Deleted { key, .. })) => named(&key.app),
        Some(AnyState::Consumer(consumer::State::Live(live))) => named(&live.app),
        Some(AnyState::Consumer(consumer::State::Deleted { app, .. })) => named(app),
        // Which application it belonged to is not known any more.
        Some(AnyState::Shredded(_)) => principal.app_ids.is_empty(),
        _ => true,
    };
    header.tenant == principal.tenant && seen
}

/// Whether what the system owns is a principal's business: shipped connectors, and what became of the vault. What was done to keys for somebody is
/// that tenant's, and that of those who run the vault; so is what became of a tenant. What was tried under names that are nobody's is theirs alone.
fn concerns(views: &Views, principal: &Principal, header: &Header) -> bool {
    match (header.kind.as_str(), header.event_type.as_str()) {
        (vault::NAME, "shredded" | "root_rotated" | "tenant_key_rotated") => {
            names_no_application(principal) && (runs(principal) || did(views, principal, header))
        }
        (connector::NAME | vault::NAME, _) => true,
        (tenant::NAME, _) => is_own_tenant(views, principal, header.stream),
        (attempts::NAME, _) => runs(principal),
        _ => false,
    }
}

/// Whether a principal runs the vault.
fn runs(principal: &Principal) -> bool {
    principal.held().holds(Permission::VaultOperate)
}

fn names_no_application(principal: &Principal) -> bool {
    principal.app_ids.is_empty()
}

/// Whether a principal's tenant did it; or the vault by itself, unless it was the end of somebody's tenant.
fn did(views: &Views, principal: &Principal, header: &Header) -> bool {
    let by_itself = header.actor == StreamId::default() && !header.shredded.iter().any(|key| key.is_whole());
    by_itself || views.thing(header.actor).is_some_and(|actor| actor.tenant == principal.tenant)
}

/// Whether a thing is a tenant whose fate is the principal's business: its own, or any for those who run the vault.
fn is_own_tenant(views: &Views, principal: &Principal, stream: StreamId) -> bool {
    let of = match views.thing(stream).map(|entry| &entry.state) {
        Some(AnyState::Tenant(tenant::State::Live { tenant, .. } | tenant::State::Shredded { tenant, .. })) => *tenant,
        _ => return false,
    };
    names_no_application(principal) && (of == principal.tenant || runs(principal))
}

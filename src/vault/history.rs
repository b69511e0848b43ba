//! What changed: of one thing event by event, and of many things between two moments, field by field. Secrets are told by version and
//! fingerprint only.

use super::access::{Principal, Resource, authorize};
use super::compensation::{Moments, moved};
use super::{Busy, Shown, Vault, VaultError};
use crate::credentials::content::{Difference, differences};
use crate::credentials::recovery::Selection;
use crate::credentials::{AnyState, Kind};
use crate::kernel::{Permission, Position, StreamId, TenantId};

/// An event of a thing, and what it changed.
pub struct Told {
    /// The event.
    pub shown: Shown,
    /// What it changed.
    pub changes: Vec<Difference>,
}

/// A page of a thing's history, newest first.
pub struct Story {
    /// Its events.
    pub events: Vec<Told>,
    /// Give it as `to` to go on; `None` at the end.
    pub next: Option<Position>,
}

/// One thing that differs between two moments.
pub struct Changed {
    /// The thing.
    pub stream: StreamId,
    /// Its owner.
    pub tenant: TenantId,
    /// Its kind.
    pub kind: Kind,
    /// `created`, `deleted`, `restored` (deleted before, there now), `changed`, or `shredded`: nothing is left to compare.
    pub how: &'static str,
    /// Field by field.
    pub changes: Vec<Difference>,
    /// Its latest event in between: who did it, when, and under which rule.
    pub last: Shown,
}

/// What differs between two moments.
pub struct Differences {
    /// The earlier position, rounded down to a whole group.
    pub from: Position,
    /// The later one.
    pub to: Position,
    /// The things, by id.
    pub things: Vec<Changed>,
    /// The last one's id, where there are more.
    pub next: Option<StreamId>,
}

impl Vault {
    /// A thing's own events, newest first, with what each changed.
    pub async fn story(&self, by: &Principal, stream: StreamId, to: Position, limit: usize) -> Result<Story, VaultError> {
        let page = self.history(by, stream, to, limit).await?;
        let mut events = Vec::with_capacity(page.events.len());
        let mut near = None;
        // From the oldest on: each state is found from the one before.
        for shown in page.events.into_iter().rev() {
            let at = shown.record.header().position;
            near = self.thing_at(stream, at, near.as_ref()).await?;
            // Of what was shredded only the clear header is left.
            let changes = near.as_ref().map_or(Ok(Vec::new()), |around| differences(&around.before, &around.after))?;
            events.push(Told { shown, changes });
        }
        events.reverse();
        Ok(Story { events, next: page.next })
    }

    /// Things of a selection that differ between two positions, by id from the one after `after` on. The selection's tenant is the caller's own,
    /// but for those who run the vault.
    pub async fn diff(
        &self,
        by: &Principal,
        (from, to): (Position, Position),
        selection: &Selection,
        (after, limit): (Option<StreamId>, usize),
    ) -> Result<Result<Differences, Busy>, VaultError> {
        authorize(by, Permission::HistoryRead, Resource { tenant: by.tenant, app: None })?;
        if selection.tenant != Some(by.tenant) {
            authorize(by, Permission::VaultOperate, Resource { tenant: by.tenant, app: None })?;
        }
        // The earlier one first: the later one is folded on from there.
        let Ok(then) = self.views_at(from).await? else { return Ok(Err(Busy)) };
        let Ok(now) = self.views_at(to).await? else { return Ok(Err(Busy)) };
        let moments = Moments { then, now };
        let mut found = Differences { from: moments.then.position(), to: moments.now.position(), things: Vec::new(), next: None };
        let (mut streams, mut things, mut lasts) = (Vec::new(), Vec::new(), Vec::new());
        // To which application something belonged that was shredded is not known any more.
        let named = |state: &AnyState| {
            by.app_ids.is_empty() || !matches!(state, AnyState::Shredded(_)) && state.app().is_none_or(|app| by.app_ids.iter().any(|own| own == app))
        };
        for (stream, entry) in moved(&moments, selection) {
            if after.is_some_and(|after| stream <= after) || !named(&entry.state) {
                continue;
            }
            let kind = if let AnyState::Shredded(name) = &entry.state { Kind::named(name) } else { entry.state.sort() };
            let Some(kind) = kind else { continue };
            let then = moments.then.thing(stream).map_or(&AnyState::Absent, |entry| &entry.state);
            let changes = differences(then, &entry.state)?;
            let how = match (then, then.is_live(), entry.state.is_live()) {
                // Whether it differed is not known any more.
                (AnyState::Shredded(_), ..) => "shredded",
                _ if changes.is_empty() => continue,
                (AnyState::Absent, _, true) => "created",
                (_, true, false) => "deleted",
                (_, false, true) => "restored",
                _ => "changed",
            };
            if things.len() == limit {
                found.next = streams.last().copied();
                break;
            }
            streams.push(stream);
            lasts.push(entry.last);
            things.push((entry.tenant, kind, how, changes));
        }
        let lasts = self.shown_at(&lasts).await?;
        let told = |((stream, (tenant, kind, how, changes)), last)| Changed { stream, tenant, kind, how, changes, last };
        found.things = streams.into_iter().zip(things).zip(lasts).map(told).collect();
        Ok(Ok(found))
    }
}

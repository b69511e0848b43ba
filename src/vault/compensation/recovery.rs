//! Things put back to a moment, on the vault that runs: the whole of it, a tenant, a kind, a consumer, or one thing.

use std::sync::Arc;

use super::target::recovered;
use super::{MAX_STEPS, Planned, Step, Wish, of_all_applications, shredded, step};
use crate::credentials::recovery::{Selection, State};
use crate::credentials::{AnyState, Kind, connection, consumer};
use crate::kernel::{Permission, Position, Refusal, StreamId};
use crate::vault::access::{Principal, Resource, authorize};
use crate::vault::{Busy, Vault, VaultError};
use crate::views::{Entry, Views};

/// The views of two moments.
pub struct Moments {
    /// The earlier one.
    pub then: Arc<Views>,
    /// The later one.
    pub now: Arc<Views>,
}

/// A recovery that was begun and has no end yet.
pub type Unfinished = (StreamId, State);

/// Whether a selection takes a thing.
pub(in crate::vault) fn takes(selection: &Selection, stream: StreamId, entry: &Entry) -> bool {
    let of_consumer = |(app, id): &(String, String)| match &entry.state {
        AnyState::Consumer(consumer::State::Live(live)) => *app == *live.app && *id == *live.consumer,
        AnyState::Consumer(consumer::State::Deleted { app: of, consumer, .. }) => *app == **of && *id == **consumer,
        AnyState::Connection(connection::State::Live(live)) => *app == live.key.app && *id == live.key.consumer,
        AnyState::Connection(connection::State::Deleted { key, .. }) => *app == key.app && *id == key.consumer,
        _ => false,
    };
    let tenant = if let AnyState::Tenant(crate::credentials::tenant::State::Live { tenant, .. }) = &entry.state { *tenant } else { entry.tenant };
    selection.tenant.is_none_or(|wanted| wanted == tenant)
        && selection.kind.as_deref().is_none_or(|kind| kind == entry.state.kind())
        && selection.thing.is_none_or(|thing| thing == stream)
        && selection.consumer.as_ref().is_none_or(of_consumer)
}

/// The permission to put any kind back.
pub(super) const fn recovers(_: Kind) -> Permission {
    Permission::RecoveryApply
}

impl Vault {
    /// What a recovery would do, for a principal who may recover. Without a tenant in the selection it is the whole vault, which only those do who
    /// run it.
    pub async fn plan_recovery(&self, by: &Principal, to: Position, selection: &Selection, revive: bool) -> Result<Result<Planned, Busy>, VaultError> {
        of_all_applications(by)?;
        if selection.tenant == Some(by.tenant) {
            authorize(by, Permission::RecoveryApply, Resource { tenant: by.tenant, app: None })?;
        } else {
            authorize(by, Permission::RecoveryApply, Resource { tenant: by.tenant, app: None })?;
            authorize(by, Permission::VaultOperate, Resource { tenant: by.tenant, app: None })?;
        }
        let now = self.views();
        let Ok(then) = self.views_at(to).await? else { return Ok(Err(Busy)) };
        let moments = Moments { then, now };
        let steps = self.recovery_steps(by, &moments, selection).await?;
        let steps = self.checked(by, steps, &moments.now, revive, recovers).await?;
        let wish = Wish::Recover { to: moments.then.position(), selection: selection.clone() };
        Ok(Ok(Planned::new(wish, revive, moments.now.position(), steps, &self.plan_key()?)?))
    }

    /// Whether a selection matches anything, deleted things included.
    #[must_use]
    pub fn selects(&self, selection: &Selection) -> bool {
        self.views().things().any(|(stream, entry)| takes(selection, *stream, entry))
    }

    async fn recovery_steps(&self, by: &Principal, moments: &Moments, selection: &Selection) -> Result<Vec<Step>, VaultError> {
        let mut steps = Vec::new();
        // A tenant as such is the system's: its own people do not even see that it has moved.
        for (stream, entry) in moved(moments, selection).into_iter().filter(|(_, entry)| by.is_home || entry.state.sort() != Some(Kind::Tenant)) {
            let then = moments.then.thing(stream).map_or(&AnyState::Absent, |entry| &entry.state);
            if let Some(step) = shredded(stream, entry)?.filter(|_| moments.then.thing(stream).is_some()) {
                steps.push(step);
                continue;
            }
            let alive = if then.is_live() && !entry.state.is_live() { self.last_alive(stream, entry).await? } else { None };
            let (Some(target), Some(kind)) = (recovered(then, &entry.state, alive.as_ref())?, entry.state.sort()) else { continue };
            let mut step = step(stream, entry, kind, target.action)?;
            step.problem = target.problem;
            steps.push(step);
            if steps.len() > MAX_STEPS {
                return Err(Refusal::Limit { what: "things of one recovery", limit: MAX_STEPS as u64 }.into());
            }
        }
        Ok(steps)
    }

    /// A connection as it stood before it was deleted; the others are deleted with nothing that goes forward.
    async fn last_alive(&self, stream: StreamId, entry: &Entry) -> Result<Option<AnyState>, VaultError> {
        if matches!(entry.state, AnyState::Connection(_)) { self.before_deletion(stream, entry).await } else { Ok(None) }
    }

    /// A thing that was deleted, as it stood before.
    pub(super) async fn before_deletion(&self, stream: StreamId, entry: &Entry) -> Result<Option<AnyState>, VaultError> {
        let mut at = entry.last;
        while at > Position::ZERO {
            let Some(record) = self.log.fetch(&[at]).await?.pop() else { break };
            if record.header().event_type == "deleted" {
                return Ok(self.thing_at(stream, at, None).await?.map(|around| around.before));
            }
            at = record.header().previous;
        }
        Ok(None)
    }

    /// Recoveries that were begun and have no end, oldest first.
    #[must_use]
    pub fn unfinished(&self) -> Vec<Unfinished> {
        let views = self.views();
        let all = |tenant| {
            let open = views.listed(tenant, Kind::Recovery, Position::ZERO);
            open.filter_map(|(id, entry)| match &entry.state {
                AnyState::Recovery(state) if state.finished.is_none() => Some((id, state.clone())),
                _ => None,
            })
        };
        views.tenants().flat_map(|(_, tenant, _)| all(tenant).collect::<Vec<_>>()).collect()
    }
}

/// Things of a selection that have had events since.
pub(in crate::vault) fn moved<'a>(moments: &'a Moments, selection: &'a Selection) -> Vec<(StreamId, &'a Entry)> {
    let since = |stream: StreamId, entry: &Entry| moments.then.thing(stream).is_none_or(|then| then.last != entry.last);
    if let Some(thing) = selection.thing {
        let entry = moments.now.thing(thing).filter(|entry| since(thing, entry) && takes(selection, thing, entry));
        return entry.map(|entry| (thing, &**entry)).into_iter().collect();
    }
    let mut all: Vec<(StreamId, &Entry)> =
        moments.now.things().filter(|(id, entry)| since(**id, entry) && takes(selection, **id, entry)).map(|(id, entry)| (*id, &**entry)).collect();
    all.sort_unstable_by_key(|(id, _)| *id);
    all
}

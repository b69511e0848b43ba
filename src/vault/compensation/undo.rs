//! What an event did, taken back.

use std::collections::BTreeMap;

use super::recovery::recovers;
use super::target::undone;
use super::{Action, MAX_STEPS, Planned, Step, Wish, of_all_applications, shredded, step, write_permission};
use crate::credentials::{AnyState, consumer, recovery, tenant};
use crate::kernel::{Header, Permission, Position, Refusal, StreamId, TenantId};
use crate::seal::Record;
use crate::vault::access::{Principal, Resource, authorize};
use crate::vault::{Vault, VaultError};

/// Events after which a connection holds other tokens than an exchange would have brought: they can be taken back.
const PUT_TOKENS: [&str; 3] = ["imported", "revoked", "reverted"];

impl Vault {
    /// What an undo would do, for a principal who may undo and write each of the things. Of a recovery's beginning or end, all that it did is
    /// taken back, by who may recover.
    pub async fn plan_undo(&self, by: &Principal, position: Position, alone: bool, revive: bool) -> Result<Planned, VaultError> {
        authorize(by, Permission::UndoApply, Resource { tenant: by.tenant, app: None })?;
        of_all_applications(by)?;
        let record = self.log.fetch(&[position]).await?.pop().filter(|record| is_within_reach(by, record)).ok_or(Refusal::NotFound)?;
        let header = record.header();
        let of_recovery = header.kind == recovery::NAME;
        let headers: Vec<Header> = if of_recovery {
            authorize(by, Permission::RecoveryApply, Resource { tenant: by.tenant, app: None })?;
            self.of_recovery(header.stream).await?
        } else if alone {
            vec![header.clone()]
        } else {
            let first = position.0 - u64::from(header.group.index);
            let positions: Vec<Position> = (first..first + u64::from(header.group.count)).map(Position).collect();
            self.log.fetch(&positions).await?.iter().map(|record| record.header().clone()).collect()
        };
        let mut streams: BTreeMap<StreamId, (Position, Position, bool)> = BTreeMap::new();
        for header in &headers {
            let puts_tokens = PUT_TOKENS.contains(&header.event_type.as_str());
            let (_, last, tokens) = streams.entry(header.stream).or_insert((header.position, header.position, false));
            (*last, *tokens) = (header.position, *tokens || puts_tokens);
        }
        if streams.len() > MAX_STEPS {
            return Err(Refusal::Limit { what: "things of one undo", limit: MAX_STEPS as u64 }.into());
        }
        let views = self.views();
        let mut steps = Vec::new();
        for (stream, (first, last, tokens)) in &streams {
            let Some(entry) = views.thing(*stream).filter(|entry| !of_recovery || entry.tenant == by.tenant || runs(by)) else { continue };
            if let Some(step) = self.undo_step(*stream, entry, (*first, *last), *tokens).await? {
                steps.push(step);
            }
        }
        // A consumer that has connections of later stays: it came along with the first one.
        let others = |step: &Step| match views.thing(step.stream).map(|entry| &entry.state) {
            Some(AnyState::Consumer(consumer::State::Live(live))) => live.connections.iter().any(|connection| !streams.contains_key(connection)),
            _ => false,
        };
        steps.retain(|step| !(matches!(step.action, Action::Delete) && others(step)));
        // Where something can be done, what only goes forward is left out: an event beside a change often only notes it.
        if steps.iter().any(Step::acts) {
            steps.retain(|step| step.acts() || step.problem.as_ref().is_none_or(|problem| !problem.is_nothing_to_do()));
        }
        let steps = self.checked(by, steps, &views, revive, if of_recovery { recovers } else { write_permission }).await?;
        let key = self.plan_key()?;
        Planned::new(Wish::Undo { position, alone }, revive, views.position(), steps, &key)
    }

    /// The events that a recovery wrote.
    async fn of_recovery(&self, stream: StreamId) -> Result<Vec<Header>, VaultError> {
        let views = self.views();
        let Some(entry) = views.thing(stream) else { return Err(Refusal::NotFound.into()) };
        match &entry.state {
            AnyState::Recovery(state) if state.finished.is_some() => self.caused_by(state.started, Some(entry.last)).await,
            _ => Err(Refusal::InvalidState("the recovery has not ended: it goes on here, or at the next start".into()).into()),
        }
    }

    async fn undo_step(
        &self,
        stream: StreamId,
        entry: &crate::views::Entry,
        (first, last): (Position, Position),
        tokens: bool,
    ) -> Result<Option<Step>, VaultError> {
        if let Some(step) = shredded(stream, entry)? {
            return Ok(Some(step));
        }
        let Some(kind) = entry.state.sort() else { return Ok(None) };
        let Some(begun) = self.thing_at(stream, first, None).await? else { return Ok(None) };
        let before = begun.before.clone();
        let after = if last == first { begun.after } else { self.thing_at(stream, last, Some(&begun)).await?.map_or(AnyState::Absent, |around| around.after) };
        let tokens = tokens && matches!(entry.state, AnyState::Connection(_));
        let target = undone(&before, &after, &entry.state, tokens)?;
        let mut step = step(stream, entry, kind, target.action)?;
        (step.changed_since, step.problem) = (target.changed_since, target.problem);
        if let Some(problem) = step.problem.take() {
            step.stop(problem);
        }
        Ok(Some(step))
    }
}

/// Whether a principal may undo an event at all: its tenant's, of a tenant as such where it may write those, and of any recovery where it runs the
/// vault.
fn is_within_reach(by: &Principal, record: &Record) -> bool {
    let header = record.header();
    let of_a_tenant = header.tenant == TenantId::SYSTEM && header.kind == tenant::NAME && by.held().holds(Permission::TenantsWrite);
    header.tenant == by.tenant || of_a_tenant || (header.kind == recovery::NAME && runs(by))
}

fn runs(by: &Principal) -> bool {
    by.held().holds(Permission::VaultOperate)
}

/// What stays as it is.
impl Action {
    /// The state that the thing is to have; `None` when it goes or stays.
    pub(super) const fn to(&self) -> Option<&AnyState> {
        match self {
            Self::Revert { to, .. } => Some(to),
            Self::Delete | Self::Nothing => None,
        }
    }
}

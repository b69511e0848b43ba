//! What an event did, taken back.

use std::collections::BTreeMap;

use super::target::undone;
use super::{Action, Planned, Step, Wish, shredded, step, write_permission};
use crate::credentials::AnyState;
use crate::kernel::{Permission, Position, Refusal, StreamId, TenantId};
use crate::seal::Record;
use crate::vault::access::{Principal, Resource, authorize};
use crate::vault::{Vault, VaultError};

/// Events after which a connection holds other tokens than an exchange would have brought: they can be taken back.
const PUT_TOKENS: [&str; 3] = ["imported", "revoked", "reverted"];

impl Vault {
    /// What an undo would do, for a principal who may undo and write each of the things.
    pub async fn plan_undo(&self, by: &Principal, position: Position, alone: bool, revive: bool) -> Result<Planned, VaultError> {
        authorize(by, Permission::UndoApply, Resource { tenant: by.tenant, app: None })?;
        let record = self.log.fetch(&[position]).await?.pop().filter(|record| is_within_reach(by, record)).ok_or(Refusal::NotFound)?;
        let header = record.header();
        let all = if alone {
            vec![record]
        } else {
            let first = position.0 - u64::from(header.group.index);
            let positions: Vec<Position> = (first..first + u64::from(header.group.count)).map(Position).collect();
            self.log.fetch(&positions).await?
        };
        let mut streams: BTreeMap<StreamId, (Position, Position, bool)> = BTreeMap::new();
        for header in all.iter().map(Record::header) {
            let puts_tokens = PUT_TOKENS.contains(&header.event_type.as_str());
            let (_, last, tokens) = streams.entry(header.stream).or_insert((header.position, header.position, false));
            (*last, *tokens) = (header.position, *tokens || puts_tokens);
        }
        let views = self.views();
        let mut steps = Vec::new();
        for (stream, (first, last, tokens)) in streams {
            let Some(entry) = views.thing(stream) else { continue };
            if let Some(step) = self.undo_step(stream, entry, (first, last), tokens).await? {
                steps.push(step);
            }
        }
        // Where something can be done, what only goes forward is left out: an event beside a change often only notes it.
        if steps.iter().any(Step::acts) {
            steps.retain(|step| step.acts() || step.problem.as_ref().is_none_or(|problem| !problem.is_nothing_to_do()));
        }
        let steps = self.checked(by, steps, &views, revive, write_permission).await?;
        let key = self.plan_key()?;
        Planned::new(Wish::Undo { position, alone }, revive, views.position(), steps, &key)
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

/// Whether a principal may undo an event at all: its tenant's, or of a tenant as such, where it runs the vault.
fn is_within_reach(by: &Principal, record: &Record) -> bool {
    let header = record.header();
    header.tenant == by.tenant || (header.tenant == TenantId::SYSTEM && by.is_home && header.kind == crate::credentials::tenant::NAME)
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

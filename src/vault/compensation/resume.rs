//! What was cut off goes on: with what the asker might do when it was begun, and for the reason that was given then.

use std::collections::HashSet;

use super::apply::batches;
use super::{Planned, Unfinished};
use crate::credentials::Meta;
use crate::credentials::recovery::{self, State};
use crate::kernel::{Class, Header, Position, Refusal, StreamId};
use crate::log::{MAX_BLOCK_RECORDS, SubmitError};
use crate::vault::access::{Hold, Principal};
use crate::vault::{Vault, VaultError};

/// The rule under which a recovery goes on.
const RULE: &str = "recovery";

impl Vault {
    /// Carries on with what was cut off: what still differs, and has not changed again since it began.
    pub async fn go_on(&self, (stream, state): Unfinished) -> Result<super::Applied, VaultError> {
        let tenant = self.views().thing(stream).map(|entry| entry.tenant).ok_or(Refusal::NotFound)?;
        let holds = vec![Hold { rule: RULE.into(), permissions: state.asker.held }];
        let by = Principal { id: state.by, user: state.asker.user, tenant, is_home: state.asker.is_home, holds, app_ids: Vec::new() };
        let planned = self.planned_anew(&by, &state).await?;
        let mut acting = Vec::new();
        for step in planned.acting() {
            if !self.changed_since(step.stream, state.started).await? {
                acting.push(step);
            }
        }
        let before = self.caused_by(state.started, None).await?;
        let things: HashSet<StreamId> = before.iter().map(|header| header.stream).collect();
        let _alone = self.putting_back.lock().await;
        let spared = Self::spared(&self.views(), &acting);
        let reason = self.shown_at(&[state.started]).await?.pop().and_then(|begun| begun.meta.reason);
        let meta = Meta { rule: Some(RULE.into()), reason, ..Meta::default() };
        self.finish(&by, &meta, (stream, state.started), (&batches(&acting), things.len() as u64), &spared).await
    }

    async fn planned_anew(&self, by: &Principal, state: &State) -> Result<Planned, VaultError> {
        if let Some(undone) = state.undone {
            return self.plan_undo(by, undone.position, undone.alone, state.revive).await;
        }
        let planned = self.plan_recovery(by, state.to, &state.selection, state.revive).await?;
        planned.map_err(|_| VaultError::Submit(SubmitError::Busy))
    }

    /// Whether a thing changed after a position by anything that was not caused there.
    async fn changed_since(&self, stream: StreamId, started: Position) -> Result<bool, VaultError> {
        let mut at = self.views().thing(stream).map_or(Position::ZERO, |entry| entry.last);
        while at > started {
            let Some(record) = self.log.fetch(&[at]).await?.pop() else { break };
            let header = record.header();
            if header.class == Class::Change && header.causation != started {
                return Ok(true);
            }
            at = header.previous;
        }
        Ok(false)
    }

    /// The events that name one as their cause, but for those of recoveries themselves, through a position or all.
    pub(super) async fn caused_by(&self, started: Position, until: Option<Position>) -> Result<Vec<Header>, VaultError> {
        let (mut found, mut at) = (Vec::new(), started);
        loop {
            let records = self.log.read(at, MAX_BLOCK_RECORDS).await?;
            let Some(last) = records.last() else { return Ok(found) };
            at = last.header().position;
            let within = |header: &&Header| until.is_none_or(|until| header.position <= until);
            let caused = records.iter().map(crate::seal::Record::header).filter(within);
            found.extend(caused.filter(|header| header.causation == started && header.kind != recovery::NAME).cloned());
            if until.is_some_and(|until| at >= until) {
                return Ok(found);
            }
        }
    }
}

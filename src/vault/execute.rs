//! One command, from its caller to its answer.

use std::sync::Arc;

use super::access::Principal;
use super::sealer::Author;
use super::{Vault, VaultError};
use crate::credentials::{AnyEvent, Meta};
use crate::kernel::{Moment, Plan, Position, Random, Refusal, StreamId};
use crate::views::Views;

/// How often a command is decided anew because another writer was faster.
const TRIES: u32 = 8;

/// What a decision is given: one snapshot, the time, and ids of its own.
pub struct Given<'a> {
    /// The read models.
    pub views: &'a Views,
    /// The time.
    pub now: Moment,
    random: &'a dyn Random,
}

impl Given<'_> {
    /// An id for a thing that is to be made.
    #[must_use]
    pub fn fresh(&self) -> StreamId {
        StreamId::random(self.random)
    }
}

/// What a caller asks: who, how, and under which idempotency key.
pub struct Command<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// How it comes about, the rule that let it through included.
    pub meta: Meta,
    /// The route, the caller's idempotency key, and the request's parts.
    pub idempotency: Option<(&'a str, &'a str, &'a [&'a [u8]])>,
}

/// What became of a command.
pub struct Answer {
    /// The views, the command's own events included.
    pub views: Arc<Views>,
    /// Its first and last event; `None` when nothing had to change.
    pub events: Option<(Position, Position)>,
    /// Whether it had been carried out before under the same idempotency key.
    pub repeated: bool,
}

impl Vault {
    /// Decides on the current views, seals, appends, and answers when the views have it. A conflict with another writer is decided anew.
    pub async fn execute(&self, command: &Command<'_>, mut decide: impl FnMut(&Given<'_>) -> Result<Plan<AnyEvent>, Refusal>) -> Result<Answer, VaultError> {
        let principal = command.principal;
        let hashed = command.idempotency.map(|(route, given, request)| self.sealer.command(principal.tenant, principal.id, route, given, request));
        if let Some(answer) = self.repeated(hashed).await? {
            return Ok(answer);
        }
        let mut tries = 0;
        loop {
            if let Some(cause) = self.views.failure() {
                return Err(VaultError::Stopped(cause));
            }
            let views = self.views.load();
            let given = Given { views: &views, now: self.clock.now(), random: &*self.random };
            let plan = decide(&given)?;
            if plan.writes.is_empty() {
                return Ok(Answer { views, events: None, repeated: false });
            }
            let author = Author { tenant: principal.tenant, actor: principal.id, meta: &command.meta, command: hashed };
            let submission = self.sealer.seal(plan, &author, |stream| views.thing(stream).map(|entry| entry.facts_key))?;
            tries += 1;
            match self.sequencer.submit(submission).await.map_err(VaultError::from) {
                Ok(appended) => {
                    let events = Some((appended.first, appended.last));
                    return Ok(Answer { views: self.views.load(), events, repeated: appended.repeated });
                }
                Err(VaultError::Refused(Refusal::Conflict { .. } | Refusal::NameTaken { .. })) if tries < TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The answer to a command that was carried out before. It is looked for before anything is decided: the thing has moved on since.
    async fn repeated(&self, hashed: Option<([u8; 32], [u8; 32])>) -> Result<Option<Answer>, VaultError> {
        let Some((command, request)) = hashed else { return Ok(None) };
        let Some(earlier) = self.sequencer.index().await.and_then(|index| index.command(&command)) else { return Ok(None) };
        if earlier.request != Some(request) {
            return Err(Refusal::CommandReused.into());
        }
        Ok(Some(Answer { views: self.views.load(), events: Some((earlier.first, earlier.last)), repeated: true }))
    }
}

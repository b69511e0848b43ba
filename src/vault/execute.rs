//! One command, from its caller to its answer.

use std::sync::Arc;

use super::access::Principal;
use super::sealer::Author;
use super::{Vault, VaultError};
use crate::credentials::issued::{self, KnownToken, TokenType};
use crate::credentials::{AnyEvent, Meta, Sealing, Verifier};
use crate::kernel::{KeyId, Moment, Plan, Position, Random, Refusal, Secret, StreamId, TenantId};
use crate::keyring::PurposeKey;
use crate::log::{Appended, Place, Submission, SubmitError};
use crate::seal::{Key, derive};
use crate::views::{REPLAY, Views};

/// How often a command is decided anew because another writer was faster.
const TRIES: u32 = 8;
/// From so many tries on, commands are decided anew one at a time: of many that want one thing, each round would let one through.
const IN_TURN: u32 = 2;

/// What a decision is given: one snapshot, the time, and ids of its own.
pub struct Given<'a> {
    /// The read models.
    pub views: &'a Views,
    /// The time.
    pub now: Moment,
    random: &'a dyn Random,
    token_key: &'a PurposeKey,
    /// Whether the command may be repeated, so that what it shows once must be shown again.
    repeatable: bool,
}

impl Given<'_> {
    /// A secret of our own: its value to show once, and what it is recognised by.
    #[must_use]
    pub fn issue(&self, kind: TokenType) -> (Secret, KnownToken) {
        issued::draw(kind, self.random, |token| {
            Verifier::new(self.token_key.id, derive::token_verifier(&self.token_key.key, &token.id.to_string(), token.secret.expose()))
        })
    }

    /// What a repeat of the command is answered with, a secret a line; nothing when it cannot be repeated.
    #[must_use]
    pub fn replay(&self, values: &[Secret]) -> Sealing {
        if !self.repeatable {
            return Sealing::new();
        }
        let lines = Secret::new(values.iter().map(Secret::expose).collect::<Vec<_>>().join(&b'\n'));
        vec![(REPLAY.to_owned(), lines)]
    }

    /// Random bytes for a secret of our own that others compute with.
    #[must_use]
    pub fn draw<const N: usize>(&self) -> [u8; N] {
        self.random.array()
    }

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

/// What is kept before a call to the outside, so that its result can be recorded whatever comes: a place in the queue, and keys.
pub struct Kept {
    place: Option<Place>,
    keys: Vec<(KeyId, Key)>,
}

impl Kept {
    /// Nothing is kept: a place is waited for when it is needed.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { place: None, keys: Vec::new() }
    }
}

/// Whether the command may be decided otherwise on newer views. A name whose holder was known when the command was decided stays taken.
fn may_differ(refusal: &Refusal, views: &Views) -> bool {
    match refusal {
        Refusal::Conflict { .. } => true,
        Refusal::NameTaken { by } => views.thing(*by).is_none(),
        _ => false,
    }
}

impl Vault {
    /// Decides on the current views, seals, appends, and answers when the views have it. A conflict with another writer is decided anew.
    pub async fn execute(&self, command: &Command<'_>, decide: impl FnMut(&Given<'_>) -> Result<Plan<AnyEvent>, Refusal>) -> Result<Answer, VaultError> {
        self.carry_out(command, decide, None).await
    }

    /// Keeps a place and so many keys for a result that is to come.
    pub async fn keep(&self, tenant: TenantId, secrets: usize) -> Result<Kept, VaultError> {
        self.check_standing()?;
        let place = Some(self.sequencer.reserve().await?);
        let keys = (0..secrets).map(|_| self.keyring.take(tenant)).collect::<Result<_, _>>()?;
        Ok(Kept { place, keys })
    }

    /// Records a result: as [`Vault::execute`], but it is decided anew until it stands.
    pub async fn record(
        &self,
        command: &Command<'_>,
        kept: Kept,
        decide: impl FnMut(&Given<'_>) -> Result<Plan<AnyEvent>, Refusal>,
    ) -> Result<Answer, VaultError> {
        self.carry_out(command, decide, Some(kept)).await
    }

    async fn carry_out(
        &self,
        command: &Command<'_>,
        mut decide: impl FnMut(&Given<'_>) -> Result<Plan<AnyEvent>, Refusal>,
        mut kept: Option<Kept>,
    ) -> Result<Answer, VaultError> {
        let principal = command.principal;
        let hashed = command.idempotency.map(|(route, given, request)| self.sealer.command(principal.tenant, principal.id, route, given, request));
        if let Some(answer) = self.repeated(hashed).await? {
            return Ok(answer);
        }
        self.check_standing()?;
        let (mut tries, mut turn) = (0, None);
        loop {
            if tries >= IN_TURN && turn.is_none() {
                turn = Some(self.contended.lock().await);
            }
            if let Some(cause) = self.views.failure() {
                return Err(VaultError::Stopped(cause));
            }
            let views = self.views.load();
            let given = Given { views: &views, now: self.time(&views), random: &*self.random, token_key: &self.token_key, repeatable: hashed.is_some() };
            let plan = decide(&given)?;
            if plan.writes.is_empty() {
                return Ok(Answer { views, events: None, repeated: false });
            }
            let author = Author { tenant: principal.tenant, actor: principal.id, meta: &command.meta, command: hashed };
            let mut keys = kept.as_mut().map(|kept| std::mem::take(&mut kept.keys)).unwrap_or_default();
            let submission = self.sealer.seal(plan, &author, |stream| views.thing(stream).map(|entry| entry.facts_key), &mut keys)?;
            tries += 1;
            match self.send(submission, kept.as_mut()).await.map_err(VaultError::from) {
                Ok(appended) => {
                    if appended.repeated {
                        return self.first_answer(appended.first, appended.last).await;
                    }
                    let views = self.views.load();
                    if views.position() < appended.last {
                        // The fold stopped before these events: there is no answer that shows them.
                        return Err(VaultError::Submit(SubmitError::Unknown("written, but the views have stopped before it".into())));
                    }
                    return Ok(Answer { views, events: Some((appended.first, appended.last)), repeated: false });
                }
                Err(VaultError::Refused(refusal)) if may_differ(&refusal, &views) && (tries < TRIES || kept.is_some()) => {}
                // Nobody asked for a version: it is no conflict of the caller's.
                Err(VaultError::Refused(Refusal::Conflict { .. })) => return Err(VaultError::Submit(SubmitError::Busy)),
                Err(error) => return Err(error),
            }
        }
    }

    async fn send(&self, submission: Submission, kept: Option<&mut Kept>) -> Result<Appended, SubmitError> {
        let sent = match kept.map(|kept| kept.place.take()) {
            None => self.sequencer.submit(submission).await,
            Some(Some(place)) => place.submit(submission).await,
            Some(None) => match self.sequencer.reserve().await {
                Ok(place) => place.submit(submission).await,
                Err(error) => Err(error),
            },
        };
        let refusing = match &sent {
            Ok(_) => Some(None),
            Err(error @ (SubmitError::Unavailable(_) | SubmitError::ClockLeapt | SubmitError::Unknown(_))) => Some(Some(error.to_string())),
            Err(_) => None,
        };
        if let Some(refusing) = refusing {
            *self.refusing.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = refusing;
        }
        sent
    }

    /// The answer to a command that was carried out before under the same idempotency key, if it was.
    pub(super) async fn answered_before(&self, command: &Command<'_>) -> Result<Option<Answer>, VaultError> {
        let by = command.principal;
        let hashed = command.idempotency.map(|(route, given, request)| self.sealer.command(by.tenant, by.id, route, given, request));
        self.repeated(hashed).await
    }

    /// The answer to a command that was carried out before. It is looked for before anything is decided: the thing has moved on since.
    async fn repeated(&self, hashed: Option<([u8; 32], [u8; 32])>) -> Result<Option<Answer>, VaultError> {
        let Some((command, request)) = hashed else { return Ok(None) };
        let Some(earlier) = self.sequencer.look(move |index| index.command(&command)).await.flatten() else { return Ok(None) };
        if earlier.request != Some(request) {
            return Err(Refusal::CommandReused.into());
        }
        self.first_answer(earlier.first, earlier.last).await.map(Some)
    }

    /// The views as they were when a command had just been carried out: its answer is given again, whatever came later.
    async fn first_answer(&self, first: Position, last: Position) -> Result<Answer, VaultError> {
        let views = self.views_at(last).await?.map_err(|_| VaultError::Submit(SubmitError::Busy))?;
        Ok(Answer { views, events: Some((first, last)), repeated: true })
    }
}

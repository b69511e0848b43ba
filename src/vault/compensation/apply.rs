//! A plan, carried out: all of it in one group where it fits into one block, else group after group, each at a consistent place.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use super::{Action, Planned, Problem, Step, Wish};
use crate::credentials::recovery::{self, Asker, Event as Recovery, Selection, Undone};
use crate::credentials::reverted::Spared;
use crate::credentials::{AnyEvent, AnyState, Kind, Meta, Reverted, Subject};
use crate::kernel::{Plan, Position, Refusal, StreamId, TenantId, Version, Write};
use crate::keyring::Purpose;
use crate::seal::Key;
use crate::vault::access::Principal;
use crate::vault::execute::{Command, Given};
use crate::vault::{Vault, VaultError, plans};

/// The most things of one group.
const AT_ONCE: usize = 256;
/// The most bytes of one group, as far as they can be told beforehand; the rest of a block's room is for headers and boxes.
const BYTES_AT_ONCE: usize = 200 * 1024;

/// How far a plan is that is being carried out.
#[derive(Debug, Default)]
pub struct Running {
    /// Things that were seen to.
    pub done: AtomicU64,
    /// Things in all.
    pub total: AtomicU64,
}

/// What became of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its first and last event; `None` when nothing had to change.
    pub events: Option<(Position, Position)>,
    /// How many things were put back or removed.
    pub reverted: u64,
    /// Things that moved while it ran: they stayed as they were.
    pub left: Vec<StreamId>,
    /// Of a recovery, its own thing.
    pub recovery: Option<StreamId>,
    /// The vault's position after it.
    pub position: Position,
}

impl Vault {
    pub(super) fn plan_key(&self) -> Result<Key, VaultError> {
        Ok(self.keyring.purpose(TenantId::SYSTEM, Purpose::State)?.key)
    }

    /// Carries a plan out, under the event that it undoes as its cause, or under the event that begins the recovery. What takes more than one group
    /// begins with such an event too, and goes on after a stop. Nothing is written when one of its things has moved.
    pub async fn apply(&self, command: &Command<'_>, planned: &Planned) -> Result<Applied, VaultError> {
        let by = command.principal;
        let acting: Vec<&Step> = planned.acting().collect();
        if acting.is_empty() {
            return Ok(Applied { events: None, reverted: 0, left: Vec::new(), recovery: None, position: self.views().position() });
        }
        let _alone = self.putting_back.lock().await;
        let views = self.views();
        let now = |step: &Step| views.thing(step.stream).map_or(Version::ZERO, |entry| entry.content_version);
        if let Some(moved) = acting.iter().find(|step| now(step) != step.version) {
            return Err(Refusal::Conflict { actual: now(moved) }.into());
        }
        let spared = Self::spared(&views, &acting);
        let batches = batches(&acting);
        let (to, selection, undone) = match &planned.wish {
            Wish::Undo { position, .. } if batches.len() == 1 => return self.run(command, &batches, (*position, true), &spared, &Running::default()).await,
            Wish::Undo { position, alone } => (*position, Selection::default(), Some(Undone { position: *position, alone: *alone })),
            Wish::Recover { to, selection } => (*to, selection.clone(), None),
        };
        let owner = Principal { tenant: selection.tenant.unwrap_or(by.tenant), ..by.clone() };
        let asker = Asker { user: by.user, held: by.held(), is_home: by.is_home };
        let (things, plan, revive) = (acting.len() as u64, planned.id.clone(), planned.revive);
        let stream = StreamId::random(&*self.random);
        let start = Recovery::Started { to, selection, things, revive, plan, undone, asker };
        let first = Command { principal: &owner, meta: command.meta.clone(), idempotency: command.idempotency };
        let begun = self.note(&first, stream, Version::ZERO, start).await?;
        self.finish(&owner, &command.meta, (stream, begun), (&batches, 0), &spared).await
    }

    /// What became of a plan that was carried out before under the same idempotency key; `tenant` is that of a recovery's selection.
    pub async fn applied_before(&self, command: &Command<'_>, tenant: Option<TenantId>) -> Result<Option<Applied>, VaultError> {
        let by = command.principal;
        let owner = Principal { tenant: tenant.unwrap_or(by.tenant), ..by.clone() };
        let command = Command { principal: &owner, meta: Meta::default(), idempotency: command.idempotency };
        let Some(answer) = self.answered_before(&command).await? else { return Ok(None) };
        let Some((first, last)) = answer.events else { return Ok(None) };
        let record = self.log.fetch(&[first]).await?.pop().ok_or(Refusal::NotFound)?;
        let position = answer.views.position();
        if record.header().kind != recovery::NAME {
            let things = answer.views.things().filter(|(_, entry)| (first..=last).contains(&entry.last)).count() as u64;
            return Ok(Some(Applied { events: Some((first, last)), reverted: things, left: Vec::new(), recovery: None, position }));
        }
        let (views, stream) = (self.views(), record.header().stream);
        let entry = views.thing(stream).ok_or(Refusal::NotFound)?;
        let AnyState::Recovery(recovery::State { finished: Some(end), .. }) = &entry.state else {
            return Err(Refusal::InvalidState("it was begun under this key, and has not ended".into()).into());
        };
        let (reverted, left) = (end.reverted, end.left.clone());
        Ok(Some(Applied { events: Some((first, entry.last)), reverted, left, recovery: Some(stream), position: entry.last }))
    }

    /// The recovery that runs here, and how far it is.
    #[must_use]
    pub fn recovering(&self) -> Option<(StreamId, Arc<Running>)> {
        self.recovering.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Carries out what an event began; some things may have been seen to before.
    pub(super) async fn finish(
        &self,
        by: &Principal,
        meta: &Meta,
        (stream, begun): (StreamId, Position),
        (batches, before): (&[Vec<&Step>], u64),
        spared: &HashMap<StreamId, Vec<Spared>>,
    ) -> Result<Applied, VaultError> {
        let running = Arc::new(Running::default());
        running.done.store(before, Ordering::Relaxed);
        running.total.store(before + batches.iter().map(Vec::len).sum::<usize>() as u64, Ordering::Relaxed);
        *self.recovering.lock().unwrap_or_else(PoisonError::into_inner) = Some((stream, Arc::clone(&running)));
        let command = Command { principal: by, meta: meta.clone(), idempotency: None };
        let done = self.run(&command, batches, (begun, false), spared, &running).await;
        *self.recovering.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let done = done?;
        let version = self.views().thing(stream).map_or(Version(1), |entry| entry.content_version);
        let reverted = before + done.reverted;
        let last = self.note(&command, stream, version, Recovery::Finished { reverted, left: done.left.clone() }).await?;
        Ok(Applied { events: Some((begun, last)), reverted, recovery: Some(stream), position: self.views().position(), ..done })
    }

    /// An event of a recovery's own; that which begins an undo names the undone one as its cause.
    async fn note(&self, command: &Command<'_>, stream: StreamId, version: Version, event: Recovery) -> Result<Position, VaultError> {
        let cause = if let Recovery::Started { undone: Some(undone), .. } = &event { undone.position } else { Position::ZERO };
        let mut event = Some(event);
        let done = self.execute(command, |_| match event.take() {
            Some(event) => Ok(Plan { causation: cause, ..Plan::of(Write::change(stream, version, event.into())) }),
            None => Err(Refusal::Conflict { actual: version }),
        });
        Ok(done.await?.events.map_or(Position::ZERO, |(first, _)| first))
    }

    /// Group after group. Where `whole`, a thing that has moved stops all of it; otherwise that thing is left.
    async fn run(
        &self,
        command: &Command<'_>,
        batches: &[Vec<&Step>],
        (cause, whole): (Position, bool),
        spared: &HashMap<StreamId, Vec<Spared>>,
        running: &Running,
    ) -> Result<Applied, VaultError> {
        let mut applied = Applied { events: None, reverted: 0, left: Vec::new(), recovery: None, position: Position::ZERO };
        for batch in batches {
            let by = command.principal;
            let tenant = batch.first().map_or(by.tenant, |step| step.tenant);
            let author = Principal { tenant, ..by.clone() };
            let command = Command { principal: &author, meta: command.meta.clone(), idempotency: command.idempotency };
            let mut left: HashSet<StreamId> = HashSet::new();
            let done = loop {
                let decide = |given: &Given<'_>| {
                    if !whole {
                        left.extend(batch.iter().filter(|step| version(given, step) != step.version).map(|step| step.stream));
                    }
                    let stay: Vec<&Step> = batch.iter().filter(|step| !left.contains(&step.stream)).copied().collect();
                    group(given, &stay, cause, spared)
                };
                match self.execute(&command, decide).await {
                    // Somebody took a name between the look and the writing.
                    Err(VaultError::Refused(Refusal::NameTaken { .. })) if !whole && left.len() < batch.len() => {
                        left.extend(batch.iter().map(|step| step.stream));
                    }
                    done => break done?,
                }
            };
            running.done.fetch_add(batch.len() as u64, Ordering::Relaxed);
            if let Some((first, last)) = done.events {
                applied.events = Some((applied.events.map_or(first, |(earliest, _)| earliest), last));
            }
            applied.reverted += (batch.len() - left.len()) as u64;
            applied.left.extend(left);
        }
        applied.position = self.views().position();
        Ok(applied)
    }
}

fn version(given: &Given<'_>, step: &Step) -> Version {
    given.views.thing(step.stream).map_or(Version::ZERO, |entry| entry.content_version)
}

/// The events of one group.
fn group(given: &Given<'_>, steps: &[&Step], cause: Position, spared: &HashMap<StreamId, Vec<Spared>>) -> Result<Plan<AnyEvent>, Refusal> {
    let mut plan = Plan::nothing();
    for step in steps {
        let entry = given.views.thing(step.stream).ok_or(Refusal::NotFound)?;
        if entry.content_version != step.version {
            return Err(Refusal::Conflict { actual: entry.content_version });
        }
        match &step.action {
            Action::Revert { to, tokens } => {
                let spared = spared.get(&step.stream).cloned().unwrap_or_default();
                let reverted = Reverted { to: (**to).clone(), tokens: *tokens, spared };
                let (held, wanted) = (entry.state.claims(), to.claims());
                let mut write = Write::change(step.stream, step.version, AnyEvent::Reverted(Box::new(reverted)));
                write.frees = held.iter().filter(|claim| !wanted.contains(claim)).cloned().collect();
                write.takes = wanted.into_iter().filter(|claim| !held.contains(claim)).collect();
                plan.writes.push(write);
            }
            Action::Delete => {
                let subject = Subject { stream: step.stream, version: step.version };
                plan = plan.and(plans::removal(given, subject, &entry.state)?);
            }
            Action::Nothing => {}
        }
        if let Some(AnyState::Connection(_)) = step.action.to() {
            plan.guards.extend(guard_of_consumer(given, step, steps));
        }
    }
    plan.causation = cause;
    Ok(plan)
}

/// The consumer of a connection that comes back stays, unless this group writes it itself.
fn guard_of_consumer(given: &Given<'_>, step: &Step, steps: &[&Step]) -> Option<crate::kernel::Guard> {
    let consumer = step.action.to()?.rests_on().into_iter().next()?;
    let written = steps.iter().any(|other| other.stream == consumer);
    (!written).then(|| crate::kernel::Guard { stream: consumer, expected: given.views.thing(consumer).map_or(Version::ZERO, |entry| entry.content_version) })
}

/// Steps in groups, each of one tenant. A consumer and its connections stay together as far as one group can hold them: the consumer comes back
/// with the first of them, and goes with the last.
pub(super) fn batches<'a>(steps: &[&'a Step]) -> Vec<Vec<&'a Step>> {
    let family = |step: &Step| match (step.kind, step.action.to()) {
        (Kind::Connection, Some(to)) => to.rests_on().into_iter().next().unwrap_or(step.stream),
        _ => step.stream,
    };
    let mut families: Vec<(TenantId, Vec<&'a Step>)> = Vec::new();
    let mut places: HashMap<StreamId, usize> = HashMap::new();
    for step in steps {
        let place = *places.entry(family(step)).or_insert_with(|| {
            families.push((step.tenant, Vec::new()));
            families.len() - 1
        });
        if let Some((_, members)) = families.get_mut(place) {
            members.push(step);
        }
    }
    let mut batches: Vec<(TenantId, usize, Vec<&'a Step>)> = Vec::new();
    for (tenant, members) in families {
        let sizes: Vec<usize> = members.iter().map(|step| size(step)).collect();
        let fits = |held: usize, count: usize, bytes: usize, more: usize| held + bytes <= BYTES_AT_ONCE && count + more <= AT_ONCE;
        let whole = sizes.iter().sum();
        let joins = batches.last().is_some_and(|(of, held, batch)| *of == tenant && fits(*held, batch.len(), whole, members.len()));
        if !joins {
            batches.push((tenant, 0, Vec::new()));
        }
        for (step, bytes) in members.into_iter().zip(sizes) {
            if batches.last().is_some_and(|(_, held, batch)| !batch.is_empty() && !fits(*held, batch.len(), bytes, 1)) {
                batches.push((tenant, 0, Vec::new()));
            }
            if let Some((_, held, batch)) = batches.last_mut() {
                *held += bytes;
                batch.push(step);
            }
        }
    }
    batches.into_iter().map(|(_, _, batch)| batch).collect()
}

/// About how large a step's event is.
fn size(step: &Step) -> usize {
    600 + step.action.to().and_then(|to| serde_json::to_vec(to).ok()).map_or(0, |json| json.len())
}

impl Problem {
    /// Whether somebody else's later change is the reason.
    #[must_use]
    pub const fn is_later_change(&self) -> bool {
        matches!(self, Self::ChangedSince | Self::Deleted | Self::NameTaken(_))
    }
}

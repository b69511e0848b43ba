//! What stands in the way of putting things back: names that were taken meanwhile, parents that are gone, secrets that are dead or were ended on
//! purpose, and what the caller may not do.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::settle::{cascade, connections_listed, may, order, owners_stay, parents_stand, phases, services_stay, take_turns};
use super::{Action, Step};
use crate::credentials::content::{differences, keeping_secrets};
use crate::credentials::reverted::Spared;
use crate::credentials::{AnyState, Kind, connection, user};
use crate::kernel::{Permission, Position, Refusal, SecretRef, StreamId};
use crate::keyring::Purpose;
use crate::seal::derive;
use crate::vault::access::{Principal, Resource, authorize};
use crate::vault::{Vault, VaultError};
use crate::views::{Entry, Views};

/// Why nothing is done to a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// What the event did only goes forward: uses, exchanges, reveals, shreds, sign-outs.
    OnlyForward,
    /// It stands so already.
    AlreadySo,
    /// Everything that the step changed was changed again since.
    ChangedSince,
    /// It was deleted since: that is to be undone first.
    Deleted,
    /// A tenant does not go away by an undo.
    StaysForEver,
    /// Another thing holds its name now.
    NameTaken(StreamId),
    /// What it belongs to is not there.
    Missing(StreamId),
    /// It was shredded, or cannot be without a secret that was.
    Shredded,
    /// It would let secrets work again that were ended on purpose: that needs to be said, and permitted.
    Revives,
    /// The service that it leads to is not known any more.
    NoConnector,
    /// A connection to the service is there.
    InUse(StreamId),
    /// An exchange of it is under way.
    UnderWay,
    /// Its tenant would be without an owner.
    LastOwner,
    /// The caller may not.
    Forbidden(&'static str),
}

impl Problem {
    /// Whether there is nothing that anybody could do about it, or has to.
    pub(super) const fn is_nothing_to_do(&self) -> bool {
        matches!(self, Self::OnlyForward | Self::AlreadySo)
    }

    /// Its name in answers.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::OnlyForward => "only-forward",
            Self::AlreadySo => "already-so",
            Self::ChangedSince => "changed-since",
            Self::Deleted => "deleted-since",
            Self::StaysForEver => "stays",
            Self::NameTaken(_) => "name-taken",
            Self::Missing(_) => "parent-missing",
            Self::Shredded => "shredded",
            Self::Revives => "revives",
            Self::NoConnector => "connector-missing",
            Self::InUse(_) => "in-use",
            Self::UnderWay => "exchange-under-way",
            Self::LastOwner => "last-owner",
            Self::Forbidden(_) => "forbidden",
        }
    }

    /// In a sentence, with what can be done.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::OnlyForward => "what it did only goes forward: uses, exchanges, reveals, sign-outs and shreds are not taken back".into(),
            Self::AlreadySo => "it stands so already".into(),
            Self::ChangedSince => "what it changed was changed again since: undo the later event first".into(),
            Self::Deleted => "it was deleted since: undo that first".into(),
            Self::StaysForEver => "a tenant is suspended or shredded, and never just goes".into(),
            Self::NameTaken(by) => format!("its name is held by {by} now: rename or delete that first"),
            Self::Missing(of) => format!("it belongs to {of}, which is not there: bring that back first"),
            Self::Shredded => "what it needs was shredded, and nothing brings that back".into(),
            Self::Revives => "it would let secrets work again that were ended on purpose: say `revive`, which needs `secrets:revive`".into(),
            Self::NoConnector => "the connector of its service is not there: bring that back first".into(),
            Self::InUse(by) => format!("the connection {by} leads to it: delete that first"),
            Self::UnderWay => "an exchange of it is under way: try again when it has ended".into(),
            Self::LastOwner => "its tenant would be without an owner".into(),
            Self::Forbidden(permission) => format!("not permitted: needs {permission}"),
        }
    }
}

impl Vault {
    /// The steps with all that stands in their way, in the order in which they are done.
    pub(super) async fn checked(
        &self,
        by: &Principal,
        mut steps: Vec<Step>,
        views: &Views,
        revive: bool,
        needs: fn(Kind) -> Permission,
    ) -> Result<Vec<Step>, VaultError> {
        if revive {
            authorize(by, Permission::SecretsRevive, Resource { tenant: by.tenant, app: None })?;
        }
        for step in steps.iter_mut().filter(|step| step.acts()) {
            self.dead_secrets(step, views).await?;
            self.revivals(step, views, revive).await?;
        }
        cascade(&mut steps, views)?;
        for step in steps.iter_mut().filter(|step| step.acts()) {
            if let Err(Refusal::Forbidden { permission }) = may(by, step, views, needs) {
                step.stop(Problem::Forbidden(permission));
            }
            let flies = matches!(views.thing(step.stream).map(|entry| &entry.state), Some(AnyState::Connection(connection::State::Live(live))) if live.flight.is_some());
            if flies && !matches!(&step.action, Action::Revert { tokens: false, .. }) {
                step.stop(Problem::UnderWay);
            }
        }
        owners_stay(&mut steps, views);
        services_stay(&mut steps, views);
        self.free_names(&mut steps, views).await?;
        parents_stand(&mut steps, views);
        connections_listed(&mut steps, views)?;
        phases(&mut steps, views)?;
        order(&mut steps);
        Ok(steps)
    }

    /// Takes away secrets whose keys are dead.
    async fn dead_secrets(&self, step: &mut Step, views: &Views) -> Result<(), VaultError> {
        let Action::Revert { to, .. } = &mut step.action else { return Ok(()) };
        let now: Vec<SecretRef> = views.thing(step.stream).map(|entry| entry.state.secrets().into_iter().cloned().collect()).unwrap_or_default();
        let back: Vec<SecretRef> = to.secrets().into_iter().filter(|secret| !now.contains(secret)).cloned().collect();
        if back.is_empty() {
            return Ok(());
        }
        let positions: Vec<Position> = back.iter().map(|secret| secret.position).collect();
        let records = self.log.fetch(&positions).await?;
        let key = |secret: &SecretRef| {
            let header = records.iter().map(crate::seal::Record::header).find(|header| header.position == secret.position)?;
            header.secrets.iter().find(|sealed| sealed.name == secret.name).map(|sealed| sealed.key)
        };
        let keys: Vec<_> = back.iter().map(|secret| (secret.clone(), key(secret))).collect();
        let dead = self.sequencer.look(move |index| {
            let is_dead = |(_, key): &(SecretRef, Option<_>)| key.is_none_or(|key| index.shredded().contains(key));
            keys.into_iter().filter(is_dead).map(|(secret, _)| secret).collect::<Vec<SecretRef>>()
        });
        let dead = dead.await.ok_or_else(|| VaultError::Stopped("the sequencer has stopped".into()))?;
        if dead.is_empty() {
            return Ok(());
        }
        step.gone = dead.iter().map(|secret| secret.name.clone()).collect();
        if to.forget(&dead) {
            step.changes = match views.thing(step.stream) {
                Some(entry) => differences(&entry.state, to)?,
                None => Vec::new(),
            };
        } else {
            step.stop(Problem::Shredded);
        }
        Ok(())
    }

    /// Secrets that would work again: left as they are, unless that was asked for. Of a thing that was deleted, as they were when it was.
    async fn revivals(&self, step: &mut Step, views: &Views, revive: bool) -> Result<(), VaultError> {
        let Some(entry) = views.thing(step.stream) else { return Ok(()) };
        let Action::Revert { to, .. } = &mut step.action else { return Ok(()) };
        let now = self.clock.now();
        let working = |state: &AnyState| -> BTreeSet<String> {
            state.bearer().map(|bearer| bearer.issued.working(now).map(|(known, _)| known.id.to_string()).collect()).unwrap_or_default()
        };
        let back: BTreeSet<String> = working(to).difference(&working(&entry.state)).cloned().collect();
        let last = self.as_last(step.stream, entry).await?;
        let mut replaced = BTreeSet::new();
        if let Some(last) = &last {
            let held = last.secrets();
            replaced.extend(to.secrets().into_iter().filter(|secret| !held.contains(secret)).map(|secret| secret.name.clone()));
            if let (AnyState::User(user::State::Live(was)), AnyState::User(user::State::Live(is))) = (&**to, last)
                && was.password.is_some()
                && was.password != is.password
            {
                replaced.insert("password".into());
            }
        }
        step.revives = back.union(&replaced).cloned().collect();
        if revive || step.revives.is_empty() {
            return Ok(());
        }
        let Some(last) = last.filter(|_| entry.state.is_live() || back.is_empty()) else {
            step.stop(Problem::Revives);
            return Ok(());
        };
        let kept = keeping_secrets(&last, to)?;
        step.changes = differences(&entry.state, &kept)?;
        if step.changes.is_empty() {
            step.stop(Problem::Revives);
        } else {
            step.action = Action::Revert { to: Box::new(kept), tokens: false };
        }
        Ok(())
    }

    /// A thing as it stands, or stood before it was deleted.
    async fn as_last(&self, stream: StreamId, entry: &Entry) -> Result<Option<AnyState>, VaultError> {
        Ok(match &entry.state {
            state if state.is_live() => Some(state.clone()),
            AnyState::User(user::State::Deleted { last, .. }) => Some(AnyState::User(user::State::Live(last.clone()))),
            // Whatever worked of these is a revival by itself.
            state if state.sort().is_some_and(issues) => None,
            AnyState::Role(_) | AnyState::Organization(_) | AnyState::Consumer(_) | AnyState::Connector(_) => None,
            _ => self.before_deletion(stream, entry).await?,
        })
    }

    /// Names that the steps take must be free, or be freed by them.
    async fn free_names(&self, steps: &mut [Step], views: &Views) -> Result<(), VaultError> {
        let mut keys = HashMap::new();
        let mut takes: Vec<Vec<[u8; 32]>> = Vec::new();
        let mut frees: HashMap<[u8; 32], StreamId> = HashMap::new();
        for step in &*steps {
            let key = match keys.entry(step.tenant) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(unknown) => unknown.insert(self.keyring.purpose(step.tenant, Purpose::Claims)?.key),
            };
            let held = views.thing(step.stream).map(|entry| entry.state.claims()).unwrap_or_default();
            let wanted = if step.acts() { step.action.to().map(AnyState::claims).unwrap_or_default() } else { held.clone() };
            frees.extend(held.iter().filter(|claim| !wanted.contains(claim)).map(|claim| (derive::claim(key, claim), step.stream)));
            takes.push(wanted.iter().filter(|claim| !held.contains(claim)).map(|claim| derive::claim(key, claim)).collect());
        }
        let asked: Vec<[u8; 32]> = takes.iter().flatten().copied().collect();
        if asked.is_empty() {
            return Ok(());
        }
        let held = self.sequencer.look(move |index| asked.into_iter().filter_map(|hash| Some((hash, index.claim(&hash)?))).collect::<HashMap<_, _>>());
        let held = held.await.ok_or_else(|| VaultError::Stopped("the sequencer has stopped".into()))?;
        let mut given: HashMap<[u8; 32], StreamId> = HashMap::new();
        let mut waits: HashMap<StreamId, Vec<StreamId>> = HashMap::new();
        for (step, takes) in steps.iter_mut().zip(takes) {
            let by = takes.iter().find_map(|hash| {
                let holder = held.get(hash).filter(|by| **by != step.stream && frees.get(hash) != Some(by));
                holder.or_else(|| given.get(hash)).copied()
            });
            if let Some(by) = by {
                step.stop(Problem::NameTaken(by));
                continue;
            }
            waits.entry(step.stream).or_default().extend(takes.iter().filter_map(|hash| held.get(hash)).filter(|by| **by != step.stream));
            given.extend(takes.into_iter().map(|hash| (hash, step.stream)));
        }
        take_turns(steps, &waits);
        Ok(())
    }

    /// When the keys of secrets that come back were due to die.
    pub(super) fn spared(views: &Views, steps: &[&Step]) -> HashMap<StreamId, Vec<Spared>> {
        let back = |step: &&Step| step.action.to().into_iter().flat_map(|to| to.secrets().into_iter().cloned().collect::<Vec<_>>()).collect::<Vec<_>>();
        let wanted: HashSet<(Position, String)> = steps.iter().flat_map(back).map(|secret| (secret.position, secret.name)).collect();
        let mut spared: HashMap<StreamId, Vec<Spared>> = HashMap::new();
        if wanted.is_empty() {
            return spared;
        }
        for ((due, position, name), stream) in views.retired() {
            if wanted.contains(&(*position, name.clone())) {
                spared.entry(*stream).or_default().push(Spared { due: *due, position: *position, name: name.clone() });
            }
        }
        spared
    }
}

/// Whether the things of a kind bear secrets that this vault issues.
const fn issues(kind: Kind) -> bool {
    matches!(kind, Kind::ApiKey | Kind::Application | Kind::ApiClient | Kind::UserApplication)
}

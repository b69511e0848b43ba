//! What stands in the way of putting things back: names that were taken meanwhile, parents that are gone, secrets that are dead or were ended on
//! purpose, and what the caller may not do.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Action, Step, step};
use crate::credentials::content::{differences, keeping_secrets};
use crate::credentials::reverted::Spared;
use crate::credentials::{AnyState, Kind, connection, connector, consumer, role, user};
use crate::kernel::{Builtin, Permission, PermissionSet, Position, Refusal, RoleRef, SecretRef, StreamId, TenantId};
use crate::keyring::Purpose;
use crate::seal::derive;
use crate::vault::access::{Principal, Resource, authorize, permissions_of};
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
    /// It cannot be without a secret that was shredded.
    Shredded,
    /// It would let secrets work again that were ended on purpose: that needs to be said, and permitted.
    Revives,
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
            Self::Shredded => "it cannot be without a secret that was shredded".into(),
            Self::Revives => "it would let secrets work again that were ended on purpose: say `revive`, which needs `secrets:revive`".into(),
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
            self.revivals(step, views, revive)?;
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

    /// Secrets that would work again: left as they are, unless that was asked for.
    fn revivals(&self, step: &mut Step, views: &Views, revive: bool) -> Result<(), VaultError> {
        let (Action::Revert { to, .. }, Some(entry)) = (&mut step.action, views.thing(step.stream)) else { return Ok(()) };
        let now = self.clock.now();
        let working = |state: &AnyState| -> BTreeSet<String> {
            state.bearer().map(|bearer| bearer.issued.working(now).map(|(known, _)| known.id.to_string()).collect()).unwrap_or_default()
        };
        let mut revives: BTreeSet<String> = working(to).difference(&working(&entry.state)).cloned().collect();
        if entry.state.is_live() {
            let held = entry.state.secrets();
            revives.extend(to.secrets().into_iter().filter(|secret| !held.contains(secret)).map(|secret| secret.name.clone()));
        }
        if let (AnyState::User(user::State::Live(was)), AnyState::User(user::State::Live(is))) = (&**to, &entry.state)
            && was.password.is_some()
            && was.password != is.password
        {
            revives.insert("password".into());
        }
        step.revives = revives.into_iter().collect();
        if revive || step.revives.is_empty() {
            return Ok(());
        }
        if !entry.state.is_live() {
            step.stop(Problem::Revives);
            return Ok(());
        }
        let kept = keeping_secrets(&entry.state, to)?;
        step.changes = differences(&entry.state, &kept)?;
        if step.changes.is_empty() {
            step.stop(Problem::Revives);
        } else {
            step.action = Action::Revert { to: Box::new(kept), tokens: false };
        }
        Ok(())
    }

    /// Names that the steps take must be free, or be freed by them.
    async fn free_names(&self, steps: &mut [Step], views: &Views) -> Result<(), VaultError> {
        let mut keys = HashMap::new();
        let (mut takes, mut frees): (Vec<Vec<[u8; 32]>>, HashMap<[u8; 32], StreamId>) = (Vec::new(), HashMap::new());
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
        let mut taken: HashMap<[u8; 32], StreamId> = HashMap::new();
        let mut waits: HashMap<StreamId, Vec<StreamId>> = HashMap::new();
        for (step, takes) in steps.iter_mut().zip(takes) {
            let by = takes.iter().find_map(|hash| {
                let holder = held.get(hash).filter(|by| **by != step.stream && frees.get(hash) != Some(by));
                holder.or_else(|| taken.get(hash)).copied()
            });
            if let Some(by) = by {
                step.stop(Problem::NameTaken(by));
                continue;
            }
            waits.entry(step.stream).or_default().extend(takes.iter().filter_map(|hash| held.get(hash)).filter(|by| **by != step.stream));
            taken.extend(takes.into_iter().map(|hash| (hash, step.stream)));
        }
        take_turns(steps, &waits);
        Ok(())
    }

    /// When the keys of secrets that come back were due to die.
    pub(super) fn spared(views: &Views, steps: &[&Step]) -> HashMap<StreamId, Vec<Spared>> {
        let back = |step: &&Step| step.action.to().into_iter().flat_map(|to| to.secrets().into_iter().cloned().collect::<Vec<_>>()).collect::<Vec<_>>();
        let wanted: HashSet<(Position, String)> = steps.iter().flat_map(|step| back(step)).map(|secret| (secret.position, secret.name)).collect();
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

/// Who takes a name that another one frees comes after it. Where they wait for each other, each would have to be first: none of them moves.
fn take_turns(steps: &mut [Step], waits: &HashMap<StreamId, Vec<StreamId>>) {
    let mut turns: HashMap<StreamId, usize> = HashMap::new();
    loop {
        let acts: HashSet<StreamId> = steps.iter().filter(|step| step.acts()).map(|step| step.stream).collect();
        let (mut waiting, mut moved, mut stopped) = (Vec::new(), false, false);
        for step in steps.iter_mut().filter(|step| step.acts()) {
            let before = waits.get(&step.stream).map(Vec::as_slice).unwrap_or_default();
            if let Some(by) = before.iter().find(|by| !acts.contains(by)) {
                // Whoever was to free the name stays as it is.
                step.stop(Problem::NameTaken(*by));
                (moved, stopped) = (true, true);
            } else if !turns.contains_key(&step.stream) {
                match before.iter().map(|by| turns.get(by)).try_fold(0, |turn, of| of.map(|of| turn.max(of + 1))) {
                    Some(turn) => {
                        turns.insert(step.stream, turn);
                        moved = true;
                    }
                    None => waiting.push((step.stream, before.first().copied())),
                }
            }
        }
        match waiting.first() {
            None if !stopped => break,
            Some((stream, Some(by))) if !moved => {
                if let Some(step) = steps.iter_mut().find(|step| step.stream == *stream) {
                    step.stop(Problem::NameTaken(*by));
                }
            }
            _ => {}
        }
    }
    for step in steps {
        step.turn = turns.get(&step.stream).copied().unwrap_or_default();
    }
}

/// What goes takes along what cannot be without it: a consumer its connections, a user all that is the user's.
fn cascade(steps: &mut Vec<Step>, views: &Views) -> Result<(), VaultError> {
    let known: HashMap<StreamId, bool> = steps.iter().map(|step| (step.stream, matches!(step.action, Action::Delete))).collect();
    let mut more = BTreeSet::new();
    for step in steps.iter().filter(|step| matches!(step.action, Action::Delete)) {
        let along: Vec<StreamId> = match views.thing(step.stream).map(|entry| &entry.state) {
            Some(AnyState::Consumer(consumer::State::Live(live))) => live.connections.iter().copied().collect(),
            Some(AnyState::User(_)) => {
                let kinds = [Kind::Session, Kind::UserApplication, Kind::ProviderKey, Kind::ApiKey];
                kinds.into_iter().flat_map(|kind| views.owned(step.stream, kind).map(|(id, _)| id)).collect()
            }
            _ => Vec::new(),
        };
        more.extend(along.into_iter().filter(|stream| known.get(stream) != Some(&true)));
    }
    steps.retain(|step| !more.contains(&step.stream));
    for stream in more {
        let Some(entry) = views.thing(stream) else { continue };
        if let Some(kind) = entry.state.sort().filter(|_| entry.state.is_live()) {
            steps.push(step(stream, entry, kind, Action::Delete)?);
        }
    }
    Ok(())
}

/// Nobody puts back what they could not have written: the permission to write the kind, and all that the thing may do, before and after.
fn may(by: &Principal, step: &Step, views: &Views, needs: fn(Kind) -> Permission) -> Result<(), Refusal> {
    let tenant = if step.kind == Kind::Tenant { step.tenant } else { by.tenant };
    if !by.app_ids.is_empty() {
        return Err(Refusal::Forbidden { permission: "a token for all applications" });
    }
    authorize(&Principal { tenant, ..by.clone() }, needs(step.kind), Resource { tenant, app: None })?;
    let Some(entry) = views.thing(step.stream) else { return Ok(()) };
    by.may_give(may_do(views, entry))?;
    let Some(to) = step.action.to() else { return Ok(()) };
    let after = Entry { state: to.clone(), ..Entry::clone(entry) };
    by.may_give(may_do(views, &after))
}

fn may_do(views: &Views, entry: &Entry) -> PermissionSet {
    match &entry.state {
        AnyState::Role(role::State::Live(role)) => role.permits.own,
        AnyState::Webhook(_) => PermissionSet::of(&[Permission::ConnectionsRead]),
        _ => permissions_of(views, entry),
    }
}

/// A tenant that has an owner keeps one.
fn owners_stay(steps: &mut [Step], views: &Views) {
    let owns = |state: &AnyState| matches!(state, AnyState::User(user::State::Live(live)) if !live.blocked && live.profile.roles.contains(&RoleRef::Builtin(Builtin::Owner)));
    let tenants: BTreeSet<TenantId> = steps.iter().filter(|step| step.kind == Kind::User && step.acts()).map(|step| step.tenant).collect();
    for tenant in tenants {
        let after: HashMap<StreamId, bool> = steps.iter().filter(|step| step.acts()).map(|step| (step.stream, step.action.to().is_some_and(owns))).collect();
        let is_owner = |id: StreamId| views.thing(id).is_some_and(|entry| owns(&entry.state));
        let stays = views.users(tenant).any(|(id, _)| after.get(&id).copied().unwrap_or_else(|| is_owner(id)));
        let comes = steps.iter().any(|step| step.tenant == tenant && after.get(&step.stream) == Some(&true));
        if stays || comes {
            continue;
        }
        for step in steps.iter_mut().filter(|step| step.tenant == tenant && step.acts() && is_owner(step.stream)) {
            step.stop(Problem::LastOwner);
        }
    }
}

/// A tenant's own connector stays while connections lead to it.
fn services_stay(steps: &mut [Step], views: &Views) {
    let goes = |step: &Step| matches!(step.action.to(), Some(AnyState::Connector(connector::State::Absent)));
    if !steps.iter().any(goes) {
        return;
    }
    let ends: HashSet<StreamId> = steps.iter().filter(|step| matches!(step.action, Action::Delete)).map(|step| step.stream).collect();
    for step in steps.iter_mut().filter(|step| goes(step)) {
        let Some(AnyState::Connector(connector::State::Live(live))) = views.thing(step.stream).map(|entry| &entry.state) else { continue };
        let leads = |state: &AnyState| matches!(state, AnyState::Connection(connection::State::Live(of)) if of.key.unified_api == live.unified_api && of.key.service_id == live.service_id);
        let used = views.listed(step.tenant, Kind::Connection, Position::ZERO).find(|(id, entry)| leads(&entry.state) && !ends.contains(id));
        if let Some((by, _)) = used {
            step.stop(Problem::InUse(by));
        }
    }
}

/// What a thing belongs to is there, or comes back with it.
fn parents_stand(steps: &mut [Step], views: &Views) {
    // Each round stops those whose parents were stopped in the one before: there are few generations.
    loop {
        let after: HashMap<StreamId, bool> =
            steps.iter().filter(|step| step.acts()).map(|step| (step.stream, step.action.to().is_some_and(AnyState::is_live))).collect();
        let stands = |id: &StreamId| after.get(id).copied().unwrap_or_else(|| views.thing(*id).is_some_and(|entry| entry.state.is_live()));
        let mut stopped = false;
        for step in steps.iter_mut() {
            let lost = step.action.to().filter(|to| to.is_live()).and_then(|to| to.rests_on().into_iter().find(|id| !stands(id)));
            if let Some(missing) = lost {
                step.stop(Problem::Missing(missing));
                stopped = true;
            }
        }
        if !stopped {
            return;
        }
    }
}

/// Consumers list the connections that they have.
fn connections_listed(steps: &mut Vec<Step>, views: &Views) -> Result<(), VaultError> {
    let mut listed: BTreeMap<StreamId, Vec<(StreamId, bool)>> = BTreeMap::new();
    for step in steps.iter().filter(|step| step.kind == Kind::Connection && step.acts()) {
        let Some(AnyState::Connection(now)) = views.thing(step.stream).map(|entry| &entry.state) else { continue };
        match (now, step.action.to()) {
            (connection::State::Live(live), None) => listed.entry(live.consumer).or_default().push((step.stream, false)),
            (connection::State::Deleted { .. }, Some(AnyState::Connection(connection::State::Live(live)))) => {
                listed.entry(live.consumer).or_default().push((step.stream, true));
            }
            _ => {}
        }
    }
    let reverted: Vec<StreamId> = steps.iter().filter(|step| step.kind == Kind::Consumer && step.action.to().is_some()).map(|step| step.stream).collect();
    for id in reverted {
        listed.entry(id).or_default();
    }
    let places: HashMap<StreamId, usize> = steps.iter().enumerate().filter(|(_, step)| step.acts()).map(|(place, step)| (step.stream, place)).collect();
    let (mut idle, mut more) = (HashSet::new(), Vec::new());
    for (id, changes) in listed {
        let Some(entry) = views.thing(id) else { continue };
        let present = match &entry.state {
            AnyState::Consumer(consumer::State::Live(live)) => live.connections.clone(),
            _ => BTreeSet::new(),
        };
        let set = |to: &mut AnyState| {
            if let AnyState::Consumer(consumer::State::Live(live)) = to {
                live.connections.clone_from(&present);
                for (connection, comes) in &changes {
                    if *comes {
                        live.connections.insert(*connection)
                    } else {
                        live.connections.remove(connection)
                    };
                }
            }
        };
        match places.get(&id).and_then(|place| steps.get_mut(*place)).map(|step| &mut step.action) {
            Some(Action::Revert { to, .. }) => set(to),
            Some(_) => {}
            None if entry.state.is_live() => {
                let mut to = entry.state.clone();
                set(&mut to);
                idle.insert(id);
                more.push(step(id, entry, Kind::Consumer, Action::Revert { to: Box::new(to), tokens: false })?);
            }
            None => {}
        }
    }
    steps.retain(|step| !idle.contains(&step.stream));
    steps.extend(more);
    Ok(())
}

/// Where a connection stands follows from its settings and tokens, and from what its tenant supplies now.
fn phases(steps: &mut [Step], views: &Views) -> Result<(), VaultError> {
    for step in steps {
        let Action::Revert { to, .. } = &mut step.action else { continue };
        let AnyState::Connection(connection::State::Live(live)) = &mut **to else { continue };
        if let Some((_, connector)) = views.connector(step.tenant, &live.key.unified_api, &live.key.service_id) {
            live.phase = views.standing(step.tenant, connector, live);
        }
        if let Some(entry) = views.thing(step.stream) {
            step.changes = differences(&entry.state, to)?;
        }
    }
    Ok(())
}

/// What goes first, children before parents, so that names are free; then what comes back, parents before children.
fn order(steps: &mut [Step]) {
    let rank = |kind: Kind| match kind {
        Kind::Tenant => 0,
        Kind::Role | Kind::Organization | Kind::Connector => 1,
        Kind::User | Kind::Consumer | Kind::Integration => 2,
        _ => 3,
    };
    steps.sort_by_key(|step| if step.action.to().is_some() { (1, rank(step.kind), step.turn, step.stream) } else { (0, 3 - rank(step.kind), 0, step.stream) });
}

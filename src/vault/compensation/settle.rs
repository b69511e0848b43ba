//! What follows for other things: what goes along, who has to stay, what comes first.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::check::Problem;
use super::{Action, Step, of_all_applications, step};
use crate::credentials::content::differences;
use crate::credentials::{AnyState, Kind, connection, connector, consumer, role, user};
use crate::kernel::{Builtin, Permission, PermissionSet, Position, Refusal, RoleRef, StreamId, TenantId};
use crate::vault::VaultError;
use crate::vault::access::{Principal, Resource, authorize, permissions_of};
use crate::views::{Entry, Views};

/// Who takes a name that another one frees comes after it. Where they wait for each other, each would have to be first: none of them moves.
pub(super) fn take_turns(steps: &mut [Step], waits: &HashMap<StreamId, Vec<StreamId>>) {
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
pub(super) fn cascade(steps: &mut Vec<Step>, views: &Views) -> Result<(), VaultError> {
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

/// Nobody puts back what they could not have written: the permission to write the kind, and all that the thing may do, before and after. Tenants as
/// such are the business of who may write tenants.
pub(super) fn may(by: &Principal, step: &Step, views: &Views, needs: fn(Kind) -> Permission) -> Result<(), Refusal> {
    of_all_applications(by)?;
    let own = Resource { tenant: by.tenant, app: None };
    authorize(by, needs(step.kind), own)?;
    if step.kind == Kind::Tenant {
        authorize(by, Permission::TenantsWrite, own)?;
    }
    let Some(entry) = views.thing(step.stream) else { return Ok(()) };
    by.may_give(may_do(views, entry))?;
    let Some(to) = step.action.to() else { return Ok(()) };
    let after = Entry { state: to.clone(), ..Entry::clone(entry) };
    by.may_give(may_do(views, &after))
}

/// What a thing may do. A role that was deleted counts with what it permitted: when it comes back, so does that.
fn may_do(views: &Views, entry: &Entry) -> PermissionSet {
    let roles = match &entry.state {
        AnyState::Role(role::State::Live(role)) => return role.permits.own,
        AnyState::Webhook(_) => return PermissionSet::of(&[Permission::ConnectionsRead]),
        AnyState::User(user::State::Live(user)) => &user.profile.roles[..],
        state => state.bearer().map_or(&[][..], |bearer| bearer.roles),
    };
    let dead = |role: &RoleRef| match role {
        RoleRef::Own(id) => match views.thing(*id).map(|entry| &entry.state) {
            Some(AnyState::Role(role::State::Deleted { last, .. })) => Some(last.permits.own),
            _ => None,
        },
        RoleRef::Builtin(_) => None,
    };
    roles.iter().filter_map(dead).fold(permissions_of(views, entry), PermissionSet::and)
}

/// A tenant that has an owner keeps one.
pub(super) fn owners_stay(steps: &mut [Step], views: &Views) {
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

/// A connection comes back only where its service is known, and a tenant's own connector stays while connections lead to it.
pub(super) fn services_stay(steps: &mut [Step], views: &Views) {
    let goes = |step: &Step| matches!(step.action.to(), Some(AnyState::Connector(connector::State::Absent)));
    let put = |step: &Step| match step.action.to() {
        Some(AnyState::Connector(connector::State::Live(live))) => Some((step.tenant, live.unified_api.clone(), live.service_id.clone())),
        _ => None,
    };
    let back: HashSet<_> = steps.iter().filter_map(put).collect();
    for step in steps.iter_mut() {
        let Some(AnyState::Connection(connection::State::Live(live))) = step.action.to() else { continue };
        let (api, service) = (live.key.unified_api.clone(), live.key.service_id.clone());
        if views.connector(step.tenant, &api, &service).is_none() && !back.contains(&(step.tenant, api, service)) {
            step.stop(Problem::NoConnector);
        }
    }
    if !steps.iter().any(goes) {
        return;
    }
    let comes = |step: &Step| match step.action.to() {
        Some(AnyState::Connection(connection::State::Live(live))) => Some((step.tenant, live.key.unified_api.clone(), live.key.service_id.clone())),
        _ => None,
    };
    let wanted: HashMap<_, StreamId> = steps.iter().filter_map(|step| comes(step).map(|service| (service, step.stream))).collect();
    let ends: HashSet<StreamId> = steps.iter().filter(|step| matches!(step.action, Action::Delete)).map(|step| step.stream).collect();
    for step in steps.iter_mut().filter(|step| goes(step)) {
        let Some(AnyState::Connector(connector::State::Live(live))) = views.thing(step.stream).map(|entry| &entry.state) else { continue };
        let leads = |state: &AnyState| matches!(state, AnyState::Connection(connection::State::Live(of)) if of.key.unified_api == live.unified_api && of.key.service_id == live.service_id);
        let used = views.listed(step.tenant, Kind::Connection, Position::ZERO).find(|(id, entry)| leads(&entry.state) && !ends.contains(id));
        let service = (step.tenant, live.unified_api.clone(), live.service_id.clone());
        if let Some(by) = used.map(|(by, _)| by).or_else(|| wanted.get(&service).copied()) {
            step.stop(Problem::InUse(by));
        }
    }
}

/// What a thing belongs to is there, or comes back with it.
pub(super) fn parents_stand(steps: &mut [Step], views: &Views) {
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
pub(super) fn connections_listed(steps: &mut Vec<Step>, views: &Views) -> Result<(), VaultError> {
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
            None if entry.state.is_live() => {
                let mut to = entry.state.clone();
                set(&mut to);
                idle.insert(id);
                more.push(step(id, entry, Kind::Consumer, Action::Revert { to: Box::new(to), tokens: false })?);
            }
            Some(_) | None => {}
        }
    }
    steps.retain(|step| !idle.contains(&step.stream));
    steps.extend(more);
    Ok(())
}

/// Where a connection stands follows from its settings and tokens, and from what its tenant supplies now.
pub(super) fn phases(steps: &mut [Step], views: &Views) -> Result<(), VaultError> {
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
pub(super) fn order(steps: &mut [Step]) {
    let rank = |kind: Kind| match kind {
        Kind::Tenant => 0,
        Kind::Role | Kind::Organization | Kind::Connector => 1,
        Kind::User | Kind::Consumer | Kind::Integration => 2,
        _ => 3,
    };
    steps.sort_by_key(|step| if step.action.to().is_some() { (1, rank(step.kind), step.turn, step.stream) } else { (0, 3 - rank(step.kind), 0, step.stream) });
}

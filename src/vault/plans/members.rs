//! Users, roles, organisations, tenants: who there is.

use super::{fresh, give, give_applications, give_roles, guard, outranks, permitted, seen, subject, thing};
use crate::credentials::issued::KnownToken;
use crate::credentials::user::{Changes, Profile, User};
use crate::credentials::{AnyEvent, AnyState, Kind, PasswordHash, Sealing, api_key, organization, provider_key, role, session, tenant, user, user_application};
use crate::kernel::{Builtin, Moment, Plan, Refusal, RoleRef, StreamId, TenantId, Version};
use crate::vault::access::Principal;
use crate::vault::execute::Given;
use crate::views::Entry;

/// The most things that are removed at once: as many as fit into one block, whatever their headers say.
const AT_ONCE: usize = 500;

fn user_state(entry: &Entry) -> Result<&user::State, Refusal> {
    match &entry.state {
        AnyState::User(state) => Ok(state),
        _ => Err(Refusal::NotFound),
    }
}

fn live_user(entry: &Entry) -> Result<&User, Refusal> {
    match user_state(entry)? {
        user::State::Live(user) => Ok(user),
        _ => Err(Refusal::NotFound),
    }
}

/// A user is made. The caller must hold what its roles permit.
pub fn create_user(given: &Given<'_>, by: &Principal, profile: Profile, password: Option<PasswordHash>) -> Result<Plan<AnyEvent>, Refusal> {
    give_applications(by, &[])?;
    let guards = give_roles(given, by, &profile.roles)?;
    let mut plan = user::decide(fresh(given), &user::State::Absent, user::Command::Create { profile, password })?.map(AnyEvent::from);
    plan.guards.extend(guards);
    Ok(plan)
}

/// A user changes. The caller must hold what the user may do, before and after.
pub fn update_user(given: &Given<'_>, by: &Principal, id: StreamId, changes: Changes, expected: Option<Version>) -> Result<Plan<AnyEvent>, Refusal> {
    let entry = thing(given, by.tenant, id, Kind::User)?;
    let live = live_user(entry)?;
    seen(entry, expected)?;
    outranks(given, by, entry)?;
    let mut guards = give_roles(given, by, changes.roles.as_deref().unwrap_or_default())?;
    let stays = changes.blocked != Some(true) && changes.roles.as_ref().is_none_or(|roles| is_owner(roles));
    if !stays {
        guards.extend(another_owner(given, by.tenant, id, live)?);
    }
    let mut plan = user::decide(subject(given.views, id), user_state(entry)?, user::Command::Update(changes))?.map(AnyEvent::from);
    plan.guards.extend(guards);
    Ok(plan)
}

fn is_owner(roles: &[RoleRef]) -> bool {
    roles.contains(&RoleRef::Builtin(Builtin::Owner))
}

/// That a tenant keeps an owner: another one, who stays until the plan is written.
fn another_owner(given: &Given<'_>, tenant: TenantId, id: StreamId, leaving: &User) -> Result<Option<crate::kernel::Guard>, Refusal> {
    if !is_owner(&leaving.profile.roles) || leaving.blocked {
        return Ok(None);
    }
    let other = given.views.users(tenant).find(|(other, user)| *other != id && !user.blocked && is_owner(&user.profile.roles));
    let (other, _) = other.ok_or_else(|| Refusal::InvalidState("the last owner of a tenant stays one: make another owner first".into()))?;
    Ok(Some(guard(given.views, other)))
}

/// A password is set, of a user who may do no more than the caller: whoever logs in with it does all that the user may. Every session ends.
pub fn set_password(given: &Given<'_>, by: &Principal, id: StreamId, password: &PasswordHash) -> Result<Plan<AnyEvent>, Refusal> {
    let entry = thing(given, by.tenant, id, Kind::User)?;
    outranks(given, by, entry)?;
    Ok(user::decide(subject(given.views, id), user_state(entry)?, user::Command::SetPassword(password.clone()))?.map(AnyEvent::from))
}

/// Every session of a user ends: one's own, or of a user who may do no more than the caller.
pub fn sign_out(given: &Given<'_>, by: &Principal, id: StreamId) -> Result<Plan<AnyEvent>, Refusal> {
    let entry = thing(given, by.tenant, id, Kind::User)?;
    if by.user != Some(id) {
        outranks(given, by, entry)?;
    }
    Ok(user::decide(subject(given.views, id), user_state(entry)?, user::Command::SignOut)?.map(AnyEvent::from))
}

/// A user goes, and what acts as the user or is the user's goes with it: sessions, applications, provider keys, API keys. Where that is much, some
/// is left (see [`remove_left`]): it opens nothing without its user.
pub fn delete_user(given: &Given<'_>, by: &Principal, id: StreamId, expected: Option<Version>) -> Result<Plan<AnyEvent>, Refusal> {
    let entry = thing(given, by.tenant, id, Kind::User)?;
    let live = live_user(entry)?;
    seen(entry, expected)?;
    outranks(given, by, entry)?;
    let guards = another_owner(given, by.tenant, id, live)?;
    let mut plan = user::decide(subject(given.views, id), user_state(entry)?, user::Command::Delete)?.map(AnyEvent::from);
    plan.guards.extend(guards);
    owned(given, id, live).take(AT_ONCE).try_fold(plan, |plan, (of, entry)| Ok(plan.and(remove_owned(given, of, entry)?)))
}

/// What is left of a user that has gone, some of it where it is much; nothing of one that is there.
pub fn remove_left(given: &Given<'_>, tenant: TenantId, id: StreamId) -> Result<Plan<AnyEvent>, Refusal> {
    let user::State::Deleted { last, .. } = user_state(thing(given, tenant, id, Kind::User)?)? else { return Ok(Plan::nothing()) };
    owned(given, id, last).take(AT_ONCE).try_fold(Plan::nothing(), |plan, (of, entry)| Ok(plan.and(remove_owned(given, of, entry)?)))
}

/// What goes with a user.
fn owned<'a>(given: &'a Given<'_>, id: StreamId, user: &'a User) -> impl Iterator<Item = (StreamId, &'a Entry)> {
    let kinds = [Kind::Session, Kind::UserApplication, Kind::ProviderKey, Kind::ApiKey].into_iter();
    let all = kinds.flat_map(move |kind| given.views.owned(id, kind));
    all.map(|(of, entry)| (of, &**entry)).filter(move |(_, entry)| !has_ended(given, user, entry))
}

/// Whether a session has ended by itself, or by its user's sign-out: there may be any number of them.
fn has_ended(given: &Given<'_>, user: &User, entry: &Entry) -> bool {
    match &entry.state {
        AnyState::Session(session::State::Live(session)) => session.expires_at <= given.now || session.began <= user.signed_out,
        _ => false,
    }
}

fn remove_owned(given: &Given<'_>, id: StreamId, entry: &Entry) -> Result<Plan<AnyEvent>, Refusal> {
    let subject = subject(given.views, id);
    match &entry.state {
        AnyState::Session(state) => Ok(session::decide(subject, state, given.now, session::Command::End)?.map(AnyEvent::from)),
        AnyState::UserApplication(state) => Ok(user_application::decide(subject, state, given.now, user_application::Command::Delete)?.map(AnyEvent::from)),
        AnyState::ProviderKey(state) => Ok(provider_key::decide(subject, state, provider_key::Command::Delete)?.map(AnyEvent::from)),
        AnyState::ApiKey(state) => Ok(api_key::decide(subject, state, given.now, api_key::Command::Delete)?.map(AnyEvent::from)),
        _ => Ok(Plan::nothing()),
    }
}

/// A user has logged in.
pub fn create_session(
    given: &Given<'_>,
    tenant: TenantId,
    user: StreamId,
    token: KnownToken,
    expires_at: Moment,
    sealing: Sealing,
) -> Result<Plan<AnyEvent>, Refusal> {
    // The user stays as it is until the session stands: a block or a new password in between makes it decided anew.
    let entry = thing(given, tenant, user, Kind::User)?;
    if live_user(entry)?.blocked {
        return Err(Refusal::NotFound);
    }
    let create = session::Command::Create { user, token, expires_at, sealing };
    let mut plan = session::decide(fresh(given), &session::State::Absent, given.now, create)?.map(AnyEvent::from);
    plan.guards.push(guard(given.views, user));
    Ok(plan)
}

/// A session ends.
pub fn end_session(given: &Given<'_>, tenant: TenantId, id: StreamId) -> Result<Plan<AnyEvent>, Refusal> {
    match &thing(given, tenant, id, Kind::Session)?.state {
        AnyState::Session(state) => Ok(session::decide(subject(given.views, id), state, given.now, session::Command::End)?.map(AnyEvent::from)),
        _ => Err(Refusal::NotFound),
    }
}

/// A role is made. The caller must hold what it permits.
pub fn create_role(given: &Given<'_>, by: &Principal, name: String, permissions: Vec<String>) -> Result<Plan<AnyEvent>, Refusal> {
    give(by, "permissions", &permissions)?;
    Ok(role::decide(fresh(given), &role::State::Absent, role::Command::Create { name, permissions })?.map(AnyEvent::from))
}

fn on_role(given: &Given<'_>, by: &Principal, id: StreamId, expected: Option<Version>, command: role::Command) -> Result<Plan<AnyEvent>, Refusal> {
    let entry = thing(given, by.tenant, id, Kind::Role)?;
    let AnyState::Role(state) = &entry.state else { return Err(Refusal::NotFound) };
    if matches!(state, role::State::Live(_)) {
        seen(entry, expected)?;
    }
    by.may_give(permitted(&entry.state))?;
    Ok(role::decide(subject(given.views, id), state, command)?.map(AnyEvent::from))
}

/// A role changes. The caller must hold what it permits, before and after, and in all applications: whoever holds the role does.
pub fn update_role(
    given: &Given<'_>,
    by: &Principal,
    id: StreamId,
    name: Option<String>,
    permissions: Option<Vec<String>>,
    expected: Option<Version>,
) -> Result<Plan<AnyEvent>, Refusal> {
    give(by, "permissions", permissions.as_deref().unwrap_or_default())?;
    if permissions.is_some() {
        give_applications(by, &[])?;
    }
    on_role(given, by, id, expected, role::Command::Update { name, permissions })
}

/// A role goes. The caller must hold what it permits.
pub fn delete_role(given: &Given<'_>, by: &Principal, id: StreamId, expected: Option<Version>) -> Result<Plan<AnyEvent>, Refusal> {
    on_role(given, by, id, expected, role::Command::Delete)
}

/// An organisation is made.
pub fn create_organization(given: &Given<'_>, name: String) -> Result<Plan<AnyEvent>, Refusal> {
    Ok(organization::decide(fresh(given), &organization::State::Absent, organization::Command::Create { name })?.map(AnyEvent::from))
}

fn on_organization(
    given: &Given<'_>,
    tenant: TenantId,
    id: StreamId,
    expected: Option<Version>,
    command: organization::Command,
) -> Result<Plan<AnyEvent>, Refusal> {
    let entry = thing(given, tenant, id, Kind::Organization)?;
    let AnyState::Organization(state) = &entry.state else { return Err(Refusal::NotFound) };
    if matches!(state, organization::State::Live(_)) {
        seen(entry, expected)?;
    }
    Ok(organization::decide(subject(given.views, id), state, command)?.map(AnyEvent::from))
}

/// An organisation gets another name.
pub fn rename_organization(given: &Given<'_>, tenant: TenantId, id: StreamId, name: String, expected: Option<Version>) -> Result<Plan<AnyEvent>, Refusal> {
    on_organization(given, tenant, id, expected, organization::Command::Rename { name })
}

/// An organisation goes.
pub fn delete_organization(given: &Given<'_>, tenant: TenantId, id: StreamId, expected: Option<Version>) -> Result<Plan<AnyEvent>, Refusal> {
    on_organization(given, tenant, id, expected, organization::Command::Delete)
}

/// A tenant is made; its keys are in the keyring already.
pub fn create_tenant(given: &Given<'_>, id: TenantId, name: String) -> Result<Plan<AnyEvent>, Refusal> {
    let create = tenant::Command::Create { tenant: id, name };
    Ok(tenant::decide(fresh(given), &tenant::State::Absent, TenantId::SYSTEM, create)?.map(AnyEvent::from))
}

/// A tenant's principals are refused, or let in again.
pub fn set_suspended(given: &Given<'_>, home: TenantId, id: TenantId, suspended: bool) -> Result<Plan<AnyEvent>, Refusal> {
    on_tenant(given, home, id, if suspended { tenant::Command::Suspend } else { tenant::Command::Resume })
}

/// A command on a tenant; `home` is the first one.
pub fn on_tenant(given: &Given<'_>, home: TenantId, id: TenantId, command: tenant::Command) -> Result<Plan<AnyEvent>, Refusal> {
    let stream = given.views.tenant_stream(id).filter(|_| id != TenantId::SYSTEM).ok_or(Refusal::NotFound)?;
    let Some(AnyState::Tenant(state)) = given.views.thing(stream).map(|entry| &entry.state) else { return Err(Refusal::NotFound) };
    Ok(tenant::decide(subject(given.views, stream), state, home, command)?.map(AnyEvent::from))
}

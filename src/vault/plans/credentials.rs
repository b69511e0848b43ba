//! API keys, applications, API clients, user applications, provider keys.

use super::{fresh, give, give_applications, give_roles, guard, organizations, outranks, rotate, seen, subject, thing};
use crate::credentials::api_key::Grant;
use crate::credentials::issued::{KnownToken, TokenType};
use crate::credentials::provider_key::{Given as Written, Provider};
use crate::credentials::user_application::{MAX_PER_USER, UserApplication};
use crate::credentials::{AnyEvent, AnyState, Kind, Subject, api_client, api_key, application, provider_key, user, user_application};
use crate::kernel::{Guard, Plan, Refusal, RoleRef, Secret, StreamId, TenantId, Version};
use crate::vault::access::{Principal, permissions_of};
use crate::vault::execute::Given;

/// A plan, the thing that it makes, and the secrets to show once.
pub type Made = (Plan<AnyEvent>, StreamId, Vec<Secret>);

/// That a user is there, and stays as it is until the plan is written.
fn user_there(given: &Given<'_>, tenant: TenantId, id: StreamId) -> Result<Guard, Refusal> {
    match &thing(given, tenant, id, Kind::User)?.state {
        AnyState::User(user::State::Live(_)) => Ok(guard(given.views, id)),
        _ => Err(Refusal::NotFound),
    }
}

/// An API key is made. The caller must hold what it permits, and what its owner may do: of the caller's own user as well, since the caller's
/// token may be narrowed.
pub fn create_api_key(given: &Given<'_>, by: &Principal, grant: Grant) -> Result<Made, Refusal> {
    give(by, "permissions", &grant.permissions)?;
    give_applications(by, &grant.app_ids)?;
    let mut guards = organizations(given, by.tenant, &grant.organizations)?;
    if let Some(owner) = grant.owner {
        guards.push(user_there(given, by.tenant, owner).map_err(|_| Refusal::invalid("owner", "is no user of this tenant"))?);
        // For oneself as well: a narrowed token holds less than its user.
        by.may_give(permissions_of(given.views, thing(given, by.tenant, owner, Kind::User)?))?;
    }
    let (value, token) = given.issue(TokenType::Key);
    let values = vec![value];
    let (subject, create) = (fresh(given), api_key::Command::Create { grant, token, sealing: given.replay(&values) });
    let mut plan = api_key::decide(subject, &api_key::State::Absent, given.now, create)?.map(AnyEvent::from);
    plan.guards.extend(guards);
    Ok((plan, subject.stream, values))
}

/// An API key changes.
pub fn update_api_key(
    given: &Given<'_>,
    by: &Principal,
    id: StreamId,
    changes: api_key::Changes,
    expected: Option<Version>,
) -> Result<Plan<AnyEvent>, Refusal> {
    update_api_key_at(given, by, subject(given.views, id), changes, expected)
}

/// An API key gets a new secret, which ends every earlier one at once, and changes, all or nothing. Gives the plan, and the value to show once.
pub fn refresh_api_key(
    given: &Given<'_>,
    by: &Principal,
    id: StreamId,
    changes: api_key::Changes,
    expected: Option<Version>,
) -> Result<(Plan<AnyEvent>, Vec<Secret>), Refusal> {
    let entry = thing(given, by.tenant, id, Kind::ApiKey)?;
    let (plan, values) = rotate(given, by, id, 0, expected)?;
    // The rotation comes first: it keeps what a repeat is answered with.
    let after = Subject { stream: id, version: entry.version.next() };
    Ok((plan.and(update_api_key_at(given, by, after, changes, expected)?), values))
}

fn update_api_key_at(
    given: &Given<'_>,
    by: &Principal,
    subject: Subject,
    changes: api_key::Changes,
    expected: Option<Version>,
) -> Result<Plan<AnyEvent>, Refusal> {
    let entry = thing(given, by.tenant, subject.stream, Kind::ApiKey)?;
    let AnyState::ApiKey(state @ api_key::State::Live(_)) = &entry.state else { return Err(Refusal::NotFound) };
    seen(entry, expected)?;
    outranks(given, by, entry)?;
    give(by, "permissions", changes.permissions.as_deref().unwrap_or_default())?;
    give_applications(by, changes.app_ids.as_ref().unwrap_or(&by.app_ids))?;
    let guards = organizations(given, by.tenant, changes.organizations.as_deref().unwrap_or_default())?;
    let mut plan = api_key::decide(subject, state, given.now, api_key::Command::Update(changes))?.map(AnyEvent::from);
    plan.guards.extend(guards);
    Ok(plan)
}

/// An application is made. The caller must hold what it may do.
pub fn create_application(given: &Given<'_>, by: &Principal, profile: application::Profile) -> Result<Made, Refusal> {
    give(by, "permissions", &profile.permissions)?;
    give_applications(by, &profile.app_ids)?;
    let guards = give_roles(given, by, &profile.roles)?;
    let (value, token) = given.issue(TokenType::Application);
    let values = vec![value];
    let (subject, create) = (fresh(given), application::Command::Create { profile, token, sealing: given.replay(&values) });
    let mut plan = application::decide(subject, &application::State::Absent, given.now, create)?.map(AnyEvent::from);
    plan.guards.extend(guards);
    Ok((plan, subject.stream, values))
}

/// An application changes. The caller must hold what it may do, before and after.
pub fn update_application(
    given: &Given<'_>,
    by: &Principal,
    id: StreamId,
    changes: application::Changes,
    expected: Option<Version>,
) -> Result<Plan<AnyEvent>, Refusal> {
    let entry = thing(given, by.tenant, id, Kind::Application)?;
    let AnyState::Application(state) = &entry.state else { return Err(Refusal::NotFound) };
    seen(entry, expected)?;
    outranks(given, by, entry)?;
    give(by, "permissions", changes.permissions.as_deref().unwrap_or_default())?;
    give_applications(by, changes.app_ids.as_ref().unwrap_or(&by.app_ids))?;
    let guards = give_roles(given, by, changes.roles.as_deref().unwrap_or_default())?;
    let mut plan = application::decide(subject(given.views, id), state, given.now, application::Command::Update(changes))?.map(AnyEvent::from);
    plan.guards.extend(guards);
    Ok(plan)
}

/// An API client is made. The caller must hold what its roles permit.
pub fn create_api_client(given: &Given<'_>, by: &Principal, name: String, roles: Vec<RoleRef>) -> Result<Made, Refusal> {
    give_applications(by, &[])?;
    let guards = give_roles(given, by, &roles)?;
    let (values, tokens): (Vec<Secret>, Vec<KnownToken>) = [TokenType::Client, TokenType::OauthClient].map(|kind| given.issue(kind)).into_iter().unzip();
    let boxes = [api_client::SECRET, api_client::OAUTH_SECRET].into_iter().map(str::to_owned);
    let sealing = boxes.zip(values.iter().map(Secret::duplicate)).collect();
    let (subject, create) = (fresh(given), api_client::Command::Create { name, roles, tokens, sealing });
    let mut plan = api_client::decide(subject, &api_client::State::Absent, given.now, create)?.map(AnyEvent::from);
    plan.guards.extend(guards);
    Ok((plan, subject.stream, values))
}

/// An API client changes. The caller must hold what its roles permit, before and after.
pub fn update_api_client(
    given: &Given<'_>,
    by: &Principal,
    id: StreamId,
    (name, roles): (Option<String>, Option<Vec<RoleRef>>),
    expected: Option<Version>,
) -> Result<Plan<AnyEvent>, Refusal> {
    let entry = thing(given, by.tenant, id, Kind::ApiClient)?;
    let AnyState::ApiClient(state) = &entry.state else { return Err(Refusal::NotFound) };
    seen(entry, expected)?;
    outranks(given, by, entry)?;
    // Roles that it holds already may have gone since; only new ones are given.
    let held = match state {
        api_client::State::Live(live) => live.roles.as_slice(),
        _ => &[],
    };
    let new: Vec<RoleRef> = roles.iter().flatten().filter(|role| !held.contains(role)).copied().collect();
    let guards = give_roles(given, by, &new)?;
    let mut plan = api_client::decide(subject(given.views, id), state, given.now, api_client::Command::Update { name, roles })?.map(AnyEvent::from);
    plan.guards.extend(guards);
    Ok(plan)
}

/// A user's application is made, in one of the user's seats. Nobody makes one for somebody else, nor by a token that is narrower than the user.
pub fn create_user_application(given: &Given<'_>, by: &Principal, user: StreamId, name: String) -> Result<Made, Refusal> {
    let guard = user_there(given, by.tenant, user)?;
    outranks(given, by, thing(given, by.tenant, user, Kind::User)?)?;
    let own: Vec<(StreamId, &UserApplication)> =
        given.views.owned(user, Kind::UserApplication).filter_map(|(id, entry)| Some((id, there(&entry.state)?))).collect();
    if let Some((by, _)) = own.iter().find(|(_, live)| live.name == name) {
        return Err(Refusal::NameTaken { by: *by });
    }
    let free: Vec<u8> = (1..=MAX_PER_USER).filter(|seat| own.iter().all(|(_, live)| live.seat != *seat)).collect();
    // Any of them: several that are made at once would all want the first.
    let draw = usize::from(given.fresh().0.first().copied().unwrap_or(0));
    let seat = draw.checked_rem(free.len()).and_then(|place| free.get(place).copied());
    let (value, token) = given.issue(TokenType::Application);
    let values = vec![value];
    let (subject, create) = (fresh(given), user_application::Command::Create { name, user, seat, token, sealing: given.replay(&values) });
    let mut plan = user_application::decide(subject, &user_application::State::Absent, given.now, create)?.map(AnyEvent::from);
    plan.guards.push(guard);
    Ok((plan, subject.stream, values))
}

fn there(state: &AnyState) -> Option<&UserApplication> {
    match state {
        AnyState::UserApplication(user_application::State::Live(live)) => Some(live),
        _ => None,
    }
}

/// An API key, application, API client or user application goes. Whether the caller may, is asked before; one that may do more than the caller
/// stays.
pub fn delete_credential(given: &Given<'_>, by: &Principal, id: StreamId, kind: Kind, expected: Option<Version>) -> Result<Plan<AnyEvent>, Refusal> {
    let entry = thing(given, by.tenant, id, kind)?;
    let (subject, now) = (subject(given.views, id), given.now);
    if entry.state.bearer().is_some() {
        seen(entry, expected)?;
        outranks(given, by, entry)?;
    }
    match &entry.state {
        AnyState::ApiKey(state) => Ok(api_key::decide(subject, state, now, api_key::Command::Delete)?.map(AnyEvent::from)),
        AnyState::Application(state) => Ok(application::decide(subject, state, now, application::Command::Delete)?.map(AnyEvent::from)),
        AnyState::ApiClient(state) => Ok(api_client::decide(subject, state, now, api_client::Command::Delete)?.map(AnyEvent::from)),
        AnyState::UserApplication(state) => Ok(user_application::decide(subject, state, now, user_application::Command::Delete)?.map(AnyEvent::from)),
        _ => Err(Refusal::NotFound),
    }
}

/// A user's key at a provider, with where it stands; absent ones are to be made.
fn provider_key_of(given: &Given<'_>, user: StreamId, provider: Provider) -> (Subject, provider_key::State) {
    let of_provider = given.views.owned(user, Kind::ProviderKey).find_map(|(id, entry)| match &entry.state {
        AnyState::ProviderKey(state @ provider_key::State::Live(live)) if live.provider == provider => Some((id, state.clone())),
        _ => None,
    });
    of_provider.map_or_else(|| (fresh(given), provider_key::State::Absent), |(id, state)| (subject(given.views, id), state))
}

/// Keys of a user at providers are written, all or none: replaced whole, or only in the parts that are given.
pub fn write_provider_keys(
    given: &Given<'_>,
    tenant: TenantId,
    user: StreamId,
    keys: Vec<(Provider, Written)>,
    whole: bool,
) -> Result<Plan<AnyEvent>, Refusal> {
    let guard = user_there(given, tenant, user)?;
    let plan = keys.into_iter().try_fold(Plan::nothing(), |plan, (provider, written)| {
        let (subject, state) = provider_key_of(given, user, provider);
        let command = if whole {
            provider_key::Command::Create { user, provider, given: written }
        } else {
            provider_key::Command::Update { user, provider, given: written }
        };
        Ok::<_, Refusal>(plan.and(provider_key::decide(subject, &state, command)?.map(AnyEvent::from)))
    });
    let mut plan = plan?;
    if !plan.writes.is_empty() {
        plan.guards.push(guard);
    }
    Ok(plan)
}

/// Keys of a user at providers go; those that are not there are passed over.
pub fn delete_provider_keys(given: &Given<'_>, tenant: TenantId, user: StreamId, providers: &[Provider]) -> Result<Plan<AnyEvent>, Refusal> {
    user_there(given, tenant, user)?;
    providers.iter().try_fold(Plan::nothing(), |plan, provider| match provider_key_of(given, user, *provider) {
        (_, provider_key::State::Absent) => Ok(plan),
        (subject, state) => Ok(plan.and(provider_key::decide(subject, &state, provider_key::Command::Delete)?.map(AnyEvent::from))),
    })
}

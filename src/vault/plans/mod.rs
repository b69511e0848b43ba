//! Commands over several things, each one pure function: it asks every kind's `decide` and merges the plans.

mod connections;
mod credentials;
mod integrations;
mod members;
mod secrets;
mod webhooks;

pub use connections::{delete_connection, delete_consumer, import, on_connection, open_session, put_connector, put_consumer, update, upsert};
pub use credentials::{
    create_api_client, create_api_key, create_application, create_user_application, delete_credential, delete_provider_keys, refresh_api_key,
    update_api_client, update_api_key, update_application, write_provider_keys,
};
pub use integrations::{delete_integration, put_integration, update_integration};
pub use members::{
    create_organization, create_role, create_session, create_tenant, create_user, delete_organization, delete_role, delete_user, end_session, on_tenant,
    remove_left, rename_organization, set_password, set_suspended, sign_out, update_role, update_user,
};
pub use secrets::{finish_rotation, may_touch, note_reveal, on_secret, rotate, take_back_rotation};
pub use webhooks::{create_webhook, delete_webhook, note_webhook, replay_webhook, rotate_webhook, update_webhook};

use super::access::{Principal, permissions_of};
use super::execute::Given;
use crate::credentials::{
    AnyEvent, AnyState, Kind, Subject, api_client, api_key, application, connection, consumer, integration, organization, provider_key, role, session, user,
    user_application, webhook,
};
use crate::kernel::{Guard, PermissionSet, Permits, Plan, Refusal, RoleRef, StreamId, TenantId, Version, Write};
use crate::views::{Entry, Views};

/// A thing goes, by its kind's own delete; what belongs to it is another matter.
pub(in crate::vault) fn removal(given: &Given<'_>, subject: Subject, state: &AnyState) -> Result<Plan<AnyEvent>, Refusal> {
    let now = given.now;
    match state {
        AnyState::User(state) => Ok(user::decide(subject, state, user::Command::Delete)?.map(AnyEvent::from)),
        AnyState::ApiKey(state) => Ok(api_key::decide(subject, state, now, api_key::Command::Delete)?.map(AnyEvent::from)),
        AnyState::Consumer(state) => Ok(consumer::decide(subject, state, consumer::Command::Delete)?.map(AnyEvent::from)),
        AnyState::Connection(state) => connections::removal(subject, state),
        AnyState::Role(state) => Ok(role::decide(subject, state, role::Command::Delete)?.map(AnyEvent::from)),
        AnyState::Organization(state) => Ok(organization::decide(subject, state, organization::Command::Delete)?.map(AnyEvent::from)),
        AnyState::Application(state) => Ok(application::decide(subject, state, now, application::Command::Delete)?.map(AnyEvent::from)),
        AnyState::Session(state) => Ok(session::decide(subject, state, now, session::Command::End)?.map(AnyEvent::from)),
        AnyState::ProviderKey(state) => Ok(provider_key::decide(subject, state, provider_key::Command::Delete)?.map(AnyEvent::from)),
        AnyState::ApiClient(state) => Ok(api_client::decide(subject, state, now, api_client::Command::Delete)?.map(AnyEvent::from)),
        AnyState::UserApplication(state) => Ok(user_application::decide(subject, state, now, user_application::Command::Delete)?.map(AnyEvent::from)),
        AnyState::Webhook(state) => Ok(webhook::decide(subject, state, now, webhook::Command::Delete)?.map(AnyEvent::from)),
        // Whether its service is still known or not.
        AnyState::Integration(integration::State::Live(_)) => {
            let write = Write::change(subject.stream, subject.version, AnyEvent::from(integration::Event::Deleted));
            Ok(Plan::of(state.claims().into_iter().fold(write, Write::freeing)))
        }
        _ => Err(Refusal::InvalidState("a thing of this kind does not go away".into())),
    }
}

/// A thing's state and where it stands; absent things stand at version 0.
fn subject(views: &Views, stream: StreamId) -> Subject {
    Subject { stream, version: views.thing(stream).map_or(Version::ZERO, |entry| entry.content_version) }
}

/// A thing that is to be made.
fn fresh(given: &Given<'_>) -> Subject {
    Subject { stream: given.fresh(), version: Version::ZERO }
}

/// That a thing stands where it stood.
fn guard(views: &Views, stream: StreamId) -> Guard {
    Guard { stream, expected: subject(views, stream).version }
}

/// A tenant's thing of a kind; another tenant's looks like a missing one.
fn thing<'a>(given: &Given<'a>, tenant: TenantId, id: StreamId, kind: Kind) -> Result<&'a Entry, Refusal> {
    let entry = given.views.thing(id).filter(|entry| entry.tenant == tenant && entry.state.sort() == Some(kind));
    entry.map(|entry| &**entry).ok_or(Refusal::NotFound)
}

/// That the caller has seen the present version, where it says which one it has seen.
fn seen(entry: &Entry, expected: Option<Version>) -> Result<(), Refusal> {
    match expected {
        Some(expected) if expected != entry.content_version => Err(Refusal::Conflict { actual: entry.content_version }),
        _ => Ok(()),
    }
}

/// That a caller may give these roles: they are there and stay there until the plan is written, and permit nothing that the caller lacks.
fn give_roles(given: &Given<'_>, by: &Principal, roles: &[RoleRef]) -> Result<Vec<Guard>, Refusal> {
    let mut guards = Vec::new();
    for (place, role) in roles.iter().enumerate() {
        let (_, permissions) = given.views.role(by.tenant, *role).ok_or_else(|| Refusal::invalid(format!("roles[{place}]"), "is no role of this tenant"))?;
        by.may_give(permissions)?;
        if let RoleRef::Own(id) = role {
            guards.push(guard(given.views, *id));
        }
    }
    Ok(guards)
}

/// That a caller may give these permissions.
fn give(by: &Principal, field: &str, permissions: &[String]) -> Result<(), Refusal> {
    by.may_give(Permits::parse(field, permissions)?.own)
}

/// That a caller may give access to these applications (none: to all): one whose token is bound to some gives no others.
pub(in crate::vault) fn give_applications(by: &Principal, app_ids: &[String]) -> Result<(), Refusal> {
    if by.app_ids.is_empty() || (!app_ids.is_empty() && app_ids.iter().all(|id| by.app_ids.contains(id))) {
        return Ok(());
    }
    Err(Refusal::Forbidden { permission: "a token for the same applications" })
}

/// That a caller may act on a thing that acts itself: whoever changes what has more permissions than they hold, or acts in more applications,
/// would gain them.
pub(in crate::vault) fn outranks(given: &Given<'_>, by: &Principal, entry: &Entry) -> Result<(), Refusal> {
    give_applications(by, entry.state.bearer().map_or(&[], |bearer| bearer.app_ids))?;
    by.may_give(permissions_of(given.views, entry))
}

/// A thing goes by the rules of its kind, whatever that is.
pub fn delete_thing(given: &Given<'_>, by: &Principal, id: StreamId) -> Result<Plan<AnyEvent>, Refusal> {
    let entry = given.views.thing(id).filter(|entry| entry.tenant == by.tenant).ok_or(Refusal::NotFound)?;
    match &entry.state {
        AnyState::Connection(connection::State::Live(live)) => delete_connection(given, by.tenant, &live.key),
        AnyState::Consumer(consumer::State::Live(live)) => delete_consumer(given, by.tenant, &live.app, &live.consumer),
        AnyState::ProviderKey(provider_key::State::Live(key)) => delete_provider_keys(given, by.tenant, key.user, &[key.provider]),
        AnyState::Integration(integration::State::Live(live)) => delete_integration(given, by, (&live.unified_api, &live.service_id), None),
        AnyState::Session(_) => end_session(given, by.tenant, id),
        state => match state.sort() {
            Some(kind @ (Kind::ApiKey | Kind::Application | Kind::ApiClient | Kind::UserApplication)) => delete_credential(given, by, id, kind, None),
            Some(Kind::User) => delete_user(given, by, id, None),
            Some(Kind::Role) => delete_role(given, by, id, None),
            Some(Kind::Organization) => delete_organization(given, by.tenant, id, None),
            Some(Kind::Webhook) => delete_webhook(given, by, id, None),
            _ => Err(Refusal::InvalidState(format!("a thing of kind {} is not deleted, and so not shredded", state.kind()))),
        },
    }
}

/// That organisations are there and stay there until the plan is written.
fn organizations(given: &Given<'_>, tenant: TenantId, ids: &[StreamId]) -> Result<Vec<Guard>, Refusal> {
    let there = |id: &StreamId| match thing(given, tenant, *id, Kind::Organization).map(|entry| &entry.state) {
        Ok(AnyState::Organization(organization::State::Live(_))) => Some(guard(given.views, *id)),
        _ => None,
    };
    let missing = |place| Refusal::invalid(format!("organizations[{place}]"), "is no organisation of this tenant");
    ids.iter().enumerate().map(|(place, id)| there(id).ok_or_else(|| missing(place))).collect()
}

/// What a tenant's own role permits.
fn permitted(state: &AnyState) -> PermissionSet {
    match state {
        AnyState::Role(role::State::Live(role)) => role.permits.own,
        _ => PermissionSet::default(),
    }
}

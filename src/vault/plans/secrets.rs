//! Rotation of issued secrets, and the end of access tokens, whatever kind of thing bears them.

use super::{outranks, subject};
use crate::credentials::issued::{Command, KnownToken, TokenType};
use crate::credentials::{AnyEvent, AnyState, Kind, Sealing, api_client, api_key, application, connection, provider_key, session, user_application};
use crate::kernel::{Permission, PermissionSet, Plan, Refusal, Secret, SecretRef, StreamId, TenantId, Version};
use crate::vault::access::{Principal, Resource, authorize};
use crate::vault::execute::Given;
use crate::views::Views;

/// A command on the secrets of a tenant's thing.
pub fn on_secret(given: &Given<'_>, tenant: TenantId, id: StreamId, command: Command) -> Result<Plan<AnyEvent>, Refusal> {
    let entry = given.views.thing(id).filter(|entry| entry.tenant == tenant).ok_or(Refusal::NotFound)?;
    let (subject, now) = (subject(given.views, id), given.now);
    match &entry.state {
        AnyState::ApiKey(state) => Ok(api_key::decide(subject, state, now, api_key::Command::Secret(command))?.map(AnyEvent::from)),
        AnyState::Application(state) => Ok(application::decide(subject, state, now, application::Command::Secret(command))?.map(AnyEvent::from)),
        AnyState::Session(state) => Ok(session::decide(subject, state, now, session::Command::Secret(command))?.map(AnyEvent::from)),
        AnyState::ApiClient(state) => Ok(api_client::decide(subject, state, now, api_client::Command::Secret(command))?.map(AnyEvent::from)),
        AnyState::UserApplication(state) => Ok(user_application::decide(subject, state, now, user_application::Command::Secret(command))?.map(AnyEvent::from)),
        _ => Err(Refusal::NotFound),
    }
}

/// Whoever holds one of these may rotate something.
const ROTATES: PermissionSet = PermissionSet::of(&[
    Permission::ApiKeysWrite,
    Permission::ApplicationsWrite,
    Permission::ApiClientsWrite,
    Permission::UserApplicationsOwn,
    Permission::UserApplicationsAdmin,
]);

/// That a caller may change a credential's secrets: by the permission of its kind, and because it may do no more than the caller. One's own
/// user applications need no permission over others'. Gives the rule. Who may rotate nothing, or may not see credentials, learns nothing of which
/// there are.
pub fn may_touch<'a>(views: &Views, by: &'a Principal, id: StreamId) -> Result<&'a str, Refusal> {
    if by.held().within(ROTATES).is_empty() {
        return Err(Refusal::Forbidden { permission: Permission::ApiKeysWrite.name() });
    }
    may_touch_kind(views, by, id).map_err(|refusal| match refusal {
        Refusal::Forbidden { .. } if !by.held().holds(Permission::CredentialsRead) => Refusal::NotFound,
        other => other,
    })
}

fn may_touch_kind<'a>(views: &Views, by: &'a Principal, id: StreamId) -> Result<&'a str, Refusal> {
    let entry = views.thing(id).filter(|entry| entry.tenant == by.tenant).ok_or(Refusal::NotFound)?;
    let permission = match &entry.state {
        AnyState::ApiKey(_) => Permission::ApiKeysWrite,
        AnyState::Application(_) => Permission::ApplicationsWrite,
        AnyState::ApiClient(_) => Permission::ApiClientsWrite,
        AnyState::UserApplication(user_application::State::Live(live)) if by.user == Some(live.user) => Permission::UserApplicationsOwn,
        AnyState::UserApplication(_) => Permission::UserApplicationsAdmin,
        _ => return Err(Refusal::NotFound),
    };
    authorize(by, permission, Resource { tenant: entry.tenant, app: None })
}

/// New secrets. Gives the plan, and the values to show once, in the order of the kind's secrets.
pub fn rotate(
    given: &Given<'_>,
    by: &Principal,
    id: StreamId,
    grace_seconds: u64,
    expected: Option<Version>,
) -> Result<(Plan<AnyEvent>, Vec<Secret>), Refusal> {
    let entry = given.views.thing(id).filter(|entry| entry.tenant == by.tenant && entry.state.bearer().is_some()).ok_or(Refusal::NotFound)?;
    outranks(given, by, entry)?;
    super::seen(entry, expected)?;
    let kinds: &[TokenType] = match entry.state.sort() {
        Some(Kind::ApiKey) => &[TokenType::Key],
        Some(Kind::Application | Kind::UserApplication) => &[TokenType::Application],
        Some(Kind::ApiClient) => &[TokenType::Client, TokenType::OauthClient],
        _ => return Err(Refusal::NotFound),
    };
    let (values, tokens): (Vec<Secret>, Vec<KnownToken>) = kinds.iter().map(|kind| given.issue(*kind)).unzip();
    let mut sealing: Sealing = given.replay(&values);
    if entry.state.sort() == Some(Kind::ApiClient) {
        sealing.extend([api_client::SECRET, api_client::OAUTH_SECRET].into_iter().map(str::to_owned).zip(values.iter().map(Secret::duplicate)));
    }
    let plan = on_secret(given, by.tenant, id, Command::Rotate { tokens, sealing, grace_seconds })?;
    Ok((plan, values))
}

/// Earlier secrets stop now.
pub fn finish_rotation(given: &Given<'_>, by: &Principal, id: StreamId) -> Result<Plan<AnyEvent>, Refusal> {
    let entry = given.views.thing(id).filter(|entry| entry.tenant == by.tenant).ok_or(Refusal::NotFound)?;
    outranks(given, by, entry)?;
    on_secret(given, by.tenant, id, Command::FinishRotation)
}

/// The latest earlier secret is the present one again.
pub fn take_back_rotation(given: &Given<'_>, by: &Principal, id: StreamId) -> Result<Plan<AnyEvent>, Refusal> {
    let entry = given.views.thing(id).filter(|entry| entry.tenant == by.tenant).ok_or(Refusal::NotFound)?;
    outranks(given, by, entry)?;
    on_secret(given, by.tenant, id, Command::TakeBackRotation)
}

/// That secrets of a tenant's thing are shown.
pub fn note_reveal(given: &Given<'_>, tenant: TenantId, id: StreamId, secrets: &[SecretRef]) -> Result<Plan<AnyEvent>, Refusal> {
    let entry = given.views.thing(id).filter(|entry| entry.tenant == tenant).ok_or(Refusal::NotFound)?;
    let secret = secrets.first().cloned().ok_or(Refusal::NotFound)?;
    let (subject, now) = (subject(given.views, id), given.now);
    match &entry.state {
        AnyState::Connection(_) => super::on_connection(given, id, connection::Command::Reveal { secret }),
        AnyState::Integration(_) => super::integrations::note_integration_reveal(given, tenant, id, secret),
        AnyState::ProviderKey(state) => Ok(provider_key::decide(subject, state, provider_key::Command::Reveal { secret })?.map(AnyEvent::from)),
        AnyState::ApiClient(state) => Ok(api_client::decide(subject, state, now, api_client::Command::Reveal(secrets.to_vec()))?.map(AnyEvent::from)),
        _ => Err(Refusal::NotFound),
    }
}

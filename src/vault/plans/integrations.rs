//! What a tenant supplies for all connections to a service.

use super::{fresh, give_applications, guard, subject};
use crate::credentials::integration::{Command, State, decide};
use crate::credentials::settings::GivenSettings;
use crate::credentials::{AnyEvent, AnyState};
use crate::kernel::{Guard, Plan, Refusal, StreamId, TenantId, Version};
use crate::vault::access::Principal;
use crate::vault::execute::Given;
use crate::views::Views;

/// A service, by API family and id.
type Service<'a> = (&'a str, &'a str);

/// Made, or replaced whole: settings that are not named go. As all changes, by a caller who may act in all applications: it counts in all of them.
pub fn put_integration(
    given: &Given<'_>,
    by: &Principal,
    service: Service<'_>,
    (enabled, settings): (bool, GivenSettings),
    expected: Option<Version>,
) -> Result<Plan<AnyEvent>, Refusal> {
    on_integration(given, by, service, Command::Put { enabled, settings }, expected)
}

/// Changed in parts, or made.
pub fn update_integration(
    given: &Given<'_>,
    by: &Principal,
    service: Service<'_>,
    (enabled, settings): (Option<bool>, GivenSettings),
    expected: Option<Version>,
) -> Result<Plan<AnyEvent>, Refusal> {
    on_integration(given, by, service, Command::Update { enabled, settings }, expected)
}

/// It goes; connections keep what is their own.
pub fn delete_integration(given: &Given<'_>, by: &Principal, service: Service<'_>, expected: Option<Version>) -> Result<Plan<AnyEvent>, Refusal> {
    on_integration(given, by, service, Command::Delete, expected)
}

fn on_integration(
    given: &Given<'_>,
    by: &Principal,
    (api, service): Service<'_>,
    command: Command,
    expected: Option<Version>,
) -> Result<Plan<AnyEvent>, Refusal> {
    let (views, tenant) = (given.views, by.tenant);
    give_applications(by, &[])?;
    let (connector_id, connector) = views.connector(tenant, api, service).ok_or(Refusal::NotFound)?;
    let stream = views.integration(tenant, api, service).map(|(id, _)| id);
    let subject = stream.map_or_else(|| fresh(given), |id| subject(views, id));
    if expected.is_some_and(|expected| expected != subject.version) {
        return Err(Refusal::Conflict { actual: subject.version });
    }
    let state = stream.map_or_else(State::default, |id| integration_state(views, id));
    let mut plan = decide(subject, connector, &state, command)?.map(AnyEvent::from);
    if !plan.writes.is_empty() {
        plan.guards.push(guard(views, connector_id));
    }
    Ok(plan)
}

fn integration_state(views: &Views, stream: StreamId) -> State {
    match views.thing(stream).map(|entry| &entry.state) {
        Some(AnyState::Integration(state)) => state.clone(),
        _ => State::Absent,
    }
}

/// That a secret of it is shown.
pub(super) fn note_integration_reveal(
    given: &Given<'_>,
    tenant: TenantId,
    stream: StreamId,
    secret: crate::kernel::SecretRef,
) -> Result<Plan<AnyEvent>, Refusal> {
    let state = integration_state(given.views, stream);
    let (api, service) = state.service().ok_or(Refusal::NotFound)?;
    let (_, connector) = given.views.connector(tenant, api, service).ok_or(Refusal::NotFound)?;
    Ok(decide(subject(given.views, stream), connector, &state, Command::Reveal { secret })?.map(AnyEvent::from))
}

/// That what the tenant supplies for a service stays as it is until the plan is written, if it supplies anything.
pub(super) fn guard_integration(views: &Views, tenant: TenantId, api: &str, service: &str) -> Option<Guard> {
    views.integration(tenant, api, service).map(|(id, _)| guard(views, id))
}

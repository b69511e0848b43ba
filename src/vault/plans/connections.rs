//! Connections, their consumers and connectors.

use super::integrations::guard_integration;
use super::subject;
use crate::credentials::connection::{self, Changes, Command, Key, Tokens};
use crate::credentials::connector::Connector;
use crate::credentials::{AnyEvent, AnyState, Subject, connector, consumer};
use crate::kernel::{Expected, Guard, Json, Moment, Plan, Refusal, StreamId, TenantId, Version};
use crate::vault::execute::Given;
use crate::views::Views;

fn connector_of<'a>(views: &'a Views, tenant: TenantId, key: &Key) -> Result<(Guard, &'a Connector), Refusal> {
    let (id, connector) = views.connector(tenant, &key.unified_api, &key.service_id).ok_or(Refusal::NotFound)?;
    Ok((Guard { stream: id, expected: subject(views, id).version }, connector))
}

/// A command on a connection that stands so, whose service is known, with what the tenant supplies for it.
fn decided(
    given: &Given<'_>,
    tenant: TenantId,
    subject: Subject,
    connector: &Connector,
    state: &connection::State,
    command: Command,
) -> Result<Plan<AnyEvent>, Refusal> {
    let live = if let connection::State::Live(live) = state { Some(&**live) } else { None };
    let supply = given.views.supply(tenant, connector, live);
    let supplied = |id: &str| supply.has(id);
    let context = connection::Context { subject, now: given.now, connector, supplied: &supplied };
    let (goes_out, rests) = (goes_out(&command), rests_on_supply(&command));
    let mut plan = connection::decide(&context, state, command)?.map(AnyEvent::from);
    let integration = given.views.integration(tenant, &connector.unified_api, &connector.service_id);
    if goes_out && integration.is_some_and(|(_, integration)| !integration.enabled) {
        return Err(Refusal::InvalidState(format!("the integration with {} is disabled", connector.name)));
    }
    if rests && !plan.writes.is_empty() {
        plan.guards.extend(guard_integration(given.views, tenant, &connector.unified_api, &connector.service_id));
    }
    Ok(plan)
}

/// Whether a command leads to the service.
const fn goes_out(command: &Command) -> bool {
    matches!(command, Command::Authorize(_) | Command::StartExchange(_))
}

/// Whether what is decided rests on what the tenant supplies. What a service gave is recorded whatever moves meanwhile.
const fn rests_on_supply(command: &Command) -> bool {
    goes_out(command) || matches!(command, Command::Create { .. } | Command::Update(_) | Command::Import { .. } | Command::Confirm { .. } | Command::Validate)
}

fn connection_state(views: &Views, stream: StreamId) -> connection::State {
    match views.thing(stream).map(|entry| &entry.state) {
        Some(AnyState::Connection(state)) => state.clone(),
        _ => connection::State::Absent,
    }
}

fn consumer_state(views: &Views, stream: StreamId) -> consumer::State {
    match views.thing(stream).map(|entry| &entry.state) {
        Some(AnyState::Consumer(state)) => state.clone(),
        _ => consumer::State::Absent,
    }
}

/// A connection that is there, or one that is made first (together with its consumer, if need be).
pub fn upsert(given: &Given<'_>, tenant: TenantId, key: &Key, command: Command) -> Result<Plan<AnyEvent>, Refusal> {
    let (guard, connector) = connector_of(given.views, tenant, key)?;
    if let Some(stream) = given.views.connection(tenant, key) {
        let plan = decided(given, tenant, subject(given.views, stream), connector, &connection_state(given.views, stream), command)?;
        return Ok(guarded(plan, guard));
    }
    let (stream, mut plan) = (given.fresh(), Plan::nothing());
    let owner = given.views.consumer(tenant, &key.app, &key.consumer);
    let (owner, owner_state, owner_version) = if let Some(id) = owner {
        (id, consumer_state(given.views, id), subject(given.views, id).version)
    } else {
        let id = given.fresh();
        let create = consumer::Command::Create { app: key.app.clone(), consumer: key.consumer.clone(), metadata: None };
        plan = plan.and(consumer::decide(Subject { stream: id, version: Version::ZERO }, &consumer::State::Absent, create)?.map(AnyEvent::from));
        (id, new_consumer(&key.app, &key.consumer, given), Version(1))
    };
    let note = consumer::decide(Subject { stream: owner, version: owner_version }, &owner_state, consumer::Command::AddConnection(stream))?;
    let create = Command::Create { key: key.clone(), consumer: owner };
    let create = decided(given, tenant, Subject { stream, version: Version::ZERO }, connector, &connection::State::Absent, create)?;
    let (supply, made) = (given.views.supply(tenant, connector, None), Subject { stream, version: Version(1) });
    let supplied = |id: &str| supply.has(id);
    let fresh = connection::fresh(key.clone(), owner, &connection::Context { subject: made, now: given.now, connector, supplied: &supplied });
    let then = decided(given, tenant, made, connector, &fresh, command)?;
    Ok(guarded(plan.and(note.map(AnyEvent::from)).and(create).and(then), guard))
}

fn guarded(mut plan: Plan<AnyEvent>, guard: Guard) -> Plan<AnyEvent> {
    if !plan.writes.is_empty() {
        plan.guards.push(guard);
    }
    plan
}

/// The state of a consumer that the same plan makes.
fn new_consumer(app: &str, id: &str, given: &Given<'_>) -> consumer::State {
    consumer::State::Live(Box::new(consumer::Consumer {
        app: app.into(),
        consumer: id.into(),
        metadata: None,
        connections: std::collections::BTreeSet::new(),
        created_at: given.now,
        updated_at: given.now,
    }))
}

/// A command on a connection by its stream, whether it is there or has gone.
pub fn on_connection(given: &Given<'_>, stream: StreamId, command: Command) -> Result<Plan<AnyEvent>, Refusal> {
    let entry = given.views.thing(stream).ok_or(Refusal::NotFound)?;
    let AnyState::Connection(state) = &entry.state else { return Err(Refusal::NotFound) };
    let key = match state {
        connection::State::Live(live) => &live.key,
        connection::State::Deleted { key, .. } => key,
        connection::State::Absent => return Err(Refusal::NotFound),
    };
    let (_, connector) = given.views.connector(entry.tenant, &key.unified_api, &key.service_id).ok_or(Refusal::NotFound)?;
    decided(given, entry.tenant, subject(given.views, stream), connector, state, command)
}

/// Tokens and settings come from elsewhere.
pub fn import(given: &Given<'_>, tenant: TenantId, key: &Key, tokens: Tokens, changes: Changes) -> Result<Plan<AnyEvent>, Refusal> {
    upsert(given, tenant, key, Command::Import { tokens, changes })
}

/// The caller changes what it may write.
pub fn update(given: &Given<'_>, tenant: TenantId, key: &Key, changes: Changes) -> Result<Plan<AnyEvent>, Refusal> {
    upsert(given, tenant, key, Command::Update(changes))
}

/// A connection goes, and its consumer takes note.
pub fn delete_connection(given: &Given<'_>, tenant: TenantId, key: &Key) -> Result<Plan<AnyEvent>, Refusal> {
    let stream = given.views.connection(tenant, key).ok_or(Refusal::NotFound)?;
    let connection::State::Live(live) = connection_state(given.views, stream) else { return Err(Refusal::NotFound) };
    let note = consumer::decide(subject(given.views, live.consumer), &consumer_state(given.views, live.consumer), consumer::Command::RemoveConnection(stream))?;
    Ok(note.map(AnyEvent::from).and(remove(given, tenant, stream)?))
}

/// A connection goes, whether its service is still known or not.
pub(super) fn removal(subject: Subject, state: &connection::State) -> Result<Plan<AnyEvent>, Refusal> {
    let connection::State::Live(live) = state else { return Err(Refusal::NotFound) };
    let write = crate::kernel::Write::change(subject.stream, subject.version, AnyEvent::from(connection::Event::Deleted));
    Ok(Plan::of(write.freeing(live.key.claim())))
}

fn remove(given: &Given<'_>, tenant: TenantId, stream: StreamId) -> Result<Plan<AnyEvent>, Refusal> {
    let state = connection_state(given.views, stream);
    let connection::State::Live(live) = &state else { return Err(Refusal::NotFound) };
    let (_, connector) = connector_of(given.views, tenant, &live.key)?;
    decided(given, tenant, subject(given.views, stream), connector, &state, Command::Delete)
}

/// A consumer goes, and its connections with it: exactly those that it lists.
pub fn delete_consumer(given: &Given<'_>, tenant: TenantId, app: &str, id: &str) -> Result<Plan<AnyEvent>, Refusal> {
    let stream = given.views.consumer(tenant, app, id).ok_or(Refusal::NotFound)?;
    let state = consumer_state(given.views, stream);
    let consumer::State::Live(live) = &state else { return Err(Refusal::NotFound) };
    let plan = consumer::decide(subject(given.views, stream), &state, consumer::Command::Delete)?.map(AnyEvent::from);
    live.connections.iter().try_fold(plan, |plan, connection| Ok(plan.and(remove(given, tenant, *connection)?)))
}

/// A consumer is made, or its metadata changes: absent metadata stays as it is, an inner `None` removes it.
pub fn put_consumer(given: &Given<'_>, tenant: TenantId, app: &str, id: &str, metadata: Option<Option<Json>>) -> Result<Plan<AnyEvent>, Refusal> {
    let plan = if let Some(stream) = given.views.consumer(tenant, app, id) {
        let Some(metadata) = metadata else { return Ok(Plan::nothing()) };
        consumer::decide(subject(given.views, stream), &consumer_state(given.views, stream), consumer::Command::Update { metadata })?
    } else {
        let create = consumer::Command::Create { app: app.to_owned(), consumer: id.to_owned(), metadata: metadata.flatten() };
        consumer::decide(Subject { stream: given.fresh(), version: Version::ZERO }, &consumer::State::Absent, create)?
    };
    Ok(plan.map(AnyEvent::from))
}

/// A session of a consumer begins: the consumer is made if need be, and given metadata kept.
pub fn open_session(
    given: &Given<'_>,
    tenant: TenantId,
    app: &str,
    id: &str,
    metadata: Option<Option<Json>>,
    until: Moment,
) -> Result<Plan<AnyEvent>, Refusal> {
    let put = put_consumer(given, tenant, app, id, metadata)?;
    let made = put.writes.first().filter(|write| matches!(write.expected, Expected::Content(Version::ZERO))).map(|write| write.stream);
    let (stream, state) = match made {
        Some(stream) => (stream, new_consumer(app, id, given)),
        None => given.views.consumer(tenant, app, id).map(|stream| (stream, consumer_state(given.views, stream))).ok_or(Refusal::NotFound)?,
    };
    let opened = consumer::decide(subject(given.views, stream), &state, consumer::Command::OpenSession(until))?;
    Ok(put.and(opened.map(AnyEvent::from)))
}

/// A tenant's own connector is written: over its own, or beside the shipped one.
pub fn put_connector(given: &Given<'_>, tenant: TenantId, new: Connector) -> Result<Plan<AnyEvent>, Refusal> {
    let own = given.views.connector(tenant, &new.unified_api, &new.service_id).map(|(id, _)| id);
    let own = own.and_then(|id| given.views.thing(id).filter(|entry| entry.tenant == tenant).map(|entry| (id, entry)));
    let plan = match own {
        Some((id, entry)) => match &entry.state {
            AnyState::Connector(state) => connector::decide(subject(given.views, id), state, new)?,
            _ => return Err(Refusal::NotFound),
        },
        None => connector::decide(Subject { stream: given.fresh(), version: Version::ZERO }, &connector::State::Absent, new)?,
    };
    Ok(plan.map(AnyEvent::from))
}

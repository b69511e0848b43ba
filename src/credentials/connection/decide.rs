//! The rules of connections, as a table of state and command. Those of exchanges stand beside.

use super::evolve::made;
use super::settings::{missing_for_authorization, phase, sort};
use super::{Changes, Command, Connection, Context, Event, FLOW_SECONDS, Flow, Key, Phase, State, Tokens, Written, exchange};
use crate::credentials::Sealing;
use crate::credentials::connector::GrantType;
use crate::credentials::settings::sealed_ids;
use crate::kernel::{Fingerprint, Json, MAX_SECRET, Plan, Position, Refusal, Secret, SecretRef, Version, Write};

/// The most bytes of a redirect URI, and of a nonce.
const MAX_REDIRECT: usize = 2048;
const MAX_NONCE: usize = 255;
/// The most sorts of calls that one event tells of.
pub const MAX_CALLS: usize = 64;

/// Decides a command on a connection.
pub fn decide(context: &Context<'_>, state: &State, command: Command) -> Result<Plan<Event>, Refusal> {
    match (state, command) {
        (State::Absent, Command::Create { key, consumer }) => {
            let (claim, phase) = (key.claim(), initial_phase(context));
            let grant = context.connector.oauth.as_ref().map(|oauth| oauth.grant);
            Ok(Plan::of(change(context, Event::Created { key, consumer, phase, grant }).taking(claim)))
        }
        (State::Live(_) | State::Deleted { .. }, Command::Create { .. }) => Err(Refusal::AlreadyExists),
        // A result is never dropped, whatever became of the connection meanwhile.
        (State::Live(live), Command::FinishExchange { intent, outcome, confirm }) => Ok(exchange::finish(context, Some(live), intent, outcome, confirm)),
        (State::Deleted { .. }, Command::FinishExchange { intent, outcome, .. }) => Ok(exchange::finish(context, None, intent, outcome, None)),
        (State::Live(_) | State::Deleted { .. }, Command::FinishRevoke(outcome)) => {
            let causation = outcome.revocation;
            Ok(Plan { causation, ..Plan::of(Write::observation(context.subject.stream, Event::RevocationTold(outcome))) })
        }
        // Calls are told of once a minute, and the connection may have gone meanwhile.
        (State::Live(_) | State::Deleted { .. }, Command::Use(calls)) => note(context, calls),
        (State::Live(live), command) => on_live(context, live, command),
        (State::Absent | State::Deleted { .. }, _) => Err(Refusal::NotFound),
    }
}

fn on_live(context: &Context<'_>, live: &Connection, command: Command) -> Result<Plan<Event>, Refusal> {
    match command {
        Command::Update(changes) => update(context, live, changes),
        Command::Import { tokens, changes } => import(context, live, tokens, changes),
        Command::Authorize(flow) => authorize(context, live, flow),
        Command::EndAuthorization { flow, .. } if live.pending(flow).is_none() => Ok(Plan::nothing()),
        Command::EndAuthorization { flow, cause } => Ok(Plan::of(Write::observation(context.subject.stream, Event::AuthorizationEnded { flow, cause }))),
        Command::StartExchange(want) => exchange::start(context, live, want),
        Command::NoteFailure { cause } => Ok(exchange::note_failure(context, live, cause)),
        Command::Confirm { key, hash } => exchange::confirm(context, live, key, &hash),
        Command::Drop => exchange::drop_refused(context, live),
        Command::Revoke => Ok(exchange::revoke(context, live)),
        Command::Consent { id, granted, resources } => Ok(consent(context, live, id, granted, resources)),
        Command::Validate => Ok(validate(context, live)),
        Command::Reveal { secret } => Ok(Plan::of(Write::observation(context.subject.stream, Event::Revealed { secret }))),
        Command::Delete => Ok(Plan::of(change(context, Event::Deleted).freeing(live.key.claim()))),
        Command::Create { .. } | Command::FinishExchange { .. } | Command::FinishRevoke(_) | Command::Use(_) => Err(Refusal::AlreadyExists),
    }
}

fn note(context: &Context<'_>, calls: Vec<super::Calls>) -> Result<Plan<Event>, Refusal> {
    if calls.len() > MAX_CALLS {
        return Err(Refusal::Limit { what: "sorts of calls of one event", limit: MAX_CALLS as u64 });
    }
    Ok(Plan::of(Write::observation(context.subject.stream, Event::Used { calls })))
}

pub(super) fn change(context: &Context<'_>, event: Event) -> Write<Event> {
    Write::change(context.subject.stream, context.subject.version, event)
}

fn initial_phase(context: &Context<'_>) -> Phase {
    use crate::credentials::connector::AuthType;
    let connector = context.connector;
    let nothing_needed = connector.form_fields.iter().all(|field| !field.required || (context.supplied)(&field.id));
    if connector.auth_type != AuthType::Oauth2 && nothing_needed { Phase::Callable } else { Phase::Added }
}

/// The state of a connection that the same plan makes.
#[must_use]
pub fn fresh(key: Key, consumer: crate::kernel::StreamId, context: &Context<'_>) -> State {
    let grant = context.connector.oauth.as_ref().map(|oauth| oauth.grant);
    State::Live(Box::new(made(key, consumer, initial_phase(context), grant, context.now)))
}

/// The connection as it will be, to tell where it will stand. The references are placeholders: only their presence counts.
pub(super) fn preview(live: &Connection, written: &Written, sealing: &Sealing, tokens: Option<&Tokens>) -> Connection {
    let stand_in = SecretRef { position: Position::ZERO, name: String::new(), version: Version::ZERO, fingerprint: Fingerprint([0; 16]) };
    let mut after = live.clone();
    for id in &written.removed {
        after.settings.remove(id);
        after.sealed.remove(id);
    }
    after.settings.extend(written.settings.clone());
    for id in sealed_ids(sealing) {
        after.sealed.insert(id.to_owned(), stand_in.clone());
    }
    if let Some(tokens) = tokens {
        let access = super::Access { secret: stand_in.clone(), since: live.updated_at, expires_at: None, imported: false };
        after.access = tokens.access.as_ref().map(|_| access).or(after.access);
        after.refresh = tokens.refresh.as_ref().map(|_| stand_in).or(after.refresh);
    }
    after
}

fn update(context: &Context<'_>, live: &Connection, changes: Changes) -> Result<Plan<Event>, Refusal> {
    if changes == Changes::default() {
        return Ok(Plan::nothing());
    }
    let (mut written, sealing) = sort(context, live, changes)?;
    let entered = !written.settings.is_empty() || !written.removed.is_empty() || !sealing.is_empty();
    // What the service has found wrong stays so until something else is entered.
    if entered || live.phase != Phase::Invalid {
        written.phase = phase(context, &preview(live, &written, &sealing, None));
    }
    let mut write = change(context, Event::Updated(written));
    write.secrets = sealing;
    Ok(Plan::of(write))
}

fn import(context: &Context<'_>, live: &Connection, tokens: Tokens, changes: Changes) -> Result<Plan<Event>, Refusal> {
    let (mut written, mut sealing) = sort(context, live, changes)?;
    let entered = !written.settings.is_empty() || !written.removed.is_empty() || !sealing.is_empty() || tokens.access.is_some() || tokens.refresh.is_some();
    if entered || live.phase != Phase::Invalid {
        written.phase = phase(context, &preview(live, &written, &sealing, Some(&tokens)));
    }
    let (issued_at, expires_at) = (tokens.issued_at, tokens.expires_at);
    sealing.extend(sealed_tokens(tokens));
    if let Some((name, _)) = sealing.iter().find(|(_, secret)| secret.expose().len() > MAX_SECRET) {
        return Err(Refusal::invalid(format!("credentials.{name}"), format!("is larger than {MAX_SECRET} bytes")));
    }
    let mut write = change(context, Event::Imported { written, issued_at, expires_at });
    write.secrets = sealing;
    Ok(Plan::of(write))
}

pub(super) fn sealed_tokens(tokens: Tokens) -> Vec<(String, Secret)> {
    let named = [("access_token", tokens.access), ("refresh_token", tokens.refresh)];
    named.into_iter().filter_map(|(name, secret)| Some((name.to_owned(), secret?))).collect()
}

/// That an exchange may be made at all.
pub(super) fn ready(context: &Context<'_>, live: &Connection) -> Result<(), Refusal> {
    if !live.enabled {
        return Err(Refusal::InvalidState("the connection is disabled".into()));
    }
    if live.is_denied() {
        return Err(Refusal::InvalidState("its user has not consented, or has taken the consent back".into()));
    }
    let missing = missing_for_authorization(context, live);
    if missing.is_empty() {
        return Ok(());
    }
    let labels: Vec<&str> = missing.iter().map(|id| context.connector.field(id).map_or(*id, |field| field.label.as_str())).collect();
    Err(Refusal::InvalidState(format!("{} requires {} to be set before authorizing.", context.connector.name, labels.join(", "))))
}

fn authorize(context: &Context<'_>, live: &Connection, flow: Flow) -> Result<Plan<Event>, Refusal> {
    let grant = context.connector.oauth.as_ref().map(|oauth| oauth.grant);
    if grant != Some(GrantType::AuthorizationCode) {
        return Err(Refusal::InvalidState(format!("{} is not authorized by its user", context.connector.name)));
    }
    ready(context, live)?;
    if flow.redirect_uri.as_ref().is_some_and(|uri| uri.len() > MAX_REDIRECT) {
        return Err(Refusal::invalid("redirect_uri", format!("takes at most {MAX_REDIRECT} bytes")));
    }
    if flow.nonce.as_ref().is_some_and(|nonce| nonce.is_empty() || nonce.len() > MAX_NONCE || nonce.chars().any(char::is_control)) {
        return Err(Refusal::invalid("nonce", format!("takes 1 to {MAX_NONCE} bytes without control characters")));
    }
    Ok(Plan::of(Write::observation(context.subject.stream, Event::AuthorizationBegun(flow))))
}

/// Whether an authorization that began then may still end.
pub(super) fn is_open(context: &Context<'_>, began: crate::kernel::Moment) -> bool {
    began.plus_seconds(FLOW_SECONDS) > context.now
}

fn consent(context: &Context<'_>, live: &Connection, id: String, granted: bool, resources: Json) -> Plan<Event> {
    let last = live.extra.as_ref().and_then(|extra| extra.consents.last());
    if last.is_some_and(|last| last.granted == granted && last.resources == resources) {
        return Plan::nothing();
    }
    Plan::of(change(context, Event::Consented { id, granted, resources }))
}

fn validate(context: &Context<'_>, live: &Connection) -> Plan<Event> {
    // What the service has found wrong, only the service finds right again.
    let phase = if live.phase == Phase::Invalid { Phase::Invalid } else { phase(context, live) };
    if phase == live.phase {
        return Plan::of(Write::observation(context.subject.stream, Event::Validated { phase }));
    }
    Plan::of(change(context, Event::Validated { phase }))
}

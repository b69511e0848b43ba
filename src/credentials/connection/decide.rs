//! The rules of connections, as a table of state and command.

use super::evolve::made;
use super::settings::{missing_for_authorization, phase, sort};
use super::{Changes, Command, Connection, Context, Event, Key, Outcome, Phase, State, Tokens};
use crate::credentials::connector::GrantType;
use crate::credentials::Sealing;
use crate::kernel::{Claim, Fingerprint, MAX_SECRET, Plan, Position, Refusal, Secret, SecretRef, StreamId, Version, Write};

/// Decides a command on a connection.
pub fn decide(context: &Context<'_>, state: &State, command: Command) -> Result<Plan<Event>, Refusal> {
    match (state, command) {
        (State::Absent, Command::Create { key, consumer }) => {
            let claim = key.claim();
            let phase = initial_phase(context);
            Ok(Plan::of(change(context, Event::Created { key, consumer, phase }).taking(claim)))
        }
        (State::Live(_) | State::Deleted { .. }, Command::Create { .. }) => Err(Refusal::AlreadyExists),
        (State::Live(live), Command::Update(changes)) => update(context, live, changes),
        (State::Live(live), Command::Import { tokens, changes }) => import(context, live, tokens, changes),
        (State::Live(live), Command::StartExchange) => start(context, live),
        (State::Live(live), Command::Validate) => Ok(validate(context, live)),
        (State::Live(_), Command::Reveal { secret }) => Ok(Plan::of(Write::observation(context.subject.stream, Event::Revealed { secret }))),
        (State::Live(live), Command::Delete) => Ok(Plan::of(change(context, Event::Deleted).freeing(live.key.claim()))),
        // A result is never dropped, whatever became of the connection meanwhile.
        (State::Live(live), Command::FinishExchange { intent, outcome }) => Ok(finish(context, Some(live), intent, outcome)),
        (State::Deleted { .. }, Command::FinishExchange { intent, outcome }) => Ok(finish(context, None, intent, outcome)),
        (State::Absent | State::Deleted { .. }, _) => Err(Refusal::NotFound),
    }
}

/// The name that an exchange holds while it calls the service: one flight per connection, on any node.
fn flight(stream: StreamId) -> Claim {
    Claim::exact("flight", &[], &stream.to_string())
}

fn change(context: &Context<'_>, event: Event) -> Write<Event> {
    Write::change(context.subject.stream, context.subject.version, event)
}

fn initial_phase(context: &Context<'_>) -> Phase {
    use crate::credentials::connector::AuthType;
    let connector = context.connector;
    let nothing_needed = connector.form_fields.iter().all(|field| !field.required);
    if connector.auth_type != AuthType::Oauth2 && nothing_needed { Phase::Callable } else { Phase::Added }
}

/// The state of a connection that the same plan makes.
#[must_use]
pub fn fresh(key: Key, consumer: StreamId, context: &Context<'_>) -> State {
    State::Live(Box::new(made(key, consumer, initial_phase(context), context.now)))
}

/// The connection as it will be, to tell where it will stand. The references are placeholders: only their presence counts.
fn preview(live: &Connection, written: &super::Written, sealing: &Sealing, tokens: Option<&Tokens>) -> Connection {
    let stand_in = SecretRef { position: Position::ZERO, name: String::new(), version: Version::ZERO, fingerprint: Fingerprint([0; 16]) };
    let mut after = live.clone();
    for id in &written.removed {
        after.settings.remove(id);
        after.sealed.remove(id);
    }
    after.settings.extend(written.settings.clone());
    for id in sealing.iter().filter_map(|(name, _)| name.strip_prefix("settings.")) {
        after.sealed.insert(id.to_owned(), stand_in.clone());
    }
    if let Some(tokens) = tokens {
        after.access = tokens.access.as_ref().map(|_| (stand_in.clone(), None)).or(after.access);
        after.refresh = tokens.refresh.as_ref().map(|_| stand_in).or(after.refresh);
    }
    after
}

fn update(context: &Context<'_>, live: &Connection, changes: Changes) -> Result<Plan<Event>, Refusal> {
    if changes == Changes::default() {
        return Ok(Plan::nothing());
    }
    let (mut written, sealing) = sort(context, live, changes)?;
    written.phase = phase(context.connector, &preview(live, &written, &sealing, None));
    let mut write = change(context, Event::Updated(written));
    write.secrets = sealing;
    Ok(Plan::of(write))
}

fn import(context: &Context<'_>, live: &Connection, tokens: Tokens, changes: Changes) -> Result<Plan<Event>, Refusal> {
    let (mut written, mut sealing) = sort(context, live, changes)?;
    written.phase = phase(context.connector, &preview(live, &written, &sealing, Some(&tokens)));
    let (issued_at, expires_at) = (tokens.issued_at, tokens.expires_at);
    sealing.extend(sealed_tokens(tokens));
    if let Some((name, _)) = sealing.iter().find(|(_, secret)| secret.expose().len() > MAX_SECRET) {
        return Err(Refusal::invalid(format!("credentials.{name}"), format!("is larger than {MAX_SECRET} bytes")));
    }
    let mut write = change(context, Event::Imported { written, issued_at, expires_at });
    write.secrets = sealing;
    Ok(Plan::of(write))
}

fn sealed_tokens(tokens: Tokens) -> Vec<(String, Secret)> {
    let named = [("access_token", tokens.access), ("refresh_token", tokens.refresh)];
    named.into_iter().filter_map(|(name, secret)| Some((name.to_owned(), secret?))).collect()
}

fn start(context: &Context<'_>, live: &Connection) -> Result<Plan<Event>, Refusal> {
    let oauth = context.connector.oauth.as_ref().ok_or_else(|| Refusal::InvalidState(format!("{} does not use OAuth", context.connector.name)))?;
    if oauth.grant == GrantType::AuthorizationCode {
        return Err(Refusal::InvalidState(format!("{} is authorized by its user; only client_credentials and password are exchanged here", context.connector.name)));
    }
    if !live.enabled {
        return Err(Refusal::InvalidState("the connection is disabled".into()));
    }
    if live.flight.is_some() {
        // The claim says the same of other nodes; here it is known without a try.
        return Err(Refusal::InvalidState("an exchange is under way".into()));
    }
    let missing = missing_for_authorization(context.connector, live);
    if !missing.is_empty() {
        let labels: Vec<&str> = missing.iter().map(|id| context.connector.field(id).map_or(*id, |field| field.label.as_str())).collect();
        return Err(Refusal::InvalidState(format!("{} requires {} to be set before authorizing.", context.connector.name, labels.join(", "))));
    }
    let write = Write::observation(context.subject.stream, Event::ExchangeStarted { grant: oauth.grant });
    Ok(Plan::of(write.taking(flight(context.subject.stream))))
}

fn finish(context: &Context<'_>, live: Option<&Connection>, intent: Position, outcome: Outcome) -> Plan<Event> {
    let stream = context.subject.stream;
    let write = match outcome {
        Outcome::Tokens(tokens) => {
            let after = live.map(|live| preview(live, &super::Written::at(live.phase), &Vec::new(), Some(&tokens)));
            let phase = after.map_or(Phase::Added, |after| phase(context.connector, &after));
            let event = Event::Exchanged { intent, issued_at: tokens.issued_at, expires_at: tokens.expires_at, scope: tokens.scope.clone(), phase };
            let mut write = if live.is_some() { change(context, event) } else { Write::observation(stream, event) };
            write.secrets = sealed_tokens(tokens);
            write
        }
        Outcome::Failed { cause, passing, status } => Write::observation(stream, Event::ExchangeFailed { intent, cause, passing, status }),
        Outcome::Lost { cause } => Write::observation(stream, Event::ExchangeLost { intent, cause }),
    };
    // The claim is that of the latest flight: a late result of an older one leaves it alone.
    let frees = live.is_none_or(|live| live.flight == Some(intent));
    Plan { causation: intent, ..Plan::of(if frees { write.freeing(flight(stream)) } else { write }) }
}

fn validate(context: &Context<'_>, live: &Connection) -> Plan<Event> {
    let phase = phase(context.connector, live);
    if phase == live.phase {
        return Plan::of(Write::observation(context.subject.stream, Event::Validated { phase }));
    }
    Plan::of(change(context, Event::Validated { phase }))
}

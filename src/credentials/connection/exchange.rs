//! The rules of exchanges: which one is made, what its result does, and what ends tokens.

use super::decide::{change, is_open, preview, ready, sealed_tokens};
use super::settings::phase;
use super::{Confirm, Connection, Context, Event, Flight, Grant, Outcome, Phase, Tokens, Want, Written};
use crate::credentials::connector::{GrantType, Oauth};
use crate::kernel::{Claim, FlowId, Plan, Position, Refusal, StreamId, Write};

/// The name that an exchange holds while it calls the service: one flight per connection, on any node.
fn flight(stream: StreamId) -> Claim {
    Claim::exact("flight", &[], &stream.to_string())
}

/// Says that an exchange is about to call the service.
pub(super) fn start(context: &Context<'_>, live: &Connection, want: Want) -> Result<Plan<Event>, Refusal> {
    let oauth = context.connector.oauth.as_ref().ok_or_else(|| Refusal::InvalidState(format!("{} does not use OAuth", context.connector.name)))?;
    let started = match want {
        Want::Begin if oauth.grant == GrantType::AuthorizationCode => {
            let text = format!("{} is authorized by its user; only client_credentials and password are exchanged here", context.connector.name);
            return Err(Refusal::InvalidState(text));
        }
        Want::Begin => (oauth.grant.into(), None, None),
        Want::Renew => renewing(oauth, live)?,
        Want::Code(flow) => of_code(context, live, flow)?,
    };
    ready(context, live)?;
    if live.flight.is_some() {
        // The claim says the same of other nodes; here it is known without a try.
        return Err(Refusal::InvalidState("an exchange is under way".into()));
    }
    let (grant, parent, flow) = started;
    let write = Write::observation(context.subject.stream, Event::ExchangeStarted { grant, parent, flow });
    Ok(Plan::of(write.taking(flight(context.subject.stream))))
}

type Started = (Grant, Option<Position>, Option<FlowId>);

/// By the refresh token, unless the service has refused it and the settings can begin anew.
fn renewing(oauth: &Oauth, live: &Connection) -> Result<Started, Refusal> {
    let refused = live.failure.as_ref().is_some_and(|failure| failure.refused_since.is_some() && failure.grant == Some(Grant::RefreshToken));
    match (&live.refresh, oauth.grant) {
        (Some(_), grant) if refused && grant != GrantType::AuthorizationCode => Ok((grant.into(), None, None)),
        (Some(refresh), _) => Ok((Grant::RefreshToken, Some(refresh.position), None)),
        (None, GrantType::AuthorizationCode) => Err(Refusal::InvalidState("there is no refresh token: its user has to authorize it (again)".into())),
        (None, grant) => Ok((grant.into(), None, None)),
    }
}

fn of_code(context: &Context<'_>, live: &Connection, flow: FlowId) -> Result<Started, Refusal> {
    let pending = live.pending(flow).filter(|pending| is_open(context, pending.at));
    let pending = pending.ok_or_else(|| Refusal::InvalidState("this authorization is not open any more: begin it anew".into()))?;
    Ok((Grant::AuthorizationCode, Some(pending.position), Some(flow)))
}

/// Records what the service answered.
pub(super) fn finish(context: &Context<'_>, live: Option<&Connection>, intent: Position, outcome: Outcome, confirm: Option<Confirm>) -> Plan<Event> {
    let stream = context.subject.stream;
    let flown = live.and_then(|live| live.flight.as_deref()).filter(|flight| flight.intent == intent);
    let write = match outcome {
        Outcome::Tokens(tokens) => stored(context, live, flown, intent, tokens, confirm),
        Outcome::Failed { cause, passing, status, retry_at, client } => {
            let phase = live.and_then(|live| failed_phase(context, live, flown, intent, status));
            Write::observation(stream, Event::ExchangeFailed { intent, cause, passing, status, retry_at, phase, client })
        }
        Outcome::Lost { cause } => Write::observation(stream, Event::ExchangeLost { intent, cause }),
    };
    // The claim is that of the latest flight: a late result of an older one leaves it alone.
    let frees = live.is_none_or(|live| live.flight.as_ref().is_some_and(|flight| flight.intent == intent));
    Plan { causation: intent, ..Plan::of(if frees { write.freeing(flight(stream)) } else { write }) }
}

fn stored(context: &Context<'_>, live: Option<&Connection>, flown: Option<&Flight>, intent: Position, tokens: Tokens, confirm: Option<Confirm>) -> Write<Event> {
    // What waits to be confirmed takes nobody's place yet.
    let late = live.is_none_or(|live| if confirm.is_some() { live.is_revoked_since(intent) } else { live.has_moved_on(flown, intent) });
    let after = live.filter(|_| !late && confirm.is_none()).map(|live| preview(live, &Written::at(live.phase), &Vec::new(), Some(&tokens)));
    let stays = live.map_or(Phase::Added, |live| live.phase);
    let phase = after.map_or(stays, |after| phase(context, &after));
    let (issued_at, expires_at, scope) = (tokens.issued_at, tokens.expires_at, tokens.scope.clone());
    let event = Event::Exchanged { intent, issued_at, expires_at, scope, phase, confirm, late: late && live.is_some() };
    let mut write = if live.is_some() && !late { change(context, event) } else { Write::observation(context.subject.stream, event) };
    write.secrets = sealed_tokens(tokens);
    write
}

/// Credentials that the service refuses are wrong, once no token of theirs works any more.
fn failed_phase(context: &Context<'_>, live: &Connection, flown: Option<&Flight>, intent: Position, status: Option<u16>) -> Option<Phase> {
    let refused = matches!(status, Some(400 | 401 | 403));
    let own = flown.is_some_and(|flight| matches!(flight.grant, Grant::ClientCredentials | Grant::Password));
    let works = live.has_moved_on(flown, intent) || live.access.as_ref().is_some_and(|access| access.expires_at.is_none_or(|end| end > context.now));
    (refused && own && !works && live.phase != Phase::Invalid).then_some(Phase::Invalid)
}

/// Notes that no exchange could be made, though one was due: like one that failed, so that it is not tried all the time.
pub(super) fn note_failure(context: &Context<'_>, live: &Connection, cause: String) -> Plan<Event> {
    // What its owner has switched off does not fail.
    if live.flight.is_some() || !live.enabled || live.is_denied() {
        return Plan::nothing();
    }
    let event = Event::ExchangeFailed { intent: Position::ZERO, cause, passing: false, status: None, retry_at: None, phase: None, client: false };
    Plan::of(Write::observation(context.subject.stream, event))
}

/// Takes up tokens that wait.
pub(super) fn confirm(context: &Context<'_>, live: &Connection, key: [u8; 16], hash: &[u8; 32]) -> Result<Plan<Event>, Refusal> {
    let waiting = live.extra.as_ref().and_then(|extra| extra.unconfirmed.as_ref());
    let right = waiting.filter(|waiting| {
        let Confirm { verifier, until } = &waiting.confirm;
        verifier.key() == key && verifier.matches(hash) && *until > context.now
    });
    // Wrong, used and late look the same.
    let right = right.ok_or_else(|| Refusal::InvalidState("confirm_token: nothing waits for it: it is wrong, used, or older than 30 minutes".into()))?;
    let mut after = live.clone();
    after.access = Some(right.access.clone());
    let event = Event::Confirmed { exchange: right.exchange, phase: phase(context, &after) };
    Ok(Plan { causation: right.exchange, ..Plan::of(change(context, event)) })
}

/// Removes tokens that the service has refused for too long.
pub(super) fn drop_refused(context: &Context<'_>, live: &Connection) -> Result<Plan<Event>, Refusal> {
    let is_over = live.flight.is_none() && live.drops_at().is_some_and(|at| at <= context.now);
    let failure = live.failure.as_ref().filter(|_| is_over).ok_or_else(|| Refusal::InvalidState("the service has not refused them for so long".into()))?;
    let begins = context.connector.oauth.as_ref().map(|oauth| oauth.grant);
    let phase = if begins == Some(GrantType::AuthorizationCode) { Phase::Added } else { Phase::Invalid };
    Ok(Plan::of(change(context, Event::Dropped { cause: failure.cause.clone(), phase })))
}

/// Removes the tokens because the user wants it.
pub(super) fn revoke(context: &Context<'_>, live: &Connection) -> Plan<Event> {
    let waiting = live.extra.as_ref().is_some_and(|extra| extra.unconfirmed.is_some());
    if live.access.is_none() && live.refresh.is_none() && !waiting {
        return Plan::nothing();
    }
    Plan::of(change(context, Event::Revoked { phase: Phase::Added }))
}

//! The fold of connections. It never refuses: it tells what became of the past.

use std::collections::BTreeMap;

use super::{
    Access, Calls, Connection, Consent, Event, Extra, Failure, Flight, Grant, Key, Part, Pending, Phase, State, Unconfirmed, Written, renewal::MAX_COUNT,
};
use crate::credentials::connector::GrantType;
use crate::credentials::settings;
use crate::kernel::{Class, Header, Json, Moment, Position, StreamId};

/// So many authorizations may be open at a time; the oldest makes way.
const MAX_PENDING: usize = 4;
/// So many records of consent stay at hand; the log keeps them all.
const MAX_CONSENTS: usize = 64;

impl Written {
    /// Nothing written, at this phase.
    pub(super) const fn at(phase: Phase) -> Self {
        Self { enabled: None, settings: BTreeMap::new(), removed: Vec::new(), metadata: None, configuration: None, custom_mappings: None, phase }
    }
}

/// The state after the event.
#[must_use]
pub fn evolve(state: State, header: &Header, event: Event) -> State {
    match (event, state) {
        (Event::Created { key, consumer, phase, grant }, _) => State::Live(Box::new(made(key, consumer, phase, grant, header.recorded_at))),
        (Event::Deleted, State::Live(live)) => State::Deleted { at: header.recorded_at, key: live.key },
        (event, State::Live(mut live)) => {
            apply(&mut live, header, event);
            if header.class == Class::Change {
                live.updated_at = header.recorded_at;
            }
            State::Live(live)
        }
        (_, state) => state,
    }
}

/// A connection that has nothing yet.
pub(super) fn made(key: Key, consumer: StreamId, phase: Phase, grant: Option<GrantType>, at: Moment) -> Connection {
    Connection {
        key: key.into(),
        consumer,
        phase,
        enabled: true,
        grant,
        settings: BTreeMap::new(),
        sealed: BTreeMap::new(),
        metadata: None,
        configuration: None,
        custom_mappings: None,
        access: None,
        refresh: None,
        scope: None,
        flight: None,
        failure: None,
        extra: None,
        created_at: at,
        updated_at: at,
    }
}

fn apply(live: &mut Connection, header: &Header, event: Event) {
    match event {
        Event::Updated(written) => write(live, header, written),
        Event::Imported { written, issued_at, expires_at } => {
            write(live, header, written);
            take_tokens(live, header, expires_at, issued_at.is_none() || expires_at.is_none());
        }
        Event::AuthorizationBegun(flow) => {
            let pending = &mut extra(live).pending;
            pending.push(Pending { flow, at: header.recorded_at, position: header.position });
            pending.drain(..pending.len().saturating_sub(MAX_PENDING));
        }
        Event::AuthorizationEnded { flow, .. } => extra(live).pending.retain(|pending| pending.flow.id != flow),
        Event::ExchangeStarted { grant, parent, flow } => {
            live.flight = Some(Box::new(Flight { intent: header.position, grant, parent }));
            if let Some(flow) = flow {
                extra(live).pending.retain(|pending| pending.flow.id != flow);
            }
            learn(live, grant);
        }
        Event::Exchanged { .. } => exchanged(live, header, event),
        Event::ExchangeFailed { intent, cause, passing, status, retry_at, phase, client } => {
            live.phase = phase.unwrap_or(live.phase);
            fail(live, header, intent, Failed { cause, passing, status, retry_at, client, lost: false });
        }
        Event::ExchangeLost { intent, cause } => fail(live, header, intent, Failed { cause, passing: true, status: None, retry_at: None, client: false, lost: true }),
        Event::Confirmed { phase, .. } => {
            if let Some(waiting) = extra(live).unconfirmed.take() {
                live.access = Some(waiting.access);
                live.refresh = waiting.refresh.or_else(|| live.refresh.take());
                (live.scope, live.failure) = (waiting.scope, None);
                restored(live);
            }
            live.phase = phase;
        }
        Event::Dropped { cause, phase } => {
            (live.access, live.refresh, live.phase) = (None, None, phase);
            extra(live).dropped = Some(cause);
        }
        Event::Revoked { phase } => {
            (live.access, live.refresh, live.scope, live.failure, live.phase) = (None, None, None, None, phase);
            let extra = extra(live);
            (extra.unconfirmed, extra.dropped, extra.revoked) = (None, None, Some(header.position));
        }
        Event::Consented { id, granted, resources } => {
            let consents = &mut extra(live).consents;
            consents.push(Consent { id, at: header.recorded_at, granted, resources });
            consents.drain(..consents.len().saturating_sub(MAX_CONSENTS));
        }
        Event::Used { calls } => used(live, &calls),
        Event::Validated { phase } => live.phase = phase,
        Event::Revealed { .. } | Event::RevocationTold(_) | Event::Created { .. } | Event::Deleted => {}
    }
    if live.extra.as_deref() == Some(&Extra::default()) {
        live.extra = None;
    }
}

fn extra(live: &mut Connection) -> &mut Extra {
    live.extra.get_or_insert_default()
}

/// An exchange by a grant of the connection's own tells which one begins it.
fn learn(live: &mut Connection, grant: Grant) {
    let begins = match grant {
        Grant::AuthorizationCode => GrantType::AuthorizationCode,
        Grant::ClientCredentials => GrantType::ClientCredentials,
        Grant::Password => GrantType::Password,
        Grant::RefreshToken => return,
    };
    live.grant = Some(begins);
}

fn exchanged(live: &mut Connection, header: &Header, event: Event) {
    let Event::Exchanged { intent, expires_at, scope, phase, confirm, late, .. } = event else { return };
    land(live, intent);
    if late {
        return;
    }
    if let Some(confirm) = confirm {
        let access = header.secret("access_token").map(|secret| Access { secret, since: header.recorded_at, expires_at, imported: false });
        let refresh = header.secret("refresh_token");
        extra(live).unconfirmed = access.map(|access| Unconfirmed { confirm, exchange: header.position, access, refresh, scope });
        return;
    }
    take_tokens(live, header, expires_at, false);
    (live.phase, live.scope) = (phase, scope);
}

/// What an exchange did not bring.
struct Failed {
    cause: String,
    passing: bool,
    status: Option<u16>,
    retry_at: Option<Moment>,
    client: bool,
    lost: bool,
}

fn fail(live: &mut Connection, header: &Header, intent: Position, failed: Failed) {
    let flight = live.flight.take_if(|flight| flight.intent == intent);
    let grant = flight.as_ref().map(|flight| flight.grant);
    // What could not be exchanged at all has no intent, and speaks of the tokens that are here. A code that brings nothing does not.
    let elsewhere = grant == Some(Grant::AuthorizationCode) && live.holds_tokens();
    if elsewhere || (intent != Position::ZERO && live.has_moved_on(flight.as_deref(), intent)) {
        return;
    }
    let Failed { cause, passing, status, retry_at, client, lost } = failed;
    let at = header.recorded_at;
    let refused = (matches!(status, Some(400 | 401)) && !client).then_some(at);
    let before = live.failure.take();
    live.failure = Some(Box::new(Failure {
        at,
        since: before.as_ref().map_or(at, |before| before.since),
        refused_since: before.as_ref().and_then(|before| before.refused_since).or(refused),
        count: before.as_ref().map_or(1, |before| before.count.saturating_add(1).min(MAX_COUNT)),
        cause,
        passing,
        status,
        lost,
        grant: grant.or_else(|| before.as_ref().and_then(|before| before.grant)),
        retry_at,
        client,
    }));
}

/// A late result of an older flight does not end a newer one.
fn land(live: &mut Connection, intent: Position) {
    if live.flight.as_ref().is_some_and(|flight| flight.intent == intent) {
        live.flight = None;
    }
}

fn take_tokens(live: &mut Connection, header: &Header, expires_at: Option<Moment>, imported: bool) {
    let (access, refresh) = (header.secret("access_token"), header.secret("refresh_token"));
    if access.is_some() || refresh.is_some() {
        live.failure = None;
        restored(live);
    }
    if let Some(secret) = access {
        live.access = Some(Access { secret, since: header.recorded_at, expires_at, imported });
    }
    if let Some(refresh) = refresh {
        live.refresh = Some(refresh);
    }
}

/// Tokens are there again.
fn restored(live: &mut Connection) {
    if let Some(extra) = &mut live.extra {
        (extra.dropped, extra.revoked) = (None, None);
    }
}

fn used(live: &mut Connection, calls: &[Calls]) {
    let extra = extra(live);
    let latest = |failed: bool| calls.iter().filter(|calls| calls.status.is_none_or(|status| matches!(status, 502 | 504)) == failed).map(|calls| calls.last).max();
    for calls in calls {
        let (count, last) = extra.used.unwrap_or((0, calls.last));
        extra.used = Some((count.saturating_add(calls.count), last.max(calls.last)));
    }
    match (latest(true), latest(false)) {
        (Some(failed), good) if good.is_none_or(|good| failed >= good) => extra.downstream_failed_at = Some(failed),
        (_, Some(_)) => extra.downstream_failed_at = None,
        _ => {}
    }
}

fn write(live: &mut Connection, header: &Header, written: Written) {
    live.phase = written.phase;
    live.enabled = written.enabled.unwrap_or(live.enabled);
    settings::write(&mut live.settings, &mut live.sealed, header, written.settings, &written.removed);
    set(&mut live.metadata, written.metadata);
    set(&mut live.configuration, written.configuration);
    set(&mut live.custom_mappings, written.custom_mappings);
}

fn set(to: &mut Option<Json>, part: Option<Part>) {
    match part {
        Some(Part::Set(value)) => *to = Some(value),
        Some(Part::Removed) => *to = None,
        None => {}
    }
}

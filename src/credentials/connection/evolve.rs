//! The fold of connections. It never refuses: it tells what became of the past.

use std::collections::BTreeMap;

use super::{Connection, Event, Failure, Key, Part, Phase, State, Written};
use crate::kernel::{Class, Header, Json, Moment, Position, StreamId};

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
        (Event::Created { key, consumer, phase }, _) => State::Live(Box::new(made(key, consumer, phase, header.recorded_at))),
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
pub(super) fn made(key: Key, consumer: StreamId, phase: Phase, at: Moment) -> Connection {
    Connection {
        key: key.into(),
        consumer,
        phase,
        enabled: true,
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
        created_at: at,
        updated_at: at,
    }
}

fn apply(live: &mut Connection, header: &Header, event: Event) {
    match event {
        Event::Updated(written) => write(live, header, written),
        Event::Imported { written, issued_at: _, expires_at } => {
            write(live, header, written);
            take_tokens(live, header, expires_at);
            live.failure = None;
        }
        Event::ExchangeStarted { .. } => live.flight = Some(header.position),
        Event::Exchanged { intent, expires_at, scope, phase, .. } => {
            take_tokens(live, header, expires_at);
            (live.phase, live.scope, live.failure) = (phase, scope, None);
            land(live, intent);
        }
        Event::ExchangeFailed { intent, cause, passing, status } => {
            land(live, intent);
            live.failure = Some(Failure { at: header.recorded_at, cause, passing, status, lost: false });
        }
        Event::ExchangeLost { intent, cause } => {
            land(live, intent);
            live.failure = Some(Failure { at: header.recorded_at, cause, passing: true, status: None, lost: true });
        }
        Event::Validated { phase } => live.phase = phase,
        Event::Revealed { .. } | Event::Created { .. } | Event::Deleted => {}
    }
}

/// A late result of an older flight does not end a newer one.
fn land(live: &mut Connection, intent: Position) {
    live.flight = live.flight.filter(|flight| *flight != intent);
}

fn take_tokens(live: &mut Connection, header: &Header, expires_at: Option<Moment>) {
    if let Some(access) = header.secret("access_token") {
        live.access = Some((access, expires_at));
    }
    if let Some(refresh) = header.secret("refresh_token") {
        live.refresh = Some(refresh);
    }
}

fn write(live: &mut Connection, header: &Header, written: Written) {
    live.phase = written.phase;
    live.enabled = written.enabled.unwrap_or(live.enabled);
    for id in &written.removed {
        live.settings.remove(id);
        live.sealed.remove(id);
    }
    for (id, value) in written.settings {
        live.sealed.remove(&id);
        live.settings.insert(id, value);
    }
    for secret in &header.secrets {
        if let (Some(id), Some(reference)) = (secret.name.strip_prefix("settings."), header.secret(&secret.name)) {
            live.settings.remove(id);
            live.sealed.insert(id.to_owned(), reference);
        }
    }
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

//! Secrets that are no longer in use: their keys have an end.

use imbl::OrdMap;

use super::Due;
use crate::credentials::{AnyEvent, AnyState, connection};
use crate::kernel::{Header, Moment, SecretRef, StreamId};

/// Superseded access tokens die so many seconds after their expiry.
const KEPT_AFTER_EXPIRY: i64 = 24 * 3600;
/// What else is out of use dies after the undo window of 30 days.
const UNDO_WINDOW: i64 = 30 * 24 * 3600;
/// What a repeat of a command is answered with dies when commands are forgotten: after a day.
const REPEATABLE: i64 = 24 * 3600;
/// The box of what a repeat of a command is answered with.
pub const REPLAY: &str = "replay";

type Retired = OrdMap<Due, StreamId>;

fn due(at: Moment, secret: &SecretRef) -> Due {
    (at, secret.position, secret.name.clone())
}

/// What a repeat of the command is answered with.
pub(super) fn replay(retired: &mut Retired, header: &Header) {
    if let Some(secret) = header.secret(REPLAY) {
        retired.insert(due(header.recorded_at.plus_seconds(REPEATABLE), &secret), header.stream);
    }
}

/// The secrets that a state rests on, of kinds whose superseded ones stay for the undo window. Connections have rules of their own.
pub(super) fn held(state: &AnyState) -> Vec<SecretRef> {
    match state {
        AnyState::Connection(_) => Vec::new(),
        other => other.secrets().into_iter().cloned().collect(),
    }
}

/// Those that the state rests on no more.
pub(super) fn dropped(retired: &mut Retired, header: &Header, held: &[SecretRef], after: &AnyState) {
    replay(retired, header);
    if held.is_empty() {
        return;
    }
    let (kept, undone) = (after.secrets(), header.recorded_at.plus_seconds(UNDO_WINDOW));
    for secret in held.iter().filter(|secret| !kept.contains(secret)) {
        retired.insert(due(undone, secret), header.stream);
    }
}

/// What the event puts out of use in a connection: a superseded access token, all that a deleted one held, and what a late exchange still
/// brings it.
pub(super) fn superseded(retired: &mut Retired, header: &Header, before: &AnyState, event: &AnyEvent) {
    let (AnyState::Connection(before), AnyEvent::Connection(event)) = (before, event) else { return };
    let undone = header.recorded_at.plus_seconds(UNDO_WINDOW);
    match (before, event) {
        (state, connection::Event::Deleted) => {
            for secret in state.secrets() {
                retired.insert(due(undone, secret), header.stream);
            }
        }
        (connection::State::Deleted { .. }, _) => {
            for secret in &header.secrets {
                retired.insert((undone, header.position, secret.name.clone()), header.stream);
            }
        }
        (connection::State::Live(live), _) if header.secret("access_token").is_some() => {
            let Some((access, expires_at)) = &live.access else { return };
            let at = expires_at.map_or(undone, |end| end.max(header.recorded_at).plus_seconds(KEPT_AFTER_EXPIRY));
            retired.insert(due(at, access), header.stream);
        }
        _ => {}
    }
}

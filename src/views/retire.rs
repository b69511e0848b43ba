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

/// A secret that a state rests on, and when it dies if the state rests on it no more.
pub(super) type Held = (SecretRef, Moment);

/// The secrets that a state rests on, as far as the event may take them away.
pub(super) fn held(state: &AnyState, header: &Header, event: &AnyEvent) -> Vec<Held> {
    let undone = header.recorded_at.plus_seconds(UNDO_WINDOW);
    match (state, event) {
        (AnyState::Connection(connection::State::Live(live)), event) if takes_away(event) => {
            let deleted = matches!(event, AnyEvent::Connection(connection::Event::Deleted));
            let ends = live.access.as_ref().filter(|_| !deleted).and_then(|access| Some((&access.secret, access.expires_at?)));
            let of_access = |secret: &SecretRef| ends.filter(|(access, _)| *access == secret).map(|(_, end)| end);
            let at = |secret: &SecretRef| of_access(secret).map_or(undone, |end| end.max(header.recorded_at).plus_seconds(KEPT_AFTER_EXPIRY));
            live.secrets().map(|secret| (secret.clone(), at(secret))).collect()
        }
        (AnyState::Connection(_), _) => Vec::new(),
        (other, _) => other.secrets().into_iter().map(|secret| (secret.clone(), undone)).collect(),
    }
}

/// Whether an event of a connection may put secrets out of use: most do not, and are many.
fn takes_away(event: &AnyEvent) -> bool {
    use connection::Event;
    let AnyEvent::Connection(event) = event else { return matches!(event, AnyEvent::Reverted(_)) };
    matches!(
        event,
        Event::Updated(_)
            | Event::Imported { .. }
            | Event::Exchanged { .. }
            | Event::Confirmed { .. }
            | Event::Dropped { .. }
            | Event::Revoked { .. }
            | Event::Deleted
    )
}

/// Those that the state rests on no more; of a connection, also those that the event brought and that are not used: what comes after its delete,
/// or too late.
pub(super) fn dropped(retired: &mut Retired, header: &Header, held: &[Held], after: &AnyState) {
    replay(retired, header);
    let unused = matches!(after, AnyState::Connection(_)) && !header.secrets.is_empty();
    if held.is_empty() && !unused {
        return;
    }
    let (kept, undone) = (after.secrets(), header.recorded_at.plus_seconds(UNDO_WINDOW));
    for (secret, at) in held.iter().filter(|(secret, _)| !kept.contains(&secret)) {
        retired.insert(due(*at, secret), header.stream);
    }
    if unused {
        let brought = header.secrets.iter().filter(|secret| secret.name != REPLAY).filter_map(|secret| header.secret(&secret.name));
        for secret in brought.filter(|secret| !kept.contains(&secret)) {
            retired.insert(due(undone, &secret), header.stream);
        }
    }
}

//! When a connection is to be renewed by itself. It follows from the state alone, so that it is the same after a restart and on every node.

use super::{Connection, Failure, Flow};
use crate::kernel::{Moment, StreamId};

/// Tokens that the service has refused by 400 or 401 are kept for so many seconds: 48 hours. Other failures keep them for ever.
pub const KEPT_AFTER_REFUSAL: i64 = 48 * 3600;
/// No connection is renewed twice within so many seconds, however short its tokens live.
const AT_MOST_EVERY: i64 = 30;
/// The longest time before its end at which a token is renewed, in seconds.
const MAX_LEAD: i64 = 600;
/// Of a token's life, the part before its end at which it is renewed.
const LEAD_PART: i64 = 6;
/// The first wait, in seconds, after a failure that passes, and after one that does not; each further one is twice as long.
const FIRST_WAIT: (i64, i64) = (30, 300);
/// The longest wait, in seconds, for each of them.
const LONGEST_WAIT: (i64, i64) = (3600, 6 * 3600);
/// After an exchange whose outcome is unknown, the old token is tried once, right away.
const LOST_WAIT: i64 = 2;
/// Failures are counted as far as the waits grow, and further.
pub(super) const MAX_COUNT: u32 = 1000;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// An exchange.
    Renewal,
    /// The removal of tokens that the service has refused for too long.
    Drop,
}

/// What is to be done with a connection by itself, and when; nothing while an exchange is under way.
#[must_use]
pub fn due(stream: StreamId, live: &Connection) -> Option<(Moment, Due)> {
    // What began and was lost is tried again, though there is nothing to keep yet.
    let lost = live.begins_anew() && live.failure.as_ref().is_some_and(|failure| failure.lost);
    let kept = live.holds_tokens() || lost;
    if live.flight.is_some() || !kept {
        return None;
    }
    let dropped = live.drops_at().map(|at| (at, Due::Drop));
    let renewed = renewal(stream, live).map(|at| (at, Due::Renewal));
    // At the same moment the removal comes first: an exchange would only find out once more.
    match (dropped, renewed) {
        (Some(dropped), Some(renewed)) if renewed.0 < dropped.0 => Some(renewed),
        (Some(dropped), _) => Some(dropped),
        (None, renewed) => renewed,
    }
}

fn renewal(stream: StreamId, live: &Connection) -> Option<Moment> {
    if !live.enabled || live.is_denied() || !(live.refresh.is_some() || live.begins_anew()) {
        return None;
    }
    if let Some(failure) = &live.failure {
        return Some(after_failure(stream, failure));
    }
    let Some(access) = &live.access else {
        // A refresh token alone was imported: it waits for its first exchange.
        return Some(live.updated_at);
    };
    if access.imported && live.refresh.is_some() {
        return Some(access.since);
    }
    match access.expires_at {
        Some(end) => {
            let seconds = (end.millis() - access.since.millis()).max(0) / 1000;
            let lead = (seconds / LEAD_PART).min(MAX_LEAD);
            // Spread over half the lead, so that what came together is not renewed together.
            let early = lead + spread(stream, access.since, lead / 2);
            Some(end.plus_seconds(-early).max(access.since.plus_seconds(AT_MOST_EVERY)))
        }
        // The service told no end: it lives until the service refuses it.
        None => None,
    }
}

fn after_failure(stream: StreamId, failure: &Failure) -> Moment {
    let (first, longest) = if failure.passing { (FIRST_WAIT.0, LONGEST_WAIT.0) } else { (FIRST_WAIT.1, LONGEST_WAIT.1) };
    let wait = if failure.lost && failure.count == 1 { LOST_WAIT } else { (first << (failure.count.clamp(1, 16) - 1)).min(longest) };
    let at = failure.at.plus_seconds(wait + spread(stream, failure.at, wait / 5));
    failure.retry_at.map_or(at, |retry_at| at.max(retry_at))
}

/// From 0 to `width` seconds: the same for the same thing and moment, and another for others.
fn spread(stream: StreamId, moment: Moment, width: i64) -> i64 {
    // The id is random already; the moment is mixed in by a product that carries into the high bits.
    let id = stream.0.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    let mixed = (id ^ moment.millis().unsigned_abs()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    i64::try_from(mixed).unwrap_or(0) % width.saturating_add(1).max(1)
}

impl Flow {
    /// Whether the tokens that it brings wait to be confirmed.
    #[must_use]
    pub const fn waits(&self) -> bool {
        self.nonce.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::Phase;
    use super::super::evolve::made;
    use super::super::{Access, Key};
    use crate::credentials::connector::GrantType;
    use super::*;
    use crate::kernel::{Fingerprint, Position, SecretRef, Version};

    const STREAM: StreamId = StreamId([7; 16]);

    fn at(seconds: i64) -> Moment {
        Moment::from_millis(1_777_903_500_000).plus_seconds(seconds)
    }

    fn secret() -> SecretRef {
        SecretRef { position: Position(3), name: "refresh_token".into(), version: Version(1), fingerprint: Fingerprint([1; 16]) }
    }

    /// A connection with both tokens, which came at 0 and live so many seconds.
    fn live(lives: Option<i64>) -> Connection {
        let key = Key { app: "app".into(), consumer: "acme".into(), unified_api: "crm".into(), service_id: "x".into() };
        let mut live = made(key, StreamId([1; 16]), Phase::Callable, Some(GrantType::AuthorizationCode), at(0));
        live.refresh = Some(secret());
        live.access = Some(Access { secret: secret(), since: at(0), expires_at: lives.map(at), imported: false });
        live
    }

    fn seconds(live: &Connection) -> Option<i64> {
        due(STREAM, live).map(|(moment, _)| (moment.millis() - at(0).millis()) / 1000)
    }

    #[test]
    fn a_token_is_renewed_ahead_of_its_end_and_those_that_came_together_are_spread() {
        let hour = seconds(&live(Some(3600))).unwrap();
        assert!((2700..=3000).contains(&hour), "{hour}");
        let dues: std::collections::BTreeSet<_> = (0..100).map(|id| due(StreamId([id; 16]), &live(Some(3600))).unwrap().0).collect();
        assert!(dues.len() > 50, "{}", dues.len());
        for (lives, earliest, latest) in [(60, 45, 50), (0, 30, 30), (-5, 30, 30), (5, 30, 30), (366 * 24 * 3600, 366 * 24 * 3600 - 900, 366 * 24 * 3600 - 600)] {
            let due = seconds(&live(Some(lives))).unwrap();
            assert!((earliest..=latest).contains(&due), "{lives}: {due}");
        }
        assert_eq!(seconds(&live(None)), None, "nobody said when it ends");
    }

    #[test]
    fn what_cannot_be_renewed_is_not_due() {
        let mut disabled = live(Some(60));
        disabled.enabled = false;
        let mut alone = live(Some(60));
        alone.refresh = None;
        assert_eq!((seconds(&disabled), seconds(&alone)), (None, None));
        alone.grant = Some(GrantType::ClientCredentials);
        assert!(seconds(&alone).is_some(), "its settings bring a new one");
        let mut imported = live(None);
        imported.access.as_mut().unwrap().imported = true;
        assert_eq!(seconds(&imported), Some(0), "nobody knows how old it is");
        imported.access = None;
        assert_eq!(seconds(&imported), Some(0));
        imported.refresh = None;
        assert_eq!(seconds(&imported), None, "there is nothing");
    }

    fn failed(count: u32, passing: bool, refused: bool) -> Connection {
        let mut live = live(Some(60));
        let refused_since = refused.then(|| at(0));
        let status = refused.then_some(401);
        let failure = Failure { at: at(100), since: at(0), refused_since, count, cause: String::new(), passing, status, lost: false, grant: None, retry_at: None, client: false };
        live.failure = Some(Box::new(failure));
        live
    }

    #[test]
    fn failures_wait_longer_each_time_and_refused_tokens_go_after_48_hours() {
        let mut before = 0;
        for count in 1..8 {
            let due = seconds(&failed(count, true, false)).unwrap() - 100;
            let wait = 30 << (count - 1);
            assert!((wait..=wait + wait / 5).contains(&due) && due > before, "{count}: {due}");
            before = due;
        }
        let most = seconds(&failed(MAX_COUNT, true, false)).unwrap() - 100;
        assert!((3600..=3600 + 720).contains(&most), "{most}");
        let mut lost = failed(1, true, false);
        lost.failure.as_mut().unwrap().lost = true;
        assert_eq!(seconds(&lost), Some(102), "the old token is tried right away, once");
        lost.failure.as_mut().unwrap().count = 2;
        assert!(seconds(&lost).unwrap() >= 160);
        assert_eq!(due(STREAM, &failed(1, false, true)).unwrap().1, Due::Renewal);
        let mut long = failed(12, false, true);
        long.failure.as_mut().unwrap().at = at(KEPT_AFTER_REFUSAL - 60);
        assert_eq!(due(STREAM, &long), Some((at(KEPT_AFTER_REFUSAL), Due::Drop)));
        long.failure.as_mut().unwrap().refused_since = None;
        assert_eq!(due(STREAM, &long).unwrap().1, Due::Renewal, "what was not refused stays for ever");
    }

    #[test]
    fn a_service_that_asks_to_wait_is_heard() {
        let mut asked = failed(1, true, false);
        asked.failure.as_mut().unwrap().retry_at = Some(at(9000));
        assert_eq!(seconds(&asked), Some(9000));
    }
}

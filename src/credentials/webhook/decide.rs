//! The rules of webhooks, as a table of state and command.

use super::{
    Changes, Command, EVERYTHING, Event, MAX_DEAD, MAX_DESCRIPTION, MAX_GRACE, MAX_PER_TENANT, MAX_URL, Profile, Progress, Replay, SECRET, State, Webhook,
};
use crate::credentials::connection::Notice;
use crate::credentials::{Sealing, Subject};
use crate::kernel::{Claim, Moment, Plan, Position, Refusal, Secret, Write};

/// A tenant has so many seats: a limit that holds however many are made at once.
pub(in crate::credentials) fn claim(seat: u8) -> Claim {
    Claim::exact("webhook.seat", &[], &seat.to_string())
}

/// Decides a command on a webhook.
pub fn decide(subject: Subject, state: &State, now: Moment, command: Command) -> Result<Plan<Event>, Refusal> {
    let change = |event| Write::change(subject.stream, subject.version, event);
    let note = |event| Ok(Plan::of(Write::observation(subject.stream, event)));
    match (state, command) {
        (State::Absent, Command::Create { seat: None, .. }) => {
            Err(Refusal::Limit { what: "webhooks of a tenant", limit: u64::from(MAX_PER_TENANT) })
        }
        (State::Absent, Command::Create { profile, seat: Some(seat), secret, sealing }) => {
            let write = change(Event::Created { profile: checked(profile)?, seat }).taking(claim(seat));
            Ok(Plan::of(sealed(write, secret, sealing)))
        }
        (State::Live(_) | State::Deleted { .. }, Command::Create { .. }) => Err(Refusal::AlreadyExists),
        (State::Live(live), Command::Update(changes)) => Ok(update(live, changes)?.map_or_else(Plan::nothing, |changes| Plan::of(change(Event::Updated(changes))))),
        (State::Live(_), Command::Rotate { secret, grace_seconds, sealing }) => {
            if grace_seconds > MAX_GRACE {
                return Err(Refusal::invalid("grace_seconds", format!("takes 0 to {MAX_GRACE}")));
            }
            let grace_until = (grace_seconds > 0).then(|| now.plus_seconds(i64::try_from(grace_seconds).unwrap_or(i64::MAX)));
            Ok(Plan::of(sealed(change(Event::Rotated { grace_until }), secret, sealing)))
        }
        (State::Live(live), Command::Gone { .. }) if !live.profile.enabled => Ok(Plan::nothing()),
        (State::Live(_), Command::Gone { cause }) => Ok(Plan::of(change(Event::Gone { cause }))),
        (State::Live(_), Command::Progress(came)) => note(Event::Progressed(came)),
        (State::Live(live), Command::Replay { what, now }) => {
            if replays(live, &what, now)? { note(Event::Replayed(what)) } else { Ok(Plan::nothing()) }
        }
        (State::Live(_), Command::Test { status, cause }) => note(Event::Tested { status, cause }),
        (State::Live(live), Command::Delete) => Ok(Plan::of(change(Event::Deleted).freeing(claim(live.seat)))),
        (State::Absent | State::Deleted { .. }, _) => Err(Refusal::NotFound),
    }
}

fn sealed(mut write: Write<Event>, secret: Secret, sealing: Sealing) -> Write<Event> {
    write.secrets = sealing;
    write.sealing(SECRET, secret)
}

/// Where calls may go is judged by the guard of calls; here only what may be kept.
fn url(text: String) -> Result<String, Refusal> {
    if text.is_empty() || text.len() > MAX_URL || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Refusal::invalid("url", format!("takes 1 to {MAX_URL} bytes without white space and control characters")));
    }
    Ok(text)
}

/// Each name once, as the notices are ordered; `*` stands for all.
fn events(names: &[String]) -> Result<Vec<String>, Refusal> {
    if names.is_empty() || names.len() > 2 * Notice::ALL.len() {
        return Err(Refusal::invalid("events", "takes 1 to 18 names of events, or *"));
    }
    if let Some(place) = names.iter().position(|name| name != EVERYTHING && Notice::named(name).is_none()) {
        let known: Vec<&str> = Notice::ALL.into_iter().map(Notice::name).collect();
        return Err(Refusal::invalid(format!("events[{place}]"), format!("is never told here; told are {}, and * stands for all", known.join(", "))));
    }
    if names.iter().any(|name| name == EVERYTHING) {
        return Ok(vec![EVERYTHING.to_owned()]);
    }
    let given = |notice: &Notice| names.iter().any(|name| name == notice.name());
    Ok(Notice::ALL.into_iter().filter(given).map(|notice| notice.name().to_owned()).collect())
}

fn description(text: Option<String>) -> Result<Option<String>, Refusal> {
    match text {
        Some(text) if text.len() > MAX_DESCRIPTION || text.chars().any(char::is_control) => {
            Err(Refusal::invalid("description", format!("takes at most {MAX_DESCRIPTION} bytes without control characters")))
        }
        other => Ok(other.filter(|text| !text.is_empty())),
    }
}

fn checked(profile: Profile) -> Result<Profile, Refusal> {
    let Profile { url: to, events: names, description: text, enabled } = profile;
    Ok(Profile { url: url(to)?, events: events(&names)?, description: description(text)?, enabled })
}

/// What of the changes is one; `None` when nothing is.
fn update(live: &Webhook, given: Changes) -> Result<Option<Changes>, Refusal> {
    let is = &live.profile;
    let mut changes = Changes {
        url: given.url.map(url).transpose()?,
        events: given.events.as_deref().map(events).transpose()?,
        description: given.description.map(|text| description(text.to).map(|to| crate::credentials::To { to })).transpose()?,
        enabled: given.enabled,
    };
    changes.url.take_if(|url| *url == is.url);
    changes.events.take_if(|events| *events == is.events);
    changes.description.take_if(|description| description.to == is.description);
    changes.enabled.take_if(|enabled| *enabled == is.enabled);
    Ok(Some(changes).filter(|changes| *changes != Changes::default()))
}

/// Whether there is anything to send again.
fn replays(live: &Webhook, what: &Replay, now: Position) -> Result<bool, Refusal> {
    let progress: &Progress = &live.progress;
    if let Replay::From(from) = what {
        let (first, last) = (live.since.next(), now);
        let fits = (first..=last).contains(from);
        return if fits { Ok(true) } else { Err(Refusal::invalid("from", format!("takes {first} to {last}: nothing is sent that happened before it was made"))) };
    }
    if let Replay::Positions(positions) = what {
        if positions.is_empty() || positions.len() > MAX_DEAD {
            return Err(Refusal::invalid("positions", format!("takes 1 to {MAX_DEAD} positions")));
        }
        let dead = |position: &Position| progress.dead.keys().any(|letter| letter.position == *position);
        if let Some(place) = positions.iter().position(|position| !dead(position)) {
            return Err(Refusal::invalid(format!("positions[{place}]"), "is that of no dead letter"));
        }
    }
    let meant = progress.meant(what).count();
    if progress.replaying.len() + meant > MAX_DEAD {
        return Err(Refusal::Limit { what: "letters that wait to be sent again", limit: MAX_DEAD as u64 });
    }
    Ok(meant > 0)
}

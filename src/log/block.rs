//! The checks: whether a submission may stand right after what the index holds, and where its events sit.

use super::index::{Index, Stream};
use super::{Submission, SubmitError};
use crate::kernel::{ClaimOp, Class, Expected, Guard, Header, KeyId, Moment, Position, Refusal, StreamId, TenantId, Version};
use crate::seal::{Draft, Record, Seat};

/// The highest slot number of a batch of keys: bounds what a key id can make the index hold.
const MAX_SLOT: u32 = 4096;

/// What a check says of a submission that may stand.
pub(super) enum Admitted {
    /// These records are to be appended.
    Records(Vec<Record>),
    /// The same command was carried out before.
    Repeated { first: Position, last: Position },
}

/// Checks a submission and, if it may stand, folds it into the index. On an error the index is as before.
pub(super) fn admit(index: &mut Index, submission: &Submission, now: Moment) -> Result<Admitted, SubmitError> {
    if let Some(repeated) = repeated(index, submission)? {
        return Ok(repeated);
    }
    for guard in &submission.guards {
        check_guard(index, guard)?;
    }
    let count = submission.drafts.len();
    for (place, draft) in submission.drafts.iter().enumerate() {
        if draft.header.group.index as usize != place || draft.header.group.count as usize != count {
            return Err(SubmitError::Unavailable("a group does not count its events".into()));
        }
        if place > 0 && draft.header.command.is_some() {
            return Err(SubmitError::Unavailable("only a group's first event carries a command id".into()));
        }
    }
    let now = now.max(index.recorded_at());
    if let ([draft], [expected]) = (submission.drafts.as_slice(), submission.expected.as_slice()) {
        // It is checked whole before it is folded: there is nothing to take back, and no copy is needed.
        let record = seat(index, draft, *expected, now)?;
        index.fold(&record);
        return Ok(Admitted::Records(vec![record]));
    }
    let mut after = index.clone();
    let mut records = Vec::with_capacity(count);
    for (draft, expected) in submission.drafts.iter().zip(&submission.expected) {
        let record = seat(&after, draft, *expected, now)?;
        after.fold(&record);
        records.push(record);
    }
    *index = after;
    Ok(Admitted::Records(records))
}

fn repeated(index: &Index, submission: &Submission) -> Result<Option<Admitted>, SubmitError> {
    let Some(header) = submission.drafts.first().map(|draft| &draft.header) else { return Ok(None) };
    let Some(earlier) = header.command.and_then(|command| index.command(&command)) else { return Ok(None) };
    if earlier.request == header.request {
        Ok(Some(Admitted::Repeated { first: earlier.first, last: earlier.last }))
    } else {
        Err(SubmitError::Refused(Refusal::CommandReused))
    }
}

fn content_version(index: &Index, stream: StreamId) -> Version {
    index.stream(stream).map_or(Version::ZERO, |stream| stream.content_version)
}

fn check_guard(index: &Index, guard: &Guard) -> Result<(), SubmitError> {
    let actual = content_version(index, guard.stream);
    if actual == guard.expected { Ok(()) } else { Err(SubmitError::Refused(Refusal::Conflict { actual })) }
}

fn seat(index: &Index, draft: &Draft, expected: Expected, now: Moment) -> Result<Record, SubmitError> {
    let header = &draft.header;
    let stream = index.stream(header.stream);
    check_expected(index, header, expected)?;
    check_keys(index, header, stream)?;
    check_claims(index, header)?;
    let version = stream.map_or(Version::ZERO, |stream| stream.version).next();
    let seat = Seat {
        position: index.head().next(),
        previous: stream.map_or(Position::ZERO, |stream| stream.last),
        recorded_at: now,
        version,
        content_version: if header.class == Class::Change { version } else { content_version(index, header.stream) },
    };
    draft.seat(seat).map_err(|error| SubmitError::Unavailable(error.to_string()))
}

fn check_expected(index: &Index, header: &Header, expected: Expected) -> Result<(), SubmitError> {
    let stream = index.stream(header.stream);
    if stream.is_some_and(|stream| stream.tenant != header.tenant) {
        return Err(SubmitError::Unavailable("a stream does not change its tenant".into()));
    }
    match (expected, stream) {
        (Expected::Content(expected), _) => check_guard(index, &Guard { stream: header.stream, expected }),
        (Expected::Exists, Some(_)) => Ok(()),
        (Expected::Exists, None) => Err(SubmitError::Refused(Refusal::NotFound)),
    }
}

/// One facts key per stream, for ever; one key per secret, used once.
fn check_keys(index: &Index, header: &Header, stream: Option<&Stream>) -> Result<(), SubmitError> {
    let wrong = |what: &str| Err(SubmitError::Unavailable(what.to_owned()));
    if stream.is_some_and(|stream| stream.facts_key != header.facts_key) {
        return wrong("a stream does not change its facts key");
    }
    if index.facts_key(header.facts_key).is_some_and(|owner| owner != header.stream) {
        return wrong("a facts key serves one stream");
    }
    let mut used: Vec<KeyId> = vec![header.facts_key];
    for secret in &header.secrets {
        if secret.key.slot >= MAX_SLOT || index.is_spent(secret.key) || index.facts_key(secret.key).is_some() || used.contains(&secret.key) {
            return wrong("a secret's key is used once");
        }
        used.push(secret.key);
    }
    if header.facts_key.slot >= MAX_SLOT || index.is_spent(header.facts_key) {
        return wrong("a secret's key seals no facts");
    }
    let whole = |key: &KeyId| key.is_whole() && header.tenant == TenantId::SYSTEM && *key != KeyId::whole(TenantId::SYSTEM);
    if header.shredded.iter().any(|key| !whole(key) && !index.is_spent(*key) && index.facts_key(*key).is_none()) {
        return wrong("only keys that sealed something are shredded");
    }
    if header.shredded.contains(&header.facts_key) {
        return wrong("what tells of a shred stays readable");
    }
    Ok(())
}

fn check_claims(index: &Index, header: &Header) -> Result<(), SubmitError> {
    for claim in &header.claims {
        if let ClaimOp::Take(hash) = claim
            && let Some(by) = index.claim(hash)
            && by != header.stream
        {
            return Err(SubmitError::Refused(Refusal::NameTaken { by }));
        }
    }
    Ok(())
}

//! Webhooks.

use super::{fresh, give_applications, seen, subject, thing};
use crate::credentials::webhook::{self, Changes, Command, MAX_PER_TENANT, Profile, Replay, State};
use crate::credentials::{AnyEvent, AnyState, Kind};
use crate::kernel::{Permission, PermissionSet, Plan, Refusal, Secret, StreamId, TenantId, Version};
use crate::seal::webhook as signature;
use crate::vault::access::Principal;
use crate::vault::execute::Given;

/// That a caller may say where a tenant's connections are told of: whoever hears of them all could see them all.
fn may_tell(by: &Principal) -> Result<(), Refusal> {
    give_applications(by, &[])?;
    by.may_give(PermissionSet::of(&[Permission::ConnectionsRead]))
}

/// A webhook is made, in one of the tenant's seats. Gives the plan, and the signing secret to show once.
pub fn create_webhook(given: &Given<'_>, by: &Principal, profile: Profile) -> Result<(Plan<AnyEvent>, Vec<Secret>), Refusal> {
    may_tell(by)?;
    let taken: Vec<u8> = given.views.webhook_seats(by.tenant).collect();
    let free: Vec<u8> = (1..=MAX_PER_TENANT).filter(|seat| !taken.contains(seat)).collect();
    // Any of them: several that are made at once would all want the first.
    let [draw] = given.draw();
    let seat = usize::from(draw).checked_rem(free.len()).and_then(|place| free.get(place).copied());
    let values = vec![signature::secret(given.draw())];
    let create = Command::Create { profile, seat, secret: duplicate(&values)?, sealing: given.replay(&values) };
    Ok((webhook::decide(fresh(given), &State::Absent, given.now, create)?.map(AnyEvent::from), values))
}

fn duplicate(values: &[Secret]) -> Result<Secret, Refusal> {
    values.first().map(Secret::duplicate).ok_or(Refusal::NotFound)
}

fn on_webhook(given: &Given<'_>, tenant: TenantId, id: StreamId, expected: Option<Version>, command: Command) -> Result<Plan<AnyEvent>, Refusal> {
    let entry = thing(given, tenant, id, Kind::Webhook)?;
    let AnyState::Webhook(state) = &entry.state else { return Err(Refusal::NotFound) };
    if matches!(state, State::Live(_)) {
        seen(entry, expected)?;
    }
    Ok(webhook::decide(subject(given.views, id), state, given.now, command)?.map(AnyEvent::from))
}

/// A webhook changes.
pub fn update_webhook(given: &Given<'_>, by: &Principal, id: StreamId, changes: Changes, expected: Option<Version>) -> Result<Plan<AnyEvent>, Refusal> {
    thing(given, by.tenant, id, Kind::Webhook)?;
    may_tell(by)?;
    on_webhook(given, by.tenant, id, expected, Command::Update(changes))
}

/// A webhook's messages are signed with another secret. Gives the plan, and the secret to show once: whoever has it can speak for this vault.
pub fn rotate_webhook(
    given: &Given<'_>,
    by: &Principal,
    id: StreamId,
    grace_seconds: u64,
    expected: Option<Version>,
) -> Result<(Plan<AnyEvent>, Vec<Secret>), Refusal> {
    thing(given, by.tenant, id, Kind::Webhook)?;
    may_tell(by)?;
    let values = vec![signature::secret(given.draw())];
    let rotate = Command::Rotate { secret: duplicate(&values)?, grace_seconds, sealing: given.replay(&values) };
    Ok((on_webhook(given, by.tenant, id, expected, rotate)?, values))
}

/// Something is sent again.
pub fn replay_webhook(given: &Given<'_>, by: &Principal, id: StreamId, what: Replay) -> Result<Plan<AnyEvent>, Refusal> {
    thing(given, by.tenant, id, Kind::Webhook)?;
    may_tell(by)?;
    on_webhook(given, by.tenant, id, None, Command::Replay { what, now: given.views.position() })
}

/// A webhook goes.
pub fn delete_webhook(given: &Given<'_>, by: &Principal, id: StreamId, expected: Option<Version>) -> Result<Plan<AnyEvent>, Refusal> {
    thing(given, by.tenant, id, Kind::Webhook)?;
    give_applications(by, &[])?;
    on_webhook(given, by.tenant, id, expected, Command::Delete)
}

/// What came of sending is noted.
pub fn note_webhook(given: &Given<'_>, tenant: TenantId, id: StreamId, command: Command) -> Result<Plan<AnyEvent>, Refusal> {
    on_webhook(given, tenant, id, None, command)
}

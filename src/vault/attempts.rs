//! Doors that slow down: failed logins and client secrets count by name, whether the name exists or not, and the count outlives a restart.
//! Denied requests are counted too, and written about once a minute.
//!
//! Three different wrong secrets in a row cost nothing. After the fourth a name waits 2 seconds, then 4, 8, … up to 64, and from the tenth on
//! 15 minutes each time.
//! While it waits, no secret is looked at, the right one included. The right one in its turn clears the count, and so does an administrator.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::access::Principal;
use super::execute::Command;
use super::{Given, Vault, VaultError};
use crate::credentials::attempts::{self, Denial, Event, FORGOTTEN_AFTER, Failure, MAX_NAMES, MAX_TOLD};
use crate::credentials::{AnyEvent, Meta};
use crate::kernel::{Moment, Permission, Plan, Refusal, StreamId, TenantId, Tried, Version, Write};
use crate::seal::derive;
use crate::views::Views;

/// Different wrong secrets in a row that cost no wait.
const FREE: u32 = 3;
/// From so many on, a name waits [`LOCKED`].
const LOCKS: u32 = 10;
/// Seconds of a lock.
const LOCKED: i64 = 15 * 60;
/// How many different wrong secrets of a name are told apart: a client's tries of one secret count once.
const REMEMBERED: usize = 16;
/// Failures of a tenant are written this often at most.
const PACE: Duration = Duration::from_millis(200);
/// The most failures that wait to be written; what comes beyond them still counts in memory.
const MAX_WAITING: usize = 4 * MAX_TOLD;
/// The most pairs of principal and permission whose denials wait to be written.
const MAX_DENIED: usize = 4096;

/// Seconds that a name waits after so many different wrong secrets in a row.
#[must_use]
pub const fn wait(count: u32) -> i64 {
    match count {
        ..=FREE => 0,
        LOCKS.. => LOCKED,
        some => 1 << (some - FREE),
    }
}

/// The name waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locked {
    /// For so many seconds more.
    pub seconds: u64,
}

/// A name at a door.
pub struct Door<'a> {
    /// Whose door; the system's for what belongs to nobody.
    pub tenant: TenantId,
    /// The name, as one that differs in letter case only would be.
    pub tried: Tried,
    /// Whose name it is.
    pub principal: Option<StreamId>,
    /// How the attempt came about.
    pub meta: &'a Meta,
}

#[derive(Clone, Default)]
struct Row {
    count: u32,
    last: Moment,
    wrong: Vec<[u8; 8]>,
}

#[derive(Default)]
struct Table {
    rows: HashMap<(TenantId, Tried), Row>,
    waiting: HashMap<TenantId, BTreeMap<Tried, Failure>>,
    denied: HashMap<(TenantId, StreamId, Permission), (u64, Moment)>,
}

/// What is known of the doors and not written yet.
#[derive(Default)]
pub(super) struct Attempts {
    table: Mutex<Table>,
    /// Whoever writes holds it; the clock's millisecond of the last write.
    writing: tokio::sync::Mutex<u64>,
}

impl Attempts {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note that a request was denied.
    pub fn denied(&self, principal: &Principal, permission: Permission, now: Moment) {
        self.add_denials((principal.tenant, principal.id, permission), 1, now);
    }

    fn add_denials(&self, key: (TenantId, StreamId, Permission), count: u64, last: Moment) {
        let mut table = self.table();
        if table.denied.len() < MAX_DENIED || table.denied.contains_key(&key) {
            let denied = table.denied.entry(key).or_insert((0, last));
            *denied = (denied.0.saturating_add(count), denied.1.max(last));
        }
    }

    /// Counts the attempt before its secret is looked at, so that many at once do not pass for one.
    fn begin(&self, door: &Door<'_>, views: &Views, wrong: [u8; 8], now: Moment) -> Result<(), Locked> {
        let mut table = self.table();
        if table.rows.len() > MAX_NAMES {
            table.forget(now);
        }
        let row = table.rows.entry((door.tenant, door.tried)).or_insert_with(|| {
            let written = views.failures(door.tenant, door.tried);
            written.map_or_else(Row::default, |failures| Row { count: failures.count, last: failures.last, wrong: Vec::new() })
        });
        if row.last.plus_seconds(FORGOTTEN_AFTER) <= now {
            *row = Row::default();
        }
        let until = row.last.plus_seconds(wait(row.count));
        if row.count > FREE && until > now {
            return Err(Locked { seconds: u64::try_from(until.millis() - now.millis()).unwrap_or(0).div_ceil(1000) });
        }
        if !row.wrong.contains(&wrong) {
            row.count = row.count.saturating_add(1);
            row.last = now;
            row.wrong.push(wrong);
            let excess = row.wrong.len().saturating_sub(REMEMBERED);
            row.wrong.drain(..excess);
        }
        Ok(())
    }

    /// The secret was wrong: what was counted waits to be written.
    fn failed(&self, door: &Door<'_>, now: Moment) {
        let mut table = self.table();
        let Some(row) = table.rows.get(&(door.tenant, door.tried)).cloned() else { return };
        let failure = Failure { tried: door.tried, principal: door.principal, count: row.count, last: row.last.max(now), ip: door.meta.ip.clone() };
        let waiting = table.waiting.entry(door.tenant).or_default();
        if waiting.len() < MAX_WAITING || waiting.contains_key(&door.tried) {
            waiting.insert(door.tried, failure);
        }
    }

    /// The secret was right: whether anything is known that has to be cleared.
    fn passed(&self, tenant: TenantId, tried: Tried) -> bool {
        let mut table = self.table();
        table.rows.remove(&(tenant, tried));
        table.waiting.get_mut(&tenant).is_some_and(|waiting| waiting.remove(&tried).is_some())
    }

    /// Whether a failure of the name is not written yet.
    fn waits(&self, door: &Door<'_>) -> bool {
        self.table().waiting.get(&door.tenant).is_some_and(|waiting| waiting.contains_key(&door.tried))
    }

    fn take(&self, tenant: TenantId) -> Vec<Failure> {
        let mut table = self.table();
        let Some(waiting) = table.waiting.get_mut(&tenant) else { return Vec::new() };
        let some: Vec<Failure> = waiting.values().take(MAX_TOLD).cloned().collect();
        for failure in &some {
            waiting.remove(&failure.tried);
        }
        some
    }
}

impl Table {
    /// Rows that cost no wait any more, and then the older half: what was written is read again from the views.
    fn forget(&mut self, now: Moment) {
        self.rows.retain(|_, row| row.last.plus_seconds(wait(row.count).max(60)) > now);
        if self.rows.len() > MAX_NAMES {
            let mut ages: Vec<Moment> = self.rows.values().map(|row| row.last).collect();
            ages.sort_unstable();
            let middle = ages.get(ages.len() / 2).copied().unwrap_or(now);
            self.rows.retain(|_, row| row.last > middle);
        }
    }
}

impl Vault {
    /// The keyed hash of a name at a sort of door.
    #[must_use]
    pub fn tried(&self, door: &str, name: &str) -> Tried {
        derive::tried(&self.token_key.key, door, &name.to_lowercase())
    }

    /// Lets a secret be looked at when its name need not wait, and counts what came of it. A failure is durable before it is told.
    pub async fn attempt(&self, door: &Door<'_>, presented: &[u8], check: impl Future<Output = bool>) -> Result<bool, Locked> {
        let views = self.views();
        let now = self.time(&views);
        self.attempts.begin(door, &views, derive::told_apart(&self.token_key.key, presented), now)?;
        let right = check.await;
        if right {
            let waited = self.attempts.passed(door.tenant, door.tried);
            if waited || self.views().failures(door.tenant, door.tried).is_some() {
                let event = Event::Cleared { tried: door.tried, principal: door.principal };
                self.note_attempts(door.tenant, event, Some(door.meta)).await;
            }
        } else {
            self.attempts.failed(door, now);
            self.write_failures(door).await;
        }
        Ok(right)
    }

    /// Lets a name try again at once.
    pub async fn clear_attempts(&self, principal: &Principal, meta: Meta, tried: Tried, of: StreamId) -> Result<(), VaultError> {
        self.attempts.passed(principal.tenant, tried);
        let command = Command { principal, meta, idempotency: None };
        let event = Event::Cleared { tried, principal: Some(of) };
        self.execute(&command, |given| Ok(observed(given, principal.tenant, event.clone()))).await.map(drop)
    }

    /// How long a name still waits, in seconds, and how many different wrong secrets it had in a row.
    #[must_use]
    pub fn waits(&self, views: &Views, tenant: TenantId, tried: Tried) -> (u64, u32) {
        let noted = self.attempts.table().rows.get(&(tenant, tried)).map(|row| (row.count, row.last));
        left(noted.or_else(|| written(views, tenant, tried)), self.time(views))
    }

    /// The same as it was when the log stood there, as far as the log tells.
    #[must_use]
    pub fn waited(views: &Views, tenant: TenantId, tried: Tried) -> (u64, u32) {
        left(written(views, tenant, tried), views.recorded_at())
    }

    /// Writes the failures that wait, unless somebody else has done it meanwhile: further ones are those of others, who write them.
    async fn write_failures(&self, door: &Door<'_>) {
        let tenant = door.tenant;
        let mut last = self.attempts.writing.lock().await;
        if !self.attempts.waits(door) {
            return;
        }
        let since = self.clock.steady_millis().saturating_sub(*last);
        let pace = u64::try_from(PACE.as_millis()).unwrap_or(0);
        if *last > 0 && since < pace {
            tokio::time::sleep(Duration::from_millis(pace - since)).await;
        }
        let failures = self.attempts.take(tenant);
        if failures.is_empty() {
            return;
        }
        *last = self.clock.steady_millis();
        self.note_attempts(tenant, Event::Failed { failures }, None).await;
    }

    /// Writes the denials that wait. What cannot be written is kept for the next time.
    pub async fn write_denials(&self) {
        let denied = std::mem::take(&mut self.attempts.table().denied);
        let mut by_tenant: BTreeMap<TenantId, Vec<Denial>> = BTreeMap::new();
        for ((tenant, principal, permission), (count, last)) in denied {
            by_tenant.entry(tenant).or_default().push(Denial { principal, permission: permission.name().to_owned(), count, last });
        }
        for (tenant, denials) in by_tenant {
            for denials in denials.chunks(MAX_TOLD) {
                if self.note_attempts(tenant, Event::Denied { denials: denials.to_vec() }, None).await {
                    continue;
                }
                for Denial { principal, permission, count, last } in denials {
                    if let Some(permission) = Permission::named(permission) {
                        self.attempts.add_denials((tenant, *principal, permission), *count, *last);
                    }
                }
            }
        }
    }

    /// Whether it was written.
    async fn note_attempts(&self, tenant: TenantId, event: Event, meta: Option<&Meta>) -> bool {
        let principal = Principal::vault(tenant);
        let meta = Meta { rule: Some("attempts".into()), ..meta.cloned().unwrap_or_default() };
        let command = Command { principal: &principal, meta, idempotency: None };
        let written = self.execute(&command, |given| Ok::<_, Refusal>(observed(given, tenant, event.clone()))).await;
        if let Err(error) = &written {
            // In memory it counts all the same.
            tracing::warn!(%error, "what a door refused could not be written");
        }
        written.is_ok()
    }
}

fn written(views: &Views, tenant: TenantId, tried: Tried) -> Option<(u32, Moment)> {
    views.failures(tenant, tried).map(|failures| (failures.count, failures.last))
}

/// The seconds that are left of a wait at a time, and the failures that it is for.
fn left(failures: Option<(u32, Moment)>, now: Moment) -> (u64, u32) {
    let Some((count, last)) = failures else { return (0, 0) };
    let left = last.plus_seconds(wait(count)).millis() - now.millis();
    (u64::try_from(left).unwrap_or(0).div_ceil(1000), count)
}

/// The event in the tenant's stream of attempts, which is made first where there is none.
fn observed(given: &Given<'_>, tenant: TenantId, event: Event) -> Plan<AnyEvent> {
    if let Some(stream) = given.views.attempts_stream(tenant) {
        return Plan::of(Write::observation(stream, AnyEvent::Attempts(event)));
    }
    let stream = given.fresh();
    let created = Write::change(stream, Version::ZERO, AnyEvent::Attempts(Event::Created)).taking(attempts::claim());
    Plan::of(created).and(Plan::of(Write::observation(stream, AnyEvent::Attempts(event))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end_in_a_lock() {
        let waits: Vec<i64> = (0..12).map(wait).collect();
        assert_eq!(waits, [0, 0, 0, 0, 2, 4, 8, 16, 32, 64, 900, 900]);
    }
}

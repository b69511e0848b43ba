//! Calls that were passed through with a connection's credentials: noted in memory, written about once a minute with who made them. What is not
//! written yet is lost in a crash.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::access::Principal;
use super::execute::Command;
use super::{Vault, VaultError, plans};
use crate::credentials::Meta;
use crate::credentials::connection::{self, Calls, MAX_CALLS};
use crate::kernel::{Moment, StreamId};
use crate::log::SubmitError;

/// The most sorts of calls that are noted at once, over all connections and callers: a few megabytes.
const MAX_NOTED: usize = 16_384;

/// A call that was passed through.
#[derive(Clone, Debug)]
pub struct Call {
    /// With whose credentials.
    pub connection: StreamId,
    /// The HTTP method.
    pub method: String,
    /// The service's host.
    pub host: String,
    /// The HTTP status of its answer; absent when none came.
    pub status: Option<u16>,
    /// Whether the answer held a secret that was sent along, and was cut off.
    pub withheld: bool,
    /// When it began.
    pub at: Moment,
}

/// A connection and who called with it: the credential, and the user as whom it acts.
type Who = (StreamId, StreamId, Option<StreamId>);
type Sort = (String, String, Option<u16>, bool);

/// What one caller did with one connection.
struct Done {
    principal: Principal,
    rule: Option<String>,
    sorts: HashMap<Sort, (u64, Moment)>,
}

/// Calls that are not written yet.
#[derive(Default)]
pub(super) struct Noted(Mutex<HashMap<Who, Done>>);

impl Noted {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Who, Done>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, connection: StreamId, principal: &Principal, rule: Option<&String>, (sort, count, last): (Sort, u64, Moment)) {
        let mut all = self.lock();
        let done = all.entry((connection, principal.id, principal.user)).or_insert_with(|| Done {
            principal: principal.clone(),
            rule: rule.cloned(),
            sorts: HashMap::new(),
        });
        let noted = done.sorts.entry(sort).or_insert((0, last));
        *noted = (noted.0.saturating_add(count), noted.1.max(last));
    }

    fn is_full(&self) -> bool {
        self.lock().values().map(|done| done.sorts.len()).sum::<usize>() >= MAX_NOTED
    }
}

impl Vault {
    /// Takes note of a call that was passed through; `rule` let it through.
    pub fn note_call(&self, principal: &Principal, rule: Option<&String>, call: Call) {
        let Call { connection, method, host, status, withheld, at } = call;
        self.calls.add(connection, principal, rule, ((method, host, status, withheld), 1, at));
    }

    /// That a further call can be noted: when too many wait, they are written first.
    pub async fn room_for_calls(&self) -> Result<(), VaultError> {
        if !self.calls.is_full() {
            return Ok(());
        }
        self.write_calls().await?;
        if self.calls.is_full() { Err(VaultError::Submit(SubmitError::Busy)) } else { Ok(()) }
    }

    /// Writes the calls that are not written yet, an event for at most so many sorts of one caller's on one connection; gives how many calls it
    /// told of. What cannot be written is kept for the next time.
    pub async fn write_calls(&self) -> Result<u64, VaultError> {
        let all = std::mem::take(&mut *self.calls.lock());
        let (mut told, mut failed) = (0, None);
        for ((connection, ..), Done { principal, rule, sorts }) in all {
            let mut sorts: Vec<(Sort, (u64, Moment))> = sorts.into_iter().collect();
            sorts.sort_unstable();
            for some in sorts.chunks(MAX_CALLS) {
                let written = if failed.is_none() { self.write_some(connection, &principal, rule.clone(), some).await } else { Ok(()) };
                match written {
                    Ok(()) if failed.is_none() => told += some.iter().map(|(_, (count, _))| count).sum::<u64>(),
                    // No later try could end otherwise.
                    Err(VaultError::Refused(refusal)) => tracing::error!(%refusal, "calls that were passed through cannot be recorded"),
                    other => {
                        failed = failed.or(other.err());
                        for (sort, (count, last)) in some {
                            self.calls.add(connection, &principal, rule.as_ref(), (sort.clone(), *count, *last));
                        }
                    }
                }
            }
        }
        failed.map_or(Ok(told), Err)
    }

    async fn write_some(&self, connection: StreamId, principal: &Principal, rule: Option<String>, some: &[(Sort, (u64, Moment))]) -> Result<(), VaultError> {
        let told = some.iter().map(|((method, host, status, withheld), (count, last))| Calls {
            method: method.clone(),
            host: host.clone(),
            status: *status,
            count: *count,
            last: *last,
            withheld: *withheld,
        });
        let told: Vec<Calls> = told.collect();
        let command = Command { principal, meta: Meta { rule, ..Meta::default() }, idempotency: None };
        let used = || connection::Command::Use(told.clone());
        self.execute(&command, |given| plans::on_connection(given, connection, used())).await.map(drop)
    }
}

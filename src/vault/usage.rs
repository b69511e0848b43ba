//! When issued secrets were last used: noted in memory, written about once a minute, so that a busy key costs one event a minute and not one a
//! request. What is not written yet is lost in a crash, and shown meanwhile.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::access::Principal;
use super::execute::Command;
use super::{Given, Vault, VaultError};
use crate::credentials::issued::SecretId;
use crate::credentials::usage::{self, Event, MAX_USES, Use, Used};
use crate::credentials::{AnyEvent, Meta};
use crate::kernel::{Moment, Plan, TenantId, Version, Write};
use crate::views::Views;

/// Uses that are not written yet.
#[derive(Default)]
pub(super) struct Usage(Mutex<HashMap<(TenantId, SecretId), Used>>);

impl Usage {
    /// Takes note of a use.
    pub fn note(&self, tenant: TenantId, secret: SecretId, now: Moment) {
        self.add(tenant, secret, Used { count: 1, last: now });
    }

    fn add(&self, tenant: TenantId, secret: SecretId, more: Used) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = all.entry((tenant, secret)).or_insert(Used { count: 0, last: more.last });
        (used.count, used.last) = (used.count.saturating_add(more.count), used.last.max(more.last));
    }

    fn get(&self, tenant: TenantId, secret: SecretId) -> Option<Used> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(tenant, secret)).copied()
    }

    fn take(&self) -> HashMap<TenantId, Vec<Use>> {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut by_tenant: HashMap<TenantId, Vec<Use>> = HashMap::new();
        for ((tenant, secret), Used { count, last }) in all {
            by_tenant.entry(tenant).or_default().push(Use { secret, count, last });
        }
        by_tenant
    }
}

impl Vault {
    /// When a secret was last used, uses included that are not written yet.
    #[must_use]
    pub fn last_used(&self, views: &Views, tenant: TenantId, secret: SecretId) -> Option<Used> {
        match (views.used(tenant, secret), self.usage.get(tenant, secret)) {
            (Some(written), Some(noted)) => Some(Used { count: written.count.saturating_add(noted.count), last: written.last.max(noted.last) }),
            (written, noted) => written.or(noted),
        }
    }

    /// Writes the uses that are not written yet, an event for at most 1,000 secrets; gives how many secrets it told of. What cannot be written
    /// is kept for the next time.
    pub async fn write_usage(&self) -> Result<usize, VaultError> {
        let (mut told, mut failed) = (0, None);
        for (tenant, mut uses) in self.usage.take() {
            uses.sort_unstable_by_key(|used| used.secret);
            for some in uses.chunks(MAX_USES) {
                match if failed.is_none() { self.write_uses(tenant, some).await } else { Ok(()) } {
                    Ok(()) if failed.is_none() => told += some.len(),
                    other => {
                        failed = failed.or(other.err());
                        for used in some {
                            self.usage.add(tenant, used.secret, Used { count: used.count, last: used.last });
                        }
                    }
                }
            }
        }
        failed.map_or(Ok(told), Err)
    }

    async fn write_uses(&self, tenant: TenantId, uses: &[Use]) -> Result<(), VaultError> {
        let principal = Principal::vault(tenant);
        let command = Command { principal: &principal, meta: Meta { rule: Some("usage".into()), ..Meta::default() }, idempotency: None };
        let decide = |given: &Given<'_>| {
            let event = AnyEvent::Usage(Event::Used { uses: uses.to_vec() });
            if let Some(stream) = given.views.usage_stream(tenant) {
                return Ok(Plan::of(Write::observation(stream, event)));
            }
            let stream = given.fresh();
            let created = Write::change(stream, Version::ZERO, AnyEvent::Usage(Event::Created)).taking(usage::claim());
            Ok(Plan::of(created).and(Plan::of(Write::observation(stream, event))))
        };
        self.execute(&command, decide).await.map(drop)
    }
}

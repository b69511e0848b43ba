//! What was mended in the log's copies is an event: nobody need have read the process's log that day.

use super::access::Principal;
use super::{Command, Vault, VaultError};
use crate::credentials::vault::Event;
use crate::credentials::{AnyEvent, Meta};
use crate::kernel::{Plan, Refusal, TenantId, Write};
use crate::log::Repair;

impl Vault {
    /// Records repairs, as one group.
    pub async fn note_repairs(&self, repairs: &[Repair]) -> Result<(), VaultError> {
        let principal = Principal::vault(TenantId::SYSTEM);
        let meta = Meta { rule: Some("repair".into()), ..Meta::default() };
        let command = Command { principal: &principal, meta, idempotency: None };
        let done = self.execute(&command, |given| {
            let stream = given.views.vault().ok_or(Refusal::NotFound)?;
            let event = |repair: &Repair| Event::Repaired {
                copy: repair.copy.name().to_owned(),
                from: repair.from,
                through: repair.through,
                cause: repair.cause.clone(),
                aside: repair.aside.clone(),
            };
            let writes = repairs.iter().map(|repair| Write::observation(stream, AnyEvent::Vault(event(repair))));
            Ok(writes.fold(Plan::nothing(), |plan, write| plan.and(Plan::of(write))))
        });
        done.await.map(drop)
    }
}

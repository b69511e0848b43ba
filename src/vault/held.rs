//! After a restore nothing goes out: a drill must not harm what the restored vault's connections reach. An operator lets it go on.

use super::access::Principal;
use super::{Command, Vault, VaultError};
use crate::credentials::{AnyEvent, Meta, vault};
use crate::kernel::{Plan, Refusal, TenantId, Write};

impl Vault {
    /// Lets everything that goes out go on, after a restore. Whether anything was held back.
    pub async fn resume(&self, by: &Principal, meta: Meta) -> Result<bool, VaultError> {
        // The stream is the system's; the event says who did it.
        let author = Principal { tenant: TenantId::SYSTEM, ..by.clone() };
        let command = Command { principal: &author, meta, idempotency: None };
        let done = self.execute(&command, |given| {
            let stream = given.views.vault().ok_or(Refusal::NotFound)?;
            if !given.views.is_held() {
                return Ok(Plan::nothing());
            }
            Ok(Plan::of(Write::observation(stream, AnyEvent::Vault(vault::Event::Resumed))))
        });
        Ok(done.await?.events.is_some())
    }
}

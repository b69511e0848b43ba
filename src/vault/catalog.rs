//! The shipped connectors of a newer version: those that differ enter the log.

use super::access::Principal;
use super::execute::{Command, Given};
use super::{Vault, VaultError, plans};
use crate::credentials::{Meta, connector};
use crate::kernel::{Plan, TenantId};

impl Vault {
    /// Appends the shipped connectors that the log does not have, or has otherwise, as one group; gives how many. Those that are no longer
    /// shipped stay: connections lead to them.
    pub async fn bring_catalog(&self) -> Result<usize, VaultError> {
        let shipped = connector::shipped().map_err(|error| VaultError::Stopped(format!("the shipped catalog: {error}")))?;
        let principal = Principal::vault(TenantId::SYSTEM);
        let command = Command { principal: &principal, meta: Meta { rule: Some("upgrade".into()), ..Meta::default() }, idempotency: None };
        let mut changed = 0;
        let decide = |given: &Given<'_>| {
            let plan =
                shipped.iter().try_fold(Plan::nothing(), |plan, connector| Ok(plan.and(plans::put_connector(given, TenantId::SYSTEM, connector.clone())?)))?;
            changed = plan.writes.len();
            Ok(plan)
        };
        self.execute(&command, decide).await?;
        Ok(changed)
    }
}

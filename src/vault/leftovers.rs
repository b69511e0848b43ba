//! What outlives its user for a moment: a thing that was made while its user was being deleted. Making it asks that the user is there, and deleting
//! takes what there is; between the two decisions either may be written first. Once the user has gone nothing more is made, so that what was left
//! is taken away then.

use super::access::Principal;
use super::execute::{Answer, Command};
use super::{Vault, VaultError, plans};
use crate::credentials::{AnyState, Kind, Meta, user};
use crate::kernel::{Position, StreamId, TenantId, Version};

impl Vault {
    /// Deletes a user with all that is the user's, also what is made meanwhile.
    pub async fn delete_user(&self, command: &Command<'_>, id: StreamId, expected: Option<Version>) -> Result<Answer, VaultError> {
        let done = self.execute(command, |given| plans::delete_user(given, command.principal, id, expected)).await?;
        if let Err(error) = self.remove_left(command.principal, &command.meta, id).await {
            // The user has gone, and what is left opens nothing without it: the next look takes it away.
            tracing::warn!(%error, user = %id, "what was made for a user while it was deleted could not be removed yet");
        }
        Ok(done)
    }

    /// Takes away what was left of users that have gone, where a deletion was cut short.
    pub async fn remove_leftovers(&self) -> Result<(), VaultError> {
        let gone: Vec<(TenantId, StreamId)> = {
            let views = self.views();
            let users = |tenant| views.listed(tenant, Kind::User, Position::ZERO);
            let gone = |state: &AnyState| matches!(state, AnyState::User(user::State::Deleted { .. }));
            let of_tenant = |tenant| users(tenant).filter(|(_, entry)| gone(&entry.state)).map(move |(id, _)| (tenant, id));
            views.tenants().flat_map(|(_, tenant, _)| of_tenant(tenant)).collect()
        };
        for (tenant, id) in gone {
            let meta = Meta { rule: Some("leftovers".into()), ..Meta::default() };
            self.remove_left(&Principal::vault(tenant), &meta, id).await?;
        }
        Ok(())
    }

    async fn remove_left(&self, principal: &Principal, meta: &Meta, id: StreamId) -> Result<(), VaultError> {
        let command = Command { principal, meta: meta.clone(), idempotency: None };
        while self.execute(&command, |given| plans::remove_left(given, principal.tenant, id)).await?.events.is_some() {}
        Ok(())
    }
}

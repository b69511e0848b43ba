//! A new tenant: its keys first, then its owner, then the tenant, so that one that was cut short is nobody's and can be made again.

use super::access::Principal;
use super::execute::{Answer, Command};
use super::{Vault, VaultError, genesis, plans};
use crate::credentials::tenant;
use crate::kernel::{Refusal, Secret, TenantId};

/// What a tenant begins with; the token is shown once.
pub struct NewTenant {
    /// Its id.
    pub id: TenantId,
    /// Its owner's API token.
    pub token: Secret,
    /// The views that have it.
    pub answer: Answer,
}

impl Vault {
    /// Carries out a command of a caller on what the system owns.
    pub async fn for_system(
        &self,
        principal: &Principal,
        meta: crate::credentials::Meta,
        decide: impl FnMut(&super::Given<'_>) -> Result<crate::kernel::Plan<crate::credentials::AnyEvent>, Refusal>,
    ) -> Result<Answer, VaultError> {
        let system = Principal { id: principal.id, ..Principal::vault(TenantId::SYSTEM) };
        self.execute(&Command { principal: &system, meta, idempotency: None }, decide).await
    }

    /// Makes a tenant with an owner. `ensure_keys` puts the tenant's keys into the keyring. The command is never repeated: the name is a claim,
    /// and the second call finds it taken.
    pub async fn create_tenant(
        &self,
        principal: &Principal,
        meta: crate::credentials::Meta,
        name: &str,
        ensure_keys: impl FnOnce(TenantId) -> Result<(), VaultError>,
    ) -> Result<NewTenant, VaultError> {
        let id = TenantId::random(&*self.random);
        // What the rules refuse is refused before anything is made.
        let would = tenant::Command::Create { tenant: id, name: name.to_owned() };
        let subject = crate::credentials::Subject { stream: crate::kernel::StreamId::random(&*self.random), version: crate::kernel::Version::ZERO };
        tenant::decide(subject, &tenant::State::Absent, TenantId::SYSTEM, would)?;
        if self.views().tenant(name).is_some() {
            return Err(Refusal::AlreadyExists.into());
        }
        ensure_keys(id)?;
        let owner = Principal { id: principal.id, ..Principal::vault(id) };
        let command = Command { principal: &owner, meta: meta.clone(), idempotency: None };
        let mut token = None;
        self.execute(&command, |given| {
            let (value, plan) = genesis::owner_plan(given.fresh(), given.fresh(), given.issue(crate::credentials::issued::TokenType::Key));
            token = Some(value);
            Ok(plan)
        })
        .await?;
        let answer = self.for_system(principal, meta, |given| plans::create_tenant(given, id, name.to_owned())).await;
        let answer = answer.map_err(|error| match error {
            VaultError::Refused(Refusal::NameTaken { .. }) => Refusal::AlreadyExists.into(),
            other => other,
        })?;
        Ok(NewTenant { id, token: token.ok_or(Refusal::NotFound)?, answer })
    }
}

//! The end of a tenant: one person asks for it, another one approves it, and after a wait all of its keys are destroyed at once. Meanwhile its
//! principals are refused, and anybody who might have asked may cancel it.

use super::access::Principal;
use super::execute::{Answer, Command, Given};
use super::shred::stated;
use super::{Vault, VaultError, plans};
use crate::credentials::tenant::{self, State};
use crate::credentials::vault::Event;
use crate::credentials::{AnyEvent, AnyState, Meta};
use crate::kernel::{KeyId, Plan, Refusal, StreamId, TenantId, Write};

/// How long a tenant's end waits after it was approved, in seconds, where nobody says otherwise: a week.
pub const WAIT: u64 = 7 * 24 * 3600;

/// What would die with a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantContents {
    /// How many things of each kind, deleted ones included.
    pub things: std::collections::BTreeMap<&'static str, u64>,
    /// How many of all those are in use.
    pub live: u64,
}

/// The person behind a caller: of two keys of one user, both are that user. A credential that is nobody's is no person: whoever holds it may have
/// made another one.
fn person(by: &Principal) -> Result<StreamId, Refusal> {
    by.user.ok_or(Refusal::Forbidden { permission: "a credential of a user, since two people end a tenant" })
}

impl Vault {
    /// What would die with a tenant.
    #[must_use]
    pub fn tenant_contents(&self, tenant: TenantId) -> TenantContents {
        let (views, mut contents) = (self.views(), TenantContents::default());
        for (_, entry) in views.things().filter(|(_, entry)| entry.tenant == tenant) {
            *contents.things.entry(entry.state.kind()).or_default() += 1;
            contents.live += u64::from(entry.state.is_live());
        }
        contents
    }

    /// Asks for a tenant's end. Its principals are refused at the next request.
    pub async fn request_tenant_end(&self, by: &Principal, meta: Meta, tenant: TenantId, wait: u64, reason: &str) -> Result<Answer, VaultError> {
        stated(reason)?;
        let meta = Meta { reason: Some(reason.to_owned()), ..meta };
        let person = person(by)?;
        let command = || tenant::Command::RequestShred { by: person, wait, reason: reason.to_owned() };
        self.for_system(by, meta, |given| plans::on_tenant(given, by.tenant, tenant, command())).await
    }

    /// Approves it: somebody else than who asked.
    pub async fn approve_tenant_end(&self, by: &Principal, meta: Meta, tenant: TenantId) -> Result<Answer, VaultError> {
        let person = person(by)?;
        let command = |given: &Given<'_>| tenant::Command::ApproveShred { by: person, now: given.now };
        self.for_system(by, meta, |given| plans::on_tenant(given, by.tenant, tenant, command(given))).await
    }

    /// Cancels it, at any time before it has come.
    pub async fn cancel_tenant_end(&self, by: &Principal, meta: Meta, tenant: TenantId) -> Result<Answer, VaultError> {
        self.for_system(by, meta, |given| plans::on_tenant(given, by.tenant, tenant, tenant::Command::CancelShred)).await
    }

    /// Carries out the ends that have come; gives how many.
    pub async fn end_tenants(&self) -> Result<usize, VaultError> {
        let (views, now) = (self.views(), self.clock.now());
        let due = |stream: &StreamId| match views.thing(*stream).map(|entry| &entry.state) {
            Some(AnyState::Tenant(State::Live { tenant, shred: Some(shred), .. })) => {
                shred.approved.is_some_and(|(_, due)| due <= now).then(|| (*tenant, shred.reason.clone()))
            }
            _ => None,
        };
        let due: Vec<(TenantId, String)> = views.tenants().filter_map(|(_, _, stream)| due(&stream)).collect();
        for (tenant, reason) in &due {
            let keys = [KeyId::whole(*tenant)];
            let system = Principal::vault(TenantId::SYSTEM);
            let meta = Meta { rule: Some("tenant's end".into()), reason: Some(reason.clone()), ..Meta::default() };
            let command = Command { principal: &system, meta, idempotency: None };
            // As one: the tenant's own last event, and the one that names its keys.
            let done = self.execute(&command, |given| {
                let plan = plans::on_tenant(given, TenantId::SYSTEM, *tenant, tenant::Command::Shred { now: given.now })?;
                let stream = given.views.vault().ok_or(Refusal::NotFound)?;
                let event = Event::Shredded { secrets: Vec::new(), reason: reason.clone(), things: Vec::new(), tenants: vec![*tenant] };
                let mut write = Write::observation(stream, AnyEvent::Vault(event));
                write.shreds = keys.to_vec();
                Ok(plan.and(Plan::of(write)))
            });
            done.await?;
            self.backups.shredded();
            self.carry_out_shred(&keys).await?;
        }
        Ok(due.len())
    }
}

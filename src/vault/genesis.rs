//! How a vault begins: its tenants, the shipped connectors, the owner and the owner's token.

use std::sync::Arc;

use super::VaultError;
use super::sealer::{Author, Sealer};
use crate::credentials::api_key::{self, Grant};
use crate::credentials::issued::{self, KnownToken, TokenType};
use crate::credentials::{AnyEvent, Meta, Subject, Verifier, connector, tenant, user, vault};
use crate::kernel::{Builtin, Claim, Clock, Epoch, Plan, Random, Refusal, RoleRef, Secret, StreamId, TenantId, Version, Write};
use crate::keyring::{Keyring, Purpose};
use crate::log::{EventLog, Index, Sequencer, Subscriber};
use crate::seal::{Record, derive};

/// What a vault begins with; the token is shown once and kept nowhere.
pub struct Genesis {
    /// The tenant of single-tenant users.
    pub tenant: TenantId,
    /// The first user.
    pub owner: StreamId,
    /// The owner's API token.
    pub token: Secret,
}

/// Nobody looks at a log that begins: whoever starts the vault afterwards folds it.
struct Nobody;

impl Subscriber for Nobody {
    fn fold(&self, _: &[Record], _: &[Option<Arc<[u8]>>], _: &Index) {}
}

/// Writes the first events into an empty log. `tenant` is the default tenant, whose keys must be in the keyring.
pub async fn begin(
    log: Arc<dyn EventLog>,
    keyring: Arc<dyn Keyring>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    tenant: TenantId,
) -> Result<Genesis, VaultError> {
    let sequencer = Sequencer::start(log, clock, Arc::new(Nobody), Index::default()).await?;
    if sequencer.index().await.is_none_or(|index| index.head().0 > 0) {
        return Err(VaultError::Refused(Refusal::AlreadyExists));
    }
    let sealer = Sealer::new(Arc::clone(&keyring), Arc::clone(&random), Epoch { number: 1, id: random.array() })?;
    let meta = Meta { rule: Some("genesis".into()), ..Meta::default() };
    let owner = StreamId::random(&*random);
    let hmac = keyring.purpose(TenantId::SYSTEM, Purpose::Token)?;
    let issued =
        issued::draw(TokenType::Key, &*random, |token| Verifier::new(hmac.id, derive::token_verifier(&hmac.key, &token.id.to_string(), token.secret.expose())));
    let (token, plan) = owner_plan(owner, StreamId::random(&*random), issued);
    // The owner first: a vault that was cut short here has no `vault` event yet, and is begun anew in an empty folder.
    let plans = [(tenant, plan), (TenantId::SYSTEM, connectors_plan(&*random)?), (TenantId::SYSTEM, system_plan(&*random, tenant))];
    for (tenant, plan) in plans {
        let author = Author { tenant, actor: StreamId::default(), meta: &meta, command: None };
        sequencer.submit(sealer.seal(plan, &author, |_| None, &mut Vec::new())?).await?;
    }
    // The log may be closed, or moved, from here on.
    sequencer.shutdown().await;
    Ok(Genesis { tenant, owner, token })
}

fn created(stream: StreamId, event: impl Into<AnyEvent>) -> Write<AnyEvent> {
    Write::change(stream, Version::ZERO, event.into())
}

/// A tenant's first user, and that user's first key, whose value is given back.
pub(super) fn owner_plan(owner: StreamId, key: StreamId, (token, known): (Secret, KnownToken)) -> (Secret, Plan<AnyEvent>) {
    let profile = user::Profile { login: "owner".into(), name: "Owner".into(), email: None, roles: vec![RoleRef::Builtin(Builtin::Owner)] };
    let grant = Grant {
        name: "owner's first key".into(),
        owner: Some(owner),
        permissions: Vec::new(),
        emails: Vec::new(),
        organizations: Vec::new(),
        labels: Vec::new(),
        dns_name: None,
        app_ids: Vec::new(),
        expires_at: None,
    };
    let user = created(owner, user::Event::Created(profile)).taking(user::claim("owner"));
    (token, Plan::of(user).and(Plan::of(created(key, api_key::Event::Created { grant, token: known }))))
}

fn connectors_plan(random: &dyn Random) -> Result<Plan<AnyEvent>, VaultError> {
    let shipped = connector::shipped().map_err(|error| VaultError::Stopped(format!("the shipped catalog: {error}")))?;
    shipped.into_iter().try_fold(Plan::nothing(), |plan, connector| {
        let subject = Subject { stream: StreamId::random(random), version: Version::ZERO };
        Ok(plan.and(connector::decide(subject, &connector::State::Absent, connector)?.map(AnyEvent::from)))
    })
}

fn system_plan(random: &dyn Random, default: TenantId) -> Plan<AnyEvent> {
    let tenant = |id, name: &str| {
        let event = tenant::Event::Created { tenant: id, name: name.to_owned() };
        Plan::of(created(StreamId::random(random), event).taking(Claim::exact(tenant::NAME, &[], name)))
    };
    let vault = Plan::of(created(StreamId::random(random), vault::Event::Created));
    tenant(TenantId::SYSTEM, "system").and(tenant(default, "default")).and(vault)
}

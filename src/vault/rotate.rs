//! Rotating keys on a running vault: the root key, or a tenant's. One rotation at a time; whatever cuts it short, the same command or the next
//! start goes on with it. Its event is written when nothing is left under the former key, and only then that is given up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::access::Principal;
use super::execute::Command;
use super::{Vault, VaultError};
use crate::credentials::vault::{Event, State};
use crate::credentials::{AnyEvent, AnyState, Meta};
use crate::kernel::{Plan, Refusal, TenantId, Write};
use crate::keyring::{KeyringError, Proof, RootKeyProvider, Rotate, Turn, Versions};
use crate::seal::derive;

/// Where the root key comes from.
pub type Root = Arc<dyn RootKeyProvider + Send + Sync>;

/// Which key is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The root key.
    Root,
    /// A tenant's wrapping key.
    Tenant(TenantId),
}

/// How a rotation ended; `None` while it goes on.
pub type Outcome = Option<Result<(), String>>;

/// The latest rotation since the start.
#[derive(Default)]
pub(super) struct Rotations(Mutex<Option<(Rotation, watch::Receiver<Outcome>)>>);

/// What is known of the keys.
pub struct KeyState {
    /// Whether a rotation of the root key was begun and has not ended.
    pub root_rotating: bool,
    /// What the root key wraps: under the newest one, and not yet.
    pub root: Proof,
    /// Each tenant's versions, and what they wrap.
    pub tenants: BTreeMap<TenantId, Versions>,
    /// The latest rotation since the start, and what became of it.
    pub latest: Option<(Rotation, Outcome)>,
}

impl Vault {
    /// Begins a rotation, or goes on with it, and gives what tells when it has ended. Another one under way is waited for by nobody.
    pub fn rotate(self: &Arc<Self>, what: Rotation, root: Root, by: &Principal, meta: Meta) -> Result<watch::Receiver<Outcome>, VaultError> {
        if what == Rotation::Root && !root.rotates() {
            return Err(Refusal::InvalidState(KeyringError::Fixed.to_string()).into());
        }
        let mut latest = self.rotations.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((under_way, told)) = latest.as_ref().filter(|(_, told)| told.borrow().is_none() && told.has_changed().is_ok()) {
            return if *under_way == what {
                Ok(told.clone())
            } else {
                Err(Refusal::InvalidState("another rotation is under way; `GET /v1/keys` shows it".into()).into())
            };
        }
        let (tell, told) = watch::channel(None);
        *latest = Some((what, told.clone()));
        let (vault, author) = (Arc::clone(self), Principal { tenant: TenantId::SYSTEM, ..by.clone() });
        tokio::spawn(async move {
            let done = match what {
                Rotation::Root => vault.rotate_root(root, &author, &meta).await,
                Rotation::Tenant(tenant) => vault.rotate_tenant(tenant, root, &author, &meta).await,
            };
            match &done {
                Ok(()) => tracing::info!(?what, "a key was rotated"),
                Err(error) => tracing::error!(%error, ?what, "a key could not be rotated to the end; the same command goes on with it, or the next start"),
            }
            tell.send_replace(Some(done.map_err(|error| error.to_string())));
        });
        Ok(told)
    }

    /// Goes on with every rotation that an earlier run has begun.
    pub async fn resume_rotations(self: &Arc<Self>, root: &Root) {
        let turns = self.keyring.rotate().map(Rotate::turns).unwrap_or_default();
        let root_begun = root.is_rotating().then_some(Rotation::Root);
        for what in root_begun.into_iter().chain(turns.into_iter().map(|turn| Rotation::Tenant(turn.tenant))) {
            let meta = Meta { rule: Some("resumed".into()), ..Meta::default() };
            match self.rotate(what, Arc::clone(root), &Principal::vault(TenantId::SYSTEM), meta) {
                // Its end is told in the log, whatever it is.
                Ok(mut told) => drop(told.wait_for(Option::is_some).await),
                Err(error) => tracing::warn!(%error, ?what, "a rotation was not resumed"),
            }
        }
    }

    /// What is known of the keys, and of rotations under way.
    pub async fn key_state(&self, root: Root) -> Result<KeyState, VaultError> {
        let vault = self.keyring.vault();
        let (root_rotating, proof, tenants) = self
            .step(move |rotate| {
                // The key that comes, if one does.
                let newest = root.root_keys(vault)?.into_iter().next().ok_or(KeyringError::WrongRootKey)?;
                Ok((root.is_rotating(), rotate.prove_root(&newest)?, rotate.versions()?))
            })
            .await?;
        let latest = self.rotations.0.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = latest.as_ref().map(|(what, told)| (*what, told.borrow().clone()));
        Ok(KeyState { root_rotating, root: proof, tenants, latest })
    }

    /// Carries a step out where waiting for a disk holds nobody up.
    async fn step<T: Send + 'static>(&self, step: impl FnOnce(&dyn Rotate) -> Result<T, KeyringError> + Send + 'static) -> Result<T, VaultError> {
        let keyring = Arc::clone(&self.keyring);
        let done = tokio::task::spawn_blocking(move || step(keyring.rotate().ok_or(KeyringError::Fixed)?)).await;
        Ok(done.map_err(|error| VaultError::Stopped(format!("a step of a rotation: {error}")))??)
    }

    async fn rotate_root(&self, root: Root, by: &Principal, meta: &Meta) -> Result<(), VaultError> {
        let vault = self.keyring.vault();
        let (source, random) = (Arc::clone(&root), Arc::clone(&self.random));
        // The new key is durable before anything lies under it.
        let next: [u8; 8] = self.step(move |_| Ok(derive::root(&source.next_key(vault, &*random)?, vault))).await?;
        loop {
            let source = Arc::clone(&root);
            if self.step(move |rotate| rotate.rewrap_tenants(&source.root_keys(vault)?)).await? == 0 {
                break;
            }
        }
        let source = Arc::clone(&root);
        let newest = move |source: &Root| source.root_keys(vault)?.into_iter().next().ok_or(KeyringError::WrongRootKey);
        let proof = self.step(move |rotate| rotate.prove_root(&newest(&source)?)).await?;
        nothing_left(proof)?;
        // Of the two copies, each wraps each key.
        let (root_id, wraps) = (base16ct::lower::encode_string(&next), proof.done / 2);
        self.tell(by, meta, |state| (state.root.as_ref() != Some(&root_id)).then(|| Event::RootRotated { root: root_id.clone(), wraps })).await?;
        self.step(move |_| root.replace(vault)).await
    }

    async fn rotate_tenant(&self, tenant: TenantId, root: Root, by: &Principal, meta: &Meta) -> Result<(), VaultError> {
        let vault = self.keyring.vault();
        let turn: Turn = self.step(move |rotate| rotate.begin(tenant, &root.root_keys(vault)?)).await?;
        while self.step(move |rotate| rotate.rewrap(turn)).await? > 0 {}
        nothing_left(self.step(move |rotate| rotate.prove(turn)).await?)?;
        let versions = self.step(|rotate| rotate.versions()).await?;
        let batches = versions.get(&tenant).and_then(|versions| versions.get(&turn.to)).map_or(0, |held| held.batches);
        self.tell(by, meta, |state| {
            let told = state.rotated.get(&tenant).is_some_and(|version| *version >= turn.to);
            (!told).then_some(Event::TenantKeyRotated { tenant, from: turn.from, to: turn.to, batches })
        })
        .await?;
        self.step(move |rotate| rotate.retire(turn)).await
    }

    /// Writes the event of a rotation, unless a run that was cut short has written it.
    async fn tell(&self, by: &Principal, meta: &Meta, event: impl Fn(&State) -> Option<Event>) -> Result<(), VaultError> {
        let command = Command { principal: by, meta: meta.clone(), idempotency: None };
        let told = self.execute(&command, |given| {
            let stream = given.views.vault().ok_or(Refusal::NotFound)?;
            let Some(AnyState::Vault(state)) = given.views.thing(stream).map(|entry| &entry.state) else { return Err(Refusal::NotFound) };
            Ok(event(state).map_or_else(Plan::nothing, |event| Plan::of(Write::observation(stream, AnyEvent::Vault(event)))))
        });
        told.await.map(drop)
    }
}

/// The former key is given up only when it is needed for nothing.
fn nothing_left(proof: Proof) -> Result<(), VaultError> {
    if proof.left == 0 { Ok(()) } else { Err(KeyringError::Damaged(format!("{} rows are left under the former key", proof.left)).into()) }
}

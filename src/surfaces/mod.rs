//! The surfaces: each speaks its vendor's shapes over the same core.

mod api_clients;
mod api_keys;
mod call;
mod connections;
mod openapi;
mod params;
mod passing;
mod provider_keys;
mod user_applications;
mod v1;

use std::path::Path;
use std::sync::Arc;

use axum::Router;

pub use openapi::document;

use crate::egress::StreamLimits;
use crate::jobs::Webhooks;
use crate::kernel::{Random, VaultId};
use crate::keyring::{KeyringError, RootKeyProvider};
use crate::oauth::Exchanges;
use crate::seal::Key;
use crate::vault::Vault;

/// What every handler stands on.
#[derive(Clone)]
pub struct Front {
    /// The vault.
    pub vault: Arc<Vault>,
    /// The exchanges under way.
    pub exchanges: Arc<Exchanges>,
    /// What tells endpoints of connections.
    pub webhooks: Arc<Webhooks>,
    /// What the operator set.
    pub settings: Arc<Settings>,
}

/// What the operator set.
pub struct Settings {
    /// An access token lives so many seconds where its vendor does not say.
    pub access_token_seconds: i64,
    /// Origins of pages that may call from a browser, and to which users are sent back, beside this machine's own.
    pub origins: Vec<String>,
    /// How far an answer that is passed through may go.
    pub stream_limits: StreamLimits,
    /// Where the root key comes from: a new tenant's keys are wrapped under it.
    pub root_key: Box<dyn RootKeyProvider + Send + Sync>,
}

impl RootKeyProvider for Settings {
    fn root_key(&self, vault: VaultId) -> Result<Key, KeyringError> {
        self.root_key.root_key(vault)
    }

    fn apart_from(&self, data: &Path) -> Result<(), KeyringError> {
        self.root_key.apart_from(data)
    }

    fn root_keys(&self, vault: VaultId) -> Result<Vec<Key>, KeyringError> {
        self.root_key.root_keys(vault)
    }

    fn rotates(&self) -> bool {
        self.root_key.rotates()
    }

    fn is_rotating(&self) -> bool {
        self.root_key.is_rotating()
    }

    fn next_key(&self, vault: VaultId, random: &dyn Random) -> Result<Key, KeyringError> {
        self.root_key.next_key(vault, random)
    }

    fn replace(&self, vault: VaultId) -> Result<(), KeyringError> {
        self.root_key.replace(vault)
    }
}

/// Seconds that an access token lives where nobody says otherwise.
pub const ACCESS_TOKEN_SECONDS: i64 = 3600;

/// All routes of all surfaces.
pub fn router(front: &Front) -> Router {
    v1::router(front.clone(), document().into())
        .merge(provider_keys::router(front.clone()))
        .merge(api_keys::router(front.clone()))
        .merge(api_clients::router(front.clone()))
        .merge(user_applications::router(front.clone()))
        .merge(connections::router(front.clone()))
}

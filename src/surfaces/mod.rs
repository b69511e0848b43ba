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

use std::sync::Arc;

use axum::Router;

pub use openapi::document;

use crate::egress::StreamLimits;
use crate::jobs::Webhooks;
use crate::keyring::RootKeyProvider;
use crate::oauth::Exchanges;
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

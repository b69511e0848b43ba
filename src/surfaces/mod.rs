//! The surfaces: each speaks its vendor's shapes over the same core.

mod connections;
mod openapi;
mod v1;

use std::sync::Arc;

use axum::Router;

pub use openapi::document;

use crate::oauth::Exchanges;
use crate::vault::Vault;

/// What every handler stands on.
#[derive(Clone)]
pub struct Front {
    /// The vault.
    pub vault: Arc<Vault>,
    /// The exchanges under way.
    pub exchanges: Arc<Exchanges>,
}

/// All routes of all surfaces.
pub fn router(front: &Front) -> Router {
    v1::router(front.clone(), document().into()).merge(connections::router(front.clone()))
}

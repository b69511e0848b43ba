//! The surfaces: each speaks its vendor's shapes over the same core.

mod connections;
mod openapi;
mod v1;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

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
    let text: Arc<str> = document().into();
    let (v1, connections) = (v1::router(front.clone()), connections::router(front.clone()));
    v1.merge(connections).route("/openapi.json", get(move || std::future::ready(openapi::answer(&text))))
}

//! The surfaces: each speaks its vendor's shapes over the same core.

pub mod connections;
pub mod v1;

use std::sync::Arc;

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

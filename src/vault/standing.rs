//! Whether the vault may write at all, and what its operator should know although it does.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Vault;
use crate::log::SubmitError;

/// What was found.
#[derive(Default)]
pub(super) struct Standing {
    lost: Mutex<Option<String>>,
    warnings: Mutex<BTreeMap<&'static str, String>>,
}

impl Vault {
    /// Takes no more commands until the next start: the log is not what was said of it. The cause goes to callers and to health.
    pub fn refuse_writes(&self, cause: String) {
        tracing::error!(%cause, "the vault takes no writes");
        *self.standing.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
    }

    /// Why nothing is written; `None` when the log is what was said of it.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        self.standing.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn check_standing(&self) -> Result<(), SubmitError> {
        self.lost().map_or(Ok(()), |cause| Err(SubmitError::Lost(cause)))
    }

    /// Says under a name what is wrong, or that it is right again. It is logged when it changes, and health tells it.
    pub fn warn(&self, name: &'static str, cause: Option<String>) {
        let mut warnings = self.standing.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.get(name) == cause.as_ref() {
            return;
        }
        if let Some(cause) = cause {
            tracing::warn!(about = name, "{cause}");
            warnings.insert(name, cause);
        } else {
            tracing::info!(about = name, "it is well again");
            warnings.remove(name);
        }
    }

    /// What is wrong although commands are taken.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.standing.warnings.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

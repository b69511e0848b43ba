//! Why a command is turned down. A refusal is data for the caller: each surface gives it its own words.

use super::{StreamId, Version};

/// A command's rule said no; nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such thing, or not for this caller: the two look the same.
    #[error("not found")]
    NotFound,
    /// The caller may not do this.
    #[error("not permitted: needs {permission}")]
    Forbidden {
        /// The permission that is missing.
        permission: &'static str,
    },
    /// It is there already.
    #[error("already exists")]
    AlreadyExists,
    /// A name that the command wants is held by another thing.
    #[error("the name is taken")]
    NameTaken {
        /// The holder.
        by: StreamId,
    },
    /// Not possible in the thing's present state.
    #[error("{0}")]
    InvalidState(String),
    /// The command itself is wrong.
    #[error("{field}: {problem}")]
    Invalid {
        /// The part that is wrong, as a path such as `settings.base_url`.
        field: String,
        /// What is wrong with it, without repeating its value.
        problem: String,
    },
    /// The thing has moved on since the caller looked.
    #[error("changed meanwhile: it stands at version {actual}")]
    Conflict {
        /// Its content version now.
        actual: Version,
    },
    /// The same idempotency key came with another request.
    #[error("this Idempotency-Key was used for a different request")]
    CommandReused,
    /// A written limit is reached.
    #[error("{what}: the limit is {limit}")]
    Limit {
        /// What is limited.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The secret's key was destroyed on purpose.
    #[error("it was shredded: nothing is left of it")]
    Shredded,
}

impl Refusal {
    /// A wrong part of a command.
    pub fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), problem: problem.into() }
    }
}

//! One folder per API family, each in its vendor's own shapes. Surfaces hold no rule.

pub mod connections;
pub mod v1;

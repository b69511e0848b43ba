//! The words that every room speaks. Pure: no I/O, no clock, no randomness of its own.

mod claim;
mod clock;
mod header;
mod ids;
mod json;
mod moment;
pub mod name;
mod permission;
mod plan;
mod random;
mod refusal;
mod role;
mod secret;
mod tried;

pub use claim::{Claim, ClaimOp};
pub use clock::{Clock, SystemClock};
pub use header::{Class, Group, Header, SealedSecret};
pub use ids::{Epoch, EventId, FlowId, GroupId, IdError, KeyId, Position, StreamId, TenantId, VaultId, Version};
pub use json::Json;
pub use moment::{Moment, MomentError};
pub use permission::{MAX_PERMISSIONS, Permission, PermissionSet, Permits};
pub use plan::{Expected, Guard, Plan, Write};
pub use random::{OsRandom, Random};
pub use refusal::Refusal;
pub use role::{Builtin, RoleRef};
pub use secret::{Fingerprint, MAX_SECRET, Secret, SecretRef};
pub use tried::Tried;

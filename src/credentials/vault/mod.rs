//! The vault itself, one stream of the system tenant: what was destroyed on purpose, and where a history was cut.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::kernel::{Epoch, Header, Moment, Position, StreamId, TenantId};

/// Stored on every event: never change it.
pub const NAME: &str = "vault";

/// What happened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The vault began.
    Created,
    /// Keys of these secrets were destroyed; the header names the keys.
    Shredded {
        /// Which secrets.
        secrets: Vec<SecretAt>,
        /// Why: `superseded`, `shown_once`, or what an operator said.
        reason: String,
        /// Things of which nothing is left: all of their keys are among those that the header names.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        things: Vec<StreamId>,
        /// Tenants of which nothing is left: the header names each by [`KeyId::whole`](crate::kernel::KeyId::whole).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tenants: Vec<TenantId>,
    },
    /// A restore cut the history here and began an epoch.
    Restored {
        /// The epoch that was restored.
        from: Epoch,
        /// The last position kept.
        position: Position,
        /// Its Merkle root, in hex.
        root: String,
        /// Its state hash, in hex.
        state: String,
        /// The last position of the old history; those after `position` were dropped.
        dropped_to: Position,
    },
    /// An operator lets go out again what a restore held back.
    Resumed,
    /// All tenants' keys lie under another root key; the former one opens nothing.
    RootRotated {
        /// Tells the new root key from others; says nothing of the key.
        root: String,
        /// How many keys it wraps.
        wraps: u64,
    },
    /// All of a tenant's keys lie under another version of its wrapping key; the former one is destroyed.
    TenantKeyRotated {
        /// Whose.
        tenant: TenantId,
        /// The version that ended.
        from: u32,
        /// The version that wraps everything.
        to: u32,
        /// How many batches of data keys it wraps.
        batches: u64,
    },
    /// A copy of the log was damaged or missing, and was made anew from the other one.
    Repaired {
        /// `log.db` or `segments`.
        copy: String,
        /// The first position that was made anew.
        from: Position,
        /// The last.
        through: Position,
        /// What was wrong.
        cause: String,
        /// Where the damaged one is kept; nothing when it was missing.
        aside: Option<String>,
    },
    /// The end of the log was lost in both copies, and an operator accepted it: an epoch begins, past what was lost.
    LossAccepted {
        /// The epoch that lost its end.
        from: Epoch,
        /// The last position that is there.
        position: Position,
        /// Its Merkle root, in hex.
        root: String,
        /// The last position that is known to be lost.
        lost_to: Position,
        /// How it is known.
        cause: String,
    },
    /// A restore was rehearsed from a backup, and came out as the log says.
    BackupVerified {
        /// The last position of the backup.
        position: Position,
        /// Its Merkle root, in hex.
        root: String,
        /// Its state hash, in hex.
        state: String,
        /// How many files it has.
        files: u64,
        /// How many streams the comparison of states left out, because they were shredded after the backup's end.
        #[serde(default, skip_serializing_if = "is_none")]
        skipped: u64,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde takes")]
const fn is_none(count: &u64) -> bool {
    *count == 0
}

/// One secret box of the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SecretAt {
    /// Of its event.
    pub position: Position,
    /// Of its box.
    pub name: String,
}

impl Event {
    /// Its stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Shredded { .. } => "shredded",
            Self::Restored { .. } => "restored",
            Self::Resumed => "resumed",
            Self::RootRotated { .. } => "root_rotated",
            Self::TenantKeyRotated { .. } => "tenant_key_rotated",
            Self::Repaired { .. } => "repaired",
            Self::LossAccepted { .. } => "loss_accepted",
            Self::BackupVerified { .. } => "backup_verified",
        }
    }
}

/// What is known of the vault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Since when it exists.
    pub created_at: Option<Moment>,
    /// How many secrets were destroyed.
    pub shredded: u64,
    /// The latest event that says that nothing is left of a thing or a tenant: what was kept before it holds more than may be kept.
    pub forgot: Option<Position>,
    /// The latest restore: where the history was cut.
    pub restored: Option<Position>,
    /// Whether everything that goes out by itself or on demand is held back: since a restore, until an operator resumes.
    pub held: bool,
    /// What tells the latest root key from others, when it was rotated.
    pub root: Option<String>,
    /// The version that each tenant's key was rotated to.
    pub rotated: BTreeMap<TenantId, u32>,
    /// The last backup from which a restore was rehearsed.
    pub verified: Option<Verified>,
}

/// A backup that is known to be good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Its last position.
    pub position: Position,
    /// When the restore was rehearsed.
    pub at: Moment,
}

/// The state after the event.
#[must_use]
pub fn evolve(mut state: State, header: &Header, event: Event) -> State {
    match event {
        Event::Created => state.created_at = Some(header.recorded_at),
        Event::Shredded { secrets, things, tenants, .. } => {
            state.shredded += secrets.len() as u64;
            if !things.is_empty() || !tenants.is_empty() {
                state.forgot = Some(header.position);
            }
        }
        Event::Restored { position, .. } => (state.restored, state.held) = (Some(position), true),
        Event::Resumed => state.held = false,
        Event::RootRotated { root, .. } => state.root = Some(root),
        Event::TenantKeyRotated { tenant, to, .. } => drop(state.rotated.insert(tenant, to)),
        Event::Repaired { .. } | Event::LossAccepted { .. } => {}
        Event::BackupVerified { position, .. } => state.verified = Some(Verified { position, at: header.recorded_at }),
    }
    state
}

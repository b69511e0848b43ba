//! Roles: those that every vault has, and the reference to one, shipped or a tenant's own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

#[allow(clippy::enum_glob_use, reason = "the tables below name most of them")]
use super::permission::Permission::*;
use super::{IdError, PermissionSet, StreamId};

/// A role that every tenant has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Builtin {
    /// Everything.
    Owner,
    /// Everything but secrets' values, what ends or brings back secrets for good, and what concerns the whole vault.
    Admin,
    /// Day-to-day work with credentials; no users, no roles.
    Operator,
    /// Sees what there is now, without secrets.
    Reader,
    /// Sees what there is and what happened, without secrets.
    Auditor,
    /// What a program needs that keeps its customers' credentials here.
    App,
}

/// Everything that only looks at the present.
const READS: PermissionSet = PermissionSet::of(&[
    ConnectionsRead,
    ConsumersRead,
    ConnectorsRead,
    CredentialsRead,
    ApiKeysRead,
    ApiClientsRead,
    UsersRead,
    RolesRead,
    OrganizationsRead,
    ApplicationsRead,
    UserApplicationsOwn,
    WebhooksRead,
    IntegrationsRead,
]);
/// Work with credentials.
const WORK: PermissionSet = PermissionSet::of(&[
    ConnectionsWrite,
    ConnectionsExchange,
    ConnectionsProxy,
    ConsumersWrite,
    ConnectorsWrite,
    ProviderKeysWrite,
    ApiKeysWrite,
    KeysVerify,
    ApiClientsWrite,
    UserApplicationsAdmin,
    OrganizationsWrite,
    TokensIntrospect,
    HistoryRead,
    WebhooksWrite,
    UndoApply,
]);

impl Builtin {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Owner, Self::Admin, Self::Operator, Self::Reader, Self::Auditor, Self::App];

    /// Its name; it is stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Reader => "reader",
            Self::Auditor => "auditor",
            Self::App => "app",
        }
    }

    /// The role of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Its id, where a vendor wants one: the same in every vault, and no stream has it.
    #[must_use]
    pub const fn id(self) -> StreamId {
        StreamId(match self {
            Self::Owner => *b"keyledger/owner ",
            Self::Admin => *b"keyledger/admin ",
            Self::Operator => *b"keyledger/operat",
            Self::Reader => *b"keyledger/reader",
            Self::Auditor => *b"keyledger/audito",
            Self::App => *b"keyledger/app   ",
        })
    }

    /// What it permits.
    #[must_use]
    pub const fn permissions(self) -> PermissionSet {
        match self {
            Self::Owner => PermissionSet::ALL,
            Self::Admin => {
                PermissionSet::ALL.without(PermissionSet::of(&[VaultOperate, TenantsWrite, SecretsReveal, ApiClientsReveal, SecretsRevive, ShredApply]))
            }
            Self::Operator => READS.and(WORK),
            Self::Reader => READS,
            Self::Auditor => READS.and(PermissionSet::of(&[AuditRead, HistoryRead])),
            Self::App => PermissionSet::of(&[
                ConnectionsRead,
                ConnectionsWrite,
                ConnectionsExchange,
                ConnectionsProxy,
                ConsumersRead,
                ConsumersWrite,
                ConnectorsRead,
                ProviderKeysWrite,
                KeysVerify,
                UserApplicationsOwn,
            ]),
        }
    }
}

/// Which role: by name if every tenant has it, by id if it is a tenant's own, so that a name used anew never gives what it gave before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleRef {
    /// Every tenant has it.
    Builtin(Builtin),
    /// A tenant's own.
    Own(StreamId),
}

impl RoleRef {
    /// Its id, where a vendor wants one.
    #[must_use]
    pub const fn id(self) -> StreamId {
        match self {
            Self::Builtin(builtin) => builtin.id(),
            Self::Own(id) => id,
        }
    }

    /// The reference of an id.
    #[must_use]
    pub fn of(id: StreamId) -> Self {
        Builtin::ALL.into_iter().find(|role| role.id() == id).map_or(Self::Own(id), Self::Builtin)
    }
}

impl fmt::Display for RoleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(builtin) => f.write_str(builtin.name()),
            Self::Own(id) => id.fmt(f),
        }
    }
}

impl FromStr for RoleRef {
    type Err = IdError;

    /// A shipped role's name, or an id.
    fn from_str(text: &str) -> Result<Self, IdError> {
        Builtin::named(text).map_or_else(|| text.parse().map(Self::of), |builtin| Ok(Self::Builtin(builtin)))
    }
}

impl Serialize for RoleRef {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RoleRef {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

//! What may be permitted: the vault's own permissions, as a set of bits, and foreign ones that it only carries.

use serde::{Deserialize, Serialize};

use super::Refusal;

macro_rules! permissions {
    ($($(#[$doc:meta])* $variant:ident = $bit:literal $name:literal,)*) => {
        /// One thing that may be done in the vault. Bits are stored in snapshots and never change their meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Permission { $($(#[$doc])* $variant = $bit,)* }

        impl Permission {
            /// All of them, by bit.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As roles, answers and refusals name it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The permission of a name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

permissions! {
    /// See connections.
    ConnectionsRead = 0 "connections:read",
    /// Make, change, import and delete connections.
    ConnectionsWrite = 1 "connections:write",
    /// Exchange a connection's credentials for tokens.
    ConnectionsExchange = 2 "connections:exchange",
    /// See consumers.
    ConsumersRead = 3 "consumers:read",
    /// Make, change and delete consumers.
    ConsumersWrite = 4 "consumers:write",
    /// See connectors.
    ConnectorsRead = 5 "connectors:read",
    /// Add and change the tenant's own connectors.
    ConnectorsWrite = 6 "connectors:write",
    /// See credentials of all kinds, without their values.
    CredentialsRead = 7 "credentials:read",
    /// Read a secret's value, for a stated reason.
    SecretsReveal = 8 "secrets:reveal",
    /// Read the audit log.
    AuditRead = 9 "audit:read",
    /// See the past.
    HistoryRead = 10 "history:read",
    /// Run the vault: what concerns all tenants. Only principals of the first tenant hold it.
    VaultOperate = 11 "vault:operate",
    /// Make, change and delete provider keys.
    ProviderKeysWrite = 12 "provider-keys:write",
    /// See API keys.
    ApiKeysRead = 13 "api-keys:read",
    /// Make, change, rotate and delete API keys.
    ApiKeysWrite = 14 "api-keys:write",
    /// Ask whether a presented key is valid.
    KeysVerify = 15 "keys:verify",
    /// See API clients, their secrets masked.
    ApiClientsRead = 16 "api-clients:read",
    /// Make, change, rotate and delete API clients.
    ApiClientsWrite = 17 "api-clients:write",
    /// See an API client's secrets.
    ApiClientsReveal = 18 "api-clients:reveal",
    /// Keep user applications of one's own.
    UserApplicationsOwn = 19 "user-applications:own",
    /// See and delete everybody's user applications.
    UserApplicationsAdmin = 20 "user-applications:admin",
    /// See users.
    UsersRead = 21 "users:read",
    /// Make, change, block and delete users, and end their sessions.
    UsersWrite = 22 "users:write",
    /// See roles.
    RolesRead = 23 "roles:read",
    /// Make, change and delete roles.
    RolesWrite = 24 "roles:write",
    /// See organisations.
    OrganizationsRead = 25 "organizations:read",
    /// Make, change and delete organisations.
    OrganizationsWrite = 26 "organizations:write",
    /// See applications.
    ApplicationsRead = 27 "applications:read",
    /// Make, change, rotate and delete applications.
    ApplicationsWrite = 28 "applications:write",
    /// See tenants. Only principals of the first tenant hold it.
    TenantsRead = 29 "tenants:read",
    /// Make, suspend and resume tenants. Only principals of the first tenant hold it.
    TenantsWrite = 30 "tenants:write",
    /// Introspect and revoke the tenant's access tokens.
    TokensIntrospect = 31 "tokens:introspect",
    /// See webhooks, and what they were not told.
    WebhooksRead = 32 "webhooks:read",
    /// Make, change, rotate, try out, replay and delete webhooks.
    WebhooksWrite = 33 "webhooks:write",
    /// Call a connection's service with its credentials, which are not shown.
    ConnectionsProxy = 34 "connections:proxy",
    /// See what the tenant supplies for all connections to a service, without secrets.
    IntegrationsRead = 35 "integrations:read",
    /// Make, change and delete what the tenant supplies.
    IntegrationsWrite = 36 "integrations:write",
    /// Take back what was done, event by event.
    UndoApply = 37 "undo:apply",
    /// Put things, tenants or everything back to a moment.
    RecoveryApply = 38 "recovery:apply",
    /// Let secrets that were ended on purpose come back to life, by an undo or a recovery.
    SecretsRevive = 39 "secrets:revive",
    /// Destroy secrets and things for ever.
    ShredApply = 40 "shred:apply",
}

impl Permission {
    /// Whether it concerns the whole vault: only principals of the first tenant hold it.
    #[must_use]
    pub const fn is_vault_wide(self) -> bool {
        PermissionSet::VAULT_WIDE.holds(self)
    }
}

/// Some of the vault's permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PermissionSet(u64);

impl PermissionSet {
    /// Of these.
    #[must_use]
    pub const fn of(permissions: &[Permission]) -> Self {
        let (mut bits, mut rest) = (0, permissions);
        while let [first, others @ ..] = rest {
            bits |= 1 << *first as u8;
            rest = others;
        }
        Self(bits)
    }

    /// All of them.
    pub const ALL: Self = Self::of(Permission::ALL);
    /// What concerns the whole vault.
    pub const VAULT_WIDE: Self = Self::of(&[Permission::VaultOperate, Permission::TenantsRead, Permission::TenantsWrite]);

    /// Whether it holds one.
    #[must_use]
    pub const fn holds(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u8) != 0
    }

    /// Whether it holds all of another set.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both hold.
    #[must_use]
    pub const fn within(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those of this set that the other lacks.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether it holds none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One by one.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |permission| self.holds(*permission))
    }
}

/// The most names of one list of permissions.
pub const MAX_PERMISSIONS: usize = 64;
/// What Khomp's clients know; they open nothing here.
const KHOMP: [&str; 2] = ["accessFtp", "editLabels"];
/// Permissions of the tenant's own making begin so; they open nothing here, and key verification tells them.
const CUSTOM: &str = "custom:";
/// The longest name of a permission, in bytes.
const MAX_NAME: usize = 80;

/// What something may do: permissions of the vault, and foreign ones that it only tells on verification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permits {
    /// Of the vault.
    pub own: PermissionSet,
    /// Of others, in the order in which they were given.
    pub foreign: Box<[String]>,
}

impl Permits {
    /// Reads names of a request; one that is not known is refused. `field` names the list in the refusal.
    pub fn parse(field: &str, names: &[String]) -> Result<Self, Refusal> {
        if names.len() > MAX_PERMISSIONS {
            return Err(Refusal::invalid(field, format!("takes at most {MAX_PERMISSIONS} permissions")));
        }
        let wrong = names.iter().position(|name| Permission::named(name).is_none() && !is_foreign(name));
        if let Some(place) = wrong {
            let known = "is no permission: see the table of permissions, or choose a name that begins with custom:";
            return Err(Refusal::invalid(format!("{field}[{place}]"), known));
        }
        Ok(Self::read(names))
    }

    /// Reads stored names. One that this version does not know opens nothing.
    #[must_use]
    pub fn read(names: &[String]) -> Self {
        let mut permits = Self::default();
        let mut foreign: Vec<String> = Vec::new();
        for name in names {
            match Permission::named(name) {
                Some(permission) => permits.own = permits.own.and(PermissionSet::of(&[permission])),
                None if foreign.contains(name) => {}
                None => foreign.push(name.clone()),
            }
        }
        permits.foreign = foreign.into();
        permits
    }

    /// All names.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.own.iter().map(|permission| permission.name().to_owned()).chain(self.foreign.iter().cloned()).collect()
    }
}

fn is_foreign(name: &str) -> bool {
    let custom = name.strip_prefix(CUSTOM).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-/".contains(&b)));
    name.len() <= MAX_NAME && (KHOMP.contains(&name) || custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_grow_down_the_list_and_names_are_found_again() {
        assert!(Permission::ALL.windows(2).all(|two| (two[0] as u8) < two[1] as u8) && Permission::ALL.iter().all(|last| (*last as u8) < 64));
        for permission in Permission::ALL {
            assert_eq!(Permission::named(permission.name()), Some(*permission));
        }
        assert!(PermissionSet::ALL.covers(PermissionSet::of(&[Permission::AuditRead])) && !PermissionSet::default().covers(PermissionSet::ALL));
        assert_eq!(PermissionSet::ALL.iter().count(), Permission::ALL.len());
    }

    #[test]
    fn a_list_of_permissions_takes_known_names_only_and_gives_them_back() {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let given = names(&["accessFtp", "audit:read", "custom:reports.read"]);
        assert_eq!(Permits::parse("permissions", &given).unwrap().names(), ["audit:read", "accessFtp", "custom:reports.read"]);
        for bad in ["", "audit:write", "custom:", "custom:a b", "Audit:read", "custom:\u{430}"] {
            let refusal = Permits::parse("permissions", &names(&["audit:read", bad])).unwrap_err();
            assert!(matches!(refusal, Refusal::Invalid { field, .. } if field == "permissions[1]"), "{bad}");
        }
        assert!(Permits::parse("permissions", &vec!["audit:read".to_owned(); MAX_PERMISSIONS]).is_ok());
        assert!(Permits::parse("permissions", &vec!["audit:read".to_owned(); MAX_PERMISSIONS + 1]).is_err());
    }
}

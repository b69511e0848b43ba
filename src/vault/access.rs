//! Who may do what: one pure function, passed by every handler and every job.

use crate::kernel::{Refusal, StreamId, TenantId};

/// What may be permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named as the thing and what is done to it")]
pub enum Permission {
    ConnectionsRead,
    ConnectionsWrite,
    ConnectionsExchange,
    ConsumersRead,
    ConsumersWrite,
    ConnectorsRead,
    ConnectorsWrite,
    CredentialsRead,
    SecretsReveal,
    AuditRead,
    HistoryRead,
    VaultOperate,
}

impl Permission {
    /// As roles, answers and refusals name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectionsRead => "connections:read",
            Self::ConnectionsWrite => "connections:write",
            Self::ConnectionsExchange => "connections:exchange",
            Self::ConsumersRead => "consumers:read",
            Self::ConsumersWrite => "consumers:write",
            Self::ConnectorsRead => "connectors:read",
            Self::ConnectorsWrite => "connectors:write",
            Self::CredentialsRead => "credentials:read",
            Self::SecretsReveal => "secrets:reveal",
            Self::AuditRead => "audit:read",
            Self::HistoryRead => "history:read",
            Self::VaultOperate => "vault:operate",
        }
    }
}

/// Who asks, as the credential proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Its stream; all zero for the vault itself.
    pub id: StreamId,
    /// Whose things it may touch: from the credential only.
    pub tenant: TenantId,
    /// Names of its roles.
    pub roles: Vec<String>,
    /// Names of permissions of its own.
    pub permissions: Vec<String>,
    /// Application ids that it may name; empty: any.
    pub app_ids: Vec<String>,
}

impl Principal {
    /// The vault itself, within a tenant: what no caller asked for.
    #[must_use]
    pub const fn vault(tenant: TenantId) -> Self {
        Self { id: StreamId([0; 16]), tenant, roles: Vec::new(), permissions: Vec::new(), app_ids: Vec::new() }
    }
}

/// What is touched.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    /// Its owner.
    pub tenant: TenantId,
    /// The application that it belongs to, if any.
    pub app: Option<&'a str>,
}

/// Says yes by the name of the rule, which goes into the event; another tenant's thing looks like a missing one.
pub fn authorize(principal: &Principal, permission: Permission, resource: Resource<'_>) -> Result<&'static str, Refusal> {
    if resource.tenant != principal.tenant {
        return Err(Refusal::NotFound);
    }
    if resource.app.is_some_and(|app| !principal.app_ids.is_empty() && !principal.app_ids.iter().any(|own| own == app)) {
        return Err(Refusal::NotFound);
    }
    if principal.roles.iter().any(|role| role == "owner") {
        return Ok("role:owner");
    }
    if principal.permissions.iter().any(|own| own == permission.name()) {
        return Ok("own permission");
    }
    Err(Refusal::Forbidden { permission: permission.name() })
}

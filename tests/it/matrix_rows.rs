//! Who may call which operation: one row for each operation of the OpenAPI document.

use keyledger::kernel::Permission;

/// What a caller needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: it proves callers in another way, or shows nothing.
    Open,
    /// Any token of this vault.
    Any,
    /// A permission.
    Needs(Permission),
    /// A permission, and a user as whom the caller acts.
    NeedsUser(Permission),
}

/// How the body of a change is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// There is none.
    Nothing,
    /// As JSON that is wrong for every operation.
    Json,
    /// As a form that lacks what it needs.
    Form,
}

pub type Row = (&'static str, &'static str, Access, Sent);

#[allow(clippy::enum_glob_use, reason = "a table")]
use keyledger::kernel::Permission::*;

use Access::{Any, Needs, NeedsUser, Open};
use Sent::{Form, Json, Nothing};

pub const OWN: &[Row] = &[
    ("GET", "/v1/health/live", Open, Nothing),
    ("GET", "/v1/health/ready", Open, Nothing),
    ("POST", "/v1/sessions", Open, Json),
    ("POST", "/v1/oauth/token", Open, Form),
    ("POST", "/v1/oauth/introspect", Needs(TokensIntrospect), Form),
    ("POST", "/v1/oauth/revoke", Needs(TokensIntrospect), Form),
    ("GET", "/v1/me", Any, Nothing),
    ("GET", "/v1/sessions", Any, Nothing),
    ("DELETE", "/v1/sessions/{id}", Needs(UsersWrite), Nothing),
    ("GET", "/v1/users", Needs(UsersRead), Nothing),
    ("POST", "/v1/users", Needs(UsersWrite), Json),
    ("GET", "/v1/users/{id}", Needs(UsersRead), Nothing),
    ("PATCH", "/v1/users/{id}", Needs(UsersWrite), Json),
    ("DELETE", "/v1/users/{id}", Needs(UsersWrite), Nothing),
    ("GET", "/v1/users/{id}/history", Needs(HistoryRead), Nothing),
    ("GET", "/v1/roles/{role}/history", Needs(HistoryRead), Nothing),
    ("GET", "/v1/organizations/{id}/history", Needs(HistoryRead), Nothing),
    ("PUT", "/v1/users/{id}/password", Needs(UsersWrite), Json),
    ("POST", "/v1/users/{id}/sign-out", Needs(UsersWrite), Nothing),
    ("POST", "/v1/users/{id}/unlock", Needs(UsersWrite), Nothing),
    ("GET", "/v1/history/{id}", Needs(HistoryRead), Nothing),
    ("GET", "/v1/diff", Needs(HistoryRead), Nothing),
    ("POST", "/v1/undo/preview", Needs(UndoApply), Json),
    ("POST", "/v1/undo/apply", Needs(UndoApply), Json),
    ("POST", "/v1/recovery/preview", Needs(RecoveryApply), Json),
    ("POST", "/v1/recovery/apply", Needs(RecoveryApply), Json),
    ("GET", "/v1/recoveries", Needs(RecoveryApply), Nothing),
    ("GET", "/v1/recoveries/{id}", Needs(RecoveryApply), Nothing),
    ("GET", "/v1/roles", Needs(RolesRead), Nothing),
    ("POST", "/v1/roles", Needs(RolesWrite), Json),
    ("GET", "/v1/roles/{role}", Needs(RolesRead), Nothing),
    ("PATCH", "/v1/roles/{role}", Needs(RolesWrite), Json),
    ("DELETE", "/v1/roles/{role}", Needs(RolesWrite), Nothing),
    ("GET", "/v1/organizations", Needs(OrganizationsRead), Nothing),
    ("POST", "/v1/organizations", Needs(OrganizationsWrite), Json),
    ("GET", "/v1/organizations/{id}", Needs(OrganizationsRead), Nothing),
    ("PATCH", "/v1/organizations/{id}", Needs(OrganizationsWrite), Json),
    ("DELETE", "/v1/organizations/{id}", Needs(OrganizationsWrite), Nothing),
    ("GET", "/v1/applications", Needs(ApplicationsRead), Nothing),
    ("POST", "/v1/applications", Needs(ApplicationsWrite), Json),
    ("GET", "/v1/applications/{id}", Needs(ApplicationsRead), Nothing),
    ("PATCH", "/v1/applications/{id}", Needs(ApplicationsWrite), Json),
    ("DELETE", "/v1/applications/{id}", Needs(ApplicationsWrite), Nothing),
    ("GET", "/v1/api-keys", Needs(ApiKeysRead), Nothing),
    ("POST", "/v1/api-keys", Needs(ApiKeysWrite), Json),
    ("GET", "/v1/api-keys/{id}", Needs(ApiKeysRead), Nothing),
    ("PATCH", "/v1/api-keys/{id}", Needs(ApiKeysWrite), Json),
    ("DELETE", "/v1/api-keys/{id}", Needs(ApiKeysWrite), Nothing),
    ("POST", "/v1/keys/verify", Needs(KeysVerify), Json),
    ("GET", "/v1/tenants", Needs(TenantsRead), Nothing),
    ("POST", "/v1/tenants", Needs(TenantsWrite), Json),
    ("GET", "/v1/tenants/{name}", Needs(TenantsRead), Nothing),
    ("POST", "/v1/tenants/{name}/suspend", Needs(TenantsWrite), Nothing),
    ("POST", "/v1/tenants/{name}/resume", Needs(TenantsWrite), Nothing),
    ("GET", "/v1/credentials", Needs(CredentialsRead), Nothing),
    ("GET", "/v1/credentials/{id}", Needs(CredentialsRead), Nothing),
    ("GET", "/v1/credentials/{id}/history", Needs(HistoryRead), Nothing),
    // And history:read, which every role that may read the audit log holds as well.
    ("GET", "/v1/credentials/{id}/exposure", Needs(AuditRead), Nothing),
    // The kind of the credential says which permission: the matrix rotates an API key.
    ("POST", "/v1/credentials/{id}/rotate", Needs(ApiKeysWrite), Json),
    ("POST", "/v1/credentials/{id}/rotation/finish", Needs(ApiKeysWrite), Nothing),
    ("POST", "/v1/credentials/{id}/rotation/take-back", Needs(ApiKeysWrite), Nothing),
    ("POST", "/v1/secrets/reveal", Needs(SecretsReveal), Json),
    ("GET", "/v1/connectors", Needs(ConnectorsRead), Nothing),
    ("GET", "/v1/connectors/{unified_api}/{service_id}", Needs(ConnectorsRead), Nothing),
    ("PUT", "/v1/connectors/{unified_api}/{service_id}", Needs(ConnectorsWrite), Json),
    ("GET", "/v1/webhooks", Needs(WebhooksRead), Nothing),
    ("POST", "/v1/webhooks", Needs(WebhooksWrite), Json),
    ("GET", "/v1/webhooks/{id}", Needs(WebhooksRead), Nothing),
    ("PATCH", "/v1/webhooks/{id}", Needs(WebhooksWrite), Json),
    ("DELETE", "/v1/webhooks/{id}", Needs(WebhooksWrite), Nothing),
    ("GET", "/v1/webhooks/{id}/history", Needs(HistoryRead), Nothing),
    ("POST", "/v1/webhooks/{id}/rotate", Needs(WebhooksWrite), Json),
    ("GET", "/v1/webhooks/{id}/dead-letters", Needs(WebhooksRead), Nothing),
    ("POST", "/v1/webhooks/{id}/replay", Needs(WebhooksWrite), Json),
    ("POST", "/v1/webhooks/{id}/test", Needs(WebhooksWrite), Nothing),
    ("GET", "/v1/integrations", Needs(IntegrationsRead), Nothing),
    ("GET", "/v1/integrations/{unified_api}/{service_id}", Needs(IntegrationsRead), Nothing),
    ("PUT", "/v1/integrations/{unified_api}/{service_id}", Needs(IntegrationsWrite), Json),
    ("PATCH", "/v1/integrations/{unified_api}/{service_id}", Needs(IntegrationsWrite), Json),
    ("DELETE", "/v1/integrations/{unified_api}/{service_id}", Needs(IntegrationsWrite), Nothing),
    ("GET", "/v1/integrations/{unified_api}/{service_id}/history", Needs(HistoryRead), Nothing),
    ("GET", "/v1/events", Needs(AuditRead), Nothing),
    ("GET", "/v1/events/{position}", Needs(AuditRead), Nothing),
    ("GET", "/v1/events/export", Needs(AuditRead), Nothing),
    ("GET", "/v1/events/stream", Needs(AuditRead), Nothing),
    ("GET", "/v1/log/state", Needs(AuditRead), Nothing),
    ("GET", "/v1/log/checkpoint", Needs(AuditRead), Nothing),
    ("GET", "/v1/log/key", Needs(AuditRead), Nothing),
    ("GET", "/v1/log/proofs/inclusion", Needs(AuditRead), Nothing),
    ("GET", "/v1/log/proofs/consistency", Needs(AuditRead), Nothing),
    ("GET", "/v1/log/leaves", Needs(AuditRead), Nothing),
    ("POST", "/v1/log/clock", Needs(VaultOperate), Nothing),
    ("POST", "/v1/vault/resume", Needs(VaultOperate), Nothing),
    ("GET", "/v1/connections/{id}/tokens", Needs(HistoryRead), Nothing),
    ("GET", "/v1/proxy", Needs(ConnectionsProxy), Nothing),
    ("POST", "/v1/proxy", Needs(ConnectionsProxy), Nothing),
    ("PUT", "/v1/proxy", Needs(ConnectionsProxy), Nothing),
    ("PATCH", "/v1/proxy", Needs(ConnectionsProxy), Nothing),
    ("DELETE", "/v1/proxy", Needs(ConnectionsProxy), Nothing),
    ("HEAD", "/v1/proxy", Needs(ConnectionsProxy), Nothing),
    ("OPTIONS", "/v1/proxy", Needs(ConnectionsProxy), Nothing),
];

pub const CONNECTIONS: &[Row] = &[
    ("GET", "/vault/connections", Needs(ConnectionsRead), Nothing),
    ("GET", "/vault/connections/{unified_api}/{service_id}", Needs(ConnectionsRead), Nothing),
    ("POST", "/vault/connections/{unified_api}/{service_id}", Needs(ConnectionsWrite), Json),
    ("PATCH", "/vault/connections/{unified_api}/{service_id}", Needs(ConnectionsWrite), Json),
    ("DELETE", "/vault/connections/{unified_api}/{service_id}", Needs(ConnectionsWrite), Nothing),
    ("POST", "/vault/connections/{unified_api}/{service_id}/import", Needs(ConnectionsWrite), Json),
    ("POST", "/vault/connections/{unified_api}/{service_id}/validate", Needs(ConnectionsExchange), Nothing),
    ("POST", "/vault/connections/{unified_api}/{service_id}/token", Needs(ConnectionsExchange), Nothing),
    ("POST", "/vault/connections/{unified_api}/{service_id}/confirm", Needs(ConnectionsExchange), Json),
    ("POST", "/vault/connections/{unified_api}/{service_id}/callback-state", Needs(ConnectionsExchange), Json),
    ("GET", "/vault/connections/{unified_api}/{service_id}/consent", Needs(ConnectionsRead), Nothing),
    ("PATCH", "/vault/connections/{unified_api}/{service_id}/consent", Needs(ConnectionsWrite), Json),
    ("GET", "/vault/connections/{unified_api}/{service_id}/{resource}/config", Needs(ConnectionsRead), Nothing),
    ("PATCH", "/vault/connections/{unified_api}/{service_id}/{resource}/config", Needs(ConnectionsWrite), Json),
    // Browsers carry no token: a link proves who made it, and the way back is known by its state and its cookie.
    ("GET", "/vault/authorize/{service_id}/{application_id}", Open, Nothing),
    ("GET", "/vault/callback", Open, Nothing),
    ("GET", "/vault/revoke/{service_id}/{application_id}", Open, Nothing),
    ("POST", "/vault/sessions", Needs(ConsumersWrite), Json),
    ("GET", "/vault/logs", Needs(AuditRead), Nothing),
    ("GET", "/vault/consumers", Needs(ConsumersRead), Nothing),
    ("POST", "/vault/consumers", Needs(ConsumersWrite), Json),
    ("GET", "/vault/consumers/{consumer_id}", Needs(ConsumersRead), Nothing),
    ("PATCH", "/vault/consumers/{consumer_id}", Needs(ConsumersWrite), Json),
    ("DELETE", "/vault/consumers/{consumer_id}", Needs(ConsumersWrite), Nothing),
    ("GET", "/proxy", Needs(ConnectionsProxy), Nothing),
    ("POST", "/proxy", Needs(ConnectionsProxy), Nothing),
    ("PUT", "/proxy", Needs(ConnectionsProxy), Nothing),
    ("PATCH", "/proxy", Needs(ConnectionsProxy), Nothing),
    ("DELETE", "/proxy", Needs(ConnectionsProxy), Nothing),
    ("HEAD", "/proxy", Needs(ConnectionsProxy), Nothing),
    ("OPTIONS", "/proxy", Needs(ConnectionsProxy), Nothing),
];

pub const VENDORS: &[Row] = &[
    ("POST", "/external_provider/api_key/create", Needs(ProviderKeysWrite), Json),
    ("POST", "/external_provider/api_key/update", Needs(ProviderKeysWrite), Json),
    ("POST", "/external_provider/api_key/delete", Needs(ProviderKeysWrite), Json),
    ("GET", "/api-keys", Needs(ApiKeysRead), Nothing),
    ("POST", "/api-keys", Needs(ApiKeysWrite), Json),
    ("GET", "/api-keys/{id}", Needs(ApiKeysRead), Nothing),
    ("PATCH", "/api-keys/{id}", Needs(ApiKeysWrite), Json),
    ("DELETE", "/api-keys/{id}", Needs(ApiKeysWrite), Nothing),
    ("POST", "/auth/api/v1/oauth/token", Open, Form),
    ("POST", "/auth/api/v1/oauth/clientcredentials/{domain}/token", Open, Json),
    ("GET", "/local-user-store/api/v1/api-clients", Needs(ApiClientsRead), Nothing),
    ("POST", "/local-user-store/api/v1/api-clients", Needs(ApiClientsWrite), Json),
    ("POST", "/local-user-store/api/v1/api-clients/search", Needs(ApiClientsRead), Json),
    ("GET", "/local-user-store/api/v1/api-clients/{api_client_id}", Needs(ApiClientsRead), Nothing),
    ("PUT", "/local-user-store/api/v1/api-clients/{api_client_id}", Needs(ApiClientsWrite), Json),
    ("DELETE", "/local-user-store/api/v1/api-clients/{api_client_id}", Needs(ApiClientsWrite), Nothing),
    ("POST", "/local-user-store/api/v1/api-clients/{api_client_id}/rotate", Needs(ApiClientsWrite), Json),
    ("POST", "/api/v1/token", Open, Json),
    ("GET", "/api/v1/user-applications", NeedsUser(UserApplicationsOwn), Nothing),
    ("POST", "/api/v1/user-applications", NeedsUser(UserApplicationsOwn), Json),
    ("GET", "/api/v1/user-applications/{appId}", NeedsUser(UserApplicationsOwn), Nothing),
    ("DELETE", "/api/v1/user-applications/{appId}", NeedsUser(UserApplicationsOwn), Nothing),
    ("POST", "/api/v1/user-applications/{appId}/secret", NeedsUser(UserApplicationsOwn), Nothing),
    ("GET", "/api/v1/administration/user-applications", Needs(UserApplicationsAdmin), Nothing),
    ("DELETE", "/api/v1/administration/user-applications/{appId}", Needs(UserApplicationsAdmin), Nothing),
];

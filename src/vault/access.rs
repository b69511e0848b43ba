//! Who may do what: one pure function, passed by every handler and every job.

use crate::credentials::AnyState;
use crate::credentials::user;
use crate::kernel::{Permission, PermissionSet, Permits, Refusal, RoleRef, StreamId, TenantId};
use crate::views::{Entry, Views};

/// The rule of permissions that a credential holds itself.
const OWN: &str = "own permission";

/// Some permissions, and by which rule they are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// `role:` and the role's name, or that the credential holds them itself.
    pub rule: String,
    /// The permissions.
    pub permissions: PermissionSet,
}

/// Who asks, as the credential proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The credential's stream; all zero for the vault itself.
    pub id: StreamId,
    /// The user as whom it acts.
    pub user: Option<StreamId>,
    /// Whose things it may touch: from the credential only.
    pub tenant: TenantId,
    /// Whether that is the first tenant, whose principals may run the vault.
    pub is_home: bool,
    /// What it holds, by rule.
    pub holds: Vec<Hold>,
    /// Application ids that it may name; empty: any.
    pub app_ids: Vec<String>,
}

impl Principal {
    /// The vault itself, within a tenant: what no caller asked for.
    #[must_use]
    pub const fn vault(tenant: TenantId) -> Self {
        Self { id: StreamId([0; 16]), user: None, tenant, is_home: false, holds: Vec::new(), app_ids: Vec::new() }
    }

    /// All that it holds.
    #[must_use]
    pub fn held(&self) -> PermissionSet {
        self.within_tenant(self.holds.iter().fold(PermissionSet::default(), |all, hold| all.and(hold.permissions)))
    }

    /// What of some permissions counts in its tenant: those that concern the whole vault count in the first one only.
    #[must_use]
    pub fn within_tenant(&self, permissions: PermissionSet) -> PermissionSet {
        if self.is_home { permissions } else { permissions.without(PermissionSet::VAULT_WIDE) }
    }

    /// Nobody gives what they do not hold.
    pub fn may_give(&self, permissions: PermissionSet) -> Result<(), Refusal> {
        let lacks = self.within_tenant(permissions).without(self.held());
        let first = lacks.iter().next();
        first.map_or(Ok(()), |permission| Err(Refusal::Forbidden { permission: permission.name() }))
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
pub fn authorize<'a>(principal: &'a Principal, permission: Permission, resource: Resource<'_>) -> Result<&'a str, Refusal> {
    if resource.tenant != principal.tenant {
        return Err(Refusal::NotFound);
    }
    if resource.app.is_some_and(|app| !principal.app_ids.is_empty() && !principal.app_ids.iter().any(|own| own == app)) {
        return Err(Refusal::NotFound);
    }
    let counts = principal.is_home || !permission.is_vault_wide();
    let hold = principal.holds.iter().find(|hold| counts && hold.permissions.holds(permission));
    hold.map(|hold| hold.rule.as_str()).ok_or(Refusal::Forbidden { permission: permission.name() })
}

/// What roles and permissions of a tenant's thing come down to, by rule. Roles that are gone give nothing.
#[must_use]
pub fn holds(views: &Views, tenant: TenantId, roles: &[RoleRef], permits: Option<&Permits>) -> Vec<Hold> {
    let of_roles = roles.iter().filter_map(|role| views.role(tenant, *role));
    let mut holds: Vec<Hold> = of_roles.map(|(name, permissions)| Hold { rule: format!("role:{name}"), permissions }).collect();
    if let Some(permits) = permits.filter(|permits| !permits.own.is_empty()) {
        holds.push(Hold { rule: OWN.into(), permissions: permits.own });
    }
    holds
}

/// What a thing may do: a user by its roles, a credential by its own and its user's.
#[must_use]
pub fn permissions_of(views: &Views, entry: &Entry) -> PermissionSet {
    let sum = |holds: Vec<Hold>| holds.iter().fold(PermissionSet::default(), |all, hold| all.and(hold.permissions));
    if let AnyState::User(user::State::Live(user)) = &entry.state {
        return sum(holds(views, entry.tenant, &user.profile.roles, None));
    }
    let Some(bearer) = entry.state.bearer() else { return PermissionSet::default() };
    let own = sum(holds(views, entry.tenant, bearer.roles, bearer.permits));
    match bearer.user.and_then(|user| views.thing(user)).map(|entry| &entry.state) {
        Some(AnyState::User(user::State::Live(user))) => own.and(sum(holds(views, entry.tenant, &user.profile.roles, None))),
        _ => own,
    }
}

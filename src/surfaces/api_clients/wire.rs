//! What callers send. The vendor's clients send whole objects back, so that members that are not known here are passed over.

use serde::Deserialize;
use utoipa::ToSchema;

use super::error::Problem;
use crate::kernel::{RoleRef, StreamId};
use crate::web::body::Object;

/// An API client that is made, or takes the place of the present one. Secrets in it change nothing.
#[derive(Deserialize, ToSchema)]
#[schema(as = ApiClientInput)]
pub(super) struct ClientInput {
    /// 1 to 128 characters.
    #[schema(example = "deployer")]
    pub name: String,
    /// All its roles; none when absent or null.
    #[schema(value_type = Option<Vec<RoleInput>>)]
    #[serde(default)]
    roles: Option<Vec<Object<RoleInput>>>,
}

/// A role, by its id; its name is passed over.
#[derive(Deserialize, ToSchema)]
#[schema(as = ApiClientRoleInput)]
pub(super) struct RoleInput {
    /// Its id.
    #[schema(example = "6b65796c-6564-6765-722f-726561646572")]
    id: String,
}

impl ClientInput {
    /// The roles, each once, in the order in which they were given.
    pub fn roles(&self) -> Result<Vec<RoleRef>, Problem> {
        let mut roles: Vec<RoleRef> = Vec::new();
        for (place, Object(role)) in self.roles.iter().flatten().enumerate() {
            let id = StreamId::of_client(&role.id);
            let role = RoleRef::of(id.ok_or_else(|| Problem::invalid(&format!("roles[{place}].id"), format!("roles[{place}].id: is no id of a role")))?);
            if !roles.contains(&role) {
                roles.push(role);
            }
        }
        Ok(roles)
    }
}

/// What is looked for. Absent, null and empty members are as if they had not been sent.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = ApiClientSearch)]
pub(super) struct Search {
    /// Words, apart by commas or blanks: each must be a part of the name, in any letter case.
    #[schema(example = "deploy,prod")]
    pub keywords: Option<String>,
    /// As of the list.
    pub sortkey: Option<String>,
    /// `ASC` or `DESC`, in any letter case.
    pub sortdir: Option<String>,
    /// How many to pass over.
    pub offset: Option<u64>,
    /// Items of a page, 1 to 200; 50 when absent.
    pub limit: Option<u64>,
}

/// How the secrets are rotated.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = ApiClientRotation)]
pub(super) struct Rotation {
    /// For so many seconds the earlier secrets work beside the new ones: 0 (the default) to 2,592,000. With 0, they end at once.
    #[schema(example = 3600)]
    pub grace_seconds: u64,
}

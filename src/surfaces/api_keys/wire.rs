//! What callers send. The vendor's page spells two members in two ways; both are taken, one at a time.

use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use crate::credentials::To;
use crate::credentials::api_key::{Changes, Grant};
use crate::credentials::{AnyState, Kind, organization};
use crate::kernel::{Position, Refusal, StreamId, TenantId};
use crate::views::Views;

/// A key to be made.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = RecApiKeyToMake)]
pub(super) struct NewKey {
    /// Its name: 1 to 128 characters.
    #[schema(example = "backup")]
    name: String,
    /// Whom to tell about it; needed, under this name or as `email`. May be empty.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false, example = json!(["ops@example.com"]))]
    emails: Option<Vec<String>>,
    /// The same as `emails`.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    email: Option<Vec<String>>,
    /// Numbers of the organisations that it serves; needed, under this name or as `organizationIds`. May be empty.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false, example = json!([]))]
    organizations_ids: Option<Vec<u64>>,
    /// The same as `organizationsIds`.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    organization_ids: Option<Vec<u64>>,
    /// What it may do: `accessFtp` (needs a `dnsName`), `editLabels`, permissions of this vault that the caller holds, and names that begin with
    /// `custom:`.
    #[schema(example = json!(["editLabels"]))]
    permissions: Vec<String>,
    /// SFTP user name; no other key has it.
    #[schema(example = "rec-01")]
    dns_name: Option<String>,
    /// Labels.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    labels: Option<Vec<String>>,
}

/// What changes about a key; absent members stay as they are.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::option_option, reason = "absent, removed and set are three things, as in `Changes`")]
#[schema(as = RecApiKeyChanges)]
pub(super) struct KeyChanges {
    /// Whether it is refused for now.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    blocked: Option<bool>,
    /// SFTP user name; `null` takes it away.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(value_type = Option<String>)]
    dns_name: Option<Option<String>>,
    /// Whom to tell about it.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    emails: Option<Vec<String>>,
    /// The same as `emails`.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    email: Option<Vec<String>>,
    /// Labels.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false, example = json!(["night"]))]
    labels: Option<Vec<String>>,
    /// Its name.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    name: Option<String>,
    /// Numbers of the organisations that it serves.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    organizations_ids: Option<Vec<u64>>,
    /// The same as `organizationsIds`.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    organization_ids: Option<Vec<u64>>,
    /// What it may do.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    permissions: Option<Vec<String>>,
    /// A new token, shown in the answer; every earlier one stops at once.
    #[serde(default)]
    pub refresh_api_token: bool,
}

/// Takes a member that is there as it is: where `null` means nothing, it is no value.
fn not_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// A member under either of its names.
fn either<T>(one: Option<T>, other: Option<T>, names: (&str, &str)) -> Result<Option<T>, Refusal> {
    match (one, other) {
        (Some(_), Some(_)) => Err(Refusal::invalid(names.1, format!("is the same as {}: give one of them", names.0))),
        (one, other) => Ok(one.or(other)),
    }
}

const EMAILS: (&str, &str) = ("emails", "email");
const ORGANIZATIONS: (&str, &str) = ("organizationsIds", "organizationIds");

/// Organisations by number, each once.
pub(super) fn organizations(views: &Views, tenant: TenantId, numbers: &[u64]) -> Result<Vec<StreamId>, Refusal> {
    let mut ids = Vec::new();
    for (place, number) in numbers.iter().enumerate() {
        let found = views.numbered(tenant, Kind::Organization, Position(*number));
        let there = found.filter(|(_, entry)| matches!(entry.state, AnyState::Organization(organization::State::Live(_))));
        let (id, _) = there.ok_or_else(|| Refusal::invalid(format!("organizations[{place}]"), "is no organisation of this tenant"))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

impl NewKey {
    /// What is granted, and the organisations by number. The key may name the applications that its maker may name.
    pub fn parts(self, app_ids: &[String]) -> Result<(Grant, Vec<u64>), Refusal> {
        let missing = |name: &str| Refusal::invalid(name, "is missing");
        let emails = either(self.emails, self.email, EMAILS)?.ok_or_else(|| missing(EMAILS.0))?;
        let organizations = either(self.organizations_ids, self.organization_ids, ORGANIZATIONS)?.ok_or_else(|| missing(ORGANIZATIONS.0))?;
        let grant = Grant {
            name: self.name,
            owner: None,
            permissions: self.permissions,
            emails,
            organizations: Vec::new(),
            labels: self.labels.unwrap_or_default(),
            dns_name: self.dns_name,
            app_ids: app_ids.to_vec(),
            expires_at: None,
        };
        Ok((grant, organizations))
    }
}

impl KeyChanges {
    /// What changes, and the organisations by number.
    pub fn parts(self) -> Result<(Changes, Option<Vec<u64>>), Refusal> {
        let changes = Changes {
            name: self.name,
            blocked: self.blocked,
            permissions: self.permissions,
            emails: either(self.emails, self.email, EMAILS)?,
            labels: self.labels,
            dns_name: self.dns_name.map(|to| To { to }),
            ..Changes::default()
        };
        Ok((changes, either(self.organizations_ids, self.organization_ids, ORGANIZATIONS)?))
    }
}

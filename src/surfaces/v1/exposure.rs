//! The exposure report: who could read a version of a credential, who did, what came of it, and what to change.

use axum::response::Response;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::caller::{Caller, Named, answer};
use super::lineage::{TokenOrigin, origin};
use crate::credentials::Meta;
use crate::kernel::{Permission, Position, Refusal, StreamId, Version};
use crate::vault::exposure::{self, Brought, Deed, Holder, Span, Todo, Wanted};
use crate::web::problem::{Errors, Problem};

/// What there is to say of a version of a credential.
#[derive(Serialize, ToSchema)]
struct Exposure {
    /// The credential.
    credential: String,
    /// Its kind.
    #[schema(example = "connection")]
    kind: &'static str,
    /// The version that brought the secrets.
    version: u64,
    /// The secrets.
    secrets: Vec<ExposedSecret>,
    /// When the first of them came into use.
    #[schema(format = DateTime)]
    in_use_from: String,
    /// When the last of them stopped; absent while one is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    in_use_to: Option<String>,
    /// Who could read the value, use it unseen, or have it sent elsewhere while it was in use; those who could read it first.
    could: Vec<CouldRead>,
    /// Who did, and who put it in or was shown it once; oldest first.
    did: Vec<DidRead>,
    /// Exchanges that presented it, or a token that came of it; oldest first.
    tokens: Vec<TokenOrigin>,
    /// What to change, in this order; empty when nothing of it can work any more.
    rotate: Vec<ToRotate>,
    /// What the log does not tell.
    not_recorded: Vec<&'static str>,
    /// The position that the answer reflects.
    position: u64,
}

/// A secret that was in use.
#[derive(Serialize, ToSchema)]
struct ExposedSecret {
    /// Its name.
    #[schema(example = "refresh_token")]
    name: String,
    /// Keyed hash of the value, where the value is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    /// Names it, where this vault issued it.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Position of the event that brought it.
    position: u64,
    /// Since when it was in use.
    #[schema(format = DateTime)]
    from: String,
    /// When it stopped; absent while it is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    to: Option<String>,
    /// What ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "exchanged")]
    ended_by: Option<String>,
    /// Position of the event that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<u64>,
    /// When it ends by itself, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// Somebody who could.
#[derive(Serialize, ToSchema)]
struct CouldRead {
    /// The user or credential.
    id: String,
    /// Its kind.
    #[schema(example = "user")]
    kind: &'static str,
    /// Its login or name.
    name: String,
    /// The user as whom a credential acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Whether it could read the value itself.
    reads: bool,
    /// When, and by which permissions.
    spans: Vec<HeldSpan>,
}

/// A time through which somebody's permissions stayed the same.
#[derive(Serialize, ToSchema)]
struct HeldSpan {
    /// Since when.
    #[schema(format = DateTime)]
    from: String,
    /// Position of the event since which.
    since: u64,
    /// Until when; absent: to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    to: Option<String>,
    /// Position of the event that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<u64>,
    /// What it held of the permissions that count.
    permissions: Vec<&'static str>,
    /// By which rules.
    rules: Vec<String>,
}

/// Something that was done with a secret.
#[derive(Serialize, ToSchema)]
struct DidRead {
    /// Position of the event that says so.
    position: u64,
    /// When; of several, the last time.
    #[schema(format = DateTime)]
    at: String,
    /// Who: all zero for the vault itself; absent where that is not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    /// `brought`, `revealed`, `exchanged`, `proxied`, `validated` or `used`.
    #[schema(example = "revealed")]
    how: &'static str,
    /// With which of the secrets, as far as that is recorded.
    secrets: Vec<String>,
    /// How often.
    count: u64,
    /// For which connection, where that is another thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<String>,
    /// How it came about.
    meta: Meta,
}

/// Something to change.
#[derive(Serialize, ToSchema)]
struct ToRotate {
    /// What.
    what: String,
    /// Method and path; absent where it is done elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "POST /v1/credentials/0123456789abcdef0123456789abcdef/rotate")]
    call: Option<String>,
}

impl From<Brought> for ExposedSecret {
    fn from(secret: Brought) -> Self {
        Self {
            name: secret.name,
            fingerprint: secret.fingerprint.map(|fingerprint| fingerprint.to_string()),
            id: secret.id.map(|id| id.to_string()),
            position: secret.position.0,
            from: secret.at.to_string(),
            to: secret.stopped.as_ref().map(|stopped| stopped.at.to_string()),
            ended_at: secret.stopped.as_ref().map(|stopped| stopped.position.0),
            ended_by: secret.stopped.map(|stopped| stopped.by),
            expires_at: secret.expires_at.map(|at| at.to_string()),
        }
    }
}

impl From<Holder> for CouldRead {
    fn from(holder: Holder) -> Self {
        Self {
            id: holder.id.to_string(),
            kind: holder.kind,
            user: holder.user.map(|user| user.to_string()),
            reads: holder.reads(),
            name: holder.name,
            spans: holder.spans.into_iter().map(HeldSpan::from).collect(),
        }
    }
}

impl From<Span> for HeldSpan {
    fn from(span: Span) -> Self {
        Self {
            from: span.from.to_string(),
            since: span.since.0,
            to: span.to.map(|to| to.to_string()),
            ended_by: span.ended_by.map(|by| by.0),
            permissions: span.permissions.iter().map(Permission::name).collect(),
            rules: span.rules.into_iter().collect(),
        }
    }
}

impl From<Deed> for DidRead {
    fn from(deed: Deed) -> Self {
        Self {
            position: deed.position.0,
            at: deed.at.to_string(),
            actor: deed.actor.map(|actor| actor.to_string()),
            how: deed.how.name(),
            secrets: deed.secrets,
            count: deed.count,
            connection: deed.connection.map(|connection| connection.to_string()),
            meta: deed.meta,
        }
    }
}

/// Of which version, and which secret.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents the parameters that `Caller::params` reads")]
pub(super) struct Which {
    /// The version of the credential that brought the secret, as its `secrets` and its history tell it; the latest with a secret in use when absent.
    version: Option<u64>,
    /// The secret, such as `refresh_token`; all that the version brought when absent.
    name: Option<String>,
}

/// Get a credential's exposure
///
/// For one version of a credential: when it was in use, who could read or use it at any time of that, who did, which tokens came of it, and what to
/// change, in order. `not_recorded` says what the log does not tell. A long past is looked through one such request at a time (503 otherwise). Needs
/// `audit:read` and `history:read`.
#[utoipa::path(get, path = "/v1/credentials/{id}/exposure", operation_id = "credentials_exposure", tag = "Audit", params(("id" = String, Path), Which, super::log::AsOfParams), responses((status = 200, body = Exposure), Errors))]
pub(super) async fn get(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    caller.may(Permission::AuditRead)?;
    caller.may(Permission::HistoryRead)?;
    let params = caller.params(&["version", "name"])?;
    let position: Position = caller.position(&params).await?;
    let version = params.get("version").map(|text| text.parse().map_err(|_| Problem::invalid("version: takes a number, such as 2"))).transpose()?;
    let wanted = Wanted { version: version.map(Version), name: params.get("name").map(str::to_owned) };
    let id: StreamId = id.parse().map_err(|_| Refusal::NotFound)?;
    let found: exposure::Exposure = caller.vault.exposure(&caller.principal, id, &wanted, position).await?.map_err(|_| Problem::busy())?;
    let shown = Exposure {
        credential: id.to_string(),
        kind: found.kind,
        version: found.version.0,
        secrets: found.secrets.into_iter().map(ExposedSecret::from).collect(),
        in_use_from: found.window.from.1.to_string(),
        in_use_to: found.window.to.map(|(_, at)| at.to_string()),
        could: found.could.into_iter().map(CouldRead::from).collect(),
        did: found.did.into_iter().map(DidRead::from).collect(),
        tokens: found.tokens.into_iter().map(origin).collect(),
        rotate: found.rotate.into_iter().map(|Todo { what, call }| ToRotate { what, call }).collect(),
        not_recorded: found.unknown,
        position: position.0,
    };
    Ok(answer(position, &shown))
}

//! Shredding: first what would die is shown; a second request that names what was shown carries it out. It cannot be undone.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, answer};
use crate::kernel::{Permission, Refusal, StreamId, Version};
use crate::vault::{Confirmed, Doomed, Preview, Target};
use crate::web::body::read_json;
use crate::web::limits::BODY;
use crate::web::problem::{Errors, Problem};

/// What is to be shredded, and for the second request, why and what was shown. One of: `thing`; `app` and `consumer`; `credential` and `secret`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ShredRequest {
    /// A thing by its id: all that is known of it.
    #[serde(default)]
    thing: Option<String>,
    /// The application of a consumer.
    #[serde(default)]
    app: Option<String>,
    /// A consumer by its id in the application, with all of its connections, deleted ones too.
    #[serde(default)]
    consumer: Option<String>,
    /// The credential of a secret, by its id.
    #[serde(default)]
    credential: Option<String>,
    /// The name of a secret of the credential.
    #[serde(default)]
    #[schema(example = "access_token")]
    secret: Option<String>,
    /// Which version of the secret; that in use when absent.
    #[serde(default)]
    version: Option<u64>,
    /// Why: 1 to 512 bytes. It stands in the event. Needed by the second request.
    #[serde(default)]
    #[schema(example = "the customer asked for it")]
    reason: Option<String>,
    /// The `id` of a preview: carries out what it showed.
    #[serde(default)]
    preview: Option<String>,
    /// The word that a preview gave as `confirm`: carries it out, however things stand by now.
    #[serde(default)]
    confirm: Option<String>,
}

/// What would die, or has died.
#[derive(Serialize, ToSchema)]
pub(super) struct Shredding {
    /// Whether it is done: no copy of the keys is left in this vault.
    shredded: bool,
    /// Names what is shown here: give it as `preview` to carry it out.
    id: String,
    /// Or give this word as `confirm`.
    confirm: String,
    /// What is done first, and that it cannot be undone.
    notice: &'static str,
    /// The things, whole.
    things: Vec<DoomedThing>,
    /// The secret, when only that dies.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<DoomedSecret>,
    /// The position that the answer reflects.
    position: u64,
}

/// A thing.
#[derive(Serialize, ToSchema)]
struct DoomedThing {
    /// Its id.
    id: String,
    /// Its kind.
    #[schema(example = "connection")]
    kind: &'static str,
    /// Whether it is in use: it is deleted first.
    live: bool,
    /// How many events tell of it: of each only the clear header is left.
    events: u64,
    /// How many secrets it has and had that can still be opened.
    secrets: u64,
}

/// A secret.
#[derive(Serialize, ToSchema)]
struct DoomedSecret {
    /// Its name.
    name: String,
    /// Position of the event that brought it.
    event: u64,
}

const NOTICE: &str = "this cannot be undone, by nothing at all; what is in use is deleted first";

impl From<Doomed> for DoomedThing {
    fn from(thing: Doomed) -> Self {
        Self { id: thing.id.to_string(), kind: thing.kind, live: thing.live, events: thing.events, secrets: thing.secrets }
    }
}

fn shown(preview: Preview, shredded: bool, position: u64) -> Shredding {
    Shredding {
        shredded,
        id: preview.id,
        confirm: preview.confirm,
        notice: NOTICE,
        things: preview.things.into_iter().map(DoomedThing::from).collect(),
        secret: preview.secret.map(|secret| DoomedSecret { name: secret.name, event: secret.position.0 }),
        position,
    }
}

fn id(text: &str) -> Result<StreamId, Problem> {
    Ok(text.parse().map_err(|_| Refusal::NotFound)?)
}

impl ShredRequest {
    fn target(&self) -> Result<Target, Problem> {
        match (&self.thing, &self.app, &self.consumer, &self.credential, &self.secret, self.version) {
            (Some(thing), None, None, None, None, None) => Ok(Target::Thing(id(thing)?)),
            (None, Some(app), Some(consumer), None, None, None) => Ok(Target::Consumer { app: app.clone(), consumer: consumer.clone() }),
            (None, None, None, Some(credential), Some(name), version) => {
                Ok(Target::Secret { credential: id(credential)?, name: name.clone(), version: version.map(Version) })
            }
            _ => Err(Problem::invalid("takes `thing`, or `app` and `consumer`, or `credential` and `secret` (and `version`)")),
        }
    }
}

/// Shred a secret, a thing or a consumer
///
/// Without `preview` and `confirm` nothing happens: the answer shows what would die. With one of them, the event is written, every key is destroyed
/// in both copies of the keyring, and what was kept in memory and in the snapshot is dropped before the answer goes out. What is in use is deleted
/// first. The events stay, and verify; of each only the clear header can be read. Needs `shred:apply`.
#[utoipa::path(post, path = "/v1/shred", operation_id = "shred", tag = "Shredding", request_body = ShredRequest, responses((status = 200, body = Shredding), Errors))]
pub(super) async fn shred(caller: Caller, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ShredApply)?;
    let request = read_json::<ShredRequest>(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let target = request.target()?;
    let confirmed = match (request.preview, request.confirm) {
        (None, None) => {
            let preview = caller.vault.preview_shred(&caller.principal, &target).await?;
            let position = caller.vault.views().position();
            return Ok(answer(position, &shown(preview, false, position.0)));
        }
        (Some(preview), None) => Confirmed::Preview(preview),
        (None, Some(word)) => Confirmed::Word(word),
        _ => return Err(Problem::invalid("takes either `preview` or `confirm`")),
    };
    let reason = request.reason.ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "invalid", "reason: is needed to shred"))?;
    let done = caller.vault.apply_shred(&caller.principal, meta, &target, &reason, &confirmed).await?;
    let position = caller.vault.views().position();
    Ok(answer(position, &shown(done, true, position.0)))
}

//! Sessions: what a consumer's page shows in place of a token. A session sees and changes one consumer's connections, as far as it was made to.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::super::Front;
use super::browser::redirect;
use super::caller::Caller;
use super::error::{Errors, Problem};
use super::params::{Application, Consumer};
use super::render::{Envelope, answer};
use crate::kernel::{Json, Moment, Permission, Refusal};
use crate::vault::plans;
use crate::web::body::{Object, read_json};
use crate::web::limits::BODY;

/// The longest session, in seconds: a week.
const MAX_SECONDS: i64 = 7 * 24 * 3600;

/// What a session is to be.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Session)]
pub(super) struct SessionInput {
    /// Kept as the consumer's metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ConsumerMetadata>)]
    consumer_metadata: Option<Object<ConsumerMetadata>>,
    /// Where the page sends the consumer in the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect_uri: Option<String>,
    /// What the page shows and permits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SessionSettings>)]
    settings: Option<Object<SessionSettings>>,
    /// How the page looks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SessionTheme>)]
    theme: Option<Object<SessionTheme>>,
    /// Free data for the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    custom_consumer_settings: Option<Map<String, Value>>,
}

/// Who the consumer is.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SessionConsumerMetadata)]
struct ConsumerMetadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    account_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
}

/// What a session's page shows and permits. Here `unified_apis`, `session_length` and `allow_actions` are kept to; the rest is the page's.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SessionSettings {
    /// Only these API families; all when empty or absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    unified_apis: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hide_resource_settings: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sandbox_mode: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    isolation_mode: Option<bool>,
    /// Such as `30m`, `1h` (when absent), `1d`; at most `1w`.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_length: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    show_logs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    show_suggestions: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    show_sidebar: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auto_redirect: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hide_guides: Option<bool>,
    /// Only these of `delete`, `disconnect`, `reauthorize`, `disable`; all when absent, none when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    allow_actions: Option<Vec<Action>>,
}

/// What a session may permit.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = SessionAction)]
enum Action {
    Delete,
    Disconnect,
    Reauthorize,
    Disable,
}

/// How a session's page looks.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SessionTheme {
    #[serde(skip_serializing_if = "Option::is_none")]
    favicon: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logo: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_color: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sidepanel_background_color: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sidepanel_text_color: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vault_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    privacy_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms_url: Option<String>,
}

/// A session.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionView {
    /// Where the consumer is sent.
    session_uri: String,
    /// The bearer token of the consumer's page, which sends `x-apideck-auth-type: JWT` along.
    session_token: String,
}

/// Seconds of a length such as `30m`.
fn seconds(text: &str) -> Option<i64> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        'w' => MAX_SECONDS,
        _ => return None,
    };
    let number = text.get(..text.len() - 1).filter(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))?;
    number.parse::<i64>().ok()?.checked_mul(unit).filter(|seconds| (60..=MAX_SECONDS).contains(seconds))
}

/// Create a session
///
/// For a page where the consumer manages its own connections; the consumer is made if need be. The session ends with its time, with the token that
/// made it, and with the consumer.
#[utoipa::path(post, path = "/vault/sessions", operation_id = "vault_sessions_create", tag = "Authorization", params(Application, Consumer), request_body = Option<SessionInput>, responses((status = 200, body = Envelope<SessionView>), Errors))]
pub(super) async fn create(State(front): State<Front>, caller: Caller, body: Body) -> Result<Response, Problem> {
    caller.no_session()?;
    caller.may(Permission::ConsumersWrite)?;
    let meta = caller.may(Permission::ConnectionsExchange)?;
    let consumer = caller.consumer()?.to_owned();
    let input: SessionInput = read_json(body, BODY).await?.unwrap_or_default();
    redirect(&front, input.redirect_uri.as_deref())?;
    let length = input.settings.as_ref().and_then(|Object(settings)| settings.session_length.as_deref()).unwrap_or("1h");
    let seconds = seconds(length).ok_or_else(|| Problem::invalid("settings.session_length: is a number and s, m, h, d or w: from 60s to 1w"))?;
    let Ok(Value::Object(more)) = serde_json::to_value(&input) else { return Err(Problem::invalid("the session cannot be written")) };
    let metadata = more.get("consumer_metadata").map(|metadata| Some(Json::from(metadata)));
    let (vault, tenant, app) = (&caller.vault, caller.principal.tenant, caller.app.as_str());
    let until = |now: Moment| now.plus_seconds(seconds);
    let command = caller.command(meta, "sessions", &[])?;
    let command = crate::vault::Command { idempotency: None, ..command };
    let opened = vault.execute(&command, |given| plans::open_session(given, tenant, app, &consumer, metadata.clone(), until(given.now))).await?;
    let stream = opened.views.consumer(tenant, app, &consumer).ok_or(Refusal::NotFound)?;
    let token = vault.mint_session(&caller.principal, app, (&consumer, stream), seconds, more)?;
    let session_token = String::from_utf8_lossy(token.expose()).into_owned();
    let session_uri = format!("{}/session/{session_token}", caller.exchanges.public_url());
    Ok(answer(&opened.views, SessionView { session_uri, session_token }))
}

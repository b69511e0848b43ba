//! Answers as the vendor's clients read them: absent members are left out, times are numbers of milliseconds, secrets are masks.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::caller::Caller;
use super::consent::{self, ConsentView};
use crate::credentials::AnyState;
use crate::credentials::connection::{self as kind, Connection, Key, MASK, Phase, State};
use crate::credentials::connector::{AuthType, Connector, FieldOption, FormField, GrantType};
use crate::credentials::integration::{Supply, standing};
use crate::credentials::settings::holds;
use crate::kernel::{Json as Free, Moment, Permission, TenantId, Version};
use crate::vault::access::{Resource, authorize};
use crate::views::Views;
use crate::web::caller::etag;

/// The envelope of every answer that is no error.
#[derive(Serialize, ToSchema)]
pub(super) struct Envelope<T> {
    /// The HTTP status.
    #[schema(example = 200)]
    status_code: u16,
    /// The status in words.
    #[schema(example = "OK")]
    status: &'static str,
    /// What was asked for.
    data: T,
}

/// A connection, as the vendor's `Connection`: the connector, and the consumer's record if there is one.
#[derive(Serialize, ToSchema)]
#[schema(as = Connection)]
pub(super) struct ConnectionView {
    /// API family and service.
    #[schema(example = "crm+pipedrive")]
    id: String,
    /// The service.
    service_id: String,
    /// Shown.
    name: String,
    /// One line about the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    tag_line: Option<String>,
    /// The API family.
    unified_api: String,
    /// Home page of the service.
    website: String,
    /// `available`, `added`, `authorized`, `callable` or `invalid`.
    #[schema(example = "callable")]
    state: &'static str,
    /// `disabled` or `needs_configuration` by the tenant's integration with the service, or for want of one, else `configured`.
    #[schema(example = "configured")]
    integration_state: &'static str,
    /// How the service lets callers in.
    auth_type: AuthType,
    /// The grant that begins a connection; only for OAuth.
    #[serde(skip_serializing_if = "Option::is_none")]
    oauth_grant_type: Option<GrantType>,
    /// `live`, `upcoming` or `requested`.
    status: String,
    /// Whether it may be used.
    enabled: bool,
    /// Where a user authorizes it: `&redirect_uri=` and `&nonce=` may be added. Only for services that users authorize, and only for callers who
    /// hold `connections:exchange`; it works for a day.
    authorize_url: Option<String>,
    /// Where a user revokes it; only when there is something to revoke.
    revoke_url: Option<String>,
    /// Entered values that are no secrets.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<BTreeMap<String, Value>>,
    /// Free data of the caller.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Value>,
    /// What the service asks for, with the values that were entered; secrets as a mask.
    form_fields: Vec<FieldView>,
    /// Defaults per resource.
    #[schema(value_type = Vec<Object>)]
    configuration: Value,
    /// Always empty.
    configurable_resources: Vec<String>,
    /// Always empty.
    resource_schema_support: Vec<String>,
    /// Always empty.
    resource_settings_support: Vec<String>,
    /// Whether entered credentials can be checked at the service.
    validation_support: bool,
    /// Settings that must be there before an exchange, beside those that the tenant's integration supplies.
    settings_required_for_authorization: Vec<String>,
    /// Custom mappings.
    #[schema(value_type = Vec<Object>)]
    custom_mappings: Value,
    /// `ok`, `degraded`, `needs_auth`, `needs_consent`, `missing_settings`, `pending_confirmation`, `pending_refresh` or `revoked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<&'static str>,
    /// When credentials that the service refuses are removed, in milliseconds since 1970: 48 hours after it first refused them.
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials_expire_at: Option<i64>,
    /// When the latest exchange failed, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_refresh_failed_at: Option<i64>,
    /// When the service was last not reached by a call that was passed through, in milliseconds since 1970; only as long as none was answered since.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_downstream_error_at: Option<i64>,
    /// Where consent stands: `implicit`, `granted`, `denied` or `revoked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    consent_state: Option<&'static str>,
    /// The records of consent, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    consents: Vec<ConsentView>,
    /// The latest record of consent.
    #[serde(skip_serializing_if = "Option::is_none")]
    latest_consent: Option<ConsentView>,
    /// Since when, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<i64>,
    /// The latest change, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<i64>,
}

/// A setting that the service asks for.
#[derive(Serialize, ToSchema)]
#[schema(as = ConnectionFormField)]
#[expect(clippy::struct_excessive_bools, reason = "the shape is the vendor's")]
struct FieldView {
    /// The setting's id.
    id: String,
    /// Shown beside it.
    label: String,
    /// What was entered; of a secret the mask, which changes nothing when it is sent back.
    value: Value,
    /// An example.
    placeholder: String,
    /// Whether `value` is a mask.
    mask: bool,
    /// Of the input.
    #[serde(rename = "type")]
    field_type: String,
    /// Whether the connection needs it.
    required: bool,
    /// Explains it.
    description: String,
    /// Always false.
    disabled: bool,
    /// Always false.
    custom_field: bool,
    /// Whether the tenant's integration supplies it, so that nothing need be entered.
    hidden: bool,
    /// Whether its value is a secret.
    sensitive: bool,
    /// What may be chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<Vec<FieldOption>>,
}

/// Whether a connection's credentials are complete.
#[derive(Serialize, ToSchema)]
pub(super) struct ValidateState {
    /// API family and service.
    id: String,
    /// Where it stands.
    state: &'static str,
}

/// `{status_code, status, data}` with the position that the answer reflects.
pub(super) fn answer<T: Serialize>(views: &Views, data: T) -> Response {
    whole(views, &Envelope { status_code: 200, status: "OK", data })
}

/// A whole body with the position that the answer reflects.
pub(super) fn whole(views: &Views, body: &impl Serialize) -> Response {
    let mut response = (StatusCode::OK, Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("keyledger-position", HeaderValue::from(views.position().0));
    response
}

/// One connection, with its tag; of a resource, with its configuration only.
pub(super) fn configured(caller: &Caller, views: &Views, key: &Key, resource: Option<&str>) -> Option<Response> {
    let tenant = caller.principal.tenant;
    let (_, connector) = views.connector(tenant, &key.unified_api, &key.service_id)?;
    let found = find(views, tenant, key);
    let live = found.map(|(live, _)| live);
    let mut shown = connection(views, tenant, connector, live, links(caller, connector, live, key));
    if let (Some(resource), Value::Array(all)) = (resource, &mut shown.configuration) {
        all.retain(|one| one.get("resource").and_then(Value::as_str) == Some(resource));
    }
    let mut response = answer(views, shown);
    response.headers_mut().insert(header::ETAG, etag(found.map_or(Version::ZERO, |(_, version)| version)));
    Some(response)
}

/// Where a user authorizes a connection, and where it is revoked.
#[derive(Default)]
pub(super) struct Links {
    authorize: Option<String>,
    revoke: Option<String>,
}

/// The links of a connection, for a caller who might exchange it as well: whoever follows one acts as that caller. The past gives none.
pub(super) fn links(caller: &Caller, connector: &Connector, live: Option<&Connection>, key: &Key) -> Links {
    let by_user = connector.oauth.as_ref().is_some_and(|oauth| oauth.grant == GrantType::AuthorizationCode);
    let resource = Resource { tenant: caller.principal.tenant, app: Some(&key.app) };
    if !by_user || caller.asks_for_the_past() || authorize(&caller.principal, Permission::ConnectionsExchange, resource).is_err() {
        return Links::default();
    }
    let state = caller.vault.mint_link(&caller.principal, key);
    let segment = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    let link = |verb: &str| format!("{}/vault/{verb}/{}/{}?state={state}", caller.exchanges.public_url(), segment(&key.service_id), segment(&key.app));
    let held = live.is_some_and(Connection::holds_tokens);
    Links { authorize: (!held || caller.acts("reauthorize")).then(|| link("authorize")), revoke: (held && caller.acts("disconnect")).then(|| link("revoke")) }
}

/// Whether its credentials are complete.
pub(super) fn validated(views: &Views, tenant: TenantId, key: &Key) -> Option<Response> {
    let (_, connector) = views.connector(tenant, &key.unified_api, &key.service_id)?;
    let live = find(views, tenant, key).map(|(live, _)| live);
    let state = state(live.map(|live| views.standing(tenant, connector, live)));
    Some(answer(views, ValidateState { id: id(connector), state }))
}

/// A connection's record, if there is one.
pub(super) fn find<'a>(views: &'a Views, tenant: TenantId, key: &Key) -> Option<(&'a Connection, Version)> {
    let entry = views.thing(views.connection(tenant, key)?)?;
    match &entry.state {
        AnyState::Connection(State::Live(live)) => Some((live, entry.content_version)),
        _ => None,
    }
}

fn id(connector: &Connector) -> String {
    format!("{}+{}", connector.unified_api, connector.service_id)
}

/// The connector, the record if there is one, and what the tenant's integration makes of them.
pub(super) fn connection(views: &Views, tenant: TenantId, connector: &Connector, live: Option<&Connection>, links: Links) -> ConnectionView {
    let integration = views.integration(tenant, &connector.unified_api, &connector.service_id).map(|(_, integration)| integration);
    let supply = Supply::of(integration, connector, live);
    let phase = live.map(|live| views.standing(tenant, connector, live));
    let list = |part: Option<&Free>| part.map_or_else(|| Value::Array(Vec::new()), Free::value);
    let settings = |live: &Connection| live.settings.iter().map(|(id, value)| (id.clone(), value.value())).collect();
    ConnectionView {
        id: id(connector),
        service_id: connector.service_id.clone(),
        name: connector.name.clone(),
        tag_line: connector.tag_line.clone(),
        unified_api: connector.unified_api.clone(),
        website: connector.website.clone(),
        state: state(phase),
        integration_state: standing(integration, connector, live).name(),
        auth_type: connector.auth_type,
        oauth_grant_type: connector.oauth.as_ref().map(|oauth| oauth.grant),
        status: connector.status.clone(),
        enabled: live.is_some_and(|live| live.enabled),
        authorize_url: links.authorize,
        revoke_url: links.revoke,
        settings: live.map(settings),
        metadata: live.map(|live| live.metadata.as_ref().map_or_else(|| Value::Object(serde_json::Map::new()), Free::value)),
        form_fields: connector.form_fields.iter().map(|field| form_field(field, live, supply)).collect(),
        configuration: list(live.and_then(|live| live.configuration.as_ref())),
        configurable_resources: Vec::new(),
        resource_schema_support: Vec::new(),
        resource_settings_support: Vec::new(),
        validation_support: connector.validation,
        settings_required_for_authorization: connector.settings_required_for_authorization.iter().filter(|id| !supply.has(id)).cloned().collect(),
        custom_mappings: list(live.and_then(|live| live.custom_mappings.as_ref())),
        health: live.zip(phase).map(|(live, phase)| kind::health(connector.auth_type, live, phase)),
        credentials_expire_at: live.and_then(Connection::drops_at).map(Moment::millis),
        last_refresh_failed_at: live.and_then(|live| live.failure.as_ref()).map(|failure| failure.at.millis()),
        last_downstream_error_at: live.and_then(|live| live.extra.as_ref()?.downstream_failed_at).map(Moment::millis),
        consent_state: live.map(consent::state),
        consents: live.map(consent::records).unwrap_or_default(),
        latest_consent: live.and_then(|live| consent::records(live).pop()),
        created_at: live.map(|live| live.created_at.millis()),
        updated_at: live.map(|live| live.updated_at.millis()),
    }
}

fn state(phase: Option<Phase>) -> &'static str {
    phase.map_or("available", Phase::name)
}

/// What the tenant supplies is hidden, unless the connection has a value of its own: that is the one that counts, and may be taken away.
fn form_field(field: &FormField, live: Option<&Connection>, supply: Supply<'_>) -> FieldView {
    let fact = live.and_then(|live| live.settings.get(&field.id)).map(Free::value);
    let sealed = live.is_some_and(|live| live.sealed.contains_key(&field.id));
    let (supplied, own) = (supply.has(&field.id), live.is_some_and(|live| holds(&live.settings, &live.sealed, &field.id)));
    FieldView {
        id: field.id.clone(),
        label: field.label.clone(),
        value: if sealed { Value::from(MASK) } else { fact.unwrap_or_else(|| Value::from("")) },
        placeholder: field.placeholder.clone().unwrap_or_default(),
        mask: sealed,
        field_type: field.field_type.clone(),
        required: field.required && !supplied,
        description: field.description.clone().unwrap_or_default(),
        disabled: false,
        custom_field: false,
        hidden: supplied && !own,
        sensitive: field.sensitive,
        options: field.options.clone(),
    }
}

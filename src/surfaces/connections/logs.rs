//! Calls to services, as the vendor's logs tell them: exchanges, and calls that were passed through. They are read from the audit log itself.

use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::caller::Caller;
use super::consumers::PageMeta;
use super::error::{Errors, Problem};
use super::params::{Application, AsOfParam, ConsumerIfAny, ListedLogs};
use super::render::whole;
use crate::credentials::AnyState;
use crate::credentials::connection::{self, Key};
use crate::kernel::{Permission, Position, StreamId};
use crate::vault::{Filter, Shown};
use crate::views::Views;
use crate::web::page;

/// So many pages of the audit log are looked through for one page of logs: a page may be short, and still have a cursor.
const LOOKS: usize = 4;

/// A call to a service, as the vendor's `Log`.
#[derive(Serialize, ToSchema)]
#[schema(as = Log)]
#[expect(clippy::struct_excessive_bools, reason = "the shape is the vendor's")]
struct LogView {
    /// Names it.
    id: String,
    /// Always null.
    parent_id: Option<String>,
    /// Always `REST`.
    api_style: &'static str,
    /// The service's host, where it is known.
    base_url: String,
    /// Always false.
    child_request: bool,
    /// The consumer.
    consumer_id: String,
    /// How long the service took, in milliseconds; 0 where that is not known.
    duration: f64,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    /// The same as `duration`, whole.
    execution: i64,
    /// Always false.
    has_children: bool,
    /// The HTTP method.
    http_method: String,
    /// Always 0.
    latency: f64,
    /// What was done.
    operation: Operation,
    /// Always `/`, or `/token` of an exchange: paths are not kept.
    path: &'static str,
    /// Always false.
    sandbox: bool,
    /// The service.
    service: Service,
    /// Whose request it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    source_ip: Option<String>,
    /// The HTTP status of the service's answer; 0 when none came.
    status_code: u16,
    /// Whether it went well.
    success: bool,
    /// When. Of calls that are told together, the last one.
    #[schema(format = DateTime)]
    timestamp: String,
    /// `vault` for exchanges, `proxy` for calls that were passed through.
    unified_api: &'static str,
}

/// What was done.
#[derive(Serialize, ToSchema)]
#[schema(as = LogOperation)]
struct Operation {
    id: &'static str,
    name: String,
}

/// A service.
#[derive(Serialize, ToSchema)]
#[schema(as = LogService)]
struct Service {
    id: String,
    name: String,
}

/// A page of logs.
#[derive(Serialize, ToSchema)]
pub(super) struct LogPage {
    /// The HTTP status.
    status_code: u16,
    /// The status in words.
    status: &'static str,
    /// Newest first.
    data: Vec<LogView>,
    /// About the page.
    meta: PageMeta,
    /// Always empty.
    links: super::consumers::Links,
}

/// Which logs are wanted.
struct Wanted {
    consumer: Option<String>,
    connector: Option<String>,
    status: Option<u16>,
    without: Vec<String>,
}

impl Wanted {
    fn of(caller: &Caller) -> Result<Self, Problem> {
        let status = caller.query("filter[status_code]").map(|text| text.parse().map_err(|_| Problem::invalid("filter[status_code]: is a number")));
        let without = caller.query("filter[exclude_unified_apis]").unwrap_or_default();
        Ok(Self {
            consumer: caller.consumer_if_given().map(str::to_owned),
            connector: caller.query("filter[connector_id]"),
            status: status.transpose()?,
            without: without.split(',').map(|api| api.trim().to_owned()).collect(),
        })
    }

    fn takes(&self, key: &Key, log: &LogView) -> bool {
        self.consumer.as_ref().is_none_or(|consumer| *consumer == key.consumer)
            && self.connector.as_ref().is_none_or(|id| *id == format!("{}+{}", key.unified_api, key.service_id) || *id == key.service_id)
            && self.status.is_none_or(|status| status == log.status_code)
            && !self.without.iter().any(|api| api == log.unified_api)
    }
}

fn key_of(views: &Views, stream: StreamId) -> Option<&Key> {
    match &views.thing(stream)?.state {
        AnyState::Connection(connection::State::Live(live)) => Some(&live.key),
        AnyState::Connection(connection::State::Deleted { key, .. }) => Some(key),
        _ => None,
    }
}

/// The calls that an event tells of.
fn logs(views: &Views, caller: &Caller, key: &Key, shown: &Shown) -> Vec<LogView> {
    let header = shown.record.header();
    let name = views.connector(caller.principal.tenant, &key.unified_api, &key.service_id).map_or(&key.service_id, |(_, connector)| &connector.name);
    let log = |unified_api, operation: &'static str, method: &str, status: Option<u16>, at: String| LogView {
        id: StreamId(header.event.0).uuid(),
        parent_id: None,
        api_style: "REST",
        base_url: String::new(),
        child_request: false,
        consumer_id: key.consumer.clone(),
        duration: 0.0,
        error_message: None,
        execution: 0,
        has_children: false,
        http_method: method.to_owned(),
        latency: 0.0,
        operation: Operation { id: operation, name: format!("{name}: {operation}") },
        path: if unified_api == "vault" { "/token" } else { "/" },
        sandbox: false,
        service: Service { id: key.service_id.clone(), name: name.clone() },
        source_ip: shown.meta.ip.clone(),
        status_code: status.unwrap_or_default(),
        success: status.is_some_and(|status| status < 400),
        timestamp: at,
        unified_api,
    };
    let number = |value: &Value| value.as_u64().and_then(|status| u16::try_from(status).ok());
    let (facts, at) = (&shown.facts, header.recorded_at.to_string());
    match header.event_type.as_str() {
        "exchanged" => vec![log("vault", "exchange", "POST", Some(200), at)],
        "exchange_failed" | "exchange_lost" => {
            let failed = facts.get("exchange_failed").or_else(|| facts.get("exchange_lost"));
            let status = failed.and_then(|failed| number(failed.get("status")?));
            let cause = failed.and_then(|failed| failed.get("cause")?.as_str().map(str::to_owned));
            vec![LogView { error_message: cause, success: false, ..log("vault", "exchange", "POST", status, at) }]
        }
        "used" => {
            let calls = facts.pointer("/used/calls").and_then(Value::as_array).map_or(&[][..], |calls| calls);
            let one = |calls: &Value| {
                let text = |member: &str| calls.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
                let status = calls.get("status").and_then(number);
                let last = calls.get("last").and_then(Value::as_str).map_or_else(|| at.clone(), str::to_owned);
                LogView { base_url: text("host"), ..log("proxy", "proxy", &text("method"), status, last) }
            };
            calls.iter().map(one).collect()
        }
        _ => Vec::new(),
    }
}

/// List logs
///
/// Calls to services, newest first: exchanges, and calls that were passed through, of which those of a minute are told together. Needs `audit:read`.
#[utoipa::path(get, path = "/vault/logs", operation_id = "logs_list", tag = "Logs", params(Application, ConsumerIfAny, ListedLogs, AsOfParam), responses((status = 200, body = LogPage), Errors))]
pub(super) async fn list(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::AuditRead)?;
    let (limit, wanted) = (page::limit(caller.query("limit").as_deref())?, Wanted::of(&caller)?);
    let current = caller.query("cursor");
    let read = current.as_deref().map(page::read_cursor).transpose()?;
    let from = read.map(|bytes| bytes.try_into().map(u64::from_be_bytes).map_err(|_| Problem::invalid("cursor: is not one of this list"))).transpose()?;
    let views = caller.views().await?;
    let mut next = Some(Position(from.unwrap_or(u64::MAX)).min(views.position()));
    let mut data = Vec::new();
    for _ in 0..LOOKS {
        let Some(to) = next.filter(|_| data.len() < limit) else { break };
        let filter = Filter { kinds: vec![connection::NAME.to_owned()], to, ..Filter::default() };
        let found = caller.vault.events(&caller.principal, &filter, limit).await?;
        next = found.next;
        for shown in &found.events {
            let header = shown.record.header();
            if data.len() >= limit {
                // What one event tells of stays together.
                next = Some(header.position);
                break;
            }
            let Some(key) = key_of(&views, header.stream).filter(|key| key.app == caller.app) else { continue };
            data.extend(logs(&views, &caller, key, shown).into_iter().filter(|log| wanted.takes(key, log)));
        }
    }
    let next = next.map(|next| page::cursor(&next.0.to_be_bytes()));
    let meta = PageMeta::forward(data.len(), current, next);
    Ok(whole(&views, &LogPage { status_code: 200, status: "OK", data, meta, links: super::consumers::Links {} }))
}

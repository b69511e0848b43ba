//! Consumers: whose connections they are.

use axum::body::Body;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::caller::{Caller, Named, is_id};
use super::error::{Errors, Problem};
use super::params::{Application, AsOfParam, ListedConsumers, Repeatable};
use super::render::{Envelope, answer, whole};
use super::wire::{CreateConsumer, UpdateConsumer, part};
use crate::credentials::AnyState;
use crate::credentials::connection;
use crate::credentials::consumer::{Consumer, State};
use crate::kernel::Permission;
use crate::kernel::{Json, Refusal};
use crate::vault::plans;
use crate::views::Views;
use crate::web::body::read_json;
use crate::web::limits::{BODY, ID};
use crate::web::page;

/// A consumer, as the vendor's `Consumer`.
#[derive(Serialize, ToSchema)]
#[schema(as = Consumer)]
struct ConsumerView {
    /// Its id within the application.
    consumer_id: String,
    /// The application.
    application_id: String,
    /// Free data.
    #[schema(value_type = Object)]
    metadata: Value,
    /// Its connections, by API family and service.
    services: Vec<String>,
    /// Always 0: requests are not counted.
    aggregated_request_count: u64,
    /// Always 0: requests are not counted.
    request_counts: Counts,
    /// Since when.
    #[schema(format = DateTime)]
    created: String,
    /// The latest change.
    #[schema(format = DateTime)]
    modified: String,
}

/// Requests by sort.
#[derive(Serialize, ToSchema)]
struct Counts {
    unify: u64,
    proxy: u64,
    vault: u64,
}

/// A consumer that has gone.
#[derive(Serialize, ToSchema)]
struct ConsumerId {
    /// Its id.
    consumer_id: String,
}

/// A page of consumers.
#[derive(Serialize, ToSchema)]
struct ConsumerPage {
    /// The HTTP status.
    status_code: u16,
    /// The status in words.
    status: &'static str,
    /// By id.
    data: Vec<ConsumerView>,
    /// About the page.
    meta: PageMeta,
    /// Always empty.
    links: Links,
}

/// About a page.
#[derive(Serialize, ToSchema)]
pub(super) struct PageMeta {
    /// How many items it holds.
    items_on_page: usize,
    /// Where it stands.
    cursors: Cursors,
}

/// Where a page stands.
#[derive(Serialize, ToSchema)]
struct Cursors {
    /// Always null: pages go forward.
    previous: Option<String>,
    /// What this page was asked for with.
    current: Option<String>,
    /// Give it as `cursor` for the next page; null at the end.
    next: Option<String>,
}

/// Always empty.
#[derive(Serialize, ToSchema)]
pub(super) struct Links {}

impl PageMeta {
    /// Of a page that goes forward only.
    pub fn forward(items_on_page: usize, current: Option<String>, next: Option<String>) -> Self {
        Self { items_on_page, cursors: Cursors { previous: None, current, next } }
    }
}

/// Create a consumer
///
/// Or change its metadata, where there is one.
#[utoipa::path(post, path = "/vault/consumers", operation_id = "consumers_create", tag = "Consumers", params(Application, Repeatable), request_body = CreateConsumer, responses((status = 200, body = Envelope<ConsumerView>), Errors))]
pub(super) async fn create(caller: Caller, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ConsumersWrite)?;
    let given: CreateConsumer = read_json(body, BODY).await?.ok_or_else(|| Problem::invalid("consumer_id: is required"))?;
    if !is_id(&given.consumer_id) {
        return Err(Problem::invalid(format!("consumer_id: takes 1 to {ID} bytes without /")));
    }
    put(&caller, meta, &given.consumer_id, part(given.metadata)).await
}

/// Update a consumer
#[utoipa::path(patch, path = "/vault/consumers/{consumer_id}", operation_id = "consumers_update", tag = "Consumers", params(Application, Repeatable, ("consumer_id" = String, Path, example = "acme")), request_body = UpdateConsumer, responses((status = 200, body = Envelope<ConsumerView>), Errors))]
pub(super) async fn update(caller: Caller, Named(id): Named<String>, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ConsumersWrite)?;
    let given: UpdateConsumer = read_json(body, BODY).await?.unwrap_or_default();
    find(&caller, &caller.vault.views(), &id)?;
    put(&caller, meta, &id, part(given.metadata)).await
}

#[expect(clippy::option_option, reason = "absent, removed and set are three things, as in `Changes`")]
async fn put(caller: &Caller, meta: crate::credentials::Meta, id: &str, metadata: Option<Option<Json>>) -> Result<Response, Problem> {
    let text = metadata.as_ref().map_or("", |metadata| metadata.as_ref().map_or("null", Json::text));
    let (route, request) = (format!("consumers/put/{}/{id}", caller.app), [text.as_bytes()]);
    let command = caller.command(meta, &route, &request)?;
    let done = caller.vault.execute(&command, |given| plans::put_consumer(given, caller.principal.tenant, &caller.app, id, metadata.clone())).await?;
    let shown = render(&done.views, find(caller, &done.views, id)?);
    Ok(answer(&done.views, shown))
}

/// List consumers
///
/// By id, a page at a time.
#[utoipa::path(get, path = "/vault/consumers", operation_id = "consumers_list", tag = "Consumers", params(Application, ListedConsumers, AsOfParam), responses((status = 200, body = ConsumerPage), Errors))]
pub(super) async fn list(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::ConsumersRead)?;
    let limit = page::limit(caller.query("limit").as_deref())?;
    let (current, prefix, search) = (caller.query("cursor"), caller.query("filter[consumer_id]"), caller.query("filter[search]"));
    let after = current.as_deref().map(page::read_cursor).transpose()?;
    let views = caller.views().await?;
    let matches = |consumer: &&Consumer| {
        after.as_ref().is_none_or(|after| consumer.consumer.as_bytes() > after.as_slice())
            && prefix.as_ref().is_none_or(|prefix| consumer.consumer.starts_with(prefix.as_str()))
            && search.as_ref().is_none_or(|search| consumer.consumer.contains(search.as_str()))
    };
    let mut rows: Vec<&Consumer> = views.consumers(caller.principal.tenant, &caller.app).filter(matches).take(limit + 1).collect();
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|consumer| page::cursor(consumer.consumer.as_bytes()));
    let meta = PageMeta::forward(rows.len(), current, next);
    let data = rows.into_iter().map(|consumer| render(&views, consumer)).collect();
    Ok(whole(&views, &ConsumerPage { status_code: 200, status: "OK", data, meta, links: Links {} }))
}

/// Get a consumer
#[utoipa::path(get, path = "/vault/consumers/{consumer_id}", operation_id = "consumers_get", tag = "Consumers", params(Application, AsOfParam, ("consumer_id" = String, Path, example = "acme")), responses((status = 200, body = Envelope<ConsumerView>), Errors))]
pub(super) async fn get(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    caller.may(Permission::ConsumersRead)?;
    let views = caller.views().await?;
    let shown = render(&views, find(&caller, &views, &id)?);
    Ok(answer(&views, shown))
}

/// Delete a consumer
///
/// Its connections go with it.
#[utoipa::path(delete, path = "/vault/consumers/{consumer_id}", operation_id = "consumers_delete", tag = "Consumers", params(Application, Repeatable, ("consumer_id" = String, Path, example = "acme")), responses((status = 200, body = Envelope<ConsumerId>), Errors))]
pub(super) async fn delete(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ConsumersWrite)?;
    let route = format!("consumers/delete/{}/{id}", caller.app);
    let command = caller.command(meta, &route, &[])?;
    let done = caller.vault.execute(&command, |given| plans::delete_consumer(given, caller.principal.tenant, &caller.app, &id)).await?;
    Ok(answer(&done.views, ConsumerId { consumer_id: id }))
}

fn find<'a>(caller: &Caller, views: &'a Views, id: &str) -> Result<&'a Consumer, Refusal> {
    let stream = views.consumer(caller.principal.tenant, &caller.app, id).ok_or(Refusal::NotFound)?;
    match views.thing(stream).map(|entry| &entry.state) {
        Some(AnyState::Consumer(State::Live(live))) => Ok(live),
        _ => Err(Refusal::NotFound),
    }
}

fn render(views: &Views, consumer: &Consumer) -> ConsumerView {
    let connections = consumer.connections.iter().filter_map(|id| match &views.thing(*id)?.state {
        AnyState::Connection(connection::State::Live(live)) => Some(format!("{}+{}", live.key.unified_api, live.key.service_id)),
        _ => None,
    });
    ConsumerView {
        consumer_id: consumer.consumer.to_string(),
        application_id: consumer.app.to_string(),
        metadata: consumer.metadata.as_ref().map_or_else(|| Value::Object(serde_json::Map::new()), Json::value),
        services: connections.collect(),
        aggregated_request_count: 0,
        request_counts: Counts { unify: 0, proxy: 0, vault: 0 },
        created: consumer.created_at.to_string(),
        modified: consumer.updated_at.to_string(),
    }
}

//! Consumers: whose connections they are.

use axum::body::Body;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::caller::{Caller, Named, is_id};
use super::error::Problem;
use super::render::answer;
use super::wire::{CreateConsumer, UpdateConsumer};
use crate::credentials::AnyState;
use crate::credentials::connection;
use crate::credentials::consumer::{Consumer, State};
use crate::kernel::{Json, Refusal};
use crate::vault::access::Permission;
use crate::vault::plans;
use crate::views::Views;
use crate::web::body::read_json;
use crate::web::limits::{BODY, ID};
use crate::web::page;

/// `POST /vault/consumers`
pub(super) async fn create(caller: Caller, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ConsumersWrite)?;
    let given: CreateConsumer = read_json(body, BODY).await?.ok_or_else(|| Problem::invalid("consumer_id: is required"))?;
    if !is_id(&given.consumer_id) {
        return Err(Problem::invalid(format!("consumer_id: takes 1 to {ID} bytes without /")));
    }
    put(&caller, meta, &given.consumer_id, given.metadata.as_ref()).await
}

/// `PATCH /vault/consumers/{consumer_id}`
pub(super) async fn update(caller: Caller, Named(id): Named<String>, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ConsumersWrite)?;
    let given: UpdateConsumer = read_json(body, BODY).await?.unwrap_or_default();
    find(&caller, &caller.vault.views(), &id)?;
    put(&caller, meta, &id, given.metadata.as_ref()).await
}

async fn put(caller: &Caller, meta: crate::credentials::Meta, id: &str, metadata: Option<&Value>) -> Result<Response, Problem> {
    let metadata = metadata.filter(|value| !value.is_null()).map(Json::from);
    let (route, text) = (format!("consumers/put/{}/{id}", caller.app), metadata.as_ref().map_or("", Json::text).as_bytes());
    let request = [text];
    let command = caller.command(meta, &route, &request)?;
    let done = caller.vault.execute(&command, |given| plans::put_consumer(given, caller.principal.tenant, &caller.app, id, metadata.clone())).await?;
    let shown = render(&done.views, find(caller, &done.views, id)?);
    Ok(answer(&done.views, shown, None))
}

/// `GET /vault/consumers`: by id, a page at a time; the cursor holds the last id of the page before.
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
    let meta = json!({"items_on_page": rows.len(), "cursors": {"previous": null, "current": current, "next": next}});
    let rows = rows.into_iter().map(|consumer| render(&views, consumer)).collect();
    Ok(answer(&views, Value::Array(rows), Some(Map::from_iter([("meta".to_owned(), meta), ("links".to_owned(), json!({}))]))))
}

/// `GET /vault/consumers/{consumer_id}`
pub(super) async fn get(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    caller.may(Permission::ConsumersRead)?;
    let views = caller.views().await?;
    let shown = render(&views, find(&caller, &views, &id)?);
    Ok(answer(&views, shown, None))
}

/// `DELETE /vault/consumers/{consumer_id}`: its connections go with it.
pub(super) async fn delete(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ConsumersWrite)?;
    let route = format!("consumers/delete/{}/{id}", caller.app);
    let command = caller.command(meta, &route, &[])?;
    let done = caller.vault.execute(&command, |given| plans::delete_consumer(given, caller.principal.tenant, &caller.app, &id)).await?;
    Ok(answer(&done.views, json!({"consumer_id": id}), None))
}

fn find<'a>(caller: &Caller, views: &'a Views, id: &str) -> Result<&'a Consumer, Refusal> {
    let stream = views.consumer(caller.principal.tenant, &caller.app, id).ok_or(Refusal::NotFound)?;
    match views.thing(stream).map(|entry| &entry.state) {
        Some(AnyState::Consumer(State::Live(live))) => Ok(live),
        _ => Err(Refusal::NotFound),
    }
}

fn render(views: &Views, consumer: &Consumer) -> Value {
    let connections = consumer.connections.iter().filter_map(|id| match &views.thing(*id)?.state {
        AnyState::Connection(connection::State::Live(live)) => Some(format!("{}+{}", live.key.unified_api, live.key.service_id)),
        _ => None,
    });
    let services: Vec<String> = connections.collect();
    json!({
        "consumer_id": consumer.consumer,
        "application_id": consumer.app,
        "metadata": consumer.metadata.as_ref().map_or(json!({}), Json::value),
        "services": services,
        "aggregated_request_count": 0,
        "request_counts": {"unify": 0, "proxy": 0, "vault": 0},
        "created": consumer.created_at,
        "modified": consumer.updated_at,
    })
}

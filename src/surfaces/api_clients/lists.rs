//! Lists of clients: by page, in an order, and those whose names hold some words. No list shows a secret.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;

use super::caller::Caller;
use super::error::{Errors, Problem};
use super::params::{AsOfParam, Listed};
use super::render::{ClientPage, ClientView, answer, client, find};
use super::wire::Search;
use crate::credentials::Kind;
use crate::credentials::api_client::ApiClient;
use crate::kernel::{Permission, Position, StreamId, TenantId};
use crate::views::Views;
use crate::web::body::read_json;
use crate::web::limits::{BODY, PAGE_MAX};

/// Items of a page when the caller does not say (the vendor's number).
const PAGE: usize = 50;
/// The most words of a search.
const MAX_WORDS: usize = 32;

/// What a list may be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SortKey {
    Created,
    Name,
    Updated,
    Id,
    Author,
    UpdatedBy,
}

/// What is asked for.
struct Wanted {
    words: Vec<String>,
    key: SortKey,
    descending: bool,
    offset: usize,
    limit: usize,
}

fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

impl TryFrom<&Search> for Wanted {
    type Error = Problem;

    fn try_from(search: &Search) -> Result<Self, Problem> {
        let key = match filled(search.sortkey.as_deref()) {
            None | Some("created") => SortKey::Created,
            Some("name") => SortKey::Name,
            Some("updated") => SortKey::Updated,
            Some("id" | "oauth_client_id") => SortKey::Id,
            Some("author") => SortKey::Author,
            Some("updated_by") => SortKey::UpdatedBy,
            Some(_) => return Err(Problem::invalid("sortkey", "sortkey: is name, created, updated, id, author, updated_by or oauth_client_id")),
        };
        let descending = match filled(search.sortdir.as_deref()).map(str::to_ascii_lowercase).as_deref() {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(_) => return Err(Problem::invalid("sortdir", "sortdir: is ASC or DESC")),
        };
        let limit = search.limit.map_or(Some(PAGE), |limit| usize::try_from(limit).ok());
        let limit = limit.filter(|limit| (1..=PAGE_MAX).contains(limit));
        let limit = limit.ok_or_else(|| Problem::invalid("limit", format!("limit: takes 1 to {PAGE_MAX}")))?;
        let offset = usize::try_from(search.offset.unwrap_or(0)).unwrap_or(usize::MAX);
        let keywords = search.keywords.as_deref().unwrap_or_default().to_lowercase();
        let words = keywords.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
        let words: Vec<String> = words.map(str::to_owned).collect();
        if words.len() > MAX_WORDS {
            return Err(Problem::invalid("keywords", format!("keywords: takes at most {MAX_WORDS} words")));
        }
        Ok(Self { words, key, descending, offset, limit })
    }
}

impl Wanted {
    /// All that match, in order.
    fn found<'a>(&self, views: &'a Views, tenant: TenantId) -> Vec<(StreamId, &'a ApiClient)> {
        let there = |id: StreamId| find(views, tenant, id).map(|(live, _)| (id, live));
        let holds = |(_, live): &(StreamId, &ApiClient)| {
            let name = if self.words.is_empty() { String::new() } else { live.name.to_lowercase() };
            self.words.iter().all(|word| name.contains(word.as_str()))
        };
        let mut rows: Vec<(StreamId, &ApiClient)> = if self.key == SortKey::Name {
            views.clients_by_name(tenant).filter_map(there).filter(holds).collect()
        } else {
            views.listed(tenant, Kind::ApiClient, Position::ZERO).filter_map(|(id, _)| there(id)).filter(holds).collect()
        };
        match self.key {
            SortKey::Created | SortKey::Name => {}
            SortKey::Updated => rows.sort_by_key(|(_, live)| live.updated_at),
            SortKey::Id => rows.sort_by_key(|(id, _)| *id),
            SortKey::Author => rows.sort_by_key(|(_, live)| live.author),
            SortKey::UpdatedBy => rows.sort_by_key(|(_, live)| live.updated_by),
        }
        if self.descending {
            rows.reverse();
        }
        rows
    }

    async fn page(&self, caller: &Caller) -> Result<Response, Problem> {
        let views = caller.views().await?;
        let tenant = caller.principal.tenant;
        let rows = self.found(&views, tenant);
        let of_page = rows.iter().skip(self.offset).take(self.limit);
        let items: Vec<ClientView> = of_page.map(|(id, live)| client(&views, tenant, *id, live, &[])).collect();
        Ok(answer(StatusCode::OK, &views, &ClientPage { count: rows.len(), items }))
    }
}

/// List API clients
///
/// Secrets are masked here. Needs `api-clients:read`.
#[utoipa::path(get, path = "/local-user-store/api/v1/api-clients", operation_id = "api_clients_list", tag = "API clients", params(Listed, AsOfParam), responses((status = 200, body = ClientPage), Errors))]
pub(super) async fn list(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::ApiClientsRead)?;
    let number = |name: &'static str| {
        let text = caller.query(name);
        let digits = |text: &String| text.bytes().all(|byte| byte.is_ascii_digit());
        text.map(|text| Some(text).filter(digits).and_then(|text| text.parse().ok()).ok_or_else(|| Problem::invalid(name, format!("{name}: takes a number"))))
            .transpose()
    };
    let search =
        Search { keywords: None, sortkey: caller.query("sortkey"), sortdir: caller.query("sortdir"), offset: number("offset")?, limit: number("limit")? };
    Wanted::try_from(&search)?.page(&caller).await
}

/// Search API clients
///
/// All words must be in the name. `count` tells of all that match. Secrets are masked here. Needs `api-clients:read`.
#[utoipa::path(post, path = "/local-user-store/api/v1/api-clients/search", operation_id = "api_clients_search", tag = "API clients", params(AsOfParam), request_body = Option<Search>, responses((status = 200, body = ClientPage), Errors))]
pub(super) async fn search(caller: Caller, body: Body) -> Result<Response, Problem> {
    caller.may(Permission::ApiClientsRead)?;
    let search: Search = read_json(body, BODY).await?.unwrap_or_default();
    Wanted::try_from(&search)?.page(&caller).await
}

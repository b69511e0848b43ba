//! Pages of things of one kind, in the order in which they were made.

use axum::response::Response;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::caller::{Caller, Params, answer, cursor};
use crate::credentials::Kind;
use crate::credentials::user::MAX_ROLES;
use crate::kernel::{Permission, Position, Refusal, RoleRef, StreamId, TenantId};
use crate::views::{Entry, Views};
use crate::web::problem::Problem;

/// A page.
#[derive(Serialize, ToSchema)]
pub(super) struct Page<T> {
    /// In the order in which they were made.
    pub data: Vec<T>,
    /// Give it as `cursor` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// The position that the answer reflects.
    pub position: u64,
}

/// Which page.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents the parameters that `Caller::params` reads")]
pub(super) struct Paged {
    /// Items of a page, 1 to 200; 20 when absent.
    limit: Option<u32>,
    /// What an earlier page gave as `next_cursor`.
    cursor: Option<String>,
}

/// A page of the tenant's things of a kind, as far as `render` gives them.
pub(super) async fn list<T: Serialize>(
    caller: &Caller,
    params: &Params,
    kind: Kind,
    render: impl Fn(&Views, StreamId, &Entry) -> Option<T>,
) -> Result<Response, Problem> {
    let (limit, after) = (params.limit()?, params.cursor()?.unwrap_or_default());
    let views = caller.views(params).await?;
    let all = views.listed(caller.principal.tenant, kind, after);
    let mut found: Vec<(Position, T)> = all.filter_map(|(id, entry)| render(&views, id, entry).map(|shown| (entry.first, shown))).take(limit + 1).collect();
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = found.last().filter(|_| more).map(|(at, _)| cursor(*at));
    let data = found.into_iter().map(|(_, shown)| shown).collect();
    Ok(answer(views.position(), &Page { data, next_cursor, position: views.position().0 }))
}

/// A thing's own events, newest first, deleted or not, to whoever may see the past. `id` is the thing's, whatever names its kind has.
pub(super) async fn history(caller: &Caller, id: &str, kind: Kind) -> Result<Response, Problem> {
    caller.may(Permission::HistoryRead)?;
    let params = caller.params(&["limit", "cursor"])?;
    let position = caller.position(&params).await?;
    let views = caller.vault.views();
    let (id, entry) = find(&views, caller.principal.tenant, id, kind)?;
    if entry.first > position {
        return Err(Refusal::NotFound.into());
    }
    let to = params.cursor()?.map_or(position, |at| at.min(position));
    let found = caller.vault.story(&caller.principal, id, to, params.limit()?).await?;
    Ok(super::events::story(found, position))
}

/// The tenant's thing of a kind by its id; another tenant's looks like a missing one.
pub(super) fn find<'a>(views: &'a Views, tenant: TenantId, id: &str, kind: Kind) -> Result<(StreamId, &'a Entry), Refusal> {
    let id: StreamId = id.parse().map_err(|_| Refusal::NotFound)?;
    let entry = views.thing(id).filter(|entry| entry.tenant == tenant && entry.state.sort() == Some(kind)).ok_or(Refusal::NotFound)?;
    Ok((id, entry))
}

/// Roles of a request, each by name or id. No more are looked up than anything may have: each name is sought among all roles of the tenant.
pub(super) fn roles(views: &Views, tenant: TenantId, given: &[String]) -> Result<Vec<RoleRef>, Refusal> {
    if given.len() > MAX_ROLES {
        return Err(Refusal::invalid("roles", format!("takes at most {MAX_ROLES} roles")));
    }
    let named = |text: &String| {
        let by_id = text.parse().ok().filter(|role: &RoleRef| views.role(tenant, *role).is_some());
        by_id.or_else(|| {
            let mut own = views.listed(tenant, Kind::Role, Position::ZERO).map(|(id, _)| RoleRef::Own(id));
            own.find(|role| views.role(tenant, *role).is_some_and(|(name, _)| name == text))
        })
    };
    let missing = |place| Refusal::invalid(format!("roles[{place}]"), "is no role of this tenant");
    given.iter().enumerate().map(|(place, text)| named(text).ok_or_else(|| missing(place))).collect()
}

/// Roles as they are shown: by name; one that is gone by its id.
pub(super) fn role_names(views: &Views, tenant: TenantId, roles: &[RoleRef]) -> Vec<String> {
    roles.iter().map(|role| views.role(tenant, *role).map_or_else(|| role.to_string(), |(name, _)| name.to_owned())).collect()
}

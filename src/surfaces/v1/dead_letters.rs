//! What a webhook was not told, page by page.

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::{Caller, answer, cursor};
use super::listing::{Page, find};
use super::webhooks::{FailureView, live};
use crate::credentials::Kind;
use crate::credentials::connection::Notice;
use crate::credentials::webhook::{Dead, Letter};
use crate::kernel::{Position, Refusal};
use crate::web::problem::Problem;

/// A message that was given up.
#[derive(Serialize, ToSchema)]
pub(super) struct DeadLetter {
    /// The event that it tells of.
    position: u64,
    /// What it tells.
    #[schema(example = "vault.connection.callable")]
    event_type: &'static str,
    /// How often it was tried.
    tries: u32,
    /// How the last try ended.
    last_failure: FailureView,
}

impl From<&Dead> for DeadLetter {
    fn from(dead: &Dead) -> Self {
        let Letter { position, notice } = dead.letter;
        Self { position: position.0, event_type: notice.name(), tries: dead.tries, last_failure: FailureView::from(&dead.last) }
    }
}

/// A letter as one number, ordered as the letters are: several may tell of one event.
fn number(letter: Letter) -> Position {
    let place = Notice::ALL.iter().position(|notice| *notice == letter.notice).unwrap_or(0);
    Position(letter.position.0.saturating_mul(16).saturating_add(place as u64))
}

/// A page of a webhook's dead letters.
pub(super) async fn page(caller: &Caller, id: &str) -> Result<Response, Problem> {
    let params = caller.params(&["limit", "cursor"])?;
    let (limit, after) = (params.limit()?, params.cursor()?);
    let views = caller.views(&params).await?;
    let (_, entry) = find(&views, caller.principal.tenant, id, Kind::Webhook)?;
    let dead = &live(entry).ok_or(Refusal::NotFound)?.progress.dead;
    let mut found: Vec<&Dead> = dead.values().filter(|dead| after.is_none_or(|after| number(dead.letter) > after)).take(limit + 1).collect();
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = found.last().filter(|_| more).map(|dead| cursor(number(dead.letter)));
    Ok(answer(views.position(), &Page { data: found.into_iter().map(DeadLetter::from).collect(), next_cursor, position: views.position().0 }))
}

//! The log as it grows, as server-sent events: read from the log by position at each wake-up, so that a slow reader costs time and no memory.

use axum::Extension;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::super::caller::Caller;
use super::follow::{Lasting, Reader};
use super::seats::Seats;
use super::{Event, wanted};
use crate::kernel::{Permission, Position};
use crate::vault::{Shown, VaultError};
use crate::web::limits::{HEARTBEAT, PIECE};
use crate::web::pieces::{Ending, Pieces, pieces};
use crate::web::problem::{Errors, Problem};

/// Follow the log
///
/// Server-sent events: each event that fits, as `GET /v1/events` shows it, with its position as `id`; from `Last-Event-ID` on, else from `from`, else
/// from now. A client that comes back with the last id that it saw misses nothing and sees nothing twice. A comment every 15 seconds says that the
/// stream is there, with the position up to which nothing else fits. It ends when the server does, or when the token opens nothing any more. At
/// most 8 streams and exports at once for one principal. Needs `audit:read`.
#[utoipa::path(get, path = "/v1/events/stream", operation_id = "events_stream", tag = "Audit",
    params(wanted::Wanted, ("Last-Event-ID" = Option<u64>, Header, description = "The last position that was seen"),
        ("min_position" = Option<u64>, Query, description = "Wait until the log has reached this position")),
    responses((status = 200, description = "Events while they come", content_type = "text/event-stream", body = String), Errors))]
pub(in super::super) async fn stream(caller: Caller, Extension(seats): Extension<Seats>, mut lasting: Lasting) -> Result<Response, Problem> {
    caller.may(Permission::AuditRead)?;
    let params = wanted::params(&caller, &[])?;
    for never in ["as_of", "to"] {
        if params.get(never).is_some() {
            return Err(Problem::invalid(format!("{never}: a stream tells what comes; GET /v1/events/export tells what was")));
        }
    }
    let position = caller.position(&params).await?;
    let mut filter = wanted::filter(&caller, &params, position).await?;
    match lasting.last_seen {
        Some(Err(_)) => return Err(Problem::invalid("Last-Event-ID: takes a position, such as 1042")),
        Some(Ok(seen)) => filter.from = seen.next(),
        None if params.get("from").is_none() => filter.from = position.next(),
        None => {}
    }
    if filter.from > position.next() {
        // The reader has seen, or waits for, what this log does not have: it must not be told later positions as if nothing were missing.
        return Err(Problem::new(StatusCode::NOT_FOUND, "past-the-end", format!("the log ends at position {position}")));
    }
    let seat = seats.take(&caller.principal)?;
    let (out, body) = pieces();
    let (ending, reader) = (lasting.ending.take(), Reader::new(&caller.vault, &mut lasting, filter, seat));
    tokio::spawn(follow(reader, out, ending));
    let mut response = ([(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")], body).into_response();
    response.headers_mut().insert("keyledger-position", HeaderValue::from(position.0));
    Ok(response)
}

async fn follow(mut reader: Reader, out: Pieces, mut ending: Option<Ending>) {
    let end = async {
        match &mut ending {
            Some(ending) => ending.told().await,
            None => std::future::pending().await,
        }
    };
    let farewell = tokio::select! {
        farewell = tell(&mut reader, &out) => farewell,
        () = end => Ok("the server ends; come back with the last id"),
        () = out.closed() => return,
    };
    match farewell {
        // Who does not read does not hold the end up: the piece is left behind.
        Ok(why) => drop(tokio::time::timeout(HEARTBEAT, out.send(format!(": {why}\n\n"))).await),
        Err(error) => {
            tracing::error!(%error, "a stream of events broke off");
            out.break_off().await;
        }
    }
}

/// Tells what there is and what comes; gives why it ended.
async fn tell(reader: &mut Reader, out: &Pieces) -> Result<&'static str, VaultError> {
    let mut head = reader.vault.head();
    // The first id: whoever loses the stream before the first event comes back to here.
    let mut text = format!("id: {}\n: from here on\n\n", reader.at);
    loop {
        reader.filter.to = *head.borrow_and_update();
        while reader.at < reader.filter.to {
            let stretch = match reader.next().await {
                Err(VaultError::Refused(_)) => return Ok("the token opens nothing here any more"),
                other => other?,
            };
            for shown in stretch.events {
                text.push_str(&told(shown)?);
                if text.len() >= PIECE && !out.send(std::mem::take(&mut text)).await {
                    return Ok("nobody reads");
                }
            }
        }
        if !text.is_empty() && !out.send(std::mem::take(&mut text)).await {
            return Ok("nobody reads");
        }
        tokio::select! {
            grown = head.changed() => if grown.is_err() { return Ok("the vault has stopped") },
            () = tokio::time::sleep(HEARTBEAT) => {
                if reader.principal().is_err() {
                    return Ok("the token opens nothing here any more");
                }
                text = format!("id: {}\n: nothing else through here\n\n", reader.at);
            }
        }
    }
}

/// An event of the stream. JSON stands on one line.
fn told(shown: Shown) -> Result<String, VaultError> {
    let position: Position = shown.record.header().position;
    let json = serde_json::to_string(&Event::from(shown)).map_err(|_| crate::credentials::FactsError::Shape)?;
    Ok(format!("id: {position}\ndata: {json}\n\n"))
}

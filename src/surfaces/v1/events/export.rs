//! The log as a file: written while it is read, with a last line by which a file that was cut off is told from a whole one.

use axum::Extension;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::super::caller::Caller;
use super::csv;
use super::follow::{Lasting, Reader};
use super::seats::Seats;
use super::{Event, wanted};
use crate::credentials::FactsError;
use crate::kernel::{Permission, Position};
use crate::vault::VaultError;
use crate::web::limits::PIECE;
use crate::web::pieces::{Pieces, pieces};
use crate::web::problem::{Errors, Problem};

/// How the file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Jsonl,
    Csv,
}

/// The last line of a whole export.
#[derive(Serialize, ToSchema)]
struct Last {
    /// What was exported.
    end: End,
}

/// What a whole export holds.
#[derive(Serialize, ToSchema)]
struct End {
    /// How many events.
    events: u64,
    /// Through which position the log was looked at.
    through: u64,
}

/// Of which sort.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents the parameters that `Caller::params` reads")]
pub(in super::super) struct Sort {
    /// `jsonl` (an event a line, the default) or `csv`.
    #[param(example = "jsonl")]
    format: Option<String>,
}

/// Export events
///
/// All events that fit, oldest first, as a file that is written while the log is read. As JSON lines, each is as `GET /v1/events` shows it, and the
/// last line is `{"end": {"events": …, "through": …}}`; as CSV (RFC 4180), with a line of names at the beginning, cells that a spreadsheet would
/// take for a formula begin with `'`, and the last line is `# end: … events through position …`. A file without that last line was cut off. At
/// most 8 streams and exports at once for one principal. Needs `audit:read`.
#[utoipa::path(get, path = "/v1/events/export", operation_id = "events_export", tag = "Audit", params(Sort, wanted::Wanted, super::super::log::AsOfParams),
    responses((status = 200, description = "The file", content((String = "application/x-ndjson"), (String = "text/csv"))), Errors))]
pub(in super::super) async fn export(caller: Caller, Extension(seats): Extension<Seats>, mut lasting: Lasting) -> Result<Response, Problem> {
    caller.may(Permission::AuditRead)?;
    let params = wanted::params(&caller, &["format"])?;
    let format = match params.get("format") {
        None | Some("jsonl") => Format::Jsonl,
        Some("csv") => Format::Csv,
        Some(_) => return Err(Problem::invalid("format: is jsonl or csv")),
    };
    let position = caller.position(&params).await?;
    let filter = wanted::filter(&caller, &params, position).await?;
    let seat = seats.take(&caller.principal)?;
    let (out, body) = pieces();
    let (ending, reader) = (lasting.ending.take(), Reader::new(&caller.vault, &mut lasting, filter, seat));
    tokio::spawn(async move {
        let end = async {
            match ending {
                Some(mut ending) => ending.told().await,
                None => std::future::pending().await,
            }
        };
        let whole = tokio::select! {
            written = write(reader, format, &out) => written.inspect_err(|error| tracing::warn!(%error, "an export broke off")).is_ok(),
            () = end => false,
        };
        if !whole {
            out.break_off().await;
        }
    });
    let (sort, ending) = match format {
        Format::Jsonl => ("application/x-ndjson", "jsonl"),
        Format::Csv => ("text/csv; charset=utf-8", "csv"),
    };
    let name = format!("attachment; filename=\"keyledger-events-{position}.{ending}\"");
    let headers = [(header::CONTENT_TYPE, sort), (header::CACHE_CONTROL, "no-store"), (header::CONTENT_DISPOSITION, name.as_str())];
    let mut response = (headers, body).into_response();
    response.headers_mut().insert("keyledger-position", HeaderValue::from(position.0));
    Ok(response)
}

/// Writes everything, or as long as anybody reads.
async fn write(mut reader: Reader, format: Format, out: &Pieces) -> Result<(), VaultError> {
    let (mut text, mut events) = (String::new(), 0);
    if format == Format::Csv {
        csv::names(&mut text);
    }
    while reader.at < reader.filter.to {
        for shown in reader.next().await?.events {
            events += 1;
            match format {
                Format::Jsonl => line(&mut text, &Event::from(shown))?,
                Format::Csv => csv::row(&mut text, &Event::from(shown)),
            }
            if text.len() >= PIECE && !out.send(std::mem::take(&mut text)).await {
                return Ok(());
            }
        }
    }
    let through: Position = reader.filter.to;
    match format {
        Format::Jsonl => line(&mut text, &Last { end: End { events, through: through.0 } })?,
        Format::Csv => csv::end(&mut text, events, through),
    }
    out.send(text).await;
    Ok(())
}

fn line(text: &mut String, value: &impl Serialize) -> Result<(), FactsError> {
    text.push_str(&serde_json::to_string(value).map_err(|_| FactsError::Shape)?);
    text.push('\n');
    Ok(())
}

//! The log as a file: written while it is read, with a last line by which a file that was cut off is told from a whole one.

use axum::Extension;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use utoipa::IntoParams;

use super::super::caller::Caller;
use super::csv;
use super::follow::{Lasting, Reader};
use super::seats::Seats;
use super::{Event, wanted};
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
/// All events that fit, oldest first, as a file that is written while the log is read. As JSON lines, each is tied to the log so that `keyledger
/// audit verify --file` needs no key and no server (what a line holds stands in `src/vault/export.rs`): `{"leaf", "position", …, "facts", "opening",
/// "hash", "record"}` for an event, `{"leaf", "count", "hash"}` for what does not fit, and last `{"end": {"events", "through", "checkpoint"}}`. As
/// CSV (RFC 4180), with a line of names at the beginning, cells that a spreadsheet would take for a formula begin with `'`, and the last line is
/// `# end: … events through position …`. A file without that last line was cut off. At most 8 streams and exports at once for one principal. Needs
/// `audit:read`.
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
    // A log does not end inside a group, and neither does what is to be compared with a checkpoint of it.
    let position = caller.vault.whole(caller.position(&params).await?).await?;
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
            written = write(reader, format, position, &out) => written.inspect_err(|error| tracing::warn!(%error, "an export broke off")).is_ok(),
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
async fn write(reader: Reader, format: Format, position: Position, out: &Pieces) -> Result<(), VaultError> {
    match format {
        Format::Jsonl => write_lines(reader, position, out).await,
        Format::Csv => write_rows(reader, out).await,
    }
}

async fn write_lines(reader: Reader, position: Position, out: &Pieces) -> Result<(), VaultError> {
    let (vault, filter, mut text) = (&reader.vault, &reader.filter, String::new());
    let mut lines = vault.lines(filter).await?;
    while lines.at < filter.to {
        for line in vault.next_lines(&reader.principal()?, filter, &mut lines).await? {
            text.push_str(&line.text()?);
            text.push('\n');
            if text.len() >= PIECE && !out.send(std::mem::take(&mut text)).await {
                return Ok(());
            }
        }
    }
    for line in vault.last_lines(&mut lines, position).await? {
        text.push_str(&line.text()?);
        text.push('\n');
    }
    out.send(text).await;
    Ok(())
}

async fn write_rows(mut reader: Reader, out: &Pieces) -> Result<(), VaultError> {
    let (mut text, mut events) = (String::new(), 0);
    csv::names(&mut text);
    while reader.at < reader.filter.to {
        for shown in reader.next().await?.events {
            events += 1;
            csv::row(&mut text, &Event::from(shown));
            if text.len() >= PIECE && !out.send(std::mem::take(&mut text)).await {
                return Ok(());
            }
        }
    }
    csv::end(&mut text, events, reader.filter.to);
    out.send(text).await;
    Ok(())
}

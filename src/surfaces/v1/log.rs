//! The log itself: what can be said of a position without any secret, and the clock it writes by.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

pub(super) use super::super::params::AsOfParam as AsOfParams;
use super::caller::{Caller, answer};
use crate::kernel::Permission;
use crate::kernel::Position;
use crate::web::problem::{Errors, Problem};

/// The state of the vault at a position.
#[derive(Serialize, ToSchema)]
pub(super) struct LogState {
    /// The position, rounded down to a whole group.
    position: u64,
    /// When its event was taken.
    #[schema(format = DateTime)]
    recorded_at: String,
    /// Number of the history that it belongs to.
    epoch: u32,
    /// How many records there are through it.
    records: u64,
    /// RFC 6962 root over them, in hex.
    merkle_root: String,
    /// The fold that made the hash: only hashes of one fold compare.
    fold_version: u32,
    /// Hash of all states, in hex: what `keyledger replay` prints for the same position.
    state_hash: String,
    /// How many streams it skips because they were shredded, by then or since. A hash that was recorded before a shred is another one.
    shredded_streams: u64,
}

/// Get the state hash and the Merkle root
///
/// Of the last position, or of another one. The whole past is folded where no kept state is near, one such request at a time (503 otherwise).
/// Needs `audit:read`.
#[utoipa::path(get, path = "/v1/log/state", operation_id = "log_state", tag = "Log", params(("position" = Option<u64>, Query, description = "The position; the last one when absent"), AsOfParams), responses((status = 200, body = LogState), Errors))]
pub(super) async fn state(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::AuditRead)?;
    let params = caller.params(&["position"])?;
    let mut position = caller.position(&params).await?;
    if let Some(text) = params.get("position") {
        let given: u64 = text.parse().map_err(|_| Problem::invalid("position: takes a position, such as 1042"))?;
        if given > position.0 {
            return Err(Problem::new(StatusCode::NOT_FOUND, "past-the-end", format!("the log ends at position {position}")));
        }
        position = Position(given);
    }
    let at = caller.vault.state_at(position).await?.map_err(|_| Problem::busy())?;
    let hex = |bytes: &[u8]| base16ct::lower::encode_string(bytes);
    let state = LogState {
        position: at.state.position.0,
        recorded_at: at.recorded_at.to_string(),
        epoch: at.epoch.map_or(0, |epoch| epoch.number),
        records: at.records,
        merkle_root: hex(&at.merkle_root),
        fold_version: at.state.fold_version,
        state_hash: hex(&at.state.hash),
        shredded_streams: at.state.shredded,
    };
    Ok(answer(at.state.position, &state))
}

/// Confirm the time
///
/// After the wall clock leapt ahead by more than an hour, nothing is written until an operator says that it is right. Needs `vault:operate`.
#[utoipa::path(post, path = "/v1/log/clock", operation_id = "log_confirm_clock", tag = "Log", responses((status = 204, description = "Confirmed"), Errors))]
pub(super) async fn confirm_clock(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::VaultOperate)?;
    caller.vault.confirm_clock().await;
    Ok((StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, "no-store")]).into_response())
}

/// Let everything that goes out go on
///
/// A restored vault calls nobody: no exchange, no renewal, no webhook, so that a drill harms nothing. This lets it go on; where nothing was held
/// back it changes nothing. Needs `vault:operate`.
#[utoipa::path(post, path = "/v1/vault/resume", operation_id = "vault_resume", tag = "Log", responses((status = 204, description = "It goes on"), Errors))]
pub(super) async fn resume(caller: Caller) -> Result<Response, Problem> {
    let meta = caller.may(Permission::VaultOperate)?;
    caller.vault.resume(&caller.principal, meta).await?;
    Ok((StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, "no-store")]).into_response())
}

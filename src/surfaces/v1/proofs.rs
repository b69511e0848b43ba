//! The log as those see it who trust nobody: signed checkpoints, proofs, and the hashes that they rest on. None of it tells any content, so an
//! auditor of a tenant sees that of the whole log: only so does it prove the tenant's own events.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::{Caller, Params, answer};
use super::log::AsOfParams;
use crate::kernel::{Permission, Position};
use crate::vault::{Leaf, Unprovable};
use crate::web::problem::{Errors, Problem};

/// The most leaf hashes of a page.
const MAX_LEAVES: u64 = 4096;
/// So many where nothing is said.
const LEAVES: u64 = 1024;

/// A proof that a record is in the log.
#[derive(Serialize, ToSchema)]
pub(super) struct Inclusion {
    /// The record's place in the log.
    position: u64,
    /// The number of its leaf, from 0: the count of records before it.
    leaf: u64,
    /// Its leaf hash, in hex: SHA-256(0x00 ‖ record).
    hash: String,
    /// How many leaves the tree has.
    size: u64,
    /// The root of that tree, in hex.
    root: String,
    /// The proof of RFC 6962, section 2.1.1: hashes in hex, from the leaf up.
    proof: Vec<String>,
}

/// A proof that nothing of an earlier log was changed.
#[derive(Serialize, ToSchema)]
pub(super) struct Consistency {
    /// The size of the earlier tree.
    from: u64,
    /// The size of the later tree.
    to: u64,
    /// The root of the later tree, in hex.
    root: String,
    /// The proof of RFC 6962, section 2.1.2: hashes in hex.
    proof: Vec<String>,
}

/// A page of leaf hashes.
#[derive(Serialize, ToSchema)]
pub(super) struct Leaves {
    /// The number of the first one, from 0.
    from: u64,
    /// Leaf hashes in hex, in their order.
    hashes: Vec<String>,
    /// Give it as `from` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
    /// How many leaves there are.
    size: u64,
}

fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

fn number(params: &Params, name: &'static str) -> Result<Option<u64>, Problem> {
    let wrong = |_| Problem::invalid(format!("{name}: takes a number, such as 1042"));
    params.get(name).map(|text| text.parse().map_err(wrong)).transpose()
}

fn unprovable(error: Unprovable) -> Problem {
    let text = error.to_string();
    match error {
        Unprovable::PastTheEnd(_) => Problem::new(StatusCode::NOT_FOUND, "past-the-end", text),
        Unprovable::NoSuchPosition(_) => Problem::new(StatusCode::NOT_FOUND, "no-such-position", text),
        Unprovable::NotYet { .. } | Unprovable::Backwards => Problem::invalid(text),
    }
}

fn plain(position: Position, text: String) -> Response {
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (headers, [("keyledger-position", HeaderValue::from(position.0))], text).into_response()
}

/// Get the checkpoint
///
/// How long the log is and what its root is, signed: a C2SP `tlog-checkpoint` in a `signed-note` with Ed25519. Its three lines are the origin
/// (`keyledger/<vault>/<epoch number>-<epoch>`), the number of leaves, and the RFC 6962 root over them in base64; its signature is made by the key
/// of `/v1/log/key`. A leaf is the hash of a stored record, the first record being leaf 0. Keep checkpoints: each later one must be consistent with
/// them. After a restore a new epoch begins, with an origin of its own. Needs `audit:read`, in any tenant.
#[utoipa::path(get, path = "/v1/log/checkpoint", operation_id = "log_checkpoint", tag = "Log", params(AsOfParams), responses((status = 200, body = String, content_type = "text/plain; charset=utf-8"), Errors))]
pub(super) async fn checkpoint(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::AuditRead)?;
    let position = caller.position(&caller.params(&[])?).await?;
    let signed = caller.vault.checkpoint(position).await?;
    Ok(plain(signed.position, signed.note.to_string()))
}

/// Get the log's public key
///
/// As a C2SP verifier key, `<origin>+<key id>+<base64 of 0x01 and the Ed25519 public key>`, in a line. The key stays the same when the vault is
/// restored; origin and key id are those of the epoch. Keep it from a moment when you trust the server. Needs `audit:read`, in any tenant.
#[utoipa::path(get, path = "/v1/log/key", operation_id = "log_key", tag = "Log", params(AsOfParams), responses((status = 200, body = String, content_type = "text/plain; charset=utf-8"), Errors))]
pub(super) async fn key(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::AuditRead)?;
    let position = caller.position(&caller.params(&[])?).await?;
    Ok(plain(position, format!("{}\n", caller.vault.verifier_key(position).await?)))
}

/// Prove that a record is in the log
///
/// By its position or by the number of its leaf, in the tree of a size; of the present size when none is given. Positions have a gap where a
/// restore cut the history; leaves have none. Needs `audit:read`, in any tenant.
#[utoipa::path(get, path = "/v1/log/proofs/inclusion", operation_id = "log_inclusion", tag = "Log", params(
    ("position" = Option<u64>, Query, description = "The record's position"),
    ("leaf" = Option<u64>, Query, description = "The number of its leaf, in place of the position"),
    ("size" = Option<u64>, Query, description = "The size of the tree; the present one when absent"),
    AsOfParams
), responses((status = 200, body = Inclusion), Errors))]
pub(super) async fn inclusion(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::AuditRead)?;
    let params = caller.params(&["position", "leaf", "size"])?;
    let at = caller.position(&params).await?;
    let leaf = match (number(&params, "position")?, number(&params, "leaf")?) {
        (Some(position), None) => Leaf::At(Position(position)),
        (None, Some(leaf)) => Leaf::Number(leaf),
        _ => return Err(Problem::invalid("give either position or leaf")),
    };
    let (position, hash, proof) = caller.vault.prove_inclusion(leaf, number(&params, "size")?, at).await?.map_err(unprovable)?;
    let shown = Inclusion {
        position: position.0,
        leaf: proof.of,
        hash: hex(&hash),
        size: proof.size,
        root: hex(&proof.root),
        proof: proof.hashes.iter().map(|hash| hex(hash)).collect(),
    };
    Ok(answer(at, &shown))
}

/// Prove that an earlier log is the beginning of a later one
///
/// From one size to another; to the present one when none is given. Needs `audit:read`, in any tenant.
#[utoipa::path(get, path = "/v1/log/proofs/consistency", operation_id = "log_consistency", tag = "Log", params(
    ("from" = u64, Query, description = "The size of the earlier tree, 1 or more"),
    ("to" = Option<u64>, Query, description = "The size of the later tree; the present one when absent"),
    AsOfParams
), responses((status = 200, body = Consistency), Errors))]
pub(super) async fn consistency(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::AuditRead)?;
    let params = caller.params(&["from", "to"])?;
    let at = caller.position(&params).await?;
    let from = number(&params, "from")?.ok_or_else(|| Problem::invalid("from: is needed"))?;
    let proof = caller.vault.prove_consistency(from, number(&params, "to")?, at).await?.map_err(unprovable)?;
    let shown = Consistency { from, to: proof.size, root: hex(&proof.root), proof: proof.hashes.iter().map(|hash| hex(hash)).collect() };
    Ok(answer(at, &shown))
}

/// List leaf hashes
///
/// From leaf 0 on, or from another one. Whoever has them all has the tree, and can make every proof. Needs `audit:read`, in any tenant.
#[utoipa::path(get, path = "/v1/log/leaves", operation_id = "log_leaves", tag = "Log", params(
    ("from" = Option<u64>, Query, description = "The number of the first leaf; 0 when absent"),
    ("limit" = Option<u64>, Query, description = "Hashes of a page, 1 to 4,096; 1,024 when absent"),
    AsOfParams
), responses((status = 200, body = Leaves), Errors))]
pub(super) async fn leaves(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::AuditRead)?;
    let params = caller.params(&["from", "limit"])?;
    let at = caller.position(&params).await?;
    let from = number(&params, "from")?.unwrap_or(0);
    let limit = number(&params, "limit")?.unwrap_or(LEAVES);
    if !(1..=MAX_LEAVES).contains(&limit) {
        return Err(Problem::invalid(format!("limit: is 1 to {MAX_LEAVES}")));
    }
    let (hashes, size) = caller.vault.leaf_hashes(from, limit, at).await?;
    if from > size {
        return Err(unprovable(Unprovable::PastTheEnd(size)));
    }
    let next = from + hashes.len() as u64;
    let shown = Leaves { from, hashes: hashes.iter().map(|hash| hex(hash)).collect(), next: (next < size).then_some(next), size };
    Ok(answer(at, &shown))
}

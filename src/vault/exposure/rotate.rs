//! What to change after a secret was exposed, in this order; and what the log cannot tell.

use super::life::{ACCESS, Brought, REFRESH, SETTINGS};
use crate::credentials::connection::State;
use crate::credentials::{AnyState, Kind, connection};
use crate::kernel::{Moment, StreamId};
use crate::vault::Descent;

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Todo {
    /// What.
    pub what: String,
    /// Method and path of the route; `None` where it is done elsewhere.
    pub call: Option<String>,
}

fn todo_here(what: impl Into<String>, call: String) -> Todo {
    Todo { what: what.into(), call: Some(call) }
}

fn todo_elsewhere(what: impl Into<String>) -> Todo {
    Todo { what: what.into(), call: None }
}

/// Whether a secret may still open something here or elsewhere.
fn may_work(secret: &Brought, now: Moment) -> bool {
    let here = secret.stopped.as_ref().is_none_or(|stopped| stopped.at > now);
    // What this vault has issued ends with the vault's word; what others have issued, with its own time at the latest.
    let elsewhere = secret.id.is_none() && secret.expires_at.is_none_or(|end| end > now);
    if secret.id.is_some() { here && secret.expires_at.is_none_or(|end| end > now) } else { here || elsewhere }
}

pub(super) fn todo(id: StreamId, state: &AnyState, secrets: &[Brought], tokens: &[Descent], now: Moment) -> Vec<Todo> {
    let working: Vec<&Brought> = secrets.iter().filter(|secret| may_work(secret, now)).collect();
    if working.is_empty() {
        return Vec::new();
    }
    let current = |secret: &&&Brought| secret.stopped.is_none();
    let is_current = working.iter().any(|secret| current(&secret));
    match state {
        AnyState::Connection(State::Live(live)) => of_connection(&live.key, live.begins_anew(), &working, tokens),
        AnyState::Connection(State::Deleted { key, .. }) => {
            vec![todo_elsewhere(format!("revoke at {} what was granted: the connection is deleted, and what it held may still work there", key.service_id))]
        }
        AnyState::ProviderKey(_) => {
            let mut all = vec![todo_elsewhere("replace the key at its provider, and make sure that the old one ends there")];
            all.extend(is_current.then(|| todo_here("put the new key in", "POST /external_provider/api_key/update".into())));
            all
        }
        AnyState::Integration(state) => {
            let (api, service) = state.service().unwrap_or_default();
            let mut all = vec![todo_elsewhere(format!("replace the client's secret at {service}, and make sure that the old one ends there"))];
            all.extend(is_current.then(|| todo_here("put the new one in", format!("PATCH /v1/integrations/{api}/{service}"))));
            all.push(todo_here("then look whether the connections to the service are renewed", "GET /v1/credentials?kind=connection".into()));
            all
        }
        // Issued here.
        _ if is_current => {
            let what = "give it a new secret with grace_seconds 0: the exposed one ends at once, and with it all access tokens that were got with it";
            vec![todo_here(what, format!("POST /v1/credentials/{id}/rotate"))]
        }
        _ => vec![todo_here("end the rotation's overlap: the exposed secret ends at once", format!("POST /v1/credentials/{id}/rotation/finish"))],
    }
}

fn of_connection(key: &connection::Key, begins_anew: bool, working: &[&Brought], tokens: &[Descent]) -> Vec<Todo> {
    let path = format!("/vault/connections/{}/{}", key.unified_api, key.service_id);
    let service = &key.service_id;
    let has = |name: &str| working.iter().any(|secret| secret.name == name);
    let settings: Vec<&str> = working.iter().filter_map(|secret| secret.name.strip_prefix(SETTINGS)).collect();
    let mut all = Vec::new();
    if !settings.is_empty() {
        let names = settings.join(", ");
        all.push(todo_elsewhere(format!("replace {names} at {service}, and make sure that what was exposed ends there")));
        let in_use = working.iter().any(|secret| secret.name.starts_with(SETTINGS) && secret.stopped.is_none());
        all.extend(in_use.then(|| todo_here(format!("put the new {names} in"), format!("PATCH {path}"))));
    }
    if has(REFRESH) || has(ACCESS) || !tokens.is_empty() {
        let came = if tokens.is_empty() { String::new() } else { format!(", and with it the tokens of {} exchanges that came of it", tokens.len()) };
        all.push(todo_here(format!("revoke the grant at {service}: its revoke_url, where it has one, ends what was exposed{came}"), format!("GET {path}")));
        all.push(if begins_anew {
            todo_here("take new tokens", format!("POST {path}/token"))
        } else {
            todo_here("let its user authorize anew: authorize_url; or import other tokens", format!("GET {path}"))
        });
    }
    all
}

/// What the log does not tell of a kind.
pub(super) fn unknown(kind: Kind) -> Vec<&'static str> {
    let mut all = vec![
        "what whoever had the value did with it outside this vault, and to whom they gave it",
        "sessions and access tokens are told as their user or credential: who was given one is not recorded",
        "the answer to a request that shows a secret once is given again for 24 hours to whoever repeats it with the same Idempotency-Key",
    ];
    all.extend(match kind {
        Kind::Connection => &[
            "calls that were passed through are written once a minute, by method, host and status",
            "whether the service still takes a token that was replaced here is known only by the end that it named",
        ][..],
        Kind::ProviderKey => &["whether the provider still takes a key that was replaced here"],
        Kind::Integration => &["of exchanges, which used a setting of the connection's own instead"],
        Kind::ApiClient => &[
            "who presented it, and from where: uses are counted once a minute",
            "access tokens that were got with it are not recorded one by one: each use may have brought one, and all end with it",
        ],
        _ => &[
            "only what it is recognised by is kept: the value was shown when it was made, and to nobody since",
            "who presented it, and from where: uses are counted once a minute",
            "access tokens that were got with it are not recorded one by one: each use may have brought one, and all end with it",
        ],
    });
    all
}

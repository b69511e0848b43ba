//! Which events a request is about: the filters that the list, the export and the stream share.

use utoipa::IntoParams;

use super::super::caller::{Caller, Params};
use crate::kernel::{Position, StreamId};
use crate::vault::{Decision, Filter};
use crate::web::problem::Problem;

/// What is looked for. Of several values of one parameter, one has to fit.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents the parameters that `filter` reads")]
pub(in super::super) struct Wanted {
    /// Only of this kind, such as `connection`; repeatable.
    kind: Option<Vec<String>>,
    /// Only of this type, such as `imported`; repeatable.
    r#type: Option<Vec<String>>,
    /// Only of this thing; repeatable.
    stream: Option<Vec<String>>,
    /// Only by this principal: a credential, or a user by any of its credentials. What was refused to it is found too. Repeatable.
    actor: Option<Vec<String>>,
    /// `denied`: failed logins, wrong client secrets and requests that lacked a permission, each written within a minute; or `allowed`.
    #[param(example = "denied")]
    decision: Option<String>,
    /// Only what this rule let through, such as `role:owner`; repeatable.
    rule: Option<Vec<String>>,
    /// Only from this address; repeatable.
    ip: Option<Vec<String>>,
    /// From this position or instant on; at most the next position, or now.
    from: Option<String>,
    /// Through this position, or through the last event recorded before this instant; at most the last position, or now.
    to: Option<String>,
}

/// The parameters that a filter is read from, of which these may be given several times.
pub(super) const SEVERAL: [&str; 6] = ["kind", "type", "stream", "actor", "rule", "ip"];
/// Those that are given once.
pub(super) const ONCE: [&str; 3] = ["decision", "from", "to"];

/// The parameters of a route that takes filters and these beside them.
pub(super) fn params(caller: &Caller, further: &[&'static str]) -> Result<Params, Problem> {
    let once: Vec<&'static str> = ONCE.into_iter().chain(further.iter().copied()).collect();
    caller.params_with(&once, &SEVERAL)
}

/// The filter that a request describes, through a position at most.
pub(super) async fn filter(caller: &Caller, params: &Params, position: Position) -> Result<Filter, Problem> {
    let texts = |name| params.all(name).map(str::to_owned).collect();
    let wrong = |name: &str| Problem::invalid(format!("{name}: takes an id of 32 lower-case hex digits"));
    let ids = |name| params.all(name).map(|text| text.parse().map_err(|_| wrong(name))).collect::<Result<Vec<StreamId>, _>>();
    let mut filter = Filter {
        kinds: texts("kind"),
        event_types: texts("type"),
        streams: ids("stream")?,
        actors: ids("actor")?,
        decision: match params.get("decision") {
            None => None,
            Some("denied") => Some(Decision::Denied),
            Some("allowed") => Some(Decision::Allowed),
            Some(_) => return Err(Problem::invalid("decision: is denied or allowed")),
        },
        rules: texts("rule"),
        ips: texts("ip"),
        from: Position::ZERO,
        to: position,
        oldest_first: false,
    };
    let head = caller.vault.views().position();
    if let Some(text) = params.get("from") {
        // The next event may be waited for.
        filter.from = first(text, resolve(caller, "from", text, head.next()).await?);
    }
    if let Some(text) = params.get("to") {
        let to = resolve(caller, "to", text, head).await?;
        // Of instants between two events, `from` is the later one by a position.
        if params.get("from").is_some() && filter.from > to.next() {
            return Err(Problem::invalid("to: is before from"));
        }
        filter.to = to.min(position);
    }
    Ok(filter)
}

/// A position through `end`, or the last one before an instant.
async fn resolve(caller: &Caller, name: &str, text: &str, end: Position) -> Result<Position, Problem> {
    if text.parse::<crate::web::as_of::AsOf>().is_err() {
        return Err(Problem::invalid(format!("{name}: takes a position, such as 1042, or an RFC 3339 instant, such as 2026-05-04T14:05:00Z")));
    }
    Ok(caller.within(name, text, end).await?)
}

/// An instant stands for the first event at or after it.
fn first(text: &str, resolved: Position) -> Position {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { resolved } else { resolved.next() }
}

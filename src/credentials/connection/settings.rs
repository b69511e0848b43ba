//! Entered values, and what a connection lacks.

use super::{Changes, Connection, Context, Part, Phase, Written};
use crate::credentials::Sealing;
use crate::credentials::connector::{AuthType, Connector};
use crate::credentials::settings;
use crate::kernel::{Json, Refusal};

/// As a refusal names them.
const WHAT: &str = "settings of a connection";

/// Sorts changes into facts and secrets. The phase is still that of before.
pub(super) fn sort(context: &Context<'_>, live: &Connection, changes: Changes) -> Result<(Written, Sealing), Refusal> {
    let part = |part: Option<Option<Json>>| part.map(|value| value.map_or(Part::Removed, Part::Set));
    let sorted = settings::sort(context.connector, changes.settings, WHAT)?;
    sorted.fits(&live.settings, &live.sealed, WHAT)?;
    let written = Written {
        enabled: changes.enabled,
        settings: sorted.facts,
        removed: sorted.removed,
        metadata: part(changes.metadata),
        configuration: part(changes.configuration),
        custom_mappings: part(changes.custom_mappings),
        phase: live.phase,
    };
    Ok((written, sorted.sealing))
}

/// Whether a value for the setting is there: entered, or supplied by the tenant.
fn has(supplied: &dyn Fn(&str) -> bool, live: &Connection, id: &str) -> bool {
    settings::holds(&live.settings, &live.sealed, id) || supplied(id)
}

/// The settings that must be there before an exchange, and are not.
pub(super) fn missing_for_authorization<'a>(context: &Context<'a>, live: &Connection) -> Vec<&'a str> {
    missing(context.connector, context.supplied, live)
}

fn missing<'a>(connector: &'a Connector, supplied: &dyn Fn(&str) -> bool, live: &Connection) -> Vec<&'a str> {
    connector.settings_required_for_authorization.iter().map(String::as_str).filter(|id| !has(supplied, live, id)).collect()
}

/// Where a connection with these credentials stands.
pub(super) fn phase(context: &Context<'_>, live: &Connection) -> Phase {
    of(context.connector, context.supplied, live)
}

fn of(connector: &Connector, supplied: &dyn Fn(&str) -> bool, live: &Connection) -> Phase {
    let complete = connector.required_beside_authorization().all(|id| has(supplied, live, id));
    match connector.auth_type {
        AuthType::Oauth2 if live.access.is_none() && live.refresh.is_none() => Phase::Added,
        AuthType::Oauth2 if complete => Phase::Callable,
        AuthType::Oauth2 => Phase::Authorized,
        _ if complete && missing(connector, supplied, live).is_empty() => Phase::Callable,
        _ => Phase::Added,
    }
}

/// Where a connection stands today: its latest event said so then, and what its service asks for, or what its tenant supplies, may have changed
/// since. Credentials that were found wrong stay so until others come.
#[must_use]
pub fn standing(connector: &Connector, supplied: &dyn Fn(&str) -> bool, live: &Connection) -> Phase {
    if live.phase == Phase::Invalid { Phase::Invalid } else { of(connector, supplied, live) }
}

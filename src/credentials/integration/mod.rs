//! Integration: what a tenant supplies for all connections to one service, such as its one OAuth client; and whether they may be authorized.

mod supply;

pub use supply::{Standing, Supply, standing};

use serde::{Deserialize, Serialize};

use super::Subject;
use super::connector::Connector;
use super::settings::{self, Facts, GivenSettings, Sealed, Sorted};
use crate::kernel::{Claim, Header, Moment, Plan, Refusal, SecretRef, Write};

/// Stored on every event: never change it.
pub const NAME: &str = "integration";
/// As a refusal names them.
const WHAT: &str = "settings of an integration";

/// What is asked.
pub enum Command {
    /// Make it, or replace it whole where it is there: settings that are not named go.
    Put {
        /// Whether connections to the service may be authorized and exchanged.
        enabled: bool,
        /// What is supplied.
        settings: GivenSettings,
    },
    /// Change what is named; make it where it is not there.
    Update {
        /// Whether connections to the service may be authorized and exchanged.
        enabled: Option<bool>,
        /// What is supplied; those not named stay.
        settings: GivenSettings,
    },
    /// Take note that a secret is about to be shown.
    Reveal {
        /// Which.
        secret: SecretRef,
    },
    /// Remove it: connections keep what is their own.
    Delete,
}

/// What happened. Secrets lie in boxes named `settings.<id>`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It was made.
    Created {
        /// The API family.
        unified_api: String,
        /// The service.
        service_id: String,
        /// Whether connections to the service may be authorized and exchanged.
        enabled: bool,
        /// Values that are no secrets.
        #[serde(default, skip_serializing_if = "Facts::is_empty")]
        settings: Facts,
    },
    /// It changed.
    Updated {
        /// Whether connections to the service may be authorized and exchanged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        enabled: Option<bool>,
        /// Values that are no secrets.
        #[serde(default, skip_serializing_if = "Facts::is_empty")]
        settings: Facts,
        /// Settings that were removed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        removed: Vec<String>,
    },
    /// A secret was shown.
    Revealed {
        /// Which.
        secret: SecretRef,
    },
    /// It was removed.
    Deleted,
}

impl Event {
    /// Its stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Updated { .. } => "updated",
            Self::Revealed { .. } => "revealed",
            Self::Deleted => "deleted",
        }
    }
}

/// An integration that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Integration {
    /// The API family.
    pub unified_api: String,
    /// The service.
    pub service_id: String,
    /// Whether connections to the service may be authorized and exchanged.
    pub enabled: bool,
    /// Values that are no secrets.
    pub settings: Facts,
    /// Settings that are secrets.
    pub sealed: Sealed,
    /// Since when.
    pub created_at: Moment,
    /// The latest change.
    pub updated_at: Moment,
}

/// Its life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Not made yet.
    #[default]
    Absent,
    /// There.
    Live(Box<Integration>),
    /// Removed.
    Deleted {
        /// When.
        at: Moment,
        /// What it was.
        last: Box<Integration>,
    },
}

impl State {
    /// The secrets that the state rests on.
    #[must_use]
    pub fn secrets(&self) -> Vec<&SecretRef> {
        match self {
            Self::Live(live) => live.sealed.values().collect(),
            Self::Absent | Self::Deleted { .. } => Vec::new(),
        }
    }

    /// API family and service, live or deleted.
    #[must_use]
    pub fn service(&self) -> Option<(&str, &str)> {
        match self {
            Self::Live(of) | Self::Deleted { last: of, .. } => Some((&of.unified_api, &of.service_id)),
            Self::Absent => None,
        }
    }
}

/// One for each service of a tenant.
pub(super) fn claim(unified_api: &str, service_id: &str) -> Claim {
    Claim::exact(NAME, &[unified_api], service_id)
}

/// Only what the service asks for may be supplied; what is there may be removed, whatever it asks for by now. The refusal repeats nothing that was
/// given: somebody may have written a secret in the place of a name.
fn sort(connector: &Connector, live: Option<&Integration>, given: GivenSettings) -> Result<Sorted, Refusal> {
    let held = |id: &str| live.is_some_and(|live| live.settings.contains_key(id) || live.sealed.contains_key(id));
    if given.iter().any(|(id, value)| connector.field(id).is_none() && (value.is_some() || !held(id))) {
        let fields: Vec<&str> = connector.form_fields.iter().map(|field| field.id.as_str()).collect();
        return Err(Refusal::invalid("settings", format!("takes what {} asks for: {}", connector.name, fields.join(", "))));
    }
    let mut sorted = settings::sort(connector, given, WHAT)?;
    sorted.removed.retain(|id| held(id));
    if let Some(live) = live {
        sorted.facts.retain(|id, value| live.settings.get(id) != Some(value));
    }
    Ok(sorted)
}

/// The rules, with the service as it stands in the tenant.
pub fn decide(subject: Subject, connector: &Connector, state: &State, command: Command) -> Result<Plan<Event>, Refusal> {
    match (state, command) {
        (State::Absent, Command::Put { enabled, settings }) => create(subject, connector, enabled, settings),
        (State::Absent, Command::Update { enabled, settings }) => create(subject, connector, enabled.unwrap_or(true), settings),
        (State::Live(live), Command::Put { enabled, settings }) => {
            let unnamed = live.settings.keys().chain(live.sealed.keys()).filter(|id| !settings.contains_key(*id)).map(|id| (id.clone(), None));
            let whole = unnamed.collect::<GivenSettings>().into_iter().chain(settings.clone()).collect();
            update(subject, connector, live, Some(enabled), whole)
        }
        (State::Live(live), Command::Update { enabled, settings }) => update(subject, connector, live, enabled, settings),
        (State::Live(_), Command::Reveal { secret }) => Ok(Plan::of(Write::observation(subject.stream, Event::Revealed { secret }))),
        (State::Live(_), Command::Delete) => Ok(Plan::of(Write::change(subject.stream, subject.version, Event::Deleted).freeing(claim(&connector.unified_api, &connector.service_id)))),
        (State::Absent | State::Deleted { .. }, _) => Err(Refusal::NotFound),
    }
}

fn create(subject: Subject, connector: &Connector, enabled: bool, given: GivenSettings) -> Result<Plan<Event>, Refusal> {
    let Sorted { facts, sealing, .. } = sort(connector, None, given)?;
    let (unified_api, service_id) = (connector.unified_api.clone(), connector.service_id.clone());
    let mut write = Write::change(subject.stream, subject.version, Event::Created { unified_api, service_id, enabled, settings: facts });
    write.secrets = sealing;
    Ok(Plan::of(write.taking(claim(&connector.unified_api, &connector.service_id))))
}

fn update(subject: Subject, connector: &Connector, live: &Integration, enabled: Option<bool>, given: GivenSettings) -> Result<Plan<Event>, Refusal> {
    let sorted = sort(connector, Some(live), given)?;
    sorted.fits(&live.settings, &live.sealed, WHAT)?;
    // What is as it was is no change.
    let enabled = enabled.filter(|enabled| *enabled != live.enabled);
    let Sorted { facts, removed, sealing } = sorted;
    if enabled.is_none() && facts.is_empty() && removed.is_empty() && sealing.is_empty() {
        return Ok(Plan::nothing());
    }
    let mut write = Write::change(subject.stream, subject.version, Event::Updated { enabled, settings: facts, removed });
    write.secrets = sealing;
    Ok(Plan::of(write))
}

/// The state after the event.
#[must_use]
pub fn evolve(state: State, header: &Header, event: Event) -> State {
    let at = header.recorded_at;
    match (event, state) {
        (Event::Created { unified_api, service_id, enabled, settings: facts }, _) => {
            let (settings, sealed) = (Facts::new(), Sealed::new());
            let mut live = Integration { unified_api, service_id, enabled, settings, sealed, created_at: at, updated_at: at };
            settings::write(&mut live.settings, &mut live.sealed, header, facts, &[]);
            State::Live(Box::new(live))
        }
        (Event::Updated { enabled, settings: facts, removed }, State::Live(mut live)) => {
            live.enabled = enabled.unwrap_or(live.enabled);
            settings::write(&mut live.settings, &mut live.sealed, header, facts, &removed);
            live.updated_at = at;
            State::Live(live)
        }
        (Event::Deleted, State::Live(last)) => State::Deleted { at, last },
        (_, state) => state,
    }
}

//! Application: a program with a client id (its stream's) and a secret, and roles of its own.

use serde::{Deserialize, Serialize};

use super::issued::{self, Issued, KnownToken};
use super::{Sealing, Subject};
use crate::kernel::{Claim, Header, Moment, Permits, Plan, Refusal, RoleRef, Write, name};

/// Stored on every event: never change it.
pub const NAME: &str = "application";
/// The most roles, and the most application ids, of one application.
pub const MAX_LIST: usize = 64;

/// What an application is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Its name; unique in the tenant.
    pub name: String,
    /// Roles held.
    pub roles: Vec<RoleRef>,
    /// Permissions beside those of its roles.
    pub permissions: Vec<String>,
    /// Application ids of the connections surface that it may name; empty: any.
    pub app_ids: Vec<String>,
}

/// What changes; absent parts stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Changes {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Roles held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<RoleRef>>,
    /// Permissions beside those of its roles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<String>>,
    /// Application ids that it may name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_ids: Option<Vec<String>>,
    /// Whether it is refused for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<bool>,
}

/// What is asked.
pub enum Command {
    /// Make it.
    Create {
        /// What it is.
        profile: Profile,
        /// How its secret is recognised.
        token: KnownToken,
        /// What a repeat of the command is answered with.
        sealing: Sealing,
    },
    /// Change parts of it.
    Update(Changes),
    /// Change its secret, or end access tokens.
    Secret(issued::Command),
    /// Remove it.
    Delete,
}

/// What happened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It was made.
    Created {
        /// What it is.
        profile: Profile,
        /// How its secret is recognised.
        token: KnownToken,
    },
    /// Parts of it changed.
    Updated(Changes),
    /// Its secret changed, or access tokens ended.
    Secret(issued::Event),
    /// It was removed.
    Deleted,
}

impl Event {
    /// Its stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Updated(_) => "updated",
            Self::Secret(event) => event.name(),
            Self::Deleted => "deleted",
        }
    }
}

/// An application that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// Its name.
    pub name: String,
    /// Roles held.
    pub roles: Vec<RoleRef>,
    /// Permissions beside those of its roles.
    pub permits: Permits,
    /// Application ids that it may name; empty: any.
    pub app_ids: Vec<String>,
    /// Whether it is refused for now.
    pub blocked: bool,
    /// How its secret is recognised.
    pub issued: Issued,
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
    Live(Box<Application>),
    /// Removed.
    Deleted {
        /// When.
        at: Moment,
        /// What it was.
        last: Box<Application>,
    },
}

pub(super) fn claim(given: &str) -> Claim {
    name::claim(NAME, &[], given)
}

/// The rules.
pub fn decide(subject: Subject, state: &State, now: Moment, command: Command) -> Result<Plan<Event>, Refusal> {
    let change = |event| Write::change(subject.stream, subject.version, event);
    match (state, command) {
        (State::Absent, Command::Create { mut profile, token, sealing }) => {
            profile.name = name::name("name", &profile.name)?;
            check(Some(&profile.roles), Some(&profile.permissions), Some(&profile.app_ids))?;
            let claim = claim(&profile.name);
            let mut write = change(Event::Created { profile, token }).taking(claim);
            write.secrets = sealing;
            Ok(Plan::of(write))
        }
        (State::Live(_) | State::Deleted { .. }, Command::Create { .. }) => Err(Refusal::AlreadyExists),
        (State::Live(live), Command::Update(changes)) => update(subject, live, changes),
        (State::Live(live), Command::Secret(command)) => Ok(issued::decide(subject, &live.issued, now, None, command)?.map(Event::Secret)),
        (State::Live(live), Command::Delete) => Ok(Plan::of(change(Event::Deleted).freeing(claim(&live.name)))),
        (State::Absent | State::Deleted { .. }, _) => Err(Refusal::NotFound),
    }
}

fn check(roles: Option<&Vec<RoleRef>>, permissions: Option<&Vec<String>>, app_ids: Option<&Vec<String>>) -> Result<(), Refusal> {
    if roles.is_some_and(|roles| roles.len() > MAX_LIST) {
        return Err(Refusal::invalid("roles", format!("takes at most {MAX_LIST} roles")));
    }
    if let Some(permissions) = permissions {
        Permits::parse("permissions", permissions)?;
    }
    let app_ids = app_ids.map(Vec::as_slice).unwrap_or_default();
    if app_ids.len() > MAX_LIST || app_ids.iter().any(|id| id.is_empty() || id.len() > 255 || id.chars().any(|c| c.is_control() || c == '/')) {
        return Err(Refusal::invalid("app_ids", format!("takes at most {MAX_LIST} ids of 1 to 255 bytes without /")));
    }
    Ok(())
}

fn update(subject: Subject, live: &Application, mut changes: Changes) -> Result<Plan<Event>, Refusal> {
    if let Some(given) = &changes.name {
        changes.name = Some(name::name("name", given)?);
    }
    check(changes.roles.as_ref(), changes.permissions.as_ref(), changes.app_ids.as_ref())?;
    changes.name.take_if(|name| *name == live.name);
    changes.roles.take_if(|roles| *roles == live.roles);
    changes.permissions.take_if(|permissions| Permits::read(permissions) == live.permits);
    changes.app_ids.take_if(|ids| *ids == live.app_ids);
    changes.blocked.take_if(|blocked| *blocked == live.blocked);
    if changes == Changes::default() {
        return Ok(Plan::nothing());
    }
    let renamed = changes.name.as_deref().map(claim);
    let mut write = Write::change(subject.stream, subject.version, Event::Updated(changes));
    if let Some(new) = renamed.filter(|new| *new != claim(&live.name)) {
        write = write.freeing(claim(&live.name)).taking(new);
    }
    Ok(Plan::of(write))
}

/// The state after the event.
#[must_use]
pub fn evolve(state: State, header: &Header, event: Event) -> State {
    let at = header.recorded_at;
    match (event, state) {
        (Event::Created { profile, token }, _) => {
            let Profile { name, roles, permissions, app_ids } = profile;
            let (permits, issued) = (Permits::read(&permissions), Issued::first(vec![token], at));
            State::Live(Box::new(Application { name, roles, permits, app_ids, blocked: false, issued, created_at: at, updated_at: at }))
        }
        (Event::Updated(changes), State::Live(live)) => State::Live(Box::new(Application {
            name: changes.name.unwrap_or(live.name),
            roles: changes.roles.unwrap_or(live.roles),
            permits: changes.permissions.map_or(live.permits, |permissions| Permits::read(&permissions)),
            app_ids: changes.app_ids.unwrap_or(live.app_ids),
            blocked: changes.blocked.unwrap_or(live.blocked),
            issued: live.issued,
            created_at: live.created_at,
            updated_at: at,
        })),
        (Event::Secret(event), State::Live(live)) => {
            let live = *live;
            State::Live(Box::new(Application { issued: issued::evolve(live.issued, header, event), updated_at: at, ..live }))
        }
        (Event::Deleted, State::Live(last)) => State::Deleted { at, last },
        (_, state) => state,
    }
}

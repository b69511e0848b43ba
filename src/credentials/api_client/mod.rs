//! API client: two pairs, its id (its stream's) with a secret, and an OAuth client id with another secret, and roles. Both secrets may be shown
//! again, so that they are sealed as well as recognised.

use serde::{Deserialize, Serialize};

use super::issued::{self, Issued, KnownToken, SecretId};
use super::{Sealing, Subject};
use crate::kernel::{Header, Moment, Plan, Refusal, RoleRef, SecretRef, StreamId, Write, name};

/// Stored on every event: never change it.
pub const NAME: &str = "api_client";
/// The box of the secret.
pub const SECRET: &str = "secret";
/// The box of the OAuth client secret.
pub const OAUTH_SECRET: &str = "oauth_client_secret";
/// The most roles of one client.
pub const MAX_ROLES: usize = 64;

/// What is asked.
pub enum Command {
    /// Make it. The tokens are the secret and the OAuth client secret, in this order; `sealing` holds both values.
    Create {
        /// Its name.
        name: String,
        /// Roles held.
        roles: Vec<RoleRef>,
        /// How its secrets are recognised.
        tokens: Vec<KnownToken>,
        /// Their values.
        sealing: Sealing,
    },
    /// Change its name and roles; absent ones stay as they are.
    Update {
        /// Its name.
        name: Option<String>,
        /// Roles held.
        roles: Option<Vec<RoleRef>>,
    },
    /// Change its secrets, or end access tokens.
    Secret(issued::Command),
    /// Take note that secrets were shown.
    Reveal(Vec<SecretRef>),
    /// Remove it.
    Delete,
}

/// What happened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It was made; its secrets lie in the boxes `secret` and `oauth_client_secret`.
    Created {
        /// Its name.
        name: String,
        /// Roles held.
        roles: Vec<RoleRef>,
        /// How its secrets are recognised.
        tokens: Vec<KnownToken>,
    },
    /// Its name or roles changed.
    Updated {
        /// Its name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Roles held.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        roles: Option<Vec<RoleRef>>,
    },
    /// Its secrets changed, or access tokens ended.
    Secret(issued::Event),
    /// Secrets were shown.
    Revealed {
        /// Which.
        secrets: Vec<SecretRef>,
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
            Self::Secret(event) => event.name(),
            Self::Revealed { .. } => "revealed",
            Self::Deleted => "deleted",
        }
    }
}

/// A client that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiClient {
    /// Its name.
    pub name: String,
    /// Roles held.
    pub roles: Vec<RoleRef>,
    /// How its secrets are recognised.
    pub issued: Issued,
    /// Where the values of its secrets lie.
    pub sealed: Vec<(SecretId, SecretRef)>,
    /// Who made it.
    pub author: StreamId,
    /// Who changed it last.
    pub updated_by: StreamId,
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
    Live(Box<ApiClient>),
    /// Removed.
    Deleted {
        /// When.
        at: Moment,
        /// What it was.
        last: Box<ApiClient>,
    },
}

impl ApiClient {
    /// Where the values of its present secrets lie.
    #[must_use]
    pub fn present(&self) -> Vec<&SecretRef> {
        let current = self.issued.current.secrets.iter();
        current.filter_map(|known| self.sealed.iter().find(|(id, _)| *id == known.id).map(|(_, secret)| secret)).collect()
    }
}

impl State {
    /// The secrets that the state rests on.
    #[must_use]
    pub fn secrets(&self) -> Vec<&SecretRef> {
        match self {
            Self::Live(live) => live.sealed.iter().map(|(_, secret)| secret).collect(),
            Self::Absent | Self::Deleted { .. } => Vec::new(),
        }
    }
}

/// The rules.
pub fn decide(subject: Subject, state: &State, now: Moment, command: Command) -> Result<Plan<Event>, Refusal> {
    let change = |event| Write::change(subject.stream, subject.version, event);
    match (state, command) {
        (State::Absent, Command::Create { name, roles, tokens, sealing }) => {
            let name = name::name("name", &name)?;
            check(&roles)?;
            let mut write = change(Event::Created { name, roles, tokens });
            write.secrets = sealing;
            Ok(Plan::of(write))
        }
        (State::Live(_) | State::Deleted { .. }, Command::Create { .. }) => Err(Refusal::AlreadyExists),
        (State::Live(live), Command::Update { name, roles }) => {
            let name = name.map(|given| name::name("name", &given)).transpose()?.filter(|name| *name != live.name);
            let roles = roles.filter(|roles| *roles != live.roles);
            check(roles.as_deref().unwrap_or_default())?;
            Ok(if name.is_none() && roles.is_none() { Plan::nothing() } else { Plan::of(change(Event::Updated { name, roles })) })
        }
        (State::Live(live), Command::Secret(command)) => Ok(issued::decide(subject, &live.issued, now, None, command)?.map(Event::Secret)),
        (State::Live(_), Command::Reveal(secrets)) => Ok(Plan::of(Write::observation(subject.stream, Event::Revealed { secrets }))),
        (State::Live(_), Command::Delete) => Ok(Plan::of(change(Event::Deleted))),
        (State::Absent | State::Deleted { .. }, _) => Err(Refusal::NotFound),
    }
}

fn check(roles: &[RoleRef]) -> Result<(), Refusal> {
    if roles.len() > MAX_ROLES { Err(Refusal::invalid("roles", format!("takes at most {MAX_ROLES} roles"))) } else { Ok(()) }
}

/// Where the values of these secrets lie in the event that brought them.
fn sealed(header: &Header, tokens: &[KnownToken]) -> Vec<(SecretId, SecretRef)> {
    let boxes = [SECRET, OAUTH_SECRET];
    tokens.iter().zip(boxes).filter_map(|(token, name)| Some((token.id.parse().ok()?, header.secret(name)?))).collect()
}

/// The state after the event.
#[must_use]
pub fn evolve(state: State, header: &Header, event: Event) -> State {
    let at = header.recorded_at;
    match (event, state) {
        (Event::Created { name, roles, tokens }, _) => {
            let (sealed, issued) = (sealed(header, &tokens), Issued::first(tokens, at));
            State::Live(Box::new(ApiClient { name, roles, issued, sealed, author: header.actor, updated_by: header.actor, created_at: at, updated_at: at }))
        }
        (Event::Updated { name, roles }, State::Live(mut live)) => {
            live.name = name.unwrap_or(live.name);
            live.roles = roles.unwrap_or(live.roles);
            (live.updated_by, live.updated_at) = (header.actor, at);
            State::Live(live)
        }
        (Event::Secret(event), State::Live(live)) => {
            let mut live = *live;
            if let issued::Event::Rotated { tokens, .. } = &event {
                live.sealed.extend(sealed(header, tokens));
            }
            live.issued = issued::evolve(live.issued, header, event);
            let kept: Vec<SecretId> = live.issued.all().map(|known| known.id).collect();
            live.sealed.retain(|(id, _)| kept.contains(id));
            (live.updated_by, live.updated_at) = (header.actor, at);
            State::Live(Box::new(live))
        }
        (Event::Deleted, State::Live(last)) => State::Deleted { at, last },
        (_, state) => state,
    }
}

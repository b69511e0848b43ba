//! User: a person. The first one, the owner, is made by `init`.

use serde::{Deserialize, Serialize};

use super::{PasswordHash, Subject, To};
use crate::kernel::{Claim, Header, Moment, Plan, Position, Refusal, RoleRef, Write, name};

/// Stored on every event: never change it.
pub const NAME: &str = "user";
/// The most roles of one user.
pub const MAX_ROLES: usize = 64;

/// What is asked.
pub enum Command {
    /// Make it.
    Create {
        /// Who it is.
        profile: Profile,
        /// What a password is compared with; without one, the user cannot log in.
        password: Option<PasswordHash>,
    },
    /// Change parts of it.
    Update(Changes),
    /// Set the password. Every session ends.
    SetPassword(PasswordHash),
    /// End every session.
    SignOut,
    /// Remove it.
    Delete,
}

/// What happened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The person may act from now on.
    Created(Profile),
    /// Parts of it changed.
    Updated(Changes),
    /// A password was set, and every session ended.
    PasswordSet {
        /// What a password is compared with.
        #[serde(with = "PasswordHash")]
        password: PasswordHash,
    },
    /// Every session ended.
    SignedOut,
    /// It was removed.
    Deleted,
}

/// What a user is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The name to log in with; unique in the tenant.
    pub login: String,
    /// The name to show.
    pub name: String,
    /// Where to reach the person.
    pub email: Option<String>,
    /// Roles held.
    pub roles: Vec<RoleRef>,
}

/// What changes; absent parts stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Changes {
    /// The name to log in with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// The name to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where to reach the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<To<String>>,
    /// Roles held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<RoleRef>>,
    /// Whether it is refused for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<bool>,
}

impl Event {
    /// Its stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created(_) => "created",
            Self::Updated(_) => "updated",
            Self::PasswordSet { .. } => "password_set",
            Self::SignedOut => "signed_out",
            Self::Deleted => "deleted",
        }
    }
}

/// A user that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Who it is.
    pub profile: Profile,
    /// What a password is compared with.
    pub password: Option<Password>,
    /// Whether it is refused for now.
    pub blocked: bool,
    /// Sessions that began before this position have ended.
    pub signed_out: Position,
    /// Since when.
    pub created_at: Moment,
    /// The latest change.
    pub updated_at: Moment,
}

/// A password that was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Password {
    /// What a presented one is compared with.
    #[serde(with = "PasswordHash")]
    pub hash: PasswordHash,
    /// When.
    pub set_at: Moment,
}

/// A user's life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Not made yet.
    #[default]
    Absent,
    /// May act.
    Live(Box<User>),
    /// Removed.
    Deleted {
        /// When.
        at: Moment,
        /// What it was.
        last: Box<User>,
    },
}

/// Logins are unique in the tenant.
#[must_use]
pub fn claim(login: &str) -> Claim {
    Claim::exact(NAME, &[], login)
}

/// The rules.
pub fn decide(subject: Subject, state: &State, command: Command) -> Result<Plan<Event>, Refusal> {
    let change = |event| Write::change(subject.stream, subject.version, event);
    match (state, command) {
        (State::Absent, Command::Create { profile, password }) => {
            let profile = Profile {
                login: name::login("login", &profile.login)?,
                name: name::name("name", &profile.name)?,
                email: profile.email.map(|email| name::email("email", &email)).transpose()?,
                roles: roles(profile.roles)?,
            };
            let claim = claim(&profile.login);
            let mut plan = Plan::of(change(Event::Created(profile)).taking(claim));
            if let Some(password) = password {
                plan.writes.push(Write::change(subject.stream, subject.version.next(), Event::PasswordSet { password }));
            }
            Ok(plan)
        }
        (State::Live(_) | State::Deleted { .. }, Command::Create { .. }) => Err(Refusal::AlreadyExists),
        (State::Live(live), Command::Update(changes)) => update(subject, live, changes),
        (State::Live(_), Command::SetPassword(password)) => Ok(Plan::of(change(Event::PasswordSet { password }))),
        (State::Live(_), Command::SignOut) => Ok(Plan::of(change(Event::SignedOut))),
        (State::Live(live), Command::Delete) => Ok(Plan::of(change(Event::Deleted).freeing(claim(&live.profile.login)))),
        (State::Absent | State::Deleted { .. }, _) => Err(Refusal::NotFound),
    }
}

fn roles(mut roles: Vec<RoleRef>) -> Result<Vec<RoleRef>, Refusal> {
    if roles.len() > MAX_ROLES {
        return Err(Refusal::invalid("roles", format!("takes at most {MAX_ROLES} roles")));
    }
    roles.sort_unstable();
    roles.dedup();
    Ok(roles)
}

fn update(subject: Subject, live: &User, mut changes: Changes) -> Result<Plan<Event>, Refusal> {
    let now = &live.profile;
    changes.login = changes.login.map(|login| name::login("login", &login)).transpose()?.filter(|login| *login != now.login);
    changes.name = changes.name.map(|given| name::name("name", &given)).transpose()?.filter(|name| *name != now.name);
    changes.roles = changes.roles.map(roles).transpose()?.filter(|roles| *roles != now.roles);
    if let Some(email) = changes.email.as_ref().and_then(|email| email.to.as_ref()) {
        name::email("email", email)?;
    }
    changes.email.take_if(|email| email.to == now.email);
    changes.blocked.take_if(|blocked| *blocked == live.blocked);
    if changes == Changes::default() {
        return Ok(Plan::nothing());
    }
    let renamed = changes.login.as_deref().map(claim);
    let write = Write::change(subject.stream, subject.version, Event::Updated(changes));
    Ok(Plan::of(match renamed {
        Some(new) => write.freeing(claim(&now.login)).taking(new),
        None => write,
    }))
}

/// The state after the event.
#[must_use]
pub fn evolve(state: State, header: &Header, event: Event) -> State {
    let at = header.recorded_at;
    match (event, state) {
        (Event::Created(profile), _) => {
            State::Live(Box::new(User { profile, password: None, blocked: false, signed_out: Position::ZERO, created_at: at, updated_at: at }))
        }
        (Event::Deleted, State::Live(last)) => State::Deleted { at, last },
        (event, State::Live(mut live)) => {
            live.updated_at = at;
            match event {
                Event::Updated(changes) => change(&mut live, changes),
                Event::PasswordSet { password } => {
                    live.password = Some(Password { hash: password, set_at: at });
                    live.signed_out = header.position;
                }
                Event::SignedOut => live.signed_out = header.position,
                Event::Created(_) | Event::Deleted => {}
            }
            State::Live(live)
        }
        (_, state) => state,
    }
}

fn change(live: &mut User, changes: Changes) {
    let profile = &mut live.profile;
    if let Some(login) = changes.login {
        profile.login = login;
    }
    if let Some(name) = changes.name {
        profile.name = name;
    }
    if let Some(email) = changes.email {
        profile.email = email.to;
    }
    if let Some(roles) = changes.roles {
        profile.roles = roles;
    }
    live.blocked = changes.blocked.unwrap_or(live.blocked);
}

//! Provider key: a user's key at a provider of models, kept on the user's behalf. One per user and provider.

use serde::{Deserialize, Serialize};

use super::{Subject, To};
use crate::kernel::{Claim, Header, MAX_SECRET, Moment, Plan, Refusal, Secret, SecretRef, StreamId, Write};

/// Stored on every event: never change it.
pub const NAME: &str = "provider_key";
/// The box of the key.
pub const SECRET: &str = "api_key";
/// The longest name of a key, or organisation, in bytes.
pub const MAX_TEXT: usize = 255;
/// What stands for the hidden part of a key in its mask; no provider's keys hold it.
const HIDDEN: char = '…';
/// The shortest key of which the last four characters are shown.
const MASKED_FROM: usize = 12;

/// Whose models the key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Provider {
    /// OpenAI.
    #[serde(rename = "open_AI")]
    OpenAi,
    /// Anthropic.
    #[serde(rename = "anthropic")]
    Anthropic,
    /// Google.
    #[serde(rename = "google")]
    Google,
    /// OpenAI at Azure.
    #[serde(rename = "azure_open_AI")]
    AzureOpenAi,
    /// Mistral.
    #[serde(rename = "mistral")]
    Mistral,
    /// Cohere.
    #[serde(rename = "cohere")]
    Cohere,
    /// Groq.
    #[serde(rename = "groq")]
    Groq,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::OpenAi, Self::Anthropic, Self::Google, Self::AzureOpenAi, Self::Mistral, Self::Cohere, Self::Groq];

    /// Its name on the wire; it is stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "open_AI",
            Self::Anthropic => "anthropic",
            Self::Google => "google",
            Self::AzureOpenAi => "azure_open_AI",
            Self::Mistral => "mistral",
            Self::Cohere => "cohere",
            Self::Groq => "groq",
        }
    }
}

/// What a caller writes; absent parts stay as they are, or are empty in a new key.
#[derive(Default)]
pub struct Given {
    /// The key.
    pub api_key: Option<Secret>,
    /// Its name; an inner `None` takes it away.
    pub name: Option<Option<String>>,
    /// The provider's organisation; an inner `None` takes it away.
    pub organization: Option<Option<String>>,
}

impl Given {
    /// Whether it writes nothing to a key that is not there.
    fn is_empty(&self) -> bool {
        self.api_key.is_none() && self.name.iter().chain(&self.organization).all(Option::is_none)
    }
}

/// What is asked.
pub enum Command {
    /// Make it, or replace it whole where it is there.
    Create {
        /// Whose it is.
        user: StreamId,
        /// Whose models it opens.
        provider: Provider,
        /// What is written.
        given: Given,
    },
    /// Change what is given; make it where it is not there.
    Update {
        /// Whose it is.
        user: StreamId,
        /// Whose models it opens.
        provider: Provider,
        /// What is written.
        given: Given,
    },
    /// Take note that the key was shown.
    Reveal {
        /// Which.
        secret: SecretRef,
    },
    /// Remove it.
    Delete,
}

/// What was written, as facts. The key itself lies in the box `api_key`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Written {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<To<String>>,
    /// The provider's organisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<To<String>>,
    /// What may be shown of the key, if one came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<String>,
}

/// What happened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It was made.
    Created {
        /// Whose it is.
        user: StreamId,
        /// Whose models it opens.
        provider: Provider,
        /// What was written.
        written: Written,
    },
    /// It was replaced whole.
    Replaced {
        /// What was written.
        written: Written,
    },
    /// Parts of it changed.
    Updated {
        /// What was written.
        written: Written,
    },
    /// The key was shown.
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
            Self::Replaced { .. } => "replaced",
            Self::Updated { .. } => "updated",
            Self::Revealed { .. } => "revealed",
            Self::Deleted => "deleted",
        }
    }
}

/// A key that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderKey {
    /// Whose it is.
    pub user: StreamId,
    /// Whose models it opens.
    pub provider: Provider,
    /// Its name.
    pub name: Option<String>,
    /// The provider's organisation.
    pub organization: Option<String>,
    /// What may be shown of the key.
    pub mask: Option<String>,
    /// Where the key lies.
    pub secret: Option<SecretRef>,
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
    Live(Box<ProviderKey>),
    /// Removed.
    Deleted {
        /// When.
        at: Moment,
        /// What it was.
        last: Box<ProviderKey>,
    },
}

impl State {
    /// The secrets that the state rests on.
    #[must_use]
    pub fn secrets(&self) -> Vec<&SecretRef> {
        match self {
            Self::Live(live) => live.secret.iter().collect(),
            Self::Absent | Self::Deleted { .. } => Vec::new(),
        }
    }
}

pub(super) fn claim(user: StreamId, provider: Provider) -> Claim {
    Claim::exact(NAME, &[&user.to_string()], provider.name())
}

/// The beginning that says whose key it is, if it has one, and the last four characters; nothing of a short key.
fn mask(key: &str) -> String {
    let count = key.chars().count();
    if count < MASKED_FROM {
        return HIDDEN.to_string();
    }
    let beginning = if key.starts_with("sk-") { "sk-" } else { "" };
    let end: String = key.chars().skip(count - 4).collect();
    format!("{beginning}{HIDDEN}{end}")
}

/// Facts and secrets apart. `path` is where the caller wrote them.
fn sort(path: &str, given: Given) -> Result<(Written, super::Sealing), Refusal> {
    let text = |member: &str, text: Option<Option<String>>| match text {
        Some(Some(text)) if text.is_empty() || text.len() > MAX_TEXT || text.chars().any(char::is_control) => {
            Err(Refusal::invalid(format!("{path}.{member}"), format!("takes 1 to {MAX_TEXT} bytes without control characters")))
        }
        other => Ok(other.map(|to| To { to })),
    };
    let (name, organization) = (text("api_key_name", given.name)?, text("organization_key", given.organization)?);
    let mask = match &given.api_key {
        None => None,
        Some(secret) => {
            let key = std::str::from_utf8(secret.expose()).unwrap_or_default();
            if key.contains(HIDDEN) {
                return Err(Refusal::invalid(format!("{path}.api_key"), "is a mask, not a key"));
            }
            if key.is_empty() || key.len() > MAX_SECRET || key.chars().any(|c| c.is_control() || c.is_whitespace()) {
                return Err(Refusal::invalid(format!("{path}.api_key"), format!("takes 1 to {MAX_SECRET} bytes without white space and control characters")));
            }
            Some(mask(key))
        }
    };
    Ok((Written { name, organization, mask }, given.api_key.map(|key| (SECRET.to_owned(), key)).into_iter().collect()))
}

/// The rules.
pub fn decide(subject: Subject, state: &State, command: Command) -> Result<Plan<Event>, Refusal> {
    let change = |event, sealing| {
        let mut write = Write::change(subject.stream, subject.version, event);
        write.secrets = sealing;
        write
    };
    match (state, command) {
        (_, Command::Create { provider, given, .. }) if given.is_empty() => {
            Err(Refusal::invalid(provider.name(), "takes api_key, api_key_name and organization_key, at least one of them"))
        }
        // Nothing to take away, and nothing to make.
        (State::Absent, Command::Update { given, .. }) if given.is_empty() => Ok(Plan::nothing()),
        (State::Absent, Command::Create { user, provider, given } | Command::Update { user, provider, given }) => {
            let (written, sealing) = sort(provider.name(), given)?;
            Ok(Plan::of(change(Event::Created { user, provider, written }, sealing).taking(claim(user, provider))))
        }
        (State::Live(_), Command::Create { provider, given, .. }) => {
            let (written, sealing) = sort(provider.name(), given)?;
            Ok(Plan::of(change(Event::Replaced { written }, sealing)))
        }
        (State::Live(live), Command::Update { provider, mut given, .. }) => {
            // The mask that was shown, sent back, changes nothing.
            given.api_key.take_if(|key| live.mask.as_ref().is_some_and(|mask| mask.as_bytes() == key.expose()));
            let (mut written, sealing) = sort(provider.name(), given)?;
            written.name.take_if(|name| name.to == live.name);
            written.organization.take_if(|organization| organization.to == live.organization);
            Ok(if written == Written::default() { Plan::nothing() } else { Plan::of(change(Event::Updated { written }, sealing)) })
        }
        (State::Live(_), Command::Reveal { secret }) => Ok(Plan::of(Write::observation(subject.stream, Event::Revealed { secret }))),
        (State::Live(live), Command::Delete) => Ok(Plan::of(change(Event::Deleted, Vec::new()).freeing(claim(live.user, live.provider)))),
        (State::Absent | State::Deleted { .. }, _) => Err(Refusal::NotFound),
    }
}

/// The state after the event.
#[must_use]
pub fn evolve(state: State, header: &Header, event: Event) -> State {
    let at = header.recorded_at;
    let whole = |user, provider, written: Written, created_at| {
        let (name, organization) = (written.name.and_then(|name| name.to), written.organization.and_then(|organization| organization.to));
        let secret = header.secret(SECRET);
        State::Live(Box::new(ProviderKey { user, provider, name, organization, mask: written.mask, secret, created_at, updated_at: at }))
    };
    match (event, state) {
        (Event::Created { user, provider, written }, _) => whole(user, provider, written, at),
        (Event::Replaced { written }, State::Live(live)) => whole(live.user, live.provider, written, live.created_at),
        (Event::Updated { written }, State::Live(mut live)) => {
            live.name = written.name.map_or(live.name, |name| name.to);
            live.organization = written.organization.map_or(live.organization, |organization| organization.to);
            if written.mask.is_some() {
                (live.mask, live.secret) = (written.mask, header.secret(SECRET));
            }
            live.updated_at = at;
            State::Live(live)
        }
        (Event::Deleted, State::Live(last)) => State::Deleted { at, last },
        (_, state) => state,
    }
}

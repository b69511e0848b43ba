//! The one list of kinds. Each kind is a folder with the same names: `Command`, `Event`, `State`, `decide`, `evolve`.

mod bearer;
pub mod content;
mod facts;
pub mod issued;
mod names;
mod password;
pub mod reverted;
pub mod settings;
mod shown;
mod verifier;

pub use bearer::Bearer;
pub use facts::{FactsError, Meta, Stored};
pub use password::PasswordHash;
pub use reverted::Reverted;
pub use verifier::Verifier;

use serde::{Deserialize, Serialize};

use crate::kernel::{Header, Secret, StreamId, Version};

/// Grows whenever a fold gives another state for the same events: snapshots and recorded state hashes name it.
pub const FOLD_VERSION: u32 = 4;

/// What every kind's `decide` is told of its own stream.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// The thing; of one that is to be made, the id drawn for it.
    pub stream: StreamId,
    /// Its content version; 0 when it does not exist.
    pub version: Version,
}

/// The new value of a part that may be taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct To<T> {
    /// `None` takes it away.
    pub to: Option<T>,
}

/// Values that a command seals, by the name of their box.
pub type Sealing = Vec<(String, Secret)>;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident: $module:ident,)*) => {
        $($(#[$doc])* pub mod $module;)*

        /// An event of any kind.
        #[derive(Debug, PartialEq)]
        #[expect(missing_docs, reason = "the variants are the kinds, documented at their modules")]
        pub enum AnyEvent {
            $($variant($module::Event),)*
            /// The thing stands again as it stood.
            Reverted(Box<Reverted>),
        }

        /// A state of any kind.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[expect(missing_docs, reason = "the variants are the kinds, documented at their modules")]
        pub enum AnyState {
            /// No event yet.
            #[default]
            Absent,
            /// Its keys were destroyed: nothing is left of it but its kind.
            Shredded(Box<str>),
            $($variant($module::State),)*
        }

        /// The kinds, as words of the program; neither stored nor ordered.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the variants are the kinds, documented at their modules")]
        pub enum Kind { $($variant,)* }

        impl Kind {
            /// The kind's stored name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $module::NAME,)* }
            }

            /// The kind of a stored name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                match name { $($module::NAME => Some(Self::$variant),)* _ => None }
            }
        }

        $(impl From<$module::Event> for AnyEvent {
            fn from(event: $module::Event) -> Self {
                Self::$variant(event)
            }
        })*

        impl AnyEvent {
            /// The kind's stored name.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $module::NAME,)* Self::Reverted(reverted) => reverted.to.kind() }
            }

            /// The event's stored name.
            #[must_use]
            pub const fn event_type(&self) -> &'static str {
                match self { $(Self::$variant(event) => event.name(),)* Self::Reverted(_) => reverted::NAME }
            }

            /// The stored JSON of the facts: `{"meta": …, "event": …}`.
            pub fn to_facts(&self, meta: &Meta) -> Result<Vec<u8>, FactsError> {
                match self {
                    $(Self::$variant(event) => facts::encode(meta, event),)*
                    Self::Reverted(reverted) => facts::encode(meta, &AsReverted { reverted: &**reverted }),
                }
            }

            /// The event alone, as it stands in the stored facts.
            fn to_json(&self) -> Result<serde_json::Value, FactsError> {
                match self {
                    $(Self::$variant(event) => serde_json::to_value(event).map_err(|_| FactsError::Shape),)*
                    Self::Reverted(reverted) => serde_json::to_value(AsReverted { reverted }).map_err(|_| FactsError::Shape),
                }
            }

            /// Reads stored facts of a kind and a type of event.
            pub fn from_facts(kind: &str, event_type: &str, json: &[u8]) -> Result<Stored, FactsError> {
                match kind {
                    $($module::NAME)|* if event_type == reverted::NAME => facts::decode::<AsReverted<Box<Reverted>>>(json)
                        .map(|(meta, event)| Stored { meta, event: Self::Reverted(event.reverted) }),
                    $($module::NAME => facts::decode(json).map(|(meta, event)| Stored { meta, event: Self::$variant(event) }),)*
                    _ => Err(FactsError::UnknownKind),
                }
            }
        }

        impl AnyState {
            /// The kind; `None` before the first event, and when nothing is left of it.
            #[must_use]
            pub const fn sort(&self) -> Option<Kind> {
                match self { Self::Absent | Self::Shredded(_) => None, $(Self::$variant(_) => Some(Kind::$variant),)* }
            }

            /// The kind's stored name; empty before the first event.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self {
                    Self::Absent => "",
                    $(Self::$variant(_) => $module::NAME,)*
                    Self::Shredded(kind) => match &**kind { $($module::NAME => $module::NAME,)* _ => "" },
                }
            }

            /// The one fold: the state after the event. An event of another kind than the state's leaves it as it is.
            #[must_use]
            pub fn evolve(self, header: &Header, event: AnyEvent) -> Self {
                match (self, event) {
                    (state, AnyEvent::Reverted(reverted)) if state.sort() == reverted.to.sort() => reverted.evolve(&state, header),
                    $((Self::Absent, AnyEvent::$variant(event)) => Self::$variant($module::evolve($module::State::default(), header, event)),
                    (Self::$variant(state), AnyEvent::$variant(event)) => Self::$variant($module::evolve(state, header, event)),)*
                    (state, _) => state,
                }
            }
        }
    };
}

kinds! {
    /// Who owns credentials.
    Tenant: tenant,
    /// A person.
    User: user,
    /// A key that programs present to this vault.
    ApiKey: api_key,
    /// A service that connections lead to, as data.
    Connector: connector,
    /// Whose connections they are, within an application.
    Consumer: consumer,
    /// A consumer's credentials at one service.
    Connection: connection,
    /// The vault itself: shreds, restores.
    Vault: vault,
    /// A tenant's own set of permissions.
    Role: role,
    /// Whom API keys serve.
    Organization: organization,
    /// A program with roles of its own.
    Application: application,
    /// A user that logged in.
    Session: session,
    /// A user's key at a provider of models.
    ProviderKey: provider_key,
    /// Two pairs of id and secret, and roles.
    ApiClient: api_client,
    /// A program that acts as its user.
    UserApplication: user_application,
    /// When secrets were used.
    Usage: usage,
    /// What was refused.
    Attempts: attempts,
    /// An endpoint that is told what becomes of connections.
    Webhook: webhook,
    /// What a tenant supplies for all connections to one service.
    Integration: integration,
    /// What was put back to a moment.
    Recovery: recovery,
}

/// How a compensating event stands in its facts.
#[derive(Serialize, Deserialize)]
struct AsReverted<T> {
    reverted: T,
}

impl AnyState {
    /// The bytes that snapshots and the state hash use: postcard of the state, verifiers included.
    pub fn canonical(&self) -> Result<Vec<u8>, FactsError> {
        postcard::to_stdvec(self).map_err(|_| FactsError::Shape)
    }
}

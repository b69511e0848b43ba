//! What the vendor's clients send. `null` is what the vendor's models have for an absent member; in an update it removes what a key can be
//! without.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::credentials::provider_key::{Given, Provider};
use crate::kernel::{Refusal, Secret};
use crate::web::body::Object;

/// Versions that the vendor's models carry along: told back, and otherwise passed over.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProviderKeySchema)]
pub(super) struct Schema {
    /// Of the vendor's database.
    migration: i64,
    /// Of the vendor's API.
    #[serde(default)]
    semantic: Semantic,
}

/// The versions that the vendor's clients know; any other one is `UNKNOWN` to them as well.
#[derive(Clone, Copy, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = ProviderKeySemantic)]
enum Semantic {
    /// The only one.
    #[serde(rename = "MAJOR_0_MINOR_0_PATCH_1")]
    First,
    /// Any other.
    #[default]
    #[serde(rename = "UNKNOWN", other)]
    Unknown,
}

/// A key at a provider.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProviderKeyToWrite)]
#[expect(clippy::option_option, reason = "absent, removed and set are three things, as in `Given`")]
pub(super) struct Block {
    /// Passed over.
    #[serde(rename = "schema")]
    #[schema(value_type = Option<Schema>)]
    _schema: Option<Object<Schema>>,
    /// The key, without white space; the whole body takes 64 KiB. In an update, the mask that was shown changes nothing, and `null` is refused: a key is removed by `delete`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "sk-proj-1234567890")]
    api_key: Option<Option<Secret>>,
    /// Its name: 1 to 255 bytes. In an update, `null` removes it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "laptop")]
    api_key_name: Option<Option<String>>,
    /// The provider's organisation: 1 to 255 bytes. In an update, `null` removes it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    organization_key: Option<Option<String>>,
}

/// Tells `null` from an absent member.
#[expect(clippy::option_option, reason = "absent, removed and set are three things, as in `Given`")]
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

macro_rules! bodies {
    ($($(#[$doc:meta])* $member:ident: $provider:ident,)*) => {
        /// Keys of a user, at one provider or several; those that are not named stay as they are.
        #[derive(Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        #[expect(non_snake_case, reason = "the names are the vendor's")]
        #[schema(as = ProviderKeysToWrite)]
        pub(super) struct Write {
            /// Told back in the answer.
            #[schema(value_type = Option<Schema>)]
            schema: Option<Object<Schema>>,
            /// The user: a login, or an id.
            #[schema(example = "owner")]
            user: String,
            $($(#[$doc])*
            #[schema(value_type = Option<Block>)]
            $member: Option<Object<Block>>,)*
        }

        /// Keys of a user that go: those at providers with `true`.
        #[derive(Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        #[expect(non_snake_case, reason = "the names are the vendor's")]
        #[schema(as = ProviderKeysToDelete)]
        pub(super) struct Delete {
            /// Told back in the answer.
            #[schema(value_type = Option<Schema>)]
            schema: Option<Object<Schema>>,
            /// The user: a login, or an id.
            #[schema(example = "owner")]
            user: String,
            $($(#[$doc])*
            $member: Option<bool>,)*
        }

        impl Write {
            fn blocks(self) -> (Addressed, Vec<(Provider, Block)>) {
                let blocks = [$((Provider::$provider, self.$member),)*];
                let addressed = Addressed { user: self.user, schema: self.schema.map(|Object(schema)| schema) };
                (addressed, blocks.into_iter().filter_map(|(provider, block)| block.map(|Object(block)| (provider, block))).collect())
            }
        }

        impl Delete {
            /// Whose keys, and at which providers.
            pub fn parts(self) -> (Addressed, Vec<Provider>) {
                let blocks = [$((Provider::$provider, self.$member),)*];
                let addressed = Addressed { user: self.user, schema: self.schema.map(|Object(schema)| schema) };
                (addressed, blocks.into_iter().filter(|(_, goes)| *goes == Some(true)).map(|(provider, _)| provider).collect())
            }
        }
    };
}

bodies! {
    /// OpenAI.
    open_AI: OpenAi,
    /// Anthropic.
    anthropic: Anthropic,
    /// Google.
    google: Google,
    /// OpenAI at Azure.
    azure_open_AI: AzureOpenAi,
    /// Mistral.
    mistral: Mistral,
    /// Cohere.
    cohere: Cohere,
    /// Groq.
    groq: Groq,
}

/// Whose keys a request is about, and what is told back of it.
pub(super) struct Addressed {
    pub user: String,
    pub schema: Option<Schema>,
}

impl Write {
    /// Keys that replace what is there: `null` is the same as absent.
    pub fn whole(self) -> (Addressed, Vec<(Provider, Given)>) {
        let (addressed, blocks) = self.blocks();
        let whole = |block: Block| Given { api_key: block.api_key.flatten(), name: block.api_key_name, organization: block.organization_key };
        (addressed, blocks.into_iter().map(|(provider, block)| (provider, whole(block))).collect())
    }

    /// Keys of which the given parts change.
    pub fn parts(self) -> Result<(Addressed, Vec<(Provider, Given)>), Refusal> {
        let (addressed, blocks) = self.blocks();
        let part = |(provider, block): (Provider, Block)| match block.api_key {
            Some(None) => Err(Refusal::invalid(format!("{}.api_key", provider.name()), "is not removed by null: delete the key")),
            api_key => Ok((provider, Given { api_key: api_key.flatten(), name: block.api_key_name, organization: block.organization_key })),
        };
        Ok((addressed, blocks.into_iter().map(part).collect::<Result<_, _>>()?))
    }
}

/// The same keys for another try.
pub(super) fn again(keys: &[(Provider, Given)]) -> Vec<(Provider, Given)> {
    let copy =
        |given: &Given| Given { api_key: given.api_key.as_ref().map(Secret::duplicate), name: given.name.clone(), organization: given.organization.clone() };
    keys.iter().map(|(provider, given)| (*provider, copy(given))).collect()
}

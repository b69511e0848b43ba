//! Answers as the vendor's clients read them: always 200 (they take 201 for nothing), with the user's keys by what may be shown of them.

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::wire::Schema;
use crate::credentials::provider_key::{Provider, ProviderKey, State};
use crate::credentials::{AnyState, Kind};
use crate::kernel::StreamId;
use crate::views::Views;

/// A user's keys after the command.
#[derive(Serialize, ToSchema)]
#[schema(as = ProviderKeys)]
pub(super) struct Answer {
    /// As it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<Schema>,
    /// The user and the keys.
    metadata: Metadata,
}

/// A user, and the keys that are there.
#[derive(Serialize, ToSchema)]
#[expect(non_snake_case, reason = "the names are the vendor's")]
#[schema(as = ProviderKeysOfUser)]
struct Metadata {
    /// The user's id.
    global_id: String,
    /// OpenAI.
    #[serde(skip_serializing_if = "Option::is_none")]
    open_AI: Option<Shown>,
    /// Anthropic.
    #[serde(skip_serializing_if = "Option::is_none")]
    anthropic: Option<Shown>,
    /// Google.
    #[serde(skip_serializing_if = "Option::is_none")]
    google: Option<Shown>,
    /// OpenAI at Azure.
    #[serde(skip_serializing_if = "Option::is_none")]
    azure_open_AI: Option<Shown>,
    /// Mistral.
    #[serde(skip_serializing_if = "Option::is_none")]
    mistral: Option<Shown>,
    /// Cohere.
    #[serde(skip_serializing_if = "Option::is_none")]
    cohere: Option<Shown>,
    /// Groq.
    #[serde(skip_serializing_if = "Option::is_none")]
    groq: Option<Shown>,
}

/// A key, without itself.
#[derive(Serialize, ToSchema)]
#[schema(as = ProviderKey)]
struct Shown {
    /// Its mask: the beginning, if it tells whose key it is, and the last four characters.
    #[schema(example = "sk-…7890")]
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_name: Option<String>,
    /// The provider's organisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    organization_key: Option<String>,
}

/// The keys that a user has, with the position that the answer reflects.
pub(super) fn answer(views: &Views, user: StreamId, schema: Option<Schema>) -> Response {
    let shown = |wanted: Provider| {
        views.owned(user, Kind::ProviderKey).find_map(|(_, entry)| match &entry.state {
            AnyState::ProviderKey(State::Live(key)) if key.provider == wanted => Some(Shown::from(&**key)),
            _ => None,
        })
    };
    let metadata = Metadata {
        global_id: user.to_string(),
        open_AI: shown(Provider::OpenAi),
        anthropic: shown(Provider::Anthropic),
        google: shown(Provider::Google),
        azure_open_AI: shown(Provider::AzureOpenAi),
        mistral: shown(Provider::Mistral),
        cohere: shown(Provider::Cohere),
        groq: shown(Provider::Groq),
    };
    let mut response = Json(Answer { schema, metadata }).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("keyledger-position", HeaderValue::from(views.position().0));
    response
}

impl From<&ProviderKey> for Shown {
    fn from(key: &ProviderKey) -> Self {
        Self { api_key: key.mask.clone(), api_key_name: key.name.clone(), organization_key: key.organization.clone() }
    }
}

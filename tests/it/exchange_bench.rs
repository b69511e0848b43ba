//! A connection in a vault of its own, ready to exchange tokens at an endpoint that the test brings.

use std::sync::Arc;

use keyledger::credentials::connection::{Connection, Key, State};
use keyledger::credentials::connector::{AuthType, ClientAuth, Connector, Encoding, FormField, GrantType, Oauth};
use keyledger::credentials::{AnyEvent, AnyState, Meta};
use keyledger::egress::{Egress, Limits, Policy};
use keyledger::kernel::{Plan, Refusal};
use keyledger::oauth::{Exchanges, Landed, Wanted, What};
use keyledger::vault::{Command, Given, Vault, plans};
use serde_json::json;

use crate::vault_bench::{TENANT, VaultBench, settings};

pub const LOOPBACK: &[&str] = &["127.0.0.0/8"];

/// A service that gives tokens for a client's id and secret.
pub fn connector(token_url: String) -> Connector {
    let field = |id: &str, sensitive| FormField {
        id: id.into(),
        label: id.into(),
        field_type: "text".into(),
        required: true,
        sensitive,
        description: None,
        placeholder: None,
        options: None,
    };
    let oauth = Oauth {
        grant: GrantType::ClientCredentials,
        authorize_url: None,
        token_url,
        revoke_url: None,
        client_auth: ClientAuth::Body,
        encoding: Encoding::Form,
        scopes: vec![],
        scope_separator: None,
        token_params: std::collections::BTreeMap::new(),
        authorize_params: std::collections::BTreeMap::new(),
        pkce: false,
    };
    Connector {
        unified_api: "crm".into(),
        service_id: "local".into(),
        name: "Local".into(),
        tag_line: None,
        website: "https://example.com".into(),
        docs: "https://example.com/docs".into(),
        status: "live".into(),
        auth_type: AuthType::Oauth2,
        oauth: Some(oauth),
        form_fields: vec![field("client_id", false), field("client_secret", true)],
        settings_required_for_authorization: vec!["client_id".into(), "client_secret".into()],
        validation: false,
        api: None,
    }
}

/// One connection, and what exchanges its tokens.
pub struct Bench {
    pub vault: Arc<Vault>,
    pub exchanges: Arc<Exchanges>,
    pub wanted: Wanted,
    _files: tempfile::TempDir,
}

impl Bench {
    pub async fn new(token_url: String, allowed: &[&str]) -> Self {
        Self::with_secret(token_url, allowed, "test-secret").await
    }

    pub async fn with_secret(token_url: String, allowed: &[&str], secret: &str) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let bench = VaultBench::new().await;
        let connector = connector(token_url);
        bench.execute(|given| plans::put_connector(given, TENANT, connector.clone())).await.unwrap();
        let key = Key { app: "app".into(), consumer: "c".into(), unified_api: "crm".into(), service_id: "local".into() };
        let entered = settings(&[("client_id", json!("test-client")), ("client_secret", json!(secret))]);
        let answer = bench.execute(|given| plans::update(given, TENANT, &key, entered.clone())).await.unwrap();
        let connection = answer.views.connection(TENANT, &key).unwrap();
        let VaultBench { vault, folder, owner, .. } = bench;
        let vault = Arc::new(vault);
        let policy = Policy { allowed: allowed.iter().map(|range| range.parse().unwrap()).collect() };
        let exchanges = Arc::new(Exchanges::new(Arc::clone(&vault), Egress::new(policy, Limits::default()), "http://127.0.0.1".to_owned()));
        Self { vault, exchanges, wanted: Wanted { principal: owner, meta: Meta::default(), idempotency: None, connection, what: What::Begin }, _files: folder }
    }

    /// Carries out a command of the connection's owner.
    pub async fn execute(&self, decide: impl FnMut(&Given<'_>) -> Result<Plan<AnyEvent>, Refusal>) {
        let command = Command { principal: &self.wanted.principal, meta: Meta::default(), idempotency: None };
        self.vault.execute(&command, decide).await.unwrap();
    }

    /// Gives the service another token endpoint, and the grant by which what is wanted begins.
    pub async fn point_at(&self, token_url: String, what: &What) {
        let mut connector = connector(token_url);
        if let (What::Renew, Some(oauth)) = (what, &mut connector.oauth) {
            oauth.grant = GrantType::AuthorizationCode;
            oauth.authorize_url = Some("https://example.com/authorize".to_owned());
        }
        self.execute(|given| plans::put_connector(given, TENANT, connector.clone())).await;
    }

    pub fn live(&self) -> Connection {
        match &self.vault.views().thing(self.wanted.connection).unwrap().state {
            AnyState::Connection(State::Live(live)) => (**live).clone(),
            other => panic!("{other:?}"),
        }
    }

    pub async fn exchange(&self) -> Landed {
        self.exchanges.exchange(self.wanted.clone()).await
    }

    /// A secret of the connection, as a reveal shows it.
    pub async fn shown(&self, secret: &str) -> String {
        let shown = self.vault.reveal(&self.wanted.principal, Meta::default(), self.wanted.connection, secret, "a test").await.unwrap();
        String::from_utf8(shown.value.expose().to_vec()).unwrap()
    }
}

//! A service that speaks OAuth 2: codes with a challenge, refresh tokens that rotate, revocation. It answers as it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Its access tokens live so long.
pub const TOKEN_SECONDS: i64 = 3600;

#[derive(Default)]
struct Inner {
    calls: usize,
    number: usize,
    refusing: Option<(u16, &'static str)>,
    /// Codes, and the challenge and redirect that each belongs to.
    codes: BTreeMap<String, (Option<String>, Option<String>)>,
    refresh: BTreeSet<String>,
    revoked: BTreeSet<String>,
}

/// The service.
pub struct Provider {
    pub base: String,
    inner: Arc<Mutex<Inner>>,
    _runtime: tokio::runtime::Runtime,
}

fn fields(body: &str) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}

async fn token(State(inner): State<Arc<Mutex<Inner>>>, body: String) -> (StatusCode, Json<Value>) {
    let fields = fields(&body);
    let mut inner = inner.lock().unwrap();
    inner.calls += 1;
    let wrong = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({"error": error})));
    if let Some((status, error)) = inner.refusing {
        return (StatusCode::from_u16(status).unwrap(), Json(json!({"error": error})));
    }
    let of = |name: &str| fields.get(name).cloned().unwrap_or_default();
    if (of("client_id").as_str(), of("client_secret").as_str()) != ("test-client", "canary-secret") {
        return (StatusCode::UNAUTHORIZED, Json(json!({"error": "invalid_client"})));
    }
    match of("grant_type").as_str() {
        "authorization_code" => {
            let Some((challenge, redirect)) = inner.codes.remove(&of("code")) else { return wrong("invalid_grant") };
            let right = challenge.is_none_or(|challenge| challenge == Base64UrlUnpadded::encode_string(&Sha256::digest(of("code_verifier"))));
            if !right || redirect.is_some_and(|redirect| redirect != of("redirect_uri")) {
                return wrong("invalid_grant");
            }
        }
        "refresh_token" if inner.refresh.remove(&of("refresh_token")) => {}
        _ => return wrong("invalid_grant"),
    }
    inner.number += 1;
    let (access, refresh) = (format!("at-{}", inner.number), format!("rt-{}", inner.number));
    inner.refresh.insert(refresh.clone());
    (StatusCode::OK, Json(json!({"access_token": access, "refresh_token": refresh, "expires_in": TOKEN_SECONDS, "token_type": "Bearer"})))
}

async fn revoke(State(inner): State<Arc<Mutex<Inner>>>, body: String) -> StatusCode {
    let fields = fields(&body);
    let mut inner = inner.lock().unwrap();
    inner.refresh.remove(&fields["token"]);
    inner.revoked.insert(fields["token"].clone());
    StatusCode::OK
}

impl Provider {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let inner = Arc::<Mutex<Inner>>::default();
        let router = Router::new().route("/token", post(token)).route("/revoke", post(revoke)).with_state(Arc::clone(&inner));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { base, inner, _runtime: runtime }
    }

    /// As a connector of a tenant's own.
    pub fn connector(&self) -> Value {
        let field = |id: &str, sensitive: bool| json!({"id": id, "label": id, "type": "text", "required": true, "sensitive": sensitive});
        let oauth = json!({
            "grant": "authorization_code", "authorize_url": format!("{}/authorize", self.base), "token_url": format!("{}/token", self.base),
            "revoke_url": format!("{}/revoke", self.base), "client_auth": "body", "encoding": "form", "scopes": ["read", "write"], "pkce": true,
        });
        json!({
            "name": "Local", "website": "https://example.com", "docs": "https://example.com/docs", "status": "live", "auth_type": "oauth2",
            "oauth": oauth, "form_fields": [field("client_id", false), field("client_secret", true)], "validation": false,
            "settings_required_for_authorization": ["client_id", "client_secret"],
        })
    }

    /// Its user consents: where the browser is sent back to.
    pub fn consent(&self, authorize: &str) -> String {
        assert!(authorize.starts_with(&self.base), "{authorize}");
        let asked: BTreeMap<String, String> = url::Url::parse(authorize).unwrap().query_pairs().into_owned().collect();
        let code = self.code(Some((asked["code_challenge"].clone(), asked["redirect_uri"].clone())));
        format!("{}?state={}&code={code}", asked["redirect_uri"], asked["state"])
    }

    /// A code, bound to a challenge and a redirect, or to nothing.
    pub fn code(&self, bound: Option<(String, String)>) -> String {
        let mut inner = self.inner.lock().unwrap();
        inner.number += 1;
        let code = format!("code-{}", inner.number);
        let (challenge, redirect) = bound.unzip();
        inner.codes.insert(code.clone(), (challenge, redirect));
        code
    }

    /// How often it was asked for tokens.
    pub fn calls(&self) -> usize {
        self.inner.lock().unwrap().calls
    }

    /// How many tokens were revoked.
    pub fn revoked(&self) -> usize {
        self.inner.lock().unwrap().revoked.len()
    }

    /// From now on it refuses.
    pub fn refuse(&self, status: u16, error: &'static str) {
        self.inner.lock().unwrap().refusing = Some((status, error));
    }

    /// From now on it gives tokens again.
    pub fn accept(&self) {
        self.inner.lock().unwrap().refusing = None;
    }
}

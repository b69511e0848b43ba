//! Token exchange against oidc-provider, a real OAuth server: each grant, each way of proving the client, and what goes wrong.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::running::{Keyledger, NODE_FOLDER, PYTHON, Running, client, run, source, start};

/// What oauth/server.mjs knows: client, secret.
const BASIC: (&str, &str) = ("basic-client", "a canary: with/%+&=\"Basic\"");
const POST: (&str, &str) = ("post-client", "a canary: with/%+&=\"post\"");
const PASSWORD: (&str, &str) = ("password-client", "a canary of the password client");
pub const USER: (&str, &str) = ("user@example.com", "a canary & password");
pub const GOOD: &str = "/vault/connections/crm/good";
const LABELS: [(&str, &str, bool); 4] =
    [("client_id", "Client ID", false), ("client_secret", "Client secret", true), ("username", "User name", false), ("password", "Password", true)];

pub struct OauthServer {
    pub base: String,
    _server: Running,
}

impl OauthServer {
    fn start() -> Self {
        Self::start_with(&[])
    }

    /// For users as well, whom it sends back to this URL.
    pub fn start_for(callback: &str) -> Self {
        Self::start_with(&[callback])
    }

    fn start_with(further: &[&str]) -> Self {
        let (server, base, _) = start(Command::new("node").arg(source("oauth/server.mjs")).arg(&*NODE_FOLDER).args(further));
        Self { base, _server: server }
    }

    /// How many connections came so far, this one included.
    fn seen(&self) -> u64 {
        client().get(format!("{}/seen", self.base)).send().unwrap().json::<Value>().unwrap()["connections"].as_u64().unwrap()
    }

    /// What the server itself says of a token (RFC 7662).
    pub fn introspect(&self, token: &str) -> Value {
        let form = [("token", token), ("client_id", POST.0), ("client_secret", POST.1)];
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = client().post(format!("{}/token/introspection", self.base)).header("content-type", "application/x-www-form-urlencoded");
        request.body(form).send().unwrap().json().unwrap()
    }

    /// A connector that leads here, with the settings that its grant needs.
    pub fn connector(&self, grant: &str, client_auth: &str) -> Value {
        let needed = if grant == "password" { LABELS.as_slice() } else { &LABELS[..2] };
        let fields = needed.iter().map(|(id, label, sensitive)| json!({"id": id, "label": label, "type": "text", "required": true, "sensitive": sensitive}));
        let mut oauth = json!({
            "grant": grant, "token_url": format!("{}/token", self.base), "client_auth": client_auth, "encoding": "form", "scopes": ["read", "write"],
        });
        if grant == "authorization_code" {
            oauth["authorize_url"] = json!(format!("{}/auth", self.base));
        }
        json!({
            "name": "Local", "website": "https://example.com", "docs": "https://example.com/docs", "status": "live", "auth_type": "oauth2",
            "oauth": oauth, "form_fields": fields.collect::<Vec<_>>(), "validation": false,
            "settings_required_for_authorization": needed.iter().map(|(id, ..)| id).collect::<Vec<_>>(),
        })
    }
}

pub fn settings(keyledger: &Keyledger, given: &[(&str, &str)]) {
    let given: BTreeMap<_, _> = given.iter().copied().collect();
    keyledger.ok("PATCH", GOOD, Some(&json!({"settings": given})));
}

pub fn stream(keyledger: &Keyledger) -> String {
    keyledger.ok("GET", "/v1/credentials?kind=connection", None)["data"][0]["id"].as_str().unwrap().to_owned()
}

pub fn reveal(keyledger: &Keyledger, secret: &str) -> String {
    let asked = json!({"credential": stream(keyledger), "secret": secret, "reason": "a test"});
    keyledger.ok("POST", "/v1/secrets/reveal", Some(&asked))["value"].as_str().unwrap().to_owned()
}

/// The types of the connection's latest events, oldest first, and the whole events.
fn latest(keyledger: &Keyledger, count: usize) -> (Vec<String>, Vec<Value>) {
    let mut events = keyledger.ok("GET", &format!("/v1/events?stream={}&limit={count}", stream(keyledger)), None)["data"].as_array().unwrap().clone();
    events.reverse();
    (events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect(), events)
}

/// Exchanges, and holds what must hold whenever it succeeds. Gives the answer and the token.
fn exchanged(oauth: &OauthServer, keyledger: &Keyledger, client_id: &str, lifetime: i64) -> (Value, String) {
    let now = || i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let before = now();
    let answer = keyledger.ok("POST", &format!("{GOOD}/token"), None);
    let data = &answer["data"];
    assert_eq!((&data["state"], &data["health"], &data["last_refresh_failed_at"]), (&json!("callable"), &json!("ok"), &Value::Null));
    assert_eq!(data["credentials_expire_at"], Value::Null, "only what the service refuses is removed");
    let lineage = keyledger.ok("GET", &format!("/v1/connections/{}/tokens", stream(keyledger)), None);
    let expires = lineage["data"][0]["expires_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
    // The vault counts from when the answer came; a clock that is set meanwhile may move it by a little.
    assert!((before + lifetime * 1000 - 2000..=now() + lifetime * 1000 + 2000).contains(&expires), "{expires}");
    let (types, events) = latest(keyledger, 2);
    assert_eq!(types, ["exchange_started", "exchanged"]);
    assert_eq!(events[1]["causation"], events[0]["position"]);
    assert_eq!((&events[0]["class"], &events[1]["class"]), (&json!("observation"), &json!("change")));
    assert_eq!(events[1]["secrets"][0]["name"], "access_token");
    let token = reveal(keyledger, "access_token");
    assert!(!answer.to_string().contains(&token) && !answer.to_string().contains("canary"), "{answer}");
    assert!(!json!(events).to_string().contains(&token));
    let known = oauth.introspect(&token);
    assert_eq!((&known["active"], &known["client_id"], &known["scope"]), (&json!(true), &json!(client_id), &json!("read write")), "{known}");
    (answer, token)
}

#[test]
fn client_credentials_with_either_proof_of_the_client() {
    let oauth = OauthServer::start();
    for (auth, (id, secret)) in [("basic", BASIC), ("body", POST)] {
        let keyledger = Keyledger::start(&["--allow-egress", "127.0.0.1/32"]);
        keyledger.ok("PUT", "/v1/connectors/crm/good", Some(&oauth.connector("client_credentials", auth)));
        settings(&keyledger, &[("client_id", id), ("client_secret", secret)]);
        assert_eq!(keyledger.ok("GET", GOOD, None)["data"]["state"], "added");
        let (_, first) = exchanged(&oauth, &keyledger, id, 600);
        let (_, second) = exchanged(&oauth, &keyledger, id, 600);
        assert_ne!(first, second);
        let held = keyledger.ok("GET", &format!("/v1/credentials/{}", stream(&keyledger)), None);
        let tokens: Vec<&Value> = held["secrets"].as_array().unwrap().iter().filter(|secret| secret["name"] == "access_token").collect();
        assert_eq!(tokens.len(), 1, "the second token superseded the first: {held}");
    }
}

#[test]
fn the_password_grant_brings_a_refresh_token_too() {
    let oauth = OauthServer::start();
    let keyledger = Keyledger::start(&["--allow-egress", "127.0.0.1/32"]);
    keyledger.ok("PUT", "/v1/connectors/crm/good", Some(&oauth.connector("password", "body")));
    settings(&keyledger, &[("client_id", PASSWORD.0), ("client_secret", PASSWORD.1), ("username", USER.0), ("password", USER.1)]);
    let (answer, token) = exchanged(&oauth, &keyledger, PASSWORD.0, 900);
    assert_eq!(oauth.introspect(&token)["sub"], USER.0);
    let refresh = reveal(&keyledger, "refresh_token");
    assert!(refresh != token && !answer.to_string().contains(&refresh));
    settings(&keyledger, &[("password", "another")]);
    let (status, error) = keyledger.call("POST", &format!("{GOOD}/token"), None);
    assert_eq!((status, &error["type_name"], &error["detail"]), (401, &json!("UnauthorizedError"), &json!("the service answered 400: invalid_grant")));
    assert_eq!((reveal(&keyledger, "access_token"), reveal(&keyledger, "refresh_token")), (token, refresh), "what was there stays");
}

#[test]
fn what_goes_wrong_is_told_with_its_cause() {
    let oauth = OauthServer::start();
    let keyledger = Keyledger::start(&["--allow-egress", "127.0.0.1/32"]);
    keyledger.ok("PUT", "/v1/connectors/crm/good", Some(&oauth.connector("client_credentials", "body")));
    let ask = || {
        let (status, error) = keyledger.call("POST", &format!("{GOOD}/token"), None);
        (status, error["type_name"].as_str().unwrap().to_owned(), error["detail"].as_str().unwrap().to_owned())
    };
    let (unauthorized, invalid) = ("UnauthorizedError".to_owned(), "InvalidStateError".to_owned());
    assert_eq!(ask().0, 404, "there is no connection yet");
    keyledger.ok("PATCH", GOOD, Some(&json!({"enabled": true})));
    assert_eq!(ask(), (422, invalid.clone(), "Local requires Client ID, Client secret to be set before authorizing.".into()));
    settings(&keyledger, &[("client_id", POST.0)]);
    assert_eq!(ask(), (422, invalid.clone(), "Local requires Client secret to be set before authorizing.".into()));
    let before = oauth.seen();
    settings(&keyledger, &[("client_secret", "a wrong canary")]);
    assert_eq!(ask(), (401, unauthorized, "the service answered 401: invalid_client".into()));
    assert_eq!(oauth.seen(), before + 2, "one call, and the look itself");
    let (types, events) = latest(&keyledger, 2);
    assert_eq!(types, ["exchange_started", "exchange_failed"]);
    assert_eq!(events[1]["causation"], events[0]["position"]);
    let failed = keyledger.ok("GET", GOOD, None);
    assert_eq!((&failed["data"]["state"], &failed["data"]["health"]), (&json!("invalid"), &json!("needs_auth")));
    assert!(failed["data"]["last_refresh_failed_at"].is_i64());
    settings(&keyledger, &[("client_secret", POST.1)]);
    exchanged(&oauth, &keyledger, POST.0, 600);
    // The same connection, once its connector is one that users authorize.
    keyledger.ok("PUT", "/v1/connectors/crm/good", Some(&oauth.connector("authorization_code", "body")));
    let (status, name, detail) = ask();
    assert_eq!((status, &name), (422, &invalid));
    assert!(detail.contains("authorized by its user"), "{detail}");
}

#[test]
fn without_an_opened_range_nothing_is_called() {
    let oauth = OauthServer::start();
    let keyledger = Keyledger::start(&[]);
    keyledger.ok("PUT", "/v1/connectors/crm/good", Some(&oauth.connector("client_credentials", "body")));
    settings(&keyledger, &[("client_id", POST.0), ("client_secret", POST.1)]);
    let before = oauth.seen();
    let (status, error) = keyledger.call("POST", &format!("{GOOD}/token"), None);
    assert_eq!((status, &error["type_name"]), (422, &json!("InvalidStateError")));
    assert!(error["detail"].as_str().unwrap().starts_with("not called: "), "{error}");
    assert_eq!(oauth.seen(), before + 1, "only the look itself");
    assert_eq!(latest(&keyledger, 2).0, ["exchange_started", "exchange_failed"]);
}

#[test]
fn apideck_unify_for_python_exchanges_tokens() {
    let oauth = OauthServer::start();
    let keyledger = Keyledger::start(&["--allow-egress", "127.0.0.1/32"]);
    for (service, grant) in [("good", "client_credentials"), ("user", "authorization_code")] {
        keyledger.ok("PUT", &format!("/v1/connectors/crm/{service}"), Some(&oauth.connector(grant, "body")));
    }
    let text = run(Command::new(&*PYTHON).arg(source("apideck_token.py")).args([&keyledger.base, &keyledger.token, POST.1]));
    assert!(text.contains("all exchanges and errors are as the client expects"), "{text}");
}

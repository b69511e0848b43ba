//! Authorization by a user over HTTP: the way to the service, the way back, confirmation, revocation, and what bars each of them.

use std::collections::BTreeMap;

use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};

use crate::provider::{Provider, TOKEN_SECONDS};
use crate::served::{Server, start_with};

const CONNECTION: &str = "/vault/connections/crm/local";
const BACK: &str = "http://localhost:3000/done";

fn browser() -> Client {
    Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

struct Bench {
    provider: Provider,
    server: Server,
    browser: Client,
    _folder: tempfile::TempDir,
}

/// What a browser is answered with, and the cookie that it keeps.
struct Sent {
    status: u16,
    to: String,
    cookie: Option<String>,
    text: String,
}

impl From<Response> for Sent {
    fn from(answer: Response) -> Self {
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (to, cookie) = (header("location").unwrap_or_default(), header("set-cookie"));
        Self { status: answer.status().as_u16(), to, cookie, text: answer.text().unwrap() }
    }
}

impl Sent {
    fn query(&self) -> BTreeMap<String, String> {
        url::Url::parse(&self.to).unwrap().query_pairs().into_owned().collect()
    }

    fn fragment(&self) -> BTreeMap<String, String> {
        let url = url::Url::parse(&self.to).unwrap();
        url::form_urlencoded::parse(url.fragment().unwrap().as_bytes()).into_owned().collect()
    }

    /// The name and value of the cookie, as a browser sends it back.
    fn cookie(&self) -> String {
        self.cookie.as_ref().unwrap().split(';').next().unwrap().to_owned()
    }
}

impl Bench {
    fn start() -> Self {
        let (folder, provider) = (tempfile::tempdir().unwrap(), Provider::start());
        let server = start_with(folder.path(), "", &["--allow-egress", "127.0.0.1/32"]);
        let connector = provider.connector();
        assert_eq!(server.call("PUT", "/v1/connectors/crm/local").json(&connector).send().unwrap().status(), 200);
        server.ok("PATCH", CONNECTION, Some(json!({"settings": {"client_id": "test-client", "client_secret": "canary-secret"}})));
        Self { provider, server, browser: browser(), _folder: folder }
    }

    fn connection(&self) -> Value {
        self.server.ok("GET", CONNECTION, None)
    }

    fn authorize_url(&self) -> String {
        self.connection()["authorize_url"].as_str().unwrap().to_owned()
    }

    fn get(&self, url: &str, cookie: Option<&str>) -> Sent {
        let request = self.browser.get(url);
        let request = if let Some(cookie) = cookie { request.header("cookie", cookie) } else { request };
        request.send().unwrap().into()
    }

    /// Goes to the service with these parameters added, and comes back with a code: the URL of the way back, and the cookie.
    fn go(&self, more: &str) -> (String, String) {
        let to_service = self.get(&format!("{}&redirect_uri={BACK}{more}", self.authorize_url()), None);
        assert_eq!(to_service.status, 301, "{}", to_service.text);
        (self.provider.consent(&to_service.to), to_service.cookie())
    }

    /// The connection as who presents another token sees it.
    fn seen_by(&self, token: &str) -> (u16, Value) {
        let request = self.browser.get(format!("{}{CONNECTION}", self.server.base)).bearer_auth(token);
        let answer = request.header("x-apideck-app-id", "app").header("x-apideck-consumer-id", "acme").send().unwrap();
        (answer.status().as_u16(), answer.json().unwrap())
    }

    fn events(&self) -> Vec<String> {
        let events: Value = self.server.call("GET", "/v1/events?kind=connection&limit=100").send().unwrap().json().unwrap();
        events["data"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn a_user_authorizes_and_the_connection_is_callable_with_a_challenge_that_the_service_checks() {
    let bench = Bench::start();
    let before = bench.connection();
    assert_eq!((before["state"].as_str(), before["health"].as_str(), &before["revoke_url"]), (Some("added"), Some("needs_auth"), &Value::Null));
    let to_service = bench.get(&format!("{}&redirect_uri={BACK}", bench.authorize_url()), None);
    assert_eq!(to_service.status, 301);
    let asked = to_service.query();
    assert_eq!((asked["response_type"].as_str(), asked["client_id"].as_str(), asked["scope"].as_str()), ("code", "test-client", "read write"));
    assert_eq!((asked["code_challenge_method"].as_str(), asked["code_challenge"].len(), asked["state"].len()), ("S256", 43, 36));
    assert_eq!(asked["redirect_uri"], format!("{}/vault/callback", bench.server.base));
    let cookie = to_service.cookie.clone().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Path=/vault/callback"), "{cookie}");
    let back = bench.get(&bench.provider.consent(&to_service.to), Some(&to_service.cookie()));
    assert_eq!((back.status, back.to.as_str()), (301, BACK));
    let after = bench.connection();
    assert_eq!((after["state"].as_str(), after["health"].as_str()), (Some("callable"), Some("ok")));
    assert!(after["revoke_url"].as_str().unwrap().contains("/vault/revoke/local/app?state="), "{after}");
    assert_eq!(bench.provider.calls(), 1);
    assert_eq!(bench.events()[..3], ["exchanged", "exchange_started", "authorization_begun"]);
}

#[test]
fn a_code_is_used_once_and_only_by_the_browser_that_began() {
    let bench = Bench::start();
    let (back, cookie) = bench.go("");
    for wrong in [None, Some("keyledger_0123456789abcdef=x"), Some(&*cookie.replace(|c: char| c.is_ascii_uppercase(), "x"))] {
        let refused = bench.get(&back, wrong);
        assert_eq!((refused.status, refused.to.as_str()), (400, ""), "{wrong:?}");
        assert!(refused.text.contains("not the one that began"), "{}", refused.text);
    }
    assert_eq!(bench.provider.calls(), 0);
    assert_eq!(bench.get(&back, Some(&cookie)).status, 301);
    let again = bench.get(&back, Some(&cookie));
    assert_eq!((again.status, bench.provider.calls()), (422, 1), "{}", again.text);
    for state in ["", "x", "123e4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000"] {
        let none = bench.get(&format!("{}/vault/callback?state={state}&code=x", bench.server.base), Some(&cookie));
        assert!([400, 422].contains(&none.status) && none.to.is_empty(), "{state}: {}", none.text);
    }
}

#[test]
fn what_the_service_or_the_user_refuses_is_told_to_the_page_and_ends_the_authorization() {
    let bench = Bench::start();
    let to_service = bench.get(&format!("{}&redirect_uri={BACK}", bench.authorize_url()), None);
    let back = format!("{}/vault/callback?state={}&error=access_denied&error_description=No%20thanks", bench.server.base, to_service.query()["state"]);
    let told = bench.get(&back, Some(&to_service.cookie()));
    let told_of = told.query();
    assert_eq!((told.status, told_of["service_id"].as_str(), told_of["error_message"].as_str()), (301, "local", "access_denied: No thanks"));
    assert_eq!(bench.get(&back, Some(&to_service.cookie())).status, 422, "it has ended");
    assert_eq!(bench.events()[0], "authorization_ended");
    bench.provider.refuse(400, "invalid_grant");
    let (back, cookie) = bench.go("");
    let told = bench.get(&back, Some(&cookie));
    assert_eq!((told.query()["error_type"].as_str(), told.query()["error_message"].as_str()), ("UnauthorizedError", "the service answered 400: invalid_grant"));
    assert_eq!((bench.connection()["state"].as_str(), bench.connection()["health"].as_str()), (Some("added"), Some("needs_auth")));
    bench.provider.accept();
    let (back, cookie) = bench.go("");
    assert_eq!(bench.get(&back, Some(&cookie)).to, BACK);
    assert_eq!(bench.connection()["state"], "callable", "the next one is not held up");
}

#[test]
fn with_a_nonce_the_tokens_wait_until_the_page_confirms_once() {
    let bench = Bench::start();
    let (back, cookie) = bench.go("&nonce=n%20%261");
    let done = bench.get(&back, Some(&cookie));
    let fragment = done.fragment();
    assert_eq!((fragment["nonce"].as_str(), fragment["service_id"].as_str(), fragment["confirm_token"].len()), ("n &1", "local", 64));
    assert!(!done.to.contains('?'), "a server of the page sees none of it: {}", done.to);
    let waiting = bench.connection();
    assert_eq!((waiting["state"].as_str(), waiting["health"].as_str()), (Some("added"), Some("pending_confirmation")));
    let confirm = |token: &str| bench.server.call("POST", &format!("{CONNECTION}/confirm")).json(&json!({"confirm_token": token})).send().unwrap();
    for wrong in ["", "wrong", &fragment["confirm_token"][1..], &fragment["confirm_token"].to_uppercase()] {
        assert_eq!(confirm(wrong).status(), 422, "{wrong}");
    }
    let right: Value = confirm(&fragment["confirm_token"]).json().unwrap();
    assert_eq!(right["data"], json!({"confirmed": true}));
    assert_eq!((bench.connection()["state"].as_str(), bench.connection()["health"].as_str()), (Some("callable"), Some("ok")));
    assert_eq!(confirm(&fragment["confirm_token"]).status(), 422, "it works once");
}

#[test]
fn a_link_is_for_one_connection_and_ends_with_whoever_gave_it() {
    let bench = Bench::start();
    let url = bench.authorize_url();
    let owner = crate::members::owner(&bench.server);
    let refused = |url: &str| {
        let answer = bench.get(url, None);
        assert!(answer.to.is_empty(), "{}", answer.to);
        answer.status
    };
    assert_eq!(refused(&url.replace("/local/", "/other/")), 401);
    assert_eq!(refused(&url.replace("/local/app", "/local/other")), 401);
    assert_eq!(refused(&format!("{url}x")), 401);
    let state = url.split_once("state=").unwrap().1;
    assert_eq!(refused(url.split('?').next().unwrap()), 400, "no state");
    assert_eq!(bench.seen_by(state).0, 401, "a link is no token");
    assert_eq!(refused(&url.replace("state=", &format!("state={}&state=", owner.token))), 400, "twice");
    for elsewhere in ["https://elsewhere.example.com/x", "javascript:alert(1)", "http://localhost.evil.example/", "//evil.example", "http://user@localhost/"] {
        assert_eq!(refused(&format!("{url}&redirect_uri={elsewhere}")), 400, "{elsewhere}");
    }
    // A key that gave a link goes, and the link with it.
    let key = owner.ok("POST", "/v1/api-keys", &json!({"name": "links", "permissions": ["connections:read", "connections:exchange"]}));
    let link = bench.seen_by(key["token"].as_str().unwrap()).1["data"]["authorize_url"].as_str().unwrap().to_owned();
    assert_eq!(bench.get(&link, None).status, 301);
    owner.ok("DELETE", &format!("/v1/api-keys/{}", key["api_key"]["id"].as_str().unwrap()), &Value::Null);
    assert_eq!(refused(&link), 401);
    // Who may not exchange is given no link, and neither is a look at the past.
    let (_, reader) = crate::members::user(&bench.server, "reads", &["reader"]);
    let (status, shown) = bench.seen_by(&reader.token);
    assert_eq!((status, &shown["data"]["authorize_url"]), (200, &Value::Null));
    let head = bench.server.call("GET", "/v1/events?limit=1").send().unwrap().json::<Value>().unwrap()["position"].clone();
    assert_eq!(bench.server.ok("GET", &format!("{CONNECTION}?as_of={head}"), None)["authorize_url"], Value::Null);
}

#[test]
fn a_program_that_sends_its_user_itself_is_given_the_state() {
    let bench = Bench::start();
    let state = bench.server.ok("POST", &format!("{CONNECTION}/callback-state"), Some(json!({"redirect_uri": BACK})))["state"].clone();
    let code = bench.provider.code(None);
    let back = bench.get(&format!("{}/vault/callback?state={}&code={code}", bench.server.base, state.as_str().unwrap()), None);
    assert_eq!((back.status, back.to.as_str()), (301, BACK), "{}", back.text);
    assert_eq!(bench.connection()["state"], "callable");
}

#[test]
fn revoked_tokens_go_for_good_and_the_service_is_told() {
    let bench = Bench::start();
    let (back, cookie) = bench.go("");
    bench.get(&back, Some(&cookie));
    let link = bench.connection()["revoke_url"].as_str().unwrap().to_owned();
    let done = bench.get(&format!("{link}&redirect_uri={BACK}"), None);
    assert_eq!((done.status, done.to.as_str()), (301, BACK));
    let after = bench.connection();
    assert_eq!((after["state"].as_str(), after["health"].as_str(), &after["revoke_url"]), (Some("added"), Some("revoked"), &Value::Null));
    assert_eq!(bench.provider.revoked(), 2, "both tokens");
    assert_eq!(bench.events()[..2], ["revocation_told", "revoked"]);
    let page = bench.get(&link, None);
    assert_eq!((page.status, page.text.contains("revoked")), (200, true), "again, it changes nothing");
    assert_eq!(bench.events()[0], "revocation_told");
}

#[test]
fn a_session_is_one_consumers_and_does_what_it_was_made_to() {
    let bench = Bench::start();
    let settings = json!({"unified_apis": ["crm"], "allow_actions": ["reauthorize"], "session_length": "30m"});
    let made = bench.server.ok("POST", "/vault/sessions", Some(json!({"settings": settings, "consumer_metadata": {"user_name": "Ann"}})));
    let token = made["session_token"].as_str().unwrap().to_owned();
    assert!(made["session_uri"].as_str().unwrap().ends_with(&token));
    let plain = browser();
    let call = |method: &str, path: &str, body: &Value| {
        let request = plain.request(method.parse().unwrap(), format!("{}{path}", bench.server.base)).bearer_auth(&token).header("x-apideck-auth-type", "JWT");
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = request.send().unwrap();
        (answer.status().as_u16(), answer.json::<Value>().unwrap_or_default())
    };
    let listed = call("GET", "/vault/connections", &Value::Null).1;
    let apis: std::collections::BTreeSet<&str> = listed["data"].as_array().unwrap().iter().map(|one| one["unified_api"].as_str().unwrap()).collect();
    assert_eq!(apis, ["crm"].into());
    assert_eq!(call("GET", "/vault/connections/hris/personio", &Value::Null).0, 404);
    assert_eq!(call("PATCH", CONNECTION, &json!({"settings": {"client_id": "test-client"}})).0, 200);
    assert_eq!(call("PATCH", CONNECTION, &json!({"enabled": false})).0, 403);
    assert_eq!(call("DELETE", CONNECTION, &Value::Null).0, 403);
    assert_eq!(call("POST", &format!("{CONNECTION}/import"), &json!({"credentials": {"access_token": "x"}})).0, 403);
    assert_eq!(call("GET", "/vault/consumers", &Value::Null).0, 403);
    assert_eq!(call("POST", "/vault/sessions", &json!({})).0, 403, "no session makes another");
    assert_eq!((call("GET", "/v1/me", &Value::Null).0, call("GET", "/v1/credentials", &Value::Null).0), (401, 401), "it opens this surface only");
    let other = plain.get(format!("{}{CONNECTION}", bench.server.base)).bearer_auth(&token).header("x-apideck-consumer-id", "other").send().unwrap();
    assert_eq!(other.status(), 401, "another consumer");
    assert_eq!(bench.server.ok("GET", "/vault/consumers/acme", None)["metadata"], json!({"user_name": "Ann"}));
    assert_eq!(bench.server.call("DELETE", "/vault/consumers/acme").send().unwrap().status(), 200);
    assert_eq!(call("GET", "/vault/connections", &Value::Null).0, 401, "it ends with its consumer");
}

#[test]
fn pages_call_from_allowed_origins_only() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with(folder.path(), "", &["--allow-origin", "https://app.example.com"]);
    let ask = |origin: &str| {
        let request = browser().request(reqwest::Method::OPTIONS, format!("{}{CONNECTION}", server.base)).header("origin", origin);
        let answer = request.header("access-control-request-method", "PATCH").header("access-control-request-headers", "x-apideck-auth-type").send().unwrap();
        answer.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap().to_owned())
    };
    for allowed in ["https://app.example.com", "http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:5173"] {
        assert_eq!(ask(allowed).as_deref(), Some(allowed));
    }
    for barred in ["https://app.example.com.evil.example", "http://app.example.com", "https://evil.example", "http://localhost.evil.example", "null"] {
        assert_eq!(ask(barred), None, "{barred}");
    }
}

#[test]
fn lineage_tells_each_tokens_parent_grant_and_fate() {
    let bench = Bench::start();
    let (back, cookie) = bench.go("");
    bench.get(&back, Some(&cookie));
    bench.server.ok("POST", &format!("{CONNECTION}/validate"), None);
    bench.provider.refuse(400, "invalid_grant");
    let refused = bench.server.call("POST", &format!("{CONNECTION}/validate")).send().unwrap();
    assert_eq!(refused.status(), 401);
    let told: Value = refused.json().unwrap();
    assert_eq!(told["detail"]["debug"]["response"]["statusCode"], 400);
    assert_eq!(told["detail"]["debug"]["credentials_expire_at_ms"], bench.connection()["credentials_expire_at"]);
    let id = bench.server.call("GET", "/v1/credentials?kind=connection").send().unwrap().json::<Value>().unwrap()["data"][0]["id"].as_str().unwrap().to_owned();
    let lineage: Value = bench.server.call("GET", &format!("/v1/connections/{id}/tokens")).send().unwrap().json().unwrap();
    let rows = lineage["data"].as_array().unwrap();
    let told = |row: &Value| {
        [&row["grant"], &row["outcome"], &row["access_token"]["fate"], &row["refresh_token"]["fate"]].map(|value| value.as_str().unwrap_or("-").to_owned())
    };
    assert_eq!(told(&rows[0]), ["refresh_token", "failed", "-", "-"]);
    assert_eq!(rows[0]["cause"], "the service answered 400: invalid_grant");
    assert_eq!(told(&rows[1]), ["refresh_token", "stored", "current", "current"]);
    assert_eq!(told(&rows[2]), ["authorization_code", "stored", "superseded", "superseded"]);
    assert_eq!(rows[1]["parent"], rows[2]["position"], "each comes of the one before");
    assert_eq!(rows[2]["access_token"]["ended_by"], rows[1]["position"]);
    assert!(rows[1]["expires_at"].is_string() && TOKEN_SECONDS > 0);
    assert!(!lineage.to_string().contains("at-") && !lineage.to_string().contains("rt-"), "never a value");
    let page: Value = bench.server.call("GET", &format!("/v1/connections/{id}/tokens?limit=1")).send().unwrap().json().unwrap();
    let next = page["next_cursor"].as_str().unwrap();
    let second: Value = bench.server.call("GET", &format!("/v1/connections/{id}/tokens?limit=1&cursor={next}")).send().unwrap().json().unwrap();
    assert_eq!(second["data"][0], rows[1]);
}

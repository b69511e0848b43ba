//! A user authorizes in a real browser, at a real OAuth server: with code challenge, consent and confirmation by the application's page. Then the
//! life of the tokens, as the OAuth server itself sees it.

use serde_json::{Value, json};

use crate::browser::{Browser, Chromium, Shown};
use crate::oauth_server::{GOOD, OauthServer, USER, reveal, settings, stream};
use crate::running::{Keyledger, client, scratch};

/// What oauth/server.mjs knows: client, secret.
const WEB: (&str, &str) = ("web-client", "a canary: with/%+&=\"web\"");
const CONTINUE: &str = "button:has-text('Continue')";
/// The application's page.
const DONE: &str = "**/done**";

struct Bench {
    keyledger: Keyledger,
    oauth: OauthServer,
    chromium: Chromium,
}

/// What the vault holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    access: String,
    refresh: String,
}

impl Bench {
    fn start() -> Self {
        let keyledger = Keyledger::start(&["--allow-egress", "127.0.0.1/32"]);
        let oauth = OauthServer::start_for(&format!("{}/vault/callback", keyledger.base));
        let bench = Self { keyledger, oauth, chromium: Chromium::start() };
        bench.connector(true);
        settings(&bench.keyledger, &[("client_id", WEB.0), ("client_secret", WEB.1)]);
        bench
    }

    fn connector(&self, pkce: bool) {
        // Another site than the vault's, for the browser: a cookie that is not sent on the way back from one would not do.
        let site = self.oauth.base.replace("127.0.0.1", "localhost");
        let mut connector = self.oauth.connector("authorization_code", "basic");
        connector["api"] = json!({"base_url": site});
        let oauth = &mut connector["oauth"];
        oauth["authorize_url"] = json!(format!("{site}/auth"));
        oauth["revoke_url"] = json!(format!("{}/token/revocation", self.oauth.base));
        oauth["scopes"] = json!(["openid", "offline_access", "read", "write"]);
        oauth["authorize_params"] = json!({"prompt": "consent"});
        oauth["pkce"] = json!(pkce);
        self.keyledger.ok("PUT", "/v1/connectors/crm/good", Some(&connector));
    }

    fn connection(&self) -> Value {
        self.keyledger.ok("GET", GOOD, None)["data"].clone()
    }

    fn standing(&self) -> (String, String) {
        let told = self.connection();
        (told["state"].as_str().unwrap().to_owned(), told["health"].as_str().unwrap().to_owned())
    }

    /// Where the application sends its user, to come back to it.
    fn link(&self, name: &str, more: &str) -> String {
        format!("{}&redirect_uri={}{more}", self.connection()[name].as_str().unwrap(), self.chromium.application())
    }

    /// Consents for the first time. There is a nonce, and so the tokens wait.
    fn authorize(&self, browser: &Browser<'_>) -> Shown {
        sign_in(browser, &self.link("authorize_url", "&nonce=n%20%261"));
        browser.click(CONTINUE, DONE)
    }

    fn held(&self) -> Held {
        Held { access: reveal(&self.keyledger, "access_token"), refresh: reveal(&self.keyledger, "refresh_token") }
    }

    fn validate(&self) -> (u16, Value) {
        self.keyledger.call("POST", &format!("{GOOD}/validate"), None)
    }

    fn lineage(&self) -> Vec<Value> {
        self.keyledger.ok("GET", &format!("/v1/connections/{}/tokens", stream(&self.keyledger)), None)["data"].as_array().unwrap().clone()
    }

    /// Status and body of the service's answer to who the user is.
    fn userinfo(&self) -> (u16, Value) {
        let request = self.keyledger.request("GET", "/v1/proxy").header("x-apideck-service-id", "good").header("x-apideck-downstream-url", "/me");
        let answer = request.send().unwrap();
        (answer.status().as_u16(), answer.json().unwrap())
    }

    fn is_active(&self, token: &str) -> bool {
        self.oauth.introspect(token)["active"].as_bool().unwrap()
    }
}

/// Opens a link to the OAuth server and signs in there; gives how the browser came to it.
fn sign_in(browser: &Browser<'_>, link: &str) -> Shown {
    let shown = browser.open(link);
    browser.fill("input[name=login]", USER.0);
    browser.fill("input[name=password]", USER.1);
    browser.press("button:has-text('Sign-in')");
    shown
}

#[test]
fn a_user_authorizes_in_a_browser_and_the_server_agrees_on_every_token() {
    let bench = Bench::start();
    let browser = bench.chromium.browser("one");
    let back = bench.authorize(&browser);
    assert!(back.url.starts_with(&format!("{}#nonce=n+%261&confirm_token=", bench.chromium.application())), "{}", back.url);
    assert_eq!(bench.standing(), ("added".into(), "pending_confirmation".into()));
    confirms(&bench, &browser);
    browser.picture(&scratch("interop-last-page.png"));
    assert_eq!(bench.standing(), ("callable".into(), "ok".into()));
    let first = bench.held();
    let known = bench.oauth.introspect(&first.access);
    assert_eq!((&known["active"], &known["sub"], &known["client_id"]), (&json!(true), &json!(USER.0), &json!(WEB.0)), "{known}");
    assert_eq!(known["scope"], "openid offline_access read write");
    renews_five_times(&bench, first);
    passes_calls_and_renews_on_401(&bench);
    revokes(&bench, &browser);
    a_token_that_comes_twice_ends_all(&bench, &browser);
}

/// The page has a session and the fragment, and calls the vault from another origin.
fn confirms(bench: &Bench, browser: &Browser<'_>) {
    let asked = json!({"settings": {"unified_apis": ["crm"], "session_length": "30m"}});
    let session = bench.keyledger.ok("POST", "/vault/sessions", Some(&asked))["data"]["session_token"].clone();
    let script = |nonce: &str| format!("confirmConnection({}, {session}, {}).catch((error) => error.message)", json!(bench.keyledger.base), json!(nonce));
    assert_eq!(browser.run(&script("another")), "this is not what the page began");
    let confirmed = browser.run(&script("n &1"));
    assert_eq!((&confirmed["status"], &confirmed["body"]["data"]), (&json!(200), &json!({"confirmed": true})), "{confirmed}");
    assert!(confirmed["position"].is_string(), "a page may read it: {confirmed}");
    assert_eq!(browser.run(&script("n &1"))["status"], 422, "it works once");
}

/// Each refresh token is presented once, or the server would end the grant.
fn renews_five_times(bench: &Bench, first: Held) {
    let mut all = vec![first];
    for _ in 0..5 {
        let (status, told) = bench.validate();
        assert_eq!((status, &told["data"]["state"]), (200, &json!("callable")), "{told}");
        let (before, now) = (all.last().unwrap(), bench.held());
        assert!(!all.iter().any(|held| held.access == now.access || held.refresh == now.refresh));
        assert!(bench.is_active(&now.access) && bench.is_active(&now.refresh) && !bench.is_active(&before.refresh));
        all.push(now);
    }
    let rows = bench.lineage();
    let told: Vec<_> = rows.iter().map(|row| (row["grant"].as_str().unwrap(), row["outcome"].as_str().unwrap())).collect();
    let mut expected = vec![("refresh_token", "stored"); 5];
    expected.push(("authorization_code", "stored"));
    assert_eq!(told, expected);
    for pair in rows.windows(2) {
        assert_eq!(pair[0]["parent"], pair[1]["position"], "each comes of the one before");
    }
    for (row, fate) in rows.iter().zip(std::iter::once("current").chain(std::iter::repeat("superseded"))) {
        assert_eq!((&row["access_token"]["fate"], &row["refresh_token"]["fate"]), (&json!(fate), &json!(fate)), "{row}");
    }
    let text = json!(rows).to_string();
    assert!(all.iter().all(|held| !text.contains(&held.access) && !text.contains(&held.refresh)), "never a value");
}

fn passes_calls_and_renews_on_401(bench: &Bench) {
    assert_eq!(bench.userinfo(), (200, json!({"sub": USER.0})));
    let before = bench.held();
    client().post(format!("{}/forget", bench.oauth.base)).body(before.access.clone()).send().unwrap().error_for_status().unwrap();
    assert!(!bench.is_active(&before.access));
    assert_eq!(bench.userinfo(), (200, json!({"sub": USER.0})), "the caller sees nothing of the 401");
    assert_ne!(bench.held(), before);
}

fn revokes(bench: &Bench, browser: &Browser<'_>) {
    let held = bench.held();
    assert!(bench.is_active(&held.access) && bench.is_active(&held.refresh));
    let back = browser.open(&bench.link("revoke_url", ""));
    assert_eq!(back.url, bench.chromium.application());
    assert!(!bench.is_active(&held.access) && !bench.is_active(&held.refresh));
    assert_eq!((bench.standing(), &bench.connection()["revoke_url"]), (("added".into(), "revoked".into()), &Value::Null));
    let row = &bench.lineage()[0];
    for name in ["access_token", "refresh_token"] {
        assert_eq!(row[name]["fate"], "revoked", "{row}");
        let asked = json!({"credential": stream(&bench.keyledger), "secret": name, "reason": "a test"});
        assert_eq!(bench.keyledger.call("POST", "/v1/secrets/reveal", Some(&asked)).0, 404);
    }
    assert_eq!(bench.userinfo().0, 422);
}

/// The server does find out when a refresh token is presented twice: five renewals without that mean something.
fn a_token_that_comes_twice_ends_all(bench: &Bench, browser: &Browser<'_>) {
    browser.open(&bench.link("authorize_url", ""));
    let back = browser.click(CONTINUE, DONE);
    assert_eq!((&back.url, bench.standing()), (&bench.chromium.application(), ("callable".into(), "ok".into())));
    let old = bench.held().refresh;
    assert_eq!(bench.validate().0, 200);
    let held = bench.held();
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs([("grant_type", "refresh_token"), ("refresh_token", &old)]).finish();
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let request = client().post(format!("{}/token", bench.oauth.base)).basic_auth(encoded(WEB.0), Some(encoded(WEB.1)));
    assert_eq!(request.header("content-type", "application/x-www-form-urlencoded").body(form).send().unwrap().status(), 400);
    assert!(!bench.is_active(&held.access) && !bench.is_active(&held.refresh));
    let (status, told) = bench.validate();
    assert_eq!((status, &told["detail"]["message"]), (401, &json!("the service answered 400: invalid_grant")), "{told}");
    assert_eq!(bench.lineage()[0]["outcome"], "failed");
}

#[test]
fn another_browser_cannot_come_back_in_the_place_of_the_one_that_began() {
    let bench = Bench::start();
    let (first, second) = (bench.chromium.browser("first"), bench.chromium.browser("second"));
    let shown = first.open(&bench.link("authorize_url", ""));
    let at_server = shown.way.iter().find(|url| url.contains("/auth?")).unwrap();
    assert!(at_server.contains("code_challenge_method=S256"), "{at_server}");
    sign_in(&second, at_server);
    let refused = second.click(CONTINUE, "**/vault/callback**");
    assert!(refused.text.contains("this browser is not the one that began"), "{}", refused.text);
    assert_eq!(bench.standing(), ("added".into(), "needs_auth".into()));
    let back = first.open(&refused.url);
    assert_eq!(back.url, bench.chromium.application(), "{}", back.text);
    assert_eq!(bench.standing(), ("callable".into(), "ok".into()));
    assert!(bench.is_active(&bench.held().access));
    let again = first.open(&refused.url);
    assert!(again.text.contains("not open"), "a code is used once: {}", again.text);
    assert!(bench.is_active(&bench.held().access), "nor did the server see it twice, which would end the grant");
}

#[test]
fn what_the_user_or_the_server_refuses_is_told_to_the_page() {
    let bench = Bench::start();
    let browser = bench.chromium.browser("one");
    let told = |shown: &Shown| ["error_type", "error_message", "service_id"].map(|name| shown.query(name));
    sign_in(&browser, &bench.link("authorize_url", "&nonce=n"));
    browser.wait_for(CONTINUE);
    let cancelled = browser.click("a[href*='/abort']", DONE);
    assert_eq!(told(&cancelled), ["InvalidStateError", "access_denied: End-User aborted interaction", "good"], "{}", cancelled.url);
    assert!(!cancelled.url.contains('#'), "{}", cancelled.url);
    assert_eq!(bench.standing(), ("added".into(), "needs_auth".into()));
    bench.connector(false);
    let without = browser.open(&bench.link("authorize_url", ""));
    let [kind, message, service] = told(&without);
    assert_eq!((kind.as_str(), service.as_str()), ("InvalidStateError", "good"));
    assert!(message.starts_with("invalid_request: ") && message.contains("PKCE"), "{message}");
    bench.connector(true);
    browser.open(&bench.link("authorize_url", ""));
    assert_eq!(browser.click(CONTINUE, DONE).url, bench.chromium.application());
    assert_eq!(bench.standing(), ("callable".into(), "ok".into()), "the next one is not held up");
}

//! A scan for what callers present: passwords, session tokens, client secrets, access and refresh tokens, keys that are verified, introspected,
//! revoked or looked for, right ones and wrong ones. They stand in the one answer that shows them, and in no other answer, no event, no file and
//! no line of a log that tells all.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

use keyledger::credentials::issued::Token;
use reqwest::blocking::RequestBuilder;
use serde_json::{Value, json};

use crate::canary::{forms, found_below, start, whole};
use crate::served::{Server, client};

const CLIENTS: &str = "/local-user-store/api/v1/api-clients";
const OWN_APPLICATIONS: &str = "/api/v1/user-applications";
const FORM: &str = "/auth/api/v1/oauth/token";
const JSON: &str = "/auth/api/v1/oauth/clientcredentials/privx-external/token";

/// Each form is longer: by so many bytes it is looked up.
const BEGINNING: usize = 8;

/// A password, or something else that a caller made up, that stands nowhere else.
fn made_up(name: &str) -> String {
    format!("made up qzxwvkjy {name}")
}

/// A secret by what it is of, and the forms in which it might lie somewhere.
struct Watched {
    of: String,
    forms: Vec<Vec<u8>>,
}

struct Watch {
    server: Server,
    secrets: RefCell<Vec<Watched>>,
}

impl Watch {
    /// Watches a text. Of a token that was drawn here only the secret part is one: its id stands in answers and events.
    fn add(&self, of: &str, secret: &str) {
        let part = match Token::parse(secret) {
            Ok(_) => secret.split('_').nth(2).unwrap(),
            Err(_) if secret.starts_with("eyJ") => secret.rsplit('.').next().unwrap(),
            Err(_) => secret,
        };
        let mut forms = forms(part);
        forms.extend(base16ct::lower::decode_vec(part).ok());
        self.secrets.borrow_mut().push(Watched { of: of.to_owned(), forms });
    }

    /// Which of the secrets stand in these bytes: they are gone through once, whatever the number of forms.
    fn found(&self, bytes: &[u8]) -> Vec<usize> {
        let secrets = self.secrets.borrow();
        let mut by_beginning: HashMap<&[u8], Vec<(usize, &[u8])>> = HashMap::new();
        for (place, watched) in secrets.iter().enumerate() {
            for form in &watched.forms {
                by_beginning.entry(&form[..BEGINNING]).or_default().push((place, form));
            }
        }
        let at = |(start, window): (usize, &[u8])| by_beginning.get(window).map(|forms| (start, forms.clone()));
        let candidates = bytes.windows(BEGINNING).enumerate().filter_map(at);
        let mut found: Vec<usize> =
            candidates.flat_map(|(start, forms)| forms.into_iter().filter(move |(_, form)| bytes[start..].starts_with(form)).map(|(place, _)| place)).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What stands in the files below a folder, by the path of the file.
    fn below(&self, folder: &Path) -> Vec<(String, String)> {
        let found = |bytes: &[u8]| self.found(bytes);
        found_below(folder, &found).into_iter().map(|(path, place)| (path, self.secrets.borrow()[place].of.clone())).collect()
    }

    fn names(&self, found: &[usize]) -> Vec<String> {
        found.iter().map(|place| self.secrets.borrow()[*place].of.clone()).collect()
    }

    /// Sends, and finds nothing known in the answer; what it shows for the first time is watched from now on.
    fn send(&self, what: &str, request: RequestBuilder) -> (u16, Value) {
        let answer = request.send().unwrap();
        let status = answer.status().as_u16();
        let bytes = whole(answer);
        assert_eq!(self.names(&self.found(&bytes)), Vec::<String>::new(), "the answer to {what}");
        let text = String::from_utf8(bytes).unwrap();
        let body: Value = text.find("}{").or_else(|| text.find("}[")).map_or(Value::Null, |end| serde_json::from_str(&text[end + 1..]).unwrap_or_default());
        self.add_all(what, &body);
        (status, body)
    }

    fn add_all(&self, of: &str, body: &Value) {
        match body {
            Value::String(text) if Token::parse(text).is_ok() || text.starts_with("eyJ") => self.add(of, text),
            Value::Array(items) => items.iter().for_each(|item| self.add_all(of, item)),
            Value::Object(members) => members.iter().for_each(|(name, member)| self.add_all(&format!("{of}, {name}"), member)),
            _ => {}
        }
    }

    fn ok(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = self.server.call(method, path);
        let (status, body) = self.send(&format!("{method} {path}"), if body.is_null() { request } else { request.json(body) });
        assert!((200..300).contains(&status), "{method} {path}: {status} {body}");
        body
    }

    fn refused(&self, method: &str, path: &str, body: &Value) {
        let (status, body) = self.send(&format!("{method} {path}"), self.server.call(method, path).json(body));
        assert!(status >= 400, "{method} {path}: {status} {body}");
    }

    fn form(&self, path: &str, basic: Option<(&Value, &Value)>, fields: &[(&str, &str)]) -> Value {
        let request = match basic {
            None => self.server.call("POST", path),
            Some((id, secret)) => client().post(format!("{}{path}", self.server.base)).basic_auth(id.as_str().unwrap(), secret.as_str()),
        };
        self.send(path, request.form(fields)).1
    }

    /// As bearer, verified, introspected, looked for, and where it is of no use at all.
    fn present_everywhere(&self, token: &str) {
        let bearer = |method: &str, path: &str| client().request(method.parse().unwrap(), format!("{}{path}", self.server.base)).bearer_auth(token);
        self.send("a read", bearer("GET", "/v1/me"));
        self.send("a read of users", bearer("GET", "/v1/users"));
        self.send("a read at a vendor's", bearer("GET", "/vault/connections").header("x-apideck-app-id", token).header("x-apideck-consumer-id", token));
        self.send(
            "a read at another vendor's",
            client().post(format!("{}/external_provider/api_key/delete", self.server.base)).header("x-application-id", token).json(&json!({"user": "owner"})),
        );
        self.ok("POST", "/v1/keys/verify", &json!({"key": token}));
        self.form("/v1/oauth/introspect", None, &[("token", token)]);
        self.send("a filter", self.server.call("GET", &format!("/api-keys?token={token}&name={token}")));
        self.send("a filter by client", self.server.call("GET", &format!("/api/v1/administration/user-applications?clientId={token}&createdBy={token}")));
        self.send("a path", self.server.call("GET", &format!("/v1/users/{token}")));
        self.send("another path", self.server.call("DELETE", &format!("/v1/credentials/{token}")));
        self.send("a cursor", self.server.call("GET", &format!("/v1/users?cursor={token}&as_of={token}")));
        self.send("a refresh", self.server.call("POST", "/api/v1/token").json(&json!({"grantType": "refresh_token", "refreshToken": token})));
        self.send("a grant", self.server.call("POST", "/api/v1/token").json(&json!({"grantType": token, "clientId": token, "clientSecret": token})));
        self.send("an idempotency key", self.server.call("POST", "/v1/roles").header("idempotency-key", token).json(&json!({"name": "", "permissions": []})));
        self.refused("POST", "/v1/secrets/reveal", &json!({"credential": token, "secret": token, "reason": "a test"}));
    }
}

/// Passwords: set, changed, presented right and wrong, at each door, and where a name should be.
fn passwords(watch: &Watch) {
    let words = ["first", "second", "third", "wrong", "wrong too", "as a login", "short"].map(made_up);
    for word in &words {
        watch.add("a password", word);
    }
    let [first, second, third, wrong, wrong_too, as_login, _] = &words;
    let ann = watch.ok("POST", "/v1/users", &json!({"login": "ann", "roles": ["owner"], "password": first}))["id"].clone();
    let session = watch.ok("POST", "/v1/sessions", &json!({"login": "ann", "password": first}));
    let token = session["token"].as_str().unwrap();
    let own = client().put(format!("{}/v1/users/me/password", watch.server.base)).bearer_auth(token);
    assert_eq!(watch.send("one's own password", own.json(&json!({"password": second, "current_password": first}))).0, 204);
    let path = format!("/v1/users/{}/password", ann.as_str().unwrap());
    watch.ok("PUT", &path, &json!({"password": third}));
    watch.refused("PUT", &path, &json!({"password": third, "unknown": third, third.as_str(): 1}));
    for password in [wrong, wrong_too] {
        watch.refused("POST", "/v1/sessions", &json!({"login": "ann", "password": password}));
        watch.refused("POST", "/api/v1/token", &json!({"grantType": "password", "username": "ann", "password": password}));
    }
    watch.refused("POST", "/v1/sessions", &json!({"login": as_login, "password": "x"}));
    watch.refused("POST", "/v1/sessions", &json!({"login": "nobody", "password": [third]}));
    watch.refused("POST", "/v1/users", &json!({"login": as_login, "name": "x"}));
    watch.refused("POST", "/v1/users", &json!({"login": "bob", "password": wrong, "email": wrong}));
    watch.ok("POST", &format!("/v1/users/{}/unlock", ann.as_str().unwrap()), &Value::Null);
    let tokens = watch.ok("POST", "/api/v1/token", &json!({"grantType": "password", "username": "ann", "password": third}));
    let refresh = json!({"grantType": "refresh_token", "refreshToken": tokens["refreshToken"]});
    let next = watch.ok("POST", "/api/v1/token", &refresh);
    watch.refused("POST", "/api/v1/token", &refresh);
    for token in [&tokens["accessToken"], &tokens["refreshToken"], &next["accessToken"], &next["refreshToken"], &session["token"]] {
        watch.present_everywhere(token.as_str().unwrap());
    }
}

/// Programs: client secrets, keys, and what is given for them.
fn programs(watch: &Watch) {
    let grant = [("grant_type", "client_credentials")];
    let made = watch.ok("POST", "/v1/applications", &json!({"name": "an application", "roles": ["reader"]}));
    let token = watch.form("/v1/oauth/token", Some((&made["application"]["id"], &made["client_secret"])), &grant)["access_token"].clone();
    let id = made["application"]["id"].as_str().unwrap();
    let rotated = watch.ok("POST", &format!("/v1/credentials/{id}/rotate"), &json!({"grace_seconds": 600}));
    watch.form("/v1/oauth/token", Some((&made["application"]["id"], &rotated["secret"])), &grant);
    watch.form("/v1/oauth/introspect", Some((&made["application"]["id"], &rotated["secret"])), &[("token", token.as_str().unwrap())]);
    watch.form("/v1/oauth/token", Some((&rotated["secret"], &made["application"]["id"])), &grant);
    watch.form("/v1/oauth/revoke", None, &[("token", token.as_str().unwrap())]);
    let client_id = watch.ok("POST", CLIENTS, &json!({"name": "a client"}))["id"].clone();
    let path = format!("{CLIENTS}/{}", client_id.as_str().unwrap());
    let pair = watch.ok("GET", &path, &Value::Null);
    // Sent back whole, as its vendor's clients do.
    watch.ok("PUT", &path, &pair);
    watch.refused("POST", JSON, &json!({"grant_type": pair["secret"], "client_id": client_id, "client_secret": pair["secret"]}));
    let password = [("grant_type", "password"), ("username", client_id.as_str().unwrap()), ("password", pair["secret"].as_str().unwrap())];
    let tokens = watch.form(FORM, Some((&pair["oauth_client_id"], &pair["oauth_client_secret"])), &password);
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    watch.form(FORM, Some((&pair["oauth_client_id"], &pair["oauth_client_secret"])), &refresh);
    watch.form(FORM, Some((&pair["oauth_client_id"], &pair["oauth_client_secret"])), &refresh);
    watch.form(FORM, Some((&pair["oauth_client_secret"], &pair["oauth_client_id"])), &password);
    let app = watch.ok("POST", OWN_APPLICATIONS, &json!({"name": "an-app"}));
    let by_app = |secret: &Value| json!({"grantType": "client_credentials", "clientId": app["id"], "clientSecret": secret});
    let of_app = watch.ok("POST", "/api/v1/token", &by_app(&app["secret"]));
    let again = watch.ok("POST", &format!("{OWN_APPLICATIONS}/{}/secret", app["id"].as_str().unwrap()), &Value::Null);
    watch.refused("POST", "/api/v1/token", &by_app(&app["secret"]));
    watch.ok("POST", "/api/v1/token", &by_app(&again["secret"]));
    let key = watch.ok("POST", "/v1/api-keys", &json!({"name": "a key", "permissions": ["keys:verify"]}));
    let begun = watch.ok("POST", "/v1/tenants", &json!({"name": "acme"}));
    let presented = [
        &made["client_secret"],
        &rotated["secret"],
        &token,
        &pair["secret"],
        &pair["oauth_client_secret"],
        &tokens["access_token"],
        &tokens["refresh_token"],
        &of_app["accessToken"],
        &again["secret"],
        &key["token"],
        &begun["owner_token"],
    ];
    for secret in presented {
        watch.present_everywhere(secret.as_str().unwrap());
    }
    // And what is nearly one: somebody's key with a slip.
    for slip in ["klkey_madeupqzxwvkjy1", "eyJhbGciOiJub25lIn0.e30.madeupqzxwvkjy2", "made-up-qzxwvkjy-3"] {
        watch.add("a slip", slip);
        watch.present_everywhere(slip);
    }
}

fn read_all(watch: &Watch) {
    let head = watch.ok("GET", "/v1/events?limit=1", &Value::Null)["position"].as_u64().unwrap();
    let mut from = 1;
    while from <= head {
        let page = watch.ok("GET", &format!("/v1/events?order=asc&limit=200&from={from}"), &Value::Null);
        from = page["data"].as_array().unwrap().last().map_or(head, |last| last["position"].as_u64().unwrap()) + 1;
    }
    for path in [
        "/v1/users",
        "/v1/sessions",
        "/v1/applications",
        "/v1/api-keys",
        "/v1/credentials?show=all&limit=200",
        CLIENTS,
        OWN_APPLICATIONS,
        "/api-keys?optFields=emails",
    ] {
        watch.ok("GET", path, &Value::Null);
        watch.ok("GET", &format!("{path}{}as_of={head}", if path.contains('?') { "&" } else { "?" }), &Value::Null);
    }
    for credential in watch.ok("GET", "/v1/credentials?show=all&limit=200", &Value::Null)["data"].as_array().unwrap() {
        watch.ok("GET", &format!("/v1/credentials/{}/history?limit=200", credential["id"].as_str().unwrap()), &Value::Null);
    }
}

#[test]
fn what_is_presented_stands_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let mut watch = Watch { server: start(folder.path()), secrets: RefCell::default() };
    watch.add("the owner's token", &watch.server.token);
    passwords(&watch);
    programs(&watch);
    read_all(&watch);
    assert!(watch.secrets.borrow().len() > 30, "{}", watch.secrets.borrow().len());
    assert_eq!(watch.below(folder.path()), [], "while it runs");
    rustix::process::kill_process(rustix::process::Pid::from_child(&watch.server.child), rustix::process::Signal::TERM).unwrap();
    watch.server.child.wait().unwrap();
    assert!(folder.path().join("data/views.snapshot").exists());
    assert_eq!(watch.below(folder.path()), [], "after its end");
    assert!(fs::read_to_string(folder.path().join("server.log")).unwrap().lines().count() > 100, "the log was on");
    // The scan itself works, for each secret in each form.
    for (place, watched) in watch.secrets.borrow().iter().enumerate() {
        for form in &watched.forms {
            assert!(watch.found(&[b"before ".as_slice(), form, b" after"].concat()).contains(&place), "{}", watched.of);
        }
    }
}

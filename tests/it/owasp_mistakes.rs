//! Mistakes that other vaults made: a query that forgot to ask whether a thing is still there, a refresh token that outlived what it was for,
//! one request taken for the repeat of another.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::members::{As, PASSWORD, log_in, owner, user};
use crate::served::{Server, client, start};

const CLIENTS: &str = "/local-user-store/api/v1/api-clients";
const OWN_APPLICATIONS: &str = "/api/v1/user-applications";
const EVERYBODYS: &str = "/api/v1/administration/user-applications";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn is_active(server: &Server, token: &str) -> bool {
    let request = server.call("POST", "/v1/oauth/introspect").form(&[("token", token)]);
    request.send().unwrap().json::<Value>().unwrap()["active"] == true
}

fn opens(server: &Server, token: &str) -> bool {
    As { server, token: token.into() }.status("GET", "/v1/me", &Value::Null) == 200
}

/// Answers of all lists, in which a thing that is gone stands nowhere. Only what shows deleted ones on purpose is left out.
fn everywhere(server: &Server) -> String {
    let mut all = String::new();
    for path in [
        "/v1/users?limit=200",
        "/v1/roles",
        "/v1/organizations?limit=200",
        "/v1/applications?limit=200",
        "/v1/api-keys?limit=200",
        "/v1/credentials?limit=200",
        "/v1/tenants",
        "/api-keys?optFields=emails,labels,permissions",
        CLIENTS,
        &format!("{CLIENTS}?sortkey=name&sortdir=DESC"),
        OWN_APPLICATIONS,
        EVERYBODYS,
        "/vault/consumers",
        "/vault/connections?configured=true",
    ] {
        let answer = server.call("GET", path).send().unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        all += &answer.text().unwrap();
    }
    let found = server.call("POST", &format!("{CLIENTS}/search")).json(&json!({"keywords": "gone"})).send().unwrap();
    all + &found.text().unwrap()
}

/// One thing of each sort, each with a name that begins with `gone-`: ids, secrets and tokens, by word.
struct Gone<'a> {
    server: &'a Server,
    of: BTreeMap<&'static str, String>,
}

const CLIENT_TOKEN: &str = "/auth/api/v1/oauth/clientcredentials/privx-external/token";
const TOKENS: [&str; 5] = ["key", "of application", "of client", "of app", "session"];

impl<'a> Gone<'a> {
    fn make(server: &'a Server) -> Self {
        let home = owner(server);
        let (ann, session) = user(server, "gone-ann", &["owner"]);
        let mut gone = Self { server, of: BTreeMap::from([("ann", ann), ("session", session.token)]) };
        gone.put("role", &home.ok("POST", "/v1/roles", &json!({"name": "gone-role", "permissions": ["users:read"]}))["id"]);
        gone.put("organization", &home.ok("POST", "/v1/organizations", &json!({"name": "gone-organization"}))["id"]);
        let made = home.ok("POST", "/v1/api-keys", &json!({"name": "kept", "organizations": [gone.of["organization"]]}));
        gone.put("kept", &made["token"]);
        let made = home.ok("POST", "/v1/applications", &json!({"name": "gone-application", "roles": ["reader"]}));
        gone.put("application", &made["application"]["id"]);
        gone.put("application secret", &made["client_secret"]);
        gone.put("of application", &gone.by_application());
        let made = home.ok("POST", "/v1/api-keys", &json!({"name": "gone-key", "dns_name": "gone-host"}));
        gone.put("key id", &made["api_key"]["id"]);
        gone.put("number", &json!(made["api_key"]["number"].to_string()));
        gone.put("key", &made["token"]);
        gone.put("client", &home.ok("POST", CLIENTS, &json!({"name": "gone-client"}))["id"]);
        gone.put("client secret", &home.ok("GET", &format!("{CLIENTS}/{}", gone.of["client"]), &Value::Null)["secret"]);
        gone.put("of client", &home.ok("POST", CLIENT_TOKEN, &gone.by_client())["access_token"]);
        let made = home.ok("POST", OWN_APPLICATIONS, &json!({"name": "gone-app"}));
        gone.put("app", &made["id"]);
        gone.put("app secret", &made["secret"]);
        gone.put("of app", &home.ok("POST", "/api/v1/token", &gone.by_app())["accessToken"]);
        home.ok("POST", "/external_provider/api_key/create", &provider());
        let import = json!({"credentials": {"access_token": "t"}, "metadata": {"a": "gone-metadata"}});
        server.ok("POST", "/vault/connections/crm/pipedrive/import", Some(import));
        server.ok("POST", "/vault/consumers", Some(json!({"consumer_id": "gone-consumer"})));
        for (word, kind) in [("connection", "connection"), ("provider key", "provider_key")] {
            let all = home.ok("GET", &format!("/v1/credentials?kind={kind}&limit=200"), &Value::Null);
            gone.put(word, &all["data"].as_array().unwrap().last().unwrap()["id"]);
        }
        gone
    }

    fn put(&mut self, word: &'static str, value: &Value) {
        self.of.insert(word, text(value));
    }

    fn by_client(&self) -> Value {
        json!({"grant_type": "client_credentials", "client_id": self.of["client"], "client_secret": self.of["client secret"]})
    }

    fn by_app(&self) -> Value {
        json!({"grantType": "client_credentials", "clientId": self.of["app"], "clientSecret": self.of["app secret"]})
    }

    /// An access token, or null.
    fn by_application(&self) -> Value {
        let request = client().post(format!("{}/v1/oauth/token", self.server.base));
        let request = request.basic_auth(&self.of["application"], Some(&self.of["application secret"])).form(&[("grant_type", "client_credentials")]);
        request.send().unwrap().json::<Value>().unwrap()["access_token"].clone()
    }

    fn delete(&self) {
        let of = |prefix: &str, word: &str| format!("{prefix}/{}", self.of[word]);
        for path in [
            of("/v1/users", "ann"),
            of("/v1/roles", "role"),
            of("/v1/organizations", "organization"),
            of("/v1/applications", "application"),
            of("/v1/api-keys", "key id"),
            of(CLIENTS, "client"),
            of(OWN_APPLICATIONS, "app"),
            "/vault/connections/crm/pipedrive".into(),
            "/vault/consumers/gone-consumer".into(),
            "/vault/consumers/acme".into(),
        ] {
            let answer = self.server.call("DELETE", &path).send().unwrap();
            assert!(answer.status().is_success(), "{path}: {}", answer.status());
            if !path.contains("/connections/") {
                assert_eq!(self.server.call("GET", &path).send().unwrap().status(), 404, "{path}");
            }
            assert_eq!(self.server.call("DELETE", &path).send().unwrap().status(), 404, "{path} goes once");
        }
    }

    fn opens_nothing(&self) {
        let home = owner(self.server);
        for word in TOKENS {
            assert!(!is_active(self.server, &self.of[word]) && !opens(self.server, &self.of[word]), "{word}");
        }
        assert_eq!(self.by_application(), Value::Null);
        assert!([400, 401].contains(&home.status("POST", CLIENT_TOKEN, &self.by_client())));
        assert_eq!(home.status("POST", "/api/v1/token", &self.by_app()), 400);
        assert_eq!(home.status("POST", "/v1/sessions", &json!({"login": "gone-ann", "password": PASSWORD})), 401);
        assert_eq!(home.ok("POST", "/v1/keys/verify", &json!({"key": self.of["key"]}))["code"], "not_found");
        let kept = home.ok("POST", "/v1/keys/verify", &json!({"key": self.of["kept"]}));
        assert_eq!(kept["key"]["organizations"], json!([]), "a service is told of no organisation that is gone");
        for (word, secret) in [("connection", "access_token"), ("provider key", "api_key"), ("client", "secret")] {
            let body = json!({"credential": self.of[word].replace('-', ""), "secret": secret, "reason": "a test"});
            assert_eq!(home.status("POST", "/v1/secrets/reveal", &body), 404, "{word}");
        }
        for verb in ["rotate", "rotation/finish", "rotation/take-back"] {
            for word in ["key id", "application"] {
                assert!(home.status("POST", &format!("/v1/credentials/{}/{verb}", self.of[word]), &Value::Null) >= 400, "{verb}");
            }
        }
    }

    /// No filter finds them, and nothing is made out of them.
    fn leads_nowhere(&self) {
        let home = owner(self.server);
        let (ann, role, organization) = (&self.of["ann"], &self.of["role"], &self.of["organization"]);
        assert_eq!(home.ok("GET", &format!("/api-keys?token={}", self.of["key"]), &Value::Null), json!([]));
        assert_eq!(home.ok("GET", &format!("{EVERYBODYS}?clientId={}", self.of["app"]), &Value::Null), json!([]));
        for path in [format!("/v1/sessions?user={ann}"), format!("/api-keys/{}", self.of["number"]), "/v1/roles/gone-role".into()] {
            assert_eq!(home.status("GET", &path, &Value::Null), 404, "{path}");
        }
        for (path, body) in [
            ("/v1/api-keys", json!({"name": "x", "owner": ann})),
            ("/v1/api-keys", json!({"name": "x", "organizations": [organization]})),
            ("/v1/users", json!({"login": "x", "roles": [role]})),
            ("/v1/users", json!({"login": "x", "roles": ["gone-role"]})),
            ("/v1/applications", json!({"name": "x", "roles": [role]})),
            (CLIENTS, json!({"name": "x", "roles": [{"id": role}]})),
        ] {
            assert_eq!(home.status("POST", path, &body), 400, "{path} {body}");
        }
        assert!(home.status("POST", "/external_provider/api_key/create", &provider()) >= 400);
    }
}

fn provider() -> Value {
    json!({"user": "gone-ann", "groq": {"api_key": "gsk_0123456789", "api_key_name": "gone-name"}})
}

#[test]
fn what_is_deleted_is_in_no_list_and_opens_no_door() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let gone = Gone::make(&server);
    let count = || owner(&server).ok("GET", CLIENTS, &Value::Null)["count"].as_u64().unwrap();
    let (before, clients) = (everywhere(&server), count());
    for there in ["ann", "role", "organization", "application", "key", "host", "client", "app", "metadata", "consumer"] {
        assert!(before.contains(&format!("gone-{there}")), "{there}: the scan itself works");
    }
    assert!(TOKENS.iter().all(|word| is_active(&server, &gone.of[word]) && opens(&server, &gone.of[word])));
    gone.delete();
    let after = everywhere(&server);
    let ids = ["ann", "role", "organization", "application", "key id", "client", "app"].map(|word| gone.of[word].as_str());
    for trace in ids.into_iter().chain(["gone-"]) {
        assert!(!after.contains(trace), "{trace} still stands in a list: {after}");
    }
    assert_eq!(count() + 1, clients);
    gone.opens_nothing();
    gone.leads_nowhere();
}

#[test]
fn what_is_blocked_opens_no_door_and_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let home = owner(&server);
    let (ann, session) = user(&server, "ann", &["owner"]);
    let key = text(&home.ok("POST", "/v1/api-keys", &json!({"name": "hers", "owner": ann}))["token"]);
    let app = session.ok("POST", OWN_APPLICATIONS, &json!({"name": "hers-too"}));
    let by_app = json!({"grantType": "client_credentials", "clientId": app["id"], "clientSecret": app["secret"]});
    let by_password = json!({"grantType": "password", "username": "ann", "password": PASSWORD});
    let of_app = text(&home.ok("POST", "/api/v1/token", &by_app)["accessToken"]);
    let made = home.ok("POST", "/api/v1/token", &by_password);
    let (of_password, refresh) = (text(&made["accessToken"]), text(&made["refreshToken"]));
    let tokens = [&session.token, &key, &of_app, &of_password];
    let block = |blocked: bool| home.ok("PATCH", &format!("/v1/users/{ann}"), &json!({"blocked": blocked}));
    block(true);
    for token in tokens {
        assert!(!opens(&server, token) && !is_active(&server, token));
    }
    for body in [&by_app, &by_password, &json!({"grantType": "refresh_token", "refreshToken": refresh})] {
        assert_eq!(home.status("POST", "/api/v1/token", body), 400, "{body}");
    }
    assert_eq!(home.status("POST", "/v1/sessions", &json!({"login": "ann", "password": PASSWORD})), 401);
    assert_eq!(home.ok("POST", "/v1/keys/verify", &json!({"key": key}))["valid"], false);
    block(false);
    assert!(tokens.iter().all(|token| opens(&server, token) && is_active(&server, token)));
}

#[test]
fn a_refresh_token_ends_with_whatever_ends_its_login() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let home = owner(&server);
    let refresh = |token: &str| home.status("POST", "/api/v1/token", &json!({"grantType": "refresh_token", "refreshToken": token}));
    for (number, way) in ["sign-out", "password", "block and unblock", "delete", "revoke", "session", "revoke the session", "demote"].into_iter().enumerate() {
        let login = format!("user-{number}");
        let (id, _) = user(&server, &login, &["reader"]);
        let path = format!("/v1/users/{id}");
        let made = home.ok("POST", "/api/v1/token", &json!({"grantType": "password", "username": login, "password": PASSWORD}));
        let (access, token) = (text(&made["accessToken"]), text(&made["refreshToken"]));
        let session = text(&As { server: &server, token: access.clone() }.ok("GET", "/v1/me", &Value::Null)["id"]);
        let revoke = |token: &str| server.call("POST", "/v1/oauth/revoke").form(&[("token", token)]).send().unwrap();
        match way {
            "sign-out" => drop(home.ok("POST", &format!("{path}/sign-out"), &Value::Null)),
            "password" => drop(home.ok("PUT", &format!("{path}/password"), &json!({"password": "a new password of hers"}))),
            "block and unblock" => drop(home.ok("PATCH", &path, &json!({"blocked": true}))),
            "delete" => drop(home.ok("DELETE", &path, &Value::Null)),
            "revoke" => drop(revoke(&token)),
            "session" => drop(home.ok("DELETE", &format!("/v1/sessions/{session}"), &Value::Null)),
            "revoke the session" => {
                home.ok("DELETE", &format!("/v1/sessions/{session}"), &Value::Null);
                revoke(&token);
            }
            _ => drop(home.ok("PATCH", &path, &json!({"roles": []}))),
        }
        if way == "demote" {
            // It goes on, as whoever the user is now.
            let made = home.ok("POST", "/api/v1/token", &json!({"grantType": "refresh_token", "refreshToken": token}));
            let now = As { server: &server, token: text(&made["accessToken"]) };
            assert_eq!(now.status("GET", "/v1/users", &Value::Null), 403, "the role that was taken away does not come back");
            continue;
        }
        assert_eq!(refresh(&token), 400, "{way}");
        assert!(way == "revoke" || !opens(&server, &access), "{way}");
        assert!(!is_active(&server, &token), "{way}");
    }
}

#[test]
fn one_idempotency_key_for_two_requests_is_not_taken_for_a_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let home = owner(&server);
    let people = ["ann", "bob"].map(|login| user(&server, login, &["reader"]));
    let send = |method: &str, path: &str, body: &Value| {
        let request = home.call(method, path).header("idempotency-key", "one-and-the-same");
        let request = if body.is_null() { request } else { request.json(body) };
        request.send().unwrap().status().as_u16()
    };
    for (id, session) in &people {
        send("POST", &format!("/v1/users/{id}/sign-out"), &Value::Null);
        assert!(!opens(&server, &session.token), "each of them is signed out");
    }
    for (number, (id, _)) in people.iter().enumerate() {
        let login = ["ann", "bob"][number];
        let session = log_in(&server, login);
        let session_id = text(&session.ok("GET", "/v1/me", &Value::Null)["id"]);
        send("DELETE", &format!("/v1/sessions/{session_id}"), &Value::Null);
        assert!(!opens(&server, &session.token), "each session ends");
        let password = format!("the new password of {login}");
        send("PUT", &format!("/v1/users/{id}/password"), &json!({"password": password}));
        assert_eq!(home.status("POST", "/v1/sessions", &json!({"login": login, "password": password})), 201, "each password is set");
    }
    // And another password for the same user is another request.
    let path = format!("/v1/users/{}/password", people[0].0);
    assert_eq!(send("PUT", &path, &json!({"password": "yet another one of ann"})), 422);
}

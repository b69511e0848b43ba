//! Users, roles, sessions, organisations, applications, API keys over HTTP: what each may do, and what nobody may.

use reqwest::blocking::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::served::{Server, client, start};

pub const PASSWORD: &str = "correct horse battery staple";

/// A caller with a token of its own.
pub struct As<'a> {
    pub server: &'a Server,
    pub token: String,
}

impl As<'_> {
    pub fn call(&self, method: &str, path: &str) -> RequestBuilder {
        client().request(method.parse().unwrap(), format!("{}{path}", self.server.base)).bearer_auth(&self.token)
    }

    pub fn send(&self, method: &str, path: &str, body: &Value) -> Response {
        let request = self.call(method, path);
        if body.is_null() { request.send().unwrap() } else { request.json(body).send().unwrap() }
    }

    pub fn status(&self, method: &str, path: &str, body: &Value) -> u16 {
        self.send(method, path, body).status().as_u16()
    }

    pub fn ok(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.send(method, path, body);
        let status = answer.status().as_u16();
        let text = answer.text().unwrap();
        assert!((200..300).contains(&status), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Status and word of a problem.
    pub fn problem(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let answer = self.send(method, path, body);
        let status = answer.status().as_u16();
        let problem: Value = answer.json().unwrap();
        (status, problem["type"].as_str().unwrap_or_default().trim_start_matches("urn:keyledger:problem:").to_owned())
    }
}

pub fn owner(server: &Server) -> As<'_> {
    As { server, token: server.token.clone() }
}

/// Makes a user with these roles, and logs it in.
pub fn user<'a>(server: &'a Server, login: &str, roles: &[&str]) -> (String, As<'a>) {
    let made = owner(server).ok("POST", "/v1/users", &json!({"login": login, "roles": roles, "password": PASSWORD}));
    (made["id"].as_str().unwrap().to_owned(), log_in(server, login))
}

pub fn log_in<'a>(server: &'a Server, login: &str) -> As<'a> {
    let nobody = As { server, token: "none".into() };
    let session = nobody.ok("POST", "/v1/sessions", &json!({"login": login, "password": PASSWORD}));
    As { server, token: session["token"].as_str().unwrap().to_owned() }
}

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_user_logs_in_in_any_letter_case_and_is_out_when_its_password_changes_or_it_is_blocked() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let (ann, first) = user(&server, "ann", &["reader"]);
    let second = log_in(&server, "ANN");
    let me = |caller: &As<'_>| caller.status("GET", "/v1/me", &Value::Null);
    assert_eq!((me(&first), me(&second)), (200, 200));
    assert_eq!(first.ok("GET", "/v1/users/me", &Value::Null)["id"], json!(ann));
    let sessions = first.ok("GET", "/v1/sessions", &Value::Null);
    assert_eq!(sessions["data"].as_array().unwrap().len(), 2);
    assert_eq!(sessions["data"][0]["current"], true);
    assert!(sessions["data"][1]["last_used_at"].is_string());
    assert_eq!(first.status("DELETE", "/v1/sessions/current", &Value::Null), 204);
    assert_eq!((me(&first), me(&second)), (401, 200), "only the one session ended");
    // A new password needs the present one, and ends every session.
    let change = |current: Value| second.problem("PUT", "/v1/users/me/password", &json!({"password": "another horse battery", "current_password": current}));
    assert_eq!(change(Value::Null), (400, "invalid".into()));
    assert_eq!(change(json!("not this one at all")), (400, "invalid".into()));
    assert_eq!(me(&second), 200);
    let body = json!({"password": "another horse battery", "current_password": PASSWORD});
    assert_eq!(second.status("PUT", "/v1/users/me/password", &body), 204);
    assert_eq!(me(&second), 401);
    let with = |password: &str| As { server: &server, token: String::new() }.problem("POST", "/v1/sessions", &json!({"login": "ann", "password": password})).0;
    assert_eq!((with(PASSWORD), with("another horse battery")), (401, 201));
    // Blocked, it opens nothing; unblocked, its sessions go on.
    let path = format!("/v1/users/{ann}");
    owner(&server).ok("PUT", &format!("{path}/password"), &json!({"password": PASSWORD}));
    let third = log_in(&server, "ann");
    owner(&server).ok("PATCH", &path, &json!({"blocked": true}));
    assert_eq!((me(&third), with(PASSWORD)), (401, 401));
    owner(&server).ok("PATCH", &path, &json!({"blocked": false}));
    assert_eq!(me(&third), 200);
    owner(&server).ok("POST", &format!("{path}/sign-out"), &Value::Null);
    assert_eq!(me(&third), 401);
    let fourth = log_in(&server, "ann");
    owner(&server).ok("DELETE", &path, &Value::Null);
    assert_eq!((me(&fourth), with(PASSWORD)), (401, 401));
    assert_eq!(owner(&server).status("GET", &path, &Value::Null), 404);
    owner(&server).ok("POST", "/v1/users", &json!({"login": "ann"}));
}

#[test]
fn nobody_gives_more_than_they_hold_nor_takes_over_who_holds_more() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let owner = owner(&server);
    let (admin_id, admin) = user(&server, "admin", &["admin"]);
    let (reader_id, _) = user(&server, "reader", &["reader"]);
    let owner_id = id(&owner.ok("GET", "/v1/users/me", &Value::Null));
    let forbidden = (403, "forbidden".to_owned());
    assert_eq!(admin.problem("POST", "/v1/users", &json!({"login": "x", "roles": ["owner"]})), forbidden);
    assert_eq!(admin.problem("PATCH", &format!("/v1/users/{admin_id}"), &json!({"roles": ["owner"]})), forbidden);
    assert_eq!(admin.problem("POST", "/v1/roles", &json!({"name": "mighty", "permissions": ["secrets:reveal"]})), forbidden);
    assert_eq!(admin.problem("POST", "/v1/api-keys", &json!({"name": "k", "permissions": ["secrets:reveal"]})), forbidden);
    assert_eq!(admin.problem("POST", "/v1/api-keys", &json!({"name": "k", "owner": owner_id})), forbidden);
    assert_eq!(admin.problem("POST", "/v1/applications", &json!({"name": "a", "permissions": ["vault:operate"]})), forbidden);
    // What holds more than the caller is not touched: its password would be the way in.
    let body = json!({"password": "a password of an attacker"});
    assert_eq!(admin.problem("PUT", &format!("/v1/users/{owner_id}/password"), &body), forbidden);
    assert_eq!(admin.problem("DELETE", &format!("/v1/users/{owner_id}"), &Value::Null), forbidden);
    assert_eq!(admin.problem("PATCH", &format!("/v1/users/{owner_id}"), &json!({"blocked": true})), forbidden);
    assert_eq!(admin.problem("POST", &format!("/v1/users/{owner_id}/unlock"), &Value::Null), forbidden);
    assert_eq!(admin.problem("POST", &format!("/v1/users/{owner_id}/sign-out"), &Value::Null), forbidden);
    let key = owner.ok("GET", "/v1/api-keys", &Value::Null)["data"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(admin.problem("POST", &format!("/v1/credentials/{key}/rotate"), &json!({})), forbidden);
    assert_eq!(admin.problem("PATCH", &format!("/v1/api-keys/{key}"), &json!({"blocked": true})), forbidden);
    assert_eq!(admin.problem("DELETE", &format!("/v1/api-keys/{key}"), &Value::Null), forbidden);
    // A role that grows lifts whoever may not be lifted.
    let role = owner.ok("POST", "/v1/roles", &json!({"name": "keeper", "permissions": ["secrets:reveal"]}));
    let path = format!("/v1/roles/{}", role["id"].as_str().unwrap());
    assert_eq!(admin.problem("PATCH", &path, &json!({"permissions": []})), forbidden);
    assert_eq!(admin.problem("DELETE", &path, &Value::Null), forbidden);
    let own = admin.ok("POST", "/v1/roles", &json!({"name": "own", "permissions": ["users:read"]}));
    assert_eq!(admin.problem("PATCH", &format!("/v1/roles/{}", own["id"].as_str().unwrap()), &json!({"permissions": ["vault:operate"]})), forbidden);
    // And the last owner stays.
    let last = (422, "invalid-state".to_owned());
    assert_eq!(owner.problem("DELETE", &format!("/v1/users/{owner_id}"), &Value::Null), last);
    assert_eq!(owner.problem("PATCH", &format!("/v1/users/{owner_id}"), &json!({"roles": ["admin"]})), last);
    assert_eq!(owner.problem("PATCH", &format!("/v1/users/{owner_id}"), &json!({"blocked": true})), last);
    owner.ok("PATCH", &format!("/v1/users/{reader_id}"), &json!({"roles": ["owner"]}));
    owner.ok("PATCH", &format!("/v1/users/{owner_id}"), &json!({"roles": ["owner", "admin"]}));
}

#[test]
fn a_role_counts_at_the_next_request_and_a_name_used_anew_gives_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let owner = owner(&server);
    owner.ok("POST", "/v1/roles", &json!({"name": "On call", "permissions": ["users:read", "custom:pager"]}));
    let (_, ann) = user(&server, "ann", &["On call"]);
    let users = || ann.status("GET", "/v1/users", &Value::Null);
    assert_eq!(users(), 200);
    owner.ok("PATCH", "/v1/roles/On%20call", &json!({"permissions": ["roles:read"], "name": "Night"}));
    assert_eq!((users(), ann.status("GET", "/v1/roles", &Value::Null)), (403, 200));
    assert_eq!(owner.ok("GET", "/v1/users?limit=200", &Value::Null)["data"][1]["roles"], json!(["Night"]));
    owner.ok("DELETE", "/v1/roles/Night", &Value::Null);
    owner.ok("POST", "/v1/roles", &json!({"name": "Night", "permissions": ["users:read"]}));
    assert_eq!(users(), 403, "the new role is another one");
    for bad in ["", " x", "owner", "OWNER", "\u{43e}wner", "a\u{200b}b", "a\nb", &"x".repeat(129), &"0a".repeat(16)] {
        assert_eq!(owner.problem("POST", "/v1/roles", &json!({"name": bad, "permissions": []})).0, 400, "{bad:?}");
    }
    assert_eq!(owner.problem("POST", "/v1/roles", &json!({"name": "N\u{456}ght", "permissions": []})), (409, "name-taken".into()), "it looks the same");
    assert_eq!(owner.problem("POST", "/v1/roles", &json!({"name": "x", "permissions": ["users:fly"]})).0, 400);
    assert_eq!(owner.problem("POST", "/v1/users", &json!({"login": "x", "roles": ["no such role"]})).0, 400);
    assert_eq!(owner.problem("PATCH", "/v1/roles/owner", &json!({"permissions": []})), (422, "invalid-state".into()));
}

#[test]
fn bad_names_addresses_and_passwords_are_refused_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let owner = owner(&server);
    let before = owner.ok("GET", "/v1/events?limit=1", &Value::Null)["position"].clone();
    let cases = [
        ("/v1/users", json!({})),
        ("/v1/users", json!({"login": ""})),
        ("/v1/users", json!({"login": "a b"})),
        ("/v1/users", json!({"login": "\u{430}nn"})),
        ("/v1/users", json!({"login": "a".repeat(129)})),
        ("/v1/users", json!({"login": "a", "email": "nobody"})),
        ("/v1/users", json!({"login": "a", "email": "a@b.example\r\nBcc: c@d.example"})),
        ("/v1/users", json!({"login": "a", "name": "a\u{202e}b"})),
        ("/v1/users", json!({"login": "a", "password": "short"})),
        ("/v1/users", json!({"login": "a", "password": "aaaaaaaaaaaaaaaa"})),
        ("/v1/users", json!({"login": "a", "password": "x".repeat(1025)})),
        ("/v1/users", json!({"login": "a", "admin": true})),
        ("/v1/users", json!({"login": "a", "roles": "owner"})),
        ("/v1/users", json!({"login": "a", "roles": vec!["reader"; 65]})),
        ("/v1/organizations", json!({"name": "a\0b"})),
        ("/v1/applications", json!({"name": "a", "app_ids": ["a/b"]})),
        ("/v1/applications", json!({"name": "a", "roles": ["nobody"]})),
        ("/v1/api-keys", json!({"name": "a", "permissions": ["x"]})),
        ("/v1/api-keys", json!({"name": "a", "owner": "f".repeat(32)})),
        ("/v1/api-keys", json!({"name": "a", "organizations": ["f".repeat(32)]})),
        ("/v1/api-keys", json!({"name": "a", "expires_at": "2020-01-01T00:00:00Z"})),
        ("/v1/api-keys", json!({"name": "a", "expires_at": "soon"})),
        ("/v1/api-keys", json!({"name": "a", "emails": ["nobody"]})),
        ("/v1/api-keys", json!({"name": "a", "labels": vec!["x"; 65]})),
        ("/v1/tenants", json!({"name": "Acme"})),
        ("/v1/tenants", json!({"name": "-"})),
        ("/v1/sessions", json!({"login": "owner"})),
        ("/v1/sessions", json!({"login": "owner", "password": "x", "seconds": 59})),
        ("/v1/sessions", json!({"login": "owner", "password": "x", "seconds": 604_801})),
        ("/v1/keys/verify", json!({"key": "x", "permissions": ["x"]})),
    ];
    for (path, body) in cases {
        assert_eq!(owner.problem("POST", path, &body), (400, "invalid".into()), "{path} {body}");
    }
    assert_eq!(owner.ok("GET", "/v1/events?limit=1", &Value::Null)["position"], before);
}

#[test]
fn a_key_says_what_it_is_good_for_until_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let owner = owner(&server);
    let (ann, _) = user(&server, "ann", &["reader"]);
    let acme = id(&owner.ok("POST", "/v1/organizations", &json!({"name": "Acme"})));
    let body = json!({"name": "reporting", "owner": ann, "permissions": ["keys:verify", "custom:reports.read"], "organizations": [acme], "labels": ["x"]});
    let made = owner.ok("POST", "/v1/api-keys", &body);
    let (key, token) = (made["api_key"]["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    let verify = |token: &str, wanted: &[&str]| owner.ok("POST", "/v1/keys/verify", &json!({"key": token, "permissions": wanted}));
    let valid = verify(token, &["custom:reports.read", "users:read"]);
    assert_eq!((&valid["valid"], &valid["code"], &valid["key"]["id"]), (&json!(true), &json!("valid"), &json!(key)));
    assert_eq!(valid["key"]["owner"], json!({"id": ann, "login": "ann"}));
    assert_eq!((&valid["key"]["organizations"], &valid["key"]["labels"]), (&json!([acme]), &json!(["x"])));
    let lacking = verify(token, &["custom:reports.write"]);
    assert_eq!((&lacking["code"], &lacking["missing_permissions"]), (&json!("missing_permissions"), &json!(["custom:reports.write"])));
    let code = |token: &str| verify(token, &[])["code"].as_str().unwrap().to_owned();
    for unknown in ["", "x", &token.replace("klkey", "klses"), &token[..token.len() - 1], &server.token.replace('0', "1")] {
        assert_eq!(code(unknown), "not_found");
    }
    // Its own uses are seen at once, those of others to whom it was shown as well.
    let uses = || owner.ok("GET", &format!("/v1/api-keys/{key}"), &Value::Null)["issued"][0]["use_count"].as_u64().unwrap();
    let before = uses();
    code(token);
    As { server: &server, token: token.into() }.ok("GET", "/v1/me", &Value::Null);
    assert_eq!(uses(), before + 2);
    let path = format!("/v1/api-keys/{key}");
    owner.ok("PATCH", &path, &json!({"blocked": true}));
    assert_eq!((code(token).as_str(), As { server: &server, token: token.into() }.status("GET", "/v1/me", &Value::Null)), ("blocked", 401));
    owner.ok("PATCH", &path, &json!({"blocked": false}));
    owner.ok("PATCH", &format!("/v1/users/{ann}"), &json!({"blocked": true}));
    assert_eq!(code(token), "owner_refused");
    owner.ok("PATCH", &format!("/v1/users/{ann}"), &json!({"blocked": false}));
    assert_eq!(code(token), "valid");
    owner.ok("DELETE", &path, &Value::Null);
    assert_eq!(code(token), "not_found");
}

#[test]
fn a_repeated_create_shows_the_same_token_again_and_makes_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let owner = owner(&server);
    for (path, body, secret) in [("/v1/api-keys", json!({"name": "k"}), "token"), ("/v1/applications", json!({"name": "a"}), "client_secret")] {
        let send = |body: &Value| owner.call("POST", path).header("idempotency-key", "once").json(body).send().unwrap();
        let (first, again): (Value, Value) = (send(&body).json().unwrap(), send(&body).json().unwrap());
        assert!(first[secret].is_string());
        assert_eq!(first, again, "{path}");
        assert_eq!(send(&json!({"name": "other"})).status(), 422);
    }
    assert_eq!(owner.ok("GET", "/v1/api-keys", &Value::Null)["data"].as_array().unwrap().len(), 2);
    let key = owner.ok("GET", "/v1/api-keys", &Value::Null)["data"][1]["id"].as_str().unwrap().to_owned();
    let rotate = || owner.call("POST", &format!("/v1/credentials/{key}/rotate")).header("idempotency-key", "r").send().unwrap().json::<Value>().unwrap();
    assert_eq!(rotate()["secret"], rotate()["secret"]);
    // What is kept for the repeat is a secret like others: no event shows it.
    let events = owner.ok("GET", "/v1/events?limit=200", &Value::Null).to_string();
    assert!(events.contains("\"replay\"") && !events.contains(rotate()["secret"].as_str().unwrap()));
}

#[test]
fn one_idempotency_key_for_two_users_or_sessions_is_no_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let owner = owner(&server);
    let ((ann, _), (bob, bobs)) = (user(&server, "ann", &[]), user(&server, "bob", &[]));
    let session = |of: &As| id(&of.ok("GET", "/v1/sessions", &Value::Null)["data"][0]);
    let anns = log_in(&server, "ann");
    let send = |key: &str, method: &str, path: String, body: &Value| {
        let request = owner.call(method, &path).header("idempotency-key", key);
        let answer = if body.is_null() { request.send() } else { request.json(body).send() };
        answer.unwrap().status().as_u16()
    };
    let none = Value::Null;
    let sign_out = |user: &str| send("one", "POST", format!("/v1/users/{user}/sign-out"), &none);
    assert_eq!((sign_out(&ann), sign_out(&ann), sign_out(&bob)), (204, 204, 204));
    assert_eq!((anns.status("GET", "/v1/me", &none), bobs.status("GET", "/v1/me", &none)), (401, 401));
    let (anns, bobs) = (log_in(&server, "ann"), log_in(&server, "bob"));
    let end = |session: String| send("two", "DELETE", format!("/v1/sessions/{session}"), &none);
    assert_eq!((end(session(&anns)), end(session(&bobs))), (204, 204));
    assert_eq!((anns.status("GET", "/v1/me", &none), bobs.status("GET", "/v1/me", &none)), (401, 401));
    let set = |user: &str, password: &str| send("three", "PUT", format!("/v1/users/{user}/password"), &json!({"password": password}));
    assert_eq!((set(&ann, "another password"), set(&ann, "another password"), set(&bob, "another password")), (204, 204, 204));
    let nobody = As { server: &server, token: "none".into() };
    let login = |password: &str| nobody.status("POST", "/v1/sessions", &json!({"login": "bob", "password": password}));
    assert_eq!((login("another password"), login(PASSWORD)), (201, 401));
    assert_ne!(set(&ann, "a third password"), 204, "the same key for another password is refused");
}

#[test]
fn what_is_made_for_a_user_who_is_being_deleted_goes_with_the_user() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let owner = owner(&server);
    for round in 0..4 {
        let leaving = id(&owner.ok("POST", "/v1/users", &json!({"login": format!("leaving-{round}")})));
        let path = format!("/v1/users/{leaving}");
        let made = std::thread::scope(|scope| {
            let make = |number: usize| {
                let body = json!({"name": format!("key {number}"), "owner": leaving, "permissions": []});
                let owner = &owner;
                scope.spawn(move || owner.status("POST", "/v1/api-keys", &body))
            };
            let some: Vec<_> = (0..12).map(make).collect();
            let deleted = scope.spawn(|| owner.status("DELETE", &path, &Value::Null));
            let more: Vec<_> = (12..24).map(make).collect();
            assert_eq!(deleted.join().unwrap(), 204);
            some.into_iter().chain(more).map(|made| made.join().unwrap()).filter(|status| *status == 201).count()
        });
        let all = owner.ok("GET", "/v1/credentials?kind=api_key&show=all&limit=200", &Value::Null);
        let of_user = all["data"].as_array().unwrap().iter().filter(|key| key["owner"] == leaving.as_str() && key["state"] != "deleted").count();
        assert_eq!(of_user, 0, "of {made} that were made");
    }
}

#[test]
fn more_roles_than_anything_may_have_are_not_looked_up() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let owner = owner(&server);
    for (path, member) in [("/v1/users", "login"), ("/v1/applications", "name")] {
        // Each look-up by name goes over all roles of the tenant.
        for (count, pointer) in [(64, "#/roles/0"), (65, "#/roles")] {
            let answer = owner.send("POST", path, &json!({member: "many", "roles": vec!["no such role"; count]}));
            assert_eq!(answer.status(), 400);
            assert_eq!(answer.json::<Value>().unwrap()["errors"][0]["pointer"], pointer);
        }
    }
}

#[test]
fn members_are_seen_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let owner = owner(&server);
    let ann = id(&owner.ok("POST", "/v1/users", &json!({"login": "ann", "roles": ["reader"]})));
    let at = owner.ok("GET", "/v1/events?limit=1", &Value::Null)["position"].as_u64().unwrap();
    owner.ok("PATCH", &format!("/v1/users/{ann}"), &json!({"login": "anna", "email": "anna@example.com"}));
    owner.ok("DELETE", &format!("/v1/users/{ann}"), &Value::Null);
    assert_eq!(owner.status("GET", &format!("/v1/users/{ann}"), &Value::Null), 404);
    let then = owner.ok("GET", &format!("/v1/users/{ann}?as_of={at}"), &Value::Null);
    assert_eq!((&then["login"], &then["email"]), (&json!("ann"), &Value::Null));
    let list = |query: &str| owner.ok("GET", &format!("/v1/users{query}"), &Value::Null)["data"].as_array().unwrap().len();
    assert_eq!((list(""), list(&format!("?as_of={at}")), list("?as_of=2")), (1, 2, 1));
    let history = owner.ok("GET", &format!("/v1/users/{ann}/history"), &Value::Null);
    let types: Vec<&str> = history["data"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["deleted", "updated", "created"], "who changed this, deleted things included");
    let etag = owner.send("GET", "/v1/users/me", &Value::Null).headers()["etag"].to_str().unwrap().to_owned();
    let renamed = |tag: &str| {
        let request = owner.call("PATCH", "/v1/users/me").header("if-match", tag).json(&json!({"name": "Boss"}));
        request.send().unwrap().status().as_u16()
    };
    assert_eq!((renamed(&etag), renamed(&etag)), (200, 412));
}

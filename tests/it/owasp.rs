//! The OWASP API Security Top 10 (2023), each on what it would look like here: requests of a caller who may do a little and tries for more.
//! What the authorisation matrix asks of every operation by its path is not asked again: these are ids in bodies, queries and headers, and ways
//! around a door rather than through it.

use reqwest::blocking::Response;
use serde_json::{Value, json};

use crate::members::{As, PASSWORD, owner, user};
use crate::served::{Server, client, start};

const CLIENTS: &str = "/local-user-store/api/v1/api-clients";
const OWN_APPLICATIONS: &str = "/api/v1/user-applications";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn said(answer: Response) -> (u16, String) {
    (answer.status().as_u16(), answer.text().unwrap())
}

fn key<'a>(server: &'a Server, name: &str, more: &Value) -> (String, As<'a>) {
    let mut body = json!({"name": name});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = owner(server).ok("POST", "/v1/api-keys", &body);
    (text(&made["api_key"]["id"]), As { server, token: text(&made["token"]) })
}

fn document() -> Value {
    serde_json::from_str(include_str!("../../schema/openapi.json")).unwrap()
}

fn position(server: &Server) -> u64 {
    owner(server).ok("GET", "/v1/events?limit=1", &Value::Null)["position"].as_u64().unwrap()
}

/// Another tenant's ids in bodies and queries, and another user's, do what missing ones do, to the byte.
#[test]
fn api1_broken_object_level_authorization() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let home = owner(&server);
    let begun = home.ok("POST", "/v1/tenants", &json!({"name": "acme"}));
    let acme = As { server: &server, token: text(&begun["owner_token"]) };
    server.ok("POST", "/vault/connections/crm/pipedrive/import", Some(json!({"credentials": {"access_token": "t"}})));
    let connection = text(&home.ok("GET", "/v1/credentials?kind=connection", &Value::Null)["data"][0]["id"]);
    let organization = home.ok("POST", "/v1/organizations", &json!({"name": "Theirs"}));
    let number = home.ok("GET", "/v1/events?kind=organization", &Value::Null)["data"][0]["position"].as_u64().unwrap();
    let role = text(&home.ok("POST", "/v1/roles", &json!({"name": "theirs", "permissions": []}))["id"]);
    let (victim, of_victim) = user(&server, "victim", &["reader"]);
    let (key_id, key) = key(&server, "theirs", &json!({}));
    // What does a thing of another tenant do where an id stands in the body, and what a missing one?
    let none = "0".repeat(32);
    let both = |path: &str, body: &dyn Fn(&str) -> Value, theirs: &str, missing: &str| {
        let (there, gone) = (said(acme.send("POST", path, &body(theirs))), said(acme.send("POST", path, &body(missing))));
        assert_eq!(there, gone, "{path} {}", body(theirs));
        assert!(there.0 >= 400, "{path} {}: {there:?}", body(theirs));
    };
    both("/v1/secrets/reveal", &|id| json!({"credential": id, "secret": "access_token", "reason": "mine"}), &connection, &none);
    both("/v1/api-keys", &|id| json!({"name": "k", "organizations": [id]}), organization["id"].as_str().unwrap(), &none);
    both("/v1/api-keys", &|id| json!({"name": "k", "owner": id}), &victim, &none);
    both("/v1/users", &|id| json!({"login": "x", "roles": [id]}), &role, &none);
    both("/v1/applications", &|id| json!({"name": "x", "roles": [id]}), &role, &none);
    both(CLIENTS, &|id| json!({"name": "x", "roles": [{"id": id}]}), &role, &none);
    let rec = |number: &str| json!({"name": "k", "emails": [], "organizationsIds": [number.parse::<u64>().unwrap()], "permissions": []});
    both("/api-keys", &rec, &number.to_string(), "999999");
    for (theirs, missing) in [(victim.as_str(), none.as_str()), ("victim", "nobody")] {
        both("/external_provider/api_key/create", &|user| json!({"user": user, "groq": {"api_key": "gsk_0123456789"}}), theirs, missing);
        both("/external_provider/api_key/delete", &|user| json!({"user": user, "groq": true}), theirs, missing);
    }
    // In a query, and behind a token that somebody got hold of.
    let list = |path: &str| acme.ok("GET", path, &Value::Null);
    assert_eq!(list(&format!("/v1/events?stream={connection}"))["data"], json!([]));
    assert_eq!(list(&format!("/v1/events?actor={key_id}"))["data"], json!([]));
    assert_eq!(list(&format!("/api-keys?token={}", key.token)), json!([]));
    assert_eq!(list("/v1/credentials?app=app&show=all")["data"], json!([]));
    let form = |path: &str, token: &str| acme.call("POST", path).form(&[("token", token)]).send().unwrap();
    assert_eq!(form("/v1/oauth/introspect", &of_victim.token).json::<Value>().unwrap(), json!({"active": false}));
    assert_eq!(form("/v1/oauth/revoke", &of_victim.token).status(), 200);
    assert_eq!(of_victim.status("GET", "/v1/me", &Value::Null), 200, "nobody of another tenant ends it");
    others_of_the_same_tenant(&server);
}

/// In one tenant: what is another user's, or another application's.
fn others_of_the_same_tenant(server: &Server) {
    let home = owner(server);
    home.ok("POST", "/v1/roles", &json!({"name": "small", "permissions": ["user-applications:own"]}));
    let ((_, ann), (bob_id, bob)) = (user(server, "ann", &["small"]), user(server, "bob", &["small"]));
    let made = bob.ok("POST", OWN_APPLICATIONS, &json!({"name": "bobs-own"}));
    let (path, missing) = (format!("{OWN_APPLICATIONS}/{}", text(&made["id"])), format!("{OWN_APPLICATIONS}/{}", "0".repeat(32)));
    for (method, tail) in [("GET", ""), ("DELETE", ""), ("POST", "/secret")] {
        let ask = |path: &str| said(ann.send(method, &format!("{path}{tail}"), &Value::Null));
        assert_eq!(ask(&path), ask(&missing), "{method} {path}{tail}");
    }
    let credential = text(&made["id"]).replace('-', "");
    let (there, gone) = (format!("/v1/credentials/{credential}/rotate"), format!("/v1/credentials/{}/rotate", "0".repeat(32)));
    assert_eq!(said(ann.send("POST", &there, &Value::Null)), said(ann.send("POST", &gone, &Value::Null)));
    let session = text(&bob.ok("GET", "/v1/me", &Value::Null)["id"]);
    assert_eq!(ann.status("DELETE", &format!("/v1/sessions/{session}"), &Value::Null), 403);
    assert_eq!(ann.status("GET", &format!("/v1/sessions?user={bob_id}"), &Value::Null), 403);
    assert_eq!(ann.status("POST", &format!("/v1/users/{bob_id}/sign-out"), &Value::Null), 403);
    assert_eq!(ann.problem("PUT", &format!("/v1/users/{bob_id}/password"), &json!({"password": PASSWORD, "current_password": PASSWORD})).0, 403);
    assert_eq!(bob.status("GET", "/v1/me", &Value::Null), 200);
    assert_eq!(bob.ok("GET", OWN_APPLICATIONS, &Value::Null).as_array().unwrap().len(), 1);
    // A token for one application asks for another's.
    for app in ["mine", "theirs"] {
        let request = server.call("POST", "/vault/connections/crm/pipedrive/import").header("x-apideck-app-id", app);
        drop(request.json(&json!({"credentials": {"access_token": app}})).send().unwrap());
    }
    let as_app = |app: &str, path: &str, of: &As<'_>| {
        let request = of.call("GET", path).header("x-apideck-app-id", app).header("x-apideck-consumer-id", "acme");
        let answer = request.send().unwrap();
        (answer.status().as_u16(), answer.text().unwrap().contains("theirs"))
    };
    let (_, bound) = key(server, "bound", &json!({"owner": "me", "app_ids": ["mine"]}));
    assert_eq!(as_app("mine", "/vault/consumers", &bound), (200, false));
    for path in ["/vault/consumers", "/vault/consumers/acme", "/vault/connections/crm/pipedrive", "/vault/connections"] {
        assert_eq!(as_app("app", path, &bound), (401, false), "{path}: as if there were no such application");
        assert_eq!(as_app("nowhere", path, &bound), (401, false));
    }
    assert_eq!(
        bound.ok("GET", "/v1/credentials?kind=connection&show=all", &Value::Null)["data"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["connection"]["app"] != "mine")
            .count(),
        0
    );
    let of_app = home.ok("GET", "/v1/credentials?kind=connection&app=app", &Value::Null)["data"][0]["id"].clone();
    let reveal = json!({"credential": of_app, "secret": "access_token", "reason": "mine"});
    assert_eq!(bound.status("POST", "/v1/secrets/reveal", &reveal), 404);
    assert_eq!(bound.ok("GET", &format!("/v1/events?stream={}", text(&of_app)), &Value::Null)["data"], json!([]));
}

/// Every way to present something that is not a valid token in its place, and doors that cannot be tried faster by another way in.
#[test]
fn api2_broken_authentication() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let (_, ann) = user(&server, "ann", &["owner"]);
    let bare = |path: &str| client().get(format!("{}{path}", server.base));
    let token = &server.token;
    for request in [
        bare(&format!("/v1/me?access_token={token}")),
        bare(&format!("/v1/me?token={token}&api_key={token}")),
        bare("/v1/me").header("cookie", format!("token={token}; session={token}; Authorization=Bearer {token}")),
        bare("/v1/me").header("x-api-key", token).header("x-auth-token", token).header("proxy-authorization", format!("Bearer {token}")),
        bare("/v1/me").header("x-application-id", token),
        bare("/v1/me").basic_auth(token, Some(token)),
        bare("/v1/me").header("authorization", token),
        bare("/v1/me").header("authorization", format!("Bearer {token} {token}")),
        bare("/v1/me").header("authorization", format!("Bearer {token},")),
        bare("/v1/me").bearer_auth(token).header("authorization", "Bearer nothing"),
        bare("/v1/me").bearer_auth(token.to_uppercase()),
        bare("/v1/me").bearer_auth(format!("{token}\u{7f}").trim_end_matches('\u{7f}').to_owned() + "0"),
        bare("/v1/me").bearer_auth(&token[..token.len() - 8]),
        bare("/v1/me").header("x-forwarded-user", "owner").header("x-remote-user", "owner").header("x-user-id", "owner"),
    ] {
        assert_eq!(request.send().unwrap().status(), 401);
    }
    // Tokens of one sort in the place of another.
    let grant = json!({"grantType": "password", "username": "ann", "password": PASSWORD});
    let tokens = ann.ok("POST", "/api/v1/token", &grant);
    let (access, refresh) = (text(&tokens["accessToken"]), text(&tokens["refreshToken"]));
    let as_token = |token: &str| As { server: &server, token: token.into() }.status("GET", "/v1/me", &Value::Null);
    assert_eq!((as_token(&access), as_token(&refresh)), (200, 401));
    for wrong in [&access, &ann.token, token] {
        assert_eq!(ann.status("POST", "/api/v1/token", &json!({"grantType": "refresh_token", "refreshToken": wrong})), 400);
        assert_eq!(ann.status("POST", "/v1/sessions", &json!({"login": "ann", "password": wrong})), 401);
    }
    // It counted: three wrong ones in a row. The fourth makes the name wait, whatever way it is tried by, however spelt, wherever from.
    assert_eq!(ann.status("POST", "/v1/sessions", &json!({"login": "ann", "password": "a fourth one"})), 401);
    let from = |path: &str, body: Value, number: usize| {
        let mut request = client().post(format!("{}{path}", server.base));
        for name in ["x-forwarded-for", "x-real-ip", "forwarded", "client-ip", "true-client-ip", "x-client-ip", "x-originating-ip", "cf-connecting-ip"] {
            request = request.header(name, if name == "forwarded" { format!("for=198.51.100.{number}") } else { format!("198.51.100.{number}") });
        }
        request.header("user-agent", format!("another {number}")).json(&body).send().unwrap().status().as_u16()
    };
    for (number, login) in ["ann", "ANN", "Ann", "aNN"].into_iter().enumerate() {
        assert_eq!(from("/v1/sessions", json!({"login": login, "password": PASSWORD}), number), 429, "{login}");
        assert_eq!(from("/v1/sessions", json!({"login": login, "password": PASSWORD, "tenant": "default"}), number), 429, "{login}");
        assert_eq!(from("/api/v1/token", json!({"grantType": "password", "username": login, "password": PASSWORD}), number), 429, "{login}");
        let other = json!({"GRANTTYPE": "password", "USERNAME": format!("default/{login}"), "PASSWORD": PASSWORD});
        assert_eq!(from("/api/v1/token", other, number), 429, "{login}");
    }
    assert_eq!(ann.problem("PUT", "/v1/users/me/password", &json!({"password": "a new one of them", "current_password": "x"})).0, 429, "nor by this door");
    for padded in [" ann", "ann ", "ann\u{0}", "\u{ff41}nn", "ann\n"] {
        assert!([400, 401].contains(&from("/v1/sessions", json!({"login": padded, "password": PASSWORD}), 99)), "{padded:?} is nobody");
    }
}

/// What an answer shows, or what exists inside, and nobody says.
const EXTRA: [&str; 26] = [
    "id",
    "tenant",
    "tenant_id",
    "owner",
    "user",
    "user_id",
    "roles",
    "permissions",
    "blocked",
    "is_admin",
    "admin",
    "created_at",
    "content_version",
    "number",
    "password_hash",
    "secret",
    "token",
    "builtin",
    "signed_out",
    "failed_logins",
    "locked_seconds",
    "suspended_at",
    "issued",
    "app_ids",
    "__proto__",
    "created_by",
];

/// Members that an answer shows, or that exist inside, sent along with a change: they are refused, or nothing comes of them.
#[test]
fn api3_broken_object_property_level_authorization() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let home = owner(&server);
    let (ann, of_ann) = user(&server, "ann", &["reader"]);
    let role = text(&home.ok("POST", "/v1/roles", &json!({"name": "r", "permissions": []}))["id"]);
    let organization = text(&home.ok("POST", "/v1/organizations", &json!({"name": "o"}))["id"]);
    let application = text(&home.ok("POST", "/v1/applications", &json!({"name": "a"}))["application"]["id"]);
    let key = home.ok("POST", "/v1/api-keys", &json!({"name": "k"}))["api_key"].clone();
    let number = key["number"].to_string();
    let consumer = json!({"consumer_id": "c"});
    server.call("POST", "/vault/consumers").json(&consumer).send().unwrap();
    let rec = json!({"name": "k", "emails": [], "organizationsIds": [], "permissions": []});
    let changes = [
        ("POST", "/v1/users".to_owned(), json!({"login": "x"})),
        ("PATCH", format!("/v1/users/{ann}"), json!({})),
        ("PUT", format!("/v1/users/{ann}/password"), json!({"password": PASSWORD})),
        ("POST", "/v1/roles".into(), json!({"name": "x", "permissions": []})),
        ("PATCH", format!("/v1/roles/{role}"), json!({})),
        ("POST", "/v1/organizations".into(), json!({"name": "x"})),
        ("PATCH", format!("/v1/organizations/{organization}"), json!({"name": "o"})),
        ("POST", "/v1/applications".into(), json!({"name": "x"})),
        ("PATCH", format!("/v1/applications/{application}"), json!({})),
        ("POST", "/v1/api-keys".into(), json!({"name": "x"})),
        ("PATCH", format!("/v1/api-keys/{}", text(&key["id"])), json!({})),
        ("POST", "/v1/tenants".into(), json!({"name": "x"})),
        ("POST", "/v1/sessions".into(), json!({"login": "ann", "password": PASSWORD})),
        ("POST", format!("/v1/credentials/{}/rotate", text(&key["id"])), json!({})),
        ("POST", "/api-keys".into(), rec),
        ("PATCH", format!("/api-keys/{number}"), json!({})),
        ("POST", OWN_APPLICATIONS.into(), json!({"name": "an-app"})),
        ("POST", "/external_provider/api_key/create".into(), json!({"user": "ann"})),
        ("POST", "/vault/consumers".into(), json!({"consumer_id": "x"})),
        ("PATCH", "/vault/consumers/c".into(), json!({})),
    ];
    let before = position(&server);
    // What is a member of the operation itself is no extra one.
    let schema_has = |method: &str, path: &str, name: &str| known(&document(), method, path, name);
    for (method, path, body) in &changes {
        for name in EXTRA.iter().filter(|name| !schema_has(method, path, name)) {
            let mut body = body.clone();
            body[*name] = json!("owner");
            let request = home.call(method, path).header("x-apideck-app-id", "app").header("x-apideck-consumer-id", "acme").json(&body);
            let (status, told) = said(request.send().unwrap());
            assert_eq!(status, 400, "{method} {path} takes {name}: {told}");
        }
    }
    assert_eq!(position(&server), before, "nothing was written");
    what_is_passed_over(&server, &ann);
    // Nobody makes more of oneself through a door for oneself.
    for (path, body) in [("/v1/users/me", json!({"roles": ["owner"]})), (&*format!("/v1/users/{ann}"), json!({"blocked": false}))] {
        assert_eq!(of_ann.status("PATCH", path, &body), 403);
    }
    // And no answer shows what only the vault needs.
    for path in [
        "/v1/users",
        "/v1/sessions",
        "/v1/api-keys",
        "/v1/applications",
        "/v1/credentials?show=all",
        "/api-keys?optFields=emails,permissions,labels",
        "/v1/events?limit=200",
    ] {
        let told = home.send("GET", path, &Value::Null).text().unwrap();
        for hidden in ["\"hash\":\"", "\"salt\":\"", "password_hash", "\"verifier\":{", "client_secret\":\"kl"] {
            assert!(!told.contains(hidden), "{path} shows {hidden}");
        }
    }
}

/// Where a vendor's clients send whole objects back, what they cannot say is passed over.
fn what_is_passed_over(server: &Server, ann: &str) {
    let home = owner(server);
    let id = text(&home.ok("POST", CLIENTS, &json!({"name": "c", "id": ann, "secret": "mine", "author": ann, "tenant": "acme", "blocked": true}))["id"]);
    let shown = home.ok("GET", &format!("{CLIENTS}/{id}"), &Value::Null);
    assert!(id != ann && shown["secret"] != "mine" && shown["author"] != json!(ann) && shown["roles"] == json!([]), "{shown}");
    // So are they of an import: the vendor's clients send what a connection shows.
    let whole = json!({"credentials": {"access_token": "t"}, "id": "other", "service_id": "close", "state": "callable", "created_at": 1, "app": "theirs", "consumer": "b"});
    let imported = server.call("POST", "/vault/connections/crm/pipedrive/import").json(&whole).send().unwrap().json::<Value>().unwrap();
    assert_eq!((&imported["data"]["id"], &imported["data"]["service_id"]), (&json!("crm+pipedrive"), &json!("pipedrive")));
    assert!(imported["data"]["created_at"].as_u64().unwrap() > 1);
}

/// Whether a member is one that the operation's body has.
fn known(document: &Value, method: &str, path: &str, name: &str) -> bool {
    let fits = |template: &str| {
        let (of_template, of_path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
        of_template.len() == of_path.len() && of_template.iter().zip(&of_path).all(|(one, other)| one.starts_with('{') || one == other)
    };
    let (_, operation) =
        document["paths"].as_object().unwrap().iter().find(|(template, methods)| fits(template) && methods.get(method.to_lowercase()).is_some()).unwrap();
    let mut schema = &operation[method.to_lowercase()]["requestBody"]["content"]["application/json"]["schema"];
    loop {
        if let Some(to) = schema["$ref"].as_str() {
            schema = document.pointer(to.trim_start_matches('#')).unwrap();
        } else if let Some(one) = schema["oneOf"].as_array().and_then(|all| all.iter().find(|one| one["$ref"].is_string())) {
            schema = one;
        } else {
            break;
        }
    }
    assert!(schema["properties"].is_object(), "{method} {path}: {schema}");
    schema["properties"][name].is_object()
}

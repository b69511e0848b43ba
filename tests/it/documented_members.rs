//! The operations of members, keys and tokens, against the OpenAPI document.

use serde_json::{Value, json};

use crate::documented::Documented;
use crate::served::{Server, client};

pub fn send_all(documented: &mut Documented, server: &Server) {
    members(documented, server);
    keys(documented, server);
    shreds(documented, server);
    sessions(documented, server);
    let (id, secret) = programs(documented, server);
    tokens(documented, server, &id, &secret);
}

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

fn members(documented: &mut Documented, server: &Server) {
    let mut send = |method: &str, template: &str, path: &str, body: Option<Value>| documented.send(server, method, template, path, body);
    let user = json!({"login": "ann", "email": "ann@example.com", "roles": ["reader"], "password": "correct horse battery"});
    let ann = id(&send("POST", "/v1/users", "/v1/users", Some(user.clone())));
    send("POST", "/v1/users", "/v1/users", Some(user));
    send("GET", "/v1/users", "/v1/users?limit=1", None);
    let path = format!("/v1/users/{ann}");
    send("GET", "/v1/users/{id}", &path, None);
    send("GET", "/v1/users/{id}", "/v1/users/nobody", None);
    send("PATCH", "/v1/users/{id}", &path, Some(json!({"email": null, "blocked": false, "roles": []})));
    send("PUT", "/v1/users/{id}/password", &format!("{path}/password"), Some(json!({"password": "another horse battery"})));
    send("GET", "/v1/users/{id}/history", &format!("{path}/history?limit=200"), None);
    send("POST", "/v1/users/{id}/sign-out", &format!("{path}/sign-out"), None);
    send("POST", "/v1/users/{id}/unlock", &format!("{path}/unlock"), None);
    send("DELETE", "/v1/users/{id}", &path, None);
    let role = id(&send("POST", "/v1/roles", "/v1/roles", Some(json!({"name": "on call", "permissions": ["users:read", "custom:x"]}))));
    send("GET", "/v1/roles/{role}/history", &format!("/v1/roles/{role}/history"), None);
    send("GET", "/v1/roles", "/v1/roles", None);
    send("GET", "/v1/roles/{role}", "/v1/roles/owner", None);
    send("PATCH", "/v1/roles/{role}", "/v1/roles/on%20call", Some(json!({"permissions": []})));
    send("PATCH", "/v1/roles/{role}", "/v1/roles/owner", Some(json!({"permissions": []})));
    send("DELETE", "/v1/roles/{role}", "/v1/roles/on%20call", None);
    let acme = id(&send("POST", "/v1/organizations", "/v1/organizations", Some(json!({"name": "Acme"}))));
    let path = format!("/v1/organizations/{acme}");
    send("GET", "/v1/organizations", "/v1/organizations", None);
    send("GET", "/v1/organizations/{id}", &path, None);
    send("GET", "/v1/organizations/{id}/history", &format!("{path}/history"), None);
    send("PATCH", "/v1/organizations/{id}", &path, Some(json!({"name": "Acme Ltd"})));
    send("DELETE", "/v1/organizations/{id}", &path, None);
    send("POST", "/v1/tenants", "/v1/tenants", Some(json!({"name": "acme"})));
    send("POST", "/v1/tenants", "/v1/tenants", Some(json!({"name": "acme"})));
    send("GET", "/v1/tenants", "/v1/tenants", None);
    send("GET", "/v1/tenants/{name}", "/v1/tenants/acme", None);
    send("POST", "/v1/tenants/{name}/suspend", "/v1/tenants/acme/suspend", None);
    send("POST", "/v1/tenants/{name}/suspend", "/v1/tenants/default/suspend", None);
    send("POST", "/v1/tenants/{name}/resume", "/v1/tenants/acme/resume", None);
    send("GET", "/v1/me", "/v1/me", None);
}

/// The vault's own keys: a tenant's is rotated, and what is refused.
fn keys(documented: &mut Documented, server: &Server) {
    let rotate = "/v1/keys/rotate";
    assert_eq!(documented.send(server, "GET", "/v1/keys", "/v1/keys", None)["root"]["state"], "steady");
    let keys = documented.send(server, "POST", rotate, rotate, Some(json!({"tenant": "default"})));
    assert_eq!(keys["latest"], json!({"key": "default", "state": "done"}));
    for wrong in [json!({}), json!({"root": true, "tenant": "default"}), json!({"tenant": "no-such"})] {
        documented.send(server, "POST", rotate, rotate, Some(wrong));
    }
}

/// What dies: a role, and, asked for and cancelled, a tenant.
fn shreds(documented: &mut Documented, server: &Server) {
    let role = id(&documented.send(server, "POST", "/v1/roles", "/v1/roles", Some(json!({"name": "to be shredded", "permissions": []}))));
    let mut shred = |body: Value| documented.send(server, "POST", "/v1/shred", "/v1/shred", Some(body));
    let preview = shred(json!({"thing": role}));
    assert_eq!((&preview["shredded"], &preview["things"][0]["kind"], &preview["things"][0]["live"]), (&json!(false), &json!("role"), &json!(true)));
    let reason = "a test";
    assert_eq!(shred(json!({"thing": role, "confirm": "no"}))["status"], 400, "a reason is needed");
    assert_eq!(shred(json!({"thing": role, "reason": reason, "confirm": "no"}))["status"], 400);
    assert_eq!(shred(json!({"thing": role, "reason": reason, "preview": "no"}))["status"], 422);
    assert_eq!(shred(json!({"thing": role, "reason": reason, "preview": preview["id"]}))["shredded"], true);
    assert_eq!(shred(json!({"thing": role}))["status"], 410);
    assert_eq!(shred(json!({"thing": role, "app": "app"}))["status"], 400);
    assert_eq!(shred(json!({"app": "app", "consumer": "no-such"}))["status"], 404);
    let (template, path) = ("/v1/tenants/{name}/shred", "/v1/tenants/to-be-shredded/shred");
    documented.send(server, "POST", "/v1/tenants", "/v1/tenants", Some(json!({"name": "to-be-shredded"})));
    let mut end = |step: &str, body: Option<Value>| documented.send(server, "POST", &format!("{template}{step}"), &format!("{path}{step}"), body);
    let shown = end("", None);
    assert!(shown["tenant"]["shred"].is_null() && shown["things"]["user"] == 1);
    assert_eq!(end("", Some(json!({"confirm": "default", "reason": reason})))["status"], 400);
    assert_eq!(end("", Some(json!({"confirm": "to-be-shredded", "reason": reason})))["tenant"]["shred"]["wait_seconds"], 604_800);
    assert_eq!(end("/approve", None)["status"], 403, "it takes two");
    assert!(end("/cancel", None)["tenant"]["shred"].is_null());
    assert_eq!(end("/cancel", None)["status"], 422);
}

fn sessions(documented: &mut Documented, server: &Server) {
    let body = json!({"login": "bob", "password": "correct horse battery"});
    documented.send(server, "POST", "/v1/users", "/v1/users", Some(body.clone()));
    let began = documented.send(server, "POST", "/v1/sessions", "/v1/sessions", Some(body));
    for wrong in 0..5 {
        let body = json!({"login": "nobody", "password": format!("wrong {wrong}")});
        documented.send(server, "POST", "/v1/sessions", "/v1/sessions", Some(body));
    }
    let user = began["user"].as_str().unwrap();
    documented.send(server, "GET", "/v1/sessions", &format!("/v1/sessions?user={user}"), None);
    documented.send(server, "DELETE", "/v1/sessions/{id}", &format!("/v1/sessions/{}", id(&began)), None);
}

fn programs(documented: &mut Documented, server: &Server) -> (String, String) {
    let mut send = |method: &str, template: &str, path: &str, body: Option<Value>| documented.send(server, method, template, path, body);
    let body = json!({"name": "k", "owner": "me", "permissions": ["custom:x"], "dns_name": "host", "expires_at": "2999-01-01T00:00:00Z"});
    let made = send("POST", "/v1/api-keys", "/v1/api-keys", Some(body));
    let path = format!("/v1/api-keys/{}", id(&made["api_key"]));
    send("GET", "/v1/api-keys", "/v1/api-keys", None);
    send("GET", "/v1/api-keys/{id}", &path, None);
    send("PATCH", "/v1/api-keys/{id}", &path, Some(json!({"dns_name": null, "expires_at": null, "labels": ["x"]})));
    send("POST", "/v1/keys/verify", "/v1/keys/verify", Some(json!({"key": made["token"], "permissions": ["custom:y"]})));
    send("POST", "/v1/keys/verify", "/v1/keys/verify", Some(json!({"key": "no key"})));
    send("DELETE", "/v1/api-keys/{id}", &path, None);
    let made = send("POST", "/v1/applications", "/v1/applications", Some(json!({"name": "a", "roles": ["app"], "app_ids": ["app"]})));
    let application = id(&made["application"]);
    let path = format!("/v1/applications/{application}");
    send("GET", "/v1/applications", "/v1/applications", None);
    send("GET", "/v1/applications/{id}", &path, None);
    send("PATCH", "/v1/applications/{id}", &path, Some(json!({"permissions": ["users:read"]})));
    let other = send("POST", "/v1/applications", "/v1/applications", Some(json!({"name": "b"})));
    send("DELETE", "/v1/applications/{id}", &format!("/v1/applications/{}", id(&other["application"])), None);
    (application, made["client_secret"].as_str().unwrap().to_owned())
}

fn tokens(documented: &mut Documented, server: &Server, id: &str, secret: &str) {
    let mut post = |path: &str, secret: &str, fields: &[(&str, &str)]| {
        let request = client().post(format!("{}{path}", server.base)).basic_auth(id, Some(secret)).form(fields);
        documented.check("POST", path, request.send().unwrap())
    };
    let grant = ("grant_type", "client_credentials");
    let token = post("/v1/oauth/token", secret, &[grant, ("scope", "users:read")]);
    post("/v1/oauth/token", secret, &[("grant_type", "password")]);
    post("/v1/oauth/token", "wrong", &[grant]);
    let about = [("token", token["access_token"].as_str().unwrap())];
    post("/v1/oauth/introspect", secret, &about);
    post("/v1/oauth/introspect", secret, &[("token", "x")]);
    post("/v1/oauth/revoke", secret, &about);
    post("/v1/oauth/revoke", secret, &[]);
}

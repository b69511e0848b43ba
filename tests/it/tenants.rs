//! Tenants: made and suspended from the first one, and strangers to each other.

use serde_json::{Value, json};

use crate::members::{As, PASSWORD, owner};
use crate::served::start;

#[test]
fn a_tenant_has_an_owner_of_its_own_and_sees_nothing_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let home = owner(&server);
    let begun = home.ok("POST", "/v1/tenants", &json!({"name": "acme"}));
    let acme = As { server: &server, token: begun["owner_token"].as_str().unwrap().to_owned() };
    assert_eq!(acme.ok("GET", "/v1/me", &Value::Null)["tenant"], begun["tenant"]["id"]);
    // The same names mean other things there.
    acme.ok("POST", "/v1/users", &json!({"login": "ann", "password": PASSWORD}));
    home.ok("POST", "/v1/users", &json!({"login": "ann"}));
    let session = acme.ok("POST", "/v1/sessions", &json!({"tenant": "acme", "login": "ann", "password": PASSWORD}));
    assert_eq!(acme.problem("POST", "/v1/sessions", &json!({"login": "ann", "password": PASSWORD})).0, 401);
    let ann = session["user"].as_str().unwrap();
    assert_eq!(home.status("GET", &format!("/v1/users/{ann}"), &Value::Null), 404);
    let events = acme.ok("GET", "/v1/events?limit=200&kind=user", &Value::Null);
    assert_eq!(events["data"].as_array().unwrap().iter().filter(|event| event["type"] == "created").count(), 2, "its own owner and ann");
    // The whole vault is run from the first tenant only, whatever a role there is called.
    for (method, path, body) in [
        ("GET", "/v1/tenants", Value::Null),
        ("POST", "/v1/tenants", json!({"name": "more"})),
        ("POST", "/v1/tenants/default/suspend", Value::Null),
        ("POST", "/v1/log/clock", Value::Null),
    ] {
        assert_eq!(acme.problem(method, path, &body), (403, "forbidden".into()), "{method} {path}");
    }
    // Its owner gives what counts there, and names nothing of another tenant.
    acme.ok("POST", "/v1/users", &json!({"login": "second", "roles": ["owner"]}));
    let role = home.ok("POST", "/v1/roles", &json!({"name": "theirs", "permissions": ["users:read"]}));
    assert_eq!(acme.problem("POST", "/v1/users", &json!({"login": "x", "roles": [role["id"]]})).0, 400);
    assert_eq!(acme.problem("POST", "/v1/api-keys", &json!({"name": "x", "owner": home.ok("GET", "/v1/users/me", &Value::Null)["id"]})).0, 400);
    let verified = acme.ok("POST", "/v1/keys/verify", &json!({"key": server.token}));
    assert_eq!(verified, json!({"valid": false, "code": "not_found"}), "another tenant's key is not known");
}

#[test]
fn a_suspended_tenant_is_shut_until_it_is_resumed_and_the_first_one_never_is() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let home = owner(&server);
    let begun = home.ok("POST", "/v1/tenants", &json!({"name": "acme"}));
    let acme = As { server: &server, token: begun["owner_token"].as_str().unwrap().to_owned() };
    acme.ok("PUT", "/v1/users/me/password", &json!({"password": PASSWORD}));
    let log_in = || home.problem("POST", "/v1/sessions", &json!({"tenant": "acme", "login": "owner", "password": PASSWORD})).0;
    let session = acme.ok("POST", "/v1/sessions", &json!({"tenant": "acme", "login": "owner", "password": PASSWORD}));
    let session = As { server: &server, token: session["token"].as_str().unwrap().to_owned() };
    assert!(home.ok("POST", "/v1/tenants/acme/suspend", &Value::Null)["suspended_at"].is_string());
    let me = |caller: &As<'_>| caller.status("GET", "/v1/me", &Value::Null);
    assert_eq!((me(&acme), me(&session), log_in()), (401, 401, 401));
    home.ok("POST", "/v1/tenants/acme/resume", &Value::Null);
    assert_eq!((me(&acme), me(&session), log_in()), (200, 200, 201));
    assert_eq!(home.problem("POST", "/v1/tenants/default/suspend", &Value::Null), (422, "invalid-state".into()));
    for name in ["system", "nowhere", "Acme"] {
        assert_eq!(home.status("GET", &format!("/v1/tenants/{name}"), &Value::Null), 404, "{name}");
    }
    assert_eq!(home.problem("POST", "/v1/tenants", &json!({"name": "acme"})), (409, "already-exists".into()));
    assert_eq!(home.ok("GET", "/v1/tenants", &Value::Null)["data"].as_array().unwrap().len(), 2);
    // It is there after a restart, with keys of its own.
    let (token, of_acme) = (server.token.clone(), acme.token.clone());
    drop(server);
    let server = start(folder.path(), &token);
    let acme = As { server: &server, token: of_acme };
    acme.ok("POST", "/v1/organizations", &json!({"name": "After"}));
}

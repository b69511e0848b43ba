//! Access tokens of our own endpoints (RFC 6749, 7662, 7009): what they open, what narrows them, and what ends them at the next request.

use reqwest::blocking::Response;
use serde_json::{Value, json};

use crate::members::{As, owner, user};
use crate::served::{Server, client, start};

struct Program {
    id: String,
    secret: String,
}

fn program(server: &Server, name: &str, roles: &[&str]) -> Program {
    let made = owner(server).ok("POST", "/v1/applications", &json!({"name": name, "roles": roles}));
    Program { id: made["application"]["id"].as_str().unwrap().to_owned(), secret: made["client_secret"].as_str().unwrap().to_owned() }
}

impl Program {
    fn post(&self, server: &Server, path: &str, fields: &[(&str, &str)]) -> Response {
        client().post(format!("{}{path}", server.base)).basic_auth(&self.id, Some(&self.secret)).form(fields).send().unwrap()
    }

    fn token<'a>(&self, server: &'a Server, scope: Option<&str>) -> As<'a> {
        let mut fields = vec![("grant_type", "client_credentials")];
        fields.extend(scope.map(|scope| ("scope", scope)));
        let answer = self.post(server, "/v1/oauth/token", &fields);
        assert_eq!((answer.status().as_u16(), answer.headers()["cache-control"].to_str().unwrap()), (200, "no-store"));
        let answer: Value = answer.json().unwrap();
        assert_eq!(answer["token_type"], "Bearer");
        assert!([600, 3600].contains(&answer["expires_in"].as_u64().unwrap()), "an hour, or the overlap of a secret that ends before");
        As { server, token: answer["access_token"].as_str().unwrap().to_owned() }
    }
}

fn status(caller: &As<'_>, path: &str) -> u16 {
    caller.status("GET", path, &Value::Null)
}

/// Status and word of an OAuth error.
fn error(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().unwrap();
    assert!(body["error_description"].is_string());
    (status, body["error"].as_str().unwrap().to_owned())
}

#[test]
fn a_token_opens_what_its_client_holds_or_less() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let program = program(&server, "billing", &["reader"]);
    let whole = program.token(&server, None);
    assert_eq!((status(&whole, "/v1/users"), status(&whole, "/v1/events")), (200, 403));
    let narrow = program.token(&server, Some("roles:read"));
    assert_eq!((status(&narrow, "/v1/roles"), status(&narrow, "/v1/users")), (200, 403));
    let form = |fields: &[(&str, &str)]| error(program.post(&server, "/v1/oauth/token", fields));
    let grant = ("grant_type", "client_credentials");
    assert_eq!(form(&[grant, ("scope", "audit:read")]), (400, "invalid_scope".into()), "more than it holds");
    assert_eq!(form(&[grant, ("scope", "everything")]), (400, "invalid_scope".into()));
    assert_eq!(form(&[("grant_type", "password")]), (400, "unsupported_grant_type".into()));
    assert_eq!(form(&[]), (400, "invalid_request".into()));
    assert_eq!(form(&[grant, grant]), (400, "invalid_request".into()));
    assert_eq!(form(&[grant, ("client_secret", &program.secret)]), (400, "invalid_request".into()), "two ways at once");
    let wrong = Program { secret: program.secret.replace("klapp", "klkey"), id: program.id.clone() };
    assert_eq!(error(wrong.post(&server, "/v1/oauth/token", &[grant])), (401, "invalid_client".into()));
    let url = format!("{}/v1/oauth/token", server.base);
    let json = client().post(&url).basic_auth(&program.id, Some(&program.secret)).json(&json!({"grant_type": "client_credentials"})).send().unwrap();
    assert_eq!(error(json), (400, "invalid_request".into()), "a form is wanted");
    let by_form = [grant, ("client_id", &program.id), ("client_secret", &program.secret)];
    assert_eq!(client().post(&url).form(&by_form).send().unwrap().status(), 200);
    assert_eq!(As { server: &server, token: program.secret.clone() }.status("GET", "/v1/me", &Value::Null), 401, "a client secret is no bearer token");
}

#[test]
fn a_role_that_is_taken_away_is_gone_from_tokens_that_are_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let program = program(&server, "billing", &["reader"]);
    let token = program.token(&server, None);
    let path = format!("/v1/applications/{}", program.id);
    owner(&server).ok("PATCH", &path, &json!({"roles": []}));
    assert_eq!((status(&token, "/v1/users"), status(&token, "/v1/me")), (403, 200));
}

#[test]
fn rotating_blocking_and_deleting_end_tokens_at_the_next_request() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let owner = owner(&server);
    let mut program = program(&server, "billing", &["reader"]);
    let path = format!("/v1/applications/{}", program.id);
    let first = program.token(&server, None);
    let rotate = |grace: u64| {
        let rotated = owner.ok("POST", &format!("/v1/credentials/{}/rotate", program.id), &json!({"grace_seconds": grace}));
        rotated["secret"].as_str().unwrap().to_owned()
    };
    let second_secret = rotate(600);
    assert_eq!(status(&first, "/v1/me"), 200, "its secret still works");
    let of_old = program.token(&server, None);
    owner.ok("POST", &format!("/v1/credentials/{}/rotation/finish", program.id), &Value::Null);
    assert_eq!((status(&first, "/v1/me"), status(&of_old, "/v1/me")), (401, 401));
    program.secret = second_secret;
    let second = program.token(&server, None);
    owner.ok("PATCH", &path, &json!({"blocked": true}));
    assert_eq!(status(&second, "/v1/me"), 401);
    assert_eq!(error(program.post(&server, "/v1/oauth/token", &[("grant_type", "client_credentials")])), (401, "invalid_client".into()));
    owner.ok("PATCH", &path, &json!({"blocked": false}));
    assert_eq!(status(&second, "/v1/me"), 200);
    owner.ok("DELETE", &path, &Value::Null);
    assert_eq!(status(&second, "/v1/me"), 401);
}

#[test]
fn tokens_are_introspected_and_revoked_by_their_client_or_by_who_may() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let (program, other) = (program(&server, "billing", &["reader"]), program(&server, "other", &["operator"]));
    let tokens = [program.token(&server, Some("users:read")), program.token(&server, None), program.token(&server, None)];
    let about = |by: &Program, token: &str| by.post(&server, "/v1/oauth/introspect", &[("token", token)]).json::<Value>().unwrap();
    let said = about(&program, &tokens[0].token);
    assert_eq!((&said["active"], &said["scope"], &said["client_id"]), (&json!(true), &json!("users:read"), &json!(program.id)));
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 3600);
    assert_eq!(about(&other, &tokens[0].token), json!({"active": false}), "another client's token is nobody's business");
    assert_eq!(about(&program, "x"), json!({"active": false}));
    // Nobody ends another client's token; everybody gets the same answer.
    assert_eq!(other.post(&server, "/v1/oauth/revoke", &[("token", &tokens[0].token)]).status(), 200);
    assert_eq!(status(&tokens[0], "/v1/users"), 200);
    assert_eq!(program.post(&server, "/v1/oauth/revoke", &[("token", &tokens[0].token)]).status(), 200);
    assert_eq!((status(&tokens[0], "/v1/users"), status(&tokens[1], "/v1/users")), (401, 200), "only that one");
    assert_eq!(about(&program, &tokens[0].token), json!({"active": false}));
    // A bearer with the permission asks about all of the tenant's tokens, sessions and keys, and ends tokens and sessions.
    let by_bearer = |path: &str, token: &str, of: &As<'_>| of.call("POST", path).form(&[("token", token)]).send().unwrap();
    let operator = other.token(&server, None);
    let introspected: Value = by_bearer("/v1/oauth/introspect", &tokens[1].token, &operator).json().unwrap();
    assert_eq!(introspected["active"], true);
    let (_, ann) = user(&server, "ann", &["reader"]);
    assert_eq!(error(by_bearer("/v1/oauth/introspect", &tokens[1].token, &ann)), (403, "access_denied".into()));
    let session: Value = by_bearer("/v1/oauth/introspect", &ann.token, &operator).json().unwrap();
    assert_eq!((&session["token_type"], &session["username"]), (&json!("session"), &json!("ann")));
    assert_eq!(by_bearer("/v1/oauth/revoke", &ann.token, &operator).status(), 200);
    assert_eq!(status(&ann, "/v1/me"), 401);
    assert_eq!(error(by_bearer("/v1/oauth/revoke", &server.token, &operator)), (400, "unsupported_token_type".into()));
    by_bearer("/v1/oauth/revoke", &tokens[1].token, &operator);
    assert_eq!((status(&tokens[1], "/v1/me"), status(&tokens[2], "/v1/me")), (401, 200));
}

#[test]
fn a_token_that_was_changed_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let token = program(&server, "billing", &["reader"]).token(&server, None).token;
    let parts: Vec<&str> = token.split('.').collect();
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    let payload = parts[1].replacen("In", "Im", 1);
    let forged = [
        format!("{none}.{}.", parts[1]),
        format!("{none}.{}.{}", parts[1], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{payload}.{}", parts[0], parts[2]),
        format!("{token}."),
        format!("{token}=").replace("==", "="),
        parts[..2].join("."),
        "..".into(),
        format!("{}.{}.{}", parts[0], parts[1], "A".repeat(43)),
    ];
    for bad in forged {
        assert_eq!(status(&As { server: &server, token: bad.clone() }, "/v1/me"), 401, "{bad}");
    }
    assert_eq!(status(&As { server: &server, token }, "/v1/me"), 200);
}

#[test]
fn a_narrowed_token_makes_nothing_that_is_wider_than_itself() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let owner = owner(&server);
    let made = owner.ok("POST", "/api/v1/user-applications", &json!({"name": "app-name"}));
    let app = Program { id: made["clientId"].as_str().unwrap().to_owned(), secret: made["secret"].as_str().unwrap().to_owned() };
    let narrow = app.token(&server, Some("user-applications:own api-keys:write"));
    let status = |method: &str, path: &str, body: Value| narrow.status(method, path, &body);
    assert_eq!(status("GET", "/api/v1/user-applications", Value::Null), 200);
    assert_eq!(status("POST", "/api/v1/user-applications", json!({"name": "wider-one"})), 403, "it would act as its user");
    assert_eq!(status("POST", &format!("/api/v1/user-applications/{}/secret", app.id), Value::Null), 403);
    assert_eq!(status("POST", "/v1/api-keys", json!({"name": "k", "owner": "me"})), 403);
    assert_eq!(status("POST", "/v1/api-keys", json!({"name": "k", "permissions": ["audit:read"]})), 403);
    assert_eq!(status("PUT", "/v1/users/me/password", json!({"password": "a password of its own"})), 403);
    assert_eq!(status("POST", "/v1/api-keys", json!({"name": "k", "permissions": ["api-keys:write"]})), 201);
    // Without a scope it is all of its user, and may.
    assert_eq!(app.token(&server, None).status("POST", "/api/v1/user-applications", &json!({"name": "another-one"})), 201);
}

//! The authorisation matrix: each operation of the OpenAPI document with no token, one that opens nothing, one of another tenant, and each
//! role, on a thing that is there and one that is not. An operation without a row fails.

use std::collections::{BTreeMap, BTreeSet};

use keyledger::kernel::{Builtin, Permission, PermissionSet};
use reqwest::blocking::Client;
use serde_json::{Value, json};

use crate::matrix_rows::{Access, CONNECTIONS, OWN, Row, Sent, VENDORS};
use crate::members::{As, log_in, owner, user};
use crate::served::{Server, client, start};

/// Status and body.
type Said = (u16, String);

struct Matrix<'a> {
    server: &'a Server,
    http: Client,
    /// Values of path parameters, by the beginning of the path: of a thing that is there.
    things: BTreeMap<&'static str, String>,
}

impl Matrix<'_> {
    /// The path to a thing that is there, or to a missing one.
    fn path(&self, template: &str, there: bool) -> String {
        let missing = |prefix: &str| match prefix {
            "/v1/events" | "/api-keys" => "999999999".to_owned(),
            "/vault/consumers" => "ghost".to_owned(),
            _ => "0".repeat(32),
        };
        let prefix = self.things.keys().filter(|prefix| template.starts_with(**prefix)).max_by_key(|prefix| prefix.len());
        let service = if !there && template.starts_with("/v1/integrations") { "crm/hubspot" } else { "crm/pipedrive" };
        let named = template
            .replace("{unified_api}/{service_id}", service)
            // A stream has no end: whoever may follow it is told that this is no parameter.
            .replace("/v1/events/stream", "/v1/events/stream?to=1")
            .replace("{domain}", "privx-external")
            .replace("{resource}", "leads")
            .replace("{service_id}/{application_id}", "pipedrive/app");
        let (Some(start), Some(end)) = (named.find('{'), named.find('}')) else { return named };
        let prefix = prefix.unwrap_or_else(|| panic!("{template}: no thing is known for it"));
        let value = if there { self.things[prefix].clone() } else { missing(prefix) };
        format!("{}{value}{}", &named[..start], &named[end + 1..])
    }

    fn send(&self, row: &Row, there: bool, token: Option<&str>) -> Said {
        let (method, template, _, sent) = *row;
        let mut request = self.http.request(method.parse().unwrap(), format!("{}{}", self.server.base, self.path(template, there)));
        request = request.header("x-apideck-app-id", "app").header("x-apideck-consumer-id", if there { "acme" } else { "ghost" });
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request = match sent {
            Sent::Nothing => request,
            Sent::Json => request.json(&json!({"no operation knows this": 1})),
            Sent::Form => request.form(&[("nothing", "x")]),
        };
        let answer = request.send().unwrap();
        (answer.status().as_u16(), answer.text().unwrap())
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// One thing of each sort, all of the first tenant.
fn things(server: &Server) -> BTreeMap<&'static str, String> {
    let owner = owner(server);
    server.ok("POST", "/vault/connections/crm/pipedrive/import", Some(json!({"credentials": {"access_token": "t"}})));
    owner.ok("PUT", "/v1/integrations/crm/pipedrive", &json!({"settings": {"client_id": "of the victim"}}));
    let (victim, session) = user(server, "victim", &["reader"]);
    let session = text(&session.ok("GET", "/v1/me", &Value::Null)["id"]);
    let role = owner.ok("POST", "/v1/roles", &json!({"name": "custom", "permissions": []}));
    let organization = owner.ok("POST", "/v1/organizations", &json!({"name": "Acme"}));
    let application = owner.ok("POST", "/v1/applications", &json!({"name": "billing"}));
    let key = &owner.ok("POST", "/v1/api-keys", &json!({"name": "k"}))["api_key"];
    // Disabled: nothing is sent.
    let webhook = owner.ok("POST", "/v1/webhooks", &json!({"url": "https://example.com/", "enabled": false}));
    let position = owner.ok("GET", "/v1/events?kind=api_key&limit=1", &Value::Null)["data"][0]["position"].to_string();
    let mut things = BTreeMap::from([
        ("/v1/users", victim),
        ("/v1/sessions", session),
        ("/v1/roles", text(&role["id"])),
        ("/v1/organizations", text(&organization["id"])),
        ("/v1/applications", text(&application["application"]["id"])),
        ("/v1/api-keys", text(&key["id"])),
        ("/v1/credentials", text(&key["id"])),
        ("/v1/connections", text(&server.call("GET", "/v1/credentials?kind=connection").send().unwrap().json::<Value>().unwrap()["data"][0]["id"])),
        ("/v1/tenants", "default".to_owned()),
        ("/v1/webhooks", text(&webhook["webhook"]["id"])),
        ("/v1/events", position),
        ("/vault/consumers", "acme".to_owned()),
        ("/api-keys", key["number"].to_string()),
    ]);
    let client = owner.ok("POST", "/local-user-store/api/v1/api-clients", &json!({"name": "backup"}));
    things.insert("/local-user-store/api/v1/api-clients", text(&client["id"]));
    things.insert("/v1/history", things["/v1/roles"].clone());
    let to = owner.ok("GET", "/v1/log/state", &Value::Null)["position"].as_u64().unwrap();
    owner.ok("POST", "/v1/roles", &json!({"name": "late", "permissions": []}));
    let mut recovery = json!({"to": to, "kind": "role"});
    recovery["plan"] = owner.ok("POST", "/v1/recovery/preview", &recovery)["plan"].clone();
    things.insert("/v1/recoveries", text(&owner.ok("POST", "/v1/recovery/apply", &recovery)["recovery"]));
    let app = text(&owner.ok("POST", "/api/v1/user-applications", &json!({"name": "app-name"}))["id"]);
    things.insert("/api/v1/user-applications", app.clone());
    things.insert("/api/v1/administration/user-applications", app);
    things
}

/// Tokens that open nothing (any more), by what became of them.
fn dead_tokens(server: &Server) -> Vec<(&'static str, String)> {
    let owner = owner(server);
    let key = |name: &str| {
        let made = owner.ok("POST", "/v1/api-keys", &json!({"name": name, "owner": "me"}));
        (format!("/v1/api-keys/{}", text(&made["api_key"]["id"])), text(&made["token"]))
    };
    let (expired, blocked, deleted, rotated) = (key("expired"), key("blocked"), key("deleted"), key("rotated"));
    owner.ok("PATCH", &expired.0, &json!({"expires_at": "2020-01-01T00:00:00Z"}));
    owner.ok("PATCH", &blocked.0, &json!({"blocked": true}));
    owner.ok("DELETE", &deleted.0, &Value::Null);
    owner.ok("POST", &format!("{}/rotate", rotated.0.replace("/v1/api-keys", "/v1/credentials")), &json!({}));
    let (_, session) = user(server, "ended", &["owner"]);
    session.ok("DELETE", "/v1/sessions/current", &Value::Null);
    let (gone, of_gone) = user(server, "gone", &["owner"]);
    owner.ok("DELETE", &format!("/v1/users/{gone}"), &Value::Null);
    let suspended = owner.ok("POST", "/v1/tenants", &json!({"name": "suspended"}));
    owner.ok("POST", "/v1/tenants/suspended/suspend", &Value::Null);
    let application = owner.ok("POST", "/v1/applications", &json!({"name": "revoked", "roles": ["owner"]}));
    let client_of = |path: &str, field: (&str, &str)| {
        let (id, secret) = (text(&application["application"]["id"]), text(&application["client_secret"]));
        client().post(format!("{}{path}", server.base)).basic_auth(id, Some(secret)).form(&[field]).send().unwrap()
    };
    let token = text(&client_of("/v1/oauth/token", ("grant_type", "client_credentials")).json::<Value>().unwrap()["access_token"]);
    client_of("/v1/oauth/revoke", ("token", &token));
    vec![
        ("garbage", "garbage".into()),
        ("not known", server.token.replace(['0', '1', '2'], "3")),
        ("expired", expired.1),
        ("blocked", blocked.1),
        ("deleted", deleted.1),
        ("rotated away", rotated.1),
        ("a session that ended", session.token),
        ("of a user that is gone", of_gone.token),
        ("of a suspended tenant", text(&suspended["owner_token"])),
        ("a revoked access token", token),
        ("a client secret", text(&application["client_secret"])),
    ]
}

#[test]
fn each_operation_opens_to_whom_it_should_and_to_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let rows: Vec<Row> = [OWN, CONNECTIONS, VENDORS].concat();
    every_operation_has_a_row(&rows);
    let matrix = Matrix { server: &server, http: client(), things: things(&server) };
    let guarded: Vec<&Row> = rows.iter().filter(|row| row.2 != Access::Open).collect();
    for (what, token) in std::iter::once(("none", None)).chain(dead_tokens(&server).iter().map(|(what, token)| (*what, Some(token.as_str())))) {
        for row in &guarded {
            let said = matrix.send(row, true, token);
            assert_eq!(said.0, 401, "{row:?} with a token that is {what}: {}", said.1);
            assert_eq!(said, matrix.send(row, false, token), "{row:?}: a token that is {what} tells nothing of what is there");
        }
    }
    each_role(&matrix, &guarded);
    another_tenant(&matrix, &guarded);
}

fn every_operation_has_a_row(rows: &[Row]) {
    let document: Value = serde_json::from_str(include_str!("../../schema/openapi.json")).unwrap();
    let operations = document["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().keys().filter(|name| *name != "parameters").map(move |method| (method.to_uppercase(), path.clone()))
    });
    let known: BTreeSet<(String, String)> = rows.iter().map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(operations.collect::<BTreeSet<_>>(), known, "each operation has a row in matrix_rows.rs, and each row an operation");
}

fn each_role(matrix: &Matrix<'_>, guarded: &[&Row]) {
    let owner = owner(matrix.server);
    owner.ok("POST", "/v1/users", &json!({"login": "nobody", "password": crate::members::PASSWORD}));
    let mut callers = vec![("no role", PermissionSet::default(), log_in(matrix.server, "nobody"), true)];
    for role in Builtin::ALL {
        let (_, session) = user(matrix.server, &format!("of-{}", role.name()), &[role.name()]);
        callers.push((role.name(), role.permissions(), session, true));
    }
    // Without a user, and with everything else.
    let all: Vec<&str> = PermissionSet::ALL.iter().map(Permission::name).collect();
    let key = owner.ok("POST", "/v1/api-keys", &json!({"name": "machine", "permissions": all}));
    callers.push(("a key without a user", PermissionSet::ALL, As { server: matrix.server, token: text(&key["token"]) }, false));
    for (who, held, caller, has_user) in &callers {
        for row in guarded {
            let may = match row.2 {
                Access::Needs(permission) => held.holds(permission),
                Access::NeedsUser(permission) => held.holds(permission) && *has_user,
                Access::NeedsBoth(one, other) => held.holds(one) && held.holds(other),
                Access::Any | Access::Open => true,
            };
            let missing = matrix.send(row, false, Some(&caller.token));
            if may {
                // With a thing that is not there and a body that is wrong: nothing is changed by being let in.
                assert!(![401, 403].contains(&missing.0), "{row:?} is refused to {who}: {missing:?}");
            } else if row.1.starts_with("/v1/credentials/{id}/rot") {
                // The kind of the thing says which permission it takes, so that a missing one is just missing.
                let there = matrix.send(row, true, Some(&caller.token));
                assert!([403, 404].contains(&missing.0) && [403, 404].contains(&there.0), "{row:?} is not refused to {who}: {missing:?} {there:?}");
                assert!(there == missing || held.holds(Permission::CredentialsRead), "{row:?}: {who} learns what is there");
            } else {
                assert_eq!(missing.0, 403, "{row:?} is not refused to {who}: {missing:?}");
                assert_eq!(missing, matrix.send(row, true, Some(&caller.token)), "{row:?}: {who} learns what is there");
            }
        }
    }
}

/// Another tenant's owner: each thing of the first tenant is to it as a missing one, byte by byte.
fn another_tenant(matrix: &Matrix<'_>, guarded: &[&Row]) {
    let begun = owner(matrix.server).ok("POST", "/v1/tenants", &json!({"name": "stranger"}));
    let token = text(&begun["owner_token"]);
    for row in guarded.iter().filter(|row| row.1.contains('{') && !row.1.starts_with("/v1/connectors")) {
        let (mut there, mut missing) = (matrix.send(row, true, Some(&token)), matrix.send(row, false, Some(&token)));
        if row.1.starts_with("/vault/") {
            // These make what is not there: of a consumer of that name, at that time, in the tenant of who asks.
            for said in [&mut there.1, &mut missing.1] {
                // A link is signed: what it says is the caller's own consumer.
                let unsigned =
                    said.split("?state=").enumerate().map(|(place, part)| if place == 0 { part } else { part.split_once('"').map_or(part, |(_, rest)| rest) });
                *said = unsigned.collect::<String>().replace(|c: char| c.is_ascii_digit(), "0").replace("acme", "ghost");
            }
        }
        assert_eq!(there, missing, "{row:?}");
        assert!(there.0 != 401 && !there.1.contains("victim"), "{row:?}");
    }
    // And nothing happened to them.
    let owner = owner(matrix.server);
    owner.ok("GET", "/v1/integrations/crm/pipedrive", &Value::Null);
    for prefix in ["/v1/users", "/v1/roles", "/v1/organizations", "/v1/applications", "/v1/api-keys", "/v1/webhooks", "/vault/consumers"] {
        let request = matrix.server.call("GET", &format!("{prefix}/{}", matrix.things[prefix]));
        assert_eq!(request.send().unwrap().status(), 200, "{prefix}");
    }
    assert_eq!(owner.status("GET", &format!("/v1/sessions?user={}", matrix.things["/v1/users"]), &Value::Null), 200);
}

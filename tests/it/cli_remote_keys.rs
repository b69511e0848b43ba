//! The verbs that rotate and shred keys, run one after the other against a real server.

use serde_json::{Value, json};

use crate::cli_remote::Person;
use crate::served::client;

pub fn keys(me: &mut Person) {
    let of_default = |status: &Value| status["tenants"].as_array().unwrap().iter().find(|tenant| tenant["tenant"] == "default").unwrap().clone();
    let before = of_default(&me.json(&["key", "status"], ""))["versions"][0]["version"].as_u64().unwrap();
    assert_eq!(me.json(&["key", "rotate-tenant", "default"], "")["latest"], json!({"key": "default", "state": "done"}));
    assert_eq!(me.json(&["key", "rotate-root"], "")["root"]["left"], 0);
    let status = me.json(&["key", "status"], "");
    let default = of_default(&status);
    assert_eq!((&default["state"], &default["versions"][0]["version"], &status["root"]["state"]), (&json!("steady"), &json!(before + 1), &json!("steady")));

    let role = me.json(&["role", "create", "doomed", "--permission", "users:read"], "")["id"].as_str().unwrap().to_owned();
    let shown = me.table(&["shred", "thing", &role], "").0;
    assert!(shown.contains("cannot be undone") && shown.contains("role"), "{shown}");
    assert_eq!(me.json(&["role", "get", &role], "")["name"], "doomed", "a preview does nothing");
    let id = me.json(&["shred", "thing", &role], "")["id"].as_str().unwrap().to_owned();
    assert_eq!(me.json(&["shred", "thing", &role, "--reason", "a test", "--preview", &id], "")["shredded"], true);
    assert_eq!(me.run(&["role", "get", &role], "").status.code(), Some(1));

    let import = client().post(format!("{}/vault/connections/crm/pipedrive/import", me.server)).bearer_auth(&me.token);
    let import = import.header("x-apideck-app-id", "demo").header("x-apideck-consumer-id", "acme");
    assert_eq!(import.json(&json!({"credentials": {"access_token": "a token"}})).send().unwrap().status(), 200);
    let connection = me.json(&["credential", "list", "--kind", "connection", "--consumer", "acme"], "")[0]["id"].as_str().unwrap().to_owned();
    let secret = ["shred", "secret", &connection, "--name", "access_token", "--reason", "a test", "--confirm", "access_token"];
    assert_eq!(me.json(&secret, "")["shredded"], true);
    assert_eq!(me.run(&secret, "").status.code(), Some(1), "once is enough");
    let consumer = me.json(&["shred", "consumer", "acme", "--app", "demo", "--reason", "a test", "--confirm", "acme"], "");
    assert_eq!((&consumer["shredded"], consumer["things"].as_array().unwrap().len()), (&json!(true), 2));

    // The end of a tenant takes a second person.
    me.json(&["user", "create", "second", "--role", "owner"], "");
    let token = me.json(&["key", "create", "of the second", "--owner", "second"], "")["token"].as_str().unwrap().to_owned();
    let mut second = Person { server: me.server.clone(), token, used: std::collections::BTreeSet::new() };
    assert_eq!(me.json(&["shred", "tenant", "acme"], "")["tenant"]["shred"], Value::Null);
    let asked = ["shred", "tenant", "acme", "--reason", "a test", "--confirm", "acme", "--wait-seconds", "3600"];
    assert_eq!(me.json(&asked, "")["tenant"]["shred"]["wait_seconds"], 3600);
    assert_eq!(me.run(&["shred", "approve", "acme"], "").status.code(), Some(1));
    assert!(second.json(&["shred", "approve", "acme"], "")["tenant"]["shred"]["due_at"].is_string());
    assert_eq!(me.json(&["shred", "cancel", "acme"], "")["tenant"]["shred"], Value::Null);
}

//! A change of each kind that can be put back, and its undo; and one recovery.

use serde_json::{Value, json};

use crate::all_kinds_life::{CLIENTS, Life, OWN_APPLICATIONS, Things, text};

/// Takes back the latest change.
async fn undo(life: &mut Life) {
    let views = life.vault().views();
    let mut order = json!({"event": views.position().0, "revive": true});
    let plan = life.ask("POST", "/v1/undo/preview", order.clone()).await;
    assert!(plan["reverts"].as_u64().unwrap() > 0, "{plan}");
    order["plan"] = plan["plan"].clone();
    life.ask("POST", "/v1/undo/apply", order).await;
}

async fn changed(life: &mut Life, method: &str, path: &str, body: Value) {
    life.ask(method, path, body).await;
    undo(life).await;
}

pub async fn back(life: &mut Life, things: &mut Things) {
    let at = |prefix: &str| format!("{prefix}/{}", things.by_prefix[prefix]);
    let tag = things.tag;
    changed(life, "PATCH", &at("/v1/roles"), json!({"name": format!("Gone {tag}")})).await;
    changed(life, "PATCH", &at("/v1/organizations"), json!({"name": format!("Gone {tag}")})).await;
    changed(life, "PATCH", &at("/v1/users"), json!({"email": "gone@example.com"})).await;
    changed(life, "PATCH", &at("/v1/api-keys"), json!({"labels": ["gone"], "dns_name": null})).await;
    changed(life, "PATCH", &at("/v1/applications"), json!({"blocked": true})).await;
    changed(life, "DELETE", &at(CLIENTS), Value::Null).await;
    changed(life, "DELETE", &at(OWN_APPLICATIONS), Value::Null).await;
    changed(life, "POST", "/external_provider/api_key/delete", json!({"user": things.login, "open_AI": true})).await;
    changed(life, "DELETE", &at("/v1/webhooks"), Value::Null).await;
    changed(life, "DELETE", &at("/vault/consumers"), Value::Null).await;
    changed(life, "PATCH", "/v1/integrations/hris/personio", json!({"enabled": false})).await;
    let mut connector = life.ask("GET", "/v1/connectors/hris/personio", Value::Null).await["connector"].clone();
    connector["name"] = json!("Gone");
    changed(life, "PUT", "/v1/connectors/hris/personio", connector).await;
    let tenant = at("/v1/tenants");
    changed(life, "POST", &format!("{tenant}/suspend"), Value::Null).await;
    let (role, to) = (at("/v1/roles"), life.vault().views().position().0);
    life.ask("PATCH", &role, json!({"name": format!("Gone {tag}")})).await;
    let mut order = json!({"to": to, "id": role.rsplit('/').next().unwrap()});
    order["plan"] = life.ask("POST", "/v1/recovery/preview", order.clone()).await["plan"].clone();
    let done = life.ask("POST", "/v1/recovery/apply", order).await;
    assert_eq!(done["reverted"], 1);
    things.by_prefix.insert("/v1/recoveries", text(&done["recovery"]));
}

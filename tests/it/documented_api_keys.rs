//! The API keys surface against the OpenAPI document.

use serde_json::{Value, json};

use crate::documented::Documented;
use crate::served::{Server, client};

pub fn send_all(documented: &mut Documented, server: &Server) {
    let (all, one) = ("/api-keys", "/api-keys/{id}");
    let mut send = |method: &str, template: &str, path: &str, body: Option<Value>| documented.send(server, method, template, path, body);
    let key = json!({"name": "backup", "emails": ["ops@example.com"], "organizationsIds": [], "permissions": ["accessFtp", "editLabels"], "dnsName": "rec-01"});
    let made = send("POST", all, all, Some(key.clone()));
    let path = format!("{all}/{}", made["id"]);
    send("POST", all, all, Some(key));
    send("POST", all, all, Some(json!({"name": "backup"})));
    send("POST", all, all, Some(json!({"name": "x".repeat(70_000)})));
    send("GET", all, &format!("{all}?optFields=email,emails,labels,permissions"), None);
    send("GET", all, &format!("{all}?blocked=perhaps"), None);
    send("GET", one, &path, None);
    send("GET", one, "/api-keys/999999", None);
    send("PATCH", one, &path, Some(json!({"labels": ["night"], "dnsName": null, "permissions": ["api-keys:read"]})));
    let changed = send("PATCH", one, &path, Some(json!({"refreshApiToken": true})));
    let token = changed["token"]["value"].as_str().unwrap();
    documented.check("GET", all, client().get(format!("{}{all}", server.base)).bearer_auth(token).send().unwrap());
    documented.check("DELETE", one, client().delete(format!("{}{path}", server.base)).bearer_auth(token).send().unwrap());
    documented.check("DELETE", one, client().delete(format!("{}{path}", server.base)).bearer_auth("wrong").send().unwrap());
    documented.check("PATCH", one, server.call("PATCH", &path).header("if-match", "\"1\"").json(&json!({"name": "x"})).send().unwrap());
    documented.send(server, "DELETE", one, &path, None);
    documented.send(server, "PATCH", one, &path, Some(json!({"name": "x"})));
}

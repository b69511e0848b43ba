//! Authorization by users, consent, resource defaults, logs and lineage, against the document.

use serde_json::{Value, json};

use crate::documented::Documented;
use crate::served::Server;

pub fn send_all(documented: &mut Documented, server: &Server) {
    let mut send = |method: &str, template: &str, path: &str, body: Option<Value>| documented.send(server, method, template, path, body);
    let (connection, pipedrive) = ("/vault/connections/{unified_api}/{service_id}", "/vault/connections/crm/pipedrive");
    let at = |rest: &str| (format!("{connection}/{rest}"), format!("{pipedrive}/{rest}"));
    send("PATCH", connection, pipedrive, Some(json!({"enabled": true, "settings": {"client_id": "an id", "client_secret": "a secret"}})));
    let (template, path) = at("callback-state");
    send("POST", &template, &path, Some(json!({"redirect_uri": "http://localhost:3000/done"})));
    send("POST", &template, &path, Some(json!({"redirect_uri": "https://elsewhere.example.com"})));
    let (template, path) = at("confirm");
    send("POST", &template, &path, Some(json!({"confirm_token": "wrong"})));
    let (template, path) = at("consent");
    send("PATCH", &template, &path, Some(json!({"granted": true, "resources": {"crm.contacts": {"name": {"read": true}}}})));
    send("PATCH", &template, &path, Some(json!({"granted": true, "resources": "everything"})));
    send("GET", &template, &path, None);
    let (template, path) = (format!("{connection}/{{resource}}/config"), format!("{pipedrive}/leads/config"));
    send("PATCH", &template, &path, Some(json!({"configuration": [{"resource": "leads", "defaults": []}]})));
    send("GET", &template, &path, None);
    send("GET", "/vault/authorize/{service_id}/{application_id}", "/vault/authorize/pipedrive/app?state=a.b.c", None);
    send("GET", "/vault/revoke/{service_id}/{application_id}", "/vault/revoke/pipedrive/app?state=a.b.c", None);
    send("GET", "/vault/callback", "/vault/callback?state=123e4567-e89b-12d3-a456-426614174000&code=x", None);
    send("POST", "/vault/sessions", "/vault/sessions", Some(json!({"settings": {"session_length": "30m"}, "consumer_metadata": {"user_name": "Ann"}})));
    send("POST", "/vault/sessions", "/vault/sessions", Some(json!({"settings": {"session_length": "8w"}})));
    send("GET", "/vault/logs", "/vault/logs?limit=5", None);
    let id = server.call("GET", "/v1/credentials?kind=connection").send().unwrap().json::<Value>().unwrap()["data"][0]["id"].as_str().unwrap().to_owned();
    send("GET", "/v1/connections/{id}/tokens", &format!("/v1/connections/{id}/tokens"), None);
    send("POST", "/v1/vault/resume", "/v1/vault/resume", None);
}

//! Webhooks against the document.

use serde_json::json;

use crate::documented::Documented;
use crate::served::Server;

pub fn send_all(documented: &mut Documented, server: &Server) {
    let mut send = |method: &str, template: &str, path: &str, body| documented.send(server, method, template, path, body);
    let body = json!({"url": "https://10.0.0.1/hook", "events": ["*"]});
    send("POST", "/v1/webhooks", "/v1/webhooks", Some(body));
    let body = json!({"url": "http://127.0.0.1:1/hook", "events": ["vault.connection.created"], "description": "x", "enabled": false});
    let made = send("POST", "/v1/webhooks", "/v1/webhooks", Some(body));
    let path = format!("/v1/webhooks/{}", made["webhook"]["id"].as_str().unwrap());
    send("GET", "/v1/webhooks", "/v1/webhooks?limit=1", None);
    send("GET", "/v1/webhooks/{id}", &path, None);
    send("GET", "/v1/webhooks/{id}", "/v1/webhooks/nothing", None);
    send("PATCH", "/v1/webhooks/{id}", &path, Some(json!({"description": null, "events": ["*"]})));
    send("PATCH", "/v1/webhooks/{id}", &path, Some(json!({"events": ["vault.connection.migrated"]})));
    send("POST", "/v1/webhooks/{id}/rotate", &format!("{path}/rotate"), Some(json!({"grace_seconds": 60})));
    send("GET", "/v1/webhooks/{id}/dead-letters", &format!("{path}/dead-letters"), None);
    send("POST", "/v1/webhooks/{id}/replay", &format!("{path}/replay"), None);
    send("POST", "/v1/webhooks/{id}/replay", &format!("{path}/replay"), Some(json!({"positions": [1]})));
    send("POST", "/v1/webhooks/{id}/test", "/v1/webhooks/nothing/test", None);
    let tried = send("POST", "/v1/webhooks/{id}/test", &format!("{path}/test"), None);
    assert_eq!(tried["delivered"], false);
    send("GET", "/v1/webhooks/{id}/history", &format!("{path}/history"), None);
    send("DELETE", "/v1/webhooks/{id}", &path, None);
}

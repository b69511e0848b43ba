//! Diff, undo and recovery against the document.

use serde_json::{Value, json};

use crate::documented::Documented;
use crate::served::Server;

pub fn send_all(documented: &mut Documented, server: &Server) {
    let made = server.call("POST", "/v1/roles").json(&json!({"name": "for a while", "permissions": []})).send().unwrap();
    let to: u64 = made.headers()["keyledger-position"].to_str().unwrap().parse().unwrap();
    let id = made.json::<Value>().unwrap()["id"].as_str().unwrap().to_owned();
    let gone = server.call("DELETE", &format!("/v1/roles/{id}")).send().unwrap();
    let event: u64 = gone.headers()["keyledger-position"].to_str().unwrap().parse().unwrap();
    let mut send = |method: &str, template: &str, path: &str, body| documented.send(server, method, template, path, body);
    send("GET", "/v1/history/{id}", &format!("/v1/history/{id}"), None);
    send("GET", "/v1/history/{id}", "/v1/history/nothing", None);
    send("GET", "/v1/diff", &format!("/v1/diff?from={to}"), None);
    send("GET", "/v1/diff", "/v1/diff?from=soon", None);
    send("POST", "/v1/undo/preview", "/v1/undo/preview", Some(json!({"event": 999_999})));
    let plan = send("POST", "/v1/undo/preview", "/v1/undo/preview", Some(json!({"event": event})));
    let order = json!({"event": event, "plan": plan["plan"], "reason": "a test"});
    send("POST", "/v1/undo/apply", "/v1/undo/apply", Some(order.clone()));
    send("POST", "/v1/undo/apply", "/v1/undo/apply", Some(order));
    server.call("DELETE", &format!("/v1/roles/{id}")).send().unwrap();
    let request = json!({"to": to.to_string(), "id": id, "kind": "role"});
    let plan = send("POST", "/v1/recovery/preview", "/v1/recovery/preview", Some(request.clone()));
    let mut order = request;
    order["plan"] = plan["plan"].clone();
    let done = send("POST", "/v1/recovery/apply", "/v1/recovery/apply", Some(order.clone()));
    send("POST", "/v1/recovery/apply", "/v1/recovery/apply", Some(order));
    send("GET", "/v1/recoveries", "/v1/recoveries?limit=1", None);
    send("GET", "/v1/recoveries/{id}", &format!("/v1/recoveries/{}", done["recovery"].as_str().unwrap()), None);
}

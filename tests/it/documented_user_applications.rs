//! The user applications surface's part of the OpenAPI document: one request per operation and sort of answer.

use serde_json::{Value, json};

use crate::documented::Documented;
use crate::served::{Server, client};

pub fn send_all(documented: &mut Documented, server: &Server) {
    let own = "/api/v1/user-applications";
    let one = "/api/v1/user-applications/{appId}";
    let all = "/api/v1/administration/user-applications";
    let mut send = |method: &str, template: &str, path: &str, body: Option<Value>| documented.send(server, method, template, path, body);
    let made = send("POST", own, own, Some(json!({"name": "app-one"})));
    let path = format!("{own}/{}", made["id"].as_str().unwrap());
    send("POST", own, own, Some(json!({"name": "app-one"})));
    send("POST", own, own, Some(json!({"name": "-"})));
    let secret = send("POST", &format!("{one}/secret"), &format!("{path}/secret"), None)["secret"].clone();
    let url = format!("{}/api/v1/token", server.base);
    for body in [json!({"grantType": "app_token", "AppId": made["id"], "AppSecret": secret}), json!({"grantType": "app_token", "AppId": "x", "AppSecret": "y"})]
    {
        documented.check("POST", "/api/v1/token", client().post(&url).json(&body).send().unwrap());
    }
    let mut send = |method: &str, template: &str, path: &str, body: Option<Value>| documented.send(server, method, template, path, body);
    send("GET", own, own, None);
    send("GET", one, &path, None);
    send("GET", one, &format!("{own}/nobody"), None);
    send("GET", all, all, None);
    send("DELETE", one, &path, None);
    let made = send("POST", own, own, Some(json!({"name": "app-two"})));
    send("DELETE", &format!("{all}/{{appId}}"), &format!("{all}/{}", made["id"].as_str().unwrap()), None);
}

//! The API clients surface's part of the OpenAPI document: one request per operation and sort of answer.

use serde_json::{Value, json};

use crate::documented::Documented;
use crate::served::{Server, client};

pub fn send_all(documented: &mut Documented, server: &Server) {
    let clients = "/local-user-store/api/v1/api-clients";
    let one = "/local-user-store/api/v1/api-clients/{api_client_id}";
    let mut send = |method: &str, template: &str, path: &str, body: Option<Value>| documented.send(server, method, template, path, body);
    let reader = "6b65796c-6564-6765-722f-726561646572";
    let id = send("POST", clients, clients, Some(json!({"name": "a client", "roles": [{"id": reader}]})))["id"].as_str().unwrap().to_owned();
    let path = format!("{clients}/{id}");
    send("POST", clients, clients, Some(json!({"name": "a client", "roles": [{"id": "x"}]})));
    send("GET", clients, clients, None);
    send("GET", clients, &format!("{clients}?sortkey=x"), None);
    send("POST", &format!("{clients}/search"), &format!("{clients}/search"), Some(json!({"keywords": "client"})));
    send("PUT", one, &path, Some(json!({"name": "another name", "roles": null})));
    let got = send("GET", one, &path, None);
    send("GET", one, &format!("{clients}/nobody"), None);
    let form = "/auth/api/v1/oauth/token";
    let members = format!("grant_type=password&username={id}&password={}", got["secret"].as_str().unwrap());
    let request = client().post(format!("{}{form}", server.base)).header("content-type", "application/x-www-form-urlencoded").body(members);
    let basic = (got["oauth_client_id"].as_str().unwrap(), got["oauth_client_secret"].as_str());
    let tokens = documented.check("POST", form, request.try_clone().unwrap().basic_auth(basic.0, basic.1).send().unwrap());
    assert!(tokens["access_token"].is_string());
    documented.check("POST", form, request.send().unwrap());
    documented.check("POST", form, client().post(format!("{}{form}", server.base)).send().unwrap());
    let json = "/auth/api/v1/oauth/clientcredentials/{domain}/token";
    let url = format!("{}/auth/api/v1/oauth/clientcredentials/privx-external/token", server.base);
    let body = |secret: &str| json!({"grant_type": "client_credentials", "client_id": id, "client_secret": secret});
    for secret in [got["secret"].as_str().unwrap(), "wrong"] {
        documented.check("POST", json, client().post(&url).json(&body(secret)).send().unwrap());
    }
    let mut send = |method: &str, template: &str, path: &str, body: Option<Value>| documented.send(server, method, template, path, body);
    send("POST", &format!("{one}/rotate"), &format!("{path}/rotate"), Some(json!({"grace_seconds": 60})));
    send("DELETE", one, &path, None);
}

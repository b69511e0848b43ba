//! Calls that are passed through, against the OpenAPI document: what the vault itself answers in the place of a service.

use serde_json::json;

use crate::documented::Documented;
use crate::served::Server;

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

pub fn send_all(documented: &mut Documented, server: &Server) {
    prepare(server);
    for (path, method) in ["/v1/proxy", "/proxy"].into_iter().flat_map(|path| METHODS.map(|method| (path, method))) {
        let request = |service: &str, url: &str| {
            let request = server.call(method, path).header("x-apideck-service-id", service).header("x-apideck-unified-api", "crm");
            request.header("x-apideck-downstream-url", url)
        };
        let mut refused = |request: reqwest::blocking::RequestBuilder, status: u16| {
            let answer = request.send().unwrap();
            assert_eq!(answer.status(), status, "{method} {path}");
            documented.check(method, path, answer);
        };
        refused(server.call(method, path), 400);
        refused(request("pipedrive", "https://elsewhere.example/"), 400);
        refused(request("nobody", "/v1/deals"), 404);
        refused(request("close", "/me"), 422);
        // The door lets no call to a private address out.
        refused(request("activecampaign", "/contacts"), 400);
    }
}

/// What the calls above need: a connection that is not ready, and one whose service the door keeps from being called.
fn prepare(server: &Server) {
    server.ok("POST", "/vault/connections/crm/close", Some(json!({"enabled": true})));
    let settings = json!({"settings": {"api_key": "a-long-enough-key", "base_url": "https://10.0.0.1"}});
    server.ok("POST", "/vault/connections/crm/activecampaign", Some(settings));
    server.ok("POST", "/vault/connections/crm/pipedrive/import", Some(json!({"credentials": {"access_token": "a-token"}})));
}

//! The OpenAPI document against the answers of a real server: each operation is called, and each answer is as the document says.

use std::collections::BTreeSet;

use reqwest::blocking::Response;
use serde_json::{Value, json};

use crate::served::{Server, client, start_with};

const PIPEDRIVE: &str = "/vault/connections/crm/pipedrive";

/// Sends one request per documented operation and compares status and body with the document.
pub struct Documented {
    document: Value,
    seen: BTreeSet<(String, String)>,
}

impl Documented {
    /// Sends a request of the owner's to an operation, and looks at the answer, which is given back.
    pub fn send(&mut self, server: &Server, method: &str, template: &str, path: &str, body: Option<Value>) -> Value {
        let request = server.call(method, path);
        let request = body.map_or(server.call(method, path), |body| request.json(&body));
        self.check(method, template, request.send().unwrap())
    }

    /// Looks at an answer to an operation.
    pub fn check(&mut self, method: &str, template: &str, answer: Response) -> Value {
        let status = answer.status().as_u16().to_string();
        let response = self.document["paths"][template][method.to_lowercase()]["responses"][&status].clone();
        assert!(response.is_object(), "{method} {template} answers {status}, which is not documented");
        self.seen.insert((method.to_owned(), template.to_owned()));
        let sort = answer.headers().get("content-type").map(|sort| sort.to_str().unwrap().to_owned());
        let Some(sort) = sort else {
            assert!(response["content"].is_null() && answer.bytes().unwrap().is_empty(), "{method} {template} {status} has no body");
            return Value::Null;
        };
        assert!(response["content"][&sort]["schema"].is_object(), "{method} {template} {status} is not documented as {sort}");
        if method == "HEAD" {
            return Value::Null;
        }
        let mut schema = response["content"][&sort]["schema"].clone();
        schema["components"] = self.document["components"].clone();
        let body: Value = if sort.starts_with("text/plain") { answer.text().unwrap().into() } else { answer.json().unwrap() };
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let errors: Vec<String> = validator.iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{method} {template} {status}: {errors:?}\n{body}");
        self.no_member_is_undocumented(&body, &schema);
        body
    }

    /// A member that the schema does not know would be an answer that the document keeps silent about.
    fn no_member_is_undocumented<'a>(&'a self, body: &Value, mut schema: &'a Value) {
        while let Some(to) = schema["$ref"].as_str() {
            schema = self.document.pointer(to.trim_start_matches('#')).unwrap();
        }
        match body {
            Value::Object(members) if schema["properties"].is_object() => {
                for (name, value) in members {
                    assert!(schema["properties"][name].is_object(), "{name} is not documented: {schema}");
                    self.no_member_is_undocumented(value, &schema["properties"][name]);
                }
            }
            Value::Array(items) if schema["items"].is_object() => items.iter().for_each(|item| self.no_member_is_undocumented(item, &schema["items"])),
            _ => {}
        }
    }
}

fn connections(documented: &mut Documented, server: &Server) {
    let connection = "/vault/connections/{unified_api}/{service_id}";
    let consumer = "/vault/consumers/{consumer_id}";
    let mut send = |method: &str, template: &str, path: &str, body: Option<Value>| documented.send(server, method, template, path, body);
    send("GET", connection, PIPEDRIVE, None);
    send("POST", &format!("{connection}/import"), &format!("{PIPEDRIVE}/import"), Some(json!({"credentials": {"access_token": "t", "expires_in": 60}})));
    let active = "/vault/connections/crm/activecampaign";
    send("POST", connection, active, Some(json!({"enabled": true, "metadata": {"a": 1}})));
    send("PATCH", connection, active, Some(json!({"settings": {"api_key": "k", "base_url": "https://x.example.com"}, "configuration": []})));
    send("GET", connection, active, None);
    send("PATCH", connection, active, Some(json!({"enabled": 1})));
    send("POST", &format!("{connection}/validate"), &format!("{active}/validate"), None);
    send("POST", &format!("{connection}/token"), &format!("{active}/token"), None);
    send("GET", "/vault/connections", "/vault/connections", None);
    send("GET", connection, "/vault/connections/crm/nobody", None);
    send("POST", "/vault/consumers", "/vault/consumers", Some(json!({"consumer_id": "b", "metadata": {"x": []}})));
    send("GET", "/vault/consumers", "/vault/consumers?limit=1", None);
    send("GET", consumer, "/vault/consumers/acme", None);
    send("PATCH", consumer, "/vault/consumers/b", Some(json!({"metadata": {}})));
    send("DELETE", consumer, "/vault/consumers/b", None);
    send("DELETE", connection, active, None);
}

fn own_routes(documented: &mut Documented, server: &Server) {
    let mut send = |method: &str, template: &str, path: &str, body: Option<Value>| documented.send(server, method, template, path, body);
    send("GET", "/v1/events", "/v1/events?limit=200", None);
    send("GET", "/v1/events/{position}", "/v1/events/1", None);
    send("GET", "/v1/events/{position}", "/v1/events/99999", None);
    send("GET", "/v1/events/export", "/v1/events/export?format=xml", None);
    send("GET", "/v1/events/stream", "/v1/events/stream?to=1", None);
    send("GET", "/v1/credentials", "/v1/credentials?show=all", None);
    let listed = server.call("GET", "/v1/credentials?kind=connection").send().unwrap().json::<Value>().unwrap();
    let id = listed["data"][0]["id"].as_str().unwrap().to_owned();
    send("GET", "/v1/credentials/{id}", &format!("/v1/credentials/{id}"), None);
    send("GET", "/v1/credentials/{id}/history", &format!("/v1/credentials/{id}/history"), None);
    send("POST", "/v1/secrets/reveal", "/v1/secrets/reveal", Some(json!({"credential": id, "secret": "access_token", "reason": "a test"})));
    send("GET", "/v1/credentials/{id}/exposure", &format!("/v1/credentials/{id}/exposure"), None);
    send("POST", "/v1/secrets/reveal", "/v1/secrets/reveal", Some(json!({"credential": id, "secret": "x", "reason": ""})));
    let key = server.call("GET", "/v1/credentials?kind=api_key").send().unwrap().json::<Value>().unwrap()["data"][0]["id"].as_str().unwrap().to_owned();
    send("POST", "/v1/credentials/{id}/rotate", &format!("/v1/credentials/{key}/rotate"), Some(json!({"grace_seconds": 600})));
    send("POST", "/v1/credentials/{id}/rotation/take-back", &format!("/v1/credentials/{key}/rotation/take-back"), None);
    send("POST", "/v1/credentials/{id}/rotation/finish", &format!("/v1/credentials/{key}/rotation/finish"), None);
    send("GET", "/v1/connectors", "/v1/connectors", None);
    let own = "/v1/connectors/{unified_api}/{service_id}";
    send("GET", own, "/v1/connectors/crm/pipedrive", None);
    let connector = server.call("GET", "/v1/connectors/crm/hubspot").send().unwrap().json::<Value>().unwrap()["connector"].clone();
    send("PUT", own, "/v1/connectors/crm/hubspot", Some(connector));
    let integration = "/v1/integrations/{unified_api}/{service_id}";
    let mine = "/v1/integrations/crm/hubspot";
    send("PUT", integration, mine, Some(json!({"settings": {"client_id": "an id", "client_secret": "a secret"}})));
    send("PUT", integration, mine, Some(json!({"settings": {"what": "is this"}})));
    send("PATCH", integration, mine, Some(json!({"enabled": false, "settings": {"client_id": null}})));
    send("GET", integration, mine, None);
    send("GET", "/v1/integrations", "/v1/integrations?limit=1", None);
    send("GET", &format!("{integration}/history"), &format!("{mine}/history"), None);
    send("GET", "/v1/credentials", "/v1/credentials?kind=integration", None);
    send("DELETE", integration, mine, None);
    send("DELETE", integration, mine, None);
    send("GET", "/v1/log/state", "/v1/log/state", None);
    send("GET", "/v1/log/checkpoint", "/v1/log/checkpoint", None);
    send("GET", "/v1/log/key", "/v1/log/key", None);
    send("GET", "/v1/log/proofs/inclusion", "/v1/log/proofs/inclusion?position=1", None);
    send("GET", "/v1/log/proofs/inclusion", "/v1/log/proofs/inclusion?leaf=99999", None);
    send("GET", "/v1/log/proofs/consistency", "/v1/log/proofs/consistency?from=1", None);
    send("GET", "/v1/log/proofs/consistency", "/v1/log/proofs/consistency?from=0", None);
    send("GET", "/v1/log/leaves", "/v1/log/leaves?limit=3", None);
    send("POST", "/v1/log/clock", "/v1/log/clock", None);
    send("GET", "/v1/health/live", "/v1/health/live", None);
    send("GET", "/v1/health/ready", "/v1/health/ready", None);
}

#[test]
fn every_answer_is_as_the_openapi_document_says() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with(folder.path(), "", &["--allow-egress", "127.0.0.1/32"]);
    let page = client().get(format!("{}/openapi.json", server.base)).send().unwrap();
    assert_eq!(page.headers()["content-type"], "application/json");
    let text = page.text().unwrap();
    assert!(text == include_str!("../../schema/openapi.json"), "run `cargo run -- openapi > schema/openapi.json`");
    let mut documented = Documented { document: serde_json::from_str(&text).unwrap(), seen: BTreeSet::new() };
    connections(&mut documented, &server);
    crate::documented_authorization::send_all(&mut documented, &server);
    own_routes(&mut documented, &server);
    crate::documented_members::send_all(&mut documented, &server);
    crate::documented_proxy::send_all(&mut documented, &server);
    crate::documented_provider_keys::send_all(&mut documented, &server);
    crate::documented_api_keys::send_all(&mut documented, &server);
    crate::documented_api_clients::send_all(&mut documented, &server);
    crate::documented_user_applications::send_all(&mut documented, &server);
    crate::documented_webhooks::send_all(&mut documented, &server);
    crate::documented_time::send_all(&mut documented, &server);
    let operations = documented.document["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().keys().filter(|name| *name != "parameters").map(move |method| (method.to_uppercase(), path.clone()))
    });
    assert_eq!(operations.collect::<BTreeSet<_>>(), documented.seen, "each documented operation was called");
    for operation in documented.document["paths"].as_object().unwrap().values().flat_map(|methods| methods.as_object().unwrap().values()) {
        assert!(operation["operationId"].is_string() && operation["summary"].is_string(), "{operation}");
    }
}

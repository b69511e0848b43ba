//! The provider keys surface against the OpenAPI document.

use serde_json::{Value, json};

use crate::documented::Documented;
use crate::served::{Server, client};

pub fn send_all(documented: &mut Documented, server: &Server) {
    let mut send = |verb: &str, body: Option<Value>| {
        let path = format!("/external_provider/api_key/{verb}");
        documented.send(server, "POST", &path, &path, body);
        // A token that opens nothing, and a header that is not taken.
        let stranger = client().post(format!("{}{path}", server.base)).header("x-application-id", "klkey_wrong");
        documented.check("POST", &path, stranger.send().unwrap());
        documented.check("POST", &path, server.call("POST", &path).header("if-match", "\"1\"").send().unwrap());
    };
    let key = json!({"api_key": "sk-proj-1234567890", "api_key_name": "laptop", "organization_key": "org-1"});
    let schema = json!({"migration": 1, "semantic": "MAJOR_0_MINOR_0_PATCH_1"});
    send("create", Some(json!({"user": "owner", "schema": schema, "open_AI": key, "anthropic": key, "google": key, "azure_open_AI": key, "mistral": key})));
    send("update", Some(json!({"user": "owner", "cohere": key, "groq": {"api_key": "1"}, "google": {"organization_key": null}})));
    send("update", Some(json!({"user": "nobody", "groq": key})));
    send("update", Some(json!({"user": "owner", "groq": {"api_key": null}})));
    send("delete", Some(json!({"user": "owner", "open_AI": true, "groq": false})));
    send("create", Some(json!({"user": "x".repeat(70_000)})));
    send("delete", None);
}

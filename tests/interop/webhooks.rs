//! Webhooks as the specification's own library verifies them, on real deliveries.

use std::process::Command;

use serde_json::{Value, json};

use crate::running::{Keyledger, Running, WEBHOOKS_FOLDER, client, source, start};

struct Receiver {
    base: String,
    _server: Running,
}

impl Receiver {
    fn start() -> Self {
        let (server, base, _) = start(Command::new("node").arg(source("webhooks/receiver.mjs")).arg(&*WEBHOOKS_FOLDER));
        Self { base, _server: server }
    }

    fn hook(&self) -> String {
        format!("{}/hook", self.base)
    }

    /// What the library makes of a message, which is waited for.
    fn verify(&self, at: usize, secret: &str, changed: bool) -> Value {
        let asked = json!({"at": at, "secret": secret, "changed": changed});
        client().post(format!("{}/verify", self.base)).json(&asked).send().unwrap().json().unwrap()
    }
}

#[test]
fn the_library_of_the_specification_verifies_what_is_delivered() {
    let receiver = Receiver::start();
    let keyledger = Keyledger::start(&["--allow-egress", "127.0.0.1/32"]);
    let (status, made) = keyledger.call("POST", "/v1/webhooks", Some(&json!({"url": receiver.hook(), "events": ["vault.connection.created"]})));
    assert_eq!(status, 201, "{made}");
    let secret = made["secret"].as_str().unwrap();
    keyledger.ok("PATCH", "/vault/connections/crm/pipedrive", Some(&json!({"enabled": true})));
    let told = receiver.verify(0, secret, false);
    assert_eq!(told["verified"]["payload"]["event_type"], "vault.connection.created", "{told}");
    assert_eq!(told["verified"]["payload"]["service_id"], "pipedrive", "{told}");
    assert!(receiver.verify(0, secret, true)["refused"].is_string(), "another body is not what was signed");
    let (status, rotated) = keyledger.call("POST", &format!("/v1/webhooks/{}/rotate", made["webhook"]["id"].as_str().unwrap()), None);
    assert_eq!(status, 200, "{rotated}");
    let next = rotated["secret"].as_str().unwrap();
    assert!(receiver.verify(0, next, false)["refused"].is_string(), "the first message was signed before");
    keyledger.ok("PATCH", "/vault/connections/crm/hubspot", Some(&json!({"enabled": true})));
    for known in [secret, next] {
        let told = receiver.verify(1, known, false);
        assert_eq!(told["verified"]["payload"]["service_id"], "hubspot", "both sign for a day: {told}");
    }
}

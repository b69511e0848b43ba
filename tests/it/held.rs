//! A restored vault calls nobody until an operator says so: a drill harms nothing.

use std::process::Command;

use serde_json::{Value, json};

use crate::provider::Provider;
use crate::served::{Server, begin, start_with};

const CONNECTION: &str = "/vault/connections/crm/local";
const OPEN: &[&str] = &["--allow-egress", "127.0.0.1/32"];

fn ask(server: &Server, method: &str, path: &str) -> (u16, Value) {
    let answer = server.call(method, path).send().unwrap();
    (answer.status().as_u16(), answer.json().unwrap_or_default())
}

#[test]
fn a_restored_vault_calls_nobody_until_an_operator_resumes() {
    let (folder, provider) = (tempfile::tempdir().unwrap(), Provider::start());
    let server = start_with(folder.path(), "", OPEN);
    assert_eq!(server.call("PUT", "/v1/connectors/crm/local").json(&provider.connector()).send().unwrap().status(), 200);
    server.ok("PATCH", CONNECTION, Some(json!({"settings": {"client_id": "test-client", "client_secret": "canary-secret"}})));
    let code = provider.code(None);
    let state = server.ok("POST", &format!("{CONNECTION}/callback-state"), None)["state"].as_str().unwrap().to_owned();
    assert_eq!(ask(&server, "GET", &format!("/vault/callback?state={state}&code={code}")).0, 200);
    server.ok("POST", &format!("{CONNECTION}/validate"), None);
    assert_eq!(provider.calls(), 2);
    let (token, position) = (server.token.clone(), ask(&server, "GET", "/v1/log/state").1["position"].to_string());
    drop(server);
    let tool = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
        command.env_clear().env("XDG_CONFIG_HOME", folder.path().join("config"));
        command
    };
    let (data, into) = (folder.path().join("data"), folder.path().join("restored"));
    let restored = tool().args(["restore", "--to", &position, "--from"]).arg(&data).arg("--into").arg(&into).output().unwrap();
    assert!(restored.status.success() && String::from_utf8_lossy(&restored.stdout).contains("keyledger resume"), "{restored:?}");
    let mut serving = tool();
    let server = begin(serving.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&into).args(OPEN), &token);
    let held = ask(&server, "POST", &format!("{CONNECTION}/token"));
    assert_eq!(held.0, 422, "{held:?}");
    // Nothing can be renewed for now: what stands in the vault is told.
    assert_eq!((ask(&server, "POST", &format!("{CONNECTION}/validate")).0, provider.calls()), (200, 2));
    let state = server.call("POST", &format!("{CONNECTION}/callback-state")).send().unwrap();
    assert!(state.text().unwrap().contains("keyledger resume"));
    assert_eq!(ask(&server, "GET", "/v1/health/ready").0, 200);
    let resumed = tool().args(["resume", "--server", &server.base]).env("KEYLEDGER_TOKEN", &token).output().unwrap();
    assert!(resumed.status.success(), "{resumed:?}");
    let events = ask(&server, "GET", "/v1/events?kind=vault&limit=1").1;
    assert_eq!(events["data"][0]["type"], "resumed");
    server.ok("POST", &format!("{CONNECTION}/validate"), None);
    assert_eq!(provider.calls(), 3);
}

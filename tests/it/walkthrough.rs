//! What the README promises to whoever follows it: its blocks of commands, run as they stand against a real server.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::served::{Server, start};

/// The commands below a mark of the README.
fn block(name: &str) -> String {
    let readme = include_str!("../../README.md");
    let after = readme.split_once(&format!("<!-- walk: {name} -->\n")).unwrap_or_else(|| panic!("the README has no walk-through {name}")).1;
    let lines: Vec<&str> = after.lines().take_while(|line| line.starts_with("    ")).map(|line| &line[4..]).collect();
    assert!(!lines.is_empty(), "{name} has no commands");
    lines.join("\n")
}

/// Runs a block in a shell that stops at the first command that fails; gives what it printed.
fn walk(server: &Server, folder: &Path, name: &str, variables: &[(&str, String)]) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_keyledger"));
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &block(name)]).current_dir(folder).env("PATH", path);
    command.env("KEYLEDGER_SERVER", &server.base).env("KEYLEDGER_TOKEN", &server.token).env("XDG_CONFIG_HOME", folder.join("config"));
    let output = command.envs(variables.iter().map(|(name, value)| (*name, value.clone()))).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{name}: {}\n{shown}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    shown
}

#[expect(clippy::needless_pass_by_value, reason = "a body is made where it is sent")]
fn own(server: &Server, method: &str, path: &str, body: Value) -> Value {
    let request = server.call(method, path);
    let answer = if body.is_null() { request } else { request.json(&body) }.send().unwrap();
    assert!(answer.status().is_success(), "{method} {path}: {}", answer.status());
    answer.json().unwrap_or_default()
}

#[test]
fn the_walk_throughs_of_the_readme_do_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let role = own(&server, "POST", "/v1/roles", json!({"name": "on call", "permissions": ["users:read"]}));
    let id = role["id"].as_str().unwrap();
    let position = own(&server, "GET", "/v1/log/state", Value::Null)["position"].to_string();
    own(&server, "PATCH", &format!("/v1/roles/{id}"), json!({"permissions": ["users:read", "audit:read"]}));
    let told = walk(&server, folder.path(), "changed", &[("POSITION", position)]);
    assert!(told.contains("updated") && told.contains("permits") && told.contains("changed"), "{told}");

    let then = own(&server, "GET", "/v1/log/state", Value::Null)["position"].to_string();
    own(&server, "DELETE", &format!("/v1/roles/{id}"), Value::Null);
    let told = walk(&server, folder.path(), "deleted", &[]);
    assert!(told.contains(&format!("revert  role {id}")) && told.contains("undone: 1 things"), "{told}");
    assert_eq!(own(&server, "GET", &format!("/v1/roles/{id}"), Value::Null)["name"], "on call");

    own(&server, "DELETE", &format!("/v1/roles/{id}"), Value::Null);
    own(&server, "POST", "/v1/organizations", json!({"name": "made by a script"}));
    let told = walk(&server, folder.path(), "recover", &[("THEN", then)]);
    assert!(told.contains("1 to put back, 1 to delete") && told.contains("recovered: 2 things"), "{told}");
    assert_eq!(own(&server, "GET", "/v1/organizations", Value::Null)["data"], json!([]));

    let data = folder.path().join("data").display().to_string();
    let told = walk(&server, folder.path(), "auditor", &[("DATA", data)]);
    assert!(!told.is_empty());
}

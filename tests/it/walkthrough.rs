//! What the README promises to whoever follows it: its blocks of commands, run as they stand against a real server.

use std::path::Path;
use std::process::Command;

use keyledger::jobs::AnchorFile;
use keyledger::kernel::Moment;
use serde_json::{Value, json};

use crate::served::{Server, begin, start};

/// The commands below a mark of the README.
fn block(name: &str) -> String {
    let readme = include_str!("../../README.md");
    let after = readme.split_once(&format!("<!-- walk: {name} -->\n")).unwrap_or_else(|| panic!("the README has no walk-through {name}")).1;
    let lines: Vec<&str> = after.lines().take_while(|line| line.starts_with("    ")).map(|line| &line[4..]).collect();
    assert!(!lines.is_empty(), "{name} has no commands");
    lines.join("\n")
}

/// A shell that runs a block and stops at the first command that fails.
fn shell(folder: &Path, name: &str) -> Command {
    let binary = Path::new(env!("CARGO_BIN_EXE_keyledger"));
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &block(name)]).current_dir(folder).env("PATH", path);
    command.env("XDG_CONFIG_HOME", folder.join("config"));
    command
}

/// Runs a block, and gives what it printed.
fn walk(server: &Server, folder: &Path, name: &str, variables: &[(&str, String)]) -> String {
    let mut command = shell(folder, name);
    command.env("KEYLEDGER_SERVER", &server.base).env("KEYLEDGER_TOKEN", &server.token);
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
    let told = walk(&server, folder.path(), "auditor", &[("DATA", data.clone())]);
    assert!(!told.is_empty());

    // On a machine that has seen no server yet.
    let (anchors, read) = (folder.path().join("anchors"), |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap());
    AnchorFile::at(anchors.clone()).append(Moment::from_millis(0), &read("checkpoint")).unwrap();
    std::fs::write(folder.path().join("leaves.txt"), "").unwrap();
    let fresh = folder.path().join("fresh").display().to_string();
    let told = walk(&server, folder.path(), "anchors", &[("DATA", data), ("ANCHORS", anchors.display().to_string()), ("XDG_CONFIG_HOME", fresh)]);
    let signed = read("checkpoint").lines().nth(1).unwrap().to_owned();
    assert!(told.contains("seen.note") && told.contains(&format!("signed through  {signed}")), "{told}");
}

fn copy(from: &Path, into: &Path) {
    std::fs::create_dir_all(into).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let into = into.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &into);
        } else {
            std::fs::copy(entry.path(), into).unwrap();
        }
    }
}

#[test]
fn a_vault_is_restored_on_a_new_machine_as_the_readme_says() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let server = start(&old, "");
    own(&server, "POST", "/v1/organizations", json!({"name": "of the old machine"}));
    let told = walk(&server, &old, "backup", &[]);
    assert!(told.contains("A restore was rehearsed"), "{told}");
    // The old machine is gone; the backup and the root key file were kept elsewhere, each in its place.
    let token = server.token.clone();
    drop(server);
    let kept = std::fs::read_dir(old.join("backups")).unwrap().next().unwrap().unwrap();
    copy(&kept.path(), &new.join("backup"));
    let key = std::fs::read_dir(old.join("config/keyledger")).unwrap().next().unwrap().unwrap();
    std::fs::copy(key.path(), new.join("root.key")).unwrap();
    std::fs::remove_dir_all(&old).unwrap();
    assert!(block("machine").lines().count() <= 3);
    let mut command = shell(&new, "machine");
    // The shell waits for the server; both end together.
    std::os::unix::process::CommandExt::process_group(command.env("KEYLEDGER_LISTEN", "127.0.0.1:0"), 0);
    let server = begin(&mut command, &token);
    assert!(!server.base.is_empty(), "the new machine serves");
    let all = own(&server, "GET", "/v1/organizations", Value::Null);
    let position = |server: &Server| own(server, "GET", "/v1/log/state", Value::Null)["position"].as_u64().unwrap();
    let held = position(&server);
    walk(&server, &new, "resume", &[]);
    let resumed = position(&server);
    let group = format!("-{}", server.child.id());
    assert!(Command::new("kill").args(["-9", "--", &group]).status().unwrap().success());
    assert!(all.to_string().contains("of the old machine") && resumed > held, "{all} {held} {resumed}");
}

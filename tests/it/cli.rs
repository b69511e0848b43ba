//! The program itself, run as a user runs it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs the program with a configuration folder of its own.
fn keyledger(config: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    command.env_clear().env("XDG_CONFIG_HOME", config).args(arguments);
    command.output().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn failure(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn init_makes_a_vault_once_and_replay_reads_it_beside_anybody() {
    let folder = tempfile::tempdir().unwrap();
    let (config, data) = (folder.path().join("config"), folder.path().join("data"));
    let data = data.to_str().unwrap();
    let begun = json(&keyledger(&config, &["init", "--data", data, "--output", "json"]));
    let (vault, token) = (begun["vault_id"].as_str().unwrap(), begun["owner_token"].as_str().unwrap());
    assert!(token.starts_with("klkey_"));
    assert_eq!(begun["root_key_file"], config.join(format!("keyledger/{vault}.key")).to_str().unwrap());
    let entries = [data.to_owned(), format!("{data}/segments")].into_iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    for path in entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        let bytes = std::fs::read(path).unwrap();
        let secret = token.split('_').nth(2).unwrap().as_bytes();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "the token is kept nowhere");
    }
    let again = keyledger(&config, &["init", "--data", data]);
    assert!(failure(&again, 1).contains("holds a vault already"));

    let whole = json(&keyledger(&config, &["replay", "--data", data, "--output", "json"]));
    let same = json(&keyledger(&config, &["replay", "--data", data, "--output", "json"]));
    for field in ["position", "merkle_root", "state_hash", "recorded_at"] {
        assert_eq!(whole[field], same[field], "{field}");
    }
    let position = whole["position"].as_u64().unwrap();
    let part = json(&keyledger(&config, &["replay", "--data", data, "--to", &(position - 1).to_string(), "--output", "json"]));
    assert!(part["position"].as_u64().unwrap() < position, "rounds down to a whole group");
    assert_ne!(part["state_hash"], whole["state_hash"]);
    let before = json(&keyledger(&config, &["replay", "--data", data, "--at", "2020-01-01T00:00:00Z", "--output", "json"]));
    assert_eq!(before["position"], 0);
}

#[test]
fn what_cannot_be_done_is_said_with_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let (config, data) = (folder.path().join("config"), folder.path().join("data"));
    let data = data.to_str().unwrap();
    assert!(failure(&keyledger(&config, &["replay", "--data", data]), 1).contains("keyledger init"));
    let begun = json(&keyledger(&config, &["init", "--data", data, "--output", "json"]));
    assert!(failure(&keyledger(&config, &["replay", "--data", data, "--to", "100000"]), 1).contains("the log ends at position"));
    let into = folder.path().join("restored");
    for verb in [&["replay", "--data", data][..], &["restore", "--from", data, "--into", into.to_str().unwrap()]] {
        let said = failure(&keyledger(&config, &[verb, &["--at", "2999-01-01T00:00:00Z"]].concat()), 1);
        assert!(said.contains("--at 2999-01-01T00:00:00.000Z: lies in the future") && !into.exists(), "{said}");
    }
    for wrong in [&["replay", "--at", "yesterday"][..], &["replay", "--to", "x"], &["replay", "--to", "1", "--at", "2026-01-01T00:00:00Z"], &["fly"], &[]] {
        failure(&keyledger(&config, wrong), 2);
    }
    let key_file = begun["root_key_file"].as_str().unwrap();
    std::fs::rename(key_file, format!("{key_file}.away")).unwrap();
    let lost = failure(&keyledger(&config, &["replay", "--data", data]), 1);
    assert!(lost.contains("root key file") && lost.contains(key_file), "{lost}");
    let other = keyledger(&config, &["init", "--data", folder.path().join("other").to_str().unwrap(), "--output", "json"]);
    let foreign = failure(&keyledger(&config, &["replay", "--data", data, "--root-key-file", json(&other)["root_key_file"].as_str().unwrap()]), 1);
    assert!(foreign.contains("another vault"), "{foreign}");
    let inside = folder.path().join("inside");
    let refused = keyledger(&config, &["init", "--data", inside.to_str().unwrap(), "--root-key-file", inside.join("root.key").to_str().unwrap()]);
    assert!(failure(&refused, 1).contains("data directory"));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("partial") && name != "inside"), "nothing half made stays: {left:?}");
}

#[test]
fn a_vault_is_not_made_where_it_cannot_be_served() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let data = folder.path().join("data");
    let address = taken.local_addr().unwrap().to_string();
    let refused = keyledger(&folder.path().join("config"), &["serve", "--listen", &address, "--data", data.to_str().unwrap()]);
    assert!(failure(&refused, 1).contains("cannot listen on"));
    assert!(!data.exists(), "or its owner's token would have been shown to nobody");
}

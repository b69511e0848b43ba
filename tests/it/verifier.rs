//! A checker in Python that was written from docs/log.md alone, and `keyledger audit verify`, on the same files.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::fixed::FixedRandom;
use crate::proofs::{export, restored};
use crate::served::{Server, start};
use keyledger::kernel::Random;

pub fn python(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/verify/verify_log.py");
    let done = Command::new("python3").arg("-B").arg(script).args(arguments).current_dir(folder).output().expect("python3 is needed");
    (done.status.success(), format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)))
}

fn tool(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    command.env_clear().env("XDG_CONFIG_HOME", folder.join("config")).current_dir(folder).args(["audit", "verify", "--output", "json"]).args(arguments);
    command.output().unwrap()
}

/// What it printed, and whether it ended well.
fn verified(folder: &Path, arguments: &[&str]) -> (bool, Value) {
    let done = tool(folder, arguments);
    let printed = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    (done.status.success(), printed)
}

#[tokio::test]
async fn both_take_an_export_of_a_restored_log_and_neither_takes_a_changed_one() {
    let (old, vault, _lock, _, _) = restored().await;
    let folder = old.folder.path();
    let head = vault.views().position();
    let file = export(&vault).await;
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("events.jsonl", &file);
    write("note", &vault.checkpoint(head).await.unwrap().note);
    write("key", &format!("{}\n", vault.verifier_key(head).await.unwrap()));
    let of_file = ["--file", "changed.jsonl", "--checkpoint", "note", "--key", "key"];
    let (good, said) = python(folder, &["export", "events.jsonl", "note", "key"]);
    assert!(good, "{said}");
    write("changed.jsonl", &file);
    let (good, printed) = verified(folder, &of_file);
    assert!(good && printed["ok"] == true && printed["events"] == printed["signed_through"], "{printed}");
    let (random, lines): (&dyn Random, Vec<&str>) = (&FixedRandom::new(8032), file.lines().collect());
    for round in 0..20 {
        let at = usize::try_from(u32::from_be_bytes(random.array())).unwrap() % lines.len();
        let mut bytes = lines[at].as_bytes().to_vec();
        let byte = usize::try_from(u32::from_be_bytes(random.array())).unwrap() % bytes.len();
        bytes[byte] = if bytes[byte] == b'0' { b'1' } else { b'0' };
        let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        match round % 4 {
            0 | 1 => changed[at] = String::from_utf8_lossy(&bytes).into_owned(),
            2 => drop(changed.remove(at)),
            _ => changed.insert(at, lines[(at + 1) % lines.len()].to_owned()),
        }
        write("changed.jsonl", &(changed.join("\n") + "\n"));
        let (good, said) = python(folder, &["export", "changed.jsonl", "note", "key"]);
        assert!(!good && said.starts_with("bad: "), "round {round}: {said}");
        let (good, printed) = verified(folder, &of_file);
        assert!(!good && printed["ok"] == false, "round {round}: {printed}");
    }
}

fn text(server: &Server, path: &str) -> String {
    server.call("GET", path).send().unwrap().text().unwrap()
}

#[test]
fn python_checks_what_a_server_says_of_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("key", &text(&server, "/v1/log/key"));
    write("old", &text(&server, "/v1/log/checkpoint?as_of=37"));
    write("new", &text(&server, "/v1/log/checkpoint"));
    for (position, good) in [(1, true), (37, true), (100, true)] {
        write("inclusion", &text(&server, &format!("/v1/log/proofs/inclusion?position={position}")));
        assert_eq!(python(folder.path(), &["inclusion", "inclusion", "new", "key"]).0, good);
    }
    let proof = text(&server, "/v1/log/proofs/consistency?from=37");
    write("consistency", &proof);
    let (good, said) = python(folder.path(), &["consistency", "consistency", "old", "new", "key"]);
    assert!(good && python(folder.path(), &["checkpoint", "new", "key"]).0, "{said}");
    assert!(!python(folder.path(), &["consistency", "consistency", "new", "new", "key"]).0);
    // Any field of a proof that is changed.
    let inclusion: Value = serde_json::from_str(&text(&server, "/v1/log/proofs/inclusion?position=37")).unwrap();
    let steps = inclusion["proof"].as_array().unwrap().len();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut proof = inclusion.clone();
        change(&mut proof);
        write("inclusion", &proof.to_string());
        python(folder.path(), &["inclusion", "inclusion", "new", "key"]).0
    };
    assert!(changed(&|_| ()));
    let flip = |text: &Value| Value::from(text.as_str().unwrap().chars().rev().collect::<String>());
    assert!(!changed(&|proof| proof["leaf"] = 35.into()));
    assert!(!changed(&|proof| proof["size"] = 35.into()));
    assert!(!changed(&|proof| proof["hash"] = flip(&proof["hash"])));
    for step in 0..steps {
        assert!(!changed(&|proof| proof["proof"][step] = flip(&proof["proof"][step])));
    }
    let note = text(&server, "/v1/log/checkpoint");
    for (from, to) in [("keyledger/", "keyledgex/"), ("\n\n", "\nmore\n\n"), ("=\n", "\n")] {
        write("new", &note.replacen(from, to, 1));
        assert!(!python(folder.path(), &["checkpoint", "new", "key"]).0, "{from:?}");
    }
}

#[test]
fn audit_verify_checks_a_server_against_what_was_seen_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    std::fs::write(folder.path().join("token"), &server.token).unwrap();
    std::fs::set_permissions(folder.path().join("token"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let base = server.base.clone();
    let ask = |further: &[&str]| verified(folder.path(), &[&["--server", &base, "--token-file", "token"], further].concat());
    let (good, printed) = ask(&["--since", "seen", "--leaves", "leaves"]);
    assert!(good && printed["consistent_with"].is_null() && printed["key_pinned"].is_string(), "{printed}");
    let seen = printed["size"].as_u64().unwrap();
    server.ok("POST", "/vault/connections/crm/pipedrive/import", Some(serde_json::json!({"credentials": {"access_token": "t"}})));
    let (good, printed) = ask(&["--since", "seen", "--leaves", "leaves"]);
    assert!(good && printed["consistent_with"] == seen && printed["key_pinned"].is_null(), "{printed}");
    assert!(printed["new_leaves"].as_u64().unwrap() > 0 && printed["size"].as_u64().unwrap() > seen, "{printed}");
    // The directory, without its root key; a server runs on it.
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let (good, printed) = verified(folder.path(), &["--data", data, "--leaves", "leaves"]);
    assert!(good && printed["signed_through"].as_u64().unwrap() > 0, "{printed}");
    std::fs::write(folder.path().join("key"), text(&server, "/v1/log/key")).unwrap();
    assert!(verified(folder.path(), &["--data", data, "--key", "key"]).0);
    let read = &verified(folder.path(), &["--data", data, "--key", "key"]).1["read"];
    assert!(read.as_str().unwrap().starts_with("log.db alone"), "which copy was read is said: {read}");
    // Another server, which shows another key; and then a log with another history under the same key.
    let elsewhere = tempfile::tempdir().unwrap();
    let other = start(elsewhere.path(), "");
    let done = Command::new(env!("CARGO_BIN_EXE_keyledger"))
        .env_clear()
        .env("XDG_CONFIG_HOME", folder.path().join("config"))
        .env("KEYLEDGER_TOKEN", &other.token)
        .args(["audit", "verify", "--server", &other.base, "--key"])
        .arg(folder.path().join("key"))
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("of another vault"), "{done:?}");
    let leaves = std::fs::read_to_string(folder.path().join("leaves")).unwrap();
    let mut changed: Vec<&str> = leaves.lines().collect();
    changed.swap(3, 4);
    std::fs::write(folder.path().join("leaves"), changed.join("\n") + "\n").unwrap();
    let (good, printed) = ask(&["--leaves", "leaves"]);
    assert!(!good && printed["problem"].as_str().unwrap().contains("do not make the root"), "{printed}");
}

#[test]
fn what_was_asked_for_and_cannot_be_compared_is_a_failure() {
    let (folder, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = start(folder.path(), "");
    let write = |name: &str, text: &str| std::fs::write(fresh.path().join(name), text).unwrap();
    let note = text(&server, "/v1/log/checkpoint");
    write("key", &text(&server, "/v1/log/key"));
    write("token", &server.token);
    std::fs::set_permissions(fresh.path().join("token"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    write("note", &note);
    let forged = note.replacen("\n\n", "\nof somebody else\n\n", 1);
    write("forged", &forged);
    let line = |note: &str| serde_json::json!({"at": "2026-05-04T14:05:00Z", "note": note}).to_string() + "\n";
    write("anchors", &line(&note));
    write("anchors of others", &line(&forged));
    let data = folder.path().join("data").display().to_string();
    let asked = |further: &[&str]| {
        let done = tool(fresh.path(), &[&["--data", &data], further].concat());
        (done.status.code(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
    };
    let refused = |further: &[&str], why: &str| {
        let (code, said) = asked(further);
        assert!(code == Some(1) && said.contains(why), "{further:?}: {said}");
    };
    // Without the key nothing that is signed can be looked at, whatever it says.
    assert_eq!(asked(&[]).0, Some(0));
    for given in [["--anchor-file", "anchors"], ["--checkpoint", "note"], ["--checkpoint", "forged"]] {
        refused(&given, "give --key");
    }
    let keyed = |given: [&'static str; 2]| ["--key", "key", given[0], given[1]];
    for given in [["--anchor-file", "anchors"], ["--checkpoint", "note"]] {
        assert_eq!(asked(&keyed(given)).0, Some(0), "{given:?}");
    }
    refused(&keyed(["--checkpoint", "forged"]), "the checkpoint of --checkpoint");
    refused(&keyed(["--checkpoint", "nope"]), "cannot read nope");
    refused(&keyed(["--anchor-file", "nope"]), "cannot read nope");
    refused(&keyed(["--anchor-file", "anchors of others"]), "holds no anchor of this log");
    refused(&["--leaves", "nope"], "cannot read nope");
    // A server is held to it as well.
    let asked = |checkpoint: &str| {
        let done = tool(fresh.path(), &["--server", &server.base, "--token-file", "token", "--checkpoint", checkpoint]);
        (done.status.code(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
    };
    let (code, said) = asked("note");
    assert!(code == Some(0) && said.contains("consistent_with_checkpoint"), "{said}");
    assert!(asked("nope").0 == Some(1) && asked("forged").0 == Some(1) && asked("key").0 == Some(1));
}

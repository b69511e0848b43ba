//! `keyledger doctor`, and what a start does with copies that differ: beside a server, after a kill, over a loss, on a full disk.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use keyledger::credentials::Meta;
use keyledger::credentials::connection::Changes;
use keyledger::kernel::*;
use keyledger::keyring::Purpose;
use keyledger::log::SegmentLog;
use keyledger::seal::checkpoint;
use keyledger::server::Home;
use keyledger::vault::{Vault, plans};
use serde_json::{Value, json};

use crate::fixed::FixedRandom;
use crate::fixed_clock::FixedClock;
use crate::segments::copy;
use crate::served::{Server, begin, client, spawn, start};
use crate::vault_bench::{key, tokens};

fn tool(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    command.current_dir(folder).env_clear().env("XDG_CONFIG_HOME", folder.join("config")).args(arguments).output().unwrap()
}

/// Exit code, what was printed, and what went wrong.
fn doctor(folder: &Path, further: &[&str]) -> (Option<i32>, Value, String) {
    let output = tool(folder, &[&["doctor", "--data", "data", "--output", "json"], further].concat());
    let printed = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), printed, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn of_consumer(server: &Server, method: &str, path: &str, consumer: usize) -> reqwest::blocking::RequestBuilder {
    let request = client().request(method.parse().unwrap(), format!("{}{path}", server.base)).bearer_auth(&server.token);
    request.header("x-apideck-app-id", "app").header("x-apideck-consumer-id", format!("c{consumer}"))
}

fn import(server: &Server, consumer: usize) -> u16 {
    let body = json!({"credentials": {"access_token": format!("token of {consumer}"), "refresh_token": "r"}});
    let request = of_consumer(server, "POST", "/vault/connections/crm/pipedrive/import", consumer).json(&body);
    request.send().map_or(0, |answer| answer.status().as_u16())
}

fn repaired(server: &Server) -> Vec<Value> {
    let events: Value = server.call("GET", "/v1/events?kind=vault&limit=100").send().unwrap().json().unwrap();
    let events = events["data"].as_array().unwrap().iter();
    events.filter(|event| event["type"] == "repaired").cloned().collect()
}

#[test]
fn beside_a_server_it_only_reads_and_a_second_server_is_kept_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let writer = std::thread::scope(|scope| {
        let writes = scope.spawn(|| (0..60).filter(|number| import(&server, *number) == 200).count());
        for _ in 0..4 {
            let (code, told, error) = doctor(folder.path(), &[]);
            assert_eq!((code, &told["served"]), (Some(0), &json!(true)), "{told} {error}");
        }
        writes.join().unwrap()
    });
    assert_eq!(writer, 60);
    let second = spawn(folder.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("served by another process"));
    for flag in ["--repair", "--accept-loss"] {
        let (code, _, error) = doctor(folder.path(), &[flag]);
        assert!(code == Some(1) && error.contains("served by another process"), "{error}");
    }
    assert_eq!(tool(folder.path(), &["doctor", "--data", "data", "--repair", "--accept-loss"]).status.code(), Some(2));
    let absent = tool(folder.path(), &["doctor", "--data", "nowhere"]);
    assert!(absent.status.code() == Some(1) && String::from_utf8_lossy(&absent.stderr).contains("keyledger init"));
}

#[test]
fn after_a_kill_both_copies_hold_all_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), "");
    let mut acknowledged = 0;
    for round in 0..5 {
        let process = rustix::process::Pid::from_raw(i32::try_from(server.child.id()).unwrap()).unwrap();
        let (told, answers) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let (server, told) = (&server, told.clone());
                scope.spawn(move || {
                    for number in 0.. {
                        if import(server, round * 40_000 + writer * 10_000 + number) != 200 || told.send(()).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(told);
            acknowledged += answers.iter().take(40).count();
            rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
            acknowledged += answers.iter().count();
        });
        let token = server.token.clone();
        drop(server);
        let (code, told, error) = doctor(folder.path(), &[]);
        assert_eq!(code, Some(0), "a crash is no damage: {told} {error}");
        server = start(folder.path(), &token);
        assert!(repaired(&server).is_empty());
        let consumers: Value = server.call("GET", "/v1/log/state").send().unwrap().json().unwrap();
        assert!(consumers["records"].as_u64().unwrap() > acknowledged as u64 * 4, "{acknowledged} imports: {consumers}");
        let log = SegmentLog::open(&folder.path().join("data/segments")).unwrap();
        assert!(log.records().map(Result::unwrap).count() as u64 >= consumers["records"].as_u64().unwrap());
    }
    assert!(acknowledged >= 200, "{acknowledged}");
}

#[test]
fn what_is_wrong_is_explained_and_repaired_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    assert!(tool(folder.path(), &["init", "--data", "data"]).status.success());
    let replayed = |further: &[&str]| tool(folder.path(), &[&["replay", "--data", "data", "--output", "json"], further].concat());
    let json = |output: &Output| -> Value { serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}")) };
    let before = json(&replayed(&[]));
    let (code, told, _) = doctor(folder.path(), &[]);
    assert_eq!((code, &told["log_db"]["state"], &told["segments"]["state"]), (Some(0), &json!("whole"), &json!("whole")));
    assert_eq!(told["merkle_root"], before["merkle_root"]);
    // The log is gone: it is read, and restored, from the segments.
    fs::rename(folder.path().join("data/log.db"), folder.path().join("away")).unwrap();
    let (code, told, error) = doctor(folder.path(), &[]);
    assert_eq!((code, &told["log_db"]["state"], &told["next"]), (Some(1), &json!("missing"), &json!("keyledger doctor --data data --repair")), "{error}");
    for member in ["position", "merkle_root", "state_hash"] {
        assert_eq!(json(&replayed(&[]))[member], before[member], "{member}");
    }
    assert!(String::from_utf8_lossy(&replayed(&[]).stderr).contains("the segments are"), "and that is said");
    let to = before["position"].to_string();
    let restored = json(&tool(folder.path(), &["restore", "--from", "data", "--to", &to, "--into", "restored", "--output", "json"]));
    assert_eq!(restored["state_hash"], before["state_hash"]);
    assert!(SegmentLog::open(&folder.path().join("restored/segments")).unwrap().files().count() == 2, "an epoch each");
    let (code, told, error) = doctor(folder.path(), &["--repair"]);
    assert_eq!((code, &told["log_db"]["state"]), (Some(0), &json!("whole")), "{error}");
    assert!(error.contains("log.db: positions 1 to") && error.contains("made anew"), "{error}");
    // A flip in a segment: for people.
    let file = crate::segments::segment_files(&folder.path().join("data")).remove(0);
    let mut bytes = fs::read(&file).unwrap();
    bytes[3000] ^= 1;
    fs::write(&file, bytes).unwrap();
    let output = tool(folder.path(), &["doctor", "--data", "data"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(1) && text.contains("damaged: 0000000001-") && text.contains("checksum is wrong"), "{text}");
    assert!(text.contains("make segments anew from the other copy, and serve") && text.contains("keyledger doctor --data data --repair"), "{text}");
    // A start does it by itself; both repairs are events.
    let server = start(folder.path(), "");
    drop(server);
    assert_eq!(doctor(folder.path(), &[]).0, Some(0));
    let aside = fs::read_dir(folder.path().join("data/segments"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".seg.damaged-1"));
    assert_eq!(aside.count(), 1);
}

#[test]
fn a_vault_of_before_gets_its_segments_at_its_first_start() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    assert_eq!(import(&server, 1), 200);
    let token = server.token.clone();
    drop(server);
    fs::remove_dir_all(folder.path().join("data/segments")).unwrap();
    let server = start(folder.path(), &token);
    let events = repaired(&server);
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].to_string().contains("there are none"), "{}", events[0]);
    drop(server);
    assert_eq!(doctor(folder.path(), &[]).0, Some(0));
}

#[test]
fn a_full_disk_beneath_a_server_is_said_and_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let token = server.token.clone();
    drop(server);
    let (mut limited, plain) = (Command::new("sh"), spawn(folder.path()));
    limited.env_clear().env("XDG_CONFIG_HOME", folder.path().join("config"));
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1600; exec \"$0\" \"$@\""]).arg(plain.get_program()).args(plain.get_args());
    let server = begin(&mut limited, &token);
    let acknowledged = (0..2000).take_while(|number| import(&server, *number) == 200).count();
    assert!((3..2000).contains(&acknowledged), "{acknowledged}");
    assert_eq!(server.call("GET", "/v1/health/ready").send().unwrap().status(), 503);
    drop(server);
    let (code, told, error) = doctor(folder.path(), &[]);
    assert_eq!(code, Some(0), "{told} {error}");
    let server = start(folder.path(), &token);
    let found = (0..acknowledged).filter(|number| {
        of_consumer(&server, "GET", "/vault/connections/crm/pipedrive", *number).send().unwrap().json::<Value>().unwrap()["data"]["state"] == "callable"
    });
    assert_eq!(found.count(), acknowledged);
    assert_eq!(import(&server, 5000), 200);
}

struct Loss {
    folder: tempfile::TempDir,
    clock: Arc<FixedClock>,
}

impl Loss {
    fn home(&self, seed: u64) -> Home {
        let root = self.folder.path().join("root.key");
        Home::new(self.folder.path().join("data"), Some(root), self.clock.clone(), Arc::new(FixedRandom::new(seed)))
    }

    async fn import(&self, vault: &Vault, token: &str, consumer: &str) {
        let owner = vault.authenticate(token).unwrap();
        let command = keyledger::vault::Command { principal: &owner, meta: Meta::default(), idempotency: None };
        let key = key(consumer, "pipedrive");
        vault.execute(&command, |given| plans::import(given, owner.tenant, &key, tokens(consumer), Changes::default())).await.unwrap();
    }
}

#[tokio::test]
async fn a_data_directory_that_was_rolled_back_refuses_until_the_loss_is_accepted() {
    let loss = Loss { folder: tempfile::tempdir().unwrap(), clock: Arc::new(FixedClock::at(crate::log_bench::START)) };
    let data = loss.folder.path().join("data");
    let token = String::from_utf8(loss.home(1).init().await.unwrap().owner_token.expose().to_vec()).unwrap();
    copy(&data, &loss.folder.path().join("earlier"));
    let (vault, lock) = loss.home(2).start().await.unwrap();
    let begun = vault.views().position();
    loss.import(&vault, &token, "lost").await;
    let snapshot = vault.snapshot().await.unwrap();
    let (tree, epoch, head) = (snapshot.index.tree(), snapshot.index.epoch().unwrap(), snapshot.views.position());
    let seed = vault.keyring().purpose(TenantId::SYSTEM, Purpose::Checkpoint).unwrap().key;
    let note = checkpoint::sign(vault.keyring().vault(), epoch, tree.size(), tree.root(), &seed);
    vault.shutdown().await;
    drop((vault, lock));
    // Rolled back, both copies; the checkpoint came back from elsewhere.
    fs::remove_dir_all(&data).unwrap();
    copy(&loss.folder.path().join("earlier"), &data);
    fs::write(data.join("checkpoint"), note).unwrap();
    let range = format!("positions {} to {head}", begun.next());
    // It is served for reading, and says what is missing.
    let (vault, lock) = loss.home(3).start().await.unwrap();
    let told = vault.lost().unwrap();
    assert!(told.contains(&head.to_string()), "{told}");
    vault.shutdown().await;
    drop((vault, lock));
    let root = loss.folder.path().join("root.key");
    let further = ["--root-key-file", root.to_str().unwrap()];
    let (code, told, error) = doctor(loss.folder.path(), &further);
    assert!(code == Some(1) && error.contains(&range), "{error}");
    assert_eq!((&told["missing"][0]["from"], &told["missing"][0]["through"]), (&json!(begun.next()), &json!(head)));
    assert!(told["next"].as_str().unwrap().contains("--accept-loss"));
    assert!(loss.home(4).read().is_ok(), "what is there can be read");
    // Cut short in its middle: a start does not pass it over.
    fs::write(data.join("loss.pending"), serde_json::to_vec(&json!({"from": begun.next(), "through": head, "cause": "a checkpoint"})).unwrap()).unwrap();
    assert!(loss.home(5).start().await.map(drop).unwrap_err().to_string().contains("cut short"));
    let (code, told, error) = doctor(loss.folder.path(), &[&further[..], &["--accept-loss"]].concat());
    assert_eq!(code, Some(0), "{told} {error}");
    assert!(data.join("checkpoint.lost-1").exists() && !data.join("loss.pending").exists());
    let (code, _, error) = doctor(loss.folder.path(), &[&further[..], &["--accept-loss"]].concat());
    assert!(code == Some(1) && error.contains("nothing that could be accepted is lost"), "{error}");
    // It goes on past what was lost, in an epoch of its own.
    let (vault, _lock) = loss.home(6).start().await.unwrap();
    let first = vault.log().fetch(&[head.next()]).await.unwrap();
    let header = first[0].header();
    assert_eq!((header.event_type.as_str(), header.epoch.number, header.causation), ("loss_accepted", 2, begun));
    loss.import(&vault, &token, "after").await;
    assert!(vault.views().position() > head.next());
    // Whoever checks the log from outside takes the cut as the vault tells it.
    let end = vault.views().position();
    let write = |name: &str, text: &str| fs::write(loss.folder.path().join(name), text).unwrap();
    write("key", &vault.verifier_key(end).await.unwrap().to_string());
    write("note", &vault.checkpoint(end).await.unwrap().note);
    write("events.jsonl", &crate::proofs::export(&vault).await);
    let verify = |what: [&str; 2]| tool(loss.folder.path(), &["audit", "verify", what[0], what[1], "--checkpoint", "note", "--key", "key"]);
    for what in [["--data", "data"], ["--file", "events.jsonl"]] {
        let done = verify(what);
        assert!(done.status.success(), "{what:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let (good, said) = crate::verifier::python(loss.folder.path(), &["export", "events.jsonl", "note", "key"]);
    assert!(good, "{said}");
}

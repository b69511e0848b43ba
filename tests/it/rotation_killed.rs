//! A real server that is killed (-9) while it rotates keys under load: the next start goes on, and everything that was acknowledged opens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use keyledger::kernel::VaultId;
use keyledger::keyring::{KeyFile, KeyringError, Mode, SqliteKeyring};
use serde_json::{Value, json};

use crate::fixed::FixedRandom;
use crate::served::{Server, client, start};

const KILLS: usize = 10;
const TENANTS: usize = 12;

/// Imports until the server is gone, or answers otherwise than it should; gives the names of those that were acknowledged.
fn load(server: &Server, run: usize, begun: &AtomicUsize, wrong: &AtomicUsize) -> Vec<String> {
    let (mut done, client) = (Vec::new(), client());
    for number in 0.. {
        let consumer = format!("c-{run}-{number}");
        let request = client.post(format!("{}/vault/connections/crm/pipedrive/import", server.base)).bearer_auth(&server.token);
        let request = request.header("x-apideck-app-id", "app").header("x-apideck-consumer-id", &consumer);
        let sent = request.json(&json!({"credentials": {"access_token": format!("token of {consumer}")}})).send();
        match sent.map(|answer| answer.status().as_u16()) {
            Ok(200) => done.push(consumer),
            Ok(status) => {
                wrong.store(usize::from(status), Ordering::SeqCst);
                return done;
            }
            Err(_) => return done,
        }
        begun.fetch_add(1, Ordering::SeqCst);
    }
    done
}

fn told(server: &Server, method: &str, path: &str, body: &Value) -> Value {
    let request = server.call(method, path);
    let answer = if body.is_null() { request } else { request.json(body) }.send().unwrap();
    assert_eq!(answer.status(), 200, "{method} {path}");
    answer.json().unwrap()
}

fn steady(keys: &Value) -> bool {
    keys["root"]["state"] == "steady" && keys["root"]["left"] == 0 && keys["tenants"].as_array().unwrap().iter().all(|tenant| tenant["state"] == "steady")
}

#[test]
fn a_server_that_is_killed_while_it_rotates_goes_on_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), "");
    for number in 0..TENANTS {
        assert_eq!(server.call("POST", "/v1/tenants").json(&json!({"name": format!("t-{number}")})).send().unwrap().status(), 201);
    }
    let mut acknowledged = Vec::new();
    for run in 0..KILLS {
        let (begun, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let pid = rustix::process::Pid::from_child(&server.child);
        thread::scope(|scope| {
            let loads = [run, 100 + run].map(|run| {
                scope.spawn({
                    let (server, begun, wrong) = (&server, &begun, &wrong);
                    move || load(server, run, begun, wrong)
                })
            });
            // Again and again, now the root key and now a tenant's, until the kill comes.
            let rotations = scope.spawn(|| {
                for turn in run.. {
                    let body = if turn % 2 == 0 { json!({"root": true}) } else { json!({"tenant": "default"}) };
                    let Ok(answer) = server.call("POST", "/v1/keys/rotate").json(&body).send() else { return };
                    if answer.status() != 200 {
                        wrong.store(usize::from(answer.status().as_u16()), Ordering::SeqCst);
                        return;
                    }
                }
            });
            while begun.load(Ordering::SeqCst) < 7 + run * 3 && wrong.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            rotations.join().unwrap();
            for load in loads {
                acknowledged.extend(load.join().unwrap());
            }
        });
        assert_eq!(wrong.load(Ordering::SeqCst), 0, "an answer while keys are rotated");
        let token = server.token.clone();
        drop(server);
        server = start(folder.path(), &token);
        // What was cut short is under way again, or done: this waits for its end.
        let mut keys = told(&server, "GET", "/v1/keys", &Value::Null);
        for _ in 0..10_000 {
            if steady(&keys) {
                break;
            }
            keys = told(&server, "GET", "/v1/keys", &Value::Null);
        }
        assert!(steady(&keys), "{keys}");
    }
    assert!(acknowledged.len() >= KILLS * 7);
    let credentials: Vec<Value> = pages(&server);
    for consumer in acknowledged {
        let credential = credentials.iter().find(|credential| credential["connection"]["consumer"] == consumer.as_str()).unwrap();
        let wanted = json!({"credential": credential["id"], "secret": "access_token", "reason": "a test"});
        assert_eq!(told(&server, "POST", "/v1/secrets/reveal", &wanted)["value"], format!("token of {consumer}"));
    }
    former_roots_open_nothing(folder.path());
}

fn pages(server: &Server) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = told(server, "GET", &format!("/v1/credentials?kind=connection&limit=200{cursor}"), &Value::Null);
        all.extend(page["data"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

fn former_roots_open_nothing(folder: &std::path::Path) {
    let config = folder.join("config/keyledger");
    let (mut former, mut present) = (0, 0);
    for entry in std::fs::read_dir(&config).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let opened = SqliteKeyring::open(&folder.join("data"), &KeyFile::at(path), Mode::Read, 1, Arc::new(FixedRandom::new(1)));
        match opened {
            Ok(_) => {
                assert!(!name.contains(".old"), "{name}");
                present += 1;
            }
            Err(KeyringError::WrongRootKey) => {
                assert!(name.contains(".key.old"), "{name}");
                former += 1;
            }
            Err(other) => panic!("{name}: {other}"),
        }
    }
    assert!(present == 1 && former > 0, "{former} former keys");
    assert_ne!(SqliteKeyring::vault_at(&folder.join("data")).unwrap(), VaultId::default());
}

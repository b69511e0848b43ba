//! Shreds and backups as an operator meets them: a real server that makes backups, the verbs by hand, kill -9 and a full disk.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use keyledger::kernel::*;
use keyledger::seal::merkle::Frontier;
use keyledger::server::Home;
use keyledger::views::{Opener, Views, catch_up};
use serde_json::{Value, json};

use crate::backup_bench::names;
use crate::fixed::FixedRandom;
use crate::keyring::wrapped;
use crate::served::{Server, client, start, start_with};
use crate::vault_bench::key;

fn import(server: &Server, consumer: &str) {
    let request = client().post(format!("{}/vault/connections/crm/pipedrive/import", server.base)).bearer_auth(&server.token);
    let request = request.header("x-apideck-app-id", "app").header("x-apideck-consumer-id", consumer);
    let answer = request.json(&json!({"credentials": {"access_token": format!("token of {consumer}"), "refresh_token": "another"}})).send().unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().unwrap());
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    verb(folder, arguments).output().unwrap()
}

fn verb(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    command.current_dir(folder).env_clear().env("XDG_CONFIG_HOME", folder.join("config")).args(arguments);
    command
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// As another reader of the data directory sees it: the connections of consumers, and the wrapped keys of all that is of each.
fn looked_at(folder: &Path, consumers: &[&str]) -> BTreeMap<String, (StreamId, Vec<Vec<u8>>)> {
    let data = folder.join("data");
    let root = folder.join("config/keyledger").join(&names(&folder.join("config/keyledger"))[0]);
    let reading = Home::new(data.clone(), Some(root), Arc::new(SystemClock), Arc::new(FixedRandom::new(1))).read().unwrap();
    let (opener, head) = (Opener::new(reading.keyring.clone()), *reading.log.head().borrow());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut views, mut tree) = (Views::default(), Frontier::default());
    runtime.block_on(catch_up(&mut views, &mut tree, &*reading.log, &opener, head, &|_| ())).unwrap();
    let all = runtime.block_on(reading.log.read(Position::ZERO, 4096)).unwrap();
    let tenant = views.tenant("default").unwrap();
    let of = |consumer: &&str| {
        let connection = views.connection(tenant, &key(consumer, "pipedrive")).unwrap();
        let person = views.consumer(tenant, "app", consumer).unwrap();
        let own = all.iter().map(keyledger::seal::Record::header).filter(|header| [connection, person].contains(&header.stream));
        let keys: Vec<Vec<u8>> = own
            .flat_map(|header| header.secrets.iter().map(|secret| secret.key).chain([header.facts_key]).collect::<Vec<_>>())
            .map(|key| wrapped(&data, key))
            .collect();
        ((*consumer).to_owned(), (connection, keys))
    };
    consumers.iter().map(of).collect()
}

/// The files below a directory that hold any of these. Files come and go while a server runs.
fn found(folder: &Path, wraps: &[Vec<u8>]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(self::found(&path, wraps));
            continue;
        }
        let bytes = fs::read(&path).unwrap_or_default();
        let firsts: HashSet<u8> = wraps.iter().map(|wrap| wrap[0]).collect();
        let holds = |at: usize| wraps.iter().any(|wrap| bytes[at..].starts_with(&wrap[..24]));
        found.extend((0..bytes.len()).filter(|at| firsts.contains(&bytes[*at])).any(holds).then_some(path));
    }
    found
}

fn shred(server: &Server, body: &Value) {
    let answer = server.call("POST", "/v1/shred").json(body).send().unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().unwrap());
}

/// Looks until it is so; each look takes its time.
fn until(what: &str, is_so: impl Fn() -> bool) {
    assert!(
        (0..2000).any(|_| is_so() || {
            std::thread::yield_now();
            false
        }),
        "{what}"
    );
}

fn backups(folder: &Path) -> Vec<PathBuf> {
    let below = folder.join("backups");
    names(&below).into_iter().filter(|name| !name.starts_with('.')).map(|name| below.join(name)).filter(|path| path.join("manifest.json").exists()).collect()
}

#[test]
fn a_server_takes_what_it_shreds_out_of_its_backups_at_once_or_at_its_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("backups").display().to_string();
    let flags = ["--backup-to", &to, "--backup-every", "1h"];
    let server = start_with(folder.path(), "", &flags);
    for consumer in ["leaky", "gone", "acme", "kept", "late"] {
        import(&server, consumer);
    }
    // The first one was made at the start; this one, by hand, holds all of them.
    until("the first backup", || !backups(folder.path()).is_empty());
    let made = json_of(&run(folder.path(), &["backup", "create", "--data", "data", "--to", "backups", "--output", "json"]));
    let looked = looked_at(folder.path(), &["leaky", "gone", "acme", "kept", "late"]);
    let died: Vec<Vec<u8>> = ["gone", "acme"].iter().flat_map(|name| looked[*name].1.clone()).collect();
    let gone = looked["gone"].0.to_string();
    let person = looked_at(folder.path(), &["gone"])["gone"].1.clone();
    assert!(found(&folder.path().join("data"), &died).len() == 2 && found(&folder.path().join("backups"), &died).len() == 2);
    shred(&server, &json!({"credential": looked["leaky"].0.to_string(), "secret": "access_token", "reason": "it leaked", "confirm": "access_token"}));
    shred(&server, &json!({"thing": gone, "reason": "a test", "confirm": gone}));
    shred(&server, &json!({"app": "app", "consumer": "gone", "reason": "what is left of it", "confirm": "gone"}));
    shred(&server, &json!({"app": "app", "consumer": "acme", "reason": "art. 17", "confirm": "acme"}));
    until("the keys are in no file of the vault and of its backups", || found(folder.path(), &died).is_empty());
    assert!(found(folder.path(), &person).is_empty() && !found(folder.path(), &looked["kept"].1).is_empty());
    // Killed right after a shred: the next start makes up for it.
    let late = looked["late"].0.to_string();
    let mut server = server;
    shred(&server, &json!({"thing": late, "reason": "a test", "confirm": late}));
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let connection: Vec<Vec<u8>> = looked["late"].1.iter().filter(|wrap| found(&folder.path().join("data"), &[(*wrap).clone()]).is_empty()).cloned().collect();
    assert!(!connection.is_empty());
    let server = start_with(folder.path(), &server.token, &flags);
    until("what was shredded before the kill", || found(folder.path(), &connection).is_empty());
    assert!(server.call("GET", "/v1/health/ready").send().unwrap().text().unwrap().find("still hold").is_none());
    drop(server);
    for backup in backups(folder.path()) {
        let verified = json_of(&run(folder.path(), &["backup", "verify", &backup.display().to_string(), "--output", "json"]));
        if made["backup"] == json!(backup) {
            assert_eq!(verified["skipped_streams"], 5, "{verified}");
        }
    }
    let restored = json_of(&run(folder.path(), &["restore", "--from", made["backup"].as_str().unwrap(), "--into", "new", "--output", "json"]));
    assert_eq!(restored["skipped_streams"], 5);
    assert!(run(folder.path(), &["audit", "verify", "--data", "new"]).status.success());
    assert!(run(folder.path(), &["replay", "--data", "new"]).status.success());
    assert!(found(&folder.path().join("new"), &died).is_empty());
}

/// Runs a verb and kills it when something is there; whether it came before its end.
fn killed_when(folder: &Path, arguments: &[&str], is_there: impl Fn() -> bool) -> bool {
    let mut child = verb(folder, arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !is_there() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    let came = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    came
}

/// Whether a hidden directory below holds a name that ends so.
fn holds(folder: &Path, hidden: bool, name: &str) -> bool {
    let there =
        |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>();
    let within = there(folder).into_iter().filter(|found| !hidden || found.ends_with(".partial"));
    within.into_iter().any(|found| found == name || there(&folder.join(found)).iter().any(|found| found == name))
}

#[test]
fn the_verbs_take_shreds_into_backups_elsewhere_through_kills_and_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let server = start(path, "");
    for consumer in ["one", "two", "kept"] {
        import(&server, consumer);
    }
    let create = |to: &str| json_of(&run(path, &["backup", "create", "--data", "data", "--to", to, "--output", "json"]));
    let made = create("elsewhere")["backup"].as_str().unwrap().to_owned();
    let looked = looked_at(path, &["one", "two", "kept"]);
    let tell = || run(path, &["backup", "shred", "--data", "data", "elsewhere", "--output", "json"]);
    assert_eq!(json_of(&tell())["fate"], "current");
    shred(&server, &json!({"app": "app", "consumer": "one", "reason": "a test", "confirm": "one"}));
    // A disk that is full in the middle: an error that names what lacks room, and the backup is as it was.
    let full = |limit: u32, arguments: &str| {
        let text = format!("trap '' XFSZ; ulimit -f {limit}; exec {} {arguments}", env!("CARGO_BIN_EXE_keyledger"));
        let mut shell = Command::new("sh");
        shell.current_dir(path).env_clear().env("XDG_CONFIG_HOME", path.join("config")).args(["-c", &text]).output().unwrap()
    };
    let verify = || json_of(&run(path, &["backup", "verify", &made, "--output", "json"]));
    for limit in [0, 8, 40] {
        let failed = full(limit, "backup shred --data data elsewhere");
        assert_eq!(failed.status.code(), Some(1), "{limit}: {}", String::from_utf8_lossy(&failed.stdout));
        assert!(String::from_utf8_lossy(&failed.stdout).contains("not changed"), "{limit}: {}", String::from_utf8_lossy(&failed.stdout));
        assert_eq!(names(Path::new(&made)), ["keyring-copy.db", "keyring.db", "manifest.json", "segments", "states"], "{limit}");
        assert_eq!(verify()["skipped_streams"], 0, "{limit}");
    }
    // Killed where it can be: it is a backup all the time.
    let backup = PathBuf::from(&made);
    let arguments = ["backup", "shred", "--data", "data", "elsewhere"];
    let mut came = 0;
    for name in ["shredded-1", "keyring-copy.db", "shreds", "states"] {
        came += u32::from(killed_when(path, &arguments, || holds(&backup, false, name) && backup.join("shredded-1").exists()));
        verify();
    }
    assert!(came > 0, "none was killed in its middle");
    let told = json_of(&tell());
    assert!(["current", "forgot"].contains(&told["fate"].as_str().unwrap()), "{told}");
    assert!(found(&path.join("elsewhere"), &looked["one"].1).is_empty() && !found(&path.join("elsewhere"), &looked["kept"].1).is_empty());
    assert_eq!(verify()["skipped_streams"], 2);
    // Another backup in the same place brings them along.
    shred(&server, &json!({"app": "app", "consumer": "two", "reason": "a test", "confirm": "two"}));
    let next = create("elsewhere");
    assert_eq!((&next["backups_that_forgot"], &next["backups_that_remember"]), (&json!(1), &json!(0)));
    assert!(found(&path.join("elsewhere"), &looked["two"].1).is_empty());
    assert_eq!(verify()["skipped_streams"], 4);
    // One that cannot be read is named, and the exit code says so.
    fs::write(backup.join("manifest.json"), "{").unwrap();
    let failed = tell();
    assert!(failed.status.code() == Some(1) && String::from_utf8_lossy(&failed.stdout).contains("remembers"));
}

#[test]
fn a_restore_from_a_backup_that_is_killed_leaves_nothing_half_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let server = start(path, "");
    for consumer in 0..20 {
        import(&server, &format!("c{consumer}"));
    }
    drop(server);
    let made = json_of(&run(path, &["backup", "create", "--data", "data", "--to", "backups", "--output", "json"]));
    let backup = made["backup"].as_str().unwrap();
    let arguments = ["restore", "--from", backup, "--into", "new"];
    let mut came = 0;
    for name in ["lock", "keyring.db", "keyring-copy.db", "log.db", "log.db-wal", "segments", "new"] {
        came += u32::from(killed_when(path, &arguments, || holds(path, name != "new", name)));
        if path.join("new").exists() {
            let replayed = json_of(&run(path, &["replay", "--data", "new", "--to", &made["position"].to_string(), "--output", "json"]));
            assert_eq!(replayed["state_hash"], made["state_hash"], "{name}: what stands there is whole");
            fs::remove_dir_all(path.join("new")).unwrap();
        }
    }
    assert!(came >= 3, "only {came} were killed in their middle");
    let restored = json_of(&run(path, &["restore", "--from", backup, "--into", "new", "--output", "json"]));
    for field in ["position", "merkle_root", "state_hash"] {
        assert_eq!(restored[field], made[field], "{field}");
    }
    assert!(names(path).iter().all(|name| !name.contains("partial")), "what the killed ones left was swept: {:?}", names(path));
    json_of(&run(path, &["backup", "verify", backup, "--output", "json"]));
}

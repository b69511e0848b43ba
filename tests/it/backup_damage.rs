//! Backups that are not what they say, and tries that end in the middle: a clear error that names the file, and nothing half done.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use keyledger::server::Until;
use keyledger::views::States;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::backup_bench::{Old, import, names};

/// A copy of a directory, in which every file may be changed.
pub fn copy(from: &Path, into: &Path) {
    fs::create_dir_all(into).unwrap();
    for name in names(from) {
        let (from, into) = (from.join(&name), into.join(&name));
        if from.is_dir() {
            copy(&from, &into);
        } else {
            fs::write(&into, fs::read(&from).unwrap()).unwrap();
        }
    }
}

fn segments(backup: &Path) -> Vec<PathBuf> {
    let folder = backup.join("segments");
    names(&folder).into_iter().map(|name| folder.join(name)).collect()
}

pub fn change(path: &Path, with: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    with(&mut bytes);
    fs::write(path, bytes).unwrap();
}

pub fn manifest(backup: &Path, with: impl Fn(&mut Value)) {
    let path = backup.join("manifest.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    with(&mut value);
    fs::write(&path, value.to_string()).unwrap();
}

/// Writes the list of files anew, as somebody would who wants damage to pass.
pub fn relist(backup: &Path) {
    let below = |folder: &str| names(&backup.join(folder)).into_iter().map(move |name| format!("{folder}{name}")).collect::<Vec<_>>();
    let folders = below("").into_iter().filter(|name| backup.join(name).is_dir()).flat_map(|name| below(&format!("{name}/")));
    let all: Vec<String> = below("").into_iter().chain(folders).filter(|name| !backup.join(name).is_dir() && name != "manifest.json").collect();
    let held = |name: &String| {
        let bytes = fs::read(backup.join(name)).unwrap();
        json!({"name": name, "size": bytes.len(), "sha256": base16ct::lower::encode_string(&<[u8; 32]>::from(Sha256::digest(&bytes)))})
    };
    let files: Vec<Value> = all.iter().map(held).collect();
    manifest(backup, |value| value["files"] = json!(files));
}

fn swap(one: &Path, other: &Path) {
    let (first, second) = (fs::read(one).unwrap(), fs::read(other).unwrap());
    fs::write(one, second).unwrap();
    fs::write(other, first).unwrap();
}

fn flip(bytes: &mut [u8], share: usize) {
    let at = bytes.len() * share / 100;
    bytes[at] ^= 1;
}

type Damage = (&'static str, fn(&Path, &Path), &'static str);

/// What is done to a backup (another vault's is given, too), and what the error says.
const DAMAGE: [Damage; 34] = [
    ("a flip in a segment", |backup, _| change(&segments(backup)[0], |bytes| flip(bytes, 50)), ".seg: it is damaged"),
    ("a flip in a header", |backup, _| change(&segments(backup)[1], |bytes| flip(bytes, 0)), ".seg: it is damaged"),
    ("a segment cut short", |backup, _| change(&segments(backup)[1], |bytes| bytes.truncate(bytes.len() - 1)), ".seg: it has"),
    ("a longer segment", |backup, _| change(&segments(backup)[1], |bytes| bytes.push(0)), ".seg: it has"),
    ("an empty segment", |backup, _| change(&segments(backup)[1], Vec::clear), ".seg: it has 0 bytes"),
    ("no first segment", |backup, _| fs::remove_file(&segments(backup)[0]).unwrap(), ".seg: it is in the manifest, and it is missing"),
    ("no last segment", |backup, _| fs::remove_file(segments(backup).last().unwrap()).unwrap(), "it is missing"),
    ("no segments", |backup, _| fs::remove_dir_all(backup.join("segments")).unwrap(), "it is missing"),
    ("swapped segments", |backup, _| swap(&segments(backup)[0], &segments(backup)[1]), ".seg: it "),
    (
        "a foreign segment",
        |backup, other| {
            fs::copy(&segments(other)[1], backup.join("segments/0000000009-00000000000000000001.seg")).unwrap();
        },
        "it is not in the manifest",
    ),
    ("another vault's segment", |backup, other| fs::write(&segments(backup)[0], fs::read(&segments(other)[0]).unwrap()).unwrap(), ".seg: it "),
    ("a flip in the keyring", |backup, _| change(&backup.join("keyring.db"), |bytes| flip(bytes, 50)), "keyring.db: it is damaged"),
    ("no keyring", |backup, _| fs::remove_file(backup.join("keyring.db")).unwrap(), "keyring.db: it is in the manifest, and it is missing"),
    ("no copy of the keyring", |backup, _| fs::remove_file(backup.join("keyring-copy.db")).unwrap(), "keyring-copy.db"),
    ("a keyring cut short", |backup, _| change(&backup.join("keyring-copy.db"), |bytes| bytes.truncate(4096)), "keyring-copy.db: it has 4096 bytes"),
    (
        "both files of the keyring",
        |backup, _| ["keyring.db", "keyring-copy.db"].iter().for_each(|name| change(&backup.join(name), |bytes| flip(bytes, 50))),
        "keyring.db: it is damaged",
    ),
    ("a manifest that is no JSON", |backup, _| change(&backup.join("manifest.json"), |bytes| bytes.truncate(100)), "manifest.json"),
    ("another format", |backup, _| manifest(backup, |value| value["format"] = json!("keyledger backup 2")), "manifest.json: its format"),
    ("a further member", |backup, _| manifest(backup, |value| value["further"] = json!(1)), "manifest.json: unknown field"),
    ("another position", |backup, _| manifest(backup, |value| value["position"] = json!(70)), "manifest.json: its segments end"),
    ("another number of records", |backup, _| manifest(backup, |value| value["records"] = json!(70)), "manifest.json: its signed checkpoint"),
    ("another root", |backup, _| manifest(backup, |value| value["merkle_root"] = json!("ab".repeat(32))), "manifest.json: its signed checkpoint"),
    ("another state", |backup, _| manifest(backup, |value| value["state_hash"] = json!("ab".repeat(32))), "manifest.json: the state"),
    ("a flip in the states", |backup, _| change(&backup.join("states"), |bytes| flip(bytes, 50)), "states: it is damaged"),
    (
        "a flip in the states with a list made anew",
        |backup, _| {
            change(&backup.join("states"), |bytes| flip(bytes, 50));
            relist(backup);
        },
        "manifest.json: the state hash",
    ),
    (
        "other states, with all that is said of them made anew",
        |backup, _| {
            change(&backup.join("states"), |bytes| flip(bytes, 99));
            let states = States::from_bytes(&fs::read(backup.join("states")).unwrap()).unwrap();
            manifest(backup, |value| value["state_hash"] = json!(base16ct::lower::encode_string(&states.hash().hash)));
            relist(backup);
        },
        "manifest.json: the state that its log folds to",
    ),
    ("another epoch", |backup, _| manifest(backup, |value| value["epoch"]["number"] = json!(2)), "manifest.json: its signed checkpoint"),
    ("another vault", |backup, _| manifest(backup, |value| value["vault"] = json!("00".repeat(16))), "keyring.db: it is of vault"),
    (
        "a file twice",
        |backup, _| {
            manifest(backup, |value| {
                let first = value["files"][0].clone();
                value["files"].as_array_mut().unwrap().push(first);
            });
        },
        "manifest.json: it names a file twice",
    ),
    (
        "damage with a list made anew",
        |backup, _| {
            change(&segments(backup)[0], |bytes| flip(bytes, 50));
            relist(backup);
        },
        "the log is damaged",
    ),
    (
        "a last segment away with a list made anew",
        |backup, _| {
            fs::remove_file(segments(backup).last().unwrap()).unwrap();
            relist(backup);
        },
        "its segments end at position",
    ),
    (
        "a first segment away with a list made anew",
        |backup, _| {
            fs::remove_file(&segments(backup)[0]).unwrap();
            relist(backup);
        },
        "the files before it are missing",
    ),
    (
        "a middle segment away with a list made anew",
        |backup, _| {
            fs::remove_file(&segments(backup)[1]).unwrap();
            relist(backup);
        },
        "it does not go on",
    ),
    (
        "another vault's keyring with a list made anew",
        |backup, other| {
            for name in ["keyring.db", "keyring-copy.db"] {
                fs::copy(other.join(name), backup.join(name)).unwrap();
            }
            relist(backup);
        },
        "keyring.db: it is of vault",
    ),
];

/// A backup of three segments, whole.
async fn backup(old: &Old) -> PathBuf {
    let (vault, _lock) = old.home("old", 2).start().await.unwrap();
    let owner = vault.authenticate(&old.token).unwrap();
    for number in 0..3_u64 {
        old.clock.pass(2 * 3_600_000);
        import(&vault, &owner, &format!("c{number}"), "a token").await;
    }
    old.home("old", 10).back_up(&old.path("backups"), None, &|_, _, _| ()).await.unwrap().folder
}

/// Of these, one file of the keyring is whole.
const ONE_KEYRING: [&str; 4] = ["a flip in the keyring", "no keyring", "no copy of the keyring", "a keyring cut short"];

#[tokio::test]
async fn whatever_is_wrong_with_a_backup_is_named_and_nothing_is_made_of_it() {
    let (old, other) = (Old::new().await, Old::seeded(900).await);
    let (whole, foreign) = (backup(&old).await, backup(&other).await);
    assert!(segments(&whole).len() >= 3);
    for (number, (what, damage, says)) in (0_u64..).zip(DAMAGE) {
        let damaged = old.path("damaged");
        copy(&whole, &damaged);
        damage(&damaged, &foreign);
        let home = old.home_at(damaged.clone(), 100 + number);
        let restored = home.restore(Until::End, &old.path("new"), &|_, _, _| ()).await;
        if ONE_KEYRING.contains(&what) {
            // The other file holds the same; only a rehearsal says so.
            assert!(restored.is_ok(), "{what}: {restored:?}");
            fs::remove_dir_all(old.path("new")).unwrap();
        } else {
            let error = restored.map(drop).unwrap_err().to_string();
            assert!(error.contains(says), "{what}: {error}");
        }
        let error = home.verify_backup(None, &|_, _, _| ()).await.map(drop).unwrap_err().to_string();
        assert!(error.contains(says), "{what}: {error}");
        assert_eq!(names(old.folder.path()), ["backups", "damaged", "old", "root.key"], "{what}");
        fs::remove_dir_all(&damaged).unwrap();
    }
    // Nobody serves a backup by mistake: that would change it.
    let refused = old.home_at(whole.clone(), 199).start().await.map(drop).unwrap_err();
    assert!(refused.to_string().contains("it is a backup"), "{refused}");
    // Without its manifest it is no backup, and with another root key it stays shut.
    copy(&whole, &old.path("damaged"));
    fs::remove_file(old.path("damaged/manifest.json")).unwrap();
    let home = old.home("damaged", 200);
    assert!(home.verify_backup(None, &|_, _, _| ()).await.unwrap_err().to_string().contains("it has no manifest.json"));
    change(&old.path("root.key"), |bytes| {
        let place = bytes.len() - 20;
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
    });
    let error = old.home_at(whole, 201).restore(Until::End, &old.path("new"), &|_, _, _| ()).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("root key does not open"), "{error}");
    assert!(!old.path("new").exists());
}

fn keyledger(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    command.current_dir(folder).env_clear().env("XDG_CONFIG_HOME", folder.join("config")).args(arguments);
    command
}

#[test]
fn the_verbs_leave_nothing_half_done_when_killed_or_on_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| keyledger(folder.path(), arguments).output().unwrap();
    let json = |output: std::process::Output| -> Value {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert!(run(&["init", "--data", "old"]).status.success());
    let whole = |name: &str| json(run(&["backup", "verify", name, "--output", "json"]));
    // Killed at once, or a little later, or not before its end.
    for pause in [0, 10, 40, 90, 150] {
        let mut child = keyledger(folder.path(), &["backup", "create", "--data", "old", "--to", "killed"]);
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(pause));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let made = json(run(&["backup", "create", "--data", "old", "--to", "killed", "--output", "json"]));
    for name in names(&folder.path().join("killed")) {
        assert!(!name.contains("partial"), "what the killed ones left was swept: {name}");
        whole(&format!("killed/{name}"));
    }
    // No file may grow beyond this, in units of 512 bytes or 1 KiB: as on a disk that is full.
    let full = |limit: u32, arguments: &str| {
        let text = format!("trap '' XFSZ; ulimit -f {limit}; exec {} {arguments}", env!("CARGO_BIN_EXE_keyledger"));
        let mut shell = Command::new("sh");
        shell.current_dir(folder.path()).env_clear().env("XDG_CONFIG_HOME", folder.path().join("config")).args(["-c", &text]).output().unwrap()
    };
    let backup = made["backup"].as_str().unwrap();
    let (before, earlier) = (names(folder.path()), names(&folder.path().join("killed")));
    let says = |output: &std::process::Output| ["too large", "full", "disk I/O"].iter().any(|cause| String::from_utf8_lossy(&output.stderr).contains(cause));
    for limit in [1, 8, 40] {
        let into = format!("full{limit}");
        assert!(!full(limit, &format!("backup create --data old --to {into}")).status.success(), "{limit}");
        assert!(names(&folder.path().join(&into)).is_empty(), "{limit}: {:?}", names(&folder.path().join(&into)));
        fs::remove_dir(folder.path().join(&into)).unwrap();
        // Beside an earlier one, which stays whole.
        let failed = full(limit, "backup create --data old --to killed");
        assert!(!failed.status.success() && says(&failed), "{limit}: {}", String::from_utf8_lossy(&failed.stderr));
        let failed = full(limit, &format!("restore --from {backup} --into new"));
        assert!(!failed.status.success() && says(&failed), "{limit}: {}", String::from_utf8_lossy(&failed.stderr));
        assert_eq!((names(folder.path()), names(&folder.path().join("killed"))), (before.clone(), earlier.clone()), "{limit}");
        whole(backup);
    }
    // On a new machine: the backup, the key, and two commands.
    let restored = json(run(&["restore", "--from", backup, "--into", "new", "--output", "json"]));
    for field in ["position", "merkle_root", "state_hash"] {
        assert_eq!(restored[field], made[field], "{field}");
    }
    assert_eq!(whole(backup)["recorded"], false);
    assert_eq!(json(run(&["backup", "verify", backup, "--record", "old", "--output", "json"]))["recorded"], true);
    assert!(json(run(&["replay", "--data", "old", "--output", "json"]))["position"].as_u64() > made["position"].as_u64());
    let listed = run(&["backup", "list", "--in", "killed"]);
    assert!(listed.status.success() && String::from_utf8_lossy(&listed.stdout).contains("position"));
    assert_eq!(run(&["serve", "--backup-every", "5x", "--backup-to", "killed"]).status.code(), Some(2));
}

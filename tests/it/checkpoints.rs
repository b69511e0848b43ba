//! What a vault says of its log each second, where it goes, and that a start finds out whoever changes the log afterwards.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use keyledger::egress::{Egress, Policy};
use keyledger::jobs::{ANCHOR_LIMITS, AnchorError, AnchorFile, Checkpoints, Post, post_one, read_newest, write_newest};
use keyledger::kernel::{Epoch, Moment, VaultId};
use keyledger::log::SubmitError;
use keyledger::seal::Key;
use keyledger::seal::checkpoint::{sign, verify};
use keyledger::vault::{Vault, VaultError, plans};
use serde_json::Value;

use crate::proofs::restored;
use crate::restore::{Old, import};
use crate::served::{Server, start_with};
use crate::webhook_bench::{Endpoint, status};

fn notes(path: &Path, vault: &Vault) -> Vec<u64> {
    let (good, bad) = AnchorFile::at(path.to_owned()).read(&vault.public_key()).unwrap();
    assert_eq!(bad, []);
    good.iter().map(|anchor| anchor.checkpoint.size).collect()
}

#[tokio::test]
async fn a_log_that_grows_is_written_down_and_one_that_stands_still_is_not() {
    let old = Old::new().await;
    let (vault, _lock) = old.home("old", 2).start().await.unwrap();
    let vault = Arc::new(vault);
    let owner = vault.authenticate(&old.token).unwrap();
    let (newest, anchors) = (Checkpoints::path(&old.path("old")), old.path("anchors"));
    let file = AnchorFile::open(&anchors, &old.path("old")).unwrap();
    let mut job = Checkpoints::new(Arc::clone(&vault), old.clock.clone(), newest.clone()).anchored(Some(file));
    let outgoing = job.outgoing();
    let size = || verify(&read_newest(&newest).unwrap().unwrap(), &vault.public_key()).unwrap().size;
    job.look().await;
    let begun = vault.views().position().0;
    assert_eq!((size(), notes(&anchors, &vault)), (begun, vec![begun]));
    job.look().await;
    assert_eq!(notes(&anchors, &vault), [begun], "it has not grown");
    let at = import(&vault, &owner, "a", "t").await;
    fs::remove_file(&newest).unwrap();
    job.look().await;
    assert_eq!((size(), notes(&anchors, &vault)), (at.0, vec![begun, at.0]));
    let text = outgoing.borrow().clone().unwrap();
    assert_eq!(verify(&text, &vault.public_key()).unwrap().size, at.0);
    assert!(!newest.with_extension("partial").exists());
}

#[tokio::test]
async fn a_restored_vault_tells_no_anchor_anything_until_it_is_resumed() {
    let (old, vault, _lock, _, _) = restored().await;
    let (vault, anchors) = (Arc::new(vault), old.path("anchors"));
    let file = AnchorFile::open(&anchors, &old.path("new")).unwrap();
    let mut job = Checkpoints::new(Arc::clone(&vault), old.clock.clone(), Checkpoints::path(&old.path("new"))).anchored(Some(file));
    job.look().await;
    assert!(Checkpoints::path(&old.path("new")).exists(), "its own directory is no outside");
    assert_eq!((notes(&anchors, &vault), job.outgoing().borrow().clone()), (vec![], None));
    let owner = vault.authenticate(&old.token).unwrap();
    vault.resume(&owner, keyledger::credentials::Meta::default()).await.unwrap();
    job.look().await;
    assert_eq!(notes(&anchors, &vault).len(), 1);
    assert!(job.outgoing().borrow().is_some());
}

#[test]
fn an_anchor_file_lies_outside_the_data_directory_by_whatever_path() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir_all(data.join("deep")).unwrap();
    std::os::unix::fs::symlink(&data, folder.path().join("link")).unwrap();
    fs::write(data.join("there"), "").unwrap();
    std::os::unix::fs::symlink(data.join("there"), folder.path().join("file")).unwrap();
    let inside = |path: &str| matches!(AnchorFile::open(&folder.path().join(path), &data), Err(AnchorError::Inside(_)));
    for path in ["data/anchors", "data/deep/anchors", "link/anchors", "link/../data/anchors", "file"] {
        assert!(inside(path), "{path}");
    }
    assert!(!data.join("anchors").exists() && !data.join("deep/anchors").exists(), "nothing was made there");
    assert!(AnchorFile::open(&folder.path().join("anchors"), &data).is_ok());
    assert!(AnchorFile::open(&folder.path().join("data-anchors"), &data).is_ok(), "a longer name is another directory");
    assert!(matches!(AnchorFile::open(&folder.path().join("no/folder"), &data), Err(AnchorError::Io { .. })));
}

#[test]
fn lines_that_are_no_anchors_are_told_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (path, seed) = (folder.path().join("anchors"), Key::new([5; 32]));
    let (file, epoch) = (AnchorFile::at(path.clone()), Epoch { number: 1, id: [1; 16] });
    let note = |size, seed: &Key| sign(VaultId([1; 16]), epoch, size, [9; 32], seed);
    let at = Moment::from_millis(1000);
    file.append(at, &note(1, &seed)).unwrap();
    file.append(at, &note(2, &Key::new([6; 32]))).unwrap();
    file.append(at, &note(3, &seed).replace("\n3\n", "\n4\n")).unwrap();
    fs::write(&path, fs::read_to_string(&path).unwrap() + "nonsense\n\n" + "{\"at\":\"2026-").unwrap();
    file.append(at, &note(5, &seed)).unwrap();
    fs::write(&path, fs::read_to_string(&path).unwrap() + "{\"at\":\"2026-").unwrap();
    let (good, bad) = file.read(&keyledger::seal::checkpoint::public_key(&seed)).unwrap();
    assert_eq!(good.iter().map(|anchor| (anchor.line, anchor.checkpoint.size)).collect::<Vec<_>>(), [(1, 1), (7, 5)]);
    let told: Vec<String> = bad.iter().map(ToString::to_string).collect();
    let starts = ["holds a checkpoint of another vault", "holds no checkpoint of this vault", "is no anchor", "is no anchor", "is no anchor", "was cut short"];
    for ((told, start), line) in told.iter().zip(starts).zip([2, 3, 4, 5, 6, 8]) {
        assert!(told.starts_with(&format!("line {line} of the anchor file {start}")), "{told}");
    }
    assert_eq!(told.len(), starts.len());
}

#[tokio::test]
async fn a_url_is_sent_the_newest_checkpoint_and_again_where_it_fails() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let old = Old::new().await;
    let (vault, _lock) = old.home("old", 2).start().await.unwrap();
    let endpoint = Endpoint::start().await;
    let door = |allowed: &str| Egress::new(Policy { allowed: vec![allowed.parse().unwrap()] }, ANCHOR_LIMITS);
    let mut post = Post::new(door("127.0.0.0/8"), endpoint.url()).unwrap();
    let note = |text: &str| -> Arc<str> { text.into() };
    let at = Moment::from_millis;
    endpoint.next([status(500), status(503), status(200)]);
    assert!(!post_one(&vault, &mut post, &note("one"), at(0)).await);
    assert!(vault.warnings().iter().any(|warning| warning.contains("status 500")), "{:?}", vault.warnings());
    assert!(!post_one(&vault, &mut post, &note("one"), at(999)).await, "it waits");
    assert_eq!(endpoint.take().len(), 1);
    assert!(!post_one(&vault, &mut post, &note("two"), at(1000)).await, "of several, the newest");
    assert!(post_one(&vault, &mut post, &note("three"), at(3000)).await);
    let came: Vec<String> = endpoint.take().iter().map(|came| String::from_utf8(came.body.clone()).unwrap()).collect();
    assert_eq!((came, vault.warnings()), (vec!["two".to_owned(), "three".to_owned()], vec![]));
    assert!(!post_one(&vault, &mut post, &note("three"), at(9000)).await, "it was taken");
    assert!(Post::new(door("10.0.0.0/8"), "http://169.254.169.254/".into()).is_err());
    for url in ["https://127.0.0.1/", "https://localhost/", "http://127.0.0.1/", "ftp://anchor.example/"] {
        assert!(Post::new(Egress::new(Policy::default(), ANCHOR_LIMITS), url.into()).is_err(), "{url}");
    }
}

/// Starts the vault of a directory with anchors; gives why it writes nothing, and what it warns of.
async fn started(old: &Old, name: &str, anchors: Option<&Path>) -> (Vault, Option<String>, Vec<String>) {
    let home = old.home(name, 90).anchored(anchors.map(|path| AnchorFile::at(path.to_owned())));
    let (vault, _lock) = home.start().await.unwrap();
    let (lost, warnings) = (vault.lost(), vault.warnings());
    (vault, lost, warnings)
}

fn copy(from: &Path, into: &Path) {
    drop(fs::remove_dir_all(into));
    fs::create_dir(into).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let place = into.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &place);
        } else {
            fs::copy(&path, place).unwrap();
        }
    }
}

#[tokio::test]
async fn a_data_directory_that_was_rolled_back_takes_no_writes_and_says_what_is_missing() {
    let old = Old::new().await;
    let (data, kept, anchors) = (old.path("old"), old.path("kept"), old.path("anchors"));
    let write_down = async |vault: &Arc<Vault>| {
        let file = AnchorFile::open(&anchors, &data).unwrap();
        Checkpoints::new(Arc::clone(vault), old.clock.clone(), Checkpoints::path(&data)).anchored(Some(file)).look().await;
        vault.shutdown().await;
    };
    let (vault, lock) = old.home("old", 2).start().await.unwrap();
    let vault = Arc::new(vault);
    let earlier = vault.views().position().0;
    write_down(&vault).await;
    drop((vault, lock));
    copy(&data, &kept);
    let (vault, lock) = old.home("old", 3).start().await.unwrap();
    let vault = Arc::new(vault);
    let owner = vault.authenticate(&old.token).unwrap();
    import(&vault, &owner, "a", "t").await;
    let later = import(&vault, &owner, "b", "t").await.0;
    write_down(&vault).await;
    drop((vault, lock));
    assert_eq!(started(&old, "old", Some(&anchors)).await.1, None, "as it was left");

    copy(&kept, &data);
    let (vault, lost, _) = started(&old, "old", Some(&anchors)).await;
    let lost = lost.expect("rolled back");
    let says = format!("the log ends with {earlier} records, at position {earlier}; the anchor of ");
    assert!(lost.starts_with(&says), "{lost}");
    assert!(lost.ends_with(&format!("has {later}: {} records from position {} on are missing", later - earlier, earlier + 1)), "{lost}");
    let command = keyledger::vault::Command { principal: &owner, meta: keyledger::credentials::Meta::default(), idempotency: None };
    let refused = vault.execute(&command, |given| plans::create_organization(given, "x".into())).await.err().unwrap();
    assert!(matches!(&refused, VaultError::Submit(SubmitError::Lost(cause)) if *cause == lost), "{refused}");
    assert_eq!((vault.failure(), vault.views().position().0), (Some(lost), earlier), "it is read, and nothing was written");
    vault.shutdown().await;
    drop(vault);
    assert_eq!(started(&old, "old", None).await.1, None, "without anchors nothing tells");
}

#[tokio::test]
async fn a_log_that_is_not_that_of_the_checkpoint_beside_it_takes_no_writes() {
    let old = Old::new().await;
    let data = old.path("old");
    let newest = Checkpoints::path(&data);
    let (vault, lock) = old.home("old", 2).start().await.unwrap();
    let owner = vault.authenticate(&old.token).unwrap();
    let at = import(&vault, &owner, "a", "t").await;
    let good = vault.checkpoint(vault.views().position()).await.unwrap();
    vault.shutdown().await;
    drop((vault, lock));
    write_newest(&newest, &good.note).unwrap();
    assert_eq!(started(&old, "old", None).await.1, None);

    // What is no checkpoint of this vault says nothing of its log, and that is told.
    let other = sign(VaultId([1; 16]), good.epoch, 1_000_000, [0; 32], &Key::new([1; 32]));
    for (note, says) in [("nonsense\n", "not a signed note"), (&other, "it is not signed by this key"), (&good.note.replace('\n', "\r\n"), "control character")]
    {
        write_newest(&newest, note).unwrap();
        let (_, lost, warnings) = started(&old, "old", None).await;
        assert_eq!(lost, None);
        assert!(
            warnings.iter().any(|warning| warning.contains("the checkpoint in the data directory cannot be compared") && warning.contains(says)),
            "{warnings:?}"
        );
    }
    write_newest(&newest, &good.note).unwrap();

    // A box of secrets that was changed opens at no start: only the tree tells.
    copy(&data, &old.path("good"));
    let file = rusqlite::Connection::open(data.join("log.db")).unwrap();
    file.execute_batch("DROP TRIGGER log_no_update; DROP TRIGGER log_no_delete").unwrap();
    let position = i64::try_from(at.0).unwrap();
    let record: Vec<u8> = file.query_row("SELECT record FROM log WHERE position = ?1", [position], |row| row.get(0)).unwrap();
    let mut changed = record.clone();
    *changed.last_mut().unwrap() ^= 1;
    file.execute("UPDATE log SET record = ?2 WHERE position = ?1", (position, &changed)).unwrap();
    // In both copies: one that alone is changed is made anew from the other.
    fs::remove_dir_all(data.join("segments")).unwrap();
    let (_, lost, _) = started(&old, "old", None).await;
    let lost = lost.expect("a record was changed");
    assert!(
        lost.contains(&format!("the first {} records of the log, through position {}, are not those of the checkpoint in the data", good.size, good.position)),
        "{lost}"
    );
    drop(file);
    copy(&old.path("good"), &data);
    assert_eq!(started(&old, "old", None).await.1, None);

    // A log of another epoch under the checkpoint of this one; and the log before a restore under anchors that came after it.
    old.restore("old", keyledger::server::Until::Position(at), "new", 7).await.unwrap();
    let (new, lost, _) = started(&old, "new", None).await;
    assert_eq!(lost, None);
    let anchors = AnchorFile::at(old.path("anchors"));
    anchors.append(Moment::from_millis(0), &good.note).unwrap();
    anchors.append(Moment::from_millis(1), &new.checkpoint(new.views().position()).await.unwrap().note).unwrap();
    assert_eq!(started(&old, "new", Some(&old.path("anchors"))).await.1, None, "both of its epochs are there");
    let (_, lost, _) = started(&old, "old", Some(&old.path("anchors"))).await;
    assert!(lost.expect("an earlier history").contains("are not those that were written last"));
    fs::copy(&newest, Checkpoints::path(&old.path("new"))).unwrap();
    let (_, lost, _) = started(&old, "new", None).await;
    assert!(lost.expect("another history").contains("are not those that were written last"));
}

#[test]
fn a_server_on_a_rolled_back_directory_reads_and_says_why_it_does_not_write() {
    let folder = tempfile::tempdir().unwrap();
    let (data, kept, anchors) = (folder.path().join("data"), folder.path().join("kept"), folder.path().join("anchors"));
    let anchored = ["--anchor-file", anchors.to_str().unwrap()];
    let server = start_with(folder.path(), "", &anchored);
    let token = server.token.clone();
    end(server);
    copy(&data, &kept);
    let server = start_with(folder.path(), &token, &anchored);
    let import =
        |server: &Server| server.call("POST", "/vault/connections/crm/pipedrive/import").json(&serde_json::json!({"credentials": {"access_token": "t"}}));
    assert_eq!(import(&server).send().unwrap().status(), 200);
    end(server);
    copy(&kept, &data);
    let server = start_with(folder.path(), &token, &anchored);
    let ready = server.call("GET", "/v1/health/ready").send().unwrap();
    assert_eq!(ready.status(), 503);
    let problem: Value = ready.json().unwrap();
    let detail = problem["detail"].as_str().unwrap();
    assert!(problem["type"] == "urn:keyledger:problem:read-only" && detail.contains("records from position") && detail.contains("are missing"), "{problem}");
    let refused = import(&server).send().unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.text().unwrap().contains("are missing"));
    let made = server.call("POST", "/v1/organizations").json(&serde_json::json!({"name": "x"})).send().unwrap();
    assert_eq!((made.status().as_u16(), made.json::<Value>().unwrap()["type"].clone()), (503, "urn:keyledger:problem:read-only".into()));
    assert_eq!(server.call("GET", "/v1/events").send().unwrap().status(), 200, "it is read");
    let before = fs::read(&anchors).unwrap();
    end(server);
    assert_eq!(fs::read(&anchors).unwrap(), before, "what was lost is not written down as the truth");
    let refused = crate::served::spawn(folder.path()).arg("--anchor-file").arg(data.join("anchors")).output().unwrap();
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("lies in the data directory"), "{refused:?}");
}

/// Ends a server as an operator does: what it has to say is said.
fn end(mut server: Server) {
    let pid = rustix::process::Pid::from_child(&server.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    server.child.wait().unwrap();
}

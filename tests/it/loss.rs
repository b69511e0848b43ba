//! The end of the log is lost: what a start does, what the doctor says, and that an operator can go on without it, whatever the end held.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use keyledger::jobs::{AnchorFile, Checkpoints};
use keyledger::kernel::{KeyId, Position};
use keyledger::server::{Finding, HomeError};
use serde_json::Value;

use crate::segments::copy;
use crate::shred_bench::{ShredBench, is_shredded};

/// What `keyledger doctor` says, and its exit code.
fn doctor(bench: &ShredBench, further: &[&str]) -> (Option<i32>, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    command.env_clear().current_dir(bench.folder.path()).args(["doctor", "--data", "data", "--root-key-file", "root.key", "--output", "json"]);
    let output = command.args(further).output().unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Says what the log is, beside it and in `anchors`, and stops.
async fn write_down(bench: &mut ShredBench) {
    let (data, vault) = (bench.path("data"), Arc::clone(bench.vault()));
    let anchors = AnchorFile::open(&bench.path("anchors"), &data).unwrap();
    Checkpoints::new(vault, bench.clock.clone(), Checkpoints::path(&data)).anchored(Some(anchors)).look().await;
    stop(bench).await;
}

async fn stop(bench: &mut ShredBench) {
    bench.vault().shutdown().await;
    bench.stop();
}

/// Keeps both copies of the log as they are now, or puts these back.
fn copy_log(from: &Path, into: &Path, parts: &[&str]) {
    fs::create_dir_all(into).unwrap();
    for part in parts {
        for end in ["", "-wal", "-shm"] {
            drop(fs::remove_file(into.join(format!("{part}{end}"))));
        }
        drop(fs::remove_dir_all(into.join(part)));
        if from.join(part).is_dir() {
            copy(&from.join(part), &into.join(part));
        } else {
            fs::copy(from.join(part), into.join(part)).unwrap();
        }
    }
}

const BOTH: [&str; 2] = ["log.db", "segments"];

/// The bytes of both copies, and of what lies beside them.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let list = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect::<Vec<_>>();
    let all = list(folder).into_iter().chain(list(&folder.join("segments")));
    let kept = all.filter(|path| ["log.db", "segments", "checkpoint", "loss"].iter().any(|name| path.to_string_lossy().contains(name)));
    let kept = kept.filter(|path| !path.to_string_lossy().contains("-shm") && !path.to_string_lossy().contains("-wal"));
    kept.map(|path| (path.to_string_lossy().into_owned(), fs::read(&path).unwrap())).collect()
}

/// A vault whose lost end held a shred: the keyring, the snapshot and the checkpoint are newer than the log.
async fn without_its_shred() -> (ShredBench, [keyledger::kernel::StreamId; 3], Position) {
    let mut bench = ShredBench::new().await;
    let things = [bench.import("before").await, bench.import("gone").await, bench.import("kept").await];
    bench.shred_thing(things[0]).await;
    let end = bench.vault().views().position();
    stop(&mut bench).await;
    copy_log(&bench.path("data"), &bench.path("earlier"), &BOTH);
    bench.start().await;
    bench.shred_thing(things[1]).await;
    bench.import("lost").await;
    write_down(&mut bench).await;
    copy_log(&bench.path("earlier"), &bench.path("data"), &BOTH);
    (bench, things, end)
}

async fn goes_on(bench: &mut ShredBench, [before, gone, kept]: [keyledger::kernel::StreamId; 3], end: Position) {
    assert!(!bench.path("data/loss.pending").exists());
    bench.start().await;
    let views = bench.vault().views();
    assert!(bench.vault().lost().is_none() && is_shredded(&views, before) && is_shredded(&views, gone) && !is_shredded(&views, kept));
    let first = bench.vault().log().read(end, 1).await.unwrap().remove(0);
    assert_eq!((first.header().event_type.as_str(), first.header().epoch.number, first.header().causation), ("loss_accepted", 2, end));
    bench.reveal(kept).await.unwrap();
    bench.import("after").await;
    bench.is_what_its_log_says().await;
    stop(bench).await;
    assert_eq!(doctor(bench, &[]).0, Some(0));
}

#[tokio::test]
async fn a_lost_end_that_held_a_shred_is_served_for_reading_and_can_be_accepted() {
    let (mut bench, things, end) = without_its_shred().await;
    let before = files(&bench.path("data"));
    bench.start().await;
    let views = bench.vault().views();
    assert!(is_shredded(&views, things[0]) && is_shredded(&views, things[1]) && !is_shredded(&views, things[2]));
    assert!(bench.vault().lost().unwrap().contains("are missing"));
    assert!(bench.reveal(things[2]).await.is_err(), "it would be written");
    stop(&mut bench).await;
    assert!(files(&bench.path("data")) == before, "nothing was changed");
    let (code, told, error) = doctor(&bench, &[]);
    assert!(code == Some(1) && error.contains("lost its end"), "{error}");
    assert!(told["a_start_would"].as_str().unwrap().contains("for reading only"), "{told}");
    assert!(told["keys"].as_str().unwrap().contains("no event of the log says so") && told["next"].as_str().unwrap().contains("--accept-loss"), "{told}");
    let (code, _, error) = doctor(&bench, &["--accept-loss"]);
    assert_eq!(code, Some(0), "{error}");
    goes_on(&mut bench, things, end).await;
}

#[tokio::test]
async fn an_end_that_only_the_keyring_misses_is_explained_and_can_be_accepted() {
    let (mut bench, things, end) = without_its_shred().await;
    fs::remove_file(bench.path("data/checkpoint")).unwrap();
    let before = files(&bench.path("data"));
    let error = bench.try_start().await.err().unwrap().to_string();
    assert!(error.contains("`keyledger doctor` says more"), "{error}");
    let (code, told, error) = doctor(&bench, &[]);
    assert!(code == Some(1) && error.contains("no event of the log says so"), "{error}");
    assert!(told["a_start_would"].as_str().unwrap().starts_with("refuse") && told["next"].as_str().unwrap().contains("--accept-loss"), "{told}");
    assert!(files(&bench.path("data")) == before, "nothing was changed");
    bench.home("data").accept_loss().await.unwrap();
    goes_on(&mut bench, things, end).await;
}

#[tokio::test]
async fn a_tenant_whose_end_is_lost_is_named_as_a_whole() {
    let mut bench = ShredBench::new().await;
    let (thing, tenant) = (bench.import("gone").await, bench.owner().tenant);
    bench.vault().keyring().destroy(&[KeyId::whole(tenant)]).unwrap();
    stop(&mut bench).await;
    let found = bench.home("data").examine().await.unwrap();
    assert_eq!((found.finding(), found.unexplained.tenants, found.unexplained.keys), (Finding::Unexplained, vec![tenant], vec![]));
    bench.home("data").accept_loss().await.unwrap();
    bench.start().await;
    assert!(is_shredded(&bench.vault().views(), thing));
    assert_eq!(bench.home("data").examine().await.unwrap().finding(), Finding::Whole);
}

#[tokio::test]
async fn copies_that_were_cut_at_different_places_below_a_checkpoint_are_left_alone_by_a_start() {
    let mut bench = ShredBench::new().await;
    let mut ends = Vec::new();
    for name in ["one", "two", "three"] {
        bench.import(name).await;
        bench.import(&format!("{name} again")).await;
        ends.push(bench.vault().views().position());
        write_down(&mut bench).await;
        copy_log(&bench.path("data"), &bench.path(name), &BOTH);
        bench.start().await;
    }
    stop(&mut bench).await;
    copy_log(&bench.path("one"), &bench.path("data"), &["log.db"]);
    copy_log(&bench.path("two"), &bench.path("data"), &["segments"]);
    let before = files(&bench.path("data"));
    bench.start().await;
    assert_eq!(bench.vault().views().position(), ends[1]);
    assert!(bench.vault().lost().is_some());
    stop(&mut bench).await;
    assert!(files(&bench.path("data")) == before, "nothing was changed");
    assert!(doctor(&bench, &[]).1["a_start_would"].as_str().unwrap().contains("for reading only"));
    // Half of what was lost came back: that is accepted, too.
    bench.home("data").accept_loss().await.unwrap();
    bench.start().await;
    assert!(bench.vault().lost().is_none() && bench.vault().views().position() > ends[2]);
    bench.is_what_its_log_says().await;
}

#[tokio::test]
async fn a_loss_that_only_anchors_tell_is_seen_by_the_doctor_and_can_be_accepted() {
    let mut bench = ShredBench::new().await;
    write_down(&mut bench).await;
    copy_log(&bench.path("data"), &bench.path("earlier"), &["log.db", "segments", "checkpoint"]);
    bench.start().await;
    bench.import("lost").await;
    write_down(&mut bench).await;
    copy_log(&bench.path("earlier"), &bench.path("data"), &["log.db", "segments", "checkpoint"]);
    let anchored = ["--anchor-file", "anchors"];
    assert_eq!(doctor(&bench, &[]).0, Some(0), "nothing in the directory tells");
    let (code, told, error) = doctor(&bench, &anchored);
    assert!(code == Some(1) && error.contains("the anchor of"), "{error}");
    assert!(told["next"].as_str().unwrap().contains("--anchor-file anchors --accept-loss"), "{told}");
    let home = |bench: &mut ShredBench| {
        let anchors = AnchorFile::at(bench.path("anchors"));
        bench.home("data").anchored(Some(anchors))
    };
    let (vault, lock) = home(&mut bench).start().await.unwrap();
    assert!(vault.lost().is_some());
    vault.shutdown().await;
    drop((vault, lock));
    assert!(matches!(bench.home("data").accept_loss().await, Err(HomeError::NoLoss(_))));
    let (code, told, error) = doctor(&bench, &[anchored[0], anchored[1], "--accept-loss"]);
    assert_eq!(code, Some(0), "{told} {error}");
    let (vault, lock) = home(&mut bench).start().await.unwrap();
    assert!(vault.lost().is_none() && vault.warnings().is_empty(), "{:?}", vault.warnings());
    vault.shutdown().await;
    drop((vault, lock));
    // What was asked for and cannot be compared is a failure.
    fs::write(bench.path("empty"), "").unwrap();
    for (file, why) in [("nope", "no such file"), ("empty", "holds no anchor of this vault")] {
        let (code, _, error) = doctor(&bench, &["--anchor-file", file]);
        assert!(code == Some(1) && error.contains(why), "{error}");
    }
}

#[tokio::test]
async fn an_acceptance_that_was_begun_is_given_up_where_the_end_came_back() {
    let mut bench = ShredBench::new().await;
    let begun = bench.vault().views().position();
    bench.import("one").await;
    let end = bench.vault().views().position();
    write_down(&mut bench).await;
    let pending = serde_json::json!({"from": begun.next(), "through": end, "cause": "a checkpoint"});
    fs::write(bench.path("data/loss.pending"), pending.to_string()).unwrap();
    let error = bench.home("data").accept_loss().await.err().unwrap().to_string();
    assert!(error.contains("is there again") && !bench.path("data/loss.pending").exists(), "{error}");
    bench.start().await;
    assert!(bench.vault().lost().is_none() && bench.vault().views().position() == end);
}

//! What is shredded is gone from the backups that were made before, too, whoever makes them and wherever a kill comes; and they stay backups.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyledger::credentials::Meta;
use keyledger::credentials::vault::SecretAt;
use keyledger::kernel::*;
use keyledger::server::backup::{Backups, Fate, Manifest, Proof, Stage};
use keyledger::server::{Home, Until};
use keyledger::vault::{Rotation, Target};

use crate::backup_bench::names;
use crate::backup_damage::{change, copy, relist};
use crate::shred_bench::{ShredBench, is_shredded};

/// A vault with things that will die, a backup of it, and what must then be nowhere.
struct Scene {
    bench: ShredBench,
    /// A secret, a thing, a consumer and one that stays.
    secret: (StreamId, SecretAt),
    gone: [StreamId; 2],
    kept: StreamId,
    bytes: Vec<Vec<u8>>,
    backup: PathBuf,
}

fn told(_: &Path, _: Stage) {}

impl Scene {
    async fn new() -> Self {
        let mut bench = ShredBench::new().await;
        let [leaky, gone, acme, kept] = ["leaky", "gone", "acme", "kept"].map(|name| bench.import(name));
        let (leaky, gone, acme, kept) = (leaky.await, gone.await, acme.await, kept.await);
        let views = bench.vault().views();
        let at = views.thing(leaky).unwrap().state.secrets().into_iter().find(|secret| secret.name == "access_token").unwrap().position;
        let mut bytes = Vec::new();
        for id in [gone, acme] {
            bytes.extend(bench.sealed(id).await.bytes);
        }
        let header = bench.vault().log().fetch(&[at]).await.unwrap().remove(0);
        let key = header.header().secrets.iter().find(|sealed| sealed.name == "access_token").unwrap().key;
        bytes.push(crate::keyring::wrapped(&bench.path("data"), key));
        let backup = bench.home("data").back_up(&bench.path("backups"), None, &|_, _, _| ()).await.unwrap().folder;
        let secret = (leaky, SecretAt { position: at, name: "access_token".into() });
        Self { bench, secret, gone: [gone, acme], kept, bytes, backup }
    }

    async fn shred(&self) {
        self.bench.vault().shred(Meta::default(), std::slice::from_ref(&self.secret.1), "a test").await.unwrap();
        self.bench.shred_thing(self.gone[0]).await;
        self.bench.shred(&Target::Consumer { app: "app".into(), consumer: "acme".into() }, "acme").await.unwrap();
    }

    /// The files below a directory that hold any of the keys.
    fn holding(&self, folder: &Path) -> Vec<String> {
        self.bytes.iter().flat_map(|bytes| crate::keyring::holding(folder, &bytes[..24])).collect()
    }

    async fn tell(&mut self, below: &Path) -> Vec<Fate> {
        let home = self.bench.home("data");
        home.shred_backups(below, &told).await.unwrap().into_iter().map(|(_, fate)| fate).collect()
    }

    async fn verify(&mut self, backup: &Path) -> Result<Proof, keyledger::server::HomeError> {
        self.bench.home("data").of(backup.to_owned()).verify_backup(None, &|_, _, _| ()).await
    }

    /// A backup that was told, restored alone: what died is not there, all else is, and it goes on.
    async fn is_restored_without(&mut self, backup: &Path, into: &str) {
        let into_path = self.bench.path(into);
        let home = self.bench.home("data").of(backup.to_owned());
        let restored = home.restore(Until::End, &into_path, &|_, _, _| ()).await.unwrap();
        assert_eq!(restored.skipped, Some(3), "a thing, and a consumer with its connection");
        assert!(restored.shredded_since >= 7 && self.holding(&into_path).is_empty());
        let (new, _lock) = self.bench.home(into).start().await.unwrap();
        let views = new.views();
        assert!(self.gone.iter().all(|id| is_shredded(&views, *id)) && !is_shredded(&views, self.kept));
        let owner = new.authenticate(&self.bench.token).unwrap();
        let reveal = async |stream, name: &str| new.reveal(&owner, Meta::default(), stream, name, "a test").await;
        assert!(reveal(self.secret.0, "access_token").await.is_err_and(|error| error.to_string().contains("shredded")));
        assert_eq!(reveal(self.secret.0, "refresh_token").await.unwrap().value.expose(), b"a refresh token");
        assert_eq!(reveal(self.kept, "access_token").await.unwrap().value.expose(), b"token of kept");
        crate::backup_bench::import(&new, &owner, "later", "it goes on").await;
    }
}

fn manifest(backup: &Path) -> Manifest {
    Manifest::read(backup).unwrap()
}

#[tokio::test]
async fn a_backup_from_before_a_shred_forgets_what_was_shredded() {
    let mut scene = Scene::new().await;
    let (backup, backups, end) = (scene.backup.clone(), scene.bench.path("backups"), scene.bench.vault().views().position());
    assert!(matches!(scene.tell(&backups).await[..], [Fate::Current]));
    assert!(!scene.holding(&backups).is_empty() && manifest(&backup).shredded.is_none());
    let recorded = manifest(&backup).state_hash;
    scene.shred().await;
    assert!(!scene.holding(&backups).is_empty(), "so far it lies there as it was made");
    // So does what a killed rehearsal left; and somebody made the backup read-only.
    let left = backups.join(".x-rehearsal.0123456789abcdef.partial");
    fs::create_dir(&left).unwrap();
    for (from, into) in [("keyring.db", "keyring.db"), ("manifest.json", "lock")] {
        fs::copy(backup.join(from), left.join(into)).unwrap();
    }
    for name in ["keyring.db", "keyring-copy.db"] {
        fs::set_permissions(backup.join(name), std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
    }
    assert!(scene.holding(&scene.bench.path("data")).is_empty());
    assert!(matches!(scene.tell(&backups).await[..], [Fate::Forgot(keys)] if keys >= 7));
    assert_eq!(scene.holding(scene.bench.folder.path()), Vec::<String>::new(), "in no file of the data and of the backups");
    assert!(matches!(scene.tell(&backups).await[..], [Fate::Current]));
    assert_eq!(names(&backup), ["manifest.json", "segments", "shredded-1"]);
    // It lies alone, on another machine.
    let alone = scene.bench.path("elsewhere/backup");
    copy(&backup, &alone);
    let proof = scene.verify(&alone).await.unwrap();
    assert_eq!((proof.restored.skipped, proof.restored.state.shredded, proof.restored.position), (Some(3), 3, end));
    assert_ne!(manifest(&alone).state_hash, recorded, "it says what is left");
    scene.is_restored_without(&alone, "restored").await;
    // A further shred, and a further telling: what was told before stays told.
    scene.bench.shred_thing(scene.kept).await;
    assert!(matches!(scene.tell(&backup).await[..], [Fate::Forgot(_)]), "one backup may be named as well");
    assert_eq!(names(&backup), ["manifest.json", "segments", "shredded-2"]);
    assert_eq!(scene.verify(&backup).await.unwrap().restored.skipped, Some(4));
    assert!(scene.holding(&backups).is_empty());
}

#[tokio::test]
async fn a_kill_at_any_step_loses_no_backup_and_the_next_run_ends_it() {
    let mut scene = Scene::new().await;
    scene.shred().await;
    let backup = scene.backup.clone();
    // The disk as a kill leaves it, at each step.
    let copies = Mutex::new(Vec::new());
    let root = scene.bench.path("copies");
    let keep = |folder: &Path, stage: Stage| {
        let into = root.join(format!("{stage:?}")).join("backup");
        copy(folder, &into);
        copies.lock().unwrap().push((stage, into));
    };
    scene.bench.home("data").shred_backups(&backup, &keep).await.unwrap();
    let copies = copies.into_inner().unwrap();
    assert_eq!(copies.iter().map(|(stage, _)| *stage).collect::<Vec<_>>(), [Stage::Copied, Stage::Made, Stage::Named, Stage::Removed]);
    for (stage, copy) in copies {
        let is_told = matches!(stage, Stage::Named | Stage::Removed);
        let proof = scene.verify(&copy).await.unwrap_or_else(|error| panic!("{stage:?}: {error}"));
        assert_eq!(proof.restored.skipped, Some(if is_told { 3 } else { 0 }), "{stage:?}");
        let fates = scene.tell(&copy).await;
        assert!(matches!(fates[..], [Fate::Current]) == is_told, "{stage:?}: {fates:?}");
        assert!(scene.holding(&copy).is_empty(), "{stage:?}: {:?}", scene.holding(&copy));
        assert_eq!(names(&copy), ["manifest.json", "segments", "shredded-1"], "{stage:?}");
        assert_eq!(scene.verify(&copy).await.unwrap().restored.skipped, Some(3), "{stage:?}");
    }
    // What ends in the middle by itself leaves the backup as it was.
    let stuck = scene.bench.path("stuck/backup");
    copy(&root.join("Copied/backup"), &stuck);
    change(&stuck.join("manifest.json"), |bytes| bytes[200..].iter_mut().for_each(|byte| *byte = if *byte == b'_' { b'-' } else { *byte }));
    assert!(matches!(&scene.tell(&stuck).await[..], [Fate::Remembers(_)]));
}

#[tokio::test]
async fn what_is_said_to_be_shredded_and_was_not_is_refused() {
    let mut scene = Scene::new().await;
    let before = scene.bench.path("before/backup");
    copy(&scene.backup, &before);
    scene.shred().await;
    scene.tell(&scene.bench.path("backups")).await;
    let told = scene.backup.clone();
    let forged = |scene: &Scene, name: &str| {
        let into = scene.bench.path(&format!("forged-{name}/backup"));
        copy(&told, &into);
        into
    };
    // The header names other keys than the vault did: it does not open.
    let list = forged(&scene, "list");
    change(&list.join("shredded-1/shreds"), |bytes| {
        let record = keyledger::seal::Record::decode(&bytes[23..23 + u32::from_be_bytes(bytes[19..23].try_into().unwrap()) as usize]).unwrap();
        let key = record.header().shredded[0].to_bytes();
        let at = bytes.windows(16).position(|window| window == key).unwrap();
        bytes[at] ^= 1;
    });
    let error = scene.verify(&list).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("shreds: it is damaged"), "{error}");
    relist(&list);
    let error = scene.verify(&list).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("shreds: it is forged or damaged"), "{error}");
    // An event of the vault that destroyed nothing, with keys that are gone from the keyring.
    let empty = forged(&scene, "empty");
    change(&empty.join("shredded-1/shreds"), |bytes| bytes.truncate(19));
    relist(&empty);
    let error = scene.verify(&empty).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("no event of the log says so"), "{error}");
    // Without its list, without its states, with the keyring from before the shred beside it.
    for (name, says) in [("shreds", "it is missing"), ("states", "it is missing"), ("keyring.db", "it is missing")] {
        let lacking = forged(&scene, name);
        fs::remove_file(lacking.join("shredded-1").join(name)).unwrap();
        let error = scene.verify(&lacking).await.map(drop).unwrap_err().to_string();
        assert!(error.contains(says), "{name}: {error}");
    }
    let older = forged(&scene, "older");
    for name in ["keyring.db", "keyring-copy.db"] {
        fs::copy(before.join(name), older.join("shredded-1").join(name)).unwrap();
    }
    relist(&older);
    assert_eq!(scene.verify(&older).await.unwrap().restored.skipped, Some(3), "what it holds of them is not opened");
    scene.is_restored_without(&older, "from-older").await;
    // A directory that the manifest may not name.
    let outside = forged(&scene, "outside");
    crate::backup_damage::manifest(&outside, |value| value["shredded"]["number"] = serde_json::json!("../before"));
    assert!(scene.verify(&outside).await.is_err());
}

#[tokio::test]
async fn the_server_brings_shreds_into_its_backups_at_the_start_and_says_when_it_cannot() {
    let mut scene = Scene::new().await;
    let (backups, home) = (scene.bench.path("backups"), Arc::new(scene.bench.home("data")));
    let schedule = |scene: &Scene| Backups::new(Arc::clone(&home), Arc::clone(scene.bench.vault()), backups.clone(), Duration::from_secs(3600), 3).unwrap();
    let mut made = schedule(&scene);
    assert!(!made.look().await, "there is one");
    scene.bench.clock.pass(3_600_001);
    assert!(made.look().await);
    scene.shred().await;
    // It cannot be reached: health says so, until it can.
    let moved = scene.bench.path("moved");
    fs::rename(&backups, &moved).unwrap();
    made.forget().await;
    let warned = |scene: &Scene| scene.bench.vault().backup_warnings().iter().any(|warning| warning.contains("still hold keys"));
    assert!(warned(&scene) && !scene.holding(&moved).is_empty());
    fs::rename(&moved, &backups).unwrap();
    // As after a restart: nobody told it.
    drop(made);
    scene.bench.stop();
    scene.bench.start().await;
    let made = schedule(&scene);
    made.forget().await;
    assert!(!warned(&scene) && scene.holding(scene.bench.folder.path()).is_empty());
    let all: Vec<PathBuf> = names(&backups).into_iter().map(|name| backups.join(name)).collect();
    assert_eq!(all.len(), 2);
    for backup in &all {
        assert_eq!(scene.verify(backup).await.unwrap().restored.skipped, Some(3));
    }
    // One of them cannot be read, and so not be told.
    scene.bench.shred_thing(scene.kept).await;
    change(&all[0].join("manifest.json"), |bytes| bytes.truncate(20));
    made.forget().await;
    assert!(warned(&scene) && manifest(&all[1]).shredded.unwrap().number == 2);
    fs::remove_dir_all(&all[0]).unwrap();
    made.forget().await;
    assert!(!warned(&scene));
}

#[tokio::test]
async fn a_damaged_keyring_of_a_backup_is_told_from_its_copy_and_two_are_not_touched() {
    let mut scene = Scene::new().await;
    let (one, two) = (scene.bench.path("one/backup"), scene.bench.path("two/backup"));
    for (folder, damaged) in [(&one, &["keyring.db"][..]), (&two, &["keyring.db", "keyring-copy.db"][..])] {
        copy(&scene.backup, folder);
        for name in damaged {
            change(&folder.join(name), |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            });
        }
    }
    scene.shred().await;
    assert!(matches!(scene.tell(&one).await[..], [Fate::Forgot(_)]));
    assert_eq!(scene.verify(&one).await.unwrap().restored.skipped, Some(3), "it is whole again");
    let before = names(&two);
    assert!(matches!(&scene.tell(&two).await[..], [Fate::Remembers(error)] if error.to_string().contains("damaged, and so is its copy")));
    assert_eq!(names(&two), before);
}

#[tokio::test]
async fn a_drill_harms_no_backup_of_what_it_was_restored_from_until_it_is_let_go() {
    let mut scene = Scene::new().await;
    let (backup, backups) = (scene.backup.clone(), scene.bench.path("backups"));
    let into = scene.bench.path("drill");
    scene.bench.home("data").of(backup.clone()).restore(Until::End, &into, &|_, _, _| ()).await.unwrap();
    let home = Arc::new(scene.bench.home("drill"));
    let (drill, _lock) = home.start().await.unwrap();
    let drill = Arc::new(drill);
    drill.shred(Meta::default(), std::slice::from_ref(&scene.secret.1), "a drill").await.unwrap();
    let schedule = Backups::new(home, Arc::clone(&drill), backups, Duration::from_secs(3600), 3).unwrap();
    schedule.forget().await;
    assert!(manifest(&backup).shredded.is_none() && scene.bench.reveal(scene.secret.0).await.is_ok());
    let owner = drill.authenticate(&scene.bench.token).unwrap();
    drill.resume(&owner, Meta::default()).await.unwrap();
    schedule.forget().await;
    assert_eq!(manifest(&backup).shredded.unwrap().keys, 1, "it is the vault now");
    assert_eq!(scene.verify(&backup).await.unwrap().restored.skipped, Some(0));
}

#[tokio::test]
async fn a_backup_under_a_former_root_key_forgets_without_that_and_opens_with_it() {
    let mut scene = Scene::new().await;
    let owner = scene.bench.owner();
    let file = keyledger::keyring::KeyFile::at(scene.bench.path("root.key"));
    let mut ended = scene.bench.vault().rotate(Rotation::Root, Arc::new(file), &owner, Meta::default()).unwrap();
    ended.wait_for(Option::is_some).await.unwrap();
    scene.shred().await;
    let backup = scene.backup.clone();
    assert!(matches!(scene.tell(&backup).await[..], [Fate::Forgot(_)]), "nothing of it need be opened");
    assert!(scene.holding(scene.bench.folder.path()).is_empty());
    let error = scene.verify(&backup).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("opens with the file that is kept as .old"), "{error}");
    let former = Some(scene.bench.path("root.key.old"));
    let home = Home::new(backup, former, scene.bench.clock.clone(), Arc::new(crate::fixed::FixedRandom::new(900)));
    assert_eq!(home.verify_backup(None, &|_, _, _| ()).await.unwrap().restored.skipped, Some(3));
}

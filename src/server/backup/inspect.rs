//! Whether a backup is what it says: read once from its first byte to its last, before anything is made of it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::forget::{copy_keyring, states};
use super::manifest::{KEYRING, MANIFEST, Manifest};
use super::{problem, shreds};
use crate::credentials::AnyEvent;
use crate::credentials::vault::Event;
use crate::kernel::{Epoch, Position, TenantId};
use crate::keyring::{Keyring, KeyringError, Mode, Purpose, RootKeyProvider, SqliteKeyring};
use crate::log::segment::FOLDER;
use crate::log::{EventLog, SegmentLog};
use crate::seal::Record;
use crate::seal::checkpoint;
use crate::seal::merkle::Frontier;
use crate::server::home::{Home, HomeError, Reading};
use crate::views::{Opened, Opener, States};

/// The end of a log that was read whole.
pub(super) struct End {
    pub position: Position,
    pub tree: Frontier,
    pub epoch: Epoch,
}

/// A backup that was read whole, open for reading.
pub struct Sound {
    pub manifest: Manifest,
    pub source: Reading,
    /// The events after its end that it was told of: they destroyed keys. Each has opened.
    pub shreds: Vec<Record>,
    /// Every state at its end.
    pub states: States,
}

/// How often a backup is read anew, because a shred was brought into it while it was read.
const TRIES: u32 = 5;

impl Home {
    /// Reads a backup whole, and compares it with its manifest and that with what the vault signed. The keyring is copied into `scratch` first and
    /// opened there: a backup may lie where nothing can be written, and it is never changed.
    pub(in crate::server) fn sound(&self, scratch: &Path) -> Result<Sound, HomeError> {
        for left in (0..TRIES).rev() {
            let manifest = Manifest::read(&self.folder)?;
            match self.sound_as(&manifest, scratch) {
                Err(_) if left > 0 && Manifest::read(&self.folder).is_ok_and(|now| now != manifest) => {}
                done => return done,
            }
        }
        Err(problem(&self.folder, "it changes all the time"))
    }

    fn sound_as(&self, manifest: &Manifest, scratch: &Path) -> Result<Sound, HomeError> {
        let folder = &self.folder;
        let spoiled = manifest.compare_but_one(folder)?;
        let keys = folder.join(manifest.keys_folder());
        if let Some((_, problem)) = &spoiled {
            tracing::warn!(%problem, "the other file of the keyring is read in its place");
        }
        copy_keyring(&keys, spoiled.map(|(name, _)| name), scratch)?;
        let keyring_of = |error: KeyringError| problem(&keys.join(KEYRING[0]), error);
        let vault = SqliteKeyring::vault_at(scratch).map_err(keyring_of)?;
        if vault != manifest.vault {
            return Err(problem(&keys.join(KEYRING[0]), format!("it is of vault {vault}, and the manifest of {}", manifest.vault)));
        }
        let root = self.key_file(vault)?;
        root.apart_from(folder)?;
        let (keyring, _) = SqliteKeyring::open(scratch, &root as &dyn RootKeyProvider, Mode::Read, 1, Arc::clone(&self.random))?;
        signed(manifest, &keyring).map_err(|cause| problem(&folder.join(MANIFEST), cause))?;
        let log = SegmentLog::open(&folder.join(FOLDER)).map_err(|error| problem(folder, error))?;
        let end = walk(&log, &keyring).map_err(|cause| problem(folder, cause))?;
        let root = base16ct::lower::encode_string(&end.tree.root());
        let stated = (manifest.position, manifest.records, manifest.merkle_root.as_str(), manifest.epoch);
        if (end.position, end.tree.size(), root.as_str(), end.epoch) != stated {
            let found = format!("its segments end at position {} with {} records under the root {root}", end.position, end.tree.size());
            return Err(problem(&folder.join(MANIFEST), format!("{found}, and the manifest says {}, {} and {}", stated.0, stated.1, stated.2)));
        }
        let source = Reading { log: Arc::new(log), keyring: Arc::new(keyring) };
        let shreds = told(manifest, &keys, &source)?;
        Ok(Sound { manifest: manifest.clone(), source, shreds, states: states(folder, manifest)? })
    }
}

/// The events that a backup was told of: each must be of this vault, and one that destroys keys.
fn told(manifest: &Manifest, keys: &Path, source: &Reading) -> Result<Vec<Record>, HomeError> {
    if manifest.shredded.is_none() {
        return Ok(Vec::new());
    }
    let path = keys.join(shreds::SHREDS);
    let (records, opener) = (shreds::read(&path)?, Opener::new(source.keyring.clone()));
    for record in &records {
        let names = |event: Opened| matches!(event.stored.event, AnyEvent::Vault(Event::Shredded { .. } | Event::Restored { .. }));
        if !opener.open(record).is_ok_and(names) {
            let position = record.header().position;
            return Err(problem(&path, format!("it is forged or damaged: no event of this vault destroyed the keys that it names at position {position}")));
        }
    }
    Ok(records)
}

/// Whether the vault signed what a manifest says of the log.
fn signed(manifest: &Manifest, keyring: &SqliteKeyring) -> Result<(), String> {
    let seed = keyring.purpose(TenantId::SYSTEM, Purpose::Checkpoint).map_err(|error| error.to_string())?.key;
    let checkpoint = checkpoint::verify(&manifest.checkpoint, &checkpoint::public_key(&seed)).map_err(|error| format!("its checkpoint: {error}"))?;
    let root = base16ct::lower::encode_string(&checkpoint.root);
    let said = (checkpoint::place(&checkpoint.origin), checkpoint.size, root.as_str());
    if said == (Some((manifest.vault, manifest.epoch)), manifest.records, manifest.merkle_root.as_str()) {
        Ok(())
    } else {
        Err(format!("its signed checkpoint is of {} records of {} under the root {root}, and it says otherwise", checkpoint.size, checkpoint.origin))
    }
}

/// Reads all records of a log in segments, each checked, and looks whether the keyring holds the keys that they use. A batch is there or not there
/// as a whole; of what was destroyed in it, the log knows.
pub(super) fn walk(log: &SegmentLog, keyring: &SqliteKeyring) -> Result<End, String> {
    if log.vault() != Some(keyring.vault()) {
        return Err(format!("its segments are not of vault {}", keyring.vault()));
    }
    let (mut tree, mut last, mut batches) = (Frontier::default(), None, HashSet::new());
    for record in log.records() {
        let record = record.map_err(|error| error.to_string())?;
        let header = record.header();
        for key in header.secrets.iter().map(|secret| secret.key).chain([header.facts_key]) {
            if batches.contains(&key.batch) {
                continue;
            }
            match keyring.key(header.tenant, key) {
                Ok(_) | Err(KeyringError::Destroyed(_)) => drop(batches.insert(key.batch)),
                Err(error) => return Err(format!("its keyring lacks a key that position {} uses: {error}", header.position)),
            }
        }
        tree.push(record.leaf());
        last = Some((header.position, header.epoch));
    }
    let (position, epoch) = last.ok_or("its segments hold nothing")?;
    if position == *log.head().borrow() { Ok(End { position, tree, epoch }) } else { Err("its segments end early".into()) }
}

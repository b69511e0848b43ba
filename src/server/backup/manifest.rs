//! What a backup says of itself: a file that is written last, so that a directory without it is none.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::problem;
use super::shreds::SHREDS;
use crate::kernel::{Epoch, Moment, Position, VaultId};
use crate::log::segment::FOLDER;
use crate::server::HomeError;
use crate::server::home::io;

/// The file's name.
pub const MANIFEST: &str = "manifest.json";
/// What it begins with.
const FORMAT: &str = "keyledger backup 1";
/// The largest manifest, in bytes: some 200,000 files.
const MAX_MANIFEST: u64 = 32 * 1024 * 1024;
/// The keyring's files.
pub(super) const KEYRING: [&str; 2] = ["keyring.db", "keyring-copy.db"];
/// Every state at the end, by its HMAC.
pub(super) const STATES: &str = "states";
/// What a directory's name begins with that holds the keyring of a backup that has learnt of shreds; a number follows.
pub(super) const WITHOUT: &str = "shredded-";

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Within the backup's directory.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// Of its bytes, in hex.
    pub sha256: String,
}

/// The manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What sort of file this is.
    pub format: String,
    /// Whose backup it is.
    pub vault: VaultId,
    /// Of its last record.
    pub epoch: Epoch,
    /// Its last position.
    pub position: Position,
    /// How many records it holds.
    pub records: u64,
    /// The Merkle root over them, in hex.
    pub merkle_root: String,
    /// The fold that made the state hash.
    pub fold_version: u32,
    /// The hash of all states at its last position, in hex, as the vault that was backed up had it.
    pub state_hash: String,
    /// When it was made.
    pub made_at: Moment,
    /// What the vault signed of the log at its last position.
    pub checkpoint: String,
    /// Every file beside this one, by name.
    pub files: Vec<Held>,
    /// What was shredded after its end, and died here too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shredded: Option<Shredded>,
}

/// How a backup has learnt of what was shredded since it was made: its keyring lies in a directory of its own then, without those keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shredded {
    /// How often that happened: names the directory.
    pub number: u64,
    /// The position of the vault's log through which it has learnt of all shreds.
    pub through: Position,
    /// The epoch of that position: the vault may have been restored since the backup was made.
    pub epoch: Epoch,
    /// How many keys died after its end.
    pub keys: u64,
    /// How many streams the state hash skips that it did not skip when the backup was made.
    pub streams: u64,
}

impl Manifest {
    /// Reads the one in a directory. Nothing that it says is believed.
    pub fn read(folder: &Path) -> Result<Self, HomeError> {
        let path = folder.join(MANIFEST);
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(MAX_MANIFEST).read_to_string(&mut text));
        read.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => problem(folder, format!("it has no {MANIFEST}: it is no backup, or one that was not finished")),
            _ => io(&path, error),
        })?;
        let manifest: Self = serde_json::from_str(&text).map_err(|error| problem(&path, error))?;
        if manifest.format != FORMAT {
            return Err(problem(&path, format!("its format is {:?}; this version knows {FORMAT:?}", manifest.format)));
        }
        Ok(manifest)
    }

    /// Begins one; the format is this version's.
    pub(super) fn format() -> String {
        FORMAT.to_owned()
    }

    /// Writes it into a directory, whole or not at all; durable on return.
    pub(super) fn write(&self, folder: &Path) -> Result<(), HomeError> {
        let (path, partial) = (folder.join(MANIFEST), folder.join(format!("{MANIFEST}.partial")));
        let write = || {
            let mut file = File::create(&partial)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&partial, &path)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(|error| io(&path, error))
    }

    /// Where its keyring lies, within its directory.
    pub(in crate::server) fn keys_folder(&self) -> String {
        self.shredded.as_ref().map_or_else(String::new, |shredded| format!("{WITHOUT}{}/", shredded.number))
    }

    /// How many bytes all its files have.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Compares the files of a directory with this list, byte by byte: none may be missing, foreign or different.
    pub(super) fn compare(&self, folder: &Path) -> Result<(), HomeError> {
        self.compare_but_one(folder)?.map_or(Ok(()), |(_, problem)| Err(problem))
    }

    /// As [`Manifest::compare`], but for one of the keyring's two files: the other one holds the same. Gives which, and what is wrong with it.
    pub(super) fn compare_but_one(&self, folder: &Path) -> Result<Option<(&'static str, HomeError)>, HomeError> {
        let keys = self.keys_folder();
        let found = names(folder, &keys)?;
        if let Some(foreign) = found.iter().find(|name| self.files.iter().all(|file| file.name != **name)) {
            return Err(problem(&folder.join(foreign), "it is not in the manifest"));
        }
        let mut spoiled = None;
        for file in &self.files {
            let Err(wrong) = compare_file(folder, file, found.contains(&file.name)) else { continue };
            let name = KEYRING.into_iter().find(|name| file.name == format!("{keys}{name}"));
            match name.filter(|_| spoiled.is_none()) {
                Some(name) => spoiled = Some((name, wrong)),
                None => return Err(wrong),
            }
        }
        let mut listed: Vec<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
        listed.sort_unstable();
        listed.dedup();
        if listed.len() != self.files.len() {
            return Err(problem(&folder.join(MANIFEST), "it names a file twice"));
        }
        Ok(spoiled)
    }

    /// Which of the keyring's two files is spoiled, if one is; both are too many.
    pub(super) fn spoiled_keyring(&self, folder: &Path) -> Result<Option<&'static str>, HomeError> {
        let keys = self.keys_folder();
        let is_whole = |name: &&str| {
            let name = format!("{keys}{name}");
            let held = self.files.iter().find(|held| held.name == name);
            held.is_some_and(|held| compare_file(folder, held, folder.join(&name).exists()).is_ok())
        };
        let mut spoiled = KEYRING.into_iter().filter(|name| !is_whole(name));
        let first = spoiled.next();
        if spoiled.next().is_some() {
            return Err(problem(&folder.join(keys).join(KEYRING[0]), "it is damaged, and so is its copy"));
        }
        Ok(first)
    }
}

fn compare_file(folder: &Path, file: &Held, is_there: bool) -> Result<(), HomeError> {
    let path = folder.join(&file.name);
    if !is_there {
        return Err(problem(&path, "it is in the manifest, and it is missing"));
    }
    let actual = measure(folder, &file.name)?;
    if actual.size != file.size {
        return Err(problem(&path, format!("it has {} bytes, and the manifest says {}", actual.size, file.size)));
    }
    if actual.sha256 != file.sha256 {
        return Err(problem(&path, "it is damaged: its SHA-256 is not that of the manifest"));
    }
    Ok(())
}

/// What a backup's directory holds beside its manifest: the keyring's files and what lies with them, and all that lies with the segments. A keyring
/// that another one has replaced counts for nothing; it is removed at the next opportunity.
pub(super) fn names(folder: &Path, keys: &str) -> Result<Vec<String>, HomeError> {
    let segments = folder.join(FOLDER);
    let mut names: Vec<String> = KEYRING.iter().chain(&[STATES, SHREDS]).map(|name| format!("{keys}{name}")).collect();
    names.retain(|name| folder.join(name).exists());
    let listed = || fs::read_dir(&segments)?.map(|entry| Ok(format!("{FOLDER}/{}", entry?.file_name().to_string_lossy()))).collect::<io::Result<Vec<_>>>();
    match listed() {
        Ok(found) => names.extend(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(&segments, error)),
    }
    names.sort();
    Ok(names)
}

/// Size and SHA-256 of a file, read piece by piece.
pub(super) fn measure(folder: &Path, name: &str) -> Result<Held, HomeError> {
    let path: PathBuf = folder.join(name);
    let read = || {
        let (mut file, mut hash, mut size) = (File::open(&path)?, Sha256::new(), 0);
        let mut piece = vec![0; 256 * 1024];
        loop {
            let count = file.read(&mut piece)?;
            if count == 0 {
                let sha256 = base16ct::lower::encode_string(&<[u8; 32]>::from(hash.finalize()));
                return Ok(Held { name: name.to_owned(), size, sha256 });
            }
            hash.update(piece.get(..count).unwrap_or_default());
            size += count as u64;
        }
    };
    read().map_err(|error| io(&path, error))
}

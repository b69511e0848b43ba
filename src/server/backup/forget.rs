//! Bringing shreds into backups: what was destroyed in the vault is destroyed in every backup of it, too.
//!
//! A backup's keyring is not changed where it lies. A copy without the keys is made beside it, in `shredded-N/`, with the events that destroyed them
//! and with the states that are left; then the manifest, replaced by one rename, names that copy and no longer the former keyring, which is
//! overwritten and removed. So a backup is at any moment as it was before or as it is after. What a kill leaves lies beside what the manifest
//! names, counts for nothing, and is removed by the next run.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::manifest::{KEYRING, MANIFEST, Manifest, STATES, Shredded, WITHOUT, measure};
use super::shreds::{self, SHREDS};
use super::{is_one, list, problem};
use crate::kernel::{Epoch, KeyId, Moment, Position};
use crate::keyring::{Keyring, SqliteKeyring, erase};
use crate::log::{EventLog, LogError};
use crate::seal::Record;
use crate::server::home::{Home, HomeError, io};
use crate::server::partial::sweep;
use crate::views::{Opener, States};

/// What became of a backup.
#[derive(Debug)]
pub enum Fate {
    /// Nothing was shredded that it did not know of.
    Current,
    /// So many keys were destroyed in the vault since it was made, or since it was told last, and are gone from it now.
    Forgot(u64),
    /// It could not be changed, or not be read: what was shredded since may be in it still.
    Remembers(HomeError),
}

/// A step that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The keyring was copied, with all its keys.
    Copied,
    /// The copy lacks the keys, and lies there whole. Nothing names it yet.
    Made,
    /// The manifest names it.
    Named,
    /// The former keyring is gone.
    Removed,
}

/// Told of each step of each backup.
pub type Told<'a> = &'a (dyn Fn(&Path, Stage) + Sync);

/// Which backups are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Those of the epoch that the vault is in: a restore that is only a drill leaves all others alone.
    Epoch,
    /// Those of all its histories.
    Vault,
}

/// What was looked at already: a backup, by its place and time, and the position of the log that it knows of.
pub(super) type Known = HashMap<(PathBuf, Moment), Position>;

/// The vault that tells.
pub(super) struct Teller {
    pub log: Arc<dyn EventLog>,
    pub keyring: Arc<dyn Keyring>,
}

impl Home {
    /// Destroys in all backups of this vault below a directory, or in one backup, what was shredded in the vault since. Tells what became of each.
    /// The vault is only read, and a server may run on it.
    pub async fn shred_backups(&self, below: &Path, told: Told<'_>) -> Result<Vec<(PathBuf, Fate)>, HomeError> {
        self.tell_backups(below, Scope::Vault, told).await
    }

    /// As [`Home::shred_backups`], in those of the vault's present history only: for whoever had another errand there.
    pub async fn shred_own_backups(&self, below: &Path) -> Result<Vec<(PathBuf, Fate)>, HomeError> {
        self.tell_backups(below, Scope::Epoch, &|_, _| ()).await
    }

    async fn tell_backups(&self, below: &Path, scope: Scope, told: Told<'_>) -> Result<Vec<(PathBuf, Fate)>, HomeError> {
        let source = self.read()?;
        let teller = Teller { log: source.log, keyring: source.keyring };
        teller.tell(below, scope, &mut Known::new(), told).await
    }
}

impl Teller {
    /// One pass over the backups below a directory.
    pub async fn tell(&self, below: &Path, scope: Scope, known: &mut Known, told: Told<'_>) -> Result<Vec<(PathBuf, Fate)>, HomeError> {
        let found = if is_one(below) {
            vec![(below.to_owned(), Manifest::read(below))]
        } else {
            // What a killed backup or rehearsal left holds keys, too.
            sweep(below, ".");
            list(below)?
        };
        let head = *self.log.head().borrow();
        let epoch = self.epoch_at(head).await?.ok_or(HomeError::PastTheEnd(head))?;
        let (vault, opener) = (self.keyring.vault(), Opener::new(Arc::clone(&self.keyring)));
        let (mut fates, mut ours) = (Vec::new(), Vec::new());
        for (path, manifest) in found {
            match manifest {
                Err(error) => fates.push((path, Fate::Remembers(error))),
                Ok(manifest) if manifest.vault != vault || (scope == Scope::Epoch && manifest.epoch != epoch) => {}
                Ok(manifest) => {
                    let seen = known.get(&(path.clone(), manifest.made_at)).copied();
                    let from = self.knows(&manifest).await?.max(seen.unwrap_or(Position::ZERO));
                    ours.push((path, manifest.made_at, from));
                }
            }
        }
        let earliest = ours.iter().map(|(_, _, from)| *from).min().unwrap_or(head);
        let all = shreds::since(&*self.log, earliest, &opener).await?;
        for (path, made_at, from) in ours {
            let new: Vec<Record> = all.iter().filter(|record| record.header().position > from).cloned().collect();
            let fate = match forget(&path, &new, (head, epoch), told) {
                Ok(keys) => {
                    known.insert((path.clone(), made_at), head);
                    if keys == 0 { Fate::Current } else { Fate::Forgot(keys) }
                }
                // Removed meanwhile, since there is a newer one.
                Err(_) if !path.exists() => continue,
                Err(error) => Fate::Remembers(error),
            };
            fates.push((path, fate));
        }
        Ok(fates)
    }

    /// Through which position of this log a backup knows of all shreds. Its end, or what it was told last, tells that, if it is of this history.
    async fn knows(&self, manifest: &Manifest) -> Result<Position, LogError> {
        let told = manifest.shredded.as_ref().map(|shredded| (shredded.through, shredded.epoch));
        for (position, epoch) in told.into_iter().chain([(manifest.position, manifest.epoch)]) {
            if self.epoch_at(position).await? == Some(epoch) {
                return Ok(position);
            }
        }
        Ok(Position::ZERO)
    }

    async fn epoch_at(&self, position: Position) -> Result<Option<Epoch>, LogError> {
        Ok(self.log.fetch(&[position]).await?.first().map(|record| record.header().epoch))
    }
}

/// Destroys in a backup the keys that these records name, as far as it has not heard of them; how many those are.
fn forget(folder: &Path, records: &[Record], (through, epoch): (Position, Epoch), told: Told<'_>) -> Result<u64, HomeError> {
    // One at a time, whoever it is: the server's own, and those by hand.
    let turn = File::open(folder).map_err(|error| io(folder, error))?;
    flock(&turn, FlockOperation::LockExclusive).map_err(|error| io(folder, error.into()))?;
    let mut manifest = Manifest::read(folder)?;
    clean(folder, &manifest)?;
    let mut heard = if manifest.shredded.is_some() { shreds::read(&folder.join(manifest.keys_folder()).join(SHREDS))? } else { Vec::new() };
    let leaves: HashSet<[u8; 32]> = heard.iter().map(Record::leaf).collect();
    let new: Vec<Record> = records.iter().filter(|record| !leaves.contains(&record.leaf())).cloned().collect();
    if new.is_empty() {
        return Ok(0);
    }
    let keys = shreds::keys(&new);
    heard.extend(new);
    let former = manifest.shredded.clone();
    let mut shredded = Shredded { number: 1, through, epoch, keys: keys.len() as u64, streams: 0 };
    if let Some(former) = &former {
        (shredded.number, shredded.keys, shredded.streams) = (former.number + 1, former.keys + shredded.keys, former.streams);
    }
    let made = make(folder, &mut manifest, shredded, (&keys, &heard), told).and_then(|()| manifest.write(folder));
    if let Err(error) = made {
        // What counts is the error that ended it; the next run cleans up as well.
        drop(Manifest::read(folder).and_then(|manifest| clean(folder, &manifest)));
        return Err(error);
    }
    told(folder, Stage::Named);
    clean(folder, &manifest)?;
    told(folder, Stage::Removed);
    Ok(keys.len() as u64)
}

/// Makes the keyring without these keys, and what belongs to it, in a directory of its own, and changes the manifest to name that.
fn make(folder: &Path, manifest: &mut Manifest, mut shredded: Shredded, gone: (&HashSet<KeyId>, &[Record]), told: Told<'_>) -> Result<(), HomeError> {
    let ((keys, records), former) = (gone, manifest.keys_folder());
    let mut states = states(folder, manifest)?;
    shredded.streams += states.forget(keys);
    let name = format!("{WITHOUT}{}", shredded.number);
    let into = folder.join(&name);
    DirBuilder::new().mode(0o700).create(&into).map_err(|error| io(&into, error))?;
    let spoiled = manifest.spoiled_keyring(folder)?;
    copy_keyring(&folder.join(&former), spoiled, &into)?;
    told(folder, Stage::Copied);
    SqliteKeyring::destroy_at(&into, &keys.iter().copied().collect::<Vec<_>>()).map_err(|error| problem(&into, error))?;
    let finish = || {
        for name in KEYRING {
            let journal = into.join(format!("{name}-journal"));
            if journal.exists() {
                fs::remove_file(journal)?;
            }
        }
        shreds::write(&into.join(SHREDS), records)?;
        fs::write(into.join(STATES), states.to_bytes())?;
        for entry in fs::read_dir(&into)? {
            File::open(entry?.path())?.sync_all()?;
        }
        File::open(&into)?.sync_all()?;
        File::open(folder)?.sync_all()
    };
    finish().map_err(|error| io(&into, error))?;
    told(folder, Stage::Made);
    let lies_with_it = KEYRING.iter().chain(&[STATES, SHREDS]);
    let replaced: Vec<String> = lies_with_it.clone().map(|name| format!("{former}{name}")).collect();
    manifest.files.retain(|held| !replaced.contains(&held.name));
    for file in lies_with_it {
        manifest.files.push(measure(folder, &format!("{name}/{file}"))?);
    }
    manifest.files.sort_by(|one, other| one.name.cmp(&other.name));
    manifest.state_hash = base16ct::lower::encode_string(&states.hash().hash);
    manifest.shredded = Some(shredded);
    Ok(())
}

/// The states that a backup holds; they must make the hash that its manifest says.
pub(super) fn states(folder: &Path, manifest: &Manifest) -> Result<States, HomeError> {
    let path = folder.join(manifest.keys_folder()).join(STATES);
    let bytes = fs::read(&path).map_err(|error| io(&path, error))?;
    let states = States::from_bytes(&bytes).ok_or_else(|| problem(&path, "it is damaged: it is no list of states"))?;
    let says = (manifest.position, manifest.state_hash.clone());
    if (states.position(), base16ct::lower::encode_string(&states.hash().hash)) == says {
        Ok(states)
    } else {
        Err(problem(&folder.join(MANIFEST), "the state hash that it says is not the one that its states make"))
    }
}

/// Copies both files of a backup's keyring, but for a spoiled one, in whose place the other one stands twice: a damaged file must not become the one
/// that counts.
pub(super) fn copy_keyring(keys: &Path, spoiled: Option<&str>, into: &Path) -> Result<(), HomeError> {
    for name in KEYRING {
        let whole = KEYRING.into_iter().find(|other| *other != name).filter(|_| spoiled == Some(name)).unwrap_or(name);
        let (from, copy) = (keys.join(whole), into.join(name));
        fs::copy(&from, &copy).and_then(|_| writable(&copy)).and_then(|()| File::open(&copy)?.sync_all()).map_err(|error| io(&from, error))?;
    }
    Ok(())
}

/// Overwrites and removes what lies beside the keyring that the manifest names: the one before it, and what a kill left.
fn clean(folder: &Path, manifest: &Manifest) -> Result<(), HomeError> {
    let keys = manifest.keys_folder();
    let clean = || {
        let mut removed = false;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let of_the_keyring = KEYRING.iter().any(|file| name.starts_with(file)) || name == STATES;
            if name.starts_with(WITHOUT) && format!("{name}/") != keys && entry.file_type()?.is_dir() {
                for file in fs::read_dir(entry.path())? {
                    remove(&file?.path())?;
                }
                fs::remove_dir(entry.path())?;
            } else if (of_the_keyring && manifest.shredded.is_some()) || name == format!("{MANIFEST}.partial") {
                remove(&entry.path())?;
            } else {
                continue;
            }
            removed = true;
        }
        if removed { File::open(folder)?.sync_all() } else { Ok(()) }
    };
    clean().map_err(|error| io(folder, error))
}

/// A backup may have been made read-only, or copied so.
fn writable(path: &Path) -> std::io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o600))
}

/// Overwrites a file and removes it. One that has other names as well is not overwritten: another backup may rest on it.
fn remove(path: &Path) -> std::io::Result<()> {
    if fs::symlink_metadata(path)?.nlink() > 1 {
        tracing::warn!(file = %path.display(), "this file was removed and has other names elsewhere, which hold the keys on");
        return fs::remove_file(path);
    }
    writable(path)?;
    erase(path)
}

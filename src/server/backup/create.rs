//! Making a backup beside a running server: the log first, the keyring second, the manifest last.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::inspect::walk;
use super::manifest::{Held, Manifest, STATES, measure, names};
use super::{list, problem};
use crate::kernel::{Moment, Position, TenantId};
use crate::keyring::{Keyring, Mode, Purpose, RootKeyProvider, SqliteKeyring};
use crate::log::segment::{FOLDER, chain, last_checkpoint, write_rest};
use crate::log::{SegmentLog, Signer};
use crate::seal::checkpoint;
use crate::server::home::{Home, HomeError, Reading, io};
use crate::server::partial::{Partial, sweep};
use crate::server::restore::{Progress, Step};
use crate::vault::VaultError;
use crate::views::{Opener, Snapshot, States, catch_up};

/// A backup that was made.
#[derive(Debug)]
pub struct Made {
    /// Where it lies.
    pub folder: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
    /// How many of its segments take no further room: another name of what lies in the data directory or in an earlier backup.
    pub linked: usize,
}

/// An earlier backup of the same history, whose segments are taken over.
type Earlier = Option<(PathBuf, Manifest)>;

impl Home {
    /// Makes a backup in a directory of its own below `to`, of the whole log as it stands, or through a position whose states are known. Nothing of
    /// it can be seen before it is whole. The vault is only read; a server may run on it.
    pub async fn back_up(&self, to: &Path, known: Option<States>, progress: Progress<'_>) -> Result<Made, HomeError> {
        let source = self.read()?;
        let to = self.parent(to)?;
        sweep(&to, ".");
        let states = match known {
            Some(states) => states,
            None => self.states_of(&source, progress).await?,
        };
        let made_at = self.clock.now();
        let target = to.join(format!("{}-{:012}", made_at.to_string().replace(':', "-"), states.position().0));
        let partial = Partial::begin(&target, &*self.random)?;
        let (manifest, linked) = self.fill_backup(partial.path(), &to, &source, &states, made_at).await?;
        // The lock told that somebody was at work here; a backup has none.
        let lock = partial.path().join("lock");
        fs::remove_file(&lock).map_err(|error| io(&lock, error))?;
        partial.place()?;
        Ok(Made { folder: target, manifest, linked })
    }

    /// Where backups lie: a directory outside the data.
    fn parent(&self, to: &Path) -> Result<PathBuf, HomeError> {
        let place = || {
            DirBuilder::new().recursive(true).mode(0o700).create(to)?;
            Ok((fs::canonicalize(to)?, fs::canonicalize(&self.folder)?))
        };
        let (to, data) = place().map_err(|error| io(to, error))?;
        if to.starts_with(&data) { Err(problem(&to, "it lies in the data directory: what destroys that would destroy its backups")) } else { Ok(to) }
    }

    /// The states at the log's end, folded on from the snapshot where there is one.
    async fn states_of(&self, source: &Reading, progress: Progress<'_>) -> Result<States, HomeError> {
        let end = *source.log.head().borrow();
        let key = source.keyring.purpose(TenantId::SYSTEM, Purpose::Snapshot)?.key;
        // Whatever is wrong with it: then all is folded.
        let from = Snapshot::read(&self.snapshot(), &*source.log, source.keyring.vault(), &key).await.unwrap_or_default();
        let opener = Opener::new(source.keyring.clone());
        opener.forget(from.index.dead_facts());
        let (mut views, mut tree) = (from.views, from.index.tree().clone());
        catch_up(&mut views, &mut tree, &*source.log, &opener, end, &|at| progress(Step::Folding, at, end)).await?;
        let key = source.keyring.purpose(TenantId::SYSTEM, Purpose::State)?.key;
        Ok(views.states(&key).map_err(VaultError::from)?)
    }

    async fn fill_backup(&self, into: &Path, parent: &Path, source: &Reading, states: &States, made_at: Moment) -> Result<(Manifest, usize), HomeError> {
        let state = states.hash();
        let (segments, vault, until) = (into.join(FOLDER), source.keyring.vault(), state.position);
        DirBuilder::new().mode(0o700).create(&segments).map_err(|error| io(&segments, error))?;
        let last = source.log.fetch(&[until]).await?;
        let epoch = last.first().map(|record| record.header().epoch).ok_or(HomeError::PastTheEnd(until))?;
        let of_this_history = |manifest: &Manifest| manifest.vault == vault && manifest.epoch == epoch && manifest.position <= until;
        let earlier: Earlier = list(parent)?.into_iter().find_map(|(path, manifest)| Some((path, manifest.ok().filter(of_this_history)?)));
        let linked = take_over(&self.folder.join(FOLDER), &earlier, &segments, source, until)?;
        write_rest(&*source.log, &segments, vault, signer(&source.keyring)?, until).await?;
        // After the log: a slot is used only when its batch is in the keyring.
        source.keyring.copy_to(into)?;
        let root = self.key_file(vault)?;
        let (keyring, _) = SqliteKeyring::open(into, &root as &dyn RootKeyProvider, Mode::Read, 1, Arc::clone(&self.random))?;
        let log = SegmentLog::open(&segments)?;
        let end = walk(&log, &keyring).map_err(|cause| problem(&self.folder, format!("no backup was made: {cause}")))?;
        drop(keyring);
        if end.position != until || end.epoch != epoch {
            return Err(problem(&self.folder, format!("no backup was made: its segments end at position {}, and the log at {until}", end.position)));
        }
        let file = into.join(STATES);
        fs::write(&file, states.to_bytes()).and_then(|()| File::open(&file)?.sync_all()).map_err(|error| io(&file, error))?;
        let hex = |bytes: &[u8]| base16ct::lower::encode_string(bytes);
        let manifest = Manifest {
            format: Manifest::format(),
            vault,
            epoch,
            position: until,
            records: end.tree.size(),
            merkle_root: hex(&end.tree.root()),
            fold_version: state.fold_version,
            state_hash: hex(&state.hash),
            made_at,
            checkpoint: last_checkpoint(&segments)?,
            files: names(into, "")?.iter().map(|name| measure(into, name)).collect::<Result<_, _>>()?,
            shredded: None,
        };
        manifest.write(into)?;
        Ok((manifest, linked))
    }
}

/// Signs checkpoints with the vault's own key.
fn signer(keyring: &SqliteKeyring) -> Result<Signer, HomeError> {
    let (seed, vault) = (keyring.purpose(TenantId::SYSTEM, Purpose::Checkpoint)?.key, keyring.vault());
    Ok(Arc::new(move |epoch, size, root| checkpoint::sign(vault, epoch, size, *root, &seed)))
}

/// Takes the closed segments over: by another name where the file system has that, otherwise as a copy. How many took no room.
fn take_over(data: &Path, earlier: &Earlier, into: &Path, source: &Reading, until: Position) -> Result<usize, HomeError> {
    let further = whole_of(earlier);
    let mut linked = 0;
    for path in chain(data, &further, source.keyring.vault(), until)? {
        let Some(name) = path.file_name() else { continue };
        let target = into.join(name);
        let take = || {
            let length = fs::metadata(&path)?.len();
            let held = further.iter().find(|held| held.file_name() == Some(name) && fs::metadata(held).is_ok_and(|about| about.len() == length));
            let is_linked = held.into_iter().chain([&path]).any(|from| fs::hard_link(from, &target).is_ok());
            if !is_linked {
                // Mostly another file system. The copy is read-only, as what it is a copy of.
                fs::copy(&path, &target)?;
            }
            File::open(&target)?.sync_all()?;
            Ok(is_linked)
        };
        linked += usize::from(take().map_err(|error| io(&target, error))?);
    }
    Ok(linked)
}

/// The segments of an earlier backup that are still as they were made.
fn whole_of(earlier: &Earlier) -> Vec<PathBuf> {
    let Some((folder, manifest)) = earlier else { return Vec::new() };
    let is_whole = |held: &&Held| held.name.starts_with(FOLDER) && measure(folder, &held.name).is_ok_and(|found| found == **held);
    manifest.files.iter().filter(is_whole).map(|held| folder.join(&held.name)).collect()
}

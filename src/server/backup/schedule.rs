//! Backups that make themselves: one at each interval, verified by a rehearsal, and old ones removed.

use std::collections::HashSet;
use std::fs::{self, File};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::keep::Forgetting;
use super::{Manifest, list};
use crate::kernel::{Epoch, Moment, VaultId};
use crate::server::home::{Home, HomeError, io};
use crate::vault::{Vault, VaultError};

/// How often it is looked whether a backup is due.
const LOOK: Duration = Duration::from_secs(60);
/// After a failure the next try is so late at most, in seconds.
const AGAIN: i64 = 3600;

/// The schedule of one vault's backups.
pub struct Backups {
    home: Arc<Home>,
    vault: Arc<Vault>,
    to: PathBuf,
    every_seconds: i64,
    keep: usize,
    due: Moment,
    forgetting: Arc<Forgetting>,
}

impl Backups {
    /// Of a vault that is served, into a directory, at an interval; so many are kept. Whatever lies there already counts.
    pub fn new(home: Arc<Home>, vault: Arc<Vault>, to: PathBuf, every: Duration, keep: usize) -> Result<Self, HomeError> {
        let every_seconds = i64::try_from(every.as_secs()).unwrap_or(i64::MAX);
        let id = vault.keyring().vault();
        let newest = if to.exists() { newest(&to, id)? } else { None };
        let due = newest.map_or_else(|| vault.now(), |made_at| made_at.plus_seconds(every_seconds));
        vault.expect_backups(every_seconds, newest);
        let forgetting = Arc::new(Forgetting::new(Arc::clone(&vault), to.clone()));
        Ok(Self { home, vault, to, every_seconds, keep: keep.max(1), due, forgetting })
    }

    /// Runs until `stop` becomes true; a backup under way is given up then, and leaves nothing. What is shredded meanwhile goes from the backups
    /// that are there, whether one is being made or not.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        let forgetting = Arc::clone(&self.forgetting);
        tokio::join!(self.make_them(stop.clone()), forgetting.run(stop));
    }

    /// Brings what was shredded into the backups that are there.
    pub async fn forget(&self) {
        self.forgetting.pass().await;
    }

    async fn make_them(mut self, mut stop: watch::Receiver<bool>) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            tokio::select! {
                _ = self.look() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Makes and verifies a backup if one is due; whether it did. A failure is told in the log of the process and in the server's health.
    pub async fn look(&mut self) -> bool {
        let now = self.vault.now();
        if now < self.due {
            return false;
        }
        match self.make().await {
            Ok(made_at) => {
                self.due = now.plus_seconds(self.every_seconds);
                self.vault.note_backup(Some(made_at));
            }
            Err(error) => {
                tracing::error!(%error, "no backup was made and verified");
                self.due = now.plus_seconds(self.every_seconds.min(AGAIN));
                self.vault.note_backup(None);
            }
        }
        true
    }

    async fn make(&self) -> Result<Moment, HomeError> {
        let position = self.vault.views().position();
        let states = self.vault.states_at(position).await?.map_err(|_| HomeError::NotTheSame("another read of the past was under way"))?;
        let (home, to) = (Arc::clone(&self.home), self.to.clone());
        let made = apart(async move { home.back_up(&to, Some(states), &|_, _, _| ()).await }).await?;
        // What was shredded while it was made.
        self.forget().await;
        tracing::info!(backup = %made.folder.display(), position = made.manifest.position.0, bytes = made.manifest.bytes(), linked = made.linked, "a backup was made");
        let backup = self.home.of(made.folder.clone());
        let proof = apart(async move { backup.verify_backup(None, &|_, _, _| ()).await }).await?;
        self.vault.record_verified(|| proof.event()).await?;
        tracing::info!(backup = %made.folder.display(), "a restore from the backup was rehearsed, and came out as the log says");
        for gone in prune(&self.to, made.manifest.vault, made.manifest.epoch, self.keep, &made.folder)? {
            tracing::info!(backup = %gone.display(), "an old backup was removed");
        }
        Ok(made.manifest.made_at)
    }
}

/// Runs what reads and writes files for long on a thread of its own, so that no request waits for it.
pub(super) async fn apart<T: Send + 'static>(work: impl Future<Output = Result<T, HomeError>> + Send + 'static) -> Result<T, HomeError> {
    let runtime = tokio::runtime::Handle::current();
    let done = tokio::task::spawn_blocking(move || runtime.block_on(work)).await;
    done.map_err(|error| VaultError::Stopped(error.to_string()))?
}

/// When the newest backup of a vault was made.
fn newest(folder: &Path, vault: VaultId) -> Result<Option<Moment>, HomeError> {
    let of_it = |manifest: &Manifest| manifest.vault == vault;
    Ok(list(folder)?.into_iter().find_map(|(_, manifest)| manifest.ok().filter(of_it)).map(|manifest| manifest.made_at))
}

/// Removes all but the newest backups of one history of a vault, and never the one that was verified last. Those of other histories are not ours
/// to remove: a vault that was restored as a drill may be given the same directory.
fn prune(folder: &Path, vault: VaultId, epoch: Epoch, keep: usize, verified: &Path) -> Result<Vec<PathBuf>, HomeError> {
    let of_it = |manifest: &Manifest| manifest.vault == vault && manifest.epoch == epoch;
    let ours = list(folder)?.into_iter().filter(|(_, manifest)| manifest.as_ref().is_ok_and(of_it)).map(|(path, _)| path);
    let old: HashSet<PathBuf> = ours.skip(keep).filter(|path| path != verified).collect();
    for path in &old {
        // Out of sight first, so that nobody takes half a backup for one; what a kill leaves of it is removed before the next backup is made.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let hidden = path.with_file_name(format!(".{name}.{:016x}.partial", 0));
        let remove = || {
            let lock = File::create(path.join("lock"))?;
            flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
            fs::rename(path, &hidden)?;
            fs::remove_dir_all(&hidden)
        };
        remove().map_err(|error| io(path, error))?;
    }
    Ok(old.into_iter().collect())
}

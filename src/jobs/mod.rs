//! What runs beside the requests: snapshots, uses and denials that are noted, and the daily destruction of keys that are out of use.

mod checkpoints;
mod refresher;
mod webhooks;

pub use checkpoints::{
    ANCHOR_LIMITS, Anchor, AnchorError, AnchorFile, BadAnchor, Checkpoints, Post, PostError, post_newest, post_one, read_newest, write_newest,
};
pub use refresher::Refresher;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

pub use webhooks::{Held, LIMITS as WEBHOOK_LIMITS, Line, Sent, Step, Tested, Webhooks};

use crate::kernel::{Position, Random, TenantId};
use crate::keyring::Purpose;
use crate::vault::{Vault, VaultError};
use crate::views::SnapshotError;

/// How often uses and denials are written, and it is looked whether a snapshot is due.
const LOOK: Duration = Duration::from_secs(60);
/// A snapshot is due when the log has grown by so many events: folding them takes a fraction of a second.
const SNAPSHOT_EVERY: u64 = 50_000;
/// How often keys that are due die.
const RETENTION: Duration = Duration::from_secs(24 * 3600);

/// A snapshot could not be written. The vault goes on without it.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The file.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// The jobs of one vault.
pub struct Jobs {
    vault: Arc<Vault>,
    random: Arc<dyn Random>,
    /// Where the snapshot lies, and up to where it reaches.
    snapshot: (PathBuf, Position),
}

impl Jobs {
    /// For this vault, whose snapshot lies at a path.
    #[must_use]
    pub fn new(vault: Arc<Vault>, random: Arc<dyn Random>, snapshot: PathBuf) -> Self {
        Self { vault, random, snapshot: (snapshot, Position::ZERO) }
    }

    /// Runs until `stop` becomes true, and then writes a last snapshot.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let (mut look, mut retention) = (interval(LOOK), interval(RETENTION));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        retention.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick() => {
                    self.notes().await;
                    self.vault.log().tend(self.vault.now()).await;
                    self.end_tenants().await;
                    self.snapshot(SNAPSHOT_EVERY).await;
                }
                _ = retention.tick() => self.retain().await,
                () = told(&mut stop) => break,
            }
        }
        self.notes().await;
        self.snapshot(1).await;
    }

    /// Takes away what has no user any more, and shreds what is out of use.
    async fn retain(&self) {
        if let Err(error) = self.vault.remove_leftovers().await {
            tracing::warn!(%error, "what was left of deleted users could not be removed");
        }
        match self.vault.shred_due().await {
            Ok(0) => {}
            Ok(gone) => tracing::info!(gone, "secrets that were out of use are shredded"),
            Err(error) => tracing::error!(%error, "secrets that are out of use could not be shredded"),
        }
    }

    /// Carries out the ends of tenants that have come.
    async fn end_tenants(&self) {
        match self.vault.end_tenants().await {
            Ok(0) => {}
            Ok(ended) => tracing::info!(ended, "tenants were shredded, as it was asked for and approved"),
            Err(error) => tracing::error!(%error, "a tenant could not be shredded"),
        }
    }

    /// Writes which secrets were used and which requests were denied since the last time.
    async fn notes(&self) {
        self.vault.write_denials().await;
        if let Err(error) = self.vault.write_usage().await {
            tracing::warn!(%error, "uses of secrets could not be written; they are kept for the next time");
        }
        if let Err(error) = self.vault.write_calls().await {
            tracing::warn!(%error, "calls that were passed through could not be written; they are kept for the next time");
        }
    }

    /// Writes a snapshot if the log has grown by so much since the last one.
    async fn snapshot(&mut self, growth: u64) {
        match self.write_snapshot(growth).await {
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "no snapshot was written; the next start folds more of the log"),
        }
    }

    async fn write_snapshot(&mut self, growth: u64) -> Result<(), JobError> {
        let (path, last) = &mut self.snapshot;
        // What is only read is put in order by its operator first.
        if self.vault.views().position().0 < last.0 + growth || self.vault.lost().is_some() {
            return Ok(());
        }
        let mut turn = self.vault.snapshot_turn().await;
        *turn = Some(path.clone());
        let Some(snapshot) = self.vault.snapshot().await else { return Ok(()) };
        let keyring = self.vault.keyring();
        let key = keyring.purpose(TenantId::SYSTEM, Purpose::Snapshot).map_err(VaultError::from)?.key;
        let (position, log, vault) = (snapshot.views.position(), Arc::clone(self.vault.log()), keyring.vault());
        snapshot.write(path, &*log, vault, &key, &*self.random).await?;
        *last = position;
        Ok(())
    }
}

/// Waits until the vault is told to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    // Whoever could tell is gone: that is a reason to stop as well.
    drop(stop.wait_for(|stop| *stop).await);
}

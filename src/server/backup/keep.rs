//! A served vault's backups forget what it shreds: at once, at the start what was shredded before, and again where that failed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::forget::{Fate, Known, Scope, Teller};
use super::schedule::apart;
use super::shreds;
use crate::kernel::Position;
use crate::server::home::HomeError;
use crate::vault::Vault;
use crate::views::Opener;

/// How often it is looked at without being told: for those that could not be changed, and those that were put there.
const AGAIN: Duration = Duration::from_secs(60);

/// Of a vault that is served, in one directory.
pub(super) struct Forgetting {
    vault: Arc<Vault>,
    to: PathBuf,
    known: Arc<Mutex<Known>>,
}

impl Forgetting {
    pub fn new(vault: Arc<Vault>, to: PathBuf) -> Self {
        Self { vault, to, known: Arc::default() }
    }

    /// Runs until `stop` becomes true; a pass under way is ended first, and what it could not do is made up for at the next start.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        let (mut again, mut shreds) = (interval(AGAIN), self.vault.shreds());
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = again.tick() => {}
                told = shreds.changed() => if told.is_err() { return },
                _ = stop.wait_for(|stop| *stop) => return,
            }
            // Whatever is shredded from here on is of the next pass: many shreds are brought by few.
            shreds.borrow_and_update();
            self.pass().await;
        }
    }

    /// One pass. What could not be changed is told in the log of the process and in the server's health.
    pub async fn pass(&self) {
        let remembering = match self.tell().await {
            Ok(remembering) => remembering,
            Err(error) => {
                let lacks = self.lacks().await;
                if lacks {
                    tracing::error!(%error, backups = %self.to.display(), "what was shredded could not be brought into the backups");
                }
                usize::from(lacks)
            }
        };
        self.vault.note_remembering(remembering);
    }

    /// Tells the backups; how many could not be changed.
    async fn tell(&self) -> Result<usize, HomeError> {
        if !self.to.exists() && self.vault.views().verified_backup().is_none() {
            return Ok(0);
        }
        // A restore that nobody has let go out yet may be a drill, which must not harm what it was restored from.
        let scope = if self.vault.views().is_held() { Scope::Epoch } else { Scope::Vault };
        let teller = Teller { log: Arc::clone(self.vault.log()), keyring: Arc::clone(self.vault.keyring()) };
        let (to, mut known) = (self.to.clone(), Arc::clone(&self.known).lock_owned().await);
        let fates = apart(async move { teller.tell(&to, scope, &mut known, &|_, _| ()).await }).await?;
        let mut remembering = 0;
        for (backup, fate) in fates {
            match fate {
                Fate::Current => {}
                Fate::Forgot(keys) => tracing::info!(backup = %backup.display(), keys, "what was shredded is gone from a backup"),
                Fate::Remembers(error) => {
                    remembering += 1;
                    tracing::error!(backup = %backup.display(), %error, "what was shredded since may still be in a backup: it could not be changed");
                }
            }
        }
        Ok(remembering)
    }

    /// Whether something was shredded that some backup which was seen, or verified, does not know of.
    async fn lacks(&self) -> bool {
        let seen = self.known.lock().await.values().min().copied();
        let verified = || self.vault.views().verified_backup().map_or(Position::ZERO, |verified| verified.position);
        let opener = Opener::new(Arc::clone(self.vault.keyring()));
        let since = shreds::since(&**self.vault.log(), seen.unwrap_or_else(verified), &opener).await;
        since.map_or(true, |since| !since.is_empty())
    }
}

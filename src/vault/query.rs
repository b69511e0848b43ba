//! Reads: now, or as of a moment of the past.

use std::sync::{Arc, PoisonError};

use tokio::sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit};

use super::{Vault, VaultError};
use crate::kernel::{Epoch, Moment, Position, TenantId};
use crate::keyring::Purpose;
use crate::views::{CatchUpError, Live, Root, StateHash, States, Views, catch_up};

/// A fold over more events than this is deep: one of them runs at a time.
const DEEP: u64 = 20_000;
/// How long a read waits for a position that it was promised.
const REACH: std::time::Duration = std::time::Duration::from_secs(5);
/// How many shallow folds run at once; further ones wait.
const SHALLOW_AT_ONCE: usize = 4;

/// Another deep read of the past is under way, or a position was not reached in time: to be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("busy: to be tried again")]
pub struct Busy;

/// Turns for folding the past.
pub(super) struct Reads {
    deep: Mutex<()>,
    shallow: Semaphore,
}

impl Default for Reads {
    fn default() -> Self {
        Self { deep: Mutex::default(), shallow: Semaphore::new(SHALLOW_AT_ONCE) }
    }
}

/// A turn, held while the past is looked through.
#[expect(dead_code, reason = "held, and not looked into")]
pub(super) enum Turn<'a> {
    Deep(MutexGuard<'a, ()>),
    Shallow(SemaphorePermit<'a>),
}

/// What can be said of a position without any secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateAt {
    /// When its last event was taken.
    pub recorded_at: Moment,
    /// The history it belongs to.
    pub epoch: Option<Epoch>,
    /// How many records there are through it.
    pub records: u64,
    /// RFC 6962 root over them.
    pub merkle_root: [u8; 32],
    /// The hash of all states.
    pub state: StateHash,
}

impl Vault {
    /// The views as they were at a position, rounded down to a whole group.
    pub async fn views_at(&self, position: Position) -> Result<Result<Arc<Views>, Busy>, VaultError> {
        let now = self.views();
        if position >= now.position() {
            return Ok(Ok(now));
        }
        Ok(Box::pin(self.past(position)).await?.map(|root| root.views))
    }

    /// The state hash and the Merkle root at a position, rounded down to a whole group.
    pub async fn state_at(&self, position: Position) -> Result<Result<StateAt, Busy>, VaultError> {
        let Ok(root) = self.root_at(position).await? else { return Ok(Err(Busy)) };
        // It hashes every state: as many at once as there are folds.
        let _turn = self.reads.shallow.acquire().await;
        let state = root.views.state_hash(&self.keyring.purpose(TenantId::SYSTEM, Purpose::State)?.key)?;
        let last = self.log.fetch(&[root.views.position()]).await?;
        Ok(Ok(StateAt {
            recorded_at: root.views.recorded_at(),
            epoch: last.first().map(|record| record.header().epoch),
            records: root.tree.size(),
            merkle_root: root.tree.root(),
            state,
        }))
    }

    /// Every state at a position by its HMAC, rounded down to a whole group.
    pub async fn states_at(&self, position: Position) -> Result<Result<States, Busy>, VaultError> {
        let Ok(root) = self.root_at(position).await? else { return Ok(Err(Busy)) };
        let _turn = self.reads.shallow.acquire().await;
        Ok(Ok(root.views.states(&self.keyring.purpose(TenantId::SYSTEM, Purpose::State)?.key)?))
    }

    async fn root_at(&self, position: Position) -> Result<Result<Root, Busy>, VaultError> {
        let now = self.snapshot_root().await?;
        if position >= now.views.position() {
            return Ok(Ok(now));
        }
        Box::pin(self.past(position)).await
    }

    /// The views and the tree at an earlier position, folded on from the nearest root (boxed by callers: it is large). A long way leaves roots behind it, so that it is gone once.
    async fn past(&self, position: Position) -> Result<Result<Root, Busy>, VaultError> {
        let kept = self.views.turn();
        let from = self.views.root_before(position);
        if from.views.position() == position {
            return Ok(Ok(from));
        }
        let Ok(turn) = self.turn(position.0 - from.views.position().0).await else { return Ok(Err(Busy)) };
        let is_deep = matches!(turn, Turn::Deep(_));
        let (mut views, mut tree, mut next) = ((*from.views).clone(), from.tree, from.views.position());
        loop {
            next = if is_deep { Live::next_root(next).min(position) } else { position };
            match catch_up(&mut views, &mut tree, &*self.log, &self.opener, next, &|_| ()).await {
                Ok(()) => {}
                Err(CatchUpError::Log(error)) => return Err(error.into()),
                Err(CatchUpError::Fold(error)) => return Err(error.into()),
            }
            let root = Root { views: Arc::new(views.clone()), tree: tree.clone() };
            if is_deep {
                self.views.keep(root.clone(), kept);
            }
            if next == position {
                self.views.note(root.clone(), kept);
                return Ok(Ok(root));
            }
        }
    }

    /// A turn at looking through so many events of the past.
    pub(super) async fn turn(&self, events: u64) -> Result<Turn<'_>, Busy> {
        if events > DEEP {
            return self.reads.deep.try_lock().map(Turn::Deep).map_err(|_| Busy);
        }
        // It is never closed.
        self.reads.shallow.acquire().await.map(Turn::Shallow).map_err(|_| Busy)
    }

    async fn snapshot_root(&self) -> Result<Root, VaultError> {
        let views = Arc::clone(&self.views);
        let root = self.sequencer.look(move |index| Root { views: views.load(), tree: index.tree().clone() }).await;
        root.ok_or_else(|| VaultError::Stopped("the sequencer has stopped".into()))
    }

    /// Waits until the views have reached a position, for a moment only.
    pub async fn reached(&self, position: Position) -> Result<(), Busy> {
        let mut head = self.sequencer.head();
        let reached = tokio::time::timeout(REACH, head.wait_for(|head| *head >= position)).await;
        if matches!(reached, Ok(Ok(_))) { Ok(()) } else { Err(Busy) }
    }

    /// The views' last position, and a wake-up when it grows.
    #[must_use]
    pub fn head(&self) -> tokio::sync::watch::Receiver<Position> {
        self.sequencer.head()
    }

    /// The last position recorded strictly before an instant.
    pub async fn seek(&self, instant: Moment) -> Result<Position, VaultError> {
        Ok(self.log.seek(instant).await?)
    }

    /// The time, as the vault's clock tells it.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Time that only goes on, whatever happens to the clock on the wall: for waits, and not for dates.
    #[must_use]
    pub fn steady(&self) -> Moment {
        Moment::from_millis(i64::try_from(self.clock.steady_millis()).unwrap_or(i64::MAX))
    }

    /// Why the vault takes no commands, as far as the latest one tells; `None` when it does.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let refusing = || self.refusing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.views.failure().or_else(|| self.lost()).or_else(|| self.log.trouble()).or_else(refusing)
    }
}

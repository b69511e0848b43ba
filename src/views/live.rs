//! The views of a running vault: folded by the sequencer, read by everybody.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::roots::Roots;
use super::{FoldCause, FoldError, Opener, Root, Views, destroys_facts};
use crate::kernel::Position;
use crate::log::{Index, Subscriber};
use crate::seal::Record;

/// The current views, and earlier ones. A block is shown at once, and only as far as its last whole group.
pub struct Live {
    opener: Arc<Opener>,
    current: ArcSwap<Views>,
    folding: Mutex<Views>,
    roots: Mutex<Roots>,
    failed: Mutex<Option<String>>,
    turn: AtomicU64,
    unexplained: AtomicBool,
    /// Whether a key that is gone is no news: the shred that took it is looked for next.
    trying: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    /// From these views on, to be folded by a sequencer that catches up.
    #[must_use]
    pub fn new(opener: Arc<Opener>, from: Views) -> Self {
        Self {
            opener,
            current: ArcSwap::from_pointee(from.clone()),
            folding: Mutex::new(from),
            roots: Mutex::default(),
            failed: Mutex::default(),
            turn: AtomicU64::default(),
            unexplained: AtomicBool::default(),
            trying: AtomicBool::default(),
        }
    }

    /// Says whether a fold that stops at a key that is gone is tried again, once its end is known.
    pub fn try_first(&self, trying: bool) {
        self.trying.store(trying, Ordering::SeqCst);
    }

    /// One consistent snapshot.
    #[must_use]
    pub fn load(&self) -> Arc<Views> {
        self.current.load_full()
    }

    /// Why the fold has stopped; the views stand where they stood then.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        lock(&self.failed).clone()
    }

    /// The latest kept root at or before a position; an empty one when there is none.
    #[must_use]
    pub fn root_before(&self, position: Position) -> Root {
        lock(&self.roots).before(position)
    }

    /// Keeps what a read of the past has folded since a turn.
    pub fn keep(&self, root: Root, turn: u64) {
        let mut roots = lock(&self.roots);
        if self.turn() == turn {
            roots.keep(root);
        }
    }

    /// Keeps for a moment what a read of the past has folded since a turn.
    pub fn note(&self, root: Root, turn: u64) {
        let mut roots = lock(&self.roots);
        if self.turn() == turn {
            roots.note(root);
        }
    }

    /// Where a long read of the past from a position on leaves a root next.
    #[must_use]
    pub fn next_root(position: Position) -> Position {
        Roots::next_after(position)
    }

    /// How often kept roots were dropped: one that was folded before is not kept after.
    #[must_use]
    pub fn turn(&self) -> u64 {
        self.turn.load(Ordering::SeqCst)
    }

    /// Whether the fold stopped at a key that was destroyed, which a later event may explain.
    #[must_use]
    pub fn lacks_a_shred(&self) -> bool {
        self.unexplained.load(Ordering::SeqCst)
    }

    fn fold_one(&self, views: &mut Views, record: &Record, opened: Option<&Arc<[u8]>>) -> Result<(), FoldError> {
        let event = match opened {
            Some(json) if !self.opener.is_forgotten(record) => Some(Opener::stored(record, json)?.event),
            _ => self.opener.event(record)?,
        };
        if event.as_ref().is_some_and(destroys_facts) {
            // What was kept before holds more than may be kept.
            self.turn.fetch_add(1, Ordering::SeqCst);
            self.opener.note(record.header(), event.as_ref());
            *lock(&self.roots) = Roots::default();
        }
        views.take(record.header(), event);
        Ok(())
    }
}

impl Subscriber for Live {
    fn fold(&self, records: &[Record], opened: &[Option<Arc<[u8]>>], index: &Index) {
        let mut failed = lock(&self.failed);
        let mut views = lock(&self.folding);
        // Copied once, where the last group ends: a copy makes the next change of each map a copy as well.
        let whole = records.iter().rposition(|record| record.header().group.ends());
        for (place, (record, opened)) in records.iter().zip(opened).enumerate() {
            if failed.is_some() {
                return;
            }
            match self.fold_one(&mut views, record, opened.as_ref()) {
                Ok(()) if whole == Some(place) => {
                    let current = Arc::new(views.clone());
                    // The tree is that of the last record: where a group goes on, the views are not yet there.
                    if current.position() == index.head() && lock(&self.roots).want(current.position()) {
                        self.keep(Root { views: Arc::clone(&current), tree: index.tree().clone() }, self.turn());
                    }
                    self.current.store(current);
                }
                Ok(()) => {}
                Err(error) => {
                    let unexplained = matches!(error.cause, FoldCause::Unexplained(_));
                    self.unexplained.store(unexplained, Ordering::SeqCst);
                    if unexplained && self.trying.load(Ordering::SeqCst) {
                        tracing::debug!(%error, "the shreds are looked for first");
                    } else {
                        tracing::error!(%error, "the fold has stopped");
                    }
                    *failed = Some(error.to_string());
                }
            }
        }
    }
}

//! The views of a running vault: folded by the sequencer, read by everybody.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::{FoldError, Opener, Views};
use crate::log::Subscriber;
use crate::seal::Record;

/// The current views. A block is shown at once, and only as far as its last whole group.
pub struct Live {
    opener: Arc<Opener>,
    current: ArcSwap<Views>,
    folding: Mutex<Views>,
    failed: Mutex<Option<String>>,
}

impl Live {
    /// Empty views, to be folded by a sequencer that catches up.
    #[must_use]
    pub fn new(opener: Arc<Opener>) -> Self {
        Self { opener, current: ArcSwap::default(), folding: Mutex::default(), failed: Mutex::default() }
    }

    /// One consistent snapshot.
    #[must_use]
    pub fn load(&self) -> Arc<Views> {
        self.current.load_full()
    }

    /// Why the fold has stopped; the views stand where they stood then.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fold_one(&self, views: &mut Views, record: &Record, opened: Option<&Arc<[u8]>>) -> Result<(), FoldError> {
        let opened = match opened {
            Some(json) => Opener::read(record, Arc::clone(json), None)?,
            None => self.opener.open(record)?,
        };
        views.fold(record.header(), opened.stored.event);
        Ok(())
    }
}

impl Subscriber for Live {
    fn fold(&self, records: &[Record], opened: &[Option<Arc<[u8]>>]) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut views = self.folding.lock().unwrap_or_else(PoisonError::into_inner);
        // Copied once, where the last group ends: a copy makes the next change of each map a copy as well.
        let whole = records.iter().rposition(|record| record.header().group.ends());
        for (place, (record, opened)) in records.iter().zip(opened).enumerate() {
            if failed.is_some() {
                return;
            }
            match self.fold_one(&mut views, record, opened.as_ref()) {
                Ok(()) if whole == Some(place) => self.current.store(Arc::new(views.clone())),
                Ok(()) => {}
                Err(error) => {
                    tracing::error!(%error, "the fold has stopped");
                    *failed = Some(error.to_string());
                }
            }
        }
    }
}

//! Reads: now, or as of a moment of the past.

use std::sync::Arc;

use super::{Vault, VaultError};
use crate::kernel::{Moment, Position};
use crate::log::Index;
use crate::views::{CatchUpError, Views, catch_up};

impl Vault {
    /// The views as they were at a position, rounded down to a whole group. One such fold runs at a time; `None` when one is under way.
    pub async fn views_at(&self, position: Position) -> Result<Option<Arc<Views>>, VaultError> {
        let now = self.views();
        if position >= now.position() {
            return Ok(Some(now));
        }
        let Ok(_alone) = self.deep_reads.try_lock() else { return Ok(None) };
        let (mut views, mut index) = (Views::default(), Index::default());
        match catch_up(&mut views, &mut index, &*self.log, &self.opener, position, &|_| ()).await {
            Ok(()) => Ok(Some(Arc::new(views))),
            Err(CatchUpError::Log(error)) => Err(error.into()),
            Err(CatchUpError::Fold(error)) => Err(error.into()),
        }
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

    /// Why the vault takes no commands; `None` when it does.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.views.failure()
    }
}

//! Sends the newest checkpoint to a URL, through the one door to the outside. It never keeps the log waiting: of several that wait, the newest goes.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;

use crate::egress::{Egress, EgressError, EgressRefusal, Limits, Request};
use crate::kernel::{Moment, Secret};

/// How far a call may go: of the answer only its status counts.
pub const ANCHOR_LIMITS: Limits =
    Limits { connect: Duration::from_secs(5), whole: Duration::from_secs(10), body: 64 * 1024, at_once: 1, streams_at_once: 0, keep: Duration::ZERO };

/// Seconds until it is tried again, by how often it failed in a row; the last one stays.
const WAITS: [i64; 7] = [1, 2, 5, 15, 60, 300, 900];

/// A URL that takes checkpoints.
pub struct Post {
    egress: Egress,
    url: String,
    sent: Option<Arc<str>>,
    failed: usize,
    not_before: Moment,
}

impl Post {
    /// Through a door that must not refuse the URL.
    pub fn new(egress: Egress, url: String) -> Result<Self, EgressRefusal> {
        egress.vet_url(&url)?;
        Ok(Self { egress, url, sent: None, failed: 0, not_before: Moment::from_millis(0) })
    }

    /// Whether the note is to be sent now: it is another one, and no failure asks to wait.
    #[must_use]
    pub fn wants(&self, note: &Arc<str>, now: Moment) -> bool {
        now >= self.not_before && self.sent.as_ref() != Some(note)
    }

    /// Sends the note, once.
    pub async fn send(&mut self, note: &Arc<str>, now: Moment) -> Result<(), PostError> {
        let headers = vec![("content-type".to_owned(), Secret::from("text/plain; charset=utf-8"))];
        let request = Request { method: Method::POST, url: self.url.clone(), headers, body: Secret::from(&**note) };
        let answered = self.egress.send(request).await.map_err(PostError::from);
        let taken = answered.and_then(|answer| if (200..300).contains(&answer.status) { Ok(()) } else { Err(PostError::Status(answer.status)) });
        if taken.is_ok() {
            (self.sent, self.failed) = (Some(Arc::clone(note)), 0);
        } else {
            let wait = WAITS.get(self.failed).or(WAITS.last()).copied().unwrap_or(900);
            (self.failed, self.not_before) = (self.failed + 1, now.plus_seconds(wait));
        }
        taken
    }
}

/// Why a checkpoint was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// No answer.
    #[error(transparent)]
    Egress(#[from] EgressError),
    /// Another answer than 2xx.
    #[error("the answer has status {0}")]
    Status(u16),
}

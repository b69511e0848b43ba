//! What waits to be written: submissions in their order of arrival, each with its size, which is reckoned once.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::{Appended, MAX_BLOCK_BYTES, MAX_BLOCK_RECORDS, Submission, SubmitError};
use crate::seal::Draft;

/// Where a submission's answer goes.
pub(super) type Answer = oneshot::Sender<Result<Appended, SubmitError>>;

/// A submission, its size, and who waits for its answer.
pub(super) struct Waiting {
    pub submission: Submission,
    pub bytes: usize,
    pub answer: Answer,
}

/// Bytes of the records that a submission will be.
pub(super) fn size(submission: &Submission) -> usize {
    submission.drafts.iter().map(Draft::size).sum()
}

/// The front of the queue: about one block's worth, taken out of the bounded channel. What does not fit stays there, so that its limit
/// is the limit of all that waits.
#[derive(Default)]
pub(super) struct Queue {
    items: VecDeque<Waiting>,
    records: usize,
    bytes: usize,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether a whole block waits: taking more would only hold it in memory beside the channel.
    pub(super) const fn holds_a_block(&self) -> bool {
        self.records >= MAX_BLOCK_RECORDS || self.bytes >= MAX_BLOCK_BYTES
    }

    pub(super) fn push_back(&mut self, waiting: Waiting) {
        self.records += waiting.submission.drafts.len();
        self.bytes += waiting.bytes;
        self.items.push_back(waiting);
    }

    /// For what was taken and must be checked again.
    pub(super) fn push_front(&mut self, waiting: Waiting) {
        self.records += waiting.submission.drafts.len();
        self.bytes += waiting.bytes;
        self.items.push_front(waiting);
    }

    /// The next one, if a block that already holds so much has room for it.
    pub(super) fn pop_fitting(&mut self, records: usize, bytes: usize) -> Option<Waiting> {
        let next = self.items.front()?;
        if records + next.submission.drafts.len() > MAX_BLOCK_RECORDS || bytes + next.bytes > MAX_BLOCK_BYTES {
            return None;
        }
        self.items.pop_front().inspect(|taken| {
            self.records -= taken.submission.drafts.len();
            self.bytes -= taken.bytes;
        })
    }

    /// Tells all who wait why nothing is written.
    pub(super) fn fail(&mut self, error: &SubmitError) {
        for waiting in std::mem::take(self).items {
            drop(waiting.answer.send(Err(error.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(bytes: usize) -> Waiting {
        let submission = Submission { drafts: Vec::new(), expected: Vec::new(), opened: Vec::new(), guards: Vec::new() };
        Waiting { submission, bytes, answer: oneshot::channel().0 }
    }

    #[test]
    fn it_is_full_with_one_block_and_gives_no_more_than_fits() {
        let mut queue = Queue::default();
        queue.push_back(waiting(MAX_BLOCK_BYTES - 1));
        assert!(!queue.holds_a_block());
        queue.push_back(waiting(1));
        queue.push_back(waiting(2));
        assert!(queue.holds_a_block());
        assert!(queue.pop_fitting(0, 2).is_none(), "the first does not fit beside two bytes");
        let first = queue.pop_fitting(0, 0).unwrap();
        assert_eq!(queue.pop_fitting(0, first.bytes).unwrap().bytes, 1);
        assert!(queue.pop_fitting(0, MAX_BLOCK_BYTES).is_none(), "order is kept: nothing overtakes");
        assert!(!queue.holds_a_block() && !queue.is_empty());
        queue.push_front(first);
        assert_eq!(queue.pop_fitting(0, 0).unwrap().bytes, MAX_BLOCK_BYTES - 1);
    }
}

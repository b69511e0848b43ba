//! Earlier views that are kept, so that a read of the past folds a little and not the whole log.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Views;
use crate::kernel::Position;
use crate::seal::merkle::Frontier;

/// A root is kept when the log has grown by so many positions since the last one.
const EVERY: u64 = 10_000;
/// The most roots; they share all that did not change between them.
const MOST: usize = 64;
/// So many of the latest reads are kept beside them: whoever reads a page of the past reads the next one soon.
const RECENT: usize = 4;

/// The views at a position, and the hash tree over the records that made them.
#[derive(Clone, Debug, Default)]
pub struct Root {
    /// The views.
    pub views: Arc<Views>,
    /// The hash tree over all records through their position.
    pub tree: Frontier,
}

/// The kept ones.
#[derive(Default)]
pub(super) struct Roots {
    /// Oldest first.
    kept: Vec<Root>,
    /// What was read last, in no order.
    recent: VecDeque<Root>,
}

impl Roots {
    /// Whether the log has grown enough for another one.
    pub fn want(&self, position: Position) -> bool {
        position.0 >= self.kept.last().map_or(0, |last| last.views.position().0) + EVERY
    }

    /// Where a long read of the past from a position on leaves a root next.
    pub const fn next_after(position: Position) -> Position {
        Position(position.0.saturating_add(EVERY))
    }

    /// Keeps what a read has come to, in the place of the oldest such: one that is kept as well may have to go soon, or went at once.
    pub fn note(&mut self, root: Root) {
        if self.recent.iter().any(|recent| recent.views.position() == root.views.position()) {
            return;
        }
        self.recent.truncate(RECENT - 1);
        self.recent.push_front(root);
    }

    /// Keeps a root; beyond the limit, the one goes that leaves the smallest hole for its age: the past grows sparser with distance.
    pub fn keep(&mut self, root: Root) {
        let position = root.views.position();
        let place = self.kept.partition_point(|kept| kept.views.position() < position);
        if self.kept.get(place).is_some_and(|kept| kept.views.position() == position) {
            return;
        }
        self.kept.insert(place, root);
        if self.kept.len() <= MOST {
            return;
        }
        let at = |place: usize| self.kept.get(place).map_or(0, |kept| kept.views.position().0);
        let head = at(self.kept.len() - 1);
        let hole = |place: &usize| (at(place + 1) - if *place == 0 { 0 } else { at(place - 1) }) * 1_000_000 / (head - at(*place)).max(1);
        if let Some(least) = (0..self.kept.len() - 1).min_by_key(hole) {
            self.kept.remove(least);
        }
    }

    /// The latest one at or before a position; the empty views when there is none.
    pub fn before(&self, position: Position) -> Root {
        let place = self.kept.partition_point(|kept| kept.views.position() <= position);
        let kept = place.checked_sub(1).and_then(|place| self.kept.get(place));
        let recent = self.recent.iter().filter(|recent| recent.views.position() <= position);
        recent.chain(kept).max_by_key(|root| root.views.position()).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(position: u64) -> Root {
        Root { views: Arc::new(Views { position: Position(position), ..Views::default() }), tree: Frontier::default() }
    }

    #[test]
    fn the_nearest_root_before_a_position_is_found_and_old_ones_grow_sparse() {
        let mut roots = Roots::default();
        assert_eq!(roots.before(Position(5)).views.position(), Position::ZERO);
        for position in 1..=1000_u64 {
            let position = Position(position * EVERY);
            assert!(roots.want(position) && !roots.want(Position(position.0 - 1)));
            roots.keep(root(position.0));
        }
        assert_eq!(roots.kept.len(), MOST);
        let positions: Vec<u64> = roots.kept.iter().map(|kept| kept.views.position().0).collect();
        assert!(positions.is_sorted());
        let head = 1000 * EVERY;
        assert_eq!(positions.last(), Some(&head));
        for pair in positions.windows(2) {
            let (gap, age) = (pair[1] - pair[0], head - pair[0]);
            assert!(gap <= EVERY.max(age / 4), "a hole of {gap} at age {age}");
        }
        assert_eq!(roots.before(Position(head - 1)).views.position(), Position(head - EVERY));
        roots.keep(root(head));
        assert_eq!(roots.kept.len(), MOST, "the same position is kept once");
    }

    #[test]
    fn the_latest_reads_are_found_and_push_no_other_root_out() {
        let mut roots = Roots::default();
        roots.keep(root(EVERY));
        for position in 1..=RECENT as u64 + 1 {
            roots.note(root(EVERY + 10 * position));
            roots.note(root(EVERY + 10 * position));
            assert_eq!(roots.before(Position(EVERY + 10 * position + 9)).views.position(), Position(EVERY + 10 * position));
        }
        assert_eq!(roots.before(Position(EVERY + 19)).views.position(), Position(EVERY), "the oldest has gone");
        assert_eq!(roots.before(Position(EVERY + 29)).views.position(), Position(EVERY + 20));
        assert_eq!((roots.kept.len(), roots.recent.len()), (1, RECENT));
        assert!(!roots.want(Position(2 * EVERY - 1)) && roots.want(Position(2 * EVERY)), "they do not count as roots");
    }

    #[test]
    fn what_a_long_read_came_to_is_found_again_where_there_is_no_room_for_another_root() {
        let mut roots = Roots::default();
        for position in 1..=1000_u64 {
            roots.keep(root(position * EVERY));
        }
        // In the middle between two that are kept.
        let between: u64 = roots.kept[20..22].iter().map(|kept| kept.views.position().0).sum();
        let read = Position(between / 2);
        roots.keep(root(read.0));
        assert!(roots.before(read).views.position() < read, "it leaves the smallest hole, and has gone at once");
        roots.note(root(read.0));
        assert_eq!(roots.before(read).views.position(), read);
    }
}

//! An export line by line: what fits is shown, and what does not stands as the roots of the subtrees that it fills, so that the lines lead from the
//! first leaf to a checkpoint.

use std::ops::Range;

use super::access::Principal;
use super::export::Line;
use super::{Filter, Vault, VaultError};
use crate::kernel::{Position, Refusal};
use crate::log::Prover;
use crate::seal::Record;
use crate::seal::merkle::Frontier;

/// The lines of one export, as far as they have come.
pub struct Lines {
    prover: Prover,
    /// The next leaf.
    leaf: u64,
    /// Subtrees of leaves that are not shown, in their order, and not told yet: where each begins, how many leaves it has, its root.
    passing: Vec<(u64, u64, [u8; 32])>,
    /// Everything through this position was looked at.
    pub at: Position,
    /// How many events were shown.
    pub events: u64,
}

/// Full subtrees that fill a range, the largest that fit.
fn subtrees(mut range: Range<u64>) -> Vec<Range<u64>> {
    let mut found = Vec::new();
    while range.start < range.end {
        let fits = 1 << (range.end - range.start).ilog2();
        let aligned = if range.start == 0 { fits } else { 1 << range.start.trailing_zeros() };
        let end = range.start + aligned.min(fits);
        found.push(range.start..end);
        range.start = end;
    }
    found
}

impl Lines {
    /// Passes over a leaf, or a subtree of them. Two that make a larger one become that.
    fn pass(&mut self, mut count: u64, mut root: [u8; 32]) {
        let mut from = self.leaf;
        self.leaf += count;
        while let Some((before, _, left)) = self.passing.pop_if(|(before, size, _)| *size == count && before.is_multiple_of(2 * count)) {
            let mut both = Frontier::default();
            both.push_subtree(left, count);
            both.push_subtree(root, count);
            (from, count, root) = (before, 2 * count, both.root());
        }
        self.passing.push((from, count, root));
    }

    /// Tells what was passed over.
    fn told(&mut self, lines: &mut Vec<Line>) {
        lines.extend(self.passing.drain(..).map(|(leaf, count, root)| Line::passed(leaf, count, root)));
    }
}

impl Vault {
    /// The last position at or before one where a group ends: a log does not end inside one.
    pub async fn whole(&self, position: Position) -> Result<Position, VaultError> {
        let records = self.log.fetch(&[position]).await?;
        let group = records.first().map(|record| record.header().group).filter(|group| !group.ends());
        Ok(group.map_or(position, |group| Position(position.0.saturating_sub(u64::from(group.index) + 1))))
    }

    /// Begins an export: what lies before the filter is passed over at once.
    pub async fn lines(&self, filter: &Filter) -> Result<Lines, VaultError> {
        let prover = self.prover().await?;
        let at = Position(filter.from.0.saturating_sub(1));
        let mut lines = Lines { prover, leaf: 0, passing: Vec::new(), at, events: 0 };
        let before = lines.prover.size_at(at);
        self.pass_over(&mut lines, before).await?;
        Ok(lines)
    }

    /// The next lines.
    pub async fn next_lines(&self, principal: &Principal, filter: &Filter, lines: &mut Lines) -> Result<Vec<Line>, VaultError> {
        let (looked, through) = self.looked_through(principal, filter, lines.at).await?;
        let mut found = Vec::new();
        for (record, shown) in looked {
            self.take(lines, &record, shown, &mut found)?;
        }
        lines.at = through;
        Ok(found)
    }

    fn take(&self, lines: &mut Lines, record: &Record, shown: bool, found: &mut Vec<Line>) -> Result<(), VaultError> {
        if !shown {
            lines.pass(1, record.leaf());
            return Ok(());
        }
        lines.told(found);
        found.push(self.line(lines.leaf, record)?);
        lines.leaf += 1;
        lines.events += 1;
        Ok(())
    }

    /// Ends an export that leads to the checkpoint of a position: what lies between is passed over.
    pub async fn last_lines(&self, lines: &mut Lines, position: Position) -> Result<Vec<Line>, VaultError> {
        let size = lines.prover.size_at(position);
        self.pass_over(lines, size).await?;
        let mut last = Vec::new();
        lines.told(&mut last);
        let checkpoint = self.checkpoint(position).await?;
        if checkpoint.size != lines.leaf {
            return Err(VaultError::Refused(Refusal::InvalidState("the log changed beneath the export".into())));
        }
        last.push(Line::end(lines.events, position, &checkpoint.note));
        Ok(last)
    }

    async fn pass_over(&self, lines: &mut Lines, until: u64) -> Result<(), VaultError> {
        let parts = subtrees(lines.leaf..until.max(lines.leaf));
        let roots = lines.prover.roots(&*self.log, parts.clone()).await?;
        for (part, root) in parts.into_iter().zip(roots) {
            lines.pass(part.end - part.start, root);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtrees_fill_a_range_and_each_is_aligned() {
        for from in 0..70 {
            for to in from..140 {
                let (parts, mut at) = (subtrees(from..to), from);
                for part in parts {
                    let size = part.end - part.start;
                    assert!(part.start == at && size.is_power_of_two() && part.start % size == 0, "{part:?} of {from}..{to}");
                    at = part.end;
                }
                assert_eq!(at, to);
            }
        }
    }
}

//! How the unsynced writes to one file fare, sector by sector.

use crate::SECTOR;
use crate::pending::{Change, Pending};
use crate::rng::Rng;

/// How often, in percent, a touched sector is kept or dropped; the rest is
/// garbled. Drawn per file and image: a cut that loses one sector of many and a
/// cut that loses nearly all find different mistakes, and so does one file
/// kept whole while another is dropped.
const TEMPERS: [(usize, usize); 7] = [(100, 0), (0, 100), (98, 1), (90, 8), (50, 50), (34, 33), (10, 80)];

/// The file after the cut. `changes` are writes and truncations to one file
/// that had the content `base`.
pub fn tear(base: &[u8], changes: &[Pending], rng: &mut Rng) -> Vec<u8> {
    let sizes = sizes(base.len(), changes);
    let extent = sizes.iter().copied().max().unwrap_or(0).next_multiple_of(SECTOR);
    let mut bytes = base.to_vec();
    bytes.resize(extent, 0);
    let (keep, drop) = TEMPERS[rng.below(TEMPERS.len())];
    for touches in touches(&sizes, changes).chunk_by(|a, b| a.0 == b.0) {
        let start = touches[0].0 * SECTOR;
        let sector = &mut bytes[start..start + SECTOR];
        let survivors = match rng.below(100) {
            roll if roll < keep => touches.len(),
            roll if roll < keep + drop => version_before_last(touches.len(), rng),
            _ => {
                rng.fill(sector);
                continue;
            }
        };
        for &(_, index) in &touches[..survivors] {
            apply(&changes[index].change, start, sector);
        }
    }
    bytes.truncate(surviving_size(&sizes, rng));
    bytes
}

/// A dropped sector mostly holds what it held at the last sync, but the kernel
/// may also have written it out between two of the later writes.
fn version_before_last(versions: usize, rng: &mut Rng) -> usize {
    if rng.below(2) == 0 { 0 } else { rng.below(versions) }
}

/// The size is one that the file had since the last sync, most often the last.
fn surviving_size(sizes: &[usize], rng: &mut Rng) -> usize {
    match rng.below(4) {
        0 => sizes[rng.below(sizes.len())],
        _ => sizes[sizes.len() - 1],
    }
}

/// The size before the first change and after each.
fn sizes(base: usize, changes: &[Pending]) -> Vec<usize> {
    let mut sizes = vec![base];
    let mut size = base;
    for pending in changes {
        size = match pending.change {
            Change::Write { offset, bytes } => size.max(offset + bytes.len()),
            Change::Truncate { len } => len,
            Change::Create | Change::Delete => size,
        };
        sizes.push(size);
    }
    sizes
}

/// Pairs of a sector and a change that touched it, by sector, then in order.
fn touches(sizes: &[usize], changes: &[Pending]) -> Vec<(usize, usize)> {
    let mut touches = Vec::new();
    let mut reached = sizes[0]; // Old bytes may lie up to here.
    for (index, pending) in changes.iter().enumerate() {
        let (start, end) = match pending.change {
            Change::Write { offset, bytes } => (offset, offset + bytes.len()),
            Change::Truncate { len } => (len, reached),
            Change::Create | Change::Delete => continue,
        };
        reached = reached.max(sizes[index + 1]);
        touches.extend((start / SECTOR..end.div_ceil(SECTOR)).map(|sector| (sector, index)));
    }
    touches.sort_unstable();
    touches
}

/// Applies the part of a change that falls into the sector at `start`.
fn apply(change: &Change, start: usize, sector: &mut [u8]) {
    match *change {
        Change::Write { offset, bytes } => {
            let from = offset.max(start);
            let to = (offset + bytes.len()).min(start + sector.len());
            sector[from - start..to - start].copy_from_slice(&bytes[from - offset..to - offset]);
        }
        Change::Truncate { len } => sector[len.saturating_sub(start)..].fill(0),
        Change::Create | Change::Delete => {}
    }
}

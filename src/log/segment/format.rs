//! The bytes of a segment file: header, frame, footer.

use crate::kernel::{Epoch, Moment, Position, VaultId};
use crate::seal::merkle::Frontier;
use crate::seal::{Record, derive};

use super::MAX_FRAME;

const TITLE: &[u8; 20] = b"keyledger segment 1\n";
const CLOSED: &[u8; 16] = b"keyledger closed";
/// Bytes before the subtrees of a header: title, vault, epoch, before, first, leaves, count.
const HEADER: usize = TITLE.len() + 16 + 4 + 16 + 8 + 8 + 8 + 1;
/// Bytes of a checksum.
const CHECK: usize = 16;
/// The mark and length of a frame or footer.
pub(super) const PREFIX: usize = 5;
/// What stands at the very end of a closed file.
pub(super) const TAIL: usize = 8 + CLOSED.len();
/// The largest footer, in bytes: larger lengths come from damage.
const MAX_FOOTER: usize = 16 * 1024 * 1024;
pub(super) const FRAME: u8 = b'F';
pub(super) const FOOTER: u8 = b'E';

/// Bytes that are not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {cause}")]
pub struct Bad {
    /// Where in the file.
    pub offset: u64,
    /// What is wrong.
    pub cause: String,
}

impl Bad {
    pub(super) fn at(offset: u64, cause: impl Into<String>) -> Self {
        Self { offset, cause: cause.into() }
    }
}

/// What a file begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose log it is.
    pub vault: VaultId,
    /// Of all its records.
    pub epoch: Epoch,
    /// The last position before it.
    pub before: Position,
    /// The first position in it.
    pub first: Position,
    /// The hash tree over all records before it.
    pub tree: Frontier,
}

/// Where a frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Of its first record.
    pub position: Position,
    /// In the file.
    pub offset: u64,
    /// Of its first record.
    pub recorded_at: Moment,
}

/// What a closed file ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// How many records the file holds.
    pub records: u64,
    /// The last position.
    pub last: Position,
    /// Of the last record.
    pub recorded_at: Moment,
    /// The hash tree through the last record.
    pub tree: Frontier,
    /// Where frames begin: not every one.
    pub index: Vec<Entry>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

/// Takes a field of fixed size off the front.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (field, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*field)
}

fn u64_of(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes).map(u64::from_be_bytes)
}

fn u32_of(bytes: &mut &[u8]) -> Option<usize> {
    take(bytes).map(u32::from_be_bytes).and_then(|length| usize::try_from(length).ok())
}

fn moment(bytes: &mut &[u8]) -> Option<Moment> {
    u64_of(bytes).and_then(|millis| i64::try_from(millis).ok()).map(Moment::from_millis)
}

fn put_moment(out: &mut Vec<u8>, moment: Moment) {
    out.extend(u64::try_from(moment.millis()).unwrap_or(0).to_be_bytes());
}

fn put_tree(out: &mut Vec<u8>, tree: &Frontier) {
    let (size, subtrees) = tree.parts();
    out.extend(size.to_be_bytes());
    // One for each one bit of the size: at most 64.
    out.push(u8::try_from(subtrees.len()).unwrap_or(u8::MAX));
    for root in subtrees {
        out.extend(root);
    }
}

fn tree(bytes: &mut &[u8]) -> Option<Frontier> {
    let size = u64_of(bytes)?;
    let [count] = take(bytes)?;
    let subtrees = (0..count).map(|_| take(bytes)).collect::<Option<_>>()?;
    Frontier::from_parts(size, subtrees)
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    // All that is counted here is bounded far below.
    out.extend(u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

impl Header {
    /// Its bytes, and the checksum that all others of the file build on.
    pub(super) fn encode(&self) -> (Vec<u8>, [u8; 16]) {
        let mut out = TITLE.to_vec();
        out.extend(self.vault.0);
        out.extend(self.epoch.number.to_be_bytes());
        out.extend(self.epoch.id);
        out.extend(self.before.0.to_be_bytes());
        out.extend(self.first.0.to_be_bytes());
        put_tree(&mut out, &self.tree);
        let check = derive::segment_check(&[0; CHECK], 0, &out);
        out.extend(check);
        (out, check)
    }

    /// The most bytes that a header takes.
    pub(super) const MOST: usize = HEADER + 64 * 32 + CHECK;

    /// Reads the front of a file: the header, its checksum and its length.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, [u8; 16], usize), Bad> {
        let cut = || Bad::at(0, "the header is cut short");
        let mut rest = bytes.get(..bytes.len().min(Self::MOST)).unwrap_or(bytes);
        if take(&mut rest).ok_or_else(cut)? != *TITLE {
            return Err(Bad::at(0, "not a segment of a format that is known"));
        }
        let fields = |rest: &mut &[u8]| {
            let vault = VaultId(take(rest)?);
            let epoch = Epoch { number: take(rest).map(u32::from_be_bytes)?, id: take(rest)? };
            Some(Self { vault, epoch, before: Position(u64_of(rest)?), first: Position(u64_of(rest)?), tree: tree(rest)? })
        };
        let header = fields(&mut rest).ok_or_else(cut)?;
        let length = bytes.len().min(Self::MOST) - rest.len();
        let stated: [u8; CHECK] = take(&mut rest).ok_or_else(cut)?;
        if derive::segment_check(&[0; CHECK], 0, bytes.get(..length).unwrap_or_default()) != stated {
            return Err(Bad::at(0, "the header's checksum is wrong"));
        }
        Ok((header, stated, length + CHECK))
    }
}

/// A frame's bytes at an offset of a file. `None` when the block is larger than a frame can be.
pub(super) fn frame(file: &[u8; 16], offset: u64, before: Position, block: &[Record]) -> Option<Vec<u8>> {
    let size = block.iter().map(|record| 4 + record.bytes().len()).sum::<usize>() + 10;
    let count = u16::try_from(block.len()).ok()?;
    if size > MAX_FRAME {
        return None;
    }
    let mut out = Vec::with_capacity(PREFIX + size + CHECK);
    out.push(FRAME);
    put_count(&mut out, size);
    out.extend(before.0.to_be_bytes());
    out.extend(count.to_be_bytes());
    for record in block {
        put_count(&mut out, record.bytes().len());
        out.extend_from_slice(record.bytes());
    }
    let check = derive::segment_check(file, offset, &out);
    out.extend(check);
    Some(out)
}

/// How many bytes follow a prefix, its checksum included; an error for what begins no frame and no footer.
pub(super) fn length(prefix: [u8; PREFIX], offset: u64) -> Result<(u8, usize), Bad> {
    let [mark, length @ ..] = prefix;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    let most = match mark {
        FRAME => MAX_FRAME,
        FOOTER => MAX_FOOTER,
        _ => return Err(Bad::at(offset, "neither a frame nor a footer begins here")),
    };
    if length > most { Err(Bad::at(offset, "a length that nothing has")) } else { Ok((mark, length + CHECK)) }
}

/// Compares the checksum at the end of a frame or footer; gives what stands between its length and its checksum.
fn checked<'a>(file: &[u8; 16], offset: u64, whole: &'a [u8]) -> Result<&'a [u8], Bad> {
    let (bytes, stated) = whole.split_last_chunk::<CHECK>().ok_or_else(|| Bad::at(offset, "cut short"))?;
    if derive::segment_check(file, offset, bytes) == *stated {
        Ok(bytes.get(PREFIX..).unwrap_or_default())
    } else {
        Err(Bad::at(offset, "the checksum is wrong"))
    }
}

/// Reads a whole frame: the position before it and its records.
pub(super) fn read_frame(file: &[u8; 16], offset: u64, whole: &[u8]) -> Result<(Position, Vec<Record>), Bad> {
    let mut rest = checked(file, offset, whole)?;
    let wrong = || Bad::at(offset, "a frame whose fields do not fit");
    let before = u64_of(&mut rest).map(Position).ok_or_else(wrong)?;
    let count = take(&mut rest).map(u16::from_be_bytes).ok_or_else(wrong)?;
    let mut records = Vec::new();
    for _ in 0..count {
        let (bytes, after) = u32_of(&mut rest).and_then(|length| rest.split_at_checked(length)).ok_or_else(wrong)?;
        records.push(Record::decode(bytes).map_err(|error| Bad::at(offset, error.to_string()))?);
        rest = after;
    }
    if rest.is_empty() && !records.is_empty() { Ok((before, records)) } else { Err(wrong()) }
}

impl Footer {
    /// Its bytes at an offset of a file.
    pub(super) fn encode(&self, file: &[u8; 16], offset: u64) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(self.records.to_be_bytes());
        body.extend(self.last.0.to_be_bytes());
        put_moment(&mut body, self.recorded_at);
        body.extend(self.tree.root());
        put_tree(&mut body, &self.tree);
        put_count(&mut body, self.index.len());
        for entry in &self.index {
            body.extend(entry.position.0.to_be_bytes());
            body.extend(entry.offset.to_be_bytes());
            put_moment(&mut body, entry.recorded_at);
        }
        put_count(&mut body, self.checkpoint.len());
        body.extend(self.checkpoint.as_bytes());
        let mut out = vec![FOOTER];
        put_count(&mut out, body.len());
        out.extend(body);
        let check = derive::segment_check(file, offset, &out);
        out.extend(check);
        out.extend(offset.to_be_bytes());
        out.extend(CLOSED);
        out
    }

    /// Reads a whole footer, without what stands after its checksum.
    pub(super) fn decode(file: &[u8; 16], offset: u64, whole: &[u8]) -> Result<Self, Bad> {
        let mut rest = checked(file, offset, whole)?;
        let fields = |rest: &mut &[u8]| {
            let (records, last, recorded_at) = (u64_of(rest)?, Position(u64_of(rest)?), moment(rest)?);
            let (root, tree) = (take::<32>(rest)?, tree(rest)?);
            let entries = u32_of(rest)?;
            let entry = |rest: &mut &[u8]| Some(Entry { position: Position(u64_of(rest)?), offset: u64_of(rest)?, recorded_at: moment(rest)? });
            let index = (0..entries).map(|_| entry(rest)).collect::<Option<Vec<Entry>>>()?;
            let length = u32_of(rest)?;
            let text = rest.split_off(..length)?;
            let checkpoint = std::str::from_utf8(text).ok()?.to_owned();
            let sound = rest.is_empty() && tree.root() == root && !index.is_empty();
            sound.then_some(Self { records, last, recorded_at, tree, index, checkpoint })
        };
        fields(&mut rest).ok_or_else(|| Bad::at(offset, "a footer whose fields do not fit"))
    }
}

/// Reads the very end of a file: where its footer begins, if it is closed.
pub(super) fn footer_offset(tail: [u8; TAIL]) -> Option<u64> {
    let mut rest = tail.as_slice();
    let offset = u64_of(&mut rest)?;
    (rest == CLOSED).then_some(offset)
}

//! Reads one segment file from its front, frame by frame; each is checked before it is given.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::format::{self, Bad, FOOTER, Footer, Header, PREFIX, TAIL};
use crate::kernel::Position;
use crate::seal::Record;

/// What stands at a place of a file.
pub(in crate::log) enum Found {
    /// A frame and where it begins.
    Frame(u64, Vec<Record>),
    /// The end of a closed file.
    Footer(Box<Footer>),
    /// The end of one that is not closed.
    End,
}

/// A file that is being read.
pub(in crate::log) struct Walk {
    pub path: PathBuf,
    pub header: Header,
    pub check: [u8; 16],
    file: File,
    pub length: u64,
    /// Where the next frame begins: all before it is whole.
    pub at: u64,
    /// The last position so far.
    pub head: Position,
    records: u64,
}

impl Walk {
    /// Opens a file and reads its header.
    pub fn open(path: &Path) -> Result<Self, Bad> {
        let io = |error: std::io::Error| Bad::at(0, error.to_string());
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let front = read(&file, 0, usize::try_from(length).unwrap_or(usize::MAX).min(Header::MOST))?;
        let (header, check, at) = Header::decode(&front)?;
        let name = super::name(header.epoch.number, header.first);
        if path.file_name().is_none_or(|own| own != name.as_str()) {
            return Err(Bad::at(0, format!("its name should be {name}")));
        }
        let head = header.before;
        Ok(Self { path: path.to_owned(), header, check, file, length, at: at as u64, head, records: 0 })
    }

    /// The next frame, or the end. After an error nothing more of the file is to be had.
    pub fn next(&mut self) -> Result<Found, Bad> {
        if self.at == self.length || self.is_blank(self.at) {
            return Ok(Found::End);
        }
        let (mark, whole) = self.part(self.at)?;
        if mark == FOOTER {
            let footer = Footer::decode(&self.check, self.at, &whole)?;
            let end = self.at + whole.len() as u64;
            let tail = read(&self.file, end, TAIL)?;
            let sound = tail.as_slice().try_into().ok().and_then(format::footer_offset) == Some(self.at) && end + TAIL as u64 == self.length;
            if !sound || footer.last != self.head || footer.records != self.records || footer.tree.size() != self.header.tree.size() + self.records {
                return Err(Bad::at(self.at, "a footer that does not fit what stands before it"));
            }
            return Ok(Found::Footer(Box::new(footer)));
        }
        let (before, records) = format::read_frame(&self.check, self.at, &whole)?;
        self.fits(before, &records)?;
        let offset = self.at;
        self.at += whole.len() as u64;
        self.head = records.last().map_or(self.head, |last| last.header().position);
        self.records += records.len() as u64;
        Ok(Found::Frame(offset, records))
    }

    /// Whether a frame's records go on where the file stands, in its epoch.
    fn fits(&self, before: Position, records: &[Record]) -> Result<(), Bad> {
        let mut expected = if self.records == 0 { self.header.first } else { self.head.next() };
        let follows = before == self.head
            && records.iter().all(|record| {
                let header = record.header();
                let fits = header.position == expected && header.epoch == self.header.epoch;
                expected = expected.next();
                fits
            });
        if follows { Ok(()) } else { Err(Bad::at(self.at, format!("a frame that does not go on from position {}", self.head))) }
    }

    /// Reads a frame whose offset is known from the index.
    pub fn frame_at(&self, offset: u64) -> Result<(u64, Vec<Record>), Bad> {
        let (mark, whole) = self.part(offset)?;
        if mark == FOOTER {
            return Err(Bad::at(offset, "a footer where a frame should be"));
        }
        let (_, records) = format::read_frame(&self.check, offset, &whole)?;
        Ok((offset + whole.len() as u64, records))
    }

    /// The footer, found from the end of the file: whatever stands before it.
    pub fn footer(&self) -> Option<Footer> {
        let tail = read(&self.file, self.length.checked_sub(TAIL as u64)?, TAIL).ok()?;
        let offset = format::footer_offset(tail.as_slice().try_into().ok()?)?;
        let (mark, whole) = self.part(offset).ok()?;
        (mark == FOOTER).then(|| Footer::decode(&self.check, offset, &whole).ok()).flatten()
    }

    /// Whether nothing but room that was made ahead is left.
    fn is_blank(&self, from: u64) -> bool {
        let (mut at, mut bytes) = (from, vec![0; 64 * 1024]);
        while at < self.length {
            // What begins a frame or a footer is no zero: mostly one byte is enough.
            let count = if at == from { 1 } else { usize::try_from(self.length - at).unwrap_or(usize::MAX).min(bytes.len()) };
            let Some(part) = bytes.get_mut(..count) else { return false };
            if self.file.read_exact_at(part, at).is_err() || part.iter().any(|byte| *byte != 0) {
                return false;
            }
            at += count as u64;
        }
        true
    }

    /// A whole frame or footer with its checksum.
    fn part(&self, offset: u64) -> Result<(u8, Vec<u8>), Bad> {
        let prefix = read(&self.file, offset, PREFIX)?;
        let prefix: [u8; PREFIX] = prefix.try_into().map_err(|_| Bad::at(offset, "cut short"))?;
        let (mark, length) = format::length(prefix, offset)?;
        if offset + (PREFIX + length) as u64 > self.length {
            return Err(Bad::at(offset, "cut short"));
        }
        Ok((mark, read(&self.file, offset, PREFIX + length)?))
    }
}

fn read(file: &File, offset: u64, count: usize) -> Result<Vec<u8>, Bad> {
    let mut bytes = vec![0; count];
    file.read_exact_at(&mut bytes, offset).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => Bad::at(offset, "cut short"),
        _ => Bad::at(offset, error.to_string()),
    })?;
    Ok(bytes)
}

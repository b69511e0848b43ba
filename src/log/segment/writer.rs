//! Writes segments: one frame a block, synced before it is answered; whatever fails leaves the file as it was.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::format::{self, Entry, Footer, Header};
use super::{Found, MAX_AGE, MAX_FILE, Signer, Walk, files, title};
use crate::kernel::{Epoch, Moment, Position, VaultId};
use crate::seal::Record;
use crate::seal::merkle::Frontier;

/// Frames that begin closer together than this share an entry of the index, in bytes.
const INDEX_EVERY: u64 = 64 * 1024;

/// A file grows by so many bytes at once, most of them zeroes that the next frames are written over.
const ROOM: u64 = 256 * 1024;

/// Why a block does not stand in the segments.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::log) enum SegmentError {
    /// The block does not go on where the segments end; nothing was written.
    #[error("the segments end at position {0}")]
    HeadMoved(Position),
    /// Nothing of it stays.
    #[error("{0}")]
    Unwritten(String),
    /// It could not be taken back: it may stay.
    #[error("{0}; and it could not be cut back")]
    Torn(String),
}

/// The file that grows.
struct Open {
    file: File,
    path: PathBuf,
    epoch: Epoch,
    check: [u8; 16],
    /// Bytes that count.
    length: u64,
    /// Bytes on the disk: the rest is room.
    size: u64,
    records: u64,
    began: Moment,
    index: Vec<Entry>,
}

/// What one append changed, so that it can be undone.
struct Undo {
    head: Position,
    recorded_at: Moment,
    tree: Frontier,
    /// Length, records and entries of the file before; `None` when the append made it.
    file: Option<(u64, u64, usize)>,
}

/// The writing end of a folder of segments.
pub(in crate::log) struct Writer {
    folder: PathBuf,
    vault: VaultId,
    signer: Signer,
    open: Option<Open>,
    undo: Option<Undo>,
    head: Position,
    recorded_at: Moment,
    tree: Frontier,
    /// Whether each append is synced; a file that is made out of sight is synced once, at its end.
    durable: bool,
}

impl Writer {
    /// Begins at a position, with a new file when the first block comes.
    pub fn begin(folder: &Path, vault: VaultId, signer: Signer, head: Position, tree: Frontier, durable: bool) -> io::Result<Self> {
        if !folder.exists() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            sync_folder(folder.parent().unwrap_or(folder))?;
        }
        Ok(Self { folder: folder.to_owned(), vault, signer, open: None, undo: None, head, recorded_at: Moment::default(), tree, durable })
    }

    /// Goes on where the last file of a folder ends. It must be whole: what is torn was cut before.
    pub fn resume(folder: &Path, vault: VaultId, signer: Signer) -> Result<Self, String> {
        let io = |error: io::Error| error.to_string();
        let Some(last) = files(folder).map_err(io)?.pop() else {
            return Self::begin(folder, vault, signer, Position::ZERO, Frontier::default(), true).map_err(io);
        };
        let named = |bad| format!("{}: {bad}", title(&last));
        let mut walk = Walk::open(&last).map_err(named)?;
        if walk.header.vault != vault {
            return Err(format!("{} belongs to vault {}", title(&last), walk.header.vault));
        }
        if let Some(footer) = walk.footer() {
            let mut writer = Self::begin(folder, vault, signer, footer.last, footer.tree, true).map_err(io)?;
            writer.recorded_at = footer.recorded_at;
            return Ok(writer);
        }
        let mut writer = Self::begin(folder, vault, signer, walk.header.before, walk.header.tree.clone(), true).map_err(io)?;
        let file = File::options().read(true).write(true).open(&last).map_err(io)?;
        let (epoch, check) = (walk.header.epoch, walk.check);
        let (size, path) = (walk.length, last.clone());
        let mut open = Open { file, path, epoch, check, length: 0, size, records: 0, began: Moment::default(), index: Vec::new() };
        while let Found::Frame(offset, records) = walk.next().map_err(named)? {
            open.note(offset, &records);
            writer.note(&records);
        }
        open.length = walk.at;
        writer.open = (open.records > 0).then_some(open);
        Ok(writer)
    }

    /// Syncs nothing but what it closes: for files that count only when all of them are there.
    pub const fn synced_at_its_end(mut self) -> Self {
        self.durable = false;
        self
    }

    /// The last position.
    pub const fn head(&self) -> Position {
        self.head
    }

    /// Appends a block as one frame; durable on return.
    pub fn append(&mut self, before: Position, block: &[Record]) -> Result<(), SegmentError> {
        if before != self.head {
            return Err(SegmentError::HeadMoved(self.head));
        }
        let Some(first) = block.first().map(Record::header) else { return Ok(()) };
        let unwritten = |error: io::Error| SegmentError::Unwritten(error.to_string());
        if self.open.as_ref().is_some_and(|open| open.epoch != first.epoch || open.is_due(first.recorded_at)) {
            self.close().map_err(unwritten)?;
        }
        let undo = Undo {
            head: self.head,
            recorded_at: self.recorded_at,
            tree: self.tree.clone(),
            file: self.open.as_ref().map(|open| (open.length, open.records, open.index.len())),
        };
        let written = match &mut self.open {
            Some(open) => open.append(before, block, self.durable),
            None => self.create(block).map(|open| self.open = Some(open)),
        };
        match written {
            Ok(()) => {
                self.note(block);
                self.undo = Some(undo);
                Ok(())
            }
            Err(error) => match self.open.as_mut().map_or(Ok(()), Open::cut) {
                Ok(()) => Err(unwritten(error)),
                Err(_) => Err(SegmentError::Torn(error.to_string())),
            },
        }
    }

    /// Takes the last append back; durable on return.
    pub fn cut_back(&mut self) -> io::Result<()> {
        let Some(undo) = self.undo.take() else { return Ok(()) };
        (self.head, self.recorded_at, self.tree) = (undo.head, undo.recorded_at, undo.tree);
        match (undo.file, &mut self.open) {
            (Some((length, records, entries)), Some(open)) => {
                (open.length, open.records) = (length, records);
                open.index.truncate(entries);
                open.cut()
            }
            (_, open) => {
                if let Some(made) = open.take() {
                    fs::remove_file(&made.path)?;
                    sync_folder(&self.folder)?;
                }
                Ok(())
            }
        }
    }

    /// Closes the file that grows, if it is due at this moment.
    pub fn close_due(&mut self, now: Moment) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|open| open.is_due(now)) { self.close() } else { Ok(()) }
    }

    /// Closes the file that grows: footer, signed checkpoint, read-only. A footer that cannot be written leaves it open.
    pub fn close(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let checkpoint = (self.signer)(open.epoch, self.tree.size(), &self.tree.root());
        let (records, index) = (open.records, open.index.clone());
        let footer = Footer { records, last: self.head, recorded_at: self.recorded_at, tree: self.tree.clone(), index, checkpoint };
        let bytes = footer.encode(&open.check, open.length);
        let closed = open.file.write_all_at(&bytes, open.length).and_then(|()| {
            open.file.set_len(open.length + bytes.len() as u64)?;
            open.file.sync_all()?;
            let mut access = open.file.metadata()?.permissions();
            access.set_readonly(true);
            open.file.set_permissions(access)
        });
        if let Err(error) = closed {
            open.cut()?;
            return Err(error);
        }
        (self.open, self.undo) = (None, None);
        Ok(())
    }

    /// Leaves the file that grows as it lies: the next block begins a fresh one.
    pub fn abandon(&mut self) {
        (self.open, self.undo) = (None, None);
    }

    /// Makes what was written without syncs durable; the file stays open.
    pub fn sync(&self) -> io::Result<()> {
        if let Some(open) = &self.open {
            open.file.sync_all()?;
        }
        sync_folder(&self.folder)
    }

    fn note(&mut self, block: &[Record]) {
        for record in block {
            self.tree.push(record.leaf());
        }
        if let Some(last) = block.last().map(Record::header) {
            (self.head, self.recorded_at) = (last.position, last.recorded_at);
        }
    }

    /// A new file with its first frame. On an error nothing of it stays, or what stays is no whole file.
    fn create(&self, block: &[Record]) -> io::Result<Open> {
        let first = block.first().map(Record::header).ok_or(io::ErrorKind::InvalidInput)?;
        let header = Header { vault: self.vault, epoch: first.epoch, before: self.head, first: first.position, tree: self.tree.clone() };
        let (mut bytes, check) = header.encode();
        let offset = bytes.len() as u64;
        bytes.extend(format::frame(&check, offset, self.head, block).ok_or(io::ErrorKind::FileTooLarge)?);
        let path = self.folder.join(super::name(first.epoch.number, first.position));
        if path.exists() {
            // What a failed try has left: its first frame never counted.
            set_aside(&path)?;
        }
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let mut open = Open { file, path, epoch: first.epoch, check, length: 0, size: 0, records: 0, began: Moment::default(), index: Vec::new() };
        // Without room: it takes a sync of the folder anyway, and many a file stays small.
        let written = open.file.write_all_at(&bytes, 0).and_then(|()| if self.durable { open.file.sync_all() } else { Ok(()) });
        let written = written.and_then(|()| if self.durable { sync_folder(&self.folder) } else { Ok(()) });
        if let Err(error) = written {
            fs::remove_file(&open.path).and_then(|()| sync_folder(&self.folder))?;
            return Err(error);
        }
        open.length = offset;
        open.note(offset, block);
        (open.length, open.size) = (bytes.len() as u64, bytes.len() as u64);
        Ok(open)
    }
}

impl Open {
    fn is_due(&self, now: Moment) -> bool {
        self.length >= MAX_FILE || now >= self.began.plus_seconds(MAX_AGE)
    }

    fn append(&mut self, before: Position, block: &[Record], durable: bool) -> io::Result<()> {
        let mut bytes = format::frame(&self.check, self.length, before, block).ok_or(io::ErrorKind::FileTooLarge)?;
        if self.file.metadata()?.len() != self.size {
            return Err(io::Error::other(format!("{} was changed by somebody else", title(&self.path))));
        }
        let (offset, end) = (self.length, self.length + bytes.len() as u64);
        if durable && end > self.size {
            bytes.resize(bytes.len() + usize::try_from(ROOM).unwrap_or_default(), 0);
        }
        self.file.write_all_at(&bytes, offset)?;
        self.size = self.size.max(offset + bytes.len() as u64);
        if durable {
            self.file.sync_data()?;
        }
        self.length = end;
        self.note(offset, block);
        Ok(())
    }

    fn note(&mut self, offset: u64, block: &[Record]) {
        let Some(first) = block.first().map(Record::header) else { return };
        if self.records == 0 {
            self.began = first.recorded_at;
        }
        if self.index.last().is_none_or(|last| offset >= last.offset + INDEX_EVERY) {
            self.index.push(Entry { position: first.position, offset, recorded_at: first.recorded_at });
        }
        self.records += block.len() as u64;
    }

    /// Cuts the file to what counts; durable on return.
    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.size = self.length;
        self.file.sync_data()
    }
}

/// Makes names of a folder durable.
pub(in crate::log) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Gives a damaged file a name that nothing reads; gives that name.
pub(in crate::log) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let named = |number: u32| PathBuf::from(format!("{}.damaged-{number}", path.display()));
    let aside = (1..u32::MAX).map(named).find(|aside| !aside.exists()).ok_or(io::ErrorKind::AlreadyExists)?;
    fs::rename(path, &aside)?;
    Ok(aside)
}

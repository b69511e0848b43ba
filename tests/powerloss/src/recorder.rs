//! The recorder: registers the VFS and owns the tape that its calls write on.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::ffi;

use crate::trace::{Op, Trace};
use crate::vfs;

/// A registered recording VFS. Copies share one trace, and any number of
/// connections and threads may use it at once.
///
/// One recorder serves one directory, since an image names files by their
/// name alone: opening a database in a second directory fails with
/// `SQLITE_CANTOPEN`. Temporary files are passed through unrecorded.
#[derive(Clone, Copy)]
pub struct Recorder {
    seat: &'static Seat,
}

impl Recorder {
    /// Registers a VFS under `name`, for `Connection::open_with_flags_and_vfs`.
    /// It stays registered, and keeps its trace, until the process ends.
    ///
    /// # Panics
    /// If the name is taken, holds a NUL, or SQLite refuses the VFS.
    pub fn register(name: &str) -> Recorder {
        let name = CString::new(name).expect("a VFS name holds no NUL");
        // SAFETY: both arguments are NUL-terminated or null, as documented.
        let (taken, real) = unsafe { (ffi::sqlite3_vfs_find(name.as_ptr()), ffi::sqlite3_vfs_find(ptr::null())) };
        assert!(taken.is_null(), "a VFS named {name:?} is already registered");
        assert!(!real.is_null(), "SQLite has no default VFS");
        let seat: &'static Seat = Box::leak(Box::new(Seat { real, tape: Mutex::default() }));
        let vfs = Box::leak(Box::new(vfs::wrapping(seat, name)));
        // SAFETY: the VFS, its name and its data are leaked, so they outlive SQLite.
        let rc = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
        assert_eq!(rc, ffi::SQLITE_OK, "SQLite refused the VFS");
        Recorder { seat }
    }

    /// Records that by now `label` appends have been acknowledged. Call it
    /// after the acknowledgement; an image carries the largest label so far.
    pub fn mark(&self, label: u64) {
        self.seat.tape().ops.push(Op::Mark(label));
    }

    /// A copy of what has been recorded so far.
    pub fn trace(&self) -> Trace {
        Trace::new(self.seat.tape().ops.clone())
    }
}

/// What the calls of one registered VFS share.
pub(crate) struct Seat {
    /// The VFS that does the work.
    pub real: *mut ffi::sqlite3_vfs,
    tape: Mutex<Tape>,
}

// SAFETY: the real VFS is never unregistered or written to by us, and SQLite
// lets every thread call it; the tape is behind a mutex.
unsafe impl Send for Seat {}
// SAFETY: as above.
unsafe impl Sync for Seat {}

impl Seat {
    pub fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The trace in the making.
#[derive(Default)]
pub(crate) struct Tape {
    pub ops: Vec<Op>,
    /// The directory that this recorder serves, once a file was opened.
    directory: Option<PathBuf>,
    /// Files that exist as far as the trace knows.
    present: BTreeSet<Arc<str>>,
}

impl Tape {
    /// The name under which a path is recorded; none if it lies in a directory
    /// other than the one that this recorder serves.
    pub fn name(&mut self, path: &[u8]) -> Option<Arc<str>> {
        let path = Path::new(OsStr::from_bytes(path));
        let (directory, name) = (path.parent()?, path.file_name()?.to_str()?);
        let served = self.directory.get_or_insert_with(|| directory.to_path_buf());
        (served == directory).then(|| name.into())
    }

    pub fn knows(&self, name: &Arc<str>) -> bool {
        self.present.contains(name)
    }

    pub fn created(&mut self, file: &Arc<str>) {
        self.present.insert(file.clone());
        self.ops.push(Op::Create { file: file.clone() });
    }

    pub fn found(&mut self, file: &Arc<str>, bytes: Vec<u8>) {
        self.present.insert(file.clone());
        self.ops.push(Op::Found { file: file.clone(), bytes: bytes.into() });
    }

    pub fn deleted(&mut self, file: &Arc<str>, sync_dir: bool) {
        if self.present.remove(file) {
            self.ops.push(Op::Delete { file: file.clone(), sync_dir });
        }
    }
}

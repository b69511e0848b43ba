//! The file methods: changes are recorded once the real file has taken them,
//! the rest is passed on.
//!
//! SQLite reserves room for our `Handle` and, right behind it, the real file.
//! It calls a method only with a handle whose open succeeded and that is not
//! closed yet, so both are valid then; and with one thread at a time.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::slice;
use std::sync::Arc;

use rusqlite::ffi;

use crate::SECTOR;
use crate::recorder::Seat;
use crate::trace::Op;

type File = *mut ffi::sqlite3_file;

/// Our part of an open file.
#[repr(C)]
pub(crate) struct Handle {
    base: ffi::sqlite3_file, // First: SQLite sees a handle as this.
    recording: Option<Recording>,
}

/// Where the changes of one open file are recorded.
pub(crate) struct Recording {
    seat: &'static Seat,
    name: Arc<str>,
    /// The unix VFS syncs the directory on the first sync of such a handle.
    directory_sync_due: Cell<bool>,
}

impl Recording {
    pub fn new(seat: &'static Seat, name: Arc<str>, directory_sync_due: bool) -> Self {
        Self { seat, name, directory_sync_due: Cell::new(directory_sync_due) }
    }
}

/// Version 2 has no `xFetch`, so SQLite cannot map the file past us.
static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Makes the reserved memory a handle that is not open.
///
/// # Safety
/// `file` points to the `szOsFile` bytes of a file that is being opened.
pub(crate) unsafe fn prepare(file: File) -> *mut Handle {
    let handle = file.cast::<Handle>();
    let closed = Handle { base: ffi::sqlite3_file { pMethods: ptr::null() }, recording: None };
    // SAFETY: the memory is ours and holds nothing that needs dropping.
    unsafe { handle.write(closed) };
    handle
}

/// Opens the real file and, if that succeeds, the handle.
///
/// # Safety
/// `handle` comes from `prepare`, the other arguments from SQLite's `xOpen`.
pub(crate) unsafe fn open_real(
    handle: *mut Handle,
    vfs: *mut ffi::sqlite3_vfs,
    path: ffi::sqlite3_filename,
    flags: c_int,
    out_flags: *mut c_int,
    recording: Option<Recording>,
) -> c_int {
    // SAFETY: the room behind the handle is the real VFS's, which gets itself
    // and SQLite's own arguments.
    unsafe {
        let real = real(handle.cast());
        (*real).pMethods = ptr::null();
        let rc = (*vfs).xOpen.map_or(ffi::SQLITE_CANTOPEN, |open| open(vfs, path, real, flags, out_flags));
        if rc == ffi::SQLITE_OK {
            (*handle).recording = recording;
            (*handle).base.pMethods = &METHODS;
        } else if let Some(close) = (*real).pMethods.as_ref().and_then(|methods| methods.xClose) {
            close(real); // A failed open may leave methods, and then wants a close.
        }
        rc
    }
}

/// # Safety
/// `file` points to a prepared handle.
unsafe fn real(file: File) -> File {
    // SAFETY: `szOsFile` covers both; the handle's size keeps the alignment.
    unsafe { file.cast::<Handle>().add(1).cast() }
}

/// Records a change, or nothing for a temporary file.
///
/// # Safety
/// `file` is an open handle.
unsafe fn record(file: File, op: impl FnOnce(Arc<str>) -> Op) {
    // SAFETY: the handle is open and used by this thread only.
    if let Some(recording) = unsafe { &(*file.cast::<Handle>()).recording } {
        let op = op(recording.name.clone());
        recording.seat.tape().ops.push(op);
    }
}

/// The whole file. Read through the open handle: another descriptor, once
/// closed, would release this process's POSIX locks on the file.
///
/// # Safety
/// `file` is an open handle.
pub(crate) unsafe fn content(file: File) -> Result<Vec<u8>, c_int> {
    let mut size = 0;
    // SAFETY: the handle is open and `size` is writable.
    match unsafe { file_size(file, &mut size) } {
        ffi::SQLITE_OK => {}
        rc => return Err(rc),
    }
    let mut bytes = vec![0; size as usize];
    for (index, chunk) in bytes.chunks_mut(1 << 20).enumerate() {
        let offset = (index << 20) as ffi::sqlite3_int64;
        // SAFETY: the chunk has room for its own length.
        match unsafe { read(file, chunk.as_mut_ptr().cast(), chunk.len() as c_int, offset) } {
            ffi::SQLITE_OK => {}
            rc => return Err(rc),
        }
    }
    Ok(bytes)
}

/// Defines a method that only calls the real file; the code before the
/// arguments is the answer if the real file lacks the method.
macro_rules! pass_on {
    ($name:ident, $method:ident, $lacking:expr $(, $arg:ident: $type:ty)*) => {
        unsafe extern "C" fn $name(file: File $(, $arg: $type)*) -> c_int {
            // SAFETY: the handle is open, thus the real file is; it gets itself
            // and SQLite's own arguments.
            unsafe {
                let real = real(file);
                (*(*real).pMethods).$method.map_or($lacking, |call| call(real $(, $arg)*))
            }
        }
    };
}

type Offset = ffi::sqlite3_int64;
type Page = *mut *mut c_void;

pass_on!(close_real, xClose, ffi::SQLITE_IOERR_CLOSE);
pass_on!(read, xRead, ffi::SQLITE_IOERR_READ, out: *mut c_void, len: c_int, offset: Offset);
pass_on!(write_real, xWrite, ffi::SQLITE_IOERR_WRITE, bytes: *const c_void, len: c_int, at: Offset);
pass_on!(truncate_real, xTruncate, ffi::SQLITE_IOERR_TRUNCATE, len: Offset);
pass_on!(sync_real, xSync, ffi::SQLITE_IOERR_FSYNC, flags: c_int);
pass_on!(file_size, xFileSize, ffi::SQLITE_IOERR_FSTAT, out: *mut Offset);
pass_on!(lock, xLock, ffi::SQLITE_IOERR_LOCK, level: c_int);
pass_on!(unlock, xUnlock, ffi::SQLITE_IOERR_UNLOCK, level: c_int);
pass_on!(check_reserved_lock, xCheckReservedLock, ffi::SQLITE_IOERR_LOCK, out: *mut c_int);
pass_on!(control_real, xFileControl, ffi::SQLITE_NOTFOUND, op: c_int, arg: *mut c_void);
pass_on!(shm_map, xShmMap, ffi::SQLITE_IOERR_SHMMAP, page: c_int, size: c_int, extend: c_int, out: Page);
pass_on!(shm_lock, xShmLock, ffi::SQLITE_IOERR_SHMLOCK, offset: c_int, n: c_int, flags: c_int);
pass_on!(shm_unmap, xShmUnmap, ffi::SQLITE_OK, delete: c_int);

unsafe extern "C" fn shm_barrier(file: File) {
    // SAFETY: the handle is open, thus the real file is.
    unsafe {
        let real = real(file);
        if let Some(barrier) = (*(*real).pMethods).xShmBarrier {
            barrier(real);
        }
    }
}

pub(crate) unsafe extern "C" fn close(file: File) -> c_int {
    // SAFETY: the handle is open; after this SQLite does not use it again, and
    // the methods are cleared so that it could not.
    unsafe {
        let rc = close_real(file);
        let handle = file.cast::<Handle>();
        (*handle).base.pMethods = ptr::null();
        (*handle).recording = None; // Drops the name: SQLite frees plain memory.
        rc
    }
}

unsafe extern "C" fn write(file: File, bytes: *const c_void, len: c_int, offset: Offset) -> c_int {
    // SAFETY: the handle is open and `bytes` holds `len` readable bytes.
    unsafe {
        let rc = write_real(file, bytes, len, offset);
        if rc == ffi::SQLITE_OK {
            let bytes = slice::from_raw_parts(bytes.cast::<u8>(), len as usize);
            record(file, |file| Op::Write { file, offset: offset as u64, bytes: bytes.into() });
        }
        rc
    }
}

unsafe extern "C" fn truncate(file: File, len: Offset) -> c_int {
    // SAFETY: the handle is open.
    unsafe {
        let rc = truncate_real(file, len);
        if rc == ffi::SQLITE_OK {
            record(file, |file| Op::Truncate { file, len: len as u64 });
        }
        rc
    }
}

/// The tape is free during the real sync, so that other files' syncs and
/// readers go on; what they record meanwhile is not covered by this one.
unsafe extern "C" fn sync(file: File, flags: c_int) -> c_int {
    // SAFETY: the handle is open and used by this thread only.
    let recording = unsafe { (*file.cast::<Handle>()).recording.as_ref() };
    let covers = recording.map_or(0, |recording| recording.seat.tape().ops.len());
    // SAFETY: the handle is open.
    unsafe {
        let rc = sync_real(file, flags);
        if rc == ffi::SQLITE_OK {
            let directory = recording.is_some_and(|r| r.directory_sync_due.replace(false));
            record(file, |file| Op::Sync { file, covers, directory });
        }
        rc
    }
}

/// Answers what would let the real file change behind the trace, or claim
/// more than our disk promises; passes the rest on.
unsafe extern "C" fn file_control(file: File, op: c_int, arg: *mut c_void) -> c_int {
    // SAFETY: SQLite documents the type behind `arg` for each of these codes.
    unsafe {
        match op {
            // Preallocation would change sizes unrecorded; both are only hints.
            ffi::SQLITE_FCNTL_CHUNK_SIZE | ffi::SQLITE_FCNTL_SIZE_HINT => ffi::SQLITE_NOTFOUND,
            ffi::SQLITE_FCNTL_MMAP_SIZE => {
                *arg.cast::<ffi::sqlite3_int64>() = 0;
                ffi::SQLITE_OK
            }
            ffi::SQLITE_FCNTL_POWERSAFE_OVERWRITE => {
                *arg.cast::<c_int>() = 0;
                ffi::SQLITE_OK
            }
            _ => control_real(file, op, arg),
        }
    }
}

unsafe extern "C" fn sector_size(_: File) -> c_int {
    SECTOR as c_int
}

unsafe extern "C" fn device_characteristics(_: File) -> c_int {
    0
}

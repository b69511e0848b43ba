//! The VFS methods: opening and deleting are recorded, the rest is passed on.
//!
//! Each function is called by SQLite with the VFS that `wrapping` made, so its
//! `pAppData` is the recorder's seat, which is leaked and thus always valid.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::mem::size_of;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use rusqlite::ffi;

use crate::file::{self, Handle, Recording};
use crate::recorder::Seat;

/// The files that survive a power cut and are therefore recorded.
const RECORDED: c_int = ffi::SQLITE_OPEN_MAIN_DB | ffi::SQLITE_OPEN_WAL | JOURNALS;
const JOURNALS: c_int = ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL;

/// A VFS that records on the seat's tape and lets the seat's real VFS work.
pub(crate) fn wrapping(seat: &'static Seat, name: CString) -> ffi::sqlite3_vfs {
    // SAFETY: the real VFS is registered, hence valid.
    let real = unsafe { &*seat.real };
    ffi::sqlite3_vfs {
        iVersion: 2, // Version 3 would add only the replacement of system calls.
        szOsFile: size_of::<Handle>() as c_int + real.szOsFile,
        mxPathname: real.mxPathname,
        pNext: ptr::null_mut(),
        zName: name.into_raw(), // Leaked, as the VFS is.
        pAppData: ptr::from_ref(seat).cast_mut().cast(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_pathname),
        xDlOpen: Some(no_library), // SQLite calls it unasked whether it is there.
        xDlError: Some(no_library_error),
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: Some(get_last_error),
        xCurrentTimeInt64: real.xCurrentTimeInt64.and(Some(current_time_int64)),
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }
}

/// # Safety
/// `vfs` was made by `wrapping`.
unsafe fn seat(vfs: *mut ffi::sqlite3_vfs) -> &'static Seat {
    // SAFETY: see the top of this file.
    unsafe { &*(*vfs).pAppData.cast::<Seat>() }
}

/// Defines a method that only calls the real VFS.
macro_rules! pass_on {
    ($name:ident, $method:ident $(, $arg:ident: $type:ty)*) => {
        unsafe extern "C" fn $name(vfs: *mut ffi::sqlite3_vfs $(, $arg: $type)*) -> c_int {
            // SAFETY: the real VFS gets itself and SQLite's own arguments.
            unsafe {
                let real = seat(vfs).real;
                (*real).$method.map_or(ffi::SQLITE_ERROR, |call| call(real $(, $arg)*))
            }
        }
    };
}

pass_on!(access, xAccess, path: *const c_char, flags: c_int, result: *mut c_int);
pass_on!(full_pathname, xFullPathname, path: *const c_char, len: c_int, out: *mut c_char);
pass_on!(randomness, xRandomness, len: c_int, out: *mut c_char);
pass_on!(sleep, xSleep, microseconds: c_int);
pass_on!(current_time, xCurrentTime, out: *mut f64);
pass_on!(current_time_int64, xCurrentTimeInt64, out: *mut ffi::sqlite3_int64);
pass_on!(get_last_error, xGetLastError, len: c_int, out: *mut c_char);

/// Loadable extensions are refused: nothing here needs them.
unsafe extern "C" fn no_library(_: *mut ffi::sqlite3_vfs, _: *const c_char) -> *mut c_void {
    ptr::null_mut()
}

/// Leaves SQLite's own message, which it has written before, as it is.
unsafe extern "C" fn no_library_error(_: *mut ffi::sqlite3_vfs, _: c_int, _: *mut c_char) {}

unsafe extern "C" fn open(vfs: *mut ffi::sqlite3_vfs, path: ffi::sqlite3_filename, file: *mut ffi::sqlite3_file, flags: c_int, out_flags: *mut c_int) -> c_int {
    // SAFETY: SQLite made `vfs` ours and reserved `szOsFile` bytes at `file`.
    let (seat, handle) = unsafe { (seat(vfs), file::prepare(file)) };
    let temporary = path.is_null() || flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0;
    if temporary || flags & RECORDED == 0 {
        // SAFETY: the handle was just prepared and the arguments are SQLite's.
        return unsafe { file::open_real(handle, seat.real, path, flags, out_flags, None) };
    }
    // The tape is held throughout, so that of two racing opens the one that
    // created the file is the one recorded as having done so.
    let mut tape = seat.tape();
    // SAFETY: the path is not null, and SQLite terminates it.
    let bytes = unsafe { CStr::from_ptr(path) }.to_bytes();
    let Some(name) = tape.name(bytes) else {
        return ffi::SQLITE_CANTOPEN;
    };
    let existed = Path::new(OsStr::from_bytes(bytes)).exists();
    let syncs_directory = flags & ffi::SQLITE_OPEN_CREATE != 0 && flags & (ffi::SQLITE_OPEN_WAL | JOURNALS) != 0;
    let recording = Recording::new(seat, name.clone(), syncs_directory);
    // SAFETY: as above.
    let rc = unsafe { file::open_real(handle, seat.real, path, flags, out_flags, Some(recording)) };
    if rc != ffi::SQLITE_OK {
        return rc;
    }
    if !existed {
        tape.created(&name);
    } else if !tape.knows(&name) {
        // SAFETY: the handle was opened.
        match unsafe { file::content(file) } {
            Ok(bytes) => tape.found(&name, bytes),
            Err(rc) => {
                // SAFETY: the handle is open and SQLite will not see it.
                unsafe { file::close(file) };
                return rc;
            }
        }
    }
    rc
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, path: *const c_char, sync_dir: c_int) -> c_int {
    // SAFETY: the VFS is ours.
    let seat = unsafe { seat(vfs) };
    let mut tape = seat.tape();
    // SAFETY: the real VFS gets itself and SQLite's own arguments.
    let rc = unsafe {
        let real = seat.real;
        (*real).xDelete.map_or(ffi::SQLITE_ERROR, |call| call(real, path, sync_dir))
    };
    if rc == ffi::SQLITE_OK {
        // SAFETY: SQLite terminates the path.
        let bytes = unsafe { CStr::from_ptr(path) }.to_bytes();
        if let Some(name) = tape.name(bytes) {
            tape.deleted(&name, sync_dir & 1 != 0);
        }
    }
    rc
}

//! Where the data lies: below the target directory, because the system's own scratch directory may be memory, where a sync costs nothing.

use std::fmt;
use std::path::{Path, PathBuf};

/// A scratch folder, and what it stands on.
pub struct Place {
    folder: tempfile::TempDir,
    file_system: String,
    device: String,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (file_system, device) = mount_of(folder.path()).unwrap_or_else(|| ("an unknown file system".into(), "an unknown device".into()));
        Self { folder, file_system, device }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parent = self.path().parent().unwrap_or(self.path());
        write!(f, "{} ({} on {})", parent.display(), self.file_system, self.device)?;
        if ["tmpfs", "ramfs", "overlay"].contains(&self.file_system.as_str()) {
            write!(f, "\nCAUTION: syncs may cost nothing there; set CARGO_TARGET_DIR to a folder on a disk")?;
        }
        Ok(())
    }
}

/// Type and device of the innermost mount that holds the path, as the kernel lists it.
fn mount_of(path: &Path) -> Option<(String, String)> {
    let (path, mounts) = (path.canonicalize().ok()?, std::fs::read_to_string("/proc/self/mounts").ok()?);
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (device, point, file_system) = (words.next()?, PathBuf::from(words.next()?), words.next()?);
        path.starts_with(&point).then(|| (point.components().count(), file_system.to_owned(), device.to_owned()))
    });
    // Of two mounts at one point, the later one lies on top.
    mounts.max_by_key(|(depth, _, _)| *depth).map(|(_, file_system, device)| (file_system, device))
}

//! The key that a log must be signed with: given, or pinned when it was first seen.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{Failed, read, wrong};
use crate::kernel::VaultId;
use crate::keyring::KeyFile;
use crate::seal::checkpoint::{Checkpoint, VerifierKey, place, verify};

/// What is known of the key beforehand.
pub(super) enum Known {
    /// It was given.
    Given(VerifierKey),
    /// It is pinned, or will be.
    Pinned(Option<PathBuf>),
}

/// The key that counts, and whose log it signs.
pub(super) struct Trusted {
    pub vault: VaultId,
    pub public: [u8; 32],
    /// It was seen for the first time, and pinned here.
    pub pinned: Option<PathBuf>,
}

impl Known {
    pub fn new(key: Option<&str>, pin: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(given) = key else { return Ok(Self::Pinned(pin)) };
        // A key holds two plus signs, and a file that is named so is not likely.
        let text = if given.matches('+').count() >= 2 { given.to_owned() } else { read(Path::new(given))? };
        Ok(Self::Given(text.trim().parse().context("--key")?))
    }

    /// The key for a vault; where none is known, the shown one is pinned.
    pub fn trust(&self, vault: Option<VaultId>, shown: Option<&VerifierKey>) -> Result<Option<Trusted>, Failed> {
        let vault = vault.or_else(|| shown.and_then(|key| place(&key.name)).map(|(vault, _)| vault));
        match self {
            Self::Given(key) => {
                let Some((of, _)) = place(&key.name) else { return Err(wrong(format!("--key: {} is not the name of a keyledger log", key.name))) };
                if vault.is_some_and(|vault| vault != of) {
                    return Err(wrong(format!("this log is of another vault than the key, which is of {of}")));
                }
                if shown.is_some_and(|shown| shown.public != key.public) {
                    return Err(wrong("the server shows another key than the one that was given"));
                }
                Ok(Some(Trusted { vault: of, public: key.public, pinned: None }))
            }
            Self::Pinned(path) => {
                let Some(vault) = vault else { return Ok(None) };
                let path = match path {
                    Some(path) => path.clone(),
                    None => KeyFile::default_for(vault)?.path().with_extension("log-key"),
                };
                pinned(vault, path, shown)
            }
        }
    }
}

fn pinned(vault: VaultId, path: PathBuf, shown: Option<&VerifierKey>) -> Result<Option<Trusted>, Failed> {
    if path.exists() {
        let text = read(&path)?;
        let key: VerifierKey = text.trim().parse().with_context(|| format!("{}", path.display()))?;
        let of = place(&key.name).map(|(vault, _)| vault);
        if of != Some(vault) || shown.is_some_and(|shown| shown.public != key.public) {
            let text = format!("the log's key is not the one that was pinned in {}: it is another log, or somebody else signs it", path.display());
            return Err(wrong(text));
        }
        return Ok(Some(Trusted { vault, public: key.public, pinned: None }));
    }
    let Some(shown) = shown else { return Ok(None) };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(&path, format!("{shown}\n")).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Some(Trusted { vault, public: shown.public, pinned: Some(path) }))
}

impl Trusted {
    /// Reads a checkpoint of this log.
    pub fn read(&self, note: &str, from: &str) -> Result<Checkpoint, Failed> {
        let checkpoint = verify(note, &self.public).map_err(|error| wrong(format!("the checkpoint {from}: {error}")))?;
        let ours = place(&checkpoint.origin).is_some_and(|(vault, _)| vault == self.vault);
        if ours { Ok(checkpoint) } else { Err(wrong(format!("the checkpoint {from} is of {}, not of vault {}", checkpoint.origin, self.vault))) }
    }
}

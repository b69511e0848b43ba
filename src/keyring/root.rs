//! Where the root key comes from. Further providers are further implementations of the trait.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::KeyringError;
use crate::kernel::{Random, VaultId};
use crate::seal::Key;

const TITLE: &str = "keyledger root key v1";
/// A key file has three short lines.
const MAX_FILE: u64 = 1024;

/// At the end of the name of the key that is to come, while it is rotated.
const NEXT: &str = ".next";
/// At the end of the name of one that was in use: a keyring that was copied before the rotation opens with it.
const FORMER: &str = ".old";

/// Gives the root key of a vault.
pub trait RootKeyProvider {
    /// The key, for this vault only.
    fn root_key(&self, vault: VaultId) -> Result<Key, KeyringError>;
    /// Refuses a source that lies within the data it opens: whoever copies that must not get both.
    fn apart_from(&self, _data: &Path) -> Result<(), KeyringError> {
        Ok(())
    }
    /// Every key that may open something, the newest first: two, while it is rotated.
    fn root_keys(&self, vault: VaultId) -> Result<Vec<Key>, KeyringError> {
        Ok(vec![self.root_key(vault)?])
    }
    /// Whether another key can take the place of the present one.
    fn rotates(&self) -> bool {
        false
    }
    /// Whether a rotation has begun and not ended.
    fn is_rotating(&self) -> bool {
        false
    }
    /// The key that is to come, durable on return: made now, or by a rotation that was cut short.
    fn next_key(&self, _vault: VaultId, _random: &dyn Random) -> Result<Key, KeyringError> {
        Err(KeyringError::Fixed)
    }
    /// Lets the next key take the place of the present one, which is kept under another name. Only when that opens nothing any more.
    fn replace(&self, _vault: VaultId) -> Result<(), KeyringError> {
        Err(KeyringError::Fixed)
    }
}

/// A file of mode 0600 outside the data directory: title, vault id and 32 bytes in base64, a line each.
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// At a place of choice.
    #[must_use]
    pub const fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// `$XDG_CONFIG_HOME/keyledger/<vault id>.key`, or the same below `$HOME/.config`.
    pub fn default_for(vault: VaultId) -> Result<Self, KeyringError> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let config = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
        let config = config.ok_or_else(|| KeyringError::Io("neither XDG_CONFIG_HOME nor HOME is set: name the file with --root-key-file".into()))?;
        Ok(Self { path: config.join("keyledger").join(format!("{vault}.key")) })
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file with a fresh key. It must not exist, and must not lie in the data directory: whoever copies that must not get both.
    pub fn create(&self, vault: VaultId, data: &Path, random: &dyn Random) -> Result<Key, KeyringError> {
        let folder = self.folder();
        self.apart_from(data)?;
        let existed = folder.ancestors().find(|ancestor| ancestor.exists()).map(Path::to_owned);
        fs::create_dir_all(folder)?;
        // Once more, now that every folder of the path exists and no link or `..` can hide where it leads.
        self.apart_from(data)?;
        let key = Key::random(random);
        self.write(&text_of(vault, &key))?;
        // The folders that were made must outlive a power cut as well.
        for ancestor in folder.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty()) {
            File::open(ancestor)?.sync_all()?;
            if existed.as_deref() == Some(ancestor) {
                break;
            }
        }
        Ok(key)
    }

    /// Writes a new file, mode 0600.
    fn write(&self, text: &str) -> Result<(), KeyringError> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path).map_err(|error| self.problem(&error.to_string()))?;
        file.write_all(text.as_bytes())?;
        Ok(file.sync_all()?)
    }

    /// A file beside it.
    fn beside(&self, end: &str) -> Self {
        let mut name = self.path.clone().into_os_string();
        name.push(end);
        Self { path: PathBuf::from(name) }
    }

    /// Makes a file durably under its name: what is found there is whole.
    fn place(&self, text: &str) -> Result<(), KeyringError> {
        let partial = self.beside(".partial");
        if partial.path.exists() {
            fs::remove_file(&partial.path)?;
        }
        partial.write(text)?;
        fs::rename(&partial.path, &self.path)?;
        Ok(File::open(self.folder())?.sync_all()?)
    }

    fn text(&self) -> Result<Zeroizing<String>, KeyringError> {
        let file = File::open(&self.path).map_err(|error| self.problem(&error.to_string()))?;
        if file.metadata()?.mode() & 0o077 != 0 {
            return Err(self.problem("others may read it: run chmod 600 on it"));
        }
        let mut text = Zeroizing::new(String::new());
        file.take(MAX_FILE).read_to_string(&mut text).map_err(|_| self.problem("is no root key file"))?;
        Ok(text)
    }

    fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn problem(&self, problem: &str) -> KeyringError {
        KeyringError::RootKey { path: self.path.clone(), problem: problem.to_owned() }
    }
}

impl RootKeyProvider for KeyFile {
    fn apart_from(&self, data: &Path) -> Result<(), KeyringError> {
        let data = resolved(data)?;
        // Both where it is named and where a link leads.
        if resolved(self.folder())?.starts_with(&data) || resolved(&self.path)?.starts_with(&data) {
            return Err(self.problem("lies in the data directory: choose another place, so that a copy of the data does not hold its key"));
        }
        Ok(())
    }

    fn root_key(&self, vault: VaultId) -> Result<Key, KeyringError> {
        let text = self.text()?;
        let mut lines = text.lines();
        let (Some(TITLE), Some(id), Some(encoded), None) = (lines.next(), lines.next(), lines.next(), lines.next()) else {
            return Err(self.problem("is no root key file"));
        };
        if id != vault.to_string() {
            return Err(self.problem(&format!("is of another vault; this one is {vault}")));
        }
        let mut key = Zeroizing::new([0; 32]);
        match Base64::decode(encoded, key.as_mut()) {
            Ok(read) if read.len() == 32 => Ok(Key::new(*key)),
            _ => Err(self.problem("does not hold 32 bytes in base64")),
        }
    }

    fn root_keys(&self, vault: VaultId) -> Result<Vec<Key>, KeyringError> {
        let next = self.beside(NEXT);
        // The next one first: when it takes the present one's place in between, the same key is read twice, and that is enough.
        let next = if next.path.exists() { next.root_key(vault).map(Some) } else { Ok(None) };
        let present = self.root_key(vault)?;
        match next {
            Err(_) if !self.is_rotating() => Ok(vec![present]),
            next => Ok(next?.into_iter().chain([present]).collect()),
        }
    }

    fn rotates(&self) -> bool {
        true
    }

    fn is_rotating(&self) -> bool {
        self.beside(NEXT).path.exists()
    }

    fn next_key(&self, vault: VaultId, random: &dyn Random) -> Result<Key, KeyringError> {
        let next = self.beside(NEXT);
        if !next.path.exists() {
            next.place(&text_of(vault, &Key::random(random)))?;
        }
        next.root_key(vault)
    }

    fn replace(&self, vault: VaultId) -> Result<(), KeyringError> {
        let (next, former) = (self.beside(NEXT), self.text()?);
        next.root_key(vault)?;
        // A copy under the first name that is free, or that holds it already. Then one rename, so that the name always has a key.
        let named = |number: u32| self.beside(&if number == 1 { FORMER.to_owned() } else { format!("{FORMER}-{number}") });
        for kept in (1..).map(named) {
            if !kept.path.exists() {
                kept.place(&former)?;
                break;
            }
            if kept.text().is_ok_and(|text| *text == *former) {
                break;
            }
        }
        fs::rename(&next.path, &self.path)?;
        Ok(File::open(self.folder())?.sync_all()?)
    }
}

fn text_of(vault: VaultId, key: &Key) -> Zeroizing<String> {
    Zeroizing::new(format!("{TITLE}\n{vault}\n{}\n", *Zeroizing::new(Base64::encode_string(key.expose()))))
}

/// The path with its links resolved, as far as it exists.
fn resolved(path: &Path) -> std::io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let existing = absolute.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    let rest = absolute.strip_prefix(existing).unwrap_or(Path::new(""));
    Ok(fs::canonicalize(existing)?.join(rest))
}

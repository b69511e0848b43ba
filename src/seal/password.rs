//! Passwords: Argon2id (RFC 9106) under a key of the keyring, so that a stolen log alone cannot be guessed against.

use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Key;

/// Memory in KiB, passes, lanes: OWASP's first choice for Argon2id.
pub const COST: (u32, u32, u32) = (19 * 1024, 2, 1);

/// A password cannot be hashed at this cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the password cannot be hashed at this cost")]
pub struct PasswordError;

/// The tag of a password.
pub fn hash(key: &Key, cost: (u32, u32, u32), salt: &[u8; 16], password: &[u8]) -> Result<[u8; 32], PasswordError> {
    let params = Params::new(cost.0, cost.1, cost.2, Some(32)).map_err(|_| PasswordError)?;
    let argon = Argon2::new_with_secret(key.expose(), Algorithm::Argon2id, Version::V0x13, params).map_err(|_| PasswordError)?;
    let mut tag = [0; 32];
    argon.hash_password_into(password, salt, &mut tag).map_err(|_| PasswordError)?;
    Ok(tag)
}

/// Whether a password has a tag; compared in constant time.
#[must_use]
pub fn matches(key: &Key, cost: (u32, u32, u32), salt: &[u8; 16], password: &[u8], tag: &[u8; 32]) -> bool {
    let made = hash(key, cost, salt, password).map(Zeroizing::new);
    made.is_ok_and(|made| bool::from(made.ct_eq(tag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_its_own_tag_only() {
        let (key, cost) = (Key::new([3; 32]), (64, 1, 1));
        let tag = hash(&key, cost, &[1; 16], b"correct horse").unwrap();
        assert!(matches(&key, cost, &[1; 16], b"correct horse", &tag));
        assert!(!matches(&key, cost, &[1; 16], b"correct horsE", &tag) && !matches(&key, cost, &[2; 16], b"correct horse", &tag));
        assert!(!matches(&Key::new([4; 32]), cost, &[1; 16], b"correct horse", &tag), "without the key");
        assert!(!matches(&key, (0, 0, 0), &[1; 16], b"", &[0; 32]), "a cost that cannot be");
    }
}

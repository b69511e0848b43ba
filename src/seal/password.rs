//! Passwords: Argon2id (RFC 9106) under a key of the keyring, so that a stolen log alone cannot be guessed against.

use argon2::{Algorithm, Argon2, Params, Version};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_its_own_tag_only() {
        let (key, cost) = (Key::new([3; 32]), (64, 1, 1));
        let tag = |key: &Key, salt: u8, password: &[u8]| hash(key, cost, &[salt; 16], password).unwrap();
        let known = tag(&key, 1, b"correct horse");
        assert_eq!(tag(&key, 1, b"correct horse"), known);
        assert!(tag(&key, 1, b"correct horsE") != known && tag(&key, 2, b"correct horse") != known);
        assert_ne!(tag(&Key::new([4; 32]), 1, b"correct horse"), known, "without the key");
        assert_eq!(hash(&key, (0, 0, 0), &[1; 16], b""), Err(PasswordError), "a cost that cannot be");
    }
}

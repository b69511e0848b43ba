//! The form of our own tokens: `kl<type>_<id>_<secret>_<crc>`.

use crate::kernel::{Random, Secret};

/// Hex digits of a token's id: 12 random bytes.
const ID: usize = 24;
/// Hex digits of a token's secret: 32 random bytes.
const SECRET: usize = 64;

/// Which door a token opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// An API key.
    Key,
}

impl TokenType {
    const fn word(self) -> &'static str {
        match self {
            Self::Key => "klkey",
        }
    }
}

/// Text that is no token of ours; which part is wrong is not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token of this vault")]
pub struct TokenError;

/// A token taken apart. `id` names one secret; the checksum tells a mistyped token from an unknown one before any lookup.
pub struct Token {
    /// Which door.
    pub kind: TokenType,
    /// Found in memory by this.
    pub id: String,
    /// Compared by its keyed hash.
    pub secret: Secret,
}

impl Token {
    /// Draws a new one.
    pub fn random(kind: TokenType, random: &dyn Random) -> Self {
        let (id, secret) = (random.array::<12>(), zeroize::Zeroizing::new(random.array::<32>()));
        Self { kind, id: base16ct::lower::encode_string(&id), secret: Secret::from(base16ct::lower::encode_string(secret.as_ref())) }
    }

    /// The whole text, shown once.
    #[must_use]
    pub fn text(&self) -> Secret {
        let body = [self.kind.word().as_bytes(), b"_", self.id.as_bytes(), b"_", self.secret.expose()].concat();
        let checksum = format!("_{:08x}", crc32fast::hash(&body));
        Secret::new([body, checksum.into_bytes()].concat())
    }

    /// What may be shown of it later: type and id.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{}_{}", self.kind.word(), self.id.get(..8).unwrap_or_default())
    }

    /// Takes presented text apart.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let (body, checksum) = text.rsplit_once('_').ok_or(TokenError)?;
        let mut parts = body.split('_');
        let (Some(word), Some(id), Some(secret), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else { return Err(TokenError) };
        let digits = |text: &str, count| text.len() == count && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if word != TokenType::Key.word() || !digits(id, ID) || !digits(secret, SECRET) || checksum != format!("{:08x}", crc32fast::hash(body.as_bytes())) {
            return Err(TokenError);
        }
        Ok(Self { kind: TokenType::Key, id: id.to_owned(), secret: Secret::from(secret) })
    }
}

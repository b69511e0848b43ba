//! The form of our own tokens: `kl<type>_<id>_<secret>_<crc>`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::kernel::{Random, Secret};

/// Hex digits of a token's id: 12 random bytes.
const ID: usize = 24;
/// Hex digits of a token's secret: 32 random bytes.
const SECRET: usize = 64;
/// Digits of the id that may be shown.
const SHOWN: usize = 8;

/// Which door a token opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TokenType {
    /// An API key.
    Key,
    /// A user's session.
    Session,
    /// The secret of an application, or of a user's application.
    Application,
    /// The secret of an API client.
    Client,
    /// The OAuth client secret of an API client.
    OauthClient,
}

impl TokenType {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Key, Self::Session, Self::Application, Self::Client, Self::OauthClient];

    /// How its tokens begin.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Key => "klkey",
            Self::Session => "klses",
            Self::Application => "klapp",
            Self::Client => "klcli",
            Self::OauthClient => "kloac",
        }
    }
}

/// Text that is no token of ours; which part is wrong is not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token of this vault")]
pub struct TokenError;

/// Names one secret: two secrets of one thing have two. 24 hex digits as text.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretId(pub [u8; 12]);

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretId({self})")
    }
}

impl FromStr for SecretId {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut bytes = [0; 12];
        match base16ct::lower::decode(text, &mut bytes) {
            Ok(read) if read.len() == 12 => Ok(Self(bytes)),
            _ => Err(TokenError),
        }
    }
}

impl Serialize for SecretId {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        if out.is_human_readable() { out.collect_str(self) } else { self.0.serialize(out) }
    }
}

impl<'de> Deserialize<'de> for SecretId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() { String::deserialize(from)?.parse().map_err(D::Error::custom) } else { <[u8; 12]>::deserialize(from).map(Self) }
    }
}

/// A token taken apart. The checksum tells a mistyped token from an unknown one before any lookup.
pub struct Token {
    /// Which door.
    pub kind: TokenType,
    /// Found in memory by this.
    pub id: SecretId,
    /// Compared by its keyed hash.
    pub secret: Secret,
}

impl Token {
    /// Draws a new one.
    pub fn random(kind: TokenType, random: &dyn Random) -> Self {
        let (id, secret) = (random.array::<12>(), zeroize::Zeroizing::new(random.array::<32>()));
        Self { kind, id: SecretId(id), secret: Secret::from(base16ct::lower::encode_string(secret.as_ref())) }
    }

    /// The whole text, shown once.
    #[must_use]
    pub fn text(&self) -> Secret {
        let body = [self.kind.word().as_bytes(), b"_", self.id.to_string().as_bytes(), b"_", self.secret.expose()].concat();
        let checksum = format!("_{:08x}", crc32fast::hash(&body));
        Secret::new([body, checksum.into_bytes()].concat())
    }

    /// What may be shown of it later: type and the beginning of the id.
    #[must_use]
    pub fn short(&self) -> String {
        short(self.kind, self.id)
    }

    /// Takes presented text apart.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let (body, checksum) = text.rsplit_once('_').ok_or(TokenError)?;
        let mut parts = body.split('_');
        let (Some(word), Some(id), Some(secret), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else { return Err(TokenError) };
        let kind = TokenType::ALL.into_iter().find(|kind| kind.word() == word).ok_or(TokenError)?;
        let digits = |text: &str, count| text.len() == count && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !digits(id, ID) || !digits(secret, SECRET) || checksum != format!("{:08x}", crc32fast::hash(body.as_bytes())) {
            return Err(TokenError);
        }
        Ok(Self { kind, id: id.parse()?, secret: Secret::from(secret) })
    }
}

/// What may be shown of a token of this type and id.
#[must_use]
pub fn short(kind: TokenType, id: SecretId) -> String {
    let id = id.to_string();
    format!("{}_{}", kind.word(), id.get(..SHOWN).unwrap_or_default())
}

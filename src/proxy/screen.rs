//! What must not come back: a secret that was sent along, as it is and in the encodings that services repeat input in. A net, not a wall: a
//! service that wants to hand its caller a secret in another disguise can.

use base64ct::{Base64, Base64Unpadded, Base64Url, Base64UrlUnpadded, Encoding};
use memchr::{memchr_iter, memmem};
use zeroize::Zeroizing;

/// Shorter values cannot be told from chance.
const SHORTEST: usize = 6;

/// The answer held a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer held a credential of the connection")]
pub struct Caught;

/// The secrets that were sent along.
#[derive(Default)]
pub struct Screen {
    needles: Vec<Zeroizing<Vec<u8>>>,
}

impl Screen {
    /// Adds a secret, in its encodings.
    pub fn watch(&mut self, secret: &[u8]) {
        if secret.len() < SHORTEST {
            return;
        }
        let mut forms = vec![Zeroizing::new(secret.to_vec()), escaped(secret, true, "%20"), escaped(secret, false, "%20"), escaped(secret, true, "+")];
        forms.extend([Base64::encode_string(secret), Base64Unpadded::encode_string(secret)].map(|text| Zeroizing::new(text.into_bytes())));
        forms.extend([Base64Url::encode_string(secret), Base64UrlUnpadded::encode_string(secret)].map(|text| Zeroizing::new(text.into_bytes())));
        if let Ok(text) = std::str::from_utf8(secret) {
            let quoted = Zeroizing::new(serde_json::Value::from(text).to_string());
            let inside = quoted.trim_matches('"');
            forms.push(Zeroizing::new(inside.as_bytes().to_vec()));
            forms.push(Zeroizing::new(inside.replace('/', "\\/").into_bytes()));
        }
        for form in forms {
            // What holds another one is found by it.
            let known = self.needles.iter().any(|known| memmem::find(&form, known).is_some());
            if !known {
                self.needles.push(form);
            }
        }
    }

    /// Whether one of them stands in these bytes.
    #[must_use]
    pub fn holds(&self, bytes: &[u8]) -> bool {
        self.needles.iter().any(|needle| memmem::find(bytes, needle).is_some())
    }

    /// How many bytes at the end may be the beginning of one.
    fn begun(&self, bytes: &[u8]) -> usize {
        let longest = |needle: &Zeroizing<Vec<u8>>| {
            let tail = bytes.get(bytes.len().saturating_sub(needle.len().saturating_sub(1))..).unwrap_or_default();
            let starts = needle.first().into_iter().flat_map(|first| memchr_iter(*first, tail));
            starts.filter_map(|start| tail.get(start..)).find(|rest| needle.starts_with(rest)).map_or(0, <[u8]>::len)
        };
        self.needles.iter().map(longest).max().unwrap_or(0)
    }
}

/// Percent-encoded: all but unreserved characters (RFC 3986, section 2.3).
fn escaped(bytes: &[u8], upper: bool, blank: &str) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(bytes.len() * 3));
    for byte in bytes {
        match byte {
            b' ' => text.extend_from_slice(blank.as_bytes()),
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) => text.push(*byte),
            byte if upper => text.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            byte => text.extend_from_slice(format!("%{byte:02x}").as_bytes()),
        }
    }
    text
}

/// Lets a body through piece by piece, and holds back only what may be the beginning of a secret.
pub struct Sieve {
    screen: Screen,
    held: Zeroizing<Vec<u8>>,
}

impl Sieve {
    /// Stops these secrets.
    #[must_use]
    pub fn new(screen: Screen) -> Self {
        Self { screen, held: Zeroizing::default() }
    }

    /// What may go on of this piece and of what was held back.
    pub fn sift(&mut self, piece: &[u8]) -> Result<Vec<u8>, Caught> {
        let mut whole = std::mem::take(&mut *self.held);
        whole.extend_from_slice(piece);
        if self.screen.holds(&whole) {
            drop(Zeroizing::new(whole));
            return Err(Caught);
        }
        *self.held = whole.split_off(whole.len() - self.screen.begun(&whole));
        Ok(whole)
    }

    /// What was held back until the end: nothing came of it.
    pub fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut *self.held)
    }
}

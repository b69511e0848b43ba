//! Access tokens that vendors' clients decode: JSON Web Tokens (RFC 7519) under HMAC-SHA256 (RFC 7515, RFC 7518). One algorithm, one form.

use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::Key;

/// The longest token that is looked at, in bytes.
pub const MAX_JWT: usize = 4096;

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// To call with.
    Access,
    /// To get another access token with.
    Refresh,
}

/// What a token says. All of it is ASCII without `>`, `?` and `~`, so that the payload's base64url holds neither `-` nor `_`: one vendor's
/// client decodes it as plain base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The vault.
    pub iss: String,
    /// The thing that it was given to, as its stream.
    pub sub: String,
    /// The secret that it was given for: it ends with it.
    pub sid: String,
    /// What it is good for.
    #[serde(rename = "use")]
    pub purpose: Use,
    /// Names this one token.
    pub jti: String,
    /// Where the log stood when it was made.
    pub pos: u64,
    /// When it was made, in seconds since 1970.
    pub iat: i64,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// Permissions that it is narrowed to, apart by blanks; absent: all that its bearer holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// Not a token of this vault; which part is wrong is not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token of this vault")]
pub struct JwtError;

/// The one header that is written and read: no other algorithm is known.
fn header(key: [u8; 16]) -> String {
    Base64UrlUnpadded::encode_string(format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{}"}}"#, base16ct::lower::encode_string(&key)).as_bytes())
}

fn signature(key: &Key, signed: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes keys of any length");
    mac.update(signed);
    mac.finalize().into_bytes().into()
}

/// Makes a token under the key of an id. Its claims say what it is good for, in a member `use`: each sort of claims reads its own only.
#[must_use]
pub fn mint(id: [u8; 16], key: &Key, claims: &impl Serialize) -> String {
    let payload = serde_json::to_vec(claims).unwrap_or_default();
    let signed = format!("{}.{}", header(id), Base64UrlUnpadded::encode_string(&payload));
    let signature = Base64UrlUnpadded::encode_string(&signature(key, signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Reads a token. Nothing of it is looked at before its signature has been compared; the times in it are the caller's matter.
pub fn open<T: DeserializeOwned>(id: [u8; 16], key: &Key, text: &str) -> Result<T, JwtError> {
    if text.len() > MAX_JWT {
        return Err(JwtError);
    }
    let (signed, given) = text.rsplit_once('.').ok_or(JwtError)?;
    let (head, payload) = signed.split_once('.').ok_or(JwtError)?;
    let given = Base64UrlUnpadded::decode_vec(given).map_err(|_| JwtError)?;
    if head != header(id) || !bool::from(signature(key, signed.as_bytes()).as_slice().ct_eq(&given)) {
        return Err(JwtError);
    }
    let payload = Base64UrlUnpadded::decode_vec(payload).map_err(|_| JwtError)?;
    serde_json::from_slice(&payload).map_err(|_| JwtError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        let text = |text: &str| text.to_owned();
        Claims {
            iss: text("00112233445566778899aabbccddeeff"),
            sub: text("ffeeddccbbaa99887766554433221100"),
            sid: text("0123456789abcdef01234567"),
            purpose: Use::Access,
            jti: text("76543210fedcba9876543210"),
            pos: 4711,
            iat: 1_777_903_500,
            exp: 1_777_907_100,
            scope: Some(text("connections:read custom:x.y-z_1/2")),
        }
    }

    #[test]
    fn the_signature_is_that_of_rfc_7515_appendix_a_1() {
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let signed = b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let mut mac = Hmac::<Sha256>::new_from_slice(&Base64UrlUnpadded::decode_vec(key).unwrap()).unwrap();
        mac.update(signed);
        assert_eq!(Base64UrlUnpadded::encode_string(&mac.finalize().into_bytes()), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn a_token_opens_as_what_it_was_and_its_payload_is_plain_base64_too() {
        let key = Key::new([7; 32]);
        let token = mint([1; 16], &key, &claims());
        assert_eq!(open::<Claims>([1; 16], &key, &token), Ok(claims()));
        assert!(!token.split('.').nth(1).unwrap().contains(['-', '_']));
        assert_eq!(open::<Claims>([1; 16], &Key::new([8; 32]), &token), Err(JwtError), "another key");
        assert_eq!(open::<Claims>([2; 16], &key, &token), Err(JwtError), "another key's name");
    }

    #[test]
    fn whatever_is_changed_it_does_not_open() {
        let key = Key::new([7; 32]);
        let token = mint([1; 16], &key, &claims());
        for place in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            assert_eq!(open::<Claims>([1; 16], &key, std::str::from_utf8(&bytes).unwrap()), Err(JwtError), "byte {place}");
        }
        let parts: Vec<&str> = token.split('.').collect();
        let none = Base64UrlUnpadded::encode_string(br#"{"alg":"none","typ":"JWT"}"#);
        for bad in
            [format!("{none}.{}.", parts[1]), format!("{}.{}", parts[0], parts[1]), format!("{token}."), token.clone() + "=", String::new(), "a.b.c".into()]
        {
            assert_eq!(open::<Claims>([1; 16], &key, &bad), Err(JwtError), "{bad}");
        }
    }
}

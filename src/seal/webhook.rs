//! Signatures of messages as the Standard Webhooks specification has them: HMAC-SHA256 over id, time and body.

use base64ct::{Base64, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::kernel::Secret;

/// A signing secret begins so; the rest is base64 of its bytes.
const PREFIX: &str = "whsec_";
/// Bytes of a signing secret.
pub const SECRET_BYTES: usize = 32;
/// The shortest secret that the specification allows, in bytes.
const LEAST_BYTES: usize = 24;

/// A signing secret as its receiver is given it.
#[must_use]
pub fn secret(bytes: [u8; SECRET_BYTES]) -> Secret {
    let bytes = Zeroizing::new(bytes);
    Secret::from(format!("{PREFIX}{}", Base64::encode_string(&*bytes)))
}

/// The value of `webhook-signature` for one secret: `v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`, time in seconds since 1970. `None`
/// when the secret is none of ours.
#[must_use]
pub fn sign(secret: &Secret, id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(secret.expose()).ok()?.strip_prefix(PREFIX)?;
    let key = Some(Zeroizing::new(Base64::decode_vec(text).ok()?)).filter(|key| key.len() >= LEAST_BYTES)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    Some(format!("v1,{}", Base64::encode_string(&mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python:
    ///
    /// ```text
    /// key = base64.b64decode(secret.removeprefix("whsec_"))
    /// base64.b64encode(hmac.new(key, f"{id}.{time}.".encode() + body, "sha256").digest())
    /// ```
    #[test]
    fn signatures_are_those_of_the_specification() {
        let vectors = [
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                "{\"test\": 2432232314}",
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
                "msg_00112233445566778899aabbccddeeff",
                1_777_903_500,
                "{\"payload\":{\"event_type\":\"vault.connection.created\",\"name\":\"Zürich\"}}",
                "v1,sCaX5H97QZheQtMBgd9x2xZ5JO642e3Im7FHnKiKRgQ=",
            ),
            ("whsec_//////////////////////////////////////////8=", "msg_1", 0, "", "v1,s4dxdJlMzObauO0vsLsJFb1niiZFpWjkVlbgPWIrl2Y="),
        ];
        for (secret, id, time, body, signature) in vectors {
            assert_eq!(sign(&Secret::from(secret), id, time, body.as_bytes()).as_deref(), Some(signature));
        }
    }

    #[test]
    fn a_secret_is_32_bytes_in_base64_and_nothing_else_signs() {
        let made = secret([0xfb; SECRET_BYTES]);
        assert_eq!(made.expose(), b"whsec_+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=");
        assert!(sign(&made, "msg", 0, b"").is_some());
        for bad in ["", "whsec_", "+/v7", "whsec_!", "WHSEC_+/v7", "whsec_+/v"] {
            assert_eq!(sign(&Secret::from(bad), "msg", 0, b""), None, "{bad}");
        }
    }
}

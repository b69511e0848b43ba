//! Names that people choose: what they may hold, and when two of them are the same.

use email_address::{EmailAddress, Options};
use unicode_normalization::UnicodeNormalization;
use unicode_security::GeneralSecurityProfile;
use unicode_security::confusable_detection::skeleton;

use super::{Claim, Refusal};

/// The longest name, in characters.
pub const MAX_NAME: usize = 128;
/// The longest login, in bytes.
pub const MAX_LOGIN: usize = 128;
/// The longest e-mail address, in bytes (RFC 5321).
pub const MAX_EMAIL: usize = 254;
/// The normalisation that names are claimed under: NFKC, lower case, then the skeleton of UTS #39.
const LOOKS: u8 = 2;

/// A name to show: 1 to 128 characters in NFC, without white space at its ends, control characters or invisible ones.
pub fn name(field: &str, text: &str) -> Result<String, Refusal> {
    let text: String = text.nfc().collect();
    if text.is_empty() || text.chars().count() > MAX_NAME {
        return Err(Refusal::invalid(field, format!("takes 1 to {MAX_NAME} characters")));
    }
    if text.trim() != text {
        return Err(Refusal::invalid(field, "begins or ends with white space"));
    }
    // The profile of UTS #39 leaves out what cannot be seen; blanks and ordinary punctuation are fine in a name.
    let fits = |c: char| c == ' ' || c.is_ascii_graphic() || (!c.is_control() && !c.is_whitespace() && c.identifier_allowed());
    if !text.chars().all(fits) {
        return Err(Refusal::invalid(field, "holds a control character, or one that cannot be seen or told apart"));
    }
    Ok(text)
}

/// The claim of a name: taken by whatever looks the same, in any letter case.
#[must_use]
pub fn claim(kind: &'static str, scope: &[&str], name: &str) -> Claim {
    Claim { normalisation: LOOKS, ..Claim::exact(kind, scope, &look(name)) }
}

/// What a name looks like: equal for names that a reader could take for each other.
#[must_use]
pub fn look(name: &str) -> String {
    let lower: String = name.nfkc().collect::<String>().to_lowercase();
    skeleton(&lower).collect()
}

/// A name to log in with, in lower case: 1 to 128 of letters, digits and `.`, `_`, `@`, `+`, `-`, so that no two look alike, and none looks like
/// an id: users are found by either.
pub fn login(field: &str, text: &str) -> Result<String, Refusal> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
    if text.is_empty() || text.len() > MAX_LOGIN || !text.bytes().all(fits) {
        return Err(Refusal::invalid(field, format!("takes 1 to {MAX_LOGIN} of letters a to z, digits and . _ @ + -")));
    }
    if text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Refusal::invalid(field, "could be taken for an id"));
    }
    Ok(text.to_ascii_lowercase())
}

/// An e-mail address (RFC 5321), without a display name.
pub fn email(field: &str, text: &str) -> Result<String, Refusal> {
    let options = Options::default().without_display_text().without_domain_literal().with_required_tld();
    let plain = text.len() <= MAX_EMAIL && text.bytes().all(|byte| byte.is_ascii_graphic());
    match EmailAddress::parse_with_options(text, options) {
        Ok(_) if plain => Ok(text.to_owned()),
        _ => Err(Refusal::invalid(field, "is no e-mail address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_are_one_claim() {
        for (one, other) in [("Paypal", "paypal"), ("paypal", "p\u{430}ypal"), ("Straße", "STRASSE"), ("caf\u{e9}", "cafe\u{301}")] {
            assert_eq!(look(one) == look(other), !one.starts_with("Stra"), "{one} {other}");
        }
        assert_ne!(look("acme"), look("acme-2"));
    }

    #[test]
    fn what_cannot_be_seen_is_no_part_of_a_name() {
        for good in ["Acme GmbH & Co.", "Zürich", "日本語", "a", "Ops (night)", "привет"] {
            assert_eq!(name("name", good).as_deref(), Ok(good));
        }
        let long = "x".repeat(MAX_NAME);
        assert!(name("name", &long).is_ok() && name("name", &(long + "x")).is_err());
        for bad in ["", " a", "a ", "a\nb", "a\0", "a\u{200b}b", "a\u{202e}b", "a\u{7f}", "a\u{feff}", "a\u{a0}b", "a\u{e0041}"] {
            assert!(name("name", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn logins_and_addresses() {
        assert_eq!(login("login", "Ann.Lee@example.com").as_deref(), Ok("ann.lee@example.com"));
        for bad in ["", "a b", "a/b", "\u{430}nn", "a\0", "a:b", "00112233445566778899aabbccddeeff", "00112233445566778899AABBCCDDEEFF"] {
            assert!(login("login", bad).is_err(), "{bad:?}");
        }
        assert!(
            login("login", &"a".repeat(MAX_LOGIN)).is_ok() && login("login", &"a".repeat(31)).is_ok() && login("login", &"a".repeat(MAX_LOGIN + 1)).is_err()
        );
        assert!(email("email", "ann@example.com").is_ok());
        for bad in [
            "",
            "ann",
            "ann@",
            "@example.com",
            "ann@example",
            "Ann <ann@example.com>",
            "ann@exa mple.com",
            "a\r\nb@example.com",
            "ann@[127.0.0.1]",
            "\u{430}nn@example.com",
        ] {
            assert!(email("email", bad).is_err(), "{bad:?}");
        }
    }
}

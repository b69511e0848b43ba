//! Pages: how many items, and from where on.

use base64ct::{Base64UrlUnpadded, Encoding};

use super::limits::{CURSOR, PAGE_DEFAULT, PAGE_MAX};

/// The version of the bytes in a cursor: an old cursor is refused, not misread.
const CURSOR_VERSION: u8 = 1;

/// A parameter of a page that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Not a number from 1 to the limit.
    #[error("limit takes a number from 1 to {PAGE_MAX}")]
    Limit,
    /// Not a cursor of ours.
    #[error("cursor takes what an earlier page gave, unchanged")]
    Cursor,
}

/// How many items a caller asks for.
pub fn limit(text: Option<&str>) -> Result<usize, PageError> {
    let Some(text) = text else { return Ok(PAGE_DEFAULT) };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|limit| digits && (1..=PAGE_MAX).contains(limit)).ok_or(PageError::Limit)
}

/// A cursor around bytes that only its list understands. It is opaque, not secret and not authenticated: a list judges what it reads.
#[must_use]
pub fn cursor(place: &[u8]) -> String {
    let mut bytes = vec![CURSOR_VERSION];
    bytes.extend_from_slice(place);
    Base64UrlUnpadded::encode_string(&bytes)
}

/// The bytes in a cursor.
pub fn read_cursor(text: &str) -> Result<Vec<u8>, PageError> {
    if text.len() > CURSOR {
        return Err(PageError::Cursor);
    }
    let bytes = Base64UrlUnpadded::decode_vec(text).map_err(|_| PageError::Cursor)?;
    match bytes.split_first() {
        Some((&CURSOR_VERSION, place)) if Base64UrlUnpadded::encode_string(&bytes) == text => Ok(place.to_vec()),
        _ => Err(PageError::Cursor),
    }
}

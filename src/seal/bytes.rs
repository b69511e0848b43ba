//! Fixed-order binary: big-endian numbers, and texts with their length in front.

use super::record::FormatError;

/// Reads fields off the front of a byte slice; never beyond its end.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(FormatError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        self.take(N)?.try_into().map_err(|_| FormatError::Truncated)
    }

    pub fn u8(&mut self) -> Result<u8, FormatError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Result<u16, FormatError> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, FormatError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A name: one length byte, then that many bytes of lower-case ASCII, digits and `_.-`; for field names of free choice any UTF-8.
    pub fn name(&mut self) -> Result<String, FormatError> {
        let length = self.u8()?;
        let bytes = self.take(usize::from(length))?;
        match std::str::from_utf8(bytes) {
            Ok(name) if !name.is_empty() => Ok(name.to_owned()),
            _ => Err(FormatError::Field("name")),
        }
    }

    /// A 32-byte value that may be absent.
    pub fn optional_hash(&mut self) -> Result<Option<[u8; 32]>, FormatError> {
        match self.u8()? {
            0 => Ok(None),
            1 => self.array().map(Some),
            _ => Err(FormatError::Field("presence")),
        }
    }
}

/// Appends a name with its length in front.
pub(super) fn put_name(out: &mut Vec<u8>, name: &str) -> Result<(), FormatError> {
    let length = u8::try_from(name.len()).ok().filter(|length| *length > 0).ok_or(FormatError::Field("name"))?;
    out.push(length);
    out.extend_from_slice(name.as_bytes());
    Ok(())
}

/// Appends a 32-byte value that may be absent.
pub(super) fn put_optional_hash(out: &mut Vec<u8>, hash: Option<&[u8; 32]>) {
    out.push(u8::from(hash.is_some()));
    if let Some(hash) = hash {
        out.extend_from_slice(hash);
    }
}

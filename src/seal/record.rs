//! The record: a clear header and its sealed boxes, in one order of bytes.
//!
//! ```text
//! record  = seat ‖ bound ‖ box(facts) ‖ box(secret 0) ‖ …        all numbers big-endian
//! seat    = format u8 (1) ‖ position u64 ‖ previous u64 ‖ recorded_at u64 (ms since 1970) ‖ version u64 ‖ content version u64 ‖ facts commitment [32]
//! bound   = suite u8 (1) ‖ epoch number u32 ‖ epoch id [16] ‖ event [16] ‖ tenant [16] ‖ stream [16] ‖ class u8 (0 change, 1 observation)
//!         ‖ kind name ‖ type name ‖ actor [16] ‖ command hash? ‖ request fingerprint?
//!         ‖ group id [16] ‖ group index u32 ‖ group count u32 ‖ causation u64
//!         ‖ claims u16 × (0 take | 1 free, hash [32]) ‖ facts key [16] ‖ secrets u8 × (name, key [16], fingerprint [16]) ‖ shredded u16 × key [16]
//! box     = length u32 ‖ nonce [24] ‖ ciphertext ‖ tag [16]
//! name    = length u8 (1 to 255) ‖ UTF-8        hash? = 0 | 1 ‖ [32]
//! ```
//! `bound` is the associated data of every box (see `derive::box_label`): what only the sequencer knows, and the commitment, which is made
//! from a box, are bound by the leaf hash instead. The format byte is bound by the `v1` of the label.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::bytes::{Reader, put_name, put_optional_hash};
use crate::kernel::{ClaimOp, Class, Epoch, EventId, Fingerprint, Group, GroupId, Header, KeyId, Moment, Position, SealedSecret, StreamId, TenantId, Version};

/// Format 1 of the record.
const FORMAT: u8 = 1;
/// Suite 1: XChaCha20-Poly1305, SHA-256, HMAC-SHA256.
const SUITE: u8 = 1;
/// The largest record, in bytes: one secret at its limit and room beside it. Larger input is refused before it is looked at.
pub const MAX_RECORD: usize = 256 * 1024;

/// Bytes that are no record, or a header that no record can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Ends in the middle of a field.
    #[error("the record is cut short")]
    Truncated,
    /// Goes on after its last box.
    #[error("bytes follow the record's end")]
    Trailing,
    /// Larger than [`MAX_RECORD`].
    #[error("the record is larger than {MAX_RECORD} bytes")]
    TooLarge,
    /// Of a format or suite that this version does not know.
    #[error("unknown record format or suite {0}")]
    Unknown(u8),
    /// A field holds what it cannot.
    #[error("malformed field in the record: {0}")]
    Field(&'static str),
}

/// A sealed event without its seat: the fields that the sequencer gives are still zero.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The header; its first five fields are not yet known.
    pub header: Header,
    /// The sealed facts.
    pub facts: Vec<u8>,
    /// The sealed secrets, in the header's order.
    pub secrets: Vec<Vec<u8>>,
}

/// What the sequencer gives.
#[derive(Clone, Copy, Debug)]
pub struct Seat {
    /// Place in the log.
    pub position: Position,
    /// Position of the stream's previous event.
    pub previous: Position,
    /// When.
    pub recorded_at: Moment,
    /// Place in the stream.
    pub version: Version,
    /// Version of the latest change.
    pub content_version: Version,
}

impl Draft {
    /// The record at this seat.
    pub fn seat(&self, seat: Seat) -> Result<Record, FormatError> {
        let mut header = self.header.clone();
        header.position = seat.position;
        header.previous = seat.previous;
        header.recorded_at = seat.recorded_at;
        header.version = seat.version;
        header.content_version = seat.content_version;
        Record::encode(header, &self.facts, &self.secrets)
    }

    /// Bytes of the record that it will be.
    #[must_use]
    pub fn size(&self) -> usize {
        let bound = bound_bytes(&self.header).map_or(0, |bytes| bytes.len());
        SEAT + bound + self.secrets.iter().chain([&self.facts]).map(|sealed| 4 + sealed.len()).sum::<usize>()
    }
}

/// Bytes of the seat.
const SEAT: usize = 1 + 5 * 8 + 32;

/// An event as the log keeps it.
#[derive(Clone, Debug)]
pub struct Record {
    header: Arc<Header>,
    bytes: Arc<[u8]>,
    boxes: Arc<[std::ops::Range<usize>]>,
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Record {
    /// Lays out the header and the boxes.
    pub fn encode(header: Header, facts: &[u8], secrets: &[Vec<u8>]) -> Result<Self, FormatError> {
        if header.secrets.len() != secrets.len() {
            return Err(FormatError::Field("boxes"));
        }
        let mut bytes = seat_bytes(&header);
        bytes.extend(bound_bytes(&header)?);
        let mut boxes = Vec::with_capacity(1 + secrets.len());
        for sealed in [facts].into_iter().chain(secrets.iter().map(Vec::as_slice)) {
            let length = u32::try_from(sealed.len()).map_err(|_| FormatError::TooLarge)?;
            bytes.extend(length.to_be_bytes());
            boxes.push(bytes.len()..bytes.len() + sealed.len());
            bytes.extend_from_slice(sealed);
        }
        if bytes.len() > MAX_RECORD {
            return Err(FormatError::TooLarge);
        }
        Ok(Self { header: Arc::new(header), bytes: bytes.into(), boxes: boxes.into() })
    }

    /// Reads a record, to its last byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() > MAX_RECORD {
            return Err(FormatError::TooLarge);
        }
        let mut reader = Reader(bytes);
        let header = read_header(&mut reader)?;
        let mut boxes = Vec::with_capacity(1 + header.secrets.len());
        for _ in 0..=header.secrets.len() {
            let length = usize::try_from(reader.u32()?).map_err(|_| FormatError::Truncated)?;
            let start = bytes.len() - reader.0.len();
            reader.take(length)?;
            boxes.push(start..start + length);
        }
        if !reader.0.is_empty() {
            return Err(FormatError::Trailing);
        }
        Ok(Self { header: Arc::new(header), bytes: bytes.into(), boxes: boxes.into() })
    }

    /// The stored bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The clear header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The sealed facts.
    #[must_use]
    pub fn facts(&self) -> &[u8] {
        self.sealed(0).unwrap_or_default()
    }

    /// A sealed secret, by its place in the header's list.
    #[must_use]
    pub fn secret(&self, index: usize) -> Option<&[u8]> {
        self.sealed(index.checked_add(1)?)
    }

    /// RFC 6962 leaf hash over the stored bytes: ciphertext, so it needs no key and survives shredding.
    #[must_use]
    pub fn leaf(&self) -> [u8; 32] {
        Sha256::new().chain_update([0]).chain_update(&self.bytes).finalize().into()
    }

    fn sealed(&self, index: usize) -> Option<&[u8]> {
        self.bytes.get(self.boxes.get(index)?.clone())
    }
}

fn seat_bytes(header: &Header) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.push(FORMAT);
    let millis = u64::try_from(header.recorded_at.millis()).unwrap_or(0);
    for number in [header.position.0, header.previous.0, millis, header.version.0, header.content_version.0] {
        out.extend(number.to_be_bytes());
    }
    out.extend(header.facts_commitment);
    out
}

/// The part of the header that every box is bound to.
pub(super) fn bound_bytes(header: &Header) -> Result<Vec<u8>, FormatError> {
    let mut out = vec![SUITE];
    out.extend(header.epoch.number.to_be_bytes());
    for id in [header.epoch.id, header.event.0, header.tenant.0, header.stream.0] {
        out.extend(id);
    }
    out.push(match header.class {
        Class::Change => 0,
        Class::Observation => 1,
    });
    put_name(&mut out, &header.kind)?;
    put_name(&mut out, &header.event_type)?;
    out.extend(header.actor.0);
    put_optional_hash(&mut out, header.command.as_ref());
    put_optional_hash(&mut out, header.request.as_ref());
    out.extend(header.group.id.0);
    out.extend(header.group.index.to_be_bytes());
    out.extend(header.group.count.to_be_bytes());
    out.extend(header.causation.0.to_be_bytes());
    out.extend(u16::try_from(header.claims.len()).map_err(|_| FormatError::Field("claims"))?.to_be_bytes());
    for claim in &header.claims {
        let (op, hash) = match claim {
            ClaimOp::Take(hash) => (0, hash),
            ClaimOp::Free(hash) => (1, hash),
        };
        out.push(op);
        out.extend(hash);
    }
    out.extend(header.facts_key.to_bytes());
    out.push(u8::try_from(header.secrets.len()).map_err(|_| FormatError::Field("secrets"))?);
    for secret in &header.secrets {
        put_name(&mut out, &secret.name)?;
        out.extend(secret.key.to_bytes());
        out.extend(secret.fingerprint.0);
    }
    out.extend(u16::try_from(header.shredded.len()).map_err(|_| FormatError::Field("shredded"))?.to_be_bytes());
    header.shredded.iter().for_each(|key| out.extend(key.to_bytes()));
    Ok(out)
}

fn read_header(reader: &mut Reader<'_>) -> Result<Header, FormatError> {
    let format = reader.u8()?;
    if format != FORMAT {
        return Err(FormatError::Unknown(format));
    }
    let (position, previous) = (Position(reader.u64()?), Position(reader.u64()?));
    let recorded_at = read_moment(reader)?;
    let (version, content_version) = (Version(reader.u64()?), Version(reader.u64()?));
    let facts_commitment = reader.array()?;
    let suite = reader.u8()?;
    if suite != SUITE {
        return Err(FormatError::Unknown(suite));
    }
    Ok(Header {
        position,
        previous,
        recorded_at,
        version,
        content_version,
        facts_commitment,
        epoch: Epoch { number: reader.u32()?, id: reader.array()? },
        event: EventId(reader.array()?),
        tenant: TenantId(reader.array()?),
        stream: StreamId(reader.array()?),
        class: read_class(reader)?,
        kind: reader.name()?,
        event_type: reader.name()?,
        actor: StreamId(reader.array()?),
        command: reader.optional_hash()?,
        request: reader.optional_hash()?,
        group: read_group(reader)?,
        causation: Position(reader.u64()?),
        claims: read_claims(reader)?,
        facts_key: KeyId::from_bytes(reader.array()?),
        secrets: read_secrets(reader)?,
        shredded: read_shredded(reader)?,
    })
}

fn read_moment(reader: &mut Reader<'_>) -> Result<Moment, FormatError> {
    let millis = i64::try_from(reader.u64()?).map_err(|_| FormatError::Field("recorded_at"))?;
    let moment = Moment::from_millis(millis);
    if moment.millis() == millis { Ok(moment) } else { Err(FormatError::Field("recorded_at")) }
}

fn read_class(reader: &mut Reader<'_>) -> Result<Class, FormatError> {
    match reader.u8()? {
        0 => Ok(Class::Change),
        1 => Ok(Class::Observation),
        _ => Err(FormatError::Field("class")),
    }
}

fn read_group(reader: &mut Reader<'_>) -> Result<Group, FormatError> {
    let group = Group { id: GroupId(reader.array()?), index: reader.u32()?, count: reader.u32()? };
    if group.index < group.count { Ok(group) } else { Err(FormatError::Field("group")) }
}

fn read_claims(reader: &mut Reader<'_>) -> Result<Vec<ClaimOp>, FormatError> {
    let count = reader.u16()?;
    let mut claims = Vec::new();
    for _ in 0..count {
        let op = reader.u8()?;
        let hash = reader.array()?;
        claims.push(match op {
            0 => ClaimOp::Take(hash),
            1 => ClaimOp::Free(hash),
            _ => return Err(FormatError::Field("claims")),
        });
    }
    Ok(claims)
}

fn read_secrets(reader: &mut Reader<'_>) -> Result<Vec<SealedSecret>, FormatError> {
    let count = reader.u8()?;
    let mut secrets: Vec<SealedSecret> = Vec::new();
    for _ in 0..count {
        let secret = SealedSecret { name: reader.name()?, key: KeyId::from_bytes(reader.array()?), fingerprint: Fingerprint(reader.array()?) };
        if secrets.iter().any(|earlier| earlier.name == secret.name) {
            return Err(FormatError::Field("secrets"));
        }
        secrets.push(secret);
    }
    Ok(secrets)
}

fn read_shredded(reader: &mut Reader<'_>) -> Result<Vec<KeyId>, FormatError> {
    let count = reader.u16()?;
    (0..count).map(|_| reader.array().map(KeyId::from_bytes)).collect()
}

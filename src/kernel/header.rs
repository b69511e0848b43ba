//! The clear header of a record: what the log shows without any key.

use super::{ClaimOp, Epoch, EventId, Fingerprint, GroupId, KeyId, Moment, Position, SecretRef, StreamId, TenantId, Version};

/// Whether an event moves the content version of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Decided on a content version, and moves it: what `ETag`s, undo and guards speak of.
    Change,
    /// Only noted (revealed, denied, used): leaves the content version alone.
    Observation,
}

/// Events appended as one, all or none, with one `recorded_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Shared by all of them.
    pub id: GroupId,
    /// This event's place, from 0.
    pub index: u32,
    /// How many there are.
    pub count: u32,
}

impl Group {
    /// Whether the group is complete with this event.
    #[must_use]
    pub const fn ends(&self) -> bool {
        self.index + 1 == self.count
    }
}

/// One secret box of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSecret {
    /// `access_token`, `settings.api_key`, …: at most 255 bytes.
    pub name: String,
    /// The data key that opens it, and nothing else.
    pub key: KeyId,
    /// Keyed hash of the value.
    pub fingerprint: Fingerprint,
}

/// The clear header. The first six fields are known only once the sequencer has given the record its seat
/// (`facts_commitment` comes from the box); all others are authenticated by every box of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Place in the log.
    pub position: Position,
    /// Position of the stream's previous event; 0 for its first.
    pub previous: Position,
    /// When the sequencer took it; never decreases along the log.
    pub recorded_at: Moment,
    /// Place in its stream.
    pub version: Version,
    /// Version of the stream's latest change, this one included.
    pub content_version: Version,
    /// SHA-256 over the facts and 32 random bytes that lie in the facts box.
    pub facts_commitment: [u8; 32],
    /// The history it belongs to.
    pub epoch: Epoch,
    /// Random.
    pub event: EventId,
    /// Owner of the stream.
    pub tenant: TenantId,
    /// The thing it is about.
    pub stream: StreamId,
    /// Change or observation.
    pub class: Class,
    /// Sort of thing, such as `connection`.
    pub kind: String,
    /// What happened, such as `created`.
    pub event_type: String,
    /// Stream of the principal that did it; all zero for the vault itself.
    pub actor: StreamId,
    /// Keyed hash of the caller's idempotency key; only on a command's first append, on its first event.
    pub command: Option<[u8; 32]>,
    /// Keyed hash of the request under that key.
    pub request: Option<[u8; 32]>,
    /// The append it came with.
    pub group: Group,
    /// Position of what caused it; 0 for nothing.
    pub causation: Position,
    /// Names taken and freed with it.
    pub claims: Vec<ClaimOp>,
    /// Opens the facts box; one per stream.
    pub facts_key: KeyId,
    /// The secret boxes, in order.
    pub secrets: Vec<SealedSecret>,
    /// Data keys that die with this event.
    pub shredded: Vec<KeyId>,
}

impl Header {
    /// The reference to a secret that this event brings; `None` when it brings none of that name.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<SecretRef> {
        self.secrets.iter().find(|secret| secret.name == name).map(|secret| SecretRef {
            position: self.position,
            name: secret.name.clone(),
            version: self.version,
            fingerprint: secret.fingerprint,
        })
    }
}

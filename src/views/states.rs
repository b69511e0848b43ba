//! Every state at a position by its HMAC: what a state hash is made of, kept so that it can be made again without what was shredded since.
//!
//! ```text
//! keyledger states 1\n
//! fold version [4] ‖ position [8]
//! per stream, by id: id [16] ‖ tenant [16] ‖ facts key [16] ‖ version [8] ‖ HMAC of the canonical state [32], zeroes when it was shredded
//! ```

use std::collections::HashSet;

use super::state_hash::{Hashing, digest};
use super::{StateHash, Views};
use crate::credentials::{FOLD_VERSION, FactsError};
use crate::kernel::{KeyId, Position, StreamId, TenantId, Version};
use crate::seal::Key;

const TITLE: &[u8] = b"keyledger states 1\n";
/// Bytes of a stream.
const ROW: usize = 88;

/// One stream.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    id: StreamId,
    tenant: TenantId,
    facts_key: KeyId,
    version: Version,
    digest: Option<[u8; 32]>,
}

/// All streams, by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct States {
    position: Position,
    fold_version: u32,
    rows: Vec<Row>,
}

impl Views {
    /// Every state by its HMAC, under the vault's state key.
    pub fn states(&self, key: &Key) -> Result<States, FactsError> {
        let row = |(id, entry): (&StreamId, &std::sync::Arc<super::Entry>)| {
            Ok(Row { id: *id, tenant: entry.tenant, facts_key: entry.facts_key, version: entry.version, digest: digest(&entry.state, key)? })
        };
        let mut rows = self.things().map(row).collect::<Result<Vec<Row>, FactsError>>()?;
        rows.sort_unstable_by_key(|row| row.id);
        Ok(States { position: self.position(), fold_version: FOLD_VERSION, rows })
    }
}

impl States {
    /// The state hash that they make.
    #[must_use]
    pub fn hash(&self) -> StateHash {
        let mut hashing = Hashing::begin(self.fold_version, self.position);
        for row in &self.rows {
            hashing.take(row.id, row.version, row.digest.as_ref());
        }
        hashing.end()
    }

    /// The position.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Skips the streams whose facts key is among these, alone or with all of its tenant's; how many it had not skipped yet.
    pub fn forget(&mut self, dead: &HashSet<KeyId>) -> u64 {
        let mut gone = 0;
        for row in &mut self.rows {
            if (dead.contains(&row.facts_key) || dead.contains(&KeyId::whole(row.tenant))) && row.digest.take().is_some() {
                gone += 1;
            }
        }
        gone
    }

    /// As they lie in a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(TITLE.len() + 12 + self.rows.len() * ROW);
        bytes.extend(TITLE);
        bytes.extend(self.fold_version.to_be_bytes());
        bytes.extend(self.position.0.to_be_bytes());
        for row in &self.rows {
            bytes.extend(row.id.0);
            bytes.extend(row.tenant.0);
            bytes.extend(row.facts_key.to_bytes());
            bytes.extend(row.version.0.to_be_bytes());
            bytes.extend(row.digest.unwrap_or_default());
        }
        bytes
    }

    /// The reverse of [`States::to_bytes`]; `None` for what is no such file.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(TITLE)?;
        let (fold_version, rest) = rest.split_first_chunk::<4>()?;
        let (position, rest) = rest.split_first_chunk::<8>()?;
        let rows = rest.chunks(ROW).map(row).collect::<Option<Vec<Row>>>()?;
        let by_id = rows.is_sorted_by(|one, next| one.id < next.id);
        by_id.then_some(Self { fold_version: u32::from_be_bytes(*fold_version), position: Position(u64::from_be_bytes(*position)), rows })
    }
}

fn row(bytes: &[u8]) -> Option<Row> {
    let (id, rest) = bytes.split_first_chunk::<16>()?;
    let (tenant, rest) = rest.split_first_chunk::<16>()?;
    let (facts_key, rest) = rest.split_first_chunk::<16>()?;
    let (version, rest) = rest.split_first_chunk::<8>()?;
    let digest: [u8; 32] = rest.try_into().ok()?;
    Some(Row {
        id: StreamId(*id),
        tenant: TenantId(*tenant),
        facts_key: KeyId::from_bytes(*facts_key),
        version: Version(u64::from_be_bytes(*version)),
        digest: Some(digest).filter(|digest| *digest != [0; 32]),
    })
}

//! Keys that are destroyed although no event of the log says so: the log has lost the shred that took them, and the keyring has not.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::died::told;
use super::home::HomeError;
use crate::credentials::vault::Event;
use crate::kernel::{KeyId, Position, StreamId, TenantId};
use crate::keyring::{Keyring, KeyringError, Purpose};
use crate::log::{EventLog, MAX_BLOCK_RECORDS};
use crate::views::Opener;

/// Why such keys died, as the event says that names them.
const REASON: &str = "shredded in the part of the log that is lost";

/// What died without a word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unexplained {
    /// Keys.
    pub keys: Vec<KeyId>,
    /// Things whose facts they sealed: nothing is left of these.
    pub things: Vec<StreamId>,
    /// Tenants of which no key is left; theirs are not among `keys`.
    pub tenants: Vec<TenantId>,
}

/// A key that the log uses: whose it is, and the thing whose facts it sealed.
type Used = HashMap<KeyId, (TenantId, Option<StreamId>)>;

impl Unexplained {
    /// Looks for them. A server may write beside: an event is there before the keys that it takes are gone.
    pub async fn find(log: &dyn EventLog, keyring: &dyn Keyring, opener: &Opener) -> Result<Self, HomeError> {
        let (mut used, mut dead, mut at) = (Used::new(), HashSet::new(), Position::ZERO);
        read(log, opener, &mut at, &mut used, &mut dead).await?;
        let mut gone: Vec<KeyId> = Vec::new();
        for (key, (tenant, _)) in used.iter().filter(|(key, (tenant, _))| !dead.contains(*key) && !dead.contains(&KeyId::whole(*tenant))) {
            // One that is missing, or damaged, is another matter, and found elsewhere.
            if let Err(KeyringError::Destroyed(_)) = keyring.key(*tenant, *key) {
                gone.push(*key);
            }
        }
        if !gone.is_empty() {
            read(log, opener, &mut at, &mut HashMap::new(), &mut dead).await?;
        }
        let (mut found, mut tenants) = (Self::default(), BTreeSet::new());
        for key in gone.into_iter().filter(|key| !dead.contains(key)) {
            let Some((tenant, thing)) = used.get(&key).copied().filter(|(tenant, _)| !dead.contains(&KeyId::whole(*tenant))) else { continue };
            if keyring.purpose(tenant, Purpose::Claims).is_err() {
                tenants.insert(tenant);
                continue;
            }
            found.keys.push(key);
            found.things.extend(thing);
        }
        found.tenants = tenants.into_iter().collect();
        found.keys.sort_unstable();
        found.things.sort_unstable();
        Ok(found)
    }

    /// Whether the log tells of every key that is gone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.tenants.is_empty()
    }

    /// All that an opener must not look for.
    pub fn dead(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.keys.iter().copied().chain(self.tenants.iter().map(|tenant| KeyId::whole(*tenant)))
    }

    /// The events that say what died, each with the keys that it names.
    pub(super) fn told(&self) -> Vec<(Event, Vec<KeyId>)> {
        told(&self.dead().collect::<Vec<_>>(), &self.things, &self.tenants, REASON)
    }
}

impl std::fmt::Display for Unexplained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} keys", self.keys.len())?;
        if !self.tenants.is_empty() {
            write!(f, " and all those of {} tenants", self.tenants.len())?;
        }
        write!(f, " are destroyed, and no event of the log says so: it has lost the shred that took them, or the keyring is of another history")
    }
}

/// Takes in the keys that the records after a position use, and those that they destroy. A header is believed when its facts box has opened.
async fn read(log: &dyn EventLog, opener: &Opener, at: &mut Position, used: &mut Used, dead: &mut HashSet<KeyId>) -> Result<(), HomeError> {
    loop {
        let records = log.read(*at, MAX_BLOCK_RECORDS).await?;
        let Some(last) = records.last() else { return Ok(()) };
        *at = last.header().position;
        for record in &records {
            let header = record.header();
            used.insert(header.facts_key, (header.tenant, Some(header.stream)));
            for secret in &header.secrets {
                used.entry(secret.key).or_insert((header.tenant, None));
            }
            if !header.shredded.is_empty() && opener.open(record).is_ok() {
                dead.extend(&header.shredded);
            }
        }
    }
}

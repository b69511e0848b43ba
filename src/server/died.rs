//! How the first group of a history says what had died in the one before it, or without a word.

use crate::credentials::vault::Event;
use crate::kernel::{KeyId, StreamId, TenantId};

/// The most keys that one event names as shredded.
pub const KEYS_AT_ONCE: usize = 4096;
/// The most things or tenants that one event names.
const NAMED_AT_ONCE: usize = 1024;

/// The events that say it, each with the keys that it names: first all keys, then what is gone with them.
pub fn told(keys: &[KeyId], things: &[StreamId], tenants: &[TenantId], reason: &str) -> Vec<(Event, Vec<KeyId>)> {
    let event = |things: &[StreamId], tenants: &[TenantId]| Event::Shredded {
        secrets: Vec::new(),
        reason: reason.to_owned(),
        things: things.to_vec(),
        tenants: tenants.to_vec(),
    };
    let keys = keys.chunks(KEYS_AT_ONCE).map(|keys| (event(&[], &[]), keys.to_vec()));
    let things = things.chunks(NAMED_AT_ONCE).map(|things| (event(things, &[]), Vec::new()));
    let tenants = tenants.chunks(NAMED_AT_ONCE).map(|tenants| (event(&[], tenants), Vec::new()));
    keys.chain(things).chain(tenants).collect()
}

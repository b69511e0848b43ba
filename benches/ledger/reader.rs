//! The least that finds an answer in a log: rows are read by their places, opened and parsed, and nothing is kept but data keys.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyledger::credentials::AnyEvent;
use keyledger::kernel::{KeyId, StreamId};
use keyledger::keyring::Keyring;
use keyledger::seal::{Key, Record};
use rusqlite::{Connection, OpenFlags};

use crate::bare::open;

/// A reader of one log.
pub struct Reader {
    connection: Connection,
    keyring: Arc<dyn Keyring>,
    keys: HashMap<KeyId, Key>,
}

impl Reader {
    pub fn of(path: &Path, keyring: Arc<dyn Keyring>) -> Self {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        Self { connection, keyring, keys: HashMap::new() }
    }

    /// Every record, one after the other.
    pub fn each(&self, mut take: impl FnMut(&Record)) {
        let mut select = self.connection.prepare("SELECT record FROM log ORDER BY position").unwrap();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            take(&Record::decode(row.get_ref(0).unwrap().as_blob().unwrap()).unwrap());
        }
    }

    /// Opens the records at these places.
    pub fn at(&mut self, places: impl IntoIterator<Item = u64>) -> Duration {
        let started = Instant::now();
        for place in places {
            self.between(place, place);
        }
        started.elapsed()
    }

    /// Opens the records from one place through another.
    pub fn between(&mut self, from: u64, through: u64) -> Duration {
        let started = Instant::now();
        let mut select = self.connection.prepare_cached("SELECT record FROM log WHERE position BETWEEN ?1 AND ?2 ORDER BY position").unwrap();
        let mut rows = select.query((i64::try_from(from).unwrap(), i64::try_from(through).unwrap())).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let record = Record::decode(row.get_ref(0).unwrap().as_blob().unwrap()).unwrap();
            opened(&mut self.keys, &*self.keyring, &record);
        }
        started.elapsed()
    }

    /// Looks at the clear header of every record from the last one back, and opens those by an actor, until so many were found.
    pub fn by(&mut self, actor: StreamId, limit: usize) -> (Duration, usize) {
        let started = Instant::now();
        let mut select = self.connection.prepare_cached("SELECT record FROM log ORDER BY position DESC").unwrap();
        let (mut rows, mut found) = (select.query([]).unwrap(), 0);
        while found < limit
            && let Some(row) = rows.next().unwrap()
        {
            let record = Record::decode(row.get_ref(0).unwrap().as_blob().unwrap()).unwrap();
            if record.header().actor == actor {
                opened(&mut self.keys, &*self.keyring, &record);
                found += 1;
            }
        }
        (started.elapsed(), found)
    }
}

fn opened(keys: &mut HashMap<KeyId, Key>, keyring: &dyn Keyring, record: &Record) {
    let header = record.header();
    let key = keys.entry(header.facts_key).or_insert_with(|| keyring.key(header.tenant, header.facts_key).unwrap());
    let facts = open(keyring.vault(), record, key);
    std::hint::black_box(AnyEvent::from_facts(&header.kind, &header.event_type, &facts[32..]).unwrap());
}

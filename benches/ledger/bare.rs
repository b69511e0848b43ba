//! The least code that does the same work: inserts rows, or reads and opens them, and nothing else.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use chacha20::{R20, hchacha};
use keyledger::credentials::AnyEvent;
use keyledger::kernel::{KeyId, VaultId};
use keyledger::keyring::Keyring;
use keyledger::seal::{Key, Record};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use sha2::{Digest, Sha256};

use crate::witness::Blocks;

/// Bytes in front of what a box is bound to: format, five numbers, the commitment.
const SEAT: usize = 1 + 5 * 8 + 32;

/// A database with the log's own table and the log's own settings.
pub struct Bare(Connection);

impl Bare {
    pub fn create(path: &Path) -> Self {
        let connection = Connection::open(path).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "synchronous", "FULL").unwrap();
        connection.execute_batch(include_str!("../../schema/log.sql")).unwrap();
        Self(connection)
    }

    /// Inserts the same rows in the same batches, one commit a batch.
    pub fn insert(&mut self, blocks: &Blocks) -> Duration {
        let started = Instant::now();
        for block in blocks {
            let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
            {
                let mut insert = transaction.prepare_cached("INSERT INTO log (position, record) VALUES (?1, ?2)").unwrap();
                for record in &**block {
                    insert.execute((i64::try_from(record.header().position.0).unwrap(), record.bytes())).unwrap();
                }
            }
            transaction.commit().unwrap();
        }
        started.elapsed()
    }
}

/// Reads every row, opens its facts box and parses the JSON. Data keys are unwrapped when they are first met, as a fold from zero must, and
/// kept. Gives the time and how many events were read.
pub fn read_and_open(path: &Path, vault: VaultId, keyring: &dyn Keyring) -> (Duration, u64) {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut keys: HashMap<KeyId, Key> = HashMap::new();
    let started = Instant::now();
    let mut select = connection.prepare("SELECT record FROM log ORDER BY position").unwrap();
    let (mut rows, mut events) = (select.query([]).unwrap(), 0);
    while let Some(row) = rows.next().unwrap() {
        let record = Record::decode(row.get_ref(0).unwrap().as_blob().unwrap()).unwrap();
        let header = record.header();
        let key = keys.entry(header.facts_key).or_insert_with(|| keyring.key(header.tenant, header.facts_key).unwrap());
        let facts = open(vault, &record, key);
        std::hint::black_box(AnyEvent::from_facts(&header.kind, &header.event_type, &facts[32..]).unwrap());
        events += 1;
    }
    (started.elapsed(), events)
}

/// Reads every row and nothing more, or hashes its bytes as well. Gives the time and how many there were.
pub fn read(path: &Path, hash: bool) -> (Duration, u64) {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let started = Instant::now();
    let mut select = connection.prepare("SELECT record FROM log ORDER BY position").unwrap();
    let (mut rows, mut events) = (select.query([]).unwrap(), 0);
    while let Some(row) = rows.next().unwrap() {
        let bytes = row.get_ref(0).unwrap().as_blob().unwrap();
        if hash {
            std::hint::black_box(Sha256::new().chain_update([0]).chain_update(bytes).finalize());
        } else {
            std::hint::black_box(bytes.iter().fold(0, |sum: u8, byte| sum ^ byte));
        }
        events += 1;
    }
    (started.elapsed(), events)
}

/// The bare AEAD, bound to the bytes as they lie in the record; the commitment is not compared.
pub fn open(vault: VaultId, record: &Record, key: &Key) -> Vec<u8> {
    let (bytes, sealed) = (record.bytes(), record.facts());
    let bound = &bytes[SEAT..sealed.as_ptr().addr() - bytes.as_ptr().addr() - 4];
    let aad = [b"keyledger/v1/box", &vault.0[..], &[5], b"facts", &record.header().facts_key.to_bytes(), bound].concat();
    let (nonce, sealed) = sealed.split_first_chunk::<24>().unwrap();
    let (first, rest) = nonce.split_first_chunk::<16>().unwrap();
    let derived: [u8; 32] = hchacha::<R20>(key.expose().into(), first.into()).into();
    let mut counted = [0; 12];
    counted[4..].copy_from_slice(rest);
    let mut opened = sealed.to_vec();
    let cipher = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &derived).unwrap());
    let length = cipher.open_in_place(Nonce::assume_unique_for_key(counted), Aad::from(&aad), &mut opened).unwrap().len();
    opened.truncate(length);
    opened
}

//! Bytes on disk per event, and how many of them are what the caller gave: facts and secrets before they were sealed.

use std::path::Path;
use std::sync::Arc;

use keyledger::kernel::Position;
use keyledger::keyring::Keyring;
use keyledger::log::EventLog;
use keyledger::seal::{Record, envelope};
use keyledger::views::Opener;

use crate::table::{figure, heading_plain, real};
use crate::vault::OpenVault;

/// The files before the log was filled: a vault begins with its catalog of connectors, which says nothing about an event of its life.
pub struct Before {
    log: u64,
    keyring: u64,
    head: Position,
}

pub struct Disk {
    events: u64,
    log: u64,
    keyring: u64,
    records: u64,
    facts: u64,
    secrets: u64,
}

/// Bytes of a database and of its WAL, once everything was moved out of that.
fn size(path: &Path) -> u64 {
    let connection = rusqlite::Connection::open(path).unwrap();
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
    assert_eq!(busy, 0, "the checkpoint was done in full");
    let length = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let wal = path.with_extension("db-wal");
    length(path) + length(&wal)
}

fn keyring_size(vault: &OpenVault) -> u64 {
    ["keyring.db", "keyring-copy.db"].iter().map(|name| size(&vault.folder.join(name))).sum()
}

impl Disk {
    pub fn before(vault: &OpenVault) -> Before {
        Before { log: size(&vault.folder.join("log.db")), keyring: keyring_size(vault), head: *vault.witness.head().borrow() }
    }

    pub fn print(&self) {
        let each = |bytes: u64| real(bytes) / real(self.events);
        let payload = self.facts + self.secrets;
        heading_plain("disk, per event of imports");
        figure("log.db and its WAL after a checkpoint", each(self.log), "bytes");
        figure("of these the records", each(self.records), "bytes");
        figure("of these payload: facts and secrets as they were given", each(payload), &format!("bytes, {:.0} %", 100.0 * real(payload) / real(self.log)));
        figure("keyring.db and its copy: data keys, minted ahead", each(self.keyring), "bytes");
    }
}

impl Before {
    pub async fn after(self, vault: &OpenVault) -> Disk {
        let head = *vault.witness.head().borrow();
        let (log, keyring) = (size(&vault.folder.join("log.db")), keyring_size(vault));
        let opener = Opener::new(vault.keyring.clone() as Arc<dyn Keyring>);
        let mut disk = Disk { events: head.0 - self.head.0, log: log - self.log, keyring: keyring - self.keyring, records: 0, facts: 0, secrets: 0 };
        let mut after = self.head;
        while after < head {
            for record in vault.witness.read(after, 4096).await.unwrap() {
                disk.records += record.bytes().len() as u64;
                disk.facts += opener.open(&record).unwrap().json.len() as u64;
                disk.secrets += secrets(&*vault.keyring, &record);
                after = record.header().position;
            }
        }
        disk
    }
}

/// Bytes of a record's secrets before they were padded and sealed.
fn secrets(keyring: &dyn Keyring, record: &Record) -> u64 {
    let header = record.header();
    let sealed = header.secrets.iter().enumerate();
    let opened = sealed.map(|(place, secret)| {
        let key = keyring.key(header.tenant, secret.key).unwrap();
        let sealed = record.secret(place).unwrap();
        envelope::open_secret(keyring.vault(), header, &secret.name, secret.key, &key, sealed).unwrap().expose().len() as u64
    });
    opened.sum()
}

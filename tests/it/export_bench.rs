//! A vault whose log is exported: its lines, its rows, and what it says of itself.

use keyledger::credentials::connection::Changes;
use keyledger::credentials::user;
use keyledger::kernel::*;
use keyledger::seal::Record;
use keyledger::seal::checkpoint::{Checkpoint, verify};
use keyledger::vault::{Signed, plans};

use crate::vault_bench::{TENANT, VaultBench, key, tokens};

pub struct Exported {
    pub records: Vec<Record>,
    pub lines: Vec<String>,
    pub signed: Signed,
    pub checkpoint: Checkpoint,
    pub public: [u8; 32],
}

/// Some of most sorts of events: groups, verifiers, deletes.
pub async fn exported(imports: u32) -> Exported {
    let bench = VaultBench::new().await;
    for number in 0..imports {
        bench.clock.pass(10);
        let key = key(&format!("c{}", number % 5), "pipedrive");
        bench.execute(|given| plans::import(given, TENANT, &key, tokens(&format!("token {number}")), Changes::default())).await.unwrap();
    }
    let profile = user::Profile { login: "ada".into(), name: "Adä".into(), email: None, roles: Vec::new() };
    bench.execute(|given| plans::create_user(given, &bench.owner, profile.clone(), None)).await.unwrap();
    of(bench).await
}

pub async fn of(bench: VaultBench) -> Exported {
    let head = bench.vault.views().position();
    let records = bench.vault.log().read(Position::ZERO, 4096).await.unwrap();
    let line = |(record, leaf)| bench.vault.line(leaf, record).unwrap().text().unwrap() + "\n";
    let lines = records.iter().zip(0..).map(line).collect();
    let (signed, public) = (bench.vault.checkpoint(head).await.unwrap(), bench.vault.public_key());
    let checkpoint = verify(&signed.note, &public).unwrap();
    Exported { records, lines, signed, checkpoint, public }
}

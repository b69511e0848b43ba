//! A vault on real files, with the clocks and the randomness of the operating system.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyledger::credentials::Meta;
use keyledger::credentials::connection::{Changes, Key, Tokens};
use keyledger::kernel::{OsRandom, Random, Secret, SystemClock, TenantId, VaultId};
use keyledger::keyring::SqliteKeyring;
use keyledger::log::EventLog;
use keyledger::seal::Key as SealKey;
use keyledger::vault::access::Principal;
use keyledger::vault::{Command, Vault, begin, plans};
use keyledger::views::Snapshot;

use crate::witness::Witness;

pub const TENANT: TenantId = TenantId(*b"tenant-of-vaults");
const VAULT: VaultId = VaultId(*b"vault-on-a-bench");

pub struct OpenVault {
    pub folder: PathBuf,
    pub witness: Arc<Witness>,
    pub keyring: Arc<SqliteKeyring>,
    pub vault: Vault,
    pub owner: Principal,
    pub token: String,
}

impl OpenVault {
    pub async fn create(folder: &Path) -> Self {
        std::fs::create_dir(folder).unwrap();
        let (random, root) = (Arc::new(OsRandom) as Arc<dyn Random>, SealKey::new([4; 32]));
        let keyring = Arc::new(SqliteKeyring::create(folder, VAULT, &root, Arc::clone(&random)).unwrap());
        keyring.ensure_tenant(TENANT, &root).unwrap();
        let witness = Witness::open(&folder.join("log.db"));
        let log: Arc<dyn EventLog> = witness.clone();
        let genesis = begin(Arc::clone(&log), keyring.clone(), Arc::new(SystemClock), Arc::clone(&random), TENANT).await.unwrap();
        let vault = Vault::start(log, keyring.clone(), Arc::new(SystemClock), random, Snapshot::default()).await.unwrap();
        let token = String::from_utf8(genesis.token.expose().to_vec()).unwrap();
        let owner = vault.authenticate(&token).unwrap();
        witness.take();
        Self { folder: folder.to_owned(), witness, keyring, vault, owner, token }
    }

    /// One audited command as the import route sends it. For a new consumer it leaves four events, for one that is there, one.
    pub async fn import(&self, consumer: u64) {
        let meta = Meta {
            ip: Some("203.0.113.7".into()),
            agent: Some("apideck-unify/0.36 python/3.12".into()),
            rule: Some("role:owner".into()),
            reason: None,
            request_id: Some("0190f3b2-7c1e-7a34-9f60-2b8d1c5e4a77".into()),
        };
        let key = Key { app: "app".into(), consumer: format!("consumer-{consumer}"), unified_api: "crm".into(), service_id: "pipedrive".into() };
        let tokens = || Tokens {
            access: Some(Secret::from(format!("v1u:access-token-of-{consumer:>030}").as_str())),
            refresh: Some(Secret::from(format!("v1r:refresh-token-of-{consumer:>030}").as_str())),
            ..Tokens::default()
        };
        let command = Command { principal: &self.owner, meta, idempotency: None };
        self.vault.execute(&command, |given| plans::import(given, TENANT, &key, tokens(), Changes::default())).await.unwrap();
    }
}

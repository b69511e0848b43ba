//! The keyring of the embedded vault: two SQLite files in the data directory.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rusqlite::types::Value;

use super::file::Table;
use super::pair::Pair;
use super::rotate::Rotate;
use super::slots::{Batch, Mint, Pool};
use super::wrapping::{self, Wrapping, sixteen};
use super::{BATCH, Keyring, KeyringError, Purpose, PurposeKey, RootKeyProvider};
use crate::kernel::{KeyId, Random, TenantId, VaultId};
use crate::seal::{Key, WrapOf, derive};

/// How many batches are kept for reading, 27 KiB each.
const CACHED: usize = 256;
const VAULT: &str = "vault";

/// What a keyring is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To serve: repairs, mints and destroys.
    Serve,
    /// To read, beside a running server.
    Read,
}

/// Keys in `keyring.db` and `keyring-copy.db`.
pub struct SqliteKeyring {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) vault: VaultId,
    /// Its number, and a random id of the program's run within it: what was minted in another one is never handed out.
    epoch: Mutex<(u32, [u8; 16])>,
    pub(super) random: Arc<dyn Random>,
    /// Held while a tenant is made, so that two callers do not both make it.
    pub(super) making: Mutex<()>,
    /// Held while the files are written: minting ahead, destroying and rotating do not cross.
    pub(super) files: Mutex<Pair>,
    /// Each tenant's wrapping keys by version; none when they were destroyed.
    pub(super) wrapping: Mutex<HashMap<TenantId, BTreeMap<u32, Key>>>,
    purposes: Mutex<HashMap<(TenantId, &'static str), PurposeKey>>,
    pools: Mutex<HashMap<TenantId, Pools>>,
    pub(super) cache: Mutex<HashMap<[u8; 12], Arc<Batch>>>,
    minters: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Pools {
    current: Option<Pool>,
    next: Option<Pool>,
    minting: bool,
}

/// How often keys that are wrapped anew meanwhile are read.
const TRIES: u32 = 5;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SqliteKeyring {
    /// Makes the files and the system tenant's keys.
    pub fn create(folder: &Path, vault: VaultId, root: &Key, random: Arc<dyn Random>) -> Result<Self, KeyringError> {
        let mut files = Pair::create(folder)?;
        let row = vec![Value::Text(VAULT.into()), Value::Blob(vault.0.to_vec())];
        files.put(&[(Table::named("meta")?, &row)])?;
        let inner = Inner::new(vault, 1, files, random);
        inner.make_tenant(TenantId::SYSTEM, root, &Purpose::VAULT)?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Opens the files; `repairs` tells in words what was mended.
    pub fn open(folder: &Path, root: &dyn RootKeyProvider, mode: Mode, epoch: u32, random: Arc<dyn Random>) -> Result<(Self, Vec<String>), KeyringError> {
        let (files, mut repairs) = match mode {
            Mode::Serve => Pair::open(folder)?,
            Mode::Read => (Pair::open_read_only(folder)?, Vec::new()),
        };
        let vault = read_vault(&files)?;
        root.apart_from(folder)?;
        let inner = Inner::new(vault, epoch, files, random);
        // A server beside may rotate between the reading of the root keys and that of the rows.
        for left in (0..TRIES).rev() {
            match inner.load(&root.root_keys(vault)?) {
                Err(KeyringError::WrongRootKey | KeyringError::Rotated) if left > 0 && mode == Mode::Read => {}
                loaded => {
                    repairs.extend(loaded?);
                    break;
                }
            }
        }
        Ok((Self { inner: Arc::new(inner) }, repairs))
    }

    /// Whose keyring lies there; needs no key.
    pub fn vault_at(folder: &Path) -> Result<VaultId, KeyringError> {
        read_vault(&Pair::open_read_only(folder)?)
    }

    /// Makes a tenant's keys unless it has them. Only here is the root key needed, so it is given and not kept. One that a rotation has
    /// replaced is refused.
    pub fn ensure_tenant(&self, tenant: TenantId, root: &Key) -> Result<(), KeyringError> {
        let _alone = lock(&self.inner.making);
        if lock(&self.inner.wrapping).contains_key(&tenant) {
            return Ok(());
        }
        // An earlier try may have reached the files before it failed: its keys are taken over, since writing over them would lose what they wrap.
        let made = {
            let mut files = lock(&self.inner.files);
            let made = files.get(Table::named("wrapping_keys")?, &Wrapping::key(tenant, 1))?.is_some();
            if made {
                files.writable()?;
                files.level()?;
            }
            made
        };
        if made { self.inner.load(&[root.duplicate()]).map(drop) } else { self.inner.make_tenant(tenant, root, &[Purpose::Claims]) }
    }

    /// Begins another epoch (a restore does): no key that was minted before it is handed out any more.
    pub fn begin_epoch(&self, number: u32) {
        *lock(&self.inner.epoch) = (number, self.inner.random.array());
        lock(&self.inner.pools).clear();
    }

    /// Destroys keys in files that nobody has open, such as those of a backup. Needs no key: what is destroyed need not be opened.
    pub fn destroy_at(folder: &Path, keys: &[KeyId]) -> Result<(), KeyringError> {
        let (whole, by_batch) = sorted(keys);
        let (mut files, _) = Pair::open(folder)?;
        let tenants = files.tenants(&whole)?;
        files.zero_tenants(&tenants)?;
        files.zero(&by_batch)?;
        files.forget_asides()
    }

    /// Copies both files into another folder: for backups and restores. Durable on return; nothing there is written over.
    pub fn copy_to(&self, folder: &Path) -> Result<(), KeyringError> {
        lock(&self.inner.files).copy_to(folder)
    }
}

impl Drop for SqliteKeyring {
    /// Waits for minting, so that nobody writes the files after the keyring was closed.
    fn drop(&mut self) {
        let minters = std::mem::take(&mut *lock(&self.inner.minters));
        for minter in minters {
            // One that panicked has nothing to hand over.
            drop(minter.join());
        }
    }
}

/// Those that stand for whole tenants, and the others by batch.
fn sorted(keys: &[KeyId]) -> (Vec<KeyId>, BTreeMap<[u8; 12], Vec<KeyId>>) {
    let (whole, single): (Vec<KeyId>, Vec<KeyId>) = keys.iter().partition(|key| key.is_whole());
    let mut by_batch: BTreeMap<[u8; 12], Vec<KeyId>> = BTreeMap::new();
    for key in single {
        by_batch.entry(key.batch).or_default().push(key);
    }
    (whole, by_batch)
}

fn read_vault(files: &Pair) -> Result<VaultId, KeyringError> {
    match files.get(Table::named("meta")?, &[Value::Text(VAULT.into())])?.as_deref() {
        Some([_, Value::Blob(id)]) => id.as_slice().try_into().map(VaultId).map_err(|_| KeyringError::Damaged("the vault id".into())),
        _ => Err(KeyringError::Damaged("the vault id is whole in neither copy".into())),
    }
}

impl Inner {
    fn new(vault: VaultId, epoch: u32, files: Pair, random: Arc<dyn Random>) -> Self {
        let run = random.array();
        Self {
            vault,
            epoch: Mutex::new((epoch, run)),
            random,
            making: Mutex::default(),
            files: Mutex::new(files),
            wrapping: Mutex::default(),
            purposes: Mutex::default(),
            pools: Mutex::default(),
            cache: Mutex::default(),
            minters: Mutex::default(),
        }
    }

    /// Opens all wrapping and purpose keys: there are few, and they stay in memory. Tells what was repaired.
    fn load(&self, roots: &[Key]) -> Result<Vec<String>, KeyringError> {
        let mut files = lock(&self.files);
        let (opened, repairs) = wrapping::open_all(&mut files, self.vault, roots)?;
        for one in opened {
            let mut wrapping = lock(&self.wrapping);
            let versions = wrapping.entry(one.tenant).or_default();
            if let Some(key) = one.key {
                versions.insert(one.version, key);
            }
        }
        for row in files.all(Table::named("purpose_keys")?)? {
            let [Value::Blob(id), Value::Blob(tenant), Value::Text(purpose), Value::Integer(version), Value::Blob(wrapped)] = row.as_slice() else {
                return Err(KeyringError::Damaged("a purpose key has fields of other types".into()));
            };
            let (id, tenant) = (sixteen(id)?, TenantId(sixteen(tenant)?));
            let known = Purpose::VAULT.into_iter().chain([Purpose::Claims]).find(|known| known.name() == purpose);
            let known = known.ok_or_else(|| KeyringError::Damaged(format!("a key with the purpose {purpose}")))?;
            let wrapping = match self.wrapping_key(tenant, u32::try_from(*version).unwrap_or(0)) {
                Err(KeyringError::TenantDestroyed(_)) => continue,
                wrapping => wrapping?,
            };
            let what = WrapOf::Purpose { vault: self.vault, tenant, purpose, id };
            let key = derive::unwrap(&wrapping, what, wrapped).map_err(|_| KeyringError::Damaged(format!("the {purpose} key")))?;
            lock(&self.purposes).insert((tenant, known.name()), PurposeKey { id, key });
        }
        Ok(repairs)
    }

    /// A version that is no longer there was replaced by a newer one, unless all are gone.
    pub(super) fn wrapping_key(&self, tenant: TenantId, version: u32) -> Result<Key, KeyringError> {
        let wrapping = lock(&self.wrapping);
        let versions = wrapping.get(&tenant).ok_or(KeyringError::UnknownTenant(tenant))?;
        if versions.is_empty() {
            return Err(KeyringError::TenantDestroyed(tenant));
        }
        versions.get(&version).map(Key::duplicate).ok_or(KeyringError::Rotated)
    }

    /// A tenant's newest wrapping key.
    pub(super) fn newest(&self, tenant: TenantId) -> Result<(u32, Key), KeyringError> {
        let wrapping = lock(&self.wrapping);
        let versions = wrapping.get(&tenant).ok_or(KeyringError::UnknownTenant(tenant))?;
        versions.last_key_value().map(|(version, key)| (*version, key.duplicate())).ok_or(KeyringError::TenantDestroyed(tenant))
    }

    /// Refuses a root key that is not the present one: the system tenant's rows are the first that a rotation moves.
    pub(super) fn check_root(&self, files: &Pair, root: &Key) -> Result<(), KeyringError> {
        let Some(newest) = lock(&self.wrapping).get(&TenantId::SYSTEM).and_then(|versions| versions.last_key_value().map(|(version, _)| *version)) else {
            return Ok(());
        };
        let copies = wrapping::copies(files, &Wrapping::key(TenantId::SYSTEM, newest))?;
        wrapping::settled(copies, self.vault, std::slice::from_ref(root)).map(drop)
    }

    /// A tenant's wrapping key, purpose keys and first batch, in one transaction per file.
    fn make_tenant(&self, tenant: TenantId, root: &Key, purposes: &[Purpose]) -> Result<(), KeyringError> {
        let (version, random) = (1, &*self.random);
        let wrapping = Key::random(random);
        let row = Wrapping::under(root, self.vault, (tenant, version), &wrapping, random).row();
        let mut rows = vec![(Table::named("wrapping_keys")?, row)];
        let mut made = Vec::new();
        // The system tenant owns streams as well, so it has a claims key of its own.
        let all = purposes.iter().chain([&Purpose::Claims].into_iter().filter(|_| !purposes.contains(&Purpose::Claims)));
        for purpose in all {
            let (id, key, name) = (random.array::<16>(), Key::random(random), purpose.name());
            let wrapped = derive::wrap(&wrapping, WrapOf::Purpose { vault: self.vault, tenant, purpose: name, id }, &key, random);
            let fields =
                vec![Value::Blob(id.to_vec()), Value::Blob(tenant.0.to_vec()), Value::Text(name.into()), Value::Integer(1), Value::Blob(wrapped.to_vec())];
            rows.push((Table::named("purpose_keys")?, fields));
            made.push((name, PurposeKey { id, key }));
        }
        let (pool, row) = self.mint_of(tenant, version).batch(&wrapping, random);
        rows.push((Table::named("batches")?, row));
        {
            let mut files = lock(&self.files);
            self.check_root(&files, root)?;
            files.put(&rows.iter().map(|(table, row)| (*table, row)).collect::<Vec<_>>())?;
        }
        lock(&self.wrapping).entry(tenant).or_default().insert(version, wrapping);
        lock(&self.purposes).extend(made.into_iter().map(|(name, key)| ((tenant, name), key)));
        let mut pools = lock(&self.pools);
        pools.entry(tenant).or_default().current = Some(pool).filter(|pool| self.is_current(pool));
        Ok(())
    }

    fn mint_of(&self, tenant: TenantId, version: u32) -> Mint {
        let (epoch, run) = *lock(&self.epoch);
        Mint { vault: self.vault, tenant, version, epoch, run }
    }

    fn mint(&self, tenant: TenantId) -> Result<Pool, KeyringError> {
        loop {
            let (version, wrapping) = self.newest(tenant)?;
            let (pool, row) = self.mint_of(tenant, version).batch(&wrapping, &*self.random);
            let mut files = lock(&self.files);
            // A rotation that began meanwhile has counted what is left under the former version without this batch.
            if self.newest(tenant)?.0 == version {
                files.put(&[(Table::named("batches")?, &row)])?;
                return Ok(pool);
            }
        }
    }

    /// Destroys all versions of tenants' wrapping keys, and with them everything that lies under them.
    fn destroy_tenants(&self, files: &mut Pair, whole: &[KeyId]) -> Result<(), KeyringError> {
        let tenants = files.tenants(whole)?;
        for tenant in &tenants {
            // Nothing of it stays in memory either: keys that were minted ahead, and those that are kept for reading.
            lock(&self.wrapping).entry(*tenant).or_default().clear();
            lock(&self.purposes).retain(|(owner, _), _| owner != tenant);
            lock(&self.pools).remove(tenant);
            lock(&self.cache).retain(|_, batch| batch.tenant != tenant.0);
        }
        if tenants.is_empty() { Ok(()) } else { files.zero_tenants(&tenants) }
    }

    /// Mints the next batch on a thread of its own; whether that has begun.
    fn mint_ahead(self: &Arc<Self>, tenant: TenantId) -> bool {
        let inner = Arc::clone(self);
        let thread = std::thread::Builder::new().name("keyring-mint".into()).spawn(move || {
            let minted = inner.mint(tenant);
            let mut pools = lock(&inner.pools);
            let pools = pools.entry(tenant).or_default();
            pools.minting = false;
            // When it failed, the next caller without a slot mints itself and is told why it cannot.
            pools.next = minted.ok().filter(|pool| inner.is_current(pool)).or_else(|| pools.next.take());
        });
        let Ok(thread) = thread else { return false };
        let mut minters = lock(&self.minters);
        minters.retain(|minter| !minter.is_finished());
        minters.push(thread);
        true
    }

    fn is_current(&self, pool: &Pool) -> bool {
        lock(&self.epoch).1 == pool.run
    }

    fn batch(&self, id: KeyId) -> Result<Arc<Batch>, KeyringError> {
        if let Some(batch) = lock(&self.cache).get(&id.batch) {
            return Ok(Arc::clone(batch));
        }
        // The files stay locked until the cache holds the batch: a destruction in between would be forgotten.
        let files = lock(&self.files);
        let row = files.get(Table::named("batches")?, &[Value::Blob(id.batch.to_vec())])?.ok_or(KeyringError::Missing(id))?;
        let batch = Arc::new(Batch::of(row)?);
        let mut cache = lock(&self.cache);
        if cache.len() >= CACHED {
            cache.clear();
        }
        cache.insert(id.batch, Arc::clone(&batch));
        Ok(batch)
    }
}

impl Keyring for SqliteKeyring {
    fn vault(&self) -> VaultId {
        self.inner.vault
    }

    fn purpose(&self, tenant: TenantId, purpose: Purpose) -> Result<PurposeKey, KeyringError> {
        let owner = if purpose == Purpose::Claims { tenant } else { TenantId::SYSTEM };
        let purposes = lock(&self.inner.purposes);
        let found = purposes.get(&(owner, purpose.name())).ok_or(KeyringError::UnknownTenant(owner))?;
        Ok(PurposeKey { id: found.id, key: found.key.duplicate() })
    }

    fn admit(&self, tenant: TenantId, root: &Key) -> Result<(), KeyringError> {
        self.ensure_tenant(tenant, root)
    }

    fn take(&self, tenant: TenantId) -> Result<(KeyId, Key), KeyringError> {
        loop {
            {
                let mut pools = lock(&self.inner.pools);
                let pools = pools.entry(tenant).or_default();
                if pools.current.as_ref().is_none_or(|pool| pool.left() == 0) {
                    pools.current = pools.next.take();
                }
                if let Some(current) = &mut pools.current {
                    let start = current.left() <= BATCH as usize / 2 && pools.next.is_none() && !pools.minting;
                    pools.minting |= start && self.inner.mint_ahead(tenant);
                    if let Some(taken) = current.take() {
                        return Ok(taken);
                    }
                }
            }
            let minted = self.inner.mint(tenant)?;
            let mut pools = lock(&self.inner.pools);
            if self.inner.is_current(&minted) {
                pools.entry(tenant).or_default().next.get_or_insert(minted);
            }
        }
    }

    fn key(&self, tenant: TenantId, id: KeyId) -> Result<Key, KeyringError> {
        for _ in 0..TRIES {
            let batch = self.inner.batch(id)?;
            if batch.tenant != tenant.0 {
                return Err(KeyringError::Missing(id));
            }
            let wrapping = match self.inner.wrapping_key(tenant, batch.version) {
                // It was wrapped anew since it was read: it is read again.
                Err(KeyringError::Rotated) => continue,
                Err(KeyringError::TenantDestroyed(_)) => return Err(KeyringError::Destroyed(id)),
                wrapping => wrapping?,
            };
            let what = WrapOf::Slot { vault: self.inner.vault, tenant, key: id };
            return derive::unwrap(&wrapping, what, batch.wrapped(id)?).map_err(|_| KeyringError::Damaged(format!("key {id} does not open")));
        }
        Err(KeyringError::Rotated)
    }

    fn lacks(&self, batches: &BTreeSet<[u8; 12]>) -> Result<usize, KeyringError> {
        let files = lock(&self.inner.files);
        let table = Table::named("batches")?;
        let there: HashSet<Vec<u8>> = files
            .keys(table)?
            .into_iter()
            .filter_map(|key| match key.into_iter().next() {
                Some(Value::Blob(id)) => Some(id),
                _ => None,
            })
            .collect();
        Ok(batches.iter().filter(|batch| !there.contains(batch.as_slice())).count())
    }

    fn rotate(&self) -> Option<&dyn Rotate> {
        Some(self)
    }

    fn destroy(&self, keys: &[KeyId]) -> Result<(), KeyringError> {
        if keys.is_empty() {
            return Ok(());
        }
        let (whole, by_batch) = sorted(keys);
        let mut files = lock(&self.inner.files);
        files.writable()?;
        self.inner.destroy_tenants(&mut files, &whole)?;
        for batch in by_batch.keys() {
            lock(&self.inner.cache).remove(batch);
        }
        files.zero(&by_batch)?;
        files.forget_asides()
    }
}

//! Recovery into a new vault: the log up to a moment, the keyring, and one event that says where the history was cut.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::backup::{self, Beside, Manifest};
use super::copies::signer;
use super::died::{KEYS_AT_ONCE, told};
use super::home::{Home, HomeError, Reading, last_epoch};
use super::partial::Partial;
use crate::credentials::vault::Event;
use crate::credentials::{AnyEvent, Meta};
use crate::kernel::{Epoch, KeyId, Moment, Plan, Position, StreamId, TenantId, Version, Write};
use crate::keyring::{Keyring, KeyringError, Mode, Purpose, RootKeyProvider, SqliteKeyring};
use crate::log::copies::{self, LOG};
use crate::log::{AppendError, EventLog, LogError, MAX_BLOCK_RECORDS, Options, SqliteLog};
use crate::seal::merkle::Frontier;
use crate::seal::{Record, Seat};
use crate::vault::{Author, Sealer, VaultError};
use crate::views::{Opener, StateHash, States, Views, catch_up};

/// Records that are copied with one sync, and held in memory until then: a restore is placed only when it is whole, so that few syncs lose nothing.
const COPIED_AT_ONCE: usize = 8 * 1024;

/// The moment to restore to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Through this position, rounded down to a whole group.
    Position(Position),
    /// Through the last event recorded strictly before this instant.
    Instant(Moment),
    /// All of it.
    End,
}

/// What a restore is about; each is told with how far it is, from 0 to the last position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The old vault's log is folded up to the moment.
    Folding,
    /// The log is copied.
    Copying,
    /// The new vault is folded from its files and compared.
    Checking,
}

/// Told of each step, where it is, and where it ends.
pub type Progress<'a> = &'a (dyn Fn(Step, Position, Position) + Sync);

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The last position of the old history that was kept.
    pub position: Position,
    /// When its event was taken.
    pub recorded_at: Moment,
    /// RFC 6962 root over the records kept.
    pub merkle_root: [u8; 32],
    /// The hash of all states there: the same in both vaults.
    pub state: StateHash,
    /// How many records of the old history were left behind.
    pub dropped: u64,
    /// How many keys were shredded after that moment: they did not come back.
    pub shredded_since: usize,
    /// From the end of a backup: the state was compared with what that says, but for so many streams that were shredded since. `None` where nothing
    /// was written down to compare it with.
    pub skipped: Option<u64>,
    /// The history that begins.
    pub epoch: Epoch,
    /// Where it begins.
    pub begins_at: Position,
}

/// What a history has destroyed.
#[derive(Default)]
struct Died {
    keys: Vec<KeyId>,
    things: Vec<StreamId>,
    tenants: Vec<TenantId>,
}

impl Died {
    /// Takes in what a log says after a position.
    async fn read(&mut self, log: &dyn EventLog, mut after: Position, opener: &Opener) -> Result<(), HomeError> {
        loop {
            let records = log.read(after, MAX_BLOCK_RECORDS).await?;
            let Some(last) = records.last() else { return Ok(()) };
            after = last.header().position;
            records.iter().try_for_each(|record| self.take(record, opener))?;
        }
    }

    /// Each once: several may have told of it.
    fn sort(&mut self) {
        self.keys.sort_unstable();
        self.keys.dedup();
        self.things.sort_unstable();
        self.things.dedup();
        self.tenants.sort_unstable();
        self.tenants.dedup();
    }

    /// Takes in what a record says. Its header is believed when its facts box has opened.
    fn take(&mut self, record: &Record, opener: &Opener) -> Result<(), HomeError> {
        if record.header().shredded.is_empty() {
            return Ok(());
        }
        let event = opener.open(record).map_err(VaultError::from)?.stored.event;
        opener.note(record.header(), Some(&event));
        self.keys.extend(&record.header().shredded);
        if let AnyEvent::Vault(Event::Shredded { things, tenants, .. }) = event {
            self.things.extend(things);
            self.tenants.extend(tenants);
        }
        Ok(())
    }
}

/// A history up to a moment, and what came after it.
struct Cut {
    views: Views,
    tree: Frontier,
    state: StateHash,
    old_head: Position,
    old_epoch: Epoch,
    dropped: u64,
    since: Died,
}

impl Home {
    /// Makes a vault in `into` that holds exactly the state of a moment, and compares it before it is placed. Nothing stands in `into`
    /// before it is whole. What is restored from, a data directory or a backup, is only read; a server may run on it.
    pub async fn restore(&self, until: Until, into: &Path, progress: Progress<'_>) -> Result<Restored, HomeError> {
        if !self.exists() && !backup::is_one(&self.folder) {
            return Err(HomeError::Absent(self.folder.clone()));
        }
        let says = || if backup::is_one(&self.folder) { Manifest::read(&self.folder).map(Some) } else { Ok(None) };
        let (partial, before) = (Partial::begin(into, &*self.random)?, says()?);
        let restored = self.restore_within(&partial, until, progress).await?;
        if says()? != before {
            return Err(HomeError::NotTheSame("something was shredded meanwhile, and the backup has forgotten it: run this again"));
        }
        partial.place()?;
        Ok(restored)
    }

    /// As [`Home::restore`], into a directory that the caller places, or not.
    pub(super) async fn restore_within(&self, partial: &Partial, until: Until, progress: Progress<'_>) -> Result<Restored, HomeError> {
        let sound = if backup::is_one(&self.folder) { Some(self.sound(partial.path())?) } else { None };
        let is_backup = sound.is_some();
        let (source, mut cut, skipped) = if let Some(sound) = sound {
            let beside = backup::beside(&self.folder, &sound.manifest)?;
            let cut = self.cut(&sound.source, until, (&sound.shreds, beside), progress).await?;
            let skipped = agrees(&sound.manifest, &sound.shreds, sound.states, &cut);
            let skipped = skipped.map_err(|problem| HomeError::Backup { path: self.folder.join(backup::MANIFEST), problem })?;
            (sound.source, cut, skipped)
        } else {
            let source = self.read()?;
            let cut = self.cut(&source, until, (&[], Beside::default()), progress).await?;
            (source, cut, None)
        };
        let (at, recorded_at) = (cut.views.position(), cut.views.recorded_at());
        let log = SqliteLog::open(&partial.path().join(LOG), Options::default())?;
        let kept = copy(&*source.log, &log, at, progress).await?;
        if !is_backup {
            // After the log: a slot is used only when its batch is in the keyring, so that this copy holds every key that the log needs.
            source.keyring.copy_to(partial.path())?;
        }
        let root = self.key_file(source.keyring.vault())?;
        let number = cut.old_epoch.number + 1;
        let (keyring, _) = SqliteKeyring::open(partial.path(), &root as &dyn RootKeyProvider, Mode::Serve, number, Arc::clone(&self.random))?;
        let keyring = Arc::new(keyring);
        match keyring.lacks(&kept.batches)? {
            0 => {}
            lacks => return Err(KeyringError::TooOld(lacks).into()),
        }
        // Those before the moment too: the copy may be older than their end.
        keyring.destroy(&kept.shredded)?;
        keyring.destroy(&cut.since.keys)?;
        let epoch = Epoch { number, id: self.random.array() };
        let block = self.beginning(&cut, keyring.clone(), epoch)?;
        append(&log, at, block).await?;
        // The new files are folded next: with both views at once, a restore would need more memory than the vault that it makes.
        cut.views = Views::default();
        self.check(&log, at, &cut, keyring.clone(), progress).await?;
        drop(log);
        // A history of its own: its segments speak of it from its first record on.
        copies::write_segments(partial.path(), keyring.vault(), &signer(&keyring)?)?;
        let begins_at = cut.old_head.next();
        Ok(Restored {
            position: at,
            recorded_at,
            merkle_root: cut.tree.root(),
            state: cut.state,
            dropped: cut.dropped,
            shredded_since: cut.since.keys.len(),
            skipped,
            epoch,
            begins_at,
        })
    }

    /// Folds the old history up to the moment, and reads the headers of the rest to their real end: what was shredded there stays shredded.
    /// So does what a backup was told of, and what the backups beside it tell.
    async fn cut(&self, source: &Reading, until: Until, (told, beside): (&[Record], Beside), progress: Progress<'_>) -> Result<Cut, HomeError> {
        let head = *source.log.head().borrow();
        let until = match until {
            Until::Position(position) if position > head => return Err(HomeError::PastTheEnd(head)),
            Until::Position(position) => position,
            Until::Instant(instant) => source.log.seek(instant).await?,
            Until::End => head,
        };
        // What died later is not opened, whatever the keyring still holds: both vaults are to be the same.
        let opener = Opener::new(source.keyring.clone());
        opener.learn(&*source.log, until).await?;
        let mut since = Died::default();
        told.iter().try_for_each(|record| since.take(record, &opener))?;
        for log in beside.logs {
            since.read(&log, head, &opener).await?;
        }
        for record in beside.shreds {
            // One that does not open is none of this vault's, and tells nothing.
            drop(since.take(&record, &opener));
        }
        let (views, tree) = fold(&*source.log, &opener, until, &|at| progress(Step::Folding, at, until)).await?;
        if views.vault().is_none() {
            return Err(HomeError::BeforeTheBeginning(first_whole(&*source.log, head).await?));
        }
        let state = state_hash(&views, &*source.keyring)?;
        let (mut at, mut dropped) = (views.position(), 0);
        // To the real end: a server may go on writing, and what it writes after this is not of this history.
        loop {
            let records = source.log.read(at, MAX_BLOCK_RECORDS).await?;
            let Some(last) = records.last() else { break };
            at = last.header().position;
            dropped += records.len() as u64;
            records.iter().try_for_each(|record| since.take(record, &opener))?;
        }
        let old_head = at;
        let last = source.log.fetch(&[old_head]).await?;
        let old_epoch = last.first().map(|record| record.header().epoch).ok_or(HomeError::PastTheEnd(old_head))?;
        since.sort();
        Ok(Cut { views, tree, state, old_head, old_epoch, dropped, since })
    }

    /// The first group of the new history: where the old one was cut, and which keys had died by its end.
    fn beginning(&self, cut: &Cut, keyring: Arc<SqliteKeyring>, epoch: Epoch) -> Result<Vec<Record>, HomeError> {
        let hex = |bytes: &[u8]| base16ct::lower::encode_string(bytes);
        let restored = Event::Restored {
            from: cut.old_epoch,
            position: cut.views.position(),
            root: hex(&cut.tree.root()),
            state: hex(&cut.state.hash),
            dropped_to: cut.old_head,
        };
        let since = &cut.since;
        let (first, more) = since.keys.split_at(since.keys.len().min(KEYS_AT_ONCE));
        let mut events = vec![(restored, first.to_vec())];
        events.extend(told(more, &since.things, &since.tenants, "shredded before the restore"));
        self.first_group(&cut.views, cut.old_head, "restore", events, keyring, epoch)
    }

    /// The first group of an epoch, each event with the keys that it shreds. It stands past the old end, so that no position names two events, and
    /// its causation is the position before the gap.
    pub(super) fn first_group(
        &self,
        views: &Views,
        old_end: Position,
        rule: &str,
        events: Vec<(Event, Vec<KeyId>)>,
        keyring: Arc<SqliteKeyring>,
        epoch: Epoch,
    ) -> Result<Vec<Record>, HomeError> {
        let not_sound = |what| HomeError::NotTheSame(what);
        let stream = views.vault().ok_or(not_sound("it has no vault event"))?;
        let entry = views.thing(stream).ok_or(not_sound("it has no vault event"))?;
        let mut plan = events.into_iter().fold(Plan::nothing(), |plan, (event, keys)| {
            let mut write = Write::observation(stream, AnyEvent::Vault(event));
            write.shreds = keys;
            plan.and(Plan::of(write))
        });
        plan.causation = views.position();
        let sealer = Sealer::new(keyring, Arc::clone(&self.random), epoch).map_err(VaultError::from)?;
        let meta = Meta { rule: Some(rule.to_owned()), ..Meta::default() };
        let author = Author { tenant: TenantId::SYSTEM, actor: StreamId::default(), meta: &meta, command: None };
        let group = sealer.seal(plan, &author, |_| Some(entry.facts_key), &mut Vec::new()).map_err(VaultError::from)?;
        let recorded_at = self.clock.now().max(views.recorded_at());
        let mut previous = entry.last;
        let mut records = Vec::with_capacity(group.drafts.len());
        for (draft, place) in group.drafts.iter().zip(1_u64..) {
            let position = Position(old_end.0 + place);
            let version = Version(entry.version.0 + place);
            let seat = Seat { position, previous, recorded_at, version, content_version: entry.content_version };
            records.push(draft.seat(seat).map_err(|_| not_sound("its first event does not fit a record"))?);
            previous = position;
        }
        Ok(records)
    }

    /// Folds the new files from zero, as a server will, and compares root and state with those of the old vault.
    async fn check(&self, log: &SqliteLog, at: Position, cut: &Cut, keyring: Arc<SqliteKeyring>, progress: Progress<'_>) -> Result<(), HomeError> {
        let opener = Opener::new(keyring.clone());
        opener.learn(log, at).await?;
        let (mut views, mut tree) = fold(log, &opener, at, &|done| progress(Step::Checking, done, at)).await?;
        if tree.root() != cut.tree.root() {
            return Err(HomeError::NotTheSame("its Merkle root is another"));
        }
        if state_hash(&views, &*keyring)? != cut.state {
            return Err(HomeError::NotTheSame("its state hash is another"));
        }
        let end = *log.head().borrow();
        catch_up(&mut views, &mut tree, log, &opener, end, &|_| ()).await?;
        if views.position() == end && last_epoch(log).await? == cut.old_epoch.number + 1 {
            Ok(())
        } else {
            Err(HomeError::NotTheSame("its own first event is not there"))
        }
    }
}

pub(super) async fn fold(log: &dyn EventLog, opener: &Opener, until: Position, progress: crate::views::Progress<'_>) -> Result<(Views, Frontier), HomeError> {
    let (mut views, mut tree) = (Views::default(), Frontier::default());
    catch_up(&mut views, &mut tree, log, opener, until, progress).await?;
    Ok((views, tree))
}

pub(super) fn state_hash(views: &Views, keyring: &dyn Keyring) -> Result<StateHash, HomeError> {
    let key = keyring.purpose(TenantId::SYSTEM, Purpose::State)?.key;
    Ok(views.state_hash(&key).map_err(VaultError::from)?)
}

/// Compares the state at a backup's end with what that says, without the streams that were shredded since: how many those are. One of an earlier
/// position says nothing of it, nor one that another version folded.
fn agrees(manifest: &Manifest, told: &[Record], mut states: States, cut: &Cut) -> Result<Option<u64>, String> {
    if (cut.state.position, cut.state.fold_version) != (manifest.position, manifest.fold_version) {
        return Ok(None);
    }
    // It says nothing of what only the backups beside it tell.
    let heard: HashSet<KeyId> = told.iter().flat_map(|record| record.header().shredded.iter().copied()).collect();
    let further = cut.since.keys.iter().filter(|key| !heard.contains(key)).copied().collect();
    let skipped = manifest.shredded.as_ref().map_or(0, |shredded| shredded.streams) + states.forget(&further);
    if states.hash().hash == cut.state.hash { Ok(Some(skipped)) } else { Err("the state that its log folds to is not the one that it says".to_owned()) }
}

/// Where the vault's own first group ends: nothing before it is a whole vault.
async fn first_whole(log: &dyn EventLog, head: Position) -> Result<Position, LogError> {
    let mut at = Position::ZERO;
    while at < head {
        let records = log.read(at, MAX_BLOCK_RECORDS).await?;
        let Some(last) = records.last() else { break };
        at = last.header().position;
        if let Some(begun) = records.iter().find(|record| record.header().kind == crate::credentials::vault::NAME) {
            let group = begun.header().group;
            return Ok(Position(begun.header().position.0 + u64::from(group.count - 1 - group.index)));
        }
    }
    Ok(head)
}

/// What the records that are kept say of keys.
#[derive(Default)]
struct Kept {
    batches: BTreeSet<[u8; 12]>,
    shredded: Vec<KeyId>,
}

impl Kept {
    fn take(&mut self, record: &Record) {
        let header = record.header();
        self.batches.extend(header.secrets.iter().map(|secret| secret.key.batch).chain([header.facts_key.batch]));
        self.shredded.extend(&header.shredded);
    }
}

async fn copy(from: &dyn EventLog, into: &SqliteLog, until: Position, progress: Progress<'_>) -> Result<Kept, HomeError> {
    let mut kept = Kept::default();
    let (mut written, mut at) = (Position::ZERO, Position::ZERO);
    let mut block: Vec<Record> = Vec::new();
    loop {
        let mut records = from.read(at, MAX_BLOCK_RECORDS).await?;
        records.retain(|record| record.header().position <= until);
        let ended = records.is_empty();
        for record in &records {
            kept.take(record);
        }
        at = records.last().map_or(at, |last| last.header().position);
        block.append(&mut records);
        if block.len() >= COPIED_AT_ONCE || (ended && !block.is_empty()) {
            append(into, written, std::mem::take(&mut block)).await?;
            written = at;
            progress(Step::Copying, at, until);
        }
        if ended {
            return Ok(kept);
        }
    }
}

pub(super) async fn append(log: &dyn EventLog, head: Position, block: Vec<Record>) -> Result<(), HomeError> {
    log.append(head, block.into()).await.map_err(|error: AppendError| HomeError::Log(LogError::Engine(error.to_string())))
}

//! What it costs to have very many connections wait for their renewal: memory, the start, and each look at what is due. It runs in a process of
//! its own: a heap that was used before hides what is taken from it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keyledger::credentials::AnyEvent;
use keyledger::credentials::connection::{self, Phase, Written};
use keyledger::jobs::Refresher;
use keyledger::kernel::{Clock, Fingerprint, Header, KeyId, Moment, OsRandom, Random, SealedSecret, StreamId, SystemClock, VaultId};
use keyledger::keyring::{Keyring, Purpose, SqliteKeyring};
use keyledger::log::{EventLog, MemoryLog};
use keyledger::oauth::Exchanges;
use keyledger::seal::Key;
use keyledger::vault::{Vault, begin};
use keyledger::views::{Snapshot, Views};

use crate::Sizes;
use crate::memory::{Fleet, id, resident};
use crate::service::{Owner, door, tokens};
use crate::table::{figure, heading_plain, real};
use crate::vault::TENANT;

/// The connections that wait are spread over so many services.
const SERVICES: u32 = 100;
/// Of the connections that wait, this part is due at a host that is left alone.
const DEAD: u32 = 10;
/// How many are due at a host that answers.
const DUE: u64 = 1000;
/// So many fail before a host is left alone, and a few more.
const FAILING: u64 = 8;
/// Looks that are averaged.
const LOOKS: u32 = 1000;
/// When what is due at the host that is left alone is due, in seconds from the start, and when what waits is.
const DUE_AT: (i64, i64) = (1000, 1_000_000);

/// A clock that is moved by hand.
struct Moved {
    start: Moment,
    seconds: AtomicU64,
}

impl Moved {
    fn at(&self, seconds: i64) -> Moment {
        self.start.plus_seconds(seconds)
    }
}

impl Clock for Moved {
    fn now(&self) -> Moment {
        self.at(i64::try_from(self.seconds.load(Ordering::Relaxed)).unwrap())
    }

    fn steady_millis(&self) -> u64 {
        1000 + self.seconds.load(Ordering::Relaxed) * 1000
    }
}

/// Time of the processor that this process has had.
fn spent() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

fn micros(time: Duration, parts: u32) -> f64 {
    time.as_secs_f64() * 1e6 / f64::from(parts)
}

fn written(enabled: bool) -> Written {
    let (settings, removed) = (BTreeMap::new(), Vec::new());
    Written { enabled: Some(enabled), settings, removed, metadata: None, configuration: None, custom_mappings: None, phase: Phase::Callable }
}

/// Which service a connection is of, and when its token ends.
fn of(number: u32, count: u32, clock: &Moved) -> (String, Moment) {
    if number < count / DEAD { ("dead".into(), clock.at(DUE_AT.0)) } else { (format!("service-{}", number % SERVICES), clock.at(DUE_AT.1)) }
}

/// A connection that is switched off, so that it is never due: what it takes but for the waiting.
fn made(fleet: &mut Fleet, number: u32, count: u32, clock: &Moved) -> [(Header, AnyEvent); 2] {
    let (stream, (service_id, ends)) = (StreamId(id(2, number)), of(number, count, clock));
    let key = connection::Key { app: "app".into(), consumer: format!("consumer-{number}"), unified_api: "crm".into(), service_id };
    let created = AnyEvent::from(connection::Event::Created { key, consumer: StreamId(id(1, number)), phase: Phase::Added, grant: None });
    let imported = AnyEvent::from(connection::Event::Imported { written: written(false), issued_at: Some(clock.start), expires_at: Some(ends) });
    let sealed = |name: &str, taken: u32| {
        let key = KeyId { batch: id(6, taken / 256)[..12].try_into().unwrap(), slot: taken % 256 };
        SealedSecret { name: name.into(), key, fingerprint: Fingerprint(id(7, taken)) }
    };
    let secrets = vec![sealed("access_token", 2 * number), sealed("refresh_token", 2 * number + 1)];
    let at = |header: Header| Header { recorded_at: clock.start, ..header };
    [(at(fleet.header(stream, 1, &created)), created), (at(Header { secrets, ..fleet.header(stream, 2, &imported) }), imported)]
}

/// Folds them into the views, and then switches them on, which has them wait. The views then stand where they stood.
fn fill(views: &mut Views, count: u32, clock: &Moved) {
    let head = views.position();
    let (mut fleet, start) = (Fleet::after(head.0), resident());
    for number in 0..count {
        for (header, event) in made(&mut fleet, number, count, clock) {
            views.fold(&header, event);
        }
    }
    let (with_connections, started) = (resident(), Instant::now());
    for number in 0..count {
        let event = AnyEvent::from(connection::Event::Updated(written(true)));
        let header = Header { recorded_at: clock.start, ..fleet.header(StreamId(id(2, number)), 3, &event) };
        // The last one goes back to where the log ends.
        let position = if number + 1 == count { head } else { header.position };
        views.fold(&Header { position, ..header }, event);
    }
    let (took, waiting) = (started.elapsed(), resident());
    let each = |before: Option<f64>, after: Option<f64>| after.zip(before).map_or(f64::NAN, |(after, before)| (after - before) / f64::from(count));
    figure("memory: a connection with two tokens", each(start, with_connections), "bytes");
    figure("memory: that it waits, in the index of what is due", each(with_connections, waiting), "bytes");
    figure("fold of a change that has it wait", micros(took, count), "µs");
}

struct Opened {
    vault: Arc<Vault>,
    clock: Arc<Moved>,
    token: String,
}

/// A vault whose log lies in memory and whose views hold what waits.
async fn open(folder: &Path, count: u32) -> Opened {
    std::fs::create_dir(folder).unwrap();
    let (random, root, id) = (Arc::new(OsRandom) as Arc<dyn Random>, Key::new([4; 32]), VaultId(*b"vault-of-waiting"));
    let keyring = Arc::new(SqliteKeyring::create(folder, id, &root, Arc::clone(&random)).unwrap());
    keyring.ensure_tenant(TENANT, &root).unwrap();
    let clock = Arc::new(Moved { start: SystemClock.now(), seconds: AtomicU64::new(0) });
    let log = Arc::new(MemoryLog::default()) as Arc<dyn EventLog>;
    let genesis = begin(Arc::clone(&log), keyring.clone(), clock.clone(), Arc::clone(&random), TENANT).await.unwrap();
    let start = |from| Vault::start(Arc::clone(&log), keyring.clone(), clock.clone(), Arc::clone(&random), from);
    let mut snapshot = start(Snapshot::default()).await.unwrap().snapshot().await.unwrap();
    fill(&mut snapshot.views, count, &clock);
    let (path, key) = (folder.join("snapshot"), keyring.purpose(keyledger::kernel::TenantId::SYSTEM, Purpose::Snapshot).unwrap().key);
    snapshot.write(&path, &*log, id, &key, &*random).await.unwrap();
    drop(snapshot);
    let started = Instant::now();
    let read = Snapshot::read(&path, &*log, id, &key).await.unwrap();
    figure("start: the snapshot is read and indexed", started.elapsed().as_secs_f64() * 1e3, "ms");
    figure("of the snapshot", real(std::fs::metadata(&path).unwrap().len()) / 1e6, "MB");
    std::fs::remove_file(&path).unwrap();
    let started = Instant::now();
    let vault = Arc::new(start(read).await.unwrap());
    figure("start: the vault on it", started.elapsed().as_secs_f64() * 1e3, "ms");
    Opened { vault, clock, token: String::from_utf8(genesis.token.expose().to_vec()).unwrap() }
}

/// Processor time of a look, averaged.
async fn look(refresher: &mut Refresher) -> f64 {
    let before = spent();
    for _ in 0..LOOKS {
        assert_eq!(refresher.step().await, 0, "nothing may begin");
    }
    micros(spent().saturating_sub(before), LOOKS)
}

async fn looks(folder: &Path, count: u32) {
    let (live, dead) = (tokens().await, tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap());
    let Opened { vault, clock, token } = open(folder, count).await;
    let principal = vault.authenticate(&token).unwrap();
    let exchanges = Arc::new(Exchanges::new(Arc::clone(&vault), door(), "http://127.0.0.1".to_owned()));
    let started = Instant::now();
    assert_eq!(exchanges.sweep().await.unwrap(), 0);
    figure("start: exchanges without a result are looked for", started.elapsed().as_secs_f64() * 1e3, "ms");
    let mut refresher = Refresher::new(Arc::clone(&vault), Arc::clone(&exchanges));
    let idle = look(&mut refresher).await;
    figure("a look when nothing is due, of the processor", idle, "µs");
    figure("at rest, one look a second, of one core", idle / 1e4, "%");
    let owner = Owner { vault: &vault, principal: &principal };
    owner.serves("live", live.port()).await;
    owner.serves("dead", dead.local_addr().unwrap().port()).await;
    for number in 0..DUE {
        owner.connect("live", &format!("live-{number}")).await;
    }
    let before = spent();
    assert!(refresher.step().await > 0);
    figure(&format!("a look when {DUE} are due, the first of which begin"), micros(spent().saturating_sub(before), 1), "µs");
    let (started, mut steps) = (Instant::now(), 1);
    while refresher.active() > 0 {
        refresher.settle().await;
        refresher.step().await;
        steps += 1;
    }
    let pace = real(DUE) / started.elapsed().as_secs_f64();
    figure(&format!("all {DUE} renewed, in {steps} looks that each await their exchanges"), pace, "a second");
    // Nobody answers there.
    drop(dead);
    clock.seconds.store(u64::try_from(DUE_AT.0 - 600).unwrap(), Ordering::Relaxed);
    for number in 0..FAILING {
        owner.connect("dead", &format!("dead-{number}")).await;
    }
    clock.seconds.store(u64::try_from(DUE_AT.0 + 1).unwrap(), Ordering::Relaxed);
    refresher.step().await;
    refresher.settle().await;
    figure(&format!("a look when {} are due at a host that is left alone", count / DEAD), look(&mut refresher).await, "µs");
}

/// In a process of its own.
pub fn measure(sizes: &Sizes) {
    let mut itself = std::process::Command::new(std::env::current_exe().unwrap());
    itself.args(["--bench", "scheduler"]).args(sizes.quick.then_some("--quick"));
    assert!(itself.status().unwrap().success(), "the measurement of the scheduler failed");
}

/// The process of its own.
pub fn measure_here(folder: &Path, sizes: &Sizes) {
    heading_plain(&format!("renewals, {} connections wait", crate::table::grouped(f64::from(sizes.waiting))));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(looks(&folder.join("scheduler"), sizes.waiting));
}

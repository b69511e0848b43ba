//! Looks at a long past: a restore, reads as of an instant, a diff, the audit log, the check of all of it; each beside a bare read of what it rests
//! on, in turns.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyledger::kernel::{Moment, Position, StreamId};
use keyledger::log::{Audit, Options, SqliteLog, audit};
use keyledger::server::{Home, Until};
use keyledger::vault::Vault;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::asking::Asking;
use crate::history::{History, data, home};
use crate::memory::id;
use crate::reader::Reader;
use crate::served::{closed, front};
use crate::table::{compare, figure, grouped, heading, heading_plain, real};
use crate::{Sizes, bare, time_memory};

/// Turns of what takes long.
const FEW: usize = 3;
/// Instants that are looked at.
const INSTANTS: usize = 40;
/// Hours that are compared.
const HOURS: usize = 10;
/// Items of a page, as it was asked for, and at most.
const PAGE: usize = 50;
const LARGE_PAGE: usize = 200;
/// An hour, in seconds.
const HOUR: i64 = 3600;

/// How long ours and the bare one took.
#[derive(Default)]
struct Pairs {
    ours: Vec<f64>,
    bare: Vec<f64>,
    slowest: Duration,
}

impl Pairs {
    /// Something that was done once by each.
    fn add(&mut self, ours: Duration, bare: Duration) {
        self.add_each(1.0, ours, bare);
    }

    /// So many things that were done by each.
    fn add_each(&mut self, count: f64, ours: Duration, bare: Duration) {
        self.ours.push(count / ours.as_secs_f64());
        self.bare.push(count / bare.as_secs_f64());
        self.slowest = self.slowest.max(ours);
    }

    fn print(&self, what: &str) {
        compare(what, &self.ours, &self.bare, &format!("slowest {:.1} ms", self.slowest.as_secs_f64() * 1e3));
    }
}

pub fn measure(runtime: &Runtime, folder: &Path, sizes: &Sizes) {
    heading_plain(&format!("a history of thirty days, {} credentials, four tenants", grouped(f64::from(sizes.credentials))));
    let history = runtime.block_on(History::make(&folder.join("time"), sizes.credentials));
    heading("all of it, events of the log per second", "bare: each row once, in order");
    restore(runtime, &history);
    verify(runtime, &history, sizes);
    runtime.block_on(async {
        let mut served = Served::start(&history).await;
        served.first_look().await;
        heading("looks at the past over HTTP, answers per second", "bare: reads and opens only the records of the answer, whose places it knows");
        served.past().await;
        heading("what changed in an hour, answers per second", "bare: reads and opens all records of the hour");
        served.diff().await;
        heading("events by one principal of sixteen, answers per second", "bare: looks for it in clear headers from the end, opens what it finds");
        served.audit().await;
        served.vault.shutdown().await;
    });
    time_memory::measure(&history);
}

/// Through both files of the old log, its fold, its copy, and the fold of the copy.
fn restore(runtime: &Runtime, history: &History) {
    let (home, into, mut pairs) = (home(&history.folder, history.clock.clone()), history.folder.join("restored"), Pairs::default());
    for _ in 0..FEW {
        let started = Instant::now();
        let restored = runtime.block_on(home.restore(Until::Instant(history.instant(500_000)), &into, &|_, _, _| ())).unwrap();
        let ours = started.elapsed();
        assert!(restored.position.0 > history.events / 3, "the middle lies in the middle");
        let (bare, events) = bare::read(&Home::log_in(home.folder()), false);
        assert_eq!(events, history.events);
        pairs.add_each(real(events), ours, bare);
        std::fs::remove_dir_all(&into).unwrap();
    }
    pairs.print("restore to the middle instant | read");
}

/// As `keyledger audit verify` does on a data directory, against its checkpoint.
fn verify(runtime: &Runtime, history: &History, sizes: &Sizes) {
    let (path, mut pairs) = (Home::log_in(&data(&history.folder)), Pairs::default());
    for _ in 0..sizes.rounds {
        let started = Instant::now();
        let log = SqliteLog::open(&path, Options { read_only: true, ..Options::default() }).unwrap();
        let whole = runtime.block_on(audit(&log, Audit::against(vec![history.told.clone()]), &|_| ())).unwrap().unwrap();
        let ours = started.elapsed();
        assert_eq!(whole.told, history.events, "all of it was compared");
        pairs.add_each(real(history.events), ours, bare::read(&path, true).0);
    }
    pairs.print("verify the whole log | read, SHA-256 of each record");
}

/// Where the first tenant's credentials have their records, and when each record was taken.
#[derive(Default)]
struct Places {
    recorded: Vec<Moment>,
    of: HashMap<StreamId, Vec<u64>>,
    credentials: Vec<StreamId>,
}

impl Places {
    fn of(history: &History, reader: &Reader) -> Self {
        let mut places = Self::default();
        reader.each(|record| {
            let header = record.header();
            places.recorded.push(header.recorded_at);
            if header.tenant == history.tenant && ["connection", "api_key"].contains(&header.kind.as_str()) {
                let of = places.of.entry(header.stream).or_default();
                if of.is_empty() {
                    places.credentials.push(header.stream);
                }
                of.push(header.position.0);
            }
        });
        places
    }

    /// The last place before an instant.
    fn before(&self, instant: Moment) -> u64 {
        self.recorded.partition_point(|at| *at < instant) as u64
    }

    /// A thing's places through one.
    fn through(&self, thing: StreamId, last: u64) -> impl Iterator<Item = u64> + '_ {
        self.of[&thing].iter().copied().take_while(move |place| *place <= last)
    }
}

/// The vault as it runs, started on its snapshot, and both who ask.
struct Served<'a> {
    history: &'a History,
    vault: Arc<Vault>,
    address: SocketAddr,
    reader: Reader,
    places: Places,
    drawn: u32,
    _lock: keyledger::server::Lock,
}

impl<'a> Served<'a> {
    async fn start(history: &'a History) -> Self {
        let home = home(&history.folder, history.clock.clone());
        let started = Instant::now();
        let (vault, lock) = home.start().await.unwrap();
        let vault = Arc::new(vault);
        heading_plain("a start");
        figure("of the vault on its snapshot", started.elapsed().as_secs_f64() * 1e3, "ms");
        let reader = Reader::of(&Home::log_in(home.folder()), Arc::clone(vault.keyring()));
        let places = Places::of(history, &reader);
        let address = front(Arc::clone(&vault), closed).await;
        Self { history, vault, address, reader, places, drawn: 0, _lock: lock }
    }

    /// How long an answer took, and what it says. Each over a connection of its own: one that waits while the other one reads is closed.
    async fn ask(&self, path: &str) -> (Duration, Value) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {}\r\n\r\n", self.history.token);
        let mut asking = Asking::to(self.address).await;
        let started = Instant::now();
        let answer = asking.ask(request.as_bytes()).await;
        let took = started.elapsed();
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        (took, serde_json::from_slice(&answer[head + 4..]).unwrap())
    }

    /// All pages of a path that has parameters already: how long they took, and how many items they hold.
    async fn ask_all(&self, path: &str) -> (Duration, usize) {
        let (mut took, mut items, mut cursor) = (Duration::ZERO, 0, String::new());
        loop {
            let (page, answer) = self.ask(&format!("{path}{cursor}")).await;
            took += page;
            items += answer["data"].as_array().unwrap().len();
            match answer["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return (took, items),
            }
        }
    }

    /// A number below a limit; the same in every run.
    fn draw(&mut self, below: u64) -> u64 {
        self.drawn += 1;
        u64::from_be_bytes(id(12, self.drawn)[..8].try_into().unwrap()) % below
    }

    /// An instant, and the last place before it; not of the first days, in which there is little.
    fn instant(&mut self) -> (Moment, u64) {
        let instant = self.history.instant(100_000 + self.draw(890_000));
        (instant, self.places.before(instant))
    }

    /// In process: the front gives no answer that takes longer than fifteen seconds.
    async fn first_look(&self) {
        for (what, millionths) in [("the first look at the past, at the middle", 500_000), ("the second one, near the end", 990_000)] {
            let place = self.places.before(self.history.instant(millionths));
            let started = Instant::now();
            let views = self.vault.views_at(Position(place)).await.unwrap().unwrap();
            figure(what, started.elapsed().as_secs_f64() * 1e3, &format!("ms, {} events", grouped(real(views.position().0))));
        }
    }

    async fn past(&mut self) {
        let (mut gets, mut lists, mut nexts) = (Pairs::default(), Pairs::default(), Pairs::default());
        for _ in 0..INSTANTS {
            let (instant, last) = self.instant();
            let there = self.places.credentials.partition_point(|thing| self.places.of[thing][0] <= last);
            let place = self.draw(there as u64);
            let thing = self.places.credentials[usize::try_from(place).unwrap()];
            let (took, answer) = self.ask(&format!("/v1/credentials/{thing}?as_of={instant}")).await;
            assert_eq!(answer["id"].as_str(), Some(thing.to_string().as_str()));
            gets.add(took, self.reader.at(self.places.through(thing, last)));
            let (instant, last) = self.instant();
            let path = format!("/v1/credentials?limit={PAGE}&as_of={instant}");
            let (took, answer) = self.ask(&path).await;
            let bare = self.open_page(&answer, last);
            lists.add(took, bare);
            let (took, answer) = self.ask(&format!("{path}&cursor={}", answer["next_cursor"].as_str().unwrap())).await;
            let bare = self.open_page(&answer, last);
            nexts.add(took, bare);
        }
        gets.print("get a credential as of a random instant");
        lists.print(&format!("list {PAGE} credentials as of a random instant"));
        nexts.print("the next page as of the same instant");
    }

    fn open_page(&mut self, page: &Value, last: u64) -> Duration {
        let data = page["data"].as_array().unwrap();
        assert_eq!(data.len(), PAGE);
        let things: Vec<StreamId> = data.iter().map(|item| item["id"].as_str().unwrap().parse().unwrap()).collect();
        let places: Vec<u64> = things.into_iter().flat_map(|thing| self.places.through(thing, last)).collect();
        self.reader.at(places)
    }

    async fn diff(&mut self) {
        let (mut first, mut whole, mut things) = (Pairs::default(), Pairs::default(), 0);
        for _ in 0..HOURS {
            let (from, before) = self.instant();
            let to = from.plus_seconds(HOUR);
            let last = self.places.before(to);
            let path = format!("/v1/diff?tenant=*&from={from}&to={to}&limit={LARGE_PAGE}");
            let (took, _) = self.ask(&path).await;
            first.add(took, self.reader.between(before + 1, last));
            let (took, found) = self.ask_all(&path).await;
            things += found;
            whole.add(took, self.reader.between(before + 1, last));
        }
        first.print(&format!("the first {LARGE_PAGE} things that differ"));
        whole.print(&format!("all of them, {} on average", things / HOURS));
    }

    async fn audit(&mut self) {
        let (actor, mut first, mut whole) = (self.history.actor, Pairs::default(), Pairs::default());
        let path = format!("/v1/events?actor={actor}");
        for _ in 0..INSTANTS {
            let (took, answer) = self.ask(&format!("{path}&limit={PAGE}")).await;
            assert_eq!(answer["data"].as_array().unwrap().len(), PAGE);
            first.add(took, self.reader.by(actor, PAGE).0);
        }
        first.print(&format!("the latest {PAGE}"));
        let mut events = 0;
        for _ in 0..FEW {
            let (took, found) = self.ask_all(&format!("{path}&limit={LARGE_PAGE}")).await;
            let (bare, by) = self.reader.by(actor, usize::MAX);
            assert_eq!(found, by);
            whole.add(took, bare);
            events = found;
        }
        whole.print(&format!("all {} of them, page by page", grouped(real(events as u64))));
    }
}

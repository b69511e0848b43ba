//! Whether time tells a known id from an unknown one: what is presented for the one and for the other, wrong both times, taking turns in an
//! order drawn at random; the medians of both, and Welch's t without the slowest and fastest tenths, as dudect has it. Below 4.5 nothing is told.
//! A client's secret tells of about a microsecond: the event of a known name is the larger one. A disk takes a thousand times as long to keep it,
//! and failures are written five times a second at most.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use keyledger::credentials::issued::{SecretId, Token, TokenType};
use keyledger::credentials::user::Profile;
use keyledger::credentials::{AnyEvent, Kind, Meta, application};
use keyledger::kernel::{Clock, Moment, OsRandom, Plan, Random, Refusal, Secret, StreamId, SystemClock, VaultId};
use keyledger::keyring::SqliteKeyring;
use keyledger::log::{EventLog, MemoryLog};
use keyledger::seal::Key;
use keyledger::vault::access::Principal;
use keyledger::vault::{Command, Given, Vault, begin, plans};
use keyledger::views::Snapshot;
use tokio::runtime::Runtime;

use crate::Sizes;
use crate::served::{closed, front};
use crate::table::{grouped, heading_plain, median, real};
use crate::vault::TENANT;

/// Where a difference begins to be told.
const BOUND: f64 = 4.5;
/// Of each end, this part is left out.
const TRIMMED: usize = 10;

/// Nanoseconds of each sort of sample.
struct Samples {
    known: Vec<f64>,
    unknown: Vec<f64>,
}

impl Samples {
    fn new() -> Self {
        Self { known: Vec::new(), unknown: Vec::new() }
    }

    fn add(&mut self, is_known: bool, started: Instant) {
        let took = started.elapsed().as_secs_f64() * 1e9;
        if is_known { &mut self.known } else { &mut self.unknown }.push(took);
    }

    fn print(&self, what: &str) {
        let t = welch(&trimmed(&self.known), &trimmed(&self.unknown));
        let told = if t.abs() < BOUND { "nothing is told" } else { "TELLS" };
        let (known, unknown) = (grouped(median(&self.known)), grouped(median(&self.unknown)));
        println!("{what:<56}{known:>12}{unknown:>12}{t:>9.2}   {} samples: {told}", self.known.len() + self.unknown.len());
    }
}

/// Without the fastest and the slowest tenth.
fn trimmed(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let cut = sorted.len() / TRIMMED;
    sorted[cut..sorted.len() - cut].to_vec()
}

/// Welch's t of two samples.
fn welch(one: &[f64], other: &[f64]) -> f64 {
    let part = |values: &[f64]| {
        let count = real(values.len() as u64);
        let mean = values.iter().sum::<f64>() / count;
        let spread = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, spread / count)
    };
    let ((one, one_error), (other, other_error)) = (part(one), part(other));
    (one - other) / (one_error + other_error).sqrt()
}

/// A clock whose steady part hurries, so that failures are written without their pause: it would hide everything else.
struct Hurried(AtomicU64);

impl Clock for Hurried {
    fn now(&self) -> Moment {
        SystemClock.now()
    }

    fn steady_millis(&self) -> u64 {
        self.0.fetch_add(1000, Ordering::Relaxed)
    }
}

/// A vault whose log lies in memory: a disk would drown what is looked for.
struct Opened {
    vault: Vault,
    owner: Principal,
    token: String,
}

impl Opened {
    async fn create(folder: &Path) -> Self {
        std::fs::create_dir(folder).unwrap();
        let (random, root) = (Arc::new(OsRandom) as Arc<dyn Random>, Key::new([4; 32]));
        let keyring = Arc::new(SqliteKeyring::create(folder, VaultId(*b"vault-of-timings"), &root, Arc::clone(&random)).unwrap());
        keyring.ensure_tenant(TENANT, &root).unwrap();
        let (log, clock) = (Arc::new(MemoryLog::default()) as Arc<dyn EventLog>, Arc::new(Hurried(AtomicU64::new(1))));
        let genesis = begin(Arc::clone(&log), keyring.clone(), clock.clone(), Arc::clone(&random), TENANT).await.unwrap();
        let vault = Vault::start(log, keyring, clock, random, Snapshot::default()).await.unwrap();
        let token = String::from_utf8(genesis.token.expose().to_vec()).unwrap();
        let owner = vault.authenticate(&token).unwrap();
        Self { vault, owner, token }
    }

    async fn execute(&self, decide: impl FnMut(&Given<'_>) -> Result<Plan<AnyEvent>, Refusal>) {
        let command = Command { principal: &self.owner, meta: Meta::default(), idempotency: None };
        self.vault.execute(&command, decide).await.unwrap();
    }

    /// An application's id and secret.
    async fn application(&self, name: &str) -> (String, String) {
        let profile = || application::Profile { name: name.into(), roles: vec![], permissions: vec![], app_ids: vec![] };
        let mut made = None;
        self.execute(|given| {
            let (plan, id, values) = plans::create_application(given, &self.owner, profile())?;
            made = Some((id.to_string(), String::from_utf8(values[0].expose().to_vec()).unwrap()));
            Ok(plan)
        })
        .await;
        made.unwrap()
    }
}

/// A token that is well-formed: of a known id with another secret, or of an id that nobody has.
fn wrong(known: &str, is_known: bool) -> String {
    let (known, other) = (Token::parse(known).unwrap(), Token::random(TokenType::Key, &OsRandom));
    let id = if is_known { known.id } else { SecretId(drawn()) };
    let token = Token { kind: known.kind, id, secret: other.secret };
    String::from_utf8(token.text().expose().to_vec()).unwrap()
}

fn drawn<const N: usize>() -> [u8; N] {
    (&OsRandom as &dyn Random).array()
}

fn coin() -> bool {
    drawn::<1>()[0] & 1 == 1
}

/// What is looked up in memory: nothing but the processor stands between the two.
fn in_memory(opened: &Opened, count: usize) {
    let (mut authenticate, mut verify) = (Samples::new(), Samples::new());
    let (vault, views) = (&opened.vault, opened.vault.views());
    for _ in 0..count {
        let is_known = coin();
        // Both are made anew each time, so that neither is warmer than the other.
        let presented = wrong(&opened.token, is_known);
        let started = Instant::now();
        assert!(black_box(vault.authenticate(black_box(&presented))).is_err());
        authenticate.add(is_known, started);
        let is_known = coin();
        let presented = wrong(&opened.token, is_known);
        let started = Instant::now();
        let (found, usable) = black_box(vault.verify_key(&views, TENANT, black_box(&presented)));
        verify.add(is_known, started);
        assert!(found.is_none() && usable.is_err());
    }
    authenticate.print("authenticate by a token");
    verify.print("verify a key");
}

/// A client's secret and a password, at the doors that count failures. Each name is tried once: it would wait before long.
async fn at_the_doors(opened: &Opened, clients: usize, logins: usize) {
    let vault = &opened.vault;
    let (mut of_clients, mut of_logins) = (Samples::new(), Samples::new());
    let mut known = Vec::new();
    for number in 0..clients.div_ceil(2) {
        known.push(opened.application(&format!("application {number}")).await);
    }
    let hash = vault.hash_password("password", &Secret::from("correct horse battery")).await.unwrap();
    for number in 0..logins.div_ceil(2) {
        let profile = || Profile { login: format!("user-{number}"), name: "A user".into(), email: None, roles: vec![] };
        opened.execute(|given| plans::create_user(given, &opened.owner, profile(), Some(hash.clone()))).await;
    }
    for (id, token) in &known {
        for is_known in turns() {
            let id = if is_known { id.clone() } else { StreamId(drawn()).to_string() };
            let presented = wrong(token, is_known);
            let started = Instant::now();
            assert!(vault.client(&id, &presented, &[Kind::Application], TokenType::Application, &Meta::default()).await.is_err());
            of_clients.add(is_known, started);
        }
    }
    for number in 0..logins.div_ceil(2) {
        for is_known in turns() {
            let login = if is_known { format!("user-{number}") } else { format!("none-{number}") };
            let started = Instant::now();
            assert!(vault.log_in("default", &login, &Secret::from(format!("wrong {number}").as_str()), 60, Meta::default()).await.is_err());
            of_logins.add(is_known, started);
        }
    }
    of_clients.print("a client's secret");
    of_logins.print("a login's password");
}

/// The same tokens as a caller presents them, over one connection on the same machine: what is told in nanoseconds drowns on the way.
async fn over_http(opened: Opened, count: usize) {
    let owner = opened.token;
    let base = format!("http://{}", front(Arc::new(opened.vault), closed).await);
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let (mut authenticate, mut verify) = (Samples::new(), Samples::new());
    for _ in 0..count {
        let is_known = coin();
        let request = client.get(format!("{base}/v1/me")).bearer_auth(wrong(&owner, is_known)).build().unwrap();
        let started = Instant::now();
        let answer = client.execute(request).await.unwrap();
        authenticate.add(is_known, started);
        assert!(answer.status() == 401 && !answer.bytes().await.unwrap().is_empty());
        let is_known = coin();
        let body = format!("{{\"key\":\"{}\"}}", wrong(&owner, is_known));
        let request = client.post(format!("{base}/v1/keys/verify")).bearer_auth(&owner).body(body).build().unwrap();
        let started = Instant::now();
        let answer = client.execute(request).await.unwrap();
        verify.add(is_known, started);
        assert!(answer.status().is_success() && !answer.bytes().await.unwrap().is_empty());
    }
    authenticate.print("authenticate by a token, over HTTP");
    verify.print("verify a key, over HTTP");
}

/// One of each sort, in either order.
fn turns() -> [bool; 2] {
    let first = coin();
    [first, !first]
}

pub fn measure(runtime: &Runtime, folder: &Path, sizes: &Sizes) {
    heading_plain(&format!(
        "{:<56}{:>12}{:>12}{:>9}   below {BOUND} nothing is told",
        "nanoseconds of what is refused, medians", "known id", "unknown", "Welch t"
    ));
    runtime.block_on(async {
        let opened = Opened::create(&folder.join("timing")).await;
        in_memory(&opened, sizes.tries);
        at_the_doors(&opened, sizes.tries / 25, sizes.tries / 500).await;
        over_http(opened, sizes.tries / 5).await;
    });
}

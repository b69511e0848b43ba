//! What keyledger costs beside the least code that could do the same work: durable appends, the second copy of the log, whole imports, key
//! verifications, token exchanges, calls that are passed through, messages of webhooks, replay, disk, memory, what waits for its renewal, looks at a
//! long past; and whether time tells known ids from unknown ones.
//!
//! `cargo bench` takes about ten minutes, `cargo bench -- --quick` a tenth of it; with names of parts behind it, only those. Ours and the bare loop
//! take turns within one run, so that both meet the same machine; each figure is the median of the rounds.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement that panics has failed")]

mod asking;
mod bare;
mod copies;
mod deliveries;
mod disk;
mod exchanges;
mod history;
mod http;
mod memory;
mod place;
mod proxy;
mod reader;
mod replay;
mod scheduler;
mod served;
mod service;
mod table;
mod time;
mod time_memory;
mod timing;
mod vault;
mod witness;
mod writes;

use std::path::Path;
use std::time::{Duration, Instant};

/// How much is measured.
pub struct Sizes {
    /// Turns of each pair.
    rounds: usize,
    /// How long the callers of one round keep writing.
    round: Duration,
    /// Consumers of the log that is replayed; each leaves five events.
    consumers: u64,
    /// Connections that are folded to see how much memory they take.
    connections: u32,
    /// Tokens that are presented to see whether time tells of them; so many fewer secrets and passwords as these take longer.
    tries: usize,
    /// Connections that wait for their renewal.
    waiting: u32,
    /// Messages of a webhook in one round.
    messages: u64,
    /// Credentials of the history that is looked back upon; each leaves ten events.
    credentials: u32,
    quick: bool,
}

const FULL: Sizes = Sizes {
    rounds: 5,
    round: Duration::from_millis(600),
    consumers: 10_000,
    connections: 100_000,
    tries: 100_000,
    waiting: 1_000_000,
    messages: 500,
    credentials: 100_000,
    quick: false,
};
const QUICK: Sizes = Sizes {
    rounds: 5,
    round: Duration::from_millis(50),
    consumers: 1_000,
    connections: 10_000,
    tries: 10_000,
    waiting: 100_000,
    messages: 50,
    credentials: 10_000,
    quick: true,
};

/// What can be measured by itself.
const PARTS: [&str; 11] = ["memory", "writes", "segments", "http", "proxy", "exchanges", "webhooks", "scheduler", "replay", "time", "timing"];

fn main() {
    if let Some(asked) = std::env::args().nth(1).filter(|first| first == time_memory::HERE).and_then(|_| std::env::args().nth(2)) {
        return time_memory::measure_here(&asked);
    }
    let (mut sizes, mut named) = (None, Vec::new());
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--bench" => sizes = sizes.or(Some(FULL)),
            "--quick" => sizes = Some(QUICK),
            part if PARTS.contains(&part) => named.push(argument),
            other => {
                eprintln!("unknown argument {other}: known are --quick and {}", PARTS.join(", "));
                std::process::exit(2);
            }
        }
    }
    // `cargo test --all-targets` runs this program as well, and means no measurement.
    let Some(sizes) = sizes else { return println!("run by `cargo bench`, or `cargo bench -- --quick`") };
    let (started, folder) = (Instant::now(), place::Place::new());
    if named == ["scheduler"] {
        return scheduler::measure_here(folder.path(), &sizes);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("data in {folder}");
    println!("{cores} cores; {} rounds of {} ms per row, taking turns; medians", sizes.rounds, sizes.round.as_millis());
    measure(folder.path(), &sizes, &|part| named.is_empty() || named.iter().any(|name| name == part));
    println!("\ntook {:.0} s", started.elapsed().as_secs_f64());
}

fn measure(folder: &Path, sizes: &Sizes, wanted: &dyn Fn(&str) -> bool) {
    // Memory comes first: a heap that was used before hides what is taken from it.
    let memory = wanted("memory").then(|| memory::measure(sizes.connections));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if wanted("writes") {
        table::heading("durable writes per second", "rows per block, rows per command");
        writes::measure(&runtime, folder, sizes);
    }
    if wanted("segments") {
        table::heading("durable appends per second, with two copies of the log", "bare: with one, SQLite alone");
        copies::measure(&runtime, folder, sizes);
    }
    if wanted("http") {
        table::heading("answers per second over HTTP", "both read the request and return the same bytes");
        http::measure(&runtime, folder, sizes);
    }
    if wanted("proxy") {
        table::heading("calls passed through to a service per second", "bare: a reverse proxy of the same HTTP stack");
        proxy::measure(&runtime, folder, sizes);
    }
    if wanted("exchanges") {
        table::heading("token exchanges at a service per second", "bare:");
        exchanges::measure(&runtime, folder, sizes);
    }
    if wanted("webhooks") {
        table::heading("messages of webhooks per second", "bare:");
        deliveries::measure(&runtime, folder, sizes);
    }
    if wanted("replay") {
        table::heading("replay of sealed events per second, one core", "events in the log");
        let (replayed, disk) = replay::measure(&runtime, folder, sizes);
        replayed.print();
        disk.print();
    }
    if let Some(memory) = memory {
        memory.print();
    }
    if wanted("scheduler") {
        scheduler::measure(sizes);
    }
    if wanted("time") {
        time::measure(&runtime, folder, sizes);
    }
    if wanted("timing") {
        timing::measure(&runtime, folder, sizes);
    }
}

//! What keyledger costs beside the least code that could do the same work: durable appends, whole imports, key
//! verifications and token exchanges over HTTP, replay, disk, memory; and whether time tells known ids from unknown ones.
//!
//! `cargo bench` takes about a minute, `cargo bench -- --quick` a tenth of it. Ours and the bare loop take turns within one run, so that both
//! meet the same machine; each figure is the median of the rounds.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement that panics has failed")]

mod bare;
mod disk;
mod http;
mod memory;
mod place;
mod replay;
mod table;
mod timing;
mod vault;
mod witness;
mod writes;

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
}

const FULL: Sizes = Sizes { rounds: 5, round: Duration::from_millis(600), consumers: 10_000, connections: 100_000, tries: 100_000 };
const QUICK: Sizes = Sizes { rounds: 5, round: Duration::from_millis(50), consumers: 1_000, connections: 10_000, tries: 10_000 };

fn main() {
    let mut sizes = None;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--bench" => sizes = sizes.or(Some(FULL)),
            "--quick" => sizes = Some(QUICK),
            other => {
                eprintln!("unknown argument {other}: only --quick is known");
                std::process::exit(2);
            }
        }
    }
    // `cargo test --all-targets` runs this program as well, and means no measurement.
    let Some(sizes) = sizes else { return println!("run by `cargo bench`, or `cargo bench -- --quick`") };
    let started = Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let folder = place::Place::new();
    println!("data in {folder}");
    println!("{cores} cores; {} rounds of {} ms per write row, taking turns; medians", sizes.rounds, sizes.round.as_millis());
    // Memory comes first: a heap that was used before hides what is taken from it.
    let memory = memory::measure(sizes.connections);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    table::heading("durable writes per second", "rows per block, rows per command");
    writes::measure(&runtime, folder.path(), &sizes);
    table::heading("answers per second over HTTP", "both read the request and return the same bytes");
    http::measure(&runtime, folder.path(), &sizes);
    table::heading("replay of sealed events per second, one core", "events in the log");
    let (replayed, disk) = replay::measure(&runtime, folder.path(), &sizes);
    replayed.print();
    disk.print();
    memory.print();
    timing::measure(&runtime, folder.path(), &sizes);
    println!("\ntook {:.0} s", started.elapsed().as_secs_f64());
}

//! What the second copy of the log costs a durable write: the same appends with and without segments, taking turns.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keyledger::kernel::{SystemClock, VaultId};
use keyledger::log::{DoubledLog, EventLog, Index, Options, Sequencer, Signer, SqliteLog};
use tokio::runtime::Runtime;

use crate::Sizes;
use crate::table::{compare, figure, median, real};
use crate::writes::{CALLERS, Nobody, submission};

/// One engine, what was answered a second in each round, and how long each answer took, in microseconds.
struct Side {
    sequencer: Sequencer,
    numbers: Arc<AtomicU64>,
    per_second: Vec<f64>,
    took: Vec<f64>,
}

impl Side {
    async fn over(engine: Arc<dyn EventLog>) -> Self {
        let sequencer = Sequencer::start(engine, Arc::new(SystemClock), Arc::new(Nobody), Index::default()).await.unwrap();
        Self { sequencer, numbers: Arc::default(), per_second: Vec::new(), took: Vec::new() }
    }

    async fn turn(&mut self, callers: u64, round: Duration, counts: bool) {
        let started = Instant::now();
        let callers: Vec<_> = (0..callers)
            .map(|_| {
                let (sequencer, numbers) = (self.sequencer.clone(), Arc::clone(&self.numbers));
                tokio::spawn(async move {
                    let mut took = Vec::new();
                    while started.elapsed() < round {
                        let asked = Instant::now();
                        sequencer.submit(submission(numbers.fetch_add(1, Ordering::Relaxed))).await.unwrap();
                        took.push(asked.elapsed().as_secs_f64() * 1e6);
                    }
                    took
                })
            })
            .collect();
        let mut took = Vec::new();
        for caller in callers {
            took.extend(caller.await.unwrap());
        }
        if counts {
            self.per_second.push(real(took.len() as u64) / started.elapsed().as_secs_f64());
            self.took.extend(took);
        }
    }
}

fn open(folder: &Path, callers: u64) -> (Arc<dyn EventLog>, Arc<dyn EventLog>) {
    let (both, one) = (folder.join(format!("two-copies-{callers}")), folder.join(format!("one-copy-{callers}")));
    std::fs::create_dir(&both).unwrap();
    std::fs::create_dir(&one).unwrap();
    let signer: Signer = Arc::new(|_, size, _| size.to_string());
    let doubled = DoubledLog::open(&both, VaultId(*b"vault-on-a-bench"), signer).unwrap();
    (Arc::new(doubled), Arc::new(SqliteLog::open(&one.join("log.db"), Options::default()).unwrap()))
}

pub fn measure(runtime: &Runtime, folder: &Path, sizes: &Sizes) {
    for callers in CALLERS {
        let (doubled, single) = open(folder, callers);
        let (mut both, mut one) = runtime.block_on(async { (Side::over(doubled).await, Side::over(single).await) });
        for round in 0..=sizes.rounds {
            let length = if round == 0 { sizes.round / 10 } else { sizes.round };
            runtime.block_on(async {
                both.turn(callers, length, round > 0).await;
                one.turn(callers, length, round > 0).await;
            });
        }
        compare(&format!("appends, {callers} waiting"), &both.per_second, &one.per_second, "");
        figure("  of these one takes, with and without", median(&both.took), &format!("us with, {:.0} us without", median(&one.took)));
    }
}

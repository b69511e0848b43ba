//! How much of the log a look at the past reads: no more than lies between it and the nearest state that is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keyledger::kernel::*;
use keyledger::log::{AppendError, BoxFuture, EventLog, LogError, SqliteLog};
use keyledger::seal::Record;
use keyledger::vault::plans;
use tokio::sync::watch;

use crate::vault_bench::{TENANT, VaultBench};

/// Consumers that one command makes: each is one event.
const GROUP: u64 = 500;

/// Counts the records that are read.
struct Counted {
    log: SqliteLog,
    read: Arc<AtomicU64>,
}

impl EventLog for Counted {
    fn append(&self, head: Position, block: Arc<[Record]>) -> BoxFuture<'_, Result<(), AppendError>> {
        self.log.append(head, block)
    }

    fn read(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        Box::pin(async move {
            let records = self.log.read(after, limit).await?;
            self.read.fetch_add(records.len() as u64, Ordering::SeqCst);
            Ok(records)
        })
    }

    fn read_back(&self, from: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        self.log.read_back(from, limit)
    }

    fn fetch<'a>(&'a self, at: &'a [Position]) -> BoxFuture<'a, Result<Vec<Record>, LogError>> {
        self.log.fetch(at)
    }

    fn seek(&self, instant: Moment) -> BoxFuture<'_, Result<Position, LogError>> {
        self.log.seek(instant)
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.log.head()
    }
}

async fn fill(bench: &VaultBench, groups: u64) {
    for group in 0..groups {
        let made = bench.execute(|given| {
            (0..GROUP).try_fold(Plan::nothing(), |plan, number| {
                Ok(plan.and(plans::put_consumer(given, TENANT, "app", &format!("c{}", group * GROUP + number), None)?))
            })
        });
        made.await.unwrap();
    }
}

/// The same vault, started on its snapshot over a log that counts.
async fn counted(bench: VaultBench) -> (VaultBench, Arc<AtomicU64>) {
    let path = bench.folder.path().join("views.snapshot");
    bench.write_snapshot(&path).await;
    let snapshot = bench.read_snapshot(&path).await.unwrap();
    let read = Arc::new(AtomicU64::new(0));
    let counts = Arc::clone(&read);
    let bench = bench.restart_over(snapshot, move |log| Arc::new(Counted { log, read: counts })).await;
    (bench, read)
}

#[tokio::test]
async fn a_long_look_back_is_made_once_and_a_short_one_reads_what_lies_between() {
    let bench = VaultBench::new().await;
    let begun = bench.vault.views().position().0;
    fill(&bench, 44).await;
    let (bench, read) = counted(bench).await;
    let at = |group: u64| Position(begun + group * GROUP);
    let look = async |position: Position| {
        let before = read.load(Ordering::SeqCst);
        let views = bench.vault.views_at(position).await.unwrap().unwrap();
        assert_eq!(views.position(), position);
        (read.load(Ordering::SeqCst) - before, views)
    };
    // The beginning of a group whose end a read does not reach is read once more.
    let (all, _) = look(at(42)).await;
    assert!((at(42).0..at(42).0 + 7 * GROUP).contains(&all), "{all} events: all before it");
    let (near, views) = look(at(30)).await;
    assert!(near < 15 * GROUP, "{near} events: the long look left a state on its way");
    assert_eq!(*views, bench.replay(at(30)).await.0);
    assert_eq!(look(at(30)).await.0, 0, "the next page of the same moment");
    assert_eq!(look(at(31)).await.0, GROUP, "and what came soon after it");
    let inside = Position(at(31).0 + GROUP / 2);
    assert_eq!(bench.vault.views_at(inside).await.unwrap().unwrap().position(), at(31), "rounded down to a whole group");
}

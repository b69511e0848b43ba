//! Memory while a vault is restored, beside that of the live vault. Each is a process of its own, which is asked for the most that it ever held.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use keyledger::kernel::SystemClock;
use keyledger::server::Until;

use crate::history::{History, home};
use crate::memory::{peak, resident};
use crate::table::{figure, heading_plain};

/// The first argument of such a process.
pub const HERE: &str = "memory-of-time";

/// What such a process does.
const LIVE: &str = "live";
const MIDDLE: &str = "middle";
const WHOLE: &str = "whole";

/// Asks a process for what it holds at its end and held at most, in megabytes.
fn ask(folder: &Path, what: &str, instant: &str) -> (f64, f64) {
    let answer = Command::new(std::env::current_exe().unwrap()).args([HERE, &format!("{what} {instant} {}", folder.display())]).output().unwrap();
    let text = String::from_utf8(answer.stdout).unwrap();
    assert!(answer.status.success(), "the measurement of memory failed: {}", String::from_utf8_lossy(&answer.stderr));
    let mut numbers = text.split_whitespace().map(|number| number.parse::<f64>().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

pub fn measure(history: &History) {
    heading_plain("memory: the resident set of a process that does only this");
    let (folder, middle) = (history.folder.as_path(), history.instant(500_000).to_string());
    let (live, begun) = ask(folder, LIVE, &middle);
    let snapshot = home(folder, history.clock.clone()).snapshot();
    let aside = snapshot.with_extension("aside");
    std::fs::rename(&snapshot, &aside).unwrap();
    let (with_roots, _) = ask(folder, LIVE, &middle);
    std::fs::rename(&aside, &snapshot).unwrap();
    figure("the live vault, started on its snapshot", live, &format!("MB, {begun:.0} MB at most while it started"));
    figure("the live vault that folded all of it, with kept roots", with_roots, "MB");
    for (what, words) in [(MIDDLE, "restore to the middle instant, at most"), (WHOLE, "restore to the end, at most")] {
        let (_, most) = ask(folder, what, &middle);
        figure(words, most, &format!("MB, {:.0} % of the live vault on its snapshot", 100.0 * most / live));
    }
}

/// Such a process: what it does, an instant, and the folder of the history.
pub fn measure_here(asked: &str) {
    let mut words = asked.splitn(3, ' ');
    let (what, instant, folder) = (words.next().unwrap(), words.next().unwrap(), Path::new(words.next().unwrap()));
    let home = home(folder, Arc::new(SystemClock));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let held = runtime.block_on(async {
        if what == LIVE {
            let vault = home.start().await.unwrap();
            let held = resident();
            vault.0.shutdown().await;
            return held;
        }
        let until = if what == MIDDLE { Until::Instant(instant.parse().unwrap()) } else { Until::End };
        let into = folder.join("restored");
        home.restore(until, &into, &|_, _, _| ()).await.unwrap();
        std::fs::remove_dir_all(into).unwrap();
        resident()
    });
    let megabytes = |bytes: Option<f64>| bytes.map_or(f64::NAN, |bytes| bytes / 1e6);
    println!("{} {}", megabytes(held), megabytes(peak()));
}

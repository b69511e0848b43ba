//! A data directory: every record, read from the log's own file.

use std::path::Path;

use anyhow::Context;
use serde_json::json;

use super::key::Trusted;
use super::{Failed, Report, Verify, bad, no_key, progress, read, read_leaves, wrong};
use crate::jobs::{AnchorFile, Checkpoints, read_newest};
use crate::kernel::Epoch;
use crate::keyring::SqliteKeyring;
use crate::log::copies::LOG;
use crate::log::segment::FOLDER;
use crate::log::{Audit, EventLog, Options, SqliteLog, Told, audit};
use crate::seal::checkpoint::{Checkpoint, place};
use crate::seal::merkle::Frontier;
use crate::server::Home;

/// What was said of the log, by whomever.
#[derive(Default)]
struct Said {
    told: Vec<Told>,
    /// The epoch of the checkpoint in the directory itself.
    newest: Option<Epoch>,
    notes: Vec<String>,
}

impl Verify {
    pub(super) async fn check_data(&self, data: &Path) -> Result<Report, Failed> {
        let trusted = self.known()?.trust(SqliteKeyring::vault_at(data).ok(), None)?;
        // First what was said, then the log: it only grows, and a server may run on it.
        let mut said = match &trusted {
            Some(trusted) => self.said(data, trusted)?,
            None if self.checkpoint.is_some() || self.anchor_file.is_some() => return Err(no_key().into()),
            None => {
                Said { notes: vec!["no public key is known: the checkpoint in the data directory was not looked at; give --key".into()], ..Said::default() }
            }
        };
        let hashes = self.leaves.as_deref().map(kept_leaves).transpose()?.unwrap_or_default();
        check_leaves(&hashes, &said.told)?;
        let log = SqliteLog::open(&Home::log_in(data), Options { read_only: true, ..Options::default() })?;
        let head = *log.head().borrow();
        let bar = progress(head.0)?;
        let whole = audit(&log, Audit::against(said.told).with_hashes(hashes), &|at| bar.set_position(at.0)).await?.map_err(bad)?;
        bar.finish_and_clear();
        if said.newest.is_some() && said.newest != whole.epoch {
            return Err(wrong("the checkpoint in the data directory is of another history than the log: its files are not those that were written last"));
        }
        let mut report = Report::of(&whole);
        report.fields.push(("read", json!(format!("{LOG} alone: `keyledger doctor` compares it with {FOLDER}"))));
        if !said.notes.is_empty() {
            said.notes.dedup();
            report.fields.push(("notes", json!(said.notes)));
        }
        Ok(report)
    }

    fn said(&self, data: &Path, trusted: &Trusted) -> Result<Said, Failed> {
        let mut said = Said::default();
        if let Some(note) = read_newest(&Checkpoints::path(data))? {
            let checkpoint = trusted.read(&note, "in the data directory")?;
            said.newest = epoch(&checkpoint);
            said.told.push(as_told(&checkpoint, "the checkpoint in the data directory".into()));
        }
        if let Some(path) = &self.checkpoint {
            said.told.push(as_told(&trusted.read(&read(path)?, "of --checkpoint")?, "the checkpoint of --checkpoint".into()));
        }
        if let Some(path) = &self.anchor_file {
            let cannot = || format!("cannot read {}", path.display());
            if !path.exists() {
                return Err(anyhow::anyhow!("{}: there is no such file", cannot()).into());
            }
            let (mut good, problems) = AnchorFile::at(path.clone()).read(&trusted.public).with_context(cannot)?;
            said.notes.extend(problems.iter().map(ToString::to_string));
            good.retain(|anchor| place(&anchor.checkpoint.origin).is_some_and(|(vault, _)| vault == trusted.vault));
            if good.is_empty() {
                return Err(wrong(format!("{} holds no anchor of this log{}", path.display(), listed(&said.notes))));
            }
            for anchor in good {
                said.told.push(as_told(&anchor.checkpoint, format!("the anchor in line {}, of {}", anchor.line, anchor.at)));
            }
        }
        Ok(said)
    }
}

/// The first of what is wrong with the lines of a file.
fn listed(problems: &[String]) -> String {
    problems.first().map_or_else(String::new, |first| format!(": {first}"))
}

/// What was kept before: it must be there.
fn kept_leaves(path: &Path) -> anyhow::Result<Vec<[u8; 32]>> {
    anyhow::ensure!(path.exists(), "cannot read {}: there is no such file", path.display());
    read_leaves(path)
}

fn epoch(checkpoint: &Checkpoint) -> Option<Epoch> {
    place(&checkpoint.origin).map(|(_, epoch)| epoch)
}

fn as_told(checkpoint: &Checkpoint, by: String) -> Told {
    Told { size: checkpoint.size, root: checkpoint.root, epoch: epoch(checkpoint), by }
}

/// Kept hashes are believed only as far as they make the roots that were signed.
fn check_leaves(hashes: &[[u8; 32]], told: &[Told]) -> Result<(), Failed> {
    let mut tree = Frontier::default();
    for hash in hashes {
        tree.push(*hash);
        if let Some(told) = told.iter().find(|told| told.size == tree.size() && told.root != tree.root()) {
            return Err(wrong(format!("the kept leaf hashes are not those of {}", told.by)));
        }
    }
    Ok(())
}

//! What was said of the log, compared with it at the start: whoever rolls a data directory back, or changes a record, is found out by a checkpoint.

use std::path::Path;

use crate::jobs::{Anchor, AnchorFile, read_newest};
use crate::kernel::{Epoch, VaultId};
use crate::log::{EventLog, LogError, Prover};
use crate::seal::checkpoint::{Checkpoint, origin, place, verify};

/// A log and what is known of its vault.
pub struct Compared<'a> {
    /// The vault.
    pub vault: VaultId,
    /// The public half of its signing key.
    pub public: &'a [u8; 32],
    /// The log's hash tree as it stands.
    pub prover: &'a Prover,
    /// The log.
    pub log: &'a dyn EventLog,
}

impl Compared<'_> {
    /// The origin of a checkpoint of the log as it stands.
    fn origin(&self) -> String {
        self.prover.epoch_at(self.prover.size).map(|epoch| origin(self.vault, epoch)).unwrap_or_default()
    }
}

/// What the comparison says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The log is shorter than it was, or another: nothing may be written on it. Empty when it is what was said of it.
    pub lost: Vec<Loss>,
    /// What cannot be compared, and should be looked at.
    pub said: Vec<String>,
    /// The largest size that was confirmed.
    pub confirmed: u64,
}

/// A checkpoint that the log does not keep.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// The log ends before it.
    #[error("the log ends with {size} records, at position {head}; {by} has {told}: {} records from position {} on are missing", told - size, head + 1)]
    Shorter {
        /// How many leaves the log has.
        size: u64,
        /// Its last position.
        head: u64,
        /// How many it had.
        told: u64,
        /// Who says so.
        by: String,
    },
    /// The log was another.
    #[error("the first {told} records of the log, through position {position}, are not those of {by}: at least one of them was changed")]
    Other {
        /// How many leaves it had.
        told: u64,
        /// The position of the last of them.
        position: u64,
        /// Who says so.
        by: String,
    },
    /// The log tells of another history than the one that was signed last.
    #[error("the log is of {is}; {by} is of {was}: the log's files are not those that were written last")]
    History {
        /// The origin of the log.
        is: String,
        /// The origin of the checkpoint.
        was: String,
        /// Who says so.
        by: String,
    },
}

/// Compares the log with the newest checkpoint in its data directory and the newest ones of the anchor file, those of earlier epochs included.
pub async fn compare(log: &Compared<'_>, newest: &Path, anchors: Option<&AnchorFile>) -> Result<Findings, LogError> {
    let mut findings = Findings::default();
    let mut told: Vec<(Checkpoint, String)> = Vec::new();
    match read_newest(newest) {
        Ok(None) => {}
        Ok(Some(note)) => match verify(&note, log.public) {
            Ok(checkpoint) => {
                let (is, was) = (log.origin(), checkpoint.origin.clone());
                let by = "the checkpoint in the data directory".to_owned();
                if is == was {
                    told.push((checkpoint, by));
                } else {
                    // A restore makes a directory of its own: no other epoch's checkpoint comes to lie here.
                    findings.lost.push(Loss::History { is, was, by });
                }
            }
            Err(error) => findings.said.push(format!("the checkpoint in the data directory cannot be compared with the log: {error}")),
        },
        Err(error) => findings.said.push(format!("the checkpoint in the data directory cannot be read: {error}")),
    }
    if let Some(file) = anchors {
        match file.read(log.public) {
            Ok((good, bad)) => {
                findings.said.extend(bad.iter().map(ToString::to_string));
                told.extend(newest_of_each(good).into_iter().map(|anchor| (anchor.checkpoint, format!("the anchor of {}", anchor.at))));
            }
            Err(error) => findings.said.push(format!("the anchor file cannot be read: {error}")),
        }
    }
    for (checkpoint, by) in told {
        compare_one(log, &checkpoint, by, &mut findings).await?;
    }
    Ok(findings)
}

/// The largest anchor of each origin.
pub(super) fn newest_of_each(anchors: Vec<Anchor>) -> Vec<Anchor> {
    let mut newest: Vec<Anchor> = Vec::new();
    for anchor in anchors {
        match newest.iter_mut().find(|other| other.checkpoint.origin == anchor.checkpoint.origin) {
            Some(other) if other.checkpoint.size <= anchor.checkpoint.size => *other = anchor,
            Some(_) => {}
            None => newest.push(anchor),
        }
    }
    newest
}

async fn compare_one(log: &Compared<'_>, checkpoint: &Checkpoint, by: String, findings: &mut Findings) -> Result<(), LogError> {
    let Some((_, epoch)) = place(&checkpoint.origin).filter(|(vault, _)| *vault == log.vault) else {
        findings.said.push(format!("{by} is of {}, not of this vault", checkpoint.origin));
        return Ok(());
    };
    let Some(end) = end_of(log.prover, epoch) else {
        let (is, was) = (log.origin(), checkpoint.origin.clone());
        if log.prover.epoch_at(log.prover.size).is_none_or(|own| epoch.number > own.number) {
            findings.lost.push(Loss::History { is, was, by });
        } else {
            // Some other restore of the same vault, which may have been a drill.
            findings.said.push(format!("{by} is of another history of this vault: {was}, and the log's is {is}"));
        }
        return Ok(());
    };
    let (size, head) = (log.prover.size, log.prover.head.0);
    if checkpoint.size > end {
        // An earlier epoch was cut by a restore: what it had beyond that was left behind on purpose.
        if end == size {
            findings.lost.push(Loss::Shorter { size, head, told: checkpoint.size, by });
        }
        return Ok(());
    }
    if log.prover.root_at(log.log, checkpoint.size).await? == Some(checkpoint.root) {
        findings.confirmed = findings.confirmed.max(checkpoint.size);
    } else {
        let position = checkpoint.size.checked_sub(1).and_then(|leaf| log.prover.position(leaf)).unwrap_or_default().0;
        findings.lost.push(Loss::Other { told: checkpoint.size, position, by });
    }
    Ok(())
}

/// How many leaves the log has through an epoch's last one; `None` when the epoch is not of this log.
fn end_of(prover: &Prover, epoch: Epoch) -> Option<u64> {
    let mut later = prover.begun().skip_while(|begun| begun.epoch != epoch);
    later.next()?;
    Some(later.next().map_or(prover.size, |next| next.leaf))
}

//! An exported file: every line, and the checkpoint that it leads to.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context;
use serde_json::json;

use super::{Failed, Report, Verify, Wrong, no_key, progress, read};
use crate::kernel::VaultId;
use crate::seal::checkpoint::place;
use crate::vault::export::{Misread, check};

impl Verify {
    pub(super) fn check_file(&self, path: &Path) -> Result<Report, Failed> {
        let note = self.checkpoint.as_deref().map(read).transpose()?.unwrap_or_default();
        let Some(trusted) = self.known()?.trust(vault_of(&note), None)? else {
            return Err(no_key().into());
        };
        let checkpoint = trusted.read(&note, "of --checkpoint")?;
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let bar = progress(checkpoint.size)?;
        let checked = check(BufReader::new(file), &checkpoint, &trusted.public, &|leaf| bar.set_position(leaf));
        bar.finish_and_clear();
        let (whole, ties) = checked?.map_err(|Misread { line, bad }| Failed::Wrong(Wrong::Bad { line, bad }))?;
        let mut report = Report::of(&whole);
        report.fields.extend([("facts_committed", json!(ties.committed)), ("facts_signed", json!(ties.signed)), ("facts_untold", json!(ties.untold))]);
        Ok(report)
    }
}

/// The vault that a note says it is of; its signature is not yet looked at.
fn vault_of(note: &str) -> Option<VaultId> {
    place(note.lines().next()?).map(|(vault, _)| vault)
}

//! What `keyledger serve` is told about the backups that it makes by itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::server::backup::Backups;
use crate::server::{Home, HomeError};
use crate::vault::Vault;

#[derive(Args)]
#[expect(clippy::struct_field_names, reason = "they are the flags")]
pub(super) struct BackupArgs {
    /// Make backups in this directory, and rehearse a restore from each: one at each interval, and the first one at once where there is none.
    #[arg(long, env = "KEYLEDGER_BACKUP_TO", value_name = "DIR")]
    backup_to: Option<PathBuf>,
    /// The interval, such as 24h, 90m or 7d.
    #[arg(long, env = "KEYLEDGER_BACKUP_EVERY", value_name = "TIME", default_value = "24h", value_parser = interval, requires = "backup_to")]
    backup_every: Duration,
    /// How many backups are kept; older ones are removed once a newer one was verified.
    #[arg(long, env = "KEYLEDGER_BACKUP_KEEP", value_name = "COUNT", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..), requires = "backup_to")]
    backup_keep: u16,
}

/// A number of minutes, hours or days.
fn interval(text: &str) -> Result<Duration, String> {
    let seconds = [('m', 60), ('h', 3600), ('d', 86_400)].into_iter().find_map(|(unit, seconds)| {
        let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
        (1..=100_000).contains(&count).then_some(count * seconds)
    });
    seconds.map(Duration::from_secs).ok_or_else(|| "takes a whole number of minutes, hours or days, such as 90m, 24h or 7d".into())
}

impl BackupArgs {
    /// The schedule, where there is to be one.
    pub fn schedule(&self, home: &Arc<Home>, vault: &Arc<Vault>) -> Result<Option<Backups>, HomeError> {
        let schedule = |to: &PathBuf| Backups::new(Arc::clone(home), Arc::clone(vault), to.clone(), self.backup_every, self.backup_keep.into());
        self.backup_to.as_ref().map(schedule).transpose()
    }
}

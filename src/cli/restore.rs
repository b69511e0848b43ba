//! `keyledger restore`

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use serde_json::json;

use super::backup::shown;
use super::{Cli, Output, print};
use crate::kernel::{Moment, Position};
use crate::server::backup::MANIFEST;
use crate::server::{Home, Until};

#[derive(Args)]
pub(super) struct Restore {
    /// The data directory or the backup to restore from; it is only read, and a server may run on it.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Through this position; a position inside a group rounds down to the group before. A backup is restored to its end without it.
    #[arg(long, value_name = "POSITION", conflicts_with = "at")]
    to: Option<u64>,
    /// Through the last event recorded before this instant, such as 2026-05-04T14:05:00Z.
    #[arg(long, value_name = "INSTANT")]
    at: Option<Moment>,
    /// The data directory to make; it must be absent or empty.
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// The root key file of the vault; both vaults share it.
    #[arg(long, env = "KEYLEDGER_ROOT_KEY_FILE", value_name = "FILE", help = "The root key file [default: $XDG_CONFIG_HOME/keyledger/<vault id>.key]")]
    root_key_file: Option<PathBuf>,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Restore {
    pub async fn run(self) -> anyhow::Result<()> {
        let until = match (self.to, self.at) {
            (Some(to), _) => Until::Position(Position(to)),
            (None, Some(at)) => Until::Instant(super::past(at)?),
            (None, None) if self.from.join(MANIFEST).exists() => Until::End,
            (None, None) => {
                let error = "say how far, with --to POSITION or --at INSTANT: only a backup is restored to its end without being told";
                Cli::command().error(clap::error::ErrorKind::MissingRequiredArgument, error).exit()
            }
        };
        super::show_warnings();
        let home = Home::new(self.from, self.root_key_file, super::clock(), super::random());
        let (bar, show) = shown()?;
        let done = home.restore(until, &self.into, &show).await?;
        bar.finish_and_clear();
        let fields = [
            ("data", json!(self.into)),
            ("position", json!(done.position)),
            ("recorded_at", json!(done.recorded_at)),
            ("merkle_root", json!(base16ct::lower::encode_string(&done.merkle_root))),
            ("fold_version", json!(done.state.fold_version)),
            ("state_hash", json!(base16ct::lower::encode_string(&done.state.hash))),
            ("shredded_streams", json!(done.state.shredded)),
            ("skipped_streams", json!(done.skipped)),
            ("dropped_events", json!(done.dropped)),
            ("secrets_shredded_since", json!(done.shredded_since)),
            ("epoch", json!(done.epoch.number)),
            ("begins_at", json!(done.begins_at)),
        ];
        print(self.output, &fields);
        if self.output == Output::Table {
            println!("\nChecked: root and state are those of the old vault at that position. Serve it with\n");
            println!("  keyledger serve --data {}\n", self.into.display());
            println!("It calls nobody, so that a drill harms nothing: no exchange, no renewal, no webhook, until `keyledger resume`.");
        }
        Ok(())
    }
}

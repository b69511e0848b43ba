//! The command line: one file per verb; the verbs that ask a running server are rows in `remote/`.

mod backup;
mod backups;
mod completions;
mod doctor;
mod further;
mod init;
mod openapi;
mod remote;
mod replay;
mod restore;
mod serve;
mod verify;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::kernel::{Clock, Moment, OsRandom, Random, SystemClock};
use crate::server::Home;

/// An event-sourced credential vault: every change is an encrypted event, and any moment can be seen again.
#[derive(Parser)]
#[command(name = "keyledger", version, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve a vault; an empty directory gets a new one first.
    Serve(serve::Serve),
    /// Make a vault in an empty directory; print the owner's token, once.
    Init(init::Init),
    /// Fold the log from its first event and print position, Merkle root and state hash. A server may run beside it.
    Replay(replay::Replay),
    /// Make a new vault that holds exactly the state of a moment of the past, and check it. The old one is only read.
    Restore(restore::Restore),
    /// Compare the two copies of the log, and say what is wrong, what a start would do, and what to do next. A server may run beside it.
    Doctor(doctor::Doctor),
    /// Make backups, list them, and rehearse a restore from one.
    Backup(backup::Backup),
    /// Print the OpenAPI document of all routes.
    Openapi(openapi::Openapi),
    /// Print what a shell needs to complete this command line.
    Completions(completions::Completions),
    Undo(remote::Undo),
    Recover(remote::Recover),
    #[command(flatten)]
    Further(further::Further),
}

/// Where a vault lies.
#[derive(Args)]
struct DataArgs {
    /// The data directory.
    #[arg(long, env = "KEYLEDGER_DATA", default_value = "keyledger-data", value_name = "DIR")]
    data: PathBuf,
    /// The root key file; without it, the default place below the user's configuration.
    #[arg(long, env = "KEYLEDGER_ROOT_KEY_FILE", value_name = "FILE", help = "The root key file [default: $XDG_CONFIG_HOME/keyledger/<vault id>.key]")]
    root_key_file: Option<PathBuf>,
}

impl DataArgs {
    fn home(&self) -> Home {
        Home::new(self.data.clone(), self.root_key_file.clone(), clock(), random())
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn random() -> Arc<dyn Random> {
    Arc::new(OsRandom)
}

/// An instant that names a state: none that is still to come.
fn past(at: Moment) -> anyhow::Result<Moment> {
    anyhow::ensure!(at <= clock().now(), "--at {at}: lies in the future");
    Ok(at)
}

/// Shows on stderr what goes wrong on the way: that another copy of the log is read, or what was repaired.
fn show_warnings() {
    let shown = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    // Set once; whoever set it before shows them too.
    drop(shown.without_time().with_target(false).try_init());
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

impl Cli {
    /// Carries the verb out. Exit codes: 0 done, 1 failed, 2 (by the parser) called wrongly.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.verb {
            Verb::Serve(serve) => serve.run().await,
            Verb::Init(init) => init.run().await,
            Verb::Replay(replay) => replay.run().await,
            Verb::Restore(restore) => restore.run().await,
            Verb::Doctor(doctor) => doctor.run().await,
            Verb::Backup(backup) => backup.run().await,
            Verb::Openapi(openapi) => openapi.run(),
            Verb::Completions(completions) => completions.run(),
            Verb::Undo(undo) => undo.run().await,
            Verb::Recover(recover) => recover.run().await,
            Verb::Further(further) => further.run().await,
        }
    }
}

/// Prints names and values, one per line or as one JSON object.
fn print(output: Output, fields: &[(&str, serde_json::Value)]) {
    if output == Output::Json {
        let object: serde_json::Map<String, serde_json::Value> = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        println!("{}", serde_json::Value::Object(object));
        return;
    }
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in fields {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        println!("{:width$}  {text}", name.replace('_', " "));
    }
}

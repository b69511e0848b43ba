//! `keyledger backup`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{DataArgs, Output, print};
use crate::kernel::Position;
use crate::server::backup::{self, Fate, Manifest};
use crate::server::{Home, Step};

#[derive(Args)]
pub(super) struct Backup {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a backup in a directory of its own below another one. A server may run beside it.
    Create(Create),
    /// List the backups below a directory, the newest first. Needs no key.
    List(List),
    /// Rehearse a restore from a backup in a scratch directory, compare what comes out, and remove it again.
    Verify(Verify),
    /// Destroy in backups what was shredded in the vault since they were made. A server does so by itself where it makes them; this is for those
    /// that lie elsewhere. A server may run beside it.
    Shred(Shred),
}

#[derive(Args)]
struct Create {
    #[command(flatten)]
    data: DataArgs,
    /// Where backups lie; what an earlier one there holds already takes no further room.
    #[arg(long, env = "KEYLEDGER_BACKUP_TO", value_name = "DIR")]
    to: PathBuf,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Args)]
struct List {
    /// Where backups lie.
    #[arg(long = "in", env = "KEYLEDGER_BACKUP_TO", value_name = "DIR")]
    folder: PathBuf,
    /// How to print the answer: as lines, or as one JSON object a line.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Args)]
struct Verify {
    /// The backup.
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// The root key file of the vault.
    #[arg(long, env = "KEYLEDGER_ROOT_KEY_FILE", value_name = "FILE", help = "The root key file [default: $XDG_CONFIG_HOME/keyledger/<vault id>.key]")]
    root_key_file: Option<PathBuf>,
    /// Rehearse in this directory, and not beside the backup.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Record the proof as an event of the vault in this data directory, which nobody may be serving: a server records its own rehearsals.
    #[arg(long, value_name = "DATA")]
    record: Option<PathBuf>,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Args)]
struct Shred {
    #[command(flatten)]
    data: DataArgs,
    /// A backup, or a directory with backups in it.
    #[arg(value_name = "DIR")]
    below: PathBuf,
    /// How to print the answer: as lines, or as one JSON object a line.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// A progress bar that names each step of a restore.
pub(super) fn shown() -> anyhow::Result<(ProgressBar, impl Fn(Step, Position, Position) + Sync)> {
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template("{msg:8} {bar:40} {pos}/{len} events  {per_sec}")?);
    let told = bar.clone();
    let show = move |step: Step, at: Position, end: Position| {
        let word = match step {
            Step::Folding => "folding",
            Step::Copying => "copying",
            Step::Checking => "checking",
        };
        if told.message() != word {
            told.reset();
            told.set_message(word);
        }
        told.set_length(end.0);
        told.set_position(at.0);
    };
    Ok((bar, show))
}

fn fields(manifest: &Manifest) -> Vec<(&'static str, Value)> {
    vec![
        ("made_at", json!(manifest.made_at)),
        ("vault", json!(manifest.vault)),
        ("epoch", json!(manifest.epoch.number)),
        ("position", json!(manifest.position)),
        ("records", json!(manifest.records)),
        ("merkle_root", json!(manifest.merkle_root)),
        ("fold_version", json!(manifest.fold_version)),
        ("state_hash", json!(manifest.state_hash)),
        ("files", json!(manifest.files.len())),
        ("bytes", json!(manifest.bytes())),
        ("shredded_through", json!(manifest.shredded.as_ref().map(|shredded| shredded.through))),
    ]
}

impl Backup {
    pub async fn run(self) -> anyhow::Result<()> {
        match self.verb {
            Verb::Create(create) => create.run().await,
            Verb::List(list) => list.run(),
            Verb::Verify(verify) => verify.run().await,
            Verb::Shred(shred) => shred.run().await,
        }
    }
}

impl Create {
    async fn run(self) -> anyhow::Result<()> {
        super::show_warnings();
        let (bar, show) = shown()?;
        let home = self.data.home();
        let made = home.back_up(&self.to, None, &show).await?;
        bar.finish_and_clear();
        let fates = home.shred_own_backups(&self.to).await?;
        let count = |is_meant: fn(&Fate) -> bool| fates.iter().filter(|(_, fate)| is_meant(fate)).count();
        let remembering = count(|fate| matches!(fate, Fate::Remembers(_)));
        let mut all = vec![("backup", json!(made.folder))];
        all.extend(fields(&made.manifest));
        all.push(("segments_that_take_no_room", json!(made.linked)));
        all.push(("backups_that_forgot", json!(count(|fate| matches!(fate, Fate::Forgot(_))))));
        all.push(("backups_that_remember", json!(remembering)));
        print(self.output, &all);
        if remembering > 0 {
            let to = self.to.display();
            eprintln!("What was shredded since may still be in {remembering} of the backups there; `keyledger backup shred {to}` says why.");
        }
        if self.output == Output::Table {
            println!("\nThe root key file is not in it: keep a copy of that elsewhere. To see that it can be restored:\n");
            println!("  keyledger backup verify {}\n", made.folder.display());
        }
        Ok(())
    }
}

impl Shred {
    async fn run(self) -> anyhow::Result<()> {
        super::show_warnings();
        let fates = self.data.home().shred_backups(&self.below, &|_, _| ()).await?;
        let mut remembering = 0;
        for (path, fate) in &fates {
            let (word, keys, problem) = match fate {
                Fate::Current => ("current", 0, None),
                Fate::Forgot(keys) => ("forgot", *keys, None),
                Fate::Remembers(error) => ("remembers", 0, Some(error.to_string())),
            };
            remembering += usize::from(problem.is_some());
            match (self.output, &problem) {
                (Output::Json, _) => print(self.output, &[("backup", json!(path)), ("fate", json!(word)), ("keys", json!(keys)), ("problem", json!(problem))]),
                (Output::Table, Some(problem)) => println!("{}  not changed: {problem}", path.display()),
                (Output::Table, None) if keys == 0 => println!("{}  nothing was shredded that it did not know of", path.display()),
                (Output::Table, None) => println!("{}  has forgotten what {keys} keys opened", path.display()),
            }
        }
        if fates.is_empty() && self.output == Output::Table {
            println!("No backup of this vault lies there.");
        }
        anyhow::ensure!(remembering == 0, "what was shredded since may still be in {remembering} backups");
        Ok(())
    }
}

impl List {
    fn run(self) -> anyhow::Result<()> {
        for (path, manifest) in backup::list(&self.folder)? {
            let mut all = vec![("backup", json!(path))];
            match &manifest {
                Ok(manifest) => all.extend(fields(manifest)),
                Err(error) => all.push(("problem", json!(error.to_string()))),
            }
            match (self.output, &manifest) {
                (Output::Json, _) => print(self.output, &all),
                (Output::Table, Ok(manifest)) => println!("{}  position {}  {} bytes", path.display(), manifest.position, manifest.bytes()),
                (Output::Table, Err(error)) => println!("{}  unusable: {error}", path.display()),
            }
        }
        Ok(())
    }
}

impl Verify {
    async fn run(self) -> anyhow::Result<()> {
        let home = Home::new(self.backup.clone(), self.root_key_file.clone(), super::clock(), super::random());
        let (bar, show) = shown()?;
        let proof = home.verify_backup(self.scratch.as_deref(), &show).await?;
        bar.finish_and_clear();
        if let Some(data) = &self.record {
            let (vault, _lock) = home.of(data.clone()).start().await?;
            anyhow::ensure!(vault.keyring().vault() == proof.manifest.vault, "{} holds another vault than the one of the backup", data.display());
            vault.record_verified(|| proof.event()).await?;
            vault.shutdown().await;
        }
        let mut all = vec![("backup", json!(self.backup))];
        all.extend(fields(&proof.manifest));
        let skipped = proof.restored.skipped.unwrap_or(0);
        all.extend([("keys_shredded_since", json!(proof.restored.shredded_since)), ("skipped_streams", json!(proof.restored.skipped))]);
        all.push(("recorded", json!(self.record.is_some())));
        print(self.output, &all);
        if self.output == Output::Table {
            let but = if skipped == 0 { String::new() } else { format!(", but for {skipped} streams that were shredded since and were skipped") };
            println!("\nA restore was rehearsed: root and state are those that the vault had at that position{but}. The scratch directory is removed.");
        }
        Ok(())
    }
}

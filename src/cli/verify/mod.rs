//! `keyledger audit verify`: whether a log is what was said of it, on a server, in a data directory or in an exported file. No key of the vault is
//! needed but the log's public one.

mod data;
mod file;
mod key;
mod server;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::remote::Connect;
use super::{Output, print};
use crate::log::{Bad, Whole};
use key::Known;

/// Check that the log was not changed: on a server, in a data directory, or in an exported file
#[derive(Args)]
pub(super) struct Verify {
    #[command(flatten)]
    connect: Connect,
    /// Check a data directory in place of a server. Its root key is not needed, and a server may run on it.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["file", "since"])]
    data: Option<PathBuf>,
    /// Check an exported file in place of a server.
    #[arg(long, value_name = "FILE", requires = "checkpoint", conflicts_with = "since")]
    file: Option<PathBuf>,
    /// The checkpoint to compare with, as `GET /v1/log/checkpoint` gave it: a server's must be consistent with it; of a data directory, the one that
    /// lies in it is taken as well.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// A file of anchors to compare with, as `serve --anchor-file` writes it.
    #[arg(long, value_name = "FILE", requires = "data")]
    anchor_file: Option<PathBuf>,
    /// The log's public key, as `GET /v1/log/key` gives it, or a file that holds it. Without it, the one that was seen first is pinned to a file.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Where the key is pinned.
    #[arg(long, value_name = "FILE", help = "Where the key is pinned [default: $XDG_CONFIG_HOME/keyledger/<vault id>.log-key]")]
    pin: Option<PathBuf>,
    /// The last checkpoint that was seen: the server's must be consistent with it, and takes its place.
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
    /// Leaf hashes that are kept, one a line in hex: from a server, new ones are added after all of them were checked; of a data directory, they tell
    /// which record was changed.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    leaves: Option<PathBuf>,
}

/// What was checked, to be printed.
struct Report {
    fields: Vec<(&'static str, Value)>,
}

/// What is wrong, with the line of a file where it stands in one.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("{}{bad}", line.map(|line| format!("line {line}: ")).unwrap_or_default())]
    Bad { line: Option<u64>, bad: Bad },
    /// Not a place in the log: a signature, a proof.
    #[error("{0}")]
    Whole(String),
}

/// Why there is no report.
enum Failed {
    /// The log is not what was said of it.
    Wrong(Wrong),
    /// It could not be checked.
    Error(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

fn wrong(text: impl Into<String>) -> Failed {
    Failed::Wrong(Wrong::Whole(text.into()))
}

fn bad(bad: Bad) -> Failed {
    Failed::Wrong(Wrong::Bad { line: None, bad })
}

impl Verify {
    pub async fn run(self) -> anyhow::Result<()> {
        let started = Instant::now();
        let output = self.connect.output;
        let checked = match (&self.data, &self.file) {
            (Some(data), _) => self.check_data(data).await,
            (None, Some(file)) => self.check_file(file),
            (None, None) => self.check_server().await,
        };
        match checked {
            Ok(mut report) => {
                report.fields.push(("seconds", json!((started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0)));
                report.fields.insert(0, ("ok", json!(true)));
                print(output, &report.fields);
                Ok(())
            }
            Err(Failed::Error(error)) => Err(error),
            Err(Failed::Wrong(wrong)) => {
                if output == Output::Json {
                    print(output, &wrong.fields());
                }
                Err(wrong.into())
            }
        }
    }

    /// The key that the log must be signed with, as far as it is known before anything is read.
    fn known(&self) -> anyhow::Result<Known> {
        Known::new(self.key.as_deref(), self.pin.clone())
    }
}

impl Wrong {
    fn fields(&self) -> Vec<(&'static str, Value)> {
        let mut fields = vec![("ok", json!(false)), ("problem", json!(self.to_string()))];
        if let Self::Bad { line, bad } = self {
            fields.extend([("position", json!(bad.position)), ("leaf", json!(bad.leaf)), ("from", json!(bad.from)), ("line", json!(line))]);
        }
        fields
    }
}

impl Report {
    fn of(whole: &Whole) -> Self {
        let fields = vec![
            ("events", json!(whole.events)),
            ("size", json!(whole.size)),
            ("root", json!(base16ct::lower::encode_string(&whole.root))),
            ("position", json!(whole.head)),
            ("epoch", json!(whole.epoch.map(|epoch| epoch.number))),
            ("signed_through", json!(whole.told)),
        ];
        Self { fields }
    }
}

/// Nothing that is signed can be looked at without the key.
fn no_key() -> anyhow::Error {
    anyhow::anyhow!("the log's public key is needed\nnext: give --key, as `GET /v1/log/key` shows it")
}

fn progress(length: u64) -> anyhow::Result<ProgressBar> {
    Ok(ProgressBar::new(length).with_style(ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}")?))
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Leaf hashes that were kept; none where there is no file yet.
fn read_leaves(path: &Path) -> anyhow::Result<Vec<[u8; 32]>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let hash = |(line, text): (usize, &str)| {
        let mut hash = [0; 32];
        let read = base16ct::lower::decode(text, &mut hash).map(<[u8]>::len);
        anyhow::ensure!(read == Ok(32), "line {} of {} is no leaf hash", line + 1, path.display());
        Ok(hash)
    };
    read(path)?.lines().enumerate().map(hash).collect()
}

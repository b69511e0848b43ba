//! `keyledger doctor`

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::{DataArgs, Output, print};
use crate::jobs::AnchorFile;
use crate::log::copies::{Depth, LOG, Need, Refusal, Side, Span};
use crate::log::segment::FOLDER;
use crate::server::{Examined, Finding};

#[derive(Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    data: DataArgs,
    /// Make the copy of the log that is damaged or missing anew from the other one; the damaged one is kept aside, and an event tells of it.
    #[arg(long, conflicts_with = "accept_loss")]
    repair: bool,
    /// Go on although the end of the log is lost in both copies: what is left is kept, and an event says what is missing.
    #[arg(long)]
    accept_loss: bool,
    /// Compare the log with this file of anchors as well, as `serve --anchor-file` does at its start.
    #[arg(long, env = "KEYLEDGER_ANCHOR_FILE", value_name = "FILE")]
    anchor_file: Option<PathBuf>,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Doctor {
    pub async fn run(self) -> anyhow::Result<()> {
        super::show_warnings();
        if let Some(file) = &self.anchor_file {
            anyhow::ensure!(file.exists(), "cannot read {}: there is no such file", file.display());
        }
        let home = self.data.home().anchored(self.anchor_file.clone().map(AnchorFile::at));
        if self.repair {
            let (vault, _lock) = home.start_after(Depth::Whole).await?;
            vault.shutdown().await;
        }
        if self.accept_loss {
            let accepted = home.accept_loss().await?;
            eprintln!("accepted: positions {} to {} are lost ({})", accepted.from, accepted.through, accepted.cause);
        }
        let examined = home.examine().await?;
        print(self.output, &self.fields(&examined));
        match examined.finding() {
            Finding::Whole | Finding::Level => match (&self.anchor_file, examined.anchors, &examined.unsigned) {
                (Some(file), _, Some(cause)) => anyhow::bail!("{} was not compared: {cause}", file.display()),
                (Some(file), Some(0), None) => anyhow::bail!("{} holds no anchor of this vault", file.display()),
                _ => Ok(()),
            },
            Finding::Repair => anyhow::bail!("a copy of the log is damaged; the other one has all of it"),
            Finding::Unexplained => anyhow::bail!("{}", examined.unexplained),
            Finding::Shortened | Finding::Refused => match examined.survey.refusal {
                Some(refusal) => Err(refusal.into()),
                None => Ok(()),
            },
        }
    }

    fn fields(&self, examined: &Examined) -> Vec<(&'static str, Value)> {
        let survey = &examined.survey;
        let mut fields = vec![
            ("data", json!(self.data.data)),
            ("vault_id", json!(examined.vault.to_string())),
            ("served", json!(examined.served)),
            ("position", json!(survey.head)),
            ("recorded_at", json!(survey.recorded_at)),
            ("records", json!(survey.tree.size())),
            ("merkle_root", json!(base16ct::lower::encode_string(&survey.tree.root()))),
        ];
        match self.output {
            Output::Json => fields.extend([("log_db", side(&survey.log)), ("segments", side(&survey.segments))]),
            Output::Table => fields.extend([(LOG, json!(told(&survey.log))), (FOLDER, json!(told(&survey.segments)))]),
        }
        if let Some(refusal) = &survey.refusal {
            fields.push(("refused", json!(refusal.to_string())));
            fields.extend(missing(refusal).map(|missing| ("missing", missing)));
        }
        if let Some(cause) = &examined.unsigned {
            fields.push(("checkpoints", json!(format!("not compared: {cause}"))));
        }
        fields.extend(examined.anchors.map(|anchors| ("anchors", json!(anchors))));
        if !examined.unexplained.is_empty() {
            fields.push(("keys", json!(examined.unexplained.to_string())));
        }
        fields.push(("a_start_would", json!(a_start_would(examined))));
        fields.extend(self.next(examined).map(|next| ("next", json!(next))));
        fields
    }

    fn next(&self, examined: &Examined) -> Option<String> {
        let anchors = self.anchor_file.as_ref().map_or_else(String::new, |file| format!("--anchor-file {} ", file.display()));
        let doctor = |flag: &str| format!("keyledger doctor --data {} {anchors}{flag}", self.data.data.display());
        match (examined.finding(), &examined.survey.refusal) {
            (Finding::Whole | Finding::Level, _) => None,
            (Finding::Repair, _) if examined.served => Some(format!("stop the server, then {}", doctor("--repair"))),
            (Finding::Repair, _) => Some(doctor("--repair")),
            (Finding::Unexplained, _) => Some(format!(
                "put back the newest {LOG} and {FOLDER}, which tell of these shreds, or go on without what they hold: {}",
                doctor("--accept-loss")
            )),
            (Finding::Shortened, _) => Some(format!("put back what holds the missing positions, or go on without: {}", doctor("--accept-loss"))),
            (Finding::Refused, Some(Refusal::Fork(_))) => Some(format!(
                "move the copy that is of another history out of the data directory ({LOG} with its -wal, or {FOLDER}), then {}",
                doctor("--repair")
            )),
            (Finding::Refused, _) => Some("restore the vault from elsewhere: what is missing is in neither copy".into()),
        }
    }
}

/// One copy, in a sentence.
fn told(side: &Side) -> String {
    let cause = side.cause.as_ref().map_or_else(String::new, |cause| format!(": {cause}"));
    let lacks: Vec<String> = side.lacks.iter().map(|span| format!("{} to {}", span.from, span.through)).collect();
    let lacks = if lacks.is_empty() { String::new() } else { format!("; it lacks positions {}", lacks.join(", ")) };
    match (side.present, side.need) {
        (false, _) => format!("missing{lacks}"),
        (true, Need::Nothing) => format!("whole, through position {}", side.last),
        (true, Need::Level) => format!("whole through position {}, the last block is not whole{cause}{lacks}", side.last),
        (true, Need::Repair) => format!("damaged{cause}{lacks}"),
    }
}

fn side(side: &Side) -> Value {
    let state = match (side.present, side.need) {
        (false, _) => "missing",
        (true, Need::Nothing) => "whole",
        (true, Need::Level) => "behind",
        (true, Need::Repair) => "damaged",
    };
    let lacks: Vec<Value> = side.lacks.iter().map(span).collect();
    json!({"state": state, "last": side.last, "lacks": lacks, "cause": side.cause})
}

fn span(span: &Span) -> Value {
    json!({"from": span.from, "through": span.through, "cause": span.cause})
}

fn missing(refusal: &Refusal) -> Option<Value> {
    match refusal {
        Refusal::Lost(spans) => Some(json!(spans.iter().map(span).collect::<Vec<_>>())),
        Refusal::Shortened(lost) => Some(json!([span(lost)])),
        Refusal::Fork(_) | Refusal::Contradicted(_) => None,
    }
}

fn a_start_would(examined: &Examined) -> String {
    let survey = &examined.survey;
    let anew = |side: &Side, name: &str| (side.need == Need::Repair).then(|| format!("make {name} anew from the other copy"));
    match examined.finding() {
        Finding::Whole => "serve".into(),
        Finding::Level if examined.served => "serve; a block is being written".into(),
        Finding::Level => "make up for the last block from the other copy, and serve".into(),
        Finding::Repair => {
            let made: Vec<String> = [anew(&survey.log, LOG), anew(&survey.segments, FOLDER)].into_iter().flatten().collect();
            format!("{}, and serve", made.join(", "))
        }
        Finding::Shortened | Finding::Refused if examined.readable => "serve what is there for reading only: nothing is changed, no write is taken".into(),
        Finding::Shortened | Finding::Refused | Finding::Unexplained => "refuse: nothing is changed".into(),
    }
}

//! `keyledger undo` and `keyledger recover`: a preview, and then, if it is wanted, exactly what the preview showed.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{ArgGroup, Args};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::client::{Call, Client, Connect, Failure};
use super::show::plain;
use crate::cli::Output;

/// How long a recovery may take: as long as the server gives it.
const RECOVERY: Duration = Duration::from_secs(900);
/// How often its progress is looked at.
const LOOK: Duration = Duration::from_millis(400);

/// Take back what an event did, with all that was done in the same step. Shows what that means, and asks before it is done.
#[derive(Args)]
pub(in crate::cli) struct Undo {
    /// The event's position, as `keyledger history` and `GET /v1/events` show it.
    event: u64,
    /// Only what this event did, and not those that came with it.
    #[arg(long)]
    alone: bool,
    #[command(flatten)]
    how: How,
    /// Only show what would be done.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do it without asking.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    connect: Connect,
}

/// Put things back to a moment, in the vault that runs; later changes to other things stay.
#[derive(Args)]
#[command(group = ArgGroup::new("mode").args(["dry_run", "apply"]).required(true))]
pub(in crate::cli) struct Recover {
    /// To the state at this position, or just before this instant, such as 2026-05-04T14:05:00Z.
    #[arg(long, value_name = "POSITION|INSTANT")]
    to: String,
    /// Things of this tenant [default: one's own]; `*` for the whole vault.
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Only things of this kind, such as `connection`, `api_key` or `user`.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// A consumer and its connections only.
    #[arg(long, value_name = "APP/CONSUMER")]
    consumer: Option<String>,
    /// Only this thing.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    how: How,
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Do it.
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Args)]
struct How {
    /// Let secrets work again that were ended on purpose (revoked, rotated away); needs the permission `secrets:revive`.
    #[arg(long)]
    revive: bool,
    /// Why; it stands in the events.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Undo {
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.connect, false)?;
        let asked = json!({"event": self.event, "alone": self.alone, "revive": self.how.revive});
        let plan = post(&client, &["undo", "preview"], &asked, None).await.map_err(told)?;
        if self.dry_run || !self.yes {
            show_plan(self.connect.output, &plan, self.dry_run)?;
        }
        if self.dry_run {
            return Ok(());
        }
        if acts(&plan) == 0 {
            if self.yes {
                show_plan(Output::Table, &plan, false)?;
            }
            bail!("there is nothing to undo\nnext: the lines above say why");
        }
        if !self.yes && !confirmed()? {
            bail!("nothing was done");
        }
        let done = post(&client, &["undo", "apply"], &order(asked, &plan, self.how.reason.as_deref()), None).await.map_err(told)?;
        show_done(self.connect.output, &done, "undone")
    }
}

impl Recover {
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.connect, false)?;
        let asked = json!({
            "to": self.to, "revive": self.how.revive, "tenant": self.tenant, "kind": self.kind, "consumer": self.consumer, "id": self.id
        });
        let plan = post(&client, &["recovery", "preview"], &asked, None).await.map_err(told)?;
        if self.dry_run {
            return show_plan(self.connect.output, &plan, true);
        }
        let things = acts(&plan);
        if things == 0 {
            eprintln!("nothing differs that could be put back");
            return Ok(());
        }
        let bar = ProgressBar::new(things).with_style(ProgressStyle::with_template("recovering {bar:40} {pos}/{len} things  {per_sec}")?);
        let order = order(asked, &plan, self.how.reason.as_deref());
        let (done, looks) = (post(&client, &["recovery", "apply"], &order, Some(RECOVERY)), follow(&client, &bar));
        let done = tokio::select! {
            done = done => done.map_err(told)?,
            () = looks => bail!("the progress ended before the answer"),
        };
        bar.finish_and_clear();
        show_done(self.connect.output, &done, "recovered")
    }
}

fn order(mut asked: Value, plan: &Value, reason: Option<&str>) -> Value {
    if let Some(members) = asked.as_object_mut() {
        members.insert("plan".into(), of(plan, "plan").clone());
        members.insert("reason".into(), json!(reason));
    }
    asked
}

/// A member of an answer; null where it has none.
fn of<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    of(value, name).as_array().into_iter().flatten()
}

async fn post(client: &Client, path: &[&str], body: &Value, within: Option<Duration>) -> Result<Value, Failure> {
    let body = Zeroizing::new(body.to_string().into_bytes());
    let call = Call { method: "POST", path: path.to_vec(), body: Some(("application/json", body)), within, ..Call::default() };
    let answer = client.send(&call).await?;
    Ok(serde_json::from_slice(&answer).unwrap_or_default())
}

/// Moves the bar while a recovery runs; never ends by itself.
async fn follow(client: &Client, bar: &ProgressBar) {
    loop {
        tokio::time::sleep(LOOK).await;
        let call = Call { method: "GET", path: vec!["recoveries"], query: vec![("limit", "200".into())], repeatable: true, ..Call::default() };
        let Ok(answer) = client.send(&call).await else { continue };
        let page: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let running = items(&page, "data").find_map(|one| of(one, "done").as_u64());
        if let Some(done) = running {
            bar.set_position(done);
        }
    }
}

/// What to do next about a failure.
fn told(failure: Failure) -> anyhow::Error {
    let next = match (failure.status, failure.kind.as_str()) {
        (409, "stale-plan") => Some("run it again: it looks anew, and shows what it would do now"),
        (403, _) => Some("`keyledger whoami` shows what your token permits"),
        (404, "not-found") => Some("`keyledger history ID` shows a thing's events; GET /v1/events shows all"),
        _ => None,
    };
    match next {
        Some(next) => anyhow::anyhow!("{failure}\nnext: {next}"),
        None => failure.into(),
    }
}

fn acts(plan: &Value) -> u64 {
    of(plan, "reverts").as_u64().unwrap_or(0) + of(plan, "deletes").as_u64().unwrap_or(0)
}

fn confirmed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nothing was done: there is no terminal to ask on\nnext: give --yes to do it, or --dry-run to look only");
    }
    eprint!("Do it? [y/N] ");
    std::io::stderr().flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("the terminal gives no answer")?;
    Ok(["y", "yes"].contains(&line.trim().to_lowercase().as_str()))
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => plain(text),
        Value::Object(members) if members.contains_key("fingerprint") => {
            let part = |name: &str| members.get(name).map(|value| plain(value.as_str().unwrap_or(&value.to_string()))).unwrap_or_default();
            format!("version {} ({}…)", part("version"), part("fingerprint").chars().take(8).collect::<String>())
        }
        Value::Object(members) if members.is_empty() => "-".into(),
        Value::Object(members) => members.iter().map(|(name, value)| format!("{} {}", plain(name), text(value))).collect::<Vec<_>>().join(", "),
        Value::Array(items) if items.is_empty() => "-".into(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn show_plan(output: Output, plan: &Value, last: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if output == Output::Json {
        if last {
            writeln!(out, "{plan}")?;
        }
        return Ok(());
    }
    for thing in items(plan, "things") {
        let does = of(thing, "does").as_str().unwrap_or_default();
        let word = if does == "nothing" { "leave" } else { does };
        writeln!(out, "{word:7} {} {}", text(of(thing, "kind")), text(of(thing, "id")))?;
        for change in items(thing, "changes").filter(|_| does == "revert") {
            writeln!(out, "        {}: {} -> {}", text(of(change, "field")), text(of(change, "from")), text(of(change, "to")))?;
        }
        for (name, says) in [
            ("changed_since", "changed again since, and stays"),
            ("revives", "would work again with --revive"),
            ("shredded", "was shredded, and does not come back"),
        ] {
            for item in items(thing, name) {
                writeln!(out, "        {} {says}", text(item))?;
            }
        }
        if let Some(detail) = thing.pointer("/problem/detail").and_then(Value::as_str) {
            writeln!(out, "        because {}", plain(detail))?;
        }
    }
    if of(plan, "next_skip").is_u64() {
        writeln!(out, "… and more; --output json and `skip` show the rest")?;
    }
    writeln!(out, "{} to put back, {} to delete, {} to leave", text(of(plan, "reverts")), text(of(plan, "deletes")), text(of(plan, "stuck")))?;
    Ok(())
}

fn show_done(output: Output, done: &Value, word: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if output == Output::Json {
        writeln!(out, "{done}")?;
        return Ok(());
    }
    writeln!(out, "{word}: {} things, by the events {} to {}", text(of(done, "reverted")), text(of(done, "first")), text(of(done, "last")))?;
    for left in items(done, "left") {
        writeln!(out, "left as it is: {} moved meanwhile", text(left))?;
    }
    writeln!(out, "`keyledger undo {}` takes it back", text(of(done, "first")))?;
    Ok(())
}

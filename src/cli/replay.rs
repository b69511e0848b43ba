//! `keyledger replay`

use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{DataArgs, Output, print};
use crate::kernel::{Moment, Position, TenantId};
use crate::keyring::{Keyring, Purpose};
use crate::seal::merkle::Frontier;
use crate::views::{Opener, Views, catch_up};

#[derive(Args)]
pub(super) struct Replay {
    #[command(flatten)]
    data: DataArgs,
    /// Through this position; a position inside a group rounds down to the group before.
    #[arg(long, value_name = "POSITION", conflicts_with = "at")]
    to: Option<u64>,
    /// Through the last event recorded before this instant, such as 2026-05-04T14:05:00Z.
    #[arg(long, value_name = "INSTANT")]
    at: Option<Moment>,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Replay {
    pub async fn run(self) -> anyhow::Result<()> {
        super::show_warnings();
        let reading = self.data.home().read()?;
        let head = *reading.log.head().borrow();
        let until = match (self.to, self.at) {
            (Some(to), _) if to > head.0 => anyhow::bail!("the log ends at position {head}"),
            (Some(to), _) => Position(to),
            (None, Some(at)) => reading.log.seek(super::past(at)?).await?,
            (None, None) => head,
        };
        let bar = ProgressBar::new(until.0).with_style(ProgressStyle::with_template("{bar:40} {pos}/{len} events  {per_sec}")?);
        let (mut views, mut tree) = (Views::default(), Frontier::default());
        let (opener, started) = (Opener::new(reading.keyring.clone()), Instant::now());
        // What was shredded later is not opened, whatever this copy of the keyring still holds.
        opener.learn(&*reading.log, until).await?;
        catch_up(&mut views, &mut tree, &*reading.log, &opener, until, &|position| bar.set_position(position.0)).await?;
        bar.finish_and_clear();
        let seconds = started.elapsed().as_secs_f64();
        let state = views.state_hash(&reading.keyring.purpose(TenantId::SYSTEM, Purpose::State)?.key)?;
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate, to be read by people")]
        let per_second = (tree.size() as f64 / seconds.max(1e-9)) as u64;
        let fields = [
            ("position", json!(views.position())),
            ("recorded_at", json!(views.recorded_at())),
            ("merkle_root", json!(base16ct::lower::encode_string(&tree.root()))),
            ("fold_version", json!(state.fold_version)),
            ("state_hash", json!(base16ct::lower::encode_string(&state.hash))),
            ("shredded_streams", json!(state.shredded)),
            ("events_per_second", json!(per_second)),
        ];
        print(self.output, &fields);
        Ok(())
    }
}

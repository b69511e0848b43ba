//! The round of all webhooks: each that has something to do gets a task of its own, so that a slow endpoint holds up nobody else.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};

use super::{Line, Webhooks};
use crate::kernel::{Moment, StreamId};

/// The least time between two rounds: what happens meanwhile is told in one.
const PACE: Duration = Duration::from_millis(50);

/// All webhooks of all tenants.
#[derive(Default)]
struct Round {
    resting: HashMap<StreamId, Line>,
    working: JoinSet<Line>,
    at_work: HashMap<Id, StreamId>,
}

impl Webhooks {
    /// Delivers until `stop` becomes true; then what is under way ends, and what came of it is recorded.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let (mut head, mut round) = (self.vault.head(), Round::default());
        loop {
            head.borrow_and_update();
            let due = self.begin(&mut round);
            tokio::select! {
                grown = head.changed() => if grown.is_err() { break },
                Some(done) = round.working.join_next_with_id() => round.rest(done),
                () = sleep(due.map(|due| until(self.vault.now(), due))) => {}
                () = super::super::told(&mut stop) => break,
            }
            tokio::select! {
                () = tokio::time::sleep(PACE) => {}
                () = super::super::told(&mut stop) => break,
            }
        }
        self.stopping.store(true, Ordering::Relaxed);
        while let Some(done) = round.working.join_next_with_id().await {
            round.rest(done);
        }
        for line in round.resting.values_mut() {
            self.record(line).await;
        }
    }

    /// Sets to work whoever has something to do. Gives when the next one will have.
    fn begin(self: &Arc<Self>, round: &mut Round) -> Option<Moment> {
        let (views, now) = (self.vault.views(), self.vault.now());
        let (mut earlier, mut soonest) = (std::mem::take(&mut round.resting), None::<Moment>);
        let busy: HashSet<StreamId> = round.at_work.values().copied().collect();
        // Lines of webhooks that are gone end here.
        for (tenant, id) in views.webhooks().filter(|(_, id)| !busy.contains(id)) {
            let (known, target) = (earlier.remove(&id), self.target(&views, id));
            let (line, due) = match (known, target.as_ref().and_then(|target| Some((target, target.live()?)))) {
                (known, Some((target, webhook))) => {
                    let mut line = known.unwrap_or_else(|| Line::new(id, tenant, target.0.version, webhook, now));
                    line.sync(target.0.version, webhook);
                    let due = line.due(now, views.connections_last(tenant), views.position());
                    (line, due)
                }
                // It may be told nothing now, but what was sent before is recorded.
                (Some(line), None) => (line, None),
                (None, None) => continue,
            };
            let due = [due, line.record_due()].into_iter().flatten().min();
            if due.is_some_and(|due| due <= now) {
                self.set_to_work(round, line);
            } else {
                soonest = [soonest, due].into_iter().flatten().min();
                round.resting.insert(id, line);
            }
        }
        soonest
    }

    fn set_to_work(self: &Arc<Self>, round: &mut Round, mut line: Line) {
        let (webhooks, id) = (Arc::clone(self), line.id);
        let task = round.working.spawn(async move {
            // It is never closed.
            let _turn = webhooks.turns.acquire().await;
            webhooks.deliver_due(&mut line).await;
            if line.record_due().is_some_and(|due| due <= webhooks.vault.now()) {
                webhooks.record(&mut line).await;
            }
            line
        });
        round.at_work.insert(task.id(), id);
    }
}

impl Round {
    fn rest(&mut self, done: Result<(Id, Line), JoinError>) {
        match done {
            Ok((task, line)) => {
                self.at_work.remove(&task);
                self.resting.insert(line.id, line);
            }
            Err(error) => {
                tracing::error!(%error, "the delivery of a webhook has failed; it goes on from what is recorded");
                self.at_work.remove(&error.id());
            }
        }
    }
}

/// From now until then.
fn until(now: Moment, due: Moment) -> Duration {
    Duration::from_millis(u64::try_from(due.millis() - now.millis()).unwrap_or(0))
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

//! Random commands over all kinds from one seed, with undos, recoveries, shreds, rotations of keys, restarts and restores between them. After each
//! step: what is live is what the log says, the past is what it was, an undo of an undo changes nothing, and a recovery leaves nothing that differs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use keyledger::credentials::content::{differences, same};
use keyledger::credentials::recovery::Selection;
use keyledger::credentials::vault::SecretAt;
use keyledger::credentials::{AnyState, Meta};
use keyledger::kernel::*;
use keyledger::keyring::Purpose;
use keyledger::seal::derive;
use keyledger::seal::merkle::Frontier;
use keyledger::vault::compensation::{Applied, Planned, Problem, Step};
use keyledger::vault::{Command, Confirmed, Rotation, Target, Vault, VaultError};
use keyledger::views::{Views, catch_up};

use crate::simulation_bench::HomeBench;
use crate::simulation_steps::{Dice, command};

/// Unless `KEYLEDGER_STEPS` says otherwise, in each run.
const STEPS: u64 = 1_000;
/// Unless `KEYLEDGER_RUNS` says otherwise.
const RUNS: u64 = 10;
/// Of the first run, unless `KEYLEDGER_SEED` says otherwise: always the same, so that a failure is never by chance.
const SEED: u64 = 1;
/// So many of the past views are kept to be compared with a look back.
const NOTED: usize = 200;

struct Simulation {
    bench: HomeBench,
    dice: Dice,
    replayed: (Views, Frontier),
    noted: Vec<Arc<Views>>,
    done: BTreeMap<&'static str, u64>,
    step: u64,
}

fn same_things(one: &Views, other: &Views, streams: &BTreeSet<StreamId>) -> Vec<StreamId> {
    let state = |views: &Views, id| views.thing(id).map_or(AnyState::Absent, |entry| entry.state.clone());
    streams.iter().copied().filter(|id| !same(&state(one, *id), &state(other, *id)).unwrap()).collect()
}

impl Simulation {
    async fn new(seed: u64) -> Self {
        Self {
            bench: HomeBench::new(seed).await,
            dice: Dice::new(seed),
            replayed: (Views::default(), Frontier::default()),
            noted: Vec::new(),
            done: BTreeMap::new(),
            step: 0,
        }
    }

    fn vault(&self) -> &Arc<Vault> {
        self.bench.vault()
    }

    fn count(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    async fn step(&mut self) {
        self.step += 1;
        let millis = 1 + self.dice.below(5_000);
        self.bench.clock.pass(i64::try_from(millis).unwrap());
        match self.dice.below(100) {
            0..=65 => match command(&self.bench, &mut self.dice).await {
                Ok(what) => self.count(what),
                Err(VaultError::Refused(_)) => self.count("refused"),
                Err(error) => panic!("step {}: {error}", self.step),
            },
            66..=80 => self.undo().await,
            81..=87 => self.recover().await,
            88..=90 => self.shred().await,
            91 | 92 => self.shred_whole().await,
            93..=95 => self.days().await,
            96 | 97 => self.restart().await,
            98 => self.rotate().await,
            _ => self.restore().await,
        }
        self.check().await;
    }

    /// Of things that stand as planned, none differs; the others have a reason.
    fn as_planned(&self, planned: &Planned, applied: &Applied) {
        let views = self.vault().views();
        for step in planned.acting().filter(|step| !applied.left.contains(&step.stream)) {
            let state = views.thing(step.stream).unwrap();
            assert_eq!(state.state.is_live(), step.does() == "revert" && !is_absent(&state.state), "step {}: {step:?}", self.step);
        }
    }

    async fn apply(&mut self, planned: &Planned) -> Applied {
        let command = Command { principal: &self.bench.owner, meta: Meta::default(), idempotency: None };
        let applied = self.vault().apply(&command, planned).await;
        let applied = applied.unwrap_or_else(|error| panic!("step {}: {error}: {planned:?}", self.step));
        self.as_planned(planned, &applied);
        applied
    }

    async fn plan(&mut self, position: Position, alone: bool) -> Option<Planned> {
        match self.vault().plan_undo(&self.bench.owner, position, alone, true).await {
            Ok(planned) => Some(planned),
            Err(VaultError::Refused(Refusal::NotFound)) => None,
            Err(error) => panic!("step {}: undo of {position}: {error}", self.step),
        }
    }

    async fn undo(&mut self) {
        let head = self.vault().views().position().0;
        // Mostly of what is new: of old events little can be taken back.
        let back = if self.dice.below(3) == 0 { head } else { 40 };
        // What the vault began with is put back by its next start.
        let position = Position(head.saturating_sub(self.dice.below(back)).max(self.bench.begun.0 + 1));
        let alone = self.dice.below(2) == 0;
        let before = self.vault().views();
        let Some(planned) = self.plan(position, alone).await else { return self.count("undo of what is not ours") };
        if planned.acting().next().is_none() {
            return self.count("undo of nothing");
        }
        let applied = self.apply(&planned).await;
        assert!(applied.left.is_empty());
        self.count("undo");
        let (first, _) = applied.events.unwrap();
        let record = self.vault().log().fetch(&[first]).await.unwrap().remove(0);
        assert_eq!(record.header().causation, position, "what is undone is the cause");
        let touched: BTreeSet<StreamId> = planned.acting().map(|step| step.stream).collect();
        if planned.acting().any(|step| !step.gone.is_empty()) {
            return;
        }
        // An undo of the undo leads back, secrets included.
        let again = self.plan(first, false).await.unwrap();
        if again.steps.iter().any(|step| step.problem == Some(Problem::Shredded) || !step.gone.is_empty()) {
            return self.count("undo of what a shred took");
        }
        let sessions = |step: &Step| matches!(before.thing(step.stream).map(|entry| &entry.state), Some(AnyState::Session(_)));
        if again.steps.iter().any(|step| step.problem.is_some() && !sessions(step)) {
            let stuck: Vec<_> = again.steps.iter().filter(|step| step.problem.is_some()).map(|step| (step.kind, step.stream, &step.problem)).collect();
            let done: Vec<_> = planned.steps.iter().map(|step| (step.kind, step.stream, step.does(), &step.problem)).collect();
            panic!("step {}: the undo of {position} cannot be undone: {stuck:?} of {done:?}", self.step);
        }
        self.apply(&again).await;
        self.count("undo of an undo");
        let after = self.vault().views();
        let touched = touched.into_iter().filter(|id| !matches!(before.thing(*id).map(|entry| &entry.state), Some(AnyState::Session(_)))).collect();
        let differ = same_things(&before, &after, &touched);
        let state = |views: &Views, id| views.thing(id).map_or(AnyState::Absent, |entry| entry.state.clone());
        let told: Vec<_> = differ.into_iter().map(|id| (id, differences(&state(&before, id), &state(&after, id)).unwrap())).collect();
        assert!(told.is_empty(), "step {}: after the undo of the undo of {position} ({alone}) there differ {told:?}", self.step);
    }

    async fn recover(&mut self) {
        let now = self.vault().views();
        let far = self.dice.below(3) == 0;
        let back = self.dice.below(if far { 400 } else { 40 });
        let to = Position(now.position().0.saturating_sub(back).max(self.bench.begun.0));
        let kinds = ["connection", "user", "api_key", "role", "provider_key", "consumer", "webhook"];
        let mut selection = Selection { tenant: Some(self.bench.tenant), ..Selection::default() };
        match self.dice.below(5) {
            0 => {}
            1 => selection.tenant = None,
            2 => selection.kind = Some(self.dice.pick(&kinds).to_string()),
            3 => selection.consumer = Some(("app".into(), self.dice.name("c"))),
            _ => {
                let all: BTreeSet<StreamId> = now.things().map(|(id, _)| *id).collect();
                selection.thing = all.into_iter().nth(usize::try_from(self.dice.below(40)).unwrap());
            }
        }
        let planned = self.vault().plan_recovery(&self.bench.owner, to, &selection, true).await.unwrap().unwrap();
        let applied = self.apply(&planned).await;
        self.count("recovery");
        assert_eq!(applied.left, [], "step {}: {planned:?}", self.step);
        let left = self.vault().plan_recovery(&self.bench.owner, planned_to(&planned), &selection, true).await.unwrap().unwrap();
        let reason =
            |step: &Step| step.problem.is_some() || !step.gone.is_empty() || planned.steps.iter().any(|of| of.stream == step.stream && !of.gone.is_empty());
        let unexplained: Vec<&Step> = left.steps.iter().filter(|step| !reason(step)).collect();
        assert!(
            unexplained.is_empty(),
            "step {}: after the recovery of {selection:?} to {to} there differ {unexplained:?}\n{applied:?}\n{planned:?}",
            self.step
        );
    }

    async fn shred(&mut self) {
        let views = self.vault().views();
        let all: Vec<SecretAt> = views
            .things()
            .flat_map(|(_, entry)| entry.state.secrets().into_iter().map(|secret| SecretAt { position: secret.position, name: secret.name.clone() }))
            .collect();
        if all.is_empty() {
            return;
        }
        let mut all = all;
        all.sort();
        let one = self.dice.pick(&all).clone();
        self.vault().shred(Meta::default(), &[one], "a test").await.unwrap();
        self.count("shred");
    }

    async fn days(&mut self) {
        let days = self.dice.below(9);
        self.bench.clock.pass(i64::try_from(days * 86_400_000).unwrap());
        let gone = self.vault().shred_due().await.unwrap();
        self.count(if gone > 0 { "retention" } else { "days" });
        let views = self.vault().views();
        // What is in use is never taken by retention.
        for (_, entry) in views.things() {
            for secret in entry.state.secrets() {
                assert!(views.retired().all(|((_, position, name), _)| (*position, name) != (secret.position, &secret.name)), "in use and due: {secret:?}");
            }
        }
    }

    /// A thing or a consumer dies, live or not.
    async fn shred_whole(&mut self) {
        let views = self.vault().views();
        let target = if self.dice.below(3) == 0 {
            Target::Consumer { app: "app".into(), consumer: self.dice.name("c") }
        } else {
            let mut all: Vec<StreamId> = views.things().filter(|(_, entry)| entry.tenant == self.bench.tenant).map(|(id, _)| *id).collect();
            all.sort_unstable();
            Target::Thing(*self.dice.pick(&all))
        };
        let (vault, owner) = (self.vault(), &self.bench.owner);
        let preview = match vault.preview_shred(owner, &target).await {
            Ok(preview) => preview,
            Err(VaultError::Refused(_)) => return self.count("refused shred"),
            Err(error) => panic!("step {}: {error}", self.step),
        };
        let confirmed = Confirmed::Preview(preview.id.clone());
        match vault.apply_shred(owner, Meta::default(), &target, "a test", &confirmed).await {
            Ok(done) => assert_eq!(done, preview),
            // Some are in use by others, and stay whole.
            Err(VaultError::Refused(_)) => return self.count("refused shred"),
            Err(error) => panic!("step {}: {error}", self.step),
        }
        let now = self.vault().views();
        for thing in &preview.things {
            assert!(matches!(now.thing(thing.id).unwrap().state, AnyState::Shredded(_)), "step {}: {thing:?}", self.step);
        }
        self.count(if preview.things.iter().any(|thing| thing.live) { "shred of what was in use" } else { "shred of a thing" });
    }

    async fn rotate(&mut self) {
        let what = match self.dice.below(3) {
            0 => Rotation::Root,
            1 => Rotation::Tenant(self.bench.tenant),
            _ => Rotation::Tenant(TenantId::SYSTEM),
        };
        assert_eq!(self.bench.rotate(what).await, Some(Ok(())), "step {}: {what:?}", self.step);
        self.count(if what == Rotation::Root { "root key rotated" } else { "tenant key rotated" });
    }

    /// A restore to a moment gives the state that was noted then, but for what was shredded since. Now and then it is gone on from there.
    async fn restore(&mut self) {
        if self.noted.is_empty() {
            return;
        }
        let then = Arc::clone(self.dice.pick(&self.noted));
        let restored = self.bench.restore(then.position()).await;
        self.count("restore");
        let key = self.bench.key(Purpose::State);
        let seen = self.vault().views_at(then.position()).await.unwrap().unwrap();
        self.is_what_it_was(&seen, &then);
        assert_eq!(restored.state, seen.state_hash(&key).unwrap(), "step {}: restored to {}", self.step, then.position());
        if restored.state.shredded == then.state_hash(&key).unwrap().shredded {
            assert_eq!(restored.state, then.state_hash(&key).unwrap(), "step {}: restored to {}", self.step, then.position());
        } else {
            self.count("restore without what was shredded");
        }
        // What is gone on from is not so far back that nothing is left to work with.
        if self.dice.below(3) > 0 || then.position().0 * 2 < self.vault().views().position().0 {
            return;
        }
        let live = self.vault().views();
        self.bench.move_on().await;
        let now = self.vault().views();
        for (id, entry) in then.things() {
            let (was, is) = (&entry.state, &now.thing(*id).unwrap().state);
            let died = matches!(live.thing(*id).unwrap().state, AnyState::Shredded(_));
            assert_eq!(died, matches!(is, AnyState::Shredded(_)), "step {}: {id}", self.step);
            assert!(died || matches!(is, AnyState::Vault(_)) || was == is, "step {}: {was:?} is {is:?}", self.step);
        }
        self.noted.retain(|noted| noted.position() <= then.position());
        self.replayed = (Views::default(), Frontier::default());
        self.count("gone on from a restore");
    }

    /// What is seen of a moment is what was noted then, but for what was shredded since, of which nothing is left.
    fn is_what_it_was(&self, seen: &Views, then: &Views) {
        let live = self.vault().views();
        let mut has_died = false;
        for (id, entry) in then.things() {
            let (is, now) = (seen.thing(*id).unwrap(), &live.thing(*id).unwrap().state);
            let died = matches!(now, AnyState::Shredded(_));
            has_died |= died && !matches!(entry.state, AnyState::Shredded(_));
            assert!(if died { matches!(is.state, AnyState::Shredded(_)) } else { entry == is }, "step {}: as of {} {id} is {is:?}", self.step, then.position());
        }
        assert_eq!(then.things().count(), seen.things().count());
        assert!(has_died || *seen == *then, "step {}: as of {} it is not what it was", self.step, then.position());
    }

    async fn restart(&mut self) {
        let before = self.vault().views();
        for (_, entry) in before.things() {
            let kept: AnyState = postcard::from_bytes(&entry.state.canonical().unwrap()).unwrap_or_else(|_| panic!("not read again: {:?}", entry.state));
            assert_eq!(kept, entry.state);
        }
        let from_snapshot = self.dice.below(2) == 0;
        self.bench.restart(from_snapshot).await;
        assert!(*self.vault().views() == *before, "step {}: another state after a restart", self.step);
        self.count("restart");
    }

    async fn check(&mut self) {
        let live = self.vault().views();
        assert_eq!(self.vault().failure(), None);
        let (log, opener) = (Arc::clone(self.vault().log()), self.bench.opener());
        let (views, tree) = &mut self.replayed;
        catch_up(views, tree, &*log, &opener, live.position(), &|_| ()).await.unwrap();
        assert!(*views == *live, "step {}: the replay differs from what is live", self.step);
        if self.dice.below(20) == 0 {
            self.names_are_held(&live).await;
        }
        if self.dice.below(40) == 0
            && let Some(then) = (!self.noted.is_empty()).then(|| Arc::clone(self.dice.pick(&self.noted)))
        {
            let seen = self.vault().views_at(then.position()).await.unwrap().unwrap();
            self.is_what_it_was(&seen, &then);
            assert!(*seen == self.bench.replay(then.position()).await, "step {}: as of {} it is not what a replay gives", self.step, then.position());
        }
        if self.noted.len() == NOTED {
            let place = usize::try_from(self.dice.below(NOTED as u64)).unwrap();
            self.noted.remove(place);
        }
        self.noted.push(live);
    }

    /// What is held by name is what the states say, for each thing; nothing else is.
    async fn names_are_held(&self, live: &Views) {
        let vault = self.vault();
        let mut wanted = Vec::new();
        for (id, entry) in live.things() {
            let key = vault.keyring().purpose(entry.tenant, Purpose::Claims).unwrap().key;
            wanted.extend(entry.state.claims().into_iter().map(|claim| (derive::claim(&key, &claim), *id)));
        }
        let held = vault.snapshot().await.unwrap().index;
        for (hash, id) in &wanted {
            assert_eq!(held.claim(hash), Some(*id), "step {}: {id} lost its name", self.step);
        }
        let flights = live.flights().count();
        assert_eq!(held.claims(), wanted.len() + flights, "step {}: names are held that nobody has", self.step);
    }
}

fn is_absent(state: &AnyState) -> bool {
    matches!(state, AnyState::Connector(keyledger::credentials::connector::State::Absent))
}

fn planned_to(planned: &Planned) -> Position {
    match planned.wish {
        keyledger::vault::compensation::Wish::Recover { to, .. } => to,
        keyledger::vault::compensation::Wish::Undo { position, .. } => position,
    }
}

/// One whole run of so many steps; gives how often each thing was done.
async fn run(seed: u64, steps: u64) -> BTreeMap<&'static str, u64> {
    println!("KEYLEDGER_SEED={seed} KEYLEDGER_RUNS=1 KEYLEDGER_STEPS={steps}");
    let mut simulation = Simulation::new(seed).await;
    for _ in 0..steps {
        simulation.step().await;
    }
    simulation.done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_sequence_of_commands_undos_and_recoveries_keeps_every_promise() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (seed, runs, steps) = (number("KEYLEDGER_SEED", SEED), number("KEYLEDGER_RUNS", RUNS), number("KEYLEDGER_STEPS", STEPS));
    // Each run has a seed of its own; its failure names it.
    let runs: Vec<_> = (seed..seed + runs).map(|seed| tokio::spawn(run(seed, steps))).collect();
    let mut done: BTreeMap<&str, u64> = BTreeMap::new();
    for run in runs {
        for (what, count) in run.await.unwrap() {
            *done.entry(what).or_default() += count;
        }
    }
    println!("{done:?}");
    if steps < STEPS {
        return;
    }
    let often = [
        "undo",
        "undo of an undo",
        "recovery",
        "shred",
        "shred of a thing",
        "shred of what was in use",
        "retention",
        "restart",
        "restore",
        "restore without what was shredded",
        "gone on from a restore",
        "root key rotated",
        "tenant key rotated",
        "user made",
        "connection imported",
        "connection exchanged",
        "api key rotated",
    ];
    let never: Vec<_> = often.into_iter().filter(|what| !done.contains_key(what)).collect();
    assert!(never.is_empty(), "never: {never:?}");
}

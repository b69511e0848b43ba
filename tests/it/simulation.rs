//! Random commands over all kinds from one seed, with undos, recoveries, shreds and restarts between them. After each step: what is live is what the
//! log says, the past is what it was, an undo of an undo changes nothing, and a recovery leaves nothing that differs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use keyledger::credentials::content::{differences, same};
use keyledger::credentials::recovery::Selection;
use keyledger::credentials::vault::SecretAt;
use keyledger::credentials::{AnyState, Meta};
use keyledger::kernel::*;
use keyledger::keyring::{Keyring, Purpose};
use keyledger::seal::derive;
use keyledger::seal::merkle::Frontier;
use keyledger::vault::VaultError;
use keyledger::vault::compensation::{Applied, Planned, Problem, Step};
use keyledger::views::{Opener, Snapshot, Views, catch_up};

use crate::simulation_steps::{Dice, command};
use crate::vault_bench::{TENANT, VaultBench};

/// Unless `KEYLEDGER_STEPS` says otherwise.
const STEPS: u64 = 1_000;
/// Unless `KEYLEDGER_SEED` says otherwise: the same in every run, so that a failure is never by chance.
const SEED: u64 = 1;
/// So many of the past views are kept to be compared with a look back.
const NOTED: usize = 200;

struct Simulation {
    bench: Option<VaultBench>,
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
            bench: Some(VaultBench::new().await),
            dice: Dice::new(seed),
            replayed: (Views::default(), Frontier::default()),
            noted: Vec::new(),
            done: BTreeMap::new(),
            step: 0,
        }
    }

    fn bench(&self) -> &VaultBench {
        self.bench.as_ref().unwrap()
    }

    fn count(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    async fn step(&mut self) {
        self.step += 1;
        let millis = 1 + self.dice.below(5_000);
        self.bench().clock.pass(i64::try_from(millis).unwrap());
        match self.dice.below(100) {
            0..=69 => {
                let bench = self.bench.as_ref().unwrap();
                match command(bench, &mut self.dice).await {
                    Ok(what) => self.count(what),
                    Err(VaultError::Refused(_)) => self.count("refused"),
                    Err(error) => panic!("step {}: {error}", self.step),
                }
            }
            70..=84 => self.undo().await,
            85..=91 => self.recover().await,
            92..=94 => self.shred().await,
            95..=97 => self.days().await,
            _ => self.restart().await,
        }
        self.check().await;
    }

    /// Of things that stand as planned, none differs; the others have a reason.
    fn as_planned(&self, planned: &Planned, applied: &Applied) {
        let views = self.bench().vault.views();
        for step in planned.acting().filter(|step| !applied.left.contains(&step.stream)) {
            let state = views.thing(step.stream).unwrap();
            assert_eq!(state.state.is_live(), step.does() == "revert" && !is_absent(&state.state), "step {}: {step:?}", self.step);
        }
    }

    async fn apply(&mut self, planned: &Planned) -> Applied {
        let applied = self.bench().vault.apply(&self.bench().owner, &Meta::default(), planned).await;
        let applied = applied.unwrap_or_else(|error| panic!("step {}: {error}: {planned:?}", self.step));
        self.as_planned(planned, &applied);
        applied
    }

    async fn plan(&mut self, position: Position, alone: bool) -> Option<Planned> {
        match self.bench().vault.plan_undo(&self.bench().owner, position, alone, true).await {
            Ok(planned) => Some(planned),
            Err(VaultError::Refused(Refusal::NotFound)) => None,
            Err(error) => panic!("step {}: undo of {position}: {error}", self.step),
        }
    }

    async fn undo(&mut self) {
        let head = self.bench().vault.views().position().0;
        // Mostly of what is new: of old events little can be taken back.
        let back = if self.dice.below(3) == 0 { head } else { head.min(40) };
        let position = Position(head - self.dice.below(back));
        let alone = self.dice.below(2) == 0;
        let before = self.bench().vault.views();
        let Some(planned) = self.plan(position, alone).await else { return self.count("undo of what is not ours") };
        if planned.acting().next().is_none() {
            return self.count("undo of nothing");
        }
        let applied = self.apply(&planned).await;
        assert!(applied.left.is_empty());
        self.count("undo");
        let (first, _) = applied.events.unwrap();
        let record = self.bench().vault.log().fetch(&[first]).await.unwrap().remove(0);
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
        let after = self.bench().vault.views();
        let touched = touched.into_iter().filter(|id| !matches!(before.thing(*id).map(|entry| &entry.state), Some(AnyState::Session(_)))).collect();
        let differ = same_things(&before, &after, &touched);
        let state = |views: &Views, id| views.thing(id).map_or(AnyState::Absent, |entry| entry.state.clone());
        let told: Vec<_> = differ.into_iter().map(|id| (id, differences(&state(&before, id), &state(&after, id)).unwrap())).collect();
        assert!(told.is_empty(), "step {}: after the undo of the undo of {position} ({alone}) there differ {told:?}", self.step);
    }

    async fn recover(&mut self) {
        let now = self.bench().vault.views();
        let back = self.dice.below(now.position().0.min(400));
        let to = Position((now.position().0 - back).max(20));
        let kinds = ["connection", "user", "api_key", "role", "provider_key", "consumer", "webhook"];
        let mut selection = Selection { tenant: Some(TENANT), ..Selection::default() };
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
        let planned = self.bench().vault.plan_recovery(&self.bench().owner, to, &selection, true).await.unwrap().unwrap();
        let applied = self.apply(&planned).await;
        self.count("recovery");
        assert_eq!(applied.left, [], "step {}: {planned:?}", self.step);
        let left = self.bench().vault.plan_recovery(&self.bench().owner, planned_to(&planned), &selection, true).await.unwrap().unwrap();
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
        let views = self.bench().vault.views();
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
        self.bench().vault.shred(Meta::default(), &[one], "a test").await.unwrap();
        self.count("shred");
    }

    async fn days(&mut self) {
        let days = self.dice.below(9);
        self.bench().clock.pass(i64::try_from(days * 86_400_000).unwrap());
        let gone = self.bench().vault.shred_due().await.unwrap();
        self.count(if gone > 0 { "retention" } else { "days" });
        let views = self.bench().vault.views();
        // What is in use is never taken by retention.
        for (_, entry) in views.things() {
            for secret in entry.state.secrets() {
                assert!(views.retired().all(|((_, position, name), _)| (*position, name) != (secret.position, &secret.name)), "in use and due: {secret:?}");
            }
        }
    }

    async fn restart(&mut self) {
        let before = self.bench().vault.views();
        let bench = self.bench.take().unwrap();
        for (_, entry) in before.things() {
            let kept: AnyState = postcard::from_bytes(&entry.state.canonical().unwrap()).unwrap_or_else(|_| panic!("not read again: {:?}", entry.state));
            assert_eq!(kept, entry.state);
        }
        let path = bench.folder.path().join("views.snapshot");
        let snapshot = if self.dice.below(2) == 0 {
            bench.write_snapshot(&path).await;
            bench.read_snapshot(&path).await.unwrap()
        } else {
            Snapshot::default()
        };
        let bench = bench.restart_from(snapshot).await;
        assert!(*bench.vault.views() == *before, "step {}: another state after a restart", self.step);
        self.bench = Some(bench);
        self.count("restart");
    }

    async fn check(&mut self) {
        let live = self.bench().vault.views();
        assert_eq!(self.bench().vault.failure(), None);
        let log = Arc::clone(self.bench().vault.log());
        let opener = Opener::new(self.bench().keyring.clone() as Arc<dyn Keyring>);
        let (views, tree) = &mut self.replayed;
        catch_up(views, tree, &*log, &opener, live.position(), &|_| ()).await.unwrap();
        assert!(*views == *live, "step {}: the replay differs from what is live", self.step);
        if self.dice.below(20) == 0 {
            self.names_are_held(&live).await;
        }
        if self.dice.below(40) == 0
            && let Some(then) = (!self.noted.is_empty()).then(|| Arc::clone(self.dice.pick(&self.noted)))
        {
            let seen = self.bench().vault.views_at(then.position()).await.unwrap().unwrap();
            assert!(*seen == *then, "step {}: as of {} it is not what it was", self.step, then.position());
        }
        if self.noted.len() == NOTED {
            let place = usize::try_from(self.dice.below(NOTED as u64)).unwrap();
            self.noted.remove(place);
        }
        self.noted.push(live);
    }

    /// What is held by name is what the states say, for each thing; nothing else is.
    async fn names_are_held(&self, live: &Views) {
        let bench = self.bench();
        let mut wanted = Vec::new();
        for (id, entry) in live.things() {
            let key = bench.keyring.purpose(entry.tenant, Purpose::Claims).unwrap().key;
            wanted.extend(entry.state.claims().into_iter().map(|claim| (derive::claim(&key, &claim), *id)));
        }
        let held = bench.vault.snapshot().await.unwrap().index;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_sequence_of_commands_undos_and_recoveries_keeps_every_promise() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let seed = number("KEYLEDGER_SEED", SEED);
    let steps = number("KEYLEDGER_STEPS", STEPS);
    println!("KEYLEDGER_SEED={seed} KEYLEDGER_STEPS={steps}");
    let mut simulation = Simulation::new(seed).await;
    for _ in 0..steps {
        simulation.step().await;
    }
    println!("{:?}", simulation.done);
    for what in ["undo", "undo of an undo", "recovery", "shred", "restart", "user made", "connection imported", "api key rotated"] {
        assert!(simulation.done.get(what).is_some_and(|count| *count > 0), "never: {what}");
    }
}

//! A vault that ends in the middle of a refresh, at the appends of its intent and of its result: none of the four ways leaves a dead connection.

use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

use keyledger::credentials::connector::GrantType;
use keyledger::kernel::StreamId;

use crate::storm_bench::{Doing, Storm};
use crate::storm_provider::{Provider, Rules, access, refresh};

const ROUNDS: usize = 50;
/// Of what a real server is killed for fifty times elsewhere.
const FEW: usize = 10;

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// The vault of the next run, with the connection of the round.
struct Next {
    storm: Storm,
    id: StreamId,
    name: String,
    provider: Provider,
}

impl Next {
    /// What the vault shows after the restart, and by itself from then on.
    async fn is_lost(&self) {
        let live = self.storm.live(self.id);
        let failure = live.failure.as_deref().unwrap();
        assert_eq!((failure.lost, failure.passing, failure.cause.ends_with("the outcome is unknown")), (true, true, true), "{failure:?}");
        assert_eq!((self.storm.health(self.id), live.drops_at(), live.flight), ("pending_refresh", None, None));
        assert_eq!(self.storm.tokens(self.id).await, (access(&self.name, 0), refresh(&self.name, 0)), "nothing is lost");
        assert_eq!(self.storm.round(&mut self.storm.refresher()).await, 0);
        self.storm.pass(2);
    }

    async fn heals(&self) {
        assert_eq!(self.storm.round(&mut self.storm.refresher()).await, 1, "by itself");
        let good = self.provider.rules.family(&self.name).current;
        assert_eq!(self.storm.tokens(self.id).await, (access(&self.name, good), refresh(&self.name, good)));
        assert_eq!((self.storm.health(self.id), self.storm.live(self.id).failure), ("ok", None));
    }

    async fn is_refused(&self) {
        assert_eq!(self.storm.round(&mut self.storm.refresher()).await, 1, "the old token is tried once");
        let live = self.storm.live(self.id);
        let failure = live.failure.as_deref().unwrap();
        assert_eq!((failure.cause.as_str(), failure.status, failure.lost), ("the service answered 400: invalid_grant", Some(400), false));
        assert_eq!((self.storm.health(self.id), live.drops_at()), ("pending_refresh", Some(failure.at.plus_seconds(48 * 3600))));
        assert_eq!(self.storm.round(&mut self.storm.refresher()).await, 0, "and not at once again");
    }
}

/// Ends the vault again and again while an append hangs, and looks at what its files have become.
fn rounds(count: usize, doing: Doing, grace: bool, look: &impl AsyncFn(&Next, usize)) {
    let services = runtime();
    let provider = services.block_on(Provider::start(Rules { grace, expires_in: Some(1_000_000), ..Rules::default() }));
    let mut run = runtime();
    let mut storm = run.block_on(Storm::new());
    run.block_on(storm.service("local", &provider.url, GrantType::AuthorizationCode));
    for round in 0..count {
        let (name, heard) = (format!("f{round}"), provider.heard_now());
        let id = run.block_on(async {
            let id = storm.import("local", &name, None).await;
            storm.log.mode.send_replace(doing);
            assert_eq!(storm.refresher().step().await, 1);
            storm.log.hanging.subscribe().wait_for(|hanging| *hanging == 1).await.unwrap();
            id
        });
        let (left, runs) = storm.abandon();
        run.shutdown_background();
        run = runtime();
        storm = run.block_on(Storm::reopen(left, runs + 1));
        let next = Next { storm, id, name, provider: provider.clone() };
        run.block_on(look(&next, provider.heard_now() - heard));
        storm = next.storm;
    }
    drop((storm, Arc::new(services)));
}

#[test]
fn before_the_intent_is_durable_nothing_was_called_and_the_next_run_renews() {
    rounds(ROUNDS, Doing::HangsBefore("exchange_started"), false, &async |next, heard| {
        assert_eq!((heard, next.storm.live(next.id).failure, next.storm.live(next.id).flight), (0, None, None));
        next.heals().await;
    });
}

#[test]
fn after_the_intent_and_before_the_call_the_outcome_is_unknown_and_the_old_token_works() {
    rounds(ROUNDS, Doing::HangsAfter("exchange_started"), false, &async |next, heard| {
        assert_eq!(heard, 0);
        next.is_lost().await;
        next.heals().await;
    });
}

#[test]
fn before_the_result_is_durable_a_service_with_a_grace_gives_another_one() {
    rounds(FEW, Doing::HangsBefore("exchanged"), true, &async |next, heard| {
        assert_eq!((heard, next.provider.rules.family(&next.name).current), (1, 1), "the service has rotated");
        next.is_lost().await;
        next.heals().await;
    });
}

#[test]
fn before_the_result_is_durable_a_service_without_a_grace_refuses_and_that_is_said() {
    rounds(FEW, Doing::HangsBefore("exchanged"), false, &async |next, heard| {
        assert_eq!((heard, next.provider.rules.family(&next.name).current), (1, 1), "the service has rotated");
        next.is_lost().await;
        next.is_refused().await;
    });
}

#[test]
fn after_the_result_is_durable_the_new_token_is_there() {
    rounds(FEW, Doing::HangsAfter("exchanged"), false, &async |next, heard| {
        let live = next.storm.live(next.id);
        assert_eq!((heard, live.failure, live.flight, next.storm.health(next.id)), (1, None, None, "ok"));
        assert_eq!(next.storm.tokens(next.id).await, (access(&next.name, 1), refresh(&next.name, 1)));
        assert_eq!(next.storm.round(&mut next.storm.refresher()).await, 0);
    });
}

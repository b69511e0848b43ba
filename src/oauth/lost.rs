//! Exchanges without a result: found at the start and while it runs, and said to be lost. And what became of one that is asked about again.

use super::exchange::{Exchanges, Landed, lock};
use crate::credentials::connection::{Command as Order, Outcome, State};
use crate::credentials::{AnyState, Meta};
use crate::kernel::{Plan, Position, StreamId};
use crate::log::SubmitError;
use crate::vault::access::Principal;
use crate::vault::{Command, VaultError, plans};
use crate::views::Views;

/// So many events of a connection are read backwards for the result of an exchange.
const FAR: usize = 4096;
/// What is said of an exchange whose result is in no log.
const UNKNOWN: &str = "no result of the exchange is recorded; the outcome is unknown";

/// Position of the intent that has no result yet.
pub(super) fn open_intent(views: &Views, connection: StreamId) -> Option<Position> {
    match &views.thing(connection)?.state {
        AnyState::Connection(State::Live(live)) => live.flight.as_ref().map(|flight| flight.intent),
        _ => None,
    }
}

impl Exchanges {
    /// Says of exchanges that an earlier run began and did not end that their outcome is unknown. Called before anything else may start one.
    /// Those of which it cannot be said now are not forgotten.
    pub async fn sweep(&self) -> Result<usize, VaultError> {
        lock(&self.left).extend(self.vault.views().flights().map(|(connection, _)| connection));
        self.sweep_left().await
    }

    /// The same of exchanges that ended here, or were found at the start, and that nobody could record: while they stand open, nothing is renewed.
    pub async fn sweep_left(&self) -> Result<usize, VaultError> {
        let left: Vec<StreamId> = lock(&self.left).iter().copied().collect();
        let mut lost = 0;
        for connection in left {
            // In this order: an intent that stood before nobody flew is nobody's.
            let open = open_intent(&self.vault.views(), connection);
            if let Some(intent) = open.filter(|_| !self.is_flying(connection)) {
                lost += usize::from(self.lose(connection, intent).await?);
            }
            lock(&self.left).remove(&connection);
        }
        Ok(lost)
    }

    /// An exchange that stands open and that no task of this process flies: its result is lost. Called only by the connection's own flight.
    pub(super) async fn end_orphan(&self, connection: StreamId) -> Result<(), VaultError> {
        match open_intent(&self.vault.views(), connection) {
            Some(intent) => self.lose(connection, intent).await.map(drop),
            None => Ok(()),
        }
    }

    /// Gives whether it still stood open.
    async fn lose(&self, connection: StreamId, intent: Position) -> Result<bool, VaultError> {
        let Some(tenant) = self.vault.views().thing(connection).map(|entry| entry.tenant) else { return Ok(false) };
        let principal = Principal::vault(tenant);
        let meta = Meta { rule: Some("restart".into()), ..Meta::default() };
        let command = Command { principal: &principal, meta, idempotency: None };
        let cause = "the server ended before the answer was recorded: the outcome is unknown";
        let decide = |given: &crate::vault::Given<'_>| {
            if open_intent(given.views, connection) != Some(intent) {
                return Ok(Plan::nothing());
            }
            plans::on_connection(given, connection, Order::FinishExchange { intent, outcome: Outcome::Lost { cause: cause.into() }, confirm: None })
        };
        Ok(self.vault.execute(&command, decide).await?.events.is_some())
    }

    /// What became of an exchange that was asked for before, under the same idempotency key, whatever came later.
    pub(super) async fn how_it_ended(&self, connection: StreamId, intent: Position) -> Result<Landed, VaultError> {
        let unknown = Landed::Failed { cause: UNKNOWN.into(), status: None };
        let mut at = self.vault.views().thing(connection).map_or(Position::ZERO, |entry| entry.last);
        for _ in 0..FAR {
            if at <= intent {
                return Ok(unknown);
            }
            let records = self.vault.log().fetch(&[at]).await?;
            let Some(header) = records.first().map(crate::seal::Record::header) else { return Ok(unknown) };
            if header.causation != intent {
                at = header.previous;
                continue;
            }
            if header.event_type == "exchanged" {
                return Ok(Landed::Stored { confirm: None });
            }
            let then = self.vault.views_at(at).await?.map_err(|_| VaultError::Submit(SubmitError::Busy))?;
            return Ok(failed(&then, connection).unwrap_or(unknown));
        }
        Ok(unknown)
    }
}

/// The failure that stands there.
fn failed(views: &Views, connection: StreamId) -> Option<Landed> {
    let AnyState::Connection(State::Live(live)) = &views.thing(connection)?.state else { return None };
    live.failure.as_ref().map(|failure| Landed::Failed { cause: failure.cause.clone(), status: failure.status })
}

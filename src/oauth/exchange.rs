//! An exchange: intent event, one call, durable result event, and only then is the token used. One flight per connection at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::Method;
use tokio::sync::watch;

use super::{Grant, read_answer, token_request};
use crate::credentials::connection::{self, Command as Order, Connection, Outcome, Tokens};
use crate::credentials::connector::{Connector, GrantType};
use crate::credentials::{AnyEvent, AnyState, Meta};
use crate::egress::{Egress, EgressError, Request};
use crate::kernel::{Plan, Position, Refusal, Secret, StreamId, TenantId};
use crate::log::SubmitError;
use crate::vault::access::Principal;
use crate::vault::{Command, Kept, Vault, VaultError, plans};
use crate::views::Views;

/// The most secrets that an exchange brings: an access token and a refresh token.
const SECRETS: usize = 2;
/// The most exchanges at once. Each keeps a place in the log's queue, which holds far more.
const MAX_FLIGHTS: usize = 512;
/// How long a result waits before it is tried again while the log takes no writes.
const PAUSE: Duration = Duration::from_millis(500);

/// Who wants an exchange, and of what.
#[derive(Clone)]
pub struct Wanted {
    /// Who asks; the result is recorded under the same name.
    pub principal: Principal,
    /// How it comes about.
    pub meta: Meta,
    /// The route and the caller's idempotency key.
    pub idempotency: Option<(String, String)>,
    /// The connection.
    pub connection: StreamId,
}

/// How an exchange ended, told to all who asked for it.
#[derive(Clone, Debug)]
pub enum Landed {
    /// The tokens are stored.
    Stored,
    /// The service gave none; that is recorded.
    Failed {
        /// Why, in words that hold no secret.
        cause: String,
        /// The HTTP status of its answer, if one came.
        status: Option<u16>,
    },
    /// No call was made, or its result could not be recorded.
    Vault(Arc<VaultError>),
}

/// The exchanges under way.
pub struct Exchanges {
    vault: Arc<Vault>,
    egress: Egress,
    flights: Mutex<HashMap<StreamId, watch::Receiver<Option<Landed>>>>,
    flying: watch::Sender<usize>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a flight off the list, also when its task panics.
struct Flight(Arc<Exchanges>, StreamId);

impl Drop for Flight {
    fn drop(&mut self) {
        let mut flights = lock(&self.0.flights);
        flights.remove(&self.1);
        self.0.flying.send_replace(flights.len());
    }
}

impl Exchanges {
    /// Through this door.
    #[must_use]
    pub fn new(vault: Arc<Vault>, egress: Egress) -> Self {
        Self { vault, egress, flights: Mutex::default(), flying: watch::Sender::new(0) }
    }

    /// Exchanges, or joins the exchange of the same connection that is under way. A caller that goes away does not stop it.
    pub async fn exchange(self: &Arc<Self>, wanted: Wanted) -> Landed {
        let mut landing = self.join_or_start(wanted);
        let landed = landing.wait_for(Option::is_some).await.ok().and_then(|landed| landed.clone());
        landed.unwrap_or_else(|| Landed::Vault(Arc::new(VaultError::Stopped("an exchange ended without a result".into()))))
    }

    fn join_or_start(self: &Arc<Self>, wanted: Wanted) -> watch::Receiver<Option<Landed>> {
        let mut flights = lock(&self.flights);
        if let Some(under_way) = flights.get(&wanted.connection) {
            return under_way.clone();
        }
        if flights.len() >= MAX_FLIGHTS {
            return watch::channel(Some(Landed::Vault(Arc::new(VaultError::Submit(SubmitError::Busy))))).1;
        }
        let (tell, landing) = watch::channel(None);
        flights.insert(wanted.connection, landing.clone());
        self.flying.send_replace(flights.len());
        let exchanges = Arc::clone(self);
        tokio::spawn(async move {
            let flight = Flight(Arc::clone(&exchanges), wanted.connection);
            let landed = exchanges.fly(wanted).await.unwrap_or_else(|error| Landed::Vault(Arc::new(error)));
            // Off the list first: whoever hears of the end may start the next one.
            drop(flight);
            tell.send_replace(Some(landed));
        });
        landing
    }

    /// Waits until no exchange is under way.
    pub async fn settle(&self) {
        // The sender lives as long as `self`.
        drop(self.flying.subscribe().wait_for(|flying| *flying == 0).await);
    }

    /// Says of exchanges that an earlier run began and did not end that their outcome is unknown. Called before anything else may start one.
    pub async fn sweep(&self) -> Result<usize, VaultError> {
        let open: Vec<(StreamId, Position)> = self.vault.views().flights().collect();
        for (connection, intent) in &open {
            let tenant = self.vault.views().thing(*connection).map_or(TenantId::SYSTEM, |entry| entry.tenant);
            self.lost(*connection, tenant, *intent).await?;
        }
        Ok(open.len())
    }

    async fn fly(&self, wanted: Wanted) -> Result<Landed, VaultError> {
        let (principal, connection) = (&wanted.principal, wanted.connection);
        let idempotency = wanted.idempotency.as_ref().map(|(route, key)| (route.as_str(), key.as_str(), [].as_slice()));
        let command = Command { principal, meta: wanted.meta.clone(), idempotency };
        self.end_orphan(connection).await?;
        let started = self.vault.execute(&command, |given| plans::on_connection(given, connection, Order::StartExchange)).await?;
        let intent = started.events.map(|(first, _)| first).ok_or(Refusal::NotFound)?;
        if started.repeated {
            return Ok(how_it_stands(&self.vault.views(), connection, intent));
        }
        // Kept before the call, so that nothing but the log itself can keep its result from being recorded.
        let (kept, outcome) = match self.vault.keep(principal.tenant, SECRETS).await {
            Ok(kept) => (kept, self.call(&started.views, connection).await),
            Err(error) => {
                tracing::error!(%error, "nothing could be kept for the result of an exchange");
                (Kept::nothing(), Outcome::Failed { cause: "not called: the vault takes no writes".into(), passing: true, status: None })
            }
        };
        let command = Command { principal, meta: wanted.meta, idempotency: None };
        let landed = match &outcome {
            Outcome::Tokens(_) => Landed::Stored,
            Outcome::Failed { cause, status, .. } => Landed::Failed { cause: cause.clone(), status: *status },
            Outcome::Lost { cause } => Landed::Failed { cause: cause.clone(), status: None },
        };
        let decide = |given: &crate::vault::Given<'_>| plans::on_connection(given, connection, Order::FinishExchange { intent, outcome: again(&outcome) });
        self.record(&command, kept, decide).await?;
        Ok(landed)
    }

    /// Records a result. While the log takes no writes it is kept and tried again: it may be all that is left of a rotated token.
    async fn record(
        &self,
        command: &Command<'_>,
        kept: Kept,
        decide: impl Fn(&crate::vault::Given<'_>) -> Result<Plan<AnyEvent>, Refusal>,
    ) -> Result<(), VaultError> {
        let mut kept = kept;
        loop {
            match self.vault.record(command, kept, &decide).await {
                Err(VaultError::Submit(error @ (SubmitError::Busy | SubmitError::Unavailable(_) | SubmitError::ClockLeapt))) => {
                    tracing::error!(%error, "the result of an exchange waits to be recorded");
                    tokio::time::sleep(PAUSE).await;
                    kept = Kept::nothing();
                }
                other => return other.map(drop),
            }
        }
    }

    /// An exchange that stands open and that no task of this process flies: its result is lost. Called only by the connection's own flight.
    async fn end_orphan(&self, connection: StreamId) -> Result<(), VaultError> {
        let views = self.vault.views();
        let Some(entry) = views.thing(connection) else { return Ok(()) };
        let AnyState::Connection(connection::State::Live(live)) = &entry.state else { return Ok(()) };
        match live.flight {
            Some(intent) => self.lost(connection, entry.tenant, intent).await,
            None => Ok(()),
        }
    }

    async fn lost(&self, connection: StreamId, tenant: TenantId, intent: Position) -> Result<(), VaultError> {
        let principal = Principal::vault(tenant);
        let meta = Meta { rule: Some("restart".into()), ..Meta::default() };
        let command = Command { principal: &principal, meta, idempotency: None };
        let cause = "the server ended before the answer was recorded: the outcome is unknown";
        let decide = |given: &crate::vault::Given<'_>| {
            plans::on_connection(given, connection, Order::FinishExchange { intent, outcome: Outcome::Lost { cause: cause.into() } })
        };
        self.vault.execute(&command, decide).await.map(drop)
    }

    /// Makes the call. Whatever goes wrong from here on is an outcome.
    async fn call(&self, views: &Views, connection: StreamId) -> Outcome {
        let failed = |cause: String| Outcome::Failed { cause, passing: false, status: None };
        let Some(entry) = views.thing(connection) else { return failed("the connection has gone".into()) };
        let AnyState::Connection(connection::State::Live(live)) = &entry.state else { return failed("the connection has gone".into()) };
        let Some((_, connector)) = views.connector(entry.tenant, &live.key.unified_api, &live.key.service_id) else {
            return failed("the connector has gone".into());
        };
        let settings = match self.settings(entry.tenant, live).await {
            Ok(settings) => settings,
            Err(VaultError::Refused(refusal)) => return failed(refusal.to_string()),
            Err(error) => {
                tracing::error!(%error, "a setting could not be opened for an exchange");
                return failed("a setting could not be opened".into());
            }
        };
        let request = match request(connector, &settings) {
            Ok(request) => request,
            Err(refusal) => return failed(refusal.to_string()),
        };
        match self.egress.send(request).await {
            Ok(answer) => {
                let sealed: Vec<&Secret> = live.sealed.keys().filter_map(|id| settings.get(id)).collect();
                read_answer(answer.status, answer.body.expose(), self.vault.now(), &sealed)
            }
            Err(error @ (EgressError::Refused(_) | EgressError::Header)) => failed(error.to_string()),
            Err(error @ EgressError::Unreachable(_)) => Outcome::Failed { cause: error.to_string(), passing: true, status: None },
            Err(error @ (EgressError::Timeout | EgressError::Lost | EgressError::TooLarge { .. })) => Outcome::Lost { cause: error.to_string() },
        }
    }

    /// All settings of a connection, opened. The intent that stands in the log is the record of this use.
    async fn settings(&self, tenant: TenantId, live: &Connection) -> Result<BTreeMap<String, Secret>, VaultError> {
        let mut settings = BTreeMap::new();
        for (id, value) in &live.settings {
            let text = value.value().as_str().map_or_else(|| value.text().to_owned(), str::to_owned);
            settings.insert(id.clone(), Secret::from(text));
        }
        for (id, secret) in &live.sealed {
            settings.insert(id.clone(), self.vault.open_secret(tenant, secret).await?);
        }
        Ok(settings)
    }
}

fn request(connector: &Connector, settings: &BTreeMap<String, Secret>) -> Result<Request, Refusal> {
    let grant = match connector.oauth.as_ref().map(|oauth| oauth.grant) {
        Some(GrantType::ClientCredentials) => Grant::ClientCredentials,
        Some(GrantType::Password) => Grant::Password,
        Some(GrantType::AuthorizationCode) | None => return Err(Refusal::InvalidState("there is nothing to exchange".into())),
    };
    let built = token_request(connector, &grant, &|id| settings.get(id).map(Secret::duplicate))?;
    let headers = built.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(Request { method: Method::POST, url: built.url, headers, body: built.body })
}

/// What became of an exchange that was asked for before, under the same idempotency key.
fn how_it_stands(views: &Views, connection: StreamId, intent: Position) -> Landed {
    let Some(AnyState::Connection(connection::State::Live(live))) = views.thing(connection).map(|entry| &entry.state) else { return Landed::Stored };
    if live.flight == Some(intent) {
        return Landed::Failed { cause: "no result of the exchange is recorded; the outcome is unknown".into(), status: None };
    }
    live.failure.as_ref().map_or(Landed::Stored, |failure| Landed::Failed { cause: failure.cause.clone(), status: failure.status })
}

/// The same outcome for another try.
fn again(outcome: &Outcome) -> Outcome {
    match outcome {
        Outcome::Tokens(tokens) => Outcome::Tokens(Tokens {
            access: tokens.access.as_ref().map(Secret::duplicate),
            refresh: tokens.refresh.as_ref().map(Secret::duplicate),
            issued_at: tokens.issued_at,
            expires_at: tokens.expires_at,
            scope: tokens.scope.clone(),
        }),
        Outcome::Failed { cause, passing, status } => Outcome::Failed { cause: cause.clone(), passing: *passing, status: *status },
        Outcome::Lost { cause } => Outcome::Lost { cause: cause.clone() },
    }
}

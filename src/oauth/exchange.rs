//! An exchange: intent event, one call, durable result event, and only then is the token used. One flight per connection at a time.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::call::{OfCode, found};
use super::lost::open_intent;
use crate::credentials::connection::{Command as Order, Confirm, Flow, Outcome, Tokens, Want};
use crate::credentials::{AnyEvent, Meta};
use crate::egress::Egress;
use crate::kernel::{FlowId, Moment, Plan, Position, Refusal, Secret, StreamId};
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

/// Why nothing goes out.
pub(super) const HELD: &str = "the vault was restored, and holds back everything that goes out until `keyledger resume`";

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
    /// Which one.
    pub what: What,
}

/// Which exchange is wanted.
#[derive(Clone)]
pub enum What {
    /// The one that begins the connection, by its settings.
    Begin,
    /// One that renews it.
    Renew,
    /// The same, unless something came of it since the caller looked: of many who find the same token ended, one calls the service.
    RenewSince(Since),
    /// The one of a code that the service gave.
    Code {
        /// The authorization that it is for.
        flow: FlowId,
        /// The code.
        code: Arc<Secret>,
    },
}

/// What a caller saw that wants a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// Position of the event that brought the access token.
    pub access: Option<Position>,
    /// When the latest exchange failed.
    pub failed: Option<Moment>,
}

impl What {
    const fn is_of_code(&self) -> bool {
        matches!(self, Self::Code { .. })
    }

    const fn want(&self) -> Want {
        match self {
            Self::Begin => Want::Begin,
            Self::Renew | Self::RenewSince(_) => Want::Renew,
            Self::Code { flow, .. } => Want::Code(*flow),
        }
    }
}

/// How an exchange ended, told to all who asked for it.
#[derive(Clone)]
pub enum Landed {
    /// The tokens are stored.
    Stored {
        /// They wait to be confirmed by this.
        confirm: Option<Arc<Secret>>,
    },
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

/// Shows no token.
impl fmt::Debug for Landed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored { .. } => f.write_str("Stored"),
            Self::Failed { cause, status } => write!(f, "Failed({status:?}, {cause})"),
            Self::Vault(error) => write!(f, "Vault({error:?})"),
        }
    }
}

/// The exchanges under way.
pub struct Exchanges {
    pub(super) vault: Arc<Vault>,
    pub(super) egress: Egress,
    pub(super) public_url: String,
    flights: Mutex<HashMap<StreamId, UnderWay>>,
    /// Connections whose exchange ended here without a result in the log.
    pub(super) left: Mutex<HashSet<StreamId>>,
    flying: watch::Sender<usize>,
}

/// A flight that others may join.
#[derive(Clone)]
struct UnderWay {
    landing: watch::Receiver<Option<Landed>>,
    of_code: bool,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a flight off the list, also when its task panics.
struct Flight(Arc<Exchanges>, StreamId);

impl Drop for Flight {
    fn drop(&mut self) {
        let mut flights = lock(&self.0.flights);
        flights.remove(&self.1);
        self.0.flying.send_replace(flights.len());
        drop(flights);
        if open_intent(&self.0.vault.views(), self.1).is_some() {
            lock(&self.0.left).insert(self.1);
        }
    }
}

impl Exchanges {
    /// Through this door. The public URL is where browsers reach this server, without a slash at its end.
    #[must_use]
    pub fn new(vault: Arc<Vault>, egress: Egress, public_url: String) -> Self {
        Self { vault, egress, public_url, flights: Mutex::default(), left: Mutex::default(), flying: watch::Sender::new(0) }
    }

    /// The one door to the outside.
    #[must_use]
    pub const fn egress(&self) -> &Egress {
        &self.egress
    }

    /// Where browsers reach this server.
    #[must_use]
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// How many exchanges are under way.
    #[must_use]
    pub fn flying(&self) -> usize {
        *self.flying.borrow()
    }

    /// Exchanges, or joins the exchange of the same connection that is under way. A caller that goes away does not stop it. A code has its own
    /// exchange: it waits until the one under way has landed, and of a code's, others share tokens that are in use, and nothing else.
    pub async fn exchange(self: &Arc<Self>, wanted: Wanted) -> Landed {
        loop {
            let (UnderWay { mut landing, of_code }, own) = self.join_or_start(&wanted);
            let landed = landing.wait_for(Option::is_some).await.ok().and_then(|landed| landed.clone());
            let shared = !wanted.what.is_of_code() && (!of_code || matches!(landed, Some(Landed::Stored { confirm: None })));
            if own || shared {
                return landed.unwrap_or_else(|| Landed::Vault(Arc::new(VaultError::Stopped("an exchange ended without a result".into()))));
            }
        }
    }

    /// The landing of an exchange, and whether it is the wanted one itself.
    fn join_or_start(self: &Arc<Self>, wanted: &Wanted) -> (UnderWay, bool) {
        let mut flights = lock(&self.flights);
        if let Some(under_way) = flights.get(&wanted.connection) {
            return (under_way.clone(), false);
        }
        if flights.len() >= MAX_FLIGHTS {
            let busy = Landed::Vault(Arc::new(VaultError::Submit(SubmitError::Busy)));
            return (UnderWay { landing: watch::channel(Some(busy)).1, of_code: false }, true);
        }
        let (tell, landing) = watch::channel(None);
        let under_way = UnderWay { landing, of_code: wanted.what.is_of_code() };
        flights.insert(wanted.connection, under_way.clone());
        self.flying.send_replace(flights.len());
        let (exchanges, wanted) = (Arc::clone(self), wanted.clone());
        tokio::spawn(async move {
            let flight = Flight(Arc::clone(&exchanges), wanted.connection);
            let landed = exchanges.fly(wanted).await.unwrap_or_else(|error| Landed::Vault(Arc::new(error)));
            // Off the list first: whoever hears of the end may start the next one.
            drop(flight);
            tell.send_replace(Some(landed));
        });
        (under_way, true)
    }

    /// Whether an exchange of the connection is under way here.
    pub(super) fn is_flying(&self, connection: StreamId) -> bool {
        lock(&self.flights).contains_key(&connection)
    }

    /// Waits until no exchange is under way.
    pub async fn settle(&self) {
        // The sender lives as long as `self`.
        drop(self.flying.subscribe().wait_for(|flying| *flying == 0).await);
    }

    async fn fly(&self, wanted: Wanted) -> Result<Landed, VaultError> {
        let (principal, connection) = (&wanted.principal, wanted.connection);
        if self.vault.views().is_held() {
            return Err(Refusal::InvalidState(HELD.into()).into());
        }
        let idempotency = wanted.idempotency.as_ref().map(|(route, key)| (route.as_str(), key.as_str(), [].as_slice()));
        let command = Command { principal, meta: wanted.meta.clone(), idempotency };
        self.end_orphan(connection).await?;
        let (mut flow, mut met) = (None, None);
        let started = self.vault.execute(&command, |given| {
            flow = pending(given.views, connection, &wanted.what);
            met = since(given.views, connection, &wanted.what);
            if met.is_some() {
                return Ok(Plan::nothing());
            }
            plans::on_connection(given, connection, Order::StartExchange(wanted.what.want()))
        });
        let started = started.await?;
        if let Some(landed) = met {
            return Ok(landed);
        }
        let intent = started.events.map(|(first, _)| first).ok_or(Refusal::NotFound)?;
        if started.repeated {
            return self.how_it_ended(connection, intent).await;
        }
        // Kept before the call, so that nothing but the log itself can keep its result from being recorded.
        let (kept, outcome) = match self.vault.keep(principal.tenant, SECRETS).await {
            Ok(kept) => {
                let of_code = match (&wanted.what, &flow) {
                    (What::Code { flow, code }, Some(pending)) => Some(OfCode { code, flow: *flow, here: pending.here }),
                    _ => None,
                };
                (kept, self.call(&started.views, connection, intent, of_code).await)
            }
            Err(error) => {
                tracing::error!(%error, "nothing could be kept for the result of an exchange");
                let cause = "not called: the vault takes no writes".into();
                (Kept::nothing(), Outcome::Failed { cause, passing: true, status: None, retry_at: None, client: false })
            }
        };
        let command = Command { principal, meta: wanted.meta, idempotency: None };
        let (token, confirm) = match (&outcome, flow.is_some_and(|flow| flow.waits())) {
            (Outcome::Tokens(_), true) => self.vault.draw_confirm(connection),
            _ => (None, None),
        };
        let landed = match &outcome {
            Outcome::Tokens(_) => Landed::Stored { confirm: token.map(Arc::new) },
            Outcome::Failed { cause, status, .. } => Landed::Failed { cause: cause.clone(), status: *status },
            Outcome::Lost { cause } => Landed::Failed { cause: cause.clone(), status: None },
        };
        self.record(&command, kept, |given| plans::on_connection(given, connection, finish(intent, &outcome, confirm.clone()))).await?;
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
                Err(error) if error.is_read_only() || matches!(error, VaultError::Submit(SubmitError::Busy)) => {
                    tracing::error!(%error, "the result of an exchange waits to be recorded");
                    tokio::time::sleep(PAUSE).await;
                    kept = Kept::nothing();
                }
                other => return other.map(drop),
            }
        }
    }
}

/// The authorization that a code is for, while it is open.
fn pending(views: &Views, connection: StreamId, what: &What) -> Option<Flow> {
    let What::Code { flow, .. } = what else { return None };
    found(views, connection)?.1.pending(*flow).map(|pending| pending.flow.clone())
}

/// What came of a renewal since the caller looked.
fn since(views: &Views, connection: StreamId, what: &What) -> Option<Landed> {
    let (What::RenewSince(since), Some((_, live, _))) = (what, found(views, connection)) else { return None };
    if live.access.as_ref().map(|access| access.secret.position) != since.access {
        return live.access.is_some().then_some(Landed::Stored { confirm: None });
    }
    let failure = live.failure.as_ref().filter(|failure| Some(failure.at) != since.failed)?;
    Some(Landed::Failed { cause: failure.cause.clone(), status: failure.status })
}

fn finish(intent: Position, outcome: &Outcome, confirm: Option<Confirm>) -> Order {
    Order::FinishExchange { intent, outcome: again(outcome), confirm }
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
        Outcome::Failed { cause, passing, status, retry_at, client } => {
            Outcome::Failed { cause: cause.clone(), passing: *passing, status: *status, retry_at: *retry_at, client: *client }
        }
        Outcome::Lost { cause } => Outcome::Lost { cause: cause.clone() },
    }
}

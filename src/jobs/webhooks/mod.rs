//! Webhooks: what becomes of connections is told to the endpoints that their tenant named. The log is the queue: each webhook has a place in it,
//! and goes on from there after a restart. A message may come twice, under the same id; none is left out. Only a running server sends: a replay of
//! the log, a restore and a look at the past fold what is recorded, and call nobody.

mod line;
mod message;
mod round;

pub use line::{Line, Sent, Step};

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Method;
use tokio::sync::Semaphore;

use crate::credentials::connection::{self, Notice, notices};
use crate::credentials::webhook::{Command as Order, Letter, State, Webhook};
use crate::credentials::{AnyEvent, AnyState, Meta};
use crate::egress::{Answer, Egress, EgressError, Limits, Request, retry_after};
use crate::kernel::{EventId, Moment, Position, Random, Refusal, Secret, StreamId, TenantId};
use crate::seal::webhook::sign;
use crate::vault::access::Principal;
use crate::vault::{Around, Command, Vault, VaultError, is_suspended, plans};
use crate::views::{Entry, Views};
use message::Message;

/// How far a call to an endpoint may go. There are no streams.
pub const LIMITS: Limits =
    Limits { connect: Duration::from_secs(2), whole: Duration::from_secs(10), body: 64 * 1024, at_once: AT_ONCE, streams_at_once: 0, keep: Duration::ZERO };
/// How many webhooks are served at once; the others wait for a turn.
const AT_ONCE: usize = 64;
/// Records that are looked at in one step.
const READ: usize = 512;
/// How many things are kept as they were around their latest told event.
const KEPT: usize = 1024;
/// What stands in events that no caller asked for.
const RULE: &str = "webhooks";
/// Steps of one webhook before the next one has its turn.
const STEPS: usize = 64;
/// Seconds until a webhook is looked at again whose events could not be read.
const TROUBLED: i64 = 60;

/// Says whether nothing leaves this vault for now.
pub type Held = Box<dyn Fn(&Views) -> bool + Send + Sync>;

/// What delivers.
pub struct Webhooks {
    vault: Arc<Vault>,
    egress: Egress,
    random: Arc<dyn Random>,
    held: Held,
    /// Told by several webhooks one after another: folded once.
    around: Mutex<HashMap<StreamId, Arc<Around>>>,
    turns: Semaphore,
    stopping: AtomicBool,
}

/// What came of trying a webhook out.
pub struct Tested {
    /// The status of the answer, if one came.
    pub status: Option<u16>,
    /// Why it was not taken; `None`: it was.
    pub cause: Option<String>,
    /// The message's id.
    pub id: String,
    /// The position of the event that says so.
    pub at: Position,
}

/// A webhook that may be told something now.
struct Target(Arc<Entry>);

impl Target {
    fn live(&self) -> Option<&Webhook> {
        live(&self.0)
    }
}

fn live(entry: &Entry) -> Option<&Webhook> {
    match &entry.state {
        AnyState::Webhook(State::Live(live)) => Some(live),
        _ => None,
    }
}

impl Webhooks {
    /// Through this door, unless everything that would leave is held.
    #[must_use]
    pub fn new(vault: Arc<Vault>, egress: Egress, random: Arc<dyn Random>, held: Held) -> Self {
        Self { vault, egress, random, held, around: Mutex::default(), turns: Semaphore::new(AT_ONCE), stopping: AtomicBool::new(false) }
    }

    /// Whether messages may be sent to a URL, as far as it can be said without its addresses.
    pub fn vet(&self, url: &str) -> Result<(), Refusal> {
        self.egress.vet_url(url).map_err(|refusal| Refusal::invalid("url", refusal.to_string()))
    }

    /// Where a webhook stands, by what is recorded; `None` when it is not there.
    #[must_use]
    pub fn line(&self, id: StreamId) -> Option<Line> {
        let views = self.vault.views();
        let entry = views.thing(id)?;
        Some(Line::new(id, entry.tenant, entry.version, live(entry)?, self.vault.now()))
    }

    /// A webhook, if it may be told something now: it is there and enabled, its tenant is not suspended, and nothing holds the vault back.
    fn target(&self, views: &Views, id: StreamId) -> Option<Target> {
        let entry = views.thing(id)?;
        let enabled = live(entry).is_some_and(|live| live.profile.enabled);
        let may = enabled && !is_suspended(views, entry.tenant) && !(self.held)(views);
        may.then(|| Target(Arc::clone(entry)))
    }

    /// Sends what is due to one webhook, in order, as far as one turn goes. Gives when to come back; `None`: when something happens.
    pub async fn deliver_due(&self, line: &mut Line) -> Option<Moment> {
        for _ in 0..STEPS {
            let views = self.vault.views();
            let target = self.target(&views, line.id).filter(|_| !self.stopping.load(Ordering::Relaxed))?;
            line.sync(target.0.version, target.live()?);
            let (now, last) = (self.vault.now(), views.connections_last(line.tenant));
            let due = line.due(now, last, views.position());
            let done = match line.next(now, last) {
                Step::Wait(_) => return due,
                Step::Send(letter) => self.send_again(line, letter, false).await,
                Step::Probe(letter) => self.send_again(line, letter, true).await,
                Step::Read => self.read_on(line, views.position()).await,
            };
            if let Err(error) = done {
                tracing::error!(%error, webhook = %line.id, "a message could not be made; it is tried again");
                line.leave_alone(now.plus_seconds(TROUBLED));
            }
            if line.record_due().is_some_and(|due| due <= self.vault.now()) {
                self.record(line).await;
            }
        }
        Some(self.vault.now())
    }

    /// Writes down what came of sending. What cannot be written is kept for the next time.
    pub async fn record(&self, line: &mut Line) {
        if line.record_due().is_none() {
            return;
        }
        let came = line.unrecorded().clone();
        match self.note(line.tenant, line.id, || Order::Progress(came.clone())).await {
            Ok(()) => line.recorded(self.vault.now()),
            Err(error) => {
                tracing::warn!(%error, webhook = %line.id, "what came of sending could not be written; it is kept for the next time");
                line.not_recorded(self.vault.now());
            }
        }
    }

    async fn note(&self, tenant: TenantId, id: StreamId, order: impl Fn() -> Order) -> Result<(), VaultError> {
        let principal = Principal::vault(tenant);
        let command = Command { principal: &principal, meta: Meta { rule: Some(RULE.into()), ..Meta::default() }, idempotency: None };
        self.vault.execute(&command, |given| plans::note_webhook(given, tenant, id, order())).await.map(drop)
    }

    /// Sends a letter that failed before, or that is sent again.
    async fn send_again(&self, line: &mut Line, letter: Letter, probe: bool) -> Result<(), VaultError> {
        let record = self.vault.log().fetch(&[letter.position]).await?.pop();
        let around = match record.filter(|record| record.header().tenant == line.tenant) {
            Some(record) => self.around(record.header().stream, letter.position).await?,
            None => None,
        };
        self.send(line, letter, around.as_deref(), probe).await.map(drop)
    }

    /// Goes on along the log, and sends what its events tell. Headers say which of them are of interest: no other box is opened.
    async fn read_on(&self, line: &mut Line, head: Position) -> Result<(), VaultError> {
        for record in self.vault.log().read(line.progress().through, READ).await? {
            let header = record.header();
            if header.position > head {
                break;
            }
            if header.tenant == line.tenant && header.kind == connection::NAME {
                if line.next(self.vault.now(), head) != Step::Read {
                    return Ok(());
                }
                let around = self.around(header.stream, header.position).await?;
                for notice in around.as_deref().map(told).unwrap_or_default() {
                    let letter = Letter { position: header.position, notice };
                    if line.takes(letter) && !self.send(line, letter, around.as_deref(), false).await? {
                        return Ok(());
                    }
                }
            }
            line.advance(header.position);
        }
        Ok(())
    }

    /// A connection around one of its events.
    async fn around(&self, stream: StreamId, position: Position) -> Result<Option<Arc<Around>>, VaultError> {
        let near = self.around.lock().unwrap_or_else(PoisonError::into_inner).get(&stream).cloned();
        if let Some(near) = near.as_ref().filter(|near| near.header.position == position) {
            return Ok(Some(Arc::clone(near)));
        }
        let Some(around) = self.vault.thing_at(stream, position, near.as_deref()).await? else { return Ok(None) };
        let around = Arc::new(around);
        let mut kept = self.around.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.clear();
        }
        if kept.get(&stream).is_none_or(|other| other.header.position < position) {
            kept.insert(stream, Arc::clone(&around));
        }
        Ok(Some(around))
    }

    /// Sends one letter, if it may be sent now and is subscribed to. `false`: nothing further may be sent for now.
    async fn send(&self, line: &mut Line, letter: Letter, around: Option<&Around>, probe: bool) -> Result<bool, VaultError> {
        let target = self.target(&self.vault.views(), line.id).filter(|_| !self.stopping.load(Ordering::Relaxed));
        let Some(webhook) = target.as_ref().and_then(Target::live) else { return Ok(false) };
        let known = line.progress().retrying.contains_key(&letter) || line.progress().replaying.contains(&letter);
        if !known && !webhook.wants(letter.notice) {
            return Ok(true);
        }
        let message = around.and_then(|around| message::message(line.id, around, letter.notice, line.tries(letter) + 1));
        let sent = match &message {
            Some(message) => self.post(line.tenant, webhook, message).await?,
            None => Sent::Failed { cause: "its event tells of no connection".into(), status: None, pause: None },
        };
        if let Sent::Gone { cause } = &sent {
            tracing::warn!(webhook = %line.id, "an endpoint wants nothing any more: its webhook is disabled");
            self.note(line.tenant, line.id, || Order::Gone { cause: cause.clone() }).await?;
            return Ok(false);
        }
        let chance = message.map_or(0, |message| chance(&message, line.tries(letter)));
        line.ended(letter, &sent, probe, self.vault.now(), chance);
        Ok(true)
    }

    /// Signs a message and makes the call.
    async fn post(&self, tenant: TenantId, live: &Webhook, message: &Message) -> Result<Sent, VaultError> {
        let now = self.vault.now();
        let seconds = now.millis() / 1000;
        let mut signatures = Vec::new();
        for secret in live.signing(now) {
            match self.vault.open_secret(tenant, secret).await {
                Ok(secret) => signatures.extend(sign(&secret, &message.id, seconds, &message.body)),
                // A former one may be shredded by now.
                Err(VaultError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if signatures.is_empty() {
            return Ok(Sent::Failed { cause: "not called: its signing secret was shredded; rotate it".into(), status: None, pause: None });
        }
        let header = |name: &str, value: &str| (name.to_owned(), Secret::from(value));
        let request = Request {
            method: Method::POST,
            url: live.profile.url.clone(),
            headers: vec![
                header("content-type", "application/json"),
                header("webhook-id", &message.id),
                header("webhook-timestamp", &seconds.to_string()),
                header("webhook-signature", &signatures.join(" ")),
            ],
            body: Secret::new(message.body.clone()),
        };
        Ok(judge(self.egress.send(request).await, now))
    }

    /// Tries a webhook out: one message now, whether it is enabled or not. What came of it is recorded under the caller's name.
    pub async fn test(&self, command: &Command<'_>, id: StreamId) -> Result<Tested, VaultError> {
        let tenant = command.principal.tenant;
        let views = self.vault.views();
        let entry = views.thing(id).filter(|entry| entry.tenant == tenant).ok_or(Refusal::NotFound)?;
        let live = live(entry).ok_or(Refusal::NotFound)?;
        if (self.held)(&views) {
            return Err(Refusal::InvalidState("everything that would leave this vault is held".into()).into());
        }
        let message = message::ping(id, EventId::random(&*self.random), self.vault.now()).ok_or(Refusal::NotFound)?;
        let (status, cause) = match self.post(tenant, live, &message).await? {
            Sent::Taken { status } => (Some(status), None),
            Sent::Failed { cause, status, .. } => (status, Some(cause)),
            Sent::Gone { cause } => (Some(GONE), Some(cause)),
        };
        let order = || Order::Test { status, cause: cause.clone() };
        let done = self.vault.execute(command, |given| plans::note_webhook(given, tenant, id, order())).await?;
        Ok(Tested { status, id: message.id, at: done.events.map_or(views.position(), |(at, _)| at), cause })
    }
}

/// What an event tells.
fn told(around: &Around) -> Vec<Notice> {
    let AnyState::Connection(after) = &around.after else { return Vec::new() };
    let event = if let AnyEvent::Connection(event) = &around.event { Some(event) } else { None };
    match &around.before {
        AnyState::Connection(connection::State::Live(before)) => notices(Some(before), after, event),
        _ => notices(None, after, event),
    }
}

fn chance(message: &Message, tries: u32) -> u16 {
    let place = (tries as usize * 2) % message.chance.len();
    let two = message.chance.get(place..place + 2).and_then(|two| two.first_chunk::<2>());
    two.map_or(0, |two| u16::from_be_bytes(*two))
}

/// The status by which an endpoint says that it wants nothing any more.
const GONE: u16 = 410;

/// What an answer means.
fn judge(answer: Result<Answer, EgressError>, now: Moment) -> Sent {
    let failed = |cause: String, status, pause| Sent::Failed { cause, status, pause };
    match answer {
        Ok(Answer { status: status @ 200..=299, .. }) => Sent::Taken { status },
        Ok(Answer { status: GONE, .. }) => Sent::Gone { cause: "the endpoint answered 410 Gone".into() },
        Ok(Answer { status: status @ 300..=399, .. }) => failed(format!("the endpoint answered {status}: redirects are not followed"), Some(status), None),
        Ok(answer) => {
            let pause = answer.retry_after.as_deref().filter(|_| [429, 503].contains(&answer.status)).and_then(|text| retry_after(text, now));
            let pause = pause.map(|at| (at.millis() - now.millis()) / 1000);
            failed(format!("the endpoint answered {}", answer.status), Some(answer.status), pause)
        }
        Err(error) => failed(error.to_string(), None, None),
    }
}

//! Renews connections before their tokens end, and removes tokens that their service has refused for too long. What is due follows from the views,
//! so a restart changes nothing; which hosts are left alone for now is known to this run only.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::credentials::connection::{self, Command as Order, Connection, Due};
use crate::credentials::{AnyState, Meta};
use crate::kernel::{Moment, StreamId, TenantId};
use crate::oauth::{Bearing, Exchanges, Hosts, Landed, Wanted, What};
use crate::vault::access::Principal;
use crate::vault::{Command, Vault, VaultError, plans};
use crate::views::Views;

/// How often it is looked what is due: the first due of each service, a few hundred comparisons.
const LOOK: Duration = Duration::from_secs(1);
/// Background exchanges at once, of all hosts. Callers who wait have the rest of the door to themselves.
const AT_ONCE: usize = 32;
/// While the vault takes no writes, nothing begins for so many seconds.
const PAUSE: i64 = 5;
/// So many due connections of one service are looked at each time. Where none of them may begin, the next look goes on behind them.
const SLACK: usize = 64;
/// A connection that was looked at in vain is left alone for so many seconds.
const PARKED: i64 = 60;

/// A background exchange that ended.
struct Ended {
    connection: StreamId,
    host: String,
    landed: Landed,
}

/// What renews connections.
pub struct Refresher {
    vault: Arc<Vault>,
    exchanges: Arc<Exchanges>,
    /// Waits are told by the steady clock: a wall clock that leaps must not end them, nor make them last.
    hosts: Hosts,
    active: HashSet<StreamId>,
    /// Connections that were looked at in vain: not before then.
    parked: HashMap<StreamId, Moment>,
    paused_until: Option<Moment>,
    /// The service that began an exchange last: the next look begins behind it, so that each has its turn.
    last: String,
    /// Where the look at a service ended early.
    looked: HashMap<String, (Moment, StreamId)>,
    ends: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
}

impl Refresher {
    /// For this vault.
    #[must_use]
    pub fn new(vault: Arc<Vault>, exchanges: Arc<Exchanges>) -> Self {
        let ends = mpsc::unbounded_channel();
        Self {
            vault,
            exchanges,
            hosts: Hosts::default(),
            active: HashSet::new(),
            parked: HashMap::new(),
            paused_until: None,
            last: String::new(),
            looked: HashMap::new(),
            ends,
        }
    }

    /// Runs until `stop` becomes true. Exchanges under way go on: whoever ends the server waits for them.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick() => {}
                ended = self.ends.1.recv() => {
                    if let Some(ended) = ended {
                        self.note(ended);
                    }
                }
                // Whoever could tell is gone: that is a reason to stop as well.
                _ = stop.wait_for(|stop| *stop) => return,
            }
            self.step().await;
        }
    }

    /// Takes note of what has ended and begins what is due and may begin; gives how many began or were removed.
    pub async fn step(&mut self) -> usize {
        while let Ok(ended) = self.ends.1.try_recv() {
            self.note(ended);
        }
        let views = self.vault.views();
        let (now, steady) = (self.vault.time(&views), self.vault.steady());
        if views.is_held() || self.paused_until.is_some_and(|until| until > steady) {
            return 0;
        }
        if let Err(error) = self.exchanges.sweep_left().await {
            self.pause(&error);
            return 0;
        }
        self.parked.retain(|_, until| *until > steady);
        let is_due = |waiting: &mut dyn Iterator<Item = (Moment, StreamId)>| waiting.next().is_some_and(|(at, _)| at <= now);
        let mut services: Vec<String> = views.renewals().filter_map(|(service, mut waiting)| is_due(&mut waiting).then(|| service.to_owned())).collect();
        let turn = services.partition_point(|service| *service <= self.last);
        services.rotate_left(turn);
        let mut begun = 0;
        for service in services {
            if self.active.len() >= AT_ONCE {
                break;
            }
            begun += self.of_service(&views, service, now).await;
        }
        begun
    }

    /// How many exchanges of its own are under way.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active.len()
    }

    /// Waits until everything that began has ended.
    pub async fn settle(&mut self) {
        while !self.active.is_empty() {
            let Some(ended) = self.ends.1.recv().await else { return };
            self.note(ended);
        }
    }

    async fn of_service(&mut self, views: &Views, service: String, now: Moment) -> usize {
        let (mut begun, mut looked, mut ended_at, mut off) = (0, 0, None, HashMap::new());
        for (at, id) in views.renewals_after(&service, self.looked.remove(&service)) {
            if at > now || self.active.len() >= AT_ONCE {
                break;
            }
            if looked >= SLACK {
                ended_at = Some((at, id));
                break;
            }
            if self.active.contains(&id) || self.parked.contains_key(&id) {
                continue;
            }
            looked += 1;
            let Some(found) = find(views, id) else { continue };
            // Nothing of a tenant that has switched the service off: it is as if that were not due, and no failure.
            if *off.entry(found.tenant).or_insert_with(|| is_off(views, found.tenant, &service)) {
                continue;
            }
            match found.due {
                Due::Drop => begun += usize::from(self.drop_refused(id, found.tenant).await),
                Due::Renewal if self.hosts.room(&found.host, self.vault.steady()) == 0 => {}
                Due::Renewal => {
                    self.begin(id, found.tenant, found.host);
                    self.last.clone_from(&service);
                    begun += 1;
                }
            }
        }
        if let Some(ended_at) = ended_at {
            self.looked.insert(service, ended_at);
        }
        begun
    }

    fn begin(&mut self, connection: StreamId, tenant: TenantId, host: String) {
        self.active.insert(connection);
        self.hosts.begin(&host);
        let (exchanges, ends) = (Arc::clone(&self.exchanges), self.ends.0.clone());
        tokio::spawn(async move {
            let wanted = Wanted { principal: Principal::vault(tenant), meta: meta(), idempotency: None, connection, what: What::Renew };
            let landed = exchanges.exchange(wanted).await;
            // Nobody hears it when the refresher has stopped.
            drop(ends.send(Ended { connection, host, landed }));
        });
    }

    fn note(&mut self, ended: Ended) {
        let Ended { connection, host, landed } = ended;
        self.active.remove(&connection);
        let bearing = self.bearing(connection, &landed);
        self.hosts.end(&host, self.vault.steady(), bearing);
        let Landed::Vault(error) = landed else { return };
        match &*error {
            VaultError::Refused(refusal) => self.refused(connection, refusal.to_string()),
            error if error.is_read_only() || matches!(error, VaultError::Submit(_)) => self.pause(error),
            error => {
                tracing::warn!(%error, "a connection could not be renewed");
                self.park(connection);
            }
        }
    }

    /// Nothing begins for a while.
    fn pause(&mut self, error: &VaultError) {
        tracing::warn!(%error, "nothing is renewed: the vault takes no writes for now");
        self.paused_until = Some(self.vault.steady().plus_seconds(PAUSE));
    }

    fn park(&mut self, connection: StreamId) {
        self.parked.insert(connection, self.vault.steady().plus_seconds(PARKED));
    }

    /// What an exchange tells of its host. What it asked for is counted from the wall clock's now.
    fn bearing(&self, connection: StreamId, landed: &Landed) -> Bearing {
        let (cause, status) = match landed {
            Landed::Stored { .. } => return Bearing::Well,
            Landed::Vault(_) => return Bearing::Unasked,
            Landed::Failed { cause, status } => (cause, status),
        };
        let views = self.vault.views();
        let failure = live(&views, connection).and_then(|live| live.failure.as_deref()).filter(|failure| failure.cause == *cause);
        let asked = failure.and_then(|failure| failure.retry_at).map(|at| {
            let millis = at.millis() - self.vault.time(&views).millis();
            self.vault.steady().plus_seconds(millis / 1000 + 1)
        });
        match status {
            Some(429 | 500..=599) => Bearing::Badly(asked),
            Some(_) => Bearing::Well,
            None if failure.is_some_and(|failure| failure.passing) => Bearing::Badly(asked),
            None => Bearing::Unasked,
        }
    }

    /// A rule says no, though the exchange is due. That is recorded like a failure, so that it is seen, and not tried all the time.
    fn refused(&mut self, connection: StreamId, cause: String) {
        self.park(connection);
        let Some(tenant) = self.vault.views().thing(connection).map(|entry| entry.tenant) else { return };
        let vault = Arc::clone(&self.vault);
        tokio::spawn(async move {
            let principal = Principal::vault(tenant);
            let command = Command { principal: &principal, meta: meta(), idempotency: None };
            let noted = vault.execute(&command, |given| plans::on_connection(given, connection, Order::NoteFailure { cause: cause.clone() }));
            if let Err(error) = noted.await {
                tracing::warn!(%error, "that a connection cannot be renewed could not be recorded");
            }
        });
    }

    async fn drop_refused(&mut self, connection: StreamId, tenant: TenantId) -> bool {
        let principal = Principal::vault(tenant);
        let command = Command { principal: &principal, meta: meta(), idempotency: None };
        match self.vault.execute(&command, |given| plans::on_connection(given, connection, Order::Drop)).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%error, "tokens that their service refuses could not be removed");
                self.park(connection);
                false
            }
        }
    }
}

fn meta() -> Meta {
    Meta { rule: Some("refresher".into()), ..Meta::default() }
}

/// Whether a tenant has switched a service off, which is named as the views name it.
fn is_off(views: &Views, tenant: TenantId, service: &str) -> bool {
    let integration = service.split_once('+').and_then(|(api, service)| views.integration(tenant, api, service));
    integration.is_some_and(|(_, integration)| !integration.enabled)
}

/// What is due of a connection, and at which host.
struct Found {
    tenant: TenantId,
    due: Due,
    host: String,
}

fn live(views: &Views, id: StreamId) -> Option<&Connection> {
    match &views.thing(id)?.state {
        AnyState::Connection(connection::State::Live(live)) => Some(live),
        _ => None,
    }
}

fn find(views: &Views, id: StreamId) -> Option<Found> {
    let (entry, live) = (views.thing(id)?, live(views, id)?);
    let (_, due) = connection::due(id, live)?;
    let connector = views.connector(entry.tenant, &live.key.unified_api, &live.key.service_id).map(|(_, connector)| connector);
    let token_url = connector.and_then(|connector| connector.oauth.as_ref()).map_or("", |oauth| oauth.token_url.as_str());
    // With its placeholders: where each customer has a host of its own, they are one service all the same.
    let host = token_url.split_once("://").map_or(token_url, |(_, rest)| rest).split('/').next().unwrap_or_default().to_owned();
    Some(Found { tenant: entry.tenant, due, host })
}

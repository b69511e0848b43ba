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
/// So many due connections of one service are looked at each time, beyond those that may begin.
const SLACK: usize = 64;

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
    hosts: Hosts,
    active: HashSet<StreamId>,
    /// Connections that were looked at in vain: not before then.
    parked: HashMap<StreamId, Moment>,
    paused_until: Option<Moment>,
    ends: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
}

impl Refresher {
    /// For this vault.
    #[must_use]
    pub fn new(vault: Arc<Vault>, exchanges: Arc<Exchanges>) -> Self {
        let ends = mpsc::unbounded_channel();
        Self { vault, exchanges, hosts: Hosts::default(), active: HashSet::new(), parked: HashMap::new(), paused_until: None, ends }
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
        let now = self.vault.time(&views);
        if views.is_held() || self.paused_until.is_some_and(|until| until > now) {
            return 0;
        }
        self.parked.retain(|_, until| *until > now);
        let mut begun = 0;
        for (service, waiting) in views.renewals() {
            if self.active.len() >= AT_ONCE {
                break;
            }
            // Nothing of a tenant that has switched the service off: it is as if that were not due, and no failure.
            let mut off = HashMap::new();
            let waiting = waiting.filter(|(_, id)| {
                let Some(tenant) = views.thing(*id).map(|entry| entry.tenant) else { return false };
                !*off.entry(tenant).or_insert_with(|| is_off(&views, tenant, service))
            });
            begun += self.of_service(&views, waiting, now).await;
        }
        begun
    }

    /// Waits until everything that began has ended.
    pub async fn settle(&mut self) {
        while !self.active.is_empty() {
            let Some(ended) = self.ends.1.recv().await else { return };
            self.note(ended);
        }
    }

    async fn of_service(&mut self, views: &Views, waiting: impl Iterator<Item = (Moment, StreamId)>, now: Moment) -> usize {
        let (mut begun, mut looked) = (0, 0);
        for (at, id) in waiting {
            if at > now || self.active.len() >= AT_ONCE || looked >= SLACK {
                break;
            }
            if self.active.contains(&id) || self.parked.contains_key(&id) {
                continue;
            }
            looked += 1;
            let Some(found) = find(views, id) else { continue };
            match found.due {
                Due::Drop => begun += usize::from(self.drop_refused(id, found.tenant, now).await),
                Due::Renewal if self.hosts.room(&found.host, now) == 0 => {}
                Due::Renewal => {
                    self.begin(id, found.tenant, found.host);
                    begun += 1;
                }
            }
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
        let views = self.vault.views();
        let now = self.vault.time(&views);
        let bearing = match &landed {
            Landed::Stored { .. } => Bearing::Well,
            Landed::Failed { .. } => live(&views, connection)
                .and_then(|live| live.failure.as_deref())
                .map_or(Bearing::Well, |failure| if failure.passing { Bearing::Badly(failure.retry_at) } else { Bearing::Well }),
            Landed::Vault(_) => Bearing::Unasked,
        };
        self.hosts.end(&host, now, bearing);
        let Landed::Vault(error) = landed else { return };
        match &*error {
            VaultError::Refused(refusal) => self.refused(&views, connection, refusal.to_string(), now),
            error => {
                tracing::warn!(%error, "a connection could not be renewed: the vault takes no writes for now");
                self.paused_until = Some(now.plus_seconds(PAUSE));
            }
        }
    }

    /// A rule says no, though the exchange is due. That is recorded like a failure, so that it is seen, and not tried all the time.
    fn refused(&mut self, views: &Views, connection: StreamId, cause: String, now: Moment) {
        self.parked.insert(connection, now.plus_seconds(60));
        let Some(tenant) = views.thing(connection).map(|entry| entry.tenant) else { return };
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

    async fn drop_refused(&mut self, connection: StreamId, tenant: TenantId, now: Moment) -> bool {
        let principal = Principal::vault(tenant);
        let command = Command { principal: &principal, meta: meta(), idempotency: None };
        match self.vault.execute(&command, |given| plans::on_connection(given, connection, Order::Drop)).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%error, "tokens that their service refuses could not be removed");
                self.parked.insert(connection, now.plus_seconds(60));
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

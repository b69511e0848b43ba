//! Who could read or use a secret at any time of a window: a fold of users, roles and credentials from its beginning on. Nothing else is opened,
//! except what tells of uses.

use std::collections::{BTreeMap, BTreeSet};

use super::life::{Brought, Deed, How};
use super::{Window, app_of};
use crate::credentials::{AnyEvent, AnyState, Kind, Stored, api_client, api_key, application, connection, role, tenant, usage, user, user_application};
use crate::kernel::{Header, Moment, Permission, PermissionSet, Position, StreamId, TenantId};
use crate::vault::access::{Principal, Resource, authorize, holds, permissions_of};
use crate::vault::authenticate::{is_suspended, principal, usable};
use crate::vault::plans::give_applications;
use crate::vault::{Busy, Vault, VaultError};
use crate::views::{Entry, Views};

/// How many records are read at once.
const WINDOW: usize = 512;
/// The most principals, and the most uses, that are told.
const MOST: usize = 1_000;
/// Uses are written within so many seconds.
const WRITTEN: i64 = 120;
/// The kinds whose events say who may do what.
const TELLING: [&str; 7] = [user::NAME, role::NAME, tenant::NAME, api_key::NAME, application::NAME, user_application::NAME, api_client::NAME];
/// The kinds of credentials that act; a session acts as its user, who is told.
const ACTING: [Kind; 4] = [Kind::ApiKey, Kind::Application, Kind::UserApplication, Kind::ApiClient];

/// Somebody who could.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The user or credential.
    pub id: StreamId,
    /// Its kind.
    pub kind: &'static str,
    /// Its login or name.
    pub name: String,
    /// The user as whom a credential acts.
    pub user: Option<StreamId>,
    /// When it could, and by which permissions.
    pub spans: Vec<Span>,
}

/// A time through which somebody's permissions stayed the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Since when, within the window.
    pub from: Moment,
    /// The event since which; that which began the window, or a later change.
    pub since: Position,
    /// Until when; `None`: to the end of the window.
    pub to: Option<Moment>,
    /// The event that ended it, unless it ended by itself.
    pub ended_by: Option<Position>,
    /// What it held of the permissions that count.
    pub permissions: PermissionSet,
    /// By which rules.
    pub rules: BTreeSet<String>,
    /// When the credential ends by itself.
    expires_at: Option<Moment>,
}

impl Holder {
    /// Whether it could read the value itself.
    #[must_use]
    pub fn reads(&self) -> bool {
        self.spans.iter().any(|span| !span.permissions.within(READING).is_empty())
    }
}

/// What a walk through the window found.
pub(super) struct Found {
    pub could: Vec<Holder>,
    pub deeds: Vec<Deed>,
    /// Whether there is more than is told.
    pub cut: bool,
}

/// The permissions that show a secret's value.
const READING: PermissionSet = PermissionSet::of(&[Permission::SecretsReveal, Permission::ApiClientsReveal]);

/// The permissions that let a credential's secrets be read or used, or sent elsewhere.
const fn counting(kind: Kind) -> PermissionSet {
    use Permission::{ApiClientsReveal, ConnectionsExchange, ConnectionsProxy, ConnectionsWrite, ConnectorsWrite, SecretsReveal};
    match kind {
        Kind::Connection => PermissionSet::of(&[SecretsReveal, ConnectionsExchange, ConnectionsProxy, ConnectionsWrite]),
        Kind::ProviderKey => PermissionSet::of(&[SecretsReveal]),
        Kind::ApiClient => PermissionSet::of(&[SecretsReveal, ApiClientsReveal]),
        Kind::Integration => PermissionSet::of(&[SecretsReveal, ConnectionsExchange, ConnectorsWrite]),
        // Only a verifier is kept.
        _ => PermissionSet::of(&[]),
    }
}

/// A walk through the window.
struct Walk<'a> {
    credential: StreamId,
    kind: Kind,
    tenant: TenantId,
    state: &'a AnyState,
    secrets: &'a [Brought],
    window: Window,
    could: BTreeMap<StreamId, Holder>,
    deeds: Vec<Deed>,
    cut: bool,
}

impl Vault {
    pub(super) async fn holders(
        &self,
        credential: StreamId,
        entry: &Entry,
        window: Window,
        secrets: &[Brought],
        through: Position,
    ) -> Result<Result<Found, Busy>, VaultError> {
        let kind = entry.state.sort().unwrap_or(Kind::Connection);
        let mut walk =
            Walk { credential, kind, tenant: entry.tenant, state: &entry.state, secrets, window, could: BTreeMap::new(), deeds: Vec::new(), cut: false };
        let until = match window.to {
            Some((_, to)) => self.log.seek(to.plus_seconds(WRITTEN)).await?.min(through),
            None => through,
        };
        let root = self.views.root_before(window.from.0);
        let (mut views, mut at) = ((*root.views).clone(), root.views.position());
        let Ok(_turn) = self.turn(until.0.saturating_sub(at.0)).await else { return Ok(Err(Busy)) };
        let (live, mut touched) = (self.views(), BTreeSet::new());
        let mut begun = at >= window.from.0;
        if begun {
            walk.everybody(&views, window.from);
        }
        while at < until {
            let records = self.log.read(at, WINDOW).await?;
            if records.is_empty() {
                break;
            }
            for record in records.iter().take_while(|record| record.header().position <= until) {
                let header = record.header();
                at = header.position;
                if begun
                    && walk.may_tell(&live, header)
                    && let Some(opened) = self.opener.open_unless_shredded(record)?
                {
                    walk.told(header, opened.stored);
                }
                if TELLING.contains(&header.kind.as_str()) && (header.tenant == walk.tenant || header.kind == tenant::NAME) {
                    views.take(header, self.opener.event(record)?);
                    touched.insert((header.kind.clone(), header.stream));
                }
                if header.group.ends() && begun {
                    walk.changed(&views, std::mem::take(&mut touched), (at, header.recorded_at));
                } else if header.group.ends() && at >= window.from.0 {
                    begun = true;
                    touched.clear();
                    walk.everybody(&views, window.from);
                }
            }
        }
        Ok(Ok(walk.found(self.time(&live))))
    }
}

impl Walk<'_> {
    /// Looks at all users and credentials of the tenant.
    fn everybody(&mut self, views: &Views, now: (Position, Moment)) {
        let users: Vec<StreamId> = views.users(self.tenant).map(|(id, _)| id).collect();
        let acting: Vec<StreamId> = ACTING.into_iter().flat_map(|kind| views.listed(self.tenant, kind, Position::ZERO).map(|(id, _)| id)).collect();
        let known: Vec<StreamId> = self.could.keys().copied().collect();
        for id in users.into_iter().chain(acting).chain(known).collect::<BTreeSet<_>>() {
            self.look(views, id, now);
        }
    }

    /// Looks at whomever a group of events may have changed.
    fn changed(&mut self, views: &Views, touched: BTreeSet<(String, StreamId)>, now: (Position, Moment)) {
        if !self.window.holds(now.1) {
            return;
        }
        for (kind, stream) in touched {
            if kind == role::NAME || kind == tenant::NAME {
                return self.everybody(views, now);
            }
            self.look(views, stream, now);
            if kind == user::NAME {
                let live: Vec<StreamId> = ACTING.into_iter().flat_map(|kind| views.owned(stream, kind).map(|(id, _)| id)).collect();
                let known: Vec<StreamId> = self.could.values().filter(|holder| holder.user == Some(stream)).map(|holder| holder.id).collect();
                live.into_iter().chain(known).collect::<BTreeSet<_>>().into_iter().for_each(|id| self.look(views, id, now));
            }
        }
    }

    /// What somebody may from now on.
    fn look(&mut self, views: &Views, id: StreamId, (position, at): (Position, Moment)) {
        let held = acting(views, id, at).map(|principal| (self.held(views, &principal), principal.user));
        let held = held.filter(|((permissions, _), _)| !permissions.is_empty());
        let open = self.could.get_mut(&id).and_then(|holder| holder.spans.last_mut()).filter(|span| span.to.is_none());
        let entry = views.thing(id);
        let expires_at = entry.and_then(|entry| entry.state.bearer()?.expires_at);
        if let Some(open) = open {
            if let Some(((permissions, rules), _)) = &held
                && open.permissions == *permissions
                && open.rules == *rules
            {
                open.expires_at = expires_at;
                return;
            }
            if let Some(end) = open.expires_at.filter(|end| *end <= at) {
                open.to = Some(end);
            } else {
                (open.to, open.ended_by) = (Some(at), Some(position));
            }
        }
        if let (Some(((permissions, rules), user)), Some(entry)) = (held, entry) {
            let kind = entry.state.kind();
            let holder =
                self.could.entry(id).or_insert_with(|| Holder { id, kind, name: String::new(), user: user.filter(|user| *user != id), spans: Vec::new() });
            holder.name = name(&entry.state);
            holder.spans.push(Span { from: at, since: position, to: None, ended_by: None, permissions, rules, expires_at });
        }
    }

    /// What a principal holds of the permissions that count for the credential, and by which rules.
    fn held(&self, views: &Views, by: &Principal) -> (PermissionSet, BTreeSet<String>) {
        // Whoever may do less than a client is not shown its secrets; an integration counts in all applications.
        let is_shown = match self.kind {
            Kind::ApiClient => {
                let outranked = views.thing(self.credential).is_some_and(|entry| by.may_give(permissions_of(views, entry)).is_ok());
                outranked && give_applications(by, &[]).is_ok()
            }
            Kind::Integration => give_applications(by, &[]).is_ok(),
            _ => true,
        };
        let counting = if is_shown { counting(self.kind) } else { counting(self.kind).without(READING) };
        let resource = Resource { tenant: self.tenant, app: app_of(self.state) };
        let (mut held, mut rules) = (PermissionSet::default(), BTreeSet::new());
        for permission in counting.iter() {
            if let Ok(rule) = authorize(by, permission, resource) {
                held = held.and(PermissionSet::of(&[permission]));
                rules.insert(rule.to_owned());
            }
        }
        (held, rules)
    }

    /// Whether an event of another thing tells of a use; its header says so.
    fn may_tell(&self, live: &Views, header: &Header) -> bool {
        if header.tenant != self.tenant {
            return false;
        }
        match (self.kind, header.kind.as_str(), header.event_type.as_str()) {
            (_, usage::NAME, "used") => self.secrets.iter().any(|secret| secret.id.is_some()),
            (Kind::Integration, connection::NAME, "exchange_started") => self.window.holds(header.recorded_at) && self.serves(live, header.stream),
            _ => false,
        }
    }

    /// Whether a connection is to the service that the integration supplies.
    fn serves(&self, live: &Views, stream: StreamId) -> bool {
        let key = match live.thing(stream).map(|entry| &entry.state) {
            Some(AnyState::Connection(connection::State::Live(live))) => &live.key,
            Some(AnyState::Connection(connection::State::Deleted { key, .. })) => key,
            _ => return false,
        };
        matches!(self.state, AnyState::Integration(state) if state.service() == Some((&key.unified_api, &key.service_id)))
    }

    fn told(&mut self, header: &Header, Stored { meta, event }: Stored) {
        let deed = |how, at, secrets| Deed { position: header.position, at, actor: None, how, secrets, count: 1, connection: None, meta: meta.clone() };
        let mut found = Vec::new();
        match event {
            AnyEvent::Usage(usage::Event::Used { uses }) => {
                for used in uses.into_iter().filter(|used| self.window.holds(used.last)) {
                    let named = self.secrets.iter().filter(|secret| secret.id == Some(used.secret)).map(|secret| secret.name.clone());
                    found.push(Deed { count: used.count, ..deed(How::Used, used.last, named.collect()) });
                }
            }
            AnyEvent::Connection(_) => {
                let named = self.secrets.iter().map(|secret| secret.name.clone()).collect();
                found.push(Deed { actor: Some(header.actor), connection: Some(header.stream), ..deed(How::Exchanged, header.recorded_at, named) });
            }
            _ => {}
        }
        for deed in found.into_iter().filter(|deed| !deed.secrets.is_empty()) {
            if self.deeds.len() < MOST {
                self.deeds.push(deed);
            } else {
                self.cut = true;
            }
        }
    }

    /// Those who could read first, by name.
    fn found(mut self, now: Moment) -> Found {
        let end = self.window.to.map_or(now, |(_, to)| to.min(now));
        for span in self.could.values_mut().flat_map(|holder| &mut holder.spans).filter(|span| span.to.is_none()) {
            span.to = span.expires_at.filter(|expires_at| *expires_at <= end);
        }
        let mut could: Vec<Holder> = self.could.into_values().collect();
        could.sort_by(|one, other| (!one.reads(), &one.name, one.id).cmp(&(!other.reads(), &other.name, other.id)));
        let cut = self.cut || could.len() > MOST;
        could.truncate(MOST);
        Found { could, deeds: self.deeds, cut }
    }
}

/// A user or credential as it may act at a time.
fn acting(views: &Views, id: StreamId, now: Moment) -> Option<Principal> {
    let entry = views.thing(id)?;
    match &entry.state {
        AnyState::User(user::State::Live(user)) if !user.blocked && !is_suspended(views, entry.tenant) => {
            let holds = holds(views, entry.tenant, &user.profile.roles, None);
            let is_home = views.tenant("default") == Some(entry.tenant);
            Some(Principal { id, user: Some(id), tenant: entry.tenant, is_home, holds, app_ids: Vec::new() })
        }
        AnyState::User(_) => None,
        _ => usable(views, id, now).ok().map(|usable| principal(views, &usable, None)),
    }
}

/// How somebody is called.
fn name(state: &AnyState) -> String {
    match state {
        AnyState::User(user::State::Live(user)) => user.profile.login.clone(),
        AnyState::ApiKey(api_key::State::Live(key)) => key.name.to_string(),
        AnyState::Application(application::State::Live(application)) => application.name.clone(),
        AnyState::UserApplication(user_application::State::Live(application)) => application.name.clone(),
        AnyState::ApiClient(api_client::State::Live(client)) => client.name.clone(),
        _ => String::new(),
    }
}

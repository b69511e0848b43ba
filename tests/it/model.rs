//! The connections surface as plain maps: what each request must be answered with. It shares no rule with the crate, only the catalog's files.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::model_connection::{Access, Connection, strings};
use crate::model_wire::{asked, free, if_match, instant, is_id, member, object, query, rfc3339, settings, show, token};

/// Bodies may be this long; those of imports four times as long.
const BODY: usize = 64 * 1024;

/// The resource that a path names.
#[derive(Clone, Debug)]
pub enum Target {
    Connections,
    Connection(&'static str, &'static str),
    Import(&'static str, &'static str),
    Validate(&'static str, &'static str),
    Consumers,
    Consumer(&'static str),
    Nothing,
}

/// A body and whether it is one JSON object, with no member twice and not too deep.
#[derive(Clone, Debug)]
pub struct Body {
    pub text: String,
    pub sound: bool,
}

/// One request, as it goes over the wire.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: &'static str,
    pub target: Target,
    pub query: Vec<(&'static str, String)>,
    pub token: Option<String>,
    pub app: bool,
    pub consumer: Option<String>,
    pub if_match: Option<String>,
    pub idempotency: Option<String>,
    pub body: Body,
}

/// Status and type of an error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault(pub u16, pub &'static str);

const UNAUTHORIZED: Fault = Fault(401, "UnauthorizedError");
pub const HEADERS: Fault = Fault(400, "RequestHeadersValidationError");
pub const INVALID: Fault = Fault(400, "RequestValidationError");
pub const TOO_LARGE: Fault = Fault(413, "RequestValidationError");
const MISSING: Fault = Fault(404, "EntityNotFoundError");
const STALE: Fault = Fault(412, "PreconditionFailedError");
const REUSED: Fault = Fault(422, "IdempotencyKeyReusedError");
const STATE: Fault = Fault(422, "InvalidStateError");

/// A page of consumers: the cursor it was asked with, and the last id on it if there are more.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    pub current: Option<String>,
    pub last: Option<String>,
}

/// A success.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    Nothing,
    Data { data: Value, tag: Option<u64>, page: Option<Page> },
}

fn shown(data: Value) -> Shown {
    Shown::Data { data, tag: None, page: None }
}

#[derive(Clone, Debug)]
struct Consumer {
    metadata: Option<Value>,
    created: i64,
    modified: i64,
}

pub type Key = (String, &'static str, &'static str);

/// All that one application has.
pub struct Model {
    pub now: i64,
    pub writes: usize,
    app: String,
    token: String,
    catalog: BTreeMap<(String, String), Value>,
    consumers: BTreeMap<String, Consumer>,
    connections: BTreeMap<Key, Connection>,
    /// Route and idempotency key, with what was asked under them and what was answered.
    done: BTreeMap<(String, String), (String, Option<Shown>)>,
    /// Under which of them the present request is carried out first.
    first: Option<(String, String)>,
    /// Whether the present request was carried out before: its first answer is given again.
    pub again: bool,
    /// The last id before each cursor that was given out.
    cursors: BTreeMap<String, String>,
}

/// The access token that an exchange brings.
pub const FETCHED: &str = "hush-fetched";

/// What came of an exchange that the vault itself carried out.
#[derive(Clone, Copy, Debug)]
pub enum Exchange {
    Tokens { lifetime: Option<i64> },
    Failed,
    Lost,
}

impl Model {
    pub fn new(app: &str, token: &str, now: i64) -> Self {
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/credentials/connector/catalog")).unwrap();
        let lists = files.map(|file| serde_json::from_slice::<Vec<Value>>(&std::fs::read(file.unwrap().path()).unwrap()).unwrap());
        let name = |connector: &Value, part: &str| connector[part].as_str().unwrap().to_owned();
        let catalog = lists.flatten().map(|connector| ((name(&connector, "unified_api"), name(&connector, "service_id")), connector)).collect();
        Self {
            now,
            writes: 0,
            app: app.to_owned(),
            token: token.to_owned(),
            catalog,
            consumers: BTreeMap::new(),
            connections: BTreeMap::new(),
            done: BTreeMap::new(),
            first: None,
            again: false,
            cursors: BTreeMap::new(),
        }
    }

    pub fn tag(&self, consumer: &str, api: &'static str, service: &'static str) -> u64 {
        self.connections.get(&(consumer.to_owned(), api, service)).map_or(0, |live| live.tag)
    }

    /// Secrets that must still be there, a few of each connection: whose, in which box, and what.
    pub fn secrets(&self) -> impl Iterator<Item = (&Key, String, &str)> {
        self.connections.iter().flat_map(|(key, live)| {
            let tokens = live.tokens.iter().map(|(name, value)| ((*name).to_owned(), value.as_str()));
            let settings = live.secrets.iter().map(|(id, value)| (format!("settings.{id}"), value.as_str()));
            tokens.chain(settings).take(5).map(move |(name, value)| (key, name, value))
        })
    }

    /// A cursor was given out after this id.
    pub fn gave(&mut self, cursor: &str, last: &str) {
        self.cursors.insert(cursor.to_owned(), last.to_owned());
    }

    /// What a request is answered with, and what becomes of the application by it. A wrong path needs no caller; else
    /// the caller is proven before the body is read.
    /// The answer to a request. One that is sent again is answered as it was first.
    pub fn answer(&mut self, request: &Request) -> Result<Shown, Fault> {
        (self.first, self.again) = (None, false);
        let shown = self.carry_out(request);
        if let (Some(under), Ok(shown)) = (self.first.take(), &shown)
            && let Some((_, first)) = self.done.get_mut(&under)
        {
            *first = Some(shown.clone());
        }
        shown
    }

    fn carry_out(&mut self, request: &Request) -> Result<Shown, Fault> {
        if matches!(request.target, Target::Nothing) || request.method == "PUT" {
            return Err(MISSING);
        }
        if request.token.as_ref() != Some(&self.token) {
            return Err(UNAUTHORIZED);
        }
        if !request.app {
            return Err(HEADERS);
        }
        if request.consumer.as_ref().is_some_and(|id| !is_id(id)) {
            return Err(INVALID);
        }
        let key = |api, service| request.consumer.clone().map(|consumer| (consumer, api, service)).ok_or(HEADERS);
        match (request.method, request.target.clone()) {
            ("GET", Target::Connections) => self.list(request),
            ("GET", Target::Connection(api, service)) => self.connection(&key(api, service)?),
            ("PATCH" | "POST", Target::Connection(api, service)) => self.update(&key(api, service)?, request),
            ("DELETE", Target::Connection(api, service)) => self.delete(&key(api, service)?, request),
            ("POST", Target::Import(api, service)) => self.import(&key(api, service)?, request),
            ("POST", Target::Validate(api, service)) => self.validate(&key(api, service)?, request),
            ("GET", Target::Consumers) => self.page(request),
            ("POST", Target::Consumers) => self.create_consumer(request),
            ("GET", Target::Consumer(id)) => self.consumer(id),
            ("PATCH", Target::Consumer(id)) => self.patch_consumer(id, request),
            ("DELETE", Target::Consumer(id)) => self.delete_consumer(id, request),
            _ => Err(MISSING),
        }
    }

    /// Whether the request was carried out before. The same key may not ask for something else.
    fn repeated(&mut self, route: &str, request: &Request, asked: &str) -> Result<Option<Shown>, Fault> {
        let Some(key) = &request.idempotency else { return Ok(None) };
        if !(1..=255).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(HEADERS);
        }
        match self.done.get(&(route.to_owned(), key.clone())) {
            None => Ok(None),
            Some((before, first)) if before == asked => {
                self.again = true;
                Ok(first.clone())
            }
            Some(_) => Err(REUSED),
        }
    }

    fn wrote(&mut self, route: String, request: &Request, asked: &str) {
        self.writes += 1;
        if let Some(key) = &request.idempotency {
            self.done.insert((route.clone(), key.clone()), (asked.to_owned(), None));
            self.first = Some((route, key.clone()));
        }
    }

    fn connection(&self, key: &Key) -> Result<Shown, Fault> {
        let connector = self.catalog.get(&(key.1.to_owned(), key.2.to_owned())).ok_or(MISSING)?;
        let live = self.connections.get(key);
        Ok(Shown::Data { data: show(connector, live), tag: Some(live.map_or(0, |live| live.tag)), page: None })
    }

    fn list(&self, request: &Request) -> Result<Shown, Fault> {
        let configured = match query(request, "configured").map(str::to_ascii_lowercase).as_deref() {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) => return Err(INVALID),
        };
        let mut rows = Vec::new();
        for ((api, service), connector) in &self.catalog {
            let is_this = |key: &Key| Some(&key.0) == request.consumer.as_ref() && key.1 == api && key.2 == service;
            let live = self.connections.iter().find(|(key, _)| is_this(key)).map(|(_, live)| live);
            if query(request, "api").is_none_or(|wanted| wanted == api) && configured.is_none_or(|configured| configured == live.is_some()) {
                rows.push(show(connector, live));
            }
        }
        Ok(shown(Value::Array(rows)))
    }

    /// Changes a connection, or makes it first, its consumer too if need be. A change that is refused leaves nothing behind.
    fn upsert(&mut self, key: &Key, change: impl FnOnce(&Value, &mut Connection) -> Result<bool, Fault>) -> Result<bool, Fault> {
        let connector = self.catalog.get(&(key.1.to_owned(), key.2.to_owned())).ok_or(MISSING)?;
        let before = self.connections.get(key);
        let mut live = before.cloned().unwrap_or_else(|| Connection::new(self.now));
        let (made, changed) = (before.is_none(), change(connector, &mut live)?);
        if changed {
            live.events += 1;
            (live.tag, live.updated) = (live.events, self.now);
        }
        let consumer = Consumer { metadata: None, created: self.now, modified: self.now };
        self.consumers.entry(key.0.clone()).or_insert(consumer);
        self.connections.insert(key.clone(), live);
        Ok(made || changed)
    }

    fn expect(&self, key: &Key, expected: Option<u64>) -> Result<(), Fault> {
        let tag = self.tag(&key.0, key.1, key.2);
        expected.is_none_or(|expected| expected == tag).then_some(()).ok_or(STALE)
    }

    fn update(&mut self, key: &Key, request: &Request) -> Result<Shown, Fault> {
        let expected = if_match(request)?;
        let body = object(&request.body, BODY)?;
        let enabled = member(&body, "enabled", Value::as_bool)?;
        let settings = settings(&body)?;
        let parts = [free(&body, "metadata", false)?, free(&body, "configuration", true)?, free(&body, "custom_mappings", true)?];
        let route = format!("update {key:?}");
        if let Some(first) = self.repeated(&route, request, &asked(request))? {
            return Ok(first);
        }
        self.expect(key, expected)?;
        let wrote = self.upsert(key, |connector, live| {
            live.enabled = enabled.unwrap_or(live.enabled);
            live.enter(connector, &settings)?;
            let mut any = enabled.is_some() || !settings.is_empty();
            for (value, part) in parts.into_iter().zip([&mut live.metadata, &mut live.configuration, &mut live.mappings]) {
                if let Some(value) = value {
                    *part = Some(value.clone()).filter(|value| !value.is_null());
                    any = true;
                }
            }
            Ok(any)
        })?;
        if wrote {
            self.wrote(route, request, &asked(request));
        }
        self.connection(key)
    }

    fn import(&mut self, key: &Key, request: &Request) -> Result<Shown, Fault> {
        let expected = if_match(request)?;
        let body = object(&request.body, 4 * BODY)?;
        let settings = settings(&body)?;
        let metadata = free(&body, "metadata", false)?;
        let credentials = member(&body, "credentials", |value| value.as_object().cloned())?.unwrap_or_default();
        let access = token(&credentials, "access_token")?;
        let refresh = token(&credentials, "refresh_token")?;
        let issued = member(&credentials, "issued_at", |value| instant(value.as_str()?))?;
        let seconds = member(&credentials, "expires_in", |value| value.as_i64().filter(|seconds| *seconds >= 0))?;
        if credentials.keys().any(|name| !["access_token", "refresh_token", "issued_at", "expires_in"].contains(&name.as_str())) {
            return Err(INVALID);
        }
        let route = format!("import {key:?}");
        if let Some(first) = self.repeated(&route, request, &asked(request))? {
            return Ok(first);
        }
        self.expect(key, expected)?;
        let from = issued.unwrap_or(self.now);
        self.upsert(key, |connector, live| {
            live.enter(connector, &settings)?;
            if let Some(value) = metadata {
                live.metadata = Some(value.clone()).filter(|value| !value.is_null());
            }
            if access.is_some() {
                live.access = seconds.map_or(Access::Endless, |seconds| Access::Until(from + seconds * 1000));
            }
            if access.is_some() || refresh.is_some() {
                (live.failed, live.refused, live.invalid) = (None, None, false);
            }
            live.tokens.extend(access.map(|token| ("access_token", token)));
            live.tokens.extend(refresh.map(|token| ("refresh_token", token)));
            Ok(true)
        })?;
        self.wrote(route, request, &asked(request));
        self.connection(key)
    }

    fn validate(&mut self, key: &Key, request: &Request) -> Result<Shown, Fault> {
        object(&request.body, BODY)?;
        let route = format!("validate {key:?}");
        if let Some(first) = self.repeated(&route, request, "")? {
            return Ok(first);
        }
        self.connections.get_mut(key).ok_or(MISSING)?.events += 1;
        self.wrote(route, request, "");
        let connector = &self.catalog[&(key.1.to_owned(), key.2.to_owned())];
        let whole = show(connector, self.connections.get(key));
        Ok(shown(json!({"id": whole["id"], "state": whole["state"]})))
    }

    fn delete(&mut self, key: &Key, request: &Request) -> Result<Shown, Fault> {
        let expected = if_match(request)?;
        let route = format!("delete {key:?}");
        if let Some(first) = self.repeated(&route, request, "")? {
            return Ok(first);
        }
        self.expect(key, expected)?;
        self.connections.remove(key).ok_or(MISSING)?;
        self.wrote(route, request, "");
        Ok(Shown::Nothing)
    }

    /// An exchange of the vault's own: it begins only where it can succeed.
    pub fn exchange(&mut self, key: &Key, outcome: Exchange) -> Result<(), Fault> {
        let connector = &self.catalog[&(key.1.to_owned(), key.2.to_owned())];
        let grant = connector["oauth"]["grant"].as_str();
        let live = self.connections.get_mut(key).ok_or(MISSING)?;
        let ready = strings(&connector["settings_required_for_authorization"]).all(|id| live.has(id));
        if grant.is_none_or(|grant| grant == "authorization_code") || !live.enabled || !ready {
            return Err(STATE);
        }
        live.events += 2;
        match outcome {
            Exchange::Tokens { lifetime } => {
                live.access = lifetime.map_or(Access::Endless, |seconds| Access::Until(self.now + seconds * 1000));
                live.tokens.insert("access_token", FETCHED.to_owned());
                (live.failed, live.refused, live.invalid) = (None, None, false);
                (live.tag, live.updated) = (live.events, self.now);
            }
            Exchange::Failed => {
                (live.failed, live.lost) = (Some(self.now), false);
                live.refused = live.refused.or(Some(self.now));
                let works = match live.access {
                    Access::None => false,
                    Access::Endless => true,
                    Access::Until(end) => end > self.now,
                };
                live.invalid |= !works;
            }
            Exchange::Lost => (live.failed, live.lost) = (Some(self.now), true),
        }
        self.writes += 1;
        Ok(())
    }

    fn create_consumer(&mut self, request: &Request) -> Result<Shown, Fault> {
        let body = object(&request.body, BODY)?;
        let id = member(&body, "consumer_id", |value| value.as_str().map(str::to_owned))?.ok_or(INVALID)?;
        if body.keys().any(|name| !["consumer_id", "metadata"].contains(&name.as_str())) || !is_id(&id) {
            return Err(INVALID);
        }
        self.put_consumer(&id, free(&body, "metadata", false)?, request)
    }

    fn patch_consumer(&mut self, id: &str, request: &Request) -> Result<Shown, Fault> {
        let body = object(&request.body, BODY)?;
        if body.keys().any(|name| name != "metadata") {
            return Err(INVALID);
        }
        let metadata = free(&body, "metadata", false)?;
        self.consumer(id)?;
        self.put_consumer(id, metadata, request)
    }

    /// Metadata that is not named stays, `null` removes it.
    fn put_consumer(&mut self, id: &str, metadata: Option<&Value>, request: &Request) -> Result<Shown, Fault> {
        let (route, asked) = (format!("consumer {id}"), metadata.map_or(String::new(), Value::to_string));
        if let Some(first) = self.repeated(&route, request, &asked)? {
            return Ok(first);
        }
        let before = self.consumers.get(id).cloned();
        let fresh = Consumer { metadata: None, created: self.now, modified: self.now };
        let after = self.consumers.entry(id.to_owned()).or_insert(fresh);
        if let Some(metadata) = metadata {
            after.metadata = Some(metadata.clone()).filter(|value| !value.is_null());
        }
        if before.is_none_or(|before| before.metadata != after.metadata) {
            after.modified = self.now;
            self.wrote(route, request, &asked);
        }
        self.consumer(id)
    }

    fn delete_consumer(&mut self, id: &str, request: &Request) -> Result<Shown, Fault> {
        let route = format!("delete consumer {id}");
        if let Some(first) = self.repeated(&route, request, "")? {
            return Ok(first);
        }
        self.consumers.remove(id).ok_or(MISSING)?;
        self.connections.retain(|key, _| key.0 != id);
        self.wrote(route, request, "");
        Ok(shown(json!({"consumer_id": id})))
    }

    fn consumer(&self, id: &str) -> Result<Shown, Fault> {
        Ok(shown(self.show_consumer(id, self.consumers.get(id).ok_or(MISSING)?)))
    }

    fn page(&self, request: &Request) -> Result<Shown, Fault> {
        let limit = query(request, "limit").map_or(Some(20), |text| text.parse().ok()).filter(|limit| (1..=200).contains(limit)).ok_or(INVALID)?;
        let current = query(request, "cursor").map(str::to_owned);
        let after = current.as_ref().map(|cursor| self.cursors.get(cursor).ok_or(INVALID)).transpose()?;
        let (prefix, part) = (query(request, "filter[consumer_id]").unwrap_or(""), query(request, "filter[search]").unwrap_or(""));
        let fits = |id: &String| after.is_none_or(|after| id > after) && id.starts_with(prefix) && id.contains(part);
        let all: Vec<(&String, &Consumer)> = self.consumers.iter().filter(|(id, _)| fits(id)).collect();
        let rows: Vec<Value> = all.iter().take(limit).map(|(id, consumer)| self.show_consumer(id, consumer)).collect();
        let last = if all.len() > limit { all.get(limit - 1).map(|(id, _)| (*id).clone()) } else { None };
        Ok(Shown::Data { data: Value::Array(rows), tag: None, page: Some(Page { current, last }) })
    }

    fn show_consumer(&self, id: &str, consumer: &Consumer) -> Value {
        let services: Vec<String> = self.connections.keys().filter(|key| key.0 == id).map(|key| format!("{}+{}", key.1, key.2)).collect();
        json!({
            "consumer_id": id, "application_id": self.app, "metadata": consumer.metadata.clone().unwrap_or(json!({})), "services": services,
            "aggregated_request_count": 0, "request_counts": {"unify": 0, "proxy": 0, "vault": 0},
            "created": rfc3339(consumer.created), "modified": rfc3339(consumer.modified),
        })
    }
}

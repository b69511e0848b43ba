//! A service of our own: it rotates refresh tokens, finds reuse, counts calls, holds answers back, and misbehaves when it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// A chain of refresh tokens: `rt-<name>-<number>`, of which one is good at a time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Family {
    /// The number of the good one.
    pub current: u64,
    /// Ended, because an old token was used again.
    pub dead: bool,
    /// How often it was asked for.
    pub calls: usize,
}

/// What the service knows, and how it is.
#[derive(Default)]
pub struct Rules {
    /// The token before the good one is good as well.
    pub grace: bool,
    /// How long access tokens live.
    pub expires_in: Option<i64>,
    pub families: Mutex<BTreeMap<String, Family>>,
}

impl Rules {
    pub fn family(&self, name: &str) -> Family {
        self.families.lock().unwrap().get(name).cloned().unwrap_or_default()
    }

    pub fn calls(&self) -> usize {
        self.families.lock().unwrap().values().map(|family| family.calls).sum()
    }

    /// Answers a token request: a refresh, or one by the client alone.
    pub fn answer(&self, form: &str) -> (u16, Value) {
        let fields: BTreeMap<String, String> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        let token = fields.get("refresh_token").map_or("rt-client-0", String::as_str);
        let (name, number) = token.strip_prefix("rt-").and_then(|rest| rest.rsplit_once('-')).unwrap();
        let number: u64 = number.parse().unwrap();
        let mut families = self.families.lock().unwrap();
        let family = families.entry(name.to_owned()).or_default();
        family.calls += 1;
        let is_good = number == family.current || (self.grace && number + 1 == family.current) || name == "client";
        if family.dead || !is_good {
            family.dead = true;
            return (400, json!({"error": "invalid_grant"}));
        }
        family.current += 1;
        let mut body = json!({"access_token": access(name, family.current), "token_type": "Bearer"});
        if name != "client" {
            body["refresh_token"] = json!(refresh(name, family.current));
        }
        if let Some(seconds) = self.expires_in {
            body["expires_in"] = json!(seconds);
        }
        (200, body)
    }
}

pub fn access(name: &str, number: u64) -> String {
    format!("at-{name}-{number}")
}

pub fn refresh(name: &str, number: u64) -> String {
    format!("rt-{name}-{number}")
}

/// An answer instead of the right one: status, headers, body. The token that was presented is not used up.
pub type Odd = (u16, Vec<(&'static str, String)>, String);

/// The service, served.
#[derive(Clone)]
pub struct Provider {
    pub url: String,
    pub rules: Arc<Rules>,
    /// Answers wait for a permit each, once it is closed.
    pub gate: Arc<Semaphore>,
    odd: Arc<Mutex<VecDeque<Odd>>>,
    /// Requests here now, and the most at once.
    pub here: Arc<watch::Sender<(usize, usize)>>,
    heard: Arc<watch::Sender<usize>>,
}

impl Provider {
    pub async fn start(rules: Rules) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS >> 1));
        let provider =
            Self { url, rules: Arc::new(rules), gate, odd: Arc::default(), here: Arc::new(watch::Sender::new((0, 0))), heard: Arc::new(watch::Sender::new(0)) };
        let served = provider.clone();
        let router = Router::new().route("/token", post(move |form: String| served.clone().serve(form)));
        tokio::spawn(async { axum::serve(listener, router).await });
        provider
    }

    async fn serve(self, form: String) -> axum::response::Response {
        let _here = Here::new(Arc::clone(&self.here));
        self.heard.send_modify(|heard| *heard += 1);
        self.gate.acquire().await.unwrap().forget();
        let odd = self.odd.lock().unwrap().pop_front();
        if let Some((status, headers, body)) = odd {
            let mut response = (axum::http::StatusCode::from_u16(status).unwrap(), body).into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            return response;
        }
        let (status, body) = self.rules.answer(&form);
        (axum::http::StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
    }

    /// Holds answers back from now on.
    pub fn close(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Lets so many answers go, or all of them.
    pub fn open(&self, answers: usize) {
        self.gate.add_permits(answers);
    }

    /// Answers the next calls so, one each.
    pub fn misbehave(&self, odd: impl IntoIterator<Item = Odd>) {
        self.odd.lock().unwrap().extend(odd);
    }

    /// Answers as it should from now on.
    pub fn forget(&self) {
        self.odd.lock().unwrap().clear();
    }

    /// Waits until so many requests have come, ever.
    pub async fn heard(&self, count: usize) {
        self.heard.subscribe().wait_for(|heard| *heard >= count).await.unwrap();
    }

    /// How many requests have come.
    pub fn heard_now(&self) -> usize {
        *self.heard.borrow()
    }

    pub fn most_at_once(&self) -> usize {
        self.here.borrow().1
    }
}

/// Counts a request while it is here, also when its caller goes away.
struct Here(Arc<watch::Sender<(usize, usize)>>);

impl Here {
    fn new(here: Arc<watch::Sender<(usize, usize)>>) -> Self {
        here.send_modify(|(now, most)| {
            *now += 1;
            *most = (*most).max(*now);
        });
        Self(here)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.0.send_modify(|(now, _)| *now -= 1);
    }
}

//! A real server that is killed (-9) in the middle of a refresh: while the service holds the request, after it has answered, and after the result
//! is durable. Fifty times each, and each time the next run is asked what it knows, beside what the service knows.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use reqwest::blocking::Client;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::{Value, json};

use crate::served::{Server, client, start_with};
use crate::storm_provider::{Rules, access, refresh};

const OPEN: &[&str] = &["--allow-egress", "127.0.0.1/32"];
/// Servers side by side, and kills of each: the waits of one are the work of another.
const SERVERS: usize = 10;
const KILLS: usize = 5;

/// Where the server is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    /// The service has the request and has done nothing.
    Asked,
    /// It has rotated, and says nothing.
    Rotated,
    /// It has answered, and the server has not had a chance to read.
    Answered,
    /// The result is in the log.
    Stored,
}

struct Scene {
    folder: tempfile::TempDir,
    endpoint: TcpListener,
    rules: Rules,
    client: Client,
    server: Server,
}

/// Reads a token request to its end; gives its body.
fn accept(endpoint: &TcpListener) -> (TcpStream, String) {
    let (mut stream, _) = endpoint.accept().unwrap();
    let (mut request, mut part) = (String::new(), [0; 2048]);
    loop {
        if let Some((head, body)) = request.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() >= length.parse().unwrap() {
                return (stream, body.to_owned());
            }
        }
        let read = stream.read(&mut part).unwrap();
        assert!(read > 0, "{request}");
        request.push_str(std::str::from_utf8(&part[..read]).unwrap());
    }
}

fn write(mut stream: TcpStream, (status, body): (u16, Value)) {
    let body = body.to_string();
    write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
}

impl Scene {
    fn new(grace: bool) -> Self {
        let (folder, endpoint) = (tempfile::tempdir().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let server = start_with(folder.path(), "", OPEN);
        let scene = Self { folder, endpoint, rules: Rules { grace, expires_in: Some(1_000_000), ..Rules::default() }, client: client(), server };
        let field = |id: &str, sensitive: bool| json!({"id": id, "label": id, "type": "text", "required": true, "sensitive": sensitive});
        let oauth = json!({
            "grant": "authorization_code", "authorize_url": "https://example.com/authorize", "client_auth": "body", "encoding": "form", "scopes": [],
            "token_url": format!("http://{}/token", scene.endpoint.local_addr().unwrap()),
        });
        let connector = json!({
            "name": "Local", "website": "https://example.com", "docs": "https://example.com/docs", "status": "live", "auth_type": "oauth2", "oauth": oauth,
            "form_fields": [field("client_id", false), field("client_secret", true)], "validation": false,
            "settings_required_for_authorization": ["client_id", "client_secret"],
        });
        scene.call("PUT", "/v1/connectors/crm/local", "c", Some(connector));
        scene
    }

    /// Calls for a consumer; gives the body and the position of the answer.
    fn call(&self, method: &str, path: &str, consumer: &str, body: Option<Value>) -> (Value, u64) {
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.server.base)).bearer_auth(&self.server.token);
        let request = request.header("x-apideck-app-id", "app").header("x-apideck-consumer-id", consumer);
        let answer = body.map_or_else(|| request.try_clone().unwrap(), |body| request.try_clone().unwrap().json(&body)).send().unwrap();
        assert_eq!(answer.status(), 200, "{method} {path}");
        let position = answer.headers().get("keyledger-position").map_or(0, |position| position.to_str().unwrap().parse().unwrap());
        (answer.json().unwrap(), position)
    }

    fn connection(&self, consumer: &str) -> Value {
        self.call("GET", "/vault/connections/crm/local", consumer, None).0["data"].clone()
    }

    /// The latest events of all connections, reveals apart, once the log has reached a position.
    fn events(&self, from: u64) -> Vec<Value> {
        let (events, _) = self.call("GET", &format!("/v1/events?kind=connection&limit=10&min_position={from}"), "c", None);
        let events = events["data"].as_array().unwrap();
        events.iter().filter(|event| event["type"] != "revealed").cloned().collect()
    }

    /// The latest event, once it is one that ends an exchange and lies at or behind a position.
    fn ended(&self, from: u64) -> Value {
        loop {
            let event = self.events(from).remove(0);
            if event["type"] != "exchange_started" && event["position"].as_u64().unwrap() >= from {
                return event;
            }
        }
    }

    fn token(&self, stream: &Value, secret: &str) -> Value {
        let asked = json!({"credential": stream, "secret": secret, "reason": "a test"});
        self.call("POST", "/v1/secrets/reveal", "c", Some(asked)).0["value"].clone()
    }

    fn holds(&self, name: &str, number: u64, stream: &Value) {
        assert_eq!((self.token(stream, "access_token"), self.token(stream, "refresh_token")), (json!(access(name, number)), json!(refresh(name, number))));
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.server.child.id().try_into().unwrap()).unwrap()
    }

    /// Waits for the refresh of a fresh connection and kills the server at its point; then starts the next one.
    fn kill(&mut self, name: &str, at: At) {
        let (_, position) = self.import(name);
        let (stream, body) = accept(&self.endpoint);
        match at {
            At::Asked => {}
            At::Rotated => drop(self.rules.answer(&body)),
            At::Answered => {
                kill_process(self.pid(), Signal::STOP).unwrap();
                // Until all of its threads stand still.
                assert!(waitpid(Some(self.pid()), WaitOptions::UNTRACED).unwrap().unwrap().1.stopped());
                write(stream.try_clone().unwrap(), self.rules.answer(&body));
            }
            At::Stored => {
                write(stream.try_clone().unwrap(), self.rules.answer(&body));
                assert_eq!(self.ended(position + 1)["type"], "exchanged");
            }
        }
        kill_process(self.pid(), Signal::KILL).unwrap();
        self.server.child.wait().unwrap();
        drop(stream);
        self.start();
    }

    fn start(&mut self) {
        let token = self.server.token.clone();
        self.server = start_with(self.folder.path(), &token, OPEN);
    }

    /// A fresh connection, whose tokens are due at once.
    fn import(&self, name: &str) -> (Value, u64) {
        let settings = json!({"client_id": "c", "client_secret": "canary-secret"});
        let credentials = json!({"access_token": access(name, 0), "refresh_token": refresh(name, 0)});
        let import = json!({"credentials": credentials, "settings": settings});
        self.call("POST", "/vault/connections/crm/local/import", name, Some(import))
    }

    /// What the next run says, and does by itself.
    fn look(&self, name: &str, at: At) {
        // The server may have begun to try again by now.
        let event = self.events(0).into_iter().find(|event| event["type"] != "exchange_started").unwrap();
        let (stream, shown) = (event["stream"].clone(), self.connection(name));
        if at == At::Stored {
            assert_eq!((&event["type"], &shown["health"], self.rules.family(name).current), (&json!("exchanged"), &json!("ok"), 1));
            return self.holds(name, 1, &stream);
        }
        assert_eq!((&event["type"], self.rules.family(name).current), (&json!("exchange_lost"), u64::from(at != At::Asked)));
        assert!(event["facts"].to_string().contains("the outcome is unknown"), "{event}");
        assert_eq!((&shown["health"], &shown["state"], &shown["credentials_expire_at"]), (&json!("pending_refresh"), &json!("callable"), &Value::Null));
        assert!(shown["last_refresh_failed_at"].is_i64(), "{shown}");
        self.holds(name, 0, &stream);
        // The old token is tried, once, by the server itself.
        let (call, body) = accept(&self.endpoint);
        assert!(body.contains(&refresh(name, 0)), "{body}");
        let answer = self.rules.answer(&body);
        let healed = answer.0 == 200;
        assert_eq!(healed, self.rules.grace || at == At::Asked, "{at:?}");
        write(call, answer);
        let event = self.ended(event["position"].as_u64().unwrap() + 1);
        let shown = self.connection(name);
        if healed {
            assert_eq!((&event["type"], &shown["health"], &shown["last_refresh_failed_at"]), (&json!("exchanged"), &json!("ok"), &Value::Null));
            return self.holds(name, self.rules.family(name).current, &stream);
        }
        assert_eq!(event["type"], "exchange_failed");
        assert!(event["facts"].to_string().contains("the service answered 400: invalid_grant"), "{event}");
        assert_eq!(shown["health"], "pending_refresh");
        let expire_at = shown["credentials_expire_at"].as_i64().unwrap() - shown["last_refresh_failed_at"].as_i64().unwrap();
        assert_eq!(expire_at, 48 * 3600 * 1000);
    }
}

#[test]
fn an_orderly_end_waits_for_the_answer() {
    let mut scene = Scene::new(false);
    let (_, position) = scene.import("f");
    let (stream, body) = accept(&scene.endpoint);
    kill_process(scene.pid(), Signal::TERM).unwrap();
    // It takes no more callers by then, and waits for the service.
    while std::net::TcpStream::connect(scene.server.base.trim_start_matches("http://")).is_ok() {
        thread::yield_now();
    }
    assert!(scene.server.child.try_wait().unwrap().is_none());
    write(stream, scene.rules.answer(&body));
    assert!(scene.server.child.wait().unwrap().success());
    scene.start();
    let event = scene.ended(position);
    assert_eq!(event["type"], "exchanged");
    scene.holds("f", 1, &event["stream"]);
}

fn kills(points: [At; 2]) {
    let servers: Vec<_> = (0..SERVERS)
        .map(|server| {
            thread::spawn(move || {
                let mut scene = Scene::new(server % 2 == 0);
                for round in 0..KILLS {
                    let (name, at) = (format!("s{server}r{round}"), points[(server / 2 + round) % 2]);
                    scene.kill(&name, at);
                    scene.look(&name, at);
                }
            })
        })
        .collect();
    for server in servers {
        server.join().unwrap();
    }
}

#[test]
fn while_the_service_holds_the_request() {
    kills([At::Asked, At::Rotated]);
}

#[test]
fn after_the_service_has_answered() {
    kills([At::Answered, At::Answered]);
}

#[test]
fn after_the_result_is_durable() {
    kills([At::Stored, At::Stored]);
}

//! A server that is killed in the middle of an exchange: the next run says that the outcome is unknown, keeps what was there, and exchanges.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::{Value, json};

use crate::served::{Server, start_with};

const LOCAL: &str = "/vault/connections/crm/local";
const OPEN: &[&str] = &["--allow-egress", "127.0.0.1/32"];

fn whole(token: &str) -> String {
    let body = json!({"access_token": token, "expires_in": 60}).to_string();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Reads a token request to its end: its secret is the last of its fields.
fn accept(endpoint: &TcpListener) -> TcpStream {
    let (mut stream, _) = endpoint.accept().unwrap();
    let (mut request, mut part) = (String::new(), [0; 1024]);
    while !request.ends_with("client_secret=canary-secret") {
        let read = stream.read(&mut part).unwrap();
        assert!(read > 0, "{request}");
        request.push_str(std::str::from_utf8(&part[..read]).unwrap());
    }
    stream
}

/// One connection with its settings, at a fresh server.
fn prepare(folder: &std::path::Path, endpoint: &TcpListener) -> Server {
    let server = start_with(folder, "", OPEN);
    let field = |id: &str, sensitive: bool| json!({"id": id, "label": id, "type": "text", "required": true, "sensitive": sensitive});
    let oauth = json!({
        "grant": "client_credentials", "token_url": format!("http://{}/token", endpoint.local_addr().unwrap()),
        "client_auth": "body", "encoding": "form", "scopes": [],
    });
    let connector = json!({
        "name": "Local", "website": "https://example.com", "docs": "https://example.com/docs", "status": "live", "auth_type": "oauth2", "oauth": oauth,
        "form_fields": [field("client_id", false), field("client_secret", true)], "validation": false,
        "settings_required_for_authorization": ["client_id", "client_secret"],
    });
    assert_eq!(server.call("PUT", "/v1/connectors/crm/local").json(&connector).send().unwrap().status(), 200);
    server.ok("PATCH", LOCAL, Some(json!({"settings": {"client_id": "test-client", "client_secret": "canary-secret"}})));
    server
}

/// Asks for an exchange, from a thread of its own; the status, if an answer came.
fn ask(server: &Server) -> thread::JoinHandle<Option<u16>> {
    let request = server.call("POST", &format!("{LOCAL}/token"));
    thread::spawn(move || request.send().ok().map(|answer| answer.status().as_u16()))
}

fn get(server: &Server, path: &str) -> Value {
    server.call("GET", path).send().unwrap().json().unwrap()
}

fn stream(server: &Server) -> String {
    get(server, "/v1/credentials?kind=connection")["data"][0]["id"].as_str().unwrap().to_owned()
}

fn token(server: &Server) -> Value {
    let asked = json!({"credential": stream(server), "secret": "access_token", "reason": "a test"});
    server.call("POST", "/v1/secrets/reveal").json(&asked).send().unwrap().json::<Value>().unwrap()["value"].clone()
}

/// The latest event of the connection, which must name the intent of the exchange.
fn ended(server: &Server) -> String {
    let events = get(server, &format!("/v1/events?limit=2&stream={}", stream(server)))["data"].clone();
    assert_eq!(events[1]["type"], "exchange_started", "{events}");
    assert_eq!(events[0]["causation"], events[1]["position"], "{events}");
    events[0]["type"].as_str().unwrap().to_owned()
}

/// Kills the server once the endpoint has written so much of its answer; what the caller heard.
fn killed(server: &mut Server, endpoint: &TcpListener, answer: &str) -> Option<u16> {
    let asking = ask(server);
    let mut held = accept(endpoint);
    held.write_all(answer.as_bytes()).unwrap();
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    asking.join().unwrap()
}

/// An exchange that nothing disturbs.
fn undisturbed(server: &Server, endpoint: &TcpListener, new: &str) {
    let asking = ask(server);
    accept(endpoint).write_all(whole(new).as_bytes()).unwrap();
    assert_eq!(asking.join().unwrap(), Some(200));
    assert_eq!((ended(server), token(server)), ("exchanged".to_owned(), json!(new)));
    let shown = server.ok("GET", LOCAL, None);
    assert_eq!((&shown["state"], &shown["health"], &shown["last_refresh_failed_at"]), (&json!("callable"), &json!("ok"), &Value::Null));
}

/// The connection as the next run shows it, when the result of an exchange did not reach the log.
fn is_lost(server: &Server, earlier: &Value) {
    assert_eq!(ended(server), "exchange_lost");
    let shown = server.ok("GET", LOCAL, None);
    assert!(shown["last_refresh_failed_at"].is_i64(), "{shown}");
    assert_eq!((&shown["health"], &shown["settings"]), (&json!("pending_refresh"), &json!({"client_id": "test-client"})));
    let state = if earlier.is_null() { "added" } else { "callable" };
    assert_eq!((&shown["state"], &token(server)), (&json!(state), earlier));
}

fn rounds(count: usize, written: impl Fn(&str) -> String) {
    let (folder, endpoint) = (tempfile::tempdir().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let mut server = prepare(folder.path(), &endpoint);
    let mut earlier = Value::Null;
    for round in 0..count {
        assert_eq!(killed(&mut server, &endpoint, &written("canary-late")), None);
        server = start_with(folder.path(), &server.token, OPEN);
        is_lost(&server, &earlier);
        undisturbed(&server, &endpoint, &format!("canary-{round}"));
        earlier = json!(format!("canary-{round}"));
    }
}

#[test]
fn while_the_endpoint_holds_the_request() {
    rounds(5, |_| String::new());
}

#[test]
fn while_half_the_answer_is_there() {
    rounds(5, |token| whole(token)[..90].to_owned());
}

#[test]
fn right_after_the_whole_answer() {
    let (folder, endpoint) = (tempfile::tempdir().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let mut server = prepare(folder.path(), &endpoint);
    let mut earlier = Value::Null;
    for round in 0..10 {
        let late = format!("canary-late-{round}");
        let heard = killed(&mut server, &endpoint, &whole(&late));
        server = start_with(folder.path(), &server.token, OPEN);
        if ended(&server) == "exchanged" {
            // The result reached the log, whether or not the caller heard of it.
            assert_eq!(token(&server), json!(late));
        } else {
            assert_eq!(heard, None, "what was acknowledged is there");
            is_lost(&server, &earlier);
        }
        earlier = json!(format!("canary-{round}"));
        undisturbed(&server, &endpoint, earlier.as_str().unwrap());
    }
}

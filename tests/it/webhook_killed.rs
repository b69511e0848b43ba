//! A server that is killed between sending and recording: every message comes, at least once, and under one id.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::canary::{forms, found_below, whole};
use crate::served::{Server, start_with};

const OPEN: &[&str] = &["--allow-egress", "127.0.0.1/32"];

/// Reads a message to its end; gives its id, what it tells of whom, and its signature.
fn accept(endpoint: &TcpListener) -> (TcpStream, String, String, String) {
    let (mut stream, _) = endpoint.accept().unwrap();
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap().to_owned();
            if body.len() >= header("content-length").parse().unwrap() {
                let payload = serde_json::from_str::<Value>(body).unwrap()["payload"].clone();
                let about = format!("{} {}", payload["consumer_id"].as_str().unwrap(), payload["event_type"].as_str().unwrap());
                return (stream, header("webhook-id"), about, header("webhook-signature"));
            }
        }
        let mut part = [0; 4096];
        let read = stream.read(&mut part).unwrap();
        assert!(read > 0, "{text}");
        request.extend(&part[..read]);
    }
}

fn take(mut stream: TcpStream) {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
}

fn import(server: &Server, consumer: &str) {
    let request = crate::served::client().post(format!("{}/vault/connections/crm/pipedrive/import", server.base)).bearer_auth(&server.token);
    let request = request.header("x-apideck-app-id", "app").header("x-apideck-consumer-id", consumer);
    assert_eq!(request.json(&json!({"credentials": {"access_token": "t"}})).send().unwrap().status(), 200);
}

fn end(server: &mut Server) {
    rustix::process::kill_process(rustix::process::Pid::from_child(&server.child), rustix::process::Signal::TERM).unwrap();
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn killed_between_sending_and_recording_nothing_is_missing_and_a_repeat_has_the_same_id() {
    let (folder, endpoint) = (tempfile::tempdir().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let mut server = start_with(folder.path(), "", OPEN);
    let url = format!("http://{}/hook", endpoint.local_addr().unwrap());
    let made: Value = server.call("POST", "/v1/webhooks").json(&json!({"url": url})).send().unwrap().json().unwrap();
    let path = format!("/v1/webhooks/{}", made["webhook"]["id"].as_str().unwrap());
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for round in 0..8 {
        import(&server, &format!("c{round}"));
        // One more is taken each round; the next one is under way when the server dies.
        for _ in 0..round % 3 {
            let (stream, id, about, _) = accept(&endpoint);
            ids.entry(about).or_default().insert(id);
            take(stream);
        }
        let (stream, id, about, _) = accept(&endpoint);
        ids.entry(about).or_default().insert(id);
        if round % 2 == 0 {
            take(stream);
        }
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        server = start_with(folder.path(), &server.token, OPEN);
    }
    let wanted: BTreeSet<String> =
        (0..8).flat_map(|round| ["created", "updated", "callable"].map(|told| format!("c{round} vault.connection.{told}"))).collect();
    let mut taken = BTreeSet::new();
    while !taken.contains("c7 vault.connection.callable") {
        let (stream, id, about, _) = accept(&endpoint);
        ids.entry(about.clone()).or_default().insert(id);
        take(stream);
        taken.insert(about);
    }
    assert_eq!(ids.keys().cloned().collect::<BTreeSet<_>>(), wanted);
    assert!(ids.values().all(|ids| ids.len() == 1), "{ids:?}");
    // An end in order records what was sent: nothing of it comes again.
    end(&mut server);
    server = start_with(folder.path(), &server.token, OPEN);
    import(&server, "last");
    let (stream, _, about, _) = accept(&endpoint);
    assert_eq!(about, "last vault.connection.created");
    take(stream);
    let webhook: Value = server.call("GET", &path).send().unwrap().json().unwrap();
    assert!(webhook["delivery"]["delivered"].as_u64().unwrap() >= 3 && webhook["delivery"]["dead"] == 0, "{webhook}");
}

#[test]
fn a_signing_secret_stands_in_the_answer_that_shows_it_and_nowhere_else() {
    let (folder, endpoint) = (tempfile::tempdir().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let log = std::fs::File::create(folder.path().join("server.log")).unwrap();
    let mut server = start_logging(folder.path(), log);
    let create = || {
        let body = json!({"url": format!("http://{}/hook", endpoint.local_addr().unwrap()), "events": ["vault.connection.created"]});
        server.call("POST", "/v1/webhooks").header("idempotency-key", "one").json(&body).send().unwrap().json::<Value>().unwrap()
    };
    let made = create();
    assert_eq!(create()["secret"], made["secret"]);
    let path = format!("/v1/webhooks/{}", made["webhook"]["id"].as_str().unwrap());
    let rotated: Value = server.call("POST", &format!("{path}/rotate")).send().unwrap().json().unwrap();
    import(&server, "acme");
    let (stream, .., signature) = accept(&endpoint);
    take(stream);
    assert_eq!(signature.split(' ').count(), 2);
    let secrets = [&made["secret"], &rotated["secret"]].map(|secret| secret.as_str().unwrap().trim_start_matches("whsec_").to_owned());
    let mut all: Vec<Vec<Vec<u8>>> = secrets.iter().map(|secret| forms(secret)).collect();
    for (forms, secret) in all.iter_mut().zip(&secrets) {
        use base64ct::{Base64, Encoding};
        let bytes = Base64::decode_vec(secret).unwrap();
        forms.extend([base16ct::lower::encode_string(&bytes).into_bytes(), bytes]);
    }
    let found = |bytes: &[u8]| -> Vec<usize> {
        let holds = |form: &Vec<u8>| bytes.windows(form.len()).any(|window| window == form.as_slice());
        (0..all.len()).filter(|number| all[*number].iter().any(holds)).collect()
    };
    assert_eq!(found(secrets[1].as_bytes()), [1], "the scan itself works");
    for path in [&path, &format!("{path}/history"), &format!("{path}/dead-letters"), "/v1/webhooks", "/v1/events?limit=200", "/v1/credentials?show=all"] {
        let answer = server.call("GET", path).send().unwrap();
        assert_eq!((answer.status().as_u16(), found(&whole(answer))), (200, vec![]), "{path}");
    }
    end(&mut server);
    assert_eq!(found_below(folder.path(), &found), [], "in no file and no line of the log");
    assert!(std::fs::read_to_string(folder.path().join("server.log")).unwrap().contains("serving"), "the log was on");
}

/// A server that logs all that it can, and may call this machine.
fn start_logging(folder: &std::path::Path, log: std::fs::File) -> Server {
    use std::io::{BufRead, BufReader};
    let mut command = crate::served::spawn(folder);
    let mut child = command.args(OPEN).env("KEYLEDGER_LOG", "trace").stdout(std::process::Stdio::piped()).stderr(log).spawn().unwrap();
    let (mut base, mut token) = (String::new(), String::new());
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if let Some(shown) = line.strip_prefix("Owner's token   ") {
            shown.clone_into(&mut token);
        }
        if let Some(address) = line.strip_prefix("listening on ") {
            address.clone_into(&mut base);
            break;
        }
    }
    Server { child, base, token }
}

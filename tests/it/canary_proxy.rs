//! A scan after calls that were passed through: credentials, and what callers and services said, stand in no file and no log line.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread;

use serde_json::{Value, json};

use crate::canary::{forms, found_below, start_with, whole};
use crate::served::Server;

/// What goes to the service, what the caller says, and what the service answers.
const WORDS: [&str; 6] = ["canary00qxzvwkjy", "canary01qxzvwkjy", "canary02qxzvwkjy", "canary03qxzvwkjy", "canary04qxzvwkjy", "canary05qxzvwkjy"];

fn found(bytes: &[u8]) -> Vec<usize> {
    let holds = |form: &Vec<u8>| bytes.windows(form.len()).any(|window| window == form.as_slice());
    (0..WORDS.len()).filter(|number| forms(WORDS[*number]).iter().any(holds)).collect()
}

/// A service that answers each request with a fixed body, and gives back what it was asked.
fn service(answers: Vec<String>) -> (u16, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = thread::spawn(move || {
        let answer = |body: String| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let start = head.len();
                assert!(reader.read_line(&mut head).unwrap() > 0);
                length = head[start..].strip_prefix("content-length: ").map_or(length, |text| text.trim().parse().unwrap());
            }
            let mut sent = vec![0; length];
            reader.read_exact(&mut sent).unwrap();
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).unwrap();
            head + &String::from_utf8(sent).unwrap()
        };
        answers.into_iter().map(answer).collect()
    });
    (port, serving)
}

/// Moves one of the shipped services to a local one, and enters a key.
fn prepare(server: &Server, port: u16) {
    let mut connector = server.call("GET", "/v1/connectors/crm/activecampaign").send().unwrap().json::<Value>().unwrap()["connector"].clone();
    connector["api"]["auth"] = json!([
        {"in": "header", "name": "api-token", "value": "{api_key}"},
        {"in": "query", "name": "key", "value": "{api_key}"},
        {"in": "basic", "username": "user", "password": "{api_key}"},
    ]);
    assert_eq!(server.call("PUT", "/v1/connectors/crm/activecampaign").json(&connector).send().unwrap().status(), 200);
    let settings = json!({"settings": {"api_key": WORDS[0], "base_url": format!("http://localhost:{port}")}});
    server.ok("POST", "/vault/connections/crm/activecampaign", Some(settings));
}

#[test]
fn what_is_passed_through_stands_in_no_file_and_no_log_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start_with(folder.path(), &["--allow-egress", "127.0.0.0/8,::1/128"]);
    let (port, serving) = service(vec![WORDS[3].to_owned(), format!("it was {}", WORDS[0])]);
    prepare(&server, port);
    let call = |url: &str| {
        let request = server.call("POST", "/v1/proxy").header("x-apideck-service-id", "activecampaign").header("x-apideck-unified-api", "crm");
        request.header("x-apideck-downstream-url", url).header("x-own", WORDS[1]).body(WORDS[2])
    };
    // What the caller may see is what the service says, as long as it is not the key.
    assert_eq!(found(&whole(call(&format!("/a?b={}", WORDS[4])).send().unwrap())), [3]);
    assert!(call("/a").send().and_then(reqwest::blocking::Response::bytes).is_err(), "it was cut off");
    let refused = call(&format!("https://{}.example/", WORDS[5])).send().unwrap();
    assert_eq!((refused.status().as_u16(), found(&whole(refused))), (400, vec![]));
    let asked = serving.join().unwrap();
    assert_eq!(found(asked[0].as_bytes()), [0, 1, 2, 4], "the service was told: {}", asked[0]);
    // Ended well, so that the uses are written, and a snapshot is.
    rustix::process::kill_process(rustix::process::Pid::from_child(&server.child), rustix::process::Signal::TERM).unwrap();
    server.child.wait().unwrap();
    assert_eq!(found_below(folder.path(), &found), []);
    let server = crate::served::start(folder.path(), &server.token);
    let events = server.call("GET", "/v1/events?kind=connection&type=used&limit=200").send().unwrap().text().unwrap();
    assert_eq!(found(events.as_bytes()), Vec::<usize>::new());
    let events: Value = serde_json::from_str(&events).unwrap();
    let calls = events["data"][0]["facts"]["used"]["calls"].as_array().unwrap();
    let told: Vec<_> = calls.iter().map(|call| (call["host"].as_str().unwrap(), call["status"].as_u64(), call["withheld"] == true)).collect();
    assert_eq!(told, [("localhost", Some(200), false), ("localhost", Some(200), true)]);
}

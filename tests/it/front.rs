//! The front over bare TCP: what HTTP clients would not let a test send.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::served::{Server, start};

/// One connection.
struct Wire(TcpStream);

impl Wire {
    fn to(server: &Server) -> Self {
        let stream = TcpStream::connect(server.base.trim_start_matches("http://")).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        Self(stream)
    }

    fn send(&mut self, bytes: &[u8]) {
        // The other end may have closed already.
        drop(self.0.write_all(bytes));
    }

    /// Status and body of the next answer.
    fn answer(&mut self) -> (u16, Vec<u8>) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.split_once("content-length: ").map_or(0, |(_, rest)| rest.lines().next().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
    }

    fn json(&mut self) -> (u16, Value) {
        let (status, body) = self.answer();
        (status, serde_json::from_slice(&body).unwrap())
    }
}

#[test]
fn a_refusal_before_the_body_reaches_its_caller_and_the_connection_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    for path in ["/vault/connections/crm/pipedrive/import", "/v1/secrets/reveal"] {
        let mut wire = Wire::to(&server);
        for _ in 0..20 {
            wire.send(format!("POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer wrong\r\ncontent-length: 250000\r\n\r\n").as_bytes());
            wire.send(&vec![b'x'; 250_000]);
            assert_eq!(wire.json().0, 401);
        }
    }
}

#[test]
fn who_waits_for_a_word_before_the_body_is_refused_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let mut wire = Wire::to(&server);
    wire.send(b"POST /v1/secrets/reveal HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n");
    assert_eq!(wire.json().0, 401, "and no 100 before it");
}

#[test]
fn a_request_names_one_host() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    for path in ["/vault/connections", "/v1/events", "/v1/health/live", "/nowhere"] {
        for hosts in ["", "host: a\r\nhost: b\r\n", "host: \r\n"] {
            let mut wire = Wire::to(&server);
            wire.send(format!("GET {path} HTTP/1.1\r\n{hosts}\r\n").as_bytes());
            let (status, body) = wire.json();
            assert_eq!(status, 400, "{path} {hosts:?}");
            assert!(body.to_string().contains("exactly one Host"), "{body}");
        }
    }
}

#[test]
fn what_is_no_http_is_refused_and_a_slow_head_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let mut garbage = Wire::to(&server);
    garbage.send(b"\x16\x03\x01\x02\x00 canary\r\n\r\n");
    let mut answer = Vec::new();
    drop(garbage.0.read_to_end(&mut answer));
    assert!(!String::from_utf8_lossy(&answer).contains("canary"));
    // Half a head, and no more: the connection ends by itself.
    let mut slow = Wire::to(&server);
    slow.send(b"GET /v1/health/live HTTP/1.1\r\nhost: x\r\n");
    let mut rest = Vec::new();
    slow.0.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));
    let mut fine = Wire::to(&server);
    fine.send(b"GET /v1/health/live HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(fine.json().0, 200);
}

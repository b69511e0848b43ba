//! The vendors' own clients and a real OAuth server, pinned and unmodified, against a server that the test starts. Run with `--features interop`;
//! needs python3, node 20 or later with npm, and Chromium.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

mod browser;
mod browser_flow;
mod oauth_server;
mod running;
mod webhooks;

use std::process::Command;

use running::{Keyledger, PYTHON, UNIFY_FOLDER, run, source};
use serde_json::{Value, json};

#[test]
fn apideck_unify_for_python() {
    let server = Keyledger::start(&[]);
    let text = run(Command::new(&*PYTHON).arg(source("apideck.py")).args([&server.base, &server.token]));
    assert!(text.contains("all calls and errors are as the client expects"), "{text}");
}

#[test]
fn apideck_unify_for_javascript() {
    let server = Keyledger::start(&["--allow-egress", "127.0.0.0/8"]);
    let text = run(Command::new("node").arg(source("unify.mjs")).arg(&*UNIFY_FOLDER).args([&server.base, &server.token]));
    assert!(text.contains("all calls and errors are as the client expects"), "{text}");
}

#[test]
fn runapy_for_python() {
    let server = Keyledger::start(&[]);
    let made = server.request("POST", "/api/v1/user-applications").json(&json!({"name": "first-app"})).send().unwrap().json::<Value>().unwrap();
    // A token that acts as no user: an API client's.
    let clients = "/local-user-store/api/v1/api-clients";
    let id = server.request("POST", clients).json(&json!({"name": "a client"})).send().unwrap().json::<Value>().unwrap()["id"].clone();
    let client = server.ok("GET", &format!("{clients}/{}", id.as_str().unwrap()), None);
    let credentials = json!({"grant_type": "client_credentials", "client_id": client["id"], "client_secret": client["secret"]});
    let token = server.ok("POST", "/auth/api/v1/oauth/clientcredentials/privx-external/token", Some(&credentials))["access_token"].clone();
    let values = [&made["clientId"], &made["secret"], &token].map(|value| value.as_str().unwrap());
    let text = run(Command::new(&*PYTHON).arg(source("run_ai.py")).arg(&server.base).args(values));
    assert!(text.contains("all calls and errors are as the client expects"), "{text}");
}

#[test]
fn a_privx_client_in_python() {
    // The vendor's own clients speak nothing but TLS.
    let (server, certificate) = Keyledger::start_with_tls();
    let text = run(Command::new("python3").arg(source("privx.py")).args([&server.base, &server.token]).arg(certificate));
    assert!(text.contains("all calls and errors are as the clients expect"), "{text}");
}

#[test]
fn pieces_os_client_for_python() {
    let server = Keyledger::start(&[]);
    let text = run(Command::new(&*PYTHON).arg(source("pieces.py")).args([&server.base, &server.token]));
    assert!(text.contains("all calls and errors are as the client expects"), "{text}");
}

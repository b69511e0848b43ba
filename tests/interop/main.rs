//! The vendors' own clients and a real OAuth server, pinned and unmodified, against a server that the test starts. Run with `--features interop`;
//! needs python3, and node 20 or later with npm.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

mod oauth_server;
mod running;

use std::process::Command;

use running::{Keyledger, PYTHON, run, source};

#[test]
fn apideck_unify_for_python() {
    let server = Keyledger::start(&[]);
    let text = run(Command::new(&*PYTHON).arg(source("apideck.py")).args([&server.base, &server.token]));
    assert!(text.contains("all calls and errors are as the client expects"), "{text}");
}

#[test]
fn pieces_os_client_for_python() {
    let server = Keyledger::start(&[]);
    let text = run(Command::new(&*PYTHON).arg(source("pieces.py")).args([&server.base, &server.token]));
    assert!(text.contains("all calls and errors are as the client expects"), "{text}");
}

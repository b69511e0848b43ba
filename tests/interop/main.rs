//! The vendors' own clients, pinned and unmodified, against a server that the test starts. Run with `--features interop`; needs python3.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Ends the server with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs a command to its end; its output is the message when it fails.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// A virtual environment of its own with the pinned clients.
fn python() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop-python");
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/requirements.txt");
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
    run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(requirements));
    folder.join("bin/python")
}

#[test]
fn apideck_unify_for_python() {
    let (python, folder) = (python(), tempfile::tempdir().unwrap());
    let mut server = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    server.env_clear().env("XDG_CONFIG_HOME", folder.path().join("config")).args(["serve", "--listen", "127.0.0.1:0", "--data"]);
    let mut server = Running(server.arg(folder.path().join("data")).stdout(Stdio::piped()).spawn().unwrap());
    let (mut base, mut token) = (String::new(), String::new());
    for line in BufReader::new(server.0.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if let Some(shown) = line.strip_prefix("Owner's token   ") {
            shown.clone_into(&mut token);
        }
        if let Some(address) = line.strip_prefix("listening on ") {
            address.clone_into(&mut base);
            break;
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/apideck.py");
    let text = run(Command::new(python).arg(script).args([base, token]));
    assert!(text.contains("all calls and errors are as the client expects"), "{text}");
}

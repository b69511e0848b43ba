//! What the tests run: commands to their end, servers for as long as a test lasts, and what is installed for them.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use reqwest::blocking::{Client, RequestBuilder};
use serde_json::Value;

/// Ends a server with the test.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs a command to its end; its output is the message when it fails.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name)
}

pub fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// The Python of a virtual environment of its own, with the pinned clients.
pub static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = scratch("interop-python");
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
    let install = ["install", "--quiet", "--disable-pip-version-check", "--requirement"];
    run(Command::new(folder.join("bin/pip")).args(install).arg(source("requirements.txt")));
    folder.join("bin/python")
});

/// A folder with pinned packages for node.
fn npm(name: &str) -> PathBuf {
    let folder = scratch(&format!("interop-{name}"));
    std::fs::create_dir_all(&folder).unwrap();
    for file in ["package.json", "package-lock.json", ".npmrc"] {
        std::fs::copy(source(name).join(file), folder.join(file)).unwrap();
    }
    run(Command::new("npm").arg("ci").current_dir(&folder));
    folder
}

/// The folder in which the pinned OAuth server is installed, and what moves browsers.
pub static NODE_FOLDER: LazyLock<PathBuf> = LazyLock::new(|| npm("oauth"));

/// The folder in which Apideck's pinned client for JavaScript is installed.
pub static UNIFY_FOLDER: LazyLock<PathBuf> = LazyLock::new(|| npm("unify"));

/// The folder in which the pinned library of Standard Webhooks is installed.
pub static WEBHOOKS_FOLDER: LazyLock<PathBuf> = LazyLock::new(|| npm("webhooks"));

/// Starts a server and reads the lines that it prints, through the one with its address.
pub fn start(command: &mut Command) -> (Running, String, Vec<String>) {
    let mut server = Running(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut lines = Vec::new();
    let mut printed = BufReader::new(server.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    for line in printed.by_ref() {
        if let Some(base) = line.strip_prefix("listening on ") {
            let base = base.to_owned();
            // Some print more later on, and end when nobody reads it.
            std::thread::spawn(move || printed.for_each(drop));
            return (server, base, lines);
        }
        lines.push(line);
    }
    panic!("{command:?} ended before it listened: {lines:?}");
}

/// keyledger on a fresh data directory.
pub struct Keyledger {
    pub base: String,
    pub token: String,
    _server: Running,
    _folder: tempfile::TempDir,
}

impl Keyledger {
    pub fn start(further: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), further)
    }

    /// Over TLS, with a certificate of its own; gives the file that holds it.
    pub fn start_with_tls() -> (Self, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let further = ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
        (Self::start_in(folder, &further), certificate.clone())
    }

    fn start_in(folder: tempfile::TempDir, further: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
        command.env_clear().env("XDG_CONFIG_HOME", folder.path().join("config")).args(["serve", "--listen", "127.0.0.1:0", "--data"]);
        let (server, base, lines) = start(command.arg(folder.path().join("data")).args(further));
        let token = lines.iter().find_map(|line| line.strip_prefix("Owner's token   ")).unwrap().to_owned();
        Self { base, token, _server: server, _folder: folder }
    }

    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let request = client().request(method.parse().unwrap(), format!("{}{path}", self.base));
        request.bearer_auth(&self.token).header("x-apideck-app-id", "app").header("x-apideck-consumer-id", "acme")
    }

    /// Status and body.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let request = self.request(method, path);
        let answer = if let Some(body) = body { request.json(body) } else { request }.send().unwrap();
        (answer.status().as_u16(), answer.json().unwrap())
    }

    pub fn ok(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.call(method, path, body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }
}

pub fn client() -> Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

//! A real server process, started by a test and ended with it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use reqwest::blocking::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

/// A running server and the owner's token.
pub struct Server {
    pub child: Child,
    pub base: String,
    pub token: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already: some tests kill it themselves.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub fn spawn(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    command.env_clear().env("XDG_CONFIG_HOME", folder.join("config")).args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(folder.join("data"));
    command
}

pub fn start(folder: &Path, token: &str) -> Server {
    start_with(folder, token, &[])
}

pub fn start_with(folder: &Path, token: &str, further: &[&str]) -> Server {
    begin(spawn(folder).args(further), token)
}

pub fn begin(command: &mut Command, token: &str) -> Server {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut base, mut shown) = (String::new(), token.to_owned());
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if let Some(token) = line.strip_prefix("Owner's token   ") {
            token.clone_into(&mut shown);
        }
        if let Some(address) = line.strip_prefix("listening on ") {
            address.clone_into(&mut base);
            break;
        }
    }
    Server { child, base, token: shown }
}

pub fn client() -> Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

impl Server {
    pub fn call(&self, method: &str, path: &str) -> RequestBuilder {
        let request = client().request(method.parse().unwrap(), format!("{}{path}", self.base));
        request.bearer_auth(&self.token).header("x-apideck-app-id", "app").header("x-apideck-consumer-id", "acme")
    }

    pub fn ok(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let request = self.call(method, path);
        let answer = body.map_or_else(|| self.call(method, path), |body| request.json(&body)).send().unwrap();
        assert_eq!(answer.status(), 200, "{method} {path}");
        assert_eq!(answer.headers()["content-type"], "application/json");
        let answer: Value = answer.json().unwrap();
        assert_eq!((&answer["status_code"], &answer["status"]), (&json!(200), &json!("OK")));
        answer["data"].clone()
    }
}

/// Status and type of an error, which must be whole JSON in the vendor's shape.
pub fn error(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], "application/json");
    let body: Value = answer.json().unwrap();
    assert_eq!(body["status_code"], status);
    for member in ["error", "type_name", "message", "detail", "ref"] {
        assert!(!body[member].is_null(), "{body}");
    }
    assert!(!body.to_string().contains("canary"), "an error repeats nothing of the input: {body}");
    (status, body["type_name"].as_str().unwrap().to_owned())
}

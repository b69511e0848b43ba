//! A real server process, over HTTP: what the vendor's clients rely on, what is refused, and kill -9.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use reqwest::blocking::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

/// A running server and the owner's token.
struct Server {
    child: Child,
    base: String,
    token: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already: some tests kill it themselves.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    command.env_clear().env("XDG_CONFIG_HOME", folder.join("config")).args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(folder.join("data"));
    command
}

fn start(folder: &Path, token: &str) -> Server {
    let mut child = spawn(folder).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
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

fn client() -> Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

impl Server {
    fn call(&self, method: &str, path: &str) -> RequestBuilder {
        let request = client().request(method.parse().unwrap(), format!("{}{path}", self.base));
        request.bearer_auth(&self.token).header("x-apideck-app-id", "app").header("x-apideck-consumer-id", "acme")
    }

    fn ok(&self, method: &str, path: &str, body: Option<Value>) -> Value {
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
fn error(answer: Response) -> (u16, String) {
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

const PIPEDRIVE: &str = "/vault/connections/crm/pipedrive";

#[test]
fn a_connections_life_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    assert_eq!(server.ok("GET", PIPEDRIVE, None)["state"], "available");
    let credentials =
        json!({"credentials": {"access_token": "canary-access", "refresh_token": "canary-refresh"}, "metadata": {"plan": "e"}, "consumer_id": "x"});
    let imported = server.ok("POST", &format!("{PIPEDRIVE}/import"), Some(credentials));
    assert_eq!((&imported["id"], &imported["state"], &imported["metadata"]), (&json!("crm+pipedrive"), &json!("callable"), &json!({"plan": "e"})));
    assert!(imported["created_at"].is_i64() && !imported.to_string().contains("canary"));
    let active = "/vault/connections/crm/activecampaign";
    let added = server.ok("PATCH", active, Some(json!({"enabled": true})));
    assert_eq!(added["state"], "added");
    let callable = server.ok("PATCH", active, Some(json!({"settings": {"base_url": "https://x.example.com", "api_key": "canary-key"}})));
    assert_eq!((&callable["state"], &callable["settings"]), (&json!("callable"), &json!({"base_url": "https://x.example.com"})));
    let position = server.call("GET", active).send().unwrap().headers()["keyledger-position"].to_str().unwrap().to_owned();
    assert_eq!(server.ok("POST", &format!("{active}/validate"), None)["state"], "callable");
    assert_eq!(server.ok("GET", "/vault/connections?configured=True", None).as_array().unwrap().len(), 2);
    assert_eq!(server.ok("GET", "/vault/consumers/acme", None)["services"].as_array().unwrap().len(), 2);
    let deleted = server.call("DELETE", active).send().unwrap();
    assert_eq!((deleted.status().as_u16(), deleted.bytes().unwrap().len()), (204, 0));
    assert_eq!(server.ok("GET", active, None)["state"], "available");
    assert_eq!(server.ok("GET", &format!("{active}?as_of={position}"), None)["state"], "callable", "the past is still there");
    assert_eq!(server.ok("GET", "/vault/connections?configured=true", None).as_array().unwrap().len(), 1);
    server.ok("DELETE", "/vault/consumers/acme", None);
    assert_eq!(server.ok("GET", PIPEDRIVE, None)["state"], "available");
    let ready: Value = client().get(format!("{}/v1/health/ready", server.base)).send().unwrap().json().unwrap();
    assert_eq!(ready["status"], "ready");
}

#[test]
fn bad_requests_get_the_vendors_error_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let import = format!("{PIPEDRIVE}/import");
    let position = || server.call("GET", PIPEDRIVE).send().unwrap().headers()["keyledger-position"].clone();
    let before = position();
    let bare = |headers: &[(&str, &str)]| {
        let request = headers.iter().fold(client().get(format!("{}{PIPEDRIVE}", server.base)), |request, (name, value)| request.header(*name, *value));
        error(request.send().unwrap())
    };
    let bearer = format!("Bearer {}", server.token);
    assert_eq!(bare(&[]), (401, "UnauthorizedError".into()));
    assert_eq!(bare(&[("authorization", "Bearer canary")]), (401, "UnauthorizedError".into()));
    assert_eq!(bare(&[("authorization", &bearer[..bearer.len() - 1])]), (401, "UnauthorizedError".into()));
    assert_eq!(bare(&[("authorization", &bearer)]), (400, "RequestHeadersValidationError".into()));
    assert_eq!(bare(&[("authorization", &bearer), ("x-apideck-app-id", "a")]), (400, "RequestHeadersValidationError".into()));
    let deep = format!("{{\"metadata\":{}1{}}}", "[".repeat(16), "]".repeat(16));
    let bodies = [
        "canary",
        "[]",
        "{\"credentials\":7}",
        "{\"credentials\":{\"canary\":1}}",
        "{\"metadata\":1,\"metadata\":2}",
        "{\"credentials\":{\"access_token\":\"\"}}",
        "{} {}",
        &deep,
    ];
    for body in bodies {
        assert_eq!(error(server.call("POST", &import).body(body.to_owned()).send().unwrap()), (400, "RequestValidationError".into()), "{body}");
    }
    let large = format!("{{\"metadata\":\"{}\"}}", "x".repeat(256 * 1024));
    assert_eq!(error(server.call("POST", &import).body(large).send().unwrap()).0, 413);
    for (method, path, status) in [
        ("GET", "/vault/connections/crm/canary", 404),
        ("GET", "/vault/connections/crm/a/b", 404),
        ("GET", "/canary", 404),
        ("GET", "/vault/connections/crm/%FF", 404),
        ("GET", "/vault/consumers/%FF", 404),
        ("GET", "/vault/consumers?cursor=canary", 400),
        ("PUT", PIPEDRIVE, 404),
        ("DELETE", PIPEDRIVE, 404),
        ("GET", "/vault/connections?configured=canary", 400),
        ("GET", "/vault/connections/crm/pipedrive?as_of=canary", 400),
        ("GET", "/vault/consumers?limit=0", 400),
        ("GET", "/vault/consumers?limit=201", 400),
        ("GET", "/vault/consumers/canary", 404),
    ] {
        assert_eq!(error(server.call(method, path).send().unwrap()).0, status, "{method} {path}");
    }
    for (method, path, status) in [("GET", "/v1/canary", 404), ("POST", "/v1/health/live", 404)] {
        let answer = server.call(method, path).send().unwrap();
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{method} {path}");
        assert_eq!(answer.json::<Value>().unwrap()["status"], status, "{method} {path}");
    }
    assert_eq!(error(server.call("PATCH", PIPEDRIVE).header("if-match", "\"7\"").json(&json!({"enabled": true})).send().unwrap()).0, 412);
    assert_eq!(position(), before, "nothing was written");
    let keyed =
        |token: &str| server.call("POST", &import).header("idempotency-key", "k1").json(&json!({"credentials": {"access_token": token}})).send().unwrap();
    assert_eq!(keyed("one").status(), 200);
    let after = position();
    assert_eq!(keyed("one").status(), 200);
    assert_eq!(position(), after, "a repeat writes nothing");
    assert_eq!(error(keyed("two")), (422, "IdempotencyKeyReusedError".into()));
    let delete = || server.call("DELETE", PIPEDRIVE).header("idempotency-key", "k2").send().unwrap().status();
    assert_eq!([delete(), delete()], [204, 204], "a repeat is answered as the first, though the thing is gone");
}

#[test]
fn one_server_per_vault_and_nothing_acknowledged_is_lost_to_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), "");
    let second = spawn(folder.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains(&format!("pid {}", server.child.id())));
    let mut acknowledged = 0;
    for round in 0..50 {
        let (base, token) = (server.base.clone(), server.token.clone());
        let writer = std::thread::spawn(move || {
            let client = client();
            let mut last = 0_u32;
            for n in 1.. {
                let consumer = json!({"consumer_id": format!("r{round:02}-{n:04}")});
                let sent = client.post(format!("{base}/vault/consumers")).bearer_auth(&token).header("x-apideck-app-id", "app").json(&consumer).send();
                if !sent.is_ok_and(|answer| answer.status() == 200) {
                    break;
                }
                last = n;
            }
            last
        });
        let path = format!("/vault/consumers?filter[consumer_id]=r{round:02}-");
        while server.ok("GET", &path, None).as_array().unwrap().len() < 3 {}
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        let last = writer.join().unwrap();
        acknowledged += last;
        server = start(folder.path(), &server.token);
        for n in [1, last] {
            server.ok("GET", &format!("/vault/consumers/r{round:02}-{n:04}"), None);
        }
    }
    assert!(acknowledged >= 150);
}

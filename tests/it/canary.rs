//! A scan: secrets that went in by every route stand in no file, log line or answer that should not hold them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use reqwest::blocking::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::served::{Server, client, spawn};

const CANARIES: usize = 34;

/// A secret that stands nowhere else: its number and random-looking letters.
fn canary(number: usize) -> String {
    format!("canary{number:02}qxzvwkjy")
}

/// The forms in which a secret might lie somewhere: as it is, in hex, in both sorts of base64.
pub fn forms(canary: &str) -> Vec<Vec<u8>> {
    use base64ct::{Base64, Base64Url, Encoding};
    // Without its last digits, which depend on what follows.
    let cut = |text: String| text.as_bytes()[..text.trim_end_matches('=').len() - 2].to_vec();
    let (plain, hex) = (canary.as_bytes().to_vec(), base16ct::lower::encode_string(canary.as_bytes()));
    vec![plain.clone(), hex.to_uppercase().into_bytes(), hex.into_bytes(), cut(Base64::encode_string(&plain)), cut(Base64Url::encode_string(&plain))]
}

/// Which canaries stand in these bytes.
fn found(bytes: &[u8]) -> Vec<usize> {
    let holds = |form: &Vec<u8>| bytes.windows(form.len()).any(|window| window == form.as_slice());
    (0..CANARIES).filter(|number| forms(&canary(*number)).iter().any(holds)).collect()
}

/// Which secrets stand in the files below a folder, as `found` finds them.
pub fn found_below(folder: &Path, found: &dyn Fn(&[u8]) -> Vec<usize>) -> Vec<(String, usize)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(found_below(&path, found));
        } else {
            all.extend(found(&fs::read(&path).unwrap()).into_iter().map(|number| (path.display().to_string(), number)));
        }
    }
    all
}

/// A server that logs all that it can, into a file beside its data.
pub fn start(folder: &Path) -> Server {
    start_with(folder, &[])
}

/// The same, with further arguments.
pub fn start_with(folder: &Path, further: &[&str]) -> Server {
    let log = fs::File::create(folder.join("server.log")).unwrap();
    let mut child = spawn(folder).args(further).env("KEYLEDGER_LOG", "trace").stdout(Stdio::piped()).stderr(log).spawn().unwrap();
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

/// Head and body of an answer.
pub fn whole(answer: Response) -> Vec<u8> {
    let mut bytes = format!("{:?}", answer.headers()).into_bytes();
    bytes.extend(answer.bytes().unwrap());
    bytes
}

/// Sends and looks: the answer holds no canary.
fn silent(request: RequestBuilder) -> u16 {
    let answer = request.send().unwrap();
    let (status, url) = (answer.status().as_u16(), answer.url().to_string());
    assert_eq!(found(&whole(answer)), Vec::<usize>::new(), "{url}");
    status
}

/// What goes in: by imports, settings, exchanges, and by requests that are refused.
fn send_all(server: &Server) {
    let pipedrive = "/vault/connections/crm/pipedrive";
    let post = |path: &str, body: Value| silent(server.call("POST", path).json(&body));
    let tokens = |access: usize, refresh: usize| json!({"credentials": {"access_token": canary(access), "refresh_token": canary(refresh)}});
    assert_eq!(post(&format!("{pipedrive}/import"), tokens(0, 1)), 200);
    assert_eq!(post(&format!("{pipedrive}/import"), tokens(2, 3)), 200);
    let settings = json!({"settings": {"client_secret": canary(4), "undeclared": {"nested": canary(5)}, "a list": [canary(6)]}});
    assert_eq!(silent(server.call("PATCH", pipedrive).json(&settings)), 200);
    assert_eq!(silent(server.call("PATCH", pipedrive).json(&json!({"settings": {"undeclared": canary(7)}}))), 200);
    // The service is moved to where the guard lets no call through: tests call nobody outside.
    let mut connector = server.call("GET", "/v1/connectors/hris/personio").send().unwrap().json::<Value>().unwrap()["connector"].clone();
    connector["oauth"]["token_url"] = json!("http://127.0.0.1:1/token");
    assert_eq!(silent(server.call("PUT", "/v1/connectors/hris/personio").json(&connector)), 200);
    let personio = "/vault/connections/hris/personio";
    assert_eq!(post(personio, json!({"settings": {"client_id": "an id", "client_secret": canary(8)}})), 200);
    // Refused: by shape, by state, by size, by token, by path.
    assert_eq!(post(&format!("{pipedrive}/import"), json!({"credentials": {"access_token": [canary(9)]}})), 400);
    assert_eq!(post(&format!("{pipedrive}/import"), json!({"credentials": {canary(10): 1}})), 400);
    assert_eq!(silent(server.call("POST", &format!("{pipedrive}/import")).body(format!("{{\"credentials\": {{\"access_token\": \"{}\"", canary(11)))), 400);
    assert_eq!(post(&format!("{pipedrive}/import"), json!({"credentials": {"access_token": format!("{}{}", canary(12), "x".repeat(65 * 1024))}})), 400);
    assert_eq!(post("/vault/connections/crm/nobody", json!({"settings": {"api_key": canary(13)}})), 404);
    assert_eq!(silent(client().get(format!("{}{pipedrive}", server.base)).bearer_auth(canary(14)).header("x-apideck-app-id", "app")), 401);
    assert_eq!(silent(server.call("GET", &format!("/vault/connections?configured={}", canary(15)))), 400);
    assert_eq!(silent(server.call("GET", &format!("/v1/events?cursor={}", canary(16)))), 400);
    let connector = json!({"unified_api": "crm", "service_id": "x", "name": "X", "unknown": canary(17)});
    assert_eq!(silent(server.call("PUT", "/v1/connectors/crm/x").json(&connector)), 400);
    assert_eq!(silent(server.call("PATCH", pipedrive).header("if-match", canary(18)).json(&json!({}))), 400);
    assert_eq!(post("/v1/secrets/reveal", json!({"credential": canary(19), "secret": "x", "reason": "a test"})), 404);
    // An exchange that the guard stops; its cause must not repeat what would have been sent.
    assert_eq!(post(&format!("{personio}/token"), json!({})), 422);
}

/// The same for keys at providers, and for what the surfaces of keys refuse.
fn send_keys(server: &Server) {
    let post = |path: &str, body: Value| silent(server.call("POST", path).json(&body));
    let (create, update) = ("/external_provider/api_key/create", "/external_provider/api_key/update");
    let key = |number: usize| json!({"api_key": format!("{}-and-an-end", canary(number))});
    assert_eq!(post(create, json!({"user": "owner", "open_AI": key(20), "groq": key(21)})), 200);
    assert_eq!(post(create, json!({"user": "owner", "open_AI": key(22)})), 200);
    assert_eq!(post(update, json!({"user": "owner", "groq": key(23)})), 200);
    assert_eq!(post(update, json!({"user": "nobody", "groq": key(24)})), 401);
    assert_eq!(post(update, json!({"user": "owner", "groq": {"api_key": canary(25), "unknown": canary(25)}})), 400);
    let stranger = client().post(format!("{}{create}", server.base)).header("x-application-id", canary(26));
    assert_eq!(silent(stranger.json(&json!({"user": "owner", "groq": key(26)}))), 401);
    assert_eq!(silent(server.call("GET", &format!("/api-keys?token={}&name={}", canary(27), canary(27)))), 200);
    assert_eq!(silent(server.call("GET", &format!("/api-keys?optFields={}", canary(27)))), 400);
    assert_eq!(post("/api-keys", json!({"name": [canary(27)], canary(27): 1})), 400);
}

/// The same for what a tenant supplies for all connections to a service.
fn send_integrations(server: &Server) {
    let personio = "/v1/integrations/hris/personio";
    let send = |method: &str, body: Value| silent(server.call(method, personio).json(&body));
    assert_eq!(send("PUT", json!({"settings": {"client_id": "an id", "client_secret": canary(28)}})), 200);
    assert_eq!(send("PATCH", json!({"settings": {"client_secret": canary(29)}})), 200);
    // Refused: by name, by shape, by size.
    assert_eq!(send("PATCH", json!({"settings": {canary(30): canary(30)}})), 400);
    assert_eq!(send("PUT", json!({"settings": [canary(31)], canary(31): 1})), 400);
    assert_eq!(send("PATCH", json!({"settings": {"client_secret": format!("{}{}", canary(32), "x".repeat(70 * 1024))}})), 413);
    // Sent by an exchange that the guard stops.
    assert_eq!(silent(server.call("PATCH", "/vault/connections/hris/personio").json(&json!({"settings": {"client_id": null, "client_secret": null}}))), 200);
    assert_eq!(silent(server.call("POST", "/vault/connections/hris/personio/token").json(&json!({}))), 422);
    assert_eq!(silent(server.call("GET", &format!("/v1/integrations?unified_api={}", canary(33)))), 200);
}

/// Every GET route, also as of the past.
fn read_all(server: &Server) {
    let value = |path: &str| -> Value { server.call("GET", path).send().unwrap().json().unwrap() };
    let head = value("/v1/events?limit=1")["position"].as_u64().unwrap();
    let ids: Vec<String> =
        value("/v1/credentials?show=all&limit=200")["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
    let mut paths: Vec<String> = ["/vault/connections", "/vault/connections/crm/pipedrive", "/vault/connections/hris/personio", "/vault/consumers"]
        .into_iter()
        .chain([
            "/vault/consumers/acme",
            "/v1/connectors",
            "/v1/connectors/crm/pipedrive",
            "/v1/integrations",
            "/v1/integrations/hris/personio",
            "/v1/integrations/hris/personio/history",
            "/api-keys?optFields=emails,labels,permissions",
            "/v1/log/state",
            "/v1/log/checkpoint",
            "/v1/log/key",
            "/v1/log/proofs/inclusion?position=1",
            "/v1/log/proofs/consistency?from=1",
            "/v1/log/leaves?limit=4096",
            "/v1/health/live",
            "/v1/health/ready",
            "/openapi.json",
        ])
        .chain(["/v1/events?limit=200", "/v1/events?limit=200&order=asc", "/v1/credentials?show=all&limit=200"])
        .chain(["/v1/events/export", "/v1/events/export?format=csv"])
        .map(str::to_owned)
        .collect();
    paths.extend(ids.iter().flat_map(|id| [format!("/v1/credentials/{id}"), format!("/v1/credentials/{id}/history?limit=200")]));
    paths.extend(ids.iter().map(|id| format!("/v1/credentials/{id}/exposure")));
    paths.extend((head - 20..=head).map(|position| format!("/v1/events/{position}")));
    for path in ["/vault/connections/crm/pipedrive", "/v1/integrations/hris/personio"] {
        paths.extend((head - 20..=head).map(|position| format!("{path}?as_of={position}")));
    }
    for path in paths {
        let status = silent(server.call("GET", &path));
        assert!(status == 200 || (status == 404 && (path.starts_with("/v1/events/") || path.contains("as_of"))), "{path}: {status}");
    }
}

#[test]
fn no_secret_stands_where_it_should_not_and_a_planted_one_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path());
    send_all(&server);
    send_keys(&server);
    send_integrations(&server);
    read_all(&server);
    // The one answer that holds a secret, and only the one that was asked for.
    let id = server.call("GET", "/v1/credentials?kind=connection").send().unwrap().json::<Value>().unwrap()["data"][0]["id"].clone();
    let request = json!({"credential": id, "secret": "access_token", "reason": "a test"});
    let shown = whole(server.call("POST", "/v1/secrets/reveal").json(&request).send().unwrap());
    assert_eq!(found(&shown), [2]);
    silent(server.call("DELETE", "/vault/connections/crm/pipedrive"));
    read_all(&server);
    assert_eq!(found_below(folder.path(), &found), [], "while it runs");
    // Ended well, so that the snapshot is written; then started anew and killed.
    rustix::process::kill_process(rustix::process::Pid::from_child(&server.child), rustix::process::Signal::TERM).unwrap();
    server.child.wait().unwrap();
    assert!(folder.path().join("data/views.snapshot").exists());
    assert_eq!(found_below(folder.path(), &found), [], "after its end");
    let log = fs::read_to_string(folder.path().join("server.log")).unwrap();
    assert!(log.lines().count() > 50, "the log was on: {log}");
    // Planted, in each form.
    for (place, form) in forms(&canary(7)).into_iter().enumerate() {
        let path = folder.path().join("data").join(format!("planted{place}"));
        fs::write(&path, [b"some bytes before ".as_slice(), &form, b" and after"].concat()).unwrap();
        assert_eq!(found_below(folder.path(), &found).len(), 1, "form {place}");
        fs::remove_file(path).unwrap();
    }
    // And in an answer: metadata are no secrets, so they are shown.
    let server = crate::served::start(folder.path(), &server.token);
    let planted = server.call("POST", "/vault/consumers").json(&json!({"consumer_id": "b", "metadata": {"note": canary(3)}}));
    assert_eq!(found(&whole(planted.send().unwrap())), [3]);
}

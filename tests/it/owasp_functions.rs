//! The second half of the OWASP API Security Top 10 (2023): too much of something, functions of others, what goes out and what comes in.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::members::{As, PASSWORD, owner, user};
use crate::served::{Server, client, start};

const CLIENTS: &str = "/local-user-store/api/v1/api-clients";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn document() -> Value {
    serde_json::from_str(include_str!("../../schema/openapi.json")).unwrap()
}

/// Whatever a caller can ask for more of has an end that is told.
#[test]
fn api4_unrestricted_resource_consumption() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let home = owner(&server);
    let document = document();
    // Each JSON operation: a body that is too large, and one that nests too deep.
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(300 * 1024));
    let deep = format!("{}1{}", "{\"a\":".repeat(40), "}".repeat(40));
    let mut asked = 0;
    for (template, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if operation["requestBody"]["content"]["application/json"].is_null() || template.ends_with("/rotate") {
                continue;
            }
            let path = template.replace("{unified_api}/{service_id}", "crm/pipedrive").replace("{domain}", "privx-external").replace("{consumer_id}", "nobody");
            let path = path.split('/').map(|part| if part.starts_with('{') { "00000000000000000000000000000000" } else { part }).collect::<Vec<_>>().join("/");
            for (body, statuses) in [(&large, [413, 404]), (&deep, [400, 404])] {
                let request = server.call(&method.to_uppercase(), &path).header("content-type", "application/json").body(body.clone());
                // What is turned down early may be cut off.
                let Ok(answer) = request.send() else { continue };
                assert!(statuses.contains(&answer.status().as_u16()), "{method} {template}: {}", answer.status());
                asked += 1;
            }
        }
    }
    assert!(asked > 40, "{asked}");
    let now = &server.call("GET", "/v1/log/state").send().unwrap().json::<Value>().unwrap()["position"];
    // Pages: each list that takes a limit takes no more than 200; hashes, which are short, 4,096.
    for (template, methods) in document["paths"].as_object().unwrap() {
        let limited = methods["get"]["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "limit"));
        if !limited || template.contains('{') {
            continue;
        }
        // A comparison needs something to compare with.
        let from = if template == "/v1/diff" { format!("from={now}&") } else { String::new() };
        let (most, beyond) = if template == "/v1/log/leaves" { ("4096", "4097") } else { ("200", "201") };
        for (limit, status) in [(most, 200), (beyond, 400), ("0", 400), ("-1", 400), ("99999999999999999999", 400), ("1e3", 400)] {
            assert_eq!(server.call("GET", &format!("{template}?{from}limit={limit}")).send().unwrap().status(), status, "{template} {limit}");
        }
    }
    // A body is what it is: nothing is unpacked.
    let packed =
        server.call("POST", "/v1/roles").header("content-encoding", "gzip").header("content-type", "application/json").body(vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    assert_eq!(packed.send().unwrap().status(), 400);
    // Lists within a body, and what a user may have.
    for (path, body) in [
        ("/v1/users", json!({"login": "x", "roles": vec!["reader"; 65]})),
        ("/v1/api-keys", json!({"name": "x", "labels": vec!["x"; 65]})),
        ("/v1/api-keys", json!({"name": "x", "emails": vec!["a@example.com"; 65]})),
        ("/v1/api-keys", json!({"name": "x", "app_ids": (0..65).map(|n| format!("app{n}")).collect::<Vec<_>>()})),
        ("/v1/roles", json!({"name": "x", "permissions": (0..300).map(|n| format!("custom:{n}")).collect::<Vec<_>>()})),
        ("/v1/users", json!({"login": "x", "password": "x y z a b c d ".repeat(100)})),
        ("/v1/sessions", json!({"login": "owner", "password": PASSWORD, "seconds": 604_801})),
        (&*format!("{CLIENTS}/search?offset=0"), json!({"keywords": "a ".repeat(33)})),
    ] {
        assert_eq!(home.status("POST", path, &body), 400, "{path}");
    }
    let (_, ann) = user(&server, "ann", &["owner"]);
    let made: Vec<u16> = (0..21).map(|n| ann.status("POST", "/api/v1/user-applications", &json!({"name": format!("app-{n:02}")}))).collect();
    assert!(made[..20].iter().all(|status| *status == 201) && made[20] == 409, "{made:?}");
}

/// Ways around the check of a function: other methods, other spellings of its path, headers that name another, and half a permission.
#[test]
fn api5_broken_function_level_authorization() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let home = owner(&server);
    let (_, ann) = user(&server, "ann", &[]);
    let (victim, _) = user(&server, "victim", &["reader"]);
    let path = format!("/v1/users/{victim}");
    for name in ["x-http-method-override", "x-http-method", "x-method-override", "_method"] {
        for caller in [&home, &ann] {
            drop(caller.call("GET", &path).header(name, "DELETE").send().unwrap());
            drop(caller.call("POST", &format!("{path}?_method=DELETE")).header(name, "DELETE").send().unwrap());
        }
    }
    assert_eq!(home.status("GET", &path, &Value::Null), 200, "it is there");
    for (name, value) in [
        ("x-original-url", "/v1/me"),
        ("x-rewrite-url", "/v1/me"),
        ("x-forwarded-prefix", "/v1/me"),
        ("referer", "/v1/me"),
        ("x-forwarded-for", "127.0.0.1"),
        ("host", "localhost"),
    ] {
        let answer = ann.call("GET", "/v1/users").header(name, value).send();
        assert!(answer.is_err() || [400, 403].contains(&answer.unwrap().status().as_u16()), "{name}");
    }
    // Spelt otherwise, a path is another one: refused, or not there. (A client tidies some of them up before they leave.)
    for odd in [
        "/v1/users/",
        "//v1/users",
        "/V1/USERS",
        "/v1/Users",
        "/v1/users;a=b",
        "/v1//users",
        "/v1/%75sers%2f",
        "/v1/users%00",
        "/v1/users.json",
        "/v1/me/../users",
        "/v1/%2e%2e/v1/users",
        "/v1/me/%2e%2e/users",
        "/v1/users#",
        "/v1/users?",
        "/v1/me%2f..%2fusers",
    ] {
        for caller in [&ann, &As { server: &server, token: "none".into() }] {
            let status = caller.status("GET", odd, &Value::Null);
            assert!([401, 403, 404].contains(&status), "{odd}: {status}");
        }
    }
    half_of_what_it_takes(&server);
}

/// A smaller administrator with what is a bigger one's.
fn half_of_what_it_takes(server: &Server) {
    let home = owner(server);
    let (_, admin) = user(server, "admin", &["admin"]);
    let (boss, _) = user(server, "boss", &["owner"]);
    let made = home.ok("POST", "/v1/api-keys", &json!({"name": "of the boss", "owner": boss}));
    let (id, first) = (text(&made["api_key"]["id"]), As { server, token: text(&made["token"]) });
    let second = home.ok("POST", &format!("/v1/credentials/{id}/rotate"), &json!({"grace_seconds": 600}));
    for verb in ["rotate", "rotation/finish", "rotation/take-back"] {
        assert_eq!(admin.problem("POST", &format!("/v1/credentials/{id}/{verb}"), &Value::Null), (403, "forbidden".into()), "{verb}");
    }
    let second = As { server, token: text(&second["secret"]) };
    let me = |caller: &As<'_>| caller.status("GET", "/v1/me", &Value::Null);
    assert_eq!((me(&first), me(&second)), (200, 200), "both still work");
    for (method, path, body) in [
        ("PATCH", format!("/v1/api-keys/{id}"), json!({"name": "mine"})),
        ("PATCH", format!("/v1/api-keys/{id}"), json!({"expires_at": "2999-01-01T00:00:00Z"})),
        ("DELETE", format!("/v1/api-keys/{id}"), Value::Null),
        ("PATCH", format!("/api-keys/{}", made["api_key"]["number"]), json!({"refreshApiToken": true})),
        ("DELETE", format!("/api-keys/{}", made["api_key"]["number"]), Value::Null),
        ("PATCH", format!("/v1/users/{boss}"), json!({"email": "attacker@example.com"})),
        ("PATCH", format!("/v1/users/{boss}"), json!({"login": "attacker"})),
        ("POST", "/v1/api-keys".into(), json!({"name": "mine", "owner": boss})),
    ] {
        assert_eq!(admin.status(method, &path, &body), 403, "{method} {path} {body}");
    }
}

/// Secrets leave one at a time, for a reason, by an event; no list and no past gives them, and what is shown once is shown once.
#[test]
fn api6_unrestricted_access_to_sensitive_business_flows() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let home = owner(&server);
    let ids: Vec<String> = (0..3).map(|n| text(&home.ok("POST", CLIENTS, &json!({"name": format!("c{n}"), "roles": []}))["id"])).collect();
    let role = home.ok("GET", "/v1/roles/owner", &Value::Null)["id"].clone();
    let mighty = text(&home.ok("POST", CLIENTS, &json!({"name": "mighty", "roles": [{"id": role}]}))["id"]);
    let reveals = || {
        let events = home.ok("GET", "/v1/events?kind=api_client&type=revealed&limit=200", &Value::Null);
        events["data"].as_array().unwrap().len()
    };
    let before = reveals();
    let page = home.send("GET", &format!("{CLIENTS}?limit=200"), &Value::Null).text().unwrap();
    let found = home.send("POST", &format!("{CLIENTS}/search"), &json!({})).text().unwrap();
    assert!(![&page, &found].iter().any(|told| told.contains("klcli_") || told.contains("kloac_")));
    assert_eq!(reveals(), before, "a list shows none, and says so");
    for id in &ids {
        assert!(text(&home.ok("GET", &format!("{CLIENTS}/{id}"), &Value::Null)["secret"]).starts_with("klcli_"));
    }
    assert_eq!(reveals(), before + ids.len(), "each look is an event");
    let position = home.ok("GET", "/v1/events?limit=1", &Value::Null)["position"].clone();
    let past = home.ok("GET", &format!("{CLIENTS}/{}?as_of={position}", ids[0]), &Value::Null);
    assert_eq!(past["secret"], "********");
    // Whoever may see secrets, but may do less than the client: neither by its page nor by a reveal.
    home.ok("POST", "/v1/roles", &json!({"name": "looker", "permissions": ["api-clients:read", "api-clients:reveal", "secrets:reveal"]}));
    let (_, looker) = user(&server, "looker", &["looker"]);
    assert_eq!(looker.ok("GET", &format!("{CLIENTS}/{mighty}"), &Value::Null)["secret"], "********");
    let reveal = |caller: &As<'_>, id: &str, reason: Value| {
        let mut body = json!({"credential": id.replace('-', ""), "secret": "secret"});
        if !reason.is_null() {
            body["reason"] = reason;
        }
        caller.status("POST", "/v1/secrets/reveal", &body)
    };
    assert_eq!(reveal(&looker, &mighty, json!("curious")), 403);
    assert_eq!(reveal(&looker, &ids[0], json!("support case")), 200);
    for reason in [Value::Null, json!(""), json!("  "), json!("x".repeat(513)), json!(1), json!(["a", "b"])] {
        assert_eq!(reveal(&home, &ids[0], reason.clone()), 400, "{reason}");
    }
    // Under an idempotency key, what was shown once is shown again to the same caller for the same request, and to nobody else.
    let make = |caller: &As<'_>, name: &str| {
        let answer = caller.call("POST", "/v1/api-keys").header("idempotency-key", "one-key").json(&json!({"name": name})).send().unwrap();
        (answer.status().as_u16(), answer.json::<Value>().unwrap())
    };
    let (_, admin) = user(&server, "admin", &["admin"]);
    let first = make(&home, "k").1;
    assert_eq!(make(&home, "k").1["token"], first["token"]);
    assert_eq!(make(&home, "other").0, 422);
    let others = make(&admin, "k");
    assert!(
        others.0 == 201 && others.1["token"] != first["token"] && others.1["api_key"]["id"] != first["api_key"]["id"],
        "another principal's key is its own"
    );
}

/// Where a caller says whom the server shall call, it calls nobody inside.
#[test]
fn api7_server_side_request_forgery() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let trap = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let port = trap.local_addr().unwrap().port();
    let connector = server.call("GET", "/v1/connectors/hris/personio").send().unwrap().json::<Value>().unwrap()["connector"].clone();
    let personio = "/vault/connections/hris/personio";
    let settings = json!({"settings": {"client_id": "an id", "client_secret": "hush-hush"}});
    assert_eq!(server.call("POST", personio).json(&settings).send().unwrap().status(), 200);
    let hosts = [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "2130706433",
        "0x7f.1",
        "127.1",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "127.0.0.1.",
        "user@127.0.0.1",
        "169.254.169.254",
        "[fe80::1]",
        "10.0.0.1",
        "metadata.google.internal",
    ];
    let mut urls: Vec<String> = hosts.iter().flat_map(|host| ["http", "https"].map(|scheme| format!("{scheme}://{host}:{port}/latest/meta-data"))).collect();
    urls.extend(
        ["file:///etc/passwd", "gopher://127.0.0.1/", "ftp://127.0.0.1/", "data:text/plain,x", "unix:/run/docker.sock", "//127.0.0.1/", "", "javascript:1"]
            .map(str::to_owned),
    );
    for url in urls {
        let mut connector = connector.clone();
        connector["oauth"]["token_url"] = json!(url);
        let put = server.call("PUT", "/v1/connectors/hris/personio").json(&connector).send().unwrap().status().as_u16();
        assert!([200, 400].contains(&put), "{url}: {put}");
        if put == 200 {
            let answer = server.call("POST", &format!("{personio}/token")).send().unwrap();
            let (status, told) = (answer.status().as_u16(), answer.text().unwrap());
            assert_eq!(status, 422, "{url}: {told}");
            assert!(!told.contains("root:") && !told.contains("hush-hush"), "{url}: {told}");
        }
    }
    assert_eq!(trap.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody knocked");
}

/// Nothing that is left as it came: files, headers, answers of things that are not there, users that nobody made.
#[test]
fn api8_security_misconfiguration() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    for path in ["/v1/users", "/v1/nothing", "/vault/consumers", "/api-keys", "/openapi.json", "/v1/health/live", "/nothing"] {
        let request = server.call("GET", path).header("origin", "https://attacker.example").header("access-control-request-method", "GET");
        let answer = request.send().unwrap();
        for name in answer.headers().keys().map(reqwest::header::HeaderName::as_str) {
            assert!(!name.starts_with("access-control-") && !["server", "x-powered-by", "via"].contains(&name), "{path} answers {name}");
        }
        assert!(answer.headers().get("cache-control").is_some_and(|value| value == "no-store") || ["/openapi.json", "/nothing"].contains(&path), "{path}");
        let told = answer.text().unwrap().to_lowercase();
        for inner in ["panicked", "src/", ".rs:", "sqlite", "rusqlite", "serde", "axum", "/tmp/", "stack"] {
            assert!(path == "/openapi.json" || !told.contains(inner), "{path} tells of {inner}");
        }
    }
    for method in ["TRACE", "OPTIONS", "CONNECT", "PROPFIND", "DEBUG"] {
        let Ok(answer) = server.call(method, "/v1/users").send() else { continue };
        assert!([400, 404, 405].contains(&answer.status().as_u16()), "{method}: {}", answer.status());
        assert!(!answer.text().unwrap().contains(&server.token), "{method} sends nothing back");
    }
    let nobody = As { server: &server, token: String::new() };
    for (login, password) in
        [("owner", "owner"), ("admin", "admin"), ("root", ""), ("owner", ""), ("owner", &*server.token), ("owner", "keyledger"), ("default", "default")]
    {
        assert_eq!(nobody.status("POST", "/v1/sessions", &json!({"login": login, "password": password})), 401, "{login}");
    }
    // Only the one who runs the vault reads its keys.
    let mode = std::fs::metadata(folder.path().join("data")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    let root = std::fs::read_dir(folder.path().join("config/keyledger")).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    assert!(!root.is_empty());
    for path in root {
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
    }
}

/// The document is the whole of it: what it does not list is not there, whatever it is called, in no older and no newer version.
#[test]
fn api9_improper_inventory_management() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let document = document();
    let mut open = BTreeSet::new();
    for (template, methods) in document["paths"].as_object().unwrap() {
        let path = template.split('/').map(|part| if part.starts_with('{') { "x1" } else { part }).collect::<Vec<_>>().join("/");
        let documented: BTreeSet<String> = methods.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"].into_iter().filter(|method| !documented.contains(*method)) {
            // A path may be two templates at once, such as one with `me` in it.
            let another = document["paths"]
                .as_object()
                .unwrap()
                .iter()
                .any(|(other, methods)| other != template && overlaps(other, &path) && methods.get(method.to_lowercase()).is_some());
            let answer = server.call(method, &path).json(&json!({})).send().unwrap();
            let status = answer.status().as_u16();
            assert!(another || status == 404, "{method} {path} is not documented and answers {status}");
            assert!(answer.headers()["content-type"].to_str().unwrap().contains("json"), "{method} {path}");
        }
        for (method, operation) in methods.as_object().unwrap() {
            if operation["security"].as_array().is_some_and(|all| all.is_empty() || all.iter().any(|one| one.as_object().unwrap().is_empty())) {
                open.insert(format!("{method} {template}"));
            }
        }
    }
    let doors = [
        "get /v1/health/live",
        "get /v1/health/ready",
        "get /vault/authorize/{service_id}/{application_id}",
        "get /vault/callback",
        "get /vault/revoke/{service_id}/{application_id}",
        "post /api/v1/token",
        "post /auth/api/v1/oauth/clientcredentials/{domain}/token",
        "post /auth/api/v1/oauth/token",
        "post /v1/oauth/token",
        "post /v1/sessions",
    ];
    assert_eq!(open, doors.map(str::to_owned).into(), "what takes no token says so, and there is no more of it");
    for path in [
        "/v0/users",
        "/v2/users",
        "/v1beta/users",
        "/api/v2/token",
        "/api/v1/users",
        "/auth/api/v2/oauth/token",
        "/debug/pprof",
        "/metrics",
        "/actuator/env",
        "/.env",
        "/.git/config",
        "/admin",
        "/swagger",
        "/graphql",
        "/v1/debug",
        "/v1/backup",
        "/v1/keyring",
        "/v1/secrets",
        "/vault",
        "/console",
        "/server-status",
    ] {
        for token in [Some(server.token.as_str()), None] {
            let request = client().get(format!("{}{path}", server.base));
            let status =
                token.map_or_else(|| client().get(format!("{}{path}", server.base)), |token| request.bearer_auth(token)).send().unwrap().status().as_u16();
            assert!([401, 404].contains(&status), "{path}: {status}");
        }
    }
}

fn overlaps(template: &str, path: &str) -> bool {
    let (one, other): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    one.len() == other.len() && one.iter().zip(&other).all(|(one, other)| one.starts_with('{') || one == other)
}

/// What a service answers is a stranger's text: none of it, and nothing of what it was sent, reaches an answer, an event or a file as it came.
#[test]
fn api10_unsafe_consumption_of_apis() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = vec![0; 64 * 1024];
            let length = stream.read(&mut request).unwrap_or(0);
            // It sends back what it was sent, and more.
            let sent = String::from_utf8_lossy(&request[..length]).replace(['"', '\\', '\r', '\n'], " ");
            let body =
                json!({"error": "invalid_client<script>", "error_description": format!("stranger's text: {sent}"), "error_uri": "https://attacker.example"})
                    .to_string();
            drop(std::io::Write::write_all(
                &mut stream,
                format!("HTTP/1.1 400 Bad\r\nset-cookie: a=b\r\nkeyledger-position: 1\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes(),
            ));
        }
    });
    let server = crate::served::start_with(folder.path(), "", &["--allow-egress", "127.0.0.0/8"]);
    let mut connector = server.call("GET", "/v1/connectors/hris/personio").send().unwrap().json::<Value>().unwrap()["connector"].clone();
    connector["oauth"]["token_url"] = json!(url);
    assert_eq!(server.call("PUT", "/v1/connectors/hris/personio").json(&connector).send().unwrap().status(), 200);
    let personio = "/vault/connections/hris/personio";
    let settings = json!({"settings": {"client_id": "an id", "client_secret": "echoed-canary-qzxwvkj"}});
    assert_eq!(server.call("POST", personio).json(&settings).send().unwrap().status(), 200);
    let answer = server.call("POST", &format!("{personio}/token")).send().unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().get("set-cookie").is_some()), (401, false));
    let mut told = answer.text().unwrap();
    for path in ["/v1/events?limit=20", "/v1/credentials?show=all", personio, "/vault/connections?configured=true"] {
        told += &server.call("GET", path).send().unwrap().text().unwrap();
    }
    for foreign in ["stranger's text", "echoed-canary", "<script>", "attacker.example"] {
        assert!(!told.contains(foreign), "{foreign} came through: {told}");
    }
    let log = std::fs::read(folder.path().join("data/log.db")).unwrap();
    assert!(!log.windows(13).any(|window| window == b"echoed-canary"));
}

//! The log as a file: everything that fits, whole or told apart from a whole one, and harmless in a spreadsheet.

use std::process::Command;

use serde_json::{Value, json};

use crate::audit_filters::{all, churn};
use crate::served_vault::ServedBench;

/// Status, sort and text of an export.
async fn export(bench: &ServedBench, query: &str) -> (u16, String, String) {
    let answer = bench.request("GET", &format!("/v1/events/export?{query}")).bearer_auth(&bench.token).send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let (status, sort) = (answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap().to_owned());
    (status, sort, answer.text().await.unwrap())
}

/// The events of an export of JSON lines, and what its last line says.
fn lines(text: &str) -> (Vec<Value>, (Value, Value)) {
    assert!(text.ends_with('\n'));
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.pop().unwrap()["end"].clone();
    // Leaves follow each other, whether they are shown or passed over.
    let mut leaf = 0;
    for line in &lines {
        assert_eq!(line["leaf"], leaf);
        leaf += line["count"].as_u64().unwrap_or(1);
    }
    assert!(last["checkpoint"].as_str().unwrap().lines().nth(1) == Some(leaf.to_string().as_str()), "the checkpoint is of as many leaves");
    lines.retain(|line| line["record"].is_string());
    (lines, (last["events"].clone(), last["through"].clone()))
}

/// What an event says of itself, in a list and in an export.
fn said(event: &Value) -> Vec<Value> {
    let (meta, facts) = if event["record"].is_string() { (&event["facts"]["meta"], &event["facts"]["event"]) } else { (&event["meta"], &event["facts"]) };
    let leaf = event.get("hash").unwrap_or(&event["leaf"]);
    [&event["position"], &event["kind"], &event["type"], &event["stream"], &event["actor"], meta, facts, leaf].map(Clone::clone).to_vec()
}

fn all_said(events: &[Value]) -> Vec<Vec<Value>> {
    events.iter().map(said).collect()
}

/// Rows of CSV, by RFC 4180.
fn rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => cell.extend(characters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted && characters.peek() == Some(&'\n') => {
                characters.next();
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    assert!(row.is_empty() && cell.is_empty() && !quoted, "it ends with a line break");
    rows
}

#[tokio::test]
async fn an_export_holds_each_event_that_fits_once_and_says_where_it_ends() {
    let bench = ServedBench::new().await;
    for round in 0..4 {
        churn(&bench, round, 150).await;
        bench.role(&format!("role {round}"), &[]).await;
    }
    let head = bench.vault.views().position().0;
    for query in ["", "kind=role", "kind=role&kind=user", "kind=nothing"] {
        let (status, sort, text) = export(&bench, query).await;
        assert_eq!((status, sort.as_str()), (200, "application/x-ndjson"));
        let (events, last) = lines(&text);
        assert_eq!(last, (json!(events.len()), json!(head)), "{query}");
        assert_eq!(all_said(&events), all_said(&all(&bench, query).await), "{query}");
    }
    let (events, last) = lines(&export(&bench, &format!("from={}&to={}", head - 5, head - 2)).await.2);
    assert_eq!((events.len(), last.1), (4, json!(head)), "what lies outside is passed over");
    // Inside a group, which as a whole lies before or after.
    let (inside, end) = (head - 100, head - 151);
    let (events, last) = lines(&export(&bench, &format!("as_of={inside}")).await.2);
    assert_eq!((events.last().unwrap()["position"].as_u64(), last.1), (Some(end), json!(end)));
    let (_, _, text) = export(&bench, "").await;
    assert!(!text.contains(&bench.token) && text.contains("\"verifier\":\"hidden\""));
    for bad in ["format=xml", "format=csv&format=csv", "limit=5", "to=x"] {
        assert_eq!(export(&bench, bad).await.0, 400, "{bad}");
    }
    let without = bench.key(None, &["audit:read"]).await;
    let past = bench.call(&without, "GET", "/v1/events/export?as_of=20", Value::Null).await;
    assert_eq!(past.status, 403, "the past needs a permission of its own");
}

#[tokio::test]
async fn as_csv_it_says_the_same_and_no_cell_is_a_formula() {
    let bench = ServedBench::new().await;
    churn(&bench, 0, 30).await;
    let evil = "=HYPERLINK(\"http://evil.example\"), \"and\"\nmore";
    let agent = "@SUM(A1:A9)";
    let request =
        bench.request("POST", "/v1/organizations").bearer_auth(&bench.token).header("user-agent", agent).json(&json!({"name": evil.replace('\n', " ")}));
    assert_eq!(bench.send(request).await.status, 201);
    let (status, sort, text) = export(&bench, "format=csv").await;
    assert_eq!((status, sort.as_str()), (200, "text/csv; charset=utf-8"));
    let mut rows = rows(&text);
    let events = all(&bench, "").await;
    assert_eq!(rows.pop().unwrap(), [format!("# end: {} events through position {}", events.len(), bench.vault.views().position())]);
    let names = rows.remove(0);
    assert_eq!(rows.len(), events.len());
    for (row, event) in rows.iter().zip(&events) {
        let cell = |name: &str| row[names.iter().position(|known| known == name).unwrap()].as_str();
        assert_eq!(row.len(), names.len());
        for name in ["position", "recorded_at", "kind", "type", "stream", "actor", "leaf", "decision"] {
            assert_eq!(cell(name), event[name].as_str().map_or_else(|| event[name].to_string(), str::to_owned), "{name}");
        }
        assert_eq!(serde_json::from_str::<Value>(cell("facts")).unwrap(), event["facts"]);
        let guarded = event["meta"]["agent"].as_str() == Some(agent);
        assert_eq!(cell("agent"), if guarded { "'@SUM(A1:A9)" } else { event["meta"]["agent"].as_str().unwrap_or_default() });
        assert!(row.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@'])), "{row:?}");
    }
    assert!(text.contains("'@SUM"));
}

#[test]
fn the_command_line_writes_a_whole_file_or_says_that_it_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let server = crate::served::start(folder.path(), "");
    let run = |base: &str, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
        command.env_clear().env("KEYLEDGER_SERVER", base).env("KEYLEDGER_TOKEN", &server.token).args(arguments).output().unwrap()
    };
    let path = folder.path().join("events.jsonl");
    let file = path.to_str().unwrap();
    let done = run(&server.base, &["audit", "export", "--file", file, "--kind", "connector"]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success() && said.contains(" events, through position "), "{said}");
    let (events, _) = lines(&std::fs::read_to_string(&path).unwrap());
    // It is proven without a server and without a key but the log's public one.
    let key = server.call("GET", "/v1/log/key").send().unwrap().text().unwrap();
    let checkpoint = format!("{file}.checkpoint");
    let verify = |file: &str| run("http://127.0.0.1:1", &["audit", "verify", "--file", file, "--checkpoint", &checkpoint, "--key", key.trim()]);
    let verified = verify(file);
    assert!(verified.status.success(), "{}{}", String::from_utf8_lossy(&verified.stdout), String::from_utf8_lossy(&verified.stderr));
    let text = std::fs::read_to_string(&path).unwrap();
    let less: String = text.lines().enumerate().filter(|(place, _)| *place != 3).map(|(_, line)| line.to_owned() + "\n").collect();
    for (what, changed) in [
        ("a line less", less),
        ("another word", text.replacen("crm", "csm", 1)),
        ("more", text.clone() + &text),
        ("no count", text.replace("\"events\":", "\"events\":1")),
    ] {
        let path = folder.path().join("changed.jsonl");
        std::fs::write(&path, changed).unwrap();
        assert_eq!(verify(path.to_str().unwrap()).status.code(), Some(1), "{what}");
    }
    assert!(events.len() > 50 && events.iter().all(|event| event["kind"] == "connector"));
    let again = run(&server.base, &["audit", "export", "--file", file]);
    assert!(again.status.code() == Some(1) && String::from_utf8_lossy(&again.stderr).contains("writes over nothing"));
    let csv = run(&server.base, &["audit", "export", "--format", "csv", "--kind", "role"]);
    assert!(csv.status.success() && csv.stdout.starts_with(b"position,") && csv.stdout.ends_with(b"\r\n"));
    // A server that ends in the middle of a line, and one that ends in order without the last line.
    for answer in ["transfer-encoding: chunked\r\n\r\n10\r\n{\"position\":1}\n\n", "content-length: 15\r\nconnection: close\r\n\r\n{\"position\":1}\n"] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n{answer}").as_bytes()).unwrap();
        });
        let path = folder.path().join("cut.jsonl");
        let cut = run(&base, &["audit", "export", "--file", path.to_str().unwrap()]);
        serving.join().unwrap();
        let said = String::from_utf8_lossy(&cut.stderr).into_owned();
        assert!(cut.status.code() == Some(1) && said.contains("cut off") && !path.exists(), "{said}");
        let shown = run(&server.base, &["audit", "query", "--kind", "connector", "--limit", "2", "--order", "asc", "--output", "json"]);
        assert_eq!(serde_json::from_slice::<Value>(&shown.stdout).unwrap().as_array().unwrap().len(), 2);
    }
}

#[test]
fn the_command_line_follows_the_log_and_takes_a_lost_stream_up_again() {
    use std::io::{BufRead, BufReader};
    let folder = tempfile::tempdir().unwrap();
    let server = crate::served::start(folder.path(), "");
    let mut tail = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    tail.env_clear().env("KEYLEDGER_SERVER", &server.base).env("KEYLEDGER_TOKEN", &server.token);
    tail.args(["audit", "tail", "--from", "1", "--kind", "role", "--kind", "organization", "--limit", "2", "--output", "json"]);
    let mut tail = tail.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(tail.stdout.take().unwrap()).lines();
    let make = |server: &crate::served::Server, name: &str| {
        assert_eq!(server.call("POST", "/v1/organizations").json(&json!({"name": name})).send().unwrap().status(), 201);
    };
    make(&server, "First");
    let event: Value = serde_json::from_str(&told.next().unwrap().unwrap()).unwrap();
    assert_eq!(event["facts"]["created"]["name"], "First");
    // The server goes and comes back at the same address; what happened meanwhile is told.
    let (address, token) = (server.base.trim_start_matches("http://").to_owned(), server.token.clone());
    drop(server);
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    command.env_clear().env("XDG_CONFIG_HOME", folder.path().join("config")).args(["serve", "--listen", &address, "--data"]).arg(folder.path().join("data"));
    let again = crate::served::begin(&mut command, &token);
    make(&again, "Second");
    let event: Value = serde_json::from_str(&told.next().unwrap().unwrap()).unwrap();
    assert_eq!(event["facts"]["created"]["name"], "Second");
    assert!(tail.wait().unwrap().success());
}

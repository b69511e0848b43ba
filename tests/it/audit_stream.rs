//! The log as server-sent events: nothing is missed and nothing comes twice, whoever loses the stream when; and it ends when it has to.

use std::sync::Arc;

use keyledger::kernel::{Builtin, Position, RoleRef};
use keyledger::vault::plans::create_organization;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::audit_filters::churn;
use crate::served_vault::ServedBench;

/// A stream that is read block by block.
struct Stream {
    answer: Response,
    rest: String,
}

/// One block: its id, its data, its comment.
#[derive(Debug, Default)]
struct Block {
    id: Option<u64>,
    data: Option<Value>,
    comment: Option<String>,
}

fn block(text: &str) -> Block {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let data = field("data: ").map(|data| serde_json::from_str(&data).unwrap());
    Block { id: field("id: ").map(|id| id.parse().unwrap()), data, comment: field(": ") }
}

impl Stream {
    async fn open(bench: &ServedBench, token: &str, query: &str, last: Option<u64>) -> Self {
        let answer = send(bench, token, query, last.map(|last| last.to_string()).as_deref()).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(
            (&answer.headers()["content-type"], &answer.headers()["cache-control"]),
            (&"text/event-stream".parse().unwrap(), &"no-store".parse().unwrap())
        );
        Self { answer, rest: String::new() }
    }

    /// The next block; `None` when the stream has ended in order.
    async fn next(&mut self) -> Option<Block> {
        loop {
            if let Some(end) = self.rest.find("\n\n") {
                let found = block(&self.rest[..end]);
                self.rest.drain(..end + 2);
                return Some(found);
            }
            let chunk = self.answer.chunk().await.unwrap()?;
            self.rest.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next event.
    async fn event(&mut self) -> Option<Value> {
        loop {
            if let Some(data) = self.next().await?.data {
                return Some(data);
            }
        }
    }

    /// What the stream says last, all events before it left out.
    async fn farewell(&mut self) -> String {
        let mut said = String::new();
        while let Some(block) = self.next().await {
            said = block.comment.unwrap_or(said);
        }
        said
    }
}

async fn send(bench: &ServedBench, token: &str, query: &str, last: Option<&str>) -> Response {
    let mut request = bench.request("GET", &format!("/v1/events/stream?{query}")).bearer_auth(token);
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    request.send().await.unwrap()
}

/// Positions of all events of a kind, from the log itself.
async fn positions(bench: &ServedBench, kind: &str) -> Vec<u64> {
    let (mut found, mut at) = (Vec::new(), Position::ZERO);
    loop {
        let records = bench.vault.log().read(at, 4096).await.unwrap();
        let Some(last) = records.last() else { return found };
        at = last.header().position;
        found.extend(records.iter().filter(|record| record.header().kind == kind).map(|record| record.header().position.0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_ten_thousand_events_a_reader_that_comes_back_misses_nothing_and_sees_nothing_twice() {
    let bench = Arc::new(ServedBench::new().await);
    let start = bench.vault.views().position().0;
    // Groups and single events from many at once, and what the filter leaves out between them.
    let writers: Vec<_> = (0..10)
        .map(|writer| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move {
                for round in 0..19 {
                    churn(&bench, writer * 100 + round, 50).await;
                    bench.role(&format!("role {writer} {round}"), &[]).await;
                }
                for number in 0..50 {
                    bench.execute(|given| create_organization(given, format!("one {writer} {number}"))).await;
                }
            })
        })
        .collect();
    let (mut last, mut seen, mut breaks) = (start, Vec::new(), 0);
    while seen.len() < 10_000 {
        let mut stream = Stream::open(&bench, &bench.token, "kind=organization", Some(last)).await;
        // Lost in the middle: the more it has seen, the longer it stays.
        for _ in 0..150 + breaks * 40 {
            let Some(block) = stream.next().await else { panic!("the stream ended by itself") };
            last = block.id.unwrap_or(last);
            if let Some(event) = block.data {
                assert_eq!((event["position"].as_u64(), &event["kind"]), (block.id, &json!("organization")));
                seen.push(event["position"].as_u64().unwrap());
            }
            if seen.len() == 10_000 {
                break;
            }
        }
        breaks += 1;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(breaks > 10, "{breaks}");
    assert_eq!(seen, positions(&bench, "organization").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_for_long_gets_it_all_the_same() {
    let bench = ServedBench::new().await;
    let address = bench.base.trim_start_matches("http://").to_owned();
    let mut slow = tokio::net::TcpStream::connect(&address).await.unwrap();
    let head = format!("GET /v1/events/stream?kind=organization HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\r\n", bench.token);
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut text = vec![0; 4096];
    let read = slow.read(&mut text).await.unwrap();
    text.truncate(read);
    assert!(text.starts_with(b"HTTP/1.1 200"));
    // Far more than the sockets between them hold: the server goes on with others meanwhile.
    for round in 0..40 {
        churn(&bench, round, 200).await;
    }
    let expected = positions(&bench, "organization").await;
    let last = format!("id: {}\ndata", expected.last().unwrap());
    while !String::from_utf8_lossy(&text[text.len().saturating_sub(70_000)..]).contains(&last) {
        let mut more = vec![0; 64 * 1024];
        let read = slow.read(&mut more).await.unwrap();
        assert!(read > 0, "the stream ended");
        text.extend_from_slice(&more[..read]);
    }
    let text = String::from_utf8(text).unwrap();
    let ids = text.split("\nid: ").filter_map(|rest| rest.split_once("\ndata").map(|(id, _)| id.to_owned()));
    let seen: Vec<u64> = ids.filter_map(|id| id.parse().ok()).collect();
    assert_eq!(seen.len(), expected.len());
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_stream_begins_now_or_where_it_is_told_to_and_nowhere_else() {
    let bench = ServedBench::new().await;
    churn(&bench, 0, 3).await;
    let head = bench.vault.views().position().0;
    let mut now = Stream::open(&bench, &bench.token, "", None).await;
    let first = now.next().await.unwrap();
    assert_eq!((first.id, first.data.is_none()), (Some(head), true), "the first id says where it begins");
    let mut from = Stream::open(&bench, &bench.token, &format!("from={}", head - 1), None).await;
    assert_eq!(from.event().await.unwrap()["position"], head - 1);
    assert_eq!(from.event().await.unwrap()["position"], head);
    let mut again = Stream::open(&bench, &bench.token, &format!("from={}", head - 1), Some(head - 1)).await;
    assert_eq!(again.event().await.unwrap()["position"], head, "what was seen counts more than where it began");
    churn(&bench, 1, 1).await;
    for stream in [&mut now, &mut from, &mut again] {
        assert_eq!(stream.event().await.unwrap()["position"], head + 1);
    }
    for (query, last, status) in [
        ("", Some((head + 100).to_string()), 404),
        ("", Some("x".to_owned()), 400),
        ("", Some("-1".to_owned()), 400),
        ("from=999999", None, 400),
        ("from=2999-01-01T00:00:00Z", None, 400),
        ("to=5", None, 400),
        ("as_of=5", None, 400),
        ("limit=5", None, 400),
        ("decision=x", None, 400),
    ] {
        let answer = send(&bench, &bench.token, query, last.as_deref()).await;
        assert_eq!(answer.status(), status, "{query} {last:?}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    assert_eq!(send(&bench, &bench.key(None, &["history:read"]).await, "", None).await.status(), 403);
}

#[tokio::test]
async fn a_stream_shows_ones_own_tenant_only_and_what_fits() {
    let bench = ServedBench::new().await;
    let (_, stranger) = bench.tenant("stranger").await;
    let mut theirs = Stream::open(&bench, &stranger, "", None).await;
    let mut roles = Stream::open(&bench, &bench.token, "kind=role&kind=session", None).await;
    churn(&bench, 0, 300).await;
    bench.role("a role", &[]).await;
    assert_eq!(bench.call(&stranger, "POST", "/v1/organizations", json!({"name": "Theirs"})).await.status, 201);
    assert_eq!(theirs.event().await.unwrap()["facts"]["created"]["name"], "Theirs");
    assert_eq!(roles.event().await.unwrap()["facts"]["created"]["name"], "a role");
}

#[tokio::test]
async fn a_reader_that_may_no_more_is_cut_off_at_the_next_wake_up() {
    let bench = ServedBench::new().await;
    let role = bench.role("watching", &["audit:read"]).await;
    let (user, key) = bench.user("watcher", &[role, RoleRef::Builtin(Builtin::Reader)], None).await;
    let only = "the token opens nothing here any more";
    // Its role is taken away.
    let mut stream = Stream::open(&bench, &key, "", None).await;
    stream.next().await.unwrap();
    let changed = bench.call(&bench.token, "PATCH", &format!("/v1/roles/{}", role.id()), json!({"permissions": []})).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(stream.farewell().await, only);
    assert_eq!(send(&bench, &key, "", None).await.status(), 403);
    bench.call(&bench.token, "PATCH", &format!("/v1/roles/{}", role.id()), json!({"permissions": ["audit:read"]})).await;
    // It is blocked.
    let mut stream = Stream::open(&bench, &key, "", None).await;
    stream.next().await.unwrap();
    assert_eq!(bench.call(&bench.token, "PATCH", &format!("/v1/users/{user}"), json!({"blocked": true})).await.status, 200);
    assert_eq!(stream.farewell().await, only);
    assert_eq!(send(&bench, &key, "", None).await.status(), 401);
    // It ends by itself.
    let made = bench
        .call(&bench.token, "POST", "/v1/api-keys", json!({"name": "k", "permissions": ["audit:read"], "expires_at": bench.vault.now().plus_seconds(60)}))
        .await;
    let mut stream = Stream::open(&bench, &made.text("token"), "", None).await;
    stream.next().await.unwrap();
    bench.clock.pass(59_000);
    churn(&bench, 0, 1).await;
    assert!(stream.event().await.is_some(), "not yet");
    bench.clock.pass(2_000);
    churn(&bench, 1, 1).await;
    assert_eq!(stream.farewell().await, only);
}

#[tokio::test]
async fn one_principal_holds_so_many_streams_and_they_come_free_again() {
    let bench = ServedBench::new().await;
    let key = bench.key(None, &["audit:read"]).await;
    let mut open = Vec::new();
    for _ in 0..keyledger::web::limits::STREAMS_OF_PRINCIPAL {
        open.push(Stream::open(&bench, &key, "", None).await);
    }
    let full = send(&bench, &key, "", None).await;
    assert_eq!(full.status(), 429);
    assert!(full.headers().contains_key("retry-after"));
    let export = bench.request("GET", "/v1/events/export").bearer_auth(&key).send().await.unwrap();
    assert_eq!(export.status(), 429, "exports count as well");
    drop(Stream::open(&bench, &bench.token, "", None).await);
    open.pop();
    // The server sees that the connection has ended, sooner or later.
    while send(&bench, &key, "", None).await.status() == 429 {}
}

#[tokio::test]
async fn a_quiet_stream_says_that_it_is_there_and_outlives_what_ends_a_handler() {
    let bench = ServedBench::new().await;
    let mut stream = Stream::open(&bench, &bench.token, "kind=role", None).await;
    stream.next().await.unwrap();
    churn(&bench, 0, 3).await;
    // What does not fit is passed over, and a reader that comes back need not look at it again.
    let heartbeat = stream.next().await.unwrap();
    assert_eq!((heartbeat.id, heartbeat.comment.as_deref()), (Some(bench.vault.views().position().0), Some("nothing else through here")));
    bench.role("later", &[]).await;
    assert_eq!(stream.event().await.unwrap()["facts"]["created"]["name"], "later");
}

#[test]
fn a_stream_ends_in_order_when_the_server_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = crate::served::start(folder.path(), "");
    let answer = server.call("GET", "/v1/events/stream").send().unwrap();
    let told = std::process::Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap();
    assert!(told.success());
    let text = answer.text().unwrap();
    assert!(text.ends_with(": the server ends; come back with the last id\n\n"), "{text}");
    assert!(server.child.wait().unwrap().success());
}

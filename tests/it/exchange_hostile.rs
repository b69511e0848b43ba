//! Token endpoints that lie, stall, flood and break off. Whatever they do: the exchange ends in time, what is recorded says what happened and
//! repeats no secret, the connection keeps what it had, and the next exchange works.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyledger::credentials::connection::{Changes, Phase, Tokens};
use keyledger::egress::{Egress, Limits, Policy};
use keyledger::kernel::{MAX_SECRET, Secret};
use keyledger::oauth::{Exchanges, Landed, Wanted, What};
use keyledger::vault::plans;
use serde_json::json;
use tokio::net::TcpListener;

use crate::exchange_bench::{Bench, LOOPBACK};
use crate::hostile_endpoint::{Play, gzip, http, start};
use crate::vault_bench::{TENANT, key};

/// What must be recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// An access token, and for how many seconds it is good.
    Stored(&'static str, Option<i64>),
    /// A cause, and the status of the answer.
    Failed(&'static str, u16),
    /// The same, and trying again can help.
    Passing(&'static str, u16),
    /// The outcome is unknown, and why.
    Lost(&'static str),
}

const TIMEOUT: End = End::Lost("no whole answer in time; the outcome is unknown");
const BROKEN: End = End::Lost("the connection broke before the answer was whole; the outcome is unknown");
const TOO_LARGE: End = End::Lost("the answer is larger than 262144 bytes");
const NO_OBJECT: End = End::Failed("the service answered 200 without a JSON object", 200);
const BAD_ACCESS: End = End::Failed("the service's access_token is not a token", 200);
const BAD_REFRESH: End = End::Failed("the service's refresh_token is not a token", 200);

type Case = (&'static str, Play, End);

fn door(whole: Duration) -> Egress {
    let policy = Policy { allowed: LOOPBACK.iter().map(|range| range.parse().unwrap()).collect() };
    Egress::new(policy, Limits { whole, ..Limits::default() })
}

/// Plays each case against one connection, which had tokens before and gets new ones after: by the client's own grant, and by the refresh token.
async fn play(whole: Duration, cases: impl IntoIterator<Item = Case>) {
    // It looks like an error code, so that only a comparison can tell that it is none.
    let bench = Bench::with_secret(String::new(), LOOPBACK, "canary_secret").await;
    let hurried = Arc::new(Exchanges::new(Arc::clone(&bench.vault), door(whole), "http://127.0.0.1".to_owned()));
    for (case, what) in cases.into_iter().flat_map(|case| [(case.clone(), What::Begin), (case, What::Renew)]) {
        let (name, behaviour, end) = case;
        let wanted = Wanted { what: what.clone(), ..bench.wanted.clone() };
        let url = start(behaviour).await;
        bench.point_at(url, &what).await;
        let held = || Tokens { access: Some(Secret::from("held-access")), refresh: Some(Secret::from("held-refresh")), ..Tokens::default() };
        let key = keyledger::credentials::connection::Key { service_id: "local".into(), ..key("c", "local") };
        bench.execute(|given| plans::import(given, TENANT, &key, held(), Changes::default())).await;
        let before = bench.live();
        let began = Instant::now();
        let landed = hurried.exchange(wanted.clone()).await;
        assert!(began.elapsed() < whole + Duration::from_secs(15), "{name}: {:?}", began.elapsed());
        holds(&bench, name, &landed, end).await;
        let after = bench.live();
        assert_eq!((&after.settings, &after.sealed, after.flight, after.phase), (&before.settings, &before.sealed, None, Phase::Callable), "{name}");
        // The next call is answered as it should be.
        let next = bench.exchanges.exchange(wanted).await;
        assert!(matches!(next, Landed::Stored { .. }), "{name}: {next:?}");
        assert_eq!((bench.shown("access_token").await.as_str(), bench.live().failure), ("good-token", None), "{name}");
        assert_eq!(bench.shown("refresh_token").await, "held-refresh", "{name}");
    }
}

async fn holds(bench: &Bench, name: &str, landed: &Landed, end: End) {
    let live = bench.live();
    assert!(!format!("{live:?} {landed:?}").contains("canary"), "{name}: {live:?} {landed:?}");
    if let End::Stored(token, lifetime) = end {
        assert!(matches!(landed, Landed::Stored { .. }), "{name}: {landed:?}");
        assert_eq!((bench.shown("access_token").await.as_str(), &live.failure), (token, &None), "{name}");
        let expires_at = lifetime.map(|seconds| bench.vault.now().plus_seconds(seconds));
        assert_eq!(live.access.unwrap().expires_at, expires_at, "{name}");
        return;
    }
    let Landed::Failed { cause, status } = landed else { panic!("{name}: {landed:?}") };
    let failure = live.failure.unwrap_or_else(|| panic!("{name}: no failure is recorded"));
    assert_eq!((&failure.cause, failure.status), (cause, *status), "{name}: the caller hears what is recorded");
    let recorded = (cause.as_str(), failure.status, failure.passing, failure.lost);
    let expected = match end {
        End::Failed(cause, status) => (cause, Some(status), false, false),
        End::Passing(cause, status) => (cause, Some(status), true, false),
        End::Lost(cause) | End::Stored(cause, _) => (cause, None, true, true),
    };
    assert_eq!(recorded, expected, "{name}");
    assert_eq!((bench.shown("access_token").await.as_str(), bench.shown("refresh_token").await.as_str()), ("held-access", "held-refresh"), "{name}");
}

const HURRIED: Duration = Duration::from_millis(400);
const PATIENT: Duration = Duration::from_secs(20);
const HEAD: &str = "HTTP/1.1 200 OK\r\n";
const TOKEN: &str = "{\"access_token\":\"canary-token\"}";

fn raw(text: impl AsRef<[u8]>) -> Play {
    Play::Bytes(text.as_ref().to_vec())
}

fn chunked(body: &str) -> Vec<u8> {
    format!("{HEAD}transfer-encoding: chunked\r\n\r\n{body}").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_take_their_time_are_left() {
    let cases = [
        ("silence", Play::Hold(Vec::new()), TIMEOUT),
        ("half a status line and silence", Play::Hold(b"HTTP/1.1 20".to_vec()), TIMEOUT),
        ("half a body and silence", Play::Hold(http("200 OK", "", TOKEN)[..50].to_vec()), TIMEOUT),
        ("a body byte by byte", Play::Drip(format!("{HEAD}content-length: 100000\r\n\r\n").into_bytes()), TIMEOUT),
        ("a header byte by byte", Play::Drip(format!("{HEAD}x: ").into_bytes()), TIMEOUT),
        ("100 Continue without end", Play::Endless(Vec::new(), b"HTTP/1.1 100 Continue\r\n\r\n".repeat(50)), TIMEOUT),
        ("103 Early Hints without end", Play::Endless(Vec::new(), b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(50)), TIMEOUT),
    ];
    play(HURRIED, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_are_dammed() {
    let x = |count: usize| vec![b'x'; count];
    let cases = [
        ("10 GB announced", Play::Hold(format!("{HEAD}content-length: 10000000000\r\n\r\n{{").into_bytes()), TOO_LARGE),
        ("a length beyond all numbers", raw(format!("{HEAD}content-length: 99999999999999999999999\r\n\r\n{TOKEN}")), BROKEN),
        ("chunks without end", Play::Endless(chunked(""), [b"1000\r\n".to_vec(), x(4096), b"\r\n".to_vec()].concat()), TOO_LARGE),
        ("chunks of one byte without end", Play::Endless(chunked(""), b"1\r\nx\r\n".repeat(1000)), TOO_LARGE),
        ("a body until the end of days", Play::Endless(format!("{HEAD}\r\n").into_bytes(), x(4096)), TOO_LARGE),
        ("a header of 2 MB", raw([format!("{HEAD}x: ").into_bytes(), x(2 << 20), format!("\r\n\r\n{TOKEN}").into_bytes()].concat()), BROKEN),
        ("headers without end", Play::Endless(HEAD.into(), b"x: canary\r\n".repeat(100)), BROKEN),
        ("500 headers", raw(http("200 OK", &"x: y\r\n".repeat(500), TOKEN)), BROKEN),
        ("a chunk extension without end", Play::Endless(chunked("1;"), x(4096)), BROKEN),
        ("trailers without end", Play::Endless(chunked("2\r\n{}\r\n0\r\n"), b"x: canary\r\n".repeat(100)), BROKEN),
        ("empty lines without end", Play::Endless(Vec::new(), b"\r\n".repeat(1000)), BROKEN),
        ("a gzip bomb's beginning", raw(http("200 OK", "content-encoding: gzip\r\n", gzip(TOKEN.as_bytes()))), NO_OBJECT),
        ("gzip as transfer encoding", raw([format!("{HEAD}transfer-encoding: gzip\r\n\r\n").into_bytes(), gzip(TOKEN.as_bytes())].concat()), NO_OBJECT),
        ("a token of 1 MB", raw(http("200 OK", "", json!({"access_token": "x".repeat(1 << 20)}).to_string())), TOO_LARGE),
        ("a scope of 1 MB", raw(http("200 OK", "", json!({"access_token": "canary", "scope": "x".repeat(1 << 20)}).to_string())), TOO_LARGE),
        ("100,000 members", raw(http("200 OK", "", format!("{{{}\"access_token\":1}}", "\"a\":1,".repeat(30_000)))), BAD_ACCESS),
        ("100,000 brackets", raw(http("200 OK", "", format!("{{\"access_token\":{}", "[".repeat(100_000)))), NO_OBJECT),
    ];
    play(PATIENT, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_break_off_or_speak_no_http_leave_the_outcome_unknown() {
    let cases = [
        ("a reset after the request", Play::Reset, BROKEN),
        ("nothing", raw(""), BROKEN),
        ("100 Continue alone", raw("HTTP/1.1 100 Continue\r\n\r\n"), BROKEN),
        ("a close instead of a body", raw("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 31\r\n\r\n"), BROKEN),
        ("the preface of HTTP/2", raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), BROKEN),
        ("half an answer, and a reset", Play::BytesAndReset(http("200 OK", "", TOKEN)[..50].to_vec()), BROKEN),
        ("half an answer", raw(&http("200 OK", "", TOKEN)[..50]), BROKEN),
        ("a length beyond the body", raw(format!("{HEAD}content-length: 40\r\n\r\n{TOKEN}")), BROKEN),
        ("two lengths", raw(format!("{HEAD}content-length: 31\r\ncontent-length: 5\r\n\r\n{TOKEN}")), BROKEN),
        ("a negative length", raw(format!("{HEAD}content-length: -1\r\n\r\n{TOKEN}")), BROKEN),
        ("a chunk size that is no number", raw(chunked(&format!("zz\r\n{TOKEN}\r\n0\r\n\r\n"))), BROKEN),
        ("a negative chunk size", raw(chunked(&format!("-1\r\n{TOKEN}\r\n0\r\n\r\n"))), BROKEN),
        ("a chunk size beyond all numbers", raw(chunked(&format!("fffffffffffffffff\r\n{TOKEN}\r\n0\r\n\r\n"))), BROKEN),
        ("a chunk longer than it says", raw(chunked(&format!("5\r\n{TOKEN}\r\n0\r\n\r\n"))), BROKEN),
        ("chunks without their end", raw(chunked(&format!("1f\r\n{TOKEN}\r\n"))), BROKEN),
        ("a greeting of ssh", raw("SSH-2.0-canary\r\n"), BROKEN),
        ("HTTP/0.9", raw(TOKEN), BROKEN),
        ("HTTP/2", raw(b"\0\0\0\x04\0\0\0\0\0"), BROKEN),
        ("TLS", raw(b"\x15\x03\x01\0\x02\x02\x28"), BROKEN),
        ("a status of two digits", raw(format!("HTTP/1.1 99 X\r\n\r\n{TOKEN}")), BROKEN),
        ("a header with a NUL", raw(http("200 OK", "x: a\0b\r\n", TOKEN)), BROKEN),
    ];
    play(PATIENT, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_framing_that_is_whole_is_read() {
    let good = |status: &str| http(status, "", TOKEN);
    let stored = End::Stored("canary-token", None);
    let cases = [
        ("a close and no length", raw(format!("{HEAD}connection: close\r\n\r\n{TOKEN}")), stored),
        ("a close and nothing", raw(format!("{HEAD}connection: close\r\n\r\n")), NO_OBJECT),
        ("HTTP/1.0 until its end", raw(format!("HTTP/1.0 200 OK\r\n\r\n{TOKEN}")), stored),
        ("a token cut off where nothing tells its length", raw(format!("HTTP/1.0 200 OK\r\n\r\n{}", &TOKEN[..20])), NO_OBJECT),
        ("100 Continue first", raw([b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), good("200 OK")].concat()), stored),
        ("two answers at once", raw([good("200 OK"), http("200 OK", "", "{\"access_token\":\"canary-second\"}")].concat()), stored),
        ("a length short of the body", raw(format!("{HEAD}content-length: 5\r\n\r\n{TOKEN}")), NO_OBJECT),
        ("a length beside chunks", raw(format!("{HEAD}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n1f\r\n{TOKEN}\r\n0\r\n\r\n")), stored),
        ("a body that goes on after the answer", Play::Endless(good("200 OK"), vec![b'x'; 4096]), stored),
        ("a connection that is held open after the answer", Play::Hold(good("200 OK")), stored),
    ];
    play(PATIENT, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_answer_is_a_failure() {
    let ok = |body: &str| raw(http("200 OK", "", body));
    let token = |token: &str| ok(&json!({"access_token": token, "refresh_token": "canary-refresh"}).to_string());
    let with = |refresh: serde_json::Value| ok(&json!({"access_token": "canary-access", "refresh_token": refresh}).to_string());
    let cases = [
        ("a page", ok("<html>canary</html>"), NO_OBJECT),
        ("nothing", ok(""), NO_OBJECT),
        ("an array", ok("[{\"access_token\":\"canary\"}]"), NO_OBJECT),
        ("null", ok("null"), NO_OBJECT),
        ("two objects", ok(&TOKEN.repeat(2)), NO_OBJECT),
        ("a byte order mark", ok(&format!("\u{feff}{TOKEN}")), NO_OBJECT),
        ("bytes that are no text", raw(http("200 OK", "", b"{\"access_token\":\"canary\xff\"}")), NO_OBJECT),
        ("a form", ok("access_token=canary&token_type=bearer"), NO_OBJECT),
        ("an error with 200", ok("{\"error\":\"invalid_client\"}"), End::Failed("the service answered 200 without an access_token: invalid_client", 200)),
        ("null for a token", ok("{\"access_token\":null}"), End::Failed("the service answered 200 without an access_token", 200)),
        ("an empty token", token(""), BAD_ACCESS),
        ("a token that ends a header", token("canary\r\nx: y"), BAD_ACCESS),
        ("a token with a NUL", token("canary\0"), BAD_ACCESS),
        ("a token with a space", token("canary canary"), BAD_ACCESS),
        ("a token beyond ASCII", token("canäry"), BAD_ACCESS),
        ("a token one byte too long", token(&"x".repeat(MAX_SECRET + 1)), BAD_ACCESS),
        ("a refresh token alone", ok("{\"refresh_token\":\"canary\"}"), End::Failed("the service answered 200 without an access_token", 200)),
        ("a list for a token", ok("{\"access_token\":[\"canary\"]}"), BAD_ACCESS),
        ("a list for a refresh token", with(json!(["canary"])), BAD_REFRESH),
        ("a number that is none", ok("{\"access_token\":\"canary\",\"expires_in\":NaN}"), NO_OBJECT),
        ("something behind the object", ok(&format!("{TOKEN} canary")), NO_OBJECT),
        ("half an object", ok(&TOKEN[..20]), NO_OBJECT),
        ("an object that is no UTF-8 in its names", raw(http("200 OK", "", b"{\"\xc3\x28\":1,\"access_token\":\"canary\"}")), NO_OBJECT),
        ("an object in an object", ok("{\"data\":{\"access_token\":\"canary\"}}"), End::Failed("the service answered 200 without an access_token", 200)),
        ("a number for a token", ok("{\"access_token\":4711}"), BAD_ACCESS),
        ("an object for a refresh token", with(json!({"canary": 1})), BAD_REFRESH),
        ("a refresh token that ends a header", with(json!("canary\n")), BAD_REFRESH),
        ("a refresh token one byte too long", with(json!("x".repeat(MAX_SECRET + 1))), BAD_REFRESH),
    ];
    Box::pin(play(PATIENT, cases)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_beside_a_token_is_believed_within_reason() {
    let lives = |expires_in: &str| raw(http("200 OK", "", format!("{{\"access_token\":\"new-access\",\"expires_in\":{expires_in}}}")));
    let beside = |members: &str| raw(http("200 OK", "", format!("{{\"access_token\":\"new-access\",{members}}}")));
    let bytewise: String = "{\"access_token\":\"new-access\"}".chars().map(|c| format!("1\r\n{c}\r\n")).chain(["0\r\n\r\n".to_owned()]).collect();
    let forever = End::Stored("new-access", None);
    let twice = "{\"access_token\":\"canary-first\",\"expires_in\":1,\"access_token\":\"new-access\",\"expires_in\":60}";
    let scope = json!({"access_token": "new-access", "scope": "x".repeat(5000), "token_type": ["canary"]}).to_string();
    let cases = [
        ("a negative lifetime", lives("-60"), forever),
        ("a huge lifetime", lives("18446744073709551615"), forever),
        ("a lifetime beyond all numbers", lives("1e400"), NO_OBJECT),
        ("a lifetime that is text", lives("\"soon\""), forever),
        ("a lifetime that is a number in text", lives("\"60\""), End::Stored("new-access", Some(60))),
        ("a lifetime that is a list", lives("[60]"), forever),
        ("no lifetime at all", lives("0"), End::Stored("new-access", Some(0))),
        ("each member twice: the last one counts", raw(http("200 OK", "", twice)), End::Stored("new-access", Some(60))),
        ("an endless scope", raw(http("200 OK", "", scope)), forever),
        ("201", raw(http("201 Created", "", "{\"access_token\":\"new-access\"}")), forever),
        ("a lifetime with a fraction", lives("3599.97"), End::Stored("new-access", Some(3599))),
        ("a lifetime in exponents", lives("6e1"), End::Stored("new-access", Some(60))),
        ("a lifetime that is nothing", lives("null"), forever),
        ("a lifetime that is true", lives("true"), forever),
        ("a lifetime that is not a number", lives("\"NaN\""), forever),
        ("a lifetime without end", lives("\"inf\""), forever),
        ("another sort of token", beside("\"token_type\":\"mac\",\"mac_key\":\"canary\""), forever),
        ("the refresh token that was given", beside("\"refresh_token\":\"held-refresh\""), forever),
        ("an empty refresh token", beside("\"refresh_token\":\"\""), forever),
        ("null for a refresh token", beside("\"refresh_token\":null"), forever),
        ("an error beside a token", beside("\"error\":\"canary_error\""), forever),
        ("a scope that is a list", beside("\"scope\":[\"canary\"]"), forever),
        ("a body of chunks of one byte", raw(chunked(&bytewise)), forever),
    ];
    play(PATIENT, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_without_what_they_say() {
    let secret = json!({"error": "canary_secret", "error_description": "canary_secret"}).to_string();
    let part = json!({"error": "bad_canary_secret_given"}).to_string();
    let shouting = json!({"error": "Wrong secret: canary_secret"}).to_string();
    let long = json!({"error": "x".repeat(65)}).to_string();
    let cases = [
        ("204", raw("HTTP/1.1 204 No Content\r\n\r\n"), End::Failed("the service answered 204", 204)),
        ("206", raw(http("206 Partial Content", "", TOKEN)), End::Failed("the service answered 206", 206)),
        ("304", raw("HTTP/1.1 304 Not Modified\r\n\r\n"), End::Failed("the service answered 304: redirects are not followed", 304)),
        ("a code", raw(http("400 Bad", "", "{\"error\":\"invalid_grant\"}")), End::Failed("the service answered 400: invalid_grant", 400)),
        ("an object for a code", raw(http("400 Bad", "", "{\"error\":{\"canary\":1}}")), End::Failed("the service answered 400", 400)),
        ("a long code", raw(http("400 Bad", "", long)), End::Failed("the service answered 400", 400)),
        ("the client's secret as text", raw(http("401 No", "", shouting)), End::Failed("the service answered 401", 401)),
        ("the client's secret as a code", raw(http("401 No", "", &secret)), End::Failed("the service answered 401", 401)),
        ("the client's secret within a code", raw(http("403 No", "", part)), End::Failed("the service answered 403", 403)),
        ("the client's secret as a code, with 200", raw(http("200 OK", "", secret)), End::Failed("the service answered 200 without an access_token", 200)),
        ("418", raw(http("418 Teapot", "", "canary")), End::Failed("the service answered 418", 418)),
        ("429 for ever", raw(http("429 Slow", "retry-after: 99999999999999999999\r\n", "")), End::Passing("the service answered 429", 429)),
        ("503 for ever", raw(http("503 Slow", "retry-after: Fri, 31 Dec 9999 23:59:59 GMT\r\n", "")), End::Passing("the service answered 503", 503)),
        ("500 with a secret", raw(http("500 Oops", "x-canary: y\r\n", "canary_secret")), End::Passing("the service answered 500", 500)),
        ("503 with a code", raw(http("503 Oops", "", "{\"error\":\"canary\"}")), End::Passing("the service answered 503", 503)),
        ("101", raw("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), End::Failed("the service answered 101", 101)),
        ("999", raw(http("999 What", "", TOKEN)), End::Failed("the service answered 999", 999)),
    ];
    play(PATIENT, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_lead_nowhere() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = format!("location: http://{}/token\r\n", elsewhere.local_addr().unwrap());
    let metadata = "location: http://169.254.169.254/latest/meta-data/iam/security-credentials/\r\n";
    let told = |status| match status {
        301 => End::Failed("the service answered 301: redirects are not followed", 301),
        302 => End::Failed("the service answered 302: redirects are not followed", 302),
        307 => End::Failed("the service answered 307: redirects are not followed", 307),
        _ => End::Failed("the service answered 308: redirects are not followed", 308),
    };
    let cases = [
        ("302", raw(http("302 Found", &near, TOKEN)), told(302)),
        ("307, which would repeat the secrets", raw(http("307 Go", &near, TOKEN)), told(307)),
        ("302 to a metadata service", raw(http("302 Found", metadata, "")), told(302)),
        ("301 to a metadata service", raw(http("301 Moved", metadata, TOKEN)), told(301)),
        ("308 to a metadata service", raw(http("308 Go", metadata, TOKEN)), told(308)),
        ("307 to a metadata service", raw(http("307 Go", metadata, "")), told(307)),
        ("a refresh header", raw(http("200 OK", &format!("refresh: 0; {near}"), "")), NO_OBJECT),
    ];
    play(PATIENT, cases).await;
    let accepted = std::pin::pin!(elsewhere.accept());
    assert!(futures_util::poll!(accepted).is_pending(), "nobody came");
}

//! Answers of calls that are passed through: passed on while they come, without what would speak for this server, and never with a credential.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use keyledger::credentials::connector::{AuthType, Inject};
use keyledger::egress::StreamLimits;
use keyledger::proxy::{Screen, Sieve};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::hostile_endpoint::gzip;
use crate::proxy_bench::{HOST, ProxyBench, SECRET, answer, problem};

const SHORT: Duration = Duration::from_millis(300);

/// An answer whose body the test sends, piece by piece.
fn piecewise() -> (mpsc::Sender<Vec<u8>>, Response) {
    let (pieces, coming) = mpsc::channel(1);
    let next = |mut coming: mpsc::Receiver<Vec<u8>>| async move { coming.recv().await.map(|piece| (Ok::<_, std::io::Error>(Bytes::from(piece)), coming)) };
    (pieces, Response::new(Body::from_stream(futures_util::stream::unfold(coming, next))))
}

/// Reads a request without a body.
async fn asked(stream: &mut TcpStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        assert!(stream.read_buf(&mut request).await.unwrap() > 0, "the request came whole");
    }
}

/// What came of a body, and whether it came whole.
async fn drained(mut answer: reqwest::Response) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            Ok(None) => return (body, true),
            Err(_) => return (body, false),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_headers_come_back_but_for_those_that_speak_for_this_server() {
    let bench = ProxyBench::new().await;
    let mut given = Response::builder().status(302);
    for (name, value) in [
        ("location", "https://elsewhere.example/a"),
        ("content-type", "text/html"),
        ("etag", "\"7\""),
        ("link", "<a>; rel=next"),
        ("x-own", "1"),
        ("x-own", "2"),
        ("retry-after", "7"),
        ("www-authenticate", "Basic realm=x"),
        ("set-cookie", "a=b"),
        ("access-control-allow-origin", "*"),
        ("access-control-anything", "*"),
        ("strict-transport-security", "max-age=1"),
        ("content-security-policy", "default-src *"),
        ("alt-svc", "h3=\":443\""),
        ("clear-site-data", "\"*\""),
        ("cache-control", "public"),
        ("x-content-type-options", "off"),
        ("keyledger-position", "7"),
        ("keyledger-downstream-status", "200"),
        ("keep-alive", "timeout=5"),
        ("connection", "x-of-hop"),
        ("x-of-hop", "1"),
        ("proxy-authenticate", "Basic"),
        ("service-worker-allowed", "/"),
    ] {
        given = given.header(name, value);
    }
    bench.service.will(given.body(Body::from("moved")).unwrap());
    let came = bench.call("GET", "/a").send().await.unwrap();
    assert_eq!((came.status().as_u16(), bench.service.seen().len()), (302, 1), "it is not followed");
    let all = |name: &str| came.headers().get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>();
    for (name, expected) in [
        ("location", vec!["https://elsewhere.example/a"]),
        ("content-type", vec!["text/html"]),
        ("etag", vec!["\"7\""]),
        ("link", vec!["<a>; rel=next"]),
        ("x-own", vec!["1", "2"]),
        ("retry-after", vec!["7"]),
        ("www-authenticate", vec!["Basic realm=x"]),
        ("cache-control", vec!["no-store"]),
        ("x-content-type-options", vec!["nosniff"]),
        ("content-security-policy", vec!["sandbox"]),
        ("keyledger-downstream-status", vec!["302"]),
        ("content-length", vec!["5"]),
    ] {
        assert_eq!(all(name), expected, "{name}");
    }
    for name in ["set-cookie", "strict-transport-security", "alt-svc", "clear-site-data", "keyledger-position", "keep-alive", "x-of-hop", "proxy-authenticate"]
    {
        assert_eq!(all(name), Vec::<String>::new(), "{name}");
    }
    assert!(!came.headers().keys().any(|name| name.as_str().starts_with("access-control-") || name == "service-worker-allowed"));
    assert_eq!(came.text().await.unwrap(), "moved");
    for status in [204_u16, 304, 404, 418, 500, 599] {
        bench.service.will(Response::builder().status(status).body(Body::empty()).unwrap());
        assert_eq!(bench.call("GET", "/a").send().await.unwrap().status(), status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_comes_back_while_the_service_still_holds_the_next() {
    let bench = ProxyBench::new().await;
    let (pieces, given) = piecewise();
    bench.service.will(given);
    let mut came = bench.call("GET", "/a").send().await.unwrap();
    // What might begin a secret waits for what follows; nothing else does.
    for piece in ["one", "two s", "three"] {
        pieces.send(piece.into()).await.unwrap();
        let expected = piece.trim_end_matches('s');
        let mut got = Vec::new();
        while got.len() < expected.len() {
            got.extend_from_slice(&came.chunk().await.unwrap().unwrap());
        }
        assert!(String::from_utf8(got).unwrap().ends_with(expected));
    }
    drop(pieces);
    assert_eq!(came.chunk().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_lets_go_of_the_service() {
    let bench = ProxyBench::new().await;
    let (pieces, given) = piecewise();
    bench.service.will(given);
    let mut came = bench.call("GET", "/a").send().await.unwrap();
    pieces.send(b"one".to_vec()).await.unwrap();
    assert_eq!(came.chunk().await.unwrap().unwrap(), "one");
    drop(came);
    pieces.closed().await;
    // And before the head of the answer is there.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    bench.put(|connector| connector.api.as_mut().unwrap().base_url = format!("http://{HOST}:{port}"), AuthType::None, vec![]).await;
    let call = tokio::spawn(bench.call("GET", "/a").send());
    let (mut far, _) = listener.accept().await.unwrap();
    asked(&mut far).await;
    call.abort();
    let ended = far.read_to_end(&mut Vec::new()).await;
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
}

/// The same of a call; a connection that breaks before the head of the answer is there brings nothing.
async fn called(bench: &ProxyBench) -> (Vec<u8>, bool) {
    match bench.call("GET", "/a").send().await {
        Ok(came) => drained(came).await,
        Err(_) => (Vec::new(), false),
    }
}

/// What a service might repeat, and whether it must not come back.
fn echoes() -> Vec<(String, bool)> {
    let upper = "s3cret%2Fwith%2Bodd%3Dparts".to_owned();
    vec![
        (SECRET.to_owned(), true),
        (upper.to_lowercase(), true),
        (upper, true),
        (SECRET.replace('/', "\\/"), true),
        ("czNjcmV0L3dpdGgrb2RkPXBhcnRz".to_owned(), true),
        (SECRET[..SECRET.len() - 1].to_owned(), false),
        (SECRET.to_uppercase(), false),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_in_an_answer_never_reaches_the_caller() {
    let bench = ProxyBench::new().await;
    for (echo, is_secret) in echoes() {
        bench.service.will(answer(&json!({"you sent": echo}).to_string().replace("\\\\", "\\")));
        let (body, whole) = called(&bench).await;
        assert_eq!(whole, !is_secret, "{echo}");
        assert!(!String::from_utf8_lossy(&body).contains(SECRET));
        bench.service.will(Response::builder().header("x-echo", format!("Key {echo}")).body(Body::empty()).unwrap());
        let came = bench.call("GET", "/a").send().await.unwrap();
        assert_eq!(came.status(), if is_secret { 502 } else { 200 }, "{echo}");
        assert!(!came.headers().contains_key("x-echo") || !is_secret);
    }
    // In two pieces, at each place.
    for place in 1..SECRET.len() {
        let (pieces, given) = piecewise();
        bench.service.will(given);
        let came = tokio::spawn(bench.call("GET", "/a").send());
        for piece in [&format!("before {}", &SECRET[..place]), &format!("{} after", &SECRET[place..])] {
            drop(pieces.send(piece.clone().into_bytes()).await);
        }
        drop(pieces);
        let (body, whole) = match came.await.unwrap() {
            Ok(came) => drained(came).await,
            Err(_) => (Vec::new(), false),
        };
        assert!(!whole && body.len() <= "before ".len(), "{place}: {}", String::from_utf8_lossy(&body));
    }
    bench.service.will(Response::builder().header("location", "/next?key=s3cret%2Fwith%2Bodd%3Dparts").status(302).body(Body::empty()).unwrap());
    let (status, word, _) = problem(bench.call("GET", "/a")).await;
    assert_eq!((status, word.as_str()), (502, "answer-withheld"));
    bench.with_key(vec![Inject::Basic { username: "{account}".into(), password: "{password}".into() }]).await;
    for echo in ["pa55:word ", "pa55%3Aword+", "Basic bWU6cGE1NTp3b3JkIA=="] {
        bench.service.will(answer(echo));
        assert!(!called(&bench).await.1, "{echo}");
    }
    bench.with_tokens("an-access-token", 3600).await;
    bench.service.will(answer("{\"token\":\"an-access-token\"}"));
    assert!(!called(&bench).await.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_packed_cannot_be_looked_through_and_does_not_come_back() {
    let bench = ProxyBench::new().await;
    for coding in ["gzip", "br", "identity, gzip", "GZIP", "odd"] {
        bench.service.will(Response::builder().header("content-encoding", coding).body(Body::from(gzip(SECRET.as_bytes()))).unwrap());
        let (status, word, _) = problem(bench.call("GET", "/a")).await;
        assert_eq!((status, word.as_str()), (502, "answer-packed"), "{coding}");
    }
    bench.service.will(Response::builder().header("content-encoding", "identity").body(Body::from("plain")).unwrap());
    assert_eq!(bench.call("GET", "/a").send().await.unwrap().text().await.unwrap(), "plain");
}

/// A service of one connection, which the test plays.
async fn played(bench: &ProxyBench) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    bench.put(|connector| connector.api.as_mut().unwrap().base_url = format!("http://{HOST}:{port}"), AuthType::None, vec![]).await;
    listener
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_too_large_too_slow_or_none_end_within_their_limits() {
    let limits = StreamLimits { first: SHORT, idle: SHORT, whole: Duration::from_secs(20), body: 1000 };
    let bench = ProxyBench::within(limits).await;
    bench.service.will(answer(&"x".repeat(1000)));
    assert!(drained(bench.call("GET", "/a").send().await.unwrap()).await.1, "at the limit");
    bench.service.will(answer(&"x".repeat(1001)));
    let (status, word, _) = problem(bench.call("GET", "/a")).await;
    assert_eq!((status, word.as_str()), (502, "answer-too-large"), "announced");
    let (pieces, given) = piecewise();
    bench.service.will(given);
    let came = bench.call("GET", "/a").send().await.unwrap();
    pieces.send(vec![b'x'; 600]).await.unwrap();
    pieces.send(vec![b'x'; 600]).await.unwrap();
    let (body, whole) = drained(came).await;
    assert!(!whole && body.len() <= 1000, "{}", body.len());
    let (pieces, given) = piecewise();
    bench.service.will(given);
    let came = bench.call("GET", "/a").send().await.unwrap();
    pieces.send(b"half".to_vec()).await.unwrap();
    assert_eq!(drained(came).await, (b"half".to_vec(), false), "silence in the middle");

    let listener = played(&bench).await;
    let (told, _held) = tokio::join!(problem(bench.call("GET", "/a")), listener.accept());
    assert_eq!((told.0, told.1.as_str()), (504, "service-too-slow"));
    let breaks = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        asked(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200").await.unwrap();
    };
    let (told, ()) = tokio::join!(problem(bench.call("POST", "/a")), breaks);
    assert_eq!((told.0, told.1.as_str()), (502, "service-broke-off"));
    drop(listener);
    let told = problem(bench.call("GET", "/a")).await;
    assert_eq!((told.0, told.1.as_str()), (502, "service-not-reached"));
    let vendor = bench.call_as(&bench.token, "GET", "/proxy", "/a").send().await.unwrap();
    assert_eq!(vendor.status(), 502);
    assert_eq!(vendor.json::<serde_json::Value>().await.unwrap()["status_code"], 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_reads_nothing_holds_no_service_beyond_the_limit() {
    let limits = StreamLimits { whole: Duration::from_secs(1), ..StreamLimits::default() };
    let bench = ProxyBench::within(limits).await;
    let (pieces, given) = piecewise();
    bench.service.will(given);
    let came = bench.call("GET", "/a").send().await.unwrap();
    // More than all buffers on the way take.
    while pieces.send(vec![b'x'; 1 << 20]).await.is_ok() {}
    assert!(!drained(came).await.1, "and it does not look whole");
}

#[test]
fn a_sieve_lets_everything_through_but_the_secret_whatever_the_pieces() {
    let secret = b"ababac-ab";
    let screen = || {
        let mut screen = Screen::default();
        screen.watch(secret);
        screen
    };
    for text in [&b"ababab-ababa"[..], b"", b"a", b"ababac-a", b"xxababac-xx", b"abababababababac-", b"babac-ab"] {
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut sieve = Sieve::new(screen());
                let mut through = Vec::new();
                for piece in [&text[..first], &text[first..second], &text[second..]] {
                    through.extend(sieve.sift(piece).unwrap());
                }
                through.extend(sieve.rest());
                assert_eq!(through, text);
            }
        }
    }
    let text = [&b"ababab"[..], secret, b"ab"].concat();
    for first in 0..=text.len() {
        for second in first..=text.len() {
            let mut sieve = Sieve::new(screen());
            let (mut through, mut caught) = (Vec::new(), false);
            for piece in [&text[..first], &text[first..second], &text[second..]] {
                match sieve.sift(piece) {
                    Ok(some) if !caught => through.extend(some),
                    Ok(_) => {}
                    Err(_) => caught = true,
                }
            }
            assert!(caught && through.len() <= 6, "{first} {second}");
        }
    }
    let mut short = Screen::default();
    short.watch(b"abc");
    assert!(!short.holds(b"abcabc"), "what is that short cannot be told from chance");
}

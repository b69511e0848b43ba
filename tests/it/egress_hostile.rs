//! Far ends that mean harm: each ends within its limits, both ways out, and leads nowhere else.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use keyledger::egress::{Egress, EgressError, EgressRefusal, Later, Limits, Network, Policy, Request, StreamLimits};
use keyledger::kernel::Secret;
use reqwest::Method;
use tokio::net::{TcpListener, TcpStream};

use crate::egress_bench::{Watched, get, ip, opened, serve};
use crate::hostile_endpoint::{Play, http, start};

const SHORT: Duration = Duration::from_millis(400);

fn post(url: &str) -> Request {
    Request { method: Method::POST, body: Secret::from("a body"), ..get(url) }
}

fn hurried() -> (Egress, StreamLimits) {
    let limits = Limits { whole: SHORT, body: 100_000, ..Limits::default() };
    let stream = StreamLimits { first: SHORT, whole: SHORT, body: 100_000, ..StreamLimits::default() };
    (Egress::new(opened(&["127.0.0.0/8"]), limits), stream)
}

/// How a stream ends: the length of its body.
async fn streamed(egress: &Egress, request: Request, limits: StreamLimits) -> Result<usize, EgressError> {
    let mut stream = egress.open(request, limits).await?;
    let mut length = 0;
    while let Some(piece) = stream.chunk().await? {
        length += piece.len();
    }
    Ok(length)
}

/// How both ways out end.
async fn ends(play: impl Fn() -> Play) -> [Result<usize, EgressError>; 2] {
    let (egress, limits) = hurried();
    let sent = egress.send(post(&start(play()).await)).await.map(|answer| answer.body.expose().len());
    [sent, streamed(&egress, post(&start(play()).await), limits).await]
}

#[tokio::test]
async fn every_head_and_every_body_ends() {
    let (head, lost, timeout) = ("HTTP/1.1 200 OK\r\n", Err(EgressError::Lost), Err(EgressError::Timeout));
    let chunked = |rest: &str| format!("{head}transfer-encoding: chunked\r\n\r\n{rest}").into_bytes();
    let headers = |count: usize| http("200 OK", &"x: y\r\n".repeat(count), "{}");
    let long = |length: usize| http("200 OK", &format!("x: {}\r\n", "y".repeat(length)), "{}");
    let cases: [(&str, Play, Result<usize, EgressError>); 16] = [
        ("90 headers", Play::Bytes(headers(90)), Ok(2)),
        ("101 headers", Play::Bytes(headers(101)), lost),
        ("a header of 60 KB", Play::Bytes(long(60_000)), Ok(2)),
        ("a header of 70 KB", Play::Bytes(long(70_000)), lost),
        ("headers without end", Play::Endless(head.into(), b"x: y\r\n".repeat(100)), lost),
        ("a status line without end", Play::Endless(b"HTTP/1.1 200 ".to_vec(), vec![b'x'; 1000]), lost),
        ("100 Continue without end", Play::Endless(Vec::new(), b"HTTP/1.1 100 Continue\r\n\r\n".repeat(50)), timeout),
        ("a head byte by byte", Play::Drip(format!("{head}x: ").into_bytes()), timeout),
        ("silence", Play::Hold(Vec::new()), timeout),
        ("trailers without end", Play::Endless(chunked("2\r\n{}\r\n0\r\n"), b"x: y\r\n".repeat(100)), lost),
        ("a chunk extension without end", Play::Endless(chunked("1;"), vec![b'x'; 4096]), lost),
        (
            "chunks without end",
            Play::Endless(chunked(""), [b"1000\r\n".to_vec(), vec![b'x'; 4096], b"\r\n".to_vec()].concat()),
            Err(EgressError::TooLarge { limit: 100_000 }),
        ),
        ("two lengths", Play::Bytes(http("200 OK", "content-length: 1\r\n", "{}")), lost),
        ("a folded header", Play::Bytes(http("200 OK", "x: a\r\n b\r\n", "{}")), lost),
        ("HTTP/0.9", Play::Bytes(b"{}".to_vec()), lost),
        ("HTTP/2", Play::Bytes(b"\0\0\x06\x04\0\0\0\0\0\0\0\0\0\0\0".to_vec()), lost),
    ];
    for (name, play, end) in cases {
        let again = || match &play {
            Play::Bytes(bytes) => Play::Bytes(bytes.clone()),
            Play::Hold(bytes) => Play::Hold(bytes.clone()),
            Play::Drip(bytes) => Play::Drip(bytes.clone()),
            Play::Endless(bytes, more) => Play::Endless(bytes.clone(), more.clone()),
            Play::BytesAndReset(bytes) => Play::BytesAndReset(bytes.clone()),
            Play::Reset => Play::Reset,
        };
        assert_eq!(ends(again).await, [end, end], "{name}");
    }
}

#[tokio::test]
async fn a_handshake_that_stalls_is_left_and_nothing_was_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let (egress, limits) = hurried();
    let unreached = EgressError::Unreachable("no connection in time");
    assert_eq!(egress.send(post(&url)).await.unwrap_err(), unreached);
    assert_eq!(egress.open(post(&url), limits).await.unwrap_err(), unreached);
}

#[tokio::test]
async fn redirects_lead_nowhere() {
    for (status, to) in [(301, "http://169.254.169.254/"), (302, "https://8.8.8.8/"), (303, "//8.8.8.8/"), (307, "https://[fd00:ec2::254]/"), (308, "/again")] {
        let (address, seen) = serve(None, format!("HTTP/1.1 {status} Go\r\nlocation: {to}\r\nrefresh: 0; url={to}\r\ncontent-length: 0\r\n\r\n")).await;
        let network = Watched::to(address);
        let egress = Egress::new(opened(&["0.0.0.0/0"]), Limits::default()).over(Arc::clone(&network) as _);
        assert_eq!(egress.send(get("http://127.0.0.1/")).await.unwrap().status, status);
        assert_eq!(egress.open(get("http://127.0.0.1/"), StreamLimits::default()).await.unwrap().status, status);
        assert_eq!((network.take_dialled(), seen.requests()), (vec!["127.0.0.1:80".to_owned(); 2], 2));
    }
}

#[tokio::test]
async fn tunnels_and_echoes_are_not_asked_for_and_not_taken() {
    let network = Arc::new(Watched::default());
    let egress = Egress::new(Policy::default(), Limits::default()).over(Arc::clone(&network) as _);
    for method in ["CONNECT", "TRACE", "TRACK", "trace"] {
        let asked = || Request { method: method.parse().unwrap(), ..get("https://8.8.8.8/") };
        let refused = EgressError::Refused(EgressRefusal::Method);
        assert_eq!(egress.send(asked()).await.unwrap_err(), refused);
        assert_eq!(egress.open(asked(), StreamLimits::default()).await.unwrap_err(), refused);
    }
    assert_eq!(network.take_dialled(), [""; 0]);
    let (egress, limits) = hurried();
    let switching = start(Play::Bytes(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n".to_vec())).await;
    assert_eq!(egress.open(post(&switching), limits).await.unwrap_err(), EgressError::Lost);
}

#[tokio::test]
async fn a_head_without_a_body_may_announce_any_length() {
    let (address, _) = serve(None, "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n").await;
    let (egress, limits) = hurried();
    let asked = || Request { method: Method::HEAD, ..get(&format!("http://{address}/")) };
    assert_eq!(egress.send(asked()).await.unwrap().body.expose(), b"");
    assert_eq!(streamed(&egress, asked(), limits).await, Ok(0));
}

/// One address keeps silent, the other is this machine.
struct Slow(SocketAddr);

impl Network for Slow {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> Later<'a, Vec<IpAddr>> {
        Box::pin(async { Ok(vec![ip("10.0.0.1"), ip("10.0.0.2")]) })
    }

    fn dial(&self, address: SocketAddr) -> Later<'_, TcpStream> {
        Box::pin(async move { if address.ip() == ip("10.0.0.1") { std::future::pending().await } else { TcpStream::connect(self.0).await } })
    }
}

#[tokio::test]
async fn an_address_that_keeps_silent_does_not_hold_up_the_next() {
    let (address, seen) = serve(None, http("200 OK", "", "{}")).await;
    let egress = Egress::new(opened(&["10.0.0.0/8"]), Limits::default()).over(Arc::new(Slow(address)));
    assert_eq!(egress.send(get("http://two.example/")).await.unwrap().status, 200);
    assert_eq!(seen.requests(), 1);
}

/// A resolver that never answers, and counts who waits.
#[derive(Default)]
struct Deaf(AtomicUsize);

impl Network for Deaf {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> Later<'a, Vec<IpAddr>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::pending())
    }

    fn dial(&self, _: SocketAddr) -> Later<'_, TcpStream> {
        unreachable!("nothing is resolved")
    }
}

#[tokio::test]
async fn a_resolver_that_keeps_silent_is_asked_by_so_many_at_once() {
    let network = Arc::new(Deaf::default());
    let limits = Limits { connect: Duration::from_millis(20), at_once: 3, streams_at_once: 2, ..Limits::default() };
    let egress = Egress::new(Policy::default(), limits).over(Arc::clone(&network) as _);
    for _ in 0..3 {
        let calls = join_all((0..10).map(|_| egress.open(get("https://silent.example/"), StreamLimits::default()))).await;
        assert!(calls.iter().all(|call| matches!(call, Err(EgressError::Unreachable(_)))));
    }
    assert_eq!(network.0.load(Ordering::SeqCst), 2, "a look-up that was given up keeps its turn: the system's resolver goes on");
    for _ in 0..6 {
        egress.send(get("https://silent.example/")).await.unwrap_err();
    }
    assert_eq!(network.0.load(Ordering::SeqCst), 5, "and the calls have turns of their own");
}

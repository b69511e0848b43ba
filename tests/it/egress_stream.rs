//! Streams through the egress door: the head at once, the body piece by piece, and an end to everything.

use std::time::Duration;

use ipnet::IpNet;
use keyledger::egress::{Egress, EgressError, EgressRefusal, Limits, Policy, Request, StreamLimits, Streamed};
use keyledger::kernel::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::hostile_endpoint::{Play, gzip, http, start};

fn door(limits: Limits) -> Egress {
    let allowed: Vec<IpNet> = vec!["127.0.0.0/8".parse().unwrap()];
    Egress::new(Policy { allowed }, limits)
}

fn asked(url: &str) -> Request {
    Request { method: reqwest::Method::POST, url: url.to_owned(), headers: Vec::new(), body: Secret::from("a body") }
}

const SHORT: Duration = Duration::from_millis(300);

async fn opened(play: Play, limits: StreamLimits) -> Result<Streamed, EgressError> {
    door(Limits::default()).open(asked(&start(play).await), limits).await
}

/// The body to its end, and how it ended.
async fn drained(stream: &mut Streamed) -> (Vec<u8>, Option<EgressError>) {
    let mut body = Vec::new();
    loop {
        match stream.chunk().await {
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            Ok(None) => return (body, None),
            Err(error) => return (body, Some(error)),
        }
    }
}

/// Takes one request and begins to answer it.
async fn begun(listener: &TcpListener, answer: &[u8]) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"a body") {
        assert!(stream.read_buf(&mut request).await.unwrap() > 0, "the request came whole");
    }
    stream.write_all(answer).await.unwrap();
    stream
}

#[tokio::test]
async fn a_piece_is_passed_on_before_the_next_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let egress = door(Limits::default());
    let head = b"HTTP/1.1 206 Part\r\nx-own: 1\r\ntransfer-encoding: chunked\r\n\r\n";
    let (stream, mut far) = tokio::join!(egress.open(asked(&url), StreamLimits::default()), begun(&listener, head));
    let mut stream = stream.unwrap();
    assert_eq!((stream.status, stream.headers["x-own"].as_bytes()), (206, &b"1"[..]));
    for piece in ["one", "two"] {
        far.write_all(format!("3\r\n{piece}\r\n").as_bytes()).await.unwrap();
        assert_eq!(stream.chunk().await.unwrap().unwrap(), piece.as_bytes());
    }
    far.write_all(b"0\r\nx-trailer: 1\r\n\r\n").await.unwrap();
    assert_eq!((stream.chunk().await, stream.chunk().await), (Ok(None), Ok(None)), "trailers are no part of the body");
}

#[tokio::test]
async fn the_body_comes_as_it_was_sent() {
    let packed = gzip(&[b'x'; 4000]);
    let mut stream = opened(Play::Bytes(http("200 OK", "content-encoding: gzip\r\n", &packed)), StreamLimits::default()).await.unwrap();
    assert_eq!(stream.headers["content-encoding"], "gzip");
    assert_eq!(drained(&mut stream).await, (packed, None));
}

#[tokio::test]
async fn each_limit_ends_a_stream() {
    let limits = StreamLimits { body: 100_000, ..StreamLimits::default() };
    let too_large = EgressError::TooLarge { limit: 100_000 };
    let announced = opened(Play::Hold(b"HTTP/1.1 200 OK\r\ncontent-length: 100001\r\n\r\n".to_vec()), limits).await;
    assert_eq!(announced.unwrap_err(), too_large);
    let mut endless = opened(Play::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 1000]), limits).await.unwrap();
    let (body, end) = drained(&mut endless).await;
    assert!(body.len() <= 100_000 && end == Some(too_large), "{}", body.len());
    assert_eq!(endless.chunk().await, Err(too_large), "after an error, the same error");
    let mut exact = opened(Play::Bytes(http("200 OK", "", vec![b'x'; 100_000])), limits).await.unwrap();
    assert_eq!(drained(&mut exact).await, (vec![b'x'; 100_000], None));

    let first = StreamLimits { first: SHORT, ..StreamLimits::default() };
    assert_eq!(opened(Play::Hold(Vec::new()), first).await.unwrap_err(), EgressError::Timeout);
    assert_eq!(opened(Play::Drip(b"HTTP/1.1 200 OK\r\nx: ".to_vec()), first).await.unwrap_err(), EgressError::Timeout);
    let idle = StreamLimits { idle: SHORT, ..StreamLimits::default() };
    let mut silent = opened(Play::Hold(b"HTTP/1.1 200 OK\r\n\r\nhalf".to_vec()), idle).await.unwrap();
    assert_eq!(drained(&mut silent).await, (b"half".to_vec(), Some(EgressError::Timeout)));
    let whole = StreamLimits { whole: SHORT, ..StreamLimits::default() };
    let mut dripping = opened(Play::Drip(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()), whole).await.unwrap();
    assert_eq!(drained(&mut dripping).await.1, Some(EgressError::Timeout));
    let mut cut = opened(Play::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec()), StreamLimits::default()).await.unwrap();
    assert_eq!(drained(&mut cut).await, (b"half".to_vec(), Some(EgressError::Lost)));
}

#[tokio::test]
async fn streams_have_turns_of_their_own_and_keep_them() {
    let egress = door(Limits { streams_at_once: 1, connect: SHORT, ..Limits::default() });
    let hold = || start(Play::Hold(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()));
    let first = egress.open(asked(&hold().await), StreamLimits::default()).await.unwrap();
    let second = egress.open(asked(&hold().await), StreamLimits::default()).await;
    assert_eq!(second.unwrap_err(), EgressError::Unreachable("no turn came free"));
    let exchange = egress.send(asked(&start(Play::Bytes(http("200 OK", "", ""))).await)).await;
    assert_eq!(exchange.unwrap().status, 200, "calls do not wait for streams");
    drop(first);
    assert!(egress.open(asked(&hold().await), StreamLimits::default()).await.is_ok());
}

#[tokio::test]
async fn who_lets_go_of_a_stream_hangs_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let egress = door(Limits::default());
    let (stream, mut far) = tokio::join!(egress.open(asked(&url), StreamLimits::default()), begun(&listener, b"HTTP/1.1 200 OK\r\n\r\nsome"));
    drop(stream.unwrap());
    let mut rest = Vec::new();
    let ended = far.read_to_end(&mut rest).await;
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset), "the far side sees the end");
}

#[tokio::test]
async fn the_guard_stands_before_streams_too() {
    let egress = Egress::new(Policy::default(), Limits::default());
    let refused = egress.open(asked("https://127.1/"), StreamLimits::default()).await;
    assert_eq!(refused.unwrap_err(), EgressError::Refused(EgressRefusal::Address("a loopback address")));
    let mut reserved = asked("https://example.com/");
    reserved.headers.push(("host".into(), Secret::from("other")));
    assert_eq!(egress.open(reserved, StreamLimits::default()).await.unwrap_err(), EgressError::Header);
}

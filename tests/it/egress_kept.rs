//! Connections that are used again: by whom, for how long, and never past the vetting of their address.

use std::sync::Arc;
use std::time::Duration;

use keyledger::egress::{Egress, EgressError, EgressRefusal, Limits, Policy, Request, StreamLimits};
use keyledger::kernel::Secret;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::egress_bench::{Authority, Watched, get, opened, serve};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

fn local(limits: Limits) -> Egress {
    Egress::new(opened(&["127.0.0.0/8"]), limits)
}

/// One stream, read to its end.
async fn drained(egress: &Egress, request: Request) -> Result<Vec<u8>, EgressError> {
    let mut stream = egress.open(request, StreamLimits::default()).await?;
    let mut body = Vec::new();
    while let Some(piece) = stream.chunk().await? {
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

#[tokio::test]
async fn streams_that_change_nothing_share_a_connection_and_nothing_else_does() {
    let (address, seen) = serve(None, OK).await;
    let url = format!("http://{address}/");
    let egress = local(Limits::default());
    for _ in 0..3 {
        assert_eq!(drained(&egress, get(&url)).await.unwrap(), b"{}");
    }
    assert_eq!((seen.connections(), seen.requests()), (1, 3));
    egress.send(get(&url)).await.unwrap();
    egress.send(get(&url)).await.unwrap();
    assert_eq!(seen.connections(), 3, "a call has a connection of its own");
    let with = |name: &str, value: &str| {
        let mut request = get(&url);
        request.headers.push((name.to_owned(), Secret::from(value)));
        request
    };
    let changing = Request { method: Method::DELETE, ..get(&url) };
    for alone in [changing, with("Authorization", "NTLM abc"), with("authorization", "negotiate abc")] {
        let before = seen.connections();
        drained(&egress, alone).await.unwrap();
        assert_eq!(seen.connections(), before + 1);
    }
    let before = seen.connections();
    drained(&egress, with("authorization", "Bearer abc")).await.unwrap();
    assert_eq!(seen.connections(), before, "and none of them left theirs");
    drop(egress.open(get(&url), StreamLimits::default()).await.unwrap());
    drained(&egress, get(&url)).await.unwrap();
    assert_eq!(seen.connections(), before + 1, "who does not read to the end leaves no connection");
}

#[tokio::test]
async fn without_a_time_to_wait_none_is_kept() {
    let (address, seen) = serve(None, OK).await;
    let egress = local(Limits { keep: Duration::ZERO, ..Limits::default() });
    for _ in 0..2 {
        drained(&egress, get(&format!("http://{address}/"))).await.unwrap();
    }
    assert_eq!(seen.connections(), 2);
}

#[tokio::test]
async fn a_kept_connection_is_closed_in_time_though_nobody_calls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let egress = local(Limits { keep: Duration::from_millis(50), ..Limits::default() });
    let (answer, mut far) = tokio::join!(drained(&egress, get(&url)), answering(&listener, OK));
    answer.unwrap();
    assert_eq!(far.read(&mut [0]).await.unwrap(), 0, "the far side sees the end");
}

/// Takes one request on a new connection and answers it.
async fn answering(listener: &TcpListener, answer: &str) -> TcpStream {
    let (stream, _) = listener.accept().await.unwrap();
    again(stream, answer).await
}

async fn again(mut stream: TcpStream, answer: &str) -> TcpStream {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        assert!(stream.read_buf(&mut request).await.unwrap() > 0, "the request came whole");
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_kept_connection_is_used_while_its_name_resolves_to_it() {
    let authority = Authority::new();
    let (address, seen) = serve(Some(authority.server(&["turning.example"], 2099)), OK).await;
    let network = Watched::to(address);
    let inside = &["127.0.0.1"][..];
    network.name("turning.example", &[&["8.8.8.8"], &["8.8.4.4", "8.8.8.8"], inside, &["8.8.8.8", "10.0.0.1"], &["8.8.4.4"], &["8.8.8.8"]]);
    let egress = Egress::trusting(Policy::default(), Limits::default(), &[authority.root()]).unwrap().over(Arc::clone(&network) as _);
    let call = async || drained(&egress, get("https://turning.example/")).await;
    call().await.unwrap();
    call().await.unwrap();
    assert_eq!((network.take_dialled().as_slice(), seen.connections()), (&["8.8.8.8:443".to_owned()][..], 1), "the same machine, among others");
    assert_eq!(call().await, Err(EgressError::Refused(EgressRefusal::Address("a loopback address"))));
    assert_eq!(call().await, Err(EgressError::Refused(EgressRefusal::Address("a private address"))));
    assert_eq!(seen.requests(), 2, "a connection that stands lets nobody past the guard");
    call().await.unwrap();
    assert_eq!(network.take_dialled(), ["8.8.4.4:443"], "the name went elsewhere, and so does the call");
    call().await.unwrap();
    assert_eq!((network.take_dialled().len(), seen.connections(), seen.requests()), (0, 2, 4));
}

#[tokio::test]
async fn other_hosts_and_ports_of_one_machine_share_no_connection() {
    let (address, seen) = serve(None, OK).await;
    let network = Watched::to(address);
    network.name("one.example", &[&["127.0.0.1"]]);
    network.name("other.example", &[&["127.0.0.1"]]);
    let egress = local(Limits::default()).over(Arc::clone(&network) as _);
    for url in ["http://one.example/", "http://other.example/", "http://one.example:81/", "http://127.0.0.1/"] {
        drained(&egress, get(url)).await.unwrap();
    }
    assert_eq!(seen.connections(), 4);
}

#[tokio::test]
async fn nothing_is_sent_twice_over_a_connection_that_dies() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let egress = local(Limits::default());
    let (first, stream) = tokio::join!(drained(&egress, get(&url)), answering(&listener, OK));
    first.unwrap();
    // It takes the request and goes away: the request may have been acted on.
    let (second, ()) = tokio::join!(drained(&egress, get(&url)), async { drop(again(stream, "").await) });
    assert_eq!(second, Err(EgressError::Lost));
    // Nobody has come since: the next to come is ours.
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    assert_eq!(listener.accept().await.unwrap().1, ours.local_addr().unwrap(), "nothing is tried again");

    // One that was closed while it waited is left alone, and the call goes out once, over a new one.
    let (third, stream) = tokio::join!(drained(&egress, get(&url)), answering(&listener, OK));
    third.unwrap();
    drop(stream);
    // Whoever hears an answer that began later has heard of that end.
    egress.send(get(&format!("http://{}/", serve(None, OK).await.0))).await.unwrap();
    let (fourth, _stream) = tokio::join!(drained(&egress, get(&url)), answering(&listener, OK));
    assert_eq!(fourth.unwrap(), b"{}");
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_answers_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let egress = local(Limits::default());
    let two = format!("{OK}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison");
    let (first, _stream) = tokio::join!(drained(&egress, get(&url)), answering(&listener, &two));
    assert_eq!(first.unwrap(), b"{}");
    let (second, _other) = tokio::join!(drained(&egress, get(&url)), answering(&listener, OK));
    assert_eq!(second.unwrap(), b"{}", "over a connection of its own");
}

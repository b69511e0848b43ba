//! The door to the outside: the guard by a table of URLs and addresses, the client against a small server of this machine.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keyledger::egress::{Answer, Egress, EgressError, EgressRefusal, Limits, Policy, Request};
use keyledger::kernel::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const CANARY: &str = "c4n4ry-value";

fn policy(ranges: &[&str]) -> Policy {
    Policy { allowed: ranges.iter().map(|range| range.parse().unwrap()).collect() }
}

/// The variant's name, and for an address what it is.
fn verdict(policy: &Policy, url: &str) -> String {
    match policy.vet_url(url) {
        Ok(target) => format!("ok {}", target.url()),
        Err(EgressRefusal::Address(what)) => what.to_owned(),
        Err(refusal) => format!("{refusal:?}"),
    }
}

fn hold(policy: &Policy, table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .filter_map(|(url, expected)| Some(verdict(policy, url)).filter(|seen| seen != expected).map(|seen| format!("{url}: {seen}, not {expected}")))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const FORMS: [(&str, &str); 56] = [
    ("https://example.com", "ok https://example.com/"),
    ("https://example.com:443/a?b=c", "ok https://example.com/a?b=c"),
    ("HTTPS://EXAMPLE.com/", "ok https://example.com/"),
    ("https://example.com./x", "ok https://example.com/x"),
    ("https:example.com", "ok https://example.com/"),
    ("https:///example.com", "ok https://example.com/"),
    ("https://a_b.example.com/", "ok https://a_b.example.com/"),
    ("https://bücher.example/", "ok https://xn--bcher-kva.example/"),
    ("https://8.8.8.8/", "ok https://8.8.8.8/"),
    ("https://0x8.8.8.8/", "ok https://8.8.8.8/"),
    ("https://[2606:4700::1111]/", "ok https://[2606:4700::1111]/"),
    ("http://example.com/", "Plain"),
    ("http://example.com:443/", "Plain"),
    ("http://8.8.8.8/", "Plain"),
    ("https://example.com:8443/", "Port(8443)"),
    ("https://example.com:80/", "Port(80)"),
    ("https://8.8.8.8:22/", "Port(22)"),
    ("https://example.com:0/", "Port(0)"),
    ("https://example.com:65536/", "NotAUrl"),
    ("ftp://example.com/", "Scheme"),
    ("file:///etc/passwd", "Scheme"),
    ("gopher://example.com/", "Scheme"),
    ("data:text/plain,x", "Scheme"),
    ("javascript:alert(1)", "Scheme"),
    ("unix:/run/docker.sock", "Scheme"),
    ("ws://example.com/", "Scheme"),
    ("", "NotAUrl"),
    ("example.com", "NotAUrl"),
    ("//example.com/", "NotAUrl"),
    ("/a/b", "NotAUrl"),
    ("https://", "NoHost"),
    ("https:///", "NoHost"),
    ("https://?x", "NoHost"),
    ("https://:443/", "NoHost"),
    ("https://user@example.com/", "Userinfo"),
    ("https://user:pass@example.com/", "Userinfo"),
    ("https://:pass@example.com/", "Userinfo"),
    ("https://@example.com/", "Userinfo"),
    ("https://example.com@127.0.0.1/", "Userinfo"),
    ("https:user@example.com/", "Userinfo"),
    ("https://example.com/a@b", "ok https://example.com/a@b"),
    (" https://example.com/", "Characters"),
    ("https://example.com/ ", "Characters"),
    ("https://exa\tmple.com/", "Characters"),
    ("https://example.com/\r\nX: y", "Characters"),
    ("https://example.com\\@127.0.0.1/", "Characters"),
    ("https:\\\\example.com/", "Characters"),
    ("https://example\u{3000}.com/", "Characters"),
    ("https://exam%20ple.com/", "NotAUrl"),
    ("https://exam%00ple.com/", "NotAUrl"),
    ("https://example.com../", "Name"),
    ("https://a..example.com/", "Name"),
    ("https://./", "Name"),
    ("https://1.2.3.256/", "NotAUrl"),
    ("https://1.2.3.4.5/", "NotAUrl"),
    ("https://[::1/", "NotAUrl"),
];

const ADDRESSES: [(&str, &str); 72] = [
    ("https://localhost/", "Localhost"),
    ("https://LOCALHOST/", "Localhost"),
    ("https://localhost./", "Localhost"),
    ("https://api.localhost/", "Localhost"),
    ("https://ｌｏｃａｌｈｏｓｔ/", "Localhost"),
    ("https://loc%61lhost/", "Localhost"),
    ("https://localhost.localdomain/", "Localhost"),
    ("https://ip6-localhost/", "Localhost"),
    ("https://127.0.0.1/", "a loopback address"),
    ("https://127.0.0.1./", "a loopback address"),
    ("https://127.1/", "a loopback address"),
    ("https://127.255.255.254/", "a loopback address"),
    ("https://0x7f.1/", "a loopback address"),
    ("https://0x7f000001/", "a loopback address"),
    ("https://0X7F.0x0.0x0.0x1/", "a loopback address"),
    ("https://2130706433/", "a loopback address"),
    ("https://017700000001/", "a loopback address"),
    ("https://0177.0.0.1/", "a loopback address"),
    ("https://127%2e0%2e0%2e1/", "a loopback address"),
    ("https://１２７.０.０.１/", "a loopback address"),
    ("https://127。0。0。1/", "a loopback address"),
    ("https://①②⑦.0.0.1/", "a loopback address"),
    ("https://[::1]/", "a loopback address"),
    ("https://[0:0:0:0:0:0:0:1]/", "a loopback address"),
    ("https://[::]/", "an unspecified address"),
    ("https://0/", "an unspecified address"),
    ("https://0.0.0.0/", "an unspecified address"),
    ("https://0.1.2.3/", "an unspecified address"),
    ("https://10.0.0.1/", "a private address"),
    ("https://0xa.1/", "a private address"),
    ("https://10.255.255.255/", "a private address"),
    ("https://172.16.0.1/", "a private address"),
    ("https://172.31.255.255/", "a private address"),
    ("https://172.15.255.255/", "ok https://172.15.255.255/"),
    ("https://172.32.0.0/", "ok https://172.32.0.0/"),
    ("https://192.168.1.1/", "a private address"),
    ("https://100.64.0.1/", "a carrier's shared address"),
    ("https://100.127.255.255/", "a carrier's shared address"),
    ("https://100.128.0.0/", "ok https://100.128.0.0/"),
    ("https://169.254.1.1/", "a link-local address"),
    ("https://169.254.169.254/latest/meta-data", "a metadata service of a cloud provider"),
    ("https://2852039166/", "a metadata service of a cloud provider"),
    ("https://168.63.129.16/", "a metadata service of a cloud provider"),
    ("https://100.100.100.200/", "a metadata service of a cloud provider"),
    ("https://[fd00:ec2::254]/", "a metadata service of a cloud provider"),
    ("https://[fd20:ce::254]/", "a metadata service of a cloud provider"),
    ("https://192.0.0.1/", "a reserved address"),
    ("https://192.0.2.1/", "a documentation address"),
    ("https://198.51.100.1/", "a documentation address"),
    ("https://203.0.113.9/", "a documentation address"),
    ("https://198.18.0.1/", "a benchmark address"),
    ("https://198.19.255.255/", "a benchmark address"),
    ("https://198.20.0.0/", "ok https://198.20.0.0/"),
    ("https://192.88.99.1/", "a 6to4 relay"),
    ("https://224.0.0.1/", "a multicast address"),
    ("https://240.0.0.1/", "a reserved address"),
    ("https://255.255.255.255/", "the broadcast address"),
    ("https://[::ffff:127.0.0.1]/", "an IPv4-mapped address"),
    ("https://[::ffff:8.8.8.8]/", "an IPv4-mapped address"),
    ("https://[::ffff:0:8.8.8.8]/", "an IPv4-translated address"),
    ("https://[::127.0.0.1]/", "an IPv4-compatible address"),
    ("https://[64:ff9b::a00:1]/", "a NAT64 address"),
    ("https://[64:ff9b:1::a00:1]/", "a local NAT64 address"),
    ("https://[2002:7f00:1::]/", "a 6to4 address"),
    ("https://[2001:0:53aa:64c::1]/", "a Teredo address"),
    ("https://[fe80::1]/", "a link-local address"),
    ("https://[fe80::1%25eth0]/", "NotAUrl"),
    ("https://[fc00::1]/", "a unique-local address"),
    ("https://[fec0::1]/", "a site-local address"),
    ("https://[ff02::1]/", "a multicast address"),
    ("https://[2001:db8::1]/", "a documentation address"),
    ("https://[5f00::1]/", "a reserved address"),
];

#[test]
fn urls_are_judged_as_what_they_are() {
    hold(&Policy::default(), &FORMS);
    let long = format!("https://example.com/{}", "a".repeat(4096 - 20));
    assert_eq!(long.len(), 4096);
    assert!(Policy::default().vet_url(&long).is_ok());
    assert_eq!(verdict(&Policy::default(), &format!("{long}a")), "TooLong");
    assert_eq!(verdict(&Policy::default(), &format!("https://{}.com/", "a".repeat(64))), "Name");
}

#[test]
fn addresses_that_are_not_public_are_refused_in_every_notation() {
    hold(&Policy::default(), &ADDRESSES);
}

#[test]
fn an_opened_range_opens_http_and_ports_for_itself_only() {
    let opened = policy(&["127.0.0.0/8", "10.0.0.0/8"]);
    hold(
        &opened,
        &[
            ("http://127.0.0.1:8080/", "ok http://127.0.0.1:8080/"),
            ("http://0x7f.1:8080/", "ok http://127.0.0.1:8080/"),
            ("https://10.1.2.3:8443/", "ok https://10.1.2.3:8443/"),
            ("http://localhost:81/", "ok http://localhost:81/"),
            ("http://192.168.0.1/", "a private address"),
            ("http://8.8.8.8/", "Plain"),
            ("https://8.8.8.8:8443/", "Port(8443)"),
            ("http://[::1]/", "a loopback address"),
            ("http://[::ffff:127.0.0.1]/", "an IPv4-mapped address"),
            ("ftp://127.0.0.1/", "Scheme"),
            ("http://u@127.0.0.1/", "Userinfo"),
        ],
    );
    let all = policy(&["0.0.0.0/0", "::/0"]);
    hold(
        &all,
        &[
            ("http://8.8.8.8:81/", "ok http://8.8.8.8:81/"),
            ("http://169.254.169.254/", "a metadata service of a cloud provider"),
            ("http://[fd00:ec2::254]/", "a metadata service of a cloud provider"),
            ("http://[::ffff:169.254.169.254]/", "an IPv4-mapped address"),
            ("http://[64:ff9b::169.254.169.254]/", "a metadata service of a cloud provider"),
            ("http://[2002:a9fe:a9fe::]/", "a 6to4 address"),
        ],
    );
    let nat64 = policy(&["64:ff9b::/96"]);
    hold(&nat64, &[("https://[64:ff9b::10.0.0.1]/", "a private address")]);
    assert!(nat64.vet_url("https://[64:ff9b::8.8.8.8]/").is_ok());
}

#[test]
fn one_refused_address_refuses_them_all() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let (closed, opened) = (Policy::default(), policy(&["10.0.0.0/8"]));
    let target = closed.vet_url("https://example.com/").unwrap();
    assert_eq!(closed.vet_addresses(&target, &[ip("8.8.8.8"), ip("8.8.8.8"), ip("2606:4700::1")]), Ok(vec![ip("8.8.8.8"), ip("2606:4700::1")]));
    assert_eq!(closed.vet_addresses(&target, &[ip("8.8.8.8"), ip("10.0.0.1")]), Err(EgressRefusal::Address("a private address")));
    assert_eq!(closed.vet_addresses(&target, &[ip("8.8.8.8"), ip("::1")]), Err(EgressRefusal::Address("a loopback address")));
    assert_eq!(closed.vet_addresses(&target, &[]), Err(EgressRefusal::NoAddress));
    assert_eq!(opened.vet_addresses(&target, &[ip("8.8.8.8"), ip("10.0.0.1")]), Ok(vec![ip("8.8.8.8"), ip("10.0.0.1")]));

    let plain = opened.vet_url("http://example.com:8080/").unwrap();
    assert_eq!(opened.vet_addresses(&plain, &[ip("10.0.0.1")]), Ok(vec![ip("10.0.0.1")]));
    assert_eq!(opened.vet_addresses(&plain, &[ip("10.0.0.1"), ip("8.8.8.8")]), Err(EgressRefusal::Plain));
    let port = opened.vet_url("https://example.com:8080/").unwrap();
    assert_eq!(opened.vet_addresses(&port, &[ip("8.8.8.8")]), Err(EgressRefusal::Port(8080)));

    let literal = closed.vet_url("https://8.8.8.8/").unwrap();
    assert_eq!(closed.vet_addresses(&literal, &[ip("8.8.4.4")]), Err(EgressRefusal::Mismatch));
}

#[test]
fn refusals_repeat_nothing_of_the_url() {
    for (url, _) in FORMS.iter().chain(&ADDRESSES) {
        for url in [format!("{url}?q={CANARY}"), url.replacen("://", &format!("://{CANARY}:{CANARY}@"), 1)] {
            match Policy::default().vet_url(&url) {
                Err(refusal) => assert!(!format!("{refusal} {refusal:?}").contains(CANARY), "{url}"),
                Ok(target) => assert!(!format!("{target:?}").contains(CANARY), "{url}"),
            }
        }
    }
}

/// A server of this machine that answers every connection with the same bytes; counts connections and keeps the last request.
struct Server {
    port: u16,
    seen: Arc<AtomicUsize>,
    last: Arc<std::sync::Mutex<String>>,
}

impl Server {
    async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        Self::slow(answer, Duration::ZERO).await
    }

    async fn slow(answer: impl Into<Vec<u8>>, pause: Duration) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let answer: Arc<[u8]> = answer.into().into();
        let server = Self { port: listener.local_addr().unwrap().port(), seen: Arc::default(), last: Arc::default() };
        let (seen, last) = (Arc::clone(&server.seen), Arc::clone(&server.last));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                seen.fetch_add(1, Ordering::SeqCst);
                let (answer, last) = (Arc::clone(&answer), Arc::clone(&last));
                tokio::spawn(async move {
                    let mut request = vec![0; 16 * 1024];
                    let read = stream.read(&mut request).await.unwrap_or(0);
                    *last.lock().unwrap() = String::from_utf8_lossy(&request[..read]).into_owned();
                    tokio::time::sleep(pause).await;
                    let _ = stream.write_all(&answer).await;
                });
            }
        });
        server
    }

    fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    async fn called_by(&self, egress: &Egress) -> Result<Answer, EgressError> {
        egress.send(request(&format!("http://127.0.0.1:{}/token?q={CANARY}", self.port))).await
    }
}

fn request(url: &str) -> Request {
    let headers = vec![("authorization".to_owned(), Secret::from(format!("Bearer {CANARY}")))];
    Request { method: reqwest::Method::POST, url: url.to_owned(), headers, body: Secret::from(format!("secret={CANARY}")) }
}

fn open() -> Egress {
    Egress::new(policy(&["127.0.0.0/8", "::1/128"]), Limits { whole: Duration::from_secs(4), ..Limits::default() })
}

/// Fails if the error's texts hold the canary.
fn refused(answer: Result<Answer, EgressError>) -> EgressError {
    let error = answer.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(CANARY), "{error}");
    error
}

#[tokio::test]
async fn without_an_opened_range_no_connection_is_made() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let closed = Egress::new(Policy::default(), Limits::default());
    assert_eq!(refused(server.called_by(&closed).await), EgressError::Refused(EgressRefusal::Address("a loopback address")));
    let by_name = closed.send(request(&format!("http://localhost:{}/", server.port))).await;
    assert_eq!(refused(by_name), EgressError::Refused(EgressRefusal::Localhost));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.seen(), 0);
}

#[tokio::test]
async fn with_an_opened_range_the_request_arrives_and_the_answer_comes_back() {
    let server = Server::answering("HTTP/1.1 429 Slow\r\ncontent-type: application/json\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\n{}").await;
    let answer = server.called_by(&open()).await.unwrap();
    assert_eq!((answer.status, answer.content_type.as_deref(), answer.retry_after.as_deref()), (429, Some("application/json"), Some("7")));
    assert_eq!(answer.body.expose(), b"{}");
    assert_eq!(format!("{answer:?}"), "Answer(429, 2 bytes)");
    let last = server.last.lock().unwrap().clone();
    assert!(last.starts_with(&format!("POST /token?q={CANARY} HTTP/1.1\r\n")), "{last}");
    assert!(last.contains(&format!("authorization: Bearer {CANARY}\r\n")), "{last}");
    assert!(last.contains(&format!("host: 127.0.0.1:{}\r\n", server.port)) && !last.contains("accept-encoding"), "{last}");
    assert!(last.ends_with(&format!("secret={CANARY}")), "{last}");

    let by_name = open().send(request(&format!("http://localhost:{}/", server.port))).await;
    assert_eq!(by_name.unwrap().status, 429, "a name connects to what it was vetted for");
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let elsewhere = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let redirect = format!("HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:{}/\r\ncontent-length: 0\r\n\r\n", elsewhere.port);
    let server = Server::answering(redirect).await;
    assert_eq!(server.called_by(&open()).await.unwrap().status, 307);
    assert_eq!((server.seen(), elsewhere.seen()), (1, 0));
}

#[tokio::test]
async fn a_body_stops_at_its_limit() {
    let limit = 256 * 1024;
    for (size, announced) in [(limit, true), (limit, false), (limit + 1, true), (limit + 1, false)] {
        let length = if announced { format!("content-length: {size}\r\n") } else { String::new() };
        let mut answer = format!("HTTP/1.1 200 OK\r\n{length}connection: close\r\n\r\n").into_bytes();
        answer.resize(answer.len() + size, b'x');
        let server = Server::answering(answer).await;
        match server.called_by(&open()).await {
            Ok(answer) => assert_eq!((answer.body.expose().len(), size), (limit, limit)),
            Err(error) => assert_eq!((error, size), (EgressError::TooLarge { limit }, limit + 1)),
        }
    }
}

#[tokio::test]
async fn failures_tell_whether_anything_was_sent() {
    for broken in ["HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", "HTTP/1.1 20", "", "no HTTP at all\r\n\r\n"] {
        let server = Server::answering(broken).await;
        assert_eq!(refused(server.called_by(&open()).await), EgressError::Lost, "{broken}");
        assert_eq!(server.seen(), 1, "nothing is tried again");
    }
    let gone = Server { port: free_port().await, seen: Arc::default(), last: Arc::default() };
    assert!(matches!(refused(gone.called_by(&open()).await), EgressError::Unreachable(_)));
    let no_tls = Server::answering("HTTP/1.1 400 Bad\r\n\r\n").await;
    let error = open().send(request(&format!("https://127.0.0.1:{}/", no_tls.port))).await;
    assert!(matches!(refused(error), EgressError::Unreachable(_)));
    assert!(!no_tls.last.lock().unwrap().contains(CANARY));
}

async fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn a_call_ends_in_time_and_waits_for_its_turn() {
    let server = Server::slow("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Duration::from_secs(30)).await;
    let limits = Limits { whole: Duration::from_millis(800), at_once: 1, ..Limits::default() };
    let egress = Egress::new(policy(&["127.0.0.0/8"]), limits);
    let (first, second) = tokio::join!(server.called_by(&egress), server.called_by(&egress));
    assert_eq!(refused(first), EgressError::Timeout);
    assert_eq!(refused(second), EgressError::Unreachable("no turn came free"));
    assert_eq!(server.seen(), 1);
}

#[tokio::test]
async fn headers_that_are_the_clients_own_are_refused() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    for (name, value) in [("Host", "other"), ("Content-Length", "1"), ("transfer-encoding", "chunked"), ("x", "a\r\nb: c"), ("a b", "c"), ("", "")] {
        let mut asked = request(&format!("http://127.0.0.1:{}/", server.port));
        asked.headers.push((name.to_owned(), Secret::from(value)));
        assert_eq!(refused(open().send(asked).await), EgressError::Header, "{name}");
    }
    assert_eq!(server.seen(), 0);
}

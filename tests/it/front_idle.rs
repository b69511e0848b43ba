//! How long a connection is kept that says nothing, on a clock that only moves when everybody waits.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use keyledger::server::{Listening, serve};
use keyledger::web::limits::{HEADER_TIMEOUT, IDLE_TIMEOUT};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

struct Wire(TcpStream, #[expect(dead_code, reason = "the server ends with it")] watch::Sender<bool>);

impl Wire {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(serve(listener, Router::new().route("/", get(async || "here")), Listening::default(), stopped));
        Self(TcpStream::connect(address).await.unwrap(), stop)
    }

    async fn ask(&mut self, request: &[u8]) {
        self.0.write_all(request).await.unwrap();
        let mut answer = [0; 4096];
        let length = self.0.read(&mut answer).await.unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 200") && answer[..length].ends_with(b"here"), "{}", String::from_utf8_lossy(&answer[..length]));
    }

    /// How long it takes until the server ends it.
    async fn ends_after(&mut self) -> Duration {
        let since = Instant::now();
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));
        since.elapsed()
    }
}

fn about(took: Duration, wanted: Duration) {
    assert!(took >= wanted.saturating_sub(Duration::from_millis(50)) && took <= wanted + Duration::from_millis(50), "{took:?}, not {wanted:?}");
}

#[tokio::test(start_paused = true)]
async fn between_two_requests_a_connection_waits_long_and_within_a_head_it_does_not() {
    let mut wire = Wire::new().await;
    wire.ask(REQUEST).await;
    // Longer than a head may take.
    tokio::time::sleep(HEADER_TIMEOUT * 5).await;
    wire.ask(REQUEST).await;
    about(wire.ends_after().await, IDLE_TIMEOUT);
    // Nothing at all, and then half a head.
    let mut wire = Wire::new().await;
    about(wire.ends_after().await, HEADER_TIMEOUT);
    let mut wire = Wire::new().await;
    wire.ask(REQUEST).await;
    tokio::time::sleep(HEADER_TIMEOUT * 5).await;
    wire.0.write_all(&REQUEST[..20]).await.unwrap();
    about(wire.ends_after().await, HEADER_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_ends_as_soon_as_one_that_stands_still() {
    let mut wire = Wire::new().await;
    wire.ask(REQUEST).await;
    let begun = Instant::now();
    for byte in REQUEST.iter().take(8) {
        tokio::time::sleep(HEADER_TIMEOUT / 4).await;
        if wire.0.write_all(&[*byte]).await.is_err() {
            break;
        }
    }
    let mut rest = Vec::new();
    drop(wire.0.read_to_end(&mut rest).await);
    assert!(begun.elapsed() < HEADER_TIMEOUT * 3, "{:?}", begun.elapsed());
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
}

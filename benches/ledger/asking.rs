//! Callers over HTTP: each asks one request after the other over a connection of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Sizes;
use crate::table::real;

/// How many connections ask at once.
pub const CONNECTIONS: [usize; 2] = [1, 64];

/// So many connections, in words.
pub fn counted(connections: usize) -> String {
    format!("{connections} connection{}", if connections == 1 { "" } else { "s" })
}

/// A request, and where it goes.
type Way<'a> = (SocketAddr, &'a Arc<[u8]>);

/// The pace of both, who take turns. The first turn does not count.
pub async fn side_by_side(ours: Way<'_>, bare: Way<'_>, connections: usize, sizes: &Sizes) -> (Vec<f64>, Vec<f64>) {
    let (mut of_ours, mut of_bare) = (Vec::new(), Vec::new());
    for round in 0..=sizes.rounds {
        let (first, second) = (pace(ours, connections, sizes).await, pace(bare, connections, sizes).await);
        if round > 0 {
            of_ours.push(first);
            of_bare.push(second);
        }
    }
    (of_ours, of_bare)
}

/// A connection that asks one request after the other.
pub struct Asking {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Asking {
    pub async fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// The whole answer: head and body.
    pub async fn ask(&mut self, request: &[u8]) -> Vec<u8> {
        self.stream.write_all(request).await.unwrap();
        self.buffer.clear();
        loop {
            assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "the server hung up");
            let Some(head) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let text = std::str::from_utf8(&self.buffer[..head]).unwrap();
            let length =
                text.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(|length| length.parse::<usize>().unwrap()));
            if self.buffer.len() >= head + 4 + length.unwrap() {
                assert!(text.starts_with("HTTP/1.1 200"), "{text}");
                return self.buffer.clone();
            }
        }
    }
}

/// Answers a second, from so many connections.
async fn pace((address, request): Way<'_>, connections: usize, sizes: &Sizes) -> f64 {
    let (started, round) = (Instant::now(), sizes.round);
    let callers: Vec<_> = (0..connections)
        .map(|_| {
            let request = Arc::clone(request);
            tokio::spawn(async move {
                let (mut asking, mut answers) = (Asking::to(address).await, 0_u64);
                while started.elapsed() < round {
                    asking.ask(&request).await;
                    answers += 1;
                }
                answers
            })
        })
        .collect();
    let mut answers = 0;
    for caller in callers {
        answers += caller.await.unwrap();
    }
    real(answers) / started.elapsed().as_secs_f64()
}

//! A token endpoint that speaks no HTTP of a library's: it writes what it was told to, byte for byte, and behaves from the second call on.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the second call and all further ones are answered with.
pub const GOOD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 49\r\n\r\n{\"access_token\": \"good-token\", \"expires_in\": 60 }";

/// What the first call is answered with, once its request was read.
#[derive(Clone)]
pub enum Play {
    /// These bytes; then the connection is closed.
    Bytes(Vec<u8>),
    /// These bytes; then the connection is reset.
    BytesAndReset(Vec<u8>),
    /// These bytes; then nothing, until the caller goes away.
    Hold(Vec<u8>),
    /// These bytes; then those, again and again, as fast as they are taken.
    Endless(Vec<u8>, Vec<u8>),
    /// These bytes; then one more at a time, with a pause before each.
    Drip(Vec<u8>),
    /// Nothing: the connection is reset.
    Reset,
}

pub async fn start(play: Play) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (first, _) = listener.accept().await.unwrap();
        tokio::spawn(act(first, play));
        while let Ok((next, _)) = listener.accept().await {
            tokio::spawn(act(next, Play::Bytes(GOOD.to_vec())));
        }
    });
    format!("http://{address}/token")
}

/// Reads a request to its end: the client always announces a length.
async fn read_request(stream: &mut TcpStream) {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() >= length.parse().unwrap() {
                return;
            }
        }
        assert!(stream.read_buf(&mut request).await.unwrap() > 0, "the request came whole");
    }
}

/// A caller that goes away is what many of these plays are for: errors of writing end the play.
async fn act(mut stream: TcpStream, play: Play) {
    read_request(&mut stream).await;
    match play {
        Play::Bytes(bytes) => {
            drop(stream.write_all(&bytes).await);
            drop(stream.shutdown().await);
        }
        Play::BytesAndReset(bytes) => {
            drop(stream.write_all(&bytes).await);
            stream.set_zero_linger().unwrap();
        }
        Play::Hold(bytes) => {
            drop(stream.write_all(&bytes).await);
            drop(stream.read(&mut [0]).await);
        }
        Play::Endless(start, again) => {
            let mut going = stream.write_all(&start).await;
            while going.is_ok() {
                going = stream.write_all(&again).await;
            }
        }
        Play::Drip(start) => {
            let mut going = stream.write_all(&start).await;
            let mut pace = tokio::time::interval(Duration::from_millis(10));
            while going.is_ok() {
                pace.tick().await;
                going = stream.write_all(b"x").await;
            }
        }
        Play::Reset => stream.set_zero_linger().unwrap(),
    }
}

/// A whole answer with its length.
pub fn http(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    [format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len()).as_bytes(), body].concat()
}

/// A body in gzip, as a stored block.
pub fn gzip(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap();
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    bytes.extend([length.to_le_bytes(), (!length).to_le_bytes()].concat());
    bytes.extend(body);
    bytes.extend(crc32fast::hash(body).to_le_bytes());
    bytes.extend(u32::from(length).to_le_bytes());
    bytes
}

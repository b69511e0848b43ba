//! What names resolve to, and connections to addresses. A trait, so that a test sees every address before a socket does.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How long one address is tried alone before the next is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);
/// The most addresses of one name that are tried.
const MOST_TRIED: usize = 8;

/// What a network has to say, later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// The network as the door sees it.
pub trait Network: Send + Sync {
    /// The addresses of a name.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Later<'a, Vec<IpAddr>>;
    /// A connection to this address and to no other.
    fn dial(&self, address: SocketAddr) -> Later<'_, TcpStream>;
}

/// The operating system's resolver and sockets.
pub(super) struct Sockets;

impl Network for Sockets {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Later<'a, Vec<IpAddr>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.map(|address| address.ip()).collect()) })
    }

    fn dial(&self, address: SocketAddr) -> Later<'_, TcpStream> {
        Box::pin(TcpStream::connect(address))
    }
}

/// Connects to the first of these addresses that answers; one that keeps silent does not hold up the next.
pub(super) async fn dial_any(network: &Arc<dyn Network>, addresses: &[SocketAddr]) -> Option<(TcpStream, SocketAddr)> {
    let mut untried = addresses.iter().take(MOST_TRIED);
    let mut trying = JoinSet::new();
    loop {
        match untried.next().copied() {
            Some(address) => {
                let network = Arc::clone(network);
                trying.spawn(async move { network.dial(address).await.map(|stream| (stream, address)) });
            }
            None if trying.is_empty() => return None,
            None => {}
        }
        tokio::select! {
            Some(ended) = trying.join_next() => if let Ok(Ok(reached)) = ended {
                return Some(reached);
            },
            () = sleep(HEAD_START) => {}
        }
    }
}

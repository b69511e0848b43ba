//! A vault behind the whole HTTP front, on a port of this machine.

use std::net::SocketAddr;
use std::sync::Arc;

use keyledger::egress::{Egress, Limits, Policy, StreamLimits};
use keyledger::jobs::Webhooks;
use keyledger::kernel::{OsRandom, VaultId};
use keyledger::keyring::{KeyringError, RootKeyProvider};
use keyledger::oauth::Exchanges;
use keyledger::seal::Key;
use keyledger::server::{Listening, router, serve};
use keyledger::surfaces::{ACCESS_TOKEN_SECONDS, Front, Settings};
use keyledger::vault::Vault;
use tokio::net::TcpListener;

/// No tenant is made here.
struct NoRoot;

impl RootKeyProvider for NoRoot {
    fn root_key(&self, _: VaultId) -> Result<Key, KeyringError> {
        Err(KeyringError::WrongRootKey)
    }
}

/// Nothing on this machine may be called.
pub fn closed() -> Egress {
    Egress::new(Policy::default(), Limits::default())
}

/// Serves until the runtime ends. What goes out does so through such a door.
pub async fn front(vault: Arc<Vault>, egress: impl Fn() -> Egress) -> SocketAddr {
    drop(rustls::crypto::ring::default_provider().install_default());
    let exchanges = Arc::new(Exchanges::new(Arc::clone(&vault), egress(), "http://127.0.0.1".to_owned()));
    let webhooks = Arc::new(Webhooks::new(Arc::clone(&vault), egress(), Arc::new(OsRandom), Box::new(|_| false)));
    let settings = Arc::new(Settings {
        access_token_seconds: ACCESS_TOKEN_SECONDS,
        origins: Vec::new(),
        stream_limits: StreamLimits::default(),
        root_key: Box::new(NoRoot),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        serve(listener, router(&Front { vault, exchanges, webhooks, settings }), Listening::default(), stopped).await;
        drop(stop);
    });
    address
}

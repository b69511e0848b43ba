//! A service on this machine that answers at once, the connector that leads to it, and the door through which it may be called.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use keyledger::credentials::connection::{Changes, Key, Tokens};
use keyledger::credentials::connector::{Api, AuthType, ClientAuth, Connector, Encoding, FormField, GrantType, Oauth};
use keyledger::credentials::{AnyEvent, Meta};
use keyledger::egress::{Egress, Later, Limits, Network, Policy};
use keyledger::kernel::{Plan, Refusal, Secret, StreamId};
use keyledger::vault::access::Principal;
use keyledger::vault::{Answer, Command, Given, Vault, plans};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::vault::TENANT;

/// Services are called by name only; no name is looked up here.
pub const HOST: &str = "service.example.com";
/// As a service answers a refresh: both tokens are new.
const TOKENS: &str = r#"{"access_token":"v1u:access-token-of-000000000000000000000000000001","refresh_token":"v1r:refresh-token-of-000000000000000000000000000001","token_type":"bearer","expires_in":3600,"scope":"deals:read deals:write"}"#;

/// Every name is this machine.
struct Here;

impl Network for Here {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> Later<'a, Vec<IpAddr>> {
        Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
    }

    fn dial(&self, address: SocketAddr) -> Later<'_, TcpStream> {
        Box::pin(TcpStream::connect(address))
    }
}

/// A door that leads to this machine.
pub fn door() -> Egress {
    drop(rustls::crypto::ring::default_provider().install_default());
    let policy = Policy { allowed: vec!["127.0.0.0/8".parse().unwrap()] };
    Egress::new(policy, Limits::default()).over(Arc::new(Here))
}

/// A whole answer with this body.
fn answer(body: &str) -> Arc<[u8]> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes().into()
}

/// Gives tokens to whoever asks.
pub async fn tokens() -> SocketAddr {
    start(answer(TOKENS)).await
}

/// Answers with a body of so many bytes.
pub async fn body(length: usize) -> SocketAddr {
    start(answer(&format!("\"{}\"", "x".repeat(length - 2)))).await
}

/// Answers nothing but this, for as long as its callers keep their connections.
async fn start(answer: Arc<[u8]>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&answer)));
        }
    });
    address
}

async fn serve(mut stream: TcpStream, answer: Arc<[u8]>) {
    stream.set_nodelay(true).unwrap();
    let mut asked = Vec::new();
    loop {
        if let Some(end) = asked.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = std::str::from_utf8(&asked[..end]).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let end = end + 4 + length.map_or(0, |length| length.parse::<usize>().unwrap());
            if asked.len() >= end {
                asked.drain(..end);
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
        }
        // Whoever asks the next time does so when this answer has come.
        if !matches!(stream.read_buf(&mut asked).await, Ok(1..)) {
            return;
        }
    }
}

/// A service that gives tokens here, and is called here.
pub fn connector(service_id: &str, port: u16) -> Connector {
    let field = |id: &str, sensitive| FormField {
        id: id.into(),
        label: id.into(),
        field_type: "text".into(),
        required: true,
        sensitive,
        description: None,
        placeholder: None,
        options: None,
    };
    let oauth = Oauth {
        grant: GrantType::AuthorizationCode,
        authorize_url: Some(format!("http://{HOST}:{port}/authorize")),
        token_url: format!("http://{HOST}:{port}/token"),
        revoke_url: None,
        client_auth: ClientAuth::Body,
        encoding: Encoding::Form,
        scopes: vec![],
        scope_separator: None,
        token_params: std::collections::BTreeMap::new(),
        authorize_params: std::collections::BTreeMap::new(),
        pkce: false,
    };
    Connector {
        unified_api: "crm".into(),
        service_id: service_id.into(),
        name: "Local".into(),
        tag_line: None,
        website: "https://example.com".into(),
        docs: "https://example.com/docs".into(),
        status: "live".into(),
        auth_type: AuthType::Oauth2,
        oauth: Some(oauth),
        form_fields: vec![field("client_id", false), field("client_secret", true)],
        settings_required_for_authorization: vec!["client_id".into(), "client_secret".into()],
        validation: false,
        api: Some(Api { base_url: format!("http://{HOST}:{port}/v1"), hosts: vec![], auth: vec![] }),
    }
}

/// A vault's owner at work.
pub struct Owner<'a> {
    pub vault: &'a Vault,
    pub principal: &'a Principal,
}

impl Owner<'_> {
    pub async fn execute(&self, decide: impl FnMut(&Given<'_>) -> Result<Plan<AnyEvent>, Refusal>) -> Answer {
        let command = Command { principal: self.principal, meta: Meta::default(), idempotency: None };
        self.vault.execute(&command, decide).await.unwrap()
    }

    /// Takes up a service.
    pub async fn serves(&self, service_id: &str, port: u16) {
        self.execute(|given| plans::put_connector(given, TENANT, connector(service_id, port))).await;
    }

    /// A connection whose client is entered and whose tokens come from elsewhere.
    pub async fn connect(&self, service_id: &str, consumer: &str) -> StreamId {
        let key = Key { app: "app".into(), consumer: consumer.into(), unified_api: "crm".into(), service_id: service_id.into() };
        let tokens = || Tokens {
            access: Some(Secret::from(format!("v1u:access-token-of-{consumer:>030}").as_str())),
            refresh: Some(Secret::from(format!("v1r:refresh-token-of-{consumer:>030}").as_str())),
            ..Tokens::default()
        };
        let entered = |id: &str, value: &str| (id.to_owned(), Some(serde_json::Value::from(value)));
        let client = || Changes { settings: [entered("client_id", "a-client"), entered("client_secret", "its-secret")].into(), ..Changes::default() };
        let answer = self.execute(|given| plans::import(given, TENANT, &key, tokens(), client())).await;
        answer.views.connection(TENANT, &key).unwrap()
    }
}

//! What a browser carries in place of a token: links to authorize or revoke one connection, and sessions of one consumer. Both are signed, both act
//! as whoever made them, and both end with that credential: it is looked at again on every request.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Vault;
use super::access::{Hold, Principal};
use super::authenticate::{principal, usable};
use crate::credentials::Verifier;
use crate::credentials::connection::{Confirm, FLOW_SECONDS, Key};
use crate::kernel::{FlowId, Permission, PermissionSet, Refusal, Secret, StreamId};
use crate::seal::jwt::MAX_JWT;
use crate::seal::{derive, jwt};

/// A link works for so many seconds: a day.
pub const LINK_SECONDS: i64 = 24 * 3600;
/// What a session may do at most.
const SESSION: PermissionSet = PermissionSet::of(&[Permission::ConnectionsRead, Permission::ConnectionsWrite, Permission::ConnectionsExchange]);

/// What a link is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LinkUse {
    Connect,
}

/// What a session is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SessionUse {
    Session,
}

/// What a link says: the vendor's claims, and whose it is.
#[derive(Serialize, Deserialize)]
struct Link {
    iss: String,
    #[serde(rename = "use")]
    purpose: LinkUse,
    by: String,
    consumer_id: String,
    unified_api: String,
    service_id: String,
    application_id: String,
    iat: i64,
    exp: i64,
}

/// What a session says: the vendor's claims, and whose it is.
#[derive(Serialize, Deserialize)]
struct SessionClaims {
    iss: String,
    #[serde(rename = "use")]
    purpose: SessionUse,
    by: String,
    consumer: StreamId,
    consumer_id: String,
    application_id: String,
    iat: i64,
    exp: i64,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// A session that stands.
pub struct ConsumerSession {
    /// Whoever made it, narrowed to connections of the application.
    pub principal: Principal,
    /// The application.
    pub app: String,
    /// The consumer.
    pub consumer: String,
    /// What else it says.
    pub more: Map<String, Value>,
}

impl Vault {
    fn sign(&self, claims: &impl Serialize) -> String {
        jwt::mint(self.jwt_key.id, &self.jwt_key.key, claims)
    }

    fn read<T: DeserializeOwned>(&self, text: &str) -> Result<T, Refusal> {
        jwt::open(self.jwt_key.id, &self.jwt_key.key, text).map_err(|_| Refusal::NotFound)
    }

    /// Whoever made a link or a session, if it may still be used at all.
    fn maker(&self, by: &str, iss: &str, exp: i64) -> Result<Principal, Refusal> {
        let views = self.views();
        let now = self.time(&views);
        if iss != self.keyring.vault().to_string() || exp.saturating_mul(1000) <= now.millis() {
            return Err(Refusal::NotFound);
        }
        let by: StreamId = by.parse().map_err(|_| Refusal::NotFound)?;
        let usable = usable(&views, by, now).map_err(|_| Refusal::NotFound)?;
        Ok(principal(&views, &usable, None))
    }

    fn seconds(&self) -> i64 {
        self.time(&self.views()).millis() / 1000
    }

    /// A link by which a user authorizes, or revokes, this connection: good for a day.
    #[must_use]
    pub fn mint_link(&self, by: &Principal, key: &Key) -> String {
        let (iss, iat) = (self.keyring.vault().to_string(), self.seconds());
        let Key { app, consumer, unified_api, service_id } = key.clone();
        let (by, purpose, exp) = (by.id.to_string(), LinkUse::Connect, iat + LINK_SECONDS);
        self.sign(&Link { iss, purpose, by, consumer_id: consumer, unified_api, service_id, application_id: app, iat, exp })
    }

    /// Who made a link, and for which connection.
    pub fn open_link(&self, text: &str) -> Result<(Principal, Key), Refusal> {
        let link: Link = self.read(text)?;
        let by = self.maker(&link.by, &link.iss, link.exp)?;
        Ok((by, Key { app: link.application_id, consumer: link.consumer_id, unified_api: link.unified_api, service_id: link.service_id }))
    }

    /// A session of a consumer, for so many seconds.
    pub fn mint_session(&self, by: &Principal, app: &str, consumer: (&str, StreamId), seconds: i64, more: Map<String, Value>) -> Result<Secret, Refusal> {
        let (iss, iat, by) = (self.keyring.vault().to_string(), self.seconds(), by.id.to_string());
        let (purpose, exp, application_id) = (SessionUse::Session, iat.saturating_add(seconds), app.to_owned());
        let claims = SessionClaims { iss, purpose, by, consumer: consumer.1, consumer_id: consumer.0.to_owned(), application_id, iat, exp, more };
        let token = self.sign(&claims);
        if token.len() > MAX_JWT {
            return Err(Refusal::Limit { what: "bytes of a session's token: metadata, settings and theme are in it", limit: MAX_JWT as u64 });
        }
        Ok(Secret::from(token))
    }

    /// A session, as long as its maker and its consumer are there.
    pub fn open_session(&self, text: &str) -> Result<ConsumerSession, Refusal> {
        let claims: SessionClaims = self.read(text)?;
        let maker = self.maker(&claims.by, &claims.iss, claims.exp)?;
        let there = self.views().consumer(maker.tenant, &claims.application_id, &claims.consumer_id) == Some(claims.consumer);
        let may_name = maker.app_ids.is_empty() || maker.app_ids.contains(&claims.application_id);
        if !there || !may_name {
            return Err(Refusal::NotFound);
        }
        let holds =
            maker.holds.iter().map(|hold| Hold { rule: format!("{}, session of a consumer", hold.rule), permissions: hold.permissions.within(SESSION) });
        let principal = Principal { holds: holds.collect(), is_home: false, app_ids: vec![claims.application_id.clone()], ..maker };
        Ok(ConsumerSession { principal, app: claims.application_id, consumer: claims.consumer_id, more: claims.more })
    }

    /// What confirms the tokens of an exchange: to show once, and to compare with.
    #[must_use]
    pub fn draw_confirm(&self, connection: StreamId) -> (Option<Secret>, Option<Confirm>) {
        let token = base16ct::lower::encode_string(&self.random.array::<32>());
        let hash = derive::confirm(&self.token_key.key, connection, token.as_bytes());
        let until = self.time(&self.views()).plus_seconds(FLOW_SECONDS);
        (Some(Secret::from(token)), Some(Confirm { verifier: Verifier::new(self.token_key.id, hash), until }))
    }

    /// A token that is to confirm, as it is compared: the key, and the hash.
    #[must_use]
    pub fn hash_confirm(&self, connection: StreamId, token: &Secret) -> ([u8; 16], [u8; 32]) {
        (self.token_key.id, derive::confirm(&self.token_key.key, connection, token.expose()))
    }

    /// The code verifier of an authorization, before its encoding.
    #[must_use]
    pub fn code_verifier(&self, connection: StreamId, flow: FlowId) -> [u8; 32] {
        derive::code_verifier(&self.token_key.key, connection, flow)
    }

    /// What the browser that began an authorization shows when it comes back.
    #[must_use]
    pub fn browser(&self, flow: FlowId) -> [u8; 32] {
        derive::browser(&self.token_key.key, flow)
    }

    /// An id for an authorization.
    #[must_use]
    pub fn draw_flow(&self) -> FlowId {
        FlowId::random(&*self.random)
    }
}

//! Logging in with a password.

use super::attempts::Door;
use super::execute::Command;
use super::tokens::Rejected;
use super::{Given, Vault, VaultError, access::Principal, plans};
use crate::credentials::issued::{SecretId, TokenType};
use crate::credentials::{AnyState, Meta, PasswordHash, user};
use crate::kernel::{Moment, Refusal, Secret, StreamId, TenantId};
use crate::seal::password;

/// How many passwords are hashed at once.
pub(super) const HASHING: usize = 2;
/// The shortest and the longest password, in characters and bytes.
pub const PASSWORD: (usize, usize) = (12, 1024);
/// A session lives so many seconds when the caller does not say (12 hours), and at most so many (7 days).
pub const SESSION_SECONDS: (u64, u64) = (12 * 3600, 7 * 24 * 3600);

/// A session that has begun.
pub struct LoggedIn {
    /// Its stream.
    pub id: StreamId,
    /// Whose it is.
    pub user: StreamId,
    /// Of its user.
    pub tenant: TenantId,
    /// Names its token.
    pub secret: SecretId,
    /// Its token, to show once.
    pub token: Secret,
    /// When it ends by itself.
    pub expires_at: Moment,
}

impl Vault {
    /// What a password is compared with later. Too short, too long and well-known ones are refused.
    pub async fn hash_password(&self, field: &str, given: &Secret) -> Result<PasswordHash, VaultError> {
        let (shortest, longest) = PASSWORD;
        let text = std::str::from_utf8(given.expose()).unwrap_or_default();
        if text.chars().count() < shortest || text.len() > longest {
            return Err(Refusal::invalid(field, format!("takes {shortest} characters to {longest} bytes")).into());
        }
        let mut kinds: Vec<char> = text.to_lowercase().chars().collect();
        kinds.sort_unstable();
        kinds.dedup();
        if kinds.len() < 5 {
            return Err(Refusal::invalid(field, "is too easy to guess: it has fewer than five different characters").into());
        }
        let mut hash = PasswordHash { key: self.token_key.id, cost: password::COST, salt: self.random.array(), hash: [0; 32] };
        let (salt, cost) = (hash.salt, hash.cost);
        hash.hash = self.hashed(given.duplicate(), cost, salt).await.ok_or_else(|| VaultError::Stopped("a password could not be hashed".into()))?;
        Ok(hash)
    }

    async fn hashed(&self, given: Secret, cost: (u32, u32, u32), salt: [u8; 16]) -> Option<[u8; 32]> {
        let _turn = self.hashing.acquire().await.ok()?;
        let key = self.token_key.key.duplicate();
        tokio::task::spawn_blocking(move || password::hash(&key, cost, &salt, given.expose()).ok()).await.ok().flatten()
    }

    /// Compares a password; without a hash it takes as long and is wrong.
    pub async fn has_password(&self, hash: Option<PasswordHash>, given: &Secret) -> bool {
        use subtle::ConstantTimeEq;
        let (longest, known) = (PASSWORD.1, hash.as_ref().is_some_and(|hash| hash.key == self.token_key.id));
        let nobody = PasswordHash { key: self.token_key.id, cost: password::COST, salt: [0; 16], hash: [0; 32] };
        let against = hash.unwrap_or(nobody);
        let given = if given.expose().len() > longest { Secret::from("") } else { given.duplicate() };
        let made = self.hashed(given, against.cost, against.salt).await;
        known && made.is_some_and(|made| bool::from(made.ct_eq(&against.hash)))
    }

    /// Begins a session for a user of a tenant by login and password. An unknown tenant or login takes as long as a wrong password, waits as
    /// long, and is refused alike.
    pub async fn log_in(&self, tenant: &str, login: &str, given: &Secret, seconds: u64, meta: Meta) -> Result<LoggedIn, Rejected> {
        let views = self.views();
        let owner = views.tenant(tenant).filter(|owner| *owner != TenantId::SYSTEM).unwrap_or(TenantId::SYSTEM);
        let user = views.user(owner, &login.to_ascii_lowercase());
        let live = user.and_then(|id| match &views.thing(id)?.state {
            AnyState::User(user::State::Live(user)) => Some(user),
            _ => None,
        });
        let hash = live.and_then(|user| user.password.as_ref()).map(|password| password.hash.clone());
        let may = live.is_some_and(|user| !user.blocked) && !super::authenticate::is_suspended(&views, owner);
        // The name of a tenant that is not there counts with the login: the system's door is everybody's.
        let name = if owner == TenantId::SYSTEM { format!("{tenant}/{login}") } else { login.to_owned() };
        let door = Door { tenant: owner, tried: self.tried("login", &name), principal: user, meta: &meta };
        let right = self.attempt(&door, given.expose(), async { self.has_password(hash, given).await && may }).await.map_err(Rejected::Locked)?;
        match user.filter(|_| right) {
            Some(user) => self.begin_session(owner, user, seconds, meta).await,
            None => Err(Rejected::Wrong),
        }
    }

    async fn begin_session(&self, tenant: TenantId, user: StreamId, seconds: u64, meta: Meta) -> Result<LoggedIn, Rejected> {
        let principal = Principal { id: user, ..Principal::vault(tenant) };
        let command = Command { principal: &principal, meta: Meta { rule: Some("password".into()), ..meta }, idempotency: None };
        let mut made = None;
        let answer = self.execute(&command, |given: &Given<'_>| {
            let (token, known) = given.issue(TokenType::Session);
            let expires_at = given.now.plus_seconds(i64::try_from(seconds.min(SESSION_SECONDS.1)).unwrap_or(0));
            let secret = known.id.parse().unwrap_or_default();
            let plan = plans::create_session(given, tenant, user, known, expires_at, Vec::new())?;
            made = plan.writes.first().map(|write| LoggedIn { id: write.stream, user, tenant, secret, token, expires_at });
            Ok(plan)
        });
        answer.await?;
        Ok(made.ok_or(Refusal::NotFound)?)
    }
}

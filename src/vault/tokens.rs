//! Access tokens: minted for a secret that was proven, narrowed, refreshed, looked at and ended.

use super::access::Principal;
use super::attempts::{Door, Locked};
use super::authenticate::{Access, usable};
use super::execute::Command;
use super::{Given, Unusable, Vault, VaultError, plans};
use crate::credentials::issued::{self, SecretId, Token, TokenType};
use crate::credentials::{Kind, Meta};
use crate::kernel::{Moment, Permission, Position, Refusal, Secret, StreamId, TenantId};
use crate::seal::jwt::{self, Claims, Use};
use crate::views::Views;

/// A refresh token lives so many seconds: 8 hours.
pub const REFRESH_SECONDS: i64 = 8 * 3600;

/// A client that proved its secret.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Its stream.
    pub id: StreamId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The secret that it proved.
    pub secret: SecretId,
}

/// Why a login or a client got nothing.
#[derive(Debug)]
pub enum Rejected {
    /// Name or secret is wrong, or the name opens nothing: the two look the same.
    Wrong,
    /// The name waits.
    Locked(Locked),
    /// The log did not take it.
    Vault(VaultError),
}

impl From<VaultError> for Rejected {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

impl From<Refusal> for Rejected {
    fn from(refusal: Refusal) -> Self {
        Self::Vault(refusal.into())
    }
}

/// A token to show, once.
pub struct Minted {
    /// The token.
    pub token: Secret,
    /// It lives so many seconds.
    pub seconds: u64,
}

/// What a token is minted for.
pub struct For<'a> {
    /// The thing.
    pub subject: StreamId,
    /// Its secret.
    pub secret: SecretId,
    /// What the token is good for.
    pub purpose: Use,
    /// How long it lives at most, in seconds.
    pub seconds: i64,
    /// What it is narrowed to.
    pub scope: Option<&'a str>,
}

impl Vault {
    /// A client by its id, when it presents a secret of this type that works. Its wrong secrets slow it down, whether the id exists or not.
    pub async fn client(&self, id: &str, presented: &str, kinds: &[Kind], kind: TokenType, meta: &Meta) -> Result<Client, Rejected> {
        self.client_with(id, &[(kind, presented)], kinds, meta).await
    }

    /// The same for a client that presents several secrets, each of its type: all must be right, and they count as one attempt, so that one
    /// right secret does not clear the count of wrong ones beside it. The client is given with the first of them.
    pub async fn client_with(&self, id: &str, presented: &[(TokenType, &str)], kinds: &[Kind], meta: &Meta) -> Result<Client, Rejected> {
        let views = self.views();
        let known = StreamId::of_client(id).filter(|id| views.thing(*id).is_some_and(|entry| entry.state.sort().is_some_and(|sort| kinds.contains(&sort))));
        let tenant = known.and_then(|id| views.thing(id)).map_or(TenantId::SYSTEM, |entry| entry.tenant);
        // A malformed secret is compared as well, so that it takes as long as a wrong one.
        let malformed = |kind, text: &str| Token { kind, id: SecretId::default(), secret: Secret::from(text) };
        let tokens: Vec<(TokenType, Token)> =
            presented.iter().map(|(kind, text)| (*kind, Token::parse(text).unwrap_or_else(|_| malformed(*kind, text)))).collect();
        let now = self.time(&views);
        // However the id is written, it is one name.
        let name = StreamId::of_client(id).map_or_else(|| id.to_owned(), |id| id.to_string());
        let door = Door { tenant, tried: self.tried("client", &name), principal: known, meta };
        let check = async {
            let right = |(kind, token): &(TokenType, Token)| {
                let found = self.recognise(&views, token, now).filter(|(_, secret)| secret.kind == *kind).map(|(id, _)| id);
                found.is_some() && found == known
            };
            let wrong = tokens.iter().filter(|token| !right(token)).count();
            wrong == 0 && known.is_some_and(|id| usable(&views, id, now).is_ok())
        };
        let whole = Secret::new(presented.iter().map(|(_, text)| text.as_bytes()).collect::<Vec<_>>().join(&0));
        let right = self.attempt(&door, whole.expose(), check).await.map_err(Rejected::Locked)?;
        match (right, known, tokens.first()) {
            (true, Some(id), Some((_, first))) => {
                for (_, token) in &tokens {
                    self.usage.note(tenant, token.id, now);
                }
                Ok(Client { id, tenant, secret: first.id })
            }
            _ => Err(Rejected::Wrong),
        }
    }

    /// Mints a token. It ends with the secret it is for, with the thing, and when its time is over, whichever comes first.
    pub fn mint(&self, what: &For<'_>) -> Result<Minted, Refusal> {
        self.mint_since(what, self.views().position())
    }

    /// The same, as if it had been made when the log stood at a position: what is given for a refresh token counts from that token's end, so that
    /// it ends with the others when the same refresh token turns up again before it is given.
    pub fn mint_since(&self, what: &For<'_>, since: Position) -> Result<Minted, Refusal> {
        let views = self.views();
        let now = self.time(&views);
        let usable = usable(&views, what.subject, now).map_err(|_| Refusal::NotFound)?;
        let (_, generation) = usable.bearer.issued.working(now).find(|(known, _)| known.id == what.secret).ok_or(Refusal::NotFound)?;
        let mut end = now.plus_seconds(what.seconds);
        for bound in [generation.ends_at, usable.bearer.expires_at].into_iter().flatten() {
            end = end.min(bound);
        }
        let (iat, exp) = (now.millis() / 1000, end.millis() / 1000);
        let claims = Claims {
            iss: self.keyring.vault().to_string(),
            sub: what.subject.to_string(),
            sid: what.secret.to_string(),
            purpose: what.purpose,
            jti: SecretId(self.random.array()).to_string(),
            pos: since.0,
            iat,
            exp,
            scope: what.scope.map(str::to_owned),
        };
        let seconds = u64::try_from(exp - iat).unwrap_or(0);
        Ok(Minted { token: Secret::from(jwt::mint(self.jwt_key.id, &self.jwt_key.key, &claims)), seconds })
    }

    /// The permissions of a request's scope, when the client holds them all: apart by blanks, each once.
    pub fn scope(&self, client: &Client, wanted: &str) -> Result<String, Refusal> {
        let views = self.views();
        let held = views.thing(client.id).map(|entry| super::access::permissions_of(&views, entry)).unwrap_or_default();
        let mut names: Vec<&str> = Vec::new();
        for name in wanted.split(' ').filter(|name| !name.is_empty()) {
            let known = Permission::named(name).ok_or_else(|| Refusal::invalid("scope", "names a permission that is not known"))?;
            if !held.holds(known) {
                return Err(Refusal::Forbidden { permission: known.name() });
            }
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.is_empty() { Err(Refusal::invalid("scope", "names no permission")) } else { Ok(names.join(" ")) }
    }

    /// Takes a refresh token, which works once: used again, it ends every token of its bearer. `of` is the client that presents it, where one
    /// proved itself; without such proof only a session is refreshed. The answer's `position` is that of the token's end.
    pub async fn take_refresh_token(&self, presented: &str, of: Option<StreamId>, meta: Meta) -> Result<Access, Rejected> {
        let views = self.views();
        let claims: Claims = jwt::open(self.jwt_key.id, &self.jwt_key.key, presented).map_err(|_| Rejected::Wrong)?;
        let (Ok(subject), Ok(token)) = (claims.sub.parse::<StreamId>(), claims.jti.parse::<SecretId>()) else { return Err(Rejected::Wrong) };
        let entry = views.thing(subject).ok_or(Rejected::Wrong)?;
        let presents_its_own = of.map_or(entry.state.sort() == Some(Kind::Session), |client| client == subject);
        let over = claims.exp.saturating_mul(1000) <= self.time(&views).millis();
        if !presents_its_own || over || claims.purpose != Use::Refresh {
            return Err(Rejected::Wrong);
        }
        let (tenant, bearer) = (entry.tenant, entry.state.bearer().ok_or(Rejected::Wrong)?);
        let principal = Principal { id: subject, ..Principal::vault(tenant) };
        let command = Command { principal: &principal, meta: Meta { rule: Some("refresh".into()), ..meta.clone() }, idempotency: None };
        if bearer.issued.is_revoked(token) {
            return self.reused(&command, subject).await;
        }
        let access = self.open_access_token(&views, presented, Use::Refresh).map_err(|_| Rejected::Wrong)?;
        usable(&views, subject, self.time(&views)).map_err(|_| Rejected::Wrong)?;
        let expires_at = Moment::from_millis(access.ends_at.saturating_mul(1000));
        let mut reused = false;
        let spent = self.execute(&command, |given: &Given<'_>| {
            let issued = given.views.thing(subject).and_then(|entry| entry.state.bearer()).ok_or(Refusal::NotFound)?.issued;
            reused = issued.is_revoked(token);
            plans::on_secret(given, tenant, subject, issued::Command::RevokeToken { token, expires_at })
        });
        match spent.await {
            Ok(_) if reused => self.reused(&command, subject).await,
            Ok(answer) => Ok(Access { position: answer.events.map_or(access.position, |(first, _)| first), ..access }),
            // It went meanwhile.
            Err(VaultError::Refused(Refusal::NotFound)) => Err(Rejected::Wrong),
            Err(error) => Err(error.into()),
        }
    }

    async fn reused(&self, command: &Command<'_>, subject: StreamId) -> Result<Access, Rejected> {
        let tenant = command.principal.tenant;
        tracing::warn!(%subject, "a refresh token was used twice: all tokens of its bearer end");
        self.execute(command, |given| plans::on_secret(given, tenant, subject, issued::Command::RevokeTokens)).await?;
        Err(Rejected::Wrong)
    }

    /// What a token of the tenant says, whatever its sort; `None` when it opens nothing.
    #[must_use]
    pub fn introspect(&self, tenant: TenantId, presented: &str) -> Option<(Access, &'static str)> {
        let views = self.views();
        let now = self.time(&views);
        let fits = |access: Access| (access.tenant == tenant && usable(&views, access.subject, now).is_ok()).then_some(access);
        if presented.contains('.') {
            let access = self.open_access_token(&views, presented, Use::Access).ok().and_then(fits).map(|access| (access, "access_token"));
            let refresh = || self.open_access_token(&views, presented, Use::Refresh).ok().and_then(fits).map(|access| (access, "refresh_token"));
            return access.or_else(refresh);
        }
        let token = Token::parse(presented).ok()?;
        let (id, _) = self.recognise(&views, &token, now)?;
        let usable = usable(&views, id, now).ok().filter(|usable| usable.entry.tenant == tenant)?;
        let kind = match token.kind {
            TokenType::Key => "api_key",
            TokenType::Session => "session",
            TokenType::Application | TokenType::Client | TokenType::OauthClient => return None,
        };
        let seconds = |moment: Moment| moment.millis() / 1000;
        let made_at = usable.bearer.issued.working(now).find(|(known, _)| known.id == token.id).map_or(0, |(_, generation)| seconds(generation.since));
        let ends_at = usable.bearer.expires_at.map_or(0, seconds);
        Some((
            Access { subject: id, secret: token.id, token: token.id, scope: None, scope_text: None, position: usable.entry.first, made_at, ends_at, tenant },
            kind,
        ))
    }

    /// Ends an access or refresh token, or a session, of the tenant. One that is not known is passed over, as RFC 7009 wants it. `only` is the
    /// client that asks, where it may end its own tokens only.
    pub async fn revoke(&self, principal: &Principal, meta: Meta, only: Option<StreamId>, presented: &str) -> Result<(), VaultError> {
        let Some((access, kind)) = self.introspect(principal.tenant, presented) else { return Ok(()) };
        if only.is_some_and(|only| only != access.subject) {
            return Ok(());
        }
        let (tenant, subject) = (principal.tenant, access.subject);
        let command = Command { principal, meta, idempotency: None };
        let expires_at = Moment::from_millis(access.ends_at.saturating_mul(1000));
        let done = match kind {
            "session" => self.execute(&command, |given| plans::end_session(given, tenant, subject)).await,
            "api_key" => return Err(Refusal::InvalidState("an API key is not revoked here: delete, block or rotate it".into()).into()),
            _ => {
                let revoke = |given: &Given<'_>| plans::on_secret(given, tenant, subject, issued::Command::RevokeToken { token: access.token, expires_at });
                self.execute(&command, revoke).await
            }
        };
        match done {
            Ok(_) | Err(VaultError::Refused(Refusal::NotFound)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Which key of the tenant is presented, and why it opens nothing if it does not. An unknown one takes as long as a known one.
    pub fn verify_key(&self, views: &Views, tenant: TenantId, presented: &str) -> (Option<(StreamId, SecretId)>, Result<(), Unusable>) {
        let now = self.time(views);
        let Ok(token) = Token::parse(presented) else { return (None, Err(Unusable::Unknown)) };
        let found = self.recognise(views, &token, now);
        let of_tenant = found.filter(|(id, known)| known.kind == TokenType::Key && views.thing(*id).is_some_and(|entry| entry.tenant == tenant));
        let Some((id, _)) = of_tenant else { return (None, Err(Unusable::Unknown)) };
        self.usage.note(tenant, token.id, now);
        (Some((id, token.id)), usable(views, id, now).map(drop))
    }
}

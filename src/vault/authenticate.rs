//! Who presents a secret: our own tokens, found by their id in memory, and access tokens. Nothing here touches the disk.

use super::Vault;
use super::access::{Hold, Principal, Resource, authorize, holds};
use crate::credentials::issued::{Issued, Known, KnownToken, SecretId, Token, TokenType};
use crate::credentials::user::{self, User};
use crate::credentials::{AnyState, Bearer, Verifier, tenant};
use crate::kernel::{Moment, Permission, PermissionSet, Position, Refusal, StreamId, TenantId};
use crate::seal::{derive, jwt};
use crate::views::{Entry, Views};

/// How far ahead a token may have been made, in milliseconds. One that was made further ahead was made while the clock had leapt: it would live
/// until that time has come.
const AHEAD: i64 = 3_600_000;

/// Why a credential that exists opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is not known, or its secret is wrong, or was rotated away.
    Unknown,
    /// It is blocked.
    Blocked,
    /// It has ended by itself.
    Expired,
    /// Its user is gone, blocked, or signed out; or its tenant is suspended.
    OwnerRefused,
}

/// A credential that may be used.
pub(super) struct Usable<'a> {
    pub id: StreamId,
    pub entry: &'a Entry,
    pub bearer: Bearer<'a>,
    pub user: Option<&'a User>,
}

/// The id of the secret that is nobody's.
const NOBODY: SecretId = SecretId([0; 12]);

/// What is compared with a token that is not known: random bytes that no token hashes to.
pub(super) fn nobody(key: [u8; 16], hash: [u8; 32]) -> Issued {
    let token = KnownToken { id: NOBODY.to_string(), short: String::new(), verifier: Verifier::new(key, hash) };
    Issued::first(vec![token], Moment::from_millis(0))
}

impl Vault {
    /// The time for judging ends: the clock's, but never before what the log has seen, so that a clock that is put back opens nothing anew.
    #[must_use]
    pub fn time(&self, views: &Views) -> Moment {
        self.clock.now().max(views.recorded_at())
    }

    /// Passes only with the permission, and gives the rule; who lacks it is noted.
    pub fn may<'a>(&self, principal: &'a Principal, permission: Permission, resource: Resource<'_>) -> Result<&'a str, Refusal> {
        authorize(principal, permission, resource).inspect_err(|refusal| self.note_denied(principal, refusal))
    }

    /// Takes note of a denied request, if that is what a refusal is.
    pub fn note_denied(&self, principal: &Principal, refusal: &Refusal) {
        if let Refusal::Forbidden { permission } = refusal
            && let Some(permission) = Permission::named(permission)
        {
            self.attempts.denied(principal, permission, self.time(&self.views()));
        }
    }

    /// Who presents this token; an unknown, mistyped, wrong or expired one is refused alike, and takes as long.
    pub fn authenticate(&self, presented: &str) -> Result<Principal, Refusal> {
        let (principal, secret) = self.proven(presented)?;
        if let Some(secret) = secret {
            self.usage.note(principal.tenant, secret, self.time(&self.views()));
        }
        Ok(principal)
    }

    /// The same for a token that was presented before and whose request lasts: that is no further use of it.
    pub fn still(&self, presented: &str) -> Result<Principal, Refusal> {
        self.proven(presented).map(|(principal, _)| principal)
    }

    /// Who presents a token, and which secret it is, unless it is an access token.
    fn proven(&self, presented: &str) -> Result<(Principal, Option<SecretId>), Refusal> {
        let views = self.views();
        if presented.contains('.') {
            return Ok((self.by_access_token(&views, presented)?, None));
        }
        let token = Token::parse(presented).map_err(|_| Refusal::NotFound)?;
        let now = self.time(&views);
        let known = self.recognise(&views, &token, now);
        let (id, _) = known.filter(|_| matches!(token.kind, TokenType::Key | TokenType::Session)).ok_or(Refusal::NotFound)?;
        let usable = usable(&views, id, now).map_err(|_| Refusal::NotFound)?;
        Ok((principal(&views, &usable, None), Some(token.id)))
    }

    /// The thing and the secret that a token names, when its secret is the right one and works. A token of which nothing is known is compared
    /// all the same.
    pub(super) fn recognise<'a>(&self, views: &'a Views, token: &Token, now: Moment) -> Option<(StreamId, &'a Known)> {
        let hash = derive::token_verifier(&self.token_key.key, &token.id.to_string(), token.secret.expose());
        let named = views.token(token.id);
        // Of a token that is not known, the same way is gone, to a secret that is nobody's: time shall not tell the two apart.
        let stream = named.unwrap_or_default();
        let bearer = views.thing(stream).and_then(|entry| entry.state.bearer());
        let nobodys = || self.nobody.secret(NOBODY, now);
        let (known, nobody) = bearer.map_or_else(|| (None, nobodys()), |bearer| (bearer.issued.secret(token.id, now), None));
        let verifier = known.or(nobody).or_else(nobodys).map(|compared| &compared.verifier)?;
        let right = verifier.matches(&hash) && verifier.key() == self.token_key.id;
        let found = named.zip(known);
        found.filter(|(_, known)| right && known.kind == token.kind)
    }

    /// The tenant's thing whose secret this token is, if it works at a time. That is no use of it.
    #[must_use]
    pub fn holder(&self, views: &Views, tenant: TenantId, presented: &str, now: Moment) -> Option<StreamId> {
        let (id, _) = self.recognise(views, &Token::parse(presented).ok()?, now)?;
        views.thing(id).filter(|entry| entry.tenant == tenant).map(|_| id)
    }

    fn by_access_token(&self, views: &Views, presented: &str) -> Result<Principal, Refusal> {
        let claims = self.open_access_token(views, presented, jwt::Use::Access)?;
        let usable = usable(views, claims.subject, self.time(views)).map_err(|_| Refusal::NotFound)?;
        Ok(principal(views, &usable, claims.scope))
    }

    /// What an access or refresh token says, when it is ours, has not ended, and the secret that it was given for still works.
    pub(super) fn open_access_token(&self, views: &Views, presented: &str, purpose: jwt::Use) -> Result<Access, Refusal> {
        let claims: jwt::Claims = jwt::open(self.jwt_key.id, &self.jwt_key.key, presented).map_err(|_| Refusal::NotFound)?;
        let now = self.time(views);
        let subject: StreamId = claims.sub.parse().map_err(|_| Refusal::NotFound)?;
        let (secret, token) = (claims.sid.parse().map_err(|_| Refusal::NotFound)?, claims.jti.parse().map_err(|_| Refusal::NotFound)?);
        let entry = views.thing(subject).ok_or(Refusal::NotFound)?;
        let bearer = entry.state.bearer().ok_or(Refusal::NotFound)?;
        let stands = bearer.issued.secret(secret, now).is_some() && bearer.issued.accepts(token, Position(claims.pos));
        let ours = claims.iss == self.keyring.vault().to_string() && claims.purpose == purpose;
        let (begun, over) = (claims.iat.saturating_mul(1000) <= now.millis().saturating_add(AHEAD), claims.exp.saturating_mul(1000) <= now.millis());
        if !ours || !stands || !begun || over {
            return Err(Refusal::NotFound);
        }
        let scope = claims.scope.as_deref().map(|scope| {
            let named: Vec<Permission> = scope.split(' ').filter_map(Permission::named).collect();
            PermissionSet::of(&named)
        });
        let (position, made_at, ends_at) = (Position(claims.pos), claims.iat, claims.exp);
        Ok(Access { subject, secret, token, scope, scope_text: claims.scope, position, made_at, ends_at, tenant: entry.tenant })
    }
}

/// An access or refresh token that stands.
#[derive(Clone, Debug)]
pub struct Access {
    /// The thing that it was given to.
    pub subject: StreamId,
    /// The secret that it was given for.
    pub secret: SecretId,
    /// Names this one token.
    pub token: SecretId,
    /// Permissions that it is narrowed to.
    pub scope: Option<PermissionSet>,
    /// The same, as text.
    pub scope_text: Option<String>,
    /// Where the log stood when it was made.
    pub position: Position,
    /// When it was made, in seconds since 1970.
    pub made_at: i64,
    /// When it ends, in seconds since 1970.
    pub ends_at: i64,
    /// Whose thing it was given to.
    pub tenant: TenantId,
}

/// A credential, unless something keeps it from being used.
pub(super) fn usable(views: &Views, id: StreamId, now: Moment) -> Result<Usable<'_>, Unusable> {
    let entry = views.thing(id).ok_or(Unusable::Unknown)?;
    let bearer = entry.state.bearer().ok_or(Unusable::Unknown)?;
    if bearer.blocked {
        return Err(Unusable::Blocked);
    }
    if bearer.expires_at.is_some_and(|end| end <= now) {
        return Err(Unusable::Expired);
    }
    if is_suspended(views, entry.tenant) {
        return Err(Unusable::OwnerRefused);
    }
    let user = match bearer.user {
        None => None,
        Some(user) => Some(live_user(views, user, bearer.began).ok_or(Unusable::OwnerRefused)?),
    };
    Ok(Usable { id, entry, bearer, user })
}

/// Whether a credential opens anything at a time.
#[must_use]
pub fn is_usable(views: &Views, id: StreamId, now: Moment) -> bool {
    usable(views, id, now).is_ok()
}

/// Whether all principals of a tenant are refused.
#[must_use]
pub fn is_suspended(views: &Views, owner: TenantId) -> bool {
    let state = views.tenant_stream(owner).and_then(|id| views.thing(id)).map(|entry| &entry.state);
    matches!(
        state,
        Some(AnyState::Tenant(tenant::State::Live { suspended_at: Some(_), .. } | tenant::State::Live { shred: Some(_), .. } | tenant::State::Shredded { .. }))
    )
}

/// A user that may act; a session that began before its last sign-out has none.
fn live_user(views: &Views, id: StreamId, began: Option<Position>) -> Option<&User> {
    let AnyState::User(user::State::Live(user)) = &views.thing(id)?.state else { return None };
    (!user.blocked && began.is_none_or(|began| began > user.signed_out)).then_some(user)
}

/// The principal that a usable credential proves, narrowed to a scope if it has one.
pub(super) fn principal(views: &Views, usable: &Usable<'_>, scope: Option<PermissionSet>) -> Principal {
    let tenant = usable.entry.tenant;
    let mut all = usable.user.map_or_else(Vec::new, |user| holds(views, tenant, &user.profile.roles, None));
    all.extend(holds(views, tenant, usable.bearer.roles, usable.bearer.permits));
    if let Some(scope) = scope {
        all = all.into_iter().map(|hold| Hold { permissions: hold.permissions.within(scope), ..hold }).collect();
    }
    Principal {
        id: usable.id,
        user: usable.bearer.user,
        tenant,
        is_home: views.tenant("default") == Some(tenant),
        holds: all,
        app_ids: usable.bearer.app_ids.to_vec(),
    }
}

//! Secrets that this vault issues, whatever kind of thing bears them: recognised by verifiers, rotated with an overlap, and ended at once.

mod token;

pub use token::{SecretId, Token, TokenError, TokenType, short};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Subject, Verifier};
use crate::kernel::{Header, Moment, Plan, Position, Refusal, Secret, Write};

/// The longest overlap of a rotation, in seconds: 30 days.
pub const MAX_GRACE: u64 = 30 * 24 * 3600;
/// The most earlier secrets that may work beside the present one.
pub const MAX_IN_GRACE: usize = 3;
/// The most former secrets whose last use is still asked for.
const MAX_FORMER: usize = 8;
/// The most access tokens of one thing that are revoked one by one; the next revocation ends all that were issued before it.
pub const MAX_REVOKED: usize = 1024;

/// How a token is recognised, as events tell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownToken {
    /// The id within the token: names this one secret.
    pub id: String,
    /// What is shown of it.
    pub short: String,
    /// What a presented secret is compared with.
    #[serde(with = "Verifier")]
    pub verifier: Verifier,
}

impl KnownToken {
    /// Of a token, under a verifier of it.
    #[must_use]
    pub fn of(token: &Token, verifier: Verifier) -> Self {
        Self { id: token.id.to_string(), short: token.short(), verifier }
    }
}

/// How a token is recognised, as states keep it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Which door it opens.
    pub kind: TokenType,
    /// The id within the token.
    pub id: SecretId,
    /// What a presented secret is compared with.
    #[serde(with = "Verifier")]
    pub verifier: Verifier,
}

impl From<KnownToken> for Known {
    fn from(token: KnownToken) -> Self {
        let word = token.short.split('_').next().unwrap_or_default();
        let kind = TokenType::ALL.into_iter().find(|kind| kind.word() == word).unwrap_or(TokenType::Key);
        Self { kind, id: token.id.parse().unwrap_or_default(), verifier: token.verifier }
    }
}

/// Secrets that came together, by creation or by one rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// One, or a pair for kinds that have two.
    pub secrets: Box<[Known]>,
    /// Since when they work.
    pub since: Moment,
    /// When they stop; `None` for the present ones.
    pub ends_at: Option<Moment>,
}

/// The secrets of one thing, and the access tokens of theirs that were revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// The present ones.
    pub current: Generation,
    /// What most things do not have.
    more: Option<Box<More>>,
}

/// What there is beside the present secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct More {
    /// Earlier ones with an overlap, latest first; some may have ended by now.
    earlier: Vec<Generation>,
    /// Those that were used before, latest first: whoever asks for the last use of the thing asks for theirs as well.
    former: Vec<SecretId>,
    /// Access tokens that were revoked, and when they would have ended.
    revoked: BTreeMap<SecretId, Moment>,
    /// Access tokens made at an earlier position are no longer accepted.
    not_before: Position,
}

/// What is asked of a thing's secrets.
pub enum Command {
    /// New secrets; the present ones work for so many seconds on.
    Rotate {
        /// How the new ones are recognised.
        tokens: Vec<KnownToken>,
        /// Values to seal, by the name of their box.
        sealing: super::Sealing,
        /// The overlap; 0 ends every earlier secret at once.
        grace_seconds: u64,
    },
    /// Earlier secrets stop now.
    FinishRotation,
    /// The latest earlier secret is the present one again; the newer one stops now.
    TakeBackRotation,
    /// One access token is no longer accepted.
    RevokeToken {
        /// Which.
        token: SecretId,
        /// When it ends by itself.
        expires_at: Moment,
    },
    /// No access token made until now is accepted any longer.
    RevokeTokens,
}

/// What happened to a thing's secrets.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// New secrets.
    Rotated {
        /// How they are recognised.
        tokens: Vec<KnownToken>,
        /// When the ones before them stop; `None`: at once, and all earlier ones with them.
        grace_until: Option<Moment>,
    },
    /// Earlier secrets stopped.
    RotationFinished,
    /// The latest earlier secret is the present one again.
    RotationTakenBack,
    /// One access token is no longer accepted.
    TokenRevoked {
        /// Which.
        token: SecretId,
        /// When it ends by itself.
        expires_at: Moment,
    },
    /// No access token made until then is accepted any longer.
    TokensRevoked,
}

impl Event {
    /// Its stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Rotated { .. } => "rotated",
            Self::RotationFinished => "rotation_finished",
            Self::RotationTakenBack => "rotation_taken_back",
            Self::TokenRevoked { .. } => "token_revoked",
            Self::TokensRevoked => "tokens_revoked",
        }
    }
}

impl Issued {
    /// The first secrets of a thing.
    #[must_use]
    pub fn first(tokens: Vec<KnownToken>, at: Moment) -> Self {
        Self { current: generation(tokens, at), more: None }
    }

    /// Takes over what only goes forward: which secrets there were, and which access tokens are no longer accepted.
    pub(super) fn go_on_from(&mut self, now: &Self) {
        let mut more = now.more.as_deref().cloned().unwrap_or_default();
        more.earlier = self.earlier().to_vec();
        self.more = (more != More::default()).then(|| more.into());
    }

    /// All secrets that work at a time, latest first, and when they stop.
    pub fn working(&self, now: Moment) -> impl Iterator<Item = (&Known, &Generation)> {
        let earlier = self.earlier().iter().filter(move |generation| generation.ends_at.is_some_and(|end| end > now));
        std::iter::once(&self.current).chain(earlier).flat_map(|generation| generation.secrets.iter().map(move |secret| (secret, generation)))
    }

    /// A secret that works at a time.
    #[must_use]
    pub fn secret(&self, id: SecretId, now: Moment) -> Option<&Known> {
        self.working(now).map(|(secret, _)| secret).find(|secret| secret.id == id)
    }

    /// The generation that a kept secret came with.
    #[must_use]
    pub fn generation(&self, id: SecretId) -> Option<&Generation> {
        std::iter::once(&self.current).chain(self.earlier()).find(|generation| generation.secrets.iter().any(|secret| secret.id == id))
    }

    /// All secrets that are kept, whether they still work or not.
    pub fn all(&self) -> impl Iterator<Item = &Known> {
        std::iter::once(&self.current).chain(self.earlier()).flat_map(|generation| generation.secrets.iter())
    }

    /// Whether an access token is accepted that was made when the log stood at a position, by a secret that works.
    #[must_use]
    pub fn accepts(&self, token: SecretId, made_at: Position) -> bool {
        self.more.as_ref().is_none_or(|more| !more.revoked.contains_key(&token) && made_at >= more.not_before)
    }

    /// Whether this very token was revoked.
    #[must_use]
    pub fn is_revoked(&self, token: SecretId) -> bool {
        self.more.as_ref().is_some_and(|more| more.revoked.contains_key(&token))
    }

    /// Earlier secrets with an overlap, latest first; some may have ended by now.
    #[must_use]
    pub fn earlier(&self) -> &[Generation] {
        self.more.as_ref().map_or(&[], |more| &more.earlier)
    }

    /// The ids of all its secrets, latest first, those included that work no more: for its last use.
    pub fn ever(&self) -> impl Iterator<Item = SecretId> {
        let former = self.more.as_ref().map_or(&[][..], |more| &more.former);
        self.all().map(|known| known.id).chain(former.iter().copied())
    }
}

fn generation(tokens: Vec<KnownToken>, since: Moment) -> Generation {
    Generation { secrets: tokens.into_iter().map(Known::from).collect(), since, ends_at: None }
}

/// The rules. `ends_at` is when the thing itself ends.
pub fn decide(subject: Subject, issued: &Issued, now: Moment, ends_at: Option<Moment>, command: Command) -> Result<Plan<Event>, Refusal> {
    let working = || issued.earlier().iter().filter(|generation| generation.ends_at.is_some_and(|end| end > now));
    let change = |event| Write::change(subject.stream, subject.version, event);
    match command {
        Command::Rotate { grace_seconds, .. } if grace_seconds > MAX_GRACE => Err(Refusal::invalid("grace_seconds", format!("takes 0 to {MAX_GRACE}"))),
        Command::Rotate { grace_seconds, .. } if grace_seconds > 0 && working().count() >= MAX_IN_GRACE => {
            Err(Refusal::Limit { what: "earlier secrets that still work (finish a rotation first)", limit: MAX_IN_GRACE as u64 })
        }
        Command::Rotate { tokens, sealing, grace_seconds } => {
            let until = now.plus_seconds(i64::try_from(grace_seconds).unwrap_or(i64::MAX));
            let grace_until = (grace_seconds > 0).then(|| ends_at.map_or(until, |end| end.min(until)));
            let mut write = change(Event::Rotated { tokens, grace_until });
            write.secrets = sealing;
            Ok(Plan::of(write))
        }
        Command::FinishRotation | Command::TakeBackRotation if working().next().is_none() => {
            Err(Refusal::InvalidState("no earlier secret works any more".into()))
        }
        Command::FinishRotation => Ok(Plan::of(change(Event::RotationFinished))),
        Command::TakeBackRotation => Ok(Plan::of(change(Event::RotationTakenBack))),
        Command::RevokeToken { token, .. } if issued.is_revoked(token) => Ok(Plan::nothing()),
        Command::RevokeToken { token, expires_at } => {
            let standing = issued.more.as_ref().map_or(0, |more| more.revoked.values().filter(|end| **end > now).count());
            let event = if standing < MAX_REVOKED { Event::TokenRevoked { token, expires_at } } else { Event::TokensRevoked };
            Ok(Plan::of(change(event)))
        }
        Command::RevokeTokens => Ok(Plan::of(change(Event::TokensRevoked))),
    }
}

/// The secrets after the event.
#[must_use]
pub fn evolve(mut issued: Issued, header: &Header, event: Event) -> Issued {
    let now = header.recorded_at;
    let mut more = issued.more.take().unwrap_or_default();
    let works = |generation: &Generation| generation.ends_at.is_some_and(|end| end > now);
    match event {
        Event::Rotated { tokens, grace_until } => {
            let mut before = std::mem::replace(&mut issued.current, generation(tokens, now));
            more.former.splice(0..0, before.secrets.iter().map(|secret| secret.id));
            more.former.truncate(MAX_FORMER);
            more.earlier.retain(works);
            if grace_until.is_some() {
                before.ends_at = grace_until;
                more.earlier.insert(0, before);
            } else {
                more.earlier.clear();
            }
        }
        Event::RotationFinished => more.earlier.clear(),
        Event::RotationTakenBack => {
            more.earlier.retain(works);
            if !more.earlier.is_empty() {
                issued.current = Generation { ends_at: None, ..more.earlier.remove(0) };
            }
        }
        Event::TokenRevoked { token, expires_at } => {
            more.revoked.retain(|_, end| *end > now);
            more.revoked.insert(token, expires_at);
        }
        Event::TokensRevoked => {
            more.revoked.clear();
            more.not_before = header.position;
        }
    }
    issued.more = (*more != More::default()).then_some(more);
    issued
}

/// Draws a token of a type and gives it with what it is recognised by.
pub fn draw(kind: TokenType, random: &dyn crate::kernel::Random, verify: impl Fn(&Token) -> Verifier) -> (Secret, KnownToken) {
    let token = Token::random(kind, random);
    let known = KnownToken::of(&token, verify(&token));
    (token.text(), known)
}

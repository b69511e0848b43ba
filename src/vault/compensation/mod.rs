//! Putting things back: an undo takes one step back, a recovery returns to a moment. Both come down to the same list of things, each with where it
//! is to stand; the list is shown first, and applied only if it is still the same.

mod apply;
mod check;
mod recovery;
mod resume;
mod settle;
mod target;
mod undo;

pub use apply::{Applied, Running};
pub use check::Problem;
pub(super) use recovery::moved;
pub use recovery::{Moments, Unfinished};

use serde_json::Value;

use super::VaultError;
use super::access::Principal;
use crate::credentials::content::{Difference, Field, differences};
use crate::credentials::recovery::Selection;
use crate::credentials::{AnyState, Kind};
use crate::kernel::{Permission, Position, Refusal, StreamId, TenantId, Version};
use crate::seal::{Key, derive};

/// The most things of one plan: each is looked at, and kept in memory, while it is planned.
pub const MAX_STEPS: usize = 1_000_000;

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// What an event did is taken back, or what its whole group did.
    Undo {
        /// The event.
        position: Position,
        /// Only what this one did, and not those that were appended with it.
        alone: bool,
    },
    /// Things stand again as they stood at a position.
    Recover {
        /// Through this position, rounded down to a whole group.
        to: Position,
        /// Which things.
        selection: Selection,
    },
}

/// What is to become of one thing.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// It stands again as it stood.
    Revert {
        /// Where.
        to: Box<AnyState>,
        /// Whether a connection's tokens are taken from there too.
        tokens: bool,
    },
    /// It goes.
    Delete,
    /// Nothing can be done, or nothing has to.
    Nothing,
}

/// One thing of a plan.
#[derive(Clone, Debug)]
pub struct Step {
    /// The thing.
    pub stream: StreamId,
    /// Its owner.
    pub tenant: TenantId,
    /// Its kind.
    pub kind: Kind,
    /// The content version that this was decided on.
    pub version: Version,
    /// What is done.
    pub(super) action: Action,
    /// Where it stands now and is to stand, field by field.
    pub changes: Vec<Difference>,
    /// Fields that changed again since the step that is taken back: they stay.
    pub changed_since: Vec<Field>,
    /// Secrets that would work again although they were ended on purpose: the thing's boxes, or the ids of issued ones.
    pub revives: Vec<String>,
    /// Secrets that do not come back, because they were shredded.
    pub gone: Vec<String>,
    /// Its turn among those that take names from each other.
    turn: usize,
    /// Why nothing is done.
    pub problem: Option<Problem>,
}

impl Step {
    /// `revert`, `delete` or `nothing`.
    #[must_use]
    pub const fn does(&self) -> &'static str {
        match self.action {
            Action::Revert { .. } => "revert",
            Action::Delete => "delete",
            Action::Nothing => "nothing",
        }
    }

    /// Whether it writes anything.
    #[must_use]
    pub const fn acts(&self) -> bool {
        !matches!(self.action, Action::Nothing)
    }

    /// Does nothing, for a reason.
    fn stop(&mut self, problem: Problem) {
        self.action = Action::Nothing;
        self.problem = Some(problem);
    }

    fn says(&self) -> Value {
        let told = |difference: &Difference| serde_json::json!([difference.field.to_string(), difference.from, difference.to]);
        let changes: Vec<Value> = self.changes.iter().filter(|difference| !difference.forward).map(told).collect();
        serde_json::json!([self.stream, self.version, self.does(), changes])
    }
}

/// What would be done.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What was asked for; a recovery with the position that it came down to.
    pub wish: Wish,
    /// Whether secrets that were ended on purpose may work again.
    pub revive: bool,
    /// The position that it was planned at.
    pub at: Position,
    /// Things that something is done to, or cannot be done to, in the order in which it is done.
    pub steps: Vec<Step>,
    /// Names exactly this plan: another one is needed when any of its things has moved.
    pub id: String,
}

impl Planned {
    fn new(wish: Wish, revive: bool, at: Position, steps: Vec<Step>, key: &Key) -> Result<Self, VaultError> {
        let says: Vec<Value> = steps.iter().map(Step::says).collect();
        let target = match &wish {
            Wish::Undo { position, alone } => serde_json::json!(["undo", position, alone]),
            Wish::Recover { to, selection } => serde_json::json!(["recover", to, selection]),
        };
        let text = serde_json::to_vec(&serde_json::json!([target, revive, says])).map_err(|_| crate::credentials::FactsError::Shape)?;
        let id = base16ct::lower::encode_string(&derive::plan(key, &text));
        Ok(Self { wish, revive, at, steps, id })
    }

    /// Things that something is done to.
    pub fn acting(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.acts())
    }
}

/// The permission to write a kind's things.
#[must_use]
pub(super) const fn write_permission(kind: Kind) -> Permission {
    match kind {
        Kind::Tenant => Permission::TenantsWrite,
        Kind::User | Kind::Session => Permission::UsersWrite,
        Kind::ApiKey => Permission::ApiKeysWrite,
        Kind::Connector => Permission::ConnectorsWrite,
        Kind::Consumer => Permission::ConsumersWrite,
        Kind::Connection => Permission::ConnectionsWrite,
        Kind::Role => Permission::RolesWrite,
        Kind::Organization => Permission::OrganizationsWrite,
        Kind::Application => Permission::ApplicationsWrite,
        Kind::ProviderKey => Permission::ProviderKeysWrite,
        Kind::ApiClient => Permission::ApiClientsWrite,
        Kind::UserApplication => Permission::UserApplicationsAdmin,
        Kind::Webhook => Permission::WebhooksWrite,
        Kind::Integration => Permission::IntegrationsWrite,
        Kind::Vault | Kind::Usage | Kind::Attempts | Kind::Recovery => Permission::VaultOperate,
    }
}

/// A thing that something is to be done to.
fn step(stream: StreamId, entry: &crate::views::Entry, kind: Kind, action: Action) -> Result<Step, VaultError> {
    let changes = match &action {
        Action::Revert { to, .. } => differences(&entry.state, to)?,
        Action::Delete => differences(&entry.state, &AnyState::Absent)?,
        Action::Nothing => Vec::new(),
    };
    Ok(Step {
        stream,
        tenant: entry.tenant,
        kind,
        version: entry.content_version,
        action,
        changes,
        changed_since: Vec::new(),
        revives: Vec::new(),
        gone: Vec::new(),
        turn: 0,
        problem: None,
    })
}

/// A thing of which nothing is left, and to which nothing is done; `None` for any other.
fn shredded(stream: StreamId, entry: &crate::views::Entry) -> Result<Option<Step>, VaultError> {
    let AnyState::Shredded(name) = &entry.state else { return Ok(None) };
    let Some(kind) = Kind::named(name) else { return Ok(None) };
    let mut step = step(stream, entry, kind, Action::Nothing)?;
    step.stop(Problem::Shredded);
    Ok(Some(step))
}

/// Puts back what is of any application: whose token may name only some puts back nothing, and sees no plan.
pub fn of_all_applications(by: &Principal) -> Result<(), Refusal> {
    if by.app_ids.is_empty() { Ok(()) } else { Err(Refusal::Forbidden { permission: "a token for all applications" }) }
}

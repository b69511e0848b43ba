//! Where one thing is to stand.

use super::Action;
use super::check::Problem;
use crate::credentials::content::{Field, differences, other_tokens, same, step_back};
use crate::credentials::reverted::{carry, only_goes_forward};
use crate::credentials::{AnyState, FactsError, connection};

/// What is to become of a thing, and what stands in the way.
pub(super) struct Target {
    pub action: Action,
    pub changed_since: Vec<Field>,
    pub problem: Option<Problem>,
}

impl Target {
    const fn nothing(problem: Option<Problem>) -> Self {
        Self { action: Action::Nothing, changed_since: Vec::new(), problem }
    }

    fn revert(to: AnyState, tokens: bool) -> Self {
        Self { action: Action::Revert { to: Box::new(to), tokens }, changed_since: Vec::new(), problem: None }
    }
}

/// What takes a step back that led from `before` to `after`. `tokens` says that it put other tokens into a connection than an exchange would.
pub(super) fn undone(before: &AnyState, after: &AnyState, now: &AnyState, tokens: bool) -> Result<Target, FactsError> {
    let tokens = tokens && other_tokens(before, after)?;
    let only_forward = only_goes_forward(now) || (before.is_live() == after.is_live() && same(before, after)? && !tokens);
    if only_forward {
        return Ok(Target::nothing(Some(Problem::OnlyForward)));
    }
    match (before.is_live(), after.is_live(), now.is_live()) {
        (false, true, true) => Ok(Target { changed_since: since(after, now)?, ..removed(now) }),
        (true, false, false) => Ok(Target::revert(revived(now, before), false)),
        // It is so already: somebody else took it back.
        (false, true, false) | (true, false, true) | (false, false, _) => Ok(Target::nothing(Some(Problem::AlreadySo))),
        (true, true, false) => Ok(Target::nothing(Some(Problem::Deleted))),
        (true, true, true) => {
            let merged = step_back(before, after, now, tokens)?;
            let differs = !differences(now, &merged.to)?.is_empty();
            let problem = (!differs).then_some(if merged.changed_since.is_empty() { Problem::AlreadySo } else { Problem::ChangedSince });
            let target = if differs { Target::revert(merged.to, tokens) } else { Target::nothing(problem) };
            Ok(Target { changed_since: merged.changed_since, ..target })
        }
    }
}

/// What puts a thing back to where it stood. `alive` is how it stood last, where it was deleted since.
pub(super) fn recovered(then: &AnyState, now: &AnyState, alive: Option<&AnyState>) -> Result<Option<Target>, FactsError> {
    if only_goes_forward(now) || same(then, now)? {
        return Ok(None);
    }
    Ok(Some(match (then.is_live(), now.is_live()) {
        (false, true) => removed(now),
        (true, false) => Target::revert(revived(now, &carry(alive.unwrap_or(now), then.clone(), false)), false),
        _ => Target::revert(carry(now, then.clone(), false), false),
    }))
}

/// Most things go by their own delete. A connector stands as if it had never been put.
fn removed(now: &AnyState) -> Target {
    match now {
        AnyState::Connector(_) => Target::revert(AnyState::Connector(crate::credentials::connector::State::Absent), false),
        AnyState::Tenant(_) => Target::nothing(Some(Problem::StaysForEver)),
        _ => Target { action: Action::Delete, changed_since: Vec::new(), problem: None },
    }
}

/// A thing that was deleted, as it comes back: what was under way then is not under way now.
fn revived(now: &AnyState, last: &AnyState) -> AnyState {
    let mut to = carry(now, last.clone(), true);
    if let AnyState::Connection(connection::State::Live(live)) = &mut to {
        live.flight = None;
        if let Some(extra) = &mut live.extra {
            extra.pending.clear();
            extra.unconfirmed = None;
        }
    }
    to
}

fn since(after: &AnyState, now: &AnyState) -> Result<Vec<Field>, FactsError> {
    Ok(differences(after, now)?.into_iter().filter(|difference| !difference.forward).map(|difference| difference.field).collect())
}

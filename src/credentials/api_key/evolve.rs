//! The fold of API keys.

use super::{ApiKey, Changes, Event, Grant, More, State};
use crate::credentials::issued::{self, Issued, KnownToken};
use crate::kernel::{Header, Permits};

/// The state after the event.
#[must_use]
pub fn evolve(state: State, header: &Header, event: Event) -> State {
    match (event, state) {
        (Event::Created { grant, token }, _) => State::Live(Box::new(made(grant, token, header))),
        (Event::Updated(changes), State::Live(mut live)) => {
            change(&mut live, changes);
            live.updated_at = Some(header.recorded_at);
            State::Live(live)
        }
        (Event::Secret(event), State::Live(live)) => {
            let (live, updated_at) = (*live, Some(header.recorded_at));
            State::Live(Box::new(ApiKey { issued: issued::evolve(live.issued, header, event), updated_at, ..live }))
        }
        (Event::Deleted, State::Live(last)) => State::Deleted { at: header.recorded_at, last },
        (_, state) => state,
    }
}

fn made(grant: Grant, token: KnownToken, header: &Header) -> ApiKey {
    ApiKey {
        name: grant.name.into(),
        owner: grant.owner,
        permits: Permits::read(&grant.permissions),
        more: kept(More {
            emails: grant.emails,
            organizations: grant.organizations,
            labels: grant.labels,
            dns_name: grant.dns_name,
            app_ids: grant.app_ids,
        }),
        expires_at: grant.expires_at,
        blocked: false,
        issued: Issued::first(vec![token], header.recorded_at),
        number: header.position,
        created_at: header.recorded_at,
        updated_at: None,
    }
}

fn kept(more: More) -> Option<Box<More>> {
    (more != More::default()).then(|| more.into())
}

fn change(live: &mut ApiKey, changes: Changes) {
    fn set<T, U: From<T>>(place: &mut U, part: Option<T>) {
        if let Some(part) = part {
            *place = part.into();
        }
    }
    set(&mut live.name, changes.name);
    set(&mut live.blocked, changes.blocked);
    set(&mut live.permits, changes.permissions.as_deref().map(Permits::read));
    let mut more = *live.more.take().unwrap_or_default();
    set(&mut more.emails, changes.emails);
    set(&mut more.organizations, changes.organizations);
    set(&mut more.labels, changes.labels);
    set(&mut more.app_ids, changes.app_ids);
    set(&mut more.dns_name, changes.dns_name.map(|dns| dns.to));
    live.more = kept(more);
    set(&mut live.expires_at, changes.expires_at.map(|end| end.to));
}

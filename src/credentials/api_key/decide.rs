//! The rules of API keys.

use super::{Changes, Event, Grant, State, dns_claim};
use crate::credentials::issued::{self, KnownToken};
use crate::credentials::{Sealing, Subject, To};
use crate::kernel::{Moment, Permits, Plan, Refusal, Write, name};

/// The most items of each list of a key.
pub const MAX_LIST: usize = 64;
/// The longest label, SFTP user name or application id, in bytes.
const MAX_ITEM: usize = 255;

/// What is asked.
pub enum Command {
    /// Make it. `sealing` is what a repeat of the command is answered with.
    Create {
        /// What it is for and what it may do.
        grant: Grant,
        /// How it is recognised.
        token: KnownToken,
        /// What a repeat of the command is answered with.
        sealing: Sealing,
    },
    /// Change parts of it.
    Update(Changes),
    /// Change its secret.
    Secret(issued::Command),
    /// Remove it.
    Delete,
}

/// The permission that needs an SFTP user name.
const FTP: &str = "accessFtp";

/// Decides a command on a key.
pub fn decide(subject: Subject, state: &State, now: Moment, command: Command) -> Result<Plan<Event>, Refusal> {
    let change = |event| Write::change(subject.stream, subject.version, event);
    match (state, command) {
        (State::Absent, Command::Create { mut grant, token, sealing }) => {
            check(&mut Changes::from(&grant))?;
            grant.name = name::name("name", &grant.name)?;
            ftp_has_a_name(&Permits::read(&grant.permissions), grant.dns_name.as_deref())?;
            if grant.expires_at.is_some_and(|end| end <= now) {
                return Err(Refusal::invalid("expires_at", "lies in the past"));
            }
            let claim = grant.dns_name.as_deref().map(dns_claim);
            let mut write = change(Event::Created { grant, token });
            (write.secrets, write.takes) = (sealing, claim.into_iter().collect());
            Ok(Plan::of(write))
        }
        (State::Live(_) | State::Deleted { .. }, Command::Create { .. }) => Err(Refusal::AlreadyExists),
        (State::Live(live), Command::Update(mut changes)) => {
            check(&mut changes)?;
            drop_unchanged(live, &mut changes);
            if changes == Changes::default() {
                return Ok(Plan::nothing());
            }
            if changes.permissions.is_some() || changes.dns_name.is_some() {
                let permits = changes.permissions.as_deref().map_or_else(|| live.permits.clone(), Permits::read);
                ftp_has_a_name(&permits, changes.dns_name.as_ref().map_or(live.more().dns_name.as_deref(), |dns| dns.to.as_deref()))?;
            }
            let renamed = changes.dns_name.as_ref().map(|dns| dns.to.as_deref().map(dns_claim));
            let mut write = change(Event::Updated(changes));
            if let Some(takes) = renamed {
                (write.frees, write.takes) = (live.more().dns_name.as_deref().map(dns_claim).into_iter().collect(), takes.into_iter().collect());
            }
            Ok(Plan::of(write))
        }
        (State::Live(live), Command::Secret(command)) => Ok(issued::decide(subject, &live.issued, now, live.expires_at, command)?.map(Event::Secret)),
        (State::Live(live), Command::Delete) => {
            let mut write = change(Event::Deleted);
            write.frees = live.more().dns_name.as_deref().map(dns_claim).into_iter().collect();
            Ok(Plan::of(write))
        }
        (State::Absent | State::Deleted { .. }, _) => Err(Refusal::NotFound),
    }
}

impl From<&Grant> for Changes {
    fn from(grant: &Grant) -> Self {
        Self {
            name: Some(grant.name.clone()),
            permissions: Some(grant.permissions.clone()),
            emails: Some(grant.emails.clone()),
            labels: Some(grant.labels.clone()),
            dns_name: grant.dns_name.clone().map(|dns| To { to: Some(dns) }),
            app_ids: Some(grant.app_ids.clone()),
            organizations: Some(grant.organizations.clone()),
            ..Self::default()
        }
    }
}

/// Checks each part, and brings the name into its normal form.
fn check(changes: &mut Changes) -> Result<(), Refusal> {
    if let Some(given) = &changes.name {
        changes.name = Some(name::name("name", given)?);
    }
    if let Some(permissions) = &changes.permissions {
        Permits::parse("permissions", permissions)?;
    }
    let lists = [("emails", changes.emails.as_ref()), ("labels", changes.labels.as_ref()), ("app_ids", changes.app_ids.as_ref())];
    for (field, list) in lists.into_iter().filter_map(|(field, list)| Some((field, list?))) {
        short_enough(field, list.len())?;
        for (place, item) in list.iter().enumerate() {
            let at = format!("{field}[{place}]");
            if field == "emails" {
                name::email(&at, item)?;
            } else {
                plain(&at, item)?;
            }
        }
    }
    if let Some(organizations) = &changes.organizations {
        short_enough("organizations", organizations.len())?;
    }
    if let Some(dns) = changes.dns_name.as_ref().and_then(|dns| dns.to.as_ref()) {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if dns.is_empty() || dns.len() > MAX_ITEM || !dns.bytes().all(fits) {
            return Err(Refusal::invalid("dns_name", format!("takes 1 to {MAX_ITEM} of letters, digits and . _ -")));
        }
    }
    Ok(())
}

/// Whoever may use SFTP has a user name there.
fn ftp_has_a_name(permits: &Permits, dns_name: Option<&str>) -> Result<(), Refusal> {
    let lacks = dns_name.is_none() && permits.foreign.iter().any(|name| name == FTP);
    if lacks { Err(Refusal::invalid("dns_name", format!("is needed by the permission {FTP}"))) } else { Ok(()) }
}

fn short_enough(field: &str, count: usize) -> Result<(), Refusal> {
    if count > MAX_LIST { Err(Refusal::invalid(field, format!("takes at most {MAX_LIST} items"))) } else { Ok(()) }
}

fn plain(field: &str, text: &str) -> Result<(), Refusal> {
    if text.is_empty() || text.len() > MAX_ITEM || text.chars().any(char::is_control) {
        return Err(Refusal::invalid(field, format!("takes 1 to {MAX_ITEM} bytes without control characters")));
    }
    Ok(())
}

/// Leaves out what is so already: a command that changes nothing writes nothing.
fn drop_unchanged(live: &super::ApiKey, changes: &mut Changes) {
    let differs = |part: &Option<Vec<String>>, now: &[String]| part.as_deref().is_some_and(|part| part != now);
    changes.name.take_if(|name| **name == *live.name);
    changes.blocked.take_if(|blocked| *blocked == live.blocked);
    changes.permissions.take_if(|permissions| Permits::read(permissions) == live.permits);
    changes.organizations.take_if(|organizations| *organizations == live.more().organizations);
    changes.dns_name.take_if(|dns| dns.to.as_deref() == live.more().dns_name.as_deref());
    changes.expires_at.take_if(|end| end.to == live.expires_at);
    for (part, now) in [(&mut changes.emails, &live.more().emails), (&mut changes.labels, &live.more().labels), (&mut changes.app_ids, &live.more().app_ids)] {
        if !differs(part, now) {
            *part = None;
        }
    }
}

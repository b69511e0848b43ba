//! What a state says, field by field: for comparing, for undoing, and for showing. What only goes forward is told apart.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::reverted::carry;
use super::{AnyState, FactsError, api_key};

/// A field of a state: a member, and a part of it where its parts change one by one, such as `settings` and `base_url`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Field {
    /// The member.
    pub member: String,
    /// The part of it.
    pub part: Option<String>,
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.member)?;
        self.part.iter().try_for_each(|part| write!(f, ".{part}"))
    }
}

/// Members whose parts change one by one.
const IN_PARTS: [&str; 4] = ["settings", "sealed", "profile", "more"];
/// Says nothing that the event does not say.
const NOT_SAID: [&str; 2] = ["updated_at", "updated_by"];

/// Members of a kind that only go forward: no undo and no recovery touches them.
fn forward(state: &AnyState) -> &'static [&'static str] {
    match state {
        AnyState::User(_) => &["signed_out"],
        AnyState::Connection(_) => &["phase", "flight", "failure", "extra", "access", "refresh", "scope"],
        AnyState::Consumer(_) => &["connections"],
        AnyState::Webhook(_) => &["progress"],
        AnyState::Tenant(_) => &["shred"],
        _ => &[],
    }
}

/// A connection's tokens: they only go forward too, unless something other than an exchange replaced them.
const TOKENS: [&str; 3] = ["access", "refresh", "scope"];

/// One field that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Which.
    pub field: Field,
    /// What it was; `None`: it was not there.
    pub from: Option<Value>,
    /// What it is; `None`: it is not there.
    pub to: Option<Value>,
    /// Whether it only goes forward.
    pub forward: bool,
}

type Fields = BTreeMap<Field, Value>;

/// The members of a thing that is there.
fn members(state: &AnyState) -> Result<Map<String, Value>, FactsError> {
    if !state.is_live() {
        return Ok(Map::new());
    }
    let mut json = serde_json::to_value(state).map_err(|_| FactsError::Shape)?;
    let kind = json.as_object_mut().and_then(|kinds| kinds.values_mut().next());
    let live = match kind {
        Some(Value::Object(states)) => states.get_mut("Live").map(Value::take),
        _ => None,
    };
    match live {
        Some(Value::Object(mut members)) => {
            if matches!(state, AnyState::ApiKey(_)) && members.get("more").is_some_and(Value::is_null) {
                members.insert("more".into(), serde_json::to_value(api_key::More::default()).map_err(|_| FactsError::Shape)?);
            }
            Ok(members)
        }
        // Kinds that have one state only.
        _ => Ok(Map::new()),
    }
}

/// The fields of a thing that is there, but for when it changed; none of one that is not.
fn fields(state: &AnyState) -> Result<Fields, FactsError> {
    let mut fields = Fields::new();
    for (member, value) in members(state)? {
        if NOT_SAID.contains(&member.as_str()) {
            continue;
        }
        match value {
            Value::Object(parts) if IN_PARTS.contains(&member.as_str()) => {
                fields.extend(parts.into_iter().map(|(part, value)| (Field { member: member.clone(), part: Some(part) }, value)));
            }
            Value::Object(mut issued) if member == "issued" => {
                // Of what lies beside the present secrets only the overlap can be put back.
                let earlier =
                    issued.remove("more").and_then(|mut more| more.get_mut("earlier").map(Value::take)).filter(|earlier| *earlier != Value::Array(vec![]));
                issued.extend(earlier.map(|earlier| ("earlier".to_owned(), earlier)));
                fields.insert(Field { member, part: None }, Value::Object(issued));
            }
            Value::Null => {}
            value => drop(fields.insert(Field { member, part: None }, value)),
        }
    }
    Ok(fields)
}

fn is_forward(state: &AnyState, field: &Field, tokens: bool) -> bool {
    forward(state).contains(&field.member.as_str()) && !(tokens && TOKENS.contains(&field.member.as_str()))
}

/// The fields in which two states of one thing differ.
pub fn differences(from: &AnyState, to: &AnyState) -> Result<Vec<Difference>, FactsError> {
    let (before, mut after) = (fields(from)?, fields(to)?);
    let sort = if matches!(to, AnyState::Absent) { from } else { to };
    let mut all = Vec::new();
    for (field, from) in before {
        let to = after.remove(&field);
        if to.as_ref() != Some(&from) {
            all.push(Difference { forward: is_forward(sort, &field, false), field, from: Some(from), to });
        }
    }
    all.extend(after.into_iter().map(|(field, to)| Difference { forward: is_forward(sort, &field, false), field, from: None, to: Some(to) }));
    all.sort_by(|a, b| a.field.cmp(&b.field));
    Ok(all)
}

/// Whether two states of one thing say the same, but for what only goes forward.
pub fn same(one: &AnyState, other: &AnyState) -> Result<bool, FactsError> {
    Ok(one.is_live() == other.is_live() && differences(one, other)?.iter().all(|difference| difference.forward))
}

/// Whether two states of a connection hold other tokens.
pub fn other_tokens(one: &AnyState, other: &AnyState) -> Result<bool, FactsError> {
    Ok(differences(one, other)?.iter().any(|difference| TOKENS.contains(&difference.field.member.as_str())))
}

/// Members that hold secrets, or what a presented one is compared with.
const SECRETS: [&str; 6] = ["issued", "sealed", "secret", "former", "password", "mask"];

/// `to` with the secrets that the thing has now, tokens included. Both are of a thing that is there.
pub fn keeping_secrets(now: &AnyState, to: &AnyState) -> Result<AnyState, FactsError> {
    let (mut all, present) = (members(to)?, members(now)?);
    for member in SECRETS.into_iter().chain(if matches!(now, AnyState::Connection(_)) { &TOKENS[..] } else { &[] }.iter().copied()) {
        if let Some(value) = present.get(member) {
            all.insert(member.into(), value.clone());
        }
    }
    live(to, all)
}

/// What an undo of one step comes to.
#[derive(Debug, PartialEq)]
pub struct Merged {
    /// Where the thing is to stand.
    pub to: AnyState,
    /// Fields that the step changed and that changed again since: they stay as they are.
    pub changed_since: Vec<Field>,
}

/// Takes a step back, field by field, where the thing stands now: what the step changed is as before it, unless it changed again since. All three
/// states are of a thing that is there.
pub fn step_back(before: &AnyState, after: &AnyState, now: &AnyState, tokens: bool) -> Result<Merged, FactsError> {
    let back = carry(now, before.clone(), tokens);
    let (was, became, is) = (fields(before)?, fields(after)?, fields(now)?);
    let (mut to, source) = (members(now)?, members(&back)?);
    let mut changed_since = Vec::new();
    let all: std::collections::BTreeSet<&Field> = was.keys().chain(became.keys()).collect();
    for field in all {
        if was.get(field) == became.get(field) || is_forward(now, field, tokens) {
            continue;
        }
        if is.get(field) != became.get(field) {
            changed_since.push(field.clone());
            continue;
        }
        put(&mut to, &source, field);
    }
    Ok(Merged { to: live(now, to)?, changed_since })
}

/// Sets a field as it stands in another state.
fn put(to: &mut Map<String, Value>, source: &Map<String, Value>, field: &Field) {
    let Some(part) = &field.part else {
        to.insert(field.member.clone(), source.get(&field.member).cloned().unwrap_or(Value::Null));
        return;
    };
    let value = source.get(&field.member).and_then(|member| member.get(part)).cloned();
    if let Some(Value::Object(parts)) = to.get_mut(&field.member) {
        match value {
            Some(value) => drop(parts.insert(part.clone(), value)),
            None => drop(parts.remove(part)),
        }
    }
}

/// The state of a thing that is there, of the same kind as another, from its members.
fn live(like: &AnyState, members: Map<String, Value>) -> Result<AnyState, FactsError> {
    let mut json = serde_json::to_value(like).map_err(|_| FactsError::Shape)?;
    let kind = json.as_object_mut().and_then(|kinds| kinds.values_mut().next()).ok_or(FactsError::Shape)?;
    *kind = Value::Object([("Live".to_owned(), Value::Object(members))].into_iter().collect());
    let mut state: AnyState = serde_json::from_value(json).map_err(|_| FactsError::Shape)?;
    if let AnyState::ApiKey(api_key::State::Live(live)) = &mut state {
        live.tidy();
    }
    Ok(state)
}

//! Which keys a read asks for, and which of their members.

use super::caller::Caller;
use super::error::Problem;
use super::render::Lens;
use crate::credentials::api_key::ApiKey;
use crate::kernel::StreamId;

/// Members that are shown only when they are asked for.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each member that may be asked for")]
pub(super) struct Fields {
    /// The addresses, as `email`: the vendor's parameter says so.
    pub email: bool,
    /// The addresses, as `emails`: the vendor's bodies say so.
    pub emails: bool,
    /// The labels.
    pub labels: bool,
    /// The permissions.
    pub permissions: bool,
}

/// The token that a key must have.
enum Sought {
    /// By what is shown of it.
    Short(String),
    /// By its whole value: the key that it is a working secret of, if there is one.
    Whole(Option<StreamId>),
}

/// What a read asks for.
pub(super) struct Wanted {
    pub fields: Fields,
    blocked: Option<bool>,
    name: Option<String>,
    token: Option<Sought>,
}

impl Wanted {
    /// Reads the query. A parameter that the route does not know, or that is given twice, is an error: a mistyped filter would be none.
    pub fn of(caller: &Caller) -> Result<Self, Problem> {
        let (mut fields, mut seen) = (Fields::default(), Vec::new());
        for (name, value) in caller.pairs() {
            let known = ["blocked", "name", "token", "as_of", "min_position"].into_iter().find(|known| *known == name);
            match known {
                None if name == "optFields" => fields.add(&value)?,
                None => return Err(Problem::invalid("the query has a parameter that this route does not know")),
                Some(known) if seen.contains(&known) => return Err(Problem::invalid(format!("{known}: is given twice"))),
                Some(known) => seen.push(known),
            }
        }
        let name = caller.query("name").map(|name| name.to_lowercase());
        let token = caller.query("token").map(Sought::Short);
        Ok(Self { fields, blocked: caller.query_flag("blocked")?, name, token })
    }

    /// The same, with a whole token looked up: it is compared as a presented one is.
    pub fn seen_through(mut self, lens: &Lens) -> Self {
        if let Some(Sought::Short(text)) = &self.token
            && crate::credentials::issued::Token::parse(text).is_ok()
        {
            self.token = Some(Sought::Whole(lens.holder(text)));
        }
        self
    }

    /// Whether a key is asked for.
    pub fn takes(&self, id: StreamId, key: &ApiKey) -> bool {
        self.blocked.is_none_or(|blocked| blocked == key.blocked)
            && self.name.as_ref().is_none_or(|part| key.name.to_lowercase().contains(part))
            && match &self.token {
                None => true,
                Some(Sought::Short(short)) => super::render::short(key).is_some_and(|shown| shown == *short),
                Some(Sought::Whole(holder)) => *holder == Some(id),
            }
    }
}

impl Fields {
    fn add(&mut self, list: &str) -> Result<(), Problem> {
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "email" => self.email = true,
                "emails" => self.emails = true,
                "labels" => self.labels = true,
                "permissions" => self.permissions = true,
                _ => return Err(Problem::invalid("optFields: takes email, emails, labels and permissions")),
            }
        }
        Ok(())
    }
}

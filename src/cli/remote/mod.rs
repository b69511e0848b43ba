//! The verbs that ask a running server over `/v1`. They are rows of one table: from it come the command line, the requests and what is shown.

mod ask;
mod audit;
mod client;
mod cut;
mod long;
mod nouns;
mod put_back;
mod settings;
mod show;
mod shred;
mod verb;

use std::io::{ErrorKind, Write};
use std::num::NonZeroUsize;

use anyhow::bail;
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Output;
use crate::kernel::StreamId;
use client::Failure;
pub(super) use client::{Call, Client, Connect};
use nouns::{NOUNS, Noun, ORG, USER};
pub(super) use put_back::{Recover, Undo};
use verb::{Asks, Flag, Pages, Sort, Takes, Verb};

/// Members of an answer that the server shows once.
const ONCE: [&str; 5] = ["token", "client_secret", "owner_token", "secret", "oauth_client_secret"];
/// Items of a page: as many as the server gives.
const PAGE: usize = 200;
/// The longest body, as the server takes it.
const BODY: usize = 64 * 1024;

/// A verb, and what was given to it.
pub(super) struct Remote {
    noun: &'static Noun,
    verb: &'static Verb,
    given: ArgMatches,
    connect: Connect,
}

impl Subcommand for Remote {
    fn augment_subcommands(command: Command) -> Command {
        NOUNS.iter().fold(command, |command, noun| {
            let verbs = noun.verbs.iter();
            if noun.name.is_empty() {
                let alone = |verb: &Verb| Connect::augment_args(verb.command(noun)).about(verb.about).mut_arg("token_file", |arg| arg.hide(verb.open));
                return command.subcommands(verbs.map(alone));
            }
            let whole = Connect::augment_args(Command::new(noun.name)).about(noun.about);
            command.subcommand(whole.subcommand_required(true).disable_help_subcommand(true).subcommands(verbs.map(|verb| verb.command(noun))))
        })
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        NOUNS.iter().any(|noun| if noun.name.is_empty() { noun.verbs.iter().any(|verb| verb.name == name) } else { noun.name == name })
    }
}

impl FromArgMatches for Remote {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let unknown = || clap::Error::new(clap::error::ErrorKind::InvalidSubcommand);
        let (name, given) = matches.subcommand().ok_or_else(unknown)?;
        let (noun, (name, given)) = match NOUNS.iter().find(|noun| noun.name == name) {
            Some(noun) => (noun, given.subcommand().ok_or_else(unknown)?),
            None => (NOUNS.iter().find(|noun| noun.name.is_empty()).ok_or_else(unknown)?, (name, given)),
        };
        let verb = noun.verbs.iter().find(|verb| verb.name == name).ok_or_else(unknown)?;
        Ok(Self { noun, verb, given: given.clone(), connect: Connect::from_arg_matches(given)? })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// A member of a body: what may be seen, and secrets, which are wiped.
#[derive(Serialize)]
#[serde(untagged)]
enum Member {
    Plain(Value),
    Secret(#[serde(serialize_with = "exposed")] Zeroizing<String>),
    Object(Members<String>),
}

fn exposed<S: Serializer>(secret: &Zeroizing<String>, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(secret)
}

/// The members of a body in their order.
struct Members<N>(Vec<(N, Member)>);

impl<N: Serialize> Serialize for Members<N> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, member)| map.serialize_entry(name, member))?;
        map.end()
    }
}

impl Remote {
    pub async fn run(self) -> anyhow::Result<()> {
        let done = self.carry_out().await;
        done.map_err(|error| match error.downcast::<Failure>() {
            Ok(failure) => match failure.next.clone().or_else(|| self.next(&failure)) {
                Some(next) => anyhow::anyhow!("{failure}\nnext: {next}"),
                None => failure.into(),
            },
            Err(other) => other,
        })
    }

    async fn carry_out(&self) -> anyhow::Result<()> {
        let client = Client::new(&self.connect, self.verb.open)?;
        let thing = match (self.verb.takes, self.text("thing")) {
            (Takes::Thing, Some(text)) => Some(self.resolve(&client, self.noun, text).await?),
            _ => None,
        };
        if let Some(done) = self.lasting(&client).await {
            return done;
        }
        if let Some(pages) = self.verb.pages {
            let query = self.query(&client).await?;
            let limit = self.given.get_one::<NonZeroUsize>("limit").map(|limit| limit.get()).or(pages.most());
            let things = list(&client, &self.path(thing.as_deref().unwrap_or_default())?, pages, &query, limit).await?;
            let columns = if self.verb.columns.is_empty() { self.noun.columns } else { self.verb.columns };
            let text = match self.connect.output {
                Output::Json => Value::from(things).to_string() + "\n",
                Output::Table => show::list(columns, &things),
            };
            return print(text.as_bytes(), false);
        }
        let id = thing.as_deref().unwrap_or_default();
        let call = Call {
            method: self.verb.method,
            path: self.path(id)?,
            query: if self.verb.method == "GET" { self.query(&client).await? } else { self.as_of().into_iter().collect() },
            body: self.body(&client, id).await?,
            if_match: self.number("if-match"),
            repeatable: self.verb.repeatable,
            within: None,
        };
        let answer = client.send(&call).await?;
        self.show(&answer)
    }

    fn show(&self, answer: &[u8]) -> anyhow::Result<()> {
        if answer.is_empty() {
            eprintln!("done");
            return Ok(());
        }
        let Ok(Value::Object(members)) = serde_json::from_slice(answer) else { bail!("an answer that is none of a keyledger server: is --server right?") };
        let once: Vec<&str> = ONCE.into_iter().filter(|name| members.get(*name).is_some_and(Value::is_string)).collect();
        let only = self.verb.only.and_then(|name| members.get(name)?.as_str());
        match (self.connect.output, only) {
            (Output::Json, _) => print(&[answer, b"\n"].concat(), !once.is_empty())?,
            (Output::Table, Some(only)) => print(&[show::plain(only).as_bytes(), b"\n"].concat(), true)?,
            (Output::Table, None) => print(show::thing(self.noun.columns, &members).as_bytes(), !once.is_empty())?,
        }
        if !once.is_empty() {
            eprintln!("The {} is shown this once: keep it now.", once.join(" and the ").replace('_', " "));
        }
        Ok(())
    }

    /// The steps below `/v1`. What has two of them in its path, a service, is named as `API+SERVICE`.
    fn path<'a>(&'a self, id: &'a str) -> anyhow::Result<Vec<&'a str>> {
        let places = self.verb.path.matches("{}").count();
        let mut names = id.splitn(places.max(1), '+');
        let step = |step: &'a str| if step == "{}" { names.next() } else { Some(step) };
        let path: Option<Vec<&str>> = self.verb.path.split('/').map(step).collect();
        path.ok_or_else(|| anyhow::anyhow!("{id:?} names no service\nnext: give API family and service, such as crm+pipedrive"))
    }

    fn texts(&self, name: &str) -> Vec<&str> {
        self.given.try_get_many::<String>(name).ok().flatten().into_iter().flatten().map(String::as_str).collect()
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.given.try_get_one::<String>(name).ok().flatten().map(String::as_str)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.given.try_get_one::<u64>(name).ok().flatten().copied()
    }

    fn as_of(&self) -> Option<(&'static str, String)> {
        self.text("as-of").map(|at| ("as_of", at.to_owned()))
    }

    async fn query(&self, client: &Client) -> anyhow::Result<Vec<(&'static str, String)>> {
        let mut query: Vec<_> = self.as_of().into_iter().collect();
        for flag in self.verb.flags {
            match self.value(client, flag).await? {
                Some(Value::String(value)) => query.push((flag.member, value)),
                Some(Value::Array(values)) => query.extend(values.iter().filter_map(|value| Some((flag.member, value.as_str()?.to_owned())))),
                Some(Value::Number(number)) => query.push((flag.member, number.to_string())),
                _ => {}
            }
        }
        Ok(query)
    }

    /// What a flag was given, ids in place of names.
    async fn value(&self, client: &Client, flag: &Flag) -> anyhow::Result<Option<Value>> {
        if flag.sort == Sort::Number {
            return Ok(self.number(flag.name).map(Value::from));
        }
        if flag.sort == Sort::Numbers {
            return Ok(self.given.get_many::<u64>(flag.name).map(|numbers| json!(numbers.collect::<Vec<_>>())));
        }
        let mut values: Vec<String> = self.given.get_many::<String>(flag.name).into_iter().flatten().cloned().collect();
        let noun = match flag.sort {
            Sort::User | Sort::Actors => Some(&USER),
            Sort::Organizations => Some(&ORG),
            _ => None,
        };
        if let Some(noun) = noun {
            for value in &mut values {
                *value = self.resolve(client, noun, value).await?;
            }
        }
        Ok(if flag.repeats() { (!values.is_empty()).then(|| json!(values)) } else { values.pop().map(Value::String) })
    }

    async fn body(&self, client: &Client, id: &str) -> anyhow::Result<Option<(&'static str, Zeroizing<Vec<u8>>)>> {
        if ["GET", "DELETE"].contains(&self.verb.method) {
            return Ok(None);
        }
        let mut members = Vec::new();
        let mut put = |name, value| members.push((name, Member::Plain(value)));
        if let (Takes::New(member, _), Some(name)) = (self.verb.takes, self.text("thing")) {
            put(member, json!(name));
        }
        if let Some((member, value)) = self.verb.fixed {
            put(member, json!(value));
        }
        let clear: Vec<&String> = self.given.try_get_many("clear").ok().flatten().into_iter().flatten().collect();
        for flag in self.verb.flags.iter().filter(|flag| flag.sort != Sort::Settings) {
            match (self.value(client, flag).await?, clear.iter().any(|name| *name == flag.name)) {
                (Some(_), true) => bail!("--{0} and --clear {0} say different things", flag.name),
                (Some(value), false) => put(flag.member, value),
                (None, true) => put(flag.member, if flag.repeats() { json!([]) } else { Value::Null }),
                (None, false) => {}
            }
        }
        if self.verb.flags.iter().any(|flag| flag.sort == Sort::Settings) {
            let settings = settings::settings(client, id, &self.texts("setting"), &self.texts("unset")).await?;
            members.push(("settings", Member::Object(Members(settings))));
        }
        members.extend(self.secrets(client, id).await?.into_iter().map(|(name, secret)| (name, Member::Secret(secret))));
        if members.is_empty() {
            return Ok(None);
        }
        // As large as it may become: a buffer that grows leaves copies of secrets behind.
        let mut body = Zeroizing::new(Vec::with_capacity(BODY));
        if self.verb.form {
            let pairs = members.iter().filter_map(|(name, member)| if let Member::Secret(secret) = member { Some((*name, secret.as_str())) } else { None });
            let form = url::form_urlencoded::Serializer::new(String::with_capacity(BODY)).extend_pairs(pairs).finish();
            body.extend_from_slice(Zeroizing::new(form).as_bytes());
            return Ok(Some(("application/x-www-form-urlencoded", body)));
        }
        serde_json::to_writer(&mut *body, &Members(members))?;
        Ok(Some(("application/json", body)))
    }

    /// What is asked for.
    async fn secrets(&self, client: &Client, id: &str) -> anyhow::Result<Vec<(&'static str, Zeroizing<String>)>> {
        Ok(match self.verb.asks {
            Asks::Nothing => Vec::new(),
            Asks::FirstPassword if !self.given.get_flag("with-password") => Vec::new(),
            Asks::FirstPassword => vec![("password", ask::new_password()?)],
            Asks::Secret(member, prompt) => vec![(member, ask::ask(prompt)?)],
            Asks::NewPassword => {
                let mut secrets = Vec::new();
                if has_own_password(client, id).await? {
                    secrets.push(("current_password", ask::ask("Present password")?));
                }
                secrets.push(("password", ask::new_password()?));
                secrets
            }
        })
    }

    /// The id of a thing that may be given by another name: it must be the only one of that name.
    async fn resolve(&self, client: &Client, noun: &Noun, text: &str) -> anyhow::Result<String> {
        let (Some(member), Some(verb), false) = (noun.known_by, noun.list(), text.parse::<StreamId>().is_ok()) else { return Ok(text.to_owned()) };
        if text == "me" && member == "login" {
            return Ok(text.to_owned());
        }
        let things = list(client, &[verb.path], Pages::Many, self.as_of().as_slice(), None).await?;
        let of = |thing: &Value, member: &str| thing.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
        // Logins are the same in any letter case.
        let named = |thing: &&Value| of(thing, member) == text || (member == "login" && of(thing, member).eq_ignore_ascii_case(text));
        let ids: Vec<String> = things.iter().filter(named).map(|thing| of(thing, "id")).collect();
        match ids.as_slice() {
            [id] => Ok(id.clone()),
            [] => bail!("no {} has the {member} {text:?}\nnext: `keyledger {0} list` shows them all", noun.name),
            several => bail!("{} have the {member} {text:?}; give one of these ids:\n  {}", several.len(), several.join("\n  ")),
        }
    }

    /// What to do about a failure that the server told.
    fn next(&self, failure: &Failure) -> Option<String> {
        let Noun { name, .. } = self.noun;
        let thing = self.text("thing").map(show::plain).unwrap_or_default();
        let about = |member: &str| failure.pointers.iter().any(|pointer| pointer.starts_with(&format!("#/{member}")));
        Some(match (failure.status, failure.seconds) {
            (404, _) if failure.kind == "no-route" => "the server is older than this program, or --server is not its address".into(),
            (400, _) if about("permissions") => "`keyledger role get owner` shows all permissions".into(),
            (400, _) if about("roles") => "`keyledger role list` shows all roles".into(),
            (401, _) if !self.verb.open => "`keyledger login LOGIN` prints a new token; put it into KEYLEDGER_TOKEN, or into the file of --token-file".into(),
            (403, _) => "`keyledger whoami` shows what your token permits".into(),
            (404, _) if self.verb.name == "logout" => "this token is of no session; `keyledger whoami` shows what it is".into(),
            (404, _) if self.verb.takes == Takes::Thing && name.is_empty() => {
                "it takes an id, as `keyledger audit query` and `keyledger credential list` show it".into()
            }
            (404, _) if self.verb.takes == Takes::Thing && self.noun.list().is_some() => format!("`keyledger {name} list` shows them all"),
            (412, _) => format!("`keyledger {name} get '{thing}'` shows the present content version; look at it, and give that as --if-match"),
            (429, Some(seconds)) if self.verb.open => format!("wait {seconds} seconds, or have an administrator run `keyledger user unlock '{thing}'`"),
            (429 | 503, Some(seconds)) => format!("wait {seconds} seconds and try again"),
            _ => return None,
        })
    }
}

/// Whether a user is the one as whom the caller acts, and has a password.
async fn has_own_password(client: &Client, id: &str) -> anyhow::Result<bool> {
    let call = Call { method: "GET", path: vec!["users", "me"], repeatable: true, ..Call::default() };
    let own: Value = match client.send(&call).await {
        Ok(answer) => serde_json::from_slice(&answer)?,
        Err(failure) if failure.status == 404 => return Ok(false),
        Err(failure) => return Err(failure.into()),
    };
    Ok((id == "me" || own.get("id").and_then(Value::as_str) == Some(id)) && own.get("password_set_at").is_some())
}

/// A list, page after page.
async fn list(client: &Client, path: &[&str], pages: Pages, query: &[(&'static str, String)], limit: Option<usize>) -> anyhow::Result<Vec<Value>> {
    let (limit, mut things, mut cursor) = (limit.unwrap_or(usize::MAX), Vec::new(), None);
    loop {
        let mut query = query.to_vec();
        if pages != Pages::One {
            query.push(("limit", PAGE.min(limit - things.len()).to_string()));
        }
        query.extend(cursor.take().map(|cursor: String| ("cursor", cursor)));
        let answer = client.send(&Call { method: "GET", path: path.to_vec(), query, repeatable: true, ..Call::default() }).await?;
        let mut page: Value = serde_json::from_slice(&answer)?;
        let Some(Value::Array(data)) = page.get_mut("data").map(Value::take) else { bail!("an answer that is no list: is --server right?") };
        things.extend(data);
        things.truncate(limit);
        cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned).filter(|_| things.len() < limit);
        if cursor.is_none() {
            return Ok(things);
        }
    }
}

/// Writes an answer. Who reads only its beginning has what they wanted, unless a secret was lost with the rest.
fn print(text: &[u8], shown_once: bool) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe && !shown_once => Ok(()),
        other => Ok(other?),
    }
}

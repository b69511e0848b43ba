//! What a verb is: a row that says what it takes, which route it calls and what it asks for; its part of the command line is made from that.

use std::num::NonZeroUsize;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgGroup, Command, value_parser};

use super::nouns::Noun;
use crate::kernel::Moment;

/// A verb of a noun.
#[expect(clippy::struct_excessive_bools, reason = "a row of a table, whose columns say yes or no")]
pub(super) struct Verb {
    pub name: &'static str,
    pub about: &'static str,
    pub method: &'static str,
    /// Below `/v1`; `{}` stands for the id.
    pub path: &'static str,
    pub takes: Takes,
    pub flags: &'static [Flag],
    /// A member that the body always holds.
    pub fixed: Option<(&'static str, bool)>,
    pub asks: Asks,
    /// The answer is a list.
    pub pages: Option<Pages>,
    /// May be seen as it was.
    pub as_of: bool,
    /// May be bound to the version that was seen.
    pub if_match: bool,
    /// Sent twice, it is carried out once.
    pub repeatable: bool,
    /// Needs no token.
    pub open: bool,
    /// The body is a form, as the standards of OAuth want it.
    pub form: bool,
    /// The one member of the answer that a table shows.
    pub only: Option<&'static str>,
    /// How the answer comes.
    pub way: Way,
    /// Columns of a list of other things than the noun's; none for its own.
    pub columns: &'static [&'static str],
}

/// What a verb is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    /// A thing that is there.
    Thing,
    /// What is to be made: the member of the body that names it, and what stands for it in the help.
    New(&'static str, &'static str),
}

/// What a verb reads from stdin, or asks for on a terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    Nothing,
    /// A secret that somebody has, as a member of the body.
    Secret(&'static str, &'static str),
    /// A password, where a flag says so.
    FirstPassword,
    /// A new password, and the present one where it is the caller's own.
    NewPassword,
}

/// How an answer comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// At once.
    Answer,
    /// As a file that may be long.
    Export,
    /// Event by event, without an end.
    Tail,
}

/// How a list comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pages {
    One,
    Many,
    /// In pages, of which so many things are shown unless more are asked for.
    First(usize),
}

impl Pages {
    /// How many things are shown where nobody says.
    pub const fn most(self) -> Option<usize> {
        if let Self::First(most) = self { Some(most) } else { None }
    }
}

/// A flag, and the member of the body (or the parameter of the query) that it gives.
#[derive(Clone, Copy)]
pub(super) struct Flag {
    pub name: &'static str,
    pub member: &'static str,
    pub value: &'static str,
    pub sort: Sort,
    pub help: &'static str,
    pub required: bool,
    /// An update may take the value away.
    pub clears: bool,
}

/// What a flag takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Text,
    Texts,
    Number,
    Numbers,
    Instant,
    OneOf(&'static [&'static str]),
    User,
    /// Whoever acts: a user by login, or any id.
    Actors,
    /// A position, or an instant.
    Point,
    Organizations,
    /// Of a service: members of `settings`.
    Settings,
}

impl Verb {
    pub const READ: Self = Self {
        name: "get",
        about: "",
        method: "GET",
        path: "",
        takes: Takes::Thing,
        flags: &[],
        fixed: None,
        asks: Asks::Nothing,
        pages: None,
        as_of: true,
        if_match: false,
        repeatable: true,
        open: false,
        form: false,
        only: None,
        columns: &[],
        way: Way::Answer,
    };
    pub const LIST: Self = Self { name: "list", takes: Takes::Nothing, pages: Some(Pages::Many), ..Self::READ };
    pub const POST: Self = Self { method: "POST", as_of: false, ..Self::READ };
    pub const CREATE: Self = Self { name: "create", takes: Takes::New("name", "NAME"), ..Self::POST };
    pub const UPDATE: Self = Self { name: "update", method: "PATCH", if_match: true, ..Self::POST };
    pub const DELETE: Self = Self { name: "delete", method: "DELETE", if_match: true, ..Self::POST };

    /// Its part of the command line.
    pub fn command(&self, noun: &Noun) -> Command {
        let mut command = Command::new(self.name).about(self.about);
        command = match self.takes {
            Takes::Nothing => command,
            Takes::Thing => command.arg(Arg::new("thing").value_name(noun.value).help(noun.given).required(true)),
            Takes::New(member, value) => command.arg(Arg::new("thing").value_name(value).help(format!("The {member}")).required(true)),
        };
        command = command.args(self.flags.iter().map(|flag| flag.arg(self.changes())));
        if self.changes() {
            command = command.args(self.clear()).group(ArgGroup::new("changes").args(self.change_names()).required(true).multiple(true));
        }
        if self.if_match {
            let help = "Only if this is its content version still, as `get` shows it";
            command = command.arg(Arg::new("if-match").long("if-match").value_name("VERSION").value_parser(value_parser!(u64)).help(help));
        }
        if self.as_of {
            let help = "As it was at this position of the log, or just before this instant";
            command = command.arg(Arg::new("as-of").long("as-of").value_name("POSITION|INSTANT").value_parser(as_of).help(help));
        }
        if let Some(pages) = self.pages {
            let help = format!("At most so many [default: {}]", pages.most().map_or_else(|| "all".into(), |most| most.to_string()));
            command = command.arg(Arg::new("limit").long("limit").value_name("N").value_parser(value_parser!(NonZeroUsize)).help(help));
        }
        match self.way {
            Way::Answer => {}
            Way::Export => {
                let help = "Where to write it; nothing is written over [default: stdout]";
                command = command.arg(Arg::new("file").long("file").value_name("FILE").help(help));
            }
            Way::Tail => {
                let help = "End after so many [default: go on]";
                command = command.arg(Arg::new("limit").long("limit").value_name("N").value_parser(value_parser!(NonZeroUsize)).help(help));
            }
        }
        if self.asks == Asks::FirstPassword {
            let help = "Give it a password: asked for on a terminal, otherwise the first line of stdin";
            command = command.arg(Arg::new("with-password").long("with-password").action(ArgAction::SetTrue).help(help));
        }
        command
    }

    /// Whether it changes what its flags name.
    fn changes(&self) -> bool {
        self.method == "PATCH" && self.fixed.is_none()
    }

    fn clearable(&self) -> Vec<&'static str> {
        self.flags.iter().filter(|flag| flag.clears).map(|flag| flag.name).collect()
    }

    fn clear(&self) -> Option<Arg> {
        let names = self.clearable();
        let arg = || Arg::new("clear").long("clear").value_name("FLAG").action(ArgAction::Append).help("Take away what this flag would set; repeatable");
        (!names.is_empty()).then(|| arg().value_parser(PossibleValuesParser::new(names)))
    }

    fn change_names(&self) -> Vec<&'static str> {
        let clear = self.flags.iter().any(|flag| flag.clears).then_some("clear");
        self.flags.iter().map(|flag| flag.name).chain(clear).collect()
    }
}

impl Flag {
    const fn new(name: &'static str, member: &'static str, value: &'static str, sort: Sort, help: &'static str) -> Self {
        Self { name, member, value, sort, help, required: false, clears: matches!(sort, Sort::Texts | Sort::Organizations) }
    }

    pub const fn text(name: &'static str, member: &'static str, value: &'static str, help: &'static str) -> Self {
        Self::new(name, member, value, Sort::Text, help)
    }

    pub const fn texts(name: &'static str, member: &'static str, value: &'static str, help: &'static str) -> Self {
        Self::new(name, member, value, Sort::Texts, help)
    }

    pub const fn of(name: &'static str, member: &'static str, value: &'static str, sort: Sort, help: &'static str) -> Self {
        Self::new(name, member, value, sort, help)
    }

    pub const fn clears(self) -> Self {
        Self { clears: true, ..self }
    }

    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// Whether it may be given more than once.
    pub fn repeats(&self) -> bool {
        matches!(self.sort, Sort::Texts | Sort::Numbers | Sort::Actors | Sort::Organizations)
    }

    fn arg(&self, changes: bool) -> Arg {
        let help = match (self.repeats(), changes) {
            _ if self.sort == Sort::Settings => format!("{}; repeatable", self.help),
            (false, _) => self.help.to_owned(),
            (true, false) => format!("{}; repeatable", self.help),
            (true, true) => format!("{}; repeatable, in place of those that are there", self.help),
        };
        let arg = Arg::new(self.name).long(self.name).value_name(self.value).help(help).required(self.required && !changes);
        let arg = if self.repeats() || self.sort == Sort::Settings { arg.action(ArgAction::Append) } else { arg };
        match self.sort {
            Sort::Number | Sort::Numbers => arg.value_parser(value_parser!(u64)),
            Sort::Instant => arg.value_parser(|text: &str| text.parse::<Moment>().map(|_| text.to_owned())),
            Sort::OneOf(words) => arg.value_parser(PossibleValuesParser::new(words)),
            Sort::Point => arg.value_parser(as_of),
            Sort::Text | Sort::Texts | Sort::User | Sort::Actors | Sort::Organizations | Sort::Settings => arg,
        }
    }
}

/// A position or an instant, unchanged.
fn as_of(text: &str) -> Result<String, String> {
    let fits = text.parse::<u64>().is_ok() || text.parse::<Moment>().is_ok();
    fits.then(|| text.to_owned()).ok_or_else(|| "takes a position, or an instant such as 2026-05-04T14:05:00Z".into())
}

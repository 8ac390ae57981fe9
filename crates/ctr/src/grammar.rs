//! The parser: which command, which flags, which operands.
//!
//! Conventions of `ctr`'s own parser: one dash or two, `-x=v` or `-x v`, a switch may be given `=false`, flags end at the
//! first operand or at `--`. Beyond it, a global flag is taken behind the command's name, too.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::commands::ROOT;
use crate::error::Error;
use crate::{help, output, text};

/// What a flag's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Switch,
    Text,
    /// May be repeated; commas do not split it.
    List,
    Integer,
    /// An integer that is not negative.
    Unsigned,
    /// With a fraction, and not negative.
    Real,
    Duration,
}

/// A flag of a command. `default` is what it has when nobody gives it, `env` the variable that is asked before.
#[derive(Debug)]
pub(crate) struct Flag {
    pub(crate) names: &'static [&'static str],
    pub(crate) kind: Kind,
    pub(crate) usage: &'static str,
    pub(crate) default: &'static str,
    pub(crate) env: &'static str,
    /// Why the flag is not taken.
    pub(crate) refusal: Option<&'static str>,
}

impl Flag {
    pub(crate) const fn new(kind: Kind, names: &'static [&'static str], usage: &'static str) -> Flag {
        Flag { names, kind, usage, default: "", env: "", refusal: None }
    }

    pub(crate) const fn switch(names: &'static [&'static str], usage: &'static str) -> Flag {
        Flag::new(Kind::Switch, names, usage)
    }

    pub(crate) const fn text(names: &'static [&'static str], usage: &'static str) -> Flag {
        Flag::new(Kind::Text, names, usage)
    }

    pub(crate) const fn list(names: &'static [&'static str], usage: &'static str) -> Flag {
        Flag::new(Kind::List, names, usage)
    }

    pub(crate) const fn or(mut self, default: &'static str) -> Flag {
        self.default = default;
        self
    }

    pub(crate) const fn env(mut self, env: &'static str) -> Flag {
        self.env = env;
        self
    }

    pub(crate) const fn refused(mut self, reason: &'static str) -> Flag {
        self.refusal = Some(reason);
        self
    }
}

/// What a command does with the words it was given; the number is the exit code.
pub(crate) type Action = for<'a> fn(&'a Call) -> Pin<Box<dyn Future<Output = Result<u8, Error>> + 'a>>;

/// A command, or a group of them.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) names: &'static [&'static str],
    pub(crate) usage: &'static str,
    pub(crate) operands: &'static str,
    pub(crate) flags: &'static [&'static [Flag]],
    pub(crate) does: Does,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Does {
    Action(Action),
    Group(&'static [Command]),
    Refuse(&'static str),
}

/// The words of one run.
#[derive(Debug, Default)]
pub(crate) struct Call {
    values: BTreeMap<&'static str, Vec<String>>,
    /// Which of the values nobody gave.
    defaults: BTreeSet<&'static str>,
    pub(crate) operands: Vec<String>,
    /// The flags that somebody gave, on the command line.
    given: BTreeSet<&'static str>,
}

impl Call {
    /// Whether somebody gave the flag, with whatever value.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.given.contains(name)
    }

    /// The value of a flag of one value; empty when it has none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.values.get(name).and_then(|values| values.last()).map_or("", String::as_str)
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// Whether somebody gave the flag a value, which may be empty.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name) && !self.defaults.contains(name)
    }

    pub(crate) fn list(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn integer(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or_default()
    }

    pub(crate) fn duration(&self, name: &str) -> Option<Duration> {
        text::duration(self.text(name))
    }

    /// The operand at `index`; empty when there is none.
    pub(crate) fn operand(&self, index: usize) -> &str {
        self.operands.get(index).map_or("", String::as_str)
    }
}

/// What the words ask for.
pub(crate) enum Parsed {
    Help(Vec<&'static Command>),
    Version,
    Call { action: Action, call: Call },
}

/// What is wrong with them.
pub(crate) enum Failure {
    /// A flag's fault: the help of the command is shown with it.
    Flag {
        path: Vec<&'static Command>,
        message: String,
    },
    Command(String),
    Refused {
        what: String,
        reason: &'static str,
    },
}

/// Finds the command that `words` mean.
pub(crate) fn parse(words: &[String]) -> Result<Parsed, Failure> {
    let mut path = vec![&ROOT];
    let mut call = Call::default();
    let mut rest = words;
    loop {
        let command = path[path.len() - 1];
        rest = flags(&path, &mut call, rest)?;
        if call.is("help") {
            return Ok(Parsed::Help(path));
        }
        if call.is("version") {
            return Ok(Parsed::Version);
        }
        let action = match command.does {
            Does::Group(group) => match rest.split_first() {
                None => return Ok(Parsed::Help(path)),
                Some((word, below)) => {
                    match group.iter().find(|command| command.names.contains(&word.as_str())) {
                        Some(next) => {
                            path.push(next);
                            rest = below;
                            continue;
                        }
                        None if word == "help" || word == "h" => return help_of(path, below),
                        None => return Err(Failure::Command(word.clone())),
                    }
                }
            },
            Does::Refuse(reason) => return Err(Failure::Refused { what: spoken(&path), reason }),
            Does::Action(action) => action,
        };
        call.operands = rest.to_vec();
        defaults(&path, &mut call);
        return Ok(Parsed::Call { action, call });
    }
}

fn help_of(mut path: Vec<&'static Command>, words: &[String]) -> Result<Parsed, Failure> {
    for word in words {
        let Does::Group(group) = path[path.len() - 1].does else { break };
        match group.iter().find(|command| command.names.contains(&word.as_str())) {
            Some(command) => path.push(command),
            None => return Err(Failure::Command(word.clone())),
        }
    }
    Ok(Parsed::Help(path))
}

/// `ctr images list`.
pub(crate) fn spoken(path: &[&Command]) -> String {
    path.iter().map(|command| command.names[0]).collect::<Vec<_>>().join(" ")
}

/// The flags that may be given to the last command of `path`: its own, and those of the groups that it is in.
fn known(path: &[&'static Command]) -> impl Iterator<Item = &'static Flag> {
    path.iter().rev().flat_map(|command| command.flags.iter().copied().flatten())
}

/// Takes the flags at the front of `words`.
fn flags<'a>(
    path: &[&'static Command],
    call: &mut Call,
    words: &'a [String],
) -> Result<&'a [String], Failure> {
    let fault = |message: String| Failure::Flag { path: path.to_vec(), message };
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        if word == "--" {
            return Ok(after);
        }
        let Some(named) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else { break };
        if named.is_empty() {
            break;
        }
        let (name, attached) = match named.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (named, None),
        };
        if matches!(name, "help" | "h") {
            call.values.insert("help", vec!["true".into()]);
            return Ok(after);
        }
        let Some(flag) = known(path).find(|flag| flag.names.contains(&name)) else {
            return Err(fault(format!("flag provided but not defined: -{name}")));
        };
        if let Some(reason) = flag.refusal {
            return Err(Failure::Refused { what: format!("--{name}"), reason });
        }
        let value = match (attached, flag.kind) {
            (Some(value), _) => value.to_owned(),
            (None, Kind::Switch) => "true".to_owned(),
            (None, _) => match after.first() {
                Some(value) => value.clone(),
                None => return Err(fault(format!("flag needs an argument: -{name}"))),
            },
        };
        rest = if attached.is_none() && flag.kind != Kind::Switch { &after[1..] } else { after };
        let value = checked(flag.kind, &value)
            .ok_or_else(|| fault(format!("invalid value {value:?} for flag -{name}: parse error")))?;
        call.given.insert(flag.names[0]);
        let values = call.values.entry(flag.names[0]).or_default();
        if flag.kind != Kind::List {
            values.clear();
        }
        values.push(value);
    }
    Ok(rest)
}

/// The value as it is kept, when it is of the kind.
fn checked(kind: Kind, value: &str) -> Option<String> {
    let is_right = match kind {
        Kind::Switch => return boolean(value).map(|value| value.to_string()),
        Kind::Text | Kind::List => true,
        Kind::Integer => value.parse::<i64>().is_ok(),
        Kind::Unsigned => value.parse::<u64>().is_ok(),
        Kind::Real => value.parse::<f64>().is_ok_and(|number| number.is_finite() && number >= 0.0),
        Kind::Duration => text::duration(value).is_some(),
    };
    is_right.then(|| value.to_owned())
}

fn boolean(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Fills in what nobody gave: the environment's value, or the default.
fn defaults(path: &[&'static Command], call: &mut Call) {
    for flag in known(path) {
        if call.values.contains_key(flag.names[0]) {
            continue;
        }
        let given = Some(flag.env).filter(|name| !name.is_empty()).and_then(|name| std::env::var(name).ok());
        let value = given.filter(|value| !value.is_empty()).unwrap_or_else(|| flag.default.to_owned());
        if !value.is_empty() {
            call.values.insert(flag.names[0], vec![value]);
            call.defaults.insert(flag.names[0]);
        }
    }
}

/// Tells what is wrong with the words; gives `ctr`'s exit code for it.
pub(crate) fn report(name: &str, failure: &Failure) -> u8 {
    match failure {
        Failure::Flag { path, message } => {
            let text = format!("Incorrect Usage: {message}\n\n{}", help::of(name, path));
            let told = output::text(&text);
            output::tell(&format!("ctr: {message}\n"));
            output::finish(told.and(Err(Error::Told)))
        }
        Failure::Command(word) => {
            output::tell(&format!("No help topic for '{word}'\n"));
            3
        }
        Failure::Refused { what, reason } => {
            output::finish(Err(Error::Refused { what: what.clone(), reason }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Call, Failure, Parsed, parse};

    fn call(words: &str) -> Call {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        match parse(&words) {
            Ok(Parsed::Call { call, .. }) => call,
            _ => panic!("no call: {words:?}"),
        }
    }

    #[test]
    fn one_dash_or_two_and_values_attached_or_not() {
        for words in ["i ls -q x", "images list --quiet x", "image ls -quiet=true x", "i ls --q=1 x"] {
            let call = call(words);
            assert!(call.is("quiet"), "{words}");
            assert_eq!(call.operands, ["x"], "{words}");
        }
        assert!(!call("i ls -q=false").is("quiet"));
    }

    #[test]
    fn flags_end_at_the_first_operand() {
        assert_eq!(call("content label sha256:x -q").operands, ["sha256:x", "-q"]);
        assert_eq!(call("i rm -- -q").operands, ["-q"]);
    }

    #[test]
    fn the_namespace_is_taken_before_and_behind_the_command() {
        for words in ["-n k8s.io i ls", "i -n k8s.io ls", "i ls -n=k8s.io"] {
            assert_eq!(call(words).text("namespace"), "k8s.io", "{words}");
        }
    }

    #[test]
    fn what_is_unknown_or_wrong_is_told() {
        let failure = |words: &str| {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            match parse(&words) {
                Err(Failure::Flag { message, .. }) => message,
                Err(Failure::Command(word)) => word,
                _ => panic!("no failure: {words:?}"),
            }
        };
        assert_eq!(failure("i ls --bogus"), "flag provided but not defined: -bogus");
        assert_eq!(failure("leases create -x"), "flag needs an argument: -x");
        assert_eq!(failure("leases create -x soon"), "invalid value \"soon\" for flag -x: parse error");
        assert_eq!(failure("i bogus"), "bogus");
    }
}

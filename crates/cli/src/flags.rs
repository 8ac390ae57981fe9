//! The flags of a command: Docker's conventions (`-it`, `--rm=false`, `-e K`, values that begin with `-`) on clap, and
//! Docker's words when they are not kept.
//!
//! clap splits the words; what a value means is read by its owner, so that every complaint has the same shape:
//! `invalid argument "abc" for "-m, --memory" flag: invalid size: 'abc'`.

use std::ffi::OsString;
use std::fmt;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches};

use crate::error::Error;
use crate::nerdctl;

/// The id of what is no flag.
const OPERANDS: &str = "operands";

/// Where a misuse happened, and how it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Usage {
    /// `corten run`.
    pub(crate) path: String,
    /// `[OPTIONS] IMAGE [COMMAND] [ARG...]`.
    pub(crate) synopsis: &'static str,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Usage { path, synopsis } = self;
        write!(f, "Usage:  {path} {synopsis}\n\nRun '{path} --help' for more information")
    }
}

/// How many operands a command takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operands {
    least: usize,
    most: Option<usize>,
    /// What follows the first operand is for somebody else, whatever it looks like.
    is_rest: bool,
}

impl Operands {
    pub(crate) const NONE: Operands = Operands::between(0, 0);

    pub(crate) const fn exactly(count: usize) -> Operands {
        Operands::between(count, count)
    }

    pub(crate) const fn between(least: usize, most: usize) -> Operands {
        Operands { least, most: Some(most), is_rest: false }
    }

    pub(crate) const fn at_least(least: usize) -> Operands {
        Operands { least, most: None, is_rest: false }
    }

    /// At least so many; flags end at the first.
    pub(crate) const fn command_line(least: usize) -> Operands {
        Operands { least, most: None, is_rest: true }
    }

    /// Docker's complaint about a wrong number.
    fn complaint(self, count: usize) -> Option<String> {
        let plural = |number: usize| if number == 1 { "argument" } else { "arguments" };
        let Operands { least, most, .. } = self;
        if count >= least && most.is_none_or(|most| count <= most) {
            return None;
        }
        Some(match most {
            Some(0) => "accepts no arguments".into(),
            Some(most) if most == least => format!("requires {least} {}", plural(least)),
            Some(most) if least == 0 => format!("requires at most {most} {}", plural(most)),
            Some(most) => format!("requires at least {least} and at most {most} {}", plural(most)),
            None => format!("requires at least {least} {}", plural(least)),
        })
    }
}

/// A flag that is on or off: `--rm`, `--rm=false`.
pub(crate) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .hide_possible_values(true)
}

/// A flag with a value; the last one given holds. `kind` is what the help calls the value.
pub(crate) fn value(name: &'static str, kind: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(kind).help(help).num_args(1).allow_hyphen_values(true)
}

/// A flag with a value that may be given again for more.
pub(crate) fn list(name: &'static str, kind: &'static str, help: &'static str) -> Arg {
    value(name, kind, help).action(ArgAction::Append)
}

/// The parser of one command; `names` are only asked for by help and completion.
pub(crate) fn parser(name: &str, operands: Operands, flags: Vec<Arg>) -> clap::Command {
    let mut words = Arg::new(OPERANDS).num_args(0..).action(ArgAction::Append);
    if operands.is_rest {
        words = words.trailing_var_arg(true);
    }
    clap::Command::new(name.to_owned())
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .args(flags)
        .arg(switch("help", "Print usage"))
        .arg(words)
}

/// What was typed after a command's name.
#[derive(Debug)]
pub(crate) struct Given {
    usage: Usage,
    parser: clap::Command,
    matches: ArgMatches,
    /// What flags are worth that were not given.
    wishes: Vec<(&'static str, String)>,
}

/// Flags of Docker's that are known and not there yet, with their letters.
pub(crate) type Refused = &'static [(&'static str, Option<char>)];

impl Given {
    /// Reads the words after a command's name. The number of operands is checked by [`Given::check`].
    pub(crate) fn parse(
        usage: Usage,
        mut parser: clap::Command,
        refused: Refused,
        words: &[OsString],
    ) -> Result<Given, Error> {
        let matches = parser
            .try_get_matches_from_mut(words)
            .map_err(|error| misread(&error, &usage, refused, words))?;
        let given = Given { usage, parser, matches, wishes: Vec::new() };
        for arg in given.parser.get_arguments().filter(|arg| arg.is_require_equals_set()) {
            if let Some(text) = given.text(arg.get_id().as_str())
                && go_bool(text).is_none()
            {
                let reason = format!("strconv.ParseBool: parsing \"{text}\": invalid syntax");
                return Err(given.invalid(arg.get_id().as_str(), text, reason));
            }
        }
        Ok(given)
    }

    /// Complains about too few or too many operands.
    pub(crate) fn check(&self, operands: Operands) -> Result<(), Error> {
        match operands.complaint(self.operands().len()) {
            Some(complaint) => Err(self.misuse(&format!("'{}' {complaint}", self.usage.path))),
            None => Ok(()),
        }
    }

    /// What is no flag.
    pub(crate) fn operands(&self) -> Vec<&str> {
        self.list(OPERANDS)
    }

    /// The first operand.
    pub(crate) fn operand(&self) -> &str {
        self.operands().first().copied().unwrap_or_default()
    }

    /// Whether a switch is on.
    pub(crate) fn switch(&self, name: &str) -> bool {
        self.text(name).and_then(go_bool).unwrap_or(false)
    }

    /// The value of a flag.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let wish = || self.wishes.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str());
        self.matches.get_one::<String>(name).map(String::as_str).or_else(wish)
    }

    /// What a flag is worth that was not given, where the command has it.
    pub(crate) fn wish(&mut self, name: &'static str, value: &str) {
        if self.parser.get_arguments().any(|flag| flag.get_id() == name) {
            self.wishes.push((name, value.to_owned()));
        }
    }

    /// Whether a switch is on that this command may not have.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.parser.get_arguments().any(|flag| flag.get_id() == name) && self.switch(name)
    }

    /// All values of a flag.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        self.matches.get_many::<String>(name).unwrap_or_default().map(String::as_str).collect()
    }

    /// The value of a flag, read by `parse`.
    pub(crate) fn parsed<T, E: fmt::Display>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Error> {
        self.text(name).map(|text| parse(text).map_err(|error| self.invalid(name, text, error))).transpose()
    }

    /// All values of a flag, read by `parse`.
    pub(crate) fn parsed_list<T, E: fmt::Display>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, Error> {
        self.list(name)
            .into_iter()
            .map(|text| parse(text).map_err(|error| self.invalid(name, text, error)))
            .collect()
    }

    /// The value of a flag that is a whole number.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, Error> {
        self.parsed(name, |text| {
            text.parse::<i64>().map_err(|_| format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"))
        })
    }

    /// Docker's complaint about the value of a flag.
    pub(crate) fn invalid(&self, name: &str, text: &str, reason: impl fmt::Display) -> Error {
        let short = self.parser.get_arguments().find(|arg| arg.get_id() == name).and_then(Arg::get_short);
        let flag = short.map_or_else(|| format!("--{name}"), |short| format!("-{short}, --{name}"));
        let message = format!("invalid argument \"{text}\" for \"{flag}\" flag: {reason}");
        Error::Flag { message, usage: self.usage.clone() }
    }

    /// A complaint about how the command was used.
    pub(crate) fn misuse(&self, message: &str) -> Error {
        Error::Misuse { message: message.to_owned(), usage: self.usage.clone() }
    }

    /// What the command is called: `corten run`.
    pub(crate) fn usage(&self) -> &Usage {
        &self.usage
    }

    /// The parser, for the help.
    pub(crate) fn parser(&self) -> &clap::Command {
        &self.parser
    }
}

/// What Go takes as a truth value.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// clap's complaint in Docker's words.
fn misread(error: &clap::Error, usage: &Usage, refused: Refused, words: &[OsString]) -> Error {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let given = context(ContextKind::InvalidArg);
    // clap names the flag with its value: `--name <string>`, `--rm[=<rm>]`.
    let flag = given.split([' ', '=', '[']).next().unwrap_or_default();
    let message = match error.kind() {
        ErrorKind::UnknownArgument => {
            let name = flag.trim_start_matches('-');
            let is_refused = |(long, short): &&(&str, Option<char>)| {
                *long == name || short.is_some_and(|c| name == c.to_string())
            };
            if let Some((long, _)) = refused.iter().find(is_refused) {
                return Error::NotYet(format!("flag --{long} of `{}`", usage.path))
                    .exiting(crate::error::TOOL_FAILED);
            }
            if let Some((name, refusal)) = nerdctl::flag(name, &usage.path) {
                let what = format!("flag --{name} of `{}`", usage.path);
                let (reason, hint) = (refusal.reason, refusal.hint);
                return Error::NotThere { what, reason, hint }.exiting(crate::error::TOOL_FAILED);
            }
            match flag.strip_prefix("--") {
                Some(_) => format!("unknown flag: {flag}"),
                None => format!("unknown shorthand flag: '{name}' in {}", cluster(name, words)),
            }
        }
        ErrorKind::InvalidValue | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            match words.last().and_then(|word| word.to_str()).and_then(|word| word.strip_prefix('-')) {
                Some(letters) if !letters.starts_with('-') && !letters.is_empty() => {
                    let letter = letters.chars().next_back().unwrap_or_default();
                    format!("flag needs an argument: '{letter}' in -{letters}")
                }
                _ => format!("flag needs an argument: {flag}"),
            }
        }
        ErrorKind::InvalidUtf8 => "arguments must be UTF-8".into(),
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    };
    Error::Flag { message, usage: usage.clone() }
}

/// The word in which an unknown letter was typed.
fn cluster(letter: &str, words: &[OsString]) -> String {
    let mut words = words.iter().filter_map(|word| word.to_str());
    let is_cluster = |word: &&str| word.starts_with('-') && !word.starts_with("--") && word.contains(letter);
    words.find(is_cluster).map_or_else(|| format!("-{letter}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{Error, Given, Operands, Usage, list, parser, switch, value};
    use proptest::prelude::*;
    use std::ffi::OsString;

    fn parse(operands: Operands, words: &[&str]) -> Result<Given, Error> {
        let usage = Usage { path: "corten run".into(), synopsis: "[OPTIONS] IMAGE" };
        let flags = vec![
            switch("rm", "Remove"),
            switch("interactive", "").short('i'),
            switch("tty", "").short('t'),
            value("memory", "bytes", "").short('m'),
            value("name", "string", ""),
            list("env", "list", "").short('e'),
        ];
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let given = Given::parse(
            usage,
            parser("run", operands, flags),
            &[("publish", Some('p')), ("dns", None)],
            &words,
        )?;
        given.check(operands)?;
        Ok(given)
    }

    #[test]
    fn flags_follow_dockers_conventions() {
        let rest = Operands::command_line(1);
        let given = parse(
            rest,
            &["-it", "--rm=false", "-e", "A=b", "-eC", "-m=5", "--env", "-x", "img", "-i", "--", "x"],
        )
        .unwrap();
        assert!(given.switch("interactive") && given.switch("tty") && !given.switch("rm"));
        assert_eq!(given.list("env"), ["A=b", "C", "-x"]);
        assert_eq!(given.text("memory"), Some("5"));
        assert_eq!(given.operands(), ["img", "-i", "--", "x"]);
        let given = parse(rest, &["--name", "a", "--name=b", "--rm", "--", "-img"]).unwrap();
        assert_eq!((given.text("name"), given.switch("rm"), given.operand()), (Some("b"), true, "-img"));
        let given = parse(Operands::at_least(1), &["a", "--rm", "b", "--name=", "-"]).unwrap();
        assert_eq!((given.operands(), given.text("name")), (vec!["a", "b", "-"], Some("")));
    }

    #[test]
    fn mistakes_are_named_as_docker_names_them() {
        let cases: [(&[&str], &str, u8); 14] = [
            (&["--foo", "x"], "unknown flag: --foo", 125),
            (&["--foo=1", "x"], "unknown flag: --foo", 125),
            (&["-izt", "x"], "unknown shorthand flag: 'z' in -izt", 125),
            (&["--name"], "flag needs an argument: --name", 125),
            (&["-e"], "flag needs an argument: 'e' in -e", 125),
            (&["-ie"], "flag needs an argument: 'e' in -ie", 125),
            (
                &["--rm=maybe", "x"],
                "invalid argument \"maybe\" for \"--rm\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
                125,
            ),
            (
                &["-i=maybe", "x"],
                "invalid argument \"maybe\" for \"-i, --interactive\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
                125,
            ),
            (&[], "'corten run' requires at least 1 argument", 1),
            (&["--rm"], "'corten run' requires at least 1 argument", 1),
            (&["-p", "80:80", "x"], "flag --publish of `corten run` is not there yet", 125),
            (&["-ip80:80", "x"], "flag --publish of `corten run` is not there yet", 125),
            (&["--publish=80", "x"], "flag --publish of `corten run` is not there yet", 125),
            (&["--dns", "1.1.1.1", "x"], "flag --dns of `corten run` is not there yet", 125),
        ];
        for (words, message, code) in cases {
            let error = parse(Operands::command_line(1), words).unwrap_err();
            assert_eq!((error.line().as_str(), error.exit_code()), (message, code), "{words:?}");
        }
    }

    #[test]
    fn operands_are_counted() {
        let cases = [
            (Operands::NONE, 1, "accepts no arguments"),
            (Operands::exactly(1), 0, "requires 1 argument"),
            (Operands::exactly(2), 3, "requires 2 arguments"),
            (Operands::between(0, 1), 2, "requires at most 1 argument"),
            (Operands::between(1, 2), 3, "requires at least 1 and at most 2 arguments"),
            (Operands::at_least(2), 1, "requires at least 2 arguments"),
        ];
        for (operands, count, complaint) in cases {
            assert_eq!(operands.complaint(count).as_deref(), Some(complaint));
        }
        assert_eq!(Operands::between(1, 2).complaint(2), None);
    }

    proptest! {
        #[test]
        fn what_follows_the_image_is_left_alone(rest in prop::collection::vec("\\PC*", 0..6)) {
            let mut words = vec!["-i", "image"];
            words.extend(rest.iter().map(String::as_str));
            let given = parse(Operands::command_line(1), &words).unwrap();
            prop_assert_eq!(given.operands(), &words[1..]);
        }

        #[test]
        fn no_words_panic_the_parser(words in prop::collection::vec("-{0,2}[a-z=]{0,6}", 0..6)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let _ = parse(Operands::at_least(0), &words).map_err(|error| error.line());
        }
    }
}

//! `--help`, in Docker's layout, from the same tables that the parsers are built of.

use clap::Arg;

use crate::catalog::{ENTRIES, Entry, NOUNS};
use crate::command::{self, SYNOPSIS};
use crate::flags::{self, Given, Operands};

/// The widest line of a help, as Docker's where there is no terminal.
const WIDTH: usize = 80;

/// The narrowest column of help texts.
const LEAST_TEXT: usize = 24;

/// What everybody looks for first.
const COMMON: [&str; 7] = ["run", "exec", "ps", "images", "load", "version", "info"];

/// `corten --help`.
pub(crate) fn root(program: &str) -> String {
    let mut out = format!("Usage:  {program} {SYNOPSIS}\n\nA container stack in one command\n");
    let name = |entry: &Entry| entry.shortcut.or(entry.noun.is_none().then_some(entry.verbs[0]));
    let all: Vec<(&str, &str)> =
        ENTRIES.iter().filter_map(|entry| Some((name(entry)?, entry.command.about))).collect();
    let common = COMMON.iter().filter_map(|common| all.iter().find(|(name, _)| name == common)).copied();
    out += &commands("Common Commands", common.collect());
    let mut nouns = NOUNS.to_vec();
    nouns.push(("daemon", "Run the daemon (it is started by itself when it is needed)"));
    nouns.push(("config", "Print the daemon's default configuration (config default)"));
    nouns.sort_unstable();
    out += &commands("Management Commands", nouns);
    let mut others: Vec<_> = all.iter().filter(|(name, _)| !COMMON.contains(name)).copied().collect();
    others.sort_unstable();
    out += &commands("Commands", others);
    let parser = flags::parser(program, Operands::NONE, command::global_flags());
    out += &options("Global Options", parser.get_arguments());
    out + &format!("\nRun '{program} COMMAND --help' for more information on a command.\n")
}

/// `corten container --help`.
pub(crate) fn noun(program: &str, noun: &str) -> String {
    let about = NOUNS.iter().find(|(name, _)| *name == noun).map(|(_, about)| *about).unwrap_or_default();
    let entries = ENTRIES.iter().filter(|entry| entry.noun == Some(noun));
    let mut out = format!("Usage:  {program} {noun} COMMAND\n\n{about}\n");
    out += &commands("Commands", entries.map(|entry| (entry.verbs[0], entry.command.about)).collect());
    out + &format!("\nRun '{program} {noun} COMMAND --help' for more information on a command.\n")
}

/// `corten run --help`.
pub(crate) fn command(program: &str, entry: &Entry, given: &Given) -> String {
    let usage = given.usage();
    let mut out = format!("Usage:  {} {}\n\n{}\n", usage.path, usage.synopsis, entry.command.about);
    let names = names(program, entry);
    if names.len() > 1 {
        out += &format!("\nAliases:\n  {}\n", names.join(", "));
    }
    out + &options("Options", given.parser().get_arguments())
}

/// Everything that a command is called.
pub(crate) fn names(program: &str, entry: &Entry) -> Vec<String> {
    let grouped =
        entry.noun.map(|noun| entry.verbs.iter().map(move |verb| format!("{program} {noun} {verb}")));
    let shortcut = entry.shortcut.map(|shortcut| format!("{program} {shortcut}"));
    grouped.into_iter().flatten().chain(shortcut).collect()
}

fn commands(title: &str, commands: Vec<(&str, &str)>) -> String {
    let width = commands.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = commands.iter().map(|(name, about)| format!("  {name:width$}  {about}\n"));
    format!("\n{title}:\n{}", lines.collect::<String>())
}

fn options<'a>(title: &str, arguments: impl Iterator<Item = &'a Arg>) -> String {
    let mut flags: Vec<&Arg> = arguments.filter(|arg| !arg.is_positional() && !arg.is_hide_set()).collect();
    flags.sort_unstable_by_key(|arg| arg.get_long());
    // Docker does not list the help's own flag where it is the only one.
    if flags.len() == 1 {
        return String::new();
    }
    let heads: Vec<String> = flags.iter().map(|arg| head(arg)).collect();
    let column = heads.iter().map(String::len).max().unwrap_or(0) + 3;
    let mut out = format!("\n{title}:\n");
    for (head, arg) in heads.iter().zip(&flags) {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let mut lines = wrap(&help, WIDTH.saturating_sub(column).max(LEAST_TEXT)).into_iter();
        out += &format!("{head:column$}{}\n", lines.next().unwrap_or_default());
        lines.for_each(|line| out += &format!("{:column$}{line}\n", ""));
    }
    out
}

/// `  -i, --interactive`, with what the value is called.
pub(crate) fn head(arg: &Arg) -> String {
    let short = arg.get_short().map_or_else(|| "      ".to_owned(), |short| format!("  -{short}, "));
    let long = arg.get_long().unwrap_or_default();
    let kind = arg.get_value_names().and_then(<[_]>::first).map(|kind| format!(" {kind}"));
    let kind = kind.filter(|_| !arg.is_require_equals_set()).unwrap_or_default();
    format!("{short}--{long}{kind}")
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{noun, root, wrap};

    #[test]
    fn no_command_is_missing_from_the_help() {
        let help = root("corten");
        for name in ["run", "exec", "daemon", "config", "volume", "images", "completion", "inspect", "rmi"] {
            assert!(help.contains(&format!("\n  {name} ")), "{name}");
        }
        assert!(help.contains("\n  -H, --host list"));
        assert!(
            noun("docker", "volume")
                .starts_with("Usage:  docker volume COMMAND\n\nManage volumes\n\nCommands:\n  create")
        );
    }

    #[test]
    fn long_helps_are_wrapped_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("unbreakable", 3), ["unbreakable"]);
    }
}

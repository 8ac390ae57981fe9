//! `completion`: scripts that teach a shell our commands, their flags, and the names of what is there.
//!
//! The scripts know nothing: at each key they call the program with what was typed, as the hidden command [`APPLET`], and show
//! what it prints, a candidate on a line. So a completion is never older than the program.

use std::ffi::OsString;

use clap::Arg;
use serde_json::Value;

use crate::catalog::{self, ENTRIES, Entry, NOUNS};
use crate::client::Path;
use crate::command::{self, Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands};
use crate::output;

pub(crate) const COMMAND: Command = Command {
    synopsis: "bash|zsh|fish",
    about: "Generate the autocompletion script for the specified shell",
    operands: Operands::exactly(1),
    flags: Vec::new,
    refused: &[],
    run,
};

/// What the scripts call.
pub(crate) const APPLET: &str = "__complete";

const BASH: &str = r#"_corten() {
    local line=${COMP_LINE:0:COMP_POINT} words
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    local current=${words[-1]}
    mapfile -t COMPREPLY < <(corten __complete "${words[@]:1}" 2>/dev/null)
    # bash completes only what follows the last colon.
    if [[ $current == *:* ]]; then COMPREPLY=("${COMPREPLY[@]#"${current%:*}:"}"); fi
}
complete -o default -F _corten corten
"#;

const ZSH: &str = r#"#compdef corten
_corten() {
    local -a found
    found=("${(@f)$(corten __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n $found ]]; then compadd -a found; else _files; fi
}
if [[ $funcstack[1] == _corten ]]; then _corten "$@"; else compdef _corten corten; fi
"#;

const FISH: &str =
    "complete -c corten -a '(corten __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'\n";

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let script = match given.operand() {
        "bash" => BASH,
        "fish" => FISH,
        "zsh" => ZSH,
        shell => {
            return Err(given.misuse(&format!("no completion for '{shell}', only for bash, fish and zsh")));
        }
    };
    output::print(&script.replace("corten", &cli.program)).map(|()| 0)
}

/// Prints what may stand for the last of `words`.
pub(crate) fn complete(cli: &Cli, words: &[OsString]) -> Result<(), Error> {
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (current, before) = words.split_last().unwrap_or((&"", &[]));
    let candidates = match plan(before, current) {
        Plan::Words(words) => words,
        Plan::Names(kind) => names(cli, kind)?,
    };
    let fitting = candidates.into_iter().filter(|candidate| candidate.starts_with(current));
    output::print(&fitting.map(|candidate| candidate + "\n").collect::<String>())
}

/// Where candidates come from.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Words(Vec<String>),
    /// What the daemon has.
    Names(Kind),
}

/// What has names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Container,
    Image,
    Network,
    Volume,
}

/// Decides from the tables alone what may follow.
fn plan(before: &[&str], current: &str) -> Plan {
    let (path, rest) = split(&command::global_flags(), before);
    let Some(first) = path else { return at_top(current) };
    let Some(noun) = catalog::noun(first) else {
        return catalog::at_top(first).map_or(Plan::Words(Vec::new()), |entry| within(entry, rest, current));
    };
    match rest.split_first() {
        None => {
            let own = ENTRIES.iter().filter(|entry| entry.noun == Some(noun));
            Plan::Words(own.map(|entry| entry.verbs[0].to_owned()).collect())
        }
        Some((verb, rest)) => catalog::under_noun(noun, verb)
            .map_or(Plan::Words(Vec::new()), |entry| within(entry, rest, current)),
    }
}

fn at_top(current: &str) -> Plan {
    if current.starts_with('-') {
        return Plan::Words(long_flags(&command::global_flags()));
    }
    let at_top =
        ENTRIES.iter().filter_map(|entry| entry.shortcut.or(entry.noun.is_none().then_some(entry.verbs[0])));
    let mut words: Vec<String> = at_top.chain(NOUNS.map(|(noun, _)| noun)).map(str::to_owned).collect();
    words.extend(["help".into()]);
    words.sort_unstable();
    Plan::Words(words)
}

/// The first word that is no flag and no value of one, and what follows it.
fn split<'a, 'b>(flags: &[Arg], words: &'b [&'a str]) -> (Option<&'a str>, &'b [&'a str]) {
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        if !word.starts_with('-') {
            return (Some(word), after);
        }
        rest = if awaits_value(flags, word) { after.get(1..).unwrap_or_default() } else { after };
    }
    (None, rest)
}

/// Whether the next word is the value of this one.
fn awaits_value(flags: &[Arg], word: &str) -> bool {
    let is_it = |flag: &&Arg| match word.strip_prefix("--") {
        Some(long) => flag.get_long() == Some(long),
        None => word.strip_prefix('-').and_then(|letters| letters.chars().next_back()) == flag.get_short(),
    };
    word.starts_with('-') && flags.iter().find(is_it).is_some_and(|flag| !flag.is_require_equals_set())
}

fn long_flags(flags: &[Arg]) -> Vec<String> {
    let shown = flags.iter().filter(|flag| !flag.is_hide_set());
    let mut names: Vec<String> = shown.filter_map(|flag| Some(format!("--{}", flag.get_long()?))).collect();
    names.push("--help".into());
    names.sort_unstable();
    names
}

/// What may follow within a command: flags, or what its synopsis asks for at this place.
fn within(entry: &Entry, before: &[&str], current: &str) -> Plan {
    let flags = (entry.command.flags)();
    if let Some(flag) = before.last().filter(|word| awaits_value(&flags, word)) {
        return match *flag {
            "--network" | "--net" => Plan::Names(Kind::Network),
            "--volumes-from" => Plan::Names(Kind::Container),
            _ => Plan::Words(Vec::new()),
        };
    }
    if current.starts_with('-') {
        return Plan::Words(long_flags(&flags));
    }
    let mut place = 0;
    let mut rest = before;
    while let (Some(_), after) = split(&flags, rest) {
        place += 1;
        rest = after;
    }
    let is_word = |word: &&str| word.chars().any(char::is_uppercase) && *word != "[OPTIONS]";
    let places: Vec<&str> = entry.command.synopsis.split_whitespace().filter(is_word).collect();
    let Some(word) = places.get(place).or(places.last()) else { return Plan::Words(Vec::new()) };
    let kinds = [
        ("CONTAINER", Kind::Container),
        ("IMAGE", Kind::Image),
        ("NETWORK", Kind::Network),
        ("VOLUME", Kind::Volume),
    ];
    let kind = kinds.into_iter().find(|(name, _)| word.contains(name) && !word.starts_with("TARGET"));
    kind.map_or(Plan::Words(Vec::new()), |(_, kind)| Plan::Names(kind))
}

/// The names of everything of a kind.
fn names(cli: &Cli, kind: Kind) -> Result<Vec<String>, Error> {
    let path = match kind {
        Kind::Container => Path::new("/containers/json").query("all", "1"),
        Kind::Image => Path::new("/images/json"),
        Kind::Network => Path::new("/networks"),
        Kind::Volume => Path::new("/volumes"),
    };
    let answer: Value = cli.with_client(async |client| client.get(path).await)?;
    let list = if kind == Kind::Volume { &answer["Volumes"] } else { &answer };
    let names = list.as_array().into_iter().flatten().flat_map(|item| match kind {
        Kind::Container => texts(&item["Names"]),
        Kind::Image => texts(&item["RepoTags"]),
        Kind::Network | Kind::Volume => vec![item["Name"].as_str().unwrap_or_default().to_owned()],
    });
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    Ok(names)
}

fn texts(list: &Value) -> Vec<String> {
    let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.map(|text| text.trim_start_matches('/').to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Kind, Plan, plan};

    #[test]
    fn what_may_follow_is_told_by_the_tables() {
        let words = |before: &[&str], current: &str| match plan(before, current) {
            Plan::Words(words) => words,
            Plan::Names(kind) => panic!("{before:?} asks for names of {kind:?}"),
        };
        for (before, current, word) in [
            (&[][..], "", "run"),
            (&["-H", "tcp://a"], "", "volume"),
            (&[], "--", "--host"),
            (&["volume"], "", "create"),
            (&["run"], "-", "--cap-add"),
            (&["container", "ls", "-a"], "--f", "--filter"),
        ] {
            assert!(words(before, current).iter().any(|found| found == word), "{before:?} {current}");
        }
        for before in [&["run", "--name"][..], &["run", "busybox"], &["nothing"], &["volume", "nothing"]] {
            assert_eq!(words(before, ""), Vec::<String>::new(), "{before:?}");
        }
        for (before, kind) in [
            (&["rm", "-f"][..], Kind::Container),
            (&["rm", "one"], Kind::Container),
            (&["run", "-it", "--name", "a"], Kind::Image),
            (&["run", "--network"], Kind::Network),
            (&["network", "connect"], Kind::Network),
            (&["network", "connect", "a"], Kind::Container),
            (&["volume", "rm"], Kind::Volume),
            (&["--config", "/x", "exec"], Kind::Container),
        ] {
            assert_eq!(plan(before, ""), Plan::Names(kind), "{before:?}");
        }
    }
}

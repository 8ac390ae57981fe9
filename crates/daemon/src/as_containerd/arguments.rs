//! containerd's command line.

use std::path::PathBuf;

use crate::config::LogLevel;
use crate::error::Error;

pub(super) const USAGE: &str = "\
Usage: containerd [OPTIONS] [COMMAND]

Without a command: the daemon, with containerd's paths and containerd's configuration.

Commands:
  config default   print the configuration with every key at its default
  config dump      print the configuration that counts: the file, all that it imports, and the defaults
  config migrate   print the file alone, in the newest version of the format
  publish          tell the daemon of an event: --topic TOPIC --namespace NAMESPACE, the event on standard input
  oci-hook         execute a program with a container's state, on standard input, in its arguments: -- PROGRAM [ARGUMENT...]

Options:
  -c, --config FILE      configuration (default /etc/containerd/config.toml, if it exists)
  -l, --log-level LEVEL  trace, debug, info, warn, error, fatal or panic
  -a, --address PATH     where containerd's API is
      --root DIR         what must survive a reboot
      --state DIR        what must not
  -v, --version          print the version
  -h, --help             print this
";

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Arguments {
    pub(super) config: Option<PathBuf>,
    pub(super) log_level: Option<LogLevel>,
    pub(super) address: Option<String>,
    pub(super) root: Option<PathBuf>,
    pub(super) state: Option<PathBuf>,
    pub(super) command: Command,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Command {
    #[default]
    Daemon,
    Help,
    Version,
    Default,
    Dump,
    Migrate,
    Publish {
        topic: String,
        namespace: String,
    },
    /// A program and its arguments.
    Hook(Vec<String>),
}

impl Arguments {
    /// Parses what follows the program's name; as for containerd, `-config` is `--config`, and flags come before the command.
    ///
    /// # Errors
    /// What is not known, or not there.
    pub(super) fn parse(words: &[String]) -> Result<Arguments, Error> {
        let mut arguments = Arguments::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some((flag, attached)) = flag_of(word) else {
                arguments.command = command(word, words.as_slice())?;
                break;
            };
            match flag {
                "h" | "help" => arguments.command = Command::Help,
                "v" | "version" => arguments.command = Command::Version,
                _ => {
                    let value = value(word, attached, &mut words)?;
                    arguments.set(word, flag, value)?;
                }
            }
            if arguments.command != Command::Daemon {
                break;
            }
        }
        Ok(arguments)
    }

    fn set(&mut self, word: &str, flag: &str, value: String) -> Result<(), Error> {
        match flag {
            "c" | "config" => self.config = Some(value.into()),
            "a" | "address" => self.address = Some(value),
            "root" => self.root = Some(value.into()),
            "state" => self.state = Some(value.into()),
            "l" | "log-level" => self.log_level = Some(level(&value)?),
            _ => return Err(unknown(word)),
        }
        Ok(())
    }
}

/// A level of containerd's; what is beyond those of Corten is the nearest one.
///
/// # Errors
/// For what is no level.
pub(super) fn level(name: &str) -> Result<LogLevel, Error> {
    match name.to_ascii_lowercase().as_str() {
        "trace" | "debug" => Ok(LogLevel::Debug),
        "info" => Ok(LogLevel::Info),
        "warn" | "warning" => Ok(LogLevel::Warn),
        "error" | "fatal" | "panic" => Ok(LogLevel::Error),
        _ => Err(Error::Usage(format!(
            "`{name}` is not a log level: trace, debug, info, warn, error, fatal, panic"
        ))),
    }
}

fn command(word: &str, rest: &[String]) -> Result<Command, Error> {
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (word, rest.as_slice()) {
        ("help" | "h", _) | ("config", [] | ["-h" | "--help" | "help"]) => Ok(Command::Help),
        ("config", ["default"]) => Ok(Command::Default),
        ("config", ["dump"]) => Ok(Command::Dump),
        ("config", ["migrate"]) => Ok(Command::Migrate),
        ("publish", words) => publish(words),
        ("oci-hook", ["--", words @ ..] | words) => {
            Ok(Command::Hook(words.iter().map(|&word| word.into()).collect()))
        }
        ("config", [other, ..]) => Err(unknown(other)),
        _ => Err(unknown(word)),
    }
}

fn publish(words: &[&str]) -> Result<Command, Error> {
    let (mut topic, mut namespace) = (String::new(), String::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (flag, attached) = flag_of(word).ok_or_else(|| unknown(word))?;
        match flag {
            "topic" => topic = value(word, attached, &mut words)?,
            "namespace" => namespace = value(word, attached, &mut words)?,
            "h" | "help" => return Ok(Command::Help),
            _ => return Err(unknown(word)),
        }
    }
    if topic.is_empty() {
        return Err(Error::Usage("`publish` needs `--topic`".into()));
    }
    Ok(Command::Publish { topic, namespace })
}

/// The name of a flag, and the value that is attached to it.
fn flag_of(word: &str) -> Option<(&str, Option<&str>)> {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|name| !name.is_empty())?;
    match name.split_once('=') {
        Some((name, value)) => Some((name, Some(value))),
        None => Some((name, None)),
    }
}

fn value<'a, T: AsRef<str> + 'a>(
    word: &str,
    attached: Option<&str>,
    words: &mut impl Iterator<Item = &'a T>,
) -> Result<String, Error> {
    attached
        .map(str::to_owned)
        .or_else(|| words.next().map(|next| next.as_ref().to_owned()))
        .ok_or_else(|| Error::Usage(format!("`{word}` needs a value")))
}

fn unknown(word: &str) -> Error {
    Error::Usage(format!("unknown argument `{word}`\n{USAGE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Arguments, Error> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Arguments::parse(&words)
    }

    #[test]
    fn flags_are_containerds_in_all_their_forms() {
        let expected = Arguments {
            config: Some("/c".into()),
            log_level: Some(LogLevel::Debug),
            address: Some("/a".into()),
            root: Some("/r".into()),
            state: Some("/s".into()),
            command: Command::Dump,
        };
        for text in [
            "-c /c -l trace -a /a --root /r --state /s config dump",
            "--config=/c --log-level=debug -address /a -root=/r -state /s config dump",
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        let publish = Command::Publish { topic: "/t".into(), namespace: "n".into() };
        assert_eq!(parse("--address /a publish --topic /t --namespace n").unwrap().command, publish);
        assert_eq!(parse("").unwrap().command, Command::Daemon);
        assert_eq!(parse("-v").unwrap().command, Command::Version);
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        for (text, expected) in [
            ("--nothing", "`--nothing` needs a value"),
            ("--nothing x", "unknown argument `--nothing`"),
            ("stray", "unknown argument `stray`"),
            ("config stray", "unknown argument `stray`"),
            ("-c", "`-c` needs a value"),
            ("-l loud", "`loud` is not a log level"),
            ("publish", "`publish` needs `--topic`"),
        ] {
            let message = parse(text).unwrap_err().chain();
            assert!(message.starts_with(expected), "{text}: {message}");
        }
    }
}

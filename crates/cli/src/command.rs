//! What a command is, and how the words of a command line become a run of one.
//!
//! Only the parser of the command that was asked for is built: the tree is a table of functions (see [`crate::catalog`]),
//! not of clap's commands, because building a hundred flags of other commands would cost more than the request.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::Arg;

use crate::catalog::{self, Entry};
use crate::client::{Address, Client};
use crate::error::Error;
use crate::flags::{self, Given, Operands, Refused, Usage, switch, value};
use crate::launch::Launcher;
use crate::{help, output};

/// Where the daemon's state is unless somebody says otherwise.
const DEFAULT_STATE: &str = "/run/corten";

/// One command.
#[derive(Debug)]
pub(crate) struct Command {
    /// `[OPTIONS] IMAGE [COMMAND] [ARG...]`.
    pub(crate) synopsis: &'static str,
    /// One sentence for the help.
    pub(crate) about: &'static str,
    pub(crate) operands: Operands,
    pub(crate) flags: fn() -> Vec<Arg>,
    /// Flags of Docker's that are not there yet.
    pub(crate) refused: Refused,
    pub(crate) run: fn(&Cli, &Given) -> Result<u8, Error>,
}

/// What all commands need to know.
#[derive(Debug)]
pub(crate) struct Cli {
    /// What the program was called: `corten` or `docker`.
    pub(crate) program: String,
    address: Address,
    /// The state directory of the daemon that may be started; none when an address was given.
    state: Option<PathBuf>,
    /// None: the daemon's default.
    namespace: Option<String>,
}

impl Cli {
    /// Does something with the daemon, on a runtime of its own.
    pub(crate) fn with_client<T>(
        &self,
        work: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
        let launcher = self.state.clone().map(|state| Launcher { state });
        let client = Client::new(self.address.clone(), launcher, self.namespace.clone());
        let result = runtime.block_on(work(&client));
        runtime.shutdown_background();
        result
    }

    /// Says on stderr what failed.
    pub(crate) fn complain(&self, error: &Error) {
        if error.is_silent() {
            return;
        }
        let program = &self.program;
        output::complain(&format!("{program}: {}", error.line()));
        match error.hint(program) {
            Some(usage) if error.is_misuse() => output::complain(&format!("\n{usage}")),
            Some(hint) => output::complain(&format!("hint: {hint}")),
            None => {}
        }
    }
}

/// Flags before the command.
pub(crate) fn global_flags() -> Vec<Arg> {
    vec![
        list_host(),
        namespace_flag().short('n'),
        value("state", "string", "State directory of the daemon to use or start (default \"/run/corten\")"),
        switch("version", "Print version information and quit").short('v'),
    ]
}

/// nerdctl's flag: it may be given before the command and after it.
fn namespace_flag() -> Arg {
    value("namespace", "string", "Namespace of containers and images (default \"default\")")
}

/// A command's own flags, and the one that may be given anywhere; its letter is the command's where the command has it.
fn with_namespace(mut flags: Vec<Arg>) -> Vec<Arg> {
    let has_letter = flags.iter().any(|flag| flag.get_short() == Some('n'));
    let flag = namespace_flag().hide(true);
    flags.push(if has_letter { flag } else { flag.short('n') });
    flags
}

fn list_host() -> Arg {
    value("host", "string", "Daemon socket to connect to").short('H')
}

/// Docker's global flags that are not there yet.
const REFUSED: Refused = &[
    ("config", None),
    ("context", Some('c')),
    ("debug", Some('D')),
    ("log-level", Some('l')),
    ("tls", None),
    ("tlscacert", None),
    ("tlscert", None),
    ("tlskey", None),
    ("tlsverify", None),
];

/// How the whole program is used.
pub(crate) const SYNOPSIS: &str = "[OPTIONS] COMMAND [ARG...]";

/// Runs the command line `words` (without the program's name); returns the exit code.
pub(crate) fn run(program: &str, words: &[OsString]) -> u8 {
    let mut cli = Cli {
        program: program.to_owned(),
        address: Address::in_state(DEFAULT_STATE.as_ref()),
        state: None,
        namespace: None,
    };
    match dispatch(&mut cli, words) {
        Ok(code) => code,
        Err(error) => {
            cli.complain(&error);
            error.exit_code()
        }
    }
}

fn dispatch(cli: &mut Cli, words: &[OsString]) -> Result<u8, Error> {
    let program = cli.program.clone();
    let usage = Usage { path: program.clone(), synopsis: SYNOPSIS };
    let parser = flags::parser(&program, Operands::command_line(0), global_flags());
    let given = Given::parse(usage, parser, REFUSED, words)?;
    if given.switch("version") {
        return output::print_line(&format!("Corten version {}", env!("CARGO_PKG_VERSION"))).map(|()| 0);
    }
    let operands = given.operands();
    let Some((first, rest)) = operands.split_first() else {
        return output::print(&help::root(&program)).map(|()| 0);
    };
    if given.switch("help") {
        return output::print(&help::root(&program)).map(|()| 0);
    }
    locate(cli, &given)?;
    cli.namespace = given.text("namespace").map(str::to_owned).or_else(|| variable("CONTAINERD_NAMESPACE"));
    let rest: Vec<OsString> = rest.iter().map(OsString::from).collect();
    match (catalog::noun(first), rest.split_first()) {
        (Some(noun), Some((verb, rest))) if !verb.to_string_lossy().starts_with('-') => {
            let verb = verb.to_string_lossy();
            let path = format!("{program} {noun} {verb}");
            match catalog::under_noun(noun, &verb) {
                Some(entry) => start(cli, entry, path, rest),
                None => Err(unknown(&path, &verb)),
            }
        }
        (Some(noun), Some((word, _))) if word != "--help" && word != "-h" => Err(Error::Flag {
            message: format!("unknown flag: {}", word.to_string_lossy()),
            usage: Usage { path: format!("{program} {noun}"), synopsis: "COMMAND" },
        }),
        (Some(noun), _) => output::print(&help::noun(&program, noun)).map(|()| 0),
        (None, _) => match catalog::at_top(first) {
            Some(entry) => start(cli, entry, format!("{program} {first}"), &rest),
            None => Err(unknown(&format!("{program} {first}"), first)),
        },
    }
}

/// A command of Docker's that is not there yet is told from one that nobody knows.
fn unknown(path: &str, word: &str) -> Error {
    match catalog::NOT_YET.contains(&word) {
        true => Error::NotYet(format!("`{path}`")),
        false => Error::UnknownCommand(path.to_owned()),
    }
}

/// What the shell says; empty is nothing.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where the daemon is: `--host`, `DOCKER_HOST`, or a state directory of ours.
fn locate(cli: &mut Cli, given: &Given) -> Result<(), Error> {
    let host = given.text("host").map(str::to_owned);
    if given.text("state").is_some() && host.is_some() {
        return Err(Error::Conflict("cannot specify both --host and --state"));
    }
    let host = host.or_else(|| variable("DOCKER_HOST").filter(|_| given.text("state").is_none()));
    if let Some(host) = host {
        if host.starts_with("tcp://") && variable("DOCKER_TLS_VERIFY").is_some() {
            return Err(Error::NotYet("TLS (DOCKER_TLS_VERIFY)".into()));
        }
        cli.address = Address::parse(&host)?;
        return Ok(());
    }
    let state = given.text("state").map(str::to_owned).or_else(|| variable("CORTEN_STATE"));
    let state = PathBuf::from(state.as_deref().unwrap_or(DEFAULT_STATE));
    let state = std::path::absolute(state).map_err(Error::Input)?;
    cli.address = Address::in_state(&state);
    cli.state = Some(state);
    Ok(())
}

fn start(cli: &mut Cli, entry: &Entry, path: String, words: &[OsString]) -> Result<u8, Error> {
    let command = entry.command;
    let usage = Usage { path, synopsis: command.synopsis };
    let parser = || flags::parser(entry.verbs[0], command.operands, with_namespace((command.flags)()));
    let given = match Given::parse(usage.clone(), parser(), command.refused, words) {
        // Docker's old letter for the help, where the command does not use it itself.
        Err(Error::Flag { message, .. }) if message == "unknown shorthand flag: 'h' in -h" => {
            Given::parse(usage, parser(), command.refused, &["--help".into()])?
        }
        result => result?,
    };
    if given.switch("help") {
        return output::print(&help::command(&cli.program, entry, &given)).map(|()| 0);
    }
    given.check(command.operands)?;
    if let Some(namespace) = given.text("namespace") {
        cli.namespace = Some(namespace.to_owned());
    }
    (command.run)(cli, &given)
}

/// Asks a question that takes a `y`; anything else, and the end of stdin, is a no.
pub(crate) fn confirm(question: &str) -> Result<bool, Error> {
    output::print(&format!("{question}\nAre you sure you want to continue? [y/N] "))?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(Error::Input)?;
    if !io::stdin().is_terminal() {
        output::print("\n")?;
    }
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

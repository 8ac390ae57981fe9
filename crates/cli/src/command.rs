//! What a command is, and how the words of a command line become a run of one.
//!
//! Only the parser of the command that was asked for is built: the tree is a table of functions (see [`crate::catalog`]),
//! not of clap's commands, because building a hundred flags of other commands would cost more than the request.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::Arg;

use crate::catalog::{self, Entry};
use crate::client::address::Material;
use crate::client::{Address, Client, Manner};
use crate::error::Error;
use crate::flags::{self, Given, Operands, Refused, Usage, list, switch, value};
use crate::launch::Launcher;
use crate::registry::config::Config;
use crate::settings::Settings;
use crate::system::completion;
use crate::table::{self, Spacing};
use crate::{help, nerdctl, output};

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
    /// What the program was called: `corten`, `docker` or `nerdctl`.
    pub(crate) program: String,
    address: Address,
    /// The state directory of the daemon that may be started; none when an address was given.
    state: Option<PathBuf>,
    /// None: the daemon's default.
    namespace: Option<String>,
    /// Requests are told on stderr.
    is_debug: bool,
    settings: OnceCell<Settings>,
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
        let manner = Manner {
            namespace: self.namespace.clone(),
            headers: self.settings().headers(),
            is_told: self.is_debug,
        };
        let client = Client::new(self.address.clone(), launcher, manner);
        let result = runtime.block_on(work(&client));
        runtime.shutdown_background();
        result
    }

    /// Whether it was called by nerdctl's name: lists then have that program's columns.
    pub(crate) fn is_nerdctl(&self) -> bool {
        self.program == "nerdctl"
    }

    /// How the columns of a list are spaced.
    pub(crate) fn spacing(&self) -> Spacing {
        if self.is_nerdctl() { table::NERDCTL } else { table::LIST }
    }

    /// What the user's `config.json` wishes.
    pub(crate) fn settings(&self) -> &Settings {
        self.settings.get_or_init(Settings::load)
    }

    /// Where the daemon is, as `--host` would say it.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Whether requests are told.
    pub(crate) fn is_debug(&self) -> bool {
        self.is_debug
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

const DEBUG: &str = "Tell on stderr what is asked of the daemon";

/// Flags before the command.
pub(crate) fn global_flags() -> Vec<Arg> {
    let mut flags = vec![
        value("config", "string", "Location of client config files (default \"~/.docker\")"),
        value(
            "context",
            "string",
            "Name of the context to use to connect to the daemon (only \"default\" is there)",
        )
        .short('c'),
        switch("debug", DEBUG).alias("debug-full").short('D'),
        list("host", "list", "Daemon socket to connect to").short('H'),
        value(
            "log-level",
            "string",
            "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\") (default \"info\")",
        )
        .short('l'),
        namespace_flag().short('n'),
        switch("tls", "Use TLS; implied by --tlsverify"),
        value("tlscacert", "string", "Trust certs signed only by this CA (default \"~/.docker/ca.pem\")"),
        value("tlscert", "string", "Path to TLS certificate file (default \"~/.docker/cert.pem\")"),
        value("tlskey", "string", "Path to TLS key file (default \"~/.docker/key.pem\")"),
        switch("tlsverify", "Use TLS and verify the remote"),
        value("state", "string", "State directory of the daemon to use or start (default \"/run/corten\")"),
        switch("version", "Print version information and quit").short('v'),
    ];
    flags.extend(machine_flags());
    flags
}

/// nerdctl's flag: it may be given before the command and after it.
fn namespace_flag() -> Arg {
    value("namespace", "string", "Namespace of containers and images (default \"default\")")
}

/// What nerdctl may be told about the machine, before the command and after it, if it is so.
fn machine_flags() -> [Arg; 2] {
    [
        value("cgroup-manager", "string", "Who manages control groups (only \"cgroupfs\")").hide(true),
        value("snapshotter", "string", "What keeps layers (only \"overlayfs\")")
            .alias("storage-driver")
            .hide(true),
    ]
}

/// Refuses what the machine is not.
fn check_machine(given: &Given) -> Result<(), Error> {
    for (flag, own) in [("cgroup-manager", "cgroupfs"), ("snapshotter", "overlayfs")] {
        if let Some(other) = given.text(flag).filter(|text| *text != own) {
            return Err(given.invalid(flag, other, format!("there is only \"{own}\"")));
        }
    }
    Ok(())
}

/// A command's own flags, and those that may be given anywhere; a letter is the command's where the command has it.
fn with_common(mut flags: Vec<Arg>) -> Vec<Arg> {
    let has_letter = flags.iter().any(|flag| flag.get_short() == Some('n'));
    let flag = namespace_flag().hide(true);
    flags.push(if has_letter { flag } else { flag.short('n') });
    flags.extend(machine_flags());
    flags.push(switch("debug", DEBUG).alias("debug-full").hide(true));
    flags
}

/// How the whole program is used.
pub(crate) const SYNOPSIS: &str = "[OPTIONS] COMMAND [ARG...]";

/// Runs the command line `words` (without the program's name); returns the exit code.
pub(crate) fn run(program: &str, words: &[OsString]) -> u8 {
    let mut cli = Cli {
        program: program.to_owned(),
        address: Address::in_state(DEFAULT_STATE.as_ref()),
        state: None,
        namespace: None,
        is_debug: false,
        settings: OnceCell::new(),
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
    let given = Given::parse(usage, parser, &[], words)?;
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
    check_machine(&given)?;
    cli.is_debug = is_debug(&given)?;
    if let Some(directory) = given.text("config") {
        Config::set_directory(directory);
    }
    locate(cli, &given)?;
    cli.namespace = given.text("namespace").map(str::to_owned).or_else(|| variable("CONTAINERD_NAMESPACE"));
    let rest: Vec<OsString> = rest.iter().map(OsString::from).collect();
    match (*first, rest.split_first()) {
        (completion::APPLET, _) => {
            // A key that was pressed is no reason to start a daemon.
            cli.state = None;
            completion::complete(cli, &rest).map(|()| 0)
        }
        ("help", None) => output::print(&help::root(&program)).map(|()| 0),
        ("help", Some((topic, rest))) => {
            let rest: Vec<OsString> = rest.iter().cloned().chain(["--help".into()]).collect();
            let topic = topic.to_string_lossy();
            command(cli, &topic, &rest).map_err(|error| match error {
                Error::UnknownCommand(_) => Error::NoSuchTopic(topic.into_owned()),
                error => error,
            })
        }
        _ => command(cli, first, &rest),
    }
}

/// The command `first`, or one of the group of that name.
fn command(cli: &mut Cli, first: &str, rest: &[OsString]) -> Result<u8, Error> {
    let program = cli.program.clone();
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
            Some(entry) => start(cli, entry, format!("{program} {first}"), rest),
            None => Err(unknown(&format!("{program} {first}"), first)),
        },
    }
}

/// A command of Docker's that is not there yet is told from one that nobody knows.
fn unknown(path: &str, word: &str) -> Error {
    let in_group = path.split_once(' ').map_or(path, |(_, path)| path);
    if let Some((reason, hint)) = nerdctl::command(in_group) {
        return Error::NotThere { what: format!("`{path}`"), reason, hint };
    }
    match catalog::NOT_YET.contains(&word) || catalog::NOT_YET.contains(&in_group) {
        true => Error::NotYet(format!("`{path}`")),
        false => Error::UnknownCommand(path.to_owned()),
    }
}

/// What the shell says; empty is nothing.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether `--debug` or `--log-level` asks for what is otherwise not told.
fn is_debug(given: &Given) -> Result<bool, Error> {
    let level = given.parsed("log-level", |level| match level {
        "debug" => Ok(true),
        // There is nothing at these levels that is not part of a command's output.
        "info" | "warn" | "error" | "fatal" => Ok(false),
        _ => Err("it is one of \"debug\", \"info\", \"warn\", \"error\", \"fatal\""),
    })?;
    Ok(given.switch("debug") || level.unwrap_or(false))
}

/// Where the daemon is: `--host`, `DOCKER_HOST`, or a state directory of ours.
fn locate(cli: &mut Cli, given: &Given) -> Result<(), Error> {
    let host = match given.list("host")[..] {
        [] => None,
        [host] => Some(host.to_owned()),
        _ => return Err(Error::Conflict("specify only one -H")),
    };
    if given.text("context").is_some() && host.is_some() {
        return Err(Error::Conflict("cannot specify both --host and --context"));
    }
    let context = given.text("context").filter(|name| !name.is_empty()).map(str::to_owned);
    // As with Docker, the address of a shell is stronger than its context.
    let of_shell =
        || variable("DOCKER_CONTEXT").filter(|_| variable("DOCKER_HOST").is_none() && host.is_none());
    if let Some(name) = context.or_else(of_shell) {
        crate::context::check(&name)?;
    }
    if given.text("state").is_some() && host.is_some() {
        return Err(Error::Conflict("cannot specify both --host and --state"));
    }
    let host = host.or_else(|| variable("DOCKER_HOST").filter(|_| given.text("state").is_none()));
    if let Some(host) = host {
        cli.address = Address::parse(&host, tls(given))?;
        return match cli.address {
            Address::Unix(_) | Address::Ssh(_) if asks_for_tls(given) => {
                Err(Error::Conflict("TLS is for daemons at tcp://"))
            }
            _ => Ok(()),
        };
    }
    if asks_for_tls(given) {
        return Err(Error::Conflict("TLS is for daemons at tcp://, which --host or DOCKER_HOST names"));
    }
    let state = given.text("state").map(str::to_owned).or_else(|| variable("CORTEN_STATE"));
    let state = PathBuf::from(state.as_deref().unwrap_or(DEFAULT_STATE));
    let state = std::path::absolute(state).map_err(Error::Input)?;
    cli.address = Address::in_state(&state);
    cli.state = Some(state);
    Ok(())
}

/// Flags that the shell does not set: with them TLS is meant, whatever the address is.
fn asks_for_tls(given: &Given) -> bool {
    given.switch("tls") || given.text("tlsverify").is_some()
}

/// What TLS needs, if it is asked for. As with Docker, to say whether it is verified is to ask for it; the files are those that are
/// named, or those of the usual names in the directory of certificates.
fn tls(given: &Given) -> Option<Material> {
    let asked = given.text("tlsverify").map(|_| given.switch("tlsverify"));
    let is_verified = asked.unwrap_or_else(|| variable("DOCKER_TLS_VERIFY").is_some());
    if !is_verified && !asks_for_tls(given) && variable("DOCKER_TLS").is_none() {
        return None;
    }
    let directory = variable("DOCKER_CERT_PATH").map_or_else(Config::directory, PathBuf::from);
    let file = |flag, name| given.text(flag).map_or_else(|| directory.join(name), PathBuf::from);
    let (certificate, key) = (file("tlscert", "cert.pem"), file("tlskey", "key.pem"));
    // What was not named need not be there.
    let is_meant = |flag, path: &PathBuf| given.text(flag).is_some() || path.exists();
    let has_identity = is_meant("tlscert", &certificate) || is_meant("tlskey", &key);
    Some(Material {
        authority: is_verified.then(|| file("tlscacert", "ca.pem")),
        identity: has_identity.then_some((certificate, key)),
    })
}

fn start(cli: &mut Cli, entry: &Entry, path: String, words: &[OsString]) -> Result<u8, Error> {
    let command = entry.command;
    let usage = Usage { path, synopsis: command.synopsis };
    let parser = || flags::parser(entry.verbs[0], command.operands, with_common((command.flags)()));
    let mut given = match Given::parse(usage.clone(), parser(), command.refused, words) {
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
    cli.settings().apply(entry, &mut given);
    check_machine(&given)?;
    if let Some(namespace) = given.text("namespace") {
        cli.namespace = Some(namespace.to_owned());
    }
    cli.is_debug |= given.switch("debug");
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

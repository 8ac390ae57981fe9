//! The daemon as containerd: its command line, its paths, its configuration.
//!
//! ```text
//! file ─parse▶ document ─migrate▶ version 4 ─merge imports▶ said ─complete▶ every key ─settings▶ Config
//! ```
//!
//! A key that containerd has and Corten does not act upon is told when the daemon starts, and so is one that nobody knows.
//! The format: containerd-config.toml(5).

mod arguments;
mod document;
mod hook;
mod imports;
mod keys;
mod migrate;
mod print;
mod publish;
mod settings;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use arguments::{Arguments, Command};
use document::Document;

use crate::error::Error;
use crate::{logging, wire};

/// Read when it exists and no other was named.
const DEFAULT_PATH: &str = "/etc/containerd/config.toml";

/// `containerd …`; `args` are those after the program's name. Ends with 1 after any error, as containerd does.
pub fn main(args: &[String]) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("containerd: {}", error.chain());
            let hint = match error {
                Error::Config { .. } => Some("`corten containerd config default` prints every key"),
                _ => error.hint(),
            };
            if let Some(hint) = hint {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<(), Error> {
    let arguments = Arguments::parse(args)?;
    match &arguments.command {
        Command::Daemon => daemon(&arguments),
        Command::Help => print(arguments::USAGE),
        Command::Version => {
            print(&format!("containerd corten {} {}\n", containerd::VERSION, env!("CARGO_PKG_VERSION")))
        }
        Command::Default => print(&print::text(&keys::defaults())),
        Command::Dump => {
            let path = path_of(&arguments);
            show(&imports::follow(&path, main_file(&arguments)?)?)
        }
        Command::Migrate => show(&main_file(&arguments)?),
        Command::Hook(words) => {
            hook::run(words).map_err(|source| Error::System { what: "run the hook", source })
        }
        Command::Publish { topic, namespace } => {
            let address = arguments.address.as_deref().unwrap_or("/run/containerd/containerd.sock");
            let address = Path::new(address.strip_prefix("unix://").unwrap_or(address));
            publish::publish(address, namespace, topic)
                .map_err(|source| Error::System { what: "publish the event", source })
        }
    }
}

fn daemon(arguments: &Arguments) -> Result<(), Error> {
    let path = path_of(arguments);
    let document = imports::follow(&path, main_file(arguments)?)?;
    let config = settings::config(&path, &document, arguments)?;
    logging::start(config.log_level, config.log_format);
    for warning in settings::warnings(&document, &config) {
        tracing::warn!("{warning}");
    }
    wire::run(config)
}

fn path_of(arguments: &Arguments) -> PathBuf {
    arguments.config.clone().unwrap_or_else(|| DEFAULT_PATH.into())
}

/// The file that was named, or the usual one, which need not be there.
fn main_file(arguments: &Arguments) -> Result<Document, Error> {
    let path = path_of(arguments);
    if arguments.config.is_none() && !path.exists() { Ok(Document::absent()) } else { imports::read(&path) }
}

/// Prints what a document comes to; what there is to say of it goes to standard error.
fn show(document: &Document) -> Result<(), Error> {
    for note in &document.notes {
        eprintln!("warning: {note}");
    }
    print(&print::text(&document.complete()))
}

fn print(text: &str) -> Result<(), Error> {
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|source| Error::System { what: "write to standard output", source })
}

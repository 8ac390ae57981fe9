//! `--attach`: which of a container's streams are ours.

use api::docker::container::Config;
use clap::Arg;

use crate::error::Error;
use crate::flags::{Given, list};

/// Streams that are passed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Attached {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

impl Attached {
    /// What is printed, all of it.
    pub(crate) const OUTPUT: Attached = Attached { stdin: false, stdout: true, stderr: true };

    /// Notes it in the container's configuration.
    pub(crate) fn tell(self, config: &mut Config) {
        (config.attach_stdin, config.attach_stdout, config.attach_stderr) =
            (self.stdin, self.stdout, self.stderr);
        config.stdin_once = config.open_stdin && self.stdin;
    }

    /// Whether nothing that is printed is passed on.
    pub(crate) fn is_silent(self) -> bool {
        !self.stdout && !self.stderr
    }
}

pub(crate) fn flag() -> Arg {
    list("attach", "list", "Attach to STDIN, STDOUT or STDERR").short('a')
}

/// Without the flag: what is printed; stdin too if it is kept open.
pub(crate) fn read(given: &Given) -> Result<Attached, Error> {
    let streams = given.parsed_list("attach", |text| match text.to_ascii_lowercase().as_str() {
        "stdin" => Ok(Attached { stdin: true, ..Attached::default() }),
        "stdout" => Ok(Attached { stdout: true, ..Attached::default() }),
        "stderr" => Ok(Attached { stderr: true, ..Attached::default() }),
        _ => Err("valid streams are STDIN, STDOUT and STDERR"),
    })?;
    let asked = streams.into_iter().reduce(|one, other| Attached {
        stdin: one.stdin || other.stdin,
        stdout: one.stdout || other.stdout,
        stderr: one.stderr || other.stderr,
    });
    let asked = asked.unwrap_or(Attached::OUTPUT);
    Ok(Attached { stdin: asked.stdin || given.switch("interactive"), ..asked })
}

//! Real clients of others, from `tests/peers/fetch`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::host::{Host, Outcome, run_with_input};

/// A `ctr` of containerd, for one host.
#[derive(Debug)]
pub struct Ctr<'a> {
    host: &'a Host,
    /// In the folder of peers.
    program: &'static str,
    /// `1.6` or `2.1`.
    pub version: &'static str,
}

/// A program of `tests/peers/fetch`.
pub fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("CORTEN_PEERS").unwrap_or_else(|| "/var/cache/corten-peers".into());
    let program = PathBuf::from(folder).join(name);
    assert!(program.exists(), "{} is missing: run tests/peers/fetch", program.display());
    program
}

/// Debian's oldest and its newest.
pub fn ctrs(host: &Host) -> [Ctr<'_>; 2] {
    [("old/bin/ctr", "1.6"), ("bin/ctr", "2.1")].map(|(program, version)| Ctr { host, program, version })
}

impl Ctr<'_> {
    /// The command, for this host's daemon.
    pub fn command<S: AsRef<str>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(program(self.program));
        command.arg("--address").arg(self.host.state().join("corten.sock"));
        command.args(arguments.iter().map(AsRef::as_ref));
        command.stdin(Stdio::null());
        command
    }

    /// The arguments of a `run`, in a namespace. Its control group is the host's: the client's own choice is everybody's.
    pub fn container(&self, namespace: &str, flags: &[&str], id: &str, command: &[&str]) -> Vec<String> {
        let cgroup = format!("{}/{id}", self.host.cgroup());
        let run = ["-n", namespace, "run", "--cgroup", &cgroup];
        [&run, flags, &[id], command].concat().into_iter().map(str::to_owned).collect()
    }

    /// Runs it with no input.
    pub fn run<S: AsRef<str>>(&self, arguments: &[S]) -> Outcome {
        run_with_input(self.command(arguments), b"")
    }

    /// Runs it; it must succeed. Its standard output without the last line break.
    pub fn ok<S: AsRef<str>>(&self, arguments: &[S]) -> String {
        let outcome = self.run(arguments);
        let log = self.host.daemon_log_tail();
        assert_eq!(outcome.code, 0, "ctr {} {:?}: {outcome:?}\n{log}", self.version, words(arguments));
        outcome.stdout.trim_end_matches('\n').to_owned()
    }

    /// Runs it; it must fail with a message that ends in `text`.
    pub fn fails<S: AsRef<str>>(&self, arguments: &[S], text: &str) {
        let outcome = self.run(arguments);
        assert_ne!(outcome.code, 0, "ctr {} {:?}: {outcome:?}", self.version, words(arguments));
        assert!(outcome.stderr.contains(text), "ctr {} {:?}: {outcome:?}", self.version, words(arguments));
    }

    /// The words of each line of a table, without its head.
    pub fn table(&self, arguments: &[&str]) -> Vec<Vec<String>> {
        let text = self.ok(arguments);
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        text.lines().skip(1).map(words).collect()
    }
}

fn words<S: AsRef<str>>(arguments: &[S]) -> Vec<&str> {
    arguments.iter().map(AsRef::as_ref).collect()
}

//! `completion`: scripts that teach a shell our commands and flags.

use clap_complete::aot::{Bash, Fish, Generator, Zsh, generate};

use crate::catalog::{ENTRIES, Entry, NOUNS};
use crate::command::{self, Cli, Command};
use crate::error::Error;
use crate::flags::{self, Given, Operands};
use crate::output;

pub(crate) const COMMAND: Command = Command {
    synopsis: "bash|zsh|fish",
    about: "Generate the autocompletion script for the specified shell",
    operands: Operands::exactly(1),
    flags: Vec::new,
    refused: &[],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let script = match given.operand() {
        "bash" => script(Bash, &cli.program),
        "fish" => script(Fish, &cli.program),
        "zsh" => script(Zsh, &cli.program),
        shell => {
            return Err(given.misuse(&format!("no completion for '{shell}', only for bash, fish and zsh")));
        }
    };
    output::print(&script).map(|()| 0)
}

fn script(shell: impl Generator, program: &str) -> String {
    let mut script = Vec::new();
    generate(shell, &mut tree(program), program, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// All commands as one tree, which nothing else needs.
fn tree(program: &str) -> clap::Command {
    let leaf = |name: &'static str, entry: &Entry| {
        let command = entry.command;
        flags::parser(name, command.operands, (command.flags)()).no_binary_name(false).about(command.about)
    };
    let at_top = ENTRIES.iter().filter_map(|entry| {
        let name = entry.shortcut.or(entry.noun.is_none().then_some(entry.verbs[0]))?;
        Some(leaf(name, entry))
    });
    let groups = NOUNS.iter().map(|(noun, about)| {
        let entries = ENTRIES.iter().filter(|entry| entry.noun == Some(noun));
        clap::Command::new(*noun).about(*about).subcommands(entries.map(|entry| leaf(entry.verbs[0], entry)))
    });
    clap::Command::new(program.to_owned())
        .disable_help_subcommand(true)
        .args(command::global_flags())
        .subcommands(at_top)
        .subcommands(groups)
}

#[cfg(test)]
mod tests {
    use super::{Bash, Fish, Zsh, script, tree};

    #[test]
    fn every_shell_learns_every_command() {
        tree("corten").debug_assert();
        for script in [script(Bash, "corten"), script(Fish, "corten"), script(Zsh, "corten")] {
            for word in ["run", "images", "volume", "entrypoint", "detach-keys"] {
                assert!(script.contains(word), "{word}");
            }
        }
    }
}

//! `man DIR`: a manual page for every command, from the tables that the parsers and the helps are built of.

use std::fs;
use std::path::Path;

use clap::Arg;

use crate::catalog::{ENTRIES, Entry, NOUNS};
use crate::command::{self, Cli, Command};
use crate::error::Error;
use crate::flags::{self, Given, Operands};
use crate::help;

pub(crate) const COMMAND: Command = Command {
    synopsis: "DIR",
    about: "Write a manual page for every command into a directory",
    operands: Operands::exactly(1),
    flags: Vec::new,
    refused: &[],
    run,
};

fn run(_: &Cli, given: &Given) -> Result<u8, Error> {
    let directory = Path::new(given.operand());
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::File { action: "writing", path, source }
    };
    fs::create_dir_all(directory).map_err(failed(directory))?;
    for (name, text) in pages() {
        let path = directory.join(format!("{name}.1"));
        fs::write(&path, text).map_err(failed(&path))?;
    }
    Ok(0)
}

/// All pages by their names.
fn pages() -> Vec<(String, String)> {
    let mut pages = vec![("corten".to_owned(), root())];
    for (noun, about) in NOUNS {
        let own = ENTRIES.iter().filter(|entry| entry.noun == Some(noun));
        let commands = own.map(|entry| (format!("{noun} {}", entry.verbs[0]), entry.command.about)).collect();
        let page = head(&format!("corten {noun}"), about, "COMMAND") + &listed("COMMANDS", commands);
        pages.push((format!("corten-{noun}"), page));
    }
    for entry in ENTRIES {
        let verb = entry.verbs[0];
        let path = entry.noun.map_or_else(|| verb.to_owned(), |noun| format!("{noun} {verb}"));
        let name = format!("corten-{}", path.replace(' ', "-"));
        if let Some(shortcut) = entry.shortcut {
            pages.push((format!("corten-{shortcut}"), format!(".so man1/{name}.1\n")));
        }
        pages.push((name, page(entry, &path)));
    }
    pages
}

fn root() -> String {
    let at_top = ENTRIES.iter().filter_map(|entry| {
        let name = entry.shortcut.or(entry.noun.is_none().then_some(entry.verbs[0]))?;
        Some((name.to_owned(), entry.command.about))
    });
    let mut commands: Vec<(String, &str)> = at_top.collect();
    commands.extend(NOUNS.map(|(noun, about)| (noun.to_owned(), about)));
    commands.sort_unstable();
    let parser = flags::parser("corten", Operands::NONE, command::global_flags());
    head("corten", "a container stack in one command", command::SYNOPSIS)
        + &options(parser.get_arguments())
        + &listed("COMMANDS", commands)
}

fn page(entry: &Entry, path: &str) -> String {
    let command = entry.command;
    let parser = flags::parser(path, command.operands, (command.flags)());
    let mut page = head(&format!("corten {path}"), command.about, command.synopsis);
    page += &options(parser.get_arguments());
    let names = help::names("corten", entry);
    if names.len() > 1 {
        page += &format!(".SH ALIASES\n{}\n", escaped(&names.join(", ")));
    }
    let above = entry.noun.map_or_else(|| "corten".to_owned(), |noun| format!("corten-{noun}"));
    page + &format!(".SH SEE ALSO\n.BR {} (1)\n", escaped(&above))
}

fn head(path: &str, about: &str, synopsis: &str) -> String {
    let name = path.replace(' ', "-");
    format!(
        ".TH \"{}\" \"1\" \"\" \"Corten {}\" \"Corten manual\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n.B {}\n{}\n.SH DESCRIPTION\n{}.\n",
        escaped(&name.to_uppercase()),
        env!("CARGO_PKG_VERSION"),
        escaped(&name),
        escaped(about),
        escaped(path),
        escaped(synopsis),
        escaped(about),
    )
}

fn listed(title: &str, entries: Vec<(String, &str)>) -> String {
    let lines =
        entries.iter().map(|(name, about)| format!(".TP\n.B {}\n{}\n", escaped(name), escaped(about)));
    format!(".SH {title}\n{}", lines.collect::<String>())
}

fn options<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let mut flags: Vec<&Arg> = arguments.filter(|arg| !arg.is_positional() && !arg.is_hide_set()).collect();
    flags.sort_unstable_by_key(|arg| arg.get_long());
    let lines = flags.iter().map(|arg| {
        let about = arg.get_help().map(ToString::to_string).unwrap_or_default();
        format!(".TP\n.B {}\n{}\n", escaped(help::head(arg).trim()), escaped(&about))
    });
    format!(".SH OPTIONS\n{}", lines.collect::<String>())
}

/// Text as roff takes it: a dash is one, and no line begins a request.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::{escaped, pages};
    use crate::catalog::{ENTRIES, NOUNS};

    #[test]
    fn every_command_has_a_page_with_every_section() {
        let pages = pages();
        let shortcuts = ENTRIES.iter().filter(|entry| entry.shortcut.is_some()).count();
        assert_eq!(pages.len(), 1 + NOUNS.len() + ENTRIES.len() + shortcuts);
        for (name, text) in &pages {
            if let Some(target) = text.strip_prefix(".so man1/") {
                let target = target.trim_end().trim_end_matches(".1");
                assert!(pages.iter().any(|(name, _)| name == target), "{name} leads to {target}");
                continue;
            }
            let sections: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
            assert_eq!(sections[..3], ["NAME", "SYNOPSIS", "DESCRIPTION"], "{name}");
            assert!(text.starts_with(".TH \"CORTEN"), "{name}");
            // A line that begins with a dot is a request that is known.
            let requests = text.lines().filter(|line| line.starts_with(['.', '\'']));
            let known = [".TH ", ".SH ", ".TP", ".B ", ".BR "];
            requests.for_each(|line| assert!(known.iter().any(|known| line.starts_with(known)), "{line}"));
        }
        let (_, run) = pages.iter().find(|(name, _)| name == "corten-container-run").unwrap();
        assert!(run.contains(".B \\-\\-cap\\-add list\nAdd Linux capabilities\n"), "{run}");
    }

    #[test]
    fn text_stays_text() {
        assert_eq!(escaped(".a \\ -b"), "\\&.a \\e \\-b");
    }
}

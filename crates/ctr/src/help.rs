//! Help, in the layout of `ctr`'s.

use std::fmt::Write;

use crate::grammar::{Command, Does, Flag, Kind, spoken};

/// The help of the last command of `path`.
pub(crate) fn of(name: &str, path: &[&Command]) -> String {
    let command = path[path.len() - 1];
    let spoken = spoken(path);
    let title = spoken.replacen("ctr", name, 1);
    let mut text = format!("NAME:\n   {title} - {}\n\nUSAGE:\n   {title}", command.usage);
    let is_root = path.len() == 1;
    match command.does {
        Does::Group(_) if is_root => text.push_str(" [global options] command [command options]"),
        Does::Group(_) => text.push_str(" command [command options]"),
        _ => text.push_str(" [command options]"),
    }
    let operands = command.operands;
    if !operands.is_empty() {
        let _ = write!(text, " {operands}");
    }
    text.push('\n');
    if let Does::Refuse(reason) = command.does {
        let _ = write!(text, "\nNOT SUPPORTED:\n   {reason}\n");
    }
    if let Does::Group(group) = command.does {
        text.push_str("\nCOMMANDS:\n");
        let mut rows: Vec<(String, &str)> =
            group.iter().map(|one| (one.names.join(", "), one.usage)).collect();
        rows.push(("help, h".to_owned(), "Shows a list of commands or help for one command"));
        list(&mut text, &rows);
    }
    text.push_str(if is_root { "\nGLOBAL OPTIONS:\n" } else { "\nOPTIONS:\n" });
    let flags = command.flags.iter().copied().flatten();
    let mut rows: Vec<(String, String)> = flags.map(|flag| (head(flag), tail(flag))).collect();
    rows.push(("--help, -h".to_owned(), "Show help (default: false)".to_owned()));
    let rows: Vec<(String, &str)> = rows.iter().map(|(head, tail)| (head.clone(), tail.as_str())).collect();
    list(&mut text, &rows);
    text
}

fn list(text: &mut String, rows: &[(String, &str)]) {
    let width = rows.iter().map(|(head, _)| head.len()).max().unwrap_or(0);
    for (head, tail) in rows {
        let line = format!("   {head:width$}  {tail}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

fn head(flag: &Flag) -> String {
    let value = if flag.kind == Kind::Switch { "" } else { " value" };
    let dashed = |name: &&str| match name.len() {
        1 => format!("-{name}{value}"),
        _ => format!("--{name}{value}"),
    };
    flag.names.iter().map(dashed).collect::<Vec<_>>().join(", ")
}

fn tail(flag: &Flag) -> String {
    let mut text = flag.usage.to_owned();
    match (flag.kind, flag.default) {
        (Kind::Switch, _) => text.push_str(" (default: false)"),
        (_, "") => {}
        (Kind::Text | Kind::List, default) => {
            let _ = write!(text, " (default: {default:?})");
        }
        (_, default) => {
            let _ = write!(text, " (default: {default})");
        }
    }
    if !flag.env.is_empty() {
        let _ = write!(text, " [${}]", flag.env);
    }
    if let Some(reason) = flag.refusal {
        let _ = write!(text, " (not supported: {reason})");
    }
    text
}

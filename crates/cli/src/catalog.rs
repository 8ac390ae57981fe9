//! The table of all commands: where each is found, and under which names.

use crate::command::Command;
use crate::{container, context, image, inspect, namespace, network, registry, system, volume};

/// A command and its names.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The management group; none for commands that only exist at the top.
    pub(crate) noun: Option<&'static str>,
    /// Its names in the group (or at the top), the usual one first.
    pub(crate) verbs: &'static [&'static str],
    /// Its name at the top, beside the one in the group.
    pub(crate) shortcut: Option<&'static str>,
    pub(crate) command: &'static Command,
}

/// The management groups, with what they are about.
pub(crate) const NOUNS: [(&str, &str); 7] = [
    ("container", "Manage containers"),
    ("context", "Manage contexts"),
    ("image", "Manage images"),
    ("namespace", "Manage namespaces of containers and images"),
    ("network", "Manage networks"),
    ("system", "Manage Corten"),
    ("volume", "Manage volumes"),
];

/// Commands of Docker's that are not there yet: anywhere, or (two words) only in that group.
pub(crate) const NOT_YET: &[&str] = &[
    "build",
    "builder",
    "buildx",
    "checkpoint",
    "compose",
    "manifest",
    "node",
    "plugin",
    "secret",
    "service",
    "stack",
    "swarm",
    "trust",
    "volume update",
];

const fn entry(
    noun: &'static str,
    verbs: &'static [&'static str],
    shortcut: Option<&'static str>,
    command: &'static Command,
) -> Entry {
    Entry { noun: Some(noun), verbs, shortcut, command }
}

const fn top(verbs: &'static [&'static str], command: &'static Command) -> Entry {
    Entry { noun: None, verbs, shortcut: None, command }
}

/// Every command, in the order of the help.
pub(crate) static ENTRIES: &[Entry] = &[
    entry("container", &["attach"], Some("attach"), &container::attach::COMMAND),
    entry("container", &["commit"], Some("commit"), &container::commit::COMMAND),
    entry("container", &["cp"], Some("cp"), &container::cp::COMMAND),
    entry("container", &["create"], Some("create"), &container::create::COMMAND),
    entry("container", &["diff"], Some("diff"), &container::diff::COMMAND),
    entry("container", &["exec"], Some("exec"), &container::exec::COMMAND),
    entry("container", &["export"], Some("export"), &container::export::COMMAND),
    entry("container", &["inspect"], None, &container::inspect::COMMAND),
    entry("container", &["kill"], Some("kill"), &container::kill::COMMAND),
    entry("container", &["logs"], Some("logs"), &container::logs::COMMAND),
    entry("container", &["ls", "list", "ps"], Some("ps"), &container::ls::COMMAND),
    entry("container", &["pause"], Some("pause"), &container::pause::PAUSE),
    entry("container", &["port"], Some("port"), &container::port::COMMAND),
    entry("container", &["prune"], None, &container::prune::COMMAND),
    entry("container", &["rename"], Some("rename"), &container::rename::COMMAND),
    entry("container", &["restart"], Some("restart"), &container::restart::COMMAND),
    entry("container", &["rm", "remove"], Some("rm"), &container::rm::COMMAND),
    entry("container", &["run"], Some("run"), &container::run::COMMAND),
    entry("container", &["start"], Some("start"), &container::start::COMMAND),
    entry("container", &["stats"], Some("stats"), &container::stats::COMMAND),
    entry("container", &["stop"], Some("stop"), &container::stop::COMMAND),
    entry("container", &["top"], Some("top"), &container::top::COMMAND),
    entry("container", &["unpause"], Some("unpause"), &container::pause::UNPAUSE),
    entry("container", &["update"], Some("update"), &container::update::COMMAND),
    entry("container", &["wait"], Some("wait"), &container::wait::COMMAND),
    entry("context", &["inspect"], None, &context::INSPECT),
    entry("context", &["ls", "list"], None, &context::LS),
    entry("context", &["show"], None, &context::SHOW),
    entry("context", &["use"], None, &context::USE),
    entry("image", &["history"], Some("history"), &image::history::COMMAND),
    entry("image", &["import"], Some("import"), &image::import::COMMAND),
    entry("image", &["inspect"], None, &image::inspect::COMMAND),
    entry("image", &["load"], Some("load"), &image::load::COMMAND),
    entry("image", &["ls", "list"], Some("images"), &image::ls::COMMAND),
    entry("image", &["prune"], None, &image::prune::COMMAND),
    entry("image", &["pull"], Some("pull"), &image::pull::COMMAND),
    entry("image", &["push"], Some("push"), &image::push::COMMAND),
    entry("image", &["rm", "remove"], Some("rmi"), &image::rm::COMMAND),
    entry("image", &["save"], Some("save"), &image::save::COMMAND),
    entry("image", &["tag"], Some("tag"), &image::tag::COMMAND),
    entry("namespace", &["create"], None, &namespace::create::COMMAND),
    entry("namespace", &["inspect"], None, &namespace::inspect::COMMAND),
    entry("namespace", &["ls", "list"], None, &namespace::ls::COMMAND),
    entry("namespace", &["rm", "remove"], None, &namespace::rm::COMMAND),
    entry("namespace", &["update"], None, &namespace::update::COMMAND),
    entry("network", &["connect"], None, &network::connect::COMMAND),
    entry("network", &["create"], None, &network::create::COMMAND),
    entry("network", &["disconnect"], None, &network::disconnect::COMMAND),
    entry("network", &["inspect"], None, &network::inspect::COMMAND),
    entry("network", &["ls", "list"], None, &network::ls::COMMAND),
    entry("network", &["prune"], None, &network::prune::COMMAND),
    entry("network", &["rm", "remove"], None, &network::rm::COMMAND),
    entry("system", &["dial-stdio"], None, &system::dial_stdio::COMMAND),
    entry("system", &["df"], None, &system::df::COMMAND),
    entry("system", &["events"], Some("events"), &system::events::COMMAND),
    entry("system", &["info"], Some("info"), &system::info::COMMAND),
    entry("system", &["prune"], None, &system::prune::COMMAND),
    entry("volume", &["create"], None, &volume::create::COMMAND),
    entry("volume", &["inspect"], None, &volume::inspect::COMMAND),
    entry("volume", &["ls", "list"], None, &volume::ls::COMMAND),
    entry("volume", &["prune"], None, &volume::prune::COMMAND),
    entry("volume", &["rm", "remove"], None, &volume::rm::COMMAND),
    top(&["completion"], &system::completion::COMMAND),
    top(&["inspect"], &inspect::COMMAND),
    top(&["login"], &registry::login::COMMAND),
    top(&["logout"], &registry::logout::COMMAND),
    top(&["man"], &system::man::COMMAND),
    top(&["search"], &registry::search::COMMAND),
    top(&["version"], &system::version::COMMAND),
];

/// The group of that name.
pub(crate) fn noun(name: &str) -> Option<&'static str> {
    // nerdctl's short word.
    let name = if name == "ns" { "namespace" } else { name };
    NOUNS.iter().map(|(noun, _)| *noun).find(|noun| *noun == name)
}

/// The command of a group.
pub(crate) fn under_noun(noun: &str, verb: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.noun == Some(noun) && entry.verbs.contains(&verb))
}

/// The command that needs no group.
pub(crate) fn at_top(name: &str) -> Option<&'static Entry> {
    ENTRIES
        .iter()
        .find(|entry| entry.shortcut == Some(name) || (entry.noun.is_none() && entry.verbs.contains(&name)))
}

#[cfg(test)]
mod tests {
    use super::{ENTRIES, NOT_YET, at_top, noun, under_noun};

    #[test]
    fn every_name_finds_its_own_command() {
        for entry in ENTRIES {
            for verb in entry.verbs {
                let found = match entry.noun {
                    Some(noun) => under_noun(noun, verb),
                    None => at_top(verb),
                };
                assert!(std::ptr::eq(found.unwrap(), entry), "{verb}");
                // A group's verb may be refused in another group: `builder prune` is not there, `image prune` is.
                assert!(entry.noun.is_some() || !NOT_YET.contains(verb), "{verb}");
            }
            if let Some(shortcut) = entry.shortcut {
                assert!(std::ptr::eq(at_top(shortcut).unwrap(), entry), "{shortcut}");
                assert!(!NOT_YET.contains(&shortcut) && noun(shortcut).is_none(), "{shortcut}");
            }
        }
    }

    #[test]
    fn every_parser_builds_and_every_flag_has_a_help() {
        for entry in ENTRIES {
            let parser =
                crate::flags::parser(entry.verbs[0], entry.command.operands, (entry.command.flags)());
            parser.clone().debug_assert();
            for arg in parser.get_arguments().filter(|arg| !arg.is_positional()) {
                assert!(arg.get_help().is_some(), "{} --{}", entry.verbs[0], arg.get_id());
                let refused = entry.command.refused.iter().any(|(name, _)| *name == arg.get_id());
                assert!(!refused, "{} --{} is there and refused", entry.verbs[0], arg.get_id());
            }
        }
    }
}

//! `--security-opt` and `--sysctl`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

use api::docker::host_config::HostConfig;
use clap::Arg;

use crate::error::Error;
use crate::flags::{Given, list, value};
use crate::json;

/// The longest seccomp profile that is read.
const MAX_PROFILE: u64 = 1024 * 1024;

/// Kernel parameters of the IPC namespace; those of the network and of message queues go by their prefix.
const IPC_SYSCTLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

/// The flags about what holds a container back, and what it runs in.
pub(super) fn flags() -> Vec<Arg> {
    vec![
        value("isolation", "string", "Container isolation technology"),
        value("runtime", "string", "Runtime to use for this container"),
        list("security-opt", "list", "Security Options"),
        list("storage-opt", "list", "Storage driver options for the container"),
        value("userns", "string", "User namespace to use"),
    ]
}

/// Puts what the flags ask for into `host`: the text of a seccomp profile instead of its path, and empty lists of hidden
/// paths for `systempaths=unconfined`, which the API has no option for.
pub(crate) fn apply(given: &Given, host: &mut HostConfig) -> Result<(), Error> {
    let mut options = Vec::new();
    for option in given.list("security-opt") {
        let pair = option.split_once('=').or_else(|| option.split_once(':'));
        match pair {
            None if option != "no-new-privileges" => {
                return Err(Error::Value(format!("Invalid --security-opt: {option:?}")));
            }
            Some(("systempaths", "unconfined")) => {
                host.masked_paths = Some(Vec::new());
                host.readonly_paths = Some(Vec::new());
            }
            Some(("seccomp", path)) if !matches!(path, "unconfined" | "builtin") => {
                options.push(format!("seccomp={}", profile(path)?));
            }
            _ => options.push(option.to_owned()),
        }
    }
    host.security_opt = (!options.is_empty()).then_some(options);
    let text = |flag| given.text(flag).unwrap_or_default().to_owned();
    host.userns_mode = text("userns");
    if !matches!(host.userns_mode.as_str(), "" | "host") {
        return Err(Error::Value("--userns: invalid USER mode".into()));
    }
    host.isolation = text("isolation");
    host.runtime = text("runtime");
    let mut storage = BTreeMap::new();
    for option in given.list("storage-opt") {
        let (key, value) =
            option.split_once('=').ok_or_else(|| Error::Value("invalid storage option".into()))?;
        storage.insert(key.to_owned(), value.to_owned());
    }
    host.storage_opt = (!storage.is_empty()).then_some(storage);
    Ok(())
}

fn profile(path: &str) -> Result<String, Error> {
    let failed =
        |source: io::Error| Error::Value(format!("opening seccomp profile ({path}) failed: {source}"));
    let mut text = String::new();
    File::open(path).map_err(failed)?.take(MAX_PROFILE).read_to_string(&mut text).map_err(failed)?;
    serde_json::from_str::<serde::de::IgnoredAny>(&text).map_err(|error| {
        Error::Value(format!("compacting json for seccomp profile ({path}) failed: {error}"))
    })?;
    Ok(json::compact(&text))
}

/// All `--sysctl`.
pub(crate) fn sysctls(given: &Given) -> Result<Option<BTreeMap<String, String>>, Error> {
    let pairs = given.parsed_list("sysctl", sysctl)?;
    Ok((!pairs.is_empty()).then(|| pairs.into_iter().collect()))
}

/// `NAME=VALUE` of a parameter that belongs to a container's own namespaces.
fn sysctl(text: &str) -> Result<(String, String), String> {
    let refused = || format!("sysctl '{text}' is not allowed");
    let (name, value) = text.split_once('=').ok_or_else(refused)?;
    let is_own = IPC_SYSCTLS.contains(&name) || name.starts_with("net.") || name.starts_with("fs.mqueue.");
    if is_own { Ok((name.to_owned(), value.to_owned())) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::sysctl;

    #[test]
    fn only_parameters_of_namespaces_may_be_set() {
        for text in ["net.ipv4.ip_forward=1", "kernel.shmmax=1", "fs.mqueue.msg_max=5", "kernel.sem=1 2 3 4"]
        {
            assert!(sysctl(text).is_ok(), "{text}");
        }
        for text in ["kernel.panic=1", "net.ipv4.ip_forward", "vm.swappiness=1", "", "=", "fs.file-max=1"] {
            assert_eq!(sysctl(text), Err(format!("sysctl '{text}' is not allowed")));
        }
    }
}

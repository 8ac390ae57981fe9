//! `--security-opt` and `--sysctl`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

use api::docker::host_config::HostConfig;

use crate::error::Error;
use crate::flags::Given;
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

/// Puts what `--security-opt` asks for into `host`: the text of a seccomp profile instead of its path, and empty lists of
/// hidden paths for `systempaths=unconfined`, which the API has no option for.
pub(crate) fn apply(given: &Given, host: &mut HostConfig) -> Result<(), Error> {
    let mut options = Vec::new();
    for option in given.list("security-opt") {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        if value.is_empty() && key != "no-new-privileges" {
            return Err(Error::Value(format!("invalid --security-opt: \"{option}\"")));
        }
        match (key, value) {
            ("systempaths", "unconfined") => {
                host.masked_paths = Some(Vec::new());
                host.readonly_paths = Some(Vec::new());
            }
            ("seccomp", "unconfined" | "builtin") => options.push(option.to_owned()),
            ("seccomp", path) => options.push(format!("seccomp={}", profile(path)?)),
            _ => options.push(option.to_owned()),
        }
    }
    host.security_opt = (!options.is_empty()).then_some(options);
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

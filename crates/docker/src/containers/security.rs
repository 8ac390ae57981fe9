//! `HostConfig.SecurityOpt`, `MaskedPaths`, `ReadonlyPaths`, `UsernsMode`: what holds a container back.

use api::docker::host_config::HostConfig;
use engine::containers::ContainerSpec;
use engine::containers::spec::SeccompMode;
use runtime::defaults;

use crate::error::{Error, Result};

/// More paths than there are worth hiding.
const PATHS_MAX: usize = 1024;

pub(super) fn read(host: &HostConfig, spec: &mut ContainerSpec) -> Result<()> {
    spec.security_options = host.security_opt.clone().unwrap_or_default();
    for option in host.security_opt.iter().flatten() {
        read_option(option, spec)?;
    }
    spec.host_userns = match host.userns_mode.as_str() {
        "" => false,
        "host" => true,
        mode => return Err(Error::invalid(format!("invalid userns mode: {mode}"))),
    };
    let paths = |field: &str, asked: &Option<Vec<String>>, default: fn() -> Vec<String>| {
        let Some(asked) = asked else { return Ok(None) };
        if let Some(path) = asked.iter().find(|path| !path.starts_with('/') || path.contains('\0')) {
            return Err(Error::invalid(format!("{path:?} in HostConfig.{field} is not an absolute path")));
        }
        if asked.len() > PATHS_MAX {
            return Err(Error::invalid(format!("more than {PATHS_MAX} paths in HostConfig.{field}")));
        }
        // As inspect shows the default.
        Ok(Some(asked.clone()).filter(|asked| *asked != default()))
    };
    for (own, read) in [
        (&mut spec.masked_paths, paths("MaskedPaths", &host.masked_paths, defaults::masked_paths)?),
        (&mut spec.readonly_paths, paths("ReadonlyPaths", &host.readonly_paths, defaults::readonly_paths)?),
    ] {
        if read.is_some() {
            *own = read;
        }
    }
    Ok(())
}

/// One `--security-opt`: `name`, `name=value` or, of old, `name:value`.
fn read_option(option: &str, spec: &mut ContainerSpec) -> Result<()> {
    let invalid = || Err(Error::invalid(format!("invalid --security-opt 2: {option:?}")));
    let (name, value) = option.split_once('=').or_else(|| option.split_once(':')).unwrap_or((option, ""));
    match (name, value) {
        ("no-new-privileges", "") => spec.no_new_privileges = true,
        ("no-new-privileges", word) => match truth(word) {
            Some(truth) => spec.no_new_privileges = truth,
            None => return invalid(),
        },
        ("writable-cgroups", word) => match truth(word) {
            Some(truth) => spec.writable_cgroups = truth,
            None => return invalid(),
        },
        ("seccomp", "unconfined") => spec.seccomp = SeccompMode::Unconfined,
        ("seccomp", "builtin") => spec.seccomp = SeccompMode::Default,
        ("seccomp", profile) if profile.trim_start().starts_with('{') => {
            spec.seccomp = SeccompMode::Profile(profile.to_owned());
        }
        ("systempaths", "unconfined") => {
            (spec.masked_paths, spec.readonly_paths) = (Some(Vec::new()), Some(Vec::new()));
        }
        ("apparmor", profile) if !profile.is_empty() => profile.clone_into(&mut spec.apparmor_profile),
        // SELinux confines no container here, so there is nothing to switch off.
        ("label", "disable") => {}
        ("label", word) if !word.is_empty() => {
            return Err(Error::not_there_yet(format!("SELinux (`--security-opt {option}`)")));
        }
        _ => return invalid(),
    }
    Ok(())
}

/// Go's words for a truth.
fn truth(word: &str) -> Option<bool> {
    match word {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// As inspect shows it.
pub(super) fn describe(spec: &ContainerSpec, host: &mut HostConfig) {
    // As dockerd: `null` for a privileged container, nothing for one that was asked to show all.
    let paths = |asked: &Option<Vec<String>>, default: fn() -> Vec<String>| match asked {
        Some(paths) => Some(paths.clone()),
        None if spec.privileged => None,
        None => Some(default()),
    };
    host.masked_paths = paths(&spec.masked_paths, defaults::masked_paths);
    host.readonly_paths = paths(&spec.readonly_paths, defaults::readonly_paths);
    host.security_opt = Some(spec.security_options.clone()).filter(|options| !options.is_empty());
    if spec.host_userns {
        host.userns_mode = "host".into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_options(options: &[&str]) -> std::result::Result<ContainerSpec, String> {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let host = HostConfig { security_opt: Some(options), ..HostConfig::default() };
        let mut spec = ContainerSpec::default();
        read(&host, &mut spec).map(|()| spec).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_understood_and_shown_as_they_were_given() {
        let given = [
            "no-new-privileges:false",
            "label=disable",
            "apparmor:unconfined",
            "seccomp=unconfined",
            "writable-cgroups=true",
            "systempaths=unconfined",
        ];
        let spec = read_options(&given).unwrap();
        assert!(!spec.no_new_privileges && spec.writable_cgroups);
        assert_eq!(spec.apparmor_profile, "unconfined");
        assert_eq!(spec.seccomp, SeccompMode::Unconfined);
        assert_eq!(spec.masked_paths, Some(Vec::new()));
        let mut shown = HostConfig::default();
        describe(&spec, &mut shown);
        assert_eq!(shown.security_opt.unwrap(), given);
        assert_eq!(shown.masked_paths, Some(Vec::new()));
    }

    #[test]
    fn what_is_no_option_is_refused_in_dockers_words() {
        for option in
            ["foo=bar", "no-new-privileges=maybe", "systempaths=foo", "writable-cgroups", "apparmor"]
        {
            let want = format!("invalid --security-opt 2: {option:?}");
            assert_eq!(read_options(&[option]).unwrap_err(), want);
        }
        assert!(read_options(&["label=user:USER"]).unwrap_err().starts_with("SELinux"));
    }

    #[test]
    fn hidden_paths_are_those_that_were_asked_for() {
        let own = vec!["/proc/kcore".to_owned(), "/sys/fs".to_owned()];
        for (asked, want) in [
            (None, None),
            (Some(defaults::masked_paths()), None),
            (Some(Vec::new()), Some(Vec::new())),
            (Some(own.clone()), Some(own)),
        ] {
            let host = HostConfig { masked_paths: asked, ..HostConfig::default() };
            let mut spec = ContainerSpec::default();
            read(&host, &mut spec).unwrap();
            assert_eq!(spec.masked_paths, want);
        }
        let wrong = HostConfig { masked_paths: Some(vec!["proc".into()]), ..HostConfig::default() };
        assert!(read(&wrong, &mut ContainerSpec::default()).is_err());
    }
}

//! `--systemd`, nerdctl's and podman's: what systemd needs as a container's first process, without giving it everything. These are
//! file systems of its own at the places that it writes to, control groups that it may divide, and the signal that it stops at
//! (<https://systemd.io/CONTAINER_INTERFACE/>).

use std::collections::BTreeMap;

use api::docker::container::{Config, ContainerCreateBody};
use api::docker::host_config::HostConfig;
use api::docker::image::ImageInspect;
use clap::Arg;

use crate::error::Error;
use crate::flags::{Given, value};

/// Programs that are systemd in most images.
const INITS: [&str; 3] = ["/sbin/init", "/usr/sbin/init", "/usr/local/sbin/init"];

/// What systemd writes to, with the options of the file system there.
const PLACES: [(&str, &str); 4] =
    [("/run", "mode=755"), ("/run/lock", ""), ("/tmp", "exec,mode=1777"), ("/var/lib/journal", "mode=755")];

const STOP_SIGNAL: &str = "SIGRTMIN+3";

/// When a container is made ready for systemd.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Systemd {
    Always,
    /// If its first program is one of [`INITS`].
    IfInit,
    #[default]
    Never,
}

pub(super) fn flag() -> Arg {
    value("systemd", "string", "Make the container ready for systemd (\"always\", \"true\", \"false\")")
}

impl Systemd {
    pub(super) fn read(given: &Given) -> Result<Systemd, Error> {
        let parse = |text: &str| match text {
            "always" => Ok(Systemd::Always),
            "true" => Ok(Systemd::IfInit),
            "false" | "" => Ok(Systemd::Never),
            _ => Err("it is one of \"always\", \"true\", \"false\""),
        };
        Ok(given.parsed("systemd", parse)?.unwrap_or_default())
    }
}

/// Whether a container of this image begins with one of [`INITS`].
pub(super) fn is_init(config: &Config, image: &ImageInspect) -> bool {
    let words = |key: &str| {
        let list = image.config.as_ref().and_then(|config| config[key].as_array()).into_iter().flatten();
        list.filter_map(|word| word.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    // An entrypoint that was given takes the image's command away, too.
    let (entrypoint, own) = match &config.entrypoint {
        Some(given) => (given.0.clone(), Vec::new()),
        None => (words("Entrypoint"), words("Cmd")),
    };
    let command = config.cmd.as_ref().map_or(own, |command| command.0.clone());
    let program = entrypoint.iter().chain(&command).find(|word| !word.is_empty());
    program.is_some_and(|program| INITS.contains(&program.as_str()))
}

/// Makes a container ready; what the user said about the same things holds.
pub(super) fn prepare(body: &mut ContainerCreateBody) {
    let (config, host) = (&mut body.config, &mut body.host_config);
    if config.stop_signal.is_empty() {
        STOP_SIGNAL.clone_into(&mut config.stop_signal);
    }
    let missing: BTreeMap<String, String> = PLACES
        .iter()
        .filter(|(place, _)| !is_mounted(config, host, place))
        .map(|(place, options)| ((*place).to_owned(), (*options).to_owned()))
        .collect();
    host.tmpfs.get_or_insert_default().extend(missing);
    let options = host.security_opt.get_or_insert_default();
    if !host.privileged && !options.iter().any(|option| option.starts_with("writable-cgroups")) {
        options.push("writable-cgroups=true".to_owned());
    }
}

fn is_mounted(config: &Config, host: &HostConfig, place: &str) -> bool {
    let at_bind = |bind: &String| bind.split(':').nth(1) == Some(place);
    host.binds.iter().flatten().any(at_bind)
        || host.mounts.iter().flatten().any(|mount| mount.target == place)
        || host.tmpfs.iter().flatten().any(|(target, _)| target == place)
        || config.volumes.iter().flatten().any(|(target, _)| target == place)
}

#[cfg(test)]
mod tests {
    use super::{is_init, prepare};
    use api::docker::Command as Words;
    use api::docker::container::{Config, ContainerCreateBody};
    use api::docker::host_config::HostConfig;
    use api::docker::image::ImageInspect;
    use serde_json::json;

    fn words(list: &[&str]) -> Option<Words> {
        Some(Words(list.iter().map(|word| (*word).to_owned()).collect()))
    }

    #[test]
    fn an_init_is_known_by_its_path() {
        let image = |json| ImageInspect { config: Some(json), ..ImageInspect::default() };
        let with_init = image(json!({"Cmd": ["/sbin/init"]}));
        let with_entry = image(json!({"Entrypoint": ["/entry"], "Cmd": ["/sbin/init"]}));
        let none = Config::default();
        let other = Config { cmd: words(&["sh"]), ..Config::default() };
        let own = Config { cmd: words(&["/usr/sbin/init"]), ..Config::default() };
        let entry = Config { entrypoint: words(&["sh"]), ..Config::default() };
        let nothing = Config { entrypoint: words(&[""]), cmd: words(&["/sbin/init"]), ..Config::default() };
        for (config, image, want) in [
            (&none, &with_init, true),
            (&none, &with_entry, false),
            (&other, &with_init, false),
            (&own, &image(json!(null)), true),
            (&entry, &with_init, false),
            (&nothing, &with_entry, true),
        ] {
            assert_eq!(is_init(config, image), want, "{config:?} {image:?}");
        }
    }

    #[test]
    fn what_the_user_said_holds() {
        let mut body = ContainerCreateBody::default();
        prepare(&mut body);
        let host = &body.host_config;
        assert_eq!(body.config.stop_signal, "SIGRTMIN+3");
        assert_eq!(host.security_opt.as_deref(), Some(&["writable-cgroups=true".to_owned()][..]));
        let places: Vec<_> = host.tmpfs.iter().flatten().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["/run", "/run/lock", "/tmp", "/var/lib/journal"]);
        let host = HostConfig {
            binds: Some(vec!["/a:/run".into(), "b:/tmp:ro".into()]),
            tmpfs: Some([("/run/lock".to_owned(), "size=1m".to_owned())].into()),
            privileged: true,
            ..HostConfig::default()
        };
        let config = Config { stop_signal: "INT".into(), ..Config::default() };
        let mut body = ContainerCreateBody { config, host_config: host, ..ContainerCreateBody::default() };
        prepare(&mut body);
        let places: Vec<_> = body.host_config.tmpfs.iter().flatten().collect();
        assert_eq!(
            places,
            [(&"/run/lock".into(), &"size=1m".into()), (&"/var/lib/journal".into(), &"mode=755".into())]
        );
        assert_eq!(body.config.stop_signal, "INT");
        assert_eq!(body.host_config.security_opt, Some(vec![]));
    }
}

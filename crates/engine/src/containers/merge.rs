//! What an image says and what a client says, merged as Docker does it. Pure.

use oci::image_config::{RuntimeConfig, is_reserved_label};

use super::spec::{ContainerSpec, Form, MountSpec, NetworkMode, Port, VolumeMount};
use crate::error::{Error, Result};

/// Completes `spec` with the image's configuration. Its anonymous volumes have no name yet.
pub(crate) fn merge(mut spec: ContainerSpec, image: &RuntimeConfig) -> Result<ContainerSpec> {
    // A new entrypoint makes the image's command meaningless; an empty one (`--entrypoint ""`) takes the image's away.
    if spec.entrypoint.is_none() {
        spec.entrypoint = image.entrypoint.clone();
        if spec.command.as_ref().is_none_or(Vec::is_empty) {
            spec.command = image.cmd.clone();
        }
    }
    if args(&spec).is_empty() {
        return Err(Error::InvalidArgument("no command specified".into()));
    }
    spec.env = merge_env(&image.env, &spec.env);
    if spec.working_dir.is_empty() {
        spec.working_dir = image.working_dir.clone();
    }
    if spec.user.is_empty() {
        spec.user = image.user.clone();
    }
    if spec.stop_signal.is_empty() {
        spec.stop_signal = image.stop_signal.clone();
    }
    spec.stop_timeout_s = spec.stop_timeout_s.or(image.stop_timeout);
    if let Some(check) = &image.healthcheck {
        spec.health_check.get_or_insert_default().merge(check);
    }
    if spec.shell.is_empty() {
        spec.shell = image.shell.clone().unwrap_or_default();
    }
    for (key, value) in image.labels.iter().filter(|(key, _)| !is_reserved_label(key)) {
        spec.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    if spec.network == NetworkMode::Networks {
        spec.networking.exposed.extend(image.exposed_ports.iter().filter_map(|text| Port::parse(text)));
    }
    for target in &image.volumes {
        let target = clean_path(target);
        if !spec.mounts.iter().any(|mount| clean_path(mount.target()) == target) {
            let form = Form::Short(String::new());
            spec.mounts.push(MountSpec::Volume(VolumeMount { target, form, ..VolumeMount::default() }));
        }
    }
    Ok(spec)
}

/// What is executed.
pub(crate) fn args(spec: &ContainerSpec) -> Vec<String> {
    let parts = [spec.entrypoint.as_deref(), spec.command.as_deref()];
    // `--entrypoint ""` arrives as one empty word.
    parts.into_iter().flatten().filter(|words| *words != [""]).flatten().cloned().collect()
}

/// The `image`'s variables in their order, each with the client's value if it has one; then the client's own.
pub(crate) fn merge_env(image: &[String], client: &[String]) -> Vec<String> {
    let mut merged: Vec<String> = Vec::with_capacity(image.len() + client.len());
    for entry in image.iter().chain(client) {
        let key = env_key(entry);
        match merged.iter_mut().find(|known| env_key(known) == key) {
            Some(known) => known.clone_from(entry),
            None => merged.push(entry.clone()),
        }
    }
    merged.retain(|entry| entry.contains('='));
    merged
}

fn env_key(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(key, _)| key)
}

/// An absolute path without `.`, `..`, doubled and final slashes.
pub(crate) fn clean_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use oci::image_config::Healthcheck;

    use super::super::spec::HealthCheckSpec;
    use super::*;

    fn words(text: Option<&str>) -> Option<Vec<String>> {
        text.map(|text| text.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn entrypoint_and_command_are_merged_as_docker_does() {
        // image entrypoint, image command, client entrypoint, client command, what runs
        let cases: [[Option<&str>; 5]; 8] = [
            [None, Some("sh"), None, None, Some("sh")],
            [None, Some("sh"), None, Some("ls -l"), Some("ls -l")],
            [Some("/init"), Some("a b"), None, None, Some("/init a b")],
            [Some("/init"), Some("a b"), None, Some("c"), Some("/init c")],
            [Some("/init"), Some("a b"), Some("echo"), None, Some("echo")],
            [Some("/init"), Some("a b"), Some("echo"), Some("x"), Some("echo x")],
            [Some("/init"), Some("a b"), Some(""), Some("x"), Some("x")],
            [None, None, None, None, None],
        ];
        for [image_entrypoint, image_command, entrypoint, command, expected] in cases {
            let image = RuntimeConfig {
                entrypoint: words(image_entrypoint),
                cmd: words(image_command),
                ..RuntimeConfig::default()
            };
            let spec = ContainerSpec {
                entrypoint: words(entrypoint),
                command: words(command),
                ..ContainerSpec::default()
            };
            let merged = merge(spec, &image).map(|merged| args(&merged));
            assert_eq!(merged.ok(), words(expected), "{entrypoint:?} {command:?}");
        }
        let cleared = ContainerSpec {
            entrypoint: Some(vec![String::new()]),
            command: words(Some("x")),
            ..ContainerSpec::default()
        };
        assert_eq!(args(&cleared), ["x"]);
    }

    #[test]
    fn what_a_client_leaves_open_of_a_health_check_is_the_image_s() {
        let image = RuntimeConfig {
            cmd: words(Some("sh")),
            healthcheck: Some(Healthcheck {
                test: vec!["CMD-SHELL".into(), "true".into()],
                interval: Some(7),
                retries: Some(2),
                ..Healthcheck::default()
            }),
            shell: words(Some("bash -c")),
            ..RuntimeConfig::default()
        };
        let merged = |check: Option<HealthCheckSpec>| {
            merge(ContainerSpec { health_check: check, ..ContainerSpec::default() }, &image).unwrap()
        };
        let images = merged(None);
        assert_eq!(images.shell, ["bash", "-c"]);
        let images = images.health_check.unwrap();
        assert_eq!((images.test[1].as_str(), images.interval_ns, images.retries), ("true", 7, 2));
        let none = HealthCheckSpec { test: vec!["NONE".into()], retries: 9, ..HealthCheckSpec::default() };
        let none = merged(Some(none)).health_check.unwrap();
        assert_eq!((none.test, none.interval_ns, none.retries), (vec!["NONE".to_owned()], 7, 9));
    }

    #[test]
    fn labels_by_which_clients_command_are_not_an_image_s_to_give() {
        let labels = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let image = RuntimeConfig {
            cmd: words(Some("sh")),
            labels: labels(&[
                ("containerd.io/restart.loguri", "binary:///bin/sh"),
                ("containerd.io/restart.status", "running"),
                ("nerdctl/log-uri", "binary:///bin/sh"),
                ("maintainer", "somebody"),
            ]),
            ..RuntimeConfig::default()
        };
        let spec = ContainerSpec { labels: labels(&[("nerdctl/name", "mine")]), ..ContainerSpec::default() };
        let merged = merge(spec, &image).unwrap();
        assert_eq!(merged.labels, labels(&[("maintainer", "somebody"), ("nerdctl/name", "mine")]));
    }

    #[test]
    fn variables_keep_their_place_and_can_be_taken_away() {
        let own = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let merged = merge_env(&own(&["PATH=/bin", "A=1", "B=2"]), &own(&["C=3", "A=x=y", "B", "D"]));
        assert_eq!(merged, ["PATH=/bin", "A=x=y", "C=3"]);
    }

    #[test]
    fn the_client_s_mount_wins_over_the_image_s_volume() {
        let image = RuntimeConfig {
            cmd: words(Some("sh")),
            volumes: ["/data/", "/var/../log"].map(str::to_owned).into(),
            ..RuntimeConfig::default()
        };
        let mine = MountSpec::Volume(VolumeMount {
            name: "mine".into(),
            target: "/data".into(),
            ..VolumeMount::default()
        });
        let spec = ContainerSpec { mounts: vec![mine.clone()], ..ContainerSpec::default() };
        let merged = merge(spec, &image).unwrap();
        assert_eq!(merged.mounts[0], mine);
        assert_eq!(merged.mounts.len(), 2);
        assert_eq!(merged.mounts[1].target(), "/log");
    }
}

//! `POST /containers/create`: from Docker's two configurations to the engine's one specification.
//!
//! A field that is set to something that is not supported is refused by its flag and its name: first by the two tables
//! in here, then where a value is read.

use api::docker::container::{Config, ContainerCreateBody, CreateResponse};
use api::docker::host_config::HostConfig;
use engine::containers::ContainerSpec;
use hyper::StatusCode;
use oci::platform::Platform;

use super::network::{self, Request};
use super::{health, host, mounts, resources};
use crate::call::{ApiVersion, Call};
use crate::error::{Error, Result};
use crate::execs::console_size;
use crate::reply::{self, Reply};

pub(crate) async fn create(mut call: Call) -> Result<Reply> {
    let body: ContainerCreateBody = call.body().await?;
    if let Some(platform) = call.query.text("platform") {
        check_platform(platform)?;
    }
    let (spec, mut warnings) = specify(body, call.version)?;
    let name = call.query.text("name").map(|name| name.strip_prefix('/').unwrap_or(name));
    let created = call.engine.containers().create(name, spec).await.map_err(not_of_the_image)?;
    warnings.extend(created.warnings);
    Ok(reply::json(StatusCode::CREATED, &CreateResponse { id: created.id, warnings }))
}

/// Docker's clients take every 404 for an image that must be pulled, so only that is one here.
fn not_of_the_image(error: engine::Error) -> Error {
    match error {
        engine::Error::NoSuchNetwork(_) | engine::Error::NoSuchContainer(_) => {
            Error::invalid(error.to_string())
        }
        error => error.into(),
    }
}

/// What the engine is asked for, and what of the request means nothing.
fn specify(body: ContainerCreateBody, version: ApiVersion) -> Result<(ContainerSpec, Vec<String>)> {
    let ContainerCreateBody { config, host_config, networking_config } = body;
    if config.image.is_empty() {
        return Err(Error::invalid("Config.Image cannot be empty: a container is made of an image"));
    }
    refuse(&of_host(&host_config))?;
    check_platform_of(&host_config)?;
    refuse(&of_config(&config))?;
    let asked = network::read(Request {
        config: &config,
        host: &host_config,
        networking: networking_config,
        version,
    })?;
    let mut spec = ContainerSpec {
        mounts: mounts::read(&config, &host_config)?,
        volumes_from: mounts::read_lenders(&host_config)?,
        image: config.image,
        entrypoint: config.entrypoint.map(|entrypoint| entrypoint.0),
        // As dockerd: an empty command is none, an empty entrypoint is an answer.
        command: config.cmd.map(|command| command.0).filter(|command| !command.is_empty()),
        env: config.env.unwrap_or_default(),
        working_dir: config.working_dir,
        user: config.user,
        labels: config.labels.unwrap_or_default(),
        hostname: config.hostname,
        domainname: config.domainname,
        stop_signal: config.stop_signal,
        stop_timeout_s: config.stop_timeout,
        health_check: config.healthcheck.map(|check| health::read(check, version)),
        shell: config.shell.map(|shell| shell.0).unwrap_or_default(),
        terminal: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        attach_stdin: config.attach_stdin,
        attach_stdout: config.attach_stdout,
        attach_stderr: config.attach_stderr,
        console_size: console_size(host_config.console_size),
        network: asked.mode,
        networking: asked.spec,
        ..ContainerSpec::default()
    };
    if let Some(entry) = spec.env.iter().find(|entry| entry.is_empty() || entry.starts_with('=')) {
        return Err(Error::invalid(format!("invalid environment variable: {entry}")));
    }
    let mut warnings = asked.warnings;
    warnings.extend(resources::warnings(&host_config));
    host::read(host_config, &mut spec)?;
    Ok((spec, warnings))
}

/// Whether it is set, the flag, and the field.
type Unsupported = (bool, &'static str, &'static str);

pub(super) fn refuse(table: &[Unsupported]) -> Result<()> {
    match table.iter().find(|(is_set, ..)| *is_set) {
        Some((_, flag, field)) => Err(Error::not_there_yet(format!("{flag} (field {field})"))),
        None => Ok(()),
    }
}

fn of_config(config: &Config) -> Vec<Unsupported> {
    vec![
        (config.args_escaped, "escaping for Windows", "ArgsEscaped"),
        (has(&config.on_build), "build triggers", "OnBuild"),
    ]
}

pub(super) fn of_host(host: &HostConfig) -> Vec<Unsupported> {
    vec![
        (!host.cgroup.is_empty(), "sharing a cgroup", "HostConfig.Cgroup"),
        (host.cpu_count != 0, "`--cpu-count`", "HostConfig.CpuCount"),
        (host.cpu_percent != 0, "`--cpu-percent`", "HostConfig.CpuPercent"),
        (host.io_maximum_iops != 0, "`--io-maxiops`", "HostConfig.IOMaximumIOps"),
        (host.io_maximum_bandwidth != 0, "`--io-maxbandwidth`", "HostConfig.IOMaximumBandwidth"),
    ]
}

/// What Docker has on other systems, or with other runtimes and file systems.
fn check_platform_of(host: &HostConfig) -> Result<()> {
    if !host::is_our_runtime(&host.runtime) {
        return Err(Error::invalid(format!("unknown or invalid runtime name: {}", host.runtime)));
    }
    if !matches!(host.isolation.as_str(), "" | "default") {
        return Err(Error::invalid(format!(
            "Invalid isolation: {:?} - linux only supports 'default'",
            host.isolation
        )));
    }
    match host.storage_opt.iter().flatten().next() {
        Some((key, _)) if key == "size" => Err(Error::invalid(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        )),
        Some((key, _)) => Err(Error::invalid(format!("Unknown option {key}"))),
        None => Ok(()),
    }
}

fn check_platform(text: &str) -> Result<()> {
    let mut parts = text.splitn(3, '/');
    let (os, architecture, variant) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let host = Platform::host();
    let fits = os == host.os
        && architecture.is_none_or(|architecture| architecture == host.architecture)
        && variant.is_none_or(|variant| variant == host.variant);
    if fits {
        Ok(())
    } else {
        Err(Error::not_there_yet(format!("running the platform `{text}` on this machine (`--platform`)")))
    }
}

fn has<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

#[cfg(test)]
mod tests {
    use engine::containers::spec::{
        EndpointSpec, IpcMode, NetworkMode, NetworkSpec, PidMode, RestartPolicy, SeccompMode,
    };
    use serde_json::{Value, json};

    use super::specify;
    use crate::call::MAX_VERSION;

    fn merged(change: &Value) -> Result<engine::containers::ContainerSpec, String> {
        let mut body = json!({"Image": "busybox"});
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        specify(serde_json::from_value(body).unwrap(), MAX_VERSION)
            .map(|(spec, _)| spec)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_there_yet_is_refused_by_name() {
        for (change, want) in [
            (json!({"ArgsEscaped": true}), "escaping for Windows (field ArgsEscaped) is not there yet"),
            (json!({"MacAddress": "x"}), "invalid MAC address \"x\""),
            (json!({"HostConfig": {"Runtime": "kata"}}), "unknown or invalid runtime name: kata"),
            (
                json!({"HostConfig": {"StorageOpt": {"size": "1g"}}}),
                "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
            ),
            (json!({"HostConfig": {"StorageOpt": {"foo": "1g"}}}), "Unknown option foo"),
            (json!({"HostConfig": {"Isolation": "hyperv"}}), "Invalid isolation: \"hyperv\""),
            (
                json!({"NetworkingConfig": {"EndpointsConfig": {"mine": {"MacAddress": "x"}}}}),
                "invalid MAC address \"x\"",
            ),
            (
                json!({"HostConfig": {"SecurityOpt": ["label=level:s0"]}}),
                "SELinux (`--security-opt label=level:s0`)",
            ),
            (json!({"HostConfig": {"RestartPolicy": {"Name": "often"}}}), "invalid restart policy"),
            (
                json!({"HostConfig": {"Mounts": [{"Type": "cluster", "Target": "/x"}]}}),
                "mounts of type `cluster`",
            ),
            (json!({"Env": ["=x"]}), "invalid environment variable: =x"),
            (json!({"Image": ""}), "Config.Image cannot be empty"),
        ] {
            let error = merged(&change).expect_err(&change.to_string());
            assert!(error.starts_with(want), "{change}: {error}");
        }
    }

    #[test]
    fn what_a_client_sends_by_itself_is_accepted() {
        let spec = merged(&json!({
            "Hostname": "", "Cmd": [], "Entrypoint": null, "OnBuild": null, "Healthcheck": null,
            "HostConfig": {
                "Binds": null, "ContainerIDFile": "/tmp/x", "LogConfig": {"Type": "", "Config": {}},
                "NetworkMode": "default", "PortBindings": {}, "RestartPolicy": {"Name": "no"}, "Dns": [], "MemorySwappiness": -1,
                "OomKillDisable": false, "PidsLimit": 0, "Isolation": "", "MaskedPaths": null, "ReadonlyPaths": null,
                "Runtime": "", "UsernsMode": "", "ConsoleSize": [0, 0], "Init": null,
            },
            "NetworkingConfig": {"EndpointsConfig": {"default": {"Links": null, "Aliases": []}}},
        }))
        .unwrap();
        let endpoints = vec![EndpointSpec { network: "bridge".into(), ..EndpointSpec::default() }];
        let want = engine::containers::ContainerSpec {
            image: "busybox".into(),
            network: NetworkMode::Networks,
            networking: NetworkSpec { endpoints, ..NetworkSpec::default() },
            ..Default::default()
        };
        assert_eq!(spec, want);
    }

    #[test]
    fn fields_arrive() {
        let spec = merged(&json!({
            "Entrypoint": [], "Cmd": ["a", "b"], "Tty": true, "StopTimeout": 3, "Env": ["A=1", "B"],
            "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5, "Retries": 2}, "Shell": ["/bin/bash", "-c"],
            "HostConfig": {
                "NetworkMode": "container:abc", "PidMode": "host", "IpcMode": "shareable", "Memory": 1 << 30, "NanoCpus": 5, "Init": true,
                "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, "ConsoleSize": [24, 80],
                "SecurityOpt": ["no-new-privileges", "seccomp=unconfined", "label=disable"], "MaskedPaths": [], "ReadonlyPaths": [],
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}, "ShmSize": 4096,
                "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}], "Devices": [{"PathOnHost": "/dev/fuse"}],
            },
        }))
        .unwrap();
        assert_eq!(spec.entrypoint, Some(vec![]));
        assert_eq!(spec.command.unwrap(), ["a", "b"]);
        let check = spec.health_check.unwrap();
        assert_eq!(
            (check.test, check.interval_ns, check.retries),
            (vec!["CMD".to_owned(), "x".to_owned()], 5, 2)
        );
        assert_eq!(spec.shell, ["/bin/bash", "-c"]);
        assert_eq!(spec.network, NetworkMode::Container("abc".into()));
        assert_eq!((spec.pid, spec.ipc), (PidMode::Host, IpcMode::Shareable));
        assert_eq!(spec.restart, RestartPolicy::OnFailure { max_retries: 3 });
        assert_eq!(spec.console_size, Some((24, 80)));
        assert!(spec.no_new_privileges);
        assert_eq!((spec.masked_paths, spec.readonly_paths), (Some(vec![]), Some(vec![])));
        assert!(spec.init);
        assert_eq!(spec.seccomp, SeccompMode::Unconfined);
        assert_eq!((spec.log.driver.as_str(), spec.log.options["max-size"].as_str()), ("json-file", "10m"));
        assert_eq!((spec.resources.memory_bytes, spec.resources.nano_cpus), (Some(1 << 30), Some(5)));
        assert_eq!(spec.devices[0].container_path, "/dev/fuse");
        assert_eq!(spec.devices[0].permissions, "rwm");
    }
}

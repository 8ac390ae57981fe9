//! `GET /containers/{id}/json`: everything about a container.

use api::docker::Command;
use api::docker::container::{Config, ContainerInspect, MountPoint, State};
use api::docker::host_config::HostConfig;
use api::docker::image::GraphDriver;
use engine::containers::{Container, ContainerSpec, Status};

use super::{endpoints, health, host, mounts, ports};
use crate::call::{ApiVersion, Call};
use crate::containers::guest::or_guest;
use crate::error::Result;
use crate::reply::{self, Reply};
use crate::{time, volumes};

pub(crate) async fn inspect(call: Call) -> Result<Reply> {
    let containers = call.engine.containers();
    let own = containers.inspect(&call.name).await;
    let is_own = own.is_ok();
    let container = or_guest(&call.engine, &call.name, own, async |guest| Ok(guest.view().await)).await?;
    let mut shown = describe(&container, call.version);
    if call.query.flag("size") && is_own {
        let usage = containers.usage(&container.id).await?;
        shown.size_rw = Some(i64::try_from(usage.writable_bytes).unwrap_or(i64::MAX));
        shown.size_root_fs = Some(i64::try_from(usage.total_bytes).unwrap_or(i64::MAX));
    }
    Ok(reply::ok(&shown))
}

fn describe(container: &Container, version: ApiVersion) -> ContainerInspect {
    let (path, args) = container
        .args
        .split_first()
        .map_or((String::new(), Vec::new()), |(path, args)| (path.clone(), args.to_vec()));
    ContainerInspect {
        id: container.id.clone(),
        created: time::rfc3339(Some(container.created_ns)),
        path,
        args,
        state: describe_state(container),
        image: container.image_id.clone(),
        resolv_conf_path: container.resolv_conf_path.clone(),
        hostname_path: container.hostname_path.clone(),
        hosts_path: container.hosts_path.clone(),
        log_path: container.log_path.clone().unwrap_or_default(),
        name: format!("/{}", container.name),
        restart_count: container.restart_count.into(),
        driver: container.snapshotter.clone(),
        app_armor_profile: container.spec.apparmor_profile.clone(),
        platform: "linux".into(),
        exec_ids: Some(container.exec_ids.clone()).filter(|ids| !ids.is_empty()),
        host_config: HostConfig {
            links: endpoints::describe_links(container),
            ..host::describe(&container.spec)
        },
        graph_driver: GraphDriver { name: container.snapshotter.clone(), data: None },
        mounts: container.mounts.iter().map(describe_mount).collect(),
        config: describe_config(&container.spec, &container.id),
        network_settings: endpoints::describe(container, version),
        ..ContainerInspect::default()
    }
}

/// Docker's word for a status.
pub(crate) fn word(status: Status) -> &'static str {
    match status {
        Status::Created => "created",
        Status::Running => "running",
        Status::Paused => "paused",
        Status::Restarting => "restarting",
        Status::Removing => "removing",
        Status::Exited => "exited",
        Status::Dead => "dead",
    }
}

fn describe_state(container: &Container) -> State {
    let state = &container.state;
    State {
        status: word(state.status).into(),
        // As in Docker, a container that is paused or about to be started again counts as running.
        running: matches!(state.status, Status::Running | Status::Paused | Status::Restarting),
        paused: state.status == Status::Paused,
        restarting: state.status == Status::Restarting,
        oom_killed: state.oom_killed,
        dead: state.status == Status::Dead,
        pid: state.pid.into(),
        exit_code: state.exit_code.into(),
        error: state.error.clone(),
        started_at: time::rfc3339(state.started_ns),
        finished_at: time::rfc3339(state.finished_ns),
        health: health::describe(state),
    }
}

pub(crate) fn describe_mount(mount: &engine::containers::MountPoint) -> MountPoint {
    let is_volume = mount.kind == "volume";
    MountPoint {
        kind: mount.kind.into(),
        name: mount.name.clone(),
        source: mount.source.clone(),
        destination: mount.destination.clone(),
        driver: if is_volume { volumes::DRIVER.into() } else { String::new() },
        mode: mount.mode.clone(),
        rw: !mount.readonly,
        propagation: mount.propagation.into(),
    }
}

fn describe_config(spec: &ContainerSpec, id: &str) -> Config {
    let hostname = if spec.hostname.is_empty() { id.get(..12).unwrap_or_default() } else { &spec.hostname };
    Config {
        hostname: hostname.to_owned(),
        domainname: spec.domainname.clone(),
        user: spec.user.clone(),
        attach_stdin: spec.attach_stdin,
        attach_stdout: spec.attach_stdout,
        attach_stderr: spec.attach_stderr,
        exposed_ports: ports::describe_exposed(&spec.networking),
        tty: spec.terminal,
        open_stdin: spec.open_stdin,
        stdin_once: spec.stdin_once,
        env: Some(spec.env.clone()),
        cmd: spec.command.clone().map(Command),
        image: spec.image.clone(),
        volumes: mounts::anonymous(spec),
        working_dir: spec.working_dir.clone(),
        entrypoint: spec.entrypoint.clone().map(Command),
        labels: Some(spec.labels.clone()),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: spec.stop_timeout_s,
        healthcheck: spec.health_check.as_ref().map(health::describe_check),
        shell: Some(spec.shell.clone()).filter(|shell| !shell.is_empty()).map(Command),
        ..Config::default()
    }
}

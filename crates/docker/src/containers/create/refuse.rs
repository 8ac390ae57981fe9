//! What a create request may not ask for yet: a table of fields, each with the words that a person knows it by.

use api::docker::container::{Config, ContainerCreateBody};
use api::docker::host_config::{HostConfig, MountRequest};

use super::is_set;
use crate::answer::Failure;

/// Fails for the first field that is set and not built.
pub(super) fn check(body: &ContainerCreateBody) -> Result<(), Failure> {
    let host = &body.host_config;
    let joins_networks = body
        .networking_config
        .iter()
        .flat_map(|config| config.endpoints_config.iter().flatten())
        .any(|(name, _)| !matches!(name.as_str(), "" | "default" | "none" | "host"));
    let mut table = of_config(&body.config);
    table.extend(of_host(host));
    table.extend(of_limits(host));
    table.push((joins_networks, "joining networks"));
    for mount in host.mounts.iter().flatten() {
        table.extend(of_mount(mount));
    }
    match table.into_iter().find(|(is_asked, _)| *is_asked) {
        Some((_, what)) => Err(Failure::not_there_yet(what)),
        None => Ok(()),
    }
}

type Table = Vec<(bool, &'static str)>;

fn of_config(config: &Config) -> Table {
    let has_check = config.healthcheck.as_ref().and_then(|check| check.test.as_ref());
    let has_check =
        has_check.is_some_and(|test| !matches!(test.first().map(String::as_str), None | Some("" | "NONE")));
    vec![
        (has_check, "--health-cmd"),
        (!config.mac_address.is_empty(), "--mac-address"),
        (config.network_disabled, "NetworkDisabled"),
        (config.on_build.as_ref().is_some_and(|steps| !steps.is_empty()), "OnBuild"),
    ]
}

fn of_host(host: &HostConfig) -> Table {
    let any = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let runtime = host.runtime.as_str();
    vec![
        (host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty()), "-p, --publish"),
        (host.publish_all_ports, "-P, --publish-all"),
        (any(&host.links), "--link"),
        (any(&host.dns), "--dns"),
        (any(&host.dns_options), "--dns-option"),
        (any(&host.dns_search), "--dns-search"),
        (any(&host.extra_hosts), "--add-host"),
        (any(&host.volumes_from), "--volumes-from"),
        (!matches!(host.volume_driver.as_str(), "" | "local"), "--volume-driver"),
        (!host.cgroup_parent.is_empty(), "--cgroup-parent"),
        (!host.cgroup.is_empty(), "Cgroup"),
        (!host.userns_mode.is_empty(), "--userns"),
        (!matches!(runtime, "" | "runc" | "io.containerd.runc.v2"), "--runtime"),
        (!matches!(host.isolation.as_str(), "" | "default"), "--isolation"),
        (host.init == Some(true), "--init"),
        (is_set(host.storage_opt.as_ref()), "--storage-opt"),
        (is_set(host.annotations.as_ref()), "--annotation"),
        (host.device_requests.as_ref().is_some_and(|list| !list.is_empty()), "--gpus"),
        (any(&host.device_cgroup_rules), "--device-cgroup-rule"),
    ]
}

fn of_limits(host: &HostConfig) -> Table {
    let any = |length: Option<usize>| length.is_some_and(|length| length > 0);
    vec![
        (any(host.blkio_weight_device.as_ref().map(Vec::len)), "--blkio-weight-device"),
        (any(host.blkio_device_read_bps.as_ref().map(Vec::len)), "--device-read-bps"),
        (any(host.blkio_device_write_bps.as_ref().map(Vec::len)), "--device-write-bps"),
        (any(host.blkio_device_read_iops.as_ref().map(Vec::len)), "--device-read-iops"),
        (any(host.blkio_device_write_iops.as_ref().map(Vec::len)), "--device-write-iops"),
        (host.cpu_realtime_period != 0, "--cpu-rt-period"),
        (host.cpu_realtime_runtime != 0, "--cpu-rt-runtime"),
        (host.kernel_memory != 0, "--kernel-memory"),
        (host.kernel_memory_tcp != 0, "--kernel-memory-tcp"),
        (host.cpu_count != 0, "--cpu-count"),
        (host.cpu_percent != 0, "--cpu-percent"),
        (host.io_maximum_iops != 0, "--io-maxiops"),
        (host.io_maximum_bandwidth != 0, "--io-maxbandwidth"),
    ]
}

fn of_mount(mount: &MountRequest) -> Table {
    let bind = mount.bind_options.clone().unwrap_or_default();
    let volume = mount.volume_options.clone().unwrap_or_default();
    let driver = volume.driver_config.clone().unwrap_or_default();
    vec![
        (matches!(mount.kind.as_str(), "image" | "npipe" | "cluster"), "--mount of this type"),
        (bind.read_only_non_recursive, "--mount bind-recursive=writable"),
        (bind.read_only_force_recursive, "--mount bind-recursive=readonly"),
        (!volume.subpath.is_empty(), "--mount volume-subpath"),
        (!matches!(driver.name.as_str(), "" | "local"), "--mount volume-driver"),
        (is_set(driver.options.as_ref()), "--mount volume-opt"),
    ]
}

//! The limits of control groups: the flags that `run`, `create` and `update` share, and those that only a new container
//! takes.

use api::docker::host_config::{HostConfig, ThrottleDevice, WeightDevice};
use clap::Arg;

use super::limits;
use crate::error::Error;
use crate::flags::{Given, list, switch, value};
use crate::size;

/// The flags of `run`, `create` and `update`.
pub(crate) fn flags() -> Vec<Arg> {
    vec![
        value("blkio-weight", "uint16", "Block IO (relative weight), between 10 and 1000, or 0 to disable"),
        value("cpu-period", "int", "Limit CPU CFS (Completely Fair Scheduler) period"),
        value("cpu-quota", "int", "Limit CPU CFS (Completely Fair Scheduler) quota"),
        value("cpu-rt-period", "int", "Limit CPU real-time period in microseconds"),
        value("cpu-rt-runtime", "int", "Limit CPU real-time runtime in microseconds"),
        value("cpu-shares", "int", "CPU shares (relative weight)").short('c'),
        value("cpus", "decimal", "Number of CPUs"),
        value("cpuset-cpus", "string", "CPUs in which to allow execution (0-3, 0,1)"),
        value("cpuset-mems", "string", "MEMs in which to allow execution (0-3, 0,1)"),
        value("memory", "bytes", "Memory limit").short('m'),
        value("memory-reservation", "bytes", "Memory soft limit"),
        value("memory-swap", "bytes", "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
        value("pids-limit", "int", "Tune container pids limit (set -1 for unlimited)"),
    ]
}

/// Reads [`flags`].
pub(crate) fn apply(given: &Given, host: &mut HostConfig) -> Result<(), Error> {
    let number = |flag| given.integer(flag).map(Option::unwrap_or_default);
    let bytes = |flag| given.parsed(flag, size::parse).map(Option::unwrap_or_default);
    let text = |flag| given.text(flag).unwrap_or_default().to_owned();
    host.blkio_weight = given.parsed("blkio-weight", weight)?.unwrap_or_default();
    host.cpu_period = number("cpu-period")?;
    host.cpu_quota = number("cpu-quota")?;
    host.cpu_realtime_period = number("cpu-rt-period")?;
    host.cpu_realtime_runtime = number("cpu-rt-runtime")?;
    host.cpu_shares = number("cpu-shares")?;
    host.nano_cpus = given.parsed("cpus", limits::cpus)?.unwrap_or_default();
    host.cpuset_cpus = text("cpuset-cpus");
    host.cpuset_mems = text("cpuset-mems");
    host.memory = bytes("memory")?;
    host.memory_reservation = bytes("memory-reservation")?;
    host.memory_swap = given.parsed("memory-swap", limits::swap)?.unwrap_or_default();
    host.pids_limit = given.integer("pids-limit")?;
    Ok(())
}

/// The flags of `run` and `create` alone.
pub(crate) fn flags_of_new() -> Vec<Arg> {
    vec![
        list("blkio-weight-device", "list", "Block IO weight (relative device weight)"),
        value("cgroup-parent", "string", "Optional parent cgroup for the container"),
        value("cgroupns", "string", "Cgroup namespace to use (host|private)"),
        list("device-cgroup-rule", "list", "Add a rule to the cgroup allowed devices list"),
        list("device-read-bps", "list", "Limit read rate (bytes per second) from a device"),
        list("device-read-iops", "list", "Limit read rate (IO per second) from a device"),
        list("device-write-bps", "list", "Limit write rate (bytes per second) to a device"),
        list("device-write-iops", "list", "Limit write rate (IO per second) to a device"),
        value("kernel-memory", "bytes", "Kernel memory limit (no kernel of today has it)"),
        value("memory-swappiness", "int", "Tune container memory swappiness (0 to 100)"),
        switch("oom-kill-disable", "Disable OOM Killer"),
        value("oom-score-adj", "int", "Tune host's OOM preferences (-1000 to 1000)"),
    ]
}

/// Reads [`flags_of_new`].
pub(crate) fn apply_to_new(given: &Given, host: &mut HostConfig) -> Result<(), Error> {
    let text = |flag| given.text(flag).unwrap_or_default().to_owned();
    if !matches!(given.text("cgroupns"), None | Some("" | "host" | "private")) {
        return Err(Error::Value("--cgroupns: invalid CGROUP mode".into()));
    }
    host.cgroupns_mode = text("cgroupns");
    host.cgroup_parent = text("cgroup-parent");
    host.device_cgroup_rules = some(given.parsed_list("device-cgroup-rule", device_rule)?);
    host.blkio_weight_device = some(given.parsed_list("blkio-weight-device", weight_device)?);
    host.blkio_device_read_bps = some(given.parsed_list("device-read-bps", bytes_per_second)?);
    host.blkio_device_write_bps = some(given.parsed_list("device-write-bps", bytes_per_second)?);
    host.blkio_device_read_iops = some(given.parsed_list("device-read-iops", operations_per_second)?);
    host.blkio_device_write_iops = some(given.parsed_list("device-write-iops", operations_per_second)?);
    host.kernel_memory = given.parsed("kernel-memory", size::parse)?.unwrap_or_default();
    host.memory_swappiness = given.integer("memory-swappiness")?;
    host.oom_kill_disable = given.text("oom-kill-disable").map(|_| given.switch("oom-kill-disable"));
    host.oom_score_adj = given.integer("oom-score-adj")?.unwrap_or_default();
    Ok(())
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn weight(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("strconv.ParseUint: parsing \"{text}\": invalid syntax"))
}

/// `c 1:3 rwm`; what the daemon says of a wrong one is the same but for a word.
fn device_rule(text: &str) -> Result<String, String> {
    let is_number =
        |text: &str| text == "*" || (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    let is_right = match text.split(' ').collect::<Vec<_>>()[..] {
        ["a" | "b" | "c", numbers, access] => {
            numbers.split_once(':').is_some_and(|(major, minor)| is_number(major) && is_number(minor))
                && (1..=3).contains(&access.len())
                && access.bytes().all(|b| b"rwm".contains(&b))
        }
        _ => false,
    };
    if is_right { Ok(text.to_owned()) } else { Err(format!("invalid device cgroup format '{text}'")) }
}

/// `DEVICE:VALUE`, the device below `/dev`.
fn of_device(text: &str) -> Result<(String, &str), String> {
    let (path, value) = text.split_once(':').ok_or_else(|| format!("bad format: {text}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    Ok((path.to_owned(), value))
}

fn weight_device(text: &str) -> Result<WeightDevice, String> {
    let (path, value) = of_device(text)?;
    let weight = value.parse().ok().filter(|weight| *weight == 0 || (10..=1000).contains(weight));
    let weight = weight.ok_or_else(|| format!("invalid weight for device: {text}"))?;
    Ok(WeightDevice { path, weight })
}

fn bytes_per_second(text: &str) -> Result<ThrottleDevice, String> {
    let (path, value) = of_device(text)?;
    let rate = size::parse(value).ok().and_then(|rate| u64::try_from(rate).ok());
    let rate = rate.ok_or_else(|| {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        )
    })?;
    Ok(ThrottleDevice { path, rate })
}

fn operations_per_second(text: &str) -> Result<ThrottleDevice, String> {
    let (path, value) = of_device(text)?;
    let rate = value.parse().map_err(|_| {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive integer"
        )
    })?;
    Ok(ThrottleDevice { path, rate })
}

#[cfg(test)]
mod tests {
    use super::{bytes_per_second, device_rule, operations_per_second, weight_device};

    #[test]
    fn devices_have_a_path_and_a_number() {
        let read = weight_device("/dev/sda:100").unwrap();
        assert_eq!((read.path.as_str(), read.weight), ("/dev/sda", 100));
        assert_eq!(bytes_per_second("/dev/sda:1mb").unwrap().rate, 1 << 20);
        assert_eq!(operations_per_second("/dev/sda:1000").unwrap().rate, 1000);
        for (error, want) in [
            (weight_device("/dev/sda").err(), "bad format: /dev/sda"),
            (weight_device("sda:1").err(), "bad format for device path: sda:1"),
            (weight_device("/dev/sda:9").err(), "invalid weight for device: /dev/sda:9"),
            (bytes_per_second("/dev/sda:-1").err(), "invalid rate for device: /dev/sda:-1. The correct"),
            (operations_per_second("/dev/sda:1k").err(), "invalid rate for device: /dev/sda:1k. The correct"),
        ] {
            assert!(error.as_deref().is_some_and(|error| error.starts_with(want)), "{error:?}");
        }
    }

    #[test]
    fn rules_of_devices_have_three_words() {
        for text in ["c 1:3 rwm", "b *:* r", "a 1:* m"] {
            assert_eq!(device_rule(text), Ok(text.to_owned()));
        }
        for text in ["", "c 1:3", "c 1:3 rwmx", "d 1:3 r", "c 1 r", "c :3 r", "c 1:3 r "] {
            assert_eq!(device_rule(text), Err(format!("invalid device cgroup format '{text}'")));
        }
    }
}

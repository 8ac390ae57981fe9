//! What a container uses, from the files of whichever version has the controller.

use std::collections::BTreeMap;

use super::directory::Directory;
use super::{Cgroup, Error, Result, Version};

/// v1 has no word for "no limit" but the largest multiple of a page, which depends on the architecture.
const V1_UNLIMITED_BYTES: u64 = 1 << 62;

/// What a container uses now. What the machine has no controller for is zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Memory is counted by a v2 hierarchy: details and events have its keys.
    pub is_unified: bool,
    pub cpu_usage_ns: u64,
    pub cpu_user_ns: u64,
    pub cpu_system_ns: u64,
    /// By CPU; v1 only.
    pub cpu_each_ns: Vec<u64>,
    pub throttling: Throttling,
    pub memory_usage_bytes: u64,
    /// None: no limit.
    pub memory_limit_bytes: Option<u64>,
    /// Page cache.
    pub memory_cache_bytes: u64,
    /// The part of the cache that the kernel would give up first; what `docker stats` subtracts.
    pub memory_inactive_file_bytes: u64,
    /// The most that was ever used.
    pub memory_most_bytes: u64,
    /// How often the limit was hit; v1 only.
    pub memory_failures: u64,
    /// `memory.events` whole; v2 only.
    pub memory_events: BTreeMap<String, u64>,
    /// v2 only: v1 counts it with the memory.
    pub swap: Swap,
    /// `memory.stat` whole, with the kernel's keys, which differ between the versions.
    pub memory_details: BTreeMap<String, u64>,
    pub pids: u64,
    pub pids_limit: Option<u64>,
    pub io_read_bytes: u64,
    pub io_write_bytes: u64,
    /// By device and kind of operation.
    pub io: Vec<IoCount>,
    pub oom_kills: u64,
}

/// Memory that is on a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swap {
    pub usage_bytes: u64,
    /// None: no limit.
    pub limit_bytes: Option<u64>,
    /// The most that was ever used.
    pub most_bytes: u64,
}

/// How a limit of CPU time has held the container back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Throttling {
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_ns: u64,
}

/// Input and output of one kind at one device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IoCount {
    pub major: u64,
    pub minor: u64,
    /// The kernel's word on v1 (`Read`, `Write`, `Sync`, …), `read` and `write` on v2.
    pub operation: String,
    pub bytes: u64,
    pub operations: u64,
}

impl Cgroup {
    /// Reads all counters.
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        self.cpu_stats(&mut stats)?;
        self.memory_stats(&mut stats)?;
        self.io_stats(&mut stats)?;
        if let Some(directory) = self.controlled_by("pids") {
            stats.pids = directory.number("pids.current")?;
            stats.pids_limit = directory.limit("pids.max")?;
        }
        stats.oom_kills = self.oom_kills()?;
        Ok(stats)
    }

    /// How many processes the kernel killed because the container's memory was used up.
    pub fn oom_kills(&self) -> Result<u64> {
        let Some(directory) = self.controlled_by("memory") else {
            return Ok(0);
        };
        let file = match directory.hierarchy().version() {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        Ok(value_of(&directory.read_if_enabled(file)?, "oom_kill"))
    }

    fn cpu_stats(&self, stats: &mut Stats) -> Result<()> {
        if let Some(directory) = self.controlled_by("cpuacct") {
            stats.cpu_usage_ns = directory.number("cpuacct.usage")?;
            stats.cpu_user_ns = directory.number("cpuacct.usage_user")?;
            stats.cpu_system_ns = directory.number("cpuacct.usage_sys")?;
            let each = directory.read_if_enabled("cpuacct.usage_percpu")?;
            stats.cpu_each_ns = each.split_whitespace().filter_map(|number| number.parse().ok()).collect();
            if let Some(directory) = self.controlled_by("cpu") {
                let text = directory.read_if_enabled("cpu.stat")?;
                stats.throttling = throttling(&text, value_of(&text, "throttled_time"));
            }
        } else if let Some(directory) = self.unified() {
            // Every v2 group has this file, with or without the controller.
            let text = directory.read_if_enabled("cpu.stat")?;
            let nanoseconds = |name| value_of(&text, name).saturating_mul(1000);
            stats.cpu_usage_ns = nanoseconds("usage_usec");
            stats.cpu_user_ns = nanoseconds("user_usec");
            stats.cpu_system_ns = nanoseconds("system_usec");
            stats.throttling = throttling(&text, nanoseconds("throttled_usec"));
        }
        Ok(())
    }

    fn memory_stats(&self, stats: &mut Stats) -> Result<()> {
        let Some(directory) = self.controlled_by("memory") else {
            return Ok(());
        };
        let (usage, limit, cache, inactive) = match directory.hierarchy().version() {
            Version::V1 => {
                ("memory.usage_in_bytes", "memory.limit_in_bytes", "total_cache", "total_inactive_file")
            }
            Version::V2 => ("memory.current", "memory.max", "file", "inactive_file"),
        };
        let text = directory.read_if_enabled("memory.stat")?;
        stats.memory_usage_bytes = directory.number(usage)?;
        stats.memory_limit_bytes = directory.limit(limit)?.filter(|&limit| limit < V1_UNLIMITED_BYTES);
        stats.memory_cache_bytes = value_of(&text, cache);
        stats.memory_inactive_file_bytes = value_of(&text, inactive);
        stats.memory_details = all_values(&text);
        match directory.hierarchy().version() {
            Version::V1 => {
                stats.memory_most_bytes = directory.number("memory.max_usage_in_bytes")?;
                stats.memory_failures = directory.number("memory.failcnt")?;
            }
            Version::V2 => {
                stats.is_unified = true;
                // Since Linux 5.19, that of swap since 6.5.
                stats.memory_most_bytes = directory.number("memory.peak")?;
                stats.memory_events = all_values(&directory.read_if_enabled("memory.events")?);
                stats.swap = Swap {
                    usage_bytes: directory.number("memory.swap.current")?,
                    limit_bytes: directory.limit("memory.swap.max")?,
                    most_bytes: directory.number("memory.swap.peak")?,
                };
            }
        }
        Ok(())
    }

    fn io_stats(&self, stats: &mut Stats) -> Result<()> {
        if let Some(directory) = self.controlled_by("blkio") {
            let text = directory.read_if_enabled("blkio.throttle.io_service_bytes_recursive")?;
            (stats.io_read_bytes, stats.io_write_bytes) = (sum_v1(&text, "Read"), sum_v1(&text, "Write"));
            let operations = directory.read_if_enabled("blkio.throttle.io_serviced_recursive")?;
            stats.io = counts_v1(&text, &operations);
        } else if let Some(directory) = self.controlled_by("io") {
            let text = directory.read_if_enabled("io.stat")?;
            (stats.io_read_bytes, stats.io_write_bytes) = (sum_v2(&text, "rbytes"), sum_v2(&text, "wbytes"));
            stats.io = counts_v2(&text);
        }
        Ok(())
    }
}

impl Directory {
    /// A file of a controller that a v2 parent may not have handed down: then it reads empty.
    fn read_if_enabled(&self, file: &str) -> Result<String> {
        match self.try_read(file) {
            Err(rustix::io::Errno::NOENT) => Ok(String::new()),
            Err(errno) => Err(Error::Read { path: self.file_path(file), source: errno.into() }),
            Ok(content) => Ok(content),
        }
    }

    fn number(&self, file: &str) -> Result<u64> {
        Ok(self.limit(file)?.unwrap_or(0))
    }

    /// A number, or None for `max`.
    fn limit(&self, file: &str) -> Result<Option<u64>> {
        let content = self.read_if_enabled(file)?;
        match content.trim() {
            "" | "max" => Ok(None),
            number => number.parse().map(Some).map_err(|_| Error::Parse {
                path: self.file_path(file),
                content: number.chars().take(64).collect(),
            }),
        }
    }
}

/// The number behind `name` in a file of `name number` lines; what is not there counts as zero.
pub(super) fn value_of(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// Every `name number` line.
fn all_values(text: &str) -> BTreeMap<String, u64> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?))).collect()
}

fn throttling(text: &str, throttled_ns: u64) -> Throttling {
    let (periods, throttled_periods) = (value_of(text, "nr_periods"), value_of(text, "nr_throttled"));
    Throttling { periods, throttled_periods, throttled_ns }
}

/// `8:0` as major and minor number.
fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// `8:0 Read 4096`, from the file of bytes and that of operations.
fn counts_v1(bytes: &str, operations: &str) -> Vec<IoCount> {
    let fields = |line: &str| {
        let mut fields = line.split_whitespace();
        let ((major, minor), operation) = (device(fields.next()?)?, fields.next()?.to_owned());
        Some((major, minor, operation, fields.next()?.parse::<u64>().ok()?))
    };
    let counted: Vec<_> = operations.lines().filter_map(fields).collect();
    let of_bytes = bytes.lines().filter_map(fields);
    of_bytes
        .map(|(major, minor, operation, bytes)| {
            let same = counted.iter().find(|one| (one.0, one.1, &one.2) == (major, minor, &operation));
            IoCount { major, minor, bytes, operations: same.map_or(0, |one| one.3), operation }
        })
        .collect()
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 …`
fn counts_v2(text: &str) -> Vec<IoCount> {
    let of_line = |line: &str| {
        let (name, rest) = line.split_once(' ')?;
        let (major, minor) = device(name)?;
        let value = |key: &str| {
            let found = rest.split_whitespace().find_map(|field| field.strip_prefix(key)?.strip_prefix('='));
            found.and_then(|value| value.parse().ok()).unwrap_or(0)
        };
        let count = |operation: &str, bytes, operations| IoCount {
            major,
            minor,
            operation: operation.to_owned(),
            bytes,
            operations,
        };
        Some([count("read", value("rbytes"), value("rios")), count("write", value("wbytes"), value("wios"))])
    };
    text.lines().filter_map(of_line).flatten().collect()
}

/// `8:0 Read 4096` summed over all devices.
fn sum_v1(text: &str, operation: &str) -> u64 {
    let values = text.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (_device, name, value) = (fields.next()?, fields.next()?, fields.next()?);
        value.parse::<u64>().ok().filter(|_| name == operation)
    });
    values.fold(0, u64::saturating_add)
}

/// `8:0 rbytes=4096 wbytes=0 …` summed over all devices.
fn sum_v2(text: &str, name: &str) -> u64 {
    let fields = text.split_whitespace().filter_map(|field| field.split_once('='));
    let values = fields.filter(|(key, _)| *key == name).filter_map(|(_, value)| value.parse::<u64>().ok());
    values.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_whole_name() {
        let text = "oom_kill_disable 0\nunder_oom 1\noom_kill 3\nbad x\n";
        for (name, expected) in [("oom_kill", 3), ("under_oom", 1), ("oom", 0), ("bad", 0), ("missing", 0)] {
            assert_eq!(value_of(text, name), expected, "{name}");
        }
    }

    #[test]
    fn bytes_of_all_devices_are_summed() {
        let v1 = "8:0 Read 10\n8:0 Write 20\n8:16 Read 5\n8:16 Sync 7\nTotal 35\n";
        assert_eq!((sum_v1(v1, "Read"), sum_v1(v1, "Write")), (15, 20));
        let v2 = "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=5 wbytes=0\n";
        assert_eq!((sum_v2(v2, "rbytes"), sum_v2(v2, "wbytes")), (15, 20));
        assert_eq!(sum_v1(&format!("8:0 Read {}\n8:1 Read 1", u64::MAX), "Read"), u64::MAX);
    }

    #[test]
    fn counters_are_told_by_device_and_operation() {
        let count = |minor, operation: &str, bytes, operations| IoCount {
            major: 8,
            minor,
            operation: operation.into(),
            bytes,
            operations,
        };
        let (bytes, operations) =
            ("8:0 Read 10\n8:16 Write 20\nTotal 30\n", "8:16 Write 2\n8:0 Read 1\nTotal 3\n");
        let want = [count(0, "Read", 10, 1), count(16, "Write", 20, 2)];
        assert_eq!(counts_v1(bytes, operations), want);
        let want = [count(0, "read", 10, 1), count(0, "write", 20, 2)];
        assert_eq!(counts_v2("8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0\nbad\n"), want);
        let text = "nr_periods 4\nnr_throttled 2\nthrottled_time 9\nanon x\n";
        assert_eq!(throttling(text, 9), Throttling { periods: 4, throttled_periods: 2, throttled_ns: 9 });
        assert_eq!(all_values(text).len(), 3);
    }
}

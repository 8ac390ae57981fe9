//! What a container uses at one moment.
//!
//! The figures are read from the kernel when somebody asks: the container's control groups, the counters of its interfaces (through
//! the first process, whose `/proc/<pid>/net` is the container's), and the machine's processor time to compare with.

mod sampler;

use std::collections::BTreeMap;
use std::io::Read;

use runtime::cgroup::Cgroup;
pub use runtime::cgroup::{IoCount, Stats as CgroupStats};

pub(crate) use sampler::Sampler;
pub use sampler::Samples;

use super::record::Record;
use super::spec::NetworkMode;
use crate::blocking::blocking;
use crate::clock;
use crate::engine::Engine;
use crate::error::{Error, Result};

/// A line for each interface, and one for each CPU and interrupt.
const PROC_FILE_MAX_BYTES: u64 = 4 << 20;
/// Linux counts processor time for user space in hundredths of a second.
const TICK_NS: u64 = 10_000_000;

/// A container's figures at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    pub id: String,
    pub name: String,
    pub read_ns: i64,
    /// None: it does not run.
    pub uses: Option<Uses>,
}

/// What a running container uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uses {
    pub cgroup: CgroupStats,
    /// By interface; of containers with networks of their own.
    pub interfaces: BTreeMap<String, InterfaceStats>,
    pub machine: Machine,
}

/// Counters of an interface since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InterfaceStats {
    pub received: Traffic,
    pub sent: Traffic,
}

/// One direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    pub bytes: u64,
    pub packets: u64,
    pub errors: u64,
    pub dropped: u64,
}

/// What the machine has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Machine {
    /// Of all processors since the machine started.
    pub cpu_ns: u64,
    pub cpus: u32,
    pub memory_bytes: u64,
    /// The version of control groups that the memory controller is in: the keys of its details differ.
    pub cgroup_version: u8,
}

impl super::Containers {
    /// What a container uses now.
    pub async fn sample(&self, container: &str) -> Result<Sample> {
        let record = self.find(container)?;
        let engine = self.engine.clone();
        blocking(move || engine.take_sample(&record)).await
    }
}

impl Engine {
    fn take_sample(&self, record: &Record) -> Result<Sample> {
        let run = record.live.borrow().state.run();
        let uses = run.map(|run| self.measure(record, run.pid)).transpose();
        let uses = match uses {
            // It ended while we looked.
            Err(_) if record.live.borrow().state.run().is_none() => None,
            uses => uses?,
        };
        Ok(Sample { id: record.id.clone(), name: record.name(), read_ns: clock::now_ns(), uses })
    }

    fn measure(&self, record: &Record, pid: u32) -> Result<Uses> {
        let wrong = |error: runtime::cgroup::Error| Error::System {
            what: "read what the container uses",
            source: std::io::Error::other(error),
        };
        let cgroup = Cgroup::open(&self.cgroup_of(record)).map_err(wrong)?.stats().map_err(wrong)?;
        let interfaces = match record.spec.network {
            NetworkMode::Networks => interfaces(&proc_file(&format!("/proc/{pid}/net/dev"))?),
            NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_) => BTreeMap::new(),
        };
        let (cpu_ns, cpus) = processors(&proc_file("/proc/stat")?);
        let memory_bytes = crate::info::memory_bytes(&proc_file("/proc/meminfo")?);
        let cgroup_version = crate::info::cgroup_version();
        Ok(Uses { cgroup, interfaces, machine: Machine { cpu_ns, cpus, memory_bytes, cgroup_version } })
    }
}

fn proc_file(path: &str) -> Result<String> {
    let failed = |source| Error::File { what: "read", path: path.into(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(PROC_FILE_MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// `/proc/<pid>/net/dev` of proc_pid_net(5), without the loopback interface.
fn interfaces(text: &str) -> BTreeMap<String, InterfaceStats> {
    let of_line = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let traffic = |at: usize| {
            let [bytes, packets, errors, dropped] = *numbers.get(at..at + 4)?.first_chunk()?;
            Some(Traffic { bytes, packets, errors, dropped })
        };
        let stats = InterfaceStats { received: traffic(0)?, sent: traffic(8)? };
        Some((name.trim().to_owned(), stats)).filter(|(name, _)| name != "lo")
    };
    text.lines().filter_map(of_line).collect()
}

/// Time of all processors, and how many there are: `/proc/stat` of proc_stat(5).
fn processors(text: &str) -> (u64, u32) {
    // User, nice, system, idle, iowait, irq, softirq: guests are in user's time, steal is nobody's here.
    const FIELDS: usize = 7;
    let (mut ticks, mut count) = (0_u64, 0);
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("cpu") else { break };
        match rest.strip_prefix(' ') {
            Some(numbers) => {
                let numbers = numbers.split_whitespace().take(FIELDS);
                ticks = numbers.filter_map(|number| number.parse::<u64>().ok()).fold(0, u64::saturating_add);
            }
            None => count += 1,
        }
    }
    (ticks.saturating_mul(TICK_NS), count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let stat = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 0 0 0\ncpu1 0 0 0 0\nintr 5\ncpu2 9\n";
        assert_eq!(processors(stat), (28 * TICK_NS, 2));
        assert_eq!(processors(""), (0, 0));
        let dev = "Inter-|   Receive  |  Transmit\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0:10 2 3 4 0 0 0 0 20 5 6 7 0 0 0 0\n bad: 1\n";
        let traffic = |bytes, packets, errors, dropped| Traffic { bytes, packets, errors, dropped };
        let want = InterfaceStats { received: traffic(10, 2, 3, 4), sent: traffic(20, 5, 6, 7) };
        assert_eq!(interfaces(dev), BTreeMap::from([("eth0".to_owned(), want)]));
    }
}

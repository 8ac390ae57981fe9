//! What a container uses, against the kernel's own files: the container is frozen, so that they stand still.

use std::fs;
use std::path::PathBuf;

use api::shim::CreateOptions;
use api::task::{PauseRequest, SERVICE_V3, StatsRequest, StatsResponse};
use api::{cgroups, cgroups2};
use oci::runtime_spec::{Cpu, Memory, Pids, Resources};
use prost_types::Any;
use runtime::cgroup::Cgroup;

use crate::fixture::*;

const LIMIT_BYTES: u64 = 64 << 20;
const SWAP_BYTES: u64 = 32 << 20;
const PIDS: u64 = 20;

/// What the figures are about.
const SCRIPT: &str = "head -c 3000000 /dev/zero > /tmp/file; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; \
                      sleep 1000 & : > /tmp/done; wait";

/// The control group's directories, and whether there is only one, of cgroup v2.
struct Kernel {
    directories: Vec<(String, PathBuf)>,
}

impl Kernel {
    fn is_v2(&self) -> bool {
        matches!(self.directories.as_slice(), [(name, _)] if name.is_empty())
    }

    fn text(&self, controller: &str, file: &str) -> String {
        let has = |name: &str| name.is_empty() || name.split(',').any(|one| one == controller);
        let (_, directory) = self.directories.iter().find(|(name, _)| has(name)).unwrap();
        fs::read_to_string(directory.join(file)).unwrap()
    }

    fn number(&self, controller: &str, file: &str) -> u64 {
        self.text(controller, file).trim().parse().unwrap()
    }

    /// The value of a line `key value`.
    fn value(&self, controller: &str, file: &str, key: &str) -> u64 {
        let text = self.text(controller, file);
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {key} in {file}")).parse().unwrap()
    }
}

fn stats(shim: &mut Shim) -> Any {
    let request = StatsRequest { id: shim.bundle.id.clone() };
    shim.client.call::<StatsResponse>(SERVICE_V3, "Stats", &request).unwrap().stats.unwrap()
}

/// The limit of memory, whichever version the message is of.
pub fn memory_limit_bytes(shim: &mut Shim) -> u64 {
    let told = stats(shim);
    match api::any::unpack::<cgroups2::Metrics>(&told) {
        Some(metrics) => metrics.unwrap().memory.unwrap().usage_limit,
        None => {
            let metrics = api::any::unpack::<cgroups::Metrics>(&told).unwrap().unwrap();
            metrics.memory.unwrap().usage.unwrap().limit
        }
    }
}

/// Pairs of what the kernel's files say and what was told.
fn pairs_v1(kernel: &Kernel, told: &cgroups::Metrics) -> Vec<(u64, u64)> {
    let (cpu, memory) = (told.cpu.as_ref().unwrap(), told.memory.as_ref().unwrap());
    let (time, usage) = (cpu.usage.as_ref().unwrap(), memory.usage.as_ref().unwrap());
    let detail = |key| kernel.value("memory", "memory.stat", key);
    vec![
        (kernel.number("pids", "pids.current"), told.pids.unwrap().current),
        (PIDS, told.pids.unwrap().limit),
        (kernel.number("cpuacct", "cpuacct.usage"), time.total),
        (kernel.value("cpu", "cpu.stat", "nr_periods"), cpu.throttling.unwrap().periods),
        (kernel.number("memory", "memory.usage_in_bytes"), usage.usage),
        (kernel.number("memory", "memory.max_usage_in_bytes"), usage.max),
        (LIMIT_BYTES, usage.limit),
        (LIMIT_BYTES + SWAP_BYTES, memory.hierarchical_swap_limit),
        (detail("total_rss"), memory.total_rss),
        (detail("total_cache"), memory.total_cache),
        (detail("total_pgfault"), memory.total_pg_fault),
    ]
}

fn pairs_v2(kernel: &Kernel, told: &cgroups2::Metrics) -> Vec<(u64, u64)> {
    let (cpu, memory) = (told.cpu.as_ref().unwrap(), told.memory.as_ref().unwrap());
    let detail = |key| kernel.value("memory", "memory.stat", key);
    let time = |key| kernel.value("cpu", "cpu.stat", key);
    let io = kernel.text("io", "io.stat");
    vec![
        (kernel.number("pids", "pids.current"), told.pids.unwrap().current),
        (PIDS, told.pids.unwrap().limit),
        (time("usage_usec"), cpu.usage_usec),
        (time("user_usec"), cpu.user_usec),
        (time("system_usec"), cpu.system_usec),
        (time("nr_periods"), cpu.nr_periods),
        (kernel.number("memory", "memory.current"), memory.usage),
        (LIMIT_BYTES, memory.usage_limit),
        (kernel.number("memory", "memory.swap.current"), memory.swap_usage),
        (SWAP_BYTES, memory.swap_limit),
        (detail("anon"), memory.anon),
        (detail("file"), memory.file),
        (detail("slab"), memory.slab),
        (detail("kernel_stack"), memory.kernel_stack),
        (detail("pgfault"), memory.pgfault),
        (kernel.value("memory", "memory.events", "max"), told.memory_events.unwrap().max),
        (io.lines().count() as u64, told.io.as_ref().unwrap().usage.len() as u64),
    ]
}

#[test]
fn figures_are_the_kernels_in_the_message_of_its_version() {
    let mut bundle = Bundle::new();
    let limit = |bytes: u64| Some(bytes.cast_signed());
    let swap = limit(LIMIT_BYTES + SWAP_BYTES);
    bundle.spec.linux.as_mut().unwrap().resources = Some(Resources {
        memory: Some(Memory { limit: limit(LIMIT_BYTES), swap, ..Memory::default() }),
        cpu: Some(Cpu { quota: Some(50_000), period: Some(100_000), ..Cpu::default() }),
        pids: Some(Pids { limit: PIDS.cast_signed() }),
        ..Resources::default()
    });
    bundle.process().args = shell(SCRIPT);
    let mut shim = Shim::create(bundle, &CreateOptions::default(), false);
    let kernel = Kernel { directories: Cgroup::open(&shim.bundle.cgroup()).unwrap().directories() };
    shim.start("").unwrap();
    eventually("it has worked", || shim.bundle.path("upper/tmp/done").exists());
    let request = PauseRequest { id: shim.bundle.id.clone() };
    let _: () = shim.client.call(SERVICE_V3, "Pause", &request).unwrap();
    // The kernel adds up its counters of each processor now and then.
    let mut pairs = Vec::new();
    let is_as_told = |pairs: &[(u64, u64)]| pairs.iter().all(|(kernel, told)| kernel == told);
    for _ in 0..100 {
        let told = stats(&mut shim);
        pairs = if kernel.is_v2() {
            assert_eq!(told.type_url, "io.containerd.cgroups.v2.Metrics");
            pairs_v2(&kernel, &api::any::unpack(&told).unwrap().unwrap())
        } else {
            assert_eq!(told.type_url, "io.containerd.cgroups.v1.Metrics");
            pairs_v1(&kernel, &api::any::unpack(&told).unwrap().unwrap())
        };
        if is_as_told(&pairs) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(is_as_told(&pairs), "{pairs:?}");
    assert_eq!(pairs[0].1, 2, "the shell and what sleeps");
    let (cpu, usage) = if kernel.is_v2() { (pairs[2].1, pairs[6].1) } else { (pairs[2].1, pairs[4].1) };
    assert!(cpu > 1000 && usage > 100_000 && usage < LIMIT_BYTES, "{pairs:?}");
}

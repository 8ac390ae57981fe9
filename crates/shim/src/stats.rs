//! What a container uses, in containerd's words.

use api::cgroups::{
    BlkIoEntry, BlkIoStat, CpuStat, CpuUsage, MemoryEntry, MemoryOomControl, MemoryStat, Metrics, PidsStat,
    Throttle,
};
use api::cgroups2;
use prost_types::Any;
use runtime::cgroup::{IoCount, Stats};

/// The message of the machine's version of cgroups, in an envelope: clients read it by its type.
pub(crate) fn metrics(stats: &Stats) -> Any {
    if stats.is_unified { api::any::pack(&metrics_v2(stats)) } else { api::any::pack(&metrics_v1(stats)) }
}

/// Every part is there, because dockerd reads them all without asking.
fn metrics_v1(stats: &Stats) -> Metrics {
    Metrics {
        pids: Some(PidsStat { current: stats.pids, limit: stats.pids_limit.unwrap_or_default() }),
        cpu: Some(CpuStat {
            usage: Some(CpuUsage {
                total: stats.cpu_usage_ns,
                kernel: stats.cpu_system_ns,
                user: stats.cpu_user_ns,
                per_cpu: stats.cpu_each_ns.clone(),
            }),
            throttling: Some(Throttle {
                periods: stats.throttling.periods,
                throttled_periods: stats.throttling.throttled_periods,
                throttled_time: stats.throttling.throttled_ns,
            }),
        }),
        memory: Some(memory(stats)),
        blkio: Some(BlkIoStat {
            io_service_bytes_recursive: entries(stats, |count| count.bytes),
            io_serviced_recursive: entries(stats, |count| count.operations),
        }),
        memory_oom_control: Some(MemoryOomControl { oom_kill: stats.oom_kills }),
    }
}

fn memory(stats: &Stats) -> MemoryStat {
    let of = |key: &str| stats.memory_details.get(key).copied().unwrap_or_default();
    MemoryStat {
        cache: stats.memory_cache_bytes,
        total_cache: stats.memory_cache_bytes,
        total_inactive_file: stats.memory_inactive_file_bytes,
        rss: of("rss"),
        rss_huge: of("rss_huge"),
        mapped_file: of("mapped_file"),
        dirty: of("dirty"),
        writeback: of("writeback"),
        pg_pg_in: of("pgpgin"),
        pg_pg_out: of("pgpgout"),
        pg_fault: of("pgfault"),
        pg_maj_fault: of("pgmajfault"),
        inactive_anon: of("inactive_anon"),
        active_anon: of("active_anon"),
        inactive_file: of("inactive_file"),
        active_file: of("active_file"),
        unevictable: of("unevictable"),
        hierarchical_memory_limit: of("hierarchical_memory_limit"),
        hierarchical_swap_limit: of("hierarchical_memsw_limit"),
        total_rss: of("total_rss"),
        total_rss_huge: of("total_rss_huge"),
        total_mapped_file: of("total_mapped_file"),
        total_dirty: of("total_dirty"),
        total_writeback: of("total_writeback"),
        total_pg_pg_in: of("total_pgpgin"),
        total_pg_pg_out: of("total_pgpgout"),
        total_pg_fault: of("total_pgfault"),
        total_pg_maj_fault: of("total_pgmajfault"),
        total_inactive_anon: of("total_inactive_anon"),
        total_active_anon: of("total_active_anon"),
        total_active_file: of("total_active_file"),
        total_unevictable: of("total_unevictable"),
        usage: Some(MemoryEntry {
            // The kernel's own way to say that there is no limit.
            limit: stats.memory_limit_bytes.unwrap_or(u64::MAX),
            usage: stats.memory_usage_bytes,
            max: stats.memory_most_bytes,
            failcnt: stats.memory_failures,
        }),
    }
}

fn entries(stats: &Stats, value: impl Fn(&IoCount) -> u64) -> Vec<BlkIoEntry> {
    let entry = |count: &IoCount| BlkIoEntry {
        op: count.operation.clone(),
        major: count.major,
        minor: count.minor,
        value: value(count),
    };
    stats.io.iter().map(entry).collect()
}

/// As containerd's shims fill it in: what is not limited has the largest number.
fn metrics_v2(stats: &Stats) -> cgroups2::Metrics {
    let microseconds = |nanoseconds: u64| nanoseconds / 1000;
    let event = |key: &str| stats.memory_events.get(key).copied().unwrap_or_default();
    cgroups2::Metrics {
        pids: Some(cgroups2::PidsStat { current: stats.pids, limit: stats.pids_limit.unwrap_or_default() }),
        cpu: Some(cgroups2::CpuStat {
            usage_usec: microseconds(stats.cpu_usage_ns),
            user_usec: microseconds(stats.cpu_user_ns),
            system_usec: microseconds(stats.cpu_system_ns),
            nr_periods: stats.throttling.periods,
            nr_throttled: stats.throttling.throttled_periods,
            throttled_usec: microseconds(stats.throttling.throttled_ns),
            psi: None,
        }),
        memory: Some(memory_v2(stats)),
        io: Some(cgroups2::IoStat { usage: io_v2(&stats.io), psi: None }),
        memory_events: Some(cgroups2::MemoryEvents {
            low: event("low"),
            high: event("high"),
            max: event("max"),
            oom: event("oom"),
            oom_kill: event("oom_kill"),
        }),
        ..cgroups2::Metrics::default()
    }
}

/// `memory.stat` by its keys, and the files beside it.
fn memory_v2(stats: &Stats) -> cgroups2::MemoryStat {
    let of = |key: &str| stats.memory_details.get(key).copied().unwrap_or_default();
    cgroups2::MemoryStat {
        anon: of("anon"),
        file: of("file"),
        kernel_stack: of("kernel_stack"),
        slab: of("slab"),
        sock: of("sock"),
        shmem: of("shmem"),
        file_mapped: of("file_mapped"),
        file_dirty: of("file_dirty"),
        file_writeback: of("file_writeback"),
        anon_thp: of("anon_thp"),
        inactive_anon: of("inactive_anon"),
        active_anon: of("active_anon"),
        inactive_file: of("inactive_file"),
        active_file: of("active_file"),
        unevictable: of("unevictable"),
        slab_reclaimable: of("slab_reclaimable"),
        slab_unreclaimable: of("slab_unreclaimable"),
        pgfault: of("pgfault"),
        pgmajfault: of("pgmajfault"),
        workingset_refault: of("workingset_refault"),
        workingset_activate: of("workingset_activate"),
        workingset_nodereclaim: of("workingset_nodereclaim"),
        pgrefill: of("pgrefill"),
        pgscan: of("pgscan"),
        pgsteal: of("pgsteal"),
        pgactivate: of("pgactivate"),
        pgdeactivate: of("pgdeactivate"),
        pglazyfree: of("pglazyfree"),
        pglazyfreed: of("pglazyfreed"),
        thp_fault_alloc: of("thp_fault_alloc"),
        thp_collapse_alloc: of("thp_collapse_alloc"),
        usage: stats.memory_usage_bytes,
        usage_limit: stats.memory_limit_bytes.unwrap_or(u64::MAX),
        swap_usage: stats.swap.usage_bytes,
        swap_limit: stats.swap.limit_bytes.unwrap_or(u64::MAX),
        max_usage: stats.memory_most_bytes,
        swap_max_usage: stats.swap.most_bytes,
        psi: None,
    }
}

/// One entry for each device.
fn io_v2(counts: &[IoCount]) -> Vec<cgroups2::IoEntry> {
    let mut entries: Vec<cgroups2::IoEntry> = Vec::new();
    for count in counts {
        let device = (count.major, count.minor);
        let position = entries.iter().position(|entry| (entry.major, entry.minor) == device);
        let position = position.unwrap_or_else(|| {
            let (major, minor) = device;
            entries.push(cgroups2::IoEntry { major, minor, ..cgroups2::IoEntry::default() });
            entries.len() - 1
        });
        let Some(entry) = entries.get_mut(position) else { continue };
        match count.operation.as_str() {
            "read" => (entry.rbytes, entry.rios) = (count.bytes, count.operations),
            _ => (entry.wbytes, entry.wios) = (count.bytes, count.operations),
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use runtime::cgroup::Swap;

    use super::*;

    #[test]
    fn the_message_is_of_the_machines_version() {
        let names =
            [false, true].map(|is_unified| metrics(&Stats { is_unified, ..Stats::default() }).type_url);
        assert_eq!(names, ["io.containerd.cgroups.v1.Metrics", "io.containerd.cgroups.v2.Metrics"]);
    }

    #[test]
    fn figures_of_version_2_are_in_its_units_and_by_device() {
        let count = |minor, operation: &str, bytes, operations| IoCount {
            major: 8,
            minor,
            operation: operation.into(),
            bytes,
            operations,
        };
        let stats = Stats {
            is_unified: true,
            cpu_usage_ns: 7_000,
            memory_usage_bytes: 4096,
            memory_details: [("anon".to_owned(), 5), ("slab".to_owned(), 6)].into(),
            memory_events: [("oom_kill".to_owned(), 2)].into(),
            swap: Swap { usage_bytes: 3, limit_bytes: Some(9), most_bytes: 4 },
            io: vec![
                count(0, "read", 10, 1),
                count(0, "write", 20, 2),
                count(16, "read", 0, 0),
                count(16, "write", 30, 3),
            ],
            ..Stats::default()
        };
        let told = metrics_v2(&stats);
        assert_eq!(told.cpu.unwrap().usage_usec, 7);
        let memory = told.memory.unwrap();
        assert_eq!((memory.anon, memory.slab, memory.usage, memory.usage_limit), (5, 6, 4096, u64::MAX));
        assert_eq!((memory.swap_usage, memory.swap_limit, memory.swap_max_usage), (3, 9, 4));
        assert_eq!(told.memory_events.unwrap().oom_kill, 2);
        let io: Vec<_> = told.io.unwrap().usage;
        let io: Vec<_> =
            io.iter().map(|one| (one.minor, one.rbytes, one.wbytes, one.rios, one.wios)).collect();
        assert_eq!(io, [(0, 10, 20, 1, 2), (16, 0, 30, 0, 3)]);
    }
}

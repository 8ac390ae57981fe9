//! What a container uses, in containerd's words.

use api::cgroups::{
    BlkIoEntry, BlkIoStat, CpuStat, CpuUsage, MemoryEntry, MemoryOomControl, MemoryStat, Metrics, PidsStat,
    Throttle,
};
use runtime::cgroup::{IoCount, Stats};

/// `io.containerd.cgroups.v1.Metrics`, on every version of cgroups: clients read it by its type. Every part is there, because
/// dockerd reads them all without asking.
pub(crate) fn metrics(stats: &Stats) -> Metrics {
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

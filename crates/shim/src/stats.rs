//! What a container uses, in containerd's words.

use api::cgroups::{
    BlkIoEntry, BlkIoStat, CpuStat, CpuUsage, MemoryEntry, MemoryOomControl, MemoryStat, Metrics, PidsStat,
};
use runtime::cgroup::Stats;

/// `io.containerd.cgroups.v1.Metrics`, on every version of cgroups: clients read it by its type.
pub(crate) fn metrics(stats: &Stats) -> Metrics {
    let io = |op: &str, value| BlkIoEntry { op: op.into(), value };
    Metrics {
        pids: Some(PidsStat { current: stats.pids, limit: stats.pids_limit.unwrap_or_default() }),
        cpu: Some(CpuStat {
            usage: Some(CpuUsage {
                total: stats.cpu_usage_ns,
                kernel: stats.cpu_system_ns,
                user: stats.cpu_user_ns,
            }),
        }),
        memory: Some(MemoryStat {
            cache: stats.memory_cache_bytes,
            total_cache: stats.memory_cache_bytes,
            total_inactive_file: stats.memory_inactive_file_bytes,
            usage: Some(MemoryEntry {
                // The kernel's own way to say that there is no limit.
                limit: stats.memory_limit_bytes.unwrap_or(u64::MAX),
                usage: stats.memory_usage_bytes,
            }),
        }),
        blkio: Some(BlkIoStat {
            io_service_bytes_recursive: vec![
                io("Read", stats.io_read_bytes),
                io("Write", stats.io_write_bytes),
            ],
        }),
        memory_oom_control: Some(MemoryOomControl { oom_kill: stats.oom_kills }),
    }
}

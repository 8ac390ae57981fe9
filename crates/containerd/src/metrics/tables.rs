//! What is told of a task, by the version of its control groups: containerd's names, and where each number is.

use api::{cgroups, cgroups2};

use super::f64_of;

/// A metric of tasks; `container_` comes before its name.
pub(super) struct Family<M> {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) read: fn(&M) -> Vec<Reading>,
}

/// A number, and its labels beside those of the task.
pub(super) struct Reading {
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: f64,
}

/// A metric of one number, which may not be there.
macro_rules! one {
    ($name:literal, $help:literal, $read:expr) => {
        Family { name: $name, help: $help, read: |all| single(($read)(all)) }
    };
}

fn single(value: Option<u64>) -> Vec<Reading> {
    value.map(|value| Reading { labels: Vec::new(), value: f64_of(value) }).into_iter().collect()
}

fn blkio(entries: Option<&[cgroups::BlkIoEntry]>) -> Vec<Reading> {
    let entries = entries.unwrap_or_default().iter();
    entries
        .map(|entry| Reading {
            labels: vec![
                ("device", String::new()),
                ("major", entry.major.to_string()),
                ("minor", entry.minor.to_string()),
                ("op", entry.op.clone()),
            ],
            value: f64_of(entry.value),
        })
        .collect()
}

fn io(stats: Option<&cgroups2::IoStat>, of: fn(&cgroups2::IoEntry) -> u64) -> Vec<Reading> {
    let entries = stats.into_iter().flat_map(|stats| &stats.usage);
    entries
        .map(|entry| Reading {
            labels: vec![("major", entry.major.to_string()), ("minor", entry.minor.to_string())],
            value: f64_of(of(entry)),
        })
        .collect()
}

/// Of control groups of version 1.
pub(super) const V1: &[Family<cgroups::Metrics>] = &[
    one!("cpu_total_nanoseconds", "Processor time, in nanoseconds.", |all: &cgroups::Metrics| Some(
        all.cpu.as_ref()?.usage.as_ref()?.total
    )),
    one!(
        "cpu_kernel_nanoseconds",
        "Processor time in the kernel, in nanoseconds.",
        |all: &cgroups::Metrics| Some(all.cpu.as_ref()?.usage.as_ref()?.kernel)
    ),
    one!("cpu_user_nanoseconds", "Processor time in programs, in nanoseconds.", |all: &cgroups::Metrics| {
        Some(all.cpu.as_ref()?.usage.as_ref()?.user)
    }),
    Family {
        name: "per_cpu_nanoseconds",
        help: "Processor time on each processor, in nanoseconds.",
        read: |all| {
            let each = all.cpu.iter().flat_map(|cpu| &cpu.usage).flat_map(|usage| &usage.per_cpu).enumerate();
            each.map(|(cpu, time)| Reading { labels: vec![("cpu", cpu.to_string())], value: f64_of(*time) })
                .collect()
        },
    },
    one!("cpu_throttle_periods_total", "Periods of the processor's quota.", |all: &cgroups::Metrics| Some(
        all.cpu.as_ref()?.throttling.as_ref()?.periods
    )),
    one!(
        "cpu_throttled_periods_total",
        "Periods in which the quota was used up.",
        |all: &cgroups::Metrics| Some(all.cpu.as_ref()?.throttling.as_ref()?.throttled_periods)
    ),
    one!(
        "cpu_throttled_time_nanoseconds",
        "Time spent waiting for the quota, in nanoseconds.",
        |all: &cgroups::Metrics| Some(all.cpu.as_ref()?.throttling.as_ref()?.throttled_time)
    ),
    one!("memory_cache_bytes", "`cache` of the memory controller.", |all: &cgroups::Metrics| Some(
        all.memory.as_ref()?.cache
    )),
    one!("memory_rss_bytes", "`rss` of the memory controller.", |all: &cgroups::Metrics| Some(
        all.memory.as_ref()?.rss
    )),
    one!("memory_rss_huge_bytes", "`rss_huge` of the memory controller.", |all: &cgroups::Metrics| Some(
        all.memory.as_ref()?.rss_huge
    )),
    one!("memory_mapped_file_bytes", "`mapped_file` of the memory controller.", |all: &cgroups::Metrics| {
        Some(all.memory.as_ref()?.mapped_file)
    }),
    one!("memory_dirty_bytes", "`dirty` of the memory controller.", |all: &cgroups::Metrics| Some(
        all.memory.as_ref()?.dirty
    )),
    one!("memory_writeback_bytes", "`writeback` of the memory controller.", |all: &cgroups::Metrics| Some(
        all.memory.as_ref()?.writeback
    )),
    one!("memory_pgpgin_bytes", "`pgpgin` of the memory controller.", |all: &cgroups::Metrics| Some(
        all.memory.as_ref()?.pg_pg_in
    )),
    one!("memory_pgpgout_bytes", "`pgpgout` of the memory controller.", |all: &cgroups::Metrics| Some(
        all.memory.as_ref()?.pg_pg_out
    )),
    one!("memory_pgfault_bytes", "`pgfault` of the memory controller.", |all: &cgroups::Metrics| Some(
        all.memory.as_ref()?.pg_fault
    )),
    one!("memory_pgmajfault_bytes", "`pgmajfault` of the memory controller.", |all: &cgroups::Metrics| Some(
        all.memory.as_ref()?.pg_maj_fault
    )),
    one!(
        "memory_inactive_anon_bytes",
        "`inactive_anon` of the memory controller.",
        |all: &cgroups::Metrics| Some(all.memory.as_ref()?.inactive_anon)
    ),
    one!("memory_active_anon_bytes", "`active_anon` of the memory controller.", |all: &cgroups::Metrics| {
        Some(all.memory.as_ref()?.active_anon)
    }),
    one!(
        "memory_inactive_file_bytes",
        "`inactive_file` of the memory controller.",
        |all: &cgroups::Metrics| Some(all.memory.as_ref()?.inactive_file)
    ),
    one!("memory_active_file_bytes", "`active_file` of the memory controller.", |all: &cgroups::Metrics| {
        Some(all.memory.as_ref()?.active_file)
    }),
    one!("memory_unevictable_bytes", "`unevictable` of the memory controller.", |all: &cgroups::Metrics| {
        Some(all.memory.as_ref()?.unevictable)
    }),
    one!(
        "memory_hierarchical_memory_limit_bytes",
        "`hierarchical_memory_limit` of the memory controller.",
        |all: &cgroups::Metrics| Some(all.memory.as_ref()?.hierarchical_memory_limit)
    ),
    one!(
        "memory_hierarchical_memsw_limit_bytes",
        "`hierarchical_memsw_limit` of the memory controller.",
        |all: &cgroups::Metrics| Some(all.memory.as_ref()?.hierarchical_swap_limit)
    ),
    one!("memory_total_cache_bytes", "`total_cache` of the memory controller.", |all: &cgroups::Metrics| {
        Some(all.memory.as_ref()?.total_cache)
    }),
    one!("memory_total_rss_bytes", "`total_rss` of the memory controller.", |all: &cgroups::Metrics| Some(
        all.memory.as_ref()?.total_rss
    )),
    one!(
        "memory_total_rss_huge_bytes",
        "`total_rss_huge` of the memory controller.",
        |all: &cgroups::Metrics| Some(all.memory.as_ref()?.total_rss_huge)
    ),
    one!(
        "memory_total_mapped_file_bytes",
        "`total_mapped_file` of the memory controller.",
        |all: &cgroups::Metrics| Some(all.memory.as_ref()?.total_mapped_file)
    ),
    one!("memory_total_dirty_bytes", "`total_dirty` of the memory controller.", |all: &cgroups::Metrics| {
        Some(all.memory.as_ref()?.total_dirty)
    }),
    one!(
        "memory_total_writeback_bytes",
        "`total_writeback` of the memory controller.",
        |all: &cgroups::Metrics| Some(all.memory.as_ref()?.total_writeback)
    ),
    one!(
        "memory_total_pgpgin_bytes",
        "`total_pgpgin` of the memory controller.",
        |all: &cgroups::Metrics| Some(all.memory.as_ref()?.total_pg_pg_in)
    ),
    one!(
        "memory_total_pgpgout_bytes",
        "`total_pgpgout` of the memory controller.",
        |all: &cgroups::Metrics| Some(all.memory.as_ref()?.total_pg_pg_out)
    ),
    one!(
        "memory_total_pgfault_bytes",
        "`total_pgfault` of the memory controller.",
        |all: &cgroups::Metrics| Some(all.memory.as_ref()?.total_pg_fault)
    ),
    one!(
        "memory_total_pgmajfault_bytes",
        "`total_pgmajfault` of the memory controller.",
        |all: &cgroups::Metrics| Some(all.memory.as_ref()?.total_pg_maj_fault)
    ),
    one!(
        "memory_total_inactive_anon_bytes",
        "`total_inactive_anon` of the memory controller.",
        |all: &cgroups::Metrics| Some(all.memory.as_ref()?.total_inactive_anon)
    ),
    one!(
        "memory_total_active_anon_bytes",
        "`total_active_anon` of the memory controller.",
        |all: &cgroups::Metrics| Some(all.memory.as_ref()?.total_active_anon)
    ),
    one!(
        "memory_total_inactive_file_bytes",
        "`total_inactive_file` of the memory controller.",
        |all: &cgroups::Metrics| Some(all.memory.as_ref()?.total_inactive_file)
    ),
    one!(
        "memory_total_active_file_bytes",
        "`total_active_file` of the memory controller.",
        |all: &cgroups::Metrics| Some(all.memory.as_ref()?.total_active_file)
    ),
    one!(
        "memory_total_unevictable_bytes",
        "`total_unevictable` of the memory controller.",
        |all: &cgroups::Metrics| Some(all.memory.as_ref()?.total_unevictable)
    ),
    one!("memory_usage_usage_bytes", "Memory, in bytes.", |all: &cgroups::Metrics| Some(
        all.memory.as_ref()?.usage.as_ref()?.usage
    )),
    one!("memory_usage_limit_bytes", "How much memory there may be.", |all: &cgroups::Metrics| Some(
        all.memory.as_ref()?.usage.as_ref()?.limit
    )),
    one!("memory_usage_max_bytes", "The most memory there was.", |all: &cgroups::Metrics| Some(
        all.memory.as_ref()?.usage.as_ref()?.max
    )),
    one!("memory_usage_failcnt_total", "How often memory ran out.", |all: &cgroups::Metrics| Some(
        all.memory.as_ref()?.usage.as_ref()?.failcnt
    )),
    Family {
        name: "blkio_io_service_bytes_recursive_bytes",
        help: "Bytes read and written, by device.",
        read: |all| blkio(all.blkio.as_ref().map(|blkio| blkio.io_service_bytes_recursive.as_slice())),
    },
    Family {
        name: "blkio_io_serviced_recursive_total",
        help: "Reads and writes, by device.",
        read: |all| blkio(all.blkio.as_ref().map(|blkio| blkio.io_serviced_recursive.as_slice())),
    },
    one!("pids_current", "Processes and threads.", |all: &cgroups::Metrics| Some(all.pids.as_ref()?.current)),
    one!(
        "pids_limit",
        "How many processes and threads there may be; 0 is any number.",
        |all: &cgroups::Metrics| Some(all.pids.as_ref()?.limit)
    ),
];

/// Of control groups of version 2.
pub(super) const V2: &[Family<cgroups2::Metrics>] = &[
    one!("cpu_usage_usec_microseconds", "Processor time, in microseconds.", |all: &cgroups2::Metrics| Some(
        all.cpu.as_ref()?.usage_usec
    )),
    one!(
        "cpu_user_usec_microseconds",
        "Processor time in programs, in microseconds.",
        |all: &cgroups2::Metrics| Some(all.cpu.as_ref()?.user_usec)
    ),
    one!(
        "cpu_system_usec_microseconds",
        "Processor time in the kernel, in microseconds.",
        |all: &cgroups2::Metrics| Some(all.cpu.as_ref()?.system_usec)
    ),
    one!("cpu_nr_periods_total", "Periods of the processor's quota.", |all: &cgroups2::Metrics| Some(
        all.cpu.as_ref()?.nr_periods
    )),
    one!(
        "cpu_nr_throttled_total",
        "Periods in which the quota was used up.",
        |all: &cgroups2::Metrics| Some(all.cpu.as_ref()?.nr_throttled)
    ),
    one!(
        "cpu_throttled_usec_microseconds",
        "Time spent waiting for the quota, in microseconds.",
        |all: &cgroups2::Metrics| Some(all.cpu.as_ref()?.throttled_usec)
    ),
    one!("memory_usage_bytes", "Memory, in bytes.", |all: &cgroups2::Metrics| Some(
        all.memory.as_ref()?.usage
    )),
    one!("memory_usage_limit_bytes", "How much memory there may be.", |all: &cgroups2::Metrics| Some(
        all.memory.as_ref()?.usage_limit
    )),
    one!("memory_swap_usage_bytes", "Swap, in bytes.", |all: &cgroups2::Metrics| Some(
        all.memory.as_ref()?.swap_usage
    )),
    one!("memory_swap_limit_bytes", "How much swap there may be.", |all: &cgroups2::Metrics| Some(
        all.memory.as_ref()?.swap_limit
    )),
    one!("memory_file_mapped_bytes", "`file_mapped` of the memory controller.", |all: &cgroups2::Metrics| {
        Some(all.memory.as_ref()?.file_mapped)
    }),
    one!(
        "memory_file_dirty_bytes",
        "`file_dirty` of the memory controller.",
        |all: &cgroups2::Metrics| Some(all.memory.as_ref()?.file_dirty)
    ),
    one!(
        "memory_file_writeback_bytes",
        "`file_writeback` of the memory controller.",
        |all: &cgroups2::Metrics| Some(all.memory.as_ref()?.file_writeback)
    ),
    one!(
        "memory_pgactivate_bytes",
        "`pgactivate` of the memory controller.",
        |all: &cgroups2::Metrics| Some(all.memory.as_ref()?.pgactivate)
    ),
    one!(
        "memory_pgdeactivate_bytes",
        "`pgdeactivate` of the memory controller.",
        |all: &cgroups2::Metrics| Some(all.memory.as_ref()?.pgdeactivate)
    ),
    one!("memory_pgfault_bytes", "`pgfault` of the memory controller.", |all: &cgroups2::Metrics| Some(
        all.memory.as_ref()?.pgfault
    )),
    one!(
        "memory_pgmajfault_bytes",
        "`pgmajfault` of the memory controller.",
        |all: &cgroups2::Metrics| Some(all.memory.as_ref()?.pgmajfault)
    ),
    one!(
        "memory_pglazyfree_bytes",
        "`pglazyfree` of the memory controller.",
        |all: &cgroups2::Metrics| Some(all.memory.as_ref()?.pglazyfree)
    ),
    one!("memory_pgrefill_bytes", "`pgrefill` of the memory controller.", |all: &cgroups2::Metrics| Some(
        all.memory.as_ref()?.pgrefill
    )),
    one!("memory_pglazyfreed_bytes", "`pglazyfreed` of the memory controller.", |all: &cgroups2::Metrics| {
        Some(all.memory.as_ref()?.pglazyfreed)
    }),
    one!("memory_pgscan_bytes", "`pgscan` of the memory controller.", |all: &cgroups2::Metrics| Some(
        all.memory.as_ref()?.pgscan
    )),
    one!("memory_pgsteal_bytes", "`pgsteal` of the memory controller.", |all: &cgroups2::Metrics| Some(
        all.memory.as_ref()?.pgsteal
    )),
    one!(
        "memory_inactive_anon_bytes",
        "`inactive_anon` of the memory controller.",
        |all: &cgroups2::Metrics| Some(all.memory.as_ref()?.inactive_anon)
    ),
    one!("memory_active_anon_bytes", "`active_anon` of the memory controller.", |all: &cgroups2::Metrics| {
        Some(all.memory.as_ref()?.active_anon)
    }),
    one!(
        "memory_inactive_file_bytes",
        "`inactive_file` of the memory controller.",
        |all: &cgroups2::Metrics| Some(all.memory.as_ref()?.inactive_file)
    ),
    one!("memory_active_file_bytes", "`active_file` of the memory controller.", |all: &cgroups2::Metrics| {
        Some(all.memory.as_ref()?.active_file)
    }),
    one!("memory_unevictable_bytes", "`unevictable` of the memory controller.", |all: &cgroups2::Metrics| {
        Some(all.memory.as_ref()?.unevictable)
    }),
    one!("memory_anon_bytes", "`anon` of the memory controller.", |all: &cgroups2::Metrics| Some(
        all.memory.as_ref()?.anon
    )),
    one!("memory_file_bytes", "`file` of the memory controller.", |all: &cgroups2::Metrics| Some(
        all.memory.as_ref()?.file
    )),
    one!(
        "memory_kernel_stack_bytes",
        "`kernel_stack` of the memory controller.",
        |all: &cgroups2::Metrics| Some(all.memory.as_ref()?.kernel_stack)
    ),
    one!("memory_slab_bytes", "`slab` of the memory controller.", |all: &cgroups2::Metrics| Some(
        all.memory.as_ref()?.slab
    )),
    one!("memory_sock_bytes", "`sock` of the memory controller.", |all: &cgroups2::Metrics| Some(
        all.memory.as_ref()?.sock
    )),
    one!("memory_shmem_bytes", "`shmem` of the memory controller.", |all: &cgroups2::Metrics| Some(
        all.memory.as_ref()?.shmem
    )),
    one!("memory_anon_thp_bytes", "`anon_thp` of the memory controller.", |all: &cgroups2::Metrics| Some(
        all.memory.as_ref()?.anon_thp
    )),
    one!(
        "memory_slab_reclaimable_bytes",
        "`slab_reclaimable` of the memory controller.",
        |all: &cgroups2::Metrics| Some(all.memory.as_ref()?.slab_reclaimable)
    ),
    one!(
        "memory_slab_unreclaimable_bytes",
        "`slab_unreclaimable` of the memory controller.",
        |all: &cgroups2::Metrics| Some(all.memory.as_ref()?.slab_unreclaimable)
    ),
    one!(
        "memory_workingset_refault_bytes",
        "`workingset_refault` of the memory controller.",
        |all: &cgroups2::Metrics| Some(all.memory.as_ref()?.workingset_refault)
    ),
    one!(
        "memory_workingset_activate_bytes",
        "`workingset_activate` of the memory controller.",
        |all: &cgroups2::Metrics| Some(all.memory.as_ref()?.workingset_activate)
    ),
    one!(
        "memory_workingset_nodereclaim_bytes",
        "`workingset_nodereclaim` of the memory controller.",
        |all: &cgroups2::Metrics| Some(all.memory.as_ref()?.workingset_nodereclaim)
    ),
    one!(
        "memory_thp_fault_alloc_bytes",
        "`thp_fault_alloc` of the memory controller.",
        |all: &cgroups2::Metrics| Some(all.memory.as_ref()?.thp_fault_alloc)
    ),
    one!(
        "memory_thp_collapse_alloc_bytes",
        "`thp_collapse_alloc` of the memory controller.",
        |all: &cgroups2::Metrics| Some(all.memory.as_ref()?.thp_collapse_alloc)
    ),
    one!("memory_oom_total", "How often memory ran out.", |all: &cgroups2::Metrics| Some(
        all.memory_events.as_ref()?.oom
    )),
    Family {
        name: "io_rbytes_bytes",
        help: "Bytes read, by device.",
        read: |all| io(all.io.as_ref(), |entry| entry.rbytes),
    },
    Family {
        name: "io_wbytes_bytes",
        help: "Bytes written, by device.",
        read: |all| io(all.io.as_ref(), |entry| entry.wbytes),
    },
    Family {
        name: "io_rios_total",
        help: "Reads, by device.",
        read: |all| io(all.io.as_ref(), |entry| entry.rios),
    },
    Family {
        name: "io_wios_total",
        help: "Writes, by device.",
        read: |all| io(all.io.as_ref(), |entry| entry.wios),
    },
    one!("pids_current", "Processes and threads.", |all: &cgroups2::Metrics| Some(
        all.pids.as_ref()?.current
    )),
    one!(
        "pids_limit",
        "How many processes and threads there may be; 0 is any number.",
        |all: &cgroups2::Metrics| Some(all.pids.as_ref()?.limit)
    ),
];

//! `ctr tasks metrics`: what a task uses, as the kernel's control groups count it, of version 1 or 2.
//!
//! The messages are those of containerd's cgroups module (`io.containerd.cgroups.v1.Metrics` and `v2`).

use std::fmt::Write;

use grpc::tasks::{GetRequest, MetricsRequest};
use serde_json::Value;

use crate::client::Client;
use crate::error::Error;
use crate::grammar::Call;
use crate::wire::{Field, Kind, message};
use crate::{containers, documents, output, table, text};

const V1: &str = "io.containerd.cgroups.v1.Metrics";
const V2: &str = "io.containerd.cgroups.v2.Metrics";

pub(crate) async fn show(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let id = call.operand(0);
    containers::get(&client, id).await?;
    let get = GetRequest { container_id: id.into(), exec_id: String::new() };
    client.tasks().get(get).await.map_err(|status| no_task(status.into()))?;
    let request = MetricsRequest { filters: vec![format!("id=={id}")] };
    let metrics = client.tasks().metrics(request).await?.into_inner().metrics;
    let (metric, data) = metrics
        .first()
        .and_then(|metric| Some((metric, metric.data.as_ref()?)))
        .ok_or_else(|| Error::Usage("no metrics received".into()))?;
    let (fields, rows): (&[Field], fn(&Value) -> String) = match data.type_url.rsplit('/').next() {
        Some(V1) => (METRICS_V1, rows_v1),
        Some(V2) => (METRICS_V2, rows_v2),
        _ => return Err(Error::Usage("cannot convert metric data to cgroups.Metrics".into())),
    };
    let document = message(fields, &data.value).ok_or_else(|| Error::Document {
        what: format!("the metrics of task {id:?}"),
        reason: format!("they are no {}", data.type_url),
    })?;
    match call.text("format") {
        "json" => output::line(&documents::indented(&document, b"  ")),
        "table" => {
            let time = text::go_time(metric.timestamp.as_ref());
            let rows = rows(&document);
            let lines = format!("ID\tTIMESTAMP\t\n{}\t{time}\t\n\nMETRIC\tVALUE\t\n{rows}", metric.id);
            output::text(&table::layout(table::WIDE, &lines))
        }
        _ => Err(Error::Usage("format must be table or json".into())),
    }?;
    Ok(0)
}

/// A container without a task, in the words of containerd's client.
pub(crate) fn no_task(error: Error) -> Error {
    if error.is(tonic::Code::NotFound) { error.while_doing("no running task found".into()) } else { error }
}

/// A row for each name; the value is below the document at the path, and 0 where the message leaves it out.
fn rows(document: &Value, group: &str, names: &[(&str, &str)]) -> String {
    let mut lines = String::new();
    let Some(found) = document.get(group) else { return lines };
    for (name, path) in names {
        let value = found.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        let _ = writeln!(lines, "{name}\t{value}\t");
    }
    lines
}

fn rows_v1(document: &Value) -> String {
    let mut lines = rows(
        document,
        "memory",
        &[
            ("memory.usage_in_bytes", "/usage/usage"),
            ("memory.limit_in_bytes", "/usage/limit"),
            ("memory.stat.cache", "/total_cache"),
        ],
    );
    if let Some(cpu) = document.get("cpu") {
        lines.push_str(&rows(document, "cpu", &[("cpuacct.usage", "/usage/total")]));
        let each = cpu.pointer("/usage/per_cpu").and_then(Value::as_array).cloned().unwrap_or_default();
        let each: Vec<String> = each.iter().map(Value::to_string).collect();
        let _ = writeln!(lines, "cpuacct.usage_percpu\t[{}]\t", each.join(" "));
    }
    lines + &rows(document, "pids", PIDS_ROWS)
}

fn rows_v2(document: &Value) -> String {
    let cpu = [
        ("cpu.usage_usec", "/usage_usec"),
        ("cpu.user_usec", "/user_usec"),
        ("cpu.system_usec", "/system_usec"),
        ("cpu.nr_periods", "/nr_periods"),
        ("cpu.nr_throttled", "/nr_throttled"),
        ("cpu.throttled_usec", "/throttled_usec"),
    ];
    let memory = [
        ("memory.usage", "/usage"),
        ("memory.usage_limit", "/usage_limit"),
        ("memory.swap_usage", "/swap_usage"),
        ("memory.swap_limit", "/swap_limit"),
    ];
    rows(document, "pids", PIDS_ROWS) + &rows(document, "cpu", &cpu) + &rows(document, "memory", &memory)
}

const PIDS_ROWS: &[(&str, &str)] = &[("pids.current", "/current"), ("pids.limit", "/limit")];

/// Fields that are numbers, one after the other from number 1, and those behind `;`.
macro_rules! numbers {
    ($($name:literal),* $(; $($more:expr),* $(,)?)?) => {{
        const NAMES: &[&str] = &[$($name),*];
        const MORE: &[Field] = &[$($($more),*)?];
        const FIELDS: [Field; NAMES.len() + MORE.len()] = {
            let mut fields = [(0, "", Kind::Number); NAMES.len() + MORE.len()];
            let mut index = 0;
            let mut number = 0;
            while index < fields.len() {
                number += 1;
                fields[index] = match index < NAMES.len() {
                    true => (number, NAMES[index], Kind::Number),
                    false => MORE[index - NAMES.len()],
                };
                index += 1;
            }
            fields
        };
        &FIELDS
    }};
}

const PIDS: &[Field] = numbers!("current", "limit");

const METRICS_V1: &[Field] = &[
    (1, "hugetlb", Kind::Many(HUGETLB_V1)),
    (2, "pids", Kind::One(PIDS)),
    (3, "cpu", Kind::One(CPU_V1)),
    (4, "memory", Kind::One(MEMORY_V1)),
    (5, "blkio", Kind::One(BLKIO)),
    (6, "rdma", Kind::One(RDMA)),
    (7, "network", Kind::Many(NETWORK)),
    (
        8,
        "cgroup_stats",
        Kind::One(numbers!("nr_sleeping", "nr_running", "nr_stopped", "nr_uninterruptible", "nr_io_wait")),
    ),
    (9, "memory_oom_control", Kind::One(numbers!("oom_kill_disable", "under_oom", "oom_kill"))),
];
const HUGETLB_V1: &[Field] = numbers!(
    "usage", "max", "failcnt";
    (4, "pagesize", Kind::Text),
);
const CPU_V1: &[Field] = &[
    (1, "usage", Kind::One(CPU_USAGE)),
    (2, "throttling", Kind::One(numbers!("periods", "throttled_periods", "throttled_time"))),
];
const CPU_USAGE: &[Field] = numbers!(
    "total", "kernel", "user";
    (4, "per_cpu", Kind::Numbers),
);
const MEMORY_ENTRY: Kind = Kind::One(numbers!("limit", "usage", "max", "failcnt"));
const MEMORY_V1: &[Field] = numbers!(
    "cache", "rss", "rss_huge", "mapped_file", "dirty", "writeback", "pg_pg_in", "pg_pg_out", "pg_fault",
    "pg_maj_fault", "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable",
    "hierarchical_memory_limit", "hierarchical_swap_limit", "total_cache", "total_rss", "total_rss_huge",
    "total_mapped_file", "total_dirty", "total_writeback", "total_pg_pg_in", "total_pg_pg_out",
    "total_pg_fault", "total_pg_maj_fault", "total_inactive_anon", "total_active_anon",
    "total_inactive_file", "total_active_file", "total_unevictable";
    (33, "usage", MEMORY_ENTRY),
    (34, "swap", MEMORY_ENTRY),
    (35, "kernel", MEMORY_ENTRY),
    (36, "kernel_tcp", MEMORY_ENTRY),
);
const BLKIO_ENTRY: Kind = Kind::Many(&[
    (1, "op", Kind::Text),
    (2, "device", Kind::Text),
    (3, "major", Kind::Number),
    (4, "minor", Kind::Number),
    (5, "value", Kind::Number),
]);
const BLKIO: &[Field] = &[
    (1, "io_service_bytes_recursive", BLKIO_ENTRY),
    (2, "io_serviced_recursive", BLKIO_ENTRY),
    (3, "io_queued_recursive", BLKIO_ENTRY),
    (4, "io_service_time_recursive", BLKIO_ENTRY),
    (5, "io_wait_time_recursive", BLKIO_ENTRY),
    (6, "io_merged_recursive", BLKIO_ENTRY),
    (7, "io_time_recursive", BLKIO_ENTRY),
    (8, "sectors_recursive", BLKIO_ENTRY),
];
const RDMA_ENTRY: Kind = Kind::Many(&[
    (1, "device", Kind::Text),
    (2, "hca_handles", Kind::Number),
    (3, "hca_objects", Kind::Number),
]);
const RDMA: &[Field] = &[(1, "current", RDMA_ENTRY), (2, "limit", RDMA_ENTRY)];
const NETWORK: &[Field] = &[
    (1, "name", Kind::Text),
    (2, "rx_bytes", Kind::Number),
    (3, "rx_packets", Kind::Number),
    (4, "rx_errors", Kind::Number),
    (5, "rx_dropped", Kind::Number),
    (6, "tx_bytes", Kind::Number),
    (7, "tx_packets", Kind::Number),
    (8, "tx_errors", Kind::Number),
    (9, "tx_dropped", Kind::Number),
];

const METRICS_V2: &[Field] = &[
    (1, "pids", Kind::One(PIDS)),
    (2, "cpu", Kind::One(CPU_V2)),
    (4, "memory", Kind::One(MEMORY_V2)),
    (5, "rdma", Kind::One(RDMA)),
    (6, "io", Kind::One(IO)),
    (
        7,
        "hugetlb",
        Kind::Many(&[(1, "current", Kind::Number), (2, "max", Kind::Number), (3, "pagesize", Kind::Text)]),
    ),
    (8, "memory_events", Kind::One(numbers!("low", "high", "max", "oom", "oom_kill"))),
];
const PRESSURE_LINE: Kind = Kind::One(&[
    (1, "avg10", Kind::Real),
    (2, "avg60", Kind::Real),
    (3, "avg300", Kind::Real),
    (4, "total", Kind::Number),
]);
const PRESSURE: Kind = Kind::One(&[(1, "some", PRESSURE_LINE), (2, "full", PRESSURE_LINE)]);
const CPU_V2: &[Field] = numbers!(
    "usage_usec", "user_usec", "system_usec", "nr_periods", "nr_throttled", "throttled_usec";
    (7, "PSI", PRESSURE),
);
const MEMORY_V2: &[Field] = numbers!(
    "anon", "file", "kernel_stack", "slab", "sock", "shmem", "file_mapped", "file_dirty", "file_writeback",
    "anon_thp", "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable",
    "slab_reclaimable", "slab_unreclaimable", "pgfault", "pgmajfault", "workingset_refault",
    "workingset_activate", "workingset_nodereclaim", "pgrefill", "pgscan", "pgsteal", "pgactivate",
    "pgdeactivate", "pglazyfree", "pglazyfreed", "thp_fault_alloc", "thp_collapse_alloc", "usage",
    "usage_limit", "swap_usage", "swap_limit", "max_usage", "swap_max_usage";
    (38, "PSI", PRESSURE),
);
const IO: &[Field] = &[
    (1, "usage", Kind::Many(numbers!("major", "minor", "rbytes", "wbytes", "rios", "wios"))),
    (2, "PSI", PRESSURE),
];

#[cfg(test)]
mod tests {
    use super::{METRICS_V1, METRICS_V2, rows_v1, rows_v2};
    use crate::wire::message;
    use api::cgroups2::{CpuStat, MemoryStat, Metrics, PidsStat, PsiData, PsiStats};
    use prost::Message;
    use serde_json::json;

    #[test]
    fn version_2_is_shown_in_its_own_names() {
        let some = PsiData { avg10: 0.5, total: 9, ..PsiData::default() };
        let metrics = Metrics {
            pids: Some(PidsStat { current: 3, limit: 0 }),
            cpu: Some(CpuStat {
                usage_usec: 7,
                psi: Some(PsiStats { some: Some(some), full: None }),
                ..CpuStat::default()
            }),
            memory: Some(MemoryStat {
                thp_collapse_alloc: 1,
                usage: 4096,
                swap_limit: 5,
                ..MemoryStat::default()
            }),
            ..Metrics::default()
        };
        let document = message(METRICS_V2, &metrics.encode_to_vec()).unwrap();
        assert_eq!(
            document,
            json!({
                "pids": {"current": 3},
                "cpu": {"usage_usec": 7, "PSI": {"some": {"avg10": 0.5, "total": 9}}},
                "memory": {"thp_collapse_alloc": 1, "usage": 4096, "swap_limit": 5},
            })
        );
        let lines = rows_v2(&document);
        assert!(lines.starts_with("pids.current\t3\t\npids.limit\t0\t\ncpu.usage_usec\t7\t\n"), "{lines}");
        assert!(lines.ends_with("memory.usage\t4096\t\nmemory.usage_limit\t0\t\nmemory.swap_usage\t0\t\nmemory.swap_limit\t5\t\n"), "{lines}");
    }

    #[test]
    fn what_a_group_does_not_count_has_no_rows() {
        let usage = api::cgroups::CpuUsage { total: 8, per_cpu: vec![5, 3], ..Default::default() };
        let cpu = api::cgroups::CpuStat { usage: Some(usage), throttling: None };
        let metrics = api::cgroups::Metrics { cpu: Some(cpu), ..Default::default() };
        let document = message(METRICS_V1, &metrics.encode_to_vec()).unwrap();
        assert_eq!(rows_v1(&document), "cpuacct.usage\t8\t\ncpuacct.usage_percpu\t[5 3]\t\n");
        assert!(message(METRICS_V1, &[0x1a, 9]).is_none());
    }
}

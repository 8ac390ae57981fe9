//! One container's reading as a row of the table, by Docker's arithmetic. Pure.

use std::sync::Arc;

use api::docker::stats::{BlkioEntry, Stats};

use crate::size;
use crate::template::{Row, text};

pub(super) const COLUMNS: &str =
    "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

pub(super) const TITLES: &[(&str, &str)] = &[
    ("BlockIO", "BLOCK I/O"),
    ("CPUPerc", "CPU %"),
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("MemPerc", "MEM %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("Name", "NAME"),
    ("NetIO", "NET I/O"),
    ("PIDs", "PIDS"),
];

/// Digits of an id that a table shows.
const ID_WIDTH: usize = 12;
/// What is shown of a container that nothing is known of.
const UNKNOWN: &str = "--";

/// A container, as it was asked for, and what is known of it.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) asked: String,
    pub(super) stats: Option<Stats>,
}

impl Reading {
    pub(super) fn row(&self, cut: bool) -> Row {
        let fields = match &self.stats {
            None => {
                let two = format!("{UNKNOWN} / {UNKNOWN}");
                [UNKNOWN; 3]
                    .map(str::to_owned)
                    .into_iter()
                    .chain([two.clone(), UNKNOWN.into(), two.clone(), two, UNKNOWN.into()])
                    .collect()
            }
            Some(stats) => known(stats, cut),
        };
        let names = ["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"];
        let fields: Vec<String> = fields;
        let named = names.into_iter().zip(fields).chain([("Container", self.asked.clone())]);
        named.map(|(name, field)| (Arc::from(name), text(field))).collect()
    }
}

/// The columns, in their order.
fn known(stats: &Stats, cut: bool) -> Vec<String> {
    let id = if cut { stats.id.chars().take(ID_WIDTH).collect() } else { stats.id.clone() };
    let (used, limit) = (memory(stats), stats.memory_stats.limit);
    let of_limit = if limit == 0 { 0.0 } else { ratio(used, limit) * 100.0 };
    let networks = stats.networks.iter().flat_map(|networks| networks.values());
    let (received, sent) = networks.fold((0_u64, 0_u64), |(received, sent), one| {
        (received.saturating_add(one.rx_bytes), sent.saturating_add(one.tx_bytes))
    });
    let (read, written) = blocks(stats.blkio_stats.io_service_bytes_recursive.as_deref().unwrap_or_default());
    let decimal = |bytes: u64| size::decimal(i64::try_from(bytes).unwrap_or(i64::MAX));
    let binary = |bytes: u64| size::binary(i64::try_from(bytes).unwrap_or(i64::MAX));
    vec![
        id,
        stats.name.trim_start_matches('/').to_owned(),
        format!("{:.2}%", processor(stats)),
        format!("{} / {}", binary(used), binary(limit)),
        format!("{of_limit:.2}%"),
        format!("{} / {}", decimal(received), decimal(sent)),
        format!("{} / {}", decimal(read), decimal(written)),
        stats.pids_stats.current.to_string(),
    ]
}

/// The share of processor time since the reading before, in hundredths of one processor.
fn processor(stats: &Stats) -> f64 {
    let (now, before) = (&stats.cpu_stats, &stats.precpu_stats);
    let used = now.cpu_usage.total_usage.saturating_sub(before.cpu_usage.total_usage);
    let passed = now.system_cpu_usage.saturating_sub(before.system_cpu_usage);
    if used == 0 || passed == 0 {
        return 0.0;
    }
    ratio(used, passed) * f64::from(now.online_cpus) * 100.0
}

/// Without the cache that the kernel gives up first.
fn memory(stats: &Stats) -> u64 {
    let memory = &stats.memory_stats;
    let inactive = memory.stats.get("total_inactive_file").or_else(|| memory.stats.get("inactive_file"));
    let inactive = inactive.copied().unwrap_or(0);
    if inactive < memory.usage { memory.usage - inactive } else { memory.usage }
}

fn blocks(entries: &[BlkioEntry]) -> (u64, u64) {
    let sum = |letter: char| {
        let of_letter = entries.iter().filter(|entry| entry.op.to_ascii_lowercase().starts_with(letter));
        of_letter.fold(0_u64, |sum, entry| sum.saturating_add(entry.value))
    };
    (sum('r'), sum('w'))
}

#[expect(clippy::cast_precision_loss, reason = "two digits after the point are shown")]
fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other as f64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reading_is_dockers_row() {
        let stats: Stats = serde_json::from_value(json!({
            "name": "/web", "id": "0123456789abcdef",
            "cpu_stats": {"cpu_usage": {"total_usage": 150}, "system_cpu_usage": 2000, "online_cpus": 2},
            "precpu_stats": {"cpu_usage": {"total_usage": 50}, "system_cpu_usage": 1000},
            "memory_stats": {"usage": 3 << 20, "limit": 8 << 20, "stats": {"total_inactive_file": 1 << 20, "inactive_file": 5}},
            "networks": {"eth0": {"rx_bytes": 1000, "tx_bytes": 5}, "eth1": {"rx_bytes": 500}},
            "blkio_stats": {"io_service_bytes_recursive": [
                {"op": "Read", "value": 4096}, {"op": "write", "value": 7}, {"op": "Sync", "value": 9}]},
            "pids_stats": {"current": 3},
        }))
        .unwrap();
        let want =
            ["0123456789ab", "web", "20.00%", "2MiB / 8MiB", "25.00%", "1.5kB / 5B", "4.1kB / 7B", "3"];
        assert_eq!(known(&stats, true), want);
        assert_eq!(known(&stats, false)[0], stats.id);
    }

    #[test]
    fn what_is_not_known_is_shown_so() {
        let row = Reading { asked: "web".into(), stats: None }.row(true);
        assert_eq!(
            (row.len(), row["NetIO"].to_string(), row["Container"].to_string()),
            (9, "-- / --".into(), "web".into())
        );
        let stopped = known(&Stats { name: "/web".into(), ..Stats::default() }, true);
        assert_eq!(stopped[2..], ["0.00%", "0B / 0B", "0.00%", "0B / 0B", "0B / 0B", "0"]);
    }
}

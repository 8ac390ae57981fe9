//! `GET /containers/{id}/stats`: one reading, or one each second for as long as somebody reads.

use std::sync::Arc;
use std::time::Duration;

use api::docker::stats::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NEVER, NetworkStats, PidsStats, Stats,
    StorageStats, ThrottlingData,
};
use engine::containers::stats::{CgroupStats, InterfaceStats, IoCount, Machine, Sample, Uses};
use futures_util::stream::unfold;

use crate::call::Call;
use crate::error::{Error, Result};
use crate::reply::{self, Reply};
use crate::time;

/// Between the two readings of one answer.
const PACE: Duration = Duration::from_secs(1);

pub(crate) async fn stats(call: Call) -> Result<Reply> {
    let is_stream = call.query.text("stream").is_none() || call.query.flag("stream");
    let is_one_shot = call.query.flag("one-shot");
    if is_stream && is_one_shot {
        return Err(Error::invalid("cannot have stream=true and one-shot=true"));
    }
    let containers = call.engine.containers();
    if !is_stream {
        let first = containers.sample(&call.name).await?;
        // Processor time means something only beside that of a moment before.
        if is_one_shot || first.uses.is_none() {
            return Ok(reply::ok(&describe(&first, None)));
        }
        tokio::time::sleep(PACE).await;
        return Ok(reply::ok(&describe(&containers.sample(&first.id).await?, Some(&first))));
    }
    let samples = containers.samples(&call.name).await?;
    let peer = call.peer;
    Ok(reply::json_stream(unfold((samples, None), move |(mut samples, before)| {
        let peer = peer.clone();
        async move {
            let now: Arc<Sample> = tokio::select! {
                now = samples.next() => now?,
                () = peer.gone() => return None,
            };
            let line = reply::line(&describe(&now, before.as_deref()));
            Some((line, (samples, Some(now))))
        }
    })))
}

fn describe(sample: &Sample, before: Option<&Sample>) -> Stats {
    let read = |sample: &Sample| time::rfc3339_fixed(sample.read_ns);
    let named = Stats {
        name: format!("/{}", sample.name),
        id: sample.id.clone(),
        read: NEVER.into(),
        preread: NEVER.into(),
        ..Stats::default()
    };
    let Some(Uses { cgroup, interfaces, machine }) = &sample.uses else { return named };
    let before = before.filter(|before| before.uses.is_some());
    let networks = interfaces.iter().map(|(name, counters)| (name.clone(), network(counters)));
    Stats {
        read: read(sample),
        preread: before.map_or(NEVER.into(), read),
        pids_stats: PidsStats {
            current: cgroup.pids,
            // Docker's word for no limit is the largest number.
            limit: cgroup.pids_limit.unwrap_or(u64::MAX),
        },
        blkio_stats: blkio(cgroup, machine.cgroup_version),
        storage_stats: StorageStats {},
        cpu_stats: cpu(cgroup, machine),
        precpu_stats: before
            .and_then(|before| before.uses.as_ref())
            .map(|uses| cpu(&uses.cgroup, &uses.machine))
            .unwrap_or_default(),
        memory_stats: MemoryStats {
            usage: cgroup.memory_usage_bytes,
            max_usage: cgroup.memory_most_bytes,
            stats: cgroup.memory_details.clone(),
            failcnt: cgroup.memory_failures,
            limit: cgroup
                .memory_limit_bytes
                .map_or(machine.memory_bytes, |limit| limit.min(machine.memory_bytes)),
        },
        networks: Some(networks.collect()).filter(|_| !interfaces.is_empty()),
        ..named
    }
}

fn cpu(cgroup: &CgroupStats, machine: &Machine) -> CpuStats {
    CpuStats {
        cpu_usage: CpuUsage {
            total_usage: cgroup.cpu_usage_ns,
            percpu_usage: cgroup.cpu_each_ns.clone(),
            usage_in_kernelmode: cgroup.cpu_system_ns,
            usage_in_usermode: cgroup.cpu_user_ns,
        },
        system_cpu_usage: machine.cpu_ns,
        online_cpus: machine.cpus,
        throttling_data: ThrottlingData {
            periods: cgroup.throttling.periods,
            throttled_periods: cgroup.throttling.throttled_periods,
            throttled_time: cgroup.throttling.throttled_ns,
        },
    }
}

/// On version 1 every list is there, if empty; version 2 counts bytes only.
fn blkio(cgroup: &CgroupStats, version: u8) -> BlkioStats {
    let entries = |value: fn(&IoCount) -> u64| {
        let entry = |count: &IoCount| {
            let IoCount { major, minor, operation, .. } = count;
            BlkioEntry { major: *major, minor: *minor, op: operation.clone(), value: value(count) }
        };
        Some(cgroup.io.iter().map(entry).collect())
    };
    if version == 2 {
        let bytes = entries(|count| count.bytes);
        return BlkioStats { io_service_bytes_recursive: bytes, ..BlkioStats::default() };
    }
    let none = || Some(Vec::new());
    BlkioStats {
        io_service_bytes_recursive: entries(|count| count.bytes),
        io_serviced_recursive: entries(|count| count.operations),
        io_queue_recursive: none(),
        io_service_time_recursive: none(),
        io_wait_time_recursive: none(),
        io_merged_recursive: none(),
        io_time_recursive: none(),
        sectors_recursive: none(),
    }
}

fn network(counters: &InterfaceStats) -> NetworkStats {
    NetworkStats {
        rx_bytes: counters.received.bytes,
        rx_packets: counters.received.packets,
        rx_errors: counters.received.errors,
        rx_dropped: counters.received.dropped,
        tx_bytes: counters.sent.bytes,
        tx_packets: counters.sent.packets,
        tx_errors: counters.sent.errors,
        tx_dropped: counters.sent.dropped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_run_uses_nothing() {
        let sample = Sample { id: "aa".into(), name: "web".into(), read_ns: 1, uses: None };
        let document = serde_json::to_value(describe(&sample, None)).unwrap();
        assert_eq!(document["name"], "/web");
        assert_eq!((&document["read"], &document["preread"]), (&NEVER.into(), &NEVER.into()));
        assert!(document["memory_stats"].as_object().unwrap().is_empty());
        assert!(document["blkio_stats"]["io_serviced_recursive"].is_null());
        assert!(document.get("networks").is_none());
    }

    #[test]
    fn the_limit_is_never_more_than_the_machine_has() {
        let machine = Machine { memory_bytes: 100, cpus: 2, cpu_ns: 9, cgroup_version: 1 };
        for (limit, shown) in [(None, 100), (Some(50), 50), (Some(500), 100)] {
            let cgroup = CgroupStats { memory_limit_bytes: limit, cpu_usage_ns: 5, ..CgroupStats::default() };
            let uses = Some(Uses { cgroup, machine, ..Uses::default() });
            let sample = Sample { read_ns: 1, uses, ..Sample::default() };
            let stats = describe(&sample, Some(&sample));
            assert_eq!(stats.memory_stats.limit, shown, "{limit:?}");
            assert_eq!(stats.precpu_stats, stats.cpu_stats);
            assert_eq!(stats.blkio_stats.sectors_recursive, Some(Vec::new()));
        }
    }
}

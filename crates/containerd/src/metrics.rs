//! What the daemon and its tasks use, in Prometheus' text format, under containerd's names.
//!
//! See <https://prometheus.io/docs/instrumenting/exposition_formats/>. What a shim has of a task is told as it is; a task whose shim does
//! not answer in time is left out.

mod tables;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use api::task as shim;
use api::{cgroups, cgroups2};
use engine::runtimes::Task;
use futures_util::future::join_all;
use prost_types::Any;

use crate::Door;
use tables::{Family, V1, V2};

/// What a shim has for an answer: containerd's `io.containerd.timeout.metrics.shimstats`.
const STATS_TIMEOUT: Duration = Duration::from_secs(2);

/// All metrics, as text.
pub async fn metrics(door: &Door) -> String {
    let mut text = Text::default();
    text.family("containerd_build_info_total", "counter", "Which containerd this is.");
    let build = [("revision", crate::REVISION), ("version", crate::VERSION)];
    text.sample("containerd_build_info_total", &build, 1.0);
    if let Some(counters) = door.counters() {
        counters.tell(&mut text);
    }
    process(&mut text);
    tasks(&mut text, &told(door).await);
    text.0
}

/// A task and what it uses.
struct Told {
    namespace: String,
    id: String,
    runtime: String,
    usage: Usage,
}

enum Usage {
    V1(Box<cgroups::Metrics>),
    V2(Box<cgroups2::Metrics>),
}

async fn told(door: &Door) -> Vec<Told> {
    let tasks = door.engine().runtimes().list(None);
    let mut told: Vec<Told> =
        join_all(tasks.iter().map(|task| ask(door, task))).await.into_iter().flatten().collect();
    told.sort_by(|one, other| (&one.namespace, &one.id).cmp(&(&other.namespace, &other.id)));
    told
}

async fn ask(door: &Door, task: &Arc<Task>) -> Option<Told> {
    let (namespace, id) = (task.namespace().to_owned(), task.id().to_owned());
    let request = shim::StatsRequest { id: id.clone() };
    let stats = tokio::time::timeout(STATS_TIMEOUT, task.call("Stats", &request)).await;
    let stats: shim::StatsResponse = stats.ok()?.ok()?;
    let usage = usage(stats.stats.as_ref()?)?;
    let key = (namespace.clone(), id.clone());
    let container = door.blocking(move |store| store.space(&key.0).containers().get(&key.1)).await.ok()?;
    Some(Told { namespace, id, runtime: container.runtime, usage })
}

fn usage(stats: &Any) -> Option<Usage> {
    if let Some(metrics) = api::any::unpack::<cgroups2::Metrics>(stats) {
        return metrics.ok().map(Box::new).map(Usage::V2);
    }
    api::any::unpack::<cgroups::Metrics>(stats)?.ok().map(Box::new).map(Usage::V1)
}

fn tasks(text: &mut Text, told: &[Told]) {
    families(text, told, V1, |usage| if let Usage::V1(metrics) = usage { Some(metrics) } else { None });
    families(text, told, V2, |usage| if let Usage::V2(metrics) = usage { Some(metrics) } else { None });
}

fn families<M>(text: &mut Text, told: &[Told], families: &[Family<M>], of: fn(&Usage) -> Option<&M>) {
    for family in families {
        let name = format!("container_{}", family.name);
        let mut is_begun = false;
        for task in told {
            let Some(metrics) = of(&task.usage) else { continue };
            for reading in (family.read)(metrics) {
                if !is_begun {
                    text.family(&name, "gauge", family.help);
                    is_begun = true;
                }
                let own = [
                    ("container_id", task.id.as_str()),
                    ("namespace", &task.namespace),
                    ("runtime", &task.runtime),
                ];
                let others = reading.labels.iter().map(|(name, value)| (*name, value.as_str()));
                let mut labels: Vec<_> = own.into_iter().chain(others).collect();
                labels.sort_unstable();
                text.sample(&name, &labels, reading.value);
            }
        }
    }
}

/// What the daemon itself uses.
fn process(text: &mut Text) {
    let Ok(status) = std::fs::read_to_string("/proc/self/stat") else { return };
    // The name of a program may have spaces; what follows it has none.
    let fields: Vec<&str> =
        status.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<f64>().ok());
    let ticks = f64_of(rustix::param::clock_ticks_per_second());
    let page = f64_of(rustix::param::page_size() as u64);
    let booted = std::fs::read_to_string("/proc/stat").ok().and_then(|text| {
        text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok())
    });
    let limit = |resource| rustix::process::getrlimit(resource).current.map_or(f64::INFINITY, f64_of);
    let files = std::fs::read_dir("/proc/self/fd").map(|entries| f64_of(entries.count() as u64)).ok();
    let cpu = field(14).zip(field(15)).map(|(user, system)| (user + system) / ticks);
    for (name, kind, help, value) in [
        ("process_cpu_seconds_total", "counter", "Processor time of the daemon, in seconds.", cpu),
        (
            "process_max_fds",
            "gauge",
            "How many descriptors may be open.",
            Some(limit(rustix::process::Resource::Nofile)),
        ),
        ("process_open_fds", "gauge", "How many descriptors are open.", files),
        (
            "process_resident_memory_bytes",
            "gauge",
            "Memory of the daemon, in bytes.",
            field(24).map(|pages| pages * page),
        ),
        (
            "process_start_time_seconds",
            "gauge",
            "When the daemon was started, in seconds since 1970.",
            booted.zip(field(22)).map(|(booted, started)| booted + started / ticks),
        ),
        ("process_virtual_memory_bytes", "gauge", "Address space of the daemon, in bytes.", field(23)),
        (
            "process_virtual_memory_max_bytes",
            "gauge",
            "How much address space there may be.",
            Some(limit(rustix::process::Resource::As)),
        ),
    ] {
        if let Some(value) = value {
            text.family(name, kind, help);
            text.sample(name, &[], value);
        }
    }
}

/// A number as Prometheus has all.
#[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are of this type")]
pub(crate) fn f64_of(number: u64) -> f64 {
    number as f64
}

/// The text format.
#[derive(Debug, Default)]
pub(crate) struct Text(String);

impl Text {
    /// Begins a family; its samples follow.
    pub(crate) fn family(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("a string takes any text");
    }

    /// One number, with its labels in the order of their names.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (index, (label, content)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            write!(self.0, "{before}{label}=\"{}\"", escaped(content)).expect("a string takes any text");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let value = if value == f64::INFINITY { "+Inf".to_owned() } else { value.to_string() };
        writeln!(self.0, "{end} {value}").expect("a string takes any text");
    }
}

fn escaped(content: &str) -> String {
    content.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(usage: Usage) -> Told {
        Told { namespace: "n".into(), id: "c".into(), runtime: "io.containerd.runc.v2".into(), usage }
    }

    #[test]
    fn a_sample_is_written_as_prometheus_reads_it() {
        let mut text = Text::default();
        text.family("a_total", "counter", "All.");
        text.sample("a_total", &[("x", "1"), ("y", "a\"b\\c\n")], 1.5);
        text.sample("a_total", &[], f64::INFINITY);
        let expected = "# HELP a_total All.\n# TYPE a_total counter\na_total{x=\"1\",y=\"a\\\"b\\\\c\\n\"} 1.5\na_total +Inf\n";
        assert_eq!(text.0, expected);
    }

    #[test]
    fn tasks_of_both_hierarchies_have_containerds_names() {
        let first = cgroups::Metrics {
            pids: Some(cgroups::PidsStat { current: 3, limit: 0 }),
            cpu: Some(cgroups::CpuStat {
                usage: Some(cgroups::CpuUsage { total: 7, per_cpu: vec![4, 3], ..Default::default() }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let second = cgroups2::Metrics {
            pids: Some(cgroups2::PidsStat { current: 5, limit: 9 }),
            memory: Some(cgroups2::MemoryStat { usage: 11, ..Default::default() }),
            ..Default::default()
        };
        let told = [task(Usage::V1(Box::new(first))), task(Usage::V2(Box::new(second)))];
        let mut text = Text::default();
        tasks(&mut text, &told);
        let labels = "container_id=\"c\",namespace=\"n\",runtime=\"io.containerd.runc.v2\"";
        for line in [
            format!("container_pids_current{{{labels}}} 3"),
            format!("container_cpu_total_nanoseconds{{{labels}}} 7"),
            "container_per_cpu_nanoseconds{container_id=\"c\",cpu=\"1\",namespace=\"n\",runtime=\"io.containerd.runc.v2\"} 3".into(),
            format!("container_pids_current{{{labels}}} 5"),
            format!("container_memory_usage_bytes{{{labels}}} 11"),
        ] {
            assert!(text.0.lines().any(|one| one == line), "{line} in {}", text.0);
        }
        assert!(!text.0.contains("container_io_"), "what no task has is not told");
    }

    #[test]
    fn the_daemon_tells_of_itself() {
        let mut text = Text::default();
        process(&mut text);
        let value = |name: &str| {
            let line = text.0.lines().find_map(|line| line.strip_prefix(name)).expect(name);
            line.trim().parse::<f64>().unwrap()
        };
        assert!(value("process_open_fds ") >= 3.0);
        assert!(value("process_resident_memory_bytes ") > 1e6);
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        let started = value("process_start_time_seconds ");
        assert!(started > now - 86_400.0 && started < now + 60.0, "{started}");
    }
}

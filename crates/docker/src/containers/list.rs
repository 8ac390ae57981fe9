//! `GET /containers/json`: a line for each container.

use api::docker::container::{ContainerSummary, SummaryHostConfig, SummaryNetworkSettings};
use api::words::rough;
use engine::containers::spec::NetworkMode;
use engine::containers::{Container, ListFilter, StateView, Status};
use engine::networks::NetworkFilter;
use regex_lite::Regex;

use super::ports::{self, PortFilter};
use super::{endpoints, health, inspect, network};
use crate::call::{ApiVersion, Call};
use crate::error::{Error, Result};
use crate::filters::Filters;
use crate::reply::{self, Reply};
use crate::time;

const FILTERS: [&str; 16] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "task",
    "volume",
];

pub(crate) async fn list(call: Call) -> Result<Reply> {
    let filters = Filters::parse(&call.query, &FILTERS)?;
    filters.refuse(&["isolation", "task"])?;
    let limit = call
        .query
        .number::<i64>("limit")?
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|&limit| limit > 0);
    let filter = ListFilter {
        all: call.query.flag("all") || limit.is_some(),
        // Cut below, after the filters that are the door's.
        limit: None,
        ids: filters.values("id").to_vec(),
        names: Vec::new(),
        labels: filters.labels(),
        statuses: filters.values("status").iter().map(|word| status(word)).collect::<Result<_>>()?,
        exited: filters.values("exited").iter().map(|code| exit_code(code)).collect::<Result<_>>()?,
        ancestors: filters.values("ancestor").to_vec(),
        volumes: filters.values("volume").to_vec(),
        before: filters.single("before")?,
        since: filters.single("since")?,
    };
    let networks = networks_named(&call, filters.values("network")).await?;
    let only = DoorFilter::read(&filters, networks)?;
    let containers = call.engine.containers();
    let mut found = containers.list(&filter).await?;
    found.extend(call.engine.guests().list(&filter).await?);
    found.sort_by(|one, other| (other.created_ns, &other.id).cmp(&(one.created_ns, &one.id)));
    found.retain(|container| only.matches(container));
    found.truncate(limit.unwrap_or(usize::MAX));
    let now_ns = time::now_ns();
    let mut summaries: Vec<ContainerSummary> =
        found.iter().map(|container| summarize(container, now_ns, call.version)).collect();
    if call.query.flag("size") {
        for summary in &mut summaries {
            // One that has gone in between has no size.
            let Ok(usage) = containers.usage(&summary.id).await else { continue };
            // As dockerd, nothing for nothing.
            let written = i64::try_from(usage.writable_bytes).unwrap_or(i64::MAX);
            summary.size_rw = Some(written).filter(|bytes| *bytes != 0);
            summary.size_root_fs = Some(i64::try_from(usage.total_bytes).unwrap_or(i64::MAX));
        }
    }
    Ok(reply::ok(&summaries))
}

/// The values of the filter `network`, and the names of the networks whose ids begin with one of them.
async fn networks_named(call: &Call, values: &[String]) -> Result<Vec<String>> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let filter = NetworkFilter { ids: values.to_vec(), ..NetworkFilter::default() };
    let found = call.engine.networks().list(&filter).await?;
    Ok(values.iter().cloned().chain(found.into_iter().map(|network| network.name)).collect())
}

/// Filters that are Docker's idea alone.
struct DoorFilter {
    /// Regular expressions, of which one must match the name with or without its slash.
    names: Vec<Regex>,
    networks: Vec<String>,
    ports: PortFilter,
    /// Docker's words for healths.
    healths: Vec<String>,
    /// Nothing belongs to a swarm.
    shows_taskless: bool,
}

impl DoorFilter {
    fn read(filters: &Filters, networks: Vec<String>) -> Result<DoorFilter> {
        let healths = filters.values("health");
        if let Some(other) = healths.iter().find(|word| !health::WORDS.contains(&word.as_str())) {
            return Err(Error::invalid(format!(
                "invalid filter 'health={other}': invalid value for health ({other}): must be one of {}",
                health::WORDS.join(", ")
            )));
        }
        Ok(DoorFilter {
            names: filters.parsed("name", |pattern| Regex::new(pattern).ok())?,
            networks,
            ports: PortFilter::read(filters.values("publish"), filters.values("expose"))?,
            healths: healths.to_vec(),
            shows_taskless: filters.flag("is-task")? != Some(true),
        })
    }

    fn matches(&self, container: &Container) -> bool {
        let slashed = format!("/{}", container.name);
        let has_name = |pattern: &Regex| pattern.is_match(&container.name) || pattern.is_match(&slashed);
        let is_in = |network: &String| match container.spec.network {
            NetworkMode::Networks => container.endpoints.iter().any(|endpoint| endpoint.network == *network),
            _ => network::name(&container.spec) == *network,
        };
        (self.names.is_empty() || self.names.iter().any(has_name))
            && (self.networks.is_empty() || self.networks.iter().any(is_in))
            && self.ports.matches(&ports::list(container))
            && (self.healths.is_empty()
                || self.healths.iter().any(|word| word == health::word(&container.state)))
            && self.shows_taskless
    }
}

/// With Go's words for what is no number.
fn exit_code(text: &str) -> Result<i32> {
    text.parse().map_err(|_| {
        Error::invalid(format!(
            "invalid filter 'exited={text}': strconv.Atoi: parsing {text:?}: invalid syntax"
        ))
    })
}

fn status(word: &str) -> Result<Status> {
    const ALL: [Status; 7] = [
        Status::Created,
        Status::Running,
        Status::Paused,
        Status::Restarting,
        Status::Removing,
        Status::Exited,
        Status::Dead,
    ];
    ALL.into_iter().find(|status| inspect::word(*status) == word).ok_or_else(|| {
        Error::invalid(format!(
            "invalid filter 'status={word}': invalid value for state ({word}): must be one of {}",
            ALL.map(inspect::word).join(", ")
        ))
    })
}

pub(crate) fn summarize(container: &Container, now_ns: i64, version: ApiVersion) -> ContainerSummary {
    let spec = &container.spec;
    ContainerSummary {
        id: container.id.clone(),
        names: vec![format!("/{}", container.name)],
        image: spec.image.clone(),
        image_id: container.image_id.clone(),
        command: command(&container.args),
        created: time::seconds(container.created_ns),
        labels: spec.labels.clone(),
        state: inspect::word(container.state.status).into(),
        status: status_line(&container.state, now_ns),
        ports: ports::list(container),
        host_config: SummaryHostConfig { network_mode: network::name(spec) },
        network_settings: SummaryNetworkSettings {
            networks: endpoints::describe_networks(container, version),
        },
        mounts: container.mounts.iter().map(inspect::describe_mount).collect(),
        ..ContainerSummary::default()
    }
}

/// One line; arguments with spaces are quoted, as dockerd does.
fn command(args: &[String]) -> String {
    let quoted = args
        .iter()
        .enumerate()
        .map(|(index, arg)| if index > 0 && arg.contains(' ') { format!("'{arg}'") } else { arg.clone() });
    quoted.collect::<Vec<_>>().join(" ")
}

fn status_line(state: &StateView, now_ns: i64) -> String {
    let since = |moment: Option<i64>| rough(time::seconds(now_ns.saturating_sub(moment.unwrap_or(now_ns))));
    match state.status {
        Status::Created => "Created".into(),
        Status::Running => match health::word(state) {
            "none" => format!("Up {}", since(state.started_ns)),
            "starting" => format!("Up {} (health: starting)", since(state.started_ns)),
            health => format!("Up {} ({health})", since(state.started_ns)),
        },
        Status::Paused => format!("Up {} (Paused)", since(state.started_ns)),
        Status::Restarting => format!("Restarting ({}) {} ago", state.exit_code, since(state.finished_ns)),
        Status::Removing => "Removal In Progress".into(),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(state.finished_ns)),
        Status::Dead => "Dead".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use engine::containers::{Health, HealthStatus, StateView, Status};

    use super::{command, status_line};

    #[test]
    fn the_status_is_a_sentence() {
        let minute = 60_000_000_000;
        let state = |status, health: Option<HealthStatus>| StateView {
            status,
            pid: 0,
            exit_code: 7,
            error: String::new(),
            oom_killed: false,
            started_ns: Some(0),
            finished_ns: Some(minute),
            health: health.map(|status| Arc::new(Health { status, ..Health::default() })),
        };
        for (status, health, want) in [
            (Status::Created, None, "Created"),
            (Status::Running, None, "Up 3 minutes"),
            (Status::Running, Some(HealthStatus::Starting), "Up 3 minutes (health: starting)"),
            (Status::Running, Some(HealthStatus::Unhealthy), "Up 3 minutes (unhealthy)"),
            (Status::Paused, Some(HealthStatus::Healthy), "Up 3 minutes (Paused)"),
            (Status::Restarting, None, "Restarting (7) 2 minutes ago"),
            (Status::Exited, Some(HealthStatus::Unhealthy), "Exited (7) 2 minutes ago"),
            (Status::Removing, None, "Removal In Progress"),
            (Status::Dead, None, "Dead"),
        ] {
            assert_eq!(status_line(&state(status, health), 3 * minute), want);
        }
    }

    #[test]
    fn arguments_with_spaces_are_quoted() {
        assert_eq!(command(&["sh".into(), "-c".into(), "echo hi".into()]), "sh -c 'echo hi'");
    }
}

//! A container in a list: the words that `ps` prints.

use std::collections::BTreeMap;

use api::docker::container::{ContainerSummary, SummaryHostConfig, SummaryNetworkSettings};
use api::docker::network::EndpointSettings;
use engine::containers::{Container, StateView, Status, Usage};
use jiff::Timestamp;

use super::show;

pub(crate) fn summary(container: Container, usage: Option<Usage>) -> ContainerSummary {
    let spec = &container.spec;
    let network_mode = show::network_mode(&spec.network);
    let size = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    ContainerSummary {
        names: vec![format!("/{}", container.name)],
        image: spec.image.clone(),
        image_id: container.image_id.clone(),
        command: container.args.join(" "),
        created: container.created_ns / 1_000_000_000,
        ports: Vec::new(),
        size_rw: usage.as_ref().map(|usage| size(usage.writable_bytes)),
        size_root_fs: usage.as_ref().map(|usage| size(usage.total_bytes)),
        labels: spec.labels.clone(),
        state: show::status(container.state.status).into(),
        status: status_text(&container.state, now_ns()),
        host_config: SummaryHostConfig { network_mode: network_mode.clone() },
        network_settings: SummaryNetworkSettings {
            networks: BTreeMap::from([(network_mode, EndpointSettings::default())]),
        },
        mounts: container.mounts.iter().map(show::mount_point).collect(),
        id: container.id,
    }
}

fn now_ns() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// `Up 5 minutes`, `Exited (0) 2 hours ago`, `Created`, …
fn status_text(state: &StateView, now_ns: i64) -> String {
    let since = |time_ns: Option<i64>| ago((now_ns - time_ns.unwrap_or(now_ns)) / 1_000_000_000);
    match state.status {
        Status::Created => "Created".into(),
        Status::Running => format!("Up {}", since(state.started_ns)),
        Status::Paused => format!("Up {} (Paused)", since(state.started_ns)),
        Status::Restarting => format!("Restarting ({}) {} ago", state.exit_code, since(state.finished_ns)),
        Status::Removing => "Removal In Progress".into(),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(state.finished_ns)),
        Status::Dead => "Dead".into(),
    }
}

/// A duration as Docker's clients round it.
fn ago(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match () {
        () if seconds < 1 => "Less than a second".into(),
        () if seconds == 1 => "1 second".into(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".into(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".into(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::ago;

    #[test]
    fn durations_are_rounded_as_docker_rounds_them() {
        let day = 86_400;
        let cases = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (2 * day, "2 days"),
            (14 * day, "2 weeks"),
            (60 * day, "2 months"),
            (730 * day, "2 years"),
        ];
        for (seconds, text) in cases {
            assert_eq!(ago(seconds), text, "{seconds}");
        }
    }
}

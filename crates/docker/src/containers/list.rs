//! `/containers/json`.

use api::docker::container::ContainerSummary;
use engine::containers::{ListFilter, Status};

use super::summary::summary;
use crate::answer::{self, Answer, Failure};
use crate::request::{Filters, Request, labels};

const FILTERS: [&str; 10] =
    ["id", "name", "label", "status", "exited", "ancestor", "volume", "before", "since", "network"];

pub(crate) async fn list(request: &Request) -> Answer {
    let limit: Option<i64> = request.number("limit")?;
    let mut filters = request.filters(&FILTERS)?;
    let networks = filters.remove("network").unwrap_or_default();
    let mut filter = filter(filters)?;
    filter.all = request.flag("all");
    filter.limit = limit.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    let containers = request.engine.containers();
    let mut summaries: Vec<ContainerSummary> = Vec::new();
    for container in containers.list(&filter).await? {
        let usage = if request.flag("size") { Some(containers.usage(&container.id).await?) } else { None };
        let summary = summary(container, usage);
        if networks.is_empty() || networks.contains(&summary.host_config.network_mode) {
            summaries.push(summary);
        }
    }
    answer::ok(&summaries)
}

fn filter(mut filters: Filters) -> Result<ListFilter, Failure> {
    let mut take = |name: &str| filters.remove(name).unwrap_or_default();
    Ok(ListFilter {
        all: false,
        limit: None,
        ids: take("id"),
        names: take("name").iter().map(|name| name.trim_start_matches('/').to_owned()).collect(),
        labels: labels(&take("label")),
        statuses: take("status").iter().map(|name| status(name)).collect::<Result<_, _>>()?,
        exited: take("exited").iter().map(|code| exited(code)).collect::<Result<_, _>>()?,
        ancestors: take("ancestor"),
        volumes: take("volume"),
        before: take("before").pop(),
        since: take("since").pop(),
    })
}

fn status(name: &str) -> Result<Status, Failure> {
    Ok(match name {
        "created" => Status::Created,
        "running" => Status::Running,
        "paused" => Status::Paused,
        "restarting" => Status::Restarting,
        "removing" => Status::Removing,
        "exited" => Status::Exited,
        "dead" => Status::Dead,
        _ => return Err(Failure::bad(format!("invalid filter 'status={name}'"))),
    })
}

fn exited(code: &str) -> Result<i32, Failure> {
    code.parse().map_err(|_| Failure::bad(format!("invalid filter 'exited={code}'")))
}

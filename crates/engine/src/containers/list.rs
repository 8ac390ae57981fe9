//! Which containers a list shows.

use super::view::{Container, MountPoint, Status};
use crate::engine::Engine;
use crate::error::Result;
use crate::namespaces::Namespace;
use crate::prune::has_labels;

/// Which containers `list` returns: those that match one of each list that is not empty.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Without it only running ones (unless `statuses`, `exited` or `limit` are given).
    pub all: bool,
    /// The newest so many, of any state.
    pub limit: Option<usize>,
    /// Prefixes.
    pub ids: Vec<String>,
    /// Parts of names.
    pub names: Vec<String>,
    /// All of them must match; no value: any.
    pub labels: Vec<(String, Option<String>)>,
    pub statuses: Vec<Status>,
    pub exited: Vec<i32>,
    /// Image names or ids.
    pub ancestors: Vec<String>,
    /// Volume names or mount destinations.
    pub volumes: Vec<String>,
    /// Created before, or since, that container.
    pub before: Option<String>,
    pub since: Option<String>,
}

impl Engine {
    /// Those that match, newest first.
    pub(crate) fn list(&self, namespace: &Namespace, filter: &ListFilter) -> Result<Vec<Container>> {
        let all = self.index.all_in(namespace).iter().map(|record| self.view(record)).collect();
        let mut found = self.matching(namespace, filter, all)?;
        found.sort_by(|one, other| (other.created_ns, &other.id).cmp(&(one.created_ns, &one.id)));
        found.truncate(filter.limit.unwrap_or(usize::MAX));
        Ok(found)
    }

    /// Those that match, in their order.
    pub(crate) fn matching(
        &self,
        namespace: &Namespace,
        filter: &ListFilter,
        mut containers: Vec<Container>,
    ) -> Result<Vec<Container>> {
        let created = |container: &Option<String>| match container {
            Some(text) => self.index.find(namespace, text).map(|record| Some(record.created_ns)),
            None => Ok(None),
        };
        let (before_ns, since_ns) = (created(&filter.before)?, created(&filter.since)?);
        containers.retain(|container| {
            before_ns.is_none_or(|before_ns| container.created_ns < before_ns)
                && since_ns.is_none_or(|since_ns| container.created_ns > since_ns)
                && filter.matches(container)
        });
        Ok(containers)
    }
}

impl ListFilter {
    fn matches(&self, container: &Container) -> bool {
        let any = |list: &[String], matches: &dyn Fn(&str) -> bool| {
            list.is_empty() || list.iter().any(|text| matches(text))
        };
        let status = container.state.status;
        let is_shown = self.all
            || self.limit.is_some()
            || !self.statuses.is_empty()
            || !self.exited.is_empty()
            || matches!(status, Status::Running | Status::Paused | Status::Restarting);
        let mounts = |text: &str, mount: &MountPoint| mount.name == text || mount.destination == text;
        is_shown
            && any(&self.ids, &|text| container.id.starts_with(text))
            && any(&self.names, &|text| container.name.contains(text.trim_start_matches('/')))
            && has_labels(&container.spec.labels, &self.labels)
            && (self.statuses.is_empty() || self.statuses.contains(&status))
            && (self.exited.is_empty()
                || (status == Status::Exited && self.exited.contains(&container.state.exit_code)))
            && any(&self.ancestors, &|text| is_image(container, text))
            && any(&self.volumes, &|text| container.mounts.iter().any(|mount| mounts(text, mount)))
    }
}

/// Whether the container was made of the image of that name or id.
fn is_image(container: &Container, text: &str) -> bool {
    let tagged = |name: &str| oci::reference::Reference::parse_normalized(name).map(|name| name.to_string());
    let by_name = match (tagged(text), tagged(&container.spec.image)) {
        (Ok(wanted), Ok(own)) => wanted == own,
        _ => false,
    };
    let bare = container.image_id.trim_start_matches("sha256:");
    let prefix = text.trim_start_matches("sha256:");
    by_name || (prefix.len() >= 4 && bare.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::spec::ContainerSpec;
    use super::super::view::StateView;
    use super::*;

    fn container() -> Container {
        let spec = ContainerSpec {
            image: "busybox".into(),
            labels: [("tier".to_owned(), "web".to_owned())].into(),
            ..ContainerSpec::default()
        };
        Container {
            id: "aabbcc".into(),
            name: "web-1".into(),
            created_ns: 1,
            spec: Arc::new(spec),
            image_id: "sha256:123456".into(),
            args: Vec::new(),
            state: StateView {
                status: Status::Exited,
                pid: 0,
                exit_code: 3,
                error: String::new(),
                oom_killed: false,
                started_ns: None,
                finished_ns: None,
                health: None,
            },
            restart_count: 0,
            mounts: vec![MountPoint {
                kind: "volume",
                name: "data".into(),
                source: "/x".into(),
                destination: "/data".into(),
                mode: String::new(),
                readonly: false,
                propagation: "",
            }],
            snapshotter: String::new(),
            log_path: None,
            hostname_path: String::new(),
            hosts_path: String::new(),
            resolv_conf_path: String::new(),
            exec_ids: Vec::new(),
            endpoints: Vec::new(),
            network: Arc::default(),
        }
    }

    #[test]
    fn every_filter_selects() {
        type Change = fn(&mut ListFilter);
        let cases: [(Change, bool); 21] = [
            (|filter| filter.all = false, false),
            (|_| {}, true),
            (|filter| filter.limit = Some(1), true),
            (|filter| filter.ids = vec!["aabb".into()], true),
            (|filter| filter.ids = vec!["bb".into()], false),
            (|filter| filter.names = vec!["x".into(), "web".into()], true),
            (|filter| filter.names = vec!["/web-1".into()], true),
            (|filter| filter.names = vec!["db".into()], false),
            (|filter| filter.labels = vec![("tier".into(), None)], true),
            (|filter| filter.labels = vec![("tier".into(), Some("db".into()))], false),
            (|filter| filter.labels = vec![("tier".into(), None), ("x".into(), None)], false),
            (|filter| filter.statuses = vec![Status::Exited], true),
            (|filter| filter.statuses = vec![Status::Running], false),
            (|filter| filter.exited = vec![0, 3], true),
            (|filter| filter.exited = vec![0], false),
            (|filter| filter.ancestors = vec!["docker.io/library/busybox:latest".into()], true),
            (|filter| filter.ancestors = vec!["1234".into()], true),
            (|filter| filter.ancestors = vec!["redis".into()], false),
            (|filter| filter.volumes = vec!["data".into()], true),
            (|filter| filter.volumes = vec!["/data".into()], true),
            (|filter| filter.volumes = vec!["/other".into()], false),
        ];
        for (number, (change, expected)) in cases.into_iter().enumerate() {
            let mut filter = ListFilter { all: true, ..ListFilter::default() };
            change(&mut filter);
            assert_eq!(filter.matches(&container()), expected, "case {number}");
        }
    }
}

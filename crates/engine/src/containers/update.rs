//! Update: other limits and another restart policy for a container that exists.
//!
//! What was changed is kept beside the container's specification, which never changes, and counts from then on. A running
//! container's control groups are changed first: what the kernel refuses is not noted.

use std::sync::Arc;

use oci::runtime_spec::{BlockIo, Pids, Resources};
use runtime::cgroup::Cgroup;
use serde::{Deserialize, Serialize};

use super::record::Record;
use super::spec::{ContainerSpec, ResourceSpec, RestartPolicy};
use super::{check, plan, rows};
use crate::blocking::blocking;
use crate::engine::Engine;
use crate::error::{Error, Result};

/// What is to be changed; what is not set stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub resources: ResourceSpec,
    pub restart: Option<RestartPolicy>,
}

/// What counts in place of the specification's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Changed {
    pub(crate) resources: ResourceSpec,
    pub(crate) restart: RestartPolicy,
}

impl super::Containers {
    /// Changes limits, at once if it runs, and the restart policy; returns warnings.
    pub async fn update(&self, container: &str, changes: Changes) -> Result<Vec<String>> {
        let record = self.find(container)?;
        let _turn = record.turn().await;
        let current = record.current_spec();
        let (changed, warnings) = decide(&current, &changes)?;
        let (engine, own) = (self.engine.clone(), record.clone());
        blocking(move || {
            let run = own.live.borrow().state.run();
            if run.is_some() {
                engine.change_limits(&own, &kernel_changes(&changes.resources, &changed.resources))?;
            }
            own.live.send_modify(|live| live.changed = Some(Arc::new(changed)));
            engine.store_state(&own, rows::commit_class(&own.spec));
            Ok::<_, Error>(())
        })
        .await?;
        self.engine.publish_container(&record, "update");
        Ok(warnings)
    }
}

impl Record {
    /// The specification with what was changed since.
    pub(crate) fn current_spec(&self) -> Arc<ContainerSpec> {
        match &self.live.borrow().changed {
            None => self.spec.clone(),
            Some(changed) => Arc::new(ContainerSpec {
                resources: changed.resources.clone(),
                restart: changed.restart,
                ..ContainerSpec::clone(&self.spec)
            }),
        }
    }

    /// The restart policy that counts.
    pub(crate) fn restart_policy(&self) -> RestartPolicy {
        self.live.borrow().changed.as_ref().map_or(self.spec.restart, |changed| changed.restart)
    }
}

impl Engine {
    fn change_limits(&self, record: &Record, limits: &Resources) -> Result<()> {
        let refused = |error: runtime::cgroup::Error| {
            Error::Conflict(format!("Cannot update container {}: {}", record.id, crate::error::chain(&error)))
        };
        Cgroup::open(&self.cgroup_of(record)).map_err(refused)?.update(limits).map_err(refused)
    }
}

/// What counts from now on, and warnings. Pure.
fn decide(current: &ContainerSpec, changes: &Changes) -> Result<(Changed, Vec<String>)> {
    if changes.restart.is_some_and(|policy| policy != RestartPolicy::No) && current.auto_remove {
        return Err(Error::InvalidArgument(
            "Restart policy cannot be updated because AutoRemove is enabled for the container".into(),
        ));
    }
    let resources = merge(&current.resources, &changes.resources)?;
    let warnings = check::check_resources(&resources)?;
    Ok((Changed { resources, restart: changes.restart.unwrap_or(current.restart) }, warnings))
}

/// The limits that are there with those that are asked for.
fn merge(current: &ResourceSpec, asked: &ResourceSpec) -> Result<ResourceSpec> {
    let conflict = |text: &str| Err(Error::InvalidArgument(text.to_owned()));
    let is_set = |value: Option<i64>| value.is_some_and(|value| value != 0);
    let (has_period, had_period) =
        (asked.cpu_period_us.is_some_and(|us| us > 0), current.cpu_period_us.is_some_and(|us| us > 0));
    if is_set(asked.nano_cpus) && had_period {
        return conflict(
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
        );
    }
    if is_set(asked.nano_cpus) && is_set(current.cpu_quota_us) {
        return conflict(
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
        );
    }
    if has_period && is_set(current.nano_cpus) {
        return conflict(
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        );
    }
    if is_set(asked.cpu_quota_us) && is_set(current.nano_cpus) {
        return conflict("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set");
    }
    let swap = plan::memory_swap_bytes(current);
    if let (Some(memory), Some(swap), None) = (asked.memory_bytes, swap, asked.memory_swap_bytes)
        && swap > 0
        && memory > swap
    {
        return conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        );
    }
    let text =
        |asked: &String, current: &String| if asked.is_empty() { current.clone() } else { asked.clone() };
    Ok(ResourceSpec {
        memory_bytes: asked.memory_bytes.or(current.memory_bytes),
        // What was twice the old limit is not twice the new one unless somebody says so.
        memory_swap_bytes: asked.memory_swap_bytes.or(swap),
        memory_reservation_bytes: asked.memory_reservation_bytes.or(current.memory_reservation_bytes),
        nano_cpus: asked.nano_cpus.or(current.nano_cpus),
        cpu_shares: asked.cpu_shares.or(current.cpu_shares),
        cpu_quota_us: asked.cpu_quota_us.or(current.cpu_quota_us),
        cpu_period_us: asked.cpu_period_us.or(current.cpu_period_us),
        cpu_realtime_runtime_us: asked.cpu_realtime_runtime_us.or(current.cpu_realtime_runtime_us),
        cpu_realtime_period_us: asked.cpu_realtime_period_us.or(current.cpu_realtime_period_us),
        cpuset_cpus: text(&asked.cpuset_cpus, &current.cpuset_cpus),
        cpuset_mems: text(&asked.cpuset_mems, &current.cpuset_mems),
        pids_limit: asked.pids_limit.or(current.pids_limit),
        blkio_weight: asked.blkio_weight.or(current.blkio_weight),
        ..current.clone()
    })
}

/// What is to be written: only what was asked for, as it counts from now on.
fn kernel_changes(asked: &ResourceSpec, merged: &ResourceSpec) -> Resources {
    let is_memory = asked.memory_bytes.is_some()
        || asked.memory_swap_bytes.is_some()
        || asked.memory_reservation_bytes.is_some();
    Resources {
        memory: if is_memory { plan::memory(merged) } else { None },
        cpu: plan::cpu(asked),
        // Zero and less are no limit; that is to be written, too.
        pids: asked.pids_limit.map(|limit| Pids { limit: if limit > 0 { limit } else { -1 } }),
        block_io: asked
            .blkio_weight
            .filter(|weight| *weight > 0)
            .map(|weight| BlockIo { weight: Some(weight), ..BlockIo::default() }),
        ..Resources::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: i64 = 1 << 20;

    fn with(change: impl FnOnce(&mut ResourceSpec)) -> ResourceSpec {
        let mut spec = ResourceSpec::default();
        change(&mut spec);
        spec
    }

    #[test]
    fn what_is_not_asked_for_stays() {
        let current = with(|spec| (spec.memory_bytes, spec.pids_limit) = (Some(64 * MB), Some(5)));
        let asked = with(|spec| spec.cpu_shares = Some(9));
        let merged = merge(&current, &asked).unwrap();
        assert_eq!(
            (merged.memory_bytes, merged.pids_limit, merged.cpu_shares),
            (Some(64 * MB), Some(5), Some(9))
        );
        let kernel = kernel_changes(&asked, &merged);
        assert!(kernel.memory.is_none() && kernel.pids.is_none());
        assert_eq!(kernel.cpu.unwrap().shares, Some(9));
        let freed = kernel_changes(&with(|spec| spec.pids_limit = Some(0)), &merged);
        assert_eq!(freed.pids, Some(Pids { limit: -1 }));
    }

    #[test]
    fn what_contradicts_what_is_there_is_refused() {
        let memory = with(|spec| spec.memory_bytes = Some(64 * MB));
        let cases = [
            (memory.clone(), with(|spec| spec.memory_bytes = Some(200 * MB)), "already set memoryswap"),
            (
                with(|spec| spec.nano_cpus = Some(1)),
                with(|spec| spec.cpu_quota_us = Some(1)),
                "CPU Quota cannot",
            ),
            (
                with(|spec| spec.nano_cpus = Some(1)),
                with(|spec| spec.cpu_period_us = Some(1)),
                "CPU Period cannot",
            ),
            (
                with(|spec| spec.cpu_period_us = Some(1)),
                with(|spec| spec.nano_cpus = Some(1)),
                "as CPU Period",
            ),
            (with(|spec| spec.cpu_quota_us = Some(1)), with(|spec| spec.nano_cpus = Some(1)), "as CPU Quota"),
        ];
        for (current, asked, text) in cases {
            let error = merge(&current, &asked).expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
        }
        let both = with(|spec| {
            (spec.memory_bytes, spec.memory_swap_bytes) = (Some(200 * MB), Some(300 * MB));
        });
        assert_eq!(merge(&memory, &both).unwrap().memory_swap_bytes, Some(300 * MB));
        let removed = ContainerSpec { auto_remove: true, ..ContainerSpec::default() };
        let changes = Changes { restart: Some(RestartPolicy::Always), ..Changes::default() };
        assert!(decide(&removed, &changes).unwrap_err().to_string().contains("AutoRemove"));
    }
}

//! Limits that few containers have: huge pages, marks of packets, RDMA, idle and saved up processor time.

use std::borrow::Cow;

use oci::runtime_spec::{Cpu, HugepageLimit, NetworkResources, Rdma, Resources};

use super::Version::{V1, V2};
use super::plan::{Machine, Necessity, Setting, Step, invalid};
use super::{Result, Version};

pub(super) fn steps(resources: &Resources, machine: &dyn Machine) -> Result<Vec<Step>> {
    let version = |controller: &str| machine.version(controller).unwrap_or(V2);
    let mut steps = Vec::new();
    for limit in &resources.hugepage_limits {
        steps.extend(huge_pages(limit, version("hugetlb"))?);
    }
    steps.extend(resources.network.iter().flat_map(network));
    for (device, limits) in &resources.rdma {
        steps.push(rdma(device, *limits, version("rdma"))?);
    }
    steps.extend(resources.cpu.iter().flat_map(|cpu| processor(cpu, version("cpu"))));
    Ok(steps)
}

/// Also what is reserved and not used yet counts, where the kernel can tell it apart.
fn huge_pages(limit: &HugepageLimit, version: Version) -> Result<[Step; 2]> {
    let size = limit.page_size.as_str();
    let digits =
        size.strip_suffix('B').and_then(|size| size.strip_suffix(['K', 'M', 'G'])).unwrap_or_default();
    if digits.is_empty() || digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid("size of huge pages", size, "such as 2MB or 1GB"));
    }
    let (file, reserved) = match version {
        V1 => (format!("hugetlb.{size}.limit_in_bytes"), format!("hugetlb.{size}.rsvd.limit_in_bytes")),
        V2 => (format!("hugetlb.{size}.max"), format!("hugetlb.{size}.rsvd.max")),
    };
    let write = |file: String, necessity| {
        let files = vec![(Cow::Owned(file), limit.limit.to_string())];
        Step::Write(Setting { version, controller: "hugetlb".into(), files, necessity })
    };
    Ok([write(file, Necessity::Required), write(reserved, Necessity::IfPresent)])
}

/// cgroup v2 has no such controllers, which is then said.
fn network(network: &NetworkResources) -> Vec<Step> {
    let class = network.class_id.map(|class| Setting::new(V1, "net_cls", "net_cls.classid", class));
    let priority = |one: &oci::runtime_spec::InterfacePriority| {
        Setting::new(V1, "net_prio", "net_prio.ifpriomap", format!("{} {}", one.name, one.priority))
    };
    class.into_iter().chain(network.priorities.iter().map(priority)).map(Step::Write).collect()
}

fn rdma(device: &str, limits: Rdma, version: Version) -> Result<Step> {
    if device.is_empty() || device.contains(char::is_whitespace) {
        return Err(invalid("name of an RDMA device", device, "a name without spaces"));
    }
    let part =
        |name: &str, limit: Option<u32>| limit.map(|limit| format!(" {name}={limit}")).unwrap_or_default();
    let (handles, objects) = (part("hca_handle", limits.hca_handles), part("hca_object", limits.hca_objects));
    Ok(Step::Write(Setting::new(version, "rdma", "rdma.max", format!("{device}{handles}{objects}"))))
}

fn processor(cpu: &Cpu, version: Version) -> Vec<Step> {
    let burst_file = match version {
        V1 => "cpu.cfs_burst_us",
        V2 => "cpu.max.burst",
    };
    let idle = cpu.idle.map(|idle| Setting::new(version, "cpu", "cpu.idle", idle));
    let burst = cpu.burst.map(|burst| Setting::new(version, "cpu", burst_file, burst));
    idle.into_iter().chain(burst).map(Step::Write).collect()
}

//! What is the container's own, and what it shares when asked to.

use std::fs;

use oci::runtime_spec::{Namespace, NamespaceKind};

use crate::fixture::{Image, chain};

const NAMES: [&str; 6] = ["cgroup", "ipc", "mnt", "net", "pid", "uts"];

fn host_namespace(name: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string()
}

#[test]
fn every_namespace_is_new() {
    let inside =
        Image::new().sh("cd /proc/self/ns && for n in cgroup ipc mnt net pid uts; do readlink $n; done");
    let inside: Vec<_> = inside.lines().collect();
    assert_eq!(inside.len(), NAMES.len());
    for (name, inside) in NAMES.into_iter().zip(inside) {
        assert_ne!(inside, host_namespace(name), "{name}");
    }
}

#[test]
fn the_first_process_is_number_one_in_its_own_session() {
    assert_eq!(Image::new().sh("cut -d' ' -f1,4,5,6 /proc/self/stat; echo $$").lines().last(), Some("1"));
    let session = Image::new().sh("cut -d' ' -f6 /proc/1/stat");
    assert_eq!(session.trim(), "1");
}

#[test]
fn the_cgroup_namespace_hides_the_path() {
    let mut image = Image::new();
    let lines = image.sh("cat /proc/self/cgroup");
    assert!(!lines.contains("corten-test"), "{lines}");
    let mounts = image.sh("cat /proc/self/mountinfo");
    assert!(!mounts.contains(&image.cgroup()), "{mounts}");
}

#[test]
fn host_and_domain_name_are_set_inside_only() {
    let mut image = Image::new();
    image.spec.domainname = "example".into();
    assert_eq!(image.sh("hostname; cat /proc/sys/kernel/domainname"), "inside\nexample\n");
    assert_ne!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim(), "inside");
}

#[test]
fn loopback_is_up_in_a_new_network() {
    let output = Image::new().sh("ip link show lo; ip -o link | grep -c ''");
    assert!(output.contains("UP"), "{output}");
    assert!(output.ends_with("1\n"), "{output}");
}

#[test]
fn the_hosts_network_can_be_shared() {
    let mut image = Image::new();
    image.linux().namespaces.retain(|namespace| namespace.kind != NamespaceKind::Network);
    assert_eq!(image.sh("readlink /proc/self/ns/net").trim(), host_namespace("net"));
}

#[test]
fn the_hosts_pid_namespace_can_be_shared() {
    let mut image = Image::new();
    image.linux().namespaces.retain(|namespace| namespace.kind != NamespaceKind::Pid);
    assert_eq!(image.sh("readlink /proc/self/ns/pid; test -d /proc/$$").trim(), host_namespace("pid"));
}

#[test]
fn namespaces_of_another_container_can_be_joined() {
    let own_before = host_namespace("pid");
    let mut first = Image::new();
    let mut first = first.sleeper();
    let pid = first.container().pid();
    for (kind, name) in [
        (NamespaceKind::Network, "net"),
        (NamespaceKind::Pid, "pid"),
        (NamespaceKind::Ipc, "ipc"),
        (NamespaceKind::Uts, "uts"),
    ] {
        let mut second = Image::new();
        for namespace in &mut second.linux().namespaces {
            if namespace.kind == kind {
                namespace.path = Some(format!("/proc/{pid}/ns/{name}").into());
            }
        }
        let expected = fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap().display().to_string();
        assert_eq!(second.sh(&format!("readlink /proc/self/ns/{name}")).trim(), expected);
        if name == "pid" {
            assert!(second.sh("cat /proc/1/cmdline").contains("sleep"));
        }
    }
    // Cloning into another pid namespace must not have moved us, nor the children that we make later.
    assert_eq!(host_namespace("pid"), own_before);
    assert_eq!(host_namespace("pid_for_children"), own_before);
}

#[test]
fn a_namespace_of_the_wrong_kind_is_refused() {
    let mut image = Image::new();
    image.linux().namespaces = vec![
        Namespace { kind: NamespaceKind::Mount, path: None },
        Namespace { kind: NamespaceKind::Network, path: Some("/proc/self/ns/uts".into()) },
    ];
    image.spec.hostname.clear();
    let message = chain(&image.refused());
    assert!(message.contains("enter the network namespace"), "{message}");
}

#[test]
fn sysctls_of_own_namespaces_are_set_and_others_refused() {
    let mut image = Image::new();
    let sysctl = &mut image.linux().sysctl;
    sysctl.insert("net.ipv4.ip_unprivileged_port_start".into(), "77".into());
    sysctl.insert("kernel.msgmax".into(), "4096".into());
    let output = image.sh("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax");
    assert_eq!(output, "77\n4096\n");
    for (name, value) in [("kernel.panic", "1"), ("vm.swappiness", "1"), ("net/../kernel/panic", "1")] {
        image.linux().sysctl = [(name.to_owned(), value.to_owned())].into();
        assert!(image.refused().to_string().contains(name));
    }
    image.linux().sysctl = [("net.core.nonsense".to_owned(), "1".to_owned())].into();
    assert!(image.refused().to_string().contains("set sysctl `net.core.nonsense`"));
}

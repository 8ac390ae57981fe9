//! What runc keeps of a container: read, and acted upon, by Debian's runc.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use api::code::Code;
use api::runc::Options as RuncOptions;
use api::task::{KillRequest, SERVICE_V2};
use linux::signal::SIGKILL;
use serde_json::Value;

use crate::containerd::{Started, invoke};
use crate::fixture::*;

/// A shim that was told a root, and the folder of its container there.
fn started(script: &str) -> (Started, PathBuf) {
    let root = tempfile::Builder::new().prefix("corten-shim-runc-").tempdir().unwrap().keep();
    let options = RuncOptions { root: root.display().to_string(), ..RuncOptions::default() };
    let mut shim = Started::with(script, &options);
    // containerd makes it, and runc starts its execs there.
    fs::create_dir(shim.bundle.path("bundle/rootfs")).unwrap();
    shim.try_create(String::new(), String::new(), String::new()).unwrap();
    let kept = root.join("test").join(&shim.bundle.id);
    (shim, kept)
}

/// What Debian's runc says with that root; it must succeed.
fn runc(kept: &Path, words: &[&str]) -> String {
    let output = Command::new("runc").arg("--root").arg(kept.parent().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "runc {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Its folder is gone; the root is the test's own.
fn end(kept: &Path) {
    assert!(!kept.exists(), "a deleted container's folder is gone");
    fs::remove_dir_all(kept.parent().unwrap().parent().unwrap()).unwrap();
}

#[test]
fn runc_knows_a_container_of_the_shim() {
    let (mut shim, kept) = started("sleep 1000");
    let id = shim.bundle.id.clone();
    let state = || -> Value { serde_json::from_str(&runc(&kept, &["state", &id])).unwrap() };
    let created = state();
    assert_eq!((&created["status"], &created["id"]), (&"created".into(), &id.as_str().into()));
    assert_eq!(fs::metadata(kept.join("state.json")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o711);
    shim.start("");
    let running = state();
    assert_eq!(running["status"], "running");
    assert_eq!(running["bundle"], shim.bundle.path("bundle").display().to_string());
    let pid = running["pid"].to_string();
    assert!(runc(&kept, &["list"]).lines().any(|line| line.contains(&id) && line.contains(&pid)));
    assert!(runc(&kept, &["ps", &id]).contains("sleep 1000"));
    runc(&kept, &["pause", &id]);
    assert_eq!(state()["status"], "paused");
    runc(&kept, &["resume", &id]);
    assert_eq!(state()["status"], "running");
    let kinds = ["pid", "net", "mnt", "ipc", "uts", "cgroup"];
    let own = |kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display().to_string();
    let script = format!("cd /proc/self/ns; for kind in {}; do readlink $kind; done", kinds.join(" "));
    let inside = runc(&kept, &["exec", &id, "/bin/sh", "-c", &script]);
    assert_eq!(inside.lines().collect::<Vec<_>>(), kinds.map(own), "an exec of runc is in its namespaces");
    // What others than runc read of it.
    let text = fs::read_to_string(kept.join("state.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["namespace_paths"]["NEWNS"], format!("/proc/{pid}/ns/mnt"));
    let groups = document["cgroup_paths"].as_object().unwrap();
    assert!(!groups.is_empty() && groups.values().all(|path| Path::new(path.as_str().unwrap()).exists()));
    let is_v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    assert!(
        groups.contains_key(if is_v2 { "" } else { "memory" }) && (groups.len() == 1) == is_v2,
        "{groups:?}"
    );
    runc(&kept, &["kill", &id, "KILL"]);
    assert_eq!(shim.wait(""), 137);
    assert_eq!(state()["status"], "stopped");
    shim.delete("");
    end(&kept);
    shim.finish();
}

#[test]
fn a_container_that_runc_deletes_is_over() {
    let (mut shim, kept) = started("sleep 1000");
    shim.start("");
    runc(&kept, &["delete", "--force", &shim.bundle.id]);
    assert!(!kept.exists(), "runc removes it");
    assert_eq!(shim.wait(""), 137);
    let request = KillRequest { id: shim.bundle.id.clone(), signal: 9, ..KillRequest::default() };
    let refused = shim.client.call::<()>(SERVICE_V2, "Kill", &request).unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    shim.delete("");
    end(&kept);
    shim.finish();
}

#[test]
fn a_dead_shims_container_is_forgotten() {
    let (mut shim, kept) = started("sleep 1000");
    shim.start("");
    let pidfd = linux::pidfd::open(shim.pid).unwrap();
    linux::pidfd::send_signal(pidfd.as_fd(), SIGKILL).unwrap();
    until_readable(&pidfd);
    assert!(kept.join("state.json").exists());
    invoke(&shim.bundle, "delete", b"");
    end(&kept);
    shim.bundle.assert_nothing_left();
}

//! What a test run must not leave behind: mounts, network namespaces and links, addresses, cgroups, processes, loop
//! devices, nft rules, temporary directories.
//!
//! [`Snapshot`] is the whole machine seen by names that are ours, taken before and after a run; [`of_host`] is what
//! one installation left.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::host::signal;

/// Things on this machine that could have been left behind, one text each.
#[derive(Debug, Default)]
pub struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Looks at the machine now.
    pub fn take() -> Snapshot {
        let mut found = BTreeSet::new();
        found.extend(lines_of("/proc/self/mountinfo").into_iter().filter_map(|line| {
            let point = line.split(' ').nth(4)?.to_owned();
            Some(format!("mount {point}"))
        }));
        found.extend(command_lines("ip", &["-o", "link"], "link"));
        found.extend(command_lines("ip", &["-o", "address"], "address"));
        found.extend(command_lines("ip", &["netns"], "network namespace"));
        found.extend(command_lines("losetup", &["-n", "-O", "NAME,BACK-FILE", "-l"], "loop device"));
        found.extend(command_lines("nft", &["list", "tables"], "nft table"));
        found.extend(cgroups().into_iter().map(|path| format!("cgroup {}", path.display())));
        found.extend(our_processes().into_iter().map(|(pid, line)| format!("process {pid} {line}")));
        found.extend(temporary_files());
        Snapshot(found)
    }

    /// Reads a snapshot that [`Snapshot::text`] wrote.
    pub fn parse(text: &str) -> Snapshot {
        Snapshot(text.lines().map(str::to_owned).collect())
    }

    /// One line for each thing.
    pub fn text(&self) -> String {
        self.0.iter().map(|line| format!("{line}\n")).collect()
    }

    /// What is there now and was not in `before`.
    pub fn since(&self, before: &Snapshot) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }
}

/// What the installation in `directory` with containers below `cgroup` has left.
pub fn of_host(directory: &Path, cgroup: &str) -> Vec<String> {
    let directory = directory.display().to_string();
    let mut left = Vec::new();
    left.extend(lines_of("/proc/self/mountinfo").into_iter().filter(|line| line.contains(&directory)));
    left.extend(
        processes()
            .into_iter()
            .filter(|(_, line)| line.contains(&directory))
            .map(|(pid, line)| format!("process {pid} {line}")),
    );
    for path in cgroups() {
        let is_below = path.ends_with(cgroup.trim_start_matches('/'));
        if is_below && has_children(&path) {
            left.push(format!("cgroup {} has children", path.display()));
        }
    }
    left
}

/// Ends and removes what an installation left after a failed test, so that others are not disturbed.
pub fn clean_up(directory: &Path, cgroup: &str) {
    let directory = directory.display().to_string();
    for (pid, line) in processes() {
        if line.contains(&directory) {
            signal(pid, Signal::KILL);
        }
    }
    for path in cgroups() {
        if path.display().to_string().contains(cgroup) {
            for pid in lines_of(path.join("cgroup.procs")) {
                if let Ok(pid) = pid.parse() {
                    signal(pid, Signal::KILL);
                }
            }
        }
    }
}

/// Removes the empty cgroups that test installations made for themselves.
pub fn remove_test_cgroups() {
    let mut paths = cgroups();
    paths.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    for path in paths {
        // One that is in use stays, and is reported.
        drop(fs::remove_dir(path));
    }
}

fn lines_of(path: impl AsRef<Path>) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn command_lines(program: &str, arguments: &[&str], label: &str) -> Vec<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed for the leak check: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| format!("{label} {}", line.trim())).collect()
}

/// Every cgroup whose first component is one of ours.
fn cgroups() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut roots: Vec<PathBuf> = vec![PathBuf::from("/sys/fs/cgroup")];
    roots.extend(subdirectories(Path::new("/sys/fs/cgroup")));
    for root in roots {
        let ours = subdirectories(&root).into_iter().filter(|path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("corten-"))
        });
        let mut pending: Vec<PathBuf> = ours.collect();
        while let Some(path) = pending.pop() {
            pending.extend(subdirectories(&path));
            found.push(path);
        }
    }
    found.sort();
    found.dedup();
    found
}

fn has_children(path: &Path) -> bool {
    // The daemon keeps places for itself and its shims there; containers are named by 64 hex digits.
    let mut pending = subdirectories(path);
    while let Some(path) = pending.pop() {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if name.len() == 64 {
            return true;
        }
        pending.extend(subdirectories(&path));
    }
    false
}

fn subdirectories(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn processes() -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for path in subdirectories(Path::new("/proc")) {
        let Some(pid) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned();
        if pid != std::process::id() && !line.is_empty() {
            found.push((pid, line));
        }
    }
    found
}

fn our_processes() -> Vec<(u32, String)> {
    processes()
        .into_iter()
        .filter(|(_, line)| {
            let program = line.split(' ').next().unwrap_or_default();
            program.ends_with("/corten-shim") || program.ends_with("/corten") || line.contains("corten-e2e-")
        })
        .collect()
}

fn temporary_files() -> Vec<String> {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return Vec::new() };
    entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("corten-") || name.starts_with(".tmp"))
        .map(|name| format!("temporary file {name}"))
        .collect()
}

//! What a worker may do, seen from outside while it waits for input.

use std::fs;
use std::os::fd::OwnedFd;
use std::process::Command;

use image::WorkerCommand;

use crate::sandbox::{NAMESPACE, Sandbox, example, worker_command};
use crate::tarball::docker_archive;

/// A command whose process can be told from the workers of other tests.
pub(crate) fn marked(marker: &str) -> WorkerCommand {
    let marker = format!("--{marker}-{}", std::process::id());
    WorkerCommand { arguments: vec![marker.into()], ..worker_command() }
}

/// The worker of that command, once it waits for input: then it has confined itself.
pub(crate) fn waiting(command: &WorkerCommand) -> u32 {
    let marker = command.arguments[0].to_str().unwrap();
    loop {
        if let Some(pid) = processes_with(marker).into_iter().find(|pid| waits_in_a_pipe(*pid)) {
            return pid;
        }
        std::thread::yield_now();
    }
}

/// The processes with that word among their arguments.
pub(crate) fn processes_with(word: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let has_word = |pid: &u32| {
        let cmdline = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        cmdline.split('\0').any(|argument| argument == word)
    };
    processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).filter(has_word).collect()
}

pub(crate) fn waits_in_a_pipe(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|channel| channel.contains("pipe_read"))
}

fn status(pid: u32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{field}:"))).unwrap();
    line.split_once(':').unwrap().1.trim().to_owned()
}

#[test]
fn a_worker_has_no_rights_that_it_does_not_need() {
    let command = marked("confined");
    let sandbox = Sandbox::with_worker(command.clone());
    let (reader, writer) = std::io::pipe().unwrap();
    std::thread::scope(|scope| {
        let load = scope.spawn(|| sandbox.images.load(NAMESPACE, OwnedFd::from(reader), &mut |_| {}));
        let pid = waiting(&command);
        for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status(pid, field), "0".repeat(16), "extracting needs no capability ({field})");
        }
        assert_eq!((status(pid, "NoNewPrivs"), status(pid, "Seccomp")), ("1".to_owned(), "2".to_owned()));
        let link = |pid: &str, name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
        assert_ne!(link(&pid.to_string(), "net"), link("self", "net"));
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert!(core.contains(" 0 "), "{core}");
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
        assert!(environment.is_empty(), "{}", environment.escape_ascii());
        let open: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .map(|entry| fs::read_link(entry.unwrap().path()).unwrap().display().to_string())
            .collect();
        let ingest = sandbox.store.layout().ingest().display().to_string();
        let is_known = |path: &String| {
            path == "/dev/null"
                || path.starts_with("socket:")
                || path.starts_with("pipe:")
                || path.starts_with(&ingest)
        };
        // What whoever started the tests has left open is inherited by every child alike.
        let inherited = Command::new("sh").args(["-c", "readlink /proc/self/fd/*"]).output().unwrap();
        let inherited = String::from_utf8_lossy(&inherited.stdout).into_owned();
        let own = fs::read_link("/proc/self/fd/2").unwrap().display().to_string();
        let unknown: Vec<&String> = open
            .iter()
            .filter(|path| !is_known(path) && **path != own && !inherited.contains(*path))
            .collect();
        assert!(unknown.is_empty(), "{open:?}");
        drop(writer);
        assert!(load.join().unwrap().is_err(), "it was given nothing");
    });
}

#[test]
fn no_descriptor_of_a_worker_can_leak_into_another_program() {
    // Programs that are started while workers are must not see a descriptor of theirs.
    let sandbox = Sandbox::new();
    let archive = docker_archive("steel:v1", &[crate::tarball::Tarball::new().file("f", "x").finish()]);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            for _ in 0..10 {
                sandbox.load(&archive).unwrap();
            }
        });
        while !load.is_finished() {
            let output = Command::new("sh").args(["-c", "readlink /proc/self/fd/*"]).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(!text.contains("corten-test-image"), "{text}");
        }
    });
}

#[test]
fn somebody_who_starts_the_worker_by_hand_is_told_by_its_status() {
    for arguments in [&[][..], &["unpack"], &["extract"], &["nonsense"]] {
        let status =
            Command::new(example("worker")).args(arguments).stdin(std::process::Stdio::null()).status();
        assert_eq!(status.unwrap().code(), Some(64), "{arguments:?}");
    }
}

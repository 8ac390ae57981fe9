//! Hooks of a specification: what they are told, when they are run, and what their failures do.

use std::fs;

use api::task::{CreateTaskResponse, SERVICE_V2, StartRequest, StartResponse};
use linux::signal::SIGKILL;
use oci::runtime_spec::{Hook, Hooks};
use serde_json::Value;
use shim::client;

use crate::containerd::{Started, invoke};
use crate::fixture::*;

/// A hook that runs a script of the host's shell.
fn hook(script: &str) -> Hook {
    let args = ["name", "-c", script].map(str::to_owned).to_vec();
    Hook { path: "/bin/sh".into(), args, ..Hook::default() }
}

/// A hook that notes its point of time and what it was told, in a file of the bundle, where it is run.
fn noted(point: &str) -> Vec<Hook> {
    vec![hook(&format!("echo {point} $0 >> seen; cat >> seen; echo >> seen"))]
}

fn with_hooks(script: &str, hooks: Hooks) -> Started {
    let mut shim = Started::new(script);
    shim.bundle.spec.hooks = Some(hooks);
    shim.bundle.spec.annotations = [("a".to_owned(), "b".to_owned())].into();
    shim.bundle.write();
    shim
}

fn create(shim: &mut Started) -> client::Result<CreateTaskResponse> {
    shim.try_create(String::new(), String::new(), String::new())
}

fn start(shim: &mut Started) -> client::Result<StartResponse> {
    let request = StartRequest { id: shim.bundle.id.clone(), exec_id: String::new() };
    shim.client.call(SERVICE_V2, "Start", &request)
}

/// The points of time, with what was told.
fn seen(shim: &Started) -> Vec<(String, Value)> {
    let text = fs::read_to_string(shim.bundle.path("bundle/seen")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.chunks(2).map(|pair| (pair[0].to_owned(), serde_json::from_str(pair[1]).unwrap())).collect()
}

fn points(shim: &Started) -> Vec<String> {
    seen(shim).into_iter().map(|(point, _)| point.split(' ').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn hooks_are_run_in_their_order_and_told_the_state() {
    let inside = "echo $0 $VARIABLE > /tmp/inside; cat >> /tmp/inside";
    let mut shim = with_hooks(
        "sleep 1000",
        Hooks {
            prestart: noted("prestart"),
            create_runtime: noted("createRuntime"),
            start_container: vec![Hook { env: Some(vec!["VARIABLE=value".into()]), ..hook(inside) }],
            poststart: noted("poststart"),
            poststop: noted("poststop"),
            ..Hooks::default()
        },
    );
    let pid = create(&mut shim).unwrap().pid;
    assert_eq!(points(&shim), ["prestart", "createRuntime"]);
    let file = shim.bundle.path("upper/tmp/inside");
    assert!(!file.exists(), "it is not started yet");
    shim.start("");
    let text = fs::read_to_string(file).unwrap();
    let (words, state) = text.split_once('\n').unwrap();
    assert_eq!(words, "/bin/sh value", "the program of the container is named by its path");
    let mut expected = serde_json::json!({
        "ociVersion": shim.bundle.spec.oci_version,
        "id": shim.bundle.id,
        "status": "created",
        "pid": pid,
        "bundle": shim.bundle.path("bundle"),
        "annotations": { "a": "b" },
    });
    assert_eq!(serde_json::from_str::<Value>(state).unwrap(), expected);
    shim.kill();
    assert_eq!(shim.wait(""), 137);
    assert_eq!(points(&shim), ["prestart", "createRuntime", "poststart"]);
    shim.delete("");
    let all = seen(&shim);
    let statuses = [
        ("prestart", "creating"),
        ("createRuntime", "creating"),
        ("poststart", "running"),
        ("poststop", "stopped"),
    ];
    assert_eq!(all.len(), statuses.len());
    for ((point, state), (name, status)) in all.iter().zip(statuses) {
        assert_eq!(point, &format!("{name} name"));
        expected["status"] = status.into();
        if status == "stopped" {
            expected.as_object_mut().unwrap().remove("pid");
        }
        assert_eq!(state, &expected);
    }
    shim.finish();
}

#[test]
fn a_hook_that_fails_before_the_start_takes_the_container_with_it() {
    let refuses = hook("echo out; echo problem >&2; exit 3");
    let mut shim = with_hooks(
        "sleep 1000",
        Hooks {
            prestart: noted("prestart"),
            create_runtime: vec![refuses],
            poststop: noted("poststop"),
            ..Hooks::default()
        },
    );
    let told = create(&mut shim).unwrap_err().to_string();
    assert!(
        told.contains("error running createRuntime hook #0: exit status: 3, stdout: out, stderr: problem"),
        "{told}"
    );
    assert_eq!(points(&shim), ["prestart", "poststop"]);
    shim.bundle.assert_nothing_left();
    // Nothing stands in the way of another attempt.
    shim.bundle.spec.hooks = None;
    shim.bundle.write();
    create(&mut shim).unwrap();
    shim.delete("");
    assert_eq!(points(&shim), ["prestart", "poststop"]);
    shim.finish();
}

#[test]
fn a_hook_that_fails_at_the_start_ends_the_container() {
    let inside = Hooks { start_container: vec![hook("echo no; exit 5")], ..Hooks::default() };
    let after = Hooks { poststart: vec![hook("exit 6")], ..Hooks::default() };
    for (hooks, expected) in [
        (inside, "startContainer hook #0: exit status 5, stdout: no"),
        (after, "poststart hook #0: exit status: 6"),
    ] {
        let mut shim = with_hooks("sleep 1000", hooks);
        create(&mut shim).unwrap();
        let told = start(&mut shim).unwrap_err().to_string();
        assert!(told.contains(expected), "{told}");
        assert_eq!(shim.wait(""), 137);
        shim.delete("");
        shim.finish();
    }
}

#[test]
fn a_hook_that_takes_too_long_is_killed() {
    let slow = || vec![Hook { timeout: Some(1), ..hook("sleep 1000") }];
    let outside = Hooks { create_runtime: slow(), ..Hooks::default() };
    let inside = Hooks { start_container: slow(), ..Hooks::default() };
    let mut shim = with_hooks("sleep 1000", outside);
    let told = create(&mut shim).unwrap_err().to_string();
    assert!(told.contains("hook ran past specified timeout of 1s"), "{told}");
    shim.finish();
    let mut shim = with_hooks("sleep 1000", inside);
    create(&mut shim).unwrap();
    let told = start(&mut shim).unwrap_err().to_string();
    assert!(told.contains("hook ran past specified timeout of 1s"), "{told}");
    assert_eq!(shim.wait(""), 137);
    shim.delete("");
    shim.finish();
}

#[test]
fn hooks_that_cannot_be_run_are_refused() {
    let one = |hook: Hook| Hooks { poststop: vec![hook], ..Hooks::default() };
    let cases = [
        (
            Hooks { create_container: noted("x"), ..Hooks::default() },
            "a createContainer hook is not supported",
        ),
        (one(Hook { path: "sh".into(), ..Hook::default() }), "path `sh` of a hook is not absolute"),
        (one(Hook { timeout: Some(0), ..hook("true") }), "timeout 0 of the hook `/bin/sh` is not positive"),
        (
            Hooks {
                prestart: vec![Hook { path: "/nonexistent".into(), ..Hook::default() }],
                ..Hooks::default()
            },
            "prestart hook #0: /nonexistent: No such file or directory",
        ),
    ];
    for (hooks, expected) in cases {
        let mut shim = with_hooks("true", hooks);
        let told = create(&mut shim).unwrap_err().to_string();
        assert!(told.contains(expected), "{told}");
        shim.finish();
    }
}

#[test]
fn whoever_cleans_up_after_a_dead_shim_runs_the_last_hooks_once() {
    let mut shim = with_hooks("sleep 1000", Hooks { poststop: noted("poststop"), ..Hooks::default() });
    create(&mut shim).unwrap();
    shim.start("");
    let pidfd = linux::pidfd::open(shim.pid).unwrap();
    linux::pidfd::send_signal(std::os::fd::AsFd::as_fd(&pidfd), SIGKILL).unwrap();
    until_readable(&pidfd);
    invoke(&shim.bundle, "delete", b"");
    assert_eq!(points(&shim), ["poststop"]);
    shim.bundle.assert_nothing_left();
    // A shim that did it itself leaves nothing to do.
    let mut shim = with_hooks("true", Hooks { poststop: noted("poststop"), ..Hooks::default() });
    create(&mut shim).unwrap();
    shim.delete("");
    invoke(&shim.bundle, "delete", b"");
    assert_eq!(points(&shim), ["poststop"]);
    shim.finish();
}

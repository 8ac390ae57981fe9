//! From spare to gone: states, ends, signals, limits, and what is left.

use std::fs;

use api::code::Code;
use api::shim::{BindResponse, CreateOptions};
use api::task::*;
use oci::runtime_spec::{Memory, Resources};
use prost_types::Any;

use crate::fixture::*;
use crate::stats::memory_limit_bytes;

#[test]
fn exit_statuses_are_told() {
    // A pid namespace protects its first process from its own signals: the last one goes on.
    for (script, expected) in [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -KILL $$; exit 8", 8)]
    {
        let mut shim = Shim::script(script);
        assert_eq!(shim.run(), expected, "{script}");
        assert_eq!(shim.exit("").unwrap().exit_status, expected);
        assert_eq!(shim.status(), Status::Stopped);
        assert_eq!(shim.delete("").unwrap().exit_status, expected);
    }
    let mut shim = Shim::script("sleep 1000");
    shim.start("").unwrap();
    shim.kill("", 9).unwrap();
    assert_eq!(shim.wait(""), 137);
}

#[test]
fn requests_in_one_write_are_handled_in_order() {
    let mut bundle = Bundle::new();
    bundle.process().args = shell("exit 7");
    let mut shim = Shim::spare(bundle);
    let (bind, create) = (shim.bind_request(), shim.create_request(&CreateOptions::default(), false));
    let id = shim.bundle.id.clone();
    let bound = shim.client.send(api::SHIM_SERVICE, "Bind", &bind).unwrap();
    let created = shim.client.send(SERVICE_V3, "Create", &create).unwrap();
    let start = StartRequest { id: id.clone(), exec_id: String::new() };
    let started = shim.client.send(SERVICE_V2, "Start", &start).unwrap();
    let waited = shim.send_wait("");
    let connect = shim.client.send(SERVICE_V3, "Connect", &ConnectRequest { id }).unwrap();
    // In the order that they come back, but for the wait.
    let _: BindResponse = shim.client.receive(bound).unwrap();
    let pid = shim.client.receive::<CreateTaskResponse>(created).unwrap().pid;
    assert_eq!(shim.client.receive::<StartResponse>(started).unwrap().pid, pid);
    let connected: ConnectResponse = shim.client.receive(connect).unwrap();
    assert_eq!((connected.shim_pid, connected.task_pid), (shim.pid, pid));
    assert_eq!(shim.client.receive::<WaitResponse>(waited).unwrap().exit_status, 7);
}

#[test]
fn the_exit_record_is_there_before_anybody_is_told() {
    let mut shim = Shim::script("exit 5");
    shim.start("").unwrap();
    let waited = shim.send_wait("");
    let told: WaitResponse = shim.client.receive(waited).unwrap();
    let record = shim::ExitRecord::read(&shim.socket("")).expect("the record");
    assert_eq!((record.exit_status, record.oom_killed), (5, false));
    let told_at = told.exited_at.unwrap();
    assert_eq!(record.exited_at_ns, told_at.seconds * 1_000_000_000 + i64::from(told_at.nanos));
}

#[test]
fn states_follow_the_diagram_and_what_does_not_fit_is_refused() {
    let mut shim = Shim::spare(Bundle::new());
    shim.bundle.process().args = shell("sleep 1000");
    assert_eq!(code_of(shim.try_create(&CreateOptions::default(), false)), Code::FailedPrecondition);
    shim.bind();
    let again = shim.bind_request();
    assert_eq!(
        code_of(shim.client.call::<BindResponse>(api::SHIM_SERVICE, "Bind", &again)),
        Code::FailedPrecondition
    );
    assert_eq!(code_of(shim.state("")), Code::NotFound);
    assert_eq!(code_of(shim.start("")), Code::NotFound);
    shim.try_create(&CreateOptions::default(), false).unwrap();
    assert_eq!(code_of(shim.try_create(&CreateOptions::default(), false)), Code::AlreadyExists);
    assert_eq!(shim.status(), Status::Created);
    assert_eq!(code_of(shim.exit("")), Code::FailedPrecondition);
    let pid = shim.start("").unwrap();
    assert_eq!(shim.state("").unwrap().pid, pid);
    assert_eq!(shim.status(), Status::Running);
    assert_eq!(code_of(shim.start("")), Code::FailedPrecondition);
    assert_eq!(code_of(shim.delete("")), Code::FailedPrecondition);
    assert_eq!(code_of(shim.delete("nobody")), Code::NotFound);
    let id = shim.bundle.id.clone();
    let checkpoint = CheckpointTaskRequest { id: id.clone(), ..CheckpointTaskRequest::default() };
    assert_eq!(code_of(shim.client.call::<()>(SERVICE_V3, "Checkpoint", &checkpoint)), Code::Unimplemented);
    // With a container the shim stays.
    let _: () = shim.client.call(SERVICE_V3, "Shutdown", &ShutdownRequest { id, now: false }).unwrap();
    shim.kill("", 9).unwrap();
    shim.wait("");
    assert_eq!(code_of(shim.kill("", 9)), Code::NotFound);
    shim.delete("").unwrap();
    assert_eq!(code_of(shim.delete("")), Code::NotFound);
}

#[test]
fn programs_that_cannot_be_started_have_docker_s_codes_and_leave_nothing() {
    for (program, code, message) in [
        ("nothing", Code::NotFound, "executable file not found in $PATH"),
        ("/bin/nothing", Code::NotFound, "no such file or directory"),
        ("/etc/not-executable", Code::PermissionDenied, "permission denied"),
        ("/etc", Code::PermissionDenied, "permission denied"),
    ] {
        let mut shim = Shim::spare(Bundle::new());
        shim.bundle.process().args = vec![program.into()];
        shim.bind();
        let error = match shim.try_create(&CreateOptions::default(), false) {
            Err(error) => error,
            Ok(_) => shim.start("").unwrap_err(),
        };
        assert_eq!(error.code(), code, "{program}: {error}");
        assert!(error.to_string().contains(message), "{program}: {error}");
        assert_eq!(error.to_string().lines().count(), 1);
    }
}

#[test]
fn a_start_that_fails_can_be_deleted_at_once() {
    // It exists and is executable, and is no program that the kernel knows.
    let bundle = Bundle::new();
    let path = bundle.path("image/bin/noise");
    fs::write(&path, [0u8; 64]).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut shim = Shim::spare(bundle);
    shim.bundle.process().args = vec!["/bin/noise".into()];
    shim.bind();
    shim.try_create(&CreateOptions::default(), false).unwrap();
    // In one write, as an engine that gives up at once may do it.
    let id = shim.bundle.id.clone();
    let start = StartRequest { id: id.clone(), exec_id: String::new() };
    let started = shim.client.send(SERVICE_V3, "Start", &start).unwrap();
    let delete = DeleteRequest { id, exec_id: String::new() };
    let deleted = shim.client.send(SERVICE_V3, "Delete", &delete).unwrap();
    let error = shim.client.receive::<StartResponse>(started).unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
    assert_eq!(error.to_string(), "exec /bin/noise: exec format error");
    let _: DeleteResponse = shim.client.receive(deleted).unwrap();
    shim.bundle.assert_nothing_left();
}

#[test]
fn a_container_that_is_never_started_leaves_nothing() {
    let mut shim = Shim::script("true");
    let waited = shim.send_wait("");
    assert_eq!(shim.delete("").unwrap().exit_status, 137);
    shim.bundle.assert_nothing_left();
    // Nobody waits in vain.
    assert_eq!(code_of(shim.client.receive::<WaitResponse>(waited)), Code::NotFound);
}

#[test]
fn users_groups_and_home_come_from_the_image() {
    let mut bundle = Bundle::new();
    bundle.process().args = shell("id -u; id -G; echo $HOME; echo reopened > /dev/stderr");
    let log = Some(log(&bundle, 0, 1));
    let options = CreateOptions {
        user: "me".into(),
        group_add: vec!["2001".into()],
        set_home: true,
        log,
        ..CreateOptions::default()
    };
    let mut shim = Shim::create(bundle, &options, false);
    assert_eq!(shim.run(), 0);
    let lines: Vec<String> = shim.logged("stdout").lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "1000");
    let mut groups: Vec<&str> = lines[1].split(' ').collect();
    groups.sort_unstable();
    assert_eq!(groups, ["1000", "2000", "2001"]);
    assert_eq!(lines[2], "/home/me");
    assert_eq!(shim.logged("stderr"), "reopened\n");

    let mut shim = Shim::spare(Bundle::new());
    shim.bind();
    let options = CreateOptions { user: "nobody-knows".into(), ..CreateOptions::default() };
    let error = shim.try_create(&options, false).unwrap_err();
    assert_eq!(error.to_string(), "unable to find user nobody-knows: no matching entries in passwd file");
    shim.bundle.assert_nothing_left();
}

#[test]
fn the_working_directory_is_made_if_asked() {
    let mut bundle = Bundle::new();
    bundle.process().args = shell("pwd");
    bundle.process().cwd = "/made/for/me".into();
    let options =
        CreateOptions { ensure_cwd: true, log: Some(log(&bundle, 0, 1)), ..CreateOptions::default() };
    let mut shim = Shim::create(bundle, &options, false);
    assert_eq!(shim.run(), 0);
    assert_eq!(shim.logged("stdout"), "/made/for/me\n");
}

#[test]
fn a_frozen_container_says_so_and_can_be_killed() {
    let mut shim = Shim::script("sleep 1000");
    shim.start("").unwrap();
    let id = shim.bundle.id.clone();
    let _: () = shim.client.call(SERVICE_V3, "Pause", &PauseRequest { id: id.clone() }).unwrap();
    assert_eq!(shim.status(), Status::Paused);
    let _: () = shim.client.call(SERVICE_V3, "Resume", &ResumeRequest { id: id.clone() }).unwrap();
    assert_eq!(shim.status(), Status::Running);
    let _: () = shim.client.call(SERVICE_V3, "Pause", &PauseRequest { id }).unwrap();
    shim.kill("", 9).unwrap();
    assert_eq!(shim.wait(""), 137);
}

#[test]
fn processes_and_use_are_told_and_limits_changed() {
    let mut shim = Shim::script("sleep 1000 & sleep 1000 & wait");
    let pid = shim.start("").unwrap();
    let id = shim.bundle.id.clone();
    let mut pids = Vec::new();
    eventually("three processes", || {
        let response: PidsResponse =
            shim.client.call(SERVICE_V3, "Pids", &PidsRequest { id: id.clone() }).unwrap();
        pids = response.processes.into_iter().map(|process| process.pid).collect();
        pids.len() == 3
    });
    assert!(pids.contains(&pid));
    let limit: i64 = 64 << 20;
    let resources = Resources {
        memory: Some(Memory { limit: Some(limit), ..Memory::default() }),
        ..Resources::default()
    };
    let value = serde_json::to_vec(&resources).unwrap();
    let resources = Some(Any { type_url: String::new(), value });
    let update = UpdateTaskRequest { id: id.clone(), resources, ..UpdateTaskRequest::default() };
    let _: () = shim.client.call(SERVICE_V3, "Update", &update).unwrap();
    assert_eq!(memory_limit_bytes(&mut shim), limit.cast_unsigned());
}

#[test]
fn want_of_memory_is_told_as_the_cause() {
    let mut bundle = Bundle::new();
    let memory = Memory { limit: Some(8 << 20), swap: Some(8 << 20), ..Memory::default() };
    bundle.spec.linux.as_mut().unwrap().resources =
        Some(Resources { memory: Some(memory), ..Resources::default() });
    // `tail` keeps everything until the end of a line, which never comes.
    bundle.process().args = ["/bin/tail", "/dev/zero"].map(str::to_owned).to_vec();
    let mut shim = Shim::create(bundle, &CreateOptions::default(), false);
    assert_eq!(shim.run(), 137);
    assert!(shim.exit("").unwrap().oom_killed);
    assert!(shim::ExitRecord::read(&shim.socket("")).unwrap().oom_killed);
}

#[test]
fn without_a_pid_namespace_the_end_takes_the_rest_along() {
    let mut bundle = Bundle::new();
    bundle.share_pids();
    // An orphan: its parent has ended before the script does.
    bundle.process().args = shell("sh -c 'sleep 1000 & echo $!'; exit 4");
    let options = CreateOptions { log: Some(log(&bundle, 0, 1)), ..CreateOptions::default() };
    let mut shim = Shim::create(bundle, &options, false);
    assert_eq!(shim.run(), 4);
    let orphan: u32 = shim.logged("stdout").trim().parse().unwrap();
    // Ended and reaped: not even a zombie is left.
    eventually("the orphan is reaped", || !fs::exists(format!("/proc/{orphan}")).unwrap());
}

#[test]
fn a_spare_shim_ends_with_its_daemon_and_a_bound_one_does_not() {
    let mut spare = Shim::spare(Bundle::new());
    spare.cut();
    spare.until_over();
    assert!(!spare.socket("task.sock").exists() && !spare.socket("attach.sock").exists());
    // `script` binds, which cuts the lifeline.
    let mut bound = Shim::script("exit 6");
    assert_eq!(bound.run(), 6);
}

#[test]
fn twenty_shims_at_once_do_not_disturb_each_other() {
    std::thread::scope(|scope| {
        for number in 0..20 {
            scope.spawn(move || {
                let mut shim = Shim::script(&format!("echo {number}; exit {number}"));
                assert_eq!(shim.run(), number);
                assert_eq!(shim.logged("stdout"), format!("{number}\n"));
            });
        }
    });
}

#[test]
fn a_client_that_is_stopped_while_it_waits_goes_on_waiting() {
    let mut shim = Shim::script("sleep 1000");
    shim.start("").unwrap();
    let waiting = shim.send_wait("");
    let stop = "sleep 0.2; kill -STOP $PPID; sleep 0.1; kill -CONT $PPID; sleep 0.2; kill -KILL $1";
    let pid = shim.state("").unwrap().pid.to_string();
    let mut other = std::process::Command::new("/bin/sh").args(["-c", stop, "sh", &pid]).spawn().unwrap();
    let ended: WaitResponse = shim.client.receive(waiting).unwrap();
    assert_eq!(ended.exit_status, 137);
    assert!(other.wait().unwrap().success());
}

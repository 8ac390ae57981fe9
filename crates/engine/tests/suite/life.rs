//! The life of a container, and races for it.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::Error;
use engine::containers::spec::{IpcMode, MountSpec, NetworkMode, PidMode, RestartPolicy, VolumeMount};
use engine::containers::{AttachOptions, RemoveOptions, Status, WaitCondition};
use engine::events::EventFilter;
use engine::execs::ExecSpec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::host::{Host, shell, unframe, with_host};

const OUTPUT: AttachOptions = AttachOptions { stdin: false, stdout: true, stderr: true };
const FORCE: RemoveOptions = RemoveOptions { force: true, volumes: true };

async fn status(host: &Host, container: &str) -> Status {
    host.engine().containers().inspect(container).await.unwrap().state.status
}

#[test]
fn a_container_is_created_started_waited_for_and_removed() {
    with_host(async |host| {
        let containers = host.engine().containers();
        let id = host.create("first", "echo hello; exit 7").await;
        assert_eq!(status(host, "first").await, Status::Created);
        let exit = containers.wait("first", WaitCondition::NextExit).await.unwrap();
        assert!(containers.start("first").await.unwrap());
        assert_eq!(exit.await.code, 7);
        let seen = containers.inspect(&id[..8]).await.unwrap();
        assert_eq!((seen.state.status, seen.state.exit_code, seen.state.pid), (Status::Exited, 7, 0));
        assert!(seen.state.started_ns < seen.state.finished_ns);
        assert!(containers.start("first").await.unwrap(), "it can be started again");
        assert_eq!(host.wait("first", WaitCondition::NotRunning).await.code, 7);
        containers.remove("first", RemoveOptions::default()).await.unwrap();
        assert!(matches!(containers.inspect("first").await, Err(Error::NoSuchContainer(_))));
    });
}

#[test]
fn everything_that_it_prints_arrives_also_with_rm() {
    with_host(async |host| {
        let (text, exit) = host.output("echo out; echo err >&2; exit 3", |_| {}).await;
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!((lines, exit.code), (vec!["err", "out"], 3));
        let (text, _) = host.output("head -c 3000000 /dev/zero | tr '\\0' x", |_| {}).await;
        assert_eq!(text.len(), 3_000_000);
    });
}

#[test]
fn standard_input_reaches_it_and_its_end_too() {
    with_host(async |host| {
        let containers = host.engine().containers();
        let id = host
            .create_with("cat", "cat; echo end", |spec| (spec.open_stdin, spec.stdin_once) = (true, true))
            .await;
        let stream = containers.attach(&id, AttachOptions { stdin: true, ..OUTPUT }).await.unwrap();
        containers.start(&id).await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(stream);
        writer.write_all(b"through\n").await.unwrap();
        writer.shutdown().await.unwrap();
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(unframe(&bytes), "through\nend\n");
    });
}

#[test]
fn what_cannot_be_executed_has_dockers_exit_codes_and_leaves_nothing() {
    with_host(async |host| {
        let containers = host.engine().containers();
        for (program, code) in
            [("nothing-like-this", 127), ("/not/there", 127), ("/etc/passwd", 126), ("/etc", 126)]
        {
            let mut spec = shell("");
            spec.command = Some(vec![program.into()]);
            let id = containers.create(None, spec.clone()).await.unwrap().id;
            let error = containers.start(&id).await.unwrap_err();
            assert_eq!(error.exit_code(), Some(code), "{program}: {}", error.chain());
            let seen = containers.inspect(&id).await.unwrap().state;
            assert_eq!((seen.status, seen.exit_code), (Status::Created, code));
            assert!(seen.error.contains(program), "{}", seen.error);
            containers.remove(&id, RemoveOptions::default()).await.unwrap();
            spec.auto_remove = true;
            let id = containers.create(None, spec).await.unwrap().id;
            containers.start(&id).await.unwrap_err();
            assert!(containers.inspect(&id).await.is_err(), "one with --rm goes");
        }
        let mut spec = shell("true");
        spec.user = "nobody-here".into();
        let id = containers.create(None, spec).await.unwrap().id;
        let error = containers.start(&id).await.unwrap_err();
        assert!(error.chain().contains("nobody-here"), "{}", error.chain());
    });
}

#[test]
fn the_root_belongs_to_the_container_and_stays_until_it_goes() {
    with_host(async |host| {
        let id = host
            .run("keeper", "echo $((1 + $(cat /count 2>/dev/null || echo 0))) > /count; cat /count")
            .await;
        host.wait(&id, WaitCondition::NotRunning).await;
        host.engine().containers().start(&id).await.unwrap();
        host.wait(&id, WaitCondition::NotRunning).await;
        let (text, _) = host.output("cat /count 2>/dev/null || echo none", |_| {}).await;
        assert_eq!(text, "none\n");
        let mut logs = host
            .engine()
            .containers()
            .logs(&id, engine::containers::LogOptions { stdout: true, ..Default::default() })
            .await
            .unwrap();
        let mut text = Vec::new();
        while let Some(entry) = logs.next().await {
            text.extend(entry.unwrap().bytes);
        }
        assert_eq!(String::from_utf8_lossy(&text), "1\n2\n");
    });
}

#[test]
fn stop_is_polite_first_and_kill_is_not() {
    with_host(async |host| {
        let containers = host.engine().containers();
        host.run("polite", "trap 'exit 42' TERM; echo; while :; do sleep 0.02; done").await;
        host.run("deaf", "trap '' TERM; while :; do sleep 0.02; done").await;
        host.until("the trap is set", async || {
            let options = engine::containers::LogOptions { stdout: true, ..Default::default() };
            containers.logs("polite", options).await.unwrap().next().await.is_some()
        })
        .await;
        assert!(containers.stop("polite", Some(30), None).await.unwrap());
        assert_eq!(containers.inspect("polite").await.unwrap().state.exit_code, 42);
        assert!(!containers.stop("polite", None, None).await.unwrap());
        assert!(containers.stop("deaf", Some(0), None).await.unwrap());
        assert_eq!(containers.inspect("deaf").await.unwrap().state.exit_code, 137);
        containers.restart("deaf", Some(0), None).await.unwrap();
        containers.kill("deaf", "KILL").await.unwrap();
        assert_eq!(host.wait("deaf", WaitCondition::NotRunning).await.code, 137);
        assert!(matches!(containers.kill("deaf", "KILL").await, Err(Error::Conflict(_))));
        assert!(matches!(containers.kill("deaf", "NOPE").await, Err(Error::InvalidArgument(_))));
    });
}

#[test]
fn a_paused_container_stands_still_and_can_still_be_stopped() {
    with_host(async |host| {
        let containers = host.engine().containers();
        host.run("still", "sleep 1000").await;
        containers.pause("still").await.unwrap();
        assert_eq!(status(host, "still").await, Status::Paused);
        assert!(containers.pause("still").await.is_err());
        assert!(
            host.engine()
                .execs()
                .create("still", ExecSpec { args: vec!["true".into()], ..ExecSpec::default() })
                .await
                .is_err()
        );
        containers.unpause("still").await.unwrap();
        assert_eq!(status(host, "still").await, Status::Running);
        containers.pause("still").await.unwrap();
        containers.stop("still", Some(0), None).await.unwrap();
        assert_eq!(status(host, "still").await, Status::Exited);
    });
}

#[test]
fn an_exec_has_its_own_streams_code_and_user() {
    with_host(async |host| {
        let (containers, execs) = (host.engine().containers(), host.engine().execs());
        host.create_with("box", "sleep 1000", |spec| spec.env = vec!["A=1".into()]).await;
        containers.start("box").await.unwrap();
        let run = async |spec: ExecSpec| {
            let id = execs.create("box", ExecSpec { attach: OUTPUT, ..spec }).await.unwrap();
            let mut bytes = Vec::new();
            execs.start(&id, None).await.unwrap().read_to_end(&mut bytes).await.unwrap();
            let seen = execs.inspect(&id).await.unwrap();
            assert!(!seen.running);
            (unframe(&bytes), seen.exit_code)
        };
        let script = |script: &str| ["sh", "-c", script].map(str::to_owned).to_vec();
        let spec = ExecSpec {
            args: script("echo $A $B $PWD $(id -u) $(id -G); exit 9"),
            env: vec!["B=2".into()],
            working_dir: "/tmp".into(),
            user: "www".into(),
            ..ExecSpec::default()
        };
        assert_eq!(run(spec).await, ("1 2 /tmp 33 33 29\n".into(), Some(9)));
        for (program, code) in [("nothing-like-this", 127), ("/etc/passwd", 126)] {
            let spec = ExecSpec { args: vec![program.into()], attach: OUTPUT, ..ExecSpec::default() };
            let id = execs.create("box", spec).await.unwrap();
            let error = execs.start(&id, None).await.unwrap_err();
            assert_eq!(error.exit_code(), Some(code), "{}", error.chain());
            assert_eq!(execs.inspect(&id).await.unwrap().exit_code, Some(code));
            assert!(matches!(execs.start(&id, None).await, Err(Error::Conflict(_))));
        }
        for number in 0..20 {
            let spec = ExecSpec { args: script(&format!("exit {number}")), ..ExecSpec::default() };
            assert_eq!(run(spec).await.1, Some(number));
        }
        containers.kill("box", "").await.unwrap();
        host.wait("box", WaitCondition::NotRunning).await;
        assert!(
            execs.create("box", ExecSpec { args: vec!["true".into()], ..ExecSpec::default() }).await.is_err()
        );
    });
}

#[test]
fn an_exec_ends_with_its_container() {
    with_host(async |host| {
        let execs = host.engine().execs();
        host.run("box", "sleep 1000").await;
        let spec =
            ExecSpec { args: vec!["sleep".into(), "1000".into()], attach: OUTPUT, ..ExecSpec::default() };
        let id = execs.create("box", spec).await.unwrap();
        let mut stream = execs.start(&id, None).await.unwrap();
        assert!(execs.inspect(&id).await.unwrap().running);
        host.engine().containers().kill("box", "").await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        host.until("its end is known", async || execs.inspect(&id).await.unwrap().exit_code == Some(137))
            .await;
    });
}

#[test]
fn names_are_unique_and_can_be_changed() {
    with_host(async |host| {
        let containers = host.engine().containers();
        let id = host.create("taken", "true").await;
        let error = containers.create(Some("taken"), shell("true")).await.unwrap_err();
        assert!(matches!(&error, Error::NameInUse { id: owner, .. } if *owner == id), "{error}");
        containers.rename("taken", "free").await.unwrap();
        host.create("taken", "true").await;
        assert!(matches!(containers.rename("free", "taken").await, Err(Error::NameInUse { .. })));
        assert_eq!(containers.inspect("free").await.unwrap().id, id);
        let other = containers.create(None, shell("true")).await.unwrap().id;
        assert!(containers.inspect(&other).await.unwrap().name.contains('_'));
    });
}

#[test]
fn of_many_that_start_it_at_once_one_does() {
    with_host(async |host| {
        for round in 0..5 {
            let id = host.create(&format!("race-{round}"), "sleep 1000").await;
            let starts: Vec<_> = (0..8)
                .map(|_| {
                    let (containers, id) = (host.engine().containers(), id.clone());
                    tokio::spawn(async move { containers.start(&id).await.unwrap() })
                })
                .collect();
            let mut started = 0;
            for start in starts {
                started += u32::from(start.await.unwrap());
            }
            assert_eq!(started, 1);
        }
    });
}

#[test]
fn whatever_races_a_removal_the_container_is_gone_in_the_end() {
    with_host(async |host| {
        for round in 0..24_u64 {
            let id = host.create(&format!("doomed-{round}"), "sleep 1000").await;
            let containers = host.engine().containers();
            let start = {
                let (containers, id) = (containers.clone(), id.clone());
                tokio::spawn(async move { containers.start(&id).await })
            };
            let stop = {
                let (containers, id) = (containers.clone(), id.clone());
                tokio::spawn(async move { containers.stop(&id, Some(0), None).await })
            };
            tokio::time::sleep(Duration::from_micros(600 * round)).await;
            containers.remove(&id, FORCE).await.unwrap();
            // Either may have come too late; neither may bring it back, or meet what is half gone.
            for result in [start.await.unwrap(), stop.await.unwrap()] {
                let is_clean = matches!(result, Ok(_) | Err(Error::Conflict(_) | Error::NoSuchContainer(_)));
                assert!(is_clean, "{result:?}");
            }
            assert!(matches!(containers.inspect(&id).await, Err(Error::NoSuchContainer(_))));
        }
    });
}

#[test]
fn removing_a_container_with_rm_waits_until_it_is_gone() {
    with_host(async |host| {
        let containers = host.engine().containers();
        let id = host.create_with("brief", "sleep 1000", |spec| spec.auto_remove = true).await;
        containers.start(&id).await.unwrap();
        containers.remove(&id, FORCE).await.unwrap();
        assert!(containers.inspect(&id).await.is_err());
        host.create("brief", "true").await;
    });
}

#[test]
fn a_running_container_is_only_removed_by_force() {
    with_host(async |host| {
        let containers = host.engine().containers();
        host.run("busy", "sleep 1000").await;
        assert!(matches!(containers.remove("busy", RemoveOptions::default()).await, Err(Error::Conflict(_))));
        containers.remove("busy", FORCE).await.unwrap();
        assert!(matches!(containers.remove("busy", FORCE).await, Err(Error::NoSuchContainer(_))));
    });
}

#[test]
fn policies_restart_until_somebody_stops_it() {
    with_host(async |host| {
        let containers = host.engine().containers();
        let always = |spec: &mut engine::containers::ContainerSpec| spec.restart = RestartPolicy::Always;
        host.create_with("phoenix", "exit 1", always).await;
        containers.start("phoenix").await.unwrap();
        host.until("it was restarted twice", async || {
            containers.inspect("phoenix").await.unwrap().restart_count >= 2
        })
        .await;
        containers.stop("phoenix", Some(0), None).await.unwrap();
        host.until("it stays down", async || status(host, "phoenix").await == Status::Exited).await;
        let count = containers.inspect("phoenix").await.unwrap().restart_count;
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert_eq!(containers.inspect("phoenix").await.unwrap().restart_count, count);
        let failure = |spec: &mut engine::containers::ContainerSpec| {
            spec.restart = RestartPolicy::OnFailure { max_retries: 2 };
        };
        host.create_with("thrice", "exit 5", failure).await;
        containers.start("thrice").await.unwrap();
        host.until("it gave up", async || status(host, "thrice").await == Status::Exited).await;
        let seen = containers.inspect("thrice").await.unwrap();
        assert_eq!((seen.restart_count, seen.state.exit_code), (2, 5));
        host.create_with("content", "exit 0", failure).await;
        containers.start("content").await.unwrap();
        host.wait("content", WaitCondition::NotRunning).await;
        assert_eq!(status(host, "content").await, Status::Exited);
    });
}

#[test]
fn namespaces_are_shared_as_asked() {
    with_host(async |host| {
        let shareable = |spec: &mut engine::containers::ContainerSpec| spec.ipc = IpcMode::Shareable;
        let base = host.create_with("base", "echo mine > /dev/shm/file; sleep 1000", shareable).await;
        host.engine().containers().start(&base).await.unwrap();
        let pid = host.engine().containers().inspect(&base).await.unwrap().state.pid;
        let of_base =
            |name: &str| std::fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap().display().to_string();
        let own = |name: &str| {
            std::fs::read_link(format!("/proc/thread-self/ns/{name}")).unwrap().display().to_string()
        };
        let read = "for n in net pid ipc; do readlink /proc/self/ns/$n; done";
        let (text, _) = host
            .output(read, |spec| {
                spec.network = NetworkMode::Container("base".into());
                spec.pid = PidMode::Container("base".into());
                spec.ipc = IpcMode::Container("base".into());
            })
            .await;
        assert_eq!(text.lines().collect::<Vec<_>>(), [of_base("net"), of_base("pid"), of_base("ipc")]);
        let (text, _) = host
            .output(read, |spec| {
                spec.network = NetworkMode::Host;
                spec.pid = PidMode::Host;
                spec.ipc = IpcMode::Host;
            })
            .await;
        assert_eq!(text.lines().collect::<Vec<_>>(), [own("net"), own("pid"), own("ipc")]);
        let (text, _) = host.output(read, |_| {}).await;
        for (line, name) in text.lines().zip(["net", "pid", "ipc"]) {
            assert!(line != own(name) && line != of_base(name), "{name}");
        }
        let joined =
            |spec: &mut engine::containers::ContainerSpec| spec.ipc = IpcMode::Container("base".into());
        host.until("the file is there", async || {
            host.output("cat /dev/shm/file", joined).await.0 == "mine\n"
        })
        .await;
    });
}

#[test]
fn the_host_name_is_its_own_the_hosts_or_another_containers() {
    with_host(async |host| {
        let read = "echo $(hostname) $HOSTNAME $(cat /etc/hostname)";
        let of_host = rustix::system::uname().nodename().to_str().unwrap().to_owned();
        let id = host.create_with("base", "sleep 1000", |spec| spec.hostname = "steel".into()).await;
        host.engine().containers().start(&id).await.unwrap();
        type Change = fn(&mut engine::containers::ContainerSpec);
        let cases: [(Change, &str); 4] = [
            (|spec| spec.hostname = "cast".into(), "cast"),
            (|spec| spec.network = NetworkMode::Host, &of_host),
            (|spec| spec.uts = engine::containers::spec::UtsMode::Host, &of_host),
            (|spec| spec.network = NetworkMode::Container("base".into()), "steel"),
        ];
        for (change, name) in cases {
            assert_eq!(host.output(read, change).await.0, format!("{name} {name} {name}\n"));
        }
        let exec = ExecSpec {
            args: ["sh", "-c", "echo $HOSTNAME"].map(str::to_owned).into(),
            attach: OUTPUT,
            ..ExecSpec::default()
        };
        let exec = host.engine().execs().create("base", exec).await.unwrap();
        let mut bytes = Vec::new();
        host.engine().execs().start(&exec, None).await.unwrap().read_to_end(&mut bytes).await.unwrap();
        assert_eq!(unframe(&bytes), "steel\n");
    });
}

#[test]
fn an_unprivileged_user_has_no_capabilities() {
    with_host(async |host| {
        let read = "grep -h Cap /proc/self/status | cut -f2 | tr '\\n' ' '";
        let (text, _) = host.output(read, |spec| spec.user = "www".into()).await;
        let zero = "0".repeat(16);
        assert_eq!(text, format!("{zero} {zero} {zero} 00000000a80425fb {zero} "));
        let (text, _) = host.output(read, |_| {}).await;
        assert!(text.starts_with(&format!("{zero} 00000000a80425fb")), "{text}");
    });
}

#[test]
fn volumes_begin_with_the_images_files_and_outlive_their_containers() {
    with_host(async |host| {
        let volume = |name: &str, no_copy: bool| {
            MountSpec::Volume(VolumeMount {
                name: name.into(),
                target: "/seed".into(),
                no_copy,
                ..VolumeMount::default()
            })
        };
        let list = "cat /seed/deep/file 2>/dev/null || echo empty; [ ! -d /seed/deep ] || echo kept > /seed/deep/file";
        assert_eq!(host.output(list, |spec| spec.mounts = vec![volume("data", false)]).await.0, "grain\n");
        assert_eq!(host.output(list, |spec| spec.mounts = vec![volume("data", false)]).await.0, "kept\n");
        assert_eq!(host.output(list, |spec| spec.mounts = vec![volume("bare", true)]).await.0, "empty\n");
        assert_eq!(host.output(list, |spec| spec.mounts = vec![volume("", false)]).await.0, "grain\n");
        let volumes = host.engine().volumes();
        volumes.create(Some("early"), BTreeMap::new(), BTreeMap::new()).await.unwrap();
        let empty = "ls /seed; rm -rf /seed/*";
        assert_eq!(host.output(empty, |spec| spec.mounts = vec![volume("early", false)]).await.0, "deep\n");
        let after = host.output(empty, |spec| spec.mounts = vec![volume("early", false)]).await.0;
        assert_eq!(after, "", "what was emptied stays empty");
        host.until("nobody uses it", async || volumes.remove("early", false).await.is_ok()).await;
        host.until("the anonymous volume is gone", async || {
            volumes.list(&Default::default()).await.unwrap().len() == 2
        })
        .await;
        let holder =
            host.create_with("holder", "true", |spec| spec.mounts = vec![volume("data", false)]).await;
        assert!(matches!(volumes.remove("data", false).await, Err(Error::Conflict(_))));
        host.engine().containers().remove(&holder, FORCE).await.unwrap();
        volumes.remove("data", false).await.unwrap();
        assert!(matches!(volumes.remove("data", false).await, Err(Error::NoSuchVolume(_))));
        volumes.remove("data", true).await.unwrap();
        assert_eq!(volumes.prune(true, &Default::default()).await.unwrap().0, ["bare"]);
    });
}

#[test]
fn events_tell_the_whole_life_in_order() {
    with_host(async |host| {
        let mut events = host.engine().events(
            None,
            None,
            EventFilter { containers: vec!["told".into()], ..EventFilter::default() },
        );
        let id = host.run("told", "exit 4").await;
        host.wait(&id, WaitCondition::NotRunning).await;
        host.engine().containers().remove(&id, RemoveOptions::default()).await.unwrap();
        for expected in ["create", "start", "die", "destroy"] {
            let event = events.next().await.unwrap();
            assert_eq!((event.action.as_str(), event.id.as_str()), (expected, id.as_str()));
            assert_eq!(event.attributes["image"], "busybox");
            assert_eq!(
                event.attributes.get("exitCode").map(String::as_str),
                (expected == "die").then_some("4")
            );
        }
    });
}

#[test]
fn events_tell_what_is_done_to_it_and_to_its_volumes() {
    with_host(async |host| {
        let mut events = host.engine().events(None, None, EventFilter::default());
        host.create_with("told", "sleep 1000", |spec| {
            let volume =
                VolumeMount { name: "data".into(), target: "/data".into(), ..VolumeMount::default() };
            spec.mounts = vec![MountSpec::Volume(volume)];
        })
        .await;
        let containers = host.engine().containers();
        containers.start("told").await.unwrap();
        containers.pause("told").await.unwrap();
        containers.unpause("told").await.unwrap();
        containers.rename("told", "renamed").await.unwrap();
        containers.stop("renamed", Some(60), Some("KILL")).await.unwrap();
        containers.remove("renamed", FORCE).await.unwrap();
        host.engine().volumes().remove("data", false).await.unwrap();
        host.engine().images().tag("busybox", "other:1").await.unwrap();
        host.engine().images().remove("other:1", false).await.unwrap();
        let mut told: Vec<String> = Vec::new();
        while told.last().is_none_or(|last| last != "image untag") {
            let event = events.next().await.unwrap();
            told.push(format!("{} {}", event.kind.as_str(), event.action));
        }
        // The end of the run is told by its supervisor, beside the one who asked for it.
        let asked: Vec<&str> =
            told.iter().map(String::as_str).filter(|told| !told.ends_with(" stop")).collect();
        let expected = [
            "volume create",
            "container create",
            "volume mount",
            "container start",
            "container pause",
            "container unpause",
            "container rename",
            "container kill",
            "container die",
            "volume unmount",
            "container destroy",
            "volume destroy",
            "image tag",
            "image untag",
        ];
        assert_eq!(asked, expected);
    });
}

#[test]
fn a_container_that_was_out_of_memory_says_so() {
    with_host(async |host| {
        let id = host
            .create_with("glutton", "x=$(head -c 64000000 /dev/zero | tr '\\0' x); echo ${#x}", |spec| {
                spec.resources.memory_bytes = Some(16 << 20);
                spec.resources.memory_swap_bytes = Some(16 << 20);
            })
            .await;
        host.engine().containers().start(&id).await.unwrap();
        host.wait(&id, WaitCondition::NotRunning).await;
        assert!(host.engine().containers().inspect(&id).await.unwrap().state.oom_killed);
    });
}

#[test]
fn a_terminal_has_its_size_and_can_be_resized() {
    with_host(async |host| {
        let containers = host.engine().containers();
        let id = host
            .create_with("tty", "stty size; read line; stty size; echo got $line", |spec| {
                (spec.terminal, spec.open_stdin) = (true, true);
                spec.console_size = Some((30, 100));
            })
            .await;
        let stream = containers.attach(&id, AttachOptions { stdin: true, ..OUTPUT }).await.unwrap();
        containers.start(&id).await.unwrap();
        containers.resize(&id, 40, 120).await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(stream);
        writer.write_all(b"line\n").await.unwrap();
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.contains("40 120\r\n") && text.contains("got line\r\n"), "{text:?}");
    });
}

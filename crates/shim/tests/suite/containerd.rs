//! The shim as containerd starts it: `start`, fifos, events, `delete`.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use api::bootstrap::{BootstrapParams, Extension};
use api::code::Code;
use api::events::*;
use api::forward::ForwardRequest;
use api::runc::Options as RuncOptions;
use api::task::*;
use api::ttrpc::{FrameDecoder, Response, encode_response};
use oci::runtime_spec::{Memory, Resources};
use prost::Message;
use prost_types::Any;
use rustix::fs::{CWD, FileType, Mode};
use shim::client::{self, Client};

use crate::fixture::*;

/// What a shim published: topics and, for exits, whose.
fn events(socket: &Path) -> Receiver<(String, String)> {
    let listener = UnixListener::bind(socket).unwrap();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut decoder = FrameDecoder::new();
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                decoder.push(&buffer[..length]);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    let request = frame.request().unwrap();
                    let envelope =
                        ForwardRequest::decode(request.payload.as_slice()).unwrap().envelope.unwrap();
                    assert_eq!(envelope.namespace, "test");
                    let exit = api::any::unpack::<TaskExit>(&envelope.event.unwrap());
                    let whose = exit.map(|exit| exit.unwrap().id).unwrap_or_default();
                    sender.send((envelope.topic, whose)).unwrap();
                    stream.write_all(&encode_response(frame.stream, &Response::success(&()))).unwrap();
                }
            }
        }
    });
    receiver
}

pub struct Started {
    pub bundle: Bundle,
    pub client: Client,
    socket: PathBuf,
    pub pid: u32,
    events: Receiver<(String, String)>,
    options: RuncOptions,
}

pub fn invoke(bundle: &Bundle, action: &str, input: &[u8]) -> Vec<u8> {
    let output = try_invoke(bundle, action, input);
    assert!(output.status.success());
    output.stdout
}

fn try_invoke(bundle: &Bundle, action: &str, input: &[u8]) -> Output {
    let mut child = Command::new(SHIM)
        .args([
            "-namespace",
            "test",
            "-address",
            "/nonexistent/containerd.sock",
            "-publish-binary",
            "/bin/false",
        ])
        .args(["-id", &bundle.id, "-bundle"])
        .arg(bundle.path("bundle"))
        .arg(action)
        .current_dir(bundle.path("bundle"))
        .env("TTRPC_ADDRESS", bundle.path("events.sock"))
        .env_remove("MAX_SHIM_VERSION")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

impl Started {
    pub fn new(script: &str) -> Started {
        Started::with(script, &RuncOptions::default())
    }

    pub fn with(script: &str, options: &RuncOptions) -> Started {
        let mut bundle = Bundle::new();
        bundle.process().args = shell(script);
        bundle.write();
        let events = events(&bundle.path("events.sock"));
        let params = BootstrapParams {
            instance_id: bundle.id.clone(),
            namespace: "test".into(),
            socket_dir: Some(bundle.path("").display().to_string()),
            extensions: vec![Extension { value: Some(api::any::pack(options)) }],
            ..BootstrapParams::default()
        };
        let greeting = invoke(&bundle, "start", &params.encode_to_vec());
        let greeting: serde_json::Value = serde_json::from_slice(&greeting).unwrap();
        assert_eq!((&greeting["version"], &greeting["protocol"]), (&3.into(), &"ttrpc".into()));
        let socket = PathBuf::from(greeting["address"].as_str().unwrap().strip_prefix("unix://").unwrap());
        assert!(socket.starts_with(bundle.path("")));
        let mut client = Client::connect(&socket).unwrap();
        let hello = hello(&mut client);
        assert_eq!(hello.container_id, bundle.id);
        Started { bundle, client, socket, pid: hello.pid, events, options: options.clone() }
    }

    fn fifo(&self, name: &str) -> String {
        let path = self.bundle.path(name);
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        path.display().to_string()
    }

    fn create(&mut self, stdin: String, stdout: String, stderr: String) {
        self.create_with(CreateTaskRequest { stdin, stdout, stderr, ..CreateTaskRequest::default() });
    }

    fn create_with(&mut self, wishes: CreateTaskRequest) {
        self.try_create_with(wishes).unwrap();
    }

    pub fn try_create(
        &mut self,
        stdin: String,
        stdout: String,
        stderr: String,
    ) -> client::Result<CreateTaskResponse> {
        self.try_create_with(CreateTaskRequest { stdin, stdout, stderr, ..CreateTaskRequest::default() })
    }

    fn try_create_with(&mut self, wishes: CreateTaskRequest) -> client::Result<CreateTaskResponse> {
        let request = CreateTaskRequest {
            id: self.bundle.id.clone(),
            bundle: self.bundle.path("bundle").display().to_string(),
            rootfs: self.bundle.rootfs(),
            options: Some(api::any::pack(&self.options)),
            ..wishes
        };
        self.client.call(SERVICE_V2, "Create", &request)
    }

    pub fn start(&mut self, exec: &str) {
        let request = StartRequest { id: self.bundle.id.clone(), exec_id: exec.into() };
        let _: StartResponse = self.client.call(SERVICE_V2, "Start", &request).unwrap();
    }

    pub fn kill(&mut self) {
        let request = KillRequest { id: self.bundle.id.clone(), signal: 9, ..KillRequest::default() };
        let _: () = self.client.call(SERVICE_V2, "Kill", &request).unwrap();
    }

    pub fn wait(&mut self, exec: &str) -> u32 {
        let request = WaitRequest { id: self.bundle.id.clone(), exec_id: exec.into() };
        self.client.call::<WaitResponse>(SERVICE_V2, "Wait", &request).unwrap().exit_status
    }

    pub fn delete(&mut self, exec: &str) -> DeleteResponse {
        let request = DeleteRequest { id: self.bundle.id.clone(), exec_id: exec.into() };
        self.client.call(SERVICE_V2, "Delete", &request).unwrap()
    }

    fn close_input(&mut self) {
        let request = CloseIoRequest { id: self.bundle.id.clone(), exec_id: String::new(), stdin: true };
        let _: () = self.client.call(SERVICE_V2, "CloseIO", &request).unwrap();
    }

    pub fn finish(mut self) {
        let pidfd = linux::pidfd::open(self.pid).unwrap();
        let request = ShutdownRequest { id: self.bundle.id.clone(), now: false };
        let _: () = self.client.call(SERVICE_V2, "Shutdown", &request).unwrap();
        until_readable(&pidfd);
        assert!(!self.socket.exists());
        self.bundle.assert_nothing_left();
    }
}

/// Opens the reading end as containerd's clients do: at once, whoever writes later.
fn reader(path: &str) -> File {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).unwrap();
    rustix::io::ioctl_fionbio(&file, false).unwrap();
    file
}

#[test]
fn a_task_lives_with_fifos_and_is_told_by_events() {
    let mut shim = Started::new("cat; echo problem >&2; exit 3");
    let (stdin, stdout, stderr) = (shim.fifo("in"), shim.fifo("out"), shim.fifo("err"));
    let (mut out, mut err) = (reader(&stdout), reader(&stderr));
    shim.create(stdin.clone(), stdout.clone(), stderr);
    let state: StateResponse = shim
        .client
        .call(SERVICE_V2, "State", &StateRequest { id: shim.bundle.id.clone(), exec_id: String::new() })
        .unwrap();
    assert_eq!((state.stdin.as_str(), state.stdout.as_str()), (stdin.as_str(), stdout.as_str()));
    let mut writer = OpenOptions::new().write(true).open(&stdin).unwrap();
    shim.start("");
    writer.write_all(b"typed\n").unwrap();
    drop(writer);
    shim.close_input();
    let (mut printed, mut problems) = (String::new(), String::new());
    out.read_to_string(&mut printed).unwrap();
    err.read_to_string(&mut problems).unwrap();
    assert_eq!((printed.as_str(), problems.as_str()), ("typed\n", "problem\n"));
    assert_eq!(shim.wait(""), 3);
    assert_eq!(shim.delete("").exit_status, 3);
    let id = shim.bundle.id.clone();
    for (topic, whose) in
        [("/tasks/create", ""), ("/tasks/start", ""), ("/tasks/exit", id.as_str()), ("/tasks/delete", "")]
    {
        assert_eq!(shim.events.recv().unwrap(), (topic.into(), whose.into()));
    }
    shim.finish();
}

#[test]
fn an_exec_of_containerd_is_a_bare_process_and_files_are_appended_to() {
    let mut shim = Started::new("sleep 1000");
    let file = shim.bundle.path("output");
    fs::write(&file, "before\n").unwrap();
    let uri = format!("file://{}", file.display());
    shim.create(String::new(), uri.clone(), String::new());
    shim.start("");
    let process = oci::runtime_spec::Process {
        args: shell("echo from exec; exit 4"),
        ..shim.bundle.spec.process.clone().unwrap()
    };
    let spec = Any {
        type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".into(),
        value: serde_json::to_vec(&process).unwrap(),
    };
    let exec = ExecProcessRequest {
        id: shim.bundle.id.clone(),
        exec_id: "one".into(),
        stdout: uri,
        spec: Some(spec),
        ..ExecProcessRequest::default()
    };
    let _: () = shim.client.call(SERVICE_V2, "Exec", &exec).unwrap();
    shim.start("one");
    assert_eq!(shim.wait("one"), 4);
    eventually("the file is written", || fs::read_to_string(&file).unwrap() == "before\nfrom exec\n");
    shim.delete("one");
    let kill = KillRequest { id: shim.bundle.id.clone(), signal: 9, all: true, ..KillRequest::default() };
    let _: () = shim.client.call(SERVICE_V2, "Kill", &kill).unwrap();
    assert_eq!(shim.wait(""), 137);
    shim.delete("");
    let topics: Vec<String> = shim.events.iter().take(7).map(|(topic, _)| topic).collect();
    let expected = ["create", "start", "exec-added", "exec-started", "exit", "exit", "delete"];
    assert_eq!(topics, expected.map(|topic| format!("/tasks/{topic}")));
    shim.finish();
}

#[test]
fn input_ends_when_a_client_says_so_and_with_what_was_written_before() {
    let mut shim = Started::new("cat");
    let (stdin, stdout) = (shim.fifo("in"), shim.fifo("out"));
    let mut out = reader(&stdout);
    shim.create(stdin.clone(), stdout, String::new());
    shim.start("");
    let write = |text: &str| {
        let mut writer = OpenOptions::new().write(true).open(&stdin).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    };
    // One client leaves, and another comes.
    write("first\n");
    let mut line = [0; 6];
    out.read_exact(&mut line).unwrap();
    write("second\n");
    shim.close_input();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!((&line, rest.as_str()), (b"first\n", "second\n"));
    assert_eq!(shim.wait(""), 0);
    shim.delete("");
    shim.finish();
}

#[test]
fn a_terminal_needs_no_fifo_for_errors() {
    let mut shim = Started::new("echo problem >&2");
    let stdout = shim.fifo("out");
    let mut out = reader(&stdout);
    let stderr = "/nonexistent/err".to_owned();
    shim.bundle.process().terminal = true;
    shim.bundle.write();
    shim.create_with(CreateTaskRequest { terminal: true, stdout, stderr, ..CreateTaskRequest::default() });
    shim.start("");
    assert_eq!(shim.wait(""), 0);
    let mut printed = [0; 9];
    out.read_exact(&mut printed).unwrap();
    assert_eq!(&printed, b"problem\r\n");
    shim.delete("");
    shim.finish();
}

#[test]
fn an_exec_that_was_never_started_is_deleted_with_status_0() {
    let mut shim = Started::new("sleep 1000");
    shim.create(String::new(), String::new(), String::new());
    shim.start("");
    let value = serde_json::to_vec(&shim.bundle.spec.process).unwrap();
    let spec =
        Some(Any { type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".into(), value });
    let (id, exec_id) = (shim.bundle.id.clone(), "one".to_owned());
    let exec = ExecProcessRequest { id: id.clone(), exec_id, spec, ..ExecProcessRequest::default() };
    let _: () = shim.client.call(SERVICE_V2, "Exec", &exec).unwrap();
    assert_eq!(shim.delete("one").exit_status, 0);
    let kill = KillRequest { id, signal: 9, ..KillRequest::default() };
    let _: () = shim.client.call(SERVICE_V2, "Kill", &kill).unwrap();
    assert_eq!(shim.wait(""), 137);
    shim.delete("");
    shim.finish();
}

#[test]
fn a_shim_is_ended_before_the_daemon_when_memory_is_short() {
    let shim = Started::new("true");
    let score = |pid: &str| -> i32 {
        fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim().parse().unwrap()
    };
    assert_eq!(score(&shim.pid.to_string()), (score("self") + 1).min(1000));
    shim.finish();
}

#[test]
fn a_second_start_finds_the_first() {
    let shim = Started::new("true");
    // containerd 1.6 sends its options, which are no parameters, and reads a bare address.
    let other = Bundle::new();
    other.write();
    let first = String::from_utf8(invoke(&other, "start", b"")).unwrap();
    let second = String::from_utf8(invoke(&other, "start", b"")).unwrap();
    assert_eq!(first, second);
    let socket = PathBuf::from(first.strip_prefix("unix:///run/containerd/s/").map(|_| &first[7..]).unwrap());
    assert_eq!(fs::read_to_string(other.path("bundle/address")).unwrap(), first);
    let mut client = Client::connect(&socket).unwrap();
    let pidfd = linux::pidfd::open(hello(&mut client).pid).unwrap();
    let _: () = client.call(SERVICE_V2, "Shutdown", &ShutdownRequest::default()).unwrap();
    until_readable(&pidfd);
    shim.finish();
}

#[test]
fn a_shim_keeps_a_sandbox_in_place_of_a_task() {
    use api::SANDBOX_SERVICE as SANDBOX;
    use api::sandbox::*;
    let mut shim = Started::new("true");
    let sandbox_id = shim.bundle.id.clone();
    let ping = |id: &str| PingRequest { sandbox_id: id.to_owned() };
    let create = CreateSandboxRequest {
        sandbox_id: sandbox_id.clone(),
        netns_path: "/proc/1/ns/net".into(),
        annotations: [("a".to_owned(), "1".to_owned())].into(),
        ..Default::default()
    };
    let wrong = [
        (CreateSandboxRequest { sandbox_id: "other".into(), ..create.clone() }, Code::FailedPrecondition),
        (CreateSandboxRequest { rootfs: shim.bundle.rootfs(), ..create.clone() }, Code::Unimplemented),
        (
            CreateSandboxRequest {
                options: Some(Any { type_url: "x".into(), ..Any::default() }),
                ..create.clone()
            },
            Code::InvalidArgument,
        ),
    ];
    for (request, expected) in wrong {
        assert_eq!(
            code_of(shim.client.call::<CreateSandboxResponse>(SANDBOX, "CreateSandbox", &request)),
            expected
        );
    }
    let client = &mut shim.client;
    assert_eq!(code_of(client.call::<()>(SANDBOX, "PingSandbox", &ping(&sandbox_id))), Code::NotFound);
    let _: () = client.call(SANDBOX, "CreateSandbox", &create).unwrap();
    assert_eq!(code_of(client.call::<()>(SANDBOX, "CreateSandbox", &create)), Code::AlreadyExists);
    let task = CreateTaskRequest { id: sandbox_id.clone(), ..Default::default() };
    assert_eq!(code_of(client.call::<CreateTaskResponse>(SERVICE_V3, "Create", &task)), Code::AlreadyExists);
    assert_eq!(code_of(client.call::<()>(SANDBOX, "PingSandbox", &ping("other"))), Code::NotFound);
    let _: () = client.call(SANDBOX, "StartSandbox", &ping(&sandbox_id)).unwrap();
    assert_eq!(
        code_of(client.call::<()>(SANDBOX, "StartSandbox", &ping(&sandbox_id))),
        Code::FailedPrecondition
    );
    let status = SandboxStatusRequest { sandbox_id: sandbox_id.clone(), verbose: true };
    let status: SandboxStatusResponse = client.call(SANDBOX, "SandboxStatus", &status).unwrap();
    assert_eq!((status.state.as_str(), status.pid, status.exited_at), ("SANDBOX_READY", 0, None));
    assert_eq!((status.info["a"].as_str(), status.info["netns_path"].as_str()), ("1", "/proc/1/ns/net"));
    let _: () = client.call(SERVICE_V3, "Shutdown", &ShutdownRequest::default()).unwrap();
    let waiting = client.send(SANDBOX, "WaitSandbox", &ping(&sandbox_id)).unwrap();
    let _: () = client.call(SANDBOX, "StopSandbox", &ping(&sandbox_id)).unwrap();
    let first: WaitSandboxResponse = client.receive(waiting).unwrap();
    let _: () = client.call(SANDBOX, "StopSandbox", &ping(&sandbox_id)).unwrap();
    let second: WaitSandboxResponse = client.call(SANDBOX, "WaitSandbox", &ping(&sandbox_id)).unwrap();
    assert!(first == second && first.exited_at.is_some(), "it stopped once");
    let pidfd = linux::pidfd::open(shim.pid).unwrap();
    let _: () = shim.client.call(SANDBOX, "ShutdownSandbox", &ping(&sandbox_id)).unwrap();
    until_readable(&pidfd);
    assert!(!shim.socket.exists());
    shim.bundle.assert_nothing_left();
}

#[test]
fn a_child_that_is_killed_for_want_of_memory_is_told_while_the_task_goes_on() {
    // `tail` keeps everything until the end of a line, which never comes.
    let mut shim = Started::new("tail /dev/zero; sleep 1000");
    let memory = Memory { limit: Some(8 << 20), swap: Some(8 << 20), ..Memory::default() };
    shim.bundle.spec.linux.as_mut().unwrap().resources =
        Some(Resources { memory: Some(memory), ..Resources::default() });
    shim.bundle.write();
    shim.try_create(String::new(), String::new(), String::new()).unwrap();
    shim.start("");
    let next = |shim: &Started| shim.events.recv_timeout(Duration::from_secs(20)).expect("an event").0;
    for topic in ["/tasks/create", "/tasks/start", "/tasks/oom"] {
        assert_eq!(next(&shim), topic);
    }
    shim.kill();
    assert_eq!(shim.wait(""), 137);
    shim.delete("");
    // The end is not one more.
    for topic in ["/tasks/exit", "/tasks/delete"] {
        assert_eq!(next(&shim), topic);
    }
    shim.finish();
}

#[test]
fn delete_removes_what_a_dead_shim_left() {
    let mut shim = Started::new("sleep 1000");
    let created = shim.try_create(String::new(), String::new(), String::new()).unwrap();
    shim.start("");
    let pidfd = linux::pidfd::open(shim.pid).unwrap();
    linux::pidfd::send_signal(std::os::fd::AsFd::as_fd(&pidfd), 9).unwrap();
    until_readable(&pidfd);
    let answer = invoke(&shim.bundle, "delete", b"");
    let answer = DeleteResponse::decode(answer.as_slice()).unwrap();
    assert_eq!((answer.exit_status, answer.pid), (137, created.pid));
    assert!(!shim.socket.exists());
    shim.bundle.assert_nothing_left();
}

/// A program that takes output, with what it is to do once it has said that it reads.
fn logger(bundle: &Bundle, then: &str) -> String {
    let script = bundle.path("logger");
    let at = |name: &str| bundle.path(name).display().to_string();
    let text = format!(
        "#!/bin/sh\n/bin/tr '\\0' '\\n' </proc/$$/environ >{}\necho \"$@\" >{}\nexec 5>&-\n{then}\n",
        at("environment"),
        at("arguments"),
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    format!("binary://{}?_MAGIC=/var/lib/x&y=a+b", script.display())
}

#[test]
fn a_logger_takes_everything_that_is_printed() {
    let mut shim = Started::new("echo hello; echo problem >&2; exit 3");
    let at = |shim: &Started, name: &str| fs::read_to_string(shim.bundle.path(name)).unwrap();
    let (out, err, done) = (shim.bundle.path("out"), shim.bundle.path("err"), shim.bundle.path("done"));
    let then = format!(
        "/bin/cat <&4 >{}; /bin/cat <&3 >{}; /bin/sleep 0.2; echo done >{}",
        err.display(),
        out.display(),
        done.display()
    );
    let uri = logger(&shim.bundle, &then);
    shim.create(String::new(), uri.clone(), uri);
    assert_eq!(
        at(&shim, "environment"),
        format!("CONTAINER_ID={}\nCONTAINER_NAMESPACE=test\n", shim.bundle.id)
    );
    assert_eq!(at(&shim, "arguments"), "_MAGIC /var/lib/x y a b\n");
    shim.start("");
    assert_eq!(shim.wait(""), 3);
    assert_eq!(shim.delete("").exit_status, 3);
    let pidfd = linux::pidfd::open(shim.pid).unwrap();
    let _: () = shim.client.call(SERVICE_V2, "Shutdown", &ShutdownRequest::default()).unwrap();
    until_readable(&pidfd);
    assert_eq!((at(&shim, "out").as_str(), at(&shim, "err").as_str()), ("hello\n", "problem\n"));
    assert_eq!(at(&shim, "done"), "done\n", "the shim is there until its logger has ended");
    shim.bundle.assert_nothing_left();
}

#[test]
fn a_logger_of_an_exec_has_its_name_and_one_that_dies_stops_nobody() {
    let mut shim = Started::new("sleep 1000");
    shim.create(String::new(), String::new(), String::new());
    shim.start("");
    let uri = logger(&shim.bundle, "exit 1");
    let process = oci::runtime_spec::Process {
        args: shell("seq 100000; exit 4"),
        ..shim.bundle.spec.process.clone().unwrap()
    };
    let exec = ExecProcessRequest {
        id: shim.bundle.id.clone(),
        exec_id: "one".into(),
        stdout: uri.clone(),
        stderr: uri,
        spec: Some(Any { type_url: String::new(), value: serde_json::to_vec(&process).unwrap() }),
        ..ExecProcessRequest::default()
    };
    let _: () = shim.client.call(SERVICE_V2, "Exec", &exec).unwrap();
    shim.start("one");
    assert_eq!(shim.wait("one"), 4);
    let environment = fs::read_to_string(shim.bundle.path("environment")).unwrap();
    assert_eq!(environment, "CONTAINER_ID=one\nCONTAINER_NAMESPACE=test\n");
    let kill = KillRequest { id: shim.bundle.id.clone(), signal: 9, all: true, ..KillRequest::default() };
    let _: () = shim.client.call(SERVICE_V2, "Kill", &kill).unwrap();
    assert_eq!(shim.wait(""), 137);
    shim.delete("");
    shim.finish();
}

#[test]
fn streams_that_cannot_be_are_refused_and_the_task_can_still_be_made() {
    let mut shim = Started::new("true");
    for (stdout, stderr, text) in [
        ("smoke:///signal", "", "unknown STDIO scheme smoke"),
        ("binary:///no/such", "binary:///no/such", "cannot start the logger `/no/such`: No such file"),
        ("binary-v2:///bin/true", "", "has ended without having said"),
        ("binary:///bin/true", "/run/fifo", "`/run/fifo` cannot be beside it"),
        ("", "binary:///bin/true", "a logger takes a process's standard output"),
        ("binary://", "", "names no path"),
        ("/etc/passwd", "", "it is not a fifo"),
    ] {
        let refused = shim.try_create(String::new(), stdout.into(), stderr.into()).unwrap_err();
        assert!(refused.to_string().contains(text), "{stdout}: {refused}");
    }
    let file = shim.bundle.path("new/folder/log");
    shim.create(String::new(), format!("file://{}", file.display()), String::new());
    shim.start("");
    assert_eq!(shim.wait(""), 0);
    assert!(file.exists(), "with its directories");
    shim.delete("");
    shim.finish();
}

#[test]
fn runcs_options_of_the_shim_and_its_pipes_are_obeyed() {
    let group = format!("/corten-test-shim-own-{}", std::process::id());
    let made = runtime::cgroup::Cgroup::create(&group, None).unwrap();
    let options =
        RuncOptions { shim_cgroup: group.clone(), io_uid: 1000, io_gid: 2000, ..RuncOptions::default() };
    let mut shim = Started::with("ls -lnL /proc/self/fd/1 /proc/self/fd/2", &options);
    let own = fs::read_to_string(format!("/proc/{}/cgroup", shim.pid)).unwrap();
    assert!(own.lines().all(|line| line.ends_with(&group)), "{own}");
    let file = shim.bundle.path("output");
    shim.create(String::new(), format!("file://{}", file.display()), String::new());
    shim.start("");
    assert_eq!(shim.wait(""), 0);
    eventually("the file is written", || {
        let text = fs::read_to_string(&file).unwrap();
        text.lines().filter(|line| line.contains(" 1000 ") && line.contains(" 2000 ")).count() == 2
    });
    shim.delete("");
    shim.finish();
    made.remove().unwrap();
    let nowhere = Bundle::new();
    nowhere.write();
    let input = api::any::pack(&options).encode_to_vec();
    let refused = String::from_utf8(try_invoke(&nowhere, "start", &input).stderr).unwrap();
    assert!(refused.contains(&format!("cannot move into the shim's control group `{group}`")), "{refused}");
}

#[test]
fn the_version_and_the_name_are_printed() {
    let output = Command::new(SHIM).arg("-v").output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("corten-shim "));
    let output = Command::new(SHIM).arg("-info").stdin(Stdio::null()).output().unwrap();
    let info = api::types::RuntimeInfo::decode(output.stdout.as_slice()).unwrap();
    assert_eq!(info.name, "io.containerd.corten.v1");
    let features = info.features.unwrap();
    assert_eq!(features.type_url, api::any::FEATURES);
    let features: serde_json::Value = serde_json::from_slice(&features.value).unwrap();
    assert!(features["mountOptions"].as_array().unwrap().contains(&"rro".into()), "{features}");
}

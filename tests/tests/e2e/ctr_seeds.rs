//! Every `ctr` line of the documents that Corten was begun for: by containerd's own clients and by `corten ctr` at Corten, and by
//! `corten ctr` at Debian's containerd.
//!
//! The lines are in `seeds/ctr.txt`; a client has run each of them when the test ends, or fails. Names of registries are replaced by
//! those of registries on loopback, and names without a registry by whole ones, which are what these clients take.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::host::{Host, Outcome, PATIENCE, executable, fixture, path_text, run_with_input};
use tests::peers::program;
use tests::registry::{LOGIN, Registry};
use tests::terminal::Terminal;

use crate::ctr::Containerd;

const LINES: &str = include_str!("seeds/ctr.txt");

/// A client at a daemon, and the lines that it has run.
struct Client<'a> {
    program: PathBuf,
    before: &'static [&'static str],
    socket: PathBuf,
    folder: &'a Path,
    cgroup: String,
    /// Whether the daemon moves images for it: then some flags are for `--local` alone.
    is_served: bool,
    followed: RefCell<BTreeSet<&'static str>>,
}

impl Client<'_> {
    fn command(&self, line: &'static str, words: &[String]) -> Command {
        let known = LINES.lines().find(|known| *known == line);
        self.followed.borrow_mut().insert(known.unwrap_or_else(|| panic!("no document has {line:?}")));
        let mut command = Command::new(&self.program);
        command.args(self.before).arg("--address").arg(&self.socket).args(words).current_dir(self.folder);
        command.env_remove("CONTAINERD_ADDRESS").env_remove("CONTAINERD_NAMESPACE");
        command
    }

    /// The words of a line with others in place of some.
    fn words(&self, line: &str, others: &[(&str, &str)]) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        for word in line.split_whitespace().skip(1) {
            match others.iter().find(|(own, _)| *own == word) {
                Some((_, "")) => {}
                Some((_, other)) => words.extend(other.split(' ').map(|word| word.replace('~', " "))),
                None => words.push(word.replace('"', "")),
            }
        }
        words
    }

    fn run(&self, line: &'static str, others: &[(&str, &str)]) -> Outcome {
        run_with_input(self.command(line, &self.words(line, others)), b"")
    }

    /// What a line shows; it succeeds.
    fn shows(&self, line: &'static str, others: &[(&str, &str)]) -> String {
        let outcome = self.run(line, others);
        assert_eq!(outcome.code, 0, "{} {line} {others:?}: {outcome:?}", self.program.display());
        outcome.stdout
    }

    /// A line with a flag that a client whose daemon moves its images has only with `--local`.
    fn local(&self, line: &'static str, flag: (&str, &str), others: &[(&str, &str)]) {
        let (short, long) = flag;
        if self.is_served {
            let refused = self.run(line, others);
            let text = format!("ctr: \"{long}\" requires \"--local\" flag\n");
            assert_eq!((refused.code, refused.stderr), (1, text), "{line}");
        }
        let forced = format!("{short} --local");
        let added = (short, if self.is_served { forced.as_str() } else { short });
        let login = format!("{} -u {}:{}", added.1, LOGIN.0, LOGIN.1.replace(' ', "~"));
        self.shows(line, &[&[(short, login.as_str())], others].concat());
    }

    /// The first words of a list's lines.
    fn listed(&self, line: &'static str) -> BTreeSet<String> {
        let shown = self.shows(line, &[]);
        let first = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
        shown.lines().skip(1).map(first).collect()
    }

    /// Words that no document has.
    fn also(&self, words: &[&str]) -> Outcome {
        let mut command = Command::new(&self.program);
        command.args(self.before).arg("--address").arg(&self.socket).args(words).current_dir(self.folder);
        run_with_input(command, b"")
    }

    /// Ends a container.
    fn remove(&self, namespace: &str, id: &str) {
        self.also(&["-n", namespace, "tasks", "kill", "-s", "KILL", id]);
        let began = std::time::Instant::now();
        while self.also(&["-n", namespace, "tasks", "rm", id]).stderr.contains("must be stopped")
            || self.also(&["-n", namespace, "tasks", "ls", "-q"]).stdout.lines().any(|line| line == id)
        {
            assert!(began.elapsed() < PATIENCE, "{id} ends");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let removed = self.also(&["-n", namespace, "containers", "rm", id]);
        assert_eq!(removed.code, 0, "{removed:?}");
    }
}

/// Follows the documents with one client.
fn follow(client: &Client<'_>, open: &Registry, closed: &Registry, id: &str) {
    let (open, closed) = (open.host(), closed.host());
    let pause = format!("{open}/pause:latest");
    let test = format!("{open}/pause-test:latest");
    let pull = |line, name: &str, other: &str| {
        client.shows(line, &[(name, &format!("--plain-http {open}/{other}"))]);
    };
    assert!(client.shows("ctr version", &[]).contains("Server:"));
    assert!(client.shows("ctr plugin ls", &[]).contains("overlayfs"));
    assert!(client.listed("ctr image list").is_empty());

    pull("ctr image pull pause", "pause", "pause:latest");
    client.shows("ctr image tag pause pause-test", &[("pause", &pause), ("pause-test", &test)]);
    client.shows("ctr image push pause-test", &[("pause-test", &format!("--plain-http {test}"))]);
    assert_eq!(client.listed("ctr i list"), BTreeSet::from([pause.clone(), test.clone()]));
    pull(
        "ctr images pull docker.io/library/redis:alpine3.13",
        "docker.io/library/redis:alpine3.13",
        "library/redis:alpine3.13",
    );
    pull("ctr image pull docker.io/library/mysql", "docker.io/library/mysql", "library/mysql:latest");
    pull("ctr image pull docker.io/library/nginx", "docker.io/library/nginx", "library/nginx:latest");
    pull(
        "ctr image pull docker.io/maxkeytop/maxkey",
        "docker.io/maxkeytop/maxkey",
        "maxkeytop/maxkey:latest",
    );
    pull(
        "ctr images pull registry.cnhangzhou.aliyuncs.com/google_containers/pause-amd64:3.2",
        "registry.cnhangzhou.aliyuncs.com/google_containers/pause-amd64:3.2",
        "google_containers/pause-amd64:3.2",
    );
    let named = format!("pull --plain-http {open}/library/mysql:latest");
    client.shows("ctr -n maxkey.top image pull", &[("pull", &named)]);
    assert_eq!(client.listed("ctr images ls").len(), 7);

    let local = if client.is_served { "--local " } else { "" };
    let login = format!("{}:{}", LOGIN.0, LOGIN.1.replace(' ', "~"));
    let nginx = format!("{closed}/library/nginx:1.1");
    let user = "ctr images pull -u user:password harbor.my.org/library/nginx:1.1";
    let wrong = client.run(user, &[("harbor.my.org/library/nginx:1.1", &format!("{local}-k {nginx}"))]);
    assert_eq!(wrong.code, 1, "{wrong:?}");
    client.shows(
        user,
        &[("user:password", &login), ("harbor.my.org/library/nginx:1.1", &format!("{local}-k {nginx}"))],
    );
    kubernetes(client, closed, &nginx);
    client.shows("ctr image import pause.tar", &[]);
    assert!(client.listed("ctr i ls").contains(&nginx));
    assert!(client.listed("ctr image ls").contains(&pause));
    run(client, (&pause, &test), id, &format!("{open}/library/redis:alpine3.13"));
    let followed = client.followed.borrow();
    let all: BTreeSet<&str> = LINES.lines().filter(|line| line.starts_with("ctr ")).collect();
    let left: Vec<_> = all.difference(&followed).collect();
    assert!(left.is_empty(), "{}: not covered: {left:#?}", client.program.display());
}

/// The lines about images of the namespace of Kubernetes.
fn kubernetes(client: &Client<'_>, closed: &str, nginx: &str) {
    let (own, named) = ("example.test/pause:3.2", format!("{closed}/pause:3.2"));
    let names = [("pause:3.2", own), ("k8s.gcr.io/pause:3.2", named.as_str())];
    // What the document has already.
    let local = if client.is_served { &["--local"][..] } else { &[] };
    let login = format!("{}:{}", LOGIN.0, LOGIN.1);
    let pulled = [&["-n", "k8s.io", "i", "pull", "-k", "-u", &login][..], local, &[nginx]].concat();
    assert_eq!(client.also(&pulled).code, 0);
    assert_eq!(client.also(&["-n", "k8s.io", "i", "tag", nginx, own]).code, 0);
    client.shows("ctr -n k8s.io i tag pause:3.2 k8s.gcr.io/pause:3.2", &names);
    client.shows("ctr -n k8s.io i tag --force pause:3.2 k8s.gcr.io/pause:3.2", &names);
    client.local("ctr -n k8s.io i push -k k8s.gcr.io/pause:3.2", ("-k", "--skip-verify"), &names);
    client.shows("ctr -n k8s.io i rm k8s.gcr.io/pause:3.2", &names);
    assert!(!client.listed("ctr -n k8s.io images ls").contains(&named));
    client.local("ctr -n k8s.io i pull -k k8s.gcr.io/pause:3.2", ("-k", "--skip-verify"), &names);
    client.shows("ctr -n k8s.io i export pause.tar k8s.gcr.io/pause:3.2", &names);
    client.shows("ctr -n k8s.io i rm k8s.gcr.io/pause:3.2", &names);
    client.shows("ctr -n k8s.io i import pause.tar", &[]);
    assert!(client.listed("ctr -n k8s.io images ls").contains(&named));
    // For the lines of the other namespace.
    let exported = client.also(&["i", "export", "pause.tar", nginx]);
    assert_eq!(exported.code, 0, "{exported:?}");
}

/// The lines about containers.
fn run(client: &Client<'_>, (pause, test): (&str, &str), id: &str, redis: &str) {
    let cgroup = |id: &str| format!("--cgroup {}/{id}", client.cgroup);
    let (one, two, three) = (format!("{id}-pause"), format!("{id}-redis"), format!("{id}-k8s"));
    let sleep = |id: &str| format!("{id} sleep 1000");
    assert!(client.shows("ctr c", &[]).contains("list, ls"));
    client.shows(
        "ctr run -d pause-test pause",
        &[("-d", &format!("{} -d", cgroup(&one))), ("pause-test", test), ("pause", &sleep(&one))],
    );
    client.shows(
        "ctr run -d docker.io/library/redis:alpine3.13 redis",
        &[
            ("-d", &format!("{} -d", cgroup(&two))),
            ("docker.io/library/redis:alpine3.13", redis),
            ("redis", &sleep(&two)),
        ],
    );
    assert_eq!(client.listed("ctr container ls"), BTreeSet::from([one.clone(), two.clone()]));
    assert_eq!(client.listed("ctr task ls"), BTreeSet::from([one.clone(), two.clone()]));
    let exec = "ctr task exec -t --exec-id redis-sh redis sh";
    let mut terminal = Terminal::start(client.command(exec, &client.words(exec, &[("redis", &two)])));
    terminal.expect("/ # ");
    terminal.press(b"echo in$((1+1))\r");
    terminal.expect("in2");
    terminal.press(b"exit 3\r");
    assert_eq!(terminal.finish(), 3, "{}", client.program.display());
    for id in [&one, &two] {
        client.remove("default", id);
    }
    let own = std::fs::read_link("/proc/thread-self/ns/net").expect("a namespace");
    client.shows(
        "ctr run --with-ns=network:/var/run/netns/redisnet -d docker.io/library/redis:alpine3.13 redis",
        &[
            (
                "--with-ns=network:/var/run/netns/redisnet",
                &format!("{} --with-ns=network:{}", cgroup(&two), thread_network()),
            ),
            ("docker.io/library/redis:alpine3.13", redis),
            ("redis", &sleep(&two)),
        ],
    );
    let seen = client.also(&["t", "exec", "--exec-id", "x", &two, "readlink", "/proc/self/ns/net"]);
    assert_eq!(seen.stdout.trim(), path_text(&own), "{seen:?}");
    client.remove("default", &two);
    let log = client.folder.join(format!("{id}.log"));
    let tagged = client.also(&["-n", "k8s.io", "i", "pull", "--plain-http", pause]);
    assert_eq!(tagged.code, 0, "{tagged:?}");
    let line = "ctr -n k8s.io run --null-io --net-host -d --env PASSWORD=\"123456\" --mount type=bind,src=/etc,dst=/host-etc,options=rbind:rw";
    let mount = "type=bind,src=/etc,dst=/host-etc,options=rbind:rw";
    client.shows(
        line,
        &[("-d", &format!("{} -d", cgroup(&three))), (mount, &format!("{mount} {pause} {}", sleep(&three)))],
    );
    let script = "echo $PASSWORD; test -e /host-etc/hostname && echo mounted";
    let seen = client.also(&["-n", "k8s.io", "t", "exec", "--exec-id", "x", &three, "sh", "-c", script]);
    assert_eq!(seen.stdout, "123456\nmounted\n", "{seen:?}");
    client.remove("k8s.io", &three);
    let uri = format!("file://{} {} -d {pause} {three} echo kept", path_text(&log), cgroup(&three));
    client.shows("ctr -n k8s.io run --log-uri file:///var/log/xx.log", &[("file:///var/log/xx.log", &uri)]);
    let began = std::time::Instant::now();
    while std::fs::read(&log).is_ok_and(|text| text != b"kept\n") || !log.exists() {
        assert!(began.elapsed() < PATIENCE, "the line is in the log");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    client.remove("k8s.io", &three);
}

/// This thread's network, by a path that others can open.
fn thread_network() -> String {
    let thread = std::fs::read_link("/proc/thread-self").expect("a thread");
    format!("/proc/{}/ns/net", thread.display())
}

/// Registries with everything that the documents name: one without TLS, and one with TLS and a password.
fn registries() -> (Registry, Registry) {
    tests::host::enter_own_network();
    let (open, closed) = (Registry::plain(5000), Registry::secured(5443));
    for name in [
        "pause:latest",
        "library/redis:alpine3.13",
        "library/mysql:latest",
        "library/nginx:latest",
        "maxkeytop/maxkey:latest",
        "google_containers/pause-amd64:3.2",
    ] {
        open.fill(&fixture("busybox.tar"), name);
    }
    let source = format!("docker://{}/library/nginx:latest", open.host());
    let target = format!("docker://{}/library/nginx:1.1", closed.host());
    let login = format!("{}:{}", LOGIN.0, LOGIN.1);
    let flags = ["copy", "-q", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false"];
    tests::network::said("skopeo", &[&flags[..], &["--dest-creds", &login, &source, &target]].concat());
    (open, closed)
}

fn at_corten(program: PathBuf, before: &'static [&'static str], is_served: bool) {
    let (open, closed) = registries();
    let host = Host::empty();
    let folder = host.path().join("user");
    std::fs::create_dir(&folder).expect("a folder");
    let client = Client {
        program,
        before,
        socket: host.state().join("corten.sock"),
        folder: &folder,
        cgroup: host.cgroup().to_owned(),
        is_served,
        followed: RefCell::default(),
    };
    follow(&client, &open, &closed, "one");
}

#[test]
fn the_ctr_of_containerd_1_6_follows_the_documents_at_corten() {
    at_corten(program("old/bin/ctr"), &[], false);
}

#[test]
fn the_ctr_of_containerd_2_1_follows_the_documents_at_corten() {
    at_corten(program("bin/ctr"), &[], true);
}

#[test]
fn corten_ctr_follows_the_documents_at_corten() {
    at_corten(executable("corten"), &["ctr"], true);
}

#[test]
fn corten_ctr_follows_the_documents_at_debians_containerd() {
    let (open, closed) = registries();
    let daemon = Containerd::start();
    let folder = tempfile::tempdir().expect("a folder");
    let id = format!("seed-{}", std::process::id());
    let client = Client {
        program: executable("corten"),
        before: &["ctr"],
        socket: daemon.socket(),
        folder: folder.path(),
        cgroup: format!("/corten-ctr-{id}"),
        is_served: false,
        followed: RefCell::default(),
    };
    follow(&client, &open, &closed, &id);
}

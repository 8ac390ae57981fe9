//! Images that `corten ctr` moves: by Corten's transfer service, from its own side, and from its own side at Debian's containerd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tests::host::{
    Host, Outcome, PATIENCE, enter_own_network, executable, fixture, path_text, run_with_input,
};
use tests::network::said;
use tests::registry::{Nuisance, Registry};

use crate::ctr::Containerd;

/// `corten ctr` at one daemon, in one way.
struct Client {
    socket: PathBuf,
    /// Nothing, or `--local`.
    way: &'static [&'static str],
}

impl Client {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(executable("corten"));
        command.args(["ctr", "--address", path_text(&self.socket)]).args(words);
        command.env_remove("CONTAINERD_ADDRESS").env_remove("CONTAINERD_NAMESPACE");
        command
    }

    fn run(&self, words: &[&str]) -> Outcome {
        run_with_input(self.command(words), b"")
    }

    fn ok(&self, words: &[&str]) -> String {
        let outcome = self.run(words);
        assert_eq!(outcome.code, 0, "{words:?}: {outcome:?}");
        outcome.stdout
    }

    /// An `images` command in this client's way.
    fn moved(&self, namespace: &str, command: &str, words: &[&str]) -> Outcome {
        self.run(&[&["-n", namespace, "i", command], self.way, words].concat())
    }

    fn names(&self, namespace: &str) -> Vec<String> {
        self.ok(&["-n", namespace, "i", "ls", "-q"]).lines().map(str::to_owned).collect()
    }

    /// Fails, says `text`, and leaves neither images nor leases in the namespace.
    fn fails(&self, command: &str, words: &[&str], text: &str) {
        let outcome = self.moved("failed", command, words);
        assert_eq!(outcome.code, 1, "{command} {words:?}: {outcome:?}");
        assert!(outcome.stderr.contains(text), "{command} {words:?}: {outcome:?}");
        assert_eq!(self.names("failed"), [""; 0], "{command} {words:?}");
        assert_eq!(self.ok(&["-n", "failed", "leases", "ls", "-q"]), "", "{command} {words:?}");
    }
}

/// The daemons, and the ways.
fn everywhere(follow: impl Fn(&Client, &Path)) {
    enter_own_network();
    let (host, theirs) = (Host::empty(), Containerd::start());
    let corten = host.state().join("corten.sock");
    for (socket, way) in [(corten.clone(), &[][..]), (corten, &["--local"]), (theirs.socket(), &[])] {
        let folder = tempfile::tempdir().expect("a folder");
        follow(&Client { socket, way }, folder.path());
    }
}

#[test]
fn an_image_goes_from_a_registry_to_another_name_an_archive_and_back() {
    enter_own_network();
    let registry = Registry::plain(5000);
    registry.fill(&fixture("busybox.tar"), "busybox:1");
    let (image, back) = (format!("{}/busybox:1", registry.host()), format!("{}/back:1", registry.host()));
    everywhere(|client, folder| {
        // Both ways of Corten see one namespace each.
        let namespace = if client.way.is_empty() { "moved" } else { "moved-local" };
        let go = |command: &str, words: &[&str]| {
            let outcome = client.moved(namespace, command, words);
            assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{command} {words:?}");
            outcome.stdout
        };
        let shown = go("pull", &["--plain-http", "--label", "a=b", &image]);
        assert!(shown.contains("└──manifest (") && shown.contains("layer ("), "{shown}");
        assert!(client.ok(&["-n", namespace, "i", "ls"]).contains(" a=b"));
        assert_eq!(client.ok(&["-n", namespace, "i", "check", "-q"]), format!("{image}\n"), "it is unpacked");
        assert_eq!(client.ok(&["-n", namespace, "leases", "ls", "-q"]), "");
        // A collection takes nothing of it.
        let lease = client.ok(&["-n", namespace, "leases", "create"]);
        client.ok(&["-n", namespace, "leases", "rm", "--sync", lease.trim()]);
        assert_eq!(
            client.ok(&["-n", namespace, "i", "check", "-q"]),
            format!("{image}\n"),
            "it is still whole"
        );
        go("push", &["--plain-http", &back, &image]);
        assert_eq!(registry.digest("back:1"), registry.digest("busybox:1"));

        let archive = path_text(&folder.join("archive.tar")).to_owned();
        go("export", &[&archive, &image]);
        let printed = client
            .command(&[&["-n", namespace, "i", "export"], client.way, &["-", &image]].concat())
            .output();
        assert_eq!(printed.expect("it runs").stdout, fs::read(&archive).expect("an archive"));
        let in_other = |suffix: &str, words: &[&str]| {
            let namespace = format!("{namespace}-{suffix}");
            let outcome = client.moved(&namespace, "import", words);
            assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{words:?}");
            client.names(&namespace)
        };
        assert_eq!(in_other("a", &[&archive]), [image.as_str()]);
        assert_eq!(client.ok(&["-n", &format!("{namespace}-a"), "i", "check", "-q"]), format!("{image}\n"));
        assert_eq!(in_other("b", &["--base-name", "example.test/other", &archive]), [""; 0]);
        let digested = format!("example.test/other@{}", registry.digest("busybox:1"));
        let names = in_other(
            "c",
            &["--base-name", "example.test/other", "--digests", "--index-name", "all", &archive],
        );
        assert!(names.contains(&digested) && names.contains(&"all".to_owned()), "{names:?}");
        assert_eq!(in_other("d", &["--no-unpack", &archive]), [image.as_str()]);
        // Corten unpacks a layer once for all namespaces, and shows it to each that has the image.
        if client.socket.ends_with("socket") {
            let snapshots = client.ok(&["-n", &format!("{namespace}-d"), "snapshots", "ls"]);
            assert_eq!(snapshots.lines().count(), 1, "{snapshots}");
        }
        let stdin = fs::read(&archive).expect("an archive");
        let words = [&["-n", "piped", "i", "import"], client.way, &["-"]].concat();
        assert_eq!(run_with_input(client.command(&words), &stdin).code, 0);
        assert_eq!(client.names("piped"), [image.as_str()]);
    });
}

#[test]
fn what_docker_saved_is_imported_from_this_side() {
    let theirs = Containerd::start();
    let client = Client { socket: theirs.socket(), way: &[] };
    let folder = tempfile::tempdir().expect("a folder");
    let archive = path_text(&folder.path().join("saved.tar")).to_owned();
    let source = format!("tarball:{}", fixture("busybox.tar").display());
    let target = format!("docker-archive:{archive}:example.test/saved:v1");
    said("skopeo", &["copy", "-q", "--insecure-policy", &source, &target]);
    client.ok(&["i", "import", &archive]);
    assert_eq!(client.names("default"), ["example.test/saved:v1"]);
    assert_eq!(client.ok(&["i", "check", "-q"]), "example.test/saved:v1\n");
}

#[test]
fn what_goes_wrong_is_told_and_leaves_nothing() {
    enter_own_network();
    let registry = Registry::plain(5000);
    registry.fill(&fixture("busybox.tar"), "busybox:1");
    // Between the two: one changes a byte of the layer.
    let _corrupting = Nuisance::corrupting(5001, 5000, 200_000);
    everywhere(|client, folder| {
        let nope = format!("{}/nope:1", registry.host());
        client.fails("pull", &["--plain-http", &nope], "not found");
        client.fails("pull", &["busybox"], "failed to resolve");
        client.fails("pull", &["--plain-http", "127.0.0.1:1/a:1"], "reached");
        client.fails(
            "pull",
            &["--plain-http", "--platform", "plan9/z80", &format!("{}/busybox:1", registry.host())],
            "plan9/z80",
        );
        client.fails("pull", &["--plain-http", "127.0.0.1:5001/busybox:1"], "sha256:");
        client.fails("push", &["--plain-http", &nope, "nope"], "not found");
        let archive = path_text(&folder.join("archive.tar")).to_owned();
        client.fails("export", &[&archive, "nope"], "not found");
        assert!(!Path::new(&archive).exists(), "what is not whole goes again");
        client.fails("import", &["/no/such/file"], "No such file");
        fs::write(&archive, "no archive\n".repeat(1000)).expect("a file");
        client.fails("import", &[&archive], "archive");
        fs::copy(fixture("busybox.tar"), &archive).expect("a file");
        client.fails("import", &[&archive], "");
        client.fails("pull", &["--http-dump", &nope], "--http-dump is not supported");
    });
}

#[test]
fn two_pulls_of_one_image_are_both_done_and_a_killed_one_is_in_nobodys_way() {
    enter_own_network();
    let registry = Registry::plain(5000);
    registry.fill(&fixture("busybox.tar"), "busybox:1");
    let image = format!("{}/busybox:1", registry.host());
    everywhere(|client, _| {
        let words = |namespace: &'static str| {
            [&["-n", namespace, "i", "pull"], client.way, &["--plain-http", &image]].concat()
        };
        let start = |namespace| {
            client
                .command(&words(namespace))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .expect("it runs")
        };
        let mut killed = start("killed");
        std::thread::sleep(std::time::Duration::from_millis(20));
        killed.kill().expect("it may be over");
        killed.wait().expect("it is reaped");
        client.ok(&words("killed"));
        let mut both = [start("twice"), start("twice")];
        for one in &mut both {
            assert!(one.wait().expect("it ends").success());
        }
        assert_eq!(client.ok(&["-n", "twice", "i", "check", "-q"]), format!("{image}\n"));
    });
}

#[test]
fn a_blob_that_somebody_else_is_writing_is_waited_for() {
    enter_own_network();
    let registry = Registry::plain(5000);
    registry.fill(&fixture("busybox.tar"), "busybox:1");
    let image = format!("{}/busybox:1", registry.host());
    let manifest = said("skopeo", &["inspect", "--raw", "--tls-verify=false", &format!("docker://{image}")]);
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("a document");
    let upload = format!("layer-{}", manifest["layers"][0]["digest"].as_str().expect("a digest"));
    let theirs = Containerd::start();
    let client = Client { socket: theirs.socket(), way: &[] };
    let mut writer =
        client.command(&["content", "ingest", &upload]).stdin(Stdio::piped()).spawn().expect("it runs");
    let began = std::time::Instant::now();
    while !client.ok(&["content", "active"]).contains(&upload) {
        assert!(began.elapsed() < PATIENCE, "the upload is there");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let mut pull = client.command(&["i", "pull", "--plain-http", &image]);
    let mut pull = pull.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("it runs");
    std::thread::sleep(std::time::Duration::from_millis(500));
    drop(writer.stdin.take());
    assert!(writer.wait().expect("it ends").success());
    assert!(pull.wait().expect("it ends").success());
}

#[test]
fn mirrors_of_the_daemon_and_of_the_command_line_are_asked() {
    enter_own_network();
    let registry = Registry::plain(5000);
    registry.fill(&fixture("busybox.tar"), "library/busybox:1");
    let hosts = tempfile::tempdir().expect("a folder");
    fs::create_dir(hosts.path().join("docker.io")).expect("a folder");
    let file = hosts.path().join("docker.io/hosts.toml");
    fs::write(&file, format!("server = \"http://{}\"\n", registry.host())).expect("a file");
    let image = "docker.io/library/busybox:1";
    let host = Host::with_config(&format!("registry_hosts = [\"{}\"]", hosts.path().display()));
    let daemons = Client { socket: host.state().join("corten.sock"), way: &[] };
    daemons.ok(&["i", "pull", image]);
    drop(host);
    everywhere(|client, _| {
        let pulled = client.moved("mirrored", "pull", &["--hosts-dir", path_text(hosts.path()), image]);
        assert_eq!(pulled.code, 0, "{pulled:?}");
    });
}

#[test]
fn files_of_an_image_are_mounted_and_content_goes_without_an_image() {
    enter_own_network();
    let registry = Registry::plain(5000);
    registry.fill(&fixture("busybox.tar"), "busybox:1");
    let image = format!("{}/busybox:1", registry.host());
    let digest = registry.digest("busybox:1");
    everywhere(|client, folder| {
        if !client.way.is_empty() {
            return;
        }
        client.ok(&["content", "fetch", "--plain-http", &image]);
        assert_eq!(client.ok(&["snapshots", "ls"]).lines().count(), 1, "nothing is unpacked");
        let manifest = client.ok(&["content", "fetch-object", "--plain-http", &image]);
        assert_eq!(manifest, client.ok(&["content", "get", &digest]));
        let parsed: serde_json::Value = serde_json::from_str(&manifest).expect("a document");
        let config = parsed["config"]["digest"].as_str().expect("a digest");
        let blob = client.ok(&["content", "fetch-blob", "--plain-http", &image, config]);
        assert_eq!(blob, client.ok(&["content", "get", config]));
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let again = format!("{}/busybox:again", registry.host());
        client.ok(&["content", "push-object", "--plain-http", &again, &digest, kind]);
        assert_eq!(registry.digest("busybox:again"), digest);

        let unpacked = client.ok(&["snapshots", "unpack", &digest]);
        assert_eq!(unpacked, format!("unpacking {digest} ({kind})...done\n"));
        let chain = client
            .ok(&["snapshots", "ls"])
            .lines()
            .nth(1)
            .expect("a snapshot")
            .split(' ')
            .next()
            .expect("a key")
            .to_owned();
        client.ok(&["snapshots", "prepare", "changed", &chain]);
        let target = path_text(&folder.join("mounted")).to_owned();
        fs::create_dir(&target).expect("a folder");
        assert_eq!(client.ok(&["i", "mount", &image, &target]), format!("{chain}\n{target}\n"));
        assert!(Path::new(&target).join("bin/busybox").exists());
        assert!(fs::write(Path::new(&target).join("new"), "").is_err(), "it is not written to");
        assert_eq!(client.ok(&["i", "unmount", "--rm", &target]), format!("{target}\n"));
        assert_eq!(fs::read_dir(&target).expect("a folder").count(), 0);
        client.ok(&["i", "mount", "--rw", &image, &target]);
        fs::write(Path::new(&target).join("new"), "new").expect("it is written to");
        let diff = client.command(&["snapshots", "diff", &target]).output().expect("it runs");
        assert!(diff.status.success(), "{diff:?}");
        let layer = folder.join("layer.tar.gz");
        fs::write(&layer, diff.stdout).expect("a file");
        assert!(said("tar", &["-tzf", path_text(&layer)]).lines().any(|name| name == "new"));
        client.ok(&["i", "unmount", "--rm", &target]);
        assert_eq!(client.ok(&["leases", "ls", "-q"]), "");
        let dry = client.ok(&["content", "prune", "references", "--dry"]);
        assert!(dry.contains(&format!("{digest} containerd.io/gc.ref.content.l.0=")), "{dry}");
        client.ok(&["content", "prune", "references"]);
        let labels = client.ok(&["content", "ls"]);
        assert!(!labels.contains("gc.ref.content.l.0"), "{labels}");
    });
}

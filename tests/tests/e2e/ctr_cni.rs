//! `corten ctr run --cni` with plugins of Debian, beside containerd's own `ctr`, at a containerd of Debian sid and at Corten. The plugins, their
//! configurations and what they keep are in folders of the test, which the clients see in place of the machine's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tests::containerd::Containerd;
use tests::host::{Host, Outcome, enter_own_network, executable, path_text, run_with_input};
use tests::network::said;
use tests::peers::program;

use super::ctr::rootfs;

/// Where Debian's package puts the plugins.
const PLUGINS: &str = "/usr/lib/cni";

/// One daemon, and the folders of its clients.
struct Place {
    socket: PathBuf,
    folder: PathBuf,
    root: String,
}

impl Place {
    fn new(socket: PathBuf, folder: &Path) -> Place {
        let root = rootfs(folder);
        for name in ["opt/cni/bin", "etc/cni/net.d", "lib/cni"] {
            fs::create_dir_all(folder.join(name)).expect("a folder");
        }
        for entry in fs::read_dir(PLUGINS).expect("the package containernetworking-plugins is installed") {
            let path = entry.expect("an entry").path();
            let link = folder.join("opt/cni/bin").join(path.file_name().expect("a name"));
            std::os::unix::fs::symlink(&path, link).expect("a link");
        }
        // All that the plugins need of the machine's.
        said("cp", &["-a", "/etc/alternatives", "/etc/ld.so.cache", path_text(&folder.join("etc"))]);
        let place = Place { socket, folder: folder.to_owned(), root };
        // It writes down what it is told, and says what the one before it said; at the end nothing.
        place.plugin(
            "record",
            &format!(
                "request=$(cat); echo \"$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $CNI_ARGS $CNI_PATH\" >> {0}; \
                 test -e \"${{CNI_NETNS:-/nothing}}\" && echo there >> {0}\n\
                 echo \"$request\" >> {0}\n\
                 test $CNI_COMMAND = DEL || echo \"$request\" | python3 -c '{1}'\n",
                place.at("record"),
                "import json, sys; print(json.dumps(json.load(sys.stdin)[\"prevResult\"]))"
            ),
        );
        place
    }

    fn at(&self, name: &str) -> String {
        path_text(&self.folder.join(name)).to_owned()
    }

    fn plugin(&self, name: &str, script: &str) {
        let path = self.folder.join("opt/cni/bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}")).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be executed");
    }

    /// The only configuration is this one.
    fn configure(&self, name: &str, text: &Value) {
        let folder = self.folder.join("etc/cni/net.d");
        fs::remove_dir_all(&folder).expect("a folder");
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join(name), text.to_string()).expect("a file");
    }

    /// A program that sees this place's folders.
    fn ask(&self, words: &[&str]) -> Outcome {
        let script = "mount --bind $0/opt /opt && mount --bind $0/etc /etc && mount --bind $0/lib /var/lib && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, path_text(&self.folder)]).args(words);
        command.env_remove("CONTAINERD_ADDRESS").env_remove("CONTAINERD_NAMESPACE");
        run_with_input(command, b"")
    }

    fn ours(&self, words: &[&str]) -> Outcome {
        let program = executable("corten");
        self.ask(&[&[path_text(&program), "ctr", "-a", path_text(&self.socket)], words].concat())
    }

    fn theirs(&self, words: &[&str]) -> Outcome {
        self.ask(&[&[path_text(&program("bin/ctr")), "-a", path_text(&self.socket)], words].concat())
    }

    fn ok(&self, words: &[&str]) -> String {
        let outcome = self.ours(words);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{words:?}");
        outcome.stdout
    }

    /// The words of a run of `script`.
    fn run<'a>(&'a self, flags: &[&'a str], id: &'a str, script: &'a str) -> Vec<&'a str> {
        let before = ["run", "--cni", "--env", "PATH=/bin:/sbin", "--rootfs"];
        [&before[..], flags, &[&self.root, id, "sh", "-c", script]].concat()
    }

    /// The files below a folder of the plugins, without locks and what was given last.
    fn kept(&self) -> Vec<String> {
        let found = said("find", &[&self.at("lib/cni"), "-type", "f"]);
        let is_kept = |line: &&str| !line.ends_with("/lock") && !line.contains("last_reserved_ip");
        found.lines().filter(is_kept).map(str::to_owned).collect()
    }

    /// Nothing of any container is left: not in the plugins' folders, not in the firewall, not at the daemon.
    fn is_clean(&self, id: &str) {
        assert_eq!(self.kept(), [""; 0]);
        let rules = said("iptables-save", &[]);
        assert!(!rules.contains(id), "{rules}");
        let links = said("ip", &["-o", "link", "show", "type", "veth"]);
        assert_eq!(links, "", "{links}");
        assert_eq!(self.ok(&["tasks", "ls", "-q"]), "");
    }
}

/// Follows at both daemons; what differs between them is a name.
fn everywhere(follow: impl Fn(&Place, &str, &[&str])) {
    enter_own_network();
    let (host, containerd) = (Host::empty(), Containerd::start(&program("libexec/containerd"), ""));
    for (socket, name) in [(containerd.socket(), "theirs"), (host.state().join("corten.sock"), "corten")] {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Place::new(socket, folder.path());
        let id = format!("cni-{name}-{}", std::process::id());
        let (cgroup, pipes) = (format!("/corten-{id}"), place.at("pipes"));
        follow(&place, &id, &["--cgroup", &cgroup, "--fifo-dir", &pipes]);
    }
    said("ip", &["link", "delete", "cni-test0"]);
}

fn bridge(ipam: &Value) -> Value {
    json!({"type": "bridge", "bridge": "cni-test0", "isGateway": true, "ipMasq": true, "ipam": ipam})
}

fn host_local() -> Value {
    bridge(&json!({"type": "host-local", "subnet": "10.99.7.0/24", "routes": [{"dst": "0.0.0.0/0"}]}))
}

fn list(plugins: &[Value]) -> Value {
    json!({"cniVersion": "1.0.0", "name": "test", "plugins": plugins})
}

#[test]
fn a_container_is_in_the_network_as_long_as_it_runs() {
    everywhere(|place, id, flags| {
        place.configure("10-test.conflist", &list(&[host_local(), json!({"type": "record"})]));
        let rm = [&["--rm"], flags].concat();
        let script = "ip -4 -o address show eth0 | sed 's/ *brd.*//'; ping -c 1 -W 5 10.99.7.1 > /dev/null && echo there";
        let shown = place.ok(&place.run(&rm, id, script));
        assert!(shown.contains("inet 10.99.7.2/24") && shown.ends_with("there\n"), "{shown}");
        place.is_clean(id);
        // The namespace was given back what was in it: it was there at the end, too.
        let record = fs::read_to_string(place.at("record")).expect("what the plugin was told");
        assert_eq!(record.lines().filter(|line| *line == "there").count(), 2, "{record}");
        assert_eq!(place.ours(&place.run(&rm, id, "exit 5")).code, 5);
        place.is_clean(id);
        // One plugin in a file of its own is a network, too, and comes before others by its name.
        let mut lone = host_local();
        lone["name"] = "test".into();
        lone["cniVersion"] = "0.3.1".into();
        place.configure("20-later.conflist", &list(&[json!({"type": "nothing"})]));
        fs::write(place.folder.join("etc/cni/net.d/10-lone.conf"), lone.to_string()).expect("a file");
        assert!(place.ok(&place.run(&rm, id, script)).ends_with("there\n"));
        place.is_clean(id);
    });
}

#[test]
fn plugins_are_told_what_containerds_ctr_tells_them() {
    everywhere(|place, id, flags| {
        let ipam = json!({"type": "static", "addresses": [{"address": "10.99.7.5/24"}]});
        let record =
            json!({"type": "record", "capabilities": {"portMappings": true}, "more": [1, {"a": "b"}]});
        let rm = [&["--rm"], flags].concat();
        for version in ["0.3.1", "0.4.0", "1.0.0"] {
            let mut list = list(&[bridge(&ipam), record.clone()]);
            list["cniVersion"] = version.into();
            place.configure("10-test.conflist", &list);
            let told = [true, false].map(|is_ours| {
                drop(fs::remove_file(place.at("record")));
                let words = place.run(&rm, id, "true");
                let outcome = if is_ours { place.ours(&words) } else { place.theirs(&words) };
                assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{version}");
                let text = fs::read_to_string(place.at("record")).expect("what the plugin was told");
                text.lines().filter(|line| *line != "there").map(plain).collect::<Vec<_>>()
            });
            assert_eq!(told[0], told[1], "{version}");
            assert_eq!(told[0].len(), 4, "one at the beginning and one at the end");
        }
    });
}

/// A line of the record, without what chance decided.
fn plain(line: &str) -> Value {
    let Ok(mut request) = serde_json::from_str::<Value>(line) else { return line.into() };
    // The library leaves out what is empty.
    if let Some(result) = request.get_mut("prevResult").and_then(Value::as_object_mut)
        && result.get("dns") == Some(&json!({}))
    {
        result.remove("dns");
    }
    let interfaces = request.pointer_mut("/prevResult/interfaces").and_then(Value::as_array_mut);
    for interface in interfaces.into_iter().flatten() {
        interface["mac"] = "<chance>".into();
        for key in ["name", "sandbox"] {
            if interface[key]
                .as_str()
                .is_some_and(|text| text.starts_with("veth") || text.starts_with("/proc"))
            {
                interface[key] = "<chance>".into();
            }
        }
    }
    request
}

#[test]
fn a_container_that_is_left_alone_is_in_the_network_until_its_task_is_deleted() {
    everywhere(|place, id, flags| {
        place.configure("10-test.conflist", &list(&[host_local()]));
        let left = [&["-d", "--null-io"], flags].concat();
        place.ok(&place.run(&left, id, "exec sleep 1000"));
        let address = "10.99.7.2";
        assert!(place.kept().iter().any(|path| path.ends_with(address)), "{:?}", place.kept());
        said(&format!("{}/bin/busybox", place.root), &["ping", "-c", "1", "-W", "5", address]);
        // The configuration may go meanwhile: what was done is known.
        place.configure("10-other.conflist", &list(&[json!({"type": "nothing"})]));
        let exec = ["tasks", "exec", "--exec-id", "e", "--fifo-dir", flags[3], id, "ip", "-o", "address"];
        assert!(place.ok(&exec).contains(address));
        let deleted = place.ours(&["tasks", "rm", "-f", id]);
        assert!(deleted.code == 0 && !deleted.stderr.contains("network"), "{deleted:?}");
        assert_eq!(place.kept(), [""; 0]);
        place.ok(&["containers", "rm", id]);
        // What containerd's ctr made is taken back, too, and the other way round.
        place.configure("10-test.conflist", &list(&[host_local()]));
        for is_ours in [true, false] {
            let words = place.run(&left, id, "exec sleep 1000");
            let made = if is_ours { place.ours(&words) } else { place.theirs(&words) };
            assert_eq!(made.code, 0, "{made:?}");
            assert_eq!(place.kept().len(), 2, "{:?}", place.kept());
            if is_ours {
                place.theirs(&["tasks", "kill", "-s", "KILL", id]);
                assert_eq!(place.kept(), [""; 0]);
            }
            assert_eq!(place.ours(&["tasks", "rm", "-f", id]).code, 0);
            assert_eq!(place.kept(), [""; 0]);
            place.ok(&["containers", "rm", id]);
        }
    });
}

#[test]
fn a_network_that_fails_is_told_and_nothing_of_it_is_left() {
    everywhere(|place, id, flags| {
        let rm = [&["--rm"], flags].concat();
        let fails = |text: &str| {
            let outcome = place.ours(&place.run(&rm, id, "true"));
            assert_eq!(outcome.code, 1, "{outcome:?}");
            assert!(outcome.stderr.contains(text), "{outcome:?}");
            place.is_clean(id);
            assert_eq!(place.ok(&["containers", "ls", "-q"]), "");
            outcome
        };
        let none = fails("ctr: no network config found in /etc/cni/net.d: cni plugin not initialized\n");
        assert!(
            none.stderr.ends_with("hint: put a network's configuration into /etc/cni/net.d\n"),
            "{none:?}"
        );
        // The second of two says why it does not want to; the first takes back what it did.
        place.plugin("fail", "test $CNI_COMMAND = DEL || { echo '{\"code\": 7, \"msg\": \"no\", \"details\": \"never\"}'; exit 1; }\n");
        place.configure(
            "10-test.conflist",
            &list(&[host_local(), json!({"type": "record"}), json!({"type": "fail"})]),
        );
        fails("ctr: plugin type=\"fail\" failed (add): no; never\n");
        let record = fs::read_to_string(place.at("record")).expect("what the plugin was told");
        assert!(record.contains("ADD default-") && record.contains("DEL default-"), "{record}");
        place.configure("10-test.conflist", &list(&[host_local(), json!({"type": "nothing"})]));
        let missing = fails("plugin type=\"nothing\" failed (add): failed to find it in /opt/cni/bin");
        assert!(missing.stderr.contains("hint: install the plugins"), "{missing:?}");
        place.plugin("fail", "echo broken >&2; exit 3\n");
        place.configure("10-test.conflist", &list(&[json!({"type": "fail"})]));
        fails("plugin type=\"fail\" failed (add): netplugin failed: \"broken\\n\"");
        place.configure("10-test.conflist", &json!({"name": "test", "plugins": [{"type": "../fail"}]}));
        fails("invalid plugin name: ../fail: invalid cni config");
        let outcome = place.ours(&["run", "--cni", "--net-host", "--rootfs", &place.root, id, "true"]);
        assert!(outcome.code == 1 && outcome.stderr.contains("--net-host"), "{outcome:?}");
        // A plugin that does not give back does not change how the container ended.
        place.plugin("fail", "test $CNI_COMMAND = DEL && exit 1; echo '{}'\n");
        place.configure("10-test.conflist", &list(&[host_local(), json!({"type": "fail"})]));
        let outcome = place.ours(&place.run(&rm, id, "exit 6"));
        assert!(outcome.code == 6 && outcome.stderr.contains("failed to remove network"), "{outcome:?}");
        assert!(place.kept().iter().all(|path| path.contains("/results/")), "{:?}", place.kept());
        fs::remove_dir_all(place.at("lib/cni/results")).expect("a folder");
        // Any is there for the end of the test.
        place.configure("10-test.conflist", &list(&[host_local()]));
        place.ok(&place.run(&rm, id, "true"));
    });
}

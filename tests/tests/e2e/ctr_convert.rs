//! `corten ctr images convert` and `install` beside those of containerd's own `ctr`, at a containerd of Debian sid and at Corten.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use oci::digest::Digest;
use serde_json::{Value, json};
use tests::containerd::Containerd;
use tests::host::{Host, Outcome, executable, fixture, path_text, run_with_input};
use tests::network::said;
use tests::peers::program;

/// The two programs at one daemon, each in a namespace of its own.
struct Both {
    socket: PathBuf,
}

impl Both {
    fn ask(&self, program: &Path, before: &[&str], words: &[&str]) -> Outcome {
        let mut command = Command::new(program);
        command.args(before).args(["--address", path_text(&self.socket)]).args(words);
        command.env_remove("CONTAINERD_ADDRESS").env_remove("CONTAINERD_NAMESPACE");
        run_with_input(command, b"")
    }

    fn ours(&self, words: &[&str]) -> Outcome {
        self.ask(&executable("corten"), &["ctr", "-n", "ours"], words)
    }

    fn theirs(&self, words: &[&str]) -> Outcome {
        self.ask(&program("bin/ctr"), &["-n", "theirs"], words)
    }

    fn ok(&self, words: &[&str]) -> String {
        let outcome = self.ours(words);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{words:?}");
        outcome.stdout
    }

    /// Both do it, and print the same.
    fn same(&self, words: &[&str]) -> String {
        let (ours, theirs) = (self.ours(words), self.theirs(words));
        assert_eq!((ours.code, theirs.code), (0, 0), "{words:?}: {ours:?} {theirs:?}");
        assert_eq!(ours.stdout, theirs.stdout, "{words:?}");
        ours.stdout
    }

    /// Fails with `text`, and leaves neither names nor leases.
    fn fails(&self, words: &[&str], text: &str) {
        let before = self.ok(&["i", "ls", "-q"]);
        let outcome = self.ours(words);
        assert!(outcome.code == 1 && outcome.stderr.contains(text), "{words:?}: {outcome:?}");
        assert_eq!(self.ok(&["i", "ls", "-q"]), before, "{words:?}");
        assert_eq!(self.ok(&["leases", "ls", "-q"]), "", "{words:?}");
    }

    /// The blobs of each namespace with their labels, whatever the number of an entry in its document.
    fn blobs(&self) -> [BTreeSet<String>; 2] {
        ["ours", "theirs"].map(|namespace| {
            let text = self.ok(&["-n", namespace, "content", "ls"]);
            text.lines()
                .skip(1)
                .flat_map(|line| {
                    let mut columns = line.split('\t').map(str::trim);
                    let digest = columns.next().unwrap_or_default().to_owned();
                    let labels = columns.next_back().unwrap_or_default().to_owned();
                    let label = move |label: &str| match label.split_once('=') {
                        Some((key, value)) => {
                            format!("{digest} {}={value}", key.trim_end_matches(|c: char| c.is_ascii_digit()))
                        }
                        None => digest.clone(),
                    };
                    labels.split(',').map(label).collect::<Vec<_>>()
                })
                .collect()
        })
    }
}

fn everywhere(follow: impl Fn(&Both, &Path)) {
    let (host, containerd) = (Host::empty(), Containerd::start(&program("libexec/containerd"), ""));
    for socket in [containerd.socket(), host.state().join("corten.sock")] {
        let folder = tempfile::tempdir().expect("a folder");
        follow(&Both { socket }, folder.path());
    }
}

/// A folder of blobs that becomes an archive.
struct Layout(PathBuf);

impl Layout {
    fn new(folder: &Path) -> Layout {
        let layout = Layout(folder.join("layout"));
        fs::create_dir_all(layout.0.join("blobs/sha256")).expect("a folder");
        fs::write(layout.0.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("a file");
        layout
    }

    fn put(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        fs::write(self.0.join(digest.blob_path()), bytes).expect("a file");
        json!({"size": bytes.len(), "digest": digest.to_string(), "mediaType": media_type})
    }

    fn document(&self, media_type: &str, document: &Value) -> Value {
        self.put(media_type, document.to_string().as_bytes())
    }

    /// The archive, in which `target` has the name.
    fn archive(self, mut target: Value, name: &str) -> String {
        target["annotations"] = json!({"io.containerd.image.name": name});
        let index = json!({"schemaVersion": 2, "manifests": [target]});
        fs::write(self.0.join("index.json"), index.to_string()).expect("a file");
        let archive = path_text(&self.0.with_extension("tar")).to_owned();
        said("tar", &["-cf", &archive, "-C", path_text(&self.0), "."]);
        archive
    }
}

const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const NAME: &str = "example.test/image:1";

/// An image of Docker's kind in the layout `folder`: what skopeo makes of busybox, for several platforms.
fn docker_image(folder: &Path) -> String {
    let (layout, saved) = (Layout::new(folder), folder.join("saved"));
    let source = format!("tarball:{}", fixture("busybox.tar").display());
    let target = format!("dir:{}", saved.display());
    let form = ["--insecure-policy", "--format", "v2s2", "--dest-compress"];
    said("skopeo", &[&["copy", "-q"], &form[..], &[&source, &target]].concat());
    let read = |name: &str| fs::read(saved.join(name)).expect("a file");
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("a document");
    let manifest = parse(&read("manifest.json"));
    let name = |part: &Value| part["digest"].as_str().expect("a digest").replace("sha256:", "");
    let layer = layout.put(LAYER, &read(&name(&manifest["layers"][0])));
    let mut config = parse(&read(&name(&manifest["config"])));
    let entries = ["amd64", "arm64"].map(|architecture| {
        config["architecture"] = architecture.into();
        let config = layout.document(CONFIG, &config);
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
        let mut entry = layout.document(MANIFEST, &manifest);
        entry["platform"] = json!({"os": "linux", "architecture": architecture, "features": ["sse4"]});
        entry["annotations"] = json!({"z": "<1 & 2>", "a": "docker lists have none"});
        entry
    });
    let list = layout.document(LIST, &json!({"manifests": entries, "mediaType": LIST, "schemaVersion": 2}));
    layout.archive(list, NAME)
}

#[test]
fn an_image_becomes_what_containerds_ctr_makes_of_it() {
    everywhere(|both, folder| {
        let archive = docker_image(folder);
        both.same(&["i", "import", "--local", "--all-platforms", &archive]);
        let before = both.blobs();
        let flags = [
            "",
            "--oci",
            "--uncompress",
            "--oci --uncompress",
            "--oci --all-platforms",
            "--uncompress --all-platforms",
            "--platform linux/arm64 --oci",
            "--platform linux/amd64 --platform linux/arm64",
        ];
        let mut digests = BTreeSet::new();
        for (number, flags) in flags.iter().enumerate() {
            let target = format!("example.test/{number}");
            let flags: Vec<&str> = flags.split_whitespace().collect();
            digests.insert(both.same(&[&["i", "convert"], &flags[..], &[NAME, &target]].concat()));
        }
        // A name that somebody has is taken.
        both.same(&["i", "convert", NAME, "again"]);
        assert_eq!(
            both.same(&["i", "convert", "--oci", NAME, "again"]),
            both.same(&["i", "convert", "--oci", "again", "again"])
        );
        assert_eq!(digests.len(), flags.len(), "{digests:?}");
        let after = both.blobs();
        let [ours, theirs] = [0, 1].map(|side| after[side].difference(&before[side]).collect::<Vec<_>>());
        assert_eq!(ours, theirs, "new blobs and what they hold");
        // The image that they came from goes, with all that is only its own; the others stay whole.
        both.ok(&["i", "rm", "again"]);
        both.ok(&["i", "rm", "--sync", NAME]);
        let whole = both.ok(&["i", "check", "-q"]);
        assert_eq!(whole.lines().count(), flags.len() - 1, "all but that for another machine: {whole}");
        let id = format!("converted-{}", std::process::id());
        let cgroup = format!("/corten-{id}");
        let run = ["run", "--rm", "--cgroup", &cgroup, "example.test/3", &id, "echo", "it runs"];
        assert_eq!(both.ok(&run), "it runs\n");
    });
}

#[test]
fn a_layer_is_uncompressed_however_large_it_is() {
    everywhere(|both, folder| {
        let layout = Layout::new(folder);
        let script = "cd $0; head -c 20000000 /dev/urandom > random; head -c 100000000 /dev/zero > zeros; tar -cf layer random zeros";
        said("sh", &["-euc", script, path_text(folder)]);
        let plain = Digest::of(&fs::read(folder.join("layer")).expect("a file")).to_string();
        let size = fs::metadata(folder.join("layer")).expect("a file").len();
        said("gzip", &["-1", path_text(&folder.join("layer"))]);
        let layer = layout.put(LAYER, &fs::read(folder.join("layer.gz")).expect("a file"));
        let rootfs = json!({"type": "layers", "diff_ids": [plain]});
        let config = json!({"os": "linux", "architecture": "amd64", "config": {}, "rootfs": rootfs});
        let config = layout.document(CONFIG, &config);
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
        let target = layout.document(MANIFEST, &manifest);
        let archive = layout.archive(target, NAME);
        both.ok(&["i", "import", "--local", "--no-unpack", &archive]);
        let digest = both.ok(&["i", "convert", "--uncompress", NAME, "example.test/plain"]);
        let manifest = both.ok(&["content", "get", digest.trim()]);
        let manifest: Value = serde_json::from_str(&manifest).expect("a document");
        let kind = LAYER.trim_end_matches(".gzip");
        assert_eq!(manifest["layers"], json!([{"mediaType": kind, "digest": plain, "size": size}]));
    });
}

#[test]
fn what_cannot_be_converted_is_told_and_leaves_nothing() {
    everywhere(|both, folder| {
        let archive = docker_image(folder);
        both.ok(&["i", "import", "--local", "--no-unpack", &archive]);
        both.fails(&["i", "convert", NAME], "src and target image need to be specified");
        both.fails(&["i", "convert", "nope", "b"], "not found");
        both.fails(&["i", "convert", "--platform", "plan9/z80", NAME, "b"], "nothing for the platforms");
        both.fails(&["i", "convert", "--platform", "a/b/c/d", NAME, "b"], "a/b/c/d");
        both.fails(
            &["i", "convert", "--erofs", "raw", NAME, "b"],
            "--erofs is not supported: layers are tar",
        );
        // A layer that is not what its configuration says, and one that cannot be read.
        for (number, bytes) in [&b"other bytes"[..], b"\x1f\x8b\x08 not gzip"].into_iter().enumerate() {
            let folder = folder.join(number.to_string());
            let layout = Layout::new(&folder);
            let layer = layout.put(LAYER, bytes);
            let rootfs = json!({"type": "layers", "diff_ids": [Digest::of(b"what was meant").to_string()]});
            let config = layout.document(
                CONFIG,
                &json!({"os": "linux", "architecture": "amd64", "config": {}, "rootfs": rootfs}),
            );
            let manifest =
                json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
            let target = layout.document(MANIFEST, &manifest);
            let archive = layout.archive(target, "example.test/broken");
            both.ok(&["i", "import", "--local", "--no-unpack", &archive]);
            let digest = layer["digest"].as_str().expect("a digest");
            both.fails(&["i", "convert", "--uncompress", "example.test/broken", "b"], digest);
            both.ok(&["i", "convert", "--oci", "example.test/broken", "example.test/named"]);
        }
    });
}

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// An image with a layer for each script, which makes the layer's files where it stands.
fn scripted_image(folder: &Path, scripts: &[&str]) -> String {
    let layout = Layout::new(folder);
    let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
    for script in scripts {
        let files = tempfile::tempdir().expect("a folder");
        said("sh", &["-euc", &format!("cd {}\n{script}", files.path().display())]);
        let tar = Command::new("tar")
            .args(["--xattrs", "--xattrs-include=*", "-cf", "-", "-C", path_text(files.path()), "."])
            .output();
        let bytes = tar.expect("tar is installed").stdout;
        layers.push(layout.put("application/vnd.oci.image.layer.v1.tar", &bytes));
        diff_ids.push(Digest::of(&bytes).to_string());
    }
    let rootfs = json!({"type": "layers", "diff_ids": diff_ids});
    let config = json!({"os": "linux", "architecture": "amd64", "config": {}, "rootfs": rootfs});
    let config = layout.document(OCI_CONFIG, &config);
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers});
    let target = layout.document(OCI_MANIFEST, &manifest);
    layout.archive(target, NAME)
}

/// All below a folder: names, kinds, modes, owners, sizes, times, targets and what the files hold.
fn tree(folder: &Path) -> String {
    let script = "cd $0; find . -mindepth 1 ! -type d -printf '%P %y %m %U:%G %s %T@ %n %l\\n' | sort; \
                  find . -type f | sort | xargs -r cat";
    said("sh", &["-c", script, path_text(folder)])
}

#[test]
fn programs_of_an_image_are_installed() {
    everywhere(|both, folder| {
        let archive = scripted_image(
            folder,
            &[
                "mkdir -p bin/deep lib usr/bin; echo one > bin/one; chown 12:34 bin/one; chmod 4755 bin/one; ln -s one bin/link
                 ln bin/one bin/same; echo gone > bin/gone; echo twice > bin/twice; echo library > lib/library; echo no > usr/bin/no
                 python3 -c 'import os; os.setxattr(\"bin/one\", \"security.capability\", bytes.fromhex(\"0100000200040000\" + \"00\" * 12))'
                 echo no > bin/deep/no; touch -d 2001-02-03 bin/one lib/library",
                "mkdir bin; touch bin/.wh.gone; echo again > bin/twice; chmod 755 bin/twice",
            ],
        );
        for namespace in ["ours", "theirs"] {
            both.ok(&["-n", namespace, "i", "import", "--local", "--no-unpack", &archive]);
        }
        let (ours, theirs) = (folder.join("ours"), folder.join("theirs"));
        for flags in [&["--libs"][..], &[]] {
            // containerd's ctr takes a file that is in two layers for one that was there before.
            let install = [&["install", "--replace"], flags, &["--path"]].concat();
            both.ok(&[&install[..], &[path_text(&ours), NAME]].concat());
            fs::create_dir_all(&theirs).expect("a folder");
            let outcome = both.theirs(&[&install[..], &[path_text(&theirs), NAME]].concat());
            assert_eq!(outcome.code, 0, "{outcome:?}");
            let shown = tree(&ours);
            assert_eq!(shown, tree(&theirs));
            // Theirs takes it away again when it comes to the other link.
            let script = "import os, sys; print(len(os.getxattr(sys.argv[1], 'security.capability')))";
            assert_eq!(said("python3", &["-c", script, path_text(&ours.join("bin/one"))]), "20\n");
            assert!(shown.contains("bin/one f 4755 12:34 4 98") && shown.contains("again\n"), "{shown}");
            assert_eq!(shown.contains("lib/library"), !flags.is_empty(), "{shown}");
            assert!(!shown.contains("gone") && !shown.contains("no\n"), "{shown}");
            // What is there is left alone, all of it.
            fs::remove_file(ours.join("bin/one")).expect("a file");
            fs::write(ours.join("bin/twice"), "mine").expect("a file");
            let before = tree(&ours);
            let refused = both.ours(&["install", "--path", path_text(&ours), NAME]);
            let told = format!("in {}\nhint: --replace takes what is there away\n", ours.display());
            assert!(refused.code == 1 && refused.stderr.ends_with(&told), "{refused:?}");
            assert_eq!(tree(&ours), before);
            for folder in [&ours, &theirs] {
                fs::remove_dir_all(folder).expect("a folder");
            }
        }
        both.ok(&["install", "--path", path_text(&ours), NAME]);
        assert_eq!(fs::read_dir(&ours).expect("a folder").count(), 1, "bin, and nothing else");
    });
}

#[test]
fn programs_come_from_as_many_layers_as_there_are() {
    let folder = tempfile::tempdir().expect("a folder");
    // Together more than what may be under way at once.
    let scripts: Vec<String> = (0..8)
        .map(|number| {
            format!("mkdir bin share; echo {number} > bin/p{number}; head -c 16000000 /dev/zero > share/x")
        })
        .collect();
    let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();
    let archive = scripted_image(folder.path(), &scripts);
    let (host, target) = (Host::empty(), folder.path().join("target"));
    let both = Both { socket: host.state().join("corten.sock") };
    both.ok(&["i", "import", "--local", "--no-unpack", &archive]);
    both.ok(&["--timeout", "60s", "install", "--path", path_text(&target), NAME]);
    assert_eq!(fs::read_dir(target.join("bin")).expect("a folder").count(), 8);
}

#[test]
fn programs_are_installed_where_the_daemon_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let (opt, archive) =
        (folder.path().join("opt"), scripted_image(folder.path(), &["mkdir bin; echo one > bin/one"]));
    let extra = format!("[plugins.\"io.containerd.internal.v1.opt\"]\npath = {opt:?}\n");
    let containerd = Containerd::start(&program("libexec/containerd"), &extra);
    let both = Both { socket: containerd.socket() };
    both.ok(&["i", "import", "--local", "--no-unpack", &archive]);
    both.ok(&["install", NAME]);
    assert_eq!(fs::read_to_string(opt.join("bin/one")).expect("it is installed"), "one\n");
    for (words, text) in
        [(&["install"][..], "provide an image reference"), (&["install", "nope"], "not found")]
    {
        let outcome = both.ours(words);
        assert!(outcome.code == 1 && outcome.stderr.contains(text), "{outcome:?}");
    }
    let host = Host::empty();
    let both = Both { socket: host.state().join("corten.sock") };
    both.ok(&["i", "import", "--local", "--no-unpack", &archive]);
    let outcome = both.ours(&["install", NAME]);
    let told =
        "ctr: opt service not enabled\nhint: this daemon has no folder for programs: name one with --path\n";
    assert_eq!((outcome.code, outcome.stderr.as_str()), (1, told));
}

#[test]
fn what_is_no_program_is_told_and_nothing_is_installed() {
    let host = Host::empty();
    let both = Both { socket: host.state().join("corten.sock") };
    let target = host.path().join("target");
    for (number, (script, text)) in [
        (
            "mkdir bin usr; echo one > bin/one; echo x > usr/x; ln usr/x bin/two",
            "bin/two is a link to what is not installed",
        ),
        ("mkdir bin; echo one > bin/one; mkfifo bin/two", "bin/two is a fifo, and no program"),
        ("mkdir bin; echo one > bin/one; mknod bin/two c 1 3", "bin/two is a character device"),
    ]
    .into_iter()
    .enumerate()
    {
        let folder = tempfile::tempdir().expect("a folder");
        let archive = scripted_image(folder.path(), &[script]);
        let namespace = format!("n{number}");
        both.ok(&["-n", &namespace, "i", "import", "--local", "--no-unpack", &archive]);
        let outcome = both.ours(&["-n", &namespace, "install", "--path", path_text(&target), NAME]);
        assert!(outcome.code == 1 && outcome.stderr.contains(text), "{outcome:?}");
        assert_eq!(fs::read_dir(&target).expect("a folder").count(), 0, "{script}");
    }
}

//! What is between two snapshots: by containerd's own client, at a containerd of Debian and at Corten.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::containerd::Containerd;
use tests::host::{Host, path_text};
use tests::peers::{ctrs, program};

/// Steps from nothing to a snapshot: its name, and what is done to its files. What has no time of its own gets one.
const LAYERS: [(&str, &str); 3] = [
    (
        "base",
        "mkdir -p d/e f r; echo 1 >d/e/1; echo 2 >d/2; echo 3 >f/3; ln d/2 f/two; ln -s x f/l; mkfifo f/p; mknod f/null c 1 3
         echo gone >r/gone; echo w >same; truncate -s 100000 holes; printf x >>holes; echo z >x1; ln x1 x2; chown 5:6 d/2
         find . -exec touch -h -d @1600000000 {} +",
    ),
    (
        "middle",
        "echo middle >d/middle; rm r/gone; chmod 700 f; touch -h -d @1600000000 d r f; touch -d @1600000001 d/middle",
    ),
    (
        "top",
        "rm d/e/1; echo new >d/e/new; rm -rf r; echo file >r; echo more >>x1; ln -s elsewhere d/link; ln f/3 d/three; mknod b b 7 1
         chmod u+s same; find . -newermt @1600000002 -exec touch -h -d @1600000003 {} +; touch -d @1600000003 . d d/e f",
    ),
];

/// A containerd, by the `ctr` that is given.
struct Server {
    ctr: PathBuf,
    socket: PathBuf,
    folder: tempfile::TempDir,
}

impl Server {
    fn ctr(&self, words: &[&str]) -> Vec<u8> {
        let output = Command::new(&self.ctr)
            .arg("--address")
            .arg(&self.socket)
            .args(words)
            .output()
            .expect("it starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {words:?}: {told}", self.ctr.display());
        output.stdout
    }

    /// Makes all layers in a namespace, each on the one before.
    fn make(&self, namespace: &str, snapshotter: &str) {
        let point = self.folder.path().join("point");
        fs::create_dir_all(&point).expect("a mount point");
        let snapshots = ["-n", namespace, "snapshots", "--snapshotter", snapshotter];
        let ctr = |words: &[&str]| self.ctr(&[&snapshots, words].concat());
        let mut parent = "";
        for (name, script) in LAYERS {
            ctr(&["prepare", "work", parent]);
            let mount = String::from_utf8(ctr(&["mounts", path_text(&point), "work"])).expect("UTF-8");
            let script = format!("{mount}\ncd \"$0\"\n{script}");
            let status = Command::new("sh").args(["-euc", &script]).arg(&point).status().expect("it starts");
            assert!(Command::new("umount").arg(&point).status().expect("it starts").success());
            assert!(status.success(), "{script}");
            ctr(&["commit", name, "work"]);
            parent = name;
        }
    }

    /// The entries of the layer that makes one snapshot of the other, with what is in them.
    fn difference(&self, namespace: &str, snapshotter: &str, pair: &[&str], media_type: &str) -> Vec<String> {
        let words =
            ["-n", namespace, "snapshots", "--snapshotter", snapshotter, "diff", "--media-type", media_type];
        let layer = self.folder.path().join("layer");
        fs::write(&layer, self.ctr(&[&words, pair].concat())).expect("it is written");
        let tar = |words: &[&str]| {
            let output = Command::new("tar").args(words).arg("-f").arg(&layer).output().expect("it starts");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).expect("UTF-8")
        };
        let list = tar(&["--utc", "--full-time", "--numeric-owner", "-tv"]);
        let mut lines: Vec<String> = list.lines().map(without_time_of_marks).collect();
        lines.push(tar(&["-xO"]));
        lines
    }
}

/// containerd 1.6 says when it made a mark.
fn without_time_of_marks(line: &str) -> String {
    match line.rsplit_once(' ') {
        Some((rest, name)) if name.contains(".wh.") => {
            rest.split_whitespace().take(3).chain([name]).collect::<Vec<_>>().join(" ")
        }
        _ => line.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

#[test]
fn a_difference_has_the_entries_that_containerd_gives_it() {
    const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";
    const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    let host = Host::empty();
    let daemon = Containerd::start(Path::new("containerd"), "");
    let theirs = Server {
        ctr: program("old/bin/ctr"),
        socket: daemon.socket(),
        folder: tempfile::tempdir().expect("a folder"),
    };
    let ours = |ctr: &str| Server {
        ctr: program(ctr),
        socket: host.state().join("corten.sock"),
        folder: tempfile::tempdir().expect("a folder"),
    };
    // Its `native` forgets the times of the directories that it copies.
    theirs.make("default", "overlayfs");
    let pairs: [&[&str]; 6] =
        [&["base"], &["top"], &["base", "top"], &["top", "base"], &["middle", "base"], &["base", "middle"]];
    let expected = pairs.map(|pair| theirs.difference("default", "overlayfs", pair, PLAIN));
    assert!(expected.iter().all(|lines| lines.len() > 4), "{expected:#?}");
    // A copy stays one file with its other names.
    let seen = |snapshotter: &str, lines: &[String]| -> Vec<String> {
        lines.iter().filter(|line| snapshotter != "native" || !line.contains("x2")).cloned().collect()
    };
    for (ctr, peer) in ctrs(&host).iter().zip(["old/bin/ctr", "bin/ctr"]) {
        let (server, namespace) = (ours(peer), format!("n{}", ctr.version));
        for snapshotter in ["overlayfs", "native"] {
            server.make(&namespace, snapshotter);
            let cases = pairs.iter().zip(&expected).flat_map(|case| [(case, PLAIN), (case, GZIP)]);
            for ((pair, expected), media_type) in cases {
                let found = server.difference(&namespace, snapshotter, pair, media_type);
                let (found, expected) = (seen(snapshotter, &found), seen(snapshotter, expected));
                assert_eq!(found, expected, "{snapshotter} {pair:?} {media_type}");
            }
        }
    }
}

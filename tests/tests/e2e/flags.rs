//! Every flag is true: what Docker and nerdctl have is there or refused by name, and what a help lists works or says why not.
//!
//! The walk reads the helps, so that a command or flag that is added is walked without a word here. A flag or operand that
//! needs more than the usual value for its kind has a line in [`VALUES`] or [`OPERANDS`].

use std::collections::BTreeSet;
use std::process::Command;

use tests::host::{Host, Outcome, executable, path_text, run_with_input};

/// Docker's commands and flags: facts, one command on a line.
const DOCKER: &str = include_str!("flags/docker.txt");

/// nerdctl's.
const NERDCTL: &str = include_str!("flags/nerdctl.txt");

/// Seconds after which a command that waits or follows has shown that it takes the flag.
const FOLLOWED: &str = "4";

/// What flags are given that take more than any text; the first that fits counts.
const VALUES: [(&str, &str); 49] = [
    ("add-host", "a:10.0.0.1"),
    ("annotation", "a=b"),
    ("aux-address", "a=10.9.0.5"),
    ("cap-add", "CHOWN"),
    ("cap-drop", "CHOWN"),
    ("change", "ENV A=b"),
    ("cidfile", "{folder}/cid"),
    ("cpuset-cpus", "0"),
    ("cpuset-mems", "0"),
    ("detach-keys", "ctrl-x"),
    ("device", "/dev/null"),
    ("dns", "10.0.0.1"),
    ("driver", "local"),
    ("entrypoint", "true"),
    ("env-file", "/dev/null"),
    ("expose", "80"),
    ("filter", "label=a"),
    ("format", "json"),
    ("gateway", "10.9.0.1"),
    ("group-add", "0"),
    ("input", "{folder}/image.tar"),
    ("ip-range", "10.9.0.0/25"),
    ("ipc", "private"),
    ("label-file", "/dev/null"),
    ("link", "walk:other"),
    ("link-local-ip", "169.254.7.7"),
    ("log-driver", "json-file"),
    ("mac-address", "02:00:00:00:00:01"),
    ("mode", "dockercompat"),
    ("mount", "type=tmpfs,dst=/x"),
    ("network", "none"),
    ("output", "{folder}/output"),
    ("pid", "host"),
    ("pidfile", "{folder}/pid"),
    ("platform", "linux/amd64"),
    ("publish", "80"),
    ("pull", "never"),
    ("restart", "no"),
    ("security-opt", "no-new-privileges"),
    ("since", "1"),
    ("stop-signal", "TERM"),
    ("subnet", "10.9.0.0/24"),
    ("sysctl", "net.ipv4.ip_forward=0"),
    ("systemd", "true"),
    ("tmpfs", "/x"),
    ("ulimit", "nofile=64"),
    ("until", "1"),
    ("user", "0"),
    ("volume", "/x"),
];

/// What commands are given that their synopsis does not tell.
const OPERANDS: [(&str, &[&str]); 12] = [
    ("container cp", &["walk:/etc/passwd", "{folder}/copy"]),
    ("container exec", &["walk", "true"]),
    ("container rename", &["walk", "walk"]),
    ("container run", &["busybox", "true"]),
    ("container stats", &["--no-stream"]),
    ("container wait", &["ended"]),
    ("image import", &["{folder}/empty.tar"]),
    ("image load", &["-i", "{folder}/image.tar"]),
    ("network create", &["--subnet", "10.9.0.0/24", "walked"]),
    ("network disconnect", &["walk", "walk"]),
    ("system events", &["--until", "1"]),
    ("completion", &["bash"]),
];

/// A flag as a help shows it.
#[derive(Debug)]
struct Flag {
    letter: Option<String>,
    name: String,
    /// What its value is called; none for a switch.
    kind: Option<String>,
}

fn flags(help: &str) -> Vec<Flag> {
    let lines = help.lines().skip_while(|line| !line.ends_with("Options:")).skip(1);
    let flag = |line: &str| {
        let head = line.get(2..)?;
        let (letter, rest) = head.split_once("--").map(|(letter, rest)| (letter.trim(), rest))?;
        // A line that goes on with the text of the flag above is indented further.
        if !letter.is_empty() && !letter.starts_with('-') || line.starts_with("       ") {
            return None;
        }
        let head = rest.split("   ").next().unwrap_or_default();
        let mut words = head.split(' ');
        Some(Flag {
            letter: (!letter.is_empty()).then(|| letter.trim_end_matches(',').to_owned()),
            name: words.next().unwrap_or_default().to_owned(),
            kind: words.next().map(str::to_owned),
        })
    };
    lines.filter_map(flag).filter(|flag| flag.name != "help").collect()
}

/// The commands that a help lists under titles that end in `Commands:`.
fn commands(help: &str) -> BTreeSet<String> {
    let mut is_list = false;
    let mut found = BTreeSet::new();
    for line in help.lines() {
        if !line.starts_with(' ') {
            is_list = line.ends_with("Commands:");
        } else if is_list {
            found.extend(line.split_whitespace().next().map(str::to_owned));
        }
    }
    found
}

/// Every command by its longest path, with its help.
fn tree(host: &Host) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    for first in commands(&host.ok(&["--help"])) {
        // These are applets for the daemon's administrator.
        if first == "daemon" || first == "config" {
            continue;
        }
        let help = host.ok(&[&first, "--help"]);
        let below = commands(&help);
        match below.is_empty() {
            true => paths.push((first, help)),
            false => paths.extend(below.into_iter().map(|verb| {
                let help = host.ok(&[&first, &verb, "--help"]);
                (format!("{first} {verb}"), help)
            })),
        }
    }
    // A shortcut's help names the path in its group; walking it once is enough.
    let is_shortcut = |help: &str, path: &str| {
        let names = help.lines().skip_while(|line| *line != "Aliases:").nth(1).unwrap_or_default();
        !path.contains(' ') && names.split(',').any(|name| name.trim().matches(' ').count() == 2)
    };
    paths.retain(|(path, help)| !is_shortcut(help, path));
    paths
}

#[test]
fn every_flag_of_dockers_is_there_or_refused_by_name() {
    let host = Host::empty();
    table(DOCKER).for_each(|(path, names)| there_or_refused(&host, path, names));
}

#[test]
fn every_flag_of_nerdctls_is_there_or_refused_with_a_reason() {
    let host = Host::empty();
    table(NERDCTL).for_each(|(path, names)| there_or_refused(&host, path, names));
    for (words, reason) in [
        (
            &["image", "convert", "a", "b"][..],
            "`corten image convert` is not there: the other forms of images",
        ),
        (&["--snapshotter", "stargz", "ps"], "there is only \"overlayfs\""),
        (&["ps", "--cgroup-manager=systemd"], "there is only \"cgroupfs\""),
        (&["inspect", "--mode", "native", "x"], "--mode=native of `corten inspect` is not there"),
        (&["run", "--systemd=often", "x"], "it is one of \"always\", \"true\", \"false\""),
        (&["run", "--rootfs", "/x"], "hint: `import` makes one of a folder's archive"),
    ] {
        let refusal = host.run(words);
        assert!(refusal.code != 0 && refusal.stderr.contains(reason), "{words:?}: {refusal:?}");
    }
    let so =
        ["--snapshotter", "overlayfs", "--cgroup-manager=cgroupfs", "ps", "-q", "--storage-driver=overlayfs"];
    assert_eq!(host.ok(&so), "");
}

/// The lines of a list: a command's path and its flags.
fn table(text: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(':').expect("COMMAND: FLAGS"))
}

fn there_or_refused(host: &Host, path: &str, names: &str) {
    let is_refusal = |text: &str| text.contains(" is not there yet") || text.contains(" is not there: ");
    let words: Vec<&str> = path.split_whitespace().collect();
    let help = host.run(&[&words[..], &["--help"]].concat());
    if help.code != 0 {
        assert!(is_refusal(&help.stderr), "{path}: {help:?}");
        return;
    }
    let there = flags(&help.stdout);
    for name in names.split_whitespace() {
        let (name, letter) = name.split_once('/').map_or((name, None), |(name, letter)| (name, Some(letter)));
        if let Some(flag) = there.iter().find(|flag| flag.name == name) {
            let own = flag.letter.as_deref().map(|own| own.trim_start_matches('-'));
            assert!(letter.is_none() || own == letter, "{path} --{name} is not -{letter:?}");
            continue;
        }
        let forms = [Some(format!("--{name}")), letter.map(|letter| format!("-{letter}"))];
        for form in forms.into_iter().flatten() {
            let told = host.run(&[&words[..], &[&form]].concat());
            // Another word for a flag, or one that no help shows, wants its value; a switch is taken.
            let is_known = told.stderr.contains("flag needs an argument") || told.code == 0;
            let is_named = told.stderr.contains(&format!("flag --{name} of `")) && is_refusal(&told.stderr);
            assert!(is_named || is_known, "{path} {form}: {told:?}");
        }
    }
}

/// A walk over the flags of some commands, with what they work on.
struct Walk {
    host: Host,
    folder: tempfile::TempDir,
}

impl Walk {
    fn new() -> Walk {
        let host = Host::start();
        let folder = tempfile::Builder::new().prefix("corten-walk-").tempdir().expect("a folder");
        std::fs::copy(tests::host::fixture("busybox.tar"), folder.path().join("image.tar"))
            .expect("the fixture");
        let empty = [0; 1024];
        std::fs::write(folder.path().join("empty.tar"), empty).expect("it is written");
        Walk { host, folder }
    }

    /// Makes what the flag before may have taken away.
    fn prepare(&self) {
        let host = &self.host;
        if host.run(&["image", "inspect", "busybox"]).code != 0 {
            host.ok(&["import", path_text(&self.folder.path().join("image.tar")), "busybox:latest"]);
        }
        if host.run(&["start", "walk"]).code != 0 {
            host.run(&["rm", "-f", "walk"]);
            host.ok(&["run", "-d", "--name", "walk", "--label", "a", "busybox", "sleep", "100000"]);
        }
        if host.run(&["inspect", "ended"]).code != 0 {
            host.ok(&["run", "--name", "ended", "busybox", "true"]);
        }
        host.run(&["network", "create", "--subnet", "10.8.0.0/24", "walk"]);
        host.run(&["volume", "create", "walk"]);
        host.run(&["network", "rm", "walked"]);
        std::fs::remove_file(self.folder.path().join("cid")).ok();
    }

    /// Words for each of the operands in a synopsis.
    fn operands(&self, path: &str, help: &str) -> Vec<String> {
        let known = OPERANDS.iter().find(|(known, _)| *known == path).map(|(_, words)| words.to_vec());
        let words = known.unwrap_or_else(|| {
            let usage = help.lines().next().unwrap_or_default();
            let names = usage
                .split_whitespace()
                .filter(|word| word.chars().all(|c| c.is_uppercase() || "_|".contains(c)));
            names
                .map(|name| match name {
                    "IMAGE" | "SOURCE_IMAGE" | "NAME" => "busybox",
                    "TARGET_IMAGE" => "other",
                    "TERM" => "127.0.0.1:9/term",
                    _ => "walk",
                })
                .collect()
        });
        words.into_iter().map(|word| self.fill(word)).collect()
    }

    fn fill(&self, word: &str) -> String {
        word.replace("{folder}", path_text(self.folder.path()))
    }

    fn value(&self, flag: &Flag) -> Option<String> {
        let kind = flag.kind.as_deref()?;
        let known = VALUES.iter().find(|(name, _)| *name == flag.name).map(|(_, value)| *value);
        Some(self.fill(known.unwrap_or(match kind {
            "bytes" => "64m",
            "int" | "uint" | "uint16" | "decimal" => "1",
            "duration" => "1s",
            "map" => "a=b",
            _ => "x",
        })))
    }

    /// Runs a command until it ends, or long enough to see that it goes on.
    fn run(&self, words: &[String]) -> Outcome {
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", FOLLOWED]).arg(executable("corten")).args(words);
        command.env("DOCKER_HOST", self.host.address()).env("DOCKER_CONFIG", self.folder.path());
        // Who asks whether to go on is told to.
        run_with_input(command, b"y\n")
    }

    /// Uses every flag of a command once.
    fn walk(&self, path: &str, help: &str) {
        for flag in flags(help) {
            self.prepare();
            let mut words: Vec<String> = path.split(' ').map(str::to_owned).collect();
            words.push(format!("--{}", flag.name));
            words.extend(self.value(&flag));
            words.extend(self.operands(path, help));
            let outcome = self.run(&words);
            let told = outcome.stderr.trim();
            let is_unread =
                ["unknown flag", "unexpected", "panicked", "unknown shorthand", "needs an argument"];
            assert!(!is_unread.iter().any(|text| told.contains(text)), "corten {words:?}: {outcome:?}");
            // Below 0 it was still going when its time was over.
            assert!(outcome.code <= 0 || !told.is_empty(), "corten {words:?}: {outcome:?}");
        }
    }
}

#[test]
fn every_flag_of_run_and_create_works_or_says_why_not() {
    let walk = Walk::new();
    for (path, help) in tree(&walk.host).iter().filter(|(path, _)| is_about_making(path)) {
        walk.walk(path, help);
    }
}

#[test]
fn every_flag_of_the_other_commands_works_or_says_why_not() {
    let walk = Walk::new();
    let tree = tree(&walk.host);
    assert!(tree.len() > 40, "{tree:?}");
    for (path, help) in tree.iter().filter(|(path, _)| !is_about_making(path)) {
        walk.walk(path, help);
    }
}

fn is_about_making(path: &str) -> bool {
    path == "container run" || path == "container create"
}

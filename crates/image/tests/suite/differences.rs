//! Layers of two trees: what is made of the left one with them is the right one.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::{Difference, LayerCompression, LayerPlace, Whiteouts};
use proptest::prelude::*;

use crate::sandbox::{Sandbox, sampled};
use crate::tree::{self, Node};

/// One thing that somebody does in a tree, as lines of a shell; `$a` and `$b` are paths of it. What a shell cannot do is one word.
const DEEDS: [&str; 20] = [
    "[ -p $a ] || echo new >$a",
    "[ -p $a ] || echo more >>$a",
    "rm -rf $a",
    "rm -rf $a; mkdir $a; echo in >$a/in",
    "rm -rf $a; ln -s $b $a",
    "mkdir -p $a/c",
    "ln -f $b $a",
    "mv -T $a $b",
    "chmod 0701 $a",
    "chmod 4755 $a",
    "chown 1:2 $a",
    "set",
    "unset",
    "rm -rf $a; mknod $a c 1 3",
    "rm -rf $a; mkfifo $a",
    "touch -h -d @1000000000 $a",
    "cp -a $a $a.copy && mv -T $a.copy $a",
    "rm -rf $a; truncate -s 70000 $a; echo end >>$a",
    "listen",
    "rm -rf $a; mkdir $a; touch $a/1 $a/2 $a/3",
];

/// Few, so that they meet.
const PATHS: [&str; 9] = ["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "e", "e/long name"];

type Deed = (usize, usize, usize);

fn deeds(most: usize) -> impl Strategy<Value = Vec<Deed>> {
    prop::collection::vec((0..DEEDS.len(), 0..PATHS.len(), 0..PATHS.len()), 0..most)
}

/// Does them in a directory; what cannot be done is left.
fn act(directory: &Path, deeds: &[Deed]) {
    for deeds in
        deeds.chunk_by(|(deed, ..), (next, ..)| DEEDS[*deed].contains(' ') && DEEDS[*next].contains(' '))
    {
        let lines = deeds.iter().map(|(deed, a, b)| {
            format!("a='{}' b='{}'; {{ {}; }} 2>/dev/null\n", PATHS[*a], PATHS[*b], DEEDS[*deed])
        });
        let path = directory.join(PATHS[deeds[0].1]);
        match DEEDS[deeds[0].0] {
            "set" => set_attribute(&path, PATHS[deeds[0].2]),
            "unset" => drop(rustix::fs::lremovexattr(&path, "user.n")),
            "listen" => {
                let _ = fs::remove_file(&path);
                drop(UnixListener::bind(&path));
            }
            _ => sh(&("set -f; IFS=\n".to_owned() + &lines.collect::<String>() + "true"), directory),
        }
    }
}

/// Not of directories: who writes a layer over a directory adds to its attributes, as containerd does, and takes none away.
fn set_attribute(path: &Path, value: &str) {
    if path.is_dir() && !path.is_symlink() {
        return;
    }
    let _ = rustix::fs::lsetxattr(path, "user.n", value.as_bytes(), rustix::fs::XattrFlags::empty());
}

fn sh(script: &str, directory: &Path) {
    let run = Command::new("sh").args(["-c", script]).current_dir(directory).status().unwrap();
    assert!(run.success(), "{script}");
}

/// Mounts an overlay while `work` is done; `upper` is not there for one that is only looked at.
fn mounted<T>(layers: &[PathBuf], upper: Option<&Path>, work: impl FnOnce(&Path) -> T) -> T {
    let parent = layers[0].parent().unwrap();
    let (point, workdir, none) = (parent.join("point"), parent.join("workdir"), parent.join("none"));
    for path in [&point, &workdir, &none] {
        fs::create_dir_all(path).unwrap();
    }
    let lower: Vec<String> =
        layers.iter().chain([&none]).map(|layer| layer.to_str().unwrap().to_owned()).collect();
    let mut options = format!("lowerdir={}", lower.join(":"));
    if let Some(upper) = upper {
        options += &format!(",upperdir={},workdir={}", upper.display(), workdir.display());
    }
    let status =
        Command::new("mount").args(["-t", "overlay", "-o", &options, "overlay"]).arg(&point).status();
    assert!(status.unwrap().success(), "mounting needs root");
    let done = work(&point);
    assert!(Command::new("umount").arg(&point).status().unwrap().success());
    fs::remove_dir_all(&workdir).unwrap();
    done
}

/// What of a tree can be in a layer: no sockets, no parts of seconds, no times of directories that nothing was written of.
fn seen(root: &Path) -> Vec<(PathBuf, Node)> {
    let is_socket = |node: &Node| node.mode & 0o170_000 == 0o140_000;
    let is_directory = |node: &Node| node.mode & 0o170_000 == 0o040_000;
    let mut nodes = tree::read(root);
    nodes.retain(|(path, node)| !is_socket(node) && !path.as_os_str().is_empty());
    for (_, node) in &mut nodes {
        node.mtime = if is_directory(node) { (0, 0) } else { (node.mtime.0, 0) };
        node.xattrs.retain(|(name, _)| !name.starts_with("trusted.overlay."));
    }
    nodes
}

struct Trees<'a> {
    sandbox: &'a Sandbox,
    folder: tempfile::TempDir,
}

impl Trees<'_> {
    fn new(sandbox: &Sandbox) -> Trees<'_> {
        Trees { sandbox, folder: tempfile::tempdir_in(sandbox.path()).unwrap() }
    }

    fn directory(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    }

    fn copy(&self, from: &Path, name: &str) -> PathBuf {
        let to = self.folder.path().join(name);
        assert!(Command::new("cp").arg("-a").arg(from).arg(&to).status().unwrap().success());
        to
    }

    fn layer(&self, left: &[PathBuf], right: &[PathBuf]) -> Vec<u8> {
        let (left, right) = (left.to_vec(), right.to_vec());
        let difference = Difference { left, right, compression: LayerCompression::None, epoch_s: None };
        let mut layer = Vec::new();
        let packed = self.sandbox.images.pack_layer(&difference, &mut layer);
        let digest = packed.unwrap_or_else(|error| panic!("{}", error.chain()));
        assert_eq!(digest, oci::digest::Digest::of(&layer));
        layer
    }

    fn apply(&self, layer: &[u8], upper: &Path, lowers: &[PathBuf], whiteouts: Whiteouts) {
        let place =
            LayerPlace { upper: upper.to_owned(), lowers: lowers.to_vec(), whiteouts, is_synced: false };
        let input = self.sandbox.input(layer).into();
        let applied = self.sandbox.images.apply_layer(&input, true, &place);
        applied.unwrap_or_else(|error| panic!("{}", error.chain()));
    }
}

/// Trees of copies, as `native` has them.
fn check_copies(sandbox: &Sandbox, before: &[Deed], after: &[Deed]) -> Result<(), TestCaseError> {
    let trees = Trees::new(sandbox);
    let left = trees.directory("left");
    act(&left, before);
    let right = trees.copy(&left, "right");
    act(&right, after);
    let layer = trees.layer(std::slice::from_ref(&left), std::slice::from_ref(&right));
    trees.apply(&layer, &left, &[], Whiteouts::Delete);
    prop_assert_eq!(seen(&left), seen(&right));
    Ok(())
}

/// Trees of layers that are two apart, and the other way round.
fn check_overlays(sandbox: &Sandbox, deeds: [&[Deed]; 3]) -> Result<(), TestCaseError> {
    let trees = Trees::new(sandbox);
    let [base, middle, top, back] = ["base", "middle", "top", "back"].map(|name| trees.directory(name));
    act(&base, deeds[0]);
    let left = vec![base.clone()];
    mounted(&left, Some(&middle), |point| act(point, deeds[1]));
    let between = vec![middle.clone(), base.clone()];
    mounted(&between, Some(&top), |point| act(point, deeds[2]));
    let right = vec![top, middle, base.clone()];
    let [expected, old] = [&right, &left].map(|layers| mounted(layers, None, seen));
    let copy = trees.copy(&base, "copy");
    let layer = trees.layer(&left, &right);
    trees.apply(&layer, &copy, &[], Whiteouts::Delete);
    prop_assert_eq!(seen(&copy), expected.clone(), "a copy");
    let again = trees.directory("again");
    trees.apply(&layer, &again, &left, Whiteouts::Hide);
    let found = mounted(&[again, base], None, seen);
    prop_assert_eq!(found, expected, "an overlay");
    trees.apply(&trees.layer(&right, &left), &back, &right, Whiteouts::Hide);
    let layers: Vec<PathBuf> = std::iter::once(back).chain(right).collect();
    prop_assert_eq!(mounted(&layers, None, seen), old, "back");
    Ok(())
}

fn run<S: Strategy>(strategy: &S, check: impl Fn(&Sandbox, S::Value) -> Result<(), TestCaseError>) {
    sampled("differences", 40, strategy, check);
}

#[test]
fn a_copy_becomes_the_other_by_their_difference() {
    run(&(deeds(25), deeds(15)), |sandbox, (before, after)| check_copies(sandbox, &before, &after));
}

#[test]
fn layers_that_are_more_than_one_apart_have_a_difference() {
    run(&(deeds(25), deeds(12), deeds(12)), |sandbox, (base, middle, top)| {
        check_overlays(sandbox, [&base, &middle, &top])
    });
}

/// The entries of the layer between two trees that were made by scripts, as GNU tar lists them.
fn listed(before: &str, after: &str) -> Vec<String> {
    let sandbox = Sandbox::new();
    let trees = Trees::new(&sandbox);
    let left = trees.directory("left");
    sh(before, &left);
    let right = trees.copy(&left, "right");
    match after.strip_prefix("set ") {
        Some(path) => set_attribute(&right.join(path), "v"),
        None => sh(after, &right),
    }
    let layer = trees.folder.path().join("layer");
    fs::write(&layer, trees.layer(&[left], &[right])).unwrap();
    let list = Command::new("tar").args(["--utc", "--numeric-owner", "-tvf"]).arg(&layer).output().unwrap();
    let text = String::from_utf8(list.stdout).unwrap();
    let name = |line: &str| line.split_whitespace().skip(5).collect::<Vec<_>>().join(" ");
    text.lines().map(|line| format!("{} {}", &line[..1], name(line))).collect()
}

#[test]
fn a_layer_has_what_differs_and_the_directories_that_it_is_in() {
    let tree =
        "mkdir -p d/e f; echo 1 >d/e/1; echo 2 >d/2; echo 3 >f/3; ln d/2 f/two; ln -s x f/l; mkfifo f/p";
    for (after, expected) in [
        ("true", &[][..]),
        ("touch d; chmod 755 f", &[]),
        ("echo 9 >d/e/1", &["d d/", "d d/e/", "- d/e/1"]),
        ("cat d/e/1 >t; mv t d/e/1", &["d d/", "d d/e/", "- d/e/1"]),
        ("cp -a d/e/1 t; mv t d/e/1", &[]),
        ("rm -r d/e", &["d d/", "- d/.wh.e"]),
        ("rm -r d; echo >d", &["- d"]),
        ("chmod 700 d/e", &["d d/", "d d/e/"]),
        ("echo 9 >>d/2", &["d d/", "- d/2", "d f/", "h f/two link to d/2"]),
        ("rm f/two; cp -a d/2 f/two", &["d f/", "- f/two"]),
        ("ln f/l f/m", &["d f/", "l f/m -> x", "h f/l link to f/m"]),
        ("set f/3", &["d f/", "- f/3"]),
        ("touch -h -d @1 f/l; touch -d @1 f/p", &["d f/", "l f/l -> x", "p f/p"]),
        (
            "touch -d @5 f/3; truncate -s 0 d/e/1; touch -d @5 d/e/1",
            &["d d/", "d d/e/", "- d/e/1", "d f/", "- f/3"],
        ),
    ] {
        assert_eq!(listed(tree, after), expected, "{after}");
    }
}

#[test]
fn a_time_in_whole_seconds_says_nothing_about_the_content() {
    let at = |text: &str| format!("echo {text} >f; touch -d @1000 f");
    assert_eq!(listed(&at("one"), &at("two")), ["- f"]);
    assert_eq!(listed(&at("one"), &at("one")), [] as [&str; 0]);
}

#[test]
fn what_is_called_like_a_whiteout_or_lies_elsewhere_is_in_no_layer() {
    let sandbox = Sandbox::new();
    let trees = Trees::new(&sandbox);
    let (left, right) = (trees.directory("left"), trees.directory("right"));
    fs::create_dir(left.join("d")).unwrap();
    let refused = |left: &Path, right: &Path| {
        let (left, right) = (vec![left.to_owned()], vec![right.to_owned()]);
        let difference = Difference { left, right, compression: LayerCompression::None, epoch_s: None };
        sandbox.images.pack_layer(&difference, &mut Vec::new()).unwrap_err().chain()
    };
    fs::write(right.join(".wh.x"), "").unwrap();
    assert!(refused(&left, &right).contains(".wh.x"));
    fs::remove_file(right.join(".wh.x")).unwrap();
    fs::create_dir(right.join("d")).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(right.join("d"), "trusted.overlay.redirect", b"/e", flags).unwrap();
    assert!(refused(&left, &right).contains("cross-device"), "{}", refused(&left, &right));
    assert!(refused(&right, &left).contains("cross-device"));
}

#[test]
fn holes_are_compared_and_packed_as_zeros() {
    let sandbox = Sandbox::new();
    let trees = Trees::new(&sandbox);
    let (left, right) = (trees.directory("left"), trees.directory("right"));
    let make =
        "truncate -s 3000000 holes; touch -d @7 holes; head -c 3000000 /dev/zero >zeros; touch -d @7 zeros";
    sh(make, &left);
    for (from, to) in [("holes", "zeros"), ("zeros", "holes")] {
        fs::copy(left.join(from), right.join(to)).unwrap();
        assert!(Command::new("touch").args(["-d", "@7"]).arg(right.join(to)).status().unwrap().success());
    }
    assert_eq!(fs::metadata(left.join("holes")).unwrap().len(), 3_000_000);
    assert_eq!(trees.layer(std::slice::from_ref(&left), std::slice::from_ref(&right)).len(), 1024);
    let all = trees.layer(&[], &[right, left]);
    assert!(all.len() > 6_000_000, "without anything below, all of it is in the layer");
}

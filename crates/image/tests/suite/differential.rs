//! Against GNU tar: what it unpacks and what it packs is what we unpack.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use crate::sandbox::{Sandbox, sampled};
use crate::tarball::{Header, Tarball, seal};
use crate::tree;

/// What one generated entry is made of. Indices choose among what is there already.
#[derive(Debug, Clone)]
struct Seed {
    kind: u8,
    parent: prop::sample::Index,
    other: prop::sample::Index,
    name: String,
    mode: u32,
    owner: (u64, u64),
    mtime: u64,
    nanoseconds: Option<u32>,
    content: Vec<u8>,
    xattr: Option<Vec<u8>>,
    by: Naming,
}

/// How an entry's name gets into the archive.
#[derive(Debug, Clone, Copy)]
enum Naming {
    Header,
    Pax,
    Gnu,
}

fn seeds() -> impl Strategy<Value = Vec<Seed>> {
    let name = prop_oneof!["[a-e]", "[a-e]{1,3}", "[ -.0-~]{1,12}", "n{60,90}", "ä{1,40}"];
    let naming = prop_oneof![Just(Naming::Header), Just(Naming::Pax), Just(Naming::Gnu)];
    let identity = prop_oneof![Just(0u64), 1..70_000u64, Just(4_000_000_000u64)];
    let seed = (
        (
            prop::sample::select(b"0000555123467".to_vec()),
            any::<prop::sample::Index>(),
            any::<prop::sample::Index>(),
        ),
        (name, 0..0o10000u32, (identity.clone(), identity), 0..4_000_000_000u64),
        prop::option::of(0..1_000_000_000u32),
        prop::collection::vec(any::<u8>(), 0..2000),
        prop::option::of(prop::collection::vec(any::<u8>(), 1..20)),
        naming,
    )
        .prop_map(
            |((kind, parent, other), (name, mode, owner, mtime), nanoseconds, content, xattr, by)| Seed {
                kind,
                parent,
                other,
                name,
                mode,
                owner,
                mtime,
                nanoseconds,
                content,
                xattr,
                by,
            },
        );
    prop::collection::vec(seed, 1..40)
}

/// An archive on whose meaning every reader agrees: parents come first, directories are not replaced.
fn archive(seeds: &[Seed]) -> Vec<u8> {
    let mut archive = Tarball::new().directory("./");
    let mut directories = vec![String::new()];
    let mut files: Vec<String> = Vec::new();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for seed in seeds {
        let parent = seed.parent.get(&directories).clone();
        let path = format!("{parent}{}", seed.name);
        let is_special_name = matches!(seed.name.as_str(), "." | "..") || seed.name.starts_with(".wh.");
        if is_special_name || directories.contains(&format!("{path}/")) || path.len() > 900 {
            continue;
        }
        let mut header = Header {
            mode: seed.mode,
            uid: seed.owner.0,
            gid: seed.owner.1,
            mtime: seed.mtime,
            ..Header::new(seed.kind, &path)
        };
        let mut content: &[u8] = &[];
        match seed.kind {
            b'5' if taken.contains(&path) => continue,
            b'5' => directories.push(format!("{path}/")),
            b'1' if files.is_empty() => continue,
            b'1' => header.link = seed.other.get(&files).clone().into_bytes(),
            b'2' => header.link = b"some/where/else".to_vec(),
            b'3' | b'4' => header.device = (1, 3 + seed.mode % 200),
            b'6' => {}
            _ => content = &seed.content,
        }
        if header.link == path.as_bytes() {
            continue;
        }
        if matches!(seed.kind, b'0' | b'7') {
            files.retain(|file| *file != path);
            files.push(path.clone());
        } else {
            files.retain(|file| *file != path);
        }
        taken.insert(path.clone());
        archive = write(archive, seed, header, content);
    }
    archive.finish()
}

fn write(mut archive: Tarball, seed: &Seed, header: Header, content: &[u8]) -> Tarball {
    let mtime = seed.nanoseconds.map(|nanoseconds| format!("{}.{nanoseconds:09}", seed.mtime));
    let mut records: Vec<(&str, &[u8])> = Vec::new();
    if let Some(mtime) = &mtime {
        records.push(("mtime", mtime.as_bytes()));
    }
    if let (Some(value), b'0' | b'5' | b'7') = (&seed.xattr, seed.kind) {
        records.push(("SCHILY.xattr.user.test", value));
    }
    let is_long = header.name.len() > 100 || header.link.len() > 100;
    let by = match seed.by {
        Naming::Header if is_long => Naming::Pax,
        by => by,
    };
    match by {
        Naming::Header => {}
        Naming::Pax => {
            records.push(("path", &header.name));
            if !header.link.is_empty() {
                records.push(("linkpath", &header.link));
            }
        }
        Naming::Gnu => {
            if !header.link.is_empty() {
                archive = archive.long(b'K', &header.link);
            }
            archive = archive.long(b'L', &header.name);
        }
    }
    if !records.is_empty() {
        archive = archive.pax(&records);
    }
    archive.add(&header, content)
}

fn gnu_tar(arguments: &[&str], folder: &Path, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("tar")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // It may end before it has read everything.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert!(output.status.success(), "tar {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn generated_archives_mean_what_gnu_tar_unpacks() {
    sampled("generated", 60, &seeds(), |sandbox, seeds| {
        let archive = archive(&seeds);
        let theirs = tempfile::tempdir_in(sandbox.path()).unwrap();
        let extract = [
            "-xpf",
            "-",
            "--numeric-owner",
            "--same-owner",
            "--xattrs",
            "--xattrs-include=*",
            "--warning=no-timestamp",
            "--delay-directory-restore",
        ];
        gnu_tar(&extract, theirs.path(), &archive);
        let ours = sandbox.unpacked(&archive).unwrap_or_else(|error| panic!("{}", error.chain()));
        let (ours, theirs) = (tree::read(&ours), tree::read(theirs.path()));
        prop_assert_eq!(ours, theirs);
        Ok(())
    });
}

#[test]
fn trees_packed_by_gnu_tar_in_every_format_come_out_the_same() {
    let sandbox = Sandbox::new();
    let source = sandbox.path().join("source");
    fs::create_dir(&source).unwrap();
    let long = "long-".repeat(30);
    let script = format!(
        "mkdir -p a/b d/{long}; echo hello >a/b/file; ln a/b/file a/hard; ln -s b/file a/link; chmod 4711 a/b/file
         truncate -s 3000000 d/holes; printf x | dd of=d/holes bs=1 seek=1000000 conv=notrunc status=none
         for n in $(seq 1 40); do printf y | dd of=d/many bs=1 seek=$((n * 300000)) conv=notrunc status=none; done
         truncate -s 20000000 d/many; truncate -s 5000000 d/empty; head -c 300000 /dev/zero >d/zeros
         echo deep >d/{long}/file; mkfifo fifo; mknod null c 1 3; mknod disk b 7 3; chown 1000:2000 a; touch -d @123456789 a d"
    );
    assert!(Command::new("sh").args(["-euc", &script]).current_dir(&source).status().unwrap().success());
    let variants: [&[&str]; 8] = [
        &["--format=gnu"],
        &["--format=oldgnu"],
        &["--format=posix"],
        &["--format=gnu", "-S"],
        &["--format=oldgnu", "-S"],
        &["--format=posix", "-S", "--sparse-version=0.0"],
        &["--format=posix", "-S", "--sparse-version=0.1"],
        &["--format=posix", "-S", "--sparse-version=1.0", "--pax-option=globexthdr.name=g,comment=hello"],
    ];
    for variant in variants {
        let case = variant.join(" ");
        let archive = gnu_tar(&[&["-cf", "-", "--numeric-owner"], variant, &["."]].concat(), &source, b"");
        let ours = sandbox.unpacked(&archive).unwrap_or_else(|error| panic!("{case}: {}", error.chain()));
        let (mut ours, mut theirs) = (tree::read(&ours), tree::read(&source));
        if !case.contains("posix") {
            // Only pax has parts of seconds.
            ours.iter_mut().chain(&mut theirs).for_each(|(_, node)| node.mtime.1 = 0);
        }
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{case}");
        }
        assert_eq!(ours.len(), theirs.len(), "{case}");
    }
}

#[test]
fn holes_stay_holes() {
    use std::os::unix::fs::MetadataExt as _;
    let sandbox = Sandbox::new();
    let source = sandbox.path().join("source");
    fs::create_dir(&source).unwrap();
    let script = "truncate -s 100000000 f; printf x | dd of=f bs=1 seek=50000000 conv=notrunc status=none";
    assert!(Command::new("sh").args(["-euc", script]).current_dir(&source).status().unwrap().success());
    let archive = gnu_tar(&["-cf", "-", "-S", "--format=posix", "f"], &source, b"");
    let upper = sandbox.unpacked(&archive).unwrap();
    let data = fs::metadata(upper.join("f")).unwrap();
    assert!(data.blocks() * 512 < 1_000_000, "{} bytes on disk", data.blocks() * 512);
}

#[test]
fn odd_archives_that_are_accepted_mean_what_gnu_tar_unpacks() {
    let new = || Tarball::new().directory("./");
    let long = "long/".repeat(60);
    let hidden = Tarball::new().file("smuggled", "x").finish();
    let file = |size| Header { size: Some(size), ..Header::new(b'0', "f") };
    let mut plain = Header::new(b'\0', "v7").block(0);
    plain[257..265].fill(0);
    seal(&mut plain);
    let mut early = Header::new(b'0', "early").block(0);
    early[136..148].fill(0xff);
    seal(&mut early);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("pax size wins", new().pax(&[("size", b"1536")]).add(&file(0), &hidden).finish()),
        ("pax size smaller", new().pax(&[("size", b"0")]).add(&file(2048), &hidden).finish()),
        (
            "pax size and a long name",
            new().pax(&[("size", b"1")]).long(b'L', "long").add(&file(512), b"y").finish(),
        ),
        ("repeated keys", new().pax(&[("path", b"a"), ("path", b"b")]).file("f", "x").finish()),
        ("global comment", new().extended(b'g', &[("comment", b"0")]).file("f", "x").finish()),
        ("global time", new().extended(b'g', &[("mtime", b"77.5")]).file("f", "x").file("g", "x").finish()),
        ("garbage", [new().file("f", "x").finish(), b"garbage".repeat(1000)].concat()),
        ("absolute names", new().directory("/d").file("/d/f", "x").hard_link("/d/h", "/d/f").finish()),
        ("dots", new().file("././f", "x").directory(".//d/").file("d/./g", "x").finish()),
        ("directories by their names", new().file("d/", "").file("d/f", "x").finish()),
        ("long names", new().long(b'L', format!("{long}f")).file("f", "x").finish()),
        ("long targets", new().long(b'K', &long).symlink("l", "x").finish()),
        ("links to links", new().symlink("l", "x").hard_link("h", "l").finish()),
        (
            "a hard link of another mode",
            new()
                .file("f", "x")
                .add(&Header { mode: 0o4777, uid: 9, link: b"f".to_vec(), ..Header::new(b'1', "h") }, b"")
                .finish(),
        ),
        ("the last one counts", new().file("f", "one").symlink("f", "x").file("f", "three").finish()),
        (
            "far owners",
            new().add(&Header { uid: 1 << 31, gid: 1 << 30, ..Header::new(b'0', "f") }, b"x").finish(),
        ),
        ("no magic", new().content(&plain).finish()),
        ("before 1970", new().content(&early).finish()),
        ("not UTF-8", new().file(b"\xff\xfe", "x").finish()),
    ];
    let sandbox = Sandbox::new();
    for (case, archive) in cases {
        let theirs = tempfile::tempdir_in(sandbox.path()).unwrap();
        let options =
            ["-xpf", "-", "--numeric-owner", "--same-owner", "--warning=none", "--delay-directory-restore"];
        gnu_tar(&options, theirs.path(), &archive);
        let ours = sandbox.unpacked(&archive).unwrap_or_else(|error| panic!("{case}: {}", error.chain()));
        let mut both = [tree::read(&ours), tree::read(theirs.path())];
        // Directories that no entry mentions have the time of the unpacking.
        both.iter_mut()
            .flatten()
            .filter(|(path, _)| path.starts_with("long"))
            .for_each(|(_, node)| node.mtime = (0, 0));
        assert_eq!(both[0], both[1], "{case}");
    }
}

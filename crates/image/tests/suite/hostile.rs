//! Archives that want out, want to confuse, or want to exhaust. Each is refused with the entry's name, or applied
//! inside the root; the canary beside the store never changes, and a refused one leaves nothing.

use std::fs;

use crate::sandbox::Sandbox;
use crate::tarball::{Header, Tarball, gzip, seal, smallest_gzip, zstd};
use crate::tree;

enum Expected {
    /// The error has all these texts.
    Refused(&'static [&'static str]),
    /// These and no other paths are there.
    Inside(&'static [&'static str]),
}

use Expected::{Inside, Refused};

fn check(cases: Vec<(&str, Vec<u8>, Expected)>) {
    let sandbox = Sandbox::new();
    for (case, archive, expected) in cases {
        match (sandbox.unpacked(&archive), expected) {
            (Ok(upper), Inside(expected)) => {
                assert_eq!(tree::paths(&upper), expected, "{case}");
                let images = sandbox.images.list("default").unwrap();
                sandbox.images.remove("default", images[0].id.as_str(), true, &[]).unwrap();
                sandbox.store.gc().unwrap();
            }
            (Err(error), Refused(texts)) => {
                let text = error.chain();
                for expected in texts {
                    assert!(text.contains(expected), "{case}: {text:?} lacks {expected:?}");
                }
                assert!(!text.contains(['\n', '\x1b']) && text.len() < 1000, "{case}: {text:?}");
                assert_ne!(error.code(), api::code::Code::Internal, "{case}: {text}");
            }
            (Ok(upper), Refused(texts)) => {
                panic!("{case}: not refused ({texts:?}): {:?}", tree::paths(&upper))
            }
            (Err(error), Inside(_)) => panic!("{case}: {}", error.chain()),
        }
        sandbox.check_canary(case);
        sandbox.check_nothing_is_left(case);
    }
}

#[test]
fn names_stay_inside_the_root() {
    let sandbox = Sandbox::new();
    let canary = sandbox.canary().display().to_string();
    let new = Tarball::new;
    let deep = vec!["d"; 2040].join("/");
    let longest: &'static str = "n".repeat(255).leak();
    check(vec![
        ("absolute", new().file("/a/b", "x").finish(), Inside(&["a", "a/b"])),
        (
            "absolute to the canary",
            new().file(format!("{canary}/file"), "x").directory("../q").finish(),
            Refused(&["../q", "leaves the root"]),
        ),
        ("parent", new().file("../a", "x").finish(), Refused(&["\"../a\"", "leaves the root"])),
        (
            "inner parent",
            new().file("a/../../b", "x").finish(),
            Refused(&["\"a/../../b\"", "leaves the root"]),
        ),
        ("harmless parent", new().file("a/../b", "x").finish(), Refused(&["leaves the root"])),
        ("parent as the last part", new().directory("a/..").finish(), Refused(&["leaves the root"])),
        ("dots", new().file("./././a", "x").file(".../b", "x").finish(), Inside(&["...", ".../b", "a"])),
        ("root", new().directory("./").directory("/").finish(), Inside(&[])),
        ("root as a link", new().symlink("./", &canary).finish(), Refused(&["cannot replace the root"])),
        ("root as a file", new().file(".", "x").finish(), Refused(&["cannot replace the root"])),
        ("empty", new().file("", "x").finish(), Refused(&["empty"])),
        (
            "pax name with NUL",
            new().pax(&[("path", b"a\0/../../b")]).file("a", "x").finish(),
            Refused(&["NUL"]),
        ),
        ("long name with NUL", new().long(b'L', "a\0b").file("a", "x").finish(), Refused(&["NUL"])),
        (
            "longest component",
            new().pax(&[("path", &[b'n'; 255])]).file("a", "x").finish(),
            Inside(vec![longest].leak()),
        ),
        (
            "component too long",
            new().pax(&[("path", &[b'n'; 256])]).file("a", "x").finish(),
            Refused(&["nnnn"]),
        ),
        (
            "path too long",
            new().pax(&[("path", &[b'n'; 4097])]).file("a", "x").finish(),
            Refused(&["larger than 4096"]),
        ),
        (
            "2040 deep, then gone",
            new().pax(&[("path", deep.as_bytes())]).file("a", "x").file("d", "x").finish(),
            Inside(&["d"]),
        ),
        (
            "deeper than any name",
            new()
                .pax(&[("path", &[b"d/".repeat(2040), b"l".to_vec()].concat())])
                .symlink("l", vec!["e"; 45].join("/"))
                .pax(&[("path", &[b"d/".repeat(2040), b"l/f".to_vec()].concat())])
                .file("f", "x")
                .finish(),
            Refused(&["too deep"]),
        ),
        ("not UTF-8", new().file(b"\xff\xfe", "x").finish(), Inside(&["\u{fffd}\u{fffd}"])),
        ("case", new().file("A", "x").file("a", "y").finish(), Inside(&["A", "a"])),
        (
            "normal forms",
            new().file("e\u{301}", "x").file("\u{e9}", "y").finish(),
            Inside(&["e\u{301}", "\u{e9}"]),
        ),
        (
            "10,000 deep",
            new().pax(&[("path", &b"d/".repeat(10_000))]).file("d", "x").finish(),
            Refused(&["larger than 4096"]),
        ),
        (
            "a name for terminals",
            new().file("../\x1b[2J\n\u{202e}", "x").finish(),
            Refused(&["leaves the root", "\\u{1b}", "\\n", "\\u{202e}"]),
        ),
        ("newline", new().file("a\nb", "x").finish(), Inside(&["a\nb"])),
    ]);
    sandbox.check_canary("the other sandbox");
}

#[test]
fn links_lead_nowhere_outside() {
    let outer = Sandbox::new();
    let canary = outer.canary().display().to_string();
    let up = format!("../../../../../../../..{canary}");
    let new = Tarball::new;
    check(vec![
        (
            "absolute link, then a child",
            new().symlink("l", "/x").file("l/f", "x").finish(),
            Inside(&["l", "x", "x/f"]),
        ),
        (
            "absolute link in a directory, then a child",
            new().symlink("d/l", "/x").file("d/l/f", "x").finish(),
            Inside(&["d", "d/l", "x", "x/f"]),
        ),
        (
            "climbing link, then a child",
            new().symlink("l", "../../x").file("l/f", "x").finish(),
            Inside(&["l", "x", "x/f"]),
        ),
        (
            "link, then a directory over it",
            new().symlink("l", &canary).directory("l").file("l/f", "x").finish(),
            Inside(&["l", "l/f"]),
        ),
        (
            "link, then a file over it",
            new().symlink("l", format!("{canary}/file")).file("l", "x").finish(),
            Inside(&["l"]),
        ),
        (
            "link, then a mode for it",
            new().symlink("l", &canary).add(&Header { mode: 0o777, ..Header::new(b'5', "l") }, b"").finish(),
            Inside(&["l"]),
        ),
        (
            "loop",
            new().symlink("a", "b").symlink("b", "a").file("a/f", "x").finish(),
            Refused(&["\"a/f\"", "too many symbolic links"]),
        ),
        (
            "link to itself",
            new().symlink("a", "a").file("a/f", "x").finish(),
            Refused(&["too many symbolic links"]),
        ),
        (
            "long chain",
            (0..60)
                .fold(new(), |tar, n| tar.symlink(format!("l{n}"), format!("l{}", n + 1)))
                .file("l0/f", "x")
                .finish(),
            Refused(&["too many symbolic links"]),
        ),
        (
            "through a file",
            new().file("a", "x").file("a/b", "y").finish(),
            Refused(&["\"a/b\"", "not a directory"]),
        ),
        (
            "hard link out by name",
            new().hard_link("h", "../x").finish(),
            Refused(&["\"h\"", "\"../x\" leaves the root"]),
        ),
        (
            "hard link out, climbing",
            new().hard_link("h", format!("{up}/file")).finish(),
            Refused(&["leaves the root"]),
        ),
        (
            "hard link, absolute",
            new().hard_link("h", format!("{canary}/file")).finish(),
            Refused(&["does not exist"]),
        ),
        (
            "hard link through a link",
            new().symlink("l", &canary).hard_link("h", "l/file").finish(),
            Refused(&["does not exist"]),
        ),
        (
            "hard link to a link, then written",
            new().symlink("l", format!("{canary}/file")).hard_link("h", "l").file("h", "x").finish(),
            Inside(&["h", "l"]),
        ),
        (
            "hard link to a link, then a mode",
            new()
                .symlink("l", format!("{canary}/file"))
                .add(&Header { link: b"l".to_vec(), mode: 0o6777, uid: 7, ..Header::new(b'1', "h") }, b"")
                .finish(),
            Inside(&["h", "l"]),
        ),
        (
            "hard link before its target",
            new().hard_link("h", "f").file("f", "x").finish(),
            Refused(&["\"f\" does not exist"]),
        ),
        (
            "hard link to a directory",
            new().directory("d").hard_link("h", "d").finish(),
            Refused(&["\"d\" is a directory"]),
        ),
        ("hard link to the root", new().hard_link("h", "./").finish(), Refused(&["is a directory"])),
        ("hard link to itself", new().file("f", "x").hard_link("f", "f").finish(), Refused(&["\"f\""])),
        ("hard link without a target", new().hard_link("h", "").finish(), Refused(&["\"h\""])),
        ("link without a target", new().symlink("l", "").finish(), Refused(&["\"l\""])),
    ]);
    outer.check_canary("the other sandbox");
}

#[test]
fn whiteouts_name_one_file_below() {
    let new = Tarball::new;
    check(vec![
        ("of nothing", new().file(".wh.", "").finish(), Refused(&["\".wh.\"", "names no file"])),
        ("of the directory", new().file(".wh..", "").finish(), Refused(&["names no file"])),
        ("of the parent", new().file("a/.wh...", "").finish(), Refused(&["names no file"])),
        ("as a parent", new().file(".wh./etc", "").finish(), Refused(&["names no file"])),
        ("with children", new().directory(".wh.a").file(".wh.a/b", "x").finish(), Refused(&["\".wh.a/b\""])),
        ("of nothing below", new().file(".wh.a", "").file("b/.wh.c", "").finish(), Inside(&[])),
        ("opaque on nothing below", new().file("a/.wh..wh..opq", "").finish(), Inside(&[])),
        ("through a link", new().symlink("l", "/etc").file("l/.wh.passwd", "").finish(), Inside(&["l"])),
        ("with a path in it", new().file(".wh.a/../../b", "").finish(), Refused(&["leaves the root"])),
        ("opaque as a directory", new().directory("a/.wh..wh..opq").finish(), Inside(&[])),
        ("in an opaque directory", new().file("a/.wh..wh..opq/x", "").finish(), Inside(&[])),
        (
            "opaque where a link is by now",
            new().directory("d").symlink("d", "/etc").file("d/.wh..wh..opq", "").finish(),
            Inside(&["d"]),
        ),
        ("of a file of this layer", new().file("a", "x").file(".wh.a", "").finish(), Inside(&["a"])),
        (
            "aufs's own files",
            new().file(".wh..wh.aufs", "").file(".wh..wh.plnk/x", "").file("a", "").finish(),
            Inside(&["a"]),
        ),
        ("as a device", new().device(b'3', "a", (0, 0)).finish(), Refused(&["\"a\"", "whiteout"])),
    ]);
}

#[test]
fn attributes_that_steer_the_overlay_are_refused() {
    let new = Tarball::new;
    let with = |name: &str| new().pax(&[(&format!("SCHILY.xattr.{name}"), b"y")]).file("f", "x").finish();
    let encoded = new().pax(&[("LIBARCHIVE.xattr.trusted%2Eoverlay.opaque", b"eQ")]).directory("d").finish();
    check(vec![
        ("opaque", with("trusted.overlay.opaque"), Refused(&["\"f\"", "trusted.overlay.opaque"])),
        ("redirect", with("trusted.overlay.redirect"), Refused(&["trusted.overlay.redirect"])),
        ("encoded", encoded, Refused(&["\"d\"", "trusted.overlay.opaque"])),
        ("other trusted ones", with("trusted.x"), Refused(&["trusted.x"])),
        ("of user overlays", with("user.overlay.opaque"), Refused(&["user.overlay.opaque"])),
        ("wrong capability", with("security.capability"), Refused(&["\"f\"", "extended attribute"])),
        ("wrong list", with("system.posix_acl_access"), Refused(&["\"f\"", "extended attribute"])),
        ("harmless", with("user.x"), Inside(&["f"])),
        ("unknown kind", with("nonsense"), Inside(&["f"])),
    ]);
}

#[test]
fn archives_have_one_meaning() {
    let new = Tarball::new;
    let file = |size| Header { size: Some(size), ..Header::new(b'0', "f") };
    // An archive that hides a second one in what a reader of the ustar size takes for content.
    let hidden = new().file("smuggled", "x").finish();
    let desync = |pax_size: &[u8], size| new().pax(&[("size", pax_size)]).add(&file(size), &hidden).finish();
    let mut bad_checksum = new().file("f", "x").finish();
    bad_checksum[0] ^= 1;
    let mut zero_then_data = new().file("f", "x").0;
    zero_then_data.extend([0; 512]);
    let zero_then_data = Tarball(zero_then_data).file("g", "x").finish();
    let mut negative = Header::new(b'0', "f").block(0);
    negative[124..136].fill(0xff);
    seal(&mut negative);
    let mut overflow = Header::new(b'0', "f").block(0);
    overflow[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    seal(&mut overflow);
    let raw = |block: [u8; 512]| new().content(&block).finish();
    let with = |range: std::ops::Range<usize>, bytes: &[u8]| {
        let mut block = Header::new(b'0', "f").block(0);
        block[range].copy_from_slice(bytes);
        seal(&mut block);
        raw(block)
    };
    check(vec![
        ("pax size wins", desync(b"1536", 0), Inside(&["f"])),
        ("pax size smaller than the content", desync(b"0", 2048), Inside(&["f", "smuggled"])),
        ("pax size larger than the archive", desync(b"99999", 0), Refused(&["truncated"])),
        ("pax size negative", desync(b"-1", 0), Refused(&["size"])),
        ("pax size too large", desync(b"9999999999999", 0), Refused(&["larger than"])),
        (
            "pax size does not apply to a long name",
            new()
                .pax(&[("size", b"1")])
                .long(b'L', "long")
                .add(&Header { size: Some(512), ..Header::new(b'0', "f") }, b"y")
                .finish(),
            Inside(&["long"]),
        ),
        (
            "name by pax and by GNU",
            new().pax(&[("path", b"a")]).long(b'L', "b").file("f", "x").finish(),
            Refused(&["named twice"]),
        ),
        (
            "two long names",
            new().long(b'L', "a").long(b'L', "b").file("f", "x").finish(),
            Refused(&["named twice"]),
        ),
        (
            "two pax headers",
            new().pax(&[("path", b"a")]).pax(&[("path", b"b")]).file("f", "x").finish(),
            Refused(&["named twice"]),
        ),
        (
            "repeated pax keys",
            new().pax(&[("path", b"a"), ("path", b"b")]).file("f", "x").finish(),
            Inside(&["b"]),
        ),
        (
            "malformed pax",
            new().add(&Header::new(b'x', "p"), b"8 path=a\n").file("f", "x").finish(),
            Refused(&["pax header is malformed"]),
        ),
        (
            "global name",
            new().extended(b'g', &[("path", b"a")]).file("f", "x").finish(),
            Refused(&["global", "path"]),
        ),
        (
            "global size",
            new().extended(b'g', &[("size", b"0")]).file("f", "x").finish(),
            Refused(&["global", "size"]),
        ),
        (
            "global comment",
            new().extended(b'g', &[("comment", b"0")]).file("f", "x").finish(),
            Inside(&["f"]),
        ),
        ("nothing after pax", new().pax(&[("path", b"a")]).finish(), Refused(&["not followed by an entry"])),
        (
            "directory with content",
            new().add(&Header::new(b'5', "d"), b"content").finish(),
            Refused(&["\"d\"", "announces 7 bytes"]),
        ),
        (
            "link with content",
            new().add(&Header { link: b"x".to_vec(), ..Header::new(b'2', "l") }, b"content").finish(),
            Refused(&["\"l\"", "announces 7 bytes"]),
        ),
        ("file that is a directory by its name", new().file("d/", "").finish(), Inside(&["d"])),
        ("and has content", new().file("d/", "x").finish(), Refused(&["\"d/\"", "announces 1 byte"])),
        ("wrong checksum", bad_checksum, Refused(&["checksum"])),
        ("data after one zero block", zero_then_data, Refused(&["zero block"])),
        ("negative size", raw(negative), Refused(&["size"])),
        ("overflowing size", raw(overflow), Refused(&["larger than"])),
        ("size of twelve sevens", with(124..136, b"777777777777"), Refused(&["truncated"])),
        ("size in another base", with(124..136, b"0x1f\0\0\0\0\0\0\0\0"), Refused(&["size"])),
        ("negative user id", with(108..116, &[0xff; 8]), Refused(&["user id"])),
        (
            "negative group id by pax",
            new().pax(&[("gid", b"-1")]).file("f", "x").finish(),
            Refused(&["group id"]),
        ),
        ("time before 1970", with(136..148, &[0xff; 12]), Inside(&["f"])),
        (
            "huge user id",
            new().add(&Header { uid: 1 << 32, ..Header::new(b'0', "f") }, b"").finish(),
            Refused(&["user id"]),
        ),
        (
            "target by pax and by GNU",
            new().pax(&[("linkpath", b"a")]).long(b'K', "b").symlink("l", "c").finish(),
            Refused(&["named twice"]),
        ),
        (
            "a name that is taken back",
            new().pax(&[("path", b"a"), ("path", b"")]).file("f", "x").finish(),
            Inside(&["f"]),
        ),
        ("unknown type", new().add(&Header::new(b'M', "m"), b"").finish(), Refused(&["\"m\"", "`M`"])),
        (
            "garbage after the end",
            [new().file("f", "x").finish(), b"garbage".repeat(1000)].concat(),
            Inside(&["f"]),
        ),
        ("not an archive", b"#!/bin/sh\necho hello\n".repeat(100), Refused(&["checksum"])),
        (
            "huge user id by pax",
            new().pax(&[("uid", b"4294967296")]).file("f", "x").finish(),
            Refused(&["user id"]),
        ),
        ("user id -1", new().pax(&[("uid", b"4294967295")]).file("f", "x").finish(), Refused(&["user id"])),
        (
            "time that is none",
            new().pax(&[("mtime", b"NaN")]).file("f", "x").finish(),
            Refused(&["modification time"]),
        ),
        (
            "far times",
            new()
                .pax(&[("mtime", b"-9999999999.9")])
                .file("f", "x")
                .pax(&[("mtime", b"99999999999")])
                .file("g", "x")
                .finish(),
            Inside(&["f", "g"]),
        ),
    ]);
}

#[test]
fn what_exhausts_is_refused_early() {
    let new = Tarball::new;
    let huge_name =
        new().add(&Header { size: Some(1 << 30), is_gnu: true, ..Header::new(b'L', "l") }, b"x").finish();
    let huge_pax = new().add(&Header { size: Some(1 << 30), ..Header::new(b'x', "p") }, b"x").finish();
    let extents = format!("{}0,0", "1,0,".repeat(200_000));
    let many_extents = new()
        .pax(&[
            ("GNU.sparse.map", extents.as_bytes()),
            ("GNU.sparse.size", b"1"),
            ("GNU.sparse.numblocks", b"200001"),
        ])
        .file("f", "")
        .finish();
    let sparse = |records: &[(&str, &[u8])], content: &str| new().pax(records).file("f", content).finish();
    // Thousands of times what it is.
    let bomb = zstd_zeros(5 << 30);
    let file = gzip(&new().file("f", "x").finish());
    let gzip_bomb = [file, smallest_gzip(&vec![0; 64 << 20]).repeat(24)].concat();
    let same = (0..20_000).fold(new(), |tar, _| tar.file("f", "")).finish();
    let mut old = Header { is_gnu: true, ..Header::new(b'S', "f") }.block(0);
    old[482] = 1;
    seal(&mut old);
    // Each of these blocks has 21 empty extents, and says that another one follows.
    let mut more = [0; 512];
    more[..504].copy_from_slice(&b"00000000000\0".repeat(42));
    more[504] = 1;
    let old = new().content(&old).content(&more.repeat(4000)).finish();
    let pairs: Vec<(&str, &[u8])> =
        [("GNU.sparse.offset", b"0".as_slice()), ("GNU.sparse.numbytes", b"0")].repeat(30_000);
    check(vec![
        ("long name of a gigabyte", huge_name, Refused(&["a long name is larger than"])),
        ("pax header of a gigabyte", huge_pax, Refused(&["a pax header is larger than"])),
        ("200,000 extents", many_extents, Refused(&["extents"])),
        ("84,000 extents of the old format", old, Refused(&["\"f\"", "extents"])),
        ("30,000 extents in pairs", sparse(&pairs, ""), Refused(&["a pax header is larger than"])),
        (
            "70,000 extents of format 1.0",
            sparse(
                &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9")],
                &format!("70000\n{}", "0\n".repeat(140_000)),
            ),
            Refused(&["extents"]),
        ),
        (
            "extents out of order",
            sparse(
                &[("GNU.sparse.map", b"5,1,0,1"), ("GNU.sparse.size", b"9"), ("GNU.sparse.numblocks", b"2")],
                "ab",
            ),
            Refused(&["holes"]),
        ),
        (
            "extent behind the end",
            sparse(
                &[("GNU.sparse.map", b"9,2"), ("GNU.sparse.size", b"10"), ("GNU.sparse.numblocks", b"1")],
                "ab",
            ),
            Refused(&["holes"]),
        ),
        (
            "extents larger than the content",
            sparse(
                &[("GNU.sparse.map", b"0,5"), ("GNU.sparse.size", b"10"), ("GNU.sparse.numblocks", b"1")],
                "ab",
            ),
            Refused(&["holes"]),
        ),
        (
            "file of a petabyte of holes",
            sparse(
                &[
                    ("GNU.sparse.map", b"0,0"),
                    ("GNU.sparse.size", b"999999999999999"),
                    ("GNU.sparse.numblocks", b"1"),
                ],
                "",
            ),
            Refused(&["f"]),
        ),
        (
            "map without a size",
            sparse(&[("GNU.sparse.map", b"0,0"), ("GNU.sparse.numblocks", b"1")], ""),
            Refused(&["holes"]),
        ),
        (
            "map 1.0 with too many lines",
            sparse(
                &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9")],
                "999999999\n",
            ),
            Refused(&["f"]),
        ),
        ("bomb", bomb, Refused(&["decompression bomb"])),
        ("bomb of gzip", gzip_bomb, Refused(&["decompression bomb"])),
        ("20,000 times the same file", same, Inside(&["f"])),
    ]);
}

/// An archive with so many zeros behind its end: nothing of them is written, all of them are hashed.
fn zstd_zeros(length: usize) -> Vec<u8> {
    const FRAME: usize = 64 << 20;
    let archive = zstd(&Tarball::new().file("f", "x").finish());
    [archive, zstd(&vec![0; FRAME]).repeat(length / FRAME)].concat()
}

#[test]
fn truncated_archives_are_refused_wherever_they_end() {
    let sandbox = Sandbox::new();
    let archive = Tarball::new()
        .directory("d")
        .pax(&[("path", b"d/a-longer-name"), ("SCHILY.xattr.user.x", b"y")])
        .file("f", &"content ".repeat(200))
        .long(b'L', "another/long/name")
        .symlink("l", "d")
        .finish();
    assert_eq!(sandbox.unpacked(&archive).map(|upper| tree::paths(&upper).len()).unwrap(), 5);
    // The end mark's second half carries nothing that could be lost.
    for length in (0..archive.len() - 1024).step_by(173).chain([1, 511, 512, 513, archive.len() - 1024]) {
        let error = sandbox.unpacked(&archive[..length]).expect_err("it is truncated");
        let text = error.chain();
        assert!(text.contains("truncated") || text.contains("not followed"), "{length}: {text}");
        assert_eq!(error.code(), api::code::Code::InvalidArgument, "{length}: {text}");
        sandbox.check_nothing_is_left("truncated");
    }
    for compressed in [gzip(&archive), zstd(&archive)] {
        for length in (1..compressed.len()).step_by(37) {
            let error = sandbox.unpacked(&compressed[..length]).expect_err("it is truncated");
            assert_eq!(error.code(), api::code::Code::InvalidArgument, "{length}: {}", error.chain());
        }
    }
}

#[test]
fn special_files_come_out_as_they_went_in() {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    let sandbox = Sandbox::new();
    let archive = Tarball::new()
        .device(b'3', "null", (1, 3))
        .device(b'4', "disk", (7, 200))
        .device(b'6', "fifo", (0, 0))
        .add(&Header { mode: 0o6755, uid: 1000, gid: 1001, ..Header::new(b'0', "setuid") }, b"x")
        .add(&Header { mode: 0, uid: 5, link: b"setuid".to_vec(), ..Header::new(b'1', "setuid-too") }, b"")
        .add(&Header { mode: 0o6640, uid: 6, gid: 7, device: (1, 7), ..Header::new(b'3', "full") }, b"")
        .pax(&[("SCHILY.xattr.security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0")])
        .device(b'6', "able", (0, 0))
        .add(&Header { mode: 0o1777, ..Header::new(b'5', "tmp") }, b"")
        .add(&Header { mode: 0o2755, gid: 7, ..Header::new(b'5', "group") }, b"")
        .file("group/file", "root's, not the group's")
        .add(&Header { uid: 3_000_000_000, gid: 4_000_000_000, ..Header::new(b'0', "far") }, b"x")
        .pax(&[("SCHILY.xattr.security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0")])
        .add(&Header { mode: 0o755, uid: 5, ..Header::new(b'0', "ping") }, b"x")
        .finish();
    let upper = sandbox.unpacked(&archive).unwrap();
    let data = |name: &str| fs::symlink_metadata(upper.join(name)).unwrap();
    assert!(data("null").file_type().is_char_device() && data("disk").file_type().is_block_device());
    assert_eq!(data("null").rdev(), rustix::fs::makedev(1, 3));
    assert!(data("fifo").file_type().is_fifo());
    assert_eq!(
        (data("setuid").mode() & 0o7777, data("setuid").uid(), data("setuid").gid()),
        (0o6755, 1000, 1001)
    );
    assert_eq!((data("setuid-too").ino(), data("setuid").nlink()), (data("setuid").ino(), 2));
    let full = data("full");
    assert_eq!(
        (full.mode() & 0o7777, full.uid(), full.gid(), full.rdev()),
        (0o6640, 6, 7, rustix::fs::makedev(1, 7))
    );
    assert_eq!((full.mtime(), data("fifo").mtime()), (1_500_000_000, 1_500_000_000));
    assert_eq!((data("tmp").mode() & 0o7777, data("group").mode() & 0o7777), (0o1777, 0o2755));
    assert_eq!(data("group/file").gid(), 0);
    assert_eq!((data("far").uid(), data("far").gid()), (3_000_000_000, 4_000_000_000));
    assert_eq!((data("ping").mtime(), data("tmp").mtime()), (1_500_000_000, 1_500_000_000));
    let nodes = tree::read(&upper);
    let ping = nodes.iter().find(|(path, _)| path.ends_with("ping")).unwrap();
    assert_eq!(ping.1.xattrs[0].0, "security.capability");
    let able = nodes.iter().find(|(path, _)| path.ends_with("able")).unwrap();
    assert_eq!(able.1.xattrs[0].0, "security.capability", "of what cannot be opened");
}

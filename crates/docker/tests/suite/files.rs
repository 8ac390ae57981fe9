//! A container's files over HTTP: archives in and out, what changed, all of it.

use base64::Engine as _;
use image::tar::{Entry, Kind, Reader, Time, Writer};
use serde_json::{Value, json};

use crate::client::{escape, request};
use crate::door::{Door, with_busybox};

fn entry(kind: Kind, path: &str, link: &str, size: usize) -> Entry {
    Entry {
        size: size as u64,
        mode: 0o755,
        uid: 7,
        gid: 8,
        mtime: Time { seconds: 1_500_000_000, nanoseconds: 0 },
        link: link.into(),
        ..Entry::new(kind, path)
    }
}

/// An archive of entries with their content.
fn tar(entries: &[(Entry, &str)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, content) in entries {
        writer.entry(entry).unwrap();
        writer.content(content.as_bytes()).unwrap();
    }
    writer.finish().unwrap()
}

fn file(path: &str, content: &'static str) -> (Entry, &'static str) {
    (entry(Kind::File, path, "", content.len()), content)
}

fn put(door: &Door, id: &str, query: &str, archive: &[u8]) -> (u16, String) {
    let mut request = format!(
        "PUT /containers/{id}/archive?{query} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        archive.len()
    )
    .into_bytes();
    request.extend(archive);
    let answer = door.send(&request);
    let message = if answer.status == 200 { String::new() } else { answer.message() };
    (answer.status, message)
}

fn names(archive: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(archive);
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        names.push(String::from_utf8(entry.path).unwrap());
    }
    assert!(reader.has_end_mark());
    names
}

fn stat(door: &Door, id: &str, path: &str) -> Value {
    let answer = door.get(&format!("/containers/{id}/archive?path={}", escape(path)));
    let header = answer.header("x-docker-container-path-stat").expect("the header").to_owned();
    let json = base64::engine::general_purpose::STANDARD.decode(header).unwrap();
    serde_json::from_slice(&json).unwrap()
}

#[test]
fn an_archive_goes_in_and_comes_out_of_a_container_at_rest_and_of_a_running_one() {
    with_busybox(|door| {
        let id = door.create("files", "sleep 1000", json!({}));
        let entries =
            [(entry(Kind::Directory, "d/", "", 0), ""), file("d/f", "text"), file("late/deep/f", "x")];
        for (path, starts) in [("/tmp", true), ("/", false)] {
            assert_eq!(put(door, &id, &format!("path={path}"), &tar(&entries)), (200, String::new()));
            let out = door.get(&format!("/containers/{id}/archive?path={}/d", path.trim_end_matches('/')));
            assert_eq!((out.status, names(&out.body)), (200, vec!["d/".into(), "d/f".into()]));
            assert_eq!(out.header("content-type"), Some("application/x-tar"));
            if starts {
                door.start(&id);
            }
        }
        let seen = stat(door, &id, "/d/f");
        assert_eq!((&seen["name"], &seen["size"], &seen["mode"]), (&json!("f"), &json!(4), &json!(0o755)));
        assert_eq!((&seen["mtime"], &seen["linkTarget"]), (&json!("2017-07-14T02:40:00Z"), &json!("")));
        assert_eq!(stat(door, &id, "/bin/sh")["linkTarget"], "/bin/busybox");
        let changes = door.get(&format!("/containers/{id}/changes")).json();
        assert_eq!(changes[0], json!({"Path": "/d", "Kind": 1}), "{changes}");
        let tree = door.get(&format!("/containers/{id}/export"));
        assert_eq!(tree.status, 200);
        assert!(names(&tree.body).contains(&"late/deep/f".to_owned()));
        assert_eq!(door.delete(&format!("/containers/{id}?force=1")).status, 204);
    });
}

#[test]
fn what_cannot_be_copied_is_refused_in_dockers_words() {
    with_busybox(|door| {
        let id = door.create("files", "true", json!({"HostConfig": {"NetworkMode": "none", "ReadonlyRootfs": true,
            "Mounts": [{"Type": "volume", "Source": "rw", "Target": "/rw"}, {"Type": "volume", "Source": "ro", "Target": "/ro", "ReadOnly": true}]}}));
        let archive = tar(&[file("f", "text")]);
        let over_file = tar(&[(entry(Kind::Directory, "f/", "", 0), "")]);
        assert_eq!(put(door, &id, "path=/rw", &archive).0, 200);
        let cut = &archive[..700];
        for (query, archive, status, message) in [
            ("path=/none", &archive[..], 404, "Could not find the file /none in container files"),
            ("path=/etc/passwd", &archive, 400, "extraction point is not a directory"),
            ("path=/tmp", &archive, 400, "container rootfs is marked read-only"),
            ("path=/ro", &archive, 400, "mounted volume is marked read-only"),
            ("path=/bin/../ro/.", &archive, 400, "mounted volume is marked read-only"),
            ("", &archive, 400, "bad parameter: path cannot be empty"),
            (
                "path=/rw&noOverwriteDirNonDir=1",
                &over_file,
                400,
                "cannot overwrite non-directory \"/rw/f\" with directory \"/rw\"",
            ),
            ("path=/rw", cut, 400, "truncated"),
            ("path=/rw", b"not an archive", 400, "truncated"),
        ] {
            let (seen, text) = put(door, "files", query, archive);
            assert_eq!(seen, status, "{query}: {text}");
            assert!(text.contains(message), "{query}: {text}");
        }
        for (method, path, status) in [("GET", "archive?path=/none", 404), ("POST", "archive?path=/", 404)] {
            assert_eq!(
                door.send(&request(method, &format!("/containers/{id}/{path}"), None)).status,
                status,
                "{method}"
            );
        }
    });
}

#[test]
fn links_of_archives_and_containers_stay_in_the_container() {
    with_busybox(|door| {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "host's").unwrap();
        let out = outside.path().to_str().unwrap();
        let id =
            door.create("files", &format!("ln -s {out} /out; ln -s /../../.. /up; sleep 1000"), json!({}));
        door.start(&id);
        door.until("the links are there", || {
            door.get(&format!("/containers/{id}/archive?path=/up")).status == 200
        });
        for path in
            ["/out/secret".into(), format!("{out}/secret"), format!("/up{out}/secret"), "/out/.".into()]
        {
            assert_eq!(door.get(&format!("/containers/{id}/archive?path={path}")).status, 404, "{path}");
        }
        let hostile = [
            vec![(entry(Kind::Symlink, "x", out, 0), ""), file("x/planted", "1")],
            vec![file("out/planted", "1")],
            vec![file("up/up/out/planted", "1")],
            vec![(entry(Kind::HardLink, "taken", &format!("{out}/secret"), 0), "")],
            vec![file(&format!("..{out}/planted"), "1")],
        ];
        for archive in hostile {
            put(door, &id, "path=/", &tar(&archive));
        }
        let left: Vec<_> =
            std::fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["secret"]);
        assert_eq!(door.get(&format!("/containers/{id}/archive?path=/taken")).status, 404);
        assert_eq!(door.delete(&format!("/containers/{id}?force=1")).status, 204);
    });
}

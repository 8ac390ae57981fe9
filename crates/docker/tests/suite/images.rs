//! Images as Docker has them: history, disk usage, filters, prunes.

use serde_json::{Value, json};

use crate::client::escape;
use crate::door::{Door, busybox_tar, with_busybox, with_door};

/// The value of `filters`.
fn filters(filters: &Value) -> String {
    format!("filters={}", escape(&filters.to_string()))
}

/// The names of images, each the first it has.
fn names(images: &Value) -> Vec<&str> {
    let mut names: Vec<&str> =
        images.as_array().unwrap().iter().map(|image| image["RepoTags"][0].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

fn import(door: &Door, name: &str, more: &str) {
    let tar = std::fs::read(busybox_tar()).unwrap();
    let made = door.upload(&format!("/images/create?fromSrc=-&repo={name}{more}"), &tar);
    assert_eq!(made.status, 200, "{made:?}");
}

#[test]
fn history_tells_the_size_of_each_layer() {
    with_busybox(|door| {
        let image = door.get("/images/busybox/json").json();
        let steps = door.get("/images/busybox/history").json();
        let [step] = steps.as_array().unwrap().as_slice() else { panic!("{steps}") };
        assert_eq!(step["Id"], image["Id"]);
        assert_eq!(step["Tags"], json!(["busybox:latest"]));
        assert_eq!(step["Comment"], "imported from a tar archive");
        let size = step["Size"].as_i64().unwrap();
        assert_eq!(step["Size"], image["Size"]);
        let program = std::fs::metadata("/bin/busybox").unwrap().len();
        assert!(u64::try_from(size).unwrap() >= program, "{size} holds {program}");
        assert!(step["Created"].as_i64().unwrap() > 0);
        let id = image["Id"].as_str().unwrap();
        assert_eq!(door.get(&format!("/images/{}/history", &id[7..19])).json()[0]["Id"], id);
        let missing = door.get("/images/nothing/history");
        assert_eq!((missing.status, missing.message().as_str()), (404, "No such image: nothing:latest"));
    });
}

#[test]
fn disk_usage_counts_each_layer_once() {
    with_busybox(|door| {
        import(door, "other", "&changes=LABEL+a=b");
        let id = door.create(
            "writer",
            "head -c 5000 /dev/zero > /file; mkdir /d",
            json!({
                "HostConfig": {"NetworkMode": "none", "Binds": ["data:/data"]},
            }),
        );
        door.start(&id);
        assert_eq!(door.wait(&id), 0);
        let usage = door.get("/system/df").json();
        let images = usage["Images"].as_array().unwrap();
        assert_eq!(images.len(), 2);
        for image in images {
            assert_eq!((&image["Size"], &image["SharedSize"]), (&usage["LayersSize"], &usage["LayersSize"]));
        }
        let counts: i64 = images.iter().map(|image| image["Containers"].as_i64().unwrap()).sum();
        assert_eq!(counts, 1);
        let container = &usage["Containers"][0];
        assert_eq!(container["SizeRw"], 5000, "directories are nobody's bytes");
        assert_eq!(container["SizeRootFs"].as_i64().unwrap(), usage["LayersSize"].as_i64().unwrap() + 5000);
        assert_eq!(usage["Volumes"][0]["UsageData"], json!({"RefCount": 1, "Size": 0}));
        assert_eq!(usage["BuildCache"], json!([]));
        assert!(usage.get("BuilderSize").is_none());
        assert_eq!(door.get("/v1.41/system/df").json()["BuilderSize"], 0);
        let some = door.get("/system/df?type=image&type=volume").json();
        assert!(some["Images"].is_array() && some["Volumes"].is_array());
        assert!(some["Containers"].is_null() && some["BuildCache"].is_null());
        let odd = door.get("/system/df?type=secret");
        assert_eq!((odd.status, odd.message().as_str()), (400, "unknown object type: secret"));
        door.delete("/containers/writer?force=1&v=1");
        assert_eq!(door.get("/system/df").json()["Volumes"][0]["UsageData"]["RefCount"], 0);
    });
}

#[test]
fn shared_sizes_are_told_when_they_are_asked_for() {
    with_busybox(|door| {
        let list = |query: &str| door.get(&format!("/images/json{query}")).json();
        assert_eq!(list("")[0]["SharedSize"], -1);
        assert_eq!(list("?shared-size=1")[0]["SharedSize"], 0);
        import(door, "other", "&changes=LABEL+a=b");
        let images = list("?shared-size=1");
        assert_eq!(images[0]["SharedSize"], images[0]["Size"]);
    });
}

#[test]
fn images_are_filtered_by_labels_and_age() {
    with_door(|door| {
        import(door, "one", "&changes=LABEL+a=1");
        import(door, "two", "&changes=LABEL+a=2");
        import(door, "three", "&changes=LABEL+b=1");
        for (wanted, expected) in [
            (json!({"label": ["a"]}), vec!["one:latest", "two:latest"]),
            (json!({"label!": ["a"]}), vec!["three:latest"]),
            (json!({"label!": ["a=1"]}), vec!["three:latest", "two:latest"]),
            (json!({"since": ["one"]}), vec!["three:latest", "two:latest"]),
            (json!({"before": ["three"]}), vec!["one:latest", "two:latest"]),
            (json!({"since": ["one"], "before": ["three"]}), vec!["two:latest"]),
            (json!({"until": ["24h"]}), vec![]),
            (json!({"until": ["2999-01-01"]}), vec!["one:latest", "three:latest", "two:latest"]),
            (json!({"reference": ["t*"]}), vec!["three:latest", "two:latest"]),
        ] {
            let found = door.get(&format!("/images/json?{}", filters(&wanted))).json();
            assert_eq!(names(&found), expected, "{wanted}");
        }
        for (wrong, message) in [
            (json!({"until": ["soon"]}), "failed to parse value as time or duration: \"soon\""),
            (json!({"until": ["1h", "2h"]}), "more than one until filter specified"),
        ] {
            let refused = door.get(&format!("/images/json?{}", filters(&wrong)));
            assert_eq!((refused.status, refused.message().as_str()), (400, message));
        }
    });
}

#[test]
fn prunes_leave_what_is_labelled_or_too_young() {
    with_busybox(|door| {
        let prune = |kind: &str, wanted: &Value| {
            door.post(&format!("/{kind}/prune?{}", filters(wanted)), None).json()
        };
        import(door, "kept", "&changes=LABEL+keep=yes");
        door.create("kept", "true", json!({"Labels": {"keep": "yes"}}));
        door.create("old", "true", json!({}));
        for name in ["kept", "old"] {
            let labels = if name == "kept" { json!({"keep": "yes"}) } else { json!({}) };
            door.post("/volumes/create", Some(&json!({"Name": name, "Labels": labels})));
            door.post("/networks/create", Some(&json!({"Name": name, "Labels": labels})));
        }
        let young = json!({"until": ["1h"]});
        assert!(prune("containers", &young)["ContainersDeleted"].is_null());
        assert!(prune("networks", &young)["NetworksDeleted"].is_null());
        let young_images = json!({"until": ["1h"], "dangling": ["false"]});
        assert!(prune("images", &young_images)["ImagesDeleted"].is_null());
        assert_eq!(prune("volumes", &young)["message"], "invalid filter 'until'");

        let layers = door.get("/system/df").json()["LayersSize"].clone();
        let unlabelled = json!({"label!": ["keep=yes"]});
        assert_eq!(prune("containers", &unlabelled)["ContainersDeleted"].as_array().unwrap().len(), 1);
        assert_eq!(prune("networks", &unlabelled)["NetworksDeleted"], json!(["old"]));
        let volumes = json!({"label!": ["keep=yes"], "all": ["true"]});
        assert_eq!(prune("volumes", &volumes)["VolumesDeleted"], json!(["old"]));
        door.delete("/containers/kept?force=1");
        let images = json!({"label!": ["keep=yes"], "dangling": ["false"]});
        let pruned = prune("images", &images);
        assert_eq!(pruned["ImagesDeleted"][0]["Untagged"], "busybox:latest");
        assert_eq!(pruned["SpaceReclaimed"], 0, "the other image has the same layer");
        let pruned = prune("images", &json!({"dangling": ["false"]}));
        assert_eq!(pruned["SpaceReclaimed"], layers);
        assert_eq!(door.get("/system/df").json()["LayersSize"], 0);
    });
}

/// The members of an archive, by name.
fn members(archive: &[u8]) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut members = std::collections::BTreeMap::new();
    let mut reader = image::tar::Reader::new(archive);
    while let Some(entry) = reader.next_entry().unwrap() {
        let name = String::from_utf8(entry.path).unwrap();
        let mut content = Vec::new();
        loop {
            let piece = reader.content().unwrap();
            if piece.is_empty() {
                break;
            }
            content.extend(piece);
            let length = piece.len();
            reader.consume(length);
        }
        members.insert(name, content);
    }
    members
}

fn document(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn what_is_saved_is_a_layout_and_a_docker_archive() {
    with_busybox(|door| {
        import(door, "a/b:1", "&changes=LABEL+a=b");
        for name in ["a/b:2", "second:x"] {
            let (repository, tag) = name.split_once(':').unwrap();
            door.post(&format!("/images/a/b:1/tag?repo={repository}&tag={tag}"), None);
        }
        let id = door.get("/images/busybox/json").json()["Id"].as_str().unwrap().to_owned();
        let get = |query: &str| {
            let answer = door.get(&format!("/images/get?{query}"));
            assert_eq!(answer.status, 200, "{query}");
            assert_eq!(answer.header("content-type"), Some("application/x-tar"));
            answer.body
        };
        let archive = get(&format!("names=a/b&names={}", &id[7..19]));
        assert_eq!(archive, get(&format!("names=a/b&names={id}")), "the bytes are the images' alone");
        let members = members(&archive);
        let saved = document(&members["manifest.json"]);
        assert_eq!(saved[0]["RepoTags"], json!(["a/b:1", "a/b:2"]), "a repository means all its tags");
        assert_eq!(saved[1]["RepoTags"], json!([]), "an id means no name");
        for image in saved.as_array().unwrap() {
            for name in image["Layers"].as_array().unwrap().iter().chain([&image["Config"]]) {
                let name = name.as_str().unwrap();
                let digest = oci::digest::Digest::of(&members[name]);
                assert_eq!(name, format!("blobs/sha256/{}", digest.hex()));
            }
        }
        let index = document(&members["index.json"]);
        let names: Vec<&Value> = index["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| &entry["annotations"]["io.containerd.image.name"])
            .collect();
        assert_eq!(json!(names), json!(["docker.io/a/b:1", "docker.io/a/b:2", null]));
        assert_eq!(document(&members["oci-layout"]), json!({"imageLayoutVersion": "1.0.0"}));
        let top = saved[0]["Layers"][0].as_str().unwrap().rsplit('/').next().unwrap();
        assert_eq!(document(&members["repositories"]), json!({"a/b": {"1": top, "2": top}}));

        door.delete("/images/a/b:1");
        door.delete("/images/a/b:2");
        door.delete("/images/second:x");
        door.delete("/images/busybox");
        let loaded = door.upload("/images/load?quiet=1", &archive);
        assert_eq!(
            String::from_utf8(loaded.body).unwrap(),
            format!(
                "{{\"stream\":\"Loaded image: a/b:1\\n\"}}\n{{\"stream\":\"Loaded image: a/b:2\\n\"}}\n{{\"stream\":\"Loaded image ID: {id}\\n\"}}\n"
            )
        );
        assert_eq!(get(&format!("names=a/b&names={id}")), archive, "and is the same again");
    });
}

#[test]
fn what_cannot_be_saved_is_refused_before_a_byte_is_sent() {
    with_busybox(|door| {
        for (path, status, message) in [
            ("/images/get?names=busybox&names=nothing", 404, "No such image: nothing"),
            ("/images/nothing/get", 404, "No such image: nothing"),
            ("/images/get", 400, "no image is named: `names` is missing"),
            (
                "/images/busybox/get?platform=plan9/z80",
                404,
                "no matching manifest for plan9/z80 in the manifest list entries: busybox:latest is there for linux/amd64",
            ),
        ] {
            let refused = door.get(path);
            assert_eq!((refused.status, refused.message().as_str()), (status, message), "{path}");
        }
        let platform = escape(r#"{"os":"linux","architecture":"amd64"}"#);
        assert_eq!(door.get(&format!("/images/busybox/get?platform={platform}")).status, 200);
    });
}

#[test]
fn a_damaged_layer_is_not_saved_as_if_it_were_whole() {
    with_busybox(|door| {
        let blobs = door.root().join("content/blobs/sha256");
        let largest = std::fs::read_dir(&blobs)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .max_by_key(|path| path.metadata().unwrap().len())
            .unwrap();
        let mut bytes = std::fs::read(&largest).unwrap();
        bytes[5000] ^= 1;
        std::fs::write(&largest, bytes).unwrap();
        let mut answer =
            crate::client::open(&door.socket(), &crate::client::request("GET", "/images/busybox/get", None));
        assert_eq!(answer.status, 200);
        assert!(!answer.rest().ends_with(b"0\r\n\r\n"), "the answer has no end");
    });
}

#[test]
fn an_import_can_come_from_the_web() {
    with_door(|door| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let tar = std::fs::read(busybox_tar()).unwrap();
            // A redirection, the archive, half of it, and nothing.
            let answers: [(String, &[u8]); 4] = [
                (format!("302 Found\r\nLocation: http://{address}/there\r\nContent-Length: 0"), b""),
                (format!("200 OK\r\nContent-Length: {}", tar.len()), &tar),
                (format!("200 OK\r\nContent-Length: {}", tar.len()), &tar[..tar.len() / 2]),
                ("404 Not Found\r\nContent-Length: 0".to_owned(), b""),
            ];
            for (head, body) in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
                crate::client::read_head(&mut reader);
                let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
                std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
                std::io::Write::write_all(&mut stream, body).unwrap();
            }
        });
        let import = |name: &str| {
            let source = escape(&format!("http://{address}/root.tar"));
            door.post(&format!("/images/create?fromSrc={source}&repo={name}"), None)
        };
        let imported = import("web");
        let lines = String::from_utf8(imported.body).unwrap();
        assert!(
            lines.starts_with(&format!("{{\"status\":\"Downloading from http://{address}/root.tar\"}}\n"))
        );
        let id = document(lines.lines().last().unwrap().as_bytes())["status"].clone();
        assert_eq!(door.get("/images/web/json").json()["Id"], id);
        let lines = String::from_utf8(import("half").body).unwrap();
        assert!(lines.lines().last().unwrap().contains("\"error\":"), "{lines}");
        assert_eq!(door.get("/images/half/json").status, 404);
        let missing = import("missing");
        assert_eq!(missing.status, 404, "{}", missing.message());
        server.join().unwrap();
        let odd = door.post("/images/create?fromSrc=ftp%3a%2f%2fx%2fy&repo=x", None);
        assert!(odd.status >= 400 && odd.message().contains("http://HOST"), "{}", odd.message());
    });
}

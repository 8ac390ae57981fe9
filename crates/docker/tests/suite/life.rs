//! The life of containers, images and volumes as clients see it: statuses and documents.

use serde_json::json;

use crate::door::{Door, with_busybox};

#[test]
fn each_step_of_a_life_has_dockers_status() {
    with_busybox(|door| {
        let id = door.create("life", "trap 'exit 7' TERM; while :; do sleep 0.02; done", json!({}));
        let conflict =
            door.post("/containers/create?name=life", Some(&json!({"Image": "busybox", "Cmd": ["true"]})));
        assert_eq!(conflict.status, 409);
        assert_eq!(
            conflict.message(),
            format!(
                "Conflict. The container name \"/life\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
            )
        );
        for (step, status) in [
            ("POST stop", 304),
            ("POST pause", 409),
            ("POST kill", 409),
            ("POST start", 204),
            ("POST start", 304),
            ("POST unpause", 409),
            ("POST pause", 204),
            ("POST unpause", 204),
            ("POST resize?h=1&w=1", 200),
            ("POST rename?name=other", 204),
            ("POST kill?signal=NOPE", 400),
            ("DELETE ", 409),
            ("POST restart?t=5", 204),
            ("POST stop?t=5", 204),
            ("POST stop", 304),
            ("GET json", 200),
            ("GET top", 409),
            ("GET stats?stream=0", 200),
            ("GET stats?stream=1&one-shot=1", 400),
            ("DELETE ?v=1", 204),
            ("DELETE ", 404),
        ] {
            let (method, verb) = step.split_once(' ').unwrap();
            let path = format!("/containers/{}/{verb}", &id[..12]).replace("/?", "?");
            let path = path.strip_suffix('/').unwrap_or(&path);
            let answer = door.send(&crate::client::request(method, path, None));
            assert_eq!(answer.status, status, "{step}: {}", String::from_utf8_lossy(&answer.body));
        }
    });
}

#[test]
fn what_cannot_be_executed_is_a_bad_request() {
    with_busybox(|door| {
        for (command, text, code) in
            [("nothing", "executable file not found", 127), ("/etc/passwd", "permission denied", 126)]
        {
            let id = door.create("odd", "", json!({"Cmd": [command]}));
            let answer = door.post(&format!("/containers/{id}/start"), None);
            assert_eq!(answer.status, 400, "{answer:?}");
            assert!(answer.message().contains(text), "{}", answer.message());
            let state = door.get(&format!("/containers/{id}/json")).json()["State"].clone();
            assert_eq!(state["ExitCode"], code, "{state}");
            assert!(state["Error"].as_str().unwrap().contains(text), "{state}");
            assert_eq!(door.delete(&format!("/containers/{id}")).status, 204);
        }
    });
}

#[test]
fn what_inspect_shows_makes_the_same_container_again() {
    with_busybox(|door| {
        let asked = json!({
            "Image": "busybox", "Cmd": ["true"], "Env": ["A=1"], "Labels": {"k": "v"}, "User": "0:0", "StopTimeout": 3,
            "HostConfig": {
                "NetworkMode": "host", "Memory": 64 << 20, "NanoCpus": 100_000_000, "PidsLimit": 9, "ReadonlyRootfs": true,
                "Binds": ["/tmp:/a:ro", "vol:/b"], "Tmpfs": {"/c": "size=1m"}, "CapDrop": ["ALL"], "ShmSize": 1 << 20,
                "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
            },
        });
        let inspect = |body: &serde_json::Value| {
            let made = door.post("/containers/create", Some(body));
            assert_eq!(made.status, 201, "{made:?}");
            door.get(&format!("/containers/{}/json", made.json()["Id"].as_str().unwrap())).json()
        };
        let first = inspect(&asked);
        let mut again = first["Config"].clone();
        again["HostConfig"] = first["HostConfig"].clone();
        let second = inspect(&again);
        assert_eq!(first["HostConfig"], second["HostConfig"]);
        assert_eq!(first["Config"]["Env"], json!(["A=1"]));
        assert_eq!(first["Config"]["Cmd"], second["Config"]["Cmd"]);
        assert_eq!(first["HostConfig"]["MemorySwap"], 128 << 20);
        assert_eq!(first["Mounts"].as_array().unwrap().len(), 2, "as with Docker without the tmpfs");
        assert_eq!(first["State"]["Status"], "created");
        assert_eq!(first["State"]["StartedAt"], "0001-01-01T00:00:00Z");
    });
}

#[test]
fn lists_are_filtered_sorted_and_cut() {
    with_busybox(|door| {
        for name in ["web-1", "web-2", "other"] {
            door.create(name, "true", json!({"Labels": {"name": name}}));
        }
        let names = |query: &str| -> Vec<String> {
            let list = door.get(&format!("/containers/json?{query}")).json();
            let names =
                list.as_array().unwrap().iter().map(|one| one["Names"][0].as_str().unwrap().to_owned());
            names.collect()
        };
        assert_eq!(names(""), Vec::<String>::new());
        assert_eq!(names("all=1"), ["/other", "/web-2", "/web-1"]);
        assert_eq!(names("limit=2"), ["/other", "/web-2"]);
        for (filter, want) in [
            (r#"{"name":["^/web-1$"]}"#, vec!["/web-1"]),
            (r#"{"name":["web"]}"#, vec!["/web-2", "/web-1"]),
            (r#"{"name":["web-[2-9]","other"]}"#, vec!["/other", "/web-2"]),
            (r#"{"label":["name=other"]}"#, vec!["/other"]),
            (r#"{"status":["created"],"network":["host"]}"#, vec![]),
            (r#"{"network":["none"],"before":["web-2"]}"#, vec!["/web-1"]),
            (r#"{"health":["none"]}"#, vec!["/other", "/web-2", "/web-1"]),
            (r#"{"health":["healthy"]}"#, vec![]),
            (r#"{"ancestor":["busybox"],"since":["web-1"]}"#, vec!["/other", "/web-2"]),
        ] {
            let encoded =
                filter.replace('"', "%22").replace('{', "%7B").replace('}', "%7D").replace('^', "%5E");
            assert_eq!(names(&format!("all=1&filters={encoded}")), want, "{filter}");
        }
    });
}

#[test]
fn images_are_named_tagged_and_removed() {
    with_busybox(|door| {
        let image = door.get("/images/busybox/json").json();
        let id = image["Id"].as_str().unwrap().to_owned();
        assert!(id.starts_with("sha256:"));
        assert_eq!(image["RepoTags"], json!(["busybox:latest"]));
        assert_eq!(door.post("/images/busybox/tag?repo=my/own&tag=v1", None).status, 201);
        for name in [&id, &id[7..19], "my/own:v1", "my%2Fown:v1", "docker.io/my/own:v1"] {
            assert_eq!(door.get(&format!("/images/{name}/json")).json()["Id"], json!(id), "{name}");
        }
        let old = door.get("/v1.41/images/json").json();
        assert!(old[0]["VirtualSize"].is_i64());
        assert!(door.get("/images/json").json()[0].get("VirtualSize").is_none());
        assert_eq!(door.delete("/images/my/own:v1").json(), json!([{"Untagged": "my/own:v1"}]));
        door.create("uses", "true", json!({}));
        assert_eq!(door.delete("/images/busybox").status, 409);
    });
}

#[test]
fn volumes_are_made_shown_and_removed() {
    with_busybox(|door| {
        let body = json!({"Name": "data", "Labels": {"k": "v"}});
        let made = door.post("/volumes/create", Some(&body));
        assert_eq!((made.status, &made.json()["Driver"]), (201, &json!("local")));
        assert_eq!(door.get("/volumes/data").json(), made.json());
        let id =
            door.create("uses", "true", json!({"HostConfig": {"NetworkMode": "none", "Binds": ["data:/d"]}}));
        assert_eq!(door.delete("/volumes/data").status, 409);
        assert_eq!(door.delete(&format!("/containers/{id}?v=1")).status, 204);
        assert_eq!(door.get("/volumes").json()["Volumes"].as_array().unwrap().len(), 1);
        assert_eq!(door.post("/volumes/prune", None).json()["VolumesDeleted"], json!(null));
        let all = "/volumes/prune?filters=%7B%22all%22:%5B%22true%22%5D%7D";
        assert_eq!(door.post(all, None).json()["VolumesDeleted"], json!(["data"]));
        assert_eq!(door.delete("/volumes/data?force=1").status, 204);
    });
}

#[test]
fn many_clients_at_once_get_their_own_answers() {
    with_busybox(|door| {
        std::thread::scope(|scope| {
            for client in 0..12 {
                scope.spawn(move || (0..3).for_each(|round| live_once(door, client, round)));
            }
        });
        assert_eq!(door.get("/containers/json?all=1").json(), json!([]));
    });
}

fn live_once(door: &Door, client: i64, round: i64) {
    let code = client + round;
    let id = door.create(&format!("c{client}-{round}"), &format!("echo {code}; exit {code}"), json!({}));
    let mut attached = door.hijack(&format!("/containers/{id}/attach?stream=1&stdout=1"), None);
    door.start(&id);
    assert_eq!(crate::client::unframe(&attached.rest()), [(1, format!("{code}\n"))]);
    assert_eq!(door.wait(&id), code);
    assert_eq!(door.delete(&format!("/containers/{id}")).status, 204);
}

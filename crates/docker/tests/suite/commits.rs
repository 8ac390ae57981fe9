//! `POST /commit`: what a container made of its image is an image.

use serde_json::{Value, json};

use crate::client::escape;
use crate::door::{Door, with_busybox};

/// Everything that a commit must keep, as text.
const SHOW: &str = "cd /; find bin d etc/passwd hard new soft pipe null tmp big | sort | while read name; do
    stat -c '%n %F %a %u:%g' $name; test -f $name && stat -c '%s %h' $name && md5sum < $name; readlink $name; done; echo; stat -c '%t:%T' null";

fn commit(door: &Door, query: &str, body: Option<&Value>) -> String {
    let made = door.post(&format!("/commit?{query}"), body);
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    made.json()["Id"].as_str().unwrap().to_owned()
}

fn run(door: &Door, name: &str, script: &str, more: Value) -> String {
    let id = door.create(name, script, more);
    door.start(&id);
    assert_eq!(door.wait(&id), 0, "{}", door.printed(&id));
    id
}

#[test]
fn a_committed_image_has_the_files_of_its_container() {
    with_busybox(|door| {
        let change = "set -e; echo new > /new; echo 'me:x:1:1::/:' >> /etc/passwd; rm /bin/arch; mkdir -p /d/e; ln /new /hard
            ln -s new /soft; mknod /pipe p; mknod /null c 1 3; rmdir /tmp; mkdir /tmp; touch /tmp/only
            chmod 2711 /d; chown 33:44 /d/e; echo x > /big; truncate -s 3000000 /big";
        let id = run(door, "source", &format!("{change}\nset +e\n{SHOW}"), json!({}));
        let image = commit(door, &format!("container={id}&repo=made&tag=v1&comment=a+word&author=me"), None);
        let copy = run(door, "copy", SHOW, json!({"Image": "made:v1"}));
        assert_eq!(door.printed(&copy), door.printed(&id));
        assert!(door.printed(&copy).contains("big regular file"), "{}", door.printed(&copy));
        assert!(!door.printed(&copy).contains("bin/arch "), "what was deleted is gone");

        let inspected = door.get("/images/made:v1/json").json();
        assert_eq!(inspected["Id"], image);
        assert_eq!((&inspected["Author"], &inspected["Comment"]), (&json!("me"), &json!("a word")));
        assert_eq!(inspected["RootFS"]["Layers"].as_array().unwrap().len(), 2);
        let steps = door.get("/images/made:v1/history").json();
        assert_eq!(steps[0]["Comment"], "a word");
        assert!(steps[0]["CreatedBy"].as_str().unwrap().starts_with("sh -c set -e"));
        assert!(steps[0]["Size"].as_i64().unwrap() >= 3_000_000);
        assert_eq!(steps[1]["Comment"], "imported from a tar archive");
    });
}

#[test]
fn a_directory_that_was_made_anew_hides_what_was_there() {
    with_busybox(|door| {
        run(door, "first", "mkdir /d; touch /d/old", json!({}));
        commit(door, "container=first&repo=first", None);
        run(door, "second", "rm -r /d; mkdir /d; touch /d/new", json!({"Image": "first"}));
        commit(door, "container=second&repo=second", None);
        let id = run(door, "third", "ls /d", json!({"Image": "second"}));
        assert_eq!(door.printed(&id), "new\n");
        assert_eq!(door.get("/images/second/json").json()["RootFS"]["Layers"].as_array().unwrap().len(), 3);
    });
}

#[test]
fn a_container_that_changed_nothing_adds_no_layer() {
    with_busybox(|door| {
        let id = run(door, "idle", "true", json!({}));
        let image = commit(door, &format!("container={id}"), None);
        let (made, from) =
            (door.get(&format!("/images/{image}/json")).json(), door.get("/images/busybox/json").json());
        assert_eq!(made["RootFS"], from["RootFS"]);
        assert_eq!(made["RepoTags"], json!([]));
        assert_eq!(door.get(&format!("/images/{image}/history")).json()[0]["Size"], 0);
    });
}

#[test]
fn a_commit_is_told_what_the_image_runs() {
    with_busybox(|door| {
        let more = json!({"Env": ["A=1", "B=2"], "Labels": {"from": "container"}, "User": "0", "WorkingDir": "/etc"});
        let id = run(door, "told", "touch /x", more);
        let changes =
            ["CMD [\"cat\", \"/x\"]", "ENV A=3", "EXPOSE 80", "HEALTHCHECK CMD true", "ONBUILD RUN x"];
        let changes: String = changes.iter().map(|change| format!("&changes={}", escape(change))).collect();
        let body = json!({"Labels": {"by": "client"}, "StopSignal": "SIGINT"});
        commit(door, &format!("container={id}&repo=told{changes}"), Some(&body));
        let config = door.get("/images/told/json").json()["Config"].clone();
        assert_eq!(config["Cmd"], json!(["cat", "/x"]));
        let env = config["Env"].as_array().unwrap();
        assert!(
            env.contains(&json!("A=3")) && env.contains(&json!("B=2")) && !env.contains(&json!("A=1")),
            "{env:?}"
        );
        assert_eq!(config["Labels"], json!({"from": "container", "by": "client"}));
        assert_eq!((&config["User"], &config["WorkingDir"]), (&json!("0"), &json!("/etc")));
        assert_eq!(config["ExposedPorts"], json!({"80/tcp": {}}));
        assert_eq!(config["Healthcheck"]["Test"], json!(["CMD-SHELL", "true"]));
        assert_eq!((&config["OnBuild"], &config["StopSignal"]), (&json!(["RUN x"]), &json!("SIGINT")));
        for (query, status, message) in [
            ("container=nothing", 404, "No such container: nothing"),
            ("repo=x", 400, "no container is named: `container` is missing"),
            ("container=told&repo=UPPER", 400, "invalid reference format"),
            ("container=told&changes=RUN+true", 400, "RUN is not a valid change command"),
        ] {
            let refused = door.post(&format!("/commit?{query}"), None);
            assert_eq!(refused.status, status, "{query}");
            assert!(refused.message().contains(message), "{query}: {}", refused.message());
        }
    });
}

#[test]
fn processes_stand_still_meanwhile_and_then_go_on() {
    with_busybox(|door| {
        let id = door.create("busy", "while :; do echo x >> /file; done", json!({}));
        door.start(&id);
        let twice: Vec<_> = ["&repo=a", "&repo=b&pause=0"]
            .map(|query| {
                let (socket, path) = (door.socket(), format!("/commit?container={id}{query}"));
                std::thread::spawn(move || {
                    crate::client::send(&socket, &crate::client::request("POST", &path, None)).status
                })
            })
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        assert_eq!(twice, [201, 201]);
        let state = door.get(&format!("/containers/{id}/json")).json()["State"]["Status"].clone();
        assert_eq!(state, "running");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 1;
        let events = door.get(&format!("/events?since=1&until={now}"));
        let actions: Vec<String> = String::from_utf8(events.body)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["Action"].as_str().unwrap().to_owned())
            .filter(|action| ["pause", "unpause", "commit"].contains(&action.as_str()))
            .collect();
        assert_eq!(actions.iter().filter(|action| *action == "commit").count(), 2, "{actions:?}");
        assert_eq!(actions.iter().filter(|action| *action == "pause").count(), 1, "{actions:?}");
        assert_eq!(actions.iter().filter(|action| *action == "unpause").count(), 1, "{actions:?}");
    });
}

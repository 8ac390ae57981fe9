//! What events tell of a life, and to whom.

use serde_json::{Value, json};

use crate::door::{Door, with_busybox};

/// The events so far that pass the filters.
fn events(door: &Door, filters: &Value) -> Vec<Value> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let until = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
    let filters: String = filters.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect();
    let answer = door.get(&format!("/events?since=1&until={until}&filters={filters}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let lines = answer.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn actions(events: &[Value]) -> Vec<String> {
    let word = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
    events.iter().map(|event| format!("{} {}", word(event, "Type"), word(event, "Action"))).collect()
}

#[test]
fn a_life_is_told_step_by_step() {
    with_busybox(|door| {
        let host = json!({"NetworkMode": "bridge", "Binds": ["data:/data"]});
        let id = door.create("told", "exit 3", json!({"HostConfig": host, "Labels": {"tier": "web"}}));
        door.start(&id);
        assert_eq!(door.wait(&id), 3);
        assert_eq!(door.delete(&format!("/containers/{id}")).status, 204);
        let all = events(door, &json!({"type": ["container", "network", "volume"]}));
        let expected = [
            "volume create",
            "container create",
            "volume mount",
            "network connect",
            "container start",
            "container die",
            "network disconnect",
            "volume unmount",
            "container destroy",
        ];
        assert_eq!(actions(&all), expected);
        let die = all.iter().find(|event| event["Action"] == "die").unwrap();
        assert_eq!(
            (&die["status"], &die["id"], &die["from"]),
            (&json!("die"), &json!(id), &json!("busybox"))
        );
        let attributes = &die["Actor"]["Attributes"];
        assert_eq!(
            (&attributes["exitCode"], &attributes["name"], &attributes["tier"]),
            (&json!("3"), &json!("told"), &json!("web"))
        );
        let connect = all.iter().find(|event| event["Action"] == "connect").unwrap();
        let attributes = &connect["Actor"]["Attributes"];
        assert_eq!((&attributes["container"], &attributes["name"]), (&json!(id), &json!("bridge")));
        assert!(connect.get("status").is_none(), "only containers and images have the old keys");
        for (filter, count) in [
            (json!({"container": ["told"], "event": ["die", "start"]}), 2),
            (json!({"network": ["bridge"]}), 2),
            (json!({"volume": ["data"], "event": ["mount"]}), 1),
            (json!({"label": ["tier=web"], "event": ["die"]}), 1),
            (json!({"label": ["tier=db"]}), 0),
            (json!({"daemon": ["x"]}), 0),
            (json!({"scope": ["swarm"]}), 0),
        ] {
            assert_eq!(events(door, &filter).len(), count, "{filter}");
        }
    });
}

//! What containers use and may use: stats, top, update.

use serde_json::{Value, json};

use crate::client;
use crate::door::{Door, with_busybox};

fn run(door: &Door, name: &str, script: &str, host: Value) -> String {
    let id = door.create(name, script, json!({"HostConfig": host}));
    assert_eq!(door.post(&format!("/containers/{name}/start"), None).status, 204);
    id
}

fn remove(door: &Door, name: &str) {
    let removed = door.send(&client::request("DELETE", &format!("/containers/{name}?force=1"), None));
    assert_eq!(removed.status, 204);
}

#[test]
fn figures_are_dockers_document_and_come_as_long_as_somebody_reads() {
    with_busybox(|door| {
        let id = run(door, "busy", "while :; do :; done", json!({"Memory": 64 << 20, "PidsLimit": 7}));
        let once = door.get("/containers/busy/stats?stream=0").json();
        assert_eq!((&once["name"], &once["id"]), (&json!("/busy"), &json!(id)));
        assert_eq!(once["memory_stats"]["limit"], 64 << 20);
        assert_eq!((&once["pids_stats"]["limit"], &once["pids_stats"]["current"]), (&json!(7), &json!(1)));
        let total = |stats: &Value| stats["cpu_usage"]["total_usage"].as_u64().unwrap();
        assert!(total(&once["cpu_stats"]) > total(&once["precpu_stats"]) && total(&once["precpu_stats"]) > 0);
        assert!(
            once["cpu_stats"]["system_cpu_usage"].as_u64()
                > once["precpu_stats"]["system_cpu_usage"].as_u64()
        );
        assert!(once["networks"]["eth0"]["tx_bytes"].is_u64(), "{once}");
        assert!(once["memory_stats"]["stats"].as_object().unwrap().len() > 10);
        let shot = door.get("/containers/busy/stats?stream=0&one-shot=1").json();
        assert_eq!(total(&shot["precpu_stats"]), 0);
        let mut stream =
            client::open(&door.socket(), &client::request("GET", "/containers/busy/stats", None));
        let line = |chunk: Vec<u8>| serde_json::from_slice::<Value>(&chunk).unwrap();
        let (first, second) = (line(stream.chunk().unwrap()), line(stream.chunk().unwrap()));
        assert_eq!(first["read"], second["preread"]);
        assert!(total(&second["cpu_stats"]) > total(&first["cpu_stats"]));
        assert_eq!(door.post("/containers/busy/stop?t=0", None).status, 204);
        // A stopped container has no figures; a stream that is open waits for its next start.
        let stopped = door.get("/containers/busy/stats?stream=0").json();
        assert_eq!(stopped["read"], "0001-01-01T00:00:00Z");
        remove(door, "busy");
        while stream.chunk().is_some() {}
        assert_eq!(door.get("/containers/busy/stats").status, 404);
    });
}

#[test]
fn all_who_read_figures_get_the_same_ones() {
    with_busybox(|door| {
        run(door, "calm", "sleep 1000", json!({}));
        let open = || client::open(&door.socket(), &client::request("GET", "/containers/calm/stats", None));
        let next = |stream: &mut client::Open| {
            let line = serde_json::from_slice::<Value>(&stream.chunk().unwrap()).unwrap();
            line["read"].as_str().unwrap().to_owned()
        };
        let (mut one, mut others) = (open(), [open(), open()]);
        let seen = others.each_mut().map(|stream| [next(stream), next(stream), next(stream)]);
        let mut all = Vec::new();
        while all.last() < seen.iter().flatten().max() {
            all.push(next(&mut one));
        }
        assert!(seen.iter().flatten().all(|read| all.contains(read)), "{seen:?} are not of {all:?}");
        remove(door, "calm");
    });
}

#[test]
fn processes_are_listed_as_ps_lists_them() {
    with_busybox(|door| {
        run(door, "two", "sleep 1234 & sleep 1235; true", json!({}));
        let of = |query: &str| door.get(&format!("/containers/two/top{query}"));
        let (mut table, mut tries) = (of("").json(), 0);
        // The second one takes a moment to be there.
        while table["Processes"].as_array().unwrap().len() < 3 && tries < 1000 {
            (table, tries) = (of("").json(), tries + 1);
        }
        assert_eq!(table["Titles"], json!(["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]));
        let commands: Vec<&str> =
            table["Processes"].as_array().unwrap().iter().filter_map(|row| row[7].as_str()).collect();
        assert!(commands.contains(&"sleep 1234") && commands.contains(&"sleep 1235"), "{commands:?}");
        assert_eq!(commands.len(), 3, "{commands:?}");
        let own = of("?ps_args=-o%20pid,comm").json();
        assert_eq!(
            (&own["Titles"], own["Processes"].as_array().unwrap().len()),
            (&json!(["PID", "COMMAND"]), 3)
        );
        for (query, text) in [
            ("?ps_args=-o%20comm", "Couldn't find PID field in ps output"),
            ("?ps_args=--nonsense", "ps: error: unknown gnu long option"),
            ("?ps_args=-o%20pid=x", "is not allowed"),
        ] {
            let refused = of(query);
            assert!(refused.status >= 400 && refused.message().contains(text), "{query}: {refused:?}");
        }
        remove(door, "two");
    });
}

#[test]
fn limits_and_policy_change_at_once_and_for_good() {
    with_busybox(|door| {
        run(door, "one", "sleep 1000", json!({"Memory": 64 << 20}));
        let update = |body: Value| door.post("/containers/one/update", Some(&body));
        let changed = update(json!({
            "Memory": 96 << 20, "MemorySwap": 128 << 20, "CpuShares": 512, "CpuQuota": 50_000, "CpuPeriod": 100_000,
            "PidsLimit": 9, "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
        }));
        assert_eq!((changed.status, &changed.json()["Warnings"]), (200, &Value::Null), "{changed:?}");
        let used = door.get("/containers/one/stats?stream=0&one-shot=1").json();
        assert_eq!(
            (&used["memory_stats"]["limit"], &used["pids_stats"]["limit"]),
            (&json!(96 << 20), &json!(9))
        );
        let shown = door.get("/containers/one/json").json()["HostConfig"].clone();
        for (field, value) in
            [("Memory", 96 << 20), ("MemorySwap", 128 << 20), ("CpuShares", 512), ("PidsLimit", 9)]
        {
            assert_eq!(shown[field], value, "{field}");
        }
        assert_eq!(shown["RestartPolicy"], json!({"Name": "on-failure", "MaximumRetryCount": 2}));
        // They count for the next run, too.
        assert_eq!(door.post("/containers/one/restart?t=0", None).status, 204);
        let used = door.get("/containers/one/stats?stream=0&one-shot=1").json();
        assert_eq!(used["pids_stats"]["limit"], 9);
        for (body, status, text) in [
            (json!({"Memory": 1024}), 400, "Minimum memory limit allowed is 6MB"),
            (json!({"Memory": 512 << 20}), 400, "already set memoryswap limit"),
            (json!({"NanoCpus": 500_000_000}), 400, "Nano CPUs cannot be updated as CPU Period"),
            (json!({"CpusetCpus": "99"}), 400, "Requested CPUs are not available"),
            (json!({"RestartPolicy": {"Name": "often"}}), 400, "invalid restart policy"),
        ] {
            let refused = update(body.clone());
            assert_eq!(refused.status, status, "{body}: {refused:?}");
            assert!(refused.message().contains(text), "{body}: {}", refused.message());
        }
        // What was refused is not noted.
        assert_eq!(door.get("/containers/one/json").json()["HostConfig"]["CpusetCpus"], "");
        assert_eq!(update(json!({"PidsLimit": 0})).status, 200);
        let used = door.get("/containers/one/stats?stream=0&one-shot=1").json();
        assert_eq!(used["pids_stats"]["limit"], u64::MAX);
        remove(door, "one");
    });
}

//! Logs that the real shim writes.

use engine::containers::spec::LogSpec;
use engine::containers::{LogOptions, LogSource, WaitCondition};

use crate::host::with_host;

const LINES: usize = 20_000;

#[test]
fn a_follower_sees_each_line_once_across_rotation_and_ends_with_the_container() {
    with_host(async |host| {
        let script =
            format!("i=0; while [ $i -lt {LINES} ]; do echo out $i; echo err $i >&2; i=$((i+1)); done");
        let id = host
            .create_with("writer", &script, |spec| {
                let options = [("max-size", "100k"), ("max-file", "200")];
                let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
                spec.log = LogSpec { driver: "json-file".into(), options };
            })
            .await;
        let containers = host.engine().containers();
        containers.start(&id).await.unwrap();
        let both = LogOptions { stdout: true, stderr: true, ..LogOptions::default() };
        let mut stream = containers.logs(&id, LogOptions { follow: true, ..both }).await.unwrap();
        let mut counts = (0, 0);
        let mut last_ns = 0;
        while let Some(entry) = stream.next().await {
            let entry = entry.unwrap();
            let (word, count) = match entry.stream {
                LogSource::Stdout => ("out", &mut counts.0),
                LogSource::Stderr => ("err", &mut counts.1),
            };
            assert_eq!(String::from_utf8_lossy(&entry.bytes), format!("{word} {count}\n"));
            *count += 1;
            assert!(entry.time_ns > last_ns, "times are strictly increasing: {last_ns} {entry:?} {counts:?}");
            last_ns = entry.time_ns;
        }
        assert_eq!(counts, (LINES, LINES));
        host.wait(&id, WaitCondition::NotRunning).await;
        let mut again = containers.logs(&id, LogOptions { tail: Some(3), ..both }).await.unwrap();
        let mut rest = 0;
        while let Some(entry) = again.next().await {
            entry.unwrap();
            rest += 1;
        }
        assert_eq!(rest, 3);
    });
}

//! Options are read, and refused, in Docker's words.

use super::*;

/// Options as a test writes them.
type Given<'a> = &'a [(&'a str, &'a str)];

fn parse(driver: &str, options: Given<'_>) -> Result<LogPlan, String> {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let spec = LogSpec { driver: driver.into(), options };
    spec.check().and_then(|()| LogPlan::parse(&spec)).map_err(|error| error.to_string())
}

#[test]
fn what_a_file_cannot_be_is_told_as_by_its_driver() {
    let cases: &[(Given<'_>, &str)] = &[
        (&[("max-size", "abc")], "invalid size: 'abc'"),
        (&[("max-file", "0")], "max-file cannot be less than 1"),
        (&[("max-file", "x")], "strconv.Atoi: parsing \"x\": invalid syntax"),
        (&[("compress", "maybe")], "strconv.ParseBool: parsing \"maybe\": invalid syntax"),
        (
            &[("compress", "true")],
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
    ];
    for (options, why) in cases {
        let want = format!("failed to initialize logging driver: {why}");
        assert_eq!(parse("json-file", options).unwrap_err(), want, "{options:?}");
    }
}

#[test]
fn nonsense_is_refused_in_dockers_words() {
    let cases: &[(&str, Given<'_>, &str)] = &[
        ("nope", &[], "error looking up logging plugin nope: plugin \"nope\" not found"),
        ("gelf", &[], "the log driver `gelf` (`--log-driver`) is not there yet"),
        ("json-file", &[("foo", "x")], "unknown log opt 'foo' for json-file log driver"),
        ("json-file", &[("mode", "fast")], "logger: logging mode not supported: fast"),
        (
            "json-file",
            &[("max-buffer-size", "1m")],
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        (
            "json-file",
            &[("mode", "non-blocking"), ("max-buffer-size", "x")],
            "error parsing option max-buffer-size: invalid size: 'x'",
        ),
        ("json-file", &[("cache-disabled", "x")], "invalid value for option cache-disabled: x"),
        ("local", &[("labels", "x")], "unknown log opt 'labels' for log driver local"),
        ("local", &[("max-size", "-1")], "invalid value for max-size: -1: invalid size: '-1'"),
        ("journald", &[("foo", "x")], "unknown log opt 'foo' for journald log driver"),
        ("syslog", &[("foo", "x")], "unknown log opt 'foo' for syslog log driver"),
        (
            "syslog",
            &[("syslog-address", "http://x")],
            "syslog-address should be in form proto://address, got http://x",
        ),
        (
            "syslog",
            &[("syslog-address", "udp://a:b:c")],
            "parse \"udp://a:b:c\": invalid port \":b:c\" after host",
        ),
        ("syslog", &[("syslog-address", "tcp+tls://x")], "syslog over TLS (`tcp+tls://`) is not there yet"),
        ("syslog", &[("syslog-facility", "x")], "invalid syslog facility"),
        ("syslog", &[("syslog-format", "x")], "Invalid syslog format"),
        ("fluentd", &[("foo", "x")], "unknown log opt 'foo' for fluentd log driver"),
        (
            "fluentd",
            &[("fluentd-address", "http://x")],
            "invalid fluentd-address (http://x): unsupported scheme: 'http'",
        ),
        (
            "fluentd",
            &[("fluentd-address", "x:y")],
            "invalid fluentd-address (x:y): parse \"tcp://x:y\": invalid port \":y\" after host",
        ),
        ("fluentd", &[("fluentd-address", "tls://x")], "fluentd over TLS (`tls://`) is not there yet"),
        ("fluentd", &[("fluentd-retry-wait", "x")], "time: invalid duration \"x\""),
        ("fluentd", &[("fluentd-buffer-limit", "x")], "invalid size: 'x'"),
        ("fluentd", &[("fluentd-max-retries", "x")], "strconv.ParseUint: parsing \"x\": invalid syntax"),
        ("fluentd", &[("fluentd-request-ack", "x")], "strconv.ParseBool: parsing \"x\": invalid syntax"),
    ];
    for (driver, options, want) in cases {
        assert_eq!(parse(driver, options).expect_err(want), *want, "{driver} {options:?}");
    }
}

#[test]
fn what_is_asked_for_is_planned() {
    let plan = parse("json-file", &[("max-size", "10m"), ("max-file", "3"), ("compress", "true")]).unwrap();
    assert_eq!(plan.file, Some(FilePlan { max_size_bytes: 10_000_000, max_files: 3, compress: true }));
    assert_eq!(parse("local", &[("max-file", "1")]).unwrap().file.map(|file| file.compress), Some(false));
    let plan = parse(
        "syslog",
        &[("mode", "non-blocking"), ("max-buffer-size", "4m"), ("syslog-address", "tcp://h")],
    );
    let collector = plan.unwrap().collector.unwrap();
    assert_eq!((collector.drops, collector.buffer_bytes), (true, 4 << 20));
    let CollectorKind::Syslog(syslog) = collector.kind else { panic!("a syslog") };
    assert_eq!(syslog.place, Place::Tcp { host: "h".into(), port: 514 });
    let collector = parse("fluentd", &[("fluentd-buffer-limit", "2m")]).unwrap().collector.unwrap();
    assert_eq!(collector.buffer_bytes, 2 << 20);
    let CollectorKind::Fluentd(fluentd) = collector.kind else { panic!("a fluentd") };
    assert_eq!(fluentd.place, Place::Tcp { host: "localhost".into(), port: 24224 });
}

#[test]
fn only_a_log_with_a_file_can_be_read_back() {
    let readable = |driver: &str, options: &[(&str, &str)]| {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        LogSpec { driver: driver.into(), options }.is_readable()
    };
    assert!(readable("json-file", &[]) && readable("local", &[]) && readable("journald", &[]));
    assert!(!readable("none", &[]) && !readable("journald", &[("cache-disabled", "1")]));
}

#[test]
fn defaults_are_for_their_driver_only() {
    let spec = |driver: &str, options: &[(&str, &str)]| LogSpec {
        driver: driver.into(),
        options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    };
    let default = spec("json-file", &[("max-size", "10m"), ("max-file", "3")]);
    assert_eq!(spec("", &[]).or_default(&default), default);
    let own = spec("", &[("max-size", "1m")]).or_default(&default);
    assert_eq!(own, spec("json-file", &[("max-size", "1m"), ("max-file", "3")]));
    assert_eq!(spec("local", &[]).or_default(&default), spec("local", &[]));
}

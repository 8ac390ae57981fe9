//! `--ulimit`, `--device`, `--cpus`, `--restart`: small grammars with Docker's words for what is wrong.

use api::docker::host_config::{DeviceMapping, RestartPolicy, Ulimit};

/// The limits that have a short name.
const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Nano-CPUs of one CPU.
const NANO: i64 = 1_000_000_000;

/// A size, or `-1` for as much swap as there is.
pub(crate) fn swap(text: &str) -> Result<i64, crate::size::SizeError> {
    if text == "-1" { Ok(-1) } else { crate::size::parse(text) }
}

/// `NAME=SOFT[:HARD]`; `-1` is unlimited.
pub(crate) fn ulimit(text: &str) -> Result<Ulimit, String> {
    let (name, values) = text.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !ULIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let number = |text: &str| {
        text.parse::<i64>().map_err(|_| format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"))
    };
    let (soft, hard) = match values.split(':').collect::<Vec<_>>()[..] {
        [soft] => (number(soft)?, number(soft)?),
        [soft, hard] => (number(soft)?, number(hard)?),
        _ => {
            return Err(format!(
                "too many limit value arguments - {values}, can only have up to two, `soft[:hard]`"
            ));
        }
    };
    const RULE: &str = "ulimit soft limit must be less than or equal to hard limit";
    match (soft, hard) {
        (_, -1) => {}
        (-1, hard) => return Err(format!("{RULE}: soft: -1 (unlimited), hard: {hard}")),
        (soft, hard) if soft > hard => return Err(format!("{RULE}: {soft} > {hard}")),
        _ => {}
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

/// `HOST[:CONTAINER][:RIGHTS]`, rights out of `rwm`.
pub(crate) fn device(text: &str) -> Result<DeviceMapping, String> {
    let is_rights = |text: &str| {
        let is_distinct = |(index, c): (usize, char)| "rwm".contains(c) && text.find(c) == Some(index);
        !text.is_empty() && text.char_indices().all(is_distinct)
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, rights) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, rights] if is_rights(rights) => (host, host, rights),
        [host, container] => (host, container, "rwm"),
        [host, container, rights] => (host, container, rights),
        _ => return Err(format!("bad format for path: {text}")),
    };
    if let Some(path) = [host, container].iter().find(|path| !path.starts_with('/')) {
        return Err(format!("{path} is not an absolute path"));
    }
    if !is_rights(rights) {
        return Err(format!("bad mode specified: {rights}"));
    }
    Ok(DeviceMapping {
        path_on_host: host.to_owned(),
        path_in_container: container.to_owned(),
        cgroup_permissions: rights.to_owned(),
    })
}

/// A decimal number of CPUs, in billionths.
pub(crate) fn cpus(text: &str) -> Result<i64, String> {
    let not_a_number = || format!("failed to parse {text} as a rational number");
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction) {
        return Err(not_a_number());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 9 {
        return Err("value is too precise".into());
    }
    let number =
        |text: &str| if text.is_empty() { Ok(0) } else { text.parse::<i64>().map_err(|_| not_a_number()) };
    let billionths = number(&format!("{fraction:0<9}"))?;
    number(whole)?.checked_mul(NANO).and_then(|nano| nano.checked_add(billionths)).ok_or_else(not_a_number)
}

/// `no`, `always`, `unless-stopped`, `on-failure[:TIMES]`.
pub(crate) fn restart(text: &str) -> Result<RestartPolicy, String> {
    let (name, count) = match text.split_once(':') {
        Some(("", _)) => return Err("invalid restart policy format: no policy provided before colon".into()),
        Some((name, count)) => (name, Some(count)),
        None => (text, None),
    };
    let maximum_retry_count = match count.map(str::parse::<i64>) {
        Some(Ok(count)) if count >= 0 => count,
        Some(_) => return Err("invalid restart policy format: maximum retry count must be an integer".into()),
        None => 0,
    };
    match name {
        "no" | "always" | "unless-stopped" if count.is_some() => Err(format!(
            "invalid restart policy: maximum retry count cannot be used with restart policy '{name}'"
        )),
        "" | "no" | "always" | "unless-stopped" | "on-failure" => {
            Ok(RestartPolicy { name: name.to_owned(), maximum_retry_count })
        }
        _ => Err(format!(
            "invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or \
             'unless-stopped'"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{cpus, device, restart, ulimit};
    use proptest::prelude::*;

    type Expected<T> = Result<T, &'static str>;
    type Device = (&'static str, &'static str, &'static str);

    #[test]
    fn ulimits() {
        let cases: [(&str, Expected<(i64, i64)>); 9] = [
            ("nofile=1024", Ok((1024, 1024))),
            ("nofile=1:2", Ok((1, 2))),
            ("core=-1", Ok((-1, -1))),
            ("core=5:-1", Ok((5, -1))),
            (
                "core=-1:5",
                Err(
                    "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: 5",
                ),
            ),
            ("nofile=2:1", Err("ulimit soft limit must be less than or equal to hard limit: 2 > 1")),
            ("nofile", Err("invalid ulimit argument: nofile")),
            ("files=1", Err("invalid ulimit type: files")),
            (
                "nofile=1:2:3",
                Err("too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`"),
            ),
        ];
        for (text, expected) in cases {
            let read = ulimit(text).map(|ulimit| (ulimit.soft, ulimit.hard));
            assert_eq!(read, expected.map_err(str::to_owned), "{text}");
        }
        assert_eq!(ulimit("nofile=x").unwrap_err(), "strconv.ParseInt: parsing \"x\": invalid syntax");
    }

    #[test]
    fn devices() {
        let cases: [(&str, Expected<Device>); 10] = [
            ("/dev/null", Ok(("/dev/null", "/dev/null", "rwm"))),
            ("/dev/null:/dev/x", Ok(("/dev/null", "/dev/x", "rwm"))),
            ("/dev/null:r", Ok(("/dev/null", "/dev/null", "r"))),
            ("/dev/null:/dev/x:mr", Ok(("/dev/null", "/dev/x", "mr"))),
            ("/dev/null:/dev/x:q", Err("bad mode specified: q")),
            ("/dev/null:/dev/x:rr", Err("bad mode specified: rr")),
            ("/dev/null:/dev/x:", Err("bad mode specified: ")),
            ("null", Err("null is not an absolute path")),
            ("/a:/b:r:w", Err("bad format for path: /a:/b:r:w")),
            ("nvidia.com/gpu", Err("nvidia.com/gpu is not an absolute path")),
        ];
        for (text, expected) in cases {
            let read = device(text);
            let read = read.as_ref().map(|device| {
                (&*device.path_on_host, &*device.path_in_container, &*device.cgroup_permissions)
            });
            assert_eq!(read.map_err(String::as_str), expected, "{text}");
        }
    }

    #[test]
    fn processors() {
        let cases = [
            ("1", Ok(1_000_000_000)),
            ("1.5", Ok(1_500_000_000)),
            (".5", Ok(500_000_000)),
            ("2.", Ok(2_000_000_000)),
            ("0.0000000010", Ok(1)),
            ("0.0000000001", Err("value is too precise")),
            ("abc", Err("failed to parse abc as a rational number")),
            ("-1", Err("failed to parse -1 as a rational number")),
            ("", Err("failed to parse  as a rational number")),
            (".", Err("failed to parse . as a rational number")),
            ("99999999999999", Err("failed to parse 99999999999999 as a rational number")),
        ];
        for (text, expected) in cases {
            assert_eq!(cpus(text), expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn restart_policies() {
        for (text, name, count) in [
            ("no", "no", 0),
            ("always", "always", 0),
            ("on-failure", "on-failure", 0),
            ("on-failure:3", "on-failure", 3),
        ] {
            let policy = restart(text).unwrap();
            assert_eq!((policy.name.as_str(), policy.maximum_retry_count), (name, count));
        }
        for text in [":3", "on-failure:x", "on-failure:-1", "always:3", "sometimes"] {
            assert!(restart(text).unwrap_err().starts_with("invalid restart policy"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_the_grammars(text in "\\PC*") {
            let _ = ulimit(&text);
            let _ = device(&text);
            let _ = cpus(&text);
            let _ = restart(&text);
        }

        #[test]
        fn billionths_are_read_exactly(whole in 0i64..1_000_000, nano in 0i64..1_000_000_000) {
            prop_assert_eq!(cpus(&format!("{whole}.{nano:09}")), Ok(whole * 1_000_000_000 + nano));
        }
    }
}

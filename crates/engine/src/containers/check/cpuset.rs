//! Whether the processors and memory nodes that a container is bound to are there, in Docker's words.

use std::collections::BTreeSet;

use super::invalid;
use crate::containers::spec::ResourceSpec;
use crate::error::Result;

/// The kernel's own bound of processors is 8192; Docker has the same.
const NUMBER_MAX: u32 = 8191;
/// What this machine has, as `0-3,7`.
const CPUS: &str = "/sys/devices/system/cpu/online";
const NODES: &str = "/sys/devices/system/node/online";

pub(super) fn check(resources: &ResourceSpec) -> Result<()> {
    // A kernel without memory nodes has one.
    let machine =
        |path| std::fs::read_to_string(path).map_or_else(|_| "0".into(), |text| text.trim().to_owned());
    for (asked, flag, what, path) in [
        (&resources.cpuset_cpus, "cpus", "CPUs", CPUS),
        (&resources.cpuset_mems, "mems", "memory nodes", NODES),
    ] {
        if !asked.is_empty() {
            check_one(asked, &machine(path), flag, what)?;
        }
    }
    Ok(())
}

fn check_one(asked: &str, available: &str, flag: &str, what: &str) -> Result<()> {
    let wanted = match parse(asked) {
        Ok(wanted) => wanted,
        Err(why) => return invalid(format!("Invalid value {asked} for cpuset {flag}: {why}")),
    };
    match parse(available) {
        Ok(there) if !wanted.is_subset(&there) => {
            invalid(format!("Requested {what} are not available - requested {asked}, available: {available}"))
        }
        _ => Ok(()),
    }
}

/// The numbers of a list such as `0-3,7`: cpuset(7).
fn parse(list: &str) -> Result<BTreeSet<u32>, String> {
    let format = || format!("invalid format: {list}");
    let number = |text: &str| text.parse::<u32>().map_err(|_| format());
    let mut numbers = BTreeSet::new();
    for part in list.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if last < first {
            return Err(format());
        }
        if last > NUMBER_MAX {
            return Err(format!("value of out range, maximum is {NUMBER_MAX}"));
        }
        numbers.extend(first..=last);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_refused_with_what_is() {
        let said = |asked| check_one(asked, "0-3,7", "cpus", "CPUs").err().map(|error| error.to_string());
        for fits in ["0", "0-3", "7", "1,3,7", "0-1,2-3"] {
            assert_eq!(said(fits), None, "{fits}");
        }
        for (asked, want) in [
            ("x", "Invalid value x for cpuset cpus: invalid format: x"),
            ("3-1", "Invalid value 3-1 for cpuset cpus: invalid format: 3-1"),
            ("0,", "Invalid value 0, for cpuset cpus: invalid format: 0,"),
            ("9000", "Invalid value 9000 for cpuset cpus: value of out range, maximum is 8191"),
            (
                "0-4294967295",
                "Invalid value 0-4294967295 for cpuset cpus: value of out range, maximum is 8191",
            ),
            ("4", "Requested CPUs are not available - requested 4, available: 0-3,7"),
            ("0-7", "Requested CPUs are not available - requested 0-7, available: 0-3,7"),
        ] {
            assert_eq!(said(asked).as_deref(), Some(want));
        }
    }
}

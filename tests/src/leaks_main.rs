//! `leaks before FILE` remembers the machine; `leaks after FILE` fails if something of ours is left since.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)]

use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use tests::leaks::{Snapshot, remove_test_cgroups};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["before", file] => {
            fs::write(file, Snapshot::take().text()).expect("the snapshot is written");
            ExitCode::SUCCESS
        }
        ["after", file] => {
            let before = Snapshot::parse(&fs::read_to_string(file).expect("the snapshot is read"));
            remove_test_cgroups();
            // The kernel takes network namespaces and mounts apart in the background.
            thread::sleep(Duration::from_secs(2));
            let left = Snapshot::take().since(&before);
            for line in &left {
                eprintln!("left behind: {line}");
            }
            if left.is_empty() {
                println!("leak check: nothing left behind");
                return ExitCode::SUCCESS;
            }
            ExitCode::FAILURE
        }
        _ => {
            eprintln!("usage: leaks before|after FILE");
            ExitCode::from(2)
        }
    }
}

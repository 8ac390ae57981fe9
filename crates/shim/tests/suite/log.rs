//! The log is whole and in order.

use api::shim::CreateOptions;

use crate::fixture::*;

fn logging(script: &str, max_size_bytes: u64, max_files: u32) -> Shim {
    let mut bundle = Bundle::new();
    bundle.process().args = shell(script);
    let log = Some(log(&bundle, max_size_bytes, max_files));
    Shim::create(bundle, &CreateOptions { log, ..CreateOptions::default() }, false)
}

#[test]
fn every_line_is_there_once_and_in_order_across_rotation() {
    let script = "seq 1 50000 & seq 100001 150000 >&2; wait";
    let mut shim = logging(script, 256 << 10, 200);
    assert_eq!(shim.run(), 0);
    let entries = shim.log();
    for (stream, first) in [("stdout", 1), ("stderr", 100_001)] {
        let lines: Vec<&str> =
            entries.iter().filter(|entry| entry.stream == stream).map(|entry| entry.log.as_str()).collect();
        assert_eq!(lines.len(), 50_000, "{stream}");
        for (line, number) in lines.iter().zip(first..) {
            assert_eq!(*line, format!("{number}\n"));
        }
    }
    assert!(entries.windows(2).all(|pair| pair[0].time < pair[1].time), "times strictly increase");
    let folder = std::fs::read_dir(shim.bundle.path("")).unwrap().flatten();
    let files: Vec<_> =
        folder.filter(|file| file.file_name().to_string_lossy().starts_with("log.json")).collect();
    assert!(files.len() > 10, "it was rotated");
    assert!(files.iter().all(|file| file.metadata().unwrap().len() <= 256 << 10));
}

#[test]
fn bytes_that_are_no_text_and_lines_without_end_are_logged() {
    let mut shim =
        logging(r"printf 'a\377b<&>\t\n'; head -c 40000 /dev/zero | tr '\0' x; printf '\nno end'", 0, 1);
    assert_eq!(shim.run(), 0);
    let logs: Vec<String> = shim.log().into_iter().map(|entry| entry.log).collect();
    assert_eq!(logs[0], "a\u{fffd}b<&>\t\n");
    assert_eq!(logs[1..4].iter().map(String::len).collect::<Vec<_>>(), [16384, 16384, 40000 - 2 * 16384 + 1]);
    assert_eq!(logs[4], "no end");
}

#[test]
fn a_second_run_goes_on_in_the_same_log() {
    let mut shim = logging("echo one", 0, 1);
    assert_eq!(shim.run(), 0);
    let first = shim.log();
    shim.delete("").unwrap();
    let options = CreateOptions { log: Some(log(&shim.bundle, 0, 1)), ..CreateOptions::default() };
    shim.try_create(&options, false).unwrap();
    assert_eq!(shim.run(), 0);
    let both = shim.log();
    assert_eq!((first.len(), both.len()), (1, 2));
    assert!(both[0].time < both[1].time);
}

#[test]
fn without_a_log_nothing_is_written() {
    let mut bundle = Bundle::new();
    bundle.process().args = shell("seq 1 100000");
    let disabled = api::shim::LogOptions { disabled: true, ..log(&bundle, 0, 1) };
    let options = CreateOptions { log: Some(disabled), ..CreateOptions::default() };
    let mut shim = Shim::create(bundle, &options, false);
    assert_eq!(shim.run(), 0);
    assert!(!shim.bundle.log().exists());
}

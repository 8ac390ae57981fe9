//! Who sees and types what.

use std::io::{Read, Write};
use std::net::Shutdown;

use api::shim::CreateOptions;
use api::task::*;

use crate::fixture::*;

fn with_stdin(script: &str, stdin_once: bool, terminal: bool) -> Shim {
    let mut bundle = Bundle::new();
    bundle.process().args = shell(script);
    let log = Some(log(&bundle, 0, 1));
    let options = CreateOptions { log, open_stdin: true, stdin_once, ..CreateOptions::default() };
    Shim::create(bundle, &options, terminal)
}

#[test]
fn who_attaches_before_the_start_misses_nothing() {
    let mut shim = Shim::script("seq 1 100000; echo end >&2");
    let (stream, tty) = shim.attach("", OUTPUT);
    let (errors, _) = shim.attach("", Streams { stdout: false, ..OUTPUT });
    assert!(!tty);
    shim.start("").unwrap();
    let read = |mut stream| std::thread::spawn(move || frames(&mut stream));
    let (all, errors) = (read(stream), read(errors));
    let all = all.join().unwrap();
    let out: String = all.iter().filter(|(stream, _)| *stream == 1).map(|(_, text)| text.as_str()).collect();
    assert_eq!(out, (1..=100_000).map(|number| format!("{number}\n")).collect::<String>());
    assert_eq!(errors.join().unwrap(), [(2, "end\n".into())]);
    assert_eq!(shim.wait(""), 0);
    assert_eq!(shim.logged("stdout"), out);
}

#[test]
fn who_leaves_disturbs_nobody() {
    let mut shim = with_stdin("while read line; do echo got $line; done", false, false);
    let (mut stays, _) = shim.attach("", ALL);
    let (leaves, _) = shim.attach("", ALL);
    shim.start("").unwrap();
    drop(leaves);
    stays.write_all(b"one\n").unwrap();
    read_until(&mut stays, "got one");
    let (mut comes, _) = shim.attach("", ALL);
    comes.write_all(b"two\n").unwrap();
    read_until(&mut comes, "got two");
    read_until(&mut stays, "got two");
    assert_eq!(shim.status(), Status::Running);
}

#[test]
fn who_hangs_up_without_a_word_costs_nothing() {
    let mut shim = with_stdin("sleep 1000", false, false);
    shim.start("").unwrap();
    let (stream, _) = shim.attach("", ALL);
    // First the end of its input, then everything.
    stream.shutdown(Shutdown::Write).unwrap();
    shim.status();
    drop(stream);
    shim.status();
    let before = shim.cpu_ticks();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(shim.cpu_ticks() - before < 10, "the loop spins");
}

#[test]
fn the_end_of_the_first_input_ends_the_container_s_if_asked() {
    let mut shim = with_stdin("cat; echo end", true, false);
    let (mut stream, _) = shim.attach("", ALL);
    let (watcher, _) = shim.attach("", OUTPUT);
    // One that only looks may end its input as it likes.
    watcher.shutdown(Shutdown::Write).unwrap();
    shim.start("").unwrap();
    stream.write_all(b"typed\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(frames(&mut stream), [(1, "typed\nend\n".into())]);
    assert_eq!(shim.wait(""), 0);
}

#[test]
fn without_that_wish_the_input_stays_open() {
    let mut shim = with_stdin("cat", false, false);
    shim.start("").unwrap();
    let (stream, _) = shim.attach("", ALL);
    stream.shutdown(Shutdown::Write).unwrap();
    let (mut again, _) = shim.attach("", ALL);
    again.write_all(b"still here\n").unwrap();
    read_until(&mut again, "still here\n");
    let close = CloseIoRequest { id: shim.bundle.id.clone(), exec_id: String::new(), stdin: true };
    let _: () = shim.client.call(SERVICE_V3, "CloseIO", &close).unwrap();
    assert_eq!(shim.wait(""), 0);
}

#[test]
fn much_input_reaches_a_slow_reader_whole() {
    let mut shim = with_stdin("sleep 0.2; wc -c", true, false);
    let (mut stream, _) = shim.attach("", ALL);
    shim.start("").unwrap();
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        writer.write_all(&vec![b'x'; 3 << 20]).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    assert_eq!(frames(&mut stream), [(1, format!("{}\n", 3 << 20))]);
    writing.join().unwrap();
}

#[test]
fn a_slow_attacher_gets_everything_and_the_log_is_whole() {
    let mut shim = Shim::script("seq 1 1000000");
    let (mut slow, _) = shim.attach("", OUTPUT);
    shim.start("").unwrap();
    // Its buffers and the socket's hold less than a half: the process must wait.
    eventually("the process waits", || {
        let size = std::fs::metadata(shim.bundle.log()).map_or(0, |metadata| metadata.len());
        std::thread::sleep(std::time::Duration::from_millis(50));
        size > 0 && size == std::fs::metadata(shim.bundle.log()).unwrap().len()
    });
    assert_eq!(shim.status(), Status::Running);
    let expected: String = (1..=1_000_000).map(|number| format!("{number}\n")).collect();
    assert!(shim.logged("stdout").len() < expected.len());
    let all = frames(&mut slow);
    assert!(all.len() == 1 && all[0].1 == expected);
    assert_eq!(shim.wait(""), 0);
    assert!(shim.logged("stdout") == expected);
}

#[test]
fn an_attacher_gets_the_rest_after_the_container_is_gone() {
    let mut shim = Shim::script("seq 1 100000");
    let (mut slow, _) = shim.attach("", OUTPUT);
    assert_eq!(shim.run(), 0);
    shim.delete("").unwrap();
    let shutdown = ShutdownRequest { id: shim.bundle.id.clone(), now: false };
    let _: () = shim.client.call(SERVICE_V3, "Shutdown", &shutdown).unwrap();
    eventually("the sockets are gone", || !shim.socket("task.sock").exists());
    let all = frames(&mut slow);
    assert_eq!(all[0].1.lines().count(), 100_000);
    shim.until_over();
}

#[test]
fn output_is_kept_for_the_first_attacher_that_is_to_come() {
    let mut bundle = Bundle::new();
    bundle.process().args = shell("echo early; echo error >&2");
    let options = CreateOptions { wait_attach: true, ..CreateOptions::default() };
    let mut shim = Shim::create(bundle, &options, false);
    assert_eq!(shim.run(), 0);
    assert_eq!(frames(&mut shim.attach("", OUTPUT).0).len(), 2);
    // The second one is too late, which is no error.
    assert_eq!(frames(&mut shim.attach("", OUTPUT).0), []);
}

#[test]
fn a_terminal_is_one_stream_of_raw_bytes_with_a_size() {
    let mut bundle = Bundle::new();
    bundle.process().args =
        shell("trap 'stty size; exit 9' WINCH; tty; stty size; while true; do sleep 0.05; done");
    let log = Some(log(&bundle, 0, 1));
    let options = CreateOptions { log, width: 80, height: 24, open_stdin: true, ..CreateOptions::default() };
    let mut shim = Shim::create(bundle, &options, true);
    let (mut stream, tty) = shim.attach("", ALL);
    assert!(tty);
    shim.start("").unwrap();
    let text = read_until(&mut stream, "24 80\r\n");
    assert!(text.starts_with("/dev/"), "{text}");
    let resize =
        ResizePtyRequest { id: shim.bundle.id.clone(), exec_id: String::new(), width: 132, height: 43 };
    let _: () = shim.client.call(SERVICE_V3, "ResizePty", &resize).unwrap();
    read_until(&mut stream, "43 132\r\n");
    assert_eq!(shim.wait(""), 9);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(shim.logged("stdout").contains("43 132\r\n"));
}

#[test]
fn a_terminal_can_be_left_and_come_back_to() {
    let mut shim = with_stdin("while read line; do echo got $line; done", true, true);
    let (mut stream, _) = shim.attach("", ALL);
    shim.start("").unwrap();
    stream.write_all(b"one\n").unwrap();
    read_until(&mut stream, "got one\r\n");
    drop(stream);
    let (mut stream, _) = shim.attach("", ALL);
    stream.write_all(b"two\n").unwrap();
    read_until(&mut stream, "got two\r\n");
    // The end of a terminal's input is a character.
    stream.write_all(b"\x04").unwrap();
    assert_eq!(shim.wait(""), 0);
}

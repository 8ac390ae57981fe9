//! Interactive containers: terminal, detach, attach, stop, start again.

use tests::host::Host;
use tests::terminal::Terminal;

const DETACH: &[u8] = b"\x10\x11";

#[test]
fn an_interactive_container_is_left_and_entered_again_and_again() {
    let host = Host::start();
    let mut first = Terminal::start(host.command(&[
        "run",
        "-it",
        "--name",
        "shell",
        "--network",
        "none",
        "busybox",
        "sh",
    ]));
    first.expect("# ");
    first.press(b"value=steel; tty; echo size $(stty size)\r");
    first.expect("/dev/pts/0");
    first.expect("size 24 80");
    first.expect("# ");
    first.press(DETACH);
    assert_eq!(first.finish(), 0, "detaching is no failure");
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.Running}}", "shell"]), "true");

    let mut second = Terminal::start(host.command(&["attach", "shell"]));
    second.press(b"echo got-$value\r");
    second.expect("got-steel");
    second.press(DETACH);
    assert_eq!(second.finish(), 0);

    host.ok(&["stop", "-t", "0", "shell"]);
    host.ok(&["start", "shell"]);
    let mut third = Terminal::start(host.command(&["attach", "shell"]));
    third.press(b"echo again-$((20+1))\r");
    third.expect("again-21");
    third.press(b"exit 5\r");
    assert_eq!(third.finish(), 5);

    let mut fourth = Terminal::start(host.command(&["start", "-ai", "shell"]));
    fourth.press(b"echo once-$((40+2)); exit 3\r");
    fourth.expect("once-42");
    assert_eq!(fourth.finish(), 3);
}

#[test]
fn exec_with_a_terminal_can_be_left_too() {
    let host = Host::start();
    host.ok(&["run", "-d", "--name", "box", "--network", "none", "busybox", "sleep", "1000"]);
    let mut shell = Terminal::start(host.command(&["exec", "-it", "box", "sh"]));
    shell.expect("# ");
    shell.press(b"exit 4\r");
    assert_eq!(shell.finish(), 4);
    let mut left = Terminal::start(host.command(&["exec", "-it", "--detach-keys", "ctrl-a,x", "box", "sh"]));
    left.expect("# ");
    left.press(b"\x01x");
    left.finish();
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.Running}}", "box"]), "true");
}

#[test]
fn a_terminal_needs_a_terminal() {
    let host = Host::start();
    host.fails(
        &["run", "--rm", "-it", "--network", "none", "busybox", "true"],
        1,
        "the input device is not a TTY",
    );
}

#[test]
fn control_c_reaches_the_process_in_the_terminal() {
    let host = Host::start();
    let mut shell =
        Terminal::start(host.command(&["run", "-it", "--rm", "--network", "none", "busybox", "sh"]));
    shell.expect("# ");
    // What is typed ahead of a program goes to the shell's own buffer, so the test waits for the program.
    shell.press(b"echo be''; sleep 1000\r");
    shell.expect("be\r\n");
    shell.press(b"\x03");
    shell.expect("^C");
    shell.press(b"echo back-$((1+1))\r");
    shell.expect("back-2");
    shell.press(b"exit\r");
    shell.finish();
}

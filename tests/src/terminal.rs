//! A terminal that a test types into, around one process.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;

use crate::host::PATIENCE;

/// A process on a pseudo-terminal.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts `command` on a new terminal of 80 by 24 characters.
    pub fn start(mut command: Command) -> Terminal {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("a pseudo-terminal");
        rustix::pty::unlockpt(&master).expect("it unlocks");
        let name = rustix::pty::ptsname(&master, Vec::new()).expect("it has a name");
        let open = || -> OwnedFd {
            rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
                .expect("the terminal opens")
        };
        let size = rustix::termios::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&master, size).expect("it takes a size");
        let child = command
            .stdin(Stdio::from(open()))
            .stdout(Stdio::from(open()))
            .stderr(Stdio::from(open()))
            .spawn()
            .expect("it starts");
        let keyboard = File::from(master);
        let mut reader = keyboard.try_clone().expect("a second descriptor");
        let screen = Arc::new(Mutex::new(Vec::new()));
        let shown = Arc::clone(&screen);
        // Ends by itself when the last process has closed the terminal.
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                shown.lock().expect("no writer panics").extend_from_slice(&buffer[..length]);
            }
        });
        Terminal { child, keyboard, screen }
    }

    /// Types `keys`.
    pub fn press(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).expect("the terminal takes keys");
    }

    /// Everything shown so far.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("no writer panics")).into_owned()
    }

    /// Waits until `text` was shown, and forgets everything up to it.
    pub fn expect(&mut self, text: &str) {
        let begin = Instant::now();
        loop {
            {
                let mut screen = self.screen.lock().expect("no writer panics");
                let found = screen.windows(text.len()).position(|window| window == text.as_bytes());
                if let Some(position) = found {
                    screen.drain(..position + text.len());
                    return;
                }
            }
            assert!(begin.elapsed() < PATIENCE, "{text:?} never showed up: {:?}", self.screen());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end; the exit code.
    pub fn finish(mut self) -> i32 {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status.code().unwrap_or(-1);
            }
            if begin.elapsed() > PATIENCE {
                // It is ours, and a test that hangs tells nothing.
                drop(self.child.kill());
                panic!("it does not end: {:?}", self.screen());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

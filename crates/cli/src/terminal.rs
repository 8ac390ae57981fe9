//! The user's terminal: raw mode that ends on every way out, its size, and the keys that detach.

use std::io;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// Docker's keys: Ctrl-P, Ctrl-Q.
const DEFAULT_KEYS: [u8; 2] = [0x10, 0x11];

/// How the terminal was before raw mode. Global, because a panic must find it.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal passes every key on as it is, until this is dropped or the program panics.
#[derive(Debug)]
pub(crate) struct Raw(());

impl Raw {
    /// Makes the terminal on stdin raw; `None` when there is none.
    pub(crate) fn enter() -> io::Result<Option<Raw>> {
        let stdin = io::stdin();
        if !isatty(&stdin) {
            return Ok(None);
        }
        restore_on_panic();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        *saved() = Some(before);
        let guard = Raw(());
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Some(guard))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

fn saved() -> MutexGuard<'static, Option<Termios>> {
    SAVED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn restore() {
    if let Some(before) = saved().take() {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

fn restore_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            report(panic);
        }));
    });
}

/// Height and width of the terminal on stdout, in characters; `None` when there is none or it has no size.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Whether stdin is a terminal.
pub(crate) fn is_input() -> bool {
    isatty(io::stdin())
}

/// The keys that detach, and how far along them the user is. The daemon acts on them; this only watches them go by, so
/// that the end of the stream is known to be a detach and not an exit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

impl Default for DetachKeys {
    fn default() -> DetachKeys {
        DetachKeys { keys: DEFAULT_KEYS.to_vec(), matched: 0 }
    }
}

impl DetachKeys {
    /// Docker's grammar: letters, or `ctrl-` and one of `a-z@[\]^_`, separated by commas.
    pub(crate) fn parse(text: &str) -> Result<DetachKeys, String> {
        match text {
            "" => Ok(DetachKeys::default()),
            text => Ok(DetachKeys { keys: text.split(',').map(key).collect::<Result<_, _>>()?, matched: 0 }),
        }
    }

    /// Whether the sequence was completed by `typed`.
    pub(crate) fn see(&mut self, typed: &[u8]) -> bool {
        for byte in typed {
            self.matched = match *byte {
                byte if byte == self.keys[self.matched] => self.matched + 1,
                byte if byte == self.keys[0] => 1,
                _ => 0,
            };
            if self.matched == self.keys.len() {
                return true;
            }
        }
        false
    }
}

fn key(name: &str) -> Result<u8, String> {
    let unknown = || format!("Unknown character: '{name}'");
    match name.strip_prefix("ctrl-").map(str::as_bytes) {
        Some([letter @ b'a'..=b'z']) => Ok(letter - b'a' + 1),
        Some(b"@") => Ok(0),
        Some([sign @ (b'[' | b'\\' | b']' | b'^' | b'_')]) => Ok(sign - b'[' + 27),
        Some(_) => Err(unknown()),
        None => match name.as_bytes() {
            [byte] => Ok(*byte),
            _ => Err(unknown()),
        },
    }
}

/// Asks a person on the terminal; what is typed for a secret is not shown.
pub(crate) fn ask(question: &str, is_shown: bool) -> io::Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    eprint_now(question);
    let stdin = io::stdin();
    let before = tcgetattr(&stdin)?;
    if !is_shown {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Now, &silent)?;
    }
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    if !is_shown {
        tcsetattr(&stdin, OptionalActions::Now, &before)?;
        eprint_now("\n");
    }
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn eprint_now(text: &str) {
    use std::io::Write;
    // Nobody can be told when that fails.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::DetachKeys;

    #[test]
    fn detach_keys_follow_dockers_grammar() {
        let cases: [(&str, Option<&[u8]>); 9] = [
            ("", Some(&[16, 17])),
            ("ctrl-p,ctrl-q", Some(&[16, 17])),
            ("a", Some(b"a")),
            ("ctrl-@,x,ctrl-_", Some(&[0, b'x', 31])),
            ("ctrl-[", Some(&[27])),
            ("ctrl-A", None),
            ("ctrl-", None),
            ("ab", None),
            ("a,,b", None),
        ];
        for (text, keys) in cases {
            assert_eq!(DetachKeys::parse(text).ok().map(|keys| keys.keys).as_deref(), keys, "{text}");
        }
    }

    #[test]
    fn the_sequence_is_seen_across_reads_and_after_false_starts() {
        let watch = |typed: &[&[u8]]| {
            let mut keys = DetachKeys::parse("").unwrap();
            typed.iter().any(|typed| keys.see(typed))
        };
        assert!(watch(&[b"ls\n\x10\x11"]));
        assert!(watch(&[b"\x10", b"\x11"]));
        assert!(watch(&[b"\x10\x10", b"\x11"]));
        assert!(!watch(&[b"\x10x\x11"]));
        assert!(!watch(&[b"\x11\x10"]));
    }
}

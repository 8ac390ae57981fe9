//! The entries of a log as they come in: with or without frames, with or without timestamps.

use crate::error::Error;
use crate::frames::{Decoder, Source};
use crate::output;

/// Where Docker cuts a line that is longer; the rest is an entry of its own.
const LONGEST_ENTRY: usize = 16 * 1024;

/// More than this is no entry of any daemon.
const MAX_ENTRY: usize = 16 * 1024 * 1024;

/// `2024-01-02T15:04:05.000000000Z` and a space.
const STAMP: usize = 31;

/// How much a daemon may disorder entries of different streams, in nanoseconds. Ours does not, Docker's does.
const DISORDER: i128 = 1_000_000_000;

/// Reads a log and prints it.
#[derive(Debug)]
pub(crate) struct Entries {
    /// Frames, or the raw output of a terminal.
    decoder: Option<Decoder>,
    /// Whether timestamps come in for our own use, to be taken off again.
    is_stripping: bool,
    are_stamped: bool,
    /// What has come of the entry at hand.
    entry: Vec<u8>,
    /// Complete entries of one stream that wait to be written together.
    ready: Vec<u8>,
    ready_source: Source,
    /// When the first entry was printed.
    first_shown: Option<i128>,
    /// The last entry of each stream that was printed.
    last_shown: [Option<i128>; 2],
    /// The same when the log was last resumed: what is not newer comes again and is not printed again.
    resumed_after: [Option<i128>; 2],
}

impl Entries {
    /// `is_following` needs timestamps, `timestamps` shows them.
    pub(crate) fn new(has_terminal: bool, is_following: bool, timestamps: bool) -> Entries {
        Entries {
            decoder: (!has_terminal).then(Decoder::default),
            is_stripping: is_following && !timestamps,
            are_stamped: is_following || timestamps,
            entry: Vec::new(),
            ready: Vec::new(),
            ready_source: Source::Stdout,
            first_shown: None,
            last_shown: [None; 2],
            resumed_after: [None; 2],
        }
    }

    /// Whether the daemon must be asked for timestamps.
    pub(crate) fn are_stamped(&self) -> bool {
        self.are_stamped
    }

    /// Takes what came in and prints what is complete.
    pub(crate) fn feed(&mut self, input: &[u8]) -> Result<(), Error> {
        self.take(input)?;
        self.write()
    }

    /// After a cut: what was begun will come again. Returns since when to ask; nothing if nothing was printed.
    pub(crate) fn resume(&mut self) -> Option<i128> {
        self.entry.clear();
        if self.decoder.is_some() {
            self.decoder = Some(Decoder::default());
        }
        self.resumed_after = self.last_shown;
        let last = self.last_shown()?;
        // What was before the first entry was not wanted.
        self.first_shown.map(|first| first.max(last - DISORDER))
    }

    /// When the newest entry was printed.
    pub(crate) fn last_shown(&self) -> Option<i128> {
        self.last_shown.into_iter().flatten().max()
    }

    /// At the end of the log: the last line of a terminal may have no newline.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        self.complete(Source::Stdout)?;
        self.write()
    }

    fn take(&mut self, mut input: &[u8]) -> Result<(), Error> {
        let Some(mut decoder) = self.decoder.take() else { return self.take_raw(input) };
        while let Some(piece) = decoder.next(&mut input)? {
            self.entry.extend_from_slice(piece.payload);
            if self.entry.len() > MAX_ENTRY {
                return Err(Error::AnswerTooLong(MAX_ENTRY));
            }
            if piece.is_last {
                self.complete(piece.source)?;
            }
        }
        self.decoder = Some(decoder);
        Ok(())
    }

    /// Without frames an entry ends with its newline, or where it is as long as an entry may be.
    fn take_raw(&mut self, mut input: &[u8]) -> Result<(), Error> {
        let stamp = if self.are_stamped { STAMP } else { 0 };
        while !input.is_empty() {
            let room = (LONGEST_ENTRY + stamp).saturating_sub(self.entry.len()).min(input.len());
            let newline = input[..room].iter().position(|byte| *byte == b'\n');
            let (part, rest) = input.split_at(newline.map_or(room, |newline| newline + 1));
            self.entry.extend_from_slice(part);
            input = rest;
            if newline.is_some() || self.entry.len() == LONGEST_ENTRY + stamp {
                self.complete(Source::Stdout)?;
            }
        }
        Ok(())
    }

    /// The entry at hand is whole.
    fn complete(&mut self, source: Source) -> Result<(), Error> {
        if self.ready_source != source {
            self.write()?;
            self.ready_source = source;
        }
        let stamp = self.are_stamped.then(|| stamp(&self.entry)).flatten();
        if stamp.is_none() || stamp > self.resumed_after[source as usize] {
            self.last_shown[source as usize] = stamp.or(self.last_shown[source as usize]);
            self.first_shown = self.first_shown.or(stamp);
            let start = if self.is_stripping && stamp.is_some() { STAMP } else { 0 };
            self.ready.extend_from_slice(&self.entry[start..]);
        }
        self.entry.clear();
        Ok(())
    }

    fn write(&mut self) -> Result<(), Error> {
        output::pass_on(self.ready_source, &self.ready)?;
        self.ready.clear();
        Ok(())
    }
}

/// The time that an entry begins with, in nanoseconds.
fn stamp(entry: &[u8]) -> Option<i128> {
    let stamp = entry.get(..STAMP)?.strip_suffix(b" ")?;
    let stamp: jiff::Timestamp = std::str::from_utf8(stamp).ok()?.parse().ok()?;
    Some(stamp.as_nanosecond())
}

#[cfg(test)]
mod tests {
    use super::{Entries, LONGEST_ENTRY};
    use proptest::prelude::*;

    const T1: &str = "2024-01-02T15:04:05.000000001Z ";
    const T2: &str = "2024-01-02T15:04:05.000000002Z ";

    fn framed(entries: &[(&str, &str)]) -> Vec<u8> {
        framed_as(1, entries)
    }

    fn framed_as(stream: u8, entries: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (stamp, text) in entries {
            out.extend_from_slice(&[stream, 0, 0, 0]);
            out.extend_from_slice(&u32::try_from(stamp.len() + text.len()).unwrap().to_be_bytes());
            out.extend_from_slice(stamp.as_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    /// What would be printed of `input`, fed in chunks; nothing is written.
    fn read(entries: &mut Entries, input: &[u8], chunk: usize) -> String {
        input.chunks(chunk).for_each(|bytes| entries.take(bytes).unwrap());
        String::from_utf8(std::mem::take(&mut entries.ready)).unwrap()
    }

    #[test]
    fn timestamps_are_taken_off_unless_they_are_wanted() {
        let input = framed(&[(T1, "one\n"), (T2, "two\n")]);
        let cases = [(true, false, "one\ntwo\n".to_owned()), (true, true, format!("{T1}one\n{T2}two\n"))];
        for (is_following, timestamps, expected) in cases {
            for chunk in [1, 7, 1000] {
                let mut entries = Entries::new(false, is_following, timestamps);
                assert_eq!(read(&mut entries, &input, chunk), expected);
            }
        }
    }

    #[test]
    fn an_entry_that_was_cut_is_not_shown_and_not_counted() {
        let input = framed(&[(T1, "one\n"), (T2, "two\n")]);
        let mut entries = Entries::new(false, true, false);
        assert_eq!(read(&mut entries, &input[..input.len() - 1], 5), "one\n");
        assert_eq!(entries.resume().map(|since| since % 10), Some(1), "not before the first entry");
        assert_eq!(read(&mut entries, &input, 5), "two\n", "the first is not shown again");
    }

    #[test]
    fn an_entry_that_another_stream_has_overtaken_is_not_lost() {
        let mut entries = Entries::new(false, true, false);
        let late = "2024-01-02T15:04:09.000000000Z ";
        entries.take(&framed(&[(T1, "one\n"), (late, "three\n")])).unwrap();
        entries.ready.clear();
        let second = 1_000_000_000;
        assert_eq!(entries.resume().map(|since| since / second % 10), Some(5 + 3));
        entries.ready_source = crate::frames::Source::Stderr;
        // Parts of one line may have the same time.
        let again = [framed(&[(late, "three\n")]), framed_as(2, &[(T2, "two"), (T2, " parts\n")])].concat();
        assert_eq!(read(&mut entries, &again, 9), "two parts\n");
    }

    #[test]
    fn a_terminals_entries_are_lines_or_parts_of_long_ones() {
        let long = "x".repeat(LONGEST_ENTRY);
        let input = format!("{T1}one\r\n{T1}{long}{T2}rest\n{T2}prompt$ ");
        for chunk in [1, 100, 100_000] {
            let mut entries = Entries::new(true, true, false);
            let shown = read(&mut entries, input.as_bytes(), chunk);
            assert!(shown == format!("one\r\n{long}rest\n"), "{chunk}: {} bytes", shown.len());
            entries.complete(crate::frames::Source::Stdout).unwrap();
            assert_eq!(entries.ready, b"prompt$ ");
        }
    }

    proptest! {
        #[test]
        fn a_log_without_timestamps_passes_unchanged(text in "(\\PC|\n)*", chunk in 1usize..50) {
            let mut entries = Entries::new(true, false, false);
            let mut shown = read(&mut entries, text.as_bytes(), chunk);
            entries.complete(crate::frames::Source::Stdout).unwrap();
            shown += &read(&mut entries, b"", 1);
            prop_assert_eq!(shown, text);
        }

        #[test]
        fn no_bytes_panic_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200), has_terminal: bool) {
            let mut entries = Entries::new(has_terminal, true, false);
            let _ = entries.take(&bytes);
        }
    }
}

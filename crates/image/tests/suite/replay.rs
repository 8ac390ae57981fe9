//! The fuzz targets, without a fuzzer: every file of their corpora, and deterministic mutations of it.

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../../../../fuzz/targets.rs"]
mod targets;

/// A small generator of numbers (xorshift64): the same seed gives the same mutations on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap()
    }

    /// Changes a few bytes, or cuts, repeats or moves a piece.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        const INTERESTING: [u8; 9] = [0, 1, 0x7f, 0x80, 0xff, b'0', b'9', b'/', b'"'];
        for _ in 0..=self.below(6) {
            let at = self.below(bytes.len().max(1));
            match self.below(6) {
                _ if bytes.is_empty() => bytes.push(INTERESTING[self.below(9)]),
                0 => bytes[at] ^= 1 << self.below(8),
                1 | 2 => bytes[at] = INTERESTING[self.below(9)],
                3 => bytes.truncate(at),
                4 => {
                    let end = (at + self.below(600)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
                _ => {
                    let end = (at + self.below(600)).min(bytes.len());
                    bytes.drain(at..end);
                }
            }
        }
    }
}

fn replay(name: &str, target: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", corpus.display());
    let is_full = std::env::var("CORTEN_TEST_FULL").is_ok_and(|full| full == "1");
    let mutations = if is_full { 10_000 } else { 600 };
    let seed = std::env::var("CORTEN_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("CORTEN_TEST_SEED={seed}");
    for file in files {
        let original = fs::read(&file).unwrap();
        target(&original);
        let mut random = Random(seed | 1);
        for number in 0..mutations {
            let mut bytes = original.clone();
            random.mutate(&mut bytes);
            let outcome = std::panic::catch_unwind(|| target(&bytes));
            assert!(outcome.is_ok(), "{}: mutation {number}", file.display());
        }
    }
}

#[test]
fn mutated_archives_do_no_harm_to_the_tar_reader() {
    replay("tar", targets::tar);
}

#[test]
fn mutated_documents_do_no_harm() {
    replay("documents", targets::documents);
}

#[test]
fn mutated_references_do_no_harm() {
    replay("reference", targets::reference);
}

#[test]
fn mutated_archive_indexes_do_no_harm() {
    replay("archive_index", targets::archive_index);
}

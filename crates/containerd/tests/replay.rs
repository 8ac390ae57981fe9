//! The fuzz target of filters, without a fuzzer: every file of its corpus, cut off anywhere, and with any of its bytes
//! replaced by those that mean something.

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/filter.rs"]
mod filter;

/// What begins, ends or separates words, and what may be nowhere.
const BYTES: &[u8] = b"\"\\/|.,=!~ \n\0x7\xff";

#[test]
fn filters_that_were_cut_off_or_changed_do_no_harm() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/filter");
    let mut count = 0;
    for file in fs::read_dir(&corpus).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        filter::filter(&bytes);
        for at in 0..bytes.len() {
            filter::filter(&bytes[..at]);
            for byte in BYTES {
                let mut changed = bytes.clone();
                changed[at] = *byte;
                filter::filter(&changed);
                changed.insert(at, *byte);
                filter::filter(&changed);
            }
        }
        count += 1;
    }
    assert!(count > 0, "{} is empty", corpus.display());
}

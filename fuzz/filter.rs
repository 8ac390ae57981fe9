//! What the fuzz target of containerd's filters checks. A plain function: the fuzzer calls it, and so does an ordinary test.

use containerd::filter::Filter;

/// Parses a filter. What is accepted survives being written and read again.
pub(crate) fn filter(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Filter::parse(&[text]) {
        Ok(filter) => {
            let written = filter.to_string();
            let again = Filter::parse(&[&written]).expect("what we write can be read").to_string();
            assert_eq!(again, written);
        }
        Err(error) => assert!(error.to_string().starts_with("filters: "), "{error}"),
    }
}

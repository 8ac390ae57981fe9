//! What each fuzz target checks. Plain functions: the fuzzer calls them, and so does an ordinary test.

use std::io::{BufRead, BufReader, Read};

use image::tar::{Entry, MAX_PATH_LENGTH, Reader};
use oci::image_config::ImageConfig;
use oci::manifest::{Document, MAX_ENTRIES};
use oci::reference::Reference;

/// Content is read up to here: holes make a small archive as large as it likes.
const MAX_CONTENT: u64 = 1 << 20;

/// Reads a tar archive. How the bytes arrive must not matter, and no entry exceeds the bounds.
pub(crate) fn tar(data: &[u8]) {
    let whole = read_all(data);
    let pieces = read_all(BufReader::with_capacity(7, Pieces(data)));
    assert_eq!(whole, pieces);
    for (entry, content) in &whole.0 {
        assert!(entry.path.len() <= MAX_PATH_LENGTH && entry.link.len() <= MAX_PATH_LENGTH);
        assert!(!entry.path.contains(&0) && !entry.link.contains(&0));
        assert!(entry.mode <= 0o7777 && entry.mtime.nanoseconds < 1_000_000_000);
        let stored = entry
            .extents
            .as_ref()
            .map_or(entry.size, |extents| extents.iter().map(|extent| extent.length).sum());
        assert!(*content <= stored && stored <= entry.size);
        assert!(*content <= data.len() as u64, "content comes from the archive");
    }
}

/// Entries with the length of their content, and the error's text.
type Outcome = (Vec<(Entry, u64)>, Option<String>);

fn read_all(input: impl BufRead) -> Outcome {
    let mut reader = Reader::new(input);
    let mut entries = Vec::new();
    loop {
        let entry = match reader.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return (entries, None),
            Err(error) => return (entries, Some(format!("{error}: {}", error.problem))),
        };
        let mut length = 0;
        while length < MAX_CONTENT {
            match reader.content() {
                Ok([]) => break,
                Ok(bytes) => {
                    let step = bytes.len();
                    length += step as u64;
                    reader.consume(step);
                }
                // The next header says it, too, with its name.
                Err(_) => break,
            }
        }
        entries.push((entry, length));
    }
}

/// A reader that gives three bytes at a time.
struct Pieces<'a>(&'a [u8]);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.0.len().min(buffer.len()).min(3);
        self.0.read(&mut buffer[..length])
    }
}

/// Parses manifests, indexes and image configurations. What is accepted survives being written and read again.
pub(crate) fn documents(data: &[u8]) {
    match Document::parse(data, "") {
        Ok(Document::Manifest(manifest)) => {
            assert!(manifest.layers.len() <= MAX_ENTRIES);
            let again = Document::parse(&manifest.to_json(), "").expect("what we write can be read");
            assert_eq!(again, Document::Manifest(manifest));
        }
        Ok(Document::Index(index)) => assert!(index.manifests.len() <= MAX_ENTRIES),
        Err(_) => {}
    }
    if let Ok(config) = ImageConfig::parse(data) {
        assert!(config.rootfs.diff_ids.len() <= MAX_ENTRIES);
        assert_eq!(ImageConfig::parse(&config.to_json()).expect("what we write can be read"), config);
    }
}

/// Parses image names. The familiar and the whole form mean the same name.
pub(crate) fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(reference) = Reference::parse_normalized(text) {
        for form in [reference.to_string(), reference.familiar()] {
            assert_eq!(
                Reference::parse_normalized(&form).expect("its own form is a name"),
                reference,
                "{form}"
            );
        }
    }
}

/// Parses the lists of images that archives carry.
pub(crate) fn archive_index(data: &[u8]) {
    if let Ok(images) = oci::docker_archive::parse(data) {
        assert!(!images.is_empty() && images.len() <= MAX_ENTRIES);
    }
    let _ = Document::parse(data, oci::manifest::media_type::OCI_INDEX);
}

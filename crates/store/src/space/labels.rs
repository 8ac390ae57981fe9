//! Labels as containerd keeps them: bounded, without empty values, updated by a mask of paths.

use crate::error::{Error, Result};
use crate::records::Labels;
use crate::space::mask;

/// Bytes of a key and its value together (containerd's `labels.Validate`).
const LABEL_MAX_BYTES: usize = 4096;
/// What a message names of a key that is too long.
const KEY_SHOWN_BYTES: usize = 64;
/// Labels of one object.
const LABELS_MAX: usize = 10_000;

/// The labels as they are stored: an empty value means that there is none.
///
/// # Errors
/// [`Error::Label`] for one that is too long or has no key, or for too many.
pub fn stored(labels: Labels) -> Result<Labels> {
    if labels.len() > LABELS_MAX {
        return Err(Error::Label { why: format!("more than {LABELS_MAX} labels") });
    }
    for (key, value) in &labels {
        if key.is_empty() && !value.is_empty() {
            return Err(Error::Label { why: format!("label key required for value {value:?}") });
        }
        let length = key.len() + value.len();
        if length > LABEL_MAX_BYTES {
            let shown =
                key.char_indices().take_while(|(at, _)| *at < KEY_SHOWN_BYTES).map(|(_, letter)| letter);
            let why = format!(
                "label key and value length ({length} bytes) greater than maximum size ({LABEL_MAX_BYTES} bytes), key: {}",
                shown.collect::<String>()
            );
            return Err(Error::Label { why });
        }
    }
    Ok(labels.into_iter().filter(|(_, value)| !value.is_empty()).collect())
}

/// Which labels an update names: all, or some keys. A key without a value in the update is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mask {
    All,
    Keys(Vec<String>),
}

impl Mask {
    /// Reads the paths of an update's mask, `labels` or `labels.<key>`; without any it is about all labels.
    ///
    /// # Errors
    /// The path that is neither.
    pub fn parse(paths: &[String]) -> std::result::Result<Mask, &str> {
        let mut keys = Vec::new();
        let mut is_all = paths.is_empty();
        for path in paths {
            match path.strip_prefix("labels.") {
                Some(key) => keys.push(key.to_owned()),
                None if path == "labels" => is_all = true,
                None => return Err(path),
            }
        }
        Ok(if is_all { Mask::All } else { Mask::Keys(keys) })
    }

    /// The labels after the update.
    pub fn apply(&self, old: &Labels, update: &Labels) -> Result<Labels> {
        match self {
            Mask::All => stored(update.clone()),
            Mask::Keys(keys) => {
                let mut labels = old.clone();
                keys.iter().for_each(|key| mask::set(&mut labels, key, update));
                stored(labels)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_update_changes_what_its_mask_names() {
        let old = labels(&[("a", "1"), ("b", "2")]);
        let update = labels(&[("a", "3"), ("c", "4"), ("d", "")]);
        assert_eq!(Mask::All.apply(&old, &update).unwrap(), labels(&[("a", "3"), ("c", "4")]));
        let some = Mask::Keys(vec!["b".into(), "c".into()]);
        assert_eq!(some.apply(&old, &update).unwrap(), labels(&[("a", "1"), ("c", "4")]));
    }

    #[test]
    fn a_label_has_a_key() {
        let error = stored(labels(&[("", "v")])).unwrap_err().to_string();
        assert_eq!(error, "label key required for value \"v\"");
        assert_eq!(stored(labels(&[("", "")])).unwrap(), Labels::new(), "no label needs no key");
        let clear = Mask::Keys(vec![String::new()]);
        assert_eq!(clear.apply(&labels(&[("a", "1")]), &Labels::new()).unwrap(), labels(&[("a", "1")]));
    }

    #[test]
    fn a_label_has_at_most_4096_bytes() {
        let longest = "v".repeat(LABEL_MAX_BYTES - 1);
        stored(labels(&[("k", &longest)])).unwrap();
        let error = stored(labels(&[("kk", &longest)])).unwrap_err().to_string();
        assert!(error.contains("(4097 bytes) greater than maximum size (4096 bytes), key: kk"), "{error}");
    }
}

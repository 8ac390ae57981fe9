//! What may be pruned, of whatever kind.

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::events::Kind;
use crate::namespaces::Namespace;

/// Labels, and the values they must have; no value: any.
pub type LabelFilter = Vec<(String, Option<String>)>;

/// Which of the unused things go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneFilter {
    /// All of them must be there.
    pub labels: LabelFilter,
    /// What has all of these stays.
    pub kept_labels: LabelFilter,
    /// What was made later stays.
    pub until_ns: Option<i64>,
}

impl PruneFilter {
    /// Whether a thing with these labels, made at that moment, may go. What does not tell its age stays where age counts.
    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>, created_ns: Option<i64>) -> bool {
        let is_kept = !self.kept_labels.is_empty() && has_labels(labels, &self.kept_labels);
        let is_old =
            self.until_ns.is_none_or(|until_ns| created_ns.is_some_and(|created_ns| created_ns <= until_ns));
        has_labels(labels, &self.labels) && !is_kept && is_old
    }
}

impl Engine {
    /// Says that everything unused of one kind was removed.
    pub(crate) fn publish_pruned(&self, namespace: Option<&Namespace>, kind: Kind, reclaimed_bytes: u64) {
        let attributes = [("reclaimed".to_owned(), reclaimed_bytes.to_string())].into();
        self.events.publish(namespace, kind, "prune", ("", attributes));
    }
}

/// Whether all `wanted` labels are there.
pub(crate) fn has_labels(own: &BTreeMap<String, String>, wanted: &[(String, Option<String>)]) -> bool {
    wanted.iter().all(|(key, value)| {
        own.get(key).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
    })
}

#[cfg(test)]
mod tests {
    use super::PruneFilter;

    #[test]
    fn labels_and_age_decide() {
        let labels = [("a", "1"), ("b", "2")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let wanted = |text: &str| {
            let words = text.split_whitespace();
            words
                .map(|word| match word.split_once('=') {
                    Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                    None => (word.to_owned(), None),
                })
                .collect()
        };
        for (label, not_label, until_ns, expected) in [
            ("", "", None, true),
            ("a b=2", "", None, true),
            ("a=2", "", None, false),
            ("c", "", None, false),
            ("", "a", None, false),
            ("", "a=1 c", None, true),
            ("", "c", None, true),
            ("", "", Some(5), true),
            ("", "", Some(4), false),
            ("c", "", Some(5), false),
        ] {
            let filter = PruneFilter { labels: wanted(label), kept_labels: wanted(not_label), until_ns };
            assert_eq!(filter.matches(&labels, Some(5)), expected, "{label} {not_label} {until_ns:?}");
        }
        let old = PruneFilter { until_ns: Some(i64::MAX), ..PruneFilter::default() };
        assert!(!old.matches(&labels, None));
    }
}

//! The `filters` parameter: JSON of `{"name":["value"]}`, or of `{"name":{"value":true}}` as old clients send it.

use std::collections::BTreeMap;

use api::docker::moment::parse_moment;
use engine::prune::{LabelFilter, PruneFilter};
use jiff::Zoned;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::query::Query;

/// Name to values; a listed thing matches one value of each name.
#[derive(Debug, Default)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    List(Vec<String>),
    Set(BTreeMap<String, bool>),
}

impl Filters {
    /// Reads the query's filters; refuses a name that is not in `known`.
    pub(crate) fn parse(query: &Query, known: &[&str]) -> Result<Filters> {
        let Some(text) = query.text("filters") else { return Ok(Filters::default()) };
        let filters: BTreeMap<String, Values> =
            serde_json::from_str(text).map_err(|error| Error::invalid(format!("invalid filter: {error}")))?;
        if let Some(name) = filters.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(Error::invalid(format!("invalid filter '{name}'")));
        }
        let lists = filters.into_iter().map(|(name, values)| match values {
            Values::List(list) => (name, list),
            Values::Set(set) => {
                (name, set.into_iter().filter(|(_, on)| *on).map(|(value, _)| value).collect())
            }
        });
        Ok(Filters(lists.collect()))
    }

    /// The values of a name; empty when it was not given.
    pub(crate) fn values(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The values of a name, each parsed.
    pub(crate) fn parsed<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>> {
        self.values(name).iter().map(|value| parse(value).ok_or_else(|| wrong(name, value))).collect()
    }

    /// `label=key` and `label=key=value`.
    pub(crate) fn labels(&self) -> LabelFilter {
        self.labels_of("label")
    }

    /// The same of `label!`: what has them is not meant.
    pub(crate) fn kept_labels(&self) -> LabelFilter {
        self.labels_of("label!")
    }

    /// `until`: a moment, or how long ago it was.
    pub(crate) fn until_ns(&self) -> Result<Option<i64>> {
        match self.values("until") {
            [] => Ok(None),
            [text] => {
                let moment =
                    parse_moment(text, &Zoned::now()).map_err(|error| Error::invalid(error.to_string()))?;
                Ok(Some(i64::try_from(moment.as_nanosecond()).unwrap_or(i64::MAX)))
            }
            _ => Err(Error::invalid("more than one until filter specified")),
        }
    }

    /// What all prunes take.
    pub(crate) fn prune(&self) -> Result<PruneFilter> {
        Ok(PruneFilter { labels: self.labels(), kept_labels: self.kept_labels(), until_ns: self.until_ns()? })
    }

    fn labels_of(&self, name: &str) -> LabelFilter {
        let labels = self.values(name).iter();
        labels
            .map(|label| match label.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (label.clone(), None),
            })
            .collect()
    }

    /// A filter that is true or false.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>> {
        let parse = |value: &str| match value {
            "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
            "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
            _ => None,
        };
        let values = self.values(name);
        match values.iter().map(|value| parse(value)).collect::<Option<Vec<_>>>() {
            Some(parsed) => Ok(parsed.first().copied()),
            None => Err(Error::invalid(format!("invalid filter '{name}=[{}]'", values.join(" ")))),
        }
    }

    /// The only value of a name.
    pub(crate) fn single(&self, name: &str) -> Result<Option<String>> {
        match self.values(name) {
            [] => Ok(None),
            [value] => Ok(Some(value.clone())),
            _ => Err(Error::invalid(format!("the filter '{name}' takes one value"))),
        }
    }

    /// Refuses filters that Docker has and the door does not do.
    pub(crate) fn refuse(&self, names: &[&str]) -> Result<()> {
        match names.iter().find(|name| !self.values(name).is_empty()) {
            Some(name) => Err(Error::not_there_yet(format!("the filter '{name}'"))),
            None => Ok(()),
        }
    }
}

/// Docker's words for a value that a filter cannot have.
pub(crate) fn wrong(name: &str, value: &str) -> Error {
    Error::invalid(format!("invalid filter '{name}={value}'"))
}

#[cfg(test)]
mod tests {
    use super::Filters;
    use crate::query::Query;

    fn parse(json: &str) -> Result<Filters, String> {
        let query = Query::parse(&format!("filters={json}"));
        Filters::parse(&query, &["label", "dangling", "name"]).map_err(|error| error.to_string())
    }

    #[test]
    fn both_forms_are_read() {
        let filters = parse(r#"{"label":["a=b","c"],"dangling":{"true":true},"name":{"x":false}}"#).unwrap();
        assert_eq!(filters.labels(), [("a".into(), Some("b".into())), ("c".into(), None)]);
        assert_eq!(filters.flag("dangling").unwrap(), Some(true));
        assert!(filters.values("name").is_empty());
    }

    #[test]
    fn wrong_filters_are_named() {
        for (json, want) in [
            (r#"{"foo":["x"]}"#, "invalid filter 'foo'"),
            ("[]", "invalid filter: "),
            ("{", "invalid filter: "),
            (r#"{"label":3}"#, "invalid filter: "),
        ] {
            assert!(parse(json).unwrap_err().starts_with(want), "{json}");
        }
        let error = parse(r#"{"dangling":["maybe"]}"#).unwrap().flag("dangling").unwrap_err();
        assert_eq!(error.to_string(), "invalid filter 'dangling=[maybe]'");
    }
}

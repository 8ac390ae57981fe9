//! How an image was made, step by step.

use super::{Images, parse_time_ns};
use crate::blocking::blocking;
use crate::error::Result;

/// One step of how an image was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryStep {
    pub created_ns: Option<i64>,
    /// The command.
    pub created_by: String,
    pub comment: String,
    /// Of the files of the layer that it made; none for steps that only change the configuration.
    pub size_bytes: u64,
}

impl Images {
    /// The steps of an image, the last one first. A layer that no step tells of has one without words.
    pub async fn history(&self, image: &str) -> Result<Vec<HistoryStep>> {
        let (engine, namespace, name) = (self.engine.clone(), self.namespace.clone(), image.to_owned());
        blocking(move || {
            let image = engine.images.resolve(namespace.as_str(), &name)?;
            let sizes: Vec<u64> =
                engine.images.layer_sizes(&image)?.into_iter().map(|(_, bytes)| bytes).collect();
            Ok(steps(&image.config.history, &sizes))
        })
        .await
    }
}

fn steps(history: &[oci::image_config::History], sizes: &[u64]) -> Vec<HistoryStep> {
    let mut sizes = sizes.iter().copied();
    let told = history.iter().map(|step| HistoryStep {
        created_ns: step.created.as_deref().and_then(parse_time_ns),
        created_by: step.created_by.clone(),
        comment: step.comment.clone(),
        size_bytes: if step.empty_layer { 0 } else { sizes.next().unwrap_or_default() },
    });
    let mut steps: Vec<HistoryStep> = told.collect();
    steps.extend(sizes.map(|size_bytes| HistoryStep { size_bytes, ..HistoryStep::default() }));
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use oci::image_config::History;

    use super::steps;

    #[test]
    fn each_layer_has_its_step_and_each_step_its_layer() {
        let step = |created_by: &str, empty_layer| History {
            created_by: created_by.into(),
            empty_layer,
            ..History::default()
        };
        let history = [step("ADD", false), step("ENV", true), step("RUN", false)];
        let found: Vec<(String, u64)> = steps(&history, &[10, 20, 30])
            .into_iter()
            .map(|step| (step.created_by, step.size_bytes))
            .collect();
        let expected = [("", 30), ("RUN", 20), ("ENV", 0), ("ADD", 10)];
        assert_eq!(found, expected.map(|(text, size)| (text.to_owned(), size)));
        assert_eq!(steps(&history, &[10])[0].size_bytes, 0, "a layer that is not there has no size");
        assert_eq!(steps(&[], &[]), []);
    }
}

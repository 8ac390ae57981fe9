//! What entries are marked with: the tag, and labels and variables of the container. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::shim::LogField;
use gotmpl::{MissingKey, Template, Value};
use regex_lite::Regex;

use super::options::Marks;
use crate::error::{Error, Result};

/// Digits of an id that people see.
const SHORT_ID: usize = 12;

/// Docker's tag for collectors when nobody says.
const DEFAULT_TAG: &str = "{{.ID}}";

/// What a tag, and everything else that entries are marked with, may say of a container.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) id: String,
    pub(crate) name: String,
    /// As the container was asked for, and its digest.
    pub(crate) image: String,
    pub(crate) image_id: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// RFC 3339.
    pub(crate) created: String,
    /// Of this machine.
    pub(crate) hostname: String,
}

impl Facts {
    pub(super) fn short_id(&self) -> &str {
        self.id.get(..SHORT_ID).unwrap_or(&self.id)
    }

    /// Under the names that Docker's templates have.
    fn values(&self) -> Value {
        let text = |text: &str| Value::String(text.into());
        let list = |list: &[String]| Value::List(list.iter().map(|item| text(item)).collect());
        let image_id = self.image_id.strip_prefix("sha256:").unwrap_or(&self.image_id);
        let labels = self.labels.iter().map(|(name, value)| (name.as_str().into(), text(value)));
        let values = [
            ("ID", text(self.short_id())),
            ("FullID", text(&self.id)),
            ("Name", text(&self.name)),
            ("ImageID", text(image_id.get(..SHORT_ID).unwrap_or(image_id))),
            ("ImageFullID", text(&self.image_id)),
            ("ImageName", text(&self.image)),
            ("Command", text(&self.args.join(" "))),
            ("Hostname", text(&self.hostname)),
            ("DaemonName", text("corten")),
            ("ContainerID", text(&self.id)),
            ("ContainerName", text(&format!("/{}", self.name))),
            ("ContainerImageID", text(&self.image_id)),
            ("ContainerImageName", text(&self.image)),
            ("ContainerCreated", text(&self.created)),
            ("ContainerEntrypoint", text(self.args.first().map_or("", String::as_str))),
            ("ContainerArgs", list(self.args.get(1..).unwrap_or_default())),
            ("ContainerEnv", list(&self.env)),
            ("ContainerLabels", Value::Map(Arc::new(labels.collect()))),
        ];
        Value::Map(Arc::new(values.into_iter().map(|(name, value)| (name.into(), value)).collect()))
    }
}

impl Marks {
    /// Refuses a tag and expressions that cannot be read, or that ask for what no container has.
    pub(super) fn check(&self) -> Result<()> {
        self.tag(&Facts::default()).and(self.fields(&Facts::default())).map(drop)
    }

    /// The tag of a container.
    pub(super) fn tag(&self, facts: &Facts) -> Result<String> {
        let template = match self.tag.as_deref() {
            // The usual case needs no template.
            None | Some(DEFAULT_TAG) => return Ok(facts.short_id().to_owned()),
            Some(template) => template,
        };
        let failed =
            |error: gotmpl::TemplateError| Error::InvalidArgument(format!("template: log-tag: {error}"));
        let template =
            Template::new("log-tag").missing_key(MissingKey::Error).parse(template).map_err(failed)?;
        template.execute_to_string(&facts.values()).map_err(failed)
    }

    /// The labels and variables that are asked for, by name.
    pub(super) fn fields(&self, facts: &Facts) -> Result<BTreeMap<String, String>> {
        let mut fields = BTreeMap::new();
        let labels = facts.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        choose(&mut fields, labels, &self.labels, self.labels_regex.as_deref())?;
        let env = facts.env.iter().filter_map(|variable| variable.split_once('='));
        choose(&mut fields, env, &self.env, self.env_regex.as_deref())?;
        Ok(fields)
    }

    /// Those, and the tag if one is asked for: what is beside each entry of the file.
    pub(super) fn attributes(&self, facts: &Facts) -> Result<Vec<LogField>> {
        let mut fields = self.fields(facts)?;
        if self.tag.is_some() {
            fields.insert("tag".into(), self.tag(facts)?);
        }
        Ok(fields.into_iter().map(|(name, value)| LogField { name, value }).collect())
    }
}

fn choose<'a>(
    chosen: &mut BTreeMap<String, String>,
    among: impl Iterator<Item = (&'a str, &'a str)>,
    names: &[String],
    expression: Option<&str>,
) -> Result<()> {
    let failed = |error| Error::InvalidArgument(format!("error parsing regexp: {error}"));
    let expression = expression.map(Regex::new).transpose().map_err(failed)?;
    let is_asked = |name: &str| {
        names.iter().any(|asked| asked == name)
            || expression.as_ref().is_some_and(|expression| expression.is_match(name))
    };
    chosen.extend(among.filter(|(name, _)| is_asked(name)).map(|(name, value)| (name.into(), value.into())));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            id: "0123456789abcdef".into(),
            name: "web".into(),
            image: "busybox:1".into(),
            image_id: "sha256:fedcba9876543210".into(),
            args: vec!["sleep".into(), "9".into()],
            env: vec!["A=1".into(), "HOME=/".into(), "BARE".into()],
            labels: [("a.b", "x"), ("c", "y")].map(|(name, value)| (name.into(), value.into())).into(),
            ..Facts::default()
        }
    }

    #[test]
    fn tags_are_go_templates_over_dockers_names() {
        for (template, want) in [
            (None, "0123456789ab"),
            (Some("{{.ID}}"), "0123456789ab"),
            (Some("{{.ImageName}}/{{.Name}}/{{.FullID}}"), "busybox:1/web/0123456789abcdef"),
            (Some("{{.ImageID}} {{.Command}}"), "fedcba987654 sleep 9"),
            (Some(r#"{{index .ContainerLabels "c"}}"#), "y"),
            (Some("plain"), "plain"),
        ] {
            let marks = Marks { tag: template.map(str::to_owned), ..Marks::default() };
            assert_eq!(marks.tag(&facts()).unwrap(), want, "{template:?}");
        }
        for wrong in ["{{", "{{.Nothing}}"] {
            let marks = Marks { tag: Some(wrong.into()), ..Marks::default() };
            assert!(marks.check().unwrap_err().to_string().starts_with("template: log-tag:"), "{wrong}");
        }
    }

    #[test]
    fn labels_and_variables_are_chosen_by_name_and_by_expression() {
        let marks = Marks {
            labels: vec!["c".into(), "none".into()],
            labels_regex: Some("^a\\.".into()),
            env: vec!["A".into()],
            env_regex: None,
            tag: Some("t".into()),
        };
        let attributes: Vec<_> = marks
            .attributes(&facts())
            .unwrap()
            .into_iter()
            .map(|field| format!("{}={}", field.name, field.value))
            .collect();
        assert_eq!(attributes, ["A=1", "a.b=x", "c=y", "tag=t"]);
        assert!(Marks { env_regex: Some("(".into()), ..Marks::default() }.check().is_err());
    }
}

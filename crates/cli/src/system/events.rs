//! `events`: what happens, as it happens.

use api::docker::event::Event;
use hyper::Method;
use jiff::Timestamp;

use crate::client::{Body, Path};
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::filters::{self, Filters};
use crate::flags::{Given, Operands, value};
use crate::lines::Lines;
use crate::{json, output, template, time};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Get real time events from the server",
    operands: Operands::NONE,
    flags: || {
        vec![
            filters::flag("Filter output based on conditions provided").short('f'),
            value("format", "string", "Format output using a custom template: 'json', or a Go TEMPLATE"),
            value("since", "string", "Show all events created since timestamp"),
            value("until", "string", "Stream events until this timestamp"),
        ]
    },
    refused: &[],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let now = Timestamp::now();
    let moment = |flag| {
        let moment = given.text(flag).map(|text| time::parse_moment(text, now)).transpose()?;
        Ok::<_, Error>(moment.map(time::unix))
    };
    let path = Path::new("/events")
        .query_if("since", moment("since")?.as_deref())
        .query_if("until", moment("until")?.as_deref());
    let path = Filters::read(given)?.apply(path);
    let format = given.text("format").unwrap_or_default();
    cli.with_client(async |client| {
        let mut events = Lines::new(client.stream(Method::GET, path, Body::empty()).await?);
        while let Some(event) = events.next().await? {
            output::print_line(&line(format, &event)?)?;
        }
        Ok(0)
    })
}

fn line(format: &str, event: &[u8]) -> Result<String, Error> {
    match format {
        "" => serde_json::from_slice(event).map(|event| sentence(&event)).map_err(Error::Answer),
        "json" => Ok(json::compact(&String::from_utf8_lossy(event))),
        source => {
            let event = serde_json::from_slice(event).map_err(Error::Answer)?;
            Ok(template::document(source, event)?)
        }
    }
}

/// Docker's line: time, kind, action, who, and what else is known.
fn sentence(event: &Event) -> String {
    let nanoseconds = if event.time_nano == 0 { event.time * 1_000_000_000 } else { event.time_nano };
    let mut line =
        format!("{} {} {} {}", time::local_precise(nanoseconds), event.kind, event.action, event.actor.id);
    if !event.actor.attributes.is_empty() {
        let pairs: Vec<String> =
            event.actor.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        line += &format!(" ({})", pairs.join(", "));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn events_are_sentences_json_or_templates() {
        let event = br#"{"status":"start","id":"abc","Type":"container","Action":"start","Actor":{"ID":"abc",
            "Attributes":{"name":"web","image":"busybox"}},"scope":"local","time":1704207845,"timeNano":1704207845000000007}"#;
        let sentence = line("", event).unwrap();
        assert!(sentence.ends_with(" container start abc (image=busybox, name=web)"), "{sentence}");
        assert!(sentence.contains(":05.000000007"), "{sentence}");
        assert_eq!(
            line("{{.Type}} {{.Actor.Attributes.name}} {{.Time}}", event).unwrap(),
            "container web 1704207845"
        );
        assert!(
            line("json", event).unwrap().starts_with(r#"{"status":"start","id":"abc","Type":"container","#)
        );
        assert!(line("", b"[").is_err());
    }
}

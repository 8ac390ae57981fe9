//! `ctr version`, `ctr info`, `ctr plugins` and `ctr deprecations`: what the daemon tells about itself.

use std::fmt::Write;

use grpc::introspection::{Plugin, PluginsRequest, ServerResponse};
use serde_json::json;

use crate::client::Client;
use crate::documents::pretty;
use crate::error::Error;
use crate::grammar::Call;
use crate::{output, table, text};

pub(crate) async fn version(call: &Call) -> Result<u8, Error> {
    output::text(&format!("Client:\n  Version:  {}\n\n", env!("CARGO_PKG_VERSION")))?;
    let client = Client::connect(call).await?;
    let version = client.version().version(()).await?.into_inner();
    let server = server(&client).await?;
    output::text(&format!(
        "Server:\n  Version:  {}\n  Revision: {}\n  UUID: {}\n",
        version.version, version.revision, server.uuid
    ))?;
    Ok(0)
}

async fn server(client: &Client) -> Result<ServerResponse, Error> {
    Ok(client.introspection().server(()).await?.into_inner())
}

pub(crate) async fn info(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let server = server(&client).await?;
    let document = json!({"server": {"uuid": server.uuid, "pid": server.pid, "pidns": server.pidns}});
    output::line(&pretty(&document)).map(|()| 0)
}

pub(crate) async fn deprecations(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let warnings = server(&client).await?.deprecations;
    if call.text("format") == "json" {
        let list: Vec<_> = warnings
            .iter()
            .map(|one| {
                let last = text::rfc3339(one.last_occurrence.as_ref());
                json!({"id": one.id, "message": one.message, "lastOccurrence": last})
            })
            .collect();
        return output::line(&pretty(&list.into())).map(|()| 0);
    }
    if warnings.is_empty() {
        return Ok(0);
    }
    let mut lines = "ID\tLAST OCCURRENCE\tMESSAGE\t\n".to_owned();
    for one in &warnings {
        let last = text::rfc3339(one.last_occurrence.as_ref());
        let _ = writeln!(lines, "{}\t{last}\t{}\t", one.id, one.message);
    }
    output::text(&table::layout(table::NARROW, &lines)).map(|()| 0)
}

pub(crate) async fn plugins(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let request = PluginsRequest { filters: call.operands.clone() };
    let plugins = client.introspection().plugins(request).await?.into_inner().plugins;
    let is_quiet = call.is("quiet");
    let text = match call.is("detailed") {
        true => table::layout(table::WIDE, &plugins.iter().map(detailed).collect::<String>()),
        false if is_quiet => plugins.iter().map(|plugin| format!("{}\n", plugin.id)).collect(),
        false => {
            let heading = "TYPE\tID\tPLATFORMS\tSTATUS\t\n".to_owned();
            table::layout(table::WIDE, &plugins.iter().fold(heading, |lines, plugin| lines + &row(plugin)))
        }
    };
    output::text(&text).map(|()| 0)
}

/// The words of a plugin that is there and does not want to run.
const SKIP: &str = "skip plugin";

fn platforms(plugin: &Plugin) -> String {
    let names = plugin.platforms.iter().map(|platform| {
        let parts = [&platform.os, &platform.architecture, &platform.variant];
        parts.into_iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join("/")
    });
    names.collect::<Vec<_>>().join(",")
}

fn row(plugin: &Plugin) -> String {
    let status = match &plugin.init_err {
        None => "ok",
        Some(error) if error.message.contains(SKIP) => "skip",
        Some(_) => "error",
    };
    let platforms = platforms(plugin);
    let platforms = if platforms.is_empty() { "-" } else { &platforms };
    format!("{}\t{}\t{platforms}\t{status}\t\n", plugin.r#type, plugin.id)
}

fn detailed(plugin: &Plugin) -> String {
    let mut lines = format!("Type:\t{}\nID:\t{}\n", plugin.r#type, plugin.id);
    lines.push_str(&paragraph("Requires", &plugin.requires));
    let platforms = platforms(plugin);
    if !platforms.is_empty() {
        let _ = writeln!(lines, "Platforms:\t{platforms}");
    }
    let mut exports: Vec<_> = plugin.exports.iter().collect();
    exports.sort_unstable();
    let exports: Vec<String> = exports.iter().map(|(key, value)| format!("{key}\t{value}")).collect();
    lines.push_str(&paragraph("Exports", &exports));
    lines.push_str(&paragraph("Capabilities", &plugin.capabilities));
    if let Some(error) = &plugin.init_err {
        let code = tonic::Code::from_i32(error.code);
        let _ = writeln!(lines, "Error:\t\n\tCode:\t{code:?}\n\tMessage:\t{}", error.message);
    }
    lines.push_str("\t\t\n");
    lines
}

/// A name and a line for each entry; nothing without entries.
fn paragraph(name: &str, entries: &[String]) -> String {
    match entries {
        [] => String::new(),
        entries => format!("{name}:\t\n\t{}\n", entries.join("\n\t")),
    }
}

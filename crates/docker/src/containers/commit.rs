//! `POST /commit`: an image of a container.

use api::docker::IdResponse;
use api::docker::container::Config;
use engine::containers::CommitRequest;
use hyper::StatusCode;
use oci::image_config::{Healthcheck, RuntimeConfig};

use crate::call::Call;
use crate::error::{Error, Result};
use crate::images;
use crate::reply::{self, Reply};

pub(crate) async fn commit(mut call: Call) -> Result<Reply> {
    // Clients without a wish send `null`.
    let config: Option<Config> = call.optional_body::<Option<Config>>().await?.flatten();
    let query = &call.query;
    let container = query
        .text("container")
        .ok_or_else(|| Error::invalid("no container is named: `container` is missing"))?;
    let request = CommitRequest {
        reference: images::reference(&call)?,
        author: query.text("author").unwrap_or_default().to_owned(),
        message: query.text("comment").unwrap_or_default().to_owned(),
        // It stands still unless somebody says otherwise.
        keeps_running: query.text("pause").is_some() && !query.flag("pause"),
        config: config.map(runtime_config),
        changes: query.all("changes").flat_map(str::lines).map(str::to_owned).collect(),
    };
    let id = call.engine.containers().commit(container, request).await?;
    Ok(reply::json(StatusCode::CREATED, &IdResponse { id }))
}

/// The part of a container's configuration that images have.
fn runtime_config(config: Config) -> RuntimeConfig {
    let said = |number: i64| Some(number).filter(|number| *number != 0);
    let healthcheck = config.healthcheck.map(|check| Healthcheck {
        test: check.test.unwrap_or_default(),
        interval: said(check.interval),
        timeout: said(check.timeout),
        start_period: said(check.start_period),
        start_interval: said(check.start_interval),
        retries: said(check.retries),
    });
    RuntimeConfig {
        user: config.user,
        exposed_ports: config.exposed_ports.unwrap_or_default().into_keys().collect(),
        env: config.env.unwrap_or_default(),
        entrypoint: config.entrypoint.map(|command| command.0),
        cmd: config.cmd.map(|command| command.0),
        volumes: config.volumes.unwrap_or_default().into_keys().collect(),
        working_dir: config.working_dir,
        labels: config.labels.unwrap_or_default(),
        stop_signal: config.stop_signal,
        stop_timeout: config.stop_timeout,
        healthcheck,
        shell: config.shell.map(|command| command.0),
        on_build: config.on_build.unwrap_or_default(),
    }
}

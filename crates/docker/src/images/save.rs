//! `GET /images/get` and `GET /images/{name}/get`: images as an archive.

use oci::platform::Platform;

use crate::archive;
use crate::call::Call;
use crate::error::{Error, Result};
use crate::reply::Reply;

pub(crate) async fn one(call: Call) -> Result<Reply> {
    let name = call.name.clone();
    save(call, vec![name]).await
}

pub(crate) async fn several(call: Call) -> Result<Reply> {
    let names: Vec<String> = call.query.all("names").map(str::to_owned).collect();
    if names.is_empty() {
        return Err(Error::invalid("no image is named: `names` is missing"));
    }
    save(call, names).await
}

async fn save(call: Call, names: Vec<String>) -> Result<Reply> {
    let platform = platform(&call)?;
    let saved = call.engine.images().save(names, platform).await?;
    archive::reply(|output| saved.write(output))
}

/// The platform of a request: `{"os": "linux", "architecture": "amd64"}`, or `linux/amd64`.
fn platform(call: &Call) -> Result<Option<Platform>> {
    let mut texts = call.query.all("platform").filter(|text| !text.is_empty());
    let Some(text) = texts.next() else { return Ok(None) };
    if texts.next().is_some() {
        return Err(Error::not_there_yet("saving more than one platform, but not all"));
    }
    let parsed = match text.starts_with('{') {
        true => serde_json::from_str(text).map_err(|error| error.to_string()),
        false => Platform::parse(text).map_err(|error| error.to_string()),
    };
    parsed.map(Some).map_err(|why| Error::invalid(format!("invalid platform {text:?}: {why}")))
}

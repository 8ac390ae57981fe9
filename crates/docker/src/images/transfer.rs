//! Images from and to registries, in Docker's words: pull, push, login, search, and what a name leads to.
//!
//! A transfer is answered with a stream of steps, whose first one comes when the registry has said that there is something to transfer;
//! what fails before has a status of its own. A client that goes away ends its transfer.

use std::collections::BTreeMap;

use api::docker::image::{
    AuthBody, AuthReply, Distribution, DistributionPlatform, SearchItem, WireDescriptor,
};
use api::docker::{ErrorDetail, Progress, ProgressDetail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use bytes::Bytes;
use engine::images::{
    Access, Credentials, Proxies, PullEvent, PullOptions, PullStep, Pulled, PushEvent, PushStep, Pushed,
};
use futures_util::{StreamExt, stream};
use hyper::{HeaderMap, StatusCode};
use oci::digest::Digest;
use oci::platform::Platform;
use oci::reference::Reference;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::call::Call;
use crate::error::{Error, Result};
use crate::filters::Filters;
use crate::reply::{self, Reply};

/// Credentials of the registry that is asked.
const AUTH_HEADER: &str = "x-registry-auth";
/// Ours: the proxies of the shell that asks, for this request only. Base64 of JSON.
const PROXY_HEADER: &str = "x-corten-proxy";
/// Either is some kilobytes, with long tokens.
const HEADER_MAX: usize = 64 << 10;
/// Docker's defaults of a search.
const SEARCH_LIMIT: usize = 25;
const SEARCH_LIMIT_MAX: usize = 100;
/// Characters of the bar of a transfer.
const BAR: usize = 50;

#[derive(Deserialize)]
#[serde(default, rename_all = "lowercase")]
#[derive(Default)]
struct AuthHeader {
    username: String,
    password: String,
    auth: String,
    identitytoken: String,
    registrytoken: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ProxyHeader {
    http: String,
    https: String,
    no: String,
}

/// Work in the background that ends when nobody wants it any more.
struct Work<T>(JoinHandle<T>);

impl<T> Drop for Work<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// `POST /images/create?fromImage=`: a pull.
pub(crate) async fn pull(call: Call, image: &str) -> Result<Reply> {
    let access = access(call.request.headers())?;
    let platform = call.query.text("platform").filter(|text| !text.is_empty());
    let platform =
        platform.map(Platform::parse).transpose().map_err(|error| Error::invalid(error.to_string()))?;
    let options = PullOptions { platform, access };
    let images = call.engine.images();
    let names = match named(image, call.query.text("tag"))? {
        name if name.tag().is_some() || name.digest().is_some() => vec![name],
        repository => {
            let tags =
                images.tags(&repository, &options.access).await.map_err(|error| told(&repository, error))?;
            let tagged = |tag: &String| Reference::parse_named(&format!("{}:{tag}", repository.repository()));
            tags.iter().filter_map(|tag| tagged(tag).ok()).collect()
        }
    };
    let (sender, receiver) = mpsc::unbounded_channel::<Progress>();
    let work = Work(tokio::spawn(async move {
        for name in &names {
            let (progress, events) = mpsc::unbounded_channel();
            let pulling = images.pull(name, &options, progress);
            let telling = tell_pull(name, events, &sender);
            let (pulled, ()) = tokio::join!(pulling, telling);
            let pulled = pulled.map_err(|error| told(name, error))?;
            finished_pull(name, &pulled).into_iter().for_each(|step| drop(sender.send(step)));
        }
        Ok(())
    }));
    respond(receiver, work).await
}

/// `POST /images/{name}/push`.
pub(crate) async fn push(call: Call) -> Result<Reply> {
    call.query.refuse(&["platform"])?;
    let access = access(call.request.headers())?;
    let images = call.engine.images();
    let name = named(&call.name, call.query.text("tag"))?;
    let names = match name.tag() {
        Some(_) => vec![name],
        None => {
            // Every tag of the repository that is here.
            let filter = engine::images::ImageFilter::default();
            let known = images.list(&filter).await?.into_iter().flat_map(|image| image.tags);
            let parsed = known.filter_map(|tag| Reference::parse_normalized(&tag).ok());
            parsed.filter(|tag| tag.repository() == name.repository()).collect()
        }
    };
    if names.is_empty() {
        return Err(Error::NotFound(format!("An image does not exist locally with the tag: {}", call.name)));
    }
    for name in &names {
        images.inspect(&name.to_string()).await.map_err(|_| {
            Error::NotFound(format!(
                "An image does not exist locally with the tag: {}",
                name.familiar_repository()
            ))
        })?;
    }
    let (sender, receiver) = mpsc::unbounded_channel::<Progress>();
    let refers = format!("The push refers to repository [{}]", names[0].repository());
    drop(sender.send(status(refers)));
    let work = Work(tokio::spawn(async move {
        for name in &names {
            let (progress, events) = mpsc::unbounded_channel();
            let telling = tell_push(events, &sender);
            let (pushed, ()) = tokio::join!(images.push(name, &access, progress), telling);
            let pushed = pushed.map_err(|error| told(name, error))?;
            finished_push(&pushed).into_iter().for_each(|step| drop(sender.send(step)));
        }
        Ok(())
    }));
    respond(receiver, work).await
}

/// `POST /auth`.
pub(crate) async fn login(mut call: Call) -> Result<Reply> {
    let proxies = access(call.request.headers())?.proxies;
    let body: AuthBody = call.body().await?;
    let credentials = Credentials {
        username: body.username,
        password: body.password,
        identity_token: body.identity_token,
        registry_token: String::new(),
    };
    let access = Access { credentials: Some(credentials), proxies, ..Access::default() };
    let identity_token =
        call.engine.images().login(&body.server_address, &access).await.map_err(|error| {
            let is_refusal = error.code() == api::code::Code::Unauthenticated;
            match is_refusal {
                true => Error::Unauthorized(format!("{}{}", error.chain(), hint(&error))),
                false => Error::System { what: "login", source: std::io::Error::other(error.chain()) },
            }
        })?;
    Ok(reply::ok(&AuthReply { status: "Login Succeeded".into(), identity_token }))
}

/// `GET /images/search`.
pub(crate) async fn search(call: Call) -> Result<Reply> {
    let filters = Filters::parse(&call.query, &["is-automated", "is-official", "stars"])?;
    let term = call.query.text("term").unwrap_or_default();
    if term.is_empty() {
        return Err(Error::invalid("a search needs a term"));
    }
    let limit = match call.query.number::<usize>("limit")?.unwrap_or(SEARCH_LIMIT) {
        0 => SEARCH_LIMIT,
        limit if limit <= SEARCH_LIMIT_MAX => limit,
        limit => return Err(Error::invalid(format!("limit {limit} is outside the range of [1, 100]"))),
    };
    let stars: i64 = match filters.single("stars")? {
        Some(text) => text.parse().map_err(|_| Error::invalid(format!("invalid filter 'stars={text}'")))?,
        None => 0,
    };
    let (official, automated) = (filters.flag("is-official")?, filters.flag("is-automated")?);
    let found = call.engine.images().search(term, limit, &access(call.request.headers())?).await?;
    let items: Vec<SearchItem> = found
        .into_iter()
        .filter(|one| one.star_count >= stars)
        .filter(|one| official.is_none_or(|wanted| one.is_official == wanted))
        .filter(|one| automated.is_none_or(|wanted| one.is_automated == wanted))
        .map(|one| SearchItem {
            name: one.name,
            description: one.description,
            star_count: one.star_count,
            is_official: one.is_official,
            is_automated: one.is_automated,
        })
        .collect();
    Ok(reply::ok(&items))
}

/// `GET /distribution/{name}/json`.
pub(crate) async fn distribution(call: Call) -> Result<Reply> {
    let name = Reference::parse_normalized(&call.name).map_err(|error| Error::invalid(error.to_string()))?;
    let access = access(call.request.headers())?;
    let remote = call.engine.images().remote(&name, &access).await.map_err(|error| told(&name, error))?;
    let platforms = remote.platforms.into_iter().map(|platform| DistributionPlatform {
        architecture: platform.architecture,
        os: platform.os,
        variant: platform.variant,
    });
    let descriptor = WireDescriptor {
        media_type: remote.descriptor.media_type,
        digest: remote.descriptor.digest.to_string(),
        size: i64::try_from(remote.descriptor.size).unwrap_or(i64::MAX),
    };
    Ok(reply::ok(&Distribution { descriptor, platforms: platforms.collect() }))
}

/// Answers with the first step, or with why there is none.
async fn respond(mut steps: mpsc::UnboundedReceiver<Progress>, mut work: Work<Result<()>>) -> Result<Reply> {
    let Some(first) = steps.recv().await else {
        (&mut work.0).await.map_err(|_| Error::Panicked)??;
        return Ok(reply::empty(StatusCode::OK));
    };
    let lines = stream::unfold(Some((Some(first), steps, work)), |state| async move {
        let (step, mut steps, mut work) = state?;
        if let Some(step) = step {
            let next = steps.recv().await;
            return Some((reply::line(&step), Some((next, steps, work))));
        }
        let failure = match (&mut work.0).await {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => error,
            Err(_) => Error::Panicked,
        };
        Some((failure_line(&failure), None))
    });
    Ok(reply::json_stream(lines.boxed()))
}

fn failure_line(error: &Error) -> Bytes {
    let message = error.to_string();
    let error_detail = Some(ErrorDetail { code: 0, message: message.clone() });
    reply::line(&Progress { error_detail, error: message, ..Progress::default() })
}

/// The name that `fromImage` and `tag` make.
fn named(image: &str, tag: Option<&str>) -> Result<Reference> {
    let text = match tag.filter(|tag| !tag.is_empty()) {
        Some(tag) if Digest::parse(tag).is_ok() => format!("{image}@{tag}"),
        Some(tag) => format!("{image}:{tag}"),
        None => image.to_owned(),
    };
    Reference::parse_named(&text).map_err(|error| Error::invalid(error.to_string()))
}

async fn tell_pull(
    name: &Reference,
    mut events: mpsc::UnboundedReceiver<PullEvent>,
    steps: &mpsc::UnboundedSender<Progress>,
) {
    let mut is_first = true;
    while let Some(event) = events.recv().await {
        if std::mem::take(&mut is_first) {
            let what =
                name.tag().map_or_else(|| name.digest().map(ToString::to_string), |tag| Some(tag.to_owned()));
            let from =
                Progress { id: what.unwrap_or_default(), ..status(format!("Pulling from {}", name.path())) };
            drop(steps.send(from));
        }
        drop(steps.send(describe_pull(event)));
    }
}

fn describe_pull(event: PullEvent) -> Progress {
    let (status, detail) = match event.step {
        PullStep::PullingLayer => ("Pulling fs layer".to_owned(), None),
        PullStep::Waiting => ("Waiting".to_owned(), None),
        PullStep::AlreadyExists => ("Already exists".to_owned(), None),
        PullStep::Downloading { current, total } => ("Downloading".to_owned(), Some((current, total))),
        PullStep::Verifying => ("Verifying Checksum".to_owned(), None),
        PullStep::DownloadComplete => ("Download complete".to_owned(), None),
        PullStep::Retrying { reason } => (format!("Retrying: {reason}"), None),
        PullStep::Extracting { current, total } => ("Extracting".to_owned(), Some((current, total))),
        PullStep::PullComplete => ("Pull complete".to_owned(), None),
    };
    with_detail(status, event.layer.digest.short().to_owned(), detail)
}

fn finished_pull(name: &Reference, pulled: &Pulled) -> [Progress; 2] {
    let what = if pulled.is_new { "Downloaded newer image for" } else { "Image is up to date for" };
    [status(format!("Digest: {}", pulled.digest)), status(format!("Status: {what} {}", name.familiar()))]
}

async fn tell_push(mut events: mpsc::UnboundedReceiver<PushEvent>, steps: &mpsc::UnboundedSender<Progress>) {
    while let Some(event) = events.recv().await {
        let (status, detail) = match event.step {
            PushStep::Preparing => ("Preparing", None),
            PushStep::LayerExists => ("Layer already exists", None),
            PushStep::Pushing { current, total } => ("Pushing", Some((current, total))),
            PushStep::Pushed => ("Pushed", None),
        };
        drop(steps.send(with_detail(status.to_owned(), event.layer.digest.short().to_owned(), detail)));
    }
}

fn finished_push(pushed: &Pushed) -> [Progress; 2] {
    let Pushed { tag, digest, size } = pushed;
    let aux = BTreeMap::from([
        ("Tag".to_owned(), serde_json::Value::from(tag.clone())),
        ("Digest".to_owned(), digest.to_string().into()),
        ("Size".to_owned(), (*size).into()),
    ]);
    let line = status(format!("{tag}: digest: {digest} size: {size}"));
    [
        line,
        Progress { progress_detail: Some(ProgressDetail::default()), aux: Some(aux), ..Progress::default() },
    ]
}

fn status(status: String) -> Progress {
    Progress { status, ..Progress::default() }
}

fn with_detail(status: String, id: String, detail: Option<(u64, u64)>) -> Progress {
    let bytes = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    Progress {
        status,
        id,
        progress: detail.map_or(String::new(), |(current, total)| bar(current, total)),
        progress_detail: Some(detail.map_or_else(ProgressDetail::default, |(current, total)| {
            ProgressDetail { current: bytes(current), total: bytes(total) }
        })),
        ..Progress::default()
    }
}

/// Docker's bar: `[====>     ]  1.05MB/2.1MB`.
pub(super) fn bar(current: u64, total: u64) -> String {
    let filled = usize::try_from(current.min(total) * BAR as u64 / total.max(1)).unwrap_or(BAR);
    let arrow = if filled < BAR { ">" } else { "" };
    let blank = " ".repeat(BAR - filled - arrow.len().min(BAR - filled));
    format!("[{}{arrow}{blank}]  {}/{}", "=".repeat(filled), size(current), size(total))
}

fn size(bytes: u64) -> String {
    api::words::precise(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// Who asks, by the request's headers.
pub(super) fn access(headers: &HeaderMap) -> Result<Access> {
    let wrong = |name: &str| Error::invalid(format!("invalid header {name}"));
    let decode = |name: &str| -> Result<Option<Vec<u8>>> {
        let Some(value) = headers.get(name) else { return Ok(None) };
        let text = value.to_str().map_err(|_| wrong(name))?.trim();
        if text.is_empty() {
            return Ok(None);
        }
        if text.len() > HEADER_MAX {
            return Err(wrong(name));
        }
        let decoded = [&URL_SAFE, &URL_SAFE_NO_PAD, &STANDARD].iter().find_map(|kind| kind.decode(text).ok());
        decoded.map(Some).ok_or_else(|| wrong(name))
    };
    let credentials = match decode(AUTH_HEADER)? {
        Some(json) => credentials(serde_json::from_slice(&json).map_err(|_| wrong(AUTH_HEADER))?),
        None => None,
    };
    let proxies = match decode(PROXY_HEADER)? {
        Some(json) => {
            let ProxyHeader { http, https, no } =
                serde_json::from_slice(&json).map_err(|_| wrong(PROXY_HEADER))?;
            Some(Proxies { http, https, no_proxy: no })
        }
        None => None,
    };
    Ok(Access { credentials, proxies, ..Access::default() })
}

fn credentials(header: AuthHeader) -> Option<Credentials> {
    let AuthHeader { mut username, mut password, auth, identitytoken, registrytoken } = header;
    if username.is_empty()
        && let Some(pair) = STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok())
        && let Some((user, secret)) = pair.split_once(':')
    {
        (username, password) = (user.to_owned(), secret.to_owned());
    }
    let credentials =
        Credentials { username, password, identity_token: identitytoken, registry_token: registrytoken };
    Some(credentials).filter(|credentials| *credentials != Credentials::default())
}

/// What a registry's refusal is in Docker's words, with each host's own.
fn told(name: &Reference, error: engine::Error) -> Error {
    use api::code::Code;
    let Some(refusal) = error.registry() else { return Error::Engine(error) };
    let why = format!("{refusal}{}", hint(&error));
    if refusal.is_not_found() {
        return Error::NotFound(format!(
            "manifest for {} not found: manifest unknown: {why}",
            name.familiar()
        ));
    }
    match error.code() {
        Code::Unauthenticated | Code::PermissionDenied => Error::NotFound(format!(
            "pull access denied for {}, repository does not exist or may require 'docker login': {why}",
            name.familiar_repository()
        )),
        _ => Error::Registry(why),
    }
}

fn hint(error: &engine::Error) -> String {
    let advice = error.registry().and_then(|refusal| refusal.hint());
    advice.map_or(String::new(), |advice| format!(" (hint: {advice})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_and_sizes_are_docker_s() {
        for (bytes, text) in
            [(0, "0B"), (999, "999B"), (1050, "1.05kB"), (2_200_000, "2.2MB"), (123_456_789, "123.5MB")]
        {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(bar(0, 10), format!("[>{}]  0B/10B", " ".repeat(49)));
        assert_eq!(bar(5, 10), format!("[{}>{}]  5B/10B", "=".repeat(25), " ".repeat(24)));
        assert_eq!(bar(10, 10), format!("[{}]  10B/10B", "=".repeat(50)));
        assert_eq!(bar(3, 0).len(), 2 + BAR + "  3B/0B".len());
    }

    #[test]
    fn who_asks_is_read_from_headers() {
        let ask = |name: &'static str, json: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, URL_SAFE.encode(json).parse().unwrap());
            access(&headers)
        };
        let auth =
            ask(AUTH_HEADER, r#"{"username":"a","password":"b","email":""}"#).unwrap().credentials.unwrap();
        assert_eq!((auth.username.as_str(), auth.password.as_str()), ("a", "b"));
        let pair = format!(r#"{{"auth":"{}"}}"#, STANDARD.encode("u:p:q"));
        assert_eq!(ask(AUTH_HEADER, &pair).unwrap().credentials.unwrap().password, "p:q");
        assert_eq!(ask(AUTH_HEADER, "{}").unwrap().credentials, None);
        let proxies = ask(PROXY_HEADER, r#"{"https":"http://p","no":"x"}"#).unwrap().proxies.unwrap();
        assert_eq!((proxies.https.as_str(), proxies.no_proxy.as_str()), ("http://p", "x"));
        assert!(ask(AUTH_HEADER, "[").is_err());
    }

    #[test]
    fn a_tag_may_be_a_digest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(
            named("busybox", Some(&digest)).unwrap().to_string(),
            format!("docker.io/library/busybox@{digest}")
        );
        assert_eq!(named("a/b", Some("1")).unwrap().to_string(), "docker.io/a/b:1");
        assert_eq!(named("a/b", None).unwrap().tag(), None);
        assert!(named("A", None).is_err());
    }
}

//! All calls of the API, before they come to their services: those of a plugin that is disabled go no further, and if somebody
//! reads metrics, they are counted by service, method and how they ended, under the names that gRPC servers commonly have for it.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::{Code, Status};
use tower_layer::Layer;

use crate::metrics::{Text, f64_of};
use crate::request;
use crate::services::introspection::SERVICE;

/// Services have about a hundred methods; what a client makes up beyond them is not counted.
const METHODS_MAX: usize = 256;

/// How often each method was called, and how that ended.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<BTreeMap<String, Count>>);

#[derive(Debug, Default)]
struct Count {
    started: u64,
    handled: BTreeMap<&'static str, u64>,
}

impl Counters {
    fn with(&self, path: &str, change: impl FnOnce(&mut Count)) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(path) {
            change(count);
        } else if counts.len() < METHODS_MAX {
            change(counts.entry(path.to_owned()).or_default());
        }
    }

    /// Adds the counts to what is told.
    pub(crate) fn tell(&self, text: &mut Text) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = || {
            counts.iter().filter_map(|(path, count)| {
                let (service, method) = path.trim_start_matches('/').split_once('/')?;
                Some((service, method, kind(service, method), count))
            })
        };
        text.family("grpc_server_started_total", "counter", "Calls that were begun.");
        for (service, method, kind, count) in all() {
            let labels = [("grpc_method", method), ("grpc_service", service), ("grpc_type", kind)];
            text.sample("grpc_server_started_total", &labels, f64_of(count.started));
        }
        text.family("grpc_server_handled_total", "counter", "Calls that have ended, by how.");
        for (service, method, kind, count) in all() {
            for (code, number) in &count.handled {
                let labels = [
                    ("grpc_code", *code),
                    ("grpc_method", method),
                    ("grpc_service", service),
                    ("grpc_type", kind),
                ];
                text.sample("grpc_server_handled_total", &labels, f64_of(*number));
            }
        }
    }
}

/// How many messages go which way.
fn kind(service: &str, method: &str) -> &'static str {
    match (service.rsplit('.').next().unwrap_or_default(), method) {
        ("Content", "Write") | ("Streaming", "Stream") => "bidi_stream",
        ("Content", "Read" | "List")
        | ("Containers", "ListStream")
        | ("Events", "Subscribe")
        | ("Snapshots", "List")
        | ("Health", "Watch") => "server_stream",
        _ => "unary",
    }
}

/// The plugin that a service of the API is.
fn plugin_of(service: &str) -> Option<String> {
    let id = match service {
        "grpc.health.v1.Health" => "healthcheck",
        "containerd.services.sandbox.v1.Store" => "sandboxes",
        "containerd.services.sandbox.v1.Controller" => "sandbox-controllers",
        other => other.strip_prefix("containerd.services.")?.split('.').next()?,
    };
    Some(format!("{SERVICE}.{id}"))
}

/// What all calls pass.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    counters: Option<Arc<Counters>>,
    disabled: Arc<BTreeSet<String>>,
}

impl Calls {
    pub(crate) fn new(counters: Option<Arc<Counters>>, disabled: Arc<BTreeSet<String>>) -> Calls {
        Calls { counters, disabled }
    }

    /// What is said to who calls a service that is not there: what gRPC servers say.
    fn refusal(&self, path: &str) -> Option<Status> {
        let (service, _) =
            path.trim_start_matches('/').split_once('/').filter(|_| !self.disabled.is_empty())?;
        let plugin = plugin_of(service)?;
        self.disabled.contains(&plugin).then(|| Status::unimplemented(format!("unknown service {service}")))
    }
}

impl<S> Layer<S> for Calls {
    type Service = Called<S>;

    fn layer(&self, inner: S) -> Called<S> {
        Called { inner, calls: self.clone() }
    }
}

/// A server behind them.
#[derive(Debug, Clone)]
pub(crate) struct Called<S> {
    inner: S,
    calls: Calls,
}

impl<S, B> Service<Request<B>> for Called<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Error: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<CalledBody>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        let mut call = self.calls.counters.clone().map(|counters| Call::begin(counters, path));
        if let Some(refusal) = self.calls.refusal(path) {
            let answer: Response<Body> = refusal.into_http();
            end(&mut call, answer.headers());
            return Box::pin(std::future::ready(Ok(answer.map(|inner| CalledBody { inner, call }))));
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut call = call;
            let mut answer = answer.await?;
            // An error without a message ends with the head.
            if answer.headers().contains_key("grpc-status") {
                let status = Status::from_header_map(answer.headers());
                if let Some(told) = status.as_ref().and_then(request::too_large) {
                    answer = told.into_http();
                }
                end(&mut call, answer.headers());
            }
            Ok(answer.map(|inner| CalledBody { inner, call }))
        })
    }
}

/// A call that has not ended yet; one that is let go of was canceled.
#[derive(Debug)]
struct Call {
    counters: Arc<Counters>,
    path: String,
    code: &'static str,
}

impl Call {
    fn begin(counters: Arc<Counters>, path: &str) -> Call {
        counters.with(path, |count| count.started += 1);
        Call { counters, path: path.to_owned(), code: "Canceled" }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let code = self.code;
        self.counters.with(&self.path, |count| *count.handled.entry(code).or_default() += 1);
    }
}

/// The call has ended as these headers say.
fn end(call: &mut Option<Call>, headers: &HeaderMap) {
    if let Some(mut call) = call.take() {
        let status = headers.get("grpc-status").and_then(|status| status.to_str().ok()?.parse().ok());
        call.code = name(Code::from_i32(status.unwrap_or(2)));
    }
}

fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

/// An answer; how its call ended is at its end.
#[derive(Debug)]
pub(crate) struct CalledBody {
    inner: Body,
    call: Option<Call>,
}

impl http_body::Body for CalledBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            end(&mut self.call, trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_a_disabled_plugin_are_refused_and_no_others() {
        let calls = Calls::new(None, Arc::new(BTreeSet::from(["io.containerd.grpc.v1.transfer".to_owned()])));
        let refused = calls.refusal("/containerd.services.transfer.v1.Transfer/Transfer").unwrap();
        assert_eq!(refused.code(), Code::Unimplemented);
        assert_eq!(refused.message(), "unknown service containerd.services.transfer.v1.Transfer");
        for path in ["/containerd.services.content.v1.Content/Read", "/grpc.health.v1.Health/Check", "/x", ""]
        {
            assert!(calls.refusal(path).is_none(), "{path}");
        }
        assert_eq!(
            plugin_of("containerd.services.sandbox.v1.Store").as_deref(),
            Some("io.containerd.grpc.v1.sandboxes")
        );
    }

    #[test]
    fn a_call_is_counted_when_it_begins_and_by_how_it_ended() {
        let counters = Arc::new(Counters::default());
        let path = "/containerd.services.content.v1.Content/Read";
        let mut ended = Some(Call::begin(counters.clone(), path));
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", "5".parse().unwrap());
        end(&mut ended, &headers);
        drop(Call::begin(counters.clone(), path));
        for number in 0..METHODS_MAX * 2 {
            drop(Call::begin(counters.clone(), &format!("/made.up/{number}")));
        }
        let mut text = Text::default();
        counters.tell(&mut text);
        let text = format!("{text:?}").replace("\\\"", "'").replace("\\n", "\n");
        let labels = "grpc_method='Read',grpc_service='containerd.services.content.v1.Content',grpc_type='server_stream'}";
        assert!(text.contains(&format!("grpc_server_started_total{{{labels} 2")), "{text}");
        for code in ["NotFound", "Canceled"] {
            assert!(
                text.contains(&format!("grpc_server_handled_total{{grpc_code='{code}',{labels} 1")),
                "{text}"
            );
        }
        assert_eq!(text.matches("grpc_server_started_total{").count(), METHODS_MAX, "there is a bound");
    }
}

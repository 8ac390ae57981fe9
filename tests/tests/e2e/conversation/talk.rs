//! Two daemons that are asked the same, and what they answer in a form that can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use grpc::events::events_client::EventsClient;
use grpc::events::{PublishRequest, SubscribeRequest};
use tests::containerd::Containerd;
use tests::host::{Host, PATIENCE, path_text};
use tests::peers::program;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

const HEADING: &str = "## containerd's API: a conversation";
/// Said until it is heard.
const FIRST: &str = "/conversation/begin";
/// Said at the end: then everything before it was heard.
const LAST: &str = "/conversation/end";

/// One of the two.
#[derive(Clone)]
pub(crate) struct Side {
    pub(crate) name: &'static str,
    pub(crate) channel: Channel,
    /// What is in it differs; where it is told, a word stands for it.
    folder: PathBuf,
    /// Below which its containers are.
    pub(crate) cgroup: String,
}

/// What a call says of its namespace and lease.
#[derive(Clone, Default)]
pub(crate) struct Headers(Vec<(&'static str, String)>);

impl tonic::service::Interceptor for Headers {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        for (key, value) in &self.0 {
            let value: MetadataValue<Ascii> = value.parse().expect("a header");
            request.metadata_mut().insert(*key, value);
        }
        Ok(request)
    }
}

pub(crate) type Service = InterceptedService<Channel, Headers>;

/// A conversation with both.
pub(crate) struct Talk {
    sides: [Side; 2],
    pub(crate) headers: Headers,
    host: Host,
    containerd: Containerd,
    heard: [JoinHandle<Vec<String>>; 2],
    differences: BTreeMap<String, String>,
    asked: BTreeSet<String>,
}

impl Talk {
    pub(crate) fn begin(runtime: &tokio::runtime::Runtime) -> Talk {
        let host = Host::empty();
        let containerd = Containerd::start(&program("libexec/containerd"), "");
        let side = |name, folder: &Path, socket: &Path, cgroup: &str| {
            let endpoint =
                Endpoint::from_shared(format!("unix://{}", path_text(socket))).expect("an address");
            let channel = runtime.block_on(connect(&endpoint));
            Side { name, channel, folder: folder.to_owned(), cgroup: format!("{}/{cgroup}", host.cgroup()) }
        };
        let sides = [
            side("containerd", containerd.path(), &containerd.socket(), "theirs"),
            side("corten", host.path(), &host.state().join("corten.sock"), "ours"),
        ];
        let (begun, has_begun) =
            [(); 2].map(|()| tokio::sync::watch::channel(false)).into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
        let mut begun = begun.into_iter();
        let heard = sides.clone().map(|side| runtime.spawn(listen(side, begun.next().expect("one each"))));
        let talk = Talk {
            sides,
            headers: Headers::default(),
            host,
            containerd,
            heard,
            differences: BTreeMap::new(),
            asked: BTreeSet::new(),
        };
        runtime.block_on(talk.until_heard(&has_begun));
        talk
    }

    pub(crate) fn sides(&self) -> [Side; 2] {
        self.sides.clone()
    }

    /// The folder of this test.
    pub(crate) fn folder(&self) -> &Path {
        self.host.path()
    }

    /// From now on calls are about `namespace`; about none, if it is empty.
    pub(crate) fn within(&mut self, namespace: &str) {
        self.headers.0.clear();
        if !namespace.is_empty() {
            self.headers.0.push(("containerd-namespace", namespace.to_owned()));
        }
    }

    /// From now on calls have a lease, too.
    pub(crate) fn leased(&mut self, lease: &str) {
        self.headers.0.push(("containerd-lease", lease.to_owned()));
    }

    pub(crate) fn service(&self, side: &Side) -> Service {
        InterceptedService::new(side.channel.clone(), self.headers.clone())
    }

    /// What a side answered, without what is only its own.
    pub(crate) fn plain<T: Debug>(&self, side: &Side, answer: Result<T, tonic::Status>) -> String {
        let text = match answer {
            Ok(answer) => lines(&format!("{answer:#?}")),
            Err(status) => {
                assert_ne!(
                    status.code(),
                    tonic::Code::Unavailable,
                    "{} is gone: {}",
                    side.name,
                    self.last_words(side)
                );
                format!("{:?}: {}", status.code(), status.message())
            }
        };
        text.replace(path_text(&side.folder), "<folder>").replace(&side.cgroup, "<cgroup>")
    }

    fn last_words(&self, side: &Side) -> String {
        match side.name {
            "corten" => self.host.daemon_log_tail(),
            _ => {
                let log = self.containerd.log();
                log.find("panic: ").map_or_else(String::new, |at| log[at..].to_owned())
            }
        }
    }

    /// Notes what differs.
    pub(crate) fn compare(&mut self, what: &str, answers: &[String]) {
        assert!(self.asked.insert(what.to_owned()), "{what:?} is asked once");
        if answers[0] != answers[1] {
            let told = answers.iter().zip(&self.sides);
            let told: Vec<String> = told.map(|(answer, side)| format!("  {}: {answer}", side.name)).collect();
            self.differences.insert(what.to_owned(), told.join("\n"));
        }
    }

    /// Waits until both tell what happens: a subscription has no answer of its own.
    async fn until_heard(&self, has_begun: &[watch::Receiver<bool>]) {
        let begin = Instant::now();
        while !has_begun.iter().all(|begun| *begun.borrow()) {
            assert!(begin.elapsed() < PATIENCE, "events are told");
            for side in &self.sides {
                tell(side, FIRST).await.expect("it is said");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends both; what differed without being listed, and what is listed and did not differ.
    pub(crate) fn end(mut self, runtime: &tokio::runtime::Runtime) -> Vec<String> {
        let events = runtime.block_on(async {
            let mut all = Vec::new();
            for (side, heard) in self.sides.iter().zip(&mut self.heard) {
                tell(side, LAST).await.expect("it is said");
                let heard = tokio::time::timeout(PATIENCE, heard).await.expect("everything is heard");
                let mut heard = heard.expect("the listener ends well");
                let is_deletion = |event: &String| event.contains("/tasks/delete");
                // containerd's shim may end before it has told of its task's deletion.
                assert!(side.name != "corten" || heard.iter().any(is_deletion), "a deletion is told");
                heard.retain(|event| !is_deletion(event));
                all.push(heard.join("\n    "));
            }
            all
        });
        self.compare("the events", &events);
        let listed = listed();
        let mut wrong = Vec::new();
        for (what, told) in &self.differences {
            if !listed.contains(what) {
                wrong.push(format!("{what}\n{told}"));
            }
        }
        for what in listed.iter().filter(|what| !self.differences.contains_key(*what)) {
            wrong.push(format!("{what}: docs/compat.md says that it differs, and it does not"));
        }
        wrong
    }
}

async fn connect(endpoint: &Endpoint) -> Channel {
    let begin = Instant::now();
    loop {
        if let Ok(channel) = endpoint.connect().await {
            return channel;
        }
        assert!(begin.elapsed() < PATIENCE, "a daemon answers at {endpoint:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn tell(side: &Side, topic: &str) -> Result<(), tonic::Status> {
    let mut headers = Headers::default();
    headers.0.push(("containerd-namespace", "conversation".into()));
    let service = InterceptedService::new(side.channel.clone(), headers);
    let event = prost_types::Any { type_url: "conversation.Word".into(), value: Vec::new() };
    EventsClient::new(service).publish(PublishRequest { topic: topic.into(), event: Some(event) }).await?;
    Ok(())
}

/// What a side tells until the last word.
async fn listen(side: Side, begun: watch::Sender<bool>) -> Vec<String> {
    let mut client = EventsClient::new(side.channel.clone());
    let mut events =
        client.subscribe(SubscribeRequest::default()).await.expect("a subscription").into_inner();
    let mut heard = Vec::new();
    while let Some(event) = events.message().await.expect("events come") {
        match event.topic.as_str() {
            LAST => break,
            FIRST => drop(begun.send(true)),
            topic => {
                let kind = event.event.map(|event| event.type_url).unwrap_or_default();
                heard.push(format!("{} {topic} {kind}", event.namespace));
            }
        }
    }
    heard
}

/// The lines of an answer without their order, which maps do not have, and without times and numbers of processes.
fn lines(text: &str) -> String {
    let plain = |line: &str| {
        let line = line.trim().trim_end_matches(',');
        match line.split_once(": ") {
            Some((key @ ("seconds" | "nanos" | "pid"), number)) if number != "0" => format!("{key}: <n>"),
            _ => line.to_owned(),
        }
    };
    // What is not over has an end in the year 1 there, and none here.
    let text = text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let text = text.replace("Some(\nTimestamp {\nseconds: -62135596800,\nnanos: 0,\n},\n),", "None,");
    let mut lines: Vec<String> = text.lines().map(plain).filter(|line| line.len() > 1).collect();
    lines.sort();
    lines.join(" | ")
}

/// What may differ.
fn listed() -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compat.md");
    let text = std::fs::read_to_string(page).expect("the page is there");
    let (_, section) = text.split_once(HEADING).expect("the page has the section");
    let lines = section.lines().skip(1).take_while(|line| !line.starts_with("## "));
    lines.filter_map(|line| Some(line.strip_prefix("* `")?.split_once('`')?.0.to_owned())).collect()
}

/// An answer, or that there is none.
pub(crate) async fn in_time<T>(
    call: impl Future<Output = Result<T, tonic::Status>>,
) -> Result<T, tonic::Status> {
    let nothing = |_| Err(tonic::Status::deadline_exceeded("there is no answer"));
    tokio::time::timeout(PATIENCE / 6, call).await.unwrap_or_else(nothing)
}

/// Asks both the same.
macro_rules! say {
    ($talk:expr, $what:expr, $client:ident, $method:ident, $request:expr) => {{
        let mut answers = Vec::new();
        for side in $talk.sides() {
            let mut client = $client::new($talk.service(&side));
            let answer = $crate::conversation::talk::in_time(client.$method($request)).await;
            answers.push($talk.plain(&side, answer.map(tonic::Response::into_inner)));
        }
        $talk.compare($what, &answers);
    }};
}

/// Asks both what is answered in many messages.
macro_rules! hear {
    ($talk:expr, $what:expr, $client:ident, $method:ident, $request:expr) => {{
        let mut answers = Vec::new();
        for side in $talk.sides() {
            let mut client = $client::new($talk.service(&side));
            let answer = async {
                let mut stream = client.$method($request).await?.into_inner();
                let mut all = Vec::new();
                while let Some(message) = stream.message().await? {
                    all.push(message);
                }
                // containerd's writer says its last word twice.
                all.dedup();
                Ok(all)
            };
            let answer = answer.await;
            answers.push($talk.plain(&side, answer));
        }
        $talk.compare($what, &answers);
    }};
}

/// Asks Corten alone what ends containerd or its shim (those of 2.1 dereference what is not there): it is an invalid argument.
macro_rules! survive {
    ($talk:expr, $client:ident, $method:ident, $request:expr) => {{
        let [_, corten] = $talk.sides();
        let refused =
            $client::new($talk.service(&corten)).$method($request).await.expect_err("nothing is no request");
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused:?}");
    }};
}

pub(crate) use {hear, say, survive};

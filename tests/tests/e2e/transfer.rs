//! Images that containerd's clients have the daemon move: between registries, archives and the store.

use std::fs;

use api::any;
use api::types::Platform;
use api::types::transfer::{
    AuthRequest, AuthResponse, AuthType, Data, ImageExportStream, ImageImportStream, ImageReference,
    ImageStore, OciRegistry, Progress, RegistryResolver, UnpackConfiguration, WindowUpdate,
};
use futures_util::stream;
use grpc::images::ListImagesRequest;
use grpc::images::images_client::ImagesClient;
use grpc::streaming::StreamInit;
use grpc::streaming::streaming_client::StreamingClient;
use grpc::transfer::transfer_client::TransferClient;
use grpc::transfer::{TransferOptions, TransferRequest};
use prost_types::Any;
use tests::host::{Host, enter_own_network, fixture, path_text};
use tests::registry::{LOGIN, Registry};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

/// A client in a namespace.
struct Client {
    runtime: Runtime,
    channel: Channel,
    namespace: &'static str,
}

/// A stream, from the client's side.
struct Opened {
    outgoing: mpsc::Sender<Any>,
    incoming: Streaming<Any>,
}

impl Client {
    fn of(host: &Host, namespace: &'static str) -> Client {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let address = format!("unix:{}", host.state().join("corten.sock").display());
        let endpoint = Endpoint::from_shared(address).expect("an address");
        let channel = runtime.block_on(endpoint.connect()).expect("the door is open");
        Client { runtime, channel, namespace }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("containerd-namespace", self.namespace.parse().expect("ASCII"));
        request
    }

    async fn open(&self, id: &str) -> Result<Opened, Status> {
        let (outgoing, messages) = mpsc::channel::<Any>(4);
        outgoing.send(any::pack(&StreamInit { id: id.to_owned() })).await.expect("it is open");
        let messages = stream::unfold(messages, |mut messages| async {
            messages.recv().await.map(|message| (message, messages))
        });
        let mut client = StreamingClient::new(self.channel.clone());
        let mut incoming = client.stream(self.request(messages)).await?.into_inner();
        let first = incoming.message().await?.expect("an answer");
        assert_eq!(first.type_url, "google.protobuf.Empty");
        Ok(Opened { outgoing, incoming })
    }

    /// A transfer, and what the client was told of it.
    async fn transfer(&self, source: Any, destination: Any) -> (Vec<String>, Result<(), Status>) {
        let mut progress = self.open("progress").await.expect("a stream");
        let request = TransferRequest {
            source: Some(source),
            destination: Some(destination),
            options: Some(TransferOptions { progress_stream: "progress".into() }),
        };
        let mut client = TransferClient::new(self.channel.clone());
        let told = async {
            let mut told = Vec::new();
            while let Ok(Some(message)) = progress.incoming.message().await {
                told.push(any::unpack::<Progress>(&message).expect("progress").expect("it is whole").event);
            }
            told
        };
        let (told, done) = tokio::join!(told, client.transfer(self.request(request)));
        (told, done.map(drop))
    }

    async fn names(&self) -> Vec<String> {
        let mut client = ImagesClient::new(self.channel.clone());
        let list = client.list(self.request(ListImagesRequest::default())).await.expect("a list");
        list.into_inner().images.into_iter().map(|image| image.name).collect()
    }
}

impl Opened {
    /// Sends bytes as far as the other end allows.
    async fn send(mut self, bytes: &[u8]) {
        let mut window = 0;
        for piece in bytes.chunks(32 << 10) {
            while window < piece.len() {
                let update = self.incoming.message().await.expect("a message").expect("an update");
                let update = any::unpack::<WindowUpdate>(&update).expect("an update").expect("it is whole");
                window += usize::try_from(update.update).expect("it opens");
            }
            window -= piece.len();
            let data = any::pack(&Data { data: piece.to_vec().into() });
            self.outgoing.send(data).await.expect("it is open");
        }
        // Whoever hangs up now takes back what is still on its way.
        drop(self.outgoing);
        while self.incoming.message().await.is_ok_and(|message| message.is_some()) {}
    }

    /// All bytes to the end; never more than was allowed.
    async fn receive(mut self) -> Vec<u8> {
        const WINDOW: usize = 64 << 10;
        let mut bytes = Vec::new();
        let mut window = 0;
        loop {
            if window == 0 {
                window = WINDOW;
                let update = WindowUpdate { update: i32::try_from(WINDOW).expect("it is small") };
                // At the end nobody takes it.
                drop(self.outgoing.send(any::pack(&update)).await);
            }
            let Some(message) = self.incoming.message().await.expect("a message") else { return bytes };
            let data = any::unpack::<Data>(&message).expect("data").expect("it is whole").data;
            assert!(data.len() <= 32 << 10, "{} bytes in one piece", data.len());
            window = window.checked_sub(data.len()).expect("no more than was allowed");
            bytes.extend_from_slice(&data);
        }
    }
}

fn here() -> Platform {
    let platform = oci::platform::Platform::host();
    Platform { os: platform.os, architecture: platform.architecture, ..Platform::default() }
}

/// The store's end: a name, unpacked for this machine.
fn named(name: &str) -> ImageStore {
    let unpack = UnpackConfiguration { platform: Some(here()), snapshotter: "overlayfs".into() };
    ImageStore { name: name.into(), platforms: vec![here()], unpacks: vec![unpack], ..ImageStore::default() }
}

fn at(reference: &str, resolver: RegistryResolver) -> Any {
    any::pack(&OciRegistry { reference: reference.into(), resolver: Some(resolver) })
}

#[test]
fn an_image_is_pulled_under_its_own_name_and_goes_back_with_its_digest() {
    let host = Host::empty();
    let registry = Registry::plain(5000);
    registry.fill(&fixture("busybox.tar"), "busybox:1");
    let client = Client::of(&host, "default");
    let theirs = format!("{}/busybox:1", registry.host());
    let (ours, back) = ("example.test/verbatim:v1", format!("{}/back:1", registry.host()));
    let plain = || RegistryResolver { default_scheme: "http".into(), ..RegistryResolver::default() };
    client.runtime.block_on(async {
        let (told, done) = client.transfer(at(&theirs, plain()), any::pack(&named(ours))).await;
        done.expect("it is pulled");
        let first = [
            format!("Resolving from OCI Registry ({theirs})"),
            format!("Pulling from OCI Registry ({theirs})"),
        ];
        assert_eq!(told[..2], first, "{told:?}");
        for event in ["fetching image content", "waiting", "complete", "extracted", "saved"] {
            assert!(told.iter().any(|told| told == event), "{event}: {told:?}");
        }
        assert_eq!(told.last(), Some(&format!("Completed pull from OCI Registry ({theirs})")));
        assert_eq!(client.names().await, [ours]);
        let (_, done) = client.transfer(any::pack(&named(ours)), any::pack(&named(&back))).await;
        done.expect("it is tagged");
        let (told, done) = client.transfer(any::pack(&named(&back)), at(&back, plain())).await;
        done.expect("it is pushed");
        assert_eq!(told.last(), Some(&format!("Completed push to OCI Registry ({back})")));
        let (_, gone) = client.transfer(any::pack(&named("no/such:1")), any::pack(&named("a:1"))).await;
        let gone = gone.expect_err("it is not there");
        assert_eq!((gone.code(), gone.message()), (Code::NotFound, "image \"no/such:1\": not found"));
    });
    assert_eq!(registry.digest("back:1"), registry.digest("busybox:1"));
    assert_eq!(host.ok(&["run", "--rm", ours, "echo", "ran"]), "ran");
}

#[test]
fn a_client_is_asked_for_the_password_of_a_registry() {
    enter_own_network();
    let hosts = tempfile::Builder::new().prefix("corten-certs-").tempdir().expect("a folder");
    let registry = Registry::secured(5443);
    let image = format!("{}/private/busybox:1", registry.host());
    let host = Host::empty();
    host.ok(&["import", path_text(&fixture("busybox.tar")), &image]);
    let trusted = hosts.path().join(registry.host());
    fs::create_dir_all(&trusted).expect("a folder");
    fs::copy(registry.certificate(), trusted.join("ca.crt")).expect("a copy");
    let client = Client::of(&host, "default");
    let resolver = |auth_stream: &str| RegistryResolver {
        auth_stream: auth_stream.into(),
        host_dir: path_text(hosts.path()).into(),
        ..RegistryResolver::default()
    };
    client.runtime.block_on(async {
        let (_, refused) = client.transfer(any::pack(&named(&image)), at(&image, resolver(""))).await;
        assert_eq!(refused.expect_err("nobody asks").code(), Code::Unauthenticated);
        let mut opened = client.open("auth").await.expect("a stream");
        let answering = async {
            let mut asked = Vec::new();
            while let Ok(Some(message)) = opened.incoming.message().await {
                let request = any::unpack::<AuthRequest>(&message).expect("a request").expect("it is whole");
                asked.push((request.host, request.reference));
                let answer = AuthResponse {
                    auth_type: AuthType::Credentials.into(),
                    username: LOGIN.0.into(),
                    secret: LOGIN.1.into(),
                    ..AuthResponse::default()
                };
                opened.outgoing.send(any::pack(&answer)).await.expect("it is open");
            }
            asked
        };
        let push = client.transfer(any::pack(&named(&image)), at(&image, resolver("auth")));
        let (asked, (_, pushed)) = tokio::join!(answering, push);
        pushed.expect("it is pushed");
        assert_eq!(asked, [(registry.host().to_owned(), image.clone())]);
    });
}

#[test]
fn an_archive_that_is_exported_is_imported_under_the_names_that_are_asked_for() {
    let host = Host::empty();
    host.ok(&["import", path_text(&fixture("busybox.tar")), "example.test/box:v1"]);
    let (client, other) = (Client::of(&host, "default"), Client::of(&host, "other"));
    let archive = client.runtime.block_on(async {
        let stream = client.open("export").await.expect("a stream");
        let export = ImageExportStream { stream: "export".into(), ..ImageExportStream::default() };
        let export = client.transfer(any::pack(&named("example.test/box:v1")), any::pack(&export));
        let (archive, (told, done)) = tokio::join!(stream.receive(), export);
        done.expect("it is exported");
        assert_eq!(told, ["Exporting", "Completed export"]);
        archive
    });
    other.runtime.block_on(async {
        let import = || any::pack(&ImageImportStream { stream: "import".into(), ..Default::default() });
        let prefix = |name: &str| ImageReference { name: name.into(), is_prefix: true, ..Default::default() };
        let stream = other.open("import").await.expect("a stream");
        let twice = other.open("import").await.map(drop).expect_err("the id is taken");
        assert_eq!(twice.code(), Code::AlreadyExists);
        let names = vec![prefix("example.test/box"), prefix("example.test/bo")];
        let store = ImageStore { extra_references: names, ..named("") };
        let ((), (told, done)) =
            tokio::join!(stream.send(&archive), other.transfer(import(), any::pack(&store)));
        done.expect("it is imported");
        assert_eq!(told, ["Importing", "saved", "Completed import"]);
        assert_eq!(other.names().await, ["example.test/box:v1"]);
        let stream = other.open("import").await.expect("the id is free again");
        let back = other.open("back").await.expect("a stream");
        let export = any::pack(&ImageExportStream { stream: "back".into(), ..Default::default() });
        let ((), echoed, (_, done)) =
            tokio::join!(stream.send(&archive), back.receive(), other.transfer(import(), export));
        done.expect("it comes back");
        assert!(echoed == archive, "{} bytes became {}", archive.len(), echoed.len());
        let (_, refused) = other.transfer(at("a/b:1", RegistryResolver::default()), import()).await;
        let refused = refused.expect_err("there is no such transfer");
        assert_eq!(refused.code(), Code::Unimplemented);
        assert!(
            refused.message().starts_with("method Transfer not implemented for containerd.types.transfer.")
        );
    });
    assert_eq!(host.ok(&["-n", "other", "run", "--rm", "example.test/box:v1", "echo", "ran"]), "ran");
}

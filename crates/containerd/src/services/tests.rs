//! Services before a real engine, called without a socket in between.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use api::code::Code;
use engine::containers::ListFilter;
use engine::containers::spec::{ContainerSpec, LogSpec};
use engine::exchange::Subscription;
use engine::images::ImportOptions;
use engine::{Config, Engine, FabricConfig, Namespace};
use grpc::containers::containers_client::ContainersClient;
use grpc::containers::containers_server::ContainersServer;
use grpc::containers::{
    Container, CreateContainerRequest, DeleteContainerRequest, GetContainerRequest, ListContainersRequest,
    UpdateContainerRequest, container,
};
use grpc::images::images_client::ImagesClient;
use grpc::images::images_server::ImagesServer;
use grpc::images::{
    CreateImageRequest, DeleteImageRequest, GetImageRequest, Image, ListImagesRequest, UpdateImageRequest,
};
use grpc::leases::leases_client::LeasesClient;
use grpc::leases::leases_server::LeasesServer;
use grpc::leases::{
    AddResourceRequest, CreateRequest, DeleteRequest, ListRequest, ListResourcesRequest, Resource,
};
use grpc::namespaces::namespaces_client::NamespacesClient;
use grpc::namespaces::namespaces_server::NamespacesServer;
use grpc::namespaces::{
    CreateNamespaceRequest, DeleteNamespaceRequest, GetNamespaceRequest, ListNamespacesRequest,
    Namespace as Named, UpdateNamespaceRequest,
};
use prost_types::{Any, FieldMask};
use tonic::{Request, Response, Status};

use super::containers::Containers;
use super::images::Images;
use super::leases::Leases;
use super::namespaces::Namespaces;
use crate::Door;

/// How long what must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test with a door that has nothing behind it.
fn with_door<F: Future<Output = ()>>(test: impl FnOnce(Door) -> F) {
    let directory = tempfile::Builder::new().prefix("corten-test-").tempdir().unwrap();
    let (root, state) = (directory.path().join("root"), directory.path().join("state"));
    let program = PathBuf::from("/proc/self/exe");
    // What the engine makes of networks is in a machine of the test's own.
    linux::unshare::network().unwrap();
    let config = Config {
        network: FabricConfig::below(&root, &state, "corten-test", program.clone()),
        containerd_address: state.join("corten.sock"),
        root,
        state,
        cgroup_parent: format!("/corten-test-{}", std::process::id()),
        shim: program.clone(),
        spare_shims: 0,
        log: LogSpec { driver: "json-file".into(), ..LogSpec::default() },
        stop_timeout_s: 10,
        worker: image::WorkerCommand { program: corten(), arguments: vec!["worker".into()] },
        registries: Default::default(),
        cdi_directories: Vec::new(),
        restart_interval: engine::RESTART_INTERVAL,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = Engine::open(config).await.unwrap();
        test(Door::new(engine.clone())).await;
        engine.close().await.unwrap();
    });
}

/// The executable that unpacks images.
fn corten() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().parent().unwrap().join("corten")
}

/// A request in the namespace `n`.
fn asked<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("containerd-namespace", "n".parse().unwrap());
    request
}

/// The same with a lease.
fn leased<T>(message: T, lease: &str) -> Request<T> {
    let mut request = asked(message);
    request.metadata_mut().insert("containerd-lease", lease.parse().unwrap());
    request
}

fn refused<T: std::fmt::Debug>(result: Result<Response<T>, Status>) -> (Code, String) {
    let status = result.unwrap_err();
    (grpc::status::code(&status), status.message().to_owned())
}

fn told(code: Code, words: &str) -> (Code, String) {
    (code, words.to_owned())
}

fn named(name: &str) -> Image {
    let digest = format!("sha256:{}", "a".repeat(64));
    let target = api::types::Descriptor {
        media_type: "m".into(),
        digest,
        size: 3,
        ..api::types::Descriptor::default()
    };
    Image { name: name.into(), target: Some(target), ..Image::default() }
}

fn in_seconds(seconds: u64) -> String {
    let time = SystemTime::now() + Duration::from_secs(seconds);
    jiff::Timestamp::try_from(time).unwrap().to_string()
}

async fn next(events: &mut Subscription) -> String {
    let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap();
    format!("{} {} {}", event.namespace, event.topic, event.event.type_url)
}

#[test]
fn what_a_lease_holds_goes_with_it_and_it_ends_by_itself() {
    with_door(|door| async move {
        let mut leases = LeasesClient::new(LeasesServer::new(Leases(door.clone())));
        let mut images = ImagesClient::new(ImagesServer::new(Images(door.clone())));
        let mut events = door.exchange().subscribe();
        let expire = "containerd.io/gc.expire".to_owned();
        let create = CreateRequest { id: "ends".into(), labels: [(expire.clone(), in_seconds(3))].into() };
        leases.create(asked(create)).await.unwrap();
        let past = [(expire, "2001-01-01T00:00:00Z".to_owned())].into();
        let image = Some(Image { labels: past, ..named("held") });
        images
            .create(leased(CreateImageRequest { image, ..CreateImageRequest::default() }, "ends"))
            .await
            .unwrap();
        let random =
            leases.create(asked(CreateRequest::default())).await.unwrap().into_inner().lease.unwrap();
        // A collection that somebody waits for: it also looks what ends next.
        leases.delete(asked(DeleteRequest { id: random.id, sync: true })).await.unwrap();
        let list = images.list(asked(ListImagesRequest::default())).await.unwrap().into_inner();
        assert_eq!(list.images.len(), 1, "the lease holds it");
        let held = leases.list_resources(asked(ListResourcesRequest { id: "ends".into() })).await.unwrap();
        assert_eq!(held.into_inner().resources, [Resource { id: "held".into(), r#type: "images".into() }]);
        assert_eq!(next(&mut events).await, "n /images/create containerd.services.images.v1.ImageCreate");
        assert_eq!(next(&mut events).await, "n /images/delete containerd.services.images.v1.ImageDelete");
        assert!(leases.list(asked(ListRequest::default())).await.unwrap().into_inner().leases.is_empty());
        assert!(
            images.list(asked(ListImagesRequest::default())).await.unwrap().into_inner().images.is_empty()
        );
    });
}

#[test]
fn leases_are_refused_in_containerds_words() {
    with_door(|door| async move {
        let mut leases = LeasesClient::new(LeasesServer::new(Leases(door)));
        let create = |id: &str| asked(CreateRequest { id: id.into(), ..CreateRequest::default() });
        leases.create(create("l")).await.unwrap();
        let wrong = refused(leases.create(create("l")).await);
        assert_eq!(wrong, told(Code::AlreadyExists, "lease \"l\": already exists"));
        let wrong = refused(leases.delete(asked(DeleteRequest { id: "x".into(), sync: true })).await);
        assert_eq!(wrong, told(Code::NotFound, "lease \"x\": not found"));
        let wrong = refused(leases.create(Request::new(CreateRequest::default())).await);
        assert_eq!(wrong, told(Code::FailedPrecondition, "namespace is required: failed precondition"));
        for (kind, id, code, words) in [
            ("foo", "x", Code::Unimplemented, "resource type foo not supported yet: not implemented"),
            (
                "snapshots",
                "x",
                Code::InvalidArgument,
                "invalid snapshot resource type snapshots: invalid argument",
            ),
            (
                "content",
                "x",
                Code::InvalidArgument,
                "invalid content resource id x: invalid checksum digest format: invalid argument",
            ),
        ] {
            let resource = Some(Resource { id: id.into(), r#type: kind.into() });
            let added = leases.add_resource(asked(AddResourceRequest { id: "l".into(), resource })).await;
            assert_eq!(refused(added), told(code, words), "{kind}");
        }
        let filter = |text: &str| asked(ListRequest { filters: vec![text.into()] });
        assert_eq!(leases.list(filter("id==l")).await.unwrap().into_inner().leases.len(), 1);
        assert!(leases.list(filter("id==m")).await.unwrap().into_inner().leases.is_empty());
        assert_eq!(refused(leases.list(filter("id=")).await).0, Code::InvalidArgument);
    });
}

#[test]
fn namespaces_are_made_by_name_or_by_what_is_written() {
    with_door(|door| async move {
        let mut namespaces = NamespacesClient::new(NamespacesServer::new(Namespaces(door.clone())));
        let mut images = ImagesClient::new(ImagesServer::new(Images(door.clone())));
        let mut events = door.exchange().subscribe();
        let get = |name: &str| Request::new(GetNamespaceRequest { name: name.into() });
        let unknown = namespaces.get(get("n")).await.unwrap().into_inner().namespace.unwrap();
        assert!(unknown.labels.is_empty(), "one that is not there has no labels");
        images
            .create(asked(CreateImageRequest { image: Some(named("i")), ..CreateImageRequest::default() }))
            .await
            .unwrap();
        let namespace = |labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            Some(Named { name: "n".into(), labels })
        };
        let again =
            namespaces.create(Request::new(CreateNamespaceRequest { namespace: namespace(&[]) })).await;
        assert_eq!(refused(again), told(Code::AlreadyExists, "namespace \"n\": already exists"));
        let update = |labels: &[(&str, &str)], paths: &[&str]| {
            let paths = paths.iter().map(|path| (*path).to_owned()).collect();
            let update_mask = Some(FieldMask { paths });
            Request::new(UpdateNamespaceRequest { namespace: namespace(labels), update_mask })
        };
        namespaces.update(update(&[("a", "1"), ("b", "2"), ("c", "4")], &[])).await.unwrap();
        namespaces.update(update(&[("b", "3")], &["labels.a", "labels.b"])).await.unwrap();
        let labels = namespaces.get(get("n")).await.unwrap().into_inner().namespace.unwrap().labels;
        assert_eq!(labels, [("b".to_owned(), "3".to_owned()), ("c".to_owned(), "4".to_owned())].into());
        let wrong = refused(namespaces.update(update(&[], &["name"])).await);
        assert_eq!(wrong, told(Code::InvalidArgument, "cannot update \"name\" field"));
        let delete = |name: &str| Request::new(DeleteNamespaceRequest { name: name.into() });
        let words = "namespace \"n\" must be empty, but it still has images: failed precondition";
        assert_eq!(refused(namespaces.delete(delete("n")).await), told(Code::FailedPrecondition, words));
        let gone = DeleteImageRequest { name: "i".into(), sync: true, target: None };
        images.delete(asked(gone)).await.unwrap();
        namespaces.delete(delete("n")).await.unwrap();
        let wrong = refused(namespaces.delete(delete("n")).await);
        assert_eq!(wrong, told(Code::NotFound, "namespace \"n\": not found"));
        let list =
            namespaces.list(Request::new(ListNamespacesRequest::default())).await.unwrap().into_inner();
        assert!(list.namespaces.is_empty());
        let mut topics = Vec::new();
        for _ in 0..5 {
            topics.push(next(&mut events).await);
        }
        assert_eq!(
            topics,
            [
                "n /images/create containerd.services.images.v1.ImageCreate",
                "n /namespaces/update containerd.events.NamespaceUpdate",
                "n /namespaces/update containerd.events.NamespaceUpdate",
                "n /images/delete containerd.services.images.v1.ImageDelete",
                "n /namespaces/delete containerd.events.NamespaceDelete",
            ]
        );
    });
}

#[test]
fn images_are_refused_in_containerds_words() {
    with_door(|door| async move {
        let mut images = ImagesClient::new(ImagesServer::new(Images(door)));
        let create =
            |image: Image| asked(CreateImageRequest { image: Some(image), ..CreateImageRequest::default() });
        let with_digest = |digest: &str| {
            let target =
                named("i").target.map(|target| api::types::Descriptor { digest: digest.into(), ..target });
            Image { target, ..named("i") }
        };
        for (image, words) in [
            (named(""), "Image.Name required"),
            (with_digest(""), "Target.Digest \"\" invalid: invalid checksum digest format: invalid argument"),
            (
                with_digest("sha256:aa"),
                "Target.Digest \"sha256:aa\" invalid: invalid checksum digest length: invalid argument",
            ),
            (
                with_digest("md5:aa"),
                "Target.Digest \"md5:aa\" invalid: unsupported digest algorithm: invalid argument",
            ),
        ] {
            assert_eq!(refused(images.create(create(image)).await), told(Code::InvalidArgument, words));
        }
        images.create(create(named("i"))).await.unwrap();
        let wrong = refused(images.create(create(named("i"))).await);
        assert_eq!(wrong, told(Code::AlreadyExists, "image \"i\": already exists"));
        // An update of labels need not say the target.
        let label = Image { target: None, labels: [("a".to_owned(), "b".to_owned())].into(), ..named("i") };
        let update_mask = Some(FieldMask { paths: vec!["labels.a".into()] });
        let update = UpdateImageRequest { image: Some(label), update_mask, ..UpdateImageRequest::default() };
        let updated = images.update(asked(update)).await.unwrap().into_inner().image.unwrap();
        assert_eq!((updated.target, updated.labels.len()), (named("i").target, 1));
        let get = images.get(asked(GetImageRequest { name: "x".into() })).await;
        assert_eq!(refused(get), told(Code::NotFound, "image \"x\": not found"));
        let other = api::types::Descriptor { digest: "x".into(), ..api::types::Descriptor::default() };
        let delete = DeleteImageRequest { name: "i".into(), sync: false, target: Some(other) };
        let words = format!("image \"i\" has target sha256:{}, not x: not found", "a".repeat(64));
        assert_eq!(refused(images.delete(asked(delete)).await), told(Code::NotFound, &words));
    });
}

/// An archive of an empty directory: all that an image needs.
fn empty_root() -> std::fs::File {
    let directory = tempfile::tempdir().unwrap();
    let tar = directory.path().join("root.tar");
    std::fs::create_dir(directory.path().join("root")).unwrap();
    let mut command = std::process::Command::new("tar");
    let status = command.arg("-C").arg(directory.path().join("root")).arg("-cf").arg(&tar).arg(".").status();
    assert!(status.unwrap().success());
    std::fs::File::open(tar).unwrap()
}

#[test]
fn containers_of_other_doors_are_seen_and_removed() {
    assert!(corten().exists(), "{} is missing: cargo build -p corten", corten().display());
    with_door(|door| async move {
        let scope = door.engine().within(Namespace::parse("n").unwrap());
        let import = ImportOptions { reference: Some("empty:1".into()), ..ImportOptions::default() };
        scope.images().import(empty_root().into(), import).await.unwrap();
        let spec = ContainerSpec {
            image: "empty:1".into(),
            command: Some(vec!["/x".into()]),
            hostname: "host".into(),
            labels: [("tier".to_owned(), "web".to_owned())].into(),
            ..ContainerSpec::default()
        };
        let id = scope.containers().create(Some("web"), spec).await.unwrap().id;
        let mut containers = ContainersClient::new(ContainersServer::new(Containers(door.clone())));
        let filters = vec!["labels.\"nerdctl/name\"==web,runtime.name==io.containerd.runc.v2".into()];
        let list = containers.list(asked(ListContainersRequest { filters })).await.unwrap().into_inner();
        let [seen] = list.containers.as_slice() else { panic!("{list:?}") };
        assert_eq!((&seen.id, seen.image.as_str(), &seen.snapshot_key), (&id, "empty:1", &id));
        for (key, value) in [("tier", "web"), ("nerdctl/hostname", "host"), ("nerdctl/namespace", "n")] {
            assert_eq!(seen.labels.get(key).map(String::as_str), Some(value), "{key}");
        }
        assert_eq!(seen.labels["nerdctl/networks"], "[\"none\"]");
        let get = |id: &str| asked(GetContainerRequest { id: id.into() });
        let found = containers.get(get(&id)).await.unwrap().into_inner().container.unwrap();
        assert_eq!(found.id, id);
        assert_eq!(
            refused(containers.get(get(&id[..12])).await).0,
            Code::NotFound,
            "a part of an id is none"
        );
        let update = UpdateContainerRequest { container: Some(found), update_mask: None };
        assert_eq!(refused(containers.update(asked(update)).await).0, Code::FailedPrecondition);
        let same = Container { id: id.clone(), spec: Some(Any::default()), ..Container::default() };
        let runtime = Some(container::Runtime { name: "r".into(), options: None });
        let create = CreateContainerRequest { container: Some(Container { runtime, ..same }) };
        assert_eq!(refused(containers.create(asked(create)).await).0, Code::AlreadyExists);
        let mut events = door.exchange().subscribe();
        let bridge = tokio::spawn(crate::bridge::run(door.clone()));
        containers.delete(asked(DeleteContainerRequest { id: id.clone() })).await.unwrap();
        let all = ListFilter { all: true, ..ListFilter::default() };
        assert!(scope.containers().list(&all).await.unwrap().is_empty(), "its owner has removed it");
        assert_eq!(next(&mut events).await, "n /containers/delete containerd.events.ContainerDelete");
        assert_eq!(refused(containers.delete(asked(DeleteContainerRequest { id })).await).0, Code::NotFound);
        bridge.abort();
        assert!(bridge.await.is_err(), "it would never end");
    });
}

#[test]
fn containers_are_kept_to_the_byte_and_refused_in_containerds_words() {
    with_door(|door| async move {
        let mut containers = ContainersClient::new(ContainersServer::new(Containers(door.clone())));
        let mut events = door.exchange().subscribe();
        let spec = Some(Any { type_url: "t".into(), value: (0..=255).collect() });
        let runtime = Some(container::Runtime { name: "r".into(), options: spec.clone() });
        let given = Container { id: "c".into(), spec, runtime, ..Container::default() };
        let create = |container: Container| asked(CreateContainerRequest { container: Some(container) });
        let made = containers.create(create(given.clone())).await.unwrap().into_inner().container.unwrap();
        assert_eq!((&made.spec, &made.runtime), (&given.spec, &given.runtime));
        let found = containers.get(asked(GetContainerRequest { id: "c".into() })).await.unwrap().into_inner();
        assert_eq!(found.container.as_ref(), Some(&made));
        let wrong = refused(containers.create(create(given.clone())).await);
        assert_eq!(wrong, told(Code::AlreadyExists, "container \"c\": already exists"));
        let get = containers.get(asked(GetContainerRequest { id: "x".into() })).await;
        assert_eq!(refused(get), told(Code::NotFound, "container \"x\" in namespace \"n\": not found"));
        let update = |container: Container, path: &str| {
            let update_mask = Some(FieldMask { paths: vec![path.into()] });
            asked(UpdateContainerRequest { container: Some(container), update_mask })
        };
        let image = Container { image: "i".into(), ..given.clone() };
        containers.update(update(image.clone(), "image")).await.unwrap();
        let wrong = refused(containers.update(update(image.clone(), "runtime")).await);
        assert_eq!(
            wrong,
            told(Code::InvalidArgument, "cannot update \"runtime\" field on \"c\": invalid argument")
        );
        let wrong = refused(containers.update(update(Container { id: "x".into(), ..image }, "image")).await);
        assert_eq!(wrong, told(Code::NotFound, "container \"x\": not found"));
        let list = |filter: &str| asked(ListContainersRequest { filters: vec![filter.into()] });
        assert_eq!(
            containers.list(list("image==i,runtime.name==r")).await.unwrap().into_inner().containers.len(),
            1
        );
        assert!(containers.list(list("image==j")).await.unwrap().into_inner().containers.is_empty());
        let delete = || asked(DeleteContainerRequest { id: "c".into() });
        containers.delete(delete()).await.unwrap();
        assert_eq!(
            refused(containers.delete(delete()).await),
            told(Code::NotFound, "container c: not found")
        );
        for topic in ["create", "update", "delete"] {
            let kind = format!("Container{}{}", topic[..1].to_uppercase(), &topic[1..]);
            assert_eq!(next(&mut events).await, format!("n /containers/{topic} containerd.events.{kind}"));
        }
    });
}

//! Namespaces, leases, containers, images, sandboxes: what is only kept.

use std::collections::HashMap;

use api::types::{Descriptor, Sandbox};
use grpc::containers::container::Runtime;
use grpc::containers::containers_client::ContainersClient;
use grpc::containers::{
    Container, CreateContainerRequest, DeleteContainerRequest, GetContainerRequest, ListContainersRequest,
    UpdateContainerRequest,
};
use grpc::images::images_client::ImagesClient;
use grpc::images::{
    CreateImageRequest, DeleteImageRequest, GetImageRequest, Image, ListImagesRequest, UpdateImageRequest,
};
use grpc::leases::leases_client::LeasesClient;
use grpc::leases::{
    AddResourceRequest, CreateRequest, DeleteRequest, DeleteResourceRequest, ListRequest,
    ListResourcesRequest, Resource,
};
use grpc::namespaces::namespaces_client::NamespacesClient;
use grpc::namespaces::{
    CreateNamespaceRequest, DeleteNamespaceRequest, GetNamespaceRequest, ListNamespacesRequest, Namespace,
    UpdateNamespaceRequest,
};
use grpc::sandbox::store_client::StoreClient;
use grpc::sandbox::{
    StoreCreateRequest, StoreDeleteRequest, StoreGetRequest, StoreListRequest, StoreUpdateRequest,
};
use prost_types::{Any, FieldMask};

use super::talk::{Talk, hear, say, survive};

/// Longer than what a label may have.
fn long() -> String {
    "x".repeat(5000)
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
}

pub(crate) async fn namespaces(talk: &mut Talk) {
    type Client<T> = NamespacesClient<T>;
    let namespace =
        |name: &str, pairs: &[(&str, &str)]| Some(Namespace { name: name.into(), labels: labels(pairs) });
    let create =
        |name: &str, pairs: &[(&str, &str)]| CreateNamespaceRequest { namespace: namespace(name, pairs) };
    talk.within("");
    say!(talk, "namespaces: none yet", Client, list, ListNamespacesRequest::default());
    say!(talk, "namespaces: create", Client, create, create("red", &[("a", "1"), ("empty", "")]));
    say!(talk, "namespaces: create again", Client, create, create("red", &[]));
    say!(talk, "namespaces: create without name", Client, create, create("", &[]));
    say!(talk, "namespaces: create with a bad name", Client, create, create("a/b", &[]));
    say!(talk, "namespaces: create with a long name", Client, create, create(&"n".repeat(77), &[]));
    say!(talk, "namespaces: create with a long label", Client, create, create("long", &[("a", &long())]));
    survive!(talk, Client, create, CreateNamespaceRequest::default());
    say!(talk, "namespaces: get", Client, get, GetNamespaceRequest { name: "red".into() });
    say!(talk, "namespaces: get none", Client, get, GetNamespaceRequest { name: "blue".into() });
    let update = |name: &str, pairs: &[(&str, &str)], paths: &[&str]| UpdateNamespaceRequest {
        namespace: namespace(name, pairs),
        update_mask: mask(paths),
    };
    say!(
        talk,
        "namespaces: update a label",
        Client,
        update,
        update("red", &[("b", "2"), ("c", "3")], &["labels.b"])
    );
    say!(talk, "namespaces: update all labels", Client, update, update("red", &[("c", "3")], &["labels"]));
    say!(talk, "namespaces: update another field", Client, update, update("red", &[], &["name"]));
    say!(talk, "namespaces: update none", Client, update, update("blue", &[("b", "2")], &["labels.b"]));
    // A label without a key is none, unless it is to go.
    say!(talk, "namespaces: create with a nameless label", Client, create, create("nameless", &[("", "1")]));
    say!(talk, "namespaces: create with a label of nothing", Client, create, create("nothing", &[("", "")]));
    for (what, value, paths) in [
        ("set a nameless label", "1", &["labels."][..]),
        ("clear a nameless label", "", &["labels."]),
        ("set a nameless label of all", "1", &[]),
        ("clear a nameless label of all", "", &[]),
        ("set a label of another mask", "1", &["labels"]),
    ] {
        let request = || update("red", &[("", value), ("d", "4")], paths);
        say!(talk, &format!("namespaces: {what}"), Client, update, request());
        let get = || GetNamespaceRequest { name: "red".into() };
        say!(talk, &format!("namespaces: {what}, and get"), Client, get, get());
    }
    say!(talk, "namespaces: update without name", Client, update, update("", &[("b", "2")], &["labels.b"]));
    say!(
        talk,
        "namespaces: a bad one and a bad field",
        Client,
        update,
        update("a/b", &[], &["labels.b", "name"])
    );
    say!(
        talk,
        "namespaces: a bad one and a nameless label",
        Client,
        update,
        update("a/b", &[("", "1")], &["labels."])
    );
    say!(talk, "namespaces: list", Client, list, ListNamespacesRequest::default());
    say!(talk, "namespaces: delete none", Client, delete, DeleteNamespaceRequest { name: "blue".into() });
    say!(talk, "namespaces: delete", Client, delete, DeleteNamespaceRequest { name: "red".into() });
    say!(talk, "namespaces: all gone", Client, list, ListNamespacesRequest::default());
}

pub(crate) async fn leases(talk: &mut Talk) {
    type Client<T> = LeasesClient<T>;
    let create = |id: &str, pairs: &[(&str, &str)]| CreateRequest { id: id.into(), labels: labels(pairs) };
    let delete = |id: &str| DeleteRequest { id: id.into(), sync: false };
    talk.within("");
    say!(talk, "leases: without a namespace", Client, list, ListRequest::default());
    talk.within("bad/name");
    say!(talk, "leases: in a bad namespace", Client, list, ListRequest::default());
    talk.within("red");
    say!(talk, "leases: create", Client, create, create("one", &[("a", "1")]));
    say!(talk, "leases: create again", Client, create, create("one", &[]));
    say!(talk, "leases: create with a long label", Client, create, create("two", &[("a", &long())]));
    for side in talk.sides() {
        // Only one of them made it.
        drop(LeasesClient::new(talk.service(&side)).delete(delete("two")).await);
    }
    say!(talk, "leases: list", Client, list, ListRequest::default());
    say!(talk, "leases: list by label", Client, list, ListRequest { filters: vec!["labels.a==1".into()] });
    say!(talk, "leases: list by nonsense", Client, list, ListRequest { filters: vec!["labels.a=".into()] });
    let resource = |kind: &str, id: &str| Some(Resource { id: id.into(), r#type: kind.into() });
    let add = |lease: &str, kind: &str, id: &str| AddResourceRequest {
        id: lease.into(),
        resource: resource(kind, id),
    };
    let blob = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    say!(talk, "leases: add content", Client, add_resource, add("one", "content", blob));
    say!(talk, "leases: add a snapshot", Client, add_resource, add("one", "snapshots/overlayfs", "top"));
    say!(talk, "leases: add an ingest", Client, add_resource, add("one", "ingests", "ref"));
    say!(talk, "leases: add an unknown kind", Client, add_resource, add("one", "cars", "x"));
    say!(talk, "leases: add a snapshot of nothing", Client, add_resource, add("one", "snapshots", "x"));
    say!(talk, "leases: add to none", Client, add_resource, add("none", "content", blob));
    let held = |id: &str| ListResourcesRequest { id: id.into() };
    say!(talk, "leases: resources", Client, list_resources, held("one"));
    say!(talk, "leases: resources of none", Client, list_resources, held("none"));
    let take = |lease: &str, kind: &str, id: &str| DeleteResourceRequest {
        id: lease.into(),
        resource: resource(kind, id),
    };
    say!(talk, "leases: take content", Client, delete_resource, take("one", "content", blob));
    say!(talk, "leases: take it again", Client, delete_resource, take("one", "content", blob));
    say!(talk, "leases: take from none", Client, delete_resource, take("none", "content", blob));
    // What is wrong with the lease is told before what is wrong with the resource.
    for (what, lease, kind, id) in [
        ("an unknown kind, of none", "none", "cars", "x"),
        ("a bad digest, of none", "none", "content", "nonsense"),
        ("a snapshot of nothing, of none", "none", "snapshots", "x"),
        ("an unknown kind, of one", "one", "cars", "x"),
        ("a bad digest, of one", "one", "content", "nonsense"),
        ("a kind in parts, of one", "one", "content/x", blob),
        ("a snapshot in parts, of one", "one", "snapshots/a/b", "x"),
        ("no kind, of one", "one", "", "x"),
        ("no kind, of none", "none", "", "x"),
        ("nothing, of none", "none", "images", ""),
        ("nothing, of one", "one", "images", ""),
        ("nothing of an unknown kind, of one", "one", "cars", ""),
        ("content of nothing, of one", "one", "content", ""),
        ("a snapshot of a nameless one, of one", "one", "snapshots/", "x"),
        ("of a nameless lease", "", "images", "x"),
    ] {
        say!(talk, &format!("leases: add {what}"), Client, add_resource, add(lease, kind, id));
        say!(talk, &format!("leases: take {what}"), Client, delete_resource, take(lease, kind, id));
    }
    say!(talk, "leases: fewer resources", Client, list_resources, held("one"));
    say!(talk, "leases: delete", Client, delete, delete("one"));
    say!(talk, "leases: delete again", Client, delete, delete("one"));
    talk.leased("none");
    let image = |name: &str| CreateImageRequest { image: Some(image(name)), ..CreateImageRequest::default() };
    say!(talk, "leases: a call with a lease that is not there", ImagesClient, create, image("leased"));
    talk.within("red");
    say!(
        talk,
        "leases: and without it",
        ImagesClient,
        delete,
        DeleteImageRequest { name: "leased".into(), ..DeleteImageRequest::default() }
    );
}

fn container(id: &str) -> Container {
    Container {
        id: id.into(),
        image: "an/image".into(),
        runtime: Some(Runtime { name: "io.containerd.runc.v2".into(), options: None }),
        spec: Some(Any { type_url: "test/Spec".into(), value: b"{}".to_vec() }),
        labels: labels(&[("tier", "web")]),
        ..Container::default()
    }
}

pub(crate) async fn containers(talk: &mut Talk) {
    type Client<T> = ContainersClient<T>;
    let create = |container| CreateContainerRequest { container: Some(container) };
    talk.within("");
    say!(talk, "containers: without a namespace", Client, list, ListContainersRequest::default());
    talk.within("red");
    say!(talk, "containers: none", Client, list, ListContainersRequest::default());
    say!(talk, "containers: create", Client, create, create(container("box")));
    say!(talk, "containers: create again", Client, create, create(container("box")));
    say!(talk, "containers: create without id", Client, create, create(container("")));
    say!(talk, "containers: create with a bad id", Client, create, create(container("-box")));
    say!(talk, "containers: create with a long id", Client, create, create(container(&"b".repeat(77))));
    let bare = |id: &str| Container { id: id.into(), ..Container::default() };
    say!(talk, "containers: create without runtime", Client, create, create(bare("bare")));
    let nameless = Container { runtime: Some(Runtime::default()), ..container("nameless") };
    say!(talk, "containers: create with a nameless runtime", Client, create, create(nameless.clone()));
    let specless = Container { spec: None, ..container("specless") };
    say!(talk, "containers: create without spec", Client, create, create(specless.clone()));
    let half = Container { snapshot_key: "key".into(), ..container("half") };
    say!(talk, "containers: create with half a snapshot", Client, create, create(half.clone()));
    let labelled = Container { labels: labels(&[("a", &long())]), ..container("labelled") };
    say!(talk, "containers: create with a long label", Client, create, create(labelled.clone()));
    survive!(talk, Client, create, CreateContainerRequest::default());
    let get = |id: &str| GetContainerRequest { id: id.into() };
    say!(talk, "containers: get", Client, get, get("box"));
    say!(talk, "containers: get none", Client, get, get("none"));
    say!(talk, "containers: get without id", Client, get, get(""));
    for filter in [
        "id==box",
        "labels.tier==web,image==an/image",
        "labels.tier==db",
        "labels.\"tier\"",
        "id~=^b",
        "id~=(",
        "id==",
        "runtime.name==io.containerd.runc.v2",
    ] {
        let request = || ListContainersRequest { filters: vec![filter.into()] };
        say!(talk, &format!("containers: list {filter}"), Client, list, request());
        hear!(talk, &format!("containers: stream {filter}"), Client, list_stream, request());
    }
    let update = |container: Container, paths: &[&str]| UpdateContainerRequest {
        container: Some(container),
        update_mask: mask(paths),
    };
    let changed = || Container { image: "other".into(), labels: labels(&[("new", "1")]), ..container("box") };
    say!(talk, "containers: update the image", Client, update, update(changed(), &["image"]));
    say!(talk, "containers: update a label", Client, update, update(changed(), &["labels.new"]));
    say!(
        talk,
        "containers: clear a label",
        Client,
        update,
        update(Container { labels: HashMap::new(), ..changed() }, &["labels.tier"])
    );
    say!(talk, "containers: update the runtime", Client, update, update(changed(), &["runtime"]));
    say!(talk, "containers: update an unknown field", Client, update, update(changed(), &["colour"]));
    say!(talk, "containers: update everything", Client, update, update(changed(), &[]));
    let moved = Container { runtime: Some(Runtime { name: "other".into(), options: None }), ..changed() };
    say!(talk, "containers: everything with another runtime", Client, update, update(moved.clone(), &[]));
    say!(talk, "containers: update none", Client, update, update(container("none"), &["image"]));
    survive!(talk, Client, update, UpdateContainerRequest::default());
    let extended = || Container {
        extensions: HashMap::from([(
            "ext".to_owned(),
            Any { type_url: "test/Ext".into(), value: vec![1, 2] },
        )]),
        ..container("box")
    };
    say!(talk, "containers: update extensions", Client, update, update(extended(), &["extensions"]));
    say!(talk, "containers: update an extension", Client, update, update(extended(), &["extensions.ext"]));
    let extension = |value: u8| Any { type_url: "test/Ext".into(), value: vec![value] };
    let several = || Container {
        extensions: HashMap::from([("ext".to_owned(), extension(3)), ("more.ext".to_owned(), extension(4))]),
        labels: labels(&[("a.b", "5"), ("", "6")]),
        image: "not/this".into(),
        ..container("box")
    };
    let nameless =
        || Container { extensions: HashMap::from([(String::new(), extension(5))]), ..container("box") };
    for (what, changed, paths) in [
        ("one extension of several", several(), &["extensions.ext"][..]),
        ("another with a dot", several(), &["extensions.more.ext"]),
        ("an extension and a label", several(), &["extensions.ext", "labels.a.b"]),
        ("a nameless extension", nameless(), &["extensions."]),
        ("a nameless label", several(), &["labels."]),
        ("a nameless label that is not given", container("box"), &["labels."]),
        ("an extension and an unknown field", several(), &["extensions.ext", "colour"]),
        ("an annotation", several(), &["annotations.a"]),
        // containerd's extensions stay from here on: they come last.
        ("all extensions by one", extended(), &["extensions"]),
        ("an extension that is not given", container("box"), &["extensions.ext"]),
    ] {
        let request = || update(changed.clone(), paths);
        say!(talk, &format!("containers: update {what}"), Client, update, request());
        say!(talk, &format!("containers: update {what}, and get"), Client, get, get("box"));
    }
    let delete = |id: &str| DeleteContainerRequest { id: id.into() };
    say!(talk, "containers: delete", Client, delete, delete("box"));
    say!(talk, "containers: delete again", Client, delete, delete("box"));
    say!(talk, "containers: delete without id", Client, delete, delete(""));
}

fn image(name: &str) -> Image {
    Image {
        name: name.into(),
        labels: labels(&[("a", "1")]),
        target: Some(Descriptor {
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            digest: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into(),
            size: 7,
            ..Descriptor::default()
        }),
        ..Image::default()
    }
}

pub(crate) async fn images(talk: &mut Talk) {
    type Client<T> = ImagesClient<T>;
    let create = |image| CreateImageRequest { image: Some(image), ..CreateImageRequest::default() };
    talk.within("");
    say!(talk, "images: without a namespace", Client, list, ListImagesRequest::default());
    talk.within("red");
    say!(talk, "images: create", Client, create, create(image("one")));
    say!(talk, "images: create again", Client, create, create(image("one")));
    say!(talk, "images: create without name", Client, create, create(image("")));
    survive!(talk, Client, create, CreateImageRequest::default());
    let aimless = Image { target: None, ..image("aimless") };
    survive!(talk, Client, create, create(aimless));
    let target = image("x").target.unwrap_or_default();
    let undigested =
        Image { target: Some(Descriptor { digest: "nonsense".into(), ..target.clone() }), ..image("x") };
    say!(talk, "images: create with a bad digest", Client, create, create(undigested.clone()));
    let sizeless = Image { target: Some(Descriptor { size: 0, ..target.clone() }), ..image("x") };
    say!(talk, "images: create without size", Client, create, create(sizeless.clone()));
    let untyped =
        Image { target: Some(Descriptor { media_type: String::new(), ..target.clone() }), ..image("x") };
    say!(talk, "images: create without media type", Client, create, create(untyped.clone()));
    let labelled = Image { labels: labels(&[("a", &long())]), ..image("x") };
    say!(talk, "images: create with a long label", Client, create, create(labelled.clone()));
    let get = |name: &str| GetImageRequest { name: name.into() };
    say!(talk, "images: get", Client, get, get("one"));
    say!(talk, "images: get none", Client, get, get("none"));
    say!(talk, "images: get without name", Client, get, get(""));
    for filter in
        ["name==one", "labels.a==1", "target.digest~=e3b0", "target.mediatype==x", "name==", "name==\"one"]
    {
        let request = || ListImagesRequest { filters: vec![filter.into()] };
        say!(talk, &format!("images: list {filter}"), Client, list, request());
    }
    let update = |image: Image, paths: &[&str]| UpdateImageRequest {
        image: Some(image),
        update_mask: mask(paths),
        ..UpdateImageRequest::default()
    };
    let changed = || Image { labels: labels(&[("b", "2")]), ..image("one") };
    say!(talk, "images: update a label", Client, update, update(changed(), &["labels.b"]));
    say!(talk, "images: update labels", Client, update, update(changed(), &["labels"]));
    say!(talk, "images: update the target", Client, update, update(changed(), &["target"]));
    let annotated = |pairs: &[(&str, &str)]| Image {
        labels: labels(&[("", "1"), ("c", "3")]),
        target: Some(Descriptor { annotations: labels(pairs), ..target.clone() }),
        ..image("one")
    };
    for (what, pairs, paths) in [
        ("an annotation", &[("k", "1"), ("l.m", "2")][..], &["annotations.k"][..]),
        ("an annotation with a dot", &[("k", "3"), ("l.m", "4")], &["annotations.l.m"]),
        ("an annotation that is not given", &[], &["annotations.k"]),
        ("all annotations", &[("n", "5")], &["annotations"]),
        ("a nameless label", &[], &["labels."]),
        ("a nameless annotation", &[("", "1")], &["annotations."]),
        ("an annotation and an unknown field", &[("k", "1")], &["annotations.k", "colour"]),
    ] {
        say!(talk, &format!("images: update {what}"), Client, update, update(annotated(pairs), paths));
        say!(talk, &format!("images: update {what}, and get"), Client, get, get("one"));
    }
    say!(talk, "images: update the name", Client, update, update(changed(), &["name"]));
    say!(talk, "images: update everything", Client, update, update(changed(), &[]));
    say!(talk, "images: update none", Client, update, update(image("none"), &["labels"]));
    say!(talk, "images: update without name", Client, update, update(image(""), &["labels"]));
    let delete = |name: &str, aim: &str| DeleteImageRequest {
        name: name.into(),
        target: (!aim.is_empty()).then(|| Descriptor { digest: aim.into(), ..target.clone() }),
        ..DeleteImageRequest::default()
    };
    let other = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    say!(talk, "images: delete with another target", Client, delete, delete("one", other));
    say!(talk, "images: delete", Client, delete, delete("one", ""));
    say!(talk, "images: delete again", Client, delete, delete("one", ""));
    say!(talk, "images: delete without name", Client, delete, delete("", ""));
}

pub(crate) async fn sandboxes(talk: &mut Talk) {
    type Client<T> = StoreClient<T>;
    let sandbox = |id: &str| Sandbox {
        sandbox_id: id.into(),
        runtime: Some(api::types::sandbox::Runtime { name: "io.containerd.runc.v2".into(), options: None }),
        labels: labels(&[("a", "1")]),
        ..Sandbox::default()
    };
    let create = |sandbox| StoreCreateRequest { sandbox: Some(sandbox) };
    talk.within("red");
    say!(talk, "sandboxes: create", Client, create, create(sandbox("pod")));
    say!(talk, "sandboxes: create again", Client, create, create(sandbox("pod")));
    say!(talk, "sandboxes: create without id", Client, create, create(sandbox("")));
    say!(talk, "sandboxes: get", Client, get, StoreGetRequest { sandbox_id: "pod".into() });
    say!(talk, "sandboxes: get none", Client, get, StoreGetRequest { sandbox_id: "none".into() });
    say!(talk, "sandboxes: list", Client, list, StoreListRequest { filters: vec!["labels.a==1".into()] });
    let update = |id: &str, fields: &[&str]| StoreUpdateRequest {
        sandbox: Some(Sandbox { labels: labels(&[("b", "2")]), ..sandbox(id) }),
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
    };
    say!(talk, "sandboxes: update labels", Client, update, update("pod", &["labels"]));
    say!(talk, "sandboxes: update none", Client, update, update("none", &["labels"]));
    let delete = |id: &str| StoreDeleteRequest { sandbox_id: id.into() };
    say!(talk, "sandboxes: delete", Client, delete, delete("pod"));
    say!(talk, "sandboxes: delete again", Client, delete, delete("pod"));
}

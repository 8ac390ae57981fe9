//! Images as containerd's clients see them: the same records that the engine has.
//!
//! An image is a root of the garbage collection, unless it has a time at which it ends (`containerd.io/gc.expire`): then a lease
//! can hold it longer.

use oci::descriptor::Descriptor;

use super::leases::{self, Resource};
use super::mask::{self, Path};
use super::{Space, identifier, labels};
use crate::clock::now_ns;
use crate::db::{Commit, Tx};
use crate::error::{Error, Result};
use crate::records::images::{self, Image};
use crate::records::{Labels, found};

/// With this label an image is not held for ever.
pub(crate) const EXPIRE: &str = "containerd.io/gc.expire";

/// What an update changes that does not say.
const FIELDS: [&str; 2] = ["labels", "target"];

/// What a client says of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    pub name: String,
    pub target: Descriptor,
    pub labels: Labels,
    /// The time that its record is to have in place of now.
    pub epoch_ns: Option<i64>,
}

/// The images of a namespace.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a>(Space<'a>);

impl<'a> Space<'a> {
    /// Its images.
    pub fn images(self) -> Images<'a> {
        Images(self)
    }
}

impl Images<'_> {
    /// Makes the record.
    ///
    /// # Errors
    /// `AlreadyExists` for the name; [`Error::Invalid`] says what must be set.
    pub fn create(&self, given: Given, lease: Option<&str>) -> Result<Image> {
        let made_ns = given.epoch_ns.unwrap_or_else(now_ns);
        let lease = lease.map(str::to_owned);
        self.0.write(Commit::Durable, move |tx, namespace| {
            let image = checked(Image {
                namespace: namespace.to_owned(),
                name: given.name,
                target: given.target,
                created_ns: made_ns,
                updated_ns: made_ns,
                labels: given.labels,
            })?;
            hold(tx, lease.as_deref(), &image)?;
            if images::get(tx, namespace, &image.name)?.is_some() {
                return Err(Error::AlreadyExists { kind: "image", name: image.name });
            }
            images::put(tx, &image)?;
            Ok(image)
        })
    }

    /// The image of that name.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn get(&self, name: &str) -> Result<Image> {
        self.0.store.db.read(|tx| get(tx, self.0.namespace, name))
    }

    /// All, by name.
    pub fn list(&self) -> Result<Vec<Image>> {
        self.0.store.db.read(|tx| images::list(tx, self.0.namespace))
    }

    /// Changes what `paths` name to what is given, or all.
    ///
    /// # Errors
    /// `NotFound`; [`Error::Invalid`] for what cannot be changed.
    pub fn update(&self, given: Given, paths: Vec<String>, lease: Option<&str>) -> Result<Image> {
        if given.name.is_empty() {
            return Err(Error::Invalid { why: "image name is required for update".into() });
        }
        let lease = lease.map(str::to_owned);
        self.0.write(Commit::Durable, move |tx, namespace| {
            let image = checked(masked(get(tx, namespace, &given.name)?, &given, &paths)?)?;
            let image = Image { updated_ns: given.epoch_ns.unwrap_or_else(now_ns), ..image };
            hold(tx, lease.as_deref(), &image)?;
            images::put(tx, &image)?;
            Ok(image)
        })
    }

    /// Removes the record, if it still has that target, when one is named.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn delete(&self, name: &str, target: Option<String>, lease: Option<&str>) -> Result<()> {
        let (name, lease) = (name.to_owned(), lease.map(str::to_owned));
        self.0.write(Commit::Durable, move |tx, namespace| {
            leases::release(tx, namespace, lease.as_deref(), &Resource::Image(name.clone()))?;
            if let Some(target) = target {
                let actual = get(tx, namespace, &name)?.target.digest;
                if actual.as_str() != target {
                    return Err(Error::OtherTarget { image: name, actual, expected: target });
                }
            }
            images::delete(tx, namespace, &name)
        })
    }
}

fn get(tx: &Tx<'_>, namespace: &str, name: &str) -> Result<Image> {
    let image = images::get(tx, namespace, name)?;
    found(usize::from(image.is_some()), "image", name)?;
    Ok(image.expect("it was found"))
}

/// A lease needs to hold only an image that ends.
fn hold(tx: &Tx<'_>, lease: Option<&str>, image: &Image) -> Result<()> {
    match image.labels.contains_key(EXPIRE) {
        true => leases::hold(tx, &image.namespace, lease, &Resource::Image(image.name.clone())),
        false => Ok(()),
    }
}

/// The image after an update.
fn masked(old: Image, given: &Given, paths: &[String]) -> Result<Image> {
    let mut new = old;
    for path in mask::or_all(paths, &FIELDS) {
        match Path::parse(path, &["labels", "annotations"]) {
            Path::Key("labels", key) => mask::set(&mut new.labels, key, &given.labels),
            Path::Key(_, key) => mask::set(&mut new.target.annotations, key, &given.target.annotations),
            Path::Field("labels") => new.labels.clone_from(&given.labels),
            Path::Field("target") => new.target.clone_from(&given.target),
            Path::Field("annotations") => new.target.annotations.clone_from(&given.target.annotations),
            Path::Field(_) => return Err(Path::refuse(path, &format!("image {:?}", given.name))),
        }
    }
    Ok(new)
}

/// The image as it is stored.
fn checked(mut image: Image) -> Result<Image> {
    let wrong = |why: &str| Err(Error::Invalid { why: why.to_owned() });
    if image.name.is_empty() {
        return wrong("image name must not be empty");
    }
    identifier::check_key("the name of an image", &image.name)?;
    image.labels = labels::stored(image.labels).map_err(|error| error.within("image.Labels"))?;
    if image.target.annotations.get("").is_some_and(|value| !value.is_empty()) {
        return wrong("image.Annotations: annotation key required");
    }
    if image.target.size == 0 {
        return wrong("Target.Size must be greater than zero");
    }
    if image.target.media_type.is_empty() {
        return wrong("Target.MediaType must be set");
    }
    Ok(image)
}

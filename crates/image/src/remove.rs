//! Removing images, by Docker's rules.
//!
//! | named by | the image has | what happens |
//! |---|---|---|
//! | a name | other names | that name goes |
//! | a name | no other name | the name goes, then the image; refused while a container uses it, unless forced |
//! | its id | names in one repository | all names and the image go |
//! | its id | names in several repositories | refused, unless forced |
//!
//! A running container's image is never removed: forced, its last name goes and it is dangling. A stopped
//! container's image is removed when forced; the container keeps its snapshot and its content.

use oci::digest::Digest;
use oci::reference::Reference;
use store::{Commit, Tx};

use crate::error::{Conflict, Error, Result};
use crate::image::Image;
use crate::images::{Images, dangling, keep_nameless};

/// A container that uses an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The container's id.
    pub container: String,
    /// The image's id.
    pub image: Digest,
    pub is_running: bool,
}

/// What a removal did, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// The familiar name.
    Untagged(String),
    /// The image's id.
    Deleted(Digest),
}

/// What is to be done, decided before anything is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    untag: Vec<Reference>,
    /// Whether the image itself goes, or stays without a name.
    deletes: bool,
}

impl Images {
    /// Removes a name, and the image with its last one. Content goes with the next garbage collection.
    pub fn remove(
        &self,
        namespace: &str,
        name: &str,
        is_forced: bool,
        users: &[User],
    ) -> Result<Vec<Removed>> {
        let by_name =
            self.record(namespace, name)?.and_then(|record| Reference::parse_named(&record.name).ok());
        let image = self.resolve(namespace, name)?;
        let plan = plan(&image, by_name.as_ref(), is_forced, users).map_err(Error::Conflict)?;
        self.carry_out(namespace, &image, &plan)
    }

    /// Removes the images that `is_garbage` says: those without names, or all without containers.
    pub fn prune(
        &self,
        namespace: &str,
        is_garbage: &dyn Fn(&Image) -> bool,
        users: &[User],
    ) -> Result<Vec<Removed>> {
        let mut removed = Vec::new();
        for image in self.list(namespace)? {
            let is_used = users.iter().any(|user| user.image == image.id);
            if !is_used && is_garbage(&image) {
                let plan = Plan { untag: image.names.clone(), deletes: true };
                removed.extend(self.carry_out(namespace, &image, &plan)?);
            }
        }
        Ok(removed)
    }

    fn carry_out(&self, namespace: &str, image: &Image, plan: &Plan) -> Result<Vec<Removed>> {
        let names: Vec<String> = plan.untag.iter().map(ToString::to_string).collect();
        let (namespace, target, deletes) = (namespace.to_owned(), image.target.digest.clone(), plan.deletes);
        self.store.write(Commit::Durable, move |tx| {
            for name in names {
                untag(tx, &namespace, &name, deletes)?;
            }
            let nameless = dangling(&target);
            if deletes && store::images::get(tx, &namespace, &nameless)?.is_some() {
                store::images::delete(tx, &namespace, &nameless)?;
            }
            Ok(())
        })?;
        let untagged = plan.untag.iter().map(|name| Removed::Untagged(name.familiar()));
        let mut removed: Vec<Removed> = untagged.collect();
        if deletes {
            self.forget(&image.target.digest);
            self.forget_unpacked(&image.manifest);
            removed.push(Removed::Deleted(image.id.clone()));
        }
        Ok(removed)
    }
}

fn untag(tx: &Tx<'_>, namespace: &str, name: &str, deletes: bool) -> store::Result<()> {
    let record = store::images::get(tx, namespace, name)?;
    // Somebody else was faster.
    let Some(record) = record else { return Ok(()) };
    store::images::delete(tx, namespace, name)?;
    if deletes { Ok(()) } else { keep_nameless(tx, record) }
}

fn plan(
    image: &Image,
    by_name: Option<&Reference>,
    is_forced: bool,
    users: &[User],
) -> Result<Plan, Conflict> {
    let short = |container: &str| container.chars().take(12).collect::<String>();
    let id = image.id.short().to_owned();
    let user = |is_running| users.iter().find(|user| user.image == image.id && user.is_running == is_running);
    let (running, stopped) = (user(true), user(false));
    if let Some(name) = by_name {
        let untag = vec![name.clone()];
        if image.names.len() > 1 {
            return Ok(Plan { untag, deletes: false });
        }
        return match running.or(stopped) {
            Some(user) if !is_forced => {
                Err(Conflict::UsedName { name: name.familiar(), container: short(&user.container), id })
            }
            _ => Ok(Plan { untag, deletes: running.is_none() }),
        };
    }
    if let Some(user) = running {
        return Err(Conflict::RunningContainer { id, container: short(&user.container) });
    }
    let mut repositories: Vec<String> = image.names.iter().map(Reference::repository).collect();
    repositories.dedup();
    match stopped {
        _ if is_forced => {}
        _ if repositories.len() > 1 => return Err(Conflict::SeveralNames { id }),
        Some(user) => return Err(Conflict::StoppedContainer { id, container: short(&user.container) }),
        None => {}
    }
    Ok(Plan { untag: image.names.clone(), deletes: true })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use oci::descriptor::Descriptor;

    fn image(names: &[&str]) -> Image {
        let id = Digest::of(b"config");
        let mut names: Vec<Reference> =
            names.iter().map(|name| Reference::parse_normalized(name).unwrap()).collect();
        names.sort();
        Image {
            target: Descriptor::new("", id.clone(), 1),
            manifest: id.clone(),
            id,
            names,
            config: Arc::default(),
            layers: Vec::new(),
            size_bytes: 0,
            stored_ns: 0,
        }
    }

    fn user(is_running: bool) -> Vec<User> {
        vec![User { container: "c".repeat(64), image: Digest::of(b"config"), is_running }]
    }

    #[test]
    fn dockers_rules_decide() {
        let one = image(&["a:1"]);
        let same_repository = image(&["a:1", "a:2"]);
        let several = image(&["a:1", "b:1"]);
        let none = image(&[]);
        let nobody = Vec::new();
        let (running, stopped) = (user(true), user(false));
        // image, by name, forced, users; number of names that go, whether the image goes; or the conflict.
        type Case<'a> = (&'a Image, Option<&'a str>, bool, &'a [User], Result<(usize, bool), &'a str>);
        let cases: [Case<'_>; 16] = [
            (&one, Some("a:1"), false, &nobody, Ok((1, true))),
            (&one, Some("a:1"), false, &stopped, Err("must force")),
            (&one, Some("a:1"), false, &running, Err("must force")),
            (&one, Some("a:1"), true, &stopped, Ok((1, true))),
            (&one, Some("a:1"), true, &running, Ok((1, false))),
            (&several, Some("a:1"), false, &running, Ok((1, false))),
            (&one, None, false, &nobody, Ok((1, true))),
            (&one, None, false, &stopped, Err("must be forced")),
            (&one, None, true, &stopped, Ok((1, true))),
            (&one, None, false, &running, Err("cannot be forced")),
            (&one, None, true, &running, Err("cannot be forced")),
            (&same_repository, None, false, &nobody, Ok((2, true))),
            (&several, None, false, &nobody, Err("multiple repositories")),
            (&several, None, true, &nobody, Ok((2, true))),
            (&none, None, false, &nobody, Ok((0, true))),
            (&none, None, false, &stopped, Err("stopped container cccccccccccc")),
        ];
        for (image, name, is_forced, users, expected) in cases {
            let name = name.map(|name| Reference::parse_normalized(name).unwrap());
            let found = plan(image, name.as_ref(), is_forced, users);
            let case = format!("{:?} {name:?} {is_forced} {users:?}: {found:?}", image.names);
            match (found, expected) {
                (Ok(plan), Ok(expected)) => assert_eq!((plan.untag.len(), plan.deletes), expected, "{case}"),
                (Err(conflict), Err(expected)) => assert!(conflict.to_string().contains(expected), "{case}"),
                _ => panic!("{case}"),
            }
        }
    }
}

//! What every snapshotter must do, as a suite that any implementation can be put through.
//!
//! The caller gives a fresh snapshotter and a way to look at mounts as a directory; every name that the suite uses
//! begins with the given prefix, so that it can run twice on one store.

use std::fs;
use std::path::Path;

use api::code::Code;
use oci::mount::Mount;

use super::{Kind, PrepareOptions, Snapshotter};

/// Calls a closure with a directory that shows the mounts.
pub type Show<'a> = &'a dyn Fn(&[Mount], &mut dyn FnMut(&Path));

/// Runs every claim against `snapshotter`; panics with the claim that does not hold.
pub fn run(snapshotter: &dyn Snapshotter, prefix: &str, show: Show<'_>) {
    let case = Case { snapshotter, prefix, show };
    case.a_layer_is_written_committed_and_seen_through();
    case.layers_do_not_leak_into_their_parents();
    case.names_are_taken_and_parents_must_be_committed();
    case.views_cannot_be_committed_and_committed_ones_not_mounted();
    case.what_has_children_stays();
    case.removed_files_are_deleted_by_cleanup();
}

struct Case<'a> {
    snapshotter: &'a dyn Snapshotter,
    prefix: &'a str,
    show: Show<'a>,
}

impl Case<'_> {
    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// A committed snapshot in which `work` has written.
    fn layer(&self, name: &str, parent: Option<&str>, work: &mut dyn FnMut(&Path)) {
        let key = self.name(&format!("{name}-active"));
        let parent = parent.map(|parent| self.name(parent));
        let mounts =
            self.snapshotter.prepare(&key, parent.as_deref(), PrepareOptions::default()).expect("prepare");
        (self.show)(&mounts, work);
        self.snapshotter.commit(&self.name(name), &key).expect("commit");
    }

    fn remove(&self, name: &str) {
        self.snapshotter.remove(&self.name(name)).expect("remove");
    }

    fn a_layer_is_written_committed_and_seen_through(&self) {
        self.layer("base", None, &mut |root| {
            fs::create_dir(root.join("folder")).expect("a folder");
            fs::write(root.join("folder/file"), "base").expect("a file");
            fs::write(root.join("gone"), "base").expect("a file");
        });
        self.layer("top", Some("base"), &mut |root| {
            assert_eq!(fs::read_to_string(root.join("folder/file")).expect("seen through"), "base");
            fs::write(root.join("folder/file"), "top").expect("it is changed");
            fs::remove_file(root.join("gone")).expect("it is removed");
        });
        let view = self.name("view");
        let mounts = self.snapshotter.view(&view, &self.name("top")).expect("view");
        (self.show)(&mounts, &mut |root| {
            assert_eq!(fs::read_to_string(root.join("folder/file")).expect("it is there"), "top");
            assert!(!root.join("gone").exists(), "removed files stay removed");
            assert!(fs::write(root.join("new"), "").is_err(), "a view is read-only");
        });
        self.remove("view");
    }

    fn layers_do_not_leak_into_their_parents(&self) {
        let view = self.name("old");
        let mounts = self.snapshotter.view(&view, &self.name("base")).expect("view");
        (self.show)(&mounts, &mut |root| {
            assert_eq!(fs::read_to_string(root.join("folder/file")).expect("it is there"), "base");
            assert!(root.join("gone").exists());
        });
        self.remove("old");
    }

    fn names_are_taken_and_parents_must_be_committed(&self) {
        let options = PrepareOptions::default();
        let key = self.name("active");
        self.snapshotter.prepare(&key, None, options).expect("prepare");
        let code = |result: crate::Result<Vec<Mount>>| result.map(drop).map_err(|error| error.code());
        assert_eq!(code(self.snapshotter.prepare(&key, None, options)), Err(Code::AlreadyExists));
        let other = self.name("other");
        assert_eq!(
            code(self.snapshotter.prepare(&other, Some(&key), options)),
            Err(Code::FailedPrecondition)
        );
        assert_eq!(code(self.snapshotter.prepare(&other, Some("nothing"), options)), Err(Code::NotFound));
        assert_eq!(code(self.snapshotter.mounts("nothing")), Err(Code::NotFound));
        let taken = self.snapshotter.commit(&self.name("top"), &key).expect_err("the name is taken");
        assert_eq!(taken.code(), Code::AlreadyExists);
        assert_eq!(self.snapshotter.stat(&key).expect("it stays").kind, Kind::Active);
        self.remove("active");
    }

    fn views_cannot_be_committed_and_committed_ones_not_mounted(&self) {
        let view = self.name("view");
        self.snapshotter.view(&view, &self.name("base")).expect("view");
        let error =
            self.snapshotter.commit(&self.name("never"), &view).expect_err("a view has nothing to commit");
        assert_eq!(error.code(), Code::FailedPrecondition);
        let error =
            self.snapshotter.mounts(&self.name("base")).expect_err("a committed one is a parent only");
        assert_eq!(error.code(), Code::FailedPrecondition);
        self.remove("view");
    }

    fn what_has_children_stays(&self) {
        let error = self.snapshotter.remove(&self.name("base")).expect_err("`top` needs it");
        assert_eq!(error.code(), Code::FailedPrecondition);
        let names: Vec<String> =
            self.snapshotter.list().expect("list").into_iter().map(|info| info.name).collect();
        assert!(names.contains(&self.name("base")) && names.contains(&self.name("top")));
        assert!(self.snapshotter.usage(&self.name("base")).expect("usage").inodes >= 2);
    }

    fn removed_files_are_deleted_by_cleanup(&self) {
        let upper = self.snapshotter.directories(&self.name("top")).expect("directories").upper;
        self.remove("top");
        self.remove("base");
        assert_eq!(
            self.snapshotter.remove(&self.name("base")).expect_err("it is gone").code(),
            Code::NotFound
        );
        assert!(!upper.exists(), "a removed snapshot is out of the way at once");
        assert!(self.snapshotter.cleanup().expect("cleanup") >= 2);
    }
}

//! `--uidmap` without `--remap-labels`: a copy of the image whose files belong to the container's users. It is a snapshot of its
//! own, under the name that containerd's own client gives it, so that other containers with the same users stand on it, too. The
//! client's lease keeps it.
//!
//! The snapshot is mounted where nobody else sees it, and its files are found by descriptor: links in it lead nowhere.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ::runtime::Rootfs;
use grpc::snapshots::{CommitSnapshotRequest, PrepareSnapshotRequest, StatSnapshotRequest};
use linux::user_namespace::{IdRange, Maps};
use oci::digest::Digest;
use oci::mount::Mount;
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use serde_json::{Value, json};

use crate::blocking::blocking;
use crate::client::Client;
use crate::error::Error;
use crate::snapshots;

/// Folders in folders that are followed: each is open while those in it are walked through.
const DEPTH_MAX: usize = 512;

/// The snapshot to take in place of `parent`. `document` names the users.
pub(super) async fn given_away(
    client: &Client,
    snapshotter: &str,
    parent: &str,
    document: &Value,
) -> Result<String, Error> {
    let maps = maps(document);
    let copy = name(parent, &maps);
    let (snapshotter, work) = (snapshotter.to_owned(), format!("{copy}-remap"));
    let stat = StatSnapshotRequest { snapshotter: snapshotter.clone(), key: copy.clone() };
    match client.snapshots().stat(stat).await {
        Ok(_) => return Ok(copy),
        Err(status) if status.code() == tonic::Code::NotFound => {}
        Err(status) => return Err(status.into()),
    }
    // One that was begun and not finished is begun again.
    snapshots::discard(client, &snapshotter, &work).await?;
    let request = PrepareSnapshotRequest {
        snapshotter: snapshotter.clone(),
        key: work.clone(),
        parent: parent.to_owned(),
        ..PrepareSnapshotRequest::default()
    };
    let mounts = client.snapshots().prepare(request).await?.into_inner().mounts;
    let given = blocking(move || give(&mounts, &maps)).await;
    if let Err(error) = given {
        snapshots::discard(client, &snapshotter, &work).await?;
        return Err(error);
    }
    let request = CommitSnapshotRequest {
        snapshotter,
        name: copy.clone(),
        key: work,
        ..CommitSnapshotRequest::default()
    };
    match client.snapshots().commit(request).await {
        // Somebody else was quicker.
        Err(status) if status.code() == tonic::Code::AlreadyExists => Ok(copy),
        other => other.map(|_| copy).map_err(Into::into),
    }
}

fn maps(document: &Value) -> Maps {
    let ranges = |list: &str| {
        let number = |one: &Value, key: &str| one[key].as_u64().and_then(|number| u32::try_from(number).ok());
        let range = |one: &Value| {
            let (inside, outside) = (number(one, "containerID")?, number(one, "hostID")?);
            Some(IdRange { inside, outside, size: number(one, "size")? })
        };
        let mut ranges: Vec<_> =
            document["linux"][list].as_array().into_iter().flatten().filter_map(range).collect();
        ranges.sort_by_key(|range| range.inside);
        ranges
    };
    Maps { users: ranges("uidMappings"), groups: ranges("gidMappings") }
}

/// The digest of what it is made of, as a document in Go's order.
fn name(parent: &str, maps: &Maps) -> String {
    let list = |ranges: &[IdRange]| {
        let one = |range: &IdRange| {
            let IdRange { inside, outside, size } = range;
            format!(r#"{{"containerID":{inside},"hostID":{outside},"size":{size}}}"#)
        };
        ranges.iter().map(one).collect::<Vec<_>>().join(",")
    };
    let (users, groups) = (list(&maps.users), list(&maps.groups));
    let parent = json!(parent);
    let document = format!(r#"{{"Parent":{parent},"IDMap":{{"UidMap":[{users}],"GidMap":[{groups}]}}}}"#);
    Digest::of(document.as_bytes()).to_string()
}

fn give(mounts: &[api::types::Mount], maps: &Maps) -> Result<(), Error> {
    let mount = |mount: &api::types::Mount| Mount {
        kind: mount.r#type.clone(),
        source: mount.source.clone(),
        target: mount.target.clone(),
        options: mount.options.clone(),
    };
    let mounts: Vec<_> = mounts.iter().map(mount).collect();
    let failed =
        |source| Error::File { what: "give the image's files to the container's users".into(), source };
    let root = Rootfs::mount(&mounts).map_err(|error| failed(std::io::Error::other(error)))?;
    walk(root.as_fd(), maps, DEPTH_MAX).map_err(|errno| failed(errno.into()))
}

/// Gives a folder and all that is in it away.
fn walk(folder: BorrowedFd<'_>, maps: &Maps, depth: usize) -> rustix::io::Result<()> {
    let depth = depth.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
    let stat = rustix::fs::fstat(folder)?;
    let (user, group) = owner(&stat, maps)?;
    rustix::fs::chownat(folder, c"", user, group, AtFlags::EMPTY_PATH)?;
    let opened = open_folder(folder, c".")?;
    for entry in Dir::read_from(&opened)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = rustix::fs::statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            walk(open_folder(opened.as_fd(), name)?.as_fd(), maps, depth)?;
            continue;
        }
        let (user, group) = owner(&stat, maps)?;
        rustix::fs::chownat(&opened, name, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
        // The change of owner took these away.
        let special = stat.st_mode & SPECIAL_BITS != 0;
        if special && kind != FileType::Symlink {
            rustix::fs::chmodat(&opened, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
        }
    }
    Ok(())
}

/// Set-user-id, set-group-id and the sticky bit.
const SPECIAL_BITS: u32 = 0o7000;

fn open_folder(parent: BorrowedFd<'_>, name: &std::ffi::CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Whom a file of the image belongs to on the host; one of nobody in the maps cannot be given away.
fn owner(stat: &Stat, maps: &Maps) -> rustix::io::Result<(Option<Uid>, Option<Gid>)> {
    let pair = maps.host_user(stat.st_uid).zip(maps.host_group(stat.st_gid));
    let (user, group) = pair.ok_or(Errno::OVERFLOW)?;
    Ok((Some(Uid::from_raw(user)), Some(Gid::from_raw(group))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_change_hands_with_their_modes_and_links_lead_nowhere() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
        let outside = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        let program = folder.path().join("a/b/program");
        std::fs::write(&program, "").unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o4755)).unwrap();
        symlink(outside.path(), folder.path().join("a/link")).unwrap();
        let range = |outside| vec![IdRange { inside: 0, outside, size: 1 }];
        let maps = Maps { users: range(1000), groups: range(2000) };
        walk(std::fs::File::open(folder.path()).unwrap().as_fd(), &maps, DEPTH_MAX).unwrap();
        let owner = |path: &std::path::Path| {
            let found = path.symlink_metadata().unwrap();
            (found.uid(), found.gid())
        };
        for path in ["", "a", "a/b", "a/b/program", "a/link"] {
            assert_eq!(owner(&folder.path().join(path)), (1000, 2000), "{path}");
        }
        assert_eq!(program.metadata().unwrap().mode() & 0o7777, 0o4755);
        assert_eq!(owner(outside.path()), (0, 0));
        // They are nobody's in the maps now.
        let again = walk(std::fs::File::open(folder.path()).unwrap().as_fd(), &maps, DEPTH_MAX);
        assert_eq!(again, Err(Errno::OVERFLOW));
        let deep = walk(
            std::fs::File::open(folder.path()).unwrap().as_fd(),
            &Maps {
                users: vec![IdRange { inside: 1000, outside: 0, size: 1 }],
                groups: vec![IdRange { inside: 2000, outside: 0, size: 1 }],
            },
            2,
        );
        assert_eq!(deep, Err(Errno::NAMETOOLONG));
    }

    #[test]
    fn a_copy_is_called_by_what_it_is_made_of() {
        let document = json!({"linux": {
            "uidMappings": [{"containerID": 10, "hostID": 5, "size": 1}, {"containerID": 0, "hostID": 1000, "size": 10}],
            "gidMappings": [{"containerID": 0, "hostID": 2000, "size": 65536}],
        }});
        let maps = maps(&document);
        assert_eq!((maps.host_user(10), maps.host_group(7)), (Some(5), Some(2007)));
        let whole = br#"{"Parent":"sha256:a","IDMap":{"UidMap":[{"containerID":0,"hostID":1000,"size":10},{"containerID":10,"hostID":5,"size":1}],"GidMap":[{"containerID":0,"hostID":2000,"size":65536}]}}"#;
        assert_eq!(name("sha256:a", &maps), Digest::of(whole).to_string());
    }
}

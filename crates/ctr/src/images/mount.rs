//! `ctr images mount` and `unmount`: an image's files in a folder of this machine.

use std::ffi::CString;

use api::types::Mount;
use grpc::leases::DeleteRequest;
use grpc::snapshots::{PrepareSnapshotRequest, ViewSnapshotRequest};
use oci::platform::Platform;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use super::pull::one_platform;
use super::tree::Stock;
use crate::client::Client;
use crate::error::Error;
use crate::grammar::Call;
use crate::local::unpack::Unpack;
use crate::{local, output, snapshots};

pub(crate) async fn mount(call: &Call) -> Result<u8, Error> {
    let (name, target) = (call.operand(0), call.operand(1));
    if name.is_empty() {
        return Err(Error::Usage("please provide an image reference to mount".into()));
    }
    if target.is_empty() {
        return Err(Error::Usage("please provide a target path to mount to".into()));
    }
    let client = Client::connect(call).await?;
    let snapshotter = client.snapshotter(call).await;
    let image = super::get(&client, name).await?;
    let wanted = one_platform(call)?.unwrap_or_else(Platform::host);
    let stock = Stock::of(&client, &image.target.unwrap_or_default()).await?;
    let found = stock.image(&wanted).filter(|image| !image.chain().is_empty());
    let Some(found) = found else {
        return Err(Error::Usage(format!("image {name:?} has nothing for {wanted} here: not found")));
    };
    // As long as the mount may be there, its snapshot is: the lease is called as the folder, and ends in a day.
    let held = [(format!("containerd.io/gc.ref.snapshot.{snapshotter}"), target.to_owned())].into();
    let lease = local::lease(&client, target.to_owned(), held).await?;
    let done = async {
        let client = client.with_lease(&lease)?;
        let unpack = Unpack { client: &client, snapshotter: &snapshotter, is_synced: call.is("sync-fs") };
        unpack.image(found).await?;
        let chain = found.chain().last().cloned().unwrap_or_default();
        let mounts = snapshot(&client, call.is("rw"), (&snapshotter, target, &chain)).await?;
        if let Err(error) = mounts.iter().try_for_each(|mount| perform(mount, target)) {
            snapshots::discard(&client, &snapshotter, target).await?;
            return Err(error);
        }
        Ok(chain)
    };
    let done: Result<String, Error> = done.await;
    if done.is_err() {
        client.leases().delete(DeleteRequest { id: lease, sync: false }).await?;
    }
    output::line(&done?)?;
    output::line(target).map(|()| 0)
}

async fn snapshot(
    client: &Client,
    is_written: bool,
    (snapshotter, key, parent): (&str, &str, &str),
) -> Result<Vec<Mount>, Error> {
    let (snapshotter, key, parent) = (snapshotter.to_owned(), key.to_owned(), parent.to_owned());
    let labels = std::collections::HashMap::new();
    Ok(match is_written {
        true => {
            let request = PrepareSnapshotRequest { snapshotter, key, parent, labels };
            client.snapshots().prepare(request).await?.into_inner().mounts
        }
        false => {
            let request = ViewSnapshotRequest { snapshotter, key, parent, labels };
            client.snapshots().view(request).await?.into_inner().mounts
        }
    })
}

/// What options are, where they are not the file system's own words.
const FLAGS: [(&str, MountFlags); 9] = [
    ("ro", MountFlags::RDONLY),
    ("nosuid", MountFlags::NOSUID),
    ("nodev", MountFlags::NODEV),
    ("noexec", MountFlags::NOEXEC),
    ("noatime", MountFlags::NOATIME),
    ("nodiratime", MountFlags::NODIRATIME),
    ("relatime", MountFlags::RELATIME),
    ("sync", MountFlags::SYNCHRONOUS),
    ("dirsync", MountFlags::DIRSYNC),
];

fn perform(mount: &Mount, target: &str) -> Result<(), Error> {
    let failed = |errno: Errno| Error::File { what: format!("mount at {target}"), source: errno.into() };
    let mut flags = MountFlags::empty();
    let mut own = Vec::new();
    let mut bind = None;
    for option in &mount.options {
        match option.as_str() {
            "rbind" => bind = Some(MountFlags::BIND | MountFlags::REC),
            "bind" => bind = Some(MountFlags::BIND),
            "rw" => {}
            word => match FLAGS.iter().find(|(name, _)| *name == word) {
                Some((_, flag)) => flags |= *flag,
                None => own.push(word),
            },
        }
    }
    let no_data: Option<&std::ffi::CStr> = None;
    if mount.r#type == "bind" || bind.is_some() {
        let bind = bind.unwrap_or(MountFlags::BIND);
        rustix::mount::mount(mount.source.as_str(), target, "", bind, no_data).map_err(failed)?;
        if !flags.is_empty() {
            // A bind takes its options in a second step.
            let again = rustix::mount::mount_remount(target, MountFlags::BIND | flags, "");
            if let Err(errno) = again {
                let _ = rustix::mount::unmount(target, UnmountFlags::DETACH);
                return Err(failed(errno));
            }
        }
        return Ok(());
    }
    let data = CString::new(own.join(",")).map_err(|_| failed(Errno::INVAL))?;
    let kind = mount.r#type.as_str();
    rustix::mount::mount(mount.source.as_str(), target, kind, flags, Some(data.as_c_str())).map_err(failed)
}

pub(crate) async fn unmount(call: &Call) -> Result<u8, Error> {
    let target = call.operand(0);
    if target.is_empty() {
        return Err(Error::Usage("please provide a target path to unmount from".into()));
    }
    loop {
        match rustix::mount::unmount(target, UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            // Nothing is mounted there any more.
            Err(Errno::INVAL) => break,
            Err(errno) => {
                return Err(Error::File { what: format!("unmount {target}"), source: errno.into() });
            }
        }
    }
    if call.is("rm") {
        let client = Client::connect(call).await?;
        let snapshotter = client.snapshotter(call).await;
        snapshots::discard(&client, &snapshotter, target).await?;
        match client.leases().delete(DeleteRequest { id: target.to_owned(), sync: false }).await {
            Err(status) if status.code() != tonic::Code::NotFound => return Err(status.into()),
            _ => {}
        }
    }
    output::line(target).map(|()| 0)
}

//! Listeners: Unix sockets that belong to their owner and are taken over only from the dead.

use std::fs;
use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::umask;
use tokio::net::{TcpListener, UnixListener};

use crate::config::Owner;
use crate::error::Error;

/// A group file is small; a larger one is not one.
const MAX_GROUP_FILE_BYTES: u64 = 10 << 20;

/// Listens at `path`, for root and for its owner, if it has another one.
///
/// # Errors
/// [`Error::SocketInUse`] when somebody answers there.
pub(crate) fn unix(path: &Path, owner: Option<Owner>) -> Result<UnixListener, Error> {
    let failed = |what| move |source| Error::File { what, path: path.to_owned(), source };
    if UnixStream::connect(path).is_ok() {
        return Err(Error::SocketInUse { path: path.to_owned() });
    }
    if let Some(folder) = path.parent() {
        let folder_made = DirBuilder::new().recursive(true).mode(0o711).create(folder);
        folder_made.map_err(failed("make the folder of"))?;
    }
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(failed("remove")(source)),
        _ => {}
    }
    // Without the mask the socket would be open to all between `bind` and `chmod`.
    let previous = umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path).map_err(failed("listen at"));
    umask(previous);
    let listener = listener?;
    if let Some(Owner { uid, gid }) = owner {
        chown(path, Some(uid), Some(gid)).map_err(failed("change the owner of"))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed("open to its group"))?;
    }
    Ok(listener)
}

/// Listens at an address of the network.
pub(crate) async fn tcp(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Address { address, source })
}

/// The group of that name as an owner beside root; none for no name.
pub(crate) fn group(name: &str) -> Result<Option<Owner>, Error> {
    if name.is_empty() { Ok(None) } else { Ok(Some(Owner { uid: 0, gid: group_id(name)? })) }
}

fn group_id(name: &str) -> Result<u32, Error> {
    let path = Path::new("/etc/group");
    let failed = |source| Error::File { what: "read", path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > MAX_GROUP_FILE_BYTES {
        return Err(failed(std::io::Error::from(std::io::ErrorKind::FileTooLarge)));
    }
    parse_group(&fs::read_to_string(path).map_err(failed)?, name)
        .ok_or_else(|| Error::NoSuchGroup(name.to_owned()))
}

/// The number of a group in the text of `group(5)`.
fn parse_group(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let text = "root:x:0:\ndocker-users:x:9:\ndocker:x:998:me\nbroken\n";
        assert_eq!(parse_group(text, "docker"), Some(998));
        assert_eq!(parse_group(text, "dock"), None);
        assert_eq!(parse_group(text, "broken"), None);
    }

    #[tokio::test]
    async fn a_socket_is_private_and_taken_over_only_from_the_dead() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = unix(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(unix(&path, None), Err(Error::SocketInUse { .. })));
        drop(listener);
        unix(&path, Some(Owner { uid: 0, gid: 5 })).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.permissions().mode() & 0o777, found.uid(), found.gid()), (0o660, 0, 5));
        assert!(matches!(group("no-such-group"), Err(Error::NoSuchGroup(_))));
    }
}

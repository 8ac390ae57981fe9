//! Whom a process runs as: `USER[:GROUP]` resolved in the container's own `/etc/passwd` and `/etc/group`.
//!
//! The files belong to the image, so they are hostile: opened in-root by descriptor, without waiting (a FIFO), only
//! if regular, only up to a size. A number is never looked up as a name and a name that looks like a number is never a
//! wrapped-around root (CVE-2024-40635, CVE-2026-46680).

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};

use api::code::Code;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};

/// The largest file that is read; a real one is a few kilobytes.
const MAX_FILE_BYTES: u64 = 10 << 20;

/// The largest id that Docker accepts.
const MAX_ID: u64 = i32::MAX as u64;

/// The kernel's own limit of supplementary groups (`NGROUPS_MAX`).
const MAX_GROUPS: usize = 65_536;

/// Numeric identity of a process, and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub additional_gids: Vec<u32>,
    /// Home directory; `/` when the user has no entry.
    pub home: String,
    /// Login name; empty when the user has no entry.
    pub name: String,
}

/// Why a user or group could not be resolved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("unable to find user {0}: no matching entries in passwd file")]
    UnknownUser(String),
    #[error("unable to find group {0}: no matching entries in group file")]
    UnknownGroup(String),
    #[error("uids and gids must be in range 0-2147483647: `{0}`")]
    OutOfRange(String),
    #[error("`{0}` has more than {MAX_GROUPS} groups")]
    TooManyGroups(String),
    #[error("{path} in the container is not a regular file")]
    NotRegular { path: &'static str },
    #[error("{path} in the container is larger than {MAX_FILE_BYTES} bytes")]
    TooLarge { path: &'static str },
    #[error("read {path} in the container")]
    Read { path: &'static str, source: std::io::Error },
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        match self {
            Error::Read { .. } => Code::Internal,
            _ => Code::InvalidArgument,
        }
    }
}

/// The result of resolving.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Resolves Docker's `--user` and `--group-add` in `rootfs`.
pub fn resolve(rootfs: BorrowedFd<'_>, user: &str, group_add: &[String]) -> Result<Identity> {
    let passwd = read(rootfs, "/etc/passwd")?;
    let group = read(rootfs, "/etc/group")?;
    resolve_in(&passwd, &group, user, group_add)
}

/// What a `user` or `group` word is.
enum Word<'a> {
    Id(u32),
    Name(&'a str),
}

impl Word<'_> {
    /// Digits are a number and must be in range; everything else is a name.
    fn parse(text: &str) -> Result<Word<'_>> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Word::Name(text));
        }
        match text.parse::<u64>() {
            Ok(id) if id <= MAX_ID => Ok(Word::Id(u32::try_from(id).expect("it is bounded above"))),
            _ => Err(Error::OutOfRange(text.to_owned())),
        }
    }
}

/// An entry of `passwd(5)`.
struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// An entry of `group(5)`.
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn resolve_in(passwd: &str, group: &str, user: &str, group_add: &[String]) -> Result<Identity> {
    let (user_text, group_text) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (user, None),
    };
    if user_text.is_empty() && group_text.is_some() {
        return Err(Error::UnknownUser(user.to_owned()));
    }
    let mut identity = match (user_text, Word::parse(user_text)?) {
        ("", _) => known(users(passwd).find(|entry| entry.uid == 0), 0),
        (_, Word::Id(uid)) => known(users(passwd).find(|entry| entry.uid == uid), uid),
        (_, Word::Name(name)) => {
            let entry = users(passwd).find(|entry| entry.name == name);
            let entry = entry.ok_or_else(|| Error::UnknownUser(name.to_owned()))?;
            let uid = entry.uid;
            known(Some(entry), uid)
        }
    };
    match group_text {
        Some(text) if !text.is_empty() => identity.gid = gid_of(group, text)?,
        // Docker takes `user:` for a mistake, too.
        Some(_) => return Err(Error::UnknownGroup(String::new())),
        None if !identity.name.is_empty() => {
            let name = identity.name.as_str();
            let joined = groups(group).filter(|entry| entry.members.split(',').any(|member| member == name));
            identity.additional_gids = joined.map(|entry| entry.gid).filter(|gid| *gid != identity.gid).collect();
        }
        None => {}
    }
    for text in group_add {
        identity.additional_gids.push(gid_of(group, text)?);
    }
    identity.additional_gids.sort_unstable();
    identity.additional_gids.dedup();
    if identity.additional_gids.len() > MAX_GROUPS {
        return Err(Error::TooManyGroups(user.to_owned()));
    }
    Ok(identity)
}

fn known(entry: Option<User<'_>>, uid: u32) -> Identity {
    let entry = entry.unwrap_or(User { name: "", uid, gid: 0, home: "/" });
    let home = if entry.home.starts_with('/') { entry.home } else { "/" };
    Identity {
        uid: entry.uid,
        gid: entry.gid,
        additional_gids: Vec::new(),
        home: home.to_owned(),
        name: entry.name.to_owned(),
    }
}

fn gid_of(group: &str, text: &str) -> Result<u32> {
    match Word::parse(text)? {
        Word::Id(gid) => Ok(gid),
        Word::Name(name) => {
            let entry = groups(group).find(|entry| entry.name == name);
            entry.map(|entry| entry.gid).ok_or_else(|| Error::UnknownGroup(name.to_owned()))
        }
    }
}

/// The entries that are whole; others are skipped, as everybody does.
fn users(text: &str) -> impl Iterator<Item = User<'_>> {
    text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields.as_slice() else { return None };
        Some(User { name, uid: id(uid)?, gid: id(gid)?, home }).filter(|entry| !entry.name.is_empty())
    })
}

fn groups(text: &str) -> impl Iterator<Item = Group<'_>> {
    text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, rest @ ..] = fields.as_slice() else { return None };
        let members = rest.first().copied().unwrap_or_default();
        Some(Group { name, gid: id(gid)?, members }).filter(|entry| !entry.name.is_empty())
    })
}

fn id(text: &str) -> Option<u32> {
    match Word::parse(text) {
        Ok(Word::Id(id)) => Some(id),
        _ => None,
    }
}

/// The text of a file in the root; a file that is not there is empty.
fn read(rootfs: BorrowedFd<'_>, path: &'static str) -> Result<String> {
    // Non-blocking, so that opening a FIFO does not wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = match openat2(rootfs, path, flags, Mode::empty(), resolve) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(String::new()),
        Err(error) => return Err(Error::Read { path, source: error.into() }),
    };
    let stat = fstat(file.as_fd()).map_err(|error| Error::Read { path, source: error.into() })?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::NotRegular { path });
    }
    let mut bytes = Vec::new();
    let mut limited = File::from(file).take(MAX_FILE_BYTES + 1);
    limited.read_to_end(&mut bytes).map_err(|source| Error::Read { path, source })?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Error::TooLarge { path });
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nwww:x:33:33::/var/www:/bin/sh\n5:x:77:77::/five:\n\
        4294967296:x:0:0::/evil:\nwrap:x:4294967296:0::/:\nrel:x:9:9::home:\n";
    const GROUP: &str = "root:x:0:\naudio:x:29:www,other\nvideo:x:44:www\nwww:x:33:www\nbroken:x\nbig:x:4294967295:www\n";

    fn ids(user: &str, add: &[&str]) -> Result<(u32, u32, Vec<u32>, String)> {
        let add: Vec<String> = add.iter().map(|group| (*group).to_owned()).collect();
        let identity = resolve_in(PASSWD, GROUP, user, &add)?;
        Ok((identity.uid, identity.gid, identity.additional_gids, identity.home))
    }

    #[test]
    fn users_and_groups_are_found_as_docker_finds_them() {
        let cases: [(&str, &[&str], (u32, u32, Vec<u32>, &str)); 10] = [
            ("", &[], (0, 0, vec![], "/root")),
            ("0", &[], (0, 0, vec![], "/root")),
            ("www", &[], (33, 33, vec![29, 44], "/var/www")),
            ("33", &[], (33, 33, vec![29, 44], "/var/www")),
            ("www:audio", &[], (33, 29, vec![], "/var/www")),
            ("1000", &[], (1000, 0, vec![], "/")),
            ("1000:1000", &["video", "7", "7"], (1000, 1000, vec![7, 44], "/")),
            ("www", &["audio", "0"], (33, 33, vec![0, 29, 44], "/var/www")),
            ("5", &[], (5, 0, vec![], "/")),
            ("rel", &[], (9, 9, vec![], "/")),
        ];
        for (user, add, (uid, gid, groups, home)) in cases {
            assert_eq!(ids(user, add).unwrap(), (uid, gid, groups, home.to_owned()), "{user:?}");
        }
    }

    #[test]
    fn nothing_strange_becomes_root() {
        for user in [
            "nobody", "-1", "0x0", " 0", "0 ", "+0", "1e3", "4294967296", "2147483648", "99999999999999999999", ":",
            ":0", "www:", "www:nogroup", "www:4294967296", "wrap", "root\n",
        ] {
            assert!(ids(user, &[]).is_err(), "{user:?}");
        }
        assert!(ids("www", &["nogroup"]).is_err());
        assert!(ids("www", &["4294967295"]).is_err());
    }

    #[test]
    fn hostile_files_are_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let etc = folder.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        let root = std::fs::File::open(folder.path()).unwrap();
        let resolved = || resolve(root.as_fd(), "root", &[]);
        assert!(matches!(resolved(), Err(Error::UnknownUser(_))), "no file is an empty file");
        let mode = Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(rustix::fs::CWD, etc.join("passwd"), FileType::Fifo, mode, 0).unwrap();
        assert!(matches!(resolved(), Err(Error::NotRegular { .. })));
        std::fs::remove_file(etc.join("passwd")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", etc.join("passwd")).unwrap();
        assert!(matches!(resolved(), Err(Error::UnknownUser(_))), "a link stays inside");
        std::fs::remove_file(etc.join("passwd")).unwrap();
        std::os::unix::fs::symlink("/proc/self/root/etc/passwd", etc.join("passwd")).unwrap();
        assert!(resolved().is_err());
        std::fs::remove_file(etc.join("passwd")).unwrap();
        let large = std::fs::File::create(etc.join("passwd")).unwrap();
        large.set_len(MAX_FILE_BYTES + 1).unwrap();
        assert!(matches!(resolved(), Err(Error::TooLarge { .. })));
    }
}

//! Whom a process runs as: Docker's `USER[:GROUP]`, resolved in the container's own `/etc/passwd` and `/etc/group`.
//!
//! Both files belong to the image or to the container, so they are hostile: they are opened by descriptor inside the
//! root (a link never leaves it), only if they are regular files, and read up to a bound. Lines that are not as
//! passwd(5) and group(5) say are skipped. Nothing that cannot be understood ever becomes user 0: a number is only
//! decimal digits, everything else is a name that must be found; what others read as a number (`0x0`, `1e3`, ` 0`) is no
//! name either, whatever the files say.
//!
//! What Docker does, and so do we:
//! * an empty user is user 0; a number is never looked up as a name, and need not have an entry;
//! * without a group: the group of the user's entry (0 without an entry) and all groups that list the user's name;
//! * with a group: that group only;
//! * the primary group is also the first supplementary one, so that giving it up does not gain anything
//!   (CVE-2022-36109).

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};

use api::code::Code;
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

/// Numeric identity of a process, and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups without repetitions; the first one is `gid`.
    pub additional_gids: Vec<u32>,
    /// Home directory; `/` when the user has no entry.
    pub home: String,
    /// Login name; empty when the user has no entry.
    pub name: String,
}

/// Why nobody can run as what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`{file}` of the image is not a regular file")]
    NotRegular { file: &'static str },
    #[error("user or group `{number}` is out of range, hint: the kernel takes 0 to {MAX_ID}")]
    OutOfRange { number: String },
    #[error("cannot read `{file}` of the image")]
    Read { file: &'static str, source: std::io::Error },
    #[error("`{file}` of the image is larger than {MAX_FILE_BYTES} bytes")]
    TooLarge { file: &'static str },
    #[error("unable to find group {group}: no matching entries in group file")]
    UnknownGroup { group: String },
    #[error("unable to find user {user}: no matching entries in passwd file")]
    UnknownUser { user: String },
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        match self {
            Error::Read { .. } => Code::Internal,
            Error::NotRegular { .. } | Error::TooLarge { .. } => Code::FailedPrecondition,
            Error::OutOfRange { .. } | Error::UnknownGroup { .. } | Error::UnknownUser { .. } => {
                Code::InvalidArgument
            }
        }
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Docker's bound; the kernel keeps the upper half for "no change" and for overflow.
const MAX_ID: u32 = i32::MAX as u32;

/// Large directories have been exported into these files; what is larger is an attack.
const MAX_FILE_BYTES: u64 = 10 * 1024 * 1024;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// Resolves Docker's `--user` and `--group-add` in `rootfs`.
pub fn resolve(rootfs: BorrowedFd<'_>, user: &str, group_add: &[String]) -> Result<Identity> {
    let passwd = read(rootfs, PASSWD)?;
    let group = read(rootfs, GROUP)?;
    resolve_in(&passwd, &group, user, group_add)
}

fn resolve_in(passwd: &str, group: &str, user: &str, group_add: &[String]) -> Result<Identity> {
    let (user, primary) = user.split_once(':').unwrap_or((user, ""));
    let account = find_account(passwd, user)?;
    let mut gids = Vec::new();
    if primary.is_empty() {
        gids.push(account.gid);
        let is_member = |entry: &Group<'_>| entry.members.split(',').any(|member| member == account.name);
        if !account.name.is_empty() {
            gids.extend(groups(group).filter(is_member).map(|entry| entry.gid));
        }
    } else {
        gids.push(find_group(group, primary)?);
    }
    for added in group_add {
        gids.push(find_group(group, added)?);
    }
    let mut additional_gids: Vec<u32> = Vec::with_capacity(gids.len());
    for &gid in &gids {
        if !additional_gids.contains(&gid) {
            additional_gids.push(gid);
        }
    }
    Ok(Identity {
        uid: account.uid,
        gid: gids[0],
        additional_gids,
        home: if account.home.is_empty() { "/".to_owned() } else { account.home.to_owned() },
        name: account.name.to_owned(),
    })
}

fn find_account<'a>(passwd: &'a str, user: &str) -> Result<Account<'a>> {
    let wanted = if user.is_empty() { Some(0) } else { number(user)? };
    match wanted {
        Some(uid) => Ok(accounts(passwd).find(|account| account.uid == uid).unwrap_or(Account {
            name: "",
            uid,
            gid: 0,
            home: "",
        })),
        None => accounts(passwd)
            .find(|account| account.name == user && !reads_as_number(user))
            .ok_or_else(|| Error::UnknownUser { user: user.to_owned() }),
    }
}

fn find_group(group: &str, wanted: &str) -> Result<u32> {
    match number(wanted)? {
        Some(gid) => Ok(gid),
        None => groups(group)
            .find(|entry| entry.name == wanted && !reads_as_number(wanted))
            .map(|entry| entry.gid)
            .ok_or_else(|| Error::UnknownGroup { group: wanted.to_owned() }),
    }
}

/// The number that a user or group was given as; None when it is a name.
fn number(text: &str) -> Result<Option<u32>> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    // A sign makes it a number, and one that is out of range: `-0` included, because nobody means user 0 by it.
    id(text).map(Some).ok_or_else(|| Error::OutOfRange { number: text.to_owned() })
}

/// Whether somebody who checks users before us may take it for a number, which it is not.
fn reads_as_number(text: &str) -> bool {
    let number = text.trim().trim_start_matches(['+', '-']);
    let digits = ["0x", "0X", "0o", "0O", "0b", "0B"].iter().find_map(|base| number.strip_prefix(base));
    let is_hexadecimal = digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_hexadecimal
        || (number.starts_with(|first: char| first.is_ascii_digit()) && number.parse::<f64>().is_ok())
}

fn id(text: &str) -> Option<u32> {
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&id| is_decimal && id <= MAX_ID)
}

/// A line of passwd(5).
struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let (_password, uid, gid) = (fields.next()?, id(fields.next()?)?, id(fields.next()?)?);
        let (_comment, home) = (fields.next(), fields.next().unwrap_or_default());
        Some(Account { name, uid, gid, home })
    })
}

/// A line of group(5).
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let (_password, gid) = (fields.next()?, id(fields.next()?)?);
        Some(Group { name, gid, members: fields.next().unwrap_or_default() })
    })
}

/// Reads a file of the image; one that does not exist is empty.
fn read(rootfs: BorrowedFd<'_>, file: &'static str) -> Result<String> {
    let failed = |errno: Errno| Error::Read { file, source: errno.into() };
    let path = std::ffi::CString::new(file).expect("a constant without NUL");
    // Opening a device or a FIFO can have effects or wait for ever, so what it is comes before opening it.
    let found = match linux::path::open_in_root(rootfs, &path, OFlags::PATH) {
        Ok(found) => found,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        Err(errno) => return Err(failed(errno)),
    };
    let status = rustix::fs::fstat(&found).map_err(failed)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(Error::NotRegular { file });
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = linux::path::reopen(found.as_fd(), flags).map_err(failed)?;
    let mut bytes = Vec::new();
    let mut limited = std::fs::File::from(opened).take(MAX_FILE_BYTES + 1);
    limited.read_to_end(&mut bytes).map_err(|source| Error::Read { file, source })?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Error::TooLarge { file });
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use rustix::fs::Mode;

    use super::*;

    const PASSWD_TEXT: &str = "root:x:0:0:root:/root:/bin/sh\n\
        short\n:x:0:0::/:\nevil:x::0:::\nevil2:x:+0:0:::\nevil3:x:0x0:0:::\nevil4:x: 0:0:::\nevil5:x:4294967296:0:::\n\
        redis:x:999:998:Redis:/var/lib/redis:/bin/false\nnohome:x:1000:1000\n1234:x:77:77::/numeric:\n\
        redis:x:5:5:second:/second:/bin/sh\n";
    const GROUP_TEXT: &str = "root:x:0:root\nredis:x:998:\nshort\naudio:x:29:redis,nohome\nvideo:x:44:nohome,redis\n\
        bad:x:+29:redis\nbig:x:4294967295:redis\nstaff:x:50:\n";

    fn resolved(user: &str, add: &[&str]) -> Result<Identity> {
        let add: Vec<String> = add.iter().map(|group| (*group).to_owned()).collect();
        resolve_in(PASSWD_TEXT, GROUP_TEXT, user, &add)
    }

    #[test]
    fn users_and_groups_are_found_by_name_and_by_number() {
        for (user, add, uid, gids, home, name) in [
            ("", &[][..], 0, &[0][..], "/root", "root"),
            ("root", &[], 0, &[0], "/root", "root"),
            ("redis", &[], 999, &[998, 29, 44], "/var/lib/redis", "redis"),
            ("999", &[], 999, &[998, 29, 44], "/var/lib/redis", "redis"),
            ("redis:staff", &[], 999, &[50], "/var/lib/redis", "redis"),
            ("redis:", &[], 999, &[998, 29, 44], "/var/lib/redis", "redis"),
            (":staff", &[], 0, &[50], "/root", "root"),
            ("nohome", &[], 1000, &[1000, 29, 44], "/", "nohome"),
            ("4242", &[], 4242, &[0], "/", ""),
            ("4242:4343", &[], 4242, &[4343], "/", ""),
            ("1234", &[], 1234, &[0], "/", ""),
            ("2147483647:2147483647", &[], MAX_ID, &[MAX_ID], "/", ""),
            ("redis", &["staff", "7", "audio", "7"], 999, &[998, 29, 44, 50, 7], "/var/lib/redis", "redis"),
            ("1:1", &["0"], 1, &[1, 0], "/", ""),
        ] {
            let identity = resolved(user, add).unwrap_or_else(|error| panic!("{user}: {error}"));
            let expected = Identity {
                uid,
                gid: gids[0],
                additional_gids: gids.to_vec(),
                home: home.to_owned(),
                name: name.to_owned(),
            };
            assert_eq!(identity, expected, "{user} {add:?}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_refused_and_never_user_0() {
        let unknown = "unable to find user {}: no matching entries in passwd file";
        let unknown_group = "unable to find group {}: no matching entries in group file";
        for (user, culprit, expected) in [
            ("foo", "foo", unknown),
            ("0x0", "0x0", unknown),
            ("+0", "+0", unknown),
            (" 0", " 0", unknown),
            ("0 ", "0 ", unknown),
            ("evil", "evil", unknown),
            ("evil2", "evil2", unknown),
            ("evil3", "evil3", unknown),
            ("evil4", "evil4", unknown),
            ("evil5", "evil5", unknown),
            ("-", "-", unknown),
            ("root:wheel", "wheel", unknown_group),
            ("root:bad", "bad", unknown_group),
            ("root:0:0", "0:0", unknown_group),
            ("root:+0", "+0", unknown_group),
            ("-1", "`-1`", "out of range"),
            ("-0", "`-0`", "out of range"),
            ("2147483648", "`2147483648`", "out of range"),
            ("4294967296", "`4294967296`", "out of range"),
            ("99999999999999999999999", "`99999999999999999999999`", "out of range"),
            ("root:-1", "`-1`", "out of range"),
            ("root:4294967296", "`4294967296`", "out of range"),
        ] {
            let error = resolved(user, &[]).expect_err(user).to_string();
            assert!(
                error.contains(&expected.replace("{}", culprit)) && error.contains(culprit),
                "{user}: {error}"
            );
        }
        assert!(resolved("root", &["nobody"]).unwrap_err().to_string().contains("group nobody"));
    }

    #[test]
    fn what_reads_as_a_number_is_nobody_s_name() {
        for user in [
            "2147483648",
            "4294967295",
            "4294967296",
            "-1",
            "-0",
            "0x0",
            "0X0",
            "0o0",
            "0b0",
            "0x",
            "+0",
            " 0",
            "0 ",
            "1e3",
            "1.5",
            "0.0",
            "99999999999999999999999",
        ] {
            let (passwd, group) = (format!("{user}:x:0:0::/root:\n"), format!("{user}:x:0:\n"));
            assert!(resolve_in(&passwd, &group, user, &[]).is_err(), "user {user:?}");
            assert!(resolve_in(&passwd, &group, &format!("7:{user}"), &[]).is_err(), "group {user:?}");
            assert!(resolve_in(&passwd, &group, "7", &[user.to_owned()]).is_err(), "added group {user:?}");
        }
        for name in ["3proxy", "e3", "inf", "nan", "x0", "a-1", "7days"] {
            let (passwd, group) = (format!("{name}:x:7:8::/:\n"), format!("{name}:x:9:\n"));
            let identity = resolve_in(&passwd, &group, &format!("{name}:{name}"), &[]).unwrap();
            assert_eq!((identity.uid, identity.gid), (7, 9), "{name}");
        }
    }

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Tree {
            let directory = tempfile::tempdir().unwrap();
            fs::create_dir(directory.path().join("etc")).unwrap();
            Tree(directory)
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.0.path().join(name)
        }

        fn resolve(&self, user: &str) -> Result<Identity> {
            resolve(fs::File::open(self.0.path()).unwrap().as_fd(), user, &[])
        }
    }

    #[test]
    fn without_files_numbers_work_and_names_do_not() {
        let tree = Tree::new();
        assert_eq!(tree.resolve("5:6").unwrap().additional_gids, [6]);
        assert_eq!(tree.resolve("").unwrap().home, "/");
        assert!(matches!(tree.resolve("root"), Err(Error::UnknownUser { .. })));
    }

    #[test]
    fn links_stay_inside_the_root() {
        let tree = Tree::new();
        symlink("/inside", tree.path("etc/passwd")).unwrap();
        symlink("../../../../../../etc/group", tree.path("etc/groups")).unwrap();
        fs::write(tree.path("inside"), "app:x:7:8::/app:\n").unwrap();
        assert_eq!(tree.resolve("app").unwrap().uid, 7);
        assert!(matches!(tree.resolve("root"), Err(Error::UnknownUser { .. })));
    }

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let tree = Tree::new();
        let passwd = tree.path("etc/passwd");
        symlink("/etc/passwd", &passwd).unwrap();
        assert!(matches!(tree.resolve("0"), Err(Error::Read { .. })), "a loop of links");
        fs::remove_file(&passwd).unwrap();

        rustix::fs::mknodat(rustix::fs::CWD, &passwd, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
        assert!(matches!(tree.resolve("0"), Err(Error::NotRegular { file: PASSWD })), "a FIFO");
        fs::remove_file(&passwd).unwrap();

        let zero = rustix::fs::makedev(1, 5);
        let mode = Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(rustix::fs::CWD, &passwd, FileType::CharacterDevice, mode, zero).unwrap();
        assert!(matches!(tree.resolve("0"), Err(Error::NotRegular { file: PASSWD })), "a device");
        fs::remove_file(&passwd).unwrap();

        fs::create_dir(&passwd).unwrap();
        assert!(matches!(tree.resolve("0"), Err(Error::NotRegular { file: PASSWD })), "a directory");
        fs::remove_dir(&passwd).unwrap();

        fs::File::create(&passwd).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
        assert!(matches!(tree.resolve("0"), Err(Error::TooLarge { file: PASSWD })));
    }

    #[test]
    fn bytes_that_are_no_text_spoil_only_their_line() {
        let tree = Tree::new();
        fs::write(tree.path("etc/passwd"), b"\xff\xfe:x:1:1\n\0\0\napp:x:7:8:\xff:/home/app:\n").unwrap();
        let identity = tree.resolve("app").unwrap();
        assert_eq!((identity.uid, identity.home.as_str()), (7, "/home/app"));
    }
}

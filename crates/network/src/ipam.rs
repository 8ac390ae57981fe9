//! Addresses: the files of CNI's host-local plugin.
//!
//! ```text
//! <directory>/<network>/lock                  flock(2): one at a time takes or gives back an address
//! <directory>/<network>/<address>             "<owner>\r\n<interface>": who has it
//! <directory>/<network>/last_reserved_ip.<n>  where the search goes on, for the n-th subnet
//! ```
//!
//! The layout is the plugin's, so that others which use the same directory never get an address of ours, and we none of theirs.
//! Addresses go round, so that one that was given back is not taken again at once. Taking one costs the same however many
//! are taken: the next file that can be made is the address. As the files may be removed under our feet, the caller says
//! which addresses it knows to be in use.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::conflist::{Subnet, next};
use crate::error::{Error, Result};

/// A file that says who has an address is two short lines.
const OWNER_MAX_BYTES: u64 = 4096;
/// Addresses that are tried before a range counts as full: a whole IPv4 /12.
const ATTEMPTS_MAX: u32 = 1 << 20;

/// The addresses of all networks.
#[derive(Debug, Clone)]
pub struct Ipam {
    directory: PathBuf,
}

/// Who has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'a> {
    pub id: &'a str,
    pub interface: &'a str,
}

/// Where an address is taken: the subnet with that number in its network.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub network: &'a str,
    pub index: usize,
    pub subnet: &'a Subnet,
}

impl Ipam {
    /// The addresses kept below `directory`; it is made when the first one is taken.
    pub fn new(directory: PathBuf) -> Ipam {
        Ipam { directory }
    }

    /// Takes an address of a subnet: the wanted one, or the next that is free.
    ///
    /// # Errors
    /// [`Error::AddressTaken`] with its owner, [`Error::NoAddress`], [`Error::OutsideSubnet`].
    pub fn take(
        &self,
        Place { network, index, subnet }: Place<'_>,
        owner: Owner<'_>,
        wanted: Option<IpAddr>,
        is_in_use: &dyn Fn(IpAddr) -> bool,
    ) -> Result<IpAddr> {
        let directory = self.open(network)?;
        let _lock = lock(&directory)?;
        if let Some(address) = wanted {
            return take_wanted(&directory, subnet, owner, address, is_in_use);
        }
        let last = directory.join(format!("last_reserved_ip.{index}"));
        let (first, end) = subnet.bounds();
        let begin = read_address(&last).filter(|last| (first..=end).contains(last));
        let mut candidate = begin.map_or(first, |last| if last == end { first } else { next(last) });
        for _ in 0..ATTEMPTS_MAX {
            if candidate != subnet.gateway && !is_in_use(candidate) && make(&directory, candidate, owner)? {
                write(&last, &candidate.to_string())?;
                return Ok(candidate);
            }
            if Some(candidate) == begin || (begin.is_none() && candidate == end) {
                break;
            }
            candidate = if candidate == end { first } else { next(candidate) };
        }
        Err(Error::NoAddress { network: network.to_owned(), first, last: end })
    }

    /// Gives addresses back. One that is gone, or belongs to somebody else by now, is left alone.
    pub fn give_back(&self, network: &str, addresses: &[IpAddr], owner: &str) -> Result<()> {
        let directory = self.directory.join(network);
        if addresses.is_empty() || !directory.exists() {
            return Ok(());
        }
        let _lock = lock(&directory)?;
        for address in addresses {
            let path = directory.join(address.to_string());
            if read_owner(&path).is_some_and(|found| found == owner) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Gives back every address of owners that begin with `prefix` and are not to be kept; returns which.
    pub fn sweep(&self, prefix: &str, is_kept: &dyn Fn(&str) -> bool) -> Result<Vec<IpAddr>> {
        let mut swept = Vec::new();
        for directory in subdirectories(&self.directory)? {
            let _lock = lock(&directory)?;
            for entry in list(&directory)? {
                let address = entry.file_name().and_then(|name| name.to_str()?.parse::<IpAddr>().ok());
                let owner = address.and_then(|_| read_owner(&entry));
                // Whoever makes a file holds the lock until it has an owner: one without was left by somebody who was killed.
                let is_lost = |owner: &str| owner.is_empty() || owner.starts_with(prefix) && !is_kept(owner);
                if let (Some(address), Some(owner)) = (address, owner)
                    && is_lost(&owner)
                {
                    remove(&entry)?;
                    swept.push(address);
                }
            }
        }
        Ok(swept)
    }

    /// Removes what is kept of a network that is gone. Addresses of others stay, and with them the directory.
    pub fn forget(&self, network: &str) -> Result<()> {
        let directory = self.directory.join(network);
        let entries = list(&directory)?;
        let is_address = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()?.parse::<IpAddr>().ok()).is_some()
        };
        if !directory.exists() || entries.iter().any(is_address) {
            return Ok(());
        }
        fs::remove_dir_all(&directory).map_err(|source| failed("remove", &directory, source))
    }

    fn open(&self, network: &str) -> Result<PathBuf> {
        let directory = self.directory.join(network);
        let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(&directory);
        made.map_err(|source| failed("make", &directory, source))?;
        Ok(directory)
    }
}

fn take_wanted(
    directory: &Path,
    subnet: &Subnet,
    owner: Owner<'_>,
    address: IpAddr,
    is_in_use: &dyn Fn(IpAddr) -> bool,
) -> Result<IpAddr> {
    let is_free_kind = subnet.subnet.contains(&address)
        && address != subnet.subnet.network()
        && (address.is_ipv6() || address != subnet.subnet.broadcast());
    if !is_free_kind {
        return Err(Error::OutsideSubnet { address, subnet: subnet.subnet });
    }
    let taken = |owner: Option<String>| Error::AddressTaken { address, owner: owner.unwrap_or_default() };
    if address == subnet.gateway || is_in_use(address) {
        return Err(taken(None));
    }
    match make(directory, address, owner)? {
        true => Ok(address),
        false => Err(taken(read_owner(&directory.join(address.to_string())))),
    }
}

/// Makes the file of an address. Ok(false): it is there already.
fn make(directory: &Path, address: IpAddr, owner: Owner<'_>) -> Result<bool> {
    let path = directory.join(address.to_string());
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(source) => return Err(failed("make", &path, source)),
    };
    // host-local's own line break.
    let written = file.write_all(format!("{}\r\n{}", owner.id, owner.interface).as_bytes());
    written.map(|()| true).map_err(|source| {
        // Without an owner nobody would ever give it back.
        drop(fs::remove_file(&path));
        failed("write", &path, source)
    })
}

fn lock(directory: &Path) -> Result<File> {
    let path = directory.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.map_err(|source| failed("open", &path, source))?;
    flock(&file, FlockOperation::LockExclusive).map_err(|errno| failed("lock", &path, errno.into()))?;
    Ok(file)
}

/// The first line of an address's file: the owner's id.
fn read_owner(path: &Path) -> Option<String> {
    let text = read(path)?;
    Some(text.lines().next().unwrap_or_default().trim().to_owned())
}

fn read_address(path: &Path) -> Option<IpAddr> {
    read(path)?.trim().parse().ok()
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(OWNER_MAX_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|source| failed("write", path, source))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, source)),
        _ => Ok(()),
    }
}

fn subdirectories(directory: &Path) -> Result<Vec<PathBuf>> {
    Ok(list(directory)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// What is in a directory; nothing, if it is not there.
fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|source| failed("list", directory, source))?,
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    paths.map_err(|source| failed("list", directory, source))
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const NOBODY: &dyn Fn(IpAddr) -> bool = &|_| false;

    fn subnet(text: &str) -> Subnet {
        Subnet::new(text.parse().unwrap(), None, None).unwrap()
    }

    fn owner(id: &str) -> Owner<'_> {
        Owner { id, interface: "eth0" }
    }

    #[test]
    fn the_files_are_those_of_host_local() {
        let directory = tempfile::tempdir().unwrap();
        let ipam = Ipam::new(directory.path().join("networks"));
        let subnet = subnet("10.0.0.0/24");
        let address = ipam
            .take(Place { network: "net", index: 0, subnet: &subnet }, owner("corten-1"), None, NOBODY)
            .unwrap();
        // The first one is the gateway's.
        assert_eq!(address.to_string(), "10.0.0.2");
        let read = |name: &str| fs::read_to_string(directory.path().join("networks/net").join(name)).unwrap();
        assert_eq!(
            (read("10.0.0.2"), read("last_reserved_ip.0")),
            ("corten-1\r\neth0".into(), "10.0.0.2".into())
        );
    }

    #[test]
    fn addresses_go_round_and_end() {
        let directory = tempfile::tempdir().unwrap();
        let ipam = Ipam::new(directory.path().into());
        let subnet = subnet("10.0.0.0/29");
        let take = |id: &str| {
            ipam.take(Place { network: "net", index: 0, subnet: &subnet }, owner(id), None, NOBODY)
        };
        let taken: Vec<String> = (0..5).map(|n| take(&n.to_string()).unwrap().to_string()).collect();
        assert_eq!(taken, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
        assert!(matches!(take("x"), Err(Error::NoAddress { .. })));
        let given = |text: &str| [text.parse::<IpAddr>().unwrap()];
        ipam.give_back("net", &given("10.0.0.4"), "somebody else").unwrap();
        assert!(take("x").is_err(), "only its owner gives an address back");
        ipam.give_back("net", &given("10.0.0.4"), "2").unwrap();
        ipam.give_back("net", &given("10.0.0.3"), "1").unwrap();
        assert_eq!(take("x").unwrap().to_string(), "10.0.0.3");
        ipam.give_back("net", &given("10.0.0.3"), "x").unwrap();
        // The one that was given back last comes last.
        assert_eq!(take("y").unwrap().to_string(), "10.0.0.4");
    }

    #[test]
    fn an_address_in_use_is_not_taken_though_its_file_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let ipam = Ipam::new(directory.path().into());
        let subnet = subnet("10.0.0.0/24");
        let used = "10.0.0.2".parse().unwrap();
        let take = |wanted| {
            ipam.take(Place { network: "net", index: 0, subnet: &subnet }, owner("1"), wanted, &|address| {
                address == used
            })
        };
        assert_eq!(take(None).unwrap().to_string(), "10.0.0.3");
        assert!(matches!(take(Some(used)), Err(Error::AddressTaken { .. })));
    }

    #[test]
    fn a_wanted_address_is_taken_or_its_owner_named() {
        let directory = tempfile::tempdir().unwrap();
        let ipam = Ipam::new(directory.path().into());
        let subnet = subnet("10.0.0.0/24");
        let take = |id: &str, address: &str| {
            ipam.take(
                Place { network: "net", index: 0, subnet: &subnet },
                owner(id),
                Some(address.parse().unwrap()),
                NOBODY,
            )
        };
        assert_eq!(take("1", "10.0.0.9").unwrap().to_string(), "10.0.0.9");
        assert!(matches!(take("2", "10.0.0.9"), Err(Error::AddressTaken { owner, .. }) if owner == "1"));
        assert!(matches!(take("2", "10.0.0.1"), Err(Error::AddressTaken { .. })), "the gateway's");
        for outside in ["10.0.1.1", "10.0.0.0", "10.0.0.255"] {
            assert!(matches!(take("2", outside), Err(Error::OutsideSubnet { .. })), "{outside}");
        }
    }

    #[test]
    fn many_at_once_get_different_ones() {
        let directory = tempfile::tempdir().unwrap();
        let ipam = Ipam::new(directory.path().into());
        let subnet = subnet("10.0.0.0/24");
        let take = |taker: i32, n: i32| {
            let id = format!("{taker}-{n}");
            ipam.take(Place { network: "net", index: 0, subnet: &subnet }, owner(&id), None, NOBODY).unwrap()
        };
        let taken: Vec<IpAddr> = std::thread::scope(|scope| {
            let take = |taker| scope.spawn(move || (0..20).map(|n| take(taker, n)).collect::<Vec<_>>());
            let takers: Vec<_> = (0..8).map(take).collect();
            takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect()
        });
        assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), 160);
    }

    #[test]
    fn a_sweep_takes_only_ours_that_are_gone() {
        let directory = tempfile::tempdir().unwrap();
        let ipam = Ipam::new(directory.path().into());
        let subnet = subnet("fd00::/64");
        let take = |id: &str| {
            ipam.take(Place { network: "net", index: 1, subnet: &subnet }, owner(id), None, NOBODY).unwrap()
        };
        let (gone, _kept, _foreign) = (take("corten-gone"), take("corten-kept"), take("cnitool-1"));
        assert_eq!(ipam.sweep("corten-", &|id| id == "corten-kept").unwrap(), [gone]);
        ipam.forget("net").unwrap();
        assert!(directory.path().join("net").exists(), "somebody has an address");
        assert_eq!(ipam.sweep("c", &|_| false).unwrap().len(), 2);
        ipam.forget("net").unwrap();
        assert!(!directory.path().join("net").exists());
    }

    #[test]
    fn a_sweep_takes_what_a_killed_writer_left_without_an_owner() {
        let directory = tempfile::tempdir().unwrap();
        let ipam = Ipam::new(directory.path().into());
        let subnet = subnet("10.9.0.0/24");
        ipam.take(Place { network: "net", index: 0, subnet: &subnet }, owner("a"), None, NOBODY).unwrap();
        File::create(directory.path().join("net/10.9.0.9")).unwrap();
        assert_eq!(ipam.sweep("corten-", &|_| true).unwrap(), ["10.9.0.9".parse::<IpAddr>().unwrap()]);
    }
}

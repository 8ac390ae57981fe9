//! `tag`: gives an image another name.

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands};

pub(crate) const COMMAND: Command = Command {
    synopsis: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    about: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    operands: Operands::exactly(2),
    flags: Vec::new,
    refused: &[],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let (repository, tag) = split_tag(given.operands()[1])?;
    let path = Path::of("images", given.operand(), "/tag").query("repo", repository).query("tag", tag);
    cli.with_client(async |client| client.post(path).await).map(|()| 0)
}

/// The repository and the tag of a name; the colon of a registry's port is none.
pub(crate) fn split_tag(name: &str) -> Result<(&str, &str), Error> {
    if name.contains('@') {
        return Err(Error::Value("refusing to create a tag with a digest reference".into()));
    }
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    Ok(match name[start..].find(':') {
        Some(colon) => (&name[..start + colon], &name[start + colon + 1..]),
        None => (name, ""),
    })
}

#[cfg(test)]
mod tests {
    use super::split_tag;

    #[test]
    fn a_tag_follows_the_last_slash() {
        let cases = [
            ("a", ("a", "")),
            ("a:1", ("a", "1")),
            ("host:5000/a", ("host:5000/a", "")),
            ("host:5000/a:1", ("host:5000/a", "1")),
        ];
        for (name, expected) in cases {
            assert_eq!(split_tag(name).unwrap(), expected);
        }
        assert!(split_tag("a@sha256:0").is_err());
    }
}

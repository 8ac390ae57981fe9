//! `rm`: removes containers.

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::each::each;
use crate::flags::{Given, Operands, switch};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Remove one or more containers",
    operands: Operands::at_least(1),
    flags: || {
        vec![
            switch("force", "Force the removal of a running container (uses SIGKILL)").short('f'),
            switch("volumes", "Remove anonymous volumes associated with the container").short('v'),
        ]
    },
    refused: &[("link", Some('l'))],
    run: |cli: &Cli, given: &Given| {
        let flag = |name| given.switch(name).then_some("1");
        each(cli, given, async |client, name| {
            let path = Path::of("containers", name, "")
                .query_if("force", flag("force"))
                .query_if("v", flag("volumes"));
            match client.delete(path).await {
                // With --force it is enough that there is none.
                Err(error) if error.is_not_found() && given.switch("force") => {
                    cli.complain(&error);
                    Ok(String::new())
                }
                result => result.map(|_| name.to_owned()),
            }
        })
    },
};

//! `system prune`: removes what nothing uses, of every kind.

use crate::command::{Cli, Command, confirm};
use crate::error::Error;
use crate::filters::{self, Filters};
use crate::flags::{Given, Operands, switch};
use crate::prune::{self, Pruned};
use crate::{output, size};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Remove unused data",
    operands: Operands::NONE,
    flags: || {
        vec![
            switch("all", "Remove all unused images not just dangling ones").short('a'),
            filters::flag("Provide filter values (e.g. \"label=<key>=<value>\")"),
            switch("force", "Do not prompt for confirmation").short('f'),
            switch("volumes", "Prune anonymous volumes"),
        ]
    },
    refused: &[],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let filters = Filters::read(given)?;
    let (all, with_volumes) = (given.switch("all"), given.switch("volumes"));
    if with_volumes && filters.has("until") {
        return Err(Error::Value("the \"until\" filter is not supported with \"--volumes\"".into()));
    }
    if !given.switch("force") && !confirm(&warning(all, with_volumes, &filters))? {
        return Ok(1);
    }
    let pruned = cli.with_client(async |client| {
        let mut pruned =
            vec![prune::containers(client, &filters).await?, prune::networks(client, &filters).await?];
        if with_volumes {
            pruned.push(prune::volumes(client, &filters).await?);
        }
        pruned.push(prune::images(client, &filters, all).await?);
        Ok(pruned)
    })?;
    output::print(&report(&pruned)).map(|()| 0)
}

fn warning(all: bool, with_volumes: bool, filters: &Filters) -> String {
    let mut text = "WARNING! This will remove:\n  - all stopped containers\n\
        \x20 - all networks not used by at least one container\n"
        .to_owned();
    if with_volumes {
        text += "  - all anonymous volumes not used by at least one container\n";
    }
    text += match all {
        true => "  - all images without at least one container associated to them\n",
        false => "  - all dangling images\n",
    };
    let filters: Vec<String> = filters.texts().map(|filter| format!("  - {filter}\n")).collect();
    if !filters.is_empty() {
        text += &format!("\n  Items to be pruned will be filtered with:\n{}", filters.concat());
    }
    text
}

fn report(pruned: &[Pruned]) -> String {
    let texts = pruned.iter().filter(|pruned| !pruned.text.is_empty());
    let mut text: String = texts.map(|pruned| format!("{}\n", pruned.text)).collect();
    let bytes = pruned.iter().map(|pruned| pruned.reclaimed_bytes).sum();
    text += &format!("Total reclaimed space: {}\n", size::precise(bytes));
    text
}

#[cfg(test)]
mod tests {
    use super::{report, warning};
    use crate::filters::Filters;
    use crate::prune::Pruned;

    #[test]
    fn the_warning_names_what_goes() {
        let mut filters = Filters::default();
        assert_eq!(
            warning(false, false, &filters),
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n  - all dangling images\n"
        );
        filters.add("label", "a=b");
        let text = warning(true, true, &filters);
        assert!(text.contains("all anonymous volumes") && text.contains("all images without"), "{text}");
        assert!(text.ends_with("\n\n  Items to be pruned will be filtered with:\n  - label=a=b\n"), "{text}");
    }

    #[test]
    fn kinds_without_a_loss_are_not_named() {
        let some = Pruned { text: "Deleted Networks:\nx\n".into(), reclaimed_bytes: 1000 };
        assert_eq!(
            report(&[Pruned::default(), some]),
            "Deleted Networks:\nx\n\nTotal reclaimed space: 1kB\n"
        );
    }
}

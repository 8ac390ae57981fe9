//! Commands that do the same to every operand.

use futures_util::StreamExt;
use futures_util::stream::iter;

use crate::client::Client;
use crate::command::Cli;
use crate::error::Error;
use crate::flags::Given;
use crate::output;

/// As many as Docker's own client does at once.
const AT_ONCE: usize = 50;

/// Does `work` to every operand, many at once, and prints what comes of it in their order. A failure does not keep the
/// others from it; it is told, and the exit code is 1.
pub(crate) fn each(
    cli: &Cli,
    given: &Given,
    work: impl AsyncFn(&Client, &str) -> Result<String, Error>,
) -> Result<u8, Error> {
    cli.with_client(async |client| {
        let operands = given.operands();
        let mut results = iter(&operands).map(|name| work(client, name)).buffered(AT_ONCE);
        let mut code = 0;
        while let Some(result) = results.next().await {
            match result {
                Ok(text) if text.is_empty() => {}
                Ok(text) => output::print_line(&text)?,
                Err(error) => {
                    cli.complain(&error);
                    code = 1;
                }
            }
        }
        Ok(code)
    })
}

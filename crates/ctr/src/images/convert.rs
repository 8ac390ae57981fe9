//! `ctr images convert`: another form of an image, under a name of its own.

use crate::client::Client;
use crate::error::Error;
use crate::grammar::Call;
use crate::local::convert::Conversion;
use crate::{local, output, registry};

pub(crate) async fn convert(call: &Call) -> Result<u8, Error> {
    let (source, target) = (call.operand(0), call.operand(1));
    if source.is_empty() || target.is_empty() {
        return Err(Error::Usage("src and target image need to be specified".into()));
    }
    let platforms = registry::platforms(call)?;
    let client = Client::connect(call).await?;
    let digest = local::leased(&client, async |client| {
        let conversion =
            Conversion { client, platforms, uncompresses: call.is("uncompress"), renames: call.is("oci") };
        conversion.run(source, target).await
    });
    output::line(&digest.await?).map(|()| 0)
}

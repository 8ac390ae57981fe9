//! `ctr leases`.

use grpc::leases::{CreateRequest, DeleteRequest, ListRequest};

use crate::client::Client;
use crate::error::Error;
use crate::grammar::Call;
use crate::{labels, output, table, text};

pub(crate) async fn list(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let leases =
        client.leases().list(ListRequest { filters: call.operands.clone() }).await?.into_inner().leases;
    if call.is("quiet") {
        let ids: String = leases.iter().map(|lease| format!("{}\n", lease.id)).collect();
        return output::text(&ids).map(|()| 0);
    }
    let mut lines = "ID\tCREATED AT\tLABELS\t\n".to_owned();
    for lease in &leases {
        let created = text::rfc3339_seconds(lease.created_at.as_ref());
        lines.push_str(&format!("{}\t{created}\t{}\t\n", lease.id, labels::column(&lease.labels)));
    }
    output::text(&table::layout(table::NARROW, &lines)).map(|()| 0)
}

pub(crate) async fn create(call: &Call) -> Result<u8, Error> {
    const EXPIRE: &str = "containerd.io/gc.expire";
    let client = Client::connect(call).await?;
    let mut labels = labels::parse(&call.operands, "true");
    let expires = call.duration("expires").unwrap_or_default();
    if !expires.is_zero() {
        let end = jiff::Timestamp::now()
            .checked_add(expires)
            .map_err(|_| Error::Usage(format!("expires: {} is too long", call.text("expires"))))?;
        labels.entry(EXPIRE.to_owned()).or_insert_with(|| text::seconds(end));
    }
    let id = match call.text("id") {
        "" => generated(),
        given => given.to_owned(),
    };
    let lease =
        client.leases().create(CreateRequest { id, labels }).await?.into_inner().lease.unwrap_or_default();
    output::line(&lease.id).map(|()| 0)
}

/// An id of the clock and of chance, so that two leases made at once are two.
pub(crate) fn generated() -> String {
    let mut chance = [0; 3];
    // Without chance the clock is still there.
    let _ = rustix::rand::getrandom(&mut chance, rustix::rand::GetRandomFlags::empty());
    let [a, b, c] = chance;
    format!("{}-{a:02x}{b:02x}{c:02x}", jiff::Timestamp::now().as_nanosecond())
}

pub(crate) async fn delete(call: &Call) -> Result<u8, Error> {
    if call.operands.is_empty() {
        return Err(Error::Usage("must specify at least one lease to delete".into()));
    }
    let client = Client::connect(call).await?;
    for (index, id) in call.operands.iter().enumerate() {
        // Waiting for the collection once, at the end, is enough.
        let sync = call.is("sync") && index + 1 == call.operands.len();
        client.leases().delete(DeleteRequest { id: id.clone(), sync }).await?;
        output::line(id)?;
    }
    Ok(0)
}

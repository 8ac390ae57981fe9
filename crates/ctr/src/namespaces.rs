//! `ctr namespaces`.

use grpc::namespaces::{
    CreateNamespaceRequest, DeleteNamespaceRequest, ListNamespacesRequest, Namespace, UpdateNamespaceRequest,
};
use prost_types::FieldMask;

use crate::client::Client;
use crate::error::Error;
use crate::grammar::Call;
use crate::{labels, output, table};

pub(crate) async fn create(call: &Call) -> Result<u8, Error> {
    if call.operands.is_empty() {
        return Err(Error::Usage("please specify a namespace".into()));
    }
    let client = Client::connect(call).await?;
    let namespace =
        Namespace { name: call.operand(0).into(), labels: labels::parse(&call.operands[1..], "true") };
    client.namespaces().create(CreateNamespaceRequest { namespace: Some(namespace) }).await?;
    Ok(0)
}

pub(crate) async fn label(call: &Call) -> Result<u8, Error> {
    if call.operands.is_empty() {
        return Err(Error::Usage("please specify a namespace".into()));
    }
    let client = Client::connect(call).await?;
    let labels = labels::parse(&call.operands[1..], "true");
    // Labels are set one after the other, as ctr does: a wrong one stops at itself.
    for (key, value) in labels {
        let update_mask = Some(FieldMask { paths: vec![format!("labels.{key}")] });
        let namespace = Namespace { name: call.operand(0).into(), labels: [(key, value)].into() };
        client
            .namespaces()
            .update(UpdateNamespaceRequest { namespace: Some(namespace), update_mask })
            .await?;
    }
    Ok(0)
}

pub(crate) async fn list(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let response = client.namespaces().list(ListNamespacesRequest::default()).await?;
    let mut namespaces = response.into_inner().namespaces;
    namespaces.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    if call.is("quiet") {
        let names: String = namespaces.iter().map(|namespace| format!("{}\n", namespace.name)).collect();
        return output::text(&names).map(|()| 0);
    }
    let mut text = "NAME\tLABELS\t\n".to_owned();
    for namespace in &namespaces {
        text.push_str(&format!("{}\t{}\t\n", namespace.name, labels::joined(&namespace.labels)));
    }
    output::text(&table::layout(table::NARROW, &text)).map(|()| 0)
}

pub(crate) async fn remove(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let mut failure = None;
    for name in &call.operands {
        match client.namespaces().delete(DeleteNamespaceRequest { name: name.clone() }).await {
            Ok(_) => output::line(name)?,
            // What is not there needs no removal, and is named as if it had been there.
            Err(status) if status.code() == tonic::Code::NotFound => output::line(name)?,
            Err(status) => {
                let error = Error::from(status).while_doing(format!("unable to delete {name}"));
                output::warn("error", &error.to_string());
                failure.get_or_insert(error);
            }
        }
    }
    failure.map_or(Ok(0), Err)
}

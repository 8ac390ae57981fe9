//! `containerd.services.events.v1`

use std::borrow::Cow;
use std::pin::Pin;

use api::types;
use engine::exchange::{Envelope, Subscription};
use futures_util::{Stream, stream};
use grpc::events::{ForwardRequest, PublishRequest, SubscribeRequest, events_server};
use tonic::{Request, Response, Status};

use crate::door::Door;
use crate::filter::{Adaptor, Filter};
use crate::{request, status, time};

/// Publishes and tells what happens.
#[derive(Debug)]
pub(crate) struct Events(pub(crate) Door);

#[tonic::async_trait]
impl events_server::Events for Events {
    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<()>, Status> {
        let namespace = request::namespace(&request).map_err(|error| {
            Status::new(error.code(), format!("failed publishing event: {}", error.message()))
        })?;
        let PublishRequest { topic, event } = request.into_inner();
        let envelope =
            Envelope { timestamp_ns: time::now_ns(), namespace, topic, event: event.unwrap_or_default() };
        self.0.exchange().forward(envelope).map_err(|error| status::of_engine(&error))?;
        Ok(Response::new(()))
    }

    async fn forward(&self, request: Request<ForwardRequest>) -> Result<Response<()>, Status> {
        forward(&self.0, request.into_inner().envelope)?;
        Ok(Response::new(()))
    }

    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<types::Envelope, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let filter = request::filter(&request.get_ref().filters)?;
        let subscription = self.0.exchange().subscribe();
        let events = stream::unfold((subscription, filter), |(mut subscription, filter)| async {
            let event = next(&mut subscription, &filter).await?;
            Some((Ok(event), (subscription, filter)))
        });
        Ok(Response::new(Box::pin(events)))
    }
}

/// Passes on what somebody else says, with his own time and namespace.
pub(crate) fn forward(door: &Door, envelope: Option<types::Envelope>) -> Result<(), Status> {
    let types::Envelope { timestamp, namespace, topic, event } = envelope.unwrap_or_default();
    request::check_identifier(&namespace)?;
    let timestamp_ns = timestamp.as_ref().map_or_else(time::now_ns, time::of_timestamp);
    let envelope = Envelope { timestamp_ns, namespace, topic, event: event.unwrap_or_default() };
    door.exchange().forward(envelope).map_err(|error| status::of_engine(&error))
}

async fn next(subscription: &mut Subscription, filter: &Filter) -> Option<types::Envelope> {
    loop {
        let envelope = subscription.next().await?;
        if filter.matches(&Fields(&envelope)) {
            return Some(types::Envelope {
                timestamp: Some(time::timestamp(envelope.timestamp_ns)),
                namespace: envelope.namespace.clone(),
                topic: envelope.topic.clone(),
                event: Some(envelope.event.clone()),
            });
        }
    }
}

/// What filters of events look at.
struct Fields<'a>(&'a Envelope);

impl Adaptor for Fields<'_> {
    fn field(&self, path: &[String]) -> Option<Cow<'_, str>> {
        let text = match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["namespace"] => &self.0.namespace,
            ["topic"] => &self.0.topic,
            _ => return None,
        };
        (!text.is_empty()).then_some(Cow::Borrowed(text))
    }
}

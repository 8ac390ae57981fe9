//! `grpc.health.v1`: whoever is answered is served.

use std::pin::Pin;

use api::health::health_check_response::ServingStatus;
use api::health::{HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse};
use futures_util::{Stream, StreamExt as _, stream};
use grpc::health::health_server;
use tonic::{Request, Response, Status};

/// The server as a whole, which is all that has a health.
#[derive(Debug)]
pub(crate) struct Health;

fn serving() -> HealthCheckResponse {
    HealthCheckResponse { status: ServingStatus::Serving.into() }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match request.get_ref().service.as_str() {
            "" => Ok(Response::new(serving())),
            _ => Err(Status::not_found("unknown service")),
        }
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        let statuses = [(String::new(), serving())].into();
        Ok(Response::new(HealthListResponse { statuses }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let status = match request.get_ref().service.as_str() {
            "" => serving(),
            _ => HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() },
        };
        // It never changes: the stream says it once and stays open.
        let once = stream::once(async move { Ok(status) });
        Ok(Response::new(Box::pin(once.chain(stream::pending()))))
    }
}

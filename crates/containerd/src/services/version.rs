//! `containerd.services.version.v1`

use grpc::version::VersionResponse;
use grpc::version::version_server;
use tonic::{Request, Response, Status};

/// Tells which containerd this is.
#[derive(Debug)]
pub(crate) struct Version;

#[tonic::async_trait]
impl version_server::Version for Version {
    async fn version(&self, _: Request<()>) -> Result<Response<VersionResponse>, Status> {
        let (version, revision) = (crate::VERSION.to_owned(), crate::REVISION.to_owned());
        Ok(Response::new(VersionResponse { version, revision }))
    }
}

//! How do the reports of VMs arrive? The gRPC service `fixgw.report.v1.ReportService`, written by hand: its two messages
//! are the core's, and no protocol file is compiled.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use fixgw_core::report::{METHOD, SERVICE, VmReport, VmReportAnswer};
use fixgw_core::sessions;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, BoxFuture, Service, StdError, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// Bytes of a report: a name, some numbers, and the routes whose connections changed. A VM stops after the one with which it
/// passes its bound.
const REPORT_BYTES_MAX: usize = 2 * sessions::REPORT_BYTES_MAX;

/// Who takes the reports in.
pub trait TakeReports: Send + Sync + 'static {
    /// One report; says what is known of its VM then.
    ///
    /// # Errors
    /// There is no room for it, or it makes no sense.
    fn take(&self, report: VmReport) -> Result<VmReportAnswer, Status>;
}

/// The service.
#[derive(Debug)]
pub struct ReportServer<T> {
    taker: Arc<T>,
}

impl<T> ReportServer<T> {
    /// A service that hands reports to `taker`.
    #[must_use]
    pub const fn new(taker: Arc<T>) -> Self {
        Self { taker }
    }
}

impl<T> Clone for ReportServer<T> {
    fn clone(&self) -> Self {
        Self {
            taker: self.taker.clone(),
        }
    }
}

impl<T> NamedService for ReportServer<T> {
    const NAME: &'static str = SERVICE;
}

impl<T, B> Service<http::Request<B>> for ReportServer<T>
where
    T: TakeReports,
    B: HttpBody + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().map(str::to_owned);
        let taker = self.taker.clone();
        Box::pin(async move {
            if method.as_deref() != Some(METHOD) {
                return Ok(
                    Status::unimplemented("the service has one method, `Report`").into_http(),
                );
            }
            let mut grpc = Grpc::new(ProstCodec::default())
                .apply_max_message_size_config(Some(REPORT_BYTES_MAX), None);
            Ok(grpc.unary(Report(taker), request).await)
        })
    }
}

/// The one method.
struct Report<T>(Arc<T>);

impl<T: TakeReports> UnaryService<VmReport> for Report<T> {
    type Response = VmReportAnswer;
    type Future = BoxFuture<Response<VmReportAnswer>, Status>;

    fn call(&mut self, request: Request<VmReport>) -> Self::Future {
        let taker = self.0.clone();
        Box::pin(async move { taker.take(request.into_inner()).map(Response::new) })
    }
}

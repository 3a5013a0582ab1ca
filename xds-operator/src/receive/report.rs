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

use super::peers::{PASSED_ON, Peers};

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
    peers: Option<Arc<Peers>>,
}

impl<T> ReportServer<T> {
    /// A service that hands reports to `taker`, and passes them on to `peers`.
    #[must_use]
    pub const fn new(taker: Arc<T>, peers: Option<Arc<Peers>>) -> Self {
        Self { taker, peers }
    }
}

impl<T> Clone for ReportServer<T> {
    fn clone(&self) -> Self {
        Self {
            taker: self.taker.clone(),
            peers: self.peers.clone(),
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
        let (taker, peers) = (self.taker.clone(), self.peers.clone());
        Box::pin(async move {
            if method.as_deref() != Some(METHOD) {
                return Ok(
                    Status::unimplemented("the service has one method, `Report`").into_http(),
                );
            }
            let mut grpc = Grpc::new(ProstCodec::default())
                .apply_max_message_size_config(Some(REPORT_BYTES_MAX), None);
            Ok(grpc.unary(Report { taker, peers }, request).await)
        })
    }
}

/// The one method.
struct Report<T> {
    taker: Arc<T>,
    peers: Option<Arc<Peers>>,
}

impl<T: TakeReports> UnaryService<VmReport> for Report<T> {
    type Response = VmReportAnswer;
    type Future = BoxFuture<Response<VmReportAnswer>, Status>;

    fn call(&mut self, request: Request<VmReport>) -> Self::Future {
        let taker = self.taker.clone();
        let is_first_hand = !request.metadata().contains_key(PASSED_ON);
        if let Some(peers) = self.peers.as_ref().filter(|_| !is_first_hand) {
            peers.heard_beside(&request.get_ref().node_id, &request);
        }
        let peers = self.peers.clone().filter(|_| is_first_hand);
        let report = request.into_inner();
        Box::pin(async move {
            let copy = peers.is_some().then(|| report.clone());
            let VmReportAnswer { number } = taker.take(report)?;
            let lowest = match peers.zip(copy) {
                Some((peers, report)) => peers.pass_on(&report).await,
                None => None,
            };
            let number = lowest.unwrap_or(number).min(number);
            Ok(Response::new(VmReportAnswer { number }))
        })
    }
}

//! How do decision records arrive? As OTLP log records, on the collector's own service: a collector could stand in this
//! place.
//!
//! Never keeps a proxy waiting: what is not taken in time is dropped, counted, and the sender is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::LogsService;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

use super::decision::ReceivedDecision;

/// Decodes records and hands them on.
#[derive(Debug)]
pub struct LogSink {
    decisions: mpsc::Sender<ReceivedDecision>,
    dropped: Arc<AtomicU64>,
}

impl LogSink {
    /// A sink into a bounded channel, with the count of what it did not take.
    #[must_use]
    pub const fn new(decisions: mpsc::Sender<ReceivedDecision>, dropped: Arc<AtomicU64>) -> Self {
        Self { decisions, dropped }
    }
}

#[tonic::async_trait]
impl LogsService for LogSink {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let mut rejected = 0;
        for resource in request.into_inner().resource_logs {
            for record in resource
                .scope_logs
                .into_iter()
                .flat_map(|scope| scope.log_records)
            {
                let decision = ReceivedDecision::decode(&record);
                if self.decisions.try_send(decision).is_err() {
                    rejected += 1;
                }
            }
        }
        let partial_success = (rejected > 0).then(|| {
            self.dropped.fetch_add(rejected, Ordering::Relaxed);
            ExportLogsPartialSuccess {
                rejected_log_records: i64::try_from(rejected).unwrap_or(i64::MAX),
                error_message: "nobody takes the records fast enough".to_owned(),
            }
        });
        Ok(Response::new(ExportLogsServiceResponse { partial_success }))
    }
}

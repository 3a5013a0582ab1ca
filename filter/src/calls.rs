//! What does this VM tell by gRPC, and what comes of it? Reports to the control plane, and decision records.
//!
//! INVARIANT: called by the data root alone: a control root's calls die with it at the next update.

use std::time::Duration;

use fixgw_core::report::VmReportAnswer;
use fixgw_core::{otlp, outbox, report};
use prost::Message;

use crate::host;
use crate::places;
use crate::worker;

/// What one report may take: no longer than the next ones may wait.
const REPORT_TIMEOUT: Duration = Duration::from_millis(report::HEARTBEAT_MS);
/// What one call with records may take.
const RECORDS_TIMEOUT: Duration = Duration::from_millis(outbox::CALL_TIMEOUT_MS as u64);

/// A call was answered.
pub(crate) fn answered(token: u32, status: u32, size: usize) {
    let Ok(now_ms) = host::monotonic_ms() else {
        return;
    };
    if worker::with(|worker| worker.answered(token, status, now_ms)) {
        let has = (status == outbox::GRPC_OK)
            .then(|| reported(size))
            .flatten();
        worker::with(|worker| worker.reported(has));
    }
}

/// Tells the control plane what this VM uses, if it is time.
pub(crate) fn send_report() {
    let Ok(now_ms) = host::monotonic_ms() else {
        return;
    };
    let _ = places::vm_id();
    let Some((cluster, report)) = worker::with(|worker| {
        let cluster = worker.control_cluster()?.clone();
        Some((cluster, worker.next_report(now_ms)?))
    }) else {
        return;
    };
    let message = report.encode_to_vec();
    let called = host::grpc_call(
        &cluster,
        report::SERVICE,
        report::METHOD,
        &message,
        REPORT_TIMEOUT,
    );
    worker::with(|worker| {
        if let Ok(token) = called {
            worker.reporter.called(token, &report, now_ms);
        } else {
            worker.reporter.refused(now_ms);
            worker.reported(None);
        }
    });
}

/// Number of the report that the control plane has.
fn reported(size: usize) -> Option<u64> {
    let answer = host::grpc_answer(size).ok()?;
    let answer = VmReportAnswer::decode(answer.as_slice()).ok()?;
    Some(answer.number)
}

/// Sends the decision records that wait.
pub(crate) fn send_records() {
    let Ok(now_ms) = host::monotonic_ms() else {
        return;
    };
    while let Some((cluster, batch)) = worker::with(|worker| worker.next_batch(now_ms)) {
        let message = worker::with(|worker| otlp::export_request(worker.node_id(), &batch));
        let called = host::grpc_call(
            &cluster,
            otlp::SERVICE,
            otlp::METHOD,
            &message,
            RECORDS_TIMEOUT,
        );
        worker::with(|worker| match called {
            Ok(token) => worker.outbox(&cluster).called(token, batch, now_ms),
            Err(host::HostError) => worker.outbox(&cluster).refused(batch, now_ms),
        });
    }
}

//! What leaves a worker next, and what is given up when the collector is away?
//!
//! Pure: the filter sends what it is handed and tells what became of it. Every queue, batch and number of calls is
//! bounded; what does not fit is dropped, oldest first, and counted. Nothing here ever makes a connection wait.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::report::{COUNTS_MS, HEARTBEAT_MS, VmReport};

/// Records that wait. A storm of 1,000 decisions a second is kept for four seconds.
pub const RECORDS_MAX: usize = 4_096;
/// Bytes of the records that wait: a record has 0.3 to 2 KiB.
pub const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Records of one call.
pub const BATCH_RECORDS_MAX: usize = 256;
/// Bytes of one call: far below the 4 MiB that gRPC servers take by default.
pub const BATCH_BYTES_MAX: usize = 512 * 1024;
/// Calls without an answer. Two, so that one slow answer does not stop the flow.
pub const CALLS_MAX: usize = 2;
/// Milliseconds that one call may take.
pub const CALL_TIMEOUT_MS: u32 = 5_000;
/// Milliseconds after which a call without an answer counts as lost: Envoy answers at its timeout.
pub const CALL_LOST_MS: u64 = 15_000;
/// Milliseconds without a call after one that failed.
pub const RETRY_MS: u64 = 1_000;

/// gRPC status of a call that was answered.
pub const GRPC_OK: u32 = 0;
/// gRPC status of a service that is not there.
pub const GRPC_UNAVAILABLE: u32 = 14;

/// Statuses after which OTLP lets a client send the same records again ("OTLP/gRPC Response", retryable codes):
/// cancelled, deadline exceeded, aborted, out of range, unavailable, data loss.
const RETRYABLE: [u32; 6] = [1, 4, 10, 11, GRPC_UNAVAILABLE, 15];

/// Records of one call.
pub type Batch = Vec<Vec<u8>>;

#[derive(Debug)]
struct Call {
    batch: Batch,
    since_ms: u64,
}

/// The decision records of one worker, on their way out.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: VecDeque<Vec<u8>>,
    queued_bytes: usize,
    calls: BTreeMap<u32, Call>,
    not_before_ms: u64,
    dropped: u64,
}

impl Outbox {
    /// Takes an encoded record. When there is no room, the oldest one goes.
    pub fn push(&mut self, record: Vec<u8>) {
        self.queued_bytes = self.queued_bytes.saturating_add(record.len());
        self.queue.push_back(record);
        self.shed();
    }

    /// The next call's records, if one should be made now.
    pub fn next_batch(&mut self, now_ms: u64) -> Option<Batch> {
        self.expire(now_ms);
        if now_ms < self.not_before_ms || self.calls.len() >= CALLS_MAX || self.queue.is_empty() {
            return None;
        }
        let mut batch = Batch::new();
        let mut bytes = 0_usize;
        while let Some(record) = self.queue.front() {
            bytes = bytes.saturating_add(record.len());
            // A record that is too large for any batch goes alone.
            if !batch.is_empty() && (bytes > BATCH_BYTES_MAX || batch.len() >= BATCH_RECORDS_MAX) {
                break;
            }
            if let Some(record) = self.queue.pop_front() {
                self.queued_bytes = self.queued_bytes.saturating_sub(record.len());
                batch.push(record);
            }
        }
        Some(batch)
    }

    /// The batch is under way as call `token`.
    pub fn called(&mut self, token: u32, batch: Batch, now_ms: u64) {
        let since_ms = now_ms;
        self.calls.insert(token, Call { batch, since_ms });
    }

    /// The call could not be made.
    pub fn refused(&mut self, batch: Batch, now_ms: u64) {
        self.not_before_ms = now_ms.saturating_add(RETRY_MS);
        self.put_back(batch);
    }

    /// A call was answered. Says whether it was one of these.
    pub fn answered(&mut self, token: u32, status: u32, now_ms: u64) -> bool {
        let Some(call) = self.calls.remove(&token) else {
            return false;
        };
        if RETRYABLE.contains(&status) {
            self.refused(call.batch, now_ms);
        } else if status != GRPC_OK {
            self.dropped = self.dropped.saturating_add(call.batch.len() as u64);
        }
        true
    }

    /// Records that were given up.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn expire(&mut self, now_ms: u64) {
        let lost = |call: &Call| now_ms.saturating_sub(call.since_ms) >= CALL_LOST_MS;
        while let Some((&token, _)) = self.calls.iter().find(|(_, call)| lost(call)) {
            if let Some(call) = self.calls.remove(&token) {
                self.put_back(call.batch);
            }
        }
    }

    fn put_back(&mut self, batch: Batch) {
        for record in batch.into_iter().rev() {
            self.queued_bytes = self.queued_bytes.saturating_add(record.len());
            self.queue.push_front(record);
        }
        self.shed();
    }

    fn shed(&mut self) {
        while self.queue.len() > RECORDS_MAX || self.queued_bytes > BYTES_MAX {
            let Some(record) = self.queue.pop_front() else {
                return;
            };
            self.queued_bytes = self.queued_bytes.saturating_sub(record.len());
            self.dropped = self.dropped.saturating_add(1);
        }
    }
}

/// When does a worker report? On a change of what it uses, soon when connections came or went, and as a heartbeat; one call
/// at a time, the newest state.
#[derive(Debug, Default)]
pub struct Reporter {
    /// The table and the readiness that were told last, and when.
    sent: Option<((u64, u64), u64)>,
    call: Option<(u32, u64)>,
    not_before_ms: u64,
}

impl Reporter {
    /// Whether `report` should go out now. `has_news`: connections came or went.
    #[must_use]
    pub fn due(&self, report: &VmReport, has_news: bool, now_ms: u64) -> bool {
        let waiting = self
            .call
            .is_some_and(|(_, since_ms)| now_ms.saturating_sub(since_ms) < CALL_LOST_MS);
        if waiting || now_ms < self.not_before_ms {
            return false;
        }
        let pause_ms = if has_news { COUNTS_MS } else { HEARTBEAT_MS };
        self.sent.is_none_or(|(uses, since_ms)| {
            now_ms.saturating_sub(since_ms) >= pause_ms || uses != used(report)
        })
    }

    /// `report` is under way as call `token`.
    pub fn called(&mut self, token: u32, report: &VmReport, now_ms: u64) {
        self.call = Some((token, now_ms));
        self.sent = Some((used(report), now_ms));
    }

    /// The call could not be made.
    pub fn refused(&mut self, now_ms: u64) {
        self.not_before_ms = now_ms.saturating_add(HEARTBEAT_MS);
        self.sent = None;
    }

    /// A call was answered. Says whether it was this one.
    pub fn answered(&mut self, token: u32, status: u32, now_ms: u64) -> bool {
        if self.call.is_none_or(|(call, _)| call != token) {
            return false;
        }
        self.call = None;
        if status != GRPC_OK {
            self.refused(now_ms);
        }
        true
    }
}

const fn used(report: &VmReport) -> (u64, u64) {
    (report.table_revision, report.readiness_version)
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;
    use alloc::vec;

    fn filled(count: usize) -> Outbox {
        let mut outbox = Outbox::default();
        for index in 0..count {
            outbox.push(u32::try_from(index).unwrap().to_le_bytes().to_vec());
        }
        outbox
    }

    fn first(batch: &Batch) -> u32 {
        u32::from_le_bytes(batch[0].clone().try_into().unwrap())
    }

    #[test]
    fn batches_leave_in_order_and_no_more_calls_than_allowed() {
        let mut outbox = filled(3 * BATCH_RECORDS_MAX);
        for token in 0..2 {
            let batch = outbox.next_batch(0).unwrap();
            assert_eq!(batch.len(), BATCH_RECORDS_MAX);
            assert_eq!(first(&batch) as usize, token * BATCH_RECORDS_MAX);
            outbox.called(u32::try_from(token).unwrap(), batch, 0);
        }
        assert!(outbox.next_batch(0).is_none());
        assert!(outbox.answered(0, GRPC_OK, 1));
        assert_eq!(
            first(&outbox.next_batch(1).unwrap()) as usize,
            2 * BATCH_RECORDS_MAX
        );
        assert_eq!(outbox.dropped(), 0);
    }

    #[test]
    fn records_wait_while_the_collector_is_away_and_the_oldest_go_first() {
        let mut outbox = filled(RECORDS_MAX);
        let batch = outbox.next_batch(0).unwrap();
        outbox.called(7, batch, 0);
        outbox.push(vec![0; 4]);
        assert!(outbox.answered(7, GRPC_UNAVAILABLE, 10));
        assert_eq!(outbox.dropped(), 1);
        assert!(outbox.next_batch(10 + RETRY_MS - 1).is_none());
        assert_eq!(first(&outbox.next_batch(10 + RETRY_MS).unwrap()), 1);
    }

    #[test]
    fn a_batch_that_the_collector_refuses_is_dropped_and_counted() {
        let mut outbox = filled(3);
        let batch = outbox.next_batch(0).unwrap();
        outbox.called(7, batch, 0);
        assert!(outbox.answered(7, 3, 1));
        assert!(!outbox.answered(7, 3, 1));
        assert_eq!(outbox.dropped(), 3);
        assert!(outbox.next_batch(u64::MAX).is_none());
    }

    #[test]
    fn a_call_that_is_never_answered_comes_back() {
        let mut outbox = filled(1);
        let batch = outbox.next_batch(0).unwrap();
        outbox.called(7, batch, 0);
        assert!(outbox.next_batch(CALL_LOST_MS - 1).is_none());
        assert_eq!(first(&outbox.next_batch(CALL_LOST_MS).unwrap()), 0);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut outbox = Outbox::default();
        for _ in 0..5 {
            outbox.push(vec![0; 1024 * 1024]);
        }
        assert_eq!(outbox.dropped(), 1);
        assert_eq!(outbox.next_batch(0).unwrap().len(), 1);
    }

    #[test]
    fn reports_a_change_at_once_and_otherwise_at_the_heartbeat() {
        let mut reporter = Reporter::default();
        let mut report = VmReport::default();
        assert!(reporter.due(&report, false, 0));
        reporter.called(1, &report, 0);
        report.table_revision = 5;
        assert!(!reporter.due(&report, false, 1), "one call at a time");
        assert!(reporter.answered(1, GRPC_OK, 2));
        assert!(reporter.due(&report, false, 2), "a change");
        reporter.called(2, &report, 2);
        assert!(reporter.answered(2, GRPC_OK, 3));
        report.silent_connections = 9;
        assert!(!reporter.due(&report, false, 1 + HEARTBEAT_MS));
        assert!(reporter.due(&report, false, 2 + HEARTBEAT_MS));
        assert!(!reporter.due(&report, true, 1 + COUNTS_MS));
        assert!(
            reporter.due(&report, true, 2 + COUNTS_MS),
            "connections came or went"
        );
    }

    #[test]
    fn a_report_that_failed_is_sent_again_after_a_pause() {
        let mut reporter = Reporter::default();
        let report = VmReport::default();
        reporter.called(1, &report, 0);
        assert!(!reporter.answered(9, GRPC_OK, 1));
        assert!(reporter.answered(1, GRPC_UNAVAILABLE, 1));
        assert!(!reporter.due(&report, false, HEARTBEAT_MS));
        assert!(reporter.due(&report, false, 1 + HEARTBEAT_MS));
    }
}

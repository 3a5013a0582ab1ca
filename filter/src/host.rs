//! How does the filter speak to Envoy? Each function here is one host call, with every error turned into a value.
//!
//! Nothing else in the filter calls the host. `proxy_wasm::hostcalls` panics on a status that it does not expect, so
//! each call is caught here by itself.
//!
//! INVARIANT: no caller holds the worker's state while it calls: Envoy may call back before the call returns.

use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, UNIX_EPOCH};

use fixgw_core::connecting::Upstream;
use fixgw_core::decision::{Origin, Reason, Severity, Tls};
use fixgw_core::path::Path;
use fixgw_core::{names, redact};
use prost::Message;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, LogLevel, Status};

/// A host call that did not work. What exactly Envoy said helps nobody: there is one way to go on in each place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostError;

fn call<T>(body: impl FnOnce() -> Result<T, Status>) -> Result<T, HostError> {
    match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(HostError),
        Err(message) => {
            std::mem::forget(message);
            Err(HostError)
        }
    }
}

/// The part of WASI that Envoy provides and the SDK does not wrap.
mod wasi {
    /// `CLOCK_MONOTONIC`.
    pub(super) const MONOTONIC: u32 = 1;
    /// Errno of a call that worked.
    pub(super) const SUCCESS: u32 = 0;

    #[allow(unsafe_code, reason = "imports of the host")]
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        pub(super) fn clock_time_get(clock: u32, precision: u64, nanos: *mut u64) -> u32;
        pub(super) fn random_get(buffer: *mut u8, bytes: usize) -> u32;
    }
}

/// Milliseconds of a clock that never goes back. The SDK's clock is the wall clock.
pub(crate) fn monotonic_ms() -> Result<u64, HostError> {
    let mut nanos = 0_u64;
    #[allow(
        unsafe_code,
        reason = "the host writes eight bytes to a place that is ours"
    )]
    let errno = unsafe { wasi::clock_time_get(wasi::MONOTONIC, 1, &raw mut nanos) };
    if errno == wasi::SUCCESS {
        Ok(nanos / 1_000_000)
    } else {
        Err(HostError)
    }
}

/// Nanoseconds since 1970; 0 if Envoy does not say.
pub(crate) fn unix_nanos() -> u64 {
    call(hostcalls::get_current_time)
        .ok()
        .and_then(|now| now.duration_since(UNIX_EPOCH).ok())
        .and_then(|since| u64::try_from(since.as_nanos()).ok())
        .unwrap_or(0)
}

/// A random number, so that two VMs are never taken for one.
pub(crate) fn random() -> u64 {
    let mut number = 0_u64;
    let bytes = size_of_val(&number);
    #[allow(
        unsafe_code,
        reason = "the host writes eight bytes to a place that is ours"
    )]
    let errno = unsafe { wasi::random_get((&raw mut number).cast(), bytes) };
    if errno == wasi::SUCCESS {
        number
    } else {
        unix_nanos()
    }
}

/// Says something in Envoy's log. INVARIANT: `message` holds no field's value that has not passed redaction.
pub(crate) fn log_error(message: &str) {
    log(Severity::Error, message);
}

/// The same, as grave as `severity` says.
pub(crate) fn log(severity: Severity, message: &str) {
    let level = match severity {
        Severity::Debug => LogLevel::Debug,
        Severity::Info => LogLevel::Info,
        Severity::Warn => LogLevel::Warn,
        Severity::Error => LogLevel::Error,
        Severity::Critical => LogLevel::Critical,
    };
    let _ = call(|| hostcalls::log(level, message));
}

/// What Envoy configured this plugin with.
pub(crate) fn plugin_configuration(size: usize) -> Result<Vec<u8>, HostError> {
    let bytes = call(|| hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size))?;
    Ok(bytes.unwrap_or_default())
}

/// Lets this root's `on_tick` be called.
pub(crate) fn set_tick_period(period: Duration) -> Result<(), HostError> {
    call(|| hostcalls::set_tick_period(period))
}

/// At most `bytes_max` of what the counterparty has sent so far.
pub(crate) fn downstream_data(bytes_max: usize) -> Result<Vec<u8>, HostError> {
    let bytes = call(|| hostcalls::get_buffer(BufferType::DownstreamData, 0, bytes_max))?;
    Ok(bytes.unwrap_or_default())
}

/// Lets the bytes of a paused connection go on.
pub(crate) fn resume_downstream() -> Result<(), HostError> {
    call(hostcalls::resume_downstream)
}

/// Closes the connection.
pub(crate) fn close_downstream() -> Result<(), HostError> {
    call(hostcalls::close_downstream)
}

/// From here on, calls are about context `id`.
pub(crate) fn set_effective_context(id: u32) -> Result<(), HostError> {
    call(|| hostcalls::set_effective_context(id))
}

/// Arguments of Envoy's foreign function `set_envoy_filter_state`
/// (`source/extensions/common/wasm/ext/set_envoy_filter_state.proto`).
#[derive(Clone, PartialEq, Message)]
struct SetFilterState {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(string, tag = "2")]
    value: String,
    /// 0 is the filter chain's life: the connection's.
    #[prost(int32, tag = "3")]
    span: i32,
}

/// Names the cluster that `tcp_proxy` takes once the bytes go on. `set_property` cannot.
pub(crate) fn set_cluster(cluster: &str) -> Result<(), HostError> {
    let arguments = SetFilterState {
        path: names::FILTER_STATE_CLUSTER.to_string(),
        value: cluster.to_string(),
        span: 0,
    };
    let arguments = arguments.encode_to_vec();
    call(|| hostcalls::call_foreign_function("set_envoy_filter_state", Some(&arguments)))?;
    Ok(())
}

/// Tells the reject engine why, through `tcp_proxy`'s PROXY v2 TLV.
pub(crate) fn set_reason(reason: Reason) -> Result<(), HostError> {
    call(|| {
        hostcalls::set_property(
            vec![names::PROPERTY_REASON],
            Some(reason.label().as_bytes()),
        )
    })
}

fn property(path: &[&str]) -> Option<Vec<u8>> {
    call(|| hostcalls::get_property(path.to_vec()))
        .ok()
        .flatten()
}

fn text_property(path: &[&str]) -> String {
    property(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// Envoy's `node.id`. (The bare `node` of older Envoys is not there any more.)
pub(crate) fn node_id() -> String {
    text_property(&["xds", "node", "id"])
}

/// How the current connection came. That its listener takes no PROXY protocol headers is believed only when Envoy says
/// so: an error is none.
pub(crate) fn path() -> Result<Path, HostError> {
    let path = vec!["filter_state", names::FILTER_STATE_PATH];
    let state = call(|| hostcalls::get_property(path))?;
    let state = state.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let source = text_property(&["source", "address"]);
    Ok(Path::read(state.as_deref(), &source))
}

/// Milliseconds since the current connection was accepted, by the wall clock; 0 if Envoy does not say. What waits before
/// the filter is there (listener filters, so the first bytes of a TLS client) is in it.
pub(crate) fn ms_since_accept() -> u64 {
    let accepted = property(&["request", "time"])
        .and_then(|bytes| <[u8; 8]>::try_from(bytes).ok())
        .map(u64::from_le_bytes);
    accepted.map_or(0, |nanos| unix_nanos().saturating_sub(nanos) / 1_000_000)
}

/// Why the current connection's transport socket failed, in Envoy's words; empty if it did not.
pub(crate) fn transport_failure() -> Vec<u8> {
    property(&["connection", "transport_failure_reason"]).unwrap_or_default()
}

/// How the current connection's way to its engine stands.
///
/// `upstream.address` is there once an attempt was begun, so it does not tell; that the connection pool said how long it took
/// does.
pub(crate) fn upstream() -> Upstream {
    let number = |path: &[&str]| {
        property(path)
            .and_then(|bytes| <[u8; 8]>::try_from(bytes).ok())
            .map_or(0, u64::from_le_bytes)
    };
    let address = text_property(&["upstream", "address"]);
    // Where there is no cluster of this name, the duration is there, and no address.
    if number(&["upstream", "cx_pool_ready_duration"]) > 0 && !address.is_empty() {
        return Upstream {
            is_connected: true,
            attempts: number(&["upstream", "request_attempt_count"]),
            failure: String::new(),
        };
    }
    let why = text_property(&["upstream", "transport_failure_reason"]);
    let failure = match (address.as_str(), why.as_str()) {
        ("", "") => String::new(),
        (address, "") => address.to_owned(),
        (address, why) => format!("{address}: {why}"),
    };
    Upstream {
        is_connected: false,
        attempts: number(&["upstream", "request_attempt_count"]),
        failure,
    }
}

/// What TLS says of the current connection. `established`: it has sent something, so the handshake is done.
///
/// INVARIANT: the version is never read before that. Envoy 1.40 would answer `TLSv1.2` then, and stay with it. And a
/// certificate is nobody's before it.
fn tls(established: bool) -> Tls {
    let read = |name| redact::peer_text(&property(&["connection", name])?);
    let read_established = |name| if established { read(name) } else { None };
    let version = read_established("tls_version");
    if established && version.is_none() {
        // Plaintext, and nothing more to ask.
        return Tls::default();
    }
    Tls {
        server_name: read("requested_server_name"),
        version,
        client_certificate: read_established("subject_peer_certificate"),
    }
}

/// Where the current connection comes from. `established`: it has sent something. `known`: how it came, if that was kept.
pub(crate) fn origin(established: bool, known: Option<&Path>) -> Origin {
    let asked = known.is_none().then(path).and_then(Result::ok);
    let path = known.or(asked.as_ref());
    let connection_id = property(&["connection", "id"])
        .and_then(|bytes| <[u8; 8]>::try_from(bytes).ok())
        .map_or(0, u64::from_le_bytes);
    Origin {
        source: path
            .map(|path| path.source().to_string())
            .unwrap_or_default(),
        proxy: path.and_then(|path| path.proxy().map(ToString::to_string)),
        // The filter chain has its listener's name.
        listener: text_property(&["xds", "filter_chain_name"]),
        connection_id,
        tls: tls(established),
    }
}

/// What the VMs of this Envoy share under a key, with the number that guards a change.
pub(crate) fn shared(key: &str) -> Option<(Vec<u8>, Option<u32>)> {
    match call(|| hostcalls::get_shared_data(key)) {
        Ok((Some(bytes), guard)) => Some((bytes, guard)),
        Ok((None, _)) | Err(HostError) => None,
    }
}

/// Changes what is shared, unless another VM did since `guard` was read.
pub(crate) fn share(key: &str, bytes: &[u8], guard: Option<u32>) -> Result<(), HostError> {
    call(|| hostcalls::set_shared_data(key, Some(bytes), guard))
}

/// Makes a queue of this name that is this root's: [`wake`] has its `on_queue_ready` called, from whichever context.
pub(crate) fn register_queue(name: &str) -> Result<u32, HostError> {
    call(|| hostcalls::register_shared_queue(name))
}

/// Has the root called that registered a queue.
pub(crate) fn wake(queue: u32) -> Result<(), HostError> {
    call(|| hostcalls::enqueue_shared_queue(queue, Some(b"1")))
}

/// Takes what is in a queue, so that it does not grow.
pub(crate) fn empty(queue: u32) {
    while let Ok(Some(_)) = call(|| hostcalls::dequeue_shared_queue(queue)) {}
}

/// The answer to a gRPC call.
pub(crate) fn grpc_answer(size: usize) -> Result<Vec<u8>, HostError> {
    let bytes = call(|| hostcalls::get_buffer(BufferType::GrpcReceiveBuffer, 0, size))?;
    Ok(bytes.unwrap_or_default())
}

/// Calls a gRPC service; the answer comes to the context that is effective now.
pub(crate) fn grpc_call(
    cluster: &str,
    service: &str,
    method: &str,
    message: &[u8],
    timeout: Duration,
) -> Result<u32, HostError> {
    call(|| {
        hostcalls::dispatch_grpc_call(cluster, service, method, Vec::new(), Some(message), timeout)
    })
}

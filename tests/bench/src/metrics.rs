//! Which figures are there, and in which tables do they stand?

use crate::figures::Metric;

/// Whom ratios are to.
pub const REFERENCE: &str = "Envoy";

/// Messages over live sessions.
pub const MESSAGES: &str = "messages";
/// The same, with TLS.
pub const MESSAGES_TLS: &str = "messages-tls";
/// Connections that log on.
pub const CONNECTS: &str = "connects";
/// The same, with TLS.
pub const CONNECTS_TLS: &str = "connects-tls";
/// Everybody at once.
pub const STORM: &str = "storm";
/// Memory and the time until the first answer.
pub const START: &str = "start";
/// A change of the rules beside live sessions.
pub const CHANGE: &str = "change";
/// What is routed that should not be, and the other way round.
pub const CORRECT: &str = "correctness";
/// Of it, messages of real engines.
pub const CORPUS: &str = "corpus";
/// And Logons that hide something.
pub const ATTACKS: &str = "attacks";

/// All tables, in the order in which they are filled.
pub const TABLES: [&str; 8] = [
    MESSAGES,
    CONNECTS,
    MESSAGES_TLS,
    CONNECTS_TLS,
    STORM,
    START,
    CHANGE,
    CORRECT,
];

const fn compared(name: &'static str, unit: &'static str) -> Metric<'static> {
    Metric {
        name,
        unit,
        to: Some(REFERENCE),
    }
}

const fn alone(name: &'static str, unit: &'static str) -> Metric<'static> {
    Metric {
        name,
        unit,
        to: None,
    }
}

/// Processor time of the subject for each message there and back.
pub const CPU_PER_MESSAGE: Metric<'static> = compared("CPU per message", "µs");
/// The same while each session's next message goes when the last is back: what is left without waking up.
pub const CPU_BACK_TO_BACK: Metric<'static> = compared("CPU per message back to back", "µs");
/// How many messages a second that comes to.
pub const MESSAGES_PER_SECOND: Metric<'static> = compared("messages per second then", "");
/// How much of it is not Envoy's.
pub const CONTROL_CPU: Metric<'static> = alone("of it control plane", "µs");
/// Half of the round trips take no longer.
pub const P50: Metric<'static> = compared("p50", "µs");
/// 99 of a hundred take no longer.
pub const P99: Metric<'static> = compared("p99", "µs");
/// 999 of a thousand take no longer.
pub const P999: Metric<'static> = compared("p99.9", "µs");
/// How much of its processor the subject used.
pub const SUBJECT_SHARE: Metric<'static> = alone("subject's core", "%");
/// How much of the time the generator had something to do.
pub const GENERATOR_SHARE: Metric<'static> = alone("generator busy", "%");
/// How much of the subject's processor others used.
pub const OTHERS_SHARE: Metric<'static> = alone("others on the subject's core", "%");
/// Messages that did not come back, sessions that could not be made or ended.
pub const ERRORS: Metric<'static> = alone("errors", "");
/// Processor time for each connection that logs on and goes.
pub const CPU_PER_CONNECT: Metric<'static> = compared("CPU per connect + Logon", "µs");
/// The same while as many as possible come: what is left without waking up.
pub const CPU_AT_MOST: Metric<'static> = compared("CPU per connect + Logon at most", "µs");
/// Connections in a second at the most.
pub const PER_SECOND: Metric<'static> = compared("Logons per second at most", "");
/// How much of its processor the subject used then.
pub const SATURATED: Metric<'static> = alone("subject's core then", "%");
/// And the generator of its own.
pub const GENERATOR_SATURATED: Metric<'static> = alone("generator's core then", "%");
/// From the first connection until the last is logged on.
pub const LAST_ON: Metric<'static> = compared("until the last is logged on", "ms");
/// The most memory then.
pub const PEAK: Metric<'static> = compared("most memory", "MiB");
/// From its start until it answers a Logon.
pub const START_UP: Metric<'static> = compared("start to first answer", "ms");
/// Memory without sessions.
pub const MEMORY: Metric<'static> = compared("memory", "MiB");
/// How much of it is not Envoy's.
pub const MEMORY_NOT_ENVOY: Metric<'static> = alone("of it not Envoy's", "MiB");
/// Memory that each session adds.
pub const PER_SESSION: Metric<'static> = compared("memory per session", "KiB");
/// Processor time without sessions.
pub const IDLE_CPU: Metric<'static> = alone("CPU with no session", "% of a core");
/// From the change until the new counterparty's Logon is answered.
pub const APPLIED: Metric<'static> = alone("until applied", "ms");
/// The longest round trip with no change.
pub const PAUSE_BEFORE: Metric<'static> = alone("longest round trip, no change", "ms");
/// The longest round trip of the time with the change.
pub const PAUSE: Metric<'static> = alone("longest round trip, a change", "ms");
/// Sessions that ended by it.
pub const LOST: Metric<'static> = alone("sessions lost", "");
/// Processes that are there after it.
pub const PROCESSES: Metric<'static> = alone("processes after it", "");
/// Their memory.
pub const MEMORY_AFTER: Metric<'static> = alone("memory after it", "MiB");

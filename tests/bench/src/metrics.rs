//! Which figures are there, and in which tables do they stand?

use crate::figures::Metric;

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

const fn compared(name: &'static str, unit: &'static str) -> Metric {
    Metric {
        name,
        unit,
        compared: true,
    }
}

const fn alone(name: &'static str, unit: &'static str) -> Metric {
    Metric {
        name,
        unit,
        compared: false,
    }
}

/// Processor time of the subject for each message there and back.
pub const CPU_PER_MESSAGE: Metric = compared("CPU per message", "µs");
/// The same while each session's next message goes when the last is back: what is left without waking up.
pub const CPU_BACK_TO_BACK: Metric = compared("CPU per message back to back", "µs");
/// How many messages a second that comes to.
pub const MESSAGES_PER_SECOND: Metric = compared("messages per second then", "");
/// How much of it is not Envoy's.
pub const CONTROL_CPU: Metric = alone("of it control plane", "µs");
/// Half of the round trips take no longer.
pub const P50: Metric = compared("p50", "µs");
/// 99 of a hundred take no longer.
pub const P99: Metric = compared("p99", "µs");
/// 999 of a thousand take no longer.
pub const P999: Metric = compared("p99.9", "µs");
/// How much of its processor the subject used.
pub const SUBJECT_SHARE: Metric = alone("subject's core", "%");
/// How much of the time the generator had something to do.
pub const GENERATOR_SHARE: Metric = alone("generator busy", "%");
/// How much of the subject's processor others used.
pub const OTHERS_SHARE: Metric = alone("others on the subject's core", "%");
/// Messages that did not come back, sessions that could not be made or ended.
pub const ERRORS: Metric = alone("errors", "");
/// Processor time for each connection that logs on and goes.
pub const CPU_PER_CONNECT: Metric = compared("CPU per connect + Logon", "µs");
/// Connections in a second at the most.
pub const PER_SECOND: Metric = compared("Logons per second at most", "");
/// How much of its processor the subject used then.
pub const SATURATED: Metric = alone("subject's core then", "%");
/// And the generator of its own.
pub const GENERATOR_SATURATED: Metric = alone("generator's core then", "%");
/// From the first connection until the last is logged on.
pub const LAST_ON: Metric = compared("until the last is logged on", "ms");
/// The most memory then.
pub const PEAK: Metric = compared("most memory", "MiB");
/// From its start until it answers a Logon.
pub const START_UP: Metric = compared("start to first answer", "ms");
/// Memory without sessions.
pub const MEMORY: Metric = compared("memory", "MiB");
/// How much of it is not Envoy's.
pub const MEMORY_NOT_ENVOY: Metric = alone("of it not Envoy's", "MiB");
/// Memory that each session adds.
pub const PER_SESSION: Metric = compared("memory per session", "KiB");
/// From the change until the new counterparty's Logon is answered.
pub const APPLIED: Metric = alone("until applied", "ms");
/// The longest round trip with no change.
pub const PAUSE_BEFORE: Metric = alone("longest round trip, no change", "ms");
/// The longest round trip of the time with the change.
pub const PAUSE: Metric = alone("longest round trip, a change", "ms");
/// Sessions that ended by it.
pub const LOST: Metric = alone("sessions lost", "");
/// Processes that are there after it.
pub const PROCESSES: Metric = alone("processes after it", "");
/// Their memory.
pub const MEMORY_AFTER: Metric = alone("memory after it", "MiB");

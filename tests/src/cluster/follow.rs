//! What changes among the objects of one kind?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::api::Api;

/// Before an API server that does not answer is asked again.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// What is heard.
pub(super) enum Change {
    /// All that there is, at the beginning and whenever something may have been missed.
    All(Vec<Value>),
    /// One that is new or has changed.
    There(Value),
    /// One that is no longer there.
    Deleted(Value),
}

/// Hears of all objects under a path in a thread of its own, which ends some time after `ended`, or with the process.
pub(super) fn follow(
    api: Api,
    path: &'static str,
    ended: Arc<AtomicBool>,
    mut hear: impl FnMut(Change) + Send + 'static,
) {
    std::thread::spawn(move || {
        while !ended.load(Ordering::Acquire) {
            let answer = api.try_ask("GET", path, None, "application/json");
            let Some(answer) = answer.filter(|answer| answer.code == 200) else {
                std::thread::sleep(RETRY_INTERVAL);
                continue;
            };
            let mut revision = revision(&answer.body);
            let items = answer.body["items"].as_array();
            hear(Change::All(items.cloned().unwrap_or_default()));
            let mut missed = false;
            while !missed && !ended.load(Ordering::Acquire) {
                let before = revision.clone();
                let said = api.watch(path, &before, |mut change| {
                    let object = change["object"].take();
                    match change["type"].as_str() {
                        Some("ADDED" | "MODIFIED") => {
                            revision = self::revision(&object);
                            hear(Change::There(object));
                        }
                        Some("DELETED") => {
                            revision = self::revision(&object);
                            hear(Change::Deleted(object));
                        }
                        _ => missed = true,
                    }
                    !missed && !ended.load(Ordering::Acquire)
                });
                missed |= said.is_none();
            }
        }
    });
}

fn revision(object: &Value) -> String {
    let revision = object["metadata"]["resourceVersion"].as_str();
    revision.unwrap_or_default().to_owned()
}

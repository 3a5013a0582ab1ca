//! How does a new table or readiness reach this VM, and one that comes back?
//!
//! INVARIANT: what the canary must refuse is refused in `on_configure`; what comes to a VM with a data root is read in that
//! root's callbacks, where a failure ends one VM and spoils nothing.

use fixgw_core::readiness::Readiness;
use fixgw_core::table::Table;

use crate::contain::contained;
use crate::host;
use crate::worker::{self, Part, Worker};

/// How long a VM waits that could not take what the others have, before it tries again: reading a large table takes long.
const CATCH_UP_MS: u64 = 10_000;

/// What this VM has made sure of about the data that it shares with the others.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sharing {
    /// Revision that was seen to be there, or a newer one.
    seen: Option<u64>,
    /// Revision that was left to the others for one tick.
    left: Option<u64>,
    /// Whether this VM wrote last, and so has to look whether it is there.
    wrote: bool,
    /// Revision of the others that this VM tried to take last, and when.
    tried: Option<(u64, u64)>,
}

/// Has the data root look after held connections, now rather than at its next tick.
pub(crate) fn wake() {
    if worker::with(Worker::looks_after_held)
        && let Some(queue) = worker::with(|worker| worker.queue())
    {
        let _ = host::wake(queue);
    }
}

/// An update has come. Where there is no data root, this may be the canary, which must refuse what cannot be read.
pub(crate) fn receive(part: Part, image: Vec<u8>) -> Result<(), String> {
    let Some(queue) = worker::with(|worker| worker.queue()) else {
        return take(part, image);
    };
    worker::with(|worker| worker.leave(part, image));
    // If that does not work, the next tick does.
    let _ = host::wake(queue);
    Ok(())
}

/// Takes what was left to the data root.
pub(crate) fn take_left() {
    for part in Part::ALL {
        if let Some(image) = worker::with(|worker| worker.take_left(part))
            && let Err(why) = take(part, image)
        {
            host::log_error(&format!("an update is not taken: {why}"));
        }
    }
}

fn take(part: Part, image: Vec<u8>) -> Result<(), String> {
    match part {
        Part::Routes => take_table(image),
        Part::Readiness => take_readiness(image),
    }
}

fn take_table(image: Vec<u8>) -> Result<(), String> {
    let table = Table::load(image).map_err(|error| error.to_string())?;
    #[cfg(feature = "test-faults")]
    crate::fault::on_table(&table);
    worker::with(|worker| worker.take_table(table));
    wake();
    Ok(())
}

fn take_readiness(image: Vec<u8>) -> Result<(), String> {
    let readiness = Readiness::load(&image).map_err(|error| error.to_string())?;
    worker::with(|worker| worker.take_readiness(readiness, image));
    wake();
    Ok(())
}

/// A VM that came back has no table: it takes what the others left for it, before its first connection is read. And what was
/// left to the data root is taken by then in any case.
pub(crate) fn restore() {
    contained("an update", take_left);
    for part in Part::ALL {
        if worker::with(|worker| worker.revision(part).is_none()) {
            take_shared(part);
        }
    }
}

/// A VM that came back in the moment between an update and its sharing has an older table than the others, and no
/// update will come for it. Nor will one for a VM that could not take it.
pub(crate) fn catch_up(part: Part, sharing: &mut Sharing) {
    let Some(revision) = shared_revision(part) else {
        return;
    };
    if Some(revision) <= worker::with(|worker| worker.revision(part)) {
        return;
    }
    let now_ms = host::monotonic_ms().unwrap_or(0);
    let waits =
        |(tried, since_ms)| tried == revision && now_ms.saturating_sub(since_ms) < CATCH_UP_MS;
    if !sharing.tried.is_some_and(waits) {
        // Before it is tried: it may not come back from that.
        sharing.tried = Some((revision, now_ms));
        take_shared(part);
    }
}

fn take_shared(part: Part) {
    let Some((image, _)) = host::shared(part.key()) else {
        return;
    };
    if part.stated(&image) <= worker::with(|worker| worker.revision(part)) {
        return;
    }
    // What is there was taken over by another VM before, so nothing can be wrong with it.
    let _ = take(part, image);
}

/// Puts what this VM uses where a VM that comes back will find it. From the tick and not from `on_configure`, because
/// the canary's writes would be real even if Envoy then refused the update.
///
/// One VM writes for all, the main thread's if it is there: a copy of a large table would make live sessions wait. A
/// guard does not protect the creation of a key, so whoever wrote looks again at the next tick.
pub(crate) fn share(part: Part, sharing: &mut Sharing) {
    let Some(revision) = worker::with(|worker| worker.revision(part)) else {
        return;
    };
    if sharing.seen >= Some(revision) {
        return;
    }
    if !sharing.wrote && shared_revision(part) >= Some(revision) {
        sharing.seen = Some(revision);
        return;
    }
    if worker::with(|worker| worker.has_served()) && sharing.left != Some(revision) {
        sharing.left = Some(revision);
        return;
    }
    let there = host::shared(part.key());
    let stated = there.as_ref().and_then(|(image, _)| part.stated(image));
    if stated >= Some(revision) {
        sharing.seen = stated;
        sharing.wrote = false;
        return;
    }
    let guard = there.and_then(|(_, guard)| guard);
    let Some(image) = worker::with(|worker| worker.image(part).map(<[u8]>::to_vec)) else {
        return;
    };
    sharing.wrote = true;
    if host::share(part.key(), &image, guard).is_ok() {
        // Without a guard: it is a hint that saves a copy.
        let _ = host::share(part.revision_key(), &revision.to_le_bytes(), None);
    }
}

fn shared_revision(part: Part) -> Option<u64> {
    let (bytes, _) = host::shared(part.revision_key())?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

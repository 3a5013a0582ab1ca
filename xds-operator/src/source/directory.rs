//! What does a directory of YAML say now, and when does it say something else?
//!
//! Reads `*.yaml` and `*.yml` of the directory and its subdirectories; names that begin with a dot are left out, and
//! so is what a mounted ConfigMap keeps behind its links (`..data`), which is read through the links once. Gives
//! complete [`World`]s only. A file that cannot be read is a fault beside the others, never an end.
//!
//! INVARIANT: nothing outside of the directory is read, wherever a link points to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecursiveMode, Watcher};
use tokio::sync::watch;

use super::yaml::{self, FileContent, Object};
use crate::message::{Origin, printable};
use crate::wait::tell_another;
use crate::world::{
    EndpointsHalf, ExtraEndpoint, Fault, Faults, Kind, Located, ObjectName, Objects, Pause, Place,
    RulesHalf, Scope, World,
};

/// Bytes of one file: a hundred thousand FIXSessions of about 160 bytes.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Files: one for each FIXSession of the largest table.
pub const FILES_MAX: usize = 200_000;
/// Bytes of all files together; what they hold is kept in memory.
pub const DIRECTORY_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Objects of all files together: every FIXSession with a Service and an EndpointSlice of its own.
pub const OBJECTS_MAX: usize = 600_000;
/// Subdirectories within subdirectories.
pub const DEPTH_MAX: usize = 16;
/// Other places of an object that is written more than once, beside each of its places.
pub const OTHER_PLACES_MAX: usize = 3;
/// Changes are told by the system; this is for those that are not (network file systems, lost events).
pub const RESCAN: Duration = Duration::from_secs(5);
/// As [`RESCAN`], while the system tells of nothing: the directory is gone, or it has no more watches to give.
pub const RESCAN_UNTOLD: Duration = Duration::from_secs(1);
/// One save makes several events; so long after the last one the directory is read.
pub const QUIET: Duration = Duration::from_millis(10);
/// But no longer after the first one, so that steady writing does not hide a change.
pub const QUIET_MAX: Duration = Duration::from_millis(50);
/// A file changed so shortly before it was read may change again without a new time stamp; it is read again.
const STAMP_AGE_MIN: Duration = Duration::from_secs(2);
/// While this file is in the directory, no table is published: for changes that take longer to write than to settle.
pub const PAUSE_FILE: &str = ".fixgw-pause";

/// Why a directory cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Not there.
    #[error(
        "there is no directory `{0}`; create it, or give the one that holds the FIXSession files"
    )]
    Missing(String),
    /// Something else.
    #[error("`{0}` is not a directory; give the directory that holds the FIXSession files")]
    NoDirectory(String),
    /// There, but.
    #[error("the directory `{path}` cannot be read ({}); give the gateway's user the right to read it", source.kind())]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// What a file was when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Of the inode: it moves with every write and every change of rights, and nobody can set it back.
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[derive(Debug)]
struct Cached {
    /// `None` when the next reading must not trust it.
    stamp: Option<Stamp>,
    content: Arc<FileContent>,
}

/// A directory that can be read again and again; files that did not change are not read twice.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    shown: String,
    extra: Vec<ExtraEndpoint>,
    files: BTreeMap<PathBuf, Cached>,
    remark: Option<String>,
    emptiness: Emptiness,
}

/// What it means when there is no file at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Emptiness {
    /// That there is no object.
    Meant,
    /// That something is wrong, such as a volume that is not mounted.
    Doubted,
}

/// One pass over a directory, or several.
#[derive(Default)]
pub(super) struct Pass {
    root: PathBuf,
    found: Vec<FoundFile>,
    visited: BTreeSet<(u64, u64)>,
    pub(super) faults: Vec<Fault>,
    bytes: u64,
}

/// A file, as messages name it, and what it was when it was found.
pub(super) type FoundFile = (PathBuf, Arc<str>, fs::Metadata);

impl Directory {
    /// Checks that there is a directory. Reads nothing yet.
    ///
    /// # Errors
    /// When there is none, or it cannot be listed.
    pub fn open(path: &Path, extra: Vec<ExtraEndpoint>) -> Result<Self, DirectoryError> {
        let shown = path.display().to_string();
        let shown = if shown.len() > 1 {
            shown.trim_end_matches('/').to_owned()
        } else {
            shown
        };
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DirectoryError::Missing(shown));
            }
            Err(source) => {
                return Err(DirectoryError::Unreadable {
                    path: shown,
                    source,
                });
            }
            Ok(metadata) if !metadata.is_dir() => return Err(DirectoryError::NoDirectory(shown)),
            Ok(_) => {}
        }
        fs::read_dir(path).map_err(|source| DirectoryError::Unreadable {
            path: shown.clone(),
            source,
        })?;
        Ok(Self {
            root: path.to_owned(),
            shown,
            extra,
            files: BTreeMap::new(),
            remark: None,
            emptiness: Emptiness::Meant,
        })
    }

    /// Routes were accepted from here in an earlier run, so that until a file was found, none at all is a fault: a volume that is not
    /// mounted, or not filled yet, looks just like that. Who deletes them while they are followed means it.
    pub fn doubt_emptiness(&mut self) {
        self.emptiness = Emptiness::Doubted;
    }

    /// The directory as messages name it.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Reads all of it.
    pub fn read(&mut self) -> World {
        let mut pass = Pass::default();
        pass.directory(&self.root, &self.shown);
        let found = pass.within_bounds(&self.shown);
        if !found.is_empty() {
            self.emptiness = Emptiness::Meant;
        } else if self.emptiness == Emptiness::Doubted && pass.faults.is_empty() {
            pass.fault(
                &format!("{}/", self.shown),
                "holds no YAML file, and routes were accepted from here before; put the files back, or an empty one if no route is \
                 meant"
                    .to_owned(),
            );
        }
        let mut contents = Vec::with_capacity(found.len());
        let mut files = BTreeMap::new();
        for (path, shown, metadata) in found {
            let content = match self.files.remove(&path) {
                Some(cached) if cached.stamp == Some(Stamp::of(&metadata)) => cached,
                _ => match read_file(&path, &shown, &metadata) {
                    Some(read) => read,
                    None => continue,
                },
            };
            contents.push(content.content.clone());
            files.insert(path, content);
        }
        // A directory that cannot be read at this moment is no reason to forget what its files held.
        self.files = files;
        let pause = self.root.join(PAUSE_FILE);
        let paused = fs::symlink_metadata(&pause)
            .is_ok()
            .then(|| Pause::File(Origin::file(format!("{}/{PAUSE_FILE}", self.shown).into())));
        if let Some(remark) = &self.remark {
            pass.faults.push(Fault {
                origin: Some(Origin::file(self.shown.as_str().into())),
                object: None,
                field: None,
                what: remark.clone(),
                scope: Scope::Nothing,
            });
        }
        gather(
            &contents,
            pass.faults,
            self.extra.clone(),
            paused,
            &self.shown,
        )
    }

    /// Follows the directory: the receiver holds what it says now, and each change of that. Ends with the receiver.
    #[must_use]
    pub fn follow(mut self) -> watch::Receiver<World> {
        let (events, changes) = mpsc::channel();
        // Armed before the first reading, so that no change falls between the two.
        let mut armed = Armed::new(&self.root, &events);
        self.remark = armed.remark();
        let (sender, receiver) = watch::channel(self.read());
        std::thread::spawn(move || {
            while !sender.is_closed() {
                match changes.recv_timeout(armed.patience()) {
                    Ok(()) => settle(&changes),
                    Err(RecvTimeoutError::Timeout) => {}
                    // The other end is kept here, in `events`.
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                if armed.root != root_of(&self.root) {
                    armed = Armed::new(&self.root, &events);
                    self.remark = armed.remark();
                }
                let world = self.read();
                tell_another(&sender, world);
            }
        });
        receiver
    }
}

/// Waits until the events of one save have arrived.
fn settle(changes: &mpsc::Receiver<()>) {
    let first = Instant::now();
    while let Some(left) = QUIET_MAX.checked_sub(first.elapsed()) {
        if changes.recv_timeout(QUIET.min(left)).is_err() {
            return;
        }
    }
}

fn root_of(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path)
        .ok()
        .map(|metadata| (metadata.dev(), metadata.ino()))
}

/// The system's notices about one directory, as long as it is that directory.
struct Armed {
    root: Option<(u64, u64)>,
    watcher: notify::Result<notify::RecommendedWatcher>,
}

impl Armed {
    fn new(path: &Path, events: &mpsc::Sender<()>) -> Self {
        let root = root_of(path);
        let events = events.clone();
        let notice = move |event: notify::Result<notify::Event>| {
            // Reading makes events too; following those would never end. What went wrong may have hidden a change.
            let relevant = event.map_or(true, |event| {
                let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
                event.kind == written || !matches!(event.kind, EventKind::Access(_))
            });
            if relevant {
                // Fails when the follower has ended; then nobody wants to know.
                let _ = events.send(());
            }
        };
        let watcher = notify::recommended_watcher(notice).and_then(|mut watcher| {
            watcher.watch(path, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        Self { root, watcher }
    }

    const fn patience(&self) -> Duration {
        match self.watcher {
            Ok(_) => RESCAN,
            Err(_) => RESCAN_UNTOLD,
        }
    }

    fn remark(&self) -> Option<String> {
        // That there is no directory is told by the reading.
        self.root?;
        self.watcher.as_ref().err().map(|error| {
            format!(
                "the system does not tell of changes here ({}); they are looked for every {} s instead, \
                 and raising `fs.inotify.max_user_watches` may help",
                error.to_string().to_lowercase(),
                RESCAN_UNTOLD.as_secs()
            )
        })
    }
}

impl Pass {
    fn fault(&mut self, shown: &str, what: String) {
        self.faults.push(file_fault(shown, what));
    }

    /// Finds what a directory holds.
    pub(super) fn directory(&mut self, path: &Path, shown: &str) {
        match fs::canonicalize(path) {
            Ok(root) => {
                self.root = root;
                self.visited.extend(root_of(path));
                self.list(path, shown, 0);
            }
            Err(error) => self.fault(
                &format!("{shown}/"),
                format!("cannot be read ({}); put the directory back", error.kind()),
            ),
        }
    }

    /// A file that was asked for by its name, whatever that is and wherever it leads.
    pub(super) fn file(&mut self, path: &Path, shown: &str, metadata: fs::Metadata) {
        if self.visited.insert((metadata.dev(), metadata.ino())) {
            self.bytes = self.bytes.saturating_add(metadata.len());
            self.found.push((path.to_owned(), shown.into(), metadata));
        }
    }

    /// What was found; nothing of it, and a fault, when that is too much.
    pub(super) fn within_bounds(&mut self, shown: &str) -> Vec<FoundFile> {
        let found = std::mem::take(&mut self.found);
        if found.len() <= FILES_MAX && self.bytes <= DIRECTORY_BYTES_MAX {
            return found;
        }
        self.fault(
            &format!("{shown}/"),
            format!(
                "holds more than {FILES_MAX} files or {DIRECTORY_BYTES_MAX} bytes of YAML; move some elsewhere"
            ),
        );
        Vec::new()
    }

    /// Depth is bounded by [`DEPTH_MAX`].
    fn list(&mut self, directory: &Path, shown: &str, depth: usize) {
        let whole = format!("{shown}/");
        if depth > DEPTH_MAX {
            return self.fault(
                &whole,
                format!("lies deeper than {DEPTH_MAX} directories; move it up"),
            );
        }
        let mut names = Vec::new();
        let listing = fs::read_dir(directory).and_then(|entries| {
            for entry in entries {
                names.push(entry?.file_name());
            }
            Ok(())
        });
        if let Err(error) = listing {
            let what = format!(
                "cannot be listed ({}); give the gateway's user the right to read it",
                error.kind()
            );
            return self.fault(&whole, what);
        }
        names.sort();
        for name in names {
            let hidden = name.as_encoded_bytes().first() == Some(&b'.');
            if !hidden {
                let text = name.to_string_lossy();
                self.entry(
                    &directory.join(&name),
                    &format!("{shown}/{}", printable(&text)),
                    depth,
                );
            }
        }
    }

    fn entry(&mut self, path: &Path, shown: &str, depth: usize) {
        let yaml = path
            .extension()
            .is_some_and(|it| it == "yaml" || it == "yml");
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            // Gone since it was listed: deleted. Anything else that hides it does not make it so.
            Err(_) if gone(path) || !yaml => return,
            Err(error) => {
                let what = format!(
                    "cannot be read ({}); mend the link or the rights, or delete it",
                    error.kind()
                );
                return self.fault(shown, what);
            }
        };
        let wanted = metadata.is_dir() || yaml && metadata.is_file();
        if !wanted {
            return;
        }
        if !fs::canonicalize(path).is_ok_and(|real| real.starts_with(&self.root)) {
            let what =
                "is a link to somewhere outside of the directory; copy it in instead".to_owned();
            return self.fault(shown, what);
        }
        // By two names it is still one file, and a loop of links ends here.
        if !self.visited.insert((metadata.dev(), metadata.ino())) {
            return;
        }
        if metadata.is_dir() {
            return self.list(path, shown, depth + 1);
        }
        self.bytes = self.bytes.saturating_add(metadata.len());
        self.found.push((path.to_owned(), shown.into(), metadata));
    }
}

fn gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn file_fault(shown: &str, what: String) -> Fault {
    Fault {
        origin: Some(Origin::file(shown.into())),
        object: None,
        field: None,
        what,
        scope: Scope::File,
    }
}

/// `None` when it was deleted in between.
fn read_file(path: &Path, shown: &Arc<str>, metadata: &fs::Metadata) -> Option<Cached> {
    let content = match fs::File::open(path).map(|file| read_text(file, shown)) {
        Ok(Ok(content)) => Ok(content),
        Ok(Err(error)) | Err(error) => Err(error),
    };
    // What could not be read may be readable the next time.
    let readable = content.is_ok();
    let content = match content {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => unreadable(shown, &error),
    };
    let changed = u64::try_from(metadata.ctime()).unwrap_or(0);
    let old = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH + Duration::from_secs(changed))
        .is_ok_and(|age| age > STAMP_AGE_MIN);
    Some(Cached {
        stamp: (old && readable).then(|| Stamp::of(metadata)),
        content: Arc::new(content),
    })
}

/// Reads one file or stream. What is too large or no text is a fault of it.
///
/// # Errors
/// When it cannot be read.
pub fn read_text(from: impl Read, shown: &Arc<str>) -> io::Result<FileContent> {
    let mut bytes = Vec::new();
    let count = from.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if count as u64 > FILE_BYTES_MAX {
        let what = format!("is larger than {FILE_BYTES_MAX} bytes; split it");
        return Ok(only(file_fault(shown, what)));
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => yaml::read(shown, &text),
        Err(error) => {
            let before = error
                .as_bytes()
                .iter()
                .take(error.utf8_error().valid_up_to());
            let line = 1 + before.filter(|byte| **byte == b'\n').count();
            let what = format!("is not UTF-8 in line {line}; save it as UTF-8");
            only(file_fault(shown, what))
        }
    })
}

pub(super) fn unreadable(shown: &Arc<str>, error: &io::Error) -> FileContent {
    let what = format!(
        "cannot be read ({}); give the gateway's user the right to read it",
        error.kind()
    );
    only(file_fault(shown, what))
}

fn only(fault: Fault) -> FileContent {
    FileContent {
        objects: Vec::new(),
        faults: vec![fault],
    }
}

/// One World out of what the files hold. Pure.
#[must_use]
pub fn gather(
    contents: &[Arc<FileContent>],
    mut faults: Vec<Fault>,
    extra: Vec<ExtraEndpoint>,
    paused: Option<Pause>,
    shown: &str,
) -> World {
    let count: usize = contents.iter().map(|content| content.objects.len()).sum();
    let (mut sessions, mut services, mut slices) = (Many::new(), Many::new(), Many::new());
    if count > OBJECTS_MAX {
        let what = format!("holds more than {OBJECTS_MAX} objects; move some elsewhere");
        faults.push(file_fault(&format!("{shown}/"), what));
    } else {
        for (name, object) in contents.iter().flat_map(|content| &content.objects) {
            let name = name.clone();
            match object {
                Object::FIXSession(it) => sessions.entry(name).or_default().push(it.clone()),
                Object::Service(it) => services.entry(name).or_default().push(it.clone()),
                Object::EndpointSlice(it) => slices.entry(name).or_default().push(it.clone()),
            }
        }
    }
    faults.extend(
        contents
            .iter()
            .flat_map(|content| content.faults.iter().cloned()),
    );
    let sessions = single(Kind::FIXSession, sessions, &mut faults);
    let services = single(Kind::Service, services, &mut faults);
    let slices = single(Kind::EndpointSlice, slices, &mut faults);
    let (of_rules, of_endpoints) = divide(faults);
    World {
        rules: Arc::new(RulesHalf {
            sessions: Arc::new(sessions),
            faults: of_rules,
            paused,
        }),
        endpoints: Arc::new(EndpointsHalf {
            services,
            slices,
            extra,
            place: Place::Directory,
            faults: of_endpoints,
        }),
    }
}

type Many<T> = BTreeMap<ObjectName, Vec<Arc<Located<T>>>>;

/// Objects that are written once; the others are a fault wherever they are written, for nobody can tell which is meant.
fn single<T>(kind: Kind, many: Many<T>, faults: &mut Vec<Fault>) -> Objects<T> {
    let mut objects = BTreeMap::new();
    for (name, mut found) in many {
        if found.len() == 1 {
            objects.extend(found.pop().map(|only| (name, only)));
            continue;
        }
        for (index, here) in found.iter().enumerate() {
            let others = found
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index);
            let mut others: Vec<String> = others
                .filter_map(|(_, there)| there.origin.as_ref())
                .take(OTHER_PLACES_MAX)
                .map(ToString::to_string)
                .collect();
            // Each place with all the others would be the square of them.
            let more = found.len() - 1 - others.len();
            if more > 0 {
                others.push(format!("in {more} more places"));
            }
            faults.push(Fault {
                origin: here.origin.clone(),
                object: Some((kind, name.clone())),
                field: Some("metadata.name".to_owned()),
                what: format!(
                    "is written more than once, also at {}; keep one",
                    others.join(" and ")
                ),
                scope: Scope::Object,
            });
        }
    }
    objects
}

/// A broken file concerns both halves, and is told by the one that settles.
fn divide(list: Vec<Fault>) -> (Faults, Faults) {
    let (mut of_rules, mut of_endpoints) = (Faults::default(), Faults::default());
    for fault in list {
        match &fault.object {
            Some((Kind::Service | Kind::EndpointSlice, _)) => of_endpoints.push(fault),
            Some((Kind::FIXSession, _)) => of_rules.push(fault),
            None => {
                of_rules.push(fault.clone());
                of_endpoints.push(fault);
                of_endpoints.list.pop();
            }
        }
    }
    let by_origin = |a: &Fault, b: &Fault| a.origin.cmp(&b.origin);
    of_rules.list.sort_by(by_origin);
    of_endpoints.list.sort_by(by_origin);
    (of_rules, of_endpoints)
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn route(name: &str) -> String {
        format!(
            "apiVersion: fixgateway.io/v1alpha1\nkind: FIXSession\nmetadata: {{ name: {name}, namespace: t }}\n\
             spec:\n  matchFields: {{ SenderCompID49: {{ value: {name} }} }}\n  \
             target: {{ service: {{ name: engine, port: 1 }} }}\n"
        )
    }

    fn names(world: &World) -> Vec<&str> {
        world
            .rules
            .sessions
            .keys()
            .map(|name| &*name.name)
            .collect()
    }

    fn faults(world: &World) -> Vec<&str> {
        world
            .rules
            .faults
            .list
            .iter()
            .map(|fault| fault.what.as_str())
            .collect()
    }

    fn open(path: &Path) -> Directory {
        Directory::open(path, Vec::new()).unwrap()
    }

    #[test]
    fn a_directory_that_is_not_there_is_told_in_one_sentence() {
        let home = tempfile::tempdir().unwrap();
        let error = Directory::open(&home.path().join("x"), Vec::new())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("there is no directory `"), "{error}");
        fs::write(home.path().join("f"), "").unwrap();
        let error = Directory::open(&home.path().join("f"), Vec::new())
            .unwrap_err()
            .to_string();
        assert!(error.contains("is not a directory"), "{error}");
    }

    #[test]
    fn a_mounted_config_map_is_read_through_its_links_and_once() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path();
        for (version, name) in [("..2026_1", "one"), ("..2026_2", "two")] {
            fs::create_dir(root.join(version)).unwrap();
            fs::write(root.join(version).join("a.yaml"), route(name)).unwrap();
        }
        symlink("..2026_1", root.join("..data")).unwrap();
        symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
        let mut directory = open(root);
        let world = directory.read();
        assert_eq!(names(&world), ["one"]);
        let session = world.rules.sessions.values().next().unwrap();
        let file = session.origin.as_ref().unwrap().file.clone();
        assert!(file.ends_with("/a.yaml") && !file.contains(".."), "{file}");
        symlink("..2026_2", root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        assert_eq!(names(&directory.read()), ["two"]);
    }

    #[test]
    fn nothing_outside_is_read_and_loops_end() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("x.yaml"), route("outside")).unwrap();
        let home = tempfile::tempdir().unwrap();
        let root = home.path();
        fs::create_dir(root.join("sub")).unwrap();
        fs::write(root.join("sub/a.yaml"), route("inside")).unwrap();
        symlink(outside.path().join("x.yaml"), root.join("x.yaml")).unwrap();
        symlink(outside.path(), root.join("away")).unwrap();
        symlink("..", root.join("sub/up")).unwrap();
        symlink("sub/a.yaml", root.join("zz.yaml")).unwrap();
        let world = open(root).read();
        assert_eq!(names(&world), ["inside"]);
        assert_eq!(faults(&world).len(), 2, "{:?}", faults(&world));
        assert!(
            faults(&world)
                .iter()
                .all(|what| what.contains("outside of the directory"))
        );
    }

    #[test]
    fn a_link_that_leads_nowhere_is_a_fault_and_a_deleted_file_is_none() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("a.yaml"), route("a")).unwrap();
        let mut directory = open(home.path());
        assert_eq!(names(&directory.read()), ["a"]);
        fs::remove_file(home.path().join("a.yaml")).unwrap();
        let world = directory.read();
        assert!(names(&world).is_empty() && faults(&world).is_empty());
        symlink("nowhere.yaml", home.path().join("a.yaml")).unwrap();
        let world = directory.read();
        assert_eq!(
            faults(&world),
            ["cannot be read (entity not found); mend the link or the rights, or delete it"]
        );
    }

    #[test]
    fn a_directory_that_goes_away_covers_all_that_was_in_it() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("rules");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("a.yaml"), route("a")).unwrap();
        let mut directory = open(&root);
        let before = directory.read();
        let (name, session) = before.rules.sessions.iter().next().unwrap();
        fs::rename(&root, home.path().join("elsewhere")).unwrap();
        let world = directory.read();
        assert!(names(&world).is_empty());
        let cover = |world: &World| {
            world
                .rules
                .faults
                .cover(Kind::FIXSession, name, session.origin.as_ref())
        };
        assert!(cover(&world));
        assert!(
            world
                .endpoints
                .faults
                .cover(Kind::Service, name, session.origin.as_ref())
        );
        fs::rename(home.path().join("elsewhere"), &root).unwrap();
        assert_eq!(directory.read(), before);
    }

    #[test]
    fn bytes_that_are_no_text_and_files_that_are_too_large_are_told() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("a.yaml"), b"a: 1\nb: \xff\n").unwrap();
        let large = fs::File::create(home.path().join("b.yaml")).unwrap();
        large.set_len(FILE_BYTES_MAX + 1).unwrap();
        fs::write(home.path().join("c.yaml"), route("c")).unwrap();
        let world = open(home.path()).read();
        assert_eq!(names(&world), ["c"]);
        assert!(faults(&world)[0].contains("not UTF-8 in line 2"));
        assert!(faults(&world)[1].contains("is larger than"));
    }

    #[test]
    fn an_object_that_is_written_a_thousand_times_is_told_of_in_few_words() {
        let home = tempfile::tempdir().unwrap();
        let again = "- *one\n".repeat(5_000);
        let list = format!(
            "kind: List\nitems:\n- &one {{ apiVersion: v1, kind: Service, metadata: {{ name: a }} }}\n{again}"
        );
        fs::write(home.path().join("a.yaml"), list).unwrap();
        let world = open(home.path()).read();
        let faults = &world.endpoints.faults.list;
        assert_eq!(faults.len(), 5_001);
        for fault in faults {
            assert!(
                fault.what.ends_with(" and in 4997 more places; keep one"),
                "{}",
                fault.what
            );
        }
    }

    #[test]
    fn the_same_content_is_the_same_world() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("a.yaml"), route("a")).unwrap();
        let mut directory = open(home.path());
        let first = directory.read();
        fs::write(home.path().join("a.yaml"), route("a")).unwrap();
        assert_eq!(directory.read(), first);
        // The same size, within one tick of the clock of the file system.
        fs::write(home.path().join("a.yaml"), route("b")).unwrap();
        assert_eq!(names(&directory.read()), ["b"]);
    }

    #[tokio::test]
    async fn edits_new_files_new_directories_and_deletions_are_noticed() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("rules");
        fs::create_dir(&root).unwrap();
        let mut worlds = open(&root).follow();
        assert!(names(&worlds.borrow_and_update()).is_empty());
        let limit = Duration::from_mins(1);
        let mut expect = async |wanted: &[&str]| {
            let arrived = worlds.wait_for(|world| names(world) == wanted);
            let arrived = tokio::time::timeout(limit, arrived).await;
            arrived.expect("the change arrives").unwrap();
        };
        fs::write(root.join("a.yaml"), route("a")).unwrap();
        expect(&["a"]).await;
        fs::write(root.join("a.yaml"), route("b")).unwrap();
        expect(&["b"]).await;
        fs::create_dir(root.join("sub")).unwrap();
        fs::write(root.join("sub/c.yaml"), route("c")).unwrap();
        expect(&["b", "c"]).await;
        fs::remove_file(root.join("a.yaml")).unwrap();
        expect(&["c"]).await;
        // Another directory in its place.
        fs::rename(&root, home.path().join("old")).unwrap();
        fs::create_dir(&root).unwrap();
        fs::write(root.join("d.yaml"), route("d")).unwrap();
        expect(&["d"]).await;
    }
}

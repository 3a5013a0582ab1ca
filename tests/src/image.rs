//! A container without an engine: the tree of an image and the libraries of its base as a root file system that nobody can
//! write to, and a program in it that is no root and has no rights. No rights are needed for that, either.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::process::Process;
use crate::tool;

/// The user of the images.
pub const USER: u32 = 65_532;

/// What a "cc" base brings, and nothing else is there.
const LIBRARIES: [&str; 8] = [
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
    "linux-vdso.so.1",
];

/// The directories of a container: mounted from outside, but for `/run/fixgw`, an emptyDir. Then the root file system is made
/// read-only, the user changes, and the program runs. `$0` is the root.
const ENTER: &str = "set -e
mount --bind \"$0\" \"$0\"
mount --rbind /proc \"$0/proc\"
mount --rbind /dev \"$0/dev\"
mount -t tmpfs tmpfs \"$0/run/fixgw\"
mount -o remount,bind,ro \"$0\"
exec unshare --user --map-user=65532 --map-group=65532 --root=\"$0\" --wd=/ \"$@\"";

/// An image's tree with a base under it.
pub struct Image {
    root: TempDir,
}

impl Image {
    /// Lays out the image of this name with the programs that tests start.
    #[must_use]
    pub fn lay_out(name: &str) -> Self {
        let root = TempDir::with_prefix("fixgw-e2e-image-").expect("a directory can be made");
        let profile = tool::program("fixgw");
        let profile = profile.parent().and_then(Path::file_name);
        let made = Command::new(tool::repository().join("scripts/image-tree"))
            .args((profile.is_some_and(|name| name == "debug")).then_some("--debug"))
            .arg(name)
            .arg(root.path())
            .output()
            .expect("the script is there");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{said}");
        Self { root }
    }

    /// Its files, from its root.
    #[must_use]
    pub fn files(&self) -> Vec<(String, u32)> {
        let mut found = Vec::new();
        let mut directories = vec![self.root.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).expect("a directory") {
                let path = entry.expect("an entry").path();
                let about = path.symlink_metadata().expect("it is there");
                if about.is_dir() {
                    directories.push(path);
                } else {
                    let path = path.strip_prefix(self.root.path()).expect("it is below");
                    let mode = about.permissions().mode() & 0o7777;
                    found.push((format!("/{}", path.display()), mode));
                }
            }
        }
        found.sort();
        found
    }

    /// Puts the libraries of its programs under it, and these files: path and content.
    #[must_use]
    pub fn with_base(self, files: &[(&str, &str)]) -> Self {
        for directory in ["proc", "dev", "run/fixgw", "tmp", "etc"] {
            std::fs::create_dir_all(self.path(directory)).expect("a directory can be made");
        }
        for (program, mode) in self.files() {
            if mode & 0o111 != 0 {
                self.put_libraries(&program);
            }
        }
        for (path, content) in files {
            self.put(path, content);
        }
        self
    }

    /// Puts one more file into it.
    pub fn put(&self, path: &str, content: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("a file has a directory"))
            .expect("a directory can be made");
        std::fs::write(path, content).expect("the directory takes a file");
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    /// From this machine, of which the base would be.
    fn put_libraries(&self, program: &str) {
        let needed = Command::new("ldd").arg(self.path(program)).output();
        let needed = needed.expect("`ldd` is there");
        for line in String::from_utf8_lossy(&needed.stdout).lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let name = words.first().and_then(|word| word.rsplit('/').next());
            let name = name.unwrap_or_default();
            assert!(
                LIBRARIES.contains(&name),
                "{program} needs `{name}`, which a base has not"
            );
            let Some(library) = words.iter().find(|word| word.starts_with('/')) else {
                continue;
            };
            let place = self.path(library);
            std::fs::create_dir_all(place.parent().expect("a file has a directory"))
                .expect("a directory can be made");
            std::fs::copy(library, place).expect("a library can be read");
        }
    }

    fn enter(&self, command: &mut Command, arguments: &[&str]) {
        command
            .args(["-rm", "sh", "-c", ENTER])
            .arg(self.root.path())
            .args(arguments);
        // As in a container: nothing of this machine's environment.
        for (name, _) in std::env::vars_os() {
            if name != "PATH" {
                command.env_remove(name);
            }
        }
    }

    /// Runs a program of it, and waits for its end.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("unshare");
        self.enter(&mut command, arguments);
        command.output().expect("`unshare` is there")
    }

    /// Starts a program of it, which keeps the process id.
    #[must_use]
    pub fn start(&self, name: &str, arguments: &[&str]) -> Process {
        Process::start(name, "unshare", |command| self.enter(command, arguments))
    }
}

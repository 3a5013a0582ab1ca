//! What does a container see of the world, and how is a program started in it?
//!
//! A pod has a network of its own, with an address that the other pods reach. A container has a root file system of its own, made of its
//! image and its volumes, to which nobody can write; and no privileges. Its process is a child of the thread that starts
//! it, and ends with that thread.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::inside::{BRIDGE, HOST, ip};
use crate::process::{Process, wait_until};

/// A pod's network, which is there as long as this is.
pub(super) struct Network {
    // Owns the namespace: the last process in it is what keeps it.
    pause: Process,
    address: Ipv4Addr,
}

/// What a container mounts.
pub(super) struct Mount {
    pub(super) inside: PathBuf,
    pub(super) here: PathBuf,
    pub(super) writing: Writing,
}

/// Whether a container may write there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    Allowed,
    Refused,
}

/// All that a program in a container is started with.
pub(super) struct Container<'a> {
    pub(super) name: String,
    pub(super) hostname: &'a str,
    pub(super) mounts: Vec<Mount>,
    /// The whole root, as far as no mount says something else.
    pub(super) root: Writing,
    pub(super) address: Ipv4Addr,
    /// How names are resolved.
    pub(super) resolver: String,
    pub(super) environment: &'a [(String, String)],
    pub(super) words: Vec<String>,
    /// An empty directory, on which the root is mounted.
    pub(super) place: &'a Path,
}

const MARK: &str = "FIXGW_TEST_RUN";

/// Drops every privilege. Of the machine's programs, all that is in a container.
const SETPRIV: &str = "/usr/bin/setpriv";

impl Network {
    /// A new one with this address, which no other has.
    pub(super) fn new(pod: &str, address: Ipv4Addr) -> Self {
        let pause = Process::start(&format!("{pod}: pause"), "unshare", |command| {
            command.args(["--net", "--", "sleep", "infinity"]);
        });
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let pid = pause.pid().to_string();
        wait_until("the network of a pod", || {
            // Before it is `sleep`, it may not be there yet.
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            (name.trim() == "sleep" && namespace(&pid)? != namespace("self")?).then_some(())
        });
        let [.., third, fourth] = address.octets();
        // Of at most 15 bytes.
        let outside = format!("pod{third}-{fourth}");
        ip(&[
            "link", "add", &outside, "type", "veth", "peer", "name", "eth0", "netns", &pid,
        ]);
        ip(&["link", "set", &outside, "master", BRIDGE, "up"]);
        let network = Self { pause, address };
        let address = format!("{address}/16");
        for arguments in [
            &["link", "set", "lo", "up"][..],
            &["addr", "add", &address, "dev", "eth0"],
            &["link", "set", "eth0", "up"],
            &["route", "add", "default", "via", HOST],
        ] {
            let mut command = Command::new("nsenter");
            command.args(["--target", &pid, "--net", "--", "ip"]);
            let done = command
                .args(arguments)
                .output()
                .expect("`nsenter` can be run");
            let error = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "ip {arguments:?}: {error}");
        }
        network
    }

    pub(super) const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Starts a program in a container of this pod.
    pub(super) fn start(&self, container: Container<'_>) -> Process {
        let script = script(&container);
        Process::start(&container.name, "nsenter", |command| {
            command.args(["--target", &self.pause.pid().to_string(), "--net", "--"]);
            command.args(["unshare", "--mount", "--uts", "--"]);
            command.args(["/bin/sh", "-c", &script, "sh"]);
            command.args(container.words);
            set_environment(command, container.environment);
        })
    }
}

/// Starts another program in the container of a program: a hook, or a probe.
pub(super) fn start_beside(
    name: &str,
    pid: u32,
    environment: &[(String, String)],
    words: &[String],
) -> Process {
    Process::start(name, "nsenter", |command| {
        command.args(["--target", &pid.to_string()]);
        command.args(["--net", "--mount", "--uts", "--root", "--wd=/", "--"]);
        command.args(unprivileged()).args(words);
        set_environment(command, environment);
    })
}

fn set_environment(command: &mut Command, environment: &[(String, String)]) {
    // What starts it is found by the test's own.
    command.env_clear();
    command.env(
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    );
    // By this `make test` finds what was left running.
    if let Some(mark) = std::env::var_os(MARK) {
        command.env(MARK, mark);
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
}

fn unprivileged() -> [&'static str; 6] {
    [
        SETPRIV,
        "--pdeathsig=KILL",
        "--no-new-privs",
        "--inh-caps=-all",
        "--bounding-set=-all",
        "--",
    ]
}

/// Mounts the container's root, and becomes the program in it. To be run in a mount namespace of its own.
fn script(container: &Container<'_>) -> String {
    let root = quoted(container.place);
    let mut script = format!(
        "set -e\numask 022\nhostname {}\nmount -t tmpfs -o mode=755 container {root}\ncd {root}\n\
         mkdir -p dev etc proc tmp usr/bin usr/lib\n",
        quoted(Path::new(container.hostname))
    );
    // Of a machine whose /lib is a part of /usr, links; else directories.
    for directory in ["lib", "lib64", "bin", "sbin"] {
        let path = Path::new("/").join(directory);
        if let Ok(target) = std::fs::read_link(&path) {
            let _ = writeln!(script, "ln -s {} {directory}", quoted(&target));
        }
    }
    let mounts: Vec<Mount> = [
        "/dev",
        "/proc",
        "/usr/lib",
        "/usr/lib64",
        "/lib",
        "/lib64",
        SETPRIV,
    ]
    .map(PathBuf::from)
    .into_iter()
    .filter(|path| path.exists() && !path.is_symlink())
    .map(|path| Mount {
        inside: path.clone(),
        here: path,
        writing: Writing::Allowed,
    })
    .collect();
    let _ = writeln!(
        script,
        "echo 'hosts: files dns' > etc/nsswitch.conf\necho root:x:0:0::/:/ > etc/passwd\necho root:x:0: > etc/group\n\
         cat > etc/resolv.conf <<'END'\n{}END\n\
         cat > etc/hosts <<'END'\n127.0.0.1 localhost\n{} {}\nEND",
        container.resolver, container.address, container.hostname
    );
    let mut given: Vec<&Mount> = mounts.iter().chain(&container.mounts).collect();
    // What lies within another comes after it.
    given.sort_by_key(|mount| mount.inside.components().count());
    for mount in &given {
        let inside = quoted(mount.inside.strip_prefix("/").unwrap_or(&mount.inside));
        let parent = mount.inside.strip_prefix("/").ok().and_then(Path::parent);
        let parent = quoted(parent.unwrap_or(Path::new(".")));
        let _ = if mount.here.is_dir() {
            writeln!(script, "mkdir -p {inside}")
        } else {
            writeln!(
                script,
                "mkdir -p ./{parent}\n[ -e {inside} ] || : > {inside}"
            )
        };
        let _ = writeln!(script, "mount --rbind {} {inside}", quoted(&mount.here));
    }
    for mount in given {
        if mount.writing == Writing::Refused {
            let inside = quoted(mount.inside.strip_prefix("/").unwrap_or(&mount.inside));
            let _ = writeln!(script, "mount -o remount,bind,ro {inside}");
        }
    }
    if container.root == Writing::Refused {
        let _ = writeln!(script, "mount -o remount,bind,ro {root}");
    }
    let _ = writeln!(script, "exec chroot . {} \"$@\"", unprivileged().join(" "));
    script
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

/// Writes a volume as a kubelet does: every name is a link through `..data`, which is replaced in one step.
pub(super) fn write_volume(directory: &Path, files: &[(String, Vec<u8>, u32)], generation: u64) {
    let name = format!("..data-{generation}");
    let data = directory.join(&name);
    for (file, content, mode) in files {
        let path = data.join(file);
        std::fs::create_dir_all(path.parent().expect("it lies in the volume"))
            .expect("a directory can be made");
        std::fs::write(&path, content).expect("the directory takes a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode))
            .expect("a file of ours");
    }
    std::fs::create_dir_all(&data).expect("a directory can be made");
    let link = |target: &Path, link: &Path| {
        let draft = directory.join("..draft");
        std::os::unix::fs::symlink(target, &draft).expect("a link can be made");
        std::fs::rename(&draft, link).expect("a link can be renamed");
    };
    let current = directory.join("..data");
    let before = std::fs::read_link(&current).ok();
    link(Path::new(&name), &current);
    for (file, ..) in files {
        let first = file.split('/').next().unwrap_or(file);
        link(&Path::new("..data").join(first), &directory.join(first));
    }
    if let Some(before) = before {
        let _ = std::fs::remove_dir_all(directory.join(before));
    }
}

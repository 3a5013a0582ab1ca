//! What does a cluster of ten thousand FIXSessions cost, and how soon does a change of one count? Told, never asserted.
//!
//! A real etcd and API server, two replicas of the operator, two gateways and a flock of live sessions, all on this machine and in
//! namespaces of their own, so the figures have its other work in them. Processor time is that of `/proc/PID/stat`; memory is the
//! resident one, so what an allocator keeps is in it; requests are those of the API server's audit log.
//!
//! Where the time of a change goes is told from outside, by what the API server was asked for and what the operators say:
//! *decided* is up to the first chunk of the new table, less what it settles; *published* until the pointer has moved;
//! *acknowledged* until the last gateway has; *used* until the operator has heard so of the last VM, which reports every 100 ms.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::panic,
    reason = "a benchmark fails by panicking and divides counts"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fixgw_e2e::api::Sent;
use fixgw_e2e::apiserver::ApiServer;
use fixgw_e2e::figure::Told;
use fixgw_e2e::flock::{self, Fold};
use fixgw_e2e::gateway::WORKERS;
use fixgw_e2e::inside;
use fixgw_e2e::many::{all, client, made, object, resource};
use fixgw_e2e::memory::{Memory, cpu_seconds};
use fixgw_e2e::pod::Setup;
use fixgw_e2e::process::{Process, kind, text, wait_until, wait_until_for};
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::socket::raise_open_files;
use fixgw_e2e::tool;
use jiff::Timestamp;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// FIXSessions, unless `FIXGW_KUBERNETES_SESSIONS` says otherwise.
const SESSIONS: usize = 10_000;
/// Services that they lead to.
const SERVICES: usize = 500;
/// Routes that are led elsewhere, one after the other.
const CHANGES: usize = 100;
/// Routes that are added, one after the other, and deleted again.
const ADDED: usize = 25;
/// Live sessions.
const FLOCK: usize = 200;
/// Milliseconds until a change of routes counts.
const SETTLING_MS: f64 = 250.0;
/// Whom the others are compared to: that time, and what is promised.
const SETTLING: &str = "settling";
const AT_MOST: &str = "at most";
/// Who is measured.
const GATEWAYS_ALL: &str = "all gateways";
/// What is promised of an operator, MiB.
const MEMORY_MIB_MAX: f64 = 150.0;
/// Nothing is changed for so long.
const QUIET: Duration = Duration::from_mins(1);
/// Statuses count as written when none was for so long: a replica that has only begun waits for gateways for seven seconds.
const SILENCE: Duration = Duration::from_secs(10);
/// All statuses are written within it: 50 a second, and as long again.
const STATUSES_MAX: Duration = Duration::from_mins(8);
/// Old tables are deleted within it.
const COLLECTED_MAX: Duration = Duration::from_mins(3);
/// Where the replicas listen, on one port each.
const REPLICAS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 1, 1), Ipv4Addr::new(10, 77, 1, 2)];
const XDS_PORT: u16 = 18_000;
const PROBES_PORT: u16 = 8_081;
/// Whom the API server knows them as.
const USERS: [&str; 2] = ["operator-0", "operator-1"];
/// Where engines listen.
const ENGINES: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 1);
const GATEWAYS: [&str; 2] = ["gateway-0", "gateway-1"];
/// Namespace of all objects.
const NAMESPACE: &str = "bench";
const TABLE: &str = "fix-gateway-table";
const OPERATOR_SERVICE: &str = "fix-gateway-operator";

fn main() {
    inside::enter();
    raise_open_files();
    let sessions = std::env::var("FIXGW_KUBERNETES_SESSIONS").ok();
    let sessions = sessions.map_or(SESSIONS, |text| text.parse().expect("a number"));
    for address in REPLICAS.into_iter().chain([ENGINES]) {
        inside::add_address(address.into());
    }
    let fold = Fold::open_on(ENGINES);
    let cluster = Cluster::start(sessions, fold.address());
    let mut audit = Audit::of(&cluster.server);
    let began = Instant::now();
    let mut replicas = [0, 1].map(|number| Replica::start(&cluster.server, number));
    for replica in &replicas {
        replica.wait_ready();
    }
    tell(
        ("cluster: start", "all objects there"),
        "first start",
        ("until both replicas serve", "s"),
        None,
        began.elapsed().as_secs_f64(),
    );
    let addresses = REPLICAS.map(|ip| SocketAddr::from((ip, XDS_PORT)));
    let gateways = GATEWAYS.map(|node| Setup::asking_all(&addresses).node(node).start_ready());
    let flock = fold.gather(gateways[0].address(), FLOCK);
    let leader = leader(&replicas);
    used(&replicas, newest(&replicas[leader]));
    tell_memory("after the start", &replicas, leader);
    tell_statuses(&cluster, &mut audit);
    tell_memory("with all statuses written", &replicas, leader);

    tell_changes(&cluster, &mut audit, &replicas, leader);
    wait_silence(&mut audit);
    tell_memory("after these changes", &replicas, leader);
    cluster.wait_collected();
    wait_silence(&mut audit);
    tell_quiet(&mut audit, &replicas, leader);

    flock.wait_rounds(1);
    fail_over(&cluster, &replicas, leader);
    tell_cold_start(&cluster, &mut replicas, leader);
    flock.wait_rounds(1);
    let account = flock.end();
    tell(
        ("cluster: live sessions", "all of this"),
        "live sessions",
        ("sessions", ""),
        None,
        account.sessions as f64,
    );
    tell(
        ("cluster: live sessions", "all of this"),
        "live sessions",
        ("sessions lost", ""),
        None,
        account.broken as f64,
    );
    tell(
        ("cluster: live sessions", "all of this"),
        "live sessions",
        ("longest pause", "ms"),
        None,
        account.pause.as_millis() as f64,
    );
    drop(gateways);
}

/// Tells what was measured once; with the most that is promised of it.
fn tell(
    (table, load): (&str, &str),
    subject: &str,
    (metric, unit): (&str, &str),
    most: Option<f64>,
    value: f64,
) {
    let told = Told {
        table,
        load,
        metric,
        unit,
        to: most.is_some().then_some(AT_MOST),
    };
    if let Some(most) = most {
        told.of(AT_MOST, &[most]);
    }
    told.of(subject, &[value]);
}

/// An operator.
struct Replica {
    process: Process,
    probes: SocketAddr,
    started: Instant,
}

impl Replica {
    fn start(server: &ApiServer, number: usize) -> Self {
        let ip = REPLICAS[number];
        let kubeconfig = server.kubeconfig_of(USERS[number]);
        let [xds, probes] = [XDS_PORT, PROBES_PORT].map(|port| SocketAddr::from((ip, port)));
        let started = Instant::now();
        let process = Process::start(USERS[number], tool::program("fixgw"), |command| {
            command.env("KUBECONFIG", kubeconfig);
            command.args(["operator", "--output", "json", "--namespace", NAMESPACE]);
            command.args(["--table", TABLE, "--identity", USERS[number]]);
            command.args(["--peers", OPERATOR_SERVICE, "--pod-ip", &ip.to_string()]);
            command.args(["--xds", &xds.to_string(), "--probes", &probes.to_string()]);
            command.arg("--filter").arg(tool::filter());
        });
        Self {
            process,
            probes,
            started,
        }
    }

    /// Waits until it is ready, and says how long that took.
    fn wait_ready(&self) -> Duration {
        wait_until("an operator to be ready", || {
            TcpStream::connect(self.probes).ok()?;
            let mut client = RawClient::connect(self.probes);
            client.send(b"GET /readyz HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n");
            let answer = client.take_to_end();
            answer.starts_with(b"HTTP/1.1 200").then_some(())
        });
        self.started.elapsed()
    }

    fn leads(&self, mark: usize) -> bool {
        let events = self.process.events();
        let mut events = events.get(mark..).unwrap_or_default().iter();
        events.any(|event| text(event, "message").starts_with("this replica leads:"))
    }
}

/// The one that leads.
fn leader(replicas: &[Replica; 2]) -> usize {
    let leads = || replicas.iter().position(|replica| replica.leads(0));
    wait_until("a replica to lead", leads)
}

/// Waits until a replica has published a table that is newer.
fn wait_published(replica: &Replica, newer_than: u64) -> u64 {
    replica
        .process
        .wait_all("a table to be published", |events| {
            let mut revisions = events.iter().filter_map(published);
            revisions.find(|revision| *revision > newer_than)
        })
}

/// The revision that this tells the publication of.
fn published(event: &Value) -> Option<u64> {
    let rest = text(event, "message").strip_prefix("table ")?;
    let (revision, _) = rest.split_once(" is published")?;
    revision.parse().ok()
}

fn newest(replica: &Replica) -> u64 {
    let events = replica.process.events();
    events.iter().filter_map(published).max().unwrap_or(0)
}

fn time_of(event: &Value) -> Timestamp {
    text(event, "time").parse().expect("an event has a time")
}

/// When the last gateway has acknowledged a revision.
fn acknowledged(replicas: &[Replica; 2], revision: u64) -> Timestamp {
    let acknowledged = format!("acknowledged revision {revision}");
    last_of(replicas, GATEWAYS.len(), |line| {
        line.ends_with(&acknowledged).then_some(line)
    })
}

/// When the last VM was heard to use a revision. A replica tells it of those that ask the other one, too.
fn used(replicas: &[Replica; 2], revision: u64) -> Timestamp {
    let uses = format!("uses revision {revision}, ");
    last_of(replicas, GATEWAYS.len() * (WORKERS as usize + 1), |line| {
        line.contains(&uses).then(|| line.rsplit(' ').next())?
    })
}

/// Waits until so many different things were said, whichever the operators say first, and tells when the last of them was.
fn last_of(
    replicas: &[Replica; 2],
    count: usize,
    which: impl Fn(&str) -> Option<&str>,
) -> Timestamp {
    wait_until("gateways to be heard of", || {
        let events = replicas.iter().flat_map(|it| it.process.events());
        let mut found: BTreeMap<String, Timestamp> = BTreeMap::new();
        for event in events.filter(|event| kind(event) == "gateway") {
            if let Some(thing) = which(text(&event, "message")) {
                let first = found.entry(thing.to_owned()).or_insert(Timestamp::MAX);
                *first = time_of(&event).min(*first);
            }
        }
        (found.len() == count).then(|| found.into_values().max())?
    })
}

fn tell_memory(when: &str, replicas: &[Replica; 2], leader: usize) {
    let memory = |number: usize| {
        let memory = Memory::of("operator", replicas[number].process.pid());
        [memory.now_kb(), memory.highest_kb()].map(|kb| kb as f64 / 1_024.0)
    };
    for (subject, number) in [("leader", leader), ("follower", 1 - leader)] {
        let [now, most] = memory(number);
        tell(
            ("cluster: memory", when),
            subject,
            ("memory", "MiB"),
            Some(MEMORY_MIB_MAX),
            now,
        );
        tell(
            ("cluster: memory", when),
            subject,
            ("most memory so far", "MiB"),
            None,
            most,
        );
    }
}

/// Waits until no status is written any more, and tells what was. Gateways come when first statuses are written already, so there are two
/// changes of each object here.
fn tell_statuses(cluster: &Cluster, audit: &mut Audit) {
    wait_silence(audit);
    let written = audit.statuses(Timestamp::UNIX_EPOCH);
    tell_written(
        &format!("first statuses of {} objects", cluster.sessions + 1),
        &written,
    );
}

fn wait_silence(audit: &mut Audit) {
    let mut last = (0, Instant::now());
    wait_until_for(STATUSES_MAX, "the last status to be written", || {
        audit.read();
        let now = audit.asked.iter().filter(|asked| asked.is_status()).count();
        if now != last.0 {
            last = (now, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(100));
        (last.1.elapsed() > SILENCE).then_some(())
    });
}

/// One change, in milliseconds of each of its parts.
struct Parts {
    decided: f64,
    published: f64,
    acknowledged: f64,
    used: f64,
    /// From the answer of the API server until the last gateway has acknowledged.
    all: f64,
}

/// Where the time of a change goes.
struct Part {
    name: &'static str,
    of: fn(&Parts) -> f64,
}

const PARTS: [Part; 4] = [
    Part {
        name: "decided",
        of: |parts| parts.decided,
    },
    Part {
        name: "published",
        of: |parts| parts.published,
    },
    Part {
        name: "acknowledged",
        of: |parts| parts.acknowledged,
    },
    Part {
        name: "used by every VM",
        of: |parts| parts.used,
    },
];

fn tell_changes(cluster: &Cluster, audit: &mut Audit, replicas: &[Replica; 2], leader: usize) {
    let began = Timestamp::now();
    let changes: [(&str, usize, Change); 3] = [
        ("a route is led elsewhere", CHANGES, Cluster::lead_elsewhere),
        ("a route is added", ADDED, Cluster::add),
        ("a route is deleted", ADDED, Cluster::delete),
    ];
    for (what, count, change) in changes {
        let cpu = |number: usize| cpu_seconds(replicas[number].process.pid());
        let before = [cpu(leader), cpu(1 - leader)];
        let parts: Vec<Parts> = (0..count)
            .map(|number| {
                let revision = newest(&replicas[leader]);
                change(cluster, number);
                let taken = Timestamp::now();
                measured(audit, replicas, leader, revision, taken)
            })
            .collect();
        let cpu = [cpu(leader) - before[0], cpu(1 - leader) - before[1]];
        let cpu = cpu.map(|seconds| seconds * 1e3 / count as f64);
        let told = Told {
            table: "cluster: changes",
            load: what,
            metric: "until all gateways have acknowledged",
            unit: "ms",
            to: Some(SETTLING),
        };
        let all: Vec<f64> = parts.iter().map(|parts| parts.all).collect();
        told.of(SETTLING, &vec![SETTLING_MS; count]);
        told.of(GATEWAYS_ALL, &all);
        let p99 = Told {
            metric: "its p99",
            ..told
        };
        p99.of(SETTLING, &[SETTLING_MS]);
        p99.of(GATEWAYS_ALL, &[percentile(all, 0.99)]);
        for part in PARTS {
            let told = Told {
                metric: part.name,
                to: None,
                ..told
            };
            let rounds: Vec<f64> = parts.iter().map(part.of).collect();
            told.of(GATEWAYS_ALL, &rounds);
        }
        for (subject, cpu) in ["leader", "follower"].into_iter().zip(cpu) {
            let told = Told {
                table: "cluster: changes",
                load: what,
                metric: "CPU for each",
                unit: "ms",
                to: Some("leader"),
            };
            told.of(subject, &[cpu]);
        }
    }
    wait_silence(audit);
    // Each object is changed once, and of those that are deleted nothing is to be said.
    let written = audit.statuses(began);
    let load = format!("statuses of {} changed objects", CHANGES + ADDED);
    tell_written(&load, &written);
    let most = [
        ("writes of one", written.most_of_one, 1.0),
        ("writes in any second", written.most_in_a_second, 50.0),
    ];
    for (metric, writes, most) in most {
        tell(
            ("cluster: statuses", &load),
            "replicas",
            (metric, ""),
            Some(most),
            writes as f64,
        );
    }
}

fn measured(
    audit: &mut Audit,
    replicas: &[Replica; 2],
    leader: usize,
    before: u64,
    taken: Timestamp,
) -> Parts {
    let revision = wait_published(&replicas[leader], before);
    let (acknowledged, used) = (acknowledged(replicas, revision), used(replicas, revision));
    let (decided, published) = wait_until("the audit log to tell of it", || {
        audit.read();
        let since = audit.asked.iter().rev();
        let since = since.take_while(|asked| asked.begun >= taken);
        let maps = since.filter(|asked| asked.resource == "configmaps");
        // Others are read, and deleted, at any time.
        let maps = maps.filter(|asked| asked.verb == "create" || asked.verb == "patch");
        let maps: Vec<&Asked> = maps.collect();
        let pointer = maps.iter().find(|asked| asked.name == TABLE)?;
        let first = maps.iter().map(|asked| asked.begun).min()?;
        Some((first, pointer.ended))
    });
    let ms = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64() * 1e3;
    Parts {
        decided: ms(taken, decided) - SETTLING_MS,
        published: ms(decided, published),
        acknowledged: ms(published, acknowledged),
        used: ms(acknowledged, used),
        all: ms(taken, acknowledged),
    }
}

/// The one that this part of them does not exceed.
fn percentile(mut figures: Vec<f64>, part: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[((figures.len() - 1) as f64 * part).round() as usize]
}

fn tell_quiet(audit: &mut Audit, replicas: &[Replica; 2], leader: usize) {
    let cpu = || [leader, 1 - leader].map(|number| cpu_seconds(replicas[number].process.pid()));
    let (before, began) = (cpu(), Timestamp::now());
    std::thread::sleep(QUIET);
    let (after, ended) = (cpu(), Timestamp::now());
    let cpu = [0, 1].map(|it| 100.0 * (after[it] - before[it]) / QUIET.as_secs_f64());
    audit.read();
    let asked = audit.asked.iter();
    let asked = asked.filter(|asked| began <= asked.begun && asked.begun < ended);
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for asked in asked {
        *kinds
            .entry(format!("{} {}", asked.verb, asked.resource))
            .or_default() += 1;
    }
    let requests: usize = kinds.values().sum();
    let load = "a quiet minute";
    for (subject, cpu) in ["leader", "follower"].into_iter().zip(cpu) {
        tell(
            ("cluster: quiet", load),
            subject,
            ("CPU", "% of a core"),
            None,
            cpu,
        );
    }
    for (kind, count) in kinds {
        tell(
            ("cluster: quiet", load),
            "replicas",
            (&kind, ""),
            None,
            count as f64,
        );
    }
    tell(
        ("cluster: quiet", load),
        "replicas",
        ("requests to the API server", ""),
        Some(20.0),
        requests as f64,
    );
}

/// Kills the leader, and changes a route at once: who leads next publishes it.
fn fail_over(cluster: &Cluster, replicas: &[Replica; 2], leader: usize) {
    let other = &replicas[1 - leader];
    let (mark, before) = (other.process.mark(), newest(&replicas[leader]));
    replicas[leader].process.kill();
    let killed = Instant::now();
    cluster.lead_elsewhere(CHANGES);
    wait_until("the other replica to lead", || {
        other.leads(mark).then_some(())
    });
    let led = killed.elapsed().as_secs_f64();
    used(replicas, wait_published(&replicas[1 - leader], before));
    let load = "the leader is killed";
    tell(
        ("cluster: leader", load),
        "the other replica",
        ("leads after", "s"),
        Some(15.0),
        led,
    );
    let used = killed.elapsed().as_secs_f64();
    tell(
        ("cluster: leader", load),
        "the other replica",
        ("a change made meanwhile is used after", "s"),
        None,
        used,
    );
}

fn tell_cold_start(cluster: &Cluster, replicas: &mut [Replica; 2], number: usize) {
    replicas[number] = Replica::start(&cluster.server, number);
    let took = replicas[number].wait_ready().as_secs_f64();
    let pid = replicas[number].process.pid();
    tell(
        ("cluster: start", "all objects there"),
        "cold caches",
        ("until it serves", "s"),
        None,
        took,
    );
    tell(
        ("cluster: start", "all objects there"),
        "cold caches",
        ("CPU", "s"),
        None,
        cpu_seconds(pid),
    );
    tell_memory("after that", replicas, 1 - number);
}

/// One request that a replica has made.
struct Asked {
    begun: Timestamp,
    ended: Timestamp,
    verb: String,
    resource: String,
    subresource: String,
    name: String,
}

impl Asked {
    fn is_status(&self) -> bool {
        self.resource == "fixsessions" && self.subresource == "status"
    }
}

/// What the replicas have asked the API server for.
struct Audit {
    path: PathBuf,
    read_up_to: u64,
    /// A request that lasts is written down when it begins and when it ends.
    seen: BTreeSet<String>,
    asked: Vec<Asked>,
}

impl Audit {
    fn of(server: &ApiServer) -> Self {
        Self {
            path: server.audit_log(),
            read_up_to: 0,
            seen: BTreeSet::new(),
            asked: Vec::new(),
        }
    }

    /// Reads what was written since.
    fn read(&mut self) {
        let Ok(mut file) = std::fs::File::open(&self.path) else {
            return;
        };
        file.seek(SeekFrom::Start(self.read_up_to))
            .expect("a file of the server's");
        let mut lines = BufReader::new(file);
        let mut line = String::new();
        while lines.read_line(&mut line).expect("it is text") > 0 && line.ends_with('\n') {
            self.read_up_to += line.len() as u64;
            self.take(&serde_json::from_str(&line).expect("a line is an event"));
            line.clear();
        }
    }

    fn take(&mut self, event: &Value) {
        if !self.seen.insert(text(event, "auditID").to_owned()) {
            return;
        }
        let time = |key: &str| text(event, key).parse().expect("it has a time");
        let of = |key: &str| event["objectRef"][key].as_str().unwrap_or("").to_owned();
        let asked = Asked {
            begun: time("requestReceivedTimestamp"),
            ended: time("stageTimestamp"),
            verb: text(event, "verb").to_owned(),
            resource: of("resource"),
            subresource: of("subresource"),
            name: of("name"),
        };
        self.asked.push(asked);
    }

    /// The writes of statuses since then.
    fn statuses(&self, since: Timestamp) -> Written {
        let writes = self.asked.iter();
        let writes = writes.filter(|asked| asked.is_status() && asked.begun >= since);
        let mut times = Vec::new();
        let mut of_object: BTreeMap<&str, usize> = BTreeMap::new();
        for write in writes {
            times.push(write.begun);
            *of_object.entry(&write.name).or_default() += 1;
        }
        times.sort();
        let second = jiff::SignedDuration::from_secs(1);
        let in_second = |at: usize| {
            let end = times.partition_point(|time| time.duration_since(times[at]) < second);
            end - at
        };
        Written {
            writes: times.len(),
            most_of_one: of_object.values().copied().max().unwrap_or(0),
            twice: of_object.values().filter(|writes| **writes > 1).count(),
            most_in_a_second: (0..times.len()).map(in_second).max().unwrap_or(0),
            seconds: times
                .last()
                .map_or(0.0, |last| last.duration_since(times[0]).as_secs_f64()),
        }
    }
}

/// Writes of statuses.
struct Written {
    writes: usize,
    most_of_one: usize,
    /// Objects that were written more than once.
    twice: usize,
    most_in_a_second: usize,
    /// From the first to the last one.
    seconds: f64,
}

fn tell_written(load: &str, written: &Written) {
    for (metric, unit, value) in [
        ("writes", "", written.writes as f64),
        ("within", "s", written.seconds),
        ("objects written more than once", "", written.twice as f64),
    ] {
        tell(
            ("cluster: statuses", load),
            "replicas",
            (metric, unit),
            None,
            value,
        );
    }
}

/// What is done to the route of this number.
type Change = fn(&Cluster, usize);

/// What is on the API server, and whoever writes it.
struct Cluster {
    runtime: Runtime,
    objects: Api<DynamicObject>,
    of: ApiResource,
    sessions: usize,
    server: ApiServer,
}

impl Cluster {
    fn start(sessions: usize, engines: SocketAddr) -> Self {
        let server = ApiServer::start_watched(&USERS);
        let crd = tool::repository().join("crds/fixsession-crd.yaml");
        let crd = std::fs::read_to_string(crd).expect("the CRD is there");
        let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        assert_eq!(server.create(definitions, Sent::Yaml(&crd)).code, 201);
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
        let made = server.create("/api/v1/namespaces", Sent::Json(&namespace));
        assert_eq!(made.code, 201);
        wait_until("FIXSessions to be served", || {
            let path = format!("/apis/fixgateway.io/v1alpha1/namespaces/{NAMESPACE}/fixsessions");
            (server.get(&path).code == 200).then_some(())
        });
        let runtime = Runtime::new().expect("a runtime can be had");
        let client = runtime.block_on(client(&server.kubeconfig()));
        let of = resource("fixgateway.io", "v1alpha1", "FIXSession", "fixsessions");
        let cluster = Self {
            runtime,
            objects: Api::namespaced_with(client.clone(), NAMESPACE, &of),
            of,
            sessions,
            server,
        };
        cluster.fill(&client, engines);
        cluster
    }

    fn fill(&self, client: &kube::Client, engines: SocketAddr) {
        let service_of = resource("", "v1", "Service", "services");
        let slice_of = resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices");
        let services = Api::namespaced_with(client.clone(), NAMESPACE, &service_of);
        let slices = Api::namespaced_with(client.clone(), NAMESPACE, &slice_of);
        let engine = |n: usize| (service(n), vec![engines.ip().to_string()], engines.port());
        let replicas = REPLICAS.map(|ip| ip.to_string()).to_vec();
        let own = (OPERATOR_SERVICE.to_owned(), replicas, XDS_PORT);
        let named: Vec<_> = (0..SERVICES).map(engine).chain([own]).collect();
        let flock = object(&self.of, flock_route());
        let routes = (0..self.sessions).map(|n| object(&self.of, route(n, n % SERVICES)));
        self.runtime.block_on(async {
            let here = named.iter().flat_map(|(name, addresses, port)| {
                let service = object(&service_of, service_object(name, *port));
                let slice = object(&slice_of, slice_object(name, addresses, *port));
                [(services.clone(), service), (slices.clone(), slice)]
            });
            let making = here.map(|(api, object)| async move {
                made(api, object).await;
            });
            Box::pin(all(making)).await;
            all(routes.chain([flock]).map(|object| {
                let objects = self.objects.clone();
                async move {
                    made(objects, object).await;
                }
            }))
            .await;
        });
    }

    /// Waits until there are no more chunks than the table in force has: those before it are kept for a while.
    fn wait_collected(&self) {
        let maps = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
        wait_until_for(COLLECTED_MAX, "old tables to be collected", || {
            let pointer = self.server.get(&format!("{maps}/{TABLE}"));
            let chunks = pointer.body["data"]["chunks"].as_str()?.lines().count();
            let ours = format!("{maps}?labelSelector=fixgateway.io/table={TABLE}");
            let maps = self.server.get_table(&ours);
            std::thread::sleep(Duration::from_millis(500));
            (maps.body["rows"].as_array()?.len() == chunks + 1).then_some(())
        });
    }

    /// Another Service than before, whichever time it is.
    fn lead_elsewhere(&self, number: usize) {
        // Spread over all of them.
        let n = number * 97 % self.sessions;
        let name = service((n + 1 + number) % SERVICES);
        let spec = json!({ "spec": { "target": { "service": { "name": name } } } });
        let (route, spec) = (format!("route-{n}"), Patch::Merge(spec));
        let parameters = PatchParams::default();
        let patched = self.objects.patch(&route, &parameters, &spec);
        self.runtime.block_on(patched).expect("it is taken");
    }

    fn add(&self, number: usize) {
        let n = self.sessions + number;
        let route = object(&self.of, route(n, n % SERVICES));
        self.runtime.block_on(made(self.objects.clone(), route));
    }

    fn delete(&self, number: usize) {
        let name = format!("route-{}", self.sessions + number);
        let parameters = DeleteParams::default();
        let deleted = self.objects.delete(&name, &parameters);
        self.runtime.block_on(deleted).expect("it is taken");
    }
}

fn service(n: usize) -> String {
    format!("engine-{n}")
}

fn route(n: usize, to: usize) -> Value {
    json!({
        "metadata": { "name": format!("route-{n}"), "labels": { "team": "equities" } },
        "spec": {
            "matchFields": {
                "SenderCompID49": { "value": format!("BROKER_{n}") },
                "TargetCompID56": { "value": "VENUE" },
            },
            "target": { "service": { "name": service(to), "port": 9876 } },
        },
    })
}

fn flock_route() -> Value {
    json!({
        "metadata": { "name": "flock" },
        "spec": {
            "matchFields": { "SenderCompID49": { "pattern": format!("{}*", flock::PREFIX) } },
            "priority": 1,
            "target": { "service": { "name": service(0), "port": 9876 } },
        },
    })
}

fn service_object(name: &str, port: u16) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": { "clusterIP": "None", "selector": { "app": name }, "ports": [{ "port": 9876, "targetPort": port }] },
    })
}

fn slice_object(service: &str, addresses: &[String], port: u16) -> Value {
    let addresses = addresses.iter();
    let endpoints: Vec<Value> = addresses
        .map(|address| json!({ "addresses": [address], "conditions": { "ready": true } }))
        .collect();
    json!({
        "metadata": { "name": format!("{service}-abcde"), "labels": { "kubernetes.io/service-name": service } },
        "addressType": "IPv4", "ports": [{ "name": "", "port": port }], "endpoints": endpoints,
    })
}

//! A process in a namespace of the lab: started, watched, stopped, paused and measured.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::net::netns::Netns;

/// How often a wait looks again.
const POLL: Duration = Duration::from_millis(5);

/// What to run; see [`crate::Lab::spawn`].
#[derive(Debug, Clone)]
pub struct ProcessSpec {
    pub(crate) name: String,
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Whether it sees the machine's /sys.
    with_cgroups: bool,
}

impl ProcessSpec {
    /// A program under a name that is unique in the lab; its log is `<name>.log`.
    pub fn new(name: impl Into<String>, program: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            with_cgroups: false,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable, beside those of the test.
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }
}

impl ProcessSpec {
    /// Leaves it the machine's /sys, with the cgroups and the machine's network devices, instead of one
    /// that shows the namespace's devices.
    pub(crate) fn with_cgroups(mut self) -> Self {
        self.with_cgroups = true;
        self
    }
}

/// A process that the lab started. Clones are the same process. It is killed with the lab, and by
/// the kernel when the process that owns the lab dies.
#[derive(Debug, Clone)]
pub struct Process {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    spec: ProcessSpec,
    netns: Netns,
    log: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    child: Child,
    /// Of the current life; `None` while it runs.
    status: Option<ExitStatus>,
}

impl Process {
    pub(crate) fn start(spec: ProcessSpec, netns: Netns, logs: &Path) -> Result<Self> {
        let log = logs.join(format!("{}.log", spec.name));
        let child = spawn(&spec, &netns, &log)?;
        let state = Mutex::new(State {
            child,
            status: None,
        });
        Ok(Self {
            inner: Arc::new(Inner {
                spec,
                netns,
                log,
                state,
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.inner.spec.name
    }

    /// The namespace it runs in.
    pub fn netns(&self) -> &Netns {
        &self.inner.netns
    }

    /// The process id of the current (or last) life.
    pub fn pid(&self) -> u32 {
        self.state().child.id()
    }

    /// How the current life ended; `None` while it runs.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        let mut state = self.state();
        if state.status.is_none() {
            state.status = state.child.try_wait().ok().flatten();
        }
        state.status
    }

    /// Whether it runs (a paused process does).
    pub fn is_running(&self) -> bool {
        self.exit_status().is_none()
    }

    /// Sends a signal. An error if the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let name = self.name();
        if let Some(status) = self.exit_status() {
            bail!("cannot send {signal} to {name}: it ended with {status}");
        }
        kill(Pid::from_raw(self.pid().cast_signed()), signal)
            .with_context(|| format!("cannot send {signal} to {name}"))
    }

    /// SIGSTOP: the process hangs, its sockets stay.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT after [`Self::pause`].
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// SIGKILL, and waits for the end.
    pub async fn kill(&self) -> Result<ExitStatus> {
        self.signal(Signal::SIGKILL)?;
        self.wait(Duration::from_secs(10)).await
    }

    /// SIGTERM, and waits up to 30 seconds for the end.
    pub async fn stop(&self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(Duration::from_secs(30)).await
    }

    /// Waits for the end.
    pub async fn wait(&self, timeout: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.exit_status() {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!(
                    "{} has not ended after {timeout:?}\n{}",
                    self.name(),
                    self.log_tail(20)
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Starts it again with the same command; stops it first (SIGTERM) if it runs. The log goes on
    /// in the same file.
    pub async fn restart(&self) -> Result<()> {
        if self.is_running() {
            self.stop().await?;
        }
        let child = spawn(&self.inner.spec, &self.inner.netns, &self.inner.log)?;
        *self.state() = State {
            child,
            status: None,
        };
        Ok(())
    }

    /// SIGKILL without an executor, for the end of the lab.
    pub(crate) fn kill_now(&self) {
        if self.is_running() {
            let mut state = self.state();
            // It may have ended by itself in between.
            let _ = state.child.kill();
            state.status = state.child.wait().ok();
        }
    }

    /// Where its standard output and error go.
    pub fn log_path(&self) -> &Path {
        &self.inner.log
    }

    /// All that it has printed, in all its lives.
    pub fn log(&self) -> String {
        fs::read(&self.inner.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The last lines of the log, for an error message.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Resident memory in bytes (`VmRSS`).
    pub fn rss_bytes(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kib: u64 = kib
            .context("no VmRSS: the process has ended")?
            .trim()
            .parse()?;
        Ok(kib * 1024)
    }

    /// CPU time used in the current life, user and system, in steps of 10 ms.
    pub fn cpu_time(&self) -> Result<Duration> {
        let fields = stat_fields(self.pid())?;
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        let hertz = sysconf(SysconfVar::CLK_TCK)?.context("the kernel has no CLK_TCK")?;
        Ok(Duration::from_millis(ticks * 1000 / hertz.cast_unsigned()))
    }

    /// Whether the last life ended by this signal.
    pub fn ended_by(&self, signal: Signal) -> bool {
        self.exit_status().and_then(|status| status.signal()) == Some(signal as i32)
    }
}

/// The fields of `/proc/<pid>/stat` that follow the command's name; the first is the state.
fn stat_fields(pid: u32) -> Result<Vec<String>> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let (_, rest) = stat
        .rsplit_once(')')
        .with_context(|| format!("{path} has no name"))?;
    Ok(rest.split_whitespace().map(String::from).collect())
}

/// When a running process started, in clock ticks since boot: with the pid it names a process for good.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    let fields = stat_fields(pid).ok()?;
    // A zombie is dead, however long its parent takes to notice.
    if matches!(fields.first()?.as_str(), "Z" | "X") {
        return None;
    }
    fields.get(19)?.parse().ok()
}

/// `ip netns exec` gives the process the namespace's own /sys, `nsenter` does not; `setpriv` ties its
/// life to ours. They become the program by exec, so its pid is the child's.
fn spawn(spec: &ProcessSpec, netns: &Netns, log: &Path) -> Result<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    let mut command = if spec.with_cgroups {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", netns.path().display()));
        command
    } else {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", netns.name()]);
        command
    };
    command.args(["setpriv", "--pdeathsig", "KILL", "--"]);
    command
        .arg(&spec.program)
        .args(&spec.args)
        .envs(spec.env.iter().map(|(k, v)| (k, v)));
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    spawn_for_life(command).with_context(|| format!("cannot start {}", spec.name))
}

type Order = (Command, SyncSender<std::io::Result<Child>>);

/// Spawns from a thread that lives as long as the process: the parent-death signal is sent when
/// the *thread* that spawned a child ends, and test runtimes end their threads early.
fn spawn_for_life(command: Command) -> Result<Child> {
    static SPAWNER: OnceLock<SyncSender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, orders): (_, Receiver<Order>) = sync_channel(16);
        std::thread::spawn(move || {
            for (mut command, answer) in orders {
                // Whoever asked waits for the answer.
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (sender, receiver) = sync_channel(1);
    spawner
        .send((command, sender))
        .context("the spawning thread has ended")?;
    Ok(receiver.recv().context("the spawning thread has ended")??)
}

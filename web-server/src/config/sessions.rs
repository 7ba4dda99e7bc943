//! `sessions:`: the user that sessions run as, their resource limits, isolation, network and lifetimes.

use std::os::unix::fs::PermissionsExt;

use clap::Args;
use common::ipc::{Isolation, ProgramNetwork};
use common::lifetime::{LIFETIME_S, OnIdle, StreamerPatch, TimeLimit};
use common::spec::InvalidField;
use rustix::fs::Access;
use serde::Deserialize;
use serde::de::value::{Error as ValueError, StrDeserializer};

use crate::supervisor::cgroup::SessionLimits;
use crate::supervisor::users::{RunAs, UserRange};
use crate::user::{self, SessionUser};

/// The program that connects a network namespace to the outside; its package has the same name.
const NAT_PROGRAM: &str = "slirp4netns";
/// The device that it takes packets from.
const TUN: &str = "/dev/net/tun";
/// Smallest limit of memory with which a session can start, MiB.
const MIN_MEMORY_MB: u32 = 64;
/// A desktop is about twenty threads and processes, a browser in it a hundred.
const MIN_PROCESSES: u32 = 32;
/// Bounds of the kernel.
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=10_000;

/// `sessions:` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// `--session-user`.
    pub user: Option<String>,
    /// `--session-users`.
    pub users: Option<UserRange>,
    /// `--session-memory-mb`.
    pub memory_mb: Option<u32>,
    /// `--session-processes`.
    pub processes: Option<u32>,
    /// `--session-cpu-weight`.
    pub cpu_weight: Option<u32>,
    /// `--session-isolation`.
    pub isolation: Option<Isolation>,
    /// `--session-network`.
    pub network: Option<ProgramNetwork>,
    /// `--session-expires-in-s`.
    pub expires_in_s: Option<u32>,
    /// `--session-idle-timeout-s`.
    pub idle_timeout_s: Option<u32>,
    /// `--session-on-idle`.
    pub on_idle: Option<OnIdle>,
}

/// Settings from flags and environment, completed from the file.
#[derive(Debug, Default, Args)]
#[group(skip)]
pub struct Options {
    /// User that sessions run as, when the server is root [default: the server's]
    #[arg(long, env = "ORIEL_SESSION_USER", value_name = "NAME")]
    pub session_user: Option<String>,

    /// Ids of users, such as 20000-20999, when the server is root: each session runs as one of its own [default: none]
    #[arg(long, env = "ORIEL_SESSION_USERS", value_name = "FIRST-LAST")]
    pub session_users: Option<UserRange>,

    /// Memory of one session, MiB; by its control group [default: not limited]
    #[arg(long, env = "ORIEL_SESSION_MEMORY_MB", value_name = "MB")]
    pub session_memory_mb: Option<u32>,

    /// Processes and threads of one session; by its control group [default: not limited]
    #[arg(long, env = "ORIEL_SESSION_PROCESSES", value_name = "N")]
    pub session_processes: Option<u32>,

    /// Share of busy processors of one session, 1..=10000, where others have 100; by its control group [default: 100]
    #[arg(long, env = "ORIEL_SESSION_CPU_WEIGHT", value_name = "N")]
    pub session_cpu_weight: Option<u32>,

    /// Whether programs of sessions are kept from the server's own files: `auto`, where the system allows it, `required`, or no
    /// program is started, or `off` [default: auto]
    #[arg(long, env = "ORIEL_SESSION_ISOLATION", value_name = "HOW", value_parser = parse_isolation)]
    pub session_isolation: Option<Isolation>,

    /// What programs of sessions reach by network: `host`, what this machine does, `isolated`, each other alone, or `nat`, each other and
    /// what this machine does but for its loopback addresses [default: host]
    #[arg(long, env = "ORIEL_SESSION_NETWORK", value_name = "WHAT", value_parser = parse_network)]
    pub session_network: Option<ProgramNetwork>,

    /// Delete a session so many seconds after its creation, where that did not say otherwise [default: never]
    #[arg(long, env = "ORIEL_SESSION_EXPIRES_IN_S", value_name = "SECONDS")]
    pub session_expires_in_s: Option<u32>,

    /// End a session that nobody has used for so many seconds, where its creation did not say otherwise [default: never]
    #[arg(long, env = "ORIEL_SESSION_IDLE_TIMEOUT_S", value_name = "SECONDS")]
    pub session_idle_timeout_s: Option<u32>,

    /// What becomes of such a session: `stop`, its process ends and can be started again, or `delete` [default: stop]
    #[arg(long, env = "ORIEL_SESSION_ON_IDLE", value_name = "HOW", value_parser = parse_on_idle)]
    pub session_on_idle: Option<OnIdle>,
}

fn parse_network(text: &str) -> Result<ProgramNetwork, ValueError> {
    ProgramNetwork::deserialize(StrDeserializer::new(text))
}

fn parse_on_idle(text: &str) -> Result<OnIdle, ValueError> {
    OnIdle::deserialize(StrDeserializer::new(text))
}

fn parse_isolation(text: &str) -> Result<Isolation, ValueError> {
    Isolation::deserialize(StrDeserializer::new(text))
}

impl Options {
    /// These settings; absent ones are taken from the file.
    pub fn over(self, file: File) -> Self {
        Self {
            session_user: self.session_user.or(file.user),
            session_users: self.session_users.or(file.users),
            session_memory_mb: self.session_memory_mb.or(file.memory_mb),
            session_processes: self.session_processes.or(file.processes),
            session_cpu_weight: self.session_cpu_weight.or(file.cpu_weight),
            session_isolation: self.session_isolation.or(file.isolation),
            session_network: self.session_network.or(file.network),
            session_expires_in_s: self.session_expires_in_s.or(file.expires_in_s),
            session_idle_timeout_s: self.session_idle_timeout_s.or(file.idle_timeout_s),
            session_on_idle: self.session_on_idle.or(file.on_idle),
        }
    }
}

/// The settings of this section, with defaults and bounds applied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sessions {
    /// The user or users that sessions run as.
    pub run_as: RunAs,
    /// Resource limits of each session.
    pub limits: SessionLimits,
    /// Whether programs are kept from the server's files.
    pub isolation: Isolation,
    /// What programs reach by network.
    pub network: ProgramNetwork,
    /// Default lifetime of streamers.
    pub lifetime: StreamerPatch,
}

impl Sessions {
    /// Applies defaults and checks bounds.
    ///
    /// # Errors
    /// A value is invalid, or there is no such user.
    pub fn decide(options: &Options) -> Result<Self, InvalidField> {
        let at_least = |field, value: Option<u32>, min: u32| match value {
            Some(value) if value < min => {
                Err(InvalidField::new(field, format!("must be at least {min}, not {value}")))
            }
            value => Ok(value),
        };
        let cpu_weight = match options.session_cpu_weight {
            Some(weight) if !WEIGHTS.contains(&weight) => {
                let message = format!("must be from {} to {}, not {weight}", WEIGHTS.start(), WEIGHTS.end());
                return Err(InvalidField::new("sessions.cpu_weight", message));
            }
            weight => weight,
        };
        let isolation = options.session_isolation.unwrap_or_default();
        let network = options.session_network.unwrap_or_default();
        if isolation == Isolation::Off && network.is_own() {
            let message = "can only be host where sessions.isolation is off";
            return Err(InvalidField::new("sessions.network", message));
        }
        let run_as = run_as(options)?;
        if network == ProgramNetwork::Nat {
            check_nat(&run_as).map_err(|message| InvalidField::new("sessions.network", message))?;
        }
        let lifetime = |field, value: Option<u32>| match value {
            Some(value) if !LIFETIME_S.contains(&value) => {
                let min = LIFETIME_S.start();
                let max = LIFETIME_S.end();
                Err(InvalidField::new(field, format!("must be from {min} to {max}, not {value}")))
            }
            value => Ok(value.map_or(TimeLimit::Unset, TimeLimit::After)),
        };
        Ok(Self {
            run_as,
            limits: SessionLimits {
                memory_mb: at_least("sessions.memory_mb", options.session_memory_mb, MIN_MEMORY_MB)?,
                processes: at_least("sessions.processes", options.session_processes, MIN_PROCESSES)?,
                cpu_weight,
            },
            isolation,
            network,
            lifetime: StreamerPatch {
                expires_in_s: lifetime("sessions.expires_in_s", options.session_expires_in_s)?,
                idle_timeout_s: lifetime("sessions.idle_timeout_s", options.session_idle_timeout_s)?,
                on_idle: options.session_on_idle,
            },
        })
    }
}

/// Either one user or a range of ids may be set.
fn run_as(options: &Options) -> Result<RunAs, InvalidField> {
    match (&options.session_user, options.session_users) {
        (None, None) => Ok(RunAs::Server),
        (Some(name), None) => SessionUser::find(name)
            .map(RunAs::One)
            .map_err(|error| InvalidField::new("sessions.user", error.to_string())),
        (None, Some(range)) => {
            check_range(range).map_err(|message| InvalidField::new("sessions.users", message))?;
            Ok(RunAs::Each(range))
        }
        (Some(_), Some(_)) => {
            let message = "cannot be given together with sessions.user: either all sessions are one user or each is another";
            Err(InvalidField::new("sessions.users", message))
        }
    }
}

/// Checks that the program and the device for `nat` are there.
fn check_nat(run_as: &RunAs) -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|directory| directory.join(NAT_PROGRAM).is_file()) {
        return Err(format!("nat takes {NAT_PROGRAM}, which is not installed (package {NAT_PROGRAM})"));
    }
    let device = std::fs::metadata(TUN).map_err(|error| format!("nat takes the device {TUN}: {error}"))?;
    let is_root = rustix::process::geteuid().is_root();
    let is_for_all = device.permissions().mode() & 0o006 == 0o006;
    let may_open = match run_as {
        RunAs::Server => rustix::fs::access(TUN, Access::READ_OK | Access::WRITE_OK).is_ok(),
        // One of its groups may have it.
        RunAs::One(_) => true,
        RunAs::Each(_) => is_for_all,
    };
    match may_open {
        true => Ok(()),
        false if is_root => {
            Err(format!("nat takes the device {TUN}, which users of sessions may not open (chmod 666)"))
        }
        false => Err(format!("nat takes the device {TUN}, which this user may not open")),
    }
}

/// Checks that we can run sessions as these users, and that the ids belong to no account.
fn check_range(range: UserRange) -> Result<(), String> {
    user::check_root().map_err(|error| error.to_string())?;
    // A file that is not there gives nobody anything.
    let read = |file: &str| std::fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let read = |file: &str| read(file).unwrap_or_default();
    range
        .check_free(&read("/etc/passwd"), &read("/etc/group"), &read("/etc/subuid"))
        .map_err(|taken| taken.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_by_its_name() {
        let refused = |options: Options| Sessions::decide(&options).unwrap_err().field;
        let default = Options::default;
        assert_eq!(refused(Options { session_memory_mb: Some(1), ..default() }), "sessions.memory_mb");
        assert_eq!(refused(Options { session_processes: Some(1), ..default() }), "sessions.processes");
        assert_eq!(refused(Options { session_cpu_weight: Some(0), ..default() }), "sessions.cpu_weight");
        let session_isolation = Some(Isolation::Off);
        let session_network = Some(ProgramNetwork::Isolated);
        assert_eq!(refused(Options { session_isolation, session_network, ..default() }), "sessions.network");
        let idle = Options { session_idle_timeout_s: Some(0), ..default() };
        assert_eq!(refused(idle), "sessions.idle_timeout_s");
        let nobody = Some("no-such-user".to_owned());
        assert_eq!(refused(Options { session_user: nobody, ..default() }), "sessions.user");
        let both = Options {
            session_user: Some("nobody".into()),
            session_users: Some("20000-20999".parse().unwrap()),
            ..default()
        };
        assert_eq!(refused(both), "sessions.users");
    }

    #[test]
    fn a_flag_goes_before_the_file() {
        let flags = Options { session_memory_mb: Some(512), ..Options::default() };
        let file = File { memory_mb: Some(64), isolation: Some(Isolation::Off), ..File::default() };
        let sessions = Sessions::decide(&flags.over(file)).unwrap();
        assert_eq!((sessions.limits.memory_mb, sessions.isolation), (Some(512), Isolation::Off));
    }
}

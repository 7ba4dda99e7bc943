//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use common::cluster::Placement;
use common::id::{PeerId, StreamerId, TokenId};
use common::input::{Button, ButtonOrName, InputCommand};
use common::lifetime::TimeLimit;
use common::person::PeerRight;
use common::restart::RestartPolicy;
use common::signal::Role;

use crate::client::Base;
use crate::{keys, text};

/// Every command, by topic: how `--help` lists them.
pub const TOPICS: &[(&str, &[&str])] = &[
    (
        "Sessions",
        &["ls", "create", "run", "show", "update", "restart", "relocate", "rm", "logs", "events", "open"],
    ),
    (
        "See and steer",
        &["shot", "windows", "type", "key", "click", "move", "drag", "scroll", "clip", "paste", "resize"],
    ),
    ("What is shown", &["slots", "sources"]),
    ("Files", &["files"]),
    ("People", &["peers", "token", "invite", "rooms"]),
    ("Moonlight", &["hosts"]),
    ("Server", &["serve", "config", "nodes"]),
    ("This program", &["context", "completions", "man"]),
];

const AFTER: &str = "\
Exit codes: 0 done, 1 refused or failed, 2 wrong command line, 3 not found, 4 not authorised, 5 unreachable, 6 timed out, 7 the command of `run` failed.
Variables: ORIEL_URL, ORIEL_TOKEN, ORIEL_TOKEN_FILE, ORIEL_CONTEXT, ORIEL_CA_FILE. `oriel COMMAND --help` describes a command.";

/// Sessions without a screen, from the command line
#[derive(Debug, Parser)]
#[command(name = "oriel", bin_name = "oriel", version, disable_help_subcommand = true, after_help = AFTER)]
pub struct Cli {
    /// Which server, and how to talk to it.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command that asks a server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server and output")]
pub struct Global {
    /// Address of the server [env: ORIEL_URL] [default: that of the context, else http://127.0.0.1:8080]
    #[arg(long, global = true, value_parser = Base::parse, conflicts_with = "context")]
    pub url: Option<Base>,
    /// Admin secret or token. Everybody on this machine sees arguments: better by variable, file or context [env: ORIEL_TOKEN]
    #[arg(long, global = true, conflicts_with = "token_file")]
    pub token: Option<String>,
    /// File with the token; `-` is standard input [env: ORIEL_TOKEN_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Named server of `oriel context` [env: ORIEL_CONTEXT]
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Certificates (PEM) that the server is trusted by, in place of the usual authorities [env: ORIEL_CA_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Show the server's JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Longest time that a request takes; for `run` and `hosts pair`, that all of it takes [default: 60s]
    #[arg(long, global = true, value_name = "TIME", value_parser = text::duration)]
    pub timeout: Option<Duration>,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, on the stack of main")]
pub enum Command {
    /// List sessions
    #[command(visible_alias = "list")]
    Ls,
    /// Create a session: a desktop, or what a spec says
    Create(Create),
    /// Create a session that runs a command, and wait until that has ended
    Run(Run),
    /// Show a session
    Show {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
    },
    /// Change how long a session lives
    Update(Update),
    /// Replace a session's process; also starts one that has stopped or failed
    Restart {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
    },
    /// Move a session to another node of the cluster: it is started there, and ended where it is
    Relocate {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
        /// Where to.
        #[command(flatten)]
        place: Place,
    },
    /// Delete sessions
    Rm(Remove),
    /// Show the end of a session's log
    Logs {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
        /// How many lines, 1 to 5000
        #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=5000))]
        tail: u16,
        /// Go on with what is logged from now on, until the session is deleted
        #[arg(short, long)]
        follow: bool,
    },
    /// Show events as they happen, of one session or of all
    Events {
        /// The session
        #[arg(value_parser = id)]
        id: Option<StreamerId>,
        /// End after so many
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        count: Option<u32>,
        /// Go on after the event with this id
        #[arg(long, value_name = "EVENT_ID")]
        since: Option<String>,
    },
    /// Open a session's page in the browser, or print its URL
    Open {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
        /// Print the URL; open nothing
        #[arg(short, long)]
        print: bool,
        /// Make a token of this role and put it into the URL
        #[arg(long = "as", value_name = "ROLE")]
        role: Option<RoleName>,
        /// How long that token is good
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = text::seconds)]
        expires: u32,
    },
    /// Take a snapshot: PNG or JPEG
    Shot {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
        /// Into this file; standard output otherwise
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Format [default: by the name of the file, else png]
        #[arg(long, value_enum)]
        format: Option<Format>,
        /// Scaled down to this width, pixels
        #[arg(long, value_name = "PIXELS")]
        width: Option<u32>,
        /// Of which slot
        #[arg(long, default_value_t = 0)]
        slot: u8,
    },
    /// List the windows of a desktop
    Windows {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
    },
    /// Type a text, whatever the keyboard's layout
    Type {
        /// What is steered.
        #[command(flatten)]
        to: To,
        /// Words, joined by spaces; `-` alone is standard input
        #[arg(required = true, allow_hyphen_values = true)]
        text: Vec<String>,
        /// Press Enter after it
        #[arg(short, long)]
        enter: bool,
    },
    /// Press keys: `ctrl+c`, `enter`, `alt+F4`
    Key {
        /// What is steered.
        #[command(flatten)]
        to: To,
        /// Chords, pressed one after the other
        #[arg(required = true, allow_hyphen_values = true, value_parser = keys::chord, value_name = "CHORD")]
        chords: Vec<InputCommand>,
    },
    /// Click, at a position or where the pointer is
    #[command(allow_negative_numbers = true)]
    Click {
        /// What is steered.
        #[command(flatten)]
        to: To,
        /// Pixels from the left
        #[arg(requires = "y")]
        x: Option<f64>,
        /// Pixels from the top
        y: Option<f64>,
        /// left, middle, right, back, forward, or 1 to 9
        #[arg(short, long, default_value = "left", value_parser = button)]
        button: Button,
        /// How often: 2 is a double click
        #[arg(short, long, default_value_t = 1)]
        count: u8,
    },
    /// Move the pointer
    #[command(allow_negative_numbers = true)]
    Move {
        /// What is steered.
        #[command(flatten)]
        to: To,
        /// Pixels from the left
        x: f64,
        /// Pixels from the top
        y: f64,
        /// By so much from where it is
        #[arg(short, long)]
        relative: bool,
    },
    /// Drag from one position to another
    #[command(allow_negative_numbers = true)]
    Drag {
        /// What is steered.
        #[command(flatten)]
        to: To,
        /// Where the button goes down
        from_x: f64,
        /// Where the button goes down
        from_y: f64,
        /// Where it is released
        to_x: f64,
        /// Where it is released
        to_y: f64,
        /// left, middle, right, back, forward, or 1 to 9
        #[arg(short, long, default_value = "left", value_parser = button)]
        button: Button,
    },
    /// Turn the wheel: notches downwards, and to the right
    #[command(allow_negative_numbers = true)]
    Scroll {
        /// What is steered.
        #[command(flatten)]
        to: To,
        /// Notches downwards; negative is up
        dy: f64,
        /// Notches to the right
        #[arg(default_value_t = 0.0)]
        dx: f64,
        /// There; where the pointer is otherwise
        #[arg(long, num_args = 2, value_names = ["X", "Y"])]
        at: Option<Vec<f64>>,
    },
    /// Read or set a session's clipboard
    #[command(subcommand)]
    Clip(Clip),
    /// Set the clipboard and press ctrl+v
    Paste {
        /// What is steered.
        #[command(flatten)]
        to: To,
        /// The text; standard input otherwise
        text: Option<String>,
    },
    /// Resize a desktop
    Resize {
        /// What is resized.
        #[command(flatten)]
        to: To,
        /// As in 1280x720
        #[arg(value_parser = text::size)]
        size: (u32, u32),
    },
    /// What the slots of a session show
    #[command(subcommand)]
    Slots(Slots),
    /// Named sources of a session
    #[command(subcommand)]
    Sources(Sources),
    /// Files in the home of a session
    #[command(subcommand)]
    Files(Files),
    /// Who is connected to a session
    #[command(subcommand)]
    Peers(Peers),
    /// Tokens for one session
    #[command(subcommand)]
    Token(Token),
    /// Make a link for a person, with a QR code on a terminal
    Invite {
        /// For whom.
        #[command(flatten)]
        token: NewToken,
        /// Show no QR code
        #[arg(long)]
        no_qr: bool,
    },
    /// Rooms, in which people meet
    #[command(subcommand)]
    Rooms(Rooms),
    /// Moonlight hosts
    #[command(subcommand)]
    Hosts(Hosts),
    /// Nodes of the cluster that the server is in
    #[command(subcommand)]
    Nodes(Nodes),
    /// Run the server: `web-server`, which lies beside this program, with these arguments
    #[command(disable_help_flag = true)]
    Serve {
        /// As `oriel serve --help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Check or print the server's configuration
    #[command(disable_help_flag = true)]
    Config {
        /// `check` whether the server would start with it, or `print` every setting and where it comes from
        what: ConfigCommand,
        /// Arguments of the server, such as --config FILE
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Named servers
    #[command(subcommand)]
    Context(ContextCommand),
    /// Print completions for a shell
    Completions {
        /// Which
        shell: Shell,
    },
    /// Write manual pages into a directory
    Man {
        /// Where; it must exist
        directory: PathBuf,
    },
}

/// A session, and which of its slots is steered.
#[derive(Debug, Args)]
pub struct To {
    /// The session
    #[arg(value_parser = id)]
    pub id: StreamerId,
    /// The slot whose source gets it
    #[arg(long, default_value_t = 0)]
    pub slot: u8,
}

/// What a new desktop is like.
#[derive(Debug, Args)]
#[command(next_help_heading = "Desktop")]
pub struct Desktop {
    /// Size, as in 1280x720
    #[arg(long, value_parser = text::size)]
    pub size: Option<(u32, u32)>,
    /// Highest frame rate
    #[arg(long)]
    pub fps: Option<u32>,
    /// Bitrate of the video, kilobit per second
    #[arg(long, value_name = "KBPS")]
    pub bitrate: Option<u32>,
    /// Environment variable; repeatable
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = text::variable)]
    pub env: Vec<(String, String)>,
    /// `session`, `kept`, or a directory that the server allows
    #[arg(long, value_name = "HOME")]
    pub home: Option<String>,
    /// Without sound and microphone
    #[arg(long)]
    pub no_audio: bool,
    /// Without OpenGL: the X server takes 50 MB less
    #[arg(long)]
    pub no_opengl: bool,
}

/// How long a session lives.
#[derive(Debug, Args)]
#[command(next_help_heading = "Lifetime")]
pub struct Lifetime {
    /// Delete it after this time: 2h; `never`
    #[arg(long, value_name = "TIME", value_parser = text::limit)]
    pub expires: Option<TimeLimit>,
    /// End it when nobody has used it for this time: 15m; `never`
    #[arg(long, value_name = "TIME", value_parser = text::limit)]
    pub idle: Option<TimeLimit>,
    /// What happens to an idle one
    #[arg(long, value_enum)]
    pub on_idle: Option<OnIdleName>,
}

/// `oriel create`.
#[derive(Debug, Args)]
pub struct Create {
    /// Its id; the server chooses one otherwise
    #[arg(value_parser = id)]
    pub id: Option<StreamerId>,
    /// What it shows
    #[arg(long, value_enum, default_value = "desktop")]
    pub preset: Preset,
    /// Body of the request as JSON, for every other kind of source; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["preset", "size", "fps", "bitrate", "env", "home", "no_audio",
          "no_opengl", "expires", "idle", "on_idle", "slots", "restart", "node", "label", "command"])]
    pub spec: Option<PathBuf>,
    /// Return when it runs
    #[arg(short, long)]
    pub wait: bool,
    /// Slots of every viewer's connection, 1 to 16
    #[arg(long)]
    pub slots: Option<u8>,
    /// When its process is started again after it has ended by itself
    #[arg(long, value_enum)]
    pub restart: Option<RestartName>,
    /// Where it runs.
    #[command(flatten)]
    pub place: Place,
    /// Program of the desktop and its arguments, after `--`
    #[arg(last = true)]
    pub command: Vec<String>,
    /// Of a desktop.
    #[command(flatten)]
    pub desktop: Desktop,
    /// How long it lives.
    #[command(flatten)]
    pub lifetime: Lifetime,
}

/// On which node of a cluster.
#[derive(Debug, Args)]
pub struct Place {
    /// Node of the cluster; the one with the most room otherwise
    #[arg(long)]
    pub node: Option<String>,
    /// Label that the node must have, as NAME=VALUE; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,
}

impl Place {
    /// The same, as the API has it.
    pub fn wish(self) -> Placement {
        Placement { node: self.node, labels: self.label.into_iter().collect() }
    }
}

/// `oriel run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Its id; the server chooses one otherwise
    #[arg(long, value_parser = id)]
    pub id: Option<StreamerId>,
    /// Delete the session when the command has ended, or the time is over
    #[arg(long)]
    pub rm: bool,
    /// Program and arguments, after `--`
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
    /// Of the desktop.
    #[command(flatten)]
    pub desktop: Desktop,
}

/// `oriel update`.
#[derive(Debug, Args)]
pub struct Update {
    /// The session
    #[arg(value_parser = id)]
    pub id: StreamerId,
    /// How long it lives from now on.
    #[command(flatten)]
    pub lifetime: Lifetime,
}

/// `oriel rm`.
#[derive(Debug, Args)]
pub struct Remove {
    /// The sessions
    #[arg(value_parser = id, required_unless_present = "all", conflicts_with = "all")]
    pub ids: Vec<StreamerId>,
    /// All of them, after a question
    #[arg(long)]
    pub all: bool,
    /// Ask nothing
    #[arg(short, long)]
    pub yes: bool,
}

/// Of whom a token is, and what it permits.
#[derive(Debug, Args)]
pub struct NewToken {
    /// The session
    #[arg(value_parser = id)]
    pub id: StreamerId,
    /// What it permits
    #[arg(long, value_enum, default_value = "viewer")]
    pub role: RoleName,
    /// How long it is good: 10s to 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = text::seconds)]
    pub expires: u32,
    /// What it permits among the peers; repeatable
    #[arg(long = "right", value_enum, action = ArgAction::Append)]
    pub rights: Vec<RightName>,
    /// The name that others see
    #[arg(long)]
    pub name: Option<String>,
    /// Names the person to your application
    #[arg(long, value_name = "USER_ID")]
    pub user: Option<String>,
}

/// `oriel clip`.
#[derive(Debug, Subcommand)]
pub enum Clip {
    /// Print its text
    Get {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
        /// Print its picture (PNG) instead
        #[arg(long)]
        png: bool,
    },
    /// Set its text
    Set {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
        /// The text; standard input otherwise
        text: Option<String>,
        /// Set it to the picture (PNG) on standard input
        #[arg(long, conflicts_with = "text")]
        png: bool,
    },
}

/// `oriel slots`.
#[derive(Debug, Subcommand)]
pub enum Slots {
    /// List what they show
    Ls {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
    },
    /// Show a source or a window in a slot
    Show {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
        /// Name of the source
        #[arg(required_unless_present = "window")]
        source: Option<String>,
        /// A window instead, as `oriel windows` lists it
        #[arg(long, value_name = "WINDOW_ID", conflicts_with = "source")]
        window: Option<u32>,
        /// In this slot; the first free one otherwise
        #[arg(long)]
        slot: Option<u8>,
        /// `native`, or lines such as `360p`
        #[arg(long, default_value = "")]
        quality: String,
    },
    /// Show nothing in a slot
    Clear {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
        /// Which slot
        slot: u8,
    },
}

/// `oriel sources`.
#[derive(Debug, Subcommand)]
pub enum Sources {
    /// List them
    Ls {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
    },
    /// Add one
    Add {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
        /// Its name
        name: String,
        /// The source as JSON, in a file; `-` is standard input
        #[arg(long, value_name = "FILE", default_value = "-")]
        spec: PathBuf,
    },
    /// Remove one
    Rm {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
        /// Its name
        #[arg(value_parser = id)]
        name: StreamerId,
    },
}

/// `oriel files`. Paths are below the home.
#[derive(Debug, Subcommand)]
pub enum Files {
    /// List a directory
    Ls {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
        /// The directory below the home; the home itself if absent
        #[arg(default_value = "")]
        path: String,
    },
    /// Copy a file from the session
    Get {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
        /// The file below the home
        path: String,
        /// Into this file, `-` is standard output [default: of the same name, here]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// A directory, as an archive
        #[arg(long)]
        zip: bool,
    },
    /// Copy a file into the session, also a large one over a bad network
    Put {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
        /// The file here
        file: PathBuf,
        /// Its path below the home; with a slash at its end, a directory for it [default: its name]
        path: Option<String>,
    },
    /// Make a directory
    Mkdir {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
        /// The directory below the home
        path: String,
    },
    /// Remove a file or an empty directory
    Rm {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
        /// What is removed, below the home
        path: String,
        /// All that is in the directory, too
        #[arg(short, long)]
        recursive: bool,
    },
}

/// `oriel peers`.
#[derive(Debug, Subcommand)]
pub enum Peers {
    /// List them
    Ls {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
    },
    /// Remove one
    Kick {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
        /// Which, by the id that `oriel peers ls` shows
        #[arg(value_parser = peer)]
        peer: PeerId,
    },
    /// Change what one may do
    Role {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
        /// Which, by the id that `oriel peers ls` shows
        #[arg(value_parser = peer)]
        peer: PeerId,
        /// From now on
        role: RoleName,
    },
}

/// `oriel token`.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make one; it is shown this once
    Create(NewToken),
    /// Revoke one; who joined with it is removed
    Revoke {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
        /// The token's id, not the token
        #[arg(value_parser = token)]
        token_id: TokenId,
    },
}

/// `oriel rooms`.
#[derive(Debug, Subcommand)]
pub enum Rooms {
    /// List them
    Ls,
    /// Create one
    Create {
        /// Shown to people
        name: String,
        /// Its id; the server chooses one otherwise
        #[arg(long, value_parser = id)]
        id: Option<StreamerId>,
        /// Most people at once
        #[arg(long, value_name = "N")]
        max_participants: Option<u32>,
    },
    /// End one
    Rm {
        /// The session
        #[arg(value_parser = id)]
        id: StreamerId,
    },
}

/// `oriel hosts`.
#[derive(Debug, Subcommand)]
pub enum Hosts {
    /// List them
    Ls,
    /// Add one by its name or address
    Add {
        /// Name or address
        address: String,
        /// Port of its HTTP
        #[arg(long, default_value_t = common::hosts::DEFAULT_HTTP_PORT)]
        port: u16,
    },
    /// Pair with one: shows a PIN to be typed there, and waits
    Pair {
        /// Its id, as `oriel hosts ls` shows it
        #[arg(value_parser = id)]
        host: StreamerId,
    },
    /// List the apps of one
    Apps {
        /// Its id, as `oriel hosts ls` shows it
        #[arg(value_parser = id)]
        host: StreamerId,
    },
    /// Wake one that sleeps
    Wake {
        /// Its id, as `oriel hosts ls` shows it
        #[arg(value_parser = id)]
        host: StreamerId,
    },
    /// Forget one
    Rm {
        /// Its id, as `oriel hosts ls` shows it
        #[arg(value_parser = id)]
        host: StreamerId,
    },
}

/// `oriel nodes`.
#[derive(Debug, Subcommand)]
pub enum Nodes {
    /// List them
    Ls,
    /// Have one take no new sessions; those that it has go on
    Drain {
        /// Its name
        name: String,
    },
    /// Have one take new sessions again
    Undrain {
        /// Its name
        name: String,
    },
}

/// `oriel config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConfigCommand {
    /// Whether the server would start with it
    Check,
    /// Every setting and where it comes from, without secrets
    Print,
}

/// `oriel context`.
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// List them
    Ls,
    /// Add one, or replace it; its token comes by --token-file, ORIEL_TOKEN or --token
    Add {
        /// Its name
        name: String,
        /// Address of the server
        #[arg(value_parser = Base::parse)]
        server: Base,
    },
    /// Use one when nothing else is said
    Use {
        /// Its name
        name: String,
    },
    /// Remove one
    Rm {
        /// Its name
        name: String,
    },
}

/// Values of an option that stand for those of a type of the API.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident: $of:ty { $($variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
        #[allow(missing_docs, reason = "named as in the API")]
        pub enum $name { $($variant),* }

        impl From<$name> for $of {
            fn from(name: $name) -> Self {
                match name { $($name::$variant => <$of>::$variant),* }
            }
        }
    };
}

names!(
    /// What a token permits.
    RoleName: Role { Viewer, Controller }
);
names!(
    /// What a peer may do among the others.
    RightName: PeerRight { Publish, Chat, Moderate }
);
names!(
    /// When a session is started again.
    RestartName: RestartPolicy { Never, OnFailure, Always }
);
names!(
    /// What happens to an idle session.
    OnIdleName: common::lifetime::OnIdle { Stop, Delete }
);
names!(
    /// Format of a snapshot.
    Format: common::api::SnapshotFormat { Png, Jpeg }
);

/// What a new session shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// A desktop with a window manager and a terminal, or with the command after `--`
    Desktop,
    /// A desktop with nothing but a terminal (xterm)
    Terminal,
    /// A test picture with a time code, and a tone
    Test,
}

/// The arguments of this process. Ends it where they are wrong, or help is asked for.
pub fn parse() -> Cli {
    let matches = command().get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The command line, with commands listed by topic.
pub fn command() -> clap::Command {
    let command = Cli::command();
    let mut list = String::new();
    for (topic, names) in TOPICS {
        list += &format!("{topic}:\n");
        for name in *names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about);
            list += &format!("  {name:<12} {}\n", about.map(ToString::to_string).unwrap_or_default());
        }
        list.push('\n');
    }
    command.help_template(format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n\n{list}Options:\n{{options}}\n\n{{after-help}}"
    ))
}

fn id(text: &str) -> Result<StreamerId, String> {
    StreamerId::parse(text).map_err(|error| error.to_string())
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a label is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn peer(text: &str) -> Result<PeerId, String> {
    text.parse().map(PeerId).map_err(|_| "the id of a peer is a UUID".to_owned())
}

fn token(text: &str) -> Result<TokenId, String> {
    // Not shown: it may be the token itself.
    text.parse()
        .map(TokenId)
        .map_err(|_| "the id of a token is a UUID; it is shown beside the token".to_owned())
}

fn button(text: &str) -> Result<Button, String> {
    let value = text.parse::<u8>().map_or_else(|_| text.into(), serde_json::Value::from);
    serde_json::from_value::<ButtonOrName>(value).map(Button::from).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_command_has_one_topic() {
        let command = command();
        command.clone().debug_assert();
        let mut listed: Vec<&str> = TOPICS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let mut known: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        listed.sort_unstable();
        known.sort_unstable();
        assert_eq!(listed, known);
    }

    #[test]
    fn help_lists_commands_by_topic() {
        let help = command().render_help().to_string();
        for (topic, names) in TOPICS {
            let from = help.find(&format!("{topic}:\n")).unwrap_or_else(|| panic!("{topic} in {help}"));
            for name in *names {
                assert!(help[from..].contains(&format!("\n  {name} ")), "{name} in {help}");
            }
        }
    }

    #[test]
    fn every_command_is_described() {
        let page = include_str!("../../docs/CLI.md");
        for command in command().get_subcommands() {
            let name = command.get_name();
            assert!(page.contains(&format!("oriel {name}")), "docs/CLI.md does not name `oriel {name}`");
            for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
                let name = format!("oriel {name} {}", below.get_name());
                assert!(page.contains(&name), "docs/CLI.md does not name `{name}`");
            }
        }
    }

    #[test]
    fn arguments_of_the_server_are_passed_on_as_they_are() {
        let parsed = Cli::try_parse_from(["oriel", "serve", "--listen", "127.0.0.1:0", "--help"]).unwrap();
        let Command::Serve { arguments } = parsed.command else { panic!("{parsed:?}") };
        assert_eq!(arguments, ["--listen", "127.0.0.1:0", "--help"]);
    }

    #[test]
    fn values_are_checked_before_anything_is_asked() {
        for line in [
            "oriel show a/b",
            "oriel rm",
            "oriel rm a --all",
            "oriel click a 5",
            "oriel click a 1 2 --button wheel",
            "oriel key a contrl+c",
            "oriel create --spec f --size 10x10",
            "oriel token revoke a b",
            "oriel ls --url http://a --context b",
            "oriel resize a 10",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
        for line in [
            "oriel scroll a -3",
            "oriel move a --relative -5 5",
            "oriel click a 1 2 -b right -c 2",
            "oriel type a -n",
        ] {
            Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}

//! What each command does.

mod files;
mod hosts;
mod local;
mod nodes;
mod people;
mod sessions;
mod shown;
mod steer;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::id::StreamerId;

use crate::args::{Cli, Command, Global};
use crate::client::{Base, Client, Target};
use crate::contexts::Contexts;
use crate::failure::Failure;
use crate::output::Output;
use crate::text::span;

/// Where a server listens that was started without arguments.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";
/// Time for one request. Creating with `wait=running` takes longest.
const REQUEST: Duration = Duration::from_secs(60);
/// Longest body, token or text that is read from a file or standard input, bytes.
const MAX_READ: u64 = 8 << 20;
/// Longest token, bytes.
const MAX_TOKEN: usize = 8 << 10;

/// Does what was asked for.
///
/// # Errors
/// See [`Failure`].
pub fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let Cli { global, command } = cli;
    let out = Output { json: global.json };
    let time = global.timeout;
    let command = match command {
        Command::Serve { arguments } => return Err(local::serve(&arguments)),
        Command::Config { what, arguments } => return Err(local::config(what, &arguments)),
        Command::Context(what) => return local::context(what, &global, out).map(done),
        Command::Completions { shell } => return local::completions(shell, out).map(done),
        Command::Man { directory } => return local::man(&directory).map(done),
        other => other,
    };
    let client = Client::new(target(&global)?, time.unwrap_or(REQUEST))?;
    let client = &client;
    match command {
        Command::Ls => sessions::list(client, out),
        Command::Create(create) => sessions::create(client, out, create),
        Command::Run(run) => sessions::run(client, out, run, time),
        Command::Show { id } => sessions::show(client, out, &id),
        Command::Update(update) => sessions::update(client, out, &update),
        Command::Restart { id } => sessions::restart(client, out, &id),
        Command::Relocate { id, place } => sessions::relocate(client, out, &id, place.wish()),
        Command::Rm(remove) => sessions::remove(client, out, remove),
        Command::Logs { id, tail, follow } => sessions::logs(client, out, &id, tail, follow),
        Command::Events { id, count, since } => sessions::events(client, out, id.as_ref(), count, since),
        Command::Open { id, print, role, expires } => people::open(client, out, &id, print, role, expires),
        Command::Shot { id, output, format, width, slot } => {
            steer::shot(client, out, &id, output.as_deref(), format, width, slot)
        }
        Command::Windows { id } => shown::windows(client, out, &id),
        Command::Type { to, text, enter } => steer::type_text(client, &to, &text, enter),
        Command::Key { to, chords } => steer::input(client, &to, chords),
        Command::Click { to, x, y, button, count } => steer::click(client, &to, x.zip(y), button, count),
        Command::Move { to, x, y, relative } => steer::go(client, &to, x, y, relative),
        Command::Drag { to, from_x, from_y, to_x, to_y, button } => {
            steer::drag(client, &to, (from_x, from_y), (to_x, to_y), button)
        }
        Command::Scroll { to, dy, dx, at } => steer::scroll(client, &to, dx, dy, at.as_deref()),
        Command::Clip(clip) => steer::clip(client, out, clip),
        Command::Paste { to, text } => steer::paste(client, &to, text),
        Command::Resize { to, size } => steer::resize(client, &to, size),
        Command::Slots(what) => shown::slots(client, out, what),
        Command::Sources(what) => shown::sources(client, out, what),
        Command::Files(what) => files::files(client, out, what),
        Command::Peers(what) => people::peers(client, out, what),
        Command::Token(what) => people::token(client, out, what),
        Command::Invite { token, no_qr } => people::invite(client, out, token, no_qr),
        Command::Rooms(what) => people::rooms(client, out, what),
        Command::Hosts(what) => hosts::run(client, out, what, time),
        Command::Nodes(what) => nodes::run(client, out, what),
        Command::Serve { .. }
        | Command::Config { .. }
        | Command::Context(_)
        | Command::Completions { .. }
        | Command::Man { .. } => Ok(()),
    }
    .map(done)
}

fn done((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

/// Path of a session, or of something below it.
fn of(id: &StreamerId, below: &str) -> String {
    format!("/api/streamers/{id}{below}")
}

/// Which server is meant: `--url`, `--context`, the variables of the same names, the context in use, the usual address; the first
/// of these that is there. A context's token goes to its own server only.
fn target(global: &Global) -> Result<Target, Failure> {
    let url = match (&global.url, &global.context) {
        (Some(url), _) => Some(url.clone()),
        (None, Some(_)) => None,
        (None, None) => match variable("ORIEL_URL") {
            Some(text) => {
                Some(Base::parse(&text).map_err(|error| Failure::Usage(format!("ORIEL_URL: {error}")))?)
            }
            None => None,
        },
    };
    let context = if url.is_some() {
        None
    } else {
        let named = global.context.clone().or_else(|| variable("ORIEL_CONTEXT"));
        let contexts = match Contexts::path() {
            Ok(path) => Contexts::load(&path)?,
            // Without a home there are none, which is a failure only if one is asked for.
            Err(_) if named.is_none() => Contexts::default(),
            Err(error) => return Err(error),
        };
        let name = named.or_else(|| contexts.current.clone());
        name.map(|name| contexts.get(&name).cloned()).transpose()?
    };
    let token = given_token(global)?.or_else(|| context.as_ref()?.token.clone());
    let ca_file = global.ca_file.clone().or_else(|| variable("ORIEL_CA_FILE").map(PathBuf::from));
    let ca_file = ca_file.or_else(|| context.as_ref()?.ca_file.clone());
    let base = match url.or_else(|| context.map(|context| context.url)) {
        Some(base) => base,
        None => Base::parse(DEFAULT_URL).map_err(Failure::Other)?,
    };
    Ok(Target { base, token, ca_file })
}

/// The token of the command line or the environment.
fn given_token(global: &Global) -> Result<Option<String>, Failure> {
    let file = match (&global.token, &global.token_file) {
        (Some(token), _) => return Ok(Some(token.clone())),
        (None, Some(file)) => file.clone(),
        (None, None) => match (variable("ORIEL_TOKEN"), variable("ORIEL_TOKEN_FILE")) {
            (Some(token), _) => return Ok(Some(token)),
            (None, Some(file)) => file.into(),
            (None, None) => return Ok(None),
        },
    };
    let text = read_text(&file)?;
    let token = text.trim();
    if token.is_empty() || token.len() > MAX_TOKEN || token.chars().any(|c| !c.is_ascii_graphic()) {
        let file = file.display();
        return Err(Failure::Usage(format!(
            "{file} holds no token: one line of at most {MAX_TOKEN} printable characters"
        )));
    }
    Ok(Some(token.to_owned()))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A file, or standard input for `-`.
fn read_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(MAX_READ + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_READ + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::file(path, error))?;
    if bytes.len() as u64 > MAX_READ {
        return Err(Failure::Usage(format!("{}: at most {MAX_READ} bytes", path.display())));
    }
    Ok(bytes)
}

/// The same as text.
fn read_text(path: &Path) -> Result<String, Failure> {
    let bytes = read_bytes(path)?;
    String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("{} is not UTF-8", path.display())))
}

/// The same as JSON, whose rules are the server's: it may know more than this program.
fn read_json(path: &Path) -> Result<serde_json::Value, Failure> {
    let bytes = read_bytes(path)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::Usage(format!("{}: no JSON: {error}", path.display())))
}

/// A text, or what standard input holds.
fn text_or_input(text: Option<String>) -> Result<String, Failure> {
    text.map_or_else(|| read_text(Path::new("-")), Ok)
}

#[expect(clippy::disallowed_methods, reason = "the edge: ages are shown as of now")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

fn age(since: DateTime<Utc>) -> String {
    span((now() - since).num_seconds())
}

/// A value as the API writes it: `on-failure`.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(error) => error.to_string(),
    }
}

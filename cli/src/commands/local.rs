//! What needs no server: the server's own program, contexts, completions, manual pages.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use clap_complete::Shell;

use super::given_token;
use crate::args::{self, ConfigCommand, ContextCommand, Global};
use crate::contexts::{Context, Contexts};
use crate::failure::Failure;
use crate::output::{Output, table};

/// The server's program, from the folder of this one: beside it where it was built, and where packages put programs that are not for people.
const SERVER: [&str; 2] = ["web-server", "../lib/oriel/web-server"];

/// Becomes the server; returns only if that fails.
pub fn serve(arguments: &[OsString]) -> Failure {
    become_server(arguments)
}

/// Becomes the server, which checks or prints its configuration; returns only if that fails.
pub fn config(what: ConfigCommand, arguments: &[OsString]) -> Failure {
    let word = match what {
        ConfigCommand::Check => "check-config",
        ConfigCommand::Print => "print-config",
    };
    let arguments: Vec<OsString> = arguments.iter().cloned().chain([word.into()]).collect();
    become_server(&arguments)
}

fn become_server(arguments: &[OsString]) -> Failure {
    let this = match std::env::current_exe() {
        Ok(this) => this,
        Err(error) => return Failure::Other(format!("where this program lies is not known: {error}")),
    };
    let places = SERVER.map(|place| this.with_file_name(place));
    let Some(server) = places.iter().find(|place| place.exists()) else {
        let [beside, packaged] = places.map(|place| place.display().to_string());
        return Failure::Other(format!("the server's program is not there: neither {beside} nor {packaged}"));
    };
    let error = Command::new(server).args(arguments).exec();
    Failure::Other(format!("{} cannot be started: {error}", server.display()))
}

pub fn context(what: ContextCommand, global: &Global, out: Output) -> Result<(), Failure> {
    let path = Contexts::path()?;
    let mut all = Contexts::load(&path)?;
    let said = match what {
        ContextCommand::Ls => return list(&all, out),
        ContextCommand::Add { name, server } => {
            let ca_file = global.ca_file.clone().map(std::path::absolute).transpose();
            let ca_file = ca_file.map_err(|error| Failure::file(&path, error))?;
            let context = Context { url: server, token: given_token(global)?, ca_file };
            let with = if context.token.is_some() { "with a token" } else { "without a token" };
            let said = format!("{name} is {}, {with}", context.url);
            all.contexts.insert(name.clone(), context);
            all.current.get_or_insert(name);
            said
        }
        ContextCommand::Use { name } => {
            all.get(&name)?;
            all.current = Some(name.clone());
            format!("{name} is used from now on")
        }
        ContextCommand::Rm { name } => {
            all.get(&name)?;
            all.contexts.remove(&name);
            all.current = all.current.filter(|current| *current != name);
            format!("{name} is removed")
        }
    };
    all.save(&path)?;
    out.done(&said)
}

fn list(all: &Contexts, out: Output) -> Result<(), Failure> {
    let is_current = |name: &str| all.current.as_deref() == Some(name);
    if out.json {
        // As the file has them, without the tokens.
        let row = |(name, context): (&String, &Context)| serde_json::json!({ "name": name, "url": context.url, "has_token": context.token.is_some(), "current": is_current(name) });
        let rows: Vec<_> = all.contexts.iter().map(row).collect();
        return out.line(&serde_json::json!({ "contexts": rows }).to_string());
    }
    let row = |(name, context): (&String, &Context)| {
        let current = if is_current(name) { "*" } else { "" };
        let token = if context.token.is_some() { "yes" } else { "no" };
        vec![current.to_owned(), name.clone(), context.url.to_string(), token.to_owned()]
    };
    let rows = all.contexts.iter().map(row).collect();
    out.line(&table(
        &["", "NAME", "URL", "TOKEN"],
        rows,
        "no contexts; `oriel context add NAME URL` adds one",
    ))
}

pub fn completions(shell: Shell, out: Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "oriel", &mut script);
    out.bytes(&script)
}

pub fn man(directory: &Path) -> Result<(), Failure> {
    clap_mangen::generate_to(args::command(), directory).map_err(|error| Failure::file(directory, error))
}

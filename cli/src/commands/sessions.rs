//! Sessions: from their creation to their end.

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::{Duration, Instant};

use common::api::{CreateStreamer, Streamer, StreamerList};
use common::cluster::Placement;
use common::event::Happening;
use common::exit::ExitReason;
use common::id::StreamerId;
use common::lifetime::StreamerPatch;
use common::restart::{LogTail, RestartPolicy};
use common::signal::StreamerState;
use common::spec::{Command, DesktopSpec, SourceSpec, TestSpec};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{age, of, read_json, word};
use crate::args::{Create, Desktop, Lifetime, Preset, Remove, Run, Update};
use crate::client::{Answer, Client, Event};
use crate::failure::Failure;
use crate::output::{Output, Progress, fields, table};
use crate::text::{gained, printable};

/// How often a session or a log is asked for that is waited for.
const POLL: Duration = Duration::from_millis(500);
/// Pause before a broken stream of events is asked for again.
const RECONNECT: Duration = Duration::from_secs(1);
/// Lines of its log that are compared to see what is new.
const FOLLOWED: u16 = 5000;
/// Lines of its log that are shown of a command that has failed.
const LAST_WORDS: u16 = 20;

pub fn list(client: &Client, out: Output) -> Result<(), Failure> {
    let answer = client.get("/api/streamers")?;
    out.answer(&answer, || {
        let sessions = answer.json::<StreamerList>()?.streamers;
        let in_cluster = sessions.iter().any(|session| session.node.is_some());
        let row = |session: Streamer| {
            let first = [
                session.id.to_string(),
                word(&session.state),
                kind(&session).to_owned(),
                size(&session).unwrap_or_default(),
                session.peers.len().to_string(),
                age(session.created),
            ];
            let node = in_cluster.then(|| session.node.unwrap_or_default());
            first.into_iter().chain(node).chain([session.reason.unwrap_or_default()]).collect()
        };
        let rows = sessions.into_iter().map(row).collect();
        let node = in_cluster.then_some("NODE");
        let heading = ["ID", "STATE", "SHOWS", "SIZE", "PEERS", "AGE"].into_iter().chain(node);
        let heading: Vec<_> = heading.chain(["REASON"]).collect();
        Ok(table(&heading, rows, "no sessions; `oriel create` makes one"))
    })
}

pub fn show(client: &Client, out: Output, id: &StreamerId) -> Result<(), Failure> {
    let answer = client.get(&of(id, ""))?;
    out.answer(&answer, || {
        let session: Streamer = answer.json()?;
        let command = match &session.spec.source {
            Some(SourceSpec::Desktop(desktop)) => desktop.command.as_ref().map(|command| match command {
                Command::Shell(line) => line.clone(),
                Command::Argv(words) => words.join(" "),
            }),
            _ => None,
        };
        let restarts = session.restarts.count;
        Ok(fields(&[
            ("id", Some(session.id.to_string())),
            ("state", Some(word(&session.state))),
            ("reason", session.reason.clone()),
            ("since", Some(format!("{} ({} ago)", session.since.to_rfc3339(), age(session.since)))),
            ("created", Some(session.created.to_rfc3339())),
            ("shows", Some(kind(&session).to_owned())),
            ("command", command),
            ("size", size(&session)),
            ("peers", Some(session.peers.len().to_string())),
            ("control", Some(word(&session.control.mode))),
            ("pointer", session.pointer.map(|at| format!("{}, {}", at.x, at.y))),
            ("exit", session.exit.as_ref().map(ToString::to_string)),
            ("restarts", (restarts > 0).then(|| restarts.to_string())),
            ("expires", session.expires_at.map(|at| at.to_rfc3339())),
            ("idle", session.idle_timeout_s.map(|s| format!("after {s} s: {}", word(&session.on_idle)))),
            ("node", session.node.clone()),
            ("page", Some(client.base().join(&format!("/s/{id}")))),
        ]))
    })
}

/// What it is about, in a word.
fn kind(session: &Streamer) -> &'static str {
    match &session.spec.source {
        Some(source) => source.kind(),
        None if session.spec.room.is_some() => "room",
        None => "sources",
    }
}

/// Size of what slot 0 shows.
fn size(session: &Streamer) -> Option<String> {
    let first = session.slots.iter().find(|slot| slot.slot == 0)?;
    Some(format!("{}x{}", first.width?, first.height?))
}

pub fn create(client: &Client, out: Output, wish: Create) -> Result<(), Failure> {
    let wait = wish.wait;
    let body = body(wish)?;
    let path = if wait { "/api/streamers?wait=running" } else { "/api/streamers" };
    let progress = wait.then(|| Progress::start("starting the session"));
    let answer = client.json("POST", path, &body)?;
    drop(progress);
    out.answer(&answer, || Ok(answer.json::<Streamer>()?.id.to_string()))
}

/// The body that creates what is wished for.
fn body(wish: Create) -> Result<Value, Failure> {
    if let Some(file) = &wish.spec {
        let mut body = read_json(file)?;
        let Some(fields) = body.as_object_mut() else {
            return Err(Failure::Usage(format!("{}: a spec is a JSON object", file.display())));
        };
        if let Some(id) = wish.id {
            fields.insert("id".into(), json!(id));
        }
        return Ok(body);
    }
    let source = match wish.preset {
        Preset::Desktop => desktop(wish.desktop, wish.command)?,
        Preset::Terminal if wish.command.is_empty() => {
            desktop(wish.desktop, ["xterm", "-maximized", "-fa", "Monospace"].map(String::from).to_vec())?
        }
        Preset::Test if wish.command.is_empty() => test(&wish.desktop)?,
        Preset::Terminal | Preset::Test => {
            return Err(Failure::Usage("only a desktop runs a command; leave out --preset".into()));
        }
    };
    let mut create = named(wish.id, source)?;
    if let Some(slots) = wish.slots {
        create.slots = slots;
    }
    if let Some(policy) = wish.restart {
        create.restart.policy = policy.into();
    }
    let StreamerPatch { expires_in_s, idle_timeout_s, on_idle } = lifetime(&wish.lifetime);
    let place = wish.place.wish();
    let placement = (place != Placement::default()).then_some(place);
    let create = CreateStreamer { expires_in_s, idle_timeout_s, on_idle, placement, ..create };
    serde_json::to_value(create).map_err(|error| Failure::Other(error.to_string()))
}

fn named(id: Option<StreamerId>, source: SourceSpec) -> Result<CreateStreamer, Failure> {
    Ok(CreateStreamer { id, source: Some(source), ..defaults()? })
}

/// A body of the API with all its defaults, which its type has for fields that are absent.
fn defaults<T: DeserializeOwned>() -> Result<T, Failure> {
    serde_json::from_value(json!({})).map_err(|error| Failure::Other(error.to_string()))
}

fn desktop(wish: Desktop, command: Vec<String>) -> Result<SourceSpec, Failure> {
    let mut spec: DesktopSpec = defaults()?;
    if let Some((width, height)) = wish.size {
        spec.width = width;
        spec.height = height;
    }
    if let Some(fps) = wish.fps {
        spec.fps = fps;
    }
    spec.bitrate_kbps = wish.bitrate;
    spec.env = wish.env.into_iter().collect();
    if let Some(home) = wish.home {
        spec.home = home.into();
    }
    spec.audio = !wish.no_audio;
    spec.microphone = !wish.no_audio;
    spec.opengl = !wish.no_opengl;
    spec.command = (!command.is_empty()).then_some(Command::Argv(command));
    Ok(SourceSpec::Desktop(spec))
}

fn test(wish: &Desktop) -> Result<SourceSpec, Failure> {
    if !wish.env.is_empty() || wish.home.is_some() || wish.no_opengl {
        return Err(Failure::Usage(
            "a test picture has no programs: leave out --env, --home and --no-opengl".into(),
        ));
    }
    let mut spec: TestSpec = defaults()?;
    if let Some((width, height)) = wish.size {
        spec.width = width;
        spec.height = height;
    }
    if let Some(fps) = wish.fps {
        spec.fps = fps;
    }
    spec.bitrate_kbps = wish.bitrate;
    spec.audio = !wish.no_audio;
    Ok(SourceSpec::Test(spec))
}

fn lifetime(wish: &Lifetime) -> StreamerPatch {
    StreamerPatch {
        expires_in_s: wish.expires.unwrap_or_default(),
        idle_timeout_s: wish.idle.unwrap_or_default(),
        on_idle: wish.on_idle.map(Into::into),
    }
}

pub fn update(client: &Client, out: Output, wish: &Update) -> Result<(), Failure> {
    let patch = lifetime(&wish.lifetime);
    if patch == StreamerPatch::default() {
        return Err(Failure::Usage("say what to change: --expires, --idle or --on-idle".into()));
    }
    let answer = client.json("PATCH", &of(&wish.id, ""), &patch)?;
    out.answer(&answer, || Ok(format!("{} is changed", wish.id)))
}

pub fn restart(client: &Client, out: Output, id: &StreamerId) -> Result<(), Failure> {
    let answer = client.send("POST", &of(id, "/restart"), None)?;
    out.answer(&answer, || Ok(format!("{id} is being restarted")))
}

pub fn relocate(client: &Client, out: Output, id: &StreamerId, to: Placement) -> Result<(), Failure> {
    let answer = client.json("POST", &of(id, "/move"), &to)?;
    out.answer(&answer, || {
        let session: Streamer = answer.json()?;
        Ok(format!("{id} is at the node {}", session.node.unwrap_or_default()))
    })
}

pub fn remove(client: &Client, out: Output, wish: Remove) -> Result<(), Failure> {
    let ids = if wish.all {
        let all = client.get("/api/streamers")?.json::<StreamerList>()?.streamers;
        let ids: Vec<StreamerId> = all.into_iter().map(|session| session.id).collect();
        if !ids.is_empty() && !wish.yes {
            confirm(&ids)?;
        }
        ids
    } else {
        wish.ids
    };
    // All that can be deleted are; the first failure is the command's.
    let mut failed = None;
    for id in ids {
        let progress = Progress::start(&format!("deleting {id}"));
        let deleted = client.delete(&of(&id, ""));
        drop(progress);
        match deleted {
            Ok(_) => out.done(&format!("{id} is deleted"))?,
            Err(failure) if failed.is_none() => failed = Some(failure),
            Err(failure) => eprintln!("oriel: {failure}"),
        }
    }
    failed.map_or(Ok(()), Err)
}

fn confirm(ids: &[StreamerId]) -> Result<(), Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::Usage(
            "--all asks before it deletes, and there is no terminal; --yes asks nothing".into(),
        ));
    }
    let names = ids.iter().map(StreamerId::as_str).collect::<Vec<_>>().join(", ");
    eprint!("delete {} sessions ({names})? [y/N] ", ids.len());
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(Failure::Other("nothing is deleted".into()))
    }
}

pub fn logs(client: &Client, out: Output, id: &StreamerId, tail: u16, follow: bool) -> Result<(), Failure> {
    let lines = |count: u16| client.get(&of(id, &format!("/logs?tail={count}")));
    let print = |lines: &[String]| lines.iter().try_for_each(|line| out.line(&printable(line)));
    if !follow {
        let answer = lines(tail)?;
        return if out.json {
            out.answer(&answer, || Ok(String::new()))
        } else {
            print(&answer.json::<LogTail>()?.lines)
        };
    }
    if out.json {
        return Err(Failure::Usage("--json shows one response; leave out --follow".into()));
    }
    let mut known = lines(FOLLOWED)?.json::<LogTail>()?.lines;
    print(&known[known.len().saturating_sub(tail.into())..])?;
    loop {
        std::thread::sleep(POLL);
        match lines(FOLLOWED) {
            Ok(answer) => {
                let now = answer.json::<LogTail>()?.lines;
                print(gained(&known, &now))?;
                known = now;
            }
            Err(failure) if failure.is_not_found() => return Ok(()),
            Err(failure) => return Err(failure),
        }
    }
}

pub fn events(
    client: &Client,
    out: Output,
    id: Option<&StreamerId>,
    count: Option<u32>,
    since: Option<String>,
) -> Result<(), Failure> {
    let path = id.map_or_else(|| "/api/events".into(), |id| of(id, "/events"));
    let mut last = since;
    let mut remaining = count;
    let mut each = |event: &Event| {
        let known = event.known();
        if out.json {
            out.line(&event.data)?;
        } else {
            match &known {
                Some(known) => {
                    let detail = detail(&known.what);
                    let at = known.at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
                    out.line(
                        printable(&format!("{at}  {}  {}  {detail}", known.streamer, event.kind)).trim_end(),
                    )?;
                }
                None => out.line(&printable(&format!("{}  {}", event.kind, event.data)))?,
            }
        }
        remaining = remaining.map(|remaining| remaining - 1);
        let is_last = id.is_some() && known.is_some_and(|known| known.what == Happening::Deleted);
        Ok(!is_last && remaining != Some(0))
    };
    while client.events(&path, &mut last, &mut each)? {
        std::thread::sleep(RECONNECT);
    }
    Ok(())
}

/// What there is to say about an event besides its kind.
fn detail(what: &Happening) -> String {
    match what {
        Happening::State { state, reason } => {
            [Some(word(state)), reason.clone()].into_iter().flatten().collect::<Vec<_>>().join(": ")
        }
        Happening::Ended { reason, .. } => reason.clone(),
        Happening::PeerJoined(peer) | Happening::PeerChanged(peer) => {
            let name = peer.display_name.as_deref().unwrap_or_default();
            format!("{} {} {} {name}", peer.peer, word(&peer.role), word(&peer.state))
        }
        Happening::PeerLeft { peer, reason } => format!("{peer} {}", reason.as_deref().unwrap_or_default()),
        Happening::Control { mode, holder, .. } => {
            format!("{} {}", word(mode), holder.map(|peer| peer.to_string()).unwrap_or_default())
        }
        Happening::WindowOpened { window_id, title, app } => format!("{window_id} {app}: {title}"),
        Happening::WindowTitled { window_id, title } => format!("{window_id} {title}"),
        Happening::WindowClosed { window_id } => window_id.to_string(),
        Happening::Downloaded { file } => file.path.clone(),
        Happening::Created | Happening::Deleted | Happening::Moved | Happening::ClipboardChanged => {
            String::new()
        }
    }
}

/// Creates a session that runs a command, and waits until that has ended.
pub fn run(client: &Client, out: Output, wish: Run, time: Option<Duration>) -> Result<(), Failure> {
    let mut create = named(wish.id, desktop(wish.desktop, wish.command)?)?;
    create.restart.policy = RestartPolicy::Never;
    let answer = client.json("POST", "/api/streamers", &create)?;
    let session: Streamer = answer.json()?;
    let id = session.id;
    let ended = until_ended(client, &id, time);
    let result = ended.and_then(|answer| judge(client, out, &id, &answer));
    if wish.rm {
        let deleted = client.delete(&of(&id, ""));
        // Why it failed matters more.
        return result.and(deleted.map(drop));
    }
    if result.is_err() {
        eprintln!("oriel: the session {id} is kept; `oriel rm {id}` deletes it");
    }
    result
}

#[expect(clippy::disallowed_methods, reason = "the edge: waits for a program")]
fn until_ended(client: &Client, id: &StreamerId, time: Option<Duration>) -> Result<Answer, Failure> {
    let deadline = time.map(|time| Instant::now() + time);
    let _progress = Progress::start(&format!("{id} runs"));
    loop {
        let answer = client.get(&of(id, ""))?;
        match answer.json::<Streamer>()?.state {
            StreamerState::Stopped | StreamerState::Failed => return Ok(answer),
            StreamerState::Starting
            | StreamerState::Running
            | StreamerState::Restarting
            // Its node may come back.
            | StreamerState::Lost
            | StreamerState::Stopping => {}
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Failure::TimedOut(format!("the command of {id} has not ended in time (--timeout)")));
        }
        std::thread::sleep(POLL);
    }
}

/// How the command ended: the API says whether it succeeded, and why not in words, which have its exit code.
fn judge(client: &Client, out: Output, id: &StreamerId, answer: &Answer) -> Result<(), Failure> {
    let session: Streamer = answer.json()?;
    if out.json {
        out.answer(answer, || Ok(String::new()))?;
    }
    let exit = session.exit.as_ref();
    if exit.is_some_and(|exit| matches!(exit.reason, ExitReason::Finished { .. })) {
        return out.done(&format!("the command of {id} has succeeded"));
    }
    // They help, and may be for admins only.
    if let Ok(log) = client.get(&of(id, &format!("/logs?tail={LAST_WORDS}")))
        && let Ok(log) = log.json::<LogTail>()
    {
        for line in log.lines {
            eprintln!("{}", printable(&line));
        }
    }
    let reason = session.reason.or_else(|| exit.map(ToString::to_string));
    Err(Failure::Command(format!(
        "the command of {id} has failed: {}",
        reason.unwrap_or_else(|| "no reason is known".into())
    )))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command as Said};

    fn made(line: &str) -> Result<Value, Failure> {
        let Said::Create(wish) = Cli::try_parse_from(line.split(' ')).unwrap().command else {
            panic!("{line}")
        };
        body(wish)
    }

    #[test]
    fn flags_make_the_body_of_the_request() {
        let line = "oriel create a --size 640x480 --fps 10 -e A=b --home kept --no-audio --expires 1h --idle never \
                    --on-idle delete --slots 2 --restart never -- xterm -e top";
        let body = made(&line.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap();
        let source = &body["source"];
        assert_eq!(
            (&body["id"], &source["type"], &body["slots"]),
            (&json!("a"), &json!("desktop"), &json!(2))
        );
        assert_eq!(
            (&source["width"], &source["height"], &source["fps"]),
            (&json!(640), &json!(480), &json!(10))
        );
        assert_eq!((&source["env"], &source["home"]), (&json!({ "A": "b" }), &json!("kept")));
        assert_eq!((&source["audio"], &source["command"]), (&json!(false), &json!(["xterm", "-e", "top"])));
        assert_eq!((&body["expires_in_s"], &body["on_idle"]), (&json!(3600), &json!("delete")));
        assert_eq!(body.get("idle_timeout_s"), Some(&Value::Null));
        assert_eq!(body["restart"]["policy"], "never");
        assert_eq!(made("oriel create").unwrap().get("expires_in_s"), None);
    }

    #[test]
    fn presets_that_run_nothing_refuse_commands() {
        assert_eq!(made("oriel create --preset test --size 64x64").unwrap()["source"]["type"], "test");
        for line in ["oriel create --preset test -- xterm", "oriel create --preset test -e A=b"] {
            assert_eq!(made(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}

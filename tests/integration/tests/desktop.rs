//! Desktops, seen over REST and from the X side. Nobody watches, where no peer is needed.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use common::signal::{Role, StreamerState};
use common::slots::WindowList;
use harness::{Display, Picture, Process, Server, eventually};
use native_peer::{Channel, Event, Media, Options, Swarm};
use serde_json::{Value, json};

/// How far from its hot spot a cursor reaches, pixels.
const CURSOR: u32 = 32;

/// A desktop with a terminal that covers it and runs `command`.
fn terminal(command: &str) -> Value {
    let argv = ["xterm", "-geometry", "160x50+0+0", "-e", "sh", "-c", command];
    json!({ "type": "desktop", "width": 800, "height": 600, "audio": false, "command": argv })
}

/// A program of the session, by a part of its command line.
fn program(server: &Server, part: &str) -> Process {
    eventually(&format!("{part} runs"), || {
        let started = |process: &Process| {
            let name = process.command_line.rsplit_once('/').map_or(&*process.command_line, |(_, name)| name);
            name.split(' ').next() == Some(part)
        };
        server.session_processes().into_iter().find(started)
    })
}

fn snapshot(server: &Server, id: &str) -> Picture {
    let answer = server.get(&format!("/api/streamers/{id}/snapshot")).expect(200);
    assert_eq!(answer.content_type, "image/png");
    Picture::from_png(&answer.body)
}

#[test]
fn without_any_peer_a_desktop_is_captured_and_its_snapshot_is_the_real_screen() {
    let server = Server::start();
    let streamer = server.create("demo", terminal("while :; do date +%N; sleep 0.1; done"));
    assert_eq!((streamer.state, streamer.peers.len()), (StreamerState::Running, 0));

    let first = server.stats_until("demo", "a frame is encoded", |stats| stats.video.encoded > 0);
    assert_eq!((first.video.width, first.video.height), (800, 600));
    let captured = first.video.captured;
    server.stats_until("demo", "capture goes on", |stats| stats.video.captured >= captured + 10);
    server.delete("/api/streamers/demo").expect(204);

    // A second one that stands still, so that two pictures of it can be compared.
    server.create("still", terminal("printf 'the terminal is here'; exec cat"));
    let display = Display::of(&program(&server, "cat"));
    let pointer = display.pointer();
    // The X server keeps the cursor out of what programs read; the snapshot shows it.
    let cursor = |x: u32, y: u32| x.abs_diff(pointer.0) < CURSOR && y.abs_diff(pointer.1) < CURSOR;
    let seen = eventually("the snapshot is what the X server shows, with a text on it", || {
        let real = display.picture();
        let seen = snapshot(&server, "still");
        let differing = real.differing(&seen).into_iter().filter(|&(x, y)| !cursor(x, y)).count();
        (real.colours() > 1 && differing == 0).then_some(seen)
    });
    assert_eq!((seen.width, seen.height), (800, 600));
    assert_eq!(server.streamer("still").map(|now| now.peers.len()), Some(0));
}

#[test]
fn a_snapshot_can_be_small_and_a_jpeg() {
    let server = Server::start();
    server.create("demo", terminal("exec cat"));
    let small = Picture::from_png(&server.get("/api/streamers/demo/snapshot?width=200").expect(200).body);
    assert_eq!((small.width, small.height), (200, 150));
    let jpeg = server.get("/api/streamers/demo/snapshot?format=jpeg").expect(200);
    assert_eq!((jpeg.content_type.as_str(), &jpeg.body[..3]), ("image/jpeg", &b"\xff\xd8\xff"[..]));
}

#[test]
fn a_snapshot_that_is_known_is_not_sent_again() {
    let server = Server::start();
    server.create("demo", terminal("exec cat"));
    program(&server, "cat");
    let path = "/api/streamers/demo/snapshot?format=jpeg&width=400";
    let ask = |known: &str| server.send_with("GET", path, &[("if-none-match", known)], &[]);
    let known = eventually("it is as it was", || {
        let tag = server.get(path).expect(200).etag.unwrap();
        let again = ask(&tag);
        (again.status == 304 && again.body.is_empty() && again.etag.as_ref() == Some(&tag)).then_some(tag)
    });
    assert_eq!(ask("\"another\", W/\"0\"").expect(200).etag.as_ref(), Some(&known));
    let png = server.send_with("GET", "/api/streamers/demo/snapshot", &[("if-none-match", &known)], &[]);
    assert_eq!((png.status, png.content_type.as_str()), (200, "image/png"));
    let events = json!({ "events": [{ "type": "text", "text": "something new" }] });
    server.post("/api/streamers/demo/input", &events).expect(204);
    eventually("it has changed", || {
        let changed = ask(&known);
        (changed.status == 200 && !changed.body.is_empty() && changed.etag.as_ref() != Some(&known))
            .then_some(())
    });
}

#[test]
fn what_an_agent_types_reaches_the_program_in_any_script() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("typed");
    let argv = ["xterm", "-u8", "-geometry", "160x50+0+0", "-e", "sh", "-c"];
    let command = format!("stty -echo; exec cat > {}", file.display());
    let argv: Vec<&str> = argv.into_iter().chain([command.as_str()]).collect();
    let env = json!({ "LC_ALL": "C.UTF-8" });
    let source = json!({ "type": "desktop", "width": 800, "height": 600, "audio": false, "command": argv, "env": env });
    server.create("demo", source);
    program(&server, "cat");

    let text = "echo 'Hello, World!' ~ ÄöüÉ €\nпривет 日本語\n";
    let events = json!({ "events": [{ "type": "text", "text": text }] });
    server.post("/api/streamers/demo/input", &events).expect(204);
    let typed = eventually("both lines are there", || {
        let typed = std::fs::read_to_string(&file).ok()?;
        (typed.lines().count() == 2).then_some(typed)
    });
    assert_eq!(typed, text);
}

#[test]
fn a_long_text_of_a_program_does_not_hold_up_the_keys_of_a_peer() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("typed");
    server.create("demo", terminal(&format!("exec cat > {}", file.display())));
    program(&server, "cat");
    let mut peer = Watchers::join(&server, Role::Controller, 1);
    // No key has any of these characters, and none comes twice: each has to be given a keycode first.
    let chars: Vec<char> = ('\u{4e00}'..).take(2000).collect();
    let text: String = chars.chunks(50).flat_map(|line| line.iter().chain(&['\n'])).collect();
    let typed = || std::fs::read_to_string(&file).unwrap_or_default();
    std::thread::scope(|scope| {
        let events = json!({ "events": [{ "type": "text", "text": text }] });
        let server = &server;
        let program =
            scope.spawn(move || server.post("/api/streamers/demo/input", &events).expect(204).status);
        eventually("the first line is there", || typed().contains('\n').then_some(()));
        for down in [true, false] {
            let key = json!({ "type": "key", "slot": 0, "code": "KeyB", "down": down });
            assert!(peer.peers.send_text(0, Channel::Keys, &key.to_string()));
        }
        let key_came = || typed().contains('b').then_some(());
        eventually("the peer's key is there", key_came);
        program.join().unwrap();
    });
    eventually("all of the text is there", || (typed().lines().count() == 40).then_some(()));
    let lines_before = typed().split('b').next().map_or(0, |before| before.matches('\n').count());
    assert!(lines_before < 39, "the text has been typed before it");
    // That nothing is missing or comes twice. Whether each is the right one is for the sink's own tests: a terminal that
    // gets no processor time looks a keycode up when it means the next character already.
    assert_eq!(typed().replace('b', "").chars().count(), text.chars().count());
}

#[test]
fn the_clipboard_is_that_of_the_session() {
    let server = Server::start();
    server.create("demo", terminal("exec cat"));
    let display = Display::of(&program(&server, "cat"));
    let url = "/api/streamers/demo/clipboard";

    server.put(url, &json!({ "text": "from the agent: ä 日" })).expect(204);
    // Who owns it is given a second to answer, and the desktop may be busy.
    let clipboard = || {
        eventually("its owner answers", || {
            let answer = server.get(url);
            (answer.status != 504).then(|| answer.expect(200).json::<Value>())
        })
    };
    assert_eq!(clipboard(), json!({ "text": "from the agent: ä 日", "types": ["text/plain"] }));
    assert_eq!(display.clipboard(), "from the agent: ä 日");

    let owner = display.own_clipboard("from the session: é");
    eventually("what a program copies can be read", || {
        (clipboard()["text"] == "from the session: é").then_some(())
    });
    drop(owner);
}

#[test]
fn a_clipboard_whose_owner_hangs_is_said_to_be_late() {
    let server = Server::start();
    server.create("demo", terminal("exec cat"));
    let display = Display::of(&program(&server, "cat"));
    display.hold_clipboard_silently();
    let problem = server.get("/api/streamers/demo/clipboard").expect(504).problem();
    assert_eq!(problem.code, "clipboard_timeout");
    assert_eq!(problem.detail, "the program that owns the clipboard does not answer");
    server.put("/api/streamers/demo/clipboard", &json!({ "text": "it goes on" })).expect(204);
    assert_eq!(display.clipboard(), "it goes on");
}

#[test]
fn num_lock_is_on_before_the_first_input() {
    let server = Server::start();
    server.create("demo", terminal("exec cat"));
    let display = Display::of(&program(&server, "cat"));
    assert!(display.num_lock());
}

#[test]
fn html_and_pictures_are_on_the_clipboard_too() {
    let server = Server::start();
    server.create("demo", terminal("exec cat"));
    let display = Display::of(&program(&server, "cat"));
    let url = "/api/streamers/demo/clipboard";
    // Who owns it is given a second to answer, and the desktop may be busy.
    let in_time = |path: &str| {
        eventually("its owner answers", || Some(server.get(path)).filter(|answer| answer.status != 504))
    };
    let clipboard = || in_time(url).expect(200).json::<Value>();
    let typed = |kind: &str| in_time(&format!("{url}?type={kind}"));

    server.put(url, &json!({ "text": "bold", "html": "<b>bold</b>" })).expect(204);
    let both = json!({ "text": "bold", "html": "<b>bold</b>", "types": ["text/plain", "text/html"] });
    assert_eq!(clipboard(), both);
    assert_eq!(display.clipboard_as("text/html").as_deref(), Some(&b"<b>bold</b>"[..]));
    let html = typed("text/html").expect(200);
    assert_eq!((&*html.content_type, &html.body[..]), ("text/html; charset=utf-8", &b"<b>bold</b>"[..]));
    assert_eq!(typed("image/png").expect(404).problem().code, "not_on_clipboard");

    let png = server.get("/api/streamers/demo/snapshot").expect(200).body;
    let put = |kind: &str, body: &[u8]| server.send("PUT", url, kind, body);
    put("image/png", &png).expect(204);
    assert_eq!(clipboard(), json!({ "text": "", "types": ["image/png"] }));
    assert!(display.clipboard_as("image/png") == Some(png.clone()));
    assert_eq!(display.clipboard_as("UTF8_STRING"), None);

    // A tool that puts a screenshot there.
    let owner = display.own_clipboard_as("image/png", &png);
    eventually("the picture of the program", || {
        let answer = typed("image/png");
        (answer.status == 200 && answer.content_type == "image/png" && answer.body == png).then_some(())
    });
    assert_eq!(clipboard(), json!({ "text": "", "types": ["image/png"] }), "its bytes are no text");
    drop(owner);

    // What is too long is refused with the limit.
    let text = "x".repeat(128 * 1024 + 1);
    let mut long = png;
    long.resize(4 * 1024 * 1024 + 1, 0);
    for (answer, field, limit) in [
        (server.put(url, &json!({ "text": text })), Some("text"), "131072"),
        (server.put(url, &json!({ "text": "", "html": text })), Some("html"), "131072"),
        (put("image/png", &long), None, "4194304"),
    ] {
        let problem = answer.expect(413).problem();
        assert!(problem.detail.contains(limit), "{}", problem.detail);
        assert_eq!(problem.field.as_deref(), field);
    }
    let owner = display.own_clipboard(&text);
    let problem = eventually("the refusal", || {
        let answer = in_time(url);
        (answer.status != 200).then(|| answer.expect(413).problem())
    });
    assert!(problem.detail.contains("131072"), "{}", problem.detail);
    drop(owner);
    assert_eq!(put("image/png", b"GIF89a").expect(400).problem().code, "not_a_png");
    put("image/gif", b"GIF89a").expect(415);
    assert_eq!(typed("image/gif").expect(400).problem().field.as_deref(), Some("type"));
}

#[test]
fn a_controller_puts_a_picture_on_the_clipboard_in_parts() {
    let server = Server::start();
    server.create("demo", json!({ "type": "desktop", "width": 320, "height": 240, "audio": false }));
    let mut controllers = Watchers::join(&server, Role::Controller, 2);
    let mut png = server.get("/api/streamers/demo/snapshot").expect(200).body;
    png.resize(300_000, 7);
    let mut at = 0;
    while at < png.len() {
        let part = &png[at..png.len().min(at + 48 * 1024)];
        let last = at + part.len() == png.len();
        let data = BASE64.encode(part);
        let message = json!({ "type": "clipboard-picture", "at": at, "data": data, "last": last });
        assert!(controllers.peers.send_text(0, Channel::Keys, &message.to_string()));
        at += part.len();
    }
    controllers.until(|told| told[1] == ["image/png"]);
    assert_eq!(controllers.told[0], Vec::<String>::new());
    let url = "/api/streamers/demo/clipboard?type=image/png";
    assert!(server.get(url).expect(200).body == png);

    // The longest text is one message, though it is longer than the 64 KiB that messages may have by default.
    let long = "x".repeat(128 * 1024);
    let message = json!({ "type": "clipboard", "text": long });
    assert!(controllers.peers.send_text(0, Channel::Keys, &message.to_string()));
    controllers.until(|told| told[1].last() == Some(&long));
}

#[test]
fn a_new_text_on_the_clipboard_is_told_to_all_controllers_but_the_one_who_set_it() {
    let server = Server::start();
    server.create("demo", json!({ "type": "desktop", "width": 320, "height": 240, "audio": false }));
    let mut controllers = Watchers::join(&server, Role::Controller, 2);
    let mut viewer = Watchers::join(&server, Role::Viewer, 1);
    let set = |by: &mut Watchers, peer, text: &str| {
        let message = json!({ "type": "clipboard", "text": text });
        assert!(by.peers.send_text(peer, Channel::Keys, &message.to_string()));
    };

    set(&mut controllers, 0, "one");
    controllers.until(|told| told[1] == ["one"]);
    let url = "/api/streamers/demo/clipboard";
    server.put(url, &json!({ "text": "two" })).expect(204);
    controllers.until(|told| told[0] == ["two"] && told[1] == ["one", "two"]);
    // The same again by a program: whoever has copied something else meanwhile hears of it.
    server.put(url, &json!({ "text": "two" })).expect(204);
    controllers.until(|told| told[0] == ["two", "two"] && told[1] == ["one", "two", "two"]);
    // Given back, as a page does that has put it on its viewer's clipboard, it goes no further.
    set(&mut controllers, 0, "two");
    set(&mut controllers, 1, "two");
    set(&mut controllers, 0, "three");
    controllers.until(|told| told[1].len() > 3);
    assert_eq!(controllers.told, [vec!["two", "two"], vec!["one", "two", "two", "three"]]);
    assert_eq!(server.get(url).expect(200).json::<Value>()["text"], "three");

    // What comes on this channel comes in order: nothing was said to the viewer before.
    assert!(viewer.peers.send_text(0, Channel::General, r#"{"type":"ping","token":7}"#));
    viewer.until(|told| told[0].iter().any(|text| text == "pong"));
    assert_eq!(viewer.told, [["pong"]]);
}

#[test]
fn a_session_without_a_command_is_a_small_desktop_unless_commands_are_limited() {
    let source = json!({ "type": "desktop", "width": 640, "height": 400, "audio": false });
    let managers = |server: &Server| {
        let processes = server.session_processes();
        // Not the init above it, whose arguments name it as well.
        processes
            .iter()
            .filter(|process| process.command_line.split(' ').next().unwrap().ends_with("openbox"))
            .count()
    };
    let server = Server::start();
    server.create("demo", source.clone());
    eventually("a terminal is there", || {
        let list = server.get("/api/streamers/demo/windows").expect(200).json::<Value>();
        list["windows"].as_array().unwrap().iter().any(|window| window["app"] == "XTerm").then_some(())
    });
    assert_eq!(managers(&server), 1);
    // What is shown is what was asked for.
    let shown = server.get("/api/streamers/demo").expect(200).json::<Value>();
    assert!(shown["spec"]["source"].is_object(), "{shown}");
    assert!(shown["spec"]["source"].get("command").is_none(), "{shown}");

    // In a terminal anything could be started. A command is started before its session runs.
    let limited = Server::start_configured("auth: {allowed_commands: [\"true\"]}");
    limited.create("demo", source);
    assert!(limited.session_processes().iter().any(|process| process.command_line.contains("Xvfb")));
    assert_eq!(managers(&limited), 0);
}

/// Peers, and what each was told of the clipboard (or `pong`).
struct Watchers {
    peers: Swarm,
    told: Vec<Vec<String>>,
}

impl Watchers {
    fn join(server: &Server, role: Role, count: usize) -> Self {
        let streamer = "demo".to_owned();
        let options = Options { server: server.address(), streamer, role, media: Media::Headers };
        let mut watchers = Self { peers: Swarm::new(options).unwrap(), told: vec![Vec::new(); count] };
        for _ in 0..count {
            watchers.peers.join().unwrap();
        }
        // Of three channels each.
        let mut open = 0;
        while open < 3 * count {
            open += usize::from(matches!(watchers.next(), (_, Event::Open(_))));
        }
        watchers
    }

    fn next(&mut self) -> (usize, Event) {
        let deadline = Instant::now() + harness::wait::SOON;
        self.peers.next(deadline).unwrap().expect("something is told in time")
    }

    fn until(&mut self, enough: impl Fn(&[Vec<String>]) -> bool) {
        let deadline = Instant::now() + harness::wait::SOON;
        while !enough(&self.told) {
            assert!(Instant::now() < deadline, "told so far: {:?}", self.told);
            if let (peer, Event::Message(Channel::General, text)) = self.next() {
                let message: Value = serde_json::from_str(&text).unwrap();
                match message["type"].as_str() {
                    Some("clipboard") => {
                        let text = message["text"].as_str().filter(|text| !text.is_empty());
                        let told = text.or(message["types"][0].as_str()).unwrap();
                        self.told[peer].push(told.to_owned());
                    }
                    Some("pong") => self.told[peer].push("pong".to_owned()),
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn a_desktop_is_resized_while_it_runs() {
    let server = Server::start();
    server.create("demo", terminal("exec cat"));
    let display = Display::of(&program(&server, "cat"));
    assert_eq!(display.size(), (800, 600));
    let captured = server.stats_until("demo", "it reports", |_| true).process.pid;

    for (width, height) in [(1280, 720), (640, 480)] {
        server.post("/api/streamers/demo/resize", &json!({ "width": width, "height": height })).expect(204);
        assert_eq!(display.size(), (width, height), "the X screen");
        let seen = snapshot(&server, "demo");
        assert_eq!((seen.width, seen.height), (width, height), "the snapshot");
        let slot = &server.streamer("demo").unwrap().slots[0];
        assert_eq!((slot.width, slot.height), (Some(width), Some(height)), "what viewers are told");
    }
    let now = server.stats_until("demo", "it reports the size", |stats| stats.video.width == 640);
    assert_eq!(now.process.pid, captured, "the same process");

    let refused =
        server.post("/api/streamers/demo/resize", &json!({ "width": 641, "height": 480 })).expect(400);
    assert_eq!(refused.problem().field.as_deref(), Some("width"));
}

#[test]
fn what_only_waits_for_a_session_takes_hardly_any_memory() {
    let server = Server::start();
    server.create("demo", terminal("exec cat"));
    program(&server, "cat");
    let waits = |process: &Process| {
        ["streamer monitor ", "streamer init "].iter().any(|part| process.command_line.starts_with(part))
    };
    let waiting: Vec<_> = server.session_processes().into_iter().filter(waits).collect();
    // Where the system has no namespaces for programs, there is no init that waits.
    assert!(
        waiting.iter().any(|process| process.command_line.starts_with("streamer monitor ")),
        "{waiting:?}"
    );
    for process in waiting {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid)).unwrap();
        // Pages of the program's file that were just built count as private, too.
        let anonymous = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
        let kib: u64 = anonymous.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kib < 1024, "{} has {kib} kB", process.command_line);
    }
}

#[test]
fn a_desktop_is_resized_up_to_its_largest_size_and_its_x_server_is_no_larger() {
    let server = Server::start();
    let mut source = terminal("exec cat");
    source["max_width"] = json!(1600);
    server.create("demo", source);
    let resize = |width: u32, height: u32| {
        server.post("/api/streamers/demo/resize", &json!({ "width": width, "height": height }))
    };
    let refused = resize(1602, 600).expect(400).problem();
    assert_eq!((refused.code.as_str(), refused.field.as_deref()), ("size_too_large", Some("width")));
    assert!(refused.detail.contains("1600") && refused.detail.contains("source.max_width"), "{refused:?}");
    // What the spec does not say is what is usual.
    let refused = resize(1600, 1202).expect(400).problem();
    assert_eq!((refused.code.as_str(), refused.field.as_deref()), ("size_too_large", Some("height")));
    assert_eq!(Display::of(&program(&server, "cat")).size(), (800, 600), "what is refused changes nothing");
    resize(1600, 1200).expect(204);
    assert_eq!(Display::of(&program(&server, "cat")).size(), (1600, 1200));
    let is_x_server = |line: &String| line.split(' ').next().is_some_and(|name| name.ends_with("Xvfb"));
    let x_server =
        server.session_processes().into_iter().map(|process| process.command_line).find(is_x_server);
    let x_server = x_server.expect("it runs");
    assert!(x_server.contains("1600x1200x24"), "{x_server}");
}

/// Titles of the windows of a desktop, the topmost first.
fn titles(server: &Server, id: &str) -> Vec<String> {
    let list: WindowList = server.get(&format!("/api/streamers/{id}/windows")).expect(200).json();
    list.windows.into_iter().map(|window| window.title).collect()
}

#[test]
fn windows_are_listed_in_the_order_of_the_screen_under_real_window_managers() {
    let server = Server::start();
    // fluxbox shows a message of its own when it can draw no background.
    let fluxbox = "mkdir \"$HOME/.fluxbox\"; echo 'background: none' > \"$HOME/.fluxbox/overlay\"; fluxbox";
    for (id, manager) in [("jwm", "jwm"), ("fluxbox", fluxbox), ("icewm", "icewm"), ("mwm", "mwm")] {
        let command = format!(
            "{manager} & until xprop -root _NET_SUPPORTING_WM_CHECK _MOTIF_WM_INFO | grep -q 0x; do sleep 0.05; done; \
             xterm -T one -geometry 30x8+40+40 & xterm -T two -geometry 30x8+40+240 & \
             exec xterm -T three -geometry 30x8+400+40"
        );
        let source =
            json!({ "type": "desktop", "width": 800, "height": 600, "audio": false, "command": command });
        server.create(id, source);
        let ours =
            || titles(&server, id).into_iter().filter(|title| ["one", "two", "three"].contains(&&**title));
        eventually(&format!("{id} has three windows"), || (ours().count() == 3).then_some(()));
        // A click on the title raises a window.
        let raise = |x: u32, y: u32| {
            let click = json!({ "events": [{ "type": "click", "at": { "x": x, "y": y } }] });
            server.post(&format!("/api/streamers/{id}/input"), &click).expect(204);
        };
        for (title, at) in [("one", (112, 53)), ("three", (472, 53)), ("two", (112, 253))] {
            raise(at.0, at.1);
            eventually(&format!("{id} has raised {title}"), || {
                (ours().next().as_deref() == Some(title)).then_some(())
            });
        }
        assert_eq!(ours().collect::<Vec<_>>(), ["two", "three", "one"], "{id}");
        server.delete(&format!("/api/streamers/{id}")).expect(204);
    }
}

/// The colour of a pixel.
fn pixel(picture: &Picture, x: u32, y: u32) -> [u8; 3] {
    let at = ((y * picture.width + x) * 3) as usize;
    [picture.rgb[at], picture.rgb[at + 1], picture.rgb[at + 2]]
}

#[test]
fn a_window_is_dragged_under_twm_which_grabs_the_server_meanwhile() {
    let server = Server::start();
    let command = "twm & until xwininfo -root -tree | grep -q TWM; do sleep 0.05; done; \
                   exec xterm -T one -bg red -geometry 30x8+40+40";
    let source =
        json!({ "type": "desktop", "width": 800, "height": 600, "audio": false, "command": command });
    server.create("demo", source);
    eventually("twm shows the window", || {
        (pixel(&snapshot(&server, "demo"), 150, 130) == [255, 0, 0]).then_some(())
    });
    let input = |events: Value| {
        server.post("/api/streamers/demo/input", &json!({ "events": events })).expect(204);
    };
    // A menu of twm is a window, but none of a program.
    let before = snapshot(&server, "demo");
    input(json!([{ "type": "button", "button": "left", "action": "down", "at": { "x": 600, "y": 300 } }]));
    eventually("twm shows its menu", || {
        (snapshot(&server, "demo").differing(&before).len() > 5000).then_some(())
    });
    assert_eq!(titles(&server, "demo"), ["one"]);
    input(
        json!([{ "type": "move", "at": { "x": 20, "y": 590 } }, { "type": "button", "button": "left", "action": "up" }]),
    );
    eventually("the menu is closed", || {
        (snapshot(&server, "demo").differing(&before).len() < 5000).then_some(())
    });

    input(json!([{ "type": "button", "button": "left", "action": "down", "at": { "x": 112, "y": 53 } },
        { "type": "move", "at": { "x": 300, "y": 200 } }, { "type": "wait", "ms": 50 },
        { "type": "move", "at": { "x": 412, "y": 253 } }]));
    // Only its outline has moved so far.
    assert_eq!(pixel(&snapshot(&server, "demo"), 150, 130), [255, 0, 0]);
    assert!(titles(&server, "demo").contains(&"one".to_owned()));
    input(json!([{ "type": "button", "button": "left", "action": "up" }]));
    eventually("the window is where it was dragged to", || {
        let picture = snapshot(&server, "demo");
        (pixel(&picture, 450, 330) == [255, 0, 0] && pixel(&picture, 150, 130) != [255, 0, 0]).then_some(())
    });
}

/// A game that wants 1024x768 for itself until a key is pressed.
const GAME: &str = "
import pygame
pygame.display.init()
screen = pygame.display.set_mode((1024, 768), pygame.FULLSCREEN)
while not pygame.event.get(pygame.KEYDOWN):
    screen.fill((255, 0, 0))
    pygame.display.flip()
    pygame.time.wait(20)
pygame.display.quit()
";

#[test]
fn a_game_gets_the_screen_that_it_asks_for_and_gives_it_back() {
    let server = Server::start();
    // Of Debian's Python, which has the package of SDL.
    let command = format!("openbox & /usr/bin/python3 -c '{GAME}'; exec sleep 1000");
    let source = json!({ "type": "desktop", "width": 1280, "height": 720, "audio": false, "command": command,
        "env": { "SDL_VIDEODRIVER": "x11" } });
    server.create("demo", source);
    eventually("the game has all of a screen of its size", || {
        let picture = snapshot(&server, "demo");
        let corners = [(0, 0), (1023, 0), (0, 767)];
        let covered = (picture.width, picture.height) == (1024, 768)
            && corners.into_iter().all(|(x, y)| pixel(&picture, x, y) == [255, 0, 0]);
        covered.then_some(())
    });
    // It may not have the focus yet.
    let key = json!({ "events": [{ "type": "key", "code": "Space" }] });
    eventually("the desktop is as before", || {
        server.post("/api/streamers/demo/input", &key).expect(204);
        let slot = &server.streamer("demo")?.slots[0];
        ((slot.width, slot.height) == (Some(1280), Some(720))).then_some(())
    });
}

#[test]
fn the_end_of_the_command_ends_the_session_with_its_reason() {
    let server = Server::start();
    server.create("demo", terminal("read line"));
    // Its shell starts when its window is there and takes keys.
    program(&server, "sh");
    // The session may be gone before it can say that the text has been typed.
    let body = json!({ "events": [{ "type": "text", "text": "\n" }] });
    let answer = server.post("/api/streamers/demo/input", &body);
    assert!(answer.status == 204 || answer.problem().code == "streamer_gone", "{}", answer.status);
    let reason = server.state_until("demo", StreamerState::Failed).reason.unwrap_or_default();
    assert!(reason.contains("the command ended"), "the reason is {reason:?}");
    eventually("nothing of it runs", || server.session_processes().is_empty().then_some(()));
}

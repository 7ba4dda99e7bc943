//! Homes of desktops: what programs of one session find of another's, and what is left when a session ends.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::slots::WindowList;
use harness::{Server, eventually, eventually_within};
use serde_json::{Value, json};

/// A desktop that notes its environment in its home, `given` in its spec.
fn desktop(server: &Server, id: &str, given: &Value) {
    let command = "env > \"$HOME/env.new\"; mv \"$HOME/env.new\" \"$HOME/env\"; exec xmessage hello";
    let mut source =
        json!({ "type": "desktop", "width": 320, "height": 240, "audio": false, "command": command });
    source.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
    server.create(id, source);
}

/// A variable of a desktop's programs, once they run.
fn variable(home: &Path, name: &str) -> PathBuf {
    let text = eventually("the command has noted its environment", || {
        std::fs::read_to_string(home.join("env")).ok()
    });
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("{name} is not in {text}")).into()
}

#[test]
fn every_session_has_a_home_of_its_own_which_ends_with_it() {
    let server = Server::start();
    let home = |id: &str| server.state_dir().join("homes/session").join(id);
    for id in ["one", "two"] {
        desktop(&server, id, &json!({}));
        assert_eq!(variable(&home(id), "HOME"), home(id));
        assert_eq!(variable(&home(id), "XDG_CONFIG_HOME"), home(id).join(".config"));
    }
    for name in ["DBUS_SESSION_BUS_ADDRESS", "TMPDIR", "XDG_RUNTIME_DIR"] {
        assert_ne!(variable(&home("one"), name), variable(&home("two"), name), "{name}");
    }
    let bus = variable(&home("one"), "DBUS_SESSION_BUS_ADDRESS");
    let bus = bus.to_str().unwrap().strip_prefix("unix:path=").unwrap().split(',').next().unwrap().to_owned();
    std::os::unix::net::UnixStream::connect(bus).expect("its bus listens");
    // Another process of the same session finds what the first one has left.
    std::fs::write(home("one").join("note"), "x").unwrap();
    server.post("/api/streamers/one/restart", &json!({})).expect(202);
    eventually("it is another process, in the same home", || {
        let display = variable(&home("one"), "ORIEL_SESSION");
        (display.exists() && home("one").join("note").exists()).then_some(())
    });
    server.delete("/api/streamers/one").expect(204);
    assert!(!home("one").exists() && home("two").exists());
    desktop(&server, "one", &json!({}));
    variable(&home("one"), "HOME");
    assert!(!home("one").join("note").exists(), "the next one of this name has another");
    server.delete("/api/streamers/one").expect(204);
    eventually("nothing is left of it", || {
        let left = std::fs::read_dir(server.state_dir().join("homes/session")).unwrap().count();
        (left == 1).then_some(())
    });
}

#[test]
fn a_home_ends_with_a_session_whose_time_is_over() {
    let server = Server::start();
    let home = server.state_dir().join("homes/session/short");
    desktop(&server, "short", &json!({}));
    assert_eq!(variable(&home, "HOME"), home);
    let over = json!({ "expires_in_s": 1 }).to_string();
    server.send("PATCH", "/api/streamers/short", "application/json", over.as_bytes()).expect(200);
    eventually("its time is over", || server.streamer("short").is_none().then_some(()));
    eventually("its home is gone", || (!home.exists()).then_some(()));
}

#[test]
fn a_kept_home_comes_back_and_no_other_directory_is_one_unless_it_is_allowed() {
    let allowed = tempfile::tempdir().unwrap();
    let place = allowed.path().join("agent");
    std::fs::create_dir(&place).unwrap();
    let server =
        Server::start_configured(&format!("auth: {{allowed_homes: [{}]}}", allowed.path().display()));
    let home = server.state_dir().join("homes/kept/steady");
    desktop(&server, "steady", &json!({ "home": "kept" }));
    assert_eq!(variable(&home, "HOME"), home);
    std::fs::write(home.join("note"), "x").unwrap();
    server.delete("/api/streamers/steady").expect(204);
    std::fs::remove_file(home.join("env")).unwrap();
    desktop(&server, "steady", &json!({ "home": "kept" }));
    assert_eq!(variable(&home, "HOME"), home);
    assert!(home.join("note").exists());

    desktop(&server, "placed", &json!({ "home": place }));
    assert_eq!(variable(&place, "HOME"), place);
    server.delete("/api/streamers/placed").expect(204);
    assert!(place.join("env").exists(), "it is not ours to remove");
    for (home, status) in [("/root", 403), ("relative", 400), ("/tmp/../etc", 400)] {
        let source = json!({ "type": "desktop", "home": home });
        let problem = server.post("/api/streamers", &json!({ "source": source })).expect(status).problem();
        assert_eq!(problem.field.as_deref(), Some("source.home"), "{home}");
    }
}

/// Titles of the windows of a desktop.
fn titles(server: &Server, id: &str) -> Vec<String> {
    let list: WindowList = server.get(&format!("/api/streamers/{id}/windows")).expect(200).json();
    list.windows.into_iter().map(|window| window.title).collect()
}

/// For a large program, which may be read from a disk first.
const LARGE: Duration = Duration::from_secs(75);

/// Two desktops at once that run what `command` says for each of them: each shows its own page, and the first one no other.
fn each_shows_its_own_page(command: impl Fn(&str) -> String) {
    let server = Server::start();
    for id in ["first", "second"] {
        let command = format!("openbox & {}", command(id));
        let source =
            json!({ "type": "desktop", "width": 800, "height": 600, "audio": false, "command": command });
        server.create(id, source);
        eventually_within(LARGE, "its page is in a window of its desktop", || {
            titles(&server, id).iter().any(|title| title.contains(&format!("page {id}"))).then_some(())
        });
    }
    let first = titles(&server, "first");
    assert!(first.iter().any(|title| title.contains("page first")), "it goes on: {first:?}");
    assert!(first.iter().all(|title| !title.contains("page second")), "{first:?}");
}

#[test]
fn chromium_in_each_of_two_desktops_shows_its_own_page() {
    // As root it has no sandbox; its own network is of no use here.
    each_shows_its_own_page(|id| {
        format!(
            "exec chromium --no-sandbox --no-first-run --disable-gpu --disable-background-networking \
             --disable-component-update --disable-sync 'data:text/html,<title>page {id}</title>'"
        )
    });
}

#[test]
fn firefox_in_each_of_two_desktops_shows_its_own_page() {
    // It shows no page that is in its URL.
    each_shows_its_own_page(|id| {
        format!(
            "echo '<title>page {id}</title>' > \"$HOME/page.html\"; exec firefox-esr \"file://$HOME/page.html\""
        )
    });
}

#[test]
fn libreoffice_in_each_of_two_desktops_shows_its_own_page() {
    each_shows_its_own_page(|id| {
        let file = format!("\"$HOME/page {id}.txt\"");
        format!("echo hello > {file}; exec soffice --writer --norestore --nologo {file}")
    });
}

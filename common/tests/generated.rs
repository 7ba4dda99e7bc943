//! The TypeScript types in `frontend/client/src/generated` are these types.
//!
//! `ORIEL_WRITE_GENERATED=1 cargo test -p common --test generated` writes them (`scripts/generate`
//! does it); without it the test fails when the committed files differ.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{api, audit, control, event, hosts, input, lifetime, multistream, restart, signal, slots};
use ts_rs::{Config, TS};

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../frontend/client/src/generated")
}

fn export(dir: &Path) {
    let config = Config::new().with_out_dir(dir).with_large_int("number");
    macro_rules! export {
        ($($t:ty),* $(,)?) => { $( <$t>::export_all(&config).expect(stringify!($t)); )* };
    }
    export!(
        signal::ClientMessage,
        signal::ServerMessage,
        multistream::ClientMessage,
        multistream::ServerMessage,
        input::KeysMessage,
        input::MotionMessage,
        input::GeneralRequest,
        input::GeneralMessage,
        api::CreateStreamer,
        lifetime::StreamerPatch,
        event::StreamerEvent,
        api::StreamerList,
        api::PeerList,
        api::InputRequest,
        api::ClipboardBody,
        api::SetClipboard,
        api::ResizeRequest,
        api::CreateToken,
        api::Token,
        api::Problem,
        hosts::AddHost,
        hosts::HostList,
        hosts::PairStarted,
        hosts::HostAppList,
        audit::AuditList,
        control::ControlChange,
        restart::LogTail,
        slots::BindSlot,
        slots::SlotConfig,
        slots::WindowList,
        slots::AddSource,
        slots::SourceList,
        slots::StreamList,
    );
    let index: String = files(dir)
        .keys()
        .filter(|name| *name != "index.ts")
        .map(|name| format!("export * from \"./{}\";\n", name.trim_end_matches(".ts")))
        .collect();
    std::fs::write(dir.join("index.ts"), index).unwrap();
}

fn files(dir: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return BTreeMap::new() };
    entries
        .map(|entry| entry.unwrap())
        .map(|e| (e.file_name().into_string().unwrap(), std::fs::read_to_string(e.path()).unwrap()))
        .collect()
}

#[test]
fn the_committed_typescript_is_what_the_types_generate() {
    if std::env::var_os("ORIEL_WRITE_GENERATED").is_some() {
        let dir = committed();
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        export(&dir);
        return;
    }
    let fresh = tempfile::tempdir().unwrap();
    export(fresh.path());
    let (fresh, committed) = (files(fresh.path()), files(&committed()));
    for (name, text) in &fresh {
        assert_eq!(Some(text), committed.get(name), "{name} is out of date: run scripts/generate");
    }
    assert_eq!(fresh.len(), committed.len(), "a generated file is left over: run scripts/generate");
}

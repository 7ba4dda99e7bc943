//! What a session shows: windows, slots, sources.

use common::api::Streamer;
use common::id::StreamerId;
use common::signal::StreamInfo;
use common::slots::{BindSlot, SlotSource, Source, SourceList, Window, WindowList};
use common::spec::{SourceSpec, WindowSpec};
use serde_json::json;

use super::{of, read_json, word};
use crate::args::{Slots, Sources};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, table};

pub fn windows(client: &Client, out: Output, id: &StreamerId) -> Result<(), Failure> {
    let answer = client.get(&of(id, "/windows"))?;
    out.answer(&answer, || {
        let row = |window: Window| {
            let focused = if window.focused { "*" } else { "" };
            let size = format!("{}x{}", window.width, window.height);
            vec![window.id.to_string(), focused.to_owned(), size, window.app, window.title]
        };
        let rows = answer.json::<WindowList>()?.windows.into_iter().map(row).collect();
        Ok(table(&["ID", "", "SIZE", "APP", "TITLE"], rows, "no windows"))
    })
}

pub fn slots(client: &Client, out: Output, what: Slots) -> Result<(), Failure> {
    match what {
        Slots::Ls { id } => {
            let answer = client.get(&of(&id, ""))?;
            let slots = answer.json::<Streamer>()?.slots;
            if out.json {
                return out.line(&json!({ "slots": slots }).to_string());
            }
            let row = |slot: StreamInfo| {
                let size = slot.width.zip(slot.height).map(|(width, height)| format!("{width}x{height}"));
                let name = slot.window_name.unwrap_or_default();
                vec![slot.slot.to_string(), slot.source, size.unwrap_or_default(), name]
            };
            let rows = slots.into_iter().map(row).collect();
            out.line(&table(&["SLOT", "SHOWS", "SIZE", "TITLE"], rows, "no slot shows anything"))
        }
        Slots::Show { id, source, window, slot, quality } => {
            let source = match (source, window) {
                (_, Some(window_id)) => window_spec(window_id)?,
                (Some(name), None) => SlotSource::Name(name),
                (None, None) => {
                    return Err(Failure::Usage("name a source, or a window with --window".into()));
                }
            };
            let body = BindSlot { source, quality };
            let answer = match slot {
                Some(slot) => client.json("PUT", &of(&id, &format!("/slots/{slot}")), &body)?,
                None => client.json("POST", &of(&id, "/slots"), &body)?,
            };
            out.answer(&answer, || Ok(format!("slot {}", answer.json::<StreamInfo>()?.slot)))
        }
        Slots::Clear { id, slot } => {
            client.delete(&of(&id, &format!("/slots/{slot}")))?;
            out.done(&format!("slot {slot} shows nothing"))
        }
    }
}

fn window_spec(window_id: u32) -> Result<SlotSource, Failure> {
    // With the defaults of its type for all that is absent.
    let spec = serde_json::from_value::<WindowSpec>(json!({ "window_id": window_id }));
    let spec = spec.map_err(|error| Failure::Other(error.to_string()))?;
    Ok(SlotSource::Spec(SourceSpec::Window(spec)))
}

pub fn sources(client: &Client, out: Output, what: Sources) -> Result<(), Failure> {
    match what {
        Sources::Ls { id } => {
            let answer = client.get(&of(&id, "/sources"))?;
            out.answer(&answer, || {
                let row = |source: Source| {
                    let size = source.size.map(|(width, height)| format!("{width}x{height}"));
                    vec![
                        source.name,
                        source.source.kind().to_owned(),
                        word(&source.state),
                        size.unwrap_or_default(),
                        source.watchers.to_string(),
                        source.reason.unwrap_or_default(),
                    ]
                };
                let rows = answer.json::<SourceList>()?.sources.into_iter().map(row).collect();
                Ok(table(&["NAME", "TYPE", "STATE", "SIZE", "WATCHERS", "REASON"], rows, "no sources"))
            })
        }
        Sources::Add { id, name, spec } => {
            let body = json!({ "name": name, "source": read_json(&spec)? });
            client.json("POST", &of(&id, "/sources"), &body)?;
            out.done(&format!("{name} is added"))
        }
        Sources::Rm { id, name } => {
            client.delete(&of(&id, &format!("/sources/{name}")))?;
            out.done(&format!("{name} is removed"))
        }
    }
}

//! Who watches and steers: pages, peers, tokens, invitations, rooms.

use std::io::IsTerminal;
use std::process::{Command, Stdio};

use common::api::{CreateToken, Peer, PeerList, PeerPatch, Token};
use common::id::StreamerId;
use common::rooms::{CreateRoom, Room, RoomList};
use common::signal::Role;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::json;

use super::{age, of, word};
use crate::args::{self, NewToken, Peers, RoleName, Rooms};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, fields, table};

pub fn open(
    client: &Client,
    out: Output,
    id: &StreamerId,
    print: bool,
    role: Option<RoleName>,
    expires: u32,
) -> Result<(), Failure> {
    // That it exists, so that nobody is sent to an error page.
    client.get(&of(id, ""))?;
    let token = match role {
        Some(role) => Some(make(client, id, &CreateToken::of(role.into(), expires))?.token),
        None => None,
    };
    let url = page(client, id, token.as_deref(), false);
    if out.json {
        return out.line(&json!({ "url": url }).to_string());
    }
    if print || !std::io::stdout().is_terminal() {
        return out.line(&url);
    }
    let opener =
        std::env::var_os("BROWSER").filter(|name| !name.is_empty()).unwrap_or_else(|| "xdg-open".into());
    let opened = Command::new(&opener)
        .arg(&url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match opened {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Other(format!(
            "no browser can be started ({}: {error}); --print shows the URL",
            opener.to_string_lossy()
        ))),
    }
}

/// URL of the page of a session or room; the token in the fragment, which browsers send to nobody.
fn page(client: &Client, id: &StreamerId, token: Option<&str>, is_room: bool) -> String {
    let url = client.base().join(&format!("/{}/{id}", if is_room { "r" } else { "s" }));
    // Tokens are letters, digits, `-`, `_` and `.`, which need no quoting.
    token.map_or_else(|| url.clone(), |token| format!("{url}#token={token}"))
}

fn make(client: &Client, id: &StreamerId, wish: &CreateToken) -> Result<Token, Failure> {
    client.json("POST", &of(id, "/tokens"), wish)?.json()
}

fn wish(new: &NewToken) -> CreateToken {
    CreateToken {
        rights: new.rights.iter().map(|right| (*right).into()).collect(),
        display_name: new.name.clone(),
        user_id: new.user.clone(),
        ..CreateToken::of(new.role.into(), new.expires)
    }
}

pub fn token(client: &Client, out: Output, what: args::Token) -> Result<(), Failure> {
    match what {
        args::Token::Create(new) => {
            let answer = client.json("POST", &of(&new.id, "/tokens"), &wish(&new))?;
            out.answer(&answer, || {
                let token: Token = answer.json()?;
                Ok(fields(&[
                    ("token", Some(token.token)),
                    ("id", Some(token.token_id.to_string())),
                    ("role", Some(word(&token.role))),
                    ("expires", Some(token.expires.to_rfc3339())),
                ]))
            })
        }
        args::Token::Revoke { id, token_id } => {
            client.delete(&of(&id, &format!("/tokens/{token_id}")))?;
            out.done(&format!("{token_id} is revoked"))
        }
    }
}

pub fn invite(client: &Client, out: Output, new: NewToken, no_qr: bool) -> Result<(), Failure> {
    let is_room = match client.get(&format!("/api/rooms/{}", new.id)) {
        Ok(_) => true,
        Err(failure) if failure.is_not_found() => false,
        Err(failure) => return Err(failure),
    };
    let token = make(client, &new.id, &wish(&new))?;
    let url = page(client, &new.id, Some(&token.token), is_room);
    if out.json {
        let Token { token_id, role, expires, .. } = token;
        return out.line(
            &json!({ "url": url, "token_id": token_id, "role": role, "expires": expires }).to_string(),
        );
    }
    if !no_qr && std::io::stdout().is_terminal() {
        // A link that is too long for a code is still a link.
        if let Ok(code) = QrCode::new(&url) {
            out.line(&code.render::<Dense1x2>().quiet_zone(true).build())?;
        }
    }
    out.line(&url)?;
    let may = match token.role {
        Role::Viewer => "watch",
        Role::Controller => "watch and steer",
    };
    let until = token.expires.to_rfc3339();
    eprintln!(
        "whoever has this link may {may} until {until}; `oriel token revoke {} {}` takes it back",
        new.id, token.token_id
    );
    Ok(())
}

pub fn peers(client: &Client, out: Output, what: Peers) -> Result<(), Failure> {
    match what {
        Peers::Ls { id } => {
            let answer = client.get(&of(&id, "/peers"))?;
            out.answer(&answer, || {
                let row = |peer: Peer| {
                    let ms = peer.stats.round_trip_ms.map(|ms| format!("{ms:.0} ms"));
                    vec![
                        peer.id.to_string(),
                        peer.display_name.unwrap_or_default(),
                        word(&peer.kind),
                        word(&peer.role),
                        word(&peer.state),
                        ms.unwrap_or_default(),
                        age(peer.joined),
                    ]
                };
                let rows = answer.json::<PeerList>()?.peers.into_iter().map(row).collect();
                Ok(table(
                    &["ID", "NAME", "KIND", "ROLE", "STATE", "ROUND TRIP", "JOINED"],
                    rows,
                    "nobody watches",
                ))
            })
        }
        Peers::Kick { id, peer } => {
            client.delete(&of(&id, &format!("/peers/{peer}")))?;
            out.done(&format!("{peer} is removed"))
        }
        Peers::Role { id, peer, role } => {
            let patch = PeerPatch { role: Some(role.into()), ..PeerPatch::default() };
            client.json("PATCH", &of(&id, &format!("/peers/{peer}")), &patch)?;
            out.done(&format!("{peer} is a {} now", word(&Role::from(role))))
        }
    }
}

pub fn rooms(client: &Client, out: Output, what: Rooms) -> Result<(), Failure> {
    match what {
        Rooms::Ls => {
            let answer = client.get("/api/rooms")?;
            out.answer(&answer, || {
                let row = |room: Room| {
                    let people = match room.participants {
                        Some(people) => format!("{people} of {}", room.max_participants),
                        None => format!("at most {}", room.max_participants),
                    };
                    vec![room.id.to_string(), room.name, word(&room.state), people, age(room.created)]
                };
                let rows = answer.json::<RoomList>()?.rooms.into_iter().map(row).collect();
                Ok(table(&["ID", "NAME", "STATE", "PEOPLE", "AGE"], rows, "no rooms"))
            })
        }
        Rooms::Create { name, id, max_participants } => {
            // With the defaults of its type for all that is absent.
            let room = serde_json::from_value::<CreateRoom>(json!({ "name": name }));
            let mut room = room.map_err(|error| Failure::Other(error.to_string()))?;
            room.id = id;
            if let Some(most) = max_participants {
                room.max_participants = most;
            }
            let answer = client.json("POST", "/api/rooms", &room)?;
            out.answer(&answer, || {
                let id = answer.json::<Room>()?.id;
                Ok(format!("{id}\n{}", page(client, &id, None, true)))
            })
        }
        Rooms::Rm { id } => {
            client.delete(&format!("/api/rooms/{id}"))?;
            out.done(&format!("{id} is ended"))
        }
    }
}

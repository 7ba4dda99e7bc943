//! Decides what follows from each message on a data channel. They are untrusted bytes, and may come in a flood.

use std::time::Instant;

use common::access::Steers;
use common::clipboard::Content;
use common::control::Control;
use common::input::{
    GeneralMessage, GeneralRequest, InvalidInput, KeysMessage, MotionMessage, decode_general, decode_keys,
    decode_motion,
};

use super::Report;
use super::connection::Channel;
use super::multi_webrtc::{self, Input};
use super::peer::Peer;

/// Takes a message of a page of [`multi_webrtc`]. The page gets no reply, as its protocol has none.
/// `size` is that of the picture in its slot.
///
/// # Errors
/// [`Refused`] when this peer may not send it.
pub fn take_translated(
    now: Instant,
    peer: &mut Peer,
    control: &Control,
    (channel, bytes): (multi_webrtc::Channel, &[u8]),
    size: (u32, u32),
) -> Result<Option<Order>, Refused> {
    if !peer.limits().messages.admit(now) {
        return Ok(None);
    }
    let input = peer.page().and_then(|page| page.take(now, channel, bytes, size));
    match input {
        None => Ok(None),
        Some(Input::Keys(message)) => {
            may_say(peer, control, &message)?;
            Ok(Some(Order::Keys(message)))
        }
        Some(Input::Motion(message)) => {
            may_say(peer, control, &message)?;
            Ok(Some(Order::Motion(message)))
        }
    }
}

/// Everything that a page of [`multi_webrtc`] holds, if it is time to repeat it, and if the page may steer.
pub fn repeat(now: Instant, peer: &mut Peer, control: &Control) -> Option<KeysMessage> {
    let held = peer.repeat(now)?;
    may_say(peer, control, &held).is_ok().then_some(held)
}

/// What a message asks for, outside of the peer's connection.
#[derive(Debug)]
pub enum Order {
    /// For the input thread.
    Keys(KeysMessage),
    /// For the input thread.
    Motion(MotionMessage),
    /// For the control loop.
    Report(Report),
}

/// Why a message is not carried out.
#[derive(Debug)]
pub struct Refused {
    /// Stable, for programs.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl From<InvalidInput> for Refused {
    fn from(error: InvalidInput) -> Self {
        Self { code: "invalid_message", message: error.to_string() }
    }
}

/// Takes a message, and answers it at once if possible. Messages over the limit are dropped silently. `clock` is when the streamer's
/// clock began.
///
/// # Errors
/// [`Refused`] when it is malformed, this peer may not send it, or it comes too often.
pub fn take(
    now: Instant,
    peer: &mut Peer,
    control: &Control,
    clock: Instant,
    (channel, bytes): (Channel, &[u8]),
) -> Result<Option<Order>, Refused> {
    // The next motion repairs a lost one, and what is held is repeated.
    if !peer.limits().messages.admit(now) {
        return Ok(None);
    }
    let id = peer.id;
    let order = match channel {
        Channel::Keys => {
            let message = decode_keys(bytes)?;
            may_say(peer, control, &message)?;
            match message {
                KeysMessage::Clipboard { text, html } => {
                    heavy(now, peer)?;
                    let content = Content { text: Some(text), html, png: None };
                    Order::Report(Report::Clipboard { peer: id, content })
                }
                KeysMessage::ClipboardPicture { at, data, last } => {
                    if at == 0 {
                        heavy(now, peer)?;
                    }
                    let taken = peer.parts().take(at, &data, last);
                    let invalid = |message| Refused { code: "invalid_message", message };
                    let Some(png) = taken.map_err(invalid)? else { return Ok(None) };
                    let content = Content { png: Some(png), ..Content::default() };
                    content.validate().map_err(|error| invalid(error.to_string()))?;
                    Order::Report(Report::Clipboard { peer: id, content })
                }
                message => Order::Keys(message),
            }
        }
        Channel::Motion => {
            let message = decode_motion(bytes)?;
            may_say(peer, control, &message)?;
            Order::Motion(message)
        }
        Channel::General => {
            let message = decode_general(bytes)?;
            may_say(peer, control, &message)?;
            match message {
                GeneralRequest::Ping { token } => {
                    peer.tell(now, &GeneralMessage::Pong { token });
                    return Ok(None);
                }
                GeneralRequest::Clock { token } => {
                    let (ticks, offsets) = peer.clock(now, clock);
                    peer.tell(now, &GeneralMessage::Clock { token, ticks, offsets });
                    return Ok(None);
                }
                GeneralRequest::Latency(report) => {
                    peer.sees(&report);
                    return Ok(None);
                }
                GeneralRequest::Resize { slot, width, height } => {
                    heavy(now, peer)?;
                    Order::Report(Report::Resize { peer: id, slot, width, height })
                }
            }
        }
        // These have another layout, and no replies.
        Channel::MultiWebrtc(_) => return Ok(None),
    };
    Ok(Some(order))
}

fn may_say(peer: &Peer, control: &Control, message: &impl Steers) -> Result<(), Refused> {
    if peer.role < message.needs() {
        let message = "this peer is a viewer: it may watch, not steer".to_owned();
        return Err(Refused { code: "not_a_controller", message });
    }
    if message.steers() && !control.admits(peer.id) {
        let message = "another has control: ask for it, or take it".to_owned();
        return Err(Refused { code: "not_in_control", message });
    }
    Ok(())
}

fn heavy(now: Instant, peer: &mut Peer) -> Result<(), Refused> {
    let admitted = peer.limits().heavy.admit(now);
    let refused = || Refused { code: "busy", message: "too many of these at once".to_owned() };
    admitted.then_some(()).ok_or_else(refused)
}

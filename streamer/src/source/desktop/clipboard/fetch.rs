//! A transfer from the program that owns the clipboard. This module decides what to request and what a reply means, in plain
//! code; [`super::owner`] sends the requests.
//!
//! ```text
//! TARGETS ──▶ text, by the first of its names that is known and given ──▶ HTML        (texts)
//!        └──▶ PNG                                                                  (a picture)
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use common::clipboard::{ClipboardType, InvalidContent, PNG_SIGNATURE, Wanted};
use x11rb::protocol::xproto::{Atom, AtomEnum, Window};

use super::{Atoms, Reply};
use crate::source::{ClipboardOffer, Error};

/// Timeout of one step of a transfer.
const STEP_TIME: Duration = Duration::from_secs(1);
/// Timeout of the whole transfer: pieces may come slowly, and without end.
const WHOLE_TIME: Duration = Duration::from_secs(5);
/// Longest list of types that is read, in bytes: 4096 of them.
const MAX_TARGETS: usize = 16 * 1024;

/// One transfer, and who waits for it.
pub struct Fetch {
    /// The window that receives it. Each transfer has its own: after an aborted one, the owner may go on writing.
    pub window: Window,
    pub wanted: Wanted,
    pub waiting: Vec<(Wanted, Reply)>,
    /// It is a new copy, to be reported.
    pub tell: bool,
    /// The clipboard has changed meanwhile: newer content is to be fetched after this. A transfer is not aborted, as
    /// its owner would then wait for us and answer nothing else.
    pub outdated: bool,
    /// The owner says that it is a password or the like.
    pub secret: bool,
    /// The content received so far.
    pub offer: ClipboardOffer,
    /// The pieces received so far of the last request, once it is known that its reply comes in pieces.
    pieces: Option<Vec<u8>>,
    /// The type requested last; `None`: the list of types.
    asked: Option<Ask>,
    /// Types that are still to be requested.
    asks: VecDeque<Ask>,
    step: Instant,
    whole: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ask {
    kind: ClipboardType,
    target: Atom,
}

/// The next step after a reply.
#[derive(Debug)]
pub enum Next {
    /// Wait for the next event.
    Wait,
    /// Request this type.
    Ask(Atom),
    /// Request this type for another window: the owner may still write to the previous one.
    AskElsewhere(Atom),
    /// The transfer is complete.
    Done(Result<(), Error>),
}

/// A property as it was read.
pub struct Read {
    /// Its type.
    pub kind: Atom,
    pub bytes: Vec<u8>,
    /// It is longer than the maximum.
    pub too_long: bool,
}

impl Fetch {
    /// Starts a transfer; the list of types is to be requested.
    pub fn new(
        now: Instant,
        window: Window,
        wanted: Wanted,
        waiting: Vec<(Wanted, Reply)>,
        tell: bool,
    ) -> Self {
        Self {
            window,
            wanted,
            waiting,
            tell,
            outdated: false,
            secret: false,
            offer: ClipboardOffer::default(),
            pieces: None,
            asked: None,
            asks: VecDeque::new(),
            step: now + STEP_TIME,
            whole: now + WHOLE_TIME,
        }
    }

    /// When it times out.
    pub fn deadline(&self) -> Instant {
        self.step.min(self.whole)
    }

    /// True while pieces are waited for.
    pub fn takes_pieces(&self) -> bool {
        self.pieces.is_some()
    }

    /// Longest accepted reply to the last request, in bytes.
    pub fn max_len(&self) -> usize {
        self.asked.map_or(MAX_TARGETS, |ask| ask.kind.max_len())
    }

    /// The owner refuses the request.
    pub fn refused(&mut self, now: Instant, atoms: &Atoms) -> Next {
        if self.asked.is_none() {
            // Every owner must have a list (ICCCM §2.6.2); those that have none know texts.
            self.asks = match self.wanted {
                Wanted::Texts => [atoms.UTF8_STRING, AtomEnum::STRING.into()].map(text).into(),
                Wanted::Picture => VecDeque::new(),
            };
        }
        self.advance(now)
    }

    /// The owner has replied: with all of it, or with the announcement of pieces.
    pub fn answered(&mut self, now: Instant, atoms: &Atoms, read: Read) -> Next {
        if read.kind != atoms.INCR {
            return self.complete(now, atoms, read);
        }
        self.step = now + STEP_TIME;
        // A lower bound of the length.
        let len = read.bytes.first_chunk().map_or(0, |len| u32::from_ne_bytes(*len) as usize);
        if len > self.max_len() {
            return self.too_long(now, len);
        }
        self.pieces = Some(Vec::new());
        Next::Wait
    }

    /// The next piece has arrived; an empty one is the last.
    pub fn piece(&mut self, now: Instant, atoms: &Atoms, read: Read) -> Next {
        let max = self.max_len();
        let Some(pieces) = &mut self.pieces else { return Next::Wait };
        if read.bytes.is_empty() && !read.too_long {
            let bytes = std::mem::take(pieces);
            return self.complete(now, atoms, Read { bytes, ..read });
        }
        let len = pieces.len() + read.bytes.len();
        if read.too_long || len > max {
            return self.too_long(now, len.max(max + 1));
        }
        pieces.extend(read.bytes);
        self.step = now + STEP_TIME;
        Next::Wait
    }

    fn complete(&mut self, now: Instant, atoms: &Atoms, read: Read) -> Next {
        let Some(Ask { kind, target }) = self.asked else {
            if read.kind != Atom::from(AtomEnum::ATOM) && read.kind != atoms.TARGETS {
                return self.refused(now, atoms);
            }
            let targets: Vec<Atom> =
                read.bytes.as_chunks::<4>().0.iter().map(|atom| Atom::from_ne_bytes(*atom)).collect();
            self.plan(atoms, &targets);
            return self.advance(now);
        };
        if read.too_long {
            return self.too_long(now, kind.max_len() + 1);
        }
        let content = &mut self.offer.content;
        match kind {
            ClipboardType::Text if target == read.kind || is_text(atoms, read.kind) => {
                content.text = decode_text(&read.bytes, read.kind == Atom::from(AtomEnum::STRING));
            }
            ClipboardType::Html => content.html = decode_html(&read.bytes),
            ClipboardType::Png if read.bytes.starts_with(PNG_SIGNATURE) => content.png = Some(read.bytes),
            ClipboardType::Text | ClipboardType::Png => {}
        }
        // Latin-1 and UTF-16 grow when they become UTF-8.
        let long = [&content.text, &content.html].into_iter().flatten().map(String::len).max();
        if let Some(len) = long.filter(|len| *len > kind.max_len() && kind != ClipboardType::Png) {
            return self.too_long(now, len);
        }
        if content.types().contains(&kind) {
            self.asks.retain(|ask| ask.kind != kind);
            if !self.offer.types.contains(&kind) {
                self.offer.types.push(kind);
            }
        }
        self.advance(now)
    }

    /// The types to request from an owner that offers these.
    fn plan(&mut self, atoms: &Atoms, targets: &[Atom]) {
        self.secret = targets.contains(&atoms.SECRET);
        let offered = |target: &Atom| targets.contains(target);
        let texts: Vec<Atom> = text_targets(atoms).into_iter().filter(offered).collect();
        let kinds = [
            (ClipboardType::Text, !texts.is_empty()),
            (ClipboardType::Html, offered(&atoms.HTML)),
            (ClipboardType::Png, offered(&atoms.PNG)),
        ];
        self.offer.types = kinds.into_iter().filter_map(|(kind, offered)| offered.then_some(kind)).collect();
        match self.wanted {
            Wanted::Texts => {
                self.asks.extend(texts.into_iter().map(text));
                self.asks.extend(
                    offered(&atoms.HTML).then_some(Ask { kind: ClipboardType::Html, target: atoms.HTML }),
                );
            }
            Wanted::Picture => {
                self.asks.extend(
                    offered(&atoms.PNG).then_some(Ask { kind: ClipboardType::Png, target: atoms.PNG }),
                );
            }
        }
    }

    fn advance(&mut self, now: Instant) -> Next {
        self.step = now + STEP_TIME;
        self.pieces = None;
        self.asked = self.asks.pop_front();
        match self.asked {
            Some(ask) => Next::Ask(ask.target),
            None => {
                // A type that was offered and then refused does not count as offered.
                let had = self.offer.content.types();
                let fetched =
                    |kind: &ClipboardType| (*kind == ClipboardType::Png) == (self.wanted == Wanted::Picture);
                self.offer.types.retain(|kind| !fetched(kind) || had.contains(kind));
                Next::Done(Ok(()))
            }
        }
    }

    /// A text without its HTML is still useful; a part of a text or of a picture is not.
    fn too_long(&mut self, now: Instant, len: usize) -> Next {
        let kind = self.asked.map_or(ClipboardType::Text, |ask| ask.kind);
        if kind == ClipboardType::Html {
            self.offer.content.html = None;
            return match self.advance(now) {
                Next::Ask(target) => Next::AskElsewhere(target),
                next => next,
            };
        }
        Next::Done(Err(Error::Clipboard(InvalidContent::TooLong { kind, len })))
    }
}

fn text(target: Atom) -> Ask {
    Ask { kind: ClipboardType::Text, target }
}

/// Names of text types, the best first. `TEXT` and `COMPOUND_TEXT` have an encoding of the owner's choice; of the latter, ASCII is decoded correctly.
fn text_targets(atoms: &Atoms) -> [Atom; 6] {
    let Atoms { UTF8_STRING, PLAIN_UTF8, PLAIN, TEXT, COMPOUND_TEXT, .. } = *atoms;
    [UTF8_STRING, PLAIN_UTF8, AtomEnum::STRING.into(), PLAIN, TEXT, COMPOUND_TEXT]
}

fn is_text(atoms: &Atoms, kind: Atom) -> bool {
    text_targets(atoms).contains(&kind)
}

/// Decodes a text. `None` if it is none: some programs that hold only a picture send its bytes when a text is requested, and no text has
/// zeros in it.
fn decode_text(bytes: &[u8], latin1: bool) -> Option<String> {
    let bytes = without_end(bytes);
    if bytes.contains(&0) {
        return None;
    }
    if latin1 {
        return Some(bytes.iter().map(|byte| char::from(*byte)).collect());
    }
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// HTML is in UTF-8, or in UTF-16 with a byte order mark (Mozilla).
fn decode_html(bytes: &[u8]) -> Option<String> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| -> String {
        let units = bytes.as_chunks::<2>().0.iter().map(|pair| unit(*pair));
        let chars = char::decode_utf16(units).map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER));
        chars.filter(|char| *char != '\0').collect()
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => Some(utf16(rest, u16::from_le_bytes)),
        [0xfe, 0xff, rest @ ..] => Some(utf16(rest, u16::from_be_bytes)),
        bytes => decode_text(bytes, false),
    }
}

/// Some programs send the zero that ends their strings.
fn without_end(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_picture_are_no_text() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01";
        assert_eq!((decode_text(png, false), decode_text(png, true)), (None, None));
        assert_eq!(decode_text("Grüße\0".as_bytes(), false).as_deref(), Some("Grüße"));
        assert_eq!(decode_text(b"Gr\xfc\xdfe", true).as_deref(), Some("Grüße"));
        assert_eq!(decode_text(b"a\xffb", false).as_deref(), Some("a\u{fffd}b"));
        assert_eq!(decode_text(b"", false).as_deref(), Some(""));
    }

    #[test]
    fn html_is_read_in_the_encodings_of_browsers() {
        let html = "<b>Grüße 漢😀</b>";
        let utf16 = |mark: u16, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            [mark].into_iter().chain(html.encode_utf16()).flat_map(bytes).collect()
        };
        for bytes in
            [html.as_bytes().to_vec(), utf16(0xfeff, u16::to_le_bytes), utf16(0xfeff, u16::to_be_bytes)]
        {
            assert_eq!(decode_html(&bytes).as_deref(), Some(html));
        }
    }
}

//! Bounds on session descriptions from outside, checked before anything parses them.
//!
//! Parsers of SDP compare payload types with attributes and codecs with codecs, so a text within the limits of length can
//! still take seconds. The bounds are several times what browsers, GStreamer and Pion send: a browser lists some 50 payload
//! types in a video section, with up to 7 attributes each.

use std::fmt;

/// Bytes of a description: those of the longest signalling message.
pub const MAX_BYTES: usize = crate::signal::MAX_MESSAGE;
/// Bytes of a line. Long ones are fingerprints, parameter sets and payload type lists, of some hundred bytes.
pub const MAX_LINE_BYTES: usize = 4096;
/// Media sections: every slot's two, those for publishing, and the data channels are 36.
pub const MAX_SECTIONS: usize = 48;
/// Lines in all: a browser that offers to receive in all slots sends some 4600.
pub const MAX_LINES: usize = 6000;
/// Lines of one section, or before the first one: a browser's video section has some 250.
pub const MAX_SECTION_LINES: usize = 400;
/// Payload types of one section.
pub const MAX_PAYLOAD_TYPES: usize = 64;
/// Attributes of one payload type in one section: `rtpmap`, `fmtp` and `rtcp-fb`.
pub const MAX_ATTRIBUTES: usize = 16;

/// Payload types have seven bits (RFC 3550 §5.1). The wildcard of `rtcp-fb` counts like one, and so does all that is no
/// payload type.
const PAYLOAD_TYPES: usize = 128;
const WILDCARD: usize = PAYLOAD_TYPES;
const INVALID: usize = PAYLOAD_TYPES + 1;

/// A part of a description that is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Bytes of the whole description.
    Bytes,
    /// Bytes of a line.
    LineBytes,
    /// Media sections.
    Sections,
    /// Lines in all.
    Lines,
    /// Lines of a section.
    SectionLines,
    /// Payload types of a section.
    PayloadTypes,
    /// Attributes of one payload type.
    Attributes,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Bytes => "bytes",
            Part::LineBytes => "bytes in a line",
            Part::Sections => "media sections",
            Part::Lines => "lines",
            Part::SectionLines => "lines in a section",
            Part::PayloadTypes => "payload types in a section",
            Part::Attributes => "attributes of a payload type",
        })
    }
}

/// A description that exceeds a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the SDP has {count} {part}, and at most {limit} are allowed; offer fewer")]
pub struct TooLarge {
    /// The part that exceeds its bound.
    pub part: Part,
    /// How many there are.
    pub count: usize,
    /// How many there may be.
    pub limit: usize,
}

fn within(part: Part, count: usize, limit: usize) -> Result<(), TooLarge> {
    if count > limit { Err(TooLarge { part, count, limit }) } else { Ok(()) }
}

/// A description within all bounds. It may still be no SDP at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounded(String);

impl Bounded {
    /// Checks `sdp` in one pass, in constant memory.
    ///
    /// # Errors
    /// The first bound that is exceeded.
    pub fn check(sdp: String) -> Result<Self, TooLarge> {
        scan(&sdp)?;
        Ok(Self(sdp))
    }

    /// The description as SDP.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl AsRef<str> for Bounded {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

fn scan(sdp: &str) -> Result<(), TooLarge> {
    within(Part::Bytes, sdp.len(), MAX_BYTES)?;
    // Parsers differ on what ends a line: both characters do here. CRLF makes an empty line more, which does not count.
    let lines = || sdp.split(['\n', '\r']).filter(|line| !line.is_empty());
    let mut section = Section::default();
    let mut sections = 0;
    let mut count = 0;
    for line in lines() {
        within(Part::LineBytes, line.len(), MAX_LINE_BYTES)?;
        count += 1;
        if let Some(media) = line.strip_prefix("m=") {
            section.check()?;
            section = Section::default();
            sections += 1;
            // Media, port and protocol come first.
            section.formats = media.split_whitespace().skip(3).count();
        }
        section.add(line);
    }
    section.check()?;
    within(Part::Sections, sections, MAX_SECTIONS)?;
    within(Part::Lines, count, MAX_LINES)
}

/// What has been counted in a section, or in what comes before the first one.
struct Section {
    lines: usize,
    formats: usize,
    attributes: [usize; PAYLOAD_TYPES + 2],
}

impl Default for Section {
    fn default() -> Self {
        Self { lines: 0, formats: 0, attributes: [0; PAYLOAD_TYPES + 2] }
    }
}

impl Section {
    fn add(&mut self, line: &str) {
        self.lines += 1;
        let Some((name, value)) = line.strip_prefix("a=").and_then(|attribute| attribute.split_once(':'))
        else {
            return;
        };
        if !matches!(name.trim(), "rtpmap" | "fmtp" | "rtcp-fb") {
            return;
        }
        let payload_type = match value.split_whitespace().next() {
            Some("*") => WILDCARD,
            Some(number) => number.parse().ok().filter(|n| *n < PAYLOAD_TYPES).unwrap_or(INVALID),
            None => INVALID,
        };
        self.attributes[payload_type] += 1;
    }

    fn check(&self) -> Result<(), TooLarge> {
        within(Part::SectionLines, self.lines, MAX_SECTION_LINES)?;
        let described = self.attributes.iter().filter(|count| **count > 0).count();
        within(Part::PayloadTypes, self.formats.max(described), MAX_PAYLOAD_TYPES)?;
        let most = self.attributes.iter().copied().max().unwrap_or_default();
        within(Part::Attributes, most, MAX_ATTRIBUTES)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;

    fn sections(count: usize) -> String {
        format!("v=0\r\n{}", "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n".repeat(count))
    }

    fn payload_types(count: usize) -> String {
        let list: String = (0..count).map(|n| format!(" {n}")).collect();
        format!("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF{list}\r\n")
    }

    /// Payload types that the section does not list, but describes.
    fn described(count: usize) -> String {
        (0..count).fold("m=video 9 RTP 0\n".to_owned(), |mut sdp, n| {
            let _ = writeln!(sdp, "a=rtpmap:{n} H264/90000");
            sdp
        })
    }

    fn feedback(count: usize) -> String {
        format!("m=video 9 RTP 96\r\na=rtpmap:96 H264/90000\r\n{}", "a=rtcp-fb:96 nack\r\n".repeat(count - 1))
    }

    fn wildcards(count: usize) -> String {
        format!("m=video 9 RTP 96\n{}", "a=rtcp-fb:* nack\n".repeat(count))
    }

    fn no_payload_types(count: usize) -> String {
        format!("m=video 9 RTP 96\n{}", "a=fmtp:x y\n".repeat(count))
    }

    fn before_the_first_section(count: usize) -> String {
        "a=x\n".repeat(count)
    }

    /// Lines that end with a carriage return alone.
    fn section_lines(count: usize) -> String {
        format!("v=0\rm=audio 9 RTP 0\r{}", "a=x\r".repeat(count - 1))
    }

    fn lines(count: usize) -> String {
        let in_section = 300;
        let section = format!("m=audio 9 RTP 0\n{}", "a=x\n".repeat(in_section - 1));
        let rest = "a=x\n".repeat(count % in_section);
        section.repeat(count / in_section) + &rest
    }

    fn line_bytes(count: usize) -> String {
        format!("a={}\r\n", "x".repeat(count - 2))
    }

    fn bytes(count: usize) -> String {
        let line = format!("a={}\n", "x".repeat(1021));
        line.repeat(count / line.len()) + &"\n".repeat(count % line.len())
    }

    /// A bound, its limit, and what makes an SDP with so many of what it bounds.
    type Case = (Part, usize, fn(usize) -> String);

    #[test]
    fn each_bound_is_the_last_number_that_is_taken() {
        let cases: [Case; 11] = [
            (Part::Sections, MAX_SECTIONS, sections),
            (Part::PayloadTypes, MAX_PAYLOAD_TYPES, payload_types),
            (Part::PayloadTypes, MAX_PAYLOAD_TYPES, described),
            (Part::Attributes, MAX_ATTRIBUTES, feedback),
            (Part::Attributes, MAX_ATTRIBUTES, wildcards),
            (Part::Attributes, MAX_ATTRIBUTES, no_payload_types),
            (Part::SectionLines, MAX_SECTION_LINES, before_the_first_section),
            (Part::SectionLines, MAX_SECTION_LINES, section_lines),
            (Part::Lines, MAX_LINES, lines),
            (Part::LineBytes, MAX_LINE_BYTES, line_bytes),
            (Part::Bytes, MAX_BYTES, bytes),
        ];
        for (part, limit, sdp) in cases {
            assert_eq!(scan(&sdp(limit)), Ok(()), "{part}");
            let count = limit + 1;
            assert_eq!(scan(&sdp(count)), Err(TooLarge { part, count, limit }), "{part}");
        }
    }

    #[test]
    fn a_refusal_names_the_number_and_the_limit() {
        let refused = Bounded::check(sections(1000)).unwrap_err().to_string();
        assert_eq!(refused, "the SDP has 1000 media sections, and at most 48 are allowed; offer fewer");
    }

    /// As Chromium offers to receive: half of the payload types are retransmissions of the others.
    #[test]
    fn what_a_browser_sends_for_all_slots_is_taken() {
        let mut video = "m=video 9 UDP/TLS/RTP/SAVPF".to_owned();
        let types = 35..85;
        for payload_type in types.clone() {
            let _ = write!(video, " {payload_type}");
        }
        video += "\r\n";
        for media in types.step_by(2) {
            let rtx = media + 1;
            let _ = write!(video, "a=rtpmap:{media} H264/90000\r\n");
            for feedback in ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"] {
                let _ = write!(video, "a=rtcp-fb:{media} {feedback}\r\n");
            }
            let _ = write!(video, "a=fmtp:{media} level-asymmetry-allowed=1;packetization-mode=1\r\n");
            let _ = write!(video, "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={media}\r\n");
        }
        for n in 0..40 {
            let _ = write!(video, "a=extmap:{n} urn:ietf:params:rtp-hdrext:sdes:mid\r\n");
        }
        let slots = usize::from(crate::spec::MAX_SLOTS);
        let audio = format!("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{}", "a=x\r\n".repeat(60));
        let sdp = format!("v=0\r\n{}", (video + &audio).repeat(slots));
        assert_eq!(scan(&sdp), Ok(()));
    }

    /// Pieces of descriptions, in any order: what is taken is within the bounds by a slower count, too.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("m=video 9 RTP 96 97".to_owned()),
            Just("a=rtpmap:96 x".to_owned()),
            Just("a=rtcp-fb:* nack".to_owned()),
            Just("\r\n".to_owned()),
            Just("\n".to_owned()),
            any::<String>(),
        ];
        (proptest::collection::vec(piece, 0..40), 1..200usize)
            .prop_map(|(pieces, times)| pieces.concat().repeat(times))
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_taken_is_within_the_bounds(sdp in pieces()) {
            if scan(&sdp).is_ok() {
                prop_assert!(sdp.len() <= MAX_BYTES);
                let sections = sdp.split(['\r', '\n']).filter(|line| line.starts_with("m=")).count();
                prop_assert!(sections <= MAX_SECTIONS);
                for section in sdp.replace('\r', "\n").split("\nm=") {
                    prop_assert!(section.lines().filter(|line| line.starts_with("a=rtpmap:96 ")).count() <= MAX_ATTRIBUTES);
                }
            }
        }
    }
}

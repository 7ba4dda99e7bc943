//! The boxes of fragmented MP4 (ISO/IEC 14496-12) with H.264 (ISO/IEC 14496-15) and Opus ("Encapsulation of Opus in ISO Base
//! Media File Format"). Pure: values go in, bytes come out.

use common::media::{AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ};

use crate::encode::audio::CHANNELS;
use crate::media::Size;

/// Number of the track with the pictures.
const VIDEO_TRACK: u32 = 1;
/// Number of the track with the sound.
const AUDIO_TRACK: u32 = 2;

/// `sample_flags` of a picture that is decodable alone (§8.8.3.1): it depends on no other.
const KEYFRAME: u32 = 0x0200_0000;
/// Of any other: it depends on others, and is no sync sample.
const OTHER_FRAME: u32 = 0x0101_0000;
/// Samples that an Opus decoder makes before the sound begins (RFC 7845 §4.2); libopus has so many.
const PRE_SKIP: u16 = 312;
/// Coordinates as they are (§8.2.2).
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// What the tracks are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracks {
    /// Sequence parameter set of the pictures, without a start code; at least four bytes.
    pub sps: Vec<u8>,
    /// Picture parameter set.
    pub pps: Vec<u8>,
    /// Size of the pictures.
    pub size: Size,
    /// Whether there is a track with sound.
    pub sound: bool,
}

/// One picture or one packet of sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Start, in ticks of its track.
    pub time: u64,
    /// Length, in ticks of its track.
    pub duration: u32,
    /// Decodable alone.
    pub keyframe: bool,
    /// H.264 with lengths of four bytes, or an Opus packet.
    pub data: Vec<u8>,
}

/// The beginning of a file: `ftyp` and `moov`.
pub fn init(tracks: &Tracks) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, b"ftyp", |out| {
        out.extend(b"iso5");
        out.extend(512u32.to_be_bytes());
        out.extend(b"iso5iso6mp41");
    });
    put(&mut out, b"moov", |out| {
        full(out, b"mvhd", 0, 0, |out| {
            // Created, modified; the time scale of nothing that is said here; how long it is, which nobody knows.
            words(out, &[0, 0, 1000, 0]);
            // As fast and as loud as it is.
            words(out, &[0x1_0000, 0x0100_0000, 0, 0]);
            words(out, &MATRIX);
            words(out, &[0; 6]);
            words(out, &[AUDIO_TRACK + 1]);
        });
        video_track(out, tracks);
        if tracks.sound {
            audio_track(out);
        }
        put(out, b"mvex", |out| {
            for track in [VIDEO_TRACK, AUDIO_TRACK].into_iter().take(1 + usize::from(tracks.sound)) {
                // The first sample description; no defaults for the rest.
                full(out, b"trex", 0, 0, |out| words(out, &[track, 1, 0, 0, 0]));
            }
        });
    });
    out
}

fn video_track(out: &mut Vec<u8>, tracks: &Tracks) {
    let Tracks { sps, pps, size, .. } = tracks;
    let header = |out: &mut Vec<u8>| full(out, b"vmhd", 0, 1, |out| words(out, &[0, 0]));
    track(out, VIDEO_TRACK, *size, VIDEO_CLOCK_HZ, (b"vide", "pictures"), header, |out| {
        // `avc3`: later pictures may have other parameter sets, as that of a desktop that was resized.
        put(out, b"avc3", |out| {
            sample_entry(out);
            words(out, &[0; 4]);
            out.extend((size.width as u16).to_be_bytes());
            out.extend((size.height as u16).to_be_bytes());
            // 72 dpi, one picture in each sample, no name, 24 bits, no colour table.
            words(out, &[0x48_0000, 0x48_0000, 0]);
            out.extend(1u16.to_be_bytes());
            out.extend([0; 32]);
            out.extend(24u16.to_be_bytes());
            out.extend(u16::MAX.to_be_bytes());
            put(out, b"avcC", |out| {
                out.push(1);
                out.extend(sps.get(1..4).unwrap_or(&[0; 3]));
                // Lengths of four bytes, one set of each kind.
                out.push(0xff);
                for (count, set) in [(0xe1, sps), (1, pps)] {
                    out.push(count);
                    out.extend((set.len() as u16).to_be_bytes());
                    out.extend(set);
                }
            });
        });
    });
}

fn audio_track(out: &mut Vec<u8>) {
    let header = |out: &mut Vec<u8>| full(out, b"smhd", 0, 0, |out| words(out, &[0]));
    let nothing = Size { width: 0, height: 0 };
    track(out, AUDIO_TRACK, nothing, AUDIO_CLOCK_HZ, (b"soun", "sound"), header, |out| {
        put(out, b"Opus", |out| {
            sample_entry(out);
            words(out, &[0; 2]);
            out.extend((CHANNELS as u16).to_be_bytes());
            out.extend(16u16.to_be_bytes());
            words(out, &[0, AUDIO_CLOCK_HZ << 16]);
            put(out, b"dOps", |out| {
                out.push(0);
                out.push(CHANNELS as u8);
                out.extend(PRE_SKIP.to_be_bytes());
                out.extend(AUDIO_CLOCK_HZ.to_be_bytes());
                // No gain, one stream of two channels.
                out.extend([0; 3]);
            });
        });
    });
}

/// A `trak` that has no samples of its own.
fn track(
    out: &mut Vec<u8>,
    id: u32,
    size: Size,
    timescale: u32,
    (handler, name): (&[u8; 4], &str),
    media_header: impl Fn(&mut Vec<u8>),
    entry: impl Fn(&mut Vec<u8>),
) {
    put(out, b"trak", |out| {
        // Enabled, in the presentation.
        full(out, b"tkhd", 0, 3, |out| {
            words(out, &[0, 0, id, 0, 0, 0, 0, 0]);
            let volume: u16 = if size.width == 0 { 0x100 } else { 0 };
            out.extend(volume.to_be_bytes());
            out.extend([0; 2]);
            words(out, &MATRIX);
            words(out, &[size.width << 16, size.height << 16]);
        });
        put(out, b"mdia", |out| {
            full(out, b"mdhd", 0, 0, |out| {
                words(out, &[0, 0, timescale, 0]);
                // The language is not known: `und`.
                out.extend([0x55, 0xc4, 0, 0]);
            });
            full(out, b"hdlr", 0, 0, |out| {
                words(out, &[0]);
                out.extend(handler);
                words(out, &[0; 3]);
                out.extend(name.as_bytes());
                out.push(0);
            });
            put(out, b"minf", |out| {
                media_header(out);
                put(out, b"dinf", |out| {
                    full(out, b"dref", 0, 0, |out| {
                        words(out, &[1]);
                        // Media are in this file.
                        full(out, b"url ", 0, 1, |_| {});
                    });
                });
                put(out, b"stbl", |out| {
                    full(out, b"stsd", 0, 0, |out| {
                        words(out, &[1]);
                        entry(out);
                    });
                    full(out, b"stts", 0, 0, |out| words(out, &[0]));
                    full(out, b"stsc", 0, 0, |out| words(out, &[0]));
                    full(out, b"stsz", 0, 0, |out| words(out, &[0, 0]));
                    full(out, b"stco", 0, 0, |out| words(out, &[0]));
                });
            });
        });
    });
}

/// What every sample entry begins with: it is of the first data reference.
fn sample_entry(out: &mut Vec<u8>) {
    out.extend([0, 0, 0, 0, 0, 0, 0, 1]);
}

/// A `moof` with its `mdat`: the samples of each track follow each other without gaps.
pub fn fragment(sequence: u32, video: &[Sample], audio: &[Sample]) -> Vec<u8> {
    let payload: usize = video.iter().chain(audio).map(|sample| sample.data.len()).sum();
    let mut out = Vec::with_capacity(payload + 256);
    // Where each track's offset to its data is written, and how far its data is into that of all.
    let mut offsets = Vec::new();
    let mut before = 0;
    put(&mut out, b"moof", |out| {
        full(out, b"mfhd", 0, 0, |out| words(out, &[sequence]));
        for (track, samples) in [(VIDEO_TRACK, video), (AUDIO_TRACK, audio)] {
            let Some(first) = samples.first() else { continue };
            put(out, b"traf", |out| {
                // Offsets are from the beginning of the `moof`.
                full(out, b"tfhd", 0, 0x02_0000, |out| words(out, &[track]));
                full(out, b"tfdt", 1, 0, |out| out.extend(first.time.to_be_bytes()));
                // An offset, and of each sample its length in time, in bytes, and its flags.
                full(out, b"trun", 0, 0x701, |out| {
                    words(out, &[samples.len() as u32]);
                    offsets.push((out.len(), before));
                    words(out, &[0]);
                    for sample in samples {
                        let flags = if sample.keyframe { KEYFRAME } else { OTHER_FRAME };
                        words(out, &[sample.duration, sample.data.len() as u32, flags]);
                    }
                });
            });
            before += samples.iter().map(|sample| sample.data.len()).sum::<usize>();
        }
    });
    let data = out.len() + 8;
    for (at, before) in offsets {
        let offset = (data + before) as u32;
        out[at..at + 4].copy_from_slice(&offset.to_be_bytes());
    }
    put(&mut out, b"mdat", |out| {
        for sample in video.iter().chain(audio) {
            out.extend(&sample.data);
        }
    });
    out
}

/// A box (§4.2): its length, its name, its content.
fn put(out: &mut Vec<u8>, name: &[u8; 4], content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0; 4]);
    out.extend(name);
    content(out);
    // What one holds is bounded by what a frame holds.
    let len = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

/// A box with a version and flags.
fn full(out: &mut Vec<u8>, name: &[u8; 4], version: u8, flags: u32, content: impl FnOnce(&mut Vec<u8>)) {
    put(out, name, |out| {
        words(out, &[u32::from(version) << 24 | flags]);
        content(out);
    });
}

fn words(out: &mut Vec<u8>, words: &[u32]) {
    for word in words {
        out.extend(word.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The boxes in `bytes`, those that only hold others with what is in them.
    fn read(mut bytes: &[u8]) -> Vec<(String, usize, Vec<u8>)> {
        let mut boxes = Vec::new();
        while !bytes.is_empty() {
            let len = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
            let name = String::from_utf8(bytes[4..8].to_vec()).unwrap();
            let content = &bytes[8..len];
            let holds = ["moov", "trak", "mdia", "minf", "stbl", "dinf", "mvex", "moof", "traf"];
            boxes.push((name.clone(), len, content.to_vec()));
            if holds.contains(&name.as_str()) {
                boxes.extend(read(content));
            }
            bytes = &bytes[len..];
        }
        boxes
    }

    fn tracks(sound: bool) -> Tracks {
        let size = Size { width: 640, height: 360 };
        Tracks { sps: vec![0x67, 0x42, 0xc0, 0x1f, 9], pps: vec![0x68, 8], size, sound }
    }

    #[test]
    fn a_file_begins_with_its_tracks() {
        for sound in [false, true] {
            let boxes = read(&init(&tracks(sound)));
            let count = |name: &str| boxes.iter().filter(|(found, ..)| found == name).count();
            let tracks = 1 + usize::from(sound);
            assert_eq!((count("ftyp"), count("mvhd"), count("trak"), count("trex")), (1, 1, tracks, tracks));
            // Lengths that the standard gives.
            for (name, len) in [("mvhd", 108), ("tkhd", 92), ("mdhd", 32), ("trex", 32), ("vmhd", 20)] {
                assert!(
                    boxes.iter().filter(|(found, ..)| found == name).all(|(_, l, _)| *l == len),
                    "{name}"
                );
            }
            let descriptions: Vec<_> = boxes.iter().filter(|(name, ..)| name == "stsd").collect();
            let avc = &descriptions[0].2[8..];
            assert_eq!(&avc[4..8], b"avc3");
            assert_eq!((&avc[32..34], &avc[34..36]), (&[2u8, 128][..], &[1u8, 104][..]), "640 × 360");
            let config = &avc[86..];
            assert_eq!(&config[4..8], b"avcC");
            let expected =
                [1, 0x42, 0xc0, 0x1f, 0xff, 0xe1, 0, 5, 0x67, 0x42, 0xc0, 0x1f, 9, 1, 0, 2, 0x68, 8];
            assert_eq!(&config[8..], expected);
            if sound {
                let opus = &descriptions[1].2[8..];
                assert_eq!((&opus[4..8], opus.len()), (&b"Opus"[..], 36 + 19));
                assert_eq!(
                    &opus[36..],
                    [&[0, 0, 0, 19][..], b"dOps", &[0, 2, 1, 56, 0, 0, 0xbb, 0x80, 0, 0, 0]].concat()
                );
            }
        }
    }

    #[test]
    fn a_fragment_says_where_its_samples_are_and_when() {
        let sample =
            |time, keyframe, data: &[u8]| Sample { time, duration: 7, keyframe, data: data.to_vec() };
        let fragment = fragment(
            3,
            &[sample(1 << 33, true, b"picture"), sample(5, false, b"next")],
            &[sample(960, true, b"so"), sample(1920, true, b"und")],
        );
        let boxes = read(&fragment);
        let names: Vec<_> = boxes.iter().map(|(name, ..)| name.as_str()).collect();
        let traf = ["traf", "tfhd", "tfdt", "trun"];
        assert_eq!(names, [&["moof", "mfhd"][..], &traf, &traf, &["mdat"]].concat());
        let all = |name: &str| {
            boxes.iter().filter(|(found, ..)| found == name).map(|(.., c)| c).collect::<Vec<_>>()
        };
        assert_eq!(all("tfdt")[0][4..], (1u64 << 33).to_be_bytes());
        let word = |content: &[u8], n: usize| u32::from_be_bytes(content[4 * n..][..4].try_into().unwrap());
        let runs = all("trun");
        let data = |run: usize| &fragment[word(runs[run], 2) as usize..];
        assert!(data(0).starts_with(b"picturenext") && data(1) == b"sound");
        assert_eq!((word(runs[0], 1), word(runs[1], 1)), (2, 2));
        let samples: Vec<_> = (3..9).map(|n| word(runs[0], n)).collect();
        assert_eq!(samples, [7, 7, KEYFRAME, 7, 4, OTHER_FRAME]);
        // Without pictures there is no track of them.
        assert_eq!(read(&super::fragment(1, &[], &[sample(0, true, b"x")])).len(), 7);
    }
}

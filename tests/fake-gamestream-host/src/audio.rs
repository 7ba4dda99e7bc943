//! Sound: a tone as Opus, in blocks of four packets with two of parity.

use std::f32::consts::TAU;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use opus::{Application, Bitrate, Channels, Encoder};

use crate::crypto::{Key, cbc_encrypt};
use crate::fec::{AUDIO_DATA, AUDIO_MATRIX, parity};
use crate::host::{Shared, await_ping, take_pings};
use crate::network::Way;
use crate::session::Session;

/// Payload type of a packet of sound.
const DATA: u8 = 97;
/// Payload type of parity.
const PARITY: u8 = 127;
/// Samples per second.
const RATE: u32 = 48_000;
/// Of the tone, in hertz.
const PITCH: f32 = 440.0;

/// Sends sound until the session ends.
pub fn run(shared: &Shared, session: &Session) {
    let Some(mut client) = await_ping(shared, session, &shared.audio) else {
        if !session.has_ended() {
            shared.state().complain("no ping for sound within 10 s");
        }
        return;
    };
    let packet_ms = session.settings.audio_packet_ms;
    let key = session.settings.encrypted_audio.then_some((session.launch.key, session.launch.key_id));
    let mut tone = Tone::new(packet_ms, session.launch.low_sound);
    let mut packetizer = Packetizer::new(packet_ms, key);
    let mut way = Way::new(shared.state().scenario.seed.wrapping_add(1));
    let mut due = Instant::now();
    while !session.has_ended() && !shared.is_stopped() {
        let now = Instant::now();
        if now >= due {
            client = take_pings(shared, session, &shared.audio).unwrap_or(client);
            let packets = packetizer.push(&tone.packet());
            let (rules, mute) = {
                let state = shared.state();
                (state.scenario.audio, state.scenario.mute_audio)
            };
            if !mute {
                let sent = packets.len() as u64;
                let lost =
                    packets.into_iter().filter(|packet| !way.push(now, &rules, packet.clone())).count();
                let counters = &mut shared.state().counters;
                counters.audio_packets += sent;
                counters.audio_lost += lost as u64;
            }
            due += Duration::from_millis(packet_ms.into());
        }
        deliver(&mut way, shared, client);
        let next = way.next_at().map_or(due, |at| at.min(due));
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn deliver(way: &mut Way<Vec<u8>>, shared: &Shared, client: SocketAddr) {
    while let Some(packet) = way.pop(Instant::now()) {
        // Lost if it cannot be sent, as on any network.
        let _ = shared.audio.send_to(&packet, client);
    }
}

/// A tone, encoded at a constant bitrate.
struct Tone {
    encoder: Encoder,
    samples: usize,
    played: usize,
}

impl Tone {
    fn new(packet_ms: u32, low: bool) -> Self {
        let mut encoder =
            Encoder::new(RATE, Channels::Stereo, Application::LowDelay).expect("Opus takes 48 kHz");
        encoder.set_vbr(false).expect("Opus can have a constant bitrate");
        let bitrate = if low { 96_000 } else { 512_000 };
        encoder.set_bitrate(Bitrate::Bits(bitrate)).expect("Opus takes 512 kbit/s");
        Self { encoder, samples: (RATE / 1000 * packet_ms) as usize, played: 0 }
    }

    fn packet(&mut self) -> Vec<u8> {
        let sample = |n: usize| (n as f32 * PITCH * TAU / RATE as f32).sin() * 0.2;
        // Whole seconds hold whole waves: the number stays small enough to be exact.
        let place = self.played % RATE as usize;
        let sound: Vec<f32> =
            (place..place + self.samples).flat_map(|n| [sample(n % RATE as usize); 2]).collect();
        self.played += self.samples;
        self.encoder.encode_vec_float(&sound, 4000).expect("Opus encodes packets of 5, 10 and 20 ms")
    }
}

/// Cuts sound into packets of one session.
struct Packetizer {
    packet_ms: u32,
    key: Option<(Key, i32)>,
    sequence: u16,
    timestamp: u32,
    /// Payloads of the block so far.
    block: Vec<Vec<u8>>,
}

impl Packetizer {
    fn new(packet_ms: u32, key: Option<(Key, i32)>) -> Self {
        Self { packet_ms, key, sequence: 0, timestamp: 0, block: Vec::new() }
    }

    /// The packet of an Opus packet, and the parity that is due with it.
    fn push(&mut self, opus: &[u8]) -> Vec<Vec<u8>> {
        let payload = match &self.key {
            Some((key, id)) => cbc_encrypt(key, &iv(*id, self.sequence), opus),
            None => opus.to_vec(),
        };
        let mut packet = rtp(DATA, self.sequence, self.timestamp);
        packet.extend_from_slice(&payload);
        let mut packets = vec![packet];
        self.block.push(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(self.packet_ms);
        if self.sequence.is_multiple_of(AUDIO_DATA as u16) {
            packets.extend(self.parity());
            self.block.clear();
        }
        packets
    }

    fn parity(&self) -> impl Iterator<Item = Vec<u8>> {
        let base_sequence = self.sequence.wrapping_sub(AUDIO_DATA as u16);
        let base_timestamp = self.timestamp.wrapping_sub(AUDIO_DATA as u32 * self.packet_ms);
        (0..).zip(AUDIO_MATRIX).map(move |(index, row)| {
            // Numbers overlap those of the packets that follow.
            let mut packet = rtp(PARITY, self.sequence.wrapping_add(index.into()), base_timestamp);
            packet.extend([index, DATA]);
            packet.extend(base_sequence.to_be_bytes());
            packet.extend(base_timestamp.to_be_bytes());
            packet.extend([0; 4]);
            packet.extend(parity(&row, self.block.iter().map(Vec::as_slice)));
            packet
        })
    }
}

fn rtp(kind: u8, sequence: u16, timestamp: u32) -> Vec<u8> {
    let mut header = vec![0x80, kind];
    header.extend(sequence.to_be_bytes());
    header.extend(timestamp.to_be_bytes());
    header.extend([0; 4]);
    header
}

fn iv(key_id: i32, sequence: u16) -> [u8; 16] {
    let mut iv = [0; 16];
    let number = key_id.cast_unsigned().wrapping_add(sequence.into());
    iv[..4].copy_from_slice(&number.to_be_bytes());
    iv
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::from_hex;

    #[test]
    fn encryption_is_as_published() {
        let key: Key = std::array::from_fn(|n| n as u8);
        let plain = from_hex("fc00000000112233").unwrap();
        for (sequence, published) in
            [(0, "9ee1b814efc5896ce643788044a2b3a2"), (65530, "2a30883dbe878eee1442e2302093c7bb")]
        {
            assert_eq!(cbc_encrypt(&key, &iv(-123_456_789, sequence), &plain), from_hex(published).unwrap());
        }
        assert_eq!(iv(-123_456_789, 0)[..4], from_hex("f8a432eb").unwrap());
    }

    #[test]
    fn headers_are_as_seen_on_the_wire() {
        let mut packetizer = Packetizer::new(10, None);
        let packets: Vec<Vec<u8>> = (0..5).flat_map(|_| packetizer.push(&[0xf4, 0xff, 0xfe])).collect();
        let starts = [
            "806100000000000000000000f4fffe",
            "806100010000000a00000000f4fffe",
            "806100020000001400000000f4fffe",
            "806100030000001e00000000f4fffe",
            "807f00040000000000000000006100000000000000000000",
            "807f00050000000000000000016100000000000000000000",
            "806100040000002800000000f4fffe",
        ];
        assert_eq!(packets.len(), starts.len());
        for (packet, start) in packets.iter().zip(starts) {
            let start = from_hex(start).unwrap();
            assert_eq!(packet[..start.len()], start);
        }
        // The rows of the matrix sum up to 1, so the parity of equal shards is the shard, as seen on the wire.
        assert_eq!(packets[4][24..], [0xf4, 0xff, 0xfe]);
    }

    #[test]
    fn packets_of_sound_are_equal_in_size_and_can_be_decoded() {
        for (packet_ms, low, size) in [(5, true, 60), (10, true, 120), (10, false, 640), (20, true, 240)] {
            let mut tone = Tone::new(packet_ms, low);
            let mut decoder = opus::Decoder::new(RATE, Channels::Stereo).unwrap();
            let mut loudest = 0.0_f32;
            for _ in 0..20 {
                let packet = tone.packet();
                assert_eq!(packet.len(), size, "{packet_ms} ms");
                let mut sound = vec![0.0; 2 * 960];
                let samples = decoder.decode_float(&packet, &mut sound, false).unwrap();
                assert_eq!(samples, (48 * packet_ms) as usize);
                loudest = sound.iter().fold(loudest, |loudest, sample| loudest.max(sample.abs()));
            }
            assert!((0.15..0.3).contains(&loudest), "{loudest}");
        }
    }
}

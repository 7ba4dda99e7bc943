//! Sound: a real server, a real player.

use std::f64::consts::TAU;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use streamer::feed::{AudioOutlet, Demand};
use streamer::media::AudioPacket;
use streamer::source::desktop::sound::Sound;
use streamer::stats::SourceCounters;

use crate::{PATIENCE, until};

struct Listener {
    sound: Sound,
    demand: Arc<Demand>,
    counters: Arc<SourceCounters>,
    packets: Receiver<AudioPacket>,
    dir: tempfile::TempDir,
}

impl Listener {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let demand = Arc::new(Demand::new().unwrap());
        let counters = Arc::new(SourceCounters::default());
        let (sender, packets) = sync_channel(10_000);
        let outlet = AudioOutlet::new(Arc::clone(&demand), move |packet| sender.send(packet).unwrap());
        let started = Instant::now();
        let sound = Sound::start(dir.path(), outlet, Arc::clone(&counters)).unwrap();
        assert!(started.elapsed() < Duration::from_millis(50), "nobody waits for the sound server");
        Self { sound, demand, counters, packets, dir }
    }

    fn server(&self) -> Option<i32> {
        let socket = self.dir.path().join("pulse.sock");
        std::os::unix::net::UnixStream::connect(&socket).ok()?;
        server_in(self.dir.path())
    }
}

/// The sound server whose files are in `dir`.
fn server_in(dir: &Path) -> Option<i32> {
    let dir = dir.to_string_lossy().into_owned();
    std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let command = std::fs::read(entry.path().join("cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).into_owned();
        let ours = command.contains("module-null-sink") && command.contains(&dir);
        if ours { entry.file_name().to_str()?.parse().ok() } else { None }
    })
}

/// Plays a tone of 440 Hz and this length by the program `pacat`.
fn play(sound: &Sound, length: Duration) -> Instant {
    let samples = (length.as_secs_f64() * 48_000.0) as usize;
    let tone: Vec<u8> = (0..samples)
        .flat_map(|i| {
            let value = ((i as f64 / 48_000.0 * 440.0 * TAU).sin() * 8000.0) as i16;
            [value, value].map(i16::to_le_bytes).concat()
        })
        .collect();
    let mut player = Command::new("pacat")
        .args(["--playback", "--format=s16le", "--rate=48000", "--channels=2", "--latency-msec=20"])
        .args(["--server", sound.address()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    player.stdin.take().unwrap().write_all(&tone).unwrap();
    assert!(player.wait().unwrap().success());
    started
}

fn level(packets: &[AudioPacket]) -> Vec<i16> {
    let mut decoder = opus::Decoder::new(48_000, opus::Channels::Stereo).unwrap();
    let decode = |packet: &AudioPacket| {
        let mut block = [0i16; 960];
        assert_eq!(decoder.decode(&packet.data, &mut block, false).unwrap(), 480);
        block.iter().map(|sample| sample.saturating_abs()).max().unwrap()
    };
    packets.iter().map(decode).collect()
}

#[test]
fn sound_arrives_with_its_time_and_silence_does_not() {
    let listener = Listener::start();
    listener.demand.add_watcher();
    until("capture", || (listener.counters.audio_captured.get() > 0).then_some(()));
    let started = play(&listener.sound, Duration::from_millis(500));
    let ended = Instant::now();
    // The tail of the sound has passed when captured blocks are not encoded any more.
    let captured = listener.counters.audio_captured.get();
    until("silence", || (listener.counters.audio_captured.get() > captured + 20).then_some(()));
    let packets: Vec<AudioPacket> = listener.packets.try_iter().collect();

    assert!((50..=62).contains(&packets.len()), "500 ms and a short tail, not {} packets", packets.len());
    let loud = level(&packets).iter().filter(|level| **level > 5000).count();
    assert!((47..=53).contains(&loud), "{loud} packets have the tone");
    let (first, last) = (packets[0].captured, packets[packets.len() - 1].captured);
    assert!(first > started && last < ended + Duration::from_millis(100));
    for pair in packets.windows(2) {
        let gap = pair[1].captured - pair[0].captured;
        assert!((8..=12).contains(&gap.as_millis()), "{gap:?} between packets");
    }
    let encoded = listener.counters.audio_encoded.get();
    assert_eq!(encoded, packets.len() as u64);
    assert!(listener.counters.audio_captured.get() > encoded, "silence was captured, not encoded");
}

#[test]
fn without_listeners_nothing_is_encoded_and_a_listener_hears_at_once() {
    let listener = Listener::start();
    until("the server", || listener.server());
    play(&listener.sound, Duration::from_millis(200));
    assert_eq!(listener.counters.audio_encoded.get(), 0);
    listener.demand.add_watcher();
    play(&listener.sound, Duration::from_millis(300));
    assert!(listener.packets.recv_timeout(PATIENCE).is_ok());
    listener.demand.remove_watcher();
}

#[test]
fn a_server_that_dies_is_started_again() {
    let listener = Listener::start();
    listener.demand.add_watcher();
    let first = until("the server", || listener.server());
    until("capture", || (listener.counters.audio_captured.get() > 0).then_some(()));
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(first).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let second = until("another server", || listener.server().filter(|pid| *pid != first));
    let captured = listener.counters.audio_captured.get();
    until("capture", || (listener.counters.audio_captured.get() > captured).then_some(()));
    play(&listener.sound, Duration::from_millis(200));
    assert!(listener.packets.recv_timeout(PATIENCE).is_ok());

    let Listener { sound, dir, .. } = listener;
    drop(sound);
    assert!(!crate::is_alive(second));
    assert!(server_in(dir.path()).is_none());
    assert!(!dir.path().join("pulse.sock").exists());
}

#[test]
fn nothing_is_left_in_shared_memory_or_in_the_home_directory() {
    let segments = || {
        let names = std::fs::read_dir("/dev/shm").unwrap().flatten();
        names.filter(|file| file.file_name().to_string_lossy().starts_with("pulse")).count()
    };
    let before = segments();
    let listener = Listener::start();
    listener.demand.add_watcher();
    until("capture", || (listener.counters.audio_captured.get() > 0).then_some(()));
    assert_eq!(segments(), before);
    let server = listener.server().unwrap();
    let environment = std::fs::read(format!("/proc/{server}/environ")).unwrap();
    let home = format!("HOME={}", listener.dir.path().display());
    assert!(String::from_utf8_lossy(&environment).contains(&home));
}

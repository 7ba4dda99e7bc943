//! Sound: a real server, a real player.

use std::f64::consts::TAU;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use common::id::PeerId;
use streamer::encode::audio::OpusEncoder;
use streamer::feed::{AudioOutlet, AudioUnit, Demand};
use streamer::source::desktop::sound::Sound;
use streamer::stats::SourceCounters;

use crate::{PATIENCE, until};

struct Listener {
    sound: Sound,
    demand: Arc<Demand>,
    counters: Arc<SourceCounters>,
    packets: Receiver<Arc<AudioUnit>>,
    dir: tempfile::TempDir,
}

impl Listener {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let demand = Arc::new(Demand::new().unwrap());
        let counters = Arc::new(SourceCounters::default());
        let (sender, packets) = sync_channel(10_000);
        let publish = move |unit| sender.send(unit).unwrap();
        let outlet = AudioOutlet::new(Arc::clone(&demand), Instant::now(), publish);
        let sound = Sound::start(dir.path(), outlet, Arc::clone(&counters), true).unwrap();
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

#[test]
fn programs_that_are_started_once_it_is_ready_are_let_in() {
    let mut times = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let listener = Listener::start();
        let started = start.elapsed();
        listener.sound.wait_ready(PATIENCE);
        times.push((started, start.elapsed()));
        let socket = listener.dir.path().join("pulse.sock");
        // At once, as a program would: none tries again.
        std::os::unix::net::UnixStream::connect(&socket).expect("the sound server listens");
    }
    let waits = times.iter().all(|(started, ready)| *started * 2 > *ready);
    assert!(!waits, "nobody waits for the sound server: started and ready after {times:?}");
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
        .args(["--playback", "--format=s16le", "--rate=48000", "--channels=2", "--latency-msec=400"])
        .args(["--server", sound.address()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    player.stdin.take().unwrap().write_all(&tone).unwrap();
    assert!(player.wait().unwrap().success());
    started
}

fn level(packets: &[Arc<AudioUnit>]) -> Vec<i16> {
    let mut decoder = opus::Decoder::new(48_000, opus::Channels::Stereo).unwrap();
    let decode = |packet: &Arc<AudioUnit>| {
        let mut block = [0i16; 960];
        assert_eq!(decoder.decode(&packet.payload, &mut block, false).unwrap(), 480);
        block.iter().map(|sample| sample.saturating_abs()).max().unwrap()
    };
    packets.iter().map(decode).collect()
}

#[test]
fn sound_arrives_with_its_time_and_silence_does_not() {
    let listener = Listener::start();
    listener.demand.add_watcher();
    until("the server", || listener.server());
    let started = play(&listener.sound, Duration::from_millis(500));
    let ended = Instant::now();
    // Silence: no packet for as long as a hundred would take.
    let mut packets = Vec::new();
    while let Ok(packet) = listener.packets.recv_timeout(Duration::from_secs(1)) {
        packets.push(packet);
    }

    // On a busy machine the player may stutter: then there are tails in between.
    assert!((45..=120).contains(&packets.len()), "500 ms and a short tail, not {} packets", packets.len());
    let loud = level(&packets).iter().filter(|level| **level > 5000).count();
    assert!((40..=57).contains(&loud), "{loud} packets have the tone");
    let first = packets[0].captured;
    let last = packets[packets.len() - 1].captured;
    assert!(first > started && last < ended + Duration::from_millis(500));
    let gaps: Vec<u128> =
        packets.windows(2).map(|pair| (pair[1].captured - pair[0].captured).as_millis()).collect();
    let even = gaps.iter().filter(|gap| (9..=11).contains(*gap)).count();
    assert!(even * 10 >= gaps.len() * 9, "packets are 10 ms apart, not {gaps:?}");
    assert_eq!(listener.counters.audio_encoded.get(), packets.len() as u64);
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

/// Whether the sink that peers speak into sleeps.
fn peers_sleep(listener: &Listener) -> bool {
    let mut list = Command::new("pactl");
    list.args(["--server", listener.sound.address(), "list", "short", "sinks"]);
    let output = list.output().unwrap();
    let sinks = String::from_utf8(output.stdout).unwrap();
    sinks.lines().any(|line| line.contains("peers") && line.contains("SUSPENDED"))
}

#[test]
fn programs_record_silence_until_a_peer_is_plugged_in_and_without_a_program_nothing_runs() {
    let listener = Listener::start();
    until("the server", || listener.server());
    let microphone = listener.sound.microphone().unwrap();
    let mut heard = microphone.plug(PeerId::unique());
    let mut encoder = OpusEncoder::new().unwrap();
    let mut n = 0u32;
    // A whistle of 10 ms, each time.
    let mut whistle = || {
        let sample = |i: usize| {
            let at = f64::from(n) * 480.0 + (i / 2) as f64;
            ((at / 48_000.0 * 1000.0 * TAU).sin() * 8000.0) as i16
        };
        let payload = encoder.encode(&std::array::from_fn::<_, 960, _>(sample)).unwrap();
        n += 1;
        Arc::new(AudioUnit { captured: Instant::now(), time: u64::from(n) * 480, marker: false, payload })
    };
    until("nobody records, so nothing runs", || {
        heard(&whistle());
        peers_sleep(&listener).then_some(())
    });

    let mut recorder = Command::new("parec")
        .args(["--format=s16le", "--rate=48000", "--channels=1", "--latency-msec=20"])
        .args(["--server", listener.sound.address()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut recorded = recorder.stdout.take().unwrap();
    // Half a second of the whistle, at its pitch.
    let mut loud = Vec::new();
    let mut block = [0; 960];
    let deadline = Instant::now() + PATIENCE;
    while loud.len() < 24_000 {
        assert!(Instant::now() < deadline, "the whistle is recorded");
        // The recorder gives a block when its time has come, which paces this loop as well.
        recorded.read_exact(&mut block).unwrap();
        heard(&whistle());
        let samples = block.as_chunks::<2>().0.iter().map(|sample| i16::from_le_bytes(*sample));
        match samples.clone().any(|sample| sample.abs() > 4000) {
            true => loud.extend(samples),
            false => loud.clear(),
        }
    }
    let rising = loud.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
    assert!(
        (480..=520).contains(&rising),
        "1000 Hz cross zero upwards 500 times in half a second, not {rising}"
    );
    recorder.kill().unwrap();
    recorder.wait().unwrap();
    until("nobody records any more", || {
        heard(&whistle());
        peers_sleep(&listener).then_some(())
    });
    microphone.unplug(PeerId::unique());
    assert!(heard(&whistle()), "another one is not meant");
}

#[test]
fn a_server_that_dies_is_started_again() {
    let listener = Listener::start();
    listener.demand.add_watcher();
    let first = until("the server", || listener.server());
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(first).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let second = until("another server", || listener.server().filter(|pid| *pid != first));
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
    let segments = || -> std::collections::HashSet<_> {
        let names = std::fs::read_dir("/dev/shm").unwrap().flatten().map(|file| file.file_name());
        names.filter(|name| name.to_string_lossy().starts_with("pulse")).collect()
    };
    let before = segments();
    let listener = Listener::start();
    listener.demand.add_watcher();
    let server = until("the server", || listener.server());
    play(&listener.sound, Duration::from_millis(100));
    assert!(listener.packets.recv_timeout(PATIENCE).is_ok());
    // Those of other tests come and go; this server's would be there as long as it is.
    until("no segments more than before", || segments().is_subset(&before).then_some(()));
    let environment = std::fs::read(format!("/proc/{server}/environ")).unwrap();
    let home = format!("HOME={}", listener.dir.path().display());
    assert!(String::from_utf8_lossy(&environment).contains(&home));
}

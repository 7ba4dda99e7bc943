//! Chromium, by the scripts in `browser/`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::line_process::LineProcess;

fn script(name: &str, arguments: &[String]) -> Result<LineProcess> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser").join(name);
    LineProcess::start(name, Command::new("node").arg(path).args(arguments))
}

fn run<T: DeserializeOwned>(name: &str, arguments: &[String]) -> Result<T> {
    let mut process = script(name, arguments)?;
    let result = process.hear()?;
    process.finish()?;
    Ok(result)
}

/// A new page has joined.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Join {
    /// WebSocket open to first presented frame, milliseconds.
    pub ms: f64,
    /// Navigation to first presented frame, milliseconds.
    pub page_ms: f64,
}

/// Lets new pages join one after the other.
///
/// # Errors
/// When a page fails.
pub fn join(url: &str, count: usize) -> Result<Vec<Join>> {
    #[derive(Deserialize)]
    struct Joins {
        joins: Vec<Join>,
    }
    Ok(run::<Joins>("join.mjs", &[url.to_owned(), count.to_string()])?.joins)
}

/// Kills a streamer again and again while a page watches it: milliseconds from its death to the first presented frame of its
/// successor.
///
/// # Errors
/// When the page does not come back.
pub fn revive(root: &str, id: &str, count: usize) -> Result<Vec<f64>> {
    #[derive(Deserialize)]
    struct Revived {
        ms: Vec<f64>,
    }
    Ok(run::<Revived>("revive.mjs", &[root.to_owned(), id.to_owned(), count.to_string()])?.ms)
}

/// A host was paired, started and seen.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct First {
    /// Begin of pairing to the first presented frame, milliseconds.
    pub ms: f64,
    /// Of it: pairing.
    pub pair_ms: f64,
    /// Of it: `POST` of the streamer until it runs.
    pub start_ms: f64,
}

/// Pairs with a fake host, starts and watches it, and forgets it, again and again.
///
/// # Errors
/// When a page or the host fails.
pub fn moonlight(root: &str, http_port: u16, api_port: u16, count: usize) -> Result<Vec<First>> {
    #[derive(Deserialize)]
    struct Firsts {
        firsts: Vec<First>,
    }
    let arguments = [root.to_owned(), http_port.to_string(), api_port.to_string(), count.to_string()];
    Ok(run::<Firsts>("moonlight.mjs", &arguments)?.firsts)
}

/// Keys and their echoes: milliseconds from the event in the page to the changed pixel.
///
/// # Errors
/// When a key has no effect.
pub fn keys(url: &str, count: usize) -> Result<Vec<f64>> {
    #[derive(Deserialize)]
    struct Echoes {
        echoes_ms: Vec<f64>,
    }
    Ok(run::<Echoes>("keys.mjs", &[url.to_owned(), count.to_string()])?.echoes_ms)
}

/// What a connected page saw of slots that change.
#[derive(Debug, Clone, Deserialize)]
pub struct Slots {
    /// From the wish to the first presented frame, milliseconds.
    pub presented_ms: Vec<f64>,
    /// From the wish to the answer that it is fulfilled, milliseconds.
    pub answered_ms: Vec<f64>,
    /// Received in a paused slot in a second.
    pub paused_bytes: f64,
}

/// Lets slots of a streamer change `count` times; see `slots.mjs`.
///
/// # Errors
/// When the page fails.
pub fn slots(root: &str, id: &str, what: &str, count: usize, shown: &[String]) -> Result<Slots> {
    let arguments = [root.to_owned(), id.to_owned(), what.to_owned(), count.to_string()];
    run("slots.mjs", &[&arguments, shown].concat())
}

/// Pages that show the streams of `multistream/*` in one connection, one after the other: milliseconds until all present.
///
/// # Errors
/// When a page fails.
pub fn connect(root: &str, count: usize, streams: &[String]) -> Result<Vec<f64>> {
    #[derive(Deserialize)]
    struct Connected {
        connected_ms: Vec<f64>,
    }
    let arguments = [root.to_owned(), "connect".to_owned(), count.to_string()];
    Ok(run::<Connected>("cameras.mjs", &[&arguments, streams].concat())?.connected_ms)
}

/// What a page has published, as it was presented.
#[derive(Debug, Clone, Deserialize)]
pub struct Faces {
    /// From being drawn to being presented over a direct connection, of each picture of each run, milliseconds.
    pub direct_ms: Vec<Vec<f64>>,
    /// The same through the server.
    pub relayed_ms: Vec<Vec<f64>>,
    /// From the offer of a player that comes later to its first presented picture.
    pub joined_ms: Vec<f64>,
}

/// Publishes pictures in a room and watches them, and the same over a direct connection.
///
/// # Errors
/// When the page fails.
pub fn faces(root: &str, id: &str, runs: usize, time: Duration) -> Result<Faces> {
    run("faces.mjs", &[root.to_owned(), id.to_owned(), runs.to_string(), time.as_secs().to_string()])
}

/// Pages that show cameras.
pub struct Cameras(LineProcess);

impl Cameras {
    /// Opens one page with all of them (`"one"`), or a page for each (`"six"`); returns when all are presented.
    ///
    /// # Errors
    /// When a page fails.
    pub fn open(root: &str, how: &str, streams: &[String]) -> Result<Self> {
        let arguments = [root.to_owned(), how.to_owned()];
        let mut process = script("cameras.mjs", &[&arguments, streams].concat())?;
        process.hear::<Ready>().map(|Ready {}| ())?;
        Ok(Self(process))
    }

    /// Ends them; the browser's memory before, bytes.
    ///
    /// # Errors
    /// When a page has failed.
    pub fn end(mut self) -> Result<f64> {
        #[derive(Deserialize)]
        struct Ended {
            memory_bytes: f64,
        }
        self.0.say("stop")?;
        let Ended { memory_bytes } = self.0.hear()?;
        self.0.finish()?;
        Ok(memory_bytes)
    }
}

/// A page that reads the time code of each frame.
pub struct Glass(LineProcess);

/// What it saw.
#[derive(Debug, Clone, Deserialize)]
pub struct Seen {
    /// From the time in the code to its presentation, per frame.
    pub latencies_ms: Vec<f64>,
    /// The numbers in the codes.
    pub frames: Vec<u64>,
    /// Frames on which no code could be read.
    pub unread: usize,
    /// Frames presented.
    pub presented: usize,
    /// Between two frames presented.
    pub longest_gap_ms: f64,
    /// How far the page's clock is from the machine's.
    pub clock_drift_ms: f64,
}

#[derive(Deserialize)]
struct Ready {}

impl Glass {
    /// Opens the page and waits for the first code. `area` is what the code is drawn for.
    ///
    /// # Errors
    /// When no code is seen.
    pub fn open(url: &str, area: (u32, u32), sound: bool) -> Result<Self> {
        let sound = if sound { "sound" } else { "muted" };
        let arguments = [url.to_owned(), area.0.to_string(), area.1.to_string(), sound.to_owned()];
        let mut process = script("glass.mjs", &arguments)?;
        process.hear::<Ready>().map(|Ready {}| ())?;
        Ok(Self(process))
    }

    /// Begins to measure.
    ///
    /// # Errors
    /// When the page is gone.
    pub fn begin(&mut self) -> Result<()> {
        self.0.say("start")
    }

    /// Ends the measurement and the page.
    ///
    /// # Errors
    /// When the page has failed.
    pub fn end(mut self) -> Result<Seen> {
        self.0.say("stop")?;
        let seen = self.0.hear()?;
        self.0.finish()?;
        Ok(seen)
    }

    /// Measures for some time.
    ///
    /// # Errors
    /// When the page has failed.
    pub fn measure(mut self, time: Duration) -> Result<Seen> {
        self.begin()?;
        std::thread::sleep(time);
        self.end()
    }
}

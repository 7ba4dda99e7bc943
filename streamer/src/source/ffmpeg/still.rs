//! Decodes the newest picture of a GOP in a codec without a decoder of ours, by an ffmpeg that exits afterwards.

#![expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]

use std::io::{Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::media::VideoCodec;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};

use super::child::FFMPEG;
use super::ivf;
use crate::media::{Picture, Size};
use crate::process;
use crate::process::confine::{self, Depth};
use crate::source::live::open_codecs;
use crate::wake::wait_readable;

/// Timeout. Ten seconds of 1080p are decoded in two.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pictures at the end of the GOP that are output: not every unit is a picture that is shown.
const LAST: usize = 8;

/// Decodes a GOP of pictures of this size and returns the last one. Blocks while ffmpeg runs.
///
/// # Errors
/// Why there is none.
pub fn newest(codec: VideoCodec, size: Size, units: &[Bytes]) -> Result<Picture, String> {
    decode(codec, size, units).map_err(|error| format!("decoding by ffmpeg: {error}"))
}

fn decode(codec: VideoCodec, size: Size, units: &[Bytes]) -> std::io::Result<Picture> {
    let other = std::io::Error::other;
    let ffmpeg = process::find_program(FFMPEG, &process::search_path());
    let ffmpeg = ffmpeg.ok_or_else(|| other("it is not installed"))?;
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let mut command = confine::command(&ffmpeg, None, Depth::Processes);
    let format = if codec == VideoCodec::H265 { "hevc" } else { "ivf" };
    let mut filter = format!("select=gte(n\\,{})", units.len().saturating_sub(LAST));
    if units.first().is_some_and(|keyframe| !open_codecs::says_matrix(codec, keyframe)) {
        // The default of browsers, whatever the size; ffmpeg would assume BT.601.
        filter += ",scale=in_color_matrix=bt709";
    }
    filter += ",format=bgra";
    command.args(["-nostdin", "-loglevel", "error", "-protocol_whitelist", "pipe", "-f", format]);
    command.args(["-i", "pipe:0", "-map", "0:v:0", "-vf", &filter, "-fps_mode", "passthrough"]);
    command.args(["-f", "rawvideo", "pipe:1"]);
    command.stdin(input(codec, size, units)?).stdout(write).stderr(Stdio::null());
    super::child::clean(&mut command);
    let process = process::spawn_confined(FFMPEG, command, Depth::Processes, None, |_| {})?;
    let pixels = last_picture(&read, size, Instant::now() + PATIENCE);
    process.kill();
    Ok(Picture { pixels: pixels?, size })
}

/// The input as an unnamed file, so that nothing has to be written while the output is read.
fn input(codec: VideoCodec, size: Size, units: &[Bytes]) -> std::io::Result<std::fs::File> {
    let mut file = std::fs::File::from(memfd_create("gop", MemfdFlags::CLOEXEC)?);
    let header = ivf::header(codec, size);
    file.write_all(header.as_deref().unwrap_or_default())?;
    for (time, unit) in (0..).zip(units) {
        if header.is_some() {
            file.write_all(&ivf::frame(time, unit))?;
        } else {
            file.write_all(unit)?;
        }
    }
    file.rewind()?;
    Ok(file)
}

fn last_picture(pipe: &OwnedFd, size: Size, deadline: Instant) -> std::io::Result<Vec<u8>> {
    let other = std::io::Error::other;
    let len = 4 * size.width as usize * size.height as usize;
    let mut last = Vec::new();
    let mut next = Vec::with_capacity(len);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        if !wait_readable([pipe.as_fd()], Some(deadline))? {
            return Err(other("it takes too long"));
        }
        let read = rustix::io::read(pipe, &mut buffer[..])?;
        if read == 0 {
            break;
        }
        let mut bytes = &buffer[..read];
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(len.saturating_sub(next.len()).max(1)));
            next.extend_from_slice(now);
            bytes = later;
            if next.len() >= len {
                last = std::mem::replace(&mut next, Vec::with_capacity(len));
            }
        }
    }
    if last.is_empty() || !next.is_empty() {
        return Err(other("it gives no whole picture"));
    }
    Ok(last)
}

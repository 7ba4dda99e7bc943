//! Moonlight hosts that lose packets, and that are hostile: the web-server and a streamer, seen from the outside.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

mod codecs;
mod host;
mod hostile;
mod loss;
mod pictures;
mod progress;
mod steering;

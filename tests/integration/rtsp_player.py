"""Plays a stream by RTSP with GStreamer: rtsp_player.py URL PICTURES PACKETS

Ends when that many pictures and packets of sound were decoded, and prints, as JSON, the size of the pictures and how far the beginnings
of picture and sound are apart, in seconds.
"""
import json
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst

Gst.init(None)
url, pictures, packets = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
# No protocol is named: UDP is asked for first.
pipeline = Gst.parse_launch(
    "rtspsrc name=source latency=100 "
    "source. ! application/x-rtp,media=video ! rtph264depay ! h264parse ! openh264dec ! fakesink name=video signal-handoffs=true sync=false "
    "source. ! application/x-rtp,media=audio ! rtpopusdepay ! opusdec ! fakesink name=audio signal-handoffs=true sync=false"
)
pipeline.get_by_name("source").set_property("location", url)
loop = GLib.MainLoop()
seen = {"video": 0, "audio": 0}
first = {}
result = {}


def take(sink, buffer, pad, name):
    seen[name] += 1
    first.setdefault(name, buffer.pts)
    if name == "video":
        caps = pad.get_current_caps().get_structure(0)
        result["width"] = caps.get_int("width")[1]
        result["height"] = caps.get_int("height")[1]
    if seen["video"] >= pictures and seen["audio"] >= packets:
        result["apart_s"] = (first["video"] - first["audio"]) / Gst.SECOND
        loop.quit()


for name in seen:
    pipeline.get_by_name(name).connect("handoff", take, name)


def failed(_bus, message):
    error, detail = message.parse_error()
    sys.exit(f"{error.message}: {detail}")


bus = pipeline.get_bus()
bus.add_signal_watch()
bus.connect("message::error", failed)
GLib.timeout_add_seconds(30, lambda: sys.exit(f"after 30 s: {seen}"))
pipeline.set_state(Gst.State.PLAYING)
loop.run()
pipeline.set_state(Gst.State.NULL)
print(json.dumps(result))

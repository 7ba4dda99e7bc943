/** Decodes the pictures and the sound of one slot, with WebCodecs, into a track of each. */

import type { VideoCodec } from "../generated";
import { codecString, type WirePicture, type WireSound } from "./framing";
import { type PictureSink, pictureSink, type SoundSink, soundSink } from "./sinks";

/** What a slot has decoded so far. */
export type Decoded = {
  readonly framesDecoded: number;
  readonly framesDropped: number;
  readonly keyframes: number;
  readonly decodeS: number;
  readonly width: number;
  readonly height: number;
  readonly codec: string;
};

export type SlotDecoderEvents = {
  /** A decoder has failed, or lacks what came before: a keyframe is needed. */
  readonly needKeyframe: () => void;
  /** Less waits to be decoded. */
  readonly drained: () => void;
};

/** A keyframe that was asked for and has not come is asked for again after this: the request, or the keyframe, may be lost. */
const ASK_AGAIN_MS = 500;

export class SlotDecoder {
  readonly #events: SlotDecoderEvents;
  readonly #pictures: PictureSink = pictureSink();
  readonly #sound: SoundSink = soundSink();
  #video: VideoDecoder | null = null;
  #audio: AudioDecoder | null = null;
  #configured = "";
  /** When each picture that is being decoded came, by its time. */
  readonly #came = new Map<number, number>();
  /** When a keyframe was last asked for. */
  #asked = Number.NEGATIVE_INFINITY;
  #framesDecoded = 0;
  #framesDropped = 0;
  #keyframes = 0;
  #decodeMs = 0;
  #width = 0;
  #height = 0;
  #codec: VideoCodec | "" = "";

  constructor(events: SlotDecoderEvents) {
    this.#events = events;
  }

  get tracks(): { readonly video: MediaStreamTrack; readonly audio: MediaStreamTrack } {
    return { video: this.#pictures.track, audio: this.#sound.track };
  }

  /** Pictures that wait to be decoded. */
  get waiting(): number {
    return this.#video?.decodeQueueSize ?? 0;
  }

  get decoded(): Decoded {
    return {
      framesDecoded: this.#framesDecoded,
      framesDropped: this.#framesDropped,
      keyframes: this.#keyframes,
      decodeS: this.#decodeMs / 1000,
      width: this.#width,
      height: this.#height,
      codec: this.#codec,
    };
  }

  picture(picture: WirePicture): void {
    const { codec, keyframe, timeUs, data } = picture;
    if (keyframe) {
      this.#keyframes += 1;
      const name = codecString(codec, data);
      if (this.#video === null || this.#configured !== name) this.#configure(codec, name);
    }
    const video = this.#video;
    if (video?.state !== "configured") {
      this.#framesDropped += 1;
      this.#ask();
      return;
    }
    this.#came.set(timeUs, performance.now());
    try {
      video.decode(new EncodedVideoChunk({ type: keyframe ? "key" : "delta", timestamp: timeUs, data }));
    } catch {
      this.#failed();
    }
  }

  sound({ timeUs, data }: WireSound): void {
    if (this.#audio?.state !== "configured") this.#configureSound();
    try {
      this.#audio?.decode(new EncodedAudioChunk({ type: "key", timestamp: timeUs, data }));
    } catch {
      this.#audio = null;
    }
  }

  close(): void {
    for (const decoder of [this.#video, this.#audio]) {
      if (decoder !== null && decoder.state !== "closed") decoder.close();
    }
    this.#video = null;
    this.#audio = null;
    this.#pictures.close();
    this.#sound.close();
  }

  #configure(codec: VideoCodec, name: string): void {
    if (this.#video !== null && this.#video.state !== "closed") this.#video.close();
    this.#came.clear();
    const video = new VideoDecoder({
      output: (frame) => {
        this.#show(frame);
      },
      error: () => {
        if (this.#video === video) this.#failed();
      },
    });
    video.ondequeue = () => {
      this.#events.drained();
    };
    try {
      // Without a description, H.264 and H.265 are in Annex B.
      video.configure({ codec: name, optimizeForLatency: true });
      this.#video = video;
      this.#configured = name;
      this.#codec = codec;
    } catch {
      this.#video = null;
    }
  }

  #show(frame: VideoFrame): void {
    const came = this.#came.get(frame.timestamp);
    if (came !== undefined) this.#decodeMs += performance.now() - came;
    for (const time of this.#came.keys()) {
      if (time <= frame.timestamp) this.#came.delete(time);
    }
    this.#framesDecoded += 1;
    this.#width = frame.displayWidth;
    this.#height = frame.displayHeight;
    this.#pictures.write(frame);
  }

  #failed(): void {
    this.#video = null;
    this.#configured = "";
    this.#framesDropped += 1;
    this.#ask();
    // Nothing waits for this decoder any more, and it has no event for that.
    this.#events.drained();
  }

  #ask(): void {
    const now = performance.now();
    if (now - this.#asked < ASK_AGAIN_MS) return;
    this.#asked = now;
    this.#events.needKeyframe();
  }

  #configureSound(): void {
    const audio = new AudioDecoder({
      output: (samples) => {
        this.#sound.write(samples);
      },
      error: () => {
        if (this.#audio === audio) this.#audio = null;
      },
    });
    audio.configure({ codec: "opus", sampleRate: 48_000, numberOfChannels: 2 });
    this.#audio = audio;
  }
}

/**
 * Tracks that are fed with decoded media: with `MediaStreamTrackGenerator` where the browser has it, else by way of a canvas
 * and of an `AudioContext`. What shows them cannot tell them from tracks of a peer connection.
 */

/** A track of pictures. */
export type PictureSink = {
  readonly track: MediaStreamTrack;
  /** Shows a frame, and closes it. */
  write(frame: VideoFrame): void;
  close(): void;
};

/** A track of sound. */
export type SoundSink = {
  readonly track: MediaStreamTrack;
  /** Plays the samples, and closes them. */
  write(samples: AudioData): void;
  close(): void;
};

type Generator<T> = MediaStreamTrack & { readonly writable: WritableStream<T> };
type GeneratorClass = new <T>(init: { readonly kind: "video" | "audio" }) => Generator<T>;

function generatorClass(): GeneratorClass | null {
  const known = (globalThis as { readonly MediaStreamTrackGenerator?: GeneratorClass }).MediaStreamTrackGenerator;
  return known ?? null;
}

export function pictureSink(): PictureSink {
  const Generator = generatorClass();
  return Generator === null ? canvasSink() : generated<VideoFrame>(new Generator({ kind: "video" }));
}

export function soundSink(): SoundSink {
  const Generator = generatorClass();
  return Generator === null ? contextSink() : generated<AudioData>(new Generator({ kind: "audio" }));
}

/** Media that waits to be shown: a page in the background takes none. */
const MOST_WAITING = 8;

function generated<T extends { close(): void }>(track: Generator<T>) {
  const writer = track.writable.getWriter();
  let waiting = 0;
  const written = (): void => {
    waiting -= 1;
  };
  return {
    track,
    write(media: T): void {
      if (waiting >= MOST_WAITING) {
        media.close();
        return;
      }
      waiting += 1;
      writer.write(media).then(written, () => {
        // The track was stopped.
        written();
        media.close();
      });
    },
    close(): void {
      track.stop();
      writer.close().catch(() => undefined);
    },
  };
}

function canvasSink(): PictureSink {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { alpha: false, desynchronized: true });
  const [track] = canvas.captureStream().getVideoTracks();
  if (track === undefined) throw new Error("a canvas has no track");
  return {
    track,
    write(frame) {
      if (canvas.width !== frame.displayWidth || canvas.height !== frame.displayHeight) {
        canvas.width = frame.displayWidth;
        canvas.height = frame.displayHeight;
      }
      context?.drawImage(frame, 0, 0);
      frame.close();
    },
    close() {
      track.stop();
    },
  };
}

/** So much sound waits before it is played: packets come unevenly. */
const CUSHION_S = 0.04;
/** With more than this waiting, sound is late, and begins anew. */
const LATE_S = 0.25;

function contextSink(): SoundSink {
  const context = new AudioContext({ latencyHint: "interactive", sampleRate: 48_000 });
  const destination = context.createMediaStreamDestination();
  const [track] = destination.stream.getAudioTracks();
  if (track === undefined) throw new Error("a destination has no track");
  let next = 0;
  return {
    track,
    write(samples) {
      const { numberOfChannels, numberOfFrames, sampleRate } = samples;
      const buffer = context.createBuffer(numberOfChannels, numberOfFrames, sampleRate);
      for (let channel = 0; channel < numberOfChannels; channel++) {
        const plane = new Float32Array(numberOfFrames);
        samples.copyTo(plane, { planeIndex: channel, format: "f32-planar" });
        buffer.copyToChannel(plane, channel);
      }
      samples.close();
      const now = context.currentTime;
      if (next < now || next > now + LATE_S) next = now + CUSHION_S;
      const source = context.createBufferSource();
      source.buffer = buffer;
      source.connect(destination);
      source.start(next);
      next += buffer.duration;
    },
    close() {
      track.stop();
      void context.close();
    },
  };
}

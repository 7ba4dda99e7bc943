/**
 * Runs inside every page, before its own scripts: sees what the page presents and what it sends, from outside.
 *
 * The functions here are handed to the browser as text, so they use nothing but what is inside them.
 */

/** One presented frame. */
export type Frame = {
  /** `performance.now()` of the page. */
  readonly at: number;
  /** Number read from the picture; null when there is none in it. */
  readonly code: number | null;
};

export type Probe = {
  frames: Frame[];
  /** Read the frame number from each picture; costs some time per frame. */
  decode: boolean;
  readonly channels: RTCDataChannel[];
  readonly connections: RTCPeerConnection[];
  readonly sockets: WebSocket[];
  /** All texts that have come on `general`. */
  readonly general: string[];
  /** The frame number in the picture that a video shows now. */
  readonly read: (video: HTMLVideoElement) => number | null;
};

declare global {
  interface Window {
    probe: Probe;
    oriel?: {
      client: {
        state: { kind: string };
        role: string | null;
        peerId: string | null;
        slots: ReadonlyMap<
          number,
          { status: string | null; info: { mid: string; width: number; source: string } | null }
        >;
        negotiation: { connections: number; offers: number; signalingState: string };
        path: { allowsBps: number | null; reduced: boolean };
        publish(
          kind: "camera" | "microphone" | "screen",
          track: MediaStreamTrack,
          options?: { name?: string },
        ): Promise<{ source: string; slot: number | null }>;
        unpublish(kind: "camera" | "microphone" | "screen"): Promise<void>;
        on(type: "clipboard", listener: (copied: { text: string }) => void): () => void;
        on(type: string, listener: (value: unknown) => void): () => void;
      };
      stats(): Promise<{ presented: number; presentedFps: number; roundTripMs: number | null; firstFrameMs: number | null }>;
    };
  }
}

export function installProbe(): void {
  const probe: Probe = {
    frames: [],
    decode: true,
    channels: [],
    connections: [],
    sockets: [],
    general: [],
    read: (video) => read(video),
  };
  window.probe = probe;

  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(configuration?: RTCConfiguration) {
      super(configuration);
      probe.connections.push(this);
    }
    override createDataChannel(label: string, options?: RTCDataChannelInit): RTCDataChannel {
      const channel = super.createDataChannel(label, options);
      probe.channels.push(channel);
      if (label === "general") {
        channel.addEventListener("message", ({ data }) => probe.general.push(String(data)));
      }
      return channel;
    }
  };

  window.WebSocket = class extends WebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols);
      probe.sockets.push(this);
    }
  };

  const canvas = new OffscreenCanvas(1, 1);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const crc = (bytes: readonly number[]): number =>
    bytes.reduce((sum, byte) => {
      let crc = sum ^ (byte << 8);
      for (let bit = 0; bit < 8; bit++) crc = ((crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021) & 0xffff;
      return crc;
    }, 0xffff);

  /** The frame number in the picture: 16 × 8 cells at the top left; see common/src/timecode.rs. */
  const read = (video: HTMLVideoElement): number | null => {
    const [w, h] = [video.videoWidth, video.videoHeight];
    const side = Math.min(w / 32, h / 16);
    if (side < 4 || context === null) return null;
    const [width, height] = [Math.ceil(16 * side), Math.ceil(8 * side)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    context.drawImage(video, 0, 0, width, height, 0, 0, width, height);
    const { data } = context.getImageData(0, 0, width, height);
    const cells = Array.from({ length: 128 }, (_, index) => {
      let sum = 0;
      for (const dy of [0.3, 0.5, 0.7]) {
        for (const dx of [0.3, 0.5, 0.7]) {
          const x = Math.floor(((index % 16) + dx) * side);
          const y = Math.floor((Math.floor(index / 16) + dy) * side);
          sum += data[(y * width + x) * 4 + 1] ?? 0;
        }
      }
      return sum / 9;
    });
    // The magic 0xa5c3 in the first row tells black from white: eight cells of each.
    let [white, black] = [0, 0];
    for (let i = 0; i < 16; i++) {
      if (((0xa5c3 >> (15 - i)) & 1) === 1) white += (cells[i] ?? 0) / 8;
      else black += (cells[i] ?? 0) / 8;
    }
    if (white < black + 48) return null;
    const bytes = Array.from({ length: 16 }, (_, byte) =>
      cells.slice(byte * 8, byte * 8 + 8).reduce((sum, cell) => sum * 2 + (cell > (white + black) / 2 ? 1 : 0), 0),
    );
    const number = (from: number, to: number): number =>
      bytes.slice(from, to).reduce((sum, byte) => sum * 256 + byte, 0);
    if (number(0, 2) !== 0xa5c3 || number(14, 16) !== crc(bytes.slice(2, 14))) return null;
    return number(2, 6);
  };

  const follow = (video: HTMLVideoElement): void => {
    video.requestVideoFrameCallback((at) => {
      probe.frames.push({ at, code: probe.decode ? read(video) : null });
      if (probe.frames.length > 20_000) probe.frames.splice(0, 10_000);
      follow(video);
    });
  };
  const followed = new WeakSet<HTMLVideoElement>();
  new MutationObserver(() => {
    for (const video of document.querySelectorAll("video")) {
      if (followed.has(video)) continue;
      followed.add(video);
      follow(video);
    }
  }).observe(document, { childList: true, subtree: true });
}

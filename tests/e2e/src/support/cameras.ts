/** Cameras: films whose pictures say which camera they are of and which picture they are, sent by a real RTSP server. */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Page } from "playwright-core";
import { cleanUp } from "./cleanup.js";
import { ended } from "./server.js";

const SCRIPT = resolve(import.meta.dirname, "../../../harness/src/rtsp_server.py");
/** Luma of the left half for camera 0, and of the right half for picture 0. */
const DARKEST = 32;
/** Between two cameras, and between two pictures: more than encoding changes. */
const STEP = { camera: 24, picture: 8 };
/** Pictures until one is as dark as the first again. */
const PICTURES = 24;

/** Makes the film of a camera: its left half says which one it is, its right half counts. 320×180 at 12 pictures a second. */
export function film(file: string, camera: number, seconds: number): void {
  const left = DARKEST + STEP.camera * camera;
  const right = `${String(DARKEST)}+${String(STEP.picture)}*mod(N,${String(PICTURES)})`;
  const picture =
    `color=c=black:size=2x2:rate=12,format=yuv444p,geq=lum='if(lt(X,1),${String(left)},${right})':cb=128:cr=128,` +
    "scale=320:180:flags=neighbor,format=yuv420p";
  const encoder = "-c:v libx264 -preset ultrafast -bf 0 -g 12".split(" ");
  execFileSync("ffmpeg", [..."-v error -nostdin -y -f lavfi -i".split(" "), picture, "-t", String(seconds), ...encoder, file]);
}

/** What the picture of each video element says, in the order of the document; null where there is none. */
export async function seen(page: Page): Promise<({ camera: number; picture: number } | null)[]> {
  const lumas = await page.evaluate(() => {
    const canvas = new OffscreenCanvas(4, 1);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    return [...document.querySelectorAll("video")].map((video) => {
      if (context === null || video.videoWidth === 0) return null;
      const { videoWidth: width, videoHeight: height } = video;
      context.drawImage(video, width / 4 - 8, height / 2 - 8, 16, 16, 0, 0, 1, 1);
      context.drawImage(video, (3 * width) / 4 - 8, height / 2 - 8, 16, 16, 1, 0, 1, 1);
      const { data } = context.getImageData(0, 0, 2, 1);
      // BT.601 and BT.709 agree about grey.
      return [(data[0] ?? 0) * (219 / 255) + 16, (data[4] ?? 0) * (219 / 255) + 16] as const;
    });
  });
  return lumas.map((pair) => {
    if (pair === null) return null;
    const [left, right] = pair;
    const picture = Math.round((right - DARKEST) / STEP.picture) % PICTURES;
    return { camera: Math.round((left - DARKEST) / STEP.camera), picture };
  });
}

/** An RTSP server that sends films; it ends with the test file at the latest. */
export class Rtsp {
  private constructor(
    readonly port: number,
    readonly child: ChildProcess,
  ) {}

  /** `films`: files by their names in the URL. Port 0: a free one. */
  static async start(films: Readonly<Record<string, string>>, port = 0): Promise<Rtsp> {
    const mounts = Object.entries(films).map(
      ([name, file]) => `${name}=filesrc location=${file} ! qtdemux ! queue ! h264parse ! rtph264pay name=pay0 pt=96`,
    );
    // Debian's, as its packages are for no other.
    const child = spawn("/usr/bin/python3", [SCRIPT, String(port), "", ...mounts], { stdio: ["ignore", "pipe", "inherit"] });
    cleanUp(() => ended(child, "SIGKILL"));
    const listening = await new Promise<number>((done, failed) => {
      // It prints this line and nothing else.
      createInterface(child.stdout).once("line", (line) => {
        done(Number(line));
      });
      child.once("exit", () => {
        failed(new Error("the RTSP server ended: gir1.2-gst-rtsp-server-1.0 and gstreamer1.0-plugins-good, -bad are needed"));
      });
    });
    return new Rtsp(listening, child);
  }

  url(name: string): string {
    return `rtsp://127.0.0.1:${String(this.port)}/${name}`;
  }

  /** As a camera that loses power. */
  async kill(): Promise<void> {
    await ended(this.child, "SIGKILL");
  }
}

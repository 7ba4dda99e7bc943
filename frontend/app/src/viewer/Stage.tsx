import type { Screen } from "./screen";

type StageProps = {
  readonly screen: Screen;
  /** The picture is not live: shown dimmed. */
  readonly dimmed: boolean;
};

/** The picture, under the last one of the connection before. */
export function Stage({ screen, dimmed }: StageProps) {
  const { setStill, setVideo } = screen;
  return (
    <div className={dimmed ? "surface dimmed" : "surface"} data-testid="surface">
      <video
        ref={setVideo}
        muted
        autoPlay
        playsInline
        disablePictureInPicture
        disableRemotePlayback
        data-testid="video"
      />
      <canvas ref={setStill} className="still" data-testid="still" />
    </div>
  );
}

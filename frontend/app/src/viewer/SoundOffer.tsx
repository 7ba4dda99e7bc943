import { Icon } from "../ui/Icon";
import type { Room } from "./room";
import { t } from "../i18n/words";

type SoundOfferProps = {
  /** How much there is beside the picture. */
  readonly room: Exclude<Room, "none">;
  readonly onAccept: () => void;
};

/** Offers sound, which browsers allow only after a click. */
export function SoundOffer({ room, onAccept }: SoundOfferProps) {
  return (
    <button
      className={room === "icon" ? "sound-offer narrow" : "sound-offer"}
      type="button"
      aria-label={t("sound-offer")}
      title={t("sound-offer")}
      data-testid="sound-offer"
      // A click leaves the keyboard where it is: with the session.
      onMouseDown={(event) => {
        event.preventDefault();
      }}
      onClick={onAccept}
    >
      <Icon name="muted" />
      {room === "text" && <> {t("sound-offer")}</>}
    </button>
  );
}

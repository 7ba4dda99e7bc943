/** The words of `@oriel/react`'s components, in the language of the page. */

import { ENGLISH, type Words } from "@oriel/react";
import { t } from "../i18n/words";

export function streamWords(): Words {
  return {
    ...ENGLISH,
    connecting: t("stream-connecting"),
    firstPicture: t("stream-waiting"),
    nothingShown: t("stream-nothing"),
    connectionLost: t("stream-lost"),
    sourceOffline: t("stream-offline"),
    cannotBeShown: t("stream-cannot"),
    noSuchStream: t("stream-missing"),
    cannotDecode: t("stream-undecodable"),
    sourceFailed: t("stream-failed"),
    states: {
      pending: t("slot-pending"),
      active: t("slot-active"),
      buffering: t("slot-buffering"),
      offline: t("slot-offline"),
      error: t("slot-error"),
      inactive: t("slot-inactive"),
      paused: t("slot-paused"),
    },
    soundOn: t("stream-sound-on"),
    soundOff: t("stream-sound-off"),
    clickForSound: t("stream-click-sound"),
    clickToMute: t("stream-click-mute"),
    backToGrid: t("stream-back"),
    tileHint: (label) => t("stream-enlarge", { label }),
  };
}

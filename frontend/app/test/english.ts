/** Before each file of tests: the pages speak English. */

import { common } from "../src/i18n/en/common";
import { devices } from "../src/i18n/en/devices";
import { lists } from "../src/i18n/en/lists";
import { panels } from "../src/i18n/en/panels";
import { room } from "../src/i18n/en/room";
import { streams } from "../src/i18n/en/streams";
import { viewer } from "../src/i18n/en/viewer";
import { speak } from "../src/i18n/words";

speak("en", [common, devices, lists, panels, room, streams, viewer]);

/** What a media socket needs to decode: loaded when one may be needed, since most connections never need it. */

export { SlotDecoder } from "./decoders";
export { messageFrame, readFrame, receivedFrame } from "./framing";

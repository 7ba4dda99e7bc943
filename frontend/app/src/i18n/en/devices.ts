/** Why a camera, a microphone or a screen cannot be had. */
export const devices = {
  "device-number": "Number {number}",
  "device-insecure":
    "The browser gives cameras and microphones only to pages that came by https, or from localhost. Open this page by https.",
  "camera-refused": "The browser does not allow this page the camera. Allow it beside the address, then try again.",
  "microphone-refused": "The browser does not allow this page the microphone. Allow it beside the address, then try again.",
  "camera-missing": "No camera was found. Plug one in, then try again.",
  "microphone-missing": "No microphone was found. Plug one in, then try again.",
  "screen-missing": "There is no screen that can be shown.",
  "camera-busy": "The camera cannot be read: another program may be using it. Close that, then try again.",
  "microphone-busy": "The microphone cannot be read: another program may be using it. Close that, then try again.",
  "screen-busy": "The screen cannot be read: another program may be using it. Close that, then try again.",
  "camera-changed": "The camera that was chosen is not there any more. Choose another one.",
  "microphone-changed": "The microphone that was chosen is not there any more. Choose another one.",
  "screen-changed": "The screen that was chosen is not there any more. Choose another one.",
  "screen-unsupported": "This browser cannot show a screen.",
  "camera-unusable": "The camera cannot be used ({why}).",
  "microphone-unusable": "The microphone cannot be used ({why}).",
  "screen-unusable": "The screen cannot be used ({why}).",
  "camera-gone": "The camera has ended. It may have been unplugged.",
  "microphone-gone": "The microphone has ended. It may have been unplugged.",
} as const;

import type { Translation } from "../catalogue";
import type { devices as english } from "../en/devices";

export const devices: Translation<typeof english> = {
  "device-number": "编号 {number}",
  "device-insecure": "浏览器只向通过 https 或 localhost 打开的页面提供摄像头和麦克风。请通过 https 打开此页面。",
  "camera-refused": "浏览器不允许此页面使用摄像头。请在地址栏旁允许，然后重试。",
  "microphone-refused": "浏览器不允许此页面使用麦克风。请在地址栏旁允许，然后重试。",
  "camera-missing": "未找到摄像头。请接入后重试。",
  "microphone-missing": "未找到麦克风。请接入后重试。",
  "screen-missing": "没有可展示的屏幕。",
  "camera-busy": "无法读取摄像头：可能有其他程序正在使用。请关闭该程序后重试。",
  "microphone-busy": "无法读取麦克风：可能有其他程序正在使用。请关闭该程序后重试。",
  "screen-busy": "无法读取屏幕：可能有其他程序正在使用。请关闭该程序后重试。",
  "camera-changed": "所选的摄像头已不存在。请另选一个。",
  "microphone-changed": "所选的麦克风已不存在。请另选一个。",
  "screen-changed": "所选的屏幕已不存在。请另选一个。",
  "screen-unsupported": "此浏览器无法展示屏幕。",
  "camera-unusable": "无法使用摄像头（{why}）。",
  "microphone-unusable": "无法使用麦克风（{why}）。",
  "screen-unusable": "无法使用屏幕（{why}）。",
  "camera-gone": "摄像头已停止，可能已被拔出。",
  "microphone-gone": "麦克风已停止，可能已被拔出。",
};

import type { Translation } from "../catalogue";
import type { streams as english } from "../en/streams";

export const streams: Translation<typeof english> = {
  "the-cameras": "摄像头",
  "cameras-looking": "正在查找摄像头…",
  "no-streams": "“{name}”还没有视频流。",
  "streams-left": { other: "还有 {count} 路可按名称显示：?streams=a,b,c" },
  "which-stream": "哪路视频流？请在地址中加上 ?src=名称。",
  "stream-connecting": "正在连接…",
  "stream-waiting": "正在等待第一帧画面…",
  "stream-nothing": "此处没有内容",
  "stream-offline": "来源已离线",
  "stream-cannot": "无法显示",
  "stream-missing": "没有这个名称的视频流",
  "stream-undecodable": "此浏览器无法解码",
  "stream-lost": "连接已断开，正在重试…",
  "stream-failed": "来源出错",
  "stream-sound-on": "开启声音",
  "stream-sound-off": "关闭声音",
  "stream-click-sound": "点击开启声音",
  "stream-click-mute": "点击静音",
  "stream-back": "返回网格",
  "stream-enlarge": "{label}：点击放大，拖动排序",
};

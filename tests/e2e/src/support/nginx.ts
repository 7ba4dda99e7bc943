/** A real nginx in front of a web-server, as `docs/SECURITY.md` shows it. */

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cleanUp } from "./cleanup.js";
import { Ended, onFreePort } from "./ports.js";
import { ended } from "./server.js";
import { until } from "./wait.js";

/**
 * Starts one that passes on what is below `/oriel/` as it is, and what is below `/open/` without that; it ends with
 * the test file. Returns where it is, once it answers below `prefix`.
 */
export async function proxy(upstream: URL, prefix = "/oriel/"): Promise<string> {
  return onFreePort((port) => startOn(port, upstream, prefix));
}

async function startOn(port: number, upstream: URL, prefix: string): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), "oriel-nginx-"));
  writeFileSync(join(dir, "nginx.conf"), config(dir, port, upstream));
  const child = spawn("/usr/sbin/nginx", ["-p", dir, "-c", join(dir, "nginx.conf")], { stdio: "ignore" });
  cleanUp(async () => {
    await ended(child, "SIGTERM");
    rmSync(dir, { recursive: true, force: true });
  });
  const root = `http://127.0.0.1:${String(port)}`;
  await until("nginx answers", () => {
    if (child.exitCode !== null) throw new Ended(`nginx ended with ${String(child.exitCode)}`);
    return fetch(`${root}${prefix}healthz`).then(
      ({ ok }) => ok,
      () => false,
    );
  });
  return root;
}

function config(dir: string, port: number, upstream: URL): string {
  return `
daemon off;
pid ${dir}/pid;
error_log ${dir}/error.log;
events {}
http {
  access_log off;
  client_body_temp_path ${dir}/body;
  proxy_temp_path ${dir}/proxy;
  fastcgi_temp_path ${dir}/fastcgi;
  uwsgi_temp_path ${dir}/uwsgi;
  scgi_temp_path ${dir}/scgi;
  map $http_upgrade $connection_upgrade { default upgrade; "" close; }
  server {
    listen 127.0.0.1:${String(port)};
    location /oriel/ {
      proxy_pass http://${upstream.host};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_read_timeout 1h;
    }
    location /open/ {
      proxy_pass http://${upstream.host}/;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }
  }
}
`;
}

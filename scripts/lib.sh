# Shared by the scripts in this folder; sourced, not run.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

# The target directory may be shared between checkouts.
target_dir=${CARGO_TARGET_DIR:-$root/target}

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Packages by what they are for. Debian 12 names.
packages_build=(ca-certificates cmake g++ libpulse-dev make nasm pkg-config)
packages_session=(dbus-daemon ffmpeg pulseaudio x11-xkb-utils xkb-data xvfb)
packages_demo=(fonts-dejavu-core openbox x11-apps x11-xserver-utils xfonts-base xterm)
packages_test=(chromium coturn curl gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-bad gstreamer1.0-plugins-good nginx-light openssl procps psmisc python3-gi systemd x11-utils xdotool)
packages_profile=(linux-perf)

# need_packages NAME…: installs those that are missing; says so, and stops with the command to run where it may not.
need_packages() {
  command -v dpkg-query >/dev/null || die "this script installs Debian packages; on another system install: $*"
  local missing=() name
  for name in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null || true)" = installed ] || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null && ! [ -t 0 ]; then
      printf 'These packages are missing and this user may not install them. Run:\n\n  apt-get install --no-install-recommends %s\n\nthen start again.\n' "${missing[*]}" >&2
      exit 1
    fi
    sudo=(sudo)
  fi
  say "installing Debian packages: ${missing[*]}"
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

need_toolchains() {
  command -v cargo >/dev/null || die "Rust is missing: install it from https://rustup.rs, then start again"
  command -v npm >/dev/null || die "Node.js 20 or newer is missing: install it from https://nodejs.org, then start again"
}

# npm ci, unless what is installed is what the lock file says.
npm_install() {
  local stamp=$1/node_modules/.package-lock.json
  if [ ! -e "$stamp" ] || [ "$1/package-lock.json" -nt "$stamp" ]; then
    say "installing npm packages in $1"
    (cd "$1" && npm ci --no-audit --no-fund --loglevel=error)
    touch "$stamp"
  fi
}

# Builds the web page, unless it is newer than everything that it is made of.
build_frontend() {
  npm_install frontend
  local page=frontend/app/dist/index.html
  if [ ! -e "$page" ] || [ -n "$(find frontend -path '*/node_modules' -prune -o -path '*/dist' -prune -o -type f -newer "$page" -print -quit)" ]; then
    say "building the web page"
    (cd frontend && npm run --silent build >&2)
    touch "$page"
  fi
}

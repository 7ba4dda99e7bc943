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
# What a desktop shows that is created without a command, and fonts. Of those for Chinese, Japanese and Korean, wqy-microhei is a small one: 2 MB to download, not 57.
packages_desktop=(fonts-dejavu-core fonts-noto-color-emoji fonts-wqy-microhei openbox x11-xserver-utils xfonts-base xterm)
packages_demo=("${packages_desktop[@]}" x11-apps)
packages_test=(chromium coturn curl faketime gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-bad gstreamer1.0-plugins-good iproute2 nats-server nginx-light openssl procps psmisc python3-gi slirp4netns systemd x11-utils xdotool)
# Programs that sessions are tried with: a second browser and an office (170 MB to download), window managers that differ, and a game's library (9 MB).
packages_programs=(firefox-esr fluxbox icewm jwm libreoffice-writer mwm python3-pygame twm)
packages_profile=(linux-perf)
packages_package=(binutils dpkg-dev)
packages_package_test=(curl mmdebstrap systemd)
packages_image=(buildah mmdebstrap podman runc)
packages_monitoring=(prometheus)

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

# need_python_tool NAME VERSION [PACKAGE]: installs the program of a package, which may have another name, into $target_dir/venv, unless it is there.
need_python_tool() {
  local tool=$target_dir/venv/bin/$1
  "$tool" --version 2>/dev/null | grep -qF "$2" && return
  need_packages python3-venv
  say "installing $1 into $target_dir/venv"
  [ -x "$target_dir/venv/bin/pip" ] || python3 -m venv "$target_dir/venv"
  "$target_dir/venv/bin/pip" install --quiet --disable-pip-version-check "${3:-$1}==$2"
}

# start_test_server: a web-server of its own for tests of the API, of ORIEL_BIN_DIR, with the configuration on standard input. Sets url, secret (which the
# configuration names as __SECRET__), work (an empty directory) and server (its process). All of it ends with the script.
start_test_server() {
  local bin=${ORIEL_BIN_DIR:-$target_dir/debug}
  [ -x "$bin/web-server" ] && [ -x "$bin/streamer" ] || die "build first: cargo build --workspace"
  work=$(mktemp -d)
  server=
  trap end_test_server EXIT
  secret=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
  sed "s/__SECRET__/$secret/" > "$work/oriel.yaml"
  : > "$work/out"
  "$bin/web-server" --config "$work/oriel.yaml" --port 0 --state-dir "$work/state" --stop-streamers > "$work/out" 2> "$work/log" &
  server=$!
  url=
  local attempt
  for attempt in $(seq 600); do
    url=$(sed -n 's/^Oriel is ready at //p' "$work/out")
    [ -n "$url" ] && return
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  cat "$work/log" >&2
  die "the web-server did not start"
}

end_test_server() {
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$work"
}

# debian_base: makes $target_dir/debian/base.tar, what apt needs and nothing else, unless it is there and younger than a week.
debian_base() {
  base_tar=$target_dir/debian/base.tar
  [ -z "$(find "$base_tar" -mtime -7 2>/dev/null)" ] || return 0
  mkdir -p "$target_dir/debian"
  mmdebstrap --quiet --variant=apt --include=ca-certificates bookworm "$base_tar.new"
  mv "$base_tar.new" "$base_tar"
}

# debian_root DIR: a root directory with that, and with what programs expect of a running system.
debian_root() {
  local dir=$1
  debian_base
  mkdir "$dir"
  tar -xf "$base_tar" -C "$dir" --exclude='./dev/*'
  mount --bind "$dir" "$dir"
  mount -t proc proc "$dir/proc"
  mount --rbind --make-rslave /dev "$dir/dev"
  cp --dereference /etc/resolv.conf "$dir/etc/resolv.conf"
}

# Sourced by scripts that need a clean Debian 12.

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

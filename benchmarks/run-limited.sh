#!/usr/bin/env bash
# Runs a command with its memory, page cache included, limited by a cgroup; as root, on Linux.
#   benchmarks/run-limited.sh BYTES COMMAND [ARG...]
# Drops the page cache first, so that what the command reads is charged to it, and sets read-ahead
# to the usual 128 KiB for the run: some virtual machines come with 8 MiB, which makes readers of
# mapped files look far worse than they are. Prints the peak and the bytes read from disk on
# standard error. Exit status: the command's.
set -euo pipefail
(($# >= 2)) || { echo "usage: run-limited.sh BYTES COMMAND [ARG...]" >&2; exit 2; }
readonly limit=$1
shift
source_device=$(df --output=source . | tail -1)
disk=$(lsblk -no PKNAME "$source_device" 2>/dev/null | head -1)
readonly disk=${disk:-${source_device##*/}}
readonly ahead=/sys/block/$disk/queue/read_ahead_kb

if [[ -f /sys/fs/cgroup/cgroup.controllers ]]; then
  group=/sys/fs/cgroup/hearth.$$
  echo +memory >/sys/fs/cgroup/cgroup.subtree_control
  mkdir "$group"
  echo "$limit" >"$group/memory.max"
  [[ ! -f $group/memory.swap.max ]] || echo 0 >"$group/memory.swap.max"
  peak=$group/memory.peak
else
  root=$(awk '$3 == "cgroup" && $4 ~ /memory/ { print $2; exit }' /proc/mounts)
  [[ -n $root ]] || { echo "run-limited.sh: no memory cgroup is mounted" >&2; exit 1; }
  group=$root/hearth.$$
  mkdir "$group"
  echo "$limit" >"$group/memory.limit_in_bytes"
  peak=$group/memory.max_usage_in_bytes
fi

before=$(cat "$ahead" 2>/dev/null || true)
restore() {
  [[ -z $before ]] || echo "$before" >"$ahead"
  rmdir "$group" 2>/dev/null || true
}
trap restore EXIT
[[ -z $before ]] || echo 128 >"$ahead"
sync
echo 3 >/proc/sys/vm/drop_caches

bytes_read() { awk '{ printf "%.0f", $3 * 512 }' "/sys/block/$disk/stat" 2>/dev/null || echo 0; }
read_before=$(bytes_read)
status=0
bash -c 'echo $$ > "$0/cgroup.procs"; exec "$@"' "$group" "$@" || status=$?
awk -v limit="$limit" -v peak="$(cat "$peak" 2>/dev/null || echo 0)" \
  -v read=$(($(bytes_read) - read_before)) 'BEGIN {
    printf "limit %.2f GB, peak %.2f GB, read from disk %.2f GB\n", limit / 1e9, peak / 1e9, read / 1e9
  }' >&2
exit "$status"

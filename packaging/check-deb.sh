#!/usr/bin/env bash
# check-deb.sh [FOLDER]: makes a clean Debian 12 in a folder of its own, installs the packages from
# FOLDER (build/package/packages) there, runs the command on the demo model, builds a program
# against the library, lets bash, zsh and fish read their completions, removes the packages, and
# looks whether anything is left. Run it as root. It needs debootstrap, and a Debian mirror:
# DEBIAN_MIRROR, http://deb.debian.org/debian if not set. ROOT names a folder to keep the Debian in.
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
packages=$(realpath "${1:-$project/build/package/packages}")
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'check-deb: %s\n' "$*" >&2; exit 1; }

[[ $(id -u) -eq 0 ]] || fail "only root can make a Debian; run it with sudo"
command -v debootstrap >/dev/null || fail "debootstrap is missing; run: apt-get install debootstrap"
compgen -G "$packages/*.deb" >/dev/null || fail "$packages holds no package; run ./dev package"

root=${ROOT:-$(mktemp -d)}
clean_up() {
  if mountpoint -q "$root/proc"; then umount "$root/proc"; fi
  if [[ -z ${ROOT:-} ]]; then rm -rf --one-file-system "$root"; fi
}
trap clean_up EXIT

inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
files_inside() { inside find / -xdev -path /proc -prune -o -path /var -prune -o -path /tmp -prune -o -path /root -prune -o -print | sort; }

if [[ ! -e $root/etc/debian_version ]]; then
  say "a clean Debian 12 in $root"
  debootstrap --variant=minbase bookworm "$root" "$mirror" >"$root.log" ||
    { tail -20 "$root.log"; fail "debootstrap does not work"; }
  rm -f "$root.log"
fi
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"

say "what the packages depend on, and shells that complete"
inside apt-get update -qq
# What is not in the packages themselves is installed first, so that it does not count as left over.
mkdir -p "$root/tmp/packages"
cp "$packages"/*.deb "$root/tmp/packages/"
depends=$(for package in "$packages"/*.deb; do dpkg-deb -f "$package" Depends; done |
  tr ',|' '\n\n' | sed 's/ *(.*//; s/ //g' | grep -v '^libhearth' | sort -u)
# shellcheck disable=SC2086
inside apt-get install -y -qq --no-install-recommends $depends g++ pkg-config man-db \
  bash-completion zsh fish >/dev/null 2>&1 || fail "apt-get cannot install: $depends"
files_inside >"$root/tmp/before"

say "what the packages say"
for package in "$packages"/*.deb; do
  dpkg-deb -c "$package" | grep -q "/usr/share/doc/$(dpkg-deb -f "$package" Package)/copyright$" ||
    fail "$package has no licence"
done
version=$(dpkg-deb -f "$packages"/libhearth-dev_*.deb Version)
shlibs=$(dpkg-deb --ctrl-tarfile "$packages"/libhearth[0-9]*.deb | tar -xO ./shlibs) ||
  fail "dpkg-shlibdeps finds nothing about libhearth.so"
[[ $shlibs == "libhearth ${version%%.*} libhearth${version%%.*} (>= $version)" ]] ||
  fail "programs would depend on '$shlibs'"

say "installing"
inside sh -c 'apt-get install -y -qq --no-install-recommends /tmp/packages/*.deb' >/dev/null 2>&1 ||
  { inside sh -c 'apt-get install -y --no-install-recommends /tmp/packages/*.deb' | tail -20; fail "the packages are not installed"; }
inside dpkg -l 'hearth*' 'libhearth*' | grep '^ii' || fail "dpkg does not know them"

say "running"
inside hearth --version
cp "$project/models/tiny-moe-Q4_K_M.gguf" "$root/tmp/"
said=$(inside hearth run -m /tmp/tiny-moe-Q4_K_M.gguf --expert-ram 33% --temp 0 -n 16 -p "Once upon a time" 2>/dev/null)
printf '%s\n' "$said"
[[ -n $said ]] || fail "the demo model says nothing"
inside man -w hearth hearth-run hearth-profile-record >/dev/null || fail "manual pages are not found"

say "a program against the library"
cp "$project/tests/consumers/hello.c" "$project/tests/golden/qwen3moe.gguf" "$root/tmp/"
inside sh -c 'cc /tmp/hello.c -o /tmp/hello $(pkg-config --cflags --libs hearth) && /tmp/hello /tmp/qwen3moe.gguf' ||
  fail "a program against the shared library does not work"
inside sh -c 'cc /tmp/hello.c -o /tmp/hello $(pkg-config --static --cflags --libs hearth | sed s/-lhearth/-l:libhearth.a/) && /tmp/hello /tmp/qwen3moe.gguf' ||
  fail "a program against the static library does not work"

say "completions"
inside bash -c '. /usr/share/bash-completion/bash_completion; _completion_loader hearth
  COMP_WORDS=(hearth profile rec) COMP_CWORD=2; _hearth; [[ ${COMPREPLY[*]} == record ]]' ||
  fail "bash does not complete"
inside fish -c 'complete -C "hearth profile rec"' | grep -q '^record' || fail "fish does not complete"
inside fish -c 'complete -C "hearth run --policy fo"' | grep -q '^forecast' || fail "fish does not complete values"
# In zsh without a terminal: what would list the words prints them.
inside zsh -f -c '
  source /usr/share/zsh/vendor-completions/_hearth
  compadd() { print -l -- ${(P)argv[-1]} }
  _describe() { print -l -- ${${(P)argv[-1]}%%:*} }
  _files() { print files }
  offers() {
    words=("${@[2,-1]}") CURRENT=$#words PREFIX=$words[-1]
    local offered=$(_hearth)
    [[ -n ${(M)${(f)offered}:#$1} ]] || { print "zsh, $words: $offered"; exit 1 }
  }
  offers record hearth profile rec
  offers --policy hearth run --pol
  offers forecast hearth run --policy fo
  offers files hearth inspect x' || fail "zsh does not complete"

say "removing"
inside apt-get purge -y -qq hearth "libhearth*" >/dev/null 2>&1
files_inside >"$root/tmp/after"
diff "$root/tmp/before" "$root/tmp/after" || fail "the files above were left, or taken along"
say "all passed: $(cd "$packages" && ls ./*.deb | tr '\n' ' ')"

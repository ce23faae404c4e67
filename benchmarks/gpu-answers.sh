#!/usr/bin/env bash
# Whether a GPU computes what the CPU does: `hearth bench` of small models of every architecture
# (tests/golden), on the CPU, with all experts in VRAM, and with half of them there and the others
# fetched or computed by the CPU. The logits are the same bits.
#   benchmarks/gpu-answers.sh [--hearth PROGRAM] [--device NAME] [MODEL...]
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

export hearth=build/gpu-check/bin/hearth device=auto
while [[ $# -gt 0 ]]; do
  case $1 in
    --hearth) hearth=$2; shift 2 ;;
    --device) device=$2; shift 2 ;;
    *) break ;;
  esac
done
[[ -x $hearth ]] || { echo "gpu-answers.sh: $hearth is missing; run ./dev gpu-check --build" >&2; exit 2; }

work=$(mktemp -d)
export work
trap 'rm -rf "$work"' EXIT

# measure MODEL FLAG...: lines of JSON. One at a time on a GPU: a process tells what it takes of it
# by what is free before and after, so that another that begins meanwhile would count as its own.
measure() {
  local alone=()
  [[ "${*:2}" == *"--device none"* ]] || alone=(flock "$work/gpu")
  "${alone[@]}" timeout --foreground -k 5 30 "$hearth" bench -m "$1" -p 20 -n 6 -r 1 --no-warmup -t 2 -o jsonl "${@:2}" \
    2>"$work/$(basename "$1")"
}
number() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" | head -n 1; }
hashes() { sed -n 's/.*"logits_hash":"\([0-9a-f]*\)".*/\1/p' | paste -sd ' '; }

# with_some MODEL MISSES: `found`, of a run that holds some of the experts in VRAM: with half of them
# less than `like` planned, a run that holds all. With less memory shorter chunks are planned, and
# then all may fit again; and what the driver takes is a page more or less from process to process,
# more than all experts of a small model, so that nothing may fit: then on from that run, or anew.
with_some() {
  local planned held
  for _ in 1 2 3 4 5 6 7 8; do
    planned=$(number vram_planned <<<"$like") held=$(number vram_planned_experts <<<"$like")
    found=$(measure "$1" --device "$device" --vram "$((${planned:-0} - ${held:-0} / 2))" --misses "$2")
    held=$(number vram_planned_experts <<<"$found")
    if [[ -z $held ]]; then
      like=$(measure "$1" --device "$device")
    elif [[ $held -lt $experts ]]; then
      return
    else
      like=$found
    fi
  done
  found=''
}

# compare MODEL: a line, and whether it is a good one.
compare() {
  local expected found like experts setting reason
  expected=$(measure "$1" --device none | hashes)
  found=$(measure "$1" --device "$device")
  like=$found experts=$(number vram_planned_experts <<<"$found")
  for setting in all link cpu; do
    [[ $setting == all ]] || with_some "$1" "$setting"
    found=$(hashes <<<"$found")
    [[ -z $expected || $found != "$expected" ]] || continue
    reason=$(grep -v '^note' "$work/$(basename "$1")" | tail -n 1)
    echo "$1, $setting: ${found:-no logits} instead of ${expected:-those that the CPU did not give}; $reason"
    return 1
  done
  echo "$1: $expected"
}
export -f measure number hashes with_some compare

[[ $# -gt 0 ]] || set -- tests/golden/*.gguf
printf '%s\0' "$@" | xargs -0 -n 1 -P "$(($(nproc) < 8 ? $(nproc) : 8))" bash -c 'compare "$1" || exit 1' _
code=$?
[[ $code -eq 0 ]] && echo "$# models: the logits of the CPU, with every lane"
exit "$((code != 0))"

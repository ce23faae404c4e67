#!/usr/bin/env bash
# Decode speed and peak memory of a model larger than its memory budget.
#   benchmarks/budgets.sh [MODEL.gguf] [TOKENS]
# Without a model, writes a synthetic one with the layer shape of Qwen3-30B-A3B (16 layers, 6.3 GB)
# to a temporary folder (TMPDIR or /tmp) and removes it afterwards. For --ram of 25, 50 and 75 % of
# the file it prints decode speed beside what the measured disk bandwidth allows for the bytes that
# were really missed, or the speed with everything in memory, whichever is lower; and the peak
# memory the kernel counted beside the budget.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly hearth=${HEARTH:-build/release/bin/hearth}
[[ -x $hearth ]] || { echo "budgets.sh: $hearth is missing; run ./dev build" >&2; exit 1; }
model=${1:-}
readonly tokens=${2:-64}
if [[ -z $model ]]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  model=$folder/qwen3-30b-a3b-16-layers.gguf
  "$hearth" synth -o "$model" --shape qwen3-30b-a3b --layers 16 --vocab-size 102400
fi
readonly size=$(stat -c %s "$model")

# value KEY: a number from one JSON record on standard input
value() { sed -n "s/^ *\"$1\": \([0-9.e+-]*\),\{0,1\}$/\1/p"; }

bench() { "$hearth" bench -m "$model" -p 0 -n "$tokens" -r 3 -c 1024 -o json "$@" 2>/dev/null; }

all=$(bench --expert-ram 100%)
memory_speed=$(value avg_ts <<<"$all")
printf '%-8s %9s %9s %9s %10s %9s %12s %12s %9s %s\n' budget tok/s bound of-bound MB/token hits \
  peak budget 'peak/b.' logits
printf '%-8s %9.2f %9s %9s %10s %9s %12s %12s %9s %s\n' all "$memory_speed" - - - - \
  "$(value memory_peak_bytes <<<"$all")" - - "$(sed -n 's/^ *"logits_hash": "\(.*\)".*/\1/p' <<<"$all")"
for percent in 75 50 25; do
  budget=$((size * percent / 100))
  record=$(bench --ram "$budget" --in-memory-tok-s "$memory_speed")
  awk -v percent="$percent" -v speed="$(value avg_ts <<<"$record")" \
    -v memory_speed="$memory_speed" -v of_bound="$(value of_bound <<<"$record")" \
    -v read="$(value read_bytes_per_token <<<"$record")" \
    -v hits="$(value expert_hit_rate <<<"$record")" \
    -v peak="$(value memory_peak_bytes <<<"$record")" -v budget="$budget" \
    -v logits="$(sed -n 's/^ *"logits_hash": "\(.*\)".*/\1/p' <<<"$record")" 'BEGIN {
      printf "%-8s %9.2f %9.2f %8.1f%% %10.1f %8.1f%% %12.0f %12.0f %9.4f %s\n", percent "%", speed,
        speed / of_bound, of_bound * 100, read / 1e6, hits * 100, peak, budget, peak / budget, logits }'
done

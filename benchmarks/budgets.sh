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
source benchmarks/common.sh
model=$(model_or_synthetic "${1:-}")
readonly model tokens=${2:-64}
size=$(stat -c %s "$model")
readonly size

bench() { "$hearth" bench -m "$model" -p 0 -n "$tokens" -r 3 -c 1024 -o json "$@" 2>/dev/null; }

all=$(bench --expert-ram 100%)
memory_speed=$(value avg_ts <<<"$all")
printf '%-8s %9s %9s %9s %10s %9s %12s %12s %9s %s\n' budget tok/s bound of-bound MB/token hits \
  peak budget 'peak/b.' logits
printf '%-8s %9.2f %9s %9s %10s %9s %12s %12s %9s %s\n' all "$memory_speed" - - - - \
  "$(value memory_peak_bytes <<<"$all")" - - "$(text logits_hash <<<"$all")"
for percent in 75 50 25; do
  budget=$((size * percent / 100))
  record=$(bench --ram "$budget" --in-memory-tok-s "$memory_speed")
  awk -v percent="$percent" -v speed="$(value avg_ts <<<"$record")" \
    -v memory_speed="$memory_speed" -v of_bound="$(value of_bound <<<"$record")" \
    -v read="$(value read_bytes_per_token <<<"$record")" \
    -v hits="$(value expert_hit_rate <<<"$record")" \
    -v peak="$(value memory_peak_bytes <<<"$record")" -v budget="$budget" \
    -v logits="$(text logits_hash <<<"$record")" 'BEGIN {
      printf "%-8s %9.2f %9.2f %8.1f%% %10.1f %8.1f%% %12.0f %12.0f %9.4f %s\n", percent "%", speed,
        speed / of_bound, of_bound * 100, read / 1e6, hits * 100, peak, budget, peak / budget, logits }'
done

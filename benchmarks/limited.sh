#!/usr/bin/env bash
# Decode speed of a model that is larger than the memory there is, beside llama.cpp's.
#   LLAMA_BENCH=llama-bench benchmarks/limited.sh [MODEL.gguf] [TOKENS] [ROUNDS]
# As root. Without a model, writes a synthetic one (benchmarks/common.sh). Under a cgroup that limits
# everything, the page cache too, to 25, 50 and 75 % of the file, hearth (--ram: the limit) and
# llama.cpp (which maps the file) run in alternation, ROUNDS times (3), and once each without a
# limit. LLAMA_BENCH should be a build with GGML_CPU_REPACK=OFF: repacked weights are memory that
# cannot be dropped. Prints medians and the ratio pair by pair; fails below 3 times llama.cpp.
# Figures mean something on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source benchmarks/common.sh
[[ -n ${LLAMA_BENCH:-} ]] || { echo "limited.sh: LLAMA_BENCH names no llama-bench" >&2; exit 1; }
model=$(model_or_synthetic "${1:-}")
readonly model tokens=${2:-32} rounds=${3:-3}
size=$(stat -c %s "$model")
# What the kernel charges to the group beside the process: page tables, sockets, the file's header.
readonly size threads=2 beside=$((48 << 20))

ours() { # LIMIT FLAG...
  local limit=$1
  shift
  benchmarks/run-limited.sh "$limit" "$hearth" bench -m "$model" -t $threads -p 0 -n "$tokens" -r 1 \
    -o json "$@" 2>>"$work/log"
}
theirs() {
  benchmarks/run-limited.sh "$1" "$LLAMA_BENCH" -m "$model" -t $threads -p 0 -n "$tokens" -r 1 \
    -lm mmap -o json 2>>"$work/log" | value avg_ts
}

failed=0
printf '%-7s %9s %7s %10s %7s %11s %7s  %s\n' limit tok/s 'of all' MB/token hits llama.cpp ratio logits
for percent in 1000 75 50 25; do
  limit=$((size * percent / 100))
  memory=(--ram $((limit - beside)))
  times=$rounds
  ((percent <= 100)) || memory=(--expert-ram 100%) times=1
  : >"$work/pairs"
  for ((round = 0; round < times; round++)); do
    record=$(ours "$limit" "${memory[@]}")
    echo "$(value avg_ts <<<"$record") $(theirs "$limit")" >>"$work/pairs"
  done
  column() { awk -v n="$1" '{ print $n }' "$work/pairs" | median; }
  speed=$(column 1)
  ((percent <= 100)) || all=$speed
  ratio=$(ratios <"$work/pairs" | median)
  awk -v limit="$( ((percent > 100)) && echo none || echo "$percent%")" -v speed="$speed" \
    -v all="$all" -v read="$(value read_bytes_per_token <<<"$record")" \
    -v hits="$(value expert_hit_rate <<<"$record")" -v reference="$(column 2)" -v ratio="$ratio" \
    -v logits="$(text logits_hash <<<"$record")" 'BEGIN {
      printf "%-7s %9.2f %6.0f%% %10.1f %6.1f%% %11.2f %7.2f  %s\n", limit, speed, 100 * speed / all,
        read / 1e6, hits * 100, reference, ratio, logits
    }'
  ((percent > 100)) || awk -v ratio="$ratio" 'BEGIN { exit ratio < 3 }' || failed=1
done
exit "$failed"

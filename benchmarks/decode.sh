#!/usr/bin/env bash
# Decode speed with everything in memory, beside memory bandwidth and, where there is one, llama.cpp.
#   [LLAMA_BENCH=llama-bench] benchmarks/decode.sh [MODEL.gguf] [TOKENS] [ROUNDS]
# Without a model, writes a synthetic one (benchmarks/common.sh). With 1 and with 2 threads it runs
# hearth bench, and llama-bench of the given build on the same file in alternation, ROUNDS times
# (5). Prints medians: tokens a second, the weights read for them beside the bandwidth that the same
# run measured, and the ratio to llama.cpp pair by pair. Fails below 85 % of the bandwidth or 1.15
# times llama.cpp. Figures mean something on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source benchmarks/common.sh
model=$(model_or_synthetic "${1:-}")
readonly model tokens=${2:-64} rounds=${3:-5}

ours() {
  "$hearth" bench -m "$model" -t "$1" -p 0 -n "$tokens" -r 1 --expert-ram 100% -o json 2>/dev/null
}
theirs() { "$LLAMA_BENCH" -m "$model" -t "$1" -p 0 -n "$tokens" -r 1 -o json 2>/dev/null; }

failed=0
printf '%-7s %9s %9s %9s %10s %11s %7s  %s\n' threads tok/s GB/s measured 'of memory' llama.cpp ratio logits
for threads in 1 2; do
  : >"$work/pairs"
  for ((round = 0; round < rounds; round++)); do
    record=$(ours "$threads")
    reference=0
    [[ -z ${LLAMA_BENCH:-} ]] || reference=$(theirs "$threads" | value avg_ts)
    echo "$(value avg_ts <<<"$record") $reference $(value ram_peak_bytes_per_s <<<"$record")" \
      "$(value share_of_ram_peak <<<"$record")" >>"$work/pairs"
  done
  column() { awk -v n="$1" '{ print $n }' "$work/pairs" | median; }
  ratio=-
  [[ -z ${LLAMA_BENCH:-} ]] || ratio=$(ratios <"$work/pairs" | median)
  awk -v threads="$threads" -v speed="$(column 1)" -v reference="$(column 2)" \
    -v peak="$(column 3)" -v share="$(column 4)" -v ratio="$ratio" \
    -v bytes="$(value weight_bytes_per_token <<<"$record")" \
    -v logits="$(text logits_hash <<<"$record")" 'BEGIN {
      printf "%-7s %9.2f %9.2f %9.2f %9.1f%% %11.2f %7s  %s\n", threads, speed, speed * bytes / 1e9,
        peak / 1e9, share * 100, reference, ratio == "-" ? ratio : sprintf("%.2f", ratio), logits
      exit share < 0.85 || (ratio != "-" && ratio < 1.15)
    }' || failed=1
done
exit "$failed"

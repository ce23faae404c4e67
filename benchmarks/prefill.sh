#!/usr/bin/env bash
# Prefill speed with everything in memory, beside llama.cpp.
#   LLAMA_BENCH=llama-bench benchmarks/prefill.sh [MODEL.gguf] [ROUNDS]
# Without a model, writes a synthetic one (benchmarks/common.sh). Prompts of 64 and of 512 tokens
# with 1 and with 2 threads, hearth bench and llama-bench of the given build in alternation, ROUNDS
# times (3): medians, and the ratio pair by pair. Fails below 1.2 times llama.cpp. Figures mean
# something on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source benchmarks/common.sh
[[ -n ${LLAMA_BENCH:-} ]] || { echo "prefill.sh: LLAMA_BENCH names no llama-bench" >&2; exit 1; }
model=$(model_or_synthetic "${1:-}")
readonly model rounds=${2:-3}

ours() {
  "$hearth" bench -m "$model" -t "$1" -p "$2" -n 0 -r 1 --expert-ram 100% -o json 2>/dev/null
}
theirs() { "$LLAMA_BENCH" -m "$model" -t "$1" -p "$2" -n 0 -r 1 -o json 2>/dev/null; }

failed=0
printf '%-7s %7s %11s %11s %7s  %s\n' threads prompt tok/s llama.cpp ratio logits
for threads in 1 2; do
  for prompt in 64 512; do
    : >"$work/pairs"
    for ((round = 0; round < rounds; round++)); do
      record=$(ours "$threads" "$prompt")
      echo "$(value avg_ts <<<"$record") $(theirs "$threads" "$prompt" | value avg_ts)" >>"$work/pairs"
    done
    column() { awk -v n="$1" '{ print $n }' "$work/pairs" | median; }
    ratio=$(ratios <"$work/pairs" | median)
    printf '%-7s %7s %11.2f %11.2f %7.2f  %s\n' "$threads" "$prompt" "$(column 1)" "$(column 2)" \
      "$ratio" "$(text logits_hash <<<"$record")"
    awk -v ratio="$ratio" 'BEGIN { exit ratio < 1.2 }' || failed=1
  done
done
exit "$failed"

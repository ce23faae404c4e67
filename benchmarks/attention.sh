#!/usr/bin/env bash
# Attention over formats of keys and values, and what its speed is held against.
#   benchmarks/attention.sh [POSITIONS,...] [ROUNDS] [KEYS/VALUES ...]
# Prints the tables of bench_attention (benchmarks/attention.cpp), then whether the aims hold: f16
# and q8_0 read at 80 % of the memory's bandwidth with two threads behind 32k positions, q8_0 and
# q4_0 take less time than f16 from 8k on. Wants an idle machine with two cores. Where neighbours change
# its speed from second to second, as in a virtual machine, many rounds of few formats say more:
#   benchmarks/attention.sh 32768 150 q8_0/q8_0 q4_0/q4_0
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly bench=${BENCH:-build/bench/bin/bench_attention}
[[ -x $bench ]] || { echo "attention.sh: $bench is missing; run HEARTH_PRESET=bench ./dev build" >&2; exit 1; }
"$bench" "${1:-1024,8192,32768,65536}" "${2:-7}" "${@:3}" | tee /dev/stderr | awk '
  / positions, / { positions = $1 }
  positions == 32768 && ($1 == "f16/f16" || $1 == "q8_0/q8_0") {
    check(sprintf("%s at %d positions, 2 threads: %d %% of the bandwidth", $1, positions, $10), $10 >= 80)
  }
  positions >= 8192 && ($1 == "q8_0/q8_0" || $1 == "q4_0/q4_0") {
    check(sprintf("%s at %d positions, 2 threads: %.2f of the time of f16", $1, positions, $12), $12 < 1)
  }
  function check(what, fine) { printf "%-4s %s\n", fine ? "ok" : "MISS", what; missed += !fine }
  END { exit missed > 0 }'

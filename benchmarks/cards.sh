#!/usr/bin/env bash
# What hearth plan says of the published models on cards of 8, 12 and 16 GB.
#   benchmarks/cards.sh [SHAPE...]
# For each shape of hearth synth --list (but the tiny ones) writes the header of the whole model, and
# plans a context of CONTEXT (4096) tokens with f16 keys and values for each machine of MACHINES: how
# many experts lie in VRAM, how many more in RAM, and how many on the disk alone; bytes of an expert
# (on average), of the keys and values of a token, and of the recurrent state. Speeds are predictions
# of the cost model in tokens per second, from published figures of the machines: no measurements.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source benchmarks/common.sh
readonly context=${CONTEXT:-4096}
readonly machines=${MACHINES:-rtx4060-8g-ddr5 rtx3060-12g-ddr4 rtx5060ti-16g-ddr5}
mapfile -t shapes < <("$hearth" synth --list | awk 'NR > 1 && $1 !~ /^tiny/ { print $1 }')
[[ $# == 0 ]] || shapes=("$@")

# nth N KEY: the N-th number of that name in an indented JSON text on standard input
nth() { grep "^ *\"$2\": " | sed -n "$1s/[^:]*: \([0-9.e+-]*\),\{0,1\}$/\1/p"; }

printf '%-19s %-19s %7s %12s %9s %10s %7s %7s %7s %9s\n' shape machine experts bytes/expert KV/token \
  state VRAM RAM disk 'predicted'
for shape in "${shapes[@]}"; do
  "$hearth" synth -o "$work/header.gguf" --shape "$shape" --header-only
  for machine in $machines; do
    printf '%-19s %-19s ' "$shape" "$machine"
    if ! "$hearth" plan -m "$work/header.gguf" -c "$context" --machine "$machine" --json \
      > "$work/plan" 2> "$work/errors"; then
      sed 's/^hearth: error: /does not fit: /; s/ (.*//' "$work/errors"
      continue
    fi
    # The classes of experts come after the tiers; the state is that of VRAM.
    expert_bytes=$(grep -A 1000 '"classes": \[' "$work/plan" | awk '
      /"expert":/ { gsub(/,/, ""); bytes = $2 } /"experts":/ { sum += bytes * $2; count += $2 }
      /^  \]/ { exit } END { printf "%d", sum / count }')
    awk -v experts="$(value experts_total < "$work/plan")" -v expert_bytes="$expert_bytes" \
      -v kv="$(value kv_bytes_per_token < "$work/plan")" -v state="$(nth 2 state < "$work/plan")" \
      -v ram="$(nth 1 slots < "$work/plan")" -v vram="$(nth 2 slots < "$work/plan")" \
      -v held="$(value held < "$work/plan")" \
      -v speed="$(value tok_s < "$work/plan")" 'BEGIN {
        # What VRAM does not hold for good is in RAM as well.
        memory = held + ram < experts ? held + ram : experts
        printf "%7d %12d %9d %10d %7d %7d %7d %9.1f\n", experts, expert_bytes, kv, state, vram,
          memory - vram, experts - memory, speed }'
  done
done

#!/usr/bin/env bash
# What is a profile worth in the first tokens, and does it matter of which text it is?
#   benchmarks/profiles.sh [BUDGET] [POLICY]
# Splits each text in models/eval into a part to learn from (four fifths) and a held-out one, records
# a profile of each part to learn from with the demo model, and shows how much the profiles differ.
# Then memory for BUDGET of the experts (25%) meets eight pieces of held-out text: empty, with the
# experts of the profile of the same kind of text, and with those of the two others, under POLICY
# (the one that would be chosen). Prints hit rate and bytes read in the first 64 tokens, means over
# the pieces, of a replay, which has the hits that the engine has without prefetch. Fails where the
# matching profile is not better than all others for each text.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source benchmarks/common.sh
readonly model=models/tiny-moe-Q4_K_M.gguf
readonly budget=${1:-25%} policy=${2:-all}
readonly workloads=(prose code json) pieces=8 tokens=64

# record NAME TEXT FLAGS...
record() {
  "$hearth" profile record -m $model -f "$2" --workload "${1%%-*}" -o "$work/$1.toml" "${@:3}" \
    2> /dev/null
}

for workload in "${workloads[@]}"; do
  text=models/eval/$workload.txt
  lines=$(wc -l < $text)
  learned=$((lines * 4 / 5))
  head -n $learned $text > "$work/$workload.txt"
  echo "recording $workload: $learned of $lines lines"
  record "$workload" "$work/$workload.txt"
  for ((piece = 0; piece < pieces; ++piece)); do
    first=$((learned + 1 + piece * (lines - learned) / pieces))
    sed -n "$first,$((first + (lines - learned) / pieces - 1))p" $text > "$work/piece.txt"
    record "$workload-$piece" "$work/piece.txt" -n $tokens --replay-tokens 0 \
      --trace "$work/$workload-$piece.trace"
  done
done

for pair in "prose code" "prose json" "code json"; do
  read -r first second <<< "$pair"
  printf '\nprofiles of %s and %s, all layers: ' "$first" "$second"
  "$hearth" profile diff "$work/$first.toml" "$work/$second.toml" | sed -n 's/^all *//p'
done

# start TEXT FLAGS...: hit rate in percent and MB per token, means over the pieces
start() {
  "$hearth" replay "$work/$1"-*.trace -m $model --budget "$budget" --policy "$policy" --csv \
    -n $tokens "${@:2}" |
    awk -F, '$7 == 1 { hits += $8; bytes += $12; ++rows }
      END { printf "%.2f %.3f\n", 100 * hits / rows, bytes / rows / 1e6 }'
}

printf '\nfirst %d tokens of held-out text, %s of the experts in memory\n' $tokens "$budget"
printf '%-10s %-14s %10s %10s\n' text memory 'hit rate' MB/token
failed=0
for workload in "${workloads[@]}"; do
  read -r own_hits own_bytes < <(start "$workload" --seed-profile "$work/$workload.toml")
  printf '%-10s %-14s %8.1f %% %10.2f\n' "$workload" "$workload profile" "$own_hits" "$own_bytes"
  for other in empty "${workloads[@]}"; do
    [[ $other != "$workload" ]] || continue
    flags=(--seed-profile "$work/$other.toml") name="$other profile"
    [[ $other != empty ]] || flags=(--cold) name=empty
    read -r hits bytes < <(start "$workload" "${flags[@]}")
    printf '%-10s %-14s %8.1f %% %10.2f\n' '' "$name" "$hits" "$bytes"
    awk "BEGIN { exit !($own_hits > $hits && $own_bytes < $bytes) }" ||
      { echo "  the matching profile is not better than: $other"; failed=1; }
  done
done
exit $failed

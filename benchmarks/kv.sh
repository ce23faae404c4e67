#!/usr/bin/env bash
# What formats of keys and values cost in quality.
#   benchmarks/kv.sh [MODEL.gguf] [TEXT] [CHUNKS]
# Saves the predictions with keys and values in f32 (by default of the demo model on its prose, four
# chunks of 1024 tokens), then compares those of the pairs in PAIRS (keys/values) with them at the
# tails in TAILS: bytes of a token of long context, Kullback-Leibler divergence, and the share of
# tokens whose likeliest successor is the same. Figures do not depend on the machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly hearth=${HEARTH:-build/release/bin/hearth}
readonly model=${1:-models/tiny-moe-Q4_K_M.gguf} text=${2:-models/eval/prose.txt} chunks=${3:-4}
readonly context=${CONTEXT:-1024} tails=${TAILS:-0 128}
readonly pairs=${PAIRS:-f16/f16 bf16/bf16 q8_0/q8_0 q8_0/q5_1 q8_0/q4_0 q5_1/q5_1 q5_0/q5_0 q5_0/q4_0 q4_1/q4_1 q4_0/q4_0 iq4_nl/iq4_nl}
[[ -x $hearth ]] || { echo "kv.sh: $hearth is missing; run ./dev build" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$hearth" perplexity -m "$model" -f "$text" -c "$context" --chunks "$chunks" -ctk f32 -ctv f32 \
  --save-all-logits "$work/base" > /dev/null 2>&1

# bytes FLAG...: of the KV cache in a plan for that many tokens
bytes() {
  "$hearth" plan -m "$model" --expert-ram 100% "$@" --json |
    sed -n '/"ram"/,/}/s/^ *"kv": \([0-9]*\),$/\1/p'
}
# figure NAME: a line of hearth kld on standard input
figure() { sed -n "s/^$1 *\([0-9.]*\).*/\1/p"; }

printf '%-14s %5s %12s %10s %10s %9s\n' keys/values tail bytes/token 'mean KLD' '99.9 %' 'same top'
for pair in $pairs; do
  types=(-ctk "${pair%/*}" -ctv "${pair#*/}")
  pair_tails=-
  [[ $pair == *[qQ]* ]] && pair_tails=$tails
  for tail in $pair_tails; do
    flags=("${types[@]}")
    [[ $tail == - ]] || flags+=(--kv-tail "$tail")
    longer=$(bytes "${flags[@]}" -c 131072) shorter=$(bytes "${flags[@]}" -c 65536)
    result=$("$hearth" kld -m "$model" --base "$work/base" "${flags[@]}" 2> /dev/null)
    printf '%-14s %5s %12d %10s %10s %8s%%\n' "$pair" "$tail" $(((longer - shorter) / 65536)) \
      "$(figure 'mean KLD' <<< "$result")" "$(figure '99.9 % KLD' <<< "$result")" \
      "$(figure 'same top token, %' <<< "$result")"
  done
done

#!/usr/bin/env bash
# Makes the traces in this folder anew: six recorded from the demo model, six made up.
#   tests/traces/make.sh [FOLDER]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
readonly hearth=${HEARTH:-build/release/bin/hearth}
readonly model=models/tiny-moe-Q4_K_M.gguf
readonly out=${1:-tests/traces}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# record NAME TEXT TOKENS: a text, as if it had been generated token by token
record() {
  "$hearth" profile record -m $model -f "$2" -n "$3" --workload "$1" --replay-tokens 0 \
    -o "$work/$1.toml" --trace "$out/$1.trace" 2> /dev/null
}

# generate NAME PROMPT TOKENS
generate() {
  "$hearth" run -m $model -p "$2" -n "$3" --ctx-size 1024 --ignore-eos --temp 0.7 --seed 1 \
    --workload "$1" --trace "$out/$1.trace" --no-report > /dev/null 2> /dev/null
}

# make_up NAME FLAGS...
make_up() {
  local name=$1
  shift
  "$hearth" trace synth --workload "$name" -o "$out/$name.trace" "$@"
}

# Lines of the three texts in turn.
for part in 0 1 2 3; do
  for text in prose code json; do
    sed -n "$((part * 40 + 1)),$((part * 40 + 24))p" models/eval/$text.txt
  done
done > "$work/mixed.txt"

record prose models/eval/prose.txt 1024
record code models/eval/code.txt 1024
record records models/eval/json.txt 1024
record mixed "$work/mixed.txt" 1024
generate chat '<|im_start|>user\nTell me a short story about a fox.<|im_end|>\n<|im_start|>assistant\n' 600
generate story 'Once' 600

make_up qwen3.6 --preset qwen3.6-35b-a3b --layers 12 --tokens 800
make_up qwen3-topics --preset qwen3-30b-a3b --layers 12 --tokens 800 --topics 3 --topic-tokens 160
make_up gpt-oss --preset gpt-oss-120b --layers 16 --tokens 1000
make_up flat --preset flat --layers 12 --tokens 600
make_up mixtral --preset mixtral-8x7b --layers 16 --tokens 1000
make_up skewed --preset qwen3-30b-a3b --layers 12 --experts 64 --top-k 6 --tokens 800 --skew 3.5 \
  --mood 1:8 --topics 4 --topic-tokens 100 --topic-strength 1

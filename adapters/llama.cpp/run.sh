#!/usr/bin/env bash
# run.sh MODEL VRAM [argument of llama-cli...]: plans a model for a GPU and runs it in llama.cpp with
# the experts of those layers on the GPU that the plan has room for. MODEL.profile.toml, from
# `hearth profile record` or hearth-llama-record, says which layers profit most.
#
#   adapters/llama.cpp/run.sh model.gguf 10GiB -p "Once upon a time" -n 100
#
# MACHINE names the machine to be planned for (hearth doctor --presets; this one if not set), HEARTH
# and LLAMA the programs. With DRY_RUN=1 the command is printed, not run.
set -euo pipefail

hearth=${HEARTH:-hearth} llama=${LLAMA:-llama-cli} machine=${MACHINE:-auto}
[[ $# -ge 2 ]] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
model=$1 vram=$2
shift 2

plan=$(mktemp)
trap 'rm -f "$plan"' EXIT
"$hearth" plan -m "$model" --machine "$machine" --vram "$vram" -o "$plan" >&2
# Comments, and the same with whole layers by position alone, follow the first line of arguments.
line=$("$hearth" profile export "$model" --format llama.cpp -m "$model" --plan "$plan" |
  grep -v '^#' | head -1)
# Written by hearth, with a pattern in quotes: no part of it comes from a file.
eval "arguments=($line)"
rm -f "$plan"

# shellcheck disable=SC2154
command=("$llama" -m "$model" "${arguments[@]}" "$@")
if [[ -n ${DRY_RUN:-} ]]; then
  printf '%q ' "${command[@]}"
  echo
else
  exec "${command[@]}"
fi

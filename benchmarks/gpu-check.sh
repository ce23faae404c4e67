#!/usr/bin/env bash
# What a machine with a GPU is checked and measured by, in at most nine minutes: `./dev gpu-check`.
#   benchmarks/gpu-check.sh FOLDER [--dry-run] [--results FOLDER] [--only STEP,...]
# FOLDER holds the programs. Every step runs, whatever became of those before it, within a limit of
# its own; what matters most comes first. In benchmarks/results, or in the folder named: <card>.log
# with all that was printed, and <card>.json, written anew after each step and every ten seconds of one.
# --dry-run: the same steps on the emulation, with tiny sizes and a few rows.
# Exit codes: 0 all passed or were skipped with a reason, 1 a step failed, 2 misuse, 3 no GPU.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly most_seconds=520
usage() { echo "usage: benchmarks/gpu-check.sh FOLDER [--dry-run] [--results FOLDER] [--only STEP,...]" >&2; exit 2; }
[[ $# -gt 0 && $1 != --* ]] || usage
bin=$1 dry=0 results=benchmarks/results only=''
shift
while [[ $# -gt 0 ]]; do
  case $1 in
    --dry-run) dry=1; shift ;;
    --results) [[ $# -gt 1 ]] || usage; results=$2; shift 2 ;;
    --only) [[ $# -gt 1 ]] || usage; only=$2; shift 2 ;;
    *) usage ;;
  esac
done
work=$(mktemp -d)
readonly bin dry results only work
trap 'rm -rf "$work"' EXIT

names=() states=() times=() notes=()
note() { names+=("$1"); states+=("$2"); times+=("$3"); notes+=("$4"); }
skip() { printf '\n== %s: skipped, %s\n' "$1" "$2"; note "$1" skipped 0 "$2"; }

# step NAME SECONDS COMMAND...: its output is shown as it comes. A function has a process of its own.
# What is stopped are all processes of a step: timeouts within one stay in its group (--foreground).
step() {
  local name=$1 limit=$2 left=$((most_seconds - SECONDS)) start=$SECONDS code
  shift 2
  [[ $left -ge 5 ]] || { skip "$name" "the time is used up"; return; }
  [[ $limit -le $left ]] || limit=$left
  printf '\n== %s (at most %d s)\n' "$name" "$limit"
  if declare -F "$1" >/dev/null; then set -- bash -c '"$@"' _ "$@"; fi
  timeout -k 5 "$limit" "$@" 2>&1
  code=$?
  case $code in
    0) note "$name" passed $((SECONDS - start)) "" ;;
    124 | 137) note "$name" failed $((SECONDS - start)) "stopped after $limit s" ;;
    *) note "$name" failed $((SECONDS - start)) "exit code $code" ;;
  esac
}

# ---- The steps ---------------------------------------------------------------------------------

# run_shards FILTER: the tests in as many processes as there are cores to compute what is expected.
run_shards() {
  local shards=4 shard code=0 running=()
  [[ $dry -eq 1 ]] || shards=$(($(nproc) < 8 ? $(nproc) : 8))
  for ((shard = 0; shard < shards; shard++)); do
    GTEST_TOTAL_SHARDS=$shards GTEST_SHARD_INDEX=$shard HEARTH_TEST_DEVICES=$(tested_devices) \
      "$bin/gpu_tests" --gtest_brief=1 --gtest_filter="$1" >"$work/shard.$shard" 2>&1 &
    running+=($!)
  done
  for ((shard = 0; shard < shards; shard++)); do
    wait "${running[$shard]}" || code=1
    cat "$work/shard.$shard"
  done
  return $code
}
tested_devices() { [[ $dry -eq 1 ]] || echo gpu; }

check_answers() {  # whole models: the logits of the CPU, with every lane
  local models=()
  if [[ $dry -eq 1 ]]; then models=(tests/golden/qwen3moe.gguf tests/golden/gpt-oss.gguf); fi
  step answers 200 benchmarks/gpu-answers.sh --hearth "$hearth" --device "$named" "${models[@]}"
}

measure_machine() {  # hearth doctor: the rates that plans and splits are made with
  local small=()
  if [[ $dry -eq 1 ]]; then small=(--memory 64M --threads 1); fi
  step doctor 60 "$hearth" doctor --quick "${small[@]}" -o "$machine"
}

# Whole models of the true shapes, at several budgets.
measure_model() {
  local shape=$1 limit=$2 flags=()
  shift 2
  if [[ $dry -eq 1 && $shape != qwen3.6-35b-a3b ]]; then
    skip "$shape" "one tiny model is enough"
    return
  fi
  if [[ $dry -eq 1 ]]; then flags=(--dry-run); fi
  step "$shape" "$limit" benchmarks/gpu-models.sh --hearth "$hearth" --records "$records" "$@" \
    "${flags[@]}" "$shape"
}
measure_qwen36() { measure_model qwen3.6-35b-a3b 210; }
measure_gpt_oss() { measure_model gpt-oss-20b 100 --short; }
measure_qwen3() { measure_model qwen3-30b-a3b 120 --short; }

check_rows() {  # every kernel against the scalar one
  local rows=-$emulated
  if [[ $dry -eq 1 ]]; then rows=$short; fi
  step rows 120 run_shards "$rows"
}

measure_kernels() {  # each kernel beside what the card's memory gives
  local small=()
  if [[ $dry -eq 1 ]]; then small=(--small); fi
  step kernels 90 "$kernels_benchmark" "${small[@]}" --json "$work/kernels.json"
}

check_sanitizer() {  # what tests do not see: reads and writes beside memory
  local tool
  tool=$(PATH=$PATH:/usr/local/cuda/bin command -v compute-sanitizer) ||
    { skip sanitizer "there is no compute-sanitizer"; return; }
  [[ $dry -eq 0 ]] || { skip sanitizer "it needs a GPU"; return; }
  # Calls that are refused are among the tests; what kernels read and write is looked at.
  step sanitizer 60 env HEARTH_TEST_DEVICES=gpu "$tool" --tool memcheck --error-exitcode 1 \
    --report-api-errors no "$bin/gpu_tests" --gtest_brief=1 --gtest_filter="$short:All/GpuExperts.*"
}

# Names of the steps, and what runs them, in order.
readonly steps=(
  answers:check_answers rows:check_rows doctor:measure_machine qwen3.6-35b-a3b:measure_qwen36
  kernels:measure_kernels sanitizer:check_sanitizer gpt-oss-20b:measure_gpt_oss
  qwen3-30b-a3b:measure_qwen3)

# ---- What is told in the end -------------------------------------------------------------------

quoted() { printf '"%s"' "$(printf '%s' "$1" | tr -d '\000-\037' | sed 's/[\\"]/\\&/g')"; }

# The section [gpu] of a machine file, whose values are numbers and strings, as JSON.
gpu_section() {
  awk '/^\[/ { inside = $0 == "[gpu]"; next }
    inside && / = / { at = index($0, " = ")
      printf "%s    \"%s\": %s", (n++ ? ",\n" : ""), substr($0, 1, at - 1), substr($0, at + 3) }
    END { if (n) print "" }' "$machine" 2>/dev/null
}

report() {
  local i
  printf '{\n  "device": %s,\n' "$(quoted "$device")"
  printf '  "date": "%s",\n  "commit": "%s",\n  "seconds": %d,\n' \
    "$(date -u +%Y-%m-%d)" "$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" "$SECONDS"
  printf '  "emulated": %s,\n  "steps": [\n' "$([[ $dry -eq 1 ]] && echo true || echo false)"
  for i in "${!names[@]}"; do
    printf '    {"step": "%s", "result": "%s", "seconds": %d, "note": %s}%s\n' "${names[i]}" \
      "${states[i]}" "${times[i]}" "$(quoted "${notes[i]}")" "$([[ $i -lt $((${#names[@]} - 1)) ]] && echo ,)"
  done
  printf '  ],\n  "machine": {\n%s\n  },\n  "models": [\n%s\n  ],\n  "kernels": ' "$(gpu_section)" \
    "$(sed '$!s/$/,/' "$records" 2>/dev/null)"
  cat "$work/kernels.json" 2>/dev/null || echo null
  printf '}\n'
}

table() {
  local i failed=0
  printf '\n%s\n\n| step            | result  | seconds |\n|-----------------|---------|--------:|\n' "$device"
  for i in "${!names[@]}"; do
    printf '| %-15s | %-7s | %7d | %s\n' "${names[i]}" "${states[i]}" "${times[i]}" "${notes[i]}"
    [[ ${states[i]} != failed ]] || failed=1
  done
  return $failed
}

hearth=$bin/hearth kernels_benchmark=$bin/bench_gpu_kernels named=auto
if [[ $dry -eq 1 ]]; then
  hearth=$bin/hearth_emulated kernels_benchmark=$bin/emulated_gpu_kernels named=emulated0
fi
# Some kernels, within seconds.
readonly short='GpuDevice.*:ReadMemory.*:GpuQuantize.*:GpuNormalize.*:GpuTurn.*'
# What only the emulation can show.
emulated='DeviceFaults.*:Divergence.*:Emulation.*:Order.*:SharedMemoryGuards.*:ScheduledDevice*:Races.*'
readonly emulated hearth kernels_benchmark named records=$work/records
export bin dry work
export -f run_shards tested_devices
# A driver that no process uses lets go of the card, and the next one waits seconds for it.
for node in /dev/nvidia[0-9]*; do
  if [[ -r $node ]]; then exec {kept}<"$node"; fi
done
# As `hearth` does itself: no kernel is loaded while something is recorded or measured.
export CUDA_MODULE_LOADING=EAGER HIP_ENABLE_DEFERRED_LOADING=0
# What doctor writes is what the other commands read.
export XDG_CONFIG_HOME=$work/config
readonly machine=$XDG_CONFIG_HOME/hearth/machine.toml
mkdir -p "$XDG_CONFIG_HOME/hearth" "$results"

for program in "$hearth" "$kernels_benchmark" "$bin/gpu_tests"; do
  [[ -x $program ]] || { echo "gpu-check: $program is missing; run ./dev gpu-check --build" >&2; exit 2; }
done
for one in ${only//,/ }; do
  [[ " ${steps[*]}" == *" $one:"* ]] ||
    { echo "gpu-check: --only $one: there are ${steps[*]%%:*}" >&2; exit 2; }
done
device=$(timeout 60 "$kernels_benchmark" --device 2>"$work/missing") ||
  { echo "gpu-check: there is no GPU to check: $(head -n 1 "$work/missing")" >&2; exit 3; }
card=$(printf '%s' "${device%%,*}" | tr '[:upper:]' '[:lower:]' | tr -cs 'a-z0-9' '-')
readonly device to=$results/${card%-}

# With what a step has measured so far, should somebody end all of this.
report_again() { while sleep 10; do report >"$work/again" && cp "$work/again" "$to.json"; done; }

run_steps() {
  local one again
  printf 'gpu-check on %s\n' "$device"
  for one in "${steps[@]}"; do
    if [[ -n $only && ,$only, != *,${one%%:*},* ]]; then continue; fi
    report_again >/dev/null 2>&1 &
    again=$!
    "${one#*:}"
    kill "$again" && wait "$again" 2>/dev/null
    report >"$work/report" && cp "$work/report" "$to.json"
  done
  table
  code=$?
  printf '\nwritten %s.json and %s.log after %d s\n' "$to" "$to" "$SECONDS"
  return $code
}
run_steps 2>&1 | tee "$to.log"
exit "${PIPESTATUS[0]}"

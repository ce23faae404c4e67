#!/usr/bin/env bash
# What a machine with a GPU is checked and measured by, in at most nine minutes: `./dev gpu-check`.
#   benchmarks/gpu-check.sh FOLDER [--dry-run] [--results FOLDER]
# FOLDER holds the programs. Every step runs, whatever became of those before it, within a limit of
# its own. In the end: a table, and <card>.json in benchmarks/results, or in the folder named.
# --dry-run: the same steps on the emulation, with tiny sizes and a few rows.
# Exit codes: 0 all passed or were skipped with a reason, 1 a step failed, 2 misuse, 3 no GPU.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly most_seconds=530
usage() { echo "usage: benchmarks/gpu-check.sh FOLDER [--dry-run] [--results FOLDER]" >&2; exit 2; }
[[ $# -gt 0 && $1 != --* ]] || usage
bin=$1 dry=0 results=benchmarks/results
shift
while [[ $# -gt 0 ]]; do
  case $1 in
    --dry-run) dry=1; shift ;;
    --results) [[ $# -gt 1 ]] || usage; results=$2; shift 2 ;;
    *) usage ;;
  esac
done
work=$(mktemp -d)
readonly bin dry results work
trap 'rm -rf "$work"' EXIT

names=() states=() times=() notes=()
note() { names+=("$1"); states+=("$2"); times+=("$3"); notes+=("$4"); }
skip() { printf '\n== %s: skipped, %s\n' "$1" "$2"; note "$1" skipped 0 "$2"; }

# step NAME SECONDS COMMAND...: its output is shown as it comes.
step() {
  local name=$1 limit=$2 left=$((most_seconds - SECONDS)) start=$SECONDS code
  shift 2
  [[ $left -ge 5 ]] || { skip "$name" "the time is used up"; return; }
  [[ $limit -le $left ]] || limit=$left
  printf '\n== %s (at most %d s)\n' "$name" "$limit"
  timeout -k 5 "$limit" "$@" 2>&1 | tee "$work/$name.log"
  code=${PIPESTATUS[0]}
  case $code in
    0) note "$name" passed $((SECONDS - start)) "" ;;
    124 | 137) note "$name" failed $((SECONDS - start)) "stopped after $limit s" ;;
    *) note "$name" failed $((SECONDS - start)) "exit code $code" ;;
  esac
}

# ---- The steps ---------------------------------------------------------------------------------

check_rows() {  # every kernel against the scalar one
  if [[ $dry -eq 1 ]]; then
    step rows 60 "$bin/gpu_tests" --gtest_brief=1 --gtest_filter="$short"
  else
    step rows 150 env HEARTH_TEST_DEVICES=gpu "$bin/gpu_tests" --gtest_brief=1
  fi
}

check_sanitizer() {  # what tests do not see: reads and writes beside memory
  local tool
  tool=$(PATH=$PATH:/usr/local/cuda/bin command -v compute-sanitizer) ||
    { skip sanitizer "there is no compute-sanitizer"; return; }
  [[ $dry -eq 0 ]] || { skip sanitizer "it needs a GPU"; return; }
  step sanitizer 90 env HEARTH_TEST_DEVICES=gpu "$tool" --tool memcheck --error-exitcode 1 \
    "$bin/gpu_tests" --gtest_brief=1 --gtest_filter="$short:All/GpuExperts.*"
}

measure_machine() {  # hearth doctor: the rates that plans and splits are made with
  if [[ $dry -eq 1 ]]; then
    step doctor 60 "$bin/hearth_emulated" doctor --quick --memory 64M --threads 1 -o "$work/machine.toml"
  else
    step doctor 120 "$bin/hearth" doctor -o "$work/machine.toml"
  fi
}

measure_kernels() {  # each kernel beside what the card's memory gives
  local small=()
  if [[ $dry -eq 1 ]]; then small=(--small); fi
  step kernels 120 "$kernels_benchmark" "${small[@]}" --json "$work/kernels.json"
}

check_models() {  # whole models: the same logits as the CPU's, for every budget
  local program=$bin/runtime_tests
  [[ -x $program ]] || { skip models "runtime_tests is not among the programs"; return; }
  "$program" --gtest_list_tests --gtest_filter='DeviceModel*' | grep -q . ||
    { skip models "there are no tests DeviceModel*"; return; }
  step models 120 env HEARTH_TEST_DEVICES="$([[ $dry -eq 1 ]] || echo gpu)" "$program" \
    --gtest_brief=1 --gtest_filter='DeviceModel*'
}

readonly steps=(check_rows check_sanitizer measure_machine measure_kernels check_models)

# ---- What is told in the end -------------------------------------------------------------------

quoted() { printf '"%s"' "$(printf '%s' "$1" | tr -d '\000-\037' | sed 's/[\\"]/\\&/g')"; }

# The section [gpu] of a machine file, whose values are numbers and strings, as JSON.
gpu_section() {
  awk '/^\[/ { inside = $0 == "[gpu]"; next }
    inside && / = / { at = index($0, " = ")
      printf "%s    \"%s\": %s", (n++ ? ",\n" : ""), substr($0, 1, at - 1), substr($0, at + 3) }
    END { if (n) print "" }' "$work/machine.toml" 2>/dev/null
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
  printf '  ],\n  "machine": {\n%s\n  },\n  "kernels": ' "$(gpu_section)"
  cat "$work/kernels.json" 2>/dev/null || echo null
  printf '}\n'
}

table() {
  local i failed=0
  printf '\n%s\n\n| step       | result  | seconds |\n|------------|---------|--------:|\n' "$device"
  for i in "${!names[@]}"; do
    printf '| %-10s | %-7s | %7d | %s\n' "${names[i]}" "${states[i]}" "${times[i]}" "${notes[i]}"
    [[ ${states[i]} != failed ]] || failed=1
  done
  return $failed
}

kernels_benchmark=$bin/bench_gpu_kernels
if [[ $dry -eq 1 ]]; then kernels_benchmark=$bin/emulated_gpu_kernels; fi
# Some kernels, within seconds.
readonly short='GpuDevice.*:ReadMemory.*:GpuQuantize.*:GpuNormalize.*:GpuTurn.*' kernels_benchmark
for program in "$kernels_benchmark" "$bin/gpu_tests"; do
  [[ -x $program ]] || { echo "gpu-check: $program is missing; run ./dev gpu-check --build" >&2; exit 2; }
done
device=$("$kernels_benchmark" --device 2>"$work/missing") ||
  { echo "gpu-check: there is no GPU to check: $(head -n 1 "$work/missing")" >&2; exit 3; }
readonly device

printf 'gpu-check on %s\n' "$device"
for one in "${steps[@]}"; do "$one"; done
table
code=$?
mkdir -p "$results"
card=$(printf '%s' "${device%%,*}" | tr '[:upper:]' '[:lower:]' | tr -cs 'a-z0-9' '-')
report >"$results/${card%-}.json"
printf '\nwritten %s after %d s\n' "$results/${card%-}.json" "$SECONDS"
exit "$code"

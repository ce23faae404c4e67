#!/usr/bin/env bash
# Whole models on a GPU, at several budgets of its memory, beside what memory and link carry.
#   [LLAMA_BENCH=llama-bench] benchmarks/gpu-models.sh [--hearth PROGRAM] [--records FILE] [--dry-run] [--short] [SHAPE]
# Writes a random model of the true shape (qwen3.6-35b-a3b) and routing with the hit rates that were
# published of it, runs `hearth bench` with all experts in VRAM, with 60 % of them, and with 8, 12
# and 16 GiB, misses served as measured, over the link alone and by the CPU alone; behind 4096 and
# 32768 positions of random keys and values; and with all experts again, without what HEARTH_GPU_WITHOUT
# leaves out. Prints a row for each test and the ratios, for prompts what they have of the link or of the
# speed with all experts in VRAM, whichever bounds them; fails where logits differ. --records: all figures,
# a line of JSON for each test. --short: of the budgets only 8 GiB, and misses only as measured. --dry-run:
# a tiny model, on the emulation.
#
# The file goes where there is room: to HEARTH_CHECK_FOLDER, or to /dev/shm or TMPDIR. Where there is
# none, it has fewer layers. It is read through the page cache: the disk is not what is measured.
# HEARTH_CHECK_RAM is the budget of RAM, if not what the system says is free.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

hearth=build/gpu-check/bin/hearth records=/dev/null shape='' dry=0 short=0
while [[ $# -gt 0 ]]; do
  case $1 in
    --hearth) hearth=$2; shift 2 ;;
    --records) records=$2; shift 2 ;;
    --dry-run) dry=1; shift ;;
    --short) short=1; shift ;;
    -*) echo "gpu-models.sh: unknown flag: $1" >&2; exit 2 ;;
    *) shape=$1; shift ;;
  esac
done
[[ -x $hearth ]] || { echo "gpu-models.sh: $hearth is missing; run ./dev gpu-check --build" >&2; exit 2; }

# What is measured of a shape: the routing that was fitted to it or to its larger sister, depths,
# lengths and budgets.
budgets=(8GiB 12GiB 16GiB) depths=4096,32768 prompt=512 generate=64 repetitions=2 device=auto
part=() more=()
if [[ $dry -eq 1 ]]; then
  shape=tiny part=(--layers 2) budgets=(3MiB 4MiB) depths=8,24 prompt=9 generate=2 repetitions=1
  device=emulated0 more=(--no-warmup) HEARTH_CHECK_RAM=${HEARTH_CHECK_RAM:-64MiB}
fi
[[ $short -eq 0 ]] || budgets=("${budgets[0]}")
shape=${shape:-qwen3.6-35b-a3b}
case $shape in
  tiny) routing=(--preset qwen3-30b-a3b --experts 16 --top-k 4) ;;
  gpt-oss-20b) routing=(--preset gpt-oss-120b --experts 32) ;;
  qwen3.6-35b-a3b | qwen3-30b-a3b) routing=(--preset "$shape") ;;
  *) echo "gpu-models.sh: no routing was published of $shape" >&2; exit 2 ;;
esac
readonly hearth records shape dry short part budgets depths prompt generate repetitions device more \
  routing

folder='' work=$(mktemp -d)
trap 'rm -rf "$work" ${folder:+"$folder"}' EXIT

# ---- The model and its routing -----------------------------------------------------------------

free_bytes() { df --output=avail -B1 "$1" 2>/dev/null | tail -n 1; }

whole_bytes() {  # of the shape, from the list of all
  "$hearth" synth --list | awk -v shape="$shape" '$1 == shape {
    unit = $(NF - 1); scale = unit == "GiB" ? 2^30 : unit == "MiB" ? 2^20 : 2^40
    printf "%.0f\n", $(NF - 2) * scale }'
}

choose_folder() {  # the first with room for so many bytes, else the one with most
  local one most=0 here
  for one in ${HEARTH_CHECK_FOLDER:-/dev/shm "${TMPDIR:-/tmp}"}; do
    here=$(free_bytes "$one")
    if [[ -w $one && ${here:-0} -gt $most ]]; then most=$here folder=$one; fi
    [[ $most -lt $1 ]] || break
  done
  folder=$(mktemp -d "$folder/hearth-XXXXXX")
}

write_model() {
  local room wanted size=()
  wanted=$(($(whole_bytes) * 11 / 10))
  choose_folder "$wanted"
  room=$(free_bytes "$folder")
  if [[ $wanted -gt $room ]]; then size=(--size $((room * 9 / 10))); fi
  [[ ${#part[@]} -eq 0 ]] || size=("${part[@]}")
  model=$folder/$shape.gguf
  local start=$SECONDS
  "$hearth" synth -o "$model" --shape "$shape" "${size[@]}" 2>"$work/synth" ||
    { tail -n 1 "$work/synth" >&2; exit 1; }
  layers=$("$hearth" inspect "$model" 2>/dev/null | sed -n 's/^shape *\([0-9]*\) layers.*/\1/p')
  printf '%s: %s of the random model written to %s in %d s%s\n' "$shape" \
    "$(numfmt --to=iec-i --suffix=B "$(stat -c %s "$model")")" "$folder" $((SECONDS - start)) \
    "$([[ ${#size[@]} -eq 0 ]] || echo "; $layers layers of it")"
  "$hearth" trace synth "${routing[@]}" --layers "$layers" -n 2048 -o "$work/routing" || exit 1
}

# ---- Runs ----------------------------------------------------------------------------------------

# field KEY: of lines of JSON
field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p"; }

# run SETTING FLAG...: the tests in one process; what fails is told, and is no figure.
run() {
  local setting=$1 ram=()
  shift
  [[ -z ${HEARTH_CHECK_RAM:-} ]] || ram=(--ram "$HEARTH_CHECK_RAM")
  if ! timeout --foreground -k 5 90 "$hearth" bench -m "$model" --device "$device" "${ram[@]}" \
      --routing "$work/routing" --fill random -d "$depths" -p "$prompt" -n "$generate" \
      -r "$repetitions" "${more[@]}" --direct off --lane-times -o jsonl "$@" >"$work/out" 2>"$work/err"; then
    printf '| %-14s | not measured: %s\n' "$setting" "$(grep -v '^note' "$work/err" | tail -n 1)"
    return 1
  fi
  sed "s/^{/{\"shape\":\"$shape\",\"setting\":\"$setting\",/" "$work/out" | tee -a "$work/records" >>"$records"
  tail -n "$(wc -l <"$work/out")" "$work/records" | print_rows
}

readonly titles='| setting        | test           |    tok/s |  hits | VRAM MB/t | of it | link MB/t | of it | CPU MB/t | VRAM ms | link ms | CPU ms | disk MB/t | launches | nodes | syncs | VRAM GiB | logits           |'
print_rows() {
  awk 'function get(key,  rest) {
      if (!match($0, "\"" key "\":")) return ""
      rest = substr($0, RSTART + RLENGTH)
      sub(/^"/, "", rest); sub(/[",}].*/, "", rest)
      return rest == "null" ? "" : rest
    }
    function percent(v) { return v == "" ? "-" : sprintf("%.0f %%", 100 * v) }
    function share(key) { return percent(get(key)) }
    # Of a prompt what its chunks found in VRAM, if it had any.
    function hits(  v) { v = get("n_gen") == 0 ? get("chunk_resident_share") : ""
      return percent(v == "" ? get("expert_hit_rate") : v) }
    function ms(key, more) { return get(key) == "" ? "-" : sprintf("%.2f", (get(key) + get(more)) / 1e6) }
    function mb(key,  v) { v = get(key); return v == "" ? "-" : sprintf("%.1f", v / 1e6) }
    { printf "| %-14s | %-14s | %8.2f | %5s | %9s | %5s | %9s | %5s | %8s | %7s | %7s | %6s | %9s | %8.2f | %5.0f | %5s | %8.2f | %16s |\n",
        get("setting"), get("test"), get("avg_ts"), hits(),
        mb("vram_read_bytes_per_token"), share("share_of_vram_peak"), mb("link_bytes_per_token"),
        share("share_of_link_peak"), mb("cpu_lane_bytes_per_token"), ms("hits_ns_per_token", "fetched_ns_per_token"),
        ms("link_ns_per_token"), ms("cpu_lane_ns_per_token"),
        mb("read_bytes_per_token"), get("launches_per_token"), get("nodes_per_token"), get("host_syncs_inside_steps"),
        get("vram_peak_bytes") / 2^30, get("logits_hash") }'
}

of_setting() { grep "\"setting\":\"$1\"" "$work/records" 2>/dev/null; }
decoded() { grep "\"test\":\"tg$generate @ d${depths%%,*}\""; }
prefilled() { grep "\"test\":\"pp$prompt @ d${depths%%,*}\""; }

run_all() {
  local all planned experts budget misses habit
  run all
  all=$(of_setting all | head -n 1)
  planned=$(field vram_planned <<<"$all") experts=$(field vram_planned_experts <<<"$all")
  if [[ -n $experts ]]; then
    run '60 %' --vram $((planned - experts * 2 / 5))
  fi
  for budget in "${budgets[@]}"; do run "$budget" --vram "$budget"; done
  [[ $short -eq 0 ]] || return 0
  for misses in link cpu; do run "${budgets[0]} $misses" --vram "${budgets[0]}" --misses "$misses"; done
  for habit in overlap ahead; do HEARTH_GPU_WITHOUT=$habit run "no $habit"; done
}

# ---- What is told in the end ---------------------------------------------------------------------

# Of as many layers on the CPU as leave the share of experts in VRAM that hearth had there.
run_llama() {
  local record slots experts on_cpu ours theirs
  [[ -n ${LLAMA_BENCH:-} ]] || return 0
  for budget in "${budgets[@]}"; do
    record=$(of_setting "$budget" | decoded)
    slots=$(field expert_slots <<<"$record") experts=$(field experts_total <<<"$record")
    [[ -n $slots ]] || continue
    on_cpu=$((layers - layers * slots / experts))
    theirs=$("$LLAMA_BENCH" -m "$model" -ngl 99 -ncmoe "$on_cpu" -p 0 -n "$generate" \
      -d "${depths%%,*}" -r "$repetitions" -o jsonl 2>/dev/null | field avg_ts)
    ours=$(field avg_ts <<<"$record")
    awk -v o="$ours" -v t="${theirs:-0}" -v n="$on_cpu" -v b="$budget" 'BEGIN {
      printf "%s: %.2f tok/s, llama.cpp with --n-cpu-moe %d %.2f: %s times\n", b, o, n, t,
        t > 0 ? sprintf("%.2f", o / t) : "-" }'
  done
}

# A prompt is bound by the link, or by what computes it: as fast as with all experts in VRAM.
print_prompts() {
  local setting record all
  all=$(of_setting all | prefilled | field avg_ts)
  for setting in '60 %' "${budgets[@]}"; do
    record=$(of_setting "$setting" | prefilled)
    [[ -z $record ]] ||
      awk -v s="$setting" -v a="$all" -v o="$(field avg_ts <<<"$record")" \
        -v l="$(field share_of_link_peak <<<"$record")" 'BEGIN {
          c = a > 0 ? o / a : 0
          link = l == "null" ? "-" : sprintf("%.0f %%", 100 * l)
          printf "%s: a prompt has %.0f %% of its bound: %s of the link, %.0f %% of the speed with all in VRAM\n",
            s, 100 * (l + 0 > c ? l : c), link, 100 * c }'
  done
}

print_ratios() {
  local all=$1 setting one
  for setting in '60 %' "${budgets[@]}"; do
    one=$(of_setting "$setting" | decoded | field avg_ts)
    [[ -z $one || -z $all ]] ||
      awk -v s="$setting" -v a="$all" -v o="$one" 'BEGIN { printf "%s: %.0f %% of the speed with all in VRAM\n", s, 100 * o / a }'
  done
  for setting in 'no overlap' 'no ahead'; do
    one=$(of_setting "$setting" | decoded | field avg_ts)
    [[ -z $one || -z $all ]] ||
      awk -v s="$setting" -v a="$all" -v o="$one" 'BEGIN { printf "%s: all is %.3f times as fast\n", s, a / o }'
  done
  one=$(of_setting all | decoded | field share_of_vram_peak)
  [[ -z $one || $one == null ]] ||
    awk -v o="$one" 'BEGIN { printf "all: %.0f %% of what the memory of the card gives\n", 100 * o }'
}

# The same tokens behind the same context, whatever was where.
compare_logits() {
  local test tests hashes differ=0
  mapfile -t tests < <(field test <"$work/records" | sort -u)
  for test in "${tests[@]}"; do
    hashes=$(grep -F "\"test\":\"$test\"" "$work/records" | field logits_hash | sort -u | wc -l)
    if [[ $hashes -gt 1 ]]; then echo "$test: the logits differ between settings"; differ=1; fi
  done
  return $differ
}

: >"$work/records"
write_model
printf '\n%s\n%s\n' "$titles" "$(sed 's/[^|]/-/g' <<<"$titles")"
run_all
echo
print_ratios "$(of_setting all | decoded | field avg_ts)"
print_prompts
run_llama
if [[ ! -s $work/records ]]; then echo "gpu-models.sh: nothing was measured" >&2; exit 1; fi
compare_logits

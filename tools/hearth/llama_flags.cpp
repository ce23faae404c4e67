#include "tools/hearth/llama_flags.h"

namespace hearth::tools {
namespace {

constexpr std::string_view kNoLayers =
    "a GPU computes all layers, and holds what its budget allows; use --vram, or --device none for "
    "the CPU alone";
constexpr std::string_view kOneDevice = "one GPU computes; name it with --device";
constexpr std::string_view kKvPlace =
    "keys and values are where layers are computed; choose that with --device";
constexpr std::string_view kByBudget =
    "experts are placed by budget, not by layer or pattern; use --ram, and --vram on a GPU";
constexpr std::string_view kOwnReads =
    "experts are read with direct I/O into an arena, never mapped; bound the arena with --ram";
constexpr std::string_view kFused =
    "attention is always of the fused kind, with the same result; leave it out";
constexpr std::string_view kNoDownload = "nothing is downloaded; fetch the file and use --model";
constexpr std::string_view kNoShift =
    "the context is never shifted or trimmed in silence; raise --ctx-size instead";
constexpr std::string_view kPlainSampling =
    "only penalties, top-k, top-p, min-p and temperature are implemented; use --min-p";
constexpr std::string_view kOwnSessions =
    "a session is kept with --session FILE: the prompt goes on after what it holds, and it is "
    "written at the end";
constexpr std::string_view kNoGrammar = "constrained output is not implemented; leave it out";
constexpr std::string_view kOnStandardError =
    "all messages go to standard error; redirect it with 2>FILE";
constexpr std::string_view kPlainThreads =
    "threads are placed by the system; use --threads, and taskset or numactl around the command";

constexpr LlamaFlag kFlags[] = {
    // Model and prompt
    {"-hf -hfr --hf-repo", kNoDownload},
    {"-hff --hf-file", kNoDownload},
    {"-hft --hf-token", kNoDownload},
    {"-mu --model-url", kNoDownload},
    {"--offline", kNoDownload},
    {"-sys --system-prompt", ""},
    {"-sysf --system-prompt-file", ""},
    {"--n-predict --predict", ""},
    {"--keep", kNoShift},
    {"--context-shift", kNoShift},
    {"--no-context-shift", kNoShift},
    {"--reverse-prompt", ""},
    {"--prompt-cache", kOwnSessions},
    {"--prompt-cache-all", kOwnSessions},
    {"--prompt-cache-ro", kOwnSessions},
    {"--ignore-eos", ""},
    {"-sp --special", ""},
    {"--no-escape", ""},
    {"--stdin", "standard input is read where there is no --prompt and no --file; leave it out"},
    // Chat
    {"-cnv --conversation", ""},
    {"-no-cnv --no-conversation", ""},
    {"-st --single-turn", ""},
    {"--jinja", ""},
    {"--chat-template", ""},
    {"--chat-template-file", ""},
    {"-rea --reasoning", ""},
    {"--reasoning-budget", ""},
    // Context and batches
    {"--ctx-size", ""},
    {"--batch-size", ""},
    {"-ub --ubatch-size", ""},
    {"-np --parallel", "one sequence is computed at a time; leave it out"},
    // Threads
    {"--threads", ""},
    {"-tb --threads-batch", "prefill and decode share one pool; use --threads"},
    {"--cpu-mask", kPlainThreads},
    {"-Cr --cpu-range", kPlainThreads},
    {"--cpu-strict", kPlainThreads},
    {"--prio", kPlainThreads},
    {"--poll", kPlainThreads},
    {"--numa", kPlainThreads},
    // KV cache
    {"-ctk --cache-type-k", ""},
    {"-ctv --cache-type-v", ""},
    {"-kvo --kv-offload", kKvPlace},
    {"-nkvo --no-kv-offload", kKvPlace},
    {"-fa --flash-attn", kFused},
    {"-kvu --kv-unified", "one sequence is computed at a time; leave it out"},
    // Placement
    {"-ngl --n-gpu-layers --gpu-layers", kNoLayers},
    {"-sm --split-mode", kOneDevice},
    {"-ts --tensor-split", kOneDevice},
    {"-mg --main-gpu", kOneDevice},
    {"-dev --device", ""},
    {"--list-devices", ""},
    {"-cmoe --cpu-moe", kByBudget},
    {"-ncmoe --n-cpu-moe", kByBudget},
    {"-ot --override-tensor", kByBudget},
    {"-fit --fit", kByBudget},
    {"-fitt --fit-target", kByBudget},
    {"-fitc --fit-ctx", kByBudget},
    {"--moe-cache-mib", "it counts MiB of GPU memory; use --vram"},
    // Loading
    {"-lm --load-mode", kOwnReads},
    {"--mmap", kOwnReads},
    {"--no-mmap", kOwnReads},
    {"--mlock", kOwnReads},
    {"-dio --direct-io", kOwnReads},
    {"-ndio --no-direct-io", kOwnReads},
    {"-nr --no-repack", "weights are computed as they lie in the file; leave it out"},
    {"--check-tensors", "logits are checked for finite values on every token; leave it out"},
    {"--override-kv", "metadata is taken from the file; change the file instead"},
    {"--no-warmup", ""},
    // Sampling
    {"--samplers", kPlainSampling},
    {"--sampler-seq --sampling-seq", kPlainSampling},
    {"--seed", ""},
    {"--temperature --temp", ""},
    {"--top-k", ""},
    {"--top-p", ""},
    {"--min-p", ""},
    {"--typical-p --typical", kPlainSampling},
    {"--xtc-probability", kPlainSampling},
    {"--xtc-threshold", kPlainSampling},
    {"--dry-multiplier", kPlainSampling},
    {"--dry-base", kPlainSampling},
    {"--dry-allowed-length", kPlainSampling},
    {"--mirostat", kPlainSampling},
    {"--mirostat-lr", kPlainSampling},
    {"--mirostat-ent", kPlainSampling},
    {"--repeat-penalty", ""},
    {"--repeat-last-n", ""},
    {"--presence-penalty", ""},
    {"--frequency-penalty", ""},
    {"--logit-bias", kPlainSampling},
    {"--grammar", kNoGrammar},
    {"--grammar-file", kNoGrammar},
    {"--json-schema", kNoGrammar},
    {"-jf --json-schema-file", kNoGrammar},
    // Messages
    {"--verbose", ""},
    {"-lv --log-verbosity --verbosity", ""},
    {"--log-file", kOnStandardError},
    {"--log-disable", kOnStandardError},
    {"--log-colors", "colour follows the terminal; set NO_COLOR to turn it off"},
    {"--log-prefix", kOnStandardError},
    {"--log-timestamps", kOnStandardError},
    {"--perf", "the figures of a run are always printed, on standard error; leave it out"},
    {"--no-perf", kOnStandardError},
    // Evaluation
    {"-pg --n-prompt-gen", ""},
    {"--ppl-stride", "chunks do not overlap, as by default; leave it out"},
    {"--kl-divergence", ""},
    {"--kl-divergence-base", ""},
    {"--chunks", ""},
};

bool contains_word(std::string_view words, std::string_view word) {
  for (std::size_t at = words.find(word); at != words.npos; at = words.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || words[at - 1] == ' ') && (end == words.size() || words[end] == ' '))
      return true;
  }
  return false;
}

}  // namespace

const LlamaFlag* find_llama_flag(std::string_view spelling) {
  for (const LlamaFlag& flag : kFlags)
    if (contains_word(flag.spellings, spelling)) return &flag;
  return nullptr;
}

}  // namespace hearth::tools

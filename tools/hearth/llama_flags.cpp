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
constexpr std::string_view kOneLevel =
    "messages have one level; hearth inspect and hearth plan tell more";
constexpr std::string_view kOnStandardError =
    "all messages go to standard error; redirect it with 2>FILE";
constexpr std::string_view kPlainThreads =
    "threads are placed by the system; use --threads, and taskset or numactl around the command";
constexpr std::string_view kOnePool = "prefill and decode share one pool; use --threads";
constexpr std::string_view kOwnRope =
    "positions are scaled as the file says; change its metadata instead";
constexpr std::string_view kNoAdapters =
    "adapters and control vectors are not applied; merge them into the model first";
constexpr std::string_view kNoDraft = "one model decodes, a token at a time; leave it out";
constexpr std::string_view kTextOnly = "text is all that is read; leave it out";
constexpr std::string_view kNoServer =
    "there is no server yet; use hearth run, hearth chat, or libhearth in a program";
constexpr std::string_view kTwoCommands =
    "hearth chat is always a conversation, and hearth run never is; leave it out";
constexpr std::string_view kLines =
    "hearth chat reads a line for a message, and from a terminal edits it; leave it out";

constexpr LlamaFlag kFlags[] = {
    // Model and prompt
    {"-hf -hfr --hf-repo", kNoDownload},
    {"-hff --hf-file", kNoDownload},
    {"-hft --hf-token", kNoDownload},
    {"-mu --model-url", kNoDownload},
    {"--offline", kNoDownload},
    {"-sys --system-prompt", ""},
    {"-sysf --system-prompt-file", "the text itself is taken; use --system \"$(cat FILE)\""},
    {"--predict --n-predict", ""},
    {"-bf --binary-file", "a prompt is text; use --file"},
    {"--verbose-prompt", "hearth tokenize shows the tokens of a prompt; leave it out"},
    {"--no-display-prompt", "a prompt is never printed; leave it out"},
    {"--display-prompt", "a prompt is never printed; leave it out"},
    {"--keep", kNoShift},
    {"--context-shift", kNoShift},
    {"--no-context-shift", kNoShift},
    {"--reverse-prompt", "a text ends where the model ends it, or with --n-predict; leave it out"},
    {"--prompt-cache", kOwnSessions},
    {"--prompt-cache-all", kOwnSessions},
    {"--prompt-cache-ro", kOwnSessions},
    {"--ignore-eos", ""},
    {"-sp --special", ""},
    {"--no-escape", ""},
    {"--stdin", "standard input is read where there is no --prompt and no --file; leave it out"},
    // Chat
    {"-cnv --conversation", kTwoCommands},
    {"-no-cnv --no-conversation", kTwoCommands},
    {"-st --single-turn", "a conversation ends with its input; pipe one message into hearth chat"},
    {"--interactive", "hearth chat is interactive; use it instead"},
    {"-if --interactive-first", "hearth chat is interactive; use it instead"},
    {"-mli --multiline-input", kLines},
    {"--simple-io", kLines},
    {"--in-prefix", "hearth chat marks messages by the chat template; use it instead"},
    {"--in-suffix", "hearth chat marks messages by the chat template; use it instead"},
    {"-co --color", "colour follows the terminal; set NO_COLOR to turn it off"},
    {"--jinja", "hearth chat always uses the template as Jinja; leave it out"},
    {"--no-jinja", "hearth chat always uses the template as Jinja; use --chat-template"},
    {"--chat-template-file --chat-template", ""},
    {"--chat-template-kwargs", "a template is told of thinking alone; use --reasoning"},
    {"-rea --reasoning", ""},
    {"--reasoning-format", "thinking is shown as it comes, dimmed on a terminal; leave it out"},
    {"--reasoning-budget", "thinking is not cut; use --reasoning off, or --n-predict for all"},
    // Context and batches
    {"--ctx-size", ""},
    {"--batch-size", ""},
    {"-ub --ubatch-size", ""},
    {"--swa-full", "a window of attention is kept as the model has it; leave it out"},
    {"-dt --defrag-thold", "keys and values lie without gaps; leave it out"},
    {"--rope-scaling", kOwnRope},
    {"--rope-scale", kOwnRope},
    {"--rope-freq-base", kOwnRope},
    {"--rope-freq-scale", kOwnRope},
    {"--yarn-orig-ctx", kOwnRope},
    {"--yarn-ext-factor", kOwnRope},
    {"--yarn-attn-factor", kOwnRope},
    {"--yarn-beta-slow", kOwnRope},
    {"--yarn-beta-fast", kOwnRope},
    {"-np --parallel", "one sequence is computed at a time; leave it out"},
    // Threads
    {"--threads", ""},
    {"-tb --threads-batch", kOnePool},
    {"--cpu-mask", kPlainThreads},
    {"-Cr --cpu-range", kPlainThreads},
    {"--cpu-strict", kPlainThreads},
    {"--prio", kPlainThreads},
    {"--poll", kPlainThreads},
    {"--numa", kPlainThreads},
    {"-Cb --cpu-mask-batch", kOnePool},
    {"-Crb --cpu-range-batch", kOnePool},
    {"--cpu-strict-batch", kOnePool},
    {"--prio-batch", kOnePool},
    {"--poll-batch", kOnePool},
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
    {"--op-offload", kKvPlace},
    {"--no-op-offload", kKvPlace},
    {"--no-host", kByBudget},
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
    {"--lora", kNoAdapters},
    {"--lora-scaled", kNoAdapters},
    {"--control-vector", kNoAdapters},
    {"--control-vector-scaled", kNoAdapters},
    {"--control-vector-layer-range", kNoAdapters},
    {"-md --model-draft", kNoDraft},
    {"--draft-max --draft", kNoDraft},
    {"--draft-min --draft-n-min", kNoDraft},
    {"-ctkd --cache-type-k-draft", kNoDraft},
    {"-ctvd --cache-type-v-draft", kNoDraft},
    {"-mm --mmproj", kTextOnly},
    {"--no-mmproj", kTextOnly},
    {"--image", kTextOnly},
    {"--audio", kTextOnly},
    {"--host", kNoServer},
    {"--port", kNoServer},
    {"--api-key", kNoServer},
    {"--alias", kNoServer},
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
    {"--log-verbose --verbose", kOneLevel},
    {"-lv --log-verbosity --verbosity", kOneLevel},
    {"--log-file", kOnStandardError},
    {"--log-disable", kOnStandardError},
    {"--log-colors", "colour follows the terminal; set NO_COLOR to turn it off"},
    {"--log-prefix", kOnStandardError},
    {"--log-timestamps", kOnStandardError},
    {"--version", "it stands alone; use hearth --version"},
    {"--perf", "the figures of a run are always printed, on standard error; leave it out"},
    {"--no-perf", kOnStandardError},
    // Evaluation
    {"-pg --n-prompt-gen", ""},
    {"--ppl-stride", "chunks do not overlap, as by default; leave it out"},
    {"--kl-divergence", "hearth kld is what measures it; use it with --base"},
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

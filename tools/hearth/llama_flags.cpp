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
constexpr std::string_view kPlainLines =
    "messages are lines on standard error, without a prefix or a time; leave it out";
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
constexpr std::string_view kOnePrompt =
    "a prompt is for hearth run; in hearth chat, type a message, pipe it in, or /read FILE";
constexpr std::string_view kNoEmbeddings = "embeddings are not computed; leave it out";
constexpr std::string_view kNoTools = "hearth chat calls no tools; leave it out";
constexpr std::string_view kTextsAlone =
    "texts are scored, and no tasks; use hearth perplexity, or hearth kld";
constexpr std::string_view kNoPromptCache =
    "no prompts are kept beside the session; use --session FILE";
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
    {"-dr --docker-repo", kNoDownload},
    {"-cl --cache-list", kNoDownload},
    {"--embd-gemma-default --fim-qwen-1.5b-default --fim-qwen-3b-default --fim-qwen-7b-default "
     "--fim-qwen-14b-spec --fim-qwen-7b-spec --fim-qwen-30b-default --gpt-oss-20b-default "
     "--gpt-oss-120b-default --vision-gemma-4b-default --vision-gemma-12b-default --spec-default",
     kNoDownload},
    {"-p --prompt", kOnePrompt},
    {"-f --file", kOnePrompt},
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
    {"-r --reverse-prompt",
     "a text ends where the model ends it, or with --n-predict; leave it out"},
    {"--prompt-cache", kOwnSessions},
    {"--prompt-cache-all", kOwnSessions},
    {"--prompt-cache-ro", kOwnSessions},
    {"--ignore-eos", ""},
    {"-sp --special", ""},
    {"-e --escape", ""},
    {"--no-escape", ""},
    {"--stdin", "standard input is read where there is no --prompt and no --file; leave it out"},
    // Chat
    {"-cnv --conversation", kTwoCommands},
    {"-no-cnv --no-conversation", kTwoCommands},
    {"-st --single-turn", "a conversation ends with its input; pipe one message into hearth chat"},
    {"-i --interactive", "hearth chat is interactive; use it instead"},
    {"-if --interactive-first", "hearth chat is interactive; use it instead"},
    {"-mli --multiline-input", kLines},
    {"--simple-io", kLines},
    {"--in-prefix", "hearth chat marks messages by the chat template; use it instead"},
    {"--in-prefix-bos", "hearth chat marks messages by the chat template; use it instead"},
    {"--in-suffix", "hearth chat marks messages by the chat template; use it instead"},
    {"-co --color", "colour follows the terminal; set NO_COLOR to turn it off"},
    {"--jinja", "hearth chat always uses the template as Jinja; leave it out"},
    {"--no-jinja", "hearth chat always uses the template as Jinja; use --chat-template"},
    {"--chat-template-file --chat-template", ""},
    {"--chat-template-kwargs", "a template is told of thinking alone; use --reasoning"},
    {"-rea --reasoning", ""},
    {"--reasoning-format", "thinking is shown as it comes, dimmed on a terminal; leave it out"},
    {"--reasoning-budget", "thinking is not cut; use --reasoning off, or --n-predict for all"},
    {"--reasoning-budget-message", "thinking is not cut; leave it out"},
    {"--reasoning-effort", "a template is told of thinking alone; use --reasoning"},
    {"--reasoning-preserve", "the template says which thinking stays; use --chat-template"},
    {"--no-reasoning-preserve", "the template says which thinking stays; use --chat-template"},
    {"--skip-chat-parsing", "a reply is shown as it comes; leave it out"},
    {"--no-skip-chat-parsing", "a reply is shown as it comes; leave it out"},
    {"-ag --agent", kNoTools},
    {"-no-ag --no-agent", kNoTools},
    {"--tools", kNoTools},
    {"--mcp-servers-config --mcp-servers-json", kNoTools},
    {"--spm-infill", "text is only continued, never filled in; leave it out"},
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
    {"-gan --grp-attn-n", kOwnRope},
    {"-gaw --grp-attn-w", kOwnRope},
    {"-cram --cache-ram", kNoPromptCache},
    {"--cache-prompt --no-cache-prompt --cache-reuse --cache-idle-slots --no-cache-idle-slots",
     kNoPromptCache},
    {"-cms --checkpoint-min-step", kNoPromptCache},
    {"-ctxcp --swa-checkpoints --ctx-checkpoints", kNoPromptCache},
    {"-np --parallel", "one sequence is computed at a time; leave it out"},
    {"-ns --sequences", "one sequence is computed at a time; leave it out"},
    {"-cb --cont-batching", "one sequence is computed at a time; leave it out"},
    {"-nocb --no-cont-batching", "one sequence is computed at a time; leave it out"},
    // Threads
    {"--threads", ""},
    {"-tb --threads-batch", kOnePool},
    {"-C --cpu-mask", kPlainThreads},
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
    {"-no-kvu --no-kv-unified", "one sequence is computed at a time; leave it out"},
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
    {"-fitp --fit-print", "hearth plan says what fits, before anything is read; use it instead"},
    {"--rpc", "one machine computes, with the GPU that --device names; leave it out"},
    {"--moe-cache-mib", "it counts MiB of GPU memory; use --vram"},
    // Loading
    {"-lm --load-mode", kOwnReads},
    {"--mmap", kOwnReads},
    {"--no-mmap", kOwnReads},
    {"--mlock", kOwnReads},
    {"-dio --direct-io", kOwnReads},
    {"-ndio --no-direct-io", kOwnReads},
    {"--repack", "weights are computed as they lie in the file; leave it out"},
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
    {"--draft-n --draft-n-max", kNoDraft},
    {"--draft-p-min --draft-p-split", kNoDraft},
    {"-hfd -hfrd --hf-repo-draft --spec-draft-hf", kNoDraft},
    {"-td --threads-draft --spec-draft-threads", kNoDraft},
    {"-tbd --threads-batch-draft --spec-draft-threads-batch", kNoDraft},
    {"-Cd --cpu-mask-draft --spec-draft-cpu-mask", kNoDraft},
    {"-Crd --cpu-range-draft --spec-draft-cpu-range", kNoDraft},
    {"--cpu-strict-draft --spec-draft-cpu-strict", kNoDraft},
    {"--prio-draft --spec-draft-prio", kNoDraft},
    {"--poll-draft --spec-draft-poll", kNoDraft},
    {"-Cbd --cpu-mask-batch-draft --spec-draft-cpu-mask-batch", kNoDraft},
    {"-Crbd --cpu-range-batch-draft --spec-draft-cpu-range-batch", kNoDraft},
    {"--cpu-strict-batch-draft --spec-draft-cpu-strict-batch", kNoDraft},
    {"--prio-batch-draft --spec-draft-prio-batch", kNoDraft},
    {"--poll-batch-draft --spec-draft-poll-batch", kNoDraft},
    {"-cd --ctx-size-draft", kNoDraft},
    {"-devd --device-draft --spec-draft-device", kNoDraft},
    {"-ngld --gpu-layers-draft --n-gpu-layers-draft --spec-draft-ngl", kNoDraft},
    {"-otd --override-tensor-draft --spec-draft-override-tensor", kNoDraft},
    {"-cmoed --cpu-moe-draft --spec-draft-cpu-moe", kNoDraft},
    {"-ncmoed --n-cpu-moe-draft --spec-draft-ncmoe --spec-draft-n-cpu-moe", kNoDraft},
    {"-ctkd --cache-type-k-draft --spec-draft-type-k", kNoDraft},
    {"-ctvd --cache-type-v-draft --spec-draft-type-v", kNoDraft},
    {"--spec-draft-model --spec-draft-n-max --spec-draft-n-min --spec-draft-p-min "
     "--spec-draft-p-split --spec-draft-backend-sampling --no-spec-draft-backend-sampling",
     kNoDraft},
    {"--spec-type --spec-ngram-size-n --spec-ngram-size-m --spec-ngram-min-hits "
     "--spec-ngram-simple-size-n --spec-ngram-simple-size-m --spec-ngram-simple-min-hits "
     "--spec-ngram-map-k-size-n --spec-ngram-map-k-size-m --spec-ngram-map-k-min-hits "
     "--spec-ngram-map-k4v-size-n --spec-ngram-map-k4v-size-m --spec-ngram-map-k4v-min-hits "
     "--spec-ngram-mod-n-match --spec-ngram-mod-n-max --spec-ngram-mod-n-min",
     kNoDraft},
    {"-lcs --lookup-cache-static", kNoDraft},
    {"-lcd --lookup-cache-dynamic", kNoDraft},
    {"--mtp --dflash --eagle3", kNoDraft},
    {"-mm --mmproj", kTextOnly},
    {"--no-mmproj", kTextOnly},
    {"-mmu --mmproj-url", kTextOnly},
    {"--mmproj-auto --no-mmproj-auto --mmproj-offload --no-mmproj-offload", kTextOnly},
    {"-mmdev --mmproj-device", kTextOnly},
    {"--image", kTextOnly},
    {"--image-min-tokens --image-max-tokens", kTextOnly},
    {"--audio", kTextOnly},
    {"--video", kTextOnly},
    {"--host", kNoServer},
    {"--port", kNoServer},
    {"--api-key", kNoServer},
    {"-a --alias", kNoServer},
    {"--api-key-file --api-prefix --ssl-key-file --ssl-cert-file --path --reuse-port", kNoServer},
    {"-to --timeout", kNoServer},
    {"--threads-http", kNoServer},
    {"--slots --no-slots --slot-save-path", kNoServer},
    {"-sps --slot-prompt-similarity", kNoServer},
    {"--metrics --props --ui --no-ui --webui --no-webui", kNoServer},
    {"--embedding --embeddings", kNoEmbeddings},
    {"--pooling --attention --embd-normalize --embd-output-format --embd-separator", kNoEmbeddings},
    {"--rerank --reranking", kNoEmbeddings},
    {"--no-warmup", ""},
    {"--warmup", "hearth bench warms up unless there is --no-warmup; leave it out"},
    // Sampling
    {"--samplers", kPlainSampling},
    {"--sampler-seq --sampling-seq", kPlainSampling},
    {"--seed", ""},
    {"--temperature --temp", ""},
    {"--top-k", ""},
    {"--top-p", ""},
    {"--min-p", ""},
    {"--typical-p --typical", kPlainSampling},
    {"--top-nsigma --top-n-sigma", kPlainSampling},
    {"--dynatemp-range", kPlainSampling},
    {"--dynatemp-exp", kPlainSampling},
    {"--adaptive-target --adaptive-decay", kPlainSampling},
    {"-bs --backend-sampling", kPlainSampling},
    {"--xtc-probability", kPlainSampling},
    {"--xtc-threshold", kPlainSampling},
    {"--dry-multiplier", kPlainSampling},
    {"--dry-base", kPlainSampling},
    {"--dry-allowed-length", kPlainSampling},
    {"--dry-penalty-last-n", kPlainSampling},
    {"--dry-sequence-breaker", kPlainSampling},
    {"--mirostat", kPlainSampling},
    {"--mirostat-lr", kPlainSampling},
    {"--mirostat-ent", kPlainSampling},
    {"--repeat-penalty", ""},
    {"--repeat-last-n", ""},
    {"--presence-penalty", ""},
    {"--frequency-penalty", ""},
    {"-l --logit-bias", kPlainSampling},
    {"--grammar", kNoGrammar},
    {"--grammar-file", kNoGrammar},
    {"-j --json-schema", kNoGrammar},
    {"-jf --json-schema-file", kNoGrammar},
    // Messages
    {"-v --log-verbose --verbose", kOneLevel},
    {"-lv --log-verbosity --verbosity", kOneLevel},
    {"--log-file", kOnStandardError},
    {"--log-disable", kOnStandardError},
    {"--log-colors", "colour follows the terminal; set NO_COLOR to turn it off"},
    {"--log-prefix", kPlainLines},
    {"--no-log-prefix", kPlainLines},
    {"--log-timestamps", kPlainLines},
    {"--no-log-timestamps", kPlainLines},
    {"--log-prompts-dir", "prompts are not recorded; leave it out"},
    {"--version", "it stands alone; use hearth --version"},
    {"--usage", "every subcommand has --help; use that"},
    {"--completion-bash", "hearth manual writes completions; use it instead"},
    {"--perf", "hearth run prints its figures unless there is --no-report; leave it out"},
    {"--no-perf", "hearth run prints its figures on standard error; use --no-report"},
    {"--show-timings", "hearth chat tells the figures of a reply after /stats; leave it out"},
    {"--no-show-timings", "hearth chat tells the figures of a reply after /stats; leave it out"},
    // Evaluation
    {"-pg --n-prompt-gen", ""},
    {"--ppl-stride", "chunks do not overlap, as by default; leave it out"},
    {"--kl-divergence", "hearth kld is what measures it; use it with --base"},
    {"--kl-divergence-base", ""},
    {"--chunks", ""},
    {"--hellaswag --hellaswag-tasks --winogrande --winogrande-tasks --multiple-choice "
     "--multiple-choice-tasks",
     kTextsAlone},
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

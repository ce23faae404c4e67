#include "runtime/engine.h"

#include <algorithm>
#include <thread>

#include "base/error.h"
#include "profiler/cache_policy.h"

namespace hearth::runtime {
namespace {

std::uint32_t thread_count(std::uint32_t wanted) {
  return wanted > 0 ? wanted : std::max(1u, std::thread::hardware_concurrency());
}

std::uint32_t context_length(std::uint32_t wanted, const ModelConfig& config) {
  return wanted > 0 ? wanted : std::min(config.context_train, kDefaultContext);
}

void check_vocabulary(const io::GgufFile& file, const ModelConfig& config, std::size_t tokens) {
  if (tokens != config.vocabulary)
    throw_error(ErrorCode::kBadFile,
                "{}: the tokenizer has {} tokens but token_embd.weight has {} rows; the file does "
                "not match itself",
                file.name(), tokens, config.vocabulary);
}

}  // namespace

std::optional<io::BlockShape> block_shape_of(std::uint32_t gguf_type) {
  const auto format = kernels::format_of_gguf_type(gguf_type);
  if (!format) return std::nullopt;
  const kernels::WeightFormatTraits& traits = kernels::traits(*format);
  return io::BlockShape{traits.values_per_block, traits.bytes_per_block};
}

Engine::Engine(const EngineOptions& options)
    : ram_is_bounded_(options.budget.ram.has_value()),
      clock_(steady_clock()),
      kernels_(kernels::cpu_kernels(kernels::best_instruction_set())),
      file_(io::GgufFile::open(options.model_path, block_shape_of)),
      model_(build_model(file_)),
      tokenizer_(Tokenizer::from_metadata(file_.metadata())),
      pool_(thread_count(options.threads)) {
  check_vocabulary(file_, model_->config, tokenizer_->size());
  reader_ = options.open_reader(file_.paths(), options.io);
  const std::uint32_t context = context_length(options.context, model_->config);
  plan_ =
      plan_memory(*model_, {.budget = options.budget,
                            .context = context,
                            .batch = std::clamp(options.batch, 1u, std::min(context, kMaxBatch)),
                            .threads = pool_.threads(),
                            .alignment = reader_->alignment(),
                            .process = resident_memory(),
                            .available = available_memory()});
  choose_policy(options);
  dense_ = io::Arena(plan_.dense);
  const Bytes all = model_->weights.weight_bytes();
  model_->weights.load(*reader_, dense_, [&](Bytes done) {
    if (options.progress) options.progress(done, all);
  });
  experts_ =
      std::make_unique<ExpertStore>(file_, model_->experts, *reader_,
                                    ExpertStore::Options{.policy = policy_,
                                                         .slots_of_class = plan_.slots_of_class,
                                                         .max_reads = options.io.max_queued},
                                    clock_);
  const bool all_fit = plan_.expert_slots == plan_.experts_total;
  prefetcher_ = std::make_unique<Prefetcher>(
      *experts_, Prefetcher::Options{.enabled = options.prefetch && !all_fit,
                                     .experts_used = model_->config.experts_used});
}

std::span<const std::byte> Engine::largest_arena() const {
  const auto experts = experts_->memory();
  return experts.size() > dense_.bytes().size() ? experts : dense_.bytes();
}

void Engine::choose_policy(const EngineOptions& options) {
  const auto names = profiler::policy_names();
  if (options.policy == "auto") {
    policy_ = profiler::recommend_policy();
    return;
  }
  policy_ = options.policy;
  if (std::find(names.begin(), names.end(), policy_) != names.end()) return;
  std::string known;
  for (const std::string_view name : names) known += fmt::format(", {}", name);
  throw_error(ErrorCode::kUsage, "unknown cache policy {}; known are auto{}", printable(policy_),
              known);
}

}  // namespace hearth::runtime

#include "runtime/plan_input.h"

#include <algorithm>

#include "base/error.h"
#include "runtime/cores.h"
#include "runtime/model_needs.h"

namespace hearth::runtime {
namespace {

// A profile as it is parsed, and what is kept of it: 890 bytes were measured, of few tokens.
constexpr Bytes kPerProfiledExpert = Bytes(1000);

std::uint32_t context_length(std::uint32_t wanted, const ModelConfig& config) {
  return wanted > 0 ? wanted : std::min(config.context_train, kDefaultContext);
}

// A format that no position is ever read in would only cost memory.
void check_tail(const KvFormats& kv, std::uint32_t context) {
  if (!kv.quantized() || kv.least_context() <= context) return;
  throw_error(
      ErrorCode::kUsage,
      "the newest {} of the {} tokens of the context stay in f16, which leaves nothing to {} for "
      "keys and {} for values: they need {}; lower --kv-tail, raise --ctx-size, or use f16",
      kv.tail, context, kernels::traits(kv.keys).name, kernels::traits(kv.values).name,
      kv.least_context());
}

}  // namespace

std::uint32_t thread_count(std::uint32_t wanted) { return wanted > 0 ? wanted : available_cores(); }

KvFormats kv_formats_of(const EngineOptions& options) {
  KvFormats formats{.keys = options.key_format, .values = options.value_format};
  if (!formats.quantized()) return formats;
  formats.tail = options.kv_tail.value_or(kDefaultKvTail);
  formats.rotated = options.kv_rotation;
  return formats;
}

PlanInput plan_input(const io::GgufFile& file, const Model& model, const EngineOptions& options,
                     std::uint64_t alignment, bool has_profile) {
  const std::uint32_t context = context_length(options.context, model.config);
  const std::uint32_t threads = thread_count(options.threads);
  const KvFormats kv = kv_formats_of(options);
  check_tail(kv, context);
  PlanInput input{
      .needs = model_needs(file, model,
                           {.batch = std::clamp(options.batch, 1u, std::min(context, kMaxBatch)),
                            .threads = threads,
                            .alignment = alignment,
                            .kv = kv}),
      .request = {.budget = options.budget,
                  .context = context,
                  .threads = threads,
                  .policy = options.policy,
                  .prefetch = options.prefetch}};
  if (has_profile) input.needs.process += kPerProfiledExpert * model.experts.total();
  return input;
}

}  // namespace hearth::runtime

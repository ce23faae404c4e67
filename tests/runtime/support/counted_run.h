// What Hearth itself counts when it runs tokens through a model.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "profiler/expert_profile.h"
#include "runtime/engine.h"
#include "runtime/model_identity.h"
#include "runtime/session.h"

namespace hearth::testing {

// Evaluates the tokens in steps of at most `batch`, from an empty timeline. `listen` sees every
// decision, too.
template <typename Listen>
profiler::ExpertProfile counted_run(const std::string& model, std::span<const TokenId> tokens,
                                    std::uint32_t batch, const std::string& workload,
                                    Listen listen) {
  runtime::Engine engine({.model_path = model,
                          .budget = {.expert_share = 1.0},
                          .context = static_cast<std::uint32_t>(tokens.size()),
                          .batch = batch,
                          .threads = 2});
  std::vector<std::uint32_t> counts;
  for (std::uint32_t i = 0; i < engine.model().experts.layers(); ++i)
    counts.push_back(engine.model().experts.layer(static_cast<LayerIndex>(i)).count);
  profiler::ProfileRecorder recorder(
      profiler::empty_profile(runtime::identity_of(engine.file()), counts), workload);
  runtime::Session session(engine);
  session.on_routed([&](const profiler::Routing& routing) {
    recorder.observe(routing);
    listen(routing);
  });
  session.evaluate(tokens);
  return recorder.profile();
}

}  // namespace hearth::testing

#include "runtime/trace_header.h"

namespace hearth::runtime {

profiler::TraceHeader trace_header_of(const Model& model, const profiler::ModelIdentity& identity,
                                      const std::string& workload) {
  profiler::TraceHeader header{.model = identity,
                               .workload = workload,
                               .origin = "recorded",
                               .experts_per_row = model.config.experts_used};
  for (std::uint32_t l = 0; l < model.experts.layers(); ++l) {
    const auto layer = static_cast<LayerIndex>(l);
    if (const std::uint32_t experts = model.experts.layer(layer).count; experts > 0)
      header.layers.push_back({.layer = layer, .experts = experts});
  }
  return header;
}

}  // namespace hearth::runtime

// Placement by whole layers, for programs that cannot split the experts of one: llama.cpp.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/units.h"
#include "profiler/expert_profile.h"

namespace hearth::profiler {

struct WholeLayers {
  std::vector<LayerIndex> on_gpu;  // ascending
  std::vector<LayerIndex> on_cpu;  // likewise
  Bytes gpu, cpu;                  // of their experts
  // The simpler form: the experts of the first n_cpu_moe blocks stay on the CPU. Its layers are not
  // those above, but fit the same budget.
  std::uint32_t n_cpu_moe = 0;
};

// Every token takes top-k experts of each layer wherever they are, so all choices of layers that
// fill the budget save the same traffic; they differ in what is left to the CPU. There, a layer
// whose uses concentrate on few experts is served from caches and the page cache. So the layers go
// to the GPU whose 90 % of the uses take the largest part of their experts, as far as the budget
// reaches; of equals the later ones. `layer_bytes`: of the experts of each layer of the profile.
WholeLayers place_whole_layers(const ExpertProfile& profile, std::span<const Bytes> layer_bytes,
                               Bytes budget);

// As arguments of llama.cpp, a line of comment before each of the two forms.
std::string llama_arguments(const WholeLayers& placement);

}  // namespace hearth::profiler

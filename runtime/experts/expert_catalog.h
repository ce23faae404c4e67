// Where every routed expert lies in the files, and what it is made of.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/units.h"
#include "io/gguf.h"
#include "kernels/weight_format.h"

namespace hearth::runtime {

enum class ExpertMatrix : std::uint8_t { kGate, kUp, kDown };
inline constexpr std::size_t kExpertMatrices = 3;

// One of the three matrices of all experts of a layer: expert e starts at offset + e × stride.
struct ExpertSlab {
  kernels::WeightFormat format = kernels::WeightFormat::kF32;
  std::uint32_t rows = 0;
  std::uint32_t columns = 0;
  std::uint32_t file = 0;
  std::uint64_t offset = 0;
  std::uint64_t stride = 0;  // bytes from one expert to the next
  std::uint64_t bytes = 0;   // of one expert
};

struct LayerExperts {
  std::uint32_t count = 0;  // 0: the layer has no routed experts
  std::array<ExpertSlab, kExpertMatrices> slabs;

  const ExpertSlab& slab(ExpertMatrix matrix) const {
    return slabs[static_cast<std::size_t>(matrix)];
  }
  std::uint64_t bytes() const { return slabs[0].bytes + slabs[1].bytes + slabs[2].bytes; }
  // Slot bytes: each matrix in its own window of aligned reads.
  std::uint64_t slot_bytes(std::uint64_t alignment) const;
};

class WeightTable;

class ExpertCatalog {
 public:
  explicit ExpertCatalog(std::uint32_t layers) : layers_(layers) {}

  // Declares the experts of `layer` from blk.<layer>.ffn_{gate,up,down}_exps.weight, or the fused
  // ffn_gate_up_exps.weight (gate rows first). Throws Error naming the tensor that does not fit.
  void add_layer(const WeightTable& weights, LayerIndex layer, std::uint32_t experts,
                 std::uint32_t embedding, std::uint32_t expert_ff);

  std::uint32_t layers() const { return static_cast<std::uint32_t>(layers_.size()); }
  const LayerExperts& layer(LayerIndex index) const { return layers_[index]; }
  std::uint32_t total() const;                // experts in all layers
  std::vector<std::uint32_t> counts() const;  // of each layer
  Bytes bytes() const;
  ExpertSpace space() const;

 private:
  std::vector<LayerExperts> layers_;
};

}  // namespace hearth::runtime

// Where every routed expert lies in the files, and what it is made of.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
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

// A piece of one expert that lies in one place: a matrix, or all of the expert.
struct ExpertPart {
  std::uint32_t file = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::optional<std::uint64_t> hash = {};  // XXH3 of 64 bits, compared whenever it is read
};
inline constexpr std::uint32_t kMaxExpertParts = 12;

// Experts of a GGUF file are slabs; those of a table are listed one by one, and what they are made
// of is not known.
struct LayerExperts {
  std::uint32_t count = 0;  // 0: the layer has no routed experts
  std::array<ExpertSlab, kExpertMatrices> slabs;
  std::vector<std::vector<ExpertPart>> listed;  // [count]; no parts: there is no such expert

  const ExpertSlab& slab(ExpertMatrix matrix) const {
    return slabs[static_cast<std::size_t>(matrix)];
  }
  std::uint32_t parts(std::uint16_t expert) const;
  ExpertPart part(std::uint16_t expert, std::uint32_t index) const;
  std::uint64_t bytes(std::uint16_t expert) const;
  std::uint64_t bytes() const;  // of the largest expert
  // Slot bytes, of the largest expert: each part in its own window of aligned reads.
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
  // Declares one expert of a layer that is in no slabs, with 1 to kMaxExpertParts parts.
  void add_expert(ExpertId id, std::span<const ExpertPart> parts);

  std::uint32_t layers() const { return static_cast<std::uint32_t>(layers_.size()); }
  const LayerExperts& layer(LayerIndex index) const { return layers_[index]; }
  std::uint32_t total() const;                // experts in all layers
  std::vector<std::uint32_t> counts() const;  // of each layer
  bool has(ExpertId id) const;
  Bytes bytes() const;
  ExpertSpace space() const;

 private:
  std::vector<LayerExperts> layers_;
};

}  // namespace hearth::runtime

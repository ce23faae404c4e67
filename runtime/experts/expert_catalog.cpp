#include "runtime/experts/expert_catalog.h"

#include <algorithm>

#include "base/check.h"
#include "base/error.h"
#include "io/read_window.h"
#include "runtime/weights/weight_table.h"

namespace hearth::runtime {
namespace {

ExpertSlab slab_of(const WeightTable& weights, const std::string& name, std::uint32_t experts,
                   std::uint32_t rows, std::uint32_t columns) {
  const io::GgufFile& file = weights.file();
  const io::GgufTensor& tensor =
      weights.tensor(name, std::array<std::uint64_t, 3>{columns, rows, experts});
  if (tensor.dimensions == 3 && tensor.shape[2] != experts)
    throw_error(
        ErrorCode::kBadFile,
        "{}: tensor {} holds {} experts where the metadata says {}; the file does not match itself",
        file.name(), name, tensor.shape[2], experts);
  if (tensor.dimensions != 3 || tensor.shape[0] != columns || tensor.shape[1] != rows)
    throw_error(
        ErrorCode::kBadFile,
        "{}: tensor {} has shape {} × {} × {} where {} × {} × {} is expected; the file does "
        "not match its metadata",
        file.name(), name, tensor.shape[0], tensor.shape[1], tensor.shape[2], columns, rows,
        experts);
  const kernels::WeightFormat format = checked_format(file, tensor);
  const kernels::WeightMatrix shape{format, rows, columns, nullptr};
  return {format, rows, columns, tensor.file, tensor.offset, shape.bytes(), shape.bytes()};
}

// The first or second half of the rows of every expert.
ExpertSlab half_of(const ExpertSlab& fused, bool second) {
  ExpertSlab half = fused;
  half.rows /= 2;
  half.bytes /= 2;
  half.offset += second ? half.bytes : 0;
  return half;
}

}  // namespace

std::uint32_t LayerExperts::parts(std::uint16_t expert) const {
  if (listed.empty()) return kExpertMatrices;
  return static_cast<std::uint32_t>(listed[expert].size());
}

ExpertPart LayerExperts::part(std::uint16_t expert, std::uint32_t index) const {
  if (!listed.empty()) return listed[expert][index];
  const ExpertSlab& slab = slabs[index];
  return {slab.file, slab.offset + expert * slab.stride, slab.bytes};
}

std::uint64_t LayerExperts::bytes(std::uint16_t expert) const {
  std::uint64_t total = 0;
  for (std::uint32_t i = 0; i < parts(expert); ++i) total += part(expert, i).bytes;
  return total;
}

std::uint64_t LayerExperts::bytes() const {
  if (listed.empty()) return bytes(0);
  std::uint64_t largest = 0;
  for (std::uint16_t e = 0; e < count; ++e) largest = std::max(largest, bytes(e));
  return largest;
}

std::uint64_t LayerExperts::slot_bytes(std::uint64_t alignment) const {
  std::uint64_t largest = 0;
  for (std::uint16_t e = 0; e < (listed.empty() ? 1 : count); ++e) {
    std::uint64_t total = 0;
    for (std::uint32_t i = 0; i < parts(e); ++i)
      total += io::window_capacity(part(e, i).bytes, alignment);
    largest = std::max(largest, total);
  }
  return largest;
}

void ExpertCatalog::add_layer(const WeightTable& weights, LayerIndex layer, std::uint32_t experts,
                              std::uint32_t embedding, std::uint32_t expert_ff) {
  CHECK_LT(layer, layers_.size());
  LayerExperts& entry = layers_[layer];
  const auto name = [&](const char* matrix) {
    return fmt::format("blk.{}.ffn_{}_exps.weight", layer, matrix);
  };
  if (weights.has(name("gate_up"))) {
    const ExpertSlab fused = slab_of(weights, name("gate_up"), experts, 2 * expert_ff, embedding);
    entry.slabs[0] = half_of(fused, false);
    entry.slabs[1] = half_of(fused, true);
  } else {
    entry.slabs[0] = slab_of(weights, name("gate"), experts, expert_ff, embedding);
    entry.slabs[1] = slab_of(weights, name("up"), experts, expert_ff, embedding);
  }
  entry.slabs[2] = slab_of(weights, name("down"), experts, embedding, expert_ff);
  entry.count = experts;
}

void ExpertCatalog::add_expert(ExpertId id, std::span<const ExpertPart> parts) {
  CHECK_LT(id.layer, layers_.size());
  CHECK(!parts.empty() && parts.size() <= kMaxExpertParts);
  LayerExperts& layer = layers_[id.layer];
  CHECK_EQ(layer.listed.size(), layer.count);
  layer.count = std::max(layer.count, id.index + 1u);
  layer.listed.resize(layer.count);
  CHECK(layer.listed[id.index].empty());
  layer.listed[id.index].assign(parts.begin(), parts.end());
}

bool ExpertCatalog::has(ExpertId id) const {
  return id.layer < layers() && id.index < layers_[id.layer].count &&
         layers_[id.layer].parts(id.index) > 0;
}

std::uint32_t ExpertCatalog::total() const {
  std::uint32_t total = 0;
  for (const LayerExperts& layer : layers_)
    for (std::uint16_t e = 0; e < layer.count; ++e) total += layer.parts(e) > 0;
  return total;
}

std::vector<std::uint32_t> ExpertCatalog::counts() const {
  std::vector<std::uint32_t> counts;
  for (const LayerExperts& layer : layers_) counts.push_back(layer.count);
  return counts;
}

Bytes ExpertCatalog::bytes() const {
  Bytes total;
  for (const LayerExperts& layer : layers_)
    for (std::uint16_t e = 0; e < layer.count; ++e) total += Bytes(layer.bytes(e));
  return total;
}

ExpertSpace ExpertCatalog::space() const {
  std::uint32_t largest = 1;
  for (const LayerExperts& layer : layers_) largest = std::max(largest, layer.count);
  return {layers(), largest};
}

}  // namespace hearth::runtime

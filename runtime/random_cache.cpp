#include "runtime/random_cache.h"

#include <algorithm>

#include "base/random.h"

namespace hearth::runtime {

using kernels::KvPart;

namespace {
constexpr std::uint32_t kRows = 509;  // prime: heads, layers and positions meet other rows
}

RandomCache::RandomCache(std::vector<KvLayer> layers, std::uint64_t seed)
    : layers_(std::move(layers)) {
  for (const KvLayer& layer : layers_) width_ = std::max({width_, layer.key_dim, layer.value_dim});
  Random random(seed);
  values_.resize(std::size_t{kRows} * width_);
  for (float& value : values_) value = static_cast<float>(random.normal());
}

const float* RandomCache::row(LayerIndex layer, KvPart part, std::uint32_t head,
                              std::uint32_t position) const {
  const std::uint64_t mixed = std::uint64_t{position} * 3 + std::uint64_t{layer} * 101 +
                              std::uint64_t{head} * 17 + (part == KvPart::kValues ? 251 : 0);
  return values_.data() + mixed % kRows * width_;
}

void RandomCache::append(const KvCache& kv, kernels::WorkerPool& pool, Scratch& scratch,
                         std::uint32_t position, std::uint32_t rows) const {
  pool.run(static_cast<std::uint32_t>(layers_.size()),
           [&](std::uint32_t task, std::uint32_t worker) {
             const auto layer = static_cast<LayerIndex>(task);
             for (std::uint32_t head = 0; head < layers_[layer].heads; ++head)
               for (const KvPart part : {KvPart::kKeys, KvPart::kValues}) {
                 for (std::uint32_t p = position; p < position + rows; ++p)
                   kv.store(layer, part, head, p, row(layer, part, head, p));
                 const TileRange due = kv.due(part, position, rows);
                 for (std::uint32_t tile = due.begin; tile < due.end; ++tile)
                   kv.encode(layer, part, head, tile, scratch.attention[worker].tile.data());
               }
           });
}

}  // namespace hearth::runtime

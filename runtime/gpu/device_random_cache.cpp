#include "runtime/gpu/device_random_cache.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "runtime/gpu/device_model.h"
#include "runtime/gpu/mapped.h"
#include "runtime/gpu/record_cache.h"

namespace hearth::runtime {
namespace {

using kernels::KvPart;

std::uint32_t dim_of(const KvLayer& layer, KvPart part) {
  if (part == KvPart::kKeys) return layer.key_dim;
  return layer.values_in_keys ? 0 : layer.value_dim;
}

Bytes bytes_of_a_step(const std::vector<KvLayer>& layers) {
  std::uint64_t floats = 0;
  for (const KvLayer& layer : layers)
    for (const KvPart part : {KvPart::kKeys, KvPart::kValues})
      floats += std::uint64_t{layer.heads} * dim_of(layer, part);
  return Bytes(floats * kMostDeviceRows * sizeof(float));
}

}  // namespace

DeviceRandomCache::DeviceRandomCache(std::vector<KvLayer> layers, std::uint64_t seed,
                                     kernels::Device& device)
    : layers_(std::move(layers)),
      random_(layers_, seed),
      rows_(mapped_memory(device, bytes_of_a_step(layers_), "a random cache")) {}

void DeviceRandomCache::append(const DeviceStep& step, std::uint32_t position) const {
  CHECK_LE(step.rows, kMostDeviceRows);
  auto* next = reinterpret_cast<float*>(rows_.data());
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const auto layer = static_cast<LayerIndex>(l);
    const std::uint32_t heads = layers_[l].heads;
    if (heads == 0) continue;
    kernels::HeadGroup stored[2];  // keys, values
    for (const KvPart part : {KvPart::kKeys, KvPart::kValues}) {
      const std::uint32_t dim = dim_of(layers_[l], part);
      if (dim == 0) continue;
      stored[static_cast<std::size_t>(part)] = {.heads = heads,
                                                .dim = dim,
                                                .from = next,
                                                .from_stride = heads * dim,
                                                .from_head_stride = dim,
                                                .to = step.kv.memory(layer, part)};
      for (std::uint32_t row = 0; row < step.rows; ++row)
        for (std::uint32_t head = 0; head < heads; ++head)
          next = std::copy_n(random_.row(layer, part, head, position + row), dim, next);
    }
    record_turn(step, {}, 0, {stored[0], stored[1]});
    record_encode(step, layer, heads);
  }
}

}  // namespace hearth::runtime

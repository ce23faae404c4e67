#include "runtime/kv_cache.h"

#include <utility>

namespace hearth::runtime {

Bytes KvCache::bytes_per_token(const std::vector<KvLayer>& layers) {
  Bytes total;
  for (const KvLayer& layer : layers) total += Bytes(layer.bytes_per_token());
  return total;
}

Bytes KvCache::alignment_bytes(const std::vector<KvLayer>& layers) {
  return Bytes(2 * io::Arena::kAlignment * layers.size());
}

KvCache::KvCache(std::vector<KvLayer> layers, std::uint32_t context, io::Arena& arena)
    : layers_(std::move(layers)), context_(context) {
  for (const KvLayer& layer : layers_) {
    const Bytes keys(std::uint64_t{layer.heads} * layer.key_dim * context * 2);
    const Bytes values(std::uint64_t{layer.heads} * layer.value_dim * context * 2);
    keys_.push_back(reinterpret_cast<std::uint16_t*>(arena.take(keys).data()));
    values_.push_back(reinterpret_cast<std::uint16_t*>(arena.take(values).data()));
  }
}

}  // namespace hearth::runtime

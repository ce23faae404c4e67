#include "runtime/kv_cache.h"

#include <utility>

namespace hearth::runtime {

Bytes KvCache::bytes_needed(const std::vector<KvLayer>& layers, std::uint32_t context) {
  Bytes total;
  for (const KvLayer& layer : layers)
    total += Bytes(round_up(layer.bytes_per_token() * context, 64)) + Bytes(64);
  return total;
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

// Keys and values of all positions of one session, f16.
// Layout per layer: K [kv_heads][context][key_dim], then V [kv_heads][context][value_dim], so that
// one head is contiguous over the context.
#pragma once

#include <cstdint>
#include <vector>

#include "base/check.h"
#include "base/ids.h"
#include "base/units.h"
#include "io/arena.h"

namespace hearth::runtime {

struct KvLayer {
  std::uint32_t heads = 0;  // 0: the layer keeps no keys and values
  std::uint32_t key_dim = 0;
  std::uint32_t value_dim = 0;
  std::uint64_t bytes_per_token() const {
    return std::uint64_t{heads} * (key_dim + value_dim) * sizeof(std::uint16_t);
  }
};

class KvCache {
 public:
  // Of the pieces of the layers in an arena: bytes for each position, and for their alignment.
  static Bytes bytes_per_token(const std::vector<KvLayer>& layers);
  static Bytes alignment_bytes(const std::vector<KvLayer>& layers);
  KvCache(std::vector<KvLayer> layers, std::uint32_t context, io::Arena& arena);

  std::uint16_t* keys(LayerIndex layer, std::uint32_t head) const {
    const KvLayer& shape = layers_[layer];
    return keys_[layer] + std::size_t{head} * context_ * shape.key_dim;
  }
  std::uint16_t* values(LayerIndex layer, std::uint32_t head) const {
    const KvLayer& shape = layers_[layer];
    return values_[layer] + std::size_t{head} * context_ * shape.value_dim;
  }
  std::uint32_t context() const { return context_; }

 private:
  std::vector<KvLayer> layers_;
  std::uint32_t context_;
  std::vector<std::uint16_t*> keys_;
  std::vector<std::uint16_t*> values_;
};

}  // namespace hearth::runtime

// Keys or values of the heads of a layer as the host keeps them (runtime/kv_cache.h), and a copy on
// a device.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention.h"
#include "kernels/kv/kv_layout.h"
#include "tests/gpu/support/test_device.h"

namespace hearth::kernels {

class HeadsCache {
 public:
  struct Shape {
    KvFormat format = KvFormat::kF16;
    KvPart part = KvPart::kKeys;
    std::uint32_t dim = 32;
    std::uint32_t heads = 1;
    std::uint32_t context = 1;
    std::uint32_t tail = 0;       // newest positions that are read as f16, at least
    std::uint32_t most_rows = 8;  // of a step
  };
  explicit HeadsCache(const Shape& shape);

  // One step: stores rows [rows][heads][dim], then encodes what they are the first to read so.
  void append(std::uint32_t position, std::uint32_t rows, const float* x);

  const Shape& shape() const { return shape_; }
  std::uint32_t encoded(std::uint32_t position) const;
  KvSource source(std::uint32_t head) const;
  std::span<const std::byte> tiles() const { return tiles_; }
  std::span<const std::byte> recent() const { return recent_; }
  std::span<const std::byte> sink() const { return sink_; }
  // Where the three are said to be.
  KvMemory memory(std::byte* tiles, std::byte* recent, std::byte* sink) const;

 private:
  const KvFormatTraits& format() const { return traits(shape_.format); }
  std::size_t tile_bytes() const { return kv_tile_bytes(shape_.format, shape_.part, shape_.dim); }
  std::size_t f16_bytes() const { return kv_tile_bytes(KvFormat::kF16, shape_.part, shape_.dim); }
  std::byte* f16_tile(std::uint32_t head, std::uint32_t position);
  void store(std::uint32_t head, std::uint32_t position, const float* row);
  void encode(std::uint32_t head, std::uint32_t tile);

  Shape shape_;
  std::uint32_t tiles_per_head_ = 0, recent_tiles_ = 0, sink_tiles_ = 0;
  std::vector<std::byte> tiles_, recent_, sink_;
};

// The same bytes on a device.
class DeviceCache {
 public:
  DeviceCache(const TestDevice& on, const HeadsCache& cache)
      : cache_(&cache),
        tiles_(on, cache.tiles()),
        recent_(on, cache.recent()),
        sink_(on, cache.sink()) {}

  KvMemory memory() const { return cache_->memory(tiles_.data(), recent_.data(), sink_.data()); }
  std::vector<std::byte> tiles() const { return tiles_.values(); }
  std::vector<std::byte> recent() const { return recent_.values(); }
  std::vector<std::byte> sink() const { return sink_.values(); }

 private:
  const HeadsCache* cache_;
  DeviceArray<std::byte> tiles_, recent_, sink_;
};

}  // namespace hearth::kernels

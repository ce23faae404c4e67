#include "runtime/gpu/device_kv.h"

namespace hearth::runtime {

using kernels::kv_tile_bytes;
using kernels::KvFormat;
using kernels::KvMemory;
using kernels::KvPart;

namespace {

struct PartShape {
  KvFormat format = KvFormat::kF16;
  KvPart part = KvPart::kKeys;
  std::uint32_t heads = 0;
  std::uint32_t dim = 0;
  std::uint32_t tiles = 0, recent = 0, sink = 0;  // of a head
};

KvMemory carve(const PartShape& shape, DeviceArena& arena) {
  const auto take = [&](KvFormat format, std::uint32_t tiles) {
    return arena.take(Bytes(kv_tile_bytes(format, shape.part, shape.dim)) * shape.heads * tiles);
  };
  KvMemory memory{.layout = kernels::kv_layout(shape.format, shape.part, shape.dim),
                  .tiles = take(shape.format, shape.tiles),
                  .tiles_per_head = shape.tiles};
  if (!kernels::traits(shape.format).quantized()) return memory;
  memory.recent = take(KvFormat::kF16, shape.recent);
  memory.recent_tiles = shape.recent;
  if (shape.sink == 0) return memory;
  memory.sink = take(KvFormat::kF16, shape.sink);
  memory.sink_tiles = shape.sink;
  return memory;
}

}  // namespace

DeviceKv::DeviceKv(const std::vector<KvLayer>& layers, const KvFormats& formats,
                   std::uint32_t context, std::uint32_t batch, DeviceArena& arena)
    : formats_(formats), context_(context) {
  const profiler::KvNeeds needs = KvCache::needs(layers, formats, "the model");
  for (const KvLayer& layer : layers) {
    const auto part = [&](KvPart which, std::uint32_t dim, const profiler::KvPieces& pieces) {
      return carve({.format = formats.of(which),
                    .part = which,
                    .heads = layer.heads,
                    .dim = dim,
                    .tiles = pieces.tiles(context),
                    .recent = pieces.recent_tiles(context, batch, formats.tail),
                    .sink = pieces.sink_tiles()},
                   arena);
    };
    auto& memory = layers_.emplace_back();
    if (layer.heads == 0) continue;
    memory[0] = part(KvPart::kKeys, layer.key_dim, needs.keys);
    if (!layer.values_in_keys) memory[1] = part(KvPart::kValues, layer.value_dim, needs.values);
  }
}

}  // namespace hearth::runtime

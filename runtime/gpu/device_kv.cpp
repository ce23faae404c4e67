#include "runtime/gpu/device_kv.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "runtime/kv_state.h"

namespace hearth::runtime {

using kernels::kv_tile_bytes;
using kernels::KvFormat;
using kernels::KvMemory;
using kernels::KvPart;

namespace {

// Of which one at a time is there twice: an eighth of the keys and values.
constexpr std::size_t kGroups = 8;

struct PartShape {
  KvFormat format = KvFormat::kF16;
  KvPart part = KvPart::kKeys;
  std::uint32_t heads = 0;
  std::uint32_t dim = 0;
  std::uint32_t tiles = 0, recent = 0, sink = 0;  // of a head
};

Bytes bytes_of(const PartShape& shape, KvFormat format, std::uint32_t tiles) {
  return Bytes(kv_tile_bytes(format, shape.part, shape.dim)) * shape.heads * tiles;
}

KvMemory carve_part(const PartShape& shape, DeviceArena& arena) {
  const auto take = [&](KvFormat format, std::uint32_t tiles) {
    return arena.take(bytes_of(shape, format, tiles));
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

DeviceKv::DeviceKv(std::vector<KvLayer> layers, const Options& options)
    : kv_layers_(std::move(layers)),
      options_(options),
      needs_(KvCache::needs(kv_layers_, options.formats, "the model")) {
  CHECK_LE(options.positions, options.context);
  const std::size_t all = kv_layers_.size();
  const std::size_t count =
      options.positions == options.context ? 1 : std::clamp<std::size_t>(all, 1, kGroups);
  for (std::size_t group = 0; group < count; ++group)
    groups_.push_back({.begin = all * group / count, .end = all * (group + 1) / count});
}

DeviceKv::DeviceKv(std::vector<KvLayer> layers, const Options& options, kernels::Device& device)
    : DeviceKv(std::move(layers), options) {
  device_ = &device;
  layers_.resize(kv_layers_.size());
  for (Group& group : groups_) {
    group.memory = DeviceArena(device, bytes(group, options_.positions), "keys and values");
    for (std::size_t layer = group.begin; layer < group.end; ++layer)
      layers_[layer] = carve(kv_layers_[layer], options_.positions, group.memory);
  }
}

Bytes DeviceKv::bytes_needed(const std::vector<KvLayer>& layers, const Options& options) {
  const DeviceKv counted(layers, options);
  Bytes total;
  for (const Group& group : counted.groups_) total += counted.bytes(group, options.positions);
  return total;
}

Bytes DeviceKv::bytes(const Group& group, std::uint32_t positions) const {
  DeviceArena counted;
  for (std::size_t layer = group.begin; layer < group.end; ++layer)
    carve(kv_layers_[layer], positions, counted);
  return counted.taken();
}

// The ring and the sink are those of the whole context, whatever there is memory for.
DeviceKv::Memory DeviceKv::carve(const KvLayer& layer, std::uint32_t positions,
                                 DeviceArena& arena) const {
  const auto part = [&](KvPart which, std::uint32_t dim, const profiler::KvPieces& pieces) {
    return carve_part(
        {.format = options_.formats.of(which),
         .part = which,
         .heads = layer.heads,
         .dim = dim,
         .tiles = pieces.tiles(positions),
         .recent = pieces.recent_tiles(options_.context, options_.batch, options_.formats.tail),
         .sink = pieces.sink_tiles()},
        arena);
  };
  Memory memory{};
  if (layer.heads == 0) return memory;
  memory[0] = part(KvPart::kKeys, layer.key_dim, needs_.keys);
  if (!layer.values_in_keys) memory[1] = part(KvPart::kValues, layer.value_dim, needs_.values);
  return memory;
}

void DeviceKv::visit(std::uint32_t position, FunctionRef<void(std::span<std::byte>)> visit) const {
  for (std::size_t layer = 0; layer < layers_.size(); ++layer)
    for (const KvMemory& part : layers_[layer])
      if (part.layout.dim > 0)
        visit_kv(options_.formats, part, kv_layers_[layer].heads, position, visit);
}

// What is kept is there twice, a group at a time; else all goes before there is new memory.
Bytes DeviceKv::needed_to_resize(std::uint32_t positions, std::uint32_t kept) const {
  std::int64_t most = 0, more = 0;
  for (const Group& group : groups_) {
    const auto made = static_cast<std::int64_t>(bytes(group, positions).count);
    most = std::max(most, more + made);
    more += made - static_cast<std::int64_t>(group.memory.size().count);
  }
  return Bytes(static_cast<std::uint64_t>(kept > 0 ? most : std::max<std::int64_t>(more, 0)));
}

void DeviceKv::resize(std::uint32_t positions, std::uint32_t kept, kernels::Stream& stream) {
  CHECK_LE(kept, std::min(positions, options_.positions));
  CHECK_LE(positions, options_.context);
  if (kept == 0) {
    options_.positions = 0;
    for (Group& group : groups_) group.memory = {};
  }
  for (Group& group : groups_) move(group, positions, kept, stream);
  options_.positions = positions;
}

// A group that has no room leaves those before it with more than they need, which is no harm.
void DeviceKv::move(Group& group, std::uint32_t positions, std::uint32_t kept,
                    kernels::Stream& stream) {
  DeviceArena memory(*device_, bytes(group, positions), "keys and values");
  for (std::size_t layer = group.begin; layer < group.end; ++layer) {
    const Memory to = carve(kv_layers_[layer], positions, memory);
    copy(kv_layers_[layer], layers_[layer], to, kept, stream);
    layers_[layer] = to;
  }
  stream.synchronize();  // before memory is given back
  group.memory = std::move(memory);
}

void DeviceKv::copy(const KvLayer& layer, const Memory& from, const Memory& to, std::uint32_t kept,
                    kernels::Stream& stream) const {
  const auto copy_all = [&](std::byte* there, const std::byte* here, Bytes bytes) {
    if (bytes > Bytes(0)) stream.copy(there, here, bytes);
  };
  for (const KvPart part : {KvPart::kKeys, KvPart::kValues}) {
    const KvMemory &old = from[static_cast<std::size_t>(part)],
                   &made = to[static_cast<std::size_t>(part)];
    if (old.layout.dim == 0 || kept == 0) continue;
    const KvFormat format = options_.formats.of(part);
    const PartShape shape{.part = part, .heads = layer.heads, .dim = old.layout.dim};
    const std::uint32_t tiles =
        std::min({old.tiles_per_head, made.tiles_per_head,
                  static_cast<std::uint32_t>(round_up(kept, old.layout.tile) / old.layout.tile)});
    const std::size_t tile = kv_tile_bytes(format, part, old.layout.dim);
    for (std::size_t head = 0; head < layer.heads; ++head)
      copy_all(made.tiles + head * made.tiles_per_head * tile,
               old.tiles + head * old.tiles_per_head * tile, Bytes(tile) * tiles);
    copy_all(made.recent, old.recent, bytes_of(shape, KvFormat::kF16, old.recent_tiles));
    copy_all(made.sink, old.sink, bytes_of(shape, KvFormat::kF16, old.sink_tiles));
  }
}

}  // namespace hearth::runtime

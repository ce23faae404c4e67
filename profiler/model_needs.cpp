#include "profiler/model_needs.h"

#include <algorithm>

#include "base/check.h"

namespace hearth::profiler {

namespace {

constexpr std::uint32_t kRecentTile = 32;

std::uint32_t divided_up(std::uint64_t positions, std::uint32_t tile) {
  return static_cast<std::uint32_t>((positions + tile - 1) / tile);
}

}  // namespace

std::uint32_t KvPieces::tiles(std::uint32_t context) const {
  if (recent_per_tile == Bytes(0)) return divided_up(context, tile);
  return context > sink ? (context - sink) / tile : 0;
}

// A step's first row reads positions as they were from (position + 1 - tail) rounded down to a
// tile, its last row is batch - 1 further on: at most tail + tile - 2 + batch positions from the
// start of a tile on. One tile of the ring more lets a session go back by a few tokens.
std::uint32_t KvPieces::recent_tiles(std::uint32_t context, std::uint32_t batch,
                                     std::uint32_t tail) const {
  if (recent_per_tile == Bytes(0)) return 0;
  const std::uint32_t enough = divided_up(std::uint64_t{tail} + tile + batch, kRecentTile) + 1;
  return std::min(enough, divided_up(context, kRecentTile));
}

Bytes KvPieces::bytes(std::uint32_t context, std::uint32_t batch, std::uint32_t tail) const {
  return per_tile * tiles(context) +
         recent_per_tile * (sink_tiles() + recent_tiles(context, batch, tail));
}

Bytes KvNeeds::bytes(std::uint32_t context, std::uint32_t batch) const {
  return keys.bytes(context, batch, tail) + values.bytes(context, batch, tail) + alignment;
}

double KvNeeds::bytes_read(std::uint32_t depth) const {
  const auto of = [depth](const KvPieces& pieces) {
    return static_cast<double>(pieces.per_tile.count) / pieces.tile * depth;
  };
  return of(keys) + of(values);
}

std::uint32_t ModelNeeds::experts() const {
  std::uint32_t total = 0;
  for (const ExpertClass& one : classes) total += one.experts;
  return total;
}

Bytes ModelNeeds::device_bytes(const std::vector<std::uint32_t>& slots_of_class) const {
  Bytes total;
  for (std::size_t c = 0; c < slots_of_class.size(); ++c)
    total += classes[c].device_slot * slots_of_class[c];
  return total;
}

Bytes ModelNeeds::expert_bytes() const {
  Bytes total;
  for (const ExpertClass& one : classes) total += one.expert * one.experts;
  return total;
}

std::vector<std::uint8_t> ModelNeeds::size_class_of() const {
  CHECK_EQ(class_of_layer.size(), experts_of_layer.size());
  std::vector<std::uint8_t> result(space().size(), Residency::kNoClass);
  for (std::uint32_t l = 0; l < class_of_layer.size(); ++l)
    for (std::uint32_t e = 0; e < experts_of_layer[l]; ++e)
      result[l * space().experts_per_layer + e] = class_of_layer[l];
  return result;
}

}  // namespace hearth::profiler

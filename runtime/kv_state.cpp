#include "runtime/kv_state.h"

#include <algorithm>

namespace hearth::runtime {

using kernels::kKvTile;
using kernels::kv_tile_bytes;
using kernels::KvFormat;

std::uint32_t encoded_before(const kernels::KvFormatTraits& format, std::uint32_t tail,
                             std::uint32_t position) {
  const std::uint32_t seen = position + 1;
  if (!format.quantized()) return static_cast<std::uint32_t>(round_up(seen, kKvTile));
  const std::uint32_t old = seen > tail ? seen - tail : 0;
  return std::max(format.sink(), old / format.tile() * format.tile());
}

void visit_kv(const KvFormats& formats, const kernels::KvMemory& memory, std::uint32_t heads,
              std::uint32_t position, FunctionRef<void(std::span<std::byte>)> visit) {
  if (position == 0) return;
  const kernels::KvPart part = memory.layout.part;
  const kernels::KvFormatTraits& format = kernels::traits(formats.of(part));
  const std::uint32_t end = encoded_before(format, formats.tail, position - 1);
  const std::size_t tiles =
      format.quantized() ? (end - format.sink()) / format.tile() : end / kKvTile;
  const std::size_t tile = kv_tile_bytes(format.format, part, memory.layout.dim);
  const std::size_t f16_tile = kv_tile_bytes(KvFormat::kF16, part, memory.layout.dim);
  for (std::uint32_t head = 0; head < heads; ++head) {
    if (tiles > 0)
      visit({memory.tiles + std::size_t{head} * memory.tiles_per_head * tile, tiles * tile});
    if (!format.quantized()) continue;
    const auto visit_recent = [&](std::uint32_t from, std::uint32_t to) {
      for (std::uint32_t p = from; p < to; p += kKvTile) {
        const std::size_t nth = p / kKvTile;
        visit({nth < memory.sink_tiles
                   ? memory.sink + (std::size_t{head} * memory.sink_tiles + nth) * f16_tile
                   : memory.recent +
                         (std::size_t{head} * memory.recent_tiles + nth % memory.recent_tiles) *
                             f16_tile,
               f16_tile});
      }
    };
    visit_recent(0, std::min(position, format.sink()));
    visit_recent(end, position);
  }
}

}  // namespace hearth::runtime

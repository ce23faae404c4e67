#include "tests/gpu/support/heads_cache.h"

#include <algorithm>
#include <cstring>

namespace hearth::kernels {
namespace {

std::uint32_t tiles_of(std::uint32_t positions) { return (positions + kKvTile - 1) / kKvTile; }

}  // namespace

// Poisoned: what nobody wrote is no number.
HeadsCache::HeadsCache(const Shape& shape) : shape_(shape) {
  constexpr std::byte kOnes{0xff};
  const std::uint32_t sink = format().sink(), tile = format().tile();
  tiles_per_head_ = format().quantized() ? (std::max(shape.context, sink) - sink) / tile
                                         : tiles_of(shape.context);
  tiles_.assign(shape.heads * tiles_per_head_ * tile_bytes(), kOnes);
  if (!format().quantized()) return;
  recent_tiles_ = tiles_of(shape.tail + shape.most_rows + tile) + 1;
  sink_tiles_ = sink / kKvTile;
  recent_.assign(shape.heads * recent_tiles_ * f16_bytes(), kOnes);
  sink_.assign(shape.heads * sink_tiles_ * f16_bytes(), kOnes);
}

std::uint32_t HeadsCache::encoded(std::uint32_t position) const {
  const std::uint32_t seen = position + 1, old = seen > shape_.tail ? seen - shape_.tail : 0;
  if (!format().quantized()) return tiles_of(seen) * kKvTile;
  return std::max(format().sink(), old / format().tile() * format().tile());
}

std::byte* HeadsCache::f16_tile(std::uint32_t head, std::uint32_t position) {
  const std::uint32_t tile = position / kKvTile;
  if (tile < sink_tiles_) return &sink_[(head * sink_tiles_ + tile) * f16_bytes()];
  return &recent_[(head * recent_tiles_ + tile % recent_tiles_) * f16_bytes()];
}

void HeadsCache::store(std::uint32_t head, std::uint32_t position, const float* row) {
  const bool quantized = format().quantized();
  std::byte* const tile =
      quantized ? f16_tile(head, position)
                : &tiles_[(head * tiles_per_head_ + position / kKvTile) * tile_bytes()];
  if (position % kKvTile == 0) std::memset(tile, 0, quantized ? f16_bytes() : tile_bytes());
  store_row(quantized ? KvFormat::kF16 : shape_.format, shape_.part, row, shape_.dim,
            position % kKvTile, tile);
}

void HeadsCache::encode(std::uint32_t head, std::uint32_t tile) {
  const std::uint32_t position = format().sink() + tile * format().tile();
  std::vector<float> rows(std::size_t{format().tile()} * shape_.dim);
  for (std::uint32_t p = 0; p < format().tile(); p += kKvTile)
    decode_tile(KvFormat::kF16, shape_.part, f16_tile(head, position + p), shape_.dim,
                &rows[std::size_t{p} * shape_.dim]);
  encode_tile(shape_.format, shape_.part, rows.data(), shape_.dim,
              &tiles_[(head * tiles_per_head_ + tile) * tile_bytes()]);
}

void HeadsCache::append(std::uint32_t position, std::uint32_t rows, const float* x) {
  for (std::uint32_t row = 0; row < rows; ++row)
    for (std::uint32_t head = 0; head < shape_.heads; ++head)
      store(head, position + row, x + (std::size_t{row} * shape_.heads + head) * shape_.dim);
  if (!format().quantized()) return;
  const auto tiles = [&](std::uint32_t at) {
    return (encoded(at) - format().sink()) / format().tile();
  };
  for (std::uint32_t tile = position == 0 ? 0 : tiles(position - 1);
       tile < tiles(position + rows - 1); ++tile)
    for (std::uint32_t head = 0; head < shape_.heads; ++head) encode(head, tile);
}

KvSource HeadsCache::source(std::uint32_t head) const {
  return {.format = shape_.format,
          .tiles = tiles_.data() + head * tiles_per_head_ * tile_bytes(),
          .recent = recent_.data() + head * recent_tiles_ * f16_bytes(),
          .recent_tiles = recent_tiles_,
          .sink = sink_.data() + head * sink_tiles_ * f16_bytes()};
}

KvMemory HeadsCache::memory(std::byte* tiles, std::byte* recent, std::byte* sink) const {
  return {.layout = kv_layout(shape_.format, shape_.part, shape_.dim),
          .tiles = tiles,
          .tiles_per_head = tiles_per_head_,
          .recent = recent,
          .recent_tiles = recent_tiles_,
          .sink = sink,
          .sink_tiles = sink_tiles_};
}

}  // namespace hearth::kernels

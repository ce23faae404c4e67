#include "runtime/kv_cache.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/error.h"

namespace hearth::runtime {

using kernels::kKvTile;
using kernels::kv_tile_bytes;
using kernels::KvFormat;
using kernels::KvPart;

namespace {

constexpr KvFormat kRecent = KvFormat::kF16;

void check_head(KvFormat format, std::string_view what, std::uint32_t dim,
                const std::string& name) {
  if (!kernels::traits(format).quantized() || dim % kernels::kKvBlock == 0) return;
  throw_error(ErrorCode::kUnsupported,
              "{}: {} of {} channels a head cannot be kept in {}, whose blocks have {}; use f16",
              name, what, dim, kernels::traits(format).name, kernels::kKvBlock);
}

// Adds keys or values of one layer.
void add(KvFormat format, std::uint32_t heads, std::uint32_t dim, profiler::KvNeeds& needs) {
  needs.per_tile += Bytes(kv_tile_bytes(format, dim)) * heads;
  needs.alignment += Bytes(io::Arena::kAlignment);
  if (!kernels::traits(format).quantized()) return;
  needs.recent_per_tile += Bytes(kv_tile_bytes(kRecent, dim)) * heads;
  needs.alignment += Bytes(io::Arena::kAlignment);
}

}  // namespace

profiler::KvNeeds KvCache::needs(const std::vector<KvLayer>& layers, const KvFormats& formats,
                                 const std::string& name) {
  profiler::KvNeeds needs{.key_format = std::string(kernels::traits(formats.keys).name),
                          .value_format = std::string(kernels::traits(formats.values).name),
                          .tail = formats.tail,
                          .rotated = formats.rotated,
                          .tile = kKvTile};
  for (const KvLayer& layer : layers) {
    check_head(formats.keys, "keys", layer.key_dim, name);
    check_head(formats.values, "values", layer.value_dim, name);
    add(formats.keys, layer.heads, layer.key_dim, needs);
    add(formats.values, layer.heads, layer.value_dim, needs);
  }
  return needs;
}

KvCache::KvCache(std::vector<KvLayer> layers, const KvFormats& formats, std::uint32_t context,
                 std::uint32_t batch, io::Arena& arena)
    : formats_(formats), context_(context) {
  const profiler::KvNeeds needed = needs(layers, formats, "the model");
  tiles_ = needed.tiles(context);
  recent_tiles_ = needed.recent_tiles(context, batch);
  for (const KvLayer& layer : layers)
    pieces_.push_back({take(KvPart::kKeys, layer.heads, layer.key_dim, arena),
                       take(KvPart::kValues, layer.heads, layer.value_dim, arena)});
}

KvCache::Piece KvCache::take(KvPart part, std::uint32_t heads, std::uint32_t dim,
                             io::Arena& arena) const {
  const auto bytes = [&](KvFormat format, std::uint32_t tiles) {
    return Bytes(kv_tile_bytes(format, dim)) * heads * tiles;
  };
  Piece piece{.dim = dim, .tiles = arena.take(bytes(format(part), tiles_)).data()};
  if (kernels::traits(format(part)).quantized())
    piece.recent = arena.take(bytes(kRecent, recent_tiles_)).data();
  return piece;
}

std::byte* KvCache::tile_at(KvPart part, const Piece& piece, std::uint32_t head,
                            std::uint32_t tile) const {
  return piece.tiles + (std::size_t{head} * tiles_ + tile) * kv_tile_bytes(format(part), piece.dim);
}

std::byte* KvCache::recent_at(const Piece& piece, std::uint32_t head, std::uint32_t tile) const {
  return piece.recent + (std::size_t{head} * recent_tiles_ + tile % recent_tiles_) *
                            kv_tile_bytes(kRecent, piece.dim);
}

std::uint32_t KvCache::encoded(KvPart part, std::uint32_t position) const {
  const std::uint32_t seen = position + 1;
  if (!kernels::traits(format(part)).quantized())
    return static_cast<std::uint32_t>(round_up(seen, kKvTile));
  return seen > formats_.tail ? (seen - formats_.tail) / kKvTile * kKvTile : 0;
}

bool KvCache::can_rewind(std::uint32_t from, std::uint32_t to) const {
  if (to == 0 || to == from || !formats_.quantized()) return true;
  const KvPart part = kernels::traits(formats_.keys).quantized() ? KvPart::kKeys : KvPart::kValues;
  const std::uint32_t held_until = (from - 1) / kKvTile + 1;  // tiles; the ring has the last ones
  return encoded(part, to - 1) / kKvTile + recent_tiles_ >= held_until;
}

TileRange KvCache::due(std::uint32_t position, std::uint32_t rows) const {
  if (!formats_.quantized()) return {};
  const KvPart part = kernels::traits(formats_.keys).quantized() ? KvPart::kKeys : KvPart::kValues;
  return {position == 0 ? 0 : encoded(part, position - 1) / kKvTile,
          encoded(part, position + rows - 1) / kKvTile};
}

void KvCache::store(LayerIndex layer, KvPart part, std::uint32_t head, std::uint32_t position,
                    const float* row) const {
  CHECK_LT(position, context_);
  const Piece& to = piece(layer, part);
  const KvFormat stored = to.recent == nullptr ? format(part) : kRecent;
  const std::uint32_t index = position / kKvTile;
  std::byte* const tile =
      to.recent == nullptr ? tile_at(part, to, head, index) : recent_at(to, head, index);
  if (position % kKvTile == 0) std::memset(tile, 0, kv_tile_bytes(stored, to.dim));
  kernels::store_row(stored, part, row, to.dim, position % kKvTile, tile);
}

void KvCache::encode(LayerIndex layer, KvPart part, std::uint32_t head, std::uint32_t tile,
                     float* rows) const {
  const Piece& from = piece(layer, part);
  if (from.recent == nullptr) return;
  kernels::decode_tile(kRecent, part, recent_at(from, head, tile), from.dim, rows);
  kernels::encode_tile(format(part), part, rows, from.dim, tile_at(part, from, head, tile));
}

kernels::KvSource KvCache::source(LayerIndex layer, KvPart part, std::uint32_t head) const {
  const Piece& from = piece(layer, part);
  return {.format = format(part),
          .tiles = tile_at(part, from, head, 0),
          .recent = from.recent == nullptr ? nullptr : recent_at(from, head, 0),
          .recent_tiles = recent_tiles_};
}

}  // namespace hearth::runtime

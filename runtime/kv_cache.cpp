#include "runtime/kv_cache.h"

#include <cstring>

#include "base/check.h"
#include "base/error.h"
#include "runtime/kv_state.h"

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

// Values that are a part of the keys are neither scaled nor rotated by themselves.
void check_latent(const KvFormats& formats, const std::string& name) {
  const kernels::KvFormatTraits& keys = kernels::traits(formats.keys);
  if (keys.format != formats.values)
    throw_error(
        ErrorCode::kUsage,
        "{}: keys are to be kept in {} and values in {}, but the values of this model are a "
        "part of its keys (latent attention); give one format for both",
        name, keys.name, kernels::traits(formats.values).name);
  if (!keys.holds_latents())
    throw_error(ErrorCode::kUnsupported,
                "{}: keys and values of this model are one (latent attention), which cannot be "
                "kept in {}; use f16, q8_0 or another format of blocks",
                name, keys.name);
}

void check_layer(const KvLayer& layer, const KvFormats& formats, const std::string& name) {
  if (layer.values_in_keys) check_latent(formats, name);
  check_head(formats.keys, "keys", layer.key_dim, name);
  check_head(formats.values, "values", layer.value_dim, name);
}

profiler::KvPieces pieces_of(KvFormat format) {
  return {.tile = kernels::traits(format).tile(), .sink = kernels::traits(format).sink()};
}

// Adds keys or values of one layer. Each of its pieces begins aligned.
void add(KvFormat format, KvPart part, std::uint32_t heads, std::uint32_t dim,
         profiler::KvPieces& pieces, Bytes& alignment) {
  pieces.per_tile += Bytes(kv_tile_bytes(format, part, dim)) * heads;
  alignment += Bytes(io::Arena::kAlignment);
  if (!kernels::traits(format).quantized()) return;
  pieces.recent_per_tile += Bytes(kv_tile_bytes(kRecent, part, dim)) * heads;
  alignment += Bytes(io::Arena::kAlignment);
  if (pieces.sink > 0) alignment += Bytes(io::Arena::kAlignment);
}

}  // namespace

profiler::KvNeeds KvCache::needs(const std::vector<KvLayer>& layers, const KvFormats& formats,
                                 const std::string& name) {
  profiler::KvNeeds needs{.key_format = std::string(kernels::traits(formats.keys).name),
                          .value_format = std::string(kernels::traits(formats.values).name),
                          .tail = formats.tail,
                          .rotated = formats.rotated,
                          .keys = pieces_of(formats.keys),
                          .values = pieces_of(formats.values)};
  for (const KvLayer& layer : layers) {
    check_layer(layer, formats, name);
    add(formats.keys, KvPart::kKeys, layer.heads, layer.key_dim, needs.keys, needs.alignment);
    if (layer.values_in_keys) continue;
    add(formats.values, KvPart::kValues, layer.heads, layer.value_dim, needs.values,
        needs.alignment);
  }
  return needs;
}

KvCache::KvCache(std::vector<KvLayer> layers, const KvFormats& formats, std::uint32_t context,
                 std::uint32_t batch, io::Arena& arena)
    : formats_(formats), context_(context) {
  const profiler::KvNeeds needed = needs(layers, formats, "the model");
  const auto count = [&](const profiler::KvPieces& pieces) {
    return Counts{.tiles = pieces.tiles(context),
                  .recent = pieces.recent_tiles(context, batch, formats.tail),
                  .sink = pieces.sink_tiles()};
  };
  counts_ = {count(needed.keys), count(needed.values)};
  for (const KvLayer& layer : layers)
    pieces_.push_back({take(KvPart::kKeys, layer.heads, layer.key_dim, arena),
                       layer.values_in_keys
                           ? Piece{}
                           : take(KvPart::kValues, layer.heads, layer.value_dim, arena)});
}

KvCache::Piece KvCache::take(KvPart part, std::uint32_t heads, std::uint32_t dim,
                             io::Arena& arena) const {
  const auto memory = [&](KvFormat format, std::uint32_t tiles) {
    return arena.take(Bytes(kv_tile_bytes(format, part, dim)) * heads * tiles).data();
  };
  Piece piece{.heads = heads, .dim = dim, .tiles = memory(formats_.of(part), counts(part).tiles)};
  if (kernels::traits(formats_.of(part)).quantized())
    piece.recent = memory(kRecent, counts(part).recent);
  if (counts(part).sink > 0) piece.sink = memory(kRecent, counts(part).sink);
  return piece;
}

std::byte* KvCache::tile_at(KvPart part, const Piece& piece, std::uint32_t head,
                            std::uint32_t tile) const {
  return piece.tiles + (std::size_t{head} * counts(part).tiles + tile) *
                           kv_tile_bytes(formats_.of(part), part, piece.dim);
}

std::byte* KvCache::recent_at(KvPart part, const Piece& piece, std::uint32_t head,
                              std::uint32_t position) const {
  const Counts& of_part = counts(part);
  const std::size_t bytes = kv_tile_bytes(kRecent, part, piece.dim);
  const std::uint32_t tile = position / kKvTile;
  if (tile < of_part.sink) return piece.sink + (std::size_t{head} * of_part.sink + tile) * bytes;
  return piece.recent + (std::size_t{head} * of_part.recent + tile % of_part.recent) * bytes;
}

std::uint32_t KvCache::encoded(KvPart part, std::uint32_t position) const {
  return encoded_before(kernels::traits(formats_.of(part)), formats_.tail, position);
}

TileRange KvCache::due(KvPart part, std::uint32_t position, std::uint32_t rows) const {
  const kernels::KvFormatTraits& format = kernels::traits(formats_.of(part));
  if (!format.quantized()) return {};
  const auto tiles = [&](std::uint32_t last) {
    return (encoded(part, last) - format.sink()) / format.tile();
  };
  return {position == 0 ? 0 : tiles(position - 1), tiles(position + rows - 1)};
}

void KvCache::store(LayerIndex layer, KvPart part, std::uint32_t head, std::uint32_t position,
                    const float* row) const {
  CHECK_LT(position, context_);
  const Piece& to = piece(layer, part);
  const KvFormat stored = to.recent == nullptr ? formats_.of(part) : kRecent;
  std::byte* const tile = to.recent == nullptr ? tile_at(part, to, head, position / kKvTile)
                                               : recent_at(part, to, head, position);
  if (position % kKvTile == 0) std::memset(tile, 0, kv_tile_bytes(stored, part, to.dim));
  kernels::store_row(stored, part, row, to.dim, position % kKvTile, tile);
}

void KvCache::encode(LayerIndex layer, KvPart part, std::uint32_t head, std::uint32_t tile,
                     float* rows) const {
  const Piece& from = piece(layer, part);
  const kernels::KvFormatTraits& format = kernels::traits(formats_.of(part));
  const std::uint32_t position = format.sink() + tile * format.tile();
  for (std::uint32_t p = 0; p < format.tile(); p += kKvTile)
    kernels::decode_tile(kRecent, part, recent_at(part, from, head, position + p), from.dim,
                         rows + std::size_t{p} * from.dim);
  kernels::encode_tile(formats_.of(part), part, rows, from.dim, tile_at(part, from, head, tile));
}

void KvCache::visit(std::uint32_t position, FunctionRef<void(std::span<std::byte>)> visit) const {
  for (LayerIndex layer = 0; layer < pieces_.size(); ++layer)
    for (const KvPart part : {KvPart::kKeys, KvPart::kValues}) {
      const Piece& one = piece(layer, part);
      if (one.heads == 0) continue;
      const Counts& of_part = counts(part);
      visit_kv(formats_,
               {.layout = kernels::kv_layout(formats_.of(part), part, one.dim),
                .tiles = one.tiles,
                .tiles_per_head = of_part.tiles,
                .recent = one.recent,
                .recent_tiles = of_part.recent,
                .sink = one.sink,
                .sink_tiles = of_part.sink},
               one.heads, position, visit);
    }
}

kernels::KvSource KvCache::source(LayerIndex layer, KvPart part, std::uint32_t head) const {
  const Piece& from = piece(layer, part);
  const Counts& of_part = counts(part);
  const std::size_t f16_bytes = kv_tile_bytes(kRecent, part, from.dim);
  const auto of_head = [&](const std::byte* pieces, std::uint32_t tiles) {
    return pieces == nullptr ? nullptr : pieces + std::size_t{head} * tiles * f16_bytes;
  };
  return {.format = formats_.of(part),
          .tiles = tile_at(part, from, head, 0),
          .recent = of_head(from.recent, of_part.recent),
          .recent_tiles = of_part.recent,
          .sink = of_head(from.sink, of_part.sink)};
}

}  // namespace hearth::runtime

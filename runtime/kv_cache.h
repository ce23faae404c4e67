// Keys and values of all positions of one session.
//
// Per layer and KV head, keys and values each are tiles of positions in their format
// (kernels/kv/kv_format.h). A row of floats goes straight into the tile of its position. A row of a
// quantized format first goes, rotated, as f16 into a ring of recent tiles of 32; a tile is encoded
// from there when the first row is to read it in the format. Which positions that are depends on
// the position t of the row that reads, and on nothing else:
//
//   encoded(t) = max(sink, t + 1 - tail rounded down to whole tiles)
//
// so that a batch gives the bits of single steps: its rows may read one tile in both forms. The
// ring holds all that the rows of a step read as f16 (profiler::KvPieces::recent_tiles). Formats
// with a sink keep their first positions in tiles of f16 beside the ring, and never encode them.
//
// What is encoded follows from the position alone, nothing remembers it. A session may therefore go
// back to any position p as long as the ring still has the tiles from encoded(p - 1) on: what comes
// next overwrites rows and encodes their tiles again. Back to 0 (Session::reset) it always may.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/function_ref.h"
#include "base/ids.h"
#include "io/arena.h"
#include "kernels/attention.h"
#include "kernels/kv/rotation.h"
#include "profiler/model_needs.h"

namespace hearth::runtime {

struct KvLayer {
  std::uint32_t heads = 0;  // 0: the layer keeps no keys and values
  std::uint32_t key_dim = 0;
  std::uint32_t value_dim = 0;
  // The values are the first value_dim channels of the keys, and kept with them: nothing is stored
  // or encoded as values, and both formats are one.
  bool values_in_keys = false;
};

struct KvFormats {
  kernels::KvFormat keys = kernels::KvFormat::kF16;
  kernels::KvFormat values = kernels::KvFormat::kF16;
  std::uint32_t tail = 0;  // newest positions that are read as f16, at least
  bool rotated = true;     // what is quantized; without it, to see what rotation is worth

  bool quantized() const {
    return kernels::traits(keys).quantized() || kernels::traits(values).quantized();
  }
  kernels::KvFormat of(kernels::KvPart part) const {
    return part == kernels::KvPart::kKeys ? keys : values;
  }
  kernels::KvRotation rotation(kernels::KvPart part, std::uint32_t dim) const {
    return rotated ? kernels::kv_rotation(of(part), part, dim) : kernels::KvRotation{};
  }
  // The shortest context in which each quantized format is read.
  std::uint64_t least_context() const {
    return std::uint64_t{tail} +
           std::max(kernels::traits(keys).least_context(), kernels::traits(values).least_context());
  }
  // Of keys whose first value_dim channels are the values: one size for both, which divides the
  // values and the rest of the keys.
  kernels::KvRotation latent_rotation(std::uint32_t key_dim, std::uint32_t value_dim) const {
    return {.size = std::min(rotation(kernels::KvPart::kKeys, key_dim).size,
                             rotation(kernels::KvPart::kValues, value_dim).size)};
  }
};

struct TileRange {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  std::uint32_t count() const { return end - begin; }
};

class KvCache {
 public:
  // Throws Error(kUnsupported) for heads and latents that a format cannot hold, and Error(kUsage)
  // for two formats where one holds both; `name` is that of the model.
  static profiler::KvNeeds needs(const std::vector<KvLayer>& layers, const KvFormats& formats,
                                 const std::string& name);
  // For steps of at most `batch` rows. The arena has what needs() says.
  KvCache(std::vector<KvLayer> layers, const KvFormats& formats, std::uint32_t context,
          std::uint32_t batch, io::Arena& arena);

  std::uint32_t context() const { return context_; }
  const KvFormats& formats() const { return formats_; }

  // The row at `position` reads positions before this in the format, but for those of a sink.
  std::uint32_t encoded(kernels::KvPart part, std::uint32_t position) const;
  // Stored tiles that are to be encoded before the rows of a step attend, once all of them are
  // stored.
  TileRange due(kernels::KvPart part, std::uint32_t position, std::uint32_t rows) const;

  // Rows of one tile of 32 are stored by one thread, in order. What a tile held before, in another
  // timeline, is gone with its first row: positions without a weight are multiplied with 0, which
  // only a finite value survives.
  void store(LayerIndex layer, kernels::KvPart part, std::uint32_t head, std::uint32_t position,
             const float* row) const;
  // A tile of a quantized format. `rows` has room for it: [tile][dim].
  void encode(LayerIndex layer, kernels::KvPart part, std::uint32_t head, std::uint32_t tile,
              float* rows) const;
  // All bytes that the tokens before `position` left, layer by layer, keys before values
  // (runtime/kv_state.h).
  void visit(std::uint32_t position, FunctionRef<void(std::span<std::byte>)> visit) const;
  kernels::KvSource source(LayerIndex layer, kernels::KvPart part, std::uint32_t head) const;

 private:
  struct Piece {
    std::uint32_t heads = 0;
    std::uint32_t dim = 0;
    std::byte* tiles = nullptr;   // [heads][tiles of the part]
    std::byte* recent = nullptr;  // [heads][recent tiles]; null where the format needs none
    std::byte* sink = nullptr;    // [heads][sink tiles]; null where the format has none
  };  // of values in the keys: nothing
  // Tiles of a head.
  struct Counts {
    std::uint32_t tiles = 0, recent = 0, sink = 0;
  };
  const Counts& counts(kernels::KvPart part) const {
    return counts_[static_cast<std::size_t>(part)];
  }
  const Piece& piece(LayerIndex layer, kernels::KvPart part) const {
    return pieces_[layer][static_cast<std::size_t>(part)];
  }
  Piece take(kernels::KvPart part, std::uint32_t heads, std::uint32_t dim, io::Arena& arena) const;
  std::byte* tile_at(kernels::KvPart part, const Piece& piece, std::uint32_t head,
                     std::uint32_t tile) const;
  // The tile of 32 positions that a row of a quantized format is stored to.
  std::byte* recent_at(kernels::KvPart part, const Piece& piece, std::uint32_t head,
                       std::uint32_t position) const;

  KvFormats formats_;
  std::uint32_t context_;
  std::array<Counts, 2> counts_;              // of keys, values
  std::vector<std::array<Piece, 2>> pieces_;  // of each layer: keys, values
};

}  // namespace hearth::runtime

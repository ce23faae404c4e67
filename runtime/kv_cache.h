// Keys and values of all positions of one session.
//
// Per layer and KV head, keys and values each are tiles of 32 positions in their format
// (kernels/kv/kv_format.h). A row of floats goes straight into the tile of its position. A row of a
// quantized format first goes, rotated, as f16 into a ring of recent tiles; the tile is encoded
// from there when the first row is to read it in the format. Which positions that are depends on
// the position t of the row that reads, and on nothing else:
//
//   encoded(t) = max(0, t + 1 - tail), rounded down to whole tiles
//
// so that a batch gives the bits of single steps: its rows may read one tile in both forms. The
// ring holds all that the rows of a step read as f16 (profiler::KvNeeds::recent_tiles).
//
// What is encoded follows from the position alone, nothing remembers it. A session may therefore go
// back to any position p as long as the ring still has the tiles from encoded(p - 1) on: what comes
// next overwrites rows and encodes their tiles again. Back to 0 (Session::reset) it always may.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "io/arena.h"
#include "kernels/attention.h"
#include "profiler/model_needs.h"

namespace hearth::runtime {

struct KvLayer {
  std::uint32_t heads = 0;  // 0: the layer keeps no keys and values
  std::uint32_t key_dim = 0;
  std::uint32_t value_dim = 0;
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
  // Size of the Hadamard matrices for heads of so many channels; 1: none.
  std::uint32_t rotation(kernels::KvPart part, std::uint32_t dim) const {
    return rotated ? kernels::kv_rotation(of(part), part, dim) : 1;
  }
};

struct TileRange {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
};

class KvCache {
 public:
  // Throws Error(kUnsupported) for heads that a format cannot hold; `name` is that of the model.
  static profiler::KvNeeds needs(const std::vector<KvLayer>& layers, const KvFormats& formats,
                                 const std::string& name);
  // For steps of at most `batch` rows. The arena has what needs() says.
  KvCache(std::vector<KvLayer> layers, const KvFormats& formats, std::uint32_t context,
          std::uint32_t batch, io::Arena& arena);

  std::uint32_t context() const { return context_; }
  const KvFormats& formats() const { return formats_; }

  // Positions that the row at `position` reads in the format.
  std::uint32_t encoded(kernels::KvPart part, std::uint32_t position) const;
  // Whether a timeline of `from` positions may go back to `to` of them.
  bool can_rewind(std::uint32_t from, std::uint32_t to) const;
  // Tiles that are to be encoded before the rows of a step attend, once all of them are stored.
  TileRange due(std::uint32_t position, std::uint32_t rows) const;

  // Rows of one tile are stored by one thread, in order. What a tile held before, in another
  // timeline, is gone with its first row: positions without a weight are multiplied with 0, which
  // only a finite value survives.
  void store(LayerIndex layer, kernels::KvPart part, std::uint32_t head, std::uint32_t position,
             const float* row) const;
  // Does nothing where the format is not quantized. `rows` has room for a tile: [32][dim].
  void encode(LayerIndex layer, kernels::KvPart part, std::uint32_t head, std::uint32_t tile,
              float* rows) const;
  kernels::KvSource source(LayerIndex layer, kernels::KvPart part, std::uint32_t head) const;

 private:
  struct Piece {
    std::uint32_t dim = 0;
    std::byte* tiles = nullptr;   // [heads][tiles_]
    std::byte* recent = nullptr;  // [heads][recent_tiles_]; null where the format needs none
  };
  kernels::KvFormat format(kernels::KvPart part) const { return formats_.of(part); }
  const Piece& piece(LayerIndex layer, kernels::KvPart part) const {
    return pieces_[layer][static_cast<std::size_t>(part)];
  }
  Piece take(kernels::KvPart part, std::uint32_t heads, std::uint32_t dim, io::Arena& arena) const;
  std::byte* tile_at(kernels::KvPart part, const Piece& piece, std::uint32_t head,
                     std::uint32_t tile) const;
  std::byte* recent_at(const Piece& piece, std::uint32_t head, std::uint32_t tile) const;

  KvFormats formats_;
  std::uint32_t context_;
  std::uint32_t tiles_;
  std::uint32_t recent_tiles_;
  std::vector<std::array<Piece, 2>> pieces_;  // of each layer: keys, values
};

}  // namespace hearth::runtime

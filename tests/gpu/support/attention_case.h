// Attention of a step over a cache of some heads: on the host by the scalar kernels, which are the
// specification, and the same memory for a device.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cpu_kernels.h"
#include "kernels/gpu/attention.h"

namespace hearth::kernels {

struct AttentionShapeCase {
  std::uint32_t positions = 1;  // of the last row
  std::uint32_t rows = 1;       // the row before sees one position less
  std::uint32_t kv_heads = 1;
  std::uint32_t group = 1;  // heads that share a KV head
  std::uint32_t key_dim = 32, value_dim = 32;
  KvFormat keys = KvFormat::kF16, values = KvFormat::kF16;
  std::uint32_t tail = 0;
  std::uint32_t window = 0;
  bool window_is_piece = false;
  bool values_in_keys = false;  // `values` is then not used
  bool sinks = false;
  bool rotated = false;  // results are taken back by the rotation of the values
};
std::string describe(const AttentionShapeCase& c);

// Keys or values of all heads: complete tiles in the format, the newest positions in a ring that is
// no longer than it must be, and those of a sink.
class HeadsCache {
 public:
  HeadsCache(KvFormat format, KvPart part, std::uint32_t dim, const AttentionShapeCase& c,
             std::vector<float> rows);

  KvMemory memory();
  KvSource source(std::uint32_t head) const;
  // Positions that a row reads in the format, but for a sink's.
  std::uint32_t encoded(std::uint32_t position) const;

 private:
  std::size_t f16_bytes() const { return kv_tile_bytes(KvFormat::kF16, part_, dim_); }
  void store(std::uint32_t head, const float* rows);

  KvFormat format_;
  KvPart part_;
  std::uint32_t dim_, heads_, positions_, tail_;
  std::uint32_t tiles_per_head_ = 0, recent_tiles_ = 0, sink_tiles_ = 0;
  std::vector<std::byte> tiles_, recent_, sink_;
};

class AttentionOfHeads {
 public:
  explicit AttentionOfHeads(const AttentionShapeCase& c);

  // [rows][heads][value_dim]
  std::vector<float> expected() const;
  // All of the task but states and results, which the caller adds. A step may begin with any of the
  // rows and have some of them.
  AttendTask task(std::uint32_t first_row, std::uint32_t rows);

 private:
  std::vector<float> expected_of(std::uint32_t row, std::uint32_t kv_head) const;
  std::uint32_t heads() const { return case_.kv_heads * case_.group; }

  AttentionShapeCase case_;
  KvRotation rotation_;
  std::vector<float> queries_;
  std::vector<float> sinks_;
  std::vector<std::uint32_t> positions_;  // of the rows
  HeadsCache keys_, values_;
};

}  // namespace hearth::kernels

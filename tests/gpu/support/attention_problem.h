// Attention of a step over a cache of some heads: by the scalar kernels, which are the
// specification, and on a device.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/gpu/attention.h"
#include "tests/gpu/support/heads_cache.h"

namespace hearth::kernels {

struct HeadsCase {
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
std::string describe(const HeadsCase& c);

class HeadsProblem {
 public:
  explicit HeadsProblem(const HeadsCase& c);

  // [rows][heads][value_dim]
  std::vector<float> expected() const;
  // Of rows [first_row, first_row + rows), computed in one step.
  std::vector<float> found(const TestDevice& on, std::uint32_t first_row, std::uint32_t rows) const;
  std::vector<float> found(const TestDevice& on) const { return found(on, 0, case_.rows); }

 private:
  std::vector<float> expected_of(std::uint32_t row, std::uint32_t kv_head) const;
  std::uint32_t heads() const { return case_.kv_heads * case_.group; }
  std::uint32_t position(std::uint32_t row) const { return case_.positions - case_.rows + row; }
  std::uint32_t first(std::uint32_t position) const;
  float score_scale() const;

  HeadsCase case_;
  KvRotation rotation_;
  std::vector<float> queries_, sinks_;
  HeadsCache keys_, values_;
};

}  // namespace hearth::kernels

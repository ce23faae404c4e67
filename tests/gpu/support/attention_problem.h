// Attention of a step over a cache of some heads: by the scalar kernels, which are the
// specification, and on a device.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/gpu/attention.h"
#include "tests/gpu/support/expected_activations.h"
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
  bool gated = false;
  bool apart = false;  // each head is a row of the results
};
std::string describe(const HeadsCase& c);

class HeadsProblem {
 public:
  explicit HeadsProblem(const HeadsCase& c);

  // Rows [first_row, first_row + rows) are computed in one step, as activations and as floats
  // alone.
  void expect_specified(const TestDevice& on, std::uint32_t first_row, std::uint32_t rows) const;
  void expect_specified(const TestDevice& on) const { expect_specified(on, 0, case_.rows); }
  void expect_specified_floats(const TestDevice& on) const;

 private:
  // [rows][heads][value_dim]
  std::vector<float> expected(std::uint32_t first_row, std::uint32_t rows) const;
  void attend(const TestDevice& on, std::uint32_t first_row, std::uint32_t rows,
              const QuantizeTask::Destination& to) const;
  std::uint32_t result_rows(std::uint32_t rows) const {
    return case_.apart ? rows * heads() : rows;
  }
  std::uint32_t result_columns() const { return (case_.apart ? 1 : heads()) * case_.value_dim; }
  // Gates are apart from each other, as behind queries.
  std::uint32_t gate_head_stride() const { return case_.value_dim + 3; }
  std::size_t gate_stride() const { return std::size_t{heads()} * gate_head_stride() + 1; }
  std::vector<float> expected_of(std::uint32_t row, std::uint32_t kv_head) const;
  std::uint32_t heads() const { return case_.kv_heads * case_.group; }
  std::uint32_t position(std::uint32_t row) const { return case_.positions - case_.rows + row; }
  std::uint32_t first(std::uint32_t position) const;
  float score_scale() const;

  HeadsCase case_;
  KvRotation rotation_;
  std::vector<float> queries_, sinks_, gates_;
  HeadsCache keys_, values_;
};

}  // namespace hearth::kernels

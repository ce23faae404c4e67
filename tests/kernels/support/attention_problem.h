// A cache of one head with random keys and values, and queries that attend to it.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cpu_kernels.h"

namespace hearth::kernels {

struct AttentionCase {
  std::uint32_t positions = 1;  // of the last query
  std::uint32_t group = 1;      // heads
  std::uint32_t rows = 1;       // the row before sees one position less
  std::uint32_t key_dim = 64, value_dim = 64;
  KvFormat keys = KvFormat::kF16, values = KvFormat::kF16;
  std::uint32_t tail = 0;       // positions at the end that are not in the format yet, at least
  std::uint32_t window = 0;     // positions a query sees, 0: all
  double deviation = 1;         // of the keys: larger is nearer to one-hot
  bool values_in_keys = false;  // `values` is then not used
};

class AttentionProblem {
 public:
  explicit AttentionProblem(const AttentionCase& c);

  std::uint32_t queries() const { return case_.group * case_.rows; }
  // All chunks in order, merged and finished: [queries][value_dim].
  std::vector<float> attend(const CpuKernels& table, float sink) const;
  std::vector<float> attend(const CpuKernels& table) const;
  // Query `i` alone.
  std::vector<float> attend_alone(const CpuKernels& table, std::uint32_t i) const;

  // The result in double from the values the cache stands for, and a bound of what kernels may
  // differ from it.
  struct Exact {
    std::vector<double> out, bound;
  };
  Exact exact(double sink) const;
  Exact exact() const;

  void store_key(std::uint32_t position, const std::vector<float>& row);  // of a float format
  void poison_key(std::uint32_t position);                                // a NaN
  void poison_value(std::uint32_t position);
  AttentionTask task() const;

 private:
  struct Stored {
    std::vector<std::byte> tiles, recent;
    std::vector<float> rows;  // as attention reads them [2][positions][dim]: format, recent
  };
  // The dot product of a query with a key, and the sum of the magnitudes of its terms.
  struct Dot {
    double value = 0, magnitude = 0;
  };
  Dot dot(std::uint32_t query, std::uint32_t position) const;
  Dot folded_dot(std::uint32_t query, std::uint32_t position) const;
  Stored store(KvPart part, KvFormat format, const std::vector<float>& rows, std::uint32_t dim);
  std::vector<float> run(const CpuKernels& table, AttentionTask task, float sink) const;
  const float* row_of(const Stored& stored, KvFormat format, std::uint32_t dim,
                      std::uint32_t position, std::uint32_t encoded) const;
  const float* value_row(std::uint32_t query, std::uint32_t position) const;
  bool in_format(KvFormat format, std::uint32_t position, std::uint32_t encoded) const;
  // The largest of the scales that a position's values have in the format.
  double largest_value_scale(std::uint32_t position) const;  // of the tile of 32 that has it

  AttentionCase case_;
  std::uint32_t tiles_;
  std::vector<float> values_;
  std::vector<std::int8_t> codes_;
  std::vector<float> scales_;
  std::vector<std::int16_t> sums_;
  std::vector<std::uint32_t> first_, end_, encoded_keys_, encoded_values_;
  Stored keys_, value_source_;
};

}  // namespace hearth::kernels

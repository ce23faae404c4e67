// Decode attention on a device against the scalar kernels: the same bits for every pair of formats,
// shape, context and number of rows, with warps of 32 and of 64 lanes.
#include <gtest/gtest.h>

#include <bit>
#include <limits>

#include "kernels/gpu/emulation/queue.h"
#include "kernels/gpu/launch_shape.h"
#include "tests/gpu/support/attention_case.h"

namespace hearth::kernels {
namespace emulated {
void launch_attend(const AttendTask& task, NativeStream stream);
}  // namespace emulated
namespace {

std::vector<float> attend(AttentionOfHeads& problem, const AttentionShapeCase& c, unsigned lanes,
                          std::uint32_t first_row, std::uint32_t rows) {
  constexpr float kUnset = std::numeric_limits<float>::quiet_NaN();
  const std::uint32_t heads = c.kv_heads * c.group;
  std::vector<float> states(attend_state_floats(rows, heads, c.value_dim), kUnset);
  std::vector<float> results(std::size_t{rows} * heads * c.value_dim, kUnset);
  AttendTask task = problem.task(first_row, rows);
  task.states = states.data();
  task.results = results.data();
  task.result_stride = std::size_t{heads} * c.value_dim;
  task.result_head_stride = c.value_dim;
  emulated::Queue queue(lanes, c.positions);
  emulated::launch_attend(task, &queue);
  return results;
}

std::vector<std::uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits;
  bits.reserve(values.size());
  for (const float value : values) bits.push_back(std::bit_cast<std::uint32_t>(value));
  return bits;
}

// With lanes of either number, in turn where there are many cases.
void expect_specified(const std::vector<AttentionShapeCase>& cases) {
  unsigned lanes = 32;
  for (const AttentionShapeCase& c : cases) {
    AttentionOfHeads problem(c);
    lanes = 96 - lanes;
    ASSERT_EQ(bits_of(attend(problem, c, lanes, 0, c.rows)), bits_of(problem.expected()))
        << lanes << " lanes, " << describe(c);
  }
}

// Positions for some of them to be read in the format, with its tile before and others behind.
std::uint32_t positions_for(KvFormat format) {
  return traits(format).sink() + 2 * traits(format).tile() + 5;
}

TEST(GpuAttention, EveryPairOfFormatsHasTheSpecifiedBits) {
  std::vector<AttentionShapeCase> cases;
  for (const KvFormatTraits& keys : kKvFormats)
    for (const KvFormatTraits& values : kKvFormats)
      cases.push_back(
          {.positions = std::max(positions_for(keys.format), positions_for(values.format)),
           .group = 2,
           .keys = keys.format,
           .values = values.format,
           .rotated = true});
  expect_specified(cases);
}

}  // namespace
}  // namespace hearth::kernels

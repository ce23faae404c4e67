// The CPU's part of a layer: what is handed over in a block of memory, by a test in place of a GPU,
// comes back with the bits of the scalar kernels, or as one error.
#include "runtime/gpu/cpu_lane.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <barrier>
#include <functional>
#include <optional>
#include <thread>

#include "base/error.h"
#include "runtime/gpu/cpu_lane_thread.h"
#include "tests/kernels/support/cpu_tables.h"
#include "tests/kernels/support/matrices.h"
#include "tests/runtime/support/heap_calls.h"

namespace hearth::runtime {
namespace {

using kernels::Activations;
using kernels::LaneJob;
using kernels::scalar_table;
using kernels::WeightFormat;

constexpr LayerIndex kLayer = 3;
constexpr std::uint32_t kExperts = 5;

struct Row {
  std::string name;
  WeightFormat hidden = WeightFormat::kQ4_K;
  WeightFormat down = WeightFormat::kQ6_K;
  std::uint32_t embedding = 256;
  std::uint32_t expert_ff = 256;
  Activation activation = Activation::kSilu;
  bool terms = false;
  bool weighs_inputs = false;
};

// Experts in memory; those of a set arrive one at a time.
class TestExperts final : public ExpertBytes {
 public:
  explicit TestExperts(const Row& row) : random(row.embedding + row.expert_ff) {
    for (std::uint32_t i = 0; i < kExperts; ++i) {
      gate.push_back(matrix(row.hidden, row.expert_ff, row.embedding));
      up.push_back(matrix(row.hidden, row.expert_ff, row.embedding));
      down.push_back(matrix(row.down, row.embedding, row.expert_ff));
    }
    wanted_.reserve(kExperts);
    given_.reserve(kExperts);
  }

  void begin(LayerIndex layer, std::span<const std::uint16_t> experts) override {
    EXPECT_EQ(layer, kLayer);
    wanted_.assign(experts.begin(), experts.end());
    next_ = 0;
  }
  // The first alone, then all others.
  std::span<const ArrivedExpert> arrived() override {
    if (on_arrival) on_arrival();
    given_.clear();
    const auto end = next_ == 0 ? 1 : static_cast<std::uint32_t>(wanted_.size());
    for (; next_ < end; ++next_) given_.push_back({next_, weights(wanted_[next_])});
    return given_;
  }
  void poll() override {}
  void computed() override {}
  void end() override { ++ends; }

  ExpertWeights weights(std::uint32_t expert) const {
    return {gate[expert]->view(), up[expert]->view(), down[expert]->view()};
  }

  using Matrix = std::unique_ptr<kernels::GuardedMatrix>;
  Matrix matrix(WeightFormat format, std::uint32_t rows, std::uint32_t columns) {
    return std::make_unique<kernels::GuardedMatrix>(format, rows, columns, kernels::Blocks::kRandom,
                                                    random);
  }
  Random random;
  std::vector<Matrix> gate, up, down;
  std::function<void()> on_arrival;
  int ends = 0;

 private:
  std::vector<std::uint16_t> wanted_;
  std::vector<ArrivedExpert> given_;
  std::uint32_t next_ = 0;
};

// A vector of weights, or rows of them.
struct TestVector {
  TestVector(Random& random, std::uint32_t rows, std::uint32_t columns)
      : values(kernels::normal_floats(random, std::size_t{rows} * columns)),
        matrix{.format = WeightFormat::kF32, .rows = rows, .columns = columns} {
    matrix.data = reinterpret_cast<const std::byte*>(values.data());
  }
  std::vector<float> values;
  kernels::WeightMatrix matrix;
};

// A lane with a block in ordinary memory, in which two rows chose experts.
class Lane {
 public:
  explicit Lane(const Row& shape)
      : row(shape),
        experts(shape),
        x(kRows, shape.embedding, experts.random),
        block_memory_(kernels::lane_block_bytes(lane_shape()).count + 64),
        arena_(CpuLane::bytes_needed(this->shape()), io::Arena::Pages::kDefault) {
    for (std::uint32_t m = 0; m < 3; ++m) {
      const std::uint32_t width = m == 2 ? row.embedding : row.expert_ff;
      scale_.emplace_back(experts.random, 1, kExperts);
      bias_.emplace_back(experts.random, kExperts, width);
    }
    ffn.experts = kExperts;
    ffn.embedding = row.embedding;
    ffn.width = row.expert_ff;
    ffn.activation = row.activation;
    ffn.weighs_inputs = row.weighs_inputs;
    if (row.terms) {
      ffn.gate_scale = {&scale_[0].matrix}, ffn.gate_bias = {&bias_[0].matrix};
      ffn.up_scale = {&scale_[1].matrix}, ffn.up_bias = {&bias_[1].matrix};
      ffn.down_scale = {&scale_[2].matrix}, ffn.down_bias = {&bias_[2].matrix};
    }
    const auto address = reinterpret_cast<std::uintptr_t>(block_memory_.data());
    block = kernels::lane_block_at(block_memory_.data() + (64 - address % 64) % 64, lane_shape());
    lane.emplace(
        CpuLane::Options{
            .shape = this->shape(), .block = block, .layers = {nullptr, nullptr, nullptr, &ffn}},
        scalar_table(), pool_, experts, arena_);
    const Bytes taken = Bytes(arena_.bytes().size()) - arena_.remaining();
    EXPECT_EQ(taken.count, CpuLane::bytes_needed(this->shape()).count);
    lane->begin_step();
  }

  static constexpr std::uint32_t kRows = 2, kUsed = 3, kPairs = kRows * kUsed;
  kernels::LaneShape lane_shape() const {
    return {.rows = kRows,
            .experts_used = kUsed,
            .embedding = row.embedding,
            .with_values = !kernels::takes_quantized_activations(row.hidden)};
  }
  CpuLane::Shape shape() const {
    return {.block = lane_shape(), .expert_ff = row.expert_ff, .threads = 2};
  }

  // Pairs 0 and 1 are the GPU's; expert 4 has both rows, experts 1 and 0 one each.
  void hand_over() {
    const std::vector<LaneJob> jobs{{4, 2, 2}, {1, 4, 1}, {0, 5, 1}};
    std::ranges::copy(jobs, block.jobs);
    std::ranges::copy(std::vector<std::uint32_t>{0, 1, 0, 1, 1, 0}, block.x_rows);
    for (std::uint32_t pair = 0; pair < kPairs; ++pair)
      block.x_weights[pair] = 0.25f + static_cast<float>(pair);
    const Activations from = x.view();
    const std::size_t n = std::size_t{kRows} * from.stride;
    if (block.x.values != nullptr) std::copy_n(from.values, n, block.x.values);
    std::copy_n(from.codes, n, block.x.codes);
    std::copy_n(from.scales, n / 32, block.x.scales);
    std::copy_n(from.sums, n / 16, block.x.sums);
    std::fill_n(block.results, kPairs * row.embedding, kUntouched);
    block.control->job_count = 3;
    ring();
  }
  void ring(std::uint32_t stamp = kernels::lane_stamp(kLayer)) {
    std::atomic_ref(block.control->doorbell).store(stamp, std::memory_order_release);
  }
  std::uint32_t done() const {
    return std::atomic_ref(block.control->done).load(std::memory_order_acquire);
  }
  // A thread takes memory as it begins, which may be long after the pool was made.
  void let_workers_begin() {
    std::barrier all(pool_.threads());
    pool_.run(pool_.threads(), [&](std::uint32_t, std::uint32_t) { all.arrive_and_wait(); });
  }

  std::vector<float> expected(std::uint32_t pair) const {
    const std::uint32_t expert = pair < 4 ? 4 : pair == 4 ? 1 : 0;
    Activations in = kernels::slice_rows(x.view(), block.x_rows[pair], 1);
    std::vector<float> values(in.values, in.values + in.stride);
    std::vector<float> scales(in.scales, in.scales + in.stride / 32);
    if (row.weighs_inputs) {
      scalar_table().scale(block.x_weights[pair], in.stride, values.data());
      scalar_table().scale(block.x_weights[pair], in.stride / 32, scales.data());
    }
    in.values = values.data(), in.scales = scales.data();
    const ExpertWeights weights = experts.weights(expert);
    const auto gate = product(weights.gate, in, 0, expert), up = product(weights.up, in, 1, expert);
    std::vector<std::byte> memory(kernels::ActivationBuffer::bytes_needed(1, row.expert_ff).count +
                                  64);
    const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
    kernels::ActivationBuffer hidden({memory.data() + (64 - address % 64) % 64, memory.size() - 64},
                                     1, row.expert_ff);
    hidden.set_shape(1, row.expert_ff);
    gated(scalar_table(), row.activation)(gate.data(), up.data(), row.expert_ff, hidden.values(0));
    scalar_table().quantize(hidden.values(0), row.expert_ff, hidden.codes(0), hidden.scales(0),
                            hidden.sums(0));
    return product(weights.down, hidden.view(), 2, expert);
  }

  static constexpr float kUntouched = -77;
  Row row;
  TestExperts experts;
  kernels::TestActivations x;
  ExpertFfn ffn;
  kernels::LaneBlock block;
  std::optional<CpuLane> lane;

 private:
  std::vector<float> product(const kernels::WeightMatrix& w, const Activations& in, std::uint32_t m,
                             std::uint32_t expert) const {
    std::vector<float> y(w.rows);
    scalar_table().matmul[static_cast<std::size_t>(w.format)](w, {0, w.rows}, in, y.data(), w.rows);
    if (!row.terms) return y;
    scalar_table().scale(scale_[m].values[expert], w.rows, y.data());
    scalar_table().add(&bias_[m].values[std::size_t{expert} * w.rows], w.rows, y.data());
    return y;
  }

  std::vector<TestVector> scale_, bias_;
  std::vector<std::byte> block_memory_;
  kernels::WorkerPool pool_{2};
  io::Arena arena_;
};

std::string name_of_row(const ::testing::TestParamInfo<Row>& info) { return info.param.name; }

class CpuLaneRows : public ::testing::TestWithParam<Row> {};

TEST_P(CpuLaneRows, GiveTheBitsOfScalar) {
  Lane lane(GetParam());
  EXPECT_FALSE(lane.lane->serve());
  lane.hand_over();
  EXPECT_EQ(lane.lane->handed_over(), kLayer);
  EXPECT_TRUE(lane.lane->serve());
  lane.lane->rethrow();
  EXPECT_EQ(lane.done(), kernels::lane_stamp(kLayer));
  EXPECT_EQ(lane.block.control->doorbell, 0u);
  EXPECT_EQ(lane.experts.ends, 1);
  const std::uint32_t n = GetParam().embedding;
  for (std::uint32_t pair = 0; pair < Lane::kPairs; ++pair) {
    const std::vector<float> found(&lane.block.results[pair * n],
                                   &lane.block.results[pair * n] + n);
    const auto expected = pair < 2 ? std::vector<float>(n, Lane::kUntouched) : lane.expected(pair);
    EXPECT_EQ(kernels::bits_of(found), kernels::bits_of(expected)) << "pair " << pair;
  }
}

INSTANTIATE_TEST_SUITE_P(All, CpuLaneRows,
                         ::testing::Values(Row{.name = "KQuants"},
                                           Row{.name = "BiasesAndClampedValues",
                                               .hidden = WeightFormat::kMXFP4,
                                               .down = WeightFormat::kMXFP4,
                                               .embedding = 96,
                                               .expert_ff = 160,
                                               .activation = Activation::kClamped,
                                               .terms = true},
                                           Row{.name = "WeighedInputs",
                                               .hidden = WeightFormat::kQ8_0,
                                               .down = WeightFormat::kQ5_1,
                                               .embedding = 64,
                                               .expert_ff = 32,
                                               .activation = Activation::kGelu,
                                               .weighs_inputs = true},
                                           Row{.name = "WeighedFloats",
                                               .hidden = WeightFormat::kF16,
                                               .down = WeightFormat::kBF16,
                                               .embedding = 50,
                                               .expert_ff = 45,
                                               .weighs_inputs = true}),
                         name_of_row);

TEST(CpuLane, ServingAllocatesNothing) {
  Lane lane({.name = ""});
  lane.let_workers_begin();
  lane.hand_over();
  lane.lane->serve();
  const std::uint64_t before = hearth::testing::heap_calls();
  lane.ring();
  lane.lane->serve();
  EXPECT_EQ(hearth::testing::heap_calls(), before);
}

// What a GPU hands over is not believed.
TEST(CpuLane, ADamagedListIsAnErrorAndEndsTheWaits) {
  const std::vector<std::function<void(Lane&)>> damages = {
      [](Lane& lane) { lane.block.control->job_count = 0; },
      [](Lane& lane) { lane.block.control->job_count = Lane::kPairs + 1; },
      [](Lane& lane) { lane.block.jobs[1].expert = kExperts; },
      [](Lane& lane) { lane.block.jobs[1].begin = Lane::kPairs + 1; },
      [](Lane& lane) { lane.block.jobs[1].rows = 0; },
      [](Lane& lane) { lane.block.jobs[0].rows = Lane::kRows + 1; },
      [](Lane& lane) { lane.block.jobs[2].rows = 2; },
      [](Lane& lane) { lane.block.x_rows[3] = Lane::kRows; },
      [](Lane& lane) { lane.ring(kernels::lane_stamp(kLayer + 1)); },  // no such layer
      [](Lane& lane) { lane.ring(kernels::lane_stamp(0)); },           // a layer without experts
  };
  for (std::size_t i = 0; i < damages.size(); ++i) {
    Lane lane({.name = ""});
    lane.hand_over();
    damages[i](lane);
    EXPECT_TRUE(lane.lane->serve());
    EXPECT_EQ(lane.done(), kernels::kLaneFailed) << i;
    try {
      lane.lane->rethrow();
      ADD_FAILURE() << i;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kDevice) << error.what();
    }
    // Also what is handed over later in the step is answered, and the next step begins anew.
    lane.hand_over();
    EXPECT_TRUE(lane.lane->serve());
    EXPECT_EQ(lane.done(), kernels::kLaneFailed) << i;
    lane.lane->begin_step();
    lane.hand_over();
    EXPECT_TRUE(lane.lane->serve());
    EXPECT_NO_THROW(lane.lane->rethrow());
    EXPECT_EQ(lane.done(), kernels::lane_stamp(kLayer)) << i;
  }
}

void wait_for_done(const Lane& lane, std::uint32_t stamp) {
  while (lane.done() < stamp) std::this_thread::yield();
}

TEST(CpuLaneThread, ServesFromTheDoorbellToTheEndOfAStep) {
  Lane lane({.name = ""});
  CpuLaneThread thread(*lane.lane);
  for (int step = 0; step < 20; ++step) {
    thread.begin_step();
    for (int layer = 0; layer < 3; ++layer) {
      lane.block.control->done = 0;  // as if it were another layer
      lane.hand_over();
      wait_for_done(lane, kernels::lane_stamp(kLayer));
    }
    thread.end_step();
  }
  EXPECT_EQ(lane.experts.ends, 60);
}

TEST(CpuLaneThread, HandsItsErrorToTheConductor) {
  Lane lane({.name = ""});
  lane.experts.on_arrival = [] { throw_error(ErrorCode::kIo, "model.gguf: cannot be read"); };
  CpuLaneThread thread(*lane.lane);
  thread.begin_step();
  lane.hand_over();
  wait_for_done(lane, kernels::kLaneFailed);
  try {
    thread.end_step();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_STREQ(error.what(), "model.gguf: cannot be read");
  }
  EXPECT_EQ(lane.experts.ends, 1);
}

TEST(CpuLaneThread, StopsInTheMidstOfAStep) {
  Lane lane({.name = ""});
  CpuLaneThread thread(*lane.lane);
  thread.begin_step();
}

// Many layers from a slow disk are no hang.
TEST(CpuLaneThread, AWaitIsAsLongAsTheStepGoesOn) {
  Lane lane({.name = ""});
  struct : Clock {
    Nanoseconds now() const override { return time += std::chrono::milliseconds(1); }
    mutable Nanoseconds time{0};
  } clock;
  constexpr StepBound kBound{.silence = std::chrono::milliseconds(20),
                             .after_end = std::chrono::milliseconds(2)};
  int looks = 0;
  const auto goes_on = [&] {
    if (looks % 5 == 0) lane.block.control->done += 1;
    return ++looks > 100;
  };
  EXPECT_NO_THROW(wait_for_step(goes_on, *lane.lane, clock, kBound));
  EXPECT_GT(clock.time, 5 * kBound.silence);
  EXPECT_THROW(wait_for_step([] { return false; }, *lane.lane, clock, kBound), Error);
}

// An expert whose bytes do not come: the wait ends within its bound, and the lane when they come.
TEST(CpuLaneThread, AWaitThatIsTooLongEndsWithALine) {
  Lane lane({.name = ""});
  std::atomic<bool> may_arrive = false;
  lane.experts.on_arrival = [&] { may_arrive.wait(false); };
  CpuLaneThread thread(*lane.lane);
  thread.begin_step();
  lane.hand_over();
  std::string line;
  try {
    wait_for_step(
        [] { return false; }, *lane.lane, steady_clock(),
        {.silence = std::chrono::milliseconds(20), .after_end = std::chrono::milliseconds(2)});
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDevice);
    line = error.what();
  }
  EXPECT_NE(line.find("the experts of layer 3 within 0.02 s"), std::string::npos) << line;
  EXPECT_EQ(lane.done(), kernels::kLaneFailed);
  may_arrive = true;
  may_arrive.notify_all();
}

}  // namespace
}  // namespace hearth::runtime

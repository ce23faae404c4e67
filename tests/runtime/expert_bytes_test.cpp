// Experts for the CPU lane from the store: each comes once, with its own bytes, whatever the order
// of the reads and however few slots there are.
#include "runtime/gpu/expert_bytes.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <vector>

#include "base/error.h"
#include "io/read_window.h"
#include "runtime/engine.h"
#include "tests/runtime/support/fake_reader.h"

namespace hearth::testing {
namespace {

using runtime::ArrivedExpert;
using runtime::Engine;
using runtime::ExpertWeights;
using runtime::StoredExpertBytes;

const std::string kModel = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf";
constexpr std::uint32_t kExperts = 16;  // of each layer of that model
constexpr LayerIndex kLayer = 1;

// Three matrices of 64 x 32 in Q4_0, 18 bytes for 32 values.
const Bytes kSlot = Bytes(3 * io::window_capacity(64 * 32 / 32 * 18, FakeReader::kAlignment));

Engine open(const std::shared_ptr<ReadWeather>& weather, std::uint32_t slots) {
  return Engine({.model_path = kModel,
                 .budget = {.expert_ram = kSlot * slots},
                 .context = 64,
                 .threads = 1,
                 .open_reader = readers_in(weather)});
}

using ThreeMatrices = std::vector<std::vector<std::byte>>;
ThreeMatrices bytes_of(const ExpertWeights& weights) {
  ThreeMatrices bytes;
  for (const kernels::WeightMatrix* matrix : {&weights.gate, &weights.up, &weights.down})
    bytes.emplace_back(matrix->data, matrix->data + matrix->bytes());
  return bytes;
}

// Asks for the experts and takes all, as the lane does.
std::map<std::uint16_t, ThreeMatrices> take(StoredExpertBytes& source,
                                            const std::vector<std::uint16_t>& experts) {
  std::map<std::uint16_t, ThreeMatrices> taken;
  source.begin(kLayer, experts);
  while (taken.size() < experts.size()) {
    for (const ArrivedExpert& one : source.arrived())
      EXPECT_TRUE(taken.emplace(experts[one.place], bytes_of(one.weights)).second);
    source.poll();
    source.computed();
  }
  source.end();
  return taken;
}

std::vector<std::uint16_t> all_experts() {
  std::vector<std::uint16_t> experts;
  for (std::uint16_t expert = 0; expert < kExperts; ++expert) experts.push_back(expert);
  return experts;
}

std::map<std::uint16_t, ThreeMatrices> right_bytes() {
  Engine engine({.model_path = kModel, .budget = {.expert_share = 1.0}, .context = 64});
  StoredExpertBytes source(engine.experts(), kExperts);
  return take(source, all_experts());
}

TEST(StoredExpertBytes, EachComesOnceWithItsOwnBytes) {
  const auto right = right_bytes();
  ASSERT_EQ(right.size(), kExperts);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto weather = std::make_shared<ReadWeather>();
    weather->random = Random(seed);
    weather->longest_delay = 10;
    Engine engine = open(weather, 4 + static_cast<std::uint32_t>(seed));
    StoredExpertBytes source(engine.experts(), kExperts);
    for (const std::size_t count : {1u, 3u, 16u}) {
      std::vector<std::uint16_t> experts = all_experts();
      for (std::size_t i = 0; i < count; ++i)
        std::swap(experts[i], experts[i + weather->random.below(kExperts - i)]);
      experts.resize(count);
      for (const auto& [expert, bytes] : take(source, experts))
        EXPECT_EQ(bytes, right.at(expert)) << "seed " << seed << ", expert " << expert;
    }
  }
}

// Which leaves those that are leased.
void drop_all(Engine& engine) {
  engine.experts().settle();
  engine.experts().drop_all();
  for (std::uint16_t expert = 0; expert < kExperts; ++expert)
    EXPECT_EQ(engine.experts().state({kLayer, expert}), profiler::ExpertState::kAbsent) << expert;
}

TEST(StoredExpertBytes, AfterAnErrorNothingStaysLeased) {
  const auto weather = std::make_shared<ReadWeather>();
  weather->longest_delay = 5;
  Engine engine = open(weather, 6);
  StoredExpertBytes source(engine.experts(), kExperts);
  const auto right = right_bytes();
  for (std::uint64_t n = 0; n < 12; ++n) {
    drop_all(engine);
    weather->expect_calm();
    weather->fault = [n](std::uint64_t number, const io::ReadRequest&) {
      return number == n ? EIO : 0;
    };
    try {
      take(source, {3, 1, 4, 15});
      ADD_FAILURE() << "read " << n << " of 12";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kIo) << error.what();
    }
    source.end();
    weather->expect_calm();
    drop_all(engine);
    for (const auto& [expert, bytes] : take(source, {3, 1, 4, 15}))
      EXPECT_EQ(bytes, right.at(expert));
  }
}

}  // namespace
}  // namespace hearth::testing

// Attention over contexts of several chunks: the same bits with chunks walked or side by side, for
// rows together or alone.
#include "runtime/blocks/cached_attention.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/random.h"
#include "runtime/engine.h"

namespace hearth::runtime {
namespace {

using kernels::KvFormat;
using kernels::KvPart;

constexpr std::uint32_t kDim = 32;

std::vector<float> random_row(Random& random, std::size_t n) {
  std::vector<float> row(n);
  for (float& value : row) value = static_cast<float>(4 * random.uniform() - 2);
  return row;
}

// A full cache of one layer, and queries of its last rows.
class LongContext {
 public:
  LongContext(const AttentionShape& shape, const KvFormats& formats, std::uint32_t context,
              std::uint32_t rows)
      : shape_(shape),
        context_(context),
        rows_(rows),
        arena_(KvCache::needs(layers(), formats, "model").bytes(context, context)),
        kv_(layers(), formats, context, context, arena_) {
    Random random(context);
    for (std::uint32_t p = 0; p < context; ++p)
      for (std::uint32_t head = 0; head < shape.kv_heads; ++head)
        for (const KvPart part : {KvPart::kKeys, KvPart::kValues})
          kv_.store(0, part, head, p, random_row(random, kDim).data());
    std::vector<float> memory(kernels::kKvLongestTile * kDim);
    for (const KvPart part : {KvPart::kKeys, KvPart::kValues})
      for (std::uint32_t tile = 0; tile < kv_.due(part, 0, context).end; ++tile)
        for (std::uint32_t head = 0; head < shape.kv_heads; ++head)
          kv_.encode(0, part, head, tile, memory.data());
    queries_ = random_row(random, std::size_t{rows} * width());
  }

  // The bits of all rows, in steps of so many.
  std::vector<std::uint32_t> attended(Engine& engine, std::uint32_t rows_of_step) {
    const ScratchShape shape{.rows = rows_of_step,
                             .threads = engine.pool().threads(),
                             .attention_width = width(),
                             .attention_states = shape_.heads * (kDim + 2),
                             .key_dim = kDim,
                             .value_dim = kDim};
    io::Arena arena(Scratch::bytes_needed(shape));
    Scratch scratch(shape, arena);
    StepTimes times;
    const std::vector<TokenId> tokens(rows_of_step, 0);
    const auto ignore = [](const profiler::Routing&) {};
    std::vector<std::uint32_t> bits;
    for (std::uint32_t row = 0; row < rows_; row += rows_of_step) {
      const Step step{.tokens = tokens,
                      .position = context_ - rows_ + row,
                      .kernels = engine.kernels(),
                      .pool = engine.pool(),
                      .experts = engine.experts(),
                      .prefetcher = engine.prefetcher(),
                      .kv = kv_,
                      .scratch = scratch,
                      .clock = engine.clock(),
                      .times = times,
                      .on_routed = ignore};
      attend(step, 0, shape_, {queries_.data() + std::size_t{row} * width(), width()});
      for (std::uint32_t i = 0; i < rows_of_step; ++i) {
        const std::size_t before = bits.size();
        bits.resize(before + width());
        std::memcpy(bits.data() + before, scratch.attended.values(i), width() * sizeof(float));
      }
    }
    return bits;
  }

 private:
  std::vector<KvLayer> layers() const { return {{shape_.kv_heads, kDim, kDim}}; }
  std::uint32_t width() const { return shape_.heads * kDim; }

  const AttentionShape shape_;
  const std::uint32_t context_, rows_;
  io::Arena arena_;
  KvCache kv_;
  std::vector<float> queries_;
};

// One engine for each number of threads; its model does not matter.
Engine engine_with(std::uint32_t threads) {
  return Engine({.model_path = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf",
                 .budget = {.expert_share = 1.0},
                 .context = 64,
                 .threads = threads});
}

void expect_one_answer(LongContext& context, std::uint32_t rows) {
  Engine one = engine_with(1), three = engine_with(3);
  const std::vector<std::uint32_t> expected = context.attended(one, rows);
  for (std::uint32_t of_step = 1; of_step <= rows; of_step *= 2) {
    EXPECT_EQ(context.attended(one, of_step), expected) << of_step << " rows at a time";
    EXPECT_EQ(context.attended(three, of_step), expected) << of_step << " rows, 3 threads";
  }
}

TEST(CachedAttention, ChunksSideBySideGiveTheBitsOfOneAfterTheOther) {
  for (const KvFormats& formats :
       {KvFormats{}, KvFormats{.keys = KvFormat::kQ8_0, .values = KvFormat::kQ4_0, .tail = 20},
        KvFormats{.keys = KvFormat::kKvarn4, .values = KvFormat::kKvarn3, .tail = 20}}) {
    LongContext grouped({8, 2, kDim, kDim}, formats, 8230, 4);
    expect_one_answer(grouped, 4);
    LongContext wide({66, 1, kDim, kDim}, formats, 4200, 4);  // more heads than a task takes
    expect_one_answer(wide, 4);
  }
}

// From the 262145th position on chunks are twice as long. Eight rows make tasks of two with one
// thread, and one of these has a row on each side.
TEST(CachedAttention, RowsOnBothSidesOfALongerChunk) {
  LongContext context({1, 1, kDim, kDim}, {}, 262'147, 8);
  expect_one_answer(context, 8);
}

TEST(CachedAttention, WindowsThatBeginInAnyChunk) {
  for (const KvFormats& formats :
       {KvFormats{}, KvFormats{.keys = KvFormat::kQ8_0, .values = KvFormat::kQ4_0, .tail = 20}}) {
    for (const AttentionWindow window :
         {AttentionWindow{100}, AttentionWindow{4200}, AttentionWindow{8192, true}}) {
      LongContext context(
          {.heads = 8, .kv_heads = 2, .key_dim = kDim, .value_dim = kDim, .window = window},
          formats, 8230, 4);
      expect_one_answer(context, 4);
    }
  }
}

TEST(CachedAttention, AWindowLongerThanTheContextIsNone) {
  const AttentionShape whole{8, 2, kDim, kDim};
  AttentionShape windowed = whole;
  windowed.window.positions = 200;
  Engine engine = engine_with(1);
  LongContext expected(whole, {}, 200, 4), wide(windowed, {}, 200, 4);
  EXPECT_EQ(wide.attended(engine, 4), expected.attended(engine, 4));
  windowed.window.positions = 196;
  LongContext narrow(windowed, {}, 200, 4);
  EXPECT_NE(narrow.attended(engine, 4), expected.attended(engine, 4));
}

TEST(AttentionWindow, BeginsWhereItSays) {
  const AttentionWindow none, sliding{8}, chunked{8, true};
  for (const std::uint32_t position : {0u, 7u, 8u, 100u}) EXPECT_EQ(none.first(position), 0u);
  EXPECT_EQ(sliding.first(0), 0u);
  EXPECT_EQ(sliding.first(7), 0u);
  EXPECT_EQ(sliding.first(8), 1u);
  EXPECT_EQ(sliding.first(100), 93u);
  EXPECT_EQ(chunked.first(7), 0u);
  EXPECT_EQ(chunked.first(8), 8u);
  EXPECT_EQ(chunked.first(15), 8u);
  EXPECT_EQ(chunked.first(100), 96u);
}

}  // namespace
}  // namespace hearth::runtime

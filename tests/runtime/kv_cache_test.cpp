// The cache of keys and values: what is read where, over any sequence of steps and ways back.
#include "runtime/kv_cache.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "kernels/quant/half.h"

namespace hearth::runtime {
namespace {

using kernels::kKvTile;
using kernels::KvFormat;
using kernels::KvPart;

constexpr std::uint32_t kDim = 32, kHeads = 2, kContext = 700;
constexpr KvPart kParts[] = {KvPart::kKeys, KvPart::kValues};

// What is stored for a position in a timeline: a value for each channel, the same for all heads but
// for a factor.
std::vector<float> row_of(std::uint32_t timeline, std::uint32_t position, std::uint32_t head) {
  Random random(timeline * 100'000 + position);
  std::vector<float> row(kDim);
  for (float& value : row)
    value = static_cast<float>(random.normal()) * static_cast<float>(head + 1);
  return row;
}

// A cache of one layer beside the rows that it was given.
class Followed {
 public:
  Followed(const KvFormats& formats, std::uint32_t batch)
      : formats_(formats),
        arena_(needs(formats).bytes(kContext, batch)),
        kv_(layers(), formats, kContext, batch, arena_),
        timeline_of_(kContext, 0) {}

  static std::vector<KvLayer> layers() { return {{kHeads, kDim, kDim}}; }
  static profiler::KvNeeds needs(const KvFormats& formats) {
    return KvCache::needs(layers(), formats, "model");
  }

  void go_back(std::uint32_t position) {
    position_ = position;
    timeline_ += 1;
  }

  // Stores and encodes as a step does, then looks at all that its rows read.
  void step(std::uint32_t rows) {
    for (std::uint32_t p = position_; p < position_ + rows; ++p) {
      timeline_of_[p] = timeline_;
      for (std::uint32_t head = 0; head < kHeads; ++head)
        for (const KvPart part : kParts)
          kv_.store(0, part, head, p, row_of(timeline_, p, head).data());
    }
    std::vector<float> memory(kernels::kKvLongestTile * kDim);
    for (const KvPart part : kParts) {
      const TileRange due = kv_.due(part, position_, rows);
      for (std::uint32_t tile = due.begin; tile < due.end; ++tile)
        for (std::uint32_t head = 0; head < kHeads; ++head)
          kv_.encode(0, part, head, tile, memory.data());
    }
    // What the others read lies between.
    expect_read(position_);
    expect_read(position_ + rows - 1);
    position_ += rows;
  }

  std::uint32_t position() const { return position_; }

 private:
  // `positions` rows from `begin` on as they must be read in `format`.
  std::vector<float> expected(KvFormat format, KvPart part, std::uint32_t head, std::uint32_t begin,
                              std::uint32_t positions) const {
    std::vector<float> rows(positions * kDim, 0.0f);
    std::vector<std::byte> memory(kernels::kv_tile_bytes(format, part, kDim));
    for (std::uint32_t p = begin; p < begin + positions && p < kContext; ++p) {
      const std::vector<float> row = row_of(timeline_of_[p], p, head);
      if (!kernels::traits(format).quantized())
        kernels::store_row(format, part, row.data(), kDim, p % kKvTile, memory.data());
      for (std::uint32_t c = 0; c < kDim; ++c)
        rows[(p - begin) * kDim + c] = kernels::f32_of_f16(kernels::f16_of_f32(row[c]));
    }
    if (kernels::traits(format).quantized())
      kernels::encode_tile(format, part, rows.data(), kDim, memory.data());
    kernels::decode_tile(format, part, memory.data(), kDim, rows.data());
    return rows;
  }

  void expect_read(std::uint32_t position) const {
    for (std::uint32_t head = 0; head < kHeads; ++head)
      for (const KvPart part : kParts) {
        const kernels::KvSource source = kv_.source(0, part, head);
        const kernels::KvFormatTraits& row = kernels::traits(source.format);
        const std::uint32_t encoded = kv_.encoded(part, position);
        for (std::uint32_t p = 0; p <= position;) {
          const bool stored = p >= row.sink() && p < encoded;
          const KvFormat format = stored ? source.format : KvFormat::kF16;
          const std::uint32_t count = kernels::traits(format).tile();
          const std::byte* const from =
              stored ? source.tiles + (p - row.sink()) / count * bytes(format, part)
              : p < row.sink()
                  ? source.sink + p / count * bytes(format, part)
                  : source.recent + p / count % source.recent_tiles * bytes(format, part);
          std::vector<float> rows(count * kDim);
          kernels::decode_tile(format, part, from, kDim, rows.data());
          const std::vector<float> wanted = expected(format, part, head, p, count);
          const std::size_t seen = std::min(count, position + 1 - p) * kDim;
          for (std::size_t i = 0; i < seen; ++i)
            ASSERT_EQ(rows[i], wanted[i]) << "position " << p + i / kDim << " as seen from "
                                          << position << ", head " << head << ", " << row.name;
          p += count;
        }
      }
  }

  static std::size_t bytes(KvFormat format, KvPart part) {
    return kernels::kv_tile_bytes(format, part, kDim);
  }

  KvFormats formats_;
  io::Arena arena_;
  KvCache kv_;
  std::uint32_t position_ = 0, timeline_ = 0;
  std::vector<std::uint32_t> timeline_of_;  // of the row that was last stored at a position
};

RC_GTEST_PROP(KvCache, EveryRowReadsWhatWasStored, ()) {
  const auto any_format = [] {
    return kernels::kKvFormats[*rc::gen::inRange<std::size_t>(0, kernels::kKvFormatCount)].format;
  };
  KvFormats formats{.keys = any_format(), .values = any_format()};
  if (formats.quantized()) formats.tail = *rc::gen::inRange(0u, 200u);
  const auto batch = *rc::gen::inRange(1u, 150u);
  Followed cache(formats, batch);
  for (int i = 0; i < 8; ++i) {
    const auto rows = *rc::gen::inRange(1u, batch + 1);
    if (cache.position() + rows > kContext) break;
    cache.step(rows);
    // A tile more than a step needs is kept: as much may be taken back after any step.
    if (*rc::gen::inRange(0, 4) == 0)
      cache.go_back(cache.position() - std::min(cache.position(), *rc::gen::inRange(0u, 32u)));
    if (*rc::gen::inRange(0, 8) == 0) cache.go_back(0);
    RC_ASSERT(!::testing::Test::HasFailure());
  }
}

TEST(KvCache, WhatARowReadsInTheFormatFollowsFromItsPosition) {
  const KvFormats formats{.keys = KvFormat::kQ8_0, .values = KvFormat::kF16, .tail = 40};
  io::Arena arena(Followed::needs(formats).bytes(kContext, 64));
  const KvCache kv(Followed::layers(), formats, kContext, 64, arena);
  for (const auto& [position, encoded] : std::vector<std::pair<std::uint32_t, std::uint32_t>>{
           {0, 0}, {39, 0}, {70, 0}, {71, 32}, {102, 32}, {103, 64}, {600, 544}})
    EXPECT_EQ(kv.encoded(KvPart::kKeys, position), encoded) << position;
  EXPECT_EQ(kv.encoded(KvPart::kValues, 70), 96u);
}

// Whole tiles of 128 positions, and never the first of them.
TEST(KvCache, KvarnKeepsItsFirstPositionsAsTheyWere) {
  const KvFormats formats{.keys = KvFormat::kKvarn4, .values = KvFormat::kKvarn2, .tail = 40};
  io::Arena arena(Followed::needs(formats).bytes(kContext, 64));
  const KvCache kv(Followed::layers(), formats, kContext, 64, arena);
  for (const auto& [position, encoded] : std::vector<std::pair<std::uint32_t, std::uint32_t>>{
           {0, 128}, {294, 128}, {295, 256}, {422, 256}, {423, 384}, {699, 640}})
    EXPECT_EQ(kv.encoded(KvPart::kKeys, position), encoded) << position;
  const profiler::KvPieces pieces = Followed::needs(formats).keys;
  EXPECT_EQ(pieces.sink_tiles(), 4u);
  EXPECT_EQ(pieces.tiles(kContext), 4u);  // of positions 128 to 639
  EXPECT_EQ(pieces.tiles(100), 0u);
  // 40 + 128 + 64 positions are 8 tiles of 32, and one for a way back.
  EXPECT_EQ(pieces.recent_tiles(kContext, 64, 40), 9u);
}

// Every tile once, in the step whose rows are the first to read it in the format.
TEST(KvCache, TilesAreEncodedOnce) {
  for (const KvFormat format : {KvFormat::kQ4_0, KvFormat::kTurbo3, KvFormat::kKvarn5}) {
    const KvFormats formats{.keys = KvFormat::kF16, .values = format, .tail = 50};
    io::Arena arena(Followed::needs(formats).bytes(kContext, 100));
    const KvCache kv(Followed::layers(), formats, kContext, 100, arena);
    const kernels::KvFormatTraits& row = kernels::traits(format);
    std::uint32_t done = 0, position = 0;
    for (const std::uint32_t rows : {1u, 100u, 31u, 32u, 1u, 1u, 77u, 100u, 100u, 3u}) {
      EXPECT_EQ(kv.due(KvPart::kKeys, position, rows).count(), 0u);
      const TileRange due = kv.due(KvPart::kValues, position, rows);
      EXPECT_EQ(due.begin, done);
      position += rows;
      EXPECT_EQ(row.sink() + due.end * row.tile(), kv.encoded(KvPart::kValues, position - 1));
      done = due.end;
    }
    EXPECT_GT(done, 0u);
  }
}

// Attention multiplies what a row does not see with 0, so that it has to be finite.
TEST(KvCache, ANanOfAnotherTimelineIsGone) {
  const std::vector<float> bad(kDim, std::numeric_limits<float>::quiet_NaN()), good(kDim, 1.0f);
  for (const KvFormat format :
       {KvFormat::kF32, KvFormat::kBF16, KvFormat::kQ8_0, KvFormat::kKvarn3}) {
    const KvFormats formats{.keys = format, .values = format};
    io::Arena arena(Followed::needs(formats).bytes(kContext, 64));
    const KvCache kv(Followed::layers(), formats, kContext, 64, arena);
    for (std::uint32_t p = 0; p < kKvTile; ++p) kv.store(0, KvPart::kValues, 1, p, bad.data());
    kv.store(0, KvPart::kValues, 1, 0, good.data());
    const kernels::KvSource source = kv.source(0, KvPart::kValues, 1);
    std::vector<float> rows(kKvTile * kDim);
    const std::byte* const f16 = source.sink != nullptr ? source.sink : source.recent;
    kernels::decode_tile(f16 != nullptr ? KvFormat::kF16 : format, KvPart::kValues,
                         f16 != nullptr ? f16 : source.tiles, kDim, rows.data());
    for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i], i < kDim ? 1.0f : 0.0f);
  }
}

TEST(KvCache, BytesOfEachFormat) {
  const auto bits = [](KvFormat format) {
    const profiler::KvNeeds needs = Followed::needs({.keys = format, .values = format});
    const std::uint32_t values = needs.keys.tile * kHeads * 2 * kDim;
    return static_cast<double>((needs.keys.per_tile + needs.values.per_tile).count * 8) / values;
  };
  EXPECT_EQ(bits(KvFormat::kF32), 32);
  EXPECT_EQ(bits(KvFormat::kBF16), 16);
  EXPECT_EQ(bits(KvFormat::kQ8_0), 8.5);
  EXPECT_EQ(bits(KvFormat::kQ5_1), 6);
  EXPECT_EQ(bits(KvFormat::kQ4_0), 4.5);
  // Slices of 32 channels: a scale of 16 bits for each; and scales of 384 bytes for keys, 576 for
  // values, for 4096 codes.
  EXPECT_EQ(bits(KvFormat::kTurbo3), 3.5);
  EXPECT_EQ(bits(KvFormat::kKvarn4), 4 + (384 + 576) * 8 / 2.0 / 4096);
  EXPECT_EQ(Followed::needs({}).keys.recent_per_tile, Bytes(0));
}

TEST(KvCache, LayersWithoutKeysHoldNothing) {
  for (const kernels::KvFormatTraits& format : kernels::kKvFormats) {
    const KvFormats formats{.keys = format.format, .values = format.format};
    const profiler::KvNeeds needs = KvCache::needs({KvLayer{}}, formats, "m.gguf");
    EXPECT_EQ(needs.bytes(kContext, 64), needs.alignment) << format.name;
    io::Arena arena(needs.bytes(kContext, 64));
    const KvCache kv({KvLayer{}}, formats, kContext, 64, arena);
    kv.visit(kContext, [&](std::span<std::byte>) { ADD_FAILURE() << format.name; });
  }
}

// Latents are kept once, as keys.
TEST(KvCache, ValuesInKeysTakeNothing) {
  KvLayer layer{.heads = 1, .key_dim = 96, .value_dim = 64, .values_in_keys = true};
  const KvFormats formats{.keys = KvFormat::kQ8_0, .values = KvFormat::kQ8_0};
  const profiler::KvNeeds latents = KvCache::needs({layer}, formats, "m.gguf");
  layer.values_in_keys = false;
  const profiler::KvNeeds apart = KvCache::needs({layer}, formats, "m.gguf");
  EXPECT_EQ(latents.keys.per_tile, apart.keys.per_tile);
  EXPECT_EQ(latents.values.per_tile + latents.values.recent_per_tile, Bytes(0));
  EXPECT_EQ(latents.alignment * 2, apart.alignment);
}

TEST(KvCache, HeadsThatAFormatCannotHoldAreRefused) {
  const std::vector<KvLayer> layers{{.heads = 2, .key_dim = 64, .value_dim = 48}};
  EXPECT_NO_THROW(KvCache::needs(layers, {.keys = KvFormat::kQ8_0}, "m.gguf"));
  try {
    KvCache::needs(layers, {.values = KvFormat::kQ4_1}, "m.gguf");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_STREQ(error.what(),
                 "m.gguf: values of 48 channels a head cannot be kept in q4_1, whose blocks have "
                 "32; use f16");
  }
}

}  // namespace
}  // namespace hearth::runtime

// Every format of keys and values in a whole model on a device: the logits of the CPU, bit for bit,
// also of the rows that read a tile just when it is encoded.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/gpu/device_decoder.h"
#include "tests/gpu/support/model_run.h"
#include "tests/gpu/support/one_device.h"
#include "tests/io/support/temporary_directory.h"
#include "tests/runtime/support/latent_model.h"

namespace hearth::runtime {
namespace {

using kernels::KvFormat;
using kernels::KvFormatTraits;

// A tile is encoded when its end and the tail behind it were written: with the last token of a
// step, or within one of many.
constexpr std::uint32_t kTile = 32, kBeforeTheEnd = 3;
const std::vector<std::uint32_t> kBetweenSteps{2, 1, 2};
const std::vector<std::uint32_t> kWithinAStep{8, 1};

// A warp of either width by turns: what depends on it is in the rows of each kernel.
void expect_bits_of_the_cpu(const Case& of) {
  static unsigned lanes = 32;
  lanes = 96 - lanes;
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  kernels::OneDevice device({.lanes = lanes});
  DeviceModel model(*engine, device.get(), device.kernels());
  DeviceDecoder decoder(model, {.context = of.context, .formats = engine->kv_formats()});
  expect_same(expected, run_on_device(of, *engine, decoder),
              fmt::format("{}/{}, {} lanes", kernels::traits(of.formats.keys).name,
                          kernels::traits(of.formats.values).name, lanes));
}

// What is before was not computed, but is encoded as if it were.
void expect_bits_at_the_end(std::uint32_t tile, Case of, const std::vector<std::uint32_t>& pieces) {
  of.random = tile + of.formats.tail - kBeforeTheEnd;
  of.pieces = pieces;
  expect_bits_of_the_cpu(of);
}

void expect_bits_at_the_end(std::uint32_t tile, const Case& of) {
  expect_bits_at_the_end(tile, of, kBetweenSteps);
  expect_bits_at_the_end(tile, of, kWithinAStep);
}

TEST(DeviceKv, LatentsInEveryFormatThatHoldsThem) {
  const io::TemporaryDirectory directory;
  const std::string path = directory.file("latent.gguf");
  testing::write_latent_model(path);
  std::uint32_t tail = 0;
  for (const KvFormatTraits& row : kernels::kKvFormats) {
    if (!row.holds_latents()) continue;
    tail = row.quantized() ? (tail + 2) % 5 : 0;
    expect_bits_at_the_end(
        kTile, {.model = path, .formats = {.keys = row.format, .values = row.format, .tail = tail}},
        tail % 4 == 0 ? kBetweenSteps : kWithinAStep);
  }
}

TEST(DeviceKv, LatentsThatAreNotRotated) {
  const io::TemporaryDirectory directory;
  const std::string path = directory.file("latent.gguf");
  testing::write_latent_model(path);
  expect_bits_at_the_end(
      kTile, {.model = path,
              .formats = {.keys = KvFormat::kQ4_0, .values = KvFormat::kQ4_0, .rotated = false}});
}

TEST(DeviceKv, PairsOfFormats) {
  const KvFormats pairs[] = {
      {.keys = KvFormat::kF32, .values = KvFormat::kBF16},
      {.keys = KvFormat::kQ5_0, .values = KvFormat::kIQ4_NL, .tail = 3},
      {.keys = KvFormat::kQ4_0, .values = KvFormat::kF16, .rotated = false},
      {.keys = KvFormat::kTurbo4, .values = KvFormat::kTurbo2},
      {.keys = KvFormat::kQ8_0, .values = KvFormat::kTurbo3, .tail = 4},
  };
  for (const KvFormats& formats : pairs)
    expect_bits_at_the_end(kTile, {.model = "qwen3moe", .formats = formats});
}

class DeviceKvarn : public ::testing::TestWithParam<KvFormats> {};

// Its stored tiles have 128 positions, and the first is never encoded.
TEST_P(DeviceKvarn, BeyondTheFirstTileThatIsEncoded) {
  expect_bits_at_the_end(256, {.model = "qwen3moe", .formats = GetParam(), .context = 288});
}

INSTANTIATE_TEST_SUITE_P(
    Pairs, DeviceKvarn,
    ::testing::Values(KvFormats{.keys = KvFormat::kKvarn4, .values = KvFormat::kTurbo3, .tail = 3},
                      KvFormats{.keys = KvFormat::kQ5_1, .values = KvFormat::kKvarn5}),
    [](const auto& of) {
      return fmt::format("{}_{}", kernels::traits(of.param.keys).name,
                         kernels::traits(of.param.values).name);
    });

}  // namespace
}  // namespace hearth::runtime

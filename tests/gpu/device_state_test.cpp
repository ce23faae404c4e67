// What a session keeps, moved between the CPU and a device: the same bytes, and the same logits
// behind them.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "runtime/session.h"
#include "runtime/session_file.h"
#include "tests/gpu/support/made_device.h"
#include "tests/io/support/temporary_directory.h"

namespace hearth::runtime {
namespace {

using kernels::KvFormat;
using State = std::vector<std::byte>;

struct Formats {
  const char* model;
  KvFormat keys = KvFormat::kF16, values = KvFormat::kF16;
  std::uint32_t positions = 70;
};

// Of floats, of blocks, of both, in a latent cache, of formats with a sink, and with a recurrent
// state.
constexpr Formats kFormats[] = {{"qwen3moe"},
                                {"qwen3moe", KvFormat::kQ8_0, KvFormat::kQ4_1},
                                {"gemma4", KvFormat::kF16, KvFormat::kQ5_0},
                                {"deepseek2-v3"},
                                {"qwen3moe", KvFormat::kKvarn4, KvFormat::kKvarn4, 290},
                                {"qwen35moe"}};

EngineOptions options_of(const Formats& formats) {
  EngineOptions options = golden_options(formats.model);
  options.context = 300;
  options.key_format = formats.keys;
  options.value_format = formats.values;
  if (formats.keys != KvFormat::kF16 || formats.values != KvFormat::kF16) options.kv_tail = 20;
  return options;
}

State state_of(const Session& session) {
  State bytes;
  session.save_state(session.position(), [&](std::span<const std::byte> piece) {
    bytes.insert(bytes.end(), piece.begin(), piece.end());
  });
  EXPECT_EQ(Bytes(bytes.size()), session.state_bytes(session.position()));
  return bytes;
}

std::vector<float> logits_of(Session& session) {
  const std::vector<TokenId> tokens{5, 7, 9};
  std::vector<float> logits;
  session.evaluate(tokens, 0, [&](std::uint32_t, std::span<const float> row) {
    logits.insert(logits.end(), row.begin(), row.end());
  });
  return logits;
}

TEST(DeviceState, HasTheBytesOfTheCpu) {
  for (const Formats& formats : kFormats) {
    SCOPED_TRACE(formats.model);
    Engine cpu(options_of(formats)), gpu(on_any_device(options_of(formats)));
    Session of_cpu(cpu), of_gpu(gpu), other(gpu);
    for (const std::uint32_t positions : {3u, formats.positions}) {
      of_cpu.fill_at_random(positions, 7);
      of_gpu.fill_at_random(positions, 7);
      const State state = state_of(of_cpu);
      EXPECT_TRUE(state_of(of_gpu) == state) << positions;
      other.reset();
      std::size_t next = 0;
      other.load_state(positions, [&](std::span<std::byte> piece) {
        ASSERT_LE(piece.size(), state.size() - next);
        std::memcpy(piece.data(), state.data() + next, piece.size());
        next += piece.size();
      });
      EXPECT_EQ(next, state.size());
      other.resume(positions);
      const std::vector<float> expected = logits_of(of_cpu);
      EXPECT_TRUE(logits_of(of_gpu) == expected) << positions;
      EXPECT_TRUE(logits_of(other) == expected) << positions;
      EXPECT_TRUE(state_of(other) == state_of(of_cpu)) << positions;
    }
  }
}

// Three tokens on one engine, a file, and three on the other.
std::vector<float> in_two_halves(Engine& first, Engine& second, const std::string& path) {
  {
    Session session(first);
    Timeline timeline{.tokens = {1, 2, 3}};
    const std::span<const float> logits = session.evaluate(timeline.tokens);
    timeline.logits.assign(logits.begin(), logits.end());
    save_session(path, first, session, timeline);
  }
  Session session(second);
  const Timeline timeline = load_session(path, second, session);
  EXPECT_EQ(timeline.tokens, (std::vector<TokenId>{1, 2, 3}));
  EXPECT_EQ(session.position(), 3u);
  return logits_of(session);
}

TEST(DeviceState, GoesOnElsewhere) {
  const io::TemporaryDirectory directory;
  const std::string path = directory.file("a.session");
  for (const char* model : {"qwen3moe", "qwen35moe"}) {
    Engine cpu(golden_options(model)), gpu(on_any_device(golden_options(model)));
    const std::vector<float> expected = in_two_halves(cpu, cpu, path);
    EXPECT_TRUE(in_two_halves(cpu, gpu, path) == expected) << model;
    EXPECT_TRUE(in_two_halves(gpu, cpu, path) == expected) << model;
    EXPECT_TRUE(in_two_halves(gpu, gpu, path) == expected) << model;
  }
}

// A damaged file leaves a new session.
TEST(DeviceState, ADamagedFileChangesNothing) {
  const io::TemporaryDirectory directory;
  const std::string path = directory.file("a.session");
  Engine gpu(on_any_device(golden_options("qwen35moe")));
  Session fresh(gpu);
  const std::vector<float> expected = logits_of(fresh);
  in_two_halves(gpu, gpu, path);
  std::FILE* const file = std::fopen(path.c_str(), "r+b");
  ASSERT_NE(file, nullptr);
  std::fseek(file, -20, SEEK_END);
  const int was = std::fgetc(file);
  std::fseek(file, -20, SEEK_END);
  std::fputc(was ^ 1, file);
  std::fclose(file);
  Session session(gpu);
  EXPECT_THROW(load_session(path, gpu, session), Error);
  EXPECT_EQ(session.position(), 0u);
  EXPECT_TRUE(logits_of(session) == expected);
}

}  // namespace
}  // namespace hearth::runtime

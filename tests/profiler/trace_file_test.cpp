#include "profiler/trace_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <limits>

#include "base/error.h"
#include "base/small_file.h"
#include "profiler/trace_format.h"
#include "profiler/trace_header_toml.h"
#include "tests/io/support/temporary_directory.h"
#include "tests/profiler/support/allocations.h"
#include "tests/profiler/support/random_trace.h"

namespace hearth::profiler {
namespace {

using ::testing::HasSubstr;
using testing::random_header;
using testing::random_routing;
using testing::random_trace;

constexpr Bytes kMost = 64 * kMiB;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

void add_step(TraceWriter& writer, const RoutingTrace& trace, std::size_t step) {
  for (std::size_t n = 0; n < trace.header().layers.size(); ++n)
    writer.add(trace.decision(step, n));
}

bool same(const Routing& a, const Routing& b) {
  return a.layer == b.layer && a.rows == b.rows && a.position == b.position &&
         a.experts_per_row == b.experts_per_row &&
         std::equal(a.experts.begin(), a.experts.end(), b.experts.begin(), b.experts.end()) &&
         std::equal(a.weights.begin(), a.weights.end(), b.weights.begin(), b.weights.end());
}

// Whether `found` is the first `steps` steps of `expected`.
bool begins_with(const RoutingTrace& expected, const RoutingTrace& found, std::size_t steps) {
  if (to_toml(found.header()) != to_toml(expected.header()) || found.steps() != steps) return false;
  for (std::size_t s = 0; s < steps; ++s)
    for (std::size_t n = 0; n < expected.header().layers.size(); ++n)
      if (!same(found.decision(s, n), expected.decision(s, n))) return false;
  return true;
}

class TraceFile : public ::testing::Test {
 protected:
  // The bytes of a file with all steps of the trace; where each step ends goes to `ends`.
  std::string written(const RoutingTrace& trace) {
    TraceWriter writer(path, trace.header(), 4);
    ends = {writer.bytes()};
    for (std::size_t s = 0; s < trace.steps(); ++s) {
      add_step(writer, trace, s);
      ends.push_back(writer.bytes());
    }
    EXPECT_EQ(writer.rows(), trace.rows());
    writer.finish();
    return read_small_file(path, kMost);
  }

  const io::TemporaryDirectory directory;
  const std::string path = directory.file("t.trace");
  std::vector<std::uint64_t> ends;
};

void expect_refused(std::string_view bytes, ErrorCode code, const std::string& message) {
  try {
    parse_trace(bytes_of(bytes), "file");
    ADD_FAILURE() << "no error, expected: " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(message));
    EXPECT_THAT(error.what(), ::testing::StartsWith("file: "));
  }
}

TEST_F(TraceFile, WhatWasWrittenIsRead) {
  const bool ok = rc::check("written equals read", [&](std::uint64_t seed) {
    Random random(seed);
    const RoutingTrace trace = random_trace(random, random_header(random), random.below(8));
    const std::string bytes = written(trace);
    const TraceReadResult from_file = read_trace(path);
    const TraceReadResult from_memory = parse_trace(bytes_of(bytes), "file");
    for (const TraceReadResult* result : {&from_file, &from_memory}) {
      RC_ASSERT(begins_with(trace, result->trace, trace.steps()));
      RC_ASSERT(result->incomplete_bytes == 0u);
      RC_ASSERT(result->bytes == bytes.size());
    }
  });
  EXPECT_TRUE(ok);
}

// A layer of 256 experts has ids of one byte, one of 257 of two.
TEST_F(TraceFile, TheLayoutIsExact) {
  TraceHeader header;
  header.model = {.layers = 3, .experts_per_layer = 257};
  header.layers = {{0, 256}, {2, 257}};
  header.experts_per_row = 2;
  TraceWriter writer(path, header, 1);
  const std::vector<std::uint16_t> narrow = {255, 1}, wide = {256, 1};
  const std::vector<float> weights = {1.0f, 0.25f};
  writer.add({0, 1, 2, narrow, weights, 9});
  writer.add({2, 1, 2, wide, weights, 9});
  writer.finish();

  const std::string bytes = read_small_file(path, kMost);
  const std::string text = to_toml(header);
  EXPECT_EQ(bytes.substr(0, 12), std::string("HEARTHRT\1\0\0\0", 12));
  EXPECT_EQ(bytes.substr(20, text.size()), text);
  const std::string step = bytes.substr(20 + text.size());
  EXPECT_EQ(step.substr(0, 12), std::string("STEP\1\0\0\0\x09\0\0\0", 12));
  EXPECT_EQ(step.substr(16, 14), std::string("\xff\1\x80\x3f\x80\x3e\0\1\1\0\x80\x3f\x80\x3e", 14));
  EXPECT_EQ(step.size(), 16u + 14 + 4);
}

TEST_F(TraceFile, WeightsAreRoundedToTheNearest) {
  EXPECT_EQ(from_bf16(to_bf16(1.0f)), 1.0f);
  EXPECT_EQ(from_bf16(to_bf16(1.0f + 0x1p-8f)), 1.0f);             // a tie goes to the even
  EXPECT_EQ(from_bf16(to_bf16(1.0f + 3 * 0x1p-8f)), 1 + 0x1p-6f);  // also upwards
  EXPECT_EQ(from_bf16(to_bf16(1.0f + 0x1.1p-8f)), 1 + 0x1p-7f);
  EXPECT_EQ(from_bf16(to_bf16(0.0f)), 0.0f);
  EXPECT_EQ(from_bf16(to_bf16(std::numeric_limits<float>::infinity())),
            std::numeric_limits<float>::infinity());
  Random random(1);
  for (int i = 0; i < 10000; ++i) {
    const auto value = static_cast<float>(random.uniform());
    EXPECT_LE(std::abs(from_bf16(to_bf16(value)) - value),
              value * 0x1p-8f);  // half of the last bit
  }
}

// At every byte: the steps before it are there, and the rest is reported.
TEST_F(TraceFile, CutAnywhereTheCompleteStepsSurvive) {
  Random random(3);
  const RoutingTrace trace = random_trace(random, random_header(random), 5);
  const std::string bytes = written(trace);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    const std::string_view cut = std::string_view(bytes).substr(0, length);
    if (length < ends[0]) {
      expect_refused(cut, ErrorCode::kBadFile, length < 20 ? "is not a routing trace" : "header");
      continue;
    }
    const TraceReadResult result = parse_trace(bytes_of(cut), "file");
    const auto steps = static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), length) -
                                                ends.begin() - 1);
    EXPECT_TRUE(begins_with(trace, result.trace, steps)) << length;
    EXPECT_EQ(result.incomplete_bytes, length - ends[steps]) << length;
  }
}

// Every bit of a file; in a step, the error names where the step begins.
TEST_F(TraceFile, EveryFlippedBitIsFound) {
  Random random(4);
  const RoutingTrace trace = random_trace(random, random_header(random), 3);
  std::string bytes = written(trace);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      bytes[i] = static_cast<char>(bytes[i] ^ (1 << bit));
      try {
        parse_trace(bytes_of(bytes), "file");
        ADD_FAILURE() << "byte " << i << " bit " << bit;
      } catch (const Error& error) {
        if (i >= ends[0]) {
          const std::uint64_t step = *(std::upper_bound(ends.begin(), ends.end(), i) - 1);
          EXPECT_THAT(error.what(), HasSubstr(fmt::format("file: byte {}: ", step)));
        }
      }
      bytes[i] = static_cast<char>(bytes[i] ^ (1 << bit));
    }
}

TEST_F(TraceFile, ANewerVersionIsRefused) {
  Random random(5);
  std::string bytes = written(random_trace(random, random_header(random), 1));
  bytes[8] = 2;
  expect_refused(bytes, ErrorCode::kUnsupported, "version 2");
  bytes[8] = 0;
  expect_refused(bytes, ErrorCode::kBadFile, "byte 8: there is no version 0");
  expect_refused("GGUF and other bytes of a model", ErrorCode::kBadFile, "is not a routing trace");
  EXPECT_THROW(read_trace(directory.file("absent")), Error);
}

// With checksums that are right, as only a program that errs, or one that means harm, writes them.
TEST_F(TraceFile, WhatIsOutOfRangeIsRefusedBeforeMemoryIsTaken) {
  TraceHeader header;
  header.model = {.layers = 1, .experts_per_layer = 5};
  header.layers = {{0, 5}};
  header.experts_per_row = 2;
  header.has_weights = false;
  RoutingTrace trace(header);
  const std::vector<std::uint16_t> experts = {4, 0};
  trace.begin_step({.position = 0, .rows = 1});
  trace.add({0, 1, 2, experts, {}, 0});
  const std::string good = written(trace);
  const std::string start = good.substr(0, ends[0]);
  const auto step = [&](std::uint32_t rows, const std::string& payload) {
    TraceStepStart begin{.rows = rows};
    begin.checksum = begin.expected_checksum();
    const std::uint32_t checksum = trace_checksum(bytes_of(payload));
    return start + std::string(reinterpret_cast<const char*>(&begin), sizeof begin) + payload +
           std::string(reinterpret_cast<const char*>(&checksum), sizeof checksum);
  };
  EXPECT_EQ(step(1, std::string("\4\0", 2)), good);
  expect_refused(step(1, std::string("\4\5", 2)), ErrorCode::kBadFile,
                 fmt::format("byte {}: expert 5 of the 5 of layer 0", ends[0] + 17));
  expect_refused(step(0, ""), ErrorCode::kBadFile, "a step without rows");
  // Eight gigabytes are announced; it may still be written.
  const TraceReadResult cut = parse_trace(bytes_of(step(0xffffffff, "ab")), "file");
  EXPECT_EQ(cut.trace.steps(), 0u);
  EXPECT_EQ(cut.incomplete_bytes, 16u + 2 + 4);
}

TEST_F(TraceFile, AWrongHeaderIsRefused) {
  Random random(6);
  const TraceHeader header = random_header(random);
  const std::string good = to_toml(header);
  EXPECT_EQ(to_toml(parse_trace_header(good, "file")), good);
  const auto expect = [&](const std::string& from, const std::string& to, const char* message) {
    std::string text = good;
    ASSERT_NE(text.find(from), text.npos) << from;
    text.replace(text.find(from), from.size(), to);
    try {
      parse_trace_header(text, "file");
      ADD_FAILURE() << "no error, expected: " << message;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(message));
    }
  };
  expect("weights = \"", "weights = \"f", "weights is neither bf16 nor none");
  expect("layers = [", "layers = [0, ", "experts has not as many values as layers");
  expect("experts = [", "experts = [0, ", "trace.experts is 0, outside 1 to 65535");
  expect("layers = [", "layers = [70000, ", "trace.layers is 70000, outside 0 to 65535");
  expect("experts_per_row = ", "experts_per_row = 1000", "fewer experts than a row uses");
  expect("workload", "prompt = \"x\"\nworkload", "trace.prompt is not known");
}

TEST_F(TraceFile, AFileIsReadWhileItIsWritten) {
  Random random(7);
  const RoutingTrace trace = random_trace(random, random_header(random), 9);
  TraceWriter writer(path, trace.header(), 4);
  EXPECT_EQ(read_trace(path).trace.steps(), 0u);
  for (std::size_t s = 0; s < trace.steps(); ++s) {
    // In the middle of a step only those before it are there.
    const std::size_t layers = trace.header().layers.size();
    for (std::size_t n = 0; n < layers; ++n) {
      writer.add(trace.decision(s, n));
      if (n == layers / 2) writer.flush();
    }
    const std::size_t visible = layers == 1 ? s + 1 : s;
    EXPECT_TRUE(begins_with(trace, read_trace(path).trace, visible)) << s;
    if (s % 2 == 0) writer.flush();
  }
  writer.finish();
  EXPECT_TRUE(begins_with(trace, read_trace(path).trace, trace.steps()));
}

TEST_F(TraceFile, AStepThatWasNotCompletedIsDropped) {
  TraceHeader header;
  header.model = {.layers = 2, .experts_per_layer = 4};
  header.layers = {{0, 4}, {1, 4}};
  header.experts_per_row = 1;
  const std::vector<float> weights = {1.0f};
  const std::vector<std::uint16_t> first = {1}, second = {2};
  {
    TraceWriter writer(path, header, 1);
    writer.add({0, 1, 1, first, weights, 0});  // then an error
    writer.add({0, 1, 1, second, weights, 0});
    writer.add({1, 1, 1, second, weights, 0});
    writer.add({0, 1, 1, first, weights, 1});
    EXPECT_EQ(writer.rows(), 1u);
  }  // not finished: the destructor writes what is complete
  const TraceReadResult result = read_trace(path);
  ASSERT_EQ(result.trace.steps(), 1u);
  EXPECT_EQ(result.incomplete_bytes, 0u);
  EXPECT_EQ(result.trace.decision(0, 0).experts[0], 2u);
}

TEST_F(TraceFile, LongTracesAndStepsBeyondTheBufferAreWritten) {
  TraceHeader header;
  header.model = {.layers = 2, .experts_per_layer = 300};
  header.layers = {{0, 300}, {1, 300}};
  header.experts_per_row = 4;
  Random random(8);
  RoutingTrace trace(header);
  for (const std::uint32_t rows : {1u, 3000u, 1u, 100000u, 2u, 70000u, 1u}) {
    const TraceStep step{.position = 0, .rows = rows};
    trace.begin_step(step);
    for (const TraceLayer& layer : header.layers)
      trace.add(random_routing(random, header, layer, step, true).view());
  }
  EXPECT_GT(written(trace).size(), 3u << 20);
  EXPECT_TRUE(begins_with(trace, read_trace(path).trace, trace.steps()));
}

TEST_F(TraceFile, RecordingAllocatesNothing) {
  Random random(9);
  TraceHeader header = random_header(random);
  const RoutingTrace trace = random_trace(random, header, 50);
  TraceWriter writer(path, header, 4);
  const std::uint64_t before = hearth::testing::allocations();
  for (int i = 0; i < 500; ++i)
    for (std::size_t s = 0; s < trace.steps(); ++s) add_step(writer, trace, s);
  EXPECT_EQ(hearth::testing::allocations(), before);
  EXPECT_GT(writer.bytes(), 1u << 20) << "the buffer was never written";
}

TEST_F(TraceFile, OnlyTracesAreReplaced) {
  Random random(10);
  const RoutingTrace trace = random_trace(random, random_header(random), 2);
  written(trace);
  const std::size_t bytes = written(trace).size();
  EXPECT_EQ(read_trace(path).bytes, bytes);

  const std::string model = directory.file("model.gguf");
  replace_file(model, "GGUF and the rest of a model");
  try {
    TraceWriter writer(model, trace.header(), 1);
    FAIL() << "replaced a model";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_THAT(error.what(), HasSubstr("model.gguf: is there and is not a routing trace"));
  }
  EXPECT_EQ(read_small_file(model, kMost), "GGUF and the rest of a model");

  TraceWriter first(path, trace.header(), 1);
  EXPECT_THROW(TraceWriter(path, trace.header(), 1), Error) << "two recorded to one file";
  EXPECT_THROW(TraceWriter(directory.file("absent/t"), trace.header(), 1), Error);
}

// A device that is always full stands for the disk.
TEST_F(TraceFile, AFullDiskEndsTheRecordingAndIsTold) {
  Random random(11);
  const TraceHeader header = random_header(random);
  EXPECT_THROW(TraceWriter("/dev/full", header, 1), Error) << "not even the header was written";

  const RoutingTrace trace = random_trace(random, header, 4);
  TraceWriter writer(path, header, 4);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit limited = before;
  limited.rlim_cur = writer.bytes() + 100;
  const auto on_signal = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limited), 0);
  for (int i = 0; i < 5000; ++i)
    for (std::size_t s = 0; s < trace.steps(); ++s) add_step(writer, trace, s);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, on_signal);
  try {
    writer.finish();
    ADD_FAILURE() << "the disk was full";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_THAT(error.what(), HasSubstr("File too large"));
  }
  EXPECT_EQ(read_trace(path).bytes, limited.rlim_cur);  // what fitted is readable
}

}  // namespace
}  // namespace hearth::profiler

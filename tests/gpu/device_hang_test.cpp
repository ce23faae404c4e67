// A device that hangs: whatever the host waits for, the wait ends with one line.
#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"
#include "base/function_ref.h"
#include "runtime/gpu/device_model.h"
#include "runtime/session.h"
#include "tests/gpu/support/made_device.h"

namespace hearth::runtime {
namespace {

using kernels::emulated::DeviceOptions;
using kernels::emulated::EmulatedDevice;
using kernels::emulated::Streams;

DeviceOptions device_of(Streams streams) {
  return {.streams = streams, .silence = std::chrono::milliseconds(40)};
}

EngineOptions options_of(const DeviceOptions& device, EmulatedDevice** made) {
  return on_device(golden_options("qwen3moe"), made, device);
}

void expect_hang(FunctionRef<void()> waits, const char* line, const std::string& where) {
  try {
    waits();
    ADD_FAILURE() << where << ": nothing failed";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDevice) << where;
    const std::string found = error.what();
    EXPECT_NE(found.find(line), std::string::npos) << where << ": " << found;
    EXPECT_EQ(found.find('\n'), std::string::npos) << found;
  }
}

constexpr const char* kHangs =
    "has not gone on for 0.04 s, and waits for nothing of the CPU; the device hangs";
constexpr const char* kHungBefore = "did not end; start the program again";

std::vector<TokenId> tokens(std::uint32_t count) {
  std::vector<TokenId> list;
  for (std::uint32_t i = 0; i < count; ++i) list.push_back((i * 37 + 3) % 160);
  return list;
}

void evaluate(Session& session, std::uint32_t rows) {
  session.evaluate(tokens(rows), 0, [](std::uint32_t, std::span<const float>) {});
}

// All experts are on the device: nothing else takes part in a step that could tell. It hangs at the
// first operation, in the middle and at the last, which is a copy to the host.
void hang_in_evaluation(std::uint32_t rows, bool is_chunk) {
  for (const Streams streams : {Streams::kAtOnce, Streams::kScheduled}) {
    EmulatedDevice* device = nullptr;
    std::uint64_t operations = 0;
    {
      Engine engine(options_of(device_of(streams), &device));
      ASSERT_EQ(engine.device_model()->lanes(), nullptr);
      Session session(engine);
      const DeviceWork before = engine.device_model()->work();
      operations = device->operations();
      evaluate(session, rows);
      operations = device->operations() - operations;
      const DeviceWork work = engine.device_model()->work() - before;
      ASSERT_EQ(work.chunks, is_chunk ? 1u : 0u);
      ASSERT_EQ(work.steps, is_chunk ? 0u : 1u);
    }
    for (const std::uint64_t after : {std::uint64_t{0}, operations / 2, operations - 1}) {
      Engine engine(options_of(device_of(streams), &device));
      Session session(engine);
      device->hang_after(after);
      const std::string where = "after " + std::to_string(after) + " operations";
      expect_hang([&] { evaluate(session, rows); }, kHangs, where);
      // Nobody waits for it a second time.
      expect_hang([&] { evaluate(session, rows); }, kHungBefore, where);
    }
  }
}

TEST(DeviceHang, OfAStepWithAllExpertsOnTheDeviceEndsItsWait) { hang_in_evaluation(1, false); }

TEST(DeviceHang, OfAChunkOfAPromptEndsItsWait) { hang_in_evaluation(20, true); }

// The very last of what a load enqueues is waited for by the first step.
TEST(DeviceHang, OfALoadEndsItsWait) {
  for (const Streams streams : {Streams::kAtOnce, Streams::kScheduled}) {
    EmulatedDevice* device = nullptr;
    std::uint64_t operations = 0;
    {
      const Engine engine(options_of(device_of(streams), &device));
      operations = device->operations();
    }
    ASSERT_GT(operations, 50u);
    for (const std::uint64_t after : {std::uint64_t{0}, operations / 2, operations - 1}) {
      DeviceOptions hanging = device_of(streams);
      hanging.hangs_after = after;
      const auto load = [&] {
        Engine engine(options_of(hanging, &device));
        EXPECT_EQ(after, operations - 1);
        Session session(engine);
        evaluate(session, 1);
      };
      expect_hang(load, kHangs, "after " + std::to_string(after) + " operations");
    }
  }
}

TEST(DeviceHang, OfACopyOfASessionEndsItsWait) {
  EmulatedDevice* device = nullptr;
  Engine engine(options_of(device_of(Streams::kScheduled), &device));
  Session session(engine);
  evaluate(session, 3);
  device->hang_after(1);
  expect_hang([&] { session.save_state(session.position(), [](std::span<const std::byte>) {}); },
              kHangs, "a copy");
}

}  // namespace
}  // namespace hearth::runtime

// The device layer: the same on the host's emulation as on a GPU.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <numeric>
#include <thread>

#include "base/error.h"
#include "kernels/gpu/backend.h"
#include "kernels/gpu/emulation/device.h"
#include "kernels/gpu/pinned_ranges.h"
#include "kernels/gpu/product.h"
#include "tests/gpu/support/test_device.h"

namespace hearth::kernels {
namespace {

TEST(GpuBackends, SayWhatIsMissingWhereThereIsNoDevice) {
  for (const GpuBackend& backend : gpu_backends()) {
    const GpuDevices found = backend.find();
    EXPECT_EQ(found.devices.empty(), !found.why_none.empty()) << backend.name;
    if (!found.devices.empty()) continue;
    fmt::print("{}: {}\n", backend.name, found.why_none);
    try {
      backend.open(0);
      FAIL() << backend.name << " opened a device that is not there";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kDevice);
    }
  }
}

TEST(GpuDevice, CopiesThereAndBack) {
  for (const TestDevice& on : test_devices()) {
    std::vector<int> values(1000);
    std::iota(values.begin(), values.end(), 0);
    const DeviceArray<int> first(on, values), second(on, values.size());
    on.stream->copy(second.data(), first.data(), Bytes(values.size() * sizeof(int)));
    EXPECT_EQ(second.values(), values) << on.name;
    on.stream->fill(second.data(), 1, Bytes(4));
    EXPECT_EQ(second.values()[0], 0x01010101) << on.name;
  }
}

// Others may use a GPU at the same time, so that what is free there says nothing.
TEST(GpuDevice, OutOfMemoryIsAResult) {
  for (const TestDevice& on : test_devices()) {
    const Bytes all = on.device->memory().total;
    EXPECT_FALSE(DeviceBuffer::try_allocate(*on.device, all + kGiB).has_value()) << on.name;
    const Bytes before = on.device->use().allocated;
    auto some = DeviceBuffer::try_allocate(*on.device, kMiB);  // and the device still works
    ASSERT_TRUE(some.has_value()) << on.name;
    EXPECT_EQ(on.device->use().allocated, before + kMiB) << on.name;
    EXPECT_GE(on.device->peak(), before + kMiB) << on.name;
    some.reset();
    EXPECT_EQ(on.device->use().allocated, before) << on.name;
  }
}

TEST(GpuDevice, CopiesOverTheBorderOfTwoPinnedPieces) {
  constexpr std::size_t kPage = 4096;
  std::vector<std::byte> memory(5 * kPage);
  const std::size_t skipped = kPage - reinterpret_cast<std::uintptr_t>(memory.data()) % kPage;
  const std::span<std::byte> pages = std::span(memory).subspan(skipped, 4 * kPage);
  for (std::size_t i = 0; i < pages.size(); ++i) pages[i] = static_cast<std::byte>(i % 251);
  for (const TestDevice& on : test_devices()) {
    const auto pinned = PinnedMemory::pin(*on.device, pages, Bytes(kPage));
    ASSERT_TRUE(pinned.complete()) << on.name;
    const DeviceArray<std::byte> there(on, pages.size());
    on.stream->copy(there.data(), pages.data() + 10, Bytes(3 * kPage));
    std::vector<std::byte> expected(pages.begin() + 10, pages.begin() + 10 + 3 * kPage);
    EXPECT_EQ(there.values().size(), pages.size());
    std::vector<std::byte> back = there.values();
    back.resize(expected.size());
    EXPECT_EQ(back, expected) << on.name;
    std::ranges::fill(pages.subspan(kPage - 1, 2), std::byte{0});
    on.stream->copy(pages.data() + 10, there.data(), Bytes(3 * kPage));
    on.stream->synchronize();
    EXPECT_TRUE(std::ranges::equal(expected, pages.subspan(10, 3 * kPage))) << on.name;
  }
}

TEST(PinnedRanges, EndWhereTheNextBegins) {
  std::array<std::byte, 40> memory;
  PinnedRanges ranges;
  EXPECT_EQ(ranges.together(memory.data(), 40), 40u);
  ranges.add(memory.data() + 8, 8);
  ranges.add(memory.data() + 16, 16);
  EXPECT_EQ(ranges.together(memory.data() + 8, 40), 8u);
  EXPECT_EQ(ranges.together(memory.data() + 15, 2), 1u);
  EXPECT_EQ(ranges.together(memory.data() + 15, 1), 1u);
  EXPECT_EQ(ranges.together(memory.data() + 16, 24), 16u);
  EXPECT_EQ(ranges.together(memory.data() + 32, 8), 8u);  // in none
  EXPECT_EQ(ranges.together(memory.data(), 3), 3u);       // in front of all
  ranges.remove(memory.data() + 8);
  EXPECT_EQ(ranges.together(memory.data() + 8, 8), 8u);
}

TEST(GpuDevice, MarksAMomentAlsoOutsideOfAGraph) {
  for (const TestDevice& on : test_devices()) {
    if (!on.device->properties().marks_graphs) continue;
    const auto begin = on.device->new_event(EventTiming::kTimed);
    const auto end = on.device->new_event(EventTiming::kTimed);
    const DeviceArray<int> data(on, std::vector<int>{1});
    on.stream->begin_capture();
    on.stream->mark(*begin);
    on.stream->fill(data.data(), 0, Bytes(4));
    const auto graph = on.stream->end_capture();
    ASSERT_NE(graph, nullptr) << on.name;
    on.stream->launch(*graph);
    on.stream->mark(*end);
    on.stream->synchronize();
    EXPECT_GE(end->since(*begin).count(), 0) << on.name;
  }
}

TEST(DeviceCalls, AreCountedAgainAfterACapture) {
  for (const TestDevice& on : test_devices()) {
    const DeviceArray<int> data(on, std::vector<int>{1});
    const std::uint64_t before = on.device->calls().launches;
    on.stream->fill(data.data(), 0, Bytes(4));
    EXPECT_EQ(on.device->calls().launches, before + 1) << on.name;
    on.stream->begin_capture();
    on.stream->fill(data.data(), 0, Bytes(4));
    const auto graph = on.stream->end_capture();
    EXPECT_EQ(on.device->calls().launches, before + 1) << on.name;
    on.stream->launch(*graph);
    on.stream->synchronize();
    EXPECT_EQ(on.device->calls().launches, before + 2) << on.name;
  }
}

TEST(GpuDevice, ACaptureThatFailsIsOver) {
  for (const TestDevice& on : test_devices()) {
    const auto other = on.device->new_stream(StreamPriority::kNormal);
    const auto event = on.device->new_event(EventTiming::kNone);
    const DeviceArray<int> data(on, std::vector<int>{1});
    const auto fail = [&] {
      on.stream->record(*event);
      other->wait(*event);
      other->fill(data.data(), 0, Bytes(4));
      throw_error(ErrorCode::kDevice, "in the middle");
    };
    EXPECT_THROW(captured(*on.stream, fail), Error) << on.name;
    const Bytes before = on.device->use().allocated;
    EXPECT_TRUE(DeviceBuffer::try_allocate(*on.device, kMiB).has_value()) << on.name;
    EXPECT_EQ(on.device->use().allocated, before) << on.name;
    other->fill(data.data(), 2, Bytes(4));
    other->synchronize();
    EXPECT_EQ(data.values(), std::vector<int>{0x02020202}) << on.name;
    EXPECT_NE(captured(*on.stream, [&] { on.stream->fill(data.data(), 0, Bytes(4)); }), nullptr);
  }
}

TEST(DeviceHabits, AreLeftOutByName) {
  const char* const kName = "HEARTH_GPU_WITHOUT";
  const char* const before = std::getenv(kName);
  const std::string kept = before == nullptr ? "" : before;
  const auto wanted = [&](const char* without) {
    setenv(kName, without, 1);
    return std::pair(is_wanted(DeviceHabit::kOverlap), is_wanted(DeviceHabit::kAhead));
  };
  EXPECT_EQ(wanted("overlap"), std::pair(false, true));
  EXPECT_EQ(wanted("ahead"), std::pair(true, false));
  EXPECT_EQ(wanted("ahead,overlap"), std::pair(false, false));
  for (const char* nonsense : {"graphs", "overlap,", ",", "ahead;overlap", "Overlap"})
    EXPECT_THROW(wanted(nonsense), Error) << nonsense;
  unsetenv(kName);
  EXPECT_TRUE(is_wanted(DeviceHabit::kOverlap) && is_wanted(DeviceHabit::kAhead));
  if (before != nullptr) setenv(kName, kept.c_str(), 1);
}

// As a driver would refuse it.
TEST(DeviceFaults, ACaptureRefusesMemoryWaitsAndWhatIsNotPinned) {
  emulated::EmulatedDevice device({});
  const auto stream = device.new_stream(StreamPriority::kNormal);
  const auto event = device.new_event(EventTiming::kNone);
  auto buffer = DeviceBuffer::try_allocate(device, Bytes(8));
  int on_stack = 0;
  const auto captured = [&](auto&& work) {
    return [&] {
      stream->begin_capture();
      work();
    };
  };
  EXPECT_DEATH(captured([&] { DeviceBuffer::try_allocate(device, Bytes(8)); })(), "");
  EXPECT_DEATH(captured([&] { MappedMemory::try_allocate(device, Bytes(8)); })(), "");
  EXPECT_DEATH(captured([&] { stream->synchronize(); })(), "");
  EXPECT_DEATH(captured([&] { device.synchronize(); })(), "");
  EXPECT_DEATH(captured([&] { static_cast<void>(event->reached()); })(), "");
  EXPECT_DEATH(captured([&] { stream->copy(buffer->data(), &on_stack, Bytes(4)); })(), "");
}

TEST(GpuDevice, AGraphRunsWhatWasCaptured) {
  for (const TestDevice& on : test_devices()) {
    const DeviceArray<int> from(on, std::vector<int>{1, 2, 3}), to(on, std::vector<int>{0, 0, 0});
    on.stream->begin_capture();
    on.stream->copy(to.data(), from.data(), Bytes(12));
    on.stream->fill(from.data(), 0, Bytes(4));
    const auto graph = on.stream->end_capture();
    EXPECT_EQ(graph->node_count(), 2u) << on.name;
    EXPECT_EQ(to.values(), (std::vector<int>{0, 0, 0})) << on.name;
    on.stream->launch(*graph);
    EXPECT_EQ(to.values(), (std::vector<int>{1, 2, 3})) << on.name;
    on.stream->launch(*graph);
    EXPECT_EQ(to.values(), (std::vector<int>{0, 2, 3})) << on.name;
  }
}

TEST(GpuDevice, AStreamAndTheHostSignalEachOther) {
  for (const TestDevice& on : test_devices()) {
    auto memory = MappedMemory::try_allocate(*on.device, Bytes(8));
    ASSERT_TRUE(memory.has_value()) << on.name;
    auto* flags = reinterpret_cast<std::uint32_t*>(memory->data());
    EXPECT_EQ(flags[0] | flags[1], 0u) << on.name;
    std::thread host([&] {
      while (__atomic_load_n(&flags[0], __ATOMIC_ACQUIRE) != 5) std::this_thread::yield();
      __atomic_store_n(&flags[1], 7u, __ATOMIC_RELEASE);
    });
    on.stream->write_value({&flags[0]}, 5);
    on.stream->wait_value({&flags[1]}, 6);  // a later value releases it, too
    on.stream->write_value({&flags[0]}, 8);
    on.stream->synchronize();
    host.join();
    EXPECT_EQ(flags[0], 8u) << on.name;
  }
}

// As the CPU's results reach the kernels of a step, which are enqueued before there are any: the
// same row of the host's memory is read again and again, and the host writes it while the stream
// waits. A kernel that does not acquire what was waited for may be given old values.
TEST(GpuDevice, KernelsBehindAWaitReadWhatTheHostWroteMeanwhile) {
  constexpr std::uint32_t kRounds = 16, kColumns = 512;
  for (const TestDevice& on : test_devices()) {
    const auto memory = MappedMemory::try_allocate(*on.device, Bytes(kColumns * sizeof(float)));
    const auto words = MappedMemory::try_allocate(*on.device, Bytes(2 * sizeof(std::uint32_t)));
    auto* const row = reinterpret_cast<float*>(memory->data());
    auto* const flags = reinterpret_cast<std::uint32_t*>(words->data());
    const std::atomic_ref<std::uint32_t> asked(flags[0]), answered(flags[1]);
    const DeviceArray<const float*> results(on, std::vector<const float*>{row});
    const DeviceArray<float> out(on, std::vector<float>(kRounds * kColumns)), sums(on, kColumns);
    on.stream->begin_capture();
    for (std::uint32_t round = 0; round < kRounds; ++round) {
      on.kernels->normalize({.rows = 1,
                             .columns = kColumns,
                             .x = out.data() + round * kColumns,
                             .experts = {.used = 1,
                                         .results = results.data(),
                                         .sums = sums.data(),
                                         .done = &flags[1]},
                             .added = {{.x = sums.data()}}},
                            on.stream->native());
      on.stream->write_value({&flags[0]}, round + 1);
      on.stream->wait_value({&flags[1]}, round + 1);
    }
    const auto graph = on.stream->end_capture();
    const std::jthread host([&](const std::stop_token& ended) {
      for (std::uint32_t round = 1; round <= kRounds; ++round) {
        while (asked.load(std::memory_order_acquire) != round && !ended.stop_requested())
          std::this_thread::yield();
        std::fill_n(row, kColumns, static_cast<float>(round));
        answered.store(round, std::memory_order_release);
      }
    });
    on.stream->launch(*graph);
    on.stream->synchronize();
    const std::vector<float> found = out.values();
    for (std::uint32_t i = 0; i < found.size(); ++i)
      ASSERT_EQ(found[i], static_cast<float>(i / kColumns)) << on.name << ", value " << i;
  }
}

TEST(GpuDevice, EventsOrderStreams) {
  for (const TestDevice& on : test_devices()) {
    const auto other = on.device->new_stream(StreamPriority::kHigh);
    const auto begin = on.device->new_event(EventTiming::kTimed);
    const auto end = on.device->new_event(EventTiming::kTimed);
    const DeviceArray<int> data(on, std::vector<int>{1});
    on.stream->record(*begin);
    on.stream->fill(data.data(), 0, Bytes(4));
    on.stream->record(*end);
    other->wait(*end);
    int found = -1;
    other->copy(&found, data.data(), Bytes(4));
    other->synchronize();
    EXPECT_EQ(found, 0) << on.name;
    EXPECT_TRUE(end->reached()) << on.name;
    EXPECT_GE(end->since(*begin).count(), 0) << on.name;
  }
}

TEST(GpuDevice, CallsTheHostInItsTurn) {
  for (const TestDevice& on : test_devices()) {
    int calls = 0;
    on.stream->call_host([](void* context) { ++*static_cast<int*>(context); }, &calls);
    on.stream->synchronize();
    EXPECT_EQ(calls, 1) << on.name;
  }
}

TEST(PinnedMemory, EndsWhereTheSystemRefuses) {
  std::vector<std::byte> memory(10 * 4096);
  for (const std::uint64_t pages : {0u, 3u, 4u, 10u}) {
    emulated::EmulatedDevice device({.pinnable = Bytes(pages * 4096)});
    const auto pinned = PinnedMemory::pin(device, memory, Bytes(2 * 4096));
    EXPECT_EQ(pinned.pinned().size(), pages / 2 * 2 * 4096) << pages;
    EXPECT_EQ(pinned.complete(), pages == 10) << pages;
  }  // whose device CHECKs that nothing stays pinned
}

TEST(DeviceFaults, AnAllocationFailsAndTheNextOneDoesNot) {
  emulated::EmulatedDevice device({.failing_allocation = 2});
  const auto first = DeviceBuffer::try_allocate(device, kMiB);
  EXPECT_TRUE(first.has_value());
  EXPECT_FALSE(DeviceBuffer::try_allocate(device, kMiB).has_value());
  EXPECT_TRUE(DeviceBuffer::try_allocate(device, kMiB).has_value());
}

TEST(DeviceFaults, ALostDeviceAnswersNothing) {
  emulated::EmulatedDevice device({.last_operation = 2});
  const auto buffer = DeviceBuffer::try_allocate(device, kMiB);
  const auto stream = device.new_stream(StreamPriority::kNormal);
  stream->fill(buffer->data(), 0, Bytes(4));
  stream->fill(buffer->data(), 0, Bytes(4));
  for (int i = 0; i < 2; ++i) {
    try {
      stream->fill(buffer->data(), 0, Bytes(4));
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kDevice);
    }
  }
}

}  // namespace
}  // namespace hearth::kernels

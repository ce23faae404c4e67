// How long the host waits for a device: as long as it goes on, and no longer.
#include "kernels/gpu/watchdog.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "kernels/gpu/emulation/device.h"

namespace hearth::kernels {
namespace {

using emulated::EmulatedDevice;
using emulated::Streams;
using std::chrono::milliseconds;
using std::chrono::minutes;

constexpr Nanoseconds kSilence = milliseconds(1600);

// Time passes with each look at it.
struct PassingClock final : Clock {
  Nanoseconds now() const override { return at += milliseconds(20); }
  mutable Nanoseconds at{0};
};

// Time passes where somebody says so.
struct ModelledClock final : Clock {
  Nanoseconds now() const override { return at; }
  Nanoseconds at{0};
};

TEST(DeviceWait, IsAsLongAsItGoesOn) {
  PassingClock clock;
  const auto reached = [&] { return clock.at > 20 * kSilence; };
  const auto slow = [&] { return static_cast<std::uint64_t>(clock.at / milliseconds(1200)); };
  EXPECT_TRUE(wait_while_it_goes_on(reached, slow, clock, kSilence));
  EXPECT_GT(clock.at, 20 * kSilence);
}

TEST(DeviceWait, EndsAfterTheSilence) {
  PassingClock clock;
  Nanoseconds last_progress{0};
  const auto progress = [&] {
    if (clock.at < 3 * kSilence) last_progress = clock.at;
    return static_cast<std::uint64_t>(last_progress.count());
  };
  EXPECT_FALSE(wait_while_it_goes_on([] { return false; }, progress, clock, kSilence));
  EXPECT_GT(last_progress, 2 * kSilence);
  EXPECT_GE(clock.at - last_progress, kSilence);
  EXPECT_LT(clock.at - last_progress, 2 * kSilence);
}

// Of a process that was stopped, or of a machine that slept: what it waits for has not had the time
// either.
TEST(DeviceWait, CountsAPauseOfItsOwnOnce) {
  ModelledClock clock;
  int looks = 0;
  const auto reached = [&] {
    clock.at += looks == 1 ? minutes(10) : milliseconds(20);
    return looks > 10;
  };
  const auto silent = [&] {
    looks += 1;
    return std::uint64_t{0};
  };
  EXPECT_TRUE(wait_while_it_goes_on(reached, silent, clock, kSilence));
  EXPECT_GT(clock.at, minutes(10));
}

// A device that does an operation with each look at the clock, which takes it 10 ms.
struct SlowClock final : Clock {
  Nanoseconds now() const override {
    device->schedule()->step();
    return at += milliseconds(10);
  }
  EmulatedDevice* device = nullptr;
  mutable Nanoseconds at{0};
};

struct Watched {
  static constexpr Nanoseconds kSilence = milliseconds(800);

  explicit Watched(std::uint64_t hangs_after = ~std::uint64_t{0})
      : device({.streams = Streams::kScheduled, .hangs_after = hangs_after}),
        watchdog(device, kSilence, clock),
        stream(device.new_stream(StreamPriority::kNormal)) {
    clock.device = &device;
  }

  void enqueue(std::uint64_t operations) {
    for (std::uint64_t i = 0; i < operations; ++i) {
      stream->call_host([](void*) {}, nullptr);
      watchdog.enqueued(*stream, count);
    }
    stream->call_host([](void* flag) { *static_cast<bool*>(flag) = true; }, &done);
  }
  void wait_for_end() {
    watchdog.wait([&] { return done; });
  }

  SlowClock clock;
  EmulatedDevice device;
  Watchdog watchdog;
  std::unique_ptr<Stream> stream;
  std::uint64_t count = 0;
  bool done = false;
};

TEST(Watchdog, AMarkThatIsReachedIsProgress) {
  Watched watched;
  watched.enqueue(500);
  watched.wait_for_end();
  EXPECT_GT(watched.clock.at, 2 * Watched::kSilence);
  EXPECT_FALSE(watched.watchdog.abandoned());
}

TEST(Watchdog, ADeviceThatHangsIsAbandonedAndNotWaitedForAgain) {
  Watched watched(300);
  watched.enqueue(500);
  const auto line = [&] {
    try {
      watched.wait_for_end();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kDevice);
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(line().find("has not gone on for 0.8 s"), std::string::npos);
  EXPECT_TRUE(watched.watchdog.abandoned());
  const Nanoseconds then = watched.clock.at;
  EXPECT_NE(line().find("did not end; start the program again"), std::string::npos);
  EXPECT_EQ(watched.clock.at, then);
}

// Drivers keep about 1000 operations: whoever enqueues more waits before. Beside the marks that are
// open each stream has less than what a mark is for.
TEST(Watchdog, TheHostIsNeverFarAheadOfTheDevice) {
  constexpr std::uint64_t kMost = Watchdog::kOperationsPerMark * (Watchdog::kMostMarks + 2);
  EmulatedDevice device({.streams = Streams::kScheduled});
  const auto memory = DeviceBuffer::try_allocate(device, Bytes(64));
  const auto a = device.new_stream(StreamPriority::kNormal);
  const auto b = device.new_stream(StreamPriority::kNormal);
  for (std::uint64_t i = 1; i <= 3 * kMost; ++i) {
    (i % 3 == 0 ? a : b)->fill(memory->data(), 0, Bytes(64));
    ASSERT_GE(device.operations() + kMost, i);
  }
  EXPECT_LT(device.operations(), 3 * kMost);
  device.synchronize();
}

}  // namespace
}  // namespace hearth::kernels

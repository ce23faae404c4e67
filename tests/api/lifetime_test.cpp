// What is opened and closed a thousand times leaves nothing behind.
#include <gtest/gtest.h>

#include "runtime/process_memory.h"
#include "tests/api/support/handles.h"
#include "tests/sanitized.h"

namespace hearth::testing {
namespace {

// As small as engines get: most of the time goes into touching their memory.
hearth_engine_options smallest_options() {
  hearth_engine_options options = small_options();
  options.expert_ram = 2u << 20;
  options.context = 64;
  options.batch = 1;
  options.threads = 1;
  return options;
}

void open_and_close(bool use) {
  const auto engine = open_engine(kModel, smallest_options());
  const auto session = open_session(engine);
  if (!use) return;
  ASSERT_EQ(evaluate(session, numbers(1)), HEARTH_OK);
}

// A sanitizer keeps what was freed in quarantine, and finds what is left itself, however few there
// were.
constexpr int kEngines = kSanitized ? 40 : 1000;
constexpr int kFailures = kSanitized ? 20 : 200;

TEST(Lifetime, AThousandEnginesLeaveNothingBehind) {
  for (int i = 0; i < 20; ++i) open_and_close(true);
  const Bytes before = runtime::resident_memory();
  // A token reads some megabytes from the disk: only now and then.
  for (int i = 0; i < kEngines; ++i) open_and_close(i % 20 == 0);
  if (kSanitized) return;
  // Less than a kilobyte each.
  EXPECT_LE(runtime::resident_memory(), before + kEngines * kKiB);
}

TEST(Lifetime, WhatFailsToOpenLeavesNothingBehind) {
  auto options = smallest_options();
  options.on_progress = [](void*, std::uint64_t, std::uint64_t) -> std::int32_t { return 1; };
  hearth_engine* engine = nullptr;
  const auto fail = [&] {
    EXPECT_EQ(hearth_engine_open(kModel.c_str(), &options, &engine), HEARTH_STOPPED);
  };
  for (int i = 0; i < 20; ++i) fail();
  const Bytes before = runtime::resident_memory();
  for (int i = 0; i < kFailures; ++i) fail();
  if (kSanitized) return;
  EXPECT_LE(runtime::resident_memory(), before + kFailures * kKiB);
}

}  // namespace
}  // namespace hearth::testing

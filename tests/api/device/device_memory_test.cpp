// Memory of a device, through the C API: what an engine holds, gives back and takes again, and what
// happens where there is too little.
#include <gtest/gtest.h>

#include <thread>

#include "tests/api/support/device_engine.h"

namespace hearth::testing {
namespace {

TEST_F(Device, HoldsWhatItsFactsSay) {
  const auto engine = on_device();
  const auto facts = facts_of(engine);
  EXPECT_EQ(facts.all_in_vram, 1u);
  EXPECT_EQ(facts.vram_slots, facts.experts);
  EXPECT_EQ(telemetry_of(engine).vram_peak, facts.vram);  // a session was tried
  const auto session = open_session(engine);
  const auto told = telemetry_of(engine);
  EXPECT_EQ(told.vram_peak, facts.vram);
  EXPECT_EQ(told.expert_vram, facts.expert_vram);
  EXPECT_EQ(told.vram_slots, facts.vram_slots);
}

TEST_F(Device, IsNotThereForOthers) {
  const auto engine = open_engine(golden("qwen3moe"), options_of(nullptr));
  const auto facts = facts_of(engine);
  EXPECT_EQ(facts.device, nullptr);
  EXPECT_EQ(facts.vram + facts.session_vram + facts.expert_vram, 0u);
  const auto told = telemetry_of(engine);
  EXPECT_EQ(told.vram_peak + told.expert_vram + told.vram_slots, 0u);
  EXPECT_EQ(hearth_engine_set_expert_vram(engine.get(), 1), HEARTH_ERROR_USAGE);
}

TEST_F(Device, TellsWhatHadToChangeWhileItLoaded) {
  kernels::emulated_backend_options().failing_allocation = 9;
  auto options = options_of(kDevice);
  std::string notes;
  options.user = &notes;
  options.on_note = [](void* user, const char* line) { *static_cast<std::string*>(user) += line; };
  options.on_notice = [](void*, const char* line) { ADD_FAILURE() << line; };
  open_engine(golden("qwen3moe"), options);
  EXPECT_NE(notes.find(" experts instead of 48"), std::string::npos) << notes;
}

// Each shape of a step takes memory of the driver: experts make room, until the session is closed.
TEST_F(Device, TellsWhatHasToChangeWhileItIsUsed) {
  const std::uint64_t budget = half_of_the_experts();
  kernels::emulated_backend_options().graph = Bytes(15'000);
  struct Told {
    hearth_engine* engine = nullptr;
    std::vector<std::string> lines;
    std::thread::id thread;
  } told;
  auto options = options_of(kDevice);
  options.vram = budget;
  options.user = &told;
  options.on_notice = [](void* user, const char* line) {
    Told& of = *static_cast<Told*>(user);
    of.lines.emplace_back(line);
    of.thread = std::this_thread::get_id();
    EXPECT_EQ(hearth_engine_set_expert_vram(of.engine, 0), HEARTH_ERROR_STATE);
  };
  const auto engine = open_engine(golden("qwen3moe"), options);
  told.engine = engine.get();
  {
    const auto session = open_session(engine);
    for (std::uint32_t count = 1; told.lines.empty() && count < 8; ++count)
      ASSERT_EQ(evaluate(session, numbers(count, 3)), HEARTH_OK) << hearth_message();
    ASSERT_EQ(told.lines.size(), 1u);
    EXPECT_NE(told.lines[0].find(" experts stay in VRAM, "), std::string::npos) << told.lines[0];
    EXPECT_EQ(told.thread, std::this_thread::get_id());
  }
  const auto session = open_session(engine);
  ASSERT_EQ(told.lines.size(), 2u);
  EXPECT_NE(told.lines[1].find(" experts are in VRAM again"), std::string::npos) << told.lines[1];
}

TEST_F(Device, GivesMemoryBackAndTakesItAgain) {
  const auto engine = on_device(half_of_the_experts());
  const auto facts = facts_of(engine);
  const auto expected = logits_of_the_cpu();
  const auto expect_slots = [&](std::uint64_t bytes, std::uint64_t least, std::uint64_t most) {
    ASSERT_EQ(hearth_engine_set_expert_vram(engine.get(), bytes), HEARTH_OK) << hearth_message();
    const auto told = telemetry_of(engine);
    EXPECT_LE(told.expert_vram, bytes);
    EXPECT_GE(told.vram_slots, least);
    EXPECT_LE(told.vram_slots, most);
    EXPECT_EQ(logits_after(engine, prompt()), expected) << bytes;
  };
  const std::uint64_t all = facts.vram_slots;
  expect_slots(facts.expert_vram / 2, all / 2 - 1, all / 2);
  const auto hits = telemetry_of(engine).vram_hits;
  expect_slots(0, 0, 0);
  EXPECT_EQ(telemetry_of(engine).vram_hits, hits);
  expect_slots(facts.expert_vram, all, all);
  EXPECT_GT(telemetry_of(engine).vram_hits, hits);
  expect_slots(1u << 30, all, all);  // at most as many as at first
  EXPECT_EQ(telemetry_of(engine).vram_peak, facts.vram);
}

TEST_F(Device, KeepsWhatItHasForGood) {
  const auto engine = on_device();
  EXPECT_EQ(hearth_engine_set_expert_vram(engine.get(), 0), HEARTH_ERROR_STATE);
  EXPECT_TRUE(message_has(kDevice)) << hearth_message();
  EXPECT_EQ(telemetry_of(engine).vram_slots, facts_of(engine).vram_slots);
}

TEST_F(Device, MakesRoomInRamAsWell) {
  auto options = options_of(kDevice);
  options.vram = half_of_the_experts();
  options.expert_share = 1.0f;
  const auto engine = open_engine(golden("qwen3moe"), options);
  const auto expected = logits_of_the_cpu();
  EXPECT_EQ(logits_after(engine, prompt()), expected);
  ASSERT_EQ(hearth_engine_set_expert_ram(engine.get(), facts_of(engine).least_expert_ram),
            HEARTH_OK);
  EXPECT_EQ(logits_after(engine, prompt()), expected);
}

TEST_F(Device, IsLeftWhereTheModelDoesNotFit) {
  kernels::emulated_backend_options().memory = Bytes(100'000);
  EXPECT_EQ(status_of(options_of(kDevice)), HEARTH_ERROR_BUDGET);
  auto options = options_of("auto");
  std::string notes;
  options.user = &notes;
  options.on_note = [](void* user, const char* line) { *static_cast<std::string*>(user) += line; };
  const auto engine = open_engine(golden("qwen3moe"), options);
  EXPECT_EQ(facts_of(engine).device, nullptr);
  EXPECT_NE(notes.find("the CPU computes; "), std::string::npos) << notes;
  EXPECT_EQ(logits_after(engine, prompt()), logits_of_the_cpu());
  options.vram = 100'000;  // then it must be there
  EXPECT_EQ(status_of(options), HEARTH_ERROR_BUDGET);
}

// A session more than there is room for; the first goes on.
TEST_F(Device, HasRoomForSoManySessions) {
  const auto facts = facts_of(on_device());
  kernels::emulated_backend_options().memory =
      Bytes(facts.vram + facts.session_vram + facts.session_vram / 2);
  const auto engine = on_device();
  const auto first = open_session(engine);
  hearth_session* more = nullptr;
  ASSERT_EQ(hearth_session_open(engine.get(), &more), HEARTH_OK);
  const Handle<hearth_session> second(more);
  more = nullptr;
  EXPECT_EQ(hearth_session_open(engine.get(), &more), HEARTH_ERROR_BUDGET);
  EXPECT_EQ(more, nullptr);
  EXPECT_EQ(evaluate(first, prompt()), HEARTH_OK);
  EXPECT_EQ(hearth_engine_close(engine.get()), HEARTH_ERROR_STATE);
}

}  // namespace
}  // namespace hearth::testing

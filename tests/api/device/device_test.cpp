// Engines with a device, through the C API: the logits of the CPU, sessions in several threads, and
// how a device that is lost looks.
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <hearth/hearth.hpp>
#include <thread>

#include "tests/api/support/device_engine.h"

namespace hearth::testing {
namespace {

TEST_F(Device, IsListed) {
  const auto found = api::devices();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].name, kDevice);
  EXPECT_EQ(found[0].model, "emulated");
  EXPECT_EQ(found[0].architecture, "host");
  EXPECT_EQ(found[0].memory, 64u << 20);
  EXPECT_EQ(hearth_list_devices(nullptr, nullptr), HEARTH_ERROR_USAGE);
}

TEST_F(Device, GivesTheLogitsOfTheCpu) {
  for (const char* model : {"qwen3moe", "qwen35moe"})
    for (const char* device : {kDevice, "auto", "EMULATED0"}) {
      const auto engine = open_engine(golden(model), options_of(device));
      EXPECT_STREQ(facts_of(engine).device, kDevice);
      EXPECT_EQ(logits_after(engine, prompt()), logits_of_the_cpu(model)) << model;
    }
}

// Text as well, after a session went back.
TEST_F(Device, GeneratesTheTokensOfTheCpu) {
  std::vector<std::vector<std::int32_t>> texts;
  for (const char* device : {"none", kDevice}) {
    const auto engine = open_engine(golden("qwen3moe"), options_of(device));
    const auto session = open_session(engine);
    ASSERT_EQ(evaluate(session, prompt()), HEARTH_OK);
    ASSERT_EQ(hearth_session_rewind(session.get(), 9), HEARTH_OK);
    ASSERT_EQ(evaluate(session, numbers(1, 5)), HEARTH_OK);
    texts.push_back(generate(session, 4));
    ASSERT_EQ(hearth_session_rewind(session.get(), 0), HEARTH_OK);
    ASSERT_EQ(evaluate(session, numbers(2, 7)), HEARTH_OK);
    const auto again = generate(session, 2);
    texts.back().insert(texts.back().end(), again.begin(), again.end());
    EXPECT_EQ(timeline(session).size(), 4u);
  }
  EXPECT_EQ(texts[0].size(), 6u);
  EXPECT_EQ(texts[0], texts[1]);
}

// A session that was saved on one goes on on the other.
TEST_F(Device, ReadsAndWritesSessionsOfTheCpu) {
  const std::string path = directory_.file("session");
  const auto more = numbers(3, 5);
  std::vector<std::vector<float>> logits;
  for (const auto& [saves, loads] :
       {std::pair("none", "none"), {"none", kDevice}, {kDevice, "none"}}) {
    const auto first = open_engine(golden("qwen35moe"), options_of(saves));
    const auto saved = open_session(first);
    ASSERT_EQ(evaluate(saved, prompt()), HEARTH_OK);
    ASSERT_EQ(hearth_session_save(saved.get(), path.c_str()), HEARTH_OK) << hearth_message();
    const auto second = open_engine(golden("qwen35moe"), options_of(loads));
    const auto loaded = open_session(second);
    ASSERT_EQ(hearth_session_load(loaded.get(), path.c_str()), HEARTH_OK) << hearth_message();
    EXPECT_EQ(timeline(loaded), prompt());
    const float* last = nullptr;
    ASSERT_EQ(hearth_session_evaluate(loaded.get(), more.data(), more.size(), &last), HEARTH_OK);
    logits.emplace_back(last, last + facts_of(second).vocabulary);
  }
  EXPECT_EQ(logits[1], logits[0]);
  EXPECT_EQ(logits[2], logits[0]);
}

TEST_F(Device, OptionsThatContradictIt) {
  auto options = options_of("cuda7");
  EXPECT_EQ(status_of(options), HEARTH_ERROR_USAGE);
  EXPECT_TRUE(message_has(kDevice)) << hearth_message();
  for (const char* none : {static_cast<const char*>(nullptr), "none"}) {
    options = options_of(none);
    options.vram = 1u << 20;
    EXPECT_EQ(status_of(options), HEARTH_ERROR_USAGE);
  }
  hearth_plan* plan = nullptr;
  options = options_of("auto");
  EXPECT_EQ(hearth_plan_make(golden("qwen3moe").c_str(), &options, &plan), HEARTH_ERROR_USAGE);
  options.device = "none";
  ASSERT_EQ(hearth_plan_make(golden("qwen3moe").c_str(), &options, &plan), HEARTH_OK);
  const Handle<hearth_plan> made(plan);
  options = sized<hearth_engine_options>();
  options.plan = plan;
  options.device = kDevice;
  EXPECT_EQ(status_of(options), HEARTH_ERROR_USAGE);
}

// Waits for its turn where others have the memory.
Handle<hearth_session> open_when_there_is_room(const Handle<hearth_engine>& engine) {
  hearth_session* session = nullptr;
  hearth_status status = HEARTH_ERROR_BUDGET;
  while (status == HEARTH_ERROR_BUDGET) {
    status = hearth_session_open(engine.get(), &session);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(status, HEARTH_OK) << hearth_message();
  return Handle<hearth_session>(session);
}

// Sessions come, compute and go in several threads: what takes memory of the device waits for the
// step of another, and whoever has a turn has the device. With all experts in VRAM there is memory
// for all sessions, with a half of them for one.
TEST_F(Device, SessionsTakeTurns) {
  kernels::emulated_backend_options().current_in_threads = true;
  const auto tokens = numbers(4, 3);
  const auto expected = logits_after(open_engine(golden("qwen3moe"), options_of(nullptr)), tokens);
  for (const std::uint64_t vram : {std::uint64_t{0}, half_of_the_experts()}) {
    const auto engine = on_device(vram);
    const auto some_sessions = [&] {
      for (int i = 0; i < 2; ++i) {
        const auto session = open_when_there_is_room(engine);
        const float* logits = nullptr;
        ASSERT_EQ(hearth_session_evaluate(session.get(), tokens.data(), tokens.size(), &logits),
                  HEARTH_OK)
            << hearth_message();
        EXPECT_EQ(std::memcmp(logits, expected.data(), expected.size() * sizeof(float)), 0);
      }
    };
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) threads.emplace_back(some_sessions);
    for (std::thread& thread : threads) thread.join();
  }
}

// Each call in a thread of its own, which sees the device for the first time.
TEST_F(Device, WandersBetweenThreads) {
  kernels::emulated_backend_options().current_in_threads = true;
  const auto elsewhere = [](auto call) {
    hearth_status status = -1;
    std::string message;
    std::thread([&] {
      status = call();
      message = hearth_message();
    }).join();
    EXPECT_EQ(status, HEARTH_OK) << message;
  };
  auto options = options_of(kDevice);
  options.vram = half_of_the_experts();
  hearth_engine* engine = nullptr;
  hearth_session* session = nullptr;
  auto told = sized<hearth_telemetry>();
  const auto tokens = prompt();
  elsewhere([&] { return hearth_engine_open(golden("qwen35moe").c_str(), &options, &engine); });
  elsewhere([&] { return hearth_session_open(engine, &session); });
  elsewhere(
      [&] { return hearth_session_evaluate(session, tokens.data(), tokens.size(), nullptr); });
  elsewhere([&] { return hearth_engine_telemetry(engine, &told); });
  elsewhere([&] { return hearth_engine_layer_telemetry(engine, 0, &told); });
  elsewhere([&] { return hearth_engine_set_expert_vram(engine, 0); });
  elsewhere([&] { return hearth_engine_set_expert_ram(engine, 1u << 30); });
  elsewhere([&] { return hearth_session_rewind(session, 0); });
  elsewhere(
      [&] { return hearth_session_evaluate(session, tokens.data(), tokens.size(), nullptr); });
  elsewhere([&] { return hearth_session_close(session); });
  elsewhere([&] { return hearth_engine_close(engine); });
}

// The chunk is computed, and given up: the timeline ends with the one before.
TEST_F(Device, ACancelledPromptEndsWithAWholeChunk) {
  const auto engine = on_device();
  const std::uint32_t chunk = facts_of(engine).batch;
  const auto session = open_session(engine);
  const auto tokens = numbers(chunk * 2, 3);
  const auto cancel = [](void* user, const hearth_routing* routing) {
    if (routing->position > 0) hearth_session_cancel(static_cast<hearth_session*>(user));
  };
  ASSERT_EQ(hearth_session_on_routing(session.get(), cancel, session.get()), HEARTH_OK);
  EXPECT_EQ(evaluate(session, tokens), HEARTH_STOPPED);
  EXPECT_EQ(timeline(session).size(), chunk);
  ASSERT_EQ(hearth_session_on_routing(session.get(), nullptr, nullptr), HEARTH_OK);
  const float* logits = nullptr;
  ASSERT_EQ(hearth_session_evaluate(session.get(), tokens.data() + chunk, chunk, &logits),
            HEARTH_OK);
  const auto expected = logits_after(open_engine(golden("qwen3moe"), options_of(nullptr)), tokens);
  EXPECT_EQ(std::memcmp(logits, expected.data(), expected.size() * sizeof(float)), 0);
}

// In the turn of another session nothing of the device can be had.
TEST_F(Device, ATurnIsNotInATurn) {
  const auto engine = on_device();
  const auto session = open_session(engine), other = open_session(engine);
  ASSERT_EQ(evaluate(other, numbers(2, 3)), HEARTH_OK);
  struct Others {
    hearth_engine* engine;
    hearth_session* session;
  } others{engine.get(), other.get()};
  const auto tokens = prompt();
  const auto use = [](void* user, std::size_t, const float*) -> std::int32_t {
    const Others& of = *static_cast<Others*>(user);
    hearth_session* made = nullptr;
    EXPECT_EQ(hearth_session_open(of.engine, &made), HEARTH_ERROR_STATE);
    EXPECT_EQ(hearth_session_rewind(of.session, 1), HEARTH_ERROR_STATE);
    EXPECT_EQ(hearth_session_close(of.session), HEARTH_ERROR_STATE);
    EXPECT_EQ(hearth_engine_set_expert_vram(of.engine, 0), HEARTH_ERROR_STATE);
    return 0;
  };
  EXPECT_EQ(hearth_session_evaluate_each(session.get(), tokens.data(), tokens.size(), use, &others),
            HEARTH_OK);
}

TEST_F(Device, ThatIsLostAnswersNothingAndIsClosed) {
  kernels::emulated_backend_options().last_operation = 1;
  EXPECT_EQ(status_of(options_of(kDevice)), HEARTH_ERROR_DEVICE);
  // While the experts are copied, or in a step.
  bool lost_in_a_step = false;
  for (std::uint64_t last = 100; !lost_in_a_step; last += 50) {
    ASSERT_LT(last, 5000u);
    kernels::emulated_backend_options().last_operation = last;
    hearth_engine* opened = nullptr;
    const auto options = options_of(kDevice);
    if (hearth_engine_open(golden("qwen3moe").c_str(), &options, &opened) != HEARTH_OK) continue;
    const Handle<hearth_engine> engine(opened);
    hearth_session* begun = nullptr;
    if (hearth_session_open(opened, &begun) != HEARTH_OK) continue;
    const Handle<hearth_session> session(begun);
    EXPECT_EQ(evaluate(session, prompt()), HEARTH_ERROR_DEVICE) << hearth_message();
    EXPECT_EQ(evaluate(session, prompt()), HEARTH_ERROR_DEVICE);
    EXPECT_STREQ(hearth_session_message(session.get()), hearth_message());
    lost_in_a_step = true;
  }
  EXPECT_EQ(logits_after(open_engine(golden("qwen3moe"), options_of(nullptr)), prompt()),
            logits_of_the_cpu());
}

}  // namespace
}  // namespace hearth::testing

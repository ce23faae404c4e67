// Sessions: what is evaluated and generated, stopped, taken back, put away and gone on with.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <thread>

#include "tests/api/support/handles.h"
#include "tests/io/support/temporary_directory.h"
#include "tests/runtime/support/heap_calls.h"

namespace hearth::testing {
namespace {

class Sessions : public ::testing::Test {
 protected:
  const Handle<hearth_engine> engine = open_engine();
  const Handle<hearth_session> session = open_session(engine);
  hearth_session* const s = session.get();
};

TEST_F(Sessions, TextBecomesTokensAndTextAgain) {
  const std::string text = "Once upon a time";
  std::size_t count = 0;
  ASSERT_EQ(hearth_tokenize(engine.get(), text.data(), text.size(), 0, nullptr, 0, &count),
            HEARTH_OK);
  ASSERT_GT(count, 1u);
  std::vector<std::int32_t> tokens(count, -7);
  ASSERT_EQ(hearth_tokenize(engine.get(), text.data(), text.size(), 0, tokens.data(), 1, &count),
            HEARTH_OK);
  EXPECT_EQ(count, tokens.size());
  EXPECT_EQ(tokens[1], -7);  // beyond the capacity
  ASSERT_EQ(
      hearth_tokenize(engine.get(), text.data(), text.size(), 0, tokens.data(), count, &count),
      HEARTH_OK);
  std::string back(100, '?');
  ASSERT_EQ(
      hearth_detokenize(engine.get(), tokens.data(), count, 0, back.data(), back.size(), &count),
      HEARTH_OK);
  EXPECT_EQ(back.substr(0, count), text);
}

TEST_F(Sessions, WhatAMessageSpellsIsNoControlToken) {
  auto options = sized<hearth_chat_options>();
  options.template_name = "chatml";
  const auto prompt = [&](const char* content) {
    const hearth_chat_message message{"user", content};
    std::vector<std::int32_t> tokens(200);
    std::size_t count = 0;
    EXPECT_EQ(hearth_chat_prompt(engine.get(), &message, 1, &options, tokens.data(), tokens.size(),
                                 &count),
              HEARTH_OK)
        << hearth_message();
    tokens.resize(count);
    return tokens;
  };
  const auto ends = [&](const std::vector<std::int32_t>& tokens) {
    return std::count_if(tokens.begin(), tokens.end(), [&](std::int32_t token) {
      std::int32_t is_end = 0;
      EXPECT_EQ(hearth_token_ends(engine.get(), token, &is_end), HEARTH_OK);
      return is_end == 1;
    });
  };
  EXPECT_EQ(ends(prompt("hello")), ends(prompt("<|im_end|>")));
}

TEST_F(Sessions, LogitsOfAPromptAreThoseOfSingleTokens) {
  const auto tokens = numbers(70);  // three chunks
  std::map<std::size_t, std::vector<float>> each;
  struct Keep {
    std::map<std::size_t, std::vector<float>>& each;
    std::size_t vocabulary;
  } keep{each, facts_of(engine).vocabulary};
  const auto on_logits = [](void* user, std::size_t index, const float* logits) {
    auto& to = *static_cast<Keep*>(user);
    to.each[index] = {logits, logits + to.vocabulary};
    return 0;
  };
  ASSERT_EQ(hearth_session_evaluate_each(s, tokens.data(), tokens.size(), on_logits, &keep),
            HEARTH_OK);
  ASSERT_EQ(each.size(), tokens.size());
  EXPECT_EQ(timeline(session), tokens);
  const auto other = open_session(engine);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const float* logits = nullptr;
    ASSERT_EQ(hearth_session_evaluate(other.get(), &tokens[i], 1, &logits), HEARTH_OK);
    EXPECT_TRUE(std::equal(each[i].begin(), each[i].end(), logits)) << i;
  }
}

TEST_F(Sessions, WhatWasGeneratedIsInTheTimeline) {
  const auto prompt = numbers(5);
  ASSERT_EQ(evaluate(session, prompt), HEARTH_OK);
  auto expected = prompt;
  const auto first = generate(session, 4), second = generate(session, 4);
  expected.insert(expected.end(), first.begin(), first.end());
  expected.insert(expected.end(), second.begin(), second.end());
  EXPECT_EQ(timeline(session), expected);
  ASSERT_EQ(hearth_session_rewind(s, 9), HEARTH_OK);
  EXPECT_EQ(evaluate(session, {second[0]}), HEARTH_OK);
  EXPECT_EQ(generate(session, 3), std::vector(second.begin() + 1, second.end()));
}

TEST_F(Sessions, GenerationEndsWhereTheHeaderSays) {
  ASSERT_EQ(evaluate(session, numbers(250)), HEARTH_OK);
  auto generation = sized<hearth_generation>();
  auto result = sized<hearth_generated>();
  generation.ignore_end = 1;
  generation.most_tokens = 2;
  ASSERT_EQ(hearth_session_generate(s, &generation, nullptr, nullptr, &result), HEARTH_OK);
  EXPECT_EQ(result.tokens, 2u);
  EXPECT_EQ(result.end, HEARTH_END_LIMIT);
  generation.most_tokens = 0;
  ASSERT_EQ(hearth_session_generate(s, &generation, nullptr, nullptr, &result), HEARTH_OK);
  EXPECT_EQ(result.tokens, 4u);
  EXPECT_EQ(result.end, HEARTH_END_CONTEXT);
  EXPECT_EQ(timeline(session).size(), 256u);
}

TEST_F(Sessions, DrawsGoOnWhereTheyEnded) {
  const auto draw = [&](const Handle<hearth_session>& from, std::uint32_t most,
                        std::uint64_t seed) {
    auto generation = sized<hearth_generation>();
    generation.temperature = 1.5f;
    generation.ignore_end = 1;
    generation.most_tokens = most;
    generation.seed = seed;
    EXPECT_EQ(hearth_session_generate(from.get(), &generation, nullptr, nullptr, nullptr),
              HEARTH_OK);
    return timeline(from);
  };
  ASSERT_EQ(evaluate(session, numbers(5)), HEARTH_OK);
  draw(session, 6, 11);
  const auto parts = draw(session, 6, 0);
  const auto other = open_session(engine);
  ASSERT_EQ(evaluate(other, numbers(5)), HEARTH_OK);
  EXPECT_EQ(draw(other, 12, 11), parts);
}

TEST_F(Sessions, ACallbackThatAsksToStopIsObeyed) {
  ASSERT_EQ(evaluate(session, numbers(5)), HEARTH_OK);
  int left = 3;
  const auto stop = [](void* user, std::int32_t, const char*, std::size_t) -> std::int32_t {
    return --*static_cast<int*>(user) == 0 ? 1 : 0;
  };
  auto generation = sized<hearth_generation>();
  generation.ignore_end = 1;
  auto result = sized<hearth_generated>();
  EXPECT_EQ(hearth_session_generate(s, &generation, stop, &left, &result), HEARTH_STOPPED);
  EXPECT_EQ(left, 0);
  EXPECT_EQ(result.tokens, 3u);
  EXPECT_EQ(result.end, HEARTH_END_STOPPED);
  EXPECT_EQ(timeline(session).size(), 7u);  // without the one it stopped at

  left = 3;
  const auto stop_logits = [](void* user, std::size_t, const float*) -> std::int32_t {
    return --*static_cast<int*>(user) == 0 ? 1 : 0;
  };
  const auto tokens = numbers(100);
  EXPECT_EQ(hearth_session_evaluate_each(s, tokens.data(), tokens.size(), stop_logits, &left),
            HEARTH_STOPPED);
  EXPECT_EQ(left, 0);
  EXPECT_EQ(timeline(session).size(), 7u + 32u);  // the chunk was computed to its end

  int calls = 0;
  auto options = small_options();
  options.user = &calls;
  options.on_progress = [](void* user, std::uint64_t, std::uint64_t) -> std::int32_t {
    ++*static_cast<int*>(user);
    return 1;
  };
  hearth_engine* opened = nullptr;
  EXPECT_EQ(hearth_engine_open(kModel.c_str(), &options, &opened), HEARTH_STOPPED);
  EXPECT_EQ(opened, nullptr);
  EXPECT_EQ(calls, 1);
}

TEST_F(Sessions, ACallbackMayThrow) {
  ASSERT_EQ(evaluate(session, numbers(5)), HEARTH_OK);
  const auto fail = [](void*, std::int32_t, const char*, std::size_t) -> std::int32_t {
    throw std::runtime_error("of the callback");
  };
  EXPECT_EQ(hearth_session_generate(s, nullptr, fail, nullptr, nullptr), HEARTH_ERROR_INTERNAL);
  EXPECT_STREQ(hearth_session_message(s), "of the callback");
  EXPECT_EQ(evaluate(session, numbers(1)), HEARTH_OK);
}

TEST_F(Sessions, CancellingStopsTheCallUnderWay) {
  ASSERT_EQ(evaluate(session, numbers(5)), HEARTH_OK);
  struct Seen {
    hearth_session* session;
    int tokens = 0;
  } seen{s};
  // As another thread would, but at a known token.
  const auto cancel = [](void* user, std::int32_t, const char*, std::size_t) -> std::int32_t {
    auto& to = *static_cast<Seen*>(user);
    std::thread([&] { EXPECT_EQ(hearth_session_cancel(to.session), HEARTH_OK); }).join();
    to.tokens += 1;
    return 0;
  };
  EXPECT_EQ(hearth_session_generate(s, nullptr, cancel, &seen, nullptr), HEARTH_STOPPED);
  EXPECT_EQ(seen.tokens, 1);
  EXPECT_EQ(timeline(session).size(), 5u);
}

TEST_F(Sessions, CancellingBeforehandStopsTheNextCall) {
  ASSERT_EQ(hearth_session_cancel(s), HEARTH_OK);
  EXPECT_EQ(evaluate(session, numbers(5)), HEARTH_STOPPED);
  EXPECT_TRUE(timeline(session).empty());
  EXPECT_EQ(evaluate(session, numbers(5)), HEARTH_OK);
}

// In the first layer of the second chunk; what follows is as if that chunk had never begun.
TEST_F(Sessions, CancellingAPromptGivesItsChunkUp) {
  struct Heard {
    hearth_session* session;
    int decisions = 0;
    bool cancelled = false;
  } heard{s};
  const auto listen = [](void* user, const hearth_routing* routing) {
    auto& to = *static_cast<Heard*>(user);
    to.decisions += to.cancelled ? 1 : 0;
    if (routing->position != 32 || to.cancelled) return;
    to.cancelled = true;
    hearth_session_cancel(to.session);
  };
  ASSERT_EQ(hearth_session_on_routing(s, listen, &heard), HEARTH_OK);
  const auto tokens = numbers(100);
  EXPECT_EQ(evaluate(session, tokens), HEARTH_STOPPED);
  EXPECT_EQ(heard.decisions, 0);
  EXPECT_EQ(timeline(session), numbers(32));

  const std::vector<std::int32_t> rest = {7, 8, 9};
  const float* logits = nullptr;
  ASSERT_EQ(hearth_session_evaluate(s, rest.data(), rest.size(), &logits), HEARTH_OK);
  const auto expected = logits_after(engine, timeline(session));
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), logits));
}

TEST_F(Sessions, ACallbackCannotUseItsSession) {
  ASSERT_EQ(evaluate(session, numbers(5)), HEARTH_OK);
  const auto misuse = [](void* user, std::int32_t token, const char*, std::size_t) -> std::int32_t {
    auto* const own = static_cast<hearth_session*>(user);
    EXPECT_EQ(hearth_session_evaluate(own, &token, 1, nullptr), HEARTH_ERROR_STATE);
    EXPECT_EQ(hearth_session_close(own), HEARTH_ERROR_STATE);
    return 1;
  };
  EXPECT_EQ(hearth_session_generate(s, nullptr, misuse, s, nullptr), HEARTH_STOPPED);
  // In a turn, what takes one is refused rather than waiting for itself.
  const auto ask = [](void* user, const hearth_routing*) {
    auto telemetry = sized<hearth_telemetry>();
    EXPECT_EQ(hearth_engine_telemetry(static_cast<hearth_engine*>(user), &telemetry),
              HEARTH_ERROR_STATE);
  };
  ASSERT_EQ(hearth_session_on_routing(s, ask, engine.get()), HEARTH_OK);
  EXPECT_EQ(evaluate(session, numbers(1)), HEARTH_OK);
}

TEST_F(Sessions, ATokenAllocatesNothing) {
  ASSERT_EQ(evaluate(session, numbers(5)), HEARTH_OK);
  struct Count {
    std::uint64_t tokens = 0, calls = 0;
  } count;
  const auto look = [](void* user, std::int32_t, const char*, std::size_t) -> std::int32_t {
    auto& to = *static_cast<Count*>(user);
    to.tokens += 1;
    if (to.tokens == 10) to.calls = heap_calls();
    if (to.tokens == 40) to.calls = heap_calls() - to.calls;
    return to.tokens == 40 ? 1 : 0;
  };
  auto generation = sized<hearth_generation>();
  generation.ignore_end = 1;
  EXPECT_EQ(hearth_session_generate(s, &generation, look, &count, nullptr), HEARTH_STOPPED);
  EXPECT_EQ(count.calls, 0u);
}

TEST_F(Sessions, GoOnFromAFile) {
  const io::TemporaryDirectory directory;
  const std::string path = directory.file("session");
  ASSERT_EQ(evaluate(session, numbers(40)), HEARTH_OK);
  generate(session, 3);
  ASSERT_EQ(hearth_session_save(s, path.c_str()), HEARTH_OK);
  const auto saved = timeline(session), expected = generate(session, 8);

  const auto elsewhere = open_engine();
  const auto other = open_session(elsewhere);
  ASSERT_EQ(evaluate(other, numbers(3)), HEARTH_OK);  // which goes
  ASSERT_EQ(hearth_session_load(other.get(), path.c_str()), HEARTH_OK);
  EXPECT_EQ(timeline(other), saved);
  EXPECT_EQ(generate(other, 8), expected);
}

TEST_F(Sessions, TelemetryAddsUp) {
  ASSERT_EQ(evaluate(session, numbers(40)), HEARTH_OK);
  generate(session, 8);
  auto all = sized<hearth_telemetry>();
  ASSERT_EQ(hearth_engine_telemetry(engine.get(), &all), HEARTH_OK);
  std::uint64_t hits = 0, misses = 0;
  std::uint32_t resident = 0;
  const hearth_engine_facts facts = facts_of(engine);
  for (std::uint32_t layer = 0; layer < facts.layers; ++layer) {
    auto one = sized<hearth_telemetry>();
    ASSERT_EQ(hearth_engine_layer_telemetry(engine.get(), layer, &one), HEARTH_OK);
    hits += one.ram_hits, misses += one.disk_hits, resident += one.resident;
  }
  EXPECT_EQ(hits, all.ram_hits);
  EXPECT_EQ(misses, all.disk_hits);
  EXPECT_EQ(resident, all.resident);
  EXPECT_LE(all.resident, all.expert_slots);
  EXPECT_LE(all.expert_ram, 8u << 20);
  EXPECT_GT(misses, 0u);
  EXPECT_GE(all.disk_bytes, all.expert_bytes);
  auto times = sized<hearth_session_times>();
  ASSERT_EQ(hearth_session_times_of(s, &times), HEARTH_OK);
  EXPECT_EQ(times.turns, 2u + 8u);
  EXPECT_GE(times.total_ns, times.attention_ns + times.experts_ns + times.logits_ns);
}

// Half, all, anything in between: a hundred times.
TEST_F(Sessions, ExpertMemoryComesAndGoesWithoutAnyEffectOnLogits) {
  const auto reference = open_session(engine);
  ASSERT_EQ(evaluate(reference, numbers(5)), HEARTH_OK);
  ASSERT_EQ(evaluate(session, numbers(5)), HEARTH_OK);
  const std::uint64_t most = 8u << 20, least = facts_of(engine).least_expert_ram;
  for (std::uint64_t i = 0; i < 100; ++i) {
    const std::int32_t token = 300 + static_cast<std::int32_t>(i * 7);
    const float *expected = nullptr, *logits = nullptr;
    ASSERT_EQ(hearth_session_evaluate(reference.get(), &token, 1, &expected), HEARTH_OK);
    const std::uint64_t wanted = i % 2 == 0 ? most / 2 : least + i * (most / 2 - least) / 100;
    ASSERT_EQ(hearth_engine_set_expert_ram(engine.get(), wanted), HEARTH_OK) << hearth_message();
    ASSERT_EQ(hearth_session_evaluate(s, &token, 1, &logits), HEARTH_OK);
    ASSERT_TRUE(std::equal(expected, expected + facts_of(engine).vocabulary, logits)) << i;
  }
  EXPECT_EQ(hearth_engine_set_expert_ram(engine.get(), least - 1), HEARTH_ERROR_BUDGET);
  EXPECT_EQ(hearth_engine_set_expert_ram(engine.get(), UINT64_MAX), HEARTH_OK);  // all again
  auto telemetry = sized<hearth_telemetry>();
  ASSERT_EQ(hearth_engine_telemetry(engine.get(), &telemetry), HEARTH_OK);
  EXPECT_GT(telemetry.expert_ram, most / 10 * 9);
  EXPECT_LE(telemetry.expert_ram, most);
}

TEST_F(Sessions, ProfilesCountWhatIsRoutedAndGuideEnginesAndPlans) {
  const io::TemporaryDirectory directory;
  const std::string path = directory.file("profile.toml"), plan_path = directory.file("plan.toml");
  hearth_profile* made = nullptr;
  ASSERT_EQ(hearth_profile_make(engine.get(), &made), HEARTH_OK);
  Handle<hearth_profile> profile(made);
  ASSERT_EQ(hearth_session_record(s, made, "test"), HEARTH_OK);
  ASSERT_EQ(evaluate(session, numbers(40)), HEARTH_OK);
  ASSERT_EQ(hearth_session_record(s, nullptr, nullptr), HEARTH_OK);
  ASSERT_EQ(evaluate(session, numbers(1)), HEARTH_OK);  // not counted
  std::uint64_t tokens = 0;
  ASSERT_EQ(hearth_profile_tokens(made, &tokens), HEARTH_OK);
  EXPECT_EQ(tokens, 40u);
  std::vector<std::uint64_t> uses(1000);
  std::size_t experts = 0;
  ASSERT_EQ(hearth_profile_uses(made, 0, uses.data(), uses.size(), &experts), HEARTH_OK);
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < experts; ++i) sum += uses[i];
  EXPECT_EQ(sum, 40u * facts_of(engine).experts_used);

  ASSERT_EQ(hearth_profile_save(made, path.c_str()), HEARTH_OK);
  hearth_profile* loaded = nullptr;
  ASSERT_EQ(hearth_profile_load(path.c_str(), &loaded), HEARTH_OK) << hearth_message();
  profile.reset(loaded);
  auto options = small_options();
  options.profile = loaded;
  hearth_plan* planned = nullptr;
  ASSERT_EQ(hearth_plan_make(kModel.c_str(), &options, &planned), HEARTH_OK) << hearth_message();
  const Handle<hearth_plan> plan(planned);
  auto facts = sized<hearth_plan_facts>();
  ASSERT_EQ(hearth_plan_facts_of(planned, &facts), HEARTH_OK);
  EXPECT_GT(facts.first_experts, 0u);
  EXPECT_EQ(facts.total, facts.process + facts.dense + facts.keys_and_values +
                             facts.recurrent_state + facts.scratch + facts.experts);
  ASSERT_EQ(hearth_plan_save(planned, plan_path.c_str()), HEARTH_OK);
  hearth_plan* read = nullptr;
  ASSERT_EQ(hearth_plan_load(plan_path.c_str(), &read), HEARTH_OK) << hearth_message();
  const Handle<hearth_plan> same(read);

  auto following = sized<hearth_engine_options>();
  following.plan = read;
  const auto guided = open_engine(kModel, following);
  auto telemetry = sized<hearth_telemetry>();
  ASSERT_EQ(hearth_engine_telemetry(guided.get(), &telemetry), HEARTH_OK);
  EXPECT_EQ(telemetry.resident, facts.first_experts);
  EXPECT_EQ(telemetry.expert_ram, facts.experts);
  EXPECT_EQ(facts_of(guided).session_bytes,
            facts.keys_and_values + facts.recurrent_state + facts.scratch);
}

// Profiles, sessions and engines in any order but engines before their sessions.
TEST_F(Sessions, AProfileMayBeClosedWhileASessionCountsIntoIt) {
  hearth_profile* made = nullptr;
  ASSERT_EQ(hearth_profile_make(engine.get(), &made), HEARTH_OK);
  ASSERT_EQ(hearth_session_record(s, made, "test"), HEARTH_OK);
  ASSERT_EQ(hearth_profile_close(made), HEARTH_OK);
  EXPECT_EQ(evaluate(session, numbers(3)), HEARTH_OK);
}

}  // namespace
}  // namespace hearth::testing

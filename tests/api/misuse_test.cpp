// Each function with null, wrong-state and out-of-range arguments returns what the header says.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

#include "tests/api/support/handles.h"
#include "tests/io/support/temporary_directory.h"

namespace hearth::testing {
namespace {

class Misuse : public ::testing::Test {
 protected:
  const Handle<hearth_engine> engine = open_engine();
  const Handle<hearth_session> session = open_session(engine);
  hearth_engine* const e = engine.get();
  hearth_session* const s = session.get();
};

#define EXPECT_USAGE(call) EXPECT_EQ(call, HEARTH_ERROR_USAGE) << hearth_message()
#define EXPECT_STATE(call) EXPECT_EQ(call, HEARTH_ERROR_STATE) << hearth_message()

TEST_F(Misuse, NullIsUsage) {
  hearth_engine* opened = nullptr;
  hearth_session* begun = nullptr;
  hearth_profile* profile = nullptr;
  hearth_plan* plan = nullptr;
  std::int32_t token = 5, ends = 0;
  const std::int32_t* tokens = nullptr;
  std::size_t count = 0;
  std::uint64_t amount = 0;
  auto facts = sized<hearth_engine_facts>();
  auto telemetry = sized<hearth_telemetry>();
  auto times = sized<hearth_session_times>();
  auto plan_facts = sized<hearth_plan_facts>();
  char text[8];
  const hearth_chat_message no_role{nullptr, "hi"}, no_content{"user", nullptr};

  EXPECT_USAGE(hearth_engine_open(nullptr, nullptr, &opened));
  EXPECT_USAGE(hearth_engine_open(kModel.c_str(), nullptr, nullptr));
  EXPECT_EQ(hearth_engine_close(nullptr), HEARTH_OK);
  EXPECT_USAGE(hearth_engine_facts_of(nullptr, &facts));
  EXPECT_USAGE(hearth_engine_facts_of(e, nullptr));
  EXPECT_USAGE(hearth_engine_set_expert_ram(nullptr, 1));
  EXPECT_USAGE(hearth_engine_set_expert_vram(nullptr, 1));
  EXPECT_USAGE(hearth_list_devices(nullptr, nullptr));
  EXPECT_USAGE(hearth_tokenize(nullptr, "a", 1, 0, &token, 1, &count));
  EXPECT_USAGE(hearth_tokenize(e, nullptr, 1, 0, &token, 1, &count));
  EXPECT_USAGE(hearth_tokenize(e, "a", 1, 0, nullptr, 1, &count));
  EXPECT_USAGE(hearth_tokenize(e, "a", 1, 0, &token, 1, nullptr));
  EXPECT_USAGE(hearth_detokenize(nullptr, &token, 1, 0, text, 8, &count));
  EXPECT_USAGE(hearth_detokenize(e, nullptr, 1, 0, text, 8, &count));
  EXPECT_USAGE(hearth_detokenize(e, &token, 1, 0, nullptr, 8, &count));
  EXPECT_USAGE(hearth_detokenize(e, &token, 1, 0, text, 8, nullptr));
  EXPECT_USAGE(hearth_token_ends(nullptr, 1, &ends));
  EXPECT_USAGE(hearth_token_ends(e, 1, nullptr));
  EXPECT_USAGE(hearth_chat_prompt(nullptr, nullptr, 0, nullptr, &token, 1, &count));
  EXPECT_USAGE(hearth_chat_prompt(e, nullptr, 1, nullptr, &token, 1, &count));
  EXPECT_USAGE(hearth_chat_prompt(e, &no_role, 1, nullptr, &token, 1, &count));
  EXPECT_USAGE(hearth_chat_prompt(e, &no_content, 1, nullptr, &token, 1, &count));
  EXPECT_USAGE(hearth_session_open(nullptr, &begun));
  EXPECT_USAGE(hearth_session_open(e, nullptr));
  EXPECT_EQ(hearth_session_close(nullptr), HEARTH_OK);
  EXPECT_STREQ(hearth_session_message(nullptr), "");
  EXPECT_USAGE(hearth_session_evaluate(nullptr, &token, 1, nullptr));
  EXPECT_USAGE(hearth_session_evaluate(s, nullptr, 1, nullptr));
  EXPECT_USAGE(hearth_session_evaluate_each(nullptr, &token, 1, nullptr, nullptr));
  EXPECT_USAGE(hearth_session_evaluate_each(s, &token, 1, nullptr, nullptr));
  EXPECT_USAGE(hearth_session_generate(nullptr, nullptr, nullptr, nullptr, nullptr));
  EXPECT_USAGE(hearth_session_cancel(nullptr));
  EXPECT_USAGE(hearth_session_tokens(nullptr, &tokens, &count));
  EXPECT_USAGE(hearth_session_tokens(s, nullptr, &count));
  EXPECT_USAGE(hearth_session_tokens(s, &tokens, nullptr));
  EXPECT_USAGE(hearth_session_rewind(nullptr, 0));
  EXPECT_USAGE(hearth_session_save(nullptr, "x"));
  EXPECT_USAGE(hearth_session_save(s, nullptr));
  EXPECT_USAGE(hearth_session_load(nullptr, "x"));
  EXPECT_USAGE(hearth_session_load(s, nullptr));
  EXPECT_USAGE(hearth_session_on_routing(nullptr, nullptr, nullptr));
  EXPECT_USAGE(hearth_session_record(nullptr, nullptr, nullptr));
  EXPECT_USAGE(hearth_session_times_of(nullptr, &times));
  EXPECT_USAGE(hearth_session_times_of(s, nullptr));
  EXPECT_USAGE(hearth_profile_make(nullptr, &profile));
  EXPECT_USAGE(hearth_profile_make(e, nullptr));
  EXPECT_USAGE(hearth_profile_load(nullptr, &profile));
  EXPECT_USAGE(hearth_profile_load("x", nullptr));
  EXPECT_USAGE(hearth_profile_save(nullptr, "x"));
  EXPECT_EQ(hearth_profile_close(nullptr), HEARTH_OK);
  EXPECT_USAGE(hearth_profile_tokens(nullptr, &amount));
  EXPECT_USAGE(hearth_profile_uses(nullptr, 0, &amount, 1, &count));
  EXPECT_USAGE(hearth_plan_make(nullptr, nullptr, &plan));
  EXPECT_USAGE(hearth_plan_make(kModel.c_str(), nullptr, nullptr));
  EXPECT_USAGE(hearth_plan_load(nullptr, &plan));
  EXPECT_USAGE(hearth_plan_load("x", nullptr));
  EXPECT_USAGE(hearth_plan_save(nullptr, "x"));
  EXPECT_EQ(hearth_plan_close(nullptr), HEARTH_OK);
  EXPECT_USAGE(hearth_plan_facts_of(nullptr, &plan_facts));
  EXPECT_USAGE(hearth_engine_telemetry(nullptr, &telemetry));
  EXPECT_USAGE(hearth_engine_telemetry(e, nullptr));
  EXPECT_USAGE(hearth_engine_layer_telemetry(nullptr, 0, &telemetry));
  EXPECT_USAGE(hearth_engine_layer_telemetry(e, 0, nullptr));
  EXPECT_EQ(opened, nullptr);
  EXPECT_EQ(begun, nullptr);
  EXPECT_EQ(profile, nullptr);
  EXPECT_EQ(plan, nullptr);
}

TEST_F(Misuse, StructsWithoutASizeAreUsage) {
  const hearth_engine_options options{};
  hearth_engine* opened = nullptr;
  hearth_plan* plan = nullptr;
  EXPECT_USAGE(hearth_engine_open(kModel.c_str(), &options, &opened));
  EXPECT_USAGE(hearth_plan_make(kModel.c_str(), &options, &plan));
  hearth_engine_facts facts{};
  EXPECT_USAGE(hearth_engine_facts_of(e, &facts));
  hearth_telemetry telemetry{};
  EXPECT_USAGE(hearth_engine_telemetry(e, &telemetry));
  hearth_session_times times{};
  EXPECT_USAGE(hearth_session_times_of(s, &times));
  const hearth_chat_options chat{};
  const hearth_chat_message message{"user", "hi"};
  std::size_t count = 0;
  EXPECT_USAGE(hearth_chat_prompt(e, &message, 1, &chat, nullptr, 0, &count));
  ASSERT_EQ(evaluate(session, numbers(3)), HEARTH_OK);
  const hearth_generation generation{};
  EXPECT_USAGE(hearth_session_generate(s, &generation, nullptr, nullptr, nullptr));
  hearth_generated generated{};
  EXPECT_USAGE(hearth_session_generate(s, nullptr, nullptr, nullptr, &generated));
}

// Such a struct was never set, and reading it to its end would leave the caller's memory.
TEST_F(Misuse, StructsOfAnAbsurdSizeAreUsage) {
  auto options = small_options();
  hearth_engine* opened = nullptr;
  for (const std::size_t size : {std::size_t{1} << 40, SIZE_MAX}) {
    options.size = size;
    EXPECT_USAGE(hearth_engine_open(kModel.c_str(), &options, &opened));
    hearth_engine_facts facts{};
    facts.size = size;
    EXPECT_USAGE(hearth_engine_facts_of(e, &facts));
  }
}

// Before the system is asked for so many threads.
TEST_F(Misuse, MoreThreadsOrABatchThanTheCommandTakesAreUsage) {
  hearth_engine* opened = nullptr;
  auto options = small_options();
  for (const std::uint32_t threads : {1025u, 100'000u, UINT32_MAX}) {
    options.threads = threads;
    EXPECT_USAGE(hearth_engine_open(kModel.c_str(), &options, &opened));
  }
  EXPECT_STREQ(hearth_message(), "threads is 4294967295; give 1 to 1024, or 0 for what is usual");
  options = small_options();
  for (const std::uint32_t batch : {65'537u, 1'000'000u, UINT32_MAX}) {
    options.batch = batch;
    EXPECT_USAGE(hearth_engine_open(kModel.c_str(), &options, &opened));
  }
  options.batch = 65'536;  // more than the context has
  EXPECT_EQ(hearth_engine_open(kModel.c_str(), &options, &opened), HEARTH_OK) << hearth_message();
  EXPECT_EQ(hearth_engine_close(opened), HEARTH_OK);
}

TEST_F(Misuse, WhatWasToBeFilledIsUntouchedByAnError) {
  std::size_t count = 99;
  EXPECT_USAGE(hearth_tokenize(e, "abc", 3, 0, nullptr, 4, &count));
  EXPECT_EQ(count, 99u);
}

TEST_F(Misuse, AWrongResultIsSaidBeforeAnythingIsGenerated) {
  ASSERT_EQ(evaluate(session, numbers(3)), HEARTH_OK);
  auto generation = sized<hearth_generation>();
  generation.most_tokens = 3;
  generation.ignore_end = 1;
  hearth_generated generated{};
  EXPECT_USAGE(hearth_session_generate(s, &generation, nullptr, nullptr, &generated));
  EXPECT_EQ(timeline(session), numbers(3));
  EXPECT_STREQ(hearth_session_message(s), hearth_message());
  generated = sized<hearth_generated>();
  generated.tokens = 7;
  EXPECT_USAGE(hearth_session_generate(nullptr, &generation, nullptr, nullptr, &generated));
  EXPECT_EQ(generated.tokens, 0u);
  EXPECT_EQ(generated.end, HEARTH_END_STOPPED);
}

TEST_F(Misuse, EmptyPathsAreUsageAndSaid) {
  hearth_engine* opened = nullptr;
  hearth_plan* plan = nullptr;
  hearth_profile* profile = nullptr;
  ASSERT_EQ(evaluate(session, numbers(3)), HEARTH_OK);
  EXPECT_USAGE(hearth_engine_open("", nullptr, &opened));
  EXPECT_STREQ(hearth_message(), "model_path is empty; give one");
  EXPECT_USAGE(hearth_plan_make("", nullptr, &plan));
  EXPECT_USAGE(hearth_plan_load("", &plan));
  EXPECT_USAGE(hearth_profile_load("", &profile));
  EXPECT_USAGE(hearth_session_save(s, ""));
  EXPECT_USAGE(hearth_session_load(s, ""));
  EXPECT_EQ(timeline(session), numbers(3));
}

TEST_F(Misuse, OptionsOutOfRange) {
  hearth_engine* opened = nullptr;
  const auto status_of = [&](auto change) {
    hearth_engine_options options = small_options();
    change(options);
    return hearth_engine_open(kModel.c_str(), &options, &opened);
  };
  EXPECT_USAGE(status_of([](auto& o) { o.ram = 1u << 30; }));  // and expert_ram
  EXPECT_USAGE(status_of([](auto& o) { o.policy = "nonsense"; }));
  EXPECT_USAGE(status_of([](auto& o) { o.key_format = "q3_0"; }));
  EXPECT_USAGE(status_of([](auto& o) { o.value_format = ""; }));
  EXPECT_USAGE(status_of([](auto& o) { o.io = "telepathy"; }));
  EXPECT_USAGE(status_of([](auto& o) { o.no_prefetch = 2; }));
  EXPECT_USAGE(status_of([](auto& o) { o.expert_share = 0.5f; }));  // and expert_ram
  for (const float wrong : {-0.5f, 1.5f, std::nanf("")})
    EXPECT_USAGE(status_of([wrong](auto& o) {
      o.expert_ram = 0;
      o.expert_share = wrong;
    }));
  EXPECT_USAGE(status_of([](auto& o) { o.page_cache = -1; }));
  EXPECT_USAGE(status_of([](auto& o) { o.vram = 1; }));
  EXPECT_USAGE(status_of([](auto& o) { o.machine = "machine.toml"; }));
  // Of formats that are not quantized.
  EXPECT_USAGE(status_of([](auto& o) { o.kv_tail = 5; }));
  EXPECT_USAGE(status_of([](auto& o) { o.no_kv_rotation = 1; }));
  EXPECT_USAGE(status_of([](auto& o) {
    o.key_format = "q8_0";
    o.no_kv_rotation = 2;
  }));
  EXPECT_USAGE(status_of([](auto& o) {
    o.key_format = "q8_0";
    o.kv_tail = -2;
  }));
  EXPECT_USAGE(status_of([](auto& o) {  // nothing would be left to the format
    o.key_format = "q8_0";
    o.kv_tail = 250;
  }));
  EXPECT_EQ(status_of([](auto& o) { o.expert_ram = 1; }), HEARTH_ERROR_BUDGET);
  EXPECT_EQ(hearth_engine_open("/no/such.gguf", nullptr, &opened), HEARTH_ERROR_NOT_FOUND);
  EXPECT_EQ(hearth_engine_open(HEARTH_SOURCE_DIR "/README.md", nullptr, &opened),
            HEARTH_ERROR_BAD_FILE);
  EXPECT_EQ(opened, nullptr);
  EXPECT_NE(std::string_view(hearth_message()).find("README.md"), std::string_view::npos);
  EXPECT_EQ(hearth_engine_open("/no/\x1b[31m\n", nullptr, &opened), HEARTH_ERROR_NOT_FOUND);
  EXPECT_STREQ(hearth_message(), "/no/\\x1b[31m\\x0a: no such file; check the path");
}

TEST_F(Misuse, TextAndTokensOutOfRange) {
  std::size_t count = 0;
  std::int32_t ends = 0;
  const auto vocabulary = static_cast<std::int32_t>(facts_of(engine).vocabulary);
  for (const std::int32_t wrong : {-1, vocabulary}) {
    EXPECT_EQ(hearth_detokenize(e, &wrong, 1, 0, nullptr, 0, &count), HEARTH_ERROR_BAD_INPUT);
    EXPECT_EQ(hearth_token_ends(e, wrong, &ends), HEARTH_ERROR_BAD_INPUT);
    EXPECT_EQ(hearth_session_evaluate(s, &wrong, 1, nullptr), HEARTH_ERROR_BAD_INPUT);
  }
  EXPECT_USAGE(hearth_tokenize(e, "a", 1, 4, nullptr, 0, &count));
  EXPECT_USAGE(hearth_session_evaluate(s, &ends, 0, nullptr));
  EXPECT_EQ(evaluate(session, numbers(257)), HEARTH_ERROR_BAD_INPUT);  // the context is 256
  // How many there are is looked at before they are.
  EXPECT_EQ(hearth_session_evaluate(s, &ends, SIZE_MAX / 8, nullptr), HEARTH_ERROR_BAD_INPUT);
  EXPECT_NE(std::string_view(hearth_message()).find("do not fit"), std::string_view::npos);
  EXPECT_TRUE(timeline(session).empty());
  EXPECT_STREQ(hearth_session_message(s), hearth_message());

  const hearth_chat_message message{"user", "hi"};
  auto chat = sized<hearth_chat_options>();
  const auto status_of = [&] {
    return hearth_chat_prompt(e, &message, 1, &chat, nullptr, 0, &count);
  };
  chat.template_name = "no such template";
  EXPECT_EQ(status_of(), HEARTH_ERROR_BAD_INPUT);
  chat.template_source = "both";
  EXPECT_USAGE(status_of());
  chat.template_name = nullptr;
  chat.template_source = "{% if %}";
  EXPECT_EQ(status_of(), HEARTH_ERROR_BAD_FILE);
  chat.template_source = "{{ raise_exception('no') }}";
  EXPECT_EQ(status_of(), HEARTH_ERROR_BAD_INPUT);
  chat.thinking = 2;
  EXPECT_USAGE(status_of());
  chat = sized<hearth_chat_options>();
  chat.template_name = "chatml";
  EXPECT_EQ(status_of(), HEARTH_OK);
  chat.no_generation_prompt = 2;
  EXPECT_USAGE(status_of());
}

TEST_F(Misuse, GenerationOutOfRange) {
  ASSERT_EQ(evaluate(session, numbers(3)), HEARTH_OK);
  const auto status_of = [&](auto change) {
    auto generation = sized<hearth_generation>();
    generation.most_tokens = 1;
    change(generation);
    return hearth_session_generate(s, &generation, nullptr, nullptr, nullptr);
  };
  EXPECT_EQ(status_of([](auto&) {}), HEARTH_OK);
  EXPECT_USAGE(status_of([](auto& g) { g.temperature = -1; }));
  EXPECT_USAGE(status_of([](auto& g) { g.temperature = std::nanf(""); }));
  EXPECT_USAGE(status_of([](auto& g) { g.top_p = 1.5f; }));
  EXPECT_USAGE(status_of([](auto& g) { g.min_p = -0.5f; }));
  EXPECT_USAGE(status_of([](auto& g) { g.repeat_penalty = -1; }));
  EXPECT_USAGE(status_of([](auto& g) { g.presence_penalty = INFINITY; }));
  EXPECT_USAGE(status_of([](auto& g) { g.top_k = -1; }));
  EXPECT_USAGE(status_of([](auto& g) { g.repeat_last = -2; }));
  EXPECT_USAGE(status_of([](auto& g) { g.ignore_end = 2; }));
  EXPECT_USAGE(status_of([](auto& g) { g.show_special = -1; }));
  EXPECT_USAGE(status_of([](auto& g) { g.reserved = 1; }));
  EXPECT_EQ(timeline(session).size(), 4u);
}

TEST_F(Misuse, RightAtAnotherTimeIsState) {
  const io::TemporaryDirectory directory;
  const std::string file = directory.file("s");
  EXPECT_STATE(hearth_engine_close(e));
  EXPECT_STATE(hearth_session_generate(s, nullptr, nullptr, nullptr, nullptr));
  EXPECT_STATE(hearth_session_save(s, file.c_str()));
  ASSERT_EQ(evaluate(session, numbers(9)), HEARTH_OK);
  EXPECT_USAGE(hearth_session_rewind(s, 10));
  ASSERT_EQ(hearth_session_rewind(s, 5), HEARTH_OK);
  EXPECT_STATE(hearth_session_generate(s, nullptr, nullptr, nullptr, nullptr));
  EXPECT_STATE(hearth_session_save(s, file.c_str()));
  EXPECT_EQ(hearth_session_load(s, file.c_str()), HEARTH_ERROR_NOT_FOUND);
  EXPECT_TRUE(timeline(session).empty());

  hearth_profile* made = nullptr;
  ASSERT_EQ(hearth_profile_make(e, &made), HEARTH_OK);
  const Handle<hearth_profile> profile(made);
  const auto other = open_session(engine);
  ASSERT_EQ(hearth_session_record(s, made, "test"), HEARTH_OK);
  EXPECT_STATE(hearth_session_record(other.get(), made, "test"));
  ASSERT_EQ(hearth_session_record(s, nullptr, nullptr), HEARTH_OK);
  EXPECT_EQ(hearth_session_record(other.get(), made, "test"), HEARTH_OK);
  EXPECT_USAGE(hearth_session_record(s, made, nullptr));
  for (const char* const label : {"", "two\nlines", "\xff"})
    EXPECT_USAGE(hearth_session_record(s, made, label)) << label;
  EXPECT_EQ(hearth_session_record(other.get(), made, "two words"), HEARTH_OK);
}

TEST_F(Misuse, ARecordingThatIsRefusedLeavesTheOneBeforeIt) {
  hearth_profile *first = nullptr, *second = nullptr;
  ASSERT_EQ(hearth_profile_make(e, &first), HEARTH_OK);
  ASSERT_EQ(hearth_profile_make(e, &second), HEARTH_OK);
  const Handle<hearth_profile> one(first), two(second);
  ASSERT_EQ(hearth_session_record(s, first, "a"), HEARTH_OK);
  ASSERT_EQ(evaluate(session, numbers(3)), HEARTH_OK);
  EXPECT_USAGE(hearth_session_record(s, second, nullptr));
  ASSERT_EQ(evaluate(session, numbers(4)), HEARTH_OK);
  ASSERT_EQ(hearth_session_record(s, first, "b"), HEARTH_OK);  // under another name
  ASSERT_EQ(evaluate(session, numbers(5)), HEARTH_OK);
  std::uint64_t tokens = 0;
  ASSERT_EQ(hearth_profile_tokens(first, &tokens), HEARTH_OK);
  EXPECT_EQ(tokens, 12u);
}

TEST_F(Misuse, ARecurrentSessionGoesBackToItsBeginningAlone) {
  const auto recurrent = open_engine(kRecurrentModel, [] {
    auto options = small_options();
    options.expert_ram = 0;
    return options;
  }());
  const auto one = open_session(recurrent);
  ASSERT_EQ(evaluate(one, numbers(9, 10)), HEARTH_OK);
  EXPECT_STATE(hearth_session_rewind(one.get(), 8));
  EXPECT_EQ(hearth_session_rewind(one.get(), 9), HEARTH_OK);
  EXPECT_EQ(hearth_session_rewind(one.get(), 0), HEARTH_OK);
  EXPECT_EQ(evaluate(one, numbers(9, 10)), HEARTH_OK);
}

TEST_F(Misuse, ProfilesAndPlansOutOfRange) {
  const io::TemporaryDirectory directory;
  hearth_profile* made = nullptr;
  hearth_plan* planned = nullptr;
  hearth_engine* opened = nullptr;
  std::size_t count = 0;
  EXPECT_EQ(hearth_profile_load("/no/such", &made), HEARTH_ERROR_NOT_FOUND);
  EXPECT_EQ(hearth_plan_load("/no/such", &planned), HEARTH_ERROR_NOT_FOUND);
  ASSERT_EQ(hearth_profile_make(e, &made), HEARTH_OK);
  const Handle<hearth_profile> profile(made);
  EXPECT_USAGE(hearth_profile_uses(made, facts_of(engine).layers, nullptr, 0, &count));
  EXPECT_USAGE(hearth_profile_uses(made, 0, nullptr, 0, nullptr));
  EXPECT_USAGE(hearth_profile_uses(made, 0, nullptr, 1, &count));
  EXPECT_USAGE(hearth_profile_tokens(made, nullptr));
  EXPECT_USAGE(hearth_profile_save(made, nullptr));
  EXPECT_EQ(hearth_profile_save(made, directory.file("no/such/folder").c_str()), HEARTH_ERROR_IO);

  auto options = small_options();
  options.profile = made;
  EXPECT_EQ(hearth_engine_open(kRecurrentModel.c_str(), &options, &opened), HEARTH_ERROR_BAD_INPUT);

  options.profile = nullptr;
  ASSERT_EQ(hearth_plan_make(kModel.c_str(), &options, &planned), HEARTH_OK);
  const Handle<hearth_plan> plan(planned);
  EXPECT_USAGE(hearth_plan_save(planned, nullptr));
  EXPECT_USAGE(hearth_plan_facts_of(planned, nullptr));
  options.plan = planned;
  EXPECT_USAGE(hearth_engine_open(kModel.c_str(), &options, &opened));  // and a budget
  for (const auto change : {+[](hearth_engine_options& o) { o.expert_share = 1; },
                            +[](hearth_engine_options& o) { o.kv_tail = 1; },
                            +[](hearth_engine_options& o) { o.device = "auto"; }}) {
    options = sized<hearth_engine_options>();
    options.plan = planned;
    change(options);
    EXPECT_USAGE(hearth_engine_open(kModel.c_str(), &options, &opened));
  }
  options = sized<hearth_engine_options>();
  options.plan = planned;
  EXPECT_USAGE(hearth_plan_make(kModel.c_str(), &options, &planned));
  EXPECT_EQ(hearth_engine_open(kRecurrentModel.c_str(), &options, &opened), HEARTH_ERROR_BAD_INPUT);
  auto telemetry = sized<hearth_telemetry>();
  EXPECT_USAGE(hearth_engine_layer_telemetry(e, facts_of(engine).layers, &telemetry));
}

}  // namespace
}  // namespace hearth::testing

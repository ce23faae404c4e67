// Options that change what an engine takes, or how it reads, and those of a machine without a GPU.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <string>

#include "tests/api/support/handles.h"

namespace hearth::testing {
namespace {

hearth_engine_options quantized() {
  hearth_engine_options options = small_options();
  options.key_format = "q8_0";
  options.value_format = "q4_0";
  return options;
}

// More than a tile beyond the tail.
std::vector<std::int32_t> text() { return numbers(48); }

TEST(Options, TheTailIsOfSoManyPositions) {
  hearth_engine_options options = quantized();
  const std::uint64_t usual = facts_of(open_engine(kModel, options)).session_bytes;
  options.kv_tail = 128;
  EXPECT_EQ(facts_of(open_engine(kModel, options)).session_bytes, usual);
  const auto in_f16 = logits_after(open_engine(kModel, options), text());
  options.kv_tail = -1;
  const auto engine = open_engine(kModel, options);
  EXPECT_LT(facts_of(engine).session_bytes, usual);
  EXPECT_NE(logits_after(engine, text()), in_f16);
}

TEST(Options, RotationCanBeLeftOut) {
  hearth_engine_options options = quantized();
  options.kv_tail = -1;
  const auto rotated = logits_after(open_engine(kModel, options), text());
  options.no_kv_rotation = 1;
  EXPECT_NE(logits_after(open_engine(kModel, options), text()), rotated);
}

TEST(Options, AShareOfTheExperts) {
  hearth_engine_options options = small_options();
  options.expert_ram = 0;
  options.expert_share = 1;
  const auto all = open_engine(kModel, options);
  auto told = sized<hearth_telemetry>();
  ASSERT_EQ(hearth_engine_telemetry(all.get(), &told), HEARTH_OK);
  EXPECT_EQ(told.expert_slots, facts_of(all).experts);
  options.expert_share = 0.5;
  const auto half = open_engine(kModel, options);
  ASSERT_EQ(hearth_engine_telemetry(half.get(), &told), HEARTH_OK);
  EXPECT_LE(told.expert_slots, facts_of(half).experts / 2);
  EXPECT_GE(told.expert_slots, facts_of(half).experts / 2 - 2);
  EXPECT_EQ(logits_after(half, text()), logits_after(all, text()));
}

TEST(Options, FilesAreReadThroughThePageCache) {
  hearth_engine_options options = small_options();
  options.page_cache = 1;
  const auto engine = open_engine(kModel, options);
  const std::string io = facts_of(engine).io;
  EXPECT_NE(io.find("page cache"), std::string::npos) << io;
  EXPECT_EQ(io.find("O_DIRECT"), std::string::npos) << io;  // which was not tried
}

// A program that was built with the first header, whose options end with `user`.
TEST(Options, ThoseOfAnEarlierHeaderAreEnough) {
  hearth_engine_options options = small_options();
  std::memset(&options.device, 0x55, sizeof options - offsetof(hearth_engine_options, device));
  options.size = offsetof(hearth_engine_options, device);
  const auto engine = open_engine(kModel, options);
  EXPECT_EQ(facts_of(engine).device, nullptr);

  hearth_engine_facts facts;
  std::memset(&facts, 0x55, sizeof facts);
  facts.size = offsetof(hearth_engine_facts, device);
  ASSERT_EQ(hearth_engine_facts_of(engine.get(), &facts), HEARTH_OK);
  EXPECT_EQ(facts.context, 256u);
  EXPECT_EQ(facts.vram, 0x5555555555555555u);  // is not written
}

// What there is depends on the machine; what can be said of it does not.
TEST(Options, AutoIsWhateverIsThere) {
  std::size_t devices = 0;
  const hearth_status listed = hearth_list_devices(
      [](void* user, const hearth_device_facts* device) {
        EXPECT_STRNE(device->name, "");
        *static_cast<std::size_t*>(user) += 1;
      },
      &devices);
  hearth_engine_options options = small_options();
  options.device = "auto";
  EXPECT_EQ(facts_of(open_engine(kModel, options)).device == nullptr, devices == 0);
  if (devices > 0) GTEST_SKIP() << "this machine has a GPU";
  EXPECT_EQ(listed, HEARTH_ERROR_DEVICE);
  EXPECT_NE(std::string(hearth_message()).find("there is no GPU: "), std::string::npos);
  hearth_engine* opened = nullptr;
  options.device = "cuda0";
  EXPECT_EQ(hearth_engine_open(kModel.c_str(), &options, &opened), HEARTH_ERROR_DEVICE);
  EXPECT_NE(std::string(hearth_message()).find("cuda0: there is no GPU: "), std::string::npos);
  options.device = "auto";
  options.vram = 1u << 30;
  EXPECT_EQ(hearth_engine_open(kModel.c_str(), &options, &opened), HEARTH_ERROR_DEVICE);
  EXPECT_EQ(opened, nullptr);
}

}  // namespace
}  // namespace hearth::testing

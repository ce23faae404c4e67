// Engines on the emulated device, through the C API.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/api/support/handles.h"
#include "tests/io/support/temporary_directory.h"
#include "tests/support/emulated_backend.h"

namespace hearth::testing {

inline constexpr char kDevice[] = "emulated0";

inline std::string golden(const std::string& name) {
  return HEARTH_SOURCE_DIR "/tests/golden/" + name + ".gguf";
}

inline hearth_engine_options options_of(const char* device) {
  auto options = sized<hearth_engine_options>();
  options.context = 96;
  options.batch = 8;
  options.threads = 1;
  options.device = device;
  return options;
}

// More than a step of a device has.
inline std::vector<std::int32_t> prompt() { return numbers(11, 3); }

inline Handle<hearth_engine> on_device(std::uint64_t vram = 0,
                                       const std::string& model = "qwen3moe") {
  auto options = options_of(kDevice);
  options.vram = vram;
  return open_engine(golden(model), options);
}

// With slots for a half of the experts, about, of a device as it is if nothing is changed.
inline std::uint64_t half_of_the_experts() {
  static const std::uint64_t half = [] {
    const auto facts = facts_of(on_device());
    return facts.vram - facts.expert_vram / 2;
  }();
  return half;
}

inline hearth_telemetry telemetry_of(const Handle<hearth_engine>& engine) {
  auto told = sized<hearth_telemetry>();
  EXPECT_EQ(hearth_engine_telemetry(engine.get(), &told), HEARTH_OK) << hearth_message();
  return told;
}

inline const std::vector<float>& logits_of_the_cpu(const std::string& model = "qwen3moe") {
  static std::map<std::string, std::vector<float>> known;
  std::vector<float>& logits = known[model];
  if (logits.empty())
    logits = logits_after(open_engine(golden(model), options_of(nullptr)), prompt());
  return logits;
}

inline hearth_status status_of(const hearth_engine_options& options) {
  hearth_engine* engine = nullptr;
  const hearth_status status = hearth_engine_open(golden("qwen3moe").c_str(), &options, &engine);
  EXPECT_EQ(hearth_engine_close(engine), HEARTH_OK);
  return status;
}

inline bool message_has(std::string_view part) {
  return std::string_view(hearth_message()).find(part) != std::string_view::npos;
}

// Restores what a test changes of the device; what was measured on this machine is not seen.
class Device : public ::testing::Test {
 protected:
  Device() { setenv("XDG_CONFIG_HOME", directory_.file("").c_str(), 1); }
  ~Device() override { kernels::emulated_backend_options() = before_; }

  const io::TemporaryDirectory directory_;

 private:
  const kernels::emulated::DeviceOptions before_ = kernels::emulated_backend_options();
};

}  // namespace hearth::testing

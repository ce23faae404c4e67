// Experts that a device has no slot for, through the C API: who serves them, who decides, and what
// is counted.
#include <gtest/gtest.h>

#include <filesystem>
#include <span>

#include "profiler/machine_toml.h"
#include "tests/api/support/device_engine.h"
#include "tests/profiler/support/machines.h"

namespace hearth::testing {
namespace {

// Rates of a machine whose GPU has this name.
std::string measured(const std::string& path, const std::string& gpu) {
  profiler::Machine machine = profiler::complete_machine();
  machine.gpu->name = gpu;
  profiler::save_machine(path, machine);
  return path;
}

TEST_F(Device, CountsWhoServedTheExperts) {
  const std::uint64_t budget = half_of_the_experts();
  const auto engine = on_device(budget);
  const auto facts = facts_of(engine);
  EXPECT_LE(facts.vram, budget);
  EXPECT_LT(facts.vram_slots, facts.experts);
  EXPECT_EQ(facts.all_in_vram, 0u);
  EXPECT_EQ(logits_after(engine, prompt()), logits_of_the_cpu());
  const auto told = telemetry_of(engine);
  EXPECT_GT(told.vram_hits, 0u);
  EXPECT_GT(told.cpu_experts, 0u);
  EXPECT_EQ(told.vram_fetches, 0u);  // nobody has measured when to fetch
  EXPECT_EQ(told.link_bytes, 0u);
  EXPECT_EQ(told.ram_hits + told.disk_hits, told.cpu_experts);
  EXPECT_LE(told.vram_peak, budget);
  std::uint64_t hits = 0, on_the_cpu = 0;
  for (std::uint32_t layer = 0; layer < facts.layers; ++layer) {
    auto of_layer = sized<hearth_telemetry>();
    ASSERT_EQ(hearth_engine_layer_telemetry(engine.get(), layer, &of_layer), HEARTH_OK);
    hits += of_layer.vram_hits;
    on_the_cpu += of_layer.cpu_experts;
    EXPECT_EQ(of_layer.vram_slots, 0u);
    EXPECT_EQ(of_layer.link_bytes, 0u);
  }
  EXPECT_EQ(hits, told.vram_hits);
  EXPECT_EQ(on_the_cpu, told.cpu_experts);
}

// The first text reads experts from disk; what is then in RAM can be fetched.
std::uint64_t fetches(const Handle<hearth_engine>& engine) {
  const auto expected = logits_of_the_cpu();
  for (int text = 0; text < 2; ++text) EXPECT_EQ(logits_after(engine, prompt()), expected);
  return telemetry_of(engine).vram_fetches;
}

TEST_F(Device, FetchesWithWhatWasMeasured) {
  const std::string path = measured(directory_.file("machine.toml"), "emulated");
  auto options = options_of(kDevice);
  options.vram = half_of_the_experts();
  options.machine = path.c_str();
  EXPECT_GT(fetches(open_engine(golden("qwen3moe"), options)), 0u);

  const std::string other = measured(directory_.file("other.toml"), "another");
  options.machine = other.c_str();
  EXPECT_EQ(status_of(options), HEARTH_ERROR_USAGE);
  EXPECT_TRUE(message_has("has no rates of emulated")) << hearth_message();
  options.machine = "/no/such/file.toml";
  EXPECT_EQ(status_of(options), HEARTH_ERROR_NOT_FOUND);
  options.machine = path.c_str();
  options.vram = 0;
  options.device = nullptr;
  EXPECT_EQ(status_of(options), HEARTH_ERROR_USAGE);
}

// Whatever was measured.
TEST_F(Device, MissesAreServedAsWished) {
  const std::string path = measured(directory_.file("machine.toml"), "emulated");
  auto options = options_of(kDevice);
  options.vram = half_of_the_experts();
  const auto served = [&](const char* misses) {
    options.misses = misses;
    const auto engine = open_engine(golden("qwen3moe"), options);
    fetches(engine);
    return telemetry_of(engine);
  };
  const auto fetched = served("link");
  EXPECT_GT(fetched.vram_fetches, 0u);
  EXPECT_EQ(served("auto").vram_fetches, 0u);
  options.machine = path.c_str();
  const auto computed = served("cpu");
  EXPECT_EQ(computed.vram_fetches, 0u);
  EXPECT_GT(computed.cpu_experts, fetched.cpu_experts);
}

TEST_F(Device, MissesNeedADeviceThatHasSome) {
  auto options = options_of("none");
  options.misses = "cpu";
  EXPECT_EQ(status_of(options), HEARTH_ERROR_USAGE);
  EXPECT_TRUE(message_has("has no effect where no GPU computes")) << hearth_message();
  options.device = kDevice;
  options.misses = "disk";
  EXPECT_EQ(status_of(options), HEARTH_ERROR_USAGE);
  EXPECT_TRUE(message_has("give auto, link, cpu")) << hearth_message();
  std::string notes;
  options.user = &notes;
  options.on_note = [](void* user, const char* line) { *static_cast<std::string*>(user) += line; };
  options.misses = "link";
  open_engine(golden("qwen3moe"), options);
  EXPECT_EQ(notes, "misses has no effect: all experts are in VRAM");
  // A device that is to fetch must be there.
  kernels::emulated_backend_options().memory = Bytes(100'000);
  options.device = "auto";
  EXPECT_EQ(status_of(options), HEARTH_ERROR_BUDGET);
}

// Steps of one token guess once they were timed.
TEST_F(Device, CountsWhatItTookOnAGuess) {
  const std::string path = measured(directory_.file("machine.toml"), "emulated");
  auto options = options_of(kDevice);
  options.vram = half_of_the_experts();
  options.machine = path.c_str();
  options.misses = "link";
  const auto engine = open_engine(golden("qwen3moe"), options);
  const auto session = open_session(engine);
  ASSERT_EQ(evaluate(session, prompt()), HEARTH_OK);
  const auto fetched = telemetry_of(engine);
  EXPECT_EQ(fetched.vram_prefetches, 0u);
  const std::uint64_t expert = facts_of(engine).expert_bytes / facts_of(engine).experts;
  EXPECT_EQ(fetched.link_bytes, fetched.vram_fetches * expert);
  auto told = fetched;
  for (int i = 0; i < 10 && told.vram_prefetches == 0; ++i) {
    generate(session, 8);
    told = telemetry_of(engine);
  }
  EXPECT_GT(told.vram_prefetches, 0u);
  EXPECT_LE(told.vram_prefetches_used, told.vram_prefetches);
  EXPECT_EQ(told.link_bytes, (told.vram_fetches + told.vram_prefetches) * expert);
  EXPECT_EQ(told.prefetches, 0u);  // from disk
  std::uint64_t of_layers = 0;
  for (std::uint32_t layer = 0; layer < facts_of(engine).layers; ++layer) {
    auto of_layer = sized<hearth_telemetry>();
    ASSERT_EQ(hearth_engine_layer_telemetry(engine.get(), layer, &of_layer), HEARTH_OK);
    of_layers += of_layer.vram_prefetches;
  }
  EXPECT_EQ(of_layers, told.vram_prefetches);
}

TEST_F(Device, TheHostDecidesAsTheDeviceDoes) {
  auto options = options_of(kDevice);
  options.vram = half_of_the_experts();
  options.misses = "link";
  const auto told = [&](const char* cache, std::vector<float>& logits) {
    options.gpu_cache = cache;
    const auto engine = open_engine(golden("qwen3moe"), options);
    logits = logits_after(engine, prompt());
    return telemetry_of(engine);
  };
  std::vector<float> of_device, of_host;
  const auto device = told(nullptr, of_device), host = told("host", of_host);
  EXPECT_EQ(of_host, logits_of_the_cpu());
  EXPECT_EQ(of_host, of_device);
  EXPECT_GT(host.vram_fetches, 0u);
  EXPECT_EQ(host.vram_fetches, device.vram_fetches);
  EXPECT_EQ(host.vram_hits, device.vram_hits);
}

TEST_F(Device, AGpuCacheOfTheHostNeedsADeviceThatHasOne) {
  auto options = options_of("none");
  options.gpu_cache = "host";
  EXPECT_EQ(status_of(options), HEARTH_ERROR_USAGE);
  EXPECT_TRUE(message_has("has no effect where no GPU computes")) << hearth_message();
  options.device = kDevice;
  options.gpu_cache = "disk";
  EXPECT_EQ(status_of(options), HEARTH_ERROR_USAGE);
  EXPECT_TRUE(message_has("give device, host")) << hearth_message();
  std::string notes;
  options.user = &notes;
  options.on_note = [](void* user, const char* line) { *static_cast<std::string*>(user) += line; };
  options.gpu_cache = "host";
  open_engine(golden("qwen3moe"), options);
  EXPECT_EQ(notes, "gpu_cache has no effect: all experts are in VRAM");
}

TEST_F(Device, FindsWhatHearthDoctorWrote) {
  std::filesystem::create_directory(directory_.file("hearth"));
  const std::string path = directory_.file("hearth/machine.toml");
  std::string notes;
  auto options = options_of(kDevice);
  options.vram = half_of_the_experts();
  options.user = &notes;
  options.on_note = [](void* user, const char* line) { *static_cast<std::string*>(user) += line; };
  measured(path, "emulated");
  EXPECT_GT(fetches(open_engine(golden("qwen3moe"), options)), 0u);
  measured(path, "another");
  EXPECT_EQ(fetches(open_engine(golden("qwen3moe"), options)), 0u);
  EXPECT_EQ(notes.find("rates"), std::string::npos) << notes;
  directory_.write("hearth/machine.toml", std::as_bytes(std::span("nonsense", 8)));
  EXPECT_EQ(fetches(open_engine(golden("qwen3moe"), options)), 0u);
  EXPECT_NE(notes.find("rates of the GPU are unknown: "), std::string::npos) << notes;
}

}  // namespace
}  // namespace hearth::testing

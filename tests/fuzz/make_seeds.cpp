// Writes a first corpus for the fuzz targets: make_seeds DIRECTORY
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "profiler/machine_toml.h"
#include "profiler/plan_toml.h"
#include "profiler/planner.h"
#include "profiler/profile_toml.h"
#include "profiler/trace_file.h"
#include "runtime/session_file.h"
#include "tests/fuzz/session_models.h"
#include "tests/io/support/gguf_image.h"
#include "tests/profiler/support/machines.h"
#include "tests/profiler/support/needs.h"
#include "tests/profiler/support/profiles.h"
#include "tests/profiler/support/random_trace.h"

namespace {

using hearth::io::GgufImage;
using hearth::io::GgufType;

void write(const std::filesystem::path& path, const GgufImage& image) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(image.bytes().data()),
            static_cast<std::streamsize>(image.bytes().size()));
}

void write_gguf_seeds(const std::filesystem::path& directory) {
  write(directory / "complete", hearth::io::complete_image());
  write(directory / "empty", GgufImage().header(0, 0));
  write(directory / "version2",
        GgufImage().header(1, 0, 2).tensor("t", {32}, hearth::io::kBlock32Type, 0).pad().data(34));
  write(directory / "unknown_type",
        GgufImage().header(1, 0).tensor("t", {1, 2, 3, 4}, 99, 32).pad().data(33));
  write(directory / "strings", GgufImage()
                                   .header(0, 1)
                                   .array("tokens", GgufType::kString, 3)
                                   .text("a")
                                   .text("")
                                   .text("\xff\xfe"));
  write(directory / "split",
        GgufImage().header(0, 1).key("split.count", GgufType::kUint16).number(std::uint16_t{2}));
}

// Of one layer and several, with ids of one byte and of two, with weights and without.
void write_trace_seeds(const std::filesystem::path& directory) {
  namespace profiler = hearth::profiler;
  std::filesystem::create_directories(directory);
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    hearth::Random random(seed);
    const profiler::TraceHeader header = profiler::testing::random_header(random);
    const profiler::RoutingTrace trace = profiler::testing::random_trace(random, header, seed % 4);
    profiler::TraceWriter writer((directory / std::to_string(seed)).string(), header, 4);
    for (std::size_t s = 0; s < trace.steps(); ++s)
      for (std::size_t n = 0; n < header.layers.size(); ++n) writer.add(trace.decision(s, n));
  }
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

void write_profile_seeds(const std::filesystem::path& directory) {
  namespace profiler = hearth::profiler;
  const profiler::ExpertProfile empty = profiler::testing::empty_test_profile();
  profiler::ExpertProfile recorded = profiler::testing::random_profile(1, "chat", 20);
  recorded.curves = {{"lru", {{0.25, 0.5}, {0.5, 0.75}}}};
  for (const auto& [name, profile] : {std::pair("empty", empty), std::pair("recorded", recorded)}) {
    const std::string text = to_toml(profile);
    write(directory / name, text);
    // The checksum that is put under it is then the only one.
    write(directory / (std::string(name) + "_unsigned"), text.substr(0, text.rfind("# Checksum")));
  }
  write(directory / "csv", "layer,expert,count\n0,1,2\n2,2,3\n");
  write(directory / "spark", "# hotness table:\n1,2,3,4\n0,0,0,0\n1,2,3\n");
}

void write_machine_seeds(const std::filesystem::path& directory) {
  hearth::profiler::Machine machine = hearth::profiler::complete_machine();
  write(directory / "complete", to_toml(machine));
  machine.gpu.reset();
  machine.disk.reset();
  machine.cpu.kernels.clear();
  write(directory / "minimal", to_toml(machine));
}

void write_plan_seeds(const std::filesystem::path& directory) {
  using namespace hearth::profiler;
  const ModelNeeds needs = small_needs();
  const PlanRequest request{.budget = {.ram = hearth::Bytes(40'000'000)}, .context = 1000};
  PlacementPlan plan = plan_placement(needs, request, nullptr, nullptr);
  write(directory / "minimal", to_toml(plan));
  plan.seed = {{.layer = 1, .index = 3}, {.layer = 0, .index = 0}};
  plan.seed_uses = {0.7f, 0.1f};
  plan.vram = plan.ram;
  write(directory / "complete", to_toml(plan));
}

// Blocks and expressions of all kinds, for the fuzzer to take apart.
void write_jinja_seeds(const std::filesystem::path& directory) {
  write(directory / "turns",
        "{{ bos_token }}{% for m in messages if m.role != 'system' %}{{- '<' ~ m['role'] + '>' -}}"
        "{{ m.content | trim }}{% else %}none{% endfor %}{% if add_generation_prompt %}<a>{% endif "
        "%}");
  write(directory / "macros",
        "{%- macro f(a, b=[1, 2.5]) %}{{ caller(a) }}{{ b | join(', ') }}{% endmacro %}"
        "{% call(x) f(messages[1:]) %}{{ x | tojson(indent=2) }}{% endcall %}");
  write(directory / "state",
        "{% set ns = namespace(n=0) %}{% for i in range(9)[::-2] %}{% set ns.n = ns.n + i ** 2 %}"
        "{% if i is odd %}{% continue %}{% endif %}{% endfor %}{{ ns.n // 3 % 5 }}");
  write(directory / "formats",
        "{% for m in messages recursive %}{{ '{0.role:>6}|{0.role!r:^{w}}|{1:+,.2f}'.format(m, 7, "
        "w=9) }}"
        "{{ '%-5s|%05.1f' % (m.role, 2.5) }}{{ loop([m]) if loop.depth < 3 }}{% endfor %}"
        "{{ messages | groupby('role') | map(attribute='grouper') | batch(2, 0) | list }}");
  write(directory / "text",
        "{# c #}{% raw %}{{ }}{% endraw %}{% set t %}{{ 'a\\n' * 3 }}{% endset %}"
        "{{ t.split('\\n') | map('upper') | select | list | unique | sort | first | indent(2) }}");
}

// Of every engine that is fuzzed, with a tile that is whole and one that is not.
void write_session_seeds(const std::filesystem::path& directory) {
  using namespace hearth;
  std::filesystem::create_directories(directory);
  for (const testing::SessionModel& model : testing::kSessionModels) {
    runtime::Engine engine(testing::options_of(model));
    runtime::Session session(engine);
    for (const std::uint32_t count : {1u, testing::kSessionTokens}) {
      session.reset();
      runtime::Timeline timeline{.tokens = std::vector<TokenId>(count, 3)};
      const std::span<const float> logits = session.evaluate(timeline.tokens);
      timeline.logits.assign(logits.begin(), logits.end());
      engine.experts().settle();
      const std::string name = model.name + std::to_string(count);
      runtime::save_session((directory / name).string(), engine, session, timeline);
    }
  }
}

}  // namespace

int main(int argument_count, char** arguments) {
  if (argument_count != 2) return 2;
  write_gguf_seeds(std::filesystem::path(arguments[1]) / "gguf");
  write_trace_seeds(std::filesystem::path(arguments[1]) / "trace");
  write_profile_seeds(std::filesystem::path(arguments[1]) / "profile");
  write_machine_seeds(std::filesystem::path(arguments[1]) / "machine");
  write_jinja_seeds(std::filesystem::path(arguments[1]) / "jinja");
  write_plan_seeds(std::filesystem::path(arguments[1]) / "plan");
  write_session_seeds(std::filesystem::path(arguments[1]) / "session");
  return 0;
}

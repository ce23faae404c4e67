// hearth profile show, merge, diff, check, export and import.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "profiler/profile_toml.h"
#include "tests/tools/support/profile_files.h"

namespace hearth::tools::testing {
namespace {

using profiler::ExpertProfile;
using ::testing::HasSubstr;

TEST(ProfileCommand, ListsItsVerbsAndEachHasHelp) {
  EXPECT_EQ(run_hearth({"profile"}).exit_code, 2);
  const std::string help = run_ok({"profile", "--help"}).output;
  for (const char* verb : {"record", "show", "merge", "diff", "check", "export", "import"}) {
    EXPECT_THAT(help, HasSubstr(verb));
    EXPECT_THAT(run_ok({"profile", verb, "--help"}).output,
                HasSubstr(std::string("Usage: hearth profile ") + verb));
  }
  expect_error(run_hearth({"profile", "shwo"}), kMisused, {"did you mean 'show'?"});
}

TEST(ProfileShow, HasARowForEveryLayer) {
  const CommandResult shown =
      run_hearth({{"profile", "show", recorded_profile("prose")}, {}, {{"LC_ALL", "C.UTF-8"}}});
  ASSERT_EQ(shown.exit_code, 0) << shown.errors;
  for (int layer = 0; layer < 7; ++layer)
    EXPECT_THAT(shown.output, HasSubstr("layer   " + std::to_string(layer) + " "));
  for (const char* part : {"tokens of prose", "█", "Gini", "within 1,", "belady", "static", "lru"})
    EXPECT_THAT(shown.output, HasSubstr(part));
  EXPECT_EQ(shown.output.find('\x1b'), std::string::npos);  // no colours into a file
}

TEST(ProfileShow, TakesTheModelForItsProfile) {
  const std::string model = temporary_path("shown.gguf");
  std::filesystem::create_symlink(kDemoModel, model);
  expect_error(run_hearth({"profile", "show", model}), kFailed, {"shown.gguf.profile.toml"});
  write_file(model + ".profile.toml", read_file(recorded_profile("prose")));
  EXPECT_THAT(run_ok({"profile", "show", model}).output, HasSubstr("tokens of prose"));
}

TEST(ProfileShow, SaysWhatIsWrongWithAFile) {
  const std::string damaged = temporary_path("damaged.toml"), other = temporary_path("other.txt");
  std::string text = read_file(recorded_profile("prose"));
  text[text.size() / 2] ^= 1;
  write_file(damaged, text);
  expect_error(run_hearth({"profile", "show", damaged}), kFailed, {damaged, "damaged"});
  write_file(other, "Call me Ishmael.\n");
  expect_error(run_hearth({"profile", "show", other}), kFailed, {other, "no expert profile"});
  expect_error(run_hearth({"profile", "show", "/nowhere.toml"}), kFailed, {"/nowhere.toml"});
}

TEST(ProfileMerge, AddsCountsAndNamesEveryWorkload) {
  const std::string merged = temporary_path("merged.toml");
  const std::string &prose = recorded_profile("prose"), &code = recorded_profile("code");
  EXPECT_THAT(run_ok({"profile", "merge", "-o", merged, prose, code}).errors,
              HasSubstr("note      "));  // the curves are gone
  const ExpertProfile a = profiler::load_profile(prose), b = profiler::load_profile(code),
                      both = profiler::load_profile(merged);
  EXPECT_EQ(both.tokens(), a.tokens() + b.tokens());
  ASSERT_EQ(both.workloads.size(), 2u);
  EXPECT_EQ(both.workloads[1].label, "code");
  for (std::size_t layer = 0; layer < both.layers.size(); ++layer)
    EXPECT_EQ(both.layers[layer].uses(), a.layers[layer].uses() + b.layers[layer].uses());

  expect_error(run_hearth({"profile", "merge", "-o", merged, prose}), kFailed,
               {merged, "would be lost"});
  run_ok({"profile", "merge", "-o", merged, merged, prose});
  EXPECT_EQ(profiler::load_profile(merged).tokens(), 2 * a.tokens() + b.tokens());
}

TEST(ProfileDiff, TwoWorkloadsDifferMoreThanOneFromItself) {
  const auto divergence = [](const std::string& a, const std::string& b) {
    const std::string out = run_ok({"profile", "diff", a, b}).output;
    const std::size_t all = out.rfind("\nall");
    EXPECT_NE(all, std::string::npos) << out;
    return std::stod(out.substr(all + 4));
  };
  const std::string &prose = recorded_profile("prose"), &code = recorded_profile("code");
  EXPECT_EQ(divergence(prose, prose), 0);
  EXPECT_GT(divergence(prose, code), 0.05);
  EXPECT_EQ(divergence(prose, code), divergence(code, prose));
  expect_error(run_hearth({"profile", "diff", prose}), kMisused, {"B is required"});
}

// A profile of another model than the demo.
const std::string& tiny_profile() {
  static const std::string path = [] {
    const std::string made = temporary_path("tiny.toml");
    const std::string counts = temporary_path("tiny.csv");
    write_file(counts, "layer,expert,count\n0,1,5\n1,0,5\n2,2,5\n");
    run_ok({"profile", "import", counts, "--format", "csv", "-m", kTinyModel, "-o", made});
    return made;
  }();
  return path;
}

TEST(ProfileCommand, AProfileOfAnotherModelIsRefused) {
  const std::string& prose = recorded_profile("prose");
  expect_error(run_hearth({"profile", "diff", prose, tiny_profile()}), kFailed, {"another model"});
  expect_error(
      run_hearth({"profile", "merge", "-o", temporary_path("no.toml"), prose, tiny_profile()}),
      kFailed, {"another model"});
  expect_error(run_hearth({"profile", "check", tiny_profile(), "-m", kDemoModel, "-f",
                           short_text("prose"), "--io", "pread"}),
               kFailed, {"another model", tiny_profile()}, Before::kReport);
  expect_error(run_hearth({"profile", "export", tiny_profile(), "--format", "llama.cpp", "-m",
                           kDemoModel, "--vram", "1MiB"}),
               kFailed, {"another model"});
}

TEST(ProfileCheck, JudgesOnItsOwnRoutingOnATextAndOnATrace) {
  const std::string& prose = recorded_profile("prose");
  const std::string own = run_ok({"profile", "check", prose, "--budget", "25%,50%"}).output;
  EXPECT_THAT(own, HasSubstr("the profile's own routing"));

  const std::string trace = temporary_path("held-out.trace");
  run_ok(record_arguments("code", temporary_path("held-out.toml"), {"--trace", trace}));
  const std::string on_trace =
      run_ok({"profile", "check", prose, "--budget", "25%,50%", "--trace", trace}).output;
  EXPECT_THAT(on_trace, HasSubstr("held-out routing"));
  EXPECT_THAT(on_trace, HasSubstr("\n     25 %"));
  const std::string on_text =
      run_ok({"profile", "check", prose, "--budget", "25%,50%", "-m", kDemoModel, "-f",
              short_text("code"), "-c", "128", "--io", "pread"})
          .output;
  EXPECT_EQ(on_text, on_trace);  // the same text, recorded or not
}

TEST(ProfileCheck, RefusesFlagsWithoutEffect) {
  const std::string& prose = recorded_profile("prose");
  const auto check = [&](Strings more) {
    more.insert(more.begin(), {"profile", "check", prose});
    return run_hearth(more);
  };
  expect_error(check({"--budget", "2GiB"}), kMisused, {"--budget", "2GiB", "percentages"});
  expect_error(check({"--budget", "25%,,50%"}), kMisused, {});
  expect_error(check({"-f", "x"}), kMisused, {"--file needs --model"});
  expect_error(check({"-m", kDemoModel}), kMisused, {"--model has no effect without --file"});
  expect_error(check({"--ram", "1GiB"}), kMisused, {"--ram has no effect without --file"});
  expect_error(check({"-n", "10"}), kMisused, {"--tokens has no effect without --file"});
  expect_error(check({"-n", "10", "--trace", "x"}), kMisused, {"--tokens has no effect"});
  expect_error(check({"-m", kDemoModel, "-f", "x", "--trace", "y"}), kMisused, {"one of them"});
}

TEST(ProfileExport, CountsComeBack) {
  const std::string& prose = recorded_profile("prose");
  const ExpertProfile profile = profiler::load_profile(prose);
  for (const char* format : {"sglang", "csv", "spark"}) {
    SCOPED_TRACE(format);
    const std::string counts = temporary_path(std::string("counts.") + format);
    const std::string back = temporary_path(std::string("back.") + format);
    run_ok({"profile", "export", prose, "--format", format, "-o", counts});
    EXPECT_EQ(run_ok({"profile", "export", prose, "--format", format}).output, read_file(counts));
    run_ok({"profile", "import", counts, "--format", format, "-m", kDemoModel, "-o", back,
            "--workload", "prose"});
    const ExpertProfile imported = profiler::load_profile(back);
    EXPECT_EQ(imported.model, profile.model);
    EXPECT_EQ(imported.workloads[0].tokens, profile.tokens());
    for (std::size_t layer = 0; layer < profile.layers.size(); ++layer)
      for (std::size_t expert = 0; expert < 32; ++expert)
        EXPECT_EQ(imported.layers[layer].experts[expert].count,
                  profile.layers[layer].experts[expert].count);
  }
  const nlohmann::json json = nlohmann::json::parse(read_file(temporary_path("counts.sglang")));
  EXPECT_EQ(json["logical_count"][0].size(), 7u);
}

TEST(ProfileExport, ForLlamaCppNeedsABudget) {
  const std::string& prose = recorded_profile("prose");
  const Strings arguments = {"profile", "export", prose, "--format", "llama.cpp"};
  expect_error(run_hearth(arguments), kMisused, {"--model and either --vram or --plan"});
  Strings whole = arguments;
  whole.insert(whole.end(), {"-m", kDemoModel, "--vram", "12MiB"});
  EXPECT_THAT(run_ok(whole).output, HasSubstr("--n-cpu-moe "));
  whole.insert(whole.end(), {"--plan", "x"});
  expect_error(run_hearth(whole), kMisused, {"either --vram or --plan"});
  expect_error(run_hearth({"profile", "export", prose, "--format", "csv", "--vram", "1GiB"}),
               kMisused, {"no effect"});
}

// Whole layers that fit what the plan has for the slots of experts, each of which is a little
// larger than its expert.
TEST(ProfileExport, ForLlamaCppTakesTheMemoryOfAPlan) {
  const std::string& prose = recorded_profile("prose");
  const std::string plan = temporary_path("plan.toml");
  run_ok({"plan", "-m", kDemoModel, "--machine", "rtx3060-12g", "--vram", "1GiB", "-o", plan});
  Strings arguments = {"profile", "export", prose, "--format", "llama.cpp", "-m", kDemoModel};
  arguments.insert(arguments.end(), {"--plan", plan});
  EXPECT_THAT(run_ok(arguments).output, HasSubstr("all 7 layers fit"));
  run_ok({"plan", "-m", kDemoModel, "-o", plan});
  expect_error(run_hearth(arguments), kFailed, {plan, "no memory of a GPU"});
}

TEST(ProfileImport, RefusesWhatDoesNotFit) {
  const std::string counts = temporary_path("bad.csv"), out = temporary_path("bad.toml");
  const auto import = [&](const std::string& text) {
    write_file(counts, text);
    return run_hearth(
        {"profile", "import", counts, "--format", "csv", "-m", kDemoModel, "-o", out});
  };
  expect_error(import("hello\n"), kFailed, {counts});
  expect_error(import("layer,expert,count\n9,0,1\n"), kFailed, {counts});
  expect_error(import("layer,expert,count\n0,0,-1\n"), kFailed, {counts});
  EXPECT_FALSE(std::filesystem::exists(out));
  expect_error(run_hearth({"profile", "import", counts, "--format", "csv", "-m", kDemoModel, "-o",
                           recorded_profile("prose")}),
               kFailed, {"a profile is there already"});
  write_file(out, "my notes");
  expect_error(import("layer,expert,count\n0,0,1\n"), kFailed,
               {out, "is no profile", "would be lost"});
  EXPECT_EQ(read_file(out), "my notes");
}

}  // namespace
}  // namespace hearth::tools::testing

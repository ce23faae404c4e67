// hearth run --learn: the profile beside a model grows with every run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "profiler/profile_toml.h"
#include "tests/tools/support/profile_files.h"

namespace hearth::tools::testing {
namespace {

using profiler::ExpertProfile;
using ::testing::HasSubstr;

// A model with no profile beside it yet.
std::string model_copy(const std::string& name) {
  const std::string model = temporary_path(name);
  std::filesystem::remove(model);  // of another test in this process
  std::filesystem::create_symlink(kDemoModel, model);
  return model;
}

Strings run_arguments(const std::string& model, const Strings& more) {
  Strings arguments = {"run",  "-m",   model,    "-p", "Once upon a time",
                       "-n",   "12",   "--temp", "0",  "--no-report",
                       "--io", "pread"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(Learn, BeginsAProfileAndGoesOnWithIt) {
  const std::string model = model_copy("learned.gguf"), path = model + ".profile.toml";
  const CommandResult first = run_ok(run_arguments(model, {"--learn", "--workload", "story"}));
  EXPECT_THAT(first.errors, HasSubstr("a new profile"));
  const ExpertProfile begun = profiler::load_profile(path);
  ASSERT_EQ(begun.workloads.size(), 1u);
  EXPECT_EQ(begun.workloads[0].label, "story");
  EXPECT_EQ(begun.workloads[0].generated, 11u);  // nothing follows the last token
  const std::uint64_t once = begun.tokens();
  EXPECT_GT(once, 11u);  // the prompt, too

  const CommandResult second = run_ok(run_arguments(model, {"--learn", "--workload", "story"}));
  EXPECT_EQ(second.output, first.output);  // what is learned never changes the answer
  EXPECT_THAT(second.errors, HasSubstr("in all, in " + path));
  const ExpertProfile twice = profiler::load_profile(path);
  EXPECT_EQ(twice.tokens(), 2 * once);
  for (std::size_t i = 0; i < begun.layers.size(); ++i)
    EXPECT_EQ(twice.layers[i].uses(), 2 * begun.layers[i].uses());

  run_ok(run_arguments(model, {"--learn"}));
  EXPECT_EQ(profiler::load_profile(path).workloads.back().label, "default");
  run_ok(run_arguments(model, {}));
  EXPECT_EQ(profiler::load_profile(path).tokens(), 3 * once);  // not asked to
}

TEST(Learn, GoesIntoTheProfileThatIsNamed) {
  const std::string model = model_copy("named.gguf"), path = temporary_path("named.toml");
  write_file(path, read_file(recorded_profile("prose")));
  const std::uint64_t before = profiler::load_profile(path).tokens();
  run_ok(run_arguments(model, {"--learn", "--profile", path}));
  EXPECT_GT(profiler::load_profile(path).tokens(), before);
  EXPECT_FALSE(std::filesystem::exists(model + ".profile.toml"));
}

TEST(Learn, BeginsTheProfileThatIsNamed) {
  const std::string model = model_copy("begun.gguf"), path = temporary_path("begun.toml");
  const CommandResult result = run_ok(run_arguments(model, {"--learn", "--profile", path}));
  EXPECT_THAT(result.errors, HasSubstr("into " + path + ", a new profile"));
  EXPECT_GT(profiler::load_profile(path).tokens(), 11u);
  EXPECT_FALSE(std::filesystem::exists(model + ".profile.toml"));
}

TEST(Learn, RefusesTheProfileOfAnotherModel) {
  const std::string model = model_copy("other.gguf"), path = model + ".profile.toml";
  const std::string counts = temporary_path("other.csv");
  write_file(counts, "layer,expert,count\n0,1,5\n");
  run_ok({"profile", "import", counts, "--format", "csv", "-m", kTinyModel, "-o", path});
  const std::string text = read_file(path);
  expect_error(run_hearth(run_arguments(model, {"--learn"})), kFailed, {path, "another model"},
               Before::kReport);
  EXPECT_EQ(read_file(path), text);
}

TEST(Learn, NeverOverwritesWhatAnotherRunSaved) {
  const std::string model = model_copy("shared.gguf"), path = model + ".profile.toml";
  run_ok(run_arguments(model, {"--learn"}));
  const std::string other = read_file(recorded_profile("code"));
  Strings arguments = run_arguments(model, {"--learn", "--ignore-eos"});
  *std::find(arguments.begin(), arguments.end(), "12") = "400";
  const CommandResult result =
      run_hearth({.arguments = arguments, .input = {}, .environment = {}, .meanwhile = [&](pid_t) {
                    wait_for_output();
                    write_file(path, other);  // after the profile was read
                  }});
  EXPECT_EQ(read_file(path), other) << result.errors;
}

TEST(Learn, IsForRunsOnly) {
  expect_error(run_hearth({"bench", "-m", kTinyModel, "--learn"}), kMisused, {"--learn"});
}

}  // namespace
}  // namespace hearth::tools::testing

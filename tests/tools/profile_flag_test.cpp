// A profile beside the model, or named with --profile: what is taken, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "profiler/profile_toml.h"
#include "runtime/engine.h"
#include "runtime/model_identity.h"
#include "tests/runtime/support/made_profile.h"
#include "tests/tools/support/expect_error.h"
#include "tools/hearth/npy.h"

namespace hearth::tools::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const std::string kTiny = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf";
const std::string kOther = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe-kquants.gguf";

// A copy of a model, and a profile of it.
struct ModelWithProfile {
  explicit ModelWithProfile(const std::string& name, const std::string& source = kTiny)
      : model(temporary_path(name + ".gguf")), path(profiler::profile_path_of(model)) {
    std::filesystem::copy_file(source, model, std::filesystem::copy_options::overwrite_existing);
    const io::GgufFile file = io::GgufFile::open(model, runtime::block_shape_of);
    profiler::ExpertProfile profile =
        *hearth::testing::made_profile(*runtime::build_model(file), 1);
    profile.model = runtime::identity_of(file);
    std::uint64_t uses = 0;
    for (const profiler::LayerProfile& layer : profile.layers) uses = std::max(uses, layer.uses());
    profile.workloads = {{.label = "made", .tokens = uses, .generated = uses}};
    profiler::save_profile(path, profile);
  }

  std::string model, path;
};

CommandResult run_model(const std::string& model, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments{"run", "-m",     model, "-p",           "a",  "-n",
                                     "4",   "--temp", "0",   "--expert-ram", "30%"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_hearth(std::move(arguments));
}

std::string logits_line(const CommandResult& result) {
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  const std::size_t at = result.errors.find("\nlogits ");
  EXPECT_NE(at, std::string::npos) << result.errors;
  return result.errors.substr(at, result.errors.find('\n', at + 1) - at);
}

TEST(ProfileFlag, TakesTheProfileBesideTheModelUnlessToldNotTo) {
  const ModelWithProfile made("beside");
  const CommandResult found = run_model(made.model);
  EXPECT_THAT(found.errors, HasSubstr("profile   " + made.path + ": "));
  EXPECT_THAT(found.errors, HasSubstr(" tokens of made; "));
  const CommandResult named = run_model(kTiny, {"--profile", made.path});
  EXPECT_THAT(named.errors, HasSubstr("profile   " + made.path + ": "));
  const CommandResult off = run_model(made.model, {"--profile", "off"});
  EXPECT_THAT(off.errors, Not(HasSubstr("profile ")));
  EXPECT_EQ(logits_line(found), logits_line(off));
  EXPECT_EQ(logits_line(named), logits_line(off));
}

TEST(ProfileFlag, RefusesAProfileThatDoesNotFit) {
  const ModelWithProfile made("fits"), other("fits_not", kOther);
  expect_error(run_model(made.model, {"--profile", other.path}), kFailed,
               {other.path, "is for another"});
  expect_error(run_model(made.model, {"--profile", made.path + ".none"}), kFailed,
               {made.path + ".none"});

  std::filesystem::copy_file(other.path, made.path,
                             std::filesystem::copy_options::overwrite_existing);
  const CommandResult result = run_model(made.model);
  EXPECT_THAT(result.errors, HasSubstr("note      going on without the profile: " + made.path));
  EXPECT_EQ(logits_line(result), logits_line(run_model(kTiny)));

  write_file(made.path, read_file(made.path).substr(0, 300));
  EXPECT_THAT(run_model(made.model).errors,
              HasSubstr("note      going on without the profile: " + made.path));
  expect_error(run_model(kTiny, {"--profile", made.path}), kFailed, {made.path});
}

TEST(ProfileFlag, SeedsBenchAgainBeforeWhatIsMeasured) {
  const ModelWithProfile made("bench");
  const std::vector<std::string> common{"bench", "-m", made.model,     "-p",  "0",  "-n", "4",
                                        "-r",    "2",  "--expert-ram", "50%", "-o", "csv"};
  const auto bench = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = common;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_hearth(std::move(arguments));
  };
  const CommandResult cold = bench({"--cold"});
  EXPECT_EQ(cold.exit_code, 0) << cold.errors;
  EXPECT_THAT(cold.errors, HasSubstr("loaded again before every repetition"));
  EXPECT_THAT(cold.output, HasSubstr("\"seeded\""));
  EXPECT_THAT(bench({"--cold", "--profile", "off"}).output, HasSubstr("\"cold\""));
  EXPECT_THAT(bench({}).output, HasSubstr("\"warm\""));
}

}  // namespace
}  // namespace hearth::tools::testing
